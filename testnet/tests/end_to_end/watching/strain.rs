//! What nodes are put under.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use session_client::Account;
use session_protocols::{codec, request::Request};

use super::prometheus::Prometheus;
use crate::{
    raw::Members,
    support::{Place, until},
};

/// Asks one node more than a neighbour may, until it is told of.
pub(super) async fn overload(place: &Place, prometheus: &Prometheus) {
    let network = place.testnet.folder().network().unwrap();
    let members = Members::connect(&network).await;
    let account = Account::generate().unwrap().id();
    let question = codec::encode(&Request::GetSwarm { account });
    until("an overload to be told of", async || {
        for _ in 0..500 {
            members.ask(&network.nodes[1].id, question.clone()).await;
        }
        prometheus.firing().await.contains("SessionOverloaded").then_some(())
    })
    .await;
}

/// Lets a node open a tenth more files than it has open, until it is told of.
pub(super) async fn few_files(place: &Place, index: usize, prometheus: &Prometheus) {
    let pid = place.testnet.status().await.unwrap()[index - 1].pid.unwrap().to_string();
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
        prometheus.firing().await.contains("SessionFilesRunOut").then_some(())
    })
    .await;
    limit(&[&format!("--nofile={before}:")]);
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
