//! The store, and one transaction on it.

use std::{fmt, ops::ControlFlow, path::Path, sync::Arc};

use session_protocols::{
    AccountId, MessageHash, Namespace, codec,
    record::{Mutation, Record},
    store::{Bucket, Entry, Fingerprint, Item, Store, StoreError, Transaction, Usage},
};

use crate::{
    Directory, Disk, OpenError, Options, Stats, bodies,
    error::{Stop, failed, guarded, refusing},
    journal::{self, Chunk, Journal, Meta},
    layers::{self, Layers, Table},
    layout::{self, Deeds, ROW_VERSION, RowError, Stored},
    merge::Sealed,
    overlay::{Layer, Overlay, Sums},
    recent::Recent,
    tables::{self, Tables, View},
};

/// The messages of one node, in two files; one thread owns it.
///
/// After an error in a transaction, or one that was dropped with entries in it, the memory may not
/// be what is on the disk: the store refuses everything until [`Self::reopen`].
pub struct MessageStore {
    disk: Arc<dyn Disk>,
    options: Options,
    files: Option<Files>,
    memory: Memory,
    recent: Recent,
    refusing: bool,
}

struct Files {
    journal: Journal,
    tables: Tables,
}

/// What the journal has and the tables have not, and the sums of both.
#[derive(Default)]
struct Memory {
    active: Overlay,
    sealed: Option<Sealed>,
    sums: Sums,
    head: u64,
}

impl fmt::Debug for MessageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStore")
            .field("disk", &self.disk)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl MessageStore {
    /// Opens the store in a directory, or makes it.
    ///
    /// # Errors
    ///
    /// Says why, and what a person can do.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(Directory::new(path)), options)
    }

    /// Opens the store on a disk, or makes it.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let recent = Recent::new(options.recent_bytes);
        let (files, memory) =
            guarded(|| load(disk.as_ref(), &options, &recent)).map_err(|stop| stop.at(disk.place()))?;
        Ok(Self { disk, options, files: Some(files), memory, recent, refusing: false })
    }

    /// Closes the files, opens them again and rebuilds the memory from what is found.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; the store keeps refusing then, and this can be tried again.
    pub fn reopen(&mut self) -> Result<(), OpenError> {
        self.refusing = true;
        self.recent.clear();
        // The old files hold the lock.
        self.memory.sealed = None;
        drop(self.files.take());
        let disk = self.disk.as_ref();
        let (files, memory) =
            guarded(|| load(disk, &self.options, &self.recent)).map_err(|stop| stop.at(disk.place()))?;
        (self.files, self.memory, self.refusing) = (Some(files), memory, false);
        Ok(())
    }

    /// Tells whether the disk takes so many bytes more, which may be worth a new try after it was
    /// full; the store is left alone.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn reserve(&self, bytes: u64) -> Result<(), StoreError> {
        self.disk.reserve(bytes).map_err(|cause| failed(redb::Error::Io(cause)))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// When an earlier one failed: see [`Self::reopen`].
    pub fn begin(&mut self) -> Result<Writer<'_>, StoreError> {
        self.files()?;
        Ok(Writer { store: self, chunks: Vec::new(), row: Vec::new(), changes: 0, bytes: 0, open: false })
    }

    /// How full it is.
    pub fn stats(&self) -> Stats {
        let sealed = self.memory.sealed.as_ref().map_or(0, |sealed| sealed.overlay().changes);
        Stats {
            occupied: self.memory.sums.occupied,
            messages: self.memory.sums.messages,
            head: self.memory.head,
            merged: self.files.as_ref().map_or(0, |files| files.tables.meta.merged),
            waiting: self.memory.active.changes.saturating_add(sealed),
        }
    }

    fn files(&self) -> Result<&Files, StoreError> {
        self.files.as_ref().filter(|_| !self.refusing).ok_or_else(refusing)
    }

    fn parts(&mut self) -> Result<(&mut Files, &mut Memory), StoreError> {
        if self.refusing {
            return Err(refusing());
        }
        Ok((self.files.as_mut().ok_or_else(refusing)?, &mut self.memory))
    }

    fn layers<const N: usize, V: Stored>(
        &self,
        layer: impl Fn(&Overlay) -> &Layer<N, V>,
        table: impl Fn(&View) -> &Table<N>,
    ) -> Result<Layers<'_, N, V>, StoreError> {
        Ok(Layers {
            active: layer(&self.memory.active),
            sealed: self.memory.sealed.as_ref().map(|sealed| layer(sealed.overlay())),
            table: table(&self.files()?.tables.view),
        })
    }

    /// What the newest overlay that says anything says.
    fn newest<'a, V>(&'a self, say: impl Fn(&'a Overlay) -> Option<V>) -> Option<V> {
        say(&self.memory.active).or_else(|| say(self.memory.sealed.as_ref()?.overlay()))
    }

    /// Whether a row's mutation is known to be needed by nothing.
    fn gone(&self, row: u64) -> bool {
        let sealed = self.memory.sealed.as_ref();
        self.memory.active.gone.contains(&row)
            || sealed.is_some_and(|sealed| sealed.overlay().gone.contains(&row))
    }

    /// Merges the share that a commit of so much pays for, and seals an overlay that is full.
    fn maintain(&mut self, changes: usize, bytes: usize) -> Result<(), StoreError> {
        let options = self.options;
        let (Files { journal, tables }, memory) = self.parts()?;
        if let Some(sealed) = &mut memory.sealed {
            let whole = |bound: usize| bound.max(1);
            // Whichever bound comes nearer sets the pace.
            let by_bytes = (bytes as u128).saturating_mul(whole(options.overlay_changes) as u128)
                > (changes as u128).saturating_mul(whole(options.overlay_bytes) as u128);
            let (part, bound) =
                if by_bytes { (bytes, options.overlay_bytes) } else { (changes, options.overlay_changes) };
            let pace = sealed.pay(part, whole(bound), options.slice)?;
            if pace.moved {
                tables.refresh()?;
            }
            if pace.done {
                tables.meta.merged = sealed.last();
                memory.sealed = None;
            }
        }
        if memory.sealed.is_none() && options.full(&memory.active) {
            memory.seal(journal, tables, &options);
        }
        Ok(())
    }
}

impl Options {
    fn full(&self, overlay: &Overlay) -> bool {
        overlay.changes >= self.overlay_changes || overlay.bytes >= self.overlay_bytes
    }
}

impl Memory {
    /// Lets what is active be merged.
    fn seal(&mut self, journal: &Journal, tables: &Tables, options: &Options) {
        let successor = self.active.successor();
        let overlay = std::mem::replace(&mut self.active, successor);
        let mut sealed = Sealed::new(overlay, self.sums.clone(), self.head, journal, tables);
        if options.merge_thread {
            sealed.start(options.slice);
        }
        self.sealed = Some(sealed);
    }
}

/// Opens both files and replays what is not merged.
fn load(disk: &dyn Disk, options: &Options, recent: &Recent) -> Result<(Files, Memory), Stop> {
    let small = (options.cache_bytes / 8).clamp(1 << 20, 32 << 20);
    let (mut journal, journal_meta) = Journal::open(disk, small)?;
    let (db, found) = tables::open(disk, options.cache_bytes.saturating_sub(small))?;
    let (tables_meta, sums) =
        found.map_or_else(|| (None, Sums::default()), |(meta, sums)| (Some(meta), sums));
    let Meta { id, floor } = match journal_meta {
        Some(meta) => meta,
        // The journal is made first, so tables without one have lost their newest entries.
        None if tables_meta.is_some() => return Err(Stop::Mismatch("the journal is missing")),
        None => journal.create(options.fresh_incarnation)?,
    };
    let own = tables::Meta { id, merged: 0 };
    let merged = tables_meta.unwrap_or(own).merged;
    if tables_meta.is_some_and(|tables| tables.id != id) {
        return Err(Stop::Mismatch("they are of different stores"));
    }
    if merged < floor {
        return Err(Stop::Mismatch("the tables are older than the journal"));
    }
    if journal.last()? < merged {
        return Err(Stop::Mismatch("the journal is older than the tables"));
    }
    let mut tables = Tables::open(db, tables_meta, own)?;
    let mut memory = Memory { sums, head: merged, ..Memory::default() };
    let entries = Arc::clone(&journal.db);
    journal::walk(&entries, merged.saturating_add(1), |first, chunk| {
        if options.full(&memory.active) {
            // A crash during a merge leaves as much again: bound the memory.
            let overlay = std::mem::take(&mut memory.active);
            Sealed::new(overlay, memory.sums.clone(), memory.head, &journal, &tables).finish()?;
            tables.meta.merged = memory.head;
        }
        memory.replay(first, chunk)?;
        Ok::<_, Stop>(ControlFlow::Continue(()))
    })?;
    tables.refresh()?;
    memory.sums.messages = layers::count(&memory.active.arrivals, &tables.view.arrivals)?;
    remember(recent, &journal, tables.meta.merged, &memory.active)?;
    if options.full(&memory.active) {
        memory.seal(&journal, &tables, options);
    }
    Ok((Files { journal, tables }, memory))
}

/// Remembers the newest messages of the journal, as if they had just been written: they are what
/// most will ask for first.
fn remember(recent: &Recent, journal: &Journal, merged: u64, newest: &Overlay) -> Result<(), StoreError> {
    let mut room = recent.room();
    if room == 0 {
        return Ok(());
    }
    let mut found = Vec::new();
    journal::walk_back(&journal.db, merged.saturating_add(1), |first, chunk| {
        let entries: Vec<_> = journal::rows(first, chunk).flatten().collect();
        for (row, entry) in entries.into_iter().rev().filter(|(row, _)| !newest.gone.contains(row)) {
            let mutation = layout::split_row(entry).ok().map(|(_, mutation)| decode_mutation(mutation));
            // One that cannot be read is told to whoever asks for it.
            let Some(Ok(Some(mutation @ Mutation::Store(_)))) = mutation else { continue };
            let Some(left) = room.checked_sub(Recent::weight(entry.len())) else {
                return ControlFlow::Break(());
            };
            room = left;
            found.push((row, mutation, entry.len()));
        }
        ControlFlow::Continue(())
    })?;
    // The newest come last, so that they are let go of last.
    for (row, mutation, len) in found.into_iter().rev() {
        recent.keep_mutation(row, mutation, len);
    }
    Ok(())
}

impl Memory {
    /// Takes the entries of a chunk in again.
    fn replay(&mut self, first: u64, chunk: &[u8]) -> Result<(), Stop> {
        let told = |error| match error {
            RowError::Version(found) => Stop::Entry { found, supported: ROW_VERSION },
            RowError::Damaged => Stop::Store(error.into()),
        };
        for row in journal::rows(first, chunk) {
            let (sequence, row) = row.ok_or(StoreError::Damaged("an entry of the journal"))?;
            let next = self.head.saturating_add(1);
            if sequence != next {
                return Err(StoreError::Damaged("an entry of the journal is missing").into());
            }
            let (deeds, _) = layout::split_row(row).map_err(told)?;
            let deeds = layout::decode_deeds(deeds).map_err(told)?;
            self.active.apply(sequence, &deeds, row.len(), &mut self.sums);
            self.head = next;
        }
        Ok(())
    }
}

impl Store for MessageStore {
    fn record(&self, account: &AccountId, hash: &MessageHash) -> Result<Option<Record>, StoreError> {
        let view = &self.files()?.tables.view;
        let key = layout::record_key(account, hash);
        if let Some(newest) = self.newest(|overlay| overlay.records.get(&key)) {
            return Ok(*newest);
        }
        if let Some(record) = self.recent.record(&key) {
            return Ok(Some(record));
        }
        let found = guarded(|| layers::get(&key, None, &view.records))?;
        if let Some(record) = found {
            self.recent.keep_record(key, record);
        }
        Ok(found)
    }

    fn page(
        &self,
        account: &AccountId,
        namespace: Namespace,
        sequence: u64,
        limit: usize,
    ) -> Result<Vec<(u64, MessageHash)>, StoreError> {
        let arrivals = self.layers(|overlay| &overlay.arrivals, |view| &view.arrivals)?;
        let drawer = (*account, namespace);
        if let Some(page) = self.recent.page(&drawer, sequence, limit) {
            return Ok(page);
        }
        let first = layout::arrival_key(account, namespace, sequence.saturating_add(1));
        let last = layout::arrival_key(account, namespace, u64::MAX);
        // Whatever arrived after the last merge came with an entry that the overlays hold.
        let in_memory = sequence >= self.files()?.tables.meta.merged;
        let page: Vec<_> = guarded(|| {
            let found = if in_memory { arrivals.newest(first, last) } else { arrivals.range(first, last)? };
            let page =
                found.take(limit).map(|row| row.map(|(key, hash)| (layout::arrival_sequence(&key), hash)));
            page.collect::<Result<_, StoreError>>()
        })?;
        if page.len() < limit {
            self.recent.keep_tail(drawer, sequence, page.clone());
        }
        Ok(page)
    }

    fn drawers(&self, account: &AccountId) -> Result<Vec<Namespace>, StoreError> {
        let arrivals = self.layers(|overlay| &overlay.arrivals, |view| &view.arrivals)?;
        let last = layout::arrival_key(account, Namespace(i16::MAX), u64::MAX);
        guarded(|| {
            let mut found = Vec::new();
            let mut from = Some(i16::MIN);
            // From the first arrival of one drawer to that of the next that has any.
            while let Some(start) = from {
                let first = layout::arrival_key(account, Namespace(start), 0);
                let Some(row) = arrivals.range(first, last)?.next() else { break };
                let (key, _) = row?;
                let Some(namespace) = layout::arrival_namespace(&key) else { break };
                found.push(namespace);
                from = namespace.0.checked_add(1);
            }
            Ok(found)
        })
    }

    fn mutation(&self, row: u64) -> Result<Option<Mutation>, StoreError> {
        let Files { journal, tables } = self.files()?;
        if self.gone(row) {
            return Ok(None);
        }
        if let Some(mutation) = self.recent.mutation(row) {
            return Ok(Some(mutation));
        }
        let decode = |bytes: &[u8]| Ok::<_, StoreError>(decode_mutation(bytes)?.map(|it| (it, bytes.len())));
        let found = guarded(|| {
            if row > tables.meta.merged {
                let Some(entry) = journal.row(row)? else { return Ok(None) };
                let (_, mutation) = layout::split_row(&entry)?;
                return decode(mutation);
            }
            bodies::find(&tables.view.bodies, row, decode).map(Option::flatten)
        })?;
        Ok(found.map(|(mutation, len)| {
            self.recent.keep_mutation(row, mutation.clone(), len);
            mutation
        }))
    }

    fn usage(&self, account: &AccountId) -> Result<Usage, StoreError> {
        let view = &self.files()?.tables.view;
        let key = account.as_bytes();
        let usage = guarded(|| layers::get(key, self.newest(|overlay| overlay.usage.get(key)), &view.usage))?;
        Ok(usage.unwrap_or_default())
    }

    fn occupied(&self) -> u64 {
        self.memory.sums.occupied
    }

    fn due(&self, now: u64, limit: usize) -> Result<Vec<(AccountId, MessageHash)>, StoreError> {
        let ends = self.layers(|overlay| &overlay.ends, |view| &view.ends)?;
        let (lowest, highest) = bounds();
        let first = layout::end_key(0, &lowest.0, &lowest.1);
        let last = layout::end_key(now, &highest.0, &highest.1);
        guarded(|| {
            let found = readable(ends.range(first, last)?).take(limit);
            found
                .map(|row| {
                    row.map(|(key, _)| layout::end_parts(&key)).map(|(_, account, hash)| (account, hash))
                })
                .collect()
        })
    }

    fn fingerprints(&self) -> Vec<(Bucket, Fingerprint)> {
        self.memory.sums.prints.iter().map(|(bucket, print)| (*bucket, *print)).collect()
    }

    fn bucket(&self, bucket: Bucket, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError> {
        let ends = self.layers(|overlay| &overlay.ends, |view| &view.ends)?;
        let (lowest, highest) = bounds();
        let first = layout::end_key(bucket.start(), &lowest.0, &lowest.1);
        let end = match bucket.0 {
            u32::MAX => u64::MAX,
            _ => bucket.start().saturating_add(Bucket::MILLIS).saturating_sub(1),
        };
        let last = layout::end_key(end, &highest.0, &highest.1);
        guarded(|| {
            for row in readable(ends.range(first, last)?) {
                let (key, id) = row?;
                if id == layout::SHEDS {
                    continue;
                }
                let (until, account, hash) = layout::end_parts(&key);
                visit(Item { id, until, account, hash });
            }
            Ok(())
        })
    }

    fn incarnation(&self) -> u64 {
        self.options.fresh_incarnation
    }

    fn head(&self) -> u64 {
        self.memory.head
    }
}

/// The rows that can be read: one that is damaged must not keep all others from being compared and
/// forgotten. Whoever looks for the record that it belongs to finds the damage.
fn readable<T>(
    rows: impl Iterator<Item = Result<T, StoreError>>,
) -> impl Iterator<Item = Result<T, StoreError>> {
    rows.filter(|row| !matches!(row, Err(StoreError::Damaged(_))))
}

/// The lowest and the highest account and hash.
const fn bounds() -> ((AccountId, MessageHash), (AccountId, MessageHash)) {
    let lowest = (AccountId::from_bytes([0; 33]), MessageHash([0; 32]));
    (lowest, (AccountId::from_bytes([u8::MAX; 33]), MessageHash([u8::MAX; 32])))
}

fn decode_mutation(bytes: &[u8]) -> Result<Option<Mutation>, StoreError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    codec::decode(bytes, usize::MAX).map(Some).map_err(|_| StoreError::Damaged("a mutation"))
}

/// One transaction: it reads what it wrote, and [`Self::commit`] makes it durable.
///
/// Dropped with entries in it, it leaves the store refusing until [`MessageStore::reopen`].
#[derive(Debug)]
pub struct Writer<'a> {
    store: &'a mut MessageStore,
    chunks: Vec<Chunk>,
    /// The entry at hand: one after the other uses its memory.
    row: Vec<u8>,
    changes: usize,
    bytes: usize,
    /// Whether the memory is ahead of the disk.
    open: bool,
}

impl Writer<'_> {
    /// Makes everything in it durable, and does a share of the merge.
    ///
    /// # Errors
    ///
    /// When the disk fails. What was written may be durable all the same: the store refuses until
    /// [`MessageStore::reopen`] has looked.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let chunks = std::mem::take(&mut self.chunks);
        let (changes, bytes) = (self.changes, self.bytes);
        let result = guarded(|| {
            let (files, _) = self.store.parts()?;
            if !chunks.is_empty() {
                let merged = files.tables.meta.merged;
                files.journal.commit(chunks, merged)?;
            }
            self.store.maintain(changes, bytes)
        });
        self.open = false;
        self.store.refusing |= result.is_err();
        result
    }

    /// Whether there is nothing to commit.
    pub const fn is_empty(&self) -> bool {
        !self.open
    }

    /// Appends an entry, once it is known what the accounts take up after it. That is all that can fail,
    /// and leaves everything as it was.
    fn write(&mut self, mut deeds: Deeds, mutation: Option<Mutation>) -> Result<u64, StoreError> {
        let mut usage = Accounts { store: self.store, usage: Vec::new() };
        for effect in &deeds.effects {
            usage.count(&effect.account, effect.before.map(|record| (record.cost(), 1)), false)?;
            usage.count(&effect.account, effect.after.map(|record| (record.cost(), 1)), true)?;
        }
        for (_, charge) in &deeds.retired {
            usage.count(&charge.account, Some((charge.bytes, 0)), false)?;
        }
        if let Some((_, charge)) = &deeds.evidence {
            usage.count(&charge.account, Some((charge.bytes, 0)), true)?;
        }
        deeds.usage = usage.usage;
        // Until the commit says otherwise.
        self.open = true;
        let row = &mut self.row;
        row.clear();
        layout::encode_head(&deeds, row);
        if let Some(mutation) = &mutation {
            codec::append(mutation, row);
        }
        let memory = &mut self.store.memory;
        let sequence = memory.head.saturating_add(1);
        journal::push(&mut self.chunks, sequence, row);
        memory.active.apply(sequence, &deeds, row.len(), &mut memory.sums);
        memory.head = sequence;
        self.store.recent.forget(&deeds);
        // Whom a message is for will ask for it before long.
        if let Some(mutation @ Mutation::Store(_)) = mutation {
            self.store.recent.keep_mutation(sequence, mutation, row.len());
        }
        self.changes = self.changes.saturating_add(deeds.changes());
        self.bytes = self.bytes.saturating_add(row.len());
        Ok(sequence)
    }
}

/// What the accounts of an entry take up.
struct Accounts<'a> {
    store: &'a MessageStore,
    usage: Vec<(AccountId, Usage)>,
}

impl Accounts<'_> {
    /// Counts bytes and records in or out.
    fn count(&mut self, account: &AccountId, what: Option<(u64, u64)>, more: bool) -> Result<(), StoreError> {
        let Some((bytes, records)) = what else { return Ok(()) };
        let at = match self.usage.iter().position(|(known, _)| known == account) {
            Some(at) => at,
            None => {
                self.usage.push((*account, self.store.usage(account)?));
                self.usage.len().saturating_sub(1)
            }
        };
        if let Some((_, usage)) = self.usage.get_mut(at) {
            let add = if more { u64::saturating_add } else { u64::saturating_sub };
            *usage = Usage { bytes: add(usage.bytes, bytes), records: add(usage.records, records) };
        }
        Ok(())
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.store.refusing |= self.open;
    }
}

impl Transaction for Writer<'_> {
    fn append(&mut self, entry: Entry) -> Result<u64, StoreError> {
        let deeds = Deeds { evidence: entry.charge(), effects: entry.effects, ..Deeds::default() };
        self.write(deeds, entry.mutation)
    }

    fn retire(&mut self, now: u64, limit: usize) -> Result<usize, StoreError> {
        let evidence = self.store.layers(|overlay| &overlay.evidence, |view| &view.evidence)?;
        let last = layout::evidence_key(now, u64::MAX);
        let due: Vec<_> = guarded(|| {
            readable(evidence.range([0; 16], last)?).take(limit).collect::<Result<_, StoreError>>()
        })?;
        let retired = due.len();
        if retired > 0 {
            self.write(Deeds { retired: due, ..Deeds::default() }, None)?;
        }
        Ok(retired)
    }
}

impl Store for Writer<'_> {
    fn record(&self, account: &AccountId, hash: &MessageHash) -> Result<Option<Record>, StoreError> {
        self.store.record(account, hash)
    }

    fn page(
        &self,
        account: &AccountId,
        namespace: Namespace,
        sequence: u64,
        limit: usize,
    ) -> Result<Vec<(u64, MessageHash)>, StoreError> {
        self.store.page(account, namespace, sequence, limit)
    }

    fn drawers(&self, account: &AccountId) -> Result<Vec<Namespace>, StoreError> {
        self.store.drawers(account)
    }

    fn mutation(&self, row: u64) -> Result<Option<Mutation>, StoreError> {
        match journal::pushed(&self.chunks, row) {
            Some(_) if self.store.gone(row) => Ok(None),
            Some(entry) => decode_mutation(layout::split_row(entry)?.1),
            None => self.store.mutation(row),
        }
    }

    fn usage(&self, account: &AccountId) -> Result<Usage, StoreError> {
        self.store.usage(account)
    }

    fn occupied(&self) -> u64 {
        self.store.occupied()
    }

    fn due(&self, now: u64, limit: usize) -> Result<Vec<(AccountId, MessageHash)>, StoreError> {
        self.store.due(now, limit)
    }

    fn fingerprints(&self) -> Vec<(Bucket, Fingerprint)> {
        self.store.fingerprints()
    }

    fn bucket(&self, bucket: Bucket, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError> {
        self.store.bucket(bucket, visit)
    }

    fn incarnation(&self) -> u64 {
        self.store.incarnation()
    }

    fn head(&self) -> u64 {
        self.store.head()
    }
}

#[cfg(test)]
mod tests;
