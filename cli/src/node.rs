//! `session node`: one node in the foreground.

use session_chain::NetworkFile;
use session_node::{Config, keystore};
use session_protocols::{
    directory::Endpoint,
    limits::{AdmissionRates, Rate},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Context,
    args::NodeRun,
    failure::{Exit, Failure},
    network,
};

/// More than any machine can ask.
const UNLIMITED: Rate = Rate { per_second: 1 << 30, burst: 1 << 30 };

pub(crate) async fn run(context: &Context, arguments: NodeRun) -> Result<(), Failure> {
    let Some(name) = context.global.network.as_deref() else {
        return Err(Failure::usage("a node needs its network", "name the network's file: --network FILE"));
    };
    let network = network::read(&network::file(name, &context.home_path()?)?)?;
    let listen = if arguments.listen.is_empty() { written(&network, &arguments)? } else { arguments.listen };
    let mut config = Config::new(network, arguments.data, listen, arguments.http);
    if let Some(max_bytes) = arguments.max_bytes {
        config.max_bytes = max_bytes;
    }
    if arguments.unlimited {
        config.rates = AdmissionRates { neighbour: UNLIMITED, account: UNLIMITED, total: UNLIMITED };
    }
    let shutdown = shutdown()?;
    Ok(session_node::run(config, shutdown).await?)
}

/// Where the network file says that the node is.
fn written(network: &NetworkFile, arguments: &NodeRun) -> Result<Vec<Endpoint>, Failure> {
    let id = keystore::load(&arguments.data).map_err(session_node::NodeError::from)?.node_id();
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
