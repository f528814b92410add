//! `session name`: what it understands.

use core::str::FromStr;

use clap::{Args, Subcommand, value_parser};
use session_chain::{
    Amount,
    settlement::registrar::{MAX_DAYS, MAX_YEARS, MIN_DAYS, Period},
};
use session_protocols::names::{Name, value::Kind};

use super::Sending;

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Whose key signs and pays [default: the first account]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) account: Option<String>,
    #[command(subcommand)]
    pub(crate) act: Act,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Act {
    /// Register a name that nobody has
    ///
    /// It takes two transactions with a minute between them, so that nobody can be first who sees them. Where it
    /// ends early, register the name again: it goes on, and nothing is paid twice.
    #[command(after_help = "\
Examples:
  session name register alice
  session name register alice --years 10 --account bob
  session name register alice --days 90
  session name register alice --set account=05af...12 --set text=hello --yes --json")]
    Register {
        /// The name: 1 to 64 of a-z, 0-9, - and _
        name: Name,
        #[command(flatten)]
        term: Term,
        /// What it says from the first on, as of `session name set`; several times if needed
        #[arg(long, value_name = "TYPE=VALUE")]
        set: Vec<Said>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Show what a name leads to, or by which name somebody goes, as most nodes have signed it
    ///
    /// The name of an address is shown if the address says that it goes by it, and owns it; of an account, if the
    /// address that it signed for does, and the name leads to the account.
    #[command(after_help = "\
Examples:
  session name show alice
  session name show @shop.alice --json
  session name show 0x52908400098527886E0F7030069857D2E4169EE7")]
    Show {
        /// The name, with or without @; an address on the settlement chain; or an account id
        name: String,
    },
    /// List the names that the account has, offers it made, and registrations that it began
    #[command(after_help = "\
Examples:
  session name list
  session name list --account bob --json")]
    List,
    /// Set what a name or a sub-name says; only who knows the name can read it
    ///
    /// Types: account, wallet, relay, community, link, text. An account or a wallet can be one of yours or a
    /// contact's, by its name here, or that of whoever has a name of the network: @ means those alone.
    #[command(after_help = "\
Examples:
  session name set alice account 05af...12
  session name set alice wallet bob                  the address of your account or contact bob
  session name set alice account @bob                the account that the name bob leads to
  session name set shop.alice link https://shop.example
  session name set alice text --clear                takes it away")]
    Set {
        /// The name, or a sub-name of it
        name: Name,
        /// What kind of thing it says
        #[arg(value_name = "TYPE")]
        kind: Kind,
        /// What it says
        #[arg(required_unless_present = "clear", conflicts_with = "clear")]
        value: Option<String>,
        /// Take it away
        #[arg(long)]
        clear: bool,
        #[command(flatten)]
        sending: Sending,
    },
    /// Let a name expire later, whoever has it: for ten years ahead at most
    #[command(after_help = "\
Examples:
  session name renew alice --years 3
  session name renew alice --days 90")]
    Renew {
        /// The name
        name: Name,
        #[command(flatten)]
        term: Term,
        #[command(flatten)]
        sending: Sending,
    },
    /// Give a name to somebody else; what it said counts no more
    #[command(after_help = "\
Examples:
  session name transfer alice 0x52908400098527886E0F7030069857D2E4169EE7
  session name transfer alice bob                    your account bob, or the address that bob signed for
  session name transfer alice @bob                   the wallet that the name bob says")]
    Transfer {
        /// The name
        name: Name,
        /// To whom: an address on the settlement chain, an account of yours, somebody from the address book, or
        /// whoever has a name of the network; @ means those alone
        to: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// Sell a name to whoever pays the price
    #[command(after_help = "\
Examples:
  session name sell alice 500
  session name sell alice 0                          not any more")]
    Sell {
        /// The name
        name: Name,
        /// How many SESH; 0 for not any more
        price: Amount,
        #[command(flatten)]
        sending: Sending,
    },
    /// Offer to buy a name; you pay now, and get it back when nobody takes the offer
    ///
    /// A better offer, by 5 % at least and for as long, pays yours back at once; of a better one of your own you pay the
    /// difference. It binds until its days are over; then, or when the name has another owner, take it back with
    /// --withdraw.
    #[command(after_help = "\
Examples:
  session name offer alice 400
  session name offer alice 400 --days 30
  session name offer alice --withdraw")]
    Offer {
        /// The name
        name: Name,
        /// How many SESH
        #[arg(required_unless_present = "withdraw", conflicts_with = "withdraw")]
        price: Option<Amount>,
        /// For how many days it binds, 1 to 30
        #[arg(long, value_name = "N", default_value_t = 7, value_parser = value_parser!(u64).range(1..=30))]
        days: u64,
        /// Take your offer back, if it binds no more
        #[arg(long)]
        withdraw: bool,
        #[command(flatten)]
        sending: Sending,
    },
    /// Sell a name to whoever made the best offer
    #[command(after_help = "\
Examples:
  session name accept alice
  session name accept alice --least 400 --yes")]
    Accept {
        /// The name
        name: Name,
        /// The least to sell for, in SESH [default: the best offer that there is]
        #[arg(long, value_name = "AMOUNT")]
        least: Option<Amount>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Buy a name at its price
    #[command(after_help = "\
Examples:
  session name buy alice
  session name buy alice --most 500 --yes")]
    Buy {
        /// The name
        name: Name,
        /// The most to pay, in SESH [default: what it costs now]
        #[arg(long, value_name = "AMOUNT")]
        most: Option<Amount>,
        #[command(flatten)]
        sending: Sending,
    },
    /// List the names that are for sale, or that somebody offers for
    ///
    /// What they are called is known of those that their owners revealed, and of those you know.
    #[command(after_help = "\
Example:
  session name market --json")]
    Market,
    /// Say by which of its names the account goes
    #[command(after_help = "\
Examples:
  session name reverse alice
  session name reverse --none")]
    Reverse {
        /// The name
        #[arg(required_unless_present = "none", conflicts_with = "none")]
        name: Option<Name>,
        /// By none
        #[arg(long)]
        none: bool,
        #[command(flatten)]
        sending: Sending,
    },
    /// Publish what a name is called, which cannot be taken back
    #[command(after_help = "\
Example:
  session name reveal alice")]
    Reveal {
        /// The name
        name: Name,
        #[command(flatten)]
        sending: Sending,
    },
}

// For how long a name is paid for: no doc comment, which would stand in the help in place of the command's own.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Term {
    /// For how many years, 1 to 10
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..=MAX_YEARS))]
    years: u64,
    /// For how many days, 28 to 3650, in place of years
    #[arg(
        long, value_name = "N", conflicts_with = "years",
        value_parser = value_parser!(u64).range(MIN_DAYS..=MAX_DAYS)
    )]
    days: Option<u64>,
}

impl Term {
    pub(crate) fn period(self) -> Period {
        self.days.map_or_else(|| Period::of_years(self.years), Period::of_days)
    }
}

/// What a name is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said(pub(crate) Kind, pub(crate) String);

impl FromStr for Said {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str =
            "expected account, wallet, relay, community, link or text, and a value, such as text=hello";
        let (kind, value) = text.split_once('=').ok_or(WRONG)?;
        Ok(Self(kind.parse().map_err(|_| WRONG)?, value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    /// What `session name` makes of these words.
    fn act(words: &str) -> Result<Names, clap::error::ErrorKind> {
        let words = ["session", "name"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words) {
            Ok(Cli { command: Command::Name(names), .. }) => Ok(names),
            Ok(_) => panic!("another command"),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn a_name_is_folded_and_a_registration_says_for_how_long_and_what() {
        let words =
            "register @ALICE --years 10 --set text=a=b --set link=https://x.example --yes --account bob";
        let Names { account, act: Act::Register { name, term, set, sending } } = act(words).unwrap() else {
            panic!("another act")
        };
        assert_eq!((account.as_deref(), &*name.to_string()), (Some("bob"), "alice"));
        assert_eq!(term.period(), Period::of_years(10));
        assert!(sending.yes);
        let said = |kind, value: &str| Said(kind, value.to_owned());
        assert_eq!(set, [said(Kind::Text, "a=b"), said(Kind::Link, "https://x.example")]);
        let Act::Register { term, .. } = act("register alice").unwrap().act else { panic!("another act") };
        assert_eq!(term.period(), Period::of_years(1));
        let Act::Renew { term, .. } = act("renew alice --days 90").unwrap().act else {
            panic!("another act")
        };
        assert_eq!(term.period(), Period::of_days(90));
        let Act::Offer { days, price, .. } = act("offer alice 12.5").unwrap().act else {
            panic!("another act")
        };
        assert_eq!((days, price), (7, Some(Amount(12_500_000_000))));
    }

    #[test]
    fn what_makes_no_sense_is_a_matter_of_usage() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument, ValueValidation};
        for (words, kind) in [
            ("register", MissingRequiredArgument),
            ("register a.b.c", ValueValidation),
            ("register al!ce", ValueValidation),
            ("register alice --years 0", ValueValidation),
            ("register alice --years 11", ValueValidation),
            ("register alice --days 27", ValueValidation),
            ("renew alice --days 3651", ValueValidation),
            ("renew alice --days 90 --years 1", ArgumentConflict),
            ("register alice --set hello", ValueValidation),
            ("set alice colour red", ValueValidation),
            ("set alice text", MissingRequiredArgument),
            ("set alice text hello --clear", ArgumentConflict),
            ("sell alice", MissingRequiredArgument),
            ("offer alice", MissingRequiredArgument),
            ("offer alice 5 --withdraw", ArgumentConflict),
            ("offer alice 5 --days 31", ValueValidation),
            ("reverse", MissingRequiredArgument),
            ("reverse alice --none", ArgumentConflict),
        ] {
            assert_eq!(act(words).unwrap_err(), kind, "{words}");
        }
    }
}
