//! What a node tells others of where it listens.

use session_protocols::{Prefix, directory::Endpoint};

/// What to do about addresses outside the declared prefix.
const OUTSIDE: &str = "listen within it, or let the node leave and register a new one from there";

/// Which addresses others are told: those within the prefix that the node declared. Nobody would believe others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// The prefix; none while the node is not registered.
    pub(crate) prefix: Option<Prefix>,
    /// Those that are told.
    pub(crate) inside: Vec<Endpoint>,
    /// Those that the operator named, and that lie elsewhere.
    pub(crate) outside: Vec<Endpoint>,
}

impl Announced {
    /// What is announced of where a node listens, and what its operator named in vain.
    pub(super) fn new(prefix: Option<Prefix>, listening: Vec<Endpoint>, named: &[Endpoint]) -> Self {
        let covers = |one: &Endpoint| prefix.is_some_and(|prefix| prefix.covers(one.ip));
        let (inside, mut outside): (Vec<_>, Vec<_>) = listening.into_iter().partition(covers);
        // Not what comes of listening everywhere.
        outside.retain(|one| prefix.is_some() && named.iter().any(|named| named.ip == one.ip));
        Self { prefix, inside, outside }
    }

    /// Whether others can reach the node, and what is told of it.
    pub(crate) fn told(&self) -> (bool, String) {
        let list =
            |endpoints: &[Endpoint]| endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let Some(prefix) = self.prefix else {
            return (true, "announced once the node is registered".into());
        };
        if self.inside.is_empty() {
            let named = if self.outside.is_empty() { "none".into() } else { list(&self.outside) };
            let told = format!(
                "the node listens on no address within {prefix}, the prefix that it declared, so nobody is told where \
                 it is (it has {named}): {OUTSIDE}"
            );
            return (false, told);
        }
        let mut told = list(&self.inside);
        if !self.outside.is_empty() {
            told += &format!("; not told, as outside {prefix}: {}: {OUTSIDE}", list(&self.outside));
        }
        (true, told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_the_declared_prefix_is_told_with_what_to_do() {
        let [inside, elsewhere, loopback] =
            ["/ip4/203.0.113.7/tcp/1", "/ip4/198.51.100.7/tcp/1", "/ip4/127.0.0.1/tcp/1"]
                .map(|text| text.parse::<Endpoint>().unwrap());
        let everywhere: Endpoint = "/ip4/0.0.0.0/tcp/1".parse().unwrap();
        let prefix = Some(Prefix::of(inside.ip));
        let (ok, told) = Announced::new(None, vec![elsewhere], &[elsewhere]).told();
        assert!(ok && told.contains("once the node is registered"), "{told}");
        // Whoever listens everywhere does not mean each address of the machine.
        let all = Announced::new(prefix, vec![loopback, inside, elsewhere], &[everywhere]);
        assert_eq!(all.told(), (true, "/ip4/203.0.113.7/tcp/1".into()));
        let (ok, told) = Announced::new(prefix, vec![inside, elsewhere], &[inside, elsewhere]).told();
        let named = "outside 203.0.113.0/24: /ip4/198.51.100.7/tcp/1: listen within it";
        assert!(ok && told.contains(named), "{told}");
        for named in [elsewhere, everywhere] {
            let (ok, told) = Announced::new(prefix, vec![loopback, elsewhere], &[named]).told();
            assert!(!ok && told.contains("no address within 203.0.113.0/24"), "{told}");
        }
    }
}
