//! Keys that were read before: the points that they encode need not be found anew.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use curve25519_dalek::edwards::EdwardsPoint;

use super::{Claim, MAX_TOGETHER, point, together};

/// What a key encodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) point: EdwardsPoint,
    /// The X25519 key that it converts to.
    pub(super) x25519: [u8; 32],
}

/// Remembers the points of keys: whose signatures were checked is likely to sign more. What holds does not depend on
/// what is remembered.
#[derive(Debug)]
pub struct Keys {
    half: usize,
    read: Mutex<Read>,
}

/// Those that were asked for lately, and those before.
#[derive(Debug, Default)]
struct Read {
    recent: HashMap<[u8; 32], Key>,
    older: HashMap<[u8; 32], Key>,
}

impl Keys {
    /// Remembers `most` keys, some 250 bytes each; with 0 or 1 none.
    pub fn new(most: usize) -> Self {
        Self { half: most / 2, read: Mutex::default() }
    }

    /// Which of the claims hold: to each what [`Claim::holds`] says, sooner.
    ///
    /// They are checked together, [`MAX_TOGETHER`] at a time; where one of these is bad each is checked alone,
    /// which costs a third more at most than if that had been done at once.
    pub fn verify_all(&self, claims: &[Claim]) -> Vec<bool> {
        claims.chunks(MAX_TOGETHER).flat_map(|claims| together(claims, &self.read(claims))).collect()
    }

    /// What the claims' keys encode; none of what is no key.
    fn read(&self, claims: &[Claim]) -> Vec<Option<Key>> {
        let mut keys: Vec<_> = {
            let mut read = self.lock();
            claims.iter().map(|claim| read.get(&claim.key, self.half)).collect()
        };
        let (mut places, mut points) = (Vec::new(), Vec::new());
        for ((place, claim), _) in claims.iter().enumerate().zip(&keys).filter(|(_, key)| key.is_none()) {
            if let Some(point) = point(&claim.key) {
                places.push((place, claim.key));
                points.push(point);
            }
        }
        // One inversion in the field for all of them.
        let converted = EdwardsPoint::to_montgomery_batch(&points);
        let mut read = self.lock();
        for (((place, bytes), point), x25519) in places.into_iter().zip(points).zip(converted) {
            let key = Key { point, x25519: x25519.0 };
            read.put(bytes, key, self.half);
            if let Some(of) = keys.get_mut(place) {
                *of = Some(key);
            }
        }
        keys
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    fn get(&mut self, bytes: &[u8; 32], half: usize) -> Option<Key> {
        if let Some(key) = self.recent.get(bytes) {
            return Some(*key);
        }
        let key = self.older.remove(bytes)?;
        self.put(*bytes, key, half);
        Some(key)
    }

    /// Makes room by letting go of what nobody asked for since room was made last.
    fn put(&mut self, bytes: [u8; 32], key: Key, half: usize) {
        if half == 0 {
            return;
        }
        if self.recent.len() >= half {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(bytes, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyPair;

    fn claim(number: usize) -> Claim {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let pair = KeyPair::from_seed(&seed);
        Claim::by(pair.public(), b"said".to_vec(), pair.sign(b"said"))
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for_and_who_comes_back_stays() {
        let keys = Keys::new(8);
        let knows = |number| {
            let (read, key) = (keys.lock(), claim(number).key);
            read.recent.contains_key(&key) || read.older.contains_key(&key)
        };
        for number in 1..100 {
            assert_eq!(keys.verify_all(&[claim(0), claim(number)]), [true; 2]);
            assert!(knows(0) && knows(number), "{number}");
            let read = keys.lock();
            assert!(read.recent.len() + read.older.len() <= 8, "{number}");
        }
        assert!(!knows(1));
        let none = Keys::new(0);
        assert_eq!(none.verify_all(&[claim(0), claim(1)]), [true; 2]);
        assert_eq!(none.lock().recent.len(), 0);
    }

    #[test]
    fn what_is_no_key_is_not_remembered() {
        let (keys, small) = (Keys::new(8), Claim { key: [0; 32], ..claim(1) });
        for _ in 0..2 {
            assert_eq!(keys.verify_all(&[small.clone(), claim(2)]), [false, true]);
        }
        assert_eq!(keys.lock().recent.len(), 1);
    }
}
