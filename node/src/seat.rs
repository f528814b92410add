//! A seat that is given back when it is dropped.

use std::sync::{Arc, Mutex, PoisonError};

use session_protocols::limits::Seats;

/// Seats that tasks share.
pub(crate) type SharedSeats<K> = Arc<Mutex<Seats<K>>>;

/// One of them, held.
#[derive(Debug)]
pub(crate) struct Seat<K: Copy + Ord> {
    seats: SharedSeats<K>,
    key: K,
}

impl<K: Copy + Ord> Seat<K> {
    /// Takes a seat for `key` if there is one.
    pub(crate) fn take(seats: &SharedSeats<K>, key: K) -> Option<Self> {
        let taken = seats.lock().unwrap_or_else(PoisonError::into_inner).take(key);
        taken.then(|| Self { seats: Arc::clone(seats), key })
    }
}

impl<K: Copy + Ord> Drop for Seat<K> {
    fn drop(&mut self) {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).leave(&self.key);
    }
}
