//! What is signed, part by part as the README says it.

use data_encoding::HEXLOWER as HEX;
use serde_json::{Value, json};
use session_protocols::{
    Signature, Statement,
    answer::{Done, Subject},
    identity::blake2b,
    request::{Auth, Direction, Drawers, Expire, Form, Ids, Retrieve, Store},
};

use crate::directory::{listed, members, node_record, vote};
use crate::file::check;
use crate::people::{ALICE, FRIEND, GROUP, TIME, network, pair};
use crate::samples::{
    INBOX, MAP_VERSION, NODE, changed, delete, delete_which, expire, expire_all, expire_each, fetch,
    friends_keep, get_expiries, get_revoked, group_keep, hash, keep, kept, receipt, received_delete,
    retrieve, retrieve_ids, retrieve_last, retrieve_plainly, revoke, some_of_all, whole,
};

/// A statement, its digest, and the signature of a known key.
fn said(name: &str, seed: u8, statement: &Statement, signature: &Signature) -> Value {
    assert_eq!(pair(seed).sign(statement.as_bytes()), *signature, "{name}");
    json!({
        "name": name,
        "seed": HEX.encode(&[seed; 32]),
        "key": HEX.encode(&pair(seed).public()),
        "statement": HEX.encode(statement.as_bytes()),
        "digest": HEX.encode(&statement.digest()),
        "signature": signature.to_string(),
    })
}

#[test]
fn statements() {
    let net = network();
    let record = node_record().sign(&net, &pair(NODE));
    let receipt_of = |(subject, done): (Subject, Done)| {
        // As the README says it, part by part.
        let said = Statement::new("receipt", &net).number(MAP_VERSION);
        let said = match subject {
            Subject::Message { account, namespace, hash } => {
                said.bytes(account.as_bytes()).bytes(&namespace.0.to_be_bytes()).bytes(&hash.0)
            }
            Subject::Request { account, digest } => said.bytes(account.as_bytes()).bytes(&digest),
        };
        match done {
            Done::Keeps { expiry } => said.number(expiry),
            Done::Changed { hashes } => said.list(hashes.iter().map(|hash| hash.0.as_slice())),
        }
    };
    let signature = |auth: &Auth| auth.signature;
    let (keep, group_keep) = (keep(), group_keep());
    let store = |store: &Store| store.statement(&net, TIME);
    let of = |store: &Store| signature(store.auth.as_ref().unwrap());
    let of_read = |retrieve: &Retrieve| signature(retrieve.auth.as_ref().unwrap());
    let (extend, shorten) = (expire(Some(Direction::Extend)), expire(Some(Direction::Shorten)));
    let expiry = |expire: &Expire| (expire.statement(&net, TIME), expire.auth.signature);
    let mut entries = vec![
        said("store", ALICE, &store(&keep), &of(&keep)),
        said("store of a group", GROUP, &store(&group_keep), &of(&group_keep)),
        said("retrieve", ALICE, &retrieve().statement(&net, TIME), &of_read(&retrieve())),
        said(
            "retrieve without cursor and limits",
            ALICE,
            &retrieve_plainly().statement(&net, TIME),
            &of_read(&retrieve_plainly()),
        ),
        said(
            "retrieve, hashes where the cursor is not known",
            ALICE,
            &retrieve_ids(Ids::Anew).statement(&net, TIME),
            &of_read(&retrieve_ids(Ids::Anew)),
        ),
        said("fetch", ALICE, &fetch().statement(&net, TIME), &signature(fetch().auth.as_ref().unwrap())),
        said("delete", ALICE, &delete().statement(&net, TIME), &signature(&delete().auth)),
    ];
    for (name, request) in
        [("expire", expire(None)), ("expire, only shorten", shorten), ("expire, only extend", extend)]
    {
        let (statement, signature) = expiry(&request);
        entries.push(said(name, ALICE, &statement, &signature));
    }
    for (name, request) in [
        ("delete, required", delete_which(delete().which, true)),
        ("delete, all in one drawer", delete_which(whole(INBOX, None), false)),
        ("delete, all in all drawers", delete_which(whole(Drawers::All, None), false)),
        ("delete, what was sent before", delete_which(whole(INBOX, Some(TIME - 5)), false)),
        ("delete, all, some at a time", delete_which(some_of_all(), false)),
    ] {
        entries.push(said(name, ALICE, &request.statement(&net, TIME), &request.auth.signature));
    }
    for (name, request) in
        [("expire, an end for each", expire_each()), ("expire, all in all drawers", expire_all())]
    {
        let (statement, signature) = expiry(&request);
        entries.push(said(name, ALICE, &statement, &signature));
    }
    for (name, undo) in [("revoke_subaccount", false), ("unrevoke_subaccount", true)] {
        let request = revoke(undo);
        entries.push(said(name, GROUP, &request.statement(&net, TIME), &request.auth.signature));
    }
    let (revoked, some, all) = (get_revoked(), get_expiries(Some(vec![hash(b"hello")])), get_expiries(None));
    entries.push(said("revoked_subaccounts", GROUP, &revoked.statement(&net, TIME), &revoked.auth.signature));
    entries.push(said("get_expiries", ALICE, &some.statement(&net, TIME), &some.auth.signature));
    entries.push(said("get_expiries, of all", ALICE, &all.statement(&net, TIME), &all.auth.signature));
    let last = retrieve_last();
    entries.push(said("retrieve, after a message", ALICE, &last.statement(&net, TIME), &of_read(&last)));
    let by_friend = friends_keep();
    entries.push(said("store of a subaccount", FRIEND, &store(&by_friend), &of(&by_friend)));
    let received = received_delete();
    let Form::Text { received: Some(word), .. } = &received.auth.form else { panic!() };
    let when = Statement::new("received", &net).bytes(&received.statement(&net, TIME).digest());
    entries.push(said("received: when a deletion of the JSON door came", NODE, &when, &word.signature));
    for (name, about) in [("receipt: keeps", kept()), ("receipt: changed", changed())] {
        let receipt = receipt(about.clone());
        assert!(receipt.verify(&net, MAP_VERSION, &about.0));
        entries.push(said(name, NODE, &receipt_of(about), &receipt.signature));
    }
    let record_statement = Statement::new("node-record", &net).bytes(&record.record);
    entries.push(said("node-record", NODE, &record_statement, &record.signature));
    let listed = listed(TIME / 3_600_000, [(3, 30), (4, 30)]);
    let digests: Vec<_> = listed
        .entries()
        .iter()
        .map(|entry| blake2b(&[&entry.signed().signature.0, &entry.signed().record]))
        .collect();
    // Nobody signs these two: their digests are the snapshot's hash and the members' id.
    let snapshot_statement = Statement::new("snapshot", &net)
        .number(listed.period())
        .list(digests.iter().map(<[u8; 32]>::as_slice));
    assert_eq!(snapshot_statement.digest(), listed.hash());
    let nodes: Vec<_> = members().nodes().collect();
    let members_statement = Statement::new("members", &net)
        .list(nodes.iter().map(|node| node.as_bytes().as_slice()))
        .list(nodes.iter().map(|_| b"127.0.1.0/24".as_slice()));
    assert_eq!(members_statement.digest(), members().id());
    for (name, statement) in [("snapshot", &snapshot_statement), ("members", &members_statement)] {
        let signature = pair(NODE).sign(statement.as_bytes());
        entries.push(said(name, NODE, statement, &signature));
    }
    let share = vote(&listed).sign(&net, &pair(NODE));
    let share_statement = Statement::new("snapshot-share", &net)
        .number(listed.period())
        .bytes(&members().id())
        .bytes(&listed.hash());
    entries.push(said("snapshot-share", NODE, &share_statement, &share.signature));
    check("statements.json", &entries);
}
