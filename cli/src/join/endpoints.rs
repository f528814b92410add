//! Whether a chain's endpoints serve what a network needs.

use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use session_chain::{
    network::Settlement,
    settlement::{Endpoint, Trouble},
};

use crate::failure::{Exit, Failure};

/// How long an endpoint may take to answer a question.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How far an endpoint's newest block may lag behind another's, or behind the clock if it is the only one.
pub(crate) const LAG: u64 = 300;

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
    let mut good: Vec<Look> = good.into_iter().flatten().collect();
    let newest = good.iter().map(|look| look.time).max().unwrap_or_default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let expected = if good.len() > 1 { newest } else { now };
    let (current, behind): (Vec<_>, Vec<_>) =
        good.drain(..).partition(|look| look.time.saturating_add(LAG) >= expected);
    bad.extend(behind.into_iter().map(|look| {
        Err(format!(
            "{} is behind: its newest block {} is {} s old: wait until it has caught up, or name another with --rpc",
            look.name,
            look.height,
            expected.saturating_sub(look.time)
        ))
    }));
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
    let staking = settlement.contracts.staking;
    if !endpoint.has_code(staking).await.map_err(wrong)? {
        return Err(format!(
            "{name} has no contract at {staking:#x}: it is another chain with the same number, or was set back: name \
             another with --rpc"
        ));
    }
    Ok(Look { name, height, time, took })
}
