//! What is said of names: records, of a name or of a sub-name, that only those read who know what it is called.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256},
    rpc::types::{Filter, Log},
    sol_types::SolEvent,
};
use session_protocols::names::{NameKeys, Value, value::Kind};

use super::{Registrar, RegistrarError, record};
use crate::{
    names::Records,
    settlement::{Replayed, caller::raw, contracts::events::RecordChanged, sender::Call},
};

/// The records of a name or sub-name, as far as the chain is final.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The version of the name that they were set under.
    pub version: u32,
    /// The records.
    pub records: Records,
    /// The height of the newest final block.
    pub height: u64,
}

impl Known {
    /// What is known of a name or sub-name.
    ///
    /// # Errors
    /// When the file of names cannot be read.
    pub fn of(keys: &NameKeys, now: &mut Replayed) -> Result<Self, RegistrarError> {
        let height = now.height;
        let sub = B256::from(keys.sub_id());
        let found = if sub.is_zero() {
            now.names.named(&keys.id())?.map(|entry| (entry.version, entry.records))
        } else {
            now.names.sub_named(&keys.id(), sub)?.map(|entry| (entry.version, entry.records))
        };
        let (version, records) = found.unwrap_or_default();
        Ok(Self { version, records, height })
    }
}

impl Registrar {
    /// Sets a record of a name or sub-name, or takes it away. None when there is nothing to do, as it says so.
    ///
    /// # Errors
    /// When the account does not have the name.
    pub async fn record(
        &self,
        keys: &NameKeys,
        kind: Kind,
        value: Option<&Value>,
        known: &Known,
    ) -> Result<Option<Call>, RegistrarError> {
        let version = self.own(keys.id()).await?.version;
        let number = kind.number();
        let set = known.records.get(&number).filter(|_| known.version == version);
        let wanted = value.map(|value| keys.seal(version, value));
        if set == wanted.as_ref() && !self.changed_since(keys, known.height).await? {
            return Ok(None);
        }
        let to: Address = self.at();
        Ok(Some(raw(to, record(keys, version, number, value))))
    }

    /// What sets those of some records that a name of the account's own does not say as of the newest block.
    pub(super) async fn unsaid(
        &self,
        keys: &NameKeys,
        values: &[Value],
        known: &Known,
    ) -> Result<Vec<Vec<u8>>, RegistrarError> {
        let version = self.own(keys.id()).await?.version;
        let mut said = if known.version == version { known.records.clone() } else { Records::default() };
        for log in self.changes_since(keys, known.height).await? {
            let Ok(change) = RecordChanged::decode_log_data(&log.inner.data) else { continue };
            if change.version != version {
                continue;
            }
            if change.value.is_empty() {
                said.remove(&change.kind);
            } else {
                said.insert(change.kind, change.value.to_vec());
            }
        }
        // Of two of a kind the last counts, as where they are set with the registration.
        let wanted: BTreeMap<u8, &Value> =
            values.iter().map(|value| (value.kind().number(), value)).collect();
        Ok(wanted
            .into_iter()
            .filter(|(kind, value)| said.get(kind) != Some(&keys.seal(version, value)))
            .map(|(kind, value)| record(keys, version, kind, Some(value)))
            .collect())
    }

    /// Whether records of the name or sub-name changed behind a height.
    async fn changed_since(&self, keys: &NameKeys, height: u64) -> Result<bool, RegistrarError> {
        Ok(!self.changes_since(keys, height).await?.is_empty())
    }

    /// What told of such changes.
    async fn changes_since(&self, keys: &NameKeys, height: u64) -> Result<Vec<Log>, RegistrarError> {
        let filter = Filter::new()
            .address(self.at())
            .event_signature(RecordChanged::SIGNATURE_HASH)
            .topic2(B256::from(*keys.id().as_bytes()))
            .topic3(B256::from(keys.sub_id()))
            .from_block(height.saturating_add(1));
        Ok(self.caller.logs(&filter).await?)
    }
}
