//! A host whose node systemd runs: a few lines of shell are its systemd, since a namespace has none.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink},
    path::PathBuf,
    process::Command,
};

use super::{Host, Running};
use crate::support::{binary, ended};

/// The unit of a node of the network in the box.
const UNIT: &str = "session-boxed.service";
/// Whom it runs as: somebody whom each machine has.
const USER: &str = "nobody";

/// The service of one host.
pub(super) struct Service<'a> {
    host: &'a Host,
    log: PathBuf,
}

impl<'a> Service<'a> {
    /// Sets the host up, with the program of the last release if there is one (`SESSION_PREVIOUS`), else this one.
    pub(super) fn new(host: &'a Host) -> Self {
        let mode =
            |path: &PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        host.install("session", &std::env::var_os("SESSION_PREVIOUS").map_or_else(binary, PathBuf::from));
        fs::create_dir(host.home().join("units")).unwrap();
        let systemctl = host.home().join("bin/systemctl");
        fs::write(&systemctl, include_str!("systemctl")).unwrap();
        mode(&systemctl, 0o755);
        // The node's user has to get to the program and its folder.
        mode(&host.home(), 0o711);
        let passphrase = host.home().join("passphrase");
        fs::write(&passphrase, "of root's file\n").unwrap();
        mode(&passphrase, 0o600);
        Self { host, log: host.home().join(format!("bin/{UNIT}.log")) }
    }

    /// Begins to join, with keys that have a passphrase.
    pub(super) fn join(&self, address: &str, what: &str) -> Running {
        let mut command = self.command(address);
        command.env("SESSION_PASSPHRASE_FILE", self.host.home().join("passphrase"));
        Running::new(command, what)
    }

    /// Joins once more, where whoever broke into the node has left links to what is root's. Nobody says again where the
    /// passphrase is.
    pub(super) fn join_again(&self, address: &str, what: &str) -> Running {
        let (data, canary) = (self.data(), self.canary());
        fs::write(&canary, "root's").unwrap();
        let user = fs::metadata(&data).unwrap();
        for name in ["registration.new", "networks/boxed.toml"] {
            let link = data.join(name);
            let _ = fs::remove_file(&link);
            symlink(&canary, &link).unwrap();
            lchown(&link, Some(user.uid()), Some(user.gid())).unwrap();
        }
        Running::new(self.command(address), what)
    }

    /// Joins once more at addresses that do not go together.
    pub(super) fn join_nowhere(&self, address: &str, what: &str) -> Running {
        let mut command = self.command(address);
        command.args(["--address", "/ip4/203.0.113.7/tcp/22021", "--address", "/ip4/198.51.100.7/tcp/22021"]);
        Running::new(command, what)
    }

    /// Checks that the node runs as its unit says, and that nothing outside of its folder was changed; returns its
    /// process.
    pub(super) fn check(&self) -> String {
        let pid = fs::read_to_string(self.host.home().join(format!("bin/{UNIT}.pid"))).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
        let line = |name| words(&status, name);
        let folder = fs::metadata(self.data()).unwrap();
        let user = folder.uid().to_string();
        assert_ne!(user, "0", "it has a user of its own");
        assert_eq!(line("Uid:"), [user.as_str(); 4]);
        for rights in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(line(rights), ["0000000000000000"], "{rights}");
        }
        assert_eq!(line("NoNewPrivs:"), ["1"]);
        assert_eq!(folder.mode() & 0o777, 0o700);
        for entry in fs::read_dir(self.data()).unwrap() {
            let path = entry.unwrap().path();
            // A running node removes files.
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            assert_eq!(found.uid(), folder.uid(), "{}", path.display());
        }
        let key = fs::read_to_string(self.data().join("node.key")).unwrap();
        assert!(key.starts_with("sealed "), "it was opened by what root's file says");
        if let Ok(kept) = fs::read_to_string(self.canary()) {
            assert_eq!(kept, "root's");
            assert_eq!(fs::metadata(self.canary()).unwrap().uid(), 0);
        }
        pid
    }

    fn command(&self, address: &str) -> Command {
        let (units, data) = (self.host.home().join("units"), self.data());
        let arguments = [
            "join",
            address,
            "--yes",
            "--json",
            "--service",
            "--user",
            USER,
            "--unit-dir",
            units.to_str().unwrap(),
            "--data",
            data.to_str().unwrap(),
        ];
        self.host.session(&arguments)
    }

    fn data(&self) -> PathBuf {
        self.host.home().join("node")
    }

    /// What is root's, and stays as it is.
    fn canary(&self) -> PathBuf {
        self.host.home().join("canary")
    }

    /// Stops the node, puts this program in the place of the one before, and starts it.
    pub(super) fn upgrade(&self) {
        self.systemctl("stop");
        self.host.install("session", &binary());
        self.systemctl("start");
    }

    fn systemctl(&self, verb: &str) {
        let systemctl = self.host.home().join("bin/systemctl");
        let ran = ended(self.host.command(&systemctl, &[verb, UNIT]).spawn().unwrap(), verb);
        assert_eq!(ran.code, 0, "systemctl {verb}: {}", ran.err);
    }
}

/// What stands behind a name in what the kernel says of a process.
pub(super) fn words<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} {status}")).split_whitespace().collect()
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{UNIT}: {}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
