//! The files of golden vectors: one entry a line, its keys in order.

use std::{fs, path::PathBuf};

use data_encoding::HEXLOWER as HEX;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use session_protocols::codec;

/// Compares one file with what the code says, or writes it.
pub(crate) fn check(name: &str, entries: &[Value]) {
    let lines: Vec<_> = entries.iter().map(|entry| format!("  {}", sorted(entry))).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    #[expect(clippy::disallowed_methods, reason = "whoever runs the test says so")]
    let bless = std::env::var_os("BLESS").is_some();
    if bless {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    for (line, (ours, theirs)) in text.lines().zip(committed.lines()).enumerate() {
        assert_eq!(ours, theirs, "{name}, line {}: BLESS=1 writes it anew", line + 1);
    }
    assert_eq!(text.lines().count(), committed.lines().count(), "{name}: BLESS=1 writes it anew");
}

/// JSON with its keys in order, whatever features others switch on.
pub(crate) fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| if *key == "name" { "" } else { key.as_str() });
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(key, value)| format!("{}: {}", json!(key), sorted(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(list) => {
            let list: Vec<_> = list.iter().map(sorted).collect();
            format!("[{}]", list.join(", "))
        }
        other => other.to_string(),
    }
}

/// Bytes are lists of numbers in JSON: hex reads better.
pub(crate) fn readable(value: Value) -> Value {
    match value {
        Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_u64) => {
            let bytes: Option<Vec<u8>> =
                list.iter().map(|number| u8::try_from(number.as_u64()?).ok()).collect();
            bytes.map_or(Value::Array(list), |bytes| json!(HEX.encode(&bytes)))
        }
        Value::Array(list) => list.into_iter().map(readable).collect(),
        Value::Object(map) => {
            // Versions are lists of numbers.
            let version = |key: &str| key.starts_with("rules") || key.starts_with("version");
            let entry = |(key, value): (String, Value)| {
                let value = if version(&key) { value } else { readable(value) };
                (key, value)
            };
            map.into_iter().map(entry).collect()
        }
        other => other,
    }
}

/// One message: what it says, and its bytes, which read back to the same.
pub(crate) fn wire<T>(name: &str, message: &T, max: usize) -> Value
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = codec::encode(message);
    assert_eq!(codec::decode::<T>(&bytes, max).as_ref(), Ok(message), "{name}");
    json!({
        "name": name,
        "value": readable(serde_json::to_value(message).unwrap()),
        "cbor": HEX.encode(&bytes),
    })
}
