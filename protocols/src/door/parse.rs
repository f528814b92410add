//! Requests of the JSON door, read once: into the storage requests that every door serves, and the few
//! that are this door's own.
//!
//! Unknown parameters are ignored. What is signed is what the client wrote, so the texts of signatures are
//! built from what was read here (see [`Form::Text`]).

use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE as HEX};
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::{Map, Value};

use super::{
    Reply,
    nodes::Asked,
    text::{self, Unread},
};
use crate::{
    AccountId, MessageHash, Namespace, Signature,
    answer::MAX_PAGE_JSON,
    identity::AccountKind,
    message::MAX_DATA,
    request::{
        Auth, Condition, Delete, Direction, Drawers, Ends, Expire, Form, GetExpiries, GetRevoked,
        MAX_CONDITIONS_JSON, MAX_HASHES, MAX_REQUESTS, MAX_TOKENS, MAX_TOKENS_BACK, Request, Retrieve,
        Revoke, Store, Subaccount, TOLERANCE, Token, Which,
    },
};

/// What a client of the JSON door asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A storage request.
    Storage(Box<Request>),
    /// Those nodes of the network: see [`super::nodes::service_nodes`].
    Nodes(Box<Asked>),
    /// All nodes in 51 bytes each.
    ActiveNodes,
    /// The account of the name with this hash: see [`super::names::resolved`].
    Name([u8; 32]),
    /// All of these; one that cannot be read fails alone.
    Batch(Vec<Result<Self, Reply>>),
    /// These one after the other, up to the first that fails.
    Sequence(Vec<Result<Self, Reply>>),
    /// One thing or another.
    If {
        /// All have to hold.
        when: Vec<Condition>,
        /// What to do then.
        then: Option<Box<Self>>,
        /// What to do else.
        otherwise: Option<Box<Self>>,
    },
}

/// Reads `{"method", "params"}`; `now` in milliseconds since 1970.
///
/// # Errors
///
/// What to answer instead.
pub fn parse(body: &[u8], now: u64) -> Result<Call, Reply> {
    let body = text::read(body).map_err(|unread| match unread {
        Unread::Invalid => bad("invalid json"),
        Unread::TooMuch => Reply::text(413, "the request holds too many values"),
    })?;
    let body = body.as_object().ok_or_else(|| bad("invalid json"))?;
    let method = body.get("method").and_then(Value::as_str).ok_or_else(|| bad("missing method"))?;
    read(method, body.get("params").unwrap_or(&Value::Null), now)
}

/// Reads the parameters of a method.
///
/// # Errors
///
/// What to answer instead.
pub fn read(method: &str, params: &Value, now: u64) -> Result<Call, Reply> {
    call(method, params, now, MAX_CONDITIONS_JSON)
}

fn call(method: &str, params: &Value, now: u64, depth: usize) -> Result<Call, Reply> {
    let nothing = Map::new();
    let params = match params {
        Value::Object(params) => params,
        Value::Null => &nothing,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(bad("invalid json: params is not an object"));
        }
    };
    match method {
        "batch" => Ok(Call::Batch(several(params, now)?)),
        "sequence" => Ok(Call::Sequence(several(params, now)?)),
        "ifelse" => choice(params, now, depth),
        _ => single(method, params, now),
    }
}

/// Reads a method that is none of several.
fn single(method: &str, params: &Map<String, Value>, now: u64) -> Result<Call, Reply> {
    let from = Params { params, now };
    let request = match method {
        "store" => Request::Store(from.store()?),
        "retrieve" => Request::Retrieve(from.retrieve()?),
        "delete" => Request::Delete(from.delete()?),
        "delete_all" => Request::Delete(from.delete_in(None)?),
        "delete_before" => {
            let before = from.time("before")?;
            if before > now.saturating_add(TOLERANCE.as_millis()) {
                return Err(Reply::text(401, "delete_before: before is too far in the future"));
            }
            Request::Delete(from.delete_in(Some(before))?)
        }
        "expire" => Request::Expire(from.expire()?),
        "expire_all" => Request::Expire(from.expire_all()?),
        "get_expiries" => Request::GetExpiries(from.get_expiries()?),
        "revoke_subaccount" => Request::Revoke(from.revoke("revoke", false)?),
        "unrevoke_subaccount" => Request::Revoke(from.revoke("unrevoke", true)?),
        "revoked_subaccounts" => {
            let account = from.account(&["pubkey"])?;
            Request::GetRevoked(GetRevoked {
                account,
                auth: from.auth(&account, Some(from.time("timestamp")?))?,
            })
        }
        "get_swarm" | "get_snodes_for_pubkey" => {
            Request::GetSwarm { account: from.account(&["pubkey", "pubKey"])? }
        }
        "info" => Request::Info,
        "active_nodes_bin" => return Ok(Call::ActiveNodes),
        "oxend_request" => return from.oxend(),
        _ => return Err(bad(&format!("no such method: {method}"))),
    };
    Ok(Call::Storage(Box::new(request)))
}

fn several(params: &Map<String, Value>, now: u64) -> Result<Vec<Result<Call, Reply>>, Reply> {
    let requests = params.get("requests").and_then(Value::as_array);
    let requests = requests.ok_or_else(|| bad("missing parameter requests"))?;
    if !(1..=MAX_REQUESTS).contains(&requests.len()) {
        return Err(bad("a batch holds 1 to 20 requests"));
    }
    let nothing: Map<String, Value> = Map::new();
    let one = |request: &Value| -> Result<Call, Reply> {
        let request = request.as_object().ok_or_else(|| bad("a request is not an object"))?;
        let method = request.get("method").and_then(Value::as_str).ok_or_else(|| bad("missing method"))?;
        let params: &Map<_, _> = match request.get("params") {
            None | Some(Value::Null) => &nothing,
            Some(Value::Object(params)) => params,
            Some(_) => return Err(bad("invalid json: params is not an object")),
        };
        match method {
            "batch" | "sequence" | "ifelse" => Err(bad("requests of a batch cannot be several themselves")),
            _ => single(method, params, now),
        }
    };
    Ok(requests.iter().map(one).collect())
}

fn choice(params: &Map<String, Value>, now: u64, depth: usize) -> Result<Call, Reply> {
    let depth = depth.checked_sub(1).ok_or_else(|| bad("conditions are nested too deep"))?;
    let conditions =
        params.get("if").and_then(Value::as_object).ok_or_else(|| bad("missing parameter if"))?;
    let mut when = Vec::new();
    for (name, value) in conditions {
        // One that says nothing is none.
        if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        when.push(match name.as_str() {
            "hf_at_least" => Condition::RulesAtLeast(version(value)?),
            "hf_before" => Condition::RulesBefore(version(value)?),
            "v_at_least" => Condition::VersionAtLeast(version(value)?),
            "v_before" => Condition::VersionBefore(version(value)?),
            "height_at_least" => Condition::HeightAtLeast(number(value, name)?),
            "height_before" => Condition::HeightBefore(number(value, name)?),
            _ => continue,
        });
    }
    if when.is_empty() {
        return Err(bad("ifelse needs a condition"));
    }
    let branch = |name| match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(inner)) => {
            let method = inner.get("method").and_then(Value::as_str).ok_or_else(|| bad("missing method"))?;
            call(method, inner.get("params").unwrap_or(&Value::Null), now, depth)
                .map(|call| Some(Box::new(call)))
        }
        Some(_) => Err(bad("then and else are requests")),
    };
    let (then, otherwise) = (branch("then")?, branch("else")?);
    if then.is_none() && otherwise.is_none() {
        return Err(bad("ifelse needs then or else"));
    }
    Ok(Call::If { when, then, otherwise })
}

/// The parameters of one request.
struct Params<'a> {
    params: &'a Map<String, Value>,
    now: u64,
}

impl Params<'_> {
    fn store(&self) -> Result<Store, Reply> {
        let account = self.account(&["pubkey", "pubKey"])?;
        let data = self.get("data").and_then(Value::as_str).ok_or_else(|| missing("data"))?;
        let data = base64(data).ok_or_else(|| invalid("data"))?;
        if data.len() > MAX_DATA {
            return Err(Reply::text(
                413,
                format!("message body exceeds maximum allowed length of {MAX_DATA} bytes"),
            ));
        }
        let timestamp = moment(self.lenient("timestamp")?.ok_or_else(|| missing("timestamp"))?, "timestamp")?;
        let expiry = match (self.lenient("ttl")?, self.lenient("expiry")?) {
            (Some(ttl), None) => timestamp.saturating_add(ttl),
            (None, Some(expiry)) => moment(expiry, "expiry")?,
            _ => return Err(bad("store needs ttl or expiry")),
        };
        let namespace = self.namespace()?;
        let signed = self.has("signature");
        let auth = if signed {
            let time = match self.get("sig_timestamp") {
                Some(_) => self.time("sig_timestamp")?,
                None => timestamp,
            };
            Some(self.auth(&account, Some(time))?)
        } else {
            None
        };
        Ok(Store { account, namespace, timestamp, expiry, data: ByteBuf::from(data), auth })
    }

    fn retrieve(&self) -> Result<Retrieve, Reply> {
        let account = self.account(&["pubkey", "pubKey"])?;
        let namespace = self.namespace()?;
        let last = ["last_hash", "lastHash"].into_iter().find_map(|name| self.get(name));
        let last = match last.map(|last| last.as_str().ok_or_else(|| invalid("last_hash"))).transpose()? {
            None | Some("") => None,
            // One that is no message's hash is unknown: all that there is comes after it.
            Some(last) => match hash(last)? {
                (hash, 0) => Some(hash),
                (_, _) => None,
            },
        };
        let max_count = match self.get("max_count") {
            None => None,
            Some(count) => {
                let count = count.as_i64().ok_or_else(|| invalid("max_count"))?;
                u32::try_from(count).ok().filter(|count| *count > 0)
            }
        };
        // A share of the most that is given, where it is negative; a fifth where nothing is said, not even a count. To
        // say 0 of either is to say nothing.
        let most = MAX_PAGE_JSON as u64;
        let size = match self.get("max_size") {
            None => 0,
            Some(size) => size.as_i64().ok_or_else(|| invalid("max_size"))?,
        };
        let size = match size {
            0 if max_count.is_some() => most,
            0 => most / 5,
            share @ i64::MIN..=-1 => most.checked_div(share.unsigned_abs()).unwrap_or(most),
            size => size.unsigned_abs(),
        };
        let max_size = Some(u32::try_from(size).unwrap_or(u32::MAX));
        let auth = if self.has("signature") {
            Some(self.auth(&account, Some(self.time("timestamp")?))?)
        } else {
            None
        };
        Ok(Retrieve { account, namespace, after: None, last, max_count, max_size, ids: None, auth })
    }

    fn delete(&self) -> Result<Delete, Reply> {
        let account = self.account(&["pubkey"])?;
        let (hashes, form) = self.messages()?;
        let (which, required) = (Which::Hashes(hashes), self.flag("required")?);
        let auth = Auth { form, ..self.auth(&account, None)? };
        Ok(Delete { account, which, required, auth })
    }

    fn delete_in(&self, before: Option<u64>) -> Result<Delete, Reply> {
        let account = self.account(&["pubkey"])?;
        let which = Which::In { drawers: self.drawers()?, before, most: None };
        let time = if before.is_some() { None } else { Some(self.time("timestamp")?) };
        Ok(Delete { account, which, required: false, auth: self.auth(&account, time)? })
    }

    fn expire(&self) -> Result<Expire, Reply> {
        let account = self.account(&["pubkey"])?;
        let (hashes, form) = self.messages()?;
        let ends = match self.get("expiry") {
            Some(Value::Array(ends)) if ends.len() != 1 => {
                let ends: Vec<_> = ends.iter().map(|end| number(end, "expiry")).collect::<Result<_, _>>()?;
                if ends.len() != hashes.len() {
                    return Err(bad("expiry has to be one number, or one for each message"));
                }
                Ends::Each(ends)
            }
            // A list of one is for all, as one that is in no list.
            Some(Value::Array(ends)) => Ends::All(number(ends.first().unwrap_or(&Value::Null), "expiry")?),
            Some(end) => Ends::All(moment(number(end, "expiry")?, "expiry")?),
            None => return Err(missing("expiry")),
        };
        let only = match (self.flag("shorten")?, self.flag("extend")?) {
            (false, false) => None,
            (true, false) => Some(Direction::Shorten),
            (false, true) => Some(Direction::Extend),
            (true, true) => return Err(bad("shorten and extend exclude each other")),
        };
        let earliest = match &ends {
            Ends::All(end) => *end,
            Ends::Each(ends) => ends.iter().copied().min().unwrap_or_default(),
        };
        if earliest <= self.now {
            return Err(Reply::text(401, "expire: the expiry is in the past"));
        }
        let auth = Auth { form, ..self.auth(&account, None)? };
        Ok(Expire { account, which: Which::Hashes(hashes), ends, only, auth })
    }

    fn expire_all(&self) -> Result<Expire, Reply> {
        let account = self.account(&["pubkey"])?;
        let end = self.time("expiry")?;
        if end <= self.now {
            return Err(Reply::text(406, "expire_all: the expiry is in the past, check your clock"));
        }
        let which = Which::In { drawers: self.drawers()?, before: None, most: None };
        Ok(Expire { account, which, ends: Ends::All(end), only: None, auth: self.auth(&account, None)? })
    }

    fn get_expiries(&self) -> Result<GetExpiries, Reply> {
        let account = self.account(&["pubkey"])?;
        let all = |value: &Value| value.as_str() == Some("all");
        let every = match self.get("messages") {
            Some(Value::Array(messages)) => messages.len() == 1 && messages.iter().all(all),
            Some(messages) => all(messages),
            None => false,
        };
        let (hashes, form) = if every {
            (None, Form::text())
        } else {
            let (hashes, form) = self.messages()?;
            (Some(hashes), form)
        };
        let auth = Auth { form, ..self.auth(&account, Some(self.time("timestamp")?))? };
        Ok(GetExpiries { account, hashes, auth })
    }

    fn revoke(&self, name: &str, undo: bool) -> Result<Revoke, Reply> {
        let account = self.account(&["pubkey"])?;
        let one_of = |value: &Value| token(value).ok_or_else(|| invalid(name));
        let tokens = match self.get(name) {
            Some(Value::Array(tokens)) => tokens.iter().map(one_of).collect::<Result<Vec<_>, _>>()?,
            Some(one) => vec![one_of(one)?],
            None => return Err(missing(name)),
        };
        let most = if undo { MAX_TOKENS_BACK } else { MAX_TOKENS };
        if tokens.is_empty() || tokens.len() > most {
            return Err(bad(&format!("{name} takes 1 to {most} subaccounts")));
        }
        Ok(Revoke { account, tokens, undo, auth: self.auth(&account, Some(self.time("timestamp")?))? })
    }

    fn oxend(&self) -> Result<Call, Reply> {
        let endpoint = self.get("endpoint").and_then(Value::as_str).ok_or_else(|| missing("endpoint"))?;
        let nothing = Map::new();
        let inner = match self.get("params") {
            None | Some(Value::Null) => &nothing,
            Some(Value::Object(params)) => params,
            Some(_) => return Err(invalid("params")),
        };
        match endpoint {
            "get_service_nodes" => Ok(Call::Nodes(Box::new(Asked::of(inner)))),
            "ons_resolve" => {
                // Wallets and relays are numbers 1 and 2, and have no names of that kind here.
                if inner.get("type").and_then(Value::as_u64) != Some(0) {
                    return Err(bad("ons_resolve: type has to be 0"));
                }
                let hash =
                    inner.get("name_hash").and_then(Value::as_str).ok_or_else(|| missing("name_hash"))?;
                let bytes = HEX.decode(hash.as_bytes()).ok().or_else(|| base64(hash));
                bytes
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Call::Name)
                    .ok_or_else(|| invalid("name_hash"))
            }
            _ => Err(bad(&format!("endpoint {endpoint} is not offered"))),
        }
    }

    /// The proof of who asks; `time` is when it was signed, if what is signed says so.
    fn auth(&self, account: &AccountId, time: Option<u64>) -> Result<Auth, Reply> {
        let signature = self.get("signature").ok_or_else(|| Reply::text(401, "a signature is required"))?;
        let signature = signature_of(signature).ok_or_else(|| invalid("signature"))?;
        let key = match self.get("pubkey_ed25519") {
            None | Some(Value::Null) => None,
            Some(key) => {
                if account.kind() != AccountKind::Person {
                    return Err(bad("pubkey_ed25519 is only for accounts that begin with 05"));
                }
                let bytes = key.as_str().and_then(|key| HEX.decode(key.as_bytes()).ok());
                let bytes: [u8; 32] =
                    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| invalid("pubkey_ed25519"))?;
                Some(ByteArray::new(bytes))
            }
        };
        // An empty one is none, as an empty hash is.
        let named = self.get("subaccount").filter(|token| token.as_str() != Some(""));
        let subaccount = match (named, self.get("subaccount_sig")) {
            (None, _) => None,
            (Some(named), Some(signature)) => {
                let token = token(named).ok_or_else(|| invalid("subaccount"))?;
                let signature = signature_of(signature).ok_or_else(|| invalid("subaccount_sig"))?;
                Some(Subaccount { token, signature })
            }
            (Some(_), None) => return Err(bad("subaccount and subaccount_sig go together")),
        };
        Ok(Auth { key, time: time.unwrap_or(self.now), signature, subaccount, form: Form::text() })
    }

    fn account(&self, names: &[&str]) -> Result<AccountId, Reply> {
        let account = names.iter().find_map(|name| self.get(name)).ok_or_else(|| missing("pubkey"))?;
        let account = account.as_str().and_then(|account| account.parse().ok());
        account.ok_or_else(|| bad("pubkey must be 66 hex digits"))
    }

    fn namespace(&self) -> Result<Namespace, Reply> {
        match self.get("namespace") {
            None => Ok(Namespace::INBOX),
            Some(namespace) => {
                let number = namespace.as_i64().and_then(|number| i16::try_from(number).ok());
                number.map(Namespace).ok_or_else(|| invalid("namespace"))
            }
        }
    }

    fn drawers(&self) -> Result<Drawers, Reply> {
        match self.get("namespace").and_then(Value::as_str) {
            Some("all") => Ok(Drawers::All),
            _ => self.namespace().map(Drawers::One),
        }
    }

    /// Hashes, and the form that keeps how they are spelt.
    fn messages(&self) -> Result<(Vec<MessageHash>, Form), Reply> {
        let messages = match self.get("messages") {
            Some(Value::Array(messages)) => messages.as_slice(),
            // One may be written without a list, as a token may.
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            Some(_) | None => return Err(missing("messages")),
        };
        if messages.is_empty() {
            return Err(bad("messages is empty"));
        }
        if messages.len() > MAX_HASHES {
            return Err(Reply::text(413, format!("at most {MAX_HASHES} messages at a time")));
        }
        let one = |one: &Value| hash(one.as_str().ok_or_else(|| invalid("messages"))?);
        let spelt: Vec<_> = messages.iter().map(one).collect::<Result<_, _>>()?;
        let (hashes, mut spare): (Vec<_>, Vec<_>) = spelt.into_iter().unzip();
        if spare.iter().all(|spare| *spare == 0) {
            spare.clear();
        }
        Ok((hashes, Form::Text { received: None, spare }))
    }

    fn flag(&self, name: &str) -> Result<bool, Reply> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(invalid(name)),
        }
    }

    fn time(&self, name: &str) -> Result<u64, Reply> {
        moment(number(self.get(name).ok_or_else(|| missing(name))?, name)?, name)
    }

    /// A number that may be written as a text.
    fn lenient(&self, name: &str) -> Result<Option<u64>, Reply> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| invalid(name)),
            Some(value) => number(value, name).map(Some),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.params.get(name).filter(|value| !value.is_null())
    }
}

fn signature_of(value: &Value) -> Option<Signature> {
    let bytes = base64(value.as_str()?)?;
    bytes.try_into().ok().map(Signature)
}

/// A subaccount's token, in base64 or in hex.
fn token(value: &Value) -> Option<Token> {
    let text = value.as_str()?;
    let bytes = base64(text).filter(|bytes| bytes.len() == Token::LEN);
    let bytes = bytes.or_else(|| HEX.decode(text.as_bytes()).ok())?;
    bytes.try_into().ok().map(Token)
}

fn hash(text: &str) -> Result<(MessageHash, u8), Reply> {
    MessageHash::spelt(text).map_err(|_| bad("a message hash is 43 characters of unpadded base64"))
}

/// Base64 with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let bare = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    BASE64_NOPAD.decode(bare.as_bytes()).ok()
}

/// A version; what is not said of it is 0, and its first number may stand alone.
fn version<const N: usize>(value: &Value) -> Result<[u64; N], Reply> {
    let numbers = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    let mut version = [0; N];
    for (to, from) in version.iter_mut().zip(numbers) {
        *to = number(from, "version")?;
    }
    Ok(version)
}

fn number(value: &Value, name: &str) -> Result<u64, Reply> {
    value.as_u64().ok_or_else(|| invalid(name))
}

/// A moment in milliseconds since 1970: what can only be seconds is refused.
fn moment(time: u64, name: &str) -> Result<u64, Reply> {
    const LEAST: u64 = 1_000_000_000;
    if time < LEAST { Err(bad(&format!("{name} must be in milliseconds"))) } else { Ok(time) }
}

fn bad(text: &str) -> Reply {
    Reply::text(400, text)
}

fn missing(name: &str) -> Reply {
    bad(&format!("missing parameter {name}"))
}

fn invalid(name: &str) -> Reply {
    bad(&format!("invalid parameter {name}"))
}
