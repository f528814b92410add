use proptest::prelude::*;
use serde_json::json;

use super::{
    wrap::{Answer, Hop, Question, pack, wrap},
    *,
};

const STAMP: Stamp = Stamp { time: 1_700_000_000_000, rules: [22, 0] };

fn pair(at: u8) -> KeyPair {
    KeyPair::from_seed(&[3 + at; 32])
}

fn key(at: u8) -> DoorKey {
    DoorKey::of(&pair(at)).unwrap()
}

fn hops(ciphers: [Cipher; 4]) -> Vec<Hop> {
    let hop = |(at, cipher)| {
        let at = u8::try_from(at).unwrap();
        Hop { node: pair(at).node_id(), cipher, secret: [0x50 + at; 32], nonce: [0x60 + at; NONCE] }
    };
    ciphers.into_iter().enumerate().map(hop).collect()
}

/// Takes a packet through the hops and their destination.
fn pass(packet: &[u8]) -> (Vec<u8>, Back) {
    let mut layer = Layer::read(packet).unwrap();
    for at in 0..3 {
        let (step, _) = layer.open(&key(at)).unwrap();
        let Step::Forward { to, layer: next } = step else { panic!("{step:?}") };
        assert_eq!(to, pair(at + 1).node_id());
        layer = next;
    }
    let (Step::Deliver(request), back) = layer.open(&key(3)).unwrap() else { panic!("not delivered") };
    (request, back)
}

fn sealed(cipher: Cipher, question: &Question<'_>) -> (Layer, Answer) {
    let hop = Hop { node: pair(0).node_id(), cipher, secret: [9; 32], nonce: [8; NONCE] };
    let (packet, answer) = wrap(&[hop], question).unwrap();
    (Layer::read(&packet).unwrap(), answer)
}

fn cipher() -> impl Strategy<Value = Cipher> {
    prop_oneof![Just(Cipher::AesGcm), Just(Cipher::XChaCha20)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_wrapped_arrives_and_what_is_sealed_opens(
        ciphers in proptest::array::uniform4(cipher()),
        body in proptest::collection::vec(any::<u8>(), 0..2_000),
        json: bool,
        base64: bool,
        status in 200_u16..600,
        text: String,
    ) {
        let (packet, answer) = wrap(&hops(ciphers), &Question::request(&body, json, base64)).unwrap();
        let (request, back) = pass(&packet);
        prop_assert_eq!(request, body);
        let reply = Reply::json(status, &json!({ "said": text }));
        let opened = answer.open(&back.seal(&reply, STAMP, [7; NONCE]), base64).unwrap();
        let said = json!({ "said": text });
        let said = if json { said } else { said.to_string().into() };
        prop_assert_eq!(opened, json!({ "status": status, "body": said }));
    }

    #[test]
    fn any_bit_that_is_changed_in_a_layer_or_an_answer_is_noticed(
        cipher in cipher(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        place: proptest::sample::Index,
        bit in 0_u8..8,
    ) {
        let (layer, answer) = sealed(cipher, &Question::request(&body, true, false));
        let mut spoilt = layer.clone();
        let at = place.index(spoilt.sealed.len());
        spoilt.sealed[at] ^= 1 << bit;
        prop_assert!(matches!(spoilt.open(&key(0)), Err(Refusal::Sealed)));
        let (_, back) = layer.open(&key(0)).unwrap();
        let mut seal = back.seal(&Reply::text(200, "as it is"), STAMP, [7; NONCE]);
        prop_assert!(answer.open(&seal, false).is_some());
        let at = place.index(seal.len());
        seal[at] ^= 1 << bit;
        prop_assert!(answer.open(&seal, false).is_none());
    }

    #[test]
    fn any_bit_of_the_clients_key_counts(cipher in cipher(), at in 0_usize..32, bit in 0_u8..8) {
        let (mut layer, _) = sealed(cipher, &Question::request(b"{}", true, false));
        layer.ephemeral[at] ^= 1 << bit;
        let opened = layer.open(&key(0));
        // X25519 reads 255 bits; the short cipher's key is made of the secret alone.
        if (at, bit, cipher) == (31, 7, Cipher::AesGcm) {
            prop_assert!(opened.is_ok());
        } else {
            prop_assert!(matches!(opened, Err(Refusal::Sealed)));
        }
    }
}

/// What `vectors/door_onion.json` says, made from the code: the keys, all that travels, and the answer.
fn vectors() -> Vec<Value> {
    let request = r#"{"method":"info","params":{}}"#;
    let reply = Reply::json(200, &json!({ "t": 1_700_000_000_000_u64, "hf": [22, 0] }));
    let gcm = Cipher::AesGcm;
    let cha = Cipher::XChaCha20;
    let one = |(name, ciphers, json, base64): (&str, [Cipher; 4], bool, bool)| {
        let hops = hops(ciphers);
        let (packet, answer) = wrap(&hops, &Question::request(request.as_bytes(), json, base64)).unwrap();
        let (delivered, back) = pass(&packet);
        assert_eq!(delivered, request.as_bytes());
        let sealed = back.seal(&reply, STAMP, [0x70; NONCE]);
        assert!(answer.open(&sealed, base64).is_some());
        let hops: Vec<_> = hops
            .iter()
            .zip(0..)
            .map(|(hop, at)| {
                json!({
                    "cipher": hop.cipher.name(),
                    "client_secret": HEX.encode(&hop.secret),
                    "node": hop.node,
                    "node_seed": HEX.encode(&[3 + at; 32]),
                    "node_x25519": HEX.encode(key(at).public()),
                    "nonce": HEX.encode(&hop.nonce[..hop.cipher.nonce()]),
                })
            })
            .collect();
        json!({
            "answer": HEX.encode(&sealed),
            "answer_nonce": HEX.encode(&[0x70; NONCE][..ciphers[3].nonce()]),
            "answer_text": String::from_utf8_lossy(&serde_json::to_vec(&answer.open(&sealed, base64)).unwrap()),
            "base64": base64,
            "hops": hops,
            "json": json,
            "name": name,
            "packet": HEX.encode(&packet),
            "request": request,
        })
    };
    let all = [
        ("aes-gcm, JSON as it is", [gcm; 4], true, false),
        ("aes-gcm, a string in base64", [gcm; 4], false, true),
        ("xchacha20, JSON as it is", [cha; 4], true, false),
        ("xchacha20, JSON in base64", [cha; 4], true, true),
        ("both, JSON as it is", [gcm, cha, gcm, cha], true, false),
    ];
    all.into_iter().map(one).collect()
}

#[test]
fn packets_and_answers_are_those_of_the_vectors() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/door_onion.json");
    let lines: Vec<_> = vectors().iter().map(|entry| format!("  {entry}")).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    #[expect(clippy::disallowed_methods, reason = "whoever runs the test says so")]
    let bless = std::env::var_os("BLESS").is_some();
    if bless {
        std::fs::write(&path, &text).unwrap();
    }
    // Compared as values: in which order keys are written depends on what others switch on.
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), committed, "BLESS=1 writes them anew");
}

#[test]
fn text_and_sealed_forms_are_as_the_client_asked() {
    for cipher in [Cipher::AesGcm, Cipher::XChaCha20] {
        let question = Question { body: b"{}", head: json!({ "headers": {} }) };
        let (layer, answer) = sealed(cipher, &question);
        let (step, back) = layer.open(&key(0)).unwrap();
        assert_eq!(step, Step::Deliver(b"{}".to_vec()));
        // Where nothing is said: a string, in base64.
        let reply = Reply::json(421, &json!({ "a": 1 }));
        let answered = answer.open(&back.seal(&reply, STAMP, [1; NONCE]), true);
        assert_eq!(answered, Some(json!({ "status": 421, "body": "{\"a\":1}" })));
        let (layer, answer) = sealed(cipher, &Question::request(b"", true, false));
        let (_, back) = layer.open(&key(0)).unwrap();
        let reply = Reply::text(404, "a \"word\"\n");
        let answered = answer.open(&back.seal(&reply, STAMP, [1; NONCE]), false);
        let expected = json!({ "status": 404, "body": "a \"word\"\n", "t": STAMP.time, "hf": STAMP.rules });
        assert_eq!(answered, Some(expected), "text is never taken for JSON, and has the time beside it");
    }
}

#[test]
fn secrets_that_everybody_knows_are_refused() {
    // All points of small order, and those that are read as one of them (RFC 7748, libsodium's list).
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        for cipher in [Cipher::AesGcm, Cipher::XChaCha20] {
            // Sealed with the secret that such a key makes.
            let secret = [0; 32];
            let shared = match cipher {
                Cipher::AesGcm => {
                    let loki = hmac::Key::new(hmac::HMAC_SHA256, b"LOKI");
                    hmac::sign(&loki, &secret).as_ref().try_into().unwrap()
                }
                Cipher::XChaCha20 => blake2b(&[&secret, &hex(point).unwrap(), key(0).public()]),
            };
            let mut sealed =
                [[5; NONCE][..cipher.nonce()].to_vec(), pack(b"{}", &json!({ "headers": "" }))].concat();
            seal(cipher, &shared, &mut sealed);
            let layer = Layer { sealed, ephemeral: hex(point).unwrap(), cipher };
            assert!(matches!(layer.open(&key(0)), Err(Refusal::Sealed)), "{point}");
        }
    }
}

#[test]
fn only_ciphers_that_authenticate_are_read() {
    let ephemeral_key = HEX.encode(&[9; 32]);
    let read = |enc_type: Value| {
        let mut head = json!({ "ephemeral_key": ephemeral_key, "hop_no": 99, "odd": [1] });
        head["enc_type"] = enc_type;
        Layer::read(&pack(b"sealed", &head)).map(|layer| layer.cipher).ok()
    };
    for name in ["aes-gcm", "gcm"] {
        assert_eq!(read(name.into()), Some(Cipher::AesGcm));
    }
    for name in ["xchacha20", "xchacha20-poly1305"] {
        assert_eq!(read(name.into()), Some(Cipher::XChaCha20));
    }
    for odd in [json!("aes-cbc"), json!("cbc"), json!(""), json!("AES-GCM"), json!(null), json!(1)] {
        assert_eq!(read(odd.clone()), None, "{odd}");
    }
    let none = json!({ "ephemeral_key": ephemeral_key });
    assert_eq!(Layer::read(&pack(b"", &none)).unwrap().cipher, Cipher::AesGcm);
}

#[test]
fn what_has_not_the_form_is_refused_and_what_is_too_long() {
    let head = json!({ "ephemeral_key": HEX.encode(&[9; 32]) });
    let whole = pack(b"sealed", &head);
    assert!(Layer::read(&whole).is_ok());
    for cut in 0..whole.len() {
        assert!(matches!(Layer::read(&whole[..cut]), Err(Refusal::Form(_))));
    }
    for (bytes, head) in [
        (&b"x"[..], json!({})),
        (b"x", json!([])),
        (b"x", json!({ "ephemeral_key": 1 })),
        (b"x", json!({ "ephemeral_key": "09" })),
        (b"x", json!({ "ephemeral_key": HEX.encode(&[9; 32]), "more": "x".repeat(MAX_HEAD) })),
        (&vec![0; MAX_REQUEST], head),
    ] {
        assert!(
            matches!(Layer::read(&pack(bytes, &head)), Err(Refusal::Form(_))),
            "{}",
            head.to_string().len()
        );
    }
}

#[test]
fn a_layer_between_nodes_is_read_as_it_was_written() {
    let layer = Layer { sealed: vec![7; 99], ephemeral: [9; 32], cipher: Cipher::XChaCha20 };
    let passed = Passed { hops: MAX_HOPS, layer };
    let bytes = passed.encode();
    assert_eq!(bytes[..3], [MAX_HOPS, 1, 9]);
    assert_eq!(Passed::decode(bytes.clone()), Some(passed));
    for len in 0..PASSED {
        assert_eq!(Passed::decode(bytes[..len].to_vec()), None);
    }
    for (at, byte) in [(0, MAX_HOPS + 1), (1, 2)] {
        let mut odd = bytes.clone();
        odd[at] = byte;
        assert_eq!(Passed::decode(odd), None);
    }
    assert_eq!(Passed::decode(vec![0; MAX_PASSED + 1]), None);
    assert!(Passed::decode(vec![0; MAX_PASSED]).is_some());
}

#[test]
fn servers_outside_are_those_that_speak_the_same_protocol() {
    let open = |more: Value| {
        let mut head = json!({ "host": "example.org", "target": "/loki/v3/lsrpc" });
        head.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (layer, _) = sealed(Cipher::XChaCha20, &Question { body: b"for it", head });
        layer.open(&key(0)).map(|(step, _)| step)
    };
    let Ok(Step::Leave { server, body }) = open(json!({})) else { panic!("not for a server") };
    let expected =
        Server { host: "example.org".into(), port: 443, tls: true, target: "/loki/v3/lsrpc".into() };
    assert_eq!(server, expected);
    assert_eq!(split(&body).unwrap().0, b"for it", "the server reads the whole layer");
    let more = json!({ "port": 80, "protocol": "http", "target": "/oxen/v4/lsrpc", "method": "POST" });
    let Ok(Step::Leave { server, .. }) = open(more) else { panic!("not for a server") };
    assert_eq!((server.port, server.tls), (80, false));
    for target in [
        "/",
        "/loki/lsrpc",
        "/loki//lsrpc",
        "/loki/v3/lsrpc?a",
        "/x/v3/lsrpc",
        "/loki/v3/lsrpc/",
        "/loki/../a/lsrpc",
    ] {
        assert!(matches!(open(json!({ "target": target })), Err(Refusal::Url(_))), "{target}");
    }
    for host in ["", "user@example.org", "example.org/x", "example.org\r\n"] {
        assert!(matches!(open(json!({ "host": host })), Err(Refusal::Url(_))), "{host}");
    }
    for odd in [
        json!({ "port": 0 }),
        json!({ "port": 65_536 }),
        json!({ "protocol": "ftp" }),
        json!({ "method": "GET" }),
    ] {
        assert!(matches!(open(odd.clone()), Err(Refusal::Content(_))), "{odd}");
    }
}

#[test]
fn a_refusal_is_sealed_where_there_is_a_key_and_plain_where_there_is_none() {
    let (layer, answer) = sealed(Cipher::AesGcm, &Question { body: b"", head: json!({}) });
    let refused = layer.clone().open(&key(0)).unwrap_err().reply(STAMP, [1; NONCE]).unwrap_err();
    let expected = json!({ "status": 400, "body": "Invalid json", "t": STAMP.time, "hf": STAMP.rules });
    assert_eq!(answer.open(&refused, true), Some(expected));
    let refused = layer.open(&key(1)).unwrap_err().reply(STAMP, [1; NONCE]);
    assert_eq!(refused, Ok(Reply::text(400, "Invalid ciphertext")));
}
