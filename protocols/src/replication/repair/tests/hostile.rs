//! A member that answers with lies: given up, at a bounded cost.

use super::*;
use crate::answer::Code;

/// A member under test; the test plays all the others.
struct Rig {
    repair: Repair,
    store: MemoryStore,
    now: Time,
}

impl Rig {
    /// In contact with member 1 and asked for fingerprints.
    fn begun() -> (Self, u64) {
        let ids = nodes(5);
        let mut rig = Self {
            repair: Repair::new(ids[0], &one_swarm(ids.clone()).into()),
            store: MemoryStore::new(1),
            now: NOW,
        };
        rig.feed(Input::Connected(ids[1]));
        let (question, to, ask) = rig.asked().unwrap();
        assert_eq!((to, ask), (ids[1], Ask::Fingerprints));
        (rig, question)
    }

    /// One step further: asked to compare a bucket.
    fn comparing() -> (Self, u64) {
        let (mut rig, question) = Self::begun();
        let question = rig.answer(question, fingerprints(&[1])).unwrap().0;
        (rig, question)
    }

    /// One step further: asked to send 600 ids, in two parts.
    fn fetching() -> (Self, u64) {
        let (mut rig, question) = Self::comparing();
        let (question, _, ask) = rig.answer(question, ids_needed(0, 600, false)).unwrap();
        assert!(matches!(ask, Ask::Fetch { ids, .. } if ids.len() == MAX_FETCH));
        (rig, question)
    }

    fn feed(&mut self, input: Input) {
        self.repair.handle(self.now, input, &self.store).unwrap();
    }

    /// The next question: its number, to whom, what.
    fn asked(&mut self) -> Option<(u64, NodeId, Ask)> {
        match self.repair.poll()? {
            Output::Ask { question, to, request } => Some((question, to, request.ask)),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn answer(&mut self, question: u64, answer: SwarmAnswer) -> Option<(u64, NodeId, Ask)> {
        self.feed(Input::Answered { question, answer: Some(answer) });
        self.asked()
    }

    /// The comparison was given up, and nothing of it is left.
    fn given_up(&mut self) -> bool {
        let again = self.repair.deadline() == Some(self.now.after(RETRY));
        self.repair.session.is_none() && self.repair.poll().is_none() && again && !self.repair.caught_up()
    }
}

fn bucket(hours_from_now: u32) -> u32 {
    Bucket::of(NOW.as_millis()).0 + hours_from_now
}

fn fingerprints(counts: &[u64]) -> SwarmAnswer {
    let print = |(place, count): (usize, &u64)| BucketPrint {
        bucket: bucket(u32::try_from(place).unwrap()),
        count: *count,
        sum: ByteArray::new([7; 32]),
    };
    SwarmAnswer::Fingerprints { buckets: counts.iter().enumerate().map(print).collect(), incomplete: vec![] }
}

/// A word of `negentropy` that names ids; with `more` it leaves a range open.
fn ids_needed(first: u32, count: u32, more: bool) -> SwarmAnswer {
    // Version; up to timestamp 1 or without end; a list of ids.
    let mut message = vec![0x61, if more { 2 } else { 0 }, 0, 2];
    message.extend([0x80 | (count >> 14) as u8, 0x80 | ((count >> 7) & 0x7f) as u8, (count & 0x7f) as u8]);
    for number in first..first + count {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        message.extend(id);
    }
    if more {
        message.extend([&[0, 0, 1][..], &[9; 16]].concat());
    }
    SwarmAnswer::Reconcile { message: ByteBuf::from(message) }
}

/// A word of `negentropy` that only says: all is different.
fn all_differs() -> SwarmAnswer {
    SwarmAnswer::Reconcile { message: ByteBuf::from([&[0x61, 0, 0, 1][..], &[9; 16]].concat()) }
}

#[test]
fn an_answer_of_another_stage_is_given_up() {
    let fetched = SwarmAnswer::Fetched { mutations: vec![], ids: 1 };
    let others = [
        SwarmAnswer::Noted,
        SwarmAnswer::Replicated { results: vec![] },
        SwarmAnswer::Refused { code: Code::WrongSwarm },
    ];
    for answer in others.iter().chain([&all_differs(), &fetched]) {
        let (mut rig, question) = Rig::begun();
        assert!(rig.answer(question, answer.clone()).is_none() && rig.given_up(), "{answer:?}");
    }
    for answer in others.iter().chain([&fingerprints(&[1]), &fetched]) {
        let (mut rig, question) = Rig::comparing();
        assert!(rig.answer(question, answer.clone()).is_none() && rig.given_up(), "{answer:?}");
    }
    for answer in others.iter().chain([&fingerprints(&[1]), &all_differs()]) {
        let (mut rig, question) = Rig::fetching();
        assert!(rig.answer(question, answer.clone()).is_none() && rig.given_up(), "{answer:?}");
    }
}

#[test]
fn no_answer_is_given_up() {
    for mut rig in [Rig::begun().0, Rig::comparing().0, Rig::fetching().0] {
        rig.now = Time(NOW.after(PATIENCE).0 - 1);
        rig.feed(Input::Tick);
        assert!(!rig.given_up());
        rig.now = NOW.after(PATIENCE);
        assert_eq!(rig.repair.deadline(), Some(rig.now));
        rig.feed(Input::Tick);
        assert!(rig.given_up());
    }
    let (mut rig, question) = Rig::comparing();
    rig.feed(Input::Answered { question, answer: None });
    assert!(rig.given_up());
    rig.now = rig.now.after(RETRY);
    rig.feed(Input::Tick);
    assert!(matches!(rig.asked(), Some((_, _, Ask::Fingerprints))), "tried again");
}

#[test]
fn an_answer_to_another_question_is_nothing() {
    let (mut rig, question) = Rig::comparing();
    assert!(rig.answer(question - 1, SwarmAnswer::Noted).is_none());
    assert!(rig.answer(question + 1, SwarmAnswer::Noted).is_none());
    rig.feed(Input::Applied { question });
    assert!(!rig.given_up());
    assert!(rig.answer(question, ids_needed(0, 600, false)).is_some());
}

#[test]
fn too_many_buckets_are_given_up() {
    let (mut rig, question) = Rig::begun();
    assert!(rig.answer(question, fingerprints(&vec![1; MAX_BUCKETS + 1])).is_none() && rig.given_up());
}

#[test]
fn more_records_than_a_store_holds_are_given_up() {
    for counts in [vec![u64::MAX], vec![u64::MAX; 3], vec![MAX_RECORDS / 2, MAX_RECORDS / 2, 1]] {
        let (mut rig, question) = Rig::begun();
        assert!(rig.answer(question, fingerprints(&counts)).is_none() && rig.given_up(), "{counts:?}");
    }
}

#[test]
fn who_claims_more_than_it_has_is_left_for_a_while() {
    let (mut rig, question) = Rig::begun();
    let counts = vec![MAX_RECORDS / MAX_BUCKETS as u64; MAX_BUCKETS];
    let (mut question, _, mut ask) = rig.answer(question, fingerprints(&counts)).unwrap();
    let slices = 1 << first_slice(counts[0]).bits;
    assert!(slices > 1);
    let mut walked = 0;
    loop {
        let Ask::Reconcile { bucket: at, slice, .. } = ask else { panic!("{ask:?}") };
        // It walks all slices of a bucket before the next, and never holds more than one entry for each.
        assert_eq!((at, u32::from(slice.value)), (bucket(walked / slices), walked % slices));
        assert!(rig.repair.session.as_ref().unwrap().todo.len() <= MAX_BUCKETS);
        walked += 1;
        let Some(next) = rig.answer(question, ids_needed(0, 0, false)) else { break };
        (question, _, ask) = next;
    }
    assert_eq!(walked, MAX_BARREN + 1);
    rig.now = rig.now.after(RETRY);
    rig.feed(Input::Tick);
    assert!(rig.asked().is_none(), "not at once");
    rig.now = rig.now.after(EVERY);
    rig.feed(Input::Tick);
    assert!(matches!(rig.asked(), Some((_, _, Ask::Fingerprints))), "later it is tried again");
}

#[test]
fn endless_rounds_are_given_up() {
    let (mut rig, mut question) = Rig::comparing();
    let mut rounds = 0;
    while let Some((next, _, _)) = rig.answer(question, all_differs()) {
        question = next;
        rounds += 1;
        assert!(rounds <= MAX_ROUNDS);
    }
    assert!(rig.given_up());
}

#[test]
fn too_many_ids_are_given_up() {
    let (mut rig, mut question) = Rig::comparing();
    let mut named = 0;
    while let Some((next, _, _)) = rig.answer(question, ids_needed(named, 8_000, true)) {
        question = next;
        named += 8_000;
        assert!(named as usize <= MAX_NEEDED);
    }
    assert!(rig.given_up());
}

#[test]
fn malformed_and_oversized_words_are_given_up() {
    let mut list_cut_short = vec![0x61, 0, 0, 2, 5];
    list_cut_short.extend([1; 40]);
    let oversized = [vec![0x61], vec![0; MAX_RECONCILE]].concat();
    for word in [vec![], vec![0x60], vec![0x10], vec![0x61, 0, 0, 3], list_cut_short, oversized] {
        let (mut rig, question) = Rig::comparing();
        let answer = SwarmAnswer::Reconcile { message: ByteBuf::from(word) };
        assert!(rig.answer(question, answer.clone()).is_none() && rig.given_up(), "{answer:?}");
    }
}

#[test]
fn a_fetch_that_deals_with_nothing_or_too_much_is_given_up() {
    for ids in [0, MAX_FETCH as u32 + 1, 601, u32::MAX] {
        let (mut rig, question) = Rig::fetching();
        let answer = SwarmAnswer::Fetched { mutations: vec![], ids };
        assert!(rig.answer(question, answer).is_none() && rig.given_up(), "{ids}");
    }
    // As many as were asked for are the most.
    let (mut rig, question) = Rig::fetching();
    let answer = SwarmAnswer::Fetched { mutations: vec![], ids: MAX_FETCH as u32 };
    rig.feed(Input::Answered { question, answer: Some(answer) });
    assert!(matches!(rig.repair.poll(), Some(Output::Apply { .. })));
    rig.feed(Input::Applied { question });
    assert!(matches!(rig.asked(), Some((_, _, Ask::Fetch { ids, .. })) if ids.len() == 600 - MAX_FETCH));
}

#[test]
fn who_drags_on_for_ever_does_not_keep_the_others_waiting() {
    let (mut rig, question) = Rig::fetching();
    let ids = nodes(5);
    rig.feed(Input::Connected(ids[2]));
    assert!(rig.repair.poll().is_none(), "one at a time");
    // It deals with a single id whenever patience is about to end.
    let (mut question, mut waited) = (question, 0);
    let turned_to = loop {
        rig.now = rig.now.after(Span::secs(9));
        waited += 9;
        assert!(waited <= 70);
        rig.feed(Input::Answered {
            question,
            answer: Some(SwarmAnswer::Fetched { mutations: vec![], ids: 1 }),
        });
        assert!(matches!(rig.repair.poll(), Some(Output::Apply { .. })), "what came is kept");
        rig.feed(Input::Applied { question });
        match rig.asked() {
            Some((next, to, Ask::Fetch { .. })) if to == ids[1] => question = next,
            other => break other,
        }
    };
    assert!(matches!(turned_to, Some((_, to, Ask::Fingerprints)) if to == ids[2]));
    // Its turn comes again.
    let Some((question, _, _)) = turned_to else { panic!("unreachable") };
    rig.now = rig.now.after(RETRY);
    rig.feed(Input::Answered { question, answer: Some(fingerprints(&[])) });
    assert!(matches!(rig.repair.poll(), Some(Output::Reconciled { .. })));
    assert!(matches!(rig.asked(), Some((_, to, Ask::Fingerprints)) if to == ids[1]));
}

#[test]
fn while_nobody_waits_a_comparison_may_take_long() {
    let (mut rig, mut question) = Rig::fetching();
    for _ in 0..60 {
        rig.now = rig.now.after(Span::secs(9));
        let answer = SwarmAnswer::Fetched { mutations: vec![], ids: 1 };
        rig.feed(Input::Answered { question, answer: Some(answer) });
        rig.repair.poll();
        rig.feed(Input::Applied { question });
        question = rig.asked().unwrap().0;
    }
}
