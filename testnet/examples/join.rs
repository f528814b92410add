//! Measures how long it takes from `session join` on a machine that has nothing until its node is active, step by step,
//! and what a look at that node's `/metrics` costs: run by `./scripts/bench join`, as root. It fails (1) where a target is
//! missed.
//!
//! One machine publishes a network with epochs of seconds, and others join it one after the other: all are network
//! namespaces with addresses of their own. The chain makes a block a second.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "it prints what it finds, and ends where something fails"
)]

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use internet::{Host, Internet, Line};
use serde_json::{Value, json};

#[path = "../tests/end_to_end/hosts/internet.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod internet;

mod support {
    use std::path::{Path, PathBuf};

    /// The program that is measured.
    pub(crate) fn binary() -> PathBuf {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/session");
        std::env::var_os("SESSION_BIN").map_or(built, PathBuf::from)
    }
}

/// The first key of anvil, whose account has ether.
const RICH: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// What the machine that publishes is called.
const NAME: &str = "net.example";
/// Seconds of an epoch.
const EPOCH: &str = "10";
/// Machines that join, of which medians are told.
const JOINS: usize = 3;
/// Looks at `/metrics`.
const LOOKS: usize = 21;
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(180);
/// Seconds from the command until the node is active, at most.
const ACTIVE: f64 = 60.0;
/// Milliseconds that a look at `/metrics` may take.
const LOOK: f64 = 10.0;
/// Kilobytes that it may have.
const SIZE: f64 = 500.0;

/// A figure, beside its target where it has one.
struct Row {
    what: String,
    ours: f64,
    peer: Option<f64>,
    unit: &'static str,
}

/// A program that runs on, and what it prints.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn new(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines }
    }

    /// What it says next.
    fn told(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("the program goes on");
        let envelope: Value = serde_json::from_str(&line).unwrap();
        assert!(envelope["error"].is_null(), "{envelope}");
        envelope["data"].clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> ExitCode {
    let is_json = std::env::args().any(|word| word == "--json");
    // Why there is none it has said.
    let Some(mut internet) = Internet::new() else { return ExitCode::from(3) };
    let first = internet.host(Line::Open);
    internet.call(&first, NAME);
    let _chain = anvil(&first);
    let begun = Instant::now();
    while !first.listens(8_545) {
        assert!(begun.elapsed() < PATIENCE, "the chain does not start");
        thread::sleep(Duration::from_millis(50));
    }
    let (_network, address) = publish(&first);
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for number in 1..=JOINS {
        eprintln!("machine {number} of {JOINS} joins");
        let host = internet.host(Line::Open);
        let (node, steps) = join(&host, &address);
        all.push(steps);
        nodes.push((node, host));
    }
    let mut rows = steps(&all);
    let looks: Vec<_> = nodes.last().map(|(_, host)| (0..LOOKS).map(|_| look(host)).collect()).unwrap();
    let [took, size] =
        [0_usize, 1].map(|which| median(looks.iter().map(|look: &[f64; 2]| look[which]).collect()));
    rows.push(Row { what: "a look at /metrics".to_owned(), ours: took, peer: Some(LOOK), unit: "ms" });
    rows.push(Row { what: "what /metrics says".to_owned(), ours: size, peer: Some(SIZE), unit: "KB" });
    tell(&rows, is_json);
    let missed: Vec<_> = rows.iter().filter(|row| row.peer.is_some_and(|peer| row.ours > peer)).collect();
    for Row { what, ours, unit, .. } in &missed {
        eprintln!("missed its target: {what}, {ours:.1} {unit}");
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The settlement chain.
fn anvil(host: &Host) -> Running {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let installed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../chain/contracts/node_modules/@foundry-rs/anvil-linux-{arch}/bin/anvil"));
    let path = std::env::var_os("SESSION_ANVIL").map_or(installed, PathBuf::from);
    let words = "--quiet --host :: --port 8545 --hardfork prague --block-time 1 --slots-in-an-epoch 1";
    Running::new(host.command(&path, &words.split(' ').collect::<Vec<_>>()))
}

/// Publishes a network, and says where others find it.
fn publish(host: &Host) -> (Running, String) {
    run(host, &["account", "new", "--name", "treasury", "--json"], "");
    run(host, &["account", "key", "import", "treasury"], RICH);
    let (url, rpc) = (format!("http://{NAME}:22000"), format!("http://{NAME}:8545"));
    let words = [
        "network", "publish", "measured", "--rpc", &rpc, "--ip", &host.ip, "--url", &url, "--epoch", EPOCH,
        "--disk", "1", "--nodes", "4", "--lent", "100", "--yes", "--json",
    ];
    let network = Running::new(host.session(&words));
    let address = network.told()["address"].as_str().unwrap().to_owned();
    (network, address)
}

/// Runs a command to its end, which reads something.
fn run(host: &Host, words: &[&str], input: &str) {
    let mut child = host.session(words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ran = child.wait_with_output().unwrap();
    assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Joins on a machine; the node goes on. What each step took, in seconds, and all of them.
fn join(host: &Host, address: &str) -> (Running, Vec<(String, f64)>) {
    let begun = Instant::now();
    let node = Running::new(host.session(&["join", address, "--yes", "--json"]));
    let mut steps = Vec::new();
    loop {
        let told = node.told();
        let Some(step) = told["step"].as_str() else { break };
        if told["state"] == "done" {
            steps.push((step.to_owned(), told["took"].as_f64().unwrap() / 1_000.0));
        }
    }
    steps.push((String::new(), begun.elapsed().as_secs_f64()));
    (node, steps)
}

/// The median of each step.
fn steps(all: &[Vec<(String, f64)>]) -> Vec<Row> {
    let of = |(number, (step, _)): (usize, &(String, f64))| {
        let ours = median(all.iter().map(|steps| steps[number].1).collect());
        let (what, peer) = if step.is_empty() {
            ("from session join to an active node".to_owned(), Some(ACTIVE))
        } else {
            (format!("  {step}"), None)
        };
        Row { what, ours, peer, unit: "s" }
    };
    all[0].iter().enumerate().map(of).collect()
}

/// How many milliseconds a look at a node's metrics takes on its own machine, and how many kilobytes they have.
fn look(host: &Host) -> [f64; 2] {
    let ask = "exec 3<>/dev/tcp/127.0.0.1/22080 && begun=$EPOCHREALTIME && \
        printf 'GET /metrics HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && bytes=$(wc -c <&3) && \
        echo $begun $EPOCHREALTIME $bytes";
    let ran = host.command(Path::new("bash"), &["-c", ask]).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [begun, ended, bytes] = numbers[..] else { panic!("{text}") };
    [(ended - begun) * 1_000.0, bytes / 1_000.0]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn tell(rows: &[Row], is_json: bool) {
    if is_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|Row { what, ours, peer, unit }| {
                let (ratio, wanted) = (peer.map(|peer| peer / ours), peer.map(|_| 1.0));
                json!({
                    "what": what.trim(), "ours": ours, "peer": peer, "unit": unit, "ratio": ratio, "wanted": wanted,
                })
            })
            .collect();
        return println!("{}", json!({ "data": { "rows": rows } }));
    }
    println!("{:<40} {:>8} {:>8}", "WHAT", "OURS", "TARGET");
    for Row { what, ours, peer, unit } in rows {
        let peer = peer.map_or_else(String::new, |peer| format!("{peer:.1}"));
        println!("{what:<40} {ours:>8.1} {peer:>8} {unit}");
    }
}
