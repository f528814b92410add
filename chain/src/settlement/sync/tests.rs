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
        Self::behind(1)
    }

    /// Behind so many borders.
    fn behind(borders: u64) -> Self {
        let mut ledger = Ledger::new(parameters());
        let mut index = Index::<Memory>::default();
        for number in 0..NAMES {
            let id = NameId::from_bytes(B256::from(U256::from(number)).0);
            let owner = Address::repeat_byte(number as u8);
            index.apply(&Change::Registered { id, owner, expires: u64::MAX, version: 1 }).unwrap();
        }
        let inputs = vec![Happened::Release { amount: Amount::sesh(7) }];
        ledger.apply(&Block { height: 9, time: 5, inputs }).unwrap();
        let mut checkpoint = None;
        for epoch in 0..borders {
            let (height, hash) = (12 + epoch, B256::repeat_byte(3));
            let border = Border { epoch, height, hash, cursors: Cursors::default() };
            checkpoint = Some(ledger.cross(border, index.cross(ledger.border()).unwrap()).unwrap().1);
        }
        let checkpoint = checkpoint.expect("there is a border");
        let kept = Kept {
            beside: Beside::of(&checkpoint),
            ledger: Arc::new(ledger.to_bytes()),
            names: Arc::new(index),
        };
        Self { kept, checkpoint, ledger }
    }

    fn accepted(&self) -> Option<Accepted> {
        Some(Some((self.checkpoint.border.epoch, self.checkpoint.digest)))
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

/// Logs that lead to a block, of a chain of which no more is known.
fn led(height: u64) -> Led {
    Led { height, ..Led::default() }
}

/// A ledger that goes by the logs since nobody helped.
fn with_logs(world: &World, said: &[Option<Accepted>]) -> (Syncing, Time) {
    let mut syncing = Syncing::new(parameters(), said.len(), 1, ChaCha8Rng::seed_from_u64(1));
    let mut now = START;
    syncing.handle(now, Input::Tick);
    assert!(world.go_on(&mut syncing, &mut now, said, &[Peer::Away]).0.is_err());
    syncing.handle(now, Input::Logs(led(5)));
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
        syncing.handle(now.after(Span::secs(7)), Input::Logs(led(5)));
        let before = now;
        assert_eq!(world.go_on(&mut syncing, &mut now, &said, &[Peer::Away]).0, Err(Why::Peers));
        assert_eq!(now.since(before), Span(NOWHERE.0 << doubled), "one round, and nobody is waited for");
        syncing.handle(now, Input::Logs(led(5)));
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
        syncing.handle(now, Input::Logs(led(height)));
        syncing.handle(now, Input::Tick);
        assert_eq!((syncing.poll(), syncing.deadline()), (None, Some(now.after(NOWHERE))));
    }
    // What is in the ledger is not thrown away.
    syncing.handle(now, Input::Logs(Led { epoch: Some(1), behind: Some(0), ..led(100) }));
    assert_eq!(syncing.deadline(), None);
    syncing.handle(now.after(Span::hours(9)), Input::Tick);
    assert_eq!(syncing.poll(), None);
}

/// A ledger that has begun, in which this epoch ends next.
fn begun(epoch: u64) -> Syncing {
    Syncing::new(parameters(), 1, 1, ChaCha8Rng::seed_from_u64(1)).by_logs(Some(epoch))
}

/// What comes of it once it is due now.
fn tried(world: &World, syncing: &mut Syncing, now: &mut Time, peer: Peer) -> Result<Ledger, Why> {
    assert!(syncing.deadline().is_some_and(|due| due <= *now), "it is due {:?}", syncing.deadline());
    syncing.handle(*now, Input::Tick);
    world.go_on(syncing, now, &[world.accepted()], &[peer]).0.map(|found| found.ledger)
}

#[test]
fn a_ledger_that_is_far_behind_goes_on_with_a_checkpoint_that_is_as_far_ahead() {
    let world = World::behind(FAR + 1);
    let far = |epoch| Led { epoch: Some(epoch), behind: Some(FAR), compared: true, head: Some(99), ..led(9) };
    let (mut syncing, mut now) = (begun(1), START);
    syncing.handle(now, Input::Logs(far(1)));
    assert_eq!(tried(&world, &mut syncing, &mut now, Peer::Honest), Ok(world.ledger.clone()));
    assert_eq!((now, syncing.deadline()), (START, None), "at once, and once");

    // One that is less far ahead is no shorter way, and one that nobody gives none.
    for (epoch, peer, why) in [(2, Peer::Honest, Why::Near), (1, Peer::Away, Why::Peers)] {
        let (mut syncing, mut now) = (begun(epoch), START);
        syncing.handle(now, Input::Logs(far(epoch)));
        assert_eq!(tried(&world, &mut syncing, &mut now, peer), Err(why));
        // That the logs lead on meanwhile does not make it come more often.
        syncing.handle(now, Input::Logs(Led { height: 10, ..far(epoch) }));
        assert_eq!((now, syncing.deadline()), (START, Some(now.after(NOWHERE))), "nobody is waited for");
    }
    // Whoever is not far behind, or has not seen whether its chain is still the one that it was, reads the logs.
    for near in [Led { behind: Some(FAR - 1), ..far(1) }, Led { compared: false, ..far(1) }] {
        let mut syncing = begun(1);
        syncing.handle(START, Input::Logs(near));
        assert_eq!(syncing.deadline(), Some(START.after(NOWHERE)));
    }
}

#[test]
fn a_ledger_whose_next_logs_are_dropped_everywhere_goes_on_with_any_checkpoint_that_is_ahead() {
    let world = World::new();
    // All endpoints are left out: how far the chain is nobody says.
    let dropped = |epoch| Led { epoch: Some(epoch), pruned: true, ..led(9) };
    let (mut syncing, mut now) = (begun(0), START);
    syncing.handle(now, Input::Logs(dropped(0)));
    assert_eq!(tried(&world, &mut syncing, &mut now, Peer::Honest), Ok(world.ledger.clone()));

    // Where there is none, or nobody has it, it is asked for now and then, and the ledger stays what it is.
    for (epoch, peer, why) in [(1, Peer::Honest, Why::Near), (0, Peer::Away, Why::Peers)] {
        let (mut syncing, mut now) = (begun(epoch), START);
        for doubled in 0..3 {
            syncing.handle(now, Input::Logs(dropped(epoch)));
            assert_eq!(tried(&world, &mut syncing, &mut now, peer), Err(why));
            syncing.handle(now, Input::Logs(dropped(epoch)));
            let due = now.after(Span(NOWHERE.0 << doubled));
            assert_eq!(syncing.deadline(), Some(due));
            // They come back for a moment, and nothing is known of the chain.
            syncing.handle(now, Input::Logs(Led { pruned: false, ..dropped(epoch) }));
            assert_eq!(syncing.deadline(), Some(due));
            now = due;
        }
    }
}

#[test]
fn a_ledger_that_never_comes_to_the_end_of_an_epoch_that_has_ended_goes_on_with_a_checkpoint() {
    let world = World::new();
    let (mut syncing, mut now) = (begun(0), START);
    let stands = |height, head| Led { epoch: Some(0), behind: Some(1), head: Some(head), ..led(height) };
    // Towards the blocks that there were it leads on, as slowly as it may.
    for height in 1..=20 {
        now = now.after(Span::secs(50));
        syncing.handle(now, Input::Logs(stands(height, 19 + height)));
        syncing.handle(now, Input::Tick);
        assert_eq!((syncing.poll(), syncing.deadline()), (None, Some(now.after(NOWHERE))));
    }
    // Whoever has left logs out is asked from the mark on again, and leads to the newer ones.
    let due = now.after(NOWHERE);
    for height in [3, 30, 3, 40] {
        syncing.handle(now.after(Span::secs(5)), Input::Logs(stands(height, 60)));
        assert_eq!(syncing.deadline(), Some(due));
    }
    now = due;
    assert_eq!(tried(&world, &mut syncing, &mut now, Peer::Honest), Ok(world.ledger.clone()));
}

#[test]
fn a_ledger_that_lacks_nothing_asks_for_nothing() {
    let mut syncing = begun(7);
    let mut now = START;
    let there = Led { epoch: Some(7), behind: Some(0), compared: true, head: Some(9), ..led(9) };
    for _ in 0..100 {
        now = now.after(Span::hours(1));
        syncing.handle(now, Input::Logs(there));
        syncing.handle(now, Input::Tick);
        assert_eq!((syncing.poll(), syncing.deadline()), (None, None));
    }
    // An epoch ends, and its last block is found before long.
    syncing.handle(now, Input::Logs(Led { behind: Some(1), ..there }));
    assert_eq!(syncing.deadline(), Some(now.after(NOWHERE)));
    syncing.handle(now, Input::Logs(Led { epoch: Some(8), ..there }));
    assert_eq!(syncing.deadline(), None);
}
