//! Deletions and changes of expiry of whole drawers, and of many messages at once.

use super::*;
use crate::{
    fixture::{mutation, texted},
    request::{Drawers, Ends, MAX_BULK, MAX_BULK_JSON, Request, Rights, Which},
};

const INBOX: Drawers = Drawers::One(Namespace::INBOX);

impl Keeper {
    /// What a client's change did here.
    fn outcome(&mut self, now: Time, mutation: Mutation) -> Outcome {
        let outputs = self.feed(now, Input::Write { ticket: 7, mutation });
        let done = outputs.into_iter().find_map(|output| match output {
            Output::Written { outcome, .. } => Some(outcome),
            _ => None,
        });
        done.expect("it was done")
    }

    /// Every message there is, in all drawers.
    fn all(&self, now: Time, person: &Person) -> Vec<MessageHash> {
        let mine = self.store.records().filter(|(account, ..)| **account == person.account);
        mine.filter(|(_, _, record)| record.readable(now)).map(|(_, hash, _)| *hash).collect()
    }

    fn end(&self, person: &Person, hash: MessageHash) -> Option<u64> {
        self.store.record(&person.account, &hash).unwrap().and_then(|record| record.expiry())
    }
}

/// Messages of three drawers: a and b, sent at 0 and 5, c, and d of an outbox.
fn filled(incarnation: u64, person: &Person) -> Keeper {
    let mut keeper = Keeper::new(incarnation);
    keeper.store(at(5), person.post("a", 0, 900)).unwrap();
    keeper.store(at(5), person.post("b", 5, 900)).unwrap();
    keeper.store(at(5), person.keep_in(1, "c", 0, 900)).unwrap();
    keeper.store(at(5), person.keep_in(-1, "d", 0, 900)).unwrap();
    keeper
}

fn sorted(mut hashes: Vec<MessageHash>) -> Vec<MessageHash> {
    hashes.sort_unstable();
    hashes
}

#[test]
fn whole_drawers_go_and_nothing_of_them_comes_back() {
    let person = Person::new(0);
    let (a, b) = (person.hash("a"), person.hash("b"));
    let (c, d) = (person.hash_in(1, "c"), person.hash_in(-1, "d"));
    let private = Drawers::One(Namespace(1));
    for (drawers, before, gone) in [
        (INBOX, None, vec![a, b]),
        (INBOX, Some(4), vec![a]),
        (INBOX, Some(5), vec![a, b]),
        (private, None, vec![c]),
        (Drawers::One(Namespace(7)), None, vec![]),
        (Drawers::All, None, vec![d, a, b, c]),
        (Drawers::All, Some(0), vec![d, a, c]),
    ] {
        let mut keeper = filled(1, &person);
        let request = person.delete_in(drawers, before, 6);
        let (done, _, passed_on) = keeper.write(at(6), deletion(request.clone())).unwrap();
        assert_eq!(done, Done::Changed { hashes: gone.clone() }, "{drawers:?} {before:?}");
        assert_eq!(passed_on, Mutation::Delete { request: request.clone(), held: gone.clone() });
        let left: Vec<_> = [a, b, c, d].into_iter().filter(|hash| !gone.contains(hash)).collect();
        assert_eq!(keeper.all(at(6), &person), sorted(left.clone()), "{drawers:?} {before:?}");
        for hash in &gone {
            assert!(keeper.store.record(&person.account, hash).unwrap().unwrap().deleted());
        }
        // Strangers and old words of the owner are answered as ever, and bring nothing back.
        keeper.store(at(7), person.post("a", 0, 900)).unwrap();
        keeper.store(at(7), person.post("b", 5, 900)).unwrap();
        keeper.store(at(7), person.keep_in(1, "c", 0, 900)).unwrap();
        keeper.store(at(7), person.keep_in(-1, "d", 0, 900)).unwrap();
        assert_eq!(keeper.all(at(7), &person), sorted(left.clone()), "{drawers:?} {before:?}");
        assert_eq!(keeper.changed(at(8), deletion(request)), [], "an exact repeat finds nothing more");
        recount(&keeper.store);
        // A member that has it all does the same, and one that has nothing keeps the tombstones.
        for mut other in [filled(2, &person), Keeper::new(3)] {
            other.replicate(at(9), vec![passed_on.clone()]);
            recount(&other.store);
            convergence::pull(&mut other, &keeper, at(9));
            assert_eq!(other.store.fingerprints(), keeper.store.fingerprints(), "{drawers:?} {before:?}");
        }
    }
}

#[test]
fn the_first_receiver_deletes_what_it_holds_whatever_its_senders_clock_said() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(at(0), person.post("ahead", 9, 900)).unwrap();
    let ahead = person.hash("ahead");
    assert_eq!(keeper.changed(at(1), change(person.expire_in(INBOX, 500, 1))), [ahead]);
    assert_eq!(keeper.changed(at(2), deletion(person.delete_in(INBOX, None, 2))), [ahead]);
    // And the others do as it did.
    let mut other = Keeper::new(2);
    other.store(at(0), person.post("ahead", 9, 900)).unwrap();
    let told = Mutation::Delete { request: person.delete_in(INBOX, None, 2), held: vec![ahead] };
    assert_eq!(other.replicate(at(2), vec![told]), [Ok(Done::Changed { hashes: vec![ahead] })]);
}

#[test]
fn what_a_member_holds_alone_goes_while_the_request_is_fresh() {
    let person = Person::new(0);
    for (request, bound) in
        [(person.delete_in(INBOX, None, 10), 10), (person.delete_in(INBOX, Some(4), 10), 4)]
    {
        for (now, fresh) in [(10, true), (80, true), (81, false)] {
            let mut other = Keeper::new(2);
            other.store(at(0), person.post("early", bound, 900)).unwrap();
            other.store(at(0), person.post("late", bound + 1, 900)).unwrap();
            other.replicate(at(now), vec![deletion(request.clone())]);
            let left: &[&str] = if fresh { &["late"] } else { &["early", "late"] };
            assert_eq!(other.texts(at(now), &person), left, "until {bound}, at {now}");
        }
    }
    let request = person.expire_in(INBOX, 500, 10);
    for (now, fresh) in [(80, true), (81, false)] {
        let mut other = Keeper::new(2);
        other.store(at(0), person.post("early", 10, 900)).unwrap();
        other.store(at(0), person.post("late", 11, 900)).unwrap();
        other.replicate(at(now), vec![change(request.clone())]);
        let end = if fresh { 500 } else { 900 };
        assert_eq!(other.end(&person, person.hash("early")), Some(ms(end)), "at {now}");
        assert_eq!(other.end(&person, person.hash("late")), Some(ms(900)), "at {now}");
    }
}

#[test]
fn a_member_that_lies_about_what_it_held_is_believed_about_the_right_drawer_alone() {
    let person = Person::new(0);
    let (a, c) = (person.hash("a"), person.hash_in(1, "c"));
    let late = person.hash("b");
    let lie = |request| Mutation::Delete { request, held: vec![a, c, late] };
    let before = person.delete_in(INBOX, Some(4), 6);
    // Who knows the messages looks at them.
    let mut knows = filled(1, &person);
    knows.replicate(at(100), vec![lie(before.clone())]);
    assert_eq!(knows.texts(at(100), &person), ["b"], "sent after the bound");
    assert!(knows.all(at(100), &person).contains(&c), "of another drawer");
    // Who does not takes the word, until the message comes.
    let mut missed = Keeper::new(2);
    missed.replicate(at(100), vec![lie(before)]);
    assert_eq!(missed.store.records().count(), 3);
    assert_eq!(missed.store(at(101), person.post("a", 0, 900)), Ok((ms(900), true)), "this one was deleted");
    assert_eq!(missed.store(at(101), person.keep_in(1, "c", 0, 900)), Ok((ms(900), false)));
    assert_eq!(missed.store(at(101), person.post("b", 5, 900)), Ok((ms(900), false)));
    assert_eq!(missed.all(at(101), &person), sorted(vec![c, late]));
    recount(&missed.store);
    // Who deleted them stands as before where the owner named them.
    let mut named = Keeper::new(3);
    named.replicate(at(100), vec![Mutation::Delete { request: person.delete(&[c], 6), held: vec![c] }]);
    assert_eq!(named.store(at(101), person.keep_in(1, "c", 0, 900)), Ok((ms(900), true)));
    assert_eq!(named.all(at(101), &person), []);
    // The same of changes of expiry: an end of one drawer ends nothing in another.
    let mut knows = filled(4, &person);
    let request = person.expire_in(INBOX, 20, 6);
    knows.replicate(at(100), vec![Mutation::Expire { request, held: vec![a, c] }]);
    assert_eq!(knows.end(&person, c), Some(ms(900)));
    assert_eq!(knows.end(&person, a), Some(ms(20)));
}

#[test]
fn an_end_that_is_heard_of_before_its_message_ends_no_other_one() {
    let person = Person::new(0);
    let (early, late, elsewhere) = (person.hash("early"), person.hash("late"), person.hash_in(1, "c"));
    // Signed at 0, it covers what was sent until 70 in the inbox.
    let told =
        Mutation::Expire { request: person.expire_in(INBOX, 150, 0), held: vec![early, late, elsewhere] };
    let messages =
        [person.post("early", 70, 900), person.post("late", 71, 900), person.keep_in(1, "c", 60, 900)];
    let ends = |keeper: &Keeper| [early, late, elsewhere].map(|hash| keeper.end(&person, hash));
    let mut before = Keeper::new(1);
    before.replicate(at(100), vec![told.clone()]);
    assert_eq!(before.store.records().count(), 3, "a member's word, until the messages come");
    let mut after = Keeper::new(2);
    for message in messages {
        before.store(at(100), message.clone()).unwrap();
        after.store(at(100), message).unwrap();
    }
    after.replicate(at(100), vec![told]);
    assert_eq!(ends(&after), [150, 900, 900].map(|end| Some(ms(end))));
    assert_eq!(ends(&before), ends(&after));
    assert_eq!(before.store.fingerprints(), after.store.fingerprints());
    recount(&before.store);
    // Nor when it would have ended already.
    let mut before = Keeper::new(3);
    before.replicate(
        at(100),
        vec![Mutation::Expire { request: person.expire_in(INBOX, 150, 0), held: vec![late] }],
    );
    assert_eq!(before.store(at(200), person.post("late", 71, 900)), Ok((ms(900), false)));
    assert_eq!(before.texts(at(200), &person), ["late"]);
}

#[test]
fn a_request_that_is_repeated_later_says_nothing_of_what_came_after_it() {
    let person = Person::new(0);
    let held = vec![person.hash("edge"), person.hash("new")];
    for old in [
        Mutation::Delete { request: person.delete_in(INBOX, None, 0), held: held.clone() },
        Mutation::Expire { request: person.expire_in(INBOX, 150, 0), held },
    ] {
        let mut knows = Keeper::new(1);
        knows.store(at(71), person.post("edge", 70, 900)).unwrap();
        knows.store(at(71), person.post("new", 71, 900)).unwrap();
        knows.replicate(at(200), vec![old.clone()]);
        assert_eq!(knows.texts(at(200), &person), ["new"], "{old:?}");
    }
}

#[test]
fn many_messages_go_in_steps_and_whoever_is_told_of_so_many_repeats() {
    let person = Person::new(0);
    let mut keeper = Keeper::new(1);
    let count = MAX_BULK + 300;
    for number in 0..count {
        keeper.store(NOW, person.post(&number.to_string(), 0, 900)).unwrap();
    }
    let full = keeper.store.clone();
    let step = |keeper: &mut Keeper, mutation: &Mutation| keeper.changed(at(5), mutation.clone()).len();
    let delete = deletion(person.delete_in(INBOX, None, 5));
    let expire = change(person.expire_in(Drawers::All, 500, 5));
    for mutation in [&expire, &delete] {
        let steps: Vec<_> = (0..3).map(|_| step(&mut keeper, mutation)).collect();
        assert_eq!(steps, [MAX_BULK, 300, 0], "{:?}", mutation.stamp(&network()));
    }
    recount(&keeper.store);
    assert_eq!(keeper.all(at(5), &person), []);
    // Fewer at a time where that is asked for, the earliest first, and never more.
    keeper.store = full.clone();
    for (most, expected) in [(0, 0), (7, 7), (u32::MAX, MAX_BULK)] {
        let which = Which::In { drawers: INBOX, before: None, most: Some(most) };
        let request = person.delete_which(which, 6 + u64::from(most) % 50);
        let first = keeper.texts(at(5), &person).first().map(|text| person.hash(text));
        let gone = keeper.changed(at(5), deletion(request));
        assert_eq!(gone.len(), expected, "{most}");
        assert!(gone.is_empty() || gone.first().copied() == first);
    }
    // A client of the JSON door does not repeat.
    keeper.store = full;
    let text = format!("delete_all{}", ms(5));
    let request = Request::Delete(person.delete_in(INBOX, None, 5));
    let json = mutation(texted(&person, request, text.as_bytes(), 5));
    assert_eq!(step(&mut keeper, &json), count);
}

#[test]
fn clients_of_the_json_door_are_told_of_so_many_and_no_more() {
    let person = Person::new(0);
    let mut keeper = Keeper::new(1);
    for number in 0..MAX_BULK_JSON {
        keeper.store(NOW, person.post(&number.to_string(), 0, 900)).unwrap();
    }
    let ends = |keeper: &Keeper| match expiries(&keeper.store, at(5), &person.get_expiries(None, 5)).unwrap()
    {
        Body::Expiries { ends, more } => (ends.len(), more),
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(ends(&keeper), (MAX_BULK_JSON, false));
    keeper.store(NOW, person.post("one more", 0, 900)).unwrap();
    assert_eq!(ends(&keeper), (MAX_BULK_JSON, true));
    let full = keeper.store.clone();
    let by_text = |request, text: String| mutation(texted(&person, request, text.as_bytes(), 5));
    let delete = Request::Delete(person.delete_in(INBOX, None, 5));
    let expire = Request::Expire(person.expire_in(INBOX, 500, 5));
    for request in
        [by_text(delete, format!("delete_all{}", ms(5))), by_text(expire, format!("expire_all{}", ms(500)))]
    {
        keeper.store = full.clone();
        let outcome = keeper.outcome(at(5), request);
        assert!(matches!(&outcome.done, Done::Changed { hashes } if hashes.len() == MAX_BULK_JSON));
        assert_eq!(outcome.detail.listed.len(), MAX_BULK_JSON);
    }
}

#[test]
fn what_has_just_ended_is_taken_and_not_called_a_repeat() {
    let person = Person::new(0);
    let mut keeper = Keeper::new(1);
    assert_eq!(keeper.store(at(20), person.post("late", 0, 15)), Ok((ms(15), false)));
    assert_eq!(keeper.store.records().count(), 0);
}

#[test]
fn whole_drawers_end_earlier_and_never_later() {
    let person = Person::new(0);
    let mut keeper = Keeper::new(1);
    keeper.store(NOW, person.post("soon", 0, 100)).unwrap();
    keeper.store(NOW, person.post("late", 0, 900)).unwrap();
    keeper.store(NOW, person.keep_in(1, "private", 0, 900)).unwrap();
    let (soon, late, private) = (person.hash("soon"), person.hash("late"), person.hash_in(1, "private"));
    let outcome = keeper.outcome(at(1), change(person.expire_in(INBOX, 500, 1)));
    assert_eq!(outcome.done, Done::Changed { hashes: vec![late] });
    assert_eq!(outcome.detail.listed, [(Namespace::INBOX, late)]);
    let ends = |keeper: &Keeper| [soon, late, private].map(|hash| keeper.end(&person, hash));
    assert_eq!(ends(&keeper), [100, 500, 900].map(|end| Some(ms(end))));
    assert_eq!(keeper.changed(at(2), change(person.expire_in(Drawers::All, 800, 2))), [private]);
    assert_eq!(ends(&keeper), [100, 500, 800].map(|end| Some(ms(end))));
}

#[test]
fn each_message_may_get_an_end_of_its_own() {
    let person = Person::new(0);
    let hashes = ["a", "b", "c", "unknown"].map(|text| person.hash(text));
    let [a, b, c, unknown] = hashes;
    let month = 30 * 24 * 3_600;
    for (only, changed, ends) in [
        (None, vec![a, b, c], [50, 400, month + 5]),
        (Some(Direction::Shorten), vec![a], [50, 300, 300]),
        (Some(Direction::Extend), vec![b, c], [300, 400, month + 5]),
    ] {
        let mut keeper = Keeper::new(1);
        for text in ["a", "b", "c"] {
            keeper.store(NOW, person.post(text, 0, 300)).unwrap();
        }
        let wanted = [50, 400, 100 * month, 400].map(ms);
        let which = Which::Hashes(hashes.to_vec());
        let request = person.expire_which(which, Ends::Each(wanted.to_vec()), only, 5);
        let outcome = keeper.outcome(at(5), change(request.clone()));
        assert_eq!(outcome.done, Done::Changed { hashes: changed.clone() }, "{only:?}");
        assert_eq!(
            [a, b, c].map(|hash| keeper.end(&person, hash)),
            ends.map(|end| Some(ms(end))),
            "{only:?}"
        );
        let listed: Vec<_> = changed.iter().map(|hash| (Namespace::INBOX, *hash)).collect();
        assert_eq!(outcome.detail.listed, listed);
        let left = [a, b, c].into_iter().filter(|hash| !changed.contains(hash));
        assert_eq!(outcome.detail.unchanged, left.map(|hash| (hash, ms(300))).collect::<Vec<_>>());
        assert_eq!(keeper.end(&person, unknown), None);
        // A member does the same.
        let mut other = Keeper::new(2);
        for text in ["a", "b", "c"] {
            other.store(NOW, person.post(text, 0, 300)).unwrap();
        }
        other.replicate(at(6), vec![Mutation::Expire { request, held: changed }]);
        assert_eq!(other.store.fingerprints(), keeper.store.fingerprints(), "{only:?}");
    }
    // Named twice, the first end counts.
    let mut keeper = Keeper::new(1);
    keeper.store(NOW, person.post("a", 0, 300)).unwrap();
    let ends = Ends::Each(vec![ms(50), ms(60)]);
    let request = person.expire_which(Which::Hashes(vec![a, a]), ends, None, 5);
    assert_eq!(keeper.changed(at(5), change(request)), [a]);
    assert_eq!(keeper.end(&person, a), Some(ms(50)));
}

#[test]
fn a_friend_who_may_not_delete_lets_messages_live_longer_only() {
    let person = Person::new(0);
    let hash = person.hash("a");
    for (flags, expiry, end) in [(2, 50, 300), (2, 400, 400), (2 + 4, 50, 50), (2 + 4, 400, 400)] {
        let mut keeper = Keeper::new(1);
        keeper.store(NOW, person.post("a", 0, 300)).unwrap();
        let request = Request::Expire(person.expire(&[hash], expiry, None, 5));
        let asked = person.friend(1, Rights(flags)).asks(request, 5);
        keeper.changed(at(5), mutation(asked));
        assert_eq!(keeper.end(&person, hash), Some(ms(end)), "{flags} to {expiry}");
    }
}

#[test]
fn ends_are_told_of_what_is_there() {
    let person = Person::new(0);
    let keeper = filled(1, &person);
    let (a, d, unknown) = (person.hash("a"), person.hash_in(-1, "d"), person.hash("unknown"));
    let ends = |hashes: Option<&[MessageHash]>, now| match expiries(
        &keeper.store,
        at(now),
        &person.get_expiries(hashes, now),
    ) {
        Ok(Body::Expiries { ends, more: false }) => {
            ends.into_iter().map(|end| (end.hash, end.expiry)).collect()
        }
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(ends(Some(&[unknown, d, a]), 9), [(d, ms(900)), (a, ms(900))]);
    let all: Vec<(MessageHash, u64)> = ends(None, 9);
    assert_eq!(sorted(all.iter().map(|(hash, _)| *hash).collect()), keeper.all(at(9), &person));
    assert_eq!(ends(None, 900), []);
}

#[test]
fn a_store_knows_in_which_drawers_anything_lies() {
    let person = Person::new(0);
    let mut keeper = filled(1, &person);
    for namespace in [i16::MIN, i16::MAX, -5] {
        keeper.store(at(5), person.keep_in(namespace, "m", 0, 900)).unwrap();
    }
    let drawers = |keeper: &Keeper, person: &Person| -> Vec<i16> {
        let drawers = keeper.store.drawers(&person.account).unwrap();
        drawers.into_iter().map(|namespace| namespace.0).collect()
    };
    assert_eq!(drawers(&keeper, &person), [i16::MIN, -5, -1, 0, 1, i16::MAX]);
    assert_eq!(drawers(&keeper, &Person::new(1)), [0; 0]);
    keeper.changed(at(6), deletion(person.delete_in(INBOX, None, 6)));
    assert_eq!(drawers(&keeper, &person), [i16::MIN, -5, -1, 1, i16::MAX], "tombstones lie in none");
}
