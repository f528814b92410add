//! Names are renewed, offered for, sold and given away by commands, and lead to who has them.

use std::process::Stdio;

use serde_json::{Value, json};
use session_chain::settlement::Endpoint;
use session_client::home::{Home, Secret};

use self::fees::Fees;
use crate::{
    person::Person,
    support::{Place, until},
};

mod begun;
mod fees;

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Alice has the name, Carol makes the best offer for it, and gives it to Bob.
struct People<'a> {
    alice: Person<'a>,
    bob: Person<'a>,
    carol: Person<'a>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_renewed_offered_for_sold_and_given_away() {
    let place = Place::new();
    place.data(&["testnet", "up", "--nodes", "4"]);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Person::new(&place, name));
    let fees = Fees::from_here_on(&place).await;
    let people = People { alice, bob, carol };
    people.alice_goes_by_what_nobody_knows().await;
    people.a_registration_that_nobody_told_of_becomes_what_was_asked_for();
    people.it_leads_to_no_account_of_hers().await;
    people.she_goes_by_none_again().await;
    people.anybody_renews_it().await;
    people.the_best_offer_is_accepted().await;
    people.what_it_says_is_set_and_cleared();
    people.it_is_given_away_to_whom_a_name_says().await;
    // A year, two that lacked, and two that Bob paid.
    fees.reach_pool_and_treasury(50).await;
}

/// Somebody's program sends something, and dies before it hears what becomes of it: it is made.
async fn dies_on_the_way(person: &Person<'_>, words: &[&str]) {
    let settlement = person.place.testnet.folder().network().unwrap().settlement.unwrap();
    let endpoint = Endpoint::new(&settlement.rpc[0]).unwrap();
    let ask = async |method: &'static str, parameters: Value| -> Value {
        endpoint.rpc().request(method, parameters).await.unwrap()
    };
    let sent = async |tag: &str| ask("eth_getTransactionCount", json!([person.address, tag])).await;
    ask("evm_setIntervalMining", json!([0])).await;
    let mut command = person.place.command(&person.with(words));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    until("it to be on its way", async || (sent("pending").await != sent("latest").await).then_some(()))
        .await;
    child.kill().unwrap();
    child.wait().unwrap();
    ask("evm_setIntervalMining", json!([1])).await;
    until("it to be mined", async || (sent("pending").await == sent("latest").await).then_some(())).await;
}

impl People<'_> {
    async fn alice_goes_by_what_nobody_knows(&self) {
        let Self { alice, bob, carol } = self;
        for person in [alice, bob, carol] {
            person.data(&["wallet", "faucet"]);
        }
        alice.data(&["name", "register", "harbor", "--set", "text=moored", "--yes"]);
        bob.refused(&["name", "show", &alice.address], 1, "no_reverse");
        let reverse = alice.data(&["name", "reverse", "harbor", "--yes"]);
        assert!(reverse["transaction"].is_string(), "{reverse}");
        // The same again is nothing to do, once the block is final.
        until("the reverse record to be final", async || {
            alice.data(&["name", "reverse", "harbor", "--yes"])["transaction"].is_null().then_some(())
        })
        .await;
        let hidden = bob.comes_to(&["name", "show", &alice.address], 1, "name_hidden").await;
        assert!(hidden.contains(reverse["id"].as_str().unwrap()), "{hidden}");
    }

    /// The program that registered it ended before it could tell, and what is asked for since is more.
    fn a_registration_that_nobody_told_of_becomes_what_was_asked_for(&self) {
        let alice = &self.alice;
        let network = alice.network();
        let home = Home::open(&alice.home).unwrap();
        let begins = || {
            let (account, name) = (alice.id.parse().unwrap(), "harbor".parse().unwrap());
            home.begin_name(&account, &network, &name, Secret([7; 32])).unwrap();
            assert_eq!(alice.data(&["name", "list"])["begun"], json!(["harbor"]));
        };
        let register = ["name", "register", "harbor", "--years", "3", "--set", "text=moored"];
        let more = [&register[..], &["--set", "link=https://harbor.example"]].concat();
        let before = alice.data(&["name", "list"])["names"][0]["expires"].as_u64().unwrap();
        begins();
        let asked = alice.refused(&more, 4, "not_confirmed");
        for part in ["renew harbor, which is registered, for 2 years", "for 20 SESH"] {
            assert!(asked.contains(part), "{part}: {asked}");
        }
        let more = [&more[..], &["--yes"]].concat();
        let completed = alice.data(&more);
        assert_eq!((&completed["name"], &completed["fee"]), (&json!("harbor"), &json!("20")), "{completed}");
        assert_eq!(completed["expires"], json!(before + 2 * YEAR_MS), "{completed}");
        alice.has("970");
        let own = &alice.data(&["name", "list"])["names"][0];
        assert_eq!((&own["expires"], &own["records"]), (&completed["expires"], &json!(["link", "text"])));
        // It is all that was asked for by then, and is not registered twice.
        begins();
        let done = alice.data(&more);
        assert_eq!((&done["transaction"], &done["expires"]), (&Value::Null, &completed["expires"]), "{done}");
        alice.refused(&more, 1, "name_yours");
        alice.has("970");
    }

    /// Though her wallet goes by it.
    async fn it_leads_to_no_account_of_hers(&self) {
        let Self { alice, bob, .. } = self;
        alice.data(&["name", "reveal", "harbor", "--yes"]);
        let other = alice.comes_to(&["name", "show", &alice.id], 1, "other_account").await;
        for part in [&*alice.id, "harbor", "session name set harbor account"] {
            assert!(other.contains(part), "{part}: {other}");
        }
        let shown = bob.data(&["name", "show", &alice.address]);
        assert_eq!((&shown["name"], &shown["revealed"]), (&json!("harbor"), &json!(true)), "{shown}");
        // It is as of the last border, which is not long ago.
        assert!(shown["as_of"].as_u64() > Some(1_700_000_000_000), "{shown}");
        assert!(shown["missing"].as_u64() < Some(3) && shown["warning"].is_null(), "{shown}");
    }

    async fn she_goes_by_none_again(&self) {
        let Self { alice, bob, .. } = self;
        let none = alice.data(&["name", "reverse", "--none", "--yes"]);
        assert_eq!((&none["name"], &none["id"]), (&Value::Null, &Value::Null), "{none}");
        assert!(none["transaction"].is_string(), "{none}");
        bob.comes_to(&["name", "show", &alice.address], 1, "no_reverse").await;
    }

    /// Who pays for it.
    async fn anybody_renews_it(&self) {
        let Self { alice, bob, .. } = self;
        let expires = |of: &Value| of["expires"].as_u64().unwrap();
        let before = expires(&alice.data(&["name", "list"])["names"][0]);
        // The program dies while it is on its way: who does the same again pays nothing more.
        dies_on_the_way(bob, &["name", "renew", "harbor", "--years", "1", "--yes"]).await;
        let renewed = bob.data(&["name", "renew", "harbor", "--years", "1", "--yes"]);
        assert_eq!((&renewed["transaction"], &renewed["fee"]), (&Value::Null, &json!("0")), "{renewed}");
        assert_eq!(expires(&renewed), before + YEAR_MS, "{renewed}");
        bob.has("990");
        let renewed = bob.data(&["name", "renew", "harbor", "--years", "1", "--yes"]);
        assert_eq!((&renewed["name"], &renewed["fee"]), (&json!("harbor"), &json!("10")), "{renewed}");
        assert_eq!(expires(&renewed), before + 2 * YEAR_MS);
        assert_eq!(expires(&alice.data(&["name", "list"])["names"][0]), expires(&renewed));
        bob.has("980");
        let asked = bob.refused(&["name", "renew", "harbor", "--days", "73"], 4, "not_confirmed");
        assert!(asked.contains("renew harbor for 73 days") && asked.contains("for 2 SESH"), "{asked}");
        let years = bob.refused(&["name", "renew", "harbor", "--years", "9", "--yes"], 1, "contract_refuses");
        assert!(years.contains("--years"), "{years}");
    }

    async fn the_best_offer_is_accepted(&self) {
        let Self { alice, bob, carol } = self;
        // What it is called is known, though nobody told that it was made.
        assert_eq!(bob.data(&["name", "list"])["held"], json!([]));
        dies_on_the_way(bob, &["name", "offer", "harbor", "40", "--days", "1", "--yes"]).await;
        let held = &bob.data(&["name", "list"])["held"][0];
        assert_eq!((&held["name"], &held["amount"]), (&json!("harbor"), &json!("40")), "{held}");
        bob.has("940");
        bob.refused(&["name", "accept", "harbor", "--yes"], 1, "not_yours");
        // It binds him, and 41 is no better by 5 %.
        let (exit, bound) = bob.place.error(&bob.with(&["name", "offer", "harbor", "--withdraw", "--yes"]));
        assert_eq!(exit, 1, "{bound}");
        let (exit, little) = carol.place.error(&carol.with(&["name", "offer", "harbor", "41", "--yes"]));
        assert_eq!(exit, 1, "{little}");
        let offered = carol.data(&["name", "offer", "harbor", "42", "--yes"]);
        assert_eq!((&offered["name"], &offered["amount"]), (&json!("harbor"), &json!("42")), "{offered}");
        let expires = &alice.data(&["name", "list"])["names"][0]["expires"];
        assert!(expires.is_u64() && &offered["expires"] == expires, "{offered}");
        carol.has("958");
        bob.has("980");
        // A better one that binds shorter does not drive hers away, which binds for a week; and of a better one of her own
        // she pays the difference.
        let brief = bob.refused(&["name", "offer", "harbor", "60", "--days", "1", "--yes"], 1, "too_short");
        assert!(brief.contains("for 7 days or more") && brief.contains("--days N"), "{brief}");
        assert_eq!(offered["paid"], "42", "{offered}");
        let asked = carol.refused(&["name", "offer", "harbor", "50"], 4, "not_confirmed");
        assert!(asked.contains("8 SESH are paid now"), "{asked}");
        bob.refused(&["name", "offer", "harbor", "--withdraw", "--yes"], 1, "no_offer");
        let market = alice.data(&["name", "market"]);
        let one = &market["names"][0];
        assert_eq!(
            (&one["name"], &one["own"], &one["price"]),
            (&json!("harbor"), &json!(true), &Value::Null)
        );
        let (buyer, amount) = (&one["offer"]["buyer"], &one["offer"]["amount"]);
        assert_eq!((buyer, amount), (&json!(carol.address), &json!("42")), "{market}");
        let shown = bob.place.run(&bob.with(&["name", "market"])).out;
        assert!(shown.contains("harbor") && shown.contains("42"), "{shown}");
        // Who would sell for less than is offered is told.
        for (price, warns) in [("42", true), ("43", false), ("0", false)] {
            let sold = alice.place.run(&alice.with(&["name", "sell", "harbor", price]));
            assert_eq!(sold.code, 4, "{}", sold.err);
            assert_eq!(sold.err.contains("offers 42 SESH for harbor"), warns, "{price}: {}", sold.err);
        }
        let little = alice.refused(&["name", "accept", "harbor", "--least", "43", "--yes"], 1, "too_little");
        assert!(little.contains("42 SESH"), "{little}");
        let sold = alice.data(&["name", "accept", "harbor", "--yes"]);
        assert_eq!((&sold["buyer"], &sold["amount"]), (&json!(carol.address), &json!("42")), "{sold}");
        alice.has("1012");
        carol.has("958");
        assert_eq!(carol.data(&["name", "list"])["names"][0]["name"], "harbor");
        assert_eq!(alice.data(&["name", "list"])["names"], json!([]));
        assert_eq!(alice.data(&["name", "market"])["names"], json!([]));
    }

    fn what_it_says_is_set_and_cleared(&self) {
        let carol = &self.carol;
        let says = || carol.data(&["name", "list"])["names"][0]["records"].clone();
        assert_eq!(says(), json!([]), "what Alice said counts no more");
        for (kind, value) in [("text", "at anchor"), ("link", "https://harbor.example")] {
            carol.data(&["name", "set", "harbor", kind, value, "--yes"]);
        }
        assert_eq!(says(), json!(["link", "text"]));
        let cleared = carol.data(&["name", "set", "harbor", "text", "--clear", "--yes"]);
        assert_eq!((&cleared["type"], &cleared["value"]), (&json!("text"), &Value::Null), "{cleared}");
        assert!(cleared["transaction"].is_string(), "{cleared}");
        assert_eq!(says(), json!(["link"]));
    }

    /// Names and contacts stand for accounts and addresses.
    async fn it_is_given_away_to_whom_a_name_says(&self) {
        let Self { alice, bob, carol } = self;
        carol.knows("bob", bob);
        let give = ["name", "transfer", "harbor", "bob", "--yes"];
        carol.refused(&give, 1, "no_address");
        carol.refused(&["name", "transfer", "harbor", "nobody", "--yes"], 1, "unknown_name");
        carol.refused(&["name", "transfer", "harbor", "0x12", "--yes"], 2, "usage");
        // So it is with what else goes to an address.
        let claim = |to| ["stake", "claim", "--to", to, "--yes"];
        carol.refused(&claim("bob"), 1, "no_address");
        carol.refused(&claim("@nobody"), 1, "name_free");
        carol.refused(&claim("0x12"), 2, "usage");
        // What is in her inbox counts, read or not.
        bob.data(&["wallet", "address", "--tell", &carol.id]);
        let wallet = carol.data(&["name", "set", "pier.harbor", "wallet", "bob", "--yes"]);
        assert_eq!(wallet["value"], json!(bob.address), "{wallet}");
        carol.data(&["name", "set", "pier.harbor", "account", "bob", "--yes"]);
        carol.shown("pier.harbor", |shown| shown["records"]["account"] == json!(bob.id)).await;
        // A mistyped name is somebody's too: that it is the network's is told before it is agreed to, and after.
        let asked = carol.refused(&["name", "set", "harbor", "account", "pier.harbor"], 4, "not_confirmed");
        let told = "of pier.harbor (the network's name, followed for the first time)";
        assert!(asked.contains(told), "{asked}");
        let account = carol.data(&["name", "set", "harbor", "account", "@pier.harbor", "--yes"]);
        assert_eq!(account["value"], json!(bob.id), "{account}");
        let asked = carol.refused(&["name", "transfer", "harbor", "pier.harbor"], 4, "not_confirmed");
        assert!(asked.contains("give harbor to pier.harbor (the network's name"), "{asked}");
        let wallet = carol.data(&["name", "set", "harbor", "wallet", "@pier.harbor", "--yes"]);
        assert_eq!((&wallet["found"], &wallet["first"]), (&json!("pier.harbor"), &json!(false)), "{wallet}");
        assert_eq!(wallet["value"], json!(bob.address), "{wallet}");
        // It says somebody else by then: nothing is given to them unasked.
        carol.data(&["name", "set", "pier.harbor", "wallet", &alice.address, "--yes"]);
        let is_alices = |shown: &Value| shown["records"]["wallet"] == json!(alice.address);
        carol.shown("pier.harbor", is_alices).await;
        let give = ["name", "transfer", "harbor", "@pier.harbor", "--yes"];
        let changed = carol.refused(&give, 4, "name_changed");
        assert!(changed.contains("in place of pier.harbor") && !changed.contains("--"), "{changed}");
        carol.data(&["name", "set", "pier.harbor", "wallet", "bob", "--yes"]);
        carol.shown("pier.harbor", |shown| !is_alices(shown)).await;
        self.a_stake_and_a_node_are_for_whom_a_name_says();
        alice.data(&["name", "offer", "harbor", "12", "--yes"]);
        let held = |binds: bool| {
            let list = alice.data(&["name", "list"]);
            let one = &list["held"][0];
            assert_eq!(
                (&one["name"], &one["amount"], &one["binds"]),
                (&json!("harbor"), &json!("12"), &json!(binds))
            );
            list
        };
        held(true);
        let given = carol.data(&give);
        assert_eq!(given["to"], json!(bob.address), "{given}");
        assert_eq!((&given["found"], &given["first"]), (&json!("pier.harbor"), &json!(false)), "{given}");
        assert_eq!(bob.data(&["name", "list"])["names"][0]["id"], given["id"]);
        assert_eq!(carol.data(&["name", "list"])["names"], json!([]));
        // Who offered for it to Carol has offered Bob nothing, and is told where the money is.
        assert_eq!(held(false)["offers"], json!([]));
        let shown = alice.place.run(&alice.with(&["name", "list"])).out;
        assert!(shown.contains("take them back: session name offer harbor --withdraw"), "{shown}");
        alice.data(&["name", "offer", "harbor", "--withdraw", "--yes"]);
        alice.has("1012");
        assert_eq!(alice.data(&["name", "list"])["held"], json!([]));
    }

    fn a_stake_and_a_node_are_for_whom_a_name_says(&self) {
        let carol = &self.carol;
        let address = ["--address", "/ip4/127.0.99.1/tcp/9"];
        let made = carol.data(
            &[&["node", "init", "--name", "quay", "--operator", "@pier.harbor"][..], &address].concat(),
        );
        assert_eq!(made["operator"], json!(self.bob.address), "{made}");
        assert_eq!((&made["found"], &made["first"]), (&json!("pier.harbor"), &json!(false)), "{made}");
        carol.data(&[&["node", "init", "--name", "dock"][..], &address].concat());
        carol.data(&["wallet", "faucet", "--sesh", "6250"]);
        let register =
            ["stake", "register", "dock", "--stake", "6250", "--reserve", "@pier.harbor=5000", "--yes"];
        let opened = carol.data(&register);
        assert_eq!(opened["how"], "opened", "{opened}");
        let slot = json!({
            "address": self.bob.address, "amount": "5000", "found": "pier.harbor", "first": false,
        });
        assert_eq!(opened["reserved"], json!([slot]), "{opened}");
        let shown = carol.data(&["stake", "show", "dock"]);
        let kept = &shown["contributions"][0]["reserved"];
        assert_eq!(kept[0]["address"], json!(self.bob.address), "{shown}");
    }
}
