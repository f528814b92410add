//! `session wallet`: what it understands.

use alloy::primitives::{Address, B256};
use clap::{Args, Subcommand};
use session_chain::{Amount, settlement::wallet::Sum};
use session_protocols::AccountId;

use super::Sending;

#[derive(Debug, Args)]
pub(crate) struct Wallet {
    /// Whose money [default: the first account]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) account: Option<String>,
    #[command(subcommand)]
    pub(crate) deed: Money,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Money {
    /// Show the address that the account is paid at, or tell it to somebody
    ///
    /// Whoever is told it can see on the chain what the account has, paid and was paid.
    #[command(after_help = "\
Examples:
  session wallet address
  session wallet address --tell alice      when alice has asked where to pay you")]
    Address {
        /// Tell it to somebody by message, signed
        #[arg(long, value_name = "TO")]
        tell: Option<String>,
        /// Tell it although the name leads to another account than before, if it is this one
        #[arg(long, value_name = "ACCOUNT", requires = "tell")]
        follow: Option<AccountId>,
    },
    /// Show what the account has: SESH, and the chain's own coin, which fees are paid with; and what is not final
    #[command(after_help = "\
Example:
  session wallet balance --json")]
    Balance,
    /// Pay somebody, and tell them by message
    ///
    /// A contact is paid at the address that it signed for in a message to you; if there is none so far, it is
    /// asked for one. Whoever has a name of the network is paid at the wallet that the name says, and told if it
    /// leads to an account. Who is paid at a bare address is not told.
    #[command(after_help = "\
Examples:
  session wallet send 5 alice
  session wallet send 5 @alice
  session wallet send 0.05 alice --native --note \"for the taxi\"
  session wallet send 5 0x52908400098527886E0F7030069857D2E4169EE7 --yes --json
  session wallet send 5 alice --paid 0x3bd1...07aa      tells alice once more; pays nothing")]
    Send(Pay),
    /// Ask somebody for money, by message
    #[command(after_help = "\
Example:
  session wallet request 5 bob --note lunch")]
    Request {
        #[command(flatten)]
        price: Price,
        /// An account id, a name from the address book, or a name of the network; @ means those of the network
        from: String,
        /// Ask although the name leads to another account than before, if it is this one
        #[arg(long, value_name = "ACCOUNT")]
        follow: Option<AccountId>,
    },
    /// List the newest payments in both directions, the newest first
    ///
    /// Of the chain's own coin there is what was paid from here, and what messages told of once `session inbox` had
    /// verified it.
    #[command(after_help = "\
Examples:
  session wallet history
  session wallet history --most 100 --json")]
    History {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        most: u16,
    },
    /// Use a key that you have in place of the one that follows from the recovery phrase
    ///
    /// As `session account key import` does: refused while the address so far holds money or names, which the account
    /// could not get at by the new key.
    #[command(after_help = "\
Examples:
  session wallet import                    asks for the key, which then is in no shell history
  session wallet import < key.txt")]
    Import {
        /// Do so though the address so far holds something, or nobody tells whether it does
        #[arg(long)]
        yes: bool,
    },
    /// Get money where it is worth nothing: on a local testnet, or from the faucet of a test network
    #[command(after_help = "\
Examples:
  session wallet faucet
  session wallet faucet --sesh 6250 --account bob
  session wallet faucet --network mynet    as much as its faucet gives, once a day")]
    Faucet {
        /// How many SESH, on a local testnet
        #[arg(long, value_name = "AMOUNT", default_value = "1000")]
        sesh: Amount,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Pay {
    #[command(flatten)]
    pub(crate) price: Price,
    /// An account id, a name from the address book, an address (0x and 40 hex digits), or a name of the network; @
    /// means those of the network
    pub(crate) to: String,
    /// The transaction that paid it already: they are told of it, and nothing is paid
    #[arg(long, value_name = "TRANSACTION")]
    pub(crate) paid: Option<B256>,
    /// Pay although an earlier payment of the same is not settled: what it paid, if it did, is paid twice
    #[arg(long, conflicts_with = "paid")]
    pub(crate) again: bool,
    /// Pay at this address, though they or their name said another before; nothing is paid at any other
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) new_address: Option<Address>,
    /// Pay although the name leads to another account than before, if it is this one
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) follow: Option<AccountId>,
    #[command(flatten)]
    pub(crate) sending: Sending,
}

/// How much, and what for.
#[derive(Debug, Args)]
pub(crate) struct Price {
    /// How much: a decimal number of SESH
    amount: String,
    /// Of the chain's own coin, not of SESH
    #[arg(long)]
    native: bool,
    /// What for, for them to read
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

impl Price {
    /// The sum, or what is wrong with the amount.
    pub(crate) fn sum(&self) -> Result<Sum, String> {
        if self.native {
            return Sum::native(&self.amount).map_err(|error| error.to_string());
        }
        let amount: Result<Amount, _> = self.amount.parse();
        amount.map(Sum::Sesh).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn money(words: &str) -> Result<Money, clap::error::ErrorKind> {
        let words = ["session", "wallet"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words) {
            Ok(Cli { command: Command::Wallet(wallet), .. }) => Ok(wallet.deed),
            Ok(_) => panic!("another command"),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn an_amount_is_of_sesh_or_of_the_chains_coin() {
        let sum = |words: &str| match money(words).unwrap() {
            Money::Send(pay) => pay.price.sum(),
            Money::Request { price, .. } => price.sum(),
            _ => panic!("another deed"),
        };
        assert_eq!(sum("send 5 alice"), Ok(Sum::Sesh(Amount::sesh(5))));
        assert_eq!(sum("request 0.5 alice"), Ok(Sum::Sesh(Amount(500_000_000))));
        assert_eq!(sum("send 0.5 alice --native"), Sum::native("0.5").map_err(|_| String::new()));
        assert!(sum("send 0.0000000001 alice").unwrap_err().contains("of SESH with up to 9 decimals"));
        assert!(sum("send 0.0000000001 alice --native").is_ok());
        assert!(sum("send all alice").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_a_matter_of_usage() {
        use clap::error::ErrorKind::{MissingRequiredArgument, UnknownArgument, ValueValidation};
        for (words, kind) in [
            ("send 5", MissingRequiredArgument),
            ("send -5 alice", UnknownArgument),
            ("send 5 alice --paid 0x12", ValueValidation),
            ("history --most 0", ValueValidation),
            ("faucet --sesh x", ValueValidation),
        ] {
            assert_eq!(money(words).unwrap_err(), kind, "{words}");
        }
    }
}
