//! What an operator does with one node: its settings, its keys, its log.

mod service;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::support::{Place, Ran, ended};

/// A node that is the whole of its network.
struct Alone {
    place: Place,
    data: String,
    made: Value,
}

impl Alone {
    fn new() -> Self {
        let place = Place::new();
        let data = place.path().join("node").to_str().unwrap().to_owned();
        let operator = format!("0x{}", "5a".repeat(20));
        let free = std::net::TcpListener::bind("127.0.97.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("/ip4/127.0.97.1/tcp/{free}");
        let init = ["node", "init", "--data", &data, "--operator", &operator, "--address", &address];
        let made = place.data(&init);
        let network = format!(
            "version = 1\nname = \"alone\"\nlocal = true\nseed = \"{}\"\n\n[[nodes]]\nid = \"{}\"\noperator = \"{operator}\"\n\
             prefix = \"{}\"\naddresses = [\"{address}\"]\n",
            "07".repeat(32),
            made["id"].as_str().unwrap(),
            made["prefix"].as_str().unwrap(),
        );
        fs::write(place.path().join("alone.toml"), network).unwrap();
        Self { place, data, made }
    }

    fn file(&self) -> PathBuf {
        Path::new(&self.data).join("node.toml")
    }

    fn set(&self, lines: &str) {
        fs::write(self.file(), lines).unwrap();
    }

    /// The program, with a passphrase in its environment.
    fn command(&self, passphrase: &str, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        command.env("SESSION_PASSPHRASE", passphrase);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, passphrase: &str, arguments: &[&str]) -> Ran {
        let arguments = [arguments, &["--json"]].concat();
        ended(self.command(passphrase, &arguments).spawn().unwrap(), &format!("{arguments:?}"))
    }

    fn data(&self, passphrase: &str, arguments: &[&str]) -> Value {
        let ran = self.run(passphrase, arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {} {}", ran.out, ran.err);
        ran.json()["data"].clone()
    }

    fn refused(&self, passphrase: &str, arguments: &[&str]) -> (i32, String, String) {
        let ran = self.run(passphrase, arguments);
        let error = ran.json()["error"].clone();
        (ran.code, error["code"].as_str().unwrap().to_owned(), error["remedy"].as_str().unwrap().to_owned())
    }
}

/// What a setting is, and who said it.
fn setting(shown: &Value, key: &str) -> (Value, String, String) {
    let settings = shown["settings"].as_array().unwrap();
    let found = settings.iter().find(|one| one["key"] == key).unwrap();
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (found["value"].clone(), text("origin"), text("place"))
}

#[test]
fn settings_are_written_checked_and_shown_with_who_said_them() {
    let node = Alone::new();
    let (data, file) = (node.data.as_str(), node.file());
    let file = file.to_str().unwrap();
    let none = node.refused("", &["config", "check", "--data", data]);
    assert_eq!((none.0, none.1.as_str()), (2, "settings"));
    assert!(none.2.contains("session config init --config"), "{none:?}");
    let wrote = node.data("", &["config", "init", "--data", data]);
    assert_eq!((wrote["file"].as_str().unwrap(), &wrote["replaced"]), (file, &Value::Bool(false)));
    assert_eq!(node.data("", &["config", "check", "--data", data])["set"], 0, "all is at its default");
    node.set("network = \"../alone.toml\"\nhttp = \"127.0.0.1:7\"\nmax_bytes = \"1 GiB\"\n");
    let there = node.refused("", &["config", "init", "--data", data]);
    assert_eq!((there.0, there.1.as_str()), (4, "config_exists"));
    assert_eq!(node.data("", &["config", "check", "--data", data])["set"], 3);

    let mut command =
        node.place.command(&["config", "show", "--data", data, "--http", "127.0.0.1:8", "--json"]);
    command.env("SESSION_MAX_BYTES", "2 GiB").env("SESSION_HTTP", "127.0.0.1:9");
    let shown = Ran::new(command.output().unwrap()).json()["data"].clone();
    assert_eq!(setting(&shown, "http"), ("127.0.0.1:8".into(), "flag".into(), "--http".into()));
    assert_eq!(
        setting(&shown, "max_bytes"),
        ((2_u64 << 30).into(), "environment".into(), "SESSION_MAX_BYTES".into())
    );
    let (network, origin, place) = setting(&shown, "network");
    assert_eq!((origin.as_str(), place), ("file", format!("{file}:1:11")));
    assert!(network.as_str().unwrap().ends_with("alone.toml"));
    let (listen, origin, place) = setting(&shown, "listen");
    assert_eq!((&listen, origin.as_str()), (&node.made["addresses"], "preset"), "as the network's file says");
    assert!(place.ends_with("alone.toml"), "{place}");
    assert_eq!(setting(&shown, "log_files"), (8.into(), "default".into(), String::new()));
    let people = node.place.run(&["config", "show", "--origin", "--data", data]);
    assert!(people.out.contains("max_bytes"), "{}", people.out);
    let line = people.out.lines().find(|line| line.starts_with("max_bytes")).unwrap();
    assert!(line.contains("1 GiB") && line.contains("file") && line.ends_with("node.toml:3:13"), "{line}");

    node.set("network = \"../alone.toml\"\n\nhtp = \"127.0.0.1:7\"\n");
    let run = ["node", "run", "--data", data];
    for arguments in [&["config", "check", "--data", data][..], &["config", "show", "--data", data], &run] {
        let (code, name, remedy) = node.refused("", arguments);
        assert_eq!((code, name.as_str(), remedy.as_str()), (2, "settings", "did you mean `http`?"));
        let ran = node.place.run(arguments);
        assert!(ran.err.starts_with(&format!("error: {file}:3:1: unknown key `htp`\n")), "{}", ran.err);
    }
    node.set("passphrase_file = \"none\"\n");
    assert_eq!(node.refused("", &["config", "check", "--data", data]).0, 2);
    node.set("log_level = \"session=loud\"\n");
    assert_eq!(node.refused("", &["config", "check", "--data", data]).0, 2);
    let mut command = node.place.command(&["config", "show", "--data", data]);
    let wrong = Ran::new(command.env("SESSION_LOG_FILES", "many").output().unwrap());
    assert_eq!(wrong.code, 2, "{}", wrong.err);
    assert!(wrong.err.contains("SESSION_LOG_FILES"), "{}", wrong.err);
    assert!(node.data("", &["config", "init", "--data", data, "--yes"])["replaced"].as_bool().unwrap());
    let mode = fs::metadata(node.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // The file that the environment names is not the one in the folder.
    let mine = node.place.path().join("mine.toml");
    fs::write(&mine, "mine").unwrap();
    let mut command = node.place.command(&["config", "init", "--data", data, "--yes", "--json"]);
    let two = Ran::new(command.env("SESSION_CONFIG", &mine).output().unwrap());
    assert_eq!((two.code, two.json()["error"]["code"].as_str()), (2, Some("usage")), "{}", two.out);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
}

#[test]
fn a_node_that_was_destroyed_is_the_same_once_it_is_restored() {
    let node = Alone::new();
    let (data, folder) = (node.data.as_str(), node.place.path());
    node.set("network = \"../alone.toml\"\n");
    let (file, wrong) = (folder.join("node.backup"), folder.join("wrong"));
    let file = file.to_str().unwrap();
    let show = ["key", "show", "--data", data];
    let before = node.data("", &show);
    assert_eq!((&before["id"], &before["gas_account"]), (&node.made["id"], &node.made["gas_account"]));
    assert_eq!((before["bls_key"].as_str().unwrap().len(), &before["encrypted"]), (192, &Value::Bool(false)));
    let backup = ["key", "backup", file, "--data", data];
    let (code, name, _) = node.refused("", &backup);
    assert_eq!((code, name.as_str()), (1, "passphrase"), "nothing is written that is open to all");
    assert!(!Path::new(file).exists());
    let made = node.data("correct horse", &backup);
    assert_eq!(made["files"], serde_json::json!(["gas.key", "networks/alone.toml", "node.key", "node.toml"]));
    assert_eq!(made["missing"], Value::Null);
    node.set("network = \"../gone.toml\"\n");
    let other = folder.join("other.backup");
    let ran = node.run("correct horse", &["key", "backup", other.to_str().unwrap(), "--data", data]);
    assert!(ran.code == 0 && ran.err.contains("the network's file is not in the backup"), "{}", ran.err);
    assert!(ran.json()["data"]["missing"].as_str().unwrap().contains("gone.toml"), "{}", ran.out);
    assert_eq!(node.refused("correct horse", &backup).0, 4, "a backup is not replaced");

    fs::remove_dir_all(data).unwrap();
    assert_eq!(node.refused("", &show).0, 1);
    let restore = ["key", "restore", file, "--data", data];
    let (code, name, _) = node.refused("battery staple", &restore);
    assert_eq!((code, name.as_str()), (1, "passphrase"));
    assert!(!Path::new(data).exists());
    // Whoever may read the passphrase's file is no matter of trust.
    fs::write(&wrong, "correct horse\n").unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o644)).unwrap();
    let open = [&restore[..], &["--passphrase-file", wrong.to_str().unwrap()]].concat();
    let (code, name, remedy) = node.refused("", &open);
    assert_eq!((code, name.as_str()), (4, "passphrase_open_to_others"));
    assert!(remedy.starts_with("chmod 600 "), "{remedy}");
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(node.data("", &open)["id"], node.made["id"]);
    assert_eq!(node.data("", &show), before, "the same id, checkpoint key and account that pays");
    let key = Path::new(data).join("node.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(Path::new(data).join("networks/alone.toml").exists());

    // Another node in that place is not replaced.
    let kept = fs::read(&key).unwrap();
    fs::write(&key, "11".repeat(32)).unwrap();
    assert_eq!(node.refused("correct horse", &restore).0, 4);
    fs::write(&key, kept).unwrap();
    // Nor is a key used that others may have read.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    for arguments in [&show[..], &["node", "run", "--data", data, "--http", "127.0.0.1:0"]] {
        let (code, name, remedy) = node.refused("", arguments);
        assert_eq!((code, name.as_str()), (4, "key_open_to_others"));
        assert!(remedy.starts_with(&format!("chmod 600 {}", key.display())), "{remedy}");
    }
}

#[test]
fn keys_are_encrypted_changed_and_opened_again() {
    let node = Alone::new();
    let data = node.data.as_str();
    node.set("network = \"../alone.toml\"\nhttp = \"127.0.0.1:0\"\n");
    let change = |old: &str, new: &str, more: &[&str]| {
        let arguments = [&["key", "change-passphrase", "--data", data, "--json"], more].concat();
        let mut command = node.command(old, &arguments);
        command.env("SESSION_NEW_PASSPHRASE", new);
        Ran::new(command.output().unwrap()).code
    };
    assert_eq!(change("", "", &[]), 1, "there is no new one");
    assert_eq!(change("", "one", &[]), 0);
    let shown = node.data("", &["key", "show", "--data", data]);
    assert_eq!(
        (&shown["id"], &shown["encrypted"], &shown["bls_key"]),
        (&node.made["id"], &true.into(), &Value::Null)
    );
    assert_eq!(change("two", "three", &[]), 1);
    assert_eq!(change("one", "two", &[]), 0);
    let run = ["node", "run", "--data", data];
    for passphrase in ["", "one"] {
        let (code, name, _) = node.refused(passphrase, &run);
        assert_eq!((code, name.as_str()), (2, "passphrase"), "{passphrase}");
    }
    let mut running = Running::start(node.command("two", &run));
    assert!(running.first.contains("node started"), "{}", running.first);
    assert_eq!(running.stop(), 0);
    // A backup has the same passphrase, and what it restores is encrypted as it was.
    let file = node.place.path().join("backup");
    let file = file.to_str().unwrap();
    assert_eq!(node.refused("three", &["key", "backup", file, "--data", data]).0, 1);
    node.data("two", &["key", "backup", file, "--data", data]);
    fs::remove_dir_all(data).unwrap();
    node.data("two", &["key", "restore", file, "--data", data]);
    assert!(node.data("", &["key", "show", "--data", data])["encrypted"].as_bool().unwrap());
    assert_eq!(change("two", "", &["--remove"]), 0);
    assert!(!node.data("", &["key", "show", "--data", data])["encrypted"].as_bool().unwrap());
}

/// A node that runs, and the first line of its log.
struct Running {
    child: Child,
    first: String,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().map(Result::unwrap).unwrap_or_default();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, first }
    }

    fn stop(&mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_a_running_node_logs_is_changed_by_its_operator_alone() {
    let node = Alone::new();
    let data = node.data.as_str();
    let log = Path::new(data).join("node.log");
    node.set("network = \"../alone.toml\"\nhttp = \"127.0.0.1:0\"\nlog_level = \"error\"\nlog_file = \"node.log\"\n");
    let level = |level: &str| node.run("", &["node", "log", level, "--data", data]);
    assert_eq!(level("debug").code, 3, "no node runs");
    let mut command = node.command("", &["node", "run", "--data", data]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    crate::support::until("the node's door", async || {
        let text = fs::read_to_string(Path::new(data).join("admin-token")).ok()?;
        crate::support::get(text.lines().nth(1)?, "/status").await
    })
    .await;
    let read = || fs::read_to_string(&log).unwrap();
    assert_eq!(read(), "", "it starts without an error");
    assert_eq!(level("session=info").code, 0);
    let changes = || read().matches("what is logged was changed").count();
    assert_eq!(changes(), 1, "{}", read());
    for line in read().lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("a file is for programs: {line}"));
    }
    assert_eq!(level("error").code, 0);
    assert_eq!(changes(), 1, "that it is quiet again is not logged any more");
    let wrong = level("session=loud");
    assert_eq!((wrong.code, wrong.json()["error"]["code"].as_str().unwrap()), (1, "log"));
    let token = Path::new(data).join("admin-token");
    for path in [&token, &log] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    let address = fs::read_to_string(&token).unwrap().lines().nth(1).unwrap().to_owned();
    fs::write(&token, format!("{}\n{address}\n", "0".repeat(64))).unwrap();
    let other = level("debug");
    assert_eq!(other.code, 1, "{}", other.out);
    assert!(other.out.contains("(401)"), "{}", other.out);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn completions_and_the_manual_are_printed() {
    let place = Place::new();
    let bash = place.run(&["completions", "bash"]);
    assert!(bash.code == 0 && bash.out.contains("complete -F _session"), "{}", bash.err);
    let page = place.run(&["man", "config", "show"]);
    assert!(
        page.code == 0
            && page.out.contains("session\\-config\\-show")
            && page.out.contains("--origin".replace('-', "\\-").as_str()),
        "{}",
        page.out
    );
    let (code, error) = place.error(&["man", "config", "shw"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (2, "usage"));
    let folder = place.path().join("man1");
    place.data(&["man", "--out", folder.to_str().unwrap()]);
    assert!(folder.join("session-key-restore.1").exists());
}
