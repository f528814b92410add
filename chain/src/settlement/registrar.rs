//! One account at the contract of names: what people register, say of names, sell and buy.
//!
//! Each deed is one [`Call`], and what takes tokens permits them in the same transaction, by a `multicall`; a purchase
//! is a transfer that says what it is for, which needs no permit. Nothing is sent but by
//! [`Registrar::send`], and by [`Registrar::reserve`], which makes way for a registration.
//!
//! Nothing tells an endpoint which name somebody is about to register until nobody else can be in time for it:
//! whether it is free is for the caller to look up in what the chain is known to have, and what is committed to
//! says nothing.

use alloy::{
    primitives::{Address, Bytes, U256, Uint},
    rpc::types::TransactionReceipt,
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolValue},
};
use session_protocols::names::{Name, NameId, NameKeys, Value};

use super::{
    caller::{Caller, call},
    calls::{Names, Token},
    sender::{Call, Delivery, Progress, Quote, Sender},
};
use crate::{ledger::Amount, names::Offer, network::Settlement};

pub use error::RegistrarError;
pub use period::{MAX_DAYS, MAX_YEARS, MIN_DAYS, Period};
pub use record::Known;
pub use register::{Reservation, Step, check_free};

mod error;
mod period;
mod record;
mod register;

/// Seconds of a day.
const DAY: u64 = 24 * 3_600;

/// What the contract says of a name, as of its newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Title {
    /// Which.
    pub id: NameId,
    /// Whose it is, also while it is expired and can be renewed.
    pub owner: Address,
    /// When it expires, in seconds since 1970.
    pub expires: u64,
    /// How often it got an owner.
    pub version: u32,
    /// The time of the block, in seconds since 1970.
    pub now: u64,
}

impl Title {
    /// How much earlier it expires than if it were paid for a period from now on; none where that is less than is
    /// ever paid for.
    pub fn lacks(&self, period: Period) -> Option<Period> {
        let wanted = self.now.saturating_add(period.seconds());
        let days = wanted.saturating_sub(self.expires) / DAY;
        (days >= MIN_DAYS).then(|| Period::of_days(days))
    }
}

/// What the contract holds of the account's, for an offer that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How much.
    pub amount: Amount,
    /// Until when the offer was to bind, in seconds since 1970.
    pub until: u64,
    /// Whether it binds, so that it cannot be taken back: not once it ended, or the name expired or has another
    /// owner. Nobody pays it back by themselves then.
    pub binds: bool,
}

/// One account at the contract of names.
#[derive(Debug)]
pub struct Registrar {
    caller: Caller,
}

impl Registrar {
    /// An account at the contract of names, over the first of the network's endpoints that serves its chain.
    ///
    /// # Errors
    /// When none does, or the contract is not there.
    pub async fn connect(
        settlement: &Settlement,
        signer: PrivateKeySigner,
        delivery: Delivery,
    ) -> Result<Self, RegistrarError> {
        let registrar = Self { caller: Caller::connect(settlement, signer, delivery).await? };
        registrar.fee(Period::of_years(1)).await?;
        Ok(registrar)
    }

    /// The account's address.
    pub const fn account(&self) -> Address {
        self.caller.account()
    }

    /// What sends.
    pub const fn sender(&mut self) -> &mut Sender {
        self.caller.sender()
    }

    /// The epoch of the last checkpoint that the contract accepted; none before the first.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn accepted(&self) -> Result<Option<u64>, RegistrarError> {
        Ok(self.caller.accepted().await?)
    }

    /// The time of the newest block, in seconds since 1970.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn time(&self) -> Result<u64, RegistrarError> {
        Ok(self.caller.time().await?)
    }

    /// What a call would cost; nothing is sent.
    ///
    /// # Errors
    /// Tells what is missing, or why the contract would refuse.
    pub async fn quote(&mut self, call: &Call) -> Result<Quote, RegistrarError> {
        Ok(self.sender().quote(call).await?)
    }

    /// Sends a call and waits until it is mined.
    ///
    /// # Errors
    /// Tells what is missing, or what the contract says; most are found before anything is sent.
    pub async fn send(
        &mut self,
        call: &Call,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<TransactionReceipt, RegistrarError> {
        Ok(self.sender().send(call, progress).await?)
    }

    /// What a name costs for a period.
    ///
    /// # Errors
    /// When names are never paid for so long or so shortly, or the chain does not tell.
    pub async fn fee(&self, period: Period) -> Result<Amount, RegistrarError> {
        let period = period.units()?;
        Ok(amount(self.caller.view(self.at(), Names::feeOfCall { period }).await?))
    }

    /// Who has a name, and until when.
    ///
    /// # Errors
    /// When nobody has, or the chain does not tell.
    pub async fn title(&self, id: NameId) -> Result<Title, RegistrarError> {
        let of = self.caller.view(self.at(), Names::nameOfCall { id: token(id) }).await?;
        if of.owner.is_zero() {
            return Err(RegistrarError::Free);
        }
        let now = self.caller.time().await?;
        Ok(Title { id, owner: of.owner, expires: of.expiry.to(), version: of.version, now })
    }

    /// What a name can be bought for; none if it is not for sale.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn price(&self, id: NameId) -> Result<Option<Amount>, RegistrarError> {
        let price = amount(self.caller.view(self.at(), Names::priceOfCall { id: token(id) }).await?);
        Ok((!price.is_zero()).then_some(price))
    }

    /// The best offer for a name, if it still binds who made it.
    ///
    /// # Errors
    /// When nobody has the name, or the chain does not tell.
    pub async fn best_offer(&self, id: NameId) -> Result<Option<Offer>, RegistrarError> {
        let title = self.title(id).await?;
        let best = self.caller.view(self.at(), Names::offerOfCall { id: token(id) }).await?;
        let counts = !best.amount.is_zero() && best.version == title.version && title.now <= best.until.to();
        let offer =
            || Offer { buyer: best.buyer, amount: Amount(best.amount.to()), until: best.until.to::<u64>() };
        Ok(counts.then(offer))
    }

    /// Lets a name expire so much later; anyone may. Returns the fee, and when it expires then.
    ///
    /// # Errors
    /// When nobody has the name.
    pub async fn renew(&self, id: NameId, period: Period) -> Result<(Call, Amount, u64), RegistrarError> {
        let (fee, title) = (self.fee(period).await?, self.title(id).await?);
        let deed = Names::renewCall { id: token(id), period: period.units()?, mostFee: fee.units() };
        let call = self.paying(fee, vec![deed.abi_encode()]).await?;
        Ok((call, fee, title.expires.saturating_add(period.seconds())))
    }

    /// The same, unless the name expires as late as it was to by a renewal of the account's that was sent before,
    /// `sent` in seconds since 1970, and of which nobody knows what became: none then. Of the two one is paid at most.
    ///
    /// # Errors
    /// When nobody has the name, or something of the account's stays on its way.
    pub async fn renew_unless(
        &mut self,
        id: NameId,
        period: Period,
        sent: u64,
    ) -> Result<Option<(Call, Amount, u64)>, RegistrarError> {
        // What is on its way may be that renewal.
        self.sender().settled().await?;
        let planned = self.renew(id, period).await?;
        // The account's permits count one after the other: one that came before this one's permit shows in the expiry by
        // now, and one that comes later takes the permit's place.
        Ok((self.title(id).await?.expires < sent).then_some(planned))
    }

    /// Hands a name over; what was said of it counts no more.
    ///
    /// # Errors
    /// When the account does not have the name, or gives it to itself.
    pub async fn transfer(&self, id: NameId, to: Address) -> Result<Call, RegistrarError> {
        let owner = self.own(id).await?.owner;
        if to == owner {
            return Err(RegistrarError::Yours);
        }
        Ok(call(self.at(), &Names::safeTransferFromCall { from: owner, to, id: token(id) }))
    }

    /// Says that the account goes by a name of its own; by none without one. None when there is nothing to do:
    /// nodes know it so already (`known`), and nothing else was said since.
    ///
    /// The contract alone does not tell: it has what the account said of a name that it lost and got back, which
    /// nodes forget.
    ///
    /// # Errors
    /// When the account does not have the name.
    pub async fn reverse(
        &self,
        id: Option<NameId>,
        known: Option<NameId>,
    ) -> Result<Option<Call>, RegistrarError> {
        if let Some(id) = id {
            self.own(id).await?;
        }
        let wanted = id.map_or(U256::ZERO, token);
        let account = self.account();
        if known == id && self.caller.view(self.at(), Names::reverseOfCall { account }).await? == wanted {
            return Ok(None);
        }
        Ok(Some(call(self.at(), &Names::setReverseCall { id: wanted })))
    }

    /// Publishes what a name is called, which cannot be taken back.
    ///
    /// # Errors
    /// When the account does not have the name.
    pub async fn reveal(&self, name: &Name, id: NameId) -> Result<Call, RegistrarError> {
        self.own(id).await?;
        let name = name.parent().to_string();
        Ok(call(self.at(), &Names::revealCall { id: token(id), name }))
    }

    /// Sells a name for a price to whoever comes; no more if it is zero.
    ///
    /// # Errors
    /// When the account does not have the name.
    pub async fn sell(&self, id: NameId, price: Amount) -> Result<Call, RegistrarError> {
        self.own(id).await?;
        Ok(call(self.at(), &Names::setPriceCall { id: token(id), price: uint96(price)? }))
    }

    /// Buys a name for what it costs now, of whoever has it now. Returns the price.
    ///
    /// # Errors
    /// When it is not for sale, the account's own, or costs more than `most`.
    pub async fn buy(&self, id: NameId, most: Option<Amount>) -> Result<(Call, Amount), RegistrarError> {
        let title = self.others(id).await?;
        let price = self.price(id).await?.ok_or(RegistrarError::NotForSale)?;
        if let Some(most) = most.filter(|most| *most < price) {
            return Err(RegistrarError::Dear { price, most });
        }
        // The token pays the contract and tells it what for, so nothing has to be allowed before.
        let data = (token(id), title.version).abi_encode().into();
        let deed = Token::transferAndCallCall { to: self.at(), value: price.units(), data };
        Ok((self.caller.spending(self.caller.settlement().contracts.token, &deed, price), price))
    }

    /// Offers to buy a name, which binds for so many days, and pays now what the contract does not hold of the account's
    /// for that name. Returns until when it binds.
    ///
    /// # Errors
    /// When nobody has the name, or the account itself, or the best offer binds longer.
    pub async fn offer(&self, id: NameId, amount: Amount, days: u64) -> Result<(Call, u64), RegistrarError> {
        let title = self.others(id).await?;
        // The contract takes thirty days at most from the block that it is in, and one at least: an hour is
        // added where that block may come late.
        let spare = if days == 1 { 3_600 } else { 0 };
        let until = title.now.saturating_add(days.saturating_mul(DAY)).saturating_add(spare);
        let last = self.caller.view(self.at(), Names::offerOfCall { id: token(id) }).await?;
        let bound = last.until.to::<u64>();
        let counts = !last.amount.is_zero() && last.version == title.version && title.now <= bound;
        if counts && until < bound {
            let days = bound.saturating_sub(title.now).div_ceil(DAY);
            return Err(RegistrarError::Brief { until: bound, days });
        }
        let held = if last.buyer == self.account() { Amount(last.amount.to()) } else { Amount::ZERO };
        let deed = Names::offerCall {
            id: token(id),
            version: title.version,
            amount: uint96(amount)?,
            until: Uint::saturating_from(until),
        };
        let lacks = amount.checked_sub(held).unwrap_or_default();
        if lacks.is_zero() {
            return Ok((call(self.at(), &deed), until));
        }
        Ok((self.paying(lacks, vec![deed.abi_encode()]).await?, until))
    }

    /// What the contract holds for the account's offer for a name, whether or not anybody can accept that; none where
    /// it made none, or has it back. Nodes do not tell: they forget what counts no more.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn held(&self, id: NameId) -> Result<Option<Held>, RegistrarError> {
        let own = self.caller.view(self.at(), Names::offerOfCall { id: token(id) }).await?;
        if own.amount.is_zero() || own.buyer != self.account() {
            return Ok(None);
        }
        let until = own.until.to::<u64>();
        let binds = match self.title(id).await {
            Ok(Title { version, expires, now, .. }) => {
                now < expires && now <= until && own.version == version
            }
            Err(RegistrarError::Free) => false,
            Err(error) => return Err(error),
        };
        Ok(Some(Held { amount: Amount(own.amount.to()), until, binds }))
    }

    /// Takes the account's offer back. Returns how much that is.
    ///
    /// # Errors
    /// When the account made none.
    pub async fn withdraw_offer(&self, id: NameId) -> Result<(Call, Amount), RegistrarError> {
        let Held { amount, .. } = self.held(id).await?.ok_or(RegistrarError::NoOffer)?;
        Ok((call(self.at(), &Names::withdrawOfferCall { id: token(id) }), amount))
    }

    /// Sells a name to whoever made the best offer. Returns it.
    ///
    /// # Errors
    /// When the account does not have the name, or nobody offers as much as `least`.
    pub async fn accept(&self, id: NameId, least: Option<Amount>) -> Result<(Call, Offer), RegistrarError> {
        self.own(id).await?;
        let best = self.best_offer(id).await?.ok_or(RegistrarError::NoOffer)?;
        if let Some(least) = least.filter(|least| *least > best.amount) {
            return Err(RegistrarError::Little { amount: best.amount, least });
        }
        let deed = Names::acceptCall { id: token(id), least: best.amount.units() };
        Ok((call(self.at(), &deed), best))
    }

    /// A name of the account's own, that is not expired.
    async fn own(&self, id: NameId) -> Result<Title, RegistrarError> {
        let title = self.live(id).await?;
        let (owner, account) = (title.owner, self.account());
        if owner == account { Ok(title) } else { Err(RegistrarError::NotYours { owner, account }) }
    }

    /// A name of somebody else's, that is not expired.
    async fn others(&self, id: NameId) -> Result<Title, RegistrarError> {
        let title = self.live(id).await?;
        if title.owner == self.account() { Err(RegistrarError::Yours) } else { Ok(title) }
    }

    async fn live(&self, id: NameId) -> Result<Title, RegistrarError> {
        let title = self.title(id).await?;
        let since = title.expires;
        if title.now < since { Ok(title) } else { Err(RegistrarError::Expired { since }) }
    }

    /// Calls that take tokens, and the permit for them, in one transaction.
    async fn paying(&self, amount: Amount, deeds: Vec<Vec<u8>>) -> Result<Call, RegistrarError> {
        let given = self.caller.permit(self.at(), amount).await?;
        let data = [Names::permitCall { given }.abi_encode()].into_iter().chain(deeds);
        let data = data.map(Bytes::from).collect();
        Ok(self.caller.spending(self.at(), &Names::multicallCall { data }, amount))
    }

    /// Where the contract is.
    const fn at(&self) -> Address {
        self.caller.settlement().contracts.names
    }
}

/// What sets a record of a name or of a sub-name, under a version of the name; none takes it away.
fn record(keys: &NameKeys, version: u32, kind: u8, value: Option<&Value>) -> Vec<u8> {
    let id = token(keys.id());
    let value: Bytes = value.map(|value| keys.seal(version, value)).unwrap_or_default().into();
    match keys.label() {
        None => Names::setRecordCall { id, kind, value }.abi_encode(),
        Some(label) => Names::setSubnameRecordCall { id, label: label.into(), kind, value }.abi_encode(),
    }
}

const fn token(id: NameId) -> U256 {
    U256::from_be_bytes(*id.as_bytes())
}

fn amount(units: U256) -> Amount {
    Amount::try_from(units).unwrap_or(Amount(u128::MAX))
}

fn uint96(amount: Amount) -> Result<Uint<96, 2>, RegistrarError> {
    Uint::try_from(amount.0).map_err(|_| RegistrarError::TooMuch { amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_lacks_of_a_period_is_what_can_be_paid_for() {
        let title = |left: u64| Title {
            id: NameId::from_bytes([1; 32]),
            owner: Address::ZERO,
            expires: 1_000_000_000 + left,
            version: 1,
            now: 1_000_000_000,
        };
        let year = Period::of_years(1);
        for left in [365 * DAY, 366 * DAY, 365 * DAY - 60, 338 * DAY] {
            assert_eq!(title(left).lacks(year), None, "{left}");
        }
        assert_eq!(title(337 * DAY).lacks(year), Some(Period::of_days(28)));
        assert_eq!(title(337 * DAY - 1).lacks(year), Some(Period::of_days(28)));
        // Never so much that it would be paid for longer than ten years ahead.
        let ten = Period::of_years(10);
        assert_eq!(title(28 * DAY - 1).lacks(ten), Some(Period::of_days(MAX_DAYS - 28)));
        assert_eq!(title(0).lacks(ten), Some(ten));
    }
}
