//! A support archive: what the doctor found, settings, what the node says of itself, and the end of its log. Keys,
//! messages and passphrases are never read for it; what may stand in the rest is taken out.
//!
//! - `redact`: takes out what is nobody's business
//! - `tar`: the format

mod redact;
mod tar;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;
use session_node::settings::{Effective, Shown};

use super::{gather::Gathered, judge::Finding};
use crate::failure::{Exit, Failure};
use redact::{Redactor, host_of};

/// How much of the end of the log is taken, in bytes.
const LOG: u64 = 256 << 10;
/// How many lines of a journal are asked for, and how many bytes of them are read at most.
const LINES: &str = "4000";
const JOURNAL: u64 = 16 << 20;
/// The longest description of the system that is taken, in bytes.
const SYSTEM: u64 = 16 << 10;
/// What an archive says of itself.
const README: &str = "\
What `session doctor --bundle` found of a node, for whoever helps its operator.

doctor.json    what was found, how bad it is, and what to do
settings.json  the settings that count, and where each comes from
status.json, readyz.json, metrics.txt   what the node says of itself, if it runs
system.txt     versions, and the machine
log.txt        the end of the node's log: of its file, or of the journal of its unit

It has no keys, passphrases, tokens or messages, of endpoints their hosts alone, and in the log no ids, hashes or
addresses but the network's own nodes'. Look through it before you hand it on all the same.
";

/// Refuses a path where no archive can be written.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with("gz") {
        let message = format!("{name} would be compressed, and the archive is not");
        return Err(Failure::usage(message, "name it FILE.tar, and compress it afterwards"));
    }
    if path.symlink_metadata().is_ok() { Err(exists(path)) } else { Ok(()) }
}

fn exists(path: &Path) -> Failure {
    let message = format!("{} exists already", path.display());
    Failure::new(Exit::Refused, "exists", message, "name a path where there is nothing")
}

/// The files of an archive, without what is nobody's business.
pub(super) fn files(data: &Path, gathered: &Gathered, findings: &[Finding]) -> Vec<(&'static str, String)> {
    let redactor = Redactor::new(gathered);
    let mut files = vec![
        ("README.txt", README.to_owned()),
        ("doctor.json", pretty(&json!({ "findings": findings }))),
        ("settings.json", pretty(&gathered.effective.as_ref().map_or_else(|| json!(null), settings))),
        ("system.txt", system()),
    ];
    for (path, text) in &gathered.answers {
        let name = match *path {
            "status" => "status.json",
            "readyz" => "readyz.json",
            _ => "metrics.txt",
        };
        files.push((name, text.clone()));
    }
    for (_, text) in &mut files {
        *text = redactor.scrub(text);
    }
    let unit = gathered.facts.unit.as_ref().map(|unit| unit.unit.as_str());
    let (log, from) = log(data, gathered.effective.as_ref(), unit);
    let lines: String = log.lines().map(|line| redactor.line(line) + "\n").collect();
    files.push(("log.txt", redactor.scrub(&from) + &lines));
    files
}

/// Writes it to a file that is not there yet, readable by its owner only.
pub(super) fn write(path: &Path, files: &[(&'static str, String)], time: u64) -> Result<(), Failure> {
    let mut archive = Vec::new();
    for (name, text) in files {
        tar::add(&mut archive, name, text.as_bytes(), time);
    }
    tar::end(&mut archive);
    let failed = |cause: &io::Error| Failure::io(&format!("cannot write {}", path.display()), cause);
    let mut file = match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => return Err(exists(path)),
        opened => opened.map_err(|cause| failed(&cause))?,
    };
    file.write_all(&archive).and_then(|()| file.sync_all()).map_err(|cause| {
        // What was cut off helps nobody.
        let _ = fs::remove_file(path);
        failed(&cause)
    })
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// Each setting with its origin; of URLs the host alone.
fn settings(effective: &Effective) -> serde_json::Value {
    let entries = effective.entries().map(|(key, shown, place)| {
        let value = match (key.name, shown) {
            ("rpc", Shown::List(urls)) => json!(urls.iter().map(|url| host_of(url)).collect::<Vec<_>>()),
            (_, shown) => json!(shown),
        };
        json!({ "key": key.name, "value": value, "origin": place.origin() })
    });
    entries.collect()
}

/// What the node runs on.
fn system() -> String {
    let mut text = format!("session {}, of {}\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    for path in ["/proc/version", "/etc/os-release", "/proc/meminfo", "/proc/loadavg"] {
        let read = fs::File::open(path).and_then(|file| {
            let mut read = Vec::new();
            file.take(SYSTEM).read_to_end(&mut read).map(|_| read)
        });
        if let Ok(read) = read {
            text += &format!("\n== {path}\n{}\n", String::from_utf8_lossy(&read).trim_end());
        }
    }
    text
}

/// The end of the node's log, in whole lines, and a line of why there is none.
fn log(data: &Path, effective: Option<&Effective>, unit: Option<&str>) -> (String, String) {
    let named = effective.and_then(|effective| effective.settings().log_file.clone());
    let (read, shown) = match (named, unit) {
        (None, Some(unit)) => (journal(Path::new("journalctl"), unit), format!("in the journal of {unit}")),
        (named, _) => {
            // Where one that joined logs if nobody says otherwise.
            let path = named.unwrap_or_else(|| data.join(crate::join::LOG));
            (tail(&path, data), format!("at {}", path.display()))
        }
    };
    match read {
        Ok(text) => (text, String::new()),
        Err(cause) => (String::new(), format!("no log {shown}: {cause}\n")),
    }
}

/// The end of what a unit logged.
fn journal(program: &Path, unit: &str) -> io::Result<String> {
    let mut asked = Command::new(program)
        .args(["--unit", unit, "--lines", LINES, "--output", "cat", "--no-pager", "--quiet"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut read = Vec::new();
    let taken = match asked.stdout.take() {
        Some(out) => out.take(JOURNAL).read_to_end(&mut read),
        None => Ok(0),
    };
    if taken.is_err() || read.len() as u64 >= JOURNAL {
        // What is beyond that is not waited for.
        let _ = asked.kill();
    }
    let ended = asked.wait()?;
    taken?;
    if read.is_empty() && !ended.success() {
        return Err(io::Error::other(format!("{} ended with {ended}", program.display())));
    }
    let from = read.len().saturating_sub(LOG as usize);
    Ok(lines(read.get(from..).unwrap_or_default(), from > 0))
}

/// The end of a file of the node's, which is whoever's the folder is: what a link there leads to may be another's.
fn tail(path: &Path, data: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let found = file.metadata()?;
    if found.uid() != fs::metadata(data)?.uid() {
        return Err(io::Error::other("it belongs to another user than the node's folder"));
    }
    let length = found.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG)))?;
    let mut read = Vec::new();
    file.take(LOG).read_to_end(&mut read)?;
    Ok(lines(&read, length > LOG))
}

/// A text that may have been cut, from the beginning of a line on: half an id would not be known as one.
fn lines(read: &[u8], cut: bool) -> String {
    let text = String::from_utf8_lossy(read).into_owned();
    if !cut {
        return text;
    }
    text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}
