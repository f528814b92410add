//! Names, at nodes of which many lie: what is not proven is not believed, and no change is followed unasked.

use std::{collections::BTreeSet, sync::Arc};

use session_chain::{
    NetworkFile,
    names::{Change, Index, resolve::Disbelief, tables::Memory},
};
use session_protocols::{
    NodeId, Protocol, codec,
    names::{
        COST, Kind, Name, NameId, NameKeys, Value,
        lookup::{Answer as Found, Proof, Request as Lookup},
        value::Wallet,
    },
    onion::size::{Bucket, Position, answer_len, packet_len},
    path::{State, Use},
};

use super::{
    fake::{Net, Over},
    membership::LAST,
    world::Beyond,
    *,
};
use crate::{GoesBy, Home, Options};

const OWNER: [u8; 20] = [1; 20];
const OTHER: [u8; 20] = [2; 20];

fn alice() -> Name {
    "alice".parse().unwrap()
}

fn keys() -> NameKeys {
    NameKeys::of(&alice(), COST).unwrap()
}

fn registered(id: NameId, owner: [u8; 20], version: u32) -> Change {
    Change::Registered { id, owner: owner.into(), expires: u64::MAX, version }
}

/// The record of a name's account.
fn points(keys: &NameKeys, version: u32, account: &AccountId) -> Change {
    let value = keys.seal(version, &Value::Account(*account));
    Change::Record { id: keys.id(), sub: [0; 32].into(), version, kind: Kind::Account.number(), value }
}

impl Net {
    /// Nodes end an epoch in which this became of names, sign it, and answer from it.
    fn name(&self, epoch: u64, changes: &[Change]) {
        {
            let mut world = self.world.lock();
            changes.iter().for_each(|change| world.names.apply(change).unwrap());
            world.names.cross(0).unwrap();
            world.named = epoch;
        }
        self.hand_out(self.checkpoint(epoch, &self.first(), None, 12));
    }

    /// So many nodes lie.
    fn mislead(&self, count: usize, lie: impl Fn(Found) -> Option<Found> + Clone + Send + 'static) {
        for node in self.nodes().into_iter().take(count) {
            self.world.lock().misled.insert(node, Box::new(lie.clone()));
        }
    }
}

async fn named() -> (Net, NameKeys) {
    let net = Net::chained().await;
    let keys = keys();
    let others = (10..30).map(|byte| registered(NameId::from_bytes([byte; 32]), OTHER, 1));
    let changes: Vec<_> = others.chain([registered(keys.id(), OWNER, 1)]).collect();
    net.name(LAST - 1, &changes);
    net.name(LAST, &[points(&keys, 1, &account(2).id())]);
    (net, keys)
}

/// Another program of one person.
async fn at_home(net: &Net, home: &Home) -> Client {
    let options = Options { home: Some(home.clone()), direct: true, ..Options::default() };
    Client::connect(net.file.clone(), options).await.unwrap()
}

fn spoilt(answer: Found, spoil: impl FnOnce(&mut Proof)) -> Found {
    match answer {
        Found::Proven { epoch, mut first, second } => {
            spoil(&mut first);
            Found::Proven { epoch, first, second }
        }
        refused @ Found::Refused { .. } => refused,
    }
}

#[tokio::test]
async fn a_name_resolves_once_in_the_life_of_a_checkpoint() {
    let (net, keys) = named().await;
    let client = net.client().await;
    let resolved = client.resolve(&alice()).await.unwrap();
    assert_eq!((resolved.id, resolved.owner.0, resolved.version), (keys.id(), OWNER, 1));
    assert_eq!(resolved.records[&Kind::Account], Ok(Value::Account(account(2).id())));
    assert_eq!((resolved.revealed, resolved.price, resolved.epoch), (false, None, LAST));
    let before = net.world.lock().lookups;
    assert_eq!(client.resolve(&alice()).await.unwrap(), resolved);
    assert_eq!(net.world.lock().lookups, before, "nobody was asked again");
    let bob = "bob".parse().unwrap();
    let free = client.resolve(&bob).await.unwrap_err();
    assert!(matches!(free, ClientError::NameFree { name } if name == bob));
}

#[tokio::test]
async fn who_lies_about_a_name_is_not_believed_and_another_is_asked() {
    let (net, keys) = named().await;
    // As it was before the record was set, told to be of now.
    let mut old = Index::<Memory>::default();
    old.apply(&registered(keys.id(), OWNER, 1)).unwrap();
    old.cross(0).unwrap();
    let stale = old.answer(LAST, &Lookup::name(keys.id(), None)).unwrap();
    let elsewhere = Lookup::name(NameId::from_bytes([10; 32]), None);
    let others = net.world.lock().names.answer(LAST, &elsewhere).unwrap();
    let lies: [Box<dyn Fn(Found) -> Option<Found> + Send + Sync>; 5] = [
        Box::new(|honest| Some(spoilt(honest, |proof| proof.value = Some(b"another".to_vec().into())))),
        Box::new(|honest| Some(spoilt(honest, |proof| proof.value = None))),
        Box::new(move |_| Some(stale.clone())),
        Box::new(move |_| Some(others.clone())),
        Box::new(|honest| match honest {
            Found::Proven { first, second, .. } => Some(Found::Proven { epoch: LAST - 1, first, second }),
            refused @ Found::Refused { .. } => Some(refused),
        }),
    ];
    for lie in lies.map(Arc::new) {
        // One of those who are asked is honest.
        let one = Arc::clone(&lie);
        net.mislead(7, move |honest| one(honest));
        let client = net.client().await;
        let resolved = client.resolve(&alice()).await.unwrap();
        assert_eq!(resolved.records[&Kind::Account], Ok(Value::Account(account(2).id())));
        // None is.
        net.mislead(12, move |honest| lie(honest));
        let error = net.client().await.resolve(&alice()).await.unwrap_err();
        let whats = [Disbelief::Unproven.what(), Disbelief::Older.what()];
        assert!(matches!(error, ClientError::Disbelieved { what, .. } if whats.contains(&what)), "{error}");
        net.world.lock().misled.clear();
    }
}

#[tokio::test]
async fn an_epoch_that_has_not_ended_is_not_believed() {
    let (net, keys) = named().await;
    let client = net.client().await;
    client.resolve(&alice()).await.unwrap();
    net.name(LAST + 1, &[points(&keys, 1, &account(3).id())]);
    // By the clock nobody has ended that epoch: what is fetched is not believed, and no answer of it is.
    let bob: Name = "bob".parse().unwrap();
    let error = client.resolve(&bob).await.unwrap_err();
    let newer = Disbelief::Newer.what();
    assert!(matches!(error, ClientError::Disbelieved { what, .. } if what == newer), "{error}");
}

#[tokio::test]
async fn a_client_that_is_behind_fetches_the_newest_checkpoint() {
    let net = Net::chained().await;
    let keys = keys();
    net.name(LAST - 1, &[registered(keys.id(), OWNER, 1), points(&keys, 1, &account(2).id())]);
    let client = net.client().await;
    let first = client.resolve(&alice()).await.unwrap();
    assert_eq!(first.epoch, LAST - 1, "nodes have signed no newer one");
    net.name(LAST, &[points(&keys, 1, &account(3).id())]);
    // What is known of one name does not count any more once another lookup has moved the checkpoint on.
    client.resolve(&"bob".parse().unwrap()).await.unwrap_err();
    let second = client.resolve(&alice()).await.unwrap();
    assert_eq!(second.epoch, LAST);
    assert_eq!(second.records[&Kind::Account], Ok(Value::Account(account(3).id())));
}

#[tokio::test]
async fn what_is_known_is_asked_for_again_once_there_can_be_a_newer_checkpoint() {
    let (net, _) = named().await;
    let client = net.client().await;
    let resolved = client.resolve(&alice()).await.unwrap();
    let before = net.world.lock().lookups;
    client.inner.clock.follow(vec![3_700_000; 2]);
    assert_eq!(client.resolve(&alice()).await.unwrap(), resolved, "nodes have signed none");
    assert!(net.world.lock().lookups > before);
}

#[tokio::test]
async fn what_is_old_is_told_and_nobody_is_paid_by_it() {
    let net = Net::chained().await;
    let keys = keys();
    let value = keys.seal(1, &Value::Wallet(Wallet(OWNER)));
    let (kind, sub) = (Kind::Wallet.number(), [0; 32].into());
    let pays = Change::Record { id: keys.id(), sub, version: 1, kind, value };
    net.name(LAST - 3, &[registered(keys.id(), OWNER, 1), points(&keys, 1, &account(2).id()), pays]);
    let client = net.client().await;
    assert_eq!(client.names_age(), None);
    client.resolve(&alice()).await.unwrap();
    let age = client.names_age().unwrap();
    assert_eq!((age.missing, age.is_old()), (3, true));
    let hours = client.now_ms().abs_diff(age.ended_ms) / 3_600_000;
    assert_eq!(hours, 3);
    // A message may go there, and no money.
    client.follow(&alice(), Kind::Account, None).await.unwrap();
    let agreed = Value::Wallet(Wallet(OWNER));
    for agreed in [None, Some(&agreed)] {
        let error = client.follow(&alice(), Kind::Wallet, agreed).await.unwrap_err();
        assert!(matches!(error, ClientError::NamesOld { .. }), "{error}");
        assert_eq!(error.code(), "names_old");
    }
    net.name(LAST - 2, &[]);
    assert_eq!(client.follow(&alice(), Kind::Wallet, None).await.unwrap(), agreed);
    assert_eq!(client.names_age().map(|age| (age.missing, age.is_old())), Some((2, false)));
    // Nodes that say it is earlier make it no younger.
    client.inner.clock.follow(vec![-3 * 3_600_000; 2]);
    assert_eq!(client.names_age().unwrap().missing, 2);
}

#[tokio::test]
async fn names_that_too_few_have_signed_are_not_believed() {
    let net = Net::chained().await;
    let keys = keys();
    net.name(LAST - 1, &[registered(keys.id(), OWNER, 1), points(&keys, 1, &account(2).id())]);
    let known = net.client().await;
    known.resolve(&alice()).await.unwrap();
    // All nodes say, and two thirds sign, that it leads elsewhere; what they show leads to what they sign.
    {
        let mut world = net.world.lock();
        world.names.apply(&points(&keys, 1, &account(9).id())).unwrap();
        world.names.cross(0).unwrap();
        world.named = LAST;
    }
    let forged = Arc::new(net.checkpoint(LAST, &net.first(), None, 8));
    for node in net.nodes() {
        net.world.lock().forged.insert(node, Arc::clone(&forged));
    }
    let error = known.resolve(&alice()).await.unwrap_err();
    let newer = Disbelief::Newer.what();
    assert!(matches!(error, ClientError::Disbelieved { what, .. } if what == newer), "{error}");
    let error = net.client().await.resolve(&alice()).await.unwrap_err();
    assert!(matches!(error, ClientError::Directory { .. }), "{error}");
    // One more has signed the same.
    net.world.lock().forged.clear();
    net.hand_out(net.checkpoint(LAST, &net.first(), None, 9));
    let resolved = known.resolve(&alice()).await.unwrap();
    assert_eq!(resolved.records[&Kind::Account], Ok(Value::Account(account(9).id())));
}

#[tokio::test]
async fn with_an_old_network_file_nobody_is_asked_for_a_name() {
    let (net, _) = named().await;
    for direct in [true, false] {
        let options = Options { direct, ..Options::default() };
        let old = Client::connect(net.written(5), options).await.unwrap();
        let error = old.resolve(&alice()).await.unwrap_err();
        assert_eq!(error.code(), "outdated", "{error}");
        assert!(error.remedy().contains("take a newer network file"), "{}", error.remedy());
        assert!(net.world.lock().met.is_empty(), "nobody was asked");
    }
}

#[tokio::test]
async fn a_name_that_expires_leads_nowhere_also_for_who_knew_it() {
    let net = Net::chained().await;
    let keys = keys();
    let expires = net.world.lock().now().as_millis() / 1_000 + 600;
    let registered = Change::Registered { id: keys.id(), owner: OWNER.into(), expires, version: 1 };
    net.name(LAST, &[registered, points(&keys, 1, &account(2).id())]);
    let client = net.client().await;
    client.follow(&alice(), Kind::Account, None).await.unwrap();
    let before = net.world.lock().lookups;
    client.inner.clock.follow(vec![1_200_000; 2]);
    let error = client.follow(&alice(), Kind::Account, None).await.unwrap_err();
    assert!(matches!(error, ClientError::NameExpired { .. }), "{error}");
    assert_eq!(net.world.lock().lookups, before, "nobody was asked again");
    let fresh = net.client().await;
    fresh.inner.clock.follow(vec![1_200_000; 2]);
    let error = fresh.resolve(&alice()).await.unwrap_err();
    assert!(matches!(error, ClientError::NameExpired { .. }), "{error}");
}

#[tokio::test]
async fn who_registers_a_name_that_expired_is_not_taken_for_who_had_it() {
    let net = Net::chained().await;
    let keys = keys();
    let (first, second) = (account(2).id(), account(3).id());
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    // Each time another program of one person.
    let follow = async |agreed| at_home(&net, &home).await.follow(&alice(), Kind::Account, agreed).await;
    let agreed = Value::Account(second);
    net.name(LAST - 4, &[registered(keys.id(), OWNER, 1), points(&keys, 1, &first)]);
    assert_eq!(follow(None).await.unwrap(), Value::Account(first));
    let past = net.world.lock().now().as_millis() / 1_000 - 1;
    net.name(LAST - 3, &[Change::Renewed { id: keys.id(), expires: past }]);
    // Agreeing to what it may say leads nowhere either.
    for agreed in [None, Some(&agreed)] {
        let error = follow(agreed).await.unwrap_err();
        assert!(matches!(error, ClientError::NameExpired { .. }), "{error}");
    }
    // The next owner says nothing at first, and what the one before had said counts no more.
    net.name(LAST - 2, &[registered(keys.id(), OTHER, 2), points(&keys, 1, &first)]);
    let error = follow(None).await.unwrap_err();
    assert!(matches!(error, ClientError::NoRecord { kind: Kind::Account, .. }), "{error}");
    net.name(LAST - 1, &[points(&keys, 2, &second)]);
    for _ in 0..2 {
        let error = follow(None).await.unwrap_err();
        assert!(error.to_string().contains("changed hands"), "{error}");
        let ClientError::NameChanged { before, now, .. } = error else { panic!("{error}") };
        assert_eq!((before.value, before.version), (first.to_string(), 1));
        assert_eq!((now.value, now.version), (second.to_string(), 2));
    }
    // What is sealed for another version cannot be read, and is not followed.
    let value = keys.seal(1, &Value::Account(first));
    let (kind, sub) = (Kind::Account.number(), [0; 32].into());
    net.name(LAST, &[Change::Record { id: keys.id(), sub, version: 2, kind, value }]);
    let error = follow(Some(&agreed)).await.unwrap_err();
    assert!(matches!(error, ClientError::Record { kind: Kind::Account, .. }), "{error}");
}

#[tokio::test]
async fn the_keys_of_a_name_that_was_followed_are_kept_and_those_of_no_other() {
    let (net, keys) = named().await;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let connect = async || at_home(&net, &home).await;
    let client = connect().await;
    let kept = |name: &Name| client.inner.kept.name_keys(name).map(|keys| keys.to_bytes().to_vec());
    client.resolve(&alice()).await.unwrap();
    assert_eq!(kept(&alice()), None, "it was only looked at");
    client.follow(&alice(), Kind::Account, None).await.unwrap();
    assert_eq!(kept(&alice()), Some(keys.to_bytes().to_vec()));
    // The next program goes by what is kept.
    let others = NameKeys::from_bytes(&[7; 64]).unwrap();
    client.inner.kept.keep_name_keys(&alice(), &others);
    let bob: Name = "bob".parse().unwrap();
    assert_eq!(kept(&bob), None);
    let free = connect().await.resolve(&alice()).await.unwrap_err();
    assert!(matches!(free, ClientError::NameFree { .. }), "{free}");
    // Unless that is of another name, or damaged: then they are computed.
    let path = std::fs::read_dir(folder.path().join("home/keys")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&path).unwrap();
    let named = text.replace("\"alice\"", "\"bob\"");
    let last = text.rfind("07").unwrap();
    let turned = format!("{}17{}", &text[..last], &text[last + 2..]);
    for (name, spoilt) in [(&bob, named), (&alice(), turned)] {
        assert_ne!(spoilt, text);
        std::fs::write(&path, spoilt).unwrap();
        assert_eq!(kept(name), None);
    }
    assert_eq!(connect().await.resolve(&alice()).await.unwrap().id, keys.id());
    // So do those of a sub-name; what has another length are none.
    let sub = NameKeys::of(&"shop.alice".parse().unwrap(), COST).unwrap();
    let again = NameKeys::from_bytes(&sub.to_bytes()).unwrap();
    assert_eq!((again.id(), again.label(), again.sub_id()), (sub.id(), sub.label(), sub.sub_id()));
    assert!(
        [0, 32, 63, 65, 95, 97].into_iter().all(|length| NameKeys::from_bytes(&vec![1; length]).is_none())
    );
}

#[tokio::test]
async fn what_a_name_led_to_first_is_kept_and_nothing_else_is_followed_unasked() {
    let net = Net::chained().await;
    let keys = keys();
    let (first, second) = (account(2).id(), account(3).id());
    net.name(LAST - 2, &[registered(keys.id(), OWNER, 1), points(&keys, 1, &first)]);
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let connect = async || at_home(&net, &home).await;
    let client = connect().await;
    assert_eq!(client.follow(&alice(), Kind::Account, None).await.unwrap(), Value::Account(first));
    let none = client.follow(&alice(), Kind::Wallet, None).await.unwrap_err();
    assert!(matches!(none, ClientError::NoRecord { kind: Kind::Wallet, .. }));
    assert_eq!(client.look_alikes(&"a1ice".parse().unwrap()).unwrap(), [alice()]);

    // It is sold; another program of this person sees it.
    net.name(
        LAST - 1,
        &[Change::Transferred { id: keys.id(), owner: OTHER.into(), version: 2 }, points(&keys, 2, &second)],
    );
    for _ in 0..2 {
        let error = connect().await.follow(&alice(), Kind::Account, None).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains(&first.to_string()) && said.contains(&second.to_string()), "{said}");
        assert!(said.contains("changed hands"), "{said}");
        let ClientError::NameChanged { before, now, .. } = error else { panic!("{error}") };
        assert_eq!((before.version, now.version), (1, 2));
    }
    // Agreeing to one value is agreeing to no other: it may change once more before the user says so.
    let agreed = Value::Account(second);
    for other in [first, account(4).id()].map(Value::Account) {
        let error = connect().await.follow(&alice(), Kind::Account, Some(&other)).await.unwrap_err();
        assert_eq!(error.code(), "name_changed");
        let ClientError::NotAgreed { agreed: named, now, .. } = error else { panic!("{error}") };
        assert_eq!((named, now.value), (other.to_string(), second.to_string()));
    }
    connect().await.follow(&alice(), Kind::Account, None).await.unwrap_err();
    let followed = connect().await.follow(&alice(), Kind::Account, Some(&agreed)).await.unwrap();
    assert_eq!(followed, agreed);
    assert_eq!(connect().await.follow(&alice(), Kind::Account, None).await.unwrap(), agreed);

    // It is sold on, and says the same: that is what was agreed to.
    net.name(
        LAST,
        &[Change::Transferred { id: keys.id(), owner: OWNER.into(), version: 3 }, points(&keys, 3, &second)],
    );
    assert_eq!(connect().await.follow(&alice(), Kind::Account, None).await.unwrap(), agreed);
}

#[tokio::test]
async fn of_a_name_that_is_somebody_elses_since_nothing_else_is_followed_unasked_either() {
    let net = Net::chained().await;
    let keys = keys();
    let pays = |version, wallet| {
        let value = keys.seal(version, &Value::Wallet(Wallet(wallet)));
        Change::Record { id: keys.id(), sub: [0; 32].into(), version, kind: Kind::Wallet.number(), value }
    };
    net.name(LAST - 2, &[registered(keys.id(), OWNER, 1), points(&keys, 1, &account(2).id())]);
    let client = net.client().await;
    client.follow(&alice(), Kind::Account, None).await.unwrap();
    // Its owner says more, which one of two is told of.
    let (unaware, pays_owner) = (net.client().await, Value::Wallet(Wallet(OWNER)));
    unaware.follow(&alice(), Kind::Account, None).await.unwrap();
    net.name(LAST - 1, &[pays(1, OWNER)]);
    assert_eq!(client.follow(&alice(), Kind::Wallet, None).await.unwrap(), pays_owner);
    // It is sold. The new owner leaves the account as it was, so that nothing seems to have changed.
    let sold = Change::Transferred { id: keys.id(), owner: OTHER.into(), version: 2 };
    net.name(LAST, &[sold, points(&keys, 2, &account(2).id()), pays(2, OTHER)]);
    let error = client.follow(&alice(), Kind::Wallet, None).await.unwrap_err();
    assert!(matches!(error, ClientError::NameChanged { kind: Kind::Wallet, of: Kind::Wallet, .. }));
    let client = unaware;
    assert!(client.follow(&alice(), Kind::Account, None).await.is_ok());
    let error = client.follow(&alice(), Kind::Wallet, None).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&account(2).id().to_string()) && said.contains("changed hands"), "{said}");
    assert!(matches!(error, ClientError::NameChanged { kind: Kind::Wallet, of: Kind::Account, .. }));
    let agreed = Value::Wallet(Wallet(OTHER));
    client.follow(&alice(), Kind::Wallet, Some(&pays_owner)).await.unwrap_err();
    assert_eq!(client.follow(&alice(), Kind::Wallet, Some(&agreed)).await.unwrap(), agreed);
    assert_eq!(client.follow(&alice(), Kind::Wallet, None).await.unwrap(), agreed);
}

#[tokio::test]
async fn a_sub_name_is_sold_with_its_parent_and_neither_is_followed_unasked_then() {
    let net = Net::chained().await;
    let keys = keys();
    let [shop, bank]: [Name; 2] = ["shop.alice", "bank.alice"].map(|name| name.parse().unwrap());
    let leads = |name: &Name, version, account| {
        let keys = NameKeys::of(name, COST).unwrap();
        let (value, sub) = (keys.seal(version, &Value::Account(account)), keys.sub_id().into());
        Change::Record { id: keys.id(), sub, version, kind: Kind::Account.number(), value }
    };
    let [first, second, third] = [2, 3, 4].map(|number| account(number).id());
    let (follow, agreed) = (Kind::Account, Value::Account(second));
    net.name(LAST - 2, &[registered(keys.id(), OWNER, 1), points(&keys, 1, &first), leads(&bank, 1, third)]);
    // One has followed the name, another a sub-name of it, and a third neither.
    let (client, other, stranger) = (net.client().await, net.client().await, net.client().await);
    client.follow(&alice(), follow, None).await.unwrap();
    assert_eq!(other.follow(&bank, follow, None).await.unwrap(), Value::Account(third));
    let sold = Change::Transferred { id: keys.id(), owner: OTHER.into(), version: 2 };
    net.name(LAST - 1, &[sold, points(&keys, 2, &third), leads(&shop, 2, second)]);
    let error = client.follow(&shop, follow, None).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("when alice was followed") && said.contains("changed hands"), "{said}");
    assert!(said.contains(&first.to_string()) && said.contains(&second.to_string()), "{said}");
    let ClientError::NameChanged { name, led, before, now, .. } = error else { panic!("{error}") };
    assert_eq!((name, *led, before.version, now.version), (shop.clone(), alice(), 1, 2));
    for name in [&shop, &alice()] {
        let error = other.follow(name, follow, None).await.unwrap_err();
        assert!(matches!(&error, ClientError::NameChanged { led, .. } if **led == bank), "{error}");
    }
    assert_eq!(stranger.follow(&shop, follow, None).await.unwrap(), agreed);
    // Whoever agrees to the sub-name has agreed to nothing that the name itself says.
    assert_eq!(client.follow(&shop, follow, Some(&agreed)).await.unwrap(), agreed);
    assert_eq!(client.follow(&shop, follow, None).await.unwrap(), agreed);
    client.follow(&alice(), follow, None).await.unwrap_err();
}

#[tokio::test]
async fn an_account_goes_by_a_name_that_is_its_own_and_is_known_here() {
    let net = Net::chained().await;
    let keys = keys();
    let goes = |owner: [u8; 20], id| Change::Reverse { account: owner.into(), id };
    net.name(
        LAST - 1,
        &[
            registered(keys.id(), OWNER, 1),
            points(&keys, 1, &account(2).id()),
            goes(OWNER, keys.id()),
            registered(NameId::from_bytes([9; 32]), OTHER, 1),
        ],
    );
    let client = net.client().await;
    let (owner, other) = (Wallet(OWNER), Wallet(OTHER));
    assert_eq!(client.goes_by(&other).await.unwrap(), None);
    // The chain has its id; who followed the name knows what it is called.
    let id = keys.id();
    assert_eq!(client.goes_by(&owner).await.unwrap(), Some(GoesBy { id, name: None }));
    client.follow(&alice(), Kind::Account, None).await.unwrap();
    let known = Some(GoesBy { id, name: Some(alice()) });
    assert_eq!(client.goes_by(&owner).await.unwrap(), known);
    // Its owner publishes it, and another publishes what is not so.
    let lie = NameId::from_bytes([9; 32]);
    let reveal = |id| Change::Revealed { id, version: 1, name: "alice".to_owned() };
    net.name(LAST, &[reveal(id), reveal(lie), goes(OTHER, lie)]);
    let fresh = net.client().await;
    assert_eq!(fresh.goes_by(&owner).await.unwrap(), known);
    assert_eq!(fresh.goes_by(&other).await.unwrap(), Some(GoesBy { id: lie, name: None }));
    // Who lies about it is not believed.
    net.mislead(12, |honest| Some(spoilt(honest, |proof| proof.value = None)));
    let error = net.client().await.goes_by(&owner).await.unwrap_err();
    assert!(matches!(error, ClientError::Disbelieved { .. }), "{error}");
}

#[tokio::test]
async fn where_there_is_no_chain_there_are_no_names() {
    let net = Net::start(4, Over::Tcp).await;
    let client = net.client().await;
    assert!(!client.has_names());
    let error = client.resolve(&alice()).await.unwrap_err();
    assert!(matches!(error, ClientError::NoNames { .. }), "{error}");
}

#[tokio::test]
async fn who_is_silent_or_refuses_is_passed_over() {
    let (net, _) = named().await;
    let refused = Found::Refused { code: Code::NotReady };
    net.mislead(4, move |_| Some(refused.clone()));
    let silent: Vec<NodeId> = net.nodes().into_iter().skip(4).take(3).collect();
    for node in silent {
        net.world.lock().misled.insert(node, Box::new(|_| None));
    }
    let resolved = net.client().await.resolve(&alice()).await.unwrap();
    assert_eq!(resolved.epoch, LAST);
}

/// The same, of a network whose nodes have signed a list of all: paths can be made.
async fn listed() -> (Net, NameKeys) {
    let (mut net, keys) = named().await;
    net.file = NetworkFile { local: false, ..net.file.clone() };
    net.show(&net.certified(0), &net.nodes());
    (net, keys)
}

/// What destinations were asked over paths, but for what tests a path.
fn asked(net: &Net) -> Vec<Vec<u8>> {
    let tap = std::mem::take(&mut net.world.lock().tap);
    let requests = tap.into_iter().filter_map(|seen| match seen.beyond {
        Beyond::Service(request) => Some(request),
        Beyond::Hop(..) | Beyond::Nothing => None,
    });
    let tests = codec::encode(&Request::Info);
    requests.filter(|request| *request != tests).collect()
}

#[tokio::test]
async fn over_a_path_a_name_is_proven_and_the_node_that_is_asked_learns_the_id_alone() {
    let (net, keys) = listed().await;
    let client = net.hidden().await;
    let resolved = client.resolve(&alice()).await.unwrap();
    assert_eq!(resolved.records[&Kind::Account], Ok(Value::Account(account(2).id())));
    for node in net.nodes() {
        assert!(!client.inner.links.live(node, Protocol::Names), "asked straight");
    }
    let id = codec::encode(&Lookup::name(keys.id(), None));
    let lookups = asked(&net);
    assert!(!lookups.is_empty() && lookups.iter().all(|request| *request == id), "{lookups:?}");
    let shop: Name = "shop.alice".parse().unwrap();
    let sub = NameKeys::of(&shop, COST).unwrap().sub_id();
    assert!(client.resolve(&shop).await.unwrap().records.is_empty());
    let lookups = asked(&net);
    let id = codec::encode(&Lookup::name(keys.id(), Some(sub)));
    assert!(!lookups.is_empty() && lookups.iter().all(|request| *request == id), "{lookups:?}");
}

#[tokio::test]
async fn over_a_path_a_name_that_is_there_and_one_that_is_not_look_alike() {
    let (net, _) = listed().await;
    let client = net.hidden().await;
    client.resolve(&"carol".parse().unwrap()).await.unwrap_err();
    let (small, room) = (Bucket::ALL[0], Bucket::ALL[1]);
    let sizes = |room| Position::ALL.map(|at| (packet_len(small, at), answer_len(room, at)));
    let (looks, tests) = (BTreeSet::from(sizes(room)), BTreeSet::from(sizes(small)));
    let test = codec::encode(&Request::Info);
    net.world.lock().tap.clear();
    for (name, there) in [("alice", true), ("bob", false), ("shop.alice", true), ("shop.bob", false)] {
        assert_eq!(client.resolve(&name.parse().unwrap()).await.is_ok(), there);
        let tap = std::mem::take(&mut net.world.lock().tap);
        let seen: BTreeSet<_> = tap.iter().map(|seen| (seen.packet.len(), seen.answer.len())).collect();
        // Beside it a path may be tested.
        assert!(
            seen.is_superset(&looks) && seen.difference(&looks).all(|size| tests.contains(size)),
            "{name}"
        );
        for seen in tap {
            let size = (seen.packet.len(), seen.answer.len());
            if let Beyond::Service(request) = seen.beyond {
                assert_eq!(looks.contains(&size), request != test, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn over_a_path_who_lies_refuses_or_is_silent_is_passed_over() {
    let (net, keys) = listed().await;
    let mut free = Index::<Memory>::default();
    free.apply(&registered(NameId::from_bytes([10; 32]), OTHER, 1)).unwrap();
    free.cross(0).unwrap();
    let absent = free.answer(LAST, &Lookup::name(keys.id(), None)).unwrap();
    for at in 0..7 {
        let said = match at % 3 {
            0 => Some(absent.clone()),
            1 => Some(Found::Refused { code: Code::NotReady }),
            _ => None,
        };
        net.world.lock().misled.insert(net.nodes()[at], Box::new(move |_| said.clone()));
    }
    let resolved = net.hidden().await.resolve(&alice()).await.unwrap();
    assert_eq!(resolved.records[&Kind::Account], Ok(Value::Account(account(2).id())));
    net.mislead(12, move |_| Some(absent.clone()));
    let error = net.hidden().await.resolve(&alice()).await.unwrap_err();
    let unproven = Disbelief::Unproven.what();
    assert!(matches!(error, ClientError::Disbelieved { what, .. } if what == unproven), "{error}");
}

#[tokio::test]
async fn over_a_path_an_entry_that_is_longer_than_most_is_asked_for_with_more_room() {
    let (net, keys) = listed().await;
    let shop: Name = "shop.alice".parse().unwrap();
    let sub = NameKeys::of(&shop, COST).unwrap().sub_id().into();
    let long = |sub, kind| Change::Record { id: keys.id(), sub, version: 1, kind, value: vec![kind; 275] };
    let changes: Vec<_> = (10..24).flat_map(|kind| [long([0; 32].into(), kind), long(sub, kind)]).collect();
    net.name(LAST, &changes);
    let answer = {
        let world = net.world.lock();
        world.names.answer(LAST, &Lookup::name(keys.id(), Some(sub.0))).unwrap()
    };
    assert!(codec::encode(&answer).len() > Bucket::ALL[1].capacity());
    let resolved = net.hidden().await.resolve(&shop).await.unwrap();
    assert_eq!((resolved.owner.0, resolved.epoch), (OWNER, LAST));
}

#[tokio::test]
async fn a_hop_that_dies_under_a_lookup_is_gone_around() {
    for at in 0..3 {
        let (net, _) = listed().await;
        let client = net.hidden().await;
        client.resolve(&"bob".parse().unwrap()).await.unwrap_err();
        let paths = client.paths();
        let looks = paths.iter().find(|path| path.usage == Use::Look && path.state == State::Ready).unwrap();
        let hop = looks.hops[at].id;
        match at {
            1 => drop(net.world.lock().mute.insert(hop)),
            _ => drop(net.world.lock().down.insert(hop)),
        }
        let resolved = client.resolve(&alice()).await.unwrap();
        assert_eq!(resolved.records[&Kind::Account], Ok(Value::Account(account(2).id())), "hop {at}");
    }
}
