//! `session stake`: register and leave, contribute and withdraw, rewards and claims.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::primitives::{Address, U256, utils::format_ether};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use session_chain::{
    Amount, Candidate, NetworkFile, account as chain_account,
    candidate::CandidateError,
    ledger::Stake,
    network::Settlement,
    settlement::{
        Call, Delivery, Options, Progress, ReplayError, Replayed, SendError, StakeError, Staker,
        replay::{PACE, replay},
        staker::{Enrolment, Return},
    },
};
use session_protocols::{NodeId, identity::blake2b};

use crate::{
    Context, account,
    args::{self, Deed, Register, Sending},
    failure::{Exit, Failure, chain},
    network,
};

mod consent;
mod show;
use consent::Consent;
pub(crate) use show::lower;

/// What describes a node to its operator, in its folder.
pub(crate) const REGISTRATION: &str = "registration.toml";
/// The folder of the nodes that have a name, in the home.
pub(crate) const NODES: &str = "nodes";
/// The folder of what is known of chains, in the home.
const LEDGERS: &str = "ledgers";
/// What another checkpoint came in between of.
const OVERTAKEN: &str = "overtaken";
/// How often something is planned that checkpoints overtake.
const MAX_PLANS: u32 = 4;

pub(crate) async fn run(context: &Context, arguments: args::Stake) -> Result<(), Failure> {
    let network = network::described(context)?;
    let settlement = settlement(&network)?.clone();
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
    let delivery = Delivery { poll: poll(&network), ..Delivery::default() };
    let staker = Staker::connect(&settlement, signer, delivery).await?;
    let mut desk = Desk { context, network, settlement, name, staker };
    match arguments.deed {
        Deed::List => {
            let now = desk.now().await?;
            let refused = desk.staker.held(&now.ledger, |stake| stake.refused.is_some()).await?;
            show::list(context, &now, &refused)
        }
        Deed::Show { node } => {
            let node = node_id(context, &node)?;
            let now = desk.now().await?;
            let pooled = desk.staker.contributions(&node).await?;
            let refused = |stake: &Stake| stake.node == node && stake.refused.is_some();
            let refused = desk.staker.held(&now.ledger, refused).await?;
            show::node(context, &node, &now, (&pooled, &refused), desk.staker.requirement())
        }
        Deed::Rewards => {
            let now = desk.now().await?;
            let earnings = desk.staker.earnings(&now).await?;
            show::earnings(context, &desk.name, desk.staker.account(), &earnings)
        }
        Deed::Register(register) => {
            let sending = register.sending;
            desk.send(sending, async |desk| desk.register(&register).await).await
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
        Deed::Claim { to, sending } => desk.send(sending, async |desk| desk.claim(to).await).await,
    }
}

/// The chain of a network.
pub(crate) fn settlement(network: &NetworkFile) -> Result<&Settlement, Failure> {
    network.settlement.as_ref().ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "no_chain",
            format!("the network {} has no chain: its nodes are those of its file", network.name),
            "name a network whose file has a section `settlement`: --network FILE",
        )
    })
}

/// The node that a text means: an id, or what `node init` made.
fn node_id(context: &Context, text: &str) -> Result<NodeId, Failure> {
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

/// From one look at the chain to the next.
pub(crate) const fn poll(network: &NetworkFile) -> Duration {
    Duration::from_millis(if network.local { 100 } else { 1_000 })
}

/// A transaction, and what it does.
struct Planned {
    call: Call,
    /// In words.
    what: String,
    /// For programs.
    told: Value,
}

/// One account at a network's contracts, and whom to tell.
struct Desk<'a> {
    context: &'a Context,
    network: NetworkFile,
    settlement: Settlement,
    name: String,
    staker: Staker,
}

impl Desk<'_> {
    async fn register(&self, arguments: &Register) -> Result<Planned, Failure> {
        let Register { node, fee, stake, reserve, .. } = arguments;
        let candidate = candidate(self.context, node)?;
        let reserved: Vec<_> = reserve.iter().map(|slot| (slot.0, slot.1)).collect();
        let registered = self.staker.register(&self.network.name, &candidate, fee.0, *stake, &reserved);
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
        let told =
            json!({ "node": node, "how": how, "staked": stake.to_string(), "lacks": lacks.to_string() });
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
        };
        let told = json!({ "node": node, "how": how, "amount": amount.to_string() });
        Ok(Planned { call, what: format!("{what} {node}: {amount} SESH"), told })
    }

    async fn exit(&self, node: &NodeId) -> Result<Planned, Failure> {
        let (call, id) = self.staker.exit(node, &self.now().await?.ledger).await?;
        let what = format!("let node {node} leave, which is final");
        Ok(Planned { call, what, told: json!({ "node": node, "id": id.0 }) })
    }

    async fn claim(&self, to: Option<Address>) -> Result<Planned, Failure> {
        let to = to.unwrap_or_else(|| self.staker.account());
        let (call, amount) = self.staker.claim(to, &self.now().await?).await?;
        let told = json!({ "to": lower(to), "amount": amount.to_string() });
        Ok(Planned { call, what: format!("claim {amount} SESH to {to}"), told })
    }

    /// The ledger, made from the chain.
    async fn now(&self) -> Result<Replayed, Failure> {
        let folder = self.context.home()?.path().join(LEDGERS);
        fs::create_dir_all(&folder).map_err(|cause| Failure::io("cannot keep the ledger", &cause))?;
        let path = folder.join(ledger_name(&self.settlement));
        let seed = blake2b(&[b"session stake", self.staker.account().as_slice()]);
        let options = Options::new(&self.settlement, seed).map_err(StakeError::from)?;
        let accepted = self.staker.accepted().await?;
        let bar = ProgressBar::new_spinner();
        let progress = |status: &session_chain::settlement::Status| {
            let head = status.head.map_or_else(|| "?".to_owned(), |head| head.to_string());
            bar.set_message(format!("reading the chain: block {} of {head}", status.height));
            bar.tick();
        };
        let now = replay(Some(&path), Options { pace: PACE, ..options }, accepted, progress).await;
        bar.finish_and_clear();
        Ok(now?)
    }

    /// Plans, tells what it costs, asks, sends, and tells what came of it. What another checkpoint overtook is
    /// planned anew: whoever agreed to it is asked again where that changes what is done, or makes it cost more.
    async fn send(
        &mut self,
        sending: Sending,
        plan: impl AsyncFn(&Self) -> Result<Planned, Failure>,
    ) -> Result<(), Failure> {
        let (mut consent, mut tries) = (Consent::new(sending.yes), MAX_PLANS);
        loop {
            tries -= 1;
            let sent = match plan(&*self).await {
                Ok(planned) => self.deliver(planned, &mut consent).await,
                Err(failure) => Err(failure),
            };
            match sent {
                Err(failure) if failure.code == OVERTAKEN && tries > 0 => {
                    self.context.output.note("another checkpoint came in between: planning it anew");
                }
                sent => return sent,
            }
        }
    }

    async fn deliver(&mut self, planned: Planned, consent: &mut Consent) -> Result<(), Failure> {
        let Planned { call, what, told } = planned;
        let quote = self.staker.quote(&call).await?;
        let from = format!("{} ({})", self.name, self.staker.account());
        self.context.output.note(&format!("{what}\n  from  {from}\n  cost  {quote}"));
        consent.to(&what, quote.most, || ask(self.context, &what, &quote.to_string()))?;
        let bar = ProgressBar::new_spinner();
        let progress = |progress: Progress| {
            bar.set_message(match progress {
                Progress::Sent { hash, .. } => format!("sent as {hash}; waiting for a block"),
                Progress::Bumped { hash, .. } => format!("sent again with a higher fee, as {hash}"),
                Progress::Mined { height, .. } => format!("in block {height}"),
            });
            bar.tick();
        };
        let receipt = self.staker.send(&call, progress).await;
        bar.finish_and_clear();
        let receipt = receipt?;
        let fee = U256::from(receipt.gas_used).saturating_mul(U256::from(receipt.effective_gas_price));
        let fee = ether(fee);
        let mut data = told.as_object().cloned().unwrap_or_else(Map::new);
        data.insert("transaction".to_owned(), json!(receipt.transaction_hash.to_string()));
        data.insert("height".to_owned(), json!(receipt.block_number));
        data.insert("cost".to_owned(), json!(fee));
        self.context.output.data(&data, || {
            let height = receipt.block_number.unwrap_or_default();
            format!(
                "done: {what}\n  transaction  {}\n  block        {height}\n  cost         {fee} ETH",
                receipt.transaction_hash
            )
        })
    }
}

/// Asks whoever sits at the terminal.
pub(crate) fn ask(context: &Context, what: &str, cost: &str) -> Result<(), Failure> {
    let refused = |message: String| {
        Failure::new(Exit::Refused, "not_confirmed", message, "to send it without being asked, add --yes")
    };
    if context.output.is_json() || !io::stdin().is_terminal() {
        return Err(refused(format!("nobody agreed to this: {what}; it costs {cost}")));
    }
    let _ = write!(io::stderr(), "Send it? [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|cause| Failure::io("cannot read the answer", &cause))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(refused("nothing was sent".to_owned()))
    }
}

/// A file for each chain with its contracts.
fn ledger_name(settlement: &Settlement) -> String {
    // Where it is asked, and what clients make of it, does not matter.
    let same = Settlement { rpc: Vec::new(), trust: 0, written: 0, ..settlement.clone() };
    let text = same.to_toml();
    let digest = blake2b(&[b"session ledger of", text.as_bytes()]);
    let name = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    name.collect::<String>() + ".redb"
}

fn ether(wei: U256) -> String {
    let text = format_ether(wei);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The address that an account pays from.
pub(crate) fn address(context: &Context, named: Option<&str>) -> Result<Address, Failure> {
    let home = context.home()?;
    let (name, id) = account::choose(&home, named)?;
    Ok(account::signer(&home, &name, &id)?.0.address())
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

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        let exit = match &error {
            ReplayError::Held { .. } => Exit::NotReady,
            ReplayError::Stopped(_) => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::new(exit, "chain", chain(&error), error.remedy())
    }
}
