//! What a node that runs as a service tells systemd, and where there can be none.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::Path,
    sync::mpsc::{Receiver, channel},
};

use super::{Alone, Running};
use crate::support::{PATIENCE, ended, get};

/// What is told to a socket, a datagram at a time.
fn told(path: &Path) -> Receiver<String> {
    let socket = UnixDatagram::bind(path).unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut room = [0; 4_096];
        while let Ok(bytes) = socket.recv(&mut room) {
            if tell.send(String::from_utf8_lossy(&room[..bytes]).into_owned()).is_err() {
                return;
            }
        }
    });
    told
}

/// Waits until a word is told; returns all that was told with it.
fn wait_for(told: &Receiver<String>, word: &str) -> String {
    loop {
        let words = told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{word} is not told"));
        if words.lines().any(|line| line.starts_with(word)) {
            return words;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_that_a_node_serves_lives_and_stops() {
    let node = Alone::new();
    node.set("network = \"../alone.toml\"\nhttp = \"127.0.0.1:0\"\n");
    let path = node.place.path().join("notify");
    let told = told(&path);
    let mut command = node.command("", &["node", "run", "--data", &node.data]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let mut running = Running::start(command);
    let first = told.recv_timeout(PATIENCE).unwrap();
    for word in ["READY=1", "WATCHDOG=1", "STATUS="] {
        assert!(first.lines().any(|line| line.starts_with(word)), "{word} is not told first: {first}");
    }
    // Whoever was waiting for that may ask it.
    let token = fs::read_to_string(Path::new(&node.data).join("admin-token")).unwrap();
    let door = token.lines().nth(1).unwrap();
    assert!(get(door, "/readyz").await.unwrap()["checks"].is_array());
    for _ in 0..2 {
        wait_for(&told, "WATCHDOG=1");
    }
    assert_eq!(running.stop(), 0);
    let last = wait_for(&told, "STOPPING=1");
    assert!(last.contains("STATUS=stopping"), "{last}");
}

#[test]
fn a_service_gets_its_passphrase_as_a_credential() {
    let node = Alone::new();
    node.set("network = \"../alone.toml\"\nhttp = \"127.0.0.1:0\"\n");
    let mut change = node.command("", &["key", "change-passphrase", "--data", &node.data, "--json"]);
    let changed = change.env("SESSION_NEW_PASSPHRASE", "one").output().unwrap();
    assert!(changed.status.success(), "{changed:?}");
    let folder = node.place.path().join("credentials");
    fs::create_dir(&folder).unwrap();
    let credential = folder.join("passphrase");
    fs::write(&credential, "one\n").unwrap();
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o400)).unwrap();
    let mut command = node.command("", &["node", "run", "--data", &node.data]);
    command.env("CREDENTIALS_DIRECTORY", &folder);
    let mut running = Running::start(command);
    assert!(running.first.contains("node started"), "{}", running.first);
    assert_eq!(running.stop(), 0);
}

#[test]
fn a_service_is_refused_where_there_can_be_none() {
    let node = Alone::new();
    let root = rustix::process::geteuid().is_root();
    let systemd = Path::new("/run/systemd/system").is_dir();
    if !(root && systemd) {
        let wanted = if systemd { (4, "not_root") } else { (3, "no_systemd") };
        let (code, name, remedy) = node.refused("", &["join", "mainnet", "--service"]);
        assert_eq!((code, name.as_str()), wanted);
        assert!(remedy.contains(if systemd { "sudo session join" } else { "session node run" }), "{remedy}");
    }
    let (code, name, _) = node.refused("", &["join", "mainnet", "--user", "nobody"]);
    assert_eq!((code, name.as_str()), (2, "usage"), "a user is one of a service");
    let (code, name, _) = node.refused("", &["join", "mainnet", "--remove"]);
    assert_eq!((code, name.as_str()), (2, "usage"), "so is what is removed");
}

#[test]
fn a_service_is_removed_and_its_node_stays() {
    let node = Alone::new();
    let folder = node.place.path();
    let [units, bin] = ["units", "bin"].map(|name| folder.join(name));
    for made in [&units, &bin] {
        fs::create_dir(made).unwrap();
    }
    // It writes down what it is asked for.
    let systemctl = bin.join("systemctl");
    fs::write(&systemctl, "#!/bin/sh\necho \"$@\" >>\"$(dirname \"$0\")/asked\"\n").unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let unit = units.join("session-berlin.service");
    fs::write(&unit, format!("[Service]\nReadWritePaths=\"{}\"\n", node.data)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let remove = |more: &[&str]| {
        let words =
            ["join", "mainnet", "--service", "--remove", "--unit-dir", units.to_str().unwrap(), "--json"];
        let mut command = node.command("", &[&words[..], more].concat());
        ended(command.env("PATH", &path).spawn().unwrap(), "join --service --remove")
    };
    let other = remove(&[]);
    assert_eq!((other.code, other.json()["error"]["code"].as_str()), (1, Some("no_unit")), "{}", other.out);
    assert!(unit.exists() && !bin.join("asked").exists(), "nothing was done");
    let removed = remove(&["--name", "berlin"]);
    assert_eq!(removed.code, 0, "{} {}", removed.out, removed.err);
    let told = removed.json()["data"].clone();
    assert_eq!(
        (told["unit"].as_str(), told["data"].as_str()),
        (Some("session-berlin.service"), Some(&*node.data))
    );
    assert!(!unit.exists());
    let asked = fs::read_to_string(bin.join("asked")).unwrap();
    assert_eq!(asked, "stop session-berlin.service\ndisable session-berlin.service\ndaemon-reload\n");
    assert!(Path::new(&node.data).join("node.key").exists());
}

#[test]
fn a_node_that_is_older_than_its_network_asks_for_warns_of_it() {
    let node = Alone::new();
    node.set("network = \"../alone.toml\"\nhttp = \"127.0.0.1:0\"\n");
    let file = node.place.path().join("alone.toml");
    let text = fs::read_to_string(&file).unwrap();
    for (release, warns) in [("0.0.0", false), ("999.0.0", true)] {
        let limits = format!("[limits]\nrelease = \"{release}\"\n\n[[nodes]]");
        fs::write(&file, text.replace("[[nodes]]", &limits)).unwrap();
        let mut running = Running::start(node.command("", &["node", "run", "--data", &node.data]));
        let first = running.first.clone();
        assert_eq!(first.contains("WARN") && first.contains("999.0.0 or newer"), warns, "{first}");
        assert_eq!(running.stop(), 0);
    }
}
