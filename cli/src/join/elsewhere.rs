//! The registration of a node that another wallet sends: printed for it, and waited for.

use std::time::Duration;

use alloy::primitives::{Address, Bytes};
use serde_json::{Value, json};
use session_chain::{
    Amount, Candidate, NetworkFile, account as chain_account,
    bls::BlsSecret,
    network::Settlement,
    settlement::{Call, Delivery, Staker},
};
use tokio::time::sleep;

use super::{Keys, board::Say, place::Place};
use crate::{Context, failure::Failure, network::terms::Terms, sending::poll, stake::lower};

/// From one look at the chain to the next: somebody signs meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// A transaction for another wallet.
struct Wanted {
    what: String,
    to: Address,
    data: Bytes,
    link: String,
    /// Whether the link says all in the way that wallets agreed on (EIP-681).
    complete: bool,
}

/// Says what the operator's wallet is to sign, and waits until the node is registered.
pub(super) async fn put_down(
    context: &Context,
    operator: Address,
    (network, settlement, terms): (&NetworkFile, &Settlement, &Terms),
    keys: &Keys,
    place: &Place,
    say: &Say,
) -> Result<((), String), Failure> {
    let nobody = chain_account::signer(&[0; chain_account::SEED]);
    let delivery = Delivery { poll: poll(network), ..Delivery::default() };
    let mut staker = Staker::connect(settlement, nobody.clone(), delivery).await?;
    let bls = BlsSecret::of_node(&keys.pair).public();
    if staker.holds(&bls).await? {
        return Ok(((), "it is there, and becomes final".to_owned()));
    }
    let times = Staker::registrations(settlement, &bls).await?;
    let prefix = crate::node::prefix(&place.announce)?;
    let candidate =
        Candidate::sign(network.name.clone(), &settlement.domain(), &keys.pair, operator, prefix, times);
    keys.keep(&candidate)?;
    let [approve, register] = staker.elsewhere(&network.name, &candidate).await?;
    let stake = staker.requirement();
    let wanted =
        [allowance(settlement, stake, approve), registration(settlement, &candidate, stake, register)];
    context.output.data(&for_programs(terms, operator, &wanted), || for_people(terms, operator, &wanted))?;
    loop {
        say.doing(match staker.holds(&bls).await {
            Ok(true) => break,
            Ok(false) => format!("waiting until {} has registered the node", lower(operator)),
            // Whoever signs takes their time: an endpoint that fails for a while is asked again, and one that is gone
            // for good is no reason to end.
            Err(error) => {
                if let Ok(other) = Staker::connect(settlement, nobody.clone(), delivery).await {
                    staker = other;
                }
                format!("looking for the registration: {error}")
            }
        });
        sleep(LOOK).await;
    }
    Ok(((), format!("{stake} SESH of {}", lower(operator))))
}

/// The staking contract may take the stake: all arguments are such as links can say.
fn allowance(settlement: &Settlement, stake: Amount, call: Call) -> Wanted {
    let (token, staking) = (settlement.contracts.token, settlement.contracts.staking);
    let link = format!(
        "ethereum:{}@{}/approve?address={}&uint256={}",
        lower(token),
        settlement.chain,
        lower(staking),
        stake.units()
    );
    let what = format!(
        "let the staking contract {} take {stake} SESH, which is the token {} of chain {}",
        lower(staking),
        lower(token),
        settlement.chain
    );
    Wanted { what, to: token, data: call.data, link, complete: true }
}

/// The node is registered: its keys are a structure, which links have no words for.
fn registration(settlement: &Settlement, candidate: &Candidate, stake: Amount, call: Call) -> Wanted {
    let staking = settlement.contracts.staking;
    let link = format!("ethereum:{}@{}?data={}", lower(staking), settlement.chain, call.data);
    let what = format!("register node {} with {stake} SESH at {}", candidate.node, lower(staking));
    Wanted { what, to: staking, data: call.data, link, complete: false }
}

fn for_programs(terms: &Terms, operator: Address, wanted: &[Wanted]) -> Value {
    let transactions: Vec<Value> = wanted
        .iter()
        .map(|one| {
            json!({
                "what": one.what, "to": lower(one.to), "value": "0", "data": one.data.to_string(),
                "link": one.link, "link_complete": one.complete,
            })
        })
        .collect();
    json!({
        "step": "stake", "state": "sign", "detail": "sign these in your wallet, in this order", "chain": terms.chain(),
        "from": lower(operator), "network": terms.json(), "transactions": transactions,
    })
}

fn for_people(terms: &Terms, operator: Address, wanted: &[Wanted]) -> String {
    let mut text = format!(
        "to be signed in the wallet of {}, on chain {}, in this order, {}\n",
        lower(operator),
        terms.chain(),
        terms.told()
    );
    for (number, one) in (1..).zip(wanted) {
        let Wanted { what, to, data, link, complete } = one;
        text += &format!(
            "{number}. {what}\n   to     {}\n   value  0\n   data   {data}\n   link   {link}\n",
            lower(*to)
        );
        if !complete {
            text += "          links have no words for such arguments (EIP-681): a wallet that passes over `data` is \
                     given it by hand\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use session_chain::network::Contracts;

    use super::*;

    #[test]
    fn links_are_as_wallets_read_them() {
        let at = Address::repeat_byte;
        let (token, pool, staking) = (at(1), at(2), at(3));
        let contracts = Contracts { token, pool, staking, factory: at(4), checkpoints: at(5), names: at(6) };
        let terms = Terms::new_of("net", 7, contracts);
        let (rpc, epoch) = (Vec::new(), core::num::NonZeroU64::MIN);
        let settlement = Settlement {
            chain: 7,
            rpc,
            start: 0,
            genesis: 0,
            epoch,
            lock: 0,
            trust: 0,
            written: 0,
            contracts,
            vault: None,
        };
        let call = || Call { data: vec![1, 2].into(), ..Call::default() };
        let approve = allowance(&settlement, Amount::sesh(2), call());
        let (token, staking) = (lower(token), lower(staking));
        let link = format!("ethereum:{token}@7/approve?address={staking}&uint256=2000000000");
        assert_eq!((&approve.link, approve.complete), (&link, true));

        // A wallet shows addresses alone: whose word they are is said beside.
        let said = for_people(&terms, at(9), &[approve]);
        let told = for_programs(&terms, at(9), &[allowance(&settlement, Amount::sesh(2), call())]);
        for word in [&*token, &staking, "chain 7", "signed by    nobody", "new here"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(told["transactions"][0]["what"].as_str().unwrap().contains(&token), "{told}");
        let network = &told["network"];
        assert_eq!((&network["chain"], &network["contracts"]["token"]), (&json!(7), &json!(token)));
        assert_eq!((&network["publisher"], &network["known"]), (&Value::Null, &json!(false)));
    }
}
