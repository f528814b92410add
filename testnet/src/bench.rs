//! Measures a testnet: how fast it keeps messages, how fast it delivers them, what it costs at rest.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use serde::Serialize;
use session_chain::NetworkFile;
use session_client::{Account, Client, Cursors, Options as ClientOptions};
use session_protocols::{AccountId, Namespace};
use tokio::time::Instant;

use crate::{Folder, Options as TestnetOptions, Testnet, error::TestnetError};

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

/// What to measure.
#[derive(Clone, Debug)]
pub struct Bench {
    /// What nodes run.
    pub binary: PathBuf,
    /// How many nodes.
    pub nodes: usize,
    /// How many clients store at once.
    pub clients: usize,
    /// For how long.
    pub seconds: u64,
}

/// A figure beside what it is measured against.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What was found.
    pub ours: f64,
    /// The target; none where there is nothing to compare with.
    pub peer: Option<f64>,
    /// The unit of both.
    pub unit: &'static str,
    /// How much better than the target; 1 where there is none.
    pub ratio: f64,
    /// What [`Self::ratio`] has to be at least; 0 where nothing is asked for.
    pub wanted: f64,
}

impl Row {
    /// A figure without a target.
    fn alone(what: impl Into<String>, ours: f64, unit: &'static str) -> Self {
        Self { what: what.into(), ours, peer: None, unit, ratio: 1.0, wanted: 0.0 }
    }

    /// A figure that has to be below `target`.
    fn below(what: impl Into<String>, ours: f64, target: f64, unit: &'static str) -> Self {
        let ratio = if ours > 0.0 { target / ours } else { f64::MAX };
        Self { what: what.into(), ours, peer: Some(target), unit, ratio, wanted: 1.0 }
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
        let io = |cause| TestnetError::Io { deed: "make", path: std::env::temp_dir(), cause };
        let temp = tempfile::tempdir().map_err(io)?;
        let testnet = Testnet::new(Folder::new(Some(temp.path()))?, self.binary.clone());
        let rows = self.measure(&testnet, progress).await;
        testnet.down(false).await?;
        rows
    }

    async fn measure(&self, testnet: &Testnet, progress: Progress<'_>) -> Result<Vec<Row>, TestnetError> {
        let started = Instant::now();
        let options = TestnetOptions { nodes: Some(self.nodes), arguments: vec!["--unlimited".to_owned()] };
        testnet.up(&options, &mut |ready, all| progress("start", ready as u64, all as u64)).await?;
        let up = started.elapsed();
        wait(SETTLE, |done, all| progress("settle", done, all)).await;
        let resident = testnet.resident()?.into_iter().max().unwrap_or_default();
        let network = testnet.folder().network()?;
        let mut delays = deliveries(&network, &mut |done, all| progress("deliver", done, all)).await?;
        let load = self.load(&network, &mut |done, all| progress("store", done, all)).await?;
        let Load { mut delays_ms, seconds, failed } = load;
        let stores = format!("stores, {} nodes, {} clients, 1 KiB", self.nodes, self.clients);
        let count = delays_ms.len() as f64;
        Ok(vec![
            Row::alone(stores, count / seconds, "1/s"),
            Row::alone("to majority-durable, p50", percentile(&mut delays_ms, 50)?, "ms"),
            Row::alone("to majority-durable, p99", percentile(&mut delays_ms, 99)?, "ms"),
            Row::alone("stores that failed", failed as f64, ""),
            Row::below("from send to a watching client, p50", percentile(&mut delays, 50)?, 50.0, "ms"),
            Row::below("memory of the largest idle node", resident as f64 / f64::from(1 << 20), 40.0, "MiB"),
            Row::below("until all nodes are ready", up.as_secs_f64(), 10.0, "s"),
        ])
    }

    /// Stores from many clients at once, as fast as each gets its answer.
    async fn load(
        &self,
        network: &NetworkFile,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Load, TestnetError> {
        let accounts = (0..ACCOUNTS).map(|_| Account::generate().map(|account| account.id()));
        let accounts: Arc<[AccountId]> =
            accounts.collect::<Result<_, _>>().map_err(|_| TestnetError::Random)?;
        let mut clients = Vec::new();
        for _ in 0..self.clients {
            clients.push(Client::connect(network.clone(), ClientOptions::default()).await?);
        }
        // Connections are made before the clock starts.
        let warm = clients.iter().enumerate().map(|(number, client)| {
            let accounts = &accounts;
            async move {
                for at in 0..8 {
                    let account = &accounts[(number * 8 + at) % accounts.len()];
                    let _ = client.store(account, Namespace::INBOX, body(number, at), TTL, None).await;
                }
            }
        });
        futures::future::join_all(warm).await;
        let started = Instant::now();
        let until = started + Duration::from_secs(self.seconds);
        let failed = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(number, client)| {
                let (accounts, failed) = (Arc::clone(&accounts), Arc::clone(&failed));
                tokio::spawn(async move {
                    let mut delays_ms = Vec::new();
                    for at in 8.. {
                        if Instant::now() >= until {
                            break;
                        }
                        let account = &accounts[(number * 101 + at * 7) % accounts.len()];
                        let begun = Instant::now();
                        match client.store(account, Namespace::INBOX, body(number, at), TTL, None).await {
                            Ok(_) => delays_ms.push(ms(begun.elapsed())),
                            Err(error) => {
                                tracing::debug!(%error, "a store failed");
                                failed.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                    delays_ms
                })
            })
            .collect();
        wait(Duration::from_secs(self.seconds), progress).await;
        let mut delays_ms = Vec::new();
        for task in tasks {
            delays_ms.extend(task.await.map_err(|_| TestnetError::Bench("a client stopped"))?);
        }
        Ok(Load {
            delays_ms,
            seconds: started.elapsed().as_secs_f64(),
            failed: failed.load(Ordering::Relaxed),
        })
    }
}

struct Load {
    delays_ms: Vec<f64>,
    seconds: f64,
    failed: u64,
}

/// Sends messages one by one to a client that watches. The clock starts before each is sent, and so
/// before any member has committed it.
async fn deliveries(
    network: &NetworkFile,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Vec<f64>, TestnetError> {
    let account = || Account::generate().map_err(|_| TestnetError::Random);
    let (alice, bob) = (account()?, account()?);
    let to = bob.id();
    let sender = Client::connect(network.clone(), ClientOptions::default()).await?;
    let reader = Client::connect(network.clone(), ClientOptions::default()).await?;
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
fn body(client: usize, number: usize) -> Vec<u8> {
    let mut body = vec![b'x'; SIZE];
    body[..8].copy_from_slice(&(client as u64).to_be_bytes());
    body[8..16].copy_from_slice(&(number as u64).to_be_bytes());
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
        assert_eq!((row.ratio, row.wanted, row.peer), (2.0, 1.0, Some(40.0)));
        assert_ne!(body(1, 2), body(2, 1));
    }
}
