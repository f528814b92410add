//! The settlement chain: follow the contracts' events at finality, and send transactions.
//!
//! Endpoints that serve the chain are not trusted: they are compared with each other and with the numbers and
//! rolling hashes that the contracts keep over their own events.
//!
//! - [`contracts`]: which contracts are followed, and which events of theirs
//! - [`logs`]: a raw log becomes a ledger's input
//! - [`follower`]: the machine that decides what is asked of whom and what is believed
//! - [`trouble`]: what can be wrong with an endpoint or the chain, and what to do
//! - [`endpoint`]: JSON-RPC to one endpoint, with bounds
//! - [`state`]: cursor and ledger on disk, in one transaction
//! - [`names`]: the index of names in the same file
//! - [`host`]: the ledger, kept in step with the chain
//! - [`sync`]: how it begins with the ledger of a checkpoint
//! - [`calls`]: what can be asked of the contracts and sent to them
//! - [`sender`]: transactions that arrive, once
//! - [`errors`]: what the contracts refuse with, in words
//! - [`mod@replay`]: the ledger at this moment, for programs that ask once and end
//! - [`caller`]: one account that calls the contracts
//! - [`staker`]: what people register, contribute, take back and claim
//! - [`vault`]: stakes that the faucet of a test network lends
//! - [`registrar`]: what people do with names
//! - [`wallet`]: one account's money: balances, transfers, and whether it was paid
//! - [`deploy`]: puts the contracts on a chain

pub mod caller;
pub mod calls;
pub mod contracts;
pub mod deploy;
pub mod endpoint;
pub mod errors;
pub mod follower;
pub mod host;
pub mod logs;
pub mod names;
pub mod registrar;
pub mod replay;
pub mod sender;
pub mod staker;
pub mod state;
pub mod sync;
pub mod trouble;
pub mod vault;
pub mod wallet;

pub use caller::Caller;
pub use contracts::{Contract, Followed};
pub use endpoint::{Endpoint, EndpointError};
pub use errors::Refusal;
pub use follower::{Advance, Follower, Mark, Pace, Status};
pub use host::{Ask, Crossed, FollowError, LiveLedger, Options, Settled, Signers, Source};
pub use registrar::{Registrar, RegistrarError};
pub use replay::{ReplayError, Replayed, replay};
pub use sender::{Call, Delivery, Progress, Quote, SendError, Sender, Signed, Spending};
pub use staker::{StakeError, Staker};
pub use state::{StateError, StateFile};
pub use sync::Begun;
pub use trouble::{Hold, Stop, Trouble};
pub use vault::{Vault, VaultError};
pub use wallet::{Wallet, WalletError};
