//! The account's names, and those on the market, for people and for programs.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
};

use alloy::primitives::Address;
use serde_json::{Value, json};
use session_chain::{
    names::{Entry, Offer},
    settlement::{Replayed, registrar::Held},
};
use session_client::home::{Home, OwnNames, Revealed};
use session_protocols::names::{Name, NameId, value::Kind};

use super::{keys_of, ms};
use crate::{Context, failure::Failure, inbox, stake::lower, text};

/// How many revealed names are checked at once that never were: each takes a fraction of a second.
const MAX_CHECKED: usize = 32;

/// What names are called, as far as that is known.
struct Called {
    known: BTreeMap<NameId, Name>,
    /// What came of the checks of revealed names.
    checked: BTreeMap<NameId, Revealed>,
}

impl Called {
    /// Of these names, checked where they were not before. Whoever reveals much that does not hold costs others each
    /// run once, and cannot be in front of the rest: the checks begin anywhere.
    async fn of(home: &Home, own: &OwnNames, names: &[(NameId, Entry)]) -> Result<(Self, usize), Failure> {
        let known = own.known.iter().map(|(name, id)| (*id, name.clone())).collect();
        let mut called = Self { known, checked: home.revealed()? };
        let (learnt, left) = called.check(names, anywhere(names.len()), MAX_CHECKED).await?;
        if !learnt.is_empty() {
            home.keep_revealed(learnt)?;
        }
        Ok((called, left))
    }

    /// Checks what is not known of these, `most` at most, from one of them on. Returns what came of it, and how many
    /// are left.
    async fn check(
        &mut self,
        names: &[(NameId, Entry)],
        from: usize,
        most: usize,
    ) -> Result<(BTreeMap<NameId, Revealed>, usize), Failure> {
        let (before, after) = names.split_at(from.min(names.len()));
        let (mut learnt, mut left) = (BTreeMap::new(), 0);
        for (id, entry) in after.iter().chain(before) {
            let Some(name) = claimed(entry).filter(|_| !self.known.contains_key(id)) else { continue };
            if self.checked.get(id).is_some_and(|revealed| revealed.name == name) {
                continue;
            }
            if learnt.len() == most {
                left += 1;
                continue;
            }
            let holds = keys_of(name.clone()).await?.id() == *id;
            learnt.insert(*id, Revealed { name, holds, checked_ms: inbox::now_ms() });
        }
        self.checked.extend(learnt.clone());
        Ok((learnt, left))
    }

    /// What a name is called: as the account knows it, or as its owner revealed it, if that has its id.
    fn name(&self, id: &NameId, entry: &Entry) -> Option<Name> {
        if let Some(name) = self.known.get(id) {
            return Some(name.clone());
        }
        let name = claimed(entry)?;
        self.checked.get(id).is_some_and(|it| it.holds && it.name == name).then_some(name)
    }
}

/// What its owner says that a name is called, if names are called so.
fn claimed(entry: &Entry) -> Option<Name> {
    let name = entry.revealed.as_deref()?.parse::<Name>().ok()?;
    name.sub().is_none().then_some(name)
}

/// One of so many, which nobody can foresee.
fn anywhere(many: usize) -> usize {
    let drawn = usize::try_from(RandomState::new().hash_one(())).unwrap_or_default();
    drawn.checked_rem(many).unwrap_or_default()
}

/// The names that an account has, what it offers for, what the contract holds for that, and what it began to register.
pub(crate) async fn list(
    context: &Context,
    home: &Home,
    now: &mut Replayed,
    own: &OwnNames,
    held: &[(Name, Held)],
    account: Address,
    time: u64,
) -> Result<(), Failure> {
    let (mut names, mut offers) = (Vec::new(), Vec::new());
    let chosen = chosen(now, |entry| entry.owner == account || offered(entry, account))?;
    let (called, _) = Called::of(home, own, &chosen).await?;
    for (id, entry) in chosen {
        let name = called.name(&id, &entry);
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
    home: &Home,
    now: &mut Replayed,
    own: &OwnNames,
    account: Address,
    time: u64,
) -> Result<(), Failure> {
    let mut names = Vec::new();
    let traded = |entry: &Entry| {
        entry.is_live(time)
            && (entry.price.is_some() || entry.offer.as_ref().is_some_and(|it| time <= it.until))
    };
    let chosen = chosen(now, traded)?;
    let (called, left) = Called::of(home, own, &chosen).await?;
    for (id, entry) in chosen {
        let name = called.name(&id, &entry);
        names.push(described(&id, name.as_ref(), &entry, time, account));
    }
    if left > 0 {
        context.output.warn(&format!(
            "{left} revealed names are shown by id: {MAX_CHECKED} are checked at once, others the next time"
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

    fn none() -> Called {
        Called { known: BTreeMap::new(), checked: BTreeMap::new() }
    }

    #[tokio::test]
    async fn a_name_that_is_revealed_is_believed_only_if_it_has_the_id_and_is_checked_once() {
        let id = keys_of("alice".parse().unwrap()).await.unwrap().id();
        let (one, two) = (NameId::from_bytes([0; 32]), NameId::from_bytes([1; 32]));
        // Two that lie stand in front of it, and what can be no name costs nothing.
        let names = [
            (one, entry(Some("bob"))),
            (two, entry(Some("carol"))),
            (NameId::from_bytes([2; 32]), entry(Some("\u{1b}[2J"))),
            (NameId::from_bytes([3; 32]), entry(Some("x.alice"))),
            (NameId::from_bytes([4; 32]), entry(None)),
            (id, entry(Some("alice"))),
        ];
        let shown = |called: &Called| {
            let shown = names.iter().map(|(id, entry)| called.name(id, entry).map(|name| name.to_string()));
            shown.collect::<Vec<_>>()
        };
        let last = names.len() - 1;
        let found = [None, None, None, None, None, Some("alice".to_owned())];
        let mut called = none();
        assert_eq!(shown(&called), vec![None; names.len()], "nothing is believed unchecked");
        let (learnt, left) = called.check(&names, last, 1).await.unwrap();
        assert_eq!((learnt.keys().collect::<Vec<_>>(), left), (vec![&id], 2));
        assert_eq!(shown(&called), found);
        // Whoever looks again goes on with the others, also where that begins at one that is known.
        let (learnt, left) = called.check(&names, last, 1).await.unwrap();
        assert_eq!((learnt.keys().collect::<Vec<_>>(), left), (vec![&one], 1));
        assert!(!learnt[&one].holds);
        let (learnt, left) = called.check(&names[..1], 0, 1).await.unwrap();
        assert_eq!((learnt.len(), left), (0, 0), "a lie costs its run once");
        assert_eq!(shown(&called), found);
        // It says something else by then.
        assert_eq!(called.name(&id, &entry(Some("alicia"))), None);
        let (_, left) = called.check(&[(id, entry(Some("alicia")))], 0, 0).await.unwrap();
        assert_eq!(left, 1);
        let known = Called { known: BTreeMap::from([(id, "alice".parse().unwrap())]), ..none() };
        assert!(known.name(&id, &entry(None)).is_some(), "the account knows it");
    }

    #[tokio::test]
    async fn what_was_checked_is_kept_in_the_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        let id = NameId::from_bytes([0; 32]);
        let names = [(id, entry(Some("bob")))];
        let (_, left) = Called::of(&home, &OwnNames::default(), &names).await.unwrap();
        assert_eq!(left, 0);
        let kept = home.revealed().unwrap();
        assert!(!kept[&id].holds && kept[&id].name == "bob".parse().unwrap());
        let again = Called::of(&home, &OwnNames::default(), &names).await.unwrap().0;
        assert_eq!(again.checked, kept, "it is not checked again");
    }

    #[test]
    fn nobody_can_foresee_where_checks_begin() {
        let drawn: std::collections::BTreeSet<_> = (0..64).map(|_| anywhere(1_000)).collect();
        assert!(drawn.len() > 1 && drawn.iter().all(|it| *it < 1_000));
        assert_eq!(anywhere(0), 0);
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
