//! Registrations: two transactions a minute apart, which go on wherever they ended.

use core::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value as Json, json};
use session_chain::{
    Amount,
    settlement::{
        Call, RegistrarError,
        registrar::{Known, Period, Reservation, Step, Title, check_free},
    },
};
use session_client::home::Secret;
use session_protocols::names::{Name, NameId, NameKeys, Value};
use tokio::time::timeout;

use super::{Desk, ms, saying::value_told};
use crate::{
    args::{Said, Sending},
    failure::{Exit, Failure},
    recipient::FoundBy,
    sending::{self, Consent, Planned, agree, tell_cost},
    stake::lower,
    text,
};

/// Seconds of a day.
const DAY: u64 = 24 * 3_600;
/// How often a renewal is planned anew, when the name was renewed meanwhile.
const MAX_PLANS: u32 = 3;
/// How long it may take until what overtook a transaction is in a block.
const OVERTOOK: Duration = Duration::from_secs(30);

/// What a name is to be.
struct Asked<'a> {
    name: &'a Name,
    keys: &'a NameKeys,
    period: Period,
    says: &'a [Value],
    /// The same in words, where names of the network stood for it.
    found: &'a str,
    /// What it says so far.
    known: &'a Known,
    sending: Sending,
    /// The fee that was told, if one was.
    told: Option<Amount>,
}

impl Desk<'_> {
    pub(super) async fn register(
        &mut self,
        name: &Name,
        period: Period,
        set: &[Said],
        sending: Sending,
    ) -> Result<(), Failure> {
        let mut says = Vec::with_capacity(set.len());
        let (mut found, mut set_told) = (String::new(), Vec::with_capacity(set.len()));
        for Said(kind, value) in set {
            let said = self.said(*kind, value).await?;
            if said.found.is_some() {
                found += &format!("; it says {said}");
            }
            let mut record = json!({ "type": kind.as_str(), "value": value_told(&said.value) });
            FoundBy::tell(said.found.as_ref(), &mut record);
            set_told.push(record);
            says.push(said.value);
        }
        let keys = self.keys(name, true).await?;
        let (account, network) = (self.id()?, self.network());
        let before = self.home.names(&account, &network)?;
        let (entry, known) = {
            let mut now = self.now().await?;
            (now.names.named(&keys.id())?, Known::of(&keys, &mut now)?)
        };
        let asked = Asked {
            name,
            keys: &keys,
            period,
            says: &says,
            found: &found,
            known: &known,
            sending,
            told: None,
        };
        let is_free = check_free(entry.as_ref(), self.registrar.account(), self.registrar.time().await?);
        if let Err(error) = is_free {
            return self.not_free(&asked, before.begun.contains_key(name), error).await;
        }
        let secret = Secret::generate().map_err(|error| {
            let remedy = "restart the device; its source of randomness does not work";
            Failure::new(Exit::Failed, "no_randomness", error.to_string(), remedy)
        })?;
        let mut kept = before.begun.get(name);
        // Of a name that somebody had, it may have been in a transaction that everybody saw.
        if let Some(Secret(secret)) = kept
            && entry.is_some()
            && !self.registrar.is_committed(&Reservation { id: keys.id(), secret: *secret }).await?
        {
            self.home.give_name_up(&account, &network, name)?;
            kept = None;
        }
        let (quote, fee) = {
            // Nothing is kept of what nobody agrees to.
            let Secret(secret) = kept.unwrap_or(&secret).clone();
            let begun = Reservation { id: keys.id(), secret };
            self.registrar.quote_registration(&begun, period, says.len()).await?
        };
        let what = |fee: Amount| format!("register {name} for {period} for {fee} SESH{found}");
        let cost = format!("{fee} SESH, and {quote} for two transactions a minute apart");
        tell_cost(self.context, &what(fee), self.called(), self.registrar.account(), &cost);
        let mut consent = Consent::new(sending.yes);
        consent.to(&what(fee), quote.most, || agree(self.context, &what(fee), &cost))?;
        let Secret(secret) = self.home.begin_name(&account, &network, name, secret)?;
        let begun = Reservation { id: keys.id(), secret };
        let bar = ProgressBar::new_spinner();
        bar.set_message("waiting for what the account sent before");
        bar.tick();
        let reserved = self.registrar.reserve(&begun, quote.most, |step| match step {
            Step::Committing(progress) => sending::show(&bar, progress),
            Step::Waiting { seconds } => {
                bar.set_message(format!("committed; {seconds} s until it can be registered"));
                bar.tick();
            }
        });
        let reserved = reserved.await;
        bar.finish_and_clear();
        // What is left of what was agreed to is for the second transaction.
        consent.spent(reserved?);
        // Nobody hears which name it is before all is agreed to: whoever does could be first while somebody is asked.
        let (left, now) = self.registrar.quote_committed(period, says.len()).await?;
        not_risen(sending, Some(fee), now)?;
        if !consent.covers(&what(now), left.most) {
            let cost = format!("{now} SESH, and {left} for the second transaction");
            tell_cost(self.context, &what(now), self.called(), self.registrar.account(), &cost);
            consent.to(&what(now), left.most, || agree(self.context, &what(now), &cost))?;
        }
        let records: Vec<_> = says.iter().map(|value| (&keys, value)).collect();
        let (call, paid) = match self.registrar.register(&begun, period, &records).await {
            Ok(planned) => planned,
            Err(error) => {
                return self.not_free(&Asked { told: Some(fee), ..asked }, true, error).await;
            }
        };
        not_risen(sending, Some(fee), paid)?;
        let told = json!({
            "name": name,
            "id": keys.id(),
            "owner": lower(self.registrar.account()),
            "days": period.days(),
            "fee": paid.to_string(),
            "set": set_told,
        });
        let sent = self.claim(name, Planned { call, what: what(paid), told }, &mut consent).await;
        if sent.as_ref().is_err_and(may_be_overtaken) && self.comes_to_be_own(keys.id()).await {
            self.tell_overtaken(name);
            return self.not_free(&Asked { told: Some(fee), ..asked }, true, RegistrarError::Yours).await;
        }
        sent?;
        Ok(self.home.keep_name(&account, &network, name, keys.id())?)
    }

    /// Sends the second transaction, of which everybody knows from here on which name it is for.
    async fn claim(&mut self, name: &Name, planned: Planned, consent: &mut Consent) -> Result<(), Failure> {
        let most = self.registrar.quote(&planned.call).await?.most;
        if !consent.covers(&planned.what, most) {
            self.context.output.warn(&format!(
                "{name} costs more than a moment ago, and the endpoint has heard of it by now: whoever else did can \
                 register it in a minute, unless you are first"
            ));
        }
        self.deliver_agreed(planned, consent).await
    }

    /// Whether the account has a name, once what is on its way is in a block.
    async fn comes_to_be_own(&mut self, id: NameId) -> bool {
        let _ = timeout(OVERTOOK, self.registrar.sender().settled()).await;
        let account = self.registrar.account();
        self.registrar.title(id).await.is_ok_and(|title| title.owner == account)
    }

    fn tell_overtaken(&self, name: &Name) {
        self.context.output.note(&format!(
            "{name} became this account's meanwhile, by another program of it or by what was sent before"
        ));
    }

    /// What is told of a name that somebody has. One that the account began to register, and has, becomes what it was
    /// to be: the program ended before it could tell, or another one of the account was first with something else.
    async fn not_free(
        &mut self,
        asked: &Asked<'_>,
        begun: bool,
        error: RegistrarError,
    ) -> Result<(), Failure> {
        let (account, network) = (self.id()?, self.network());
        match &error {
            RegistrarError::Yours if begun => {
                self.complete(asked).await?;
                return Ok(self.home.keep_name(&account, &network, asked.name, asked.keys.id())?);
            }
            // What expired since was registered all the same.
            RegistrarError::Yours | RegistrarError::Expired { .. } => {
                self.home.keep_name(&account, &network, asked.name, asked.keys.id())?;
            }
            RegistrarError::Taken { .. } => self.home.give_name_up(&account, &network, asked.name)?,
            _ => {}
        }
        Err(error.into())
    }

    /// Lets a name that the account has expire no earlier than was asked for, and say all of it. Where another program of
    /// the account does the same first, nothing is left to do.
    async fn complete(&mut self, asked: &Asked<'_>) -> Result<(), Failure> {
        let Asked { name, keys, period, found, sending, told: agreed, .. } = *asked;
        let (title, planned) = self.completion(asked).await?;
        let Some((call, fee)) = planned else { return self.done_before(asked, &title) };
        let lacks = title.lacks(period);
        let later = lacks.map_or(0, Period::days).saturating_mul(DAY);
        let expires = ms(title.expires.saturating_add(later));
        let mut told = self.told(name, keys.id(), expires);
        let ends = text::time(expires);
        not_risen(sending, agreed, fee)?;
        let what = match lacks {
            Some(lacks) => {
                told["fee"] = json!(fee.to_string());
                format!("renew {name}, which is registered, for {lacks}, until {ends}, for {fee} SESH{found}")
            }
            None => format!("let {name}, which is registered, say all that it was to say{found}"),
        };
        let sent = self.deliver(Planned { call, what, told }, sending).await;
        if sent.as_ref().is_err_and(may_be_overtaken) {
            let again = timeout(OVERTOOK, self.completion(asked)).await;
            if let Ok(Ok((title, None))) = again {
                self.tell_overtaken(name);
                return self.done_before(asked, &title);
            }
        }
        sent
    }

    fn done_before(&self, asked: &Asked<'_>, title: &Title) -> Result<(), Failure> {
        let (name, expires) = (asked.name, ms(title.expires));
        let ends = text::time(expires);
        let done = format!("done before: {name} is registered, and this account's, until {ends}");
        self.nothing_to_do(self.told(name, asked.keys.id(), expires), &done)
    }

    fn told(&self, name: &Name, id: NameId, expires: u64) -> Json {
        json!({ "name": name, "id": id, "owner": lower(self.registrar.account()), "expires": expires })
    }

    /// What completes a name, and the title that this goes by.
    async fn completion(&mut self, asked: &Asked<'_>) -> Result<(Title, Option<(Call, Amount)>), Failure> {
        let Asked { name, keys, period, says, known, .. } = *asked;
        // What is on its way may do the same.
        self.registrar.sender().settled().await?;
        for _ in 0..MAX_PLANS {
            let title = self.registrar.title(keys.id()).await?;
            let planned = self.registrar.complete(keys, title.lacks(period), says, known).await?;
            // The account's permits count one after the other: a renewal of its own that came before this one's permit
            // shows in the expiry by now, and one that comes later takes the permit's place.
            if self.registrar.title(keys.id()).await?.expires == title.expires {
                return Ok((title, planned));
            }
        }
        let message = format!("{name} was renewed again and again while it was looked at");
        Err(Failure::new(Exit::NotReady, "renewed", message, "register it again: it goes on"))
    }
}

/// Whether what the account had sent elsewhere can be why a transaction was refused, or is not known to be mined.
fn may_be_overtaken(failure: &Failure) -> bool {
    matches!(failure.code, "contract_refuses" | "not_mined")
}

/// Who is not to be asked agreed to the fee that was told, and to no more.
fn not_risen(sending: Sending, told: Option<Amount>, fee: Amount) -> Result<(), Failure> {
    match told.filter(|told| sending.yes && fee > *told) {
        None => Ok(()),
        Some(told) => {
            let message = format!("the fee has risen from {told} SESH to {fee} SESH");
            let remedy = "register the name again if you agree: it goes on";
            Err(Failure::new(Exit::Refused, "fee", message, remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_asked_pays_no_more_than_was_told() {
        let [less, more] = [10, 11].map(Amount::sesh);
        let (asked, unasked) = (Sending { yes: false }, Sending { yes: true });
        for (sending, told, fee) in [
            (unasked, Some(more), less),
            (unasked, Some(less), less),
            (unasked, None, more),
            (asked, Some(less), more),
        ] {
            assert!(not_risen(sending, told, fee).is_ok());
        }
        let refused = not_risen(unasked, Some(less), more).unwrap_err();
        assert_eq!((refused.code, refused.exit), ("fee", Exit::Refused));
    }
}
