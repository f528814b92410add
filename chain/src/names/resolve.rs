//! Lookups: what a node answers from its index, and what who asked believes of it.
//!
//! Nothing is believed on a node's word. What is shown has to lead to the root of names in the one checkpoint
//! that the asker trusts: an answer of a later epoch makes it fetch a newer one first, and an answer of an earlier
//! one may hide what happened since. Records that count are those of the name's present version, and an expired
//! name resolves to nothing.

use alloy::primitives::{Address, B256};
use serde_bytes::{ByteArray, ByteBuf};
use session_protocols::names::{
    NameId,
    lookup::{Answer, Proof, Request},
};

use super::{
    Key,
    entry::{Entry, Records, SubEntry},
    index::{Index, Proven},
    tables::Read,
    tree::Way,
};
use crate::light::Trusted;

/// What a trusted checkpoint says of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The epoch at whose end it was so.
    pub epoch: u64,
    /// What stands for all names.
    pub root: B256,
}

/// How a name stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is nobody's.
    Free,
    /// Its owner has not renewed it: it resolves to nothing.
    Expired {
        /// Since when, in seconds since 1970.
        since: u64,
    },
    /// It is somebody's.
    Held(Box<Found>),
}

/// What a name, or a sub-name, resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What is known of the name; of its parent, if it is a sub-name.
    pub entry: Entry,
    /// The records of the name, or of the sub-name, sealed.
    pub records: Records,
}

/// Why an answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disbelief {
    /// It is of a later epoch than the trusted checkpoint: fetch the newest one, and look at it again.
    #[error("an answer of a later epoch than the checkpoint that is trusted")]
    Newer,
    /// It is of an earlier epoch: what happened since is not in it.
    #[error("an answer of an earlier epoch than the checkpoint that is trusted")]
    Older,
    /// What it shows does not lead to the checkpoint's root.
    #[error("an answer without proof")]
    Unproven,
    /// It is not what was asked for.
    #[error("an answer to something else")]
    Shape,
    /// What is proven cannot be read: another version made it.
    #[error("an entry that this version cannot read")]
    Entry,
}

impl Disbelief {
    /// The same, as what is said of a node.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Newer => "it answers of an epoch that no checkpoint is known of",
            Self::Older => "it answers of an epoch that is past",
            Self::Unproven => "it proves nothing of what it says about a name",
            Self::Shape => "it answers something that was not asked for",
            Self::Entry => "it has names in a form that this version does not know",
        }
    }
}

impl<T: Read> Index<T> {
    /// What is answered to somebody who asks, as of the border that ended this epoch.
    ///
    /// # Errors
    /// As the tables.
    pub fn answer(&self, epoch: u64, request: &Request) -> Result<Answer, T::Error> {
        let (first, second) = match request {
            Request::Name { id, sub } => {
                let name = self.prove(&Key::Name(*id))?;
                let sub = sub.as_ref().filter(|_| name.value.is_some());
                (name, sub.map(|sub| Key::Sub(*id, B256::from(**sub))))
            }
            Request::Account { account } => {
                let name = self.prove(&Key::Account(Address::from(**account)))?;
                let id = named(&name);
                (name, id.map(Key::Name))
            }
        };
        let second = second.map(|key| self.prove(&key)).transpose()?;
        Ok(Answer::Proven { epoch, first: first.into(), second: second.map(Proof::from) })
    }
}

impl Anchor {
    /// What the checkpoint says that is trusted; none while none is.
    pub fn of(trusted: &Trusted) -> Option<Self> {
        let checkpoint = &trusted.last()?.checkpoint;
        Some(Self { epoch: checkpoint.border.epoch, root: checkpoint.roots.names })
    }

    /// How a name stands at `now`, in seconds since 1970, if the answer to its lookup is to be believed; of a
    /// refusal nothing is.
    ///
    /// # Errors
    /// When it is not.
    pub fn name(
        &self,
        id: NameId,
        sub: Option<B256>,
        answer: &Answer,
        now: u64,
    ) -> Result<Standing, Disbelief> {
        let (first, second) = self.proofs(answer)?;
        let Some(bytes) = self.shown(&Key::Name(id), first)? else { return Ok(Standing::Free) };
        let entry = Entry::from_bytes(&bytes).map_err(|_| Disbelief::Entry)?;
        let records = match (sub, second) {
            (None, None) => entry.records.clone(),
            (Some(sub), Some(proof)) => match self.shown(&Key::Sub(id, sub), proof)? {
                None => Records::new(),
                Some(bytes) => {
                    let of_sub = SubEntry::from_bytes(&bytes).map_err(|_| Disbelief::Entry)?;
                    if of_sub.version == entry.version { of_sub.records } else { Records::new() }
                }
            },
            (None, Some(_)) | (Some(_), None) => return Err(Disbelief::Shape),
        };
        Ok(match entry.is_live(now) {
            true => Standing::Held(Box::new(Found { entry, records })),
            false => Standing::Expired { since: entry.expires },
        })
    }

    /// The name by which an account goes at `now`, in seconds since 1970, and what is known of it, if the answer
    /// to its lookup is to be believed; none where it goes by none, or where that is no longer its.
    ///
    /// # Errors
    /// When the answer is not to be believed.
    pub fn account(
        &self,
        account: Address,
        answer: &Answer,
        now: u64,
    ) -> Result<Option<(NameId, Entry)>, Disbelief> {
        let (first, second) = self.proofs(answer)?;
        let Some(bytes) = self.shown(&Key::Account(account), first)? else { return Ok(None) };
        let id = NameId::from_bytes(bytes.try_into().map_err(|_| Disbelief::Entry)?);
        let proof = second.ok_or(Disbelief::Shape)?;
        let Some(bytes) = self.shown(&Key::Name(id), proof)? else { return Ok(None) };
        let entry = Entry::from_bytes(&bytes).map_err(|_| Disbelief::Entry)?;
        // Both ways: whoever has the name says so by owning it.
        let both = entry.owner == account && entry.is_live(now);
        Ok(both.then_some((id, entry)))
    }

    fn proofs<'a>(&self, answer: &'a Answer) -> Result<(&'a Proof, Option<&'a Proof>), Disbelief> {
        let Answer::Proven { epoch, first, second } = answer else { return Err(Disbelief::Shape) };
        match epoch.cmp(&self.epoch) {
            core::cmp::Ordering::Greater => Err(Disbelief::Newer),
            core::cmp::Ordering::Less => Err(Disbelief::Older),
            core::cmp::Ordering::Equal => Ok((first, second.as_ref())),
        }
    }

    /// What stands under a key, if that is proven.
    fn shown(&self, key: &Key, proof: &Proof) -> Result<Option<Vec<u8>>, Disbelief> {
        let proven = Proven::from(proof);
        let holds = proof.fits() && key.is_proven(self.root, &proven);
        if holds { Ok(proven.value) } else { Err(Disbelief::Unproven) }
    }
}

/// The name that is shown to stand under an account.
fn named(proven: &Proven) -> Option<NameId> {
    let bytes: &[u8; 32] = proven.value.as_deref()?.try_into().ok()?;
    Some(NameId::from_bytes(*bytes))
}

impl From<Proven> for Proof {
    fn from(Proven { value, way: Way { beside, instead } }: Proven) -> Self {
        let hash = |hash: B256| ByteArray::new(hash.0);
        Self {
            value: value.map(ByteBuf::from),
            beside: beside.into_iter().map(hash).collect(),
            instead: instead.map(|(key, value)| (hash(key), hash(value))),
        }
    }
}

impl From<&Proof> for Proven {
    fn from(Proof { value, beside, instead }: &Proof) -> Self {
        let hash = |hash: &ByteArray<32>| B256::from(**hash);
        let instead = instead.as_ref().map(|(key, value)| (hash(key), hash(value)));
        let way = Way { beside: beside.iter().map(hash).collect(), instead };
        Self { value: value.as_ref().map(|value| value.to_vec()), way }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;

    use super::*;
    use crate::names::{
        Change,
        tables::{Memory, Table, Write},
        tree,
    };

    const ALICE: NameId = NameId::from_bytes([1; 32]);
    const BOB: NameId = NameId::from_bytes([2; 32]);
    const NOBODY: NameId = NameId::from_bytes([3; 32]);
    const OWNER: Address = Address::repeat_byte(0xa);
    const OTHER: Address = Address::repeat_byte(0xb);
    const SHOP: B256 = B256::repeat_byte(0x5);
    const EXPIRES: u64 = 2_000_000_000;
    const NOW: u64 = 1_900_000_000;
    const ACCOUNT: u8 = 1;

    fn record(id: NameId, sub: B256, version: u32, value: &[u8]) -> Change {
        Change::Record { id, sub, version, kind: ACCOUNT, value: value.to_vec() }
    }

    /// Two names, one with a sub-name, and some more, at the end of epoch 7.
    fn index() -> (Index<Memory>, Anchor) {
        let mut index = Index::<Memory>::default();
        let mut changes: Vec<_> = (10..40)
            .map(|byte| (NameId::from_bytes([byte; 32]), OTHER))
            .chain([(ALICE, OWNER), (BOB, OTHER)])
            .map(|(id, owner)| Change::Registered { id, owner, expires: EXPIRES, version: 1 })
            .collect();
        changes.push(record(ALICE, B256::ZERO, 1, b"alice's"));
        changes.push(record(ALICE, SHOP, 1, b"the shop's"));
        changes.push(record(BOB, B256::ZERO, 1, b"bob's"));
        changes.push(Change::Reverse { account: OWNER, id: ALICE });
        changes.iter().for_each(|change| index.apply(change).unwrap());
        let root = index.cross(NOW).unwrap();
        (index, Anchor { epoch: 7, root })
    }

    fn asked(index: &Index<Memory>, epoch: u64, id: NameId, sub: Option<B256>) -> Answer {
        index.answer(epoch, &Request::name(id, sub.map(|sub| sub.0))).unwrap()
    }

    fn records(standing: &Standing) -> Vec<&[u8]> {
        let Standing::Held(found) = standing else { panic!("{standing:?}") };
        found.records.values().map(Vec::as_slice).collect()
    }

    /// An answer whose first or second proof was changed.
    fn spoilt(answer: &Answer, which: usize, spoil: impl FnOnce(&mut Proof)) -> Answer {
        let mut answer = answer.clone();
        let Answer::Proven { first, second, .. } = &mut answer else { panic!("a refusal") };
        spoil(if which == 0 { first } else { second.as_mut().unwrap() });
        answer
    }

    #[test]
    fn what_is_there_and_what_is_not_is_believed_with_its_proof() {
        let (index, anchor) = index();
        let alice = anchor.name(ALICE, None, &asked(&index, 7, ALICE, None), NOW).unwrap();
        assert_eq!(records(&alice), [b"alice's"]);
        let shop = anchor.name(ALICE, Some(SHOP), &asked(&index, 7, ALICE, Some(SHOP)), NOW).unwrap();
        assert_eq!(records(&shop), [b"the shop's"]);
        let none = Some(B256::repeat_byte(9));
        let bare = anchor.name(ALICE, none, &asked(&index, 7, ALICE, none), NOW).unwrap();
        assert!(records(&bare).is_empty());
        for sub in [None, none] {
            let free = anchor.name(NOBODY, sub, &asked(&index, 7, NOBODY, sub), NOW);
            assert_eq!(free, Ok(Standing::Free));
        }
    }

    #[test]
    fn an_expired_name_resolves_to_nothing() {
        let (index, anchor) = index();
        let answer = asked(&index, 7, ALICE, None);
        let last = anchor.name(ALICE, None, &answer, EXPIRES - 1).unwrap();
        assert_eq!(records(&last), [b"alice's"]);
        assert_eq!(anchor.name(ALICE, None, &answer, EXPIRES), Ok(Standing::Expired { since: EXPIRES }));
        let reverse = index.answer(7, &Request::account(OWNER.into_array())).unwrap();
        assert_eq!(anchor.account(OWNER, &reverse, EXPIRES), Ok(None));
    }

    #[test]
    fn answers_of_other_epochs_are_told_apart() {
        let (index, anchor) = index();
        let of = |epoch| anchor.name(ALICE, None, &asked(&index, epoch, ALICE, None), NOW);
        assert_eq!((of(8), of(6)), (Err(Disbelief::Newer), Err(Disbelief::Older)));
        let refused = Answer::Refused { code: session_protocols::answer::Code::NotReady };
        assert_eq!(anchor.name(ALICE, None, &refused, NOW), Err(Disbelief::Shape));
    }

    #[test]
    fn a_node_that_lies_is_not_believed() {
        let (mut index, old) = index();
        let before = asked(&index, 7, ALICE, None);
        let hidden = asked(&index, 7, NOBODY, None);
        index.apply(&Change::Transferred { id: ALICE, owner: OTHER, version: 2 }).unwrap();
        index.apply(&record(ALICE, B256::ZERO, 2, b"the new owner's")).unwrap();
        index.apply(&record(ALICE, SHOP, 2, b"the new shop's")).unwrap();
        let anchor = Anchor { epoch: 8, root: index.cross(NOW).unwrap() };
        let honest = asked(&index, 8, ALICE, None);
        assert_eq!(records(&anchor.name(ALICE, None, &honest, NOW).unwrap()), [b"the new owner's"]);
        let refuses = |answer: &Answer, sub| {
            assert_eq!(anchor.name(ALICE, sub, answer, NOW), Err(Disbelief::Unproven), "{answer:?}");
        };
        // The old proof, told to be of now.
        assert!(old.name(ALICE, None, &before, NOW).is_ok());
        let Answer::Proven { first, second, .. } = before else { panic!("a refusal") };
        refuses(&Answer::Proven { epoch: 8, first, second }, None);
        // Another record.
        let other = spoilt(&honest, 0, |proof| {
            let mut entry = Entry::from_bytes(proof.value.as_ref().unwrap()).unwrap();
            entry.records.insert(ACCOUNT, b"the liar's".to_vec());
            proof.value = Some(entry.to_bytes().into());
        });
        refuses(&other, None);
        // That it is free: without the entry, with another leaf in its place, and by the proof of another.
        refuses(&spoilt(&honest, 0, |proof| proof.value = None), None);
        let Answer::Proven { first: absent, .. } = &hidden else { panic!("a refusal") };
        for instead in [absent.instead, Some((ByteArray::new([0; 32]), ByteArray::new([1; 32])))] {
            refuses(&spoilt(&honest, 0, |proof| (proof.value, proof.instead) = (None, instead)), None);
        }
        refuses(&asked(&index, 8, NOBODY, None), None);
        // What stands under another name.
        refuses(&asked(&index, 8, BOB, None), None);
        // The same of a sub-name, and what is left out.
        let shop = asked(&index, 8, ALICE, Some(SHOP));
        assert_eq!(records(&anchor.name(ALICE, Some(SHOP), &shop, NOW).unwrap()), [b"the new shop's"]);
        refuses(&spoilt(&shop, 1, |proof| proof.value = None), Some(SHOP));
        let Answer::Proven { first, .. } = shop else { panic!("a refusal") };
        refuses(&Answer::Proven { epoch: 8, first: first.clone(), second: Some(first) }, Some(SHOP));
        assert_eq!(anchor.name(ALICE, Some(SHOP), &honest, NOW), Err(Disbelief::Shape));
        // Ways that are none.
        refuses(&spoilt(&honest, 0, |proof| proof.beside.clear()), None);
        refuses(&spoilt(&honest, 0, |proof| proof.beside.resize(300, ByteArray::new([0; 32]))), None);
    }

    #[test]
    fn a_sub_names_records_count_under_its_names_version_alone() {
        let entry = |version| {
            let (owner, records) = (OWNER, Records::new());
            let (price, offer, revealed) = (None, None, None);
            Entry { owner, expires: EXPIRES, version, price, offer, revealed, records }.to_bytes()
        };
        let sub = SubEntry { version: 1, records: [(ACCOUNT, b"old".to_vec())].into() }.to_bytes();
        for (version, counts) in [(1, 1), (2, 0)] {
            let mut index = Index::<Memory>::default();
            let keys = [(Key::Name(ALICE), entry(version)), (Key::Sub(ALICE, SHOP), sub.clone())];
            for (key, bytes) in &keys {
                index.0.put(Table::Entries, &key.to_bytes(), Some(bytes)).unwrap();
            }
            let leaves = keys.map(|(key, bytes)| (keccak256(key.to_bytes()), Some(keccak256(bytes))));
            let anchor = Anchor { epoch: 0, root: tree::update(&mut index.0, leaves).unwrap() };
            let answer = asked(&index, 0, ALICE, Some(SHOP));
            let found = anchor.name(ALICE, Some(SHOP), &answer, NOW).unwrap();
            assert_eq!(records(&found).len(), counts, "version {version}");
        }
    }

    #[test]
    fn an_account_goes_by_a_name_that_it_owns() {
        let (mut index, anchor) = index();
        let ask = |index: &Index<Memory>, epoch, account: Address| {
            index.answer(epoch, &Request::account(account.into_array())).unwrap()
        };
        let answer = ask(&index, 7, OWNER);
        let (id, entry) = anchor.account(OWNER, &answer, NOW).unwrap().unwrap();
        assert_eq!((id, entry.owner), (ALICE, OWNER));
        assert_eq!(anchor.account(OTHER, &ask(&index, 7, OTHER), NOW), Ok(None));
        assert_eq!(anchor.account(OTHER, &answer, NOW), Err(Disbelief::Unproven));
        let Answer::Proven { first, .. } = answer.clone() else { panic!("a refusal") };
        let half = Answer::Proven { epoch: 7, first, second: None };
        assert_eq!(anchor.account(OWNER, &half, NOW), Err(Disbelief::Shape));
        let hidden = spoilt(&answer, 1, |proof| proof.value = None);
        assert_eq!(anchor.account(OWNER, &hidden, NOW), Err(Disbelief::Unproven));
        // It says so of a name that is another's.
        let key = Key::Account(OTHER);
        index.0.put(Table::Entries, &key.to_bytes(), Some(ALICE.as_bytes())).unwrap();
        let leaf = (keccak256(key.to_bytes()), Some(keccak256(ALICE.as_bytes())));
        let anchor = Anchor { epoch: 7, root: tree::update(&mut index.0, [leaf]).unwrap() };
        assert_eq!(anchor.account(OTHER, &ask(&index, 7, OTHER), NOW), Ok(None));
    }
}
