//! What Argon2id makes of a name: its id, and the key of its records.
//!
//! One run gives 64 bytes. The id is the Keccak-256 of the first half; the other half is the root of
//! everything that only who knows the name may have. The chain shows ids alone, so a guess at a name
//! costs one run, whoever makes it. The salt is fixed, as everybody must find the same id: one table of
//! guesses serves for all names. So common names are found by whoever spends the runs, and only names that
//! nobody guesses stay unknown.
//!
//! A sub-name's run is salted by the root of its parent. So its guesses serve for one parent, and who does
//! not know the parent cannot begin.

use core::fmt;
use core::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};
use zeroize::Zeroizing;

use super::{Label, Name};
use crate::identity::{ParseError, blake2b, hex_and_bytes};

/// The salt of every name.
pub const SALT: &[u8] = b"session-network/1 names";
/// What the root of a name is hashed behind, for the salt of its sub-names.
const SUBNAMES: &[u8] = b"session-network/1 sub-names";

/// What one run of Argon2id costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
}

/// The cost of every name, and part of its id: 64 MiB, 3 passes, one lane.
///
/// This is the second choice of RFC 9106, section 4, for where memory is short (phones), with one lane
/// for its four: lanes are for those who run them at once, which browsers cannot. Whoever looks a name up
/// pays a fraction of a second once, and keeps what was found. Whoever guesses pays that for each guess, and
/// needs 64 MiB for each that is under way, which is what makes special hardware dear.
pub const COST: Cost = Cost { memory_kib: 64 * 1_024, passes: 3 };

impl Cost {
    /// Another cost, which gives other ids: for tests. At least 8 KiB and one pass.
    pub fn other(memory_kib: u32, passes: u32) -> Self {
        Self { memory_kib: memory_kib.max(Params::MIN_M_COST), passes: passes.max(Params::MIN_T_COST) }
    }

    /// Memory, in KiB.
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over it.
    pub const fn passes(self) -> u32 {
        self.passes
    }
}

/// There is not the memory to compute an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {memory_kib} KiB of memory are free to look a name up with; close something, or try later")]
pub struct OutOfMemory {
    memory_kib: u32,
}

/// The id of a name, by which the chain knows it: 32 bytes, shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId([u8; 32]);

impl NameId {
    /// Takes the 32 bytes; big-endian, they are the number of the token.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

hex_and_bytes!(NameId, 32, "the id of a name: 64 hex digits");

/// What who knows a name can do: find it, and read and write its records.
///
/// The key is zeroized when dropped, and not shown.
#[derive(Clone)]
pub struct NameKeys {
    id: NameId,
    label: Option<[u8; 32]>,
    root: Half,
}

impl NameKeys {
    /// Computes the keys of a name, in one run of Argon2id, or of a sub-name, in two.
    ///
    /// Takes as long as `cost` says ([`COST`], outside tests): hosts do it where nothing waits for them.
    pub fn of(name: &Name, cost: Cost) -> Result<Self, OutOfMemory> {
        let parent = Self::of_parent(name.parent(), cost)?;
        name.sub().map_or_else(|| Ok(parent.clone()), |label| parent.sub(label, cost))
    }

    /// Computes the keys of a name that is registered.
    fn of_parent(label: &Label, cost: Cost) -> Result<Self, OutOfMemory> {
        let (shown, root) = run(label, SALT, cost)?;
        Ok(Self { id: NameId(Keccak256::digest(*shown).into()), label: None, root })
    }

    /// Computes the keys of a sub-name of this name, in one run of Argon2id.
    fn sub(&self, label: &Label, cost: Cost) -> Result<Self, OutOfMemory> {
        let salt = blake2b(&[SUBNAMES, self.root.as_slice()]);
        let (shown, root) = run(label, &salt, cost)?;
        Ok(Self { id: self.id, label: Some(*shown), root })
    }

    /// The id of the name; of its parent, if it is a sub-name.
    pub const fn id(&self) -> NameId {
        self.id
    }

    /// What the contract is told for a sub-name, to set its records.
    pub const fn label(&self) -> Option<[u8; 32]> {
        self.label
    }

    /// The id of the sub-name under its parent: the Keccak-256 of the parent's id and the label; zero for a
    /// name itself.
    pub fn sub_id(&self) -> [u8; 32] {
        let hash = |label| Keccak256::new().chain_update(self.id.0).chain_update(label).finalize().into();
        self.label.map_or([0; 32], hash)
    }

    /// What keeps the keys of a name that was computed once: 64 bytes, id and root, and 32 more for a sub-name, its
    /// label. As secret as the keys.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let label = self.label.as_ref().map_or(&[][..], |label| label);
        let mut bytes = Zeroizing::new(Vec::with_capacity(96));
        [&self.id.0, &self.root[..], label].into_iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    /// Reads what [`Self::to_bytes`] gave; none if it has another length. Whether they are a name's keys only a run
    /// of Argon2id would show.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<32>()?;
        let (root, label) = rest.split_first_chunk::<32>()?;
        let label = if label.is_empty() { None } else { Some(label.try_into().ok()?) };
        Some(Self { id: NameId(*id), label, root: Zeroizing::new(*root) })
    }

    pub(super) const fn root(&self) -> &Half {
        &self.root
    }
}

impl fmt::Debug for NameKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameKeys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Half of what Argon2id gives.
type Half = Zeroizing<[u8; 32]>;

/// The two halves of what Argon2id makes of a label.
fn run(label: &Label, salt: &[u8], cost: Cost) -> Result<(Half, Half), OutOfMemory> {
    let Cost { memory_kib, passes } = cost;
    let mut both = Zeroizing::new([0; 64]);
    // Cost, salt and label are in bounds: what is left to fail is the memory.
    Params::new(memory_kib, passes, 1, None)
        .map(|params| Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
        .and_then(|argon2| argon2.hash_password_into(label.as_str().as_bytes(), salt, both.as_mut_slice()))
        .map_err(|_| OutOfMemory { memory_kib })?;
    let (mut shown, mut root) = (Half::default(), Half::default());
    let (first, second) = both.split_at(32);
    shown.copy_from_slice(first);
    root.copy_from_slice(second);
    Ok((shown, root))
}
