//! The README says what the code does, as far as a test can tell.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails where it finds something else"
)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use session_protocols::{
    Namespace, Span, answer, codec, directory, door, frame, limits, mailbox, message, names,
    namespace::Class,
    notify, onion, path, record,
    replication::{repair, writes},
    request, snapshot, swarm,
};

const README: &str = include_str!("../README.md");

/// The rows of the table under a heading: their cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let after = README.split(&format!("\n## {heading}\n")).nth(1).expect("the heading is there");
    let section = after.split("\n## ").next().unwrap_or(after);
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The rows of the table with this head: their cells.
fn rows_under(head: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let table = README.split(&format!("{head}\n")).nth(1).expect("the table is there");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

#[test]
fn the_limits_are_those_of_the_code() {
    let seconds = |span: Span| span.as_millis() / 1_000;
    let bytes = |size: usize| size as u64;
    let rates = limits::AdmissionRates::default();
    let kept = mailbox::Limits::default();
    let expected: BTreeMap<_, _> = [
        ("codec::MAX_DEPTH", bytes(codec::MAX_DEPTH)),
        ("codec::MAX_ITEMS", bytes(codec::MAX_ITEMS)),
        ("frame::HEAD", bytes(frame::HEAD)),
        ("message::MAX_DATA", bytes(message::MAX_DATA)),
        ("request::MAX_REQUEST", bytes(request::MAX_REQUEST)),
        ("request::MAX_HASHES", bytes(request::MAX_HASHES)),
        ("request::MAX_BULK", bytes(request::MAX_BULK)),
        ("request::MAX_BULK_JSON", bytes(request::MAX_BULK_JSON)),
        ("request::MAX_TOKENS", bytes(request::MAX_TOKENS)),
        ("request::MAX_TOKENS_BACK", bytes(request::MAX_TOKENS_BACK)),
        ("request::MAX_REQUESTS", bytes(request::MAX_REQUESTS)),
        ("request::MAX_CONDITIONS", bytes(request::MAX_CONDITIONS)),
        ("request::MAX_CONDITIONS_JSON", bytes(request::MAX_CONDITIONS_JSON)),
        ("door::text::MAX_VALUES", bytes(door::text::MAX_VALUES)),
        ("request::MIN_TTL", seconds(request::MIN_TTL)),
        ("request::MAX_TTL_PUBLIC", seconds(request::MAX_TTL_PUBLIC)),
        ("request::MAX_TTL", seconds(request::MAX_TTL)),
        ("request::MAX_AHEAD", seconds(request::MAX_AHEAD)),
        ("request::TOLERANCE", seconds(request::TOLERANCE)),
        ("request::TOLERANCE_FORWARDED", seconds(request::TOLERANCE_FORWARDED)),
        ("answer::MAX_ANSWER", bytes(answer::MAX_ANSWER)),
        ("answer::MAX_PAGE", bytes(answer::MAX_PAGE)),
        ("answer::MAX_PAGE_JSON", bytes(answer::MAX_PAGE_JSON)),
        ("answer::MAX_PAGE_COUNT", bytes(answer::MAX_PAGE_COUNT)),
        ("answer::MAX_PAGE_IDS", bytes(answer::MAX_PAGE_IDS)),
        ("swarm::MAX_MESSAGE", bytes(swarm::MAX_MESSAGE)),
        ("swarm::MAX_BATCH", bytes(swarm::MAX_BATCH)),
        ("swarm::MAX_BATCH_BYTES", bytes(swarm::MAX_BATCH_BYTES)),
        ("swarm::MAX_FETCH", bytes(swarm::MAX_FETCH)),
        ("swarm::MAX_HELD", bytes(swarm::MAX_HELD)),
        ("swarm::MAX_RECONCILE", bytes(swarm::MAX_RECONCILE)),
        ("swarm::Slice::MAX_BITS", u64::from(swarm::Slice::MAX_BITS)),
        ("repair::SLICE_IDS", repair::SLICE_IDS),
        ("repair::EVERY", seconds(repair::EVERY)),
        ("repair::PATIENCE", seconds(repair::PATIENCE)),
        ("repair::TURN", seconds(repair::TURN)),
        ("writes::WAIT", seconds(writes::WAIT)),
        ("writes::WINDOW", bytes(writes::WINDOW)),
        ("writes::TELL_AGAIN", seconds(writes::TELL_AGAIN)),
        ("writes::MAX_QUEUE", bytes(writes::MAX_QUEUE)),
        ("writes::MAX_QUEUE_BYTES", bytes(writes::MAX_QUEUE_BYTES)),
        ("writes::MAX_PENDING", bytes(writes::MAX_PENDING)),
        ("notify::MAX_REQUEST", bytes(notify::MAX_REQUEST)),
        ("notify::MAX_EVENT", bytes(notify::MAX_EVENT)),
        ("notify::EVENT_BYTES", bytes(notify::EVENT_BYTES)),
        ("notify::EVENT_COUNT", bytes(notify::EVENT_COUNT)),
        ("notify::LIFETIME", seconds(notify::LIFETIME)),
        ("notify::MAX_SUBSCRIPTIONS", bytes(notify::MAX_SUBSCRIPTIONS)),
        ("notify::MAX_PER_NEIGHBOUR", bytes(notify::MAX_PER_NEIGHBOUR)),
        ("notify::MAX_PER_MAILBOX", bytes(notify::MAX_PER_MAILBOX)),
        ("directory::MAX_RECORD", bytes(directory::MAX_RECORD)),
        ("directory::MAX_REQUEST", bytes(directory::MAX_REQUEST)),
        ("directory::kept::MAX_KEPT", bytes(directory::kept::MAX_KEPT)),
        ("directory::MAX_ANSWER", bytes(directory::MAX_ANSWER)),
        ("directory::MAX_SHARE", bytes(directory::MAX_SHARE)),
        ("directory::MAX_ENDPOINTS", bytes(directory::MAX_ENDPOINTS)),
        ("directory::MAX_AHEAD", seconds(directory::MAX_AHEAD)),
        ("directory::LIFETIME", seconds(directory::LIFETIME)),
        ("directory::RECENT_BORDERS", bytes(directory::RECENT_BORDERS)),
        ("directory::ANNOUNCE", seconds(directory::ANNOUNCE)),
        ("directory::checkpoint::MAX_MEMBERS", bytes(directory::checkpoint::MAX_MEMBERS)),
        ("directory::checkpoint::MAX_SIGNATURES", bytes(directory::checkpoint::MAX_SIGNATURES)),
        ("directory::snapshot::FRESH", seconds(directory::snapshot::FRESH)),
        ("directory::snapshot::MAX_AGE", seconds(directory::snapshot::MAX_AGE)),
        ("directory::agreement::MAX_VOTES", bytes(directory::agreement::MAX_VOTES)),
        ("directory::agreement::KEPT", bytes(directory::agreement::KEPT)),
        ("record::RECORD_COST", record::RECORD_COST),
        ("record::HASH_COST", record::HASH_COST),
        ("onion::MAX_PACKET", bytes(onion::size::MAX_PACKET)),
        ("onion::LOAD", bytes(onion::replay::LOAD)),
        ("onion::MAX_SESSIONS", bytes(onion::session::MAX_SESSIONS)),
        ("onion::LIFETIME", seconds(onion::session::LIFETIME)),
        ("onion::WINDOW", onion::session::WINDOW),
        ("onion::MAX_UNDER_WAY", bytes(onion::relay::MAX_UNDER_WAY)),
        ("onion::STREAM_WINDOW", bytes(onion::relay::STREAM_WINDOW)),
        ("notify::TICK", seconds(notify::TICK)),
        ("onion::NODE_PART", bytes(onion::shares::NODE_PART)),
        ("onion::STRANGER_PART", bytes(onion::shares::STRANGER_PART)),
        ("path::LIFETIME", seconds(path::LIFETIME)),
        ("path::guards::GUARDS", bytes(path::guards::GUARDS)),
        ("path::guards::MAX_GUARDS", bytes(path::guards::MAX_GUARDS)),
        ("path::guards::WINDOW", seconds(path::guards::WINDOW)),
        ("path::guards::KEPT", seconds(path::guards::KEPT)),
        ("path::guards::PATIENCE", seconds(path::guards::PATIENCE)),
        ("path::guards::GRACE", seconds(path::guards::GRACE)),
        ("path::guards::MAX_STATE", bytes(path::guards::MAX_STATE)),
        ("path::MAX_USES", bytes(path::MAX_USES)),
        ("path::MAX_WANTS", bytes(path::MAX_WANTS)),
        ("path::delivery::TRIES", bytes(path::delivery::TRIES)),
        ("path::passage::SEALS", bytes(path::passage::SEALS)),
        ("path::passage::OPENS", bytes(path::passage::OPENS)),
        ("path::sessions::MAX_ENDS", bytes(path::sessions::MAX_ENDS)),
        ("names::MAX_LABEL", bytes(names::rules::MAX_LABEL)),
        ("names::MAX_INPUT", bytes(names::rules::MAX_INPUT)),
        ("names::MAX_TEXT", bytes(names::value::MAX_TEXT)),
        ("names::lookup::MAX_REQUEST", bytes(names::lookup::MAX_REQUEST)),
        ("names::lookup::MAX_ANSWER", bytes(names::lookup::MAX_ANSWER)),
        ("names::lookup::MAX_VALUE", bytes(names::lookup::MAX_VALUE)),
        ("names::lookup::MAX_STEPS", bytes(names::lookup::MAX_STEPS)),
        ("snapshot::MAX_REQUEST", bytes(snapshot::MAX_REQUEST)),
        ("snapshot::MAX_ANSWER", bytes(snapshot::MAX_ANSWER)),
        ("snapshot::PAGE", bytes(snapshot::PAGE)),
        ("snapshot::NAMES_PAGE", bytes(snapshot::NAMES_PAGE)),
        ("snapshot::MAX_KEY", bytes(snapshot::MAX_KEY)),
        ("snapshot::MAX_VALUE", bytes(snapshot::MAX_VALUE)),
        ("names::COST.memory_kib", u64::from(names::COST.memory_kib())),
        ("names::COST.passes", u64::from(names::COST.passes())),
        ("mailbox::Limits::bytes", kept.bytes),
        ("mailbox::Limits::account_bytes", kept.account_bytes),
        ("mailbox::FORGET_STEP", bytes(mailbox::FORGET_STEP)),
        ("limits::AdmissionRates::neighbour", u64::from(rates.neighbour.per_second)),
        ("limits::NEIGHBOURS_PER_PREFIX", u64::from(limits::NEIGHBOURS_PER_PREFIX)),
        ("limits::AdmissionRates::account", u64::from(rates.account.per_second)),
        ("limits::AdmissionRates::total", u64::from(rates.total.per_second)),
    ]
    .into();
    let rows = table("Limits");
    let said: BTreeMap<_, _> = rows.iter().map(|row| (row[0].trim_matches('`'), number(row[1]))).collect();
    assert_eq!(said.len(), rows.len(), "each limit stands there once");
    assert_eq!(said, expected);
}

#[test]
fn the_codes_are_those_of_the_code() {
    let rows = table("Codes");
    let said: Vec<_> = rows.iter().map(|row| number(row[0].trim_matches('`'))).collect();
    let known = (0..=u16::MAX).filter(|number| answer::Code::try_from(*number).is_ok());
    assert_eq!(said, known.map(u64::from).collect::<Vec<_>>());
}

#[test]
fn the_classes_of_namespaces_are_those_of_the_code() {
    let rows: Vec<_> = rows_under("| namespace | class | store | read |").collect();
    let fits = |said: &str, number: i16| match said {
        "a multiple of 10" => number % 10 == 0,
        "negative, -1 and every 20th from it" => number < 0 && (number + 1) % 20 == 0,
        "negative, -11 and every 100th from it" => number < 0 && (number + 11) % 100 == 0,
        "any other" => true,
        alone => alone.parse::<i16>() == Ok(number),
    };
    for number in i16::MIN..=i16::MAX {
        let row = rows.iter().find(|row| fits(row[0], number)).expect("the last row is for any other");
        let class = Namespace(number).class();
        let name = match class {
            Class::PublicInbox => "public inbox",
            Class::Private => "private",
            Class::PublicOutbox => "public outbox",
            Class::Open => "open",
            Class::Unrevocable => "unrevocable",
            Class::Closed => "closed",
        };
        let said = (row[1], row[2].starts_with("anyone"), row[3].starts_with("anyone"));
        assert_eq!(said, (name, class.anyone_stores(), class.anyone_reads()), "{number}");
    }
}

#[test]
fn every_file_of_vectors_is_named() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let said: Vec<_> = table("Vectors").iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(said, files);
}

/// The fields of each object in answers of the JSON door, by its place: each with whether some of the objects lack it.
#[derive(Default)]
struct Places(BTreeMap<String, (usize, BTreeMap<String, usize>)>);

impl Places {
    /// Counts the fields of one object.
    fn see(&mut self, place: String, object: &Value) {
        let (times, fields) = self.0.entry(place).or_default();
        *times += 1;
        for name in object.as_object().expect("an object").keys() {
            *fields.entry(name.clone()).or_default() += 1;
        }
    }

    /// An answer with a status to a method, and what lies in it; `inner` is what was asked for by the method.
    fn answer(&mut self, status: u64, method: &str, inner: &str, mut body: Value) {
        let fields = body.as_object_mut().expect("an object");
        let stamp = (fields.remove("t"), fields.remove("hf"));
        assert!(matches!(stamp, (Some(_), Some(_))), "{method} has both: {stamp:?}");
        let to = if status == 200 { method.to_owned() } else { status.to_string() };
        self.see(format!("`{to}`"), &body);
        self.lists(&to, &body);
        // A text where it names a swarm, and an object where its members speak.
        for said in body["swarm"].as_object().into_iter().flat_map(|members| members.values()) {
            let did = format!("`swarm` of `{method}`");
            self.see(if said["failed"] == true { "`failed`".to_owned() } else { did }, said);
        }
        if body["result"].is_object() {
            self.see(format!("`result` of `{inner}`"), &body["result"]);
            self.lists(inner, &body["result"]);
        }
    }

    /// The objects that lie in an object in lists.
    fn lists(&mut self, method: &str, object: &Value) {
        for (name, list) in object.as_object().expect("an object") {
            for one in list.as_array().into_iter().flatten().filter(|one| one.is_object()) {
                self.see(format!("`{name}` of `{method}`"), one);
            }
        }
    }
}

/// What the vectors of the JSON door have in answers, and what the README says of them.
#[test]
fn the_fields_of_the_json_doors_answers_are_those_of_the_vectors() {
    let mut places = Places::default();
    for file in [
        include_str!("../vectors/json_nodes.json"),
        include_str!("../vectors/json_reads.json"),
        include_str!("../vectors/json_writes.json"),
    ] {
        for entry in serde_json::from_str::<Vec<Value>>(file).unwrap() {
            // `method: what it asks for, what else there is to say`
            let name = entry["name"].as_str().unwrap().split(',').next().unwrap();
            let (method, inner) = name.split_once(": ").unwrap_or((name, name));
            if entry["body"].is_object() && method != "json_rpc" {
                let status = entry["status"].as_u64().unwrap();
                places.answer(status, method, inner, entry["body"].clone());
            }
        }
    }
    let optional = |times: usize, (name, seen): (String, usize)| (name, seen < times);
    let found: BTreeMap<_, BTreeSet<_>> = places
        .0
        .into_iter()
        .map(|(place, (times, fields))| (place, fields.into_iter().map(|one| optional(times, one)).collect()))
        .collect();
    let mut said = BTreeMap::new();
    for row in rows_under("| to | fields | they say |") {
        let (what, of) = row[0].split_once(" of ").map_or((None, row[0]), |(what, of)| (Some(what), of));
        let fields: BTreeSet<_> = row[1]
            .split(", ")
            .map(|field| match field.strip_suffix(" *optional*") {
                Some(name) => (name.to_owned(), true),
                None => (field.to_owned(), false),
            })
            .collect();
        for of in of.split(", ") {
            let place = what.map_or_else(|| of.to_owned(), |what| format!("{what} of {of}"));
            assert!(said.insert(place, fields.clone()).is_none(), "{row:?} stands there once");
        }
    }
    assert_eq!(said, found);
}

/// What a value has under a name, however deep.
fn under<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => {
            fields.get(name).or_else(|| fields.values().find_map(|one| under(one, name)))
        }
        Value::Array(list) => list.iter().find_map(|one| under(one, name)),
        _ => None,
    }
}

#[test]
fn what_members_say_beside_their_statements_has_the_fields_of_the_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/swarm.json")).unwrap();
    for (name, before) in [("told", "such a client is `told`:\n{"), ("received", "`received` is {")] {
        let after = README.split(before).nth(1).expect("it is said what it holds");
        let said: BTreeSet<_> = after.split('}').next().unwrap().split(", ").collect();
        let found = under(&vectors, name).expect("it is in the vectors").as_object().unwrap();
        assert_eq!(said, found.keys().map(String::as_str).collect::<BTreeSet<_>>(), "{name}");
    }
}
