//! `session testnet`: many nodes on this machine.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use session_chain::Amount;
use session_testnet::{
    ChainStatus, FUND_ETHER, Folder, NodeStatus, Options, Stopped, Testnet, TestnetError, Up, logs,
    page::{self, PageStatus},
};

use crate::{
    Context,
    args::{self, Verb},
    failure::Failure,
    network, payee,
    recipient::FoundBy,
    simulation, stake, text,
};

pub(crate) async fn run(context: &Context, arguments: args::Testnet) -> Result<(), Failure> {
    let folder = Folder::new(arguments.dir.as_deref())?;
    let testnet = Testnet::new(folder, binary()?);
    match arguments.verb {
        Verb::Up { nodes, no_chain, page } => {
            let options = Options { nodes, arguments: Vec::new(), chain: !no_chain, page: Some(page) };
            up(context, &testnet, &options).await
        }
        Verb::Down { keep } => down(context, &testnet, keep).await,
        Verb::Status => status(context, &testnet).await,
        Verb::Kill(nodes) => {
            check(&testnet, &nodes.nodes).await?;
            for node in &nodes.nodes {
                let ran = testnet.kill(*node).await?;
                context
                    .output
                    .note(&format!("node {node} {}", if ran { "killed" } else { "was down already" }));
            }
            some(context, &testnet, &nodes.nodes).await
        }
        Verb::Start(nodes) => {
            let started = testnet.start(&nodes.nodes).await?;
            for node in &nodes.nodes {
                let deed = if started.contains(node) { "is ready" } else { "runs already" };
                context.output.note(&format!("node {node} {deed}"));
            }
            some(context, &testnet, &nodes.nodes).await
        }
        Verb::Restart(nodes) => {
            check(&testnet, &nodes.nodes).await?;
            for node in &nodes.nodes {
                let stopped = testnet.restart(*node).await?;
                warn(context, &stopped);
                context.output.note(&format!("node {node} is ready again"));
            }
            some(context, &testnet, &nodes.nodes).await
        }
        Verb::Add => add(context, &testnet).await,
        Verb::Remove { node } => remove(context, &testnet, node).await,
        Verb::Fund { account, sesh } => fund(context, &testnet, &account, sesh).await,
        Verb::Logs { node, follow } => show_log(context, &testnet, node, follow).await,
        Verb::Page { port } => Ok(page::serve(&testnet, port).await?),
        Verb::Bench(bench) => crate::bench::run(context, &bench).await,
        Verb::Sim(sim) => simulation::run(context, &sim),
    }
}

/// The program that nodes run: this one.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|cause| Failure::io("cannot find the program itself", &cause))
}

async fn up(context: &Context, testnet: &Testnet, options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    let bar = bar("nodes ready");
    let mut progress = |ready, total| {
        bar.set_length(total as u64);
        bar.set_position(ready as u64);
    };
    let up = testnet.up(options, &mut progress).await;
    bar.finish_and_clear();
    let (up, took) = (up?, started.elapsed());
    let (nodes, chain, page) = (testnet.status().await?, testnet.chain().await?, testnet.page()?);
    let data = json!({
        "nodes": nodes,
        "chain": chain,
        "page": page,
        "already": up == Up::Already,
        "network": testnet.folder().network_path(),
        "ready_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    });
    context.output.data(&data, || {
        let secs = took.as_secs_f64();
        let head = match up {
            Up::New => format!("{} nodes are ready, after {secs:.1} s", nodes.len()),
            Up::Resumed => format!("the {} nodes of before are ready again, after {secs:.1} s", nodes.len()),
            Up::Completed => {
                format!("nodes that were down are up again: all {} are ready, after {secs:.1} s", nodes.len())
            }
            Up::Already => format!("the testnet was up already; its {} nodes are ready", nodes.len()),
        };
        let (chain, page) = (chain_line(chain.as_ref()), page_line(page.as_ref()));
        format!("{head}\n\n{}{chain}{page}\n{}", table(&nodes), next(testnet, &nodes))
    })
}

async fn down(context: &Context, testnet: &Testnet, keep: bool) -> Result<(), Failure> {
    let stopped = testnet.down(keep).await?;
    let was = stopped.is_some();
    let stopped = stopped.unwrap_or_default();
    warn(context, &stopped);
    context.output.data(&json!({ "was_up": was, "kept": keep && was, "killed": stopped.killed }), || {
        match (was, keep) {
            (false, _) => "there was no testnet",
            (true, true) => "all nodes are down; go on with: session testnet up",
            (true, false) => "all nodes are down, and their messages are removed",
        }
        .to_owned()
    })
}

/// Names the nodes that did not stop when asked to.
fn warn(context: &Context, stopped: &Stopped) {
    for node in &stopped.killed {
        context.output.note(&format!("node {node} did not stop when asked to, and was killed"));
    }
}

async fn status(context: &Context, testnet: &Testnet) -> Result<(), Failure> {
    let (nodes, chain, page) = (testnet.status().await?, testnet.chain().await?, testnet.page()?);
    // As many as the node knows of that has come furthest.
    let names = nodes.iter().filter_map(|node| node.names).max();
    context.output.data(&json!({ "nodes": nodes, "chain": chain, "page": page, "names": names }), || {
        let names = names.map(|names| format!("names: {names}\n")).unwrap_or_default();
        let (chain, page) = (chain_line(chain.as_ref()), page_line(page.as_ref()));
        format!("{}{chain}{page}{names}", table(&nodes))
    })
}

async fn add(context: &Context, testnet: &Testnet) -> Result<(), Failure> {
    let bar = waiting("the node stakes, and is active at the border after next");
    let added = testnet.add().await;
    bar.finish_and_clear();
    let node = added?;
    context.output.data(&json!({ "nodes": [node] }), || {
        format!("node {} is active\n\n{}", node.index, table(std::slice::from_ref(&node)))
    })
}

async fn remove(context: &Context, testnet: &Testnet, node: usize) -> Result<(), Failure> {
    check(testnet, &[node]).await?;
    let bar = waiting("the node leaves: it serves for a minute, then a checkpoint releases its stake");
    let removed = testnet.remove(node).await;
    bar.finish_and_clear();
    let stopped = removed?;
    warn(context, &stopped);
    context.output.data(&json!({ "removed": node, "killed": stopped.killed }), || {
        format!("node {node} has left: its stake is paid back, and it is down")
    })
}

async fn fund(context: &Context, testnet: &Testnet, account: &str, sesh: Amount) -> Result<(), Failure> {
    let there = context.on(&testnet.folder().network_path());
    let to = Box::pin(payee::address_of(&there, account)).await?;
    testnet.fund(to.address, sesh).await?;
    let (address, ether) = (stake::lower(to.address), FUND_ETHER.to_string());
    let mut given = json!({ "address": address, "sesh": sesh.to_string(), "ether": ether });
    FoundBy::tell(to.found.as_ref(), &mut given);
    context.output.data(&given, || format!("gave {sesh} SESH and {FUND_ETHER} ETH to {to}"))
}

/// Says on a terminal what is waited for, and for how long so far.
fn waiting(what: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let bar = ProgressBar::new_spinner();
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Refuses as a whole what names a node that is not there.
async fn check(testnet: &Testnet, which: &[usize]) -> Result<(), Failure> {
    let nodes = testnet.status().await?;
    match which.iter().find(|index| !nodes.iter().any(|node| node.index == **index)) {
        Some(index) => Err(TestnetError::NoNode { index: *index, nodes: nodes.len() }.into()),
        None => Ok(()),
    }
}

/// How some of the nodes are, for programs; people were told already.
async fn some(context: &Context, testnet: &Testnet, which: &[usize]) -> Result<(), Failure> {
    if !context.output.is_json() {
        return Ok(());
    }
    let mut nodes = testnet.status().await?;
    nodes.retain(|node| which.contains(&node.index));
    context.output.data(&json!({ "nodes": nodes }), String::new)
}

async fn show_log(context: &Context, testnet: &Testnet, node: usize, follow: bool) -> Result<(), Failure> {
    check(testnet, &[node]).await?;
    let log = testnet.folder().log(node);
    let failed = |cause| Failure::io("cannot read the log", &cause);
    let lines = |lines: &[String]| json!({ "path": log, "lines": lines });
    let mut reader = logs::Reader::open(&log).map_err(failed)?;
    if !follow && context.output.is_json() {
        let mut all = Vec::new();
        while let Some(line) = reader.line(true).map_err(failed)? {
            all.push(line);
        }
        return context.output.data(&lines(&all), String::new);
    }
    loop {
        match reader.line(!follow).map_err(failed)? {
            Some(line) => context.output.data(&lines(std::slice::from_ref(&line)), || line + "\n")?,
            None if follow => tokio::time::sleep(logs::POLL).await,
            None => return Ok(()),
        }
    }
}

/// A bar on a terminal, and nothing elsewhere.
pub(crate) fn bar(what: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {what} {{msg}}"));
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// How the chain is, where there is one.
fn chain_line(chain: Option<&ChainStatus>) -> String {
    let Some(chain) = chain else { return String::new() };
    let state = match (chain.pid, chain.height) {
        (None, _) => "down: bring it back with session testnet up".to_owned(),
        (Some(pid), None) => format!("process {pid} does not answer"),
        (Some(pid), Some(height)) => format!("at block {height}, process {pid}"),
    };
    format!("\nchain {}: {state}\n", chain.rpc)
}

/// Where to look at it.
fn page_line(page: Option<&PageStatus>) -> String {
    page.map_or_else(String::new, |page| format!("\npage {}\n", page.url))
}

fn table(nodes: &[NodeStatus]) -> String {
    let rows: Vec<_> = nodes
        .iter()
        .map(|node| {
            [
                node.index.to_string(),
                state(node),
                text::short(&node.id.to_string()),
                node.swarm.clone().unwrap_or_else(|| "-".to_owned()),
                node.peers.to_string(),
                node.messages.to_string(),
                node.addresses.first().cloned().unwrap_or_else(|| "-".to_owned()),
                node.http.clone(),
                node.door.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    text::table(["#", "STATE", "ID", "SWARM", "PEERS", "MESSAGES", "ADDRESS", "HTTP", "DOOR"], &rows)
}

/// What a node says of itself, and what the contract has of it where that is not the usual.
fn state(node: &NodeStatus) -> String {
    match node.registration.as_deref() {
        None | Some("active") => node.state.clone(),
        Some(registration) => format!("{}, {registration}", node.state),
    }
}

/// What to type next, as it can be typed here.
fn next(testnet: &Testnet, nodes: &[NodeStatus]) -> String {
    let program = program();
    let default = network::local_folder().is_ok_and(|folder| folder == *testnet.folder());
    let (dir, network) = if default {
        (String::new(), String::new())
    } else {
        let folder = testnet.folder();
        (
            format!(" --dir {}", folder.path().display()),
            format!(" --network {}", folder.network_path().display()),
        )
    };
    let kill = match nodes {
        [_, second, _, _, fifth, _, ..] => {
            let (second, fifth) = (second.index, fifth.index);
            format!("  {program} testnet kill {second} {fifth}{dir}      # nothing is lost\n")
        }
        // Of fewer nodes two may be half of a swarm.
        _ => String::new(),
    };
    format!(
        "Try:\n  {program} account new --name alice\n  {program} account new --name bob\n  \
         {program} send --from alice bob \"hello, bob\"{network}\n  {program} inbox --account bob{network}\n\
         {kill}  {program} testnet down{dir}\n"
    )
}

/// How this program is called from here: by its name if the shell finds it, else by its path.
fn program() -> String {
    let Ok(own) = std::env::current_exe() else { return "session".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("session")).find(|file| file.is_file());
    if found.and_then(|file| file.canonicalize().ok()) == own.canonicalize().ok() {
        return "session".to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    match own.strip_prefix(&here) {
        Ok(relative) => format!("./{}", relative.display()),
        Err(_) => own.display().to_string(),
    }
}
