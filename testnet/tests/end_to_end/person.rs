//! A person with a home of their own, who uses a testnet with others.

use std::path::PathBuf;

use serde_json::{Value, json};
use session_protocols::identity::blake2b;

use crate::{
    documented,
    support::{Place, until},
};

/// Somebody with a home of their own.
pub(crate) struct Person<'a> {
    pub(crate) place: &'a Place,
    pub(crate) home: PathBuf,
    /// The id of the account.
    pub(crate) id: String,
    /// Its address on the settlement chain, in lower case.
    pub(crate) address: String,
}

impl<'a> Person<'a> {
    pub(crate) fn new(place: &'a Place, name: &str) -> Self {
        let mut person =
            Self { place, home: place.path().join(name), id: String::new(), address: String::new() };
        let made = person.data(&["account", "new", "--name", name]);
        person.id = made["id"].as_str().unwrap().to_owned();
        person.address = person.data(&["wallet", "address"])["address"].as_str().unwrap().to_owned();
        person
    }

    /// What the names of the testnet are kept under in a home.
    pub(crate) fn network(&self) -> [u8; 32] {
        let settlement = self.place.testnet.folder().network().unwrap().settlement.unwrap();
        let names = settlement.contracts.names;
        blake2b(&[b"session names of", &settlement.chain.to_be_bytes(), names.as_slice()])
    }

    pub(crate) fn with<'b>(&'b self, words: &[&'b str]) -> Vec<&'b str> {
        [["--home", self.home.to_str().unwrap()].as_slice(), words].concat()
    }

    pub(crate) fn data(&self, words: &[&str]) -> Value {
        let data = self.place.data(&self.with(words));
        documented::check(words, &data);
        data
    }

    pub(crate) fn refused(&self, words: &[&str], exit: i32, code: &str) -> String {
        let (found, error) = self.place.error(&self.with(words));
        assert_eq!((found, error["code"].as_str().unwrap()), (exit, code), "{words:?}: {error}");
        format!("{} {}", error["message"].as_str().unwrap(), error["remedy"].as_str().unwrap())
    }

    /// What is refused once that is so.
    pub(crate) async fn comes_to(&self, words: &[&str], exit: i32, code: &str) -> String {
        until(&format!("{words:?} to be refused as {code}"), async || {
            let ran = self.place.run(&[&self.with(words)[..], &["--json"]].concat());
            let error = &ran.json()["error"];
            let text = format!("{} {}", error["message"].as_str()?, error["remedy"].as_str()?);
            (ran.code == exit && error["code"] == code).then_some(text)
        })
        .await
    }

    pub(crate) fn knows(&self, name: &str, other: &Person<'_>) {
        self.data(&["contact", "add", name, &other.id]);
    }

    pub(crate) fn has(&self, sesh: &str) -> Value {
        let balance = self.data(&["wallet", "balance"]);
        assert_eq!(
            (&balance["address"], &balance["sesh"]),
            (&json!(self.address), &json!(sesh)),
            "{balance}"
        );
        balance
    }

    /// All messages.
    pub(crate) fn inbox(&self) -> Vec<Value> {
        self.data(&["inbox"])["messages"].as_array().unwrap().clone()
    }

    /// The message with this text, if it has arrived.
    pub(crate) fn read(&self, text: &str) -> Option<Value> {
        self.inbox().into_iter().find(|it| it["text"] == text)
    }

    /// What messages said of money, oldest first.
    pub(crate) fn told(&self) -> Vec<Value> {
        self.inbox().into_iter().filter(|it| !it["money"].is_null()).collect()
    }

    /// What a name says, once nodes have signed that it says so.
    pub(crate) async fn shown(&self, name: &str, says: impl Fn(&Value) -> bool) -> Value {
        until(&format!("the nodes to sign what {name} says"), async || {
            let ran = self.place.run(&self.with(&["name", "show", name, "--json"]));
            (ran.code == 0).then(|| ran.json()["data"].clone()).filter(&says)
        })
        .await
    }

    /// The message that tells of a transaction, once it says so much of it.
    pub(crate) async fn sees(&self, transaction: &str, state: &str) -> Value {
        until(&format!("{transaction} to be {state}"), async || {
            let told = self.told();
            told.into_iter()
                .find(|it| it["money"]["transaction"] == transaction && it["money"]["state"] == state)
        })
        .await
    }
}
