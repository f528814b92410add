//! `session name`: register names, point them somewhere, sell and buy them.

use serde_json::{Value as Json, json};
use session_chain::{
    Amount, NetworkFile, account as chain_account,
    network::Settlement,
    settlement::{
        Delivery, Registrar, RegistrarError, Replayed, SendError, StateError,
        registrar::{Known, Period},
    },
};
use session_client::home::{Home, OwnNames};
use session_protocols::{
    AccountId,
    identity::blake2b,
    names::{
        COST, Name, NameKeys, Value,
        keys::OutOfMemory,
        value::{Kind, Wallet},
    },
};

use crate::{
    Context, account,
    args::{self, Act, Sending},
    failure::{Exit, Failure, chain},
    network::{self, Access},
    payee,
    recipient::{Named, Recipient},
    sending::{self, Consent, Planned, deliver, poll, settlement},
    stake::lower,
    text,
};

mod listing;
mod registration;
mod show;

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
        let delivery =
            Delivery { poll: poll(&network), confirmations: sending::CONFIRMATIONS, ..Delivery::default() };
        let registrar = Registrar::connect(&settlement, signer, delivery).await?;
        Ok(Self { context, home, settlement, who, registrar })
    }

    async fn set(
        &mut self,
        name: &Name,
        kind: Kind,
        value: Option<&str>,
        sending: Sending,
    ) -> Result<(), Failure> {
        let value = match value {
            Some(value) => Some(self.value(kind, value).await?),
            None => None,
        };
        let keys = self.keys_of(name).await?;
        let known = Known::of(&keys, &mut self.now().await?)?;
        let told = json!({
            "name": name,
            "id": keys.id(),
            "type": kind.as_str(),
            "value": value.as_ref().map(ToString::to_string),
        });
        let what = match &value {
            Some(value) => format!("let {name} say {kind}: {value}"),
            None => format!("take the {kind} of {name} away"),
        };
        match self.registrar.record(&keys, kind, value.as_ref(), &known).await? {
            Some(call) => self.deliver(Planned { call, what, told }, sending).await,
            None => self.nothing_to_do(told, &format!("nothing to do: {name} says so already")),
        }
    }

    async fn renew(&mut self, name: &Name, period: Period, sending: Sending) -> Result<(), Failure> {
        let id = self.keys(name, false).await?.id();
        let (call, fee, expires) = self.registrar.renew(id, period).await?;
        let expires_ms = ms(expires);
        let until = text::time(expires_ms);
        let what = format!("renew {name} for {period}, until {until}, for {fee} SESH");
        let told = json!({ "name": name, "id": id, "expires": expires_ms, "fee": fee.to_string() });
        self.deliver(Planned { call, what, told }, sending).await
    }

    async fn transfer(&mut self, name: &Name, to: &str, sending: Sending) -> Result<(), Failure> {
        let to = payee::address(self.context, &self.home, Some(self.called()), to).await?;
        let id = self.keys(name, false).await?.id();
        let call = self.registrar.transfer(id, to).await?;
        let what = format!("give {name} to {to}; what it says counts no more");
        self.deliver(
            Planned { call, what, told: json!({ "name": name, "id": id, "to": lower(to) }) },
            sending,
        )
        .await
    }

    async fn sell(&mut self, name: &Name, price: Amount, sending: Sending) -> Result<(), Failure> {
        let id = self.keys(name, false).await?.id();
        let call = self.registrar.sell(id, price).await?;
        let what = if price.is_zero() {
            format!("sell {name} no more")
        } else {
            format!("sell {name} to whoever pays {price} SESH")
        };
        let price = (!price.is_zero()).then(|| price.to_string());
        self.deliver(Planned { call, what, told: json!({ "name": name, "id": id, "price": price }) }, sending)
            .await
    }

    async fn buy(&mut self, name: &Name, most: Option<Amount>, sending: Sending) -> Result<(), Failure> {
        let id = self.keys(name, true).await?.id();
        let (call, price) = self.registrar.buy(id, most).await?;
        let expires = ms(self.registrar.title(id).await?.expires);
        let what = format!("buy {name} for {price} SESH; it expires at {}", text::time(expires));
        let told = json!({ "name": name, "id": id, "price": price.to_string(), "expires": expires });
        self.deliver(Planned { call, what, told }, sending).await?;
        Ok(self.home.keep_name(&self.id()?, &self.network(), name, id)?)
    }

    async fn offer(
        &mut self,
        name: &Name,
        price: Amount,
        days: u64,
        sending: Sending,
    ) -> Result<(), Failure> {
        let id = self.keys(name, true).await?.id();
        let (call, until) = self.registrar.offer(id, price, days).await?;
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
        self.deliver(Planned { call, what, told }, sending).await?;
        // Somebody may accept it while nobody looks.
        Ok(self.home.keep_name(&self.id()?, &self.network(), name, id)?)
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
        listing::list(self.context, &mut now, &own, self.registrar.account(), self.registrar.time().await?)
            .await
    }

    async fn market(&self) -> Result<(), Failure> {
        let mut now = self.now().await?;
        let own = match &self.who {
            Some((_, account)) => self.home.names(account, &self.network())?,
            None => OwnNames::default(),
        };
        listing::market(self.context, &mut now, &own, self.registrar.account(), self.registrar.time().await?)
            .await
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
            let known = self.home.names(&self.id()?, &self.network())?.known;
            for other in known.keys().filter(|other| name.looks_like(other)) {
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

    /// What a person writes as the value of a record: accounts, wallets and relays also by the names of those who have
    /// them.
    async fn value(&self, kind: Kind, text: &str) -> Result<Value, Failure> {
        match Value::parse(kind, text) {
            Ok(value) => Ok(value),
            Err(_) if kind == Kind::Account && payee::may_be_a_name(text) => {
                let (context, home) = (self.context, &self.home);
                Ok(Value::Account(match Recipient::read(context, home, text)? {
                    Recipient::Account(id) => id,
                    named @ Recipient::Named(_) => {
                        let access = Access::open(context).await?;
                        named.account(context, home, &access, None).await?
                    }
                }))
            }
            Err(_) if kind == Kind::Wallet && payee::may_be_a_name(text) => {
                let reader = Some(self.called());
                let address = payee::address(self.context, &self.home, reader, text).await?;
                Ok(Value::Wallet(Wallet(address.into_array())))
            }
            Err(error) if kind == Kind::Relay => match Named::read(text) {
                Some(named) => {
                    let access = Access::open(self.context).await?;
                    named.relay(self.context, &self.home, &access).await
                }
                None => Err(Failure::usage(chain(&error), "give another value for relay")),
            },
            Err(error) => Err(Failure::usage(chain(&error), format!("give another value for {kind}"))),
        }
    }

    /// The ledger and all names, made from the chain.
    async fn now(&self) -> Result<Replayed, Failure> {
        let accepted = self.registrar.accepted().await?;
        sending::replayed(self.context, &self.settlement, self.registrar.account(), accepted).await
    }

    async fn deliver(&mut self, planned: Planned, sending: Sending) -> Result<(), Failure> {
        self.deliver_agreed(planned, &mut Consent::new(sending.yes)).await
    }

    /// The same of what may have been agreed to before.
    async fn deliver_agreed(&mut self, planned: Planned, consent: &mut Consent) -> Result<(), Failure> {
        let name = self.called().to_owned();
        deliver::<RegistrarError>(self.context, self.registrar.sender(), &name, planned, consent).await
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
