//! Onion paths: stores one after the other, over a warm path and straight, by turns; how soon a client that
//! watches over a path has what arrives; and how long a store takes whose hop is killed under it.

use std::cell::Cell;

use session_chain::NetworkFile;
use session_client::{Account, Client, Options as ClientOptions};
use session_protocols::{Namespace, path::State};
use tokio::time::{Duration, Instant, sleep};

use super::{Bench, Progress, Row, TTL, body, deliveries, direct, ms, percentile, targets};
use crate::{Testnet, error::TestnetError};

/// Stores over a path, and as many straight, between two looks at the clock.
const STORES: usize = 100;
/// Times that both are measured; the median counts.
const RUNS: usize = 5;
/// Stores that make paths, sessions and connections warm.
const WARM: usize = 30;
/// Hops that are killed, by turns the guard, the middle and the last one.
const KILLS: usize = 6;
/// Stores after each death.
const AFTER: usize = 12;
/// How long a hop that was killed refuses handshakes after its return, at most.
const RETURN: Duration = Duration::from_secs(11);

impl Bench {
    pub(super) async fn measure_paths(
        &self,
        testnet: &Testnet,
        progress: Progress<'_>,
    ) -> Result<Vec<Row>, TestnetError> {
        self.up(testnet, false, progress).await?;
        let network = testnet.folder().network()?;
        let account = Account::generate().map_err(|_| TestnetError::Random)?.id();
        let path = Client::connect(network.clone(), ClientOptions::default()).await?;
        let straight = Client::connect(network.clone(), direct()).await?;
        let mut number = 0;
        let mut stores = async |client: &Client, count: usize| -> Result<f64, TestnetError> {
            let mut delays = Vec::new();
            for _ in 0..count {
                number += 1;
                let begun = Instant::now();
                client.store(&account, Namespace::INBOX, body(number), TTL, None).await?;
                delays.push(ms(begun.elapsed()));
            }
            percentile(&mut delays, 50)
        };
        let (mut over, mut direct) = (Vec::new(), Vec::new());
        for client in [&path, &straight] {
            stores(client, WARM).await?;
        }
        for run in 0..RUNS {
            // Each side goes first by turns.
            for first in [run % 2 == 0, run % 2 != 0] {
                let (client, found) = if first { (&path, &mut over) } else { (&straight, &mut direct) };
                found.push(stores(client, STORES).await?);
            }
            progress("store", run as u64 + 1, RUNS as u64);
        }
        let mut deliver = |done, all| progress("deliver", done, all);
        let mut watched = deliveries(&network, ClientOptions::default(), &mut deliver).await?;
        let (over, direct) = (percentile(&mut over, 50)?, percentile(&mut direct, 50)?);
        let watched = percentile(&mut watched, 50)?;
        let killed = killed(testnet, &network, progress).await?;
        let what = "store over a warm path, p50, beside one that goes straight".to_owned();
        let beside =
            Row { what, ours: over, peer: direct, unit: "ms", ratio: direct / over, wanted: targets::PATH };
        Ok(vec![
            beside,
            Row::below("store over a warm path, p50", over, targets::PATH_P50, "ms"),
            Row::below("from send to a client that watches over a path, p50", watched, targets::WATCH, "ms"),
            Row::below("the slowest store whose hop was killed under it", killed, targets::KILLED, "ms"),
        ])
    }
}

/// Kills hops while stores travel, each time of a client that was just made, and starts them again: the
/// milliseconds of the slowest store.
async fn killed(
    testnet: &Testnet,
    network: &NetworkFile,
    progress: Progress<'_>,
) -> Result<f64, TestnetError> {
    let account = Account::generate().map_err(|_| TestnetError::Random)?.id();
    let (mut number, mut longest) = (0, 0.0);
    for turn in 0..KILLS {
        let client = Client::connect(network.clone(), ClientOptions::default()).await?;
        let mut store = async || -> Result<f64, TestnetError> {
            number += 1;
            let begun = Instant::now();
            client.store(&account, Namespace::INBOX, body(number), TTL, None).await?;
            Ok(ms(begun.elapsed()))
        };
        store().await?;
        let paths = client.paths();
        let ready = paths.iter().rfind(|path| path.state == State::Ready);
        let hop = ready.and_then(|path| path.hops.get(turn % path.hops.len()));
        let index = hop.and_then(|hop| network.nodes.iter().position(|node| node.id == hop.id));
        let Some(index) = index.map(|index| index + 1) else { continue };
        let dead = Cell::new(false);
        let kill = async {
            testnet.kill(index).await?;
            dead.set(true);
            Ok::<_, TestnetError>(())
        };
        // One after the other, so that one is under way whenever it dies.
        let stores = async {
            let mut after = 0;
            while after < AFTER {
                after += usize::from(dead.get());
                longest = store().await?.max(longest);
            }
            Ok::<_, TestnetError>(())
        };
        tokio::try_join!(kill, stores)?;
        testnet.start(&[index]).await?;
        // One at a time: until then it refuses handshakes, as it does not know what it took before.
        sleep(RETURN).await;
        progress("kill", turn as u64 + 1, KILLS as u64);
    }
    Ok(longest)
}
