//! `session network vault`: what the faucet of a test network lends from, for whoever published it.

use alloy::primitives::Address;
use serde_json::{Value, json};
use session_chain::{
    Amount, Ledger, Member, NetworkFile, Operator, StakeId, account as chain_account,
    settlement::{Delivery, Replayed, Staker, Vault, VaultError, staker::word, vault::Loan},
};
use session_protocols::NodeId;

use crate::{
    Context, account,
    args::{self, Sending, VaultDeed},
    failure::{Exit, Failure},
    sending::{Consent, Planned, deliver, ether, poll, replayed, settlement},
    stake::{lower, node_id, state},
    text,
};

/// A node whose stake the vault lent.
struct Lent<'a> {
    id: StakeId,
    node: NodeId,
    loan: Loan,
    /// As the nodes took it; none where they refused its registration.
    member: Option<&'a Member>,
}

pub(crate) async fn run(context: &Context, arguments: args::Vault) -> Result<(), Failure> {
    let network = super::described(context)?;
    let home = context.home()?;
    let (name, signer) = match account::choose(&home, arguments.account.as_deref()) {
        Ok((name, id)) => {
            let signer = account::signer(&home, &name, &id)?.0;
            (name, signer)
        }
        // Who only looks needs no account.
        Err(_) if arguments.deed.is_none() && arguments.account.is_none() => {
            ("nobody".to_owned(), chain_account::signer(&[0; chain_account::SEED]))
        }
        Err(failure) => return Err(failure),
    };
    if arguments.deed.is_some() {
        super::agree(context, &name).await?;
    }
    let delivery = Delivery { poll: poll(&network), ..Delivery::default() };
    let mut vault = Vault::connect(settlement(&network)?, signer, delivery).await?;
    let (planned, sending) = match arguments.deed {
        None => return show(context, &network, &mut vault).await,
        Some(VaultDeed::Withdraw { amount, sending }) => (withdraw(&vault, &name, amount).await?, sending),
        Some(VaultDeed::Recall { node, sending }) => {
            let node = node_id(context, &node)?;
            let now = now(context, &network, vault.account()).await?;
            (recall(&vault, &now.ledger, &node).await?, sending)
        }
    };
    send(context, &mut vault, &name, planned, sending).await
}

async fn send(
    context: &Context,
    vault: &mut Vault,
    name: &str,
    planned: Planned,
    sending: Sending,
) -> Result<(), Failure> {
    let mut consent = Consent::new(sending.yes);
    deliver::<VaultError>(context, vault.sender(), name, planned, &mut consent, || Ok(())).await
}

/// What is in it, who may do what, and which nodes have stakes of it.
async fn show(context: &Context, network: &NetworkFile, vault: &mut Vault) -> Result<(), Failure> {
    let (at, unlent, owner) = (vault.at(), vault.unlent().await?, vault.owner().await?);
    let lender = match vault.lender().await {
        Ok(lender) => Some(lender),
        // One of another release is shown, too.
        Err(VaultError::OneRole { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let faucet = match lender {
        Some(lender) => {
            let wei = vault.sender().ether_of(lender).await?;
            let token = settlement(network)?.contracts.token;
            let sesh = vault.sender().tokens_of(token, lender).await?;
            let sesh = Amount::try_from(sesh).unwrap_or_default();
            Some(json!({ "address": lower(lender), "sesh": sesh.to_string(), "ether": ether(wei) }))
        }
        None => None,
    };
    let now = now(context, network, vault.account()).await?;
    let lent = lent(vault, &now.ledger).await?;
    let total = lent.iter().filter_map(|one| one.member).map(staked).fold(0, u128::saturating_add);
    let nodes: Vec<Value> = lent.iter().map(Lent::json).collect();
    let data = json!({
        "vault": lower(at), "owner": lower(owner), "lender": faucet, "unlent": unlent.to_string(),
        "lent": Amount(total).to_string(), "nodes": nodes,
    });
    context.output.data(&data, || {
        let mut text = format!(
            "the vault {} of {}\n  owner     {}\n  not lent  {unlent} SESH\n  lent      {} SESH\n",
            lower(at),
            network.name,
            lower(owner),
            Amount(total)
        );
        if let Some(faucet) = &faucet {
            let field = |key: &str| faucet[key].as_str().unwrap_or("-").to_owned();
            let (sesh, ether) = (field("sesh"), field("ether"));
            text += &format!("  lends by  {}, which has {sesh} SESH and {ether} ether\n", field("address"));
        }
        let cell = |node: &Value, key: &str| node[key].as_str().unwrap_or("-").to_owned();
        let rows: Vec<_> = nodes
            .iter()
            .map(|node| [cell(node, "node"), state(node), cell(node, "lent_to"), cell(node, "staked")])
            .collect();
        match &*rows {
            [] => text,
            rows => text + "\n" + &text::table(["NODE", "STATE", "LENT TO", "STAKED"], rows),
        }
    })
}

/// Takes out what is not lent.
async fn withdraw(vault: &Vault, name: &str, amount: Amount) -> Result<Planned, Failure> {
    if amount.is_zero() {
        return Err(Failure::usage("nothing is to be taken out", "name how many SESH"));
    }
    let call = vault.withdraw(amount).await?;
    let to = lower(vault.account());
    let what = format!("take {amount} SESH that are not lent out of the vault, to {name} ({to})");
    let told = json!({ "vault": lower(vault.at()), "to": to, "amount": amount.to_string() });
    Ok(Planned { call, what, told })
}

/// Lets a lent node leave.
async fn recall(vault: &Vault, ledger: &Ledger, node: &NodeId) -> Result<Planned, Failure> {
    let all = lent(vault, ledger).await?;
    let one = chosen(&all, node)?;
    let (account, owner) = (vault.account(), vault.owner().await?);
    if account != owner && account != one.loan.operator {
        return Err(VaultError::NotOwner { owner, account }.into());
    }
    let call = vault.request_exit(one.loan.at);
    let what = format!(
        "let node {node} leave, which is final; once a checkpoint releases its stake, have it paid back: session stake \
         withdraw {node}. The faucet brings it to the vault then"
    );
    let told = json!({ "node": node, "id": one.id.0, "loan": lower(one.loan.at) });
    Ok(Planned { call, what, told })
}

/// The registration of a node that is to leave: one that the nodes took rather than one that they refused.
fn chosen<'a>(all: &'a [Lent<'_>], node: &NodeId) -> Result<&'a Lent<'a>, Failure> {
    let failed =
        |code, message: String, remedy: String| Err(Failure::new(Exit::Failed, code, message, remedy));
    let of = all.iter().filter(|one| one.node == *node);
    let Some(one) = of.min_by_key(|one| (one.member.is_none(), one.id)) else {
        let message = format!("the vault has lent no stake to node {node}");
        return failed("not_lent", message, "see to which it has: session network vault".to_owned());
    };
    if one.member.is_some_and(|member| member.unlocks.is_some()) {
        let remedy =
            format!("once a checkpoint releases its stake, have it paid back: session stake withdraw {node}");
        return failed("leaves", format!("node {node} leaves already"), remedy);
    }
    Ok(one)
}

/// The ledger, made from the chain.
async fn now(context: &Context, network: &NetworkFile, account: Address) -> Result<Replayed, Failure> {
    let nobody = chain_account::signer(&[0; chain_account::SEED]);
    let staker = Staker::connect(settlement(network)?, nobody, Delivery::default()).await?;
    replayed(context, network, account, staker.accepted().await?).await
}

/// Those stakes of the ledger that the vault lent, in order of their numbers. Who holds the stake of a node that the nodes
/// took is as the ledger has it, and an endpoint that says otherwise is not believed.
async fn lent<'a>(vault: &Vault, ledger: &'a Ledger) -> Result<Vec<Lent<'a>>, VaultError> {
    let loans = vault.loans(ledger.stakes().map(|(id, _)| *id)).await?;
    let lent = ledger.stakes().filter_map(|(id, stake)| {
        let loan = *loans.get(id)?;
        let member = ledger.node(&stake.node).filter(|member| member.id == *id);
        let holds = member.is_none_or(|member| member.operator == Operator::from(loan.at));
        holds.then_some(Lent { id: *id, node: stake.node, loan, member })
    });
    Ok(lent.collect())
}

impl Lent<'_> {
    fn json(&self) -> Value {
        let unlocks = self.member.and_then(|member| member.unlocks);
        json!({
            "node": self.node, "id": self.id.0, "loan": lower(self.loan.at), "lent_to": lower(self.loan.operator),
            "state": self.member.map_or("refused", |member| word(member.state)),
            "staked": self.member.map(|member| Amount(staked(member)).to_string()),
            "unlocks": unlocks.map(|second| second.saturating_mul(1_000)),
        })
    }
}

/// What is staked on a node, in units.
fn staked(member: &Member) -> u128 {
    member.shares.iter().fold(0, |sum, share| sum.saturating_add(share.amount.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_lent_cannot_be_recalled() {
        let node = |seed: u8| NodeId::from_bytes([seed; 32]);
        let loan = |seed: u8| Loan { at: Address::repeat_byte(seed), operator: Address::repeat_byte(9) };
        let all = [(1, 1), (2, 1), (3, 2)].map(|(id, seed)| Lent {
            id: StakeId(id),
            node: node(seed),
            loan: loan(seed),
            member: None,
        });
        assert_eq!(chosen(&all, &node(1)).map(|one| one.id).ok(), Some(StakeId(1)));
        assert_eq!(chosen(&all, &node(2)).map(|one| one.id).ok(), Some(StakeId(3)));
        let failure = chosen(&all, &node(7)).map(|one| one.id).unwrap_err();
        assert_eq!((failure.code, failure.exit), ("not_lent", Exit::Failed));
        assert!(failure.remedy.contains("session network vault"), "{}", failure.remedy);
        let shown = all[2].json();
        assert_eq!(
            (&shown["state"], &shown["lent_to"]),
            (&json!("refused"), &json!(lower(loan(2).operator)))
        );
    }
}
