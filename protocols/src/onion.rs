//! Requests that travel through three hops: nobody on the way knows both ends.
//!
//! One construction. A request is sealed for its destination, then for the last hop, the middle one
//! and the guard; each peels one layer, learns the next hop and nothing else, and puts one layer on
//! the answer as it comes back. A hop is entered by a Noise NK handshake whose first message carries
//! the request along; the finished handshake leaves a session, and later packets cost a cipher.
//!
//! - [`size`]: buckets, and the length of a packet at each position
//! - [`noise`]: the handshake, its ciphers and keys
//! - [`keys`]: a new key every day, and the old ones destroyed
//! - [`layer`]: one layer, sealed and opened
//! - [`wrap`]: all layers at once, as the client makes them and opens the answer's
//! - [`fit`]: storage answers that end where their bucket ends
//! - [`session`]: what a finished handshake leaves at a hop
//! - [`replay`]: first packets that were seen
//! - [`shares`]: how much of all that each neighbour may have
//! - [`relay`]: what a hop does with what arrives

pub mod fit;
#[cfg(any(test, feature = "test-utils"))]
pub mod fuzz;
pub mod keys;
pub mod layer;
pub mod noise;
pub mod relay;
pub mod replay;
pub mod session;
pub mod shares;
pub mod size;
pub mod wrap;

use crate::{NetworkName, NodeId};

/// What a hop's handshake is bound to: another network's or node's cannot be mistaken for it.
pub(crate) fn prologue(network: &NetworkName, hop: &NodeId) -> Vec<u8> {
    [b"session onion 1 ", network.as_str().as_bytes(), b" ", hop.as_bytes()].concat()
}
