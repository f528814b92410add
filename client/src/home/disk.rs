//! Folders and files that change as a whole, for one user's eyes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::HomeError;

/// Makes a folder that only its owner enters; one that is there stays as it is.
pub(super) fn make_folder(path: &Path) -> Result<(), HomeError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(failed("make", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Refuses a folder in which others could replace files.
pub(super) fn check_owner_writes(path: &Path) -> Result<(), HomeError> {
    #[cfg(unix)]
    {
        let mode = fs::metadata(path).map_err(failed("look at", path))?.permissions();
        if std::os::unix::fs::PermissionsExt::mode(&mode) & 0o022 != 0 {
            return Err(HomeError::OpenToOthers(path.to_owned()));
        }
    }
    Ok(())
}

/// Waits until nobody else changes the folder; the lock ends when the file is dropped.
pub(super) fn lock(folder: &Path) -> Result<File, HomeError> {
    let path = folder.join("lock");
    let file = private().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(failed("open", &path))?;
    loop {
        match file.lock() {
            Ok(()) => return Ok(file),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("lock", &path)(error)),
        }
    }
}

/// Whether there is something of this name.
pub(super) fn exists(path: &Path) -> Result<bool, HomeError> {
    path.try_exists().map_err(failed("look at", path))
}

/// Reads a file; none when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, HomeError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Writes a file as a whole: after a crash there is the old one or the new one. Needs the lock.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // Left by a run that ended early; made anew, so that its permissions are ours.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &new)(error)),
        _ => {}
    }
    let mut file = private().write(true).create_new(true).open(&new).map_err(failed("make", &new))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &new))?;
    fs::rename(&new, path).map_err(failed("replace", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes sure that what happened to the names in a folder outlasts a crash.
fn sync_folder(path: &Path) -> Result<(), HomeError> {
    // The folder of a bare file name is the empty path.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if cfg!(unix) {
        File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("sync", path))?;
    }
    Ok(())
}

/// Options for files that only their owner reads.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn failed(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    move |cause| HomeError::Io { deed, path: path.to_owned(), cause }
}
