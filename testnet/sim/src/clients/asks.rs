//! What clients ask: writes of every kind, reads, repeats, and what nobody may have.

use serde_bytes::ByteBuf;
use session_protocols::{
    MessageHash, Namespace, Span,
    record::Stamp,
    request::{
        Auth, Delete, Direction, Drawers, Ends, Expire, Form, MAX_TTL, Request, Retrieve, Revoke, Store,
        Which,
    },
};

use super::{Aim, FRIENDS, OUTBOX, PRIVATE, PUBLIC, text, unsigned};
use crate::{
    checks::{Fate, Said, Stored},
    queue::Event,
    world::World,
};

impl World {
    /// Does something new, and sets the time for the next.
    pub(crate) fn act(&mut self) {
        if self.now >= self.rest {
            return;
        }
        let pause = Span(self.dice.client.below(2 * self.pace.0) + 1);
        self.queue.push(self.now.after(pause), Event::Act);
        let account = self.dice.client.index(self.clients.accounts.len());
        if self.clients.accounts[account].empty {
            return match self.dice.client.below(10) {
                0..5 => self.revoke(account),
                5 => self.delete_in(account),
                _ => self.read(account),
            };
        }
        match self.dice.client.below(124) {
            100..105 => self.delete_in(account),
            105..108 => self.expire_in(account),
            108..115 => self.race(account),
            115..120 => self.revoke(account),
            0..45 => self.store_new(account),
            45..52 => self.store_again(account),
            52..63 => self.delete(account),
            63..73 => self.expire(account),
            73..76 => self.repeat(),
            76..80 => self.wrong(account),
            _ => self.read(account),
        }
    }

    /// A life for a message: some end during the run, most do not.
    fn ttl(&mut self) -> u64 {
        let dice = &mut self.dice.client;
        match dice.below(10) {
            0 => dice.between(10_000, 60_000),
            1 | 2 => dice.between(60_000, 400_000),
            _ => dice.between(3_600_000, 13 * 24 * 3_600_000),
        }
    }

    /// Who asks: mostly the owner, at times a subaccount.
    fn asker(&mut self) -> Option<usize> {
        self.dice.client.chance(150).then(|| self.dice.client.index(FRIENDS))
    }

    fn store_new(&mut self, account: usize) {
        let dice = &mut self.dice.client;
        let public = dice.chance(550);
        let namespace = dice.pick(if public { &PUBLIC } else { &PRIVATE }).unwrap_or_default();
        let len = if dice.chance(10) { dice.between(1_000, 20_000) } else { dice.between(1, 400) };
        let data = dice.bytes(len as usize);
        let signed = !public || dice.chance(150);
        // A stranger's message may have been long under way.
        let late = if !signed && dice.chance(200) { dice.between(1_000, 400_000) } else { 0 };
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        self.store(account, namespace, data, (time, late), signed, None);
    }

    /// Two devices of one owner write to the outbox at once, each at a member of its own.
    fn race(&mut self, account: usize) {
        let time = self.clients.accounts[account].sign_time(self.now);
        let same = self.dice.client.coin();
        // Which of two came first shows in the tombstones until members have compared.
        let devices = if self.now < self.heal { 2 } else { 1 };
        let first = self.some_member(account);
        let second = self.another_member(account, first);
        let race = self.clients.next_op + 1;
        for (device, target) in [first, second].into_iter().take(devices).enumerate() {
            let data = self.dice.client.bytes(40);
            let time =
                if same || device == 0 { time } else { self.clients.accounts[account].sign_time(self.now) };
            self.store(account, OUTBOX, data, (time, 0), true, Some(target));
            let op = self.clients.next_op;
            if let Some(op) = self.clients.ops.get_mut(&op) {
                op.race = Some(race).filter(|_| first != second);
            }
        }
        self.counts.raced += 1;
    }

    /// Stores what was stored before, with another end, deleted or not.
    fn store_again(&mut self, account: usize) {
        let known = self.dice.client.pick(&self.clients.accounts[account].known);
        let Some((hash, namespace)) = known else { return self.store_new(account) };
        let Some(data) = self.messages.get(&hash).cloned() else { return };
        let signed = !namespace.class().anyone_stores() || self.dice.client.chance(300);
        let time = self.clients.accounts[account].sign_time(self.now);
        self.store(account, namespace, data, (time, 0), signed, None);
    }

    /// Stores something that was signed or sent at a time, `late` milliseconds after it was made.
    fn store(
        &mut self,
        account: usize,
        namespace: Namespace,
        data: Vec<u8>,
        (time, late): (u64, u64),
        signed: bool,
        target: Option<usize>,
    ) {
        let ttl = self.ttl();
        let friend = self.asker();
        let text = signed && self.by_text();
        let owner = &mut self.clients.accounts[account];
        let (timestamp, expiry) = (time - late, time + ttl);
        let mut request =
            Store { account: owner.id, namespace, timestamp, expiry, data: ByteBuf::from(data), auth: None };
        let hash = request.hash();
        let mut stamp = None;
        if signed {
            let said = request.statement(&self.network, time);
            stamp = Some(Stamp { time, digest: said.digest() });
            let text = text.then(|| text::store(&request, time));
            request.auth = Some(owner.auth_by(friend, time, &said, text.as_deref()));
        }
        let drawer = (owner.id, namespace);
        if !owner.known.contains(&(hash, namespace)) {
            owner.known.push((hash, namespace));
            self.checks.drawers.entry(drawer).or_default().push(hash);
        }
        self.messages.entry(hash).or_insert_with(|| request.data.to_vec());
        let fate = self.checks.fates.entry(hash).or_insert_with(|| Fate::new(drawer));
        fate.stores.push(Stored { stamp, text, timestamp, expiry, asked: self.now, acknowledged: None });
        self.checks.asked_to_store(&hash, stamp, self.now);
        let request = Request::Store(request);
        match target {
            Some(target) => self.open_at(account, request, Aim::Write, target),
            None => self.open(account, request, Aim::Write),
        }
    }

    /// One drawer, or all.
    fn some_drawers(&mut self) -> Drawers {
        let one = self.dice.client.pick(&[PUBLIC[0], PUBLIC[1], PRIVATE[0], PRIVATE[1], OUTBOX]);
        let all = self.dice.client.chance(300);
        one.filter(|_| !all).map_or(Drawers::All, Drawers::One)
    }

    /// Deletes what is in a drawer or in all, or what of it was sent before some moment.
    fn delete_in(&mut self, account: usize) {
        let drawers = self.some_drawers();
        let ago = self.dice.client.chance(600).then(|| self.dice.client.between(0, 240_000));
        let (friend, text) = (self.asker(), self.by_text());
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let before = ago.map(|ago| time - ago);
        let which = Which::In { drawers, before, most: None };
        let mut request = Delete { account: owner.id, which, required: false, auth: unsigned(time) };
        let text = text.then(|| text::delete(&request));
        request.auth = owner.auth_by(friend, time, &request.statement(&self.network, time), text.as_deref());
        self.open_change(account, Request::Delete(request));
    }

    /// Lets everything in a drawer, or in all, end by some moment.
    fn expire_in(&mut self, account: usize) {
        let drawers = self.some_drawers();
        let (ttl, text) = (self.ttl(), self.by_text());
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let expiry = time + ttl;
        let which = Which::In { drawers, before: None, most: None };
        let ends = Ends::All(expiry);
        let mut request = Expire { account: owner.id, which, ends, only: None, auth: unsigned(time) };
        let text = text.then(|| text::expire(&request));
        request.auth = owner.auth_by(None, time, &request.statement(&self.network, time), text.as_deref());
        self.open_change(account, Request::Expire(request));
    }

    /// Takes rights away, or gives them back.
    fn revoke(&mut self, account: usize) {
        let (both, which) = (self.dice.client.chance(300), self.dice.client.index(FRIENDS));
        let (undo, text) = (self.dice.client.chance(400), self.by_text());
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let friends = owner.friends.iter().enumerate().filter(|(at, _)| both || *at == which);
        let tokens: Vec<_> = friends.map(|(_, friend)| friend.subaccount.token).collect();
        let mut request = Revoke { account: owner.id, tokens, undo, auth: unsigned(time) };
        let said = request.statement(&self.network, time);
        let text = text.then(|| text::revoke(&request));
        request.auth = owner.auth_by(None, time, &said, text.as_deref());
        let stamp = Stamp { time, digest: said.digest() };
        for token in &request.tokens {
            let key = (request.account, token.hash(&request.account));
            self.checks.rights.entry(key).or_default().push(Said { stamp, undo, acknowledged: false });
        }
        self.open(account, Request::Revoke(request), Aim::Write);
    }

    fn some_known(&mut self, account: usize) -> Vec<MessageHash> {
        let count = self.dice.client.between(1, 3);
        let known = &self.clients.accounts[account].known;
        let mut hashes: Vec<_> =
            (0..count).filter_map(|_| self.dice.client.pick(known)).map(|(hash, _)| hash).collect();
        if self.dice.client.chance(50) {
            hashes.push(MessageHash(self.dice.client.array()));
        }
        hashes
    }

    fn delete(&mut self, account: usize) {
        let hashes = self.some_known(account);
        if hashes.is_empty() {
            return self.store_new(account);
        }
        let text = self.by_text();
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let mut request =
            Delete { account: owner.id, which: Which::Hashes(hashes), required: false, auth: unsigned(time) };
        let text = text.then(|| text::delete(&request));
        request.auth = owner.auth_by(None, time, &request.statement(&self.network, time), text.as_deref());
        self.open_change(account, Request::Delete(request));
    }

    fn expire(&mut self, account: usize) {
        let hashes = self.some_known(account);
        if hashes.is_empty() {
            return self.store_new(account);
        }
        let text = self.by_text();
        let dice = &mut self.dice.client;
        let ttl = match dice.below(4) {
            0 => dice.between(8_000, 60_000),
            1 => dice.between(60_000, 400_000),
            _ => dice.between(3_600_000, MAX_TTL.as_millis() - 10_000),
        };
        let only = dice.pick(&[None, None, Some(Direction::Shorten), Some(Direction::Extend)]).flatten();
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let expiry = time + ttl;
        let mut request = Expire {
            account: owner.id,
            which: Which::Hashes(hashes),
            ends: Ends::All(expiry),
            only,
            auth: unsigned(time),
        };
        let text = text.then(|| text::expire(&request));
        request.auth = owner.auth_by(None, time, &request.statement(&self.network, time), text.as_deref());
        self.open_change(account, Request::Expire(request));
    }

    /// Sends a deletion or a change of expiry, and notes what it may do.
    fn open_change(&mut self, account: usize, request: Request) {
        self.asks_for(&request);
        self.open(account, request, Aim::Write);
    }

    /// Sends an older request again, as it is; it may be too old by now.
    fn repeat(&mut self) {
        let at = self.dice.client.index(self.clients.sent.len());
        if let Some((account, request)) = self.clients.sent.get(at).cloned() {
            self.open(account, request, Aim::Write);
        }
    }

    /// Asks for something that nobody may have.
    fn wrong(&mut self, account: usize) {
        let kind = self.dice.client.below(5);
        let noise: [u8; 64] = self.dice.client.array();
        let text = self.by_text();
        let data = ByteBuf::from(self.dice.client.bytes(40));
        let hash = self.dice.client.pick(&self.clients.accounts[account].known).map(|(hash, _)| hash);
        let owner = &mut self.clients.accounts[account];
        let time = owner.sign_time(self.now);
        let (namespace, expiry) = (PRIVATE[0], time + 3_600_000);
        // What is signed over a statement is good for no other form.
        let form = if text { Form::text() } else { Form::Statement };
        let mut store = Store { account: owner.id, namespace, timestamp: time, expiry, data, auth: None };
        let request = match (kind, hash) {
            (0, Some(hash)) => {
                let mut auth = unsigned(time);
                auth.key = owner.auth(time, &store.statement(&self.network, time)).key;
                (auth.signature.0, auth.form) = (noise, form);
                let which = Which::Hashes(vec![hash]);
                Request::Delete(Delete { account: owner.id, which, required: false, auth })
            }
            // Unsigned in a private drawer.
            (1, _) => Request::Store(store),
            (2, _) => {
                let old = time - 200_000;
                let said = store.statement(&self.network, old);
                store.auth = Some(Auth { form, ..owner.auth(old, &said) });
                Request::Store(store)
            }
            (3, _) => {
                store.expiry = time + MAX_TTL.as_millis() + 1;
                let said = store.statement(&self.network, time);
                store.auth = Some(Auth { form, ..owner.auth(time, &said) });
                Request::Store(store)
            }
            _ => {
                let mut read = Retrieve {
                    account: owner.id,
                    namespace,
                    after: None,
                    last: None,
                    max_count: None,
                    max_size: None,
                    ids: None,
                    auth: None,
                };
                let text = text.then(|| text::retrieve(&read, time));
                let said = read.statement(&self.network, time);
                read.auth = Some(owner.auth_by(None, time, &said, text.as_deref()));
                // Signed for another drawer.
                read.namespace = PRIVATE[1];
                Request::Retrieve(read)
            }
        };
        self.open(account, request, Aim::Refusal);
    }

    fn read(&mut self, account: usize) {
        let drawers = [PUBLIC[0], PUBLIC[1], PRIVATE[0], PRIVATE[1], OUTBOX];
        let namespace = self.dice.client.pick(&drawers).unwrap_or_default();
        let read = self.clients.reads.entry((account, namespace)).or_default();
        if std::mem::replace(&mut read.busy, true) {
            return;
        }
        let target = self.target(account);
        let (friend, text) = (self.asker(), self.by_text());
        let read = self.clients.reads.entry((account, namespace)).or_default();
        let owner = &mut self.clients.accounts[account];
        let after = if owner.thorough { read.chain.at(target) } else { read.chain.latest() };
        // Clients of the JSON door know of no cursors.
        let (after, last) = if text { (None, read.last) } else { (after, None) };
        let max_count = self.dice.client.chance(600).then(|| self.dice.client.between(1, 4) as u32);
        let max_size = self.dice.client.chance(200).then(|| self.dice.client.between(1, 2_000) as u32);
        let time = owner.sign_time(self.now);
        let mut request = Retrieve {
            account: owner.id,
            namespace,
            after,
            last,
            max_count,
            max_size,
            ids: None,
            auth: None,
        };
        let text = text.then(|| text::retrieve(&request, time));
        let said = request.statement(&self.network, time);
        request.auth = Some(owner.auth_by(friend, time, &said, text.as_deref()));
        self.open_at(account, Request::Retrieve(request), Aim::Read, target);
    }
}
