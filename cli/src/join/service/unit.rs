//! The text of a node's unit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// The unit; what stands in braces is replaced.
const TEXT: &str = include_str!("session.service");
/// How the line of the passphrase begins.
const CREDENTIAL: &str = "LoadCredential=passphrase:";
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
    ///
    /// # Errors
    /// When there is a path that no unit can hold.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let binary = held(self.binary)?;
        // Elsewhere quotes help; here systemd takes none.
        if binary.contains(['"', '\'', '\\']) {
            return Err(unheld(self.binary));
        }
        let (network, data) = (quoted(held(self.network)?), quoted(held(self.data)?));
        // Variables are looked for in arguments, and not in the program's path.
        let word = |quoted: &str| quoted.replace('$', "$$");
        let exec = format!("{} node run --network {} --data {}", quoted(binary), word(&network), word(&data));
        let credential = match self.passphrase {
            Some(path) => {
                let text = held(path)?;
                // Nothing is quoted there: blanks at its end fall off, and a backslash goes on with the next line.
                if text.ends_with('\\') || text.trim_end() != text {
                    return Err(unheld(path));
                }
                format!("{CREDENTIAL}{}\n", text.replace('%', "%%"))
            }
            None => String::new(),
        };
        // At its limit the node refuses connections. A half more is a fault, and it is better started anew.
        let memory = self.max_memory.saturating_add(self.max_memory / 2) / MIB;
        let (memory, files) = (memory.to_string(), self.files.to_string());
        // In one go: what is put in may have braces itself.
        let (mut text, mut rest) = (String::new(), TEXT);
        while let Some((before, from)) = rest.split_once('{') {
            let (name, after) = from.split_once('}').unwrap_or((from, ""));
            text += before;
            text += match name {
                "name" => self.name,
                "unit" => self.unit,
                "user" => self.user,
                "files" => files.as_str(),
                "memory" => memory.as_str(),
                "credential" => credential.as_str(),
                "data" => data.as_str(),
                "exec" => exec.as_str(),
                _ => "",
            };
            rest = after;
        }
        Ok(text + rest)
    }
}

/// A path as a text, if a line of a unit can hold it.
fn held(path: &Path) -> Result<&str, Failure> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    text.ok_or_else(|| unheld(path))
}

fn unheld(path: &Path) -> Failure {
    let message =
        format!("no unit can hold the path {path:?}: there is a character in it that systemd does not take");
    Failure::usage(message, "call it otherwise: letters, digits and .-_ are taken everywhere")
}

/// Whether the text of a unit is that of the node in a folder.
pub(super) fn is_for(text: &str, data: &Path) -> bool {
    folder(text).is_some_and(|folder| folder == data)
}

/// The node's folder, by the text of its unit.
fn folder(text: &str) -> Option<PathBuf> {
    let line = text.lines().find_map(|line| line.strip_prefix("ReadWritePaths="))?;
    let word = line.strip_prefix('"')?.strip_suffix('"')?.replace("%%", "%");
    let mut characters = word.chars();
    let mut path = String::new();
    while let Some(character) = characters.next() {
        path.push(if character == '\\' { characters.next()? } else { character });
    }
    Some(path.into())
}

/// A node's unit that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) unit: String,
    /// The node's folder.
    pub(crate) data: PathBuf,
    /// How many files its process may have open.
    pub(crate) files: Option<u64>,
}

/// The units of nodes in a folder of units, by their names.
pub(crate) fn installed(units: &Path) -> Vec<Installed> {
    let entries = fs::read_dir(units).into_iter().flatten().flatten();
    let mut found: Vec<Installed> = entries
        .filter_map(|entry| {
            let unit = entry.file_name().into_string().ok().filter(|name| is_unit(name))?;
            let text = fs::read_to_string(entry.path()).ok()?;
            Some(Installed { data: folder(&text)?, files: files(&text), unit })
        })
        .collect();
    found.sort_by(|one, other| one.unit.cmp(&other.unit));
    found
}

fn is_unit(name: &str) -> bool {
    name.starts_with("session-") && name.ends_with(".service")
}

/// The passphrase's file that the text of a unit names.
pub(super) fn credential(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix(CREDENTIAL))?;
    Some(path.replace("%%", "%").into())
}

/// How many files the process of a unit may have open.
fn files(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("LimitNOFILE="))?.parse().ok()
}

/// As systemd reads one word.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{text}\"")
}

#[cfg(test)]
#[allow(clippy::print_stderr, reason = "a test says what it leaves out")]
mod tests {
    use std::{
        ffi::OsStr,
        os::unix::{ffi::OsStrExt, fs::PermissionsExt},
        process::Command,
    };

    use super::*;

    const BINARY: &str = "/usr/local/bin/session";

    fn unit(binary: &Path, data: &Path, passphrase: Option<&Path>) -> Result<String, Failure> {
        let unit = Unit {
            name: "boxed",
            unit: "session-boxed.service",
            user: "session",
            binary,
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
        let passphrase = Path::new("/etc/session/passphrase");
        let text = unit(Path::new(BINARY), Path::new("/var/lib/session/boxed"), Some(passphrase)).unwrap();
        assert_eq!(text, include_str!("golden.service"));
        assert!(is_for(&text, Path::new("/var/lib/session/boxed")));
        assert!(!is_for(&text, Path::new("/var/lib/session/box")));
        assert_eq!((credential(&text).as_deref(), files(&text)), (Some(passphrase), Some(8_192)));
        assert_eq!(CREDENTIAL, format!("LoadCredential={}:", crate::passphrase::CREDENTIAL));
    }

    #[test]
    fn a_path_stays_one_word_that_nothing_is_put_into() {
        let odd = Path::new("/srv/a \"b\" 100%/$HOME\\x {exec}{credential}");
        let text = unit(Path::new("/opt/100% $x {data}/session"), odd, Some(odd)).unwrap();
        let exec = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert!(exec.starts_with(r#"ExecStart="/opt/100%% $x {data}/session" node run "#), "{exec}");
        let word = r#""/srv/a \"b\" 100%%/$$HOME\\x {exec}{credential}""#;
        assert!(exec.ends_with(&format!("--data {word}")), "{exec}");
        let folder = r#"ReadWritePaths="/srv/a \"b\" 100%%/$HOME\\x {exec}{credential}""#;
        assert!(text.lines().any(|line| line == folder), "{text}");
        let line = r#"LoadCredential=passphrase:/srv/a "b" 100%%/$HOME\x {exec}{credential}"#;
        assert!(text.lines().any(|one| one == line), "{text}");
        assert_eq!(credential(&text).as_deref(), Some(odd));
        let plain = unit(Path::new(BINARY), odd, None).unwrap();
        assert_eq!(plain.lines().count() + 1, text.lines().count(), "one line more, that of the credential");
        assert!(is_for(&plain, odd) && credential(&plain).is_none(), "{plain}");
    }

    #[test]
    fn units_of_nodes_are_found_with_their_folders() {
        let units = tempfile::tempdir().unwrap();
        let (one, odd) = (Path::new("/var/lib/session/one"), Path::new("/srv/a \"b\" 100%/$HOME\\x {exec}"));
        for (name, data) in [("session-two.service", odd), ("session-one.service", one)] {
            fs::write(units.path().join(name), unit(Path::new(BINARY), data, None).unwrap()).unwrap();
        }
        fs::write(units.path().join("session-other.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
        fs::write(units.path().join("ssh.service"), unit(Path::new(BINARY), one, None).unwrap()).unwrap();
        fs::create_dir(units.path().join("session-one.service.d")).unwrap();
        let expected = [("session-one.service", one), ("session-two.service", odd)]
            .map(|(unit, data)| Installed { unit: unit.into(), data: data.into(), files: Some(8_192) });
        assert_eq!(installed(units.path()), expected);
        assert_eq!(installed(&units.path().join("none")), []);
    }

    #[test]
    fn what_would_be_another_line_is_refused_wherever_it_stands() {
        let (binary, data, file) =
            (Path::new(BINARY), Path::new("/srv/node"), Path::new("/etc/session/passphrase"));
        let latin = Path::new(OsStr::from_bytes(b"/srv/\xe9"));
        let lines = ["/srv/x\nUser=root", "/srv/x\rUser=root", "/srv/x\0", "/srv/\u{85}x", "/srv/\u{1b}[31m"]
            .map(Path::new);
        for odd in lines.into_iter().chain([latin]) {
            for refused in [unit(odd, data, None), unit(binary, odd, None), unit(binary, data, Some(odd))] {
                assert_eq!(refused.unwrap_err().exit, crate::failure::Exit::Usage, "{odd:?}");
            }
            assert!(!is_for("ReadWritePaths=\"/srv/x", odd));
        }
        for odd in ["/etc/x\\", "/etc/x "].map(Path::new) {
            assert!(unit(binary, data, Some(odd)).is_err(), "{odd:?}");
            assert!(unit(binary, odd, Some(file)).is_ok(), "there it is quoted: {odd:?}");
        }
        for odd in ["/opt/a\"b/session", "/opt/a'b/session", "/opt/a\\b/session"].map(Path::new) {
            assert!(unit(odd, data, None).is_err(), "{odd:?}");
        }
    }

    /// Asks systemd's own program about a unit; none, with a message, where there is none. Where everything is to be
    /// tried (`CI=true`) that is a failure.
    fn analyze(arguments: &[&str], unit: &Path) -> Option<(bool, String)> {
        match Command::new("systemd-analyze").args(arguments).arg(unit).output() {
            Ok(ran) => {
                let said = [ran.stdout, ran.stderr].concat();
                Some((ran.status.success(), String::from_utf8_lossy(&said).into_owned()))
            }
            Err(why) => {
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no systemd-analyze: {why}");
                eprintln!("left out: what systemd says of the unit: {why}");
                None
            }
        }
    }

    #[test]
    fn systemd_takes_the_unit_and_finds_it_well_closed() {
        let temp = tempfile::tempdir().unwrap();
        // A program has to be there; of the other paths systemd looks at the form alone.
        let folder = temp.path().join("100% $x {data}");
        fs::create_dir(&folder).unwrap();
        let binary = folder.join("session");
        fs::write(&binary, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let file = temp.path().join("session-boxed.service");
        for data in ["/var/lib/session/boxed", "/srv/a \"b\" 100%/$HOME\\x {exec}"].map(Path::new) {
            let text = unit(&binary, data, Some(&data.join("passphrase"))).unwrap();
            fs::write(&file, &text).unwrap();
            let Some((ok, said)) = analyze(&["verify", "--man=no"], &file) else { return };
            assert!(ok && !said.contains("session-boxed.service"), "{said}\n{text}");
        }
        // Of 100, in tenths; a unit without any bounds has 96.
        let (ok, said) = analyze(&["security", "--offline=true", "--threshold=15"], &file).unwrap();
        assert!(ok, "{said}");
        let open = fs::read_to_string(&file).unwrap().replace("ProtectSystem=strict\n", "");
        fs::write(&file, open).unwrap();
        let (ok, said) = analyze(&["security", "--offline=true", "--threshold=15"], &file).unwrap();
        assert!(!ok, "it looks at what it is given: {said}");
    }
}
