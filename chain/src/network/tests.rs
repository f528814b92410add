use super::*;

const README: &str = include_str!("../../README.md");

/// The README's example.
fn example() -> &'static str {
    let (_, rest) = README.split_once("```toml\n").expect("the README shows a network file");
    rest.split_once("```").expect("the block ends").0
}

fn lines() -> Vec<&'static str> {
    example().lines().collect()
}

/// The example's first line that begins so, counted from 1.
fn line(begins: &str) -> usize {
    lines().iter().position(|line| line.starts_with(begins)).expect("the example has such a line") + 1
}

/// Refuses the example with one text replaced; returns the error's place, text and remedy.
fn refused(from: &str, to: &str) -> (usize, usize, String, String) {
    assert!(example().contains(from), "{from} is not in the example");
    let error = NetworkFile::parse(&example().replacen(from, to, 1)).unwrap_err();
    (error.line, error.column, error.problem.to_string(), error.remedy())
}

fn is(error: (usize, usize, String, String), place: (usize, usize), problem: &str, remedy: &str) {
    assert_eq!((error.0, error.1, error.2.as_str(), error.3.as_str()), (place.0, place.1, problem, remedy));
}

#[test]
fn the_example_is_read_and_written_back() {
    let file = NetworkFile::parse(example()).unwrap();
    assert_eq!((file.name.as_str(), file.local, file.nodes.len()), ("example", false, 2));
    assert_eq!(file.nodes[1].prefix.to_string(), "2001:db8:1::/48");
    assert_eq!(file.nodes[0].addresses.len(), 2);
    assert_eq!(file.nodes[0].door, Some("203.0.113.7:22443".parse().unwrap()));
    assert!(file.nodes[0].bls.is_some() && file.nodes[1].bls.is_none());
    let settlement = file.settlement.as_ref().unwrap();
    assert_eq!((settlement.chain, settlement.rpc.len(), settlement.epoch.get()), (42_161, 2, 3_600));
    assert_eq!(settlement.parameters().domain.staking, settlement.contracts.staking);
    assert_eq!((settlement.trust, settlement.written), (604_800, 1_769_904_000));
    assert_eq!(settlement.vault, Some("0x1000000000000000000000000000000000000007".parse().unwrap()));
    assert_eq!(NetworkFile::parse(&file.to_toml()).as_ref(), Ok(&file));
    let alone = NetworkFile { settlement: None, ..file };
    assert_eq!(NetworkFile::parse(&alone.to_toml()), Ok(alone));
}

#[test]
fn a_network_whose_stakes_nobody_lends_names_no_vault() {
    let without: String =
        lines().into_iter().filter(|line| !line.starts_with("vault")).collect::<Vec<_>>().join("\n");
    let file = NetworkFile::parse(&without).unwrap();
    assert_eq!(file.settlement.as_ref().unwrap().vault, None);
    assert_eq!(NetworkFile::parse(&file.to_toml()), Ok(file));
}

#[test]
fn for_how_long_nodes_are_believed_has_bounds_and_a_default() {
    let changed = |trust: &str, written: &str| {
        let lines = lines().into_iter().map(|line| match line.split(' ').next() {
            Some("trust") => trust,
            Some("written") => written,
            _ => line,
        });
        NetworkFile::parse(&lines.collect::<Vec<_>>().join("\n"))
    };
    let told = |trust: &str, written: &str| {
        let settlement = changed(trust, written).unwrap().settlement.unwrap();
        (settlement.trust, settlement.written - settlement.genesis)
    };
    assert_eq!(told("", ""), (TRUST, 0), "as long as nothing is said");
    assert_eq!(told("trust = 7200", "written = 1767225601"), (7_200, 1));
    assert_eq!(told("trust = 2592000", ""), (2_592_000, 0));
    let (least, most) = (7_200, 2_592_000);
    for found in [0, 7_199, 2_592_001] {
        let error = changed(&format!("trust = {found}"), "").unwrap_err();
        assert_eq!((error.line, &error.problem), (line("trust"), &Problem::Trust { found, least, most }));
        assert!(error.remedy().contains("`unlockTime`"), "{}", error.remedy());
    }
    let error = changed("", "written = 1767225599").unwrap_err();
    assert_eq!((error.line, error.problem), (line("written"), Problem::Number { key: "written" }));
    // All nodes of a local one are of whoever has the file.
    let mut file = NetworkFile::parse(example()).unwrap();
    file.local = true;
    file.settlement.as_mut().unwrap().trust = 100 * 365 * 24 * 3_600;
    assert_eq!(NetworkFile::parse(&file.to_toml()), Ok(file));
}

#[test]
fn the_rules_that_clients_are_told_are_two_small_numbers() {
    let said = |hf: &str| {
        let lines = lines().into_iter().map(|line| if line.starts_with("hf") { hf } else { line });
        NetworkFile::parse(&lines.collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(said("").unwrap().hf, RULES, "as long as nothing is said");
    for hf in [[22, 0], [23, 1], [0, 255]] {
        let file = said(&format!("hf = {hf:?}")).unwrap();
        assert_eq!((file.hf, NetworkFile::parse(&file.to_toml())), (hf, Ok(file)));
    }
    let number = "`hf` is out of range";
    for (wrong, column, problem) in [
        ("[22]", 6, "`hf` has 1 numbers, expected 2"),
        ("[22, 0, 0]", 6, "`hf` has 3 numbers, expected 2"),
        ("22", 6, "`hf` is integer, expected an array of two integers"),
        ("[22, \"0\"]", 11, "`hf` is string, expected an array of two integers"),
        ("[22, 256]", 11, number),
        ("[-1, 0]", 7, number),
    ] {
        let error = said(&format!("hf = {wrong}")).unwrap_err();
        assert_eq!(
            (error.line, error.column, error.problem.to_string().as_str()),
            (line("hf"), column, problem)
        );
        assert_eq!(error.remedy(), "write it as in `hf = [22, 0]`");
    }
}

#[test]
fn a_file_makes_the_genesis_ledger() {
    let file = NetworkFile::parse(example()).unwrap();
    assert!(file.settlement.is_some());
    let ledger = file.ledger();
    assert_eq!(ledger, NetworkFile { settlement: None, ..file }.ledger(), "before anybody asks the chain");
    assert_eq!((ledger.map().version, ledger.nodes().len(), ledger.map().swarms.len()), (1, 2, 1));
}

#[test]
fn an_address_where_nobody_would_find_the_node_is_refused() {
    let (first, form) = (line("addresses") + 1, "expected an address such as ");
    for wrong in ["/ip4/203.0.113.7/udp/22021/quic1", "203.0.113.7:22021", "\\u00e9"] {
        let (line, column, problem, remedy) = refused("/ip4/203.0.113.7/udp/22021/quic-v1", wrong);
        assert_eq!((line, column, problem.starts_with(form)), (first, 5, true), "{problem}");
        assert!(remedy.starts_with("write it as in "), "{remedy}");
    }
    is(
        refused("/ip4/203.0.113.7/udp/22021/quic-v1", "/ip4/198.51.100.7/udp/22021/quic-v1"),
        (first, 5),
        "/ip4/198.51.100.7/udp/22021/quic-v1 lies outside the node's prefix 203.0.113.0/24",
        "correct the address, or the prefix if it is the wrong one",
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known() {
    let (operator, name) = (line("operator"), line("name"));
    is(
        refused("operator =", "opertor ="),
        (operator, 1),
        "unknown key `opertor`",
        "did you mean `operator`?",
    );
    is(
        refused("addresses =", "adress ="),
        (line("addresses"), 1),
        "unknown key `adress`",
        "did you mean `addresses`?",
    );
    is(
        refused("name =", "colour ="),
        (name, 1),
        "unknown key `colour`",
        "remove it; known here are version, name, local, seed, hf, faucet, limits, nodes, settlement, \
         signature",
    );
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    let local = line("local");
    is(refused("local = false", ""), (1, 1), "`local` is missing", "add `local = false`");
    is(
        refused("local = false", "local = \"no\""),
        (local, 9),
        "`local` is string, expected a boolean",
        "write it as in `local = false`",
    );
    let (at, _, problem, _) = refused("prefix = \"203.0.113.0/24\"", "");
    assert_eq!((at, problem.as_str()), (line("[[nodes]]"), "`prefix` is missing"));
    is(
        NetworkFile::parse("version = 1\nname = \"a\"\nlocal = true\nseed = \"ab\"")
            .map_err(|error| (error.line, error.column, error.problem.to_string(), error.remedy()))
            .unwrap_err(),
        (4, 8),
        "expected a seed: 64 hex digits",
        "write the 32 bytes of the seed as 64 hex digits",
    );
}

#[test]
fn wrong_values_are_refused_where_they_stand() {
    let (prefix, version) = (line("prefix"), line("version"));
    is(
        refused("203.0.113.0/24", "203.0.113.9/24"),
        (prefix, 10),
        "the address has bits below the prefix, whose first address is 203.0.113.0/24",
        "write 203.0.113.0/24",
    );
    is(
        refused("version = 1", "version = 2"),
        (version, 11),
        "the file has version 2, this build reads 1",
        "use a build of `session` that reads this version",
    );
    for (from, to, problem) in [
        ("name = \"example\"", "name = \"Example\"", "a network's name is 1 to 32 of a-z, 0-9 and -"),
        ("operator = \"0x", "operator = \"", "expected an operator's address: 0x and 40 hex digits"),
        ("id = \"", "id = \"0", "expected a node id: 64 hex digits"),
        ("https://rpc.example/", "rpc.example", "expected a URL that begins with http:// or https://"),
        ("epoch = 3600", "epoch = 0", "`epoch` is out of range"),
        ("chain = 42161", "chain = -1", "`chain` is out of range"),
        ("pool = \"0x1", "pool = \"0x", "`pool` is not an address: 0x and 40 hex digits"),
        ("vault = \"0x1", "vault = \"0x", "`vault` is not an address: 0x and 40 hex digits"),
        ("vault = \"", "vault = 1 # \"", "`vault` is integer, expected a string"),
        (
            "rpc = [\"https://rpc.example/\", \"https://other.example/\"]",
            "rpc = []",
            "0 endpoints of the chain, expected 1 to 8",
        ),
        ("door = \"203.0.113.7:22443\"", "door = \"203.0.113.7\"", "`door` is not an address and a port"),
        ("addresses = [", "addresses = [1, ", "`addresses` is integer, expected an array of strings"),
        ("addresses = [", "addresses = [\"\", ", "an address of 0 bytes, expected 1 to 256"),
        (
            "addresses = [\"/ip6/2001:db8:1::7/udp/22021/quic-v1\"]",
            "addresses = []",
            "0 addresses, expected 1 to 8",
        ),
    ] {
        assert_eq!(refused(from, to).2, problem);
    }
    assert!(refused("name = ", "name ").2.starts_with("this is not TOML: "));
    assert_eq!(refused("name = ", "name ").0, line("name"));
}

#[test]
fn columns_count_characters() {
    let error = NetworkFile::parse("version = 1\n\"\u{e9}\u{e9}\" = 1").unwrap_err();
    assert_eq!((error.line, error.column), (2, 1));
    let error = NetworkFile::parse("version = 1\n\"\u{e9}\u{e9}\" = x").unwrap_err();
    assert_eq!((error.line, error.column), (2, 8));
    assert_eq!(error.to_string().split(": ").next(), Some("line 2, column 8"));
}

#[test]
fn a_bls_key_is_a_point_of_the_group() {
    let (begins, key) = example().split_once("bls = \"").map(|(_, rest)| rest.split_at(4)).unwrap();
    let place = (line("bls"), 7);
    let remedy = "write the `bls_key` of the node's registration.toml, or leave it out";
    for wrong in [String::new(), "17f2".to_owned(), format!("{begins}00")] {
        let refusal = "expected a BLS12-381 public key: a point of the curve's group, as 192 hex digits";
        is(
            refused(&format!("{begins}{}", &key[..60]), &format!("{wrong}{}", &key[..60])),
            place,
            refusal,
            remedy,
        );
    }
}

#[test]
fn numbers_have_limits() {
    let mut file = NetworkFile::parse(example()).unwrap();
    let parsed = |file: &NetworkFile| NetworkFile::parse(&file.to_toml()).map_err(|error| error.problem);
    file.nodes[0].addresses = vec!["/ip4/1.2.3.4".to_owned(); 9];
    assert_eq!(parsed(&file), Err(Problem::Addresses { found: 9 }));
    file.nodes[0].addresses = vec!["a".repeat(257)];
    assert_eq!(parsed(&file), Err(Problem::Address { bytes: 257 }));
    let number = |number: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    };
    let node = NetworkNode {
        addresses: vec!["/ip4/203.0.113.7/udp/22021/quic-v1".to_owned()],
        ..file.nodes[0].clone()
    };
    file.nodes = (0..10_000).map(|at| NetworkNode { id: number(at), ..node.clone() }).collect();
    assert_eq!(parsed(&file).as_ref(), Ok(&file));
    file.nodes.push(NetworkNode { id: number(10_000), ..node });
    assert_eq!(parsed(&file), Err(Problem::Nodes { found: 10_001 }));
    file.nodes.clear();
    assert_eq!(parsed(&file), Err(Problem::Missing { key: "nodes" }));
    let long = "#".repeat(MAX_BYTES + 1);
    assert_eq!(NetworkFile::parse(&long).unwrap_err().problem, Problem::TooLong { bytes: MAX_BYTES + 1 });
}

#[test]
fn a_node_stands_in_the_file_once() {
    let mut file = NetworkFile::parse(example()).unwrap();
    let id = file.nodes[0].id;
    file.nodes[1].id = id;
    let error = NetworkFile::parse(&file.to_toml()).unwrap_err();
    assert_eq!(error.line, file.to_toml().lines().count() - 3);
    assert_eq!(error.problem, Problem::Duplicate { id, first: file.to_toml().lines().count() - 11 });
}

proptest::proptest! {
    #[test]
    fn no_text_brings_the_reader_down(at in 0..2_000_usize, text in ".{0,12}") {
        let mut bad = example().to_owned();
        let at = (0..=at.min(bad.len())).rev().find(|at| bad.is_char_boundary(*at)).unwrap();
        bad.insert_str(at, &text);
        if let Err(error) = NetworkFile::parse(&bad) {
            proptest::prop_assert!(error.line >= 1 && error.column >= 1 && !error.remedy().is_empty());
        }
    }
}

#[test]
fn what_a_publisher_signed_is_taken_as_it_stands_and_nothing_else() {
    let pair = session_protocols::KeyPair::from_seed(&[1; 32]);
    let publisher = Publisher(pair.public());
    let signed = sign(example(), &pair);
    assert_eq!(
        NetworkFile::parse(&signed),
        NetworkFile::parse(example()),
        "the signature says nothing of it"
    );
    assert_eq!(NetworkFile::publisher(&signed), Ok(Some(publisher)));
    assert_eq!(NetworkFile::publisher(example()), Ok(None));
    assert_eq!(sign(&signed, &pair), signed, "it is replaced and not repeated");
    let other = session_protocols::KeyPair::from_seed(&[2; 32]);
    let again = sign(&signed, &other);
    assert_eq!(NetworkFile::publisher(&again), Ok(Some(Publisher(other.public()))));

    let unsigned = |text: &str| {
        let error = NetworkFile::parse(text).unwrap_err();
        assert!(error.remedy().starts_with("fetch the file again"), "{}", error.remedy());
        assert!(matches!(error.problem, Problem::Unsigned { .. }), "{error}");
        error.line
    };
    let head = signed.lines().position(|line| line == "[signature]").unwrap() + 1;
    assert_eq!(unsigned(&signed.replacen("rpc.example", "rpc.evil", 1)), head);
    assert_eq!(unsigned(&signed.replace("[signature]", "# one line more\n[signature]")), head + 1);
    let node = signed.split("[[nodes]]").nth(1).unwrap().replacen("d75a", "d75b", 1);
    let node = node.split("[signature]").next().unwrap();
    unsigned(&format!("{signed}\n[[nodes]]{node}"));
    unsigned(&format!("{signed}\n[limits]\ndisk = 1\n"));
    let mine = format!("publisher = \"{}\"", Publisher(other.public()));
    unsigned(&signed.replacen(&format!("publisher = \"{publisher}\""), &mine, 1));
}

#[test]
fn a_faucet_and_limits_are_read_and_written_back() {
    let plain = NetworkFile::parse(example()).unwrap();
    assert_eq!((plain.faucet.as_deref(), plain.limits), (None, Limits::default()));
    let limits = Limits { disk: 1, memory: 2, files: 3, release: [4, 5, 6] };
    let file = NetworkFile { faucet: Some("https://faucet.example/".to_owned()), limits, ..plain };
    assert_eq!(NetworkFile::parse(&file.to_toml()), Ok(file));
    let some = example().replacen("[settlement]", "[limits]\ndisk = 7\n\n[settlement]", 1);
    assert_eq!(NetworkFile::parse(&some).unwrap().limits, Limits { disk: 7, ..Limits::default() });
    is(
        refused("[settlement]", "[limits]\ndisks = 7\n\n[settlement]"),
        (line("[settlement]") + 1, 1),
        "unknown key `disks`",
        "did you mean `disk`?",
    );
    for wrong in ["1.2", "1.2.3.4", "1.2.x", "", "v1.2.3"] {
        is(
            refused("[settlement]", &format!("[limits]\nrelease = \"{wrong}\"\n\n[settlement]")),
            (line("[settlement]") + 1, 11),
            "`release` is no version: expected three numbers with dots between them",
            "write it as in `release = \"0.2.0\"`",
        );
    }
    for wrong in ["ftp://x", "https://x y", "https://x\\u001b[2J", "https://x\\u202ey", "https://x\\n"] {
        is(
            refused("[settlement]", &format!("faucet = \"{wrong}\"\n\n[settlement]")),
            (line("[settlement]"), 10),
            "expected a URL that begins with http:// or https://",
            "write it as in `faucet = \"https://faucet.example/\"`",
        );
    }
}
