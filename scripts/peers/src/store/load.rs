//! The messages that both sides are given: the same ones for the same seed.

use session_protocols::{AccountId, MessageHash, Namespace, request::Store};

/// How long a message is.
pub const SIZE: usize = 1_024;
const DAY: u64 = 86_400_000;
/// Some day in 2026.
pub const START: u64 = 1_790_000_000_000;

/// A message and its hash.
pub struct Message {
    pub request: Store,
    pub hash: MessageHash,
}

/// Draws messages.
pub struct Load {
    accounts: u64,
    state: u64,
    sent: u64,
}

impl Load {
    pub const fn new(accounts: u64, seed: u64) -> Self {
        Self { accounts, state: seed, sent: 0 }
    }

    /// The next messages, each new.
    pub fn batch(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.message()).collect()
    }

    fn message(&mut self) -> Message {
        let to = account(self.next() % self.accounts);
        self.to(to)
    }

    /// The next message, to a mailbox.
    pub fn to(&mut self, account: AccountId) -> Message {
        self.sent += 1;
        let timestamp = START + self.sent;
        // Most clients ask for the longest life; the others for anything.
        let life = if self.next() % 4 == 0 { DAY / 24 * (1 + self.next() % 336) } else { 14 * DAY };
        let mut data = Vec::with_capacity(SIZE);
        while data.len() < SIZE {
            data.extend_from_slice(&self.next().to_le_bytes());
        }
        let request = Store {
            account,
            namespace: Namespace::INBOX,
            timestamp,
            expiry: timestamp + life,
            data: data.into(),
            auth: None,
        };
        let hash = request.hash();
        Message { request, hash }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A mailbox, spread over all ids as keys are.
pub fn account(number: u64) -> AccountId {
    let mut bytes = [5; 33];
    let spread = MessageHash::of(&AccountId::from_bytes([0; 33]), Namespace::INBOX, &number.to_le_bytes());
    bytes[1..].copy_from_slice(&spread.0);
    AccountId::from_bytes(bytes)
}
