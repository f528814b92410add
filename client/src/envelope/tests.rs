//! Golden vectors, and what readers must refuse.
//!
//! The vectors were made with libsodium: by the account `session` for the account `love`, with an
//! ephemeral secret of 32 sevens.

use std::sync::LazyLock;

use data_encoding::HEXLOWER as HEX;
use proptest::prelude::*;
use prost::Message;
use session_protocols::{AccountId, message::MAX_DATA};
use zeroize::Zeroizing;

use super::{
    DirectMessage, Kind, OpenError, Reference, SealError, open,
    padding::pad,
    seal,
    seal::{content, seal_content, seal_signed, sign, wrap},
    wire,
};
use crate::account::Account;

mod money;

const TEXT: &str = "Hello \u{1f44b} \u{645}\u{631}\u{62d}\u{628}\u{627}";
const TIME: u64 = 1_700_000_000_000;

/// The content: text and time.
const CONTENT: &str = "\
    0a170a1548656c6c6f20f09f918b20d985d8b1d8add8a8d8a77880d095ffbc31\
";
/// The padded content, the sender's key and the signature.
const SIGNED: &str = "\
    0a170a1548656c6c6f20f09f918b20d985d8b1d8add8a8d8a77880d095ffbc3180000000000000000000000000000000\
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    00000000000000000000000000000049461c19429cf1adf05f60d70836ef7f2c41d4e286b47b45d74a30cf07d2d98828\
    306548d353672ed7332894f233be35c3f19527b457baa9d05eb17abcde1083d3928913d569381fa2d9fd39b508c34e2a\
    906a03f2bbe66e02ce3171693faa09\
";
/// What a node stores.
const DATA: &str = "\
    080112d6020a03505554120f2f6170692f76312f6d6573736167651abb0208062880d095ffbc3142af0213be4feaeaf2\
    04c7fd3358fc9c00721881d174278128227ec674f37f7fe97b6d80307045db457ab0889179391c984b313a3a6d010ea0\
    868d00a3b97b09a6431d44b07a0a88ca07a4c64d299b5ea2e43b14dea673c527f44a5d670e03b9a2d402f1fe7cfb4758\
    3eedaca9d7db219d6a3b5db72efa8f5f512164acc328ec6811c4587329d931e78e5d9d57951993034c6db186f8c7167f\
    bd2e062db4ac3e7bf5828590f0c0bf98864aa7e7f547703c913f0ea02814e061674e3dc99d41ad5da4a6577ca31064c3\
    fe54a3aac71663ef9f78f1e728c6b735626d2bfdbc7a0e76b127640bffcd38b82a1b4c0b1eb4c3398c74158c80969450\
    81ce22605711205148ce5d29eddbda6db5ee9bbc92002903c4ce21f1922e53a51db77474e292dbd7bc184ad1aa9bcdc7\
    9ab2b83c5af0960b052000\
";

fn bytes(hex: &str) -> Vec<u8> {
    HEX.decode(hex.as_bytes()).unwrap()
}

fn account(word: &str) -> Account {
    Account::from_phrase(&[word; 13].join(" ")).unwrap()
}

fn alice() -> &'static Account {
    static ALICE: LazyLock<Account> = LazyLock::new(|| account("session"));
    &ALICE
}

fn bob() -> &'static Account {
    static BOB: LazyLock<Account> = LazyLock::new(|| account("love"));
    &BOB
}

fn ephemeral() -> Zeroizing<[u8; 32]> {
    Zeroizing::new([7; 32])
}

/// Seals what Alice made of these layers to Bob.
fn sealed_for_bob(signed: &[u8]) -> Vec<u8> {
    wrap(seal_signed(&bob().id(), signed, ephemeral()).unwrap(), TIME)
}

/// Bob opens a content from Alice.
fn bob_reads(content: &wire::Content) -> Result<DirectMessage, OpenError> {
    let content = content.encode_to_vec();
    open(bob(), &seal_content(alice(), &bob().id(), content, TIME, ephemeral()).unwrap())
}

fn plain(text: &str) -> DirectMessage {
    DirectMessage {
        from: alice().id(),
        timestamp_ms: TIME,
        sync_target: None,
        kind: Kind::Data,
        text: Some(text.to_owned()),
        display_name: None,
        wallet: None,
        attachments: vec![],
        previews: vec![],
        quote: None,
        reaction: None,
    }
}

#[test]
fn every_layer_is_written_as_the_vector() {
    let content = content(&TEXT.into(), TIME, None);
    assert_eq!(HEX.encode(&content), CONTENT);
    let signed = sign(alice(), &bob().id(), pad(content.clone()));
    assert_eq!(HEX.encode(&signed), SIGNED);
    let data = seal_content(alice(), &bob().id(), content, TIME, ephemeral()).unwrap();
    assert_eq!(HEX.encode(&data), DATA);
}

#[test]
fn the_vector_opens() {
    assert_eq!(open(bob(), &bytes(DATA)), Ok(plain(TEXT)));
}

#[test]
fn texts_come_back_and_two_seals_differ() {
    for text in [
        "x",
        TEXT,
        "\u{202e}\u{5e9}\u{5dc}\u{5d5}\u{5dd} abc\u{202c}\n\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    ] {
        let data = seal(alice(), &bob().id(), text, TIME, None).unwrap();
        assert_eq!(open(bob(), &data), Ok(plain(text)));
        assert_ne!(seal(alice(), &bob().id(), text, TIME, None).unwrap(), data);
    }
    let empty = seal(alice(), &bob().id(), "", TIME, None).unwrap();
    assert_eq!(open(bob(), &empty).unwrap().text, None);
}

#[test]
fn a_flipped_byte_is_refused_or_changes_nothing() {
    let data = bytes(DATA);
    let ciphertext = seal_signed(&bob().id(), &bytes(SIGNED), ephemeral()).unwrap();
    let start = data.windows(ciphertext.len()).position(|part| part == ciphertext).unwrap();
    let sealed = start..start + ciphertext.len();
    for at in 0..data.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut flipped = data.clone();
            flipped[at] ^= flip;
            let opened = open(bob(), &flipped);
            if sealed.contains(&at) {
                assert_eq!(opened, Err(OpenError::Sealed), "byte {at}");
            } else if let Ok(message) = opened {
                assert_eq!(message, plain(TEXT), "byte {at}");
            }
        }
    }
}

#[test]
fn a_flipped_byte_inside_the_seal_is_refused() {
    let signed = bytes(SIGNED);
    for at in 0..signed.len() {
        let mut flipped = signed.clone();
        flipped[at] ^= 1;
        assert_eq!(open(bob(), &sealed_for_bob(&flipped)), Err(OpenError::Signature), "byte {at}");
    }
}

#[test]
fn every_shortened_message_is_refused() {
    let data = bytes(DATA);
    for length in 0..data.len() - 2 {
        open(bob(), &data[..length]).unwrap_err();
    }
}

#[test]
fn a_message_for_another_is_refused() {
    assert_eq!(open(alice(), &bytes(DATA)), Err(OpenError::Sealed));
}

#[test]
fn a_message_passed_on_is_not_from_its_sender() {
    // Bob seals what Alice signed for him to somebody else: her signature names Bob.
    let carol = account("abbey");
    let data = wrap(seal_signed(&carol.id(), &bytes(SIGNED), ephemeral()).unwrap(), TIME);
    assert_eq!(open(&carol, &data), Err(OpenError::Signature));
}

#[test]
fn a_key_that_signs_anything_is_refused() {
    // The neutral element as sender, and a signature that the lax equation accepts.
    let mut signed = pad(content(&"hi".into(), TIME, None));
    signed.extend([1].into_iter().chain([0; 31]));
    signed.extend([1].into_iter().chain([0; 63]));
    assert_eq!(open(bob(), &sealed_for_bob(&signed)), Err(OpenError::Signature));
}

#[test]
fn other_types_are_refused() {
    let mut outer = wire::WebSocketMessage::decode(&bytes(DATA)[..]).unwrap();
    let mut request = outer.request.clone().unwrap();
    let mut envelope = wire::Envelope::decode(&request.body[..]).unwrap();
    envelope.kind = 7;
    request.body = envelope.encode_to_vec();
    outer.request = Some(request);
    let error = open(bob(), &outer.encode_to_vec()).unwrap_err();
    assert_eq!(error, OpenError::Type { layer: "envelope", found: 7, expected: 6 });
    assert_eq!(error.to_string(), "the envelope has type 7, a direct message has 6");

    outer.kind = 2;
    let error = open(bob(), &outer.encode_to_vec());
    assert_eq!(error, Err(OpenError::Type { layer: "outer layer", found: 2, expected: 1 }));

    let empty = wire::WebSocketMessage { kind: wire::REQUEST, request: None };
    assert_eq!(open(bob(), &empty.encode_to_vec()), Err(OpenError::Missing("envelope")));
    assert_eq!(open(bob(), &wrap(vec![], TIME)), Err(OpenError::Sealed));
    assert_eq!(open(bob(), &sealed_for_bob(&[0; 95])), Err(OpenError::TooShort));
    assert_eq!(open(bob(), &vec![0; MAX_DATA + 1]), Err(OpenError::TooLong { bytes: MAX_DATA + 1 }));
}

#[test]
fn broken_padding_is_refused() {
    for padded in [vec![0; 159], content(&"hi".into(), TIME, None)] {
        let data = sealed_for_bob(&sign(alice(), &bob().id(), padded));
        assert_eq!(open(bob(), &data), Err(OpenError::Padding));
    }
}

#[test]
fn padding_to_whole_steps_is_read() {
    let mut padded = pad(content(&TEXT.into(), TIME, None));
    padded.push(0);
    assert_eq!(open(bob(), &sealed_for_bob(&sign(alice(), &bob().id(), padded))), Ok(plain(TEXT)));
}

#[test]
fn the_signed_time_counts_before_the_time_of_the_envelope() {
    let mut written = wire::Content::decode(&content(&"hi".into(), 5, None)[..]).unwrap();
    assert_eq!(bob_reads(&written).unwrap().timestamp_ms, 5);
    written.sig_timestamp = None;
    assert_eq!(bob_reads(&written).unwrap().timestamp_ms, TIME);
}

#[test]
fn a_copy_is_for_its_sender_only() {
    let data = seal(alice(), &alice().id(), TEXT, TIME, Some(&bob().id())).unwrap();
    assert_eq!(open(alice(), &data), Ok(DirectMessage { sync_target: Some(bob().id()), ..plain(TEXT) }));

    let error = seal(alice(), &bob().id(), TEXT, TIME, Some(&bob().id()));
    assert_eq!(error, Err(SealError::CopyForAnother(bob().id())));

    // Alice would make Bob believe that Bob has written to somebody.
    let forged = wire::Content::decode(&content(&"hi".into(), TIME, Some(&alice().id()))[..]).unwrap();
    assert!(matches!(bob_reads(&forged), Err(OpenError::Forbidden { from, .. }) if from == alice().id()));
}

#[test]
fn a_message_is_taken_back_by_its_author_only() {
    let unsend = |author: AccountId| wire::Content {
        unsend: Some(wire::Reference { timestamp: 9, author: author.to_string() }),
        ..Default::default()
    };
    let own = Reference { timestamp_ms: 9, author: alice().id() };
    assert_eq!(bob_reads(&unsend(alice().id())).unwrap().kind, Kind::Unsend(own));
    assert!(matches!(bob_reads(&unsend(bob().id())), Err(OpenError::Forbidden { .. })));
}

#[test]
fn what_comes_with_a_message_is_read() {
    let data = wire::DataMessage {
        body: None,
        attachments: vec![wire::AttachmentPointer {
            id: 3,
            content_type: Some("image/png".to_owned()),
            size: Some(541),
            file_name: Some("cat.png".to_owned()),
            url: Some("http://files.example/3".to_owned()),
        }],
        quote: Some(wire::Reference { timestamp: 8, author: bob().id().to_string() }),
        previews: vec![wire::Preview { url: "https://example.org".to_owned(), title: None }],
        reaction: Some(wire::Reaction {
            id: 9,
            author: bob().id().to_string(),
            emoji: Some("\u{1f44d}".to_owned()),
            action: wire::REMOVE,
        }),
        profile: Some(wire::Profile { display_name: Some("Alice".to_owned()), wallet: None }),
        sync_target: None,
    };
    let mut content = wire::Content { data: Some(data), ..Default::default() };
    let message = bob_reads(&content).unwrap();
    assert_eq!(message.text, None);
    assert_eq!(message.display_name.as_deref(), Some("Alice"));
    assert_eq!(message.attachments[0].name.as_deref(), Some("cat.png"));
    assert_eq!(message.attachments[0].size, Some(541));
    assert_eq!(message.previews[0].url, "https://example.org");
    assert_eq!(message.quote, Some(Reference { timestamp_ms: 8, author: bob().id() }));
    let reaction = message.reaction.unwrap();
    assert_eq!((reaction.to.timestamp_ms, &*reaction.emoji, reaction.removed), (9, "\u{1f44d}", true));

    content.data.as_mut().unwrap().quote.as_mut().unwrap().author = "Bob".to_owned();
    assert!(matches!(bob_reads(&content), Err(OpenError::Account { field: "quote", .. })));
    let typing = wire::Content { typing: Some(vec![8, 0]), ..Default::default() };
    assert_eq!(bob_reads(&typing).unwrap().kind, Kind::Typing);
    assert_eq!(bob_reads(&wire::Content::default()).unwrap().kind, Kind::Other);
}

#[test]
fn recipients_without_a_personal_key_are_refused() {
    let group = AccountId::from_bytes([3; 33]);
    assert_eq!(seal(alice(), &group, "hi", TIME, None), Err(SealError::NotAPerson(group)));
    let mut nobody = [0; 33];
    nobody[0] = 5;
    for low in [0, 1] {
        nobody[1] = low;
        let nobody = AccountId::from_bytes(nobody);
        assert_eq!(seal(alice(), &nobody, "hi", TIME, None), Err(SealError::WeakKey(nobody)));
    }
}

#[test]
fn the_longest_text_is_sent_and_a_longer_one_refused() {
    let sent = |length: usize| seal(alice(), &bob().id(), &"x".repeat(length), TIME, None);
    let longest = (76_000..MAX_DATA).rev().find(|length| sent(*length).is_ok()).unwrap();
    let data = sent(longest).unwrap();
    assert!(data.len() <= MAX_DATA && data.len() > MAX_DATA - 160);
    assert_eq!(open(bob(), &data).unwrap().text.unwrap().len(), longest);
    assert!(matches!(sent(longest + 1), Err(SealError::TooLong { bytes }) if bytes > MAX_DATA));
    assert_eq!(sent(1_000_000), Err(SealError::TooLong { bytes: 1_000_000 }));
}

proptest! {
    #[test]
    fn any_text_comes_back(text in ".{1,400}", time: u64, seed: [u8; 16]) {
        let recipient = Account::new(&seed);
        let data = seal(alice(), &recipient.id(), &text, time, None).unwrap();
        prop_assert_eq!(open(&recipient, &data), Ok(DirectMessage { timestamp_ms: time, ..plain(&text) }));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_in_every_layer(bytes: Vec<u8>) {
        open(bob(), &bytes).unwrap_err();
        open(bob(), &wrap(bytes.clone(), TIME)).unwrap_err();
        open(bob(), &sealed_for_bob(&bytes)).unwrap_err();
        let padded = sign(alice(), &bob().id(), bytes.clone());
        let _ = open(bob(), &sealed_for_bob(&padded));
        let _ = open(bob(), &seal_content(alice(), &bob().id(), bytes, TIME, ephemeral()).unwrap());
    }
}
