//! What an index says of a name, in the bytes that the tree is over.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use session_protocols::codec::{self, DecodeError};

use crate::ledger::Amount;

/// The version that this build reads and writes.
pub const VERSION: u8 = 1;
/// The most bytes of an entry: all kinds of records at their longest, and what is beside them.
pub const MAX_BYTES: usize = 4 << 10;

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Not CBOR, or of another shape.
    #[error("not an entry of names")]
    Decode(#[from] DecodeError),
    /// Another build wrote it.
    #[error("the entry has version {found}, this build reads {VERSION}")]
    Version {
        /// The entry's.
        found: u8,
    },
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub owner: Address,
    /// When it expires, in seconds since 1970. From then on it resolves to nothing.
    pub expires: u64,
    /// How often it got an owner. Records are sealed for it.
    pub version: u32,
    /// What it can be bought for.
    pub price: Option<Amount>,
    /// The best offer for it.
    pub offer: Option<Offer>,
    /// What it is called, as its owner says: written as names are, in ASCII, and not compared with the id.
    pub revealed: Option<String>,
    /// Its records, sealed, by the numbers of their kinds.
    pub records: Records,
}

/// Records, sealed, by the numbers of their kinds.
pub type Records = BTreeMap<u8, Vec<u8>>;

/// An offer for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Who offers.
    pub buyer: Address,
    /// How much.
    pub amount: Amount,
    /// How long it binds, in seconds since 1970.
    pub until: u64,
}

/// What is known of a sub-name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubEntry {
    /// The version of its name that the records were set under; those of another do not count.
    pub version: u32,
    /// Its records, sealed, by the numbers of their kinds.
    pub records: Records,
}

impl Entry {
    /// Whether it resolves at an instant, in seconds since 1970.
    pub const fn is_live(&self, now: u64) -> bool {
        now < self.expires
    }

    /// The bytes that the tree is over.
    pub fn to_bytes(&self) -> Vec<u8> {
        let offer =
            |offer: &Offer| (ByteArray::new(offer.buyer.into_array()), units(offer.amount), offer.until);
        codec::encode(&Stored(
            VERSION,
            ByteArray::new(self.owner.into_array()),
            self.expires,
            self.version,
            self.price.map(units),
            self.offer.as_ref().map(offer),
            self.revealed.clone(),
            stored(&self.records),
        ))
    }

    /// Reads them.
    ///
    /// # Errors
    /// When they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        let Stored(form, owner, expires, version, price, offer, revealed, records) =
            codec::decode(bytes, MAX_BYTES)?;
        check(form)?;
        Ok(Self {
            owner: Address::from(*owner),
            expires,
            version,
            price: price.map(amount_of),
            offer: offer.map(offer_of),
            revealed,
            records: records_of(records),
        })
    }
}

impl SubEntry {
    /// The bytes that the tree is over.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(&StoredSub(VERSION, self.version, stored(&self.records)))
    }

    /// Reads them.
    ///
    /// # Errors
    /// When they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        let StoredSub(form, version, records) = codec::decode(bytes, MAX_BYTES)?;
        check(form)?;
        Ok(Self { version, records: records_of(records) })
    }
}

/// An [`Entry`] in CBOR, behind its form; an array, as there are many.
#[derive(Serialize, Deserialize)]
struct Stored(
    u8,
    ByteArray<20>,
    u64,
    u32,
    Option<ByteArray<16>>,
    Option<StoredOffer>,
    Option<String>,
    BTreeMap<u8, ByteBuf>,
);

/// Buyer, amount, until when.
type StoredOffer = (ByteArray<20>, ByteArray<16>, u64);

/// A [`SubEntry`] in CBOR, behind its form.
#[derive(Serialize, Deserialize)]
struct StoredSub(u8, u32, BTreeMap<u8, ByteBuf>);

const fn check(form: u8) -> Result<(), EntryError> {
    if form == VERSION { Ok(()) } else { Err(EntryError::Version { found: form }) }
}

const fn units(amount: Amount) -> ByteArray<16> {
    ByteArray::new(amount.0.to_be_bytes())
}

const fn amount_of(units: ByteArray<16>) -> Amount {
    Amount(u128::from_be_bytes(units.into_array()))
}

fn offer_of((buyer, amount, until): StoredOffer) -> Offer {
    Offer { buyer: Address::from(*buyer), amount: amount_of(amount), until }
}

fn stored(records: &Records) -> BTreeMap<u8, ByteBuf> {
    records.iter().map(|(kind, value)| (*kind, value.clone().into())).collect()
}

fn records_of(stored: BTreeMap<u8, ByteBuf>) -> Records {
    stored.into_iter().map(|(kind, value)| (kind, value.into_vec())).collect()
}
