//! A ledger that begins: with that of a checkpoint, if there is one to be had.

use std::sync::Arc;

use session_protocols::snapshot::{Answer, Request};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use tracing::info;

use super::{Crossed, FollowError, Host, NAP, Settled, duration, now};
use crate::settlement::{
    follower::Mark,
    state::{StateError, StateFile},
    sync::{Begun, Found, Input, Output, Syncing},
};

/// Peers that may have the ledger of a checkpoint.
#[derive(Clone, Debug)]
pub struct Source {
    /// How many there are.
    pub peers: usize,
    /// Takes questions to them.
    pub ask: mpsc::Sender<Ask>,
}

/// A question to a peer.
#[derive(Debug)]
pub struct Ask {
    /// Which of them, from 0.
    pub peer: usize,
    /// What is asked.
    pub request: Request,
    /// Takes the answer; dropped where there is none.
    pub answer: oneshot::Sender<Answer>,
}

impl Host {
    /// Begins with the ledger of a checkpoint, if there is one to be had, while nothing has come of the logs. None when
    /// it is to end.
    pub(super) async fn begin(
        &mut self,
        mut file: StateFile,
        syncing: &mut Syncing,
        source: &Source,
        end: &mut oneshot::Receiver<()>,
    ) -> Result<Option<StateFile>, FollowError> {
        info!(peers = source.peers, "nothing is kept of the ledger: the last checkpoint is asked for");
        let mut asked: JoinSet<Input> = JoinSet::new();
        loop {
            while let Some(output) = syncing.poll() {
                match output {
                    Output::AskContract { endpoint } => {
                        let Some(one) = self.endpoints.get(endpoint).cloned() else { continue };
                        let (followed, patience) = (self.followed, self.answer);
                        asked.spawn(async move {
                            let found = timeout(patience, one.accepted(&followed)).await;
                            Input::Accepted { endpoint, found: found.ok().and_then(Result::ok) }
                        });
                    }
                    Output::Ask { id, peer, request } => {
                        let (answer, answered) = oneshot::channel();
                        let (ask, question) = (source.ask.clone(), Ask { peer, request, answer });
                        asked.spawn(async move {
                            let answer = match ask.send(question).await {
                                Ok(()) => answered.await.ok(),
                                Err(_) => None,
                            };
                            Input::Answer { id, answer }
                        });
                    }
                    Output::Restore(rows) => {
                        (file, _) = on_file(file, move |file| file.restore_names(&rows)).await?;
                    }
                    Output::Forget => file.forget(),
                    Output::Plant => {
                        let root;
                        (file, root) = on_file(file, StateFile::plant_names).await?;
                        syncing.handle(now(), Input::Planted { root });
                    }
                    Output::Begin(found) => {
                        let epoch = found.checkpoint.border.epoch;
                        let settled;
                        (file, settled) = on_file(file, move |file| take_up(file, *found)).await?;
                        info!(epoch, height = settled.mark.height, "the ledger begins with a checkpoint");
                        self.settle.send_replace(settled);
                        self.begun = Begun::Checkpoint { epoch };
                        return Ok(Some(file));
                    }
                    Output::Logs(why) => {
                        info!(%why, "the ledger begins with all logs of the contracts");
                        self.begun = Begun::Logs;
                        return Ok(Some(file));
                    }
                }
            }
            let begun = syncing.progress();
            self.tell.send_if_modified(|status| {
                let other = status.begun != begun;
                status.begun = begun;
                other
            });
            let nap = syncing.deadline().map_or(NAP, |deadline| duration(deadline.since(now())).min(NAP));
            let input = tokio::select! {
                biased;
                _ = &mut *end => return Ok(None),
                Some(answered) = asked.join_next() => match answered {
                    Ok(input) => input,
                    // It failed, and its question is given up in time.
                    Err(_) => continue,
                },
                () = sleep(nap) => Input::Tick,
            };
            syncing.handle(now(), input);
        }
    }
}

/// Works on the file where waiting is allowed.
async fn on_file<T: Send + 'static>(
    mut file: StateFile,
    work: impl FnOnce(&mut StateFile) -> Result<T, StateError> + Send + 'static,
) -> Result<(StateFile, T), FollowError> {
    let work = move || -> Result<_, FollowError> {
        let done = work(&mut file)?;
        Ok((file, done))
    };
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// Keeps the ledger of a checkpoint together with the names that were put into the file.
fn take_up(file: &mut StateFile, found: Found) -> Result<Settled, StateError> {
    let Found { ledger, checkpoint } = found;
    let (height, hash, cursors) =
        (checkpoint.border.height, checkpoint.border.hash, checkpoint.border.cursors);
    // The border's block is older than this instant, and all that follow are not.
    let instant = ledger.border().saturating_sub(ledger.parameters().epoch_seconds.get());
    let mark = Mark { height, hash, time: instant.saturating_sub(1), epoch: ledger.epoch(), cursors };
    let crossed = Crossed::new(&ledger, checkpoint);
    file.keep(&mark, &ledger, Some(&crossed))?;
    let (names, behind) = (Arc::new(file.index()?), Arc::new(ledger.to_bytes()));
    let Crossed { checkpoint, signers, roll } = crossed;
    Ok(Settled { ledger: Arc::new(ledger), mark, checkpoint: Some(checkpoint), signers, roll, names, behind })
}
