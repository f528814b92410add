//! What the simulator found, made small.

use super::*;
use crate::{
    answer::Body,
    fixture::{NOW, Person, at, network},
    replication::{Responder, respond::Scope},
    request::{Cursor, MAX_TTL},
    store::{Bucket, memory::MemoryStore},
    swarm::{Ask, Slice, SwarmAnswer},
};

/// Applies mutations as another member passes them on.
fn pass_on(now: Time, mutations: Vec<Mutation>, store: &mut MemoryStore) -> bool {
    let mut machine = Mailbox::new(network(), Limits::default());
    machine.handle(now, Input::Replicated { ticket: 1, mutations }, store).unwrap();
    std::iter::from_fn(|| machine.poll()).any(|output| matches!(output, Output::Arrived { .. }))
}

/// Fetches all that another member holds.
fn pull(now: Time, from: &MemoryStore, to: &mut MemoryStore) {
    for (bucket, _) in from.fingerprints() {
        let Bucket(hours) = bucket;
        let mut ids = Vec::new();
        from.bucket(bucket, &mut |item| ids.push(serde_bytes::ByteArray::new(item.id))).unwrap();
        let answer = Responder::default()
            .respond(from, &Ask::Fetch { bucket: hours, slice: Slice::default(), ids }, Scope::ALL)
            .unwrap();
        let SwarmAnswer::Fetched { mutations, .. } = answer else { panic!("{answer:?}") };
        pass_on(now, mutations, to);
    }
}

fn read(store: &MemoryStore, now: Time, person: &Person, after: Option<Cursor>) -> (usize, Cursor) {
    match page(store, now, &person.account, Namespace::INBOX, after, 10, 1_000).unwrap() {
        Body::Messages { messages, cursor, .. } => (messages.len(), cursor),
        other => panic!("{other:?}"),
    }
}

fn shortened(person: &Person, signed: bool) -> MemoryStore {
    let mut store = MemoryStore::new(1);
    let message = if signed { person.keep("m", 0, 900) } else { person.post("m", 0, 900) };
    let request = person.expire(&[person.hash("m")], 30, None, 5);
    let change = Mutation::Expire { request, held: vec![person.hash("m")] };
    pass_on(NOW, vec![Mutation::Store(message), change], &mut store);
    store
}

#[test]
fn a_member_that_missed_the_early_end_does_not_bring_the_message_back() {
    let person = Person::new(0);
    for signed in [false, true] {
        let mut knows = shortened(&person, signed);
        let mut missed = MemoryStore::new(2);
        let message = if signed { person.keep("m", 0, 900) } else { person.post("m", 0, 900) };
        pass_on(NOW, vec![Mutation::Store(message)], &mut missed);
        let mut machine = Mailbox::new(network(), Limits::default());
        machine.handle(at(60), Input::Tick, &mut knows).unwrap();
        pull(at(61), &missed, &mut knows);
        assert_eq!(read(&knows, at(61), &person, None).0, 0, "signed: {signed}");
        pull(at(61), &knows, &mut missed);
        assert_eq!(read(&missed, at(61), &person, None).0, 0, "signed: {signed}");
        assert_eq!(knows.fingerprints(), missed.fingerprints());
        // Nor does one that had nothing.
        let mut newcomer = MemoryStore::new(3);
        pull(at(62), &knows, &mut newcomer);
        assert_eq!(read(&newcomer, at(62), &person, None).0, 0, "signed: {signed}");
        assert_eq!(knows.fingerprints(), newcomer.fingerprints());
        // And when nothing that was signed before can last, it is forgotten.
        let month = MAX_TTL.as_millis() / 1_000;
        machine.handle(at(month + 4), Input::Tick, &mut knows).unwrap();
        assert_eq!(knows.records().count(), 1, "it was signed at 5");
        machine.handle(at(month + 5), Input::Tick, &mut knows).unwrap();
        assert_eq!(knows.records().count(), 0);
    }
}

#[test]
fn an_early_end_stands_above_an_extension_that_others_know_alone() {
    let person = Person::new(0);
    let mut knows = MemoryStore::new(1);
    let message = Mutation::Store(person.post("m", 0, 100));
    let change = |expiry, time| Mutation::Expire {
        request: person.expire(&[person.hash("m")], expiry, None, time),
        held: vec![person.hash("m")],
    };
    pass_on(NOW, vec![message.clone(), change(900, 5), change(30, 6)], &mut knows);
    let mut missed = MemoryStore::new(2);
    pass_on(NOW, vec![message, change(900, 5)], &mut missed);
    // Long after the end that the message was stored with.
    let mut machine = Mailbox::new(network(), Limits::default());
    machine.handle(at(200), Input::Tick, &mut knows).unwrap();
    pull(at(201), &missed, &mut knows);
    assert_eq!(read(&knows, at(201), &person, None).0, 0);
    pull(at(201), &knows, &mut missed);
    assert_eq!(read(&missed, at(201), &person, None).0, 0);
    assert_eq!(knows.fingerprints(), missed.fingerprints());
}

#[test]
fn what_its_owner_ended_and_stores_again_is_an_arrival() {
    let person = Person::new(0);
    let mut store = shortened(&person, true);
    let (none, cursor) = read(&store, at(60), &person, None);
    assert_eq!(none, 0);
    assert!(pass_on(at(60), vec![Mutation::Store(person.keep("m", 60, 900))], &mut store));
    assert_eq!(read(&store, at(61), &person, Some(cursor)).0, 1);
}

#[test]
fn a_change_does_not_bring_back_what_has_ended() {
    let person = Person::new(0);
    let mut store = shortened(&person, true);
    let mut machine = Mailbox::new(network(), Limits::default());
    let request = person.expire(&[person.hash("m")], 800, None, 60);
    let mutation = Mutation::Expire { request, held: Vec::new() };
    machine.handle(at(60), Input::Write { ticket: 1, mutation }, &mut store).unwrap();
    assert_eq!(read(&store, at(61), &person, None).0, 0);
}

#[test]
fn what_had_ended_and_lasts_longer_by_a_later_word_is_an_arrival() {
    let person = Person::new(0);
    for signed in [false, true] {
        let mut store = shortened(&person, signed);
        let (none, cursor) = read(&store, at(60), &person, None);
        assert_eq!(none, 0);
        // Signed while it was there, and heard of late.
        let request = person.expire(&[person.hash("m")], 800, None, 20);
        let late = Mutation::Expire { request, held: vec![person.hash("m")] };
        assert!(pass_on(at(61), vec![late.clone()], &mut store), "subscribers are told");
        let (came, cursor) = read(&store, at(61), &person, Some(cursor));
        assert_eq!(came, 1, "a reader who has gone past it gets it");
        assert!(!pass_on(at(62), vec![late], &mut store));
        assert_eq!(read(&store, at(62), &person, Some(cursor)).0, 0, "once");
        crate::fuzz::recount(&store);
    }
}

#[test]
fn messages_that_return_by_one_word_are_as_many_arrivals() {
    let person = Person::new(0);
    let texts = ["a", "b", "c"];
    let hashes = texts.map(|text| person.hash(text));
    let change = |expiry, time| Mutation::Expire {
        request: person.expire(&hashes, expiry, None, time),
        held: hashes.to_vec(),
    };
    for again in [false, true] {
        let mut store = MemoryStore::new(1);
        let post = |text| Mutation::Store(person.post(text, 0, 900));
        if again {
            // The request is kept for one of them already.
            let Mutation::Expire { request, .. } = change(800, 20) else { unreachable!() };
            let held = vec![hashes[1]];
            pass_on(NOW, vec![post("b"), Mutation::Expire { request, held }], &mut store);
        }
        pass_on(NOW, texts.map(post).to_vec(), &mut store);
        pass_on(NOW, vec![change(30, 5)], &mut store);
        let (_, cursor) = read(&store, at(60), &person, None);
        pass_on(at(61), vec![change(800, 20)], &mut store);
        crate::fuzz::recount(&store);
        let returned = if again { 2 } else { 3 };
        assert_eq!(read(&store, at(61), &person, None).0, 3);
        assert_eq!(read(&store, at(61), &person, Some(cursor)).0, returned, "again: {again}");
    }
}

#[test]
fn a_change_too_far_ahead_ends_alike_whatever_a_members_clock_says() {
    let person = Person::new(0);
    let month = MAX_TTL.as_millis() / 1_000;
    let request = person.expire(&[person.hash("m")], 2 * month, None, 5);
    let ends = [0, 5, 60].map(|now| {
        assert_eq!(request.verify(&network(), at(now), Source::Member), Ok(()));
        let mut store = MemoryStore::new(1);
        let change = Mutation::Expire { request: request.clone(), held: vec![person.hash("m")] };
        pass_on(at(now), vec![Mutation::Store(person.post("m", 0, 900)), change], &mut store);
        store.record(&person.account, &person.hash("m")).unwrap().unwrap().expiry()
    });
    assert_eq!(ends, [Some(at(month + 5).as_millis()); 3]);
}
