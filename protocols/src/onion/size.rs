//! Buckets, and the length of a packet at each position.
//!
//! Whoever sees a packet on a wire learns its bucket and how many layers it has left, and no more:
//! the maker fills requests and answers up to their bucket, and a layer takes the same room however
//! it is entered.

/// What a request, or an answer, may hold, in bytes.
pub const CAPACITIES: [usize; 4] = [2_048, 8_192, 32_768, 131_072];
/// The longest packet or answer of all.
pub const MAX_PACKET: usize = match packet_len(Bucket(3), Position::Guard) {
    length if length >= answer_len(Bucket(3), Position::Guard) => length,
    _ => answer_len(Bucket(3), Position::Guard),
};

/// Bytes of an authentication tag.
pub(super) const TAG: usize = 16;
/// The most bytes of a Noise message.
pub(super) const RECORD: usize = 65_535;

/// Before the sealed part of a first packet: kind, the day of the key, an ephemeral key, and the
/// sealed key of the body with its stamp.
pub(super) const FIRST_HEAD: usize = 1 + 1 + 32 + FIRST_NOTE + TAG;
/// The key of the body and the stamp.
pub(super) const FIRST_NOTE: usize = 32 + 4;
/// Before the sealed part of a session's packet: kind, the session, the masked number.
pub(super) const SESSION_HEAD: usize = 1 + SESSION_ID + NUMBER;
/// A session's name.
pub(super) const SESSION_ID: usize = 8;
/// A packet's number in its session.
pub(super) const NUMBER: usize = 5;
/// Before the sealed part of the first answer: kind, an ephemeral key, the sealed session.
pub(super) const FIRST_ANSWER_HEAD: usize = 1 + 32 + SESSION_NOTE + TAG;
/// The session's name, and the key that masks its numbers.
pub(super) const SESSION_NOTE: usize = SESSION_ID + 32;
/// Before the sealed part of a session's answer: kind.
pub(super) const SESSION_ANSWER_HEAD: usize = 1;

/// Before the next hop's packet: who that is, and the bucket of the answer.
pub(super) const ROUTE: usize = 32 + 1;
/// Before a request: the bucket of the answer, the service and the request's length.
pub(super) const DELIVERY: usize = 1 + 1 + 4;
/// Before the inner answer: how the hop fared.
pub(super) const STATUS: usize = 1;
/// Before an answer's bytes: how the destination fared, and their length.
pub(super) const RESULT: usize = STATUS + 4;

/// One of the sizes that requests and answers are filled up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u8);

impl Bucket {
    /// All of them, smallest first.
    pub const ALL: [Self; 4] = [Self(0), Self(1), Self(2), Self(3)];

    /// The smallest that holds so many bytes; none if they are too many.
    pub fn fitting(bytes: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|bucket| bucket.capacity() >= bytes)
    }

    /// The bucket of this number, from 0 to 3.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its number, from 0 to 3.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// How many bytes it holds.
    pub const fn capacity(self) -> usize {
        match self.0 {
            0 => CAPACITIES[0],
            1 => CAPACITIES[1],
            2 => CAPACITIES[2],
            _ => CAPACITIES[3],
        }
    }
}

/// Who opens a packet next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// The node that is asked.
    Destination,
    /// The hop before it.
    Last,
    /// The hop between the other two.
    Middle,
    /// The hop that the client speaks to.
    Guard,
}

impl Position {
    /// All of them, from the inside out.
    pub const ALL: [Self; 4] = [Self::Destination, Self::Last, Self::Middle, Self::Guard];

    /// Who comes after it; none after the destination.
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Destination => None,
            Self::Last => Some(Self::Destination),
            Self::Middle => Some(Self::Last),
            Self::Guard => Some(Self::Middle),
        }
    }
}

/// The length of a packet for a position.
pub const fn packet_len(bucket: Bucket, position: Position) -> usize {
    FIRST_HEAD.saturating_add(text_len(bucket, position)).saturating_add(TAG)
}

/// The length of an answer from a position.
pub const fn answer_len(bucket: Bucket, position: Position) -> usize {
    answer_of(answer_text_len(bucket, position))
}

/// What a packet of this length is: its bucket and who opens it. None if no packet has this length.
pub fn packet_shape(length: usize) -> Option<(Bucket, Position)> {
    let bucket = Bucket::ALL.into_iter().find(|bucket| packet_len(*bucket, Position::Guard) >= length)?;
    let position = Position::ALL.into_iter().find(|position| packet_len(bucket, *position) == length)?;
    Some((bucket, position))
}

/// The length of what a layer seals, whichever way the hop is entered.
pub(super) const fn text_len(bucket: Bucket, position: Position) -> usize {
    match position.next() {
        None => DELIVERY.saturating_add(bucket.capacity()),
        Some(next) => ROUTE.saturating_add(packet_len(bucket, next)),
    }
}

/// The same for answers.
pub(super) const fn answer_text_len(bucket: Bucket, position: Position) -> usize {
    match position.next() {
        None => RESULT.saturating_add(bucket.capacity()),
        Some(next) => STATUS.saturating_add(answer_len(bucket, next)),
    }
}

/// The length of an answer whose layer seals so much, whichever way the hop is entered.
pub(super) const fn answer_of(text: usize) -> usize {
    FIRST_ANSWER_HEAD.saturating_add(sealed_len(text))
}

/// The length of a text as Noise messages.
pub(super) const fn sealed_len(text: usize) -> usize {
    text.saturating_add(TAG.saturating_mul(text.div_ceil(RECORD - TAG)))
}

/// The length of the text in Noise messages of this length together.
pub(super) const fn opened_len(sealed: usize) -> usize {
    sealed.saturating_sub(TAG.saturating_mul(sealed.div_ceil(RECORD)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_length_tells_one_shape() {
        let mut lengths = BTreeSet::new();
        for bucket in Bucket::ALL {
            for position in Position::ALL {
                let length = packet_len(bucket, position);
                assert!(length <= MAX_PACKET && answer_len(bucket, position) <= MAX_PACKET);
                assert!(lengths.insert(length), "{length} twice");
                assert_eq!(packet_shape(length), Some((bucket, position)));
                assert!(!lengths.contains(&(length + 1)) && packet_shape(length + 1).is_none());
            }
        }
    }

    #[test]
    fn a_session_needs_no_more_room_than_a_handshake() {
        for bucket in Bucket::ALL {
            for position in Position::ALL {
                let packet = opened_len(packet_len(bucket, position) - SESSION_HEAD);
                assert!(packet >= text_len(bucket, position));
                let answer = opened_len(answer_len(bucket, position) - SESSION_ANSWER_HEAD);
                assert!(answer >= answer_text_len(bucket, position));
            }
        }
    }

    #[test]
    fn sealed_and_opened_lengths_are_each_other_s_opposite() {
        for text in [1, RECORD - TAG - 1, RECORD - TAG, RECORD - TAG + 1, 2 * (RECORD - TAG), 131_077] {
            assert_eq!(opened_len(sealed_len(text)), text);
        }
    }

    #[test]
    fn a_bucket_is_the_smallest_that_fits() {
        let number = |bytes| Bucket::fitting(bytes).map(Bucket::number);
        assert_eq!(
            [0, 2_048, 2_049, 131_072, 131_073].map(number),
            [Some(0), Some(0), Some(1), Some(3), None]
        );
    }
}
