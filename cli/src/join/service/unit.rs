//! The text of a node's unit.

use std::path::Path;

/// The unit; what stands in braces is replaced.
const TEXT: &str = include_str!("session.service");
const MIB: u64 = 1 << 20;

/// What a unit says.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    /// As the node is called.
    pub(super) name: &'a str,
    /// As the unit is.
    pub(super) unit: &'a str,
    pub(super) user: &'a str,
    pub(super) binary: &'a Path,
    pub(super) data: &'a Path,
    /// The network's file.
    pub(super) network: &'a Path,
    /// The file of the keys' passphrase: systemd reads it, and the node what systemd hands on.
    pub(super) passphrase: Option<&'a Path>,
    /// How much memory the node uses before it refuses connections, in bytes.
    pub(super) max_memory: u64,
    /// How many files it may have open.
    pub(super) files: u64,
}

impl Unit<'_> {
    /// The file of it.
    pub(super) fn text(&self) -> String {
        let word = |path: &Path| quoted(&path.display().to_string()).replace('$', "$$");
        let exec = format!(
            "{} node run --network {} --data {}",
            word(self.binary),
            word(self.network),
            word(self.data)
        );
        let credential = self.passphrase.map(|path| {
            let path = path.display().to_string().replace('%', "%%");
            format!("LoadCredential={}:{path}\n", crate::passphrase::CREDENTIAL)
        });
        // At its limit the node refuses connections. A half more is a fault, and it is better started anew.
        let memory = self.max_memory.saturating_add(self.max_memory / 2) / MIB;
        TEXT.replace("{name}", self.name)
            .replace("{unit}", self.unit)
            .replace("{user}", self.user)
            .replace("{files}", &self.files.to_string())
            .replace("{memory}", &memory.to_string())
            .replace("{credential}", &credential.unwrap_or_default())
            .replace("{data}", &folder(self.data))
            .replace("{exec}", &exec)
    }
}

/// Whether the text of a unit is that of the node in a folder.
pub(super) fn is_for(text: &str, data: &Path) -> bool {
    let writes = format!("ReadWritePaths={}", folder(data));
    text.lines().any(|line| line == writes)
}

fn folder(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// As systemd reads one word.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('%', "%%");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(data: &Path, passphrase: Option<&Path>) -> String {
        let unit = Unit {
            name: "boxed",
            unit: "session-boxed.service",
            user: "session",
            binary: Path::new("/usr/local/bin/session"),
            data,
            network: &data.join("networks/boxed.toml"),
            passphrase,
            max_memory: 2 << 30,
            files: 8_192,
        };
        unit.text()
    }

    #[test]
    fn the_unit_is_the_golden_one() {
        let text = unit(Path::new("/var/lib/session/boxed"), Some(Path::new("/etc/session/passphrase")));
        assert_eq!(text, include_str!("golden.service"));
        assert!(is_for(&text, Path::new("/var/lib/session/boxed")));
        assert!(!is_for(&text, Path::new("/var/lib/session/box")));
    }

    #[test]
    fn a_path_stays_one_word_that_nothing_is_put_into() {
        let odd = Path::new("/srv/a \"b\" 100%/$HOME\\x\nUser=root");
        let text = unit(odd, None);
        let exec = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        let word = r#""/srv/a \"b\" 100%%/$$HOME\\x\nUser=root""#;
        assert!(exec.ends_with(&format!("--data {word}")), "{exec}");
        assert!(text.contains(r#"ReadWritePaths="/srv/a \"b\" 100%%/$HOME\\x\nUser=root""#), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("User=")).count(), 1);
        assert!(is_for(&text, odd) && !text.contains("LoadCredential"), "{text}");
    }
}
