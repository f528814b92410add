//! What a node's machine has, against what its network asks.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use futures::future::join_all;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::{Client, header};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use session_chain::network::{Limits, shown_release};
use session_protocols::request::numbers;

use crate::failure::{Exit, Failure};

pub(crate) const GIB: u64 = 1 << 30;
/// By how much this machine's clock may differ from others', in seconds: signed requests hold for a minute.
pub(crate) const DRIFT: i64 = 30;
/// How long somebody may take to say what time it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// The program's release, disk, memory and open files; the limit of these is raised as far as the system lets a user.
pub(crate) fn check(data: &Path, limits: Limits) -> Result<String, Failure> {
    let failed = |code, message: String, remedy: String| Failure::new(Exit::NotReady, code, message, remedy);
    let own = env!("CARGO_PKG_VERSION");
    if numbers(own) < limits.release {
        let asked = shown_release(limits.release);
        let message = format!("this program is {own}, and the network asks for {asked} or newer");
        let remedy = "install the newest release, and type the same command again".to_owned();
        return Err(failed("release", message, remedy));
    }
    let disk = disk(data).map_err(|cause| Failure::io("cannot see how much room the disk has", &cause))?;
    if disk < limits.disk.saturating_mul(GIB) {
        let message = format!(
            "the disk of {} has {} GiB free, and a node needs {}",
            data.display(),
            disk / GIB,
            limits.disk
        );
        return Err(failed(
            "disk",
            message,
            "make room, or name a folder on another disk: --data DIR".to_owned(),
        ));
    }
    let memory = memory().unwrap_or(u64::MAX);
    // The kernel keeps some of it for itself.
    if memory < limits.memory.saturating_sub(limits.memory / 8) {
        let message = format!("the machine has {memory} MiB of memory, and a node needs {}", limits.memory);
        return Err(failed("memory", message, "run it on a machine with more".to_owned()));
    }
    let files = raise(limits.files);
    if files < limits.files {
        let message =
            format!("a process may have {files} files open here, and a node needs {}", limits.files);
        let remedy =
            format!("raise the limit: ulimit -n {}, or as the system's limits.conf says", limits.files);
        return Err(failed("files", message, remedy));
    }
    Ok(format!("{} GiB of disk, {memory} MiB of memory, {files} open files", disk / GIB))
}

/// Whether this machine's clock agrees with those of the servers it asks.
pub(crate) async fn clock(named: &str, rpc: &[String]) -> Result<String, Failure> {
    let asked = rpc.iter().map(String::as_str).chain(named.starts_with("http").then_some(named));
    let Some(seconds) = ahead(asked).await else {
        return Ok("not compared: nobody who was asked tells the time".to_owned());
    };
    if seconds.abs() <= DRIFT {
        return Ok(format!("{} s apart from others", seconds.abs()));
    }
    let (by, how) = (seconds.abs(), if seconds > 0 { "ahead" } else { "behind" });
    let message =
        format!("this machine's clock is {by} s {how} of others: its node would be refused by them");
    Err(Failure::new(
        Exit::NotReady,
        "clock",
        message,
        "set the clock, and let it be kept: timedatectl set-ntp true",
    ))
}

/// By how many seconds this machine is ahead of most of these servers; none where nobody tells the time.
pub(crate) async fn ahead<'a>(urls: impl IntoIterator<Item = &'a str>) -> Option<i64> {
    let told = join_all(urls.into_iter().map(drift)).await;
    let mut apart: Vec<i64> = told.into_iter().flatten().collect();
    apart.sort_unstable();
    apart.get(apart.len() / 2).copied()
}

/// Bytes that a node in a folder may fill, or has filled: what it keeps there is room that it has.
pub(crate) fn disk(data: &Path) -> std::io::Result<u64> {
    Ok(room(data)?.saturating_add(kept(&data.join("messages"))))
}

/// Bytes that are free where a folder is, or will be.
pub(crate) fn room(data: &Path) -> std::io::Result<u64> {
    let there = data.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    let found = rustix::fs::statvfs(there)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes of the files in a folder; 0 where there is none.
fn kept(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// The machine's memory in MiB, where the system tells.
pub(crate) fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1_024)
}

/// How many files a process of this user may have open, once it has raised its limit as far as it may.
pub(crate) fn files() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises how many files this process may have open to `wanted`, as far as it may; returns how many.
fn raise(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (now, most) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    if now >= wanted {
        return now;
    }
    let raised = wanted.min(most);
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => now,
    }
}

/// By how many seconds this machine is ahead of what a server says of the time.
async fn drift(url: &str) -> Option<i64> {
    let client = Client::builder().timeout(PATIENCE).build().ok()?;
    let answer = client.get(url).send().await.ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let date = answer.headers().get(header::DATE)?.to_str().ok()?;
    let theirs = DateTimeParser::new().parse_timestamp(date).ok()?.as_second();
    Some(i64::try_from(now).ok()?.saturating_sub(theirs))
}
