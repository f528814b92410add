//! A node that is run otherwise than the testnet runs it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::MAX_BYTES;
use crate::support::Place;

/// A process in the place of a node's own; it ends with this.
pub(super) struct StandIn(Child);

impl StandIn {
    /// Kills a node, and runs it with these flags beside its own, and with a library before its own. Whether it is ever
    /// ready nobody waits for.
    pub(super) async fn run(place: &Place, index: usize, flags: &[&str], library: Option<&Path>) -> Self {
        let node = place.testnet.status().await.unwrap().swap_remove(index - 1);
        assert!(place.testnet.kill(index).await.unwrap());
        let (folder, door) = (place.testnet.folder(), node.door.unwrap());
        let door = door.strip_prefix("https://").unwrap();
        let mut command = place.command(&["node", "run", "--http", &node.http, "--door", door]);
        command.arg("--network").arg(folder.network_path()).arg("--data").arg(folder.data(index));
        command.args(["--max-bytes", &MAX_BYTES.to_string()]).args(flags);
        command.envs(library.map(|library| ("LD_PRELOAD", library)));
        let log = File::create(place.path().join(format!("stand-in-{index}.log"))).unwrap();
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A library with which a program's clock is ahead, made in this folder.
pub(super) fn clock_ahead(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clock.c");
    let library = folder.join("clock.so");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).output();
    let made = made.expect("cc is missing: apt-get install gcc libc6-dev");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    library
}
