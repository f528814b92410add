//! The stake of a node that joins: paid by the account, lent by the network's faucet, or to be signed elsewhere.

use alloy::primitives::{Address, U256};
use serde::Deserialize;
use session_chain::{
    Candidate, NetworkFile,
    bls::BlsSecret,
    network::Settlement,
    settlement::{Delivery, Staker, Vault, Wallet},
};
use session_testnet::public::Ask;

use super::{Keys, board::Say, elsewhere, faucet, place::Place, watch::Watch};
use crate::{
    Context, account,
    args::Join,
    failure::{Exit, Failure},
    network::terms::Terms,
    payee,
    sending::{agree_meanwhile, poll, tell_cost},
    stake::{REGISTRATION, lower},
};

/// What else there is where no stake is lent.
const OWN: &str = "stake tokens of your own: --account NAME";

/// What is said of a stake that is paid, while the nodes do not know of it.
const SENT: &str = "it is there, and becomes final";

/// What else there is where the account does not pay.
const ELSEWHERE: &str = "or register the node with another wallet: --elsewhere --operator WHO";

/// What the faucet says that it lent; how much that is the chain knows.
#[derive(Debug, Deserialize)]
struct Lent {
    /// The block; none where it lent it before.
    height: Option<u64>,
}

/// Registers the node, unless it is registered.
pub(crate) async fn put_down(
    context: &Context,
    arguments: &Join,
    (network, settlement, terms): (&NetworkFile, &Settlement, &Terms),
    keys: &Keys,
    place: &Place,
    watch: &Watch,
    say: &Say,
) -> Result<((), String), Failure> {
    let registration = watch.registration().await.unwrap_or_default();
    if !matches!(registration.as_str(), "unregistered" | "refused" | "deregistered" | "") {
        let told = format!("it is there: the node is {registration}");
        return Ok(((), there(told, network, settlement, keys, place, say).await));
    }
    if let Some(operator) = &arguments.operator {
        let operator = Box::pin(payee::address_of(context, operator)).await?;
        if operator.found.is_some() {
            context.output.warn(&format!("the node's operator is to be {operator}"));
        }
        let of = (network, settlement, terms);
        return elsewhere::put_down(context, operator.address, of, keys, place, say).await;
    }
    let home = context.home()?;
    let (name, id) = account::choose_or_make(context, &home, arguments.account.as_deref())?;
    let signer = account::signer(&home, &name, &id)?.0;
    let delivery = Delivery { poll: poll(network), ..Delivery::default() };
    let mut staker = Staker::connect(settlement, signer.clone(), delivery).await?;
    let bls = BlsSecret::of_node(&keys.pair).public();
    let times = Staker::registrations(settlement, &bls).await?;
    let operator = signer.address();
    let balances = Wallet::connect(settlement, signer.clone(), delivery).await?.balances().await?;
    let stake = staker.requirement();
    if staker.holds(&bls).await? {
        return Ok(((), there(SENT.to_owned(), network, settlement, keys, place, say).await));
    }
    let short = balances.sesh < stake || balances.native == U256::ZERO;
    let lends = network.faucet.as_ref().filter(|_| short && settlement.vault.is_some());
    let owner = match lends {
        Some(_) => {
            let vault = Vault::connect(settlement, signer.clone(), delivery).await?;
            vault.loan_for(operator, &keys.pair.node_id()).await?
        }
        None => operator,
    };
    let prefix = crate::node::prefix(&place.announce)?;
    let candidate =
        Candidate::sign(network.name.clone(), &settlement.domain(), &keys.pair, owner, prefix, times);
    keys.keep(&candidate)?;
    if let Some(faucet) = lends {
        // The account signs nothing: the node's keys do, and the faucet pays.
        say.doing("asking the faucet");
        let ask = Ask {
            registration: candidate.to_toml(),
            operator,
            gas: keys.gas,
            addresses: place.announce.iter().map(ToString::to_string).collect(),
        };
        let lent: Lent = faucet::ask(faucet, &ask, OWN, |told| say.doing(told)).await?;
        // The faucet's word is none of the chain's.
        if !staker.holds(&bls).await? {
            let message =
                format!("the faucet at {faucet} says that it lent a stake, and the chain knows of none");
            let remedy = "type the same command again, or stake tokens of your own: --account NAME";
            return Err(Failure::new(Exit::Failed, "faucet", message, remedy));
        }
        let block = lent.height.map_or_else(String::new, |height| format!(" in block {height}"));
        return Ok(((), format!("{stake} SESH, lent by the faucet to {name}{block}")));
    }
    if short {
        let message = format!(
            "{name} ({}) has {} SESH, and a node stakes {stake}; it pays for the transaction in ether of chain {}",
            lower(operator),
            balances.sesh,
            settlement.chain
        );
        let remedy = format!(
            "have somebody pay it there and type the same command again; or let another account stake: --account NAME; \
             {ELSEWHERE}"
        );
        return Err(Failure::new(Exit::NotReady, "no_stake", message, remedy));
    }
    // What was sent before may be on its way, and be the stake.
    say.doing("waiting for what the account sent before");
    staker.sender().settled().await?;
    if staker.holds(&bls).await? {
        return Ok(((), there(SENT.to_owned(), network, settlement, keys, place, say).await));
    }
    // Before the permit, which whoever serves the chain sees as soon as the cost is asked for.
    let agreed = terms.agree(context, &name, || say.asks()).await;
    agreed.map_err(|failure| Failure { remedy: format!("{}; {ELSEWHERE}", failure.remedy), ..failure })?;
    say.doing("asking what it costs");
    let (call, _) = staker.register(&network.name, &candidate, 0, None, &[]).await?;
    let quote = staker.quote(&call).await?;
    let what = format!("register node {} with {stake} SESH of {name}, {}", candidate.node, terms.token());
    if !arguments.yes {
        say.asks();
        context.output.note(&terms.told());
        tell_cost(context, &what, &name, operator, &quote.to_string());
        agree_meanwhile(context, &what, &quote.to_string()).await?;
    }
    say.doing("waiting for the transaction");
    let receipt = staker.send_at(&call, &quote, |_| {}).await?;
    Ok(((), format!("{stake} SESH of {name}, in block {}", receipt.block_number.unwrap_or_default())))
}

/// What is said of a node that is registered. It serves without ether, too: what is wrong with that ends nothing.
async fn there(
    told: String,
    network: &NetworkFile,
    settlement: &Settlement,
    keys: &Keys,
    place: &Place,
    say: &Say,
) -> String {
    match fuel(network, settlement, keys, place, say).await {
        Ok(more) => format!("{told}{more}"),
        Err(failure) => format!("{told}; whether it has ether is not known: {}", failure.message),
    }
}

/// Asks the faucet once more where it lent the node's stake, and an account lacks the ether that comes with it. Says
/// what came of that.
async fn fuel(
    network: &NetworkFile,
    settlement: &Settlement,
    keys: &Keys,
    place: &Place,
    say: &Say,
) -> Result<&'static str, Failure> {
    let Some(faucet) = network.faucet.as_ref().filter(|_| settlement.vault.is_some()) else { return Ok("") };
    let registration = std::fs::read_to_string(keys.data.join(REGISTRATION)).unwrap_or_default();
    let Ok(candidate) = Candidate::parse(&registration) else { return Ok("") };
    // Whoever looks needs no key.
    let nobody = session_chain::account::signer(&[0; session_chain::account::SEED]);
    let mut vault = Vault::connect(settlement, nobody, Delivery::default()).await?;
    let Some(operator) = vault.operator_of_loan(candidate.operator).await? else { return Ok("") };
    let accounts = [operator, keys.gas];
    if !lacks(&mut vault, accounts).await? {
        return Ok("");
    }
    say.doing("asking the faucet for ether");
    let addresses = place.announce.iter().map(ToString::to_string).collect();
    let ask = Ask { registration, operator, gas: keys.gas, addresses };
    let _: Lent = faucet::ask(faucet, &ask, OWN, |told| say.doing(told)).await?;
    Ok(match lacks(&mut vault, accounts).await? {
        true => "; it has no ether to pay for transactions from",
        false => "; the faucet sent the ether that it owed",
    })
}

/// Whether one of these accounts has no ether.
async fn lacks(vault: &mut Vault, accounts: [Address; 2]) -> Result<bool, Failure> {
    for account in accounts {
        if vault.sender().ether_of(account).await?.is_zero() {
            return Ok(true);
        }
    }
    Ok(false)
}
