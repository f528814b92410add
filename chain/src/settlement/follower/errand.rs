//! What an endpoint is asked for a task, one question after the other, and what its answers amount to.
//!
//! An endpoint's own answers must fit each other. Where they do not, it is wrong whatever the others say, and
//! that is its fault; where they do, they are its *version*, to be compared with the others'.

use core::fmt;
use std::collections::BTreeMap;

use alloy::primitives::{B256, keccak256};

use super::{Answer, Header, Known, Mark, Question, Which, search::Search, witness::Witness};
use crate::{
    ledger::{Block, Cursors},
    settlement::{
        contracts::{Contract, Followed},
        logs::{self, Log},
        trouble::{Replaced, Trouble},
    },
};

/// What those that take part are asked.
#[derive(Debug)]
pub(super) enum Task {
    /// Their final blocks.
    Heads,
    /// The block behind which following begins.
    Begin(u64),
    /// Whether a block that was agreed on is what it was, and whether the contracts count what was seen.
    /// `alone`: and nothing more in this cycle.
    Check { known: Known, alone: bool },
    /// Whether the contracts' state after their final block is what was told until then, by one of them alone.
    Prove(u64),
    /// One of them: where an epoch ends.
    Look { lead: usize, search: Search },
    /// What happened in some blocks.
    Range(Range),
}

/// Some blocks; none when `from` lies behind `to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Whether an epoch is said to end with the last one.
    pub(super) border: bool,
    /// Whether all proof is wanted even of nothing.
    pub(super) full: bool,
}

/// What an endpoint says, and its hash.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) digest: B256,
    pub(super) outcome: Outcome,
    /// Whether the contracts' own state has confirmed it.
    pub(super) confirmed: bool,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Head(Header),
    Begin(Header),
    /// The block is what it was.
    Same,
    /// All that was told is what happened, if that is confirmed.
    Proven,
    /// The block is another one.
    Replaced(Replaced),
    /// The last block of the epoch.
    Border(u64),
    /// No event; the range's last block, where it happens to be known.
    Quiet(Option<Header>),
    Told(Box<Told>),
}

/// A range with all its proof.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) to: Header,
    pub(super) after: Option<Header>,
    pub(super) blocks: Vec<Block>,
    pub(super) cursors: Cursors,
}

/// What an endpoint's answers are held against.
pub(super) struct Context<'a> {
    pub(super) followed: &'a Followed,
    pub(super) mark: &'a Mark,
    /// As far as the contracts' own state, or two endpoints, have shown what happened.
    pub(super) proven: &'a Mark,
    pub(super) pin: Known,
}

pub(super) enum Next {
    Ask(Question),
    Done(Box<Version>),
    Fault(Trouble),
}

/// What stops an errand for now: a question, or a fault.
type Step<T> = Result<T, Next>;

impl Version {
    fn new(digest: B256, outcome: Outcome) -> Self {
        Self { digest, outcome, confirmed: false }
    }

    /// The last block of a quiet range, where it is known.
    pub(super) const fn end(&self) -> Option<Header> {
        if let Outcome::Quiet(end) = self.outcome { end } else { None }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heads | Self::Look { .. } => f.write_str("the chain"),
            Self::Begin(height) | Self::Prove(height) => write!(f, "block {height}"),
            Self::Check { known, .. } => write!(f, "block {}", known.height),
            Self::Range(Range { from, to, .. }) if from >= to => write!(f, "block {to}"),
            Self::Range(Range { from, to, .. }) => write!(f, "blocks {from} to {to}"),
        }
    }
}

/// What comes next of an endpoint's task.
pub(super) fn next(context: &Context<'_>, task: &Task, witness: &Witness) -> Next {
    let errand = Errand { context, found: &witness.found, head: witness.head };
    let version = match task {
        Task::Heads => errand.head(witness.known),
        Task::Begin(height) => errand.header(*height).map(|header| {
            let digest = keccak256(header_bytes(&header));
            Version::new(digest, Outcome::Begin(header))
        }),
        Task::Check { known, .. } => errand.check(*known),
        Task::Prove(height) => errand.prove(*height),
        Task::Look { search, .. } => errand.look(*search),
        Task::Range(range) => errand.range(range),
    };
    version.map_or_else(|next| next, |version| Next::Done(Box::new(version)))
}

struct Errand<'a> {
    context: &'a Context<'a>,
    found: &'a [(Question, Answer)],
    head: Option<Header>,
}

impl<'a> Errand<'a> {
    fn ask(&self, question: Question) -> Step<&'a Answer> {
        let found = self.found.iter().find(|(asked, _)| *asked == question);
        found.map(|(_, answer)| answer).ok_or(Next::Ask(question))
    }

    fn header(&self, height: u64) -> Step<Header> {
        let Answer::Header(Some(header)) = self.ask(Question::Header(Which::At(height)))? else {
            return Err(Next::Fault(Trouble::UnknownBlock { height }));
        };
        Ok(*header)
    }

    fn head(&self, known: bool) -> Step<Version> {
        if !known && let Answer::Chain(found) = self.ask(Question::Chain)? {
            let wanted = self.context.followed.chain;
            if *found != wanted {
                return Err(Next::Fault(Trouble::WrongChain { found: *found, wanted }));
            }
        }
        let Answer::Header(Some(header)) = self.ask(Question::Header(Which::Final))? else {
            return Err(Next::Fault(Trouble::NoAnswer { what: "its final block" }));
        };
        Ok(Version::new(B256::ZERO, Outcome::Head(*header)))
    }

    fn check(&self, known: Known) -> Step<Version> {
        self.unchanged(known)?;
        let same = Version::new(known.hash, Outcome::Same);
        let confirmed = self.confirm(known, &self.context.mark.cursors)?;
        Ok(Version { confirmed, ..same })
    }

    fn prove(&self, height: u64) -> Step<Version> {
        let hash = self.header(height)?.hash;
        let confirmed = self.confirm(Known { height, hash }, &self.context.mark.cursors)?;
        Ok(Version { confirmed, ..Version::new(hash, Outcome::Proven) })
    }

    /// Goes on if a block is what it was.
    fn unchanged(&self, known: Known) -> Step<()> {
        let found = self.header(known.height)?.hash;
        if found == known.hash {
            return Ok(());
        }
        let replaced = Replaced { height: known.height, was: known.hash, is: found };
        // Another version than any that goes on.
        let digest = keccak256([b"replaced".as_slice(), found.as_slice()].concat());
        Err(Next::Done(Box::new(Version::new(digest, Outcome::Replaced(replaced)))))
    }

    /// Whether the contracts' state after a block has these cursors; false when the state is not kept.
    fn confirm(&self, block: Known, cursors: &Cursors) -> Step<bool> {
        let Answer::Cursors(state) = self.ask(Question::Cursors(block.hash))? else { return Ok(false) };
        match state {
            None => Ok(false),
            Some(state) if state == cursors => Ok(true),
            Some(state) => {
                let differs = |contract: &Contract| contract.cursor(state) != contract.cursor(cursors);
                let contract = Contract::ALL.into_iter().find(differs).unwrap_or(Contract::Staking);
                let number = contract.cursor(&self.context.proven.cursors).number.saturating_add(1);
                Err(Next::Fault(Trouble::Forged { contract, number, height: block.height }))
            }
        }
    }

    fn look(&self, mut search: Search) -> Step<Version> {
        loop {
            match search.next() {
                Ok(height) => search.found(height, self.header(height)?.time),
                Err(height) => return Ok(Version::new(B256::ZERO, Outcome::Border(height))),
            }
        }
    }

    fn range(&self, range: &Range) -> Step<Version> {
        let Range { from, to, border, full } = *range;
        let mut logs: &[Log] = &[];
        if from <= to
            && let Answer::Logs(told) = self.ask(Question::Logs { from, to })?
        {
            logs = told;
        }
        if logs.is_empty() && !border && !full {
            let end = self.head.filter(|head| head.height == to);
            return Ok(Version::new(B256::ZERO, Outcome::Quiet(end)));
        }
        // First: in a chain that was replaced, nothing else needs to fit.
        self.unchanged(self.context.pin)?;
        let end = self.header(to)?;
        let after = if border { Some(self.header(to.saturating_add(1))?) } else { None };
        if after.is_some_and(|after| after.parent != end.hash || after.time < end.time) {
            return Err(Next::Fault(Trouble::Unlinked { height: to }));
        }
        let times = self.times(logs)?;
        let (blocks, cursors) = self.read(range, &end, logs, &times).map_err(Next::Fault)?;
        let known = Known { height: to, hash: end.hash };
        // Before the contracts were there is nothing to ask.
        let confirmed = if to < self.context.mark.height { true } else { self.confirm(known, &cursors)? };
        let mut bytes = header_bytes(&end).to_vec();
        bytes.extend(after.iter().flat_map(header_bytes));
        logs.iter().zip(&times).for_each(|(log, time)| logs::append(log, *time, &mut bytes));
        let told = Told { to: end, after, blocks, cursors };
        Ok(Version { digest: keccak256(bytes), outcome: Outcome::Told(Box::new(told)), confirmed })
    }

    /// The time of each log's block, from the log or from its header.
    fn times(&self, logs: &[Log]) -> Step<Vec<u64>> {
        let headers: BTreeMap<u64, &Header> = self
            .found
            .iter()
            .filter_map(|(question, answer)| match (question, answer) {
                (Question::Header(Which::At(height)), Answer::Header(Some(header))) => {
                    Some((*height, header))
                }
                _ => None,
            })
            .collect();
        let time = |log: &Log| match (headers.get(&log.height), log.time) {
            (Some(header), _) if header.hash != log.hash => {
                Err(Next::Fault(Trouble::NotFinal { height: log.height }))
            }
            (Some(header), time) if time.is_some_and(|time| time != header.time) => {
                Err(Next::Fault(Trouble::NotFinal { height: log.height }))
            }
            (Some(header), _) => Ok(header.time),
            (None, Some(time)) => Ok(time),
            (None, None) => Err(Next::Ask(Question::Header(Which::At(log.height)))),
        };
        logs.iter().map(time).collect()
    }

    /// Counts, hashes and reads the logs of a range.
    fn read(
        &self,
        range: &Range,
        end: &Header,
        logs: &[Log],
        times: &[u64],
    ) -> Result<(Vec<Block>, Cursors), Trouble> {
        let mark = self.context.mark;
        let mut cursors = mark.cursors;
        let mut blocks: Vec<Block> = Vec::new();
        let mut last = (0, 0, B256::ZERO, mark.time);
        for (log, time) in logs.iter().zip(times) {
            let Log { height, hash, index, .. } = *log;
            if height < range.from || height > range.to {
                return Err(Trouble::Outside { height });
            }
            // First, since its error says most.
            let input = logs::read(self.context.followed, &mut cursors, log)?;
            let (before, at, block, then) = last;
            let ordered = if height == before { hash == block && index > at && *time == then } else { true };
            if log.removed || height < before || !ordered || *time < then || *time > end.time {
                return Err(Trouble::NotFinal { height });
            }
            last = (height, index, hash, *time);
            let Some(input) = input else { continue };
            match blocks.last_mut() {
                Some(block) if block.height == height => block.inputs.push(input),
                _ => blocks.push(Block { height, time: *time, inputs: vec![input] }),
            }
        }
        Ok((blocks, cursors))
    }
}

fn header_bytes(header: &Header) -> [u8; 80] {
    let mut bytes = [0; 80];
    let Header { height, hash, parent, time } = *header;
    let parts = [&height.to_be_bytes()[..], hash.as_slice(), parent.as_slice(), &time.to_be_bytes()];
    bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(into, byte)| *into = *byte);
    bytes
}
