//! Requests over onion paths, with hops that are killed under them.

use std::{cell::Cell, collections::BTreeSet, process::Stdio, time::Duration};

use session_client::{Account, Client, Options, home::Home};
use session_protocols::{
    Namespace, NodeId,
    identity::blake2b,
    path::{State, guards::MAX_GUARDS},
};

use crate::support::{PATIENCE, Place, ended, lines};

/// Requests after each death.
const REQUESTS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_middle_hop_that_is_killed_under_a_request_is_gone_around() {
    kill(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_is_killed_under_a_request_is_gone_around() {
    kill(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_hop_that_is_killed_under_a_request_is_gone_around() {
    kill(2).await;
}

/// Kills a hop of the path in use while requests travel over it. How long they take then is measured by
/// `scripts/bench onion`.
async fn kill(at: usize) {
    let place = Place::up().await;
    let network = place.testnet.folder().network().unwrap();
    let client = Client::connect(network.clone(), Options::default()).await.unwrap();
    let bob = Account::generate().unwrap();
    let mut number = 0_u8;
    let mut store = async || {
        number += 1;
        let ttl = Duration::from_secs(3_600);
        client.store(&bob.id(), Namespace::INBOX, vec![number; 99], ttl, None).await.unwrap();
    };
    store().await;
    let paths = client.paths();
    let hop = paths.iter().rfind(|path| path.state == State::Ready).unwrap().hops[at].id;
    let victim = network.nodes.iter().position(|node| node.id == hop).unwrap() + 1;
    let dead = Cell::new(false);
    let kill = async {
        assert!(place.testnet.kill(victim).await.unwrap());
        dead.set(true);
    };
    // One after the other, so that one is under way whenever it dies.
    let stores = async {
        let mut after = 0;
        while after < REQUESTS {
            after += usize::from(dead.get());
            store().await;
        }
    };
    tokio::join!(kill, stores);
    assert_eq!(client.inbox(&bob).await.unwrap().len(), usize::from(number));
}

/// The client is one process all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_whose_guards_are_both_gone_says_so_and_goes_on_when_they_return() {
    let place = Place::up().await;
    for name in ["alice", "bob"] {
        place.data(&["account", "new", "--name", name]);
    }
    let mut command = place.command(&["inbox", "--account", "bob", "--new", "--watch", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (arrived, said) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
    let arrives = |text: &str| {
        let line = arrived.recv_timeout(PATIENCE).expect("the watch prints nothing");
        let shown: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(shown["data"]["messages"][0]["text"], text, "{shown}");
    };
    // The first may be there before the watch begins, the second arrives over it.
    for text in ["at first", "before"] {
        place.data(&["send", "--from", "alice", "bob", text]);
        arrives(text);
    }

    let network = place.testnet.folder().network().unwrap();
    let kept = || kept_guards(&place);
    let guards = kept();
    assert_eq!(guards.len(), 2);
    let index = |guard: &NodeId| network.nodes.iter().position(|node| node.id == *guard).unwrap() + 1;
    let both: Vec<_> = guards.iter().map(index).collect();
    for guard in &both {
        assert!(place.testnet.kill(*guard).await.unwrap());
    }
    let word = said.recv_timeout(PATIENCE).expect("the watch says nothing");
    assert!(word.contains("nobody to watch at; trying on"), "{word}");
    assert!(word.contains("both guards are gone"), "{word}");
    assert!(child.try_wait().unwrap().is_none(), "it has ended");

    assert_eq!(place.testnet.start(&both).await.unwrap().len(), 2);
    place.data(&["--direct", "send", "--from", "alice", "bob", "after"]);
    arrives("after");
    let after = kept();
    assert!(after.is_superset(&guards) && after.len() <= MAX_GUARDS, "{guards:?}, then {after:?}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(ended(child, "the watch").code, 0);
}

/// The guards that the programs of a place keep.
fn kept_guards(place: &Place) -> BTreeSet<NodeId> {
    let network = place.testnet.folder().network().unwrap();
    let digest = blake2b(&[b"session guards of", network.name.as_str().as_bytes(), &network.seed]);
    let kept = Home::open(place.path().join("home")).unwrap().guards(&digest).unwrap();
    kept.all().iter().map(|guard| guard.node).collect()
}

#[test]
fn four_nodes_are_enough_for_paths_and_three_are_not_and_say_so() {
    let up = |nodes: &str| {
        let place = Place::new();
        place.data(&["testnet", "up", "--no-chain", "--nodes", nodes]);
        for name in ["alice", "bob"] {
            place.data(&["account", "new", "--name", name]);
        }
        place
    };
    let place = up("4");
    for text in ["one", "two"] {
        let sent = place.data(&["send", "--from", "alice", "bob", text]);
        assert_eq!(sent["swarm"], 4, "{sent}");
    }
    let inbox = place.data(&["inbox", "--account", "bob"]);
    let texts = inbox["messages"].as_array().unwrap().iter().map(|message| message["text"].as_str().unwrap());
    assert_eq!(texts.collect::<Vec<_>>(), ["one", "two"]);

    let place = up("3");
    for words in [&["send", "--from", "alice", "bob", "one"][..], &["inbox", "--account", "bob"]] {
        let (code, error) = place.error(words);
        let text = "no path: a path needs 3 hops and a destination of different operators and prefixes: \
                    3 of the network's 3 nodes can be used now, of 3 operators in 3 prefixes";
        assert_eq!(
            (code, &error["code"], &error["message"]),
            (3, &"no_path".into(), &text.into()),
            "{error}"
        );
        assert!(error["remedy"].as_str().unwrap().starts_with("paths need four nodes that run"), "{error}");
    }
    let sent = place.data(&["--direct", "send", "--from", "alice", "bob", "one"]);
    assert_eq!(sent["swarm"], 3, "{sent}");
}

fn guards(paths: &serde_json::Value) -> BTreeSet<String> {
    let paths = paths["paths"].as_array().unwrap().iter();
    paths.map(|path| path["hops"][0]["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_are_shown_and_rebuilt_and_the_direct_way_is_for_local_networks() {
    let place = Place::up().await;
    place.data(&["account", "new", "--name", "alice"]);
    let shown = place.data(&["path", "show"]);
    let paths = shown["paths"].as_array().unwrap();
    assert!(paths.len() >= 2, "{shown}");
    for path in paths {
        let mut keys: Vec<_> = path.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["age_s", "hops", "state", "use"]);
        assert_eq!((path["state"].as_str(), path["hops"].as_array().unwrap().len()), (Some("ready"), 3));
        for hop in path["hops"].as_array().unwrap() {
            assert!(hop["address"].as_str().unwrap().starts_with("/ip4/127.0."), "{hop}");
        }
    }
    // Programs come and go, and the guards stay. Four are allowed should one be slow to answer; drawn
    // anew by each program they would be more.
    let mut all = guards(&shown);
    for _ in 0..6 {
        let rebuilt = place.data(&["path", "rebuild"]);
        assert_ne!(rebuilt["paths"], shown["paths"]);
        all.append(&mut guards(&rebuilt));
    }
    assert!(all.len() <= MAX_GUARDS, "{all:?}");
    assert!(place.run(&["path", "show"]).out.contains("guard"));

    let sent = place.run(&["send", "alice", "over", "a", "path"]);
    assert_eq!((sent.code, sent.err.as_str()), (0, ""));
    let straight = place.run(&["inbox", "--direct"]);
    assert!(straight.code == 0 && straight.out.contains("over a path"), "{}", straight.err);
    assert!(straight.err.starts_with("warning: "), "{}", straight.err);
    let text = std::fs::read_to_string(place.testnet.folder().network_path()).unwrap();
    let file = place.path().join("far.toml");
    std::fs::write(&file, text.replace("local = true", "local = false")).unwrap();
    let (code, error) = place.error(&["inbox", "--direct", "--network", file.to_str().unwrap()]);
    assert_eq!((code, error["code"].as_str().unwrap()), (4, "not_local"));
}
