//! A registration that the operator's own wallet sends.

use session_protocols::NetworkName;

use super::{StakeError, Staker};
use crate::{
    Candidate,
    candidate::CandidateError,
    settlement::{
        caller::call,
        calls::{Registration, Staking, Token},
        sender::Call,
    },
};

impl Staker {
    /// What the operator of a node sends to register it with the whole stake, in this order, whoever asks here: an
    /// allowance of the stake, and the registration. Unlike for [`Self::register`], nobody signs anything here.
    ///
    /// # Errors
    /// When the node's description does not fit, or its keys were registered since.
    pub async fn elsewhere(
        &self,
        network: &NetworkName,
        candidate: &Candidate,
    ) -> Result<[Call; 2], StakeError> {
        candidate.check(network, &self.caller.settlement().domain())?;
        let key = self.key(&candidate.bls).await?;
        if key.registrations != candidate.registrations {
            let (node, signed, registered) = (candidate.node, candidate.registrations, key.registrations);
            return Err(StakeError::Spent { node, signed, registered });
        }
        let registration =
            Registration::new(candidate, 0).map_err(|_| CandidateError::Unsigned { which: "BLS" })?;
        let (staking, value) = (self.contracts().staking, self.requirement.units());
        let approve = Token::approveCall { spender: staking, value };
        let register = Staking::registerCall { registration, beneficiary: candidate.operator };
        Ok([call(self.contracts().token, &approve), call(staking, &register)])
    }
}
