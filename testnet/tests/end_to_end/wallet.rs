//! Two people pay each other and see what the chain says of it; somebody who did not pay is not believed.

use std::{
    io::Write,
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use session_chain::{NetworkFile, account, settlement::Endpoint};
use session_client::{
    Account, Client, Options,
    envelope::{Draft, Money, Payment, Sum, Wallet},
};
use session_protocols::AccountId;

use crate::{
    person::Person,
    support::{Place, ended, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_is_paid_and_sees_it_verified_and_nobody_else_is_believed() {
    let place = Place::new();
    place.data(&["testnet", "up", "--nodes", "4"]);
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(&place, name));
    alice.knows("bob", &bob);
    bob.knows("alice", &alice);
    let network = place.testnet.folder().network().unwrap();
    faucet(&alice, &network);

    // What cannot be paid is not, and says what lacks.
    let short = alice.refused(&["wallet", "send", "1001", &bob.address, "--yes"], 1, "too_little_sesh");
    assert!(short.contains("has 1000 SESH and needs 1001 SESH: 1 SESH more"), "{short}");
    let short = bob.refused(&["wallet", "send", "1", &alice.address, "--yes"], 1, "too_little_sesh");
    assert!(short.contains("has 0 SESH and needs 1 SESH: 1 SESH more"), "{short}");
    alice.refused(&["wallet", "send", "0", &bob.address, "--yes"], 2, "nothing");
    alice.refused(&["wallet", "request", "0", "bob"], 2, "nothing");
    alice.refused(&["wallet", "send", "1", "carol", "--yes"], 1, "unknown_name");
    let one = bob.address.find(|c: char| c.is_ascii_alphabetic() && c != 'x').unwrap();
    let wrong =
        bob.address[..one].to_owned() + &bob.address[one..=one].to_uppercase() + &bob.address[one + 1..];
    alice.refused(&["wallet", "send", "1", &wrong, "--yes"], 2, "usage");

    // Bob never said where he is paid: he is asked, and answers.
    let asked = alice.refused(&["wallet", "send", "5", "bob", "--yes"], 3, "asked");
    assert!(asked.contains("bob") && asked.contains("nothing is paid"), "{asked}");
    assert_eq!(bob.told()[0]["money"]["kind"], "address_wanted");
    bob.data(&["wallet", "address", "--tell", "alice"]);
    assert_eq!(alice.told()[0]["money"], json!({ "kind": "address", "address": bob.address }));

    // He is paid, and told.
    let unasked = alice.refused(&["wallet", "send", "5", "bob"], 4, "not_confirmed");
    assert!(unasked.contains("pay 5 SESH to bob") && unasked.contains("it costs about"), "{unasked}");
    // How far her inbox was read for that is kept with it; where both are lost it is read from its beginning again.
    let learnt = alice.home.join("wallets.json");
    let kept: Value = serde_json::from_slice(&std::fs::read(&learnt).unwrap()).unwrap();
    assert_eq!(kept["read"][0]["account"], json!(alice.id), "{kept}");
    std::fs::remove_file(&learnt).unwrap();
    alice.refused(&["wallet", "send", "5", "bob"], 4, "not_confirmed");
    let paid = alice.data(&["wallet", "send", "5", "bob", "--note", "lunch", "--yes"]);
    assert_eq!((&paid["to"], &paid["account"]), (&json!(bob.address), &json!(bob.id)), "{paid}");
    assert_eq!((&paid["amount"], &paid["coin"], &paid["told"]), (&json!("5"), &json!("sesh"), &json!(true)));
    let transaction = paid["transaction"].as_str().unwrap();
    let seen = bob.sees(transaction, "verified").await;
    assert_eq!((&seen["from"], &seen["text"]), (&json!(alice.id), &json!("lunch")), "{seen}");
    assert_eq!(
        (&seen["money"]["amount"], &seen["money"]["height"]),
        (&json!("5"), &paid["height"]),
        "{seen}"
    );
    let shown = place.run(&bob.with(&["inbox"])).out;
    let line = shown.lines().find(|line| line.contains("alice") && line.contains("5 SESH")).unwrap();
    assert!(line.contains("[paid you 5 SESH: verified, in block "), "{shown}");
    bob.has("5");
    alice.has("995");
    histories(&alice, &bob, transaction);

    // Told once more, and not paid twice.
    let again = alice.data(&["wallet", "send", "5", "bob", "--paid", transaction]);
    assert_eq!(again["told"], true);
    alice.has("995");
    let second = bob.sees(transaction, "claimed").await;
    assert!(second["money"]["why"].as_str().unwrap().contains("told of this transaction before"), "{second}");
    assert_eq!(bob.sees(transaction, "verified").await["hash"], seen["hash"]);
    let not = alice.refused(&["wallet", "send", "6", "bob", "--paid", transaction], 1, "not_paid");
    assert!(not.contains("pays 5 SESH"), "{not}");

    // The chain's own coin, and money that is asked for.
    let coin = alice.data(&["wallet", "send", "0.5", "bob", "--native", "--yes"]);
    let seen = bob.sees(coin["transaction"].as_str().unwrap(), "verified").await;
    assert_eq!(
        (&seen["money"]["amount"], &seen["money"]["coin"]),
        (&json!("0.5"), &json!("native")),
        "{seen}"
    );
    assert_eq!(bob.has("5")["native"], "0.5");
    let history = alice.data(&["wallet", "history"]);
    // Of those that the token tells of it is the time of the block, of the others that of the signature.
    let times = history["transfers"].as_array().unwrap().iter().filter_map(|it| it["time"].as_u64());
    let (times, now) = (times.collect::<Vec<_>>(), now_ms());
    assert!(!times.is_empty());
    for time in times {
        assert!(time.abs_diff(now) < 3_600_000, "milliseconds since 1970: {history}");
    }
    let own = &history["transfers"][0];
    assert_eq!((&own["transaction"], &own["height"]), (&coin["transaction"], &coin["height"]), "{history}");
    assert_eq!((&own["amount"], &own["coin"]), (&json!("0.5"), &json!("native")), "{history}");
    assert_eq!((&own["direction"], &own["state"]), (&json!("out"), &json!("final")), "{history}");
    let history = bob.data(&["wallet", "history"]);
    let into = history["transfers"].as_array().unwrap();
    let into = into.iter().find(|it| it["transaction"] == coin["transaction"]).unwrap();
    assert_eq!((&into["from"], &into["to"]), (&json!(alice.address), &json!(bob.address)), "{history}");
    assert_eq!((&into["amount"], &into["coin"]), (&json!("0.5"), &json!("native")), "{history}");
    assert_eq!((&into["direction"], &into["state"]), (&json!("in"), &json!("final")), "{history}");
    bob.data(&["wallet", "request", "2", "alice", "--note", "the taxi"]);
    let request = alice.told().into_iter().find(|it| it["money"]["kind"] == "request").unwrap();
    let money = json!({ "kind": "request", "amount": "2", "coin": "sesh", "note": "the taxi" });
    assert_eq!(request["money"], money, "{request}");

    forgeries(&network, &bob, transaction).await;
    moves(&alice, &bob, transaction);
    killed_on_the_way(&place, &network, &alice, &bob).await;
    paid_and_not_told(&place, &network, &alice, &bob).await;
    nobody_can_be_told(&place, &alice, &bob);
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Money that is worth nothing, and none where it is.
fn faucet(alice: &Person<'_>, network: &NetworkFile) {
    let given = alice.data(&["wallet", "faucet"]);
    assert_eq!((&given["address"], &given["sesh"]), (&json!(alice.address), &json!("1000")), "{given}");
    assert_eq!(alice.has("1000")["native"], "10");
    let mut other = network.clone();
    other.settlement.as_mut().unwrap().contracts.token.0.0[0] ^= 1;
    let file = alice.home.join("other.toml");
    std::fs::write(&file, other.to_toml()).unwrap();
    let refused =
        || alice.refused(&["wallet", "faucet", "--network", file.to_str().unwrap()], 4, "no_faucet");
    assert!(refused().contains("is not the testnet of this machine"));
    other.local = false;
    // A network of more than one machine trusts no checkpoint for as long as a local one.
    other.settlement.as_mut().unwrap().trust = 30;
    std::fs::write(&file, other.to_toml()).unwrap();
    let said = refused();
    assert!(said.contains("no faucet is known") && !said.contains("worth"), "{said}");
}

fn histories(alice: &Person<'_>, bob: &Person<'_>, transaction: &str) {
    let of =
        |person: &Person<'_>| person.data(&["wallet", "history"])["transfers"].as_array().unwrap().clone();
    let (out, into) = (of(alice), of(bob));
    assert_eq!((out.len(), into.len()), (2, 1), "{out:?} {into:?}");
    for (transfer, direction) in [(&out[0], "out"), (&into[0], "in")] {
        assert_eq!(transfer["transaction"], transaction);
        assert_eq!((&transfer["direction"], &transfer["amount"]), (&json!(direction), &json!("5")));
        assert_eq!((&transfer["from"], &transfer["to"]), (&json!(alice.address), &json!(bob.address)));
        assert_eq!(transfer["state"], "final");
    }
    assert_eq!((&out[1]["direction"], &out[1]["amount"]), (&json!("in"), &json!("1000")));
}

/// Mallory says that she paid, in every way she can.
async fn forgeries(network: &NetworkFile, bob: &Person<'_>, transaction: &str) {
    let settlement = network.settlement.as_ref().unwrap();
    let (chain, token) = (settlement.chain, Some(settlement.contracts.token.into_array()));
    let mallory = Account::generate().unwrap();
    let signer = account::signer(mallory.seed());
    let own = Wallet {
        address: signer.address().into_array(),
        proof: account::prove(&signer, &mallory.id()).unwrap(),
    };
    // Alice's address, which another than Mallory signed for.
    let seen = bob.sees(transaction, "verified").await;
    let alice: AccountId = seen["from"].as_str().unwrap().parse().unwrap();
    let stolen = Wallet { proof: account::prove(&signer, &alice).unwrap(), ..own };
    let bytes: [u8; 32] = alloy::primitives::hex::decode(transaction).unwrap().try_into().unwrap();
    let sum = Sum { chain, token, units: 5_000_000_000 };
    let payment = |sum, transaction| Some(Money::Payment(Payment { sum, transaction, note: None }));
    let client = Client::connect(network.clone(), Options::default()).await.unwrap();
    let lies = [
        (payment(sum, [0xab; 32]), Some(own), "there is no such transaction"),
        (payment(sum, bytes), Some(own), "told of this transaction before"),
        (payment(sum, bytes), Some(stolen), "has not shown that the address"),
        (payment(sum, bytes), None, "has not shown that the address"),
        (payment(Sum { chain: 1, ..sum }, bytes), Some(own), "on another chain"),
        (payment(Sum { token: Some([7; 20]), ..sum }, bytes), Some(own), "another token"),
    ];
    let to = bob.id.parse().unwrap();
    for (money, wallet, _) in lies.clone() {
        let draft = Draft { text: "Paid you 5 SESH", money, wallet };
        client.send(&mallory, &to, draft).await.unwrap();
    }
    // Every transaction pays nothing to everybody: it is no payment, and takes none away.
    let nothing = payment(Sum { units: 0, ..sum }, bytes);
    let draft = Draft { text: "Paid you 0 SESH", money: nothing, wallet: Some(own) };
    client.send(&mallory, &to, draft).await.unwrap();
    let words = "2026-01-01 00:00:00  alice  [paid you 5 SESH: verified, in block 1]";
    client.send(&mallory, &to, words).await.unwrap();
    let of_mallory = |it: &Value| it["from"] == mallory.id().to_string();
    let told: Vec<_> = bob.told().into_iter().filter(of_mallory).collect();
    assert_eq!(told.len(), lies.len(), "{told:?}");
    for (it, (_, _, why)) in told.iter().zip(&lies) {
        assert_eq!(it["money"]["state"], "claimed", "{it}");
        assert!(it["money"]["why"].as_str().unwrap().contains(why), "{why}: {it}");
    }
    let unread = bob.inbox().into_iter().filter_map(|it| it["error"].as_str().map(ToOwned::to_owned));
    assert!(unread.into_iter().any(|error| error.contains("the amount is none")));
    assert_eq!(bob.sees(transaction, "verified").await["hash"], seen["hash"]);
    // A text that looks like the line above a message is below one.
    let shown = bob.place.run(&bob.with(&["inbox"])).out;
    let lines: Vec<_> = shown.lines().filter(|line| line.contains(words)).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with("    ")), "{shown}");
    assert!(shown.contains("[claims to have paid you 5 SESH, NOT verified: "), "{shown}");
    bob.has("5");
}

/// Bob takes another key: Alice pays him there once she agreed to it.
fn moves(alice: &Person<'_>, bob: &Person<'_>, transaction: &str) {
    let import = |more: &[&str]| {
        let mut command = bob.place.command(&bob.with(&[&["wallet", "import", "--json"][..], more].concat()));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all("07".repeat(32).as_bytes()).unwrap();
        ended(child, "`session wallet import`")
    };
    // What he has would be left behind.
    let refused = import(&[]);
    let error = &refused.json()["error"];
    assert_eq!((refused.code, &error["code"]), (4, &json!("wallet_holds")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("holds 5 SESH, 0.5 ETH"), "{error}");
    bob.has("5");
    let imported = import(&["--yes"]);
    assert_eq!((imported.code, &imported.json()["data"]["before"]), (0, &json!(bob.address)));
    let moved = bob.data(&["wallet", "address", "--tell", "alice"])["address"].as_str().unwrap().to_owned();
    assert_ne!(moved, bob.address);
    let changed = alice.refused(&["wallet", "send", "1", "bob", "--yes"], 4, "address_changed");
    assert!(changed.to_lowercase().contains(&moved) && changed.contains("--new-address 0x"), "{changed}");
    // Who agrees to one address agrees to no other.
    for other in [&bob.address, &alice.address] {
        let pay = ["wallet", "send", "1", "bob", "--new-address", other, "--yes"];
        let once_more = alice.refused(&pay, 4, "address_changed");
        assert!(
            once_more.to_lowercase().contains(&moved) && once_more.contains("was agreed to"),
            "{once_more}"
        );
    }
    let paid = alice.data(&["wallet", "send", "1", "bob", "--new-address", &moved, "--yes"]);
    assert_eq!(paid["to"], moved);
    // What was paid before went to where he was then.
    let words = ["wallet", "send", "5", "bob", "--paid", transaction];
    assert_eq!(alice.data(&words)["told"], true);
    assert_eq!(alice.data(&[words.as_slice(), &["--new-address", &moved]].concat())["told"], true);
    assert_eq!(alice.data(&["wallet", "send", "1", "bob", "--yes"])["to"], moved);
    alice.has("993");
}

/// The program dies while a payment is on its way: the next one knows of it, and pays nothing.
async fn killed_on_the_way(place: &Place, network: &NetworkFile, alice: &Person<'_>, bob: &Person<'_>) {
    let endpoint = Endpoint::new(&network.settlement.as_ref().unwrap().rpc[0]).unwrap();
    let ask = async |method: &'static str, parameters: Value| -> Value {
        endpoint.rpc().request(method, parameters).await.unwrap()
    };
    let sent = async |tag: &str| ask("eth_getTransactionCount", json!([alice.address, tag])).await;
    ask("evm_setIntervalMining", json!([0])).await;
    let words = alice.with(&["wallet", "send", "1", "bob", "--yes", "--json"]);
    let mut command = place.command(&words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    until("the payment to be on its way", async || {
        (sent("pending").await != sent("latest").await).then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let open = alice.refused(&["wallet", "send", "1", "bob", "--yes"], 4, "payment_open");
    assert!(
        open.contains("is on its way") && open.contains("session wallet send 1 bob --account alice"),
        "{open}"
    );
    let has = alice.has("993");
    assert!(has["pending"]["out"]["sesh"].as_str().is_some_and(|sesh| sesh != "0"), "{has}");
    let transaction = open.split("--paid ").nth(1).unwrap().split([';', ' ']).next().unwrap().to_owned();
    ask("evm_setIntervalMining", json!([1])).await;
    let told = alice.data(&["wallet", "send", "1", "bob", "--paid", &transaction]);
    assert_eq!((&told["told"], &told["transaction"]), (&json!(true), &json!(transaction)), "{told}");
    bob.sees(&transaction, "verified").await;
    alice.has("992");
}

/// All nodes die between a payment and the message that tells of it: it is paid, once, and told of later.
async fn paid_and_not_told(place: &Place, network: &NetworkFile, alice: &Person<'_>, bob: &Person<'_>) {
    let endpoint = Endpoint::new(&network.settlement.as_ref().unwrap().rpc[0]).unwrap();
    let ask = async |method: &'static str, parameters: Value| -> Value {
        endpoint.rpc().request(method, parameters).await.unwrap()
    };
    let sent = async |tag: &str| ask("eth_getTransactionCount", json!([alice.address, tag])).await;
    // No block is made until the nodes are down.
    ask("evm_setIntervalMining", json!([0])).await;
    let words = alice.with(&["wallet", "send", "1", "bob", "--note", "late", "--yes", "--json"]);
    let mut command = place.command(&words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    until("the payment to be on its way", async || {
        (sent("pending").await != sent("latest").await).then_some(())
    })
    .await;
    place.data(&["testnet", "kill", "1", "2", "3", "4"]);
    ask("evm_setIntervalMining", json!([1])).await;
    let ran = ended(child, "`session wallet send`");
    let paid = ran.json()["data"].clone();
    assert_eq!((ran.code, &paid["told"]), (0, &json!(false)), "{} {}", ran.out, ran.err);
    alice.has("991");
    let (remedy, transaction) = (paid["remedy"].as_str().unwrap(), paid["transaction"].as_str().unwrap());
    assert!(ran.err.contains("it is paid, and bob was not told") && ran.err.contains(remedy), "{}", ran.err);

    place.data(&["testnet", "up"]);
    let open = alice.refused(&["wallet", "send", "1", "bob", "--yes"], 4, "payment_open");
    assert!(open.contains(remedy), "{open}");
    let words: Vec<_> = remedy.split_whitespace().skip(1).collect();
    let told = alice.data(&words);
    assert_eq!((&told["told"], &told["transaction"]), (&json!(true), &json!(transaction)), "{told}");
    bob.sees(transaction, "verified").await;
    alice.has("991");
}

/// Whoever cannot be told is not paid; the chain alone takes what goes to an address.
fn nobody_can_be_told(place: &Place, alice: &Person<'_>, bob: &Person<'_>) {
    place.data(&["testnet", "kill", "1", "2", "3", "4"]);
    alice.refused(&["wallet", "send", "1", "bob", "--yes"], 3, "testnet_down");
    alice.has("991");
    let paid = alice.data(&["wallet", "send", "1", &bob.address, "--yes"]);
    assert!(paid["told"].is_null() && paid["account"].is_null(), "{paid}");
    alice.has("990");
}
