//! The bounds of a store, and how full it is.

/// The bounds of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memory for pages of the two files, in bytes.
    pub cache_bytes: usize,
    /// How many changes of records are kept in memory before they are merged into the tables; at
    /// most about twice as many are in memory, some 700 bytes each.
    pub overlay_changes: usize,
    /// How many bytes of entries the journal takes before they are merged into the tables; at most
    /// about twice as many are in it.
    pub overlay_bytes: usize,
    /// Memory for what was read lately, in bytes: pages of mailboxes that are asked for again.
    pub recent_bytes: usize,
    /// The least number of keys merged in one go; larger is faster, smaller is smoother.
    pub slice: usize,
    /// Whether a thread of its own merges. Without one commits merge their share themselves, which
    /// takes longer and the same course at every run.
    pub merge_thread: bool,
    /// The incarnation that this opening begins: draw it at random. It is not kept, because a
    /// store cannot tell whether it is a copy that was put back: after each opening cursors of
    /// earlier ones are unknown. [`crate::MessageStore::reopen`] stays in it.
    pub fresh_incarnation: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 128 << 20,
            overlay_changes: 65_536,
            overlay_bytes: 64 << 20,
            recent_bytes: 32 << 20,
            slice: 16_384,
            merge_thread: true,
            fresh_incarnation: 0,
        }
    }
}

/// How full a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// What all accounts take up, in bytes.
    pub occupied: u64,
    /// Messages whose bytes are kept; no tombstones.
    pub messages: u64,
    /// The sequence of the last entry.
    pub head: u64,
    /// The sequence up to which entries are merged into the tables.
    pub merged: u64,
    /// Changes of records that wait in memory to be merged.
    pub waiting: usize,
}
