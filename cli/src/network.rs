//! Which network is meant.

use std::{
    fs,
    path::{Path, PathBuf},
};

use session_chain::{NetworkFile, network::Settlement};
use session_client::{Client, ClientError, Options};
use session_protocols::path::PathError;
use session_testnet::{Folder, Testnet};

use crate::{
    Context,
    failure::{Exit, Failure},
};
use description::Description;
use terms::Terms;

pub(crate) mod command;
pub(crate) mod description;
pub(crate) mod terms;
mod vault;

/// The name of the testnet on this machine.
pub(crate) const LOCAL: &str = "local";

/// A client of the network that is meant, and what to say when it fails.
pub(crate) struct Access {
    pub(crate) client: Client,
    /// The network's chain, if it has one.
    pub(crate) settlement: Option<Settlement>,
    local: bool,
}

impl Access {
    /// Connects to the network that is meant.
    pub(crate) async fn open(context: &Context) -> Result<Self, Failure> {
        let network = find(context)?;
        let (local, settlement) = (network.local, network.settlement.clone());
        let direct = context.global.direct;
        let home = Some(context.home()?);
        let options = Options { direct, home, ..Options::default() };
        let client = Client::connect(network, options).await?;
        if direct {
            context.output.warn("nodes are asked straight: they see where the requests come from");
        }
        Ok(Self { client, settlement, local })
    }

    /// The failure that an error amounts to; of a local network it is the nodes that can be mended.
    pub(crate) fn failed(&self, error: ClientError) -> Failure {
        let too_few = matches!(error, ClientError::Path(PathError::TooFew { .. }));
        let mut failure = Failure::from(error);
        if self.local && failure.exit == Exit::NotReady {
            let remedy = match too_few {
                true => {
                    "paths need four nodes that run: see which are down by session testnet status, or go without \
                     paths: --direct"
                }
                false => "see which nodes are down: session testnet status",
            };
            failure.remedy = remedy.to_owned();
        }
        failure
    }
}

/// The network that is meant.
fn find(context: &Context) -> Result<NetworkFile, Failure> {
    match context.global.network.as_deref() {
        None | Some(LOCAL) => local(),
        Some(name) => read(&file(name, &context.home_path()?)?),
    }
}

/// The network that is meant, whether or not its nodes run.
pub(crate) fn described(context: &Context) -> Result<NetworkFile, Failure> {
    match context.global.network.as_deref() {
        None | Some(LOCAL) => of_testnet(&local_folder()?),
        Some(name) => read(&file(name, &context.home_path()?)?),
    }
}

/// Has somebody agree that an account pays in the network that is meant, where nobody did before. Without that it is to
/// sign nothing: not even a permit, which whoever serves the chain sees as soon as the cost is asked for.
pub(crate) async fn agree(context: &Context, account: &str) -> Result<(), Failure> {
    let path = match context.global.network.as_deref() {
        // What the testnet of this machine has is worth nothing.
        None | Some(LOCAL) => return Ok(()),
        Some(name) => file(name, &context.home_path()?)?,
    };
    match Terms::of(context, &Description::read(&path)?, None)? {
        Some(terms) => terms.agree(context, account, || {}).await,
        None => Ok(()),
    }
}

/// Reads a network file.
pub(crate) fn read(path: &Path) -> Result<NetworkFile, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|cause| {
        let message = format!("cannot read the network file {shown}: {cause}");
        Failure::new(Exit::Failed, "network_file", message, "check the path given with --network")
    })?;
    NetworkFile::parse(&text).map_err(|error| {
        Failure::new(Exit::Failed, "network_file", format!("{shown}: {error}"), error.remedy())
    })
}

/// The file that a name stands for, or that was named itself.
pub(crate) fn file(name: &str, home: &Path) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(name);
    if name.contains('/') || name.ends_with(".toml") {
        return Ok(path);
    }
    // What is known is that, whoever laid a file of its name into the folder where this runs.
    if name == LOCAL {
        return Ok(local_folder()?.network_path());
    }
    let kept = home.join("networks").join(format!("{name}.toml"));
    if kept.is_file() {
        return Ok(kept);
    }
    if path.is_file() {
        return Ok(path);
    }
    let message = format!("there is no network named {name}: no file {}", kept.display());
    Err(Failure::new(
        Exit::Failed,
        "no_network",
        message,
        "put its file there, or name a file: --network ./FILE",
    ))
}

/// Where the testnet lives that is meant when none is named.
pub(crate) fn local_folder() -> Result<Folder, Failure> {
    let named = std::env::var_os("SESSION_TESTNET_DIR").map(PathBuf::from);
    Ok(Folder::new(named.as_deref())?)
}

fn local() -> Result<NetworkFile, Failure> {
    let folder = local_folder()?;
    let network = of_testnet(&folder)?;
    if !Testnet::new(folder, PathBuf::new()).is_running()? {
        let remedy = "start them again with: session testnet up";
        return Err(Failure::new(
            Exit::NotReady,
            "testnet_down",
            "all nodes of the local testnet are down",
            remedy,
        ));
    }
    Ok(network)
}

/// The network of the testnet in a folder.
fn of_testnet(folder: &Folder) -> Result<NetworkFile, Failure> {
    folder.network().map_err(|error| match error.code() {
        "not_up" => Failure::new(
            Exit::NotReady,
            "no_network",
            "no network was named, and no testnet runs on this machine",
            "start one with: session testnet up, or name a network with --network FILE",
        ),
        _ => error.into(),
    })
}
