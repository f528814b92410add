//! Whom a person means: an account id, somebody in the address book, or whoever has a name of the network.

use std::{collections::BTreeSet, fmt};

use serde_json::{Value as Json, json};
use session_client::{
    Age, ClientError,
    home::{Home, HomeError},
};
use session_protocols::{
    AccountId,
    names::{Kind, Name, Value, value::Wallet},
};

use crate::{Context, failure::Failure, network, network::Access, payee, text};

/// What a text means, as far as this machine knows.
pub(crate) enum Recipient {
    /// An account.
    Account(AccountId),
    /// Whoever has this name.
    Named(Named),
}

/// A name of the network, as a person wrote it.
pub(crate) struct Named {
    name: Name,
    /// Whether it was written with `@`, which means nothing else.
    at: bool,
}

/// The name of the network by which somebody was found. A name that was mistyped is somebody's too.
pub(crate) struct FoundBy {
    pub(crate) name: Name,
    /// Whether it had never led to anybody here.
    pub(crate) first: bool,
    /// Whether it was written with `@`.
    at: bool,
}

impl FoundBy {
    /// What is said of whoever was found by it, behind what they were called.
    pub(crate) const fn told(&self) -> &'static str {
        match (self.at, self.first) {
            (true, false) => "",
            (true, true) => " (followed for the first time)",
            (false, false) => " (the network's name)",
            (false, true) => " (the network's name, followed for the first time)",
        }
    }

    /// The same of somebody who may have been found by none.
    pub(crate) fn told_of(found: Option<&Self>) -> &'static str {
        found.map_or("", Self::told)
    }

    /// Tells programs the same, in an object that says who was found.
    pub(crate) fn tell(found: Option<&Self>, data: &mut Json) {
        if let Some(data) = data.as_object_mut() {
            data.insert("found".to_owned(), json!(found.map(|found| &found.name)));
            data.insert("first".to_owned(), json!(found.is_some_and(|found| found.first)));
        }
    }
}

/// What a person agreed to follow of a name that leads elsewhere than before: that very value, because it may
/// change once more before they say so.
#[derive(Clone, Copy, Default)]
pub(crate) struct Agreed {
    /// By `--follow`.
    pub(crate) account: Option<AccountId>,
    /// By `--new-address`.
    pub(crate) wallet: Option<Wallet>,
}

impl Agreed {
    /// To an account, or nothing.
    pub(crate) const fn account(account: Option<AccountId>) -> Self {
        Self { account, wallet: None }
    }

    fn to(self, kind: Kind) -> Option<Value> {
        match kind {
            Kind::Account => self.account.map(Value::Account),
            Kind::Wallet => self.wallet.map(Value::Wallet),
            _ => None,
        }
    }
}

impl Recipient {
    /// Reads it: with `@` a name of the network; else an id, the address book, and then a name.
    pub(crate) fn read(context: &Context, home: &Home, text: &str) -> Result<Self, Failure> {
        if text.starts_with('@') {
            return Ok(Self::Named(Named { name: name(text)?, at: true }));
        }
        match home.resolve(text) {
            Ok(id) => Ok(Self::Account(id)),
            Err(unknown @ HomeError::Unknown(_)) => match Named::read(text) {
                Some(named) if has_names(context) => Ok(Self::Named(named)),
                None if reads_like_a_key(text) => Err(not_an_id(text)),
                Some(_) | None => Err(unknown.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The account, and by which name it was found, if it was by one; where there is no flag to agree by, none is
    /// followed that a name did not lead to before.
    pub(crate) async fn found(
        self,
        context: &Context,
        home: &Home,
        access: &Access,
        agreed: Option<Agreed>,
    ) -> Result<(AccountId, Option<FoundBy>), Failure> {
        let named = match self {
            Self::Account(id) => return Ok((id, None)),
            Self::Named(named) => named,
        };
        warn(context, home, access, &named.name)?;
        let by = named.before(access, &[Kind::Account])?;
        let said = named.says(access, Kind::Account, agreed).await?;
        warn_old(context, access);
        match said {
            Some(Value::Account(id)) => Ok((id, Some(by))),
            Some(_) | None => Err(access.failed(named.without(Kind::Account))),
        }
    }
}

/// What is known of names, and how old that is, if it is old.
pub(crate) fn old(access: &Access) -> Option<String> {
    let age = access.client.names_age().filter(Age::is_old)?;
    Some(format!(
        "what is known of names is as of {}: {} epochs have ended since, and no node shows a checkpoint of them",
        text::time(age.ended_ms),
        age.missing
    ))
}

fn warn_old(context: &Context, access: &Access) {
    if let Some(warning) = old(access) {
        context.output.warn(&warning);
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name, f)
    }
}

impl Named {
    /// Reads it, with @ or without; none where it can be no name, or was meant to be an id.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let at = text.starts_with('@');
        if !at && reads_like_a_key(text) {
            return None;
        }
        Some(Self { name: text.parse().ok()?, at })
    }

    /// The service that it leads to, and how it was known; another than before is taken only as it is written.
    pub(crate) async fn relay(
        &self,
        context: &Context,
        home: &Home,
        access: &Access,
    ) -> Result<(Value, FoundBy), Failure> {
        warn(context, home, access, &self.name)?;
        let by = self.before(access, &[Kind::Relay])?;
        let said = self.says(access, Kind::Relay, None).await?;
        Ok((said.ok_or_else(|| access.failed(self.without(Kind::Relay)))?, by))
    }

    /// How it is known before these of its records are followed.
    fn before(&self, access: &Access, kinds: &[Kind]) -> Result<FoundBy, Failure> {
        let Self { name, at } = self;
        let mut first = true;
        for kind in kinds {
            let led = access.client.followed(name, *kind).map_err(|error| access.failed(error))?;
            first &= led.is_none();
        }
        Ok(FoundBy { name: name.clone(), first, at: *at })
    }

    /// Whose account it leads to, and where it says that they are paid, as far as it says so; and how it was known.
    pub(crate) async fn paid(
        &self,
        context: &Context,
        home: &Home,
        access: &Access,
        agreed: Option<Agreed>,
    ) -> Result<(Option<AccountId>, Option<Wallet>, FoundBy), Failure> {
        warn(context, home, access, &self.name)?;
        let by = self.before(access, &[Kind::Account, Kind::Wallet])?;
        let account = match self.says(access, Kind::Account, agreed).await? {
            Some(Value::Account(id)) => Some(id),
            Some(_) | None => None,
        };
        let wallet = match self.says(access, Kind::Wallet, agreed).await? {
            Some(Value::Wallet(wallet)) => Some(wallet),
            Some(_) | None => None,
        };
        Ok((account, wallet, by))
    }

    /// The name by which a contact was found, if it was by one, and on this network: on another it may be anybody's.
    pub(crate) fn of_contact(
        home: &Home,
        access: &Access,
        contact: &str,
        id: &AccountId,
    ) -> Result<Option<Self>, Failure> {
        // However it was written.
        let contact = match home.entry(contact) {
            Ok((contact, _)) => contact,
            Err(HomeError::Unknown(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(name) = home.contact_names()?.remove(&contact) else { return Ok(None) };
        let led = access.client.followed(&name, Kind::Account).map_err(|error| access.failed(error))?;
        Ok((led == Some(Value::Account(*id))).then_some(Self { name, at: true }))
    }

    /// Where the contact that was found by it says to be paid, if it says so and leads to the contact still. Where it does
    /// not, that is told: what it says then is somebody else's word.
    pub(crate) async fn paid_to(
        &self,
        context: &Context,
        access: &Access,
        (contact, id): (&str, AccountId),
        agreed: Option<Agreed>,
    ) -> Result<Option<Wallet>, Failure> {
        let name = &self.name;
        let leads = match access.client.resolve(name).await {
            Ok(resolved) => resolved.records.get(&Kind::Account) == Some(&Ok(Value::Account(id))),
            Err(ClientError::NameFree { .. } | ClientError::NameExpired { .. }) => false,
            Err(error) => return Err(access.failed(error)),
        };
        if !leads {
            context.output.warn(&format!(
                "{contact} was found by the name {name}, which leads elsewhere by now: what it says is left out"
            ));
            return Ok(None);
        }
        Ok(match self.says(access, Kind::Wallet, agreed).await? {
            Some(Value::Wallet(wallet)) => Some(wallet),
            Some(_) | None => None,
        })
    }

    /// What one of its records says, if it has it. What it said before is told from what it says now, and the other
    /// is taken only by who agrees to that; where there is no flag to agree by, they write the value itself.
    async fn says(
        &self,
        access: &Access,
        kind: Kind,
        agreed: Option<Agreed>,
    ) -> Result<Option<Value>, Failure> {
        let Self { name, at } = self;
        let to = agreed.and_then(|agreed| agreed.to(kind));
        match access.client.follow(name, kind, to.as_ref()).await {
            Ok(value) => Ok(Some(value)),
            Err(ClientError::NoRecord { .. }) => Ok(None),
            Err(ClientError::NameFree { name }) if !at => Err(HomeError::Unknown(name.to_string()).into()),
            Err(error) => {
                let by = |now: &str| match (agreed, kind) {
                    (None, _) => format!("give {now} in place of {name}"),
                    (Some(_), Kind::Wallet) => format!("add --new-address {now}"),
                    (Some(_), _) => format!("add --follow {now}"),
                };
                let remedy = match &error {
                    ClientError::NameChanged { led, before, now, .. } if **led == *name => Some(format!(
                        "ask the one you mean, another way, which of the two is right: to go by the new one {}, to \
                         go by the old one give {} in place of {name}",
                        by(&now.value),
                        before.value
                    )),
                    ClientError::NameChanged { now, .. } | ClientError::NotAgreed { now, .. } => {
                        Some(format!(
                            "ask the one you mean, another way, whether that is right; then {}",
                            by(&now.value)
                        ))
                    }
                    _ => None,
                };
                let mut failure = access.failed(error);
                failure.remedy = remedy.unwrap_or(failure.remedy);
                Err(failure)
            }
        }
    }

    /// That it has no such record.
    pub(crate) fn without(&self, kind: Kind) -> ClientError {
        ClientError::NoRecord { name: self.name.clone(), kind }
    }
}

/// Whether a text reads like an account id, a key or an address, with some digits more or less: whoever registers such
/// a name is not to get what was meant for somebody else.
fn reads_like_a_key(text: &str) -> bool {
    let id = text.len() >= 60 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    id || !payee::may_be_a_name(text)
}

fn not_an_id(text: &str) -> Failure {
    Failure::usage(
        format!("{} is no account id: that has 66 hex digits, of a key", text::plain(text)),
        "copy it once more, from where it was shown; a name that reads like one is written with @",
    )
}

/// A name as a person writes it.
pub(crate) fn name(text: &str) -> Result<Name, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("\"{text}\" is no name: {error}"), "write it as its owner does: @alice")
    })
}

/// Says what a person should hear before they rely on a name.
pub(crate) fn warn(context: &Context, home: &Home, access: &Access, name: &Name) -> Result<(), Failure> {
    for warning in name.warnings() {
        context.output.warn(&warning.to_string());
    }
    let mut known = look_alikes(home, name)?;
    known.extend(access.client.look_alikes(name)?);
    for known in known {
        context.output.warn(&format!("{name} looks like {known}, which you know, and is another name"));
    }
    Ok(())
}

/// The contacts and own accounts whose names look like this one, and are others.
pub(crate) fn look_alikes(home: &Home, name: &Name) -> Result<BTreeSet<Name>, Failure> {
    let own = home.accounts()?.into_iter().map(|(own, _)| own);
    let written = home.contacts()?.into_keys().chain(own);
    let known = written.filter_map(|known| known.parse::<Name>().ok());
    Ok(known.filter(|known| name.looks_like(known)).collect())
}

/// Whether the network that is meant has names, as far as can be told.
fn has_names(context: &Context) -> bool {
    network::described(context).is_ok_and(|network| network.settlement.is_some())
}

#[cfg(test)]
mod tests {
    use session_client::Account;

    use super::*;

    #[test]
    fn what_looks_like_a_contact_or_an_own_account_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        home.create_account("Bob", &Account::new(&[1; 16])).unwrap();
        home.add_contact("paypal", AccountId::from_bytes([5; 33]), None).unwrap();
        // What can be no name looks like none.
        home.add_contact("-.-.-", AccountId::from_bytes([6; 33]), None).unwrap();
        for (text, known) in
            [("b0b", &["bob"][..]), ("paypa1", &["paypal"]), ("bob", &[]), ("paypal", &[]), ("carol", &[])]
        {
            let found = look_alikes(&home, &text.parse().unwrap()).unwrap();
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, known, "{text}");
        }
    }

    #[test]
    fn a_name_that_was_never_followed_is_told_from_one_that_was() {
        let told = |at, first| FoundBy { name: "bbo".parse().unwrap(), first, at }.told();
        assert_eq!(told(true, false), "");
        assert_eq!(told(false, false), " (the network's name)");
        for at in [true, false] {
            assert!(told(at, true).contains("followed for the first time"));
        }
        assert_eq!(FoundBy::told_of(None), "");
        let by = FoundBy { name: "bbo".parse().unwrap(), first: true, at: false };
        let mut data = json!({ "to": "0x1" });
        FoundBy::tell(Some(&by), &mut data);
        assert_eq!(data, json!({ "to": "0x1", "found": "bbo", "first": true }));
        FoundBy::tell(None, &mut data);
        assert_eq!(data, json!({ "to": "0x1", "found": null, "first": false }));
    }

    #[test]
    fn what_reads_like_an_id_is_no_name() {
        let id = "05".to_owned() + &"ab".repeat(32);
        let address = format!("0x{}", &id[..40]);
        for wrong in [&id[2..], &id[..64], &id[..60], &address, &address[..41], &id[..40]] {
            assert!(Named::read(wrong).is_none(), "{wrong}");
            assert!(Named::read(&format!("@{wrong}")).is_some(), "{wrong}");
        }
        assert!(Named::read(&id[..50]).is_some() && Named::read("alice").is_some());
        assert!(Named::read("al ice").is_none());
    }
}
