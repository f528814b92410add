//! `session key`: whose keys a node's folder has, their backup, and what they are encrypted under.

use std::path::Path;

use serde_json::json;
use session_chain::bls::BlsSecret;
use session_node::keystore::{
    self, KeyError, Passphrase,
    backup::{Backup, BackupError, holds_network},
};

use crate::{
    Context,
    args::{Change, Flags, Folder, NodeKey},
    failure::{Exit, Failure, chain},
    node::settings,
    passphrase, stake, text,
};

pub(crate) fn run(context: &Context, command: NodeKey) -> Result<(), Failure> {
    match command {
        NodeKey::Show { of } => show(context, &of),
        NodeKey::Backup { file, of } => backup(context, &file, &of),
        NodeKey::Restore { file, of } => restore(context, &file, &of),
        NodeKey::ChangePassphrase(arguments) => change(context, &arguments),
    }
}

fn show(context: &Context, of: &Folder) -> Result<(), Failure> {
    let data = &of.data;
    let id = keystore::id(data)?;
    let encrypted = keystore::is_sealed(data)?;
    let gas = keystore::gas_address(data)?.map(stake::lower);
    // It follows from the key itself, which a passphrase may keep; nobody is asked for that only to look.
    let passphrase = passphrase::given(of.passphrase_file.as_deref(), passphrase::VARIABLE)?;
    let bls = match keystore::load_under(data, passphrase.as_ref()) {
        Ok(pair) => Some(BlsSecret::of_node(&pair).public().to_string()),
        Err(KeyError::Sealed { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let shown = json!({ "id": id, "data": data, "bls_key": bls, "gas_account": gas, "encrypted": encrypted });
    context.output.data(&shown, || {
        let bls = bls.as_deref().unwrap_or("not known without the passphrase");
        let gas = gas.as_deref().unwrap_or("none: it submits no checkpoints");
        let kept = if encrypted { "encrypted" } else { "not encrypted, readable by their owner only" };
        format!("{id}\n  bls key  {bls}\n  pays by  {gas}\n  keys     {kept}")
    })
}

fn backup(context: &Context, file: &Path, of: &Folder) -> Result<(), Failure> {
    let data = &of.data;
    let given = of.passphrase_file.as_deref();
    let of_network = holds_network(data);
    let passphrase = if !of_network && keystore::is_sealed(data)? {
        passphrase::wanted(given, "The passphrase of the node's keys:")?
    } else {
        passphrase::chosen(given, passphrase::VARIABLE, "A passphrase for the backup:")?
    };
    let (backup, missing) = if of_network {
        (Backup::of_network(data)?, None)
    } else {
        let (network, missing) = match elsewhere(context, data) {
            Ok(network) => (network, None),
            Err(why) => (None, Some(why)),
        };
        (Backup::of(data, &passphrase, network)?, missing)
    };
    backup.save(file, &passphrase)?;
    if let Some(why) = &missing {
        context
            .output
            .warn(&format!("the network's file is not in the backup: {why}; keep that file yourself"));
    }
    let files: Vec<&str> = backup.files().collect();
    let result = json!({
        "id": backup.id(), "file": file, "made": backup.made(), "files": files, "missing": missing,
    });
    context.output.data(&result, || {
        format!(
            "backed {what} up to {file}\n  in it  {files}\n\
             Keep it on another machine, and the passphrase elsewhere: without it the backup is of no use.",
            what = what(&backup),
            file = file.display(),
            files = files.join(", "),
        )
    })
}

/// Of what a backup is, in words.
fn what(backup: &Backup) -> String {
    let whose = if backup.is_of_network() { "the network of the publisher" } else { "the node" };
    format!("{whose} {}", backup.id())
}

/// The file of the node's network, where it is not in the node's folder; or why nobody knows which one that is.
fn elsewhere(context: &Context, data: &Path) -> Result<Option<(String, String)>, String> {
    let chosen = settings::chosen(context, Some(data), None, &Flags::default());
    let Some((path, network)) = chosen.map_err(|failure| failure.message)?.network else {
        return Err("the node's settings name no network".to_owned());
    };
    let real = |path: &Path| path.canonicalize().map_err(|cause| format!("{}: {cause}", path.display()));
    let within = real(&path)?.starts_with(real(data)?.join("networks"));
    Ok((!within).then(|| (network.name.to_string(), network.to_toml())))
}

fn restore(context: &Context, file: &Path, of: &Folder) -> Result<(), Failure> {
    let passphrase = passphrase::wanted(of.passphrase_file.as_deref(), "The passphrase of the backup:")?;
    let backup = Backup::read(file, &passphrase)?;
    backup.restore(&of.data)?;
    let files: Vec<&str> = backup.files().collect();
    let result = json!({ "id": backup.id(), "data": of.data, "made": backup.made(), "files": files });
    context.output.data(&result, || {
        let data = of.data.display();
        let then = match backup.is_of_network() {
            true => format!("session network publish as before, with --data {data}"),
            false => format!("session node run --data {data}"),
        };
        format!(
            "restored {what}, as it was at {made}, to {data}\n  from it  {files}\n\
             It must run nowhere else. Where it ran within this epoch, start it when that has ended: it may have \
             signed a checkpoint.\n\
             Then: {then}",
            what = what(&backup),
            made = text::time(backup.made()),
            files = files.join(", "),
        )
    })
}

fn change(context: &Context, arguments: &Change) -> Result<(), Failure> {
    let data = &arguments.of.data;
    let old = match keystore::is_sealed(data)? {
        true => {
            let file = arguments.of.passphrase_file.as_deref();
            Some(passphrase::wanted(file, "The passphrase of the node's keys:")?)
        }
        // Also where it was interrupted when one of two keys was encrypted.
        false => passphrase::given(arguments.of.passphrase_file.as_deref(), passphrase::VARIABLE)?,
    };
    let new: Option<Passphrase> = match arguments.remove {
        true => None,
        false => {
            let file = arguments.new_passphrase_file.as_deref();
            Some(passphrase::chosen(file, passphrase::NEW, "The new passphrase:")?)
        }
    };
    keystore::change(data, old.as_ref(), new.as_ref())?;
    let result = json!({ "id": keystore::id(data)?, "data": data, "encrypted": new.is_some() });
    context.output.data(&result, || match new {
        Some(_) => "the node's keys are encrypted under the new passphrase\n\
                    It is needed whenever the node starts: --passphrase-file FILE, or SESSION_PASSPHRASE. Backups \
                    keep theirs."
            .to_owned(),
        None => "the node's keys are not encrypted any more, and readable by their owner only".to_owned(),
    })
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let (exit, code) = match &error {
            KeyError::Exists { .. } => (Exit::Refused, "key_exists"),
            KeyError::Permissions { .. } => (Exit::Refused, "key_open_to_others"),
            KeyError::Sealed { .. } | KeyError::Passphrase { .. } => (Exit::Failed, "passphrase"),
            _ => (Exit::Failed, "key"),
        };
        Self::new(exit, code, chain(&error), error.remedy())
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let (exit, code) = match error {
            BackupError::Key(error) => return error.into(),
            BackupError::Exists { .. } => (Exit::Refused, "exists"),
            BackupError::Passphrase { .. } => (Exit::Failed, "passphrase"),
            _ => (Exit::Failed, "backup"),
        };
        Self::new(exit, code, chain(&error), error.remedy())
    }
}
