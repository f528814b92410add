//! The node that joins, while it runs: in this process, or in a unit of systemd.

use std::{error::Error, io, path::Path};

use session_node::{Config, NodeError};
use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
};

use super::{place::PORT_TAKEN, service::Service};
use crate::failure::{Exit, Failure, chain};

/// What to do about another process that has the node's folder.
const STOP_THAT: &str = "stop it first (Ctrl-C where it runs, or systemctl stop its unit), then type the same command again; \
                         or make another node: --name NAME";

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

    /// Completes when the node has ended though nobody told it to: with the step that this is a matter of, none where
    /// that is the one under way, and why.
    pub(crate) async fn ended(&mut self) -> (Option<&'static str>, Failure) {
        match self {
            Self::Here { node, .. } => match node.await {
                Ok(Err(error)) => broken(error),
                Ok(Ok(())) | Err(_) => (None, without_a_word()),
            },
            Self::Unit(service) => (None, service.ended().await),
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

/// The step that an error of the node is a matter of, none where that is the one under way; and the error, with what
/// whoever joins can do about it.
fn broken(error: NodeError) -> (Option<&'static str>, Failure) {
    if is_full(&error) {
        let remedy =
            "make room, or name a folder on another disk: --data DIR; then type the same command again";
        return (Some("machine"), Failure::new(Exit::Failed, "disk", chain(&error), remedy));
    }
    if error.code() == "in_use" {
        return (Some("machine"), Failure::new(Exit::Refused, "in_use", chain(&error), STOP_THAT));
    }
    match &error {
        NodeError::Listen { .. } => {
            (Some("address"), Failure::new(Exit::Failed, "port", error.to_string(), PORT_TAKEN))
        }
        NodeError::Http { .. } => {
            let remedy =
                "stop whatever listens there (ss -lntup shows it), or name another port: --http-port PORT";
            (Some("start"), Failure::new(Exit::Failed, error.code(), chain(&error), remedy))
        }
        NodeError::Data { .. } | NodeError::Store(_) | NodeError::Signed { .. } => {
            (Some("machine"), error.into())
        }
        NodeError::Key(_) => (Some("keys"), error.into()),
        NodeError::Rpc(_) => (Some("chain"), error.into()),
        NodeError::Follow(_) => (Some("synced"), error.into()),
        NodeError::InUse { .. }
        | NodeError::NotRegistered { .. }
        | NodeError::Door(_)
        | NodeError::Stopped { .. }
        | _ => (None, error.into()),
    }
}

/// Whether a disk that is full is at the bottom of it.
fn is_full(error: &NodeError) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        next = cause.source();
    }
    error.code() == "store" && error.remedy().starts_with("make room")
}

/// Refuses a folder that a node runs in.
pub(crate) fn in_use(data: &Path) -> Failure {
    Failure::new(Exit::Refused, "in_use", format!("a node runs in {} already", data.display()), STOP_THAT)
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

#[cfg(test)]
mod tests {
    use session_node::keystore::KeyError;

    use super::*;

    #[test]
    fn an_error_of_the_node_is_told_of_its_step_with_what_to_do() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let data = || Path::new("/data").to_owned();
        let full = NodeError::Data { path: data(), cause: io(io::ErrorKind::StorageFull) };
        let key_on_full = KeyError::File { path: data(), cause: io(io::ErrorKind::StorageFull) };
        let closed = NodeError::Data { path: data(), cause: io(io::ErrorKind::PermissionDenied) };
        let listen = NodeError::Listen {
            endpoint: "/ip4/203.0.113.7/tcp/22021".parse().unwrap(),
            reason: "address in use".to_owned(),
        };
        let http = NodeError::Http {
            address: "127.0.0.1:22080".parse().unwrap(),
            cause: io(io::ErrorKind::AddrInUse),
        };
        for (error, step, code, exit, remedy) in [
            (full, Some("machine"), "disk", Exit::Failed, "make room"),
            (key_on_full.into(), Some("machine"), "disk", Exit::Failed, "make room"),
            (closed, Some("machine"), "data_folder", Exit::Failed, "belongs to this user"),
            (NodeError::InUse { path: data() }, Some("machine"), "in_use", Exit::Refused, "--name NAME"),
            (listen, Some("address"), "port", Exit::Failed, "--port PORT"),
            (http, Some("start"), "http", Exit::Failed, "--http-port PORT"),
            (KeyError::Content { path: data() }.into(), Some("keys"), "key", Exit::Failed, "backup"),
            (NodeError::Stopped { part: "links" }, None, "stopped", Exit::Failed, "the log"),
        ] {
            let told = error.to_string();
            let (of, failure) = broken(error);
            assert_eq!((of, failure.code, failure.exit), (step, code, exit), "{failure:?}");
            assert!(failure.message.starts_with(&told), "{failure:?}");
            assert!(failure.remedy.contains(remedy), "{failure:?}");
        }
    }
}
