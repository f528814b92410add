//! What the members of a swarm send each other.
//!
//! - [`writes`]: pass a mutation on and wait for a majority (push)
//! - [`repair`]: compare with the others and fetch what is missing (pull)
//! - [`respond`]: answer the others' comparisons
//! - [`handover`]: forget what others keep since the map changed

pub mod handover;
pub mod repair;
pub mod respond;
pub mod writes;

pub use handover::Handover;
pub use repair::Repair;
pub use respond::Responder;
pub use writes::Writes;
