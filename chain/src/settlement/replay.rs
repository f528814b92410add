//! The ledger at this moment, for programs that ask once and end: made from the chain's final events.
//!
//! Where these go far back, or have been dropped, it begins with the ledger of the last checkpoint, if it is told who
//! may have that.
//!
//! The file it may begin with always stands right behind the border whose checkpoint the contract accepted, or
//! an earlier one: what can be proved to the contract is what the ledger said there.

use std::{path::Path, time::Duration};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use session_protocols::{Span, Time};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    follower::{Advance, Answer, Failure, Follower, Input, MAX_INPUTS, Output, Pace, Status},
    host::{Asked, Came, Crossed, FollowError, Options, begin, duration, now},
    state::{StateError, StateFile},
    sync::{self, Begun, Syncing},
    trouble::{Hold, Stop, Trouble},
};
use crate::ledger::Ledger;

/// For somebody who waits.
pub const PACE: Pace = Pace {
    poll: Span::millis(500),
    answer: Span::secs(5),
    patience: Span::secs(8),
    leave_out: Span::secs(2),
    stale: Span::secs(600),
};
/// How long nothing may be believed until it is given up.
const GIVE_UP: Span = Span::secs(12);
/// So many borders are followed until the file is written, while they lie before the one that it is for; fewer, once
/// there were as many inputs as one commit may have.
const KEEP_EVERY: u64 = 64;

/// What came of it.
#[derive(Debug)]
pub struct Replayed {
    /// The ledger at the newest final block.
    pub ledger: Ledger,
    /// The height of that block.
    pub height: u64,
    /// The ledger right behind the border whose checkpoint was asked for; none where that is not final.
    pub accepted: Option<Ledger>,
    /// Names, as they are in [`Self::ledger`].
    pub names: StateFile,
    /// With what it began.
    pub begun: Begun,
}

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The chain cannot be followed, or its file not be used.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// Nobody can be believed.
    #[error("the settlement chain cannot be read: {hold}{}", said(endpoint.as_ref()))]
    Held {
        /// Why.
        hold: Hold,
        /// An endpoint, by its host, and what it did.
        endpoint: Option<(String, Trouble)>,
    },
    /// What was final was replaced.
    #[error("the settlement chain cannot be relied on: {0}")]
    Stopped(Stop),
}

impl ReplayError {
    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Follow(FollowError::NoEndpoint) => {
                "name endpoints in the network file: rpc = [\"https://...\"]"
            }
            Self::Follow(FollowError::State(_)) => "do what it says; the file is made again from the chain",
            Self::Follow(FollowError::Ledger(_)) => "check the contracts' addresses in the network file",
            Self::Held { endpoint: Some((_, trouble)), .. } => trouble.remedy(),
            Self::Held { hold, endpoint: None } => hold.remedy(),
            Self::Stopped(stop) => stop.remedy(),
        }
    }
}

/// Follows the chain up to its newest final block.
///
/// `accepted` is the epoch whose checkpoint the contract accepted last. With a `path` the next replay begins
/// there; while another program uses that file, this one begins at the first block. With a source in the options that
/// is with the last checkpoint instead, where it is 64 epochs or more away, or its logs are dropped.
///
/// # Errors
/// When nobody serves the chain, nobody can be believed, or the file cannot be used.
pub async fn replay(
    path: Option<&Path>,
    options: Options,
    accepted: Option<u64>,
    mut progress: impl FnMut(&Status) + Send,
) -> Result<Replayed, ReplayError> {
    let Options { followed, parameters, endpoints, pace, seed, source } = options;
    if endpoints.is_empty() {
        return Err(FollowError::NoEndpoint.into());
    }
    let opened = match path.map(|path| StateFile::open(path, &followed, parameters)) {
        None | Some(Err(StateError::InUse { .. })) => StateFile::in_memory(&followed, parameters),
        Some(opened) => opened,
    };
    let (file, mark, ledger) = opened.map_err(FollowError::from)?;
    let follow = |mark| {
        let names = endpoints.iter().map(|endpoint| endpoint.name().to_owned());
        Follower::new(followed, parameters, pace, mark, names, ChaCha8Rng::from_seed(seed))
    };
    let mut follower = follow(mark);
    let epoch = (!mark.is_bare()).then_some(mark.epoch);
    let mut way = source.map(|source| {
        let rng = ChaCha8Rng::from_seed(seed);
        let syncing = Syncing::new(parameters, endpoints.len(), source.peers, rng);
        (syncing.by_logs(epoch), source)
    });
    let mut begun = if epoch.is_none() { Begun::Logs } else { Begun::Kept };
    let mut replay = Replay { file, wanted: accepted, accepted: None, ledger, unkept: 0, read: false };
    replay.look_back();
    let mut asked = JoinSet::new();
    let mut held: Option<Time> = None;
    loop {
        while let Some(output) = follower.poll() {
            match output {
                Output::Ask { endpoint: number, id, question } => {
                    let Some(endpoint) = endpoints.get(number).cloned() else { continue };
                    asked.spawn(async move {
                        let answer =
                            timeout(duration(pace.answer), endpoint.answer(&followed, question)).await;
                        let late = Err(Failure::Trouble(Trouble::Late));
                        (number, id, answer.unwrap_or(late))
                    });
                }
                Output::Advance(advance) => replay.advance(&advance)?,
            }
        }
        let status = Status { begun, ..follower.status(now()) };
        progress(&status);
        // Nothing that was read is thrown away.
        if let Some((syncing, source)) = way.as_mut().filter(|_| !replay.read) {
            syncing.handle(now(), sync::Input::Logs(follower.led(epoch, &status)));
            if syncing.deadline().is_some_and(|due| due <= now()) {
                let asked_for =
                    Asked { followed, endpoints: &endpoints, answer: duration(pace.answer), source };
                let tell = |begun| progress(&Status { begun, ..status.clone() });
                let mut never = std::future::pending::<()>();
                let (file, came) = Box::pin(begin(replay.file, syncing, asked_for, tell, &mut never)).await?;
                replay.file = file;
                if let Came::Checkpoint { epoch, settled } = came {
                    replay.ledger = Ledger::clone(&settled.ledger);
                    replay.look_back();
                    begun = Begun::Checkpoint { epoch };
                    follower = follow(settled.mark);
                    (asked, way) = (JoinSet::new(), None);
                }
                continue;
            }
        }
        if let Some(stop) = status.stopped {
            return Err(ReplayError::Stopped(stop));
        }
        match status.held {
            None | Some(Hold::Apart { .. }) => held = None,
            Some(hold) => {
                if now().since(*held.get_or_insert_with(now)) >= GIVE_UP {
                    let mut all = status.endpoints.into_iter();
                    let endpoint = all.find_map(|endpoint| Some((endpoint.name, endpoint.trouble?)));
                    return Err(ReplayError::Held { hold, endpoint });
                }
            }
        }
        if held.is_none() && status.head.is_some_and(|head| status.height >= head) {
            let Replay { ledger, accepted, file, .. } = replay;
            return Ok(Replayed { ledger, height: status.height, accepted, names: file, begun });
        }
        let nap = follower.deadline().map_or(Duration::ZERO, |deadline| duration(deadline.since(now())));
        let input = tokio::select! {
            biased;
            Some(answered) = asked.join_next() => {
                let Ok((endpoint, id, answer)): Result<(usize, u64, Result<Answer, Failure>), _> = answered else {
                    continue;
                };
                Input::Answer { endpoint, id, answer }
            }
            () = sleep(nap) => Input::Tick,
        };
        follower.handle(now(), input);
    }
}

struct Replay {
    file: StateFile,
    wanted: Option<u64>,
    accepted: Option<Ledger>,
    ledger: Ledger,
    /// Inputs since the file was written.
    unkept: usize,
    /// Whether anything was read of the chain.
    read: bool,
}

impl Replay {
    /// What the file began with may be what is wanted.
    fn look_back(&mut self) {
        let behind = self.wanted.and_then(|epoch| epoch.checked_add(1));
        if behind == Some(self.ledger.epoch()) {
            self.accepted = Some(self.ledger.clone());
        }
    }

    fn advance(&mut self, advance: &Advance) -> Result<(), FollowError> {
        self.read = true;
        self.file.name(&advance.blocks)?;
        for block in &advance.blocks {
            self.ledger.apply(block)?;
            self.unkept = self.unkept.saturating_add(block.inputs.len());
        }
        let Some(border) = advance.border.clone() else { return Ok(()) };
        let epoch = border.epoch;
        let names = self.file.cross_names(self.ledger.border())?;
        let (_, checkpoint) = self.ledger.cross(border, names)?;
        let Some(wanted) = self.wanted else { return Ok(()) };
        if epoch == wanted {
            self.accepted = Some(self.ledger.clone());
        }
        let due = epoch.is_multiple_of(KEEP_EVERY) || self.unkept >= MAX_INPUTS;
        if epoch == wanted || epoch < wanted && due {
            self.file.keep(&advance.mark, &self.ledger, Some(&Crossed::new(&self.ledger, checkpoint)))?;
            self.unkept = 0;
        }
        Ok(())
    }
}

fn said(endpoint: Option<&(String, Trouble)>) -> String {
    endpoint.map(|(name, trouble)| format!(" ({name} {trouble})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, U256};
    use session_protocols::names::NameId;

    use super::*;
    use crate::{
        ledger::{Block, Border, Cursors, Input as Happened, Parameters},
        names::Change,
        network::Contracts,
        settlement::{Followed, Mark},
    };

    #[test]
    fn the_file_is_written_once_as_much_happened_as_one_commit_may_hold() {
        let [staking, checkpoints, pool, token, factory, names] =
            [1, 2, 3, 4, 5, 6].map(Address::repeat_byte);
        let contracts = Contracts { staking, checkpoints, pool, token, factory, names };
        let followed = Followed { chain: 1, start: 1, contracts };
        let parameters = Parameters { genesis: 0, ..Parameters::default() };
        let (file, mark, ledger) = StateFile::in_memory(&followed, parameters).unwrap();
        let mut replay = Replay { file, wanted: Some(9), accepted: None, ledger, unkept: 0, read: false };
        let mut next = 0_u64;
        // How many borders the file has seen once one more was crossed.
        let mut cross = |epoch: u64, happened: usize| {
            let inputs = (0..happened).map(|_| {
                next += 1;
                let id = NameId::from_bytes(B256::from(U256::from(next)).0);
                Happened::Name(Change::Registered { id, owner: pool, expires: u64::MAX, version: 1 })
            });
            let (height, hash) = (epoch + 1, B256::repeat_byte(epoch as u8 + 1));
            let blocks = vec![Block { height, time: epoch * 3_600 + 1, inputs: inputs.collect() }];
            let border = Some(Border { epoch, height, hash, cursors: Cursors::default() });
            let mark = Mark { height, hash, epoch: epoch + 1, ..mark };
            replay.advance(&Advance { blocks, border, mark }).unwrap();
            replay.file.checkpoints().unwrap().len()
        };
        assert_eq!((cross(0, 1), cross(1, MAX_INPUTS - 1)), (1, 1));
        assert_eq!((cross(2, 1), cross(3, MAX_INPUTS - 1)), (2, 2));
        assert_eq!((cross(4, 0), cross(5, 1), cross(6, 0)), (2, 3, 3));
    }
}
