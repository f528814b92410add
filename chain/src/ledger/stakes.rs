//! What single inputs do to stakes and their nodes.

use alloy::primitives::Address;
use session_protocols::NodeId;

use super::{Event, Input, Ledger, Member, Refusal, Registration, Stake, StakeId, State};

impl Member {
    /// A node that nobody has put a stake down for.
    pub(super) fn new(
        id: StakeId,
        operator: super::Operator,
        prefix: super::Prefix,
        registered: u64,
    ) -> Self {
        Self {
            id,
            operator,
            prefix,
            state: State::Awaiting,
            registered,
            fee: 0,
            shares: Vec::new(),
            since: 0,
            unlocks: None,
            locked: 0,
            penalty: 0,
            removed: false,
            left: false,
        }
    }
}

impl Ledger {
    /// Applies one input; none when it did what it says and there is nothing more to tell.
    pub(super) fn input(&mut self, input: &Input) -> Option<Event> {
        let done = match input {
            // For the index.
            Input::Name(_) => Ok(None),
            Input::Register(registration) => self.register(registration).map(Some),
            Input::RequestExit { id, unlocks } => self.request_exit(*id, *unlocks).map(Some),
            Input::Remove { id } => self.remove(*id),
            Input::ChangeBeneficiary { id, contributor, beneficiary } => {
                self.change_beneficiary(*id, *contributor, *beneficiary)
            }
            Input::HandOver { id, from, to } => self.hand_over(*id, *from, *to),
            Input::Release { amount } => self.rewards.release(*amount).map(|()| None),
            Input::Accept { epoch, submitter, digest } => {
                self.accepted = Some((*epoch, *digest));
                self.rewards.submitters.push(*submitter);
                Ok(None)
            }
            Input::ChangeCredit { credit } => {
                self.rewards.credit = *credit;
                Ok(None)
            }
            Input::ChangeActiveFor { seconds } => {
                self.active_for = *seconds;
                Ok(None)
            }
            Input::ChangeMinimumNodes { nodes } => {
                self.minimum_nodes = *nodes;
                Ok(None)
            }
            Input::Decommission { node } => self.decommission(*node).map(Some),
            Input::Recommission { node } => self.recommission(*node).map(Some),
            Input::Deregister { node, penalty } => self.deregister(*node, *penalty).map(Some),
        };
        done.unwrap_or_else(|reason| Some(Event::Refused { input: input.clone(), reason }))
    }

    /// Deregisters the nodes whose service ends by request at the instant `now`, in seconds since 1970.
    pub(super) fn end_services(&mut self, now: u64, events: &mut Vec<Event>) {
        for (node, member) in &mut self.members {
            let ends = member.unlocks.is_some_and(|unlocks| unlocks <= now);
            if ends && member.state != State::Deregistered {
                member.state = State::Deregistered;
                events.push(Event::Deregistered { node: *node });
            }
        }
    }

    fn register(&mut self, registration: &Registration) -> Result<Event, Refusal> {
        let Registration { id, node, operator, prefix, fee, bls, .. } = *registration;
        if self.stakes.contains_key(&id) || registration.stake().is_none() {
            return Err(Refusal::Registration);
        }
        let taken = match self.members.get(&node).map(|member| member.state) {
            None if !registration.is_signed(&self.parameters.domain) => Err(Refusal::Unsigned),
            None => Ok(()),
            Some(State::Deregistered) => Err(Refusal::Leaving),
            Some(State::Awaiting | State::Active | State::Decommissioned) => Err(Refusal::Registered),
        };
        // The contract holds the stake in any case, and counts the key.
        self.stakes.insert(id, Stake { node, bls, refused: taken.err() });
        taken?;
        let mut member = Member::new(id, operator.into(), prefix, self.height);
        member.fee = fee;
        member.shares.clone_from(&registration.shares);
        self.members.insert(node, member);
        Ok(Event::Registered { node })
    }

    fn request_exit(&mut self, id: StakeId, unlocks: u64) -> Result<Event, Refusal> {
        let (node, member) = self.member(id)?;
        match (member.state, member.unlocks) {
            (State::Deregistered, _) | (_, Some(_)) => Err(Refusal::Leaving),
            (State::Awaiting | State::Active | State::Decommissioned, None) => {
                member.unlocks = Some(unlocks);
                Ok(Event::Exiting { node, unlocks })
            }
        }
    }

    fn remove(&mut self, id: StakeId) -> Result<Option<Event>, Refusal> {
        let stake = self.stakes.remove(&id).ok_or(Refusal::Unknown)?;
        if stake.refused.is_some() {
            return Ok(None);
        }
        let serves = self.serves(&stake.node);
        let Some(member) = self.members.get_mut(&stake.node) else { return Ok(None) };
        let went = member.state == State::Deregistered;
        member.state = State::Deregistered;
        member.removed = true;
        if serves {
            // Somebody has to serve until the next map acts.
            return Ok((!went).then_some(Event::Deregistered { node: stake.node }));
        }
        let left = member.left;
        self.members.remove(&stake.node);
        Ok((!left).then_some(Event::Left { node: stake.node }))
    }

    fn change_beneficiary(
        &mut self,
        id: StakeId,
        contributor: Address,
        beneficiary: Address,
    ) -> Result<Option<Event>, Refusal> {
        let (_, member) = self.member(id)?;
        let mut shares = member.shares.iter_mut();
        let share = shares.find(|share| share.contributor == contributor).ok_or(Refusal::Share)?;
        share.beneficiary = beneficiary;
        Ok(None)
    }

    fn hand_over(&mut self, id: StakeId, from: Address, to: Address) -> Result<Option<Event>, Refusal> {
        let (_, member) = self.member(id)?;
        if member.shares.iter().any(|share| share.contributor == to) {
            return Err(Refusal::Share);
        }
        let mut shares = member.shares.iter_mut();
        let at = shares.position(|share| share.contributor == from).ok_or(Refusal::Share)?;
        if let Some(share) = member.shares.get_mut(at) {
            (share.contributor, share.beneficiary) = (to, to);
        }
        if at == 0 {
            // Who holds the operator's share is the operator: the next map keeps its nodes apart.
            member.operator = to.into();
        }
        Ok(None)
    }

    fn decommission(&mut self, node: NodeId) -> Result<Event, Refusal> {
        let member = self.members.get_mut(&node).ok_or(Refusal::Unknown)?;
        match member.state {
            State::Active => {
                member.state = State::Decommissioned;
                Ok(Event::Decommissioned { node })
            }
            State::Awaiting | State::Decommissioned => Err(Refusal::State),
            State::Deregistered => Err(Refusal::Leaving),
        }
    }

    fn recommission(&mut self, node: NodeId) -> Result<Event, Refusal> {
        let member = self.members.get_mut(&node).ok_or(Refusal::Unknown)?;
        match member.state {
            State::Decommissioned => {
                // It is active, and its time counts anew, when a map names it that acts.
                member.state = State::Awaiting;
                Ok(Event::Recommissioned { node })
            }
            State::Awaiting | State::Active => Err(Refusal::State),
            State::Deregistered => Err(Refusal::Leaving),
        }
    }

    fn deregister(&mut self, node: NodeId, penalty: u16) -> Result<Event, Refusal> {
        let locked = self.time.saturating_add(self.parameters.lock);
        let serves = self.serves(&node);
        let member = self.members.get_mut(&node).ok_or(Refusal::Unknown)?;
        if member.state == State::Deregistered {
            return Err(Refusal::Leaving);
        }
        (member.state, member.locked, member.penalty) = (State::Deregistered, locked, penalty);
        if serves || !member.shares.is_empty() {
            member.left = !serves;
        } else {
            self.members.remove(&node);
        }
        Ok(if serves { Event::Deregistered { node } } else { Event::Left { node } })
    }

    /// The node that a registration was taken for.
    fn member(&mut self, id: StakeId) -> Result<(NodeId, &mut Member), Refusal> {
        let stake = self.stakes.get(&id).filter(|stake| stake.refused.is_none()).ok_or(Refusal::Unknown)?;
        let member = self.members.get_mut(&stake.node).ok_or(Refusal::Unknown)?;
        Ok((stake.node, member))
    }
}
