//! The JSON door: what a client of the first network of this kind sends, and what it is answered. The texts
//! that are signed are written out here, as such a client writes them.

mod own;

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};
use session_protocols::{
    KeyPair, MessageHash, NodeId, Signature,
    door::onion::{
        Cipher, NONCE,
        wrap::{Hop, Question, wrap},
    },
    identity,
    request::{Condition, Rights, Token},
};

use super::{At, BATCH, By, Call, Got, Kind, Somebody, moment, steps, steps_to, too_many};
use crate::support::{Place, until};

/// Batches of what comes too often, in a round of them, and those that are under way at once.
const ROUND: usize = 40;
const AT_ONCE: usize = 4;

/// How something is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// At the door of the member at this place of the swarm.
    Door(usize),
    /// Through three hops, of which the last one is a member, all sealed like this.
    Hops(Cipher),
}

pub(crate) struct Door {
    client: reqwest::Client,
    /// The doors of all nodes.
    doors: BTreeMap<String, String>,
}

impl Door {
    pub(crate) fn open(place: &Place) -> Self {
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
        let status = place.data(&["testnet", "status"]);
        let nodes = status["nodes"].as_array().unwrap();
        let door = |node: &Value| {
            let text = |name: &str| node[name].as_str().unwrap().to_owned();
            (text("id"), text("door"))
        };
        Self { client, doors: nodes.iter().map(door).collect() }
    }

    /// How many members somebody's swarm has.
    pub(crate) async fn members(&self, somebody: &Somebody) -> usize {
        self.swarm(somebody).await.len()
    }

    /// The doors of somebody's swarm, as any node says.
    async fn swarm(&self, somebody: &Somebody) -> Vec<String> {
        let any = self.doors.values().next().unwrap();
        let (_, body) = self.post(any, "get_swarm", json!({ "pubkey": somebody.id.to_string() })).await;
        let door = |node: &Value| {
            assert_eq!(
                node["port"].as_str().unwrap(),
                node["port_https"].to_string(),
                "a string, for old clients"
            );
            format!("https://{}:{}", node["ip"].as_str().unwrap(), node["port_https"])
        };
        body["snodes"].as_array().unwrap().iter().map(door).collect()
    }

    /// The door of a node of another swarm.
    fn foreign(&self, swarm: &[String]) -> &String {
        self.doors.values().find(|door| !swarm.contains(door)).expect("two swarms")
    }

    pub(crate) async fn ask(&self, way: Way, somebody: &Somebody, call: &Call, by: By) -> Got {
        if let Call::Often(call) = call {
            return self.often(way, somebody, call, by).await;
        }
        let got = self.ask_once(way, somebody, call, by).await;
        match (call, got) {
            // What came of it is told by whoever is asked for it.
            (Call::Revoke { rights, undo: false }, Got::Count(_)) => {
                let Got::Revoked(tokens) = self.ask_once(way, somebody, &Call::Revoked, By::Owner).await
                else {
                    panic!("its owner may ask")
                };
                Got::Count(somebody.among(rights, &tokens))
            }
            (_, got) => got,
        }
    }

    /// Asks for the same in batches, of which each counts as one request of its address, until the account has asked too
    /// often.
    async fn often(&self, way: Way, somebody: &Somebody, call: &Call, by: By) -> Got {
        let batch = Call::Batch(vec![(call.clone(), by); BATCH]);
        until("an account to have asked too often", async || {
            let asked = (0..ROUND).map(|_| self.ask_once(way, somebody, &batch, By::Nobody));
            let got: Vec<Got> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
            got.iter().any(too_many).then_some(())
        })
        .await;
        let other = self.ask_once(way, somebody, &Call::Info, By::Nobody).await;
        assert_eq!(other, Got::Info, "its address has not");
        Got::Refused(429)
    }

    async fn ask_once(&self, way: Way, somebody: &Somebody, call: &Call, by: By) -> Got {
        let swarm = self.swarm(somebody).await;
        let (kept, call) = match call {
            Call::Elsewhere(call) => (false, &**call),
            call => (true, call),
        };
        let door = |place: usize| if kept { &swarm[place] } else { self.foreign(&swarm) };
        let (method, params) = params(somebody, call, by);
        let (status, body) = match way {
            Way::Door(place) => self.post(door(place), method, params.clone()).await,
            Way::Hops(cipher) => {
                let request = json!({ "method": method, "params": params }).to_string();
                self.through(&self.path(door(0)), cipher, &request).await
            }
        };
        if status == 421 {
            assert_eq!(body["snodes"].as_array().unwrap().len(), swarm.len(), "the right one is named");
        }
        if status == 200 {
            let time = body["t"].as_u64().unwrap();
            assert!(time.abs_diff(moment(0)) < 60_000, "every answer carries the server's time");
            assert_eq!(body["hf"], json!([22, 0]));
        }
        read(somebody, call, &params, status, &body)
    }

    /// Two other nodes and the one with this door: ids and doors.
    fn path(&self, last: &str) -> [(&String, &String); 3] {
        let (last, others): (Vec<_>, Vec<_>) = self.doors.iter().partition(|(_, door)| *door == last);
        [others[0], others[1], last[0]]
    }

    /// What the last node of a path answers to a request: its status, and its body.
    async fn through(&self, path: &[(&String, &String); 3], cipher: Cipher, request: &str) -> (u16, Value) {
        let hops = path.map(|(id, _)| {
            let (secret, nonce) = ([7; 32], [8; NONCE]);
            Hop { node: id.parse().unwrap(), cipher, secret, nonce }
        });
        let (packet, answer) = wrap(&hops, &Question::request(request.as_bytes(), true, true)).unwrap();
        let (status, sealed) = self.onion(path[0].1, packet).await;
        assert_eq!(status, 200, "hops pass the answer back as it is");
        let mut opened = answer.open(&sealed, true).expect("sealed by the last one");
        // Beside a sentence, which has no room for it.
        let time = if opened["body"].is_string() { &opened["t"] } else { &opened["body"]["t"] };
        assert!(
            time.as_u64().unwrap().abs_diff(moment(0)) < 60_000,
            "every answer carries the server's time"
        );
        (u16::try_from(opened["status"].as_u64().unwrap()).unwrap(), opened["body"].take())
    }

    /// What a door answers to a request: its status, and its body, which is a text where it is no object.
    async fn post(&self, door: &str, method: &str, params: Value) -> (u16, Value) {
        self.send(door, "storage_rpc/v1", json!({ "method": method, "params": params }).to_string()).await
    }

    async fn send(&self, door: &str, path: &str, body: String) -> (u16, Value) {
        let (status, bytes) = self.bytes(door, path, body.into_bytes()).await;
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
    }

    async fn bytes(&self, door: &str, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        let answer = self.client.post(format!("{door}/{path}")).body(body).send().await.unwrap();
        // A sentence has no room for the time; this has it whatever is answered.
        let date = seconds(answer.headers()["date"].to_str().unwrap());
        assert!(date.abs_diff(moment(0) / 1_000) < 60, "every answer carries the server's time: {date}");
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
    }

    async fn onion(&self, door: &str, packet: Vec<u8>) -> (u16, Vec<u8>) {
        self.bytes(door, "onion_req/v2", packet).await
    }
}

/// Seconds since 1970, of a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds(date: &str) -> u64 {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let parts: Vec<&str> = date.split([' ', ':']).collect();
    let number = |place: usize| parts[place].parse::<u64>().unwrap();
    let (day, month, year) = (number(1), MONTHS.find(parts[2]).unwrap() as u64 / 3, number(3));
    // Years that begin with March end with the day that some of them lack.
    let (month, year) = if month < 2 { (month + 10, year - 1) } else { (month - 2, year) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    (days - 719_468) * 86_400 + number(4) * 3_600 + number(5) * 60 + number(6)
}

#[test]
fn a_date_is_read_as_http_writes_it() {
    for (date, moment) in [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Tue, 29 Feb 2028 23:59:59 GMT", 1_835_481_599),
    ] {
        assert_eq!(seconds(date), moment, "{date}");
    }
}

/// A request as such a client sends it.
fn params(somebody: &Somebody, call: &Call, by: By) -> (&'static str, Value) {
    let mut params = json!({ "pubkey": somebody.id.to_string() });
    let time = match by {
        By::OwnerAt(offset) => moment(offset),
        _ => moment(0),
    };
    let hashes =
        |messages: &[At]| messages.iter().map(|at| somebody.hash(*at).to_string()).collect::<Vec<_>>();
    let space = |namespace: i16| if namespace == 0 { String::new() } else { namespace.to_string() };
    let drawer = |params: &mut Value, drawer: Option<i16>| match drawer {
        Some(0) => String::new(),
        Some(number) => {
            params["namespace"] = number.into();
            number.to_string()
        }
        None => {
            params["namespace"] = "all".into();
            "all".to_owned()
        }
    };
    let (method, text) = match call {
        Call::Store { at: (namespace, text), ttl, sent } => {
            let timestamp = moment(*sent);
            params["timestamp"] = timestamp.into();
            params["ttl"] = (*ttl).into();
            params["namespace"] = (*namespace).into();
            params["data"] = BASE64.encode(text.as_bytes()).into();
            params["sig_timestamp"] = time.into();
            ("store", format!("store{}{time}", space(*namespace)).into_bytes())
        }
        Call::Retrieve { namespace, last, count, size } => {
            params["namespace"] = (*namespace).into();
            params["timestamp"] = time.into();
            if let Some(last) = last {
                params["last_hash"] = somebody.hash(*last).to_string().into();
            }
            if let Some(count) = count {
                params["max_count"] = (*count).into();
            }
            if let Some(size) = size {
                params["max_size"] = (*size).into();
            }
            ("retrieve", format!("retrieve{}{time}", space(*namespace)).into_bytes())
        }
        // As a client asks for it that is connected otherwise.
        Call::Monitor { at: (namespace, _) } => {
            params["namespaces"] = json!([namespace]);
            params["timestamp"] = (time / 1_000).into();
            params["data"] = true.into();
            let text = format!("MONITOR{}{}1{namespace}", somebody.id, time / 1_000);
            ("monitor", text.into_bytes())
        }
        Call::Delete { messages, required } => {
            params["messages"] = hashes(messages).into();
            params["required"] = (*required).into();
            ("delete", format!("delete{}", hashes(messages).concat()).into_bytes())
        }
        Call::DeleteIn { drawer: one, before: None } => {
            let named = drawer(&mut params, *one);
            params["timestamp"] = time.into();
            ("delete_all", format!("delete_all{named}{time}").into_bytes())
        }
        Call::DeleteIn { drawer: one, before: Some(before) } => {
            let (named, before) = (drawer(&mut params, *one), moment(*before));
            params["before"] = before.into();
            ("delete_before", format!("delete_before{named}{before}").into_bytes())
        }
        Call::Expire { messages, ends, only } => {
            let ends: Vec<_> = ends.iter().map(|end| moment(*end)).collect();
            params["messages"] = hashes(messages).into();
            params["expiry"] = if let [end] = ends.as_slice() { (*end).into() } else { ends.clone().into() };
            if let Some(only) = only {
                params[*only] = true.into();
            }
            let ends: String = ends.iter().map(u64::to_string).collect();
            (
                "expire",
                format!("expire{}{ends}{}", only.unwrap_or(""), hashes(messages).concat()).into_bytes(),
            )
        }
        Call::ExpireIn { drawer: one, end } => {
            let (named, end) = (drawer(&mut params, *one), moment(*end));
            params["expiry"] = end.into();
            ("expire_all", format!("expire_all{named}{end}").into_bytes())
        }
        Call::Expiries { messages } => {
            params["timestamp"] = time.into();
            let named = messages.as_ref().map_or_else(|| vec!["all".to_owned()], |messages| hashes(messages));
            params["messages"] = named.clone().into();
            ("get_expiries", format!("get_expiries{time}{}", named.concat()).into_bytes())
        }
        Call::Revoke { rights, undo } => {
            let (method, name) =
                if *undo { ("unrevoke_subaccount", "unrevoke") } else { ("revoke_subaccount", "revoke") };
            let tokens: Vec<_> = rights.iter().map(|rights| somebody.token(*rights)).collect();
            let written: Vec<_> = tokens.iter().map(|token| BASE64.encode(&token.0)).collect();
            // One may be written without a list.
            params[name] = if let [one] = written.as_slice() { one.as_str().into() } else { written.into() };
            params["timestamp"] = time.into();
            let mut text = format!("{method}{time}").into_bytes();
            tokens.iter().for_each(|token| text.extend(token.0));
            (method, text)
        }
        Call::Revoked => {
            params["timestamp"] = time.into();
            ("revoked_subaccounts", format!("revoked_subaccounts{time}").into_bytes())
        }
        Call::Swarm => return ("get_swarm", params),
        Call::Info => return ("info", json!({})),
        Call::Batch(calls) => return ("batch", json!({ "requests": requests(somebody, calls) })),
        Call::Sequence(calls) => return ("sequence", json!({ "requests": requests(somebody, calls) })),
        Call::If { when, then, otherwise } => {
            let conditions: Map<_, _> = when.iter().map(condition).collect();
            let mut all = json!({ "if": conditions });
            for (name, branch) in [("then", then), ("else", otherwise)] {
                if let Some(branch) = branch {
                    let (method, params) = self::params(somebody, &branch.0, branch.1);
                    all[name] = json!({ "method": method, "params": params });
                }
            }
            return ("ifelse", all);
        }
        Call::Elsewhere(_) | Call::Often(_) => panic!("it is asked in another way"),
    };
    sign(somebody, by, &mut params, text);
    (method, params)
}

/// A condition as such a client writes it.
fn condition(condition: &Condition) -> (String, Value) {
    let (name, than) = match condition {
        Condition::RulesAtLeast(rules) => ("hf_at_least", json!(rules)),
        Condition::RulesBefore(rules) => ("hf_before", json!(rules)),
        Condition::VersionAtLeast(version) => ("v_at_least", json!(version)),
        Condition::VersionBefore(version) => ("v_before", json!(version)),
        Condition::HeightAtLeast(height) => ("height_at_least", json!(height)),
        Condition::HeightBefore(height) => ("height_before", json!(height)),
    };
    (name.to_owned(), than)
}

/// The parameters of as many conditions within each other, and of a request within those.
fn nested(deep: usize) -> Value {
    let condition = |inner: Value, _| json!({ "method": "ifelse", "params": { "if": { "height_at_least": 0 }, "then": inner } });
    (0..deep).fold(json!({ "method": "info" }), condition)["params"].take()
}

fn requests(somebody: &Somebody, calls: &[(Call, By)]) -> Vec<Value> {
    let one = |(call, by): &(Call, By)| {
        let (method, params) = params(somebody, call, *by);
        json!({ "method": method, "params": params })
    };
    calls.iter().map(one).collect()
}

fn sign(somebody: &Somebody, by: By, params: &mut Value, text: Vec<u8>) {
    let stranger = KeyPair::from_seed(&[0x77; 32]);
    let sub = |rights: u8, token: Token, owner: &KeyPair| {
        let signature = somebody.sub(rights).sign(&text);
        (signature, Some((token, owner.sign(&token.0))))
    };
    let (signature, subaccount) = match by {
        By::Nobody => return,
        By::Owner | By::OwnerAt(_) => (somebody.pair.sign(&text), None),
        By::Stranger => (stranger.sign(&text), None),
        By::Sub(rights) => sub(rights, somebody.token(rights), &somebody.pair),
        By::SubOfOthers(rights) => {
            let kind = somebody.id.as_bytes()[0] ^ 0xf0;
            sub(rights, Token::new(kind, Rights(rights), &somebody.sub(rights).public()), &somebody.pair)
        }
        By::SubOfStranger(rights) => sub(rights, somebody.token(rights), &stranger),
    };
    params["signature"] = BASE64.encode(&signature.0).into();
    if !somebody.id.shows_key() {
        params["pubkey_ed25519"] = HEXLOWER.encode(&somebody.pair.public()).into();
    }
    if let Some((token, signature)) = subaccount {
        params["subaccount"] = BASE64.encode(&token.0).into();
        params["subaccount_sig"] = BASE64.encode(&signature.0).into();
    }
}

/// Reads an answer, and checks what each member signed.
fn read(somebody: &Somebody, call: &Call, params: &Value, status: u16, body: &Value) -> Got {
    if status != 200 {
        return Got::Refused(status);
    }
    let members = || body["swarm"].as_object().unwrap();
    match call {
        Call::Store { at, .. } => {
            let hash = somebody.hash(*at).to_string();
            assert_eq!(body["hash"], hash.as_str());
            signed_by_majority(members(), |said| {
                assert_eq!(said["hash"], hash.as_str());
                assert!(said["expiry"].as_u64().unwrap() > moment(0));
                hash.clone().into_bytes()
            });
            Got::Stored { already: body["already"] == true }
        }
        Call::Retrieve { namespace, .. } => {
            let text = |message: &Value| {
                let data = BASE64.decode(message["data"].as_str().unwrap().as_bytes()).unwrap();
                let hash = MessageHash::of(&somebody.id, session_protocols::Namespace(*namespace), &data);
                assert_eq!(message["hash"], hash.to_string().as_str());
                assert!(message["expiration"].as_u64().unwrap() > message["timestamp"].as_u64().unwrap());
                String::from_utf8(data).unwrap()
            };
            let messages = body["messages"].as_array().unwrap();
            Got::Messages(messages.iter().map(text).collect(), body["more"] == true)
        }
        Call::Monitor { .. } => panic!("there is no watching at this door: {body}"),
        Call::Delete { .. } => {
            let asked = strings(&params["messages"]).concat();
            let account = somebody.id.to_string();
            Got::Changed(changed(members(), "deleted", |deleted, _| {
                format!("{account}{asked}{}", deleted.concat())
            }))
        }
        Call::DeleteIn { before, .. } => {
            let time = &params[if before.is_some() { "before" } else { "timestamp" }];
            let account = somebody.id.to_string();
            Got::Changed(changed(members(), "deleted", |deleted, _| {
                format!("{account}{time}{}", deleted.concat())
            }))
        }
        Call::Expire { ends: wanted, only, .. } => {
            let named = strings(&params["messages"]);
            let (asked, account) = (named.concat(), somebody.id.to_string());
            // Thirty days from now at most.
            let capped = |offset: i64| steps(offset.min(30 * 86_400_000));
            let end = |end: &Value| steps_to(end.as_u64().unwrap());
            Got::Changed(changed(members(), "updated", |updated, said| {
                let ends = match &said["expiry"] {
                    Value::Array(ends) => {
                        assert_eq!(ends.len(), updated.len(), "an end of each that was changed: {said}");
                        for (hash, found) in updated.iter().zip(ends) {
                            let place = named.iter().position(|name| name == hash).unwrap();
                            assert_eq!(end(found), capped(wanted[place]), "{said}");
                        }
                        ends.iter().map(Value::to_string).collect()
                    }
                    one => {
                        assert_eq!(end(one), capped(wanted[0]), "{said}");
                        one.to_string()
                    }
                };
                let unchanged = said.get("unchanged").map(|unchanged| {
                    let unchanged: BTreeMap<_, _> = unchanged.as_object().unwrap().iter().collect();
                    unchanged.iter().map(|(hash, end)| format!("{hash}{end}")).collect::<String>()
                });
                assert_eq!(unchanged.is_some(), only.is_some(), "unchanged is told with a direction");
                format!("{account}{ends}{asked}{}{}", updated.concat(), unchanged.unwrap_or_default())
            }))
        }
        Call::ExpireIn { end, .. } => {
            let account = somebody.id.to_string();
            Got::Changed(changed(members(), "updated", |updated, said| {
                assert_eq!(steps_to(said["expiry"].as_u64().unwrap()), steps(*end), "{said}");
                format!("{account}{}{}", said["expiry"], updated.concat())
            }))
        }
        Call::Expiries { .. } => {
            let end = |(hash, end): (&String, &Value)| {
                (hash.parse::<MessageHash>().unwrap(), steps_to(end.as_u64().unwrap()))
            };
            let mut ends: Vec<_> = body["expiries"].as_object().unwrap().iter().map(end).collect();
            ends.sort_unstable();
            Got::Expiries(ends)
        }
        Call::Revoke { rights, undo } => {
            let mut text = format!("{}{}", somebody.id, params["timestamp"]).into_bytes();
            rights.iter().for_each(|rights| text.extend(somebody.token(*rights).0));
            let mut counts = Vec::new();
            signed_by_majority(members(), |said| {
                counts.extend(said["count"].as_u64());
                text.clone()
            });
            if *undo { Got::Count(counts[0] as usize) } else { Got::Count(rights.len()) }
        }
        Call::Revoked => {
            let token = |text: &String| Token(BASE64.decode(text.as_bytes()).unwrap().try_into().unwrap());
            Got::Revoked(strings(&body["revoked_subaccounts"]).iter().map(token).collect())
        }
        Call::Swarm => {
            assert!(body["swarm"].is_string());
            Got::Swarm(body["snodes"].as_array().unwrap().len())
        }
        Call::Info => {
            assert_eq!(body["version"].as_array().unwrap().len(), 3);
            assert!(body["timestamp"].is_u64());
            Got::Info
        }
        Call::Batch(calls) | Call::Sequence(calls) => {
            let (results, requests) =
                (body["results"].as_array().unwrap(), params["requests"].as_array().unwrap());
            let one = |((result, request), (call, _)): ((&Value, &Value), &(Call, By))| {
                let status = u16::try_from(result["code"].as_u64().unwrap()).unwrap();
                read(somebody, call, &request["params"], status, &result["body"])
            };
            Got::Several(results.iter().zip(requests).zip(calls).map(one).collect())
        }
        Call::If { then, otherwise, .. } => {
            let condition = body["condition"] == true;
            assert_eq!((body["v"].as_array().unwrap().len(), body["height"].is_u64()), (3, true));
            let (name, chosen) = if condition { ("then", then) } else { ("else", otherwise) };
            let got = chosen.as_ref().map(|chosen| {
                let status = u16::try_from(body["result"]["code"].as_u64().unwrap()).unwrap();
                Box::new(read(somebody, &chosen.0, &params[name]["params"], status, &body["result"]["body"]))
            });
            assert_eq!(body.get("result").is_some(), got.is_some());
            Got::Chosen(condition, got)
        }
        Call::Elsewhere(_) | Call::Often(_) => panic!("it is asked in another way"),
    }
}

/// The hashes that a majority lists under `name`, each member's word checked against its signature.
fn changed(
    members: &Map<String, Value>,
    name: &str,
    text: impl Fn(&[String], &Value) -> String,
) -> Vec<MessageHash> {
    let mut counts = BTreeMap::<String, usize>::new();
    signed_by_majority(members, |said| {
        // Of all drawers they are listed by drawer, and signed in the order of all.
        let mut listed = match &said[name] {
            Value::Object(drawers) => drawers.values().flat_map(strings).collect(),
            listed => strings(listed),
        };
        listed.sort_unstable();
        listed.iter().for_each(|hash| *counts.entry(hash.clone()).or_default() += 1);
        text(&listed, said).into_bytes()
    });
    let most = counts.into_iter().filter(|(_, count)| 2 * count > members.len());
    let mut hashes: Vec<MessageHash> = most.map(|(hash, _)| hash.parse().unwrap()).collect();
    hashes.sort_unstable();
    hashes
}

/// Checks every member's signature over what `text` says of it, and that a majority has signed.
fn signed_by_majority(members: &Map<String, Value>, mut text: impl FnMut(&Value) -> Vec<u8>) {
    let mut signed = 0;
    for (node, said) in members {
        if said["failed"] == true {
            continue;
        }
        let node: NodeId = node.parse().unwrap();
        let signature = BASE64.decode(said["signature"].as_str().unwrap().as_bytes()).unwrap();
        let signature = Signature(signature.try_into().unwrap());
        assert!(identity::verify(node.as_bytes(), &text(said), &signature), "{node} did not sign {said}");
        signed += 1;
    }
    assert!(2 * signed > members.len(), "{signed} of {} have signed", members.len());
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}
