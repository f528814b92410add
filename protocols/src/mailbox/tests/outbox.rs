//! Public outboxes: one message at a time, the one that was signed last.

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::mutation,
    request::{Drawers, Request},
};

const OUTBOX: i16 = -1;

impl Keeper {
    /// What anyone reads there.
    fn shown(&self, now: Time, person: &Person, namespace: i16) -> Vec<String> {
        self.page(now, &person.look(namespace)).0
    }
}

#[test]
fn each_message_takes_the_place_of_the_one_before() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    assert_eq!(keeper.store(at(1), person.keep_in(OUTBOX, "a", 1, 900)), Ok((ms(900), false)));
    keeper.store(at(1), person.keep_in(-21, "other", 1, 900)).unwrap();
    let cursor = keeper.page(at(1), &person.look(OUTBOX)).2;
    assert_eq!(keeper.store(at(2), person.keep_in(OUTBOX, "b", 2, 900)), Ok((ms(900), false)));
    assert_eq!(keeper.shown(at(2), &person, OUTBOX), ["b"]);
    let after = Retrieve { after: Some(cursor), ..person.look(OUTBOX) };
    assert_eq!(keeper.page(at(2), &after).0, ["b"], "it is an arrival");
    assert_eq!(keeper.shown(at(2), &person, -21), ["other"], "each outbox by itself");
    assert!(keeper.store.record(&person.account, &person.hash_in(OUTBOX, "a")).unwrap().unwrap().deleted());
    // The first, repeated as it was, stays away; signed anew it is the latest.
    assert_eq!(keeper.store(at(3), person.keep_in(OUTBOX, "a", 1, 900)), Ok((ms(900), true)));
    assert_eq!(keeper.shown(at(3), &person, OUTBOX), ["b"]);
    keeper.store(at(4), person.keep_in(OUTBOX, "a", 4, 900)).unwrap();
    assert_eq!(keeper.shown(at(4), &person, OUTBOX), ["a"]);
    // The same once more is no replacement of itself.
    keeper.store(at(5), person.keep_in(OUTBOX, "a", 5, 950)).unwrap();
    assert_eq!(keeper.shown(at(5), &person, OUTBOX), ["a"]);
    recount(&keeper.store);
    // Private drawers and inboxes keep all.
    for namespace in [1, 0, -11] {
        keeper.store(at(5), person.keep_in(namespace, "a", 1, 900)).unwrap();
        keeper.store(at(5), person.keep_in(namespace, "b", 2, 900)).unwrap();
        assert_eq!(keeper.shown(at(5), &person, namespace), ["a", "b"], "{namespace}");
    }
}

#[test]
fn an_older_message_that_comes_late_is_buried() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(at(5), person.keep_in(OUTBOX, "new", 5, 100)).unwrap();
    let old = person.keep_in(OUTBOX, "old", 3, 90_000);
    let late =
        keeper.feed(at(6), Input::Replicated { ticket: 8, mutations: vec![Mutation::Store(old.clone())] });
    assert!(!late.iter().any(|output| matches!(output, Output::Arrived { .. })), "no news");
    assert_eq!(keeper.shown(at(6), &person, OUTBOX), ["new"]);
    let buried = keeper.store.record(&person.account, &old.hash()).unwrap().unwrap();
    assert!(buried.deleted());
    recount(&keeper.store);
    // And it stays buried when the newer one has ended, or was deleted.
    keeper.feed(at(200), Input::Tick);
    assert_eq!(keeper.shown(at(200), &person, OUTBOX), [""; 0]);
    keeper.replicate(at(200), vec![Mutation::Store(old.clone())]);
    assert_eq!(keeper.shown(at(200), &person, OUTBOX), [""; 0]);
    // A member that had the older one alone learns of it, evidence and all.
    let mut alone = Keeper::new(2);
    alone.replicate(at(6), vec![Mutation::Store(old)]);
    assert_eq!(alone.shown(at(200), &person, OUTBOX), ["old"]);
    convergence::pull(&mut alone, &keeper, at(200));
    assert_eq!(alone.shown(at(200), &person, OUTBOX), [""; 0]);
    assert_eq!(alone.store.fingerprints(), keeper.store.fingerprints());
    recount(&alone.store);
}

#[test]
fn a_tombstone_of_a_replacement_lasts_and_is_forgotten_with_its_evidence() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(at(1), person.keep_in(OUTBOX, "a", 1, 900)).unwrap();
    keeper.store(at(2), person.keep_in(OUTBOX, "b", 2, 900)).unwrap();
    let month = crate::request::MAX_TTL.as_millis() / 1_000;
    keeper.feed(at(2 + month - 1), Input::Tick);
    assert_eq!(keeper.store.records().count(), 1);
    recount(&keeper.store);
    keeper.feed(at(2 + month), Input::Tick);
    assert_eq!((keeper.store.records().count(), keeper.store.occupied()), (0, 0));
    assert_eq!(keeper.store.mutations().count(), 0);
}

#[test]
fn who_lies_about_a_replacement_buries_nothing_elsewhere() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(at(1), person.post("mail", 1, 900)).unwrap();
    keeper.store(at(1), person.keep_in(-21, "other", 1, 900)).unwrap();
    let newer = person.keep_in(OUTBOX, "b", 2, 900);
    let held = vec![person.hash("mail"), person.hash_in(-21, "other"), newer.hash(), person.hash("unknown")];
    keeper.store(at(2), newer.clone()).unwrap();
    let lie = Mutation::Replace { request: newer.replacement().unwrap(), held };
    keeper.replicate(at(2), vec![lie]);
    assert_eq!(keeper.texts(at(2), &person), ["mail"]);
    assert_eq!(keeper.shown(at(2), &person, -21), ["other"]);
    assert_eq!(keeper.shown(at(2), &person, OUTBOX), ["b"], "nor itself");
    assert_eq!(keeper.store(at(3), person.post("unknown", 3, 900)), Ok((ms(900), false)));
}

#[test]
fn a_replacement_is_proven_by_the_owners_signature_alone() {
    let person = Person::new(0);
    let sound = person.keep_in(OUTBOX, "b", 2, 900).replacement().unwrap();
    let verdict = |request: crate::request::Replacement| {
        let claims = Mutation::Replace { request, held: vec![] }.claims(&network(), at(2));
        claims.map(|claims| claims.iter().all(crate::identity::Claim::holds))
    };
    assert_eq!(verdict(sound.clone()), Ok(true));
    assert_eq!(verdict(crate::request::Replacement { hash: person.hash("x"), ..sound.clone() }), Ok(false));
    assert_eq!(
        verdict(crate::request::Replacement { namespace: Namespace(-21), ..sound.clone() }),
        Ok(false)
    );
    assert_eq!(verdict(crate::request::Replacement { expiry: 1, ..sound }), Ok(false));
    let private = person.keep_in(1, "b", 2, 900).replacement().unwrap();
    assert_eq!(verdict(private), Err(Code::BadRequest), "nothing is replaced in a private drawer");
    assert_eq!(person.post("b", 2, 900).replacement(), None);
}

/// What an owner does to an outbox.
#[derive(Clone, Debug)]
enum Deed {
    Store(u8),
    Delete(u8),
    DeleteAll,
    Expire(u8, u64),
    ExpireAll(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        5 => (0_u8..4).prop_map(Deed::Store),
        1 => (0_u8..4).prop_map(Deed::Delete),
        1 => Just(Deed::DeleteAll),
        1 => (0_u8..4, 2_u64..5).prop_map(|(text, end)| Deed::Expire(text, end * 3_600)),
        1 => (2_u64..5).prop_map(|end| Deed::ExpireAll(end * 3_600)),
    ]
}

fn done(person: &Person, deed: &Deed, time: u64) -> Mutation {
    let hash = |text: &u8| [person.hash_in(OUTBOX, &text.to_string())];
    let drawer = Drawers::One(Namespace(OUTBOX));
    mutation(match deed {
        Deed::Store(text) => Request::Store(person.keep_in(OUTBOX, &text.to_string(), time, 7_200 + time)),
        Deed::Delete(text) => Request::Delete(person.delete(&hash(text), time)),
        Deed::DeleteAll => Request::Delete(person.delete_in(drawer, None, time)),
        Deed::Expire(text, end) => Request::Expire(person.expire(&hash(text), *end, None, time)),
        Deed::ExpireAll(end) => Request::Expire(person.expire_in(drawer, *end, time)),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn replacements_raced_at_two_members_end_alike(
        steps in proptest::collection::vec((deed(), 0_u64..8, any::<bool>()), 1..12),
        arrivals in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..24),
    ) {
        let person = Person::new(0);
        let (mut first, mut second) = (Keeper::new(1), Keeper::new(2));
        let mut passed_on: Vec<Mutation> = Vec::new();
        for (deed, time, there) in &steps {
            let here = if *there { &mut second } else { &mut first };
            passed_on.push(here.write(at(8), done(&person, deed, *time)).unwrap().2);
            for (which, to_second) in arrivals.iter().take(passed_on.len()) {
                let there = if *to_second { &mut second } else { &mut first };
                there.replicate(at(8), vec![passed_on[which.index(passed_on.len())].clone()]);
            }
            prop_assert!(first.shown(at(8), &person, OUTBOX).len() <= 1);
            prop_assert!(second.shown(at(8), &person, OUTBOX).len() <= 1);
        }
        for _ in 0..3 {
            convergence::pull(&mut first, &second, at(8));
            convergence::pull(&mut second, &first, at(8));
        }
        recount(&first.store);
        recount(&second.store);
        prop_assert_eq!(first.store.fingerprints(), second.store.fingerprints());
        prop_assert_eq!(first.shown(at(8), &person, OUTBOX), second.shown(at(8), &person, OUTBOX));
    }

    #[test]
    fn whatever_the_order_the_message_that_was_signed_last_is_shown(
        texts in proptest::collection::vec(0_u8..5, 1..7),
        order in any::<prop::sample::Index>(),
        backwards in any::<bool>(),
    ) {
        let person = Person::new(0);
        let stores: Vec<_> = (0..).zip(&texts).map(|(time, text)| done(&person, &Deed::Store(*text), time)).collect();
        let mut order_of: Vec<_> = (0..stores.len()).collect();
        order_of.rotate_left(order.index(stores.len()));
        if backwards {
            order_of.reverse();
        }
        let mut keeper = Keeper::new(1);
        for which in order_of.iter().chain(&order_of) {
            keeper.replicate(at(8), vec![stores[*which].clone()]);
            recount(&keeper.store);
        }
        prop_assert_eq!(keeper.shown(at(8), &person, OUTBOX), [texts.last().unwrap().to_string()]);
    }
}
