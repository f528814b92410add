//! Raw logs become a ledger's inputs, and are counted and hashed as their contracts do it.

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, LogData, U256, keccak256},
    sol_types::SolEvent,
};
use session_protocols::{NodeId, Prefix, Signature};

use super::contracts::{ACTIVE_FOR, Contracts, SUBMITTER_REWARD, events};
use crate::ledger::{
    Amount, BlsKey, Cursor, Cursors, Input, Registration, Share, StakeId, registration::prefix_from,
};

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A contract, or an event, that was not asked for.
    #[error("gave a log that was not asked for")]
    Stray,
    /// Events are left out or come twice.
    #[error("gave event {found} of contract {contract} after event {last}")]
    Number {
        /// Which contract.
        contract: Address,
        /// The number of the event before.
        last: u64,
        /// The number that the log has.
        found: u64,
    },
    /// Not what the contract emits.
    #[error("gave a malformed event of contract {contract}")]
    Malformed {
        /// Which contract.
        contract: Address,
    },
}

/// Counts and hashes the next log of its contract and reads it; none when the ledger has no use for it.
///
/// # Errors
/// When the contract cannot have emitted it next; `cursors` are as they were.
pub fn read(contracts: &Contracts, cursors: &mut Cursors, log: &Log) -> Result<Option<Input>, LogError> {
    let contract = log.address;
    let cursor = contracts.cursor(cursors, contract).ok_or(LogError::Stray)?;
    let malformed = || LogError::Malformed { contract };
    let number = log.data.topics().get(1).ok_or_else(malformed)?;
    let found = u64::try_from(U256::from_be_bytes(number.0)).map_err(|_| malformed())?;
    if cursor.number.checked_add(1) != Some(found) {
        return Err(LogError::Number { contract, last: cursor.number, found });
    }
    let input = input(contracts, contract, &log.data)?;
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

fn input(contracts: &Contracts, contract: Address, log: &LogData) -> Result<Option<Input>, LogError> {
    let malformed = || LogError::Malformed { contract };
    let topic = *log.topics().first().ok_or_else(malformed)?;
    let id = |id: u64| StakeId(id);
    if topic == events::ParameterChanged::SIGNATURE_HASH && contract != contracts.pool {
        let changed: events::ParameterChanged = event(contract, log)?;
        let is = |name| {
            contract == contracts.checkpoints && changed.name == FixedBytes::<32>::right_padding_from(name)
        };
        // Bounds in the contract keep both small.
        return Ok(if is(SUBMITTER_REWARD) {
            let credit = Amount::try_from(changed.value).map_err(|_| malformed())?;
            Some(Input::ChangeCredit { credit })
        } else if is(ACTIVE_FOR) {
            let seconds = u64::try_from(changed.value).map_err(|_| malformed())?;
            Some(Input::ChangeActiveFor { seconds })
        } else {
            None
        });
    }
    let input = if contract == contracts.staking {
        match topic {
            events::Registered::SIGNATURE_HASH => {
                let registered = event(contract, log)?;
                Input::Register(Box::new(registration(&registered).ok_or_else(malformed)?))
            }
            events::ExitRequested::SIGNATURE_HASH => {
                let asked: events::ExitRequested = event(contract, log)?;
                Input::RequestExit { id: id(asked.id), unlocks: asked.unlocksAt }
            }
            events::Removed::SIGNATURE_HASH => {
                let removed: events::Removed = event(contract, log)?;
                Input::Remove { id: id(removed.id) }
            }
            events::BeneficiaryChanged::SIGNATURE_HASH => {
                let changed: events::BeneficiaryChanged = event(contract, log)?;
                let events::BeneficiaryChanged { contributor, beneficiary, .. } = changed;
                Input::ChangeBeneficiary { id: id(changed.id), contributor, beneficiary }
            }
            events::ShareHandedOver::SIGNATURE_HASH => {
                let handed: events::ShareHandedOver = event(contract, log)?;
                Input::HandOver { id: id(handed.id), from: handed.from, to: handed.to }
            }
            _ => return Err(LogError::Stray),
        }
    } else if contract == contracts.pool && topic == events::Released::SIGNATURE_HASH {
        let released: events::Released = event(contract, log)?;
        Input::Release { amount: Amount::try_from(released.amount).map_err(|_| malformed())? }
    } else if contract == contracts.checkpoints && topic == events::Accepted::SIGNATURE_HASH {
        let accepted: events::Accepted = event(contract, log)?;
        let events::Accepted { epoch, submitter, digest, .. } = accepted;
        Input::Accept { epoch, submitter, digest }
    } else if contract == contracts.checkpoints && topic == events::Claimed::SIGNATURE_HASH {
        let _: events::Claimed = event(contract, log)?;
        return Ok(None);
    } else {
        return Err(LogError::Stray);
    };
    Ok(Some(input))
}

fn event<E: SolEvent>(contract: Address, log: &LogData) -> Result<E, LogError> {
    E::decode_log_data_validate(log).map_err(|_| LogError::Malformed { contract })
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
