//! Who may ask for what: the classes of drawers, and the rights of subaccounts.

use super::*;
use crate::fixture::{Friend, auth_of};

#[test]
fn a_drawers_class_says_who_may_store_who_may_read_and_for_how_long() {
    let refused = Err(Code::Unauthorized);
    let person = Person::new(0);
    for (namespace, open, signed, read, days) in [
        (0, Ok(()), Ok(()), refused, 14),
        (10, Ok(()), Ok(()), refused, 14),
        (-20, Ok(()), Ok(()), refused, 14),
        (32_760, Ok(()), Ok(()), refused, 14),
        (-10, Ok(()), Ok(()), Ok(()), 14),
        (1, refused, Ok(()), refused, 30),
        (11, refused, Ok(()), refused, 30),
        (i16::MAX, refused, Ok(()), refused, 30),
        (i16::MIN, refused, Ok(()), refused, 30),
        (-11, refused, Ok(()), refused, 30),
        (-111, refused, Ok(()), refused, 30),
        (-1, refused, Ok(()), Ok(()), 30),
        (-41, refused, Ok(()), Ok(()), 30),
        (-3741, refused, refused, Ok(()), 0),
    ] {
        assert_eq!(as_client(&store(namespace, 0, 100, None)), open, "{namespace} unsigned");
        assert_eq!(as_client(&store(namespace, 0, 100, Some(0))), signed, "{namespace} signed");
        assert_eq!(as_member(&store(namespace, 0, 100, None)), open, "{namespace} unsigned, passed on");
        assert_eq!(as_member(&store(namespace, 0, 100, Some(0))), signed, "{namespace} signed, passed on");
        let look = person.look(namespace);
        assert_eq!(look.verify(&network(), NOW), read, "{namespace} looked into");
        let fetch =
            Fetch { namespace: Namespace(namespace), auth: None, ..person.fetch(&[person.hash("a")], 0) };
        assert_eq!(fetch.verify(&network(), NOW), read, "{namespace} fetched from");
        let auth = Auth::sign(&person.account, &person.pair, ms(0), &look.statement(&network(), ms(0)));
        let mut owners = Retrieve { auth: Some(auth), ..look };
        assert_eq!(owners.verify(&network(), NOW), Ok(()), "{namespace} read by its owner");
        // Whoever signs has it checked, though nobody has to.
        owners.auth.as_mut().unwrap().signature = Signature([1; 64]);
        assert_eq!(owners.verify(&network(), NOW), refused, "{namespace} with a bad signature");
        if signed.is_err() {
            continue;
        }
        let (bad, longest) = (Err(Code::BadTtl), days * DAY as i64);
        for (expiry, client, member) in [
            (9, bad, Ok(())),
            (10, Ok(()), Ok(())),
            (longest, Ok(()), Ok(())),
            (longest + 1, bad, Ok(())),
            (longest + 70, bad, Ok(())),
            (longest + 71, bad, bad),
        ] {
            let request = store(namespace, 0, expiry, Some(0));
            assert_eq!(as_client(&request), client, "client: {namespace} for {expiry}");
            assert_eq!(as_member(&request), member, "member: {namespace} for {expiry}");
        }
    }
}

/// Everything that can be asked of a mailbox, and the rights that a subaccount needs for it.
fn needs(owner: &Person) -> Vec<(&'static str, Request, Rights)> {
    let (read, write, delete) = (Rights::READ, Rights::WRITE, Rights::DELETE);
    let hash = [owner.hash("a")];
    let look = |namespace| Request::Retrieve(owner.look(namespace));
    let keep = |namespace| Request::Store(owner.keep_in(namespace, "a", 0, 100));
    let one = Drawers::One(Namespace(1));
    let token = [owner.friend(9, Rights::READ).token()];
    vec![
        ("read a private drawer", look(1), read),
        ("read an inbox", look(0), read),
        ("read an unrevocable drawer", look(-11), read),
        ("read an outbox by proof", look(-1), read),
        ("fetch", Request::Fetch(owner.fetch(&hash, 0)), read),
        ("ask for ends", Request::GetExpiries(owner.get_expiries(Some(&hash), 0)), read),
        ("ask for all ends", Request::GetExpiries(owner.get_expiries(None, 0)), read),
        ("store in a private drawer", keep(1), write),
        ("store in an unrevocable drawer", keep(-11), write),
        ("store in an inbox", keep(0), write),
        ("store in an outbox", keep(-1), write.and(delete)),
        ("delete", Request::Delete(owner.delete(&hash, 0)), delete),
        ("delete all", Request::Delete(owner.delete_in(Drawers::All, None, 0)), delete),
        ("delete before", Request::Delete(owner.delete_in(one, Some(0), 0)), delete),
        ("expire", Request::Expire(owner.expire(&hash, 100, None, 0)), write),
        ("extend", Request::Expire(owner.expire(&hash, 100, Some(Direction::Extend), 0)), write),
        (
            "shorten",
            Request::Expire(owner.expire(&hash, 100, Some(Direction::Shorten), 0)),
            write.and(delete),
        ),
        ("expire all", Request::Expire(owner.expire_in(Drawers::All, 100, 0)), delete),
        ("revoke", Request::Revoke(owner.revoke(&token, 0)), Rights::OWNER),
        ("unrevoke", Request::Revoke(owner.unrevoke(&token, 0)), Rights::OWNER),
        ("ask for revocations", Request::GetRevoked(owner.get_revoked(0)), Rights::OWNER),
    ]
}

#[test]
fn a_subaccount_may_do_what_its_flags_say_and_nothing_else() {
    for owner in [Person::new(0), Person::group(0)] {
        for (what, request, needs) in needs(&owner) {
            for flags in (0..32).chain([0x80, u8::MAX]) {
                let friend = owner.friend(1, Rights(flags));
                let expected = needs != Rights::OWNER && flags & needs.0 == needs.0;
                let verdict = friend.asks(request.clone(), 0).verify(&network(), NOW, Door::Native);
                let expected = if expected { Ok(()) } else { Err(Code::Unauthorized) };
                assert_eq!(verdict, expected, "{what} with {flags:#x}");
            }
        }
    }
}

#[test]
fn a_token_is_for_accounts_of_one_kind_or_of_any() {
    let (person, group) = (Person::new(0), Person::group(0));
    for (owner, kind, rights, expected) in [
        (&person, 0x05, 1, true),
        (&person, 0x03, 1, false),
        (&person, 0x03, 1 + 8, true),
        (&group, 0x03, 1, true),
        (&group, 0x05, 1, false),
        (&group, 0x05, 1 + 8, true),
        (&group, 0xff, 1 + 8, true),
        (&group, 0x05, 8, false),
    ] {
        let mut friend = owner.friend(1, Rights(rights));
        let token = Token::new(kind, Rights(rights), &friend.pair.public());
        friend.subaccount = Subaccount::grant(&owner.pair, token);
        let request = friend.asks(Request::Retrieve(owner.look(1)), 0);
        let verdict = request.verify(&network(), NOW, Door::Native).is_ok();
        assert_eq!(verdict, expected, "kind {kind:#x}, rights {rights}");
    }
}

#[test]
fn a_subaccount_needs_the_owners_word_and_its_own() {
    for owner in [Person::new(0), Person::group(0)] {
        let asks = |friend: &Friend| friend.asks(Request::Retrieve(owner.look(1)), 0);
        let friend = owner.friend(1, Rights::READ);
        let verdict = |request: Request| request.verify(&network(), NOW, Door::Native);
        assert_eq!(verdict(asks(&friend)), Ok(()));
        let refused = Err(Code::Unauthorized);
        let spoil = |spoil: &dyn Fn(&mut Friend)| {
            let mut spoilt = friend.clone();
            spoil(&mut spoilt);
            verdict(asks(&spoilt))
        };
        let other = Person::new(7);
        assert_eq!(
            spoil(&|friend| friend.subaccount = Subaccount::grant(&other.pair, friend.token())),
            refused
        );
        assert_eq!(
            spoil(&|friend| friend.subaccount = Subaccount::grant(&friend.pair, friend.token())),
            refused
        );
        assert_eq!(spoil(&|friend| friend.subaccount.token.0[1] |= 2), refused, "more rights");
        assert_eq!(spoil(&|friend| friend.subaccount.token.0[2] = 1), refused, "any byte is signed");
        assert_eq!(spoil(&|friend| friend.pair = other.pair.clone()), refused, "another key asks");
        assert_eq!(spoil(&|friend| friend.pair = owner.pair.clone()), refused, "nor the owner in its name");
        let person = !owner.account.shows_key();
        assert_eq!(spoil(&|friend| friend.owner = None).is_err(), person, "a person's key has to be stated");
        assert_eq!(spoil(&|friend| friend.owner = Some(other.pair.public())), refused);
        // What it signed is good for nobody else, and without it for the owner neither.
        let mut without = asks(&friend);
        auth_of(&mut without).subaccount = None;
        assert_eq!(verdict(without), refused);
        let mut another = asks(&friend);
        auth_of(&mut another).subaccount = Some(owner.friend(2, Rights::READ).subaccount);
        assert_eq!(verdict(another), refused);
    }
}

#[test]
fn who_may_write_but_not_delete_only_extends() {
    let (owner, hash) = (Person::new(0), Person::new(0).hash("a"));
    let direction = |flags: Option<u8>, only, whole| {
        let request = match whole {
            false => owner.expire(&[hash], 100, only, 0),
            true => owner.expire_in(Drawers::All, 100, 0),
        };
        match flags.map(|flags| owner.friend(1, Rights(flags)).asks(Request::Expire(request.clone()), 0)) {
            Some(Request::Expire(request)) => request.direction(),
            _ => request.direction(),
        }
    };
    let (extend, shorten) = (Some(Direction::Extend), Some(Direction::Shorten));
    assert_eq!(direction(None, None, false), None);
    assert_eq!(direction(Some(2), None, false), extend);
    assert_eq!(direction(Some(2), extend, false), extend);
    assert_eq!(direction(Some(2 + 4), None, false), None);
    assert_eq!(direction(Some(2 + 4), shorten, false), shorten);
    assert_eq!(direction(Some(2 + 4), extend, false), extend);
    assert_eq!(direction(None, None, true), shorten, "whole drawers only shorten");
}
