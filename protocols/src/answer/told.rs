//! What a member signs for a client of the JSON door: plain ASCII, as such clients expect it.

use crate::{
    MessageHash, Namespace,
    answer::Done,
    record::Mutation,
    request::{Drawers, Ends, Which},
};

/// What a member's signature covers that did this, and left of what it held that `unchanged`:
///
/// - of a store, the message's hash;
/// - of a deletion by hashes, account, hashes asked for, hashes deleted;
/// - of a deletion of whole drawers, account, its time or the bound that was asked for, hashes deleted;
/// - of a change of expiry, account, new ends, hashes asked for, hashes changed, and each hash that was not
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
            let count = match &request.ends {
                Ends::All(_) => 1,
                Ends::Each(ends) => ends.len(),
            };
            let ends = (0..count).map(|place| request.end(place).to_string()).collect();
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
