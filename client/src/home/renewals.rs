//! Renewals of names that an account sent, written down before: none is paid twice since its answer was lost.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use session_protocols::{AccountId, names::Name};

use super::{Home, HomeError, disk, files, short};

/// The folder.
const FOLDER: &str = "renewals";

/// The most renewals that are kept for an account and a network; of more, the one that was sent first goes.
const MAX_RENEWALS: usize = 256;

/// The renewals that one account sent and that are not known to be made, by network: the first 8 bytes of its digest,
/// in hex.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewals {
    version: files::Version,
    networks: BTreeMap<String, BTreeMap<Name, Renewal>>,
}

/// A renewal of a name. Whether it was made the chain knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// When the name expires once it is made, in seconds since 1970.
    pub expires: u64,
    /// For how many days it pays.
    pub days: u64,
    /// When it was sent, in milliseconds since 1970.
    pub sent_ms: u64,
}

impl Home {
    /// The renewal of a name of the network with this digest that an account sent last; none where that is known to
    /// be made.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn renewal(
        &self,
        account: &AccountId,
        network: &[u8; 32],
        name: &Name,
    ) -> Result<Option<Renewal>, HomeError> {
        let mut file: Renewals = files::read(&self.renewals_path(account))?;
        Ok(file.networks.remove(&short(network)).and_then(|mut renewals| renewals.remove(name)))
    }

    /// Keeps a renewal that is about to be sent.
    ///
    /// # Errors
    /// When the disk refuses: it is not to be sent.
    pub fn begin_renewal(
        &self,
        account: &AccountId,
        network: &[u8; 32],
        name: &Name,
        renewal: Renewal,
    ) -> Result<(), HomeError> {
        self.change_renewals(account, network, |renewals| {
            renewals.insert(name.clone(), renewal);
            while renewals.len() > MAX_RENEWALS {
                let oldest = renewals.iter().min_by_key(|(_, it)| it.sent_ms).map(|(name, _)| name.clone());
                let Some(oldest) = oldest else { break };
                renewals.remove(&oldest);
            }
        })
    }

    /// Forgets a renewal that is known to be made: the next one is another.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn end_renewal(&self, account: &AccountId, network: &[u8; 32], name: &Name) -> Result<(), HomeError> {
        self.change_renewals(account, network, |renewals| {
            renewals.remove(name);
        })
    }

    fn change_renewals(
        &self,
        account: &AccountId,
        network: &[u8; 32],
        change: impl FnOnce(&mut BTreeMap<Name, Renewal>),
    ) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let path = self.renewals_path(account);
        let mut file: Renewals = files::read(&path)?;
        let renewals = file.networks.entry(short(network)).or_default();
        let before = renewals.clone();
        change(renewals);
        if *renewals != before {
            disk::make_folder(&self.folder.join(FOLDER))?;
            files::write(&path, &file)?;
        }
        Ok(())
    }

    fn renewals_path(&self, account: &AccountId) -> PathBuf {
        self.folder.join(FOLDER).join(format!("{account}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: [u8; 32] = [7; 32];

    fn renewal(sent_ms: u64) -> Renewal {
        Renewal { expires: 9, days: 365, sent_ms }
    }

    fn home() -> (tempfile::TempDir, Home, AccountId) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        (folder, home, AccountId::from_bytes([5; 33]))
    }

    #[test]
    fn a_renewal_is_known_to_the_next_command_until_it_is_known_to_be_made() {
        let (_folder, home, me) = home();
        let (alice, bob): (Name, Name) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        home.begin_renewal(&me, &NETWORK, &alice, renewal(1)).unwrap();
        let home = Home::open(home.path()).unwrap();
        assert_eq!(home.renewal(&me, &NETWORK, &alice).unwrap(), Some(renewal(1)));
        let other = AccountId::from_bytes([6; 33]);
        for (who, network, name) in [(&other, NETWORK, &alice), (&me, [8; 32], &alice), (&me, NETWORK, &bob)]
        {
            assert_eq!(home.renewal(who, &network, name).unwrap(), None);
        }
        home.begin_renewal(&me, &NETWORK, &alice, renewal(2)).unwrap();
        assert_eq!(home.renewal(&me, &NETWORK, &alice).unwrap(), Some(renewal(2)));
        home.end_renewal(&me, &NETWORK, &alice).unwrap();
        assert_eq!(home.renewal(&me, &NETWORK, &alice).unwrap(), None);
    }

    #[test]
    fn of_too_many_renewals_the_oldest_goes() {
        let (_folder, home, me) = home();
        let name = |number: usize| format!("n{number}").parse::<Name>().unwrap();
        let many = (0..MAX_RENEWALS).map(|number| (name(number), renewal(number as u64)));
        home.change_renewals(&me, &NETWORK, |renewals| renewals.extend(many)).unwrap();
        home.begin_renewal(&me, &NETWORK, &name(MAX_RENEWALS), renewal(1_000)).unwrap();
        for (number, kept) in [(0, false), (1, true), (MAX_RENEWALS, true)] {
            assert_eq!(home.renewal(&me, &NETWORK, &name(number)).unwrap().is_some(), kept, "{number}");
        }
    }

    #[test]
    fn what_cannot_be_written_down_is_told_before_it_is_sent() {
        let (_folder, home, me) = home();
        std::fs::write(home.path().join(FOLDER), "in the way").unwrap();
        let begun = home.begin_renewal(&me, &NETWORK, &"alice".parse().unwrap(), renewal(1));
        assert!(matches!(begun, Err(HomeError::Io { .. })));
    }
}
