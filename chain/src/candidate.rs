//! A node that can be registered: what its keys say to it, so that whoever stakes needs none of them.
//!
//! It is made beside the node's key and handed to the operator as a short text. It counts for one registration of
//! the node's keys: the contract counts these, and the proof of possession names their number.

use alloy::primitives::{Address, FixedBytes};
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::{Deserialize, Serialize};
use session_protocols::{
    KeyPair, NetworkName, NodeId, Prefix, Signature,
    identity::{blake2b, verify},
};

use crate::{
    bls::{BlsSecret, BlsSignature},
    ledger::{BlsKey, Domain, registration::prefix_bytes},
};

/// The version of the text that this build reads and writes.
pub const VERSION: u16 = 2;
/// The longest text, in bytes.
pub const MAX_BYTES: usize = 4_096;

/// What a registration takes, but for the stake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The network that it is for.
    pub network: NetworkName,
    /// The node.
    pub node: NodeId,
    /// Who may register it.
    pub operator: Address,
    /// Where it will stand.
    pub prefix: Prefix,
    /// What the node's key signed: [`Domain::registration`].
    pub signature: Signature,
    /// Its key for checkpoints.
    pub bls: BlsKey,
    /// How often that key was registered before, by all operators.
    pub registrations: u64,
    /// What that key signed: [`Domain::possession`].
    pub possession: BlsSignature,
}

/// Why a candidate cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// The text is none.
    #[error("this does not describe a node to register: {message}")]
    Text {
        /// What is wrong with it.
        message: String,
    },
    /// Another build wrote it.
    #[error("the description of the node has version {found}, this build reads {VERSION}")]
    Version {
        /// The text's.
        found: u16,
    },
    /// It is meant for another network.
    #[error("the node is to be registered in the network {found}, and this is {expected}")]
    Network {
        /// The network that it names.
        found: NetworkName,
        /// The network that was asked for.
        expected: NetworkName,
    },
    /// A signature does not hold: other keys, another operator or contract, or another prefix.
    #[error("the node's {which} key did not sign this registration")]
    Unsigned {
        /// Which of the two.
        which: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u16,
    network: String,
    node: String,
    operator: String,
    prefix: String,
    signature: String,
    bls_key: String,
    registrations: u64,
    bls_possession: String,
}

impl BlsSecret {
    /// The key for checkpoints of the node that holds `pair`: it follows from that one, so that there is one
    /// key to back up.
    pub fn of_node(pair: &KeyPair) -> Self {
        Self::from_seed(&blake2b(&[b"session-bls-1", &*pair.seed()]))
    }
}

impl Candidate {
    /// Describes the node that holds `pair`, for this operator alone, and for the next registration of keys that
    /// were registered so often before: 0 for new ones.
    pub fn sign(
        network: NetworkName,
        domain: &Domain,
        pair: &KeyPair,
        operator: Address,
        prefix: Prefix,
        registrations: u64,
    ) -> Self {
        let secret = BlsSecret::of_node(pair);
        let bls = secret.public();
        Self {
            network,
            node: pair.node_id(),
            operator,
            prefix,
            signature: pair.sign(&domain.registration(operator, prefix, &bls)),
            bls,
            registrations,
            possession: secret.sign(&domain.possession(operator, &bls, registrations)),
        }
    }

    /// Checks what the contract, or the nodes after it, would refuse.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn check(&self, network: &NetworkName, domain: &Domain) -> Result<(), CandidateError> {
        if self.network != *network {
            let (found, expected) = (self.network.clone(), network.clone());
            return Err(CandidateError::Network { found, expected });
        }
        let statement = domain.registration(self.operator, self.prefix, &self.bls);
        if !verify(self.node.as_bytes(), &statement, &self.signature) {
            return Err(CandidateError::Unsigned { which: "Ed25519" });
        }
        let statement = domain.possession(self.operator, &self.bls, self.registrations);
        if !self.bls.is_valid() || !self.possession.verify(&[self.bls], &statement) {
            return Err(CandidateError::Unsigned { which: "BLS" });
        }
        Ok(())
    }

    /// The prefix as the contract takes it.
    pub fn prefix_word(&self) -> FixedBytes<7> {
        FixedBytes::from(prefix_bytes(self.prefix))
    }

    /// The text that [`Self::parse`] reads: TOML.
    pub fn to_toml(&self) -> String {
        let text = Text {
            version: VERSION,
            network: self.network.to_string(),
            node: self.node.to_string(),
            operator: self.operator.to_string(),
            prefix: self.prefix.to_string(),
            signature: HEX.encode(&self.signature.0),
            bls_key: HEX.encode(&self.bls.0),
            registrations: self.registrations,
            bls_possession: HEX.encode(&self.possession.0),
        };
        toml::to_string(&text).unwrap_or_default()
    }

    /// Reads the text; whether its signatures hold is for [`Self::check`].
    ///
    /// # Errors
    /// When it is not such a text.
    pub fn parse(text: &str) -> Result<Self, CandidateError> {
        let wrong = |message: String| CandidateError::Text { message };
        if text.len() > MAX_BYTES {
            return Err(wrong(format!("it has {} bytes, more than {MAX_BYTES}", text.len())));
        }
        let text: Text = toml::from_str(text).map_err(|error| wrong(error.message().replace('\n', ", ")))?;
        if text.version != VERSION {
            return Err(CandidateError::Version { found: text.version });
        }
        fn bytes<const LEN: usize>(key: &str, text: &str) -> Result<[u8; LEN], CandidateError> {
            let bytes = HEX.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            let message = || format!("`{key}` is not {} hex digits", 2 * LEN);
            bytes.ok_or_else(|| CandidateError::Text { message: message() })
        }
        Ok(Self {
            network: text.network.parse().map_err(|error| wrong(format!("{error}")))?,
            node: text.node.parse().map_err(|error| wrong(format!("{error}")))?,
            operator: text.operator.parse().map_err(|_| wrong("`operator` is no address".to_owned()))?,
            prefix: text.prefix.parse().map_err(|error| wrong(format!("{error}")))?,
            signature: Signature(bytes("signature", &text.signature)?),
            bls: BlsKey(bytes("bls_key", &text.bls_key)?),
            registrations: text.registrations,
            possession: BlsSignature(bytes("bls_possession", &text.bls_possession)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        let [staking, checkpoints] = [1, 2].map(Address::repeat_byte);
        Domain { chain: 31_337, staking, checkpoints }
    }

    fn candidate() -> (NetworkName, Candidate) {
        let network: NetworkName = "local".parse().unwrap();
        let (pair, prefix) = (KeyPair::from_seed(&[7; 32]), "127.0.1.0/24".parse().unwrap());
        (network.clone(), Candidate::sign(network, &domain(), &pair, Address::repeat_byte(9), prefix, 3))
    }

    #[test]
    fn what_a_node_signed_is_for_one_operator_on_one_chain_and_one_registration() {
        let (network, candidate) = candidate();
        assert_eq!(candidate.check(&network, &domain()), Ok(()));
        let unsigned = |which| Err(CandidateError::Unsigned { which });
        for other in
            [Domain { chain: 1, ..domain() }, Domain { staking: Address::repeat_byte(3), ..domain() }]
        {
            assert_eq!(candidate.check(&network, &other), unsigned("Ed25519"));
        }
        let stolen = Candidate { operator: Address::repeat_byte(8), ..candidate.clone() };
        assert_eq!(stolen.check(&network, &domain()), unsigned("Ed25519"));
        let moved = Candidate { prefix: "127.0.2.0/24".parse().unwrap(), ..candidate.clone() };
        assert_eq!(moved.check(&network, &domain()), unsigned("Ed25519"));
        let later = Candidate { registrations: 4, ..candidate.clone() };
        assert_eq!(later.check(&network, &domain()), unsigned("BLS"));
        let mut forged = candidate.clone();
        forged.possession = BlsSecret::from_seed(&[8; 32]).sign(b"else");
        assert_eq!(forged.check(&network, &domain()), unsigned("BLS"));
        let elsewhere: NetworkName = "main".parse().unwrap();
        assert_eq!(
            candidate.check(&elsewhere, &domain()).unwrap_err().to_string(),
            "the node is to be registered in the network local, and this is main"
        );
    }

    #[test]
    fn the_text_is_read_as_it_is_written() {
        let (_, candidate) = candidate();
        let text = candidate.to_toml();
        assert_eq!(Candidate::parse(&text), Ok(candidate));
        assert!(text.len() < MAX_BYTES / 4, "{} bytes", text.len());
        let told =
            |from: &str, to: &str| Candidate::parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert_eq!(
            told("version = 2", "version = 3"),
            "the description of the node has version 3, this build reads 2"
        );
        assert!(told("bls_key = \"", "bls_key = \"0").contains("`bls_key` is not 192 hex digits"));
        assert!(told("node = \"", "node = \"x").contains("expected a node id"));
        assert!(told("prefix", "prefixes").starts_with("this does not describe a node to register: "));
        assert!(Candidate::parse(&"#".repeat(MAX_BYTES + 1)).is_err());
    }
}
