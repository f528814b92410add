//! The account's names, and those on the market, for people and for programs.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use serde_json::{Value, json};
use session_chain::{
    names::{Entry, Offer},
    settlement::{Replayed, registrar::Held},
};
use session_client::home::OwnNames;
use session_protocols::names::{Name, NameId, value::Kind};

use super::{keys_of, ms};
use crate::{Context, failure::Failure, stake::lower, text};

/// How many revealed names are checked at once: each takes a fraction of a second.
const MAX_CHECKED: usize = 32;

/// What names are called, as far as that is known.
struct Called {
    known: BTreeMap<NameId, Name>,
    left: usize,
}

impl Called {
    fn new(own: &OwnNames) -> Self {
        let known = own.known.iter().map(|(name, id)| (*id, name.clone())).collect();
        Self { known, left: MAX_CHECKED }
    }

    /// What a name is called: as the account knows it, or as its owner revealed it, if that has its id.
    async fn name(&mut self, id: &NameId, entry: &Entry) -> Result<Option<Name>, Failure> {
        if let Some(name) = self.known.get(id) {
            return Ok(Some(name.clone()));
        }
        let revealed = entry.revealed.as_deref().and_then(|revealed| revealed.parse::<Name>().ok());
        let Some(name) = revealed.filter(|name| name.sub().is_none() && self.left > 0) else {
            return Ok(None);
        };
        self.left -= 1;
        Ok((keys_of(name.clone()).await?.id() == *id).then_some(name))
    }
}

/// The names that an account has, what it offers for, what the contract holds for that, and what it began to register.
pub(crate) async fn list(
    context: &Context,
    now: &mut Replayed,
    own: &OwnNames,
    held: &[(Name, Held)],
    account: Address,
    time: u64,
) -> Result<(), Failure> {
    let (mut names, mut offers) = (Vec::new(), Vec::new());
    let mut called = Called::new(own);
    for (id, entry) in chosen(now, |entry| entry.owner == account || offered(entry, account))? {
        let name = called.name(&id, &entry).await?;
        let one = described(&id, name.as_ref(), &entry, time, account);
        if entry.owner == account {
            names.push(one);
        } else {
            offers.push(one);
        }
    }
    let begun: Vec<&Name> = own.begun.keys().collect();
    let kept: Vec<Value> = held.iter().map(|(name, held)| money(name, held)).collect();
    let data = json!({ "names": names, "offers": offers, "held": kept, "begun": begun });
    context.output.data(&data, || {
        let mut shown = Vec::new();
        if names.is_empty() {
            shown.push(format!("this account has no name, as of block {}", now.height));
        } else {
            let rows = names.iter().map(|one| {
                let until = if one["expired"] == true { "EXPIRED " } else { "" };
                let expires = text::time(one["expires"].as_u64().unwrap_or_default());
                [title(one), format!("{until}{expires}"), cell(one, "price"), offer_cell(one), says(one)]
            });
            let head = ["NAME", "EXPIRES", "PRICE", "OFFER", "SAYS"];
            shown.push(text::table(head, &rows.collect::<Vec<_>>()).trim_end().to_owned());
        }
        for one in &offers {
            let until = text::time(one["offer"]["until"].as_u64().unwrap_or_default());
            shown.push(format!("offered {} SESH for {} until {until}", offer_cell(one), title(one)));
        }
        shown.extend(held.iter().filter_map(|(name, held)| take_back(name, held)));
        for name in &begun {
            shown.push(format!("begun and not done: session name register {name}"));
        }
        shown.join("\n")
    })
}

/// The names that are for sale, or that somebody offers for.
pub(crate) async fn market(
    context: &Context,
    now: &mut Replayed,
    own: &OwnNames,
    account: Address,
    time: u64,
) -> Result<(), Failure> {
    let mut names = Vec::new();
    let mut called = Called::new(own);
    let traded = |entry: &Entry| {
        entry.is_live(time)
            && (entry.price.is_some() || entry.offer.as_ref().is_some_and(|it| time <= it.until))
    };
    for (id, entry) in chosen(now, traded)? {
        let name = called.name(&id, &entry).await?;
        names.push(described(&id, name.as_ref(), &entry, time, account));
    }
    if called.left == 0 {
        context.output.warn(&format!(
            "no more than {MAX_CHECKED} revealed names were checked; the rest are shown by id"
        ));
    }
    context.output.data(&json!({ "names": names }), || {
        if names.is_empty() {
            return format!("no name is for sale, as of block {}", now.height);
        }
        let rows = names.iter().map(|one| {
            let owner = if one["own"] == true { "yours".to_owned() } else { cell(one, "owner") };
            [title(one), cell(one, "price"), offer_cell(one), owner]
        });
        let table = text::table(["NAME", "PRICE", "OFFER", "OWNER"], &rows.collect::<Vec<_>>());
        format!("{}\n\nA name is bought by what it is called: session name buy NAME", table.trim_end())
    })
}

/// What the contract holds for an offer, for programs.
fn money(name: &Name, held: &Held) -> Value {
    let Held { amount, until, binds } = held;
    json!({ "name": name, "amount": amount.to_string(), "until": ms(*until), "binds": binds })
}

/// How to get the money of an offer back, where it can be had.
fn take_back(name: &Name, held: &Held) -> Option<String> {
    let Held { amount, binds, .. } = held;
    (!binds).then(|| {
        format!(
            "{amount} SESH that you offered for {name} bind no more: take them back: session name offer {name} \
             --withdraw"
        )
    })
}

fn chosen(now: &mut Replayed, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<(NameId, Entry)>, Failure> {
    let mut found = Vec::new();
    now.names.names(|id, entry| {
        if wanted(&entry) {
            found.push((id, entry));
        }
        true
    })?;
    Ok(found)
}

fn offered(entry: &Entry, account: Address) -> bool {
    entry.offer.as_ref().is_some_and(|offer| offer.buyer == account)
}

fn described(id: &NameId, name: Option<&Name>, entry: &Entry, time: u64, account: Address) -> Value {
    let offer = |offer: &Offer| {
        json!({
            "buyer": lower(offer.buyer),
            "amount": offer.amount.to_string(),
            "until": ms(offer.until),
            "binds": time <= offer.until,
        })
    };
    let kinds = entry.records.keys().filter_map(|kind| Kind::of_number(*kind)).map(Kind::as_str);
    json!({
        "name": name,
        "id": id,
        "owner": lower(entry.owner),
        "own": entry.owner == account,
        "expires": ms(entry.expires),
        "expired": !entry.is_live(time),
        "version": entry.version,
        "price": entry.price.map(|price| price.to_string()),
        "offer": entry.offer.as_ref().map(offer),
        "revealed": entry.revealed.is_some(),
        "records": kinds.collect::<Vec<_>>(),
    })
}

/// What a name is called, or the first digits of its id.
fn title(one: &Value) -> String {
    one["name"].as_str().map_or_else(
        || text::short(one["id"].as_str().unwrap_or_default()),
        |name| name.parse::<Name>().map_or_else(|_| name.to_owned(), |name| in_both(&name)),
    )
}

/// A name, and how people write it where that is not the same.
fn in_both(name: &Name) -> String {
    let (plain, written) = (name.to_string(), name.to_unicode());
    if plain == written { plain } else { format!("{plain} ({})", text::plain(&written)) }
}

fn cell(one: &Value, key: &str) -> String {
    one[key].as_str().unwrap_or("-").to_owned()
}

fn offer_cell(one: &Value) -> String {
    cell(&one["offer"], "amount")
}

fn says(one: &Value) -> String {
    let kinds: Vec<&str> =
        one["records"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if kinds.is_empty() { "-".to_owned() } else { kinds.join(", ") }
}

#[cfg(test)]
mod tests {
    use session_chain::{Amount, names::Records};

    use super::*;

    fn entry(revealed: Option<&str>) -> Entry {
        Entry {
            owner: Address::repeat_byte(1),
            expires: 100,
            version: 1,
            price: Some(Amount::sesh(5)),
            offer: None,
            revealed: revealed.map(ToOwned::to_owned),
            records: Records::from([(1, vec![1]), (6, vec![2])]),
        }
    }

    #[tokio::test]
    async fn a_name_that_is_revealed_is_believed_only_if_it_has_the_id() {
        let id = keys_of("alice".parse().unwrap()).await.unwrap().id();
        let mut called = Called::new(&OwnNames::default());
        let name = called.name(&id, &entry(Some("alice"))).await.unwrap();
        assert_eq!(name.unwrap().to_string(), "alice");
        for lie in [Some("bob"), Some("al ice"), Some("\u{1b}[2J"), Some("x.alice"), None] {
            assert_eq!(called.name(&id, &entry(lie)).await.unwrap(), None, "{lie:?}");
        }
        assert_eq!(called.left, MAX_CHECKED - 2, "what can be no name costs nothing");
        called.left = 0;
        assert_eq!(called.name(&id, &entry(Some("alice"))).await.unwrap(), None);
        let mut own = OwnNames::default();
        own.known.insert("alice".parse().unwrap(), id);
        assert!(Called::new(&own).name(&id, &entry(None)).await.unwrap().is_some(), "the account knows it");
    }

    #[test]
    fn money_that_can_be_had_back_is_told_with_how() {
        let name: Name = "alice".parse().unwrap();
        let held = Held { amount: Amount::sesh(400), until: 7, binds: true };
        assert_eq!(take_back(&name, &held), None);
        let told = take_back(&name, &Held { binds: false, ..held }).unwrap();
        assert!(
            told.starts_with("400 SESH") && told.ends_with("session name offer alice --withdraw"),
            "{told}"
        );
        let wanted = json!({ "name": "alice", "amount": "400", "until": 7_000, "binds": true });
        assert_eq!(money(&name, &held), wanted);
    }

    #[test]
    fn a_name_is_shown_by_what_it_is_called_or_by_its_id() {
        let id = NameId::from_bytes([0xab; 32]);
        let shown = described(&id, None, &entry(None), 99, Address::repeat_byte(1));
        assert_eq!(
            (title(&shown), cell(&shown, "price")),
            ("abababababab"[..10].to_owned() + "...", "5".to_owned())
        );
        assert_eq!(
            (&shown["own"], &shown["expired"], says(&shown)),
            (&json!(true), &json!(false), "account, text".to_owned())
        );
        assert_eq!(described(&id, None, &entry(None), 100, Address::ZERO)["expired"], json!(true));
        let name: Name = "b\u{fc}cher".parse().unwrap();
        let shown = described(&id, Some(&name), &entry(None), 99, Address::ZERO);
        assert_eq!(title(&shown), "xn--bcher-kva (b\u{fc}cher)");
    }
}
