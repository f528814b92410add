//! A process that is killed in the middle of writing, and how soon its store serves again.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use session_protocols::{Namespace, store::Store};
use session_storage::MessageStore;

use super::{
    load::{Load, account},
    ours,
};

/// Many mailboxes, as a node with so much to keep has them.
const ACCOUNTS: u64 = 100_000;

/// Fills a store, says when its files are `bytes` long, and writes on until it is killed.
pub fn fill(dir: &Path, bytes: u64) -> ! {
    let mut store = MessageStore::open(dir, ours::options()).expect("the store opens");
    let mut load = Load::new(ACCOUNTS, 0);
    let mut said = false;
    loop {
        ours::commit(&mut store, load.batch(1_000));
        if !said && length(dir) >= bytes {
            said = true;
            println!("full");
        }
    }
}

fn length(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Seconds from opening until a poll is answered and a store is durable.
pub fn measure(dir: &Path, gib: f64) -> Result<f64, String> {
    let bytes = (gib * f64::from(1 << 30)) as u64;
    let free = free(dir)?;
    if free < bytes / 10 * 13 {
        return Err(format!("{} needs {gib} GiB and some, {} GiB are free", dir.display(), free >> 30));
    }
    let dir = dir.join("killed");
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(own)
        .arg("fill-until-killed")
        .arg(&dir)
        .arg(bytes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut said = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut said).map_err(|error| error.to_string())?;
    }
    // Somewhere in the middle of its writing.
    std::thread::sleep(Duration::from_millis(137));
    child.kill().map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())?;
    if said.trim() != "full" {
        return Err("the writer ended early".to_owned());
    }
    let start = Instant::now();
    let mut store = MessageStore::open(&dir, ours::options()).map_err(|error| error.to_string())?;
    let opened = start.elapsed();
    let page = store.page(&account(1), Namespace::INBOX, 0, 128).map_err(|error| error.to_string())?;
    ours::commit(&mut store, Load::new(ACCOUNTS, 1).batch(1));
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "killed at {:.1} GiB, {} messages; open after {:.2} s, serving after {seconds:.2} s, {} in a mailbox",
        length(&dir) as f64 / f64::from(1 << 30),
        store.head(),
        opened.as_secs_f64(),
        page.len()
    );
    fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    Ok(seconds)
}

/// Bytes that are free where a directory is, as `df` tells.
fn free(dir: &Path) -> Result<u64, String> {
    let out = Command::new("df").args(["--output=avail", "-B1"]).arg(dir).output();
    let text = String::from_utf8(out.map_err(|error| error.to_string())?.stdout).unwrap_or_default();
    text.lines().nth(1).and_then(|line| line.trim().parse().ok()).ok_or_else(|| "df says nothing".to_owned())
}
