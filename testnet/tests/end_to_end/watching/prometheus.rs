//! A Prometheus of a test's own, with the configuration and the rules that are shipped.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::monitoring;
use crate::support::{PATIENCE, lines, until};

const MISSING: &str = "prometheus is missing: ./scripts/test installs it, or: apt-get install prometheus";

/// Runs promtool over the files that are shipped.
pub(super) fn promtool(arguments: &[&str]) {
    let ran = Command::new("promtool").args(arguments).current_dir(monitoring()).output().expect(MISSING);
    let said = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(ran.status.success(), "promtool {arguments:?}: {said}");
}

/// A running Prometheus; it ends with this.
pub(super) struct Prometheus {
    process: Child,
    api: String,
    /// The alerts that were waited for, and fired.
    fired: Mutex<BTreeSet<String>>,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that watches the nodes in the folder `targets`, each second. Whoever operates a node waits some
    /// minutes before a fault is told; here nobody waits, and that alone is changed in the rules.
    pub(super) fn start(targets: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let read = |name| fs::read_to_string(monitoring().join(name)).unwrap();
        let config = read("prometheus.yml").replace(": 15s", ": 1s");
        let rules: Vec<_> = read("alerts.yml")
            .lines()
            .filter(|line| !line.trim().starts_with("for: "))
            .map(str::to_owned)
            .collect();
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        fs::write(folder.path().join("alerts.yml"), rules.join("\n")).unwrap();
        std::os::unix::fs::symlink(targets, folder.path().join("targets")).unwrap();
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=info"]);
        command.arg("--web.listen-address=127.0.0.1:0").current_dir(folder.path());
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect(MISSING);
        let said = lines(process.stderr.take().unwrap());
        // It has to say where it listens; whatever else it says is read, so that it never waits to be.
        let mut told = Vec::new();
        let address = loop {
            let Ok(line) = said.recv_timeout(PATIENCE) else {
                panic!("prometheus does not start: {told:#?}")
            };
            if let Some(address) = line.split("\"Listening on\" address=").nth(1) {
                break address.split_whitespace().next().unwrap().to_owned();
            }
            told.push(line);
        };
        std::thread::spawn(move || said.iter().for_each(drop));
        let api = format!("http://{address}/api/v1");
        Self { process, api, fired: Mutex::default(), _folder: folder }
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = reqwest::Url::parse_with_params(&format!("{}/{path}", self.api), parameters).unwrap();
        let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer.to_string()) }
    }

    /// What an expression comes to at present.
    pub(super) async fn query(&self, expression: &str) -> Vec<Value> {
        let found = self.ask("query", &[("query", expression)]).await;
        found.unwrap_or_else(|error| panic!("{expression}: {error}"))["result"].as_array().unwrap().clone()
    }

    /// Whether an expression comes to any number.
    pub(super) async fn has(&self, expression: &str) -> bool {
        let number = |one: &Value| one["value"][1].as_str().is_some_and(|number| number != "NaN");
        self.query(expression).await.iter().any(number)
    }

    /// The series that were ever seen of this name and these labels.
    pub(super) async fn series(&self, selector: &str) -> Vec<Value> {
        let found = self.ask("series", &[("match[]", selector)]).await;
        found.unwrap_or_else(|error| panic!("{selector}: {error}")).as_array().unwrap().clone()
    }

    /// All alerts: name, query, labels and annotations.
    pub(super) async fn alerts(&self) -> Vec<Value> {
        let groups = until("prometheus to read its rules", async || {
            let rules = self.ask("rules", &[]).await.ok()?;
            rules["groups"].as_array().filter(|groups| !groups.is_empty()).cloned()
        });
        groups.await.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// The alerts that fire: their names, and what each fires for.
    pub(super) async fn firing(&self) -> BTreeSet<(String, String)> {
        let alerts = self.ask("alerts", &[]).await.unwrap()["alerts"].clone();
        let firing = alerts.as_array().unwrap().iter().filter(|alert| alert["state"] == "firing");
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap().to_owned();
        firing.map(|alert| (label(alert, "alertname"), label(alert, "instance"))).collect()
    }

    /// Whether an alert fires for a node.
    pub(super) async fn fires_at(&self, index: usize, name: &str) -> bool {
        let fires = self.firing().await.contains(&(name.to_owned(), instance(index)));
        if fires {
            self.note(&[name]);
        }
        fires
    }

    /// Waits until each of these has fired, for any node.
    pub(super) async fn until_fired(&self, wanted: &[&str]) {
        self.until(wanted, |_| true).await;
    }

    /// Waits until each of these has fired, for one node.
    pub(super) async fn until_fired_at(&self, index: usize, wanted: &[&str]) {
        let instance = instance(index);
        self.until(wanted, |fires_for| fires_for == instance).await;
    }

    async fn until(&self, wanted: &[&str], at: impl Fn(&str) -> bool) {
        let mut left = BTreeSet::from_iter(wanted);
        let end = Instant::now() + PATIENCE;
        while !left.is_empty() {
            let firing = self.firing().await;
            left.retain(|name| !firing.iter().any(|(fires, instance)| fires == **name && at(instance)));
            assert!(Instant::now() < end, "{left:?} do not fire; these do: {firing:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.note(wanted);
    }

    fn note(&self, fired: &[&str]) {
        self.fired.lock().unwrap().extend(fired.iter().map(|name| (*name).to_owned()));
    }

    /// The alerts that were waited for, and fired.
    pub(super) fn fired(&self) -> BTreeSet<String> {
        self.fired.lock().unwrap().clone()
    }
}

/// How a node is called.
pub(super) fn instance(index: usize) -> String {
    format!("node-{index}")
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
