//! The node itself: whether it runs, is ready, is reached, and has what it needs.

use session_chain::network::shown_release;
use session_protocols::request::numbers;

use super::{Finding, Severity};
use crate::{
    doctor::facts::{Check, DialledBack, Facts, Network, Node, Running},
    join::service::unit::Installed,
};

/// Of more nodes than that none needs to be in contact with.
const CONTACTS: f64 = 64.0;
/// From so many days on the certificate of the door is near its end.
const EXPIRES: f64 = 14.0 * 86_400.0;
/// Beyond that part of a limit it is near.
const NEAR: f64 = 0.9;
/// A dial back that is so old says little, in milliseconds: there is one an hour.
const STALE: u64 = 2 * 3_600_000;
const INSTALL: &str = "install the newest release and restart the node by it: its keys, messages and seat stay \
                       (node/README.md, Upgrading)";
const OPEN_FIREWALL: &str = "let UDP and TCP to that port through: open it in the firewall, and where there is a router \
                             lead it to this machine (port forwarding); if others reach it elsewhere, say so: \
                             `announce` of the settings";

pub(super) fn findings(facts: &Facts, network: Option<&Network>) -> Vec<Finding> {
    let mut found: Vec<Finding> = addresses(facts, network).into_iter().collect();
    found.extend(network.and_then(|network| release(facts, network)));
    match &facts.node {
        Node::Stopped => {
            let remedy = match &facts.unit {
                Some(Installed { unit, .. }) => {
                    format!("see why: journalctl -u {unit} -n 50; then start it: systemctl start {unit}")
                }
                None if facts.published => {
                    "start it with the whole network, as it was begun: session network publish NAME"
                        .to_owned()
                }
                None => format!("start it: session node run --data {}", facts.data.display()),
            };
            found.push(Finding::warn("node", "it does not run", remedy));
            found.extend(ports(facts));
        }
        Node::Silent { http } => found.push(Finding::fail(
            "node",
            format!("a process has the folder, and does not answer at http://{http}/status"),
            "wait a minute if it was just started; else look at the end of its log, and restart it",
        )),
        Node::Running(running) => {
            found.extend(running_node(running, facts));
            found.extend(running.checks.iter().map(|check| ready(check, running)));
            found.extend(reached(running, facts, network));
            found.extend(peers(running, network));
            found.extend(limits(running, facts));
        }
    }
    found
}

/// Whether the software is as new as the network asks, where it asks: that of the node, else of the program that would run
/// it.
fn release(facts: &Facts, network: &Network) -> Option<Finding> {
    let (who, own) = match &facts.node {
        Node::Running(running) => ("the node runs", &running.status.version),
        Node::Silent { .. } | Node::Stopped => ("this program is", &facts.version),
    };
    let asked = network.limits.release;
    if asked == [0; 3] {
        return None;
    }
    let shown = shown_release(asked);
    if numbers(own) >= asked {
        return Some(Finding::ok("release", format!("{who} {own}, and the network asks for {shown}")));
    }
    let told = format!("{who} {own}, and the network asks for {shown} or newer: others may turn it away");
    Some(Finding::fail("release", told, INSTALL))
}

/// Where others are to reach it.
fn addresses(facts: &Facts, network: Option<&Network>) -> Option<Finding> {
    // Of a network that nobody knows it cannot be said what it needs.
    let network = network?;
    let shown: Vec<String> = facts.announced.iter().map(|(endpoint, _)| endpoint.to_string()).collect();
    let shown = shown.join(" and ");
    if facts.announced.is_empty() {
        let remedy = "say where others reach it: `announce` (or `listen`) of the settings";
        return Some(Finding::fail("address", "the node has no address that others could dial", remedy));
    }
    if network.local {
        return Some(Finding::ok("address", format!("{shown}, on this machine alone")));
    }
    if let Some((inner, _)) = facts.announced.iter().find(|(endpoint, _)| !endpoint.is_public()) {
        let told = format!("{inner} is no address that everybody could dial");
        let remedy = "say where others reach it: `announce` of the settings";
        return Some(Finding::fail("address", told, remedy));
    }
    if let Some(seen) = facts.seen
        && facts.announced.iter().all(|(endpoint, _)| endpoint.ip != seen)
        && facts.announced.iter().any(|(endpoint, _)| endpoint.ip.is_ipv4() == seen.is_ipv4())
    {
        let told =
            format!("others see this machine come from {seen}, and the node says that it is at {shown}");
        let remedy = "if the address changed, say the new one: `announce` of the settings; in another prefix \
                      (IPv4 /24, IPv6 /48) the node has to leave and be registered anew";
        return Some(Finding::warn("address", told, remedy));
    }
    let here = facts.announced.iter().all(|(_, own)| *own);
    let how = if here { "of this machine" } else { "behind a router (NAT), which has to lead it here" };
    Some(Finding::ok("address", format!("{shown}, {how}")))
}

/// Whether a node that does not run could listen.
fn ports(facts: &Facts) -> Vec<Finding> {
    let taken = facts.ports.iter().filter_map(|(at, why)| Some((at, why.as_ref()?)));
    let taken: Vec<_> = taken
        .map(|(at, why)| {
            Finding::fail(
                "ports",
                format!("the node could not listen on {at}: {why}"),
                "stop whatever listens there (ss -lntup shows it), or set a port that is free, of an address that this machine has",
            )
        })
        .collect();
    if taken.is_empty() && !facts.ports.is_empty() {
        let all: Vec<_> = facts.ports.iter().map(|(at, _)| at.as_str()).collect();
        return vec![Finding::ok("ports", format!("free: {}", all.join(", ")))];
    }
    taken
}

fn running_node(running: &Running, facts: &Facts) -> Vec<Finding> {
    let status = &running.status;
    let told = format!("it runs, is {}, and is in contact with {} nodes", status.state, status.peers);
    let version = if status.version == facts.version {
        Finding::ok("version", format!("{}, as this program's", status.version))
    } else {
        let told = format!("the node runs {}, and this program is {}", status.version, facts.version);
        Finding::warn("version", told, "restart the node by this build, or use the one that it runs by")
    };
    let mut found = vec![Finding::ok("node", told), version];
    let metric = |name: &str| running.metrics.get(name).copied().unwrap_or_default();
    let (newer, others) = (metric("session_newer_nodes"), metric("session_known_nodes") - 1.0);
    // A few that try something out, or lie, are no reason to follow them.
    if newer > 0.0 && newer * 2.0 > others {
        let told = format!(
            "the node runs {}, and {newer} of {others} other nodes run a newer version",
            status.version
        );
        found.push(Finding::warn("version", told, INSTALL));
    }
    found
}

/// What the node says of its readiness, with what to do about it.
fn ready(check: &Check, running: &Running) -> Finding {
    let registration = running.status.chain.as_ref().map(|chain| chain.registration.as_str());
    let (name, remedy) = match check.name.as_str() {
        "store" => ("store", "look whether the disk hangs (dmesg, iostat -x 1); then restart the node"),
        "disk" => ("full", "make room on the disk of the data folder; the node goes on by itself"),
        "swarm" => ("swarm", "wait for the end of the epoch; if it is not registered, do that first"),
        "caught_up" => {
            ("caught_up", "wait some minutes; if it stays so, look at `peers` and at the other members")
        }
        "addresses" => {
            ("prefix", "listen on an address of the prefix that was registered: `listen` of the settings")
        }
        "reachable" => ("reachable", OPEN_FIREWALL),
        "registered" => ("registration", "as it says; `session stake show NODE` tells the whole story"),
        "chain" => {
            ("chain", "as it says; if nobody can tell who is right, add an endpoint of another provider")
        }
        "checkpoints" => {
            ("checkpoints", "as it says; compare the version and the endpoints with other operators'")
        }
        "onion_keys" => ("onion_keys", "make the data folder writable for the node's user"),
        "running" => ("stopping", "wait until it has stopped, and start it again"),
        _ => ("readiness", "look the check up in node/README.md"),
    };
    let told = match check.name.as_str() {
        "disk" | "store" | "running" | "onion_keys" | "reachable" => check.detail.clone(),
        other => format!("{other}: {}", check.detail),
    };
    if check.ok {
        return Finding::ok(name, told);
    }
    // What passes by itself, or was never begun, is not broken.
    let passes = matches!(check.name.as_str(), "swarm" | "caught_up" | "running")
        || check.name == "registered" && registration == Some("unregistered");
    Finding::bad(if passes { Severity::Warn } else { Severity::Fail }, name, told, remedy)
}

/// What other nodes found when they dialled this one, and who came in last.
fn reached(running: &Running, facts: &Facts, network: Option<&Network>) -> Vec<Finding> {
    let (verdicts, came) = (running.status.dialled_back(), running.status.reached());
    let ago = |at: u64| minutes(facts.now.saturating_sub(at));
    let mut found: Vec<Finding> = verdicts.iter().map(|verdict| verdict_on(verdict, facts.now)).collect();
    let asked = |address: &str| verdicts.iter().any(|verdict| verdict.address == address);
    // Where all runs on one machine nobody dials back.
    if network.is_some_and(|network| !network.local && network.nodes > 1) {
        let all = facts.announced.iter().map(|(endpoint, _)| endpoint.to_string());
        for address in all.filter(|address| !asked(address)) {
            found.push(Finding::warn(
                "reachable",
                format!("no node has dialled {address} back since the start"),
                "wait a minute, and look again; if it stays so, look at `peers`",
            ));
        }
    }
    found.extend(came.iter().map(|one| {
        let told = format!("node {} came in over {}, {} ago", short(&one.by), one.transport, ago(one.at));
        Finding::ok("reached", told)
    }));
    found
}

fn verdict_on(verdict: &DialledBack, now: u64) -> Finding {
    let DialledBack { address, by, at, ok, why } = verdict;
    let over = if address.contains("/udp/") { "QUIC" } else { "TCP" };
    let age = now.saturating_sub(*at);
    let (by, ago) = (short(by), minutes(age));
    if *ok {
        let told = format!("node {by} dialled {address} over {over}, {ago} ago");
        if age < STALE {
            return Finding::ok("reachable", told);
        }
        let remedy =
            "look at `peers`: those in contact are asked every hour; if it stays so, restart the node";
        return Finding::warn("reachable", format!("{told}, and nobody has since"), remedy);
    }
    let why = why.as_deref().unwrap_or("it does not say why");
    let told = format!("node {by} dialled {address} over {over} in vain, {ago} ago: {why}");
    Finding::fail("reachable", told, OPEN_FIREWALL)
}

fn peers(running: &Running, network: Option<&Network>) -> Option<Finding> {
    let peers = running.status.peers;
    let remedy = "check that this machine may send UDP and TCP to the internet, and its clock; look whether other \
                  operators see the same";
    if peers == 0 {
        // One that is alone in its network has none.
        return network
            .is_some_and(|network| network.nodes > 1)
            .then(|| Finding::fail("peers", "the node is in contact with nobody", remedy));
    }
    let known = running.metrics.get("session_known_nodes").copied().unwrap_or_default();
    let wanted = (known - 1.0).clamp(0.0, CONTACTS);
    // Counts of nodes: exact far beyond what a network has.
    if (peers as f64) < wanted / 2.0 {
        let told = format!("the node is in contact with {peers} nodes, and should be with {wanted}");
        return Some(Finding::warn("peers", told, remedy));
    }
    Some(Finding::ok("peers", format!("in contact with {peers} nodes")))
}

/// What is near its limit, by the node's own measurements.
fn limits(running: &Running, facts: &Facts) -> Vec<Finding> {
    let metric = |name: &str| running.metrics.get(name).copied();
    let both = |one: &str, other: &str| metric(one).zip(metric(other));
    let is_near = |(used, limit): &(f64, f64)| *limit > 0.0 && *used > NEAR * limit;
    let mut found = Vec::new();
    if let Some((used, limit)) =
        both("process_resident_memory_bytes", "session_memory_limit_bytes").filter(is_near)
    {
        found.push(Finding::warn(
            "node_memory",
            format!("the node uses {} of {} MiB, and then refuses connections", mib(used), mib(limit)),
            "raise `max_memory` if the machine has more, or restart it; if it grows at an even load, report it",
        ));
    }
    if let Some((open, limit)) = both("process_open_fds", "process_max_fds").filter(is_near) {
        found.push(Finding::warn(
            "node_files",
            format!("the node has {open} of {limit} files open"),
            "raise the limit: LimitNOFILE=65536 in the unit, or ulimit -n, and restart it",
        ));
    }
    if let Some((kept, limit)) = both("session_stored_bytes", "session_store_limit_bytes").filter(is_near) {
        found.push(Finding::warn(
            "store_room",
            format!("it keeps {} of {} MiB", mib(kept), mib(limit)),
            "raise `max_bytes`, with room on the disk for it, and restart the node",
        ));
    }
    if let Some(ahead) = metric("session_clock_ahead_seconds").filter(|ahead| ahead.abs() > 5.0) {
        let told = format!("the node's clock is {ahead:.1} s ahead of most other nodes'");
        let remedy = "set the clock, and let it be kept: timedatectl set-ntp true";
        let severity = if ahead.abs() > 30.0 { Severity::Fail } else { Severity::Warn };
        found.push(Finding::bad(severity, "node_clock", told, remedy));
    }
    let ends = metric("session_door_certificate_expires_seconds").filter(|ends| *ends > 0.0);
    if let Some(left) = ends.map(|ends| ends - (facts.now / 1_000) as f64).filter(|left| *left < EXPIRES) {
        found.push(Finding::warn(
            "certificate",
            format!("that of the door runs out in {:.0} days", (left / 86_400.0).max(0.0)),
            "renew it, and restart the node: `door_certificate` and `door_key` of the settings",
        ));
    }
    found
}

fn mib(bytes: f64) -> String {
    format!("{:.0}", bytes / 1_048_576.0)
}

/// The first digits of a node's id.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// How long something is ago.
fn minutes(millis: u64) -> String {
    match millis / 60_000 {
        0 => format!("{} s", millis / 1_000),
        minutes @ 1..120 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    }
}
