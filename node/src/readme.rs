//! The README says what the code does, as far as a test can tell.

use session_protocols::{
    limits::{AdmissionRates, NEIGHBOURS_PER_PREFIX, Rate},
    mailbox, notify,
    onion::{
        relay::{MAX_UNDER_WAY, STREAM_WINDOW},
        replay::LOAD,
        session::MAX_SESSIONS,
        shares::{NODE_PART, STRANGER_PART},
    },
};

use crate::{attest, door, http, links, member, memory, onion, records, snapshot};

const README: &str = include_str!("../README.md");

/// The numbers that the README gives for a limit, in the order in which it says them: those of the second cell of the
/// first row that is about `what`, in the tables under a heading.
pub(crate) fn limit(heading: &str, what: &str) -> Vec<u64> {
    let after = README.split(&format!("\n## {heading}\n")).nth(1).expect("the heading is there");
    let section = after.split("\n## ").next().unwrap_or(after);
    let start = format!("| {what} | ");
    let rest = section.lines().find_map(|line| line.strip_prefix(&start));
    let cell = rest.and_then(|rest| rest.split(" |").next()).unwrap_or_else(|| panic!("no row: {what}"));
    let words = cell.split(|letter: char| !letter.is_ascii_digit() && letter != ',');
    let numbers = words.map(|word| word.replace(',', "")).filter(|word| !word.is_empty());
    numbers.map(|number| number.parse().expect("a number")).collect()
}

/// What is shared half by nodes and half by others: the half, what one node and what one prefix may have of it at first.
const fn shared(all: usize) -> [u64; 4] {
    let half = all as u64 / 2;
    [half, half / NODE_PART as u64, half, half / STRANGER_PART as u64]
}

#[test]
fn the_limits_are_those_of_the_code() {
    let count = |counts: &[usize]| counts.iter().map(|count| *count as u64).collect::<Vec<_>>();
    let mib = |sizes: &[usize]| sizes.iter().map(|size| (*size >> 20) as u64).collect::<Vec<_>>();
    let AdmissionRates { neighbour, account, .. } = AdmissionRates::default();
    let rate = |Rate { per_second, burst }: Rate| vec![u64::from(per_second), u64::from(burst)];
    let kept = mailbox::Limits::default();
    for (what, numbers) in [
        ("inputs waiting for the store", count(&[member::QUEUE])),
        ("inputs in one commit", count(&[member::BATCH])),
        ("requests under way on a stream", count(&[links::WINDOW, STREAM_WINDOW])),
        (
            "streams of one protocol",
            count(&[links::MAX_LINKS, links::LINKS_PER_NEIGHBOUR, links::LINKS_PER_PREFIX]),
        ),
        ("a frame that has begun", vec![links::FRAME.as_secs()]),
        (
            "requests and answers in memory",
            mib(&[memory::NODES, memory::NODE, memory::STRANGERS, memory::STRANGER]),
        ),
        ("HTTP connections", vec![http::CONNECTIONS as u64, http::LIFETIME.as_secs()]),
        ("requests of one neighbour", rate(neighbour)),
        ("requests of strangers of one prefix", vec![u64::from(NEIGHBOURS_PER_PREFIX)]),
        ("requests that one account's owner signed; and stores into it that nobody signed", rate(account)),
        (
            "subscriptions",
            count(&[notify::MAX_SUBSCRIPTIONS, notify::MAX_PER_NEIGHBOUR, notify::MAX_PER_MAILBOX]),
        ),
        ("onion packets under way", shared(MAX_UNDER_WAY).to_vec()),
        ("first onion packets of one stamp (5 s)", shared(LOAD).to_vec()),
        ("onion sessions", shared(MAX_SESSIONS).to_vec()),
        (
            "answers through onion paths that wait for something to arrive",
            count(&[onion::MAX_WAITING, onion::WAITING_PER_NEIGHBOUR]),
        ),
        ("ledgers that are handed out", count(&[snapshot::MAX_KEPT])),
        ("shares of checkpoints that wait to be checked", count(&[attest::MAX_HEARD])),
        (
            "records, shares and snapshots that wait to be checked",
            vec![records::MAX_WAITING as u64, records::MAX_WAITING_BYTES as u64 >> 20],
        ),
        ("messages on the disk", vec![kept.bytes >> 30, kept.account_bytes >> 20]),
    ] {
        assert_eq!(limit("Limits", what), numbers, "{what}");
    }
}

#[test]
fn the_limits_of_the_door_are_those_of_the_code() {
    let limits = door::Limits::default();
    for (what, numbers) in [
        ("streams of an HTTP/2 connection", vec![u64::from(limits.streams)]),
        ("a request's body", vec![limits.body as u64 >> 20]),
        ("a TLS handshake", vec![limits.handshake_time.as_secs()]),
        ("a request's head, and the time before it", vec![limits.head_time.as_secs()]),
        ("an answer in the making", vec![limits.answer_time.as_secs()]),
        ("the next part of an answer, taken", vec![limits.stall_time.as_secs()]),
        ("a connection", vec![limits.lifetime.as_secs() / 60]),
    ] {
        assert_eq!(limit("The door for the clients that exist", what), numbers, "{what}");
    }
}
