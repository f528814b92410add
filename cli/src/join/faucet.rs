//! Asks a test network's faucet: for a node's stake, or for a wallet's coins.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::sleep;

use crate::{
    failure::{Exit, Failure, chain},
    text,
};

/// How long the faucet may take: it dials the node, and waits for transactions.
const PATIENCE: Duration = Duration::from_secs(180);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;
/// The most characters of its own words that are shown.
const MAX_WORDS: usize = 500;
/// How often one that is busy is asked again.
const MAX_AGAIN: u32 = 3;
/// The longest that it is waited for each time, in seconds.
const MAX_PAUSE: u64 = 120;

#[derive(Debug, Deserialize)]
struct Answer<T> {
    data: Option<T>,
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    code: String,
    message: String,
    remedy: String,
}

/// Asks it, and again after a while where it is busy. `own` is what else there is, and `doing` is told what is waited
/// for.
pub(crate) async fn ask<T: DeserializeOwned>(
    url: &str,
    ask: &impl Serialize,
    own: &str,
    doing: impl Fn(String),
) -> Result<T, Failure> {
    let silent = |error: reqwest::Error| {
        let message = format!("the faucet at {url} does not answer: {}", chain(&error.without_url()));
        failed(message, format!("type the same command again later, or {own}"))
    };
    let client = Client::builder().timeout(PATIENCE).build().map_err(silent)?;
    let mut again = MAX_AGAIN;
    loop {
        let answer = client.post(url).json(ask).send().await.map_err(silent)?;
        let (status, pause) = (answer.status(), pause(&answer));
        let body = body(answer).await.map_err(silent)?;
        let refusal = match body.and_then(|body| serde_json::from_slice(&body).ok()) {
            Some(Answer { data: Some(data), .. }) => return Ok(data),
            Some(Answer { error: Some(refusal), .. }) => refusal,
            _ => return Err(strange(url, status, own)),
        };
        let Refusal { code, message, remedy } = refusal;
        if code != "busy" || again == 0 {
            return Err(failed(format!("the faucet gives nothing: {}", words(&message)), words(&remedy)));
        }
        again = again.saturating_sub(1);
        doing(format!("the faucet is busy: it is asked again in {} s", pause.as_secs()));
        sleep(pause).await;
        doing("asking the faucet".to_owned());
    }
}

/// When it wants to be asked again.
fn pause(answer: &Response) -> Duration {
    let told: Option<u64> =
        answer.headers().get(header::RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
    Duration::from_secs(told.unwrap_or(60).clamp(1, MAX_PAUSE))
}

/// What it answers; none where that is too long.
async fn body(mut answer: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn strange(url: &str, status: StatusCode, own: &str) -> Failure {
    let status = status.as_u16();
    let message =
        format!("the faucet at {url} answers with HTTP {status}, and with nothing that a faucet says");
    failed(message, format!("ask whoever publishes the network, or {own}"))
}

fn failed(message: String, remedy: String) -> Failure {
    Failure::new(Exit::NotReady, "faucet", message, remedy)
}

/// Its own words, as far as they can be shown, on one line.
fn words(said: &str) -> String {
    text::plain(&said.replace('\n', " ")).chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, net::SocketAddr};

    use serde_json::{Value, json};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A faucet that gives these answers, one after the other.
    async fn faucet(answers: Vec<String>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                // The request comes in one or two pieces, and ends with its body.
                let mut asked = Vec::new();
                while !asked.ends_with(b"}") {
                    stream.read_buf(&mut asked).await.unwrap();
                }
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    fn answer(status: u16, more: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status} X\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    async fn asked(answers: Vec<String>) -> (Result<Value, Failure>, Vec<String>) {
        let (url, told) = (format!("http://{}/faucet", faucet(answers).await), RefCell::new(Vec::new()));
        let given = ask(&url, &json!({ "account": 1 }), "wait", |what| told.borrow_mut().push(what)).await;
        (given, told.into_inner())
    }

    #[tokio::test]
    async fn what_is_no_answer_of_a_faucet_is_read_to_a_bound_and_shown_without_what_drives_a_terminal() {
        let long = answer(200, "", &format!("{{\"data\":\"{}\"}}", "x".repeat(MAX_ANSWER)));
        let failure = asked(vec![long]).await.0.unwrap_err();
        assert!(failure.message.contains("nothing that a faucet says"), "{}", failure.message);
        let page = asked(vec![answer(404, "", "<html>")]).await.0.unwrap_err();
        assert!(page.message.contains("HTTP 404") && page.remedy.ends_with("or wait"), "{}", page.message);
        let error = json!({ "error": {
            "code": "given", "message": "a\u{1b}[2J\nb", "remedy": "c".repeat(1_000),
        } });
        let refused = asked(vec![answer(429, "", &error.to_string())]).await.0.unwrap_err();
        assert_eq!(refused.message, "the faucet gives nothing: a[2J b");
        assert_eq!((refused.exit, refused.remedy.len()), (Exit::NotReady, MAX_WORDS));
    }

    #[tokio::test]
    async fn a_faucet_that_is_busy_is_asked_again_when_it_says() {
        let busy =
            json!({ "error": { "code": "busy", "message": "many ask", "remedy": "later" } }).to_string();
        let busy = || answer(429, "retry-after: 1\r\n", &busy);
        let (given, told) = asked(vec![busy(), answer(200, "", "{\"data\":7}")]).await;
        assert_eq!(given.unwrap(), json!(7));
        assert!(told[0].ends_with("asked again in 1 s"), "{told:?}");
        let (given, told) = asked(vec![busy(), busy(), busy(), busy()]).await;
        assert_eq!(given.unwrap_err().message, "the faucet gives nothing: many ask");
        assert_eq!(told.len(), 6, "three times, and no more");
    }
}
