//! What a request does to the store: the machine of one member's mailboxes.
//!
//! The host hands each input a transaction, commits, and releases the outputs only then. Whoever
//! sent a request, its signature has been checked before it comes here.

mod change;
mod outbox;
mod read;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use change::Detail;
pub use read::{allowed, expiries, fetch, page, retrieve, revoked};

use change::{Found, Reach};

use crate::{
    AccountId, MessageHash, NetworkName, Time,
    answer::{Code, Done, Subject},
    namespace::{Class, Namespace},
    record::{Change, Life, Mutation, Place, RECORD_COST, Record, Stamp, remembered},
    request::{Door, MAX_TOKENS, REVOCATIONS, Revoke, Source, Store as StoreRequest},
    store::{Effect, Entry, Store, StoreError, Transaction},
    swarm::Known,
};

/// How many records one tick may forget.
pub const FORGET_STEP: usize = 256;

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For all accounts together, in bytes. Beyond it stores are refused; nothing is evicted.
    pub bytes: u64,
    /// For one account, in bytes. Members that pass a request on may fill it twice over, so that
    /// those who accepted and those who follow never disagree about a full mailbox. The last eighth is
    /// the owner's: strangers cannot keep them from storing and changing. A deletion, which makes room
    /// in the end, may go half beyond this bound, and an eighth beyond that of all.
    pub account_bytes: u64,
}

impl Limits {
    /// Whether an account may take up `cost` more bytes.
    fn allow<S: Store>(
        &self,
        store: &S,
        account: &AccountId,
        cost: u64,
        source: Source,
        by: By,
    ) -> Result<bool, StoreError> {
        let account_bytes = self.account_bytes;
        let all = match by {
            By::Deletion => self.bytes.saturating_add(self.bytes / 8),
            By::Owner | By::Stranger => self.bytes,
        };
        let one = match (source, by) {
            (Source::Member, _) => account_bytes.saturating_mul(2),
            (Source::Client, By::Deletion) => account_bytes.saturating_add(account_bytes / 2),
            (Source::Client, By::Owner) => account_bytes,
            (Source::Client, By::Stranger) => account_bytes.saturating_sub(account_bytes / 8),
        };
        Ok(store.occupied().saturating_add(cost) <= all
            && store.usage(account)?.bytes.saturating_add(cost) <= one)
    }

    /// Whether a client's request finds room in its account, whoever made it; the node may have none.
    fn is_roomy<S: Store>(&self, store: &S, mutation: &Mutation) -> bool {
        let anywhere = Self { bytes: u64::MAX, ..*self };
        let (account, cost) = (mutation.account(), mutation.weight() as u64);
        anywhere.allow(store, account, cost, Source::Client, By::Stranger).unwrap_or(false)
    }
}

/// By whom, or by what, an account takes up more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Stranger,
    Owner,
    Deletion,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 20 << 30, account_bytes: 256 << 20 }
    }
}

/// What the mailbox machine is fed.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client's request, checked.
    Write {
        /// The host's number for it.
        ticket: u64,
        /// The request; `held` is empty.
        mutation: Mutation,
    },
    /// A client's change of whole drawers that goes on.
    Continue {
        /// The host's number for it.
        ticket: u64,
        /// The request, as in [`Input::Write`].
        mutation: Mutation,
        /// The last arrival that it is about: what came later the client did not mean.
        until: u64,
        /// The last message that the step before changed: it goes on behind it.
        after: Option<MessageHash>,
    },
    /// What another member passed on, each mutation checked.
    Replicated {
        /// The host's number for the message.
        ticket: u64,
        /// In order.
        mutations: Vec<Mutation>,
    },
    /// What is kept of a message cannot be read any more: the record goes, so that a comparison with
    /// another member finds it missing and brings it back.
    Lost {
        /// Whose.
        account: AccountId,
        /// Which.
        hash: MessageHash,
    },
    /// Others keep these, and have them: those that are still in this state go.
    Purge {
        /// At most [`MAX_HELD`](crate::swarm::MAX_HELD).
        records: Vec<Known>,
    },
    /// Time has passed: forget a bounded number of what has ended.
    Tick,
}

/// What the host must do once the transaction is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "short-lived, and the large one is the common one")]
pub enum Output {
    /// A client's request was applied here; it wants a majority.
    Written {
        /// The ticket of [`Input::Write`].
        ticket: u64,
        /// What the receipts will be about.
        subject: Subject,
        /// What to pass on to the other members.
        mutation: Mutation,
        /// What was done here.
        outcome: Outcome,
    },
    /// A client's request was refused.
    Refused {
        /// The ticket of [`Input::Write`].
        ticket: u64,
        /// Why.
        code: Code,
        /// The request, where the account has room for it and this node has none: others may have.
        left: Option<Box<Mutation>>,
    },
    /// A member's message was applied.
    Applied {
        /// The ticket of [`Input::Replicated`].
        ticket: u64,
        /// Each mutation, in order, what its receipt is about and what it did.
        results: Vec<(Subject, Mutation, Result<Outcome, Code>)>,
    },
    /// A subaccount's rights are taken away.
    Revoked {
        /// Whose subaccount.
        account: AccountId,
        /// Which, by its token.
        hash: MessageHash,
    },
    /// Something could not be read from the disk; what depends on it was refused or left.
    Damaged(&'static str),
    /// A message can be read that could not before.
    Arrived {
        /// Whose.
        account: AccountId,
        /// In which drawer.
        namespace: Namespace,
    },
}

/// What a mutation did here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What this member signs for.
    pub done: Done,
    /// Whether it knew the message before.
    pub already: bool,
    /// What it tells a client of the JSON door beside that.
    pub detail: Detail,
}

/// The machine.
#[derive(Debug)]
pub struct Mailbox {
    network: NetworkName,
    limits: Limits,
    outbox: VecDeque<Output>,
    more_to_forget: bool,
}

impl Mailbox {
    /// A machine for the mailboxes that one node keeps.
    pub const fn new(network: NetworkName, limits: Limits) -> Self {
        Self { network, limits, outbox: VecDeque::new(), more_to_forget: false }
    }

    /// Applies one input; results are read with [`Self::poll`] once `store` is durable.
    ///
    /// # Errors
    ///
    /// When the store fails. The transaction must then be dropped, and so must all outputs since
    /// the last commit: see [`Self::forget_outputs`].
    pub fn handle<T: Transaction>(
        &mut self,
        now: Time,
        input: Input,
        store: &mut T,
    ) -> Result<(), StoreError> {
        match input {
            Input::Write { ticket, mutation } => {
                self.write(now, ticket, mutation, Reach::ALL, store)?;
            }
            Input::Continue { ticket, mutation, until, after } => {
                self.write(now, ticket, mutation, Reach { until, after }, store)?;
            }
            Input::Replicated { ticket, mutations } => {
                let mut results = Vec::with_capacity(mutations.len());
                for mutation in mutations {
                    results.push(self.apply(now, mutation, (Source::Member, Reach::ALL), store)?);
                }
                self.outbox.push_back(Output::Applied { ticket, results });
            }
            Input::Lost { account, hash } => {
                let head = store.head();
                let before = self.survive(store.record(&account, &hash).map(Ok), true)?;
                if let Ok(Some(before)) = before {
                    let effects = vec![Effect { account, hash, before: Some(before), after: None }];
                    let entry = Entry { mutation: None, evidence_until: None, effects };
                    let forgotten = store.append(entry).map(Ok);
                    let _ = self.survive(forgotten, head == store.head())?;
                }
            }
            Input::Purge { records } => {
                let mut effects = Vec::with_capacity(records.len());
                let once = |Known { account, hash, id }| ((account, hash), id);
                for ((account, hash), id) in records.into_iter().map(once).collect::<BTreeMap<_, _>>() {
                    let before = self.survive(store.record(&account, &hash).map(Ok), true)?;
                    if let Ok(Some(before)) = before
                        && before.id(&account, &hash) == *id
                    {
                        effects.push(Effect { account, hash, before: Some(before), after: None });
                    }
                }
                self.drop_records(effects, store)?;
            }
            Input::Tick => self.forget(now, store)?,
        }
        Ok(())
    }

    /// Takes the next thing to do; call only after the commit.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Drops what was to be done: the transaction behind it failed.
    pub fn forget_outputs(&mut self) {
        self.outbox.clear();
    }

    /// Whether the last tick left something to forget, so that the next may come at once.
    pub const fn more_to_forget(&self) -> bool {
        self.more_to_forget
    }

    /// Applies what a client asks for.
    fn write<T: Transaction>(
        &mut self,
        now: Time,
        ticket: u64,
        mutation: Mutation,
        reach: Reach,
        store: &mut T,
    ) -> Result<(), StoreError> {
        let (subject, mutation, result) = self.apply(now, mutation, (Source::Client, reach), store)?;
        self.outbox.push_back(match result {
            Ok(outcome) => Output::Written { ticket, subject, mutation, outcome },
            Err(code) => {
                let here_alone = code == Code::Full && self.limits.is_roomy(store, &mutation);
                Output::Refused { ticket, code, left: here_alone.then(|| Box::new(mutation)) }
            }
        });
        Ok(())
    }

    fn apply<T: Transaction>(
        &mut self,
        now: Time,
        mut mutation: Mutation,
        (source, reach): (Source, Reach),
        store: &mut T,
    ) -> Result<(Subject, Mutation, Result<Outcome, Code>), StoreError> {
        let now = now.as_millis();
        let head = store.head();
        let subject = mutation.subject(&self.network);
        if let (Mutation::Store(request), Subject::Message { hash, .. }) = (&mut mutation, subject) {
            let result = self.store(now, request, hash, source, store);
            let result = self.survive(result, head == store.head())?;
            return Ok((subject, mutation, result));
        }
        let stamp = mutation.stamp(&self.network).unwrap_or_default();
        let result = if let Mutation::Revoke { request, held } = &mutation
            && !request.undo
        {
            let result = self.revoke(now, (request, held.as_slice()), stamp, source, store);
            self.survive(result, head == store.head())?
        } else {
            self.change(now, &mutation, stamp, (source, reach), store)?
        };
        if let (Ok(Outcome { done: Done::Changed { hashes }, .. }), Some(held)) =
            (&result, mutation.held_mut())
        {
            held.clone_from(hashes);
        }
        Ok((subject, mutation, result))
    }

    /// Applies a change to messages or revocations that are known here or to its sender.
    fn change<T: Transaction>(
        &mut self,
        now: u64,
        mutation: &Mutation,
        stamp: Stamp,
        (source, reach): (Source, Reach),
        store: &mut T,
    ) -> Result<Result<Outcome, Code>, StoreError> {
        let head = store.head();
        let found = change::find(now, mutation, stamp, (source, reach), store).map(Ok);
        let Found { kept, effects, hashes, detail } = match self.survive(found, true)? {
            Ok(found) => found,
            Err(code) => return Ok(Err(code)),
        };
        let result = self.keep(now, mutation.evidence(), stamp, (kept, effects), source, store);
        let result = self.survive(result, head == store.head())?;
        Ok(result.map(|()| Outcome { done: Done::Changed { hashes }, already: false, detail }))
    }

    /// Takes rights away: each revocation has a row of its own, which holds what the owner signed. The
    /// newest of an account are kept. Where hashes are held, those tokens alone are meant.
    fn revoke<T: Transaction>(
        &mut self,
        now: u64,
        (request, held): (&Revoke, &[MessageHash]),
        stamp: Stamp,
        source: Source,
        store: &mut T,
    ) -> Result<Result<Outcome, Code>, StoreError> {
        let account = request.account;
        let evidence = Mutation::Revoke { request: request.clone(), held: Vec::new() };
        let size = u32::try_from(evidence.evidence_cost()).unwrap_or(u32::MAX);
        let mut kept: BTreeMap<_, _> = BTreeMap::new();
        for (hash, record) in read::revocations(store, &account)? {
            kept.extend(record.revoked().map(|stamp| ((stamp, hash), Some(record))));
        }
        let (mut new, mut hashes) = (BTreeMap::new(), Vec::new());
        // Of the others that the request names the undoing may have been forgotten.
        let meant = |hash: &MessageHash| held.is_empty() || held.contains(hash);
        for hash in request.tokens.iter().map(|token| token.hash(&account)).filter(meant) {
            let before = store.record(&account, &hash)?;
            let mut after = before.and_then(|record| record.at(now)).unwrap_or_default();
            // What deletes messages gives no rights back, whatever a member says that it was about.
            if let Some(Life::Deleted { row, .. }) = after.life
                && store.mutation(row)?.is_some_and(|why| !matches!(why, Mutation::Revoke { .. }))
            {
                after.life = None;
            }
            if after.join_life(Life::Revoked { stamp, row: 0 }) {
                new.insert((stamp, hash), (before, after));
                let earlier = before.and_then(|record| record.revoked());
                earlier.map(|earlier| kept.remove(&(earlier, hash)));
                kept.insert((stamp, hash), None);
            }
            if after.revoked().is_some() {
                hashes.push(hash);
            }
        }
        if crate::mutants::on("revoke-empty") && store.usage(&account)?.records == 0 {
            new.clear();
        }
        let cost = u64::from(size).saturating_add(RECORD_COST).saturating_mul(new.len() as u64);
        if cost > 0 && !self.limits.allow(store, &account, cost, source, By::Deletion)? {
            return Ok(Err(Code::Full));
        }
        while kept.len() > MAX_TOKENS {
            match kept.pop_first() {
                Some(((_, hash), Some(record))) => {
                    let effects = vec![Effect { account, hash, before: Some(record), after: None }];
                    store.append(Entry { mutation: None, evidence_until: None, effects })?;
                }
                Some((key, None)) => drop(new.remove(&key)),
                None => break,
            }
        }
        for ((_, hash), (before, mut after)) in new {
            let row = store.head().saturating_add(1);
            after.life = Some(Life::Revoked { stamp, row });
            after.place = Some(Place { sequence: row, row, namespace: REVOCATIONS, size });
            let effects = vec![Effect { account, hash, before, after: Some(after) }];
            store.append(Entry { mutation: Some(evidence.clone()), evidence_until: None, effects })?;
            self.outbox.push_back(Output::Revoked { account, hash });
        }
        Ok(Ok(Outcome { done: Done::Changed { hashes }, already: false, detail: Detail::default() }))
    }

    /// Refuses a mutation that cannot be judged because what is kept of its messages cannot be read,
    /// where nothing of it was appended yet. Reopening the store would not mend it.
    fn survive<T>(
        &mut self,
        result: Result<Result<T, Code>, StoreError>,
        untouched: bool,
    ) -> Result<Result<T, Code>, StoreError> {
        match result {
            Err(StoreError::Damaged(why) | StoreError::Lost { why, .. }) if untouched => {
                self.outbox.push_back(Output::Damaged(why));
                Ok(Err(Code::Failed))
            }
            other => other,
        }
    }

    /// Appends what a deletion or change of expiry does, and keeps the request as its evidence,
    /// unless a record names it already. It is kept without the hashes that its sender held, which
    /// its owner did not sign.
    fn keep<T: Transaction>(
        &mut self,
        now: u64,
        evidence: Mutation,
        stamp: Stamp,
        (known, effects): (bool, Vec<Effect>),
        source: Source,
        store: &mut T,
    ) -> Result<Result<(), Code>, StoreError> {
        if effects.is_empty() {
            return Ok(Ok(()));
        }
        let cost = |record: Option<Record>| record.map_or(0, |record| record.cost());
        let before = effects.iter().map(|effect| cost(effect.before)).fold(0, u64::saturating_add);
        let after = effects.iter().map(|effect| cost(effect.after)).fold(0, u64::saturating_add);
        let charged = if known { 0 } else { evidence.evidence_cost() };
        let more = after.saturating_add(charged).saturating_sub(before);
        let by = match evidence {
            Mutation::Expire { .. } => By::Owner,
            Mutation::Delete { .. }
            | Mutation::Replace { .. }
            | Mutation::Revoke { .. }
            | Mutation::Store(_) => By::Deletion,
        };
        // A change of expiry is wanted for as long as a message that it lets live longer.
        let ends = effects.iter().filter_map(|effect| effect.after?.change).map(|change| change.expiry);
        let until = ends.fold(remembered(stamp), u64::max);
        if more > 0 && !self.limits.allow(store, evidence.account(), more, source, by)? {
            return Ok(Err(Code::Full));
        }
        // What had ended, and lasts longer by a change that is signed later, arrives anew, because
        // readers have gone past its old place. Each has an entry of its own: that is its new place.
        let now = Time::from_millis(now);
        let returns = |effect: &Effect| {
            let readable = |record: Option<Record>| record.is_some_and(|record| record.readable(now));
            readable(effect.after) && !readable(effect.before)
        };
        let (returning, effects): (Vec<_>, Vec<_>) = effects.into_iter().partition(returns);
        if !known {
            store.append(Entry { mutation: Some(evidence), evidence_until: Some(until), effects })?;
        } else if !effects.is_empty() {
            store.append(Entry { mutation: None, evidence_until: None, effects })?;
        }
        let mut arrived = BTreeSet::new();
        for mut effect in returning {
            if let Some(place) = effect.after.as_mut().and_then(|after| after.place.as_mut()) {
                place.sequence = store.head().saturating_add(1);
                arrived.insert((effect.account, place.namespace));
            }
            store.append(Entry { mutation: None, evidence_until: None, effects: vec![effect] })?;
        }
        for (account, namespace) in arrived {
            self.outbox.push_back(Output::Arrived { account, namespace });
        }
        Ok(Ok(()))
    }

    fn store<T: Transaction>(
        &mut self,
        now: u64,
        request: &mut StoreRequest,
        hash: MessageHash,
        source: Source,
        store: &mut T,
    ) -> Result<Result<Outcome, Code>, StoreError> {
        let (account, namespace) = (request.account, request.namespace);
        let kept =
            |expiry, already| Outcome { done: Done::Keeps { expiry }, already, detail: Detail::default() };
        let before = store.record(&account, &hash)?;
        // What has ended but was not forgotten yet counts as unknown.
        let mut after = before.and_then(|record| record.at(now)).unwrap_or_default();
        // A tombstone counts for what its owner signed, whatever a member says that it was about.
        if let Some(Life::Deleted { row, .. }) = after.life
            && store.mutation(row)?.is_some_and(|why| !why.covers(namespace, request.timestamp))
        {
            after.life = None;
        }
        // So does a change of expiry that was heard of before its message: of one that is known it was judged
        // when it came.
        if let Record { life: None, change: Some(Change { row, .. }), .. } = after
            && store.mutation(row)?.is_some_and(|why| !why.covers(namespace, request.timestamp))
        {
            after.change = None;
        }
        if source == Source::Client {
            repeat(request, &after, now);
        }
        let row = store.head().saturating_add(1);
        let stamp = request.auth.as_ref().map(|auth| {
            let digest = request.statement(&self.network, auth.time).digest();
            Stamp { time: auth.time, digest }
        });
        let (timestamp, expiry) = (request.timestamp, request.expiry);
        let life = match stamp {
            None => Life::Unsigned { timestamp, expiry },
            Some(stamp) => Life::Stored { stamp, timestamp, expiry, row },
        };
        let known = after.life.is_some();
        if !joins(&after, &life) {
            // That its owner ended it is nobody's business.
            let expiry = after.expiry().filter(|end| *end > now).unwrap_or(expiry);
            return Ok(Ok(kept(expiry, true)));
        }
        // What its owner had ended arrives anew: readers have gone past its old place.
        let held_before = after.place.filter(|_| after.readable(Time::from_millis(now)));
        after.join_life(life);
        // What counts is the end that its owner set last, which may be known here already.
        if after.at(now) != Some(after) {
            // It has ended, by itself or by a change that is known here, which is nobody's business: as good as kept.
            return Ok(Ok(kept(expiry, known || expiry > now)));
        }
        let outbox = stamp.filter(|_| namespace.class() == Class::PublicOutbox);
        let others = match outbox {
            Some(_) => outbox::others(store, now, &account, namespace, &hash)?,
            None => Vec::new(),
        };
        let newest = others.iter().max_by_key(|(stamp, ..)| *stamp);
        if let (Some(stamp), Some((newer, _, Record { life: Some(Life::Stored { row, .. }), .. }))) =
            (outbox, newest)
            && *newer > stamp
        {
            outbox::bury(store, account, (*newer, *row), [(hash, before)])?;
            return Ok(Ok(kept(expiry, true)));
        }
        let size = u32::try_from(request.data.len()).unwrap_or(u32::MAX);
        let signed = stamp.is_some();
        after.place = Some(match held_before {
            // The signed request is evidence and holds the bytes too.
            Some(place) if signed => Place { row, ..place },
            Some(place) => place,
            None => Place { sequence: row, row, namespace, size },
        });
        let by = if signed { By::Owner } else { By::Stranger };
        if held_before.is_none() && !self.limits.allow(store, &account, after.cost(), source, by)? {
            return Ok(Err(Code::Full));
        }
        let keeps_bytes = signed || held_before.is_none();
        store.append(Entry {
            mutation: keeps_bytes.then(|| Mutation::Store(request.clone())),
            evidence_until: None,
            effects: vec![Effect { account, hash, before, after: Some(after) }],
        })?;
        if let Some(stamp) = outbox {
            let older = others.into_iter().map(|(_, hash, record)| (hash, Some(record)));
            outbox::bury(store, account, (stamp, row), older)?;
        }
        if held_before.is_none() {
            self.outbox.push_back(Output::Arrived { account, namespace });
        }
        Ok(Ok(kept(after.expiry().unwrap_or(expiry), known)))
    }

    fn forget<T: Transaction>(&mut self, now: Time, store: &mut T) -> Result<(), StoreError> {
        let now = now.as_millis();
        let head = store.head();
        let due = self.survive(store.due(now, FORGET_STEP).map(Ok), true)?.unwrap_or_default();
        let retired = store.retire(now, FORGET_STEP).map(Ok);
        let retired = self.survive(retired, head == store.head())?.unwrap_or_default();
        let full = due.len() == FORGET_STEP;
        let mut effects = Vec::with_capacity(due.len());
        for (account, hash) in due.into_iter().collect::<BTreeSet<_>>() {
            // One that cannot be read stays.
            let before = self.survive(store.record(&account, &hash).map(Ok), true)?;
            if let Ok(Some(before)) = before {
                effects.push(Effect { account, hash, before: Some(before), after: before.at(now) });
            }
        }
        self.more_to_forget = (full && !effects.is_empty()) || retired == FORGET_STEP;
        if !self.drop_records(effects, store)? {
            self.more_to_forget = false;
        }
        Ok(())
    }

    /// Appends that records go; false where some could not.
    fn drop_records<T: Transaction>(
        &mut self,
        effects: Vec<Effect>,
        store: &mut T,
    ) -> Result<bool, StoreError> {
        if effects.is_empty() {
            return Ok(true);
        }
        let head = store.head();
        let entry = |effects| Entry { mutation: None, evidence_until: None, effects };
        let together = store.append(entry(effects.clone())).map(Ok);
        if self.survive(together, head == store.head())?.is_ok() {
            return Ok(true);
        }
        // One account's sums cannot be read: the others' records go one by one.
        for effect in effects {
            let head = store.head();
            let alone = store.append(entry(vec![effect])).map(Ok);
            let _ = self.survive(alone, head == store.head())?;
        }
        Ok(false)
    }
}

/// Where the JSON door's form of signing leaves a message's times open, a repeat keeps the first time and
/// never ends the message earlier.
fn repeat(request: &mut StoreRequest, known: &Record, now: u64) {
    let text = request.auth.as_ref().is_some_and(|auth| auth.form.door() == Door::Json);
    if text
        && known.readable(Time::from_millis(now))
        && let (Some(timestamp), Some(expiry)) = (known.timestamp(), known.expiry())
    {
        (request.timestamp, request.expiry) = (timestamp, expiry.max(request.expiry));
    }
}

/// Whether joining `life` would change the record.
fn joins(record: &Record, life: &Life) -> bool {
    let mut copy = *record;
    copy.join_life(*life)
}

#[cfg(test)]
mod regressions;
#[cfg(test)]
mod tests;
