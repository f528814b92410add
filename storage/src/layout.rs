//! The bytes on the disk: keys that sort right, values with a checksum, entries of the journal.
//!
//! All numbers are big-endian. Every value ends in the CRC-32 of its key and itself, because redb
//! verifies its own checksums only when it repairs a file.

use session_protocols::{
    AccountId, MessageHash, Namespace,
    record::{Change, Life, Place, Record, Stamp},
    store::{Charge, Effect, StoreError, Usage},
};

/// Account, hash.
pub(crate) type RecordKey = [u8; 65];
/// Account, namespace, sequence.
pub(crate) type ArrivalKey = [u8; 43];
/// End, account, hash: when the record ends, and when its message is shed if that is earlier.
pub(crate) type EndKey = [u8; 73];
/// What stands under the end of a message that is shed, where under the end of a record its id stands,
/// which is a hash.
pub(crate) const SHEDS: [u8; 32] = [0; 32];
/// End, row.
pub(crate) type EvidenceKey = [u8; 16];

/// The version of what [`encode_head`] writes.
pub(crate) const ROW_VERSION: u8 = 1;

const CRC: usize = 4;

pub(crate) fn record_key(account: &AccountId, hash: &MessageHash) -> RecordKey {
    join([account.as_bytes(), &hash.0])
}

pub(crate) fn arrival_key(account: &AccountId, namespace: Namespace, sequence: u64) -> ArrivalKey {
    join([account.as_bytes(), &offset(namespace).to_be_bytes(), &sequence.to_be_bytes()])
}

pub(crate) fn end_key(until: u64, account: &AccountId, hash: &MessageHash) -> EndKey {
    join([&until.to_be_bytes(), account.as_bytes(), &hash.0])
}

pub(crate) fn evidence_key(until: u64, row: u64) -> EvidenceKey {
    join([&until.to_be_bytes(), &row.to_be_bytes()])
}

pub(crate) fn arrival_sequence(key: &ArrivalKey) -> u64 {
    u64::from_be_bytes(last(key))
}

pub(crate) fn end_parts(key: &EndKey) -> (u64, AccountId, MessageHash) {
    let mut from = Reader(key);
    let until = from.number().unwrap_or_default();
    let account = from.take().map_or(AccountId::from_bytes([0; 33]), AccountId::from_bytes);
    (until, account, MessageHash(last(key)))
}

pub(crate) fn evidence_row(key: &EvidenceKey) -> u64 {
    u64::from_be_bytes(last(key))
}

/// The namespace of an arrival.
pub(crate) fn arrival_namespace(key: &ArrivalKey) -> Option<Namespace> {
    let mut from = Reader(key.get(AccountId::LEN..)?);
    from.short().map(turned)
}

/// Signed numbers sort as bytes once the sign is turned.
const fn offset(namespace: Namespace) -> u16 {
    (namespace.0 as u16) ^ 0x8000
}

/// The opposite of [`offset`].
const fn turned(number: u16) -> Namespace {
    Namespace((number ^ 0x8000) as i16)
}

fn join<const N: usize, const P: usize>(parts: [&[u8]; P]) -> [u8; N] {
    let mut all = [0; N];
    let mut rest = all.as_mut_slice();
    for part in parts {
        let Some((to, behind)) = std::mem::take(&mut rest).split_at_mut_checked(part.len()) else { break };
        to.copy_from_slice(part);
        rest = behind;
    }
    all
}

fn last<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.last_chunk().copied().unwrap_or([0; N])
}

/// Ends a value with its checksum; `value` holds nothing else.
pub(crate) fn seal(key: &[u8], value: &mut Vec<u8>) {
    value.extend_from_slice(&checksum(key, value).to_be_bytes());
}

/// The value without its checksum, if that is right.
pub(crate) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let (value, crc) = value.split_last_chunk::<CRC>().ok_or(StoreError::Damaged("a value is too short"))?;
    if checksum(key, value) == u32::from_be_bytes(*crc) {
        Ok(value)
    } else {
        Err(StoreError::Damaged("a value does not match its checksum"))
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(value);
    crc.finalize()
}

/// A value of a table.
pub(crate) trait Stored: Copy {
    /// Appends the bytes, without checksum.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads them again.
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

/// Decodes a table's value.
pub(crate) fn decode<V: Stored>(key: &[u8], value: &[u8]) -> Result<V, StoreError> {
    let mut from = Reader(unseal(key, value)?);
    V::read(&mut from).filter(|_| from.0.is_empty()).ok_or(StoreError::Damaged("a value has no known layout"))
}

/// Takes values off the front of bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    fn short(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// A length, and as many bytes.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.word()?).ok()?;
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(first)
    }
}

impl Stored for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.word()
    }
}

impl Stored for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.number()
    }
}

impl Stored for [u8; 32] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.take()
    }
}

impl Stored for MessageHash {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.take().map(Self)
    }
}

impl Stored for Usage {
    fn write(&self, out: &mut Vec<u8>) {
        self.bytes.write(out);
        self.records.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { bytes: from.number()?, records: from.number()? })
    }
}

impl Stored for Charge {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.account.as_bytes());
        self.bytes.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { account: AccountId::from_bytes(from.take()?), bytes: from.number()? })
    }
}

impl Stored for Stamp {
    fn write(&self, out: &mut Vec<u8>) {
        self.time.write(out);
        self.digest.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { time: from.number()?, digest: from.take()? })
    }
}

/// The low bits of a record's first byte say which life it has; these say what follows.
const CHANGED: u8 = 4;
const PLACED: u8 = 8;
/// The life of a revocation.
const REVOKED: u8 = 16;

impl Stored for Record {
    fn write(&self, out: &mut Vec<u8>) {
        let life = match self.life {
            None => 0,
            Some(Life::Unsigned { .. }) => 1,
            Some(Life::Stored { .. }) => 2,
            Some(Life::Deleted { .. }) => 3,
            Some(Life::Revoked { .. }) => REVOKED,
        };
        let changed = if self.change.is_some() { CHANGED } else { 0 };
        let placed = if self.place.is_some() { PLACED } else { 0 };
        out.push(life | changed | placed);
        match &self.life {
            None => {}
            Some(Life::Unsigned { timestamp, expiry }) => {
                timestamp.write(out);
                expiry.write(out);
            }
            Some(Life::Stored { stamp, timestamp, expiry, row }) => {
                stamp.write(out);
                timestamp.write(out);
                expiry.write(out);
                row.write(out);
            }
            Some(Life::Deleted { stamp, row } | Life::Revoked { stamp, row }) => {
                stamp.write(out);
                row.write(out);
            }
        }
        if let Some(Change { stamp, expiry, row }) = &self.change {
            stamp.write(out);
            expiry.write(out);
            row.write(out);
        }
        if let Some(Place { sequence, row, namespace, size }) = &self.place {
            sequence.write(out);
            row.write(out);
            out.extend_from_slice(&offset(*namespace).to_be_bytes());
            size.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let what = from.byte()?;
        let life = match what & !(CHANGED | PLACED) {
            0 => None,
            1 => Some(Life::Unsigned { timestamp: from.number()?, expiry: from.number()? }),
            2 => Some(Life::Stored {
                stamp: Stamp::read(from)?,
                timestamp: from.number()?,
                expiry: from.number()?,
                row: from.number()?,
            }),
            3 => Some(Life::Deleted { stamp: Stamp::read(from)?, row: from.number()? }),
            REVOKED => Some(Life::Revoked { stamp: Stamp::read(from)?, row: from.number()? }),
            _ => return None,
        };
        let mut record = Self { life, ..Self::default() };
        if what & CHANGED != 0 {
            let stamp = Stamp::read(from)?;
            record.change = Some(Change { stamp, expiry: from.number()?, row: from.number()? });
        }
        if what & PLACED != 0 {
            record.place = Some(Place {
                sequence: from.number()?,
                row: from.number()?,
                namespace: turned(from.short()?),
                size: from.word()?,
            });
        }
        Some(record)
    }
}

/// What an entry of the journal does, without its mutation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deeds {
    /// Until when the mutation is evidence, and what it takes up.
    pub(crate) evidence: Option<(u64, Charge)>,
    /// Evidence that goes.
    pub(crate) retired: Vec<(EvidenceKey, Charge)>,
    pub(crate) effects: Vec<Effect>,
    /// What each account that the entry concerns takes up after it.
    pub(crate) usage: Vec<(AccountId, Usage)>,
}

impl Deeds {
    /// How many changes it counts for.
    pub(crate) fn changes(&self) -> usize {
        self.effects.len().saturating_add(self.retired.len()).max(1)
    }
}

/// Why the bytes of an entry say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowError {
    Version(u8),
    Damaged,
}

impl From<RowError> for StoreError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Version(_) => Self::Damaged("an entry of an unknown version"),
            RowError::Damaged => Self::Damaged("an entry of the journal"),
        }
    }
}

/// Appends the head of an entry: version, deeds behind their length. The mutation follows, if there is
/// one.
pub(crate) fn encode_head(deeds: &Deeds, out: &mut Vec<u8>) {
    out.push(ROW_VERSION);
    let head = out.len();
    out.extend_from_slice(&[0; 4]);
    length(deeds.usage.len()).write(out);
    for (account, usage) in &deeds.usage {
        out.extend_from_slice(account.as_bytes());
        usage.write(out);
    }
    let number = |account: &AccountId| {
        let number = deeds.usage.iter().position(|(known, _)| known == account);
        length(number.unwrap_or(usize::MAX))
    };
    match &deeds.evidence {
        None => out.push(0),
        Some((until, charge)) => {
            out.push(1);
            until.write(out);
            number(&charge.account).write(out);
            charge.bytes.write(out);
        }
    }
    length(deeds.retired.len()).write(out);
    for (key, charge) in &deeds.retired {
        out.extend_from_slice(key);
        number(&charge.account).write(out);
        charge.bytes.write(out);
    }
    length(deeds.effects.len()).write(out);
    for effect in &deeds.effects {
        number(&effect.account).write(out);
        effect.hash.write(out);
        let (before, after) = (effect.before.as_ref(), effect.after.as_ref());
        out.push(u8::from(before.is_some()) | (u8::from(after.is_some()) << 1));
        for record in [before, after].into_iter().flatten() {
            record.write(out);
        }
    }
    let len = length(out.len().saturating_sub(head).saturating_sub(4));
    if let Some(place) = out.get_mut(head..).and_then(|rest| rest.first_chunk_mut()) {
        *place = len.to_be_bytes();
    }
}

/// Splits an entry into the bytes of its deeds and of its mutation.
pub(crate) fn split_row(row: &[u8]) -> Result<(&[u8], &[u8]), RowError> {
    let mut from = Reader(row);
    match from.byte() {
        Some(ROW_VERSION) => {}
        Some(version) => return Err(RowError::Version(version)),
        None => return Err(RowError::Damaged),
    }
    let deeds = from.bytes().ok_or(RowError::Damaged)?;
    Ok((deeds, from.0))
}

/// Reads what [`split_row`] split off.
pub(crate) fn decode_deeds(bytes: &[u8]) -> Result<Deeds, RowError> {
    let mut from = Reader(bytes);
    read_deeds(&mut from).filter(|_| from.0.is_empty()).ok_or(RowError::Damaged)
}

fn read_deeds(from: &mut Reader<'_>) -> Option<Deeds> {
    let count = from.word()?;
    let mut usage = Vec::new();
    for _ in 0..count {
        usage.push((AccountId::from_bytes(from.take()?), Usage::read(from)?));
    }
    let account = |from: &mut Reader<'_>| {
        let (account, _) = usage.get(usize::try_from(from.word()?).ok()?)?;
        Some(*account)
    };
    let evidence = match from.byte()? {
        0 => None,
        1 => Some((from.number()?, Charge { account: account(from)?, bytes: from.number()? })),
        _ => return None,
    };
    let count = from.word()?;
    let mut retired = Vec::new();
    for _ in 0..count {
        retired.push((from.take()?, Charge { account: account(from)?, bytes: from.number()? }));
    }
    let count = from.word()?;
    let mut effects = Vec::new();
    for _ in 0..count {
        let account = account(from)?;
        let hash = MessageHash(from.take()?);
        let what = from.byte()?;
        if what > 3 {
            return None;
        }
        let before = if what & 1 == 0 { None } else { Some(Record::read(from)?) };
        let after = if what & 2 == 0 { None } else { Some(Record::read(from)?) };
        effects.push(Effect { account, hash, before, after });
    }
    Some(Deeds { evidence, retired, effects, usage })
}

pub(crate) fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
