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
        if self.covers(what, most) {
            return Ok(());
        }
        ask()?;
        self.given = Some((what.to_owned(), most));
        Ok(())
    }

    /// Whether nobody has to be asked about this, for so much at most.
    pub(crate) fn covers(&self, what: &str, most: U256) -> bool {
        let given = self.given.as_ref();
        self.always || given.is_some_and(|(deed, limit)| deed == what && most <= *limit)
    }

    /// So much of what was agreed to is spent, in wei, where a deed takes several transactions: the rest of it may
    /// cost what is left.
    pub(crate) fn spent(&mut self, cost: U256) {
        if let Some((_, limit)) = &mut self.given {
            *limit = limit.saturating_sub(cost);
        }
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
        assert!(consent.covers("claim 1 SESH", U256::ONE));
        assert!(!consent.covers("claim 1 SESH", U256::from(2)) && !consent.covers("claim 2 SESH", U256::ONE));
    }

    #[test]
    fn what_is_spent_of_an_agreement_is_not_there_for_the_rest() {
        let mut consent = Consent::new(false);
        // Nothing was agreed to.
        consent.spent(U256::from(1));
        let mut asks = 0;
        let mut goes = |consent: &mut Consent, most: u64| {
            let ask = || {
                asks += 1;
                Ok(())
            };
            consent.to("register alice for 10 SESH", U256::from(most), ask).unwrap();
            asks
        };
        assert_eq!(goes(&mut consent, 10), 1);
        consent.spent(U256::from(3));
        assert_eq!(goes(&mut consent, 7), 1, "what is left");
        assert_eq!(goes(&mut consent, 8), 2, "more than is left");
        consent.spent(U256::from(9));
        assert_eq!(goes(&mut consent, 1), 3, "nothing is left");
        // Nor is more asked of who is never asked.
        let mut always = Consent::new(true);
        always.spent(U256::MAX);
        assert_eq!(goes(&mut always, 100), 3);
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
