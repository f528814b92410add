//! What follows the settlement chain and sends to it, against a real chain, through endpoints that fail and lie.

mod checkpoint;
mod deployment;
mod follower;
mod registrar;
mod sender;
mod settled;
mod staker;
mod support;
mod vault;
mod wallet;
