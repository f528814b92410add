//! Signatures, checked one at a time or many together, with the same verdicts.
//!
//! A signature (R, S) of a key A over M holds when A and R are points of the curve in their one canonical
//! encoding and not of small order, S is below the group's order l, and 8(SB - kA - R) is zero, with
//! k = SHA-512(R, A, M) mod l. The factor 8 is what lets many be checked by one sum: whatever components of
//! small order A and R have are gone from every term of it, as they are from each alone, so that no choice of
//! signatures makes the two ways differ.

use std::{collections::BTreeMap, sync::LazyLock};

use curve25519_dalek::{
    constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION},
    edwards::{CompressedEdwardsY, EdwardsPoint},
    scalar::Scalar,
    traits::VartimeMultiscalarMul,
};
use sha2::{Digest, Sha512};

use super::Signature;

mod keys;

use keys::Key;
pub use keys::Keys;

/// Signatures that are checked together at most: some 2 ms of work. More would gain little.
pub const MAX_TOGETHER: usize = 128;

/// One signature that is left to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The Ed25519 key that is said to have signed.
    pub key: [u8; 32],
    /// The X25519 key that it must convert to, where an account is known by that.
    pub x25519: Option<[u8; 32]>,
    /// What.
    pub said: Vec<u8>,
    /// The signature.
    pub signature: Signature,
}

impl Claim {
    /// That a key signed something.
    pub const fn by(key: [u8; 32], said: Vec<u8>, signature: Signature) -> Self {
        Self { key, x25519: None, said, signature }
    }

    /// Whether it is so.
    pub fn holds(&self) -> bool {
        let Some(key) = point(&self.key) else { return false };
        self.x25519.is_none_or(|x25519| key.to_montgomery().0 == x25519)
            && Equation::read(&self.key, key, &self.said, &self.signature)
                .is_some_and(|equation| equation.holds())
    }
}

/// Whether the key signed the statement. All members and clients must judge alike: see the rule above.
pub fn verify(key: &[u8; 32], statement: &[u8], signature: &Signature) -> bool {
    point(key)
        .and_then(|point| Equation::read(key, point, statement, signature))
        .is_some_and(|equation| equation.holds())
}

/// Which of the claims hold, as [`Keys::verify_all`] says, of keys that nobody remembers.
pub fn verify_all(claims: &[Claim]) -> Vec<bool> {
    Keys::new(0).verify_all(claims)
}

/// Which of the claims hold, given what their keys encode.
fn together(claims: &[Claim], keys: &[Option<Key>]) -> Vec<bool> {
    let read = |(claim, key): (&Claim, &Option<Key>)| {
        let key = key.filter(|key| claim.x25519.is_none_or(|wanted| wanted == key.x25519))?;
        Equation::read(&claim.key, key.point, &claim.said, &claim.signature)
    };
    let equations: Vec<_> = claims.iter().zip(keys).map(read).collect();
    let sound: Vec<_> = equations.iter().flatten().collect();
    let all = sound.len() > 1 && sum_vanishes(&sound);
    equations.iter().map(|one| one.as_ref().is_some_and(|one| all || one.holds())).collect()
}

/// A signature whose encodings are sound: what is left is 8(SB - kA - R) = 0.
struct Equation {
    key: EdwardsPoint,
    key_bytes: [u8; 32],
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
}

impl Equation {
    /// Reads one of a key whose point is known.
    fn read(
        key: &[u8; 32],
        key_point: EdwardsPoint,
        statement: &[u8],
        signature: &Signature,
    ) -> Option<Self> {
        let (r_bytes, s_bytes) = signature.0.split_first_chunk::<32>()?;
        let s = Option::from(Scalar::from_canonical_bytes(s_bytes.try_into().ok()?))?;
        let r = point(r_bytes)?;
        let hash = Sha512::new().chain_update(r_bytes).chain_update(key).chain_update(statement).finalize();
        Some(Self {
            key: key_point,
            key_bytes: *key,
            r,
            s,
            k: Scalar::from_bytes_mod_order_wide(&hash.into()),
        })
    }

    #[expect(clippy::arithmetic_side_effects, reason = "scalars and points have no overflow")]
    fn holds(&self) -> bool {
        let difference =
            EdwardsPoint::vartime_double_scalar_mul_basepoint(&-self.k, &self.key, &self.s) - self.r;
        difference.is_small_order()
    }
}

/// Whether the sum of all equations holds, each times a number of 128 bits that its maker could not foresee.
///
/// If one of them does not hold, neither does the sum, but for one chance in 2^128.
#[expect(clippy::arithmetic_side_effects, reason = "scalars and points have no overflow")]
fn sum_vanishes(equations: &[&Equation]) -> bool {
    // The factors come from everything that they multiply: k stands for R, A and what was signed.
    let mut seed = Sha512::new();
    for Equation { s, k, .. } in equations {
        seed.update(k.as_bytes());
        seed.update(s.as_bytes());
    }
    let seed = seed.finalize();
    let mut factors = (0_u64..).flat_map(|count| {
        let block: [u8; 64] =
            Sha512::new().chain_update(seed).chain_update(count.to_le_bytes()).finalize().into();
        block
            .as_chunks::<16>()
            .0
            .iter()
            .map(|bytes| Scalar::from(u128::from_le_bytes(*bytes)))
            .collect::<Vec<_>>()
    });
    let mut base = Scalar::ZERO;
    // A key that signed several things is one term.
    let mut keys: BTreeMap<[u8; 32], (Scalar, EdwardsPoint)> = BTreeMap::new();
    let (mut scalars, mut points) = (Vec::new(), Vec::new());
    for (equation, factor) in equations.iter().zip(&mut factors) {
        base -= factor * equation.s;
        keys.entry(equation.key_bytes).or_insert((Scalar::ZERO, equation.key)).0 += factor * equation.k;
        scalars.push(factor);
        points.push(equation.r);
    }
    for (scalar, key) in keys.into_values() {
        scalars.push(scalar);
        points.push(key);
    }
    scalars.push(base);
    points.push(ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(scalars, points).is_small_order()
}

/// A point of the curve that is not of small order, from its one canonical encoding.
fn point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    /// The y of all points of small order.
    static SMALL: LazyLock<[[u8; 32]; 8]> = LazyLock::new(|| EIGHT_TORSION.map(|one| y(&one.compress().0)));
    let y = y(bytes);
    if !below_p(&y) || SMALL.contains(&y) {
        return None;
    }
    // Where x is zero its sign would have two encodings: those points are of small order.
    CompressedEdwardsY(*bytes).decompress()
}

/// An encoded point without the sign of its x.
fn y(bytes: &[u8; 32]) -> [u8; 32] {
    let mut y = *bytes;
    y[31] &= 0x7f;
    y
}

/// Whether a number of 255 bits, little-endian, is below p = 2^255 - 19.
fn below_p(y: &[u8; 32]) -> bool {
    y[0] < 0xed || y[31] != 0x7f || y[1..31].iter().any(|byte| *byte != 0xff)
}

#[cfg(test)]
mod tests;
