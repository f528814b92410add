//! A network that is published from behind a router: the machine does not have the address that others know, and does
//! not get back to itself by it.

use std::{fs, io::Write, path::Path, process::Stdio};

use super::{
    RICH, Running, anvil, data,
    internet::{Host, Internet, Line},
    join, joined, session,
};
use crate::support::{ended, until};

/// Opens so many connections to where a network is described, says nothing on them, and keeps them.
fn hold(host: &Host, (ip, port): (&str, u16), connections: usize) -> Running {
    let hold = format!(
        "for i in $(seq {connections}); do exec {{fd}}<>/dev/tcp/{ip}/{port}; done; echo '{{\"data\":\"held\"}}'; \
         exec sleep 600"
    );
    let held = Running::new(host.command(Path::new("bash"), &["-c", &hold]), "connections");
    assert_eq!(held.next().unwrap(), "held");
    held
}

/// From here on nothing gets to this port of a host, as where the node at it is off.
fn cut_off(host: &Host, port: u16) {
    let rules = format!(
        "table ip off {{\nchain in {{ type filter hook input priority filter; udp dport {port} drop; tcp dport {port} drop; \
         }}\n}}\n"
    );
    let file = host.home().join("off.nft");
    fs::write(&file, rules).unwrap();
    let ran = host.command(Path::new("nft"), &["-f", file.to_str().unwrap()]).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_published_from_behind_a_router_and_joined_whoever_is_off_or_holds_connections() {
    let Some(mut internet) = Internet::new() else { return };
    let [chain, rude, joins] = [(); 3].map(|()| internet.host(Line::Open));
    let first = internet.host(Line::Led(22_000, 22_024));
    let _chain = anvil(&chain);
    until("the chain", async || chain.listens(8_545).then_some(())).await;
    data(&first, &["account", "new", "--name", "treasury"]);
    let mut import = first.session(&["account", "key", "import", "treasury"]);
    let mut child = import.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(RICH.as_bytes()).unwrap();
    assert_eq!(ended(child, "import").code, 0);
    let rpc = format!("http://{}:8545", chain.ip);
    let publish = [
        "network", "publish", "inside", "--rpc", &rpc, "--ip", &first.ip, "--epoch", "10", "--disk", "1",
        "--nodes", "4", "--lent", "100", "--yes", "--json",
    ];
    let network = Running::new(first.session(&publish), "publish");
    let begun = network.next().unwrap();
    let address = begun["address"].as_str().unwrap();
    assert!(address.starts_with(&format!("http://{}:22000#", first.ip)), "{begun}");
    // Its nodes find each other.
    let ready = |port| first.get(port, "/readyz").is_some_and(|it| it["ready"] == true);
    until("the first nodes", async || (22_080..22_084).all(ready).then_some(())).await;
    // Whoever looks for what is wrong finds them.
    let several = session(&first, &["--network", "inside", "doctor", "--json"]).json()["error"].clone();
    assert!(several["message"].as_str().unwrap().contains("/published/inside/node-1, "), "{several}");
    let folder = Path::new(begun["data"].as_str().unwrap()).join("node-1");
    let seen =
        session(&first, &["doctor", "--data", folder.to_str().unwrap(), "--json"]).json()["data"].clone();
    let found = |check: &str| {
        seen["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["check"] == check && one["severity"] == "ok")
    };
    assert!(seen["id"] == begun["nodes"][0] && found("network") && found("node"), "{seen}");
    // What they log is changed as that of any other node.
    let log = ["node", "log", "error,session=warn", "--data", folder.to_str().unwrap()];
    assert_eq!(data(&first, &log)["filter"], "error,session=warn");

    // Whoever opens as many connections as there may be keeps nobody else out, and neither does one of the first nodes
    // that nobody reaches any more: the first in the description.
    cut_off(&first, 22_021);
    let _held = hold(&rude, (&first.ip, 22_000), 200);
    joined(&join(&joins, address, "joins"));
}
