//! `session network`.

use alloy::primitives::Address;
use serde_json::json;
use session_chain::{
    NetworkFile,
    network::{Settlement, shown_release},
};

use super::description::{self, Description, PRESETS};
use crate::{Context, args::Networks, failure::Failure, join::endpoints, publish, text::block};

pub(crate) async fn run(context: &Context, command: Networks) -> Result<(), Failure> {
    match command {
        Networks::List => list(context),
        Networks::Show(named) => {
            let found = description::load(context, &named.source, named.publisher).await?;
            show(context, &found, "")
        }
        Networks::Add(named) => {
            let found = description::load(context, &named.source, named.publisher).await?;
            let path = description::keep(context, &found)?;
            show(context, &found, &format!("kept in {}\n", path.display()))
        }
        Networks::Verify(named) => {
            let found = description::load(context, &named.source, named.publisher).await?;
            verify(context, &found).await
        }
        Networks::Publish(arguments) => publish::run(context, arguments).await,
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let kept = description::names(&context.home_path()?);
    let local = super::local_folder()?.network_path().is_file();
    let builtin = PRESETS.iter().map(|(name, text)| {
        let state =
            if NetworkFile::parse(text).is_ok() { "built in" } else { "built in; no bootstrap nodes yet" };
        ((*name).to_owned(), state)
    });
    let all: Vec<(String, &str)> = builtin
        .chain(kept.into_iter().map(|name| (name, "added")))
        .chain(local.then(|| (super::LOCAL.to_owned(), "the testnet of this machine")))
        .collect();
    let data: Vec<_> = all.iter().map(|(name, state)| json!({ "name": name, "state": state })).collect();
    context.output.data(&data, || all.iter().map(|(name, state)| format!("{name:<16}{state}\n")).collect())
}

fn show(context: &Context, found: &Description, head: &str) -> Result<(), Failure> {
    let network = &found.network;
    let publisher = found.publisher.map(|publisher| publisher.to_string());
    let settlement = network.settlement.as_ref();
    let data = json!({
        "name": network.name.to_string(),
        "from": found.from,
        "publisher": publisher,
        "local": network.local,
        "chain": settlement.map(|it| it.chain),
        "rpc": settlement.map_or(&[][..], |it| &it.rpc),
        "epoch": settlement.map(|it| it.epoch.get()),
        "contracts": settlement.map(contracts),
        "written": settlement.map(|it| it.written.saturating_mul(1_000)),
        "faucet": network.faucet,
        "vault": settlement.and_then(|it| it.vault).map(|at| format!("{at:#x}")),
        "limits": {
            "disk": network.limits.disk, "memory": network.limits.memory, "files": network.limits.files,
            "release": shown_release(network.limits.release),
        },
        "nodes": network.nodes.iter().map(|node| json!({
            "id": node.id, "addresses": node.addresses,
        })).collect::<Vec<_>>(),
    });
    context.output.data(&data, || {
        let signed = publisher.clone().unwrap_or_else(|| "nobody".to_owned());
        let mut text = format!("{head}{}\n  signed by  {signed}\n", network.name);
        if let Some(it) = settlement {
            text += &format!("  chain      {} at {}\n", it.chain, it.rpc.join(", "));
            text += &format!("  epochs     of {} s\n", it.epoch);
        }
        if let Some(faucet) = &network.faucet {
            text += &format!("  faucet     {faucet}\n");
        }
        if let Some(vault) = settlement.and_then(|it| it.vault) {
            text += &format!("  vault      {vault:#x}, whose stakes it lends\n");
        }
        let limits = network.limits;
        text += &format!(
            "  a node has {} GiB of disk, {} MiB of memory, {} files\n  bootstrap  {} nodes\n",
            limits.disk,
            limits.memory,
            limits.files,
            network.nodes.len()
        );
        if limits.release != [0; 3] {
            text += &format!("  release    {} or newer\n", shown_release(limits.release));
        }
        text
    })
}

async fn verify(context: &Context, found: &Description) -> Result<(), Failure> {
    let endpoints = match &found.network.settlement {
        Some(settlement) => Some(endpoints::check(settlement, &settlement.rpc).await?),
        None => None,
    };
    let publisher = found.publisher.map(|publisher| publisher.to_string());
    let good = endpoints.as_ref().map(|found| found.good.clone()).unwrap_or_default();
    let bad = endpoints.map(|found| found.bad).unwrap_or_default();
    let data = json!({
        "name": found.network.name.to_string(), "publisher": publisher, "endpoints": good,
        "troubles": bad,
    });
    context.output.data(&data, || {
        let mut text = format!("{}: its form is right", found.network.name);
        text += &match &publisher {
            Some(publisher) => format!(", signed by {publisher}"),
            None => ", signed by nobody".to_owned(),
        };
        if !good.is_empty() {
            text += &format!("; its contracts are there, as {} says", good.join(", "));
        }
        text + &bad.iter().map(|trouble| format!("\n  {}", block(trouble, "  "))).collect::<String>()
    })
}

fn contracts(settlement: &Settlement) -> serde_json::Value {
    let of = &settlement.contracts;
    let shown = |address: Address| format!("{address:#x}");
    json!({
        "token": shown(of.token), "pool": shown(of.pool), "staking": shown(of.staking),
        "factory": shown(of.factory), "checkpoints": shown(of.checkpoints), "names": shown(of.names),
    })
}
