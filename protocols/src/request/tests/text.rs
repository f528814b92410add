//! The JSON door's form of signing: what is signed, and who believes it.

use super::*;
use crate::fixture::{auth_of, node, texted};

const TIME: &str = "1700000000000";
const END: &str = "1700000100000";
/// No bound of a deletion is further ahead.
const SOON: &str = "1700000060000";
const LATER: &str = "1700000200000";

/// Every request that has a text, the text, and whether it names the time at which it was signed.
fn texts() -> Vec<(Request, Vec<u8>, bool)> {
    let person = Person::new(0);
    let (a, b) = (person.hash("a"), person.hash("b"));
    let keep = |namespace| Request::Store(person.keep_in(namespace, "a", 0, 100));
    let delete_in = |drawers, before| Request::Delete(person.delete_in(drawers, before, 0));
    let expire = |only| Request::Expire(person.expire(&[a, b], 100, only, 0));
    let each = |only| {
        let which = Which::Hashes(vec![a, b]);
        Request::Expire(person.expire_which(which, Ends::Each(vec![ms(100), ms(200)]), only, 0))
    };
    let (inbox, private) = (Drawers::One(Namespace(0)), Drawers::One(Namespace(-5)));
    let tokens = [1, 2].map(|number| person.friend(number, Rights::READ).token());
    let with_tokens = |head: String| [head.as_bytes(), &tokens[0].0, &tokens[1].0].concat();
    let named = |request, text: String| (request, text.into_bytes(), true);
    let timeless = |request, text: String| (request, text.into_bytes(), false);
    vec![
        named(keep(0), format!("store{TIME}")),
        named(keep(2), format!("store2{TIME}")),
        named(keep(-1), format!("store-1{TIME}")),
        named(Request::Retrieve(person.look(0)), format!("retrieve{TIME}")),
        named(Request::Retrieve(person.look(-11)), format!("retrieve-11{TIME}")),
        named(
            Request::GetExpiries(person.get_expiries(Some(&[a, b]), 0)),
            format!("get_expiries{TIME}{a}{b}"),
        ),
        named(Request::GetExpiries(person.get_expiries(None, 0)), format!("get_expiries{TIME}all")),
        timeless(Request::Delete(person.delete(&[a, b], 0)), format!("delete{a}{b}")),
        named(delete_in(inbox, None), format!("delete_all{TIME}")),
        named(delete_in(private, None), format!("delete_all-5{TIME}")),
        named(delete_in(Drawers::All, None), format!("delete_allall{TIME}")),
        timeless(delete_in(inbox, Some(60)), format!("delete_before{SOON}")),
        timeless(delete_in(private, Some(60)), format!("delete_before-5{SOON}")),
        timeless(delete_in(Drawers::All, Some(60)), format!("delete_beforeall{SOON}")),
        timeless(Request::Expire(person.expire_in(inbox, 100, 0)), format!("expire_all{END}")),
        timeless(Request::Expire(person.expire_in(private, 100, 0)), format!("expire_all-5{END}")),
        timeless(Request::Expire(person.expire_in(Drawers::All, 100, 0)), format!("expire_allall{END}")),
        timeless(expire(None), format!("expire{END}{a}{b}")),
        timeless(expire(Some(Direction::Shorten)), format!("expireshorten{END}{a}{b}")),
        timeless(expire(Some(Direction::Extend)), format!("expireextend{END}{a}{b}")),
        timeless(each(None), format!("expire{END}{LATER}{a}{b}")),
        (Request::Revoke(person.revoke(&tokens, 0)), with_tokens(format!("revoke_subaccount{TIME}")), true),
        (
            Request::Revoke(person.unrevoke(&tokens, 0)),
            with_tokens(format!("unrevoke_subaccount{TIME}")),
            true,
        ),
        named(Request::GetRevoked(person.get_revoked(0)), format!("revoked_subaccounts{TIME}")),
    ]
}

fn at_json_door(request: &Request) -> Result<(), Code> {
    request.verify(&network(), NOW, Door::Json)
}

/// As another member's word; none of what members do not pass on.
fn passed_on(request: &Request) -> Option<Result<(), Code>> {
    let (network, source) = (network(), Source::Member);
    match request {
        Request::Store(request) => Some(request.verify(&network, NOW, source)),
        Request::Delete(request) => Some(request.verify(&network, NOW, source)),
        Request::Expire(request) => Some(request.verify(&network, NOW, source)),
        Request::Revoke(request) => Some(auth::settle(request.claims(&network, NOW, source))),
        _ => None,
    }
}

#[test]
fn every_method_has_the_text_that_its_clients_sign() {
    let person = Person::new(0);
    let refused = Err(Code::Unauthorized);
    for (request, text, _) in texts() {
        let signed = texted(&person, request.clone(), &text, 0);
        assert_eq!(at_json_door(&signed), Ok(()), "{request:?}");
        for spoilt in [[&text[..], b"1"].concat(), text[1..].to_vec(), text.to_ascii_uppercase()] {
            assert_eq!(at_json_door(&texted(&person, request.clone(), &spoilt, 0)), refused, "{request:?}");
        }
    }
    // A fetch has none.
    let fetch = texted(&person, Request::Fetch(person.fetch(&[person.hash("a")], 0)), b"fetch", 0);
    assert_eq!(at_json_door(&fetch), Err(Code::BadRequest));
}

#[test]
fn a_hash_that_no_message_has_is_signed_as_it_was_written() {
    let person = Person::new(0);
    let (hash, filler) = (person.hash("a"), "/".repeat(43));
    let (beyond, spare) = crate::MessageHash::spelt(&filler).unwrap();
    assert_eq!((spare, beyond.spell(spare)), (3, filler.clone()));
    let spelt = |spare: &[u8]| Form::Text { received: None, spare: spare.to_vec() };

    let text = format!("get_expiries{TIME}{hash}{filler}");
    let request = Request::GetExpiries(person.get_expiries(Some(&[hash, beyond]), 0));
    let mut signed = texted(&person, request, text.as_bytes(), 0);
    assert_eq!(at_json_door(&signed), Err(Code::Unauthorized), "it was written otherwise");
    auth_of(&mut signed).form = spelt(&[0, spare]);
    assert_eq!(at_json_door(&signed), Ok(()));
    auth_of(&mut signed).form = spelt(&[0, spare, 0]);
    assert_eq!(at_json_door(&signed), Err(Code::BadRequest), "more than hashes");

    let text = format!("expire{END}{hash}{filler}");
    let request = Request::Expire(person.expire(&[hash, beyond], 100, None, 0));
    let mut signed = texted(&person, request, text.as_bytes(), 0);
    auth_of(&mut signed).form = spelt(&[0, spare]);
    assert_eq!(passed_on(&received(signed, &node(1))), Some(Ok(())), "members pass it on");
}

#[test]
fn no_signature_is_good_at_both_doors() {
    let person = Person::new(0);
    for (request, text, _) in texts() {
        let mut native = request.clone();
        let statement = crate::fixture::statement(&request, 0);
        *auth_of(&mut native) = Auth::sign(&person.account, &person.pair, ms(0), &statement);
        assert_eq!(native.verify(&network(), NOW, Door::Native), Ok(()), "{request:?}");
        assert_eq!(at_json_door(&native), Err(Code::Unauthorized), "{request:?}");
        let json = texted(&person, request.clone(), &text, 0);
        assert_eq!(json.verify(&network(), NOW, Door::Native), Err(Code::Unauthorized), "{request:?}");
        // Nor by saying that it has the other form.
        auth_of(&mut native).form = Form::text();
        assert_eq!(at_json_door(&native), Err(Code::Unauthorized), "{request:?}");
        let mut json = json;
        auth_of(&mut json).form = Form::Statement;
        assert_eq!(json.verify(&network(), NOW, Door::Native), Err(Code::Unauthorized), "{request:?}");
    }
}

#[test]
fn a_subaccount_signs_the_same_text() {
    let person = Person::new(0);
    let friend = person.friend(1, Rights::READ);
    let mut request = Request::Retrieve(person.look(0));
    let text = format!("retrieve{TIME}");
    *auth_of(&mut request) = Auth {
        key: Some(ByteArray::new(person.pair.public())),
        time: ms(0),
        signature: friend.pair.sign(text.as_bytes()),
        subaccount: Some(friend.subaccount),
        form: Form::text(),
    };
    assert_eq!(at_json_door(&request), Ok(()));
    auth_of(&mut request).signature = person.pair.sign(text.as_bytes());
    assert_eq!(at_json_door(&request), Err(Code::Unauthorized));
}

/// The same as the first member that took it passes it on.
fn received(mut request: Request, by: &KeyPair) -> Request {
    match &mut request {
        Request::Delete(request) => request.receive(by, &network()),
        Request::Expire(request) => request.receive(by, &network()),
        _ => {}
    }
    request
}

#[test]
fn where_a_text_names_no_time_a_member_says_when_it_came() {
    let person = Person::new(0);
    let refused = Some(Err(Code::Unauthorized));
    for (request, text, names_time) in texts() {
        let request = texted(&person, request, &text, 0);
        let Some(as_it_came) = passed_on(&request) else { continue };
        assert_eq!(as_it_came.is_ok(), names_time, "{request:?}");
        let said = received(request.clone(), &node(1));
        assert_eq!(passed_on(&said), Some(Ok(())), "{request:?}");
        if names_time {
            assert_eq!(said, request, "nothing is left to say");
            // Who says it all the same is not believed.
            let mut said = request;
            let statement = crate::fixture::statement(&said, 0);
            auth_of(&mut said).receive(&node(1), &network(), &statement);
            assert_eq!(passed_on(&said), refused);
            continue;
        }
        assert_eq!(said.auth().unwrap().time, ms(0), "the door's time stays");
        assert_eq!(received(said.clone(), &node(2)), said, "the first one says it");
        assert_eq!(at_json_door(&said), Err(Code::Unauthorized), "no client says it");
        let spoil = |spoil: &dyn Fn(&mut Auth, &mut Received)| {
            let mut spoilt = said.clone();
            let auth = auth_of(&mut spoilt);
            let Form::Text { received: Some(mut word), spare } = auth.form.clone() else {
                panic!("nobody said it")
            };
            spoil(auth, &mut word);
            auth.form = Form::Text { received: Some(word), spare };
            passed_on(&spoilt)
        };
        assert_eq!(spoil(&|_, _| ()), Some(Ok(())));
        assert_eq!(spoil(&|auth, _| auth.time += 1), refused, "another time");
        assert_eq!(spoil(&|_, word| word.node = node(2).node_id()), refused, "another node");
        assert_eq!(spoil(&|_, word| word.signature.0[5] ^= 1), refused, "another signature");
        assert_eq!(spoil(&|auth, _| auth.signature.0[5] ^= 1), refused, "the client's counts too");
        // A time that is far ahead would win over honest ones.
        let mut ahead = request;
        auth_of(&mut ahead).time = ms(71);
        let ahead = received(ahead, &node(1));
        assert_eq!(passed_on(&ahead), Some(Err(Code::Clock)));
    }
}

#[test]
fn what_was_signed_natively_gets_no_time_from_a_member() {
    let person = Person::new(0);
    let request = Request::Delete(person.delete(&[person.hash("a")], 0));
    assert_eq!(received(request.clone(), &node(1)), request);
}
