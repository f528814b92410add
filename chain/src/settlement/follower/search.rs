//! Looks for the last block before an instant, by block times.

/// A block's height and its time.
type Dated = (u64, u64);

/// A search between a block before the instant and one not before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    instant: u64,
    before: Option<Dated>,
    after: Dated,
    /// Guesses by time may converge slowly, so every other one is the middle.
    middle: bool,
}

impl Search {
    /// `before` is none when the last block before the instant may be any, or there may be none.
    pub(super) const fn new(instant: u64, before: Option<Dated>, after: Dated) -> Self {
        Self { instant, before, after, middle: false }
    }

    /// The block whose time is to be looked at next, or what the search has found.
    pub(super) fn next(&self) -> Result<u64, u64> {
        let (high, late) = self.after;
        let Some((low, early)) = self.before else {
            return if high == 0 { Err(0) } else { Ok(0) };
        };
        let gap = high.saturating_sub(low);
        if gap <= 1 {
            return Err(low);
        }
        let step = if self.middle {
            gap / 2
        } else {
            let (part, whole) = (self.instant.saturating_sub(early), late.saturating_sub(early).max(1));
            let step = u128::from(gap) * u128::from(part) / u128::from(whole);
            u64::try_from(step).unwrap_or(gap)
        };
        Ok(low.saturating_add(step.clamp(1, gap - 1)))
    }

    /// Takes a block's time into account.
    pub(super) const fn found(&mut self, height: u64, time: u64) {
        if time < self.instant {
            self.before = Some((height, time));
        } else {
            self.after = (height, time);
        }
        self.middle = !self.middle;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_block_before_an_instant_is_found_in_few_steps(
            gaps in prop::collection::vec(0_u64..100, 2..500), at: prop::sample::Index,
        ) {
            let times: Vec<u64> = gaps.iter().scan(1_000, |time, gap| { *time += gap; Some(*time) }).collect();
            let instant = times[at.index(times.len())];
            let last = times.len() - 1;
            let found = times.iter().rposition(|time| *time < instant).unwrap_or(0);
            let mut search = Search::new(instant, None, (last as u64, times[last].max(instant)));
            let mut steps = 0;
            let result = loop {
                match search.next() {
                    Ok(height) => search.found(height, times[height as usize]),
                    Err(height) => break height,
                }
                steps += 1;
            };
            prop_assert_eq!(result, found as u64);
            prop_assert!(steps <= 2 * 9 + 2, "{} steps", steps);
        }
    }
}
