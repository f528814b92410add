//! How the version that a node runs stands to those that the others say they run.

use session_protocols::{directory::NodeRecord, request::numbers};

/// How many of these nodes run a newer version than `own`: each says it in the record that it signs. What is no version
/// is the oldest.
pub(super) fn newer<'a>(own: &str, said: impl Iterator<Item = &'a NodeRecord>) -> usize {
    let own = numbers(own);
    said.filter(|record| numbers(&record.version) > own).count()
}

#[cfg(test)]
mod tests {
    use session_protocols::{KeyPair, directory::OnionDoor};

    use super::*;

    #[test]
    fn those_count_whose_version_is_newer() {
        let said = |version: &str| NodeRecord {
            node: KeyPair::from_seed(&[1; 32]).node_id(),
            time: 1,
            height: 0,
            border: [0; 32].into(),
            endpoints: Vec::new(),
            onion: OnionDoor { day: 0, key: [9; 32].into(), aes: true },
            version: version.to_owned(),
            door: None,
        };
        let all = ["1.2.3", "1.2.4", "1.10.0", "1.2.2", "2.0.0-rc.1", "", "<b>9</b>"].map(said);
        assert_eq!(newer("1.2.3", all.iter()), 3);
        assert_eq!(newer("2.0.0", all.iter()), 0);
        assert_eq!(newer("0.0.0", all.iter()), 5);
    }
}
