//! The node that joins, while it runs: in this process, or in a unit of systemd.

use session_node::{Config, NodeError};
use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
};

use super::service::Service;
use crate::failure::{Exit, Failure};

/// Where a node runs.
#[derive(Debug)]
pub(crate) enum Running {
    /// In this process, until `stop` is told or dropped.
    Here { stop: oneshot::Sender<()>, node: JoinHandle<Result<(), NodeError>> },
    /// In a unit, which goes on without this process.
    Unit(Service),
}

impl Running {
    /// Starts one in this process.
    pub(crate) fn here(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let node = tokio::spawn(session_node::run(config, async {
            // Whoever holds the other end says stop, or is gone.
            let _ = stopped.await;
        }));
        Self::Here { stop, node }
    }

    /// Completes when the node has ended though nobody told it to.
    pub(crate) async fn ended(&mut self) -> Failure {
        match self {
            Self::Here { node, .. } => match outcome(node.await) {
                Ok(()) => without_a_word(),
                Err(failure) => failure,
            },
            Self::Unit(service) => service.ended().await,
        }
    }

    /// Ends it, where it ends with this command.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        match self {
            Self::Here { stop, node } => {
                let _ = stop.send(());
                outcome(node.await)
            }
            Self::Unit(_) => Ok(()),
        }
    }

    /// What becomes of it when somebody interrupts this command.
    pub(crate) fn interrupted(&self) -> Failure {
        let message = match self {
            Self::Here { .. } => "the node was stopped before it was active".to_owned(),
            Self::Unit(service) => format!("the node is not active yet; it goes on in {}", service.unit()),
        };
        let remedy = "type the same command again: it goes on where it was";
        Failure::new(Exit::NotReady, "interrupted", message, remedy)
    }

    /// The unit that runs it, if one does.
    pub(crate) fn unit(&self) -> Option<&str> {
        match self {
            Self::Here { .. } => None,
            Self::Unit(service) => Some(service.unit()),
        }
    }
}

fn outcome(ended: Result<Result<(), NodeError>, JoinError>) -> Result<(), Failure> {
    ended.map_err(|_| without_a_word())?.map_err(Failure::from)
}

fn without_a_word() -> Failure {
    Failure::new(
        Exit::Failed,
        "stopped",
        "the node ended unexpectedly",
        "look at what it logged, and type the same command again",
    )
}
