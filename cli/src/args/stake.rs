//! `session stake`: what it understands.

use core::str::FromStr;

use clap::{Args, Subcommand};
use session_chain::Amount;

#[derive(Debug, Args)]
pub(crate) struct Stake {
    /// Whose key signs and pays [default: the first account]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) account: Option<String>,
    #[command(subcommand)]
    pub(crate) deed: Deed,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Deed {
    /// Register a node: alone with the whole stake, or with others
    ///
    /// With --stake or --reserve others contribute the rest; when all is there, register it once more.
    #[command(after_help = "\
Examples:
  session stake register node-1 --fee 10%
  session stake register node-1 --stake 6250              the rest is open to others
  session stake register ./registration.toml --reserve 0x52908400098527886E0F7030069857D2E4169EE7=10000
  session stake register node-1 --reserve bob=10000 --reserve @carol=5000
  session stake register node-1                           finalises it when others have contributed")]
    Register(Register),
    /// Contribute to a node that is open to others
    #[command(after_help = "\
Example:
  session stake contribute d75a98...511a 5000 --account bob")]
    Contribute {
        /// The node: its id, its folder, or the name `node init` gave it
        node: String,
        /// How many SESH
        amount: Amount,
        #[command(flatten)]
        sending: Sending,
    },
    /// Get a stake back: out of an open contribution, or of a node that has left
    ///
    /// A contribution can be withdrawn a day after it was made. When its operator withdraws, it ends, and all
    /// are refunded. What the nodes refuse comes back in full, once a checkpoint says so.
    #[command(after_help = "\
Example:
  session stake withdraw node-1")]
    Withdraw {
        /// The node: its id, its folder, or the name `node init` gave it
        node: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// Let a node leave; this is final
    ///
    /// Its stake is paid back when it has served its time and a checkpoint says so, or 30 days later whatever
    /// happens; that of a registration which the nodes refuse, too.
    #[command(after_help = "\
Example:
  session stake exit node-1")]
    Exit {
        /// The node: its id, its folder, or the name `node init` gave it
        node: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// List the registered nodes, and registrations that the nodes refuse
    #[command(after_help = "\
Example:
  session stake list --json")]
    List,
    /// Show one node, registered or open to contributions
    #[command(after_help = "\
Example:
  session stake show node-1")]
    Show {
        /// The node: its id, its folder, or the name `node init` gave it
        node: String,
    },
    /// Show what the account has earned
    #[command(after_help = "\
Example:
  session stake rewards --account alice")]
    Rewards,
    /// Claim all rewards that the last checkpoint permits, in one transaction
    #[command(after_help = "\
Examples:
  session stake claim
  session stake claim --to 0x52908400098527886E0F7030069857D2E4169EE7 --yes --json")]
    Claim {
        /// Where they go: an address, an account of yours, somebody from the address book, or whoever has a name of
        /// the network [default: the account itself]
        #[arg(long, value_name = "TO")]
        to: Option<String>,
        #[command(flatten)]
        sending: Sending,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// The node: its folder, the name `node init` gave it, or the file registration.toml
    pub(crate) node: String,
    /// What the operator keeps of the rewards before they are divided, 0 to 100 %
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    pub(crate) fee: Fee,
    /// Your own part in SESH, a quarter at least [default: all that is not reserved]
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) stake: Option<Amount>,
    /// Keep a slot for somebody, for at least so many SESH; several times if needed
    ///
    /// They are an address, an account of yours, somebody from the address book, or whoever has a name of the network.
    #[arg(long, value_name = "TO=AMOUNT")]
    pub(crate) reserve: Vec<Slot>,
    #[command(flatten)]
    pub(crate) sending: Sending,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Sending {
    /// Send without asking; in a network that nobody here agreed to pay in so far, name its publisher once before
    /// (session network add NETWORK --publisher KEY)
    #[arg(long)]
    pub(crate) yes: bool,
}

/// A fee, in basis points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fee(pub(crate) u16);

impl FromStr for Fee {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str =
            "expected a percentage from 0% to 100%, with up to two decimals, such as 10% or 2.5%";
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || whole.len() > 3 || decimals.len() > 2 {
            return Err(WRONG);
        }
        let hundredths: u16 = format!("{whole}{decimals:0<2}").parse().map_err(|_| WRONG)?;
        if hundredths <= 10_000 { Ok(Self(hundredths)) } else { Err(WRONG) }
    }
}

/// A slot that is kept for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// For whom, as it was written.
    pub(crate) whom: String,
    pub(crate) amount: Amount,
}

impl FromStr for Slot {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected somebody and an amount of SESH, such as bob=6250 or 0x5290...9EE7=6250";
        let (whom, amount) = text.split_once('=').filter(|(whom, _)| !whom.is_empty()).ok_or(WRONG)?;
        Ok(Self { whom: whom.to_owned(), amount: amount.parse().map_err(|_| WRONG)? })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn fees_are_percentages_up_to_all() {
        for (text, points) in
            [("10%", 1_000), ("10", 1_000), ("0%", 0), ("100%", 10_000), ("2.5%", 250), ("0.01", 1)]
        {
            assert_eq!(text.parse(), Ok(Fee(points)), "{text}");
        }
        for wrong in ["", "%", "-1%", "100.01%", "101", "1000", "1.234%", ".5", "5.", "ten", "10%%"] {
            assert!(wrong.parse::<Fee>().is_err(), "{wrong}");
        }
    }

    /// What `session stake` makes of these words.
    fn deed(words: &str) -> Result<Stake, clap::error::ErrorKind> {
        let words = ["session", "stake"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words) {
            Ok(Cli { command: Command::Stake(stake), .. }) => Ok(stake),
            Ok(_) => panic!("another command"),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn a_registration_says_what_is_kept_and_for_whom() {
        let address = "0x52908400098527886E0F7030069857D2E4169EE7";
        let words =
            format!("register n --fee 2.5% --stake 6250 --reserve {address}=1 --reserve {address}=2 --yes");
        let Deed::Register(Register { node, fee, stake, reserve, sending }) = deed(&words).unwrap().deed
        else {
            panic!("another deed")
        };
        assert_eq!((&*node, fee, stake), ("n", Fee(250), Some(Amount::sesh(6_250))));
        assert_eq!(
            reserve.iter().map(|slot| slot.amount).collect::<Vec<_>>(),
            [Amount::sesh(1), Amount::sesh(2)]
        );
        assert!(sending.yes);
        let Deed::Register(plain) = deed("register n").unwrap().deed else { panic!("another deed") };
        assert_eq!((plain.fee, plain.stake, plain.sending.yes), (Fee(0), None, false));
    }

    #[test]
    fn the_account_is_named_before_or_after_the_deed() {
        for words in ["--account bob rewards", "rewards --account bob"] {
            assert_eq!(deed(words).unwrap().account.as_deref(), Some("bob"));
        }
        let Deed::Claim { to, sending } = deed("claim").unwrap().deed else { panic!("another deed") };
        assert_eq!((to, sending.yes), (None, false));
    }

    #[test]
    fn what_makes_no_sense_is_a_matter_of_usage() {
        use clap::error::ErrorKind::{MissingRequiredArgument, ValueValidation};
        for (words, kind) in [
            ("register", MissingRequiredArgument),
            ("register n --fee 101%", ValueValidation),
            ("register n --stake 1.0000000001", ValueValidation),
            ("register n --reserve bob", ValueValidation),
            ("contribute n", MissingRequiredArgument),
            ("contribute n -5", clap::error::ErrorKind::UnknownArgument),
            ("contribute n all", ValueValidation),
            ("exit", MissingRequiredArgument),
        ] {
            assert_eq!(deed(words).unwrap_err(), kind, "{words}");
        }
    }

    #[test]
    fn slots_name_somebody_and_an_amount() {
        let address = "0x52908400098527886E0F7030069857D2E4169EE7";
        let slot: Slot = format!("{address}=6250.5").parse().unwrap();
        assert_eq!(slot, Slot { whom: address.to_owned(), amount: Amount(6_250_500_000_000) });
        for wrong in [address, "bob=", "bob=x", "=1"] {
            assert!(wrong.parse::<Slot>().is_err(), "{wrong}");
        }
    }
}
