//! What nodes are put under.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use session_client::Account;
use session_protocols::{codec, request::Request};
use session_storage::{MessageStore, Options};
use tokio::task::JoinSet;

use super::prometheus::Prometheus;
use crate::{
    https::Https,
    raw::Members,
    support::{Place, until},
};

/// Clients that crowd at a door, each from an address of its own.
const CROWD: u8 = 5;
/// What each of them sends: all that a door holds of one client, and then more.
const REQUESTS: usize = 4;
/// The bytes of one such request, less than a door takes.
const REQUEST: usize = 9 << 20;

/// Asks one node more than a neighbour may, until it is told of.
pub(super) async fn overload(place: &Place, index: usize, prometheus: &Prometheus) {
    let network = place.testnet.folder().network().unwrap();
    let members = Members::connect(&network).await;
    let account = Account::generate().unwrap().id();
    let question = codec::encode(&Request::GetSwarm { account });
    until("an overload to be told of", async || {
        for _ in 0..500 {
            members.ask(&network.nodes[index - 1].id, question.clone()).await;
        }
        prometheus.fires_at(index, "SessionOverloaded").await.then_some(())
    })
    .await;
}

/// Lets a node open a tenth more files than it has open, until it is told of.
pub(super) async fn few_files(place: &Place, index: usize, prometheus: &Prometheus) {
    let pid = pid(place, index).await.to_string();
    let limit = |arguments: &[&str]| {
        let ran = Command::new("prlimit").args(["--pid", &pid]).args(arguments).output();
        let ran = ran.expect("prlimit is missing: apt-get install util-linux");
        assert!(ran.status.success(), "prlimit {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    let before = limit(&["--nofile", "--output=SOFT", "--noheadings"]);
    until("few files to be told of", async || {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        limit(&[&format!("--nofile={}:", open + open / 10 + 1)]);
        prometheus.fires_at(index, "SessionFilesRunOut").await.then_some(())
    })
    .await;
    limit(&[&format!("--nofile={before}:")]);
}

async fn pid(place: &Place, index: usize) -> u32 {
    place.testnet.status().await.unwrap()[index - 1].pid.unwrap()
}

/// Stops a node gracefully.
pub(super) async fn stop(place: &Place, index: usize) {
    let pid = Pid::from_raw(pid(place, index).await.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    until("a node to stop", async || {
        place.testnet.status().await.unwrap()[index - 1].pid.is_none().then_some(())
    })
    .await;
}

/// Turns a bit of this text wherever a node that is down has it in its tables. Until its journal is long the newest lies
/// there alone: all but that is moved before.
pub(super) fn damage(data: &Path, text: &str) {
    let folder = data.join("messages");
    drop(MessageStore::open(&folder, Options { overlay_changes: 1, ..Options::default() }).unwrap());
    let tables = folder.join("messages.redb");
    let mut bytes = fs::read(&tables).unwrap();
    let found = bytes.windows(text.len()).enumerate().filter(|(_, found)| *found == text.as_bytes());
    let places: Vec<_> = found.map(|(place, _)| place).collect();
    assert!(!places.is_empty(), "the text is in the tables");
    for place in places {
        bytes[place] ^= 1;
    }
    fs::write(&tables, bytes).unwrap();
}

/// Leaves long requests unfinished at a door, for as long as what is returned lives.
pub(super) fn crowd(door: SocketAddr) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for client in 1..=CROWD {
        crowd.spawn(async move {
            let head = "POST /storage_rpc/v1 HTTP/1.1\r\nHost: node";
            let mut unfinished = format!("{head}\r\nContent-Length: {REQUEST}\r\n\r\n").into_bytes();
            unfinished.resize(unfinished.len() + REQUEST - 1, b' ');
            let mut held = Vec::new();
            for _ in 0..REQUESTS {
                let mut https = Https::connect_from([127, 0, 250, client], door).await;
                https.send(&unfinished).await;
                held.push(https);
            }
            std::future::pending::<()>().await;
        });
    }
    crowd
}

/// Gives a node that is down a certificate for its door that ends in a week.
pub(super) fn certify(data: &Path) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["session-node".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since + Duration::from_secs(7 * 86_400);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(data.join("door.pem"), key.serialize_pem() + &certificate.pem()).unwrap();
}
