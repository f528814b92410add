//! Measures one relay: a node process on a core of its own, between clients that keep sessions with it and
//! a node that it forwards to. Both of these are this process, on another core.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use session_chain::NetworkFile;
use session_node::keystore;
use session_protocols::{KeyPair, directory::Transport};
use tokio::sync::oneshot;

use self::{
    beyond::Beyond,
    load::{Guest, Load},
};
use super::{Bench, Progress, Row, percentile};
use crate::{Folder, error::TestnetError, genesis};

mod beyond;
mod load;

/// Clients, each with a connection and a session of its own.
const CLIENTS: usize = 8;
/// Requests that each has under way.
const DEPTH: usize = 64;
/// Runs of each transport; the median counts.
const RUNS: usize = 5;
/// How long requests travel before the clock starts.
const WARM: Duration = Duration::from_secs(1);
/// How long they are counted.
const SPAN: Duration = Duration::from_secs(4);
/// How long the relay may take to start.
const START: Duration = Duration::from_secs(20);

/// Requests a second through one relay.
const TARGET: f64 = 20_000.0;

/// What one run found.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Requests a second.
    rate: f64,
    /// Microseconds of the relay's processor for one.
    cpu: f64,
}

impl Bench {
    /// Measures one relay alone, in a folder of its own, and removes it.
    ///
    /// # Errors
    /// When it does not start, or does not answer.
    pub async fn relay(&self, progress: Progress<'_>) -> Result<Vec<Row>, TestnetError> {
        let mut rows = Vec::new();
        for (transport, name) in [(Transport::Quic, "QUIC"), (Transport::Tcp, "TCP")] {
            let (mut rates, mut costs) = (Vec::new(), Vec::new());
            for run in 0..RUNS {
                let found = apart(self.binary.clone(), transport).await?;
                tracing::debug!(name, found.rate, found.cpu, "a run");
                rates.push(found.rate);
                costs.push(found.cpu);
                progress("relay", run as u64 + 1, RUNS as u64);
            }
            let what = format!("requests through one relay, 2 KB, kept sessions, one core, {name}");
            rows.push(Row::above(what, percentile(&mut rates, 50)?, TARGET, "1/s"));
            let what = format!("processor of the relay for one of them, {name}");
            rows.push(Row::below(what, percentile(&mut costs, 50)?, 1e6 / TARGET, "us"));
        }
        Ok(rows)
    }
}

/// Measures on a thread of its own, which leaves its core to the relay once that has started there.
async fn apart(binary: PathBuf, transport: Transport) -> Result<Found, TestnetError> {
    let (found, finds) = oneshot::channel();
    thread::spawn(move || {
        let _ = found.send(run(&binary, transport));
    });
    finds.await.map_err(|_| TestnetError::Bench("the load stopped"))?
}

fn run(binary: &Path, transport: Transport) -> Result<Found, TestnetError> {
    let temp = tempfile::tempdir();
    let io = |cause| TestnetError::Io { deed: "make", path: std::env::temp_dir(), cause };
    let temp = temp.map_err(io)?;
    let folder = Folder::new(Some(temp.path()))?;
    let plan = Plan::new(&folder, transport)?;
    let [first, last] = cores();
    pin(first);
    // What this thread starts runs where this thread may run.
    let node = Node::start(binary, &folder, &plan)?;
    pin(last);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
    runtime.block_on(measure(&plan, &node))
}

async fn measure(plan: &Plan, node: &Node) -> Result<Found, TestnetError> {
    let beyond = Beyond::start(plan)?;
    let mut guests = Vec::new();
    let until = Instant::now() + START;
    while guests.len() < CLIENTS {
        match Guest::enter(plan, &beyond).await {
            Ok(guest) => guests.push(guest),
            // It is not up yet, or has not met the other node.
            Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return Err(error),
        }
    }
    let load = Load { done: Arc::new(AtomicU64::new(0)), stop: Arc::new(AtomicBool::new(false)) };
    let workers: Vec<_> = guests.iter().flat_map(|guest| load.start(guest, DEPTH)).collect();
    tokio::time::sleep(WARM).await;
    let (begun, done, cpu) = (Instant::now(), load.done(), node.processor()?);
    tokio::time::sleep(SPAN).await;
    let (took, done, cpu) = (begun.elapsed(), load.done() - done, node.processor()? - cpu);
    load.stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.map_err(|_| TestnetError::Bench("a client stopped"))??;
    }
    if done == 0 {
        return Err(TestnetError::Bench("nothing came back"));
    }
    let done = done as f64;
    Ok(Found { rate: done / took.as_secs_f64(), cpu: cpu.as_secs_f64() * 1e6 / done })
}

/// Two registered nodes: the relay, and the one that this process is.
struct Plan {
    network: NetworkFile,
    transport: Transport,
    beyond: KeyPair,
    http: String,
}

impl Plan {
    fn new(folder: &Folder, transport: Transport) -> Result<Self, TestnetError> {
        let (mut network, entries) = genesis::make(folder, 2, false)?;
        for node in &mut network.nodes {
            let marked = if transport == Transport::Quic { "quic-v1" } else { "/tcp/" };
            node.addresses.retain(|address| address.contains(marked));
        }
        let beyond = keystore::load(&folder.data(2))?;
        Ok(Self { network, transport, beyond, http: entries[0].http.to_string() })
    }
}

/// The relay's process.
struct Node(Child);

impl Node {
    fn start(binary: &Path, folder: &Folder, plan: &Plan) -> Result<Self, TestnetError> {
        let path = folder.network_path();
        let io = |cause| TestnetError::Io { deed: "write", path: path.clone(), cause };
        fs::write(&path, plan.network.to_toml()).map_err(io)?;
        let mut command = Command::new(binary);
        command.args(["node", "run", "--unlimited", "--http", &plan.http, "--network"]).arg(&path);
        command.arg("--data").arg(folder.data(1));
        for address in &plan.network.nodes[0].addresses {
            command.args(["--listen", address]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map(Self).map_err(|cause| TestnetError::Spawn { binary: binary.to_owned(), cause })
    }

    /// How long it has run on a processor.
    fn processor(&self) -> Result<Duration, TestnetError> {
        let path = PathBuf::from(format!("/proc/{}/stat", self.0.id()));
        let stat =
            fs::read_to_string(&path).map_err(|cause| TestnetError::Io { deed: "read", path, cause })?;
        ticks(&stat)
            .map(|ticks| Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
            .ok_or(TestnetError::Bench("the relay's times cannot be read"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Clock ticks that a process has run for, in user mode and in the kernel's.
fn ticks(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold anything; the fields after it are 3 (state) and on.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// The first and the last core that this process may use.
fn cores() -> [Option<usize>; 2] {
    let Ok(all) = sched_getaffinity(None) else { return [None; 2] };
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
    let first = cores.next();
    [first, cores.next_back().or(first)]
}

/// Keeps this thread, and what it starts, on one core; without leave to do so all goes on as it is.
fn pin(core: Option<usize>) {
    let mut set = CpuSet::new();
    if let Some(core) = core {
        set.set(core);
        let _ = sched_setaffinity(None, &set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_says_how_long_it_ran() {
        assert_eq!(ticks("7 (a b) S) R 1 2 3 4 5 6 7 8 9 10 40 2 0 0"), Some(42));
        assert_eq!(ticks("7 (a) R 1 2 3"), None);
    }

    #[test]
    fn two_threads_have_cores_to_run_on() {
        let [first, last] = cores();
        assert!(first.is_some() && last >= first);
    }
}
