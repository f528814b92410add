//! What Prometheus is told of a testnet: where each node serves its metrics, in the form of `file_sd_configs`.
//!
//! Whoever watches from a container runs as another user: the testnet's folder is closed to him, and this one within
//! it, which names nothing but addresses of this machine, can be handed to him.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    error::TestnetError,
    layout::{Entry, replace},
};

/// The folder, in that of the testnet.
pub(crate) const TARGETS: &str = "targets";
/// The file in it.
const FILE: &str = "testnet.json";

/// The file in the folder of a testnet.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join(TARGETS).join(FILE)
}

/// Writes down where these nodes are watched, unless that is written down already.
pub(crate) fn write(folder: &Path, nodes: &[Entry]) -> Result<(), TestnetError> {
    let text = format!("{:#}\n", targets(nodes));
    let (path, folder) = (path(folder), folder.join(TARGETS));
    if fs::read_to_string(&path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |cause: io::Error| TestnetError::Io { deed: "write", path, cause }
    };
    fs::create_dir_all(&folder).map_err(io(&folder))?;
    replace(&path, text.as_bytes())?;
    // Whatever the user's mask takes away.
    for (path, mode) in [(&folder, 0o755), (&path, 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io(path))?;
    }
    Ok(())
}

fn targets(nodes: &[Entry]) -> Value {
    let one = |node: &Entry| {
        let (target, name) = (node.http.to_string(), format!("node-{}", node.index));
        json!({ "targets": [target], "labels": { "instance": name } })
    };
    nodes.iter().map(one).collect()
}
