//! `session account`: the user's own accounts.

use std::io::{self, IsTerminal, Read, Write};

use serde_json::json;
use session_client::{
    account::Account,
    home::{Home, HomeError},
    phrase::PhraseError,
};
use session_protocols::AccountId;
use zeroize::Zeroizing;

use crate::{
    Context, args,
    failure::{Exit, Failure},
    text,
};

/// The longest phrase that is read, in bytes.
const MAX_PHRASE: u64 = 4_096;

pub(crate) fn run(context: &Context, command: args::Account) -> Result<(), Failure> {
    match command {
        args::Account::New { name } => new(context, name),
        args::Account::List => list(context),
        args::Account::Show { name } => show(context, name.as_deref()),
        args::Account::Restore { name, phrase } => restore(context, name, phrase),
        args::Account::Export { name } => export(context, &name),
    }
}

/// The account that is meant: by name, by id, or the first when none is named.
pub(crate) fn choose(home: &Home, named: Option<&str>) -> Result<(String, AccountId), Failure> {
    let accounts = home.accounts()?;
    let none = || {
        Failure::new(Exit::Failed, "no_account", "you have no account", "make one with: session account new")
    };
    let Some(named) = named else { return accounts.into_iter().next().ok_or_else(none) };
    if accounts.is_empty() {
        return Err(none());
    }
    let found = accounts.into_iter().find(|(name, id)| name == named || id.to_string() == named);
    found.ok_or_else(|| HomeError::NoAccount(named.to_owned()).into())
}

fn new(context: &Context, name: Option<String>) -> Result<(), Failure> {
    let account = Account::generate().map_err(|error| {
        Failure::new(
            Exit::Failed,
            "no_randomness",
            error.to_string(),
            "restart the device; its source of randomness does not work",
        )
    })?;
    keep(context, name, &account, "made")
}

fn restore(context: &Context, name: Option<String>, phrase: Vec<String>) -> Result<(), Failure> {
    let phrase = if phrase.is_empty() { ask()? } else { Zeroizing::new(phrase.join(" ")) };
    let account = Account::from_phrase(&phrase).map_err(|error| {
        let remedy = match error {
            PhraseError::Count { .. } => "give all thirteen words, in their order",
            PhraseError::Word { .. } | PhraseError::Group { .. } | PhraseError::Checksum | _ => {
                "compare the words with what was written down; of each the first three letters count"
            }
        };
        Failure::new(Exit::Failed, "phrase", error.to_string(), remedy)
    })?;
    keep(context, name, &account, "restored")
}

fn keep(context: &Context, name: Option<String>, account: &Account, deed: &str) -> Result<(), Failure> {
    let home = context.home()?;
    let name = match name {
        Some(name) => name,
        None => free_name(&home)?,
    };
    home.create_account(&name, account)?;
    let id = account.id();
    context.output.data(&json!({ "name": name, "id": id }), || {
        format!(
            "{deed} account {name}\n  id  {id}\n\
             Give the id to others, so that they can write to it.\n\
             Keep the recovery phrase safe: session account export {name}"
        )
    })
}

/// The first of account-1, account-2, ... that stands for nothing.
fn free_name(home: &Home) -> Result<String, Failure> {
    let (accounts, contacts) = (home.accounts()?, home.contacts()?);
    let taken = |name: &str| accounts.iter().any(|(taken, _)| taken == name) || contacts.contains_key(name);
    let free = (1_u64..).map(|number| format!("account-{number}")).find(|name| !taken(name));
    Ok(free.unwrap_or_default())
}

fn list(context: &Context) -> Result<(), Failure> {
    let accounts = context.home()?.accounts()?;
    let data: Vec<_> = accounts.iter().map(|(name, id)| json!({ "name": name, "id": id })).collect();
    context.output.data(&json!({ "accounts": data }), || {
        if accounts.is_empty() {
            return "no accounts; make one with: session account new".to_owned();
        }
        let rows: Vec<_> = accounts.iter().map(|(name, id)| [name.clone(), id.to_string()]).collect();
        text::table(["NAME", "ID"], &rows)
    })
}

fn show(context: &Context, name: Option<&str>) -> Result<(), Failure> {
    let (name, id) = choose(&context.home()?, name)?;
    context.output.data(&json!({ "name": name, "id": id }), || format!("{name}\n  id  {id}"))
}

fn export(context: &Context, name: &str) -> Result<(), Failure> {
    let home = context.home()?;
    let (name, id) = choose(&home, Some(name))?;
    let phrase = home.account(&name)?.phrase();
    if io::stdout().is_terminal() {
        context
            .output
            .note("Whoever has these words has the account. Write them down, and show them to nobody.");
    }
    let data = json!({ "name": name, "id": id, "phrase": *phrase });
    context.output.data(&data, || phrase.to_string())
}

/// Asks for the phrase on a terminal, or reads it from standard input.
fn ask() -> Result<Zeroizing<String>, Failure> {
    // Room for any phrase, so that no copy of it stays behind in a smaller buffer.
    let mut phrase = Zeroizing::new(String::with_capacity(MAX_PHRASE as usize));
    let read = if io::stdin().is_terminal() {
        // A program that shows its user a terminal has to let the question through: not a note.
        let _ = writeln!(io::stderr(), "The recovery phrase, thirteen words:");
        io::stdin().read_line(&mut phrase).map(drop)
    } else {
        io::stdin().take(MAX_PHRASE).read_to_string(&mut phrase).map(drop)
    };
    read.map_err(|cause| Failure::io("cannot read the phrase", &cause))?;
    Ok(phrase)
}
