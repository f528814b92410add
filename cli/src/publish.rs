//! `session network publish`: begins a public test network, and goes on as its first nodes.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use indicatif::ProgressBar;
use reqwest::Url;
use serde_json::json;
use session_protocols::{NetworkName, directory::is_public};
use session_testnet::public::{self, Plan, PublicError, Stage};

use crate::{
    Context, account, args,
    failure::{Exit, Failure, chain},
    log,
    network::{LOCAL, description::PRESETS},
    node::shutdown,
    sending::{agree, tell_cost},
    stake::lower,
};

/// The folder of networks that were begun here, in the home.
pub(crate) const PUBLISHED: &str = "published";
/// From so many characters on a part of a URL's path may be a key.
const KEY: usize = 20;

pub(crate) async fn run(context: &Context, arguments: args::Publish) -> Result<(), Failure> {
    let log = log::start_nodes();
    for url in check(&arguments)?.iter().filter(|url| may_have_key(url)) {
        let host = url.host_str().unwrap_or_default();
        context
            .output
            .warn(&format!("the whole URL at {host} is published, with the key that seems to be in it"));
    }
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
    if !is_paid {
        public::check_ports(&plan, arguments.http_port, arguments.status_port)?;
    }
    let treasury = if is_paid && arguments.account.is_none() {
        None
    } else {
        let (name, id) = account::choose(&home, arguments.account.as_deref())?;
        Some((account::signer(&home, &name, &id)?.0, name))
    };
    // Who pays may have to also where all stakes are put down: for a faucet that has another key.
    if let Some((treasury, name)) = treasury.as_ref().filter(|_| !arguments.yes) {
        let what = format!(
            "deploy what is missing of the contracts of {}, stake on its nodes, let its faucet's key lend, and have lent \
             nodes leave that are gone for a week",
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
    let lends = public::lendable(&public).await;
    let backup = backup(&public.folder, &plan.name);
    let data = json!({
        "name": public.network.name.to_string(), "address": link, "publisher": key, "data": public.folder,
        "faucet": faucet, "lends": lends, "backup": backup,
        "nodes": public.network.nodes.iter().map(|node| node.id).collect::<Vec<_>>(),
    });
    let lends = match lends {
        Some(lends) => format!("{lends} newcomers more: --nodes and --lent change that"),
        None => "as many as its share allows; the chain does not tell how many that are".to_owned(),
    };
    context.output.data(&data, || {
        format!(
            "{name} begins, with {count} nodes of this machine\n  others join it by  session join {link}\n  \
             its keys are in    {folder}; back them up:\n    {backup}\n  \
             its faucet pays from {faucet}: send it ether when it runs out\n  \
             it lends stakes to {lends}\nCtrl-C stops it; the same command goes on.",
            name = public.network.name,
            count = public.network.nodes.len(),
            folder = public.folder.display(),
        )
    })?;
    let at = (&*arguments.ip, arguments.http_port);
    public::serve(public, at, link, arguments.status_port, log, shutdown()?).await?;
    Ok(())
}

/// What backs all up that cannot be made again: keys, what was given, where the contracts are.
fn backup(folder: &Path, name: &NetworkName) -> String {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    format!("session key backup ~/{name}.backup --data \"{}\"", folder.display())
}

/// Refuses what nobody could join by, before anything is paid for. Returns the endpoints of the chain.
fn check(arguments: &args::Publish) -> Result<Vec<Url>, Failure> {
    let name = arguments.name.as_str();
    if name == LOCAL || PRESETS.iter().any(|(preset, _)| *preset == name) {
        let message =
            format!("everybody knows a network {name} already, and joins no other one by that name");
        return Err(Failure::usage(message, "choose another name"));
    }
    // A network for this machine alone is nobody's to dial.
    let is_alone = arguments.ip.iter().all(IpAddr::is_loopback);
    if let Some(ip) = arguments.ip.iter().find(|ip| !is_alone && !is_public(**ip)) {
        let message = format!("{ip} is no public address: nobody reaches this machine at it");
        let remedy =
            "name the one that others dial, of this machine or of the router before it: --ip ADDRESS";
        return Err(Failure::usage(message, remedy));
    }
    // It is not repeated: what is no URL may hold a key all the same.
    let read = |flag: &str, text: &String| {
        let url =
            Url::parse(text).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        let message = format!("what {flag} names is no URL of HTTP");
        url.ok_or_else(|| Failure::usage(message, format!("write it as in {flag} https://net.example.org")))
    };
    if let Some(url) = &arguments.url {
        read("--url", url)?;
    }
    arguments.rpc.iter().map(|url| read("--rpc", url)).collect()
}

/// Whether a URL may have a key in it: who asks, a question, or a part of the path that is no word.
fn may_have_key(url: &Url) -> bool {
    let is_key = |part: &str| part.len() >= KEY && part.bytes().any(|byte| byte.is_ascii_digit());
    !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.path_segments().is_some_and(|mut parts| parts.any(is_key))
}

impl From<PublicError> for Failure {
    fn from(error: PublicError) -> Self {
        let exit = match &error {
            PublicError::TooFew { .. } => Exit::Usage,
            PublicError::InUse { .. }
            | PublicError::Another { .. }
            | PublicError::Fixed { .. }
            | PublicError::OtherAccount { .. }
            | PublicError::Lender { .. } => Exit::Refused,
            PublicError::Chain { .. } | PublicError::OtherChain { .. } => Exit::NotReady,
            _ => Exit::Failed,
        };
        Self::new(exit, error.code(), chain(&error), error.remedy())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, Networks, Publish};

    fn publish(name: &str, more: &[&str]) -> Publish {
        let command = ["session", "network", "publish", name];
        let words = command.iter().chain(more);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Network(Networks::Publish(arguments)) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nobody_could_join_by_is_refused_before_anything_is_paid_for() {
        let (rpc, ip) = (["--rpc", "https://rpc.example.org"], ["--ip", "9.9.9.9"]);
        let said = |name: &str, more: [[&str; 2]; 3]| {
            check(&publish(name, more.as_flattened()))
                .map(|urls| urls.len())
                .map_err(|failure| failure.message)
        };
        let url = ["--url", "https://net.example.org"];
        assert_eq!(said("mynet", [rpc, ip, url]), Ok(1));
        assert_eq!(said("mynet", [["--rpc", "https://a.example,http://b.example:1"], ip, url]), Ok(2));
        for name in ["local", "testnet", "mainnet"] {
            assert!(said(name, [rpc, ip, url]).unwrap_err().contains("joins no other one"), "{name}");
        }
        assert_eq!(said("mynet", [rpc, ["--ip", "127.0.0.1"], url]), Ok(1), "for this machine alone");
        let both = ["--ip", "127.0.0.1"].into_iter().chain(ip).collect::<Vec<_>>();
        let mixed = check(&publish("mynet", &[&rpc[..], &both[..]].concat())).unwrap_err();
        assert!(mixed.message.starts_with("127.0.0.1 is no public address"), "{}", mixed.message);
        for ip in
            ["0.0.0.0", "::", "224.0.0.1", "10.0.0.5", "192.168.1.2", "100.64.0.1", "fd00::1", "203.0.113.7"]
        {
            assert!(said("mynet", [rpc, ["--ip", ip], url]).unwrap_err().starts_with(ip), "{ip}");
        }
        for wrong in ["net.example.org", "ftp://net.example.org", "secret-key", "https://"] {
            let refused = said("mynet", [rpc, ip, ["--url", wrong]]).unwrap_err();
            assert_eq!(refused, "what --url names is no URL of HTTP", "{wrong}");
            let refused = said("mynet", [["--rpc", wrong], ip, url]).unwrap_err();
            assert_eq!(refused, "what --rpc names is no URL of HTTP", "{wrong}");
        }
    }

    #[test]
    fn a_key_in_an_endpoint_that_is_published_is_seen() {
        let may = |url: &str| may_have_key(&url.parse().unwrap());
        for open in
            ["https://rpc.example.org", "http://203.0.113.7:8545/", "https://x.example/arbitrum/sepolia"]
        {
            assert!(!may(open), "{open}");
        }
        for closed in [
            "https://me:secret@rpc.example.org",
            "https://rpc.example.org/?key=1",
            "https://x.example/v2/4f9c2ab81d7e4c0f9a3b5d6e7f801234",
        ] {
            assert!(may(closed), "{closed}");
        }
    }
}
