//! Members that have seen the same requests, in whatever order, hold the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_bytes::ByteArray;

use super::*;
use crate::{
    replication::{Responder, respond::Scope},
    store::Bucket,
    swarm::{Ask, MAX_FETCH, Slice, SwarmAnswer},
};

/// Fetches from `source` all that `keeper` lacks, as repair does once it knows the ids.
pub(super) fn pull(keeper: &mut Keeper, source: &Keeper, now: Time) {
    let ids = |keeper: &Keeper, bucket: Bucket| {
        let mut ids = Vec::new();
        keeper.store.bucket(bucket, &mut |item| ids.push(item.id)).unwrap();
        ids
    };
    for (bucket, _) in source.store.fingerprints() {
        let ours = ids(keeper, bucket);
        let lacking = ids(source, bucket).into_iter().filter(|id| !ours.contains(id));
        let mut lacking: Vec<_> = lacking.map(ByteArray::new).collect();
        while !lacking.is_empty() {
            let ids = lacking.iter().take(MAX_FETCH).copied().collect();
            let ask = Ask::Fetch { bucket: bucket.0, slice: Slice::default(), ids };
            let Ok(SwarmAnswer::Fetched { mutations, ids }) =
                Responder::default().respond(&source.store, &ask, Scope::ALL)
            else {
                panic!("a fetch is answered");
            };
            assert!(ids > 0);
            lacking.drain(..ids as usize);
            keeper.replicate(now, mutations);
        }
    }
}

/// One request, and at which of two members a client makes it.
#[derive(Clone, Debug)]
struct Step {
    what: What,
    text: u8,
    time: u64,
    expiry: u64,
    second: bool,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Post,
    Keep,
    Delete,
    Expire(Option<Direction>),
    /// Of the inbox, or of all drawers.
    DeleteAll(bool),
    DeleteBefore,
    ExpireAll,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        3 => Just(What::Post),
        2 => Just(What::Keep),
        2 => Just(What::Delete),
        1 => Just(What::Expire(None)),
        1 => Just(What::Expire(Some(Direction::Shorten))),
        1 => Just(What::Expire(Some(Direction::Extend))),
        1 => any::<bool>().prop_map(What::DeleteAll),
        1 => Just(What::DeleteBefore),
        1 => Just(What::ExpireAll),
    ];
    // Few texts and few times, so that requests meet; ends in several hours, all after the test.
    (what, 0_u8..3, 0_u64..6, 2_u64..6, any::<bool>()).prop_map(|(what, text, time, hour, second)| Step {
        what,
        text,
        time,
        expiry: hour * 3_600,
        second,
    })
}

fn mutation(person: &Person, step: &Step) -> Mutation {
    let text = step.text.to_string();
    // Two hashes at once, so that a request is partly about the unknown.
    let hashes = [person.hash(&text), person.hash("0")];
    match step.what {
        // The same message is sent at one time: a repeat with a later one counts as sent after a bounded deletion.
        What::Post => Mutation::Store(person.post(&text, u64::from(step.text), step.expiry)),
        What::Keep => Mutation::Store(person.keep(&text, u64::from(step.text), step.expiry)),
        What::Delete => deletion(person.delete(&hashes, step.time)),
        What::Expire(only) => change(person.expire(&hashes, step.expiry, only, step.time)),
        What::DeleteAll(all) => {
            let drawers = if all { Drawers::All } else { Drawers::One(Namespace::INBOX) };
            deletion(person.delete_in(drawers, None, step.time))
        }
        What::DeleteBefore => {
            let bound = step.expiry % 7;
            deletion(person.delete_in(Drawers::One(Namespace::INBOX), Some(bound), step.time))
        }
        What::ExpireAll => change(person.expire_in(Drawers::All, step.expiry, step.time)),
    }
}

type Readable = BTreeMap<MessageHash, (u64, u64, Vec<u8>)>;

fn readable(keeper: &Keeper, person: &Person) -> Readable {
    let Ok(Body::Messages { messages, more: false, .. }) =
        retrieve(&keeper.store, NOW, &person.retrieve(None), Door::Native)
    else {
        panic!("one page holds all");
    };
    messages.into_iter().map(|m| (m.hash, (m.timestamp, m.expiry, m.data.into_vec()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn two_members_end_alike(
        steps in proptest::collection::vec(step(), 1..14),
        arrivals in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..30),
    ) {
        let person = Person::new(0);
        let (mut first, mut second) = (Keeper::new(1), Keeper::new(2));
        let mut passed_on = Vec::new();
        for step in &steps {
            let here = if step.second { &mut second } else { &mut first };
            let (_, _, mutation) = here.write(NOW, mutation(&person, step)).unwrap();
            passed_on.push(mutation);
            // Some of what was passed on so far arrives, in any order, some of it twice.
            for (which, to_second) in arrivals.iter().take(passed_on.len()) {
                let there = if *to_second { &mut second } else { &mut first };
                there.replicate(NOW, vec![passed_on[which.index(passed_on.len())].clone()]);
            }
        }
        for _ in 0..2 {
            pull(&mut first, &second, NOW);
            pull(&mut second, &first, NOW);
        }
        prop_assert_eq!(first.store.fingerprints(), second.store.fingerprints());
        prop_assert_eq!(readable(&first, &person), readable(&second, &person));
        // One more comparison finds nothing to do.
        let heads = (first.store.head(), second.store.head());
        pull(&mut first, &second, NOW);
        pull(&mut second, &first, NOW);
        prop_assert_eq!(heads, (first.store.head(), second.store.head()));
    }

    #[test]
    fn all_that_is_passed_on_in_any_order_gives_one_state(
        steps in proptest::collection::vec(step(), 1..10),
        order in any::<prop::sample::Index>(),
    ) {
        let person = Person::new(0);
        let mut first = Keeper::new(1);
        let passed_on: Vec<_> = steps.iter()
            .map(|step| first.write(NOW, mutation(&person, step)).unwrap().2).collect();
        // Any rotation of them, forwards and backwards, and all of them once more.
        let mut order_of: Vec<_> = (0..passed_on.len()).collect();
        order_of.rotate_left(order.index(passed_on.len()));
        for backwards in [false, true] {
            if backwards {
                order_of.reverse();
            }
            let mut second = Keeper::new(2);
            for at in order_of.iter().chain(&order_of) {
                second.replicate(NOW, vec![passed_on[*at].clone()]);
            }
            // The first may have answered requests before it knew their message: it catches up.
            let mut first = Keeper { machine: Mailbox::new(network(), Limits::default()), store: first.store.clone() };
            pull(&mut first, &second, NOW);
            pull(&mut second, &first, NOW);
            prop_assert_eq!(first.store.fingerprints(), second.store.fingerprints());
            prop_assert_eq!(readable(&first, &person), readable(&second, &person));
        }
    }

    #[test]
    fn two_members_end_alike_while_time_passes(
        steps in proptest::collection::vec((step(), 0_u64..20, 1_u64..40), 1..12),
        late in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0_u64..20), 0..12),
    ) {
        let person = Person::new(0);
        let (mut first, mut second) = (Keeper::new(1), Keeper::new(2));
        let mut passed_on = Vec::new();
        let mut now = 10;
        for (step, passes, life) in &steps {
            now += passes;
            // Ends are near, and what a client signs is signed at about the time it asks.
            let step = Step { time: now - step.time, expiry: now + life, ..step.clone() };
            let here = if step.second { &mut second } else { &mut first };
            passed_on.push(here.write(at(now), mutation(&person, &step)).unwrap().2);
            here.feed(at(now), Input::Tick);
        }
        // Some of it arrives at the other, later or much later.
        for (which, to_second, passes) in &late {
            now += passes;
            let there = if *to_second { &mut second } else { &mut first };
            there.replicate(at(now), vec![passed_on[which.index(passed_on.len())].clone()]);
            there.feed(at(now), Input::Tick);
        }
        for _ in 0..3 {
            pull(&mut first, &second, at(now));
            pull(&mut second, &first, at(now));
        }
        first.feed(at(now), Input::Tick);
        second.feed(at(now), Input::Tick);
        prop_assert_eq!(first.store.fingerprints(), second.store.fingerprints());
        prop_assert_eq!(first.texts(at(now), &person).len(), second.texts(at(now), &person).len());
    }
}
