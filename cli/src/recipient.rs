//! Whom a person means: an account id, somebody in the address book, or whoever has a name of the network.

use session_client::{
    ClientError,
    home::{Home, HomeError},
};
use session_protocols::{
    AccountId,
    names::{Kind, Name, Value},
};

use crate::{Context, failure::Failure, network, network::Access};

/// What a text means, as far as this machine knows.
pub(crate) enum Recipient {
    /// An account.
    Account(AccountId),
    /// Whoever has this name.
    Name {
        /// The name.
        name: Name,
        /// Whether it was written with `@`, which means nothing else.
        at: bool,
    },
}

impl Recipient {
    /// Reads it: with `@` a name of the network; else an id, the address book, and then a name.
    pub(crate) fn read(context: &Context, home: &Home, text: &str) -> Result<Self, Failure> {
        if text.starts_with('@') {
            return Ok(Self::Name { name: name(text)?, at: true });
        }
        match home.resolve(text) {
            Ok(id) => Ok(Self::Account(id)),
            Err(unknown @ HomeError::Unknown(_)) => match text.parse() {
                Ok(name) if has_names(context) => Ok(Self::Name { name, at: false }),
                Ok(_) | Err(_) => Err(unknown.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The account. What a name said before is told from what it says now, and the other is taken only to
    /// `follow` it.
    pub(crate) async fn account(
        self,
        context: &Context,
        home: &Home,
        access: &Access,
        follow: bool,
    ) -> Result<AccountId, Failure> {
        let (name, at) = match self {
            Self::Account(id) => return Ok(id),
            Self::Name { name, at } => (name, at),
        };
        warn(context, home, access, &name)?;
        match access.client.follow(&name, Kind::Account, follow).await {
            Ok(Value::Account(id)) => Ok(id),
            Ok(_) => Err(access.failed(ClientError::NoRecord { name, kind: Kind::Account })),
            Err(ClientError::NameFree { name }) if !at => Err(HomeError::Unknown(name.to_string()).into()),
            Err(error) => {
                let changed = matches!(error, ClientError::NameChanged { .. });
                let mut failure = access.failed(error);
                if changed {
                    failure.remedy = format!(
                        "ask the one you mean, another way, which of the two is right: to write to the new one \
                         add --follow, to write to the old one give its id in place of {name}"
                    );
                }
                Err(failure)
            }
        }
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
