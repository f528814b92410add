//! What the fuzzers run on the door for the clients that exist.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "to panic is how a fuzzer speaks"
)]

use std::sync::LazyLock;

use serde_json::Value;

use super::{
    Body, Call, Reply,
    nodes::{DoorNode, Listing, json_rpc, service_nodes},
    onion::{Back, Cipher, DoorKey, Layer, NONCE, Passed, Refusal, Step, wrap},
    parse,
    render::Stamp,
};
use crate::{
    KeyPair, NetworkName, Time,
    answer::RULES,
    codec,
    member::check_request,
    message::MAX_DATA,
    request::{
        Delete, Door, Ends, Expire, GetExpiries, MAX_CONDITIONS_JSON, MAX_HASHES, MAX_REQUEST, MAX_REQUESTS,
        MAX_TOKENS, MAX_TOKENS_BACK, Request, Which,
    },
};

/// One node.
static LISTING: LazyLock<Listing> = LazyLock::new(|| {
    let (id, ip) = (KeyPair::from_seed(&[3; 32]).node_id(), [127, 0, 0, 1].into());
    Listing::new(vec![DoorNode::new(id, ip, 1).expect("a point of the curve")], 7, RULES)
});

/// A request in JSON: to the door, and about nodes. What is taken keeps to the limits, and what is not is told why.
pub fn json(bytes: &[u8]) -> bool {
    let listing = &*LISTING;
    let Reply { status: 200, body: Body::Json(answer) } = json_rpc(bytes, listing, 1) else {
        panic!("questions about nodes are always answered");
    };
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert!(answer["result"].is_object() != answer["error"].is_object());
    let mut of_use = false;
    for now in [Time::ZERO, Time::from_millis(1_700_000_000_000), Time(u64::MAX)] {
        match parse(bytes, now.as_millis()) {
            Ok(call) => {
                within_limits(&call, now, listing, MAX_CONDITIONS_JSON);
                of_use = true;
            }
            Err(reply) => refusal(&reply),
        }
    }
    of_use
}

fn refusal(reply: &Reply) {
    assert!(matches!(reply.status, 400 | 401 | 406 | 413), "{reply:?}");
    assert!(matches!(&reply.body, Body::Text(text) if !text.is_empty()));
}

fn within_limits(call: &Call, now: Time, listing: &Listing, conditions: usize) {
    let each = |calls: &[Result<Call, Reply>]| {
        assert!((1..=MAX_REQUESTS).contains(&calls.len()));
        for call in calls {
            match call {
                Ok(Call::Batch(_) | Call::Sequence(_) | Call::If { .. }) => panic!("several in a batch"),
                Ok(call) => within_limits(call, now, listing, 0),
                Err(reply) => refusal(reply),
            }
        }
    };
    match call {
        Call::Storage(request) => {
            stored(request);
            let network: NetworkName = "test".parse().expect("a name");
            let _ = check_request(&network, now, request, Door::Json);
            let bytes = codec::encode(&**request);
            assert_eq!(codec::decode::<Request>(&bytes, MAX_REQUEST).as_ref(), Ok(&**request));
        }
        Call::Nodes(asked) => {
            let told = service_nodes(listing, asked, 1);
            let told: Value = serde_json::from_str(&told).expect("JSON");
            assert!(told["service_node_states"].as_array().is_some_and(|states| states.len() <= 1));
        }
        Call::ActiveNodes | Call::Name(_) => {}
        Call::Batch(calls) | Call::Sequence(calls) => each(calls),
        Call::If { when, then, otherwise } => {
            let left = conditions.checked_sub(1).expect("conditions are not too deep");
            assert!((1..=MAX_REQUESTS).contains(&when.len()) && (then.is_some() || otherwise.is_some()));
            for call in then.iter().chain(otherwise) {
                within_limits(call, now, listing, left);
            }
        }
    }
}

/// A single request names no more than it may.
fn stored(request: &Request) {
    let few = |which: &Which| match which {
        Which::Hashes(hashes) => assert!((1..=MAX_HASHES).contains(&hashes.len())),
        Which::In { most, .. } => assert_eq!(*most, None),
    };
    match request {
        Request::Store(store) => assert!(store.data.len() <= MAX_DATA),
        Request::Delete(Delete { which, .. }) => few(which),
        Request::Expire(Expire { which, ends, .. }) => {
            few(which);
            assert!(
                matches!(ends, Ends::All(_))
                    || matches!(ends, Ends::Each(ends) if ends.len() == which.hashes().len())
            );
        }
        Request::GetExpiries(GetExpiries { hashes: Some(hashes), .. }) => {
            assert!((1..=MAX_HASHES).contains(&hashes.len()));
        }
        Request::Revoke(revoke) => {
            let most = if revoke.undo { MAX_TOKENS_BACK } else { MAX_TOKENS };
            assert!((1..=most).contains(&revoke.tokens.len()));
        }
        Request::GetExpiries(GetExpiries { hashes: None, .. })
        | Request::Retrieve(_)
        | Request::GetRevoked(_)
        | Request::GetSwarm { .. }
        | Request::Info => {}
        Request::Fetch(_) | Request::Batch(_) | Request::Sequence(_) | Request::If(_) => {
            panic!("not a request of this door: {request:?}")
        }
    }
}

/// An onion request: as it arrives, as what a layer holds when it is open, and laid over one that was sealed
/// well. The keys are those of `vectors/door_onion.json`, so that its packets open here.
pub fn onion(bytes: &[u8]) -> bool {
    let pair = KeyPair::from_seed(&[3; 32]);
    let key = DoorKey::of(&pair).expect("any seed is a key");
    let arrived = Layer::read(bytes);
    let of_use = arrived.is_ok();
    if let Ok(layer) = arrived {
        answered(layer.open(&key));
    }
    if let Some(passed) = Passed::decode(bytes.to_vec()) {
        assert_eq!(passed.encode(), bytes);
        answered(passed.layer.open(&key));
    }
    let (len, rest) = bytes.split_at(bytes.len().min(2));
    let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    let (blob, head) = rest.split_at(len.min(rest.len()));
    for cipher in [Cipher::AesGcm, Cipher::XChaCha20] {
        let hop = wrap::Hop { node: pair.node_id(), cipher, secret: [0x50; 32], nonce: [0x60; NONCE] };
        let packet = wrap::seal_open(&hop, blob, head).expect("a point of the curve");
        let Ok(layer) = Layer::read(&packet) else { continue };
        let mut spoilt = layer.clone();
        answered(layer.open(&key));
        let (first, last) = (bytes.first().copied().unwrap_or(0), bytes.last().copied().unwrap_or(0));
        let at = usize::from(first) % spoilt.sealed.len();
        spoilt.sealed[at] ^= last.max(1);
        assert!(matches!(spoilt.open(&key), Err(Refusal::Sealed)), "a change went unnoticed");
    }
    of_use
}

/// Whatever a layer holds, it has an answer.
fn answered(opened: Result<(Step, Back), Refusal>) {
    let nonce = [0x70; NONCE];
    let stamp = Stamp { time: 0, rules: [0, 0] };
    match opened {
        Ok((step, back)) => {
            if let Step::Leave { server, .. } = step {
                assert!(server.target.ends_with("/lsrpc") && !server.target.contains('?'));
            }
            assert!(!back.seal(&Reply::text(200, ""), stamp, nonce).is_empty());
        }
        Err(refusal) => match refusal.reply(stamp, nonce) {
            Ok(reply) => assert_eq!(reply.status, 400),
            Err(sealed) => assert!(!sealed.is_empty()),
        },
    }
}
