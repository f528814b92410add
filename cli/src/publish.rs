//! `session network publish`: begins a public test network, and goes on as its first nodes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use indicatif::ProgressBar;
use serde_json::json;
use session_testnet::public::{self, Plan, PublicError, Stage};

use crate::{
    Context, account, args,
    failure::{Exit, Failure, chain},
    node::shutdown,
    sending::{agree, tell_cost},
    stake::lower,
};

/// The folder of networks that were begun here, in the home.
const PUBLISHED: &str = "published";

pub(crate) async fn run(context: &Context, arguments: args::Publish) -> Result<(), Failure> {
    let home = context.home()?;
    let folder = arguments.data.clone();
    let folder = folder.unwrap_or_else(|| home.path().join(PUBLISHED).join(arguments.name.as_str()));
    let first = arguments.ip.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let url = arguments.url.clone();
    let url = url.unwrap_or_else(|| format!("http://{}", SocketAddr::new(first, arguments.http_port)));
    let url = url.trim_end_matches('/').to_owned();
    let plan = Plan {
        name: arguments.name.clone(),
        folder,
        rpc: arguments.rpc.clone(),
        ips: arguments.ip.clone(),
        port: arguments.port,
        nodes: arguments.nodes,
        epoch: arguments.epoch,
        disk: arguments.disk,
        release: arguments.release,
        lent: arguments.lent,
        url: url.clone(),
    };
    let is_paid = public::is_paid(&plan)?;
    let treasury = if is_paid && arguments.account.is_none() {
        None
    } else {
        let (name, id) = account::choose(&home, arguments.account.as_deref())?;
        Some((account::signer(&home, &name, &id)?.0, name))
    };
    // Who pays may have to also where all stakes are put down: for a faucet that has another key.
    if let Some((treasury, name)) = treasury.as_ref().filter(|_| !arguments.yes) {
        let what = format!(
            "deploy what is missing of the contracts of {}, stake on its nodes, and let its faucet's key lend",
            plan.name
        );
        let cost = format!("ether of {} ({name}) at {}", treasury.address(), plan.rpc.join(", "));
        tell_cost(context, &what, name, treasury.address(), &cost);
        agree(context, &what, &cost)?;
    }
    let bar = ProgressBar::new_spinner();
    let payer = treasury.as_ref().map(|(treasury, _)| treasury);
    let public = public::prepare(&plan, payer, |stage| {
        bar.set_message(match stage {
            Stage::Keys => "making keys".to_owned(),
            Stage::Contracts => "deploying the contracts".to_owned(),
            Stage::Stakes(index) => format!("staking on node {}", index.saturating_add(1)),
            Stage::Description => "signing the description".to_owned(),
        });
        bar.tick();
    })
    .await;
    bar.finish_and_clear();
    let public = public?;
    let publisher = session_chain::NetworkFile::publisher(&public.text).ok().flatten();
    let key = publisher.map(|publisher| publisher.to_string()).unwrap_or_default();
    let link = format!("{url}#{key}");
    let faucet = lower(public.faucet.address());
    let data = json!({
        "name": public.network.name.to_string(), "address": link, "publisher": key, "data": public.folder,
        "faucet": faucet,
        "nodes": public.network.nodes.iter().map(|node| node.id).collect::<Vec<_>>(),
    });
    context.output.data(&data, || {
        format!(
            "{name} begins, with {count} nodes of this machine\n  others join it by  session join {link}\n  \
             its keys are in    {folder}: back them up\n  \
             its faucet pays from {faucet}: send it ether when it runs out\nCtrl-C stops it; the same command goes on.",
            name = public.network.name,
            count = public.network.nodes.len(),
            folder = public.folder.display(),
        )
    })?;
    let addresses = arguments.ip.iter().map(|ip| SocketAddr::new(*ip, arguments.http_port)).collect();
    public::serve(public, addresses, link, arguments.status_port, shutdown()?).await?;
    Ok(())
}

impl From<PublicError> for Failure {
    fn from(error: PublicError) -> Self {
        let exit = match &error {
            PublicError::TooFew { .. } => Exit::Usage,
            PublicError::Another { .. }
            | PublicError::Fixed { .. }
            | PublicError::OtherAccount { .. }
            | PublicError::Lender { .. } => Exit::Refused,
            PublicError::Chain { .. } | PublicError::OtherChain { .. } => Exit::NotReady,
            _ => Exit::Failed,
        };
        Self::new(exit, error.code(), chain(&error), error.remedy())
    }
}
