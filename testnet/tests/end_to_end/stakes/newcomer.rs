//! A node of a person's own.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use session_chain::{NetworkFile, network::NetworkNode};
use session_protocols::{NodeId, Prefix, SwarmId};

use super::mailboxes::Mailboxes;
use crate::{
    raw::Members,
    support::{Place, Ran, ended, get, until},
};

/// A node that was made by hand, and runs beside those of the testnet.
pub(crate) struct Newcomer {
    pub(crate) id: String,
    pub(crate) address: String,
    http: String,
    node: NodeId,
    /// The network as if there were no other node.
    alone: NetworkFile,
    child: Option<Child>,
}

impl Newcomer {
    /// Makes one, of the first account, and runs it.
    pub(crate) fn start(place: &Place, network: &str) -> Self {
        let ip = Ipv4Addr::new(127, 0, 251, 1);
        let held: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind((ip, 0)).unwrap()).collect();
        let port = |of: &TcpListener| of.local_addr().unwrap().port();
        let (address, http) =
            (format!("/ip4/{ip}/tcp/{}", port(&held[0])), format!("{ip}:{}", port(&held[1])));
        drop(held);
        let made = place.data(&["node", "init", "--name", "newcomer", "--address", &address]);
        assert_eq!((&made["network"], made["registration"].is_string()), (&json!("local"), true), "{made}");
        let data = made["data"].as_str().unwrap();
        let (code, error) = place.error(&["node", "init", "--name", "newcomer", "--address", &address]);
        assert_eq!((code, error["code"].as_str().unwrap()), (4, "key_exists"), "{error}");
        let again = place.data(&["node", "init", "--name", "newcomer", "--address", &address, "--again"]);
        assert_eq!((&again, &made["registrations"]), (&made, &json!(0)), "the same node");
        let plain = place.data(&["node", "init", "--name", "plain"]);
        let found = plain["addresses"][0].as_str().unwrap();
        assert!(found.starts_with("/ip4/127.0.0.1/udp/") && plain["prefix"] == "127.0.0.0/24", "{plain}");
        let mut command = place.command(&["node", "run", "--network", network, "--data", data]);
        command.args(["--listen", &address, "--http", &http]).stdin(Stdio::null());
        // A pipe that nobody reads would fill.
        let log = std::fs::File::create(place.path().join("newcomer.log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let id = made["id"].as_str().unwrap().to_owned();
        let mut alone = place.testnet.folder().network().unwrap();
        let node: NodeId = id.parse().unwrap();
        alone.nodes = vec![NetworkNode {
            id: node,
            operator: alone.nodes[0].operator,
            prefix: Prefix::of(ip.into()),
            addresses: vec![address.clone()],
            door: None,
            bls: None,
        }];
        Self { id, address, http, node, alone, child: Some(child) }
    }

    /// What it says of itself; none while it does not.
    pub(crate) async fn told(&self, path: &str) -> Option<Value> {
        get(&self.http, path).await
    }

    /// Waits until it serves a swarm, and has all of its mailboxes in its own store; which swarm that is. Whatever
    /// moves meanwhile, every account reads on.
    pub(crate) async fn keeps_what_its_swarm_keeps(&self, mailboxes: &Mailboxes) -> SwarmId {
        until("the newcomer to keep all mailboxes of its swarm", async || {
            mailboxes.are_whole().await;
            let told = self.told("/status").await?;
            let swarm = told["swarm"].as_str().filter(|_| told["state"] == "ready")?.parse().unwrap();
            let itself = Members::connect(&self.alone).await;
            mailboxes.are_kept_by(&self.node, &itself, swarm).await.then_some(swarm)
        })
        .await
    }

    /// Stops it gracefully.
    pub(crate) fn stop(mut self) -> Ran {
        let child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        ended(child, "the newcomer")
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
