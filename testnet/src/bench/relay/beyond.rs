//! What lies behind the relay: the middle hop, to which it forwards, and the two after it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use session_protocols::{
    KeyPair, NodeId, Protocol,
    directory::OnionDoor,
    libp2p::{address::keypair, link},
    onion::{
        keys::Keyring,
        noise::has_aes,
        relay::{Neighbour, Refusal, Relay, Step},
        size::{Position, answer_len},
    },
};

use super::{
    Plan,
    load::{SMALL, limits, listen, now, protocol, random, swarm},
};
use crate::error::TestnetError;

/// Middle, last hop and destination. First packets are opened by all three, so that clients have sessions
/// with them; a session's packet is answered with bytes that only the relay looks at.
#[derive(Clone)]
pub(super) struct Beyond {
    hops: Arc<Mutex<Vec<Machine>>>,
    /// Who they are, and how they are entered.
    pub(super) doors: [(NodeId, OnionDoor); 3],
}

type Machine = Relay<u8, ChaCha20Rng>;

impl Beyond {
    /// Listens where the plan says, and answers the relay from now on.
    pub(super) fn start(plan: &Plan) -> Result<Self, TestnetError> {
        let others = [2, 3].map(|seed| KeyPair::from_seed(&[seed; 32]).node_id());
        let nodes = [plan.beyond.node_id(), others[0], others[1]];
        let all: BTreeSet<_> = nodes.into_iter().collect();
        let (mut hops, mut doors) = (Vec::new(), Vec::new());
        for node in nodes {
            let keys = Keyring::new(now(), random()?).ok_or(TestnetError::Random)?;
            doors.push((node, OnionDoor::of(&keys.current, has_aes())));
            let generator = ChaCha20Rng::from_seed(random()?);
            hops.push(Relay::new(plan.network.name.clone(), node, keys, all.clone(), 0, generator));
        }
        let doors = doors.try_into().map_err(|_| TestnetError::Random)?;
        let beyond = Self { hops: Arc::new(Mutex::new(hops)), doors };
        let key = keypair(&plan.beyond).ok_or(TestnetError::Random)?;
        let (mut swarm, mut control) = swarm(key, plan.transport)?;
        listen(&mut swarm, &plan.network.nodes[1].addresses)?;
        let mut streams = control
            .accept(protocol(plan, Protocol::Onion)?)
            .map_err(|_| TestnetError::Bench("the next hop cannot listen"))?;
        tokio::spawn(async move { while swarm.next().await.is_some() {} });
        let answering = beyond.clone();
        tokio::spawn(async move {
            while let Some((_, stream)) = streams.next().await {
                let (mut requests, run) = link::serve(stream, limits());
                tokio::spawn(run);
                let beyond = answering.clone();
                tokio::spawn(async move {
                    let filler = vec![0x5a; answer_len(SMALL, Position::Middle)];
                    while let Some(incoming) = requests.next().await {
                        let session = incoming.payload.first() == Some(&SESSION);
                        let answer = if session { filler.clone() } else { beyond.pass(incoming.payload) };
                        incoming.reply.answer(answer).await;
                    }
                });
            }
        });
        Ok(beyond)
    }

    fn pass(&self, packet: Vec<u8>) -> Vec<u8> {
        let mut hops = self.hops.lock().unwrap_or_else(PoisonError::into_inner);
        pass(&mut hops, packet).unwrap_or_else(|refusal| refusal.frame().to_vec())
    }
}

/// The first byte of a session's packet.
const SESSION: u8 = 0x12;

/// Takes a packet through the hops from this one on, and brings their answer back.
fn pass(hops: &mut [Machine], packet: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let (hop, rest) = hops.split_first_mut().ok_or(Refusal::Unknown)?;
    let from = Neighbour { key: 0, node: true, prefix: None };
    let opened = hop.arrive(from, packet)?.run()?;
    let sealed = match hop.opened(now(), from, opened)? {
        Step::Forward { packet, back, .. } => back.relay(pass(rest, packet).ok().as_deref()),
        Step::Deliver { request, back, .. } => back.answer(&request),
        Step::Turn { status, back } => back.turn(status),
    }?;
    Ok(hop.leave(now(), from, sealed))
}
