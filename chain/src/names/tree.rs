//! The tree that a checkpoint's root of names stands for: it proves what is there, and what is not.
//!
//! A sparse Merkle tree over keys of 256 bits. A key's bits, the highest first, lead from the root to the left
//! (0) or the right (1); a subtree of one leaf is that leaf, and one of none is zero. So the root depends on the
//! leaves alone, not on how they came, and a way is hardly longer than the logarithm of their number.
//!
//! ```text
//! leaf  = keccak256(00 ‖ key ‖ value)          value: the hash of what stands under the key
//! inner = keccak256(01 ‖ left ‖ right)
//! ```

use std::collections::BTreeSet;

use alloy::primitives::{B256, keccak256};

use super::tables::{Read, Table, Write};

/// The most steps of a way from the root to a leaf.
pub const MAX_DEPTH: usize = 256;

/// What leads from what stands under a key, or from that nothing does, to the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The subtrees beside the way, that next to the root first; at most [`MAX_DEPTH`].
    pub beside: Vec<B256>,
    /// Where nothing stands under the key: key and value of the one leaf at the end of the way, if there is one.
    pub instead: Option<(B256, B256)>,
}

impl Way {
    /// The root of a tree in which `value` stands under `key`, or nothing does; none when this can be no way
    /// in any tree.
    pub fn root(&self, key: B256, value: Option<B256>) -> Option<B256> {
        let depth = self.beside.len();
        if depth > MAX_DEPTH {
            return None;
        }
        let end = match (value, self.instead) {
            (Some(value), None) => leaf(key, value),
            (None, Some((other, value))) => {
                let same_way = (0..depth).all(|step| goes_right(key, step) == goes_right(other, step));
                if other == key || !same_way {
                    return None;
                }
                leaf(other, value)
            }
            (None, None) => B256::ZERO,
            (Some(_), Some(_)) => return None,
        };
        let up = |below, (step, beside): (usize, &B256)| {
            if goes_right(key, step) { inner(*beside, below) } else { inner(below, *beside) }
        };
        Some(self.beside.iter().enumerate().rev().fold(end, up))
    }
}

/// The way to a key, and the value that stands there.
///
/// # Errors
/// As the tables.
pub fn find<T: Read>(tables: &T, key: B256) -> Result<(Option<B256>, Way), T::Error> {
    let mut way = Way::default();
    let mut place = Place::ROOT;
    while let Some((left, right)) = children(tables, place)? {
        let goes_right = goes_right(key, place.depth);
        way.beside.push(if goes_right { left } else { right });
        place = place.child(goes_right);
    }
    match leaves(tables, place, 1)?.pop() {
        Some((found, value)) if found == key => Ok((Some(value), way)),
        instead => {
            way.instead = instead;
            Ok((None, way))
        }
    }
}

/// Puts values under keys, or takes away what stands there, and returns the new root.
///
/// # Errors
/// As the tables.
pub fn update<T: Write>(
    tables: &mut T,
    changes: impl IntoIterator<Item = (B256, Option<B256>)>,
) -> Result<B256, T::Error> {
    let mut changed = Vec::new();
    for (key, value) in changes {
        tables.put(Table::Leaves, key.as_slice(), value.as_ref().map(|value| value.as_slice()))?;
        changed.push(key);
    }
    if changed.is_empty() {
        return root(tables);
    }
    changed.sort_unstable();
    rebuild(tables, Place::ROOT, &changed)
}

/// The root.
///
/// # Errors
/// As the tables.
pub fn root<T: Read>(tables: &T) -> Result<B256, T::Error> {
    Ok(match children(tables, Place::ROOT)? {
        Some((left, right)) => inner(left, right),
        None => leaves(tables, Place::ROOT, 1)?.pop().map_or(B256::ZERO, |(key, value)| leaf(key, value)),
    })
}

/// Shows the rows of nodes from the root down, those under a node only if `see` returned true for it.
///
/// # Errors
/// As the tables.
pub fn upper<T: Read>(tables: &T, mut see: impl FnMut(&[u8], &[u8]) -> bool) -> Result<(), T::Error> {
    let mut open = vec![Place::ROOT];
    while let Some(place) = open.pop() {
        let row = place.row();
        let value = tables.get(Table::Nodes, &row)?;
        if value.is_some_and(|value| see(&row, &value)) {
            open.extend([place.child(true), place.child(false)]);
        }
    }
    Ok(())
}

/// A subtree: all keys that begin with the same bits.
#[derive(Clone, Copy)]
struct Place {
    /// Zeros behind the bits that count.
    key: B256,
    depth: usize,
}

impl Place {
    const ROOT: Self = Self { key: B256::ZERO, depth: 0 };

    fn child(self, right: bool) -> Self {
        let mut key = self.key;
        if right && let Some(byte) = key.0.get_mut(self.depth / 8) {
            *byte |= 0x80 >> (self.depth % 8);
        }
        Self { key, depth: self.depth.saturating_add(1) }
    }

    /// The key of its row: its bits, a one, and zeros up to a whole byte. So rows lie between those of the left
    /// and of the right, and the lower part of a way lies together.
    fn row(self) -> Vec<u8> {
        let (whole, bits) = (self.depth / 8, self.depth % 8);
        let mut row: Vec<u8> = self.key.0.iter().take(whole).copied().collect();
        row.push(self.key.0.get(whole).copied().unwrap_or_default() | (0x80 >> bits));
        row
    }
}

/// Computes again what is over the keys that changed, and returns the hash of the subtree.
fn rebuild<T: Write>(tables: &mut T, place: Place, changed: &[B256]) -> Result<B256, T::Error> {
    let here = leaves(tables, place, 2)?;
    if let [] | [_] = here[..] {
        // What was over more leaves than one before lies on the ways to those that are gone.
        let mut over = BTreeSet::new();
        for key in changed {
            let mut below = Place { key: masked(*key, place.depth), depth: place.depth };
            while children(tables, below)?.is_some() {
                over.insert(below.row());
                below = below.child(goes_right(*key, below.depth));
            }
        }
        for row in over {
            tables.put(Table::Nodes, &row, None)?;
        }
        return Ok(here.first().map_or(B256::ZERO, |(key, value)| leaf(*key, *value)));
    }
    let before = children(tables, place)?;
    let (to_left, to_right) = changed.split_at(changed.partition_point(|key| !goes_right(*key, place.depth)));
    let left = match before {
        Some((left, _)) if to_left.is_empty() => left,
        _ => rebuild(tables, place.child(false), to_left)?,
    };
    let right = match before {
        Some((_, right)) if to_right.is_empty() => right,
        _ => rebuild(tables, place.child(true), to_right)?,
    };
    tables.put(Table::Nodes, &place.row(), Some(&[left.0, right.0].concat()))?;
    Ok(inner(left, right))
}

/// The two hashes under a place that has more than one leaf.
fn children<T: Read>(tables: &T, place: Place) -> Result<Option<(B256, B256)>, T::Error> {
    let row = tables.get(Table::Nodes, &place.row())?;
    Ok(row.as_deref().and_then(words))
}

/// The first leaves under a place.
fn leaves<T: Read>(tables: &T, place: Place, most: usize) -> Result<Vec<(B256, B256)>, T::Error> {
    let mut found: Vec<(B256, B256)> = Vec::new();
    tables.scan(Table::Leaves, place.key.as_slice(), |key, value| {
        let Some(leaf) = words(&[key, value].concat()) else { return false };
        let inside = masked(leaf.0, place.depth) == place.key;
        if inside {
            found.push(leaf);
        }
        inside && found.len() < most
    })?;
    Ok(found)
}

fn words(bytes: &[u8]) -> Option<(B256, B256)> {
    let (first, second) = bytes.split_at_checked(32)?;
    Some((B256::try_from(first).ok()?, B256::try_from(second).ok()?))
}

fn leaf(key: B256, value: B256) -> B256 {
    keccak256([&[0], key.as_slice(), value.as_slice()].concat())
}

fn inner(left: B256, right: B256) -> B256 {
    keccak256([&[1], left.as_slice(), right.as_slice()].concat())
}

fn goes_right(key: B256, step: usize) -> bool {
    key.0.get(step / 8).is_some_and(|byte| byte & (0x80 >> (step % 8)) != 0)
}

fn masked(key: B256, depth: usize) -> B256 {
    let mut masked = B256::ZERO;
    let (whole, bits) = (depth / 8, depth % 8);
    for (at, (into, byte)) in masked.0.iter_mut().zip(key.0).enumerate() {
        *into = match at.cmp(&whole) {
            core::cmp::Ordering::Less => byte,
            core::cmp::Ordering::Equal => byte & !(0xff_u8 >> bits),
            core::cmp::Ordering::Greater => 0,
        };
    }
    masked
}
