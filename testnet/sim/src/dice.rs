//! Everything that is drawn: streams of numbers that follow from the seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use session_protocols::{Span, identity::blake2b};

/// One stream; its name keeps it apart from the others of the same seed.
#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64, stream: &str) -> Self {
        Self(ChaCha8Rng::from_seed(blake2b(&[b"session sim", &seed.to_be_bytes(), stream.as_bytes()])))
    }

    /// For what draws by itself.
    pub(super) const fn generator(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, or zero when there is none.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The upper half of the product is below `bound`.
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A place in a list of `len`.
    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times in a thousand.
    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.chance(500)
    }

    pub(super) fn span(&mut self, low: Span, high: Span) -> Span {
        Span(self.between(low.0, high.0))
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.index(from.len());
        from.get(at).copied()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
