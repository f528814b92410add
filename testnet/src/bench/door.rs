//! The JSON door beside the native one: as many clients store the same messages straight at the same nodes, by
//! turns, as fast as each gets its answer; and so does `wrk`, where it is installed.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use data_encoding::BASE64;
use serde_json::{Value, json};
use session_protocols::AccountId;
use tokio::{process::Command, time::Instant};

use super::{Bench, Load, Progress, Row, TTL, body, ms, percentile, targets, wait};
use crate::{Testnet, error::TestnetError};

/// Times that all are measured; the median counts.
const RUNS: usize = 3;
/// How long connections and caches are warmed before.
const WARM: Duration = Duration::from_secs(2);
/// Lines of a script for `wrk`: a message that no other equals, to one account after the other.
const SCRIPT: &str = r#"
local sent = 0
local filler = string.rep("A", 1344)
request = function()
    sent = sent + 1
    -- 1,024 bytes in base64.
    local data = string.format("%04d%04d%014d", run, node, sent) .. filler .. "=="
    local body = '{"method":"store","params":{"pubkey":"' .. accounts[sent * 7 % #accounts + 1] .. '","timestamp":'
        .. os.time() .. '000,"ttl":3600000,"data":"' .. data .. '"}}'
    return wrk.format("POST", "/storage_rpc/v1", { ["Content-Type"] = "application/json" }, body)
end
"#;

impl Bench {
    /// Measures stores through the JSON door beside stores through the native one.
    ///
    /// # Errors
    /// When the testnet does not come up, or clients cannot use it.
    pub async fn door(&self, progress: Progress<'_>) -> Result<Vec<Row>, TestnetError> {
        self.within(async |testnet| self.measure_door(testnet, progress).await).await
    }

    async fn measure_door(
        &self,
        testnet: &Testnet,
        progress: Progress<'_>,
    ) -> Result<Vec<Row>, TestnetError> {
        self.up(testnet, false, progress).await?;
        let network = testnet.folder().network()?;
        let native = self.clients(&network).await?;
        let doors = Doors::find(testnet, self.clients, &native.accounts).await?;
        let span = Duration::from_secs(self.seconds);
        doors.load(WARM, &mut |_, _| {}).await?;
        native.load(WARM, &mut |_, _| {}).await?;
        let [mut straight, mut json, mut driven] = [const { Vec::new() }; 3];
        let [mut delays, mut json_delays] = [const { Vec::new() }; 2];
        let mut failed = 0;
        for run in 0..RUNS {
            // Whoever goes first has the shorter tables.
            for first in [run % 2 == 0, run % 2 != 0] {
                let (rates, all) =
                    if first { (&mut straight, &mut delays) } else { (&mut json, &mut json_delays) };
                let load = if first {
                    native.load(span, &mut |done, all| progress("store natively", done, all)).await?
                } else {
                    doors
                        .load(span, &mut |done, all| progress("store through the JSON door", done, all))
                        .await?
                };
                rates.push(load.delays_ms.len() as f64 / load.seconds);
                all.extend(load.delays_ms);
                failed += load.failed;
            }
            progress("wrk", run as u64, RUNS as u64);
            driven.extend(doors.drive(testnet.folder().path(), run, span).await?);
        }
        let whole = percentile(&mut straight, 50)?;
        let beside = |what: String, rate: f64| {
            let ratio = rate / whole;
            Row { what, ours: rate, peer: whole, unit: "1/s", ratio, wanted: targets::DOOR }
        };
        let (nodes, clients) = (self.nodes, self.clients);
        let what =
            format!("stores through the JSON door beside native ones, {nodes} nodes, {clients} clients");
        let mut rows = vec![beside(what, percentile(&mut json, 50)?)];
        if !driven.is_empty() {
            rows.push(beside("the same driven by wrk".to_owned(), percentile(&mut driven, 50)?));
        }
        let (door, native) = (percentile(&mut json_delays, 50)?, percentile(&mut delays, 50)?);
        let what = "until a store is answered, p50, JSON door beside native".to_owned();
        rows.push(Row {
            what,
            ours: door,
            peer: native,
            unit: "ms",
            ratio: native / door,
            wanted: targets::DOOR,
        });
        if failed > 0 {
            tracing::warn!(failed, "stores failed");
        }
        Ok(rows)
    }
}

/// Clients of the JSON doors, each with connections of its own.
#[derive(Clone)]
struct Doors {
    clients: Arc<[reqwest::Client]>,
    /// Each account and the doors of its swarm.
    accounts: Arc<[(AccountId, Vec<String>)]>,
    /// The number of the next message.
    next: Arc<AtomicUsize>,
}

impl Doors {
    /// Asks for the swarm of each account, as clients do.
    async fn find(testnet: &Testnet, clients: usize, accounts: &[AccountId]) -> Result<Self, TestnetError> {
        let nodes = testnet.status().await?;
        let any =
            nodes.into_iter().find_map(|node| node.door).ok_or(TestnetError::Bench("there is no door"))?;
        let client = || reqwest::Client::builder().danger_accept_invalid_certs(true).build();
        let clients: Result<Arc<[_]>, _> = (0..clients).map(|_| client()).collect();
        let clients = clients.map_err(|_| TestnetError::Bench("no client can be made"))?;
        let mut found = Vec::new();
        for account in accounts {
            let params = json!({ "pubkey": account.to_string() });
            let (_, answer) = post(&clients[0], &any, "get_swarm", &params).await?;
            let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
            let door =
                |node: &Value| Some(format!("https://{}:{}", node["ip"].as_str()?, node["port_https"]));
            let doors: Vec<_> = answer["snodes"].as_array().into_iter().flatten().filter_map(door).collect();
            if doors.is_empty() {
                return Err(TestnetError::Bench("a door does not name a swarm"));
            }
            found.push((*account, doors));
        }
        Ok(Self { clients, accounts: found.into(), next: Arc::default() })
    }

    async fn store(&self, client: &reqwest::Client) -> Result<f64, TestnetError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (account, doors) = &self.accounts[number * 7 % self.accounts.len()];
        let door = &doors[number % doors.len()];
        let mut message = body(number);
        // Not one of those that go the other way.
        message.reverse();
        let begun = Instant::now();
        let params = json!({
            "pubkey": account.to_string(), "timestamp": now(), "ttl": TTL.as_millis() as u64,
            "data": BASE64.encode(&message),
        });
        match post(client, door, "store", &params).await? {
            (200, _) => Ok(ms(begun.elapsed())),
            _ => Err(TestnetError::Bench("a door refused a store")),
        }
    }

    /// All store at once, as fast as each gets its answer.
    async fn load(
        &self,
        span: Duration,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Load, TestnetError> {
        let started = Instant::now();
        let until = started + span;
        let failed = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..self.clients.len())
            .map(|number| {
                let (all, failed) = (self.clone(), Arc::clone(&failed));
                tokio::spawn(async move {
                    let mut delays_ms = Vec::new();
                    while Instant::now() < until {
                        match all.store(&all.clients[number]).await {
                            Ok(delay) => delays_ms.push(delay),
                            Err(_) => {
                                failed.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                    delays_ms
                })
            })
            .collect();
        wait(span, progress).await;
        let mut delays_ms = Vec::new();
        for task in tasks {
            delays_ms.extend(task.await.map_err(|_| TestnetError::Bench("a client stopped"))?);
        }
        let failed = failed.load(Ordering::Relaxed);
        Ok(Load { delays_ms, seconds: started.elapsed().as_secs_f64(), failed })
    }

    /// Has one `wrk` for each door store, with about as many connections in all as there are clients: stores
    /// a second. None where it is not installed.
    async fn drive(&self, folder: &Path, run: usize, span: Duration) -> Result<Option<f64>, TestnetError> {
        let mut kept: BTreeMap<&str, Vec<&AccountId>> = BTreeMap::new();
        for (account, doors) in &*self.accounts {
            for door in doors {
                kept.entry(door).or_default().push(account);
            }
        }
        let connections = self.clients.len().div_ceil(kept.len().max(1)).to_string();
        let mut tools = Vec::new();
        for (node, (door, accounts)) in kept.into_iter().enumerate() {
            let path = folder.join(format!("wrk-{node}.lua"));
            let mut script = format!("local run, node, accounts = {run}, {node}, {{");
            for account in accounts {
                let _ = write!(script, "\"{account}\",");
            }
            script.push('}');
            script.push_str(SCRIPT);
            std::fs::write(&path, script).map_err(|cause| TestnetError::Io {
                deed: "write",
                path: path.clone(),
                cause,
            })?;
            let seconds = format!("{}s", span.as_secs());
            let mut tool = Command::new("wrk");
            tool.args(["-t1", "-c", &connections, "-d", &seconds, "-s"]).arg(&path).arg(door);
            match tool
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
            {
                Ok(child) => tools.push(child),
                Err(_) => {
                    tracing::warn!("left out wrk, which is not installed");
                    return Ok(None);
                }
            }
        }
        let mut rate = 0.0;
        for tool in tools {
            let output = tool.wait_with_output().await.map_err(|_| TestnetError::Bench("wrk stopped"))?;
            let said = String::from_utf8_lossy(&output.stdout);
            rate += accepted(&said).ok_or(TestnetError::Bench("wrk says nothing"))?;
        }
        Ok(Some(rate))
    }
}

async fn post(
    client: &reqwest::Client,
    door: &str,
    method: &str,
    params: &Value,
) -> Result<(u16, Vec<u8>), TestnetError> {
    let silent = |_| TestnetError::Bench("a door does not answer");
    let body = json!({ "method": method, "params": params }).to_string();
    let answer = client.post(format!("{door}/storage_rpc/v1")).body(body).send().await.map_err(silent)?;
    let status = answer.status().as_u16();
    Ok((status, answer.bytes().await.map_err(silent)?.into()))
}

/// Requests a second that were accepted, as `wrk` tells.
fn accepted(said: &str) -> Option<f64> {
    let after = |mark: &str| said.split(mark).nth(1)?.split_ascii_whitespace().next()?.parse::<f64>().ok();
    let done: f64 = said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    let refused = after("Non-2xx or 3xx responses:").unwrap_or(0.0);
    Some(after("Requests/sec:")? * (done - refused) / done.max(1.0))
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::accepted;

    #[test]
    fn refusals_do_not_count_for_wrk() {
        let said = "  1000 requests in 10.01s, 3.2MB read\nRequests/sec:    100.00\nTransfer/sec: 1MB\n";
        assert_eq!(accepted(said), Some(100.0));
        let said = format!("  Non-2xx or 3xx responses: 250\n{said}");
        assert_eq!(accepted(&said), Some(75.0));
        assert_eq!(accepted("unable to connect"), None);
    }
}
