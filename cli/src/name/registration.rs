//! Registrations: two transactions a minute apart, which go on wherever they ended.

use indicatif::ProgressBar;
use serde_json::json;
use session_chain::{
    Amount,
    settlement::{
        RegistrarError,
        registrar::{Known, Period, Reservation, Step, check_free},
    },
};
use session_client::home::Secret;
use session_protocols::names::{Name, NameKeys, Value};

use super::{Desk, ms};
use crate::{
    args::{Said, Sending},
    failure::{Exit, Failure},
    sending::{self, Consent, Planned, agree, tell_cost},
    stake::lower,
    text,
};

/// Seconds of a day.
const DAY: u64 = 24 * 3_600;

/// What a name is to be.
struct Asked<'a> {
    name: &'a Name,
    keys: &'a NameKeys,
    period: Period,
    says: &'a [Value],
    /// What it says so far.
    known: &'a Known,
    sending: Sending,
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
        for Said(kind, value) in set {
            says.push(self.value(*kind, value).await?);
        }
        let keys = self.keys(name, true).await?;
        let (account, network) = (self.id()?, self.network());
        let before = self.home.names(&account, &network)?;
        let (entry, known) = {
            let mut now = self.now().await?;
            (now.names.named(&keys.id())?, Known::of(&keys, &mut now)?)
        };
        let asked = Asked { name, keys: &keys, period, says: &says, known: &known, sending };
        let is_free = check_free(entry.as_ref(), self.registrar.account(), self.registrar.time().await?);
        if let Err(error) = is_free {
            return self.not_free(&asked, before.begun.contains_key(name), error).await;
        }
        let secret = Secret::generate().map_err(|error| {
            let remedy = "restart the device; its source of randomness does not work";
            Failure::new(Exit::Failed, "no_randomness", error.to_string(), remedy)
        })?;
        let (quote, fee) = {
            // Nothing is kept of what nobody agrees to.
            let Secret(secret) = before.begun.get(name).unwrap_or(&secret).clone();
            let begun = Reservation { id: keys.id(), secret };
            self.registrar.quote_registration(&begun, period, says.len()).await?
        };
        let what = |fee: Amount| format!("register {name} for {period} for {fee} SESH");
        let cost = format!("{fee} SESH, and {quote} for two transactions a minute apart");
        tell_cost(self.context, &what(fee), self.called(), self.registrar.account(), &cost);
        let mut consent = Consent::new(sending.yes);
        consent.to(&what(fee), quote.most, || agree(self.context, &what(fee), &cost))?;
        let Secret(secret) = self.home.begin_name(&account, &network, name, secret)?;
        let begun = Reservation { id: keys.id(), secret };
        let bar = ProgressBar::new_spinner();
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
        let records: Vec<_> = says.iter().map(|value| (&keys, value)).collect();
        let (call, paid) = match self.registrar.register(&begun, period, &records).await {
            Ok(planned) => planned,
            Err(error) => return self.not_free(&asked, true, error).await,
        };
        // Who is not to be asked agreed to what was told a minute ago, and to no more.
        if sending.yes && paid > fee {
            let message = format!("the fee has risen from {fee} SESH to {paid} SESH");
            let remedy = "register the name again if you agree: it goes on";
            return Err(Failure::new(Exit::Refused, "fee", message, remedy));
        }
        let told = json!({
            "name": name,
            "id": keys.id(),
            "owner": lower(self.registrar.account()),
            "days": period.days(),
            "fee": paid.to_string(),
        });
        self.deliver_agreed(Planned { call, what: what(paid), told }, &mut consent).await?;
        Ok(self.home.keep_name(&account, &network, name, keys.id())?)
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
            RegistrarError::Yours => {
                self.home.keep_name(&account, &network, asked.name, asked.keys.id())?;
            }
            RegistrarError::Taken { .. } => self.home.give_name_up(&account, &network, asked.name)?,
            _ => {}
        }
        Err(error.into())
    }

    /// Lets a name that the account has expire no earlier than was asked for, and say all of it.
    async fn complete(&mut self, asked: &Asked<'_>) -> Result<(), Failure> {
        let Asked { name, keys, period, says, known, sending } = *asked;
        let title = self.registrar.title(keys.id()).await?;
        let lacks = title.lacks(period);
        let later = lacks.map_or(0, Period::days).saturating_mul(DAY);
        let expires = ms(title.expires.saturating_add(later));
        let mut told = json!({
            "name": name,
            "id": keys.id(),
            "owner": lower(self.registrar.account()),
            "expires": expires,
        });
        let ends = text::time(expires);
        let Some((call, fee)) = self.registrar.complete(keys, lacks, says, known).await? else {
            let done = format!("done before: {name} is registered, and this account's, until {ends}");
            return self.nothing_to_do(told, &done);
        };
        let what = match lacks {
            Some(lacks) => {
                told["fee"] = json!(fee.to_string());
                format!("renew {name}, which is registered, for {lacks}, until {ends}, for {fee} SESH")
            }
            None => format!("let {name}, which is registered, say all that it was to say"),
        };
        self.deliver(Planned { call, what, told }, sending).await
    }
}
