//! What the fuzzers run on the door for the clients that exist.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "to panic is how a fuzzer speaks"
)]

use super::{
    Reply,
    onion::{Back, Cipher, DoorKey, Layer, NONCE, Passed, Refusal, Step, wrap},
};
use crate::KeyPair;

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
    match opened {
        Ok((step, back)) => {
            if let Step::Leave { server, .. } = step {
                assert!(server.target.ends_with("/lsrpc") && !server.target.contains('?'));
            }
            assert!(!back.seal(&Reply::text(200, ""), nonce).is_empty());
        }
        Err(refusal) => match refusal.reply(nonce) {
            Ok(reply) => assert_eq!(reply.status, 400),
            Err(sealed) => assert!(!sealed.is_empty()),
        },
    }
}
