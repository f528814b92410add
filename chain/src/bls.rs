//! BLS12-381 signatures, as the contracts check them through EIP-2537: keys in G1, signatures in G2.
//!
//! Many nodes sign one message; the sum of their signatures is a signature by the sum of their keys. A key
//! counts only with a proof that somebody holds its secret, or one could be made up that cancels others out;
//! the staking contract asks for it. Scheme: draft-irtf-cfrg-bls-signature-05, §3.3 (proof of possession),
//! except that proofs are made over a statement of their own ([`Domain::possession`]) and not the bare key.
//!
//! [`Domain::possession`]: crate::ledger::Domain::possession

use core::fmt;

use blst::{
    BLST_ERROR,
    min_pk::{AggregatePublicKey, AggregateSignature, PublicKey, SecretKey, Signature},
};

use crate::ledger::BlsKey;

/// What messages are hashed to the curve with.
pub const SUITE: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";
/// A node's secret key for checkpoints. Zeroized when dropped.
pub struct BlsSecret(SecretKey);

/// A signature: a compressed point of G2, 96 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlsSignature(pub [u8; 96]);

/// Bytes are no key or signature that could be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a point of the curve's group")]
pub struct PointError;

impl BlsSecret {
    /// The key that grows from a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "fails for seeds below 32 bytes alone")]
        Self(SecretKey::key_gen(seed, &[]).expect("32 bytes suffice"))
    }

    /// The public key.
    pub fn public(&self) -> BlsKey {
        BlsKey(self.0.sk_to_pk().serialize())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> BlsSignature {
        BlsSignature(self.0.sign(message, SUITE, &[]).compress())
    }
}

impl fmt::Debug for BlsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlsSecret of {:?}", self.public())
    }
}

impl BlsKey {
    /// Whether it is a point of the group that is not its neutral element.
    pub fn is_valid(&self) -> bool {
        PublicKey::deserialize(&self.0).is_ok_and(|key| key.validate().is_ok())
    }

    /// The sum of some keys; none when there are none or one of them is no point of the curve.
    pub fn aggregate(keys: &[Self]) -> Option<Self> {
        sum(keys).map(|key| Self(key.serialize()))
    }
}

impl BlsSignature {
    /// Whether all of `keys` signed `message`, and nobody else: the signature is the sum of theirs.
    ///
    /// The keys must have proven that their secrets are held.
    pub fn verify(&self, keys: &[BlsKey], message: &[u8]) -> bool {
        let Some(key) = sum(keys) else { return false };
        let Ok(signature) = Signature::uncompress(&self.0) else { return false };
        signature.verify(true, message, SUITE, &[], &key, false) == BLST_ERROR::BLST_SUCCESS
    }

    /// The sum of some signatures; none when there are none or one of them is no point of the group.
    pub fn aggregate(signatures: &[Self]) -> Option<Self> {
        let points: Result<Vec<_>, _> =
            signatures.iter().map(|signature| Signature::uncompress(&signature.0)).collect();
        let points = points.ok()?;
        let sum = AggregateSignature::aggregate(&points.iter().collect::<Vec<_>>(), true).ok()?;
        Some(Self(sum.to_signature().compress()))
    }

    /// The signature that [`Self::uncompressed`] wrote.
    ///
    /// # Errors
    /// When it is no point of the curve.
    pub fn compress(uncompressed: &[u8; 192]) -> Result<Self, PointError> {
        let point = Signature::deserialize(uncompressed).map_err(|_| PointError)?;
        Ok(Self(point.compress()))
    }

    /// The point as the contracts read it: `x.c1`, `x.c0`, `y.c1`, `y.c0`, 48 bytes each.
    ///
    /// # Errors
    /// When it is no point of the curve.
    pub fn uncompressed(&self) -> Result<[u8; 192], PointError> {
        Ok(Signature::uncompress(&self.0).map_err(|_| PointError)?.serialize())
    }
}

impl fmt::Debug for BlsSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: String = self.0.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        write!(f, "BlsSignature({head}..)")
    }
}

/// The sum of some keys; none when there are none or one of them is no point of the curve.
fn sum(keys: &[BlsKey]) -> Option<PublicKey> {
    let points: Result<Vec<_>, _> = keys.iter().map(|key| PublicKey::deserialize(&key.0)).collect();
    let points = points.ok()?;
    // That they are of the group was checked with their proofs.
    let sum = AggregatePublicKey::aggregate(&points.iter().collect::<Vec<_>>(), false).ok()?;
    Some(sum.to_public_key())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(count: u8) -> Vec<BlsSecret> {
        (1..=count).map(|number| BlsSecret::from_seed(&[number; 32])).collect()
    }

    #[test]
    fn the_sum_of_signatures_is_one_by_all_the_keys() {
        let secrets = secrets(5);
        let keys: Vec<_> = secrets.iter().map(BlsSecret::public).collect();
        let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(b"root")).collect();
        let all = BlsSignature::aggregate(&signatures).unwrap();
        assert!(all.verify(&keys, b"root"));
        assert!(!all.verify(&keys, b"other"));
        assert!(!all.verify(&keys[1..], b"root"));
        let but_one = BlsSignature::aggregate(&signatures[1..]).unwrap();
        assert!(but_one.verify(&keys[1..], b"root") && !but_one.verify(&keys, b"root"));
        assert!(!all.verify(&[], b"root"));
        assert_eq!(BlsSignature::aggregate(&[]), None);
    }

    #[test]
    fn what_is_no_point_counts_for_nothing() {
        let secret = &secrets(1)[0];
        let (key, signature) = (secret.public(), secret.sign(b"root"));
        let neutral = {
            let mut bytes = [0; 96];
            bytes[0] = 0x40;
            BlsKey(bytes)
        };
        assert!(key.is_valid() && !neutral.is_valid() && !BlsKey([7; 96]).is_valid());
        assert!(!signature.verify(&[BlsKey([7; 96])], b"root"));
        let broken = BlsSignature([7; 96]);
        assert!(!broken.verify(&[key], b"root"));
        assert_eq!(
            (BlsSignature::aggregate(&[signature, broken]), broken.uncompressed()),
            (None, Err(PointError))
        );
        // The neutral signature is what a neutral key signs, whatever the message.
        let mut bytes = [0; 96];
        bytes[0] = 0xc0;
        assert!(!BlsSignature(bytes).verify(&[neutral], b"root"));
    }
}
