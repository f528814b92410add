//! What `cli/README.md` says that commands tell programs, held against what they do tell.

use std::collections::BTreeMap;

use serde_json::Value;

const README: &str = include_str!("../../../cli/README.md");

/// What comes with all that is sent; where there was nothing to do, the first of it, which is null.
const SENT: [&str; 3] = ["transaction", "height", "cost"];

/// Flags with which a command tells something else.
const FLAGS: [&str; 3] = ["--paid", "--tell", "--withdraw"];

/// A key, as the table has it: `names[] {name, id}`, `told?`.
#[derive(Debug, PartialEq)]
struct Key<'a> {
    /// Whether it is there at times alone.
    may_lack: bool,
    /// The keys of what is under it.
    below: Option<&'a str>,
}

/// Checks the data of a command on names or money against its row: no key more, and none less.
pub(crate) fn check(words: &[&str], data: &Value) {
    let [family @ ("name" | "wallet"), command, ..] = words else { return };
    let flag = FLAGS.into_iter().find(|flag| words.contains(flag));
    let command = flag.map_or_else(|| (*command).to_owned(), |flag| format!("{command} {flag}"));
    let row = row(family, &command).unwrap_or_else(|| panic!("cli/README.md has no `{family} {command}`"));
    let mut data = data.clone();
    if let Some(told) = data.as_object_mut().filter(|told| told.contains_key("transaction"))
        && !keys(row).contains_key("transaction")
    {
        let there: Vec<bool> =
            SENT.iter().map(|key| told.remove(*key).is_some_and(|it| !it.is_null())).collect();
        assert!(there.iter().all(|it| *it == there[0]), "{family} {command}: all of {SENT:?}, or none");
    }
    compare(&format!("{family} {command}"), row, &data);
}

/// The keys that a command tells: what stands in its row, or behind its name in the row of another.
fn row(family: &str, command: &str) -> Option<&'static str> {
    for line in README.lines().filter(|line| line.starts_with("| `")) {
        let (head, rest) = line.trim_start_matches("| ").split_once(" | ")?;
        let mut named: Vec<&str> = head.split('`').skip(1).step_by(2).collect();
        match named.first().copied().and_then(|first| first.split_once(' ')) {
            Some((of, first)) if of == family => named[0] = first,
            _ => continue,
        }
        // Code stands at the odd places, and a list of keys behind a colon, or first of all.
        let pieces: Vec<&'static str> = rest.split('`').collect();
        for place in (1..pieces.len()).step_by(2) {
            if pieces[place - 1] == ": " {
                named = vec![pieces[place - 2]];
                let before = (1..place - 2).rev().step_by(2).take_while(|at| pieces[*at] == ", ");
                named.extend(before.map(|at| pieces[at - 1]));
            } else if place > 1 {
                continue;
            }
            if named.contains(&command) {
                return Some(pieces[place]);
            }
        }
    }
    None
}

/// The keys of a list.
fn keys(list: &str) -> BTreeMap<&str, Key<'_>> {
    let (mut depth, mut from, mut all) = (0, 0, Vec::new());
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    all.push(&list[from..]);
    all.into_iter().map(str::trim).filter(|text| !text.is_empty()).map(one).collect()
}

fn one(text: &str) -> (&str, Key<'_>) {
    let (name, below) = match text.split_once(" {") {
        Some((name, below)) => (name, below.strip_suffix('}')),
        None => (text, None),
    };
    let may_lack = name.ends_with('?');
    let name = name.trim_end_matches(['?', '[', ']', '{', '}']);
    (name, Key { may_lack, below })
}

fn compare(of: &str, list: &str, data: &Value) {
    let (told, wanted) = (data.as_object().unwrap_or_else(|| panic!("{of}: {data}")), keys(list));
    for key in told.keys() {
        assert!(wanted.contains_key(&**key), "cli/README.md lacks `{key}` of {of}: {data}");
    }
    for (key, Key { may_lack, below }) in wanted {
        let Some(value) = told.get(key) else {
            assert!(may_lack, "{of} tells no `{key}`, as cli/README.md has it: {data}");
            continue;
        };
        let values = value.as_array().map_or_else(|| vec![value], |all| all.iter().collect());
        if let Some(below) = below {
            values
                .iter()
                .filter(|it| !it.is_null())
                .for_each(|it| compare(&format!("{of}, {key}"), below, it));
        }
    }
}

#[test]
fn the_table_is_read_as_it_is_meant() {
    let names = row("name", "buy").unwrap();
    assert!(names.starts_with("name, id, price"), "{names}");
    assert_eq!(row("wallet", "nothing"), None);
    let read = keys("a, b[] {c, d {e}}, f?, g{}");
    let key = |may_lack, below| Key { may_lack, below };
    let wanted = [
        ("a", key(false, None)),
        ("b", key(false, Some("c, d {e}"))),
        ("f", key(true, None)),
        ("g", key(false, None)),
    ];
    assert_eq!(read, BTreeMap::from(wanted));
}
