//! `session name show`: what a name resolves to, or by which name somebody goes, as the nodes have signed it.

use serde_json::{Map, Value as Json, json};
use session_client::{GoesBy, Resolved};
use session_protocols::{
    AccountId,
    names::{
        Kind, Name, Value,
        value::{ValueError, Wallet},
    },
};

use super::saying::value_told;
use crate::{
    Context,
    failure::{Exit, Failure},
    network::Access,
    payee, recipient,
    stake::lower,
    text,
};

pub(crate) async fn run(context: &Context, of: &str) -> Result<(), Failure> {
    let (home, text) = (context.home()?, of.trim());
    let somebody = match text.parse::<AccountId>() {
        Ok(id) => Some((Wallet(payee::known(&home, &id)?.into_array()), Some(id))),
        // With another length it is a name.
        Err(_) if text.starts_with("0x") && text.len() == 42 => {
            Some((text.parse::<Wallet>().map_err(no_address)?, None))
        }
        Err(_) => None,
    };
    let access = Access::open(context).await?;
    let name = match &somebody {
        Some((wallet, _)) => name_of(&access, wallet).await?,
        None => recipient::name(text)?,
    };
    recipient::warn(context, &home, &access, &name)?;
    let resolved = access.client.resolve(&name).await.map_err(|error| access.failed(error))?;
    if let Some((_, Some(id))) = somebody
        && resolved.records.get(&Kind::Account) != Some(&Ok(Value::Account(id)))
    {
        return Err(Failure::new(
            Exit::Failed,
            "other_account",
            format!("the wallet of {id} goes by the name {name}, and the name does not lead to the account"),
            format!(
                "see where it leads: session name show {name}; its owner can set it: session name set {name} account {id}"
            ),
        ));
    }
    for (kind, record) in &resolved.records {
        if let Err(error) = record {
            context.output.warn(&format!("the {kind} of {name} cannot be read: {error}"));
        }
    }
    let read = resolved.records.iter().filter_map(|(kind, record)| Some((kind, record.as_ref().ok()?)));
    let records: Vec<(&Kind, &Value)> = read.collect();
    let warning = recipient::old(&access);
    warning.iter().for_each(|warning| context.output.warn(warning));
    let Resolved { id, owner, expires, revealed, price, .. } = &resolved;
    let age = access.client.names_age();
    let price = price.map(|price| price.to_string());
    let data = json!({
        "name": name.to_string(),
        "id": id.to_string(),
        "owner": lower(owner.0.into()),
        "expires": expires.saturating_mul(1_000),
        "records": records.iter().map(|(kind, value)| (kind.to_string(), json!(value_told(value)))).collect::<Map<_, Json>>(),
        "revealed": revealed,
        "price": price,
        "as_of": age.map(|age| age.ended_ms),
        "missing": age.map(|age| age.missing),
        "warning": warning,
    });
    context.output.data(&data, || {
        let mut rows = vec![
            ["name".to_owned(), text::plain(&name.to_unicode())],
            ["id".to_owned(), id.to_string()],
            ["owner".to_owned(), owner.to_string()],
            ["expires".to_owned(), text::time(expires.saturating_mul(1_000))],
            ["revealed".to_owned(), if *revealed { "yes" } else { "no" }.to_owned()],
            [
                "price".to_owned(),
                price.map_or_else(|| "not for sale".to_owned(), |price| format!("{price} SESH")),
            ],
        ];
        rows.extend(age.map(|age| ["as of".to_owned(), text::time(age.ended_ms)]));
        rows.extend(records.iter().map(|(kind, value)| [kind.to_string(), text::plain(&value.to_string())]));
        rows.iter().map(|[what, value]| format!("{what:<10} {value}\n")).collect()
    })
}

/// The name by which an address goes.
async fn name_of(access: &Access, wallet: &Wallet) -> Result<Name, Failure> {
    match access.client.goes_by(wallet).await.map_err(|error| access.failed(error))? {
        Some(GoesBy { name: Some(name), .. }) => Ok(name),
        Some(GoesBy { id, name: None }) => Err(Failure::new(
            Exit::Failed,
            "name_hidden",
            format!(
                "{wallet} goes by a name whose owner has not published what it is called; its id is {id}"
            ),
            "ask its owner for it: session name show NAME has the same id",
        )),
        None => Err(Failure::new(
            Exit::Failed,
            "no_reverse",
            format!("{wallet} goes by no name"),
            "its owner says one with session name reverse NAME; what was said just now is known when the next epoch ends",
        )),
    }
}

fn no_address(error: ValueError) -> Failure {
    Failure::usage(error.to_string(), "copy it once more, from where it was shown")
}
