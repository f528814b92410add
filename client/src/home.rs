//! What a client keeps on disk: accounts, the address book, and what was already shown.
//!
//! ```text
//! lock            held while something is changed
//! accounts.json   names and ids, in the order they were made
//! contacts.json   names and ids of others
//! seeds/<id>      one account's seed, in hex
//! wallets.json    where others are paid, as they said, and how far inboxes were read for that
//! chain-keys/<id> one account's key on settlement chains, in hex, if it was imported
//! names/<id>.json what one account's names on settlement chains are called, and registrations that are begun
//! revealed.json   whether names have the ids that they were revealed for
//! inbox/<id>.json what one account was shown, and until when that has to be known
//! payments/<id>.json the payments that one account was told of and that are final
//! claims/<id>.json the payments that one account was told of, as the chain says: those that were never made, and those in its own coin
//! outgoing/<id>.json the payments that one account signed, written before they are sent
//! renewals/<id>.json the renewals of names that one account sent, likewise
//! guards/<network> the first hops of paths, one file for each network
//! directory/<network> the newest signed list of a network's nodes
//! pins/<network>.json what names of the network said when they were followed first
//! keys/<network>.json the keys of these names, which are dear to compute
//! checkpoints/<network> the newest checkpoint that the nodes of a network with a chain have signed
//! ```
//!
//! Files change as a whole or not at all, under a kernel lock, so that commands that run at once
//! lose nothing. A file that cannot be read is never overwritten, but for lists of nodes and
//! checkpoints, which are fetched again.

mod claims;
mod contacts;
mod disk;
mod files;
mod money;
mod names;
mod outgoing;
mod renewals;
mod revealed;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER as HEX;
use session_protocols::{
    AccountId, MessageHash,
    names::{Kind, Name, NameKeys},
    path::guards::Guards,
};
use zeroize::Zeroizing;

use crate::account::Account;
pub use claims::{Claims, Received, Unfounded};
use files::{Accounts, Contacts, Entry, Inbox, Keys, Names};
pub use files::{Pin, Pins};
pub use money::{Paid, PaidAt};
pub use names::{OwnNames, Secret};
pub use outgoing::{Hex, Outgoing};
pub use renewals::Renewal;
pub use revealed::Revealed;

/// How many shown messages are kept for an account: as many as its quota in the network has room for.
/// Beyond it those that end first give way.
pub const MAX_SHOWN: usize = 1 << 20;

/// The longest name, in characters.
const MAX_NAME: usize = 64;

/// Why something on disk cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// The system refuses to read or write.
    #[error("cannot {deed} {path}", path = .path.display())]
    Io {
        /// What was tried.
        deed: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Others could replace what is in the folder.
    #[error("others may write to {path}; run: chmod 700 {path}", path = .0.display())]
    OpenToOthers(PathBuf),
    /// A file cannot be understood. It is left as it is.
    #[error("{path} is broken; {remedy}", path = .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// What is wrong with it.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file was written by a newer version.
    #[error("{path} has version {found}, this build reads up to {known}", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that this build reads.
        known: u64,
    },
    /// A name is empty, too long, or has other characters.
    #[error("\"{0}\" is no name: a name is 1 to {MAX_NAME} of a-z, A-Z, 0-9, -, _ and .")]
    Name(String),
    /// A name already stands for another account.
    #[error("the name {name} is taken by {id}")]
    NameTaken {
        /// The name.
        name: String,
        /// The account it stands for.
        id: AccountId,
    },
    /// A new name differs from one that is here by upper and lower case alone, or looks like it.
    #[error("the name {name} would be taken for {known}, which is {id}")]
    NameAlike {
        /// The new name.
        name: String,
        /// The one that is here.
        known: String,
        /// The account that stands for.
        id: AccountId,
    },
    /// The account is already there, perhaps under another name.
    #[error("the account {id} is already here, as {name}")]
    AccountExists {
        /// The name it has.
        name: String,
        /// The account.
        id: AccountId,
    },
    /// There is no account of this name.
    #[error("there is no account named {0}")]
    NoAccount(String),
    /// There is no contact of this name.
    #[error("there is no contact named {0}")]
    NoContact(String),
    /// Another key was imported for the account before. It is left as it is.
    #[error("another key was imported before, and is in {path}", path = .0.display())]
    ChainKeyExists(PathBuf),
    /// No name is written so, and several are but for upper and lower case.
    #[error("\"{name}\" may be {}: they differ by upper and lower case alone", .known.join(" or "))]
    Ambiguous {
        /// What was written.
        name: String,
        /// The names.
        known: Vec<String>,
    },
    /// A text is neither an id nor a known name.
    #[error("\"{0}\" is neither an account id nor the name of a contact or of an account")]
    Unknown(String),
}

/// A folder with a client's accounts, contacts and what was shown.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// Opens the folder; makes it, for this user only, when it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or when others may write to it.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, HomeError> {
        let folder = folder.into();
        disk::make_folder(&folder)?;
        disk::check_owner_writes(&folder)?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The accounts, in the order they were made.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn accounts(&self) -> Result<Vec<(String, AccountId)>, HomeError> {
        let accounts: Accounts = self.read()?;
        Ok(accounts.accounts.into_iter().map(|entry| (entry.name, entry.id)).collect())
    }

    /// Keeps an account under a name. Nothing that is there is replaced; only an account whose
    /// seed has gone gets it back, under the name it has.
    ///
    /// # Errors
    /// When the name is taken or would be taken for another, the account is already there, or the disk refuses.
    pub fn create_account(&self, name: &str, account: &Account) -> Result<(), HomeError> {
        check_name(name)?;
        let _lock = disk::lock(&self.folder)?;
        let mut accounts: Accounts = self.read()?;
        let contacts: Contacts = self.read()?;
        let id = account.id();
        if let Some(entry) = accounts.accounts.iter().find(|entry| entry.id == id) {
            if entry.name == name && !disk::exists(&self.seed_path(&id))? {
                return self.write_seed(account);
            }
            return Err(HomeError::AccountExists { name: entry.name.clone(), id });
        }
        check_free(name, &accounts, &contacts)?;
        // The seed first: a list that names an account without a seed would be broken.
        self.write_seed(account)?;
        accounts.accounts.push(Entry { name: name.to_owned(), id });
        self.write(&accounts)
    }

    /// The account with this name, with its secrets.
    ///
    /// # Errors
    /// When there is none, or its seed cannot be read.
    pub fn account(&self, name: &str) -> Result<Account, HomeError> {
        let accounts: Accounts = self.read()?;
        let entry = accounts.accounts.iter().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| HomeError::NoAccount(name.to_owned()))?;
        self.read_seed(&entry.id)
    }

    /// The key on settlement chains that was imported for an account; none where the key of its seed counts.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    pub fn chain_key(&self, account: &AccountId) -> Result<Option<Zeroizing<[u8; 32]>>, HomeError> {
        files::read_chain_key(&self.chain_key_path(account))
    }

    /// Where a key that was imported for an account is kept: the key of its seed counts again once the file is moved
    /// away.
    pub fn chain_key_file(&self, account: &AccountId) -> PathBuf {
        self.chain_key_path(account)
    }

    /// Keeps a key that the account uses on settlement chains from now on. The same key twice is no error;
    /// another one is never replaced: it may hold money.
    ///
    /// # Errors
    /// When another key was imported before, or the disk refuses.
    pub fn import_chain_key(&self, account: &AccountId, key: &[u8; 32]) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let path = self.chain_key_path(account);
        match files::read_chain_key(&path)? {
            Some(kept) if *kept == *key => Ok(()),
            Some(_) => Err(HomeError::ChainKeyExists(path)),
            None => {
                disk::make_folder(&self.folder.join(files::CHAIN_KEYS))?;
                files::write_chain_key(&path, key)
            }
        }
    }

    /// The messages that an account was already shown.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn shown(&self, account: &AccountId) -> Result<BTreeSet<MessageHash>, HomeError> {
        Ok(self.read_inbox(account)?.shown.into_keys().collect())
    }

    /// Remembers that an account was shown these messages, each with its end in milliseconds since 1970.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn mark_shown(&self, account: &AccountId, messages: &[(MessageHash, u64)]) -> Result<(), HomeError> {
        self.mark(account, messages, None)
    }

    /// Remembers that an account was shown its whole mailbox; and of what is not in it, forgets what had
    /// ended by `now_ms`.
    ///
    /// A message whose end was put off is known by that before its old end is looked at: nothing that a
    /// mailbox still has is ever forgotten.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn mark_all_shown(
        &self,
        account: &AccountId,
        mailbox: &[(MessageHash, u64)],
        now_ms: u64,
    ) -> Result<(), HomeError> {
        self.mark(account, mailbox, Some(now_ms))
    }

    fn mark(
        &self,
        account: &AccountId,
        messages: &[(MessageHash, u64)],
        now_ms: Option<u64>,
    ) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let mut inbox = self.read_inbox(account)?;
        let before = inbox.shown.clone();
        if let Some(now_ms) = now_ms {
            inbox.shown.retain(|_, end| *end > now_ms);
        }
        inbox.shown.extend(messages.iter().copied());
        bound(&mut inbox.shown);
        if inbox.shown == before { Ok(()) } else { self.write_inbox(account, &inbox) }
    }

    /// The guards of the network with this digest; none if nothing was ever kept.
    ///
    /// # Errors
    /// When there are some and they cannot be read: others must not take their place unasked.
    pub fn guards(&self, network: &[u8; 32]) -> Result<Guards, HomeError> {
        files::read_guards(&self.network_path(files::GUARDS, network), network)
    }

    /// Changes the guards of the network with this digest, while nobody else does, and returns them.
    ///
    /// # Errors
    /// When there are some and they cannot be read, and when the disk refuses.
    pub fn change_guards(
        &self,
        network: &[u8; 32],
        change: impl FnOnce(&Guards) -> Guards,
    ) -> Result<Guards, HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let before = self.guards(network)?;
        let guards = change(&before);
        if guards != before {
            disk::make_folder(&self.folder.join(files::GUARDS))?;
            disk::replace(&self.network_path(files::GUARDS, network), &guards.encode(network))?;
        }
        Ok(guards)
    }

    /// The signed list of nodes of the network with this digest, as it was kept; none if none was.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn directory(&self, network: &[u8; 32]) -> Result<Option<Vec<u8>>, HomeError> {
        let bytes = disk::read(&self.network_path(files::DIRECTORY, network))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    /// Keeps the signed list of nodes of the network with this digest.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_directory(&self, network: &[u8; 32], bytes: &[u8]) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        disk::make_folder(&self.folder.join(files::DIRECTORY))?;
        disk::replace(&self.network_path(files::DIRECTORY, network), bytes)
    }

    /// The newest checkpoint of the network with this digest, as it was kept; none if none was.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn checkpoint(&self, network: &[u8; 32]) -> Result<Option<Vec<u8>>, HomeError> {
        let bytes = disk::read(&self.network_path(files::CHECKPOINTS, network))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    /// Keeps the newest checkpoint of the network with this digest: who may sign the next is taken from it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_checkpoint(&self, network: &[u8; 32], bytes: &[u8]) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        disk::make_folder(&self.folder.join(files::CHECKPOINTS))?;
        disk::replace(&self.network_path(files::CHECKPOINTS, network), bytes)
    }

    /// What names of the network with this digest said when they were followed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn pins(&self, network: &[u8; 32]) -> Result<Pins, HomeError> {
        Ok(files::read::<Names>(&self.names_path(network))?.names)
    }

    /// Keeps what a record of a name says, if it said the same before, if nothing is known of it under another
    /// owner, or to `replace` what it said; else returns what that is, and of which record of which name.
    ///
    /// # Errors
    /// When what is kept cannot be read, or the disk refuses.
    pub fn pin(
        &self,
        network: &[u8; 32],
        name: &Name,
        kind: Kind,
        pin: Pin,
        replace: bool,
    ) -> Result<Option<(Name, Kind, Pin)>, HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let path = self.names_path(network);
        let mut names: Names = files::read(&path)?;
        let before = names.names.clone();
        let changed = Pin::keep(&mut names.names, name, kind, pin, replace);
        if names.names != before {
            disk::make_folder(&self.folder.join(files::NAMES))?;
            files::write(&path, &names)?;
        }
        Ok(changed)
    }

    /// The keys of a name that was followed, if they are kept; none where what is kept is of another name, or damaged.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub fn name_keys(&self, network: &[u8; 32], name: &Name) -> Result<Option<NameKeys>, HomeError> {
        let mut kept: Keys = files::read(&self.keys_path(network))?;
        let text = kept.names.remove(name).map(Zeroizing::new);
        let bytes = text.and_then(|text| HEX.decode(text.as_bytes()).ok()).map(Zeroizing::new);
        let parts = bytes.as_ref().and_then(|bytes| bytes.split_first_chunk::<32>());
        let sound = parts.filter(|(seal, keys)| **seal == files::seal(name, keys));
        Ok(sound.and_then(|(_, keys)| NameKeys::from_bytes(keys)))
    }

    /// Keeps the keys of a name that was followed.
    ///
    /// # Errors
    /// When what is kept cannot be read, or the disk refuses.
    pub fn keep_name_keys(&self, network: &[u8; 32], name: &Name, keys: &NameKeys) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let path = self.keys_path(network);
        let mut kept: Keys = files::read(&path)?;
        let keys = keys.to_bytes();
        let sealed = Zeroizing::new([&files::seal(name, &keys), keys.as_slice()].concat());
        let text = HEX.encode(&sealed);
        if kept.names.get(name) != Some(&text) {
            kept.names.insert(name.clone(), text);
            disk::make_folder(&self.folder.join(files::KEYS))?;
            files::write(&path, &kept)?;
        }
        Ok(())
    }

    fn keys_path(&self, network: &[u8; 32]) -> PathBuf {
        self.network_path(files::KEYS, network).with_extension("json")
    }

    fn names_path(&self, network: &[u8; 32]) -> PathBuf {
        self.network_path(files::NAMES, network).with_extension("json")
    }

    fn network_path(&self, folder: &str, network: &[u8; 32]) -> PathBuf {
        self.folder.join(folder).join(short(network))
    }

    fn read_inbox(&self, account: &AccountId) -> Result<Inbox, HomeError> {
        files::read(&self.inbox_path(account))
    }

    fn write_inbox(&self, account: &AccountId, inbox: &Inbox) -> Result<(), HomeError> {
        disk::make_folder(&self.folder.join(files::INBOX))?;
        files::write(&self.inbox_path(account), inbox)
    }

    fn inbox_path(&self, account: &AccountId) -> PathBuf {
        self.folder.join(files::INBOX).join(format!("{account}.json"))
    }

    fn seed_path(&self, account: &AccountId) -> PathBuf {
        self.folder.join(files::SEEDS).join(account.to_string())
    }

    fn chain_key_path(&self, account: &AccountId) -> PathBuf {
        self.folder.join(files::CHAIN_KEYS).join(account.to_string())
    }

    fn read_seed(&self, id: &AccountId) -> Result<Account, HomeError> {
        files::read_seed(&self.seed_path(id), id)
    }

    /// Writes a seed, or finds it: a run that ended early leaves one that is in no list yet.
    fn write_seed(&self, account: &Account) -> Result<(), HomeError> {
        disk::make_folder(&self.folder.join(files::SEEDS))?;
        let path = self.seed_path(&account.id());
        if disk::exists(&path)? {
            return self.read_seed(&account.id()).map(drop);
        }
        files::write_seed(&path, account)
    }

    fn read<F: files::Named>(&self) -> Result<F, HomeError> {
        files::read(&self.folder.join(F::NAME))
    }

    fn write<F: files::Named>(&self, file: &F) -> Result<(), HomeError> {
        files::write(&self.folder.join(F::NAME), file)
    }
}

/// The first 8 bytes of a network's digest, in hex.
fn short(network: &[u8; 32]) -> String {
    HEX.encode(network.get(..8).unwrap_or_default())
}

/// Keeps of too many those that end last.
fn bound(shown: &mut BTreeMap<MessageHash, u64>) {
    let surplus = shown.len().saturating_sub(MAX_SHOWN);
    if surplus > 0 {
        let mut ends: Vec<_> = shown.iter().map(|(hash, end)| (*end, *hash)).collect();
        ends.sort_unstable();
        for (_, hash) in ends.iter().take(surplus) {
            shown.remove(hash);
        }
    }
}

fn check_name(name: &str) -> Result<(), HomeError> {
    let fits = (1..=MAX_NAME).contains(&name.len());
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits && plain { Ok(()) } else { Err(HomeError::Name(name.to_owned())) }
}

/// Accounts and contacts share their names, so that a name means one of them, to whoever writes it and whoever reads it.
/// What was kept before that was demanded of new names stays as it is.
fn check_free(name: &str, accounts: &Accounts, contacts: &Contacts) -> Result<(), HomeError> {
    let own = accounts.accounts.iter().map(|entry| (&entry.name, entry.id));
    let all: Vec<_> = own.chain(contacts.contacts.iter().map(|(known, id)| (known, *id))).collect();
    if let Some((_, id)) = all.iter().find(|(known, _)| *known == name) {
        return Err(HomeError::NameTaken { name: name.to_owned(), id: *id });
    }
    match all.into_iter().find(|(known, _)| contacts::is_alike(name, known)) {
        Some((known, id)) => Err(HomeError::NameAlike { name: name.to_owned(), known: known.clone(), id }),
        None => Ok(()),
    }
}
