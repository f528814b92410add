//! The first nodes of a network, which one process runs: one that fails begins again, and takes nobody with it.

use std::{fs, path::Path, time::Duration};

use session_node::{
    Config, NodeError,
    settings::{FILE, Shown},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{DESCRIPTION, PublicError, write};

/// How the settings begin of a node that the process runs which publishes its network.
const WRITTEN: &str = "# Written by session network publish";

/// How long a node that failed is waited with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// The first time, and again after it ran for the longest of these.
    pub(super) first: Duration,
    /// From one time to the next it is twice as long, up to this.
    pub(super) longest: Duration,
    /// Whoever fails in this time after all began cannot begin at all, as where a port is taken.
    pub(super) beginning: Duration,
}

/// The usual pauses.
pub(super) const PAUSES: Pauses = Pauses {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(300),
    beginning: Duration::from_secs(10),
};

/// Runs the node of this number until `stopping` says so, again and again where it fails.
///
/// # Errors
/// When it cannot begin, or does not stop well.
pub(super) async fn keep<F: Future<Output = Result<(), NodeError>>>(
    index: usize,
    mut stopping: watch::Receiver<bool>,
    pauses: Pauses,
    mut run: impl FnMut() -> F,
) -> Result<(), NodeError> {
    let (all_began, mut pause) = (Instant::now(), pauses.first);
    loop {
        let began = Instant::now();
        let ended = run().await;
        if *stopping.borrow() || all_began.elapsed() < pauses.beginning {
            return ended;
        }
        if began.elapsed() >= pauses.longest {
            pause = pauses.first;
        }
        let (why, seconds) = (ended.err().map(|error| error.to_string()), pause.as_secs());
        tracing::error!(
            node = index,
            why,
            seconds,
            "a node of this network stopped; it begins again after a pause"
        );
        tokio::select! {
            () = sleep(pause) => {}
            // Whoever stops all of them says so; whoever is gone cannot.
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        }
        pause = pause.saturating_mul(2).min(pauses.longest);
    }
}

/// Whether the node in a folder is one that the process runs which publishes its network.
#[must_use]
pub fn is_published(data: &Path) -> bool {
    fs::read_to_string(data.join(FILE)).is_ok_and(|text| text.starts_with(WRITTEN))
}

/// Writes down for whoever looks into a node's folder, as `session doctor` does, what it runs by.
pub(super) fn write_settings(config: &Config) -> Result<(), PublicError> {
    let mut text =
        format!("{WRITTEN}, which runs this node, whenever it starts.\nnetwork = \"../{DESCRIPTION}\"\n");
    for (name, endpoints) in [("listen", &config.listen), ("announce", &config.announce)] {
        let shown = Shown::List(endpoints.iter().map(ToString::to_string).collect());
        if let Some(value) = shown.to_toml().filter(|_| !endpoints.is_empty()) {
            text += &format!("{name} = {value}\n");
        }
    }
    text += &format!("http = \"{}\"\n", config.http);
    write(&config.data.join(FILE), &text)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, path::PathBuf};

    use session_chain::NetworkFile;
    use session_node::settings::{Effective, Layer};

    use super::*;

    const HOURS: Duration = Duration::from_secs(36_000);
    const SOON: Duration = Duration::from_millis(1);

    fn failed() -> Result<(), NodeError> {
        Err(NodeError::Stopped { part: "member" })
    }

    #[tokio::test]
    async fn a_node_that_fails_begins_again_until_all_stop() {
        let (stop, stopping) = watch::channel(false);
        let pauses = Pauses { first: SOON, longest: 2 * SOON, beginning: Duration::ZERO };
        let runs = Cell::new(0);
        let run = || {
            runs.set(runs.get() + 1);
            let (number, mut stopping) = (runs.get(), stopping.clone());
            let stop = &stop;
            async move {
                if number == 4 {
                    stop.send(true).unwrap();
                    let _ = stopping.wait_for(|stop| *stop).await;
                    return Ok(());
                }
                failed()
            }
        };
        keep(1, stopping.clone(), pauses, run).await.unwrap();
        assert_eq!(runs.get(), 4);
    }

    #[tokio::test]
    async fn whoever_cannot_begin_says_so_and_whoever_waits_stops_at_once() {
        let (stop, stopping) = watch::channel(false);
        let pauses = Pauses { first: HOURS, longest: HOURS, beginning: HOURS };
        let error = keep(1, stopping.clone(), pauses, || std::future::ready(failed())).await.unwrap_err();
        assert!(matches!(error, NodeError::Stopped { part: "member" }), "{error}");
        let later = Pauses { beginning: Duration::ZERO, ..pauses };
        let kept = keep(1, stopping, later, || std::future::ready(failed()));
        let (ended, ()) = tokio::join!(kept, async { stop.send(true).unwrap() });
        ended.unwrap();
    }

    #[test]
    fn what_a_node_runs_by_is_written_as_settings() {
        let folder = tempfile::tempdir().unwrap();
        let network = NetworkFile {
            name: "mynet".parse().unwrap(),
            local: false,
            seed: [0; 32],
            hf: session_protocols::answer::RULES,
            faucet: None,
            limits: Default::default(),
            nodes: Vec::new(),
            settlement: None,
        };
        let listen = vec!["/ip4/0.0.0.0/tcp/22021".parse().unwrap()];
        let http = "127.0.0.1:22080".parse().unwrap();
        let mut config = Config::new(network, folder.path().to_owned(), listen, http);
        config.announce = vec!["/ip4/9.9.9.9/tcp/22021".parse().unwrap()];
        assert!(!is_published(folder.path()));
        write_settings(&config).unwrap();
        assert!(is_published(folder.path()));
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let read = Effective::of(vec![Layer::file(&path, &text).unwrap()]).unwrap();
        let settings = read.settings();
        assert_eq!((&settings.listen, &settings.announce), (&config.listen, &config.announce));
        assert_eq!(settings.http, http);
        let named = PathBuf::from(settings.network.as_ref().unwrap());
        assert_eq!(named, folder.path().join("../network.toml"));
    }
}
