//! Deliberate bugs, to prove that the simulator's net has no holes.
//!
//! Without the feature `mutants` there is nothing here: [`on`] is always false and costs nothing.

#[cfg(feature = "mutants")]
use std::cell::Cell;

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Deliberate bugs that the simulation of swarms catches.
#[cfg(feature = "mutants")]
pub const SWARMS: &[&str] = &[
    "acknowledge-before-commit",
    "forget-tombstone",
    "skip-verification",
    "serve-stale",
    "count-one-as-majority",
    "skip-reconciliation",
    "skip-cursor",
    "keep-foreign",
    "forget-early-end",
    "unsigned-resurrects",
    "purge-at-once",
    "purge-at-one",
    "change-old-majority",
    "ready-before-pull",
    "act-at-once",
    "bulk-takes-late",
    "bulk-any-drawer",
    "forget-revocation",
    "revoked-ask",
    "outbox-keeps-both",
    "bulk-known-only",
    "change-known-only",
    "revoke-empty",
    "text-unverified",
    "text-unreceived",
];

/// Those that the simulation of onion paths catches.
#[cfg(feature = "mutants")]
pub const ONION: &[&str] = &[
    "relay-replay",
    "relay-old-stamp",
    "relay-any-size",
    "relay-strangers",
    "relay-entrance",
    "shares-alone",
    "shares-by-name",
    "session-window",
    "session-anybody",
    "session-endless",
    "session-any-use",
    "key-too-soon",
    "key-too-long",
    "refusal-tells",
    "layer-unchecked",
    "handshake-unchecked",
    "answer-unfilled",
    "blame-before",
    "blame-one",
    "path-mixed",
    "path-same-operator",
    "path-same-prefix",
    "guards-untested",
    "retry-at-once",
    "retry-same-guard",
    "directory-few",
    "directory-old",
    "directory-any-change",
];

/// Those that it catches where nothing goes wrong: elsewhere no path grows old, and what a hop learns of both
/// ends would also show as a packet that was changed, or was lost.
#[cfg(feature = "mutants")]
pub const QUIET: &[&str] = &["wrap-tells-end", "layer-bare", "path-endless"];

/// Those that the simulation of months of guards catches.
#[cfg(feature = "mutants")]
pub const GUARDS: &[&str] = &["guards-unlimited", "guards-unkept"];

/// The names of all deliberate bugs.
#[cfg(feature = "mutants")]
pub fn all() -> impl Iterator<Item = &'static str> {
    [SWARMS, ONION, QUIET, GUARDS].into_iter().flatten().copied()
}

/// Switches one deliberate bug on for this thread, or all off.
#[cfg(feature = "mutants")]
pub fn activate(name: Option<&'static str>) {
    ACTIVE.with(|active| active.set(name));
}

/// Whether a deliberate bug is on.
#[cfg(feature = "mutants")]
pub fn on(name: &str) -> bool {
    debug_assert!(all().any(|known| known == name), "no such mutant: {name}");
    ACTIVE.with(Cell::get) == Some(name)
}

/// Whether a deliberate bug is on: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn on(_name: &str) -> bool {
    false
}
