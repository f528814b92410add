//! A node as a service of systemd: whom it runs as, its unit, and its start.
//!
//! It runs as a system user of its own, who owns the node's folder; the unit lets it write there and nowhere else. What is
//! in that folder may be the work of whoever broke into the node: root writes there by the user's rights alone, and
//! takes no file's name from there into the unit.
//!
//! - `unit`: the unit's text
//! - `user`: the user, its folder, and what is done by its rights

pub(crate) mod unit;
mod user;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use rustix::fs::{Mode, OFlags};
use session_chain::NetworkFile;
use session_node::{
    keystore::{self, Passphrase},
    settings::{Effective, FILE, Origin, Settings},
};
use tokio::{process::Command, time::sleep};

use super::{board::Say, place::Place};
use crate::{
    Context,
    args::Join,
    failure::{Exit, Failure},
    node::settings,
    passphrase,
};
use unit::Unit;
pub(crate) use user::User;

/// Where units of a machine's administrator are.
pub(crate) const UNITS: &str = "/etc/systemd/system";
/// Where services' nodes have their folders, each by its name.
const STATE: &str = "/var/lib/session";
/// What is there where systemd runs.
const SYSTEMD: &str = "/run/systemd/system";
/// The user that is made where no other is named.
const USER: &str = "session";
/// The longest name of a user.
const MAX_USER: usize = 32;
/// From one look at a running unit to the next.
const LOOK: Duration = Duration::from_secs(2);
/// How many lines of a journal are looked through for why a node ended, and how many characters of that are shown.
const LINES: &str = "50";
const MAX_WORDS: usize = 500;

/// One node's service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// As the node is called here.
    name: String,
    unit: String,
    /// The folder of units.
    units: PathBuf,
    user: String,
    /// The node's folder.
    pub(crate) data: PathBuf,
}

impl Service {
    /// Refuses a service that is asked for where there can be none.
    pub(crate) fn asked(arguments: &Join) -> Result<(), Failure> {
        if !arguments.service {
            return Ok(());
        }
        // Whoever names another folder of units has a systemd of their own.
        let own = arguments.unit_dir.is_some();
        let root = own || rustix::process::geteuid().is_root();
        refusal(root, own || Path::new(SYSTEMD).is_dir()).map_or(Ok(()), Err)
    }

    /// That of a node of a network.
    pub(crate) fn of(arguments: &Join, network: &NetworkFile) -> Result<Option<Self>, Failure> {
        if !arguments.service {
            return Ok(None);
        }
        let name = arguments.name.clone().unwrap_or_else(|| network.name.to_string());
        if !is_word(&name, b"-_", 64) {
            let message = format!("{name:?} is no name for a unit: 1 to 64 of a-z, A-Z, 0-9, - and _");
            return Err(Failure::usage(message, "choose another name"));
        }
        let user = &arguments.user;
        if !is_word(user, b"-_.", MAX_USER) {
            let message =
                format!("{user:?} is no name of a user: 1 to {MAX_USER} of a-z, A-Z, 0-9, -, _ and .");
            return Err(Failure::usage(message, "name another: --user NAME"));
        }
        let data = arguments.data.clone().unwrap_or_else(|| Path::new(STATE).join(&name));
        let data = std::path::absolute(&data)
            .map_err(|cause| Failure::io(&format!("cannot find {}", data.display()), &cause))?;
        Ok(Some(Self {
            unit: format!("session-{name}.service"),
            name,
            units: arguments.unit_dir.clone().unwrap_or_else(|| PathBuf::from(UNITS)),
            user: user.clone(),
            data,
        }))
    }

    /// The unit's name.
    pub(crate) fn unit(&self) -> &str {
        &self.unit
    }

    /// Whether the unit can be: it is nobody else's, the folder is a node's or none, no other process runs a node
    /// there, and the user, who is made if missing, gets to all that it needs.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let refused =
            |code, message: String, remedy: String| Err(Failure::new(Exit::Refused, code, message, remedy));
        let (path, data) = (self.path(), self.data.display());
        let there = fs::read_to_string(&path).unwrap_or_default();
        if path.exists() && !unit::is_for(&there, &self.data) {
            let message = format!("{} is there, and is not of the node in {data}", path.display());
            let remedy = "call this node otherwise: --name NAME; or name the folder of that one: --data DIR";
            return refused("unit_exists", message, remedy.to_owned());
        }
        let used = fs::read_dir(&self.data).is_ok_and(|mut entries| entries.next().is_some());
        if used && ![keystore::NODE, FILE].iter().any(|name| self.data.join(name).exists()) {
            let message = format!("{data} holds other things than a node");
            return refused("not_a_node", message, format!("name a folder of its own: --data {data}/node"));
        }
        if is_locked(&self.data) && !self.runs().await? {
            let message = format!("a node runs in {data}, and not in {}", self.unit);
            let remedy = "stop it first (Ctrl-C where it runs), then type the same command again";
            return refused("in_use", message, remedy.to_owned());
        }
        let (user, binary) = (self.user().await?, binary()?);
        for (what, remedy) in [
            (
                &binary,
                "put the program where all may run it: sudo install -m 755 FILE /usr/local/bin/session",
            ),
            (&self.data, "name a folder that it gets to, such as /var/lib/session/NODE: --data DIR"),
        ] {
            if let Some(closed) = user.shut_out(what) {
                let (what, closed) = (what.display(), closed.display());
                let message =
                    format!("the user {} does not get to {what}: {closed} is closed to it", self.user);
                return refused("closed", message, remedy.to_owned());
            }
        }
        Ok(())
    }

    /// Gives the node's folder, which is made if missing, to the user.
    pub(crate) async fn owner(&self) -> Result<User, Failure> {
        let user = self.user().await?;
        if self.data.starts_with(STATE) {
            // The user has to get through, whatever is usual for root.
            fs::create_dir_all(STATE)
                .and_then(|()| fs::set_permissions(STATE, fs::Permissions::from_mode(0o755)))
                .map_err(|cause| Failure::io(&format!("cannot open {STATE}"), &cause))?;
        }
        user.own(&self.user, &self.data)?;
        Ok(user)
    }

    /// The passphrase of the node's keys, or of those that are to be made: the service has to find it, too.
    pub(crate) fn passphrase(&self, before: &Effective, owner: User) -> Result<Option<Passphrase>, Failure> {
        let data = &self.data;
        let (there, sealed) = owner
            .act(|| Ok((data.join(keystore::NODE).exists(), keystore::is_sealed(data).unwrap_or(false))))?;
        if there && !sealed {
            return Ok(None);
        }
        if let Some(file) = self.passphrase_file(before)? {
            return passphrase::given(Some(file.as_path()), passphrase::VARIABLE);
        }
        if let Some(file) = &before.settings().passphrase_file {
            // The node's own settings name it: the node reads it itself, by the same rights.
            return owner.act(|| passphrase::given(Some(file.as_path()), passphrase::VARIABLE));
        }
        if sealed || passphrase::given(None, passphrase::VARIABLE)?.is_some() {
            let message = "the node's keys have a passphrase, and its service would not know it";
            let remedy =
                "write it to a file of root's (chmod 600), and name that: SESSION_PASSPHRASE_FILE=FILE";
            return Err(Failure::new(Exit::Refused, "passphrase", message, remedy));
        }
        Ok(None)
    }

    /// The file of the passphrase that systemd, which reads all files, is to hand to the node: as was said here, or as
    /// the unit has it. The settings in the node's folder could name any file of root's.
    fn passphrase_file(&self, effective: &Effective) -> Result<Option<PathBuf>, Failure> {
        let said = effective.entries().any(|(key, _, place)| {
            key.name == "passphrase_file" && matches!(place.origin(), Origin::Flag | Origin::Environment)
        });
        match effective.settings().passphrase_file.as_ref().filter(|_| said) {
            // To systemd a path that is none from the root is the name of a credential of its own.
            Some(file) => std::path::absolute(file)
                .map(Some)
                .map_err(|cause| Failure::io(&format!("cannot find {}", file.display()), &cause)),
            None => Ok(fs::read_to_string(self.path()).ok().and_then(|text| unit::credential(&text))),
        }
    }

    /// Writes the node's settings and its unit, and starts the unit, now and with the machine; one that runs as it
    /// should is left alone.
    pub(crate) async fn start(
        &self,
        context: &Context,
        arguments: &Join,
        (network, described): (&NetworkFile, &Path),
        (place, owner): (&Place, User),
        say: &Say,
    ) -> Result<(), Failure> {
        say.doing("installing the unit");
        let failed = |deed: &str, path: &Path, cause: &io::Error| {
            Failure::io(&format!("cannot {deed} {}", path.display()), cause)
        };
        let description = fs::read_to_string(described).map_err(|cause| failed("read", described, &cause))?;
        let kept = self.data.join("networks").join(format!("{}.toml", network.name));
        let written = self.data.join(FILE);
        let (rewritten, sealed) = owner.act(|| {
            // The user does not get to the home of whoever calls this.
            let folder = self.data.join("networks");
            let copied = fs::create_dir_all(folder).and_then(|()| crate::config::write(&kept, &description));
            copied.map_err(|cause| failed("copy the description to", &kept, &cause))?;
            let before = fs::read(&written).ok();
            super::write_settings(&self.data, &kept, place, arguments)?;
            let sealed = keystore::is_sealed(&self.data).unwrap_or(false);
            Ok((before != fs::read(&written).ok(), sealed))
        })?;
        let settings = self.settings(context, arguments, (&kept, place), owner)?;
        let binary = binary()?;
        let passphrase = if sealed { self.passphrase_file(&settings)? } else { None };
        let unit = Unit {
            name: &self.name,
            unit: &self.unit,
            user: &self.user,
            binary: &binary,
            data: &self.data,
            network: &kept,
            passphrase: passphrase.as_deref(),
            max_memory: settings.settings().max_memory.0,
            files: network.limits.files,
        };
        let (path, text) = (self.path(), unit.text()?);
        let changed = rewritten || fs::read_to_string(&path).ok().as_deref() != Some(text.as_str());
        if changed {
            crate::node::replace(&path, &text).map_err(|cause| failed("write", &path, &cause))?;
        }
        systemctl(&["daemon-reload"]).await?;
        systemctl(&["enable", &self.unit]).await?;
        say.doing(format!("starting {}", self.unit));
        let begun = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        // It returns when the node says that it serves.
        let started = systemctl(&[if changed { "restart" } else { "start" }, &self.unit]).await;
        if let Err(failure) = started {
            // Nothing is tried again and again behind the back of whoever is to mend it.
            let _ = systemctl(&["stop", &self.unit]).await;
            return Err(self.in_its_words(failure, begun).await);
        }
        Ok(())
    }

    /// A failure as the node itself tells it in its journal, where it does since a second since 1970.
    async fn in_its_words(&self, failure: Failure, since: u64) -> Failure {
        let since = format!("@{since}");
        let asked =
            ["--unit", &self.unit, "--since", &since, "--lines", LINES, "--output", "cat", "--no-pager"];
        let Ok(journal) = output("journalctl", &asked).await else { return failure };
        match last_error(&journal.out) {
            Some((message, remedy)) => {
                let remedy = format!("{remedy}; then type the same command again");
                Failure { message: format!("the node in {} ended: {message}", self.unit), remedy, ..failure }
            }
            None => failure,
        }
    }

    /// Completes when the unit, once it ran, does not run any more.
    pub(crate) async fn ended(&self) -> Failure {
        let (mut ran, mut missed) = (false, false);
        loop {
            sleep(LOOK).await;
            let runs = match self.runs().await {
                Ok(runs) => runs,
                Err(failure) => return failure,
            };
            // Once in between is a restart.
            if ran && missed && !runs {
                return self.look_there(format!("{} has stopped", self.unit));
            }
            (ran, missed) = (ran || runs, !runs);
        }
    }

    /// What the unit goes by. What only this command was told would be forgotten: it is refused.
    fn settings(
        &self,
        context: &Context,
        arguments: &Join,
        (network, place): (&Path, &Place),
        owner: User,
    ) -> Result<Effective, Failure> {
        let path = self.data.join(FILE);
        let flags = super::flags(network, place, arguments);
        let here = settings::chosen(context, Some(&self.data), None, &flags)?.effective;
        let there = owner.act(|| settings::read(&path).map_err(|unread| unread.failure(&path)))?;
        let there = Effective::of(vec![there])?;
        let forgotten: Vec<String> = here
            .entries()
            .zip(there.entries())
            .filter(|((key, shown, said), (_, kept, _))| {
                let told = matches!(said.origin(), Origin::Flag | Origin::Environment);
                // Those two come to the unit in another way.
                told && shown != kept && !["network", "passphrase_file"].contains(&key.name)
            })
            .filter_map(|((key, shown, _), _)| Some(format!("{} = {}", key.name, shown.to_toml()?)))
            .collect();
        if forgotten.is_empty() {
            return Ok(here);
        }
        let message = format!("{} does not say what was said here, and the unit goes by it", path.display());
        let remedy = format!("write into it: {}", forgotten.join("; "));
        Err(Failure::new(Exit::Failed, "settings", message, remedy))
    }

    fn path(&self) -> PathBuf {
        self.units.join(&self.unit)
    }

    /// Whether the unit runs, or is on the way there or back.
    pub(crate) async fn runs(&self) -> Result<bool, Failure> {
        let asked = output("systemctl", &["is-active", &self.unit]).await?;
        Ok(matches!(asked.out.as_str(), "active" | "activating" | "reloading" | "deactivating"))
    }

    /// The user, who is made where nobody named another.
    async fn user(&self) -> Result<User, Failure> {
        if let Some(user) = User::find(&self.user).await? {
            return Ok(user);
        }
        let missing = |why: &str| {
            let message = format!("there is no user {}{why}", self.user);
            let remedy = "make it (useradd --system NAME), or name another: --user NAME";
            Failure::new(Exit::NotReady, "no_user", message, remedy)
        };
        if self.user != USER {
            return Err(missing(""));
        }
        let made = [
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            STATE,
            "--shell",
            "/usr/sbin/nologin",
        ];
        let made = output("useradd", &[&made[..], &[USER]].concat()).await?;
        let found = if made.ok { User::find(USER).await? } else { None };
        found.ok_or_else(|| missing(&format!(", and none can be made: {}", made.err)))
    }

    fn look_there(&self, message: String) -> Failure {
        let remedy = format!("see why: journalctl -u {} -n 50; then type the same command again", self.unit);
        Failure::new(Exit::Failed, "service", message, remedy)
    }
}

/// Whether a text is a word of letters, digits and what else is taken, which is no flag.
fn is_word(text: &str, beside: &[u8], most: usize) -> bool {
    let taken = |byte: u8| byte.is_ascii_alphanumeric() || beside.contains(&byte);
    (1..=most).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(taken)
}

/// Why there can be no service.
fn refusal(root: bool, systemd: bool) -> Option<Failure> {
    if !systemd {
        let message = "no service can be installed: this machine is not run by systemd";
        let remedy =
            "join without --service, and let what starts programs here run: session node run --data DIR";
        return Some(Failure::new(Exit::NotReady, "no_systemd", message, remedy));
    }
    if !root {
        let message = "a service is installed by root alone";
        return Some(Failure::new(Exit::Refused, "not_root", message, "sudo session join NETWORK --service"));
    }
    None
}

/// Where the node of a unit that runs is, unless it is to be elsewhere.
pub(crate) fn settled(arguments: &Join, before: &Settings) -> Option<Place> {
    if !arguments.address.is_empty() || before.listen.is_empty() {
        return None;
    }
    let listen = before.listen.clone();
    let announce = if before.announce.is_empty() { listen.clone() } else { before.announce.clone() };
    Some(Place { listen, announce })
}

/// Whether a process has the folder for itself, as a node that runs does.
pub(super) fn is_locked(data: &Path) -> bool {
    // Whatever lies there is neither followed nor waited for.
    let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(data.join("lock"), how, Mode::empty()).map(fs::File::from);
    file.is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// The last error of a program and what it says to do about it, as `session` prints them.
fn last_error(text: &str) -> Option<(String, String)> {
    let cut = |words: &str| words.chars().take(MAX_WORDS).collect::<String>();
    let begins =
        |at: &usize| text.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with('\n'));
    let at = text.rmatch_indices("error: ").map(|(at, _)| at).find(begins)?;
    let (message, rest) = text.get(at..)?.strip_prefix("error: ")?.split_once("\n  fix: ")?;
    Some((cut(message), cut(rest.lines().next().unwrap_or_default())))
}

/// This program.
fn binary() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|cause| Failure::io("cannot tell where this program is", &cause))
}

/// What a program said.
struct Said {
    ok: bool,
    out: String,
    err: String,
}

async fn output(program: &str, arguments: &[&str]) -> Result<Said, Failure> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    let ran = ran.map_err(|cause| {
        let remedy = format!("install {program}, or join without --service");
        Failure::new(Exit::NotReady, "service", format!("cannot run {program}: {cause}"), remedy)
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(Said { ok: ran.status.success(), out: text(&ran.stdout), err: text(&ran.stderr) })
}

async fn systemctl(arguments: &[&str]) -> Result<(), Failure> {
    let ran = output("systemctl", arguments).await?;
    if ran.ok {
        return Ok(());
    }
    let unit = arguments.get(1).copied().unwrap_or("systemd");
    let message = format!("systemctl {}: {}", arguments.join(" "), ran.err);
    let remedy = format!("see why: journalctl -u {unit} -n 50; then type the same command again");
    Err(Failure::new(Exit::Failed, "service", message, remedy))
}

#[cfg(test)]
mod tests {
    use session_node::settings::Layer;

    use super::*;

    #[test]
    fn a_service_needs_systemd_and_root() {
        let code = |root, systemd| refusal(root, systemd).map(|failure| failure.code);
        assert_eq!(code(true, true), None);
        assert_eq!(code(false, true), Some("not_root"));
        assert_eq!(code(true, false), Some("no_systemd"));
        assert_eq!(code(false, false), Some("no_systemd"), "to be root would not help");
    }

    #[test]
    fn names_that_go_into_a_unit_are_words() {
        for name in ["session", "nobody", "_node-2", "x"] {
            assert!(is_word(name, b"-_.", MAX_USER), "{name}");
        }
        let long = "x".repeat(MAX_USER + 1);
        for name in ["", "-x", "a b", "a\nUser=root", "%u", "{exec}", "a/b", "$x", "\u{e4}", long.as_str()] {
            assert!(!is_word(name, b"-_.", MAX_USER), "{name:?}");
        }
    }

    #[test]
    fn systemd_reads_no_file_that_the_nodes_own_folder_names() {
        let units = tempfile::tempdir().unwrap();
        let service = Service {
            name: "net".into(),
            unit: "session-net.service".into(),
            units: units.path().to_owned(),
            user: "session".into(),
            data: "/var/lib/session/net".into(),
        };
        let said = |layer: Layer| service.passphrase_file(&Effective::of(vec![layer]).unwrap()).unwrap();
        let file = || Layer::file(Path::new("node.toml"), "passphrase_file = \"/etc/shadow\"").unwrap();
        let environment =
            || Layer::environment(|name| (name == passphrase::FILE).then(|| "/etc/session/one".to_owned()));
        assert_eq!(said(file()), None);
        assert_eq!(said(environment()).as_deref(), Some(Path::new("/etc/session/one")));
        // What root said once is in the unit, which is root's.
        fs::write(service.path(), "User=session\nLoadCredential=passphrase:/etc/session/100%%\n").unwrap();
        assert_eq!(said(file()).as_deref(), Some(Path::new("/etc/session/100%")));
        assert_eq!(said(environment()).as_deref(), Some(Path::new("/etc/session/one")));
    }

    #[test]
    fn why_a_node_ended_is_read_from_its_journal() {
        let error = |message: &str, remedy: &str| Some((message.to_owned(), remedy.to_owned()));
        let taken =
            "error: cannot serve HTTP on 127.0.0.1:22080: os error: in use\n  fix: choose a free port";
        let said = error("cannot serve HTTP on 127.0.0.1:22080: os error: in use", "choose a free port");
        assert_eq!(last_error(taken), said);
        let before = "error: another\n  fix: it\n{\"level\":\"INFO\",\"message\":\"starts\"}\n";
        assert_eq!(last_error(&format!("{before}{taken}\nsession-net.service: Failed\n")), said);
        for none in ["", "error: no remedy", "{\"message\":\"error: x\"}\n  fix: y", "  fix: y"] {
            assert_eq!(last_error(none), None, "{none}");
        }
        let long = last_error(&format!("error: {0}\n  fix: {0}", "x".repeat(9_000))).unwrap();
        assert_eq!((long.0.len(), long.1.len()), (MAX_WORDS, MAX_WORDS));
    }

    #[test]
    fn a_folder_that_a_node_has_is_seen_to_be_locked() {
        let temp = tempfile::tempdir().unwrap();
        assert!(!is_locked(temp.path()), "there is none");
        let lock = fs::File::create(temp.path().join("lock")).unwrap();
        assert!(!is_locked(temp.path()), "it has stopped");
        lock.try_lock().unwrap();
        assert!(is_locked(temp.path()));
    }
}
