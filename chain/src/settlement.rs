//! The settlement chain: follow the contracts' events at finality, and send transactions.
//!
//! Endpoints that serve the chain are not trusted: they are compared with each other and with the numbers and
//! rolling hashes that the contracts keep over their own events.
//!
//! - [`contracts`]: which contracts, and the events of theirs that the ledger reads
//! - [`decode`]: a raw log becomes a ledger's input
//! - [`errors`]: what the contracts refuse with, in words
//! - [`follower`]: the machine that decides what is asked of whom and what is believed
//! - [`journal`]: cursor and ledger on disk, in one transaction
//! - [`host`]: the follower over HTTP
//! - [`http`]: JSON-RPC to one endpoint, with bounds
//! - [`sender`]: transactions that arrive, once

pub mod contracts;
pub mod decode;
pub mod errors;
pub mod follower;
pub mod host;
pub mod http;
pub mod journal;
pub mod sender;

pub use contracts::Contracts;
pub use follower::{Advance, Follower, Mark, Pace, Status};
pub use host::{Options, Settled, Settlement, SettlementError};
pub use http::{Endpoint, EndpointError};
pub use journal::{Journal, JournalError};
pub use sender::{Call, Delivery, Progress, SendError, Sender, Spending};
