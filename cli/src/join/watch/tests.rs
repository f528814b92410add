use serde_json::json;
use session_protocols::KeyPair;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

fn verdict(address: &str, begun: u64, why: &[Option<&str>]) -> DialledBack {
    let word = |why: &Option<&str>| Said { by: "ab".repeat(32), why: why.map(str::to_owned) };
    let ok = why.contains(&None);
    DialledBack { address: address.to_owned(), begun, ok, said: why.iter().map(word).collect() }
}

fn upnp(state: &str) -> Upnp {
    Upnp { state: state.to_owned(), at: 5 }
}

#[test]
fn who_dialled_in_vain_is_named_with_what_to_do() {
    let announced: [Endpoint; 2] =
        ["/ip4/45.1.0.2/udp/22021/quic-v1", "/ip4/45.1.0.2/tcp/22021"].map(|text| text.parse().unwrap());
    let reached = verdict("/ip4/45.1.0.2/udp/22021/quic-v1", 9, &[None]);
    let missed = verdict("/ip4/45.1.0.2/tcp/22021", 9, &[Some("it could not connect"); 3]);
    let late = verdict("/ip4/45.1.0.2/tcp/22021", 9, &[Some("it could not connect"), None]);

    let failure = judged(&announced, &[&reached, &missed], (3, None), &upnp("silent")).unwrap_err();
    let says =
        "dialled /ip4/45.1.0.2/tcp/22021 in vain: node abababab\u{2026} says: it could not connect; node";
    assert!(failure.message.contains(says), "{}", failure.message);
    assert!(failure.message.ends_with("lead the port here (UPnP)"), "{}", failure.message);
    assert!(failure.remedy.contains("port forwarding"), "{}", failure.remedy);
    let ((), told) = judged(&announced, &[&reached, &late], (3, None), &upnp("off")).unwrap();
    assert!(told.ends_with("/ip4/45.1.0.2/tcp/22021 by abababab\u{2026}"), "{told}");
    let failure = judged(&announced, &[&reached], (3, None), &upnp("off")).unwrap_err();
    assert!(failure.message.ends_with("reaches /ip4/45.1.0.2/tcp/22021"), "{}", failure.message);
    let failure = judged(&announced, &[], (0, None), &upnp("off")).unwrap_err();
    assert!(failure.message.starts_with("no node of the network"), "{}", failure.message);
}

#[test]
fn an_address_of_a_kind_that_no_node_in_contact_has_is_not_asked_about_for_ever() {
    let four: Endpoint = "/ip4/45.1.0.2/tcp/22021".parse().unwrap();
    let six: Endpoint = "/ip6/2a10:1::2/tcp/22021".parse().unwrap();
    let failure = |of: Endpoint, ip4, ip6| {
        judged(&[of], &[], (3, Some(Servers { ip4, ip6 })), &upnp("off")).unwrap_err()
    };
    let none = failure(six, 3, 0);
    let says =
        "none of the nodes in contact has IPv6, so none says whether it reaches /ip6/2a10:1::2/tcp/22021";
    assert_eq!((none.code, &*none.message), ("unreachable", says));
    assert!(
        none.remedy.contains("--address /ip4/"),
        "the same command again would not help: {}",
        none.remedy
    );
    assert!(failure(four, 0, 3).remedy.contains("--address /ip6/"));
    for (of, ip4, ip6) in [(six, 3, 1), (four, 1, 3), (six, 0, 0)] {
        assert!(failure(of, ip4, ip6).remedy.contains("the nodes may be busy"), "{of} {ip4} {ip6}");
    }
}

#[test]
fn what_was_in_vain_before_the_router_led_the_port_here_is_tried_again() {
    for (state, begun, may) in
        [("off", 1, false), ("asked", 9, true), ("leads", 4, true), ("leads", 6, false), ("silent", 1, false)]
    {
        assert_eq!(upnp(state).may_mend(&verdict("x", begun, &[Some("no")])), may, "{state} {begun}");
        assert!(!upnp(state).may_mend(&verdict("x", begun, &[None])), "{state}");
    }
}

/// A door that says the same again and again: of itself, and of whether it is ready.
async fn door(status: String, ready: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1_024];
            let long = stream.read(&mut asked).await.unwrap();
            let body = if asked[..long].starts_with(b"GET /readyz") { ready } else { &*status };
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_node_that_does_not_become_active_is_told_with_what_it_lacks() {
    let id = KeyPair::from_seed(&[7; 32]).node_id();
    let status = json!({
        "id": id, "swarm": null, "peers": 3, "reachability": { "dialled_back": [] },
        "chain": { "registration": "awaiting", "height": 5, "head": 6, "epoch": 2 },
    });
    let ready = r#"{"ready":false,"checks":[{"name":"store","ok":true,"detail":"open"},
        {"name":"swarm","ok":false,"detail":"in no swarm yet"},
        {"name":"chain","ok":false,"detail":"no endpoint answers"}]}"#;
    let watch = Watch::new(door(status.to_string(), ready).await, id).unwrap();
    let failure = watch.active(&Say::default(), Duration::ZERO).await.unwrap_err();
    assert_eq!((failure.exit, failure.code), (Exit::NotReady, "not_active"));
    assert_eq!(failure.message, "not after 0 s: swarm: in no swarm yet; chain: no endpoint answers");
    assert!(failure.remedy.contains("--rpc"), "{}", failure.remedy);
}

#[test]
fn a_longer_epoch_is_waited_for_longer() {
    assert_eq!(patience(None), FINAL);
}

#[test]
fn a_chain_that_comes_in_is_waited_for_and_one_that_does_not_is_named() {
    let begun = Instant::now();
    let after = |seconds| begun + Duration::from_secs(seconds);
    let mut motion = Motion::begins(begun);
    let asking = "asking the settlement chain for the last checkpoint";
    assert_eq!(motion.still(after(9), None, asking), Duration::from_secs(9));
    assert_eq!(motion.still(after(10), Some(7), asking), Duration::ZERO);
    assert_eq!(motion.still(after(20), Some(7), "fetching: 0 KiB so far"), Duration::ZERO);
    assert_eq!(motion.still(after(200), Some(8), "fetching: 0 KiB so far"), Duration::ZERO);
    // One that is tried again and again moves nothing, nor does what an endpoint says beside it.
    for seconds in [210, 499, 500] {
        let detail = if seconds == 499 { "fetching: 0 KiB so far" } else { asking };
        assert_eq!(motion.still(after(seconds), Some(8), detail), Duration::from_secs(seconds - 200));
    }
    let failure = stuck("no endpoint has answered so far");
    assert_eq!((failure.exit, failure.code), (Exit::NotReady, "not_synced"));
    assert!(failure.message.ends_with("300 s: no endpoint has answered so far"), "{}", failure.message);
    assert!(failure.remedy.contains("--rpc URL"), "{}", failure.remedy);
}
