//! The endpoints of the settlement chain, and the node's stake.

use std::{collections::BTreeMap, time::Duration};

use super::{Finding, Severity};
use crate::{
    doctor::facts::{Chain, Facts, Followed, Network, Node},
    join::endpoints::{Look, expected},
    text,
};

/// An answer that takes longer holds a node up.
const LATE: Duration = Duration::from_secs(2);

pub(super) fn findings(facts: &Facts, network: Option<&Network>) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(chain) = &facts.chain {
        found.extend(endpoints(chain, facts.now / 1_000, network.is_some_and(|network| network.local)));
        found.extend(agreement(chain));
    }
    match (&facts.node, &facts.staked) {
        (Node::Running(running), _) => found.extend(running.status.chain.iter().flat_map(followed)),
        (Node::Stopped | Node::Silent { .. }, Some(Ok(true))) => {
            found.push(Finding::ok("stake", "it is there, by the contract"));
        }
        (Node::Stopped | Node::Silent { .. }, Some(Ok(false))) => found.push(unstaked(facts)),
        (Node::Stopped | Node::Silent { .. }, Some(Err(wrong))) => {
            found.push(Finding::warn("stake", wrong.message.clone(), wrong.remedy.clone()));
        }
        (Node::Stopped | Node::Silent { .. }, None) => {}
    }
    found
}

fn unstaked(facts: &Facts) -> Finding {
    let remedy = format!("put its stake down: session stake register {} --fee 10%", facts.data.display());
    Finding::warn("stake", "the node is not registered", remedy)
}

/// How each endpoint serves the chain. That one of several does not is bad; that none does is worse.
fn endpoints(chain: &Chain, now: u64, local: bool) -> Vec<Finding> {
    let good: Vec<&Look> = chain.looks.iter().flatten().collect();
    let expected = expected(&good.iter().map(|look| look.time).collect::<Vec<_>>(), now);
    let serves = good.iter().any(|look| look.apart(expected).is_none());
    let severity = if serves { Severity::Warn } else { Severity::Fail };
    let mut found = Vec::new();
    for look in &chain.looks {
        let apart = look.as_ref().ok().and_then(|look| look.apart(expected));
        found.push(match (look, apart) {
            // It says itself what to do, behind the last colon.
            (Err(told), _) => Finding::bad(
                severity,
                "rpc",
                told.clone(),
                "as it says; or name another in `rpc` of the settings",
            ),
            (Ok(_), Some((told, remedy))) => {
                Finding::bad(severity, "rpc", told, format!("{remedy} in `rpc` of the settings"))
            }
            (Ok(look), None) if look.took > LATE => Finding::warn(
                "rpc",
                format!("{} answers in {} ms", look.name, look.took.as_millis()),
                "look at the connection; or name another in `rpc` of the settings",
            ),
            (Ok(look), None) => Finding::ok(
                "rpc",
                format!(
                    "{} serves chain {} at block {}, and answers in {} ms",
                    look.name,
                    chain.id,
                    look.height,
                    look.took.as_millis()
                ),
            ),
        });
    }
    if chain.looks.is_empty() {
        found.push(Finding::fail(
            "rpc",
            "nobody is named who serves the chain",
            "name one: `rpc` of the settings",
        ));
    }
    if chain.looks.len() == 1 && serves && !local {
        found.push(Finding::ok(
            "rpc",
            "one endpoint is all there is: a second one of another provider would show when it is wrong",
        ));
    }
    found
}

/// Whether all who serve the chain have the same block.
fn agreement(chain: &Chain) -> Option<Finding> {
    let mut sides: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, hash) in &chain.hashes {
        sides.entry(hash).or_default().push(name);
    }
    if sides.len() > 1 {
        let sides: Vec<_> = sides.values().map(|names| names.join(" and ")).collect();
        let told =
            format!("endpoints have another block {} than others: {}", chain.block, sides.join(" against "));
        let remedy = "ask a third provider which is right, and leave the other out of `rpc` of the settings";
        return Some(Finding::fail("rpc_agreement", told, remedy));
    }
    let (count, block) = (chain.hashes.len(), chain.block);
    (count > 1).then(|| Finding::ok("rpc_agreement", format!("all {count} have the same block {block}")))
}

/// What a node that runs says of its chain, beside its checks.
fn followed(chain: &Followed) -> Vec<Finding> {
    let mut found = Vec::new();
    for endpoint in chain.endpoints.iter().filter(|endpoint| endpoint.standing != "good") {
        let why = endpoint.trouble.as_deref().unwrap_or("it does not say why");
        found.push(Finding::warn(
            "node_rpc",
            format!("the node finds {} {}: it {why}", endpoint.name, endpoint.standing),
            "as it says; or name another in `rpc` of the settings, and restart the node",
        ));
    }
    if let Some(trouble) = &chain.trouble {
        found.push(Finding::warn(
            "submission",
            format!("this node submits none: {trouble}"),
            "pay some ether to the account that pays (`session key show`); others submit meanwhile",
        ));
    }
    if let Some(stake) = &chain.stake {
        let leaves = stake.unlocks.map(|at| format!("; it leaves, at {} at the earliest", text::time(at)));
        let told = format!("{} SESH, {}{}", stake.staked, chain.registration, leaves.unwrap_or_default());
        found.push(Finding::ok("stake", told));
    }
    found
}
