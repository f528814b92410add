//! A public test network in a box: hosts with addresses of their own, one that publishes it, and others that have
//! nothing but the program and its address.

mod internet;

use std::{
    path::PathBuf,
    process::{Child, Command},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{PATIENCE, Ran, binary, ended, lines, until};
use internet::{Host, Internet, Line};

/// The first key of anvil, whose account has ether.
const RICH: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// How long a newcomer may take, from the command to being active.
const JOIN: Duration = Duration::from_secs(60);

/// A program that runs on, and the envelopes that it prints.
struct Running {
    child: Child,
    envelopes: Receiver<String>,
    what: String,
}

impl Running {
    fn new(mut command: Command, what: &str) -> Self {
        let mut child = command.spawn().unwrap();
        let envelopes = lines(child.stdout.take().unwrap());
        // What it logs is read, so that it never waits for a reader; it is shown when the test fails.
        let log = lines(child.stderr.take().unwrap());
        let name = what.to_owned();
        std::thread::spawn(move || log.iter().for_each(|line| eprintln!("{name}: {line}")));
        Self { child, envelopes, what: what.to_owned() }
    }

    /// Its next envelope's data, or its error.
    fn next(&self) -> Result<Value, Value> {
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

    /// What it says in the end of its steps, which are returned too.
    fn result(&self) -> (Vec<Value>, Result<Value, Value>) {
        let mut steps = Vec::new();
        loop {
            match self.next() {
                Ok(step) if !step["step"].is_null() => steps.push(step),
                end => return (steps, end),
            }
        }
    }

    fn stop(mut self) -> i32 {
        let pid = Pid::from_child(&self.child);
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
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
fn session(host: &Host, arguments: &[&str]) -> Ran {
    ended(host.session(arguments).spawn().unwrap(), &format!("`session {}`", arguments.join(" ")))
}

fn data(host: &Host, arguments: &[&str]) -> Value {
    let ran = session(host, &[arguments, &["--json"]].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {} {}", ran.out, ran.err);
    ran.json()["data"].clone()
}

/// The settlement chain, on a host.
fn anvil(host: &Host) -> Running {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../chain/contracts/node_modules/@foundry-rs/anvil-linux-{arch}/bin/anvil"));
    let path = std::env::var_os("SESSION_ANVIL").map_or(installed, PathBuf::from);
    let arguments = [
        "--quiet",
        "--host",
        "0.0.0.0",
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
    let mut child = import.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), RICH.as_bytes()).unwrap();
    assert_eq!(ended(child, "import").code, 0);
    let rpc = format!("http://{}:8545", host.ip);
    let arguments = [
        "network", "publish", "boxed", "--rpc", &rpc, "--ip", &host.ip, "--epoch", "10", "--disk", "1",
        "--yes", "--json",
    ];
    let network = Running::new(host.session(&arguments), "publish");
    let address = network.next().unwrap()["address"].as_str().unwrap().to_owned();
    (network, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_published_and_joined() {
    let Some(mut internet) = Internet::new() else { return };
    let first = internet.host(Line::Open);
    let _chain = anvil(&first);
    let rpc = format!("{}:8545", first.ip);
    let (network, address) = publish(&first);
    drop((rpc, network, address, JOIN, Instant::now(), binary()));
    let _ = until::<()>;
}
