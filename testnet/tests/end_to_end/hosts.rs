//! A public test network in a box: hosts with addresses of their own, one that publishes it, and others that have
//! nothing but the program and its address.

pub(crate) mod internet;
mod router;
mod service;
mod systemd;

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError},
};

use serde_json::Value;
use session_chain::NetworkFile;
use session_protocols::Prefix;

use crate::support::{PATIENCE, Ran, ended, lines, until};
use internet::{Host, Internet, Line};
use service::Service;

/// The first key of anvil, whose account has ether.
pub(crate) const RICH: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// Milliseconds after which a step has said that it is under way: it does so from two seconds on, and a machine that is
/// busy looks late.
const LONG: u64 = 10_000;
/// What the first host is called.
pub(crate) const NAME: &str = "net.example";

/// A program that runs on, and the envelopes that it prints.
pub(crate) struct Running {
    pub(crate) child: Child,
    envelopes: Receiver<String>,
    what: String,
}

impl Running {
    pub(crate) fn new(mut command: Command, what: &str) -> Self {
        let mut child = command.spawn().unwrap();
        let envelopes = lines(child.stdout.take().unwrap());
        // What it logs is read, so that it never waits for a reader; it is shown when the test fails.
        let log = lines(child.stderr.take().unwrap());
        let name = what.to_owned();
        std::thread::spawn(move || log.iter().for_each(|line| eprintln!("{name}: {line}")));
        Self { child, envelopes, what: what.to_owned() }
    }

    /// Its next envelope's data, or its error.
    pub(crate) fn next(&self) -> Result<Value, Value> {
        match self.envelopes.recv_timeout(PATIENCE) {
            Ok(line) => {
                let envelope: Value =
                    serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}: {line}", self.what));
                if envelope["error"].is_null() {
                    Ok(envelope["data"].clone())
                } else {
                    Err(envelope["error"].clone())
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} says nothing for {} s", self.what, PATIENCE.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => panic!("{} ended", self.what),
        }
    }

    /// What it says in the end of its steps, which are returned too. None of them takes long without a word.
    pub(crate) fn result(&self) -> (Vec<Value>, Result<Value, Value>) {
        let mut steps: Vec<Value> = Vec::new();
        loop {
            match self.next() {
                Ok(step) if !step["step"].is_null() => {
                    let says = |one: &Value| one["step"] == step["step"] && one["state"] == "working";
                    let is_long = step["state"] == "done" && step["took"].as_u64().unwrap() > LONG;
                    assert!(!is_long || steps.iter().any(says), "{}: nothing was said of {step}", self.what);
                    steps.push(step);
                }
                end => return (steps, end),
            }
        }
    }

    /// How it ended.
    pub(crate) fn ended(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `session` on a host to its end.
pub(crate) fn session(host: &Host, arguments: &[&str]) -> Ran {
    ended(host.session(arguments).spawn().unwrap(), &format!("`session {}`", arguments.join(" ")))
}

pub(crate) fn data(host: &Host, arguments: &[&str]) -> Value {
    let ran = session(host, &[arguments, &["--json"]].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {} {}", ran.out, ran.err);
    ran.json()["data"].clone()
}

/// The settlement chain, on a host.
pub(crate) fn anvil(host: &Host) -> Running {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../chain/contracts/node_modules/@foundry-rs/anvil-linux-{arch}/bin/anvil"));
    let path = std::env::var_os("SESSION_ANVIL").map_or(installed, PathBuf::from);
    let arguments = [
        "--quiet",
        "--host",
        "::",
        "--port",
        "8545",
        "--hardfork",
        "prague",
        "--block-time",
        "1",
        "--slots-in-an-epoch",
        "1",
    ];
    Running::new(host.command(&path, &arguments), "anvil")
}

/// Publishes a network on a host, with epochs of ten seconds; returns its address, too.
fn publish(host: &Host) -> (Running, String) {
    data(host, &["account", "new", "--name", "treasury"]);
    let mut import = host.session(&["account", "key", "import", "treasury"]);
    let mut child = import.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(RICH.as_bytes()).unwrap();
    assert_eq!(ended(child, "import").code, 0);
    let url = format!("http://{NAME}:22000");
    let rpc = format!("http://{NAME}:8545");
    let six = host.ip.replace("45.", "2a10:").replace(".0.2", "::2");
    let arguments = [
        "network", "publish", "boxed", "--rpc", &rpc, "--ip", &host.ip, "--ip", &six, "--url", &url,
        "--epoch", "10", "--disk", "1", "--nodes", "4", "--lent", "100", "--yes", "--json",
    ];
    let network = Running::new(host.session(&arguments), "publish");
    let address = network.next().unwrap()["address"].as_str().unwrap().to_owned();
    (network, address)
}

/// The description of what a host publishes, signed by nobody and without its nodes of IPv6, in a file of another host.
fn of_ip4(publisher: &Host, host: &Host) -> String {
    let text = fs::read_to_string(publisher.home().join("home/published/boxed/network.toml")).unwrap();
    let mut network = NetworkFile::parse(&text).unwrap();
    network.nodes.retain(|node| matches!(node.prefix, Prefix::V4(_)));
    assert!(!network.nodes.is_empty(), "{text}");
    let file = host.home().join("ip4.toml");
    fs::write(&file, network.to_toml()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Begins to join on a host.
fn join(host: &Host, address: &str, what: &str) -> Running {
    Running::new(host.session(&["join", address, "--yes", "--json"]), what)
}

/// The node of a host that has joined: its id.
pub(crate) fn joined(node: &Running) -> String {
    let (steps, end) = node.result();
    let end = end.unwrap_or_else(|error| panic!("{}: {error}", node.what));
    let done: Vec<_> =
        steps.iter().filter(|step| step["state"] == "done").map(|step| step["step"].clone()).collect();
    let all = [
        "network",
        "machine",
        "clock",
        "chain",
        "keys",
        "address",
        "start",
        "reachable",
        "synced",
        "stake",
        "active",
    ];
    assert_eq!(done, all, "{}", node.what);
    end["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_published_joined_used_and_left() {
    let Some(mut internet) = Internet::new() else { return };
    let first = internet.host(Line::Open);
    internet.call(&first, NAME);
    let _chain = anvil(&first);
    until("the chain", async || first.listens(8_545).then_some(())).await;
    let (_network, address) = publish(&first);

    let open = [internet.host(Line::Open), internet.host(Line::Open), internet.host(Line::Open)];
    let forwarded = internet.host(Line::Forwarded(22_021));
    let six = internet.host(Line::SixOnly);
    let asked = internet.has_upnp().then(|| internet.host(Line::Asked));
    let closed = internet.host(Line::Closed);
    let [b, c, d] = &open;
    let service = Service::new(c);
    let nodes = [join(b, &address, "b"), service.join(&address, "c"), join(d, &address, "d")];
    let behind = join(&forwarded, &of_ip4(&first, &forwarded), "forwarded");
    let six_only = join(&six, &address, "six");
    let led = asked.as_ref().map(|host| join(host, &address, "asked"));
    let shut = join(&closed, &address, "closed");

    let ids: Vec<String> = nodes.iter().map(joined).collect();
    // The one with a service is done; its node goes on.
    let [_b, served, _d] = nodes;
    assert_eq!(served.ended(), 0);
    let ready = |host: &Host| host.get(22_080, "/readyz").is_some_and(|it| it["ready"] == true);
    until("the node that a unit runs", async || ready(c).then_some(())).await;
    let process = service.check();
    joined(&behind);
    // Nobody that it was told of dials IPv6, which it has beside the port that is led to it.
    let told = forwarded.get(22_080, "/status").unwrap()["reachability"]["dialled_back"].clone();
    let addresses: Vec<_> =
        told.as_array().unwrap().iter().map(|one| one["address"].as_str().unwrap()).collect();
    let outside = format!("/ip4/{}/", forwarded.ip);
    assert_eq!(addresses.len(), 2, "{told}");
    assert!(addresses.iter().all(|address| address.starts_with(&outside)), "{told}");
    joined(&six_only);
    if let (Some(host), Some(node)) = (&asked, &led) {
        joined(node);
        let upnp = host.get(22_080, "/status").unwrap()["reachability"]["upnp"].clone();
        assert_eq!(upnp["state"], "leads", "{upnp}");
        assert_eq!(upnp["addresses"].as_array().unwrap().len(), 2, "{upnp}");
    }
    // The same command once more finds all as it should be, and leaves the node alone.
    let again = service.join_again(&address, "c again");
    assert_eq!(joined(&again), ids[1]);
    assert_eq!(again.ended(), 0);
    assert_eq!(service.check(), process);
    let nowhere = service.join_nowhere(&address, "c nowhere");
    assert_eq!(nowhere.result().1.unwrap_err()["code"], "usage");
    assert_eq!(nowhere.ended(), 2);
    assert_eq!(service.check(), process, "it goes on where it was");

    // Nobody staked for a node that nobody reaches.
    let (steps, end) = shut.result();
    let error = end.unwrap_err();
    assert_eq!(
        (error["code"].as_str(), steps.last().unwrap()["step"].as_str()),
        (Some("unreachable"), Some("reachable"))
    );
    assert!(error["message"].as_str().unwrap().starts_with("reachable: "), "{error}");
    assert!(error["remedy"].as_str().unwrap().contains("port forwarding"), "{error}");
    assert_eq!(shut.ended(), 3);

    // Messages between accounts of two hosts, over paths of several.
    let network = ["--network", "boxed"];
    let bob = data(c, &[&network[..], &["account", "new", "--name", "bob"]].concat())["id"]
        .as_str()
        .unwrap()
        .to_owned();
    data(b, &[&network[..], &["account", "new", "--name", "alice"]].concat());
    let send =
        |text: &str| session(b, &[&network[..], &["send", "--from", "alice", &bob, text, "--json"]].concat());
    until("a message that is sent", async || (send("over hosts").code == 0).then_some(())).await;
    let inbox = data(c, &[&network[..], &["inbox", "--account", "bob"]].concat());
    assert!(inbox.to_string().contains("over hosts"), "{inbox}");

    // A host is cut off and comes back.
    internet.connect(d, false);
    until("a node that is alone", async || (!ready(d)).then_some(())).await;
    internet.connect(d, true);
    until("a node that is back", async || ready(d).then_some(())).await;

    // A host is upgraded, and is back in its swarm with its messages.
    let status = || c.get(22_080, "/status").unwrap();
    let kept = |status: &Value| status["messages"].as_u64().unwrap();
    let before = status();
    assert!(kept(&before) > 0, "all nodes are in one swarm, which keeps the message: {before}");
    service.upgrade();
    until("a node that was upgraded", async || ready(c).then_some(())).await;
    let after = status();
    assert_eq!((&after["id"], &after["swarm"]), (&before["id"], &before["swarm"]));
    assert!(kept(&after) >= kept(&before), "{after}");

    // One leaves: its stake goes back to where it was lent from. The faucet, which looks at each epoch, may be faster.
    // Its account signs for the first time, in a network whose publisher nobody there has named.
    let leaves = [&network[..], &["stake", "exit", &ids[0], "--yes", "--json"]].concat();
    let refused = session(b, &leaves);
    assert_eq!((refused.json()["error"]["code"].as_str(), refused.code), (Some("not_agreed"), 4));
    let (_, publisher) = address.split_once('#').unwrap();
    data(b, &["network", "add", "boxed", "--publisher", publisher]);
    data(b, &leaves[..leaves.len() - 1]);
    let withdraw = [&network[..], &["stake", "withdraw", &ids[0], "--yes", "--json"]].concat();
    until("a stake that is given back", async || {
        let ran = session(b, &withdraw);
        let told = ran.json();
        (told["data"]["how"] == "given_back" || told["error"]["code"] == "no_stake").then_some(())
    })
    .await;
    service.remove();
}
