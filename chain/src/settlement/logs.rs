//! Raw logs become a ledger's inputs, and are counted and hashed as their contracts do it.

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, LogData, U256, keccak256},
    sol_types::{SolEvent, SolValue},
};
use session_protocols::{
    NodeId, Prefix, Signature,
    names::{NameId, rules::MAX_LABEL},
};

use super::contracts::{ACTIVE_FOR, Contract, Followed, MINIMUM_NODES, SUBMITTER_REWARD, events};
use crate::ledger::{
    Amount, BlsKey, Cursor, Cursors, Input, Registration, Share, StakeId, registration::prefix_from,
};
use crate::names::Change;

/// A log, as an endpoint tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Which contract.
    pub address: Address,
    /// Topics and data.
    pub data: LogData,
    /// The height of its block.
    pub height: u64,
    /// The hash of its block.
    pub hash: B256,
    /// The time of its block, in seconds since 1970, where the endpoint tells it.
    pub time: Option<u64>,
    /// Its place in the block.
    pub index: u64,
    /// Whether the endpoint takes it back.
    pub removed: bool,
}

/// A log that the contracts cannot have emitted at this point: whoever tells it is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A log of some other contract.
    #[error("a log of {address}, which is none of the contracts")]
    Stray {
        /// Whose.
        address: Address,
    },
    /// Events are left out, come twice, or in another order.
    #[error("event {found} of {contract} after event {last}")]
    Number {
        /// Whose.
        contract: Contract,
        /// The number of the event before.
        last: u64,
        /// The number that the log has.
        found: u64,
    },
    /// Not what the contract emits.
    #[error("something that is no event of {contract} for event {number}")]
    Malformed {
        /// Whose.
        contract: Contract,
        /// The number of the event that it should be.
        number: u64,
    },
}

/// Counts and hashes the next log of its contract and reads it; none when the ledger has no use for it.
///
/// # Errors
/// When the contract cannot have emitted it next; `cursors` are as they were.
pub fn read(followed: &Followed, cursors: &mut Cursors, log: &Log) -> Result<Option<Input>, LogError> {
    let contract = followed.contract(log.address).ok_or(LogError::Stray { address: log.address })?;
    let cursor = contract.cursor_mut(cursors);
    let last = cursor.number;
    let malformed = LogError::Malformed { contract, number: last.saturating_add(1) };
    let number = log.data.topics().get(1).ok_or(malformed)?;
    let found = u64::try_from(U256::from_be_bytes(number.0)).map_err(|_| malformed)?;
    if last.checked_add(1) != Some(found) {
        return Err(LogError::Number { contract, last, found });
    }
    let input = input(contract, &log.data).ok_or(malformed)?;
    *cursor = roll(cursor, &log.data);
    Ok(input)
}

/// The cursor behind one more event.
pub fn roll(cursor: &Cursor, log: &LogData) -> Cursor {
    let mut event: Vec<u8> = log.topics().iter().flat_map(|topic| topic.0).collect();
    event.extend(&log.data);
    let hash = keccak256([cursor.hash.0, keccak256(event).0].concat());
    Cursor { number: cursor.number.saturating_add(1), hash }
}

/// What an event tells the ledger, if anything; none when it is not the contract's.
fn input(contract: Contract, log: &LogData) -> Option<Option<Input>> {
    match contract {
        Contract::Staking => staking(log),
        Contract::Checkpoints => checkpoints(log),
        Contract::Names => names(log),
        Contract::Pool => {
            let released: events::Released = event(log)?;
            Some(Some(Input::Release { amount: Amount::try_from(released.amount).ok()? }))
        }
    }
}

fn staking(log: &LogData) -> Option<Option<Input>> {
    Some(Some(match *log.topics().first()? {
        events::Registered::SIGNATURE_HASH => Input::Register(Box::new(registration(&event(log)?)?)),
        events::ExitRequested::SIGNATURE_HASH => {
            let asked: events::ExitRequested = event(log)?;
            Input::RequestExit { id: StakeId(asked.id), unlocks: asked.unlocksAt }
        }
        events::Removed::SIGNATURE_HASH => {
            let removed: events::Removed = event(log)?;
            Input::Remove { id: StakeId(removed.id) }
        }
        events::BeneficiaryChanged::SIGNATURE_HASH => {
            let changed: events::BeneficiaryChanged = event(log)?;
            let events::BeneficiaryChanged { id, contributor, beneficiary, .. } = changed;
            Input::ChangeBeneficiary { id: StakeId(id), contributor, beneficiary }
        }
        events::ShareHandedOver::SIGNATURE_HASH => {
            let handed: events::ShareHandedOver = event(log)?;
            Input::HandOver { id: StakeId(handed.id), from: handed.from, to: handed.to }
        }
        // None of its parameters is the nodes' business.
        events::ParameterChanged::SIGNATURE_HASH => {
            let _: events::ParameterChanged = event(log)?;
            return Some(None);
        }
        _ => return None,
    }))
}

fn checkpoints(log: &LogData) -> Option<Option<Input>> {
    match *log.topics().first()? {
        events::Accepted::SIGNATURE_HASH => {
            let events::Accepted { epoch, submitter, digest, .. } = event(log)?;
            Some(Some(Input::Accept { epoch, submitter, digest }))
        }
        events::ParameterChanged::SIGNATURE_HASH => {
            let changed: events::ParameterChanged = event(log)?;
            let is = |name| changed.name == FixedBytes::<32>::right_padding_from(name);
            // Bounds in the contract keep all of them small.
            if is(SUBMITTER_REWARD) {
                let credit = Amount::try_from(changed.value).ok()?;
                Some(Some(Input::ChangeCredit { credit }))
            } else if is(ACTIVE_FOR) {
                let seconds = u64::try_from(changed.value).ok()?;
                Some(Some(Input::ChangeActiveFor { seconds }))
            } else if is(MINIMUM_NODES) {
                let nodes = u64::try_from(changed.value).ok()?;
                Some(Some(Input::ChangeMinimumNodes { nodes }))
            } else {
                Some(None)
            }
        }
        _ => None,
    }
}

fn names(log: &LogData) -> Option<Option<Input>> {
    let id = |id: U256| NameId::from_bytes(id.to_be_bytes());
    Some(Some(Input::Name(match *log.topics().first()? {
        events::NameRegistered::SIGNATURE_HASH => {
            let it: events::NameRegistered = event(log)?;
            let (owner, version) = (it.owner, it.version);
            Change::Registered { id: id(it.id), owner, expires: it.expiry.to(), version }
        }
        events::NameRenewed::SIGNATURE_HASH => {
            let it: events::NameRenewed = event(log)?;
            Change::Renewed { id: id(it.id), expires: it.expiry.to() }
        }
        events::NameTransferred::SIGNATURE_HASH => {
            let it: events::NameTransferred = event(log)?;
            Change::Transferred { id: id(it.id), owner: it.owner, version: it.version }
        }
        events::RecordChanged::SIGNATURE_HASH => {
            let events::RecordChanged { id: name, subId: sub, version, kind, value, .. } = event(log)?;
            Change::Record { id: id(name), sub, version, kind, value: value.into() }
        }
        events::ReverseChanged::SIGNATURE_HASH => {
            let it: events::ReverseChanged = event(log)?;
            Change::Reverse { account: it.account, id: id(it.id) }
        }
        events::NameRevealed::SIGNATURE_HASH => {
            // Not as the text that is declared: the contract lets any bytes be it.
            let [_, _, name] = log.topics() else { return None };
            let (version, called) = <(u32, Bytes)>::abi_decode_params_validate(&log.data).ok()?;
            let Some(called) = written(&called) else { return Some(None) };
            Change::Revealed { id: NameId::from_bytes(name.0), version, name: called }
        }
        events::PriceChanged::SIGNATURE_HASH => {
            let it: events::PriceChanged = event(log)?;
            Change::Price { id: id(it.id), version: it.version, price: Amount(it.price.to()) }
        }
        events::OfferMade::SIGNATURE_HASH => {
            let events::OfferMade { id: name, buyer, version, amount, until, .. } = event(log)?;
            let (amount, until) = (Amount(amount.to()), until.to());
            Change::Offered { id: id(name), version, buyer, amount, until }
        }
        events::OfferWithdrawn::SIGNATURE_HASH => {
            let it: events::OfferWithdrawn = event(log)?;
            Change::Withdrawn { id: id(it.id), buyer: it.buyer }
        }
        // What names cost is asked of the contract.
        events::ParameterChanged::SIGNATURE_HASH => {
            let _: events::ParameterChanged = event(log)?;
            return Some(None);
        }
        _ => return None,
    })))
}

/// What a name is called, if it is written as names are. The bytes alone decide: all nodes have to keep the same,
/// whatever tables of Unicode they were built with.
fn written(called: &[u8]) -> Option<String> {
    let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let is_label = (1..=MAX_LABEL).contains(&called.len()) && called.iter().all(allowed);
    is_label.then(|| called.iter().copied().map(char::from).collect())
}

fn event<E: SolEvent>(log: &LogData) -> Option<E> {
    E::decode_log_data_validate(log).ok()
}

fn registration(event: &events::Registered) -> Option<Registration> {
    let mut signature = [0; 64];
    let (r, s) = signature.split_at_mut(32);
    r.copy_from_slice(event.signatureR.as_slice());
    s.copy_from_slice(event.signatureS.as_slice());
    // A prefix that is none was not signed by any node: without a signature the ledger refuses it too, and
    // still knows that the contract holds the stake.
    let prefix = prefix_from(event.prefix.0).unwrap_or_else(|| {
        signature = [0; 64];
        Prefix::V4([0; 3])
    });
    let share = |share: &events::Share| {
        let (contributor, beneficiary) = (share.contributor, share.beneficiary);
        Some(Share { contributor, beneficiary, amount: Amount::try_from(share.amount).ok()? })
    };
    Some(Registration {
        id: StakeId(event.id),
        node: NodeId::from_bytes(event.ed25519Key.0),
        signature: Signature(signature),
        operator: event.operator,
        prefix,
        fee: event.fee,
        bls: BlsKey(<[u8; 96]>::try_from(event.blsKey.as_ref()).ok()?),
        shares: event.shares.iter().map(share).collect::<Option<_>>()?,
    })
}

/// Appends a log, of a block of this time, to what goes into a digest: unambiguous, since lengths come first.
pub(super) fn append(log: &Log, time: u64, into: &mut Vec<u8>) {
    let Log { address, data, height, hash, .. } = log;
    into.extend(address);
    into.extend((data.topics().len() as u64).to_be_bytes());
    data.topics().iter().for_each(|topic| into.extend(topic));
    let bytes: &Bytes = &data.data;
    into.extend((bytes.len() as u64).to_be_bytes());
    into.extend(bytes);
    into.extend(height.to_be_bytes());
    into.extend(hash);
    into.extend(time.to_be_bytes());
}

#[cfg(test)]
mod tests;
