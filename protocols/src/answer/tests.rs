//! Codes, and how large an answer may become.

use super::*;
use crate::{codec, message::MAX_DATA, notify};

const CODES: [(u16, Code); 11] = [
    (400, Code::BadRequest),
    (401, Code::Unauthorized),
    (403, Code::BadTtl),
    (404, Code::NotFound),
    (406, Code::Clock),
    (413, Code::TooLarge),
    (421, Code::WrongSwarm),
    (429, Code::TooMany),
    (500, Code::Failed),
    (503, Code::NotReady),
    (507, Code::Full),
];

#[test]
fn codes_are_these_numbers_and_no_others() {
    for (number, code) in CODES {
        assert_eq!((code.number(), Code::try_from(number)), (number, Ok(code)));
        assert_eq!(codec::decode(&codec::encode(&code), 9), Ok(code));
    }
    let known: Vec<_> = (0..=u16::MAX).filter(|number| Code::try_from(*number).is_ok()).collect();
    assert_eq!(known, CODES.map(|(number, _)| number));
    assert!(codec::decode::<Code>(&codec::encode(&200_u16), 9).is_err());
}

fn message(size: usize) -> Message {
    let (timestamp, expiry) = (u64::MAX, u64::MAX);
    Message { hash: MessageHash([0xff; 32]), timestamp, expiry, data: ByteBuf::from(vec![0xff; size]) }
}

fn page(messages: Vec<Message>) -> Answer {
    let cursor = Cursor { incarnation: u64::MAX, sequence: u64::MAX };
    Answer { time: u64::MAX, body: Body::Messages { messages, more: true, cursor } }
}

#[test]
fn the_largest_pages_fit_an_answer() {
    let many = page(vec![message(MAX_PAGE / MAX_PAGE_COUNT); MAX_PAGE_COUNT]);
    assert!(codec::encode(&many).len() <= MAX_ANSWER);
    let large = page(vec![message(MAX_DATA); MAX_PAGE / MAX_DATA + 1]);
    assert!(codec::encode(&large).len() <= MAX_ANSWER);
}

#[test]
fn the_largest_events_fit_a_frame() {
    let cursor = Cursor { incarnation: u64::MAX, sequence: u64::MAX };
    for messages in [
        vec![message(notify::EVENT_BYTES / notify::EVENT_COUNT); notify::EVENT_COUNT],
        vec![message(MAX_DATA); notify::EVENT_BYTES / MAX_DATA + 1],
    ] {
        let event = notify::Event { messages, cursor };
        assert!(codec::encode(&event).len() <= notify::MAX_EVENT);
    }
}

#[test]
fn the_receipts_of_the_largest_swarm_fit_an_answer() {
    let hashes = vec![MessageHash([0xff; 32]); crate::request::MAX_BULK.max(crate::request::MAX_HASHES)];
    let done = Done::Changed { hashes };
    let node = NodeId::from_bytes([0xff; 32]);
    let receipt = Receipt { node, done, signature: Signature([0xff; 64]), told: None };
    let receipts = Receipts { map_version: u64::MAX, signed: vec![receipt; 10], missing: Vec::new() };
    let answer = Answer { time: u64::MAX, body: Body::Changed { receipts } };
    assert!(codec::encode(&answer).len() <= MAX_ANSWER);
}

#[test]
fn the_deepest_answers_can_be_read() {
    let done = Done::Changed { hashes: vec![MessageHash([1; 32])] };
    let receipt =
        Receipt { node: NodeId::from_bytes([2; 32]), done, signature: Signature([3; 64]), told: None };
    let receipts = Receipts { map_version: 1, signed: vec![receipt], missing: Vec::new() };
    let refused =
        Body::Refused(Refusal { code: Code::NotReady, swarm: None, receipts: Some(receipts.clone()) });
    for body in [Body::Changed { receipts }, refused] {
        let several = Body::Batch(vec![Answer { time: 1, body }]);
        let inner = (0..crate::request::MAX_CONDITIONS).fold(several, |inner, _| {
            let answer = Some(Box::new(Answer { time: 1, body: inner }));
            Body::If { condition: true, answer }
        });
        let answer = Answer { time: 1, body: inner };
        assert_eq!(codec::decode(&codec::encode(&answer), MAX_ANSWER), Ok(answer));
    }
}

#[test]
fn what_is_not_said_is_left_out() {
    let refused = codec::encode(&Answer::refused(1, Code::Full).body);
    // {"refused": {"code": 507}}
    assert_eq!(refused, [b"\xa1\x67refused\xa1\x64code".as_slice(), &[0x19, 0x01, 0xfb]].concat());
}

#[test]
fn fields_that_are_not_known_yet_are_ignored() {
    // {"refused": {"code": 507, "hint": [1, 2]}}
    let newer = [b"\xa1\x67refused\xa2\x64code".as_slice(), &[0x19, 0x01, 0xfb], b"\x64hint\x82\x01\x02"];
    assert_eq!(codec::decode(&newer.concat(), 99), Ok(Answer::refused(1, Code::Full).body));
    // A field that is missing, or a kind that is not known, is another shape.
    let shape = Err(codec::DecodeError::Shape);
    assert_eq!(codec::decode::<Body>(b"\xa1\x67refused\xa0", 99), shape);
    assert_eq!(codec::decode::<Body>(b"\xa1\x67renamed\xa0", 99), shape);
}
