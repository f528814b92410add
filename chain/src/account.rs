//! An account's key on the settlement chain, made from the seed that its recovery phrase stands for.

pub use alloy::signers::local::PrivateKeySigner;
use alloy::{
    primitives::{Address, B256, Signature, keccak256},
    signers::{Error, SignerSync},
};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use session_protocols::AccountId;
use zeroize::Zeroizing;

/// What the key is made for.
const INFO: &[u8] = b"session-chain-1";
/// What a key signs for, that says whose it is.
const HOLDER: &[u8] = b"session-wallet-1";
/// Bytes of a key's word that says whose it is.
pub const PROOF: usize = 65;
/// Bytes of a seed.
pub const SEED: usize = 16;
/// Bytes that become a key: so many more than it has that no key is likelier than another.
const WIDE: usize = 48;
/// One less than the order of secp256k1, big-endian, behind a zero.
const MODULUS: [u8; 33] = [
    0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x40,
];

/// The key of an account: HKDF-SHA256 of its seed (no salt, info `session-chain-1`, 48 bytes), as a big-endian
/// number, modulo n - 1, plus 1. So it can be made again from the recovery phrase alone.
///
/// The signer shows its address alone, and forgets its key when dropped.
pub fn signer(seed: &[u8; SEED]) -> PrivateKeySigner {
    let key = key(seed);
    #[expect(clippy::expect_used, reason = "a number from 1 to n - 1 is a key")]
    PrivateKeySigner::from_slice(&*key).expect("the number is in range")
}

/// The signer of a key that was made elsewhere; none where the bytes are no number from 1 to n - 1.
pub fn imported(key: &[u8; 32]) -> Option<PrivateKeySigner> {
    PrivateKeySigner::from_slice(key).ok()
}

/// The key's own word that its address belongs to an account: so that nobody claims what others paid. It is an
/// Ethereum signature (r, s, v of 27 or 28) over keccak256 of `session-wallet-1` and the 33 bytes of the account's
/// id.
///
/// # Errors
/// When the key cannot sign.
pub fn prove(signer: &PrivateKeySigner, holder: &AccountId) -> Result<[u8; PROOF], Error> {
    Ok(signer.sign_hash_sync(&statement(holder))?.as_bytes())
}

/// Whether the key of an address said that it belongs to an account.
pub fn is_proven(address: Address, holder: &AccountId, proof: &[u8; PROOF]) -> bool {
    let signed = Signature::from_raw_array(proof).ok().filter(|signature| signature.normalize_s().is_none());
    let by = signed.and_then(|signature| signature.recover_address_from_prehash(&statement(holder)).ok());
    by == Some(address)
}

fn statement(holder: &AccountId) -> B256 {
    keccak256([HOLDER, holder.as_bytes()].concat())
}

struct Wide;

impl KeyType for Wide {
    fn len(&self) -> usize {
        WIDE
    }
}

fn key(seed: &[u8; SEED]) -> Zeroizing<[u8; 32]> {
    let mut wide = Zeroizing::new([0; WIDE]);
    let made = Salt::new(HKDF_SHA256, &[]).extract(seed);
    #[expect(clippy::expect_used, reason = "48 bytes are few enough, and as many as there is room for")]
    made.expand(&[INFO], Wide).and_then(|made| made.fill(&mut *wide)).expect("48 bytes can be made");
    let mut rest = Zeroizing::new([0_u8; 33]);
    for bit in wide.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        double(&mut rest, bit);
        subtract_once(&mut rest);
    }
    let mut one = 1_u8;
    for byte in rest.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(one);
        (*byte, one) = (sum, u8::from(carry));
    }
    let mut key = Zeroizing::new([0; 32]);
    key.iter_mut().zip(rest.iter().skip(1)).for_each(|(into, byte)| *into = *byte);
    key
}

/// Twice the number, and a bit.
fn double(number: &mut [u8; 33], bit: u8) {
    let mut carry = bit;
    for byte in number.iter_mut().rev() {
        let next = *byte >> 7;
        *byte = *byte << 1 | carry;
        carry = next;
    }
}

/// Takes the modulus off if the number is as large.
fn subtract_once(number: &mut [u8; 33]) {
    if *number < MODULUS {
        return;
    }
    let mut borrow = 0_u8;
    for (byte, of) in number.iter_mut().rev().zip(MODULUS.iter().rev()) {
        let (rest, under) = byte.overflowing_sub(*of);
        let (rest, more) = rest.overflowing_sub(borrow);
        (*byte, borrow) = (rest, u8::from(under | more));
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{U512, uint};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_seed_has_one_key() {
        for (seed, key_is, address) in VECTORS {
            let seed: [u8; SEED] =
                data_encoding::HEXLOWER.decode(seed.as_bytes()).unwrap().try_into().unwrap();
            assert_eq!(data_encoding::HEXLOWER.encode(&*key(&seed)), key_is);
            assert_eq!(signer(&seed).address().to_string(), address);
            // A signer that is printed tells its address alone.
            let shown = format!("{:?}", signer(&seed)).to_lowercase();
            assert!(!shown.contains(&key_is[..16]), "{shown}");
        }
    }

    #[test]
    fn a_key_that_was_made_elsewhere_is_taken_as_it_is() {
        let key: [u8; 32] =
            data_encoding::HEXLOWER.decode(VECTORS[0].1.as_bytes()).unwrap().try_into().unwrap();
        assert_eq!(imported(&key).unwrap().address().to_string(), VECTORS[0].2);
        let mut order = [0; 32];
        order.copy_from_slice(&MODULUS[1..]);
        assert!(imported(&order).is_some());
        order[31] += 1;
        assert_eq!((imported(&order), imported(&[0; 32])), (None, None));
    }

    #[test]
    fn an_address_belongs_to_whom_its_key_says() {
        let (signer, holder) = (signer(&[0; SEED]), AccountId::from_bytes([5; AccountId::LEN]));
        let proof = prove(&signer, &holder).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&proof), HELD);
        assert!(is_proven(signer.address(), &holder, &proof));
        assert!(!is_proven(signer.address(), &AccountId::from_bytes([4; AccountId::LEN]), &proof));
        assert!(!is_proven(Address::ZERO, &holder, &proof));
        for at in 0..PROOF {
            let mut other = proof;
            other[at] ^= 1;
            assert!(!is_proven(signer.address(), &holder, &other), "byte {at}");
        }
        assert!(!is_proven(signer.address(), &holder, &[0; PROOF]));
    }

    proptest! {
        #[test]
        fn numbers_are_reduced_as_arithmetic_has_it(seed: [u8; SEED]) {
            let mut wide = [0; WIDE];
            let made = Salt::new(HKDF_SHA256, &[]).extract(&seed);
            made.expand(&[INFO], Wide).unwrap().fill(&mut wide).unwrap();
            let order = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140_U512);
            let key_is = U512::from_be_slice(&wide) % order + U512::from(1);
            prop_assert_eq!(U512::from_be_slice(&*key(&seed)), key_is);
        }
    }

    /// What the first key of these says of the account of 33 fives, made with Python's integers by RFC 6979.
    const HELD: &str = "\
        36d8ad321b43fb1fbdefea8d014a8a97a0a4bd24ff3c959b3ccc76414c039978\
        710eb745095baf59edc0be9c35a2bcb8f461897161815d465d05a9f64e31929b1b";

    /// Made with Python's `hmac` and integers: seed, key, address.
    const VECTORS: [(&str, &str, &str); 2] = [
        (
            "00000000000000000000000000000000",
            "87a3e5c1f57277da1a86eb68c8d3caf05e567339d99fef241f36e4a4f58b7f3e",
            "0xc7174D2EE096cF90481D5AF70DF9b5288787d686",
        ),
        (
            "000102030405060708090a0b0c0d0e0f",
            "788b7fa9e71b7f6e43795dbf44409fed9b9d8128f92d91ac08030069eb712a1a",
            "0xAFdB9A7c2A6a32ac299BAc97aF99077f67dd0B3a",
        ),
    ];
}
