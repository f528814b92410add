//! The settings of a node that count: from flags, the environment, its file and the network's.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use session_chain::NetworkFile;
use session_node::{
    keystore,
    settings::{Effective, FILE, Layer, MAX_FILE, SettingsError},
};

use crate::{
    Context,
    args::Flags,
    failure::{Exit, Failure},
    network, passphrase,
};

/// Settings, and what they lead to.
pub(crate) struct Chosen {
    pub(crate) effective: Effective,
    /// The network, where one is named, and its file.
    pub(crate) network: Option<(PathBuf, NetworkFile)>,
}

/// The settings of the node in a folder: by `config`, or by the file in the folder if there is one.
pub(crate) fn chosen(
    context: &Context,
    data: Option<&Path>,
    config: Option<&Path>,
    flags: &Flags,
) -> Result<Chosen, Failure> {
    let global = &context.global;
    let named = global.network.as_deref().filter(|_| global.named);
    let environment = Layer::environment(variable);
    let mut layers = vec![flags.layer(named), environment];
    layers.extend(file(data, config)?);
    let network = match &Effective::of(layers.clone())?.settings().network {
        Some(name) => {
            let path = described(context, name, data)?;
            Some((path.clone(), network::read(&path)?))
        }
        None => None,
    };
    layers.extend(network.as_ref().map(|(path, network)| preset(path, network, data)));
    Ok(Chosen { effective: Effective::of(layers)?, network })
}

/// What the environment says; of a passphrase's file a service's credentials do.
fn variable(name: &str) -> Option<String> {
    let credential = || {
        let path = (name == passphrase::FILE).then(passphrase::credential)??;
        path.to_str().map(ToOwned::to_owned)
    };
    std::env::var(name).ok().or_else(credential)
}

/// The file of a network. Where it is not where it was, as on another machine, that which came with a backup of the
/// node.
fn described(context: &Context, name: &str, data: Option<&Path>) -> Result<PathBuf, Failure> {
    let found = network::file(name, &context.home_path()?);
    if found.as_ref().is_ok_and(|path| path.is_file()) {
        return found;
    }
    let file = Path::new(name).file_stem().map(|stem| Path::new(stem).with_extension("toml"));
    let beside = data.zip(file).map(|(data, file)| data.join("networks").join(file));
    match beside.filter(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => found,
    }
}

/// What the file of settings says; one that was not named need not be there.
fn file(data: Option<&Path>, config: Option<&Path>) -> Result<Option<Layer>, Failure> {
    let Some(path) = config.map(Path::to_owned).or_else(|| Some(data?.join(FILE))) else { return Ok(None) };
    match read(&path) {
        Ok(layer) => Ok(Some(layer)),
        Err(Unread::Io(cause)) if config.is_none() && cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(unread) => Err(unread.failure(&path)),
    }
}

/// Why a file of settings says nothing.
pub(crate) enum Unread {
    Io(io::Error),
    Wrong(SettingsError),
}

impl Unread {
    pub(crate) fn failure(self, path: &Path) -> Failure {
        match self {
            Self::Io(cause) => {
                let message = format!("cannot read the settings in {}: {cause}", path.display());
                let remedy = format!(
                    "check the path; a new file is written by: session config init --config {}",
                    path.display()
                );
                Failure::new(Exit::Usage, "settings", message, remedy)
            }
            Self::Wrong(error) => error.into(),
        }
    }
}

/// What a file of settings says.
pub(crate) fn read(path: &Path) -> Result<Layer, Unread> {
    let mut text = String::new();
    let source = fs::File::open(path).map_err(Unread::Io)?;
    // One byte more than is read, so that a file which is longer is refused, not cut.
    source.take(MAX_FILE as u64 + 1).read_to_string(&mut text).map_err(Unread::Io)?;
    Layer::file(path, &text).map_err(Unread::Wrong)
}

/// What the network's file says of the node in a folder; a key that cannot be read is found out later.
fn preset(path: &Path, network: &NetworkFile, data: Option<&Path>) -> Layer {
    let id = data.and_then(|data| keystore::id(data).ok());
    let node = network.nodes.iter().find(|node| Some(node.id) == id);
    let listen = node.map(|node| ("listen", node.addresses.clone()));
    let door = node.and_then(|node| node.door).map(|door| ("door", vec![door.to_string()]));
    let rpc = network.settlement.as_ref().map(|settlement| ("rpc", settlement.rpc.clone()));
    Layer::preset(path, [listen, door, rpc].into_iter().flatten())
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        // Wherever it is said: it stays wrong until somebody says it otherwise, and no service is started anew for it.
        Self::new(Exit::Usage, "settings", error.to_string(), error.remedy())
    }
}
