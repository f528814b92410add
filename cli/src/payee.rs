//! Where somebody is on the settlement chain: at an address that a person wrote, or one that a name says, its owner
//! signed for, and payments before went to.

use core::fmt;

use alloy::primitives::Address;
use session_client::{Account, home::Home};
use session_protocols::{
    AccountId,
    names::{
        Kind,
        value::{self, ValueError},
    },
};

use crate::{
    Context, account,
    failure::{Exit, Failure},
    network::Access,
    recipient::{Agreed, FoundBy, Named, Recipient},
    text,
    wallet::learn,
};

/// Who is paid, and where.
pub(crate) struct Payee {
    /// Whom to tell of it, if that is known.
    pub(crate) person: Option<AccountId>,
    pub(crate) address: Address,
    /// Where they signed to be paid, if that is another address, which was agreed not to be taken.
    pub(crate) over: Option<Address>,
    /// The name of the network by which they were found, if they were by one.
    pub(crate) found: Option<FoundBy>,
    /// The network, where it was asked.
    pub(crate) access: Option<Access>,
}

/// An address, and what was written for it. Shown is both, with what is said of the name by which it was found: a name
/// that was mistyped is somebody's too.
pub(crate) struct Addressee {
    pub(crate) address: Address,
    /// The name of the network by which it was found, if it was by one.
    pub(crate) found: Option<FoundBy>,
    written: String,
}

impl fmt::Display for Addressee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, found, written } = self;
        if written.eq_ignore_ascii_case(&address.to_string()) {
            return write!(f, "{address}");
        }
        write!(f, "{written}{} ({address})", FoundBy::told_of(found.as_ref()))
    }
}

/// What was found out of who is to be paid.
pub(crate) enum Found {
    At(Payee),
    /// Somebody who has never said where.
    Unsaid(AccountId, Access),
}

/// Finds who is to be paid: an address, an account of one's own, somebody from the address book, or whoever has a
/// name. What they said is read in the inbox of an account first, if there is one; an address other than before, or
/// other than they signed for, is taken only by who agrees to it: where there is no flag to agree by, they write it.
pub(crate) async fn find(
    context: &Context,
    home: &Home,
    reader: Option<&str>,
    written: &str,
    agreed: Option<Agreed>,
) -> Result<Found, Failure> {
    let shown = text::plain(written);
    if let Some(address) = self::written(written)? {
        Places { named: Some(address), ..Places::default() }.choose([&shown; 2], agreed)?;
        return Ok(Found::At(Payee { person: None, address, over: None, found: None, access: None }));
    }
    let recipient = Recipient::read(context, home, written)?;
    if let Recipient::Account(id) = recipient
        && let Some(own) = own(home, &id)?
    {
        // Nobody is asked for what follows from a key here.
        Places { signed: Some(own), ..Places::default() }.choose([&shown; 2], agreed)?;
        return Ok(Found::At(Payee {
            person: Some(id),
            address: own,
            over: None,
            found: None,
            access: None,
        }));
    }
    let access = Access::open(context).await?;
    let mut by = shown.clone();
    let (person, named, found) = match &recipient {
        Recipient::Account(id) => {
            let mut wallet = None;
            if let Some(named) = Named::of_contact(home, &access, written, id)? {
                by = named.to_string();
                wallet = named.paid_to(context, &access, (&shown, *id), agreed).await?;
            }
            (Some(*id), wallet, None)
        }
        Recipient::Named(named) => {
            let (person, wallet, found) = named.paid(context, home, &access, agreed).await?;
            if person.is_none() && wallet.is_none() {
                return Err(access.failed(named.without(Kind::Wallet)));
            }
            (person, wallet, Some(found))
        }
    };
    let named = named.map(|value::Wallet(address)| Address::from(address));
    let mut places = Places { named, ..Places::default() };
    if let Some(id) = &person {
        places.signed = own(home, id)?;
        if places.signed.is_none() {
            if let Some(reader) = reader {
                read_on(home, &access, &home.account(reader)?).await?;
            }
            if let Some(at) = home.paid_at(id)? {
                places.signed = Some(at.said.into());
                [places.before, places.over] = [at.agreed, at.over].map(|it| it.map(Address::from));
            }
        }
    }
    Ok(match (places.choose([&shown, &by], agreed)?, person) {
        (Some(address), person) => {
            let over = places.signed.filter(|signed| *signed != address);
            Found::At(Payee { person, address, over, found, access: Some(access) })
        }
        (None, Some(id)) => Found::Unsaid(id, access),
        // One of both is known here.
        (None, None) => return Err(unsaid(&shown)),
    })
}

/// Learns from an inbox where others are paid, from where it was read to before; how far that is is kept once what was
/// learnt is.
async fn read_on(home: &Home, access: &Access, reader: &Account) -> Result<(), Failure> {
    let (id, network) = (reader.id(), access.client.digest());
    let mut cursors = home.read_to(&id, network)?;
    let items = access.client.inbox_after(reader, &mut cursors).await;
    learn(home, &items.map_err(|error| access.failed(error))?)?;
    Ok(home.keep_read_to(&id, network, &cursors)?)
}

/// The address of who is meant; another than before is taken only as it is written.
pub(crate) async fn address(
    context: &Context,
    home: &Home,
    reader: Option<&str>,
    written: &str,
) -> Result<Addressee, Failure> {
    let shown = text::plain(written);
    match find(context, home, reader, written, None).await? {
        Found::At(Payee { address, found, .. }) => Ok(Addressee { address, found, written: shown }),
        Found::Unsaid(..) => Err(unsaid(&shown)),
    }
}

/// The address of who is meant, for who may have no account: there is no inbox then in which anybody could have said
/// another address.
pub(crate) async fn address_of(context: &Context, written: &str) -> Result<Addressee, Failure> {
    if let Some(address) = self::written(written)? {
        return Ok(Addressee { address, found: None, written: text::plain(written) });
    }
    let home = context.home()?;
    let reader = if home.accounts()?.is_empty() { None } else { Some(account::choose(&home, None)?.0) };
    address(context, &home, reader.as_deref(), written).await
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
    match text.parse::<value::Wallet>() {
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

/// Where an account is paid, as far as that is known here without asking.
pub(crate) fn known(home: &Home, id: &AccountId) -> Result<Address, Failure> {
    if let Some(own) = own(home, id)? {
        return Ok(own);
    }
    home.paid_at(id)?.map(|at| at.said.into()).ok_or_else(|| unsaid(&id.to_string()))
}

/// The address of an account whose key is here.
fn own(home: &Home, id: &AccountId) -> Result<Option<Address>, Failure> {
    let own = home.accounts()?.into_iter().find(|(_, own)| own == id);
    own.map(|(name, _)| Ok(account::signer(home, &name, id)?.0.address())).transpose()
}

fn unsaid(shown: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        "no_address",
        format!("{shown} has never signed for an address, so it is not known where they are paid"),
        "have them tell you theirs: session wallet address --tell ME",
    )
}

/// Where somebody may be paid, as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    /// As a name, or whoever wrote it, says.
    named: Option<Address>,
    /// As they signed.
    signed: Option<Address>,
    /// As was agreed to before.
    before: Option<Address>,
    /// What they had signed for then, if it was another address.
    over: Option<Address>,
}

impl Places {
    /// The address, if all that is known says the same, or else if that very one was agreed to, now or before over the
    /// same; none if none is known. Shown are who is meant, and the name that says so.
    fn choose(self, [shown, name]: [&str; 2], agreed: Option<Agreed>) -> Result<Option<Address>, Failure> {
        let Some(to) = self.named.or(self.signed) else { return Ok(None) };
        let ask = "ask them by other means which of the two is right";
        let take = |address| match agreed {
            Some(_) => format!("add --new-address {address}"),
            None => format!("give {address} in place of {shown}"),
        };
        let refused = |code, message, remedy| Err(Failure::new(Exit::Refused, code, message, remedy));
        match agreed.and_then(|agreed| agreed.wallet).map(|value::Wallet(address)| Address::from(address)) {
            Some(agreed) if agreed == to => return Ok(Some(to)),
            Some(agreed) => {
                return refused(
                    "address_changed",
                    format!("{shown} is to be paid at {to}, and {agreed} was agreed to; nothing is sent"),
                    format!("{ask}: for the first {}", take(to)),
                );
            }
            None => {}
        }
        let known = self.before == Some(to) && self.over == self.signed;
        if let Some(signed) = self.signed.filter(|signed| *signed != to && !known) {
            return refused(
                "stale_address",
                format!(
                    "the name {name} says to be paid at {to}, and the account that it leads to says at {signed}; \
                     nothing is sent"
                ),
                format!(
                    "{ask}: for the first {}, for the second give {signed} in place of {shown}",
                    take(to)
                ),
            );
        }
        match self.before.filter(|before| *before != to) {
            None => Ok(Some(to)),
            Some(before) => refused(
                "address_changed",
                format!("{shown} was paid at {before} and says now to be paid at {to}; nothing is sent"),
                format!("{ask}: for the second {}", take(to)),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_chosen_where_all_agree_or_somebody_has_agreed_to_it() {
        let [one, two, three] = [1, 2, 3].map(Address::repeat_byte);
        let by = |address: Address| {
            Some(Agreed { wallet: Some(value::Wallet(address.into_array())), ..Agreed::default() })
        };
        let (none, flag) = (None, Some(Agreed::default()));
        let (changed, stale) = ("address_changed", "stale_address");
        for (named, signed, before, agreed, chosen) in [
            (None, None, None, none, Ok(None)),
            (Some(one), None, None, none, Ok(Some(one))),
            (None, Some(one), None, none, Ok(Some(one))),
            (None, Some(one), Some(one), flag, Ok(Some(one))),
            (Some(one), Some(one), Some(one), flag, Ok(Some(one))),
            // Somebody has moved since they were paid.
            (None, Some(two), Some(one), none, Err(changed)),
            (None, Some(two), Some(one), flag, Err(changed)),
            (None, Some(two), Some(one), by(two), Ok(Some(two))),
            (None, Some(two), Some(one), by(one), Err(changed)),
            // A name and the account that it leads to.
            (Some(one), Some(two), None, none, Err(stale)),
            (Some(one), Some(two), Some(one), flag, Err(stale)),
            (Some(one), Some(two), Some(three), by(one), Ok(Some(one))),
            (Some(one), Some(two), Some(three), by(two), Err(changed)),
            (Some(two), Some(two), Some(one), none, Err(changed)),
        ] {
            let found = Places { named, signed, before, over: None }.choose(["@bob"; 2], agreed);
            let found = found.map_err(|failure| failure.code);
            assert_eq!(found, chosen, "{named:?} {signed:?} {before:?}");
        }
    }

    #[test]
    fn what_was_agreed_to_over_an_address_is_asked_again_once_either_changes() {
        let [one, two, three] = [1, 2, 3].map(Address::repeat_byte);
        let (changed, stale) = ("address_changed", "stale_address");
        for (named, signed, before, over, chosen) in [
            (Some(one), Some(two), Some(one), Some(two), Ok(Some(one))),
            (Some(three), Some(two), Some(one), Some(two), Err(stale)),
            (Some(one), Some(three), Some(one), Some(two), Err(stale)),
            // Once it was agreed to without another, or another was taken since.
            (Some(one), Some(two), Some(one), None, Err(stale)),
            (Some(one), Some(two), Some(two), Some(one), Err(stale)),
            // What they signed for was not taken, and is not without being asked.
            (None, Some(two), Some(one), Some(two), Err(changed)),
            // Both agree by now.
            (Some(one), Some(one), Some(one), Some(two), Ok(Some(one))),
            (Some(two), Some(two), Some(one), Some(two), Err(changed)),
        ] {
            let found = Places { named, signed, before, over }.choose(["bob", "@bob"], None);
            let found = found.map_err(|failure| failure.code);
            assert_eq!(found, chosen, "{named:?} {signed:?} {before:?} {over:?}");
        }
    }

    #[test]
    fn an_address_that_was_written_as_something_else_is_shown_as_both() {
        let address = Address::repeat_byte(0xab);
        let shown =
            |written: &str| Addressee { address, found: None, written: written.to_owned() }.to_string();
        assert_eq!(shown("bob"), format!("bob ({address})"));
        assert_eq!(shown(&address.to_string().to_lowercase()), address.to_string());
    }

    #[test]
    fn what_reads_like_an_address_is_one_or_nothing() {
        let sound = "0x5290fb79C3dbE0a5aEd4a6bE12AF0e7B1d2C9EE7".to_lowercase();
        assert!(written(&sound).unwrap().is_some());
        let cased = value::Wallet(written(&sound).unwrap().unwrap().into_array()).to_string();
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
