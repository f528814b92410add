//! Rights that are taken away and given back.

use proptest::prelude::*;

use super::*;
use crate::{
    fixture::{Friend, mutation},
    request::{MAX_TOKENS, Request, Rights, Token},
};

const MONTH: u64 = 30 * 24 * 3_600;

impl Keeper {
    /// Whether somebody may look into a drawer.
    fn lets(&self, friend: &Friend, person: &Person, namespace: i16) -> bool {
        allowed(&self.store, &friend.asks(Request::Retrieve(person.look(namespace)), 0)).unwrap()
    }

    fn revoked(&self, person: &Person) -> Vec<Token> {
        match revoked(&self.store, &person.account).unwrap() {
            Body::Revoked { tokens } => tokens,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn revoke(&mut self, time: u64, request: Revoke) -> Vec<MessageHash> {
        self.changed(at(time), mutation(Request::Revoke(request)))
    }
}

fn friends(person: &Person, count: u8) -> Vec<Friend> {
    (0..count).map(|number| person.friend(number, Rights(15))).collect()
}

fn tokens(friends: &[Friend]) -> Vec<Token> {
    friends.iter().map(Friend::token).collect()
}

#[test]
fn who_is_revoked_may_do_nothing_until_it_is_taken_back() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let friends = friends(&person, 2);
    let (bad, good) = (&friends[0], &friends[1]);
    assert!(keeper.lets(bad, &person, 1));
    assert_eq!(keeper.revoke(1, person.revoke(&[bad.token()], 1)), [bad.token().hash(&person.account)]);
    assert!(!keeper.lets(bad, &person, 1) && keeper.lets(good, &person, 1));
    let hash = person.hash("a");
    for request in [
        Request::Store(person.keep("a", 1, 100)),
        Request::Fetch(person.fetch(&[hash], 1)),
        Request::GetExpiries(person.get_expiries(None, 1)),
        Request::Delete(person.delete(&[hash], 1)),
        Request::Expire(person.expire(&[hash], 100, None, 1)),
    ] {
        assert!(!allowed(&keeper.store, &bad.asks(request.clone(), 1)).unwrap(), "{request:?}");
        assert!(allowed(&keeper.store, &good.asks(request.clone(), 1)).unwrap(), "{request:?}");
        assert!(allowed(&keeper.store, &request).unwrap(), "the owner");
    }
    // It still reads what tells it so, and stores nothing there.
    assert!(keeper.lets(bad, &person, -11) && keeper.lets(bad, &person, -111));
    let keep = bad.asks(Request::Store(person.keep_in(-11, "a", 1, 100)), 1);
    assert!(!allowed(&keeper.store, &keep).unwrap());
    // Another account knows nothing of it, though the token be the same.
    let other = Person::group(0);
    let elsewhere = Friend { owner: None, ..bad.clone() }.asks(Request::Retrieve(other.look(1)), 0);
    assert!(allowed(&keeper.store, &elsewhere).unwrap());
    assert_eq!(keeper.revoked(&person), [bad.token()]);
    // An undoing that was signed before counts for nothing, a later one does, and so on.
    keeper.revoke(2, person.unrevoke(&[bad.token()], 0));
    assert!(!keeper.lets(bad, &person, 1));
    assert_eq!(keeper.revoke(2, person.unrevoke(&[bad.token()], 2)), [bad.token().hash(&person.account)]);
    assert!(keeper.lets(bad, &person, 1) && keeper.revoked(&person).is_empty());
    keeper.revoke(3, person.revoke(&[bad.token()], 1));
    assert!(keeper.lets(bad, &person, 1), "the old word is past");
    keeper.revoke(4, person.revoke(&[bad.token()], 4));
    assert!(!keeper.lets(bad, &person, 1));
    recount(&keeper.store);
}

#[test]
fn what_a_friend_did_before_is_still_taken_from_members() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let friend = person.friend(0, Rights(15));
    keeper.revoke(1, person.revoke(&[friend.token()], 1));
    let stored = mutation(friend.asks(Request::Store(person.keep("m", 0, 100)), 0));
    assert_eq!(keeper.replicate(at(2), vec![stored]), [Ok(Done::Keeps { expiry: ms(100) })]);
    assert_eq!(keeper.texts(at(2), &person), ["m"]);
}

#[test]
fn the_newest_are_kept_in_whatever_order_they_come() {
    let person = Person::new(0);
    let tokens = tokens(&friends(&person, 120));
    let parts: Vec<_> = [(0..40, 1), (40..80, 2), (80..120, 3)]
        .into_iter()
        .map(|(range, time)| mutation(Request::Revoke(person.revoke(&tokens[range], time))))
        .collect();
    let mut ends = BTreeSet::new();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut keeper = Keeper::new(1);
        for which in order {
            keeper.replicate(at(4), vec![parts[which].clone()]);
            recount(&keeper.store);
        }
        let kept = keeper.revoked(&person);
        assert_eq!(kept.len(), MAX_TOKENS);
        assert!(tokens[80..].iter().all(|token| kept.contains(token)), "{order:?}");
        assert!(tokens[..40].iter().all(|token| !kept.contains(token)), "{order:?}");
        let later = |token: &Token| tokens[80..].contains(token);
        assert!(kept[..40].iter().all(later), "the latest first");
        assert_eq!(keeper.store.mutations().count(), MAX_TOKENS, "nothing is left of the others");
        ends.insert(kept);
    }
    assert_eq!(ends.len(), 1);
}

#[test]
fn a_revocation_outlives_every_message_and_all_time() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let friend = person.friend(0, Rights(15));
    keeper.store(NOW, person.post("m", 0, 100)).unwrap();
    keeper.revoke(1, person.revoke(&[friend.token()], 1));
    keeper.changed(at(2), deletion(person.delete_in(Drawers::All, None, 2)));
    for month in 1..=240 {
        keeper.feed(at(month * MONTH), Input::Tick);
        recount(&keeper.store);
    }
    assert_eq!(keeper.store.records().count(), 1, "the mailbox is empty");
    assert!(!keeper.lets(&friend, &person, 1));
    assert_eq!(keeper.revoked(&person), [friend.token()]);
    // A member that comes after twenty years learns of it.
    let mut newcomer = Keeper::new(2);
    convergence::pull(&mut newcomer, &keeper, at(240 * MONTH));
    assert!(!newcomer.lets(&friend, &person, 1));
    assert_eq!(newcomer.store.fingerprints(), keeper.store.fingerprints());
    // Given back, it is forgotten when nothing can be older than that.
    keeper.revoke(240 * MONTH, person.unrevoke(&[friend.token()], 240 * MONTH));
    keeper.feed(at(241 * MONTH - 1), Input::Tick);
    assert_eq!(keeper.store.records().count(), 1);
    keeper.feed(at(241 * MONTH), Input::Tick);
    assert_eq!((keeper.store.records().count(), keeper.store.occupied()), (0, 0));
}

#[test]
fn who_learns_of_a_revocation_learns_nothing_of_others_by_the_same_request() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let friends = friends(&person, 2);
    let tokens = tokens(&friends);
    keeper.revoke(1, person.revoke(&tokens, 1));
    keeper.revoke(2, person.unrevoke(&tokens[..1], 2));
    // After so long that is forgotten, and what took both away is known.
    let now = at(2 * MONTH);
    keeper.feed(now, Input::Tick);
    let forgotten = tokens[0].hash(&person.account);
    assert_eq!(keeper.store.record(&person.account, &forgotten).unwrap(), None);
    let mut newcomer = Keeper::new(2);
    convergence::pull(&mut newcomer, &keeper, now);
    convergence::pull(&mut keeper, &newcomer, now);
    for member in [&keeper, &newcomer] {
        assert!(member.lets(&friends[0], &person, 1) && !member.lets(&friends[1], &person, 1));
        assert_eq!(member.revoked(&person), tokens[1..]);
        recount(&member.store);
    }
    assert_eq!(newcomer.store.fingerprints(), keeper.store.fingerprints());
}

#[test]
fn no_deletion_and_no_change_gives_rights_back() {
    let person = Person::new(0);
    let friend = person.friend(0, Rights(15));
    let hash = friend.token().hash(&person.account);
    let revoke = || mutation(Request::Revoke(person.revoke(&[friend.token()], 1)));
    let held = vec![hash];
    let tries = [
        Mutation::Delete { request: person.delete(&[hash], 5), held: held.clone() },
        Mutation::Delete { request: person.delete_in(Drawers::All, None, 5), held: held.clone() },
        Mutation::Expire { request: person.expire(&[hash], 6, None, 5), held: held.clone() },
        Mutation::Expire { request: person.expire_in(Drawers::All, 6, 5), held: held.clone() },
        Mutation::Replace { request: person.keep_in(-1, "m", 5, 100).replacement().unwrap(), held },
    ];
    for attempt in tries {
        let mut keeper = Keeper::new(1);
        keeper.write(at(1), revoke()).unwrap();
        let before = keeper.store.fingerprints();
        keeper.write(at(5), attempt.evidence()).unwrap();
        keeper.replicate(at(5), vec![attempt.clone()]);
        assert!(!keeper.lets(&friend, &person, 1), "{attempt:?}");
        assert_eq!(keeper.store.fingerprints(), before, "{attempt:?}");
        // Nor is it kept from a member that heard the lie first.
        let mut late = Keeper::new(2);
        late.replicate(at(5), vec![attempt.clone(), revoke()]);
        assert!(!late.lets(&friend, &person, 1), "{attempt:?}");
        recount(&late.store);
    }
}

#[test]
fn revocations_take_room_and_are_refused_where_there_is_none() {
    let person = Person::new(0);
    let all = friends(&person, 9);
    let mut keeper = Keeper::limited(1, Limits { bytes: u64::MAX, account_bytes: 2_000 });
    let mut kept = 0;
    for (time, friend) in (1..).zip(&all) {
        let request = mutation(Request::Revoke(person.revoke(&[friend.token()], time)));
        match keeper.write(at(time), request) {
            Ok(_) => kept += 1,
            Err(code) => assert_eq!(code, Code::Full),
        }
        recount(&keeper.store);
    }
    assert!((3..9).contains(&kept), "{kept}");
    assert_eq!(keeper.revoked(&person).len(), kept);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn two_members_end_with_the_same_revocations(
        steps in proptest::collection::vec((any::<bool>(), 1_u8..8, 0_u64..6, any::<bool>()), 1..14),
        arrivals in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..20),
    ) {
        let person = Person::new(0);
        let friends = friends(&person, 3);
        let (mut first, mut second) = (Keeper::new(1), Keeper::new(2));
        let mut passed_on: Vec<Mutation> = Vec::new();
        for (undo, which, time, there) in &steps {
            let some: Vec<_> = (0..3).filter(|place| which & (1 << place) != 0)
                .map(|place: usize| friends[place].token()).collect();
            let request = if *undo { person.unrevoke(&some, *time) } else { person.revoke(&some, *time) };
            let here = if *there { &mut second } else { &mut first };
            passed_on.push(here.write(at(6), mutation(Request::Revoke(request))).unwrap().2);
            for (which, to_second) in arrivals.iter().take(passed_on.len()) {
                let there = if *to_second { &mut second } else { &mut first };
                there.replicate(at(6), vec![passed_on[which.index(passed_on.len())].clone()]);
            }
        }
        for _ in 0..2 {
            convergence::pull(&mut first, &second, at(6));
            convergence::pull(&mut second, &first, at(6));
        }
        recount(&first.store);
        recount(&second.store);
        prop_assert_eq!(first.store.fingerprints(), second.store.fingerprints());
        prop_assert_eq!(first.revoked(&person), second.revoked(&person));
        // What was signed last about each counts, where it was heard of by who knew the revocation.
        for friend in &friends {
            prop_assert_eq!(first.lets(friend, &person, 1), second.lets(friend, &person, 1));
        }
    }
}
