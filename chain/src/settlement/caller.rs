//! One account that calls the contracts of a network, over one endpoint: what it asks, permits and sends.
//!
//! Whatever takes tokens takes them by a permit that the account signs, so each deed is one [`Call`]: it can be
//! quoted exactly, and happens as a whole or not at all.

use core::time::Duration;

use alloy::{
    eips::BlockId,
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::{Provider, RootProvider},
    rpc::types::{Filter, Log, TransactionRequest},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolValue},
    transports::{RpcError, TransportError},
};
use tokio::time::timeout;

use super::{
    calls::{Checkpoints, Permit, Staking, Token},
    endpoint::{self, Endpoint, EndpointError},
    errors::Refusal,
    sender::{Call, Delivery, SendError, Sender, Spending},
    trouble::Trouble,
};
use crate::{ledger::Amount, network::Settlement};

/// How long an endpoint is waited for where others can be asked.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// For how long a permit can be used, in seconds.
const PERMIT_SECONDS: u64 = 3_600;
/// What a permit is hashed with (EIP-2612).
const PERMIT: &[u8] = b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
/// What a permit is for is hashed with (EIP-712).
const DOMAIN: &[u8] = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
/// The version of that in the token.
const DOMAIN_VERSION: &[u8] = b"1";

/// One account that calls the contracts of a network.
#[derive(Debug)]
pub struct Caller {
    settlement: Settlement,
    endpoint: String,
    provider: RootProvider,
    signer: PrivateKeySigner,
    sender: Sender,
    delivery: Delivery,
}

impl Caller {
    /// An account at the contracts of a network, over the first of its endpoints that serves its chain.
    ///
    /// # Errors
    /// When none does.
    pub async fn connect(
        settlement: &Settlement,
        signer: PrivateKeySigner,
        delivery: Delivery,
    ) -> Result<Self, SendError> {
        let mut failed = SendError::Url(EndpointError::Url);
        for url in &settlement.rpc {
            let endpoint = Endpoint::new(url)?;
            let caller = Self {
                settlement: settlement.clone(),
                endpoint: endpoint.name().to_owned(),
                provider: RootProvider::new(endpoint.rpc()),
                sender: Sender::new(&endpoint, signer.clone(), settlement.chain, delivery),
                signer: signer.clone(),
                delivery,
            };
            match timeout(ANSWER, caller.check_chain()).await {
                Ok(Ok(())) => return Ok(caller),
                Ok(Err(error)) => failed = error,
                Err(_) => failed = caller.trouble(Trouble::Late),
            }
        }
        Err(failed)
    }

    /// The account's address.
    pub const fn account(&self) -> Address {
        self.sender.account()
    }

    /// The chain, and where its contracts are.
    pub const fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// The nonce of the account's next transaction.
    ///
    /// # Errors
    /// When the endpoint does not tell.
    pub async fn nonce(&self) -> Result<u64, SendError> {
        self.sender.nonce().await
    }

    /// The host of the endpoint.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How transactions are sent.
    pub const fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// What sends.
    pub const fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    pub(super) const fn provider(&self) -> &RootProvider {
        &self.provider
    }

    /// Asks a contract, as it is in the newest block: what waits in the mempool may never come.
    ///
    /// # Errors
    /// When it is not there, or refuses, or the endpoint does not tell.
    pub async fn view<C: SolCall>(&self, to: Address, view: C) -> Result<C::Return, SendError> {
        let request = TransactionRequest::default().to(to).input(Bytes::from(view.abi_encode()).into());
        match self.provider.call(request).block(BlockId::latest()).await {
            Ok(returned) => C::abi_decode_returns(&returned).map_err(|_| self.nothing_at(to)),
            Err(error @ RpcError::ErrorResp(_)) => {
                Err(SendError::Refused { refusal: Box::new(Refusal::of(&error)) })
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The time of the newest block, in seconds since 1970.
    ///
    /// # Errors
    /// When the endpoint does not tell.
    pub async fn time(&self) -> Result<u64, SendError> {
        let block = self.provider.get_block(BlockId::latest()).await;
        let block = block.map_err(|error| self.failed(&error))?;
        Ok(block.map_or(0, |block| block.header.timestamp))
    }

    /// The logs that match, in the chain's order.
    ///
    /// # Errors
    /// When the endpoint does not tell.
    pub async fn logs(&self, filter: &Filter) -> Result<Vec<Log>, SendError> {
        self.provider.get_logs(filter).await.map_err(|error| self.failed(&error))
    }

    /// The epoch of the last checkpoint that the contract accepted; none before the first.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn accepted(&self) -> Result<Option<u64>, SendError> {
        let next = self.view(self.settlement.contracts.checkpoints, Checkpoints::nextEpochCall {}).await?;
        Ok(next.checked_sub(1))
    }

    /// What a node takes in all.
    ///
    /// # Errors
    /// When the chain does not tell.
    pub async fn requirement(&self) -> Result<Amount, SendError> {
        let name = B256::right_padding_from(b"stakingRequirement");
        let required = self.view(self.settlement.contracts.staking, Staking::parameterCall { name }).await?;
        Ok(Amount::try_from(required).unwrap_or_default())
    }

    /// An allowance by signature. It can be for nothing but the network's token on its chain, whatever the
    /// endpoint says.
    ///
    /// # Errors
    /// When the token is not there, or the key cannot sign.
    pub async fn permit(&self, spender: Address, amount: Amount) -> Result<Permit, SendError> {
        let (owner, token) = (self.account(), self.settlement.contracts.token);
        let nonce = self.view(token, Token::noncesCall { owner }).await?;
        let name = self.view(token, Token::nameCall {}).await?;
        let [kind, name, version] = [DOMAIN, name.as_bytes(), DOMAIN_VERSION].map(keccak256);
        let chain = U256::from(self.settlement.chain);
        let domain = keccak256((kind, name, version, chain, token).abi_encode());
        let deadline = U256::from(self.time().await?.saturating_add(PERMIT_SECONDS));
        let value = amount.units();
        let hash = keccak256((keccak256(PERMIT), owner, spender, value, nonce, deadline).abi_encode());
        let hash = keccak256([&[0x19, 0x01], domain.as_slice(), hash.as_slice()].concat());
        let signature = self.signer.sign_hash_sync(&hash)?;
        let v = 27_u8.saturating_add(signature.v().into());
        Ok(Permit { value, deadline, v, r: signature.r().into(), s: signature.s().into() })
    }

    /// A call that takes tokens by a permit: the sender looks at the balance alone, and signs it once.
    pub fn spending(&self, to: Address, deed: &impl SolCall, amount: Amount) -> Call {
        let token = self.settlement.contracts.token;
        let spends = Some(Spending { token, spender: token, amount });
        Call { spends, repeatable: false, ..call(to, deed) }
    }

    async fn check_chain(&self) -> Result<(), SendError> {
        let found = self.provider.get_chain_id().await.map_err(|error| self.failed(&error))?;
        let wanted = self.settlement.chain;
        if found == wanted { Ok(()) } else { Err(self.trouble(Trouble::WrongChain { found, wanted })) }
    }

    pub(super) const fn nothing_at(&self, at: Address) -> SendError {
        SendError::NoContract { at, chain: self.settlement.chain }
    }

    pub(super) fn failed(&self, error: &TransportError) -> SendError {
        self.trouble(endpoint::trouble(error))
    }

    pub(super) fn trouble(&self, trouble: Trouble) -> SendError {
        SendError::Endpoint { endpoint: self.endpoint.clone(), trouble }
    }
}

/// A call that takes nothing: the contract checks it, or it sets what is set already, however often it comes.
pub fn call(to: Address, deed: &impl SolCall) -> Call {
    raw(to, deed.abi_encode())
}

/// The same, of what is encoded.
pub fn raw(to: Address, data: Vec<u8>) -> Call {
    Call { to: Some(to), data: data.into(), repeatable: true, ..Call::default() }
}
