//! The ledger of a checkpoint, page by page.

use serde_bytes::{ByteArray, ByteBuf};
use session_protocols::{
    directory::checkpoint::Events,
    snapshot::{Answer, Head, MAX_ANSWER, MAX_REQUEST, Request},
};

use crate::file::{check, wire};

#[test]
fn ledgers() {
    let word = |byte| ByteArray::new([byte; 32]);
    let events = [4, 5, 6, 7].map(|byte| Events { number: byte.into(), hash: word(byte) });
    let head = Head { block: word(1), previous: word(2), events, names: word(3) };
    let bytes = |text: &[u8]| ByteBuf::from(text.to_vec());
    let row = |key: &[u8], value: &[u8]| (bytes(key), bytes(value));
    let rows = vec![row(&[8; 20], &[9; 32]), row(&[9; 32], b"entry")];
    let entries = [
        wire("ledger", &Request::Ledger { epoch: 8, from: 0 }, MAX_REQUEST),
        wire("names", &Request::Names { epoch: 8, from: bytes(&[8; 20]) }, MAX_REQUEST),
        wire(
            "first page",
            &Answer::Ledger { head: Some(Box::new(head)), bytes: bytes(b"ledger"), more: true },
            MAX_ANSWER,
        ),
        wire("last page", &Answer::Ledger { head: None, bytes: bytes(b"end"), more: false }, MAX_ANSWER),
        wire("rows", &Answer::Names { rows, next: Some(bytes(&[9; 33])) }, MAX_ANSWER),
        wire("no rows", &Answer::Names { rows: Vec::new(), next: None }, MAX_ANSWER),
        wire("unknown", &Answer::Unknown, MAX_ANSWER),
    ];
    check("ledgers.json", &entries);
}
