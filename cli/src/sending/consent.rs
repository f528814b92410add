//! What whoever pays has agreed to.

use alloy::primitives::U256;

use crate::failure::Failure;

/// An agreement to one deed, which may have to be planned anew before it is sent.
#[derive(Debug, Default)]
pub(crate) struct Consent {
    /// Whether nobody is to be asked.
    always: bool,
    /// A deed in words, and the most that it may cost, in wei.
    given: Option<(String, U256)>,
}

impl Consent {
    pub(crate) const fn new(always: bool) -> Self {
        Self { always, given: None }
    }

    /// Asks, unless just this was agreed to before: another amount is another deed.
    pub(crate) fn to(
        &mut self,
        what: &str,
        most: U256,
        ask: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let given = self.given.as_ref();
        if self.always || given.is_some_and(|(deed, limit)| deed == what && most <= *limit) {
            return Ok(());
        }
        ask()?;
        self.given = Some((what.to_owned(), most));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn what_changed_is_asked_about_again_and_nothing_else() {
        let mut consent = Consent::new(false);
        let mut asked = |what, most| {
            let mut asks = false;
            let done = consent.to(what, U256::from(most), || {
                asks = true;
                Ok(())
            });
            done.unwrap();
            asks
        };
        assert!(asked("claim 1 SESH", 10));
        assert!(!asked("claim 1 SESH", 10) && !asked("claim 1 SESH", 9), "it was agreed to");
        assert!(asked("claim 2 SESH", 9), "another amount");
        assert!(!asked("claim 2 SESH", 9) && asked("claim 2 SESH", 10), "a higher cost");
        assert!(asked("claim 1 SESH", 1), "the last answer counts");
    }

    #[test]
    fn a_no_is_no_agreement_and_who_agreed_to_all_is_never_asked() {
        let mut consent = Consent::new(false);
        let no = || Err(Failure::new(Exit::Refused, "not_confirmed", "nothing was sent", "add --yes"));
        for _ in 0..2 {
            assert!(consent.to("claim 1 SESH", U256::from(1), no).is_err());
        }
        assert!(Consent::new(true).to("claim 1 SESH", U256::MAX, no).is_ok());
    }
}
