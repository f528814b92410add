//! The stake of a node that joins: paid by the account, lent by the network's faucet, or to be signed elsewhere.

use alloy::primitives::U256;
use session_chain::{
    Candidate, NetworkFile,
    bls::BlsSecret,
    network::Settlement,
    settlement::{Delivery, Staker, Wallet},
};

use super::{Keys, board::Say, place::Place, watch::Watch};
use crate::{
    Context, account,
    args::Join,
    failure::{Exit, Failure},
    sending::{agree, poll},
    stake::{REGISTRATION, lower},
};

/// Registers the node, unless it is registered.
#[expect(clippy::too_many_arguments, reason = "it is where all that was found comes together")]
pub(crate) async fn put_down(
    context: &Context,
    arguments: &Join,
    network: &NetworkFile,
    settlement: &Settlement,
    keys: &Keys,
    place: &Place,
    watch: &Watch,
    say: &Say,
) -> Result<((), String), Failure> {
    let registration = watch.registration().await.unwrap_or_default();
    if !matches!(registration.as_str(), "unregistered" | "refused" | "") {
        return Ok(((), format!("it is there: the node is {registration}")));
    }
    let home = context.home()?;
    let (name, id) = account::choose(&home, arguments.account.as_deref())?;
    let signer = account::signer(&home, &name, &id)?.0;
    let delivery = Delivery { poll: poll(network), ..Delivery::default() };
    let mut staker = Staker::connect(settlement, signer.clone(), delivery).await?;
    let bls = BlsSecret::of_node(&keys.pair).public();
    let times = Staker::registrations(settlement, &bls).await?;
    let prefix = crate::node::prefix(&place.announce)?;
    let operator = signer.address();
    let candidate =
        Candidate::sign(network.name.clone(), &settlement.domain(), &keys.pair, operator, prefix, times);
    let path = keys.data.join(REGISTRATION);
    crate::node::replace(&path, &candidate.to_toml())
        .map_err(|cause| Failure::io("cannot write the node's registration", &cause))?;
    let balances = Wallet::connect(settlement, signer, delivery).await?.balances().await?;
    let stake = staker.requirement();
    if balances.sesh < stake || balances.native == U256::ZERO {
        let message = format!(
            "{name} ({}) has {} SESH, and a node stakes {stake}; it pays for the transaction in ether of chain {}",
            lower(operator),
            balances.sesh,
            settlement.chain
        );
        let remedy = format!(
            "have somebody pay it there and type the same command again; or let another account stake: --account NAME; \
             or register {} elsewhere",
            path.display()
        );
        return Err(Failure::new(Exit::NotReady, "no_stake", message, remedy));
    }
    let (call, _) = staker.register(&network.name, &candidate, 0, None, &[]).await?;
    let quote = staker.quote(&call).await?;
    let what = format!("register node {} with {stake} SESH of {name}", candidate.node);
    if !arguments.yes {
        agree(context, &what, &quote.to_string())?;
    }
    say.doing("waiting for the transaction");
    let receipt = staker.send_at(&call, &quote, |_| {}).await?;
    Ok(((), format!("{stake} SESH of {name}, in block {}", receipt.block_number.unwrap_or_default())))
}
