//! Whether names that their owners revealed have the ids that they claim to: each costs a run of Argon2id, once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use session_protocols::names::{Name, NameId};

use super::{Home, HomeError, disk, files};

/// The most names of which that is kept; of more, those go that were checked first.
const MAX_REVEALED: usize = 10_000;

/// What was found out, which is the same on every network.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checks {
    version: files::Version,
    names: BTreeMap<NameId, Revealed>,
}

impl files::Named for Checks {
    const NAME: &'static str = "revealed.json";
}

/// What somebody says that a name is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revealed {
    /// What they say.
    pub name: Name,
    /// Whether that has the id.
    pub holds: bool,
    /// When it was checked, in milliseconds since 1970.
    pub checked_ms: u64,
}

impl Home {
    /// Which revealed names were checked, and what came of it, by id. Of one that says something else by now nothing
    /// is known.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn revealed(&self) -> Result<BTreeMap<NameId, Revealed>, HomeError> {
        Ok(self.read::<Checks>()?.names)
    }

    /// Keeps what came of checks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_revealed(&self, found: BTreeMap<NameId, Revealed>) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let mut checks: Checks = self.read()?;
        checks.names.extend(found);
        let surplus = checks.names.len().saturating_sub(MAX_REVEALED);
        if surplus > 0 {
            let mut by_age: Vec<(u64, NameId)> =
                checks.names.iter().map(|(id, revealed)| (revealed.checked_ms, *id)).collect();
            by_age.sort_unstable();
            by_age.iter().take(surplus).for_each(|(_, id)| drop(checks.names.remove(id)));
        }
        self.write(&checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revealed(number: usize, holds: bool) -> (NameId, Revealed) {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let name = format!("n{number}").parse().unwrap();
        (NameId::from_bytes(id), Revealed { name, holds, checked_ms: number as u64 })
    }

    #[test]
    fn what_was_checked_is_known_to_the_next_command_also_if_it_is_a_lie() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        assert_eq!(home.revealed().unwrap(), BTreeMap::new());
        let all = BTreeMap::from([revealed(1, true), revealed(2, false)]);
        home.keep_revealed(all.clone()).unwrap();
        assert_eq!(Home::open(home.path()).unwrap().revealed().unwrap(), all);
        // What it is called by now.
        let (id, other) = (revealed(2, false).0, revealed(3, true).1);
        home.keep_revealed(BTreeMap::from([(id, other.clone())])).unwrap();
        assert_eq!(home.revealed().unwrap()[&id], other);
    }

    #[test]
    fn of_too_many_those_go_that_were_checked_first() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        home.keep_revealed((0..MAX_REVEALED + 2).map(|number| revealed(number, false)).collect()).unwrap();
        let kept = home.revealed().unwrap();
        assert_eq!((kept.len(), kept.keys().next()), (MAX_REVEALED, Some(&revealed(2, false).0)));
    }
}
