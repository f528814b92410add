//! Deliberate bugs, to prove that the simulator's net has no holes.
//!
//! Without the feature `mutants` there is nothing here: [`on`] is always false and costs nothing.

#[cfg(feature = "mutants")]
use std::cell::Cell;

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The names of all deliberate bugs.
#[cfg(feature = "mutants")]
pub const ALL: &[&str] = &[
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
];

/// Switches one deliberate bug on for this thread, or all off.
#[cfg(feature = "mutants")]
pub fn activate(name: Option<&'static str>) {
    ACTIVE.with(|active| active.set(name));
}

/// Whether a deliberate bug is on.
#[cfg(feature = "mutants")]
pub fn on(name: &str) -> bool {
    debug_assert!(ALL.contains(&name), "no such mutant: {name}");
    ACTIVE.with(Cell::get) == Some(name)
}

/// Whether a deliberate bug is on: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn on(_name: &str) -> bool {
    false
}
