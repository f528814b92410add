//! A testnet that is half there is brought back by the same command, and its logs can be followed.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{PATIENCE, Place, lines};

fn pids(nodes: &Value) -> Vec<Option<u64>> {
    nodes["nodes"].as_array().unwrap().iter().map(|node| node["pid"].as_u64()).collect()
}

#[test]
fn up_starts_what_is_down_and_lets_the_rest_run() {
    let place = Place::new();
    let first = place.data(&["testnet", "up", "--no-chain", "--nodes", "3"]);
    let before = pids(&first);
    // One is killed by the command, one behind its back.
    place.data(&["testnet", "kill", "1"]);
    let pid = Pid::from_raw(before[2].unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();

    let up = place.data(&["testnet", "up", "--no-chain"]);
    let states: Vec<_> = up["nodes"].as_array().unwrap().iter().map(|node| &node["state"]).collect();
    assert_eq!(states, ["ready", "ready", "ready"]);
    assert_eq!(up["already"], false);
    let after = pids(&up);
    assert_eq!(after[1], before[1], "what ran runs on");
    assert!(after[0].is_some() && after[0] != before[0] && after[2].is_some() && after[2] != before[2]);

    let again = place.data(&["testnet", "up", "--no-chain", "--nodes", "3"]);
    assert_eq!((&again["already"], pids(&again)), (&Value::Bool(true), after));
    place.data(&["testnet", "kill", "2"]);
    let ran = place.run(&["testnet", "up", "--no-chain"]);
    assert!(ran.code == 0 && ran.out.contains("up again") && ran.out.contains("Try:"), "{}", ran.out);
    assert!(!ran.out.contains("kill 2 5"), "there is no node 5: {}", ran.out);

    // Alone none of a swarm gets ready, so they start together; and a command with a wrong number does nothing.
    place.data(&["testnet", "kill", "1", "2", "3"]);
    let started = place.data(&["testnet", "start", "3", "1", "2"]);
    assert!(started["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "ready"), "{started}");
    for verb in ["kill", "start", "restart"] {
        let (code, error) = place.error(&["testnet", verb, "2", "4"]);
        assert_eq!((code, error["code"].as_str().unwrap()), (2, "no_node"));
    }
    assert_eq!(pids(&place.data(&["testnet", "status"])), pids(&started), "node 2 was left alone");

    let (code, error) = place.error(&["testnet", "up", "--no-chain", "--nodes", "5"]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "other_size"));
    let remedy = error["remedy"].as_str().unwrap();
    assert!(remedy.contains("up --nodes 3") && remedy.contains("testnet down"), "{remedy}");
}

#[test]
fn a_log_is_shown_as_lines_and_followed_in_an_envelope_a_line() {
    let place = Place::new();
    place.data(&["testnet", "up", "--no-chain", "--nodes", "1"]);
    let shown = place.data(&["testnet", "logs", "1"]);
    let said = shown["lines"].as_array().unwrap();
    assert!(said[0].as_str().unwrap().contains("node started"), "{shown}");
    let people = place.run(&["testnet", "logs", "1"]).out;
    assert_eq!(people.lines().next(), said[0].as_str());

    let mut command = place.command(&["testnet", "logs", "1", "--follow", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let envelopes = lines(child.stdout.take().unwrap());
    let next = || {
        let envelope = envelopes.recv_timeout(PATIENCE).expect("nothing more is told of the log");
        let envelope: Value = serde_json::from_str(&envelope).unwrap();
        let data = &envelope["data"];
        assert_eq!((data["lines"].as_array().unwrap().len(), &data["path"]), (1, &shown["path"]));
        data["lines"][0].as_str().unwrap().to_owned()
    };
    assert_eq!(Some(next().as_str()), said[0].as_str());
    // What is written while it is watched comes too.
    place.data(&["testnet", "restart", "1"]);
    while !next().contains("stopping") {}
    while !next().contains("node started") {}
    child.kill().unwrap();
    child.wait().unwrap();
}
