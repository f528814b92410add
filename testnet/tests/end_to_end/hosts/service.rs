//! A host whose node systemd runs: a few lines of shell are its systemd, since a namespace has none.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use super::{Host, Running};
use crate::support::{binary, ended};

/// The unit of a node of the network in the box.
const UNIT: &str = "session-boxed.service";

/// The service of one host.
pub(super) struct Service<'a> {
    host: &'a Host,
    log: PathBuf,
}

impl<'a> Service<'a> {
    /// Sets the host up, with the program of the last release if there is one (`SESSION_PREVIOUS`), else this one.
    pub(super) fn new(host: &'a Host) -> Self {
        host.install("session", &std::env::var_os("SESSION_PREVIOUS").map_or_else(binary, PathBuf::from));
        fs::create_dir(host.home().join("units")).unwrap();
        let systemctl = host.home().join("bin/systemctl");
        fs::write(&systemctl, include_str!("systemctl")).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        Self { host, log: host.home().join(format!("bin/{UNIT}.log")) }
    }

    /// Begins to join.
    pub(super) fn join(&self, address: &str, what: &str) -> Running {
        let (units, data) = (self.host.home().join("units"), self.host.home().join("node"));
        let arguments = [
            "join",
            address,
            "--yes",
            "--json",
            "--service",
            "--user",
            "root",
            "--unit-dir",
            units.to_str().unwrap(),
            "--data",
            data.to_str().unwrap(),
        ];
        Running::new(self.host.session(&arguments), what)
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

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{UNIT}: {}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
