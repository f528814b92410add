//! A person with a funded account: sets up a node with somebody else, sees it serve, is paid, and leaves; and nodes
//! that come and go by one command each.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Child, Stdio},
    time::Duration,
};

use alloy::{
    primitives::{Address, Bytes, U64, U256},
    sol_types::SolCall,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use session_chain::{
    Amount, account,
    settlement::{Endpoint, calls::Token},
};

use crate::support::{Place, Ran, ended, ended_within, get, until};

/// What the operator brings, and what somebody else does.
const OWN: &str = "10000";
const OTHERS: &str = "15000";
/// Epochs whose rewards are claimed at once, at least.
const EPOCHS: u64 = 3;
/// How long a node may take to leave, beside whatever else this machine does.
const LEAVE: Duration = Duration::from_secs(300);
/// All there will ever be.
const SUPPLY: Amount = Amount::sesh(240_000_000);
const STAKE: Amount = Amount::sesh(25_000);
/// Somebody's address who has no account here.
const PURSE: &str = "0x7777777777777777777777777777777777777777";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sets_up_a_node_with_another_earns_leaves_and_has_every_token() {
    let place = Place::new();
    let network = up(&place, 6);
    let chain = Chain::of(&place);
    for name in ["alice", "bob", "carol", "dave"] {
        place.data(&["account", "new", "--name", name]);
    }
    let [alice, bob] =
        ["alice", "bob"].map(|name| funded(&place, name, if name == "alice" { OWN } else { OTHERS }));
    for to in ["alice", "bob", "carol", "dave"] {
        place.data(&["send", "--network", &network, "--from", "carol", to, "before"]);
    }

    // The node is made, and runs without being one so far.
    let node = Newcomer::start(&place, &network);
    until("the newcomer to say that it is not registered", async || {
        let told = get(&node.http, "/readyz").await?;
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

    // It is active, in a swarm, and has all that the other members keep.
    let shown = until("the newcomer to be active", async || {
        let shown = place.run(&["stake", "show", &node.id, "--json"]);
        (shown.code == 0).then(|| shown.json()["data"].clone()).filter(|shown| shown["state"] == "active")
    })
    .await;
    assert_eq!((&shown["operator"], &shown["fee"]), (&json!(alice), &json!("10.00%")), "{shown}");
    let parts: Vec<_> = shown["contributors"].as_array().unwrap().iter().map(|it| &it["amount"]).collect();
    assert_eq!(parts, [OWN, OTHERS], "{shown}");
    assert!(shown["swarm"].is_string(), "{shown}");
    let listed = place.data(&["stake", "list"]);
    let of_it = listed["nodes"].as_array().unwrap().iter().find(|it| it["node"] == node.id.as_str()).unwrap();
    assert_eq!((listed["nodes"].as_array().unwrap().len(), &of_it["swarm"]), (7, &shown["swarm"]));
    node.holds_what_others_hold(&place).await;
    all_is_read(&place, &network, "before");
    for to in ["alice", "bob", "carol", "dave"] {
        place.data(&["send", "--network", &network, "--from", "dave", to, "after"]);
    }
    node.holds_what_others_hold(&place).await;

    // The rewards of several epochs, with one transaction each.
    let first = rewards(&place, "alice")["epoch"].as_u64().unwrap_or_default();
    until("some epochs to pass", async || {
        let now = rewards(&place, "alice");
        let enough = now["epoch"].as_u64()? >= first + EPOCHS && amount(&now["claimable"]) > Amount::ZERO;
        enough.then_some(())
    })
    .await;
    let sent = chain.sent(&alice).await;
    let claimed = place.data(&["stake", "claim", "--yes"]);
    assert_eq!(chain.sent(&alice).await, sent + 1);
    assert_eq!(chain.balance(&alice).await, amount(&claimed["amount"]), "{claimed}");
    assert_eq!(amount(&rewards(&place, "alice")["claimed"]), amount(&claimed["amount"]));
    let claimed = place.data(&["stake", "claim", "--to", PURSE, "--account", "bob", "--yes"]);
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
        let shown = place.data(&["stake", "show", &node.id]);
        (shown["state"] == "deregistered").then_some(())
    })
    .await;
    let released = until("its stake to be paid back", async || {
        let ran = place.run(&["stake", "withdraw", &node.id, "--account", "bob", "--yes", "--json"]);
        (ran.code == 0).then(|| ran.json()["data"].clone())
    })
    .await;
    assert_eq!((&released["how"], &released["amount"]), (&json!("released"), &json!("25000")));
    until("the newcomer to be off the list", async || {
        let listed = place.data(&["stake", "list"]);
        (listed["nodes"].as_array().unwrap().len() == 6).then_some(())
    })
    .await;
    let (code, error) = place.error(&["stake", "show", &node.id]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "not_registered"), "{error}");
    only_what_is_signed_anew_registers_it_again(&place, &node);
    assert_eq!(node.stop().code, 0);
    all_is_read(&place, &network, "before");
    all_is_read(&place, &network, "after");

    // What it earned since is claimed; then every token is somewhere.
    for name in ["alice", "bob"] {
        until("the rest to be claimed", async || {
            let ran = place.run(&["stake", "claim", "--account", name, "--yes", "--json"]);
            let now = rewards(&place, name);
            (amount(&now["claimed"]) == amount(&now["earned"])).then_some(()).or_else(|| {
                assert!(ran.code == 0 || ran.json()["error"]["code"] == "nothing_to_claim", "{}", ran.out);
                None
            })
        })
        .await;
    }
    let [of_alice, of_bob] = ["alice", "bob"].map(|name| rewards(&place, name));
    let more =
        |principal: &str, more: Amount| principal.parse::<Amount>().unwrap().checked_add(more).unwrap();
    assert_eq!(chain.balance(&alice).await, more(OWN, amount(&of_alice["claimed"])));
    assert_eq!(of_alice["balance"], chain.balance(&alice).await.to_string());
    let kept = amount(&of_bob["claimed"]).checked_sub(chain.balance(PURSE).await).unwrap();
    assert_eq!(chain.balance(&bob).await, more(OTHERS, kept));
    chain.every_token_is_somewhere(6, &[&alice, &bob, PURSE]).await;
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

    let added = place.data(&["testnet", "add"]);
    let node = &added["nodes"][0];
    assert_eq!(
        (&node["index"], &node["state"], &node["registration"]),
        (&json!(5), &json!("ready"), &json!("active"))
    );
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
    chain.every_token_is_somewhere(4, &[&operator(5)]).await;
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

/// Everybody has the message of this text.
fn all_is_read(place: &Place, network: &str, text: &str) {
    for name in ["alice", "bob", "carol", "dave"] {
        let inbox = place.data(&["inbox", "--network", network, "--account", name]);
        let texts = inbox["messages"].as_array().unwrap().iter().filter(|message| message["text"] == text);
        assert_eq!(texts.count(), 1, "{text} of {name}: {inbox}");
    }
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

/// A node of a person's own.
struct Newcomer {
    id: String,
    address: String,
    http: String,
    child: Option<Child>,
}

impl Newcomer {
    /// Makes one, of the first account, and runs it.
    fn start(place: &Place, network: &str) -> Self {
        let ip = Ipv4Addr::new(127, 0, 251, 1);
        let held: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind((ip, 0)).unwrap()).collect();
        let port = |of: &TcpListener| of.local_addr().unwrap().port();
        let (address, http) =
            (format!("/ip4/{ip}/tcp/{}", port(&held[0])), format!("{ip}:{}", port(&held[1])));
        drop(held);
        let made = place.data(&["node", "init", "--name", "newcomer", "--address", &address]);
        assert_eq!((&made["network"], made["registration"].is_string()), (&json!("local"), true), "{made}");
        let data = made["data"].as_str().unwrap();
        let (code, error) = place.error(&["node", "init", "--name", "newcomer", "--address", &address]);
        assert_eq!((code, error["code"].as_str().unwrap()), (4, "key_exists"), "{error}");
        let again = place.data(&["node", "init", "--name", "newcomer", "--address", &address, "--again"]);
        assert_eq!((&again, &made["registrations"]), (&made, &json!(0)), "the same node");
        let plain = place.data(&["node", "init", "--name", "plain"]);
        let found = plain["addresses"][0].as_str().unwrap();
        assert!(found.starts_with("/ip4/127.0.0.1/udp/") && plain["prefix"] == "127.0.0.0/24", "{plain}");
        let mut command = place.command(&["node", "run", "--network", network, "--data", data]);
        command.args(["--listen", &address, "--http", &http]).stdin(Stdio::null());
        // A pipe that nobody reads would fill.
        let log = std::fs::File::create(place.path().join("newcomer.log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { id: made["id"].as_str().unwrap().to_owned(), address, http, child: Some(child) }
    }

    /// Waits until it serves, and has what the members of its swarm have.
    async fn holds_what_others_hold(&self, place: &Place) {
        until("the newcomer to hold what others hold", async || {
            let own = get(&self.http, "/status").await?;
            let nodes = place.testnet.status().await.ok()?;
            let same = |node: &session_testnet::NodeStatus| {
                own["swarm"].as_str() == node.swarm.as_deref()
                    && own["fingerprint"] == node.fingerprint.as_str()
            };
            let serves = own["state"] == "ready" && own["messages"].as_u64()? > 0;
            (serves && nodes.iter().all(same)).then_some(())
        })
        .await;
    }

    /// Stops it gracefully.
    fn stop(mut self) -> Ran {
        let child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        ended(child, "the newcomer")
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The chain, asked beside the program.
struct Chain {
    rpc: alloy::rpc::client::RpcClient,
    token: Address,
    holders: Vec<Address>,
    staking: Address,
}

impl Chain {
    fn of(place: &Place) -> Self {
        let settlement = place.testnet.folder().network().unwrap().settlement.unwrap();
        let contracts = settlement.contracts;
        let rpc = Endpoint::new(&settlement.rpc[0]).unwrap().rpc();
        let holders = vec![contracts.pool, contracts.staking, contracts.checkpoints, contracts.factory];
        Self { rpc, token: contracts.token, holders, staking: contracts.staking }
    }

    async fn balance(&self, account: &str) -> Amount {
        self.balance_of(account.parse().unwrap()).await
    }

    async fn balance_of(&self, account: Address) -> Amount {
        let data = Bytes::from(Token::balanceOfCall { account }.abi_encode());
        let call = json!([{ "to": self.token, "data": data }, "latest"]);
        let word: U256 = self.rpc.request("eth_call", call).await.unwrap();
        Amount::try_from(word).unwrap()
    }

    /// How many transactions an account has sent.
    async fn sent(&self, account: &str) -> u64 {
        let count: U64 =
            self.rpc.request("eth_getTransactionCount", json!([account, "latest"])).await.unwrap();
        count.to()
    }

    /// The stakes are those of so many nodes, and all tokens are held by the contracts and by people.
    async fn every_token_is_somewhere(&self, nodes: u64, people: &[&str]) {
        assert_eq!(self.balance_of(self.staking).await, Amount(STAKE.0 * u128::from(nodes)));
        let mut holders = self.holders.clone();
        // Whoever has all others, those who run nodes of the testnet, and who contributes to them.
        holders.extend((0..=9).chain([255]).map(|seed| account::signer(&[seed; 16]).address()));
        holders.extend(people.iter().map(|person| person.parse::<Address>().unwrap()));
        holders.sort_unstable();
        holders.dedup();
        let mut sum = Amount::ZERO;
        for holder in holders {
            sum = sum.checked_add(self.balance_of(holder).await).unwrap();
        }
        assert_eq!(sum, SUPPLY);
    }
}
