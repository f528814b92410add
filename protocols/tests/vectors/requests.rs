//! What clients ask and are answered, and what subscribers hear.

use session_protocols::{
    answer::{Answer, Body, Code, End, MAX_ANSWER, RULES, Refusal},
    notify::{self, Event, Subscribe, Subscribed},
    request::{Direction, Door, Drawers, Ids, MAX_REQUEST, Request},
};

use crate::file::{check, wire};
use crate::people::{DAY, TIME, alice, network};
use crate::samples::{
    CURSOR, INBOX, changed, choice, delete, delete_which, expire, expire_all, expire_each, fetch, friend,
    friends_keep, get_expiries, get_revoked, group_keep, hash, keep, kept, message, outbox_keep,
    outbox_retrieve, post, receipts, retrieve, retrieve_ids, retrieve_last, retrieve_plainly, revoke,
    some_of_all, swarm_info, texted_keep, whole,
};

#[test]
fn requests() {
    let requests = [
        ("store, unsigned, into a public inbox", Request::Store(post())),
        ("store, signed, into a private namespace", Request::Store(keep())),
        ("store, signed by a group", Request::Store(group_keep())),
        ("retrieve after a cursor, with limits", Request::Retrieve(retrieve())),
        ("retrieve from the beginning", Request::Retrieve(retrieve_plainly())),
        ("retrieve, hashes where the cursor is not known", Request::Retrieve(retrieve_ids(Ids::Anew))),
        ("retrieve, hashes in any case", Request::Retrieve(retrieve_ids(Ids::Always))),
        ("fetch", Request::Fetch(fetch())),
        ("delete", Request::Delete(delete())),
        ("expire", Request::Expire(expire(None))),
        ("expire, only shorten", Request::Expire(expire(Some(Direction::Shorten)))),
        ("expire, only extend", Request::Expire(expire(Some(Direction::Extend)))),
        ("get_swarm", Request::GetSwarm { account: alice() }),
        ("info", Request::Info),
        ("store, signed, into a public outbox", Request::Store(outbox_keep())),
        ("store, signed by a subaccount", Request::Store(friends_keep())),
        ("store, of a client of the JSON door", Request::Store(texted_keep())),
        ("retrieve, from a public outbox", Request::Retrieve(outbox_retrieve())),
        ("retrieve, after a message", Request::Retrieve(retrieve_last())),
        ("get_expiries", Request::GetExpiries(get_expiries(Some(vec![hash(b"hello")])))),
        ("get_expiries, of all", Request::GetExpiries(get_expiries(None))),
        ("delete, required", Request::Delete(delete_which(delete().which, true))),
        ("delete, all in one drawer", Request::Delete(delete_which(whole(INBOX, None), false))),
        ("delete, all in all drawers", Request::Delete(delete_which(whole(Drawers::All, None), false))),
        ("delete, what was sent before", Request::Delete(delete_which(whole(INBOX, Some(TIME - 5)), false))),
        ("delete, all, some at a time", Request::Delete(delete_which(some_of_all(), false))),
        ("expire, an end for each", Request::Expire(expire_each())),
        ("expire, all in all drawers", Request::Expire(expire_all())),
        ("revoke_subaccount", Request::Revoke(revoke(false))),
        ("unrevoke_subaccount", Request::Revoke(revoke(true))),
        ("revoked_subaccounts", Request::GetRevoked(get_revoked())),
        ("batch", Request::Batch(vec![Request::Store(post()), Request::Info])),
        ("sequence", Request::Sequence(vec![Request::Store(post()), Request::Info])),
        ("if", Request::If(Box::new(choice()))),
    ];
    let now = session_protocols::Time::from_millis(TIME);
    for (name, request) in &requests {
        let door = request.auth().map_or(Door::Native, |auth| auth.form.door());
        assert_eq!(request.verify(&network(), now, door), Ok(()), "{name}");
    }
    let entries = requests.iter().map(|(name, request)| wire(name, request, MAX_REQUEST));
    check("requests.json", &entries.collect::<Vec<_>>());
}

#[test]
fn answers() {
    let refused = |refusal| Body::Refused(refusal);
    let plain = |code| Refusal { code, swarm: None, receipts: None };
    let bodies = [
        ("stored", Body::Stored { hash: hash(b"hello"), already: false, receipts: receipts(kept()) }),
        ("changed", Body::Changed { receipts: receipts(changed()) }),
        ("messages", Body::Messages { messages: vec![message()], more: true, cursor: CURSOR }),
        ("no messages", Body::Messages { messages: vec![], more: false, cursor: CURSOR }),
        ("ids", Body::Ids { hashes: vec![hash(b"hello")], more: true, cursor: CURSOR }),
        ("fetched", Body::Fetched { messages: vec![message()], hashes: 1 }),
        ("swarm", Body::Swarm(swarm_info())),
        ("info", Body::Info { version: "0.1.0".into(), rules: RULES, height: 1_234 }),
        ("refused", refused(plain(Code::Full))),
        ("refused, another swarm", refused(Refusal { swarm: Some(swarm_info()), ..plain(Code::WrongSwarm) })),
        (
            "refused, too few have it",
            refused(Refusal { receipts: Some(receipts(kept())), ..plain(Code::NotReady) }),
        ),
        ("refused, none is held", refused(plain(Code::NotFound))),
        (
            "expiries",
            Body::Expiries { ends: vec![End { hash: hash(b"hello"), expiry: TIME + DAY }], more: true },
        ),
        ("revoked", Body::Revoked { tokens: vec![friend().1.token] }),
        (
            "batch",
            Body::Batch(vec![
                Answer { time: TIME, body: Body::Expiries { ends: vec![], more: false } },
                Answer::refused(TIME, Code::Full),
            ]),
        ),
        ("if, done", Body::If { condition: true, answer: Some(Box::new(Answer::refused(TIME, Code::Full))) }),
        ("if, nothing to do", Body::If { condition: false, answer: None }),
    ];
    let entries = bodies.map(|(name, body)| wire(name, &Answer { time: TIME, body }, MAX_ANSWER));
    check("answers.json", &entries);
}

#[test]
fn notify() {
    let event = Event { messages: vec![message()], cursor: CURSOR };
    let answer = |body| notify::Answer { time: TIME, body };
    let entries = [
        wire("subscribe", &Subscribe { retrieve: retrieve() }, notify::MAX_REQUEST),
        wire("until", &answer(Subscribed::Until { expiry: TIME + 3_900_000 }), notify::MAX_EVENT),
        wire("refused", &answer(Subscribed::Refused { code: Code::NotReady }), notify::MAX_EVENT),
        wire("event", &event, notify::MAX_EVENT),
    ];
    check("notify.json", &entries);
}
