use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use data_encoding::HEXLOWER as HEX;
use proptest::prelude::*;

use super::*;
use crate::KeyPair;

/// Vectors of "Taming the many EdDSAs" (ePrint 2020/1244) and their verdicts, by message, key, signature. The
/// last two are of an earlier edition.
const EDGES: [(bool, [&str; 3]); 14] = [
    // A and R of small order; A; R.
    (
        false,
        [
            "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000",
        ],
    ),
    (
        false,
        [
            "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        ],
    ),
    (
        false,
        [
            "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
        ],
    ),
    // Components of small order: the equation holds without the factor 8; with it alone; with it alone, and not
    // where 8k is reduced first.
    (
        true,
        [
            "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
            "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
            "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
        ],
    ),
    (
        true,
        [
            "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
            "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
            "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
        ],
    ),
    (
        true,
        [
            "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
            "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
            "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
        ],
    ),
    // S above l; far above.
    (
        false,
        [
            "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
            "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
            "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
        ],
    ),
    (
        false,
        [
            "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
            "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
            "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
        ],
    ),
    // R not canonical, hashed as it is, and reencoded.
    (
        false,
        [
            "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
        ],
    ),
    (
        false,
        [
            "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
        ],
    ),
    // A not canonical, hashed as it is, and reencoded.
    (
        false,
        [
            "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        ],
    ),
    (
        false,
        [
            "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        ],
    ),
    // R = p, which is zero.
    (
        false,
        [
            "fdaebc429f4a735932a160da1301080c13280eea8bc280d1b392c6b9e6ba3a5a",
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f454d370c8d9fc323a41450f8d513eafeb5b0697390c1e505a0d4ddc71f566607",
        ],
    ),
    (
        false,
        [
            "84b698d39be126ff55fe45079e6c8bf64a0d7db6994560b4e96b7021eb39c1a1",
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f084d5b99c2a9463d9c8bd5026916996984eeec87ddf1d3be329006ace1b37b09",
        ],
    ),
];

fn edge([said, key, signature]: [&str; 3]) -> Claim {
    let bytes = |hex: &str| HEX.decode(hex.as_bytes()).unwrap();
    let signature = Signature(bytes(signature).try_into().unwrap());
    Claim::by(bytes(key).try_into().unwrap(), bytes(said), signature)
}

fn honest(seed: u8, said: &[u8]) -> Claim {
    let pair = KeyPair::from_seed(&[seed; 32]);
    Claim::by(pair.public(), said.to_vec(), pair.sign(said))
}

/// Signed with the scalar `a` by the key aB + T, and with R = rB + U.
fn with_torsion(a: u64, t: usize, r: u64, u: usize, said: &[u8]) -> Claim {
    let (a, r) = (Scalar::from(a), Scalar::from(r));
    let key = (a * B + EIGHT_TORSION[t]).compress().0;
    let r_bytes = (r * B + EIGHT_TORSION[u]).compress().0;
    let hash = Sha512::new().chain_update(r_bytes).chain_update(key).chain_update(said).finalize();
    let s = r + Scalar::from_bytes_mod_order_wide(&hash.into()) * a;
    let signature = [r_bytes, s.to_bytes()].concat().try_into().unwrap();
    Claim::by(key, said.to_vec(), Signature(signature))
}

#[test]
fn edge_cases_are_judged_alike_alone_and_together() {
    for (number, (verdict, vector)) in EDGES.into_iter().enumerate() {
        let claim = edge(vector);
        assert_eq!(claim.holds(), verdict, "{number}");
        assert_eq!(verify_all(&[honest(1, b"a"), claim, honest(2, b"b")]), [true, verdict, true], "{number}");
    }
    let (verdicts, claims): (Vec<_>, Vec<_>) = EDGES.into_iter().map(|(one, it)| (one, edge(it))).unzip();
    assert_eq!(verify_all(&claims), verdicts);
    let holding: Vec<_> = claims.into_iter().filter(Claim::holds).collect();
    assert_eq!(verify_all(&holding), [true; 3]);
}

#[test]
fn components_of_small_order_never_make_a_difference() {
    // In one batch their small parts could cancel each other, or not: nothing depends on it.
    let mut claims = Vec::new();
    for t in 0..8 {
        for u in 0..8 {
            claims.push(with_torsion(5, t, 7, u, &[t as u8, u as u8]));
        }
    }
    assert!(claims.iter().all(Claim::holds));
    for count in 1..claims.len() {
        assert!(verify_all(&claims[..count]).into_iter().all(|one| one), "{count}");
    }
}

#[test]
fn keys_of_small_order_and_other_encodings_are_no_points() {
    let small: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|one| one.compress().0).collect();
    for bytes in small {
        for sign in [0, 0x80] {
            let mut other = bytes;
            other[31] ^= sign;
            assert_eq!(point(&other), None, "{other:?}");
        }
    }
    // Each y below 19 has a second encoding, p + y, some of them of points of large order.
    let mut large = 0;
    for low in 0..19 {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + low, 0x7f);
        large += usize::from(CompressedEdwardsY(bytes).decompress().is_some_and(|one| !one.is_small_order()));
        assert_eq!(point(&bytes), None, "{low}");
    }
    assert!(large > 5);
    assert!(!below_p(&[[0xed].as_slice(), &[0xff; 30], &[0x7f]].concat().try_into().unwrap()));
    assert!(below_p(&[[0xec].as_slice(), &[0xff; 30], &[0x7f]].concat().try_into().unwrap()));
}

#[test]
fn a_bad_one_fails_alone_wherever_it_stands() {
    let count = MAX_TOGETHER + 3;
    for bad in [0, 1, MAX_TOGETHER - 1, MAX_TOGETHER, count - 1] {
        let mut claims: Vec<_> = (0..count).map(|one| honest(one as u8, &[one as u8])).collect();
        claims[bad].said.push(0);
        let verdicts = verify_all(&claims);
        assert!(verdicts.iter().enumerate().all(|(place, one)| *one == (place != bad)), "{bad}");
    }
    assert!(verify_all(&[]).is_empty());
}

#[test]
fn signatures_that_would_cancel_each_other_do_not_hold() {
    // S of one is raised and that of another lowered by the same: a plain sum would not notice.
    let (mut one, mut other) = (honest(1, b"a"), honest(2, b"b"));
    let shift = |claim: &mut Claim, by: Scalar| {
        let s: [u8; 32] = claim.signature.0[32..].try_into().unwrap();
        let s = Scalar::from_canonical_bytes(s).unwrap() + by;
        claim.signature.0[32..].copy_from_slice(s.as_bytes());
    };
    shift(&mut one, Scalar::ONE);
    shift(&mut other, -Scalar::ONE);
    assert_eq!(verify_all(&[one, honest(3, b"c"), other]), [false, true, false]);
}

#[test]
fn a_key_must_convert_where_that_is_claimed() {
    let mut good = honest(1, b"a");
    good.x25519 = super::super::to_x25519(&good.key);
    let mut bad = honest(2, b"b");
    bad.x25519 = good.x25519;
    assert!(good.holds() && !bad.holds());
    let broken = Claim { key: [2; 32], ..good.clone() };
    let claims = [broken, good.clone(), honest(2, b"b"), bad, good];
    assert_eq!(verify_all(&claims), [false, true, true, false, true]);
}

/// Something that may be wrong with a signature, or not.
fn any_claim() -> impl Strategy<Value = Claim> {
    let good = (any::<u8>(), any::<[u8; 2]>()).prop_map(|(seed, said)| honest(seed % 8, &said));
    let mixed = (1..9_u64, 0..8_usize, 1..9_u64, 0..8_usize, any::<u8>())
        .prop_map(|(a, t, r, u, said)| with_torsion(a, t, r, u, &[said]));
    let edges = proptest::sample::select(EDGES.to_vec()).prop_map(|(_, vector)| edge(vector));
    let flipped = (any::<u8>(), 0..512_usize).prop_map(|(seed, bit)| {
        let mut claim = honest(seed % 8, b"flipped");
        claim.signature.0[bit / 8] ^= 1 << (bit % 8);
        claim
    });
    let noise = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>())
        .prop_map(|(key, r, s)| Claim::by(key, vec![], Signature([r, s].concat().try_into().unwrap())));
    let plain = prop_oneof![12 => good, 4 => mixed, 1 => edges, 1 => flipped, 1 => noise];
    (plain, 0..8_u8).prop_map(|(claim, convert)| {
        let x25519 = match convert {
            0 => Some([9; 32]),
            1..4 => super::super::to_x25519(&claim.key),
            _ => None,
        };
        Claim { x25519, ..claim }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn together_they_are_judged_as_alone(claims in proptest::collection::vec(any_claim(), 0..160)) {
        let alone: Vec<_> = claims.iter().map(Claim::holds).collect();
        prop_assert_eq!(verify_all(&claims), &*alone);
        // Nor does it matter what is remembered: of all of them, or of the last few.
        for keys in [Keys::new(1_000), Keys::new(4)] {
            for _ in 0..2 {
                prop_assert_eq!(keys.verify_all(&claims), &*alone);
            }
        }
    }

    #[test]
    fn what_the_strict_check_of_the_library_takes_holds(claim in any_claim()) {
        let strict = ed25519_dalek::VerifyingKey::from_bytes(&claim.key).is_ok_and(|key| {
            key.verify_strict(&claim.said, &ed25519_dalek::Signature::from_bytes(&claim.signature.0)).is_ok()
        });
        prop_assert!(!strict || verify(&claim.key, &claim.said, &claim.signature));
    }
}
