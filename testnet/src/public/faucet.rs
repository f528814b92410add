//! The faucet of a public test network: lends a node its stake, once others can reach it.
//!
//! What it lends is the vault's: the contract of the loan registers the node and gives the stake back when it leaves,
//! and nobody can send it elsewhere. Beside it come some hundredths of an ether, to pay for transactions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
};
use axum::{
    Json,
    extract::{ConnectInfo, State, rejection::JsonRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use session_chain::{
    Candidate, NetworkFile, StakeId,
    ledger::BlsKey,
    network::Settlement,
    settlement::{Call, Delivery, Endpoint as ChainEndpoint, SendError, Sender, Staker, Vault, VaultError},
};
use session_node::reach;
use session_protocols::{
    Prefix,
    directory::{Endpoint, MAX_ENDPOINTS},
};
use tokio::sync::Mutex;

use super::{
    GAS, Public, PublicError,
    callers::{Callers, Peer},
    coins::{self, Grant},
    serve::Desk,
    share::Share,
    write,
};

/// The longest word of a refusal, in characters: some repeat what was asked.
const MAX_WORDS: usize = 500;
/// Stakes that are lent in a day: whoever has many prefixes takes no network over in one.
const A_DAY: usize = 50;
/// How long a prefix waits for its next stake.
pub(super) const DAY: u64 = 24 * 3_600;
/// The longest body of a request, in bytes.
pub(super) const MAX_BODY: usize = 16 << 10;
/// Who was given something, in the network's folder.
const GIVEN: &str = "faucet.json";

/// What lends.
pub(super) struct Faucet {
    pub(super) network: NetworkFile,
    pub(super) settlement: Settlement,
    pub(super) signer: PrivateKeySigner,
    pub(super) folder: PathBuf,
    pub(super) callers: Callers,
    /// What each prefix was lent last. Whoever holds it sends.
    pub(super) given: Mutex<BTreeMap<String, Given>>,
    /// What wallets were given in a day. It is locked after that.
    pub(super) coins: Mutex<Vec<Grant>>,
    /// The share of the nodes that it lends to.
    share: Share,
    /// Loans whose nodes are gone. It is locked last.
    gone: Mutex<BTreeSet<StakeId>>,
}

/// What a prefix was lent last.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Given {
    /// In seconds since 1970.
    when: u64,
    /// The key of the node that has it.
    bls: String,
    /// Where the loan is.
    #[serde(default)]
    loan: Option<Address>,
    /// Who was not sent the ether that comes with it.
    #[serde(default)]
    owed: BTreeSet<Address>,
}

/// What a newcomer asks with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// What the node's keys signed for its loan: the text of its registration.
    pub registration: String,
    /// Whom the rewards are for.
    pub operator: Address,
    /// What the node pays from for what it submits.
    pub gas: Address,
    /// Where the node is reached: all in its prefix.
    pub addresses: Vec<String>,
}

/// Why nothing is lent or given.
pub(super) struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
    remedy: String,
}

impl Faucet {
    pub(super) fn open(public: &Public) -> Result<Self, PublicError> {
        let settlement = public.network.settlement.clone().ok_or(PublicError::NoChain)?;
        let path = public.folder.join(GIVEN);
        let given = match fs::read(&path) {
            // A file that cannot be read is no reason to give everybody something again.
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| PublicError::Io { path: path.clone(), cause: error.into() })?,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(cause) => return Err(PublicError::Io { path, cause }),
        };
        Ok(Self {
            network: public.network.clone(),
            settlement,
            signer: public.faucet.clone(),
            folder: public.folder.clone(),
            callers: Callers::default(),
            given: Mutex::new(given),
            coins: Mutex::new(coins::read(&public.folder)?),
            share: Share(public.lent),
            gone: Mutex::default(),
        })
    }

    /// Lends a stake to whoever asks for a node that is reached, where its prefix has none and had none for a day. Whoever
    /// repeats it for the same loan is given what is missing of it.
    async fn lend(&self, ask: Ask, from: Prefix) -> Result<serde_json::Value, Refused> {
        let _place = self.callers.enter(from)?;
        let candidate = Candidate::parse(&ask.registration)
            .and_then(|candidate| {
                candidate.check(&self.network.name, &self.settlement.domain()).map(|()| candidate)
            })
            .map_err(|error| {
                let remedy = "ask with the registration that the node itself signed, for this network";
                refused(StatusCode::BAD_REQUEST, "registration", error.to_string(), remedy)
            })?;
        let prefix = candidate.prefix.to_string();
        if !self.check(&*self.given.lock().await, &candidate).await? {
            self.callers.attempt(from)?;
            self.plain(&[ask.operator, ask.gas]).await?;
            self.dial(&candidate, &ask.addresses).await?;
        }
        // Whoever holds it lends: one after the other.
        let mut given = self.given.lock().await;
        let mut vault = Vault::connect(&self.settlement, self.signer.clone(), Delivery::default()).await?;
        // What was sent before may be on its way.
        vault.sender().settled().await?;
        let mut mined = None;
        if !self.check(&given, &candidate).await? {
            self.shares(&vault).await?;
            let (call, _) = vault.lend(&self.network.name, &candidate, ask.operator).await?;
            afford(vault.sender(), &[&call, &gas(ask.operator), &gas(ask.gas)]).await?;
            let quote = vault.sender().quote(&call).await?;
            let signed = vault.sender().sign(&call, &quote).await?;
            // Written down before it is sent, and not forgotten after: whatever is said then, it may be mined.
            let (bls, owed) = (candidate.bls.to_string(), [ask.operator, ask.gas].into());
            let lends = Given { when: now(), bls, loan: Some(candidate.operator), owed };
            let before = given.insert(prefix.clone(), lends);
            if let Err(refused) = self.keep(&given) {
                given.remove(&prefix);
                given.extend(before.map(|before| (prefix, before)));
                return Err(refused);
            }
            mined = Some(vault.sender().deliver(signed, |_| {}).await?);
        }
        // After the stake, so that nobody is paid for asking in vain.
        self.fuel(&mut given, &prefix, vault.sender()).await?;
        Ok(json!({
            "node": candidate.node, "loan": format!("{:#x}", candidate.operator),
            "transaction": mined.as_ref().map(|receipt| receipt.transaction_hash.to_string()),
            "height": mined.as_ref().and_then(|receipt| receipt.block_number),
        }))
    }

    /// Pays the ether that comes with a prefix's stake, as far as it was not sent.
    async fn fuel(
        &self,
        given: &mut BTreeMap<String, Given>,
        prefix: &str,
        sender: &mut Sender,
    ) -> Result<(), Refused> {
        while let Some(account) = given.get(prefix).and_then(|last| last.owed.first().copied()) {
            let call = gas(account);
            let quote = sender.quote(&call).await?;
            let signed = sender.sign(&call, &quote).await?;
            if let Some(last) = given.get_mut(prefix) {
                last.owed.remove(&account);
            }
            self.keep(given)?;
            sender.deliver(signed, |_| {}).await?;
        }
        Ok(())
    }

    /// Refuses a prefix that has a stake of the vault, or had one within a day, and everybody when many were lent today.
    /// Says whether the very loan that is asked for stands: it is the prefix's last, and may be asked for again.
    async fn check(&self, given: &BTreeMap<String, Given>, candidate: &Candidate) -> Result<bool, Refused> {
        let (now, prefix) = (now(), candidate.prefix.to_string());
        let today = |one: &&Given| now.saturating_sub(one.when) < DAY;
        let own = |message: String, remedy: &str| {
            let remedy = format!("{remedy}, or stake tokens of your own");
            Err(refused(StatusCode::TOO_MANY_REQUESTS, "given", message, remedy))
        };
        let last = given.get(&prefix);
        let is_last =
            |last: &Given| last.loan == Some(candidate.operator) && last.bls == candidate.bls.to_string();
        if last.is_some_and(is_last) {
            return self.holds(&candidate.bls).await;
        }
        if given.values().filter(today).count() >= A_DAY {
            return own("all stakes of today are lent".to_owned(), "ask again tomorrow");
        }
        let Some(last) = last else { return Ok(false) };
        if today(&last) {
            let hours = DAY.saturating_sub(now.saturating_sub(last.when)).div_ceil(3_600);
            let message = format!("a node in {prefix} was given a stake less than a day ago");
            return own(message, &format!("ask again in {hours} hours"));
        }
        let Ok(bls) = last.bls.parse() else { return Ok(false) };
        if self.holds(&bls).await? {
            return own(format!("a node in {prefix} has a stake that was lent"), "let that one leave first");
        }
        Ok(false)
    }

    /// Whether a node of this key has a stake.
    async fn holds(&self, bls: &BlsKey) -> Result<bool, Refused> {
        let staker = Staker::connect(&self.settlement, self.signer.clone(), Delivery::default()).await;
        let stands = match staker {
            Ok(staker) => staker.holds(bls).await,
            Err(error) => Err(error),
        };
        stands.map_err(|error| {
            refused(StatusCode::BAD_GATEWAY, error.code(), error.to_string(), error.remedy())
        })
    }

    /// Refuses another node with a stake that is lent where too many of all have one: what costs nothing decides nothing.
    async fn shares(&self, vault: &Vault) -> Result<(), Refused> {
        let (lent, nodes) = vault.standing(&mut *self.gone.lock().await).await?;
        if self.share.left(lent, nodes) > 0 {
            return Ok(());
        }
        let Share(share) = self.share;
        let message = format!(
            "the faucet lends to {share} % of the nodes at most, and {lent} of {nodes} have a stake that is lent"
        );
        let remedy = "stake tokens of your own, or ask again when others have; whoever runs the network may add nodes \
                      (--nodes), or raise the share (--lent)";
        Err(refused(StatusCode::SERVICE_UNAVAILABLE, "share", message, remedy))
    }

    /// Refuses contracts: what they do with what they are sent is paid for here.
    pub(super) async fn plain(&self, accounts: &[Address]) -> Result<(), Refused> {
        let failed = |message: String| {
            let remedy = "ask again in a minute, or tell whoever runs the faucet";
            refused(StatusCode::BAD_GATEWAY, "chain", message, remedy)
        };
        let url = self.settlement.rpc.first().map(String::as_str).unwrap_or_default();
        let endpoint = ChainEndpoint::new(url).map_err(|error| failed(error.to_string()))?;
        for account in accounts.iter().copied() {
            if endpoint.has_code(account).await.map_err(|trouble| failed(trouble.to_string()))? {
                let message = format!("{account:#x} is a contract");
                let remedy = "name accounts whose keys somebody has";
                return Err(refused(StatusCode::BAD_REQUEST, "account", message, remedy));
            }
        }
        Ok(())
    }

    /// Whether the node answers at each of its addresses.
    async fn dial(&self, candidate: &Candidate, addresses: &[String]) -> Result<(), Refused> {
        let endpoints: Option<Vec<Endpoint>> = addresses.iter().map(|text| text.parse().ok()).collect();
        let endpoints = endpoints.filter(|all| (1..=MAX_ENDPOINTS).contains(&all.len()));
        let inside = endpoints.filter(|all| all.iter().all(|one| candidate.prefix.covers(one.ip)));
        // Nobody looks around this machine's own network through it.
        let open = inside.filter(|all| self.network.local || all.iter().all(Endpoint::is_public));
        let endpoints = open.ok_or_else(|| {
            let message = format!("the addresses are not all public ones in {}", candidate.prefix);
            refused(
                StatusCode::BAD_REQUEST,
                "addresses",
                message,
                "name those at which others reach the node",
            )
        })?;
        let dials = endpoints.iter().map(|endpoint| async move {
            // Not why: nobody is told what else is there.
            reach::dial(&candidate.node, endpoint).await.map_err(|_| {
                let message = format!("the node does not answer at {endpoint}");
                refused(
                    StatusCode::FORBIDDEN,
                    "unreachable",
                    message,
                    "start it, and let others through to that port",
                )
            })
        });
        try_join_all(dials).await.map(drop)
    }

    fn keep(&self, given: &BTreeMap<String, Given>) -> Result<(), Refused> {
        let text = serde_json::to_string(given).unwrap_or_default();
        write(&self.folder.join(GIVEN), &text).map_err(|error| failed(&error.to_string()))
    }
}

/// `POST /faucet`.
pub(super) async fn ask(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    ask: Result<Json<Ask>, JsonRejection>,
) -> Response {
    let _at_work = peer.work.begin();
    let (faucet, from) = (Arc::clone(&desk.faucet), peer.prefix(&headers, &desk.own));
    match ask {
        Ok(Json(ask)) => done(async move { faucet.lend(ask, from).await }).await,
        Err(wrong) => unread(&wrong).into_response(),
    }
}

/// What gives an account something to pay for transactions.
fn gas(to: Address) -> Call {
    Call { to: Some(to), value: U256::from(GAS), ..Call::default() }
}

/// Refuses where the account that sends cannot pay for all of it.
pub(super) async fn afford(sender: &mut Sender, calls: &[&Call]) -> Result<(), SendError> {
    let (account, mut needs) = (sender.account(), U256::ZERO);
    for call in calls {
        needs = needs.saturating_add(sender.quote(call).await?.most);
    }
    let has = sender.ether_of(account).await?;
    if has < needs { Err(SendError::Ether { account, has, needs }) } else { Ok(()) }
}

/// What came of a deed. It goes on where whoever asked has gone: what is begun is not left half done.
pub(super) async fn done(
    deed: impl Future<Output = Result<serde_json::Value, Refused>> + Send + 'static,
) -> Response {
    match tokio::spawn(deed).await {
        Ok(Ok(done)) => Json(json!({ "data": done })).into_response(),
        Ok(Err(refused)) => refused.into_response(),
        Err(_) => failed("the faucet failed").into_response(),
    }
}

/// The answer to what is no request.
pub(super) fn unread(wrong: &JsonRejection) -> Refused {
    let remedy = "ask with a build of this network's version";
    refused(wrong.status(), "request", wrong.body_text(), remedy)
}

/// The answer to somebody who may ask again in a minute.
pub(super) fn busy(message: &str) -> Refused {
    refused(StatusCode::TOO_MANY_REQUESTS, "busy", message, "ask again in a minute")
}

/// The answer where something is wrong here.
pub(super) fn failed(what: &str) -> Refused {
    let remedy = "tell whoever runs the faucet";
    refused(StatusCode::INTERNAL_SERVER_ERROR, "failed", what, remedy)
}

impl From<SendError> for Refused {
    fn from(error: SendError) -> Self {
        if matches!(error, SendError::Ether { .. } | SendError::Tokens { .. }) {
            let remedy = "tell whoever runs the faucet to send its account what lacks, and ask again then";
            return refused(StatusCode::SERVICE_UNAVAILABLE, error.code(), error.to_string(), remedy);
        }
        refused(StatusCode::BAD_GATEWAY, error.code(), error.to_string(), error.remedy())
    }
}

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        let status = match error {
            VaultError::Send(error) => return error.into(),
            VaultError::Empty { .. } => StatusCode::SERVICE_UNAVAILABLE,
            VaultError::OtherLoan { .. } | VaultError::Candidate(_) => StatusCode::BAD_REQUEST,
            VaultError::None
            | VaultError::Elsewhere { .. }
            | VaultError::OneRole { .. }
            | VaultError::NotLender { .. }
            | VaultError::NotOwner { .. }
            | VaultError::NothingBack { .. }
            | _ => StatusCode::BAD_GATEWAY,
        };
        refused(status, error.code(), error.to_string(), error.remedy())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { status, code, message, remedy } = self;
        let message: String = message.chars().take(MAX_WORDS).collect();
        let body = json!({ "error": { "code": code, "message": message, "remedy": remedy } });
        let mut response = (status, Json(body)).into_response();
        if code == "busy" {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }
}

pub(super) fn refused(
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Refused {
    Refused { status, code, message: message.into(), remedy: remedy.into() }
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
