//! What the JSON door's form of signing leaves open, and what a member makes of it that lies.

use super::*;
use crate::{
    fixture::{auth_of, node},
    request::{Ends, Replacement, Which},
};

const DAY: u64 = 24 * 3_600;
const PRIVATE: i16 = 1;
const OUTBOX: i16 = -1;

impl Keeper {
    fn ends_at(&self, person: &Person, hash: MessageHash) -> Option<u64> {
        self.store.record(&person.account, &hash).unwrap().and_then(|record| record.expiry())
    }

    fn private(&self, now: Time, person: &Person) -> Vec<String> {
        self.page(now, &person.look(PRIVATE)).0
    }
}

/// A text that names no time, as a member passes it on: about these messages, which came at some second as it says.
fn told(mut request: Request, held: &[MessageHash], time: u64) -> Mutation {
    auth_of(&mut request).time = ms(time);
    match &mut request {
        Request::Delete(request) => request.receive(&node(1), &network()),
        Request::Expire(request) => request.receive(&node(1), &network()),
        other => panic!("{other:?} names its time"),
    }
    let mut mutation = mutation(request);
    assert_eq!(sound(&mutation, at(100 * DAY)), Ok(true));
    *mutation.held_mut().expect("a change") = held.to_vec();
    mutation
}

/// Whether members take a mutation, and its signatures hold.
fn sound(mutation: &Mutation, now: Time) -> Result<bool, Code> {
    let claims = mutation.claims(&network(), now)?;
    Ok(claims.iter().all(crate::identity::Claim::holds))
}

/// A store of a private drawer, as its owner signed it at some second.
fn stored(person: &Person, text: &str, time: u64, expiry: u64) -> StoreRequest {
    stored_in(person, PRIVATE, text, time, expiry)
}

fn stored_in(person: &Person, drawer: i16, text: &str, time: u64, expiry: u64) -> StoreRequest {
    let request = Request::Store(person.keep_in(drawer, text, time, expiry));
    match texted(person, request, format!("store{drawer}{}", ms(time)).as_bytes(), time) {
        Request::Store(request) => request,
        other => panic!("{other:?} is no store"),
    }
}

#[test]
fn who_lies_about_when_a_text_came_ends_no_message_earlier_than_it_would() {
    let person = Person::new(0);
    let hash = person.hash("m");
    let post = || person.post("m", 40 * DAY, 50 * DAY);
    let expire = |end: u64| {
        let request = person.expire_which(Which::Hashes(vec![hash]), Ends::All(end), None, 0);
        texted(&person, Request::Expire(request), format!("expire{end}{hash}").as_bytes(), 0)
    };
    // Said to have come long ago, a far end would be thirty days after that.
    for (end, came, expected) in [
        (ms(60 * DAY), 40 * DAY, 60 * DAY),
        (ms(60 * DAY), 12 * DAY, 50 * DAY),
        (ms(60 * DAY), 0, 50 * DAY),
        (u64::MAX, 40 * DAY, 70 * DAY),
        (u64::MAX, 12 * DAY, 50 * DAY),
        (u64::MAX, 0, 50 * DAY),
        // An earlier end is what its owner signed.
        (ms(45 * DAY), 40 * DAY, 45 * DAY),
        (ms(45 * DAY), 20 * DAY, 45 * DAY),
        (ms(45 * DAY), 14 * DAY, 50 * DAY),
    ] {
        let told = told(expire(end), &[hash], came);
        let mut knows = Keeper::new(1);
        knows.store(at(40 * DAY), post()).unwrap();
        knows.replicate(at(41 * DAY), vec![told.clone()]);
        assert_eq!(knows.ends_at(&person, hash), Some(ms(expected)), "{end}, said to have come at {came}");
        // Nor where it is heard of before the message.
        let mut missed = Keeper::new(2);
        missed.replicate(at(40 * DAY), vec![told]);
        missed.store(at(40 * DAY), post()).unwrap();
        assert_eq!(missed.ends_at(&person, hash), Some(ms(expected)), "{end}, said to have come at {came}");
        recount(&missed.store);
    }
}

#[test]
fn an_end_of_a_drawer_that_has_one_digit_more_is_none_of_another() {
    let person = Person::new(0);
    let mut keeper = Keeper::new(1);
    keeper.store(NOW, person.post("m", 0, 10 * DAY)).unwrap();
    // Signed of drawer 2, read as of the inbox.
    let end = format!("2{}", ms(DAY));
    let request = person.expire_which(
        Which::In { drawers: Drawers::One(Namespace::INBOX), before: None, most: None },
        Ends::All(end.parse().unwrap()),
        None,
        0,
    );
    let read = texted(&person, Request::Expire(request), format!("expire_all{end}").as_bytes(), 0);
    let hash = person.hash("m");
    for came in [0, 1, 5] {
        let result = keeper.replicate(at(5), vec![told(read.clone(), &[hash], came)]);
        assert_eq!(result, [Ok(Done::Changed { hashes: vec![] })]);
        assert_eq!(keeper.ends_at(&person, hash), Some(ms(10 * DAY)));
    }
}

#[test]
fn no_replacement_that_is_made_of_a_text_empties_an_outbox() {
    let person = Person::new(0);
    let shown = |keeper: &Keeper| keeper.page(at(20), &person.look(OUTBOX)).0;
    let stamp = |mutation: &Mutation| mutation.stamp(&network()).unwrap();
    let (older, real) = (stored_in(&person, OUTBOX, "a", 5, 900), stored_in(&person, OUTBOX, "b", 10, 900));
    let (first, last) = (Mutation::Store(older.clone()), Mutation::Store(real.clone()));
    let replacement = real.replacement().unwrap();
    let forged = (0..=u8::MAX)
        .map(|byte| Replacement { hash: MessageHash([byte; 32]), ..replacement.clone() })
        .map(|request| Mutation::Replace { request, held: vec![real.hash()] })
        .find(|forged| stamp(forged) > stamp(&last))
        .unwrap();
    assert_eq!(sound(&forged, at(11)), Ok(true), "nobody signs the hash");
    // Whether it comes after what it is about, or before.
    for order in [[last.clone(), forged.clone()], [forged, last.clone()]] {
        let mut keeper = Keeper::new(1);
        keeper.replicate(at(11), order.to_vec());
        assert_eq!(shown(&keeper), ["b"]);
        recount(&keeper.store);
    }
    // What was signed before is gone, whichever message took its place.
    let about = Mutation::Replace { request: replacement.clone(), held: vec![older.hash()] };
    for order in [[first.clone(), about.clone()], [about, first]] {
        let mut keeper = Keeper::new(1);
        keeper.replicate(at(11), order.to_vec());
        assert_eq!(shown(&keeper), [""; 0]);
    }
    // Its times are bounded like those of the store.
    for (timestamp, expiry) in [(ms(141), ms(900)), (ms(10), ms(141 + 30 * DAY))] {
        let late = Replacement { timestamp, expiry, ..replacement.clone() };
        let late = Mutation::Replace { request: late, held: vec![older.hash()] };
        assert_eq!(sound(&late, at(200)), Err(Code::BadTtl));
    }
}

#[test]
fn a_text_that_lost_by_its_digest_is_buried_once() {
    let person = Person::new(0);
    let stamp = |store: &StoreRequest| Mutation::Store(store.clone()).stamp(&network()).unwrap();
    let real = stored_in(&person, OUTBOX, "b", 10, 900);
    let mut others = (0..1_000).map(|number| stored_in(&person, OUTBOX, &format!("{number}"), 10, 900));
    let lost = others.find(|other| stamp(other) < stamp(&real)).unwrap();
    let mut keeper = Keeper::new(1);
    keeper.replicate(at(11), vec![Mutation::Store(real.clone()), Mutation::Store(lost.clone())]);
    let kept = keeper.store.mutations().count();
    keeper.replicate(at(12), vec![Mutation::Store(lost.clone()), Mutation::Store(lost)]);
    assert_eq!(keeper.store.mutations().count(), kept);
    assert_eq!(keeper.page(at(12), &person.look(OUTBOX)).0, ["b"]);
    recount(&keeper.store);
}

#[test]
fn what_a_text_is_said_to_have_been_sent_later_is_no_escape() {
    let person = Person::new(0);
    let drawer = Drawers::One(Namespace(PRIVATE));
    let first = stored(&person, "m", 10, 900);
    let digest = |request: &StoreRequest| Mutation::Store(request.clone()).stamp(&network()).unwrap();
    let mut variants =
        (901..).map(|end| StoreRequest { timestamp: ms(140), expiry: ms(end), ..first.clone() });
    let later = variants.find(|variant| digest(variant) > digest(&first)).unwrap();
    assert_eq!(sound(&Mutation::Store(later.clone()), at(80)), Ok(true), "it is taken from any member");
    let mut keeper = Keeper::new(1);
    keeper.store(at(10), first.clone()).unwrap();
    keeper.replicate(at(80), vec![Mutation::Store(later)]);
    let record = |keeper: &Keeper| keeper.store.record(&person.account, &first.hash()).unwrap().unwrap();
    assert_eq!((record(&keeper).timestamp(), record(&keeper).sent()), (Some(ms(140)), Some(ms(10))));
    let ends = Mutation::Expire { request: person.expire_in(drawer, 300, 85), held: vec![] };
    keeper.replicate(at(90), vec![ends]);
    assert_eq!(keeper.ends_at(&person, first.hash()), Some(ms(300)));
    assert_eq!(keeper.changed(at(90), deletion(person.delete_in(drawer, Some(11), 90))), [first.hash()]);
    assert_eq!(keeper.private(at(90), &person), [""; 0]);
    recount(&keeper.store);
}

#[test]
fn no_text_of_a_store_brings_back_what_was_deleted_after_it() {
    let person = Person::new(0);
    let drawer = Drawers::One(Namespace(PRIVATE));
    let first = stored(&person, "m", 10, 900);
    for deletion in [person.delete_in(drawer, None, 20), person.delete_in(drawer, Some(11), 20)] {
        let mut keeper = Keeper::new(1);
        keeper.store(at(10), first.clone()).unwrap();
        let gone = keeper.changed(at(20), Mutation::Delete { request: deletion, held: vec![] });
        assert_eq!(gone, [first.hash()]);
        // With the latest time that members take.
        for timestamp in [ms(10), ms(12), ms(91), ms(140)] {
            let again = Mutation::Store(StoreRequest { timestamp, expiry: ms(DAY), ..first.clone() });
            assert_eq!(sound(&again, at(200)), Ok(true), "{timestamp}");
            keeper.replicate(at(200), vec![again]);
            assert_eq!(keeper.private(at(200), &person), [""; 0], "{timestamp}");
        }
        let later = Mutation::Store(StoreRequest { timestamp: ms(141), ..first.clone() });
        assert_eq!(sound(&later, at(200)), Err(Code::BadTtl));
        // A member that was told another time deletes it all the same.
        let mut other = Keeper::new(2);
        other.replicate(at(11), vec![Mutation::Store(StoreRequest { timestamp: ms(140), ..first.clone() })]);
        convergence::pull(&mut other, &keeper, at(200));
        assert_eq!(other.private(at(200), &person), [""; 0]);
    }
}
