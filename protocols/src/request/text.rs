//! What clients of the JSON door sign: plain concatenations of ASCII parts, without separators, domain
//! or network.

use crate::{
    MessageHash, Namespace,
    request::{Direction, Drawers, Ends, Form, Token},
};

/// The bytes of a text, in the making.
#[derive(Clone, Debug)]
pub(super) struct Text(Vec<u8>);

impl Text {
    pub(super) fn new(method: &str) -> Self {
        Self(method.as_bytes().to_vec())
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.part(number.to_string().as_bytes())
    }

    pub(super) fn namespace(self, namespace: Namespace) -> Self {
        self.part(namespace.tag().as_bytes())
    }

    pub(super) fn drawers(self, drawers: Drawers) -> Self {
        match drawers {
            Drawers::One(namespace) => self.namespace(namespace),
            Drawers::All => self.part(b"all"),
        }
    }

    pub(super) fn hashes(self, hashes: &[MessageHash], form: &Form) -> Self {
        form.spell(hashes).iter().fold(self, |text, hash| text.part(hash.as_bytes()))
    }

    pub(super) fn tokens(self, tokens: &[Token]) -> Self {
        tokens.iter().fold(self, |text, token| text.part(&token.0))
    }

    pub(super) fn direction(self, direction: Option<Direction>) -> Self {
        self.part(direction.map_or("", Direction::word).as_bytes())
    }

    pub(super) fn ends(self, ends: &Ends) -> Self {
        match ends {
            Ends::All(end) => self.number(*end),
            Ends::Each(ends) => ends.iter().fold(self, |text, end| text.number(*end)),
        }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }

    fn part(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(part);
        self
    }
}
