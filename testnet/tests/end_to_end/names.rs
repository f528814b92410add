//! A name is bought, leads to its owner, is sold, and leads to nobody else unasked; and people pay each other.

use data_encoding::{BASE64, HEXLOWER as HEX};
use serde_json::{Value, json};
use session_client::home::Home;
use session_protocols::door::names as door;

use crate::{
    person::Person,
    support::{Place, until},
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
    people.alice_points_it();
    people.it_leads_to_alice().await;
    people.its_sub_name_leads_to_bob();
    people.alice_goes_by_it();
    people.clients_that_exist_find_it().await;
    people.carol_pays_it().await;
    people.carol_pays_a_contact_that_it_led_to().await;
    people.carol_is_warned_of_what_looks_like_it();
    people.alice_sells_to_bob();
    people.it_leads_to_bob_once_carol_agrees().await;
    people.carol_does_not_pay_who_had_it();
    people.bob_pays_carol().await;
    people.nobody_pays_it_once_no_more_is_known_of_names().await;
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

    /// At the door that they know, by its hash, as she revealed it.
    async fn clients_that_exist_find_it(&self) {
        let label = "alice".parse().unwrap();
        let body = json!({ "method": "oxend_request", "params": { "endpoint": "ons_resolve", "params":
            { "type": 0, "name_hash": BASE64.encode(&door::hash(&label)) } } });
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
        for node in self.alice.place.data(&["testnet", "status"])["nodes"].as_array().unwrap() {
            let url = format!("{}/storage_rpc/v1", node["door"].as_str().unwrap());
            // Each node hands out a checkpoint a little later than the others.
            let result = until("a node to find the name", async || {
                let answer = client.post(&url).body(body.to_string()).send().await.unwrap();
                let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).ok()?;
                Some(answer["result"].clone()).filter(|result| result["nonce"].is_string())
            })
            .await;
            let nonce = HEX.decode(result["nonce"].as_str().unwrap().as_bytes()).unwrap();
            let account = self.alice.id.parse().unwrap();
            assert_eq!(result, door::resolved(Some((&label, &account)), nonce.try_into().unwrap()));
        }
    }

    /// And sub-names of it, which are hers without more ado.
    fn alice_points_it(&self) {
        let Self { alice, bob, .. } = self;
        alice.knows("bob", bob);
        let set = alice.data(&["name", "set", "alice", "account", "alice", "--yes"]);
        assert_eq!((&set["type"], &set["value"]), (&json!("account"), &json!(alice.id)), "{set}");
        for (name, kind, value) in [
            ("alice", "wallet", "alice"),
            ("shop.alice", "account", "bob"),
            ("till.alice", "wallet", "alice"),
        ] {
            alice.data(&["name", "set", name, kind, value, "--yes"]);
        }
        let sub = alice.refused(&["name", "register", "shop.alice", "--yes"], 2, "usage");
        assert!(sub.contains("belongs to whoever has alice"), "{sub}");
        bob.refused(&["name", "set", "shop.alice", "account", "bob", "--yes"], 1, "not_yours");
        for deed in ["reverse", "reveal"] {
            alice.data(&["name", deed, "alice", "--yes"]);
        }
    }

    /// However it is written; but for who has another Alice in the address book, and writes no `@`.
    async fn it_leads_to_alice(&self) {
        let Self { alice, carol, .. } = self;
        // What was said last is there as well then.
        let shown = carol.shown("alice", |shown| shown["revealed"] == true).await;
        let own = &alice.data(&["name", "list"])["names"][0];
        assert_eq!((&shown["name"], &shown["id"]), (&json!("alice"), &own["id"]), "{shown}");
        assert_eq!((&shown["owner"], &shown["price"]), (&json!(alice.address), &Value::Null), "{shown}");
        assert_eq!(shown["records"]["account"], json!(alice.id), "{shown}");
        assert!(is_address(&shown["records"]["wallet"], &alice.address), "{shown}");
        assert!(shown["expires"].as_u64().unwrap() > 1_700_000_000_000 + YEAR_MS, "{shown}");
        for (to, text, more) in
            [("@alice", "by name", &[][..]), ("alice", "bare", &[]), ("@Alice", "straight", &["--direct"])]
        {
            let sent = carol.data(&[&["send", to, text], more].concat());
            assert_eq!((&sent["to"], &sent["found"]), (&json!(alice.id), &json!("alice")), "{sent}");
            assert_eq!(sent["first"], text == "by name", "{sent}");
        }
        for text in ["by name", "bare", "straight"] {
            assert_eq!(alice.read(text).unwrap()["from"], json!(carol.id));
        }
        assert_eq!(alice.place.data(&["testnet", "status"])["names"], 1);
    }

    /// Which is its own, with records of its own; what was never set says nothing.
    fn its_sub_name_leads_to_bob(&self) {
        let Self { alice, bob, carol } = self;
        let shown = carol.data(&["name", "show", "@shop.alice"]);
        assert_eq!(
            (&shown["name"], &shown["records"]),
            (&json!("shop.alice"), &json!({ "account": bob.id }))
        );
        for (to, text) in [("@shop.alice", "to the shop"), ("Shop.Alice", "to the shop again")] {
            assert_eq!(carol.data(&["send", to, text])["to"], json!(bob.id));
            assert_eq!(bob.read(text).unwrap()["from"], json!(carol.id));
            assert!(alice.read(text).is_none());
        }
        assert_eq!(carol.data(&["name", "show", "none.alice"])["records"], json!({}));
        carol.refused(&["send", "@none.alice", "to nobody"], 1, "no_record");
    }

    /// Who has her address is shown her name, and who has her account once she has signed for the address.
    fn alice_goes_by_it(&self) {
        let Self { alice, bob, carol } = self;
        let shown = |of: &str| carol.data(&["name", "show", of]);
        assert_eq!(shown(&alice.address), shown("alice"));
        assert_eq!(alice.data(&["name", "show", &alice.id])["name"], "alice");
        carol.refused(&["name", "show", &bob.address], 1, "no_reverse");
        carol.refused(&["name", "show", &alice.id], 1, "no_address");
        alice.data(&["wallet", "address", "--tell", &carol.id]);
        assert!(!carol.told().is_empty());
        assert_eq!(shown(&alice.id)["name"], "alice");
    }

    /// At the wallet that it says, and else whom it leads to is asked where.
    async fn carol_pays_it(&self) {
        let Self { alice, bob, carol } = self;
        carol.data(&["wallet", "faucet"]);
        // Whose it was when the last epoch ended that is signed.
        let asked = carol.refused(&["wallet", "send", "5", "@alice"], 4, "not_confirmed");
        assert!(asked.contains("pay 5 SESH to @alice") && asked.contains(" (as of 20"), "{asked}");
        for (to, amount) in [("@alice", "5"), ("alice", "1")] {
            let paid = carol.data(&["wallet", "send", amount, to, "--yes"]);
            assert_eq!((&paid["to"], &paid["account"]), (&json!(alice.address), &json!(alice.id)), "{paid}");
            assert_eq!(paid["told"], true, "{paid}");
            let seen = alice.sees(paid["transaction"].as_str().unwrap(), "verified").await;
            assert_eq!(
                (&seen["from"], &seen["money"]["amount"]),
                (&json!(carol.id), &json!(amount)),
                "{seen}"
            );
        }
        let untold = carol.data(&["wallet", "send", "1", "@till.alice", "--yes"]);
        assert_eq!((&untold["to"], &untold["account"]), (&json!(alice.address), &Value::Null), "{untold}");
        carol.refused(&["wallet", "send", "1", "@shop.alice", "--yes"], 3, "asked");
        assert_eq!(bob.told()[0]["money"]["kind"], "address_wanted");
        carol.refused(&["wallet", "send", "1", "@none.alice", "--yes"], 1, "no_record");
        let requested = carol.data(&["wallet", "request", "2", "alice"]);
        assert_eq!((&requested["found"], &requested["first"]), (&json!("alice"), &json!(false)));
        assert!(alice.told().iter().any(|it| it["money"]["kind"] == "request"));
        alice.has("997");
        carol.has("993");
    }

    /// Where the name says, though Bob has told her nothing; and nowhere else unasked.
    async fn carol_pays_a_contact_that_it_led_to(&self) {
        let Self { alice, bob, carol } = self;
        let added = carol.data(&["contact", "add", "shop", "@shop.alice"]);
        assert_eq!((&added["id"], &added["found"]), (&json!(bob.id), &json!("shop.alice")), "{added}");
        assert_eq!(added["first"], false, "she followed it before");
        let listed = json!({ "name": "shop", "id": bob.id, "found": "shop.alice" });
        assert_eq!(carol.data(&["contact", "list"])["contacts"][0], listed);
        let pay = ["wallet", "send", "0.1", "shop", "--native", "--yes"];
        carol.refused(&pay, 3, "asked");
        for (person, paid) in [(bob, true), (alice, false)] {
            alice.data(&["name", "set", "shop.alice", "wallet", &person.address, "--yes"]);
            let says = |shown: &Value| is_address(&shown["records"]["wallet"], &person.address);
            carol.shown("shop.alice", says).await;
            if paid {
                let paid = carol.data(&pay);
                assert_eq!((&paid["to"], &paid["account"]), (&json!(bob.address), &json!(bob.id)), "{paid}");
                continue;
            }
            let changed = carol.refused(&pay, 4, "name_changed");
            let consent = format!("--new-address {}", alice.address);
            assert!(changed.to_lowercase().contains(&consent), "{changed}");
        }
        // By the id the name is not asked.
        carol.refused(&["wallet", "send", "1", &bob.id, "--yes"], 3, "asked");
    }

    /// Before anything else is said.
    fn carol_is_warned_of_what_looks_like_it(&self) {
        let Self { carol, .. } = self;
        let cyrillic = "\u{430}\u{4cf}\u{456}\u{441}\u{435}";
        for (name, mixed) in [("\u{430}lice", true), (cyrillic, false)] {
            for words in [&["name", "show", name][..], &["send", name, "to whom?"]] {
                let ran = carol.place.run(&carol.with(words));
                assert_eq!(ran.code, 1, "{words:?}: {}", ran.err);
                let alike = format!("warning: {name} looks like alice and is another name");
                let known = "looks like alice, which you know, and is another name";
                for (said, warned) in
                    [("mixes letters of Cyrillic and Latin", mixed), (&*alike, true), (known, true)]
                {
                    assert_eq!(ran.err.contains(said), warned, "{said}: {}", ran.err);
                }
            }
        }
        let plain = carol.place.run(&carol.with(&["name", "show", "alice"]));
        assert_eq!((plain.code, plain.err.as_str()), (0, ""), "nothing is said of the one that is meant");
    }

    /// Since the chain stands still, no checkpoint comes: whoever has the name by then nobody knows.
    async fn nobody_pays_it_once_no_more_is_known_of_names(&self) {
        let Self { carol, .. } = self;
        assert!(carol.place.testnet.kill_chain().await.unwrap());
        let old = carol.comes_to(&["wallet", "send", "1", "@alice", "--yes"], 4, "names_old").await;
        assert!(old.contains("an address that they told you another way"), "{old}");
        let shown = carol.place.run(&carol.with(&["name", "show", "alice"]));
        assert!(
            shown.code == 0 && shown.err.contains("warning: what is known of names is as of"),
            "{}",
            shown.err
        );
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
        alice.has("1247");
        // Whose answer was lost does it again, and has it by what it is called.
        let known = bob.home.join("names").join(format!("{}.json", bob.id));
        std::fs::remove_file(known).unwrap();
        bob.refused(&["name", "buy", "alice", "--yes"], 1, "name_yours");
        let kept = Home::open(&bob.home).unwrap().names(&bob.id.parse().unwrap(), &bob.network()).unwrap();
        assert!(kept.known.contains_key(&"alice".parse().unwrap()), "{kept:?}");
        let own = &bob.data(&["name", "list"])["names"][0];
        assert_eq!((&own["name"], &own["expires"]), (&json!("alice"), &bought["expires"]), "{bought}");
        assert_eq!(alice.data(&["name", "list"])["names"], json!([]));
    }

    /// What Alice said counts no more, and nothing that Carol sends goes to Bob before she agrees.
    async fn it_leads_to_bob_once_carol_agrees(&self) {
        let Self { alice, bob, carol } = self;
        alice.refused(&["name", "set", "alice", "account", "alice", "--yes"], 1, "not_yours");
        // He mistakes her wallet for his.
        bob.data(&["name", "set", "alice", "wallet", &alice.address, "--yes"]);
        bob.data(&["name", "set", "alice", "account", "bob", "--yes"]);
        let shown = self.leads_to(bob).await;
        assert_eq!((&shown["owner"], &shown["price"]), (&json!(bob.address), &Value::Null), "{shown}");
        let by_contact = carol.place.run(&carol.with(&["wallet", "send", "1", "shop", "--yes"]));
        assert!(
            by_contact.code == 3 && by_contact.err.contains("leads elsewhere by now"),
            "{}",
            by_contact.err
        );
        let pay = carol.refused(&["wallet", "send", "1", "@alice", "--yes"], 4, "name_changed");
        let consent = format!("--follow {}", bob.id);
        assert!(pay.contains(&consent), "{pay}");
        carol.has("993");
        let changed = carol.refused(&["send", "@alice", "for alice alone"], 4, "name_changed");
        for part in [&*alice.id, &*bob.id, &*bob.address, "changed hands", &*consent] {
            assert!(changed.to_lowercase().contains(part), "{part}: {changed}");
        }
        assert!(bob.read("for alice alone").is_none() && alice.read("for alice alone").is_none());
        // Who agrees to somebody agrees to nobody else.
        let other = carol.refused(&["send", "@alice", "for carol", "--follow", &carol.id], 4, "name_changed");
        assert!(other.contains(&carol.id) && other.contains(&consent), "{other}");
        assert!(bob.read("for carol").is_none());
        for (text, more) in [("for whoever has it", &["--follow", &*bob.id][..]), ("from now on", &[])] {
            assert_eq!(carol.data(&[&["send", "@alice", text], more].concat())["to"], json!(bob.id));
            assert_eq!(bob.read(text).unwrap()["from"], json!(carol.id));
            assert!(alice.read(text).is_none());
        }
        carol.knows("alice", alice);
        for (to, text) in [("alice", "to the contact"), ("Alice", "to the contact in another case")] {
            let sent = carol.data(&["send", to, text]);
            assert_eq!((&sent["to"], &sent["found"]), (&json!(alice.id), &Value::Null), "{sent}");
        }
        assert_eq!(carol.data(&["send", "@alice", "to the name"])["to"], json!(bob.id));
    }

    /// Where a name still says her address, and its account signed for another.
    fn carol_does_not_pay_who_had_it(&self) {
        let Self { alice, bob, carol } = self;
        bob.data(&["wallet", "address", "--tell", &carol.id]);
        let stale = carol.refused(&["wallet", "send", "1", "@alice", "--yes"], 4, "stale_address");
        let consent = format!("--new-address {}", alice.address);
        for part in [&*bob.address, "nothing is sent", &*consent] {
            assert!(stale.to_lowercase().contains(part), "{part}: {stale}");
        }
        let pay = ["wallet", "send", "1", "@alice", "--yes", "--new-address", &*bob.address];
        let other = carol.refused(&pay, 4, "name_changed");
        assert!(other.to_lowercase().contains(&*alice.address), "{other}");
        carol.refused(&[&pay[..3], &[&*alice.address], &pay[4..]].concat(), 4, "address_changed");
        carol.has("993");
        // Whoever agrees to it is not asked the same again.
        for consent in [&["--new-address", &*alice.address][..], &[]] {
            let paid = carol.data(&[&pay[..5], consent].concat());
            assert_eq!((&paid["to"], &paid["account"]), (&json!(alice.address), &json!(bob.id)), "{paid}");
        }
        let signed = carol.refused(&["wallet", "send", "1", &bob.id, "--yes"], 4, "address_changed");
        assert!(signed.to_lowercase().contains(&*bob.address), "{signed}");
        assert_eq!(carol.data(&["wallet", "send", "1", &bob.address, "--yes"])["to"], json!(bob.address));
        // She goes by it no more, and Bob does not yet.
        carol.refused(&["name", "show", &alice.address], 1, "no_reverse");
    }

    /// Who sees it verified.
    async fn bob_pays_carol(&self) {
        let Self { bob, carol, .. } = self;
        bob.knows("carol", carol);
        carol.data(&["wallet", "address", "--tell", &bob.id]);
        let paid = bob.data(&["wallet", "send", "5", "carol", "--yes"]);
        assert_eq!((&paid["to"], &paid["told"]), (&json!(carol.address), &json!(true)), "{paid}");
        bob.has("746");
        carol.has("995");
        let transaction = paid["transaction"].as_str().unwrap();
        let seen = carol.sees(transaction, "verified").await;
        assert_eq!((&seen["from"], &seen["money"]["amount"]), (&json!(bob.id), &json!("5")), "{seen}");
        let history = carol.data(&["wallet", "history"]);
        let transfer = &history["transfers"][0];
        assert_eq!((&transfer["transaction"], &transfer["state"]), (&json!(transaction), &json!("final")));
        assert_eq!((&transfer["from"], &transfer["amount"]), (&json!(bob.address), &json!("5")));
        // Whoever is given tokens of the testnet is named in the same way.
        for (who, to, address) in [(bob, "Carol", &carol.address), (carol, "@alice", &self.alice.address)] {
            let given = who.data(&["testnet", "fund", to, "--sesh", "1"]);
            assert_eq!((&given["address"], &given["sesh"]), (&json!(address), &json!("1")), "{given}");
        }
        carol.refused(&["testnet", "fund", "dave"], 1, "unknown_name");
    }

    /// Waits until nodes have signed that the name leads to somebody; what Carol is shown of it then.
    async fn leads_to(&self, person: &Person<'_>) -> Value {
        self.carol.shown("alice", |shown| shown["records"]["account"] == json!(person.id)).await
    }
}

/// Whether a record says an address: like all hex that programs are told, in lower case.
fn is_address(said: &Value, address: &str) -> bool {
    said == address
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
