//! Padding, so that the length of a message says little about its text.

/// Lengths go up in steps of this many bytes.
const STEP: usize = 160;

/// The byte between content and padding.
const END: u8 = 0x80;

/// Appends the end mark and zeros, up to one byte less than a whole number of steps.
pub(super) fn pad(mut content: Vec<u8>) -> Vec<u8> {
    let padded = (content.len() + 2).div_ceil(STEP) * STEP - 1;
    content.push(END);
    content.resize(padded, 0);
    content
}

/// The content without its padding; none when there is no end mark.
///
/// The length is not looked at: clients differ in whether they fill the last step.
pub(super) fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let end = padded.iter().rposition(|byte| *byte != 0)?;
    let (content, rest) = padded.split_at_checked(end)?;
    (rest.first() == Some(&END)).then_some(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_one_less_than_a_step() {
        for (content, padded) in
            [(0, 159), (1, 159), (158, 159), (159, 319), (160, 319), (318, 319), (319, 479), (76_000, 76_159)]
        {
            assert_eq!(pad(vec![7; content]).len(), padded, "{content}");
        }
        assert_eq!(pad(b"hi".to_vec())[..4], [b'h', b'i', 0x80, 0]);
    }

    #[test]
    fn padding_without_an_end_is_refused() {
        assert_eq!(unpad(&[]), None);
        assert_eq!(unpad(&[0; 159]), None);
        assert_eq!(unpad(&[1, 2, 3, 0, 0]), None);
        assert_eq!(unpad(&[0x80]), Some(&[][..]));
        assert_eq!(unpad(&[1, 0x80, 0x80, 0]), Some(&[1, 0x80][..]));
    }

    proptest! {
        #[test]
        fn every_content_comes_back(content: Vec<u8>) {
            let padded = pad(content.clone());
            prop_assert_eq!(padded.len() % STEP, STEP - 1);
            prop_assert!(padded.len() <= content.len() + STEP);
            prop_assert_eq!(unpad(&padded), Some(&content[..]));
        }
    }
}
