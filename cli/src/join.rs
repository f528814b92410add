//! `session join`: from a bare machine to a node that is reachable, synced and staked, step by step.
//!
//! Each step looks at what is there and goes on from it, so that whoever was interrupted, or mended what a step
//! named, types the command again.

mod board;
mod elsewhere;
pub(crate) mod endpoints;
pub(crate) mod faucet;
pub(crate) mod machine;
mod place;
mod running;
pub(crate) mod service;
mod stake;
mod watch;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use alloy::primitives::Address;
use serde_json::json;
use session_chain::{Candidate, bls::BlsSecret, network::Settlement};
use session_node::{
    keystore::{self, KeyError, Passphrase},
    settings::{Effective, FILE, Layer, Origin, Settings},
};
use session_protocols::{KeyPair, directory::Endpoint};
use tokio::task::spawn_blocking;

use crate::{
    Context,
    args::{self, Flags},
    failure::{Exit, Failure},
    network::{description, terms::Terms},
    node::{passphrase_of, settings, shutdown},
    passphrase, payee,
    stake::{NODES, REGISTRATION, lower},
};
use board::Board;
use place::Place;
use running::Running;
use service::{Service, User};
use watch::Watch;

/// How settings begin that are written here, and may be written anew.
const WRITTEN: &str = "# Written by `session join`";
/// The log, in the node's folder, unless its settings name another file.
pub(crate) const LOG: &str = "node.log";
/// What a node that has signed checkpoints has in its folder.
const SIGNED: &str = "signed";

/// The node of this machine.
struct Keys {
    pair: KeyPair,
    /// What it pays from for what it submits.
    gas: Address,
    data: PathBuf,
    /// Whose folder that is, where it is not that of whoever runs this.
    owner: Option<User>,
}

impl Keys {
    /// Writes the node's registration down beside its keys.
    fn keep(&self, registration: &Candidate) -> Result<(), Failure> {
        let (path, text) = (self.data.join(REGISTRATION), registration.to_toml());
        by(self.owner, || {
            crate::node::replace(&path, &text)
                .map_err(|cause| Failure::io("cannot write the node's registration", &cause))
        })
    }
}

/// Does something by the rights of the node's user, if it has one of its own.
fn by<T: Send>(owner: Option<User>, deed: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    match owner {
        Some(owner) => owner.act(deed),
        None => deed(),
    }
}

pub(crate) async fn run(context: &Context, arguments: args::Join) -> Result<(), Failure> {
    Service::asked(&arguments)?;
    if arguments.remove {
        return service::remove(context, &arguments).await;
    }
    if let Some(operator) = &arguments.operator {
        // Before anything is made: one that is written wrongly is mended by writing it.
        payee::written(operator)?;
    }
    let board = Board::new(context.output);
    let (network, path, terms) = board
        .step("network", async |say| {
            say.doing("reading the description");
            let named = &arguments.named;
            let found = description::load(context, &named.source, named.publisher).await?;
            let path = description::keep(context, &found)?;
            let terms = Terms::of(context, &found, named.publisher)?;
            if let Some(terms) = &terms {
                terms.keep_named()?;
            }
            let signed = found
                .publisher
                .map_or_else(|| "signed by nobody".to_owned(), |publisher| format!("signed by {publisher}"));
            let told = format!("{}, {signed}; kept in {}", found.network.name, path.display());
            Ok(((found.network, path, terms), told))
        })
        .await?;
    // Whoever is named has a name of the network that is joined.
    let there = context.on(&path);
    let service = Service::of(&arguments, &network)?;
    let data = match (&service, &arguments.data) {
        (Some(service), _) => service.data.clone(),
        (None, Some(data)) => data.clone(),
        (None, None) => {
            let name = arguments.name.clone().unwrap_or_else(|| network.name.to_string());
            context.home()?.path().join(NODES).join(name)
        }
    };
    // What was found out before, or set by hand, holds; but of the network what was just read.
    let before = settings::chosen(context, Some(&data), None, &Flags::of([of_network(&path)]))?.effective;
    let owner = board
        .step("machine", async |say| {
            say.doing("looking at what the machine has");
            match &service {
                Some(service) => service.check().await?,
                None if service::is_locked(&data) => return Err(running::in_use(&data)),
                None => {}
            }
            let told = machine::check(&data, network.limits)?;
            let owner = match &service {
                Some(service) => Some(service.owner().await?),
                None => None,
            };
            Ok((owner, told))
        })
        .await?;
    let rpc = endpoints(&arguments, before.settings(), network.settlement.as_ref());
    board
        .step("clock", async |say| {
            say.doing("comparing the clock");
            let told = machine::clock(&arguments.named.source, &rpc).await?;
            Ok(((), told))
        })
        .await?;
    // Everything that asks the chain asks these.
    let settlement =
        network.settlement.clone().map(|settlement| Settlement { rpc: rpc.clone(), ..settlement });
    if let Some(settlement) = &settlement {
        board
            .step("chain", async |say| {
                say.doing("asking the endpoints");
                let found = endpoints::check(settlement, &rpc).await?;
                Ok(((), found.told()))
            })
            .await?;
    }
    let passphrase = match (&service, owner) {
        (Some(service), Some(owner)) => service.passphrase(&before, owner),
        (Some(_) | None, _) => new_or_known(&before, &data),
    };
    let passphrase = passphrase.map_err(|failure| board.broken(Some("keys"), failure))?;
    let keys = board
        .step("keys", async |say| {
            say.doing("reading the node's keys, or making them");
            let (data, passphrase) = (data.clone(), passphrase.clone());
            // A passphrase takes a while: what waits for it goes on saying so.
            let made = spawn_blocking(move || keys(&data, passphrase.as_ref(), owner)).await;
            made.unwrap_or_else(|error| {
                let remedy = "type the same command again";
                Err(Failure::new(Exit::Failed, "keys", error.to_string(), remedy))
            })
        })
        .await?;
    let place = board
        .step("address", async |say| {
            let runs = match &service {
                Some(service) => service.runs().await?,
                None => false,
            };
            if runs
                && let Some(service) = &service
                && let Some(place) = service::settled(&arguments, before.settings())
            {
                return Ok((place, format!("as {} has it", service.unit())));
            }
            place::find(&arguments, before.settings(), &network, runs, &say).await
        })
        .await?;
    let mut arguments = arguments;
    if before.settings().log_file.is_none() && service.is_none() {
        // The steps have the screen.
        arguments.log_file = Some(data.join(LOG));
    }
    let flags = flags(&path, &place, &arguments);
    let effective = settings::chosen(context, Some(&data), None, &flags)?.effective;
    let http = effective.settings().http;
    let mut running = match service.clone() {
        Some(service) => Running::Unit(service),
        None => {
            let mut config = effective.config(network.clone(), data.clone());
            config.passphrase = passphrase;
            let log = crate::log::start_node(&effective);
            config.log = Some(log.map_err(|failure| board.broken(Some("start"), failure))?);
            Running::here(config)
        }
    };
    let watch = Watch::new(http, keys.pair.node_id())?;
    let signalled = shutdown()?;
    let rest = async {
        board
            .step("start", async |say| {
                if let (Some(service), Some(owner)) = (&service, owner) {
                    let described = (&network, path.as_path());
                    service.start(context, &arguments, described, (&place, owner), &say).await?;
                }
                watch.started(&say).await
            })
            .await?;
        // On one machine nobody dials anybody back.
        let announced: &[Endpoint] = if network.local { &[] } else { &place.announce };
        board
            .step("reachable", async |say| {
                let reached = watch.reached(&say, announced).await?;
                if service.is_none() {
                    write_settings(&data, &path, &place, &arguments)?;
                }
                Ok(reached)
            })
            .await?;
        if let (Some(settlement), Some(terms)) = (&settlement, &terms) {
            board.step("synced", async |say| watch.synced(&say).await).await?;
            board
                .step("stake", async |say| {
                    let of = (&network, settlement, terms);
                    stake::put_down(&there, &arguments, of, &keys, &place, &watch, &say).await
                })
                .await?;
        }
        let patience = watch::patience(settlement.as_ref());
        board.step("active", async |say| watch.active(&say, patience).await).await
    };
    let mut signalled = Box::pin(signalled);
    let joined = tokio::select! {
        joined = rest => joined,
        () = &mut signalled => Err(board.broken(None, running.interrupted())),
        (of, failure) = running.ended() => return Err(board.broken(of, failure)),
    };
    let swarm = match joined {
        Ok(swarm) => swarm,
        Err(failure) => {
            let _ = running.stop().await;
            return Err(failure);
        }
    };
    let (id, unit) = (keys.pair.node_id(), running.unit());
    let status = format!("http://{http}/status");
    let told = json!({ "id": id, "data": keys.data, "swarm": swarm, "status": status, "unit": unit });
    context.output.data(&told, || {
        let on = match unit {
            Some(unit) => format!(
                "It runs in {unit}, also after the machine starts anew.\n  its log    journalctl -u {unit} -f\n  to stop it systemctl stop {unit}"
            ),
            None => "Ctrl-C stops it; the same command goes on.".to_owned(),
        };
        format!("node {id} is active, in swarm {swarm}\n  how it is  {status}\n{on}")
    })?;
    if !arguments.once && unit.is_none() {
        tokio::select! {
            () = &mut signalled => {}
            (_, failure) = running.ended() => return Err(failure),
        }
    }
    running.stop().await
}

/// Refuses to make a key where a node was that has lost it.
fn keys_are_lost(data: &Path) -> Option<Failure> {
    let left = [REGISTRATION, SIGNED].into_iter().find(|name| data.join(name).exists())?;
    let (shown, data) = (data.join(left), data.display());
    let message = format!(
        "{data} has no node's key, but {} of a node: a new key would be another node",
        shown.display()
    );
    let remedy = format!(
        "put the key back: session key restore FILE --data {data}; or begin in another folder: --data DIR"
    );
    Some(Failure::new(Exit::Refused, "key_lost", message, remedy))
}

/// What the keys are encrypted under, or are to be: of new ones nobody is asked.
fn new_or_known(before: &Effective, data: &Path) -> Result<Option<Passphrase>, Failure> {
    if data.join(keystore::NODE).exists() {
        return passphrase_of(before, data);
    }
    passphrase::given(before.settings().passphrase_file.as_deref(), passphrase::VARIABLE)
}

/// Who is asked of the chain: as was said, as the node's settings say, or as the description does.
fn endpoints(arguments: &args::Join, before: &Settings, settlement: Option<&Settlement>) -> Vec<String> {
    let written: Vec<String> = before.rpc.iter().map(|url| url.0.clone()).collect();
    let described = settlement.map(|settlement| settlement.rpc.clone()).unwrap_or_default();
    [arguments.rpc.clone(), written, described].into_iter().find(|urls| !urls.is_empty()).unwrap_or_default()
}

/// The node's keys: those that are there, or new ones.
fn keys(
    data: &Path,
    passphrase: Option<&Passphrase>,
    owner: Option<User>,
) -> Result<(Keys, String), Failure> {
    let (pair, gas, how) = by(owner, || pairs(data, passphrase))?;
    // What it signs checkpoints with follows from its key, and takes a moment to compute.
    let _ = BlsSecret::of_node(&pair);
    let told = format!(
        "node {} in {}, {how}; it pays for what it submits from {}",
        pair.node_id(),
        data.display(),
        lower(gas)
    );
    Ok((Keys { pair, gas, data: data.to_owned(), owner }, told))
}

/// The node's key, the address that it pays from, and how they came to be here.
fn pairs(data: &Path, passphrase: Option<&Passphrase>) -> Result<(KeyPair, Address, &'static str), Failure> {
    let unreadable = Failure::from;
    let (pair, how) = match keystore::load_under(data, passphrase) {
        Ok(pair) => (pair, "found"),
        Err(KeyError::File { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
            if let Some(lost) = keys_are_lost(data) {
                return Err(lost);
            }
            (keystore::create_under(data, passphrase).map_err(unreadable)?, "made: back them up")
        }
        Err(error) => return Err(unreadable(error)),
    };
    let gas = match keystore::load_gas_under(data, passphrase).map_err(unreadable)? {
        Some(gas) => gas,
        None => keystore::create_gas_under(data, passphrase).map_err(unreadable)?,
    };
    Ok((pair, gas.address(), how))
}

/// What this run sets: that which was found out, and that which was said.
fn flags(network: &Path, place: &Place, arguments: &args::Join) -> Flags {
    let log = arguments.log_file.as_ref().map(|path| path.display().to_string());
    let more = [("log_file", log.into_iter().collect()), of_network(network)];
    Flags::of(lasting(place, arguments).into_iter().chain(more))
}

/// The network's file, as a setting.
fn of_network(path: &Path) -> (&'static str, Vec<String>) {
    ("network", vec![path.display().to_string()])
}

/// What of that is written down, and holds from then on.
fn lasting(place: &Place, arguments: &args::Join) -> [(&'static str, Vec<String>); 4] {
    let shown = |all: &[Endpoint]| all.iter().map(ToString::to_string).collect();
    let http = arguments.http_port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string());
    [
        ("listen", shown(&place.listen)),
        ("announce", shown(&place.announce)),
        ("http", http.into_iter().collect()),
        ("rpc", arguments.rpc.clone()),
    ]
}

/// Writes the same down for `session node run`, unless somebody else wrote settings. What was written before holds
/// where this run says nothing.
fn write_settings(data: &Path, network: &Path, place: &Place, arguments: &args::Join) -> Result<(), Failure> {
    let path = data.join(FILE);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    if path.exists() && !before.starts_with(WRITTEN) {
        return Ok(());
    }
    let network = std::path::absolute(network).unwrap_or_else(|_| network.to_owned());
    let said = Flags::of(lasting(place, arguments)).layer(Some(&network.display().to_string()));
    let holds = Effective::of(vec![said, Layer::file(&path, &before)?])?;
    let mut text = format!(
        "{WRITTEN}; whoever changes it by hand removes this line, so that it stays.\n\
         # All settings, with what they mean: session config show --origin, and init.\n"
    );
    for (key, shown, place) in holds.entries() {
        let said = matches!(place.origin(), Origin::Flag | Origin::File);
        if let Some(value) = shown.to_toml().filter(|_| said) {
            text += &format!("{} = {value}\n", key.name);
        }
    }
    crate::config::write(&path, &text)
        .map_err(|cause| Failure::io("cannot write the node's settings", &cause))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, Join};

    fn join(words: &[&str]) -> Join {
        let words = ["session", "join", "testnet"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Join(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_unit_that_runs_stays_where_it_is_unless_another_place_is_said() {
        let at = "/ip4/203.0.113.7/tcp/22021";
        let before = Settings { listen: vec![at.parse().unwrap()], ..Settings::default() };
        let stays = |words: &[&str]| service::settled(&join(words), &before).is_some();
        assert!(stays(&[]) && !stays(&["--port", "7"]) && !stays(&["--address", at]));
        assert!(Cli::try_parse_from(["session", "join", "testnet", "--port", "0"]).is_err());
    }

    #[test]
    fn what_was_said_once_holds_where_the_next_run_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (data, path) = (folder.path(), folder.path().join(FILE));
        let network = data.join("networks/testnet.toml");
        let at = |port: u16| {
            let endpoint: Endpoint = format!("/ip4/203.0.113.7/tcp/{port}").parse().unwrap();
            Place { listen: vec![endpoint], announce: vec![endpoint] }
        };
        let settings = || {
            let layer = settings::read(&path).unwrap_or_else(|_| panic!("{}", path.display()));
            Effective::of(vec![layer]).unwrap().settings().clone()
        };
        let first = join(&["--rpc", "http://one.example/?key=\"a\\b\"", "--http-port", "7"]);
        write_settings(data, &network, &at(1), &first).unwrap();
        let begun = settings();
        assert_eq!((begun.http.port(), begun.rpc.len()), (7, 1));
        assert_eq!(begun.rpc[0].0, first.rpc[0]);
        let text = std::fs::read_to_string(&path).unwrap();
        write_settings(data, &network, &at(1), &join(&[])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "nothing has changed");

        write_settings(data, &network, &at(2), &join(&["--http-port", "8"])).unwrap();
        let changed = settings();
        assert_eq!((changed.http.port(), &changed.rpc), (8, &begun.rpc));
        assert_eq!(changed.listen, at(2).listen);
        assert_eq!(changed.network.as_deref(), network.to_str());

        // What was added without taking the line away holds, too.
        std::fs::write(&path, text + "max_bytes = \"1 GiB\"\n").unwrap();
        write_settings(data, &network, &at(1), &join(&[])).unwrap();
        assert_eq!(settings().max_bytes.0, 1 << 30);
        // And the file of somebody else stays as it is.
        std::fs::write(&path, "http = \"127.0.0.1:9\"\n").unwrap();
        write_settings(data, &network, &at(1), &first).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "http = \"127.0.0.1:9\"\n");
    }
}
