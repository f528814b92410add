//! `session account`: the user's own accounts.

use std::io::{self, IsTerminal, Read, Write};

use alloy::signers::local::PrivateKeySigner;
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde_json::{Value, json};
use session_chain::account as chain_account;
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
    stake::lower,
    text,
};

mod leaving;

/// The longest secret that is read, in bytes.
const MAX_SECRET: u64 = 4_096;

pub(crate) async fn run(context: &Context, command: args::Account) -> Result<(), Failure> {
    match command {
        args::Account::New { name } => new(context, name),
        args::Account::List => list(context),
        args::Account::Show { name } => show(context, name.as_deref()),
        args::Account::Restore { name, phrase } => restore(context, name, phrase),
        args::Account::Export { name } => export(context, &name),
        args::Account::Key(args::Key::Show { name }) => show_key(context, name.as_deref()),
        args::Account::Key(args::Key::Import { name, yes }) => {
            import_key(context, name.as_deref(), yes).await
        }
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

/// The same; whoever has none and named none gets one.
pub(crate) fn choose_or_make(
    context: &Context,
    home: &Home,
    named: Option<&str>,
) -> Result<(String, AccountId), Failure> {
    if named.is_some() || !home.accounts()?.is_empty() {
        return choose(home, named);
    }
    let (name, account) = (free_name(home)?, generate()?);
    home.create_account(&name, &account)?;
    let told = format!("made account {name}: keep its recovery phrase safe: session account export {name}");
    context.output.note(&told);
    Ok((name, account.id()))
}

/// What signs for an account on the settlement chain, and whether it was imported.
pub(crate) fn signer(home: &Home, name: &str, id: &AccountId) -> Result<(PrivateKeySigner, bool), Failure> {
    let Some(key) = home.chain_key(id)? else {
        return Ok((chain_account::signer(home.account(name)?.seed()), false));
    };
    Ok((chain_account::imported(&key).ok_or_else(no_key)?, true))
}

fn no_key() -> Failure {
    Failure::new(
        Exit::Failed,
        "chain_key",
        "this is no key of an account on the settlement chain",
        "give its 64 hex digits, with or without 0x in front",
    )
}

fn new(context: &Context, name: Option<String>) -> Result<(), Failure> {
    let account = generate()?;
    keep(context, name, &account, "made")
}

fn restore(context: &Context, name: Option<String>, phrase: Vec<String>) -> Result<(), Failure> {
    let phrase = if phrase.is_empty() {
        secret("The recovery phrase, thirteen words:")?
    } else {
        Zeroizing::new(phrase.join(" "))
    };
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

fn generate() -> Result<Account, Failure> {
    Account::generate().map_err(|error| {
        let remedy = "restart the device; its source of randomness does not work";
        Failure::new(Exit::Failed, "no_randomness", error.to_string(), remedy)
    })
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

/// The first of account-1, account-2, ... that stands for nothing, and is taken for nothing else.
fn free_name(home: &Home) -> Result<String, Failure> {
    let mut number = 1_u64;
    loop {
        let name = format!("account-{number}");
        if home.is_free(&name)? {
            return Ok(name);
        }
        number = number.saturating_add(1);
    }
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

fn show_key(context: &Context, name: Option<&str>) -> Result<(), Failure> {
    let home = context.home()?;
    let (name, id) = choose(&home, name)?;
    let (signer, imported) = signer(&home, &name, &id)?;
    let of = if imported { "imported" } else { "follows from the recovery phrase" };
    context.output.data(&key_data(&home, &name, &id)?, || {
        format!("{name}\n  address  {}\n  key      {of}", signer.address())
    })
}

/// Lets an account use another key on the settlement chain. What its address so far holds is looked at first, unless
/// that does not matter (`yes`).
pub(crate) async fn import_key(context: &Context, name: Option<&str>, yes: bool) -> Result<(), Failure> {
    let home = context.home()?;
    let (name, id) = choose(&home, name)?;
    let text = secret("The key, 64 hex digits:")?;
    let digits = text.trim();
    let digits = digits.strip_prefix("0x").unwrap_or(digits).as_bytes();
    let mut key = Zeroizing::new([0; 32]);
    // The place of a wrong digit would say something about the others, so the cause is left out.
    if digits.len() != 2 * key.len() || HEX.decode_mut(digits, &mut *key).is_err() {
        return Err(no_key());
    }
    let next = chain_account::imported(&key).ok_or_else(no_key)?.address();
    let (before, is_imported) = signer(&home, &name, &id)?;
    // One that was imported before is never replaced.
    if !is_imported && !yes && before.address() != next {
        Box::pin(leaving::check(context, &name, &before)).await?;
    }
    home.import_chain_key(&id, &key)?;
    context.output.note("It is not in the recovery phrase: keep your own copy of it.");
    let mut data = key_data(&home, &name, &id)?;
    let grown = chain_account::signer(home.account(&name)?.seed()).address();
    let file = home.chain_key_file(&id);
    data["before"] = json!(lower(grown));
    data["file"] = json!(file);
    context.output.data(&data, || {
        let file = file.display();
        format!(
            "{name}\n  address  {next}\n  key      imported, kept in {file}\nThe key of the recovery phrase, of {grown}, \
             is used again once that is moved away:\n  mv '{file}' '{file}.away'"
        )
    })
}

/// The key of an account on the settlement chain, for programs.
fn key_data(home: &Home, name: &str, id: &AccountId) -> Result<Value, Failure> {
    let (signer, imported) = signer(home, name, id)?;
    Ok(json!({ "name": name, "id": id, "address": lower(signer.address()), "imported": imported }))
}

/// Asks for a secret on a terminal, or reads it from standard input.
fn secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    // Room for any secret, so that no copy of it stays behind in a smaller buffer.
    let mut secret = Zeroizing::new(String::with_capacity(MAX_SECRET as usize));
    let read = if io::stdin().is_terminal() {
        // A program that shows its user a terminal has to let the question through: not a note.
        let _ = writeln!(io::stderr(), "{question}");
        io::stdin().read_line(&mut secret).map(drop)
    } else {
        io::stdin().take(MAX_SECRET).read_to_string(&mut secret).map(drop)
    };
    read.map_err(|cause| Failure::io("cannot read it", &cause))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_chooses_no_name_gets_one_that_is_taken_for_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        assert_eq!(free_name(&home).unwrap(), "account-1");
        home.create_account("Account-1", &Account::new(&[1; 16])).unwrap();
        home.add_contact("account-2", Account::new(&[2; 16]).id(), None).unwrap();
        assert_eq!(free_name(&home).unwrap(), "account-3");
        home.create_account("account-3", &Account::new(&[3; 16])).unwrap();
    }
}
