//! `session node`: the key of a new node, and one node in the foreground.

use std::{io, path::Path};

use serde_json::json;
use session_chain::{NetworkFile, NetworkNode};
use session_node::{
    Config, NodeError,
    keystore::{self, KeyError},
};
use session_protocols::{
    Prefix,
    directory::{Endpoint, MAX_ENDPOINTS},
    limits::{AdmissionRates, Rate},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Context,
    args::{Node, NodeInit, NodeRun},
    failure::{Exit, Failure},
    network,
};

/// More than any machine can ask.
const UNLIMITED: Rate = Rate { per_second: 1 << 30, burst: 1 << 30 };

pub(crate) async fn run(context: &Context, command: Node) -> Result<(), Failure> {
    match command {
        Node::Init(arguments) => init(context, &arguments),
        Node::Run(arguments) => serve(context, arguments).await,
    }
}

fn init(context: &Context, arguments: &NodeInit) -> Result<(), Failure> {
    let NodeInit { data, operator, address } = arguments;
    let Some(first) = address.first() else {
        return Err(Failure::usage(
            "a node needs an address",
            "say where others reach it: --address ENDPOINT",
        ));
    };
    if let Some(wrong) = address.iter().find(|address| address.port == 0 || address.ip.is_unspecified()) {
        let message = format!("{wrong} is no address that others could dial");
        return Err(Failure::usage(message, "name the address and port at which others reach the node"));
    }
    if address.len() > MAX_ENDPOINTS {
        let message = format!("a node has at most {MAX_ENDPOINTS} addresses");
        return Err(Failure::usage(message, "name the best ones"));
    }
    let prefix = Prefix::of(first.ip);
    if let Some(outside) = address.iter().find(|address| !prefix.covers(address.ip)) {
        let message = format!("{outside} lies outside {prefix}, the prefix of the first address");
        return Err(Failure::usage(message, "a node has one prefix: name addresses in it alone"));
    }
    let pair = keystore::create(data).map_err(|error| not_made(&error, data))?;
    let gas = keystore::create_gas(data).map_err(|error| not_made(&error, data))?.address();
    let addresses = address.iter().map(ToString::to_string).collect();
    let node = NetworkNode { id: pair.node_id(), operator: *operator, prefix, addresses };
    let result = json!({
        "id": node.id,
        "data": data,
        "operator": operator.to_string(),
        "prefix": prefix.to_string(),
        "gas_account": gas.to_string(),
        "addresses": node.addresses,
    });
    context.output.data(&result, || {
        format!(
            "made the key of a new node, in {data}\n  id  {id}\n\
             Back it up: whoever has it, has the node, and a new key is another node.\n\n\
             Where nodes register on a chain, it submits checkpoints in its turn from the account {gas}: with \
             some ether there it is credited for each.\n\n\
             The network file needs:\n\n{section}\n\
             Then: session node run --network FILE --data {data}",
            data = data.display(),
            id = node.id,
            section = node.to_toml(),
        )
    })
}

fn not_made(error: &KeyError, data: &Path) -> Failure {
    let message = crate::failure::chain(error);
    if !matches!(error, KeyError::Exists { .. }) {
        let remedy = "check that the folder belongs to this user and has room";
        return Failure::new(Exit::Failed, "key", message, remedy);
    }
    let whose = keystore::load(data).map(|pair| format!(": the node {} is there", pair.node_id()));
    let message = message + &whose.unwrap_or_default();
    Failure::new(Exit::Refused, "key_exists", message, "use that key, or name another folder with --data")
}

async fn serve(context: &Context, arguments: NodeRun) -> Result<(), Failure> {
    let data = arguments.data.clone();
    let Some(name) = context.global.network.as_deref() else {
        return Err(Failure::usage("a node needs its network", "name the network's file: --network FILE"));
    };
    let network = network::read(&network::file(name, &context.home_path()?)?)?;
    let listen = if arguments.listen.is_empty() { written(&network, &arguments)? } else { arguments.listen };
    let mut config = Config::new(network, arguments.data, listen, arguments.http);
    config.rpc = arguments.rpc;
    if let Some(max_bytes) = arguments.max_bytes {
        config.max_bytes = max_bytes;
    }
    if arguments.unlimited {
        config.rates = AdmissionRates { neighbour: UNLIMITED, account: UNLIMITED, total: UNLIMITED };
    }
    let shutdown = shutdown()?;
    session_node::run(config, shutdown).await.map_err(|error| stopped(error, &data))
}

/// Why a node does not run; whoever never had a key is told how to get one.
fn stopped(error: NodeError, data: &Path) -> Failure {
    let missing = matches!(&error, NodeError::Key(KeyError::File { cause, .. })
        if cause.kind() == io::ErrorKind::NotFound);
    let mut failure = Failure::from(error);
    if missing {
        failure.remedy = format!(
            "put the key back from its backup; a new node gets one with: session node init --data {}",
            data.display()
        );
    }
    failure
}

/// Where the network file says that the node is.
fn written(network: &NetworkFile, arguments: &NodeRun) -> Result<Vec<Endpoint>, Failure> {
    let id =
        keystore::load(&arguments.data).map_err(|error| stopped(error.into(), &arguments.data))?.node_id();
    let node = network.nodes.iter().find(|node| node.id == id);
    let addresses = node.map_or(&[][..], |node| &node.addresses);
    let read = |text: &String| {
        text.parse::<Endpoint>().map_err(|error| {
            let message = format!("cannot listen on {text}, which the network file names: {error}");
            Failure::new(Exit::Failed, "listen", message, "say where to listen: --listen ENDPOINT")
        })
    };
    addresses.iter().map(read).collect()
}

/// Completes at the first SIGTERM or Ctrl-C; a second one ends the process at once.
fn shutdown() -> Result<impl Future<Output = ()> + Send, Failure> {
    let failed = |cause| Failure::io("cannot listen for signals", &cause);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // What is acknowledged is durable: whoever is in a hurry loses nothing.
            std::process::exit(130);
        });
    })
}
