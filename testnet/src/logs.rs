//! What nodes wrote.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

pub use crate::layout::POLL;

/// How far back last lines are looked for, in bytes.
const TAIL: u64 = 16 * 1_024;
/// The longest line that is read as one, in bytes.
const MAX_LINE: usize = 64 * 1_024;

/// The last lines of a log.
///
/// # Errors
/// When it cannot be read.
pub fn last_lines(log: &Path, count: usize) -> io::Result<Vec<String>> {
    let mut file = fs::File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().skip(usize::from(start > 0)).collect();
    Ok(lines.iter().skip(lines.len().saturating_sub(count)).map(|line| (*line).to_owned()).collect())
}

/// A log, line by line, as it grows.
#[derive(Debug)]
pub struct Reader {
    log: BufReader<fs::File>,
    /// A line whose end is not written yet.
    part: Vec<u8>,
}

impl Reader {
    /// At the beginning of a log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(log: &Path) -> io::Result<Self> {
        Ok(Self { log: BufReader::new(fs::File::open(log)?), part: Vec::new() })
    }

    /// The next line, without its end; none when there is none so far. A line that goes on is given only
    /// if it is the `last`, or when it is longer than 64 KiB: in pieces.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn line(&mut self, last: bool) -> io::Result<Option<String>> {
        let room = MAX_LINE.saturating_sub(self.part.len());
        self.log.by_ref().take(room as u64).read_until(b'\n', &mut self.part)?;
        let whole = self.part.ends_with(b"\n") || self.part.len() >= MAX_LINE;
        if !whole && (self.part.is_empty() || !last) {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(self.part.strip_suffix(b"\n").unwrap_or(&self.part)).into_owned();
        self.part.clear();
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn last_lines_are_whole_even_of_a_long_log() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("log");
        let text: String = (0..10_000).map(|line| format!("line {line}\n")).collect();
        fs::write(&log, text).unwrap();
        assert_eq!(last_lines(&log, 2).unwrap(), ["line 9998", "line 9999"]);
        assert!(last_lines(&log, 100_000).unwrap().iter().all(|line| line.starts_with("line ")));
        fs::write(&log, "one\ntwo").unwrap();
        assert_eq!(last_lines(&log, 5).unwrap(), ["one", "two"]);
    }

    #[test]
    fn lines_are_given_whole_as_a_log_grows() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let mut log = fs::File::create(&path).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.line(false).unwrap(), None);
        log.write_all(b"one\n\ntw").unwrap();
        assert_eq!(reader.line(false).unwrap().as_deref(), Some("one"));
        assert_eq!(reader.line(false).unwrap().as_deref(), Some(""));
        assert_eq!(reader.line(false).unwrap(), None, "it goes on");
        log.write_all(b"o\nthree").unwrap();
        assert_eq!(reader.line(false).unwrap().as_deref(), Some("two"));
        assert_eq!(reader.line(false).unwrap(), None);
        assert_eq!(reader.line(true).unwrap().as_deref(), Some("three"));
        assert_eq!(reader.line(true).unwrap(), None);
        log.write_all(&[b'x'; MAX_LINE + 5]).unwrap();
        assert_eq!(reader.line(false).unwrap().map(|line| line.len()), Some(MAX_LINE));
        assert_eq!(reader.line(true).unwrap().map(|line| line.len()), Some(5));
    }
}
