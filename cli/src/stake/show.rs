//! Nodes, contributions and earnings, for people and for programs.

use alloy::primitives::Address;
use serde_json::{Value, json};
use session_chain::{
    Amount, Ledger, Member,
    settlement::{
        Replayed, StakeError,
        staker::{Earnings, Pooled, word},
    },
};
use session_protocols::NodeId;

use crate::{Context, failure::Failure, text};

/// All registered nodes.
pub(crate) fn list(context: &Context, now: &Replayed) -> Result<(), Failure> {
    let ledger = &now.ledger;
    let nodes: Vec<Value> = ledger.nodes().map(|(id, member)| registered(ledger, id, member)).collect();
    context.output.data(&json!({ "nodes": nodes }), || {
        if nodes.is_empty() {
            return format!("no node is registered, as of block {}", now.height);
        }
        let cell = |node: &Value, key: &str| node[key].as_str().unwrap_or("-").to_owned();
        let rows = nodes.iter().map(|node| {
            let swarm = cell(node, "swarm");
            [cell(node, "node"), cell(node, "state"), cell(node, "operator"), cell(node, "staked"), swarm]
        });
        text::table(["NODE", "STATE", "OPERATOR", "STAKED", "SWARM"], &rows.collect::<Vec<_>>())
    })
}

/// One node, and the contributions that were opened for it.
pub(crate) fn node(
    context: &Context,
    id: &NodeId,
    now: &Replayed,
    pooled: &[Pooled],
    required: Amount,
) -> Result<(), Failure> {
    let contributions: Vec<Value> = pooled.iter().map(|it| contribution(it, required)).collect();
    let mut data = match now.ledger.node(id) {
        Some(member) => registered(&now.ledger, id, member),
        None => {
            let open = pooled.iter().find(|it| it.is_open() && it.signed);
            waiting(id, open.ok_or(StakeError::Unknown { node: *id })?)
        }
    };
    if let Some(data) = data.as_object_mut() {
        data.insert("contributions".to_owned(), json!(contributions));
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

fn registered(ledger: &Ledger, id: &NodeId, member: &Member) -> Value {
    let staked = member.shares.iter().fold(0_u128, |sum, share| sum.saturating_add(share.amount.0));
    let shares = member.shares.iter().map(|share| part(share.contributor, share.beneficiary, share.amount));
    json!({
        "node": id,
        "id": member.id.0,
        "state": word(member.state),
        "operator": member.operator.to_string(),
        "fee": percent(member.fee),
        "staked": Amount(staked).to_string(),
        "contributors": shares.collect::<Vec<_>>(),
        "swarm": ledger.map().swarm_with(id).map(|swarm| swarm.to_string()),
        "unlocks": member.unlocks.map(|second| second.saturating_mul(1_000)),
    })
}

/// A node whose contribution is open, in the shape of one that is registered.
fn waiting(id: &NodeId, open: &Pooled) -> Value {
    json!({
        "node": id,
        "id": null,
        "state": "open",
        "operator": lower(open.operator),
        "fee": percent(open.fee),
        "staked": open.total().to_string(),
        "contributors": parts(open),
        "swarm": null,
        "unlocks": null,
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
    address.to_string().to_lowercase()
}

fn percent(basis_points: u16) -> String {
    format!("{}.{:02}%", basis_points / 100, basis_points % 100)
}

fn human(node: &Value) -> String {
    let field = |of: &Value, key: &str| of[key].as_str().unwrap_or("-").to_owned();
    let mut lines = format!("node {}\n", field(node, "node"));
    for key in ["state", "operator", "fee", "staked", "swarm"] {
        lines.push_str(&format!("  {key:<9} {}\n", field(node, key)));
    }
    for part in node["contributors"].as_array().into_iter().flatten() {
        lines.push_str(&format!(
            "  share     {} SESH of {}\n",
            field(part, "amount"),
            field(part, "address")
        ));
    }
    for open in node["contributions"].as_array().into_iter().flatten().filter(|it| it["status"] == "open") {
        let by =
            if open["signed"] == true { "" } else { " (the node's key did NOT agree: do not contribute)" };
        let (at, lacks) = (field(open, "address"), field(open, "lacks"));
        lines.push_str(&format!("  open      {at} lacks {lacks} SESH{by}\n"));
    }
    lines
}
