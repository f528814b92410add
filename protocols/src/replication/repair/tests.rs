//! Members that compare end alike, and a member that lies gains nothing.

mod hostile;

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{NOW, Person, change, deletion, network, nodes, one_swarm},
    mailbox::{self, Limits, Mailbox},
    replication::Responder,
    store::memory::MemoryStore,
};

/// One member with its store.
struct Member {
    id: NodeId,
    repair: Repair,
    mailbox: Mailbox,
    store: MemoryStore,
}

impl Member {
    fn write(&mut self, mutation: Mutation) {
        let input = mailbox::Input::Replicated { ticket: 0, mutations: vec![mutation] };
        self.mailbox.handle(NOW, input, &mut self.store).unwrap();
        while self.mailbox.poll().is_some() {}
    }
}

/// A swarm whose members only repair.
struct Swarm {
    members: Vec<Member>,
    now: Time,
    /// Comparisons that ended well: who, with whom, how much was fetched.
    ended: Vec<(usize, usize, u64)>,
    /// Slices that were asked for.
    slices: Vec<Slice>,
}

impl Swarm {
    fn new(count: u8) -> Self {
        let ids = nodes(count);
        let members = ids.iter().enumerate().map(|(place, id)| Member {
            id: *id,
            repair: Repair::new(*id, &one_swarm(ids.clone()).into()),
            mailbox: Mailbox::new(network(), Limits::default()),
            store: MemoryStore::new(place as u64),
        });
        Self { members: members.collect(), now: NOW, ended: Vec::new(), slices: Vec::new() }
    }

    fn feed(&mut self, who: usize, input: Input) {
        let member = &mut self.members[who];
        member.repair.handle(self.now, input, &member.store).unwrap();
    }

    fn connect(&mut self, who: usize, with: usize) {
        let with = self.members[with].id;
        self.feed(who, Input::Connected(with));
    }

    fn connect_all(&mut self) {
        for who in 0..self.members.len() {
            for with in (0..self.members.len()).filter(|with| *with != who) {
                self.connect(who, with);
            }
        }
    }

    /// Carries out what the machines ask for until they are silent.
    fn run(&mut self) {
        for step in 0.. {
            assert!(step < 100_000, "the machines never come to rest");
            let mut silent = true;
            for who in 0..self.members.len() {
                let Some(output) = self.members[who].repair.poll() else { continue };
                silent = false;
                self.carry(who, output);
            }
            if silent {
                return;
            }
        }
    }

    fn carry(&mut self, who: usize, output: Output) {
        match output {
            Output::Ask { question, to, request } => {
                if let Ask::Reconcile { slice, .. } = &request.ask {
                    self.slices.push(*slice);
                }
                let other = self.members.iter().find(|member| member.id == to).unwrap();
                let answer =
                    Some(Responder::default().respond(&other.store, &request.ask, Scope::ALL).unwrap());
                self.feed(who, Input::Answered { question, answer });
            }
            Output::Apply { question, mutations, .. } => {
                for mutation in mutations {
                    self.members[who].write(mutation);
                }
                self.feed(who, Input::Applied { question });
            }
            Output::Damaged(why) => panic!("memory is never damaged: {why}"),
            Output::Reconciled { with, fetched } => {
                let with = self.members.iter().position(|member| member.id == with).unwrap();
                self.ended.push((who, with, fetched));
            }
        }
    }

    fn wait(&mut self, span: Span) {
        self.now = self.now.after(span);
        for who in 0..self.members.len() {
            if self.members[who].repair.deadline().is_some_and(|at| at <= self.now) {
                self.feed(who, Input::Tick);
            }
        }
    }
}

#[test]
fn a_member_fetches_what_it_lacks_and_no_more() {
    let (mut swarm, person) = (Swarm::new(2), Person::new(0));
    for number in 0..1_000 {
        let post = Mutation::Store(person.post(&number.to_string(), 0, 100 + number % 3 * 3_600));
        swarm.members[1].write(post.clone());
        if number >= 10 {
            swarm.members[0].write(post);
        }
    }
    swarm.connect(0, 1);
    swarm.run();
    assert_eq!(swarm.ended, [(0, 1, 10)]);
    assert_eq!(swarm.members[0].store.fingerprints(), swarm.members[1].store.fingerprints());
    // Another comparison finds nothing, not even a bucket to look into.
    swarm.slices.clear();
    swarm.wait(EVERY);
    swarm.run();
    assert_eq!((swarm.ended.len(), swarm.ended[1], swarm.slices.len()), (2, (0, 1, 0), 0));
}

#[test]
fn an_empty_member_is_filled() {
    let (mut swarm, person) = (Swarm::new(2), Person::new(0));
    for number in 0..2_000 {
        swarm.members[1].write(Mutation::Store(person.post(&number.to_string(), 0, 100)));
    }
    swarm.connect(0, 1);
    swarm.run();
    assert_eq!(swarm.ended, [(0, 1, 2_000)]);
}

#[test]
fn a_big_bucket_is_compared_in_slices() {
    let (mut swarm, person) = (Swarm::new(2), Person::new(0));
    let count = SLICE_IDS + 1;
    for number in 0..count {
        let post = Mutation::Store(person.post(&number.to_string(), 0, 100));
        swarm.members[1].write(post.clone());
        if number % 100 != 0 {
            swarm.members[0].write(post);
        }
    }
    swarm.connect(0, 1);
    swarm.run();
    assert_eq!(swarm.ended, [(0, 1, count.div_ceil(100))]);
    let mut seen = swarm.slices.clone();
    seen.dedup();
    assert_eq!(seen, [Slice { bits: 1, value: 0 }, Slice { bits: 1, value: 1 }]);
    assert_eq!(first_slice(SLICE_IDS), Slice { bits: 0, value: 0 });
    assert_eq!(first_slice(u64::MAX), Slice { bits: Slice::MAX_BITS, value: 0 });
    assert_eq!(swarm.members[0].store.fingerprints(), swarm.members[1].store.fingerprints());
}

#[test]
fn what_has_ended_is_not_compared() {
    let (mut swarm, person) = (Swarm::new(2), Person::new(0));
    swarm.members[1].write(Mutation::Store(person.post("a", 0, 100)));
    swarm.now = NOW.after(Span::hours(2));
    swarm.connect(0, 1);
    swarm.run();
    assert_eq!((swarm.ended.as_slice(), swarm.slices.len()), ([(0, 1, 0)].as_slice(), 0));
}

#[test]
fn a_member_is_caught_up_with_a_majority_in_contact_and_compared_since() {
    let mut swarm = Swarm::new(5);
    let ready = |swarm: &Swarm| swarm.members[0].repair.caught_up();
    assert!(!ready(&swarm));
    swarm.connect(0, 1);
    assert!(!ready(&swarm), "in contact is not yet compared");
    swarm.run();
    assert!(!ready(&swarm), "two of five");
    swarm.connect(0, 2);
    swarm.run();
    assert!(ready(&swarm), "three of five");
    assert_eq!(swarm.members[0].repair.current(), 2);
    let gone = swarm.members[2].id;
    swarm.feed(0, Input::Disconnected(gone));
    assert!(!ready(&swarm), "one was lost");
    swarm.connect(0, 2);
    assert!(!ready(&swarm), "it may have taken in more meanwhile");
    swarm.run();
    assert!(ready(&swarm));
    // Hearing again of a contact that never ended changes nothing.
    swarm.connect(0, 2);
    assert!(ready(&swarm));
    assert!(Swarm::new(1).members[0].repair.caught_up(), "alone");
    assert!(!Swarm::new(2).members[0].repair.caught_up(), "one of two is no majority");
}

#[test]
fn a_member_that_is_told_that_it_is_behind_compares_soon() {
    let mut swarm = Swarm::new(3);
    swarm.connect(0, 1);
    swarm.run();
    let other = swarm.members[1].id;
    swarm.feed(0, Input::Behind(other));
    swarm.run();
    assert_eq!(swarm.ended.len(), 1, "not twice within the pause");
    assert_eq!(swarm.members[0].repair.deadline(), Some(NOW.after(BEHIND_PAUSE)));
    swarm.wait(BEHIND_PAUSE);
    swarm.run();
    assert_eq!(swarm.ended.len(), 2);
    // Told during a comparison, it compares again after it.
    swarm.wait(EVERY);
    swarm.feed(0, Input::Behind(other));
    swarm.run();
    assert_eq!(swarm.members[0].repair.deadline(), Some(swarm.now.after(BEHIND_PAUSE)));
    // Strangers and members out of reach change nothing.
    let unreachable = swarm.members[2].id;
    swarm.feed(0, Input::Behind(unreachable));
    swarm.feed(0, Input::Behind(nodes(9)[8]));
    assert!(swarm.members[0].repair.poll().is_none());
}

#[test]
fn members_never_compared_with_come_first() {
    let mut swarm = Swarm::new(3);
    swarm.connect(0, 1);
    swarm.run();
    // The first has been due for longer.
    swarm.now = swarm.now.after(EVERY).after(RETRY);
    swarm.connect(0, 2);
    swarm.wait(Span::micros(0));
    swarm.run();
    assert_eq!(swarm.ended.iter().map(|(_, with, _)| *with).collect::<Vec<_>>(), [1, 2, 1]);
}

#[test]
fn a_lost_contact_ends_its_comparison_and_the_next_begins() {
    let mut swarm = Swarm::new(3);
    swarm.connect(0, 1);
    swarm.connect(0, 2);
    let gone = swarm.members[1].id;
    swarm.feed(0, Input::Disconnected(gone));
    swarm.run();
    assert_eq!(swarm.ended, [(0, 2, 0)]);
}

/// What one member alone has seen.
fn seen() -> impl Strategy<Value = (u8, u8, u64, u64, u8)> {
    (0_u8..4, 0_u8..5, 0_u64..6, 2_u64..50, 1_u8..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn members_that_compare_end_alike(steps in proptest::collection::vec(seen(), 0..60)) {
        let (mut swarm, person) = (Swarm::new(3), Person::new(0));
        for (what, text, time, hour, who) in steps {
            let text = text.to_string();
            let hashes = [person.hash(&text)];
            let mut mutation = match what {
                0 => Mutation::Store(person.post(&text, time, hour * 3_600)),
                1 => Mutation::Store(person.keep(&text, time, hour * 3_600)),
                2 => deletion(person.delete(&hashes, time)),
                _ => change(person.expire(&hashes, hour * 3_600, None, time)),
            };
            // Whoever passed it on knew the message.
            if let Mutation::Delete { held, .. } | Mutation::Expire { held, .. } = &mut mutation {
                held.extend(hashes);
            }
            for member in (0..3).filter(|member| who & (1 << member) != 0) {
                swarm.members[member].write(mutation.clone());
            }
        }
        swarm.connect_all();
        swarm.run();
        for _ in 0..2 {
            swarm.wait(EVERY);
            swarm.run();
        }
        for member in &swarm.members {
            prop_assert_eq!(member.store.fingerprints(), swarm.members[0].store.fingerprints());
            prop_assert_eq!(member.repair.current(), 2);
        }
        // The last round found nothing to fetch.
        let last = swarm.ended.len() - 6;
        prop_assert!(swarm.ended[last..].iter().all(|(_, _, fetched)| *fetched == 0));
    }
}
