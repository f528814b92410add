//! `session send`: one message.

use std::io::{self, Read};

use serde_json::json;

use crate::{
    Context, account, args,
    failure::Failure,
    network::Access,
    recipient::{Agreed, FoundBy, Recipient},
    text,
};

/// The longest text that is read from standard input, in bytes: more than any message holds.
const MAX_TEXT: u64 = 128 * 1_024;

pub(crate) async fn run(context: &Context, arguments: args::Send) -> Result<(), Failure> {
    let args::Send { from, to, follow, text } = arguments;
    let home = context.home()?;
    let (name, _) = account::choose(&home, from.as_deref())?;
    let sender = home.account(&name)?;
    let recipient = Recipient::read(context, &home, &to)?;
    let text = if text == ["-"] { read()? } else { text.join(" ") };
    if text.is_empty() {
        return Err(Failure::usage("there is no text to send", "give one: session send TO TEXT"));
    }
    let access = Access::open(context).await?;
    let (recipient, by) = recipient.found(context, &home, &access, Some(Agreed::account(follow))).await?;
    let sent = access.client.send(&sender, &recipient, &text).await.map_err(|error| access.failed(error))?;
    if let Some(Err(error)) = &sent.copy {
        context.output.note(&format!("the copy for your other devices was not kept: {error}"));
    }
    let mut data = json!({
        "hash": sent.hash.to_string(),
        "stored": sent.stored,
        "swarm": sent.swarm,
        "from": sender.id(),
        "to": recipient,
        "timestamp": sent.timestamp_ms,
    });
    FoundBy::tell(by.as_ref(), &mut data);
    context.output.data(&data, || {
        let to = if to == recipient.to_string() { text::short(&to) } else { text::plain(&to) };
        let by = FoundBy::told_of(by.as_ref());
        format!("sent to {to}{by}: durable at {} of {} nodes", sent.stored, sent.swarm)
    })
}

fn read() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().take(MAX_TEXT).read_to_string(&mut text);
    read.map_err(|cause| Failure::io("cannot read the text", &cause))?;
    // The line break that ends a line is not part of what it says.
    Ok(text.strip_suffix('\n').map(ToOwned::to_owned).unwrap_or(text))
}
