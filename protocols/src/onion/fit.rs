//! Storage answers that end where their bucket ends: the rest follows when it is asked for.

use crate::{
    MessageHash,
    answer::{Answer, Body, Message},
    request::Request,
};

/// What an answer takes beside what it lists, in bytes: generously.
const HEAD: usize = 256;
/// What a message takes beside its data.
const MESSAGE: usize = 128;
/// What a hash takes.
const HASH: usize = 34;
/// What a hash takes with the end of its message.
const END: usize = 64;

/// Lets a request whose signature was checked ask for no more than `capacity` bytes. One message comes
/// in any case, and may be more.
pub fn narrow(request: &mut Request, capacity: usize) {
    let Request::Retrieve(retrieve) = request else { return };
    let room = capacity.saturating_sub(HEAD);
    // Where hashes are certain they may fill the room; messages share it with what each takes.
    let (count, size) = if retrieve.ids == Some(crate::request::Ids::Always) {
        (room / HASH, room)
    } else {
        let count = (room / 4 / MESSAGE).max(1);
        (count, room.saturating_sub(count.saturating_mul(MESSAGE)))
    };
    let least = |asked: Option<u32>, most: usize| {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        Some(asked.map_or(most, |asked| asked.min(most)))
    };
    retrieve.max_count = least(retrieve.max_count, count);
    retrieve.max_size = least(retrieve.max_size, size);
}

/// Cuts an answer to `capacity` bytes: of messages that were asked for by these hashes, of which one stays in
/// any case, or of their ends.
pub fn trim(answer: &mut Answer, asked: &[MessageHash], capacity: usize) {
    if let Body::Expiries { ends, more } = &mut answer.body {
        let fits = capacity.saturating_sub(HEAD) / END;
        *more |= ends.len() > fits;
        ends.truncate(fits);
    }
    let Body::Fetched { messages, hashes } = &mut answer.body else { return };
    let mut bytes = HEAD;
    let fits = |message: &Message| {
        bytes = bytes.saturating_add(message.data.len()).saturating_add(MESSAGE);
        bytes <= capacity
    };
    let kept = messages.iter().map(fits).take_while(|fits| *fits).count().max(1);
    let Some(first) = messages.get(kept).map(|message| message.hash) else { return };
    let dealt = asked.iter().position(|hash| *hash == first).and_then(|at| u32::try_from(at).ok());
    *hashes = dealt.filter(|dealt| *dealt > 0).unwrap_or(1).min(*hashes);
    messages.truncate(kept);
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::{
        AccountId, Namespace, codec,
        onion::size::Bucket,
        request::{Cursor, Ids, Retrieve},
    };

    fn message(number: u8, length: usize) -> Message {
        let data = ByteBuf::from(vec![number; length]);
        Message { hash: MessageHash([number; 32]), timestamp: u64::MAX, expiry: u64::MAX, data }
    }

    const END: Cursor = Cursor { incarnation: u64::MAX, sequence: u64::MAX };

    #[test]
    fn what_a_narrowed_request_brings_fits_its_bucket() {
        for bucket in Bucket::ALL {
            for ids in [None, Some(Ids::Anew), Some(Ids::Always)] {
                let (account, namespace) = (AccountId::from_bytes([5; 33]), Namespace::INBOX);
                let mut request = Request::Retrieve(Retrieve {
                    account,
                    namespace,
                    after: None,
                    last: None,
                    max_count: None,
                    max_size: None,
                    ids,
                    auth: None,
                });
                narrow(&mut request, bucket.capacity());
                let Request::Retrieve(narrowed) = &request else { panic!("another request") };
                let count = narrowed.max_count.unwrap() as usize;
                let each = narrowed.max_size.unwrap() as usize / count;
                let messages = vec![message(1, each); count];
                let pages = [
                    Body::Messages { messages, more: true, cursor: END },
                    Body::Ids { hashes: vec![MessageHash([9; 32]); count], more: true, cursor: END },
                ];
                for body in pages.into_iter().skip(usize::from(ids == Some(Ids::Always))) {
                    let length = codec::encode(&Answer { time: u64::MAX, body }).len();
                    assert!(length <= bucket.capacity(), "{length} in {bucket:?} with {ids:?}");
                }
                let again = request.clone();
                narrow(&mut request, Bucket::ALL[3].capacity());
                assert_eq!(request, again, "nobody is given more than was asked for");
            }
        }
    }

    #[test]
    fn a_trimmed_answer_says_how_far_it_came() {
        let asked: Vec<_> = (0..9).map(|number| MessageHash([number; 32])).collect();
        // The third and the last are not there.
        let there = [0, 1, 3, 4, 5, 6, 7].map(|number| message(number, 500));
        let trimmed = |capacity: usize| {
            let mut answer = Answer { time: 1, body: Body::Fetched { messages: there.to_vec(), hashes: 9 } };
            trim(&mut answer, &asked, capacity);
            let length = codec::encode(&answer).len();
            let Body::Fetched { messages, hashes } = answer.body else { panic!("another answer") };
            (messages.len(), hashes, length)
        };
        let (messages, hashes, length) = trimmed(2_048);
        assert_eq!((messages, hashes), (2, 3), "with the one that is not there");
        assert!(length <= 2_048);
        assert_eq!(trimmed(10).0, 1, "one at least");
        assert_eq!((trimmed(8_192).0, trimmed(8_192).1), (7, 9));
    }
}
