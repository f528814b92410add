//! What the faucet of a public test network gives to wallets: some SESH and some ether, to try the network with.
//!
//! These can be sent on, unlike stakes: so they are few, for an account, for a prefix of addresses and in a day.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use axum::{
    Json,
    extract::{ConnectInfo, State, connect_info::Connected, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    serve::IncomingStream,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use session_chain::{
    Amount,
    settlement::{Call, Delivery, Endpoint, SendError, Sender, calls::Token},
};
use session_node::Bounded;
use session_protocols::Prefix;

use super::{
    PublicError,
    faucet::{DAY, Faucet, Refused, busy, done, failed, now, refused, unread},
    serve::Desk,
    write,
};

/// What a wallet is given: two names for a year, and some more.
const SESH: Amount = Amount::sesh(25);
/// What it pays for transactions from, in wei: two thousandths of an ether.
const WEI: u64 = 2_000_000_000_000_000;
/// Wallets that are given something in a day: in a week no stake comes of it.
const A_DAY: usize = 100;
/// Those of one prefix.
const A_PREFIX: usize = 3;
/// Who was given something, in the network's folder.
const FILE: &str = "coins.json";

/// Whom a wallet's coins are for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The account on the settlement chain.
    pub account: Address,
}

/// What was given.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Grant {
    account: Address,
    prefix: String,
    /// In seconds since 1970.
    when: u64,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Peer {
    /// The address of whoever asks: behind a server on this machine the one that it saw.
    fn ip(self, headers: &HeaderMap) -> IpAddr {
        let ip = self.0.ip().to_canonical();
        let seen = headers.get("x-forwarded-for").and_then(|it| it.to_str().ok()?.rsplit(',').next());
        let seen = seen.filter(|_| ip.is_loopback()).and_then(|text| text.trim().parse().ok());
        seen.unwrap_or(ip)
    }
}

/// What was given before.
pub(super) fn read(folder: &Path) -> Result<Vec<Grant>, PublicError> {
    let path = folder.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| PublicError::Io { path, cause: error.into() })
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(PublicError::Io { path, cause }),
    }
}

/// `POST /faucet/wallet`.
pub(super) async fn ask(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    wish: Result<Json<Wish>, JsonRejection>,
) -> Response {
    let (faucet, ip) = (Arc::clone(&desk.faucet), peer.ip(&headers));
    match wish {
        Ok(Json(wish)) => {
            done(async move { faucet.give(wish.account, Prefix::of(ip).to_string()).await }).await
        }
        Err(wrong) => unread(&wrong).into_response(),
    }
}

impl Faucet {
    /// Gives a wallet something, unless it had that within a day, or its prefix or all had too much.
    async fn give(&self, account: Address, prefix: String) -> Result<serde_json::Value, Refused> {
        let _place = self.places.try_acquire().map_err(|_| busy("many ask at once"))?;
        self.plain(&[account]).await?;
        let _sends = self.given.lock().await;
        let mut grants = self.coins.lock().await;
        let now = now();
        grants.retain(|grant| now.saturating_sub(grant.when) < DAY);
        check(&grants, account, &prefix)?;
        // Written down first: whoever stops here in between gives nothing twice.
        grants.push(Grant { account, prefix, when: now });
        self.keep_coins(&grants)?;
        if let Err(error) = self.send(account).await {
            grants.pop();
            self.keep_coins(&grants)?;
            return Err(refused(StatusCode::BAD_GATEWAY, error.code(), error.to_string(), error.remedy()));
        }
        Ok(json!({ "sesh": SESH.to_string(), "native": "0.002" }))
    }

    async fn send(&self, to: Address) -> Result<(), SendError> {
        let url = self.settlement.rpc.first().map(String::as_str).unwrap_or_default();
        let endpoint = Endpoint::new(url)?;
        let mut sender =
            Sender::new(&endpoint, self.owner.clone(), self.settlement.chain, Delivery::default());
        let data = Token::transferCall { to, value: SESH.units() }.abi_encode().into();
        let tokens = Call { to: Some(self.settlement.contracts.token), data, ..Call::default() };
        sender.send(&tokens, |_| {}).await?;
        let ether = Call { to: Some(to), value: U256::from(WEI), ..Call::default() };
        sender.send(&ether, |_| {}).await.map(drop)
    }

    fn keep_coins(&self, grants: &[Grant]) -> Result<(), Refused> {
        let text = serde_json::to_string(grants).unwrap_or_default();
        write(&self.folder.join(FILE), &text).map_err(|error| failed(&error.to_string()))
    }
}

/// Refuses whoever had something within a day, and everybody when much was given.
fn check(grants: &[Grant], account: Address, prefix: &str) -> Result<(), Refused> {
    let given = |message: String| {
        let remedy = "ask again tomorrow, or have somebody pay you";
        Err(refused(StatusCode::TOO_MANY_REQUESTS, "given", message, remedy))
    };
    if grants.iter().any(|grant| grant.account == account) {
        return given(format!("{account:#x} was given coins less than a day ago"));
    }
    if grants.iter().filter(|grant| grant.prefix == prefix).count() >= A_PREFIX {
        return given(format!("{A_PREFIX} wallets of {prefix} were given coins within a day"));
    }
    if grants.len() >= A_DAY {
        return given("all coins of today are given".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_are_few_for_an_account_a_prefix_and_a_day() {
        let grant = |number: u8, prefix: &str| Grant {
            account: Address::repeat_byte(number),
            prefix: prefix.to_owned(),
            when: 0,
        };
        let (one, new) = ("203.0.113.0/24", Address::repeat_byte(200));
        let said = |grants: &[Grant], account: Address, prefix: &str| {
            check(grants, account, prefix).err().map(|refused| refused.into_response().status())
        };
        let some = [grant(1, one), grant(2, one)];
        assert_eq!(said(&some, new, one), None);
        let refused = Some(StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(said(&some, Address::repeat_byte(1), "198.51.100.0/24"), refused, "the same account");
        let full = [grant(1, one), grant(2, one), grant(3, one)];
        assert_eq!(said(&full, new, one), refused, "a prefix");
        assert_eq!(said(&full, new, "198.51.100.0/24"), None);
        let all: Vec<_> = (0..100).map(|number| grant(number, &format!("10.0.{number}.0/24"))).collect();
        assert_eq!(said(&all, new, one), refused, "a day");
    }

    #[test]
    fn whoever_asks_through_a_server_here_is_told_apart_and_nobody_else_says_where_they_are() {
        let headers = |said: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", said.parse().unwrap());
            headers
        };
        let peer = |ip: &str| Peer(SocketAddr::new(ip.parse().unwrap(), 1));
        let seen = |ip: &str, said| peer(ip).ip(&headers(said)).to_string();
        assert_eq!(seen("127.0.0.1", "198.51.100.1, 203.0.113.9"), "203.0.113.9");
        assert_eq!(seen("127.0.0.1", "who knows"), "127.0.0.1");
        assert_eq!(seen("203.0.113.1", "198.51.100.1"), "203.0.113.1");
    }
}
