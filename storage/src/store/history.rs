//! Random histories whose effects fit together, played to the model and to the store alike.

use std::collections::BTreeMap;

use proptest::prelude::*;
use session_protocols::{
    AccountId, MessageHash, Namespace, Signature,
    record::{Change, Life, Mutation, Place, Record, Stamp},
    request::{Auth, Delete, Ends, Expire, Form, Store as StoreRequest, Which},
    store::{Bucket, Effect, Entry, Store, StoreError, Transaction, memory::MemoryStore},
};

/// One thing that happens to a store.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put { account: u8, hash: u8, drawer: u8, size: u32, hours: u64, signed: bool },
    Delete { account: u8, hashes: Vec<u8> },
    Expire { account: u8, hashes: Vec<u8>, hours: u64 },
    Forget { hours: u64 },
    Retire { hours: u64 },
    Commit,
    Reopen,
}

const DRAWERS: [Namespace; 3] = [Namespace(-7), Namespace(0), Namespace(11)];
const ACCOUNTS: u8 = 4;
const HASHES: u8 = 10;

pub(crate) fn steps(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), count)
}

fn step() -> impl Strategy<Value = Step> {
    let account = 0..ACCOUNTS;
    let hashes = || proptest::collection::vec(0..HASHES, 1..4);
    let size = prop_oneof![8 => 0_u32..3_000, 1 => 60_000_u32..76_800];
    prop_oneof![
        12 => (account.clone(), 0..HASHES, 0_u8..3, size, 1_u64..9, any::<bool>()).prop_map(
            |(account, hash, drawer, size, hours, signed)| Step::Put { account, hash, drawer, size, hours, signed }
        ),
        3 => (account.clone(), hashes()).prop_map(|(account, hashes)| Step::Delete { account, hashes }),
        3 => (account, hashes(), 1_u64..9).prop_map(|(account, hashes, hours)| Step::Expire { account, hashes, hours }),
        2 => (0_u64..9).prop_map(|hours| Step::Forget { hours }),
        1 => (0_u64..900).prop_map(|hours| Step::Retire { hours }),
        8 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

pub(crate) fn account(number: u8) -> AccountId {
    let mut bytes = [number; 33];
    bytes[0] = 5;
    AccountId::from_bytes(bytes)
}

/// What every store that plays the same steps does; the model says what is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Player {
    pub(crate) model: MemoryStore,
    /// Every mutation there ever was.
    pub(crate) written: BTreeMap<u64, Mutation>,
    /// Which life of the store it should be in.
    pub(crate) incarnation: u64,
    clock: u64,
}

impl Player {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self { model: MemoryStore::new(incarnation), incarnation, ..Self::default() }
    }

    /// Plays a step to the model and to `store`.
    pub(crate) fn play<T: Transaction>(&mut self, step: &Step, store: &mut T) -> Result<(), StoreError> {
        self.clock += 1;
        let row = self.model.head() + 1;
        let stamp = Stamp { time: self.clock, digest: [self.clock as u8; 32] };
        let auth = Auth {
            key: None,
            time: self.clock,
            signature: Signature([7; 64]),
            subaccount: None,
            form: Form::Statement,
        };
        let entry = match step {
            Step::Put { account: number, hash, drawer, size, hours, signed } => {
                let (account, hash) = (account(*number), MessageHash([*hash; 32]));
                let before = self.model.record(&account, &hash)?;
                let (timestamp, expiry) = (self.clock, hours * Bucket::MILLIS + self.clock);
                let mut after = before.unwrap_or_default();
                after.life = Some(match signed {
                    true => Life::Stored { stamp, timestamp, expiry, row },
                    false => Life::Unsigned { timestamp, expiry },
                });
                let fresh = Place { sequence: row, row, namespace: DRAWERS[*drawer as usize], size: *size };
                let place = after.place.filter(|_| before.is_some());
                after.place = Some(match place {
                    Some(place) if *signed => Place { row, ..place },
                    Some(place) => place,
                    None => fresh,
                });
                let data = vec![row as u8; *size as usize].into();
                let namespace = DRAWERS[*drawer as usize];
                let request = StoreRequest {
                    account,
                    namespace,
                    timestamp,
                    expiry,
                    data,
                    auth: signed.then_some(auth),
                };
                let keeps = *signed || place.is_none();
                Entry {
                    mutation: keeps.then_some(Mutation::Store(request)),
                    evidence_until: None,
                    effects: vec![Effect { account, hash, before, after: Some(after) }],
                }
            }
            Step::Delete { account: number, hashes } => {
                let account = account(*number);
                let hashes = self.hashes(hashes);
                let mut effects = Vec::new();
                for hash in &hashes {
                    let before = self.model.record(&account, hash)?;
                    let life = Some(Life::Deleted { stamp, row });
                    let after = Record { life, change: before.and_then(|before| before.change), place: None };
                    effects.push(Effect { account, hash: *hash, before, after: Some(after) });
                }
                let until = effects[0].after.unwrap().until();
                let request = Delete { account, which: Which::Hashes(hashes.clone()), required: false, auth };
                Entry {
                    mutation: Some(Mutation::Delete { request, held: hashes }),
                    evidence_until: Some(until),
                    effects,
                }
            }
            Step::Expire { account: number, hashes, hours } => {
                let account = account(*number);
                let hashes = self.hashes(hashes);
                let expiry = hours * Bucket::MILLIS + self.clock;
                let mut effects = Vec::new();
                for hash in &hashes {
                    let before = self.model.record(&account, hash)?;
                    let mut after = before.unwrap_or_default();
                    after.change = Some(Change { stamp, expiry, row });
                    effects.push(Effect { account, hash: *hash, before, after: Some(after) });
                }
                let request = Expire {
                    account,
                    which: Which::Hashes(hashes.clone()),
                    ends: Ends::All(expiry),
                    only: None,
                    auth,
                };
                Entry {
                    mutation: Some(Mutation::Expire { request, held: hashes }),
                    evidence_until: Some(expiry),
                    effects,
                }
            }
            Step::Forget { hours } => {
                let due = self.model.due(hours * Bucket::MILLIS, 3)?;
                assert_eq!(due, store.due(hours * Bucket::MILLIS, 3)?);
                let due: std::collections::BTreeSet<_> = due.into_iter().collect();
                let effects: Vec<_> = due
                    .into_iter()
                    .map(|(account, hash)| {
                        let before = self.model.record(&account, &hash).unwrap();
                        Effect { account, hash, before, after: None }
                    })
                    .collect();
                if effects.is_empty() {
                    return Ok(());
                }
                Entry { mutation: None, evidence_until: None, effects }
            }
            Step::Retire { hours } => {
                let retired = self.model.retire(hours * Bucket::MILLIS, 2)?;
                assert_eq!(store.retire(hours * Bucket::MILLIS, 2)?, retired);
                return Ok(());
            }
            Step::Commit | Step::Reopen => return Ok(()),
        };
        if let Some(mutation) = &entry.mutation {
            self.written.insert(row, mutation.clone());
        }
        assert_eq!(self.model.append(entry.clone())?, row);
        assert_eq!(store.append(entry)?, row);
        Ok(())
    }

    fn hashes(&self, numbers: &[u8]) -> Vec<MessageHash> {
        let unique: std::collections::BTreeSet<_> = numbers.iter().collect();
        unique.into_iter().map(|number| MessageHash([*number; 32])).collect()
    }

    /// How many messages there are by the model.
    pub(crate) fn messages(&self) -> u64 {
        self.model.records().filter(|(_, _, record)| record.place.is_some()).count() as u64
    }

    /// Says where the store differs from the model.
    pub(crate) fn check<S: Store>(&self, store: &S) {
        let model = &self.model;
        assert_eq!(store.head(), model.head());
        assert_eq!(store.incarnation(), self.incarnation);
        assert_eq!(store.occupied(), model.occupied());
        assert_eq!(store.fingerprints(), model.fingerprints());
        for number in 0..ACCOUNTS {
            let account = account(number);
            assert_eq!(store.usage(&account).unwrap(), model.usage(&account).unwrap());
            assert_eq!(store.drawers(&account).unwrap(), model.drawers(&account).unwrap());
            for hash in (0..HASHES).map(|number| MessageHash([number; 32])) {
                assert_eq!(store.record(&account, &hash).unwrap(), model.record(&account, &hash).unwrap());
            }
            for namespace in DRAWERS {
                let mut from = 0;
                loop {
                    let page = store.page(&account, namespace, from, 3).unwrap();
                    assert_eq!(page, model.page(&account, namespace, from, 3).unwrap());
                    let Some((last, _)) = page.last() else { break };
                    from = *last;
                }
            }
        }
        for now in [0, 3 * Bucket::MILLIS, 9 * Bucket::MILLIS, u64::MAX] {
            assert_eq!(store.due(now, 5).unwrap(), model.due(now, 5).unwrap());
        }
        for (bucket, print) in model.fingerprints() {
            let mut items = [Vec::new(), Vec::new()];
            store.bucket(bucket, &mut |item| items[0].push(item)).unwrap();
            model.bucket(bucket, &mut |item| items[1].push(item)).unwrap();
            assert_eq!(items[0], items[1]);
            assert_eq!(items[0].len() as u64, print.count);
        }
        for row in 0..=model.head() + 1 {
            assert_eq!(store.mutation(row).unwrap(), model.mutation(row).unwrap(), "row {row}");
        }
    }
}
