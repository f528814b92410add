//! Takes out of texts what is nobody's business: secrets that are known, and in logs whatever looks like an id, a
//! hash, a key or somebody's address.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use session_protocols::directory::Endpoint;
use zeroize::Zeroizing;

use crate::doctor::gather::Gathered;

/// What stands in the place of what was taken out.
const HIDDEN: &str = "<hidden>";
/// What is shorter is no secret, and stands in many texts by chance.
const LEAST: usize = 8;
/// From so many characters on a word is no word of a log, but an id, a hash or a key.
const LONG: usize = 24;

pub(super) struct Redactor {
    secrets: Vec<Zeroizing<String>>,
    /// Ids of nodes, which all may know.
    nodes: BTreeSet<String>,
    /// Where they are.
    places: BTreeSet<IpAddr>,
}

impl Redactor {
    pub(super) fn new(gathered: &Gathered) -> Self {
        let mut secrets = gathered.secrets.clone();
        let settings = gathered.effective.iter().map(|effective| effective.settings());
        let urls = settings.flat_map(|settings| settings.rpc.iter().map(|url| url.0.as_str()));
        let described = gathered.network.iter().filter_map(|network| network.settlement.as_ref());
        let described = described.flat_map(|settlement| settlement.rpc.iter().map(String::as_str));
        secrets.extend(urls.chain(described).flat_map(secrets_of));
        secrets.retain(|secret| secret.len() >= LEAST);
        // One that is a part of another leaves nothing of that behind.
        secrets.sort_by_key(|secret| core::cmp::Reverse(secret.len()));
        let described = gathered.network.iter().flat_map(|network| &network.nodes);
        let endpoints = described.clone().flat_map(|node| &node.addresses);
        let endpoints = endpoints.filter_map(|address| address.parse::<Endpoint>().ok());
        let own = gathered.facts.announced.iter().map(|(endpoint, _)| *endpoint);
        Self {
            secrets,
            nodes: described
                .map(|node| node.id.to_string())
                .chain(gathered.facts.keys.id.iter().cloned())
                .collect(),
            places: endpoints.chain(own).map(|endpoint| endpoint.ip).collect(),
        }
    }

    /// A text without the secrets that are known.
    pub(super) fn scrub(&self, text: &str) -> String {
        let without = |text: String, secret: &Zeroizing<String>| text.replace(secret.as_str(), HIDDEN);
        self.secrets.iter().fold(text.to_owned(), without)
    }

    /// A line of a log without what looks like anybody's.
    pub(super) fn line(&self, line: &str) -> String {
        let line = self.scrub(&hosts(line));
        let line = runs(
            &line,
            |c| c.is_ascii_alphanumeric() || "+/_-".contains(c),
            |run| {
                let telling = run.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase());
                run.len() >= LONG && telling && !self.nodes.contains(run)
            },
        );
        let line = runs(
            &line,
            |c| c.is_ascii_digit() || c == '.',
            |run| run.trim_matches('.').parse::<Ipv4Addr>().is_ok_and(|ip| self.is_strange(ip.into())),
        );
        runs(
            &line,
            |c| c.is_ascii_alphanumeric() || ":._".contains(c),
            |run| {
                let parsed = run.parse::<Ipv6Addr>();
                let parsed = parsed.or_else(|_| run.trim_end_matches([':', '.']).parse::<Ipv6Addr>());
                parsed.is_ok_and(|ip: Ipv6Addr| self.is_strange(ip.into()))
            },
        )
    }

    fn is_strange(&self, ip: IpAddr) -> bool {
        !(ip.is_loopback() || ip.is_unspecified() || self.places.contains(&ip))
    }
}

/// A text in which those of the longest runs of some characters that are `hidden` were replaced.
fn runs(text: &str, within: impl Fn(char) -> bool, hidden: impl Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(&within) {
        let (before, from) = rest.split_at(begin);
        let (run, after) = from.split_at(from.find(|c: char| !within(c)).unwrap_or(from.len()));
        out += before;
        out += if hidden(run) { HIDDEN } else { run };
        rest = after;
    }
    out + rest
}

/// A text in which of each URL its scheme and host are left.
fn hosts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("://") {
        let ends = |c: char| c.is_whitespace() || "\"'`<>".contains(c);
        let (url, after) = from.split_at(from.find(ends).unwrap_or(from.len()));
        out += before;
        out += "://";
        out += apart(url).1;
        rest = after;
    }
    out + rest
}

/// A URL's scheme and host, with its port.
pub(super) fn host_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    format!("{scheme}://{}", apart(rest).1)
}

/// What of a URL may be a key: who asks, and each part behind the host.
fn secrets_of(url: &str) -> Vec<Zeroizing<String>> {
    let (user, _, tail) = apart(url.split_once("://").map_or(url, |(_, rest)| rest));
    let parts = user.split(':').chain(tail.split(['/', '?', '#', '&', '=']));
    parts.map(|part| Zeroizing::new(part.to_owned())).collect()
}

/// What stands behind a URL's scheme: the user, the host, and the rest.
fn apart(rest: &str) -> (&str, &str, &str) {
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    (user, host, tail)
}
