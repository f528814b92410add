//! What nodes wrote.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use crate::layout::POLL;

/// How far back last lines are looked for, in bytes.
const TAIL: u64 = 16 * 1_024;

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

/// Copies a log to `out`; with `follow` goes on as it grows, until `out` is closed.
///
/// # Errors
/// When the log cannot be read, or `out` not be written.
pub async fn copy(log: &Path, follow: bool, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let mut file = fs::File::open(log)?;
    loop {
        io::copy(&mut file, out)?;
        out.flush()?;
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
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
}
