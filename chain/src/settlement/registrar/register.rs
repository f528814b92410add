//! How a name is registered: by a commitment that tells nobody which name it is for, and a minute later in plain.

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::Provider,
    rpc::types::TransactionReceipt,
    sol_types::{SolCall, SolValue},
};
use session_protocols::names::{NameId, NameKeys, Value};
use tokio::time::{sleep, timeout};

use super::{Known, Period, Registrar, RegistrarError, record, token};
use crate::{
    ledger::Amount,
    names::{Entry, GRACE},
    settlement::{
        caller::call,
        calls::Names,
        errors::Refusal,
        sender::{Call, Progress, Quote, SendError, Spending},
    },
};

/// How long before a registration it is committed to, in seconds, as in the contract.
const MIN_AGE: u64 = 60;
/// How long a commitment can be used, in seconds, as in the contract.
const MAX_AGE: u64 = 3_600;
/// The most gas of a registration by permit, also as the first event of all, and of each record that goes with it.
/// What it takes less covers fees that rise in the minute before it is sent.
const REGISTRATION_GAS: u64 = 250_000;
const RECORD_GAS: u64 = 90_000;
/// How often a commitment is made anew, when the chain took it back.
const MAX_COMMITMENTS: u32 = 3;

/// A registration that is begun: for the account that has it, and nobody else.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// Of which name.
    pub id: NameId,
    /// What others do not know: 32 random bytes, kept until the name is registered.
    pub secret: [u8; 32],
}

/// How a reservation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The commitment is on its way.
    Committing(Progress),
    /// So many seconds of the chain's time are left.
    Waiting {
        /// How many.
        seconds: u64,
    },
}

/// What the chain knows of a commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Commitment {
    /// Nothing, or it cannot be used any more.
    None,
    /// It can be used so many seconds later.
    Fresh(u64),
    /// It can be used.
    Open,
}

/// What a transaction came to, in wei.
fn paid(receipt: &TransactionReceipt) -> U256 {
    U256::from(receipt.gas_used).saturating_mul(U256::from(receipt.effective_gas_price))
}

/// The most gas of a registration with so many records.
fn gas(records: usize) -> u64 {
    let records = RECORD_GAS.saturating_mul(u64::try_from(records).unwrap_or(u64::MAX));
    REGISTRATION_GAS.saturating_add(records)
}

/// Whether a commitment is refused since it is made already.
fn is_made(refusal: &Refusal) -> bool {
    refusal.error.starts_with("AlreadyCommitted")
}

/// Whether somebody can register a name at an instant, in seconds since 1970.
///
/// # Errors
/// When somebody has it: also the account itself, which can renew it where it expired.
pub fn check_free(entry: Option<&Entry>, account: Address, now: u64) -> Result<(), RegistrarError> {
    let Some(Entry { owner, expires, .. }) = entry else { return Ok(()) };
    let free_at = expires.saturating_add(GRACE);
    if now >= free_at {
        Ok(())
    } else if *owner != account {
        Err(RegistrarError::Taken { owner: *owner, free_at })
    } else if now >= *expires {
        Err(RegistrarError::Expired { since: *expires })
    } else {
        Err(RegistrarError::Yours)
    }
}

impl Registrar {
    /// What a registration for a period costs, with its commitment where that is still to be made, and so many
    /// records. Nothing is sent, and nobody learns which name it is for. Returns the fee, too.
    ///
    /// # Errors
    /// Tells what is missing.
    pub async fn quote_registration(
        &mut self,
        begun: &Reservation,
        period: Period,
        records: usize,
    ) -> Result<(Quote, Amount), RegistrarError> {
        let fee = self.fee(period).await?;
        let commitment = self.commitment(begun);
        let (gas, spends) = (gas(records), Some(self.spends(fee)));
        if self.look(commitment).await? == Commitment::None {
            let commit = call(self.at(), &Names::commitCall { commitment });
            match self.sender().quote_both(&commit, gas, spends).await {
                // It is on its way.
                Err(SendError::Refused { refusal }) if is_made(&refusal) => {}
                quoted => return Ok((quoted?, fee)),
            }
        }
        // Anything that costs next to nothing: the account gives itself nothing.
        let nothing = Call { to: Some(self.account()), ..Call::default() };
        Ok((self.sender().quote_both(&nothing, gas, spends).await?, fee))
    }

    /// What is left to pay by now for a registration that is committed to. Nothing is sent, and nobody learns which name
    /// it is for. Returns the fee, too.
    ///
    /// # Errors
    /// Tells what is missing.
    pub async fn quote_committed(
        &mut self,
        period: Period,
        records: usize,
    ) -> Result<(Quote, Amount), RegistrarError> {
        let fee = self.fee(period).await?;
        let spends = Some(self.spends(fee));
        Ok((self.sender().quote_untried(gas(records), spends).await?, fee))
    }

    fn spends(&self, amount: Amount) -> Spending {
        let token = self.caller.settlement().contracts.token;
        Spending { token, spender: token, amount }
    }

    /// Whether the chain has what a registration was committed to with, and that can still be used.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn is_committed(&self, begun: &Reservation) -> Result<bool, RegistrarError> {
        Ok(self.look(self.commitment(begun)).await? != Commitment::None)
    }

    /// Commits to a registration, unless that was done, and waits until it can be sent. Whoever calls it again
    /// after it ended early goes on where it was. Returns what that came to, in wei.
    ///
    /// # Errors
    /// When it cannot be sent, or not for what was agreed to (`most`, in wei), or the chain's time stands still.
    pub async fn reserve(
        &mut self,
        begun: &Reservation,
        most: U256,
        mut progress: impl FnMut(Step) + Send,
    ) -> Result<U256, RegistrarError> {
        let commitment = self.commitment(begun);
        let mut spent = U256::ZERO;
        // What is on its way may be the commitment.
        self.sender().settled().await?;
        for _ in 0..MAX_COMMITMENTS {
            if self.look(commitment).await? == Commitment::None {
                let commit = call(self.at(), &Names::commitCall { commitment });
                let left = most.saturating_sub(spent);
                match self.commit(&commit, left, |sent| progress(Step::Committing(sent))).await {
                    Ok(receipt) => spent = spent.saturating_add(paid(&receipt)),
                    // Another program of the account was first, or somebody copied it: it serves whom it names all the
                    // same.
                    Err(RegistrarError::Send(SendError::Refused { refusal })) if is_made(&refusal) => {
                        self.mined(commitment).await?;
                    }
                    Err(RegistrarError::Send(SendError::Reverted { hash, refusal })) if is_made(&refusal) => {
                        let receipt = self.caller.provider().get_transaction_receipt(hash).await;
                        let receipt = receipt.map_err(|error| self.caller.failed(&error))?;
                        spent = spent.saturating_add(receipt.as_ref().map_or(U256::ZERO, paid));
                    }
                    Err(error) => return Err(error),
                }
            }
            if self.opened(commitment, &mut progress).await? {
                return Ok(spent);
            }
        }
        Err(RegistrarError::Uncommitted)
    }

    /// Sends a commitment, for no more than there is for it.
    async fn commit(
        &mut self,
        commit: &Call,
        most: U256,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<TransactionReceipt, RegistrarError> {
        let quote = self.sender().quote(commit).await?;
        if quote.most > most {
            return Err(RegistrarError::Costly { needs: quote.most, most });
        }
        Ok(self.sender().send_at(commit, &quote, progress).await?)
    }

    /// Registers a name that was committed to for the account, for a period, with records, in one transaction. Returns
    /// the fee. From here on the endpoint knows which name it is, and so does whoever sees the call come. None but the
    /// account can use what it committed to; but whoever commits to the name now can register it a minute later. So
    /// nobody should be asked anything any more: [`Self::quote_committed`] says before what it costs.
    ///
    /// # Errors
    /// When somebody has it, who came first.
    pub async fn register(
        &self,
        begun: &Reservation,
        period: Period,
        records: &[(&NameKeys, &Value)],
    ) -> Result<(Call, Amount), RegistrarError> {
        let fee = self.fee(period).await?;
        let (id, owner) = (token(begun.id), self.account());
        let before = self.caller.view(self.at(), Names::nameOfCall { id }).await?;
        if !before.owner.is_zero() {
            let free_at = before.expiry.to::<u64>().saturating_add(GRACE);
            return Err(if before.owner == owner {
                RegistrarError::Yours
            } else {
                RegistrarError::Taken { owner: before.owner, free_at }
            });
        }
        let deed = Names::registerCall {
            id,
            period: period.units()?,
            secret: begun.secret.into(),
            mostFee: fee.units(),
        };
        let version = before.version.saturating_add(1);
        let records =
            records.iter().map(|(keys, value)| record(keys, version, value.kind().number(), Some(value)));
        let deeds = [deed.abi_encode()].into_iter().chain(records).collect();
        Ok((self.paying(fee, deeds).await?, fee))
    }

    /// Brings a name that the account has already to what its registration was to make of it: renewed for what it
    /// lacks ([`Title::lacks`](super::Title::lacks)), and saying what it does not say, in one transaction. None when
    /// it lacks nothing. Returns what the renewal costs.
    ///
    /// # Errors
    /// When the account does not have the name.
    pub async fn complete(
        &self,
        keys: &NameKeys,
        lacks: Option<Period>,
        values: &[Value],
        known: &Known,
    ) -> Result<Option<(Call, Amount)>, RegistrarError> {
        let unsaid = self.unsaid(keys, values, known).await?;
        let Some(period) = lacks else {
            if unsaid.is_empty() {
                return Ok(None);
            }
            let data = unsaid.into_iter().map(Bytes::from).collect();
            return Ok(Some((call(self.at(), &Names::multicallCall { data }), Amount::ZERO)));
        };
        let fee = self.fee(period).await?;
        let renew = Names::renewCall { id: token(keys.id()), period: period.units()?, mostFee: fee.units() };
        let deeds = [renew.abi_encode()].into_iter().chain(unsaid).collect();
        Ok(Some((self.paying(fee, deeds).await?, fee)))
    }

    /// What is committed to: as the contract computes it, which is not asked since it must not know yet.
    fn commitment(&self, begun: &Reservation) -> B256 {
        keccak256((token(begun.id), self.account(), B256::from(begun.secret)).abi_encode())
    }

    async fn look(&self, commitment: B256) -> Result<Commitment, RegistrarError> {
        let made = self.caller.view(self.at(), Names::committedAtCall { commitment }).await?;
        let made = u64::try_from(made).unwrap_or_default();
        let now = self.caller.time().await?;
        let (opens, closes) = (made.saturating_add(MIN_AGE), made.saturating_add(MAX_AGE));
        Ok(if made == 0 || now > closes {
            Commitment::None
        } else if now < opens {
            Commitment::Fresh(opens.saturating_sub(now))
        } else {
            Commitment::Open
        })
    }

    /// Waits until a commitment that an endpoint knows of is in a block.
    async fn mined(&self, commitment: B256) -> Result<(), RegistrarError> {
        let delivery = self.caller.delivery();
        let waited = timeout(delivery.patience, async {
            while self.look(commitment).await? == Commitment::None {
                sleep(delivery.poll).await;
            }
            Ok(())
        });
        waited.await.unwrap_or_else(|_| Err(SendError::Waiting { account: self.caller.account() }.into()))
    }

    /// Waits until a commitment can be used; false when it is gone.
    async fn opened(
        &self,
        commitment: B256,
        progress: &mut (impl FnMut(Step) + Send),
    ) -> Result<bool, RegistrarError> {
        let delivery = self.caller.delivery();
        let waited = timeout(delivery.patience, async {
            loop {
                match self.look(commitment).await? {
                    Commitment::None => return Ok(false),
                    Commitment::Open => return Ok(true),
                    Commitment::Fresh(seconds) => progress(Step::Waiting { seconds }),
                }
                sleep(delivery.poll).await;
            }
        });
        waited.await.unwrap_or(Err(RegistrarError::Stands))
    }
}
