//! `session node`: the key of a new node, and one node in the foreground.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::primitives::Address;
use serde_json::json;
use session_chain::{Candidate, NetworkFile, NetworkNode, bls::BlsSecret, settlement::Staker};
use session_node::{
    NodeError, Supervisor,
    admin::Admin,
    keystore::{self, KeyError, Passphrase},
    settings::{Effective, FILE},
};
use session_protocols::{
    KeyPair, Prefix,
    directory::{Endpoint, MAX_ENDPOINTS},
    limits::{AdmissionRates, Rate},
};
use session_testnet::public::is_published;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Context,
    args::{Node, NodeInit, NodeLog, NodeRun},
    failure::{Exit, Failure},
    log, network, passphrase, payee,
    recipient::FoundBy,
    stake,
};

pub(crate) mod address;
pub(crate) mod settings;

use settings::Chosen;

/// The longest name of a node, in characters.
const MAX_NAME: usize = 64;

/// How long a running node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a door answers that does not know what it is asked.
const NOT_FOUND: u16 = 404;

/// More than any machine can ask.
const UNLIMITED: Rate = Rate { per_second: 1 << 30, burst: 1 << 30 };

pub(crate) async fn run(context: &Context, command: Node) -> Result<(), Failure> {
    match command {
        Node::Init(arguments) => init(context, &arguments).await,
        Node::Run(arguments) => serve(context, arguments).await,
        Node::Log(arguments) => set_log(context, &arguments).await,
    }
}

async fn init(context: &Context, arguments: &NodeInit) -> Result<(), Failure> {
    let NodeInit { name, data, operator, account, address, passphrase_file, again, registrations } =
        arguments;
    let network = chosen(context)?;
    let address = &match &**address {
        [] => {
            let found = address::found(network.as_ref())?;
            let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
            let shown = shown.join(" and ");
            context.output.note(&format!("no address was given: others are to reach the node at {shown}"));
            found
        }
        given => given.to_vec(),
    };
    let prefix = prefix(address)?;
    let (operator, shown, found) = match operator {
        Some(operator) => {
            let operator = payee::address_of(context, operator).await?;
            (operator.address, operator.to_string(), operator.found)
        }
        None => {
            let operator = stake::address(context, account.as_deref())?;
            (operator, stake::lower(operator), None)
        }
    };
    let operator = operator.into();
    let data = &match data {
        Some(data) => data.clone(),
        None => folder(context, name.as_deref())?,
    };
    let passphrase = passphrase::given(passphrase_file.as_deref(), passphrase::VARIABLE)?;
    let passphrase = passphrase.as_ref();
    let (pair, registrations) = match keystore::load_under(data, passphrase) {
        Ok(pair) if *again => {
            let registrations = registered(network.as_ref(), &pair, *registrations).await?;
            (pair, registrations)
        }
        Err(error) if *again => return Err(stopped(error.into(), data)),
        Ok(_) | Err(_) => {
            (keystore::create_under(data, passphrase).map_err(|error| not_made(error, data))?, 0)
        }
    };
    // Once more also where it was interrupted in between.
    let gas = match keystore::load_gas_under(data, passphrase).map_err(|error| not_made(error, data))? {
        Some(gas) => gas,
        None => keystore::create_gas_under(data, passphrase).map_err(|error| not_made(error, data))?,
    };
    let gas = gas.address();
    let addresses = address.iter().map(ToString::to_string).collect();
    let bls = network.as_ref().is_none_or(|network| network.settlement.is_some());
    let bls = bls.then(|| BlsSecret::of_node(&pair).public());
    let node = NetworkNode { id: pair.node_id(), operator, prefix, addresses, door: None, bls };
    let registration = network.as_ref().and_then(|network| {
        let domain = network.settlement.as_ref()?.domain();
        let operator = Address::from(*operator.as_bytes());
        Some(Candidate::sign(network.name.clone(), &domain, &pair, operator, prefix, registrations))
    });
    let path = data.join(stake::REGISTRATION);
    if let Some(registration) = &registration {
        replace(&path, &registration.to_toml())
            .map_err(|cause| Failure::io("cannot write the node's registration", &cause))?;
    }
    let mut result = json!({
        "id": node.id,
        "data": data,
        "operator": operator.to_string(),
        "prefix": prefix.to_string(),
        "gas_account": stake::lower(gas),
        "addresses": node.addresses,
        "network": registration.as_ref().map(|registration| registration.network.to_string()),
        "registration": registration.as_ref().map(|_| &path),
        "registrations": registration.as_ref().map(|registration| registration.registrations),
    });
    FoundBy::tell(found.as_ref(), &mut result);
    context.output.data(&result, || {
        let made = if *again { "signed with the key of the node" } else { "made the key of a new node" };
        let head = format!(
            "{made}, in {data}\n  id  {id}\n\
             Back the key up: whoever has it, has the node, and a new key is another node.\n\n",
            data = data.display(),
            id = node.id,
        );
        let next = match &registration {
            Some(registration) => format!(
                "In the network {network} its operator {shown} registers it:\n  session stake register {data} \
                 --fee 10%\nElsewhere, take along {path}, which is no secret.\n\
                 It submits checkpoints in its turn from the account {gas}: with some ether there it is credited \
                 for each.\n",
                network = registration.network,
                gas = stake::lower(gas),
                data = data.display(),
                path = path.display(),
            ),
            None => format!(
                "Where nodes register on a chain, name the network: add --network FILE --again. Elsewhere its file \
                 needs:\n\n{section}\n",
                section = node.to_toml(),
            ),
        };
        let listen: String = node.addresses.iter().map(|address| format!(" --listen {address}")).collect();
        // Where none was named, the local testnet is meant, if there is one.
        let found = if network.is_some() { network::LOCAL } else { "FILE" };
        let named = context.global.network.as_deref().unwrap_or(found);
        format!("{head}{next}Then: session node run --network {named} --data {}{listen}", data.display())
    })
}

/// The prefix that all addresses of a node lie in.
pub(crate) fn prefix(address: &[Endpoint]) -> Result<Prefix, Failure> {
    if let Some(wrong) = address.iter().find(|address| address.port == 0 || address.ip.is_unspecified()) {
        let message = format!("{wrong} is no address that others could dial");
        return Err(Failure::usage(message, "name the address and port at which others reach the node"));
    }
    if address.len() > MAX_ENDPOINTS {
        let message = format!("a node has at most {MAX_ENDPOINTS} addresses");
        return Err(Failure::usage(message, "name the best ones"));
    }
    let Some(first) = address.first() else { return Err(address::none()) };
    let prefix = Prefix::of(first.ip);
    if let Some(outside) = address.iter().find(|address| !prefix.covers(address.ip)) {
        let message = format!("{outside} lies outside {prefix}, the prefix of the first address");
        return Err(Failure::usage(message, "a node has one prefix: name addresses in it alone"));
    }
    Ok(prefix)
}

/// The network that is named; where none is, the local testnet, if there is one.
fn chosen(context: &Context) -> Result<Option<NetworkFile>, Failure> {
    match network::described(context) {
        Err(none) if context.global.network.is_none() && none.code == "no_network" => Ok(None),
        found => found.map(Some),
    }
}

/// How often a node's keys have been registered: as is said, or as the network's chain says.
async fn registered(
    network: Option<&NetworkFile>,
    pair: &KeyPair,
    said: Option<u64>,
) -> Result<u64, Failure> {
    let settlement = network.and_then(|network| network.settlement.as_ref());
    let (None, Some(settlement)) = (said, settlement) else { return Ok(said.unwrap_or_default()) };
    let asked = Staker::registrations(settlement, &BlsSecret::of_node(pair).public()).await;
    asked.map_err(|error| {
        let mut failure = Failure::from(error);
        failure.message =
            format!("the chain does not tell how often the node's keys were registered: {}", failure.message);
        failure.remedy =
            "check `rpc` in the network file and try again, or say it yourself: --registrations TIMES"
                .to_owned();
        failure
    })
}

/// Replaces a file as a whole, open to all as is usual.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    crate::config::replace(path, text, 0o666)
}

/// The folder of a name; of the first of node-1, node-2, ... that is free, where none is given.
fn folder(context: &Context, name: Option<&str>) -> Result<PathBuf, Failure> {
    let nodes = context.home()?.path().join(stake::NODES);
    let Some(name) = name else {
        let mut free = (1_u64..).map(|number| nodes.join(format!("node-{number}")));
        return Ok(free.find(|folder| !folder.exists()).unwrap_or(nodes));
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
        let message =
            format!("\"{name}\" is no name for a node: a name is 1 to {MAX_NAME} of a-z, A-Z, 0-9, - and _");
        return Err(Failure::usage(message, "choose another name"));
    }
    Ok(nodes.join(name))
}

fn not_made(error: KeyError, data: &Path) -> Failure {
    let (exists, missing) =
        (matches!(error, KeyError::Exists { .. }), matches!(error, KeyError::File { .. }));
    let mut failure = Failure::from(error);
    if missing {
        failure.remedy = "check that the folder belongs to this user and has room".to_owned();
    }
    if exists {
        let whose = keystore::id(data).map(|id| format!(": the node {id} is there"));
        failure.message += &whose.unwrap_or_default();
        failure.remedy = "use that key: add --again; or name another folder with --data".to_owned();
    }
    failure
}

async fn serve(context: &Context, arguments: NodeRun) -> Result<(), Failure> {
    let NodeRun { data, config, flags, unlimited } = arguments;
    let chosen = settings::chosen(context, Some(&data), config.as_deref(), &flags);
    let Chosen { effective, network } = chosen.map_err(lasting)?;
    let control = log::start_node(&effective)?;
    let Some((_, network)) = network else {
        let remedy = format!("name it: --network NAME|FILE, or `network` in {}", data.join(FILE).display());
        return Err(Failure::usage("a node needs its network", remedy));
    };
    let mut config = effective.config(network, data.clone());
    config.log = Some(control);
    config.supervisor = Supervisor::of_environment();
    config.passphrase = passphrase_of(&effective, &data).map_err(lasting)?;
    if unlimited {
        if let Some(door) = &mut config.door {
            door.limits.lift();
        }
        config.rates = AdmissionRates { neighbour: UNLIMITED, account: UNLIMITED, total: UNLIMITED };
    }
    let shutdown = shutdown()?;
    session_node::run(config, shutdown).await.map_err(|error| {
        let of_keys = matches!(error, NodeError::Key(_));
        let failure = stopped(error, &data);
        if of_keys { lasting(failure) } else { failure }
    })
}

/// What stays so until a person mends it: settings, the network's file, keys and what opens them. A service is not
/// started anew for that.
fn lasting(failure: Failure) -> Failure {
    let exit = if failure.exit == Exit::Failed { Exit::Usage } else { failure.exit };
    Failure { exit, ..failure }
}

/// What the node's keys are encrypted under, if they are. A key that cannot be read is told of by the node.
pub(crate) fn passphrase_of(effective: &Effective, data: &Path) -> Result<Option<Passphrase>, Failure> {
    if !keystore::is_sealed(data).unwrap_or(false) {
        return Ok(None);
    }
    let file = effective.settings().passphrase_file.as_deref();
    passphrase::wanted(file, "The passphrase of the node's keys:").map(Some)
}

/// Changes what a running node logs.
async fn set_log(context: &Context, arguments: &NodeLog) -> Result<(), Failure> {
    let NodeLog { level, data } = arguments;
    let admin = Admin::of(data).map_err(|cause| {
        let message = format!("no node can be asked in {}: {cause}", data.display());
        let remedy = "start the node, and run this as the user that it runs as";
        Failure::new(Exit::NotReady, "not_running", message, remedy)
    })?;
    // What is on this machine is asked straight.
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(|error| {
        let message = crate::failure::chain(&error);
        Failure::new(Exit::Failed, "http", message, "look at the cause above")
    })?;
    let asked = client
        .put(format!("http://{}/log", admin.address))
        .bearer_auth(admin.token.as_str())
        .timeout(PATIENCE)
        .body(level.clone());
    let answer = asked.send().await.map_err(|error| {
        let message =
            format!("the node does not answer at {}: {}", admin.address, crate::failure::chain(&error));
        Failure::new(Exit::NotReady, "not_running", message, "start the node, or see whether it runs")
    })?;
    let status = answer.status();
    let answer: serde_json::Value = answer.json().await.unwrap_or_default();
    if !status.is_success() {
        return Err(not_set(status.as_u16(), &answer, data));
    }
    context.output.data(&json!({ "filter": level }), || {
        if is_published(data) {
            return format!(
                "the process that publishes the network logs {level} of all its nodes until it stops; to keep it, start \
                 it with RUST_LOG={level}"
            );
        }
        format!(
            "the node logs {level} until it stops; to keep it, set log_level in {}",
            data.join(FILE).display()
        )
    })
}

/// Why a node does not log what it was told to.
fn not_set(status: u16, answer: &serde_json::Value, data: &Path) -> Failure {
    if status == NOT_FOUND {
        let message = "the node that runs cannot change what it logs: it is of an older build, or was started in another way";
        let remedy = format!(
            "restart it by this build; or set log_level in {}, which counts from its next start on",
            data.join(FILE).display()
        );
        return Failure::new(Exit::Failed, "log", message, remedy);
    }
    let why = answer["error"]["message"].as_str().unwrap_or("it does not say why");
    let message = format!("the node refuses it ({status}): {why}");
    let remedy =
        "write a level (error, warn, info, debug, trace), or levels of parts: session=debug,libp2p=info";
    Failure::new(Exit::Failed, "log", message, remedy)
}

/// Why a node does not run; whoever never had a key is told how to get one.
fn stopped(error: NodeError, data: &Path) -> Failure {
    let missing = matches!(&error, NodeError::Key(KeyError::File { cause, .. })
        if cause.kind() == io::ErrorKind::NotFound);
    let mut failure = Failure::from(error);
    if missing {
        failure.remedy = format!(
            "put the key back from its backup: session key restore FILE --data {data}; a new node gets one with: \
             session node init --data {data}",
            data = data.display()
        );
    }
    failure
}

/// Completes at the first SIGTERM or Ctrl-C; a second one ends the process at once.
pub(crate) fn shutdown() -> Result<impl Future<Output = ()> + Send, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_cannot_change_its_log_is_told_from_a_filter_that_is_none() {
        let data = Path::new("/data");
        let old = not_set(NOT_FOUND, &serde_json::Value::Null, data);
        assert!(old.message.contains("older build"), "{}", old.message);
        assert!(
            old.remedy.contains("restart it") && old.remedy.contains("/data/node.toml"),
            "{}",
            old.remedy
        );
        let answer = json!({ "error": { "message": "that is none" } });
        let wrong = not_set(400, &answer, data);
        assert!(wrong.message.ends_with("(400): that is none"), "{}", wrong.message);
        assert!(wrong.remedy.starts_with("write a level"), "{}", wrong.remedy);
    }
}
