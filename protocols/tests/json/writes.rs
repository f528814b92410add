//! What stores and changes are answered, and the text that each member signs.

use serde_json::{Value, json};
use session_protocols::{
    MessageHash, Namespace, Time,
    answer::{
        Answer, Body, Code, Done, Failure, Missing, RULES, Receipt, Receipts, Refusal, Subject, Told, told,
    },
    door::render::render,
    record::Mutation,
    request::{Door, Request, Rights},
};

use crate::{
    asked::{
        Asked, delete, delete_all, delete_before, expire, expire_all, friend, get_expiries, hash, hash_in,
        hashes, keep, retrieve, revoke, said, signature, store,
    },
    file::check,
    people::{ALICE, DAY, TIME, alice, group, network, pair},
};

/// The members of the swarm: two that do what they are asked, and one for each way to fail.
const MEMBERS: [u8; 7] = [3, 4, 5, 7, 8, 9, 10];

/// What one member did, and the text that it signs.
struct Did {
    already: bool,
    changed: Vec<(i16, MessageHash)>,
    unchanged: Vec<(MessageHash, u64)>,
    text: Vec<u8>,
}

impl Did {
    fn of(changed: &[(i16, MessageHash)], text: impl AsRef<[u8]>) -> Self {
        Self {
            already: false,
            changed: changed.to_vec(),
            unchanged: Vec::new(),
            text: text.as_ref().to_vec(),
        }
    }
}

/// Hashes in the order of their text, joined.
fn in_order(changed: &[(i16, MessageHash)]) -> String {
    let mut shown: Vec<_> = changed.iter().map(|(_, hash)| hash.to_string()).collect();
    shown.sort();
    shown.concat()
}

/// The answer to a store or a change: what each member did, from the first on. Of the rest one tells nothing that
/// clients of this door can read, and the others fail.
fn written(asked: &Asked, did: Vec<Did>) -> Value {
    let request = asked.request();
    let mutation = match request.clone() {
        Request::Store(request) => Mutation::Store(request),
        Request::Delete(request) => Mutation::Delete { request, held: Vec::new() },
        Request::Expire(request) => Mutation::Expire { request, held: Vec::new() },
        Request::Revoke(request) => Mutation::Revoke { request, held: Vec::new() },
        other => panic!("{other:?} changes nothing"),
    };
    let account = *request.account().unwrap();
    let subject = Subject::Request { account, digest: [0; 32] };
    let mut nodes = MEMBERS.iter();
    let (mut signed, mut members, already) = (Vec::new(), Vec::new(), did[0].already);
    for (Did { already, changed, unchanged, text }, seed) in did.into_iter().zip(nodes.by_ref()) {
        let done = match &request {
            Request::Store(store) => Done::Keeps { expiry: store.expiry },
            _ => Done::Changed { hashes: changed.iter().map(|(_, hash)| *hash).collect() },
        };
        let listed: Vec<_> = changed.iter().map(|(namespace, hash)| (Namespace(*namespace), *hash)).collect();
        assert_eq!(told::text(&mutation, &listed, &unchanged), text, "{}", asked.name);
        let told = Told { already, listed, unchanged, signature: pair(*seed).sign(&text) };
        signed
            .push(Receipt { told: Some(told), ..Receipt::sign(&pair(*seed), &network(), 7, &subject, done) });
        members.push(signature(*seed, &text));
    }
    let mute = pair(*nodes.next().unwrap());
    signed.push(Receipt::sign(&mute, &network(), 7, &subject, Done::Changed { hashes: vec![] }));
    let failures = [Failure::Silent, Failure::Refused { code: Code::Full }, Failure::Unsound, Failure::Own];
    let missing = |(seed, why): (&u8, _)| Missing { node: pair(*seed).node_id(), why };
    let missing: Vec<_> = nodes.zip(failures).map(missing).collect();
    assert_eq!(signed.len() + missing.len(), MEMBERS.len());
    let receipts = Receipts { map_version: 7, signed, missing };
    let body = match &request {
        Request::Store(store) => Body::Stored { hash: store.hash(), already, receipts },
        _ => Body::Changed { receipts },
    };
    let reply = render(&request, &Answer { time: TIME, body }, RULES, |_| None);
    let mut entry = said(&reply);
    for member in &members {
        let told = &entry["body"]["swarm"][member["key"].as_str().unwrap()];
        assert_eq!(told["signature"], member["signature"], "{}", asked.name);
    }
    assert_eq!(entry["body"]["swarm"].as_object().unwrap().len(), MEMBERS.len());
    entry["name"] = asked.name.clone().into();
    entry["members"] = members.into();
    entry
}

/// Both messages, and the second alone, as two members hold them.
fn held() -> [Vec<(i16, MessageHash)>; 2] {
    let bye = (0, hash("bye"));
    [vec![(0, hash("hello")), bye], vec![bye]]
}

fn deletions() -> Vec<Value> {
    let account = alice();
    let each = |asked: &Asked, before: &str| {
        written(
            asked,
            held().map(|held| Did::of(&held, format!("{account}{before}{}", in_order(&held)))).into(),
        )
    };
    let everywhere = [
        vec![(2, hash_in(2, "hello")), (0, hash("bye")), (-1, hash_in(-1, "bye")), (0, hash("hello"))],
        vec![],
    ];
    let all = delete_all("delete_all, of all namespaces", &json!("all"), "all");
    vec![
        each(&delete(), &hashes()),
        each(&delete_all("delete_all", &Value::Null, ""), &TIME.to_string()),
        written(
            &all,
            everywhere.map(|held| Did::of(&held, format!("{account}{TIME}{}", in_order(&held)))).into(),
        ),
        each(&delete_before(), &(TIME - 5).to_string()),
    ]
}

/// A store that nobody signed is answered as one that is.
fn stored_by_anybody() -> Vec<Value> {
    let asked = Asked::plain("store, unsigned, into a public inbox", "store", &store(None));
    let shown = hash("hello").to_string();
    vec![written(&asked, vec![Did::of(&[], &shown), Did { already: true, ..Did::of(&[], &shown) }])]
}

fn expiries() -> Vec<Value> {
    let (account, end) = (alice(), TIME + 2 * DAY);
    let each = |asked: &Asked, before: &str| {
        written(
            asked,
            held().map(|held| Did::of(&held, format!("{account}{before}{}", in_order(&held)))).into(),
        )
    };
    // The end of one that is left as it was, beside one that changed.
    let shorten = expire("expire, only shorten", &json!(end), &end.to_string(), "shorten");
    let left = vec![(hash("hello"), TIME + DAY), (hash("bye"), TIME + 5)];
    let mut shown: Vec<_> = left.iter().map(|(hash, end)| format!("{hash}{end}")).collect();
    shown.sort();
    let bye = vec![(0, hash("bye"))];
    let (hello, later) = (hash("hello"), TIME + DAY);
    let some = format!("{account}{end}{}{}{hello}{later}", hashes(), hash("bye"));
    let none = format!("{account}{end}{}{}", hashes(), shown.concat());
    let shortened = vec![
        Did { unchanged: left[..1].to_vec(), ..Did::of(&bye, some) },
        Did { unchanged: left, ..Did::of(&[], none) },
    ];
    // Each member tells the ends of what it changed, in the order in which it lists that.
    let apart =
        expire("expire, an end for each", &json!([TIME + DAY, end]), &format!("{}{end}", TIME + DAY), "");
    let own = |held: &[(i16, MessageHash)]| {
        let end_of = |one: &MessageHash| if *one == hello { later } else { end };
        let mut ends: Vec<_> = held.iter().map(|(_, one)| (one.to_string(), end_of(one))).collect();
        ends.sort();
        ends.iter().map(|(_, end)| end.to_string()).collect::<String>()
    };
    let text = |held: &[(i16, MessageHash)]| format!("{account}{}{}{}", own(held), hashes(), in_order(held));
    vec![
        each(&expire("expire", &json!(end), &end.to_string(), ""), &format!("{end}{}", hashes())),
        written(&apart, held().map(|held| Did::of(&held, text(&held))).into()),
        written(&shorten, shortened),
        extended(),
        each(&expire_all("expire_all, of a namespace", &json!(2), "2"), &(TIME + DAY).to_string()),
        each(&expire_all("expire_all, of all namespaces", &json!("all"), "all"), &(TIME + DAY).to_string()),
    ]
}

/// One message ends later, and one ends later than asked already, at the first member; the second holds none.
fn extended() -> Value {
    let end = TIME + 2 * DAY;
    let (hello, bye, later) = (hash("hello"), hash("bye"), TIME + 3 * DAY);
    let before = format!("{}{end}{}", alice(), hashes());
    let some = Did {
        unchanged: vec![(bye, later)],
        ..Did::of(&[(0, hello)], format!("{before}{hello}{bye}{later}"))
    };
    let asked = expire("expire, only extend", &json!(end), &end.to_string(), "extend");
    written(&asked, vec![some, Did::of(&[], before)])
}

#[test]
fn what_writes_are_answered() {
    let (stored, token) = (hash_in(2, "hello").to_string(), friend(Rights::READ).token);
    let again = Did { already: true, ..Did::of(&[], &stored) };
    let mut entries = vec![written(&keep(), vec![Did::of(&[], &stored), again])];
    entries.extend(stored_by_anybody());
    entries.extend(deletions());
    entries.extend(expiries());
    let signed = [format!("{}{TIME}", group()).as_bytes(), &token.0].concat();
    for method in ["revoke", "unrevoke"] {
        let known = [(i16::MIN, token.hash(&group()))];
        entries.push(written(&revoke(method), vec![Did::of(&known, &signed), Did::of(&[], &signed)]));
    }
    check("json_writes.json", &entries);
}

#[test]
fn what_no_member_did_is_refused_and_each_says_why() {
    let request = delete().request();
    let subject = Subject::Request { account: *request.account().unwrap(), digest: [0; 32] };
    let (listed, unchanged) = (Vec::new(), Vec::new());
    let told = Told { already: false, listed, unchanged, signature: pair(3).sign(b"nothing") };
    let nothing = Receipt::sign(&pair(3), &network(), 7, &subject, Done::Changed { hashes: Vec::new() });
    let signed = vec![Receipt { told: Some(told), ..nothing }];
    let missing = vec![Missing { node: pair(3).node_id(), why: Failure::Silent }];
    for (code, status, receipts) in [
        (Code::NotFound, 404, Receipts { map_version: 7, signed, missing: Vec::new() }),
        (Code::Full, 500, Receipts { map_version: 7, signed: Vec::new(), missing }),
    ] {
        let body = Body::Refused(Refusal { code, swarm: None, receipts: Some(receipts) });
        let reply = render(&request, &Answer { time: TIME, body }, RULES, |_| None);
        let reply = said(&reply);
        assert_eq!((&reply["status"], &reply["body"]["t"]), (&json!(status), &json!(TIME)));
        let member = &reply["body"]["swarm"][pair(3).node_id().to_string()];
        assert_eq!(
            (member["deleted"] == json!([]), member["failed"] == true),
            (status == 404, status == 500)
        );
    }
}

/// Session's desktop client fills a list of one up with what is no message's hash.
#[test]
fn lists_are_filled_up() {
    let (hello, filler) = (hash("hello"), "/".repeat(43));
    let (list, spelt) = (json!([hello.to_string(), filler]), format!("{hello}{filler}"));
    let genuine = |asked: &Asked| asked.request().verify(&network(), Time::from_millis(TIME), Door::Json);

    let asked = get_expiries("get_expiries, filled up", &list, &spelt);
    assert_eq!(genuine(&asked), Ok(()));
    let end = TIME + DAY;
    let params = json!({ "messages": list, "expiry": end });
    let asked = Asked::signed("expire, filled up", ALICE, "expire", &params, format!("expire{end}{spelt}"));
    assert_eq!(genuine(&asked), Ok(()));
    let did = || Did::of(&[(0, hello)], format!("{}{end}{spelt}{hello}", alice()));
    written(&asked, vec![did(), did()]);
    let params = json!({ "messages": list });
    let asked = Asked::signed("delete, filled up", ALICE, "delete", &params, format!("delete{spelt}"));
    assert_eq!(genuine(&asked), Ok(()));
    let did = || Did::of(&[(0, hello)], format!("{}{spelt}{hello}", alice()));
    written(&asked, vec![did(), did()]);

    // After a message that there cannot be comes all that there is.
    let asked = retrieve("retrieve, after none", &json!({ "lastHash": filler }), "");
    let Request::Retrieve(read) = asked.request() else { panic!("{}", asked.name) };
    assert_eq!(read.last, None);
}
