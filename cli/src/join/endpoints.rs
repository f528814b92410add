//! Whether a chain's endpoints serve what a network needs.

use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use session_chain::{
    network::{Contracts, Settlement},
    settlement::{Endpoint, Trouble},
};

use crate::failure::{Exit, Failure};

/// How long an endpoint may take to answer a question.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// By how much the time of an endpoint's newest block may differ from another's, or lag behind the clock if it is the
/// only one.
const LAG: u64 = 300;

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The names of those that serve the chain.
    pub(crate) good: Vec<String>,
    /// What is wrong with the others, and what to do.
    pub(crate) bad: Vec<String>,
    chain: u64,
    height: u64,
}

impl Found {
    /// In one line.
    pub(crate) fn told(&self) -> String {
        let bad: String = self.bad.iter().map(|bad| format!("; {bad}")).collect();
        format!("chain {} at block {}, by {}{bad}", self.chain, self.height, self.good.join(", "))
    }
}

/// One endpoint's answers.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) name: String,
    pub(crate) height: u64,
    /// When that block was made, in seconds since 1970.
    pub(crate) time: u64,
    /// How long one answer took.
    pub(crate) took: Duration,
}

/// Asks all of them; at least one has to serve the chain with its contracts, up to date.
pub(crate) async fn check(settlement: &Settlement, urls: &[String]) -> Result<Found, Failure> {
    let looks = join_all(urls.iter().map(|url| look(settlement, url))).await;
    let (good, mut bad): (Vec<_>, Vec<_>) = looks.into_iter().partition(Result::is_ok);
    let good: Vec<Look> = good.into_iter().flatten().collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let expected = expected(&good.iter().map(|look| look.time).collect::<Vec<_>>(), now);
    let mut current = Vec::new();
    for look in good {
        match look.apart(expected) {
            None => current.push(look),
            Some((told, remedy)) => bad.push(Err(format!("{told}: {remedy} with --rpc"))),
        }
    }
    let bad: Vec<String> = bad.into_iter().filter_map(Result::err).collect();
    if current.is_empty() {
        let message = format!("no endpoint serves the chain {}: {}", settlement.chain, bad.join("; "));
        let remedy = "mend what is named there, or name an endpoint that serves it: --rpc URL";
        return Err(Failure::new(Exit::NotReady, "chain", message, remedy));
    }
    Ok(Found {
        height: current.iter().map(|look| look.height).max().unwrap_or_default(),
        good: current.into_iter().map(|look| look.name).collect(),
        bad,
        chain: settlement.chain,
    })
}

/// The time of the newest block, in seconds since 1970: of several that which is nearest to the clock, so that none makes
/// the others look late by a date of its own; of a single one its own, unless that is past.
pub(crate) fn expected(times: &[u64], now: u64) -> u64 {
    match times {
        [alone] => now.max(*alone),
        several => several.iter().copied().min_by_key(|time| time.abs_diff(now)).unwrap_or(now),
    }
}

/// What an endpoint says, or what is wrong with it.
pub(crate) async fn look(settlement: &Settlement, url: &str) -> Result<Look, String> {
    // What is no URL may hold a key all the same.
    let endpoint = Endpoint::within(url, PATIENCE).map_err(|error| error.to_string())?;
    let name = endpoint.name().to_owned();
    let wrong = |trouble: Trouble| format!("{name} {trouble}: {}", trouble.remedy());
    let begun = Instant::now();
    let found = endpoint.chain().await.map_err(wrong)?;
    let took = begun.elapsed();
    if found != settlement.chain {
        return Err(wrong(Trouble::WrongChain { found, wanted: settlement.chain }));
    }
    let (height, time) = endpoint.newest().await.map_err(wrong)?;
    let Contracts { token, pool, staking, factory, checkpoints, names } = settlement.contracts;
    let described = [token, pool, staking, factory, checkpoints, names].into_iter().chain(settlement.vault);
    for contract in described {
        if !endpoint.has_code(contract).await.map_err(wrong)? {
            return Err(format!(
                "{name} has no contract at {contract:#x}: it is another chain with the same number, or was set back: \
                 name another with --rpc"
            ));
        }
    }
    Ok(Look { name, height, time, took })
}

impl Look {
    /// What is wrong with it where its newest block is not of the time that is expected, and what to do about it, but
    /// for where another is named.
    pub(crate) fn apart(&self, expected: u64) -> Option<(String, &'static str)> {
        let Self { name, height, time, .. } = self;
        let by = time.abs_diff(expected);
        if by <= LAG {
            return None;
        }
        Some(if *time < expected {
            let told = format!("{name} is behind: its newest block {height} is {by} s old");
            (told, "wait until it has caught up, or name another")
        } else {
            let told =
                format!("{name} is ahead: its newest block {height} is dated {by} s after the others'");
            (told, "name another")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_the_future_makes_nobody_late() {
        let now = 1_800_000_000;
        let good = |times: &[u64]| {
            let expected = expected(times, now);
            times.iter().map(|time| time.abs_diff(expected) <= LAG).collect::<Vec<_>>()
        };
        assert_eq!(good(&[now - 12, now + 3_600]), [true, false], "one has a date of its own");
        assert_eq!(good(&[now - 12, now - 2, now - 3_600]), [true, true, false], "one is behind");
        assert_eq!(good(&[now - 3_600]), [false], "nobody else is asked");
        assert_eq!(good(&[now + 3_600]), [true], "a chain whose clock is its own");
        assert_eq!(good(&[now - 4_000, now - 3_990]), [true, true], "no block came for long");
    }
}
