//! The faucet of a public test network: lends a node its stake, once others can reach it.
//!
//! What it lends is the vault's: the contract of the loan registers the node and gives the stake back when it leaves,
//! and nobody can send it elsewhere. Beside it come some hundredths of an ether, to pay for transactions.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use session_chain::{
    Candidate, NetworkFile,
    network::Settlement,
    settlement::{Call, Delivery, Vault, VaultError},
};
use session_node::reach;
use session_protocols::directory::{Endpoint, MAX_ENDPOINTS};
use tokio::sync::{Mutex, Semaphore};

use super::{GAS, PublicError, serve::Desk, write};

/// Requests that are served or wait; more are refused.
const AT_ONCE: usize = 16;
/// How long a prefix waits for its next stake.
const DAY: u64 = 24 * 3_600;
/// The longest body of a request, in bytes.
pub(super) const MAX_BODY: usize = 16 << 10;
/// Who was given something, in the network's folder.
const GIVEN: &str = "faucet.json";

/// What lends.
pub(super) struct Faucet {
    network: NetworkFile,
    settlement: Settlement,
    owner: PrivateKeySigner,
    folder: PathBuf,
    places: Semaphore,
    /// When each prefix was given something, in seconds since 1970. Whoever holds it lends.
    given: Mutex<BTreeMap<String, u64>>,
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

/// Why nothing is lent.
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
    remedy: String,
}

impl Faucet {
    pub(super) fn open(
        network: &NetworkFile,
        owner: PrivateKeySigner,
        folder: PathBuf,
    ) -> Result<Self, PublicError> {
        let settlement = network.settlement.clone().ok_or(PublicError::NoChain)?;
        let path = folder.join(GIVEN);
        let given = match fs::read(&path) {
            // A file that cannot be read is no reason to give everybody something again.
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| PublicError::Io { path: path.clone(), cause: error.into() })?,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(cause) => return Err(PublicError::Io { path, cause }),
        };
        let (places, given) = (Semaphore::new(AT_ONCE), Mutex::new(given));
        Ok(Self { network: network.clone(), settlement, owner, folder, places, given })
    }

    /// Lends a stake to whoever asks for a node that is reached, if its prefix had none for a day.
    async fn lend(&self, ask: Ask) -> Result<serde_json::Value, Refused> {
        let _place = self.places.try_acquire().map_err(|_| {
            refused(StatusCode::TOO_MANY_REQUESTS, "busy", "many ask at once", "ask again in a minute")
        })?;
        let candidate = Candidate::parse(&ask.registration)
            .and_then(|candidate| {
                candidate.check(&self.network.name, &self.settlement.domain()).map(|()| candidate)
            })
            .map_err(|error| {
                let remedy = "ask with the registration that the node itself signed, for this network";
                refused(StatusCode::BAD_REQUEST, "registration", error.to_string(), remedy)
            })?;
        self.dial(&candidate, &ask.addresses).await?;
        let mut given = self.given.lock().await;
        let (now, prefix) = (now(), candidate.prefix.to_string());
        given.retain(|_, when| now.saturating_sub(*when) < DAY);
        if let Some(when) = given.get(&prefix) {
            let hours = DAY.saturating_sub(now.saturating_sub(*when)).div_ceil(3_600);
            let message = format!("a node in {prefix} was given a stake less than a day ago");
            let remedy = format!("ask again in {hours} hours, or stake tokens of your own");
            return Err(refused(StatusCode::TOO_MANY_REQUESTS, "given", message, remedy));
        }
        let delivery = Delivery::default();
        let mut vault = Vault::connect(&self.settlement, self.owner.clone(), delivery).await?;
        let (call, stake) = vault.lend(&self.network.name, &candidate, ask.operator).await?;
        // Written down first: whoever stops here in between gives nothing twice.
        given.insert(prefix.clone(), now);
        self.keep(&given)?;
        let receipt = match vault.send(&call, |_| {}).await {
            Ok(receipt) => receipt,
            Err(error) => {
                given.remove(&prefix);
                self.keep(&given)?;
                return Err(error.into());
            }
        };
        // After the stake, so that nobody is paid for asking in vain.
        for account in [ask.operator, ask.gas] {
            let gas = Call { to: Some(account), value: U256::from(GAS), ..Call::default() };
            vault.send(&gas, |_| {}).await?;
        }
        Ok(json!({
            "stake": stake.to_string(), "node": candidate.node, "loan": format!("{:#x}", candidate.operator),
            "transaction": receipt.transaction_hash.to_string(), "height": receipt.block_number,
        }))
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
            reach::dial(&candidate.node, endpoint).await.map_err(|why| {
                let message = format!("the node does not answer at {endpoint}: {why}");
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

    fn keep(&self, given: &BTreeMap<String, u64>) -> Result<(), Refused> {
        let text = serde_json::to_string(given).unwrap_or_default();
        write(&self.folder.join(GIVEN), &text).map_err(|error| {
            let remedy = "tell whoever runs the faucet";
            refused(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string(), remedy)
        })
    }
}

/// `POST /faucet`.
pub(super) async fn ask(State(desk): State<std::sync::Arc<Desk>>, Json(ask): Json<Ask>) -> Response {
    match desk.faucet.lend(ask).await {
        Ok(lent) => Json(json!({ "data": lent })).into_response(),
        Err(refused) => refused.into_response(),
    }
}

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        let status = match &error {
            VaultError::Empty { .. } => StatusCode::SERVICE_UNAVAILABLE,
            VaultError::OtherLoan { .. } | VaultError::Candidate(_) => StatusCode::BAD_REQUEST,
            VaultError::Send(_)
            | VaultError::None
            | VaultError::Elsewhere { .. }
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
        let body = json!({ "error": { "code": code, "message": message, "remedy": remedy } });
        (status, Json(body)).into_response()
    }
}

fn refused(
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Refused {
    Refused { status, code, message: message.into(), remedy: remedy.into() }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
