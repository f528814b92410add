//! A ledger that begins, or goes on, with that of a checkpoint, if there is one to be had.

use std::{sync::Arc, time::Duration};

use session_protocols::snapshot::{Answer, Request};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use tracing::info;

use super::{Crossed, FollowError, Host, NAP, Settled, duration, now};
use crate::settlement::{
    contracts::Followed,
    endpoint::Endpoint,
    follower::Mark,
    state::{StateError, StateFile},
    sync::{Begun, Found, Input, Output, Syncing, Why},
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

/// Who is asked for the ledger of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(in crate::settlement) struct Asked<'a> {
    pub(in crate::settlement) followed: Followed,
    /// Which checkpoint it is.
    pub(in crate::settlement) endpoints: &'a [Endpoint],
    /// How long one of these may take to answer.
    pub(in crate::settlement) answer: Duration,
    pub(in crate::settlement) source: &'a Source,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::settlement) enum Came {
    /// The ledger of the checkpoint of an epoch, which is kept.
    Checkpoint { epoch: u64, settled: Box<Settled> },
    /// Nothing: the logs are to be gone on with.
    Logs(Why),
    /// Nothing: it was to end.
    Ended,
}

impl Host {
    /// Begins, or goes on, with the ledger of a checkpoint, if there is one to be had, and says whether that is so.
    /// None when it is to end.
    pub(super) async fn begin(
        &mut self,
        file: StateFile,
        syncing: &mut Syncing,
        source: &Source,
        end: &mut oneshot::Receiver<()>,
    ) -> Result<Option<(StateFile, bool)>, FollowError> {
        let (mark, peers) = (self.settle.borrow().mark, source.peers);
        let bare = mark.is_bare();
        if bare {
            info!(peers, "nothing is kept of the ledger: the last checkpoint is asked for");
        } else {
            let Mark { height, epoch, .. } = mark;
            info!(
                peers,
                height,
                epoch,
                "the ledger is far behind, or is not given the logs that come next: the last checkpoint is asked for"
            );
        }
        let (followed, answer) = (self.followed, self.answer);
        let asked = Asked { followed, endpoints: &self.endpoints, answer, source };
        let tell = |begun: Begun| {
            self.tell.send_if_modified(|status| {
                let other = status.begun != begun;
                status.begun = begun;
                other
            });
        };
        let (file, came) = begin(file, syncing, asked, tell, end).await?;
        let other = match came {
            Came::Ended => return Ok(None),
            Came::Checkpoint { epoch, settled } => {
                let height = settled.mark.height;
                if bare {
                    info!(epoch, height, "the ledger begins with a checkpoint");
                } else {
                    info!(epoch, height, was = mark.height, "the ledger goes on with a checkpoint");
                }
                self.settle.send_replace(*settled);
                self.begun = Begun::Checkpoint { epoch };
                true
            }
            Came::Logs(why) if bare => {
                info!(%why, "the ledger begins with all logs of the contracts");
                self.begun = Begun::Logs;
                false
            }
            Came::Logs(why) => {
                info!(%why, "the ledger goes on with the logs");
                false
            }
        };
        Ok(Some((file, other)))
    }
}

/// Has `syncing` find the ledger of a checkpoint, and puts it into the file, in place of what is there, unless `end`
/// completes first.
pub(in crate::settlement) async fn begin(
    mut file: StateFile,
    syncing: &mut Syncing,
    Asked { followed, endpoints, answer: patience, source }: Asked<'_>,
    mut tell: impl FnMut(Begun) + Send,
    end: &mut (impl Future + Unpin + Send),
) -> Result<(StateFile, Came), FollowError> {
    let mut asked: JoinSet<Input> = JoinSet::new();
    // It is due: what it was waiting for is over.
    syncing.handle(now(), Input::Tick);
    loop {
        while let Some(output) = syncing.poll() {
            match output {
                Output::AskContract { endpoint } => {
                    let Some(one) = endpoints.get(endpoint).cloned() else { continue };
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
                    let (file, settled) = on_file(file, move |file| take_up(file, *found)).await?;
                    let came = Came::Checkpoint { epoch, settled: Box::new(settled) };
                    return Ok((file, came));
                }
                Output::Logs(why) => return Ok((file, Came::Logs(why))),
            }
        }
        tell(syncing.progress());
        let nap = syncing.deadline().map_or(NAP, |deadline| duration(deadline.since(now())).min(NAP));
        let input = tokio::select! {
            biased;
            _ = &mut *end => return Ok((file, Came::Ended)),
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
