//! What can be wrong with a network file, where, and what to do about it.

use session_protocols::directory::{Endpoint, EndpointError};
use session_protocols::identity::ParseError;
use session_protocols::network::NameError;
use session_protocols::{NodeId, Prefix};

use super::{
    MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_BYTES, MAX_NODES, MAX_RPC, Publisher, PublisherError, VERSION,
};
use crate::ledger::{BlsKeyError, OperatorError, PrefixError};

/// A network file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct NetworkFileError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a network file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Longer than any network file.
    #[error("the file has {bytes} bytes, more than {MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not TOML.
    #[error("this is not TOML: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A format that this build does not know.
    #[error("the file has version {found}, this build reads {VERSION}")]
    Version {
        /// The version that it has.
        found: String,
    },
    /// A key that nothing reads.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// The known key that looks most like it, when one does.
        nearest: Option<&'static str>,
        /// All keys that may stand here.
        known: &'static [&'static str],
    },
    /// A key that has to be there.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value of another type.
    #[error("`{key}` is {found}, expected {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// The type that it should have.
        expected: &'static str,
        /// The type that it has.
        found: &'static str,
    },
    /// Not a network's name.
    #[error("{0}")]
    Name(NameError),
    /// Not a seed.
    #[error("expected a seed: 64 hex digits")]
    Seed,
    /// Not a node's id.
    #[error("{0}")]
    Id(ParseError),
    /// Not an operator's address.
    #[error("{0}")]
    Operator(OperatorError),
    /// Not a BLS key.
    #[error("{BlsKeyError}")]
    Bls,
    /// Not a prefix.
    #[error("{0}")]
    Prefix(PrefixError),
    /// A node that is in the file twice.
    #[error("node {id} is in the file twice, first in line {first}")]
    Duplicate {
        /// The node.
        id: NodeId,
        /// The line that has its id first.
        first: usize,
    },
    /// No nodes, or too many.
    #[error("{found} nodes, expected 1 to {MAX_NODES}")]
    Nodes {
        /// How many there are.
        found: usize,
    },
    /// No addresses, or too many.
    #[error("{found} addresses, expected 1 to {MAX_ADDRESSES}")]
    Addresses {
        /// How many there are.
        found: usize,
    },
    /// An address that is empty or too long.
    #[error("an address of {bytes} bytes, expected 1 to {MAX_ADDRESS_BYTES}")]
    Address {
        /// Its length.
        bytes: usize,
    },
    /// Not where a door can be.
    #[error("`door` is not an address and a port")]
    Door,
    /// No endpoints of the chain, or too many.
    #[error("{found} endpoints of the chain, expected 1 to {MAX_RPC}")]
    Endpoints {
        /// How many there are.
        found: usize,
    },
    /// Not where something is asked for.
    #[error("expected a URL that begins with http:// or https://")]
    Url {
        /// The key.
        key: &'static str,
    },
    /// Not a publisher's key.
    #[error("{PublisherError}")]
    Publisher,
    /// Not a signature.
    #[error("expected a signature: 128 hex digits")]
    Signature,
    /// What the publisher did not sign.
    #[error(
        "the publisher {publisher} did not sign this text: it was changed, or something follows its signature"
    )]
    Unsigned {
        /// The publisher that the file names.
        publisher: Publisher,
    },
    /// A number that is negative, too large, or zero where it cannot be.
    #[error("`{key}` is out of range")]
    Number {
        /// The key.
        key: &'static str,
    },
    /// Not two numbers where there have to be two.
    #[error("`{key}` has {found} numbers, expected 2")]
    Pair {
        /// The key.
        key: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A time for which nodes are believed that is too short to go on by, or longer than any stake is bound.
    #[error("`trust` is {found} s, expected {least} to {most}")]
    Trust {
        /// What it is.
        found: u64,
        /// Two epochs.
        least: u64,
        /// For how long a stake stays locked.
        most: u64,
    },
    /// Not a release of the software.
    #[error("`release` is no version: expected three numbers with dots between them")]
    Release,
    /// Not a contract's address.
    #[error("`{key}` is not an address: 0x and 40 hex digits")]
    Contract {
        /// The key.
        key: &'static str,
    },
    /// An address that is none.
    #[error("{0}")]
    Endpoint(EndpointError),
    /// An address at which nobody would believe the node to be.
    #[error("{endpoint} lies outside the node's prefix {prefix}")]
    Outside {
        /// The address.
        endpoint: Endpoint,
        /// What the node has declared.
        prefix: Prefix,
    },
}

impl NetworkFileError {
    /// What to do about it: one sentence for the person who has the file.
    pub fn remedy(&self) -> String {
        match &self.problem {
            Problem::TooLong { .. } => "check that this is the network file and not another one".to_owned(),
            Problem::Syntax { .. } => "correct the text there, or fetch the file again".to_owned(),
            Problem::Version { .. } => "use a build of `session` that reads this version".to_owned(),
            Problem::UnknownKey { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Problem::UnknownKey { known, .. } => format!("remove it; known here are {}", known.join(", ")),
            Problem::Missing { key } => format!("add `{}`", example(key)),
            Problem::Type { key, .. } => format!("write it as in `{}`", example(key)),
            Problem::Name(_) => format!("write it as in `{}`", example("name")),
            Problem::Seed => "write the 32 bytes of the seed as 64 hex digits".to_owned(),
            Problem::Id(_) => "write the node's public key as 64 hex digits".to_owned(),
            Problem::Operator(_) => "write the operator's address as 0x and 40 hex digits".to_owned(),
            Problem::Door => format!("write it as in `{}`", example("door")),
            Problem::Bls => "write the `bls_key` of the node's registration.toml, or leave it out".to_owned(),
            Problem::Prefix(PrefixError::LowBits { meant }) => format!("write {meant}"),
            Problem::Prefix(PrefixError::Form) => {
                "write the first address of the node's IPv4 /24 or IPv6 /48, and its length".to_owned()
            }
            Problem::Duplicate { .. } => "remove one of the two".to_owned(),
            Problem::Nodes { found: 0 } => "add a [[nodes]] section for each node".to_owned(),
            Problem::Nodes { .. } => format!("keep {MAX_NODES} of them; the others can register later"),
            Problem::Addresses { found: 0 } => format!("add `{}`", example("addresses")),
            Problem::Addresses { .. } => format!("keep the {MAX_ADDRESSES} that are reached best"),
            Problem::Outside { .. } => "correct the address, or the prefix if it is the wrong one".to_owned(),
            Problem::Endpoints { found: 0 } => format!("add `{}`", example("rpc")),
            Problem::Endpoints { .. } => format!("keep {MAX_RPC} of them"),
            Problem::Publisher | Problem::Signature | Problem::Unsigned { .. } => {
                "fetch the file again from whoever publishes it; whoever changed it on purpose removes the section \
                 `signature`, and trusts it on their own word"
                    .to_owned()
            }
            Problem::Url { key }
            | Problem::Number { key }
            | Problem::Pair { key, .. }
            | Problem::Contract { key } => {
                format!("write it as in `{}`", example(key))
            }
            Problem::Release => format!("write it as in `{}`", example("release")),
            Problem::Trust { .. } => {
                "write a time that is shorter than stakes are bound by the contract's `unlockTime`, such as half of it"
                    .to_owned()
            }
            Problem::Address { .. } | Problem::Endpoint(_) => {
                format!("write it as in `{}`", example("addresses"))
            }
        }
    }
}

/// How a key is written.
fn example(key: &str) -> &'static str {
    match key {
        "version" => "version = 1",
        "name" => "name = \"mainnet\"",
        "local" => "local = false",
        "seed" => "seed = \"...\" (64 hex digits)",
        "hf" => "hf = [22, 0]",
        "nodes" => "[[nodes]]",
        "id" => "id = \"...\" (64 hex digits)",
        "operator" => "operator = \"0x...\" (40 hex digits)",
        "faucet" => "faucet = \"https://faucet.example/\"",
        "limits" => "[limits]",
        "disk" => "disk = 30",
        "memory" => "memory = 2048",
        "files" => "files = 8192",
        "release" => "release = \"0.2.0\"",
        "signature" => "[signature]",
        "publisher" => "publisher = \"...\" (64 hex digits)",
        "settlement" => "[settlement]",
        "chain" => "chain = 42161",
        "rpc" => "rpc = [\"https://rpc.example/\"]",
        "start" => "start = 1000",
        "genesis" => "genesis = 1767225600",
        "epoch" => "epoch = 3600",
        "lock" => "lock = 2592000",
        "trust" => "trust = 604800",
        "written" => "written = 1767225600",
        "token" => "token = \"0x...\" (40 hex digits)",
        "pool" => "pool = \"0x...\" (40 hex digits)",
        "staking" => "staking = \"0x...\" (40 hex digits)",
        "factory" => "factory = \"0x...\" (40 hex digits)",
        "checkpoints" => "checkpoints = \"0x...\" (40 hex digits)",
        "names" => "names = \"0x...\" (40 hex digits)",
        "door" => "door = \"203.0.113.7:443\"",
        "bls" => "bls = \"...\" (192 hex digits)",
        "prefix" => "prefix = \"203.0.113.0/24\"",
        _ => "addresses = [\"/ip4/203.0.113.7/udp/22021/quic-v1\"]",
    }
}
