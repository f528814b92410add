//! What the machine itself refuses: room on a disk that is full, and a key that is another user's.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{Endpoint, Joining, started};
use crate::{
    hosts::Running,
    support::{allowed, binary},
};

/// What a small disk has, in bytes.
const ROOM: u64 = 64 << 10;
/// A user who owns nothing, and has no name everywhere.
const NOBODY: &str = "65534";

/// A small disk at a folder, for as long as this lives.
struct Disk(PathBuf);

impl Disk {
    /// None, with a message, where this user may not mount one. Where everything is to be tried (`CI=true`) that is a
    /// failure.
    fn at(folder: PathBuf) -> Option<Self> {
        fs::create_dir_all(&folder).unwrap();
        let size = format!("size={ROOM}");
        let mounted = allowed("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", folder.to_str().unwrap()]);
        mounted.then_some(Self(folder))
    }

    /// Leaves so much room beside what is there.
    fn leave(&self, bytes: u64) {
        let filler = self.0.join("filler");
        let _ = fs::remove_file(&filler);
        let free = rustix::fs::statvfs(&self.0).unwrap();
        let fill = (free.f_bavail * free.f_frsize).checked_sub(bytes).unwrap();
        fs::write(filler, vec![0_u8; usize::try_from(fill).unwrap()]).unwrap();
    }

    /// Makes it large enough.
    fn grow(&self) {
        let remount = ["-o", "remount,size=64m", self.0.to_str().unwrap()];
        assert!(Command::new("mount").args(remount).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still has files open there keeps them until it ends.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_is_named_and_the_same_command_goes_on_once_there_is_room() {
    let chain = Endpoint::start().await;
    let joining = Joining::new(&chain.url);
    let Some(disk) = Disk::at(joining.data()) else { return };
    disk.leave(0);
    let (message, remedy) = joining.fails("keys", "key", 1);
    assert!(
        message.contains("No space left on device") && remedy.contains("make room"),
        "{message}: {remedy}"
    );
    assert!(!joining.data().join("node.key").exists(), "no half of a key stays");
    // Room for keys, and for nothing else.
    disk.leave(12 << 10);
    let running = joining.join();
    let (steps, end) = running.result();
    let (error, last) = (end.unwrap_err(), steps.last().unwrap());
    let (message, step) = (error["message"].as_str().unwrap(), last["step"].as_str().unwrap());
    assert!(message.contains("No space left on device"), "{error}");
    assert!(message.starts_with(&format!("{step}: ")) && last["state"] == "failed", "{error}: {last}");
    assert!(error["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{error}");
    assert_eq!(running.ended(), 1, "{error}");
    let key = fs::read(joining.data().join("node.key")).unwrap();
    disk.grow();
    drop(started(&joining));
    assert_eq!(fs::read(joining.data().join("node.key")).unwrap(), key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_another_users_is_named() {
    let chain = Endpoint::start().await;
    let joining = Joining::new(&chain.url);
    // Its folder is made for somebody else, who has a program that can be reached.
    drop(started(&joining));
    let (place, key) = (joining.place.path().to_owned(), joining.data().join("node.key"));
    let program = place.join("session");
    fs::copy(binary(), &program).unwrap();
    let owner = format!("{NOBODY}:{NOBODY}");
    if !allowed("chown", &["-R", &owner, place.to_str().unwrap()]) {
        return;
    }
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(&program);
        command.args(joining.arguments(joining.port)).env_clear().current_dir(&place);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("SESSION_HOME", place.join("home"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(command, "join as nobody")
    };
    assert!(allowed("chown", &["0:0", key.to_str().unwrap()]));
    let running = as_nobody();
    let (steps, end) = running.result();
    let error = end.unwrap_err();
    assert_eq!((steps.last().unwrap()["step"].as_str(), error["code"].as_str()), (Some("keys"), Some("key")));
    assert!(error["message"].as_str().unwrap().contains("Permission denied"), "{error}");
    assert!(error["remedy"].as_str().unwrap().contains("chown"), "{error}");
    assert_eq!(running.ended(), 1);

    assert!(allowed("chown", &[&owner, key.to_str().unwrap()]));
    let running = as_nobody();
    while running.next().unwrap_or_else(|error| panic!("{error}"))["step"] != "start" {}
}
