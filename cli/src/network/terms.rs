//! What an account is to pay with by the word of a network's description, and whether somebody here agreed to that.
//!
//! A description alone says which token is staked, on which chain and at which contracts: that of a stranger may name a
//! token which is worth something. So no account signs a transaction or a permit by the word of one that is new here,
//! before somebody says yes, or has named its publisher when it was joined or added. What was agreed to is kept beside
//! the description; it holds for that publisher, chain and contracts alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use session_chain::network::{Contracts, Publisher};

use super::{
    command::contracts,
    description::{self, Description},
};
use crate::{
    Context, config,
    failure::{Exit, Failure},
    sending::ask_meanwhile,
    stake::lower,
};

/// How the file ends that keeps what was agreed to.
const AGREED: &str = "agreed";

/// Why a description is gone by, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It came with this program, or is of a testnet on one machine.
    Own,
    /// The command names its publisher.
    Named,
    /// It was agreed to before.
    Agreed,
    /// Nobody here agreed to it so far.
    New,
}

/// What an account pays with, and whose word that is.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// What the network is called.
    name: String,
    chain: u64,
    contracts: Contracts,
    publisher: Option<Publisher>,
    standing: Standing,
    /// What the description is named by.
    from: String,
    /// Where it is kept what was agreed to.
    path: PathBuf,
}

impl Terms {
    /// Those of a description, of the publisher that the command names if it names one; none where there is no chain.
    pub(crate) fn of(
        context: &Context,
        found: &Description,
        named: Option<Publisher>,
    ) -> Result<Option<Self>, Failure> {
        let Some(settlement) = &found.network.settlement else { return Ok(None) };
        let name = found.network.name.as_str();
        let kept = description::kept(&context.home_path()?, name);
        let from = if Path::new(&found.from) == kept { name } else { found.from.as_str() };
        let mut terms = Self {
            name: name.to_owned(),
            chain: settlement.chain,
            contracts: settlement.contracts,
            publisher: found.publisher,
            standing: Standing::New,
            from: from.to_owned(),
            path: kept.with_extension(AGREED),
        };
        terms.standing = if found.is_own() {
            Standing::Own
        } else if named.is_some_and(|named| Some(named) == found.publisher) {
            Standing::Named
        } else if fs::read_to_string(&terms.path).is_ok_and(|kept| kept == terms.line()) {
            Standing::Agreed
        } else {
            Standing::New
        };
        Ok(Some(terms))
    }

    /// The chain's id.
    pub(crate) const fn chain(&self) -> u64 {
        self.chain
    }

    /// What is paid with, in a sentence.
    pub(crate) fn token(&self) -> String {
        format!("which is the token {} of chain {}", lower(self.contracts.token), self.chain)
    }

    /// All of it, for people.
    pub(crate) fn told(&self) -> String {
        let Contracts { token, pool, staking, factory, checkpoints, names } = self.contracts;
        let mut text = format!(
            "by the description of {}:\n  chain        {}\n  token        {}, which is called SESH here\n",
            self.name,
            self.chain,
            lower(token)
        );
        for (what, at) in [
            ("staking", staking),
            ("factory", factory),
            ("pool", pool),
            ("checkpoints", checkpoints),
            ("names", names),
        ] {
            text += &format!("  {what:<13}{}\n", lower(at));
        }
        text + &format!("  signed by    {}, {}", self.signer(), self.word())
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name, "chain": self.chain, "contracts": contracts(&self.contracts),
            "publisher": self.publisher.map(|publisher| publisher.to_string()),
            "known": self.standing != Standing::New,
        })
    }

    /// Has somebody agree that an account pays by it, where nobody did before: `asks` is called before they are asked.
    /// Without that nothing is to be signed.
    pub(crate) async fn agree(
        &self,
        context: &Context,
        account: &str,
        asks: impl FnOnce(),
    ) -> Result<(), Failure> {
        match self.standing {
            Standing::Own | Standing::Agreed => Ok(()),
            Standing::Named => self.keep(),
            Standing::New => {
                asks();
                let question = format!("{account} is to pay {}\nIs this what you mean?", self.told());
                match ask_meanwhile(context, &question).await? {
                    Some(true) => self.keep(),
                    answer => Err(self.refusal(account, answer.is_some())),
                }
            }
        }
    }

    /// Keeps that its publisher was named, if it was: whoever does that agrees. Says whether it was.
    pub(crate) fn keep_named(&self) -> Result<bool, Failure> {
        let named = self.standing == Standing::Named;
        if named {
            self.keep()?;
        }
        Ok(named)
    }

    fn keep(&self) -> Result<(), Failure> {
        let made = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| config::write(&self.path, &self.line()))
            .map_err(|cause| Failure::io(&format!("cannot keep it in {}", self.path.display()), &cause))
    }

    fn refusal(&self, account: &str, asked: bool) -> Failure {
        let message = if asked {
            "nothing was signed".to_owned()
        } else {
            format!(
                "nobody here agreed so far that {account} pays by the description of {}, {}, at the contract {}; it is \
                 signed by {}",
                self.name,
                self.token(),
                lower(self.contracts.staking),
                self.signer()
            )
        };
        let named = format!("session network add {} --publisher KEY", self.from);
        let remedy = match self.publisher {
            Some(_) => format!(
                "ask whoever publishes the network for its key, another way than this one, and name it: {named}; or \
                 answer once at a terminal"
            ),
            None => format!(
                "answer once at a terminal; or have whoever publishes the network sign it, and name their key: {named}"
            ),
        };
        Failure::new(Exit::Refused, "not_agreed", message, remedy)
    }

    /// What is agreed to, in a line.
    fn line(&self) -> String {
        let Contracts { token, pool, staking, factory, checkpoints, names } = self.contracts;
        let all = [token, pool, staking, factory, checkpoints, names].map(lower).join(" ");
        format!("{} {} {all}\n", self.signer(), self.chain)
    }

    fn signer(&self) -> String {
        self.publisher.map_or_else(|| "nobody".to_owned(), |publisher| publisher.to_string())
    }

    const fn word(&self) -> &'static str {
        match self.standing {
            Standing::Own => "known: it came with this program, or is of this machine",
            Standing::Named => "known: that is the publisher who was named",
            Standing::Agreed => "known: it was agreed to before",
            Standing::New => "new here: nobody agreed to it so far",
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use session_chain::{NetworkFile, network::sign};
    use session_protocols::KeyPair;

    use super::*;
    use crate::{args::Global, network, output::Output};

    impl Terms {
        /// Those of a description that is new here.
        pub(crate) fn new_of(name: &str, chain: u64, contracts: Contracts) -> Self {
            let (from, name, path) = (name.to_owned(), name.to_owned(), PathBuf::new());
            Self { name, chain, contracts, publisher: None, standing: Standing::New, from, path }
        }
    }

    /// A network whose token is the one of this number, described by this publisher if by any.
    fn described(token: u8, publisher: Option<u8>) -> Description {
        on_chain(7, token, publisher)
    }

    /// The same on a chain of this id.
    fn on_chain(chain: u64, token: u8, publisher: Option<u8>) -> Description {
        let at = |number: u8| Address::repeat_byte(number).to_string();
        let node = KeyPair::from_seed(&[9; 32]).node_id();
        let text = format!(
            "version = 1\nname = \"mynet\"\nlocal = true\nseed = \"{}\"\n\n[settlement]\nchain = {chain}\nrpc = [\"http://rpc.example\"]\n\
             start = 1\ngenesis = 1\nepoch = 60\nlock = 3600\ntoken = \"{}\"\npool = \"{}\"\nstaking = \"{}\"\nfactory = \
             \"{}\"\ncheckpoints = \"{}\"\nnames = \"{}\"\n\n[[nodes]]\nid = \"{node}\"\noperator = \"{}\"\nprefix = \
             \"127.0.0.0/24\"\naddresses = [\"/ip4/127.0.0.1/tcp/5\"]\n",
            "07".repeat(32),
            at(token),
            at(2),
            at(3),
            at(4),
            at(5),
            at(6),
            at(8),
        );
        let text = match publisher {
            Some(seed) => sign(&text, &KeyPair::from_seed(&[seed; 32])),
            None => text,
        };
        let network = NetworkFile::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let publisher = NetworkFile::publisher(&text).unwrap();
        Description { network, text, publisher, from: "https://net.example/network.toml".to_owned() }
    }

    #[tokio::test]
    async fn no_account_pays_by_a_description_that_nobody_agreed_to() {
        let home = tempfile::tempdir().unwrap();
        let global =
            Global { json: true, home: Some(home.path().into()), network: None, named: false, direct: false };
        let context = Context { output: Output::new(true), global };
        let agree = async |found: &Description, named: Option<Publisher>| {
            let terms = Terms::of(&context, found, named).unwrap().unwrap();
            terms.agree(&context, "alice", || {}).await
        };
        let found = described(1, Some(1));
        let publisher = found.publisher;
        // Nobody can be asked here, and it is as new at the second time.
        for _ in 0..2 {
            let refused = agree(&found, None).await.unwrap_err();
            assert_eq!((refused.exit, refused.code), (Exit::Refused, "not_agreed"));
            let shown =
                [lower(Address::repeat_byte(1)), "chain 7".to_owned(), publisher.unwrap().to_string()];
            assert!(shown.iter().all(|it| refused.message.contains(it)), "{}", refused.message);
            let remedy = "session network add https://net.example/network.toml --publisher KEY";
            assert!(refused.remedy.contains(remedy), "{}", refused.remedy);
        }
        // Whoever names the publisher agrees, from then on to the same contracts of the same publisher alone.
        assert!(agree(&found, publisher).await.is_ok());
        assert!(agree(&found, None).await.is_ok());
        let mut named = described(1, Some(1));
        named.network.settlement.as_mut().unwrap().contracts.names = Address::repeat_byte(9);
        for other in [described(7, Some(1)), described(1, Some(2)), described(1, None), named] {
            assert_eq!(agree(&other, None).await.unwrap_err().code, "not_agreed");
        }
        let unsigned = agree(&described(1, None), None).await.unwrap_err();
        assert!(unsigned.remedy.starts_with("answer once at a terminal"), "{}", unsigned.remedy);
        assert!(agree(&found, None).await.is_ok(), "no refusal forgets it");
    }

    #[tokio::test]
    async fn a_network_that_is_named_is_agreed_to_once_and_a_local_testnet_never() {
        let home = tempfile::tempdir().unwrap();
        let at = |named: &str| Context {
            output: Output::new(true),
            global: Global {
                json: true,
                home: Some(home.path().into()),
                network: Some(named.to_owned()),
                named: true,
                direct: false,
            },
        };
        let (added, mut found) = (at("mynet"), described(1, Some(1)));
        found.from = description::keep(&added, &found).unwrap().display().to_string();
        let refused = network::agree(&added, "alice").await.unwrap_err();
        assert_eq!((refused.exit, refused.code), (Exit::Refused, "not_agreed"));
        let remedy = "session network add mynet --publisher KEY";
        assert!(refused.remedy.contains(remedy), "{}", refused.remedy);
        // To have it once more without its publisher's key changes nothing, and to have it with that agrees.
        let keep = |named| Terms::of(&added, &found, named).unwrap().unwrap().keep_named().unwrap();
        keep(None);
        assert_eq!(network::agree(&added, "alice").await.unwrap_err().code, "not_agreed");
        keep(found.publisher);
        assert!(network::agree(&added, "alice").await.is_ok());

        // A testnet's description lies anywhere. Whoever only says that it is one is not believed.
        let file = home.path().join("other.toml");
        let named = at(file.to_str().unwrap());
        fs::write(&file, on_chain(session_testnet::CHAIN, 3, None).text).unwrap();
        assert!(network::agree(&named, "alice").await.is_ok());
        fs::write(&file, described(3, None).text).unwrap();
        assert_eq!(network::agree(&named, "alice").await.unwrap_err().code, "not_agreed");
    }

    #[test]
    fn chain_token_contracts_and_publisher_are_told() {
        let home = tempfile::tempdir().unwrap();
        let global =
            Global { json: true, home: Some(home.path().into()), network: None, named: false, direct: false };
        let context = Context { output: Output::new(true), global };
        let found = described(1, Some(1));
        let terms = |named| Terms::of(&context, &found, named).unwrap().unwrap();
        let told = terms(None).told();
        for at in 1..=6 {
            assert!(told.contains(&lower(Address::repeat_byte(at))), "{at}: {told}");
        }
        let publisher = found.publisher.unwrap().to_string();
        assert!(told.contains("  chain        7\n") && told.contains(&publisher), "{told}");
        assert!(told.ends_with("new here: nobody agreed to it so far"), "{told}");
        assert!(terms(found.publisher).told().ends_with("that is the publisher who was named"));
        let json = terms(found.publisher).json();
        assert_eq!((&json["publisher"], &json["known"]), (&json!(publisher), &json!(true)));
        let nothing =
            Description { network: NetworkFile { settlement: None, ..found.network.clone() }, ..found };
        assert!(Terms::of(&context, &nothing, None).unwrap().is_none());
    }
}
