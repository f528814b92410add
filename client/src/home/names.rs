//! What an account's names on settlement chains are called, and registrations that are begun.

use core::fmt;
use std::{collections::BTreeMap, path::PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use session_protocols::{
    AccountId,
    names::{Name, NameId},
};

use super::{Home, HomeError, disk, files, short};

/// The folder.
const FOLDER: &str = "names";

/// What one account knows of names on chains, by network: the first 8 bytes of its digest, in hex.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    version: files::Version,
    networks: BTreeMap<String, OwnNames>,
}

/// What an account knows of the names of one network. The chain has ids alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnNames {
    /// Names that it registered, bought or offered for, and their ids; whose they are now the chain knows.
    pub known: BTreeMap<Name, NameId>,
    /// Registrations that are begun and not known to be done, each with its secret.
    pub begun: BTreeMap<Name, Secret>,
}

/// What a registration was committed to with: 32 random bytes, in hex.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self(secret))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&HEX.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = HEX.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a secret is 64 hex digits"))
    }
}

impl Home {
    /// What an account knows of the names of the network with this digest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn names(&self, account: &AccountId, network: &[u8; 32]) -> Result<OwnNames, HomeError> {
        let mut names: Names = files::read(&self.own_names_path(account))?;
        Ok(names.networks.remove(&short(network)).unwrap_or_default())
    }

    /// Begins to register a name with this secret, and returns the one that counts: if the registration was begun
    /// before, the one that it began with.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin_name(
        &self,
        account: &AccountId,
        network: &[u8; 32],
        name: &Name,
        secret: Secret,
    ) -> Result<Secret, HomeError> {
        self.change_names(account, network, |names| names.begun.entry(name.clone()).or_insert(secret).clone())
    }

    /// Remembers what a name is called that an account registered, bought or offered for; its registration is not
    /// begun any more.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_name(
        &self,
        account: &AccountId,
        network: &[u8; 32],
        name: &Name,
        id: NameId,
    ) -> Result<(), HomeError> {
        self.change_names(account, network, |names| {
            names.begun.remove(name);
            names.known.insert(name.clone(), id);
        })
    }

    /// Gives the registration of a name up.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn give_name_up(
        &self,
        account: &AccountId,
        network: &[u8; 32],
        name: &Name,
    ) -> Result<(), HomeError> {
        self.change_names(account, network, |names| {
            names.begun.remove(name);
        })
    }

    fn change_names<T>(
        &self,
        account: &AccountId,
        network: &[u8; 32],
        change: impl FnOnce(&mut OwnNames) -> T,
    ) -> Result<T, HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let path = self.own_names_path(account);
        let mut names: Names = files::read(&path)?;
        let own = names.networks.entry(short(network)).or_default();
        let before = own.clone();
        let changed = change(own);
        if *own != before {
            disk::make_folder(&self.folder.join(FOLDER))?;
            files::write(&path, &names)?;
        }
        Ok(changed)
    }

    fn own_names_path(&self, account: &AccountId) -> PathBuf {
        self.folder.join(FOLDER).join(format!("{account}.json"))
    }
}
