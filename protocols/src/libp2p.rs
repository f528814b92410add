//! What node and client share towards libp2p: kept streams, and the directory's codec.
//!
//! - [`link`]: many conversations over one kept stream
//! - [`codec`]: CBOR for libp2p's own request-response, where requests are rare
//! - [`address`]: endpoints and node ids as libp2p writes them

pub mod address;
pub mod codec;
pub mod link;
