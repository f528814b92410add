//! A network that was begun, as it is asked for now: what others may be told anew is taken, and the rest is refused.

use core::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use alloy::primitives::Address;
use session_chain::{
    NetworkFile, Operator, account,
    network::sign,
    settlement::{Delivery, Staker},
};
use session_protocols::KeyPair;

use super::{DESCRIPTION, PUBLISHER, Plan, Public, PublicError, deployment, first, key, write};

/// Epochs are as the contracts have them.
pub(super) fn same_epoch(plan: &Plan, is: NonZeroU64) -> Result<(), PublicError> {
    match plan.epoch {
        Some(epoch) if epoch != is => {
            Err(PublicError::Fixed { what: "--epoch, the seconds of an epoch", is: is.to_string() })
        }
        _ => Ok(()),
    }
}

/// Takes endpoints, addresses, limits, the faucet's place and more nodes from the plan.
pub(super) async fn renewed(
    plan: &Plan,
    pairs: &[KeyPair],
    mut network: NetworkFile,
    payer: Option<Address>,
) -> Result<NetworkFile, PublicError> {
    let mut settlement = network.settlement.take().ok_or(PublicError::NoChain)?;
    same_epoch(plan, settlement.epoch)?;
    let operator = network.nodes.first().map(|node| node.operator).ok_or(PublicError::NoChain)?;
    if let Some(found) = payer.map(Operator::from).filter(|found| *found != operator) {
        return Err(PublicError::OtherAccount { wanted: operator, found });
    }
    if settlement.rpc != plan.rpc {
        let (_, found) = deployment::chain(plan).await?;
        if found != settlement.chain {
            return Err(PublicError::OtherChain { wanted: settlement.chain, found });
        }
        settlement.rpc.clone_from(&plan.rpc);
    }
    let before = network.nodes.len();
    if pairs.len() < before {
        return Err(PublicError::Fixed { what: "--nodes, unless to more", is: before.to_string() });
    }
    for (index, pair) in (0..).zip(pairs) {
        let wanted = first(plan, index, pair, Address::from(*operator.as_bytes()));
        let Some(node) = network.nodes.get_mut(usize::from(index)) else {
            network.nodes.push(wanted);
            continue;
        };
        if node.id != wanted.id {
            return Err(PublicError::NoChain);
        }
        if node.prefix != wanted.prefix {
            // The stake says where its node stands.
            let bls = wanted.bls.ok_or(PublicError::NoChain)?;
            if Staker::registrations(&settlement, &bls).await? > 0 {
                let is = format!("in {}, where its nodes have their stakes", node.prefix);
                return Err(PublicError::Fixed { what: "--ip, beyond the prefix", is });
            }
            node.prefix = wanted.prefix;
        }
        node.addresses = wanted.addresses;
    }
    network.faucet = Some(plan.faucet());
    network.limits = plan.limits(network.limits);
    network.settlement = Some(settlement);
    Ok(network)
}

/// Says in the description, signed anew, that its nodes are the network's at this moment: whoever comes later believes
/// it for as long after that as stakes are bound. None where one of them is not registered any more.
pub(super) async fn vouched(public: &Public) -> Result<Option<String>, PublicError> {
    let mut network = public.network.clone();
    let settlement = network.settlement.as_mut().ok_or(PublicError::NoChain)?;
    let nobody = account::signer(&[0; account::SEED]);
    let staker = Staker::connect(settlement, nobody, Delivery::default()).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    for bls in network.nodes.iter().filter_map(|node| node.bls) {
        if !staker.holds(&bls).await? {
            return Ok(None);
        }
    }
    settlement.written = now.max(settlement.written);
    let text = sign(&network.to_toml(), &key(&public.folder.join(PUBLISHER))?);
    write(&public.folder.join(DESCRIPTION), &text)?;
    Ok(Some(text))
}
