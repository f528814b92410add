//! What the doctor says of real nodes: well, stopped, and with what is wrong with them.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{Place, Ran, ended, until};

/// A node of a testnet, and how its doctor is asked.
struct Patient {
    place: Place,
    network: PathBuf,
    data: PathBuf,
}

impl Patient {
    fn new() -> Self {
        let place = Place::new();
        place.data(&["testnet", "up", "--nodes", "5"]);
        let (network, data) = (place.testnet.folder().network_path(), place.testnet.folder().data(1));
        Self { place, network, data }
    }

    fn ask(&self, environment: &[(&str, &str)], more: &[&str]) -> Ran {
        let (network, data) = (self.network.to_str().unwrap(), self.data.to_str().unwrap());
        let arguments = [&["doctor", "--json", "--network", network, "--data", data], more].concat();
        let mut command = self.place.command(&arguments);
        // A testnet's node is told its ports by flags; of those of settings some other node may have one.
        command.env("SESSION_HTTP", "127.0.0.1:0").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ended(command.spawn().unwrap(), "session doctor")
    }

    /// What is not as it should be, and the exit code.
    fn troubles(&self, environment: &[(&str, &str)]) -> (i32, Vec<(String, String, String)>) {
        let ran = self.ask(environment, &[]);
        let told = ran.json()["data"].clone();
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        let bad = told["findings"].as_array().unwrap().iter().filter(|one| one["severity"] != "ok");
        let bad: Vec<_> =
            bad.map(|one| (text(one, "check"), text(one, "severity"), text(one, "remedy"))).collect();
        if ran.code != 0 {
            println!("{} {bad:?}", ran.code);
        }
        (ran.code, bad)
    }
}

/// The one finding of a check.
fn only<'a>(bad: &'a [(String, String, String)], check: &str) -> (&'a str, &'a str) {
    let mut found = bad.iter().filter(|(name, ..)| name == check);
    let (Some((_, severity, remedy)), None) = (found.next(), found.next()) else {
        panic!("{check}: {bad:?}")
    };
    (severity, remedy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_told_to_be_well_stopped_or_what_is_wrong_with_it() {
    let patient = Patient::new();
    // While swarms change a node is not ready for a moment.
    until("nothing to be done", async || (patient.troubles(&[]).0 == 0).then_some(())).await;
    archive(&patient);

    assert!(patient.place.testnet.kill(1).await.unwrap());
    let (code, bad) = patient.troubles(&[]);
    let (severity, remedy) = only(&bad, "node");
    assert_eq!(
        (code, severity, bad.len()),
        (3, "warn", 1),
        "its stake is there and its ports are free: {bad:?}"
    );
    assert!(remedy.starts_with("start it: session node run --data"), "{remedy}");

    let network = patient.place.testnet.folder().network().unwrap();
    let address = network.nodes[0].addresses.iter().find(|address| address.contains("/tcp/")).unwrap();
    let port = address.rsplit('/').next().unwrap();
    let taken = TcpListener::bind(format!("127.0.1.1:{port}")).unwrap();
    let (code, bad) = patient.troubles(&[]);
    assert_eq!((code, only(&bad, "ports").0), (1, "fail"));
    drop(taken);

    let (code, bad) = patient.troubles(&[("SESSION_RPC", "http://127.0.0.1:1/")]);
    assert_eq!((code, only(&bad, "rpc").0), (1, "fail"));

    let key = patient.data.join("node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, bad) = patient.troubles(&[]);
    let (severity, remedy) = only(&bad, "key");
    assert_eq!((code, severity), (1, "fail"));
    assert!(remedy.starts_with(&format!("chmod 600 {}", key.display())), "{remedy}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(patient.troubles(&[]).0, 3, "it was mended");
}

/// Writes an archive of a node that runs, and reads it with another program.
fn archive(patient: &Patient) {
    let path = patient.place.path().join("support.tar");
    let bundle = ["--bundle", path.to_str().unwrap()];
    let ran = patient.ask(&[], &bundle);
    assert_eq!(ran.json()["data"]["bundle"].as_str(), path.to_str());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let files = unpacked(&["-tf"], &path, &[]);
    let names: Vec<&str> = files.lines().collect();
    for name in ["doctor.json", "settings.json", "status.json", "readyz.json", "metrics.txt", "log.txt"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let status = unpacked(&["-xO", "-f"], &path, &["status.json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["id"], ran.json()["data"]["id"]);
    let bytes = fs::read(&path).unwrap();
    for secret in ["node.key", "gas.key", "admin-token"] {
        let kept = fs::read_to_string(patient.data.join(secret)).unwrap();
        let secret = kept.lines().next().unwrap().as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", kept.len());
    }
    let again = patient.ask(&[], &bundle);
    assert_eq!((again.code, again.json()["error"]["code"].as_str().unwrap()), (4, "exists"));
}

/// What tar says of an archive, or of some of its files.
fn unpacked(how: &[&str], archive: &Path, names: &[&str]) -> String {
    let ran = Ran::new(Command::new("tar").args(how).arg(archive).args(names).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out
}

#[test]
fn whoever_has_no_node_is_told_to_name_one() {
    let place = Place::new();
    let (code, error) = place.error(&["doctor"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (2, "usage"));
    let nowhere = place.path().join("nowhere");
    let (code, error) = place.error(&["doctor", "--data", nowhere.to_str().unwrap()]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "no_data"));
    assert!(!nowhere.exists());
    // In a folder that is no node's the key is what is missing.
    let (code, told) = {
        let ran = place.run(&["doctor", "--json", "--data", place.path().to_str().unwrap()]);
        (ran.code, ran.json()["data"].clone())
    };
    let key = told["findings"].as_array().unwrap().iter().find(|one| one["check"] == "key").unwrap().clone();
    assert_eq!((code, &key["severity"]), (1, &"fail".into()));
    let people = place.run(&["doctor", "--data", place.path().to_str().unwrap()]);
    assert!(people.out.contains("FAIL  key ") && people.out.contains("fix: "), "{}", people.out);
    assert!(people.out.trim_end().ends_with("to be looked at"), "{}", people.out);
}
