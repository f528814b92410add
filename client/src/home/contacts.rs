//! The address book: names for other people's accounts, and whom a text means.

use std::collections::BTreeMap;

use session_protocols::{AccountId, names::Name};

use super::{Home, HomeError, check_free, check_name, disk, files::Contacts};

impl Home {
    /// The address book, by name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn contacts(&self) -> Result<BTreeMap<String, AccountId>, HomeError> {
        Ok(self.read::<Contacts>()?.contacts)
    }

    /// The names of the network by which some of those in the address book were found.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn contact_names(&self) -> Result<BTreeMap<String, Name>, HomeError> {
        Ok(self.read::<Contacts>()?.names)
    }

    /// Puts an account into the address book, and the name of the network by which it was `found`, if it was by one. The
    /// same entry twice is no error.
    ///
    /// # Errors
    /// When the name is taken or would be taken for another that is here, or the disk refuses.
    pub fn add_contact(&self, name: &str, id: AccountId, found: Option<&Name>) -> Result<(), HomeError> {
        check_name(name)?;
        let _lock = disk::lock(&self.folder)?;
        let mut contacts: Contacts = self.read()?;
        if contacts.contacts.get(name) == Some(&id) {
            if found.is_none_or(|found| contacts.names.get(name) == Some(found)) {
                return Ok(());
            }
        } else {
            check_free(name, &self.read()?, &contacts)?;
        }
        contacts.contacts.insert(name.to_owned(), id);
        contacts.names.extend(found.map(|found| (name.to_owned(), found.clone())));
        self.write(&contacts)
    }

    /// Whether a new account or contact can be called so.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub fn is_free(&self, name: &str) -> Result<bool, HomeError> {
        Ok(check_free(name, &self.read()?, &self.read()?).is_ok())
    }

    /// Takes a name out of the address book; returns whom it stood for.
    ///
    /// # Errors
    /// When there is no such contact, or the disk refuses.
    pub fn remove_contact(&self, name: &str) -> Result<AccountId, HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let mut contacts: Contacts = self.read()?;
        let id = contacts.contacts.remove(name).ok_or_else(|| HomeError::NoContact(name.to_owned()))?;
        contacts.names.remove(name);
        self.write(&contacts)?;
        Ok(id)
    }

    /// Whom a text means: an account id, a contact, or an account kept here.
    ///
    /// # Errors
    /// When it is none of them, and as [`Self::entry`].
    pub fn resolve(&self, name_or_id: &str) -> Result<AccountId, HomeError> {
        match name_or_id.parse() {
            Ok(id) => Ok(id),
            Err(_) => self.entry(name_or_id).map(|(_, id)| id),
        }
    }

    /// The contact, or else the account kept here, that is named so, and how it is written. Where none is written just
    /// so, upper and lower case are the same, and so is whatever else the network takes for one name: whoever has `Bob`
    /// here and writes `bob`, or has `xn--mller-kva` and writes `müller`, means no stranger of that name. Of two that are
    /// one in this way, from before that was refused, each is found as it is written and in no other way.
    ///
    /// # Errors
    /// When there is none; when several differ from it by case alone; and when what is kept cannot be read.
    pub fn entry(&self, name: &str) -> Result<(String, AccountId), HomeError> {
        let all: Vec<_> = self.contacts()?.into_iter().chain(self.accounts()?).collect();
        if let Some(exact) = all.iter().find(|(known, _)| known == name) {
            return Ok(exact.clone());
        }
        // With `@` it is the network's in any case.
        let normal = name.parse::<Name>().ok().filter(|_| !name.starts_with('@'));
        let is_alike = |known: &str| {
            known.eq_ignore_ascii_case(name) || normal.is_some() && known.parse::<Name>().ok() == normal
        };
        let mut alike: Vec<_> = all.into_iter().filter(|(known, _)| is_alike(known)).collect();
        match (alike.pop(), alike.as_slice()) {
            (None, _) => Err(HomeError::Unknown(name.to_owned())),
            (Some(one), []) => Ok(one),
            (Some((one, _)), others) => {
                let known = others.iter().map(|(other, _)| other.clone()).chain([one]).collect();
                Err(HomeError::Ambiguous { name: name.to_owned(), known })
            }
        }
    }
}

/// Whether a new name would be taken for one that is known: they differ by upper and lower case alone, or are names of
/// the network that are one, or look the same.
pub(super) fn is_alike(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
        || matches!(
            (name.parse::<Name>(), known.parse::<Name>()),
            (Ok(name), Ok(known)) if name == known || name.looks_like(&known)
        )
}
