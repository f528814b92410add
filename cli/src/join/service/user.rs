//! The user that a service runs as: the node's folder is given to it, and what is written there is written by its rights.
//!
//! Whoever breaks into the node has its folder: root that wrote there would go wherever a link leads.

use std::{
    ffi::{CStr, OsStr},
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, chownat, fchmod, fchown, fstat, open, openat, statat},
    process::{Gid, Uid, geteuid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::output;
use crate::failure::{Exit, Failure};

/// How a folder is opened: itself, not where a link leads.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A user of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(super) id: u32,
    pub(super) group: u32,
}

impl User {
    pub(super) async fn find(name: &str) -> Result<Option<Self>, Failure> {
        let id = output("id", &["-u", "--", name]).await?;
        let group = output("id", &["-g", "--", name]).await?;
        Ok(id.out.parse().ok().zip(group.out.parse().ok()).map(|(id, group)| Self { id, group }))
    }

    /// Does something by the rights of this user, in a thread of its own.
    pub(crate) fn act<T: Send>(self, deed: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
        if geteuid().as_raw() == self.id {
            return deed();
        }
        let acted = thread::scope(|scope| {
            let acting = scope.spawn(move || {
                self.enter().map_err(|cause| Failure::io("cannot act as the node's user", &cause))?;
                deed()
            });
            acting.join()
        });
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Gives this thread the rights of the user. The real user stays, so that no process of that user may signal or
    /// trace this one.
    fn enter(self) -> io::Result<()> {
        set_thread_groups(&[])?;
        set_thread_res_gid(None::<Gid>, Gid::from_raw(self.group), None::<Gid>)?;
        set_thread_res_uid(None::<Uid>, Uid::from_raw(self.id), None::<Uid>)?;
        Ok(())
    }

    /// The first folder on the way to `path` that is closed to this user, or the file there.
    pub(super) fn shut_out(self, path: &Path) -> Option<PathBuf> {
        let closed = |path: &&Path| {
            let Ok(found) = fs::metadata(path) else { return false };
            let bit = if found.uid() == self.id {
                0o100
            } else if found.gid() == self.group {
                0o010
            } else {
                0o001
            };
            found.mode() & bit == 0
        };
        // A folder at the end is its own; root gets everywhere.
        let way = path.ancestors().skip(usize::from(!path.is_file())).filter(|_| self.id != 0);
        way.filter(closed).last().map(Path::to_owned)
    }

    /// Makes a node's folder, or takes the one that is there, for this user alone. What belongs to somebody else is left
    /// alone; in a folder that is the user's already, and may be full of links, root changes nothing.
    pub(super) fn own(self, name: &str, data: &Path) -> Result<(), Failure> {
        let failed = |cause: io::Error| Failure::io(&format!("cannot hand over {}", data.display()), &cause);
        fs::create_dir_all(data).map_err(failed)?;
        let folder = open(data, FOLDER, Mode::empty()).map_err(|cause| failed(cause.into()))?;
        let owner = fstat(&folder).map_err(|cause| failed(cause.into()))?.st_uid;
        if owner == self.id {
            return self.act(|| self.close(name, data));
        }
        let theirs = if self.may_take(owner) {
            // From here on nobody but root gets in.
            fchmod(&folder, Mode::RWXU).map_err(|cause| failed(cause.into()))?;
            self.stranger(&folder, data).map_err(failed)?
        } else {
            Some(data.to_owned())
        };
        if let Some(theirs) = theirs {
            let message = format!("{} belongs to another user", theirs.display());
            let remedy =
                "let the service run as that user: --user NAME; or join with another folder: --data DIR";
            return Err(Failure::new(Exit::Refused, "not_own", message, remedy));
        }
        self.take(&folder).map_err(failed)?;
        // At last, so that whoever was interrupted begins again.
        fchown(&folder, Some(Uid::from_raw(self.id)), Some(Gid::from_raw(self.group)))
            .map_err(|cause| failed(cause.into()))
    }

    /// Closes this user's own folder to others, and looks whether the node gets at what is in it.
    fn close(self, name: &str, data: &Path) -> Result<(), Failure> {
        let failed = |cause: io::Error| Failure::io(&format!("cannot look into {}", data.display()), &cause);
        fs::set_permissions(data, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        for entry in fs::read_dir(data).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let owner = match entry.metadata() {
                // A running node removes files.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                found => found.map_err(failed)?.uid(),
            };
            if owner != self.id {
                let theirs = entry.path();
                let message = format!("{} belongs to another user than the node's", theirs.display());
                let remedy = format!(
                    "look whether it is the node's, and give it to it: chown -h {name} {}",
                    theirs.display()
                );
                return Err(Failure::new(Exit::Refused, "not_own", message, remedy));
            }
        }
        Ok(())
    }

    fn may_take(self, owner: u32) -> bool {
        [0, geteuid().as_raw(), self.id].contains(&owner)
    }

    /// The first thing in a folder, however deep, that belongs to somebody else.
    fn stranger(self, folder: &OwnedFd, path: &Path) -> io::Result<Option<PathBuf>> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_itself(name) {
                continue;
            }
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if !self.may_take(found.st_uid) {
                return Ok(Some(path));
            }
            if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                let inner = openat(folder, name, FOLDER, Mode::empty())?;
                if let Some(theirs) = self.stranger(&inner, &path)? {
                    return Ok(Some(theirs));
                }
            }
        }
        Ok(None)
    }

    /// Gives all that is in a folder to this user: links themselves, not what they lead to.
    fn take(self, folder: &OwnedFd) -> io::Result<()> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_itself(name) {
                continue;
            }
            let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                self.take(&openat(folder, name, FOLDER, Mode::empty())?)?;
            }
            let (user, group) = (Uid::from_raw(self.id), Gid::from_raw(self.group));
            chownat(folder, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }
}

/// Whether a name in a folder is that folder, or the one above.
fn is_itself(name: &CStr) -> bool {
    [&b"."[..], b".."].contains(&name.to_bytes())
}

#[cfg(test)]
#[allow(clippy::print_stderr, reason = "a test says what it leaves out")]
mod tests {
    use std::os::unix::fs::{chown, lchown, symlink};

    use super::*;

    /// One that is nobody here.
    const STRANGER: User = User { id: 54_711, group: 54_711 };

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn a_user_is_shut_out_by_the_first_folder_that_is_closed_to_it() {
        let temp = tempfile::tempdir().unwrap();
        let (open, closed) = (temp.path().join("open"), temp.path().join("open/closed"));
        let data = closed.join("below/node");
        fs::create_dir_all(&data).unwrap();
        for (path, mode) in [(temp.path(), 0o755), (&open, 0o711), (&closed, 0o700)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(STRANGER.shut_out(&data), Some(closed));
        assert_eq!(STRANGER.shut_out(&open.join("node")), None);
        let program = open.join("session");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o744)).unwrap();
        assert_eq!(STRANGER.shut_out(&program), Some(program.clone()), "it may not be run");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(STRANGER.shut_out(&program), None);
        assert_eq!(User { id: 0, ..STRANGER }.shut_out(&data), None);
        // What it has it has alone.
        let found = fs::metadata(&data).unwrap();
        User { id: found.uid(), group: found.gid() }.own("me", &data).unwrap();
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_is_handed_over_and_nothing_that_links_in_it_lead_to() {
        if !geteuid().is_root() {
            eprintln!("left out: only root hands folders over");
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (data, outside) = (temp.path().join("node"), temp.path().join("outside"));
        fs::create_dir_all(data.join("networks/deep")).unwrap();
        fs::create_dir(&outside).unwrap();
        for path in [outside.join("root"), data.join("node.key"), data.join("networks/deep/file")] {
            fs::write(path, "mine").unwrap();
        }
        symlink(&outside, data.join("folder")).unwrap();
        symlink(outside.join("root"), data.join("networks/link")).unwrap();
        STRANGER.own("stranger", &data).unwrap();
        for name in ["", "node.key", "networks", "networks/deep/file", "networks/link", "folder"] {
            assert_eq!(owner(&data.join(name)), STRANGER.id, "{name}");
        }
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
        assert_eq!((owner(&outside), owner(&outside.join("root"))), (0, 0));

        // Once it is the user's root changes nothing in it any more, and says what the node would not get at.
        fs::write(data.join("gas.key"), "").unwrap();
        let refused = STRANGER.own("stranger", &data).unwrap_err();
        assert_eq!((refused.exit, refused.code), (Exit::Refused, "not_own"));
        assert!(
            refused.remedy.contains(&format!("chown -h stranger {}/gas.key", data.display())),
            "{refused:?}"
        );
        assert_eq!(owner(&data.join("gas.key")), 0);

        // A third one's is taken by nobody, and a link in the place of the folder is not followed.
        let theirs = temp.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("file"), "").unwrap();
        chown(theirs.join("file"), Some(STRANGER.id + 1), None).unwrap();
        assert_eq!(STRANGER.own("stranger", &theirs).unwrap_err().code, "not_own");
        assert_eq!(owner(&theirs), 0);
        let link = temp.path().join("link");
        symlink(&outside, &link).unwrap();
        lchown(&link, Some(STRANGER.id), None).unwrap();
        assert_eq!(STRANGER.own("stranger", &link).unwrap_err().code, "io");
        assert_eq!(owner(&outside), 0);
    }

    #[test]
    fn what_is_done_for_a_user_goes_no_further_than_the_user_does() {
        if !geteuid().is_root() {
            assert!(STRANGER.act(|| Ok(())).is_err(), "nobody but root acts for others");
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (data, canary) = (temp.path().join("node"), temp.path().join("canary"));
        fs::write(&canary, "root's").unwrap();
        STRANGER.own("stranger", &data).unwrap();
        // As somebody may have left it who broke into the node.
        for name in ["registration.new", "node.toml", "networks"] {
            symlink(&canary, data.join(name)).unwrap();
            lchown(data.join(name), Some(STRANGER.id), None).unwrap();
        }
        let io = |cause: io::Error| Failure::io("cannot write", &cause);
        let write = |name: &str| fs::write(data.join(name), "theirs").map_err(io);
        for name in ["registration.new", "node.toml", "networks/net.toml"] {
            assert_eq!(STRANGER.act(|| write(name)).unwrap_err().code, "io", "{name}");
        }
        let registration = data.join("registration.toml");
        STRANGER.act(|| crate::node::replace(&registration, "new").map_err(io)).unwrap();
        let settings = data.join("node.toml");
        STRANGER.act(|| crate::config::write(&settings, "http = \"127.0.0.1:1\"\n").map_err(io)).unwrap();
        for path in [registration, settings] {
            assert_eq!(owner(&path), STRANGER.id);
            assert!(fs::symlink_metadata(&path).unwrap().is_file(), "in the place of a link, too");
        }
        assert_eq!((fs::read_to_string(&canary).unwrap(), owner(&canary)), ("root's".to_owned(), 0));
        assert!(geteuid().is_root(), "this thread stays what it was");
    }
}
