//! Text from others, made fit for a terminal; times and tables.

/// Removes what could drive a terminal or reorder its lines: control characters, and marks that
/// override the direction of text. Line breaks stay.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !drives(*c)).collect()
}

/// The same, each line after the first behind `indent`, so that no line passes for another's.
pub(crate) fn block(text: &str, indent: &str) -> String {
    plain(&text.replace("\r\n", "\n").replace('\t', "    ")).trim_end().replace('\n', &format!("\n{indent}"))
}

/// Escapes in encoded JSON what the encoder leaves and a terminal would obey.
pub(crate) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        // Such characters can stand inside strings only, where an escape means the same.
        if drives(c) { escaped.push_str(&format!("\\u{:04x}", u32::from(c))) } else { escaped.push(c) }
    }
    escaped
}

fn drives(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A moment in the local time of the reader.
pub(crate) fn time(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let zone = jiff::tz::TimeZone::system();
    moment.map_or_else(
        || "at no time".to_owned(),
        |moment| moment.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// The first digits of an id, enough to tell it from others by eye.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(10).collect::<String>() + "..."
}

/// Rows in columns as wide as they need to be.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    core::iter::once(line(head)).chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_does_not_reach_the_terminal() {
        let hostile = "a\u{1b}[2Jb\u{9b}31mc\u{7}\r\nd\u{202e}e\u{7f}\u{2028}f";
        assert_eq!(plain(hostile), "a[2Jb31mc\ndef");
        assert_eq!(block("one\ntwo\n\n", "  "), "one\n  two");
        let json = serde_json::to_string(&hostile).unwrap();
        let escaped = escape_json(&json);
        assert!(escaped.chars().all(|c| !drives(c)));
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), hostile);
    }

    #[test]
    fn other_scripts_and_emoji_stay() {
        let text = "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{1f469}\u{200d}\u{1f680} \u{200f}x";
        assert_eq!(plain(text), text);
        assert_eq!(escape_json(text), text);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["1".to_owned(), "x".to_owned()], ["22".to_owned(), "yy".to_owned()]];
        assert_eq!(table(["#", "name"], &rows), "#   name\n1   x\n22  yy\n");
    }

    #[test]
    fn times_without_a_day_are_survived() {
        assert_eq!(time(u64::MAX), "at no time");
        assert!(time(0).starts_with("19"));
    }
}
