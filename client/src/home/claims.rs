//! Payments that others say they made, as far as the chain was asked about them.

use std::{cmp::Reverse, collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use session_protocols::{AccountId, MessageHash};

use super::{Home, HomeError, disk, files, outgoing::Hex};
use crate::envelope::money::ADDRESS;

/// The folder.
const FOLDER: &str = "claims";

/// The most claims that did not hold which are kept for an account; of more, those go that would be asked about again
/// first.
const MAX_UNFOUNDED: usize = 10_000;
/// The most payments in the chain's own coin that are kept for an account; of more, those go of which their payer made
/// most since, and of these the ones told of longest ago.
const MAX_RECEIVED: usize = 1_000;

/// What is known of payments that others say they made to one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Those that did not hold so far, by the message that tells of them.
    pub unfounded: BTreeMap<MessageHash, Unfounded>,
    /// Those in the chain's own coin that do, by transaction: no event tells of them.
    pub received: BTreeMap<Hex<32>, Received>,
}

/// A claim that did not hold, or was not decided, when the chain was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unfounded {
    /// Why it did not.
    pub why: String,
    /// When the chain was asked first, in milliseconds since 1970.
    pub first_ms: u64,
    /// When it was asked last; not known of what was kept by earlier versions.
    #[serde(default)]
    pub asked_ms: u64,
    /// When it is to be asked again.
    pub again_ms: u64,
}

/// A payment in the chain's own coin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// The chain's id.
    pub chain: u64,
    /// The address that paid.
    pub from: Hex<ADDRESS>,
    /// The address that was paid.
    pub to: Hex<ADDRESS>,
    /// How much, in units of the coin.
    pub units: u128,
    /// The height of its block; none while that was not final.
    pub height: Option<u64>,
    /// When a message told of it, in milliseconds since 1970.
    pub told_ms: u64,
}

/// What stands in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: files::Version,
    claims: Claims,
}

impl Home {
    /// What is known of payments that others say they made to an account.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn claims(&self, account: &AccountId) -> Result<Claims, HomeError> {
        Ok(files::read::<File>(&self.claims_path(account))?.claims)
    }

    /// Changes what is known of them, while nobody else does.
    ///
    /// # Errors
    /// When what is kept cannot be read, or the disk refuses.
    pub fn change_claims(
        &self,
        account: &AccountId,
        change: impl FnOnce(&mut Claims),
    ) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let path = self.claims_path(account);
        let mut file: File = files::read(&path)?;
        let before = file.claims.clone();
        change(&mut file.claims);
        bound_unfounded(&mut file.claims.unfounded);
        bound_received(&mut file.claims.received);
        if file.claims != before {
            disk::make_folder(&self.folder.join(FOLDER))?;
            files::write(&path, &file)?;
        }
        Ok(())
    }

    fn claims_path(&self, account: &AccountId) -> PathBuf {
        self.folder.join(FOLDER).join(format!("{account}.json"))
    }
}

fn bound_unfounded(all: &mut BTreeMap<MessageHash, Unfounded>) {
    let surplus = all.len().saturating_sub(MAX_UNFOUNDED);
    if surplus > 0 {
        let mut times: Vec<_> = all.iter().map(|(message, it)| (it.again_ms, *message)).collect();
        times.sort_unstable();
        for (_, message) in times.iter().take(surplus) {
            all.remove(message);
        }
    }
}

/// By turns of one from each payer, the newest of theirs first: who makes many small ones pushes out nobody else's.
fn bound_received(all: &mut BTreeMap<Hex<32>, Received>) {
    if all.len() <= MAX_RECEIVED {
        return;
    }
    let mut newest: Vec<_> = all.iter().map(|(it, by)| (Reverse(by.told_ms), *it, by.from)).collect();
    newest.sort_unstable();
    let mut turns: BTreeMap<Hex<ADDRESS>, usize> = BTreeMap::new();
    let mut turned = Vec::with_capacity(newest.len());
    for (told, it, from) in newest {
        let turn = turns.entry(from).or_default();
        turned.push((*turn, told, it));
        *turn += 1;
    }
    turned.sort_unstable();
    for (.., it) in turned.iter().skip(MAX_RECEIVED) {
        all.remove(it);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home, AccountId) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        (folder, home, AccountId::from_bytes([5; 33]))
    }

    fn message(number: usize) -> MessageHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        MessageHash(hash)
    }

    fn unfounded(again_ms: u64) -> Unfounded {
        Unfounded { why: "there is no such transaction".to_owned(), first_ms: 1, asked_ms: 2, again_ms }
    }

    #[test]
    fn what_the_chain_said_is_known_to_the_next_command() {
        let (_folder, home, me) = home();
        assert_eq!(home.claims(&me).unwrap(), Claims::default());
        let received = Received {
            chain: 7,
            from: Hex([1; 20]),
            to: Hex([2; 20]),
            units: u128::MAX,
            height: Some(9),
            told_ms: 8,
        };
        let change = |claims: &mut Claims| {
            claims.unfounded.insert(message(1), unfounded(5));
            claims.received.insert(Hex([3; 32]), received.clone());
        };
        home.change_claims(&me, change).unwrap();
        let again = Home::open(home.path()).unwrap();
        let claims = again.claims(&me).unwrap();
        assert_eq!(claims.unfounded.get(&message(1)), Some(&unfounded(5)));
        assert_eq!(claims.received.get(&Hex([3; 32])), Some(&received));
        assert_eq!(again.claims(&AccountId::from_bytes([6; 33])).unwrap(), Claims::default());
        let path = home.path().join(FOLDER).join(format!("{me}.json"));
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(written["claims"]["received"]["03".repeat(32)]["from"], "01".repeat(20));
    }

    #[test]
    fn of_too_many_claims_those_go_that_would_be_asked_about_first() {
        let (_folder, home, me) = home();
        let many = (0..MAX_UNFOUNDED + 2).map(|number| (message(number), unfounded(number as u64)));
        home.change_claims(&me, |claims| claims.unfounded.extend(many)).unwrap();
        let kept = home.claims(&me).unwrap().unfounded;
        assert_eq!((kept.len(), kept.keys().next()), (MAX_UNFOUNDED, Some(&message(2))));
    }

    #[test]
    fn of_too_many_payments_one_payers_push_out_nobody_elses() {
        let (_folder, home, me) = home();
        let payment = |payer: u8, told_ms: u64| {
            let mut transaction = [payer; 32];
            transaction[..8].copy_from_slice(&told_ms.to_be_bytes());
            let (from, to) = (Hex([payer; 20]), Hex([9; 20]));
            (Hex(transaction), Received { chain: 7, from, to, units: 1, height: Some(9), told_ms })
        };
        let many = (0..MAX_RECEIVED as u64 + 2).map(|number| payment(1, 100 + number));
        let others = [payment(2, 1), payment(2, 2), payment(3, 3)];
        let all = others.clone().into_iter().chain(many);
        home.change_claims(&me, |claims| claims.received.extend(all)).unwrap();
        let kept = home.claims(&me).unwrap().received;
        assert_eq!(kept.len(), MAX_RECEIVED);
        assert!(others.iter().all(|(transaction, _)| kept.contains_key(transaction)));
        // Of the many the newest.
        let oldest = kept.values().filter(|it| it.from == Hex([1; 20])).map(|it| it.told_ms).min();
        assert_eq!(oldest, Some(100 + 5));
    }
}
