//! Measures a testnet: how fast it keeps messages, how fast it delivers them, what it costs at rest,
//! how soon a killed node is back, how soon one that begins from nothing is ready, how fast names are found, and
//! what the JSON door does beside the native one.

mod door;
mod names;
mod paths;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use serde::Serialize;
use session_chain::NetworkFile;
use session_client::{Account, Client, ClientError, Cursors, Options as ClientOptions};
use session_protocols::{AccountId, Namespace};
use tokio::time::Instant;

use crate::{Folder, Options as TestnetOptions, Testnet, error::TestnetError};

mod relay;

/// The fewest nodes of a measurement: a majority is there without one of them.
pub const MIN_NODES: usize = 3;
/// Bytes of a stored message.
const SIZE: usize = 1_024;
/// Accounts that messages go to.
const ACCOUNTS: usize = 1_000;
/// How long a stored message is kept.
const TTL: Duration = Duration::from_secs(3_600);
/// How long nodes are left alone before their memory is looked at.
const SETTLE: Duration = Duration::from_secs(10);
/// Messages whose delivery is measured.
const WATCHED: usize = 200;
/// How long a delivery may take.
const DELIVERY: Duration = Duration::from_secs(10);
/// The node that is killed, and returns.
const VICTIM: usize = 1;
/// How long messages are stored while it is away, at most.
const AWAY: Duration = Duration::from_secs(5);

/// What is asked of twelve nodes and 64 clients on two cores.
mod targets {
    /// Stores that are acknowledged, a second.
    pub(super) const STORES: f64 = 400.0;
    /// Milliseconds until a majority is durable, of half the stores.
    pub(super) const P50: f64 = 160.0;
    /// The same of all but one in a hundred.
    pub(super) const P99: f64 = 500.0;
    /// Stores that are acknowledged, of a hundred.
    pub(super) const SUCCEED: f64 = 100.0;
    /// Milliseconds until a watching client has a message, of half the messages.
    pub(super) const WATCH: f64 = 50.0;
    /// MiB that an idle node holds.
    pub(super) const RESIDENT: f64 = 40.0;
    /// How slow a store over a path may be, as a part of one that goes straight.
    pub(super) const PATH: f64 = 0.4;
    /// Stores through the JSON door, as a part of native ones.
    pub(super) const DOOR: f64 = 0.7;
    /// Milliseconds that half the stores over a path may take.
    pub(super) const PATH_P50: f64 = 10.0;
    /// Milliseconds that a store may take whose hop is killed under it.
    pub(super) const KILLED: f64 = 2_000.0;
    /// Milliseconds that half the lookups of a name over a path may take, without computing its id.
    pub(super) const LOOKUP: f64 = 150.0;
    /// The same of all but one in a hundred, also where a newer checkpoint is fetched first.
    pub(super) const LOOKUP_P99: f64 = 500.0;
    /// Milliseconds that half the lookups of a process may take that begins, connects and makes paths for each.
    pub(super) const LOOKUP_FRESH: f64 = 1_000.0;
    /// Milliseconds that computing a name's id may take.
    pub(super) const HASH: f64 = 1_000.0;
    /// Seconds until all nodes are ready, without a chain.
    pub(super) const UP: f64 = 10.0;
    /// The same with a chain, on which they register first.
    pub(super) const UP_CHAIN: f64 = 25.0;
    /// Seconds until a killed node has caught up and serves.
    pub(super) const RETURN: f64 = 10.0;
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Bench {
    /// What nodes run.
    pub binary: PathBuf,
    /// How many nodes, [`MIN_NODES`] at least.
    pub nodes: usize,
    /// How many clients store at once.
    pub clients: usize,
    /// For how long.
    pub seconds: u64,
    /// Whether onion paths are measured, and not nodes that clients ask straight.
    pub paths: bool,
}

/// A figure beside its target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What was found.
    pub ours: f64,
    /// The target.
    pub peer: f64,
    /// The unit of both.
    pub unit: &'static str,
    /// How much better than the target.
    pub ratio: f64,
    /// What [`Self::ratio`] has to be at least.
    pub wanted: f64,
}

impl Row {
    /// A figure that has to be above `target`.
    fn above(what: impl Into<String>, ours: f64, target: f64, unit: &'static str) -> Self {
        Self { what: what.into(), ours, peer: target, unit, ratio: ours / target, wanted: 1.0 }
    }

    /// A figure that has to be below `target`.
    fn below(what: impl Into<String>, ours: f64, target: f64, unit: &'static str) -> Self {
        let ratio = if ours > 0.0 { target / ours } else { f64::MAX };
        Self { what: what.into(), ours, peer: target, unit, ratio, wanted: 1.0 }
    }
}

/// Is told what is being done, and how much of how much is done.
pub type Progress<'a> = &'a mut (dyn FnMut(&'static str, u64, u64) + Send);

impl Bench {
    /// Starts a testnet of its own in a folder of its own, measures it, and removes it.
    ///
    /// # Errors
    /// When the testnet does not come up, or clients cannot use it.
    pub async fn run(&self, progress: Progress<'_>) -> Result<Vec<Row>, TestnetError> {
        self.within(async |testnet| match self.paths {
            true => self.measure_paths(testnet, progress).await,
            false => self.measure_nodes(testnet, progress).await,
        })
        .await
    }

    /// Measures how soon a testnet that begins from nothing is ready: with a chain of its own, and without one.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(&self, progress: Progress<'_>) -> Result<Vec<Row>, TestnetError> {
        let mut rows = Vec::new();
        let ways = [(true, "and their chain", targets::UP_CHAIN), (false, "without a chain", targets::UP)];
        for (chain, words, target) in ways {
            let up = self.within(async |testnet| self.up(testnet, chain, progress).await).await?;
            let what = format!("until {} nodes {words} are ready, from nothing", self.nodes);
            rows.push(Row::below(what, up.as_secs_f64(), target, "s"));
        }
        Ok(rows)
    }

    /// Does something to a testnet in a folder of its own, and removes it.
    async fn within<T>(
        &self,
        measure: impl AsyncFnOnce(&Testnet) -> Result<T, TestnetError>,
    ) -> Result<T, TestnetError> {
        let io = |cause| TestnetError::Io { deed: "make", path: std::env::temp_dir(), cause };
        let temp = tempfile::tempdir().map_err(io)?;
        let testnet = Testnet::new(Folder::new(Some(temp.path()))?, self.binary.clone());
        let found = measure(&testnet).await;
        let _ = testnet.down(false).await?;
        found
    }

    /// Starts the nodes; how long that took.
    async fn up(
        &self,
        testnet: &Testnet,
        chain: bool,
        progress: Progress<'_>,
    ) -> Result<Duration, TestnetError> {
        let started = Instant::now();
        let arguments = vec!["--unlimited".to_owned()];
        let options = TestnetOptions { nodes: Some(self.nodes), arguments, chain, page: None };
        testnet.up(&options, &mut |ready, all| progress("start", ready as u64, all as u64)).await?;
        Ok(started.elapsed())
    }

    async fn measure_nodes(
        &self,
        testnet: &Testnet,
        progress: Progress<'_>,
    ) -> Result<Vec<Row>, TestnetError> {
        let up = self.up(testnet, false, progress).await?;
        wait(SETTLE, |done, all| progress("settle", done, all)).await;
        let resident = testnet.resident()?.into_iter().max().unwrap_or_default();
        let network = testnet.folder().network()?;
        let mut deliver = |done, all| progress("deliver", done, all);
        let mut delays = deliveries(&network, direct(), &mut deliver).await?;
        let clients = self.clients(&network).await?;
        let seconds = Duration::from_secs(self.seconds);
        let load = clients.load(seconds, &mut |done, all| progress("store", done, all)).await?;
        let Load { mut delays_ms, seconds: took, failed } = load;
        testnet.kill(VICTIM).await?;
        let missed = clients
            .load(AWAY.min(seconds), &mut |done, all| progress("store without a node", done, all))
            .await?;
        progress("return", 0, 1);
        let started = Instant::now();
        testnet.start(&[VICTIM]).await?;
        let back = started.elapsed();
        let done = delays_ms.len() as f64;
        let kept = 100.0 * done / (done + failed as f64);
        let stores = format!("stores, {} nodes, {} clients, 1 KiB", self.nodes, self.clients);
        let resident = resident as f64 / f64::from(1 << 20);
        let missed = missed.delays_ms.len();
        Ok(vec![
            Row::above(stores, done / took, targets::STORES, "1/s"),
            Row::below("to majority-durable, p50", percentile(&mut delays_ms, 50)?, targets::P50, "ms"),
            Row::below("to majority-durable, p99", percentile(&mut delays_ms, 99)?, targets::P99, "ms"),
            Row::above("stores that succeed", kept, targets::SUCCEED, "%"),
            Row::below(
                "from send to a watching client, p50",
                percentile(&mut delays, 50)?,
                targets::WATCH,
                "ms",
            ),
            Row::below("memory of the largest idle node", resident, targets::RESIDENT, "MiB"),
            Row::below("until all nodes are ready", up.as_secs_f64(), targets::UP, "s"),
            Row::below(
                format!("until a killed node is ready again, after {missed} stores without it"),
                back.as_secs_f64(),
                targets::RETURN,
                "s",
            ),
        ])
    }

    async fn clients(&self, network: &NetworkFile) -> Result<Clients, TestnetError> {
        let accounts = (0..ACCOUNTS).map(|_| Account::generate().map(|account| account.id()));
        let accounts: Arc<[AccountId]> =
            accounts.collect::<Result<_, _>>().map_err(|_| TestnetError::Random)?;
        let mut clients = Vec::new();
        for _ in 0..self.clients {
            clients.push(Client::connect(network.clone(), direct()).await?);
        }
        let clients = Clients { clients, accounts, next: Arc::default() };
        // Connections are made before the clock starts.
        futures::future::join_all(clients.clients.iter().map(async |client| {
            for _ in 0..8 {
                let _ = clients.store(client).await;
            }
        }))
        .await;
        Ok(clients)
    }
}

/// Clients that ask nodes straight: it is the nodes that are measured, three of which make no path.
fn direct() -> ClientOptions {
    ClientOptions { direct: true, ..ClientOptions::default() }
}

/// Clients that store.
#[derive(Clone)]
struct Clients {
    clients: Vec<Client>,
    accounts: Arc<[AccountId]>,
    /// The number of the next message.
    next: Arc<AtomicUsize>,
}

impl Clients {
    async fn store(&self, client: &Client) -> Result<f64, ClientError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let account = &self.accounts[number * 7 % self.accounts.len()];
        let begun = Instant::now();
        client.store(account, Namespace::INBOX, body(number), TTL, None).await?;
        Ok(ms(begun.elapsed()))
    }

    /// All store at once, as fast as each gets its answer.
    async fn load(
        &self,
        span: Duration,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Load, TestnetError> {
        let started = Instant::now();
        let until = started + span;
        let tasks: Vec<_> = self
            .clients
            .iter()
            .map(|client| {
                let (all, client) = (self.clone(), client.clone());
                tokio::spawn(async move {
                    let (mut delays_ms, mut failed) = (Vec::new(), 0_u64);
                    while Instant::now() < until {
                        match all.store(&client).await {
                            Ok(delay) => delays_ms.push(delay),
                            Err(error) => {
                                tracing::debug!(%error, "a store failed");
                                failed += 1;
                            }
                        }
                    }
                    (delays_ms, failed)
                })
            })
            .collect();
        wait(span, progress).await;
        let mut load = Load { delays_ms: Vec::new(), seconds: 0.0, failed: 0 };
        for task in tasks {
            let (delays_ms, failed) = task.await.map_err(|_| TestnetError::Bench("a client stopped"))?;
            load.delays_ms.extend(delays_ms);
            load.failed += failed;
        }
        load.seconds = started.elapsed().as_secs_f64();
        Ok(load)
    }
}

struct Load {
    delays_ms: Vec<f64>,
    seconds: f64,
    failed: u64,
}

/// Sends messages one by one, straight, to a client that watches as told. The clock starts before each is
/// sent, and so before any member has committed it.
async fn deliveries(
    network: &NetworkFile,
    reader: ClientOptions,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Vec<f64>, TestnetError> {
    let account = || Account::generate().map_err(|_| TestnetError::Random);
    let (alice, bob) = (account()?, account()?);
    let to = bob.id();
    let sender = Client::connect(network.clone(), direct()).await?;
    let reader = Client::connect(network.clone(), reader).await?;
    let mut watch = reader.watch(&bob, Cursors::new(), []).await?;
    sender.send(&alice, &to, "connect").await?;
    watch.next().await;
    let mut delays = Vec::new();
    for number in 0..WATCHED {
        let begun = Instant::now();
        let arrives = async {
            let item = tokio::time::timeout(DELIVERY, watch.next()).await;
            item.ok().flatten().map(|_| ms(begun.elapsed()))
        };
        let text = format!("message {number}");
        let (sent, delay) = tokio::join!(sender.send(&alice, &to, &text), arrives);
        sent?;
        delays.push(delay.ok_or(TestnetError::Bench("a message did not arrive"))?);
        progress(number as u64 + 1, WATCHED as u64);
    }
    Ok(delays)
}

/// Lets time pass, and tells how much.
async fn wait(span: Duration, mut progress: impl FnMut(u64, u64)) {
    let started = Instant::now();
    while started.elapsed() < span {
        progress(started.elapsed().as_secs(), span.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A message that no other equals.
fn body(number: usize) -> Vec<u8> {
    let mut body = vec![b'x'; SIZE];
    body[..8].copy_from_slice(&(number as u64).to_be_bytes());
    body
}

fn percentile(values: &mut [f64], percent: usize) -> Result<f64, TestnetError> {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().ok_or(TestnetError::Bench("nothing was stored"))
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_values() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            (percentile(&mut values, 50).unwrap(), percentile(&mut values, 99).unwrap()),
            (51.0, 100.0)
        );
        assert_eq!(percentile(&mut [7.0], 99).unwrap(), 7.0);
        assert!(percentile(&mut [], 50).is_err());
    }

    #[test]
    fn a_ratio_above_one_is_better() {
        let row = Row::below("memory", 20.0, 40.0, "MiB");
        assert_eq!((row.ratio, row.wanted, row.peer), (2.0, 1.0, 40.0));
        let row = Row::above("stores", 600.0, 400.0, "1/s");
        assert_eq!((row.ratio, row.wanted, row.peer), (1.5, 1.0, 400.0));
        assert_ne!(body(1), body(2));
    }
}
