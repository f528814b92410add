//! `session name show`: what a name resolves to, as the nodes have signed it.

use serde_json::{Map, Value as Json, json};
use session_client::Resolved;

use crate::{Context, failure::Failure, network::Access, recipient, stake::lower, text};

pub(crate) async fn run(context: &Context, name: &str) -> Result<(), Failure> {
    let name = recipient::name(name)?;
    let home = context.home()?;
    let access = Access::open(context).await?;
    recipient::warn(context, &home, &access, &name)?;
    let resolved = access.client.resolve(&name).await.map_err(|error| access.failed(error))?;
    for (kind, record) in &resolved.records {
        if let Err(error) = record {
            context.output.warn(&format!("the {kind} of {name} cannot be read: {error}"));
        }
    }
    let read = |(kind, record): (_, &Result<_, _>)| {
        record.as_ref().ok().map(|value: &session_protocols::names::Value| (kind, value.to_string()))
    };
    let records: Vec<(&session_protocols::names::Kind, String)> =
        resolved.records.iter().filter_map(read).collect();
    let Resolved { id, owner, expires, revealed, price, .. } = &resolved;
    let price = price.map(|price| price.to_string());
    let data = json!({
        "name": name.to_string(),
        "id": id.to_string(),
        "owner": lower(owner.0.into()),
        "expires": expires.saturating_mul(1_000),
        "records": records.iter().map(|(kind, value)| (kind.to_string(), json!(value))).collect::<Map<_, Json>>(),
        "revealed": revealed,
        "price": price,
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
        rows.extend(records.iter().map(|(kind, value)| [kind.to_string(), text::plain(value)]));
        rows.iter().map(|[what, value]| format!("{what:<10} {value}\n")).collect()
    })
}
