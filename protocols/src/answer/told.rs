//! What a member signs for a client of the JSON door: plain ASCII, as such clients expect it.

use std::collections::BTreeMap;

use crate::{
    MessageHash, Namespace,
    answer::Done,
    record::Mutation,
    request::{Drawers, Ends, Expire, Which},
};

/// What a member's signature covers that did this, and left of what it held that `unchanged`:
///
/// - of a store, the message's hash;
/// - of a deletion by hashes, account, hashes asked for, hashes deleted;
/// - of a deletion of whole drawers, account, its time or the bound that was asked for, hashes deleted;
/// - of a change of expiry, account, new [`ends`], hashes asked for, hashes changed, and each hash that was not
///   changed with its end; of whole drawers, account, new end, hashes changed;
/// - of revocations, account, time, the tokens' bytes.
///
/// The hashes of the answer are in the order of their text.
pub fn text(
    mutation: &Mutation,
    listed: &[(Namespace, MessageHash)],
    unchanged: &[(MessageHash, u64)],
) -> Vec<u8> {
    let changed = sorted(listed.iter().map(|(_, hash)| hash));
    let account = mutation.account().to_string();
    let parts = match mutation {
        Mutation::Store(request) => vec![request.hash().to_string()],
        Mutation::Replace { .. } => Vec::new(),
        Mutation::Delete { request, .. } => {
            let asked = match &request.which {
                Which::Hashes(hashes) => request.auth.form.spell(hashes),
                Which::In { before, .. } => vec![before.unwrap_or(request.auth.time).to_string()],
            };
            [vec![account], asked, changed].concat()
        }
        Mutation::Expire { request, .. } => {
            let ends = ends(request, listed).iter().map(u64::to_string).collect();
            let asked = request.auth.form.spell(request.which.hashes());
            let mut left: Vec<_> = unchanged.iter().map(|(hash, end)| (hash.to_string(), end)).collect();
            left.sort_unstable();
            let left = match (&request.which, request.only) {
                (Which::Hashes(_), Some(_)) => {
                    left.into_iter().map(|(hash, end)| format!("{hash}{end}")).collect()
                }
                (Which::Hashes(_), None) | (Which::In { .. }, _) => Vec::new(),
            };
            [vec![account], ends, asked, changed, left].concat()
        }
        Mutation::Revoke { request, .. } => {
            let mut text = format!("{account}{}", request.auth.time).into_bytes();
            text.extend(request.tokens.iter().flat_map(|token| token.0));
            return text;
        }
    };
    parts.concat().into_bytes()
}

/// The ends that a member tells which changed what is `listed`: the one that was asked for, as far off as it may
/// be; where each message was to have its own, those of the ones that were changed, in the order of the answer.
pub fn ends(request: &Expire, listed: &[(Namespace, MessageHash)]) -> Vec<u64> {
    if matches!(request.ends, Ends::All(_)) {
        return vec![request.end(0)];
    }
    let mut places = BTreeMap::new();
    for (place, hash) in request.which.hashes().iter().enumerate() {
        // Of a hash that is named twice the first end counts.
        places.entry(hash).or_insert(place);
    }
    let end = |hash: &MessageHash| request.end(places.get(hash).copied().unwrap_or_default());
    let mut ends: Vec<_> = listed.iter().map(|(_, hash)| (hash.to_string(), end(hash))).collect();
    ends.sort_unstable();
    ends.into_iter().map(|(_, end)| end).collect()
}

/// Hashes in the order of their text, which is not that of their bytes.
pub fn sorted<'a>(hashes: impl Iterator<Item = &'a MessageHash>) -> Vec<String> {
    let mut sorted: Vec<_> = hashes.map(MessageHash::to_string).collect();
    sorted.sort_unstable();
    sorted
}

/// Whether an answer lists what it is about by drawers.
pub const fn by_drawers(which: &Which) -> bool {
    matches!(which, Which::In { drawers: Drawers::All, .. })
}

/// Whether somebody did something to a message.
pub fn anything(done: &Done) -> bool {
    match done {
        Done::Keeps { .. } => true,
        Done::Changed { hashes } => !hashes.is_empty(),
    }
}
