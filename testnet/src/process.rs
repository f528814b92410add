//! Processes that outlive whoever starts them, and are told from others with the same number.

use std::{ffi::OsStr, fs, io, path::Path, process::Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use session_node::settings::Settings;

/// A process, by what no other process shares: its number, when it started, and in which run of
/// the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// In ticks since the system started.
    started: u64,
    boot: String,
}

impl Process {
    /// Starts a program in a process group of its own; what it says is appended to `log`.
    ///
    /// Whoever calls this from a runtime that goes on need not wait for the process to end.
    pub(crate) fn spawn(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        log: &Path,
    ) -> io::Result<Self> {
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).current_dir("/").process_group(0).stdin(Stdio::null());
        // What is set for a node of the user's own is not meant for those of a testnet; what is logged may be.
        for key in Settings::KEYS.iter().filter(|key| key.name != "log_level") {
            command.env_remove(key.environment());
        }
        // Nor is who waits for a word of whoever starts them.
        for name in ["SESSION_CONFIG", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
            command.env_remove(name);
        }
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        // The runtime collects it when it ends.
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        Self::find(pid)?.ok_or_else(|| io::Error::other("it ended at once"))
    }

    /// Whether it runs.
    pub(crate) fn is_running(&self) -> bool {
        Self::find(self.pid).is_ok_and(|found| found.as_ref() == Some(self))
    }

    /// Sends it a signal; tells whether it was there to get one.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(false) };
        // The descriptor is taken before the look at who it is, so that it cannot become another's.
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        if !self.is_running() {
            return Ok(false);
        }
        match pidfd_send_signal(&descriptor, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// How much memory it holds, in bytes.
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
    }

    /// The process with this number, unless it has ended.
    fn find(pid: u32) -> io::Result<Option<Self>> {
        let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(started(&stat).map(|started| Self { pid, started, boot }))
    }
}

/// When a process started, out of its `/proc/PID/stat`; none when it has ended and is not collected. It has not while
/// any of its threads is left: that one still holds the process's files, and their locks.
fn started(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold anything; the fields after it are 3 (state) and on.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let threads: u64 = fields.nth(16)?.parse().ok()?;
    (!matches!(state, "Z" | "X") || threads > 1).then_some(())?;
    fields.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name() {
        let fields = |threads| format!("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 {threads} 18 4711 20");
        assert_eq!(started(&format!("12 (a b) S) S {}", fields(1))), Some(4711));
        assert_eq!(started(&format!("12 (a) Z {}", fields(1))), None);
        assert_eq!(started(&format!("12 (a) Z {}", fields(2))), Some(4711), "a thread of it is left");
        assert_eq!(started("12 (a) S 1 2"), None);
    }

    #[tokio::test]
    async fn a_process_is_known_by_more_than_its_number() {
        let temp = tempfile::tempdir().unwrap();
        let process = Process::spawn(Path::new("sleep"), ["60"], &temp.path().join("log")).unwrap();
        let impostor = Process { started: process.started + 1, ..process.clone() };
        assert!(process.is_running() && !impostor.is_running());
        assert!(!impostor.signal(Signal::KILL).unwrap());
        assert!(process.resident().is_some_and(|bytes| bytes > 0));
        assert!(process.signal(Signal::KILL).unwrap());
        tokio::time::timeout(std::time::Duration::from_secs(10), async {
            while process.is_running() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert!(!process.signal(Signal::KILL).unwrap());
    }
}
