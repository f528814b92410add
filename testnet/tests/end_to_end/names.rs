//! A name is registered and points at an account: what is sent to it arrives, and a change is not followed unasked.

use std::time::Duration;

use alloy::{
    primitives::{Address, B256, U256},
    sol,
    sol_types::SolCall,
};
use serde_json::Value as Json;
use session_chain::{
    Amount, account,
    settlement::{Call, Delivery, Endpoint, Sender, calls::Token},
};
use session_protocols::names::{COST, Kind, NameKeys, Value};

use crate::support::{Place, until};

sol! {
    interface Names {
        function commit(bytes32 commitment) external;
        function register(uint256 id, address owner, uint256 period, bytes32 secret, uint256 mostFee) external;
        function setRecord(uint256 id, uint8 kind, bytes value) external;
    }
}

/// What the owner of the name has.
const FUNDS: Amount = Amount::sesh(100_000);
const YEAR: u64 = 365 * 24 * 3_600;
const SECRET: B256 = B256::repeat_byte(7);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_a_name_arrives_and_a_change_is_asked_about() {
    let place = Place::new();
    let up = place.data(&["testnet", "up", "--nodes", "6"]);
    let network = up["network"].as_str().unwrap();
    let [_, reader, other] = ["author", "reader", "other"]
        .map(|name| place.data(&["account", "new", "--name", name])["id"].as_str().unwrap().to_owned());
    let send = |to: &str, text: &str, more: &[&str]| {
        place
            .run(&[&["send", "--network", network, "--json", "--from", "author"], more, &[to, text]].concat())
    };
    let code =
        |ran: &crate::support::Ran| ran.json()["error"]["code"].as_str().unwrap_or_default().to_owned();

    // Nobody has it, which is proven.
    let ran = send("@alice", "to nobody", &[]);
    assert_eq!((ran.code, code(&ran).as_str()), (1, "name_free"), "{}", ran.out);
    let ran = send("alice", "to nobody", &[]);
    assert_eq!((ran.code, code(&ran).as_str()), (1, "unknown_name"), "{}", ran.out);

    // It is registered, and leads to the reader.
    let mut owner = Owner::of(&place).await;
    owner.register().await;
    owner.point(&reader).await;
    let shown = leads_to(&place, &reader).await;
    assert_eq!(
        (&shown["name"], &shown["revealed"], &shown["price"]),
        (&"alice".into(), &false.into(), &Json::Null)
    );
    assert_eq!(
        (&shown["id"], &shown["owner"]),
        (&owner.keys.id().to_string().into(), &owner.address().into())
    );
    assert!(shown["expires"].as_u64().unwrap() > 1_700_000_000_000 + YEAR * 1_000, "{shown}");
    for (to, text, more) in
        [("@alice", "by name", &[][..]), ("alice", "bare", &[]), ("@Alice", "straight", &["--direct"])]
    {
        let ran = send(to, text, more);
        assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
        assert_eq!(ran.json()["data"]["to"], reader.as_str());
    }
    let inbox = place.data(&["inbox", "--network", network, "--account", "reader"]).to_string();
    assert!(["by name", "bare", "straight"].iter().all(|text| inbox.contains(text)), "{inbox}");
    assert_eq!(place.data(&["testnet", "status"])["names"], 1);

    // It leads to somebody else: nothing is sent until the author agrees.
    owner.point(&other).await;
    leads_to(&place, &other).await;
    let ran = send("@alice", "not meant for others", &[]);
    assert_eq!((ran.code, code(&ran).as_str()), (4, "name_changed"), "{}", ran.out);
    let error = ran.json()["error"].to_string();
    assert!([reader.as_str(), &other, "--follow"].iter().all(|part| error.contains(part)), "{error}");
    for more in [&["--follow"][..], &[]] {
        let ran = send("@alice", "meant for others", more);
        assert_eq!((ran.code, &ran.json()["data"]["to"]), (0, &other.as_str().into()), "{}", ran.out);
    }
    let inbox = place.data(&["inbox", "--network", network, "--account", "other"]).to_string();
    assert!(inbox.contains("meant for others") && !inbox.contains("not meant"), "{inbox}");

    // The address book comes first, for who writes no @.
    place.data(&["contact", "add", "alice", &reader]);
    assert_eq!(send("alice", "to the contact", &[]).json()["data"]["to"], reader.as_str());
    assert_eq!(send("@alice", "to the name", &[]).json()["data"]["to"], other.as_str());
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

/// Waits until nodes have signed that the name leads to an account; what is shown of it.
async fn leads_to(place: &Place, account: &str) -> Json {
    until("the nodes to sign where the name leads", async || {
        let ran = place.run(&["name", "show", "alice", "--json"]);
        (ran.code == 0)
            .then(|| ran.json()["data"].clone())
            .filter(|shown| shown["records"]["account"] == account)
    })
    .await
}

/// Whoever registers the name, at the contract.
struct Owner {
    sender: Sender,
    endpoint: Endpoint,
    token: Address,
    names: Address,
    keys: NameKeys,
}

impl Owner {
    async fn of(place: &Place) -> Self {
        let signer = account::signer(&[77; 16]);
        place.testnet.fund(signer.address(), FUNDS).await.unwrap();
        let settlement = place.testnet.folder().network().unwrap().settlement.unwrap();
        let endpoint = Endpoint::new(&settlement.rpc[0]).unwrap();
        let (poll, patience) = (Duration::from_millis(20), Duration::from_secs(20));
        let delivery = Delivery { poll, patience, confirmations: 1 };
        let sender = Sender::new(&endpoint, signer, settlement.chain, delivery);
        let (token, names) = (settlement.contracts.token, settlement.contracts.names);
        let keys = NameKeys::of(&"alice".parse().unwrap(), COST).unwrap();
        Self { sender, endpoint, token, names, keys }
    }

    fn address(&self) -> String {
        self.sender.account().to_string()
    }

    async fn send(&mut self, to: Address, data: Vec<u8>) {
        let call = Call { to: Some(to), data: data.into(), ..Call::default() };
        self.sender.send(&call, |_| {}).await.unwrap();
    }

    /// The seconds of the newest block.
    async fn time(&self) -> Option<u64> {
        let block = serde_json::json!(["latest", false]);
        let block: Json = self.endpoint.rpc().request("eth_getBlockByNumber", block).await.ok()?;
        u64::from_str_radix(block["timestamp"].as_str()?.trim_start_matches("0x"), 16).ok()
    }

    /// Commits, waits the minute that it takes, and registers.
    async fn register(&mut self) {
        let (id, owner) = (U256::from_be_bytes(*self.keys.id().as_bytes()), self.sender.account());
        let committed =
            alloy::primitives::keccak256(alloy::sol_types::SolValue::abi_encode(&(id, owner, SECRET)));
        self.send(self.token, Token::approveCall { spender: self.names, value: FUNDS.units() }.abi_encode())
            .await;
        self.send(self.names, Names::commitCall { commitment: committed }.abi_encode()).await;
        let from = self.time().await.unwrap();
        until("the commitment to be a minute old", async || (self.time().await? > from + 60).then_some(()))
            .await;
        let (period, most) = (U256::from(YEAR), FUNDS.units());
        let register = Names::registerCall { id, owner, period, secret: SECRET, mostFee: most };
        self.send(self.names, register.abi_encode()).await;
    }

    /// Points the name at an account.
    async fn point(&mut self, to: &str) {
        let value = self.keys.seal(1, &Value::parse(Kind::Account, to).unwrap()).into();
        let id = U256::from_be_bytes(*self.keys.id().as_bytes());
        let set = Names::setRecordCall { id, kind: Kind::Account.number(), value };
        self.send(self.names, set.abi_encode()).await;
    }
}
