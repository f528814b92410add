//! `session contact`: names for other people's accounts.

use serde_json::json;

use crate::{
    Context,
    args::Contact,
    failure::Failure,
    network::Access,
    recipient::{Agreed, FoundBy, Recipient},
    text,
};

pub(crate) async fn run(context: &Context, command: Contact) -> Result<(), Failure> {
    let home = context.home()?;
    match command {
        Contact::Add { name, id, follow } => {
            let whom = Recipient::read(context, &home, id.trim())?;
            let (id, found) = match whom {
                Recipient::Account(id) => (id, None),
                named @ Recipient::Named(_) => {
                    let access = Access::open(context).await?;
                    named.found(context, &home, &access, Some(Agreed::account(follow))).await?
                }
            };
            home.add_contact(&name, id, found.as_ref().map(|found| &found.name))?;
            let mut data = json!({ "name": name, "id": id });
            FoundBy::tell(found.as_ref(), &mut data);
            context.output.data(&data, || {
                let by =
                    found.as_ref().map_or_else(String::new, |by| format!(", by {}{}", by.name, by.told()));
                format!("{name} is {id}{by}")
            })
        }
        Contact::List => {
            let (contacts, found) = (home.contacts()?, home.contact_names()?);
            let data =
                contacts.iter().map(|(name, id)| json!({ "name": name, "id": id, "found": found.get(name) }));
            let data: Vec<_> = data.collect();
            context.output.data(&json!({ "contacts": data }), || {
                if contacts.is_empty() {
                    return "no contacts; add one with: session contact add NAME ID".to_owned();
                }
                let rows = contacts.iter().map(|(name, id)| {
                    let found = found.get(name).map_or_else(String::new, |found| format!("@{found}"));
                    [name.clone(), id.to_string(), found]
                });
                text::table(["NAME", "ID", "FOUND BY"], &rows.collect::<Vec<_>>())
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
