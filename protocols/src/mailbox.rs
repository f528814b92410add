//! What a request does to the store: the machine of one member's mailboxes.
//!
//! The host hands each input a transaction, commits, and releases the outputs only then. Whoever
//! sent a request, its signature has been checked before it comes here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    AccountId, MessageHash, NetworkName, Time,
    answer::{Body, Code, Done, MAX_PAGE, MAX_PAGE_COUNT, MAX_PAGE_IDS, Message, Subject},
    namespace::Namespace,
    record::{Change, Life, Mutation, Place, Record, Stamp, remembered},
    request::{Cursor, Delete, Direction, Expire, Fetch, Ids, Retrieve, Source, Store as StoreRequest},
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
#[expect(clippy::large_enum_variant, reason = "short-lived, and the large one is the common one")]
#[derive(Clone, Debug, PartialEq, Eq)]
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
        done: Done,
        /// Whether this member knew the message before.
        already: bool,
    },
    /// A client's request was refused.
    Refused {
        /// The ticket of [`Input::Write`].
        ticket: u64,
        /// Why.
        code: Code,
    },
    /// A member's message was applied.
    Applied {
        /// The ticket of [`Input::Replicated`].
        ticket: u64,
        /// One for each mutation, in order.
        results: Vec<(Subject, Result<Done, Code>)>,
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
                let (subject, mutation, result) = self.apply(now, mutation, Source::Client, store)?;
                self.outbox.push_back(match result {
                    Ok((done, already)) => Output::Written { ticket, subject, mutation, done, already },
                    Err(code) => Output::Refused { ticket, code },
                });
            }
            Input::Replicated { ticket, mutations } => {
                let mut results = Vec::with_capacity(mutations.len());
                for mutation in mutations {
                    let (subject, _, result) = self.apply(now, mutation, Source::Member, store)?;
                    results.push((subject, result.map(|(done, _)| done)));
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

    #[expect(clippy::type_complexity, reason = "a private triple, named where it is taken apart")]
    fn apply<T: Transaction>(
        &mut self,
        now: Time,
        mutation: Mutation,
        source: Source,
        store: &mut T,
    ) -> Result<(Subject, Mutation, Result<(Done, bool), Code>), StoreError> {
        let now = now.as_millis();
        let head = store.head();
        match mutation {
            Mutation::Store(request) => {
                let (account, namespace, hash) = (request.account, request.namespace, request.hash());
                let subject = Subject::Message { account, namespace, hash };
                let result = self.store(now, &request, hash, source, store);
                let result = self.survive(result, head == store.head())?;
                Ok((subject, Mutation::Store(request), result))
            }
            Mutation::Delete { request, held } => {
                let digest = request.statement(&self.network, request.auth.time).digest();
                let subject = Subject::Request { account: request.account, digest };
                let stamp = Stamp { time: request.auth.time, digest };
                let found = delete(now, &request, &held, stamp, store).map(Ok);
                let (effects, held) = match self.survive(found, true)? {
                    Ok(found) => found,
                    Err(code) => return Ok((subject, Mutation::Delete { request, held }, Err(code))),
                };
                let evidence = Mutation::Delete { request: request.clone(), held: Vec::new() };
                let result = self.keep(now, evidence, remembered(stamp), effects, source, store);
                let result = self.survive(result, head == store.head())?;
                let done = Done::Changed { hashes: held.clone() };
                Ok((subject, Mutation::Delete { request, held }, result.map(|()| (done, false))))
            }
            Mutation::Expire { request, held } => {
                let digest = request.statement(&self.network, request.auth.time).digest();
                let subject = Subject::Request { account: request.account, digest };
                let stamp = Stamp { time: request.auth.time, digest };
                let found = expire(now, &request, &held, stamp, source, store).map(Ok);
                let (effects, held) = match self.survive(found, true)? {
                    Ok(found) => found,
                    Err(code) => return Ok((subject, Mutation::Expire { request, held }, Err(code))),
                };
                let evidence = Mutation::Expire { request: request.clone(), held: Vec::new() };
                let until = request.expiry.max(remembered(stamp));
                let result = self.keep(now, evidence, until, effects, source, store);
                let result = self.survive(result, head == store.head())?;
                let done = Done::Changed { hashes: held.clone() };
                Ok((subject, Mutation::Expire { request, held }, result.map(|()| (done, false))))
            }
        }
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
        until: u64,
        (known, effects): Effects,
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
        let by = if matches!(evidence, Mutation::Delete { .. }) { By::Deletion } else { By::Owner };
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
        request: &StoreRequest,
        hash: MessageHash,
        source: Source,
        store: &mut T,
    ) -> Result<Result<(Done, bool), Code>, StoreError> {
        let account = request.account;
        let before = store.record(&account, &hash)?;
        // What has ended but was not forgotten yet counts as unknown.
        let mut after = before.and_then(|record| record.at(now)).unwrap_or_default();
        let row = store.head().saturating_add(1);
        let life = match &request.auth {
            None => Life::Unsigned { timestamp: request.timestamp, expiry: request.expiry },
            Some(auth) => {
                let digest = request.statement(&self.network, auth.time).digest();
                let stamp = Stamp { time: auth.time, digest };
                Life::Stored { stamp, timestamp: request.timestamp, expiry: request.expiry, row }
            }
        };
        let known = after.life.is_some();
        let joined = joins(&after, &life);
        if !joined {
            // That its owner ended it is nobody's business.
            let expiry = after.expiry().filter(|end| *end > now).unwrap_or(request.expiry);
            return Ok(Ok((Done::Keeps { expiry }, true)));
        }
        // What its owner had ended arrives anew: readers have gone past its old place.
        let held_before = after.place.filter(|_| after.readable(Time::from_millis(now)));
        after.join_life(life);
        // What counts is the end that its owner set last, which may be known here already.
        if after.at(now) != Some(after) {
            // It has ended, by itself or by a change that is known here: as good as kept.
            return Ok(Ok((Done::Keeps { expiry: request.expiry }, true)));
        }
        let size = u32::try_from(request.data.len()).unwrap_or(u32::MAX);
        let namespace = request.namespace;
        let signed = request.auth.is_some();
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
        if held_before.is_none() {
            self.outbox.push_back(Output::Arrived { account, namespace });
        }
        let expiry = after.expiry().unwrap_or(request.expiry);
        Ok(Ok((Done::Keeps { expiry }, known)))
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

/// Whether joining `life` would change the record.
fn joins(record: &Record, life: &Life) -> bool {
    let mut copy = *record;
    copy.join_life(*life)
}

/// What a deletion or change of expiry does, and whether its evidence is kept here already.
type Effects = (bool, Vec<Effect>);

/// Deletes what is known here or was held by the sender; returns which hashes are deleted now.
fn delete<S: Store>(
    now: u64,
    request: &Delete,
    held: &[MessageHash],
    stamp: Stamp,
    store: &S,
) -> Result<(Effects, Vec<MessageHash>), StoreError> {
    let held: BTreeSet<_> = held.iter().collect();
    let account = request.account;
    let records = records(store, &account, &request.hashes)?;
    // A member is told of one hash at a time, and keeps the request once.
    let kept = records.iter().find_map(|(_, record)| match record.as_ref()?.life? {
        Life::Deleted { stamp: known, row } if known == stamp => Some(row),
        Life::Deleted { .. } | Life::Stored { .. } | Life::Unsigned { .. } => None,
    });
    let row = kept.unwrap_or_else(|| store.head().saturating_add(1));
    let mut effects = Vec::new();
    let mut deleted = Vec::new();
    for (hash, before) in &records {
        let before = *before;
        // What has ended but was not forgotten yet counts as unknown.
        let known = before.and_then(|record| record.at(now));
        if known.is_none() && !held.contains(hash) {
            continue;
        }
        let mut after = known.unwrap_or_default();
        let changed = after.join_life(Life::Deleted { stamp, row });
        if changed && after.until() <= now {
            // Passed on so late that its tombstone would be over.
            continue;
        }
        if changed && after.deleted() {
            after.place = None;
        }
        // An exact repeat is answered again, under the row that it already has.
        let repeat = matches!(after.life, Some(Life::Deleted { stamp: known, .. }) if known == stamp);
        if repeat || after.deleted() {
            deleted.push(*hash);
        }
        if changed {
            let after = if crate::mutants::on("forget-tombstone") { None } else { Some(after) };
            effects.push(Effect { account, hash: *hash, before, after });
        }
    }
    Ok(((kept.is_some(), effects), deleted))
}

/// Changes the expiry of what is known here or was changed by the sender; returns which.
fn expire<S: Store>(
    now: u64,
    request: &Expire,
    held: &[MessageHash],
    stamp: Stamp,
    source: Source,
    store: &S,
) -> Result<(Effects, Vec<MessageHash>), StoreError> {
    let held: BTreeSet<_> = held.iter().collect();
    let account = request.account;
    let records = records(store, &account, &request.hashes)?;
    let mut changes = records.iter().filter_map(|(_, record)| record.as_ref()?.change);
    let kept = changes.find(|change| change.stamp == stamp).map(|change| change.row);
    let row = kept.unwrap_or_else(|| store.head().saturating_add(1));
    let new = Change { stamp, expiry: request.expiry, row };
    let mut effects = Vec::new();
    let mut updated = Vec::new();
    for (hash, before) in &records {
        let before = *before;
        let known = before.and_then(|record| record.at(now));
        let told = source == Source::Member && held.contains(hash);
        // What has ended does not come back by a change; nor by one to what is deleted.
        let end = |record: &Record| match record.life {
            None => record.change.map(|change| change.expiry),
            Some(_) => record.expiry(),
        };
        let live = known.filter(|record| end(record).is_none_or(|end| end > now));
        let current = live.and_then(|record| record.expiry());
        // A direction was judged by the first receiver; the others do as it did.
        let wanted = match (request.only, current) {
            _ if told => true,
            (None, _) => live.is_some(),
            (Some(_), _) if source == Source::Member => false,
            (Some(Direction::Shorten), Some(current)) => request.expiry < current,
            (Some(Direction::Extend), Some(current)) => request.expiry > current,
            (Some(_), None) => false,
        };
        let repeat = known.and_then(|record| record.change).is_some_and(|change| change.stamp == stamp);
        if !wanted && !repeat {
            continue;
        }
        let mut after = known.unwrap_or_default();
        let changed = after.join_change(new);
        let counts = after.counting_change().is_some_and(|change| change.stamp == stamp);
        if counts && !after.deleted() {
            updated.push(*hash);
        }
        // It may end with this change.
        let after = after.at(now);
        if changed && (before.is_some() || after.is_some()) {
            effects.push(Effect { account, hash: *hash, before, after });
        }
    }
    Ok(((kept.is_some(), effects), updated))
}

/// Each hash once, with what is known of it.
fn records<S: Store>(
    store: &S,
    account: &AccountId,
    hashes: &[MessageHash],
) -> Result<Vec<(MessageHash, Option<Record>)>, StoreError> {
    let mut seen = BTreeSet::new();
    let unique = hashes.iter().filter(move |hash| seen.insert(**hash));
    unique.map(|hash| Ok((*hash, store.record(account, hash)?))).collect()
}

/// Reads a page of one namespace: [`Body::Messages`], or [`Body::Ids`] to who wants hashes first.
///
/// A cursor that is not known here starts from the beginning: it may resend, it never skips.
///
/// # Errors
///
/// When the store fails.
pub fn retrieve<S: Store>(store: &S, now: Time, request: &Retrieve) -> Result<Body, StoreError> {
    let (account, namespace, after) = (&request.account, request.namespace, request.after);
    let listed = match request.ids {
        None => false,
        Some(Ids::Anew) => known(store, after).is_none(),
        Some(Ids::Always) => true,
    };
    let most = if listed { MAX_PAGE_IDS } else { MAX_PAGE_COUNT };
    let count = request.max_count.map_or(most, |count| (count as usize).clamp(1, most));
    if listed {
        return ids(store, now, account, namespace, after, count);
    }
    let size = request.max_size.map_or(MAX_PAGE, |size| (size as usize).min(MAX_PAGE));
    page(store, now, account, namespace, after, count, size)
}

/// Reads a page after a cursor, at most `count` messages and `size` bytes, but one at least.
///
/// # Errors
///
/// When the store fails.
pub fn page<S: Store>(
    store: &S,
    now: Time,
    account: &AccountId,
    namespace: Namespace,
    after: Option<Cursor>,
    count: usize,
    size: usize,
) -> Result<Body, StoreError> {
    let mut messages: Vec<Message> = Vec::new();
    let mut bytes = 0_usize;
    let (more, cursor) = walk(store, now, account, namespace, after, |hash, record| {
        let Some(message) = read(store, account, record, hash)? else { return Ok(true) };
        let longer = bytes.saturating_add(message.data.len());
        let fits = messages.len() < count && (longer <= size || messages.is_empty());
        if fits {
            bytes = longer;
            messages.push(message);
        }
        Ok(fits)
    })?;
    Ok(Body::Messages { messages, more, cursor })
}

/// Lists the hashes of a page after a cursor, at most `count`.
fn ids<S: Store>(
    store: &S,
    now: Time,
    account: &AccountId,
    namespace: Namespace,
    after: Option<Cursor>,
    count: usize,
) -> Result<Body, StoreError> {
    let mut hashes = Vec::new();
    let (more, cursor) = walk(store, now, account, namespace, after, |hash, _| {
        let fits = hashes.len() < count;
        if fits {
            hashes.push(hash);
        }
        Ok(fits)
    })?;
    Ok(Body::Ids { hashes, more, cursor })
}

/// Reads messages by their hashes, at most [`MAX_PAGE`] bytes, but one at least: [`Body::Fetched`].
///
/// # Errors
///
/// When the store fails.
pub fn fetch<S: Store>(store: &S, now: Time, request: &Fetch) -> Result<Body, StoreError> {
    let mut messages: Vec<Message> = Vec::new();
    let mut bytes = 0_usize;
    let mut dealt = 0_u32;
    for hash in &request.hashes {
        let record = store.record(&request.account, hash)?.filter(|record| record.readable(now));
        let record =
            record.filter(|record| record.place.is_some_and(|place| place.namespace == request.namespace));
        if let Some(message) =
            record.map(|record| read(store, &request.account, &record, *hash)).transpose()?.flatten()
        {
            bytes = bytes.saturating_add(message.data.len());
            if bytes > MAX_PAGE && !messages.is_empty() {
                break;
            }
            messages.push(message);
        }
        dealt = dealt.saturating_add(1);
    }
    Ok(Body::Fetched { messages, hashes: dealt })
}

/// Walks what can be read after a cursor, oldest arrival first, until `take` wants no more; tells
/// whether it stopped there, and where.
fn walk<S: Store>(
    store: &S,
    now: Time,
    account: &AccountId,
    namespace: Namespace,
    after: Option<Cursor>,
    mut take: impl FnMut(MessageHash, &Record) -> Result<bool, StoreError>,
) -> Result<(bool, Cursor), StoreError> {
    const STEP: usize = 128;
    let incarnation = store.incarnation();
    let mut sequence = known(store, after).unwrap_or(0);
    if crate::mutants::on("skip-cursor") && after.is_some() {
        sequence = sequence.saturating_add(1);
    }
    loop {
        let arrivals = store.page(account, namespace, sequence, STEP)?;
        let last = arrivals.len() < STEP;
        for (arrival, hash) in arrivals {
            let record = store.record(account, &hash)?.filter(|record| record.readable(now));
            if let Some(record) = record
                && !take(hash, &record)?
            {
                return Ok((true, Cursor { incarnation, sequence }));
            }
            sequence = arrival;
        }
        if last {
            // Everything up to the head was looked at, whatever it was.
            return Ok((false, Cursor { incarnation, sequence: store.head() }));
        }
    }
}

/// Where a cursor stands, if it is one of this life of the store.
///
/// One beyond the last arrival was given out before the store lost what it points behind.
fn known<S: Store>(store: &S, after: Option<Cursor>) -> Option<u64> {
    let ours =
        after.filter(|cursor| cursor.incarnation == store.incarnation() && cursor.sequence <= store.head());
    ours.map(|cursor| cursor.sequence)
}

fn read<S: Store>(
    store: &S,
    account: &AccountId,
    record: &Record,
    hash: MessageHash,
) -> Result<Option<Message>, StoreError> {
    let lost = |why| StoreError::Lost { account: *account, hash, why };
    let (Some(place), Some(timestamp), Some(expiry)) = (record.place, record.timestamp(), record.expiry())
    else {
        return Ok(None);
    };
    match store.mutation(place.row).map_err(|error| error.about(account, hash))? {
        Some(Mutation::Store(request)) => Ok(Some(Message { hash, timestamp, expiry, data: request.data })),
        Some(Mutation::Delete { .. } | Mutation::Expire { .. }) => Err(lost("its row holds something else")),
        None => Err(lost("its row is missing")),
    }
}

#[cfg(test)]
mod regressions;
#[cfg(test)]
mod tests;
