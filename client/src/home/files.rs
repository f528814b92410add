//! What stands in the files.

use std::{collections::BTreeMap, path::Path};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use session_protocols::{
    AccountId, MessageHash,
    identity::blake2b,
    names::{COST, Kind, Name, keys::SALT},
    path::guards::Guards,
};
use zeroize::{Zeroize, Zeroizing};

use super::{HomeError, disk};
use crate::account::Account;

/// The folder of the seeds.
pub(super) const SEEDS: &str = "seeds";
/// The folder of the keys on settlement chains that did not grow from a seed.
pub(super) const CHAIN_KEYS: &str = "chain-keys";
/// The folder of the payments that were made.
pub(super) const PAYMENTS: &str = "payments";
/// The folder of what was shown.
pub(super) const INBOX: &str = "inbox";

/// The folder of the guards.
pub(super) const GUARDS: &str = "guards";

/// The folder of the signed lists of nodes.
pub(super) const DIRECTORY: &str = "directory";
/// The folder of the nodes' checkpoints.
pub(super) const CHECKPOINTS: &str = "checkpoints";

/// The folder of what names said.
pub(super) const NAMES: &str = "pins";
/// The folder of their keys.
pub(super) const KEYS: &str = "keys";

/// The version of the JSON files, one for all of them. What was shown has ends since 2, contacts have names of the network
/// since 3, and addresses what they were agreed to over; how far inboxes were read for these stands with them since 4.
const VERSION: u64 = 4;

/// A seed's length in hex.
const SEED_DIGITS: usize = 32;
/// A chain key's length in hex.
const KEY_DIGITS: usize = 64;

const RESTORE_FILE: &str = "put a copy of it back, or move it away to start without it";
const RESTORE_GUARDS: &str = "put a copy of it back; moving it away chooses new guards, and each new one is \
                              a chance for an adversary to be one";
const RESTORE_KEY: &str = "put a copy of it back; moving it away makes the account use the key of its seed";
const RESTORE_SEED: &str = "move it away, then restore the account from its recovery phrase";

/// A file of which there is one.
pub(super) trait Named: Serialize + DeserializeOwned + Default {
    /// What it is called.
    const NAME: &'static str;
}

/// The accounts, in the order they were made.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accounts {
    version: Version,
    pub(super) accounts: Vec<Entry>,
}

impl Named for Accounts {
    const NAME: &'static str = "accounts.json";
}

/// One account.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) id: AccountId,
}

/// The address book.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contacts {
    version: Version,
    pub(super) contacts: BTreeMap<String, AccountId>,
    /// The names of the network by which some of them were found.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(super) names: BTreeMap<String, Name>,
}

impl Named for Contacts {
    const NAME: &'static str = "contacts.json";
}

/// Where others are paid.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wallets {
    version: Version,
    pub(super) wallets: BTreeMap<AccountId, Wallet>,
    /// How far inboxes were read for them, the one that was read last first. It stands in the same file, so that
    /// it is never without what was learnt.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) read: Vec<ReadTo>,
}

impl Named for Wallets {
    const NAME: &'static str = "wallets.json";
}

/// How far one inbox was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadTo {
    /// The first 8 bytes of the network's digest, in hex.
    pub(super) network: String,
    pub(super) account: AccountId,
    /// The place at each member, as [`crate::Cursors`] writes them, in hex.
    pub(super) to: String,
}

/// Where one person is paid, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wallet {
    /// The address said last, and when, in milliseconds since 1970.
    pub(super) said: String,
    pub(super) said_ms: u64,
    /// The address that was agreed to, if any was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) agreed: Option<String>,
    /// The address that was said then, if it was another one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) over: Option<String>,
}

/// The payments that one account was told of and that were made: by transaction, the message that told of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payments {
    version: Version,
    pub(super) payments: BTreeMap<String, Payment>,
}

/// A payment that is final.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payment {
    pub(super) message: MessageHash,
    pub(super) height: u64,
}

/// What one account was shown: each message, and when it ends, in milliseconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inbox {
    version: Version,
    #[serde(deserialize_with = "shown")]
    pub(super) shown: BTreeMap<MessageHash, u64>,
}

/// Version 1 had hashes alone. They count as ended: the next look at the whole mailbox brings the ends of
/// those that are still there.
fn shown<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<MessageHash, u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shown {
        WithEnds(BTreeMap<MessageHash, u64>),
        Hashes(Vec<MessageHash>),
    }
    Ok(match Shown::deserialize(from)? {
        Shown::WithEnds(shown) => shown,
        Shown::Hashes(hashes) => hashes.into_iter().map(|hash| (hash, 0)).collect(),
    })
}

/// What a record of a name said when it was followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// What it said, as people write it.
    pub value: String,
    /// Whose the name was: an address on the chain.
    pub owner: String,
    /// How often it had got an owner.
    pub version: u32,
    /// Since when it says so here, in milliseconds since 1970.
    pub since_ms: u64,
}

/// What was followed, by names and the kinds of their records.
pub type Pins = BTreeMap<Name, BTreeMap<String, Pin>>;

impl Pin {
    /// Puts a pin among others, unless it may not replace what is there: that then, and of which record of which name.
    /// That is another value of the same record; for a record that was never followed the others of the name, and for
    /// a name that never was those that belong to the same owner, if they have changed hands since: a name and its
    /// sub-names are sold as one.
    pub(crate) fn keep(
        pins: &mut Pins,
        name: &Name,
        kind: Kind,
        pin: Self,
        replace: bool,
    ) -> Option<(Name, Kind, Self)> {
        if let Some(before) = pins.get_mut(name).and_then(|of_name| of_name.get_mut(kind.as_str()))
            && before.value == pin.value
        {
            // That it says the same is no word on what else a new owner says.
            if replace {
                (before.owner, before.version) = (pin.owner, pin.version);
            }
            return None;
        }
        let before = match pins.get(name).and_then(|of_name| of_name.get(kind.as_str())) {
            Some(before) => Some((name.clone(), kind, before.clone())),
            None => newest(pins.get_key_value(name))
                .or_else(|| newest(pins.iter().filter(|(other, _)| other.parent() == name.parent())))
                .filter(|(.., newest)| !newest.is_under(&pin)),
        };
        let refused = before.filter(|_| !replace);
        if refused.is_none() {
            pins.entry(name.clone()).or_default().insert(kind.as_str().to_owned(), pin);
        }
        refused
    }

    /// Whether the name had not changed hands between this pin and another.
    pub(crate) fn is_under(&self, other: &Self) -> bool {
        self.owner == other.owner && self.version == other.version
    }
}

/// The pin among these whose name had got an owner most often.
fn newest<'a>(
    pins: impl IntoIterator<Item = (&'a Name, &'a BTreeMap<String, Pin>)>,
) -> Option<(Name, Kind, Pin)> {
    let all = pins.into_iter().flat_map(|(name, of_name)| {
        of_name.iter().filter_map(move |(kind, pin)| Some((name, kind.parse::<Kind>().ok()?, pin)))
    });
    let (name, kind, pin) = all.max_by_key(|(.., pin)| pin.version)?;
    Some((name.clone(), kind, pin.clone()))
}

/// What shows that keys are those of a name, as this build computes them.
pub(super) fn seal(name: &Name, keys: &[u8]) -> [u8; 32] {
    let cost = [COST.memory_kib(), COST.passes()].map(u32::to_be_bytes).concat();
    blake2b(&[b"session keys of a name", SALT, &cost, name.to_string().as_bytes(), b"\0", keys])
}

/// What names of one network said when they were followed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    version: Version,
    pub(super) names: Pins,
}

/// The keys of the names of one network that were followed, which are dear to compute.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    version: Version,
    /// Each in hex, with what shows whose they are.
    pub(super) names: BTreeMap<Name, String>,
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.names.values_mut().for_each(Zeroize::zeroize);
    }
}

/// The version in front of a file: whatever was read, this build's is written.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Version(u64);

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(VERSION)
    }
}

impl Default for Version {
    fn default() -> Self {
        Self(VERSION)
    }
}

/// Only the version, which is read first, because a newer file may look different.
#[derive(Deserialize)]
struct Head {
    version: Version,
}

/// Reads a JSON file; one that is not there is empty.
pub(super) fn read<F: DeserializeOwned + Default>(path: &Path) -> Result<F, HomeError> {
    let Some(bytes) = disk::read(path)? else { return Ok(F::default()) };
    let broken = |cause: serde_json::Error| HomeError::Broken {
        path: path.to_owned(),
        remedy: RESTORE_FILE,
        cause: cause.into(),
    };
    let Head { version: Version(found) } = serde_json::from_slice(&bytes).map_err(broken)?;
    if found > VERSION {
        return Err(HomeError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    serde_json::from_slice(&bytes).map_err(broken)
}

/// A JSON file that holds what cannot be.
pub(super) fn broken(path: &Path, cause: &str) -> HomeError {
    HomeError::Broken { path: path.to_owned(), remedy: RESTORE_FILE, cause: cause.into() }
}

/// Writes a JSON file.
pub(super) fn write<F: Serialize>(path: &Path, file: &F) -> Result<(), HomeError> {
    let mut bytes = serde_json::to_vec_pretty(file).map_err(|cause| HomeError::Io {
        deed: "write",
        path: path.to_owned(),
        cause: cause.into(),
    })?;
    bytes.push(b'\n');
    disk::replace(path, &bytes)
}

/// Reads the seed of the account with this id.
pub(super) fn read_seed(path: &Path, id: &AccountId) -> Result<Account, HomeError> {
    let broken =
        |cause: &str| HomeError::Broken { path: path.to_owned(), remedy: RESTORE_SEED, cause: cause.into() };
    let text = disk::read(path)?.ok_or_else(|| broken("it is not there"))?;
    let digits = text.trim_ascii();
    let mut seed = Zeroizing::new([0; 16]);
    // The place of a wrong digit would say something about the others, so the cause is left out.
    if digits.len() != SEED_DIGITS || HEX.decode_mut(digits, &mut *seed).is_err() {
        return Err(broken("it is not a seed in 32 hex digits"));
    }
    let account = Account::new(&seed);
    if account.id() == *id { Ok(account) } else { Err(broken("its seed belongs to another account")) }
}

/// Reads the guards of a network; where there is no file there are none.
pub(super) fn read_guards(path: &Path, network: &[u8; 32]) -> Result<Guards, HomeError> {
    let Some(bytes) = disk::read(path)? else { return Ok(Guards::default()) };
    Guards::decode(&bytes, network).map_err(|cause| HomeError::Broken {
        path: path.to_owned(),
        remedy: RESTORE_GUARDS,
        cause: cause.into(),
    })
}

/// Writes an account's seed.
pub(super) fn write_seed(path: &Path, account: &Account) -> Result<(), HomeError> {
    let mut line = Zeroizing::new([b'\n'; SEED_DIGITS + 1]);
    HEX.encode_mut(&**account.seed(), &mut line[..SEED_DIGITS]);
    disk::replace(path, &*line)
}

/// Reads the chain key that was imported for an account; none where none was.
pub(super) fn read_chain_key(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, HomeError> {
    let Some(text) = disk::read(path)? else { return Ok(None) };
    let digits = text.trim_ascii();
    let mut key = Zeroizing::new([0; 32]);
    if digits.len() != KEY_DIGITS || HEX.decode_mut(digits, &mut *key).is_err() {
        let cause = "it is not a key in 64 hex digits".into();
        return Err(HomeError::Broken { path: path.to_owned(), remedy: RESTORE_KEY, cause });
    }
    Ok(Some(key))
}

/// Writes the chain key of an account.
pub(super) fn write_chain_key(path: &Path, key: &[u8; 32]) -> Result<(), HomeError> {
    let mut line = Zeroizing::new([b'\n'; KEY_DIGITS + 1]);
    HEX.encode_mut(key, &mut line[..KEY_DIGITS]);
    disk::replace(path, &*line)
}
