//! Every rule about a request, and the code it is refused with.

mod authority;
mod text;

use serde_bytes::{ByteArray, ByteBuf};

use super::*;
use crate::{
    KeyPair, Signature,
    fixture::{NOW, Person, at, ms, network, texted, unsigned},
    message::MAX_DATA,
};

const DAY: u64 = 24 * 3_600;

/// A store by its drawer, its time and its end, signed when `time` says when.
fn store(namespace: i16, sent: i64, expiry: i64, time: Option<u64>) -> Store {
    let person = Person::new(0);
    let moment = |secs: i64| ms(0).saturating_add_signed(secs * 1_000);
    let namespace = Namespace(namespace);
    let request =
        Store { namespace, timestamp: moment(sent), expiry: moment(expiry), ..person.post("a", 0, 0) };
    match time {
        Some(time) => person.signed(request, time),
        None => request,
    }
}

fn as_client(request: &Store) -> Result<(), Code> {
    Request::Store(request.clone()).verify(&network(), NOW, Door::Native)
}

fn as_member(request: &Store) -> Result<(), Code> {
    request.verify(&network(), NOW, Source::Member)
}

#[test]
fn the_times_of_a_store_have_bounds() {
    let (bad, clock) = (Err(Code::BadTtl), Err(Code::Clock));
    let (day, public, private) = (DAY as i64, 14 * DAY as i64, 30 * DAY as i64);
    for (sent, expiry, client, member) in [
        (0, 10, Ok(()), Ok(())),
        (0, 9, bad, Ok(())),
        (0, public, Ok(()), Ok(())),
        (0, public + 1, bad, Ok(())),
        (0, public + 70, bad, Ok(())),
        (0, public + 71, bad, bad),
        (10, 20, Ok(()), Ok(())),
        (11, 30, clock, Ok(())),
        (70, 90, clock, Ok(())),
        (71, 90, clock, bad),
        // It ended: for a member that is as good as kept.
        (-20, 0, bad, Ok(())),
        (-20, 1, Ok(()), Ok(())),
        (-20, -30, bad, Ok(())),
        (-15 * day, 1, bad, Ok(())),
        (-13 * day, 1, Ok(()), Ok(())),
    ] {
        let request = store(0, sent, expiry, None);
        assert_eq!(as_client(&request), client, "client: {sent} to {expiry}");
        assert_eq!(as_member(&request), member, "member: {sent} to {expiry}");
    }
    for (expiry, client, member) in [
        (private, Ok(()), Ok(())),
        (private + 1, bad, Ok(())),
        (private + 70, bad, Ok(())),
        (private + 71, bad, bad),
    ] {
        let request = store(1, 0, expiry, Some(0));
        assert_eq!(as_client(&request), client, "client: private, {expiry}");
        assert_eq!(as_member(&request), member, "member: private, {expiry}");
    }
}

#[test]
fn the_json_door_takes_what_has_just_ended() {
    for (expiry, taken) in [(0, true), (-10, true), (-11, false)] {
        let request = store(0, -30, expiry, None);
        let answer = Request::Store(request.clone()).verify(&network(), NOW, Door::Json);
        assert_eq!(answer, if taken { Ok(()) } else { Err(Code::Clock) }, "{expiry}");
        assert_eq!(as_client(&request), Err(Code::BadTtl), "{expiry}");
    }
}

#[test]
fn times_at_the_edge_of_numbers_are_refused_calmly() {
    for (timestamp, expiry) in [(0, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 0), (0, 0)] {
        let request = Store { timestamp, expiry, ..store(0, 0, 100, None) };
        assert!(as_client(&request).is_err(), "{timestamp} {expiry}");
        assert_eq!(as_member(&request).is_ok(), expiry == 0 && timestamp == 0);
        for now in [Time::ZERO, Time(u64::MAX)] {
            let _ = request.verify(&network(), now, Source::Client);
            let _ = request.verify(&network(), now, Source::Member);
        }
    }
}

#[test]
fn a_message_may_be_empty_and_has_a_longest_size() {
    let sized = |size| Store { data: ByteBuf::from(vec![0; size]), ..store(0, 0, 100, None) };
    for size in [0, 1, MAX_DATA] {
        assert_eq!(as_client(&sized(size)), Ok(()));
    }
    assert_eq!(as_client(&sized(MAX_DATA + 1)), Err(Code::TooLarge));
    assert_eq!(as_member(&sized(MAX_DATA + 1)), Err(Code::TooLarge));
    let whole = crate::codec::encode(&Request::Store(sized(MAX_DATA)));
    assert!(whole.len() <= MAX_REQUEST);
}

#[test]
fn a_signed_time_is_near_the_clock_of_who_is_asked() {
    let person = Person::new(0);
    let request = |now: Time, source| {
        let delete = person.delete(&[person.hash("a")], 100_000);
        let expire = person.expire(&[person.hash("a")], 200_000, None, 100_000);
        let early = Store { timestamp: ms(99_900), ..person.post("a", 0, 300_000) };
        let keep = person.signed(early, 100_000);
        let results = [
            delete.verify(&network(), now, source),
            expire.verify(&network(), now, source),
            // The message's own time is bounded more tightly than its signature's.
            keep.verify(&network(), now, source),
        ];
        assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
        results[0]
    };
    let clock = Err(Code::Clock);
    for (now, client, member) in [
        (100_000, Ok(()), Ok(())),
        (100_060, Ok(()), Ok(())),
        (100_061, clock, Ok(())),
        (199_999, clock, Ok(())),
        (99_940, Ok(()), Ok(())),
        (99_939, clock, Ok(())),
        (99_930, clock, Ok(())),
        (99_929, clock, clock),
    ] {
        assert_eq!(request(at(now), Source::Client), client, "client, {now}");
        assert_eq!(request(at(now), Source::Member), member, "member, {now}");
    }
    let retrieve = person.retrieve_at(None, None, None, 100_000);
    assert_eq!(retrieve.verify(&network(), at(100_060)), Ok(()));
    assert_eq!(retrieve.verify(&network(), at(100_061)), clock);
    assert_eq!(retrieve.verify(&network(), at(99_939)), clock);
}

#[test]
fn a_request_names_some_hashes_and_not_too_many() {
    let person = Person::new(0);
    for (count, expected) in
        [(0, Err(Code::BadRequest)), (1, Ok(())), (MAX_HASHES, Ok(())), (MAX_HASHES + 1, Err(Code::TooLarge))]
    {
        let hashes = vec![person.hash("a"); count];
        for source in [Source::Client, Source::Member] {
            assert_eq!(person.delete(&hashes, 0).verify(&network(), NOW, source), expected, "{count}");
            let expire = person.expire(&hashes, 100, None, 0);
            assert_eq!(expire.verify(&network(), NOW, source), expected, "{count}");
        }
    }
    let most = person.expire(&vec![person.hash("a"); MAX_HASHES], 100, Some(Direction::Shorten), 0);
    assert!(crate::codec::encode(&Request::Expire(most)).len() <= MAX_REQUEST);
}

#[test]
fn a_new_end_is_ahead_and_capped() {
    let person = Person::new(0);
    let (month, bad) = (30 * DAY, Err(Code::BadTtl));
    let hash = person.hash("a");
    for (now, expiry, client, end) in [
        (10, 11, Ok(()), 11),
        (10, 10, bad, 10),
        (10, 5, bad, 5),
        (0, month, Ok(()), month),
        (0, month + 1, Ok(()), month),
        (0, 100 * DAY, Ok(()), month),
    ] {
        let both = vec![Ends::All(ms(expiry)), Ends::Each(vec![ms(expiry), ms(month)])];
        for ends in both {
            let which = Which::Hashes(vec![hash; if matches!(ends, Ends::All(_)) { 1 } else { 2 }]);
            let request = person.expire_which(which, ends, None, 0);
            assert_eq!(request.verify(&network(), at(now), Source::Client), client, "client: {expiry}");
            assert_eq!(request.verify(&network(), at(now), Source::Member), Ok(()), "member: {expiry}");
            assert_eq!(request.end(0), ms(end), "{expiry}");
        }
        // And so is the end of whole drawers.
        let request = person.expire_in(Drawers::All, expiry, 0);
        assert_eq!(request.verify(&network(), at(now), Source::Client), client, "client: {expiry}");
        assert_eq!(request.end(0), ms(end), "{expiry}");
    }
    let edge = person.expire_which(Which::Hashes(vec![hash]), Ends::All(u64::MAX), None, 0);
    assert_eq!((edge.verify(&network(), NOW, Source::Member), edge.end(0)), (Ok(()), ms(month)));
}

#[test]
fn ends_are_as_many_as_hashes_and_whole_drawers_have_one() {
    let person = Person::new(0);
    let (a, b) = (person.hash("a"), person.hash("b"));
    let verify = |which: &Which, ends: &[u64], only| {
        let ends = match ends {
            [end] => Ends::All(ms(*end)),
            ends => Ends::Each(ends.iter().copied().map(ms).collect()),
        };
        let request = person.expire_which(which.clone(), ends, only, 0);
        request.verify(&network(), NOW, Source::Client)
    };
    let bad = Err(Code::BadRequest);
    let hashes = Which::Hashes(vec![a, b]);
    assert_eq!(verify(&hashes, &[10], None), Ok(()));
    assert_eq!(verify(&hashes, &[10, 20], None), Ok(()));
    assert_eq!(verify(&hashes, &[10, 20, 30], None), bad);
    assert_eq!(verify(&hashes, &[], None), bad);
    assert_eq!(verify(&hashes, &[10, 0], None), Err(Code::BadTtl), "one of them is past");
    let all = Which::In { drawers: Drawers::All, before: None, most: None };
    assert_eq!(verify(&all, &[10], None), Ok(()));
    assert_eq!(verify(&all, &[10], Some(Direction::Shorten)), Ok(()));
    assert_eq!(verify(&all, &[10], Some(Direction::Extend)), bad, "whole drawers only shorten");
    assert_eq!(verify(&all, &[10, 20], None), bad);
    let some = Which::In { drawers: Drawers::All, before: Some(ms(0)), most: None };
    assert_eq!(verify(&some, &[10], None), bad, "no such request");
}

#[test]
fn several_requests_are_not_too_many_and_nested_as_they_may_be() {
    let one = || Request::Info;
    let choose = |then: Request| {
        let when = vec![Condition::HeightAtLeast(1)];
        Request::If(Box::new(If { when, then: Some(then), otherwise: None }))
    };
    let deep = |depth: usize| (0..depth).fold(one(), |inner, _| choose(inner));
    let bad = Err(Code::BadRequest);
    for (what, request, expected) in [
        ("none", Request::Batch(vec![]), bad),
        ("one", Request::Batch(vec![one()]), Ok(())),
        ("most", Request::Sequence(vec![one(); MAX_REQUESTS]), Ok(())),
        ("too many", Request::Batch(vec![one(); MAX_REQUESTS + 1]), bad),
        ("too many in sequence", Request::Sequence(vec![one(); MAX_REQUESTS + 1]), bad),
        ("a batch in a batch", Request::Batch(vec![one(), Request::Batch(vec![one()])]), bad),
        ("a sequence in a batch", Request::Batch(vec![Request::Sequence(vec![one()])]), bad),
        ("a condition in a sequence", Request::Sequence(vec![choose(one())]), bad),
        ("a batch under a condition", choose(Request::Batch(vec![one()])), Ok(())),
        ("too many under a condition", choose(Request::Batch(vec![one(); MAX_REQUESTS + 1])), bad),
        ("nested conditions", deep(MAX_CONDITIONS), Ok(())),
        ("nested too deep", deep(MAX_CONDITIONS + 1), bad),
        ("no condition", Request::If(Box::new(If { when: vec![], then: None, otherwise: Some(one()) })), bad),
    ] {
        for door in [Door::Native, Door::Json] {
            assert_eq!(request.verify(&network(), NOW, door), expected, "{what}");
        }
    }
}

/// The same request of a person and of a group, whose signature is then spoilt.
fn spoilt(spoil: impl Fn(&Person, &mut Auth)) -> [Result<(), Code>; 2] {
    [Person::new(0), Person::group(0)].map(|owner| {
        let mut request = owner.delete(&[owner.hash("a")], 0);
        spoil(&owner, &mut request.auth);
        request.verify(&network(), NOW, Source::Client)
    })
}

#[test]
fn only_the_owners_key_opens_a_mailbox() {
    let refused = Err(Code::Unauthorized);
    assert_eq!(spoilt(|_, _| ()), [Ok(()), Ok(())]);
    assert_eq!(spoilt(|_, auth| auth.signature.0[0] ^= 1), [refused; 2], "a changed signature");
    assert_eq!(spoilt(|_, auth| auth.signature = Signature([0; 64])), [refused; 2], "none");
    assert_eq!(spoilt(|_, auth| auth.time += 1), [refused; 2], "another time");
    let state = |owner: &Person, auth: &mut Auth| auth.key = Some(ByteArray::new(owner.pair.public()));
    assert_eq!(spoilt(state), [Ok(()), refused], "a group states no key");
    assert_eq!(spoilt(|_, auth| auth.key = None), [refused, Ok(())], "a person must");
    let stranger = KeyPair::from_seed(&[99; 32]);
    let states_own = |_: &Person, auth: &mut Auth| auth.key = Some(ByteArray::new(stranger.public()));
    assert_eq!(spoilt(states_own), [refused; 2], "another account's key");
    // Not a point of the curve.
    let nonsense = |_: &Person, auth: &mut Auth| auth.key = Some(ByteArray::new([2; 32]));
    assert_eq!(spoilt(nonsense), [refused; 2]);
}

#[test]
fn a_strangers_own_signature_opens_nothing() {
    let stranger = Person::new(1);
    for owner in [Person::new(0), Person::group(0)] {
        let mut request = owner.delete(&[owner.hash("a")], 0);
        let statement = request.statement(&network(), ms(0));
        // Signed by the stranger, with its own key stated, or with the owner's.
        request.auth = Auth::sign(&stranger.account, &stranger.pair, ms(0), &statement);
        assert_eq!(request.verify(&network(), NOW, Source::Client), Err(Code::Unauthorized));
        request.auth.key = (!owner.account.shows_key()).then(|| ByteArray::new(owner.pair.public()));
        assert_eq!(request.verify(&network(), NOW, Source::Client), Err(Code::Unauthorized));
    }
}

#[test]
fn a_signature_means_nothing_elsewhere() {
    let person = Person::new(0);
    let other: NetworkName = "other".parse().unwrap();
    let requests = [
        Request::Store(person.keep("a", 0, 100)),
        Request::Retrieve(person.retrieve(None)),
        Request::Delete(person.delete(&[person.hash("a")], 0)),
        Request::Expire(person.expire(&[person.hash("a")], 100, None, 0)),
    ];
    for request in &requests {
        assert_eq!(request.verify(&network(), NOW, Door::Native), Ok(()), "{request:?}");
        assert_eq!(request.verify(&other, NOW, Door::Native), Err(Code::Unauthorized), "{request:?}");
    }
    // A signature under one method opens no other.
    let delete = person.delete(&[person.hash("a")], 0);
    let mut expire = person.expire(&[person.hash("a")], 100, None, 0);
    expire.auth = delete.auth;
    assert_eq!(expire.verify(&network(), NOW, Source::Client), Err(Code::Unauthorized));
}

#[test]
fn every_parameter_is_signed() {
    let (person, refused) = (Person::new(0), Err(Code::Unauthorized));
    let keep = person.keep("a", 0, 100);
    for (what, changed) in [
        ("namespace", Store { namespace: Namespace(10), ..keep.clone() }),
        ("timestamp", Store { timestamp: keep.timestamp + 1, ..keep.clone() }),
        ("expiry", Store { expiry: keep.expiry + 1, ..keep.clone() }),
        ("data", Store { data: ByteBuf::from("b"), ..keep.clone() }),
    ] {
        assert_eq!(as_client(&changed), refused, "{what}");
    }
    let cursor = Cursor { incarnation: 1, sequence: 2 };
    let read = person.retrieve_at(Some(cursor), Some(3), Some(4), 0);
    for (what, changed) in [
        ("namespace", Retrieve { namespace: Namespace(1), ..read.clone() }),
        ("no cursor", Retrieve { after: None, ..read.clone() }),
        ("cursor", Retrieve { after: Some(Cursor { incarnation: 1, sequence: 3 }), ..read.clone() }),
        ("count", Retrieve { max_count: Some(4), ..read.clone() }),
        ("no count", Retrieve { max_count: None, ..read.clone() }),
        ("size", Retrieve { max_size: Some(5), ..read.clone() }),
        ("ids", Retrieve { ids: Some(Ids::Anew), ..read.clone() }),
        ("last", Retrieve { last: Some(person.hash("a")), ..read.clone() }),
    ] {
        assert_eq!(changed.verify(&network(), NOW), refused, "{what}");
    }
    let (a, b) = (person.hash("a"), person.hash("b"));
    let delete = person.delete(&[a, b], 0);
    let whole = person.delete_in(Drawers::One(Namespace(1)), Some(5), 0);
    let within = |drawers, before: Option<u64>| Which::In { drawers, before: before.map(ms), most: None };
    let fewer = Which::In { drawers: Drawers::One(Namespace(1)), before: Some(ms(5)), most: Some(7) };
    for changed in [
        Delete { which: Which::Hashes(vec![a]), ..delete.clone() },
        Delete { which: Which::Hashes(vec![b, a]), ..delete.clone() },
        Delete { which: Which::Hashes(vec![a, b, b]), ..delete.clone() },
        Delete { required: true, ..delete.clone() },
        Delete { which: fewer, ..whole.clone() },
        Delete { which: within(Drawers::All, Some(5)), ..whole.clone() },
        Delete { which: within(Drawers::One(Namespace(2)), Some(5)), ..whole.clone() },
        Delete { which: within(Drawers::One(Namespace(1)), Some(6)), ..whole.clone() },
        Delete { which: within(Drawers::One(Namespace(1)), None), ..whole },
    ] {
        assert_eq!(changed.verify(&network(), NOW, Source::Client), refused, "{changed:?}");
    }
    let fetch = person.fetch(&[a, b], 0);
    for (what, changed) in [
        ("hashes", Fetch { hashes: vec![a], ..fetch.clone() }),
        ("namespace", Fetch { namespace: Namespace(1), ..fetch.clone() }),
    ] {
        assert_eq!(changed.verify(&network(), NOW), refused, "{what}");
    }
    let expire = person.expire(&[a], 100, Some(Direction::Extend), 0);
    for (what, changed) in [
        ("hashes", Expire { which: Which::Hashes(vec![b]), ..expire.clone() }),
        ("expiry", Expire { ends: Ends::All(ms(101)), ..expire.clone() }),
        ("one end", Expire { ends: Ends::Each(vec![ms(100)]), ..expire.clone() }),
        ("direction", Expire { only: Some(Direction::Shorten), ..expire.clone() }),
        ("no direction", Expire { only: None, ..expire.clone() }),
    ] {
        assert_eq!(changed.verify(&network(), NOW, Source::Client), refused, "{what}");
    }
    let friend = person.friend(0, Rights::READ).token();
    let revoke = person.revoke(&[friend], 0);
    for changed in
        [Revoke { tokens: vec![friend, friend], ..revoke.clone() }, Revoke { undo: true, ..revoke.clone() }]
    {
        assert_eq!(Request::Revoke(changed).verify(&network(), NOW, Door::Native), refused);
    }
    let (some, all) = (person.get_expiries(Some(&[a]), 0), person.get_expiries(None, 0));
    for changed in [
        GetExpiries { hashes: Some(vec![b]), ..some.clone() },
        GetExpiries { hashes: None, ..some.clone() },
        GetExpiries { hashes: Some(vec![b]), ..all },
    ] {
        assert_eq!(Request::GetExpiries(changed).verify(&network(), NOW, Door::Native), refused);
    }
    // Nor can it be turned to another account.
    let other = Person::new(1);
    for changed in [
        Request::Store(Store { account: other.account, ..keep }),
        Request::Retrieve(Retrieve { account: other.account, ..read }),
        Request::Fetch(Fetch { account: other.account, ..fetch }),
        Request::Delete(Delete { account: other.account, ..delete }),
        Request::Expire(Expire { account: other.account, ..expire }),
        Request::Revoke(Revoke { account: other.account, ..revoke }),
        Request::GetExpiries(GetExpiries { account: other.account, ..some }),
        Request::GetRevoked(GetRevoked { account: other.account, ..person.get_revoked(0) }),
    ] {
        assert_eq!(changed.verify(&network(), NOW, Door::Native), refused, "{changed:?}");
    }
}

#[test]
fn a_fetch_names_some_hashes_and_wants_a_signature() {
    let person = Person::new(0);
    let hash = person.hash("a");
    let request = Fetch { auth: None, ..person.fetch(&[hash], 0) };
    assert_eq!(request.verify(&network(), NOW), Err(Code::Unauthorized));
    let request = Fetch { auth: Some(unsigned(0)), ..request };
    assert_eq!(request.verify(&network(), NOW), Err(Code::Unauthorized));
    assert_eq!(person.fetch(&[hash], 0).verify(&network(), NOW), Ok(()));
    for (count, code) in [(0, Code::BadRequest), (MAX_HASHES + 1, Code::TooLarge)] {
        assert_eq!(person.fetch(&vec![hash; count], 0).verify(&network(), NOW), Err(code));
        let ends = Request::GetExpiries(person.get_expiries(Some(&vec![hash; count]), 0));
        assert_eq!(ends.verify(&network(), NOW, Door::Native), Err(code));
    }
    // At the JSON door it may be as long as its answer, which nobody keeps.
    for (count, expected) in [(MAX_BULK_JSON, Ok(())), (MAX_BULK_JSON + 1, Err(Code::TooLarge))] {
        let ends = person.get_expiries(Some(&vec![hash; count]), 0);
        let text = format!("get_expiries{}{}", ms(0), hash.to_string().repeat(count));
        let ends = texted(&person, Request::GetExpiries(ends), text.as_bytes(), 0);
        assert_eq!(ends.verify(&network(), NOW, Door::Json), expected);
    }
    let all = Request::GetExpiries(person.get_expiries(None, 0));
    assert_eq!(all.verify(&network(), NOW, Door::Native), Ok(()));
}

#[test]
fn a_revocation_names_some_tokens_and_not_too_many() {
    let person = Person::new(0);
    let token = person.friend(0, Rights::READ).token();
    let (few, many) = (Err(Code::BadRequest), Err(Code::TooLarge));
    for (count, revoke, undo) in [
        (0, few, few),
        (1, Ok(()), Ok(())),
        (MAX_TOKENS, Ok(()), Ok(())),
        (MAX_TOKENS + 1, many, Ok(())),
        (MAX_TOKENS_BACK, many, Ok(())),
        (MAX_TOKENS_BACK + 1, many, many),
    ] {
        let tokens = vec![token; count];
        for (request, expected) in [(person.revoke(&tokens, 0), revoke), (person.unrevoke(&tokens, 0), undo)]
        {
            let request = Request::Revoke(request);
            assert_eq!(request.verify(&network(), NOW, Door::Native), expected, "{count}");
            assert!(expected.is_err() || crate::codec::encode(&request).len() <= MAX_REQUEST);
        }
    }
}

#[test]
fn a_bad_signature_is_refused_in_an_inbox_too() {
    let mut request = store(0, 0, 100, Some(0));
    request.auth.as_mut().unwrap().signature = Signature([1; 64]);
    assert_eq!(as_client(&request), Err(Code::Unauthorized));
}

#[test]
fn who_keeps_an_account_anybody_may_ask() {
    let account = Person::new(0).account;
    for request in [Request::GetSwarm { account }, Request::Info] {
        assert_eq!(request.verify(&network(), Time::ZERO, Door::Native), Ok(()));
    }
    assert_eq!(Request::GetSwarm { account }.account(), Some(&account));
    assert_eq!(Request::Info.account(), None);
}

#[test]
fn a_cursor_is_sixteen_bytes() {
    let cursor = Cursor { incarnation: 0x0102_0304_0506_0708, sequence: 0x1112_1314_1516_1718 };
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];
    assert_eq!(cursor.to_bytes(), bytes);
    assert_eq!(Cursor::from_bytes(bytes), cursor);
    let encoded = crate::codec::encode(&cursor);
    assert_eq!(encoded, [&[0x50][..], &bytes].concat());
    assert_eq!(crate::codec::decode(&encoded, 99), Ok(cursor));
}
