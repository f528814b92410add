//! Transactions: what they would do is told with its cost, agreed to, sent, and told again.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    time::Duration,
};

use alloy::primitives::{Address, U256, utils::format_ether};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use session_chain::{
    NetworkFile,
    network::Settlement,
    settlement::{
        Begun, Call, Options, Progress, ReplayError, Replayed, SendError, Sender, Status,
        replay::{PACE, replay},
    },
};
use session_protocols::identity::blake2b;
use tokio::sync::oneshot;

use crate::{
    Context,
    failure::{Exit, Failure, chain},
};

mod consent;
pub(crate) use consent::Consent;

/// How many blocks there have to be from a transaction's own on before it is told as done: a block that the chain
/// takes back was hardly ever built on, and on a local chain it is final by then.
pub(crate) const CONFIRMATIONS: u64 = 3;

/// The folder of what is known of chains, in the home.
const LEDGERS: &str = "ledgers";

/// A transaction, and what it does.
pub(crate) struct Planned {
    pub(crate) call: Call,
    /// In words.
    pub(crate) what: String,
    /// For programs.
    pub(crate) told: Value,
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

/// From one look at the chain to the next.
pub(crate) const fn poll(network: &NetworkFile) -> Duration {
    Duration::from_millis(if network.local { 100 } else { 1_000 })
}

/// The ledger and all names, made from the chain; with the ledger of the checkpoint that was accepted last. Where its
/// logs are many, or dropped, the nodes of the network file are asked for that.
pub(crate) async fn replayed(
    context: &Context,
    network: &NetworkFile,
    account: Address,
    accepted: Option<u64>,
) -> Result<Replayed, Failure> {
    let settlement = settlement(network)?;
    let folder = context.home()?.path().join(LEDGERS);
    fs::create_dir_all(&folder).map_err(|cause| Failure::io("cannot keep the ledger", &cause))?;
    let path = folder.join(ledger_name(settlement));
    let seed = blake2b(&[b"session stake", account.as_slice()]);
    let options = Options::new(settlement, seed).map_err(SendError::from)?;
    let bar = ProgressBar::new_spinner();
    let progress = |status: &Status| {
        bar.set_message(reading(status));
        bar.tick();
    };
    let source = Some(session_node::ledger_source(network, None));
    let options = Options { pace: PACE, source, ..options };
    let now = replay(Some(&path), options, accepted, progress).await;
    bar.finish_and_clear();
    Ok(now?)
}

/// How far it is, in words.
fn reading(status: &Status) -> String {
    match status.begun {
        Begun::Fetching { epoch: None, .. } => "asking for the last checkpoint".to_owned(),
        Begun::Fetching { epoch: Some(epoch), bytes } => {
            format!("fetching the ledger of the checkpoint of epoch {epoch}: {} KiB so far", bytes >> 10)
        }
        Begun::Kept | Begun::Checkpoint { .. } | Begun::Logs => {
            let head = status.head.map_or_else(|| "?".to_owned(), |head| head.to_string());
            format!("reading the chain: block {} of {head}", status.height)
        }
    }
}

/// A file for each chain with its contracts.
fn ledger_name(settlement: &Settlement) -> String {
    // Where it is asked, what clients make of it, and who lends stakes does not matter.
    let text =
        Settlement { rpc: Vec::new(), trust: 0, written: 0, vault: None, ..settlement.clone() }.to_toml();
    let digest = blake2b(&[b"session ledger of", text.as_bytes()]);
    let name = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    name.collect::<String>() + ".redb"
}

/// Tells what a transaction costs, asks whether to send it unless just that was agreed to, sends it for no more, and tells what
/// came of it. Before it is sent `keep` writes down what the next command has to know of it, whatever happens then. `E` says
/// what a failure is called.
pub(crate) async fn deliver<E>(
    context: &Context,
    sender: &mut Sender,
    from: &str,
    planned: Planned,
    consent: &mut Consent,
    keep: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure>
where
    E: From<SendError>,
    Failure: From<E>,
{
    let Planned { call, what, told } = planned;
    let quote = sender.quote(&call).await.map_err(E::from)?;
    tell_cost(context, &what, from, sender.account(), &quote.to_string());
    consent.to(&what, quote.most, || agree(context, &what, &quote.to_string()))?;
    keep()?;
    let bar = ProgressBar::new_spinner();
    let receipt = sender.send_at(&call, &quote, |progress| show(&bar, progress)).await;
    bar.finish_and_clear();
    let receipt = receipt.map_err(E::from)?;
    let fee = U256::from(receipt.gas_used).saturating_mul(U256::from(receipt.effective_gas_price));
    let fee = ether(fee);
    let mut data = told.as_object().cloned().unwrap_or_else(Map::new);
    data.insert("transaction".to_owned(), json!(receipt.transaction_hash.to_string()));
    data.insert("height".to_owned(), json!(receipt.block_number));
    data.insert("cost".to_owned(), json!(fee));
    context.output.data(&data, || {
        let height = receipt.block_number.unwrap_or_default();
        format!(
            "done: {what}\n  transaction  {}\n  block        {height}\n  cost         {fee} ETH",
            receipt.transaction_hash
        )
    })
}

/// Tells people what something costs before it is sent.
pub(crate) fn tell_cost(context: &Context, what: &str, from: &str, address: Address, cost: &str) {
    context.output.note(&format!("{what}\n  from  {from} ({address})\n  cost  {cost}"));
}

/// How a transaction goes.
pub(crate) fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_message(match progress {
        Progress::Sent { hash, .. } => format!("sent as {hash}; waiting for a block"),
        Progress::Bumped { hash, .. } => format!("sent again with a higher fee, as {hash}"),
        Progress::Mined { height, .. } => format!("in block {height}"),
    });
    bar.tick();
}

/// Asks whoever sits at the terminal.
pub(crate) fn agree(context: &Context, what: &str, cost: &str) -> Result<(), Failure> {
    question(context, what, cost)?;
    answer()
}

/// The same while other things go on: whoever gives up waiting for the answer is not held by the terminal.
pub(crate) async fn agree_meanwhile(context: &Context, what: &str, cost: &str) -> Result<(), Failure> {
    question(context, what, cost)?;
    let (tell, told) = oneshot::channel();
    // No task of the runtime: it would end when the line comes, and not before.
    std::thread::spawn(move || {
        let _ = tell.send(answer());
    });
    told.await.unwrap_or_else(|_| Err(not_confirmed("nobody answered".to_owned())))
}

fn question(context: &Context, what: &str, cost: &str) -> Result<(), Failure> {
    if context.output.is_json() || !io::stdin().is_terminal() {
        return Err(not_confirmed(format!("nobody agreed to this: {what}; it costs {cost}")));
    }
    let _ = write!(io::stderr(), "Send it? [y/N] ");
    Ok(())
}

fn answer() -> Result<(), Failure> {
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|cause| Failure::io("cannot read the answer", &cause))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(not_confirmed("nothing was sent".to_owned()))
    }
}

fn not_confirmed(message: String) -> Failure {
    Failure::new(Exit::Refused, "not_confirmed", message, "to send it without being asked, add --yes")
}

fn ether(wei: U256) -> String {
    let text = format_ether(wei);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let exit = match &error {
            SendError::Endpoint { .. } | SendError::Behind { .. } => Exit::NotReady,
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
