//! JSON-RPC to one endpoint, with bounds on what it may send.

use core::{fmt, task, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes, LogData, U64},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, ResponsePacket, RpcError},
        types::Log as RpcLog,
    },
    sol_types::SolCall,
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use reqwest::{Client, Url, redirect};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_service::Service;

use super::{
    calls::Checkpoints,
    contracts::{Followed, TOPICS},
    follower::{Answer, Failure, Header, Question, Which},
    logs::Log,
    sync::Accepted,
    trouble::Trouble,
};

/// The most bytes of one answer; whoever asks for logs is told to ask for fewer.
pub const MAX_BODY: usize = 32 << 20;
/// The most characters of an endpoint's own words that are shown to anybody.
const MAX_WORDS: usize = 120;
/// How long any question waits for its answer: the follower gives up sooner.
const PATIENCE: Duration = Duration::from_secs(20);
/// What providers say when a range holds too much, whatever their error codes.
const TOO_MANY: [&str; 10] = [
    "limit",
    "range",
    "too many",
    "too large",
    "too big",
    "exceed",
    "more than",
    "maximum",
    "response size",
    "timeout",
];
/// What providers say to those who ask too often.
const TOO_OFTEN: [&str; 5] = ["too many requests", "rate limit", "rate-limit", "capacity", "throttl"];

/// What providers say of what they have dropped: geth, reth and Nethermind (EIP-4444) and publicnode; Nethermind before;
/// Erigon, in its versions.
const PRUNED: [&str; 7] = [
    "pruned",
    "pruning",
    "history unavailable",
    "history is available from",
    "receipt not available",
    "data before",
    "neither stored nor reproducible",
];
/// Their codes for it, where they have one: that of EIP-4444, and publicnode's.
const PRUNED_CODES: [i64; 2] = [4_444, -32_701];

/// A URL is none that an endpoint can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// No URL of HTTP.
    #[error("an endpoint of the settlement chain is an http or https URL, such as https://rpc.example.org")]
    Url,
    /// The system's certificates or sockets cannot be used.
    #[error("cannot set up HTTP")]
    Http,
}

/// The answer is longer than [`MAX_BODY`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("an answer of more than {MAX_BODY} bytes")]
struct TooLong;

/// An endpoint that serves a chain. Its URL may hold a key: only its host is ever shown.
#[derive(Clone)]
pub struct Endpoint {
    name: String,
    url: Url,
    client: Client,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RpcHeader {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U64,
}

impl Endpoint {
    /// The endpoint at a URL; nothing is asked so far.
    ///
    /// # Errors
    /// When it is no URL of HTTP.
    pub fn new(url: &str) -> Result<Self, EndpointError> {
        Self::within(url, PATIENCE)
    }

    /// The same, and every question is given up when it has no answer after so long.
    ///
    /// # Errors
    /// When it is no URL of HTTP.
    pub fn within(url: &str, patience: Duration) -> Result<Self, EndpointError> {
        let url: Url = url.trim().parse().map_err(|_| EndpointError::Url)?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
        let host = host.ok_or(EndpointError::Url)?;
        let name = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(patience).build();
        Ok(Self { name, url, client: client.map_err(|_| EndpointError::Http)? })
    }

    /// Its host, and its port where that is unusual.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client for it.
    pub fn rpc(&self) -> RpcClient {
        RpcClient::new(self.clone(), false)
    }

    /// The chain's id.
    ///
    /// # Errors
    /// Tells why there is no answer.
    pub async fn chain(&self) -> Result<u64, Trouble> {
        let id: Result<U64, _> = self.rpc().request("eth_chainId", json!([])).await;
        id.map(|id| id.to()).map_err(|error| trouble(&error))
    }

    /// The newest block's height, and its time in seconds since 1970.
    ///
    /// # Errors
    /// Tells why there is no answer.
    pub async fn newest(&self) -> Result<(u64, u64), Trouble> {
        let asked = self.rpc().request("eth_getBlockByNumber", json!(["latest", false])).await;
        let header: Option<RpcHeader> = asked.map_err(|error| trouble(&error))?;
        let header = header.ok_or(Trouble::NoAnswer { what: "its newest block" })?;
        Ok((header.number.to(), header.timestamp.to()))
    }

    /// The hash of the block at a height; none where the endpoint has no such block.
    ///
    /// # Errors
    /// Tells why there is no answer.
    pub async fn hash(&self, height: u64) -> Result<Option<B256>, Trouble> {
        let asked = self.rpc().request("eth_getBlockByNumber", json!([U64::from(height), false])).await;
        let header: Option<RpcHeader> = asked.map_err(|error| trouble(&error))?;
        Ok(header.map(|header| header.hash))
    }

    /// Whether there is a contract at an address.
    ///
    /// # Errors
    /// Tells why there is no answer.
    pub async fn has_code(&self, address: Address) -> Result<bool, Trouble> {
        let code: Result<Bytes, _> = self.rpc().request("eth_getCode", json!([address, "latest"])).await;
        code.map(|code| !code.is_empty()).map_err(|error| trouble(&error))
    }

    /// Asks what the follower wants to know.
    ///
    /// # Errors
    /// Tells why there is no answer.
    pub async fn answer(&self, followed: &Followed, question: Question) -> Result<Answer, Failure> {
        let rpc = self.rpc();
        match question {
            Question::Chain => Ok(Answer::Chain(self.chain().await?)),
            Question::Header(which) => {
                let block = match which {
                    Which::Final => json!("finalized"),
                    Which::At(height) => json!(U64::from(height)),
                };
                let asked = rpc.request("eth_getBlockByNumber", json!([block, false])).await;
                let header: Option<RpcHeader> = asked.map_err(|error| failure(&error))?;
                Ok(Answer::Header(header.map(RpcHeader::read)))
            }
            Question::Logs { from, to } => {
                let filter = json!({
                    "address": followed.addresses(), "topics": [TOPICS],
                    "fromBlock": U64::from(from), "toBlock": U64::from(to),
                });
                let asked = rpc.request("eth_getLogs", json!([filter])).await;
                let logs: Vec<RpcLog> = asked.map_err(|error| logs_failure(&error))?;
                let logs: Option<Vec<Log>> = logs.into_iter().map(read_log).collect();
                logs.map(Answer::Logs).ok_or_else(|| Trouble::NoAnswer { what: "logs of blocks" }.into())
            }
            Question::Cursors(hash) => {
                let call = json!({ "from": Address::ZERO, "data": followed.cursors_program() });
                match rpc.request("eth_call", json!([call, { "blockHash": hash }])).await {
                    Ok(returned) => {
                        let returned: Bytes = returned;
                        let cursors = Followed::read_cursors(&returned);
                        let nothing = || Trouble::NoAnswer { what: "a call without a receiver" };
                        Ok(Answer::Cursors(Some(cursors.ok_or_else(nothing)?)))
                    }
                    // Nodes that are no archive forget old state, and say so in many ways.
                    Err(error @ RpcError::ErrorResp(_)) => {
                        let failure = failure(&error);
                        if matches!(failure, Failure::Trouble(Trouble::TooOften { .. })) {
                            Err(failure)
                        } else {
                            Ok(Answer::Cursors(None))
                        }
                    }
                    Err(error) => Err(failure(&error)),
                }
            }
        }
    }

    /// The epoch and digest of the checkpoint that the contract accepted last, by the state of the final block; none
    /// before the first.
    ///
    /// # Errors
    /// Tells why there is no answer.
    pub async fn accepted(&self, followed: &Followed) -> Result<Accepted, Failure> {
        let (found, wanted) = (self.chain().await?, followed.chain);
        if found != wanted {
            return Err(Trouble::WrongChain { found, wanted }.into());
        }
        let head = self.answer(followed, Question::Header(Which::Final)).await?;
        let Answer::Header(Some(head)) = head else {
            return Err(Trouble::NoAnswer { what: "its final block" }.into());
        };
        let checkpoints = followed.contracts.checkpoints;
        let next = self.view(checkpoints, Checkpoints::nextEpochCall {}, head.hash).await?;
        // The contract may be younger than that block.
        let Some(epoch) = next.and_then(|next| next.checked_sub(1)) else { return Ok(None) };
        let digest = self.view(checkpoints, Checkpoints::lastDigestCall {}, head.hash).await?;
        Ok(digest.map(|digest| (epoch, digest)))
    }

    /// Asks a contract, by the state after the block of this hash; none where it is not there.
    async fn view<C: SolCall>(
        &self,
        to: Address,
        view: C,
        block: B256,
    ) -> Result<Option<C::Return>, Failure> {
        let call = json!({ "to": to, "data": Bytes::from(view.abi_encode()) });
        let asked = self.rpc().request("eth_call", json!([call, { "blockHash": block }])).await;
        let returned: Bytes = asked.map_err(|error| failure(&error))?;
        if returned.is_empty() {
            return Ok(None);
        }
        let read = C::abi_decode_returns(&returned);
        read.map(Some).map_err(|_| Trouble::NoAnswer { what: "a call of the contract of checkpoints" }.into())
    }

    async fn post(self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let sent = self.client.post(self.url).json(&request).send().await;
        // The error of a client may name the URL, and the URL a key.
        let sent = sent.map_err(reqwest::Error::without_url);
        let mut response = sent.map_err(TransportErrorKind::custom)?;
        let status = response.status();
        let mut body: Vec<u8> = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(reqwest::Error::without_url);
            let Some(chunk) = chunk.map_err(TransportErrorKind::custom)? else { break };
            if body.len().saturating_add(chunk.len()) > MAX_BODY {
                return Err(TransportErrorKind::custom(TooLong));
            }
            body.extend_from_slice(&chunk);
        }
        // Some say with a status of 4xx what is in the body.
        match serde_json::from_slice(&body) {
            Ok(packet) => Ok(packet),
            Err(error) if status.is_success() => {
                let begins = body.get(..body.len().min(MAX_WORDS)).unwrap_or_default();
                Err(TransportError::deser_err(error, String::from_utf8_lossy(begins)))
            }
            Err(_) => Err(TransportErrorKind::http_error(status.as_u16(), String::new())),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.name)
    }
}

impl Service<RequestPacket> for Endpoint {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), TransportError>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().post(request))
    }
}

impl RpcHeader {
    fn read(self) -> Header {
        let Self { number, hash, parent_hash, timestamp } = self;
        Header { height: number.to(), hash, parent: parent_hash, time: timestamp.to() }
    }
}

fn read_log(log: RpcLog) -> Option<Log> {
    let (topics, data) = (log.topics().to_vec(), log.inner.data.data);
    Some(Log {
        address: log.inner.address,
        data: LogData::new(topics, data)?,
        height: log.block_number?,
        hash: log.block_hash?,
        time: log.block_timestamp,
        index: log.log_index?,
        removed: log.removed,
    })
}

/// Why a question got no answer.
fn failure(error: &TransportError) -> Failure {
    let trouble = match error {
        RpcError::ErrorResp(refusal) => {
            let said = words(&refusal.message);
            if refusal.code == 429 || says(&refusal.message, &TOO_OFTEN) {
                Trouble::TooOften { said }
            } else if PRUNED_CODES.contains(&refusal.code) || says(&refusal.message, &PRUNED) {
                Trouble::Pruned { said }
            } else {
                Trouble::Refuses { said }
            }
        }
        RpcError::Transport(TransportErrorKind::HttpError(http)) => match http.status {
            413 => return Failure::TooMany,
            429 => Trouble::TooOften { said: "HTTP 429".to_owned() },
            status => Trouble::Http { status },
        },
        RpcError::Transport(kind) => match kind.as_custom() {
            Some(error) if error.is::<TooLong>() => return Failure::TooMany,
            Some(error) => Trouble::Unreachable { why: words(&chain(error)) },
            None => Trouble::Unreachable { why: "no connection".to_owned() },
        },
        RpcError::DeserError { text, .. } => Trouble::NotRpc { said: words(text) },
        RpcError::NullResp => Trouble::NoAnswer { what: "anything at all" },
        RpcError::UnsupportedFeature(_) | RpcError::LocalUsageError(_) | RpcError::SerError(_) => {
            Trouble::NoAnswer { what: "what cannot be asked" }
        }
    };
    trouble.into()
}

/// As [`failure`], where the question may have been for too much.
pub(super) fn logs_failure(error: &TransportError) -> Failure {
    match (failure(error), error) {
        (Failure::Trouble(Trouble::Refuses { .. }), RpcError::ErrorResp(refusal))
            if refusal.code == -32_005 || says(&refusal.message, &TOO_MANY) =>
        {
            Failure::TooMany
        }
        (failure, _) => failure,
    }
}

/// What an error comes from, outermost first.
fn chain(error: &(dyn core::error::Error + 'static)) -> String {
    let causes = core::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

fn says(message: &str, words: &[&str]) -> bool {
    let message = message.to_ascii_lowercase();
    words.iter().any(|word| message.contains(word))
}

/// An endpoint's own words, as far as they can be shown.
pub(super) fn words(text: &str) -> String {
    let shown = |char: &char| !char.is_control();
    text.chars().filter(shown).take(MAX_WORDS).collect::<String>().trim().to_owned()
}

/// What is wrong with an endpoint at which a small question failed.
pub(super) fn trouble(error: &TransportError) -> Trouble {
    match failure(error) {
        Failure::TooMany => Trouble::Refuses { said: "too much is asked".to_owned() },
        Failure::Trouble(trouble) => trouble,
    }
}

/// Data that came with a refusal: what a contract reverted with.
pub(super) fn revert_data(error: &TransportError) -> Option<Bytes> {
    let RpcError::ErrorResp(refusal) = error else { return None };
    let data: Value = serde_json::from_str(refusal.data.as_ref()?.get()).ok()?;
    let text = data.as_str().or_else(|| data.get("data")?.as_str())?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an error that answers a question for logs.
    fn refused(code: i64, message: &str) -> Failure {
        let body = json!({ "code": code, "message": message }).to_string();
        logs_failure(&TransportError::ErrorResp(serde_json::from_str(&body).unwrap()))
    }

    #[test]
    fn what_providers_say_of_logs_that_they_have_dropped_is_told_from_all_else() {
        for (code, message) in [
            (4_444, "pruned history unavailable"),
            (4_444, "Block not available"),
            (-32_000, "pruned history unavailable"),
            (
                -32_701,
                "History has been pruned for this block. To remove restrictions, order a dedicated full node",
            ),
            (-32_001, "Receipt not available for 'From' block '11052984'."),
            (-32_000, "old data not available due to pruning"),
            (
                -32_000,
                "state transition failed: seek with txNum=1962853355 but data before txNum=2662500000 is not available",
            ),
            // The words for what is too much are in it, too.
            (-32_000, "requested block range is pruned: the limit is 128 blocks"),
        ] {
            let failure = refused(code, message);
            assert!(matches!(failure, Failure::Trouble(Trouble::Pruned { .. })), "{message}: {failure:?}");
        }
        for message in ["query returned more than 10000 results", "block range exceeds 2000", "query timeout"]
        {
            assert_eq!(refused(-32_000, message), Failure::TooMany, "{message}");
        }
        for message in ["too many requests", "rate limit reached: history is pruned for free plans"] {
            let failure = refused(-32_005, message);
            assert!(matches!(failure, Failure::Trouble(Trouble::TooOften { .. })), "{message}: {failure:?}");
        }
        let failure = refused(-32_601, "the method eth_getLogs does not exist/is not available");
        assert!(matches!(failure, Failure::Trouble(Trouble::Refuses { .. })), "{failure:?}");
    }
}
