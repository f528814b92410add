//! CBOR in and out, with limits on the way in.
//!
//! Everything that travels is encoded here and nowhere else. `serde_cbor` is unmaintained
//! (RUSTSEC-2021-0127), so no byte reaches it that [`check`] has not walked first: length, depth
//! and the number of items are bounded, lengths must be present, and nothing may follow the value.
//! Unknown fields are ignored, so that newer peers can say more.

use serde::{Serialize, de::DeserializeOwned};

/// How deep arrays, maps and tags may nest: as deep as what comes of conditions, of several requests within
/// those, and of a change among these.
pub const MAX_DEPTH: usize = 24;

/// How many values one message may hold in all, keys included.
pub const MAX_ITEMS: usize = 1 << 18;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than the protocol allows.
    #[error("{len} bytes where at most {max} are allowed")]
    TooLong {
        /// Bytes that arrived.
        len: usize,
        /// Bytes that may arrive.
        max: usize,
    },
    /// The bytes end inside a value.
    #[error("truncated")]
    Truncated,
    /// Bytes follow the value.
    #[error("bytes follow the value")]
    Trailing,
    /// Deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More values than [`MAX_ITEMS`].
    #[error("more than {MAX_ITEMS} values")]
    TooMany,
    /// A head that this codec does not use: an indefinite length or a reserved value.
    #[error("unsupported head")]
    Head,
    /// Well-formed CBOR of another shape.
    #[error("unexpected shape")]
    Shape,
}

/// Encodes a value.
///
/// # Panics
///
/// Never for the types of this crate: they hold nothing that CBOR cannot say.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(value, &mut bytes);
    bytes
}

/// Encodes a value behind what `bytes` hold already.
///
/// # Panics
///
/// As [`encode`].
pub fn append<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    #[expect(clippy::expect_used, reason = "writing our own types to memory cannot fail")]
    serde_cbor::to_writer(bytes, value).expect("own types encode");
}

/// Decodes one value that fills `bytes` exactly and is at most `max` bytes long.
///
/// # Errors
///
/// Says which limit or rule the bytes break; never panics and never allocates more than a small
/// multiple of `bytes`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    check(bytes, max)?;
    serde_cbor::from_slice(bytes).map_err(|_| DecodeError::Shape)
}

/// Walks the heads of one CBOR value without building anything.
///
/// # Errors
///
/// As [`decode`].
pub fn check(bytes: &[u8], max: usize) -> Result<(), DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { len: bytes.len(), max });
    }
    let mut rest = bytes;
    let mut items = 0_usize;
    // How many values are still owed at each level.
    let mut owed = [0_u64; MAX_DEPTH];
    let mut depth = 0_usize;
    loop {
        items = items.saturating_add(1);
        if items > MAX_ITEMS {
            return Err(DecodeError::TooMany);
        }
        let (major, argument, after) = head(rest)?;
        rest = after;
        let children = match major {
            0 | 1 | 7 => 0,
            2 | 3 => {
                let len = usize::try_from(argument).map_err(|_| DecodeError::Truncated)?;
                rest = rest.get(len..).ok_or(DecodeError::Truncated)?;
                0
            }
            4 => argument,
            5 => argument.checked_mul(2).ok_or(DecodeError::Truncated)?,
            _ => return Err(DecodeError::Head),
        };
        if children > 0 {
            // A value takes a byte at least: a count beyond what is left is a lie.
            if children > rest.len() as u64 {
                return Err(DecodeError::Truncated);
            }
            *owed.get_mut(depth).ok_or(DecodeError::TooDeep)? = children;
            depth = depth.saturating_add(1);
            continue;
        }
        // One value is complete: settle it with the levels above.
        loop {
            let Some(level) = depth.checked_sub(1) else {
                return if rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) };
            };
            let left = owed.get_mut(level).ok_or(DecodeError::TooDeep)?;
            *left = left.saturating_sub(1);
            if *left > 0 {
                break;
            }
            depth = level;
        }
    }
}

/// Splits the next head off: major type, argument, what follows.
fn head(bytes: &[u8]) -> Result<(u8, u64, &[u8]), DecodeError> {
    let (&first, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    let major = first >> 5;
    let take = match first & 0x1f {
        small @ 0..=23 => {
            // Of the simple values only false, true and null are in use.
            let used = major != 7 || (20..=22).contains(&small);
            return if used { Ok((major, u64::from(small), rest)) } else { Err(DecodeError::Head) };
        }
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Err(DecodeError::Head),
    };
    if major == 7 {
        return Err(DecodeError::Head);
    }
    let (argument, rest) = rest.split_at_checked(take).ok_or(DecodeError::Truncated)?;
    let argument = argument.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    Ok((major, argument, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_breaks_a_limit() {
        assert_eq!(check(&[0x00, 0x00], 1), Err(DecodeError::TooLong { len: 2, max: 1 }));
        assert_eq!(check(&[], 9), Err(DecodeError::Truncated));
        assert_eq!(check(&[0x00, 0x00], 9), Err(DecodeError::Trailing));
        assert_eq!(check(&[0x9f, 0xff], 9), Err(DecodeError::Head));
        assert_eq!(
            check(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 9),
            Err(DecodeError::Truncated)
        );
        assert_eq!(check(&[0x9a, 0xff, 0xff, 0xff, 0xff], 9), Err(DecodeError::Truncated));
        let nested = [vec![0x81; MAX_DEPTH + 1], vec![0x00]].concat();
        assert_eq!(check(&nested, 99), Err(DecodeError::TooDeep));
        let deepest = [vec![0x81; MAX_DEPTH], vec![0x00]].concat();
        assert_eq!(check(&deepest, 99), Ok(()));
        let many = [vec![0x9a, 0x00, 0x05, 0x00, 0x00], vec![0x00; 0x5_0000]].concat();
        assert_eq!(check(&many, usize::MAX), Err(DecodeError::TooMany));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode::<serde_cbor::Value>(&bytes, 128);
        }

        #[test]
        fn what_is_encoded_passes(list in proptest::collection::vec((any::<u32>(), ".*"), 0..20)) {
            let bytes = encode(&list);
            prop_assert_eq!(decode::<Vec<(u32, String)>>(&bytes, usize::MAX), Ok(list));
        }
    }
}
