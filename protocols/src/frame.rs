//! Frames: how many conversations share one kept stream.
//!
//! A frame is a head of 9 bytes and a payload: length of the payload (4 bytes, big-endian), the
//! conversation's number (4 bytes, big-endian, chosen by the side that opened the stream), the kind.
//! The opener asks and the other side answers; an event is a further word about an answered request.

/// Length of a frame's head, in bytes.
pub const HEAD: usize = 9;

/// What a frame is within its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From the opener: opens a conversation.
    Request,
    /// To the opener: ends it, or starts its events.
    Answer,
    /// To the opener: one of any number.
    Event,
    /// From the opener: it wants no more events. To the opener: none will follow, nor an answer.
    Close,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Length of the payload, in bytes.
    pub len: u32,
    /// The conversation's number.
    pub id: u32,
    /// What the payload is.
    pub kind: Kind,
}

impl Head {
    /// The 9 bytes.
    pub const fn encode(self) -> [u8; HEAD] {
        let kind = match self.kind {
            Kind::Request => 0,
            Kind::Answer => 1,
            Kind::Event => 2,
            Kind::Close => 3,
        };
        let [a, b, c, d] = self.len.to_be_bytes();
        let [e, f, g, h] = self.id.to_be_bytes();
        [a, b, c, d, e, f, g, h, kind]
    }

    /// Reads the 9 bytes; none when the kind is unknown or the payload longer than `max`.
    pub const fn decode(bytes: [u8; HEAD], max: u32) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, kind] = bytes;
        let kind = match kind {
            0 => Kind::Request,
            1 => Kind::Answer,
            2 => Kind::Event,
            3 => Kind::Close,
            _ => return None,
        };
        let len = u32::from_be_bytes([a, b, c, d]);
        let id = u32::from_be_bytes([e, f, g, h]);
        if len > max { None } else { Some(Self { len, id, kind }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_these_bytes() {
        let head = Head { len: 0x0102, id: 7, kind: Kind::Event };
        assert_eq!(head.encode(), [0, 0, 1, 2, 0, 0, 0, 7, 2]);
        assert_eq!(Head::decode(head.encode(), 0x0102), Some(head));
        assert_eq!(Head::decode(head.encode(), 0x0101), None, "longer than allowed");
        assert_eq!(Head::decode([0, 0, 0, 0, 0, 0, 0, 0, 4], 9), None, "unknown kind");
    }
}
