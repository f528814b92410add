//! Endpoints that say of a payment that it failed, and what that is worth.

use session_client::{
    Account,
    home::{Hex, Home},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{args::Global, output::Output, wallet::silent};

/// The chain of [`silent`].
const CHAIN: u64 = 7;
const TRANSACTION: [u8; 32] = [9; 32];
const HEIGHT: u64 = 5;

/// What an endpoint says of the transaction.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// That there is none.
    Nothing,
    /// That it had no effect, in a block with a hash of this byte, where blocks up to a height are final.
    Failed { block: u8, last_final: u64 },
}

use Says::{Failed, Nothing};

/// An endpoint of the chain that knows of one transaction alone.
async fn endpoint(says: Says, from: Address, to: Address) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The request comes in one or two pieces, and ends with its body.
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") {
                stream.read_buf(&mut asked).await.unwrap();
            }
            let body = asked.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let request: Value = serde_json::from_slice(&asked[body..]).unwrap();
            let result = answer(says, &request, from, to);
            let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: \
                 close\r\n\r\n",
                answer.len()
            );
            let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
        }
    });
    format!("http://{address}")
}

fn answer(says: Says, request: &Value, from: Address, to: Address) -> Value {
    let hash = B256::from(TRANSACTION);
    let method = request["method"].as_str().unwrap();
    let Failed { block, last_final } = says else {
        return match method {
            "eth_chainId" => json!(format!("{CHAIN:#x}")),
            "eth_getBlockByNumber" => header(100, 100),
            _ => Value::Null,
        };
    };
    match method {
        "eth_chainId" => json!(format!("{CHAIN:#x}")),
        "eth_getBlockByNumber" if request["params"][0] == "finalized" => header(last_final, 100),
        "eth_getBlockByNumber" => header(HEIGHT, block),
        "eth_getTransactionByHash" => json!({
            "hash": hash, "nonce": "0x0", "blockHash": B256::repeat_byte(block), "blockNumber": "0x5",
            "transactionIndex": "0x0", "from": from, "to": to, "value": "0x5", "gasPrice": "0x1",
            "gas": "0x5208", "maxFeePerGas": "0x2", "maxPriorityFeePerGas": "0x1", "input": "0x",
            "r": "0x1", "s": "0x1", "v": "0x0", "yParity": "0x0", "chainId": "0x7", "accessList": [],
            "type": "0x2",
        }),
        "eth_getTransactionReceipt" => json!({
            "transactionHash": hash, "blockHash": B256::repeat_byte(block), "blockNumber": "0x5",
            "transactionIndex": "0x0", "from": from, "to": to, "contractAddress": null, "gasUsed": "0x5208",
            "cumulativeGasUsed": "0x5208", "effectiveGasPrice": "0x1", "logs": [], "status": "0x0",
            "type": "0x2", "logsBloom": format!("0x{}", "00".repeat(256)),
        }),
        other => panic!("nobody should ask {other}"),
    }
}

/// A block of a height, with a hash of this byte.
fn header(height: u64, byte: u8) -> Value {
    let (zero, number) = (B256::ZERO, format!("{height:#x}"));
    json!({
        "hash": B256::repeat_byte(byte), "parentHash": zero, "sha3Uncles": zero, "miner": Address::ZERO,
        "stateRoot": zero, "transactionsRoot": zero, "receiptsRoot": zero, "difficulty": "0x0",
        "logsBloom": format!("0x{}", "00".repeat(256)), "number": number, "gasLimit": "0x1", "gasUsed": "0x0",
        "timestamp": "0x1", "extraData": "0x", "mixHash": zero, "nonce": "0x0000000000000000",
        "transactions": [], "uncles": [],
    })
}

#[tokio::test]
async fn a_payment_is_void_once_every_endpoint_says_so_for_good_and_no_sooner() {
    let last = Failed { block: 1, last_final: HEIGHT };
    let young = Failed { block: 1, last_final: HEIGHT - 1 };
    for (says, is_void) in [
        // The one that was to send it keeps it back, and says that it failed: it may be released once it is paid again.
        ([last, Nothing], false),
        ([Nothing, last], false),
        // Its block may be replaced by one in which it pays.
        ([young, young], false),
        ([last, young], false),
        // Two chains, of which one has it in another place.
        ([last, Failed { block: 2, last_final: HEIGHT }], false),
        ([last, last], true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        let me = Account::new(&[1; 16]);
        home.create_account("me", &me).unwrap();
        let signer = session_chain::account::signer(me.seed());
        let (from, to) = (signer.address(), Address::repeat_byte(2));
        let mut settlement = silent();
        for one in says {
            settlement.rpc.push(endpoint(one, from, to).await);
        }
        let (id, global) =
            (me.id(), Global { json: true, home: None, network: None, named: false, direct: false });
        let context = crate::Context { output: Output::new(true), global };
        let till = Till { context: &context, home, name: "me".to_owned(), id, signer, settlement };
        let payment = Outgoing {
            from: Hex(from.into_array()),
            to: Hex(to.into_array()),
            called: "bob".to_owned(),
            whom: None,
            chain: CHAIN,
            token: None,
            units: 5,
            nonce: 0,
            transactions: vec![Hex(TRANSACTION)],
            signed_ms: 1,
            is_open: true,
        };
        assert_eq!(till.home.begin_payment(&id, payment.clone(), false).unwrap(), None);
        let refused = till.refuse_twice(&payment).await.err();
        assert_eq!(refused.as_ref().map(|it| it.code), (!is_void).then_some("payment_open"), "{says:?}");
        assert_eq!(till.home.outgoing(&id).unwrap()[0].is_open, !is_void, "{says:?}");
        if let Some(refused) = refused {
            assert!(refused.message.contains("nothing is paid now"), "{}", refused.message);
            assert!(refused.remedy.contains("--again"), "{}", refused.remedy);
            // Whom there is nothing to tell of a payment that may have failed is told to wait.
            let tells = ["--paid", "once that block is final"].iter().any(|way| refused.remedy.contains(way));
            assert!(tells, "{}", refused.remedy);
        }
    }
}
