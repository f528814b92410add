//! To whom a request goes, how often, and when it is given up.

use session_protocols::{Span, codec, request::Request};

use super::{Aim, Op, digest_of};
use crate::{
    checks::{Violation, broken},
    queue::Event,
    world::World,
};

/// How long a client waits for an answer.
const PATIENCE: Span = Span::secs(12);
/// How often it asks in all.
const TRIES: u32 = 7;
/// How long it goes on asking: a signed time is good for a minute.
const PERSISTENCE: Span = Span::secs(45);
/// How many requests are remembered to be sent again as they are.
const REMEMBERED: usize = 64;

impl World {
    /// A member of the account's swarm; now and then any node.
    pub(super) fn target(&mut self, account: usize) -> usize {
        if self.dice.client.chance(40) {
            return self.dice.client.index(self.nodes.len());
        }
        self.some_member(account)
    }

    pub(crate) fn some_member(&mut self, account: usize) -> usize {
        let members = self.map.members_of(&self.clients.accounts[account].id);
        let member = self.dice.client.pick(members);
        member.and_then(|member| self.index.get(&member).copied()).unwrap_or_default()
    }

    /// Another member of the account's swarm than this one, if there is one.
    pub(super) fn another_member(&mut self, account: usize, not: usize) -> usize {
        let members = self.map.members_of(&self.clients.accounts[account].id);
        let others = members.iter().filter_map(|member| self.index.get(member)).copied();
        let others: Vec<_> = others.filter(|member| *member != not).collect();
        self.dice.client.pick(&others).unwrap_or(not)
    }

    pub(super) fn open(&mut self, account: usize, request: Request, aim: Aim) {
        let target = self.target(account);
        self.open_at(account, request, aim, target);
    }

    pub(super) fn open_at(&mut self, account: usize, request: Request, aim: Aim, target: usize) {
        self.clients.next_op += 1;
        let op = self.clients.next_op;
        let must = aim == Aim::Write && self.now >= self.settled;
        if aim == Aim::Write {
            let remembered = (account, request.clone());
            if self.clients.sent.len() < REMEMBERED {
                self.clients.sent.push(remembered);
            } else {
                self.clients.sent[(op % REMEMBERED as u64) as usize] = remembered;
            }
        }
        // A repeat may be too old to be taken, and a short life be over before the last try.
        let fresh = request_times(&request).is_none_or(|(made, ends)| {
            let clock = self.clients.accounts[account].clock(self.now);
            made + 10_000 > clock && ends > clock + 90_000
        });
        let until = self.now.after(PERSISTENCE);
        // Who is revoked is refused.
        let owner = request.auth().is_none_or(|auth| auth.subaccount.is_none());
        let must = must && fresh && owner;
        let (attempt, tries, receipts, version) = (0, 0, Vec::new(), self.map.version);
        let sent = self.now;
        let (apart, empty, race) = (false, self.nothing_kept(account), None);
        let op_state = Op {
            account,
            request,
            aim,
            target,
            attempt,
            tries,
            until,
            sent,
            receipts,
            version,
            must,
            apart,
            empty,
            race,
        };
        self.clients.ops.insert(op, op_state);
        self.attempt(op);
    }

    /// Sends a request, for the first time or again.
    fn attempt(&mut self, op: u64) {
        let apart = self.clients.ops.get(&op).is_some_and(|state| self.members_apart(state.account));
        let Some(state) = self.clients.ops.get_mut(&op) else { return };
        state.apart |= apart;
        state.attempt += 1;
        state.tries += 1;
        state.sent = self.now;
        if let (Some(account), Some(digest)) =
            (state.request.account(), digest_of(&self.network, &state.request))
        {
            self.checks.sent(*account, &digest, Some(self.now));
        }
        let (attempt, node) = (state.attempt, state.target);
        let bytes = codec::encode(&state.request);
        let host = &self.nodes[node];
        let (up, boot) = (host.up(), host.boot);
        if up && !self.client_drops() {
            let at = self.now.after(self.client_delay());
            self.queue.push(at, Event::Request { node, boot, op, attempt, bytes });
        }
        // Where nobody listens, that is often said at once.
        let refused = !up && self.dice.net.coin();
        let wait = if refused { self.client_delay() } else { PATIENCE };
        self.queue.push(self.now.after(wait), Event::Patience { op, attempt });
    }

    /// Whether no member keeps anything of an account, neither messages nor what was said of subaccounts.
    fn nothing_kept(&self, account: usize) -> bool {
        let id = self.clients.accounts[account].id;
        let stores = self.nodes.iter().filter_map(|node| node.disk.store());
        stores.into_iter().all(|store| store.usage(&id).is_ok_and(|usage| usage.records == 0))
    }

    /// Whether some members of an account's swarm cannot reach each other.
    fn members_apart(&self, account: usize) -> bool {
        let members = self.map.members_of(&self.clients.accounts[account].id);
        let members: Vec<_> = members.iter().filter_map(|member| self.index.get(member)).collect();
        members.iter().any(|one| members.iter().any(|other| self.separated(**one, **other)))
    }

    pub(crate) fn patience(&mut self, op: u64, attempt: u32) -> Result<(), Violation> {
        if self.clients.ops.get(&op).is_some_and(|state| state.attempt == attempt) {
            return self.try_again(op, None);
        }
        Ok(())
    }

    /// Asks another member in a while, unless it was asked often enough.
    pub(super) fn try_again(&mut self, op: u64, target: Option<usize>) -> Result<(), Violation> {
        let Some(state) = self.clients.ops.get_mut(&op) else { return Ok(()) };
        let account = state.account;
        let over = state.tries >= TRIES || self.now >= state.until || state.aim != Aim::Write;
        if over && (target.is_none() || state.tries >= TRIES) {
            return self.give_up(op);
        }
        // An answer to this attempt comes too late.
        state.attempt += 1;
        let member = target.unwrap_or_else(|| self.some_member(account));
        if let Some(state) = self.clients.ops.get_mut(&op) {
            state.target = member;
        }
        let pause = self.dice.client.span(Span::millis(200), Span::secs(2));
        self.queue.push(self.now.after(pause), Event::Again { op });
        Ok(())
    }

    pub(crate) fn again(&mut self, op: u64) {
        self.attempt(op);
    }

    fn give_up(&mut self, op: u64) -> Result<(), Violation> {
        let Some(state) = self.clients.ops.remove(&op) else { return Ok(()) };
        match state.aim {
            Aim::Write if state.must => {
                let detail = format!("no majority for {:?} at node {}", state.request, state.target);
                return broken("writes succeed after healing", detail);
            }
            // Who is revoked asks in vain.
            Aim::Write if state.request.auth().is_some_and(|auth| auth.subaccount.is_some()) => {}
            Aim::Write => self.counts.given_up += 1,
            Aim::Read => self.end_read(&state),
            Aim::Refusal => {}
        }
        Ok(())
    }

    pub(super) fn end_read(&mut self, state: &Op) {
        if let Request::Retrieve(request) = &state.request
            && let Some(read) = self.clients.reads.get_mut(&(state.account, request.namespace))
        {
            read.busy = false;
        }
    }
}

/// When a request was signed or made, and when what it asks for ends.
fn request_times(request: &Request) -> Option<(u64, u64)> {
    match request {
        Request::Store(request) => {
            Some((request.auth.as_ref().map_or(request.timestamp, |auth| auth.time), request.expiry))
        }
        Request::Delete(request) => Some((request.auth.time, u64::MAX)),
        Request::Expire(request) => Some((request.auth.time, request.end(0))),
        Request::Revoke(request) => Some((request.auth.time, u64::MAX)),
        _ => None,
    }
}
