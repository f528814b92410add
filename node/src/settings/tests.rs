use std::path::Path;

use super::*;

/// Two values of each setting that are not its default, as texts and as `node.toml` has them.
fn samples(key: &Key) -> [(&'static str, &'static str); 2] {
    match key.name {
        "network" => [("one", "\"one\""), ("two", "\"two\"")],
        "listen" | "announce" => [
            ("/ip4/203.0.113.7/tcp/1", "[\"/ip4/203.0.113.7/tcp/1\"]"),
            ("/ip4/203.0.113.7/tcp/2", "[\"/ip4/203.0.113.7/tcp/2\"]"),
        ],
        "http" => [("127.0.0.1:1", "\"127.0.0.1:1\""), ("127.0.0.1:2", "\"127.0.0.1:2\"")],
        "door" => [("127.0.0.1:1", "[\"127.0.0.1:1\"]"), ("[::1]:2", "[\"[::1]:2\"]")],
        "door_certificate" | "door_key" | "log_file" | "passphrase_file" => {
            [("/one", "\"/one\""), ("/two", "\"/two\"")]
        }
        "door_server" => [("one.example", "[\"one.example\"]"), ("two.example", "[\"two.example\"]")],
        "rpc" => [("http://one/", "[\"http://one/\"]"), ("https://two/", "[\"https://two/\"]")],
        "max_bytes" | "account_bytes" | "max_memory" | "log_file_bytes" => {
            [("1 GiB", "\"1 GiB\""), ("314572800", "314572800")]
        }
        "log" => [("human", "\"human\""), ("json", "\"json\"")],
        "log_level" => [("debug", "\"debug\""), ("session=trace", "\"session=trace\"")],
        "sync" => [("logs", "\"logs\""), ("checkpoint", "\"checkpoint\"")],
        "log_files" => [("2", "2"), ("3", "3")],
        "upnp" => [("true", "true"), ("false", "false")],
        other => panic!("no samples of {other}"),
    }
}

const ORIGINS: [Origin; 4] = [Origin::Flag, Origin::Environment, Origin::File, Origin::Preset];

/// What somebody says of one setting; of a certificate and its key also the other.
fn layer(origin: Origin, key: &'static Key, sample: usize) -> Layer {
    let other = match key.name {
        "door_key" => Settings::key("door_certificate"),
        "door_certificate" => Settings::key("door_key"),
        _ => None,
    };
    let keys: Vec<&'static Key> = [Some(key), other].into_iter().flatten().collect();
    let text = |key: &Key| samples(key)[sample].0.to_owned();
    match origin {
        Origin::Flag => Layer::flags(keys.into_iter().map(|key| (key, vec![text(key)]))),
        Origin::Environment => {
            Layer::environment(|name| keys.iter().find(|key| key.environment() == name).map(|key| text(key)))
        }
        Origin::File => {
            let lines = keys.iter().map(|key| format!("{} = {}\n", key.name, samples(key)[sample].1));
            Layer::file(Path::new("/data/node.toml"), &lines.collect::<String>()).unwrap()
        }
        Origin::Preset => {
            Layer::preset(Path::new("/net.toml"), keys.into_iter().map(|key| (key.name, vec![text(key)])))
        }
        Origin::Default => panic!("nobody says the default"),
    }
}

fn said(layers: Vec<Layer>, name: &str) -> (Shown, Origin) {
    let effective = Effective::of(layers).unwrap();
    let (_, shown, place) = effective.entries().find(|(key, ..)| key.name == name).unwrap();
    (shown.clone(), place.origin())
}

#[test]
fn of_any_two_who_say_something_the_first_counts() {
    for key in Settings::KEYS {
        let name = key.name;
        let (default, origin) = said(Vec::new(), name);
        assert_eq!(origin, Origin::Default, "{name}");
        let [low, high] = [1, 0].map(|sample| (key.check)(&[samples(key)[sample].0]).unwrap());
        assert!(low != high && default != low && default != high, "{name}: the samples tell");
        for (rank, first) in ORIGINS.into_iter().enumerate() {
            let alone = said(vec![layer(first, key, 0)], name);
            assert_eq!(alone, (high.clone(), first), "{name} of {first:?} before the default");
            for second in &ORIGINS[rank + 1..] {
                let layers = [layer(first, key, 0), layer(*second, key, 1)];
                for layers in [layers.to_vec(), layers.iter().rev().cloned().collect()] {
                    let found = said(layers, name);
                    assert_eq!(found, (high.clone(), first), "{name} of {first:?} before {second:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_set_reaches_the_node() {
    let text = "listen = [\"/ip4/127.0.0.1/tcp/7\", \"/ip4/127.0.0.1/udp/7/quic-v1\"]\nhttp = \"127.0.0.1:8\"\n\
                door = [\"127.0.0.1:9\"]\ndoor_server = [\"a.example\"]\ndoor_certificate = \"chain.pem\"\n\
                door_key = \"/key.pem\"\nrpc = [\"http://x/\"]\nmax_bytes = \"1 GiB\"\naccount_bytes = 100000\n\
                max_memory = \"256 MiB\"\nsync = \"logs\"\n";
    let file = Layer::file(Path::new("/etc/session/node.toml"), text).unwrap();
    let network = session_chain::NetworkFile {
        name: "test".parse().unwrap(),
        local: true,
        seed: [0; 32],
        hf: session_protocols::answer::RULES,
        faucet: None,
        limits: Default::default(),
        nodes: Vec::new(),
        settlement: None,
    };
    let config = Effective::of(vec![file]).unwrap().config(network, "/data".into());
    assert_eq!((config.listen.len(), config.http.port(), config.rpc), (2, 8, vec!["http://x/".to_owned()]));
    assert_eq!((config.max_bytes, config.account_bytes, config.max_memory), (1 << 30, 100_000, 256 << 20));
    assert_eq!(config.sync, Beginning::Logs);
    let door = config.door.unwrap();
    assert_eq!((door.listen[0].port(), door.servers.len()), (9, 1));
    // Relative paths of a file begin at its folder.
    assert_eq!(door.certificate, Some(("/etc/session/chain.pem".into(), "/key.pem".into())));
}

#[test]
fn defaults_are_values_and_are_those_of_the_node() {
    for key in Settings::KEYS {
        (key.check)(key.default).unwrap_or_else(|why| panic!("{}: {why}", key.name));
        assert!(!key.about().is_empty());
    }
    let Settings { listen, http, max_bytes, account_bytes, max_memory, .. } = Settings::default();
    let network = session_chain::NetworkFile {
        name: "test".parse().unwrap(),
        local: true,
        seed: [0; 32],
        hf: session_protocols::answer::RULES,
        faucet: None,
        limits: Default::default(),
        nodes: Vec::new(),
        settlement: None,
    };
    let config = Config::new(network, "/data".into(), listen, http);
    assert_eq!((config.max_bytes, config.account_bytes), (max_bytes.0, account_bytes.0));
    assert_eq!(config.max_memory as u64, max_memory.0);
}

fn refused(text: &str) -> (String, String) {
    let layer = Layer::file(Path::new("node.toml"), text);
    let error = layer.and_then(|layer| Effective::of(vec![layer])).unwrap_err();
    (error.to_string(), error.remedy())
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_a_remedy() {
    for (text, error, remedy) in [
        ("\n  htp = 3", "node.toml:2:3: unknown key `htp`", "did you mean `http`?"),
        ("max-bytes = 3", "node.toml:1:1: unknown key `max-bytes`", "did you mean `max_bytes`?"),
        ("zebra = 3", "node.toml:1:1: unknown key `zebra`", "remove it; known are network, listen, "),
        ("zebra = 3\nhtp = 3", "node.toml:1:1: unknown key `zebra`", "remove it"),
        ("http = 3", "node.toml:1:8: `http` is integer, expected a string", "`http = \"127.0.0.1:22080\"`"),
        ("http = \"x\"", "node.toml:1:8: `http`: expected an address and a port", "`http = \"127"),
        ("http = \"\"", "node.toml:1:8: `http`: a value is missing", "`http = \"127"),
        ("listen = \"x\"", "node.toml:1:10: `listen` is string, expected an array", "`listen = [\"/ip4/"),
        ("listen = [\"/ip4/127.0.0.1/tcp/1\",\n \"x\"]", "node.toml:2:2: `listen`: ", "`listen = [\"/ip4/"),
        ("rpc = [\"ws://x\"]", "node.toml:1:8: `rpc`: expected a URL", "https://"),
        ("max_bytes = \"9 XB\"", "node.toml:1:13: `max_bytes`: expected a number of bytes", "\"20 GiB\""),
        ("max_bytes = -1", "node.toml:1:13: `max_bytes`: expected a number of bytes", "\"20 GiB\""),
        ("max_bytes = \"99999999 TiB\"", "node.toml:1:13: `max_bytes`", "\"20 GiB\""),
        ("max_bytes = true", "node.toml:1:13: `max_bytes` is boolean", "\"20 GiB\""),
        ("upnp = \"yes\"", "node.toml:1:8: `upnp` is string, expected true or false", "`upnp = true`"),
        ("log = \"xml\"", "node.toml:1:7: `log`: expected human or json", "`log = \"json\"`"),
        ("log_files = 0", "node.toml:1:13: `log_files`: expected 1", "`log_files = 8`"),
        ("max_bytes = 1", "node.toml:1:13: `max_bytes`: expected 96 KiB at least", "\"20 GiB\""),
        ("account_bytes = 98303", "node.toml:1:17: `account_bytes`: expected 96 KiB", "\"20 GiB\""),
        ("max_memory = \"1 MiB\"", "node.toml:1:14: `max_memory`: expected 128 MiB", "\"20 GiB\""),
        ("log_file_bytes = 1", "node.toml:1:18: `log_file_bytes`: expected 64 KiB", "20 GiB"),
        (
            "door_key = \"k\"",
            "node.toml:1:12: `door_key` is set, and `door_certificate` is not",
            "set `door_cert",
        ),
        ("http = ", "node.toml:1:8: this is not TOML", "correct the text"),
        ("http = \"a:1\"\nhttp = \"a:1\"", "node.toml:2:1: this is not TOML: duplicate key", "correct"),
        ("[http]\nx = 1", "node.toml:1:1: `http` is table", "`http = "),
    ] {
        let (found, mended) = refused(text);
        assert!(found.starts_with(error), "{text}: {found}");
        assert!(mended.contains(remedy), "{text}: {mended}");
    }
    assert!(refused(&" ".repeat(MAX_FILE + 1)).0.contains("longer than"));
    // Also where a flag overrides it.
    assert!(Layer::file(Path::new("node.toml"), "http = \"x\"").is_err());
}

#[test]
fn what_the_environment_says_is_told_by_its_name() {
    let of = |name: &'static str, value: &'static str| {
        Layer::environment(move |asked| (asked == name).then(|| value.to_owned()))
    };
    let error = Effective::of(vec![of("SESSION_HTTP", "x")]).unwrap_err();
    assert!(error.to_string().starts_with("SESSION_HTTP: `http`: expected"), "{error}");
    assert_eq!(error.remedy(), "set it as in SESSION_HTTP='127.0.0.1:22080', or unset it");
    let two = Effective::of(vec![of("SESSION_RPC", "http://a/, http://b/")]).unwrap();
    assert_eq!(two.settings().rpc, ["http://a/", "http://b/"].map(|url| Url(url.to_owned())));
    let empty = Effective::of(vec![of("SESSION_HTTP", "")]).unwrap();
    assert_eq!(empty.settings(), &Settings::default(), "an empty one says nothing");
    let level = Effective::of(vec![of("RUST_LOG", "trace")]).unwrap();
    assert_eq!(level.settings().log_level, "trace");
}

#[test]
fn a_new_file_explains_every_setting_and_changes_none() {
    let text = Settings::template();
    assert_eq!(
        Effective::of(vec![Layer::file(Path::new(FILE), &text).unwrap()]).unwrap().settings(),
        &Settings::default()
    );
    for key in Settings::KEYS {
        let line = text.lines().find(|line| line.starts_with(&format!("# {} = ", key.name))).unwrap();
        if let Some(default) = (key.check)(key.default).unwrap().to_toml() {
            let layer = Layer::file(Path::new(FILE), &line[2..]).unwrap();
            assert_eq!(Effective::of(vec![layer]).unwrap().settings(), &Settings::default(), "{line}");
            assert!(line.ends_with(&default));
        }
    }
}

#[test]
fn bytes_are_read_and_shown_with_their_unit() {
    for (text, bytes, shown) in [
        ("0", 0, "0"),
        ("1023", 1023, "1023"),
        ("1024", 1024, "1 KiB"),
        ("20 GiB", 20 << 30, "20 GiB"),
        ("20GiB", 20 << 30, "20 GiB"),
        ("1536 MiB", 1536 << 20, "1536 MiB"),
        ("3 TiB", 3 << 40, "3 TiB"),
    ] {
        let read = <Bytes as value::Value>::read(&[text]).unwrap();
        assert_eq!((read.0, read.to_string().as_str()), (bytes, shown), "{text}");
    }
    for text in ["", "GiB", "1.5 GiB", "-1", "1 gib", "0x10"] {
        assert!(<Bytes as value::Value>::read(&[text]).is_err(), "{text}");
    }
}
