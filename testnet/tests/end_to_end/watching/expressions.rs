//! What an expression of Prometheus names.

/// Words that are no metrics.
const WORDS: [&str; 15] = [
    "and",
    "avg",
    "bool",
    "by",
    "count",
    "group_left",
    "group_right",
    "ignoring",
    "max",
    "min",
    "offset",
    "on",
    "or",
    "sum",
    "unless",
];
/// Those after which labels stand in parentheses.
const LABELS: [&str; 5] = ["by", "group_left", "group_right", "ignoring", "on"];

/// The metrics in an expression, each with what it says of their labels.
pub(super) fn selectors(expression: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), expression);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|one: char| !one.is_ascii_alphanumeric() && one != '_' && one != ':');
        let (word, after) = rest.split_at(word.unwrap_or(rest.len()));
        if word.is_empty() {
            // A range, a number or a sign.
            let end = if first == '[' { rest.find(']').unwrap() + 1 } else { first.len_utf8() };
            rest = &rest[end..];
            continue;
        }
        let next = after.trim_start();
        rest = after;
        if first.is_ascii_digit() {
            continue;
        }
        if WORDS.contains(&word) {
            if LABELS.contains(&word) && next.starts_with('(') {
                rest = &next[next.find(')').unwrap() + 1..];
            }
        } else if let Some(labels) = next.strip_prefix('{') {
            let end = labels.find('}').unwrap();
            found.push(format!("{word}{{{}}}", &labels[..end]));
            rest = &labels[end + 1..];
        } else if !next.starts_with('(') {
            found.push(word.to_owned());
        }
    }
    found
}

#[test]
fn metrics_are_told_from_functions_labels_and_words() {
    for (expression, wanted) in [
        ("up == 0", &["up"][..]),
        (
            "sum by (job, instance) (rate(a_total{code=~\"5..\"}[5m])) > 0.1 * b",
            &["a_total{code=~\"5..\"}", "b"],
        ),
        ("a{b=\"c\"} == 1 and on (job, instance) d == 0 or vector(0)", &["a{b=\"c\"}", "d"]),
        ("histogram_quantile(0.99, sum by (le) (rate(a_bucket{x=~\".*\"}[15s])))", &["a_bucket{x=~\".*\"}"]),
        ("sum by (swarm) (a * on (job) group_left (swarm) b)", &["a", "b"]),
        ("time() - a > 10800", &["a"]),
        ("clamp_max(a - 1, 64) < b + 14 * 86400", &["a", "b"]),
    ] {
        assert_eq!(selectors(expression), wanted, "{expression}");
    }
}
