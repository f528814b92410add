//! `session contact`: names for other people's accounts.

use serde_json::json;
use session_protocols::AccountId;

use crate::{
    Context,
    args::Contact,
    failure::Failure,
    network::Access,
    recipient::{Agreed, Recipient},
    text,
};

pub(crate) async fn run(context: &Context, command: Contact) -> Result<(), Failure> {
    let home = context.home()?;
    match command {
        Contact::Add { name, id, follow } if id.starts_with('@') => {
            let (whom, follow) = (Recipient::read(context, &home, &id)?, Some(Agreed::account(follow)));
            let id = whom.account(context, &home, &Access::open(context).await?, follow).await?;
            home.add_contact(&name, id)?;
            context.output.data(&json!({ "name": name, "id": id }), || format!("{name} is {id}"))
        }
        Contact::Add { name, id, .. } => {
            let id: AccountId = id.trim().parse().map_err(|_| {
                let remedy = "give the 66 hex digits that `session account show` prints for its owner";
                Failure::usage(format!("\"{}\" is no account id", id.trim()), remedy)
            })?;
            home.add_contact(&name, id)?;
            context.output.data(&json!({ "name": name, "id": id }), || format!("{name} is {id}"))
        }
        Contact::List => {
            let contacts = home.contacts()?;
            let data: Vec<_> = contacts.iter().map(|(name, id)| json!({ "name": name, "id": id })).collect();
            context.output.data(&json!({ "contacts": data }), || {
                if contacts.is_empty() {
                    return "no contacts; add one with: session contact add NAME ID".to_owned();
                }
                let rows: Vec<_> = contacts.iter().map(|(name, id)| [name.clone(), id.to_string()]).collect();
                text::table(["NAME", "ID"], &rows)
            })
        }
        Contact::Remove { name } => {
            let id = home.remove_contact(&name)?;
            context
                .output
                .data(&json!({ "name": name, "id": id }), || format!("removed {name}, who was {id}"))
        }
    }
}
