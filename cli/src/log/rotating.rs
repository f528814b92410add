//! A log in files of bounded length and number: `node.log`, and before it `node.log.1`, `node.log.2`, ...

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Readable by its owner only.
const MODE: u32 = 0o600;

/// A file that is set aside for a new one once it is full. What is written at once stays together.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    length: u64,
    /// How long a file may become.
    bytes: u64,
    /// How many are kept, this one among them.
    files: u64,
}

impl RotatingFile {
    /// Goes on at the end of the file at `path`, which is made if missing.
    pub(super) fn open(path: &Path, bytes: u64, files: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path)?;
        if !file.metadata()?.is_file() {
            let message = "a log is kept in a file, and this is none";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // One that was there may have been open to others.
        file.set_permissions(Permissions::from_mode(MODE))?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, bytes, files: files.max(1) })
    }

    /// The name of the file that was set aside so many times.
    fn aside(&self, number: u64) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }

    /// Sets the files aside, the oldest of which goes, and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        let oldest = self.files.saturating_sub(1);
        // What was set aside before a new one could not be begun is not set aside again.
        let last = if self.path.exists() { oldest } else { 0 };
        for number in (0..last).rev() {
            match fs::rename(self.aside(number), self.aside(number.saturating_add(1))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let mut options = OpenOptions::new();
        // It is not there any more, unless it is the only one.
        self.file = options.create(true).write(true).truncate(true).mode(MODE).open(&self.path)?;
        self.length = 0;
        Ok(())
    }
}

impl Write for RotatingFile {
    /// Writes a line. Where files cannot be set aside it is lost, so that none grows beyond its bound.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let more = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.length > 0 && self.length.saturating_add(more) > self.bytes {
            self.rotate()?;
        }
        let written = self.file.write(line)?;
        self.length = self.length.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|_| "-".to_owned())
    }

    fn log(folder: &Path, bytes: u64, files: u64) -> RotatingFile {
        RotatingFile::open(&folder.join("node.log"), bytes, files).unwrap()
    }

    #[test]
    fn a_device_is_no_log_and_what_was_set_aside_stays_where_none_can_be_begun() {
        let refused = RotatingFile::open(Path::new("/dev/null"), 1, 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        let folder = tempfile::tempdir().unwrap();
        let mut file = log(folder.path(), 10, 3);
        file.write_all(b"1234567\n").unwrap();
        fs::rename(folder.path().join("node.log"), folder.path().join("node.log.1")).unwrap();
        file.write_all(b"2234567\n").unwrap();
        let kept = ["node.log", "node.log.1", "node.log.2"].map(|name| read(&folder.path().join(name)));
        assert_eq!(kept, ["2234567\n", "1234567\n", "-"]);
    }

    #[test]
    fn files_are_bounded_in_length_and_number_and_keep_the_newest_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = log(folder.path(), 10, 3);
        for number in 1..=9 {
            file.write_all(format!("{number}234\n").as_bytes()).unwrap();
        }
        let kept = ["node.log", "node.log.1", "node.log.2", "node.log.3"]
            .map(|name| read(&folder.path().join(name)));
        assert_eq!(kept, ["9234\n", "7234\n8234\n", "5234\n6234\n", "-"]);
        for entry in fs::read_dir(folder.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // It goes on where it was.
        drop(file);
        let mut file = log(folder.path(), 10, 3);
        file.write_all(b"a234\n").unwrap();
        file.write_all(b"b234\n").unwrap();
        assert_eq!(read(&folder.path().join("node.log.1")), "9234\na234\n");
    }

    #[test]
    fn a_line_is_never_parted_however_long() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = log(folder.path(), 10, 2);
        file.write_all(b"a\n").unwrap();
        file.write_all(b"twenty bytes of text\n").unwrap();
        file.write_all(b"b\n").unwrap();
        assert_eq!(read(&folder.path().join("node.log")), "b\n");
        assert_eq!(read(&folder.path().join("node.log.1")), "twenty bytes of text\n");
    }

    #[test]
    fn one_file_alone_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = log(folder.path(), 4, 1);
        file.write_all(b"old\n").unwrap();
        file.write_all(b"new\n").unwrap();
        assert_eq!(read(&folder.path().join("node.log")), "new\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_could_read_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        fs::write(&path, "before\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        log(folder.path(), 100, 2).write_all(b"after\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path), "before\nafter\n");
    }

    #[test]
    fn what_cannot_be_set_aside_does_not_grow() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = log(folder.path(), 4, 2);
        file.write_all(b"old\n").unwrap();
        // A folder that is not empty stands where it would go.
        fs::create_dir_all(folder.path().join("node.log.1/x")).unwrap();
        file.write_all(b"new\n").unwrap_err();
        assert_eq!(read(&folder.path().join("node.log")), "old\n");
        fs::remove_dir_all(folder.path().join("node.log.1")).unwrap();
        file.write_all(b"new\n").unwrap();
        assert_eq!(read(&folder.path().join("node.log")), "new\n");
    }
}
