//! The cases. Each has an account of its own at each door, and its steps follow each other.
//!
//! They hold the codes 400, 401, 403, 404, 406, 413, 421, 429 of an account and 507 of one, which the JSON door calls 500.
//! What the JSON door alone says stands in `json/own.rs`; the others need a node that is alone, slow, or asked by a crowd:
//!
//! | code | test |
//! |---|---|
//! | 408, 410, 431, 504; 413, 429 and 503 of HTTP | `node/tests/node/door.rs` |
//! | 429 of a neighbour, 507 of a node, 503 of one that is not ready, which both doors say | `node/tests/node/codes.rs` |
//! | a swarm of which some failed, or all | `full.rs`, `protocols/src/member/tests/door.rs`, `protocols/tests/json.rs` |
//! | 502 of an onion request | `node/tests/node/door.rs` |
//! | 408, 413, 429, 503 and 504 of one that a node hands on | `node/src/door/relay/tests.rs` |

mod several;

use several::{elsewhere, several, too_much};

use super::{
    At, By,
    By::{Nobody, Owner, OwnerAt, Stranger, Sub, SubOfOthers, SubOfStranger},
    Call, Case, Kind, Want,
    Want::{Already, Changed, Code, Codes, Stored, Texts},
};

const READ: u8 = 1;
const WRITE: u8 = 2;
const DELETE: u8 = 4;
const ANY_PREFIX: u8 = 8;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

pub(crate) fn cases() -> Vec<Case> {
    let all = [
        drawers(),
        lives(),
        limits(),
        reading(),
        watching(),
        deleting(),
        expiring(),
        subaccounts(),
        revoking(),
        several(),
        elsewhere(),
        too_much(),
    ];
    all.into_iter().flatten().collect()
}

/// Who may do what in each class of drawer.
fn drawers() -> Vec<Case> {
    let mut cases = vec![
        case(
            "a public inbox takes from anyone, and shows to its owner",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (store(0, "a"), Nobody, Already),
                (store(0, "b"), Owner, Stored),
                (retrieve(0), Owner, Texts(&["a", "b"])),
                (retrieve(0), Nobody, Code(401)),
                (retrieve(0), Stranger, Code(401)),
                // At the JSON door a signature that does not hold is none.
                (store(0, "c"), Stranger, Want::Each(Box::new([Code(401), Stored]))),
                (store(0, "d"), OwnerAt(-70_000), Want::Each(Box::new([Code(406), Stored]))),
            ],
        ),
        case(
            "a private drawer is its owner's",
            Kind::Person,
            vec![
                (store(2, "a"), Owner, Stored),
                (store(2, "b"), Nobody, Code(401)),
                (store(2, "b"), Stranger, Code(401)),
                (retrieve(2), Owner, Texts(&["a"])),
                (retrieve(2), Nobody, Code(401)),
            ],
        ),
        case(
            "a public outbox keeps its owner's last message, and shows it to anyone",
            Kind::Person,
            vec![
                (store(-1, "a"), Nobody, Code(401)),
                (store(-1, "a"), OwnerAt(-2_000), Stored),
                (retrieve(-1), Nobody, Texts(&["a"])),
                (store(-1, "b"), OwnerAt(-1_000), Stored),
                (retrieve(-1), Nobody, Texts(&["b"])),
                (store(-1, "b"), Owner, Already),
                (retrieve(-1), Owner, Texts(&["b"])),
                (retrieve(-1), Stranger, Code(401)),
            ],
        ),
        case(
            "a drawer of old groups is open",
            Kind::Group,
            vec![(store(-10, "a"), Nobody, Stored), (retrieve(-10), Nobody, Texts(&["a"]))],
        ),
        case(
            "a closed drawer takes nothing, and is empty",
            Kind::Person,
            vec![
                (store(-3741, "a"), Owner, Code(401)),
                (store(-3741, "a"), Nobody, Code(401)),
                (retrieve(-3741), Nobody, Texts(&[])),
            ],
        ),
        case(
            "drawers do not mix",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (store(3, "a"), Owner, Stored),
                (store(10, "a"), Nobody, Stored),
                (retrieve(0), Owner, Texts(&["a"])),
                (retrieve(3), Owner, Texts(&["a"])),
                (retrieve(20), Owner, Texts(&[])),
            ],
        ),
    ];
    for (name, drawer) in [("so is every twentieth drawer from it, -21", -21), ("and -41", -41)] {
        cases.push(case(
            name,
            Kind::Person,
            vec![
                (store(drawer, "a"), Nobody, Code(401)),
                (store(drawer, "a"), OwnerAt(-2_000), Stored),
                (store(drawer, "b"), OwnerAt(-1_000), Stored),
                (retrieve(drawer), Nobody, Texts(&["b"])),
                (retrieve(drawer), Stranger, Code(401)),
            ],
        ));
    }
    for (name, kind) in [
        ("a group signs with its own key", Kind::Group),
        ("so does an account of another kind", Kind::Other(0x25)),
    ] {
        cases.push(case(
            name,
            kind,
            vec![
                (store(11, "a"), Owner, Stored),
                (store(11, "b"), Stranger, Code(401)),
                (retrieve(11), Owner, Texts(&["a"])),
                (delete(&[(11, "a")]), Owner, Changed(vec![(11, "a")])),
            ],
        ));
    }
    cases
}

/// How long messages live.
fn lives() -> Vec<Case> {
    let lived = |namespace, ttl| Call::Store { at: (namespace, "a"), ttl, sent: 0 };
    let sent = |sent| Call::Store { at: (0, "a"), ttl: HOUR, sent };
    vec![
        case(
            "a message in a public inbox lives 10 seconds to 14 days",
            Kind::Person,
            vec![
                (lived(0, 9_999), Nobody, Code(403)),
                (lived(0, 14 * DAY + 1), Nobody, Code(403)),
                (lived(0, 14 * DAY), Nobody, Stored),
            ],
        ),
        case(
            "a private one lives up to 30 days",
            Kind::Person,
            vec![(lived(2, 30 * DAY + 1), Owner, Code(403)), (lived(2, 30 * DAY), Owner, Stored)],
        ),
        case(
            "it may come from the past, and hardly from the future",
            Kind::Person,
            vec![
                (sent(60 * SECOND), Nobody, Code(406)),
                (sent(5 * SECOND), Nobody, Stored),
                (Call::Store { at: (0, "b"), ttl: 13 * DAY, sent: -12 * DAY }, Nobody, Stored),
            ],
        ),
        case(
            "what is signed is signed now",
            Kind::Person,
            vec![
                (store(2, "a"), OwnerAt(-50_000), Stored),
                (store(2, "b"), OwnerAt(-70_000), Code(406)),
                (store(2, "b"), OwnerAt(70_000), Code(406)),
                (retrieve(2), OwnerAt(-70_000), Code(406)),
                (Call::Revoked, OwnerAt(70_000), Code(406)),
            ],
        ),
    ]
}

/// How much one request may be about.
fn limits() -> Vec<Case> {
    let (longest, longer): (&'static str, &'static str) = (long(76_800), long(76_801));
    let many = |count| vec![(0, "x"); count];
    let expire = |count| Call::Expire { messages: many(count), ends: vec![HOUR], only: None };
    let revoke = |count| Call::Revoke { rights: (0..count).collect(), undo: false };
    let back = |count| Call::Revoke { rights: (0..=u8::MAX).cycle().take(count).collect(), undo: true };
    vec![
        case(
            "a message has 76,800 bytes and no more",
            Kind::Person,
            vec![
                (store(0, longer), Nobody, Code(413)),
                (store(0, longest), Nobody, Stored),
                (retrieve(0), Owner, Texts(vec![longest].leak())),
            ],
        ),
        case(
            "a request names 500 messages and no more",
            Kind::Person,
            vec![
                (delete(&many(500)), Owner, Changed(vec![])),
                (delete(&many(501)), Owner, Code(413)),
                (expire(500), Owner, Changed(vec![])),
                (expire(501), Owner, Code(413)),
                (expiries(Some(many(500))), Owner, Want::Expiries(vec![])),
                (expiries(Some(many(501))), Owner, Want::Each(Box::new([Code(413), Want::Expiries(vec![])]))),
            ],
        ),
        case(
            "fifty subaccounts are revoked at a time",
            Kind::Group,
            vec![(revoke(51), Owner, Codes(413, 400)), (revoke(50), Owner, Want::Count(50))],
        ),
        case(
            "five hundred are given their rights back at a time",
            Kind::Group,
            vec![(back(501), Owner, Codes(413, 400)), (back(500), Owner, Want::Count(0))],
        ),
    ]
}

fn reading() -> Vec<Case> {
    let page = |last, count| Call::Retrieve { namespace: 0, last, count, size: None };
    let sized = |size| Call::Retrieve { namespace: 0, last: None, count: None, size: Some(size) };
    let after = |last, size| Call::Retrieve { namespace: 0, last: Some(last), count: None, size: Some(size) };
    let each = |native, json| Want::Each(Box::new([native, json]));
    // Natively their bytes count; at the JSON door their base64, the hash, and 100 beside.
    let [one, two, three] = ["1", "2", "3"].map(|text| -> &'static str { text.repeat(5_000).leak() });
    let leak = |texts: &[&'static str]| -> &'static [&'static str] { texts.to_vec().leak() };
    let (first, both, all) = (leak(&[one]), leak(&[one, two]), leak(&[one, two, three]));
    vec![
        case(
            "a mailbox is read in pages",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (store(0, "b"), Nobody, Stored),
                (store(0, "c"), Nobody, Stored),
                (page(None, Some(2)), Owner, Want::Page(&["a", "b"])),
                (page(Some((0, "b")), Some(2)), Owner, Texts(&["c"])),
                (page(Some((0, "c")), None), Owner, Texts(&[])),
                (page(Some((0, "nobody knows")), None), Owner, Texts(&["a", "b", "c"])),
            ],
        ),
        case(
            "a page has as many bytes as is said, a share of the most where that is negative, and one message at least",
            Kind::Person,
            vec![
                (store(0, one), Nobody, Stored),
                (store(0, two), Nobody, Stored),
                (store(0, three), Nobody, Stored),
                (retrieve(0), Owner, Texts(all)),
                (sized(1), Owner, Want::Page(first)),
                (sized(4_999), Owner, Want::Page(first)),
                (sized(13_900), Owner, Want::Page(both)),
                (sized(2 * 6_811), Owner, Want::Page(both)),
                (sized(2 * 6_811 - 1), Owner, each(Want::Page(both), Want::Page(first))),
                (sized(3 * 6_811), Owner, Texts(all)),
                (sized(-1), Owner, Texts(all)),
                (sized(-100), Owner, each(Want::Page(both), Texts(all))),
                (sized(-400), Owner, each(Want::Page(first), Want::Page(both))),
                (sized(-100_000_000), Owner, Want::Page(first)),
                (after((0, one), 1), Owner, Want::Page(leak(&[two]))),
                (after((0, two), 1), Owner, Texts(leak(&[three]))),
                (after((0, three), 1), Owner, Texts(&[])),
            ],
        ),
        case(
            "messages say when they end",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (store(2, "b"), Owner, Stored),
                (expiries(Some(vec![(0, "a"), (0, "x")])), Owner, Want::Expiries(vec![((0, "a"), HOUR)])),
                (expiries(None), Owner, Want::Expiries(vec![((0, "a"), HOUR), ((2, "b"), HOUR)])),
                (expiries(None), Nobody, Code(401)),
            ],
        ),
        case(
            "anyone may ask who keeps an account, and a node about itself",
            Kind::Group,
            vec![(Call::Swarm, Nobody, Want::Swarm), (Call::Info, Nobody, Want::Info)],
        ),
    ]
}

/// Who may watch a drawer; clients of the JSON door cannot: whoever asks there is told that there is no such method.
fn watching() -> Vec<Case> {
    let watch = |namespace, text| Call::Monitor { at: (namespace, text) };
    let natively = |want| Want::Each(Box::new([want, Code(400)]));
    vec![
        case(
            "whoever may read a drawer is told of what is there, and of what arrives",
            Kind::Person,
            vec![
                (watch(0, "a"), Owner, natively(Want::Told(&["a"]))),
                (watch(2, "b"), Owner, natively(Want::Told(&["b"]))),
                (watch(2, "c"), Owner, natively(Want::Told(&["b", "c"]))),
                (watch(2, "d"), Nobody, natively(Code(401))),
                (watch(2, "d"), Stranger, natively(Code(401))),
                (watch(2, "d"), OwnerAt(-70_000), natively(Code(406))),
                (watch(-1, "e"), Nobody, natively(Want::Told(&["e"]))),
            ],
        ),
        case(
            "subaccounts watch with the right to read",
            Kind::Group,
            vec![
                (watch(11, "a"), Sub(READ), natively(Want::Told(&["a"]))),
                (watch(11, "b"), Sub(WRITE | DELETE), natively(Code(401))),
                (watch(11, "b"), SubOfStranger(READ), natively(Code(401))),
                (Call::Revoke { rights: vec![READ], undo: false }, Owner, Want::Count(1)),
                (watch(11, "b"), Sub(READ), natively(Code(401))),
            ],
        ),
    ]
}

fn deleting() -> Vec<Case> {
    let all = |drawer| Call::DeleteIn { drawer, before: None };
    let before = |drawer, before| Call::DeleteIn { drawer, before: Some(before) };
    let sent = |text, sent| Call::Store { at: (0, text), ttl: HOUR, sent };
    vec![
        case(
            "messages are deleted by their hashes, and do not come back",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (store(2, "b"), Owner, Stored),
                (store(0, "c"), Nobody, Stored),
                (delete(&[(0, "a"), (2, "b"), (0, "x")]), Owner, Changed(vec![(0, "a"), (2, "b")])),
                (retrieve(0), Owner, Texts(&["c"])),
                (store(0, "a"), Nobody, Already),
                (retrieve(0), Owner, Texts(&["c"])),
                (delete(&[(0, "c")]), Nobody, Code(401)),
                (delete(&[(0, "c")]), Stranger, Code(401)),
            ],
        ),
        case(
            "what is not there is deleted with 200, unless something has to be",
            Kind::Person,
            vec![
                (delete(&[(0, "x")]), Owner, Changed(vec![])),
                (Call::Delete { messages: vec![(0, "x")], required: true }, Owner, Code(404)),
                (store(0, "x"), Nobody, Stored),
                (
                    Call::Delete { messages: vec![(0, "x"), (0, "y")], required: true },
                    Owner,
                    Changed(vec![(0, "x")]),
                ),
            ],
        ),
        case(
            "a drawer is emptied",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (store(0, "b"), Nobody, Stored),
                (store(2, "c"), Owner, Stored),
                (all(Some(0)), Nobody, Code(401)),
                (all(Some(0)), Owner, Changed(vec![(0, "a"), (0, "b")])),
                (retrieve(0), Owner, Texts(&[])),
                (retrieve(2), Owner, Texts(&["c"])),
                (store(0, "a"), Nobody, Already),
                (retrieve(0), Owner, Texts(&[])),
            ],
        ),
        case(
            "all drawers are emptied",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (store(2, "b"), Owner, Stored),
                (store(-1, "c"), Owner, Stored),
                (all(None), Owner, Changed(vec![(0, "a"), (2, "b"), (-1, "c")])),
                (all(None), Owner, Changed(vec![])),
                (retrieve(-1), Nobody, Texts(&[])),
            ],
        ),
        case(
            "what was sent before a moment is deleted",
            Kind::Person,
            vec![
                (sent("a", -1_000_000), Nobody, Stored),
                (sent("b", -500_000), Nobody, Stored),
                (sent("c", 0), Nobody, Stored),
                (before(Some(0), -400_000), Owner, Changed(vec![(0, "a"), (0, "b")])),
                (before(None, 0), Stranger, Code(401)),
                (retrieve(0), Owner, Texts(&["c"])),
                (before(None, 120_000), Owner, Codes(406, 401)),
                (before(None, 30_000), Owner, Changed(vec![(0, "c")])),
            ],
        ),
    ]
}

fn expiring() -> Vec<Case> {
    let expire = |messages: &[At], ends: &[i64], only| Call::Expire {
        messages: messages.to_vec(),
        ends: ends.to_vec(),
        only,
    };
    let both: &[At] = &[(0, "a"), (0, "b")];
    let end = |ends: &[(At, i64)]| (expiries(None), Owner, Want::Expiries(ends.to_vec()));
    let ended = |one, other| end(&[((0, "a"), one), ((0, "b"), other)]);
    vec![
        case(
            "messages end when their owner says",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (store(0, "b"), Nobody, Stored),
                (expire(both, &[2 * HOUR], None), Owner, Changed(both.to_vec())),
                ended(2 * HOUR, 2 * HOUR),
                (expire(both, &[3 * HOUR, 4 * HOUR], None), Owner, Changed(both.to_vec())),
                ended(3 * HOUR, 4 * HOUR),
                (expire(both, &[90 * DAY], None), Owner, Changed(both.to_vec())),
                ended(30 * DAY, 30 * DAY),
                (expire(both, &[2 * HOUR], None), Nobody, Code(401)),
                (expire(both, &[2 * HOUR], None), Stranger, Code(401)),
                (expire(&[(0, "x")], &[2 * HOUR], None), Owner, Changed(vec![])),
                (expire(both, &[-SECOND], None), Owner, Codes(403, 401)),
                (Call::ExpireIn { drawer: None, end: -SECOND }, Owner, Codes(403, 406)),
                (retrieve(0), Owner, Texts(&["a", "b"])),
            ],
        ),
        case(
            "in one direction alone, if that is said",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (expire(&[(0, "a")], &[2 * HOUR], Some("shorten")), Owner, Changed(vec![])),
                end(&[((0, "a"), HOUR)]),
                (expire(&[(0, "a")], &[2 * HOUR], Some("extend")), Owner, Changed(vec![(0, "a")])),
                end(&[((0, "a"), 2 * HOUR)]),
                (expire(&[(0, "a")], &[HOUR], Some("extend")), Owner, Changed(vec![])),
                end(&[((0, "a"), 2 * HOUR)]),
                (expire(&[(0, "a")], &[HOUR], Some("shorten")), Owner, Changed(vec![(0, "a")])),
                end(&[((0, "a"), HOUR)]),
            ],
        ),
        case(
            "all of a drawer, or of all, can end earlier",
            Kind::Person,
            vec![
                (store(0, "a"), Nobody, Stored),
                (store(2, "b"), Owner, Stored),
                (Call::ExpireIn { drawer: Some(0), end: 5 * HOUR }, Owner, Changed(vec![])),
                end(&[((0, "a"), HOUR), ((2, "b"), HOUR)]),
                (Call::ExpireIn { drawer: Some(0), end: HOUR / 2 }, Owner, Changed(vec![(0, "a")])),
                end(&[((0, "a"), HOUR / 2), ((2, "b"), HOUR)]),
                (Call::ExpireIn { drawer: None, end: HOUR / 4 }, Owner, Changed(vec![(0, "a"), (2, "b")])),
                end(&[((0, "a"), HOUR / 4), ((2, "b"), HOUR / 4)]),
                (Call::ExpireIn { drawer: None, end: HOUR / 8 }, Stranger, Code(401)),
            ],
        ),
    ]
}

fn subaccounts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind) in [("subaccounts of a group", Kind::Group), ("subaccounts of a person", Kind::Person)] {
        cases.push(case(
            name,
            kind,
            vec![
                (store(11, "a"), Sub(WRITE), Stored),
                (store(11, "b"), Sub(READ | DELETE), Code(401)),
                (store(11, "b"), SubOfStranger(WRITE), Code(401)),
                (store(11, "b"), SubOfOthers(WRITE), Code(401)),
                (store(11, "b"), SubOfOthers(WRITE | ANY_PREFIX), Stored),
                (retrieve(11), Sub(READ), Texts(&["a", "b"])),
                (retrieve(11), Sub(WRITE | DELETE), Code(401)),
                (retrieve(11), SubOfStranger(READ), Code(401)),
                (expiries(None), Sub(READ), Want::Expiries(vec![((11, "a"), HOUR), ((11, "b"), HOUR)])),
                (expiries(None), Sub(WRITE), Code(401)),
                (delete(&[(11, "a")]), Sub(READ | WRITE), Code(401)),
                (delete(&[(11, "a")]), Sub(DELETE), Changed(vec![(11, "a")])),
                (Call::DeleteIn { drawer: None, before: None }, Sub(READ | WRITE), Code(401)),
                (Call::DeleteIn { drawer: Some(11), before: None }, Sub(DELETE), Changed(vec![(11, "b")])),
            ],
        ));
    }
    let expire = |end, only| Call::Expire { messages: vec![(11, "a")], ends: vec![end], only };
    cases.push(case(
        "with the right to write messages end later, not earlier",
        Kind::Group,
        vec![
            (store(11, "a"), Owner, Stored),
            (expire(HOUR / 2, None), Sub(WRITE), Changed(vec![])),
            (expire(2 * HOUR, None), Sub(WRITE), Changed(vec![(11, "a")])),
            (expiries(None), Owner, Want::Expiries(vec![((11, "a"), 2 * HOUR)])),
            (expire(HOUR, Some("shorten")), Sub(WRITE), Code(401)),
            (expire(HOUR, Some("shorten")), Sub(WRITE | DELETE), Changed(vec![(11, "a")])),
            (expire(2 * HOUR, None), Sub(READ | DELETE), Code(401)),
            (Call::ExpireIn { drawer: Some(11), end: HOUR / 4 }, Sub(WRITE), Code(401)),
            (Call::ExpireIn { drawer: Some(11), end: HOUR / 4 }, Sub(DELETE), Changed(vec![(11, "a")])),
        ],
    ));
    cases.push(case(
        "an outbox takes the rights to write and to delete",
        Kind::Group,
        vec![
            (store(-1, "a"), Sub(WRITE), Code(401)),
            (store(-1, "a"), Sub(DELETE), Code(401)),
            (store(-1, "a"), Sub(WRITE | DELETE), Stored),
            (retrieve(-1), Nobody, Texts(&["a"])),
        ],
    ));
    cases
}

fn revoking() -> Vec<Case> {
    let every = READ | WRITE | DELETE | ANY_PREFIX;
    let revoke = |rights: &[u8]| Call::Revoke { rights: rights.to_vec(), undo: false };
    let give_back = |rights: &[u8]| Call::Revoke { rights: rights.to_vec(), undo: true };
    vec![
        case(
            "rights are taken away, in an empty mailbox too, and given back",
            Kind::Group,
            vec![
                (revoke(&[READ, WRITE]), Sub(every), Code(401)),
                (revoke(&[READ, WRITE]), Stranger, Code(401)),
                (revoke(&[READ, WRITE]), Owner, Want::Count(2)),
                (retrieve(11), Sub(READ), Code(401)),
                (store(11, "a"), Sub(WRITE), Code(401)),
                (store(11, "a"), Sub(READ | WRITE), Stored),
                (give_back(&[READ]), Sub(every), Code(401)),
                (give_back(&[READ, DELETE]), Owner, Want::Count(1)),
                (retrieve(11), Sub(READ), Texts(&["a"])),
                (store(11, "b"), Sub(WRITE), Code(401)),
                (Call::Revoked, Owner, Want::Revoked(vec![WRITE])),
                (Call::Revoked, Sub(every), Code(401)),
                (Call::Revoked, Nobody, Code(401)),
            ],
        ),
        case(
            "the newest fifty are kept that were taken away",
            Kind::Group,
            vec![
                (revoke(&[READ, READ | WRITE]), Owner, Want::Count(2)),
                (retrieve(11), Sub(READ), Code(401)),
                (revoke(&(100..150).collect::<Vec<u8>>()), Owner, Want::Count(50)),
                (retrieve(11), Sub(READ), Texts(&[])),
                (retrieve(11), Sub(READ | WRITE), Texts(&[])),
                (retrieve(11), Sub(101), Code(401)),
                (give_back(&[101]), Owner, Want::Count(1)),
                (retrieve(11), Sub(101), Texts(&[])),
            ],
        ),
        lasting("who was revoked still reads where that cannot be taken away", -11),
        lasting("so it is in every hundredth drawer from there, -111", -111),
        case(
            "emptying a mailbox leaves its revocations",
            Kind::Group,
            vec![
                (store(11, "a"), Owner, Stored),
                (revoke(&[READ]), Owner, Want::Count(1)),
                (Call::DeleteIn { drawer: None, before: None }, Owner, Changed(vec![(11, "a")])),
                (retrieve(11), Sub(READ), Code(401)),
                (Call::Revoked, Owner, Want::Revoked(vec![READ])),
            ],
        ),
    ]
}

/// Of a drawer that whoever was revoked still reads.
fn lasting(name: &'static str, drawer: i16) -> Case {
    let every = READ | WRITE | DELETE | ANY_PREFIX;
    case(
        name,
        Kind::Group,
        vec![
            (store(drawer, "bye"), Owner, Stored),
            (store(11, "a"), Owner, Stored),
            (Call::Revoke { rights: vec![every], undo: false }, Owner, Want::Count(1)),
            (retrieve(11), Sub(every), Code(401)),
            (retrieve(drawer), Sub(every), Texts(&["bye"])),
            (store(drawer, "no"), Sub(every), Code(401)),
            (retrieve(drawer), Nobody, Code(401)),
        ],
    )
}

fn case(name: &'static str, kind: Kind, steps: Vec<(Call, By, Want)>) -> Case {
    Case { name, kind, steps }
}

/// A text of so many bytes.
fn long(bytes: usize) -> &'static str {
    "x".repeat(bytes).leak()
}

fn store(namespace: i16, text: &'static str) -> Call {
    Call::Store { at: (namespace, text), ttl: HOUR, sent: 0 }
}

fn retrieve(namespace: i16) -> Call {
    Call::Retrieve { namespace, last: None, count: None, size: None }
}

fn delete(messages: &[At]) -> Call {
    Call::Delete { messages: messages.to_vec(), required: false }
}

fn expiries(messages: Option<Vec<At>>) -> Call {
    Call::Expiries { messages }
}
