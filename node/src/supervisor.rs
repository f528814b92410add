//! What the service manager that started the process (systemd) is told: that the node serves, how it is, that it lives,
//! and that it stops.
//!
//! That it lives is said only when the task that owns the network and the thread that owns the store have both just
//! answered. So a node that hangs is restarted, however well its timers run.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    member::{self, Inspection, Job},
    network::Contacts,
};

/// How often it is looked how things are, unless the manager wants to hear more often.
const LOOK: Duration = Duration::from_secs(10);
/// The pause after a look that nobody answered.
const AGAIN: Duration = Duration::from_millis(200);
/// How long the network's task may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the network's task whether it goes on; it answers at once.
pub(crate) type Beat = oneshot::Sender<()>;

/// The service manager that started this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// After how long without a word it takes the process for hung; none if it does not.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment tells of, in `NOTIFY_SOCKET` and `WATCHDOG_USEC`; none where something else
    /// started the process.
    pub fn of_environment() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")?;
        Some(Self { watchdog: sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) })
    }

    /// Tells how the node is, again and again.
    pub(crate) async fn keep_told(
        self,
        jobs: mpsc::Sender<Job>,
        contacts: watch::Receiver<Contacts>,
        beats: mpsc::Sender<Beat>,
    ) {
        let every = self.watchdog.map_or(LOOK, |time| (time / 2).min(LOOK));
        let mut told = Told::default();
        loop {
            let found = look(&jobs, &contacts, &beats).await;
            let pause = if found.is_some() { every } else { AGAIN };
            if !say(&told.after(found)) {
                // Once it listens again it hears all.
                told = Told::default();
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Tells that the node stops.
    pub(crate) fn stopping(&self) {
        say(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

/// What was told already.
#[derive(Debug, Default)]
struct Told {
    ready: bool,
    status: String,
}

impl Told {
    /// What is to be told after a look: nothing, where somebody did not answer.
    fn after(&mut self, found: Option<String>) -> Vec<NotifyState<'_>> {
        let Some(status) = found else { return Vec::new() };
        let mut words = vec![NotifyState::Watchdog];
        if !std::mem::replace(&mut self.ready, true) {
            words.push(NotifyState::Ready);
        }
        if self.status != status {
            self.status = status;
            words.push(NotifyState::Status(&self.status));
        }
        words
    }
}

/// Says it; whether it was heard.
fn say(words: &[NotifyState<'_>]) -> bool {
    if words.is_empty() {
        return true;
    }
    let said = sd_notify::notify(words);
    if let Err(error) = &said {
        tracing::debug!(%error, "the service manager does not listen");
    }
    said.is_ok()
}

/// How things are; none when the network's task or the store's thread does not answer.
async fn look(
    jobs: &mpsc::Sender<Job>,
    contacts: &watch::Receiver<Contacts>,
    beats: &mpsc::Sender<Beat>,
) -> Option<String> {
    let (beat, answered) = oneshot::channel();
    let network = async {
        beats.send(beat).await.ok()?;
        answered.await.ok()
    };
    tokio::time::timeout(PATIENCE, network).await.ok().flatten()?;
    let inspection = member::inspect(jobs).await?;
    let peers = contacts.borrow().peers;
    Some(status(&inspection, peers))
}

/// How a node is, in a line.
fn status(inspection: &Inspection, peers: usize) -> String {
    let place = match inspection.swarm {
        Some(swarm) if inspection.ready => format!("active, in swarm {swarm}"),
        Some(swarm) => format!("in swarm {swarm}, catching up with it"),
        None => "in no swarm yet".to_owned(),
    };
    let disk = if inspection.full { "; the disk is full" } else { "" };
    format!("{place}, in contact with {peers} nodes{disk}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Inspection = Inspection {
        swarm: None,
        ready: false,
        current: 0,
        members: 0,
        messages: 0,
        bytes: 0,
        subscriptions: 0,
        handing_over: false,
        full: false,
        fingerprint: [0; 32],
    };

    #[tokio::test]
    async fn a_node_lives_when_its_network_and_its_store_answer_and_not_otherwise() {
        let (jobs, mut queue) = mpsc::channel(1);
        let (beats, mut pulse) = mpsc::channel::<Beat>(1);
        let (_contacts, contacts) = watch::channel(Contacts::default());
        let mut told = Told::default();
        let mut words = async || {
            let found = look(&jobs, &contacts, &beats).await;
            told.after(found).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let store = tokio::spawn(async move {
            while let Some(Job::Inspect(answer)) = queue.recv().await {
                let _ = answer.send(IDLE);
            }
        });
        assert!(words().await.is_empty(), "the network's task hangs");
        let network = tokio::spawn(async move {
            while let Some(beat) = pulse.recv().await {
                let _ = beat.send(());
            }
        });
        let status = "STATUS=in no swarm yet, in contact with 0 nodes";
        assert_eq!(words().await, ["WATCHDOG=1", "READY=1", status]);
        assert_eq!(words().await, ["WATCHDOG=1"], "nothing is said twice");
        store.abort();
        let _ = store.await;
        assert!(words().await.is_empty(), "the store's thread has ended");
        network.abort();
    }

    #[test]
    fn a_full_disk_is_told_of() {
        let full = Inspection { full: true, ..IDLE };
        assert_eq!(status(&full, 3), "in no swarm yet, in contact with 3 nodes; the disk is full");
    }
}
