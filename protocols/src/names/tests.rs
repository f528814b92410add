//! Names as people write them, and everything else that they might.

use proptest::prelude::*;

use super::*;
use crate::AccountId;
use rules::MAX_LABEL;
use seal::{OpenError, SEALED};
use value::{MAX_TEXT, ValueError};

/// As little as Argon2id does.
fn cheap() -> Cost {
    Cost::other(8, 1)
}

fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> NameError {
    text.parse::<Name>().expect_err(text)
}

fn keys(text: &str) -> NameKeys {
    NameKeys::of(&name(text), cheap()).unwrap()
}

#[test]
fn names_are_folded_to_one_form() {
    for (text, normal) in [
        ("alice", "alice"),
        ("@alice", "alice"),
        ("ALICE", "alice"),
        ("@Shop.Alice", "shop.alice"),
        ("a", "a"),
        ("_a-b_", "_a-b_"),
        ("7", "7"),
        ("a--b", "a--b"),
        ("m\u{fc}ller", "xn--mller-kva"),
        ("M\u{dc}LLER", "xn--mller-kva"),
        ("mu\u{308}ller", "xn--mller-kva"),
        ("XN--MLLER-KVA", "xn--mller-kva"),
        ("stra\u{df}e", "xn--strae-oqa"),
        ("\u{ff21}lice", "alice"),
        ("al\u{ad}ice", "alice"),
        ("shop\u{3002}alice", "shop.alice"),
        ("\u{2603}", "xn--n3h"),
        ("\u{5d0}\u{5d1}", "xn--4dbc"),
    ] {
        assert_eq!(name(text).to_string(), normal, "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    use NameError::*;
    let character = |character, at| Character { character, at };
    for (text, error) in [
        ("", Empty { at: 1 }),
        ("@", Empty { at: 2 }),
        ("shop.", Empty { at: 6 }),
        (".alice", Empty { at: 1 }),
        ("\u{ad}", Empty { at: 1 }),
        ("@@alice", character('@', 2)),
        ("al ice", character(' ', 3)),
        ("@al/ice", character('/', 4)),
        ("shop.al!ce", character('!', 8)),
        ("m\u{fc}ll\u{2028}er", character('\u{2028}', 5)),
        ("\u{2100}b", character('\u{2100}', 1)),
        ("a\u{ff0f}b", character('\u{ff0f}', 2)),
        ("-alice", Hyphen { at: 1 }),
        ("shop.alice-", Hyphen { at: 11 }),
        ("a.shop.alice", TooDeep { labels: 3 }),
        ("xn--", Hyphen { at: 4 }),
        ("xn--a", Punycode { at: 1 }),
        ("a.XN--alice", Punycode { at: 3 }),
        ("xn--mller-kva0", Punycode { at: 1 }),
        ("a\u{5d0}", Together { at: 1 }),
        ("\u{308}a", Together { at: 1 }),
        ("a\u{200d}b", Together { at: 1 }),
    ] {
        assert_eq!(refused(text), error, "{text}");
    }
}

#[test]
fn the_longest_name_has_64_characters_in_ascii() {
    let longest = "a".repeat(MAX_LABEL);
    assert_eq!(name(&longest).to_string(), longest);
    assert_eq!(name(&format!("{longest}.{longest}")).to_string().len(), 2 * MAX_LABEL + 1);
    assert_eq!(refused(&format!("{longest}a")), NameError::TooLong { length: 65, encoded: false });
    let length = format!("xn--{}-wva", "a".repeat(58)).len();
    assert_eq!(refused(&format!("\u{fc}{}", "a".repeat(58))), NameError::TooLong { length, encoded: true });
    assert!(matches!(refused(&"\u{ad}".repeat(9_999)), NameError::TooLong { .. }));
}

#[test]
fn errors_say_what_is_wrong_where_and_what_to_do() {
    assert_eq!(
        refused("al\u{2028}ice").to_string(),
        "character 3, '\\u{2028}' (U+2028), cannot be in a name; use letters, digits, - and _"
    );
    assert_eq!(
        refused(&"a".repeat(65)).to_string(),
        "the name has 65 characters and can have 64; shorten it"
    );
    assert_eq!(
        refused("a.b.c").to_string(),
        "3 parts are too many; a name has one, as alice, and a sub-name two, as shop.alice"
    );
}

#[test]
fn scripts_that_are_not_written_together_are_told() {
    let mixed = |text: &str| {
        name(text).warnings().into_iter().find_map(|warning| match warning {
            Warning::MixedScripts { scripts, .. } => Some(scripts),
            _ => None,
        })
    };
    assert_eq!(mixed("\u{430}lice"), Some(vec!["Cyrillic", "Latin"]));
    assert_eq!(mixed("al\u{3b9}ce"), Some(vec!["Latin", "Greek"]));
    let alike = [
        "alice",
        "m\u{fc}ller1",
        "\u{43c}\u{430}\u{43c}\u{430}",
        "sony\u{30bd}\u{30cb}\u{30fc}",
        "\u{2603}_1",
    ];
    for single in alike {
        assert_eq!(mixed(single), None, "{single}");
    }
    assert_eq!(mixed("shop.\u{430}lice"), Some(vec!["Cyrillic", "Latin"]), "in either part");
}

#[test]
fn what_looks_like_another_name_is_told() {
    let alike = |text: &str| {
        name(text).warnings().into_iter().find_map(|warning| match warning {
            Warning::LooksLike { other, .. } => Some(other.to_string()),
            _ => None,
        })
    };
    // All Cyrillic: no scripts are mixed.
    assert_eq!(alike("\u{440}\u{430}\u{443}"), Some("pay".to_owned()));
    assert_eq!(alike("m\u{430}m\u{430}"), Some("mama".to_owned()));
    for plain in ["alice", "modern1", "m\u{fc}ller", "\u{436}\u{430}\u{431}\u{430}"] {
        assert_eq!(alike(plain), None, "{plain}");
    }
    for (one, two, looks) in [
        ("paypa1", "paypal", true),
        ("rnary", "mary", true),
        ("\u{430}lice", "alice", true),
        ("b0b", "bob", true),
        ("g00gle", "google", true),
        ("go0gle", "g0ogle", true),
        ("sh0p.alice", "shop.alice", true),
        ("b0b", "b\u{43e}b", true),
        ("alice", "ALICE", false),
        ("alice", "alike", false),
        ("b0b", "b8b", false),
        ("shop.alice", "shop.bob", false),
    ] {
        assert_eq!(name(one).looks_like(&name(two)), looks, "{one} {two}");
        assert_eq!(name(two).looks_like(&name(one)), looks, "{two} {one}");
    }
}

#[test]
fn names_that_read_as_addresses_are_told() {
    for text in [format!("0x{}", "a0".repeat(20)), "0f".repeat(32)] {
        let label = text.parse().unwrap();
        assert_eq!(name(&text).warnings(), [Warning::Address { label }]);
    }
    for text in ["0xabc".to_owned(), format!("0x{}g", "a0".repeat(19)), "g".repeat(64)] {
        assert_eq!(name(&text).warnings(), []);
    }
}

#[test]
fn a_sub_name_stands_under_its_parent() {
    let (alice, shop) = (keys("alice"), keys("shop.alice"));
    assert_eq!((alice.label(), alice.sub_id()), (None, [0; 32]));
    assert_eq!(shop.id(), alice.id());
    assert_ne!(shop.label(), keys("shop.bob").label(), "a guess serves for one parent");
    assert_ne!(shop.sub_id(), keys("bank.alice").sub_id());
    assert_ne!(keys("shop").root(), shop.root());
    let other = NameKeys::of(&name("alice"), Cost::other(16, 1)).unwrap();
    assert_ne!(other.id(), alice.id(), "the cost is part of the id");
}

#[test]
fn keys_are_not_shown() {
    let shown = format!("{:?}", keys("shop.alice"));
    assert_eq!(shown, format!("NameKeys {{ id: {:?}, .. }}", keys("alice").id()));
}

fn values() -> Vec<Value> {
    let texts = [
        (Kind::Wallet, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        (Kind::Community, "https://open.example/room?public_key=00"),
        (Kind::Link, "http://example.org"),
        (Kind::Text, "gr\u{fc}\u{df} dich"),
    ];
    let mut values =
        vec![Value::Account(AccountId::from_bytes([5; 33])), Value::Relay(value::RelayKey([7; 32]))];
    values.extend(texts.map(|(kind, text)| Value::parse(kind, text).unwrap()));
    values
}

#[test]
fn records_are_read_by_whoever_knows_the_name() {
    let shop = keys("shop.alice");
    for value in values() {
        let sealed = shop.seal(3, &value);
        assert_eq!(sealed.len(), SEALED[0], "{value}");
        assert_eq!(keys("@SHOP.alice").open(3, value.kind(), &sealed), Ok(value.clone()));
        assert_eq!(Value::parse(value.kind(), &value.to_string()), Ok(value));
    }
}

#[test]
fn records_mean_nothing_elsewhere() {
    let alice = keys("alice");
    let value = Value::parse(Kind::Link, "https://example.org").unwrap();
    let sealed = alice.seal(3, &value);
    let forged = Err(OpenError::Forged);
    assert_eq!(alice.open(4, Kind::Link, &sealed), forged, "another version");
    assert_eq!(alice.open(3, Kind::Text, &sealed), forged, "another kind");
    for other in ["bob", "shop.alice"] {
        assert_eq!(keys(other).open(3, Kind::Link, &sealed), forged, "{other}");
    }
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(alice.open(3, Kind::Link, &changed), forged, "byte {at}");
    }
    for length in [0, 1, 23, 95, 97, 255, 257] {
        assert_eq!(alice.open(3, Kind::Link, &vec![0; length]), Err(OpenError::Length { length }));
    }
}

#[test]
fn the_length_tells_long_from_short_alone() {
    let alice = keys("alice");
    for (length, sealed) in [(1, 96), (55, 96), (56, 256), (MAX_TEXT, 256)] {
        let value = Value::parse(Kind::Text, &"a".repeat(length)).unwrap();
        let bytes = alice.seal(1, &value);
        assert_eq!(bytes.len(), sealed, "{length}");
        assert_eq!(alice.open(1, Kind::Text, &bytes), Ok(value));
    }
    let length = MAX_TEXT + 1;
    assert_eq!(Value::parse(Kind::Text, &"a".repeat(length)), Err(ValueError::Length { length }));
}

#[test]
fn two_values_never_share_a_nonce() {
    let alice = keys("alice");
    let text = |text: &str| Value::parse(Kind::Text, text).unwrap();
    let nonce = |keys: &NameKeys, version, value| keys.seal(version, &value)[..24].to_vec();
    let first = nonce(&alice, 1, text("https://a"));
    assert_eq!(nonce(&alice, 1, text("https://a")), first);
    let others = [
        nonce(&alice, 1, text("https://b")),
        nonce(&alice, 2, text("https://a")),
        nonce(&alice, 1, Value::parse(Kind::Link, "https://a").unwrap()),
        nonce(&keys("bob"), 1, text("https://a")),
    ];
    assert!(!others.contains(&first));
}

#[test]
fn values_are_checked_as_they_are_read() {
    let wrong = |kind, text: &str| Value::parse(kind, text).expect_err(text).to_string();
    assert_eq!(wrong(Kind::Account, "05"), "expected an account id: 66 hex digits");
    assert_eq!(wrong(Kind::Wallet, "5aaeb6"), "expected a wallet's address: 0x and 40 hex digits");
    let mistyped = Value::parse(Kind::Wallet, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD");
    assert_eq!(mistyped, Err(ValueError::Checksum));
    assert_eq!(wrong(Kind::Relay, "00"), "expected a relay's key: 64 hex digits");
    for link in ["example.org", "https://", "https://a b", "javascript:alert(1)"] {
        let error = wrong(Kind::Link, link);
        assert!(error.starts_with("expected a link"), "{error}");
    }
    for (text, at) in [("a\nb", 2), ("\u{1b}[2J", 1), ("ab\u{202e}", 3)] {
        let character = text.chars().nth(at - 1).unwrap();
        assert_eq!(Value::parse(Kind::Text, text), Err(ValueError::Character { character, at }));
    }
    for kind in Kind::ALL {
        assert_eq!((Kind::of_number(kind.number()), kind.to_string().parse()), (Some(kind), Ok(kind)));
    }
    assert_eq!((Kind::of_number(0), Kind::of_number(7)), (None, None));
}

/// Texts near the border: letters of several scripts, marks, joiners, dots and the like.
fn nearly() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "a",
        "Z",
        "0",
        "-",
        "_",
        ".",
        "@",
        "xn--",
        "XN--",
        "kva",
        "\u{fc}",
        "\u{308}",
        "\u{df}",
        "\u{130}",
        "\u{131}",
        "\u{17f}",
        "\u{3c3}",
        "\u{3c2}",
        "\u{430}",
        "\u{5d0}",
        "\u{661}",
        "\u{6f1}",
        "\u{915}",
        "\u{94d}",
        "\u{200d}",
        "\u{200c}",
        "\u{ad}",
        "\u{fe0f}",
        "\u{3002}",
        "\u{ff0e}",
        "\u{ff0d}",
        "\u{2024}",
        "\u{ff21}",
        "\u{2488}",
        "\u{1f600}",
        "\u{ac00}",
        "\u{1100}",
        "\u{1161}",
        "\u{30bd}",
        "\u{fffd}",
        "\u{e000}",
        "\u{10ffff}",
        "1f",
        " ",
    ]);
    prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
}

fn any_text() -> impl Strategy<Value = String> {
    let characters = prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter);
    prop_oneof![nearly(), characters, "[a-zA-Z0-9_.-]{0,70}", "xn--[a-z0-9-]{0,20}"]
}

#[test]
fn every_character_is_refused_or_reads_back() {
    for character in char::MIN..=char::MAX {
        for text in [format!("{character}"), format!("a{character}b")] {
            let Ok(name) = text.parse::<Name>() else { continue };
            assert_eq!(name.to_string().parse().as_ref(), Ok(&name), "{text:?}");
            assert_eq!(name.to_unicode().parse().as_ref(), Ok(&name), "{text:?}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_a_name_reads_back_from_every_form_of_it(text in any_text()) {
        let Ok(name) = text.parse::<Name>() else { return Ok(()) };
        let (ascii, unicode) = (name.to_string(), name.to_unicode());
        prop_assert_eq!(&ascii.parse(), &Ok(name.clone()), "{:?}", ascii);
        prop_assert_eq!(&unicode.parse(), &Ok(name.clone()), "{:?}", unicode);
        prop_assert_eq!(&format!("@{}", ascii.to_ascii_uppercase()).parse(), &Ok(name.clone()));
        for label in [Some(name.parent()), name.sub()].into_iter().flatten() {
            let bytes = label.as_str().as_bytes();
            let sound = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
            prop_assert!((1..=MAX_LABEL).contains(&bytes.len()) && bytes.iter().all(sound));
            prop_assert!(bytes[0] != b'-' && bytes[bytes.len() - 1] != b'-');
        }
        for warning in name.warnings() {
            prop_assert!(!warning.to_string().is_empty());
        }
        prop_assert!(!name.looks_like(&name));
    }

    #[test]
    fn what_is_no_name_says_so_in_what_can_be_shown(text in any_text()) {
        let Err(error) = text.parse::<Name>() else { return Ok(()) };
        let said = error.to_string();
        prop_assert!(!said.chars().any(char::is_control), "{said:?}");
        if let NameError::Character { character, at } = error {
            prop_assert_eq!(text.chars().nth(at - 1), Some(character), "{:?}", text);
        }
    }

    #[test]
    fn ascii_by_the_rules_is_a_name_as_it_stands(text in "[a-z0-9_]([a-z0-9_-]{0,62}[a-z0-9_])?") {
        prop_assume!(!text.starts_with("xn--"));
        prop_assert_eq!(name(&text).to_string(), &text[..]);
        prop_assert_eq!(name(&text).to_unicode(), text);
    }

    #[test]
    fn nothing_that_is_sealed_by_others_is_read(bytes in prop::collection::vec(any::<u8>(), 0..300), number in 1_u8..=6) {
        let kind = Kind::of_number(number).unwrap();
        prop_assert!(keys("alice").open(1, kind, &bytes).is_err());
    }

    #[test]
    fn values_of_any_bytes_are_refused_or_the_same_again(bytes in prop::collection::vec(any::<u8>(), 0..300), number in 1_u8..=6) {
        let kind = Kind::of_number(number).unwrap();
        if let Ok(value) = Value::from_bytes(kind, &bytes) {
            prop_assert_eq!(value.as_bytes(), &bytes[..]);
            prop_assert_eq!(value.kind(), kind);
        }
    }
}
