//! From what was found out to what is wrong, and how to mend it. It computes only.

mod chain;
mod node;
#[cfg(test)]
mod tests;

use serde::Serialize;
use session_chain::network::Limits;

use super::facts::{Facts, Keys, Network, Node, Wrong};
use crate::join::machine::{DRIFT, GIB};

/// A small write that takes longer than that, in milliseconds, makes clients wait.
const SLOW: u128 = 250;
/// By so many seconds a clock may differ before anybody should look at it.
const DRIFTS: i64 = 5;
/// What a machine should have where all of the network runs on it: those who try things out are not kept from it.
const LITTLE: Limits = Limits { disk: 1, memory: 512, files: 256, release: [0; 3] };

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// It wants to be looked at.
    Warn,
    /// It is broken.
    Fail,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: &'static str,
    pub(crate) severity: Severity,
    pub(crate) found: String,
    /// What to do about it; none where nothing is to be done.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, severity: Severity::Ok, found: found.into(), remedy: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, severity: Severity::Warn, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, severity: Severity::Fail, found: found.into(), remedy: Some(remedy.into()) }
    }

    /// The same as whichever of these two it is.
    fn bad(
        severity: Severity,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity, ..Self::fail(check, found, remedy) }
    }

    fn wrong(check: &'static str, wrong: &Wrong) -> Self {
        Self::fail(check, wrong.message.clone(), wrong.remedy.clone())
    }
}

/// All findings, the worst at the end.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = settings(facts);
    found.extend(keys(&facts.keys));
    let known = facts.network.as_ref().ok().and_then(Option::as_ref);
    found.extend(machine(facts, known));
    found.push(clock(facts.ahead));
    found.extend(node::findings(facts, known));
    found.extend(chain::findings(facts, known));
    found.sort_by_key(|finding| finding.severity);
    found
}

/// The worst of all.
pub(crate) fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
}

fn settings(facts: &Facts) -> Vec<Finding> {
    match &facts.network {
        Err(wrong) => vec![Finding::wrong("settings", wrong)],
        Ok(None) => {
            let remedy = format!(
                "name it: --network NAME|FILE, or `network` in {}",
                facts.data.join(session_node::settings::FILE).display()
            );
            vec![
                Finding::ok("settings", "can be read"),
                Finding::fail("network", "the settings name no network", remedy),
            ]
        }
        Ok(Some(network)) => {
            let nodes = network.nodes;
            let told = format!("{}, whose description names {nodes} nodes", network.name);
            vec![Finding::ok("settings", "can be read"), Finding::ok("network", told)]
        }
    }
}

fn keys(keys: &Keys) -> Vec<Finding> {
    let mut found = Vec::new();
    match &keys.id {
        Ok(id) => {
            let kept = if keys.sealed { "encrypted" } else { "readable by its owner only" };
            found.push(Finding::ok("key", format!("of node {id}, {kept}")));
        }
        Err(wrong) => found.push(Finding::wrong("key", wrong)),
    }
    match &keys.gas {
        Ok(Some(address)) => {
            found.push(Finding::ok("gas_key", format!("it pays for checkpoints from {address}")))
        }
        Ok(None) => found.push(Finding::ok("gas_key", "there is none: it submits no checkpoints")),
        Err(wrong) => found.push(Finding::wrong("gas_key", wrong)),
    }
    match &keys.opened {
        Some(Ok(())) => found.push(Finding::ok("passphrase", "it opens the keys")),
        Some(Err(wrong)) => found.push(Finding::wrong("passphrase", wrong)),
        None if keys.sealed => found.push(Finding::ok("passphrase", "not tried: none is known here")),
        None => {}
    }
    found
}

fn machine(facts: &Facts, network: Option<&Network>) -> Vec<Finding> {
    let machine = &facts.machine;
    let limits = network.map_or_else(Limits::default, |network| network.limits);
    let limits = if network.is_none_or(|network| network.local) { LITTLE } else { limits };
    let mut found = Vec::new();
    match machine.disk {
        Some(disk) if disk < limits.disk.saturating_mul(GIB) => {
            let told = format!("the node may fill {} GiB, and needs {}", disk / GIB, limits.disk);
            let remedy = "make room, or move the folder to a larger disk while the node is stopped";
            // What is left of that is little enough to stop at any time.
            let severity = if disk < GIB { Severity::Fail } else { Severity::Warn };
            found.push(Finding::bad(severity, "disk", told, remedy));
        }
        Some(disk) => found.push(Finding::ok("disk", format!("the node may fill {} GiB", disk / GIB))),
        None => found.push(Finding::warn(
            "disk",
            "how much room it has cannot be seen",
            "check that the folder's file system is mounted",
        )),
    }
    match &machine.sync {
        Ok(took) if took.as_millis() > SLOW => found.push(Finding::warn(
            "disk_speed",
            format!("a small write takes {} ms until it is durable", took.as_millis()),
            "look what else uses the disk (iostat -x 1); a node wants one that syncs in milliseconds: an SSD",
        )),
        Ok(took) => found.push(Finding::ok(
            "disk_speed",
            format!("a small write is durable in {:.1} ms", took.as_secs_f64() * 1_000.0),
        )),
        Err(why) => found.push(Finding::fail(
            "disk_speed",
            format!("nothing can be written to the data folder: {why}"),
            "run this as the user that the node runs as; if that was so, make room, and let the folder be its own",
        )),
    }
    match machine.memory {
        // The kernel keeps some of it for itself.
        Some(memory) if memory < limits.memory.saturating_sub(limits.memory / 8) => {
            let told = format!("the machine has {memory} MiB, and a node needs {}", limits.memory);
            found.push(Finding::warn("memory", told, "run it on a machine with more"));
        }
        Some(memory) => found.push(Finding::ok("memory", format!("the machine has {memory} MiB"))),
        None => found.push(Finding::ok("memory", "the system does not tell")),
    }
    found.push(files(facts, limits.files));
    found
}

/// How many files the node may have open: one that runs says it, and a unit does for one that does not.
fn files(facts: &Facts, wanted: u64) -> Finding {
    let own = match &facts.node {
        Node::Running(running) => running.metrics.get("process_max_fds").filter(|most| **most > 0.0),
        Node::Silent { .. } | Node::Stopped => None,
    };
    let of_unit = facts.unit.as_ref().and_then(|unit| unit.files);
    let (whose, files) = match (own, of_unit) {
        (Some(files), _) => ("the node's process", *files as u64),
        (None, Some(files)) => ("a process of the node's unit", files),
        (None, None) => ("a process of this user", facts.machine.files),
    };
    if files >= wanted {
        return Finding::ok("files", format!("{whose} may have {files} open"));
    }
    let remedy = match &facts.unit {
        Some(unit) => {
            format!(
                "raise the limit: systemctl edit {}, with LimitNOFILE={wanted} below [Service]",
                unit.unit
            )
        }
        None => format!("raise the limit: ulimit -n {wanted}, or as the system's limits.conf says"),
    };
    Finding::warn("files", format!("{whose} may have {files} open, and a node needs {wanted}"), remedy)
}

fn clock(ahead: Option<i64>) -> Finding {
    let Some(seconds) = ahead else {
        return Finding::ok("clock", "not compared: nobody who was asked tells the time");
    };
    let (by, how) = (seconds.saturating_abs(), if seconds > 0 { "ahead" } else { "behind" });
    let remedy = "set the clock, and let it be kept: timedatectl set-ntp true";
    if by > DRIFT {
        let told = format!("it is {by} s {how} of others: they refuse what this node says");
        return Finding::fail("clock", told, remedy);
    }
    if by > DRIFTS {
        return Finding::warn("clock", format!("it is {by} s {how} of others"), remedy);
    }
    Finding::ok("clock", format!("{by} s apart from others"))
}
