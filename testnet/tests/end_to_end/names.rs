//! A name is bought, leads to its owner, is sold, and leads to nobody else unasked; and people pay each other.

use serde_json::{Value, json};

use crate::{
    person::Person,
    support::Place,
};

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Alice has the name, Bob buys it of her, and Carol writes to whoever has it.
struct People<'a> {
    alice: Person<'a>,
    bob: Person<'a>,
    carol: Person<'a>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_bought_used_and_sold_and_what_is_sent_to_it_does_not_follow_unasked() {
    let place = Place::new();
    place.data(&["testnet", "up", "--nodes", "6"]);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Person::new(&place, name));
    let people = People { alice, bob, carol };
    people.nobody_has_it();
    people.alice_registers();
    people.it_leads_to_alice().await;
    people.alice_sells_to_bob();
    people.it_leads_to_bob_once_carol_agrees().await;
    people.bob_pays_carol().await;
}

impl People<'_> {
    /// Which is proven to who asks.
    fn nobody_has_it(&self) {
        self.carol.refused(&["send", "@alice", "to nobody"], 1, "name_free");
        self.carol.refused(&["send", "alice", "to nobody"], 1, "unknown_name");
    }

    /// With a fresh account, and money from the faucet.
    fn alice_registers(&self) {
        let Self { alice, bob, .. } = self;
        let poor = alice.refused(&["name", "register", "alice", "--yes"], 1, "too_little_sesh");
        assert!(poor.contains("has 0 SESH"), "{poor}");
        alice.data(&["wallet", "faucet"]);
        let unasked = alice.refused(&["name", "register", "alice"], 4, "not_confirmed");
        assert!(unasked.contains("register alice for a year for 10 SESH"), "{unasked}");
        alice.has("1000");
        let registered = alice.data(&["name", "register", "alice", "--yes"]);
        assert_eq!(
            (&registered["name"], &registered["owner"], &registered["fee"]),
            (&json!("alice"), &json!(alice.address), &json!("10")),
            "{registered}"
        );
        alice.has("990");
        let listed = alice.data(&["name", "list"]);
        assert_eq!(
            (&listed["names"][0]["name"], &listed["begun"]),
            (&json!("alice"), &json!([])),
            "{listed}"
        );
        bob.data(&["wallet", "faucet"]);
        let taken = bob.refused(&["name", "register", "alice", "--yes"], 1, "name_taken");
        assert!(taken.contains("session name buy"), "{taken}");
        bob.has("1000");
    }

    /// However it is written; but for who has another Alice in the address book, and writes no `@`.
    async fn it_leads_to_alice(&self) {
        let Self { alice, carol, .. } = self;
        let set = alice.data(&["name", "set", "alice", "account", "alice", "--yes"]);
        assert_eq!((&set["type"], &set["value"]), (&json!("account"), &json!(alice.id)), "{set}");
        let shown = self.leads_to(alice).await;
        assert_eq!((&shown["name"], &shown["id"]), (&json!("alice"), &set["id"]), "{shown}");
        assert_eq!((&shown["owner"], &shown["price"]), (&json!(alice.address), &Value::Null), "{shown}");
        assert_eq!(shown["revealed"], false, "{shown}");
        assert!(shown["expires"].as_u64().unwrap() > 1_700_000_000_000 + YEAR_MS, "{shown}");
        for (to, text, more) in
            [("@alice", "by name", &[][..]), ("alice", "bare", &[]), ("@Alice", "straight", &["--direct"])]
        {
            assert_eq!(carol.data(&[&["send", to, text], more].concat())["to"], json!(alice.id));
        }
        for text in ["by name", "bare", "straight"] {
            assert_eq!(alice.read(text).unwrap()["from"], json!(carol.id));
        }
        assert_eq!(alice.place.data(&["testnet", "status"])["names"], 1);
    }

    /// For a price; to both of whom every token is counted.
    fn alice_sells_to_bob(&self) {
        let Self { alice, bob, .. } = self;
        let dear = bob.refused(&["name", "buy", "alice", "--yes"], 1, "not_for_sale");
        assert!(dear.contains("session name offer"), "{dear}");
        assert_eq!(alice.data(&["name", "sell", "alice", "250", "--yes"])["price"], "250");
        let dear = bob.refused(&["name", "buy", "alice", "--most", "249", "--yes"], 1, "too_dear");
        assert!(dear.contains("250 SESH"), "{dear}");
        bob.has("1000");
        let bought = bob.data(&["name", "buy", "alice", "--yes"]);
        assert_eq!((&bought["name"], &bought["price"]), (&json!("alice"), &json!("250")), "{bought}");
        bob.has("750");
        alice.has("1240");
        assert_eq!(bob.data(&["name", "list"])["names"][0]["name"], "alice");
        assert_eq!(alice.data(&["name", "list"])["names"], json!([]));
    }

    /// What Alice said counts no more, and nothing that Carol sends goes to Bob before she agrees.
    async fn it_leads_to_bob_once_carol_agrees(&self) {
        let Self { alice, bob, carol } = self;
        alice.refused(&["name", "set", "alice", "account", "alice", "--yes"], 1, "not_yours");
        bob.data(&["name", "set", "alice", "account", "bob", "--yes"]);
        let shown = self.leads_to(bob).await;
        assert_eq!((&shown["owner"], &shown["price"]), (&json!(bob.address), &Value::Null), "{shown}");
        let changed = carol.refused(&["send", "@alice", "for alice alone"], 4, "name_changed");
        for part in [&*alice.id, &*bob.id, &*bob.address, "changed hands", "--follow"] {
            assert!(changed.to_lowercase().contains(part), "{part}: {changed}");
        }
        assert!(bob.read("for alice alone").is_none() && alice.read("for alice alone").is_none());
        for (text, more) in [("for whoever has it", &["--follow"][..]), ("from now on", &[])] {
            assert_eq!(carol.data(&[&["send", "@alice", text], more].concat())["to"], json!(bob.id));
            assert_eq!(bob.read(text).unwrap()["from"], json!(carol.id));
            assert!(alice.read(text).is_none());
        }
        carol.knows("alice", alice);
        assert_eq!(carol.data(&["send", "alice", "to the contact"])["to"], json!(alice.id));
        assert_eq!(carol.data(&["send", "@alice", "to the name"])["to"], json!(bob.id));
    }

    /// Who sees it verified.
    async fn bob_pays_carol(&self) {
        let Self { bob, carol, .. } = self;
        bob.knows("carol", carol);
        carol.data(&["wallet", "address", "--tell", &bob.id]);
        let paid = bob.data(&["wallet", "send", "5", "carol", "--yes"]);
        assert_eq!((&paid["to"], &paid["told"]), (&json!(carol.address), &json!(true)), "{paid}");
        bob.has("745");
        carol.has("5");
        let transaction = paid["transaction"].as_str().unwrap();
        let seen = carol.sees(transaction, "verified").await;
        assert_eq!((&seen["from"], &seen["money"]["amount"]), (&json!(bob.id), &json!("5")), "{seen}");
        let history = carol.data(&["wallet", "history"]);
        let transfer = &history["transfers"][0];
        assert_eq!((&transfer["transaction"], &transfer["state"]), (&json!(transaction), &json!("final")));
        assert_eq!((&transfer["from"], &transfer["amount"]), (&json!(bob.address), &json!("5")));
    }

    /// Waits until nodes have signed that the name leads to somebody; what Carol is shown of it then.
    async fn leads_to(&self, person: &Person<'_>) -> Value {
        self.carol.shown("alice", |shown| shown["records"]["account"] == json!(person.id)).await
    }
}

#[test]
fn without_a_chain_there_are_no_names_and_it_says_so() {
    let place = Place::new();
    let up = place.data(&["testnet", "up", "--nodes", "4", "--no-chain"]);
    place.data(&["account", "new", "--name", "author"]);
    let network = up["network"].as_str().unwrap();
    for words in [&["send", "@alice", "hi"][..], &["name", "show", "alice"]] {
        let (exit, error) = place.error(&[&["--network", network], words].concat());
        assert_eq!((exit, error["code"].as_str().unwrap()), (1, "no_names"), "{error}");
    }
    let (exit, error) = place.error(&["--network", network, "send", "@-", "hi"]);
    assert_eq!((exit, error["code"].as_str().unwrap()), (2, "usage"), "{error}");
}
