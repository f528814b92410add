//! Whom a person means: an account id, somebody in the address book, or whoever has a name of the network.

use alloy::primitives::Address;
use session_client::{
    Age, ClientError,
    home::{Home, HomeError},
};
use session_protocols::{
    AccountId,
    names::{
        Kind, Name, Value,
        value::{ValueError, Wallet},
    },
};

use crate::{
    Context, account,
    failure::{Exit, Failure},
    network,
    network::Access,
    text,
};

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
            Err(unknown @ HomeError::Unknown(_)) => match text.parse() {
                Ok(name) if has_names(context) => Ok(Self::Named(Named { name, at: false })),
                Ok(_) | Err(_) => Err(unknown.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The account; where there is no flag to agree by, none is followed that a name did not lead to before.
    pub(crate) async fn account(
        self,
        context: &Context,
        home: &Home,
        access: &Access,
        agreed: Option<Agreed>,
    ) -> Result<AccountId, Failure> {
        let named = match self {
            Self::Account(id) => return Ok(id),
            Self::Named(named) => named,
        };
        warn(context, home, access, &named.name)?;
        let said = named.says(access, Kind::Account, agreed).await?;
        warn_old(context, access);
        match said {
            Some(Value::Account(id)) => Ok(id),
            Some(_) | None => Err(access.failed(named.without(Kind::Account))),
        }
    }

    /// Where it is paid: the wallet of a name, the address of an account here, or the one that a contact signed for,
    /// unless another was paid before.
    pub(crate) async fn address(self, context: &Context, home: &Home) -> Result<Wallet, Failure> {
        let id = match self {
            Self::Account(id) => id,
            Self::Named(named) => {
                let access = Access::open(context).await?;
                warn(context, home, &access, &named.name)?;
                return match named.says(&access, Kind::Wallet, None).await? {
                    Some(Value::Wallet(wallet)) => Ok(wallet),
                    Some(_) | None => Err(access.failed(named.without(Kind::Wallet))),
                };
            }
        };
        let at = wallet_of(home, &id)?;
        match home.paid_at(&id)?.and_then(|kept| kept.agreed).filter(|before| *before != at.0) {
            None => Ok(at),
            Some(before) => Err(Failure::new(
                Exit::Refused,
                "address_changed",
                format!("{id} was paid at {} and says now to be paid at {at}", Wallet(before)),
                "ask them by other means which of the two is right, and give that address",
            )),
        }
    }
}

/// Whom a text means on the settlement chain: an address, or where somebody is paid who is named.
pub(crate) async fn address(context: &Context, home: &Home, text: &str) -> Result<Address, Failure> {
    match written(text)? {
        Some(address) => Ok(address),
        None => Ok(Recipient::read(context, home, text)?.address(context, home).await?.0.into()),
    }
}

/// The address that a text is; none when it may be what somebody is named.
///
/// # Errors
/// When it can be nothing but an address, and is written wrongly: whoever registers such a name is not to get what was
/// meant for the address.
pub(crate) fn written(text: &str) -> Result<Option<Address>, Failure> {
    let wrong = |what| {
        let remedy =
            "copy it once more, from where it was shown; a name that reads like one is written with @";
        Failure::usage(format!("the address {} {what}", text::plain(text)), remedy)
    };
    match text.parse::<Wallet>() {
        Ok(wallet) => Ok(Some(wallet.0.into())),
        Err(ValueError::Checksum) => Err(wrong("has a wrong digit: its checksum fails")),
        Err(_) if may_be_a_name(text) => Ok(None),
        Err(_) => Err(wrong("is not 0x and 40 hex digits")),
    }
}

/// Whether a text does not read like an address, with some digits more or less.
pub(crate) fn may_be_a_name(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit()) && (36..=44).contains(&text.len());
    !digits && !text.starts_with("0x") && !text.starts_with("0X")
}

/// Where an account is paid, as far as that is known here.
pub(crate) fn wallet_of(home: &Home, id: &AccountId) -> Result<Wallet, Failure> {
    if let Some((name, _)) = home.accounts()?.into_iter().find(|(_, own)| own == id) {
        return Ok(Wallet(account::signer(home, &name, id)?.0.address().into_array()));
    }
    home.paid_at(id)?.map(|at| Wallet(at.said)).ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "no_address",
            format!("{id} has never signed for an address, so it is not known where they are paid"),
            "have them tell you theirs: session wallet address --tell ME",
        )
    })
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

impl Named {
    /// Whose account it leads to, and where it says that they are paid, as far as it says so.
    pub(crate) async fn paid(
        &self,
        context: &Context,
        home: &Home,
        access: &Access,
        agreed: Agreed,
    ) -> Result<(Option<AccountId>, Option<Wallet>), Failure> {
        warn(context, home, access, &self.name)?;
        let account = match self.says(access, Kind::Account, Some(agreed)).await? {
            Some(Value::Account(id)) => Some(id),
            Some(_) | None => None,
        };
        let wallet = match self.says(access, Kind::Wallet, Some(agreed)).await? {
            Some(Value::Wallet(wallet)) => Some(wallet),
            Some(_) | None => None,
        };
        Ok((account, wallet))
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
                    ClientError::NameChanged { before, now, .. } => Some(format!(
                        "ask the one you mean, another way, which of the two is right: to go by the new one {}, to \
                         go by the old one give {} in place of {name}",
                        by(&now.value),
                        before.value
                    )),
                    ClientError::NotAgreed { now, .. } => Some(format!(
                        "ask the one you mean, another way, whether that is right; then {}",
                        by(&now.value)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_like_an_address_is_one_or_nothing() {
        let sound = "0x5290fb79C3dbE0a5aEd4a6bE12AF0e7B1d2C9EE7".to_lowercase();
        assert!(written(&sound).unwrap().is_some());
        let cased = Wallet(written(&sound).unwrap().unwrap().into_array()).to_string();
        assert!(written(&cased).unwrap().is_some());
        let place = cased.rfind(|c: char| c.is_ascii_lowercase()).unwrap();
        let mut spoilt = cased.clone();
        spoilt.replace_range(place..=place, &cased[place..=place].to_uppercase());
        let short = &sound[..41];
        let long = format!("{sound}0");
        let bare = &sound[2..];
        let shouted = sound.replace("0x", "0X");
        for wrong in [spoilt.as_str(), short, &long, bare, &bare[1..], &shouted, "0x", "0x12", "0xalice"] {
            assert!(written(wrong).is_err(), "{wrong}");
        }
        for name in ["alice", "@0xalice", "@alice", "deadbeef", "0", &"a".repeat(64)] {
            assert_eq!(written(name).unwrap(), None, "{name}");
        }
    }
}
