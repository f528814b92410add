//! A network that is published among hosts, and what can go wrong with its stakes.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use alloy::{
    primitives::{Address, U256, hex},
    sol_types::SolCall,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use session_chain::{
    NetworkFile,
    network::Settlement,
    settlement::calls::{Loan, Staking, Token, Vault},
};

use crate::{
    hosts::{
        NAME, RICH, Running, anvil, data,
        internet::{Host, Internet, Line},
        joined, session,
    },
    support::{PATIENCE, ended, lines, until},
};

/// Accounts whose keys anvil has: its first, which begins the network, and two operators with wallets of their own.
const TREASURY: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const OPERATOR: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
const FORGER: &str = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";
/// Transactions of a beginning: eight contracts, what pool, vault and faucet have, the faucet's ether, and for each of
/// four nodes its ether and its stake.
const TRANSACTIONS: u64 = 8 + 3 + 1 + 4 * 2;

/// What is answered on a host to what is posted to one of its own addresses.
fn post(host: &Host, at: (&str, u16), path: &str, headers: &str, body: &Value) -> Option<Value> {
    let ((ip, port), body) = (at, body.to_string());
    let post = format!(
        "exec 3<>/dev/tcp/{ip}/{port} && printf '%s' 'POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: \
         application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}' >&3 && cat <&3",
        body.len()
    );
    let ran = host.command(Path::new("bash"), &["-c", &post]).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
}

/// Asks the chain on a host.
fn ask(host: &Host, method: &str, params: &Value) -> Option<Value> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    post(host, ("127.0.0.1", 8_545), "/", "", &body)?.get("result").cloned()
}

/// How many transactions an account has sent.
fn sent(host: &Host, account: &str) -> Option<u64> {
    let told = ask(host, "eth_getTransactionCount", &json!([account, "latest"]))?;
    u64::from_str_radix(told.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// The command that publishes the network, with these words more.
fn publish(host: &Host, more: &[&str]) -> Vec<String> {
    let (url, rpc) = (format!("http://{NAME}:22000"), format!("http://{NAME}:8545"));
    let folder = host.home().join("published");
    let words = [
        "network",
        "publish",
        "faulty",
        "--rpc",
        &rpc,
        "--ip",
        &host.ip,
        "--url",
        &url,
        "--disk",
        "1",
        "--nodes",
        "4",
        "--data",
        folder.to_str().unwrap(),
        "--yes",
        "--json",
    ];
    words.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

fn running(host: &Host, words: &[String], what: &str) -> Running {
    Running::new(host.session(&words.iter().map(String::as_str).collect::<Vec<_>>()), what)
}

/// Fails, with a code, an exit code and a remedy.
fn refused(host: &Host, words: &[String], code: &str, exit: i32) -> Value {
    let ran = session(host, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let error = ran.json()["error"].clone();
    assert_eq!((error["code"].as_str(), ran.code), (Some(code), exit), "{error}");
    assert!(error["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{error}");
    error
}

fn signal(running: &Running, signal: Signal) {
    kill_process(Pid::from_child(&running.child), signal).unwrap();
}

fn join(host: &Host, address: &str, more: &[&str]) -> Running {
    let mut command = host.session(&["join", address, "--json"]);
    command.args(more);
    Running::new(command, &format!("join at {}", host.ip))
}

/// Fails at the stake, with a code, an exit code and a remedy; returns what is said.
fn fails(running: Running, code: &str, exit: i32) -> String {
    let (steps, end) = running.result();
    let error = end.unwrap_err();
    let last = steps.last().unwrap();
    assert_eq!((last["step"].as_str(), last["state"].as_str()), (Some("stake"), Some("failed")), "{error}");
    assert_eq!((error["code"].as_str(), running.ended()), (Some(code), exit), "{error}");
    assert!(error["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{error}");
    error["message"].as_str().unwrap().to_owned()
}

/// What a wallet is asked to sign, once a join says it.
fn to_sign(running: &Running) -> Value {
    loop {
        let step = running.next().unwrap_or_else(|error| panic!("{error}"));
        if step["state"] == "sign" {
            return step;
        }
    }
}

/// Sends a transaction of an account whose key anvil has.
async fn send(host: &Host, from: &str, to: &Value, data: &Value) {
    let deed = json!([{ "from": from, "to": to, "data": data, "value": "0x0", "gas": "0x2dc6c0" }]);
    let hash = ask(host, "eth_sendTransaction", &deed).unwrap();
    let mined = async || {
        ask(host, "eth_getTransactionReceipt", &json!([hash]))?["status"].as_str().map(ToOwned::to_owned)
    };
    assert_eq!(until("a transaction", mined).await, "0x1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_while_a_network_is_begun_and_joined_is_named_and_gone_on_with() {
    let Some(mut internet) = Internet::new() else { return };
    let first = internet.host(Line::Open);
    internet.call(&first, NAME);
    let _chain = anvil(&first);
    until("the chain", async || first.listens(8_545).then_some(())).await;
    data(&first, &["account", "new", "--name", "treasury"]);
    data(&first, &["account", "new", "--name", "other"]);
    let mut import = first.session(&["account", "key", "import", "treasury"]);
    let mut child = import.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(RICH.as_bytes()).unwrap();
    assert_eq!(ended(child, "import").code, 0);

    // What cannot be served is found before anything is paid for: the chain listens at that port.
    let taken = publish(&first, &["--account", "treasury", "--status-port", "8545"]);
    let error = refused(&first, &taken, "port", 1);
    assert!(error["remedy"].as_str().unwrap().contains("--status-port PORT"), "{error}");
    assert_eq!(sent(&first, TREASURY), Some(0));

    // The power fails while the contracts are deployed, and again while stakes are put down.
    let begin = publish(&first, &["--account", "treasury", "--epoch", "10", "--lent", "0"]);
    for after in [3, 14] {
        let beginning = running(&first, &begin, "publish");
        until("some transactions", async || (sent(&first, TREASURY)? >= after).then_some(())).await;
        signal(&beginning, Signal::KILL);
        assert_ne!(beginning.ended(), 0);
    }
    let network = running(&first, &begin, "publish");
    let begun = network.next().unwrap();
    assert_eq!(sent(&first, TREASURY), Some(TRANSACTIONS), "nothing was paid twice");
    assert_eq!(begun["lends"], 0, "none of the nodes: {begun}");
    let address = begun["address"].as_str().unwrap();
    refused(&first, &publish(&first, &["--lent", "100"]), "in_use", 4);

    let [lent, paid, signed, forged] = [(); 4].map(|()| internet.host(Line::Open));
    // The faucet has nothing to lend.
    let message = fails(join(&lent, address, &[]), "faucet", 3);
    assert!(message.contains("the faucet lends to 0 % of the nodes at most, and 0 of 4"), "{message}");
    signal(&network, Signal::TERM);
    assert_eq!(network.ended(), 0);
    // What the contracts have cannot change, and nobody else goes on.
    let error = refused(&first, &publish(&first, &["--epoch", "20"]), "fixed", 4);
    assert!(error["message"].as_str().unwrap().starts_with("--epoch"), "{error}");
    let error = refused(&first, &publish(&first, &["--account", "other"]), "other_account", 4);
    assert!(error["message"].as_str().unwrap().contains(TREASURY), "{error}");
    // Whoever goes on with what is paid needs no account, and may say what others are told anew.
    let mut again =
        first.session(&publish(&first, &["--lent", "100"]).iter().map(String::as_str).collect::<Vec<_>>());
    again.env("SESSION_HOME", first.home().join("nobody"));
    let network = Running::new(again, "publish");
    let goes_on = network.next().unwrap();
    assert_eq!(goes_on["address"], begun["address"]);
    assert_eq!(goes_on["lends"], 2_000, "all that the vault has: {goes_on}");

    // The faucet has too little ether for what comes with a stake, and then nothing to lend.
    let faucet = begun["faucet"].as_str().unwrap();
    let has = ask(&first, "eth_getBalance", &json!([faucet, "latest"])).unwrap();
    ask(&first, "anvil_setBalance", &json!([faucet, "0x1"]));
    let message = fails(join(&signed, address, &[]), "faucet", 3);
    assert!(message.to_lowercase().contains(faucet) && message.contains("ETH more"), "{message}");
    ask(&first, "anvil_setBalance", &json!([faucet, has]));
    let (vault, all) = emptied(&first).await;
    let message = fails(join(&forged, address, &[]), "faucet", 3);
    assert!(message.contains("the vault has 0 SESH left"), "{message}");
    pay(&first, TREASURY, vault, all).await;

    // Wallets of their own: each has a stake, and one of them nothing to pay for a transaction.
    let added = data(&first, &["network", "add", address]);
    assert_eq!(added["vault"], format!("{:#x}", settlement(&first).vault.unwrap()), "{added}");
    let of_treasury = ["--network", "faulty", "wallet", "--account", "treasury"];
    let unnamed = [&of_treasury[..], &["send", "25000", OPERATOR, "--yes", "--json"]].concat();
    let unnamed: Vec<String> = unnamed.iter().map(|word| (*word).to_owned()).collect();
    let error = refused(&first, &unnamed, "not_agreed", 4);
    let named = "session network add faulty --publisher KEY";
    assert!(error["remedy"].as_str().unwrap().contains(named), "{error}");
    let publisher = begun["publisher"].as_str().unwrap();
    data(&first, &["network", "add", "faulty", "--publisher", publisher]);
    data(&paid, &["account", "new", "--name", "payer"]);
    let payer = data(&paid, &["wallet", "address"])["address"].as_str().unwrap().to_owned();
    for to in [&*payer, OPERATOR, FORGER] {
        data(&first, &[&of_treasury[..], &["send", "25000", to, "--yes"]].concat());
    }
    let ether = |wei: &str| ask(&first, "anvil_setBalance", &json!([payer, wei]));
    ether("0x1");
    let elsewhere = |operator| ["--elsewhere", "--operator", operator];
    let (signed_node, forged_node) =
        (join(&signed, address, &elsewhere(OPERATOR)), join(&forged, address, &elsewhere(FORGER)));

    // The power fails at each step.
    let mut gas = String::new();
    for step in ["keys", "start", "reachable", "synced", "stake"] {
        let node = join(&lent, address, &[]);
        loop {
            let told = node.next().unwrap_or_else(|error| panic!("{step}: {error}"));
            if let Some((_, from)) = told["detail"].as_str().and_then(|it| it.split_once("submits from ")) {
                gas = from.to_owned();
            }
            if (told["step"].as_str(), told["state"].as_str()) == (Some(step), Some("done")) {
                break;
            }
        }
        signal(&node, Signal::KILL);
        node.ended();
    }
    let lent_node = join(&lent, address, &[]);

    // Its own coins are at stake: somebody has to agree to whose network that is, once, and nobody can be asked here.
    let message = fails(join(&paid, address, &["--yes"]), "not_agreed", 4);
    assert!(message.contains("of chain 31337") && message.contains(publisher), "{message}");
    declined(&paid, address);
    let named = ["--yes", "--publisher", publisher];
    let message = fails(join(&paid, address, &named), "too_little_ether", 1);
    assert!(message.contains("ETH more"), "{message}");
    ether("0xde0b6b3a7640000");
    interrupted(&paid, address);
    let paid_node = join(&paid, address, &["--yes"]);

    // Another wallet signs what it is told; what it changed on the way the nodes refuse.
    let right = to_sign(&signed_node);
    assert_eq!((&right["from"], &right["chain"]), (&json!(OPERATOR), &json!(31_337)));
    let all = right["transactions"].as_array().unwrap();
    assert!(all[0]["link"].as_str().unwrap().contains("/approve?address=0x"), "{right}");
    let said = &right["network"];
    assert_eq!((&said["publisher"], &said["known"]), (&json!(publisher), &json!(false)), "{right}");
    assert_eq!(said["contracts"]["staking"], all[1]["to"], "{right}");
    assert_eq!((&all[0]["link_complete"], &all[1]["link_complete"]), (&json!(true), &json!(false)));
    for one in all {
        send(&first, OPERATOR, &one["to"], &one["data"]).await;
    }
    let wrong = to_sign(&forged_node);
    for (number, one) in (0..).zip(wrong["transactions"].as_array().unwrap()) {
        let data = one["data"].as_str().unwrap();
        let data = if number == 0 { data.to_owned() } else { another_signature(data) };
        send(&first, FORGER, &one["to"], &json!(data)).await;
    }
    let (_, end) = forged_node.result();
    let error = end.unwrap_err();
    assert_eq!((error["code"].as_str(), forged_node.ended()), (Some("refused"), 1), "{error}");
    assert!(error["message"].as_str().unwrap().starts_with("active: "), "{error}");

    let [borrower, _] = [&lent_node, &paid_node].map(joined);
    let (_, end) = signed_node.result();
    assert!(end.unwrap()["swarm"].is_string());

    // Coins for a wallet, once a day.
    let wallet = ["--network", "faulty", "wallet", "faucet"];
    assert_eq!(data(&lent, &wallet)["sesh"], "25");
    let again = [&wallet[..], &["--json"]].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let error = refused(&lent, &again, "faucet", 3);
    assert!(error["message"].as_str().unwrap().contains("less than a day ago"), "{error}");
    // Whoever asks through a server on the faucet's machine counts where that saw them, and nobody else says so.
    let headers = "X-Forwarded-For: 198.51.100.9\r\n";
    let coins = |account: &str| {
        let wish = json!({ "account": account });
        post(&first, (first.ip.as_str(), 22_000), "/faucet/wallet", headers, &wish).unwrap()
    };
    let given = coins("0x7777777777777777777777777777777777777777");
    assert_eq!(given["data"]["sesh"], "25", "{given}");
    // An account that refuses ether from the moment on at which it has something was given that all the same.
    let turns = "0x8888888888888888888888888888888888888888";
    std::thread::scope(|all| {
        let asked = all.spawn(|| coins(turns));
        let has_something = || {
            let ether = ask(&first, "eth_getBalance", &json!([turns, "latest"]));
            ether.is_some_and(|wei| wei != "0x0") || !tokens(&first, turns.parse().unwrap()).is_zero()
        };
        while !asked.is_finished() && !has_something() {}
        ask(&first, "anvil_setCode", &json!([turns, "0x60006000fd"]));
        asked.join().unwrap();
    });
    let published = |name: &str| first.home().join("published").join(name);
    let grants: Value = serde_json::from_slice(&fs::read(published("coins.json")).unwrap()).unwrap();
    let prefixes: Vec<_> = grants.as_array().unwrap().iter().map(|grant| grant["prefix"].clone()).collect();
    let own = format!("{}.0/24", lent.ip.rsplit_once('.').unwrap().0);
    let (own_prefix, seen) = (json!(own), json!("198.51.100.0/24"));
    assert_eq!(prefixes, [own_prefix, seen.clone(), seen], "{grants}");

    // What the faucet could not send with a stake it sends when it is asked again.
    drop(lent_node);
    signal(&network, Signal::TERM);
    assert_eq!(network.ended(), 0);
    let mut loans: Value = serde_json::from_slice(&fs::read(published("faucet.json")).unwrap()).unwrap();
    assert_eq!(loans[&own]["owed"], json!([]), "all was sent: {loans}");
    loans[&own]["owed"] = json!([gas]);
    fs::write(published("faucet.json"), loans.to_string()).unwrap();
    ask(&first, "anvil_setBalance", &json!([gas, "0x0"]));
    let network = running(&first, &publish(&first, &["--lent", "100"]), "publish");
    network.next().unwrap();
    let again = join(&lent, address, &[]);
    let told = loop {
        let step = again.next().unwrap_or_else(|error| panic!("{error}"));
        if (step["step"].as_str(), step["state"].as_str()) == (Some("stake"), Some("done")) {
            break step["detail"].as_str().unwrap().to_owned();
        }
    };
    assert!(told.ends_with("; the faucet sent the ether that it owed"), "{told}");
    let now = ask(&first, "eth_getBalance", &json!([gas, "latest"])).unwrap();
    assert_ne!(now, "0x0");

    // Whoever published the network sees what is lent, takes out what is not, and has a lent node leave.
    let vault = ["--network", "faulty", "network", "vault"];
    let shown = data(&first, &vault);
    assert_eq!((&shown["owner"], &shown["lender"]["address"]), (&json!(TREASURY), &json!(faucet)), "{shown}");
    let all = shown["nodes"].as_array().unwrap();
    let (node, staked) = (&all[0]["node"], &all[0]["staked"]);
    assert_eq!((all.len(), node, staked), (1, &json!(borrower), &json!("25000")), "{shown}");
    let (has, unlent) = (tokens(&first, TREASURY.parse().unwrap()), &shown["unlent"]);
    let words = |more: &[&str]| -> Vec<String> {
        vault.iter().chain(more).chain(&["--json"]).map(|word| (*word).to_owned()).collect()
    };
    for deed in [["withdraw", "1.5"], ["recall", &*borrower]] {
        refused(&first, &words(&[&deed[..], &["--account", "other", "--yes"]].concat()), "not_owner", 1);
        refused(&first, &words(&deed), "not_confirmed", 4);
    }
    refused(&first, &words(&["recall", begun_node(&begun), "--yes"]), "not_lent", 1);
    let taken = data(&first, &[&vault[..], &["withdraw", "1.5", "--yes"]].concat());
    assert_eq!((&taken["amount"], &taken["to"]), (&json!("1.5"), &json!(TREASURY)), "{taken}");
    assert_eq!(tokens(&first, TREASURY.parse().unwrap()), has + U256::from(1_500_000_000_u64));
    assert_ne!(&data(&first, &vault)["unlent"], unlent);
    data(&first, &[&vault[..], &["recall", &*borrower, "--yes"]].concat());
    until("a node that leaves", async || {
        let shown = data(&first, &vault);
        (shown["nodes"].as_array()?.is_empty() || shown["nodes"][0]["unlocks"].is_u64()).then_some(())
    })
    .await;

    // The faucet's key is lost or taken: with the network's account, and only so, another one lends.
    signal(&network, Signal::TERM);
    assert_eq!(network.ended(), 0);
    assert_eq!(lender(&first), faucet);
    fs::remove_file(published("faucet/gas.key")).unwrap();
    let error = refused(&first, &publish(&first, &["--lent", "100"]), "other_lender", 4);
    assert!(error["message"].as_str().unwrap().contains(faucet), "{error}");
    assert_eq!(lender(&first), faucet);
    // And whoever was lent a stake was missing from all lists of a week: that account has the node leave.
    let loan = loans[&own]["loan"].as_str().unwrap();
    let missed = json!({ "looked": 0, "loans": { (loan): 7 * 24 } });
    fs::write(published("missed.json"), missed.to_string()).unwrap();
    let network = running(&first, &publish(&first, &["--lent", "100", "--account", "treasury"]), "publish");
    let begun = network.next().unwrap();
    assert_ne!(begun["faucet"].as_str(), Some(faucet));
    assert_eq!(begun["faucet"].as_str(), Some(&*lender(&first)));
    let loan = loan.parse().unwrap();
    let (stands, leaves) = standing(&first, loan);
    assert!(!stands || leaves, "nobody had it leave");
    // The faucet brings the stake back once a checkpoint has released it, and whoever borrowed it does nothing.
    until("a stake that is paid back", async || (!standing(&first, loan).0).then_some(())).await;
    until("a stake in the vault", async || tokens(&first, loan).is_zero().then_some(())).await;

    // The machine is lost: with what was backed up, as it says, the network goes on from an empty folder.
    let told = begun["backup"].as_str().unwrap();
    let backup = told.replacen("session", crate::support::binary().to_str().unwrap(), 1);
    let mut backup = first.command(Path::new("bash"), &["-c", &backup]);
    let ran = backup.env("SESSION_PASSPHRASE", "correct horse").output().unwrap();
    assert!(ran.status.success(), "{told}: {ran:?}");
    signal(&network, Signal::TERM);
    assert_eq!(network.ended(), 0);
    let (archive, folder) = (first.home().join("faulty.backup"), first.home().join("published"));
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o077, 0, "nobody else reads it");
    fs::rename(&folder, first.home().join("lost")).unwrap();
    let [file, at] = [&archive, &folder].map(|path| path.to_str().unwrap());
    let mut restore = first.session(&["key", "restore", file, "--data", at, "--json"]);
    let ran = ended(restore.env("SESSION_PASSPHRASE", "correct horse").spawn().unwrap(), "restore");
    assert_eq!((&ran.json()["data"]["id"], ran.code), (&begun["publisher"], 0), "{} {}", ran.out, ran.err);
    let left: Vec<_> =
        fs::read_dir(folder.join("node-1")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "node.key" || name == "gas.key"), "{left:?}");
    let network = running(&first, &publish(&first, &["--lent", "100"]), "publish");
    let restored = network.next().unwrap();
    for what in ["address", "faucet", "nodes"] {
        assert_eq!(restored[what], begun[what], "{what}");
    }
    drop(network);
}

/// The first of the nodes that a network began with.
fn begun_node(begun: &Value) -> &str {
    begun["nodes"][0].as_str().unwrap()
}

/// The account that lends from the vault.
fn lender(host: &Host) -> String {
    let lender = hex::encode_prefixed(Vault::lenderCall {}.abi_encode());
    let call = json!([{ "to": settlement(host).vault, "data": lender }, "latest"]);
    let told = ask(host, "eth_call", &call).unwrap();
    Address::from_word(told.as_str().unwrap().parse().unwrap()).to_string().to_lowercase()
}

/// Takes all that is to be lent out of the vault, as if it were lent. Says how much that was, and where.
async fn emptied(host: &Host) -> (Address, U256) {
    let vault = settlement(host).vault.unwrap();
    let all = tokens(host, vault);
    assert!(!all.is_zero());
    ask(host, "anvil_impersonateAccount", &json!([vault]));
    ask(host, "anvil_setBalance", &json!([vault, "0xde0b6b3a7640000"]));
    pay(host, &vault.to_string(), TREASURY.parse().unwrap(), all).await;
    (vault, all)
}

/// The tokens that an account has.
fn tokens(host: &Host, account: Address) -> U256 {
    let held = hex::encode_prefixed(Token::balanceOfCall { account }.abi_encode());
    let call = json!([{ "to": settlement(host).contracts.token, "data": held }, "latest"]);
    ask(host, "eth_call", &call).unwrap().as_str().unwrap().parse().unwrap()
}

/// Sends tokens of an account that anvil signs for.
async fn pay(host: &Host, from: &str, to: Address, value: U256) {
    let data = hex::encode_prefixed(Token::transferCall { to, value }.abi_encode());
    send(host, from, &json!(settlement(host).contracts.token), &json!(data)).await;
}

fn settlement(host: &Host) -> Settlement {
    let text = fs::read_to_string(host.home().join("published/network.toml")).unwrap();
    NetworkFile::parse(&text).unwrap().settlement.unwrap()
}

/// Whether the node of a loan is registered, and whether it is to leave.
fn standing(host: &Host, loan: Address) -> (bool, bool) {
    let view = |to: Address, data: Vec<u8>| {
        let call = json!([{ "to": to, "data": hex::encode_prefixed(data) }, "latest"]);
        hex::decode(ask(host, "eth_call", &call).unwrap().as_str().unwrap()).unwrap()
    };
    let staking = settlement(host).contracts.staking;
    let id = Loan::idCall::abi_decode_returns(&view(loan, Loan::idCall {}.abi_encode())).unwrap();
    let told = view(staking, Staking::stakeOfCall { id }.abi_encode());
    let stake = Staking::stakeOfCall::abi_decode_returns(&told).unwrap();
    (stake.registeredAt != 0, stake.exitRequestedAt != 0)
}

/// A registration that the node's key did not sign: one digit of the signature is another.
fn another_signature(data: &str) -> String {
    // Behind 0x and the selector come two words and the node's key.
    let digit = 2 + 8 + 64 * 3 + 20;
    let (before, behind) = data.split_at(digit);
    let other = if behind.starts_with('0') { '1' } else { '0' };
    format!("{before}{other}{}", &behind[1..])
}

/// Ctrl-C at the terminal while it is asked whether to pay ends the command at once.
fn interrupted(host: &Host, address: &str) {
    let (code, told) = at_a_terminal(host, address, "cost ", &[3]);
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("the node was stopped before it was active"), "{told}");
}

/// Says no when it is asked, at a terminal, whether it pays by a description that is new.
fn declined(host: &Host, address: &str) {
    let (code, told) = at_a_terminal(host, address, "signed by ", b"n\n");
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("nothing was signed"), "{told}");
}

/// Joins at a terminal, and types something once a line begins so. Returns the exit code, and what was told from there on.
fn at_a_terminal(host: &Host, address: &str, begins: &str, typed: &[u8]) -> (i32, String) {
    let line = format!("exec '{}' join '{address}'", crate::support::binary().display());
    let mut command: Command = host.command(Path::new("script"), &["-qefc", &line, "/dev/null"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut terminal = child.stdin.take().unwrap();
    let told = lines(child.stdout.take().unwrap());
    let mut before = Vec::new();
    while before.last().is_none_or(|line: &String| !line.trim_start().starts_with(begins)) {
        let line = told.recv_timeout(PATIENCE);
        before.push(
            line.unwrap_or_else(|error| panic!("no line begins with {begins:?}, {error}: {before:#?}")),
        );
    }
    terminal.write_all(typed).unwrap();
    let rest = std::thread::spawn(move || told.iter().collect::<String>());
    (ended(child, "join at a terminal").code, rest.join().unwrap())
}
