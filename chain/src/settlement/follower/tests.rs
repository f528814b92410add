#![expect(clippy::wildcard_enum_match_arm, reason = "what the other endpoints do is what an honest one does")]

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, Bytes, LogData, U256, keccak256},
    sol_types::SolEvent,
};
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::{
    ledger::{Border, Cursor, Cursors, Input as Happened},
    network::Contracts,
    settlement::{
        contracts::events,
        logs::{Log, read, roll},
    },
};

/// Seconds from one border to the next.
const EPOCH: u64 = 60;
const GENESIS: u64 = 1_000;

const START: u64 = 5;

fn followed() -> Followed {
    let [staking, checkpoints, pool, token, factory, names] = [1, 2, 3, 4, 5, 6].map(Address::repeat_byte);
    let contracts = Contracts { staking, checkpoints, pool, token, factory, names };
    Followed { chain: 31_337, start: START, contracts }
}

fn parameters() -> Parameters {
    let epoch_seconds = core::num::NonZeroU64::new(EPOCH).unwrap();
    Parameters { genesis: GENESIS, epoch_seconds, ..Parameters::default() }
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A block with all that can be asked of it.
#[derive(Clone)]
struct Made {
    header: Header,
    logs: Vec<Log>,
    cursors: Cursors,
}

/// A chain, from its first block on.
#[derive(Clone)]
struct Chain(Vec<Made>);

impl Chain {
    /// A chain; in one block of `busy` something happens.
    fn new(seed: u64, length: u64, busy: u64) -> Self {
        let mut chain = Self(Vec::new());
        chain.grow(&mut Dice::new(seed), seed, length, busy);
        chain
    }

    /// The same up to `height`, other blocks from there on.
    fn forked(&self, height: u64, seed: u64) -> Self {
        let mut chain = Self(self.0[..=height as usize].to_vec());
        chain.grow(&mut Dice::new(seed), seed, self.0.len() as u64, 4);
        chain
    }

    fn grow(&mut self, dice: &mut Dice, salt: u64, length: u64, busy: u64) {
        while (self.0.len() as u64) < length {
            let height = self.0.len() as u64;
            let last = self.0.last();
            let hash = keccak256([salt.to_be_bytes(), height.to_be_bytes()].concat());
            let mut cursors = last.map(|last| last.cursors).unwrap_or_default();
            // Epoch 0 and 1 end before the contracts are there; some epochs have no block.
            let gap = if dice.chance(2) { 3 * EPOCH } else { dice.below(5) };
            let time = last.map_or(GENESIS + 30, |last| last.header.time + gap);
            let mut logs = Vec::new();
            if height >= START && dice.below(busy) == 0 {
                for index in 0..=dice.below(4) {
                    let (address, cursor, data) = happening(dice, &mut cursors);
                    *cursor = roll(cursor, &data);
                    logs.push(Log { address, data, height, hash, time: Some(time), index, removed: false });
                }
            }
            let parent = last.map(|last| last.header.hash).unwrap_or_default();
            self.0.push(Made { header: Header { height, hash, parent, time }, logs, cursors });
        }
    }

    fn at(&self, height: u64) -> Option<&Made> {
        self.0.get(height as usize)
    }

    /// All that a ledger is told up to a height.
    fn told(&self, to: u64) -> Vec<(u64, u64, Vec<Happened>)> {
        let mut cursors = Cursors::default();
        let blocks = self.0.iter().take_while(|made| made.header.height <= to).map(|made| {
            let read = |log: &Log| read(&followed(), &mut cursors, log).unwrap();
            (made.header.height, made.header.time, made.logs.iter().filter_map(read).collect::<Vec<_>>())
        });
        blocks.filter(|(.., inputs)| !inputs.is_empty()).collect()
    }

    /// Where an epoch ends, if that is known at a height.
    fn border(&self, epoch: u64, known: u64) -> Option<Border> {
        let instant = GENESIS + (epoch + 1) * EPOCH;
        let after = self.0.iter().position(|made| made.header.time >= instant)?;
        if after as u64 > known {
            return None;
        }
        let made = &self.0[after.saturating_sub(1)];
        let Header { height, hash, .. } = made.header;
        Some(Border { epoch, height, hash, cursors: made.cursors })
    }
}

fn happening<'a>(dice: &mut Dice, cursors: &'a mut Cursors) -> (Address, &'a mut Cursor, LogData) {
    let id = dice.below(9);
    match dice.below(4) {
        0 => {
            let number = cursors.pool.number + 1;
            let event = events::Released { number, amount: U256::from(dice.below(1_000)) };
            (followed().contracts.pool, &mut cursors.pool, event.encode_log_data())
        }
        1 => {
            let number = cursors.checkpoints.number + 1;
            let event = events::ParameterChanged { number, name: B256::ZERO, value: U256::from(id) };
            (followed().contracts.checkpoints, &mut cursors.checkpoints, event.encode_log_data())
        }
        2 => {
            let number = cursors.checkpoints.number + 1;
            let submitter = Address::repeat_byte(id as u8);
            let event = events::Accepted { number, epoch: id, submitter, digest: B256::repeat_byte(7) };
            (followed().contracts.checkpoints, &mut cursors.checkpoints, event.encode_log_data())
        }
        _ => {
            let number = cursors.staking.number + 1;
            let event = events::ExitRequested { number, id, by: Address::ZERO, unlocksAt: dice.below(99) };
            (followed().contracts.staking, &mut cursors.staking, event.encode_log_data())
        }
    }
}

/// How an endpoint behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Manner {
    Honest,
    /// Honest, and keeps no old state.
    Forgetful,
    /// Honest, and keeps the state of its newest blocks alone.
    Pruned,
    /// Honest, and its logs tell no times.
    Timeless,
    // From here on: contradicts itself, or says nothing.
    Drops,
    Repeats,
    Reorders,
    Forges,
    Strays,
    Html,
    OtherChain,
    GoesBack,
    /// Each answer comes when nobody waits for it any more.
    Slow,
    Dead,
    // From here on: another chain that fits itself, now and then or always.
    OtherBlocks,
    Elsewhere,
}

const MANNERS: [Manner; 16] = {
    use Manner::*;
    [
        Honest,
        Forgetful,
        Pruned,
        Timeless,
        Drops,
        Repeats,
        Reorders,
        Forges,
        Strays,
        Html,
        OtherChain,
        GoesBack,
        Slow,
        Dead,
        OtherBlocks,
        Elsewhere,
    ]
};

impl Manner {
    fn is_honest(self) -> bool {
        self <= Self::Timeless
    }
}

struct Peer {
    manner: Manner,
    chain: Chain,
    /// How far its final block is behind while the chain grows, and where it ends.
    behind: u64,
    stuck: u64,
    /// Whether it keeps the state of its newest blocks alone.
    prunes: bool,
    /// How many logs it gives at most.
    most: usize,
    seen: u64,
}

impl Peer {
    fn answer(&mut self, dice: &mut Dice, height: u64, question: Question) -> Result<Answer, Failure> {
        match self.manner {
            Manner::Dead => return Err(Trouble::Unreachable { why: "refused".to_owned() }.into()),
            Manner::Html if dice.chance(30) => return Err(Trouble::NotRpc { said: String::new() }.into()),
            _ => {}
        }
        match dice.below(20) {
            0 => return Err(Trouble::TooOften { said: String::new() }.into()),
            1 => return Err(Trouble::Late.into()),
            _ => {}
        }
        let ended = height + 1 == self.chain.0.len() as u64;
        let behind = if ended { 0 } else { self.behind };
        let mut head = height.saturating_sub(behind).min(self.stuck).max(self.seen);
        self.seen = head;
        if self.manner == Manner::GoesBack && dice.chance(40) {
            head = head.saturating_sub(dice.below(9));
        }
        Ok(match question {
            Question::Chain => Answer::Chain(if self.manner == Manner::OtherChain { 1 } else { 31_337 }),
            Question::Header(which) => {
                let height = if let Which::At(height) = which { height } else { head };
                let mut header = self.chain.at(height).map(|made| made.header);
                if let Some(header) = header.as_mut().filter(|_| self.manner == Manner::OtherBlocks)
                    && dice.chance(50)
                {
                    // Never the same as another one's, or the two would be a majority.
                    header.hash = keccak256([header.hash.0, [dice.below(256) as u8; 32]].concat());
                    header.time += dice.below(200);
                }
                Answer::Header(header)
            }
            Question::Logs { from, to } => Answer::Logs(self.logs(dice, from, to)?),
            Question::Cursors(_) if self.manner == Manner::Forgetful => Answer::Cursors(None),
            Question::Cursors(hash) => {
                let keeps = if self.prunes { 3 } else { usize::MAX };
                let newest = self.chain.0.iter().take(head as usize + 1).rev().take(keeps);
                let made = newest.into_iter().find(|made| made.header.hash == hash);
                Answer::Cursors(made.map(|made| made.cursors))
            }
        })
    }

    fn logs(&self, dice: &mut Dice, from: u64, to: u64) -> Result<Vec<Log>, Failure> {
        let made = self.chain.0.iter().filter(|made| (from..=to).contains(&made.header.height));
        let mut logs: Vec<Log> = made.flat_map(|made| made.logs.clone()).collect();
        if from < to && logs.len() > self.most {
            return Err(Failure::TooMany);
        }
        let at = dice.below(logs.len() as u64) as usize;
        match self.manner {
            Manner::Drops if dice.chance(30) => logs.clear(),
            Manner::Drops if !logs.is_empty() => drop(logs.remove(at)),
            Manner::Repeats if !logs.is_empty() => logs.insert(at, logs[at].clone()),
            Manner::Reorders if logs.len() > 1 => logs.reverse(),
            Manner::Forges if !logs.is_empty() => {
                let log = &mut logs[at];
                let mut data = log.data.data.to_vec();
                if let Some(byte) = data.last_mut() {
                    *byte ^= 1;
                }
                log.data.data = Bytes::from(data);
            }
            Manner::Strays => {
                let first = self.chain.0.iter().find_map(|made| made.logs.first());
                let Some(mut log) = first.cloned() else { return Ok(logs) };
                log.address = Address::repeat_byte(77);
                (log.height, log.index) = (to, 99);
                logs.push(log);
            }
            Manner::Timeless => logs.iter_mut().for_each(|log| log.time = None),
            _ => {}
        }
        Ok(logs)
    }
}

/// A follower, the endpoints it asks, and what it has told.
struct Sim {
    follower: Follower,
    peers: Vec<Peer>,
    dice: Dice,
    now: Time,
    answers: BTreeMap<(Time, u64), (usize, Question)>,
    told: Vec<Advance>,
}

impl Sim {
    fn new(seed: u64, chain: &Chain, manners: &[Manner]) -> Self {
        let mut dice = Dice::new(seed ^ 0xfeed);
        let names = (0..manners.len()).map(|number| format!("endpoint{number}"));
        let pace = Pace { stale: Span::secs(100_000), ..Pace::default() };
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mark = Mark::before(&followed());
        let follower = Follower::new(followed(), parameters(), pace, mark, names, rng);
        let peers = manners.iter().enumerate().map(|(number, manner)| {
            let chain = match manner {
                Manner::Elsewhere => chain.forked(6 + dice.below(30), seed + number as u64 + 1_000),
                _ => chain.clone(),
            };
            Peer {
                manner: *manner,
                chain,
                prunes: *manner == Manner::Pruned,
                behind: dice.below(4),
                stuck: u64::MAX,
                most: 3 + dice.below(40) as usize,
                seen: 0,
            }
        });
        let peers = peers.collect();
        Self { follower, peers, dice, now: Time::from_millis(1), answers: BTreeMap::new(), told: Vec::new() }
    }

    /// Runs on; the chain's final block grows by one in three seconds, up to its end.
    fn run(&mut self, seconds: u64) {
        let end = self.now.after(Span::secs(seconds));
        loop {
            while let Some(output) = self.follower.poll() {
                match output {
                    Output::Ask { endpoint, id, question } => {
                        let late = self.peers.get(endpoint).is_some_and(|peer| peer.manner == Manner::Slow);
                        let wait = if late { 5_500 + self.dice.below(40_000) } else { self.dice.below(400) };
                        let at = self.now.after(Span::millis(wait));
                        self.answers.insert((at, id), (endpoint, question));
                    }
                    Output::Advance(advance) => self.told.push(*advance),
                }
            }
            let answer = self.answers.keys().next().copied();
            let deadline = self.follower.deadline().map(|deadline| deadline.max(self.now));
            let next = answer.map(|(at, _)| at).into_iter().chain(deadline).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next;
            let height = self.height();
            if answer.is_some_and(|(at, _)| at <= next) {
                let ((_, id), (endpoint, question)) = self.answers.pop_first().unwrap();
                let answer = self.peers[endpoint].answer(&mut self.dice, height, question);
                self.follower.handle(next, Input::Answer { endpoint, id, answer });
            } else {
                self.follower.handle(next, Input::Tick);
            }
        }
        self.now = end;
    }

    fn height(&self) -> u64 {
        let length = self.peers[0].chain.0.len() as u64;
        (20 + self.now.as_millis() / 3_000).min(length - 1)
    }

    /// What was told is what is in the chain, up to the mark, whole and in order.
    fn check(&self, chain: &Chain) {
        let mut blocks = Vec::new();
        let mut epoch = 0;
        for advance in &self.told {
            let Advance { blocks: some, border, mark } = advance;
            for block in some {
                assert!(block.time < GENESIS + (epoch + 1) * EPOCH, "block {} is too late", block.height);
                blocks.push((block.height, block.time, block.inputs.clone()));
            }
            if let Some(border) = border {
                assert_eq!(Some(border), chain.border(epoch, u64::MAX).as_ref());
                epoch += 1;
            }
            let made = chain.at(mark.height).unwrap();
            assert_eq!((mark.hash, mark.cursors), (made.header.hash, made.cursors));
            assert_eq!(mark.epoch, epoch);
        }
        let mark = self.told.last().map_or(4, |advance| advance.mark.height);
        assert_eq!(blocks, chain.told(mark));
    }

    /// Nothing that all know is missing.
    fn is_through(&self, chain: &Chain) -> bool {
        let end = chain.0.len() as u64 - 1;
        let told: usize = self.told.iter().map(|advance| advance.blocks.len()).sum();
        let epochs = self.told.iter().filter(|advance| advance.border.is_some()).count() as u64;
        told == chain.told(end).len() && chain.border(epochs, end).is_none()
    }
}

fn seeds() -> impl Iterator<Item = u64> {
    let one = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let many = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(400);
    one.map_or(0..many, |seed| seed..seed + 1)
}

/// Runs one seed, and says which one it was if that fails.
fn seeded(run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds() {
        let ran = std::panic::catch_unwind(|| run(seed));
        assert!(ran.is_ok(), "see above; replay with SEED={seed}");
    }
}

#[test]
fn whatever_endpoints_do_the_ledger_is_told_the_chain_or_nothing() {
    let met = std::sync::Mutex::new(BTreeSet::new());
    seeded(|seed| {
        let mut dice = Dice::new(seed);
        let busy = [1, 4, 40][dice.below(3) as usize];
        let chain = Chain::new(seed, 100 + dice.below(300), busy);
        let mut manners = vec![MANNERS[dice.below(4) as usize]];
        for _ in 0..dice.below(5) {
            manners.push(MANNERS[dice.below(16) as usize]);
        }
        let mut sim = Sim::new(seed, &chain, &manners);
        sim.run(3_000);
        sim.check(&chain);
        met.lock().unwrap().extend(manners.iter().copied());
        let honest = manners.iter().filter(|manner| manner.is_honest()).count();
        let elsewhere = manners.iter().filter(|manner| **manner >= Manner::OtherBlocks).count();
        let asks_state = manners.iter().any(|it| it.is_honest() && *it != Manner::Forgetful);
        // Those that contradict themselves are left out; the rest is outvoted, or holds.
        if (elsewhere == 0 && asks_state) || (honest >= 2 && honest > elsewhere + 2) {
            assert!(sim.is_through(&chain), "{manners:?}: {:?}", sim.follower.status(sim.now));
        }
    });
    if std::env::var("SEED").is_err() {
        assert_eq!(met.into_inner().unwrap().len(), MANNERS.len());
    }
}

#[test]
fn one_endpoint_that_is_honest_is_enough() {
    seeded(|seed| {
        let chain = Chain::new(seed, 300, 4);
        let mut sim = Sim::new(seed, &chain, &[Manner::Honest]);
        sim.run(1_500);
        sim.check(&chain);
        assert!(sim.is_through(&chain), "{:?}", sim.follower.status(sim.now));
        let status = sim.follower.status(sim.now);
        assert_eq!((status.height, status.is_good(), status.may_sign()), (299, true, true));
    });
}

#[test]
fn an_endpoint_that_keeps_the_newest_state_alone_is_enough() {
    seeded(|seed| {
        let chain = Chain::new(seed, 300, 4);
        let mut sim = Sim::new(seed, &chain, &[Manner::Pruned]);
        sim.run(1_500);
        sim.check(&chain);
        assert!(sim.is_through(&chain), "{:?}", sim.follower.status(sim.now));
    });
}

#[test]
fn of_one_that_keeps_the_newest_state_alone_nothing_forged_is_applied() {
    for manner in [Manner::Forges, Manner::Drops] {
        let chain = Chain::new(9, 300, 4);
        let mut sim = Sim::new(9, &chain, &[manner]);
        sim.peers[0].prunes = true;
        // All of it is there from the first look on.
        sim.now = Time::from_millis(3_000_000);
        sim.run(40);
        assert_eq!((sim.told.len(), sim.follower.status(sim.now).height), (0, 4));
        sim.run(1_000);
        sim.check(&chain);
        let trouble = sim.follower.status(sim.now).endpoints[0].trouble.clone().unwrap();
        assert!(matches!(trouble.kind(), "forged" | "bad-logs"), "{trouble}");
    }
}

#[test]
fn answers_beyond_patience_are_no_answers_whatever_is_asked_by_then() {
    let chain = Chain::new(11, 300, 4);
    let mut sim = Sim::new(11, &chain, &[Manner::Honest, Manner::Honest, Manner::Slow]);
    sim.run(1_500);
    sim.check(&chain);
    assert!(sim.is_through(&chain), "{:?}", sim.follower.status(sim.now));
    let status = sim.follower.status(sim.now);
    assert_eq!(status.endpoints[2].trouble, Some(Trouble::Late));
    assert!(status.may_sign() && status.endpoints[2].faults > 0, "{status:?}");
    // Alone it has said nothing at all.
    let mut sim = Sim::new(11, &chain, &[Manner::Slow]);
    sim.run(1_500);
    let status = sim.follower.status(sim.now);
    assert!(sim.told.is_empty() && status.head.is_none() && status.held.is_some(), "{status:?}");
}

#[test]
fn a_majority_that_leaves_all_out_outvotes_nobody() {
    for seed in 0..40 {
        let chain = Chain::new(seed, 200, 4);
        let mut sim = Sim::new(seed, &chain, &[Manner::Honest, Manner::Drops, Manner::Drops, Manner::Drops]);
        sim.run(3_000);
        sim.check(&chain);
        let trouble = sim.follower.status(sim.now).endpoints[0].trouble.clone();
        let outvoted = trouble.is_some_and(|trouble| matches!(trouble, Trouble::Outvoted { .. }));
        assert!(!outvoted && sim.is_through(&chain), "seed {seed}");
    }
}

#[test]
fn two_that_disagree_without_a_proof_hold_the_ledger_and_are_named() {
    let chain = Chain::new(1, 200, 4);
    let mut sim = Sim::new(1, &chain, &[Manner::Honest, Manner::Elsewhere]);
    sim.run(3_000);
    sim.check(&chain);
    let status = sim.follower.status(sim.now);
    assert!(!status.may_sign());
    let held = status.held.unwrap().to_string();
    assert!(held.contains("endpoint0 and endpoint1 disagree about block"), "{held}");
    assert!(!sim.is_through(&chain) && status.stopped.is_none());
}

#[test]
fn that_one_of_two_falls_silent_does_not_tell_who_was_right() {
    let chain = Chain::new(1, 200, 4);
    let mut sim = Sim::new(1, &chain, &[Manner::Honest, Manner::Elsewhere]);
    sim.run(3_000);
    let before = sim.told.len();
    sim.peers[1].manner = Manner::Dead;
    sim.run(3_000);
    let status = sim.follower.status(sim.now);
    assert!(!status.may_sign() && sim.told.len() == before, "{status:?}");
    let held = status.held.unwrap().to_string();
    assert!(held.contains("endpoint0 and endpoint1 disagree about block"), "{held}");
    // Another one that agrees does.
    sim.peers[1].manner = Manner::Honest;
    sim.peers[1].chain = chain.clone();
    sim.run(3_000);
    sim.check(&chain);
    assert!(sim.is_through(&chain) && sim.follower.status(sim.now).may_sign());
}

#[test]
fn one_of_several_that_is_left_alone_is_followed_and_not_signed_by() {
    for count in [2, 3] {
        let chain = Chain::new(10, 400, 4);
        let mut sim = Sim::new(10, &chain, &vec![Manner::Honest; count]);
        sim.run(300);
        assert!(sim.follower.status(sim.now).may_sign());
        sim.peers.iter_mut().skip(1).for_each(|peer| peer.manner = Manner::Dead);
        sim.run(1_500);
        sim.check(&chain);
        assert!(sim.is_through(&chain), "{:?}", sim.follower.status(sim.now));
        let status = sim.follower.status(sim.now);
        assert!(status.is_good() && status.alone && !status.may_sign(), "{status:?}");
        // Nor after a restart, until another one says the same.
        let names = (0..count).map(|number| format!("endpoint{number}"));
        let (mark, rng) = (*sim.follower.proven(), ChaCha8Rng::seed_from_u64(1));
        sim.follower = Follower::new(followed(), parameters(), Pace::default(), mark, names, rng);
        sim.answers.clear();
        sim.run(300);
        let status = sim.follower.status(sim.now);
        assert!(status.is_good() && !status.may_sign(), "{status:?}");
        sim.peers[1].manner = Manner::Honest;
        sim.run(3_000);
        assert!(sim.follower.status(sim.now).may_sign(), "{:?}", sim.follower.status(sim.now));
    }
}

#[test]
fn a_minority_is_outvoted_and_named() {
    let chain = Chain::new(2, 200, 4);
    let mut sim = Sim::new(2, &chain, &[Manner::Honest, Manner::Elsewhere, Manner::Honest]);
    sim.run(3_000);
    sim.check(&chain);
    assert!(sim.is_through(&chain));
    let status = sim.follower.status(sim.now);
    let fault = status.endpoints[1].trouble.clone().unwrap().to_string();
    assert!(fault.contains("disagrees with 2 others about block"), "{fault}");
    assert!(matches!(status.endpoints[1].standing, Standing::LeftOut(_)));
}

#[test]
fn a_chain_that_changes_what_was_final_stops_the_ledger_and_the_block_is_named() {
    for manners in [&[Manner::Honest][..], &[Manner::Honest; 2], &[Manner::Honest; 3]] {
        let chain = Chain::new(3, 300, 4);
        let mut sim = Sim::new(3, &chain, manners);
        sim.run(1_500);
        sim.check(&chain);
        let (before, mark) = (sim.told.len(), *sim.follower.proven());
        for peer in &mut sim.peers {
            peer.chain = chain.forked(mark.height - 3, 99);
        }
        sim.run(300);
        let stopped = sim.follower.status(sim.now).stopped.unwrap().to_string();
        assert!(stopped.contains("was final as 0x") && stopped.contains("block "), "{stopped}");
        assert_eq!((sim.told.len(), sim.follower.deadline()), (before, None));
    }
}

#[test]
fn a_piece_holds_no_more_than_one_commit_may_change() {
    for most in [1, 3, 50] {
        let chain = Chain::new(12, 400, 2);
        let mut sim = Sim::new(12, &chain, &[Manner::Honest; 2]);
        sim.follower.most = most;
        sim.peers.iter_mut().for_each(|peer| peer.most = usize::MAX);
        // All of it is there from the first look on.
        sim.now = Time::from_millis(3_000_000);
        sim.run(5_000);
        sim.check(&chain);
        assert!(sim.is_through(&chain), "{:?}", sim.follower.status(sim.now));
        let sizes = sim.told.iter().map(|advance| {
            let inputs: usize = advance.blocks.iter().map(|block| block.inputs.len()).sum();
            (inputs, advance.blocks.len())
        });
        let sizes: Vec<_> = sizes.collect();
        assert!(sizes.iter().all(|(inputs, blocks)| *inputs <= most || *blocks == 1), "{most}: {sizes:?}");
        // And not many fewer: half of what may be, on the whole, but for what borders cut off.
        let (told, pieces) = (sizes.iter().map(|(inputs, _)| inputs).sum::<usize>(), sizes.len());
        assert!(pieces <= 3 * told.div_ceil(most) + 60, "{most}: {told} inputs in {pieces} pieces");
    }
}

#[test]
fn one_of_two_that_says_so_alone_does_not_stop_it() {
    let chain = Chain::new(4, 300, 4);
    let mut sim = Sim::new(4, &chain, &[Manner::Honest; 2]);
    sim.run(500);
    let mark = *sim.follower.proven();
    sim.peers[1].chain = chain.forked(mark.height - 3, 99);
    sim.run(1_000);
    sim.check(&chain);
    let status = sim.follower.status(sim.now);
    assert!(status.stopped.is_none() && status.held.is_some());
    sim.peers[1].chain = chain.clone();
    sim.run(2_000);
    sim.check(&chain);
    assert!(sim.is_through(&chain));
}

#[test]
fn an_endpoint_whose_chain_stands_still_is_left_out_when_two_know_better() {
    let chain = Chain::new(5, 400, 4);
    let mut sim = Sim::new(5, &chain, &[Manner::Honest; 3]);
    sim.follower.pace.stale = Span::secs(120);
    sim.peers[1].stuck = 150;
    sim.run(1_500);
    sim.check(&chain);
    assert!(sim.is_through(&chain), "{:?}", sim.follower.status(sim.now));
    // Of two, the lower is followed, and that is told.
    let mut sim = Sim::new(5, &chain, &[Manner::Honest; 2]);
    sim.follower.pace.stale = Span::secs(120);
    sim.peers[1].stuck = 150;
    sim.run(1_500);
    sim.check(&chain);
    assert!(sim.follower.status(sim.now).may_sign());
    let held = sim.follower.status(sim.now).held.unwrap().to_string();
    assert!(held.contains("endpoint0 knows final blocks up to 399"), "{held}");
}

#[test]
fn an_idle_follower_asks_two_questions_a_poll() {
    let chain = Chain::new(6, 100, 1_000_000);
    let mut sim = Sim::new(6, &chain, &[Manner::Honest; 2]);
    sim.peers.iter_mut().for_each(|peer| peer.behind = 0);
    sim.run(400);
    let asked = |sim: &Sim| sim.follower.status(sim.now).endpoints.iter().map(|it| it.questions).sum::<u64>();
    let before = asked(&sim);
    sim.run(1_200);
    // A hundred polls; what is refused or lost is asked again.
    let polls = 2 * 100;
    assert!(asked(&sim) - before <= 2 * polls, "{} questions", asked(&sim) - before);
}

#[test]
fn a_follower_goes_on_where_it_was_and_checks_that_first() {
    let chain = Chain::new(7, 400, 4);
    let mut sim = Sim::new(7, &chain, &[Manner::Honest]);
    sim.run(300);
    let (mark, told) = (*sim.follower.proven(), sim.told.clone());
    let mut on = Sim::new(8, &chain, &[Manner::Honest]);
    on.follower = Follower::new(
        followed(),
        parameters(),
        Pace::default(),
        mark,
        ["one".to_owned()],
        ChaCha8Rng::seed_from_u64(1),
    );
    (on.told, on.now) = (told, Time::from_millis(2_000_000));
    on.run(600);
    on.check(&chain);
    assert!(on.is_through(&chain));
    // The block that it stood at has gone meanwhile.
    on.follower = Follower::new(
        followed(),
        parameters(),
        Pace::default(),
        mark,
        ["one".to_owned()],
        ChaCha8Rng::seed_from_u64(1),
    );
    on.peers[0].chain = chain.forked(mark.height - 1, 5);
    let told = on.told.len();
    on.run(600);
    assert_eq!(on.told.len(), told);
    assert!(
        on.follower.status(on.now).stopped.unwrap().to_string().contains(&format!("block {}", mark.height))
    );
}
