//! Submissions that cannot be paid, or that the contract refuses: what an operator sees of them, and until when.

use std::sync::Mutex;

use alloy::primitives::{U256, keccak256};
use axum::{Router, body::Bytes, extract::State};
use serde_json::{Value, json};
use session_chain::Input as LedgerInput;
use session_protocols::identity::blake2b;

use super::*;

/// A chain of one account, on which nothing is mined unless it is said so.
#[derive(Default)]
struct Fake {
    balance: Mutex<U256>,
    /// What the contract reverts with, if it does.
    refuses: Mutex<Option<Vec<u8>>>,
    /// Whether it says what it is asked, until something is sent: that it takes, and says nothing.
    loses: bool,
    /// Whether all that is sent is in a block at once.
    mines: bool,
    /// What waits of the fees for names; none says nothing.
    fees: Option<u64>,
    /// Whether it lets whoever asks for them wait for ever.
    stalls: bool,
    /// How often it was asked what a submission costs.
    asked: Mutex<u64>,
}

impl Fake {
    async fn start() -> (Arc<Self>, Endpoint) {
        Self::serve(Self::default()).await
    }

    async fn serve(self) -> (Arc<Self>, Endpoint) {
        let fake = Arc::new(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rpc = Endpoint::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (fake, rpc)
    }

    fn asked(&self) -> u64 {
        *self.asked.lock().unwrap()
    }

    fn fund(&self, wei: u64) {
        *self.balance.lock().unwrap() = U256::from(wei);
    }

    /// Refuses with an error of two numbers.
    fn refuse(&self, signature: &str, numbers: [u64; 2]) {
        let [one, other] = numbers.map(|number| U256::from(number).to_be_bytes::<32>());
        let selector = &keccak256(signature)[..4];
        *self.refuses.lock().unwrap() = Some([selector, &one, &other].concat());
    }
}

async fn answer(State(fake): State<Arc<Fake>>, body: Bytes) -> String {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let refusal = fake.refuses.lock().unwrap().clone();
    let method = request["method"].as_str().unwrap();
    *fake.asked.lock().unwrap() += u64::from(method == "eth_estimateGas");
    if fake.stalls && method == "eth_call" {
        std::future::pending::<()>().await;
    }
    let result = match method {
        "eth_blockNumber" | "eth_getTransactionCount" if fake.loses || fake.mines => json!("0x1"),
        "eth_sendRawTransaction" if fake.mines => json!(B256::ZERO),
        "eth_getTransactionReceipt" if fake.mines => receipt(&request["params"][0]),
        "eth_call" if fake.fees.is_some() => json!(fake.fees.map(|fees| format!("0x{fees:064x}"))),
        "eth_sendRawTransaction" if fake.loses => return String::new(),
        "eth_chainId" => json!("0x1"),
        "eth_getBalance" => json!(*fake.balance.lock().unwrap()),
        "eth_estimateGas" => match refusal {
            Some(data) => {
                let data = format!("0x{}", data_encoding::HEXLOWER.encode(&data));
                let error = json!({ "code": 3, "message": "execution reverted", "data": data });
                return json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }).to_string();
            }
            None => json!("0x100"),
        },
        "eth_feeHistory" => json!({
            "oldestBlock": "0x1", "baseFeePerGas": ["0x1", "0x1"], "gasUsedRatio": [0.5], "reward": [["0x1"]]
        }),
        // It is sent in vain.
        _ => Value::Null,
    };
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string()
}

/// Of a transaction that had its effect.
fn receipt(hash: &Value) -> Value {
    let (nobody, bloom) = (format!("0x{}", "00".repeat(20)), format!("0x{}", "00".repeat(256)));
    json!({
        "transactionHash": hash, "transactionIndex": "0x0", "blockHash": B256::ZERO, "blockNumber": "0x1",
        "from": nobody, "to": nobody, "contractAddress": null, "type": "0x2", "status": "0x1",
        "gasUsed": "0x1", "cumulativeGasUsed": "0x1", "effectiveGasPrice": "0x1", "logs": [], "logsBloom": bloom,
    })
}

impl World {
    /// The ledger crosses a border after which it is this node's turn first, and enough of the others sign. It has a
    /// turn again half an epoch later.
    async fn turn(&mut self) -> Checkpoint {
        let first = |hash: &u8| {
            let (epoch, height) = (self.ledger.epoch(), self.ledger.epoch() + 2);
            let border = Border { epoch, height, hash: [*hash; 32].into(), cursors: <_>::default() };
            let (_, checkpoint) = self.ledger.clone().cross(border, B256::ZERO).unwrap();
            let lot = |id: u64| blake2b(&[checkpoint.digest.as_slice(), &id.to_be_bytes()]);
            (2..=self.pairs.len() as u64).all(|other| lot(1) < lot(other))
        };
        let hash = (1..=u8::MAX).find(first).expect("one in five");
        let checkpoint = self.cross(hash);
        let Said::Share(_) = self.said().await else { panic!("it signs") };
        for node in 1..4 {
            assert_eq!(self.judged(0, self.share(node, &checkpoint).to_bytes()).await, Verdict::Accept);
        }
        checkpoint
    }

    /// Waits until what is told of submissions is like that.
    async fn trouble(&self, is: impl Fn(Option<&str>) -> bool) {
        let mut told = self.told.clone();
        let waited = timeout(PATIENCE, told.wait_for(|told| is(told.trouble.as_deref()))).await;
        waited.expect("it is told").unwrap();
    }

    /// Waits until the account is told to have so much.
    async fn gas(&self, wei: u64) {
        let mut told = self.told.clone();
        let waited = timeout(PATIENCE, told.wait_for(|told| told.gas == Some(U256::from(wei)))).await;
        waited.expect("it is told").unwrap();
    }

    fn submissions(&self, outcome: &str) -> u64 {
        self.metrics.checkpoint_submissions_total.with_label_values(&[outcome]).get()
    }
}

#[tokio::test]
async fn too_little_ether_is_told_until_there_is_enough() {
    let (fake, rpc) = Fake::start().await;
    let mut world = World::paying(5, [rpc]);
    world.turn().await;
    world.trouble(|told| told.is_some_and(|told| told.contains("has 0 ETH and needs"))).await;
    assert_eq!(world.submissions("failed"), 1);
    // The follower looks at the chain every few seconds.
    fake.fund(1);
    world.status.send_modify(|status| status.height += 1);
    world
        .trouble(|told| told.is_some_and(|told| told.contains("has 0.000000000000000001 ETH and needs")))
        .await;
    fake.fund(1_000_000);
    world.status.send_modify(|status| status.height += 1);
    world.trouble(|told| told.is_none()).await;
    assert_eq!(world.submissions("failed"), 1, "nothing was tried since");
}

#[tokio::test]
async fn what_the_account_has_is_known_before_it_is_needed_and_looked_at_each_epoch() {
    let (fake, rpc) = Fake::start().await;
    fake.fund(7);
    let mut world = World::paying(5, [rpc]);
    world.gas(7).await;
    fake.fund(1_000_000);
    world.cross(1);
    world.gas(1_000_000).await;
}

#[tokio::test]
async fn what_the_contract_refuses_is_told_until_it_takes_a_checkpoint() {
    let (fake, rpc) = Fake::start().await;
    fake.fund(1_000_000);
    let mut world = World::paying(5, [rpc]);
    fake.refuse("TooFewNodes(uint256,uint256)", [5, 6]);
    let checkpoint = world.turn().await;
    world
        .trouble(|told| told.is_some_and(|told| told.contains("there were 5 nodes and checkpoints take 6")))
        .await;
    world
        .trouble(|told| told.is_some_and(|told| told.ends_with("; wait until more nodes are registered")))
        .await;
    assert_eq!((world.submissions("refused"), world.submissions("failed")), (1, 0));
    // Another node had more luck.
    let accept = LedgerInput::Accept { epoch: 0, submitter: [1; 20].into(), digest: checkpoint.digest };
    let time = world.ledger.border() - 1;
    world.ledger.apply(&Block { height: 9, time, inputs: vec![accept] }).unwrap();
    world.show(&checkpoint);
    world.trouble(|told| told.is_none()).await;
}

#[tokio::test]
async fn that_another_node_was_quicker_is_no_trouble() {
    let (fake, rpc) = Fake::start().await;
    fake.fund(1_000_000);
    let mut world = World::paying(5, [rpc]);
    fake.refuse("EpochTaken(uint64,uint64)", [0, 1]);
    world.turn().await;
    let taken = async {
        while world.submissions("taken") == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, taken).await.expect("it has tried");
    assert_eq!((world.told.borrow().trouble.as_deref(), world.submissions("refused")), (None, 0));
}

#[tokio::test]
async fn whose_checkpoint_is_taken_has_fees_paid_out_and_that_it_cannot_is_no_trouble() {
    // Nobody says what waits, it is too little, it is enough.
    for (fees, sent) in [(None, 1), (Some(9_999_999_999), 1), (Some(10_000_000_000), 2)] {
        let (fake, rpc) = Fake { mines: true, fees, ..Fake::default() }.serve().await;
        fake.fund(1_000_000);
        let mut world = World::paying(5, [rpc]);
        world.turn().await;
        let mined = async {
            while world.submissions("mined") == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, mined).await.expect("it is submitted");
        // The account is looked at again once the fees are done with.
        fake.fund(2_000_000);
        let looked = async {
            while world.told.borrow().gas != Some(U256::from(2_000_000)) {
                world.status.send_modify(|status| status.height += 1);
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, looked).await.expect("its sender comes back");
        assert_eq!((fake.asked(), world.told.borrow().trouble.as_deref()), (sent, None), "{fees:?}");
    }
}

#[tokio::test]
async fn that_a_submission_was_taken_is_told_before_fees_are_paid_out() {
    let (fake, rpc) = Fake { mines: true, stalls: true, ..Fake::default() }.serve().await;
    fake.fund(1_000_000);
    let mut world = World::paying(5, [rpc]);
    world.turn().await;
    let mined = async {
        while world.submissions("mined") == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, mined).await.expect("it is told");
}

#[tokio::test]
async fn nothing_is_submitted_that_the_contract_takes_of_more_nodes_only() {
    let (_fake, rpc) = Fake::start().await;
    let mut world = World::paying(5, [rpc]);
    for (epoch, nodes) in [(0, 6), (1, 5)] {
        let (height, time) = (world.ledger.height() + 1, world.ledger.border() - 1);
        let inputs = vec![LedgerInput::ChangeMinimumNodes { nodes }];
        world.ledger.apply(&Block { height, time, inputs }).unwrap();
        assert_eq!(world.turn().await.border.epoch, epoch);
    }
    // There is nothing to pay the second with, and the first was never tried.
    world.trouble(|told| told.is_some_and(|told| told.contains("has 0 ETH"))).await;
    assert_eq!(world.submissions("failed"), 1);
}

#[tokio::test]
async fn what_came_to_nothing_over_one_endpoint_is_tried_over_another() {
    for loses in [false, true] {
        let [(first, one), (second, two)] = {
            let fake = || Fake { loses, ..Fake::default() };
            [fake().serve().await, fake().serve().await]
        };
        first.fund(1_000_000);
        second.fund(1_000_000);
        let mut world = World::paying(5, [one, two]);
        for (times, asked) in (1..).zip([(1, 0), (1, 1), (2, 1)]) {
            world.turn().await;
            let failed = async {
                while world.submissions("failed") < times {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, failed).await.expect("it has tried");
            assert_eq!((first.asked(), second.asked()), asked, "time {times}, answers lost: {loses}");
        }
    }
}
