//! Stands between a follower and its endpoint, and spoils what passes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// What the proxy does to answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Gives a page.
    Html,
    /// Answers with a status.
    Http(u16),
    /// Says nothing: longer than anybody's patience.
    Silent,
    /// Says that it serves another chain.
    OtherChain,
    /// Leaves out the first log of each answer.
    Drops,
    /// Leaves out all logs.
    Hides,
    /// Leaves out the logs of each block until it was asked for them so often.
    Delays(u64),
    Repeats,
    Reorders,
    /// Changes the data of the first log.
    Forges,
    /// Gives every block another hash than it has.
    OtherBlocks,
    /// Refuses more than so many blocks.
    Narrow(u64),
    /// Has no logs of blocks up to this one any more, and says so.
    Prunes(u64),
    /// The same, and says that there are none.
    Forgets(u64),
    /// Its final block stays where it is.
    Stale(Value),
    /// Passes transactions on, and loses the answer.
    Loses,
    /// Passes transactions on, and answers with an error that says this.
    Denies(&'static str),
    /// Knows of no receipt.
    Unreceipted,
    /// Says so often, as a machine that is behind, that an account sent one transaction less, and that no contract is
    /// where one is; and does not know blocks by their hashes.
    Lags(u64),
    /// Says another text wherever it should say one, and takes it for that one.
    Swaps {
        from: String,
        to: String,
    },
}

pub struct Proxy {
    pub url: String,
    state: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    client: reqwest::Client,
    upstream: Mutex<String>,
    fault: Mutex<Fault>,
    asked: Mutex<BTreeMap<String, u64>>,
    /// How often logs of a block would have been given.
    due: Mutex<BTreeMap<String, u64>>,
    heard: Mutex<String>,
}

impl Proxy {
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Shared {
            client: reqwest::Client::new(),
            upstream: Mutex::new(upstream.to_owned()),
            fault: Mutex::new(Fault::None),
            asked: Mutex::default(),
            due: Mutex::default(),
            heard: Mutex::default(),
        });
        let router = Router::new().fallback(pass).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, task }
    }

    pub fn set(&self, fault: Fault) {
        self.state.due.lock().unwrap().clear();
        *self.state.fault.lock().unwrap() = fault;
    }

    pub fn lead_to(&self, upstream: &str) {
        *self.state.upstream.lock().unwrap() = upstream.to_owned();
    }

    /// How often it was asked for the final block, and anything at all.
    pub fn asked(&self) -> (u64, u64) {
        let asked = self.state.asked.lock().unwrap();
        (asked.get("finalized").copied().unwrap_or_default(), asked.values().sum())
    }

    /// Whether it was ever told a text.
    pub fn heard(&self, text: &str) -> bool {
        self.state.heard.lock().unwrap().contains(text)
    }

    pub fn name(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(state): State<Arc<Shared>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let method = request["method"].as_str().unwrap_or_default().to_owned();
    let is_final = request["params"][0] == "finalized";
    let counted = if is_final { "finalized".to_owned() } else { method.clone() };
    *state.asked.lock().unwrap().entry(counted).or_default() += 1;
    state.heard.lock().unwrap().push_str(&String::from_utf8_lossy(&body));
    let fault = state.fault.lock().unwrap().clone();
    let number = |key: &str| {
        let text = request["params"][0][key].as_str().unwrap();
        u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
    };
    match &fault {
        Fault::Html => return "<html>We will be back soon</html>".into_response(),
        Fault::Http(status) => return StatusCode::from_u16(*status).unwrap().into_response(),
        Fault::Silent => std::future::pending().await,
        Fault::Stale(header) if is_final => {
            return json!({ "jsonrpc": "2.0", "id": request["id"], "result": header })
                .to_string()
                .into_response();
        }
        Fault::Prunes(last) if method == "eth_getLogs" && number("fromBlock") <= *last => {
            let error = json!({ "code": 4444, "message": "pruned history unavailable" });
            return json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })
                .to_string()
                .into_response();
        }
        Fault::Narrow(most)
            if method == "eth_getLogs" && number("toBlock") - number("fromBlock") >= *most =>
        {
            let error = json!({ "code": -32602, "message": format!("block range exceeds {most}") });
            let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "error": error });
            return (StatusCode::BAD_REQUEST, answer.to_string()).into_response();
        }
        _ => {}
    }
    let upstream = state.upstream.lock().unwrap().clone();
    let Ok(answer) = state
        .client
        .post(upstream)
        .header("content-type", "application/json")
        .body(meant(&fault, body))
        .send()
        .await
    else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    if fault == Fault::Loses && method == "eth_sendRawTransaction" {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let answer = answer.bytes().await.unwrap();
    if let Fault::Swaps { from, to } = &fault {
        return String::from_utf8(answer.to_vec()).unwrap().replace(from, to).into_response();
    }
    let mut answer: Value = serde_json::from_slice(&answer).unwrap();
    match fault {
        Fault::Denies(message) if method == "eth_sendRawTransaction" => {
            let error = json!({ "code": -32000, "message": message });
            answer = json!({ "jsonrpc": "2.0", "id": request["id"], "error": error });
        }
        Fault::Unreceipted if method == "eth_getTransactionReceipt" => answer["result"] = Value::Null,
        Fault::Lags(times) => {
            if let Some(result) = behind(&request, &answer["result"]) {
                let mut due = state.due.lock().unwrap();
                let said = due.entry(method.clone()).or_default();
                *said += 1;
                if *said <= times {
                    let (id, error) = (&request["id"], json!({ "code": -32000, "message": "unknown block" }));
                    answer = match result {
                        Some(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
                        None => json!({ "jsonrpc": "2.0", "id": id, "error": error }),
                    };
                }
            }
        }
        _ => {}
    }
    if fault == Fault::OtherChain && method == "eth_chainId" {
        answer["result"] = json!("0x1");
    }
    if fault == Fault::OtherBlocks {
        rehash(&mut answer["result"]);
    }
    let logs = answer.get_mut("result").and_then(Value::as_array_mut);
    if let Some(logs) = logs.filter(|logs| method == "eth_getLogs" && !logs.is_empty()) {
        match fault {
            Fault::Drops => drop(logs.remove(0)),
            Fault::Hides => logs.clear(),
            Fault::Delays(times) => {
                let mut due = state.due.lock().unwrap();
                let block = |log: &Value| log["blockNumber"].as_str().unwrap().to_owned();
                let blocks: BTreeSet<_> = logs.iter().map(block).collect();
                blocks.into_iter().for_each(|block| *due.entry(block).or_default() += 1);
                logs.retain(|log| due[&block(log)] > times);
            }
            Fault::Forgets(last) => logs.retain(|log| {
                let block = log["blockNumber"].as_str().unwrap().trim_start_matches("0x");
                u64::from_str_radix(block, 16).unwrap() > last
            }),
            Fault::Repeats => logs.insert(0, logs[0].clone()),
            Fault::Reorders => logs.reverse(),
            Fault::Forges => {
                let data = logs[0]["data"].as_str().unwrap();
                logs[0]["data"] = json!(format!("{}{}", &data[..data.len() - 2], "99"));
            }
            _ => {}
        }
    }
    answer.to_string().into_response()
}

/// What a request asks for in truth.
fn meant(fault: &Fault, body: Bytes) -> Bytes {
    let Fault::Swaps { from, to } = fault else { return body };
    String::from_utf8(body.to_vec()).unwrap().replace(to, from).into()
}

/// What was answered before the last transaction, or nothing of a block that was not there; none to what is no question
/// about that.
fn behind(request: &Value, result: &Value) -> Option<Option<Value>> {
    let count = || u64::from_str_radix(result.as_str()?.strip_prefix("0x")?, 16).ok()?.checked_sub(1);
    let by_hash = request["params"][1].as_str().is_some_and(|block| block.len() == 66);
    let method = request["method"].as_str()?;
    match method {
        "eth_getTransactionCount" | "eth_getCode" if by_hash => Some(None),
        "eth_getTransactionCount" => count().map(|count| Some(json!(format!("{count:#x}")))),
        "eth_getCode" if result != "0x" => Some(Some(json!("0x"))),
        _ => None,
    }
}

/// Gives blocks other hashes, wherever they are named: the chain still fits itself.
fn rehash(value: &mut Value) {
    if let Value::Array(all) = value {
        return all.iter_mut().for_each(rehash);
    }
    for key in ["hash", "parentHash", "blockHash"] {
        if let Some(hash) = value.get(key).and_then(Value::as_str) {
            let digit = if hash.ends_with('0') { '1' } else { '0' };
            value[key] = json!(format!("{}{digit}", &hash[..hash.len() - 1]));
        }
    }
}
