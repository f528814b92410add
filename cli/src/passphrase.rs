//! What keys are encrypted under: out of a file, the environment, or asked for; never an argument, which every
//! process of the machine could read.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use session_node::keystore::Passphrase;
use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};

/// Where a passphrase may be in the environment.
pub(crate) const VARIABLE: &str = "SESSION_PASSPHRASE";
/// Where one that is to come may be.
pub(crate) const NEW: &str = "SESSION_NEW_PASSPHRASE";
/// Where the name of its file may be.
pub(crate) const FILE: &str = "SESSION_PASSPHRASE_FILE";
/// What a service's credential is called that is one: `LoadCredential=passphrase:FILE`.
pub(crate) const CREDENTIAL: &str = "passphrase";
/// More than any passphrase, in bytes.
const MAX: u64 = 4_096;

/// The file of the passphrase that systemd hands to this service, if it does.
pub(crate) fn credential() -> Option<PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    Some(Path::new(&folder).join(CREDENTIAL)).filter(|path| path.is_file())
}

/// The passphrase of a file or of the environment; none where neither has one.
pub(crate) fn given(file: Option<&Path>, variable: &str) -> Result<Option<Passphrase>, Failure> {
    if let Some(path) = file {
        return from_file(path).map(Some);
    }
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => checked(&Zeroizing::new(text)).map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// That passphrase; where there is none it is asked for.
pub(crate) fn wanted(file: Option<&Path>, question: &str) -> Result<Passphrase, Failure> {
    match given(file, VARIABLE)? {
        Some(passphrase) => Ok(passphrase),
        None => asked(question),
    }
}

/// A new passphrase; where it is asked for on a terminal, twice.
pub(crate) fn chosen(file: Option<&Path>, variable: &str, question: &str) -> Result<Passphrase, Failure> {
    if let Some(passphrase) = given(file, variable)? {
        return Ok(passphrase);
    }
    let passphrase = asked(question)?;
    if io::stdin().is_terminal() && asked("Once more:")? != passphrase {
        let message = "the two are not the same";
        return Err(Failure::new(Exit::Failed, "passphrase", message, "type the same passphrase twice"));
    }
    Ok(passphrase)
}

fn asked(question: &str) -> Result<Passphrase, Failure> {
    let read = if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("{question} "))
    } else {
        let mut line = String::with_capacity(MAX as usize);
        io::stdin().lock().take(MAX).read_line(&mut line).map(|_| line)
    };
    checked(&Zeroizing::new(read.map_err(|cause| Failure::io("cannot read the passphrase", &cause))?))
}

fn checked(text: &str) -> Result<Passphrase, Failure> {
    Passphrase::new(text).ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "passphrase",
            "there is no passphrase, or one of more than 1,024 bytes",
            format!("give one with --passphrase-file FILE, in {VARIABLE}, on a terminal, or as a line of standard input"),
        )
    })
}

fn from_file(path: &Path) -> Result<Passphrase, Failure> {
    let shown = path.display();
    let failed = |cause: &io::Error| Failure::io(&format!("cannot read the passphrase in {shown}"), cause);
    let source = fs::File::open(path).map_err(|cause| failed(&cause))?;
    let mode = source.metadata().map_err(|cause| failed(&cause))?.permissions().mode();
    // A group may: so a service's credentials look where an access list gives them to it.
    if mode & 0o007 != 0 {
        let message = format!("{shown} can be read by everybody");
        let remedy = format!("chmod 600 {shown}, and change the passphrase if somebody may have read it");
        return Err(Failure::new(Exit::Refused, "passphrase_open_to_others", message, remedy));
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX as usize));
    source.take(MAX).read_to_string(&mut text).map_err(|cause| failed(&cause))?;
    checked(&text)
}
