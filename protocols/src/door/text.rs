//! JSON, read where what it makes of memory is bounded: a digit and a comma are two bytes, and a value of some thirty.

use serde_json::Value;

/// The most that a request may hold: each value and each field counts as one, each list as 4 and each object as 16 more,
/// as what is set aside for them before they are filled.
///
/// Twenty requests about five hundred hashes, each with an end of its own, are the greatest batch, and some 21,000.
pub const MAX_VALUES: usize = 32_768;
/// What a list counts for beside what is in it.
const LIST: usize = 4;
/// What an object counts for beside what is in it.
const OBJECT: usize = 16;

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is no JSON.
    Invalid,
    /// It holds more than [`MAX_VALUES`].
    TooMuch,
}

/// Reads a text, whose length was bounded before.
pub(super) fn read(text: &[u8]) -> Result<Value, Unread> {
    if values(text) > MAX_VALUES {
        return Err(Unread::TooMuch);
    }
    serde_json::from_slice(text).map_err(|_| Unread::Invalid)
}

/// How much a text holds, or more than may be; of one that is no JSON, as much as is read of it, or more.
fn values(text: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (1_usize, false, false);
    for byte in text {
        if escaped {
            escaped = false;
            continue;
        }
        let more = match byte {
            b'"' => {
                quoted = !quoted;
                0
            }
            b'\\' => {
                escaped = quoted;
                0
            }
            b',' | b':' if !quoted => 1,
            b'[' if !quoted => LIST,
            b'{' if !quoted => OBJECT,
            _ => 0,
        };
        count = count.saturating_add(more);
        if count > MAX_VALUES {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::{MAX_HASHES, MAX_REQUESTS};

    #[test]
    fn what_stands_in_quotes_counts_for_nothing() {
        for (text, count) in [
            ("", 1),
            ("7", 1),
            ("[]", 1 + LIST),
            ("[1,2]", 2 + LIST),
            (r#"{"a":1,"b":[2,3]}"#, 5 + OBJECT + LIST),
            (r#"["[,,:{","\"[,","\\",7]"#, 4 + LIST),
            (r#"["\\\",[",7]"#, 2 + LIST),
        ] {
            assert_eq!(values(text.as_bytes()), count, "{text}");
        }
    }

    #[test]
    fn the_greatest_batch_is_read_and_a_bomb_is_not() {
        let hashes = vec!["A".repeat(43); MAX_HASHES];
        let params = json!({ "pubkey": "05", "messages": hashes, "expiry": vec![u64::MAX; MAX_HASHES],
            "extend": true, "signature": "x", "subaccount": "x", "subaccount_sig": "x", "pubkey_ed25519": "x" });
        let requests = vec![json!({ "method": "expire", "params": params }); MAX_REQUESTS];
        let batch =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "batch", "params": { "requests": requests } });
        assert_eq!(read(batch.to_string().as_bytes()), Ok(batch));
        for (one, times) in
            [("0,", 5 << 20), ("[],", 3 << 20), (r#"{"":0},"#, 1 << 20), (r#""",[{}],"#, 1 << 20)]
        {
            let bomb = format!(r#"{{"method":"info","params":{{"odd":[{}0]}}}}"#, one.repeat(times));
            assert_eq!(read(bomb.as_bytes()), Err(Unread::TooMuch), "{one}");
        }
        let long = format!(r#""{}""#, "[,".repeat(5 << 20));
        assert_eq!(read(long.as_bytes()).unwrap().as_str().map(str::len), Some(10 << 20), "a text is a text");
    }

    #[test]
    fn what_breaks_off_is_no_json() {
        for text in ["", "[", r#"{"a"#, r#""\"#, "[1,]", "\u{7f}"] {
            assert_eq!(read(text.as_bytes()), Err(Unread::Invalid), "{text}");
        }
    }
}
