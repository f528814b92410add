//! Rights on a mailbox: taken away from subaccounts, and given back.

use session_protocols::{
    NodeId,
    answer::Body,
    request::{GetRevoked, MAX_TOKENS, Request, Token},
};

use super::{
    Client, Inner,
    ask::{Failure, Fault, Question},
    change::{Change, unsigned},
};
use crate::{account::Account, actor::Actor, error::ClientError};

/// Rights that a majority of the swarm has proven to have taken away, or given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Of whom a majority changed it, in the order they were named. With the others it was so before, or too few
    /// members have proven that they changed it.
    pub tokens: Vec<Token>,
    /// How many members have proven to have done it.
    pub stored: usize,
    /// How many members the swarm has.
    pub swarm: usize,
}

impl Client {
    /// Takes subaccounts' rights on an account's mailbox away. Of an account the newest [`MAX_TOKENS`] revocations
    /// are kept.
    ///
    /// # Errors
    /// When no majority of the swarm proves to have done it; repeating is safe.
    pub async fn revoke(&self, account: &Account, tokens: &[Token]) -> Result<Revoked, ClientError> {
        self.inner.revoke(account, tokens, false).await
    }

    /// Gives subaccounts back the rights that were taken away.
    ///
    /// # Errors
    /// As [`Self::revoke`].
    pub async fn unrevoke(&self, account: &Account, tokens: &[Token]) -> Result<Revoked, ClientError> {
        self.inner.revoke(account, tokens, true).await
    }

    /// Asks which subaccounts' rights are taken away, the latest first. One member is believed.
    ///
    /// # Errors
    /// When no member of the swarm gives an answer that can be believed.
    pub async fn revoked(&self, account: &Account) -> Result<Vec<Token>, ClientError> {
        let inner = &*self.inner;
        let found = match inner.revoked(account).await {
            Err(Failure::ClockMoved) => inner.revoked(account).await,
            done => done,
        };
        found.map_err(|failure| inner.error(account.id(), failure))
    }
}

impl Inner {
    async fn revoke(&self, account: &Account, tokens: &[Token], undo: bool) -> Result<Revoked, ClientError> {
        let (id, swarm) = (account.id(), self.map().members_of(&account.id()).len());
        let mut all = Revoked { tokens: Vec::new(), stored: swarm, swarm };
        for tokens in tokens.chunks(MAX_TOKENS) {
            let proven =
                self.change(account.into(), &Change::Revoke { tokens: tokens.to_vec(), undo }).await?;
            let changed = |token: &&Token| proven.hashes.contains(&token.hash(&id));
            all.tokens.extend(tokens.iter().filter(changed));
            all.stored = all.stored.min(proven.stored);
            all.swarm = proven.swarm;
        }
        Ok(all)
    }

    async fn revoked(&self, account: &Account) -> Result<Vec<Token>, Failure> {
        let id = account.id();
        let patience = self.options.answer;
        let question = Question { account: id, patience, first: None, usage: None };
        let mut request = GetRevoked { account: id, auth: unsigned() };
        request.auth = self.sign(Actor::from(account), |network, time| request.statement(network, time));
        let judge = |_, _: &[NodeId], body| {
            let Body::Revoked { tokens } = body else {
                return Err(Fault::Disbelieved("it answers something else"));
            };
            Ok(tokens)
        };
        self.ask(question, |_| Request::GetRevoked(request.clone()), judge).await
    }
}
