//! `session config`: the settings of a node, shown, checked and written.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::json;
use session_node::settings::{Effective, FILE, Key, Origin, Place, Settings, Shown};

use crate::{
    Context,
    args::{Config, ConfigInit, ConfigShow, Of},
    failure::{Exit, Failure},
    log, network,
    node::settings,
    text,
};

/// How many names are tried for a file that is to become another.
const MAX_DRAFTS: u32 = 64;

pub(crate) fn run(context: &Context, command: Config) -> Result<(), Failure> {
    match command {
        Config::Show(arguments) => show(context, &arguments),
        Config::Check(of) => check(context, &of),
        Config::Init(arguments) => init(context, &arguments),
    }
}

fn show(context: &Context, arguments: &ConfigShow) -> Result<(), Failure> {
    let Of { data, config } = &arguments.of;
    let chosen = settings::chosen(context, data.as_deref(), config.as_deref(), &arguments.flags)?;
    let entries: Vec<Entry<'_>> = chosen.effective.entries().collect();
    let data: Vec<_> = entries
        .iter()
        .map(|(key, shown, place)| {
            json!({ "key": key.name, "value": shown, "origin": place.origin(), "place": said(place) })
        })
        .collect();
    context.output.data(&json!({ "settings": data }), || {
        if arguments.origin {
            let rows: Vec<_> = entries.iter().map(|entry| row(*entry)).collect();
            return text::table(["SETTING", "VALUE", "ORIGIN", "WHERE"], &rows);
        }
        let line = |(key, shown, _): &Entry<'_>| match shown.to_toml() {
            Some(value) => format!("{} = {value}\n", key.name),
            None => format!("# {} is not set\n", key.name),
        };
        entries.iter().map(line).collect()
    })
}

/// A setting, its value, and who said it.
type Entry<'a> = (&'static Key, &'a Shown, &'a Place);

fn row((key, shown, place): Entry<'_>) -> [String; 4] {
    let origin = match place.origin() {
        Origin::Flag => "flag",
        Origin::Environment => "environment",
        Origin::File => "file",
        Origin::Preset => "preset",
        Origin::Default => "default",
    };
    let value = shown.to_toml().unwrap_or_else(|| "-".to_owned());
    [key.name.to_owned(), value, origin.to_owned(), said(place).unwrap_or_default()]
}

/// Where something is said; nowhere, if nobody says it.
fn said(place: &Place) -> Option<String> {
    match place {
        Place::Default => None,
        Place::Flag(_) | Place::Environment(_) | Place::File(..) | Place::Preset(_) => {
            Some(place.to_string())
        }
    }
}

fn check(context: &Context, of: &Of) -> Result<(), Failure> {
    let path = file(of)?;
    let layer = settings::read(&path).map_err(|unread| unread.failure(&path))?;
    let effective = Effective::of(vec![layer])?;
    log::filter(&effective)?;
    lead(context, &effective)?;
    let set = effective.entries().filter(|(.., place)| **place != Place::Default).count();
    context.output.data(&json!({ "file": path, "set": set }), || {
        format!("{} is right: it sets {set} of {}", path.display(), Settings::KEYS.len())
    })
}

/// Whether what the settings name is there.
fn lead(context: &Context, effective: &Effective) -> Result<(), Failure> {
    let settings = effective.settings();
    for (name, path) in [
        ("door_certificate", &settings.door_certificate),
        ("door_key", &settings.door_key),
        ("passphrase_file", &settings.passphrase_file),
    ] {
        let found = path.as_ref().map(fs::File::open);
        if let Some(Err(cause)) = found {
            let error = effective.refuse(name, format!("cannot be read: {cause}"));
            return Err(error.map_or_else(|| Failure::io("cannot read a file", &cause), Failure::from));
        }
    }
    let Some(named) = &settings.network else { return Ok(()) };
    let read = network::file(named, &context.home_path()?).and_then(|path| network::read(&path));
    read.map(drop)
}

fn init(context: &Context, arguments: &ConfigInit) -> Result<(), Failure> {
    let path = alone(&arguments.of)?;
    let failed = |cause: io::Error| Failure::io(&format!("cannot write {}", path.display()), &cause);
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let replaced = path.exists();
    if replaced && !arguments.yes {
        let message = format!("{} exists already", path.display());
        let remedy = "edit that file; or replace it, with all that it sets: add --yes";
        return Err(Failure::new(Exit::Refused, "config_exists", message, remedy));
    }
    write(&path, &Settings::template()).map_err(failed)?;
    context.output.data(&json!({ "file": path, "replaced": replaced }), || {
        format!("wrote {}: every setting is in it, at its default", path.display())
    })
}

/// Writes a file as a whole, readable by its owner only: endpoints of the chain may have a key in them.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    replace(path, text, 0o600)
}

/// Writes a file as a whole, which is to be open to these.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let (draft, mut file) = draft(path, mode)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // One that stays is no settings: nothing reads it.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// A file beside the one that is meant, under a name that nobody has: what is somebody's stays as it is, and one that
/// was there could be open to others.
fn draft(path: &Path, mode: u32) -> io::Result<(PathBuf, fs::File)> {
    let mut number = 0;
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.{number}", std::process::id()));
        let draft = path.with_file_name(name);
        match fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && number < MAX_DRAFTS => number += 1,
            opened => return opened.map(|file| (draft, file)),
        }
    }
}

/// The file that is to be written: whoever names a folder does not mean the file that the environment names.
fn alone(of: &Of) -> Result<PathBuf, Failure> {
    if let (Some(data), Some(config)) = (&of.data, &of.config)
        && *config != data.join(FILE)
    {
        let message = format!(
            "two files are named: {} by --data, and {} by --config or SESSION_CONFIG",
            data.join(FILE).display(),
            config.display()
        );
        return Err(Failure::usage(
            message,
            "name one of them: leave --data out, or --config and SESSION_CONFIG",
        ));
    }
    file(of)
}

/// The file that is meant.
fn file(of: &Of) -> Result<PathBuf, Failure> {
    let named = of.config.clone().or_else(|| Some(of.data.as_ref()?.join(FILE)));
    named.ok_or_else(|| Failure::usage("it is not said whose settings", "add --data DIR or --config FILE"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn of_two_files_that_are_named_none_is_written() {
        let of = |data: Option<&str>, config: Option<&str>| {
            alone(&Of { data: data.map(PathBuf::from), config: config.map(PathBuf::from) })
        };
        let refused = of(Some("/data"), Some("/etc/node.toml")).unwrap_err();
        assert!(refused.message.contains("/data/node.toml") && refused.message.contains("/etc/node.toml"));
        assert!(refused.remedy.contains("SESSION_CONFIG"), "{}", refused.remedy);
        let node = Path::new("/data/node.toml");
        assert_eq!(of(Some("/data"), None).unwrap(), node);
        assert_eq!(of(None, Some("/data/node.toml")).unwrap(), node);
        assert_eq!(of(Some("/data"), Some("/data/node.toml")).unwrap(), node, "it is one");
    }

    #[test]
    fn what_lies_beside_the_settings_is_neither_replaced_nor_made_open() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mine) = (folder.path().join(FILE), folder.path().join("node.new"));
        let left = folder.path().join(format!("{FILE}.{}.0", std::process::id()));
        for other in [&mine, &left] {
            fs::write(other, "mine").unwrap();
        }
        fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, "log_files = 3\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "log_files = 3\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for other in [&mine, &left] {
            assert_eq!(fs::read_to_string(other).unwrap(), "mine");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no draft stays");
        assert!(write(&folder.path().join("none").join(FILE), "").is_err());
    }
}
