use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{tables::Memory, *};

fn key(byte: u8) -> B256 {
    keccak256([byte])
}

/// The root as the documentation says it, over all leaves at once.
fn plain_root(leaves: &[(B256, B256)], depth: usize) -> B256 {
    match leaves {
        [] => B256::ZERO,
        [(key, value)] => keccak256([&[0], key.as_slice(), value.as_slice()].concat()),
        _ => {
            let bit = |key: &B256| key[depth / 8] >> (7 - depth % 8) & 1 == 1;
            let (left, right): (Vec<_>, Vec<_>) = leaves.iter().partition(|(key, _)| !bit(key));
            let (left, right) = (plain_root(&left, depth + 1), plain_root(&right, depth + 1));
            keccak256([&[1], left.as_slice(), right.as_slice()].concat())
        }
    }
}

/// Keys of which many begin alike, to the very last bit.
fn keys() -> impl Strategy<Value = B256> {
    let near = (any::<u8>(), 0_usize..32).prop_map(|(byte, at)| {
        let mut key = B256::ZERO;
        key[at] = byte & 0b11;
        key
    });
    prop_oneof![near, (0_u8..20).prop_map(key)]
}

proptest! {
    #[test]
    fn the_tree_is_that_of_its_leaves_however_they_came(
        rounds in prop::collection::vec(
            prop::collection::btree_map(keys(), prop::option::of(any::<[u8; 32]>().prop_map(B256::from)), 0..12),
            1..12,
        ),
        asked in prop::collection::vec(keys(), 8),
    ) {
        let mut tables = Memory::default();
        let mut leaves = BTreeMap::new();
        for round in rounds {
            for (key, value) in &round {
                match value {
                    Some(value) => leaves.insert(*key, *value),
                    None => leaves.remove(key),
                };
            }
            let root = tree::update(&mut tables, round).unwrap();
            let plain: Vec<_> = leaves.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(root, plain_root(&plain, 0));
            prop_assert_eq!(root, tree::root(&tables).unwrap());
            for key in asked.iter().chain(leaves.keys()) {
                let (value, way) = tree::find(&tables, *key).unwrap();
                prop_assert_eq!(value, leaves.get(key).copied());
                prop_assert_eq!(way.root(*key, value), Some(root));
                // Nothing else is proven by it.
                let other = value.map_or(Some(B256::ZERO), |_| None);
                prop_assert_ne!(way.root(*key, other), Some(root));
                prop_assert_ne!(way.root(*key, Some(keccak256(key))), Some(root));
            }
        }
        // Nothing is left of what is gone.
        let all: Vec<_> = leaves.keys().map(|key| (*key, None)).collect();
        prop_assert_eq!(tree::update(&mut tables, all).unwrap(), B256::ZERO);
        prop_assert_eq!(tables, Memory::default());
    }
}

/// What the documentation says of an index, kept as a whole, and a copy of it as it was at the last border.
#[derive(Default)]
struct Model {
    names: BTreeMap<NameId, Entry>,
    subs: BTreeMap<(NameId, B256), SubEntry>,
    accounts: BTreeMap<Address, NameId>,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Registered { id, owner, expires, version } => self.begin(id, owner, expires, version),
            Change::Transferred { id, owner, version } => {
                if let Some(expires) = self.names.get(&id).map(|entry| entry.expires) {
                    self.begin(id, owner, expires, version);
                }
            }
            Change::Renewed { id, expires } => {
                self.names.entry(id).and_modify(|entry| entry.expires = expires);
            }
            Change::Record { id, sub, version, kind, value } if sub.is_zero() => {
                if let Some(entry) = self.live(id, version) {
                    entry.records.insert(kind, value);
                    entry.records.retain(|_, value| !value.is_empty());
                }
            }
            Change::Record { id, sub, version, kind, value } => {
                if self.live(id, version).is_none() {
                    return;
                }
                let entry = self.subs.entry((id, sub)).or_default();
                entry.version = version;
                entry.records.insert(kind, value);
                entry.records.retain(|_, value| !value.is_empty());
                self.subs.retain(|_, sub| !sub.records.is_empty());
            }
            Change::Reverse { account, id } if id.as_bytes() == &[0; 32] => {
                self.accounts.remove(&account);
            }
            Change::Reverse { account, id } => {
                if self.names.get(&id).is_some_and(|entry| entry.owner == account) {
                    self.accounts.insert(account, id);
                }
            }
            Change::Revealed { id, version, name } => {
                if let Some(entry) = self.live(id, version) {
                    entry.revealed = Some(name);
                }
            }
            Change::Price { id, version, price } => {
                if let Some(entry) = self.live(id, version) {
                    entry.price = (price != Amount::ZERO).then_some(price);
                }
            }
            Change::Offered { id, version, buyer, amount, until } => {
                if let Some(entry) = self.live(id, version) {
                    entry.offer = Some(Offer { buyer, amount, until });
                }
            }
            Change::Withdrawn { id, buyer } => {
                if let Some(entry) = self.names.get_mut(&id)
                    && entry.offer.is_some_and(|offer| offer.buyer == buyer)
                {
                    entry.offer = None;
                }
            }
        }
    }

    fn live(&mut self, id: NameId, version: u32) -> Option<&mut Entry> {
        self.names.get_mut(&id).filter(|entry| entry.version == version)
    }

    fn begin(&mut self, id: NameId, owner: Address, expires: u64, version: u32) {
        self.end(id);
        let records = BTreeMap::new();
        let entry = Entry { owner, expires, version, price: None, offer: None, revealed: None, records };
        self.names.insert(id, entry);
    }

    fn end(&mut self, id: NameId) {
        let Some(entry) = self.names.remove(&id) else { return };
        self.accounts.retain(|account, of| *account != entry.owner || *of != id);
        self.subs.retain(|(of, _), _| *of != id);
    }

    fn cross(&mut self, now: u64) {
        let free = self.names.iter().filter(|(_, entry)| entry.expires + GRACE <= now);
        for id in free.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(id);
        }
    }

    fn rows(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let names = self.names.iter().map(|(id, entry)| (Key::Name(*id).to_bytes(), entry.to_bytes()));
        let subs =
            self.subs.iter().map(|((id, sub), entry)| (Key::Sub(*id, *sub).to_bytes(), entry.to_bytes()));
        let accounts = self
            .accounts
            .iter()
            .map(|(account, id)| (Key::Account(*account).to_bytes(), id.as_bytes().to_vec()));
        names.chain(subs).chain(accounts).collect()
    }
}

fn id() -> impl Strategy<Value = NameId> {
    (1_u8..5).prop_map(|byte| NameId::from_bytes(key(byte).0))
}

fn account() -> impl Strategy<Value = Address> {
    (1_u8..4).prop_map(Address::repeat_byte)
}

fn change() -> impl Strategy<Value = Change> {
    let version = 1_u32..3;
    let value = prop::collection::vec(any::<u8>(), 0..3);
    prop_oneof![
        4 => (id(), account(), 0_u64..3, version.clone()).prop_map(|(id, owner, expires, version)| {
            Change::Registered { id, owner, expires: expires * GRACE, version }
        }),
        1 => (id(), 0_u64..4).prop_map(|(id, expires)| Change::Renewed { id, expires: expires * GRACE }),
        2 => (id(), account(), version.clone())
            .prop_map(|(id, owner, version)| Change::Transferred { id, owner, version }),
        4 => (id(), 0_u8..3, version.clone(), 1_u8..3, value).prop_map(|(id, sub, version, kind, value)| {
            let sub = if sub == 0 { B256::ZERO } else { key(sub) };
            Change::Record { id, sub, version, kind, value }
        }),
        2 => (account(), id(), any::<bool>()).prop_map(|(account, id, none)| {
            Change::Reverse { account, id: if none { NameId::from_bytes([0; 32]) } else { id } }
        }),
        1 => (id(), version.clone())
            .prop_map(|(id, version)| Change::Revealed { id, version, name: "alice".to_owned() }),
        1 => (id(), version.clone(), 0_u128..2)
            .prop_map(|(id, version, price)| Change::Price { id, version, price: Amount(price) }),
        1 => (id(), version, account(), 1_u64..9).prop_map(|(id, version, buyer, until)| Change::Offered {
            id,
            version,
            buyer,
            amount: Amount(until.into()),
            until
        }),
        1 => (id(), account()).prop_map(|(id, buyer)| Change::Withdrawn { id, buyer }),
    ]
}

proptest! {
    #[test]
    fn an_index_is_what_the_model_is_and_proves_what_it_was_at_the_last_border(
        epochs in prop::collection::vec(prop::collection::vec(change(), 0..20), 1..6),
    ) {
        let mut index = Index::<Memory>::default();
        let mut model = Model::default();
        let mut border = BTreeMap::new();
        for (epoch, changes) in (0..).zip(epochs) {
            for change in changes {
                index.apply(&change).unwrap();
                model.apply(&change);
            }
            let rows = model.rows();
            for number in 1..5 {
                let id = NameId::from_bytes(key(number).0);
                prop_assert_eq!(index.name(&id).unwrap(), model.names.get(&id).cloned());
                for sub in [key(1), key(2)] {
                    prop_assert_eq!(index.sub(&id, sub).unwrap(), model.subs.get(&(id, sub)).cloned());
                }
                let account = Address::repeat_byte(number);
                prop_assert_eq!(index.reverse(account).unwrap(), model.accounts.get(&account).copied());
            }
            let mut seen = BTreeMap::new();
            index.names(|id, entry| seen.insert(id, entry).is_none()).unwrap();
            prop_assert_eq!(&seen, &model.names);
            // What changed since then is not proven yet.
            check(&index, &border, rows.keys());
            model.cross(epoch * GRACE);
            border = model.rows();
            let root = index.cross(epoch * GRACE).unwrap();
            prop_assert_eq!(root, index.root().unwrap());
            check(&index, &border, rows.keys());
        }
    }
}

proptest! {
    #[test]
    fn an_index_is_the_same_again_out_of_its_rows_at_the_last_border(
        epochs in prop::collection::vec(prop::collection::vec(change(), 0..20), 1..4),
        since in prop::collection::vec(change(), 0..20),
        most in 1_usize..400,
    ) {
        let mut index = Index::<Memory>::default();
        for (epoch, changes) in (0..).zip(&epochs) {
            for change in changes {
                index.apply(change).unwrap();
            }
            index.cross(epoch * GRACE).unwrap();
        }
        let border = index.clone();
        for change in &since {
            index.apply(change).unwrap();
        }
        let mut again = Index::<Memory>::default();
        let mut from = Some(Vec::<u8>::new());
        while let Some(first) = from {
            let (rows, next) = index.rows(&first, most).unwrap();
            let within = |key: &Vec<u8>| *key >= first && next.as_ref().is_none_or(|next| key < next);
            prop_assert!(rows.iter().all(|(key, _)| within(key)) && rows.is_sorted());
            prop_assert!(next.as_ref().is_none_or(|next| *next > first));
            again.restore(&rows).unwrap();
            from = next;
        }
        prop_assert_eq!(again.plant().unwrap(), border.root().unwrap());
        prop_assert_eq!(again.0, border.0);
    }
}

/// Whether an index proves these rows, and of those asked for no others.
fn check<'a>(
    index: &Index<Memory>,
    rows: &'a BTreeMap<Vec<u8>, Vec<u8>>,
    asked: impl Iterator<Item = &'a Vec<u8>>,
) {
    let mut leaves: Vec<_> = rows.iter().map(|(key, value)| (keccak256(key), keccak256(value))).collect();
    leaves.sort();
    let root = plain_root(&leaves, 0);
    for bytes in rows.keys().chain(asked) {
        let key = match bytes[..] {
            [..] if bytes.len() == 20 => Key::Account(Address::from_slice(bytes)),
            [..] if bytes.len() == 32 => Key::Name(NameId::from_bytes(bytes[..].try_into().unwrap())),
            _ => {
                Key::Sub(NameId::from_bytes(bytes[..32].try_into().unwrap()), B256::from_slice(&bytes[32..]))
            }
        };
        let proven = index.prove(&key).unwrap();
        assert_eq!(proven.value, rows.get(bytes).cloned());
        assert!(key.is_proven(root, &proven));
        let forged = Proven { value: proven.value.is_none().then(|| vec![1]), way: proven.way };
        assert!(!key.is_proven(root, &forged), "neither absence nor presence can be made up");
    }
}

#[test]
fn a_way_that_can_be_none_leads_nowhere() {
    let deep = Way { beside: vec![B256::ZERO; 257], instead: None };
    assert_eq!(deep.root(key(1), None), None);
    // The leaf that is shown instead has to be one that would hide nothing.
    let own = Way { beside: Vec::new(), instead: Some((key(1), key(2))) };
    assert_eq!(own.root(key(1), None), None);
    assert_eq!(own.root(key(1), Some(key(2))), None);
    let elsewhere = Way { beside: vec![B256::ZERO], instead: Some((B256::ZERO, key(2))) };
    assert_eq!(elsewhere.root(B256::repeat_byte(0xff), None), None);
}

#[test]
fn an_entry_has_one_form() {
    let entry = Entry {
        owner: Address::repeat_byte(1),
        expires: 1_767_225_600,
        version: 3,
        price: Some(Amount::sesh(500)),
        offer: Some(Offer {
            buyer: Address::repeat_byte(2),
            amount: Amount::sesh(450),
            until: 1_767_000_000,
        }),
        revealed: Some("alice".to_owned()),
        records: (1..=6).map(|kind| (kind, vec![kind; 256])).collect(),
    };
    let bytes = entry.to_bytes();
    assert_eq!(Entry::from_bytes(&bytes), Ok(entry.clone()));
    assert!(bytes.len() < entry::MAX_BYTES / 2);
    let plain = Entry { price: None, offer: None, revealed: None, records: Records::new(), ..entry };
    assert_eq!(Entry::from_bytes(&plain.to_bytes()), Ok(plain));
    let sub = SubEntry { version: 3, records: [(1, vec![7; 96])].into() };
    assert_eq!(SubEntry::from_bytes(&sub.to_bytes()), Ok(sub));
    assert!(Entry::from_bytes(&bytes[1..]).is_err());
}
