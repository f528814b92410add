//! The commands that need no network: results, errors, exit codes.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use serde_json::json;

use crate::support::{Place, ended};

const LOVE: &str = "053db493811f729da20289e31498b8fe2b28edc90358cd3ec11a6b12ac1b9fb818";

#[test]
fn wrong_usage_is_told_in_the_same_envelope_with_code_2() {
    let place = Place::new();
    for arguments in [
        &[][..],
        &["account"],
        &["acount", "new"],
        &["account", "new", "--nmae", "x"],
        &["send", "alice"],
        &["testnet", "kill"],
        &["testnet", "kill", "two"],
        &["testnet", "sim", "--minutes", "1"],
        &["testnet", "up", "--no-chain", "--nodes", "0"],
        &["testnet", "up", "--no-chain", "--nodes", "251"],
        &["node", "run", "--data", "x"],
        &["node", "init", "--data", "x", "--address", "/ip4/127.0.1.1/tcp/1", "--registrations", "1"],
        &["node", "init", "--data", "x", "--operator", "0x12", "--address", "/ip4/127.0.1.1/tcp/1"],
        &["node", "run", "--network", "x.toml"],
        &["node", "run", "--network", "x.toml", "--data", "x", "--listen", "127.0.0.1:1"],
        &["name", "register", "al!ce"],
        &["name", "register", "alice", "--years", "11"],
        &["name", "renew", "alice", "--days", "27"],
        &["contact", "add", "carol", &LOVE[..65]],
        &["contact", "add", "carol", "0x52908400098527886E0F7030069857D2E4169EE7"],
        &["contact", "add", "no name", LOVE],
    ] {
        assert_eq!(place.error(arguments).0, 2, "{arguments:?}");
        let ran = place.run(arguments);
        assert!(ran.code == 2 && ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn errors_have_codes_that_stay() {
    let place = Place::new();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["account", "show"], 1, "no_account"),
        (&["send", "bob", "hi"], 1, "no_account"),
        (&["inbox"], 1, "no_account"),
        (&["contact", "remove", "carol"], 1, "no_contact"),
        (&["account", "restore", "love", "love"], 1, "phrase"),
        (&["testnet", "status"], 3, "not_up"),
        (&["testnet", "kill", "1"], 3, "not_up"),
        (&["name", "register", "alice"], 3, "no_network"),
        (&["node", "run", "--network", "no-such", "--data", "x"], 2, "no_network"),
        (&["node", "run", "--network", "./no-such.toml", "--data", "x"], 2, "network_file"),
    ];
    for (arguments, code, name) in cases {
        let (found, error) = place.error(arguments);
        assert_eq!((found, error["code"].as_str().unwrap()), (*code, *name), "{arguments:?}");
    }
    place.data(&["account", "new", "--name", "alice"]);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["account", "new", "--name", "alice"], 1, "name_taken"),
        (&["contact", "add", "alice", LOVE], 1, "name_taken"),
        (&["contact", "add", "Alice", LOVE], 1, "name_taken"),
        (&["contact", "add", "a1ice", LOVE], 1, "name_taken"),
        (&["account", "export", "bob"], 1, "no_account"),
        (&["send", "dave", "hi"], 1, "unknown_name"),
        (&["contact", "add", "carol", "05abc"], 1, "unknown_name"),
        (&["send", "alice", "hi"], 3, "no_network"),
        (&["inbox", "--account", "bob"], 1, "no_account"),
    ];
    for (arguments, code, name) in cases {
        let (found, error) = place.error(arguments);
        assert_eq!((found, error["code"].as_str().unwrap()), (*code, *name), "{arguments:?}");
    }
}

#[test]
fn accounts_are_made_listed_exported_and_restored() {
    let place = Place::new();
    assert_eq!(place.data(&["account", "list"])["accounts"], serde_json::json!([]));
    let first = place.data(&["account", "new"]);
    assert_eq!(first["name"], "account-1");
    let phrase = place.data(&["account", "export", "account-1"])["phrase"].as_str().unwrap().to_owned();
    let (code, error) = place.error(&["account", "restore", &phrase]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "account_exists"));

    let other = Place::new();
    // Words of their own, one argument, and standard input mean the same.
    let words = vec!["love"; 13];
    let restored = other.data(&[&["account", "restore", "--name", "love"], &words[..]].concat());
    assert_eq!((restored["id"].as_str().unwrap(), restored["name"].as_str().unwrap()), (LOVE, "love"));
    let mut command = other.command(&["account", "restore", "--json"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{phrase}\n").as_bytes()).unwrap();
    let piped = ended(child, "what was piped to");
    assert_eq!(piped.json()["data"]["id"], first["id"], "{}", piped.err);
    let names = other.data(&["account", "list"]);
    assert_eq!(names["accounts"][1]["name"], "account-1");
    assert_eq!(other.data(&["account", "show"])["id"], LOVE, "the first is the one that is meant");
}

#[test]
fn contacts_are_added_listed_and_removed() {
    let place = Place::new();
    place.data(&["contact", "add", "carol", LOVE]);
    place.data(&["contact", "add", "carol", LOVE]);
    let contacts = place.data(&["contact", "list"]);
    assert_eq!(contacts["contacts"], serde_json::json!([{ "name": "carol", "id": LOVE, "found": null }]));
    assert!(place.run(&["contact", "list"]).out.contains("carol"));
    let (code, error) = place.error(&["contact", "add", "Carol", LOVE]);
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "name_taken"));
    assert!(error["remedy"].as_str().unwrap().contains("write carol"), "{error}");
    assert_eq!(place.data(&["contact", "remove", "carol"])["id"], LOVE);
    assert_eq!(place.data(&["contact", "list"])["contacts"], serde_json::json!([]));
}

#[test]
fn a_home_that_others_may_write_to_is_refused_for_safety() {
    let place = Place::new();
    let home = place.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(place.error(&["account", "new"]).0, 4);
}

#[test]
fn a_folder_with_other_things_gets_no_testnet() {
    let place = Place::new();
    let folder = place.path().join("things");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("thesis.txt"), "chapter 1").unwrap();
    let (code, error) = place.error(&["testnet", "up", "--no-chain", "--dir", folder.to_str().unwrap()]);
    assert_eq!((code, error["code"].as_str().unwrap()), (4, "not_empty"));
    let down = place.data(&["testnet", "down", "--dir", folder.to_str().unwrap()]);
    assert_eq!(down["was_up"], false);
    assert!(folder.join("thesis.txt").exists());
}

#[test]
fn a_node_gets_its_key_once_and_runs_with_what_was_printed() {
    let place = Place::new();
    let data = place.path().join("node");
    let data = data.to_str().unwrap();
    let operator = format!("0x{}", "5a".repeat(20));
    let free = std::net::TcpListener::bind("127.0.99.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.99.1/tcp/{free}");
    let address = address.as_str();
    let init = ["node", "init", "--data", data, "--operator", &operator, "--address", address];
    let outside = [&init[..], &["--address", "/ip4/127.0.98.1/tcp/9"]].concat();
    assert_eq!(place.error(&outside).0, 2, "a node has one prefix");
    assert!(!std::path::Path::new(data).exists(), "a refusal makes no key");
    let ran = place.run(&init);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let section: Vec<&str> = ran.out.lines().skip_while(|line| *line != "[[nodes]]").take(5).collect();

    let key = std::fs::read(format!("{data}/node.key")).unwrap();
    let (code, error) = place.error(&init);
    assert_eq!((code, error["code"].as_str().unwrap()), (4, "key_exists"));
    assert_eq!(std::fs::read(format!("{data}/node.key")).unwrap(), key, "never replaced");

    let network = place.path().join("network.toml");
    let head = format!("version = 1\nname = \"test\"\nlocal = true\nseed = \"{}\"\n\n", "07".repeat(32));
    let text = head + &section.join("\n");
    std::fs::write(&network, &text).unwrap();
    let node = &session_chain::NetworkFile::parse(&text).unwrap().nodes[0];
    assert_eq!(
        (node.operator.to_string(), node.prefix.to_string()),
        (operator.clone(), "127.0.99.0/24".into())
    );
    assert!(error["message"].as_str().unwrap().contains(&node.id.to_string()), "whose key it is: {error}");
    let run = ["node", "run", "--network", network.to_str().unwrap(), "--http", "127.0.0.1:0", "--data"];
    let mut command = place.command(&[&run[..], &[data]].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = log.next().unwrap().unwrap();
    assert!(first.contains("node started") && first.contains(&node.id.to_string()), "{first}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let rest: Vec<_> = log.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");

    let data = place.path().join("json");
    let data = data.to_str().unwrap();
    let made = place.data(&["node", "init", "--data", data, "--operator", &operator, "--address", address]);
    let expected = serde_json::json!({
        "id": made["id"], "data": data, "operator": operator, "prefix": "127.0.99.0/24",
        "gas_account": made["gas_account"], "addresses": [address], "network": null, "registration": null,
        "registrations": null, "found": null, "first": false,
    });
    assert_eq!(made, expected);
    assert!(made["gas_account"].as_str().unwrap().starts_with("0x"), "{made}");
    assert_eq!(made["id"].as_str().unwrap().len(), 64);

    let elsewhere = place.path().join("elsewhere").display().to_string();
    let (code, error) = place.error(&[&run[..], &[&*elsewhere]].concat());
    assert_eq!((code, error["code"].as_str().unwrap()), (2, "key"));
    assert!(
        error["remedy"].as_str().unwrap().contains(&format!("session node init --data {elsewhere}")),
        "{error}"
    );
}

#[test]
fn new_keys_are_signed_with_where_no_chain_can_be_asked_and_old_ones_where_somebody_says_how_often() {
    let place = Place::new();
    let operator = format!("0x{}", "5a".repeat(20));
    let init = ["node", "init", "--operator", &operator, "--address", "/ip4/127.0.99.1/tcp/9", "--name"];
    let section = place.run(&[&init[..], &["first"]].concat()).out;
    let section: Vec<&str> = section.lines().skip_while(|line| *line != "[[nodes]]").take(6).collect();
    let address = |digit: u8| format!("0x{}", format!("{digit:02x}").repeat(20));
    let contracts = ["token", "pool", "staking", "factory", "checkpoints", "names"];
    let contracts = (1..).zip(contracts).map(|(digit, name)| format!("{name} = \"{}\"\n", address(digit)));
    let text = format!(
        "version = 1\nname = \"test\"\nlocal = true\nseed = \"{}\"\n\n[settlement]\nchain = 1\n\
         rpc = [\"http://127.0.0.1:1/\"]\nstart = 1\ngenesis = 1\nepoch = 60\nlock = 60\n{}\n{}\n",
        "07".repeat(32),
        contracts.collect::<String>(),
        section.join("\n"),
    );
    let network = place.path().join("network.toml");
    std::fs::write(&network, &text).unwrap();
    session_chain::NetworkFile::parse(&text).unwrap();
    let init = [&["--network", network.to_str().unwrap()], &init[..], &["second"]].concat();
    assert_eq!(place.data(&init)["registrations"], 0);
    let again = [&init[..], &["--again"]].concat();
    let (code, error) = place.error(&again);
    assert_eq!(code, 3, "{error}");
    assert!(
        error["message"].as_str().unwrap().contains("how often the node's keys were registered"),
        "{error}"
    );
    assert!(error["remedy"].as_str().unwrap().ends_with("say it yourself: --registrations TIMES"), "{error}");
    assert_eq!(place.data(&[&again[..], &["--registrations", "2"]].concat())["registrations"], 2);
}

#[test]
fn help_and_version_are_answers() {
    let place = Place::new();
    for arguments in [&["--help"][..], &["send", "--help"], &["node", "run", "--help"], &["--version"]] {
        let ran = place.run(arguments);
        assert!(ran.code == 0 && !ran.out.is_empty() && ran.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_program_has_no_deliberate_bugs() {
    let help = Place::new().run(&["testnet", "sim", "--help"]).out;
    assert!(help.contains("--seed"), "{help}");
    assert!(!help.contains("--mutant"), "this was built with the feature mutants");
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let place = Place::new();
    let mut child =
        place.command(&["account", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = ended(child, "a list that nobody reads");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn an_account_has_a_key_on_the_settlement_chain_and_another_can_be_imported() {
    let place = Place::new();
    place.data(&[&["account", "restore", "--name", "love"], &["love"; 13][..]].concat());
    let derived = place.data(&["account", "key", "show"]);
    assert_eq!((&derived["name"], &derived["imported"]), (&json!("love"), &json!(false)));

    let import = |key: &str| {
        let mut command = place.command(&["account", "key", "import", "love", "--json"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
        ended(child, "the import of a key")
    };
    let one = format!("0x{:064x}\n", 1);
    let ran = import(&one);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let imported = place.data(&["account", "key", "show", "love"]);
    // The address of the key 1 is known to everybody.
    assert_eq!(imported["address"], "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
    let mut told = ran.json()["data"].clone();
    let told = told.as_object_mut().unwrap();
    // The way back, and to what.
    assert_eq!(told.remove("before").unwrap(), derived["address"]);
    let file = told.remove("file").unwrap();
    assert_eq!((&imported["imported"], &imported), (&json!(true), &json!(told)));
    assert_ne!(imported["address"], derived["address"]);
    for (wrong, code, name) in [
        (format!("{:064x}", 2), 4, "chain_key_exists"),
        ("0".repeat(64), 1, "chain_key"),
        ("x".into(), 1, "chain_key"),
    ] {
        let ran = import(&wrong);
        assert_eq!((ran.code, &ran.json()["error"]["code"]), (code, &json!(name)), "{wrong}");
        assert!(!ran.out.contains(&wrong) || wrong == "x", "{}", ran.out);
    }
    let file = std::path::Path::new(file.as_str().unwrap());
    std::fs::rename(file, file.with_extension("away")).unwrap();
    assert_eq!(place.data(&["account", "key", "show", "love"]), derived);
}
