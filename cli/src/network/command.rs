//! `session network`.

use alloy::primitives::Address;
use serde_json::json;
use session_chain::{
    NetworkFile,
    network::{Contracts, Problem, shown_release},
};

use super::{
    description::{self, Description, PRESETS},
    terms::Terms,
};
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
            let agreed = match Terms::of(context, &found, named.publisher)? {
                Some(terms) => terms.keep_named()?,
                None => false,
            };
            let pays = if agreed { "accounts here may pay in it: its publisher was named\n" } else { "" };
            show(context, &found, &format!("kept in {}\n{pays}", path.display()))
        }
        Networks::Verify(named) => {
            let found = description::load(context, &named.source, named.publisher).await?;
            verify(context, &found).await
        }
        Networks::Publish(arguments) => publish::run(context, arguments).await,
        Networks::Vault(arguments) => super::vault::run(context, arguments).await,
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let home = context.home_path()?;
    let kept = description::names(&home).into_iter().map(|name| {
        let state = match description::read(&description::kept(&home, &name)) {
            Ok(text) => state("added", &text),
            Err(failure) => format!("added; {}", failure.message),
        };
        (name, state)
    });
    let local = super::local_folder()?.network_path().is_file();
    let builtin = PRESETS.iter().map(|(name, text)| ((*name).to_owned(), state("built in", text)));
    let all: Vec<(String, String)> = builtin
        .chain(kept)
        .chain(local.then(|| (super::LOCAL.to_owned(), "the testnet of this machine".to_owned())))
        .collect();
    let data: Vec<_> = all.iter().map(|(name, state)| json!({ "name": name, "state": state })).collect();
    context.output.data(&data, || {
        all.iter().map(|(name, state)| format!("{name:<16}{}\n", block(state, "                "))).collect()
    })
}

/// How a description came here, and what is wrong with it.
fn state(how: &str, text: &str) -> String {
    match NetworkFile::parse(text) {
        Ok(_) => how.to_owned(),
        Err(error) if matches!(error.problem, Problem::Nodes { found: 0 }) => {
            format!("{how}; no bootstrap nodes yet")
        }
        Err(error) => format!("{how}; cannot be read: {error}; {}", error.remedy()),
    }
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
        "contracts": settlement.map(|it| contracts(&it.contracts)),
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

/// The contracts' addresses, for programs.
pub(crate) fn contracts(of: &Contracts) -> serde_json::Value {
    let shown = |address: Address| format!("{address:#x}");
    json!({
        "token": shown(of.token), "pool": shown(of.pool), "staking": shown(of.staking),
        "factory": shown(of.factory), "checkpoints": shown(of.checkpoints), "names": shown(of.names),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_description_is_said() {
        for (name, text) in PRESETS {
            assert_eq!(state("built in", text), "built in; no bootstrap nodes yet", "{name}");
        }
        let (_, text) = PRESETS[0];
        let newer = state("built in", &text.replace("version = 1", "version = 2"));
        assert!(newer.starts_with("built in; cannot be read: ") && newer.contains("version"), "{newer}");
        assert!(newer.ends_with("use a build of `session` that reads this version"), "{newer}");
        let broken = state("added", "name = ");
        assert!(broken.starts_with("added; cannot be read: ") && !broken.contains("bootstrap"), "{broken}");
    }
}
