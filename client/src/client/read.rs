//! Reading a mailbox.

use std::collections::{BTreeMap, BTreeSet};

use session_protocols::{
    MessageHash, Namespace, NodeId,
    answer::{Body, Message},
    request::{Request, Retrieve},
};

use super::{
    Client, Inner,
    ask::{Failure, Fault, Question},
    change::unsigned,
};
use crate::{
    account::Account,
    cursors::Cursors,
    envelope::{self, DirectMessage, OpenError},
    error::ClientError,
};

/// The most bytes of one mailbox that are read: twice what a node keeps for an account.
const MAX_MAILBOX: usize = 512 << 20;
/// What a message counts for beside its data, in bytes.
const OVERHEAD: usize = 1_024;

/// Some of the messages of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order in which they arrived; each is what its hash says, and has not expired.
    pub messages: Vec<Message>,
    /// Whether more follow.
    pub more: bool,
    /// The member that sent them.
    pub node: NodeId,
}

/// A message in an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxItem {
    /// Its hash.
    pub hash: MessageHash,
    /// When it was sent, in milliseconds since 1970: as its sender signed, or, of a message that
    /// cannot be opened, as the node says.
    pub timestamp_ms: u64,
    /// When it ends, in milliseconds since 1970.
    pub expiry_ms: u64,
    /// The message, or why it cannot be read. Anyone may put anything into an inbox.
    pub content: Result<DirectMessage, OpenError>,
}

impl InboxItem {
    /// Opens a message; none when it is a copy of what the account itself has sent.
    pub(crate) fn open(account: &Account, message: &Message) -> Option<Self> {
        let content = envelope::open(account, &message.data);
        let own = content.as_ref().is_ok_and(|content| content.sync_target.is_some());
        let timestamp_ms = content.as_ref().map_or(message.timestamp, |content| content.timestamp_ms);
        let item = Self { hash: message.hash, timestamp_ms, expiry_ms: message.expiry, content };
        (!own).then_some(item)
    }
}

impl Client {
    /// Reads the next messages of one namespace, and moves the cursors behind them.
    ///
    /// Call it again while [`Page::more`] is set. When another member has to be asked than before,
    /// messages may come again; none is left out.
    ///
    /// # Errors
    /// When no member of the swarm gives an answer that can be believed.
    pub async fn retrieve(
        &self,
        account: &Account,
        namespace: Namespace,
        cursors: &mut Cursors,
    ) -> Result<Page, ClientError> {
        let inner = &*self.inner;
        let page = match inner.page(account, namespace, cursors).await {
            Err(Failure::ClockMoved) => inner.page(account, namespace, cursors).await,
            done => done,
        };
        page.map_err(|failure| inner.error(account.id(), failure))
    }

    /// Reads all messages of an inbox, oldest first, without copies of what was sent from it.
    ///
    /// What cannot be opened is an item too and stops nothing.
    ///
    /// # Errors
    /// When no member of the swarm gives an answer that can be believed.
    pub async fn inbox(&self, account: &Account) -> Result<Vec<InboxItem>, ClientError> {
        let mut cursors = Cursors::new();
        let mut seen = BTreeSet::new();
        let mut items = BTreeMap::new();
        let mut bytes = 0_usize;
        loop {
            let page = self.retrieve(account, Namespace::INBOX, &mut cursors).await?;
            for message in page.messages.iter().filter(|message| seen.insert(message.hash)) {
                if let Some(item) = InboxItem::open(account, message) {
                    items.insert((item.timestamp_ms, item.hash), item);
                }
            }
            let read = page.messages.iter().map(|message| message.data.len().saturating_add(OVERHEAD));
            bytes = read.fold(bytes.saturating_add(OVERHEAD), usize::saturating_add);
            if !page.more {
                return Ok(items.into_values().collect());
            }
            if bytes > MAX_MAILBOX {
                return Err(ClientError::Endless { account: account.id(), bytes });
            }
            // Opening takes time: others may run before the next page.
            tokio::task::yield_now().await;
        }
    }
}

impl Inner {
    /// Makes a signed request for what follows `cursors` at one member.
    pub(super) fn retrieve(
        &self,
        account: &Account,
        namespace: Namespace,
        cursors: &Cursors,
        node: NodeId,
    ) -> Retrieve {
        let after = cursors.at(&node);
        let (max_count, max_size, auth) = (None, None, unsigned());
        let mut request = Retrieve { account: account.id(), namespace, after, max_count, max_size, auth };
        request.auth = self.sign(account, |network, time| request.statement(network, time));
        request
    }

    async fn page(
        &self,
        account: &Account,
        namespace: Namespace,
        cursors: &mut Cursors,
    ) -> Result<Page, Failure> {
        let (options, known) = (&self.options, &*cursors);
        let question = Question { account: account.id(), patience: options.answer, first: known.last() };
        let request = |node| Request::Retrieve(self.retrieve(account, namespace, known, node));
        let judge = |node, _: &[NodeId], body| match body {
            Body::Messages { messages, more, cursor } => {
                if more && known.at(&node) == Some(cursor) {
                    return Err(Fault::Disbelieved("its pages lead nowhere"));
                }
                let messages = self.check(&account.id(), namespace, messages).map_err(Fault::Disbelieved)?;
                Ok((Page { messages: unique(messages), more, node }, cursor))
            }
            Body::Stored { .. }
            | Body::Changed { .. }
            | Body::Swarm(_)
            | Body::Info { .. }
            | Body::Refused(_) => Err(Fault::Disbelieved("it answers something else")),
        };
        let (page, cursor) = self.ask(question, request, judge).await?;
        cursors.set(page.node, cursor);
        Ok(page)
    }
}

fn unique(mut messages: Vec<Message>) -> Vec<Message> {
    let mut seen = BTreeSet::new();
    messages.retain(|message| seen.insert(message.hash));
    messages
}
