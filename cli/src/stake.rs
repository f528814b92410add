//! `session stake`: register and leave, contribute and withdraw, rewards and claims.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alloy::primitives::Address;
use serde_json::json;
use session_chain::{
    Amount, Candidate, NetworkFile, account as chain_account,
    candidate::CandidateError,
    ledger::Stake,
    settlement::{
        Delivery, Replayed, SendError, StakeError, Staker, VaultError,
        staker::{Enrolment, Return},
    },
};
use session_protocols::NodeId;

use crate::{
    Context, account,
    args::{self, Deed, Register, Sending, Slot},
    failure::{Exit, Failure, chain},
    network,
    payee::{self, Addressee},
    recipient::FoundBy,
    sending::{self, Consent, Planned, deliver, poll, settlement},
};

mod show;
pub(crate) use show::{lower, state};

/// What describes a node to its operator, in its folder.
pub(crate) const REGISTRATION: &str = "registration.toml";
/// The folder of the nodes that have a name, in the home.
pub(crate) const NODES: &str = "nodes";
/// What another checkpoint came in between of.
const OVERTAKEN: &str = "overtaken";
/// How often something is planned that checkpoints overtake.
const MAX_PLANS: u32 = 4;

pub(crate) async fn run(context: &Context, arguments: args::Stake) -> Result<(), Failure> {
    let network = network::described(context)?;
    let settlement = settlement(&network)?;
    let looks = matches!(arguments.deed, Deed::List | Deed::Show { .. });
    let home = context.home()?;
    let (name, signer) = match account::choose(&home, arguments.account.as_deref()) {
        Ok((name, id)) => (name.clone(), account::signer(&home, &name, &id)?.0),
        // Who only looks needs no account.
        Err(_) if looks && arguments.account.is_none() => {
            ("nobody".to_owned(), chain_account::signer(&[0; chain_account::SEED]))
        }
        Err(failure) => return Err(failure),
    };
    if !looks && !matches!(arguments.deed, Deed::Rewards) {
        network::agree(context, &name).await?;
    }
    let delivery = Delivery { poll: poll(&network), ..Delivery::default() };
    let staker = Staker::connect(settlement, signer, delivery).await?;
    let mut desk = Desk { context, network, name, staker };
    match arguments.deed {
        Deed::List => {
            let now = desk.now().await?;
            let refused = desk.staker.held(&now.ledger, |stake| stake.refused.is_some()).await?;
            let loans = desk.staker.loans(&now.ledger).await?;
            show::list(context, &now, &refused, &loans)
        }
        Deed::Show { node } => {
            let node = node_id(context, &node)?;
            let now = desk.now().await?;
            let pooled = desk.staker.contributions(&node).await?;
            let refused = |stake: &Stake| stake.node == node && stake.refused.is_some();
            let refused = desk.staker.held(&now.ledger, refused).await?;
            let loans = desk.staker.loans(&now.ledger).await?;
            show::node(context, &node, &now, (&pooled, &refused, &loans), desk.staker.requirement())
        }
        Deed::Rewards => {
            let now = desk.now().await?;
            let earnings = desk.staker.earnings(&now).await?;
            show::earnings(context, &desk.name, desk.staker.account(), &earnings)
        }
        Deed::Register(register) => {
            let sending = register.sending;
            let mut reserved = Vec::new();
            for Slot { whom, amount } in &register.reserve {
                reserved.push((payee::address(context, &home, Some(&desk.name), whom).await?, *amount));
            }
            desk.send(sending, async |desk| desk.register(&register, &reserved).await).await
        }
        Deed::Contribute { node, amount, sending } => {
            let node = node_id(context, &node)?;
            desk.send(sending, async |desk| desk.contribute(&node, amount).await).await
        }
        Deed::Withdraw { node, sending } => {
            let node = node_id(context, &node)?;
            desk.send(sending, async |desk| desk.withdraw(&node).await).await
        }
        Deed::Exit { node, sending } => {
            let node = node_id(context, &node)?;
            desk.send(sending, async |desk| desk.exit(&node).await).await
        }
        Deed::Claim { to, sending } => {
            let to = match to {
                Some(text) => Some(payee::address(context, &home, Some(&desk.name), &text).await?),
                None => None,
            };
            desk.send(sending, async |desk| desk.claim(to.as_ref()).await).await
        }
    }
}

/// The node that a text means: an id, or what `node init` made.
pub(crate) fn node_id(context: &Context, text: &str) -> Result<NodeId, Failure> {
    if let Ok(node) = text.parse() {
        return Ok(node);
    }
    Ok(candidate(context, text)?.node)
}

/// What `node init` wrote of a node: in a file, in a folder, or in the folder of a name.
fn candidate(context: &Context, text: &str) -> Result<Candidate, Failure> {
    let wrong = |message: String| {
        let remedy =
            "name what `session node init` made: a node's name, its folder, or its registration.toml";
        Failure::new(Exit::Failed, "no_node", message, remedy)
    };
    let named = context.home_path()?.join(NODES).join(text);
    let places = [PathBuf::from(text), Path::new(text).join(REGISTRATION), named.join(REGISTRATION)];
    let Some(path) = places.iter().find(|path| path.is_file()) else {
        return Err(wrong(format!("\"{text}\" is no node's id, and there is no registration there")));
    };
    let read = fs::read_to_string(path)
        .map_err(|cause| wrong(format!("cannot read {}: {cause}", path.display())))?;
    Candidate::parse(&read).map_err(|error| {
        let mut failure = wrong(format!("{}: {}", path.display(), chain(&error)));
        if matches!(error, CandidateError::Version { .. }) {
            failure.remedy =
                "let the node sign once more, by this build: session node init --again".to_owned();
        }
        failure
    })
}

/// One account at a network's contracts, and whom to tell.
struct Desk<'a> {
    context: &'a Context,
    network: NetworkFile,
    name: String,
    staker: Staker,
}

impl Desk<'_> {
    async fn register(
        &self,
        arguments: &Register,
        reserved: &[(Addressee, Amount)],
    ) -> Result<Planned, Failure> {
        let Register { node, fee, stake, .. } = arguments;
        let candidate = candidate(self.context, node)?;
        let slots: Vec<_> = reserved.iter().map(|(whom, amount)| (whom.address, *amount)).collect();
        let registered = self.staker.register(&self.network.name, &candidate, fee.0, *stake, &slots);
        let (call, enrolment) = registered.await?;
        let node = candidate.node;
        let (how, stake, lacks, what) = match enrolment {
            Enrolment::Alone { stake } => {
                ("registered", stake, Amount::ZERO, format!("register node {node} with {stake} SESH"))
            }
            Enrolment::Opened { stake, lacks } => (
                "opened",
                stake,
                lacks,
                format!("open node {node} to others with {stake} SESH; it lacks {lacks} SESH"),
            ),
            Enrolment::Finalised { stake, .. } => (
                "finalised",
                stake,
                Amount::ZERO,
                format!("register node {node} with the {stake} SESH of all contributors"),
            ),
        };
        let kept = reserved.iter().map(|(whom, amount)| format!(", {amount} SESH of it reserved for {whom}"));
        let what = what + &kept.collect::<String>();
        let slots = reserved.iter().map(|(whom, amount)| {
            let mut slot = json!({ "address": lower(whom.address), "amount": amount.to_string() });
            FoundBy::tell(whom.found.as_ref(), &mut slot);
            slot
        });
        let told = json!({
            "node": node,
            "how": how,
            "staked": stake.to_string(),
            "lacks": lacks.to_string(),
            "reserved": slots.collect::<Vec<_>>(),
        });
        Ok(Planned { call, what, told })
    }

    async fn contribute(&self, node: &NodeId, amount: Amount) -> Result<Planned, Failure> {
        let (call, at) = self.staker.contribute(node, amount).await?;
        let what = format!("contribute {amount} SESH to node {node}, at {at}");
        let told = json!({ "node": node, "amount": amount.to_string(), "contribution": lower(at) });
        Ok(Planned { call, what, told })
    }

    async fn withdraw(&self, node: &NodeId) -> Result<Planned, Failure> {
        let (call, back) = self.staker.withdraw(node, &self.now().await?).await?;
        let (how, amount, what) = match back {
            Return::Part(amount) => ("withdrawn", amount, "withdraw your contribution to node"),
            Return::All(amount) => ("cancelled", amount, "end the contribution, and refund all, of node"),
            Return::Released(amount) => ("released", amount, "pay all holders back the stake of node"),
            Return::Escaped(amount) => ("escaped", amount, "take out, for all holders, the stake of node"),
            Return::ToLoan(amount) => {
                ("released", amount, "take out the stake that was lent to you for node")
            }
            Return::GivenBack(amount) => ("given_back", amount, "give back to the faucet the stake of node"),
        };
        let told = json!({ "node": node, "how": how, "amount": amount.to_string() });
        // The faucet may do the rest, but it is theirs to see to.
        let next = if matches!(back, Return::ToLoan(_)) {
            format!("; then give it back to the faucet: session stake withdraw {node}")
        } else {
            String::new()
        };
        Ok(Planned { call, what: format!("{what} {node}: {amount} SESH{next}"), told })
    }

    async fn exit(&self, node: &NodeId) -> Result<Planned, Failure> {
        let (call, id) = self.staker.exit(node, &self.now().await?.ledger).await?;
        let what = format!("let node {node} leave, which is final");
        Ok(Planned { call, what, told: json!({ "node": node, "id": id.0 }) })
    }

    async fn claim(&self, to: Option<&Addressee>) -> Result<Planned, Failure> {
        let address = to.map_or_else(|| self.staker.account(), |to| to.address);
        let (call, amount) = self.staker.claim(address, &self.now().await?).await?;
        let mut told = json!({ "to": lower(address), "amount": amount.to_string() });
        FoundBy::tell(to.and_then(|to| to.found.as_ref()), &mut told);
        let shown = to.map_or_else(|| address.to_string(), ToString::to_string);
        Ok(Planned { call, what: format!("claim {amount} SESH to {shown}"), told })
    }

    /// The ledger, made from the chain.
    async fn now(&self) -> Result<Replayed, Failure> {
        let accepted = self.staker.accepted().await?;
        sending::replayed(self.context, &self.network, self.staker.account(), accepted).await
    }

    /// Plans, tells what it costs, asks, sends, and tells what came of it. What another checkpoint overtook is
    /// planned anew, once that is in a block: whoever agreed to it is asked again where that changes what is done, or makes
    /// it cost more.
    async fn send(
        &mut self,
        sending: Sending,
        plan: impl AsyncFn(&Self) -> Result<Planned, Failure>,
    ) -> Result<(), Failure> {
        let (mut consent, mut tries) = (Consent::new(sending.yes), MAX_PLANS);
        loop {
            tries -= 1;
            let sent = match plan(&*self).await {
                Ok(planned) => {
                    let (sender, consent) = (self.staker.sender(), &mut consent);
                    deliver::<StakeError>(self.context, sender, &self.name, planned, consent, || Ok(())).await
                }
                Err(failure) => Err(failure),
            };
            match sent {
                Err(failure) if failure.code == OVERTAKEN && tries > 0 => {
                    self.context.output.note("another checkpoint came in between: planning it anew");
                    self.staker.sender().next_block().await?;
                }
                sent => return sent,
            }
        }
    }
}

/// The address that an account pays from.
pub(crate) fn address(context: &Context, named: Option<&str>) -> Result<Address, Failure> {
    let home = context.home()?;
    let (name, id) = account::choose(&home, named)?;
    Ok(account::signer(&home, &name, &id)?.0.address())
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let exit = if error.passes() { Exit::NotReady } else { Exit::Failed };
        Self::new(exit, error.code(), chain(&error), error.remedy())
    }
}

impl From<StakeError> for Failure {
    fn from(error: StakeError) -> Self {
        let exit = match &error {
            _ if error.passes() => Exit::NotReady,
            StakeError::Fee { .. } | StakeError::Reserved { .. } => Exit::Usage,
            StakeError::OtherLedger { .. }
            | StakeError::Candidate(_)
            | StakeError::Spent { .. }
            | StakeError::Forged { .. }
            | StakeError::Apart { .. } => Exit::Refused,
            StakeError::Send(SendError::Endpoint { .. }) => Exit::NotReady,
            _ => Exit::Failed,
        };
        Self::new(exit, error.code(), chain(&error), error.remedy())
    }
}
