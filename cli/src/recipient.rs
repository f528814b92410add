//! Whom a person means: an account id, somebody in the address book, or whoever has a name of the network.

use session_client::{
    ClientError,
    home::{Home, HomeError},
};
use session_protocols::{
    AccountId,
    names::{Kind, Name, Value, value::Wallet},
};

use crate::{Context, failure::Failure, network, network::Access};

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

/// Whether a name is followed that leads elsewhere than before.
#[derive(Clone, Copy)]
pub(crate) struct Follow {
    /// Whether the person agreed to it.
    pub(crate) agreed: bool,
    /// What they agree to it by.
    pub(crate) by: &'static str,
}

impl Follow {
    /// By `--follow`, where there is such a flag.
    pub(crate) const fn by_flag(agreed: bool) -> Self {
        Self { agreed, by: "--follow" }
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
            Err(unknown @ HomeError::Unknown(_)) => match text.parse() {
                Ok(name) if has_names(context) => Ok(Self::Named(Named { name, at: false })),
                Ok(_) | Err(_) => Err(unknown.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The account.
    pub(crate) async fn account(
        self,
        context: &Context,
        home: &Home,
        access: &Access,
        follow: Follow,
    ) -> Result<AccountId, Failure> {
        let named = match self {
            Self::Account(id) => return Ok(id),
            Self::Named(named) => named,
        };
        warn(context, home, access, &named.name)?;
        match named.says(access, Kind::Account, follow).await? {
            Some(Value::Account(id)) => Ok(id),
            Some(_) | None => Err(access.failed(named.without(Kind::Account))),
        }
    }
}

impl Named {
    /// Whose account it leads to, and where it says that they are paid, as far as it says so.
    pub(crate) async fn paid(
        &self,
        context: &Context,
        home: &Home,
        access: &Access,
        follow: Follow,
    ) -> Result<(Option<AccountId>, Option<Wallet>), Failure> {
        warn(context, home, access, &self.name)?;
        let account = match self.says(access, Kind::Account, follow).await? {
            Some(Value::Account(id)) => Some(id),
            Some(_) | None => None,
        };
        let wallet = match self.says(access, Kind::Wallet, follow).await? {
            Some(Value::Wallet(wallet)) => Some(wallet),
            Some(_) | None => None,
        };
        Ok((account, wallet))
    }

    /// What one of its records says, if it has it. What it said before is told from what it says now, and the other
    /// is taken only by who agrees to `follow` it.
    async fn says(&self, access: &Access, kind: Kind, follow: Follow) -> Result<Option<Value>, Failure> {
        let Self { name, at } = self;
        match access.client.follow(name, kind, follow.agreed).await {
            Ok(value) => Ok(Some(value)),
            Err(ClientError::NoRecord { .. }) => Ok(None),
            Err(ClientError::NameFree { name }) if !at => Err(HomeError::Unknown(name.to_string()).into()),
            Err(error) => {
                let remedy = match &error {
                    ClientError::NameChanged { before, .. } => Some(format!(
                        "ask the one you mean, another way, which of the two is right: to go by the new one add {}, \
                         to go by the old one give {} in place of {name}",
                        follow.by, before.value
                    )),
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
    let contacts = home.contacts()?;
    let written = contacts.keys().filter_map(|known| known.parse().ok());
    let followed = access.client.look_alikes(name)?;
    for known in followed.into_iter().chain(written.filter(|known| name.looks_like(known))) {
        context.output.warn(&format!("{name} looks like {known}, which you know, and is another name"));
    }
    Ok(())
}

/// Whether the network that is meant has names, as far as can be told.
fn has_names(context: &Context) -> bool {
    network::described(context).is_ok_and(|network| network.settlement.is_some())
}
