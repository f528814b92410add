//! Where others are paid, and which payments were made.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use data_encoding::HEXLOWER as HEX;
use session_protocols::{AccountId, MessageHash};

use super::{
    Home, HomeError, disk,
    files::{self, Payment, Payments, ReadTo, Wallet, Wallets},
    short,
};
use crate::{cursors::Cursors, envelope::money::ADDRESS};

/// The most people whose addresses are kept; of more, those go that spoke longest ago, strangers' that were never agreed to
/// before all others: accounts cost nothing.
pub(super) const MAX_WALLETS: usize = 10_000;
/// The most inboxes of which is kept how far they were read; of more, the one that was read longest ago goes, and is
/// read from its beginning again.
const MAX_READ: usize = 32;
/// The most payments that are kept for an account; of more, those of the lowest blocks go.
const MAX_PAYMENTS: usize = 10_000;

/// Where somebody is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaidAt {
    /// The address said last.
    pub said: [u8; ADDRESS],
    /// The address that was agreed to before, if one was: another one is not to be followed unasked.
    pub agreed: Option<[u8; ADDRESS]>,
    /// The address that was said when that one was agreed to, if it was another: nobody is to be asked the same again
    /// while both are what they were.
    pub over: Option<[u8; ADDRESS]>,
}

/// A payment that is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The message that told of it first.
    pub message: MessageHash,
    /// The height of its block.
    pub height: u64,
}

impl Home {
    /// Where somebody is paid; none where that was never said.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn paid_at(&self, who: &AccountId) -> Result<Option<PaidAt>, HomeError> {
        let wallets: Wallets = self.read()?;
        let Some(wallet) = wallets.wallets.get(who) else { return Ok(None) };
        let read = |text: &str| HEX.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        let said = read(&wallet.said).map(|said| PaidAt {
            said,
            agreed: wallet.agreed.as_deref().and_then(read),
            over: wallet.over.as_deref().and_then(read),
        });
        // An address that cannot be read was never agreed to by anybody.
        said.map(Some).ok_or_else(|| files::broken(&self.folder.join("wallets.json"), "an address is none"))
    }

    /// Keeps where somebody says to be paid, whose key said so too; what was said later counts.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_said(&self, who: &AccountId, address: [u8; ADDRESS], said_ms: u64) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let mut wallets: Wallets = self.read()?;
        let kept = wallets.wallets.get(who);
        if kept.is_some_and(|kept| kept.said_ms >= said_ms) {
            return Ok(());
        }
        let Wallet { agreed, over, .. } = kept.cloned().unwrap_or_default();
        wallets.wallets.insert(*who, Wallet { said: HEX.encode(&address), said_ms, agreed, over });
        if wallets.wallets.len() > MAX_WALLETS {
            let contacts: BTreeSet<AccountId> = self.contacts()?.into_values().collect();
            let matters = |who: &AccountId, it: &Wallet| it.agreed.is_some() || contacts.contains(who);
            while wallets.wallets.len() > MAX_WALLETS {
                let first = wallets.wallets.iter().min_by_key(|(who, it)| (matters(who, it), it.said_ms));
                let Some(first) = first.map(|(who, _)| *who) else { break };
                wallets.wallets.remove(&first);
            }
        }
        self.write(&wallets)
    }

    /// How far an account's inbox was read for where others are paid, on the network with this digest: all that was
    /// said before is kept here. Before the first message where that is not known, or cannot be read.
    ///
    /// # Errors
    /// When what was learnt cannot be read.
    pub fn read_to(&self, account: &AccountId, network: &[u8; 32]) -> Result<Cursors, HomeError> {
        let (wallets, network): (Wallets, _) = (self.read()?, short(network));
        let kept = wallets.read.iter().find(|kept| kept.account == *account && kept.network == network);
        let bytes = kept.and_then(|kept| HEX.decode(kept.to.as_bytes()).ok());
        Ok(bytes.and_then(|bytes| Cursors::from_bytes(&bytes)).unwrap_or_default())
    }

    /// Keeps how far an account's inbox was read, on the network with this digest, once all is kept that was said
    /// up to there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_read_to(
        &self,
        account: &AccountId,
        network: &[u8; 32],
        cursors: &Cursors,
    ) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let mut wallets: Wallets = self.read()?;
        let kept = ReadTo { network: short(network), account: *account, to: HEX.encode(&cursors.to_bytes()) };
        if wallets.read.first() == Some(&kept) {
            return Ok(());
        }
        wallets.read.retain(|it| it.account != kept.account || it.network != kept.network);
        wallets.read.insert(0, kept);
        wallets.read.truncate(MAX_READ);
        self.write(&wallets)
    }

    /// Keeps that an address of somebody was agreed to, `over` the one that they said, where it is another.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_agreed(
        &self,
        who: &AccountId,
        address: [u8; ADDRESS],
        over: Option<[u8; ADDRESS]>,
    ) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let mut wallets: Wallets = self.read()?;
        let Some(kept) = wallets.wallets.get_mut(who) else { return Ok(()) };
        let [agreed, over] = [Some(address), over].map(|it| it.map(|it| HEX.encode(&it)));
        let wallet = Wallet { agreed, over, ..kept.clone() };
        if wallet == *kept {
            return Ok(());
        }
        *kept = wallet;
        self.write(&wallets)
    }

    /// The payments to an account that are known to be final, by transaction.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn paid(&self, account: &AccountId) -> Result<BTreeMap<[u8; 32], Paid>, HomeError> {
        let payments: Payments = files::read(&self.payments_path(account))?;
        let read = |(transaction, Payment { message, height }): (String, Payment)| {
            let transaction: [u8; 32] = HEX.decode(transaction.as_bytes()).ok()?.try_into().ok()?;
            Some((transaction, Paid { message, height }))
        };
        Ok(payments.payments.into_iter().filter_map(read).collect())
    }

    /// Keeps that a payment to an account is final, and which message told of it first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_paid(
        &self,
        account: &AccountId,
        transaction: &[u8; 32],
        paid: Paid,
    ) -> Result<(), HomeError> {
        let _lock = disk::lock(&self.folder)?;
        let path = self.payments_path(account);
        let mut payments: Payments = files::read(&path)?;
        let Paid { message, height } = paid;
        payments.payments.entry(HEX.encode(transaction)).or_insert(Payment { message, height });
        while payments.payments.len() > MAX_PAYMENTS {
            let first =
                payments.payments.iter().min_by_key(|(_, it)| it.height).map(|(first, _)| first.clone());
            let Some(first) = first else { break };
            payments.payments.remove(&first);
        }
        disk::make_folder(&self.folder.join(files::PAYMENTS))?;
        files::write(&path, &payments)
    }

    fn payments_path(&self, account: &AccountId) -> PathBuf {
        self.folder.join(files::PAYMENTS).join(format!("{account}.json"))
    }
}
