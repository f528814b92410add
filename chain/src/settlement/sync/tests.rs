//! A ledger that begins, over peers and endpoints of all kinds, in virtual time.

use std::sync::Arc;

use alloy::primitives::{Address, U256};
use rand_chacha::rand_core::SeedableRng;
use session_protocols::names::NameId;

use super::*;
use crate::{
    ledger::{Amount, Block, Border, Checkpoint, Input as Happened},
    names::{Change, Index, tables::Memory},
};

const START: Time = Time::from_millis(1_000_000);
/// Enough for some pages.
const NAMES: u64 = 3_000;

fn parameters() -> Parameters {
    Parameters { genesis: 0, ..Parameters::default() }
}

/// What a checkpoint stands for.
struct World {
    kept: Kept<Memory>,
    checkpoint: Checkpoint,
    ledger: Ledger,
}

impl World {
    fn new() -> Self {
        let mut ledger = Ledger::new(parameters());
        let mut index = Index::<Memory>::default();
        for number in 0..NAMES {
            let id = NameId::from_bytes(B256::from(U256::from(number)).0);
            let owner = Address::repeat_byte(number as u8);
            index.apply(&Change::Registered { id, owner, expires: u64::MAX, version: 1 }).unwrap();
        }
        let inputs = vec![Happened::Release { amount: Amount::sesh(7) }];
        ledger.apply(&Block { height: 9, time: 5, inputs }).unwrap();
        let border = Border { epoch: 0, height: 12, hash: B256::repeat_byte(3), cursors: Cursors::default() };
        let (_, checkpoint) = ledger.cross(border, index.cross(ledger.border()).unwrap()).unwrap();
        let kept = Kept {
            beside: Beside::of(&checkpoint),
            ledger: Arc::new(ledger.to_bytes()),
            names: Arc::new(index),
        };
        Self { kept, checkpoint, ledger }
    }

    fn accepted(&self) -> Option<Accepted> {
        Some(Some((0, self.checkpoint.digest)))
    }

    /// What a peer answers; none where it says nothing.
    fn answer(&self, peer: Peer, request: &Request) -> Option<Option<Answer>> {
        let mut answer = self.kept.answer(request).unwrap();
        match (peer, &mut answer) {
            (Peer::Silent, _) => return None,
            (Peer::Away, _) => return Some(None),
            (Peer::Behind, _) => answer = Answer::Unknown,
            (Peer::OtherLedger, Answer::Ledger { bytes, .. }) => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            (Peer::OtherHead, Answer::Ledger { head: Some(head), .. }) => head.names = [1; 32].into(),
            (Peer::NoHead, Answer::Ledger { head, .. }) => *head = None,
            (Peer::Endless, Answer::Ledger { more, .. }) => *more = true,
            (Peer::OtherRow, Answer::Names { rows, .. }) => rows[0].1[5] ^= 1,
            (Peer::LacksRow, Answer::Names { rows, .. }) => drop(rows.remove(1)),
            (Peer::Turns, Answer::Names { rows, .. }) => rows.swap(0, 1),
            (Peer::Circles, Answer::Names { next, .. }) => *next = Some(ByteBuf::from(vec![0_u8])),
            (Peer::Mutters, Answer::Names { .. }) => return None,
            (Peer::Confuses, Answer::Names { .. }) => {
                answer = Answer::Ledger { head: None, bytes: ByteBuf::new(), more: false };
            }
            _ => {}
        }
        Some(Some(answer))
    }

    /// Runs until it is known how the ledger begins, and returns the names that it has then and how long it took.
    fn run(
        &self,
        seed: u64,
        said: &[Option<Accepted>],
        peers: &[Peer],
    ) -> (Result<Found, Why>, Index<Memory>, Span) {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut syncing = Syncing::new(parameters(), said.len(), peers.len(), rng);
        let mut now = START;
        syncing.handle(now, Input::Tick);
        let (found, index) = self.go_on(&mut syncing, &mut now, said, peers);
        (found, index, now.since(START))
    }

    /// The same from where it is.
    fn go_on(
        &self,
        syncing: &mut Syncing,
        now: &mut Time,
        said: &[Option<Accepted>],
        peers: &[Peer],
    ) -> (Result<Found, Why>, Index<Memory>) {
        let (mut index, mut inputs) = (Index::<Memory>::default(), VecDeque::new());
        loop {
            while let Some(output) = syncing.poll() {
                match output {
                    Output::AskContract { endpoint } => {
                        inputs.push_back(Input::Accepted { endpoint, found: said[endpoint] });
                    }
                    Output::Ask { id, peer, request } => {
                        let answer = self.answer(peers[peer], &request);
                        inputs.extend(answer.map(|answer| Input::Answer { id, answer }));
                    }
                    Output::Restore(rows) => index.restore(&rows).unwrap(),
                    Output::Forget => index = Index::default(),
                    Output::Plant => inputs.push_back(Input::Planted { root: index.plant().unwrap() }),
                    Output::Begin(found) => return (Ok(*found), index),
                    Output::Logs(why) => return (Err(why), index),
                }
            }
            match inputs.pop_front() {
                Some(input) => syncing.handle(*now, input),
                None => {
                    *now = syncing.deadline().expect("it waits for something");
                    syncing.handle(*now, Input::Tick);
                }
            }
        }
    }
}

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Honest,
    /// Says nothing.
    Silent,
    /// Cannot be reached.
    Away,
    /// Has nothing of that epoch.
    Behind,
    OtherLedger,
    OtherHead,
    NoHead,
    /// Says that short pages are followed by more.
    Endless,
    OtherRow,
    LacksRow,
    /// Gives rows in another order.
    Turns,
    /// Leads back.
    Circles,
    /// Gives the ledger, and then nothing.
    Mutters,
    /// Gives a ledger for names.
    Confuses,
}

const BAD: [Peer; 13] = [
    Peer::Silent,
    Peer::Away,
    Peer::Behind,
    Peer::OtherLedger,
    Peer::OtherHead,
    Peer::NoHead,
    Peer::Endless,
    Peer::OtherRow,
    Peer::LacksRow,
    Peer::Turns,
    Peer::Circles,
    Peer::Mutters,
    Peer::Confuses,
];

#[test]
fn what_honest_peers_give_is_what_the_ledger_begins_with() {
    let world = World::new();
    let (found, index, took) = world.run(1, &[world.accepted()], &[Peer::Honest; 3]);
    let Found { ledger, checkpoint } = found.unwrap();
    assert_eq!((&ledger, &checkpoint), (&world.ledger, &world.checkpoint));
    assert_eq!(index.0, world.kept.names.0);
    assert_eq!(took, Span(0), "nobody was waited for");
}

#[test]
fn whatever_others_do_one_honest_peer_is_enough() {
    let world = World::new();
    for bad in BAD {
        for seed in 0..4 {
            let (found, index, _) = world.run(seed, &[world.accepted()], &[bad, Peer::Honest]);
            assert_eq!(found.map(|found| found.ledger), Ok(world.ledger.clone()), "{bad:?}");
            assert_eq!(index.0, world.kept.names.0, "{bad:?}");
        }
    }
    let mut all = BAD.to_vec();
    all.truncate(MAX_PEERS - 1);
    all.push(Peer::Honest);
    assert!(world.run(5, &[world.accepted()], &all).0.is_ok());
}

#[test]
fn where_nobody_helps_it_begins_with_the_logs_before_long() {
    let world = World::new();
    for bad in BAD {
        let (found, index, took) = world.run(1, &[world.accepted()], &[bad; 3]);
        assert_eq!(found, Err(Why::Peers), "{bad:?}");
        assert_eq!(index.0, Memory::default(), "nothing is left of what {bad:?} gave");
        assert!(took < Span::secs(600), "{bad:?} took {took:?}");
    }
    assert_eq!(world.run(1, &[world.accepted()], &[]).0, Err(Why::Peers));
}

#[test]
fn a_checkpoint_is_believed_by_the_word_of_more_than_half_of_all_endpoints() {
    let world = World::new();
    let (right, none) = (world.accepted(), Some(None));
    let wrong = Some(Some((0, B256::repeat_byte(9))));
    let why = |said: &[Option<Accepted>]| world.run(1, said, &[Peer::Honest]).0.err();
    assert_eq!(why(&[right, right, wrong]), None);
    assert_eq!(why(&[None, right, right]), None);
    for said in [&[right, wrong][..], &[right, None], &[right, none], &[None], &[right, wrong, None]] {
        assert_eq!(why(said), Some(Why::Endpoints), "{said:?}");
    }
    assert_eq!(why(&[none]), Some(Why::None));
    // What nobody can give is not begun with.
    assert_eq!(why(&[wrong]), Some(Why::Peers));
}

/// A ledger that goes by the logs since nobody helped.
fn with_logs(world: &World, said: &[Option<Accepted>]) -> (Syncing, Time) {
    let mut syncing = Syncing::new(parameters(), said.len(), 1, ChaCha8Rng::seed_from_u64(1));
    let mut now = START;
    syncing.handle(now, Input::Tick);
    assert!(world.go_on(&mut syncing, &mut now, said, &[Peer::Away]).0.is_err());
    syncing.handle(now, Input::Logs { height: 5, begun: false });
    (syncing, now)
}

#[test]
fn while_the_logs_lead_nowhere_the_checkpoint_is_tried_again_now_and_then() {
    let world = World::new();
    let said = [world.accepted()];
    let (mut syncing, mut now) = with_logs(&world, &said);
    for doubled in (0..=DOUBLED).chain([DOUBLED; 3]) {
        assert_eq!(syncing.deadline(), Some(now.after(Span(NOWHERE.0 << doubled))));
        // That the logs lead nowhere holds nothing up.
        syncing.handle(now.after(Span::secs(7)), Input::Logs { height: 5, begun: false });
        let before = now;
        assert_eq!(world.go_on(&mut syncing, &mut now, &said, &[Peer::Away]).0, Err(Why::Peers));
        assert_eq!(now.since(before), Span(NOWHERE.0 << doubled), "one round, and nobody is waited for");
        syncing.handle(now, Input::Logs { height: 5, begun: false });
    }
    let (found, index) = world.go_on(&mut syncing, &mut now, &said, &[Peer::Honest]);
    assert_eq!(found.map(|found| found.ledger), Ok(world.ledger.clone()));
    assert_eq!(index.0, world.kept.names.0);
    assert_eq!(syncing.deadline(), None);
}

#[test]
fn whoever_lied_once_is_asked_again_when_nothing_else_helped() {
    let world = World::new();
    let said = [world.accepted()];
    let mut syncing = Syncing::new(parameters(), 1, 1, ChaCha8Rng::seed_from_u64(1));
    let mut now = START;
    syncing.handle(now, Input::Tick);
    assert!(world.go_on(&mut syncing, &mut now, &said, &[Peer::OtherLedger]).0.is_err());
    assert!(world.go_on(&mut syncing, &mut now, &said, &[Peer::Honest]).0.is_ok());
}

#[test]
fn as_long_as_the_logs_lead_on_nothing_else_is_tried() {
    let world = World::new();
    let said = [world.accepted()];
    let (mut syncing, mut now) = with_logs(&world, &said);
    for height in 6..100 {
        now = now.after(Span::secs(50));
        syncing.handle(now, Input::Logs { height, begun: false });
        syncing.handle(now, Input::Tick);
        assert_eq!((syncing.poll(), syncing.deadline()), (None, Some(now.after(NOWHERE))));
    }
    // What is in the ledger is not thrown away.
    syncing.handle(now, Input::Logs { height: 100, begun: true });
    assert_eq!(syncing.deadline(), None);
    syncing.handle(now.after(Span::hours(9)), Input::Tick);
    assert_eq!(syncing.poll(), None);
}
