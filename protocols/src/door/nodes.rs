//! The list of nodes, in the forms in which clients ask for it.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::{Map, Value, json};

use super::{
    Reply,
    text::{self, Unread},
};
use crate::{NodeId, SwarmId, identity::to_x25519};

/// The nodes that clients are told of, and what they are told, written out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// In the order of their ids.
    nodes: Vec<DoorNode>,
    /// Of each its fields in the order of [`FIELDS`], as they stand in an object of JSON.
    said: Vec<[String; FIELDS.len()]>,
    /// How long that is.
    bytes: usize,
    height: u64,
    rules: [u64; 2],
}

impl Listing {
    /// Lists nodes, with the last finalised height of the chain, 0 without one, and the version of the rules that
    /// the network goes by.
    pub fn new(mut nodes: Vec<DoorNode>, height: u64, rules: [u64; 2]) -> Self {
        nodes.sort_by_key(|node| node.id);
        let said = |node: &DoorNode| {
            FIELDS.map(|name| format!("{}:{}", Value::from(name), node.field(name).unwrap_or_default()))
        };
        let said: Vec<_> = nodes.iter().map(said).collect();
        let bytes: usize = said.iter().flatten().map(|field| field.len().saturating_add(2)).sum();
        Self { said, bytes, nodes, height, rules }
    }

    /// The most bytes of an answer about its nodes, beside what stands around them.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The version of the rules that the network goes by.
    pub const fn rules(&self) -> [u64; 2] {
        self.rules
    }

    /// The nodes, in the order of their ids.
    pub fn nodes(&self) -> &[DoorNode] {
        &self.nodes
    }

    /// A node of them.
    pub fn node(&self, id: &NodeId) -> Option<&DoorNode> {
        let place = self.nodes.binary_search_by_key(id, |node| node.id).ok()?;
        self.nodes.get(place)
    }
}

/// A node that clients can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorNode {
    /// Who.
    pub id: NodeId,
    /// What clients seal onion layers to.
    pub x25519: [u8; 32],
    /// Where it is.
    pub ip: IpAddr,
    /// The port of its door: HTTPS over TCP.
    pub https: u16,
    /// The port where it speaks QUIC; 0 where it does not.
    pub quic: u16,
    /// Its swarm; none while it waits for a place.
    pub swarm: Option<SwarmId>,
    /// The version of its software.
    pub version: [u16; 3],
}

impl DoorNode {
    /// A node; its X25519 key follows from its id. None when that is no point of the curve.
    pub fn new(id: NodeId, ip: IpAddr, https: u16) -> Option<Self> {
        let x25519 = to_x25519(id.as_bytes())?;
        Some(Self { id, x25519, ip, https, quic: 0, swarm: None, version: [0; 3] })
    }

    fn field(&self, name: &str) -> Option<Value> {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        Some(match name {
            "service_node_pubkey" | "pubkey_ed25519" => json!(self.id.to_string()),
            "pubkey_x25519" => json!(hex(&self.x25519)),
            "public_ip" => json!(self.ip.to_string()),
            "storage_port" => json!(self.https),
            "storage_lmq_port" => json!(self.quic),
            // Clients in JavaScript read the digits of the number themselves.
            "swarm_id" => json!(self.swarm.map_or(u64::MAX, |swarm| swarm.0)),
            "swarm" => json!(self.swarm.map_or_else(String::new, |swarm| swarm.to_string())),
            "active" => json!(self.swarm.is_some()),
            "funded" => json!(true),
            "storage_server_version" | "service_node_version" => json!(self.version),
            _ => return None,
        })
    }
}

/// The fields that there are.
const FIELDS: [&str; 12] = [
    "service_node_pubkey",
    "pubkey_ed25519",
    "pubkey_x25519",
    "public_ip",
    "storage_port",
    "storage_lmq_port",
    "swarm_id",
    "swarm",
    "active",
    "funded",
    "storage_server_version",
    "service_node_version",
];

/// Which nodes a client asks for, and what of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which of [`FIELDS`].
    fields: [bool; FIELDS.len()],
    /// Those with a place in a swarm alone.
    active_only: bool,
    /// These alone, where any are named.
    wanted: Option<BTreeSet<NodeId>>,
    /// At most so many.
    limit: Option<usize>,
}

impl Asked {
    /// The names of the fields that are asked for.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> {
        FIELDS.into_iter().zip(self.fields).filter_map(|(name, asked)| asked.then_some(name))
    }

    /// How many nodes are asked for; none where all are.
    pub const fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Reads parameters, which may say `fields` (an object of flags, or a list of names; all where it says none),
    /// `limit`, `active_only` and `service_node_pubkeys`; what else they say, and what is of another type, is ignored.
    pub fn of(params: &Map<String, Value>) -> Self {
        let wanted = params.get("service_node_pubkeys").and_then(Value::as_array);
        let wanted = wanted
            .filter(|wanted| !wanted.is_empty())
            .map(|wanted| wanted.iter().filter_map(|key| key.as_str()?.parse::<NodeId>().ok()).collect());
        let limit = params.get("limit").and_then(Value::as_u64).filter(|limit| *limit > 0);
        Self {
            fields: fields(params.get("fields")),
            active_only: params.get("active_only").and_then(Value::as_bool).unwrap_or(false),
            wanted,
            limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        }
    }
}

/// What `get_service_nodes` and `get_n_service_nodes` answer, as JSON: an object with `service_node_states`, `height`,
/// `hardfork` and `status`.
///
/// The nodes come in the order of a shuffle that `seed` decides, so that a limit takes any of them.
pub fn service_nodes(listing: &Listing, asked: &Asked, seed: u64) -> String {
    let Asked { fields, active_only, wanted, limit } = asked;
    let chosen = listing.nodes.iter().zip(&listing.said);
    let chosen = chosen
        .filter(|(node, _)| !*active_only || node.swarm.is_some())
        .filter(|(node, _)| wanted.as_ref().is_none_or(|wanted| wanted.contains(&node.id)));
    let chosen = drawn(chosen.map(|(_, said)| said).collect(), limit.unwrap_or(usize::MAX), seed);
    let [hardfork, _] = listing.rules;
    let mut text = format!(r#"{{"hardfork":{hardfork},"height":{},"service_node_states":["#, listing.height);
    for (place, said) in chosen.into_iter().enumerate() {
        text.push_str(if place == 0 { "{" } else { ",{" });
        let mut first = true;
        for (field, _) in said.iter().zip(fields).filter(|(_, asked)| **asked) {
            if !core::mem::take(&mut first) {
                text.push(',');
            }
            text.push_str(field);
        }
        text.push('}');
    }
    text.push_str(r#"],"status":"OK"}"#);
    text
}

/// What `POST /json_rpc` answers: `get_n_service_nodes` and `get_service_nodes` in the envelope of JSON-RPC.
///
/// The body's length was bounded before.
pub fn json_rpc(body: &[u8], listing: &Listing, seed: u64) -> Reply {
    let said =
        |id: &Value, what: &str, said: &str| format!(r#"{{"id":{id},"jsonrpc":"2.0","{what}":{said}}}"#);
    let failed = |id: &Value, code: i32, message: &str| {
        said(id, "error", &json!({ "code": code, "message": message }).to_string())
    };
    let answer = match text::read(body) {
        Ok(Value::Object(asked)) => {
            let id = asked.get("id").unwrap_or(&Value::Null);
            match asked.get("method").and_then(Value::as_str) {
                Some("get_n_service_nodes" | "get_service_nodes") => {
                    let nothing = Map::new();
                    let params = asked.get("params").and_then(Value::as_object).unwrap_or(&nothing);
                    said(id, "result", &service_nodes(listing, &Asked::of(params), seed))
                }
                Some(_) => failed(id, -32_601, "Method not found"),
                None => failed(id, -32_600, "Invalid Request"),
            }
        }
        Ok(_) => failed(&Value::Null, -32_600, "Invalid Request"),
        Err(Unread::TooMuch) => failed(&Value::Null, -32_600, "Invalid Request: too many values"),
        Err(Unread::Invalid) => failed(&Value::Null, -32_700, "Parse error"),
    };
    Reply { status: 200, body: super::Body::Json(answer.into_bytes()) }
}

/// Which of [`FIELDS`] are asked for.
fn fields(asked: Option<&Value>) -> [bool; FIELDS.len()] {
    let is_asked = |name: &str| match asked {
        Some(Value::Object(flags)) => flags.get(name).and_then(Value::as_bool).unwrap_or(false),
        Some(Value::Array(names)) => names.iter().any(|one| one.as_str() == Some(name)),
        _ => false,
    };
    let named = match asked {
        Some(Value::Object(flags)) => !flags.is_empty(),
        Some(Value::Array(names)) => !names.is_empty(),
        _ => false,
    };
    FIELDS.map(|name| !named || is_asked("all") || is_asked(name))
}

/// Any of them, at most `most`, in an order that nobody prefers.
fn drawn<T>(mut all: Vec<T>, most: usize, seed: u64) -> Vec<T> {
    let most = most.min(all.len());
    let mut state = seed;
    for place in 0..most {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let left = all.len().saturating_sub(place) as u64;
        let other = (mixed ^ (mixed >> 31)).checked_rem(left).unwrap_or_default();
        all.swap(place, place.saturating_add(usize::try_from(other).unwrap_or_default()));
    }
    all.truncate(most);
    all
}

/// What `active_nodes_bin` answers: for each node with a place in a swarm and an IPv4 address 51 bytes, key 32,
/// swarm 8, address 4, HTTPS port 2, QUIC port 2, version 3; numbers big-endian, in the order of the keys.
pub fn active_nodes(listing: &Listing) -> Vec<u8> {
    let mut bytes = Vec::new();
    for node in &listing.nodes {
        let (Some(swarm), IpAddr::V4(ip)) = (node.swarm, node.ip) else { continue };
        bytes.extend(node.id.as_bytes());
        bytes.extend(swarm.0.to_be_bytes());
        bytes.extend(ip.octets());
        bytes.extend(node.https.to_be_bytes());
        bytes.extend(node.quic.to_be_bytes());
        bytes.extend(node.version.map(|part| u8::try_from(part).unwrap_or(u8::MAX)));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyPair, answer::RULES};

    fn nodes() -> Vec<DoorNode> {
        let node = |seed: u8| {
            let id = KeyPair::from_seed(&[seed; 32]).node_id();
            let mut node = DoorNode::new(id, [127, 0, seed, 1].into(), 1_000 + u16::from(seed)).unwrap();
            node.swarm = (seed < 9).then_some(SwarmId(u64::MAX - u64::from(seed)));
            node.version = [2, 11, 300];
            node
        };
        (1..10).map(node).collect()
    }

    fn states(params: &Value, seed: u64) -> Vec<Value> {
        let nothing = Map::new();
        let asked = Asked::of(params.as_object().unwrap_or(&nothing));
        let answer = service_nodes(&Listing::new(nodes(), 7, [23, 1]), &asked, seed);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            (&answer["height"], &answer["hardfork"], &answer["status"]),
            (&json!(7), &json!(23), &json!("OK"))
        );
        answer["service_node_states"].as_array().unwrap().clone()
    }

    #[test]
    fn the_fields_asked_for_are_given_and_no_others() {
        let asked = json!({ "public_ip": true, "storage_port": true, "swarm_id": true, "funded": false, "odd": true });
        for fields in [asked, json!(["public_ip", "storage_port", "swarm_id", "odd"])] {
            let states = states(&json!({ "fields": fields, "service_node_pubkeys": [nodes()[0].id] }), 1);
            let first = json!({ "public_ip": "127.0.1.1", "storage_port": 1_001, "swarm_id": u64::MAX - 1 });
            assert_eq!(states, [first]);
        }
        for all in [json!({}), json!({ "fields": {} }), json!({ "fields": { "all": true } }), json!(null)] {
            for state in states(&all, 1) {
                assert_eq!(state.as_object().unwrap().len(), FIELDS.len());
            }
        }
    }

    #[test]
    fn a_limit_takes_any_of_them_and_those_without_a_swarm_are_left_out_where_that_is_wanted() {
        assert_eq!(states(&json!({ "limit": 0 }), 1).len(), 9);
        assert_eq!(states(&json!({ "limit": 4 }), 1).len(), 4);
        assert_eq!(states(&json!({ "active_only": true, "limit": u64::MAX }), 1).len(), 8);
        assert_eq!(states(&json!({ "limit": "4", "active_only": 1 }), 1).len(), 9, "of another type");
        let first = |seed| states(&json!({ "limit": 1 }), seed)[0]["pubkey_ed25519"].clone();
        let firsts: BTreeSet<_> = (0..100).map(|seed| first(seed).to_string()).collect();
        assert_eq!(firsts.len(), 9);
    }

    #[test]
    fn questions_come_in_an_envelope_whose_id_is_given_back() {
        let listing = Listing::new(nodes(), 7, [23, 1]);
        let answer = |body: &str| {
            let Reply { status: 200, body: super::super::Body::Json(bytes) } =
                json_rpc(body.as_bytes(), &listing, 1)
            else {
                panic!("{body}")
            };
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let asked = r#"{"jsonrpc":"2.0","id":0,"method":"get_n_service_nodes","params":{"fields":{"public_ip":true}}}"#;
        let answered = answer(asked);
        assert_eq!((&answered["id"], &answered["jsonrpc"]), (&json!(0), &json!("2.0")));
        assert_eq!(answered["result"]["service_node_states"].as_array().unwrap().len(), 9);
        assert_eq!(answer(r#"{"method":"get_service_nodes"}"#)["result"]["height"], 7);
        for (odd, code) in [
            ("", -32_700),
            ("[]", -32_600),
            (r#"{"id":"x"}"#, -32_600),
            (r#"{"id":"x","method":"stop_daemon"}"#, -32_601),
        ] {
            assert_eq!(answer(odd)["error"]["code"], code, "{odd}");
        }
        let bomb =
            answer(&format!(r#"{{"method":"get_service_nodes","params":[{}0]}}"#, "0,".repeat(1 << 20)));
        assert_eq!(bomb["error"]["code"], -32_600, "{bomb}");
    }

    #[test]
    fn the_short_form_has_51_bytes_for_each_active_node() {
        let (mut nodes, mut bytes) = (nodes(), Vec::new());
        nodes[1].ip = "::1".parse().unwrap();
        let answer = active_nodes(&Listing::new(nodes.clone(), 0, RULES));
        assert_eq!(answer.len(), 7 * 51);
        bytes.extend(nodes[0].id.as_bytes());
        bytes.extend([
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 127, 0, 1, 1, 0x03, 0xe9, 0, 0, 2, 11, 255,
        ]);
        assert!(answer.chunks(51).any(|chunk| chunk == bytes), "{answer:?}");
        assert!(answer.chunks(51).is_sorted());
    }
}
