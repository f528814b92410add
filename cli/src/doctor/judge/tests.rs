use std::time::Duration;

use serde_json::json;
use session_protocols::directory::Endpoint;

use super::*;
use crate::{
    doctor::facts::{Chain, Check, Machine, Running},
    join::{endpoints::Look, service::unit::Installed},
};

const NOW: u64 = 1_767_225_600_000;
const QUIC: &str = "/ip4/185.1.2.3/udp/22021/quic-v1";
const TCP: &str = "/ip4/185.1.2.3/tcp/22021";

fn look(name: &str) -> Look {
    Look { name: name.into(), height: 90, time: NOW / 1_000 - 5, took: Duration::from_millis(40) }
}

fn check(name: &str, ok: bool, detail: &str) -> Check {
    Check { name: name.into(), ok, detail: detail.into() }
}

fn status(dialled_back: serde_json::Value) -> crate::doctor::facts::Status {
    serde_json::from_value(json!({
        "id": "ab".repeat(32),
        "state": "ready",
        "peers": 9,
        "version": "1.2.3",
        "something": "new",
        "reachability": {
            "dialled_back": dialled_back,
            "reached": [{ "transport": "quic", "by": "cd".repeat(32), "at": NOW - 120_000 }],
        },
        "chain": {
            "registration": "active",
            "trouble": null,
            "stake": { "staked": "25000", "unlocks": null },
            "endpoints": [{ "name": "a", "standing": "good", "trouble": null }],
        },
    }))
    .unwrap()
}

fn verdict(address: &str, why: Option<&str>) -> serde_json::Value {
    json!({ "address": address, "by": "cd".repeat(32), "at": NOW - 180_000, "ok": why.is_none(), "why": why })
}

/// A node that lacks nothing.
fn healthy() -> Facts {
    let endpoints = [QUIC, TCP].map(|text| (text.parse::<Endpoint>().unwrap(), true));
    let running = Running {
        status: status(json!([verdict(QUIC, None), verdict(TCP, None)])),
        checks: vec![check("store", true, "open"), check("registered", true, "active")],
        metrics: [
            ("session_known_nodes", 12.0),
            ("process_open_fds", 100.0),
            ("process_max_fds", 65_536.0),
            ("session_clock_ahead_seconds", 0.2),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
    };
    Facts {
        data: "/data".into(),
        now: NOW,
        version: "1.2.3".into(),
        network: Ok(Some(Network { name: "net".into(), local: false, limits: Limits::default(), nodes: 12 })),
        keys: Keys { id: Ok("ab".repeat(32)), gas: Ok(None), sealed: false, opened: None },
        machine: Machine {
            disk: Some(100 * GIB),
            sync: Ok(Duration::from_millis(3)),
            memory: Some(4_096),
            files: 65_536,
        },
        node: Node::Running(Box::new(running)),
        unit: None,
        published: false,
        ports: Vec::new(),
        announced: endpoints.into(),
        seen: Some("185.1.2.3".parse().unwrap()),
        ahead: Some(0),
        chain: Some(Chain {
            id: 5,
            looks: vec![Ok(look("a")), Ok(look("b"))],
            block: 82,
            hashes: vec![("a".into(), "0x1".into()), ("b".into(), "0x1".into())],
        }),
        staked: None,
    }
}

fn wrong(message: &str, remedy: &str) -> Wrong {
    Wrong { message: message.into(), remedy: remedy.into() }
}

fn running(facts: &mut Facts) -> &mut Running {
    match &mut facts.node {
        Node::Running(running) => running,
        other => panic!("{other:?}"),
    }
}

/// What is not as it should be.
fn found(facts: &Facts) -> Vec<Finding> {
    judge(facts).into_iter().filter(|finding| finding.severity != Severity::Ok).collect()
}

#[test]
fn of_a_node_that_lacks_nothing_nothing_is_to_be_done() {
    let all = judge(&healthy());
    assert!(all.iter().all(|one| one.severity == Severity::Ok && one.remedy.is_none()), "{all:#?}");
    assert_eq!(worst(&all), Severity::Ok);
    let told =
        |name: &'static str| all.iter().filter(move |one| one.check == name).map(|one| one.found.as_str());
    let reachable: Vec<_> = told("reachable").collect();
    let by = |address: &str, over: &str| format!("node cdcdcdcd dialled {address} over {over}, 3 min ago");
    assert_eq!(reachable, [by(QUIC, "QUIC"), by(TCP, "TCP")], "by whom, when, and over what");
    assert_eq!(told("reached").collect::<Vec<_>>(), ["node cdcdcdcd came in over quic, 2 min ago"]);
    assert_eq!(told("stake").collect::<Vec<_>>(), ["25000 SESH, active"]);
}

/// A fault, its check and severity, and the beginning of what to do about it.
type Fault = (&'static str, fn(&mut Facts), &'static str, Severity, &'static str);

const FAULTS: &[Fault] = &[
    (
        "settings",
        |facts| facts.network = Err(wrong("unknown key", "did you mean `http`?")),
        "settings",
        Severity::Fail,
        "did you mean",
    ),
    ("no network", |facts| facts.network = Ok(None), "network", Severity::Fail, "name it: --network"),
    (
        "a key that others read",
        |facts| facts.keys.id = Err(wrong("can be read by others", "chmod 600 /data/node.key")),
        "key",
        Severity::Fail,
        "chmod 600",
    ),
    (
        "a gas key that is none",
        |facts| facts.keys.gas = Err(wrong("is no key", "restore it")),
        "gas_key",
        Severity::Fail,
        "restore",
    ),
    (
        "another passphrase",
        |facts| facts.keys.opened = Some(Err(wrong("does not open", "give the passphrase"))),
        "passphrase",
        Severity::Fail,
        "give the passphrase",
    ),
    ("little room", |facts| facts.machine.disk = Some(29 * GIB), "disk", Severity::Warn, "make room"),
    ("no room", |facts| facts.machine.disk = Some(GIB / 2), "disk", Severity::Fail, "make room"),
    (
        "a slow disk",
        |facts| facts.machine.sync = Ok(Duration::from_millis(400)),
        "disk_speed",
        Severity::Warn,
        "look what else uses the disk",
    ),
    (
        "a folder of somebody else",
        |facts| facts.machine.sync = Err("permission denied".into()),
        "disk_speed",
        Severity::Fail,
        "run this as the user",
    ),
    ("little memory", |facts| facts.machine.memory = Some(1_000), "memory", Severity::Warn, "run it on"),
    (
        "few files",
        |facts| {
            running(facts).metrics.insert("process_max_fds".into(), 1_024.0);
        },
        "files",
        Severity::Warn,
        "raise the limit: ulimit",
    ),
    ("a clock that is off", |facts| facts.ahead = Some(-8), "clock", Severity::Warn, "set the clock"),
    ("a wrong clock", |facts| facts.ahead = Some(300), "clock", Severity::Fail, "set the clock"),
    ("an address nowhere", |facts| facts.announced.clear(), "address", Severity::Fail, "say where"),
    (
        "another address",
        |facts| facts.seen = Some("185.9.9.9".parse().unwrap()),
        "address",
        Severity::Warn,
        "if the address changed",
    ),
    ("a node that is off", |facts| facts.node = Node::Stopped, "node", Severity::Warn, "start it"),
    (
        "a node that hangs",
        |facts| facts.node = Node::Silent { http: "127.0.0.1:1".parse().unwrap() },
        "node",
        Severity::Fail,
        "wait a minute",
    ),
    (
        "another version",
        |facts| running(facts).status.version = "1.2.2".into(),
        "version",
        Severity::Warn,
        "restart the node",
    ),
    (
        "most others newer",
        |facts| {
            running(facts).metrics.insert("session_newer_nodes".into(), 6.0);
        },
        "version",
        Severity::Warn,
        "install the newest release",
    ),
    (
        "older than the network takes",
        |facts| {
            if let Ok(Some(network)) = &mut facts.network {
                network.limits.release = [1, 10, 0];
            }
        },
        "release",
        Severity::Fail,
        "install the newest release",
    ),
    (
        "a full disk, by the node",
        |facts| running(facts).checks.push(check("disk", false, "full: make room")),
        "full",
        Severity::Fail,
        "make room",
    ),
    (
        "no swarm so far",
        |facts| running(facts).checks.push(check("swarm", false, "in no swarm yet")),
        "swarm",
        Severity::Warn,
        "wait for the end",
    ),
    (
        "a place that was lost",
        |facts| running(facts).checks.push(check("registered", false, "deregistered")),
        "registration",
        Severity::Fail,
        "as it says",
    ),
    (
        "a chain that holds",
        |facts| running(facts).checks.push(check("chain", false, "holds: no endpoint answers")),
        "chain",
        Severity::Fail,
        "as it says",
    ),
    (
        "reached by nobody, by the node",
        |facts| running(facts).checks.push(check("reachable", false, "others reach none of its addresses")),
        "reachable",
        Severity::Fail,
        "let UDP and TCP to that port through",
    ),
    (
        "a check of another version",
        |facts| running(facts).checks.push(check("weather", false, "rain")),
        "readiness",
        Severity::Fail,
        "look the check up",
    ),
    (
        "an address that nobody reaches",
        |facts| running(facts).status = status(json!([verdict(QUIC, None), verdict(TCP, Some("refused"))])),
        "reachable",
        Severity::Fail,
        "let UDP and TCP to that port through",
    ),
    (
        "an address that nobody tried",
        |facts| running(facts).status = status(json!([verdict(QUIC, None)])),
        "reachable",
        Severity::Warn,
        "wait a minute",
    ),
    (
        "an address that nobody has tried for long",
        |facts| {
            let mut old = verdict(TCP, None);
            old["at"] = json!(NOW - 7_200_000);
            running(facts).status = status(json!([verdict(QUIC, None), old]));
        },
        "reachable",
        Severity::Warn,
        "look at `peers`",
    ),
    ("nobody", |facts| running(facts).status.peers = 0, "peers", Severity::Fail, "check that this machine"),
    ("few", |facts| running(facts).status.peers = 3, "peers", Severity::Warn, "check that this machine"),
    (
        "few files left",
        |facts| {
            running(facts).metrics.insert("process_open_fds".into(), 60_000.0);
        },
        "node_files",
        Severity::Warn,
        "raise the limit",
    ),
    (
        "a clock that others do not share",
        |facts| {
            running(facts).metrics.insert("session_clock_ahead_seconds".into(), -60.0);
        },
        "node_clock",
        Severity::Fail,
        "set the clock",
    ),
    (
        "a certificate that runs out",
        |facts| {
            let soon = (NOW / 1_000 + 86_400) as f64;
            running(facts).metrics.insert("session_door_certificate_expires_seconds".into(), soon);
        },
        "certificate",
        Severity::Warn,
        "renew it",
    ),
    (
        "one endpoint of two",
        |facts| {
            facts.chain.as_mut().unwrap().looks[1] = Err("b serves chain 1 and not 5: check its URL".into())
        },
        "rpc",
        Severity::Warn,
        "as it says",
    ),
    (
        "an endpoint that is behind",
        |facts| facts.chain.as_mut().unwrap().looks[1] = Ok(Look { time: NOW / 1_000 - 900, ..look("b") }),
        "rpc",
        Severity::Warn,
        "wait until it has caught up",
    ),
    (
        "an endpoint with a date of its own",
        |facts| facts.chain.as_mut().unwrap().looks[1] = Ok(Look { time: NOW / 1_000 + 900, ..look("b") }),
        "rpc",
        Severity::Warn,
        "name another in `rpc`",
    ),
    (
        "all endpoints",
        |facts| facts.chain.as_mut().unwrap().looks = vec![Err("a does not answer in time".into())],
        "rpc",
        Severity::Fail,
        "as it says",
    ),
    (
        "the only endpoint, behind the clock",
        |facts| {
            let old = Look { time: NOW / 1_000 - 900, ..look("a") };
            facts.chain.as_mut().unwrap().looks = vec![Ok(old)];
        },
        "rpc",
        Severity::Fail,
        "wait until it has caught up",
    ),
    (
        "endpoints that disagree",
        |facts| facts.chain.as_mut().unwrap().hashes[1].1 = "0x2".into(),
        "rpc_agreement",
        Severity::Fail,
        "ask a third provider",
    ),
    (
        "no ether",
        |facts| running(facts).status.chain.as_mut().unwrap().trouble = Some("too little ether".into()),
        "submission",
        Severity::Warn,
        "pay some ether",
    ),
];

#[test]
fn each_fault_is_found_alone_with_how_bad_it_is_and_what_to_do() {
    for (fault, make, check, severity, remedy) in FAULTS {
        let mut facts = healthy();
        make(&mut facts);
        let found = found(&facts);
        let [one] = &*found else { panic!("{fault}: {found:#?}") };
        assert_eq!((one.check, one.severity), (*check, *severity), "{fault}: {one:?}");
        let told = one.remedy.as_deref().unwrap_or_default();
        assert!(told.starts_with(remedy) && !one.found.is_empty(), "{fault}: {one:?}");
        let all = judge(&facts);
        assert_eq!(worst(&all), *severity, "{fault}");
        assert_eq!(all.last().map(|last| last.severity), Some(*severity), "{fault}: the worst at the end");
    }
}

#[test]
fn a_node_that_is_off_is_held_against_its_ports_and_its_stake() {
    let off = |ports: &[(&str, Option<&str>)], staked| {
        let ports = ports.iter().map(|(at, why)| ((*at).to_owned(), why.map(ToOwned::to_owned)));
        Facts { node: Node::Stopped, ports: ports.collect(), staked, ..healthy() }
    };
    let checks = |facts: &Facts| found(facts).iter().map(|one| (one.check, one.severity)).collect::<Vec<_>>();
    let node = ("node", Severity::Warn);
    assert_eq!(checks(&off(&[(QUIC, None)], Some(Ok(true)))), [node]);
    assert_eq!(checks(&off(&[(QUIC, None), (TCP, Some("in use"))], None)), [node, ("ports", Severity::Fail)]);
    let of_network = Facts { published: true, ..off(&[], None) };
    assert!(found(&of_network)[0].remedy.as_ref().unwrap().contains("session network publish"));
    let unstaked = off(&[], Some(Ok(false)));
    assert_eq!(checks(&unstaked), [node, ("stake", Severity::Warn)]);
    assert!(found(&unstaked)[1].remedy.as_ref().unwrap().contains("session stake register /data"));
    assert_eq!(
        checks(&off(&[], Some(Err(wrong("no answer", "try again"))))),
        [node, ("stake", Severity::Warn)]
    );
}

#[test]
fn a_version_is_held_against_what_the_network_asks_and_most_others_run() {
    let asks = |release, node| {
        let mut facts = Facts { node, ..healthy() };
        if let Ok(Some(network)) = &mut facts.network {
            network.limits.release = release;
        }
        facts
    };
    let node = || healthy().node;
    assert!(found(&asks([1, 2, 3], node())).is_empty(), "the very one that it asks for");
    let all = judge(&asks([1, 2, 3], node()));
    let release = all.iter().find(|one| one.check == "release").unwrap();
    assert_eq!(release.found, "the node runs 1.2.3, and the network asks for 1.2.3");
    // Of a node that does not run this program counts, which would run it.
    let stopped = found(&asks([1, 2, 4], Node::Stopped));
    let [node_, release] = &*stopped else { panic!("{stopped:#?}") };
    assert_eq!((node_.check, release.check, release.severity), ("node", "release", Severity::Fail));
    assert!(
        release.found.starts_with("this program is 1.2.3, and the network asks for 1.2.4"),
        "{release:?}"
    );
    // Half of eleven others is not most of them.
    let mut facts = healthy();
    running(&mut facts).metrics.insert("session_newer_nodes".into(), 5.0);
    assert!(found(&facts).is_empty(), "{:#?}", found(&facts));
    running(&mut facts).metrics.insert("session_newer_nodes".into(), 6.0);
    assert_eq!(found(&facts)[0].found, "the node runs 1.2.3, and 6 of 11 other nodes run a newer version");
}

#[test]
fn of_a_service_its_own_limits_count_and_systemd_is_told_of() {
    let unit = Installed { unit: "session-net.service".into(), data: "/data".into(), files: Some(1_024) };
    let mut facts = Facts { unit: Some(unit), ..healthy() };
    facts.machine.files = 256;
    assert!(found(&facts).is_empty(), "the process that runs has more: {:#?}", found(&facts));
    facts.node = Node::Stopped;
    let found = found(&facts);
    let [files, node] = &*found else { panic!("{found:#?}") };
    assert_eq!((files.check, node.check), ("files", "node"));
    assert!(files.found.starts_with("a process of the node's unit may have 1024 open"), "{files:?}");
    assert!(files.remedy.as_ref().unwrap().contains("systemctl edit session-net.service"), "{files:?}");
    assert!(node.remedy.as_ref().unwrap().contains("systemctl start session-net.service"), "{node:?}");
}

#[test]
fn whoever_tries_things_out_on_one_machine_is_not_kept_from_it() {
    let mut facts = healthy();
    let local = Network { name: "local".into(), local: true, limits: Limits::default(), nodes: 12 };
    facts.network = Ok(Some(local));
    facts.machine = Machine { disk: Some(2 * GIB), memory: Some(1_024), files: 1_024, ..facts.machine };
    facts.announced = vec![("/ip4/127.0.1.1/tcp/1".parse().unwrap(), true)];
    running(&mut facts).status = status(json!([]));
    assert!(found(&facts).is_empty(), "{:#?}", found(&facts));
    // Elsewhere that is no address.
    facts.network = healthy().network;
    assert!(found(&facts).iter().any(|one| one.check == "address" && one.severity == Severity::Fail));
}

#[test]
fn what_was_never_registered_is_not_broken() {
    let mut facts = healthy();
    running(&mut facts).checks.push(check("registered", false, "not registered"));
    running(&mut facts).status.chain.as_mut().unwrap().registration = "unregistered".into();
    let found = found(&facts);
    assert_eq!((found.len(), found[0].check, found[0].severity), (1, "registration", Severity::Warn));
}
