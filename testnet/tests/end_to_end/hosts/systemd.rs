//! A host whose node a real systemd runs: process 1 of a machine made of namespaces, which `boot` makes.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Host, Internet, Line, NAME, Running, anvil, joined, publish, service::words};
use crate::support::{Ran, binary, ended, until};

/// The unit of a node of the network in the box.
const UNIT: &str = "session-boxed.service";
/// Where its node has its folder, unless somebody says otherwise.
const DATA: &str = "/var/lib/session/boxed";
/// Whom it runs as, unless somebody says otherwise.
const USER: &str = "session";
/// The file of root's that has the passphrase of the node's keys.
const PASSPHRASE: &str = "/etc/session/passphrase";
/// Where the node is asked over HTTP: elsewhere than usual, which has to be remembered.
const HTTP: u16 = 22_090;
/// What an operator changes about the unit.
const CHANGED: &str = "[Service]\nWatchdogSec=10\n";
/// What no node starts with.
const WRONG: &str = "[Service]\nEnvironment=SESSION_HTTP=nowhere\n";
/// Finds what can be written outside of a folder, that folder itself, and those for temporary files. What this machine
/// shares with its own cannot be written by anybody there.
const WRITABLE: &str = r#"find / \( -path /proc -o -path /sys -o -path /usr -o -path "$0/*" -o -path "/tmp/*" \
    -o -path "/var/tmp/*" \) -prune -o \( -type d -o -type f \) -writable -print"#;

/// The machine of a host, for as long as this lives.
struct Machine<'a> {
    host: &'a Host,
    /// What made its namespaces: it ends after the machine.
    made: Child,
    /// Its process 1, as this machine numbers it.
    init: String,
}

impl<'a> Machine<'a> {
    /// Boots one on a host; none, with a message, where that cannot be done. Where everything is to be tried
    /// (`CI=true`) that is a failure.
    async fn boot(host: &'a Host) -> Option<Self> {
        let mut new = Self { host, made: made(host), init: String::new() };
        if let Err(why) = new.up().await {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no systemd: {why}");
            eprintln!("skipped: systemd cannot be booted here: {why}");
            return None;
        }
        Some(new)
    }

    /// Waits until it has booted; why it has ended, if it has.
    async fn up(&mut self) -> Result<(), String> {
        let folder = folder(self.host);
        until("a machine that boots", async || {
            if self.made.try_wait().unwrap().is_some() {
                return Some(Err(fs::read_to_string(folder.join("log")).unwrap()));
            }
            let init = fs::read_to_string(folder.join("init")).unwrap_or_default();
            self.init = init.strip_suffix('\n')?.to_owned();
            let up = self.systemctl(&["is-active", "multi-user.target"]).code == 0;
            up.then_some(Ok(()))
        })
        .await
    }

    /// Stops all that runs there, and boots it anew.
    async fn reboot(&mut self) {
        self.systemctl(&["reboot"]);
        until("a machine that ends", async || self.made.try_wait().unwrap()).await;
        self.init.clear();
        self.made = made(self.host);
        self.up().await.unwrap();
    }

    /// A program there, which root runs.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        assert!(!self.init.is_empty(), "{program} would run on this machine");
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init, "--all", "--", program]).args(arguments).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/root");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        ended(self.command(program, arguments).spawn().unwrap(), program)
    }

    /// What a program there says, which has nothing to complain of.
    fn says(&self, program: &str, arguments: &[&str]) -> String {
        let ran = self.run(program, arguments);
        assert_eq!(ran.code, 0, "{program} {arguments:?}: {}", ran.err);
        ran.out.trim().to_owned()
    }

    fn systemctl(&self, arguments: &[&str]) -> Ran {
        self.run("systemctl", arguments)
    }

    /// What systemd says of the unit.
    fn property(&self, name: &str) -> String {
        self.says("systemctl", &["show", "--value", "--property", name, UNIT])
    }

    /// The unit's log.
    fn journal(&self) -> String {
        self.says("journalctl", &["--no-pager", "--output", "cat", "--unit", UNIT])
    }

    /// Where a file of its is on this machine.
    fn file(&self, path: &str) -> PathBuf {
        folder(self.host).join("root").join(path.trim_start_matches('/'))
    }

    /// To join as the handbook says.
    fn join(&self, address: &str) -> Command {
        self.command("session", &["join", address, "--service", "--yes", "--json"])
    }

    /// Whether the node says that it serves.
    fn is_ready(&self) -> bool {
        self.host.get(HTTP, "/readyz").is_some_and(|it| it["ready"] == true)
    }

    /// Checks that the unit runs, and that its process is closed up as it says; returns the process.
    fn check(&self) -> String {
        assert_eq!(self.property("ActiveState"), "active");
        assert_eq!(self.property("UnitFileState"), "enabled");
        let pid = self.property("MainPID");
        let status = self.says("cat", &[&format!("/proc/{pid}/status")]);
        let line = |name| words(&status, name);
        let user = self.says("id", &["-u", USER]);
        assert_eq!(line("Uid:"), [user.as_str(); 4]);
        for rights in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(line(rights), ["0000000000000000"], "{rights}");
        }
        assert_eq!((line("NoNewPrivs:"), line("Seccomp:")), (vec!["1"], vec!["2"]));
        let found = self.within(&pid, &["sh", "-c", WRITABLE, DATA]);
        let mut writable: Vec<&str> = found.out.lines().collect();
        writable.sort_unstable();
        assert_eq!(
            writable,
            ["/tmp", DATA, "/var/tmp"],
            "a folder, and two that nobody else has: {}",
            found.err
        );
        assert_eq!(self.within(&pid, &["test", "-e", "/proc/1"]).code, 1, "it sees what others run");
        let key = fs::read_to_string(self.file(DATA).join("node.key")).unwrap();
        assert!(key.starts_with("sealed "), "it was opened by what root's file says");
        pid
    }

    /// Runs a program among the mounts of a process, as the node's user.
    fn within(&self, pid: &str, program: &[&str]) -> Ran {
        let user = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"];
        let mounts = ["--target", pid, "--mount", "--"];
        self.run("nsenter", &[&mounts[..], &user, program].concat())
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if matches!(self.made.try_wait(), Ok(Some(_))) {
            return;
        }
        let log = ["--no-pager", "--boot", "--lines", "100"];
        if std::thread::panicking()
            && !self.init.is_empty()
            && let Ok(ran) = self.command("journalctl", &log).output()
        {
            eprintln!("{}", String::from_utf8_lossy(&ran.stdout));
        }
        // With its process 1 all others end.
        if let Some(init) = self.init.parse::<i32>().ok().and_then(Pid::from_raw) {
            let _ = kill_process(init, Signal::KILL);
        } else {
            let _ = self.made.kill();
        }
        let _ = self.made.wait();
    }
}

/// Where a host has its machine.
fn folder(host: &Host) -> PathBuf {
    host.home().join("machine")
}

/// Begins to boot a host's machine.
fn made(host: &Host) -> Child {
    let folder = folder(host);
    fs::create_dir_all(&folder).unwrap();
    // Of one that has ended.
    let _ = fs::remove_file(folder.join("init"));
    let log = fs::File::create(folder.join("log")).unwrap();
    let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/hosts/boot");
    let program = binary();
    let words = [&boot, &folder, &program].map(|path| path.to_str().unwrap());
    let mut command = host.command(Path::new("bash"), &words);
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_systemd_starts_watches_and_stops_a_node() {
    let Some(mut internet) = Internet::new() else { return };
    let first = internet.host(Line::Open);
    internet.call(&first, NAME);
    let host = internet.host(Line::Open);
    let Some(mut machine) = Machine::boot(&host).await else { return };
    let _chain = anvil(&first);
    until("the chain", async || first.listens(8_545).then_some(())).await;
    let (_network, address) = publish(&first);

    // A machine that has the program and a passphrase: user, folder and unit are made.
    let passphrase = machine.file(PASSPHRASE);
    fs::create_dir_all(passphrase.parent().unwrap()).unwrap();
    fs::write(&passphrase, "of root's file\n").unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    let mut join = machine.join(&address);
    join.env("SESSION_PASSPHRASE_FILE", PASSPHRASE).args(["--http-port", &HTTP.to_string()]);
    let join = Running::new(join, "join");
    let id = joined(&join);
    assert_eq!(join.ended(), 0);
    until("a node that a unit runs", async || machine.is_ready().then_some(())).await;
    machine.check();
    assert_eq!(machine.property("NRestarts"), "0");
    assert!(machine.journal().contains("node started"), "{}", machine.journal());
    until("a node whose state systemd knows", async || {
        let status = machine.systemctl(&["status", "--no-pager", UNIT]);
        status.out.contains("Status: \"active, in swarm ").then_some(())
    })
    .await;

    // It stops when it is told to, in time and without a complaint.
    assert_eq!(machine.systemctl(&["stop", UNIT]).code, 0);
    for (name, value) in [("ActiveState", "inactive"), ("Result", "success"), ("ExecMainStatus", "0")] {
        assert_eq!(machine.property(name), value, "{name}");
    }
    assert!(!machine.is_ready());

    // The operator changes the unit and starts it, which takes until the node serves.
    let changed = machine.file(&format!("/etc/systemd/system/{UNIT}.d/override.conf"));
    fs::create_dir_all(changed.parent().unwrap()).unwrap();
    fs::write(&changed, CHANGED).unwrap();
    assert_eq!(machine.systemctl(&["daemon-reload"]).code, 0);
    let start = machine.systemctl(&["start", UNIT]);
    assert_eq!(start.code, 0, "{}", start.err);
    let process = machine.check();

    // The same command once more leaves all that as it is, and remembers what was said to it before.
    let settings = || fs::read_to_string(machine.file(DATA).join("node.toml")).unwrap();
    let before = settings();
    let again = Running::new(machine.join(&address), "join again");
    assert_eq!(joined(&again), id);
    assert_eq!(again.ended(), 0);
    assert_eq!((settings(), machine.check()), (before, process.clone()));
    assert_eq!(machine.property("WatchdogUSec"), "10s");
    until("a node that is where it was", async || machine.is_ready().then_some(())).await;

    // A node that hangs is ended and started anew.
    assert_eq!(machine.systemctl(&["kill", "--signal=SIGSTOP", UNIT]).code, 0);
    until("a node that was started anew", async || {
        let again = machine.property("NRestarts") != "0" && machine.property("ActiveState") == "active";
        again.then_some(())
    })
    .await;
    assert!(machine.journal().contains("Watchdog timeout"), "{}", machine.journal());
    assert_ne!(machine.check(), process);
    until("a node that is back", async || machine.is_ready().then_some(())).await;

    // One that a person has to mend is not tried again and again, and whoever joins is told in its words.
    let wrong = changed.with_file_name("wrong.conf");
    fs::write(&wrong, WRONG).unwrap();
    assert_eq!(machine.systemctl(&["daemon-reload"]).code, 0);
    assert_ne!(machine.systemctl(&["restart", UNIT]).code, 0);
    for (name, value) in [("ActiveState", "failed"), ("ExecMainStatus", "2"), ("NRestarts", "0")] {
        assert_eq!(machine.property(name), value, "{name}");
    }
    let stuck = Running::new(machine.join(&address), "join what does not start");
    let (steps, end) = stuck.result();
    let error = end.unwrap_err();
    assert_eq!((steps.last().unwrap()["step"].as_str(), stuck.ended()), (Some("start"), 1), "{error}");
    let says = |part: &str, words: &str| error[part].as_str().is_some_and(|text| text.contains(words));
    assert!(says("message", "ended: SESSION_HTTP: `http`: expected an address"), "{error}");
    assert!(says("remedy", "set it as in SESSION_HTTP="), "{error}");
    fs::remove_file(wrong).unwrap();

    // It starts with the machine.
    machine.reboot().await;
    until("a node that starts with its machine", async || {
        (machine.property("ActiveState") == "active" && machine.is_ready()).then_some(())
    })
    .await;
    machine.check();
}
