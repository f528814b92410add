//! The door for the clients that exist: the JSON that they send over HTTPS, in their own formats.
//!
//! - [`mod@parse`]: what they ask, read once
//! - [`mod@render`]: what they are answered
//! - [`onion`]: their requests through three hops
//! - [`nodes`]: the list of nodes, as they ask for it
//! - [`names`]: names, as they ask for them
//! - [`text`]: JSON, read within bounds

#[cfg(any(test, feature = "test-utils"))]
pub mod fuzz;
pub mod names;
pub mod nodes;
pub mod onion;
pub mod parse;
pub mod render;
pub mod text;

pub use parse::{Call, parse};
pub use render::render;

/// The longest request, in bytes: what an HTTP body or a layer of an onion request may have.
pub const MAX_REQUEST: usize = 10 << 20;

/// What a request is answered with: a status, as HTTP numbers them, and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status: 200 to 599.
    pub status: u16,
    /// What is said.
    pub body: Body,
}

/// What HTTP calls a sentence, and what is sealed.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The body of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// JSON, written out.
    Json(Vec<u8>),
    /// A plain sentence: how most refusals are told.
    Text(String),
    /// Bytes: as they are over HTTP, a text in base64 where they stand within JSON.
    Bytes(Vec<u8>),
}

impl Reply {
    /// A reply in JSON.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self { status, body: Body::Json(value.to_string().into_bytes()) }
    }

    /// A plain sentence.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, body: Body::Text(text.into()) }
    }
}

impl Body {
    /// How many bytes HTTP carries.
    pub const fn len(&self) -> usize {
        match self {
            Self::Json(bytes) | Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, as HTTP carries them.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Json(bytes) | Self::Bytes(bytes) => bytes,
            Self::Text(text) => text.into_bytes(),
        }
    }

    /// What HTTP calls them.
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Text(_) => TEXT,
            Self::Bytes(_) => "application/octet-stream",
        }
    }
}
