//! `onion.keys`: the onion keys of the last days, a line each, newest first.
//!
//! ```text
//! key <since> <64 hex digits>            the one that is given out
//! key <since> <64 hex digits> <until>    one that is accepted until then
//! taken <stamp>                          after a clean stop: the last stamp that was taken
//! ```
//!
//! Times are microseconds since 1970. The file is replaced as a whole, so that a key which is left out
//! is gone from it.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use session_protocols::{
    Time,
    onion::{
        keys::{DayKey, Keyring},
        noise::OnionKey,
    },
};
use zeroize::Zeroizing;

use super::{Draft, KeyError, MAX_FILE, read};

/// The keys of the data folder, and the last stamp that was taken if the last stop was a clean one; none
/// where there is no file.
///
/// # Errors
///
/// When the file cannot be read, is damaged, or others can read it.
pub(crate) fn load(data: &Path) -> Result<Option<(Keyring, Option<u32>)>, KeyError> {
    let path = key_file(data);
    match read(&path) {
        Ok(text) => parse(&text).map(Some).ok_or(KeyError::Onion { path }),
        Err(KeyError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the file.
///
/// # Errors
///
/// When it cannot be written; the old one is left alone.
pub(crate) fn save(data: &Path, keys: &Keyring, taken: Option<u32>) -> Result<(), KeyError> {
    let path = key_file(data);
    // It never grows beyond this, so that no copy of a key is left behind in memory.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE));
    let mut line = |key: &DayKey, until: Option<Time>| {
        let hex = Zeroizing::new(HEX.encode(key.key.as_bytes()));
        let until = until.map_or_else(String::new, |until| format!(" {}", until.0));
        // Writing to memory cannot fail.
        let _ = writeln!(text, "key {} {}{until}", key.since.0, hex.as_str());
    };
    line(&keys.current, None);
    keys.previous.iter().for_each(|(key, until)| line(key, Some(*until)));
    if let Some(taken) = taken {
        let _ = writeln!(text, "taken {taken}");
    }
    let written = Draft::write(data, "onion.keys", text.as_bytes()).and_then(|draft| draft.replace(&path));
    written.map_err(|cause| KeyError::File { path, cause })
}

fn parse(text: &str) -> Option<(Keyring, Option<u32>)> {
    let (mut current, mut previous, mut taken) = (None, Vec::new(), None);
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match (words.as_slice(), &current) {
            (["key", since, hex], None) => current = Some(key(since, hex)?),
            (["key", since, hex, until], Some(_)) => {
                previous.push((key(since, hex)?, Time(until.parse().ok()?)));
            }
            (["taken", stamp], Some(_)) => taken = Some(stamp.parse().ok()?),
            _ => return None,
        }
    }
    Some((Keyring { current: current?, previous }, taken))
}

fn key(since: &str, hex: &str) -> Option<DayKey> {
    let bytes = Zeroizing::new(HEX.decode(hex.as_bytes()).ok()?);
    let key = OnionKey::from_bytes(bytes.as_slice().try_into().ok()?)?;
    Some(DayKey { key, since: Time(since.parse().ok()?) })
}

fn key_file(data: &Path) -> PathBuf {
    data.join("onion.keys")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use session_protocols::onion::keys::DAY;

    use super::*;

    #[test]
    fn what_is_kept_is_read_back_and_what_had_its_time_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert!(load(data).unwrap().is_none());
        let start = Time(DAY.0 * 20_000);
        let mut keys = Keyring::new(start, [1; 32]).unwrap();
        for day in 1_u8..4 {
            keys.turn(Time(start.0 + DAY.0 * u64::from(day)), [day + 1; 32]);
            save(data, &keys, (day == 3).then_some(77)).unwrap();
        }
        let (found, taken) = load(data).unwrap().unwrap();
        let bytes = |keys: &Keyring| {
            let all = [(&keys.current, None)].into_iter();
            let all = all.chain(keys.previous.iter().map(|(key, until)| (key, Some(*until))));
            all.map(|(key, until)| (*key.key.as_bytes(), key.since, until)).collect::<Vec<_>>()
        };
        assert_eq!((bytes(&found), taken), (bytes(&keys), Some(77)));
        let text = fs::read_to_string(key_file(data)).unwrap();
        assert!(text.contains(&"04".repeat(32)) && !text.contains(&"01".repeat(32)), "{text}");
        assert_eq!(fs::metadata(key_file(data)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(data).unwrap().count(), 1, "drafts are gone");
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        save(data, &Keyring::new(Time(5), [1; 32]).unwrap(), Some(7)).unwrap();
        let whole = fs::read_to_string(key_file(data)).unwrap();
        let broken = [String::new(), "taken 7\n".into(), whole.replace("01", "0x"), whole.repeat(2)];
        for broken in broken.into_iter().chain([whole.replace("taken 7", "taken -7")]) {
            fs::write(key_file(data), &broken).unwrap();
            assert!(matches!(load(data), Err(KeyError::Onion { .. })), "{broken}");
        }
    }
}
