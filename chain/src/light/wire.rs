//! Checkpoints and rolls as they travel and as they are kept.

use std::{collections::BTreeMap, sync::Arc};

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use session_protocols::{
    NodeId, SwarmId, SwarmMap, codec,
    directory::{
        SignedCheckpoint,
        checkpoint::{Events, Head, MAX_MEMBERS, MAX_SIGNATURES, Member, Seats},
    },
    identity::blake2b,
};

use super::{Distrust, Signed};
use crate::{
    bls::BlsSignature,
    ledger::{BlsKey, Border, Checkpoint, Cursor, Cursors, Domain, Listed, Operator, Roll, Roots, StakeId},
};

/// The most bytes of what is kept.
const MAX_BYTES: usize = 8 << 20;

/// A roll as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    members: Vec<Member>,
    acts: Seats,
    next: Option<Seats>,
}

impl Signed {
    /// Reads what was fetched; without members it means those of the roll that is known.
    ///
    /// # Errors
    /// When something in it cannot be.
    pub fn read(domain: &Domain, found: &SignedCheckpoint, known: Option<&Roll>) -> Result<Self, Distrust> {
        let SignedCheckpoint { head, members } = found;
        let members = match known {
            Some(known) if members.is_empty() => known.members.clone(),
            _ => members.iter().map(listed).collect::<Result<Vec<_>, _>>()?,
        };
        if !(1..=MAX_MEMBERS).contains(&members.len()) {
            return Err(Distrust::Form { what: "members" });
        }
        let roll = Roll::seated(members, &head.acts, head.next.as_ref())?;
        let signatures = signatures(head, &roll.members)?;
        let word = |bytes: &ByteArray<32>| B256::new(**bytes);
        let roots = Roots {
            rewards: word(&head.rewards),
            states: word(&head.states),
            swarms: roll.swarms_root(),
            directory: roll.directory_root(),
            names: word(&head.names),
        };
        if roots.directory != word(&head.directory) {
            return Err(Distrust::Form { what: "members" });
        }
        let cursor = |events: Events| Cursor { number: events.number, hash: word(&events.hash) };
        let [staking, checkpoints, pool, names] = head.events.map(cursor);
        let cursors = Cursors { staking, checkpoints, pool, names };
        // Its height is not signed, and does not travel.
        let border = Border { epoch: head.epoch, height: 0, hash: word(&head.block), cursors };
        let checkpoint = Checkpoint::new(domain, border, word(&head.previous), roots);
        Ok(Self { checkpoint, roll: Arc::new(roll), signatures })
    }

    /// The same as it travels.
    pub fn write(&self) -> SignedCheckpoint {
        let Checkpoint { border, previous, roots, .. } = &self.checkpoint;
        let word = |word: &B256| ByteArray::new(word.0);
        let Cursors { staking, checkpoints, pool, names } = border.cursors;
        let events = |cursor: Cursor| Events { number: cursor.number, hash: word(&cursor.hash) };
        let places = self.roll.places();
        let (acts, next) = self.roll.seats();
        let signatures = self.signatures.iter().take(MAX_SIGNATURES);
        let signatures = signatures
            .filter_map(|(node, signature)| Some((*places.get(node)?, ByteArray::new(signature.0))));
        let head = Head {
            epoch: border.epoch,
            block: word(&border.hash),
            previous: word(previous),
            events: [staking, checkpoints, pool, names].map(events),
            rewards: word(&roots.rewards),
            states: word(&roots.states),
            directory: word(&roots.directory),
            names: word(&roots.names),
            acts,
            next,
            signatures: signatures.collect(),
        };
        SignedCheckpoint { head, members: self.roll.members.iter().map(member).collect() }
    }

    /// Reads what [`Self::to_bytes`] wrote. Who has signed it is not looked at: that was done before it was kept.
    ///
    /// # Errors
    /// When the bytes are none that it writes, damaged, or of another network.
    pub fn from_bytes(domain: &Domain, bytes: &[u8]) -> Result<Self, Distrust> {
        let (seal, body) = bytes.split_first_chunk().ok_or(Distrust::Bytes)?;
        let found: SignedCheckpoint = codec::decode(body, MAX_BYTES).map_err(|_| Distrust::Bytes)?;
        let signed = Self::read(domain, &found, None)?;
        if signed.seal(body) == *seal { Ok(signed) } else { Err(Distrust::Bytes) }
    }

    /// The bytes to keep: a hash over digest and body, and the body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = codec::encode(&self.write());
        [&self.seal(&body)[..], &body].concat()
    }

    fn seal(&self, body: &[u8]) -> [u8; 32] {
        blake2b(&[b"session checkpoint 1", self.checkpoint.digest.as_slice(), body])
    }
}

impl Roll {
    /// The bytes to keep.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (acts, next) = self.seats();
        codec::encode(&Kept { members: self.members.iter().map(member).collect(), acts, next })
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are none that it writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Distrust> {
        let Kept { members, acts, next } = codec::decode(bytes, MAX_BYTES).map_err(|_| Distrust::Bytes)?;
        let members = members.iter().map(listed).collect::<Result<_, _>>()?;
        Self::seated(members, &acts, next.as_ref())
    }

    fn seated(members: Vec<Listed>, acts: &Seats, next: Option<&Seats>) -> Result<Self, Distrust> {
        if !members.is_sorted_by(|one, next| one.node < next.node) {
            return Err(Distrust::Form { what: "members" });
        }
        let acts = map(acts, &members)?;
        let next = next.map(|seats| map(seats, &members)).transpose()?;
        Ok(Self { members, acts, next })
    }

    fn seats(&self) -> (Seats, Option<Seats>) {
        let places = self.places();
        (seats(&self.acts, &places), self.next.as_ref().map(|map| seats(map, &places)))
    }

    fn places(&self) -> BTreeMap<NodeId, u32> {
        self.members.iter().map(|member| member.node).zip(0..).collect()
    }
}

fn listed(member: &Member) -> Result<Listed, Distrust> {
    let prefix = member.prefix.parse().map_err(|_| Distrust::Form { what: "prefix" })?;
    Ok(Listed {
        node: member.node,
        id: StakeId(member.registration),
        operator: Operator::from_bytes(*member.operator),
        prefix,
        bls: member.key.map(|key| BlsKey(*key)),
        now: member.lists & 1 != 0,
        later: member.lists & 2 != 0,
    })
}

fn member(listed: &Listed) -> Member {
    Member {
        node: listed.node,
        registration: listed.id.0,
        operator: ByteArray::new(*listed.operator.as_bytes()),
        prefix: listed.prefix.to_string(),
        key: listed.bls.map(|key| ByteArray::new(key.0)),
        lists: u8::from(listed.now) | (u8::from(listed.later) << 1),
    }
}

fn map(seats: &Seats, members: &[Listed]) -> Result<SwarmMap, Distrust> {
    let form = || Distrust::Form { what: "map" };
    if !seats.swarms.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(form());
    }
    let swarm = |(id, places): &(u64, Vec<u32>)| {
        if !places.is_sorted_by(|one, next| one < next) {
            return Err(form());
        }
        let node = |place: &u32| members.get(usize::try_from(*place).ok()?).map(|member| member.node);
        let nodes = places.iter().map(node).collect::<Option<Vec<_>>>().ok_or_else(form)?;
        Ok((SwarmId(*id), nodes))
    };
    let swarms = seats.swarms.iter().map(swarm).collect::<Result<_, _>>()?;
    Ok(SwarmMap { version: seats.version, swarms })
}

fn seats(map: &SwarmMap, places: &BTreeMap<NodeId, u32>) -> Seats {
    let swarm = |(id, nodes): (&SwarmId, &Vec<NodeId>)| {
        let mut seats: Vec<u32> = nodes.iter().filter_map(|node| places.get(node).copied()).collect();
        seats.sort_unstable();
        (id.0, seats)
    };
    Seats { version: map.version, swarms: map.swarms.iter().map(swarm).collect() }
}

fn signatures(head: &Head, members: &[Listed]) -> Result<BTreeMap<NodeId, BlsSignature>, Distrust> {
    let form = || Distrust::Form { what: "signatures" };
    if !head.signatures.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(form());
    }
    let signature = |(place, bytes): &(u32, ByteArray<96>)| {
        let member = members.get(usize::try_from(*place).ok()?)?;
        Some((member.node, BlsSignature(**bytes)))
    };
    head.signatures.iter().map(signature).collect::<Option<_>>().ok_or_else(form)
}
