//! Payments that an account signed, written down before they are sent.

use std::path::PathBuf;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use session_protocols::AccountId;

use super::{Home, HomeError, disk, files};
use crate::envelope::{Sum, money::ADDRESS};

/// The folder.
const FOLDER: &str = "outgoing";

/// The most payments that are kept for an account; of more, the oldest that is not open goes.
const MAX_OUTGOING: usize = 1_000;

/// A payment that an account signed. Whether it was made the chain knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outgoing {
    /// The address that pays.
    pub from: Hex<ADDRESS>,
    /// The address that is paid.
    pub to: Hex<ADDRESS>,
    /// What the payer called whom they pay.
    pub called: String,
    /// Who is to be told of it; none where nobody is.
    pub whom: Option<AccountId>,
    /// The chain's id.
    pub chain: u64,
    /// The token's address; none for the chain's own coin.
    pub token: Option<Hex<ADDRESS>>,
    /// In units of the coin.
    pub units: u128,
    /// The nonce of the transaction.
    pub nonce: u64,
    /// The transactions that may make it, newest last: each pays a higher fee than the one before, and one of them is
    /// mined at most.
    pub transactions: Vec<Hex<32>>,
    /// When it was signed, in milliseconds since 1970.
    pub signed_ms: u64,
    /// Whether it is not known to be made and told of, nor to be void.
    pub is_open: bool,
}

/// Bytes, in hex where they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&HEX.encode(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = HEX.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom(format!("expected {N} bytes in hex")))
    }
}

/// The payments that one account signed, newest last.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payments {
    version: files::Version,
    payments: Vec<Outgoing>,
}

impl Outgoing {
    /// The sum, as messages name it.
    pub fn sum(&self) -> Sum {
        Sum { chain: self.chain, token: self.token.map(|token| token.0), units: self.units }
    }

    /// Whether a transaction may make it.
    pub fn has(&self, transaction: &[u8; 32]) -> bool {
        self.transactions.contains(&Hex(*transaction))
    }

    /// Whether it pays the same sum to the same address, or to the same person wherever they are paid.
    pub fn is_like(&self, other: &Self) -> bool {
        let whom = self.whom.is_some() && self.whom == other.whom;
        self.sum() == other.sum() && (self.to == other.to || whom)
    }
}

impl Home {
    /// The payments that an account signed, newest last.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn outgoing(&self, account: &AccountId) -> Result<Vec<Outgoing>, HomeError> {
        Ok(files::read::<Payments>(&self.outgoing_path(account))?.payments)
    }

    /// Keeps a payment that is about to be sent, unless one like it is open: that is returned then. To pay `again`
    /// settles those that are open.
    ///
    /// # Errors
    /// When the disk refuses: it is not to be sent.
    pub fn begin_payment(
        &self,
        account: &AccountId,
        payment: Outgoing,
        again: bool,
    ) -> Result<Option<Outgoing>, HomeError> {
        self.change_outgoing(account, |payments| {
            for before in payments.iter_mut().filter(|it| it.is_open && it.is_like(&payment)) {
                if !again {
                    return Some(before.clone());
                }
                before.is_open = false;
            }
            payments.push(payment);
            while payments.len() > MAX_OUTGOING {
                let Some(oldest) = payments.iter().position(|it| !it.is_open) else { break };
                payments.remove(oldest);
            }
            None
        })
    }

    /// Keeps another transaction that may make the same payment as an earlier one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_replacement(
        &self,
        account: &AccountId,
        transaction: &[u8; 32],
        by: [u8; 32],
    ) -> Result<(), HomeError> {
        self.change_outgoing(account, |payments| {
            if let Some(payment) = payments.iter_mut().find(|it| it.has(transaction) && !it.has(&by)) {
                payment.transactions.push(Hex(by));
            }
        })
    }

    /// Settles a payment: it is made, and told of where somebody is to be told; or it is void.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn settle_payment(&self, account: &AccountId, transaction: &[u8; 32]) -> Result<(), HomeError> {
        self.change_outgoing(account, |payments| {
            payments.iter_mut().filter(|it| it.has(transaction)).for_each(|it| it.is_open = false);
        })
    }

    fn change_outgoing<T>(
        &self,
        account: &AccountId,
        change: impl FnOnce(&mut Vec<Outgoing>) -> T,
    ) -> Result<T, HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let path = self.outgoing_path(account);
        let mut file: Payments = files::read(&path)?;
        let before = file.payments.clone();
        let changed = change(&mut file.payments);
        if file.payments != before {
            disk::make_folder(&self.folder.join(FOLDER))?;
            files::write(&path, &file)?;
        }
        Ok(changed)
    }

    fn outgoing_path(&self, account: &AccountId) -> PathBuf {
        self.folder.join(FOLDER).join(format!("{account}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: [u8; 33] = [5; 33];

    fn payment(number: u64) -> Outgoing {
        let mut transaction = [0; 32];
        transaction[..8].copy_from_slice(&number.to_be_bytes());
        Outgoing {
            from: Hex([1; 20]),
            to: Hex([2; 20]),
            called: "bob".to_owned(),
            whom: None,
            chain: 1,
            token: Some(Hex([3; 20])),
            units: u128::MAX,
            nonce: number,
            transactions: vec![Hex(transaction)],
            signed_ms: 7,
            is_open: true,
        }
    }

    fn home() -> (tempfile::TempDir, Home, AccountId) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        (folder, home, AccountId::from_bytes(ME))
    }

    #[test]
    fn a_payment_that_is_open_keeps_one_like_it_from_being_made() {
        let (_folder, home, me) = home();
        let bob = Some(AccountId::from_bytes([6; 33]));
        let first = Outgoing { whom: bob, ..payment(0) };
        assert_eq!(home.begin_payment(&me, first.clone(), false).unwrap(), None);
        // What the next command finds.
        let home = Home::open(home.path()).unwrap();
        assert_eq!(home.outgoing(&me).unwrap(), std::slice::from_ref(&first));
        let moved = Outgoing { to: Hex([9; 20]), whom: bob, ..payment(1) };
        for like in [payment(1), moved.clone()] {
            assert_eq!(home.begin_payment(&me, like, false).unwrap().as_ref(), Some(&first));
        }
        assert_eq!(home.outgoing(&me).unwrap().len(), 1);
        let others = [
            Outgoing { units: 5, ..payment(2) },
            Outgoing { token: None, ..payment(3) },
            Outgoing { chain: 2, ..payment(4) },
            Outgoing { to: Hex([9; 20]), ..payment(5) },
        ];
        for other in others {
            assert_eq!(home.begin_payment(&me, other, false).unwrap(), None);
        }
        assert_eq!(home.begin_payment(&AccountId::from_bytes([6; 33]), payment(0), false).unwrap(), None);

        // It is settled by whichever of its transactions was mined.
        let (one, two) = (first.transactions[0].0, [8; 32]);
        home.keep_replacement(&me, &one, two).unwrap();
        home.keep_replacement(&me, &one, two).unwrap();
        assert_eq!(home.outgoing(&me).unwrap()[0].transactions, [Hex(one), Hex(two)]);
        home.settle_payment(&me, &two).unwrap();
        assert!(!home.outgoing(&me).unwrap()[0].is_open);
        assert_eq!(home.begin_payment(&me, moved.clone(), false).unwrap().map(|it| it.nonce), Some(5));
        // Whoever pays again settles what was open.
        assert_eq!(home.begin_payment(&me, moved, true).unwrap(), None);
        let open: Vec<_> = home.outgoing(&me).unwrap().into_iter().filter(|it| it.is_open).collect();
        assert_eq!(open.iter().map(|it| it.nonce).collect::<Vec<_>>(), [2, 3, 4, 1]);
    }

    #[test]
    fn of_too_many_payments_the_oldest_that_is_settled_goes() {
        let (_folder, home, me) = home();
        let all = (0..MAX_OUTGOING as u64).map(|number| Outgoing { is_open: number == 0, ..payment(number) });
        home.change_outgoing(&me, |payments| payments.extend(all)).unwrap();
        let next = Outgoing { units: 1, ..payment(5_000) };
        assert_eq!(home.begin_payment(&me, next, false).unwrap(), None);
        let kept = home.outgoing(&me).unwrap();
        assert_eq!((kept.len(), kept[0].nonce, kept[1].nonce), (MAX_OUTGOING, 0, 2));
    }

    #[test]
    fn what_cannot_be_written_down_is_told_before_it_is_sent() {
        let (_folder, home, me) = home();
        std::fs::write(home.path().join(FOLDER), "in the way").unwrap();
        assert!(matches!(home.begin_payment(&me, payment(0), false), Err(HomeError::Io { .. })));
    }
}
