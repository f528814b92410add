//! For how long a name is paid for.

use core::fmt;

use alloy::primitives::U256;

use super::{DAY, RegistrarError};

/// The fewest days that are paid for at once, as in the contract.
pub const MIN_DAYS: u64 = 28;
/// How many days ahead a name can be paid for, as in the contract.
pub const MAX_DAYS: u64 = MAX_YEARS * YEAR_DAYS;
/// The same in years.
pub const MAX_YEARS: u64 = 10;
/// Days of a year, as the contract counts them.
const YEAR_DAYS: u64 = 365;

/// For how long a name is paid for, in whole days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    days: u64,
}

impl Period {
    /// So many days.
    pub const fn of_days(days: u64) -> Self {
        Self { days }
    }

    /// So many years of 365 days.
    pub const fn of_years(years: u64) -> Self {
        Self { days: years.saturating_mul(YEAR_DAYS) }
    }

    /// How many days it is.
    pub const fn days(self) -> u64 {
        self.days
    }

    /// How many seconds it is.
    pub(super) const fn seconds(self) -> u64 {
        self.days.saturating_mul(DAY)
    }

    /// As the contract takes it.
    ///
    /// # Errors
    /// When a name is never paid for so long, or so shortly.
    pub(super) fn units(self) -> Result<U256, RegistrarError> {
        if (MIN_DAYS..=MAX_DAYS).contains(&self.days) {
            Ok(U256::from(self.seconds()))
        } else {
            Err(RegistrarError::Period { period: self })
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = if self.days > 0 && self.days.is_multiple_of(YEAR_DAYS) {
            (self.days / YEAR_DAYS, "year")
        } else {
            (self.days, "day")
        };
        if count == 1 { write!(f, "a {unit}") } else { write!(f, "{count} {unit}s") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_told_in_years_where_it_is_some() {
        for (days, told) in [
            (0, "0 days"),
            (1, "a day"),
            (28, "28 days"),
            (365, "a year"),
            (400, "400 days"),
            (730, "2 years"),
        ] {
            assert_eq!(Period::of_days(days).to_string(), told);
        }
        assert_eq!(Period::of_years(10), Period::of_days(MAX_DAYS));
    }

    #[test]
    fn a_name_is_paid_for_28_days_to_ten_years() {
        for days in [0, 27, MAX_DAYS + 1, u64::MAX] {
            let period = Period::of_days(days);
            assert!(matches!(period.units(), Err(RegistrarError::Period { period: it }) if it == period));
        }
        assert_eq!(Period::of_days(28).units().unwrap(), U256::from(28 * 24 * 3_600));
        assert_eq!(Period::of_years(10).units().unwrap(), U256::from(3_650_u64 * 24 * 3_600));
    }
}
