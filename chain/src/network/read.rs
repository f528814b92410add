//! From a network file's text to its value, keeping places for errors.

use core::{num::NonZeroU64, ops::Range};
use std::collections::BTreeMap;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use session_protocols::{NodeId, Prefix, answer::RULES, directory::Endpoint};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{
    Contracts, Limits, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_BYTES, MAX_HF, MAX_NODES, MAX_RPC, NetworkFile,
    NetworkFileError, NetworkNode, Problem, Publisher, Settlement, TRUST, VERSION, signed,
};

const KEYS: &[&str] =
    &["version", "name", "local", "seed", "hf", "faucet", "limits", "nodes", "settlement", "signature"];
const LIMITS_KEYS: &[&str] = &["disk", "memory", "files", "release"];
const SIGNATURE_KEYS: &[&str] = &["publisher", "signature"];
const SETTLEMENT_KEYS: &[&str] = &[
    "chain",
    "rpc",
    "start",
    "genesis",
    "epoch",
    "lock",
    "trust",
    "written",
    "token",
    "pool",
    "staking",
    "factory",
    "checkpoints",
    "names",
    "vault",
];
const NODE_KEYS: &[&str] = &["id", "operator", "prefix", "addresses", "door", "bls"];

pub(super) fn network(text: &str) -> Result<(NetworkFile, Option<Publisher>), NetworkFileError> {
    let reader = Reader { text };
    if text.len() > MAX_BYTES {
        return Err(reader.error(&(0..0), Problem::TooLong { bytes: text.len() }));
    }
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message().replace('\n', ", ");
        reader.error(&error.span().unwrap_or(0..0), Problem::Syntax { message })
    })?;
    let table = Fields { reader: &reader, table: table.get_ref(), span: 0..0 };
    // First, so that a newer file is not refused for its newer keys.
    table.version()?;
    table.known(KEYS)?;
    // Before anything else of it is believed.
    let publisher = table.optional("signature").map(|item| reader.publisher(item)).transpose()?;
    let name = table.parsed("name", |text| text.parse().map_err(Problem::Name))?;
    let (local, _) = table.get("local", "a boolean", DeValue::as_bool)?;
    let seed = table.parsed("seed", |text| {
        HEX.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(Problem::Seed)
    })?;
    let faucet = table.optional("faucet").map(|item| reader.url("faucet", item)).transpose()?;
    let limits = table.optional("limits").map(|item| reader.limits(item)).transpose()?.unwrap_or_default();
    let hf = table.optional("hf").map_or(Ok(RULES), |item| reader.hf(item))?;
    let (items, span) = table.get("nodes", "an array of tables", DeValue::as_array)?;
    if !(1..=MAX_NODES).contains(&items.len()) {
        return Err(reader.error(&span, Problem::Nodes { found: items.len() }));
    }
    let mut ids: BTreeMap<NodeId, Range<usize>> = BTreeMap::new();
    let mut nodes = Vec::with_capacity(items.len());
    for item in items.iter() {
        let (node, place) = reader.node(item)?;
        if let Some(first) = ids.insert(node.id, place.clone()) {
            let (first, _) = reader.place(first.start);
            return Err(reader.error(&place, Problem::Duplicate { id: node.id, first }));
        }
        nodes.push(node);
    }
    let settlement = match table.optional("settlement") {
        Some(item) => Some(reader.settlement(item, local)?),
        None => None,
    };
    Ok((NetworkFile { name, local, seed, hf, faucet, limits, nodes, settlement }, publisher))
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    /// The line and the column of a byte, both from 1.
    fn place(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
        (line, column)
    }

    fn error(&self, span: &Range<usize>, problem: Problem) -> NetworkFileError {
        let (line, column) = self.place(span.start);
        NetworkFileError { line, column, problem }
    }

    /// The table that a key stands for, with these keys alone.
    fn table<'a>(
        &'a self,
        key: &'static str,
        item: &'a Spanned<DeValue<'a>>,
        known: &'static [&'static str],
    ) -> Result<Fields<'a>, NetworkFileError> {
        let table = item.get_ref().as_table().ok_or_else(|| {
            let found = item.get_ref().type_str();
            self.error(&item.span(), Problem::Type { key, expected: "a table", found })
        })?;
        let fields = Fields { reader: self, table, span: item.span() };
        fields.known(known)?;
        Ok(fields)
    }

    /// The version of the rules: two numbers.
    fn hf(&self, item: &Spanned<DeValue<'_>>) -> Result<[u64; 2], NetworkFileError> {
        let (key, expected) = ("hf", "an array of two integers");
        let refuse = |item: &Spanned<DeValue<'_>>| {
            let found = item.get_ref().type_str();
            self.error(&item.span(), Problem::Type { key, expected, found })
        };
        let parts = item.get_ref().as_array().ok_or_else(|| refuse(item))?;
        let number = |item: &Spanned<DeValue<'_>>| {
            let number = item.get_ref().as_integer().ok_or_else(|| refuse(item))?;
            let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
            let fits = number.filter(|number| *number <= MAX_HF);
            fits.ok_or_else(|| self.error(&item.span(), Problem::Number { key }))
        };
        let numbers = parts.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        numbers.try_into().map_err(|_| self.error(&item.span(), Problem::Pair { key, found: parts.len() }))
    }

    /// Whose signature it is; it has to hold.
    fn publisher(&self, item: &Spanned<DeValue<'_>>) -> Result<Publisher, NetworkFileError> {
        let fields = self.table("signature", item, SIGNATURE_KEYS)?;
        let publisher = fields.parsed("publisher", |text| text.parse().map_err(|_| Problem::Publisher))?;
        let signature = fields.parsed("signature", |text| text.parse().map_err(|_| Problem::Signature))?;
        if signed::holds(self.text, &publisher, &signature) {
            return Ok(publisher);
        }
        Err(self.error(&item.span(), Problem::Unsigned { publisher }))
    }

    fn limits(&self, item: &Spanned<DeValue<'_>>) -> Result<Limits, NetworkFileError> {
        let fields = self.table("limits", item, LIMITS_KEYS)?;
        let of = |key, default| fields.number_or(key, default).map(|(number, _)| number);
        let Limits { disk, memory, files, release } = Limits::default();
        let (disk, memory, files) = (of("disk", disk)?, of("memory", memory)?, of("files", files)?);
        let read = |text: &str| parse_release(text).ok_or(Problem::Release);
        let said = fields.optional("release").map(|_| fields.parsed("release", read)).transpose()?;
        Ok(Limits { disk, memory, files, release: said.unwrap_or(release) })
    }

    fn settlement(&self, item: &Spanned<DeValue<'_>>, local: bool) -> Result<Settlement, NetworkFileError> {
        let fields = self.table("settlement", item, SETTLEMENT_KEYS)?;
        let (items, span) = fields.get("rpc", "an array of strings", DeValue::as_array)?;
        if !(1..=MAX_RPC).contains(&items.len()) {
            return Err(self.error(&span, Problem::Endpoints { found: items.len() }));
        }
        let rpc = items.iter().map(|item| self.url("rpc", item)).collect::<Result<_, _>>()?;
        let (epoch, span) = fields.number("epoch")?;
        let epoch =
            NonZeroU64::new(epoch).ok_or_else(|| self.error(&span, Problem::Number { key: "epoch" }))?;
        let (genesis, lock) = (fields.number("genesis")?.0, fields.number("lock")?.0);
        let (trust, span) = fields.number_or("trust", TRUST)?;
        let (least, most) = (epoch.get().saturating_mul(2), if local { u64::MAX } else { lock });
        if !(least..=most).contains(&trust) {
            return Err(self.error(&span, Problem::Trust { found: trust, least, most }));
        }
        let (written, span) = fields.number_or("written", genesis)?;
        if written < genesis {
            return Err(self.error(&span, Problem::Number { key: "written" }));
        }
        let address = |key| fields.parsed(key, |text| text.parse().map_err(|_| Problem::Contract { key }));
        Ok(Settlement {
            chain: fields.number("chain")?.0,
            rpc,
            start: fields.number("start")?.0,
            genesis,
            epoch,
            lock,
            trust,
            written,
            contracts: Contracts {
                token: address("token")?,
                pool: address("pool")?,
                staking: address("staking")?,
                factory: address("factory")?,
                checkpoints: address("checkpoints")?,
                names: address("names")?,
            },
            vault: fields.optional("vault").map(|_| address("vault")).transpose()?,
        })
    }

    fn url(&self, key: &'static str, item: &Spanned<DeValue<'_>>) -> Result<String, NetworkFileError> {
        let value = item.get_ref();
        let url = value.as_str().ok_or_else(|| {
            let expected = if key == "rpc" { "an array of strings" } else { "a string" };
            let found = value.type_str();
            self.error(&item.span(), Problem::Type { key, expected, found })
        })?;
        // It is shown on terminals, and in pages.
        let fits =
            (1..=MAX_ADDRESS_BYTES).contains(&url.len()) && url.bytes().all(|it| it.is_ascii_graphic());
        if !fits || !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(self.error(&item.span(), Problem::Url { key }));
        }
        Ok(url.to_owned())
    }

    /// One node, and where its id stands.
    fn node(&self, item: &Spanned<DeValue<'_>>) -> Result<(NetworkNode, Range<usize>), NetworkFileError> {
        let table = item.get_ref().as_table().ok_or_else(|| {
            let found = item.get_ref().type_str();
            self.error(&item.span(), Problem::Type { key: "nodes", expected: "an array of tables", found })
        })?;
        let fields = Fields { reader: self, table, span: item.span() };
        fields.known(NODE_KEYS)?;
        let id = fields.parsed("id", |text| text.parse().map_err(Problem::Id))?;
        let operator = fields.parsed("operator", |text| text.parse().map_err(Problem::Operator))?;
        let prefix = fields.parsed("prefix", |text| text.parse().map_err(Problem::Prefix))?;
        let (items, span) = fields.get("addresses", "an array of strings", DeValue::as_array)?;
        if !(1..=MAX_ADDRESSES).contains(&items.len()) {
            return Err(self.error(&span, Problem::Addresses { found: items.len() }));
        }
        let addresses = items.iter().map(|item| self.address(item, prefix)).collect::<Result<_, _>>()?;
        let door = |text: &str| text.parse().map_err(|_| Problem::Door);
        let door = fields.optional("door").map(|_| fields.parsed("door", door)).transpose()?;
        let bls = |text: &str| text.parse().map_err(|_| Problem::Bls);
        let bls = fields.optional("bls").map(|_| fields.parsed("bls", bls)).transpose()?;
        let place = fields.get("id", "a string", DeValue::as_str)?.1;
        Ok((NetworkNode { id, operator, prefix, addresses, door, bls }, place))
    }

    fn address(&self, item: &Spanned<DeValue<'_>>, prefix: Prefix) -> Result<String, NetworkFileError> {
        let value = item.get_ref();
        let address = value.as_str().ok_or_else(|| {
            let (key, expected, found) = ("addresses", "an array of strings", value.type_str());
            self.error(&item.span(), Problem::Type { key, expected, found })
        })?;
        if !(1..=MAX_ADDRESS_BYTES).contains(&address.len()) {
            return Err(self.error(&item.span(), Problem::Address { bytes: address.len() }));
        }
        let endpoint: Endpoint =
            address.parse().map_err(|error| self.error(&item.span(), Problem::Endpoint(error)))?;
        if !prefix.covers(endpoint.ip) {
            return Err(self.error(&item.span(), Problem::Outside { endpoint, prefix }));
        }
        Ok(address.to_owned())
    }
}

/// The three numbers of a release of the software; none where that is not what the text is.
pub fn parse_release(text: &str) -> Option<[u64; 3]> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// A table, and where it stands.
struct Fields<'a> {
    reader: &'a Reader<'a>,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

impl<'a> Fields<'a> {
    fn version(&self) -> Result<(), NetworkFileError> {
        let (version, span) = self.get("version", "an integer", DeValue::as_integer)?;
        if i64::from_str_radix(version.as_str(), version.radix()) == Ok(VERSION) {
            return Ok(());
        }
        Err(self.reader.error(&span, Problem::Version { found: version.to_string() }))
    }

    /// Refuses the first key that is not among `known`.
    fn known(&self, known: &'static [&'static str]) -> Result<(), NetworkFileError> {
        let keys = self.table.iter().map(|(key, _)| key);
        let unknown = keys.filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(first) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let key = first.get_ref().to_string();
        let nearest = nearest(&key, known);
        Err(self.reader.error(&first.span(), Problem::UnknownKey { key, nearest, known }))
    }

    fn optional(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, item)| item)
    }

    /// A number that is not negative, and where it stands.
    fn number(&self, key: &'static str) -> Result<(u64, Range<usize>), NetworkFileError> {
        let (number, span) = self.get(key, "an integer", DeValue::as_integer)?;
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok((number, span)),
            Err(_) => Err(self.reader.error(&span, Problem::Number { key })),
        }
    }

    /// The same where it may be left out; then it stands where the table does.
    fn number_or(&self, key: &'static str, default: u64) -> Result<(u64, Range<usize>), NetworkFileError> {
        if self.optional(key).is_some() { self.number(key) } else { Ok((default, self.span.clone())) }
    }

    fn get<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Result<(T, Range<usize>), NetworkFileError> {
        let item =
            self.optional(key).ok_or_else(|| self.reader.error(&self.span, Problem::Missing { key }))?;
        let found = item.get_ref().type_str();
        let value = read(item.get_ref());
        let value =
            value.ok_or_else(|| self.reader.error(&item.span(), Problem::Type { key, expected, found }))?;
        Ok((value, item.span()))
    }

    fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Result<T, NetworkFileError> {
        let (text, span) = self.get(key, "a string", DeValue::as_str)?;
        parse(text).map_err(|problem| self.reader.error(&span, problem))
    }
}

/// The known key with the fewest edits from `key`, if they change a third of it at most: what was meant, perhaps.
pub fn nearest(key: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let edits = known.iter().map(|known| (strsim::osa_distance(key, known), *known));
    edits.filter(|(edits, known)| *edits <= (known.len() / 3).max(1)).min().map(|(_, known)| known)
}
