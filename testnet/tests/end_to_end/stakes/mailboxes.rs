//! Mailboxes with messages in them, of accounts that some or other swarm keeps.

use std::{collections::BTreeSet, time::Duration};

use session_chain::NetworkFile;
use session_client::{Account, Client, Cursors, Options};
use session_protocols::{MessageHash, Namespace, NodeId, SwarmId, SwarmMap};

use crate::raw::Members;

/// Accounts that each swarm keeps.
const ACCOUNTS: usize = 2;
/// Messages that each is sent at a time: more than a page of [`Members::inbox`].
const MESSAGES: usize = 9;
/// Accounts that are drawn until every swarm has its share of them, at most.
const DRAWN: usize = 1_000;
const TTL: Duration = Duration::from_secs(3_600);

/// What people were sent, and read again and again.
pub(crate) struct Mailboxes {
    client: Client,
    all: Vec<Mailbox>,
}

struct Mailbox {
    account: Account,
    swarm: SwarmId,
    sent: BTreeSet<MessageHash>,
}

impl Mailboxes {
    /// Draws accounts of every swarm, and sends each some messages.
    pub(crate) async fn fill(network: NetworkFile, map: &SwarmMap) -> Self {
        let client = Client::connect(network, Options::default()).await.unwrap();
        let mut all: Vec<Mailbox> = Vec::new();
        for _ in 0..DRAWN {
            let account = Account::generate().unwrap();
            let swarm = map.swarm_of(&account.id()).unwrap();
            if all.iter().filter(|it| it.swarm == swarm).count() < ACCOUNTS {
                all.push(Mailbox { account, swarm, sent: BTreeSet::new() });
            }
        }
        assert_eq!(all.len(), ACCOUNTS * map.swarms.len(), "every swarm keeps some");
        let mut mailboxes = Self { client, all };
        mailboxes.send().await;
        mailboxes
    }

    /// Sends everybody some more.
    pub(crate) async fn send(&mut self) {
        for Mailbox { account, sent, .. } in &mut self.all {
            for _ in 0..MESSAGES {
                let text = format!("message {}", sent.len()).into_bytes();
                let stored = self.client.store(&account.id(), Namespace::INBOX, text, TTL, None).await;
                sent.insert(stored.unwrap().hash);
            }
        }
    }

    /// Each account reads its mailbox from the beginning: nothing is missing.
    pub(crate) async fn are_whole(&self) {
        for Mailbox { account, swarm, sent } in &self.all {
            let (mut cursors, mut found) = (Cursors::new(), BTreeSet::new());
            loop {
                let page = self.client.retrieve(account, Namespace::INBOX, &mut cursors).await;
                let page = page.unwrap_or_else(|error| panic!("a mailbox of swarm {swarm}: {error}"));
                found.extend(page.messages.iter().map(|message| message.hash));
                if !page.more {
                    break;
                }
            }
            assert_eq!(found, *sent, "what is in a mailbox of swarm {swarm}");
        }
    }

    /// Whether a member of this swarm has all of its mailboxes in its own store, and answers for them.
    pub(crate) async fn are_kept_by(&self, node: &NodeId, members: &Members, swarm: SwarmId) -> bool {
        for Mailbox { account, sent, .. } in self.all.iter().filter(|it| it.swarm == swarm) {
            let kept = members.kept(account, node, self.client.now_ms()).await;
            if kept.is_none_or(|kept| BTreeSet::from_iter(kept) != *sent) {
                return false;
            }
        }
        true
    }
}
