//! `session name`: register names, point them somewhere, sell and buy them.

use futures::{StreamExt, stream};
use serde_json::{Value as Json, json};
use session_chain::{
    Amount, NetworkFile, account as chain_account,
    names::Offer,
    network::Settlement,
    settlement::{
        Delivery, Registrar, RegistrarError, Replayed, SendError, StateError,
        registrar::{Held, Known, Period},
    },
};
use session_client::home::{Home, OwnNames, Renewal};
use session_protocols::{
    AccountId,
    identity::blake2b,
    names::{COST, Name, NameId, NameKeys, keys::OutOfMemory, value::Kind},
};

use crate::{
    Context, account,
    args::{self, Act, Sending},
    failure::{Exit, Failure, chain},
    inbox, network, payee,
    recipient::{self, FoundBy},
    sending::{self, Consent, Planned, deliver, poll, settlement},
    stake::lower,
    text,
};

mod listing;
mod registration;
mod saying;
mod show;

use saying::value_told;

/// How many names the chain is asked about at once.
const MAX_ASKED: usize = 8;

pub(crate) async fn run(context: &Context, arguments: args::Names) -> Result<(), Failure> {
    if let Act::Show { name } = &arguments.act {
        return show::run(context, name).await;
    }
    let mut desk = Desk::open(context, arguments.account.as_deref(), &arguments.act).await?;
    match arguments.act {
        Act::Register { name, term, set, sending } => {
            desk.register(&name, term.period(), &set, sending).await
        }
        // Nodes are asked, no chain.
        Act::Show { .. } => Ok(()),
        Act::List => desk.list().await,
        Act::Market => desk.market().await,
        Act::Set { name, kind, value, sending, .. } => desk.set(&name, kind, value.as_deref(), sending).await,
        Act::Renew { name, term, sending } => desk.renew(&name, term.period(), sending).await,
        Act::Transfer { name, to, sending } => desk.transfer(&name, &to, sending).await,
        Act::Sell { name, price, sending } => desk.sell(&name, price, sending).await,
        Act::Offer { name, price: Some(price), days, sending, .. } => {
            desk.offer(&name, price, days, sending).await
        }
        Act::Offer { name, price: None, sending, .. } => desk.withdraw(&name, sending).await,
        Act::Accept { name, least, sending } => desk.accept(&name, least, sending).await,
        Act::Buy { name, most, sending } => desk.buy(&name, most, sending).await,
        Act::Reverse { name, sending, .. } => desk.reverse(name.as_ref(), sending).await,
        Act::Reveal { name, sending } => desk.reveal(&name, sending).await,
    }
}

/// One account at the contract of names, and whom to tell.
struct Desk<'a> {
    context: &'a Context,
    home: Home,
    network: NetworkFile,
    settlement: Settlement,
    /// What the account is called, and its id; none where somebody only looks.
    who: Option<(String, AccountId)>,
    registrar: Registrar,
}

impl<'a> Desk<'a> {
    async fn open(context: &'a Context, named: Option<&str>, act: &Act) -> Result<Self, Failure> {
        let network: NetworkFile = network::described(context)?;
        let settlement = settlement(&network)?.clone();
        let home = context.home()?;
        let (who, signer) = match account::choose(&home, named) {
            Ok((name, id)) => {
                let signer = account::signer(&home, &name, &id)?.0;
                (Some((name, id)), signer)
            }
            // Who only looks needs no account.
            Err(_) if matches!(act, Act::Market) && named.is_none() => {
                (None, chain_account::signer(&[0; chain_account::SEED]))
            }
            Err(failure) => return Err(failure),
        };
        if let Some((name, _)) = who.as_ref().filter(|_| !matches!(act, Act::List | Act::Market)) {
            network::agree(context, name).await?;
        }
        let delivery =
            Delivery { poll: poll(&network), confirmations: sending::CONFIRMATIONS, ..Delivery::default() };
        let registrar = Registrar::connect(&settlement, signer, delivery).await?;
        Ok(Self { context, home, network, settlement, who, registrar })
    }

    async fn set(
        &mut self,
        name: &Name,
        kind: Kind,
        value: Option<&str>,
        sending: Sending,
    ) -> Result<(), Failure> {
        let value = match value {
            Some(value) => Some(self.said(kind, value).await?),
            None => None,
        };
        let keys = self.keys_of(name).await?;
        let known = Known::of(&keys, &mut self.now().await?)?;
        let mut told = json!({
            "name": name,
            "id": keys.id(),
            "type": kind.as_str(),
            "value": value.as_ref().map(|said| value_told(&said.value)),
        });
        FoundBy::tell(value.as_ref().and_then(|said| said.found.as_ref()), &mut told);
        let what = match &value {
            Some(said) => format!("let {name} say {said}"),
            None => format!("take the {kind} of {name} away"),
        };
        let value = value.map(|said| said.value);
        match self.registrar.record(&keys, kind, value.as_ref(), &known).await? {
            Some(call) => self.deliver(Planned { call, what, told }, sending).await,
            None => self.nothing_to_do(told, &format!("nothing to do: {name} says so already")),
        }
    }

    async fn renew(&mut self, name: &Name, period: Period, sending: Sending) -> Result<(), Failure> {
        let id = self.keys(name, false).await?.id();
        let (account, network, home) = (self.id()?, self.network(), self.home.clone());
        let told = |expires: u64, fee: Amount| json!({ "name": name, "id": id, "expires": ms(expires), "fee": fee.to_string() });
        let before = home.renewal(&account, &network, name)?.filter(|before| before.days == period.days());
        let planned = match before {
            None => Some(self.registrar.renew(id, period).await?),
            Some(before) => self.registrar.renew_unless(id, period, before.expires).await?,
        };
        let Some((call, fee, expires)) = planned else {
            let expires = self.registrar.title(id).await?.expires;
            let (until, sent) = (text::time(ms(expires)), before.map_or(0, |before| before.sent_ms));
            let done = format!(
                "done before: {name} expires at {until}, as the renewal of {} was to make it; nothing more is paid; to \
                 renew it once more, do the same again",
                text::time(sent)
            );
            self.nothing_to_do(told(expires, Amount::ZERO), &done)?;
            return Ok(home.end_renewal(&account, &network, name)?);
        };
        let until = text::time(ms(expires));
        let what = format!("renew {name} for {period}, until {until}, for {fee} SESH");
        let planned = Planned { call, what, told: told(expires, fee) };
        // Whoever repeats it, since its answer was lost, is not to pay twice.
        let renewal = Renewal { expires, days: period.days(), sent_ms: inbox::now_ms() };
        let keep = || -> Result<(), Failure> { Ok(home.begin_renewal(&account, &network, name, renewal)?) };
        self.deliver_kept(planned, &mut Consent::new(sending.yes), keep).await?;
        if let Err(error) = home.end_renewal(&account, &network, name) {
            let warning = format!("it is done, and not known to be in the home: {}", chain(&error));
            self.context.output.warn(&warning);
        }
        Ok(())
    }

    async fn transfer(&mut self, name: &Name, to: &str, sending: Sending) -> Result<(), Failure> {
        let to = payee::address(self.context, &self.home, Some(self.called()), to).await?;
        let id = self.keys(name, false).await?.id();
        let call = self.registrar.transfer(id, to.address).await?;
        let what = format!("give {name} to {to}; what it says counts no more");
        let mut told = json!({ "name": name, "id": id, "to": lower(to.address) });
        FoundBy::tell(to.found.as_ref(), &mut told);
        self.deliver(Planned { call, what, told }, sending).await
    }

    async fn sell(&mut self, name: &Name, price: Amount, sending: Sending) -> Result<(), Failure> {
        let id = self.keys(name, false).await?.id();
        let call = self.registrar.sell(id, price).await?;
        let what = if price.is_zero() {
            format!("sell {name} no more")
        } else {
            format!("sell {name} to whoever pays {price} SESH")
        };
        if let Some(best) = self.registrar.best_offer(id).await?.filter(|best| better(best, price)) {
            let (amount, until) = (best.amount, text::time(ms(best.until)));
            self.context.output.warn(&format!(
                "{} offers {amount} SESH for {name}, bound until {until}: session name accept {name} takes it",
                best.buyer
            ));
        }
        let price = (!price.is_zero()).then(|| price.to_string());
        self.deliver(Planned { call, what, told: json!({ "name": name, "id": id, "price": price }) }, sending)
            .await
    }

    async fn buy(&mut self, name: &Name, most: Option<Amount>, sending: Sending) -> Result<(), Failure> {
        let id = self.keys(name, true).await?.id();
        let (call, price) =
            self.registrar.buy(id, most).await.map_err(|error| self.or_known(name, id, error))?;
        let expires = ms(self.registrar.title(id).await?.expires);
        let what = format!("buy {name} for {price} SESH; it expires at {}", text::time(expires));
        let told = json!({ "name": name, "id": id, "price": price.to_string(), "expires": expires });
        self.deliver_named(Planned { call, what, told }, sending, (name, id)).await
    }

    async fn offer(
        &mut self,
        name: &Name,
        price: Amount,
        days: u64,
        sending: Sending,
    ) -> Result<(), Failure> {
        let id = self.keys(name, true).await?.id();
        let planned = self.registrar.offer(id, price, days).await;
        let (call, until) = planned.map_err(|error| self.or_known(name, id, error))?;
        let expires = ms(self.registrar.title(id).await?.expires);
        let (bound, ends) = (text::time(ms(until)), text::time(expires));
        // An offer of the account's that the contract holds counts towards this one.
        let paid = call.spends.map_or(Amount::ZERO, |spends| spends.amount);
        let how = if paid == price {
            "paid now".to_owned()
        } else {
            format!("with what your offer before holds; {paid} SESH are paid now")
        };
        let what = format!("offer {price} SESH for {name}, {how}, bound until {bound}; it expires at {ends}");
        let told = json!({
            "name": name,
            "id": id,
            "amount": price.to_string(),
            "paid": paid.to_string(),
            "until": ms(until),
            "expires": expires,
        });
        // Somebody may accept it while nobody looks.
        self.deliver_named(Planned { call, what, told }, sending, (name, id)).await
    }

    async fn withdraw(&mut self, name: &Name, sending: Sending) -> Result<(), Failure> {
        let id = self.keys(name, false).await?.id();
        let (call, amount) = self.registrar.withdraw_offer(id).await?;
        let what = format!("take the offer of {amount} SESH for {name} back");
        let told = json!({ "name": name, "id": id, "amount": amount.to_string() });
        self.deliver(Planned { call, what, told }, sending).await
    }

    async fn accept(&mut self, name: &Name, least: Option<Amount>, sending: Sending) -> Result<(), Failure> {
        let id = self.keys(name, false).await?.id();
        let (call, offer) = self.registrar.accept(id, least).await?;
        let what = format!("sell {name} to {} for {} SESH", offer.buyer, offer.amount);
        let told = json!({
            "name": name,
            "id": id,
            "buyer": lower(offer.buyer),
            "amount": offer.amount.to_string(),
        });
        self.deliver(Planned { call, what, told }, sending).await
    }

    async fn reverse(&mut self, name: Option<&Name>, sending: Sending) -> Result<(), Failure> {
        let id = match name {
            Some(name) => Some(self.keys(name, false).await?.id()),
            None => None,
        };
        let told = json!({ "name": name, "id": id });
        let by = name.map_or_else(|| "no name".to_owned(), |name| format!("the name {name}"));
        let known =
            self.now().await?.names.goes_by(self.registrar.account()).map_err(RegistrarError::from)?;
        match self.registrar.reverse(id, known).await? {
            Some(call) => {
                let what = format!("let {} go by {by}", self.registrar.account());
                self.deliver(Planned { call, what, told }, sending).await
            }
            None => self.nothing_to_do(told, &format!("nothing to do: the account goes by {by} already")),
        }
    }

    async fn reveal(&mut self, name: &Name, sending: Sending) -> Result<(), Failure> {
        let id = self.keys(name, false).await?.id();
        let call = self.registrar.reveal(name, id).await?;
        let what = format!("publish that {name} is registered, and whose it is, which cannot be taken back");
        self.deliver(Planned { call, what, told: json!({ "name": name, "id": id }) }, sending).await
    }

    async fn list(&self) -> Result<(), Failure> {
        let mut now = self.now().await?;
        let own = self.home.names(&self.id()?, &self.network())?;
        let held = self.held(&own).await?;
        let (account, time) = (self.registrar.account(), self.registrar.time().await?);
        listing::list(self.context, &self.home, &mut now, &own, &held, account, time).await
    }

    /// What the contract holds for offers of the account's, of the names that it knows.
    async fn held(&self, own: &OwnNames) -> Result<Vec<(Name, Held)>, Failure> {
        let known: Vec<(Name, NameId)> = own.known.iter().map(|(name, id)| (name.clone(), *id)).collect();
        let asked = stream::iter(known).map(|(name, id)| async move {
            let held = self.registrar.held(id).await?;
            Ok::<_, RegistrarError>(held.map(|held| (name, held)))
        });
        let asked: Vec<Result<Option<(Name, Held)>, RegistrarError>> =
            asked.buffered(MAX_ASKED).collect().await;
        let held: Result<Vec<_>, RegistrarError> = asked.into_iter().filter_map(Result::transpose).collect();
        Ok(held?)
    }

    async fn market(&self) -> Result<(), Failure> {
        let mut now = self.now().await?;
        let own = match &self.who {
            Some((_, account)) => self.home.names(account, &self.network())?,
            None => OwnNames::default(),
        };
        let (account, time) = (self.registrar.account(), self.registrar.time().await?);
        listing::market(self.context, &self.home, &mut now, &own, account, time).await
    }

    /// The keys of a name that can be registered; with what a person should hear before it becomes theirs.
    async fn keys(&self, name: &Name, warn: bool) -> Result<NameKeys, Failure> {
        if name.sub().is_some() {
            let parent = name.parent();
            return Err(Failure::usage(
                format!("{name} is a sub-name: it belongs to whoever has {parent}"),
                format!("name {parent} itself; what a sub-name says: session name set {name} TYPE VALUE"),
            ));
        }
        if warn {
            for warning in name.warnings() {
                self.context.output.warn(&warning.to_string());
            }
            let mut alike = recipient::look_alikes(&self.home, name)?;
            let known = self.home.names(&self.id()?, &self.network())?.known;
            alike.extend(known.into_keys().filter(|other| name.looks_like(other)));
            for other in alike {
                self.context
                    .output
                    .warn(&format!("{name} looks like {other}, which you know, and is another"));
            }
        }
        self.keys_of(name).await
    }

    /// One costly run of a hash, beside what else there is to do.
    async fn keys_of(&self, name: &Name) -> Result<NameKeys, Failure> {
        keys_of(name.clone()).await
    }

    /// The ledger and all names, made from the chain.
    async fn now(&self) -> Result<Replayed, Failure> {
        let accepted = self.registrar.accepted().await?;
        sending::replayed(self.context, &self.network, self.registrar.account(), accepted).await
    }

    /// Why something cannot be done. What the account has already it may have bought when the answer was lost: what
    /// that is called is remembered.
    fn or_known(&self, name: &Name, id: NameId, error: RegistrarError) -> Failure {
        let kept = match (&error, self.id()) {
            (RegistrarError::Yours, Ok(account)) => self.home.keep_name(&account, &self.network(), name, id),
            _ => Ok(()),
        };
        kept.map_or_else(Failure::from, |()| error.into())
    }

    async fn deliver(&mut self, planned: Planned, sending: Sending) -> Result<(), Failure> {
        self.deliver_agreed(planned, &mut Consent::new(sending.yes)).await
    }

    /// The same of what may have been agreed to before.
    async fn deliver_agreed(&mut self, planned: Planned, consent: &mut Consent) -> Result<(), Failure> {
        self.deliver_kept(planned, consent, || Ok(())).await
    }

    /// The same; what the name is called is remembered before: the chain has its id alone, and may say nothing more.
    async fn deliver_named(
        &mut self,
        planned: Planned,
        sending: Sending,
        (name, id): (&Name, NameId),
    ) -> Result<(), Failure> {
        let (account, network, home) = (self.id()?, self.network(), self.home.clone());
        let keep = || -> Result<(), Failure> { Ok(home.keep_name(&account, &network, name, id)?) };
        self.deliver_kept(planned, &mut Consent::new(sending.yes), keep).await
    }

    async fn deliver_kept(
        &mut self,
        planned: Planned,
        consent: &mut Consent,
        keep: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let name = self.called().to_owned();
        let sender = self.registrar.sender();
        deliver::<RegistrarError>(self.context, sender, &name, planned, consent, keep).await
    }

    fn nothing_to_do(&self, told: Json, what: &str) -> Result<(), Failure> {
        let mut told = told;
        if let Some(told) = told.as_object_mut() {
            told.insert("transaction".to_owned(), Json::Null);
        }
        self.context.output.data(&told, || what.to_owned())
    }

    fn called(&self) -> &str {
        self.who.as_ref().map_or("nobody", |(name, _)| name)
    }

    fn id(&self) -> Result<AccountId, Failure> {
        let none = || {
            let remedy = "make one with: session account new";
            Failure::new(Exit::Failed, "no_account", "you have no account", remedy)
        };
        self.who.as_ref().map(|(_, id)| *id).ok_or_else(none)
    }

    /// What the names of this contract are kept under in the home.
    fn network(&self) -> [u8; 32] {
        let Settlement { chain, contracts, .. } = &self.settlement;
        blake2b(&[b"session names of", &chain.to_be_bytes(), contracts.names.as_slice()])
    }
}

/// Whether somebody offers no less than a name is to cost.
fn better(offer: &Offer, price: Amount) -> bool {
    !price.is_zero() && offer.amount >= price
}

/// The keys of a name, or of a sub-name.
async fn keys_of(name: Name) -> Result<NameKeys, Failure> {
    let run = tokio::task::spawn_blocking(move || NameKeys::of(&name, COST)).await;
    let gone =
        |error: tokio::task::JoinError| Failure::new(Exit::Failed, "io", error.to_string(), "try again");
    Ok(run.map_err(gone)??)
}

const fn ms(second: u64) -> u64 {
    second.saturating_mul(1_000)
}

impl From<RegistrarError> for Failure {
    fn from(error: RegistrarError) -> Self {
        let exit = match &error {
            _ if error.passes() => Exit::NotReady,
            RegistrarError::Period { .. } => Exit::Usage,
            RegistrarError::Costly { .. } => Exit::Refused,
            RegistrarError::Send(SendError::Endpoint { .. }) => Exit::NotReady,
            _ => Exit::Failed,
        };
        Self::new(exit, error.code(), chain(&error), error.remedy())
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        RegistrarError::from(error).into()
    }
}

impl From<OutOfMemory> for Failure {
    fn from(error: OutOfMemory) -> Self {
        Self::new(Exit::NotReady, "no_memory", error.to_string(), "close something, or try later")
    }
}
