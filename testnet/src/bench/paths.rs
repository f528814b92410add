//! Onion paths: stores one after the other, over a warm path and straight, by turns; and how soon a client
//! that watches over a path has what arrives.

use session_client::{Account, Client, Options as ClientOptions};
use session_protocols::Namespace;
use tokio::time::Instant;

use super::{Bench, Progress, Row, TTL, body, deliveries, direct, ms, percentile, targets};
use crate::{Testnet, error::TestnetError};

/// Stores over a path, and as many straight, between two looks at the clock.
const STORES: usize = 100;
/// Times that both are measured; the median counts.
const RUNS: usize = 5;
/// Stores that make paths, sessions and connections warm.
const WARM: usize = 30;

impl Bench {
    pub(super) async fn measure_paths(
        &self,
        testnet: &Testnet,
        progress: Progress<'_>,
    ) -> Result<Vec<Row>, TestnetError> {
        self.up(testnet, progress).await?;
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
        let what = "store over a warm path, p50, beside one that goes straight".to_owned();
        let beside =
            Row { what, ours: over, peer: direct, unit: "ms", ratio: direct / over, wanted: targets::PATH };
        Ok(vec![
            beside,
            Row::below("store over a warm path, p50", over, targets::PATH_P50, "ms"),
            Row::below("from send to a client that watches over a path, p50", watched, targets::WATCH, "ms"),
        ])
    }
}
