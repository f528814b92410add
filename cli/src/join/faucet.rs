//! Asks a test network's faucet for a stake.

use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;
use session_testnet::public::Ask;

use crate::failure::{Exit, Failure, chain};

/// How long the faucet may take: it dials the node, and waits for transactions.
const PATIENCE: Duration = Duration::from_secs(180);

/// What it lent.
#[derive(Debug, Deserialize)]
pub(super) struct Lent {
    pub(super) stake: String,
    pub(super) height: u64,
}

#[derive(Debug, Deserialize)]
struct Answer {
    data: Option<Lent>,
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    message: String,
    remedy: String,
}

/// Asks it.
pub(super) async fn ask(url: &str, ask: &Ask) -> Result<Lent, Failure> {
    let failed = |message: String, remedy: &str| Failure::new(Exit::NotReady, "faucet", message, remedy);
    let silent = |error: reqwest::Error| {
        let message = format!("the faucet at {url} does not answer: {}", chain(&error.without_url()));
        failed(message, "type the same command again later, or stake tokens of your own: --account NAME")
    };
    let client = Client::builder().timeout(PATIENCE).build().map_err(silent)?;
    let answer = client.post(url).json(ask).send().await.map_err(silent)?;
    let status = answer.status();
    let answer: Answer = answer.json().await.map_err(|_| {
        let message = format!(
            "the faucet at {url} answers with HTTP {}, and with nothing that a faucet says",
            status.as_u16()
        );
        failed(message, "ask whoever publishes the network, or stake tokens of your own: --account NAME")
    })?;
    match answer {
        Answer { data: Some(lent), .. } => Ok(lent),
        Answer { error: Some(Refusal { message, remedy }), .. } => {
            Err(failed(format!("the faucet lends nothing: {message}"), &remedy))
        }
        Answer { .. } => Err(failed(
            format!("the faucet at {url} says neither yes nor no"),
            "ask whoever publishes the network",
        )),
    }
}
