//! Amounts of Session Tokens, exact to the last unit.

use core::fmt;
use core::str::FromStr;

use alloy::primitives::U256;

/// Units in one SESH: the token has nine decimals.
const UNIT: u128 = 1_000_000_000;
/// Decimals of the token.
const DECIMALS: usize = 9;

/// An amount of SESH, in units of 10^-9 SESH. Shown and read as a decimal number of SESH.
///
/// All there is are 240,000,000 SESH, some 2^58 units; what a chain says beyond 2^128 is refused where it is
/// read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

/// A text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount of SESH with up to {DECIMALS} decimals, such as 6250 or 0.5")]
pub struct AmountError;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole SESH.
    pub const fn sesh(whole: u64) -> Self {
        // A product of a u64 and 2^30 fits.
        Self(whole as u128 * UNIT)
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The units, as contracts count them.
    pub fn units(self) -> U256 {
        U256::from(self.0)
    }

    /// The sum; none beyond 2^128 units.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference; none below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// This amount times `of / whole`, rounded down, with nothing lost in between; none when `whole` is zero
    /// or the result beyond 2^128 units.
    pub fn part(self, of: u128, whole: u128) -> Option<Self> {
        let product = self.units().checked_mul(U256::from(of))?;
        let part = product.checked_div(U256::from(whole))?;
        u128::try_from(part).ok().map(Self)
    }
}

impl TryFrom<U256> for Amount {
    type Error = AmountError;

    fn try_from(units: U256) -> Result<Self, AmountError> {
        u128::try_from(units).map(Self).map_err(|_| AmountError)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > DECIMALS {
            return Err(AmountError);
        }
        let whole: u128 = whole.parse().map_err(|_| AmountError)?;
        let decimals: u128 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| AmountError)?;
        let units = whole.checked_mul(UNIT).and_then(|units| units.checked_add(decimals));
        units.map(Self).ok_or(AmountError)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, units) = (self.0 / UNIT, self.0 % UNIT);
        if units == 0 {
            return f.pad(&whole.to_string());
        }
        let decimals = format!("{units:0>DECIMALS$}");
        f.pad(&format!("{whole}.{}", decimals.trim_end_matches('0')))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_decimal_numbers_of_sesh() {
        for (text, units) in
            [("0", 0), ("25000", 25_000_000_000_000), ("0.5", 500_000_000), ("0.000000001", 1)]
        {
            assert_eq!((text.parse(), Amount(units).to_string()), (Ok(Amount(units)), text.to_owned()));
        }
        assert_eq!("1.500".parse(), Ok(Amount(1_500_000_000)));
        for wrong in ["", ".", "1.", ".5", "-1", "+1", "1,5", "1e3", " 1", "0.0000000001"] {
            assert_eq!(wrong.parse::<Amount>(), Err(AmountError), "{wrong}");
        }
        assert_eq!("9".repeat(39).parse::<Amount>(), Err(AmountError));
    }

    #[test]
    fn arithmetic_holds_at_the_extremes() {
        let most = Amount(u128::MAX);
        assert_eq!(most.part(u128::MAX, u128::MAX), Some(most));
        assert_eq!((most.part(2, 1), most.part(1, 0)), (None, None));
        assert_eq!((most.checked_add(Amount(1)), Amount(0).checked_sub(Amount(1))), (None, None));
        assert_eq!(Amount::try_from(U256::from(u128::MAX) + U256::from(1)), Err(AmountError));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(units: u128) {
            prop_assert_eq!(Amount(units).to_string().parse(), Ok(Amount(units)));
        }
    }
}
