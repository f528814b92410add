//! Reading a mailbox.

use std::collections::{BTreeMap, BTreeSet};

use session_protocols::{
    AccountId, MessageHash, Namespace, NodeId,
    answer::{Body, Message},
    request::{Cursor, Fetch, Ids, Request, Retrieve},
};

use super::{
    Client, Inner,
    ask::{Failure, Fault, Question},
};
use crate::{
    account::Account,
    actor::Actor,
    cursors::{Cursors, Listing},
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
    /// In the order in which they arrived; each is what its hash says, and has not expired. There
    /// may be none while more follow.
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
    /// When it was sent, in milliseconds since 1970: as its sender signed, but not after it was stored, as the
    /// node says.
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
        let signed = content.as_ref().map_or(message.timestamp, |content| content.timestamp_ms);
        // Nodes take nothing that is far ahead of their clocks, and a sender's clock may be a year ahead.
        let timestamp_ms = signed.min(message.timestamp);
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
    pub async fn retrieve<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        namespace: Namespace,
        cursors: &mut Cursors,
    ) -> Result<Page, ClientError> {
        self.read(by.into(), namespace, cursors, None).await
    }

    /// Reads on as [`Self::retrieve`] does, without what is `known` already.
    ///
    /// A member that does not know the cursor is asked for hashes first, and then for the messages
    /// that are not known.
    ///
    /// # Errors
    /// As [`Self::retrieve`].
    pub async fn retrieve_unknown<'a>(
        &self,
        by: impl Into<Actor<'a>>,
        namespace: Namespace,
        cursors: &mut Cursors,
        known: impl Fn(&MessageHash) -> bool + Send + Sync,
    ) -> Result<Page, ClientError> {
        let mut page = self.read(by.into(), namespace, cursors, Some(&known)).await?;
        page.messages.retain(|message| !known(&message.hash));
        Ok(page)
    }

    async fn read(
        &self,
        by: Actor<'_>,
        namespace: Namespace,
        cursors: &mut Cursors,
        known: Option<Known<'_>>,
    ) -> Result<Page, ClientError> {
        let inner = &*self.inner;
        let page = match inner.page(by, namespace, cursors, known).await {
            Err(Failure::ClockMoved) => inner.page(by, namespace, cursors, known).await,
            done => done,
        };
        page.map_err(|failure| inner.error(by.account(), failure))
    }

    /// Reads all messages of an inbox, oldest first, without copies of what was sent from it.
    ///
    /// What cannot be opened is an item too and stops nothing.
    ///
    /// # Errors
    /// When no member of the swarm gives an answer that can be believed.
    pub async fn inbox(&self, account: &Account) -> Result<Vec<InboxItem>, ClientError> {
        self.inbox_after(account, &mut Cursors::new()).await
    }

    /// Reads an inbox as [`Self::inbox`] does, but not what the cursors are behind already, and moves them behind
    /// all that it returns.
    ///
    /// Another member than before, or one that does not know how far it was read, brings messages again; none is
    /// left out.
    ///
    /// # Errors
    /// As [`Self::inbox`]; the cursors stay where they were then.
    pub async fn inbox_after(
        &self,
        account: &Account,
        cursors: &mut Cursors,
    ) -> Result<Vec<InboxItem>, ClientError> {
        let mut reached = cursors.clone();
        let mut seen = BTreeSet::new();
        let mut items = BTreeMap::new();
        let mut bytes = 0_usize;
        loop {
            let known = |hash: &MessageHash| seen.contains(hash);
            let known: Option<Known<'_>> = if seen.is_empty() { None } else { Some(&known) };
            let page = self.read(account.into(), Namespace::INBOX, &mut reached, known).await?;
            for message in page.messages.iter().filter(|message| seen.insert(message.hash)) {
                if let Some(item) = InboxItem::open(account, message) {
                    items.insert((item.timestamp_ms, item.hash), item);
                }
            }
            let read = page.messages.iter().map(|message| message.data.len().saturating_add(OVERHEAD));
            bytes = read.fold(bytes.saturating_add(OVERHEAD), usize::saturating_add);
            if !page.more {
                *cursors = reached;
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

/// Tells which messages need not be fetched.
pub(super) type Known<'a> = &'a (dyn Fn(&MessageHash) -> bool + Send + Sync);

/// What a member gives to read.
enum Given {
    Messages { messages: Vec<Message>, more: bool, cursor: Cursor },
    Hashes { hashes: Vec<MessageHash>, more: bool, cursor: Cursor },
    Fetched { messages: Vec<Message>, hashes: usize },
}

impl Inner {
    /// Makes a signed request for what follows a cursor.
    pub(super) fn retrieve(
        &self,
        by: Actor<'_>,
        namespace: Namespace,
        after: Option<Cursor>,
        ids: Option<Ids>,
        max_size: Option<u32>,
    ) -> Retrieve {
        let (max_count, last, auth) = (None, None, None);
        let mut request =
            Retrieve { account: by.account(), namespace, after, last, max_count, max_size, ids, auth };
        request.auth = Some(self.sign(by, |network, time| request.statement(network, time)));
        request
    }

    /// Makes a signed request for messages by their hashes.
    pub(super) fn fetch(&self, by: Actor<'_>, namespace: Namespace, hashes: Vec<MessageHash>) -> Fetch {
        let mut request = Fetch { account: by.account(), namespace, hashes, auth: None };
        request.auth = Some(self.sign(by, |network, time| request.statement(network, time)));
        request
    }

    /// Checks messages that were asked for by their hashes: they alone may come, and the asked node
    /// must have dealt with some.
    pub(super) fn check_fetched(
        &self,
        account: &AccountId,
        namespace: Namespace,
        asked: &[MessageHash],
        (messages, hashes): (Vec<Message>, u32),
    ) -> Result<(Vec<Message>, usize), &'static str> {
        let hashes = usize::try_from(hashes).ok().filter(|hashes| (1..=asked.len()).contains(hashes));
        let hashes = hashes.ok_or("it does not say what it dealt with")?;
        let asked: BTreeSet<_> = asked.iter().take(hashes).collect();
        if !messages.iter().all(|message| asked.contains(&message.hash)) {
            return Err("it sends what was not asked for");
        }
        Ok((unique(self.check(account, namespace, messages)?), hashes))
    }

    async fn page(
        &self,
        by: Actor<'_>,
        namespace: Namespace,
        cursors: &mut Cursors,
        known: Option<Known<'_>>,
    ) -> Result<Page, Failure> {
        let (options, places, account) = (&self.options, &*cursors, by.account());
        let question = Question { account, patience: options.answer, first: places.last(), usage: None };
        let request = |node| match places.listing(&node) {
            Some(listing) if !listing.lacking.is_empty() => {
                Request::Fetch(self.fetch(by, namespace, listing.next()))
            }
            listing => {
                let ids = listing.map(|_| Ids::Always).or_else(|| known.map(|_| Ids::Anew));
                Request::Retrieve(self.retrieve(by, namespace, places.at(&node), ids, None))
            }
        };
        let judge = |node, _: &[NodeId], body| {
            let listing = places.listing(&node);
            let fetching = listing.map(Listing::next).unwrap_or_default();
            let nowhere = |more, cursor| more && places.at(&node) == Some(cursor);
            match body {
                Body::Messages { more, cursor, .. } | Body::Ids { more, cursor, .. }
                    if nowhere(more, cursor) =>
                {
                    Err(Fault::Disbelieved("its pages lead nowhere"))
                }
                Body::Messages { messages, more, cursor } if listing.is_none() => {
                    let messages = self.check(&account, namespace, messages).map_err(Fault::Disbelieved)?;
                    Ok((node, Given::Messages { messages: unique(messages), more, cursor }))
                }
                Body::Ids { hashes, more, cursor } if fetching.is_empty() && known.is_some() => {
                    Ok((node, Given::Hashes { hashes, more, cursor }))
                }
                Body::Fetched { messages, hashes } if !fetching.is_empty() => {
                    let (messages, hashes) = self
                        .check_fetched(&account, namespace, &fetching, (messages, hashes))
                        .map_err(Fault::Disbelieved)?;
                    Ok((node, Given::Fetched { messages, hashes }))
                }
                Body::Stored { .. }
                | Body::Changed { .. }
                | Body::Messages { .. }
                | Body::Ids { .. }
                | Body::Fetched { .. }
                | Body::Swarm(_)
                | Body::Info { .. }
                | Body::Expiries { .. }
                | Body::Revoked { .. }
                | Body::Batch(_)
                | Body::If { .. }
                | Body::Refused(_) => Err(Fault::Disbelieved("it answers something else")),
            }
        };
        let (node, given) = self.ask(question, request, judge).await?;
        let mut listing = None;
        let (messages, more) = match given {
            Given::Messages { messages, more, cursor } => {
                cursors.set(node, cursor);
                (messages, more)
            }
            Given::Hashes { hashes, more, cursor } => {
                let lacking = hashes.into_iter().filter(|hash| known.is_none_or(|known| !known(hash)));
                listing = Some(Listing { node, cursor, more, lacking: lacking.collect() });
                (Vec::new(), false)
            }
            Given::Fetched { messages, hashes } => {
                listing = cursors.listing(&node).cloned();
                listing.iter_mut().for_each(|listing| listing.dealt(hashes));
                (messages, false)
            }
        };
        cursors.list(listing);
        Ok(Page { messages, more: more || cursors.listing(&node).is_some(), node })
    }
}

/// Each message once.
pub(super) fn unique(mut messages: Vec<Message>) -> Vec<Message> {
    let mut seen = BTreeSet::new();
    messages.retain(|message| seen.insert(message.hash));
    messages
}
