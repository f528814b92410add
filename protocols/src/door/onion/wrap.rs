//! The client's side, for tests: all layers at once, and the answer's seal opened.

use data_encoding::{BASE64, HEXLOWER as HEX};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Cipher, DoorKey, NONCE, Side, seal, unseal};
use crate::{NodeId, identity::to_x25519};

/// A node on the way, and what the client draws for it.
#[derive(Clone, Debug)]
pub struct Hop {
    /// The node.
    pub node: NodeId,
    /// How its layer is sealed.
    pub cipher: Cipher,
    /// The client's ephemeral key.
    pub secret: [u8; 32],
    /// The layer's nonce; AES-GCM takes the first half.
    pub nonce: [u8; NONCE],
}

/// What the innermost layer holds.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The bytes.
    pub body: &'a [u8],
    /// The JSON beside them.
    pub head: Value,
}

impl<'a> Question<'a> {
    /// A request for the last node, whose answer comes back in these forms.
    pub fn request(body: &'a [u8], json: bool, base64: bool) -> Self {
        Self { body, head: json!({ "headers": "", "json": json, "base64": base64 }) }
    }
}

/// Opens the answer.
#[derive(Debug)]
pub struct Answer {
    key: Zeroizing<[u8; 32]>,
    cipher: Cipher,
}

/// What is sent to the first hop, and how the answer opens. None where a hop is no point of the curve.
pub fn wrap(hops: &[Hop], question: &Question<'_>) -> Option<(Vec<u8>, Answer)> {
    let mut layer = pack(question.body, &question.head);
    let mut answer = None;
    for (at, hop) in hops.iter().enumerate().rev() {
        let (ephemeral, key) = hop.key()?;
        layer = hop.close(&ephemeral, &key, layer, (at > 0).then_some(hop.node))?;
        answer = answer.or(Some(Answer { key, cipher: hop.cipher }));
    }
    Some((layer, answer?))
}

impl Hop {
    /// The client's key for the layer, and the key that both ends share.
    fn key(&self) -> Option<(DoorKey, Zeroizing<[u8; 32]>)> {
        let ephemeral = DoorKey::from_secret(&self.secret)?;
        let key = ephemeral.shared(&to_x25519(self.node.as_bytes())?, Side::Client, self.cipher)?;
        Some((ephemeral, key))
    }

    /// Seals what a layer holds, for the node to which it is sent, or for the one before it to send it `to` there.
    fn close(
        &self,
        ephemeral: &DoorKey,
        key: &[u8; 32],
        mut layer: Vec<u8>,
        to: Option<NodeId>,
    ) -> Option<Vec<u8>> {
        let mut sealed = self.nonce.get(..self.cipher.nonce())?.to_vec();
        sealed.append(&mut layer);
        seal(self.cipher, key, &mut sealed);
        let (ephemeral_key, enc_type) = (HEX.encode(ephemeral.public()), self.cipher.name());
        Some(match to {
            None => pack(&sealed, &json!({ "ephemeral_key": ephemeral_key, "enc_type": enc_type })),
            Some(to) => {
                let head = json!({ "destination": to, "ephemeral_key": ephemeral_key, "enc_type": enc_type });
                pack(&sealed, &head)
            }
        })
    }
}

/// What is sent to a single node, whose layer holds these bytes and then those: which need be no JSON.
pub fn seal_open(hop: &Hop, bytes: &[u8], head: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let layer = [&len.to_le_bytes(), bytes, head].concat();
    let (ephemeral, key) = hop.key()?;
    hop.close(&ephemeral, &key, layer, None)
}

/// `u32 LE n | n bytes | JSON`.
pub fn pack(bytes: &[u8], head: &Value) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&len.to_le_bytes(), bytes, head.to_string().as_bytes()].concat()
}

impl Answer {
    /// The JSON of status and body. None when it was changed, or is none.
    pub fn open(&self, answer: &[u8], base64: bool) -> Option<Value> {
        let mut sealed = if base64 { BASE64.decode(answer).ok()? } else { answer.to_vec() };
        unseal(self.cipher, &self.key, &mut sealed)?;
        serde_json::from_slice(&sealed).ok()
    }
}
