//! What the JSON door's form of signing leaves open, what a member makes of it that lies, and that it comes to the
//! same in whatever order it comes.

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{auth_of, node},
    request::{Ends, Rights, Which},
};

const DAY: u64 = 24 * 3_600;
const MONTH: u64 = 30 * DAY;
const PRIVATE: i16 = 1;

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

/// A store as its owner signed its text at some second, and as somebody says that it was sent and ends.
fn stored(person: &Person, drawer: i16, text: &str, time: u64, (sent, expiry): (u64, u64)) -> StoreRequest {
    let request = StoreRequest { namespace: Namespace(drawer), ..person.post(text, sent, expiry) };
    let signed = format!("store{}{}", Namespace(drawer).tag(), ms(time));
    match texted(person, Request::Store(request), signed.as_bytes(), time) {
        Request::Store(request) => request,
        other => panic!("{other:?} is no store"),
    }
}

/// A change of the end of one message, in milliseconds since 1970, as its owner signed the text.
fn extended(person: &Person, hash: MessageHash, end: u64) -> Request {
    let request = person.expire_which(Which::Hashes(vec![hash]), Ends::All(end), None, 0);
    texted(person, Request::Expire(request), format!("expire{end}{hash}").as_bytes(), 0)
}

#[test]
fn who_lies_about_when_a_text_came_ends_no_message_earlier_than_it_would() {
    let person = Person::new(0);
    let hash = person.hash("m");
    let post = || person.post("m", 40 * DAY, 50 * DAY);
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
        let told = told(extended(&person, hash, end), &[hash], came);
        let mut knows = Keeper::new(1);
        knows.store(at(40 * DAY), post()).unwrap();
        knows.replicate(at(41 * DAY), vec![told.clone()]);
        assert_eq!(knows.ends_at(&person, hash), Some(ms(expected)), "{end}, said to have come at {came}");
        // Nor where it is heard of before the message.
        let mut missed = Keeper::new(2);
        missed.replicate(at(41 * DAY), vec![told]);
        missed.store(at(41 * DAY), post()).unwrap();
        assert_eq!(missed.ends_at(&person, hash), Some(ms(expected)), "{end}, said to have come at {came}");
        assert_eq!(missed.store.fingerprints(), knows.store.fingerprints());
        recount(&knows.store);
        recount(&missed.store);
    }
}

#[test]
fn a_change_that_ended_nothing_is_forgotten_before_its_message() {
    let person = Person::new(0);
    let hash = person.hash("m");
    let (mut knows, mut missed) = (Keeper::new(1), Keeper::new(2));
    for keeper in [&mut knows, &mut missed] {
        keeper.store(at(40 * DAY), person.post("m", 40 * DAY, 50 * DAY)).unwrap();
    }
    let change = told(extended(&person, hash, u64::MAX), &[hash], 12 * DAY);
    knows.replicate(at(41 * DAY), vec![change.clone()]);
    let changed = |keeper: &Keeper| keeper.store.record(&person.account, &hash).unwrap().unwrap().change;
    assert!(changed(&knows).is_some());
    assert_ne!(knows.store.fingerprints(), missed.store.fingerprints());
    knows.feed(at(42 * DAY), Input::Tick);
    // Who is told of it now leaves it.
    missed.replicate(at(42 * DAY), vec![change]);
    for keeper in [&knows, &missed] {
        assert_eq!((changed(keeper), keeper.ends_at(&person, hash)), (None, Some(ms(50 * DAY))));
        assert_eq!(keeper.store.mutations().count(), 1, "nor is its evidence kept");
        recount(&keeper.store);
    }
    assert_eq!(knows.store.fingerprints(), missed.store.fingerprints());
    knows.feed(at(50 * DAY), Input::Tick);
    assert_eq!((knows.store.records().count(), knows.store.occupied()), (0, 0));
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
fn no_text_of_a_store_brings_back_what_was_deleted_after_it() {
    let person = Person::new(0);
    let drawer = Drawers::One(Namespace(PRIVATE));
    let first = stored(&person, PRIVATE, "m", 10, (10, 900));
    let hash = first.hash();
    // With the latest times that members take.
    let again = |timestamp| {
        let end = ms(10 + MONTH);
        Mutation::Store(StoreRequest { timestamp, expiry: end, ..first.clone() })
    };
    for deletion in [person.delete_in(drawer, None, 20), person.delete(&[hash], 20)] {
        let mut keeper = Keeper::new(1);
        keeper.store(at(10), first.clone()).unwrap();
        let gone = keeper.changed(at(20), Mutation::Delete { request: deletion, held: vec![] });
        assert_eq!(gone, [hash]);
        for timestamp in [ms(10), ms(12), ms(80)] {
            assert_eq!(sound(&again(timestamp), at(200)), Ok(true), "{timestamp}");
            keeper.replicate(at(200), vec![again(timestamp)]);
            assert_eq!(keeper.private(at(200), &person), [""; 0], "{timestamp}");
        }
        assert_eq!(sound(&again(ms(80) + 1), at(200)), Err(Code::BadTtl));
        // A member that was told another time deletes it all the same.
        let mut other = Keeper::new(2);
        other.replicate(at(11), vec![again(ms(80))]);
        convergence::pull(&mut other, &keeper, at(200));
        assert_eq!(other.private(at(200), &person), [""; 0]);
        // Nor does one when the deletion is forgotten.
        keeper.feed(at(20 + MONTH), Input::Tick);
        assert_eq!(keeper.store.records().count(), 0);
        keeper.replicate(at(20 + MONTH), vec![again(ms(10))]);
        assert_eq!(keeper.store.records().count(), 0);
        recount(&keeper.store);
    }
}

#[test]
fn who_takes_a_text_lets_it_end_no_later_than_members_take_it() {
    let person = Person::new(0);
    let mut keeper = Keeper::new(1);
    // The clock of whoever signed it is behind.
    let request = stored(&person, PRIVATE, "m", 1, (9, 9 + MONTH));
    assert_eq!(sound(&Mutation::Store(request.clone()), at(5)), Err(Code::BadTtl));
    let (done, already, passed_on) = keeper.write(at(5), Mutation::Store(request)).unwrap();
    assert_eq!((done, already), (Done::Keeps { expiry: ms(1 + MONTH) }, false));
    assert_eq!(sound(&passed_on, at(5)), Ok(true));
    let mut other = Keeper::new(2);
    other.replicate(at(5), vec![passed_on]);
    assert_eq!(other.store.fingerprints(), keeper.store.fingerprints());
    // What a member said was sent later was sent no later than its owner says.
    keeper.replicate(at(5), vec![Mutation::Store(stored(&person, PRIVATE, "n", 1, (71, 900)))]);
    let again = Mutation::Store(stored(&person, PRIVATE, "n", 6, (6, 900)));
    let (_, _, passed_on) = keeper.write(at(6), again).unwrap();
    let Mutation::Store(told) = passed_on else { panic!("not a store") };
    assert_eq!((told.timestamp, told.expiry), (ms(6), ms(900)));
}

/// One record that members pass on to each other, as somebody signed it and perhaps nobody meant it.
#[derive(Clone, Debug)]
struct Heard {
    what: What,
    /// About which message.
    text: u8,
    /// When it was signed or is said to have come, in days.
    day: u64,
    /// What else may differ.
    other: u8,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// A stranger's store, with times of its own.
    Post,
    /// Its owner's, by statement.
    Keep,
    /// Its owner's, by a text that says neither when it was sent nor when it ends.
    KeepText,
    /// By statement, or by a text that says nothing of when.
    Delete(bool),
    /// Of all drawers.
    DeleteAll(bool),
    Expire(bool),
    /// By an end of all drawers that ends nothing.
    ExpireAll,
    Revoke(bool),
    GiveBack(bool),
    /// A deletion that is said to be about what was said of a subaccount.
    Lie,
}

fn heard() -> impl Strategy<Value = Heard> {
    let what = prop_oneof![
        3 => Just(What::Post),
        1 => Just(What::Keep),
        3 => Just(What::KeepText),
        1 => any::<bool>().prop_map(What::Delete),
        1 => any::<bool>().prop_map(What::DeleteAll),
        4 => any::<bool>().prop_map(What::Expire),
        1 => Just(What::ExpireAll),
        1 => any::<bool>().prop_map(What::Revoke),
        1 => any::<bool>().prop_map(What::GiveBack),
        1 => Just(What::Lie),
    ];
    (what, 0_u8..2, 0_u64..20, 0_u8..5).prop_map(|(what, text, day, other)| Heard { what, text, day, other })
}

impl Heard {
    /// Ends are after the test, and deletions of all drawers after whatever strangers sent: which of a stranger's
    /// repeats they are about is what members find out by comparing.
    fn mutation(&self, person: &Person) -> Mutation {
        let (text, other) = (self.text.to_string(), u64::from(self.other));
        let (hash, time, end) = (person.hash(&text), self.day * DAY, (26 + 3 * other) * DAY);
        let friend = person.friend(self.text, Rights(15)).token();
        let rights = friend.hash(&person.account);
        let late = (12 + self.day / 3) * DAY;
        let signed = |request, text: String, time| texted(person, request, text.as_bytes(), time);
        match self.what {
            What::Post => Mutation::Store(person.post(&text, self.day / 2 * DAY + other, end)),
            What::Keep => Mutation::Store(person.keep(&text, time, end.min(time + MONTH))),
            What::KeepText => {
                let end = end.min(time + MONTH);
                Mutation::Store(stored(person, 0, &text, time, (time + 14 * other, end)))
            }
            What::Delete(false) => {
                Mutation::Delete { request: person.delete(&[hash], time), held: vec![hash] }
            }
            What::Delete(true) => {
                let request = Request::Delete(person.delete(&[hash], 0));
                told(signed(request, format!("delete{hash}"), 0), &[hash], time)
            }
            What::DeleteAll(false) => {
                let request = person.delete_in(Drawers::All, None, late);
                Mutation::Delete { request, held: vec![hash] }
            }
            What::DeleteAll(true) => {
                let request = Request::Delete(person.delete_in(Drawers::All, None, late));
                let mut mutation = mutation(signed(request, format!("delete_allall{}", ms(late)), late));
                mutation.held_mut().unwrap().push(hash);
                mutation
            }
            What::Expire(false) => {
                let request = person.expire(&[hash], end + 10 * other * DAY, None, time);
                Mutation::Expire { request, held: vec![hash] }
            }
            What::Expire(true) => {
                let end = if self.other == 0 { u64::MAX } else { ms(end + 5 * DAY) };
                told(extended(person, hash, end), &[hash], time)
            }
            What::ExpireAll => {
                let request = person.expire_in(Drawers::All, 60 * DAY, 0);
                let text = format!("expire_allall{}", ms(60 * DAY));
                told(signed(Request::Expire(request), text, 0), &[hash], time)
            }
            What::Revoke(text) | What::GiveBack(text) => {
                let undo = matches!(self.what, What::GiveBack(_));
                let request =
                    if undo { person.unrevoke(&[friend], time) } else { person.revoke(&[friend], time) };
                let method = if undo { "unrevoke_subaccount" } else { "revoke_subaccount" };
                let said = [format!("{method}{}", ms(time)).as_bytes(), &friend.0].concat();
                let mut request = Request::Revoke(request);
                if text {
                    request = texted(person, request, &said, time);
                }
                mutation(request).about(rights)
            }
            What::Lie => {
                Mutation::Delete { request: person.delete_in(Drawers::All, None, late), held: vec![rights] }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_heard_in_any_order_and_any_of_it_twice_comes_to_the_same(
        (first, second) in proptest::collection::vec(heard(), 1..12).prop_flat_map(|heard| {
            let twice: Vec<_> = heard.iter().chain(heard.iter().step_by(2)).cloned().collect();
            (Just(heard), Just(twice).prop_shuffle())
        }),
    ) {
        let (person, now) = (Person::new(0), at(25 * DAY));
        let mut keepers = [Keeper::new(1), Keeper::new(2)];
        for (keeper, heard) in keepers.iter_mut().zip([&first, &second]) {
            for one in heard {
                let mutation = one.mutation(&person);
                prop_assert_eq!(sound(&mutation, now), Ok(true), "{:?}", one);
                keeper.replicate(now, vec![mutation]);
            }
            recount(&keeper.store);
        }
        let [one, other] = &mut keepers;
        prop_assert_eq!(one.store.fingerprints(), other.store.fingerprints());
        prop_assert_eq!(one.texts(now, &person).len(), other.texts(now, &person).len());
        for text in ["0", "1"] {
            let hash = person.hash(text);
            prop_assert_eq!(one.ends_at(&person, hash), other.ends_at(&person, hash));
        }
        // So there is nothing that they could tell each other, nor a newcomer that it would not believe.
        let heads = (one.store.head(), other.store.head());
        convergence::pull(one, other, now);
        convergence::pull(other, one, now);
        prop_assert_eq!(heads, (one.store.head(), other.store.head()));
        let mut newcomer = Keeper::new(3);
        convergence::pull(&mut newcomer, one, now);
        prop_assert_eq!(newcomer.store.fingerprints(), one.store.fingerprints());
    }
}
