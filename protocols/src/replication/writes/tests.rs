//! How a majority is counted, and what a slow or broken member costs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;
use crate::{
    MessageHash, Namespace, Signature,
    answer::{Code, Done},
    fixture::{NOW, Person, nodes},
    request::Store,
    ring::majority,
};

const REFUSED: Failure = Failure::Refused { code: Code::Full };

/// The machine of member 0 of a swarm, and what it said last.
struct Rig {
    writes: Writes,
    members: Vec<NodeId>,
    now: Time,
    /// Whether nobody hears that it is behind.
    deaf: bool,
}

/// A batch that was sent.
#[derive(Clone, Debug)]
struct Sent {
    batch: u64,
    to: NodeId,
    mutations: usize,
}

/// What came out: batches, members told that they are behind, writes done, writes short.
#[derive(Debug, Default)]
struct Said {
    sent: Vec<Sent>,
    behind: Vec<NodeId>,
    done: Vec<(u64, Vec<NodeId>)>,
    short: Vec<(u64, Vec<NodeId>)>,
}

impl Rig {
    fn new(members: u8) -> Self {
        let members = nodes(members);
        Self { writes: Writes::new(members[0], members.clone(), 3), members, now: NOW, deaf: false }
    }

    fn feed(&mut self, input: Input) -> Said {
        self.writes.handle(self.now, input);
        let mut said = Said::default();
        while let Some(output) = self.writes.poll() {
            match output {
                Output::Send { batch, to, request, subjects } => {
                    let Ask::Replicate { mutations, json } = request.ask else { panic!("not a batch") };
                    assert_eq!((request.map_version, mutations.len()), (3, subjects.len()));
                    assert!(!mutations.is_empty() && mutations.len() <= MAX_BATCH);
                    let bytes: usize = mutations.iter().map(Mutation::weight).sum();
                    assert!(json.is_empty(), "no client came through the JSON door");
                    assert!(bytes <= MAX_BATCH_BYTES || mutations.len() == 1);
                    said.sent.push(Sent { batch, to, mutations: mutations.len() });
                }
                Output::Behind { batch, to, request } => {
                    assert_eq!(request, SwarmRequest::new(3, Ask::Behind));
                    said.behind.push(to);
                    let heard = Input::Answered { batch, receipts: Vec::new() };
                    let unheard = Input::Failed { batch, why: Failure::Silent };
                    let report = if self.deaf { unheard } else { heard };
                    self.writes.handle(self.now, report);
                }
                Output::Done { ticket, receipts } => said.done.push((ticket, signers(&receipts))),
                Output::Short { ticket, receipts } => said.short.push((ticket, signers(&receipts))),
            }
        }
        said
    }

    fn write(&mut self, ticket: u64) -> Said {
        self.write_sized(ticket, 1)
    }

    fn write_sized(&mut self, ticket: u64, size: usize) -> Said {
        let person = Person { account: crate::AccountId::from_bytes([5; 33]), pair: crate::fixture::node(0) };
        let store = Store { data: ByteBuf::from(vec![7; size]), ..person.post("", 0, 100) };
        let (account, namespace) = (store.account, Namespace::INBOX);
        let subject = Subject::Message { account, namespace, hash: MessageHash([1; 32]) };
        let receipt = Some(receipt(self.members[0]));
        let quorums = vec![Quorum::of(self.members.clone())];
        let (mutation, door) = (Mutation::Store(store), Door::Native);
        self.feed(Input::Write { ticket, subject, mutation, receipt, quorums, door })
    }

    fn answer(&mut self, sent: &Sent) -> Said {
        let receipts = vec![Ok(receipt(sent.to)); sent.mutations];
        self.feed(Input::Answered { batch: sent.batch, receipts })
    }

    fn refuse(&mut self, sent: &Sent) -> Said {
        self.feed(Input::Answered { batch: sent.batch, receipts: vec![Err(REFUSED); sent.mutations] })
    }

    fn fail(&mut self, sent: &Sent) -> Said {
        self.feed(Input::Failed { batch: sent.batch, why: Failure::Silent })
    }

    fn wait(&mut self, span: Span) -> Said {
        self.now = self.now.after(span);
        self.feed(Input::Tick)
    }
}

fn receipt(node: NodeId) -> Receipt {
    Receipt { node, done: Done::Keeps { expiry: 1 }, signature: Signature([0; 64]), told: None }
}

fn signers(receipts: &Receipts) -> Vec<NodeId> {
    assert_eq!(receipts.map_version, 3);
    receipts.signed.iter().map(|receipt| receipt.node).collect()
}

#[test]
fn a_write_counts_with_its_majority_and_not_before() {
    for (members, others_needed) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)] {
        let mut rig = Rig::new(members);
        let mut said = rig.write(9);
        assert_eq!(said.sent.len(), usize::from(members) - 1, "to everyone else");
        let sent = said.sent.clone();
        for (answers, sent) in sent.iter().enumerate() {
            assert_eq!(said.done.len(), usize::from(answers == others_needed), "{members} members");
            said = rig.answer(sent);
        }
        assert_eq!(rig.writes.pending(), 0);
        assert_eq!(rig.writes.deadline(), None, "nothing is left to wait for");
    }
}

#[test]
fn receipts_name_this_member_and_who_answered() {
    let mut rig = Rig::new(5);
    let said = rig.write(9);
    rig.answer(&said.sent[3]);
    let done = rig.answer(&said.sent[1]).done;
    assert_eq!(done, [(9, vec![rig.members[0], said.sent[3].to, said.sent[1].to])]);
}

#[test]
fn time_runs_out_for_a_write() {
    let mut rig = Rig::new(5);
    let said = rig.write(9);
    rig.answer(&said.sent[0]);
    assert_eq!(rig.writes.deadline(), Some(NOW.after(WAIT)));
    assert!(rig.wait(Span::micros(WAIT.0 - 1)).short.is_empty());
    assert_eq!(rig.wait(Span::micros(1)).short, [(9, vec![rig.members[0], said.sent[0].to])]);
    // An answer that comes late changes nothing, and opens the window again.
    let late = rig.answer(&said.sent[1]);
    assert!(late.done.is_empty() && late.short.is_empty());
    assert!(rig.write(10).sent.iter().any(|sent| sent.to == said.sent[1].to));
}

#[test]
fn a_write_ends_when_everybody_has_failed() {
    let mut rig = Rig::new(3);
    let said = rig.write(9);
    assert!(rig.fail(&said.sent[0]).short.is_empty());
    assert_eq!(rig.refuse(&said.sent[1]).short, [(9, vec![rig.members[0]])]);
    assert_eq!(rig.writes.pending(), 0);
}

#[test]
fn a_batch_is_counted_once() {
    let mut rig = Rig::new(5);
    let said = rig.write(9);
    assert!(rig.answer(&said.sent[0]).done.is_empty());
    assert!(rig.answer(&said.sent[0]).done.is_empty(), "the same batch again");
    assert!(rig.fail(&said.sent[0]).sent.is_empty());
    assert!(rig.feed(Input::Answered { batch: 77, receipts: vec![] }).done.is_empty(), "no such batch");
}

#[test]
fn receipts_of_others_than_the_one_asked_do_not_count() {
    let mut rig = Rig::new(3);
    let said = rig.write(9);
    let [first, second] = [&said.sent[0], &said.sent[1]];
    let twice = vec![Ok(receipt(second.to)), Ok(receipt(first.to))];
    let answered = rig.feed(Input::Answered { batch: first.batch, receipts: twice });
    assert!(answered.done.is_empty(), "another's name, and more receipts than mutations");
    assert_eq!(answered.behind, [first.to]);
    let none = rig.feed(Input::Answered { batch: second.batch, receipts: vec![] });
    assert_eq!(none.short.len(), 1, "fewer receipts than mutations");
}

#[test]
fn load_makes_batches_larger_and_no_more_of_them() {
    let mut rig = Rig::new(2);
    let mut sent: Vec<_> = (0..1_000).flat_map(|ticket| rig.write(ticket).sent).collect();
    assert_eq!(sent.iter().map(|sent| sent.mutations).collect::<Vec<_>>(), vec![1; WINDOW]);
    let more = rig.answer(&sent[0]).sent;
    assert_eq!(more.iter().map(|sent| sent.mutations).collect::<Vec<_>>(), [MAX_BATCH]);
    sent = rig.answer(&sent[1]).sent;
    assert_eq!(sent[0].mutations, 1_000 - WINDOW - MAX_BATCH);
}

#[test]
fn batches_are_bounded_by_bytes_too() {
    let mut rig = Rig::new(2);
    let first: Vec<_> = (0..20).flat_map(|ticket| rig.write_sized(ticket, MAX_DATA).sent).collect();
    let batch = &rig.answer(&first[0]).sent[0];
    assert_eq!(batch.mutations, MAX_BATCH_BYTES / (MAX_DATA + 512));
}

#[test]
fn a_member_that_failed_is_left_alone_for_a_while() {
    let mut rig = Rig::new(2);
    let said = rig.write(1);
    rig.write(2);
    let third = rig.write(3);
    assert!(third.sent.is_empty(), "it waits for the window");
    let failed = rig.fail(&said.sent[0]);
    assert_eq!(failed.short.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [1, 3]);
    assert!(rig.write(4).sent.is_empty());
    assert_eq!(rig.writes.deadline(), Some(NOW.after(BACKOFF)));
    assert!(rig.wait(Span::micros(BACKOFF.0 - 1)).sent.is_empty());
    assert_eq!(rig.wait(Span::micros(1)).sent.len(), 1);
    // Contact ends the pause.
    let mut rig = Rig::new(2);
    let said = rig.write(1);
    rig.fail(&said.sent[0]);
    assert!(rig.write(2).sent.is_empty());
    assert_eq!(rig.feed(Input::Connected(said.sent[0].to)).sent.len(), 1);
    assert!(rig.feed(Input::Connected(nodes(9)[8])).sent.is_empty(), "a stranger");
}

#[test]
fn who_missed_something_is_told_once() {
    let mut rig = Rig::new(2);
    let to = rig.members[1];
    // It answers, but refuses: told at once.
    let said = rig.write(1);
    assert_eq!(rig.refuse(&said.sent[0]).behind, [to]);
    // It answers all: nothing to tell.
    let said = rig.write(2);
    assert!(rig.answer(&said.sent[0]).behind.is_empty());
    // It does not answer: told when the pause is over, though nothing else is to be sent.
    let said = rig.write(3);
    assert!(rig.fail(&said.sent[0]).behind.is_empty());
    assert_eq!(rig.writes.deadline(), Some(NOW.after(BACKOFF)));
    assert_eq!(rig.wait(BACKOFF).behind, [to]);
    assert!(rig.wait(BACKOFF).behind.is_empty());
    assert_eq!(rig.writes.deadline(), None);
    // Or on contact.
    let said = rig.write(4);
    rig.fail(&said.sent[0]);
    assert_eq!(rig.feed(Input::Connected(to)).behind, [to]);
}

#[test]
fn who_does_not_hear_that_it_is_behind_is_told_again() {
    let mut rig = Rig::new(2);
    let to = rig.members[1];
    rig.deaf = true;
    let said = rig.write(1);
    assert_eq!(rig.refuse(&said.sent[0]).behind, [to]);
    for _ in 0..3 {
        assert_eq!(rig.writes.deadline(), Some(rig.now.after(TELL_AGAIN)));
        assert_eq!(rig.wait(TELL_AGAIN).behind, [to]);
    }
    // Writes go on meanwhile, and do not wait for the next time.
    let said = rig.write(2);
    assert_eq!((said.sent.len(), said.behind.len()), (1, 0));
    assert!(rig.answer(&said.sent[0]).behind.is_empty());
    rig.deaf = false;
    assert_eq!(rig.feed(Input::Connected(to)).behind, [to], "it is back: at once");
    assert_eq!(rig.writes.deadline(), None);
}

#[test]
fn a_queue_that_is_full_leaves_the_rest_to_repair() {
    let mut rig = Rig::new(2);
    let said = rig.write(0);
    for ticket in 1..(WINDOW + MAX_QUEUE) as u64 {
        assert!(rig.write(ticket).short.is_empty());
    }
    let over = rig.write(90_000);
    assert_eq!(over.short, [(90_000, vec![rig.members[0]])]);
    assert_eq!(rig.answer(&said.sent[0]).behind, [rig.members[1]]);
}

#[test]
fn a_queue_is_bounded_by_bytes_too() {
    let mut rig = Rig::new(2);
    let fits = MAX_QUEUE_BYTES / (MAX_DATA + 768) + WINDOW;
    let mut sent = Vec::new();
    for ticket in 0..fits as u64 {
        let said = rig.write_sized(ticket, MAX_DATA);
        assert!(said.short.is_empty(), "{ticket}");
        sent.extend(said.sent);
    }
    assert_eq!(rig.write_sized(90_000, MAX_DATA).short.len(), 1);
    // What leaves makes room.
    sent.extend(rig.answer(&sent[0]).sent);
    assert!(rig.write_sized(90_001, MAX_DATA).short.is_empty());
    let failed = rig.fail(&sent[1]);
    assert!(failed.short.len() > 400, "the queue goes with the member");
    for ticket in 0..MAX_QUEUE_BYTES / (MAX_DATA + 768) {
        assert!(rig.write_sized(100_000 + ticket as u64, MAX_DATA).short.is_empty());
    }
}

#[test]
fn writes_beyond_the_most_that_wait_end_at_once() {
    let mut rig = Rig::new(5);
    // One member after the other stalls until its queue is full, while the rest refuse.
    for ticket in 0..MAX_PENDING {
        let stalls = rig.members[1 + ticket / (MAX_QUEUE + WINDOW)];
        let mut said = rig.write(ticket as u64);
        assert!(said.short.is_empty(), "{ticket}");
        while let Some(sent) = said.sent.pop() {
            if sent.to != stalls {
                said.sent.extend(rig.refuse(&sent).sent);
            }
        }
    }
    assert_eq!(rig.writes.pending(), MAX_PENDING);
    let over = rig.write(90_000);
    assert_eq!((over.short.len(), rig.writes.pending()), (1, MAX_PENDING));
}

/// One thing that happens to a machine with some batches under way.
#[derive(Clone, Copy, Debug)]
enum Event {
    Write(usize),
    Answer(prop::sample::Index, u8),
    Refuse(prop::sample::Index),
    Fail(prop::sample::Index),
    Connected(u8),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => prop_oneof![Just(1_usize), Just(MAX_DATA)].prop_map(Event::Write),
        6 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(which, wrong)| Event::Answer(which, wrong)),
        1 => any::<prop::sample::Index>().prop_map(Event::Refuse),
        1 => any::<prop::sample::Index>().prop_map(Event::Fail),
        1 => (0_u8..7).prop_map(Event::Connected),
        2 => (0_u64..2_000).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_write_ends_once_and_never_well_without_a_majority(
        members in 1_u8..8,
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let mut rig = Rig::new(members);
        let mut under_way: Vec<Sent> = Vec::new();
        let mut ended: BTreeMap<u64, bool> = BTreeMap::new();
        let mut written = 0;
        // In the end all time runs out.
        for event in events.into_iter().chain([Event::Wait(6_000), Event::Wait(1)]) {
            let take = |under_way: &mut Vec<Sent>, which: prop::sample::Index| {
                (!under_way.is_empty()).then(|| under_way.swap_remove(which.index(under_way.len())))
            };
            let said = match event {
                Event::Write(size) => {
                    written += 1;
                    rig.write_sized(written, size)
                }
                Event::Answer(which, wrong) => {
                    let Some(sent) = take(&mut under_way, which) else { continue };
                    // Now and then somebody signs with another's name, or too few sign.
                    let name = if wrong % 8 == 0 { rig.members[0] } else { sent.to };
                    let count = if wrong % 8 == 1 { sent.mutations / 2 } else { sent.mutations };
                    let receipts = vec![Ok(receipt(name)); count];
                    rig.feed(Input::Answered { batch: sent.batch, receipts })
                }
                Event::Refuse(which) => {
                    let Some(sent) = take(&mut under_way, which) else { continue };
                    rig.refuse(&sent)
                }
                Event::Fail(which) => {
                    let Some(sent) = take(&mut under_way, which) else { continue };
                    rig.fail(&sent)
                }
                Event::Connected(which) => rig.feed(Input::Connected(nodes(7)[usize::from(which)])),
                Event::Wait(millis) => rig.wait(Span::millis(millis)),
            };
            under_way.extend(said.sent);
            for member in &rig.members {
                prop_assert!(under_way.iter().filter(|sent| sent.to == *member).count() <= WINDOW);
            }
            for (ticket, signers) in &said.done {
                let distinct: BTreeSet<_> = signers.iter().collect();
                prop_assert_eq!(distinct.len(), signers.len(), "nobody counts twice");
                prop_assert!(distinct.len() >= majority(rig.members.len()));
                prop_assert!(distinct.iter().all(|signer| rig.members.contains(signer)));
                prop_assert_eq!(ended.insert(*ticket, true), None, "it ends once");
            }
            for (ticket, signers) in &said.short {
                prop_assert!(signers.len() < majority(rig.members.len()));
                prop_assert_eq!(ended.insert(*ticket, false), None, "it ends once");
            }
            prop_assert_eq!(rig.writes.pending() + ended.len(), usize::try_from(written).unwrap());
        }
        prop_assert_eq!(rig.writes.pending(), 0);
        prop_assert_eq!(rig.writes.deadlines.len(), 0);
        prop_assert!(rig.writes.batches.len() <= WINDOW * usize::from(members));
        // Nothing is remembered of a member but what its own queue weighs.
        for link in rig.writes.links.values() {
            prop_assert_eq!(link.bytes, link.queue.iter().map(|queued| queued.mutation.weight()).sum::<usize>());
            prop_assert!(link.queue.len() <= MAX_QUEUE && link.bytes <= MAX_QUEUE_BYTES);
        }
    }
}
