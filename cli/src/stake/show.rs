//! Nodes, contributions and earnings, for people and for programs.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use serde_json::{Value, json};
use session_chain::{
    Amount, Ledger, Member, StakeId, State,
    ledger::Refusal,
    settlement::{
        Replayed, StakeError,
        staker::{Earnings, Held, Pooled, word},
        vault::Loan,
    },
};
use session_protocols::NodeId;

use crate::{Context, failure::Failure, text};

/// The stakes that the network's faucet lent.
type Loans = BTreeMap<StakeId, Loan>;

/// All registered nodes, and registrations that the nodes refuse.
pub(crate) fn list(
    context: &Context,
    now: &Replayed,
    refused: &[Held],
    loans: &Loans,
) -> Result<(), Failure> {
    let ledger = &now.ledger;
    let members = ledger.nodes().map(|(id, member)| registered(ledger, id, member, loans));
    let nodes: Vec<Value> = members.chain(refused.iter().map(|held| rejected(held, loans))).collect();
    context.output.data(&json!({ "nodes": nodes }), || {
        if nodes.is_empty() {
            return format!("no node is registered, as of block {}", now.height);
        }
        let cell = |node: &Value, key: &str| node[key].as_str().unwrap_or("-").to_owned();
        let rows = nodes.iter().map(|node| {
            let swarm = cell(node, "swarm");
            let lent = if node["lent_to"].is_null() { "" } else { ", lent by the faucet" };
            let staked = cell(node, "staked") + lent;
            [cell(node, "node"), state(node), cell(node, "operator"), staked, swarm]
        });
        let table = text::table(["NODE", "STATE", "OPERATOR", "STAKED", "SWARM"], &rows.collect::<Vec<_>>());
        let hint = if refused.is_empty() { "" } else { "\n\nWhy one is refused: session stake show NODE" };
        table.trim_end().to_owned() + hint
    })
}

/// One node, the contributions that were opened for it, and registrations of it that the nodes refuse.
pub(crate) fn node(
    context: &Context,
    id: &NodeId,
    now: &Replayed,
    (pooled, refused, loans): (&[Pooled], &[Held], &Loans),
    required: Amount,
) -> Result<(), Failure> {
    let contributions: Vec<Value> = pooled.iter().map(|it| contribution(it, required)).collect();
    let member = now.ledger.node(id).map(|member| registered(&now.ledger, id, member, loans));
    let open = || pooled.iter().find(|it| it.is_open() && it.signed).map(|open| waiting(id, open));
    let last = || refused.last().map(|held| rejected(held, loans));
    let mut data = member.or_else(open).or_else(last).ok_or(StakeError::Unknown { node: *id })?;
    if let Some(data) = data.as_object_mut() {
        data.insert("contributions".to_owned(), json!(contributions));
        data.insert("refused".to_owned(), refused.iter().map(|held| rejected(held, loans)).collect());
    }
    context.output.data(&data, || human(&data))
}

/// What an account has earned.
pub(crate) fn earnings(
    context: &Context,
    name: &str,
    address: Address,
    earnings: &Earnings,
) -> Result<(), Failure> {
    let Earnings { earned, claimed, claimable, epoch, balance } = earnings;
    let data = json!({
        "name": name,
        "address": lower(address),
        "earned": earned.to_string(),
        "claimed": claimed.to_string(),
        "claimable": claimable.to_string(),
        "epoch": epoch,
        "balance": balance.to_string(),
    });
    context.output.data(&data, || {
        let of = epoch.map_or_else(
            || "the nodes have agreed on no checkpoint so far".to_owned(),
            |epoch| format!("by the checkpoint of epoch {epoch}"),
        );
        format!(
            "{name} ({address})\n  earned     {earned} SESH\n  claimed    {claimed} SESH\n  \
             claimable  {claimable} SESH, {of}\n  balance    {balance} SESH"
        )
    })
}

fn registered(ledger: &Ledger, id: &NodeId, member: &Member, loans: &Loans) -> Value {
    let staked = member.shares.iter().fold(0_u128, |sum, share| sum.saturating_add(share.amount.0));
    let shares = member.shares.iter().map(|share| part(share.contributor, share.beneficiary, share.amount));
    json!({
        "node": id,
        "id": member.id.0,
        "state": word(member.state),
        "operator": member.operator.to_string(),
        "lent_to": lent_to(loans, member.id, member.shares.first().map(|share| share.contributor)),
        "fee": percent(member.fee),
        "staked": Amount(staked).to_string(),
        "contributors": shares.collect::<Vec<_>>(),
        "swarm": ledger.map().swarm_with(id).map(|swarm| swarm.to_string()),
        "unlocks": member.unlocks.map(|second| second.saturating_mul(1_000)),
        "why": null,
        "remedy": null,
    })
}

/// A registration that the nodes refuse, in the shape of one that they took.
fn rejected(held: &Held, loans: &Loans) -> Value {
    let operator = held.parts.first().map(|(operator, _)| *operator);
    let part = |(address, amount): &(Address, Amount)| json!({ "address": lower(*address), "beneficiary": null, "amount": amount.to_string() });
    json!({
        "node": held.node,
        "id": held.id.0,
        "state": "refused",
        "operator": operator.map(lower),
        "lent_to": lent_to(loans, held.id, operator),
        "fee": null,
        "staked": held.total().to_string(),
        "contributors": held.parts.iter().map(part).collect::<Vec<_>>(),
        "swarm": null,
        "unlocks": null,
        "why": held.refused.map(|why| why.to_string()),
        "remedy": held.refused.map(Refusal::remedy),
    })
}

/// Whom the faucet lent a stake to, if that is what its operator holds.
fn lent_to(loans: &Loans, id: StakeId, operator: Option<Address>) -> Option<String> {
    let loan = loans.get(&id).filter(|loan| Some(loan.at) == operator);
    loan.map(|loan| lower(loan.operator))
}

/// A node whose contribution is open, in the shape of one that is registered.
fn waiting(id: &NodeId, open: &Pooled) -> Value {
    json!({
        "node": id,
        "id": null,
        "state": "open",
        "operator": lower(open.operator),
        "lent_to": null,
        "fee": percent(open.fee),
        "staked": open.total().to_string(),
        "contributors": parts(open),
        "swarm": null,
        "unlocks": null,
        "why": null,
        "remedy": null,
    })
}

fn contribution(pooled: &Pooled, required: Amount) -> Value {
    use session_chain::settlement::staker::Status;
    let status = match pooled.status {
        Status::Open => "open",
        Status::Finalised => "finalised",
        Status::Cancelled => "cancelled",
    };
    let lacks = required.checked_sub(pooled.total()).filter(|_| pooled.is_open()).unwrap_or_default();
    let reserved = pooled
        .reserved
        .iter()
        .map(|(address, amount)| json!({ "address": lower(*address), "amount": amount.to_string() }));
    json!({
        "address": lower(pooled.at),
        "operator": lower(pooled.operator),
        "signed": pooled.signed,
        "status": status,
        "lacks": lacks.to_string(),
        "contributors": parts(pooled),
        "reserved": reserved.collect::<Vec<_>>(),
    })
}

fn parts(pooled: &Pooled) -> Vec<Value> {
    pooled.parts.iter().map(|it| part(it.contributor, it.beneficiary, it.amount)).collect()
}

fn part(contributor: Address, beneficiary: Address, amount: Amount) -> Value {
    json!({
        "address": lower(contributor),
        "beneficiary": lower(beneficiary),
        "amount": amount.to_string(),
    })
}

/// An address as other ids are shown.
pub(crate) fn lower(address: Address) -> String {
    format!("{address:#x}")
}

fn percent(basis_points: u16) -> String {
    format!("{}.{:02}%", basis_points / 100, basis_points % 100)
}

/// In which state a node is, and whether it is to leave.
pub(crate) fn state(node: &Value) -> String {
    let state = node["state"].as_str().unwrap_or("-");
    let leaves = node["unlocks"].is_u64() && state != word(State::Deregistered);
    if leaves { format!("{state}, leaves") } else { state.to_owned() }
}

fn human(node: &Value) -> String {
    let field = |of: &Value, key: &str| of[key].as_str().unwrap_or("-").to_owned();
    let mut lines = format!("node {}\n  state     {}\n", field(node, "node"), state(node));
    if let Some(unlocks) = node["unlocks"].as_u64() {
        lines.push_str(&format!("  serves    until {} at least\n", text::time(unlocks)));
    }
    for key in ["operator", "fee", "staked", "swarm"] {
        lines.push_str(&format!("  {key:<9} {}\n", field(node, key)));
    }
    if let Some(borrower) = node["lent_to"].as_str() {
        lines.push_str(&format!("  lent      by the faucet, to {borrower}\n"));
    }
    for part in node["contributors"].as_array().into_iter().flatten() {
        lines.push_str(&format!(
            "  share     {} SESH of {}\n",
            field(part, "amount"),
            field(part, "address")
        ));
    }
    for open in node["contributions"].as_array().into_iter().flatten().filter(|it| it["status"] == "open") {
        let by = if open["signed"] == true {
            ""
        } else {
            " (the node did NOT agree, or not since its last registration: do not contribute)"
        };
        let (at, lacks) = (field(open, "address"), field(open, "lacks"));
        lines.push_str(&format!("  open      {at} lacks {lacks} SESH{by}\n"));
    }
    for refused in node["refused"].as_array().into_iter().flatten() {
        let (staked, operator) = (field(refused, "staked"), field(refused, "operator"));
        lines.push_str(&format!("  refused   {staked} SESH of {operator}: {}\n", field(refused, "why")));
        lines.push_str(&format!("    fix     {}\n", field(refused, "remedy")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use session_chain::{
        Parameters,
        ledger::Founder,
        settlement::staker::{Part, Status},
    };

    use super::*;

    fn keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    fn pooled() -> Pooled {
        let address = Address::repeat_byte(0xab);
        Pooled {
            at: Address::repeat_byte(1),
            operator: address,
            fee: 1_050,
            signed: false,
            status: Status::Open,
            parts: vec![Part { contributor: address, beneficiary: address, amount: Amount::sesh(6_250) }],
            reserved: vec![(Address::repeat_byte(2), Amount::sesh(1))],
        }
    }

    #[test]
    fn a_node_has_one_shape_whatever_its_state() {
        let node = NodeId::from_bytes([7; 32]);
        let founder = Founder {
            node,
            operator: Address::repeat_byte(3).into(),
            prefix: "10.0.0.0/24".parse().unwrap(),
        };
        let ledger = Ledger::genesis(Parameters::default(), [0; 32], [founder]);
        let active = registered(&ledger, &node, ledger.node(&node).unwrap(), &Loans::new());
        let open = waiting(&node, &pooled());
        let refused = rejected(&held(node), &Loans::new());
        assert_eq!(keys(&active), keys(&open));
        assert_eq!(keys(&active), keys(&refused));
        assert_eq!(
            keys(&active),
            [
                "contributors",
                "fee",
                "id",
                "lent_to",
                "node",
                "operator",
                "remedy",
                "staked",
                "state",
                "swarm",
                "unlocks",
                "why"
            ]
        );
        assert_eq!((&refused["state"], &refused["staked"]), (&json!("refused"), &json!("25000")));
        assert_eq!(refused["operator"], format!("0x{}", "ab".repeat(20)));
        assert_eq!((&active["state"], &active["staked"]), (&json!("active"), &json!("0")));
        assert_eq!(active["swarm"].as_str().map(str::len), Some(16));
        assert_eq!(
            (&open["state"], &open["staked"], &open["fee"]),
            (&json!("open"), &json!("6250"), &json!("10.50%"),)
        );
        assert_eq!(open["operator"], format!("0x{}", "ab".repeat(20)), "as ids are shown");
    }

    fn held(node: NodeId) -> Held {
        Held {
            id: StakeId(4),
            node,
            refused: Some(Refusal::Unsigned),
            exit_requested: None,
            parts: vec![(Address::repeat_byte(0xab), Amount::sesh(25_000))],
        }
    }

    #[test]
    fn whose_registration_is_refused_reads_why_and_what_to_do() {
        let mut node = rejected(&held(NodeId::from_bytes([7; 32])), &Loans::new());
        node["refused"] = json!([node]);
        let shown = human(&node);
        for said in [
            "state     refused",
            "25000 SESH of 0xab",
            "the node's key did not sign",
            "session stake withdraw",
        ] {
            assert!(shown.contains(said), "{said}: {shown}");
        }
    }

    #[test]
    fn what_the_faucet_lent_is_told_with_whom_it_was_lent_to() {
        let [at, operator] = [0xab, 3].map(Address::repeat_byte);
        let held = held(NodeId::from_bytes([7; 32]));
        let shown = |id, at| rejected(&held, &Loans::from([(StakeId(id), Loan { at, operator })]));
        assert!(human(&shown(4, at)).contains(&format!("lent      by the faucet, to {operator:#x}\n")));
        // Of another registration, or by an endpoint that contradicts the ledger.
        for other in [shown(5, at), shown(4, operator)] {
            assert!(other["lent_to"].is_null() && !human(&other).contains("faucet"));
        }
    }

    #[test]
    fn who_leaves_is_seen_to_leave_until_it_has() {
        let mut node = waiting(&NodeId::from_bytes([7; 32]), &pooled());
        node["state"] = json!("active");
        assert!(state(&node) == "active" && !human(&node).contains("serves"));
        node["unlocks"] = json!(1_700_000_000_000_u64);
        assert_eq!(state(&node), "active, leaves");
        assert!(human(&node).contains("  serves    until 2023-11-1"), "{}", human(&node));
        node["state"] = json!("deregistered");
        assert_eq!(state(&node), "deregistered");
    }

    #[test]
    fn whoever_might_contribute_is_warned_of_what_the_node_did_not_sign() {
        let shown = contribution(&pooled(), Amount::sesh(25_000));
        assert_eq!((&shown["lacks"], &shown["signed"]), (&json!("18750"), &json!(false)));
        let mut node = waiting(&NodeId::from_bytes([7; 32]), &pooled());
        node["contributions"] = json!([shown]);
        assert!(human(&node).contains("lacks 18750 SESH (the node did NOT agree"), "{}", human(&node));
    }
}
