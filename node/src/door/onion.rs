//! Onion requests that pass through here: opened, and handed on, answered, or let out.

use std::time::Duration;

use futures::future::BoxFuture;
use session_protocols::{
    NodeId,
    door::{
        Reply, TEXT,
        onion::{Back, DoorKey, MAX_HOPS, NONCE, Passed, Refusal, Step},
        render::Stamp,
    },
};
use tokio::{task::spawn_blocking, time::timeout};

use super::{Behind, Call, Caller, Room, outside::Outside};
use crate::now;

/// How long the next node may take over its answer.
const HOP_TIME: Duration = Duration::from_secs(30);
/// Layers longer than this are opened off the tasks that read, in bytes.
const INLINE: usize = 256 << 10;

/// What goes back over HTTP, or to the node before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The status: 200 to 599.
    pub status: u16,
    /// What HTTP calls the body.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// How onion requests reach other nodes.
pub trait Carry: Send + Sync + 'static {
    /// Hands a layer to the node that opens it, and waits for its answer; how long, the caller decides.
    fn carry(&self, to: NodeId, passed: Passed) -> BoxFuture<'static, Result<Told, Lost>>;
}

/// Why a layer was not handed on, or has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// There is no such node, or no way to it.
    NotFound,
    /// More is under way to it than may be.
    Busy,
    /// It has not answered.
    Silent,
}

/// What passes onion requests on.
pub(crate) struct Onions {
    pub(super) key: DoorKey,
    pub(super) outside: Outside,
    pub(super) behind: Behind,
}

impl Onions {
    /// Takes a layer that a client, or the node `over`, sent; its answer.
    pub(crate) async fn pass(&self, passed: Passed, over: Option<NodeId>, room: Room) -> Told {
        let Passed { mut hops, mut layer } = passed;
        loop {
            let (step, back) = match self.open(layer).await {
                Ok(opened) => opened,
                Err(told) => return told,
            };
            match step {
                Step::Forward { .. } if hops >= MAX_HOPS => {
                    return Reply::text(400, "Invalid onion request: hop limit exceeded").into();
                }
                // It names this node twice in a row.
                Step::Forward { to, layer: next } if to == self.behind.me => (hops, layer) = (hops + 1, next),
                Step::Forward { to, layer } => {
                    return self.hand_on(to, Passed { hops: hops + 1, layer }).await;
                }
                Step::Leave { server, body } => match self.outside.post(&server, body, &room).await {
                    Ok(answer) => return sealed(answer),
                    // The client keeps the key that it shares with the server alone.
                    Err(refusal) => return refusal.into(),
                },
                Step::Deliver(body) => {
                    let call = Call { body, caller: Caller::Onion(over) };
                    let reply = self.behind.service.answer(call, room).await;
                    return self.seal(back, reply).await;
                }
            }
        }
    }

    async fn open(&self, layer: session_protocols::door::onion::Layer) -> Result<(Step, Back), Told> {
        let opened = if layer.sealed.len() > INLINE {
            let key = self.key.clone();
            spawn_blocking(move || layer.open(&key)).await.unwrap_or(Err(Refusal::Sealed))
        } else {
            layer.open(&self.key)
        };
        opened.map_err(|refusal| match nonce() {
            Some(nonce) => refusal.reply(self.stamp(), nonce).map_or_else(sealed, Told::from),
            None => unrandom(),
        })
    }

    async fn hand_on(&self, to: NodeId, passed: Passed) -> Told {
        let carried = timeout(HOP_TIME, self.behind.carry.carry(to, passed)).await;
        let (status, text) = match carried {
            Ok(Ok(told)) => return told,
            Ok(Err(Lost::NotFound)) => (502, format!("Next node not found: {to}")),
            Ok(Err(Lost::Busy)) => (503, "Too many requests are under way to the next node".to_owned()),
            Ok(Err(Lost::Silent)) | Err(_) => (504, "Request time out".to_owned()),
        };
        Reply::text(status, text).into()
    }

    async fn seal(&self, back: Back, reply: Reply) -> Told {
        let Some(nonce) = nonce() else { return unrandom() };
        let stamp = self.stamp();
        if reply.body.len() > INLINE {
            let body = spawn_blocking(move || back.seal(&reply, stamp, nonce)).await;
            return body.map_or_else(|_| unrandom(), sealed);
        }
        sealed(back.seal(&reply, stamp, nonce))
    }

    /// What answers say that are sealed here.
    fn stamp(&self) -> Stamp {
        Stamp { time: now().as_millis(), rules: self.behind.listing.borrow().rules() }
    }
}

/// The answer of the last node or of a server, which the others pass back as it is.
fn sealed(body: Vec<u8>) -> Told {
    Told { status: 200, kind: TEXT, body }
}

fn unrandom() -> Told {
    Reply::text(500, "no answer can be sealed").into()
}

fn nonce() -> Option<[u8; NONCE]> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).ok()?;
    Some(nonce)
}
