//! What the faucet of a public test network gives to wallets: some SESH and some ether, to try the network with.
//!
//! These can be sent on, unlike stakes: so they are few, for an account, for a prefix of addresses and in a day.

use std::{fs, io, path::Path, sync::Arc};

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use axum::{
    Json,
    extract::{ConnectInfo, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use session_chain::{
    Amount,
    settlement::{Call, Delivery, Endpoint, SendError, Sender, Spending, calls::Token},
};
use session_protocols::Prefix;

use super::{
    PublicError,
    callers::Peer,
    faucet::{DAY, Faucet, Refused, afford, done, failed, now, refused, unread},
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
    /// Whether its tokens were not sent so far: whoever asks once more is given these alone.
    #[serde(default)]
    owed: bool,
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
    let _at_work = peer.work.begin();
    let (faucet, from) = (Arc::clone(&desk.faucet), peer.prefix(&headers, &desk.own));
    match wish {
        Ok(Json(wish)) => done(async move { faucet.give(wish.account, from).await }).await,
        Err(wrong) => unread(&wrong).into_response(),
    }
}

impl Faucet {
    /// Gives a wallet something, unless it had that within a day, or its prefix or all had too much.
    async fn give(&self, account: Address, from: Prefix) -> Result<serde_json::Value, Refused> {
        let _place = self.callers.enter(from)?;
        self.plain(&[account]).await?;
        let _sends = self.given.lock().await;
        let mut grants = self.coins.lock().await;
        let (now, prefix) = (now(), from.to_string());
        grants.retain(|grant| now.saturating_sub(grant.when) < DAY);
        let mut sender = self.sender()?;
        let ether = Call { to: Some(account), value: U256::from(WEI), ..Call::default() };
        let token = self.settlement.contracts.token;
        let data = Token::transferCall { to: account, value: SESH.units() }.abi_encode().into();
        let spends = Some(Spending { token, spender: token, amount: SESH });
        let tokens = Call { to: Some(token), data, spends, ..Call::default() };
        if !grants.iter().any(|grant| grant.account == account && grant.owed) {
            check(&grants, account, &prefix)?;
            afford(&mut sender, &[&ether, &tokens]).await?;
            let quote = sender.quote(&ether).await?;
            let signed = sender.sign(&ether, &quote).await?;
            // Written down before it is sent, and not forgotten after: whatever is said then, it may be mined. The
            // tokens come last, since whoever gets ether may have it fail.
            grants.push(Grant { account, prefix, when: now, owed: true });
            if let Err(refused) = self.keep_coins(&grants) {
                grants.pop();
                return Err(refused);
            }
            sender.deliver(signed, |_| {}).await?;
        }
        let quote = sender.quote(&tokens).await?;
        let signed = sender.sign(&tokens, &quote).await?;
        grants.iter_mut().filter(|grant| grant.account == account).for_each(|grant| grant.owed = false);
        self.keep_coins(&grants)?;
        sender.deliver(signed, |_| {}).await?;
        Ok(json!({ "sesh": SESH.to_string(), "native": "0.002" }))
    }

    fn sender(&self) -> Result<Sender, SendError> {
        let url = self.settlement.rpc.first().map(String::as_str).unwrap_or_default();
        let endpoint = Endpoint::new(url)?;
        Ok(Sender::new(&endpoint, self.signer.clone(), self.settlement.chain, Delivery::default()))
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
            owed: false,
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
}
