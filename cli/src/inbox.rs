//! `session inbox`: what has arrived, and what arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    pin::pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt;
use serde::Serialize;
use serde_json::json;
use session_client::{
    InboxItem,
    cursors::Cursors,
    envelope::{DirectMessage, Kind},
    home::Home,
};
use session_protocols::{AccountId, MessageHash};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{
    Context, account, args,
    failure::Failure,
    network::Access,
    output::Output,
    text,
    wallet::{Cashier, Said, said},
};

/// Messages that are remembered as shown at once, when many arrive.
const BATCH: usize = 64;
/// How long after a look at payments the next one goes on with those that were not checked.
const AGAIN: Duration = Duration::from_secs(2);

/// A message as programs are told.
#[derive(Debug, Serialize)]
struct Shown {
    hash: String,
    from: Option<AccountId>,
    text: Option<String>,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What it says of money, and what the chain says of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    money: Option<Said>,
    /// What people are told where there is no text.
    #[serde(skip)]
    instead: String,
}

pub(crate) async fn run(context: &Context, arguments: args::Inbox) -> Result<(), Failure> {
    let home = context.home()?;
    let (name, id) = account::choose(&home, arguments.account.as_deref())?;
    let account = home.account(&name)?;
    let access = Access::open(context).await?;
    let cashier = Cashier::new(&home, &name, id, access.settlement.clone())?;
    let mut reader = Reader { output: context.output, names: names(&home)?, home, cashier };
    let before = if arguments.new { reader.home.shown(&id)? } else { BTreeSet::new() };

    let items = access.client.inbox(&account).await.map_err(|error| access.failed(error))?;
    let mut mailbox = ends(&items);
    let mut known: BTreeSet<MessageHash> = items.iter().map(|item| item.hash).collect();
    let fresh: Vec<InboxItem> = items.into_iter().filter(|item| !before.contains(&item.hash)).collect();
    if arguments.watch {
        reader.each(&fresh, &BTreeSet::new()).await?;
    } else {
        reader.all(&fresh, arguments.new).await?;
    }
    // What tells of payments that were not checked is not told for good.
    let mut open = reader.open(fresh);
    mailbox.retain(|(hash, _)| !open.iter().any(|item| item.hash == *hash));
    reader.home.mark_all_shown(&id, &mailbox, now_ms())?;
    if !arguments.watch {
        return Ok(());
    }
    known.extend(before);
    // Listened for all the time: one that comes while messages are written down must not be missed.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|cause| Failure::io("cannot listen for an interrupt", &cause))?;
    let arriving = access.client.watch(&account, Cursors::new(), known).await;
    let mut arriving = pin!(arriving.map_err(|error| access.failed(error))?.ready_chunks(BATCH));
    loop {
        tokio::select! {
            items = arriving.next() => match items {
                Some(mut items) => {
                    let told = hashes(&open);
                    open.append(&mut items);
                    let items = take(&mut open);
                    open = reader.go_on(&id, items, &told).await?;
                }
                None => return Ok(()),
            },
            () = sleep(AGAIN), if !open.is_empty() => {
                let told = hashes(&open);
                let items = take(&mut open);
                open = reader.go_on(&id, items, &told).await?;
            }
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

struct Reader {
    output: Output,
    home: Home,
    names: BTreeMap<AccountId, String>,
    cashier: Cashier,
}

impl Reader {
    /// Prints messages in one envelope.
    async fn all(&mut self, items: &[InboxItem], new: bool) -> Result<(), Failure> {
        let mut said = said(&mut self.cashier, items).await?;
        let shown: Vec<Shown> = items.iter().filter_map(|item| show(item, said.remove(&item.hash))).collect();
        self.output.data(&json!({ "messages": shown }), || match shown.as_slice() {
            [] if new => "no new messages".to_owned(),
            [] => "no messages".to_owned(),
            shown => shown.iter().map(|shown| self.human(shown)).collect(),
        })
    }

    /// Prints messages that came, and of those told of before what was checked since. Returns those that are to be
    /// checked still; all others are not new to the account from now on.
    async fn go_on(
        &mut self,
        account: &AccountId,
        items: Vec<InboxItem>,
        told: &BTreeSet<MessageHash>,
    ) -> Result<Vec<InboxItem>, Failure> {
        self.each(&items, told).await?;
        let mut shown = ends(&items);
        let open = self.open(items);
        shown.retain(|(hash, _)| !open.iter().any(|item| item.hash == *hash));
        self.home.mark_shown(account, &shown)?;
        Ok(open)
    }

    /// Those of the messages read last that tell of payments which were not checked.
    fn open(&self, mut items: Vec<InboxItem>) -> Vec<InboxItem> {
        items.retain(|item| self.cashier.unchecked().contains(&item.hash));
        items
    }

    /// Prints messages in an envelope each, but those that were told of before and are no more checked than then.
    async fn each(&mut self, items: &[InboxItem], told: &BTreeSet<MessageHash>) -> Result<(), Failure> {
        let mut said = said(&mut self.cashier, items).await?;
        let open = self.cashier.unchecked().clone();
        let items = items.iter().filter(|item| !(told.contains(&item.hash) && open.contains(&item.hash)));
        for shown in items.filter_map(|item| show(item, said.remove(&item.hash))) {
            if shown.from.is_some_and(|from| !self.names.contains_key(&from)) {
                // Somebody may have been added to the address book meanwhile.
                self.names = names(&self.home)?;
            }
            self.output.data(&json!({ "messages": [&shown] }), || self.human(&shown))?;
        }
        Ok(())
    }

    fn human(&self, shown: &Shown) -> String {
        let from = match &shown.from {
            Some(id) => self.names.get(id).cloned().unwrap_or_else(|| id.to_string()),
            None => "unknown".to_owned(),
        };
        let text = match &shown.money {
            // What the chain says stands beside the name, where no text of a sender's can.
            Some(said) => {
                let (head, body) = (text::block(&said.head(), ""), said.body(&from));
                let body = text::block(&body, "    ");
                return format!("{}  {from}  {head}\n    {body}\n", text::time(shown.timestamp));
            }
            None => shown.text.as_ref().unwrap_or(&shown.instead),
        };
        format!("{}  {from}\n    {}\n", text::time(shown.timestamp), text::block(text, "    "))
    }
}

/// Which messages these are.
fn hashes(items: &[InboxItem]) -> BTreeSet<MessageHash> {
    items.iter().map(|item| item.hash).collect()
}

/// Which messages these are, and when they end.
fn ends(items: &[InboxItem]) -> Vec<(MessageHash, u64)> {
    items.iter().map(|item| (item.hash, item.expiry_ms)).collect()
}

/// The device's time, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whose id is known under which name.
fn names(home: &Home) -> Result<BTreeMap<AccountId, String>, Failure> {
    let own = home.accounts()?.into_iter().map(|(name, id)| (id, name));
    // What the user calls others comes last, and wins.
    Ok(own.chain(home.contacts()?.into_iter().map(|(name, id)| (id, name))).collect())
}

/// A message to be read; none when it is a signal that devices send to each other.
fn show(item: &InboxItem, money: Option<Said>) -> Option<Shown> {
    let hash = item.hash.to_string();
    let timestamp = item.timestamp_ms;
    match &item.content {
        Ok(DirectMessage { kind: Kind::Typing | Kind::Receipt, .. }) => None,
        Ok(message) => Some(Shown {
            hash,
            from: Some(message.from),
            // The text beside money is for clients that do not know it.
            text: match &money {
                Some(said) => said.note().map(ToOwned::to_owned),
                None => message.text.clone(),
            },
            timestamp,
            error: None,
            money,
            instead: describe(message),
        }),
        Err(error) => {
            let error = crate::failure::chain(error);
            let instead = format!("(cannot be read: {error})");
            Some(Shown { hash, from: None, text: None, timestamp, error: Some(error), money: None, instead })
        }
    }
}

/// What a message without text is.
fn describe(message: &DirectMessage) -> String {
    if let Some(reaction) = &message.reaction {
        let deed = if reaction.removed { "took back" } else { "reacted with" };
        return format!("({deed} {})", reaction.emoji);
    }
    if !message.attachments.is_empty() {
        let names: Vec<&str> =
            message.attachments.iter().map(|file| file.name.as_deref().unwrap_or("a file")).collect();
        return format!("(sent {})", names.join(", "));
    }
    match message.kind {
        Kind::Call => "(called)",
        Kind::Unsend(_) => "(asks to take a message back)",
        Kind::RequestAnswer => "(answered a first message)",
        Kind::DataExtraction => "(took a screenshot, or saved a file)",
        _ => "(a message that this version cannot show)",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use session_client::Account;

    use super::*;
    use crate::wallet::{claim, silent};

    fn item(kind: Kind, text: Option<&str>) -> InboxItem {
        let from = AccountId::from_bytes([5; 33]);
        let content = DirectMessage {
            from,
            timestamp_ms: 7,
            sync_target: None,
            kind,
            text: text.map(ToOwned::to_owned),
            display_name: None,
            wallet: None,
            attachments: Vec::new(),
            previews: Vec::new(),
            quote: None,
            reaction: None,
        };
        InboxItem { hash: MessageHash([1; 32]), timestamp_ms: 7, expiry_ms: 9, content: Ok(content) }
    }

    #[test]
    fn signals_between_devices_are_not_shown() {
        assert!(show(&item(Kind::Typing, None), None).is_none());
        assert_eq!(show(&item(Kind::Data, Some("hello")), None).unwrap().text.as_deref(), Some("hello"));
        assert!(show(&item(Kind::Call, None), None).unwrap().instead.contains("called"));
    }

    #[test]
    fn programs_get_the_fields_they_are_promised() {
        let value = serde_json::to_value(show(&item(Kind::Data, Some("hello")), None).unwrap()).unwrap();
        let fields: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields, ["from", "hash", "text", "timestamp"]);
        let mut unreadable = item(Kind::Data, None);
        unreadable.content = Err(session_client::envelope::open(
            &session_client::account::Account::new(&[1; 16]),
            b"nonsense",
        )
        .unwrap_err());
        let value = serde_json::to_value(show(&unreadable, None).unwrap()).unwrap();
        assert!(value["text"].is_null() && value["error"].is_string());
    }

    #[tokio::test]
    async fn what_was_not_checked_stays_new_and_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        let (me, mallory) = (Account::new(&[1; 16]), Account::new(&[2; 16]));
        home.create_account("me", &me).unwrap();
        let cashier = Cashier::new(&home, "me", me.id(), Some(silent())).unwrap();
        let mut reader = Reader { output: Output::new(true), home, names: BTreeMap::new(), cashier };
        let items: Vec<InboxItem> = (1..=40).map(|number| claim(&mallory, number)).collect();
        let open = reader.go_on(&me.id(), items, &BTreeSet::new()).await.unwrap();
        assert_eq!((open.len(), reader.home.shown(&me.id()).unwrap().len()), (8, 32));
        let told = hashes(&open);
        let open = reader.go_on(&me.id(), open, &told).await.unwrap();
        assert_eq!((open.len(), reader.home.shown(&me.id()).unwrap().len()), (0, 40));
    }
}
