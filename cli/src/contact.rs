//! `session contact`: names for other people's accounts.

use serde_json::json;

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
        Contact::Add { name, id, follow } => {
            let id = match Recipient::read(context, &home, id.trim())? {
                Recipient::Account(id) => id,
                named @ Recipient::Named(_) => {
                    let access = Access::open(context).await?;
                    named.account(context, &home, &access, Some(Agreed::account(follow))).await?
                }
            };
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
