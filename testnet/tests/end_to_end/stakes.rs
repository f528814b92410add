//! A person with a funded account: sets up a node with somebody else, sees it serve, is paid, and leaves; and nodes
//! that come and go by one command each.

use std::{process::Stdio, time::Duration};

use alloy::primitives::Address;
use serde_json::{Value, json};
use session_chain::{Amount, account};
use session_client::home::Home;
use session_protocols::{NodeId, SwarmId, SwarmMap};

use self::{
    chain::{Chain, STAKE},
    mailboxes::Mailboxes,
    newcomer::Newcomer,
};
use crate::support::{PATIENCE, Place, ended, ended_within, lines, until};

mod chain;
mod mailboxes;
mod newcomer;
mod rule;

/// Of two swarms.
const NODES: usize = 12;
/// What the operator brings, and what somebody else does.
const OWN: &str = "10000";
const OTHERS: &str = "15000";
/// Epochs whose rewards are claimed at once, at least.
const EPOCHS: u64 = 3;
/// How long a node may take to leave, beside whatever else this machine does.
const LEAVE: Duration = Duration::from_secs(300);
/// Somebody's address who has no account here.
const PURSE: &str = "0x7777777777777777777777777777777777777777";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sets_up_a_node_with_another_earns_leaves_and_has_every_token() {
    let place = Place::new();
    let network = up(&place, NODES);
    let chain = Chain::of(&place);
    for name in ["alice", "bob", "carol"] {
        place.data(&["account", "new", "--name", name]);
    }
    let [alice, bob] =
        ["alice", "bob"].map(|name| funded(&place, name, if name == "alice" { OWN } else { OTHERS }));
    let before = swarms(&place);
    assert_eq!(before.swarms.len(), 2, "so a mailbox can move from one to the other: {before:?}");
    let mut mailboxes = Mailboxes::fill(place.testnet.folder().network().unwrap(), &before).await;

    // The node is made, and runs without being one so far.
    let node = Newcomer::start(&place, &network);
    until("the newcomer to say that it is not registered", async || {
        let told = node.told("/readyz").await?;
        told.to_string().contains("not registered").then_some(())
    })
    .await;
    refusals_before(&place, &alice);

    // Two stake it.
    let opened = place.data(&["stake", "register", "newcomer", "--fee", "10%", "--stake", OWN, "--yes"]);
    assert_eq!((&opened["how"], &opened["lacks"]), (&json!("opened"), &json!(OTHERS)), "{opened}");
    assert!(opened["transaction"].as_str().unwrap().starts_with("0x") && opened["height"].is_u64());
    refusals_while_open(&place, &node.id);
    let contribute = ["stake", "contribute", &node.id, OTHERS, "--account", "bob", "--yes"];
    assert_eq!(place.data(&contribute)["amount"], OTHERS);
    let (code, error) = place.error(&["stake", "withdraw", &node.id, "--account", "bob", "--yes"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "contract_refuses"), "{error}");
    assert!(error["message"].as_str().unwrap().contains("TooEarly"), "{error}");
    let registered = place.data(&["stake", "register", "newcomer", "--yes"]);
    assert_eq!((&registered["how"], &registered["staked"]), (&json!("finalised"), &json!("25000")));

    // It is active, in a swarm that has not been its own, and that swarm's mailboxes are in its own store.
    let swarm = node.keeps_what_its_swarm_keeps(&mailboxes).await;
    assert!(!before.swarms[&swarm].contains(&node.id.parse().unwrap()));
    let shown = until("the newcomer to be active", async || {
        mailboxes.are_whole().await;
        let shown = place.run(&["stake", "show", &node.id, "--json"]);
        (shown.code == 0).then(|| shown.json()["data"].clone()).filter(|shown| shown["state"] == "active")
    })
    .await;
    assert_eq!((&shown["operator"], &shown["fee"]), (&json!(alice), &json!("10.00%")), "{shown}");
    let parts: Vec<_> = shown["contributors"].as_array().unwrap().iter().map(|it| &it["amount"]).collect();
    assert_eq!(parts, [OWN, OTHERS], "{shown}");
    assert!(shown["swarm"].is_string(), "{shown}");
    let now = swarms(&place);
    assert_eq!(now.swarms.values().map(Vec::len).sum::<usize>(), NODES + 1, "{now:?}");
    assert!(
        now.swarms.keys().eq(before.swarms.keys()) && now.swarm_with(&node.id.parse().unwrap()).is_some()
    );
    // So are messages that come now, whichever swarm it sits in by then.
    mailboxes.send().await;
    node.keeps_what_its_swarm_keeps(&mailboxes).await;

    // The rewards of several epochs, with one transaction each: to the last unit what the rule makes of what
    // the contracts told.
    let key = node.id.parse().unwrap();
    let first = chain.rule().await.first(key).expect("the newcomer is active");
    until("a checkpoint of some epochs later", async || {
        mailboxes.are_whole().await;
        let accepted = node.told("/status").await?["chain"]["accepted"].as_u64()?;
        (accepted + 1 >= first + EPOCHS).then_some(())
    })
    .await;
    let sent = chain.sent(&alice).await;
    let claimed = claimed_while_a_checkpoint_waits(&place, &chain).await;
    assert_eq!(chain.sent(&alice).await, sent + 1);
    assert_eq!(amount(&claimed["amount"]), due(&chain, &alice, &claimed).await, "{claimed}");
    assert_eq!(chain.balance(&alice).await, amount(&claimed["amount"]), "{claimed}");
    assert_eq!(amount(&rewards(&place, "alice")["claimed"]), amount(&claimed["amount"]));
    let sent = chain.sent(&bob).await;
    let claimed = place.data(&["stake", "claim", "--to", PURSE, "--account", "bob", "--yes"]);
    assert_eq!(chain.sent(&bob).await, sent + 1);
    assert_eq!(amount(&claimed["amount"]), due(&chain, &bob, &claimed).await, "{claimed}");
    assert_eq!(chain.balance(PURSE).await, amount(&claimed["amount"]), "{claimed}");
    assert_eq!(claimed["to"], PURSE);

    // It leaves, which is final; its mailboxes stay with the others.
    place.data(&["stake", "exit", "newcomer", "--yes"]);
    let (code, error) = place.error(&["stake", "exit", &node.id, "--account", "bob", "--yes"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "contract_refuses"), "{error}");
    assert!(error["message"].as_str().unwrap().contains("ExitAlreadyRequested"), "{error}");
    let (code, error) = place.error(&["stake", "withdraw", &node.id, "--account", "bob", "--yes"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (3, "locked"), "{error}");
    until("the newcomer's service to end", async || {
        mailboxes.are_whole().await;
        (node.told("/status").await?["chain"]["registration"] == "deregistered").then_some(())
    })
    .await;
    let released = until("its stake to be paid back", async || {
        mailboxes.are_whole().await;
        let ran = place.run(&["stake", "withdraw", &node.id, "--account", "bob", "--yes", "--json"]);
        (ran.code == 0).then(|| ran.json()["data"].clone())
    })
    .await;
    assert_eq!((&released["how"], &released["amount"]), (&json!("released"), &json!("25000")));
    until("the newcomer to be off the list", async || {
        let listed = place.data(&["stake", "list"]);
        (listed["nodes"].as_array().unwrap().len() == NODES).then_some(())
    })
    .await;
    let (code, error) = place.error(&["stake", "show", &node.id]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "not_registered"), "{error}");
    only_what_is_signed_anew_registers_it_again(&place, &node);
    assert_eq!(node.stop().code, 0);
    mailboxes.are_whole().await;

    // What it earned since is claimed; then every token is somewhere.
    for (name, address) in [("alice", &alice), ("bob", &bob)] {
        let now = until("the rest to be claimed", async || {
            let ran = place.run(&["stake", "claim", "--account", name, "--yes", "--json"]);
            let now = rewards(&place, name);
            (amount(&now["claimed"]) == amount(&now["earned"])).then_some(now).or_else(|| {
                assert!(ran.code == 0 || ran.json()["error"]["code"] == "nothing_to_claim", "{}", ran.out);
                None
            })
        })
        .await;
        let all = chain.rule().await.totals(now["epoch"].as_u64().unwrap());
        assert_eq!(amount(&now["claimed"]), Amount(all[&address.parse::<Address>().unwrap()]), "{now}");
    }
    let [of_alice, of_bob] = ["alice", "bob"].map(|name| rewards(&place, name));
    let more =
        |principal: &str, more: Amount| principal.parse::<Amount>().unwrap().checked_add(more).unwrap();
    assert_eq!(chain.balance(&alice).await, more(OWN, amount(&of_alice["claimed"])));
    assert_eq!(of_alice["balance"], chain.balance(&alice).await.to_string());
    let kept = amount(&of_bob["claimed"]).checked_sub(chain.balance(PURSE).await).unwrap();
    assert_eq!(chain.balance(&bob).await, more(OTHERS, kept));
    chain.every_token_is_somewhere(NODES as u64, &[&alice, &bob, PURSE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_and_go_by_one_command_each() {
    let place = Place::new();
    up(&place, 4);
    let chain = Chain::of(&place);
    let (code, error) = place.error(&["testnet", "remove", "2"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (4, "too_few_nodes"), "{error}");
    let (code, error) = place.error(&["testnet", "remove", "5"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (2, "no_node"), "{error}");

    // A registration that its node's key did not sign is refused by the nodes. What it holds comes back by the
    // next checkpoint, here to whose it is; what the others put down stays.
    place.data(&["account", "new", "--name", "carol"]);
    let carol = funded(&place, "carol", "25000");
    let account = Home::open(place.path().join("home")).unwrap().account("carol").unwrap();
    let refused = chain.register_unsigned(account::signer(account.seed())).await.to_string();
    assert_eq!(chain.balance(&carol).await, Amount::ZERO);

    let added = place.data(&["testnet", "add"]);
    let node = &added["nodes"][0];
    assert_eq!(
        (&node["index"], &node["state"], &node["registration"]),
        (&json!(5), &json!("ready"), &json!("active"))
    );
    let released = until("a checkpoint to release what the nodes refused", async || {
        let ran = place.run(&["stake", "withdraw", &refused, "--account", "carol", "--yes", "--json"]);
        assert!(ran.code == 0 || ran.json()["error"]["code"] == "locked", "{}", ran.out);
        (ran.code == 0).then(|| ran.json()["data"].clone())
    })
    .await;
    assert_eq!((&released["how"], &released["amount"]), (&json!("released"), &json!("25000")));
    assert_eq!(chain.balance(&carol).await, STAKE);
    until("the refused one to be off the list", async || {
        let listed = place.data(&["stake", "list"]);
        (!listed.to_string().contains(&refused)).then_some(())
    })
    .await;
    let ids = |listed: &Value| -> Vec<Value> {
        listed["nodes"].as_array().unwrap().iter().map(|it| it["node"].clone()).collect()
    };
    let listed = place.data(&["stake", "list"]);
    assert!(ids(&listed).contains(&node["id"]) && ids(&listed).len() == 5, "{listed}");
    let (code, error) = place.error(&["testnet", "up", "--nodes", "4"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "other_size"), "{error}");

    let mut remove = place.command(&["testnet", "remove", "2", "--json"]);
    let remove = remove.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = ended_within(remove.spawn().unwrap(), "the removal", LEAVE);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let removed = ran.json()["data"].clone();
    assert_eq!((&removed["removed"], &removed["killed"]), (&json!(2), &json!([])));
    let status = place.data(&["testnet", "status"]);
    let left: Vec<_> = status["nodes"].as_array().unwrap().iter().map(|node| node["index"].clone()).collect();
    assert_eq!(left, [1, 3, 4, 5]);
    assert_eq!(ids(&place.data(&["stake", "list"])).len(), 4);
    assert!(!place.testnet.folder().data(2).exists());
    assert_eq!(chain.balance(&operator(2)).await, STAKE, "its stake is paid back");
    chain.every_token_is_somewhere(4, &[&carol]).await;
}

#[test]
fn without_a_chain_nobody_stakes_and_all_say_so() {
    let place = Place::new();
    let (code, error) = place.error(&["testnet", "fund", PURSE]);
    assert_eq!((code, error["code"].as_str().unwrap()), (3, "not_up"), "{error}");
    let (code, error) = place.error(&["stake", "list"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (3, "no_network"), "{error}");
    place.data(&["testnet", "up", "--no-chain", "--nodes", "1"]);
    for command in [
        &["testnet", "fund", PURSE][..],
        &["testnet", "add"],
        &["testnet", "remove", "1"],
        &["stake", "list"],
    ] {
        let (code, error) = place.error(command);
        assert_eq!((code, error["code"].as_str().unwrap()), (1, "no_chain"), "{command:?}: {error}");
    }
}

/// A testnet with a chain; its network file.
fn up(place: &Place, nodes: usize) -> String {
    let up = place.data(&["testnet", "up", "--nodes", &nodes.to_string()]);
    up["network"].as_str().unwrap().to_owned()
}

/// Gives an account SESH; its address.
fn funded(place: &Place, name: &str, sesh: &str) -> String {
    let given = place.data(&["testnet", "fund", name, "--sesh", sesh]);
    assert_eq!(given["sesh"], sesh);
    given["address"].as_str().unwrap().to_owned()
}

fn refusals_before(place: &Place, alice: &str) {
    let refused = |arguments: &[&str], exit: i32, code: &str, said: &str| {
        let (found, error) = place.error(arguments);
        assert_eq!((found, error["code"].as_str().unwrap()), (exit, code), "{arguments:?}: {error}");
        assert!(error["message"].as_str().unwrap().to_lowercase().contains(&said.to_lowercase()), "{error}");
    };
    let short = format!("account {alice} has 10000 SESH and needs 25000 SESH: 15000 SESH more");
    refused(&["stake", "register", "newcomer", "--yes"], 1, "too_little_sesh", &short);
    refused(&["stake", "register", "newcomer", "--fee", "101%", "--yes"], 2, "usage", "0% to 100%");
    let of_bob = ["stake", "register", "newcomer", "--account", "bob", "--yes"];
    refused(&of_bob, 1, "registration", "described for the operator");
    refused(&["stake", "register", "nobody", "--yes"], 1, "no_node", "nobody");
    let little = ["stake", "register", "newcomer", "--stake", "6249", "--yes"];
    refused(&little, 1, "contract_refuses", "TooLittle");
    let own = ["stake", "register", "newcomer", "--stake", OWN];
    refused(&own, 4, "not_confirmed", "it costs about");
    refused(&["stake", "contribute", "newcomer", "1", "--account", "bob", "--yes"], 1, "not_open", "is open");
    refused(&["stake", "exit", "newcomer", "--yes"], 1, "not_registered", "not registered");
    refused(&["stake", "show", "newcomer"], 1, "not_registered", "not registered");
    refused(&["stake", "withdraw", "newcomer", "--yes"], 1, "no_stake", "no stake");
    let (_, error) = place.error(&["stake", "claim", "--yes"]);
    assert!(["no_checkpoint", "nothing_to_claim"].contains(&error["code"].as_str().unwrap()), "{error}");
}

fn refusals_while_open(place: &Place, node: &str) {
    let refused = |arguments: &[&str], exit: i32, code: &str, said: &str| {
        let (found, error) = place.error(arguments);
        assert_eq!((found, error["code"].as_str().unwrap()), (exit, code), "{arguments:?}: {error}");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
    };
    refused(&["stake", "register", "newcomer", "--yes"], 3, "incomplete", "lacks 15000 SESH");
    let contribute = |amount, account| ["stake", "contribute", node, amount, "--account", account, "--yes"];
    refused(&contribute("15000", "carol"), 1, "too_little_sesh", "15000 SESH more");
    refused(&contribute("1", "bob"), 1, "contract_refuses", "TooLittle");
    let shown = place.data(&["stake", "show", node]);
    let open = &shown["contributions"][0];
    assert_eq!(
        (&shown["state"], &open["status"], &open["lacks"]),
        (&json!("open"), &json!("open"), &json!(OTHERS))
    );
    assert_eq!(open["signed"], true, "{shown}");
}

/// Who sits in which swarm by the map that acts.
fn swarms(place: &Place) -> SwarmMap {
    let mut map = SwarmMap::default();
    for one in place.data(&["stake", "list"])["nodes"].as_array().unwrap() {
        let Some(swarm) = one["swarm"].as_str() else { continue };
        let (swarm, node): (SwarmId, NodeId) =
            (swarm.parse().unwrap(), one["node"].as_str().unwrap().parse().unwrap());
        map.swarms.entry(swarm).or_default().push(node);
    }
    map
}

/// What a first claim can come to by the rule, at the checkpoint that was the last one for it: of several epochs.
async fn due(chain: &Chain, account: &str, claimed: &Value) -> Amount {
    let (rule, account) = (chain.rule().await, account.parse::<Address>().unwrap());
    let epoch = rule.checkpoint_before(chain.place(&claimed["transaction"]).await);
    let total = |epoch| rule.totals(epoch).get(&account).copied().unwrap_or_default();
    let epochs = (1..=epoch).filter(|epoch| total(*epoch) > total(epoch - 1)).count();
    assert!(epochs as u64 >= EPOCHS, "the rewards of {epochs} epochs");
    Amount(total(epoch))
}

/// Claims while the next checkpoint is on its way, with which what the last one proves is void: it is proved anew once that
/// is in a block, and not again and again before. Returns what is claimed.
async fn claimed_while_a_checkpoint_waits(place: &Place, chain: &Chain) -> Value {
    chain.hold_a_checkpoint_back().await;
    let mut claim = place.command(&["stake", "claim", "--yes"]);
    let mut child = claim.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let notes = lines(child.stderr.take().unwrap());
    let is_overtaken = |note: &String| note.contains("another checkpoint came in between");
    while !is_overtaken(&notes.recv_timeout(PATIENCE).unwrap()) {}
    chain.go_on().await;
    let ran = ended(child, "`session stake claim`");
    // Another border may pass meanwhile.
    let again = notes.iter().filter(is_overtaken).count();
    assert!(ran.code == 0 && again <= 1, "{again} times more: {}", ran.out);
    let word = |behind: &str| ran.out.split_once(behind).unwrap().1.split_whitespace().next().unwrap();
    json!({ "amount": word("done: claim "), "transaction": word("transaction") })
}

fn rewards(place: &Place, name: &str) -> Value {
    until_ok(place, &["stake", "rewards", "--account", name])
}

/// Runs what another checkpoint may come in between of.
fn until_ok(place: &Place, arguments: &[&str]) -> Value {
    for _ in 0..5 {
        let ran = place.run(&[arguments, &["--json"]].concat());
        if ran.code == 0 {
            return ran.json()["data"].clone();
        }
        assert_eq!(ran.json()["error"]["code"], "overtaken", "{arguments:?}: {}", ran.out);
    }
    panic!("{arguments:?} is overtaken again and again")
}

fn amount(text: &Value) -> Amount {
    text.as_str().unwrap_or_else(|| panic!("{text} is no amount")).parse().unwrap()
}

fn operator(number: u8) -> String {
    account::signer(&[number; 16]).address().to_string().to_lowercase()
}

/// What its keys signed was for one registration.
fn only_what_is_signed_anew_registers_it_again(place: &Place, node: &Newcomer) {
    let register = ["stake", "register", "newcomer", "--stake", OWN];
    let (code, error) = place.error(&register);
    assert_eq!((code, error["code"].as_str().unwrap()), (4, "registration"), "{error}");
    assert!(error["message"].as_str().unwrap().contains("the next is registration 2"), "{error}");
    assert!(error["remedy"].as_str().unwrap().contains("session node init --again"), "{error}");
    let again = ["node", "init", "--name", "newcomer", "--address", &node.address, "--again"];
    let said = place.data(&[&again[..], &["--registrations", "0"]].concat());
    assert_eq!(said["registrations"], 0, "{said}");
    assert_eq!(place.error(&register).0, 4, "it was told wrongly");
    assert_eq!(place.data(&again)["registrations"], 1);
    let (code, error) = place.error(&register);
    assert_eq!((code, error["code"].as_str().unwrap()), (4, "not_confirmed"), "{error}");
}
