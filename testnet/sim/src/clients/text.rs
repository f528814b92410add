//! What clients of the JSON door sign, put together here as the README of the protocols says, and what comes
//! of it that most of these texts name no time: the node that takes such a request says when that was.

use session_protocols::{
    Namespace, Time,
    record::Stamp,
    request::{Delete, Direction, Drawers, Ends, Expire, Request, Retrieve, Revoke, Store, Which},
};

use crate::{
    checks::{Change, Deletion, Does, Whole},
    world::World,
};

pub(super) fn store(request: &Store, time: u64) -> Vec<u8> {
    format!("store{}{time}", namespace(request.namespace)).into()
}

pub(super) fn retrieve(request: &Retrieve, time: u64) -> Vec<u8> {
    format!("retrieve{}{time}", namespace(request.namespace)).into()
}

pub(super) fn delete(request: &Delete) -> Vec<u8> {
    match &request.which {
        Which::Hashes(_) => format!("delete{}", hashes(&request.which)).into(),
        Which::In { drawers: of, before: None, .. } => {
            format!("delete_all{}{}", drawers(*of), request.auth.time).into()
        }
        Which::In { drawers: of, before: Some(before), .. } => {
            format!("delete_before{}{before}", drawers(*of)).into()
        }
    }
}

pub(super) fn expire(request: &Expire) -> Vec<u8> {
    let end = match &request.ends {
        Ends::All(end) => end.to_string(),
        Ends::Each(ends) => ends.iter().map(u64::to_string).collect(),
    };
    match &request.which {
        Which::Hashes(_) => {
            let direction = match request.only {
                None => "",
                Some(Direction::Shorten) => "shorten",
                Some(Direction::Extend) => "extend",
            };
            format!("expire{direction}{end}{}", hashes(&request.which)).into()
        }
        Which::In { drawers: of, .. } => format!("expire_all{}{end}", drawers(*of)).into(),
    }
}

pub(super) fn revoke(request: &Revoke) -> Vec<u8> {
    let method = if request.undo { "unrevoke_subaccount" } else { "revoke_subaccount" };
    let tokens = request.tokens.iter().flat_map(|token| token.0);
    format!("{method}{}", request.auth.time).into_bytes().into_iter().chain(tokens).collect()
}

fn namespace(namespace: Namespace) -> String {
    if namespace == Namespace::INBOX { String::new() } else { namespace.0.to_string() }
}

fn drawers(drawers: Drawers) -> String {
    match drawers {
        Drawers::One(one) => namespace(one),
        Drawers::All => "all".to_owned(),
    }
}

fn hashes(which: &Which) -> String {
    which.hashes().iter().map(ToString::to_string).collect()
}

/// Whether nothing that was signed says when.
fn timeless(request: &Request) -> bool {
    match request {
        Request::Delete(request) => request.wants_time(),
        Request::Expire(request) => request.wants_time(),
        _ => false,
    }
}

/// Writes in when a node takes a request, as its door does where the client's text names no time.
pub(crate) fn arrives(request: &mut Request, at: Time) {
    let wants = timeless(request);
    if let Request::Delete(Delete { auth, .. }) | Request::Expire(Expire { auth, .. }) = request
        && wants
    {
        auth.time = at.as_millis();
    }
}

impl World {
    /// Whether the next request is made as clients of the JSON door make it.
    pub(super) fn by_text(&mut self) -> bool {
        self.dice.door.chance(250)
    }

    /// A node takes a request that a client has signed: one without a time has got it now.
    pub(crate) fn took(&mut self, op: u64, attempt: u32, request: &Request) {
        if !timeless(request) {
            return;
        }
        self.means(request);
        if let Some(state) = self.clients.ops.get_mut(&op).filter(|state| state.attempt == attempt) {
            // Receipts for what another node took are about another request.
            state.receipts.clear();
            state.request = request.clone();
        }
    }

    /// Notes what a deletion or a change of expiry may do, unless it has no time yet.
    pub(super) fn asks_for(&mut self, request: &Request) {
        if !timeless(request) {
            self.means(request);
        }
    }

    fn means(&mut self, request: &Request) {
        let (account, which, time, digest, does) = match request {
            Request::Delete(Delete { account, which, auth, .. }) => {
                (*account, which, auth.time, super::digest_of(&self.network, request), Does::Delete)
            }
            Request::Expire(expire) => {
                let Expire { account, which, auth, .. } = expire;
                let digest = super::digest_of(&self.network, request);
                (*account, which, auth.time, digest, Does::Expire(expire.end(0)))
            }
            _ => return,
        };
        let stamp = Stamp { time, digest: digest.unwrap_or_default() };
        if let Which::In { drawers, before, .. } = which {
            let whole = Whole { stamp, drawers: *drawers, before: *before, does, sent: self.now };
            return self.checks.asked_of_drawers(account, whole);
        }
        for hash in which.hashes() {
            let Some(fate) = self.checks.fates.get_mut(hash) else { continue };
            match does {
                Does::Delete => fate.deletions.push(Deletion { stamp, bound: None, acknowledged: false }),
                Does::Expire(expiry) => fate.changes.push(Change { stamp, expiry, acknowledged: false }),
                Does::Replace => {}
            }
        }
    }
}
