//! What records of names are to say, as people write it and as they and programs are told.

use core::fmt;

use session_protocols::names::{
    Value,
    value::{Kind, Wallet},
};

use super::Desk;
use crate::{
    failure::{Failure, chain},
    network::Access,
    payee,
    recipient::{FoundBy, Named, Recipient},
    stake::lower,
    text,
};

/// What a record is to say. Shown is with it what was written for it, where that was the name of somebody.
pub(super) struct Saying {
    pub(super) value: Value,
    /// The name of the network by which it was found, if it was by one.
    pub(super) found: Option<FoundBy>,
    written: String,
}

impl fmt::Display for Saying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, found, written } = self;
        write!(f, "{}: {value}", value.kind())?;
        match found {
            Some(found) => write!(f, " of {written}{}", found.told()),
            None => Ok(()),
        }
    }
}

/// What a record says, as programs are told: addresses in lower case, as everywhere.
pub(super) fn value_told(value: &Value) -> String {
    if let Value::Wallet(Wallet(address)) = value {
        return lower((*address).into());
    }
    value.to_string()
}

impl Desk<'_> {
    /// What a person writes as the value of a record: accounts, wallets and relays also by the names of those who have
    /// them.
    pub(super) async fn said(&self, kind: Kind, text: &str) -> Result<Saying, Failure> {
        let (value, found) = match Value::parse(kind, text) {
            Ok(value) => (value, None),
            Err(_) if kind == Kind::Account && payee::may_be_a_name(text) => {
                let (context, home) = (self.context, &self.home);
                let (id, found) = match Recipient::read(context, home, text)? {
                    Recipient::Account(id) => (id, None),
                    named @ Recipient::Named(_) => {
                        let access = Access::open(context).await?;
                        named.found(context, home, &access, None).await?
                    }
                };
                (Value::Account(id), found)
            }
            Err(_) if kind == Kind::Wallet && payee::may_be_a_name(text) => {
                let reader = Some(self.called());
                let whom = payee::address(self.context, &self.home, reader, text).await?;
                (Value::Wallet(Wallet(whom.address.into_array())), whom.found)
            }
            Err(error) if kind == Kind::Relay => match Named::read(text) {
                Some(named) => {
                    let access = Access::open(self.context).await?;
                    let (value, found) = named.relay(self.context, &self.home, &access).await?;
                    (value, Some(found))
                }
                None => return Err(Failure::usage(chain(&error), "give another value for relay")),
            },
            Err(error) => {
                return Err(Failure::usage(chain(&error), format!("give another value for {kind}")));
            }
        };
        Ok(Saying { value, found, written: text::plain(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_to_programs_in_lower_case() {
        let wallet = Value::Wallet(Wallet([0xab; 20]));
        assert_eq!(value_told(&wallet), format!("0x{}", "ab".repeat(20)));
        let text = Value::parse(Kind::Text, "Hello").unwrap();
        assert_eq!(value_told(&text), "Hello");
        // People compare it digit by digit.
        let said = Saying { value: wallet.clone(), found: None, written: "bob".to_owned() };
        assert_eq!(said.to_string(), format!("wallet: {wallet}"));
    }
}
