//! The status page of a node and the network page of a testnet, in a real browser.
//!
//! With `SESSION_PICTURES=FOLDER` the pictures for the documents are taken on the way: `scripts/pictures`.

mod browser;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde_json::{Value, json};
use session_client::{Account, Client};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Place, get, until};
use browser::Browser;

/// The longest page, in bytes.
const LARGEST: usize = 100_000;
/// The contrast that text needs to be read by all: WCAG, level AA.
const CONTRAST: f64 = 4.5;

/// Shows what the node says at this moment, and tells both what it said and what stands there.
const STATUS: &str = r##"(async () => {
  const [status, ready] = await Promise.all(["/status", "/readyz"].map(path => fetch(path).then(answer => answer.json())));
  show(status, ready);
  const shown = [...document.querySelectorAll("[data-field]")].map(one => ({ field: one.dataset.field,
    value: JSON.parse(one.dataset.value), text: one.textContent, seen: one.getClientRects().length > 0 }));
  return { status, ready, shown, checks: [...document.querySelectorAll("#checks li")].map(one => one.textContent) };
})()"##;

/// The same of the testnet.
const NETWORK: &str = r##"(async () => {
  const state = await fetch("/state").then(answer => answer.json());
  show(state);
  const facts = Object.fromEntries([...document.querySelectorAll("[data-fact]")].map(one => [one.dataset.fact, one.textContent]));
  const nodes = [...document.querySelectorAll("#nodes tr")].map(row => Object.fromEntries(
    [...row.querySelectorAll("[data-field]")].map(one => [one.dataset.field, JSON.parse(one.dataset.value)])));
  const drawn = [...document.querySelectorAll("#swarms figure")].map(figure => [figure.querySelector("figcaption").textContent,
    [...figure.querySelectorAll(".node")].map(one => [one.querySelector("text").textContent, one.dataset.state])]);
  return { state, facts, nodes, drawn, head: document.getElementById("state").textContent };
})()"##;

/// The least contrast of any text with what is behind it, and that text.
const FAINTEST: &str = r##"(() => {
  const parts = color => color.match(/[\d.]+/g).map(Number);
  const light = color => parts(color).slice(0, 3).map(part => part / 255).map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = one => { const color = getComputedStyle(one).backgroundColor; return parts(color)[3] === 0 && one.parentElement ? behind(one.parentElement) : color; };
  const all = [...document.querySelectorAll("body *:not(script, style, svg, svg *, button:disabled)")]
    .filter(one => one.getClientRects().length && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(one => { const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a); return [(a + 0.05) / (b + 0.05), one.textContent]; });
  return { least: all.sort((a, b) => a[0] - b[0])[0], behind: light(getComputedStyle(document.body).backgroundColor) };
})()"##;

/// What stands out of a window, to the right.
const OUTSIDE: &str = r##"(() => {
  const out = [...document.querySelectorAll("main, header, section, figure, svg, dl, dd, ul, li, tr, td, button, footer")]
    .filter(one => one.getClientRects().length && !one.closest("thead") && one.getBoundingClientRect().right > innerWidth + 0.5);
  return { out: out.map(one => one.outerHTML.slice(0, 100)), wide: document.documentElement.scrollWidth, window: innerWidth };
})()"##;

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_what_nodes_say_and_their_buttons_do_what_they_say() {
    let place = Place::new();
    let up = place.data(&["testnet", "up"]);
    let door = up["nodes"][0]["http"].as_str().unwrap().to_owned();
    let url = up["page"]["url"].as_str().unwrap().to_owned();
    assert_eq!(place.data(&["testnet", "status"])["page"], up["page"]);
    assert_eq!(place.data(&["testnet", "up"])["page"], up["page"], "it runs on");
    let talk = Talk::begin(&place).await;
    talk.send().await;
    let mut browser = Browser::start();

    is_small(&format!("http://{door}/")).await;
    browser.view(1_280, 900, "light");
    browser.open(&format!("http://{door}/"));
    shows_by_itself(&mut browser).await;
    every_field_of_status_is_shown(&mut browser, &door).await;
    is_seen_by_all(&mut browser);
    asked_only(&mut browser, &format!("http://{door}/"));
    pictures(&mut browser, "status", (980, 720), &talk).await;

    let (address, token) = url.strip_prefix("http://").unwrap().split_once("/#").unwrap();
    is_small(&format!("http://{address}/")).await;
    browser.view(1_280, 900, "light");
    browser.open(&url);
    shows_by_itself(&mut browser).await;
    assert_eq!(browser.js("location.href"), format!("http://{address}/"), "the token is not left to be seen");
    the_network_is_drawn(&mut browser, &place).await;
    messages_flow(&mut browser, &talk).await;
    pictures(&mut browser, "network", (1_240, 720), &talk).await;
    is_seen_by_all(&mut browser);
    buttons_kill_and_restart(&mut browser, &place).await;
    asked_only(&mut browser, &format!("http://{address}/"));
    who_may_not_is_refused(&place, address, token).await;

    assert_eq!(place.data(&["testnet", "down", "--keep"])["killed"], json!([]));
    assert!(TcpStream::connect(address).await.is_err(), "the page ends with its testnet");
}

#[tokio::test]
async fn a_page_has_the_port_that_it_is_given_or_says_that_it_is_taken() {
    let place = Place::new();
    let up = ["testnet", "up", "--no-chain", "--nodes", "1", "--page"];
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, error) = place.error(&[&up[..], &[&*port]].concat());
    assert_eq!((code, error["code"].as_str().unwrap()), (1, "port"), "{error}");
    assert!(error["message"].as_str().unwrap().contains(&port), "{error}");
    assert_eq!(place.data(&["testnet", "status"])["page"], Value::Null);
    drop(taken);
    let up = place.data(&[&up[..], &[&*port]].concat());
    assert_eq!((&up["already"], &up["nodes"][0]["state"]), (&json!(true), &json!("ready")));
    let url = up["page"]["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://127.0.0.1:{port}/#")), "{url}");
    // Without a chain there is none on it.
    let state = get(&format!("127.0.0.1:{port}"), "/state").await.unwrap();
    assert_eq!(
        (&state["chain"], &state["epoch"], &state["names"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(state["nodes"][0]["id"], up["nodes"][0]["id"]);
}

/// Two people who write to each other.
struct Talk {
    client: Client,
    people: [Account; 2],
}

impl Talk {
    async fn begin(place: &Place) -> Self {
        let network = place.testnet.folder().network().unwrap();
        let client = Client::connect(network, Default::default()).await.unwrap();
        Self { client, people: [Account::generate().unwrap(), Account::generate().unwrap()] }
    }

    async fn send(&self) {
        let [alice, bob] = &self.people;
        self.client.send(alice, &bob.id(), "hello, bob").await.unwrap();
        self.client.send(bob, &alice.id(), "hello, alice").await.unwrap();
        self.client.inbox(bob).await.unwrap();
    }
}

/// A page is one file, and is told to ask nobody else.
async fn is_small(url: &str) {
    let answer = reqwest::get(url).await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self'"), "{policy}");
    let bytes = answer.bytes().await.unwrap();
    assert!(bytes.len() < LARGEST, "{url}: {} bytes", bytes.len());
}

/// Waits until the page has shown something twice, without being asked.
async fn shows_by_itself(browser: &mut Browser) {
    until("the page to show something", async || {
        let times = browser.js("Number(document.body?.dataset.shown || 0)");
        (times.as_u64()? >= 2).then_some(())
    })
    .await;
}

async fn every_field_of_status_is_shown(browser: &mut Browser, door: &str) {
    let seen = browser.js(STATUS);
    let mut fields = BTreeMap::new();
    leaves(&seen["status"], String::new(), &mut fields);
    let shown = seen["shown"].as_array().unwrap();
    let names: BTreeSet<&str> = shown.iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(names, fields.keys().map(String::as_str).collect(), "every field of /status, and no other");
    for one in shown {
        let field = one["field"].as_str().unwrap();
        assert_eq!(one["value"], fields[field], "{field}");
        assert_eq!(one["seen"], true, "{field}");
        let text = one["text"].as_str().unwrap();
        match reads(field, &fields[field]) {
            Some(expected) => assert_eq!(text, expected, "{field}"),
            None => assert!(text.ends_with(" ago"), "{field}: {text}"),
        }
    }
    for field in ["chain.stake.earned", "chain.epoch", "traffic.requests", "swarm", "messages"] {
        assert!(names.contains(field), "{field}");
    }
    let checks = seen["ready"]["checks"].as_array().unwrap().iter().map(|check| {
        let mark = if check["ok"] == true { '\u{2713}' } else { '\u{2717}' };
        format!("{mark} {} {}", check["name"].as_str().unwrap(), check["detail"].as_str().unwrap())
    });
    assert_eq!(seen["checks"], json!(checks.collect::<Vec<_>>()));
    // What the page was told is what the node tells everybody.
    let told = get(door, "/status").await.unwrap();
    for field in ["id", "network", "addresses", "doors", "http", "version", "max_bytes"] {
        assert_eq!(seen["status"][field], told[field], "{field}");
    }
}

/// The single values of /status by their names.
fn leaves(value: &Value, field: String, into: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, one)| leaves(one, below(name), into)),
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(index, one)| leaves(one, below(&index.to_string()), into));
        }
        one => {
            into.insert(field, one.clone());
        }
    }
}

/// How a value is written for people; none where that depends on when it is read.
fn reads(field: &str, value: &Value) -> Option<String> {
    let name = field.rsplit('.').next().unwrap();
    let text = match value {
        Value::Null | Value::Array(_) => "none".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => match name {
            "by" => format!("{}\u{2026}", &text[..8]),
            "staked" | "earned" => format!("{text} SESH"),
            _ => text.clone(),
        },
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            match name {
                "at" | "begun" if number == 0 => "never".to_owned(),
                "at" | "begun" => return None,
                "fee" => format!("{} %", number as f64 / 100.0),
                _ if name.ends_with("bytes") => bytes(number),
                _ if name.ends_with("_s") => format!("{} s", grouped(number)),
                _ => grouped(number),
            }
        }
        Value::Object(_) => panic!("{field} is more than one value"),
    };
    Some(text)
}

/// As people write numbers.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

fn bytes(number: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let power = (1..=units.len()).rev().find(|power| number >= 1 << (10 * power));
    let Some(power) = power else { return format!("{number} B") };
    let tenths = (number * 20 / (1 << (10 * power))).div_ceil(2);
    format!("{}.{} {}", tenths / 10, tenths % 10, units[power - 1])
}

/// Light and dark, in a wide window and on a phone.
fn is_seen_by_all(browser: &mut Browser) {
    let mut behind = Vec::new();
    for theme in ["light", "dark"] {
        for width in [1_280, 360] {
            browser.view(width, 760, theme);
            let seen = browser.js(FAINTEST);
            let (least, text) = (seen["least"][0].as_f64().unwrap(), &seen["least"][1]);
            assert!(least >= CONTRAST, "{theme}, {width}: {text} has a contrast of {least:.2}");
            let found = browser.js(OUTSIDE);
            assert_eq!((&found["out"], &found["window"]), (&json!([]), &json!(width)), "{theme}, {width}");
            assert!(found["wide"].as_u64().unwrap() <= u64::from(width), "{theme}, {width}: {found}");
            behind.push(seen["behind"].as_f64().unwrap());
        }
    }
    assert!(behind[..2].iter().all(|light| *light > 0.8) && behind[2..].iter().all(|dark| *dark < 0.1));
    browser.view(1_280, 900, "light");
}

fn asked_only(browser: &mut Browser, origin: &str) {
    let asked = browser.asked();
    assert!(asked.len() > 2, "{asked:?}");
    let outside: Vec<_> =
        asked.iter().filter(|url| !url.starts_with(origin) && !url.starts_with("data:")).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

/// Whoever is drawn, and how, is what the command tells too.
async fn the_network_is_drawn(browser: &mut Browser, place: &Place) {
    let seen = until("the page and the command to agree", async || {
        let seen = browser.js(NETWORK);
        let status = place.data(&["testnet", "status"]);
        let same = |(row, node): (&Value, &Value)| {
            let fields = ["index", "state", "registration", "id", "swarm", "peers", "messages"];
            fields.iter().all(|field| row[field] == node[field])
        };
        let (rows, nodes) = (seen["nodes"].as_array()?, status["nodes"].as_array()?);
        // A border may just have moved some.
        let ready = nodes.iter().all(|node| node["state"] == "ready");
        (ready && rows.len() == nodes.len() && rows.iter().zip(nodes).all(same)).then_some(seen)
    })
    .await;
    let (state, facts) = (&seen["state"], &seen["facts"]);
    let nodes = state["nodes"].as_array().unwrap();
    let number = |value: &Value| json!(grouped(value.as_u64().unwrap()));
    assert_eq!((facts["count"].as_str(), seen["head"].as_str()), (Some("12"), Some("12 of 12 ready")));
    assert_eq!(facts["epoch"], number(&state["epoch"]));
    assert_eq!(facts["names"], number(&state["names"]));
    assert_eq!(facts["block"], number(&state["chain"]["height"]));
    assert_eq!(facts["staked"], "300,000");
    let copies: u64 = nodes.iter().map(|node| node["messages"].as_u64().unwrap()).sum();
    assert!(copies > 0);
    assert_eq!(facts["copies"], grouped(copies));
    // A picture for each swarm, with its members.
    let mut swarms: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for node in nodes {
        let drawn = json!([node["index"].to_string(), node["state"]]);
        swarms.entry(node["swarm"].as_str().unwrap()).or_default().push(drawn);
    }
    assert_eq!(facts["swarms"], grouped(swarms.len() as u64));
    let expected: Vec<Value> = swarms
        .iter()
        .map(|(swarm, members)| json!([format!("swarm {swarm} \u{b7} {} nodes", members.len()), members]))
        .collect();
    assert_eq!(seen["drawn"], json!(expected));
    for (row, node) in seen["nodes"].as_array().unwrap().iter().zip(nodes) {
        for (field, value) in [
            ("bytes", &node["bytes"]),
            ("height", &node["height"]),
            ("traffic.requests", &node["traffic"]["requests"]),
            ("traffic.onion_packets", &node["traffic"]["onion_packets"]),
            ("stake.staked", &node["stake"]["staked"]),
            ("stake.contributors", &node["stake"]["contributors"]),
            ("stake.earned", &node["stake"]["earned"]),
        ] {
            assert!(!value.is_null() && &row[field] == value, "{field}: {row}");
        }
    }
}

/// What is counted while people write moves in the pictures.
async fn messages_flow(browser: &mut Browser, talk: &Talk) {
    for kind in ["client", "member", "onion"] {
        until("something to move", async || {
            talk.send().await;
            let found = browser.js(&format!("document.querySelectorAll(\".dot.{kind}\").length"));
            (found.as_u64()? > 0).then_some(())
        })
        .await;
    }
}

/// Node 3 is killed with a mouse, and brought back with keys.
async fn buttons_kill_and_restart(browser: &mut Browser, place: &Place) {
    let of = |place: &Place| place.data(&["testnet", "status"])["nodes"][2].clone();
    let before = of(place);
    let process = PathBuf::from(format!("/proc/{}/cmdline", before["pid"]));
    assert!(!std::fs::read(&process).unwrap().is_empty());
    browser.click("#node-3 .kill");
    let shown = "[JSON.parse(document.querySelector('#node-3 [data-field=state]').dataset.value), \
                 document.querySelector('#node-3 .kill').disabled, document.querySelector('#node-3 .restart').textContent, \
                 document.getElementById('said').textContent, \
                 [...document.querySelectorAll('.node')].find(one => one.textContent.startsWith('3')).dataset.state]";
    until("the page to show node 3 as down", async || {
        (browser.js(shown) == json!(["down", true, "start", "node 3 was killed", "down"])).then_some(())
    })
    .await;
    let killed = of(place);
    assert_eq!((&killed["state"], &killed["pid"]), (&json!("down"), &Value::Null));
    // One that nobody has collected so far has no command line.
    assert!(std::fs::read(&process).unwrap_or_default().is_empty(), "a real process was killed");
    assert_eq!(of(place)["id"], before["id"]);

    // The picture leads to the list, where Enter presses the button.
    let picture = "[...document.querySelectorAll('.node')].find(one => one.textContent.startsWith('3'))";
    browser.js(&format!("{picture}.id = 'third'"));
    browser.enter("#third");
    assert_eq!(browser.js("document.activeElement.closest('tr').id"), "node-3");
    assert_eq!(browser.js("document.activeElement.getAttribute('aria-label')"), "start node 3");
    browser.enter("#node-3 .restart");
    until("the page to show node 3 as ready", async || {
        (browser.js(shown) == json!(["ready", false, "restart", "node 3 is ready", "ready"])).then_some(())
    })
    .await;
    let back = of(place);
    assert_eq!(back["state"], "ready");
    assert!(back["pid"].is_u64() && back["pid"] != before["pid"], "{back}");
}

/// Only who has the token, asks this door and comes from its page changes anything.
async fn who_may_not_is_refused(place: &Place, address: &str, token: &str) {
    let pids = |place: &Place| {
        let status = place.data(&["testnet", "status"]);
        status["nodes"].as_array().unwrap().iter().map(|node| node["pid"].clone()).collect::<Vec<_>>()
    };
    let before = pids(place);
    let host = format!("Host: {address}");
    let right = format!("Authorization: Bearer {token}");
    let wrong = format!("Authorization: Bearer {}", "0".repeat(64));
    let own = format!("Origin: http://{address}");
    for deed in ["kill", "restart"] {
        let path = format!("/nodes/1/{deed}");
        for (head, status, code) in [
            (&[&*host][..], 401, "token"),
            (&[&*host, &own], 401, "token"),
            (&[&*host, &wrong], 401, "token"),
            (&["Host: evil.example", &right], 403, "host"),
            (&["Host: 127.0.0.1.evil.example", &right], 403, "host"),
            (&[&*host, "Origin: http://evil.example", &right], 403, "origin"),
            (&[&*host, "Origin: null", &right], 403, "origin"),
        ] {
            let (found, answer) = post(address, &path, head).await;
            assert_eq!((found, answer["error"]["code"].as_str()), (status, Some(code)), "{head:?}: {answer}");
        }
    }
    // Nor is anything told to a page whose name was made to lead here.
    let (found, answer) = post(address, "/state", &["Host: evil.example"]).await;
    assert_eq!((found, answer["error"]["code"].as_str()), (403, Some("host")), "{answer}");
    let (found, answer) = post(address, "/nodes/99/kill", &[&host, &own, &right]).await;
    assert_eq!((found, answer["error"]["code"].as_str()), (404, Some("no_node")), "{answer}");
    assert_eq!(pids(place), before, "nothing happened");
    let (found, answer) = post(address, "/nodes/1/kill", &[&host, &own, &right]).await;
    assert_eq!((found, &answer), (200, &json!({ "node": 1 })));
    assert_eq!(pids(place)[0], Value::Null);
}

/// The code and what came with it.
async fn post(address: &str, path: &str, head: &[&str]) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("POST {path} HTTP/1.1\r\n{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

/// Takes the pictures of a page for the documents, where somebody wants them, while people write.
async fn pictures(browser: &mut Browser, name: &str, (width, height): (u32, u32), talk: &Talk) {
    let Some(folder) = std::env::var_os("SESSION_PICTURES").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let phone = (400, 860);
    for (shown, (width, height), theme) in
        [("light", (width, height), "light"), ("dark", (width, height), "dark"), ("phone", phone, "light")]
    {
        browser.view(width, height, theme);
        talk.send().await;
        if name == "network" {
            until("much to move", async || {
                talk.send().await;
                let found = browser.js("document.querySelectorAll('.dot').length");
                (found.as_u64()? >= 12).then_some(())
            })
            .await;
        }
        browser.picture(&folder.join(format!("{name}-{shown}.png")));
    }
    browser.view(1_280, 900, "light");
}
