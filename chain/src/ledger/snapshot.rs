//! A ledger as bytes, to be kept beside the cursor of whoever feeds it.
//!
//! CBOR; what there is much of is packed into byte strings. The parameters are not part of it: whoever reads
//! a snapshot brings those it was made under.
//!
//! A checkpoint stands for all that the ledger holds right behind its border, so these bytes are believed whoever
//! gives them ([`Ledger::behind`]): another form of them is another checkpoint.

use alloy::primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use session_protocols::{NodeId, SwarmMap, codec};

use super::{
    Amount, BlsKey, Border, Checkpoint, Cursors, Ledger, Member, Operator, Parameters, Refusal, Rewards,
    Share, Stake, StakeId, State,
    registration::{prefix_bytes, prefix_from},
};

/// The version that this build reads and writes. With another one nodes sign other checkpoints: all of them have to
/// change at one border.
pub const VERSION: u16 = 4;
/// The most bytes of a snapshot: some 100,000 nodes.
const MAX_BYTES: usize = 256 << 20;

/// Why a stake's registration was refused; the first has code 1, and 0 says that it was not.
const REFUSALS: [Refusal; 3] = [Refusal::Unsigned, Refusal::Registered, Refusal::Leaving];

/// Why bytes are no snapshot of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not CBOR, or of another shape.
    #[error("not a snapshot of a ledger")]
    Decode(#[from] codec::DecodeError),
    /// Another build wrote it.
    #[error("the ledger's snapshot has version {found}, this build reads {VERSION}")]
    Version {
        /// The snapshot's.
        found: u16,
    },
    /// A value that no ledger has.
    #[error("a snapshot whose {what} cannot be")]
    Value {
        /// Which.
        what: &'static str,
    },
    /// It is not the ledger of that checkpoint, or what is said beside it is not.
    #[error("a ledger that the checkpoint does not stand for")]
    Other,
}

/// What a checkpoint stands for beside the ledger right behind its border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The epoch that ended.
    pub epoch: u64,
    /// The hash of its last block.
    pub block: B256,
    /// The digest of the epoch before.
    pub previous: B256,
    /// How far the numbered events of each contract had come.
    pub cursors: Cursors,
    /// The root of names.
    pub names: B256,
}

impl Beside {
    /// That of a checkpoint.
    pub const fn of(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { border, previous, roots, .. } = checkpoint;
        let Border { epoch, hash, cursors, .. } = *border;
        Self { epoch, block: hash, previous: *previous, cursors, names: roots.names }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u16,
    height: u64,
    time: u64,
    epoch: u64,
    members: Vec<StoredMember>,
    /// Number, node, key, refusal: 137 bytes each.
    stakes: ByteBuf,
    past: Option<SwarmMap>,
    map: SwarmMap,
    next: Option<SwarmMap>,
    /// Account and lifetime total: 36 bytes each.
    totals: ByteBuf,
    carried: ByteArray<16>,
    released: ByteArray<16>,
    credit: ByteArray<16>,
    /// 20 bytes each.
    submitters: ByteBuf,
    active_for: u64,
    minimum_nodes: u64,
    digest: ByteArray<32>,
    accepted: Option<(u64, ByteArray<32>)>,
}

#[derive(Serialize, Deserialize)]
struct StoredMember {
    node: NodeId,
    id: u64,
    operator: ByteArray<20>,
    prefix: ByteArray<7>,
    state: u8,
    registered: u64,
    fee: u16,
    /// Contributor, beneficiary, amount: 56 bytes each.
    shares: ByteBuf,
    since: u64,
    unlocks: Option<u64>,
    locked: u64,
    penalty: u16,
    removed: bool,
    left: bool,
}

impl Ledger {
    /// The ledger as bytes; equal ledgers give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(&self.stored())
    }

    /// The hash of all that the ledger holds, but for the digest of the last checkpoint: that is made of this.
    pub(super) fn commitment(&self) -> B256 {
        let stored = Stored { digest: B256::ZERO.0.into(), ..self.stored() };
        keccak256(codec::encode(&stored))
    }

    fn stored(&self) -> Stored {
        let stake = |(id, stake): (&StakeId, &Stake)| {
            let codes = (1_u8..).zip(REFUSALS);
            let code = codes.filter(|(_, reason)| stake.refused == Some(*reason)).map(|(code, _)| code).max();
            let code = code.unwrap_or_default();
            [&id.0.to_be_bytes()[..], stake.node.as_bytes(), &stake.bls.0, &[code]].concat()
        };
        let total =
            |(account, total): (&Address, &Amount)| [account.as_slice(), &total.0.to_be_bytes()].concat();
        let amount = |amount: Amount| amount.0.to_be_bytes().into();
        let rewards = &self.rewards;
        Stored {
            version: VERSION,
            height: self.height,
            time: self.time,
            epoch: self.epoch,
            members: self.members.iter().map(|(node, member)| StoredMember::new(*node, member)).collect(),
            stakes: self.stakes.iter().flat_map(stake).collect::<Vec<u8>>().into(),
            past: self.past.clone(),
            map: self.map.clone(),
            next: self.next.clone(),
            totals: rewards.totals.iter().flat_map(total).collect::<Vec<u8>>().into(),
            carried: amount(rewards.carried),
            released: amount(rewards.released),
            credit: amount(rewards.credit),
            submitters: rewards
                .submitters
                .iter()
                .flat_map(|one| one.into_array())
                .collect::<Vec<u8>>()
                .into(),
            active_for: self.active_for,
            minimum_nodes: self.minimum_nodes,
            digest: self.digest.0.into(),
            accepted: self.accepted.map(|(epoch, digest)| (epoch, digest.0.into())),
        }
    }

    /// The ledger right behind the border whose checkpoint has this digest, and that checkpoint, whoever gave the
    /// bytes and what is beside them.
    ///
    /// # Errors
    /// When the bytes are none that [`Self::to_bytes`] writes, or the checkpoint does not stand for all of this.
    pub fn behind(
        parameters: Parameters,
        bytes: &[u8],
        beside: &Beside,
        digest: B256,
    ) -> Result<(Self, Checkpoint), SnapshotError> {
        let ledger = Self::from_bytes(parameters, bytes)?;
        let Beside { epoch, block, previous, cursors, names } = *beside;
        let border = Border { epoch, height: ledger.height, hash: block, cursors };
        let checkpoint = Checkpoint::new(&parameters.domain, border, previous, ledger.roots(names));
        let behind = ledger.epoch.checked_sub(1) == Some(epoch) && ledger.digest == digest;
        if behind && checkpoint.digest == digest {
            Ok((ledger, checkpoint))
        } else {
            Err(SnapshotError::Other)
        }
    }

    /// The ledger that [`Self::to_bytes`] wrote under the same parameters.
    ///
    /// # Errors
    /// When the bytes are none that it writes.
    pub fn from_bytes(parameters: Parameters, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let stored: Stored = codec::decode(bytes, MAX_BYTES)?;
        if stored.version != VERSION {
            return Err(SnapshotError::Version { found: stored.version });
        }
        let amount = |bytes: ByteArray<16>| Amount(u128::from_be_bytes(bytes.into_array()));
        let members = stored.members.into_iter().map(|member| Ok((member.node, member.read()?)));
        let stake = |bytes: &[u8; 137]| {
            let id = StakeId(u64::from_be_bytes(part(bytes, 0)));
            let (node, bls) = (NodeId::from_bytes(part(bytes, 8)), BlsKey(part(bytes, 40)));
            let refused = usize::from(bytes[136]).checked_sub(1).and_then(|at| REFUSALS.get(at)).copied();
            (id, Stake { node, bls, refused })
        };
        let total = |bytes: &[u8; 36]| {
            (Address::from(part::<20>(bytes, 0)), Amount(u128::from_be_bytes(part(bytes, 20))))
        };
        let ledger = Self {
            parameters,
            height: stored.height,
            time: stored.time,
            epoch: stored.epoch,
            members: members.collect::<Result<_, SnapshotError>>()?,
            stakes: pieces(&stored.stakes, "stakes")?.map(stake).collect(),
            past: stored.past,
            map: stored.map,
            next: stored.next,
            rewards: Rewards {
                totals: pieces(&stored.totals, "totals")?.map(total).collect(),
                carried: amount(stored.carried),
                released: amount(stored.released),
                submitters: pieces(&stored.submitters, "submitters")?
                    .map(|one: &[u8; 20]| Address::from(*one))
                    .collect(),
                credit: amount(stored.credit),
            },
            active_for: stored.active_for,
            minimum_nodes: stored.minimum_nodes,
            digest: B256::from(stored.digest.into_array()),
            accepted: stored.accepted.map(|(epoch, digest)| (epoch, B256::from(digest.into_array()))),
        };
        // Nothing may be left out, repeated or in another order: a ledger has one encoding.
        if ledger.to_bytes() == bytes { Ok(ledger) } else { Err(SnapshotError::Value { what: "encoding" }) }
    }
}

impl StoredMember {
    fn new(node: NodeId, member: &Member) -> Self {
        let share = |share: &Share| {
            let amount = share.amount.0.to_be_bytes();
            [share.contributor.as_slice(), share.beneficiary.as_slice(), &amount].concat()
        };
        Self {
            node,
            id: member.id.0,
            operator: (*member.operator.as_bytes()).into(),
            prefix: prefix_bytes(member.prefix).into(),
            state: member.state as u8,
            registered: member.registered,
            fee: member.fee,
            shares: member.shares.iter().flat_map(share).collect::<Vec<u8>>().into(),
            since: member.since,
            unlocks: member.unlocks,
            locked: member.locked,
            penalty: member.penalty,
            removed: member.removed,
            left: member.left,
        }
    }

    fn read(self) -> Result<Member, SnapshotError> {
        let share = |bytes: &[u8; 56]| Share {
            contributor: Address::from(part::<20>(bytes, 0)),
            beneficiary: Address::from(part::<20>(bytes, 20)),
            amount: Amount(u128::from_be_bytes(part(bytes, 40))),
        };
        let states = [State::Awaiting, State::Active, State::Decommissioned, State::Deregistered];
        let state = states.into_iter().find(|state| *state as u8 == self.state);
        Ok(Member {
            id: StakeId(self.id),
            operator: Operator::from_bytes(self.operator.into_array()),
            prefix: prefix_from(self.prefix.into_array()).ok_or(SnapshotError::Value { what: "prefix" })?,
            state: state.ok_or(SnapshotError::Value { what: "state" })?,
            registered: self.registered,
            fee: self.fee,
            shares: pieces(&self.shares, "shares")?.map(share).collect(),
            since: self.since,
            unlocks: self.unlocks,
            locked: self.locked,
            penalty: self.penalty,
            removed: self.removed,
            left: self.left,
        })
    }
}

/// Pieces of equal length, which must fill `bytes`.
fn pieces<'a, const LEN: usize>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<impl Iterator<Item = &'a [u8; LEN]>, SnapshotError> {
    let (pieces, rest) = bytes.as_chunks::<LEN>();
    if rest.is_empty() { Ok(pieces.iter()) } else { Err(SnapshotError::Value { what }) }
}

/// `LEN` bytes from `at` on, which the caller knows to be there.
fn part<const LEN: usize>(bytes: &[u8], at: usize) -> [u8; LEN] {
    let mut part = [0; LEN];
    part.iter_mut().zip(bytes.iter().skip(at)).for_each(|(into, byte)| *into = *byte);
    part
}
