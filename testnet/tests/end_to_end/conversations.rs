//! Fifty people talk while nodes die and return; nothing that was acknowledged is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures::StreamExt;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use session_client::{Account, Client, ClientError, Cursors, Options};
use session_protocols::{AccountId, MessageHash, path::PathError};

use crate::{
    raw::Members,
    support::{PATIENCE, Place, until},
};

const TEXT: &str = include_str!("../fixtures/alice.txt");
const PEOPLE: usize = 50;
/// Messages under way at once.
const AT_ONCE: usize = 12;
/// Acknowledgements that come while nodes are down, before they return.
const PER_ROUND: usize = 60;
/// Rounds in which nodes die and return, at least.
const ROUNDS: usize = 4;

/// A message as its sender knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    from: AccountId,
    text: String,
}

/// What became of the messages so far.
#[derive(Default)]
struct Book {
    acknowledged: BTreeMap<AccountId, BTreeMap<MessageHash, Said>>,
    /// Nobody knows whether these arrived, so often as they were tried.
    open: BTreeMap<AccountId, BTreeMap<Said, usize>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_nodes_die_and_return() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("SEED={seed}");
    let place = Place::up().await;
    let network = place.testnet.folder().network().unwrap();
    let people: Arc<[Account]> = (0..PEOPLE).map(|_| Account::generate().unwrap()).collect();
    let client = Client::connect(network.clone(), Options::default()).await.unwrap();
    let watched = watch(&client, &people[0]).await;

    let book = Arc::new(Mutex::new(Book::default()));
    let count = Arc::new(AtomicUsize::new(0));
    let talking = Arc::new(AtomicBool::new(true));
    let stranded = Arc::new(AtomicBool::new(false));
    let talk = {
        let (people, book, count) = (Arc::clone(&people), Arc::clone(&book), Arc::clone(&count));
        let (talking, stranded) = (Arc::clone(&talking), Arc::clone(&stranded));
        tokio::spawn(async move {
            talk(&client, &people, seed, &book, &count, &stranded).await;
            talking.store(false, Ordering::Relaxed);
        })
    };
    let rounds = die_and_return(&place, seed, &count, &talking, &stranded).await;
    talk.await.unwrap();
    assert!(rounds >= ROUNDS, "only {rounds} rounds");

    let book = Arc::into_inner(book).unwrap().into_inner().unwrap();
    let acknowledged: usize = book.acknowledged.values().map(BTreeMap::len).sum();
    let open: usize = book.open.values().flat_map(BTreeMap::values).sum();
    println!("{acknowledged} acknowledged, {open} tried again, {rounds} rounds");
    assert!(acknowledged >= 1_000, "{acknowledged} acknowledged");
    assert_eq!(acknowledged, TEXT.lines().count(), "every line is acknowledged once");

    // A client that has seen nothing of this, so that nothing it has can hide a loss.
    let client = Client::connect(network.clone(), Options::default()).await.unwrap();
    for person in people.iter() {
        let inbox = client.inbox(person).await.unwrap();
        let mut found = BTreeMap::new();
        for item in inbox {
            let message = item.content.unwrap();
            let said = Said { from: message.from, text: message.text.unwrap() };
            found.insert(item.hash, said);
        }
        check(&person.id(), &book, &found);
    }
    let expected = book.acknowledged.get(&people[0].id()).map_or(0, BTreeMap::len);
    until("the watch to have all", async || {
        (watched.lock().unwrap().iter().collect::<BTreeSet<_>>().len() >= expected).then_some(())
    })
    .await;
    let watched = watched.lock().unwrap().clone();
    let distinct: BTreeSet<_> = watched.iter().copied().collect();
    assert_eq!(watched.len(), distinct.len(), "the watch repeated a message");
    let missing = |hash: &&MessageHash| !distinct.contains(*hash);
    assert_eq!(book.acknowledged[&people[0].id()].keys().filter(missing).count(), 0);

    members_become_equal(&place).await;
    every_member_has_each_once(&client, &Members::connect(&network).await, &people, &book).await;
}

/// Every member of a swarm hands out the same messages, all that were acknowledged, and each once.
/// It is asked directly: a client would hide what comes twice.
async fn every_member_has_each_once(client: &Client, members: &Members, people: &[Account], book: &Book) {
    for person in people {
        let mut first: Option<BTreeSet<MessageHash>> = None;
        for node in client.map().members_of(&person.id()) {
            let hashes = members.inbox(person, node, client.now_ms()).await;
            let distinct: BTreeSet<_> = hashes.iter().copied().collect();
            assert_eq!(hashes.len(), distinct.len(), "{node} hands out a message of {} twice", person.id());
            let acknowledged = book.acknowledged.get(&person.id()).into_iter().flat_map(BTreeMap::keys);
            let missing: Vec<_> = acknowledged.filter(|hash| !distinct.contains(*hash)).collect();
            assert!(missing.is_empty(), "{node} lacks {missing:?} of {}", person.id());
            let known = first.get_or_insert_with(|| distinct.clone());
            assert_eq!(*known, distinct, "{node} has other messages of {}", person.id());
        }
        assert!(first.is_some_and(|hashes| !hashes.is_empty()), "nobody wrote to {}", person.id());
    }
}

/// Every acknowledged message is there, as it was said, and nothing that nobody said, or more often
/// than it was tried.
fn check(account: &AccountId, book: &Book, found: &BTreeMap<MessageHash, Said>) {
    let none = BTreeMap::new();
    let acknowledged = book.acknowledged.get(account).unwrap_or(&none);
    for (hash, said) in acknowledged {
        assert_eq!(found.get(hash), Some(said), "{hash} of {account} was acknowledged");
    }
    let mut open = book.open.get(account).cloned().unwrap_or_default();
    for (hash, said) in found.iter().filter(|(hash, _)| !acknowledged.contains_key(hash)) {
        let left = open.get_mut(said).filter(|left| **left > 0);
        let left = left.unwrap_or_else(|| panic!("{hash} of {account} was not sent: {said:?}"));
        *left -= 1;
    }
}

/// Says every line of the text, each from somebody to somebody else, again and again until it is
/// acknowledged, as people do. Says when the client is `stranded`: all the guards that it may choose for now are dead.
async fn talk(
    client: &Client,
    people: &[Account],
    seed: u64,
    book: &Mutex<Book>,
    count: &AtomicUsize,
    stranded: &AtomicBool,
) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |bound: usize| usize::try_from(random.next_u64() % bound as u64).unwrap();
    let lines: Vec<_> = TEXT
        .lines()
        .map(|line| {
            let from = draw(PEOPLE);
            (from, (from + 1 + draw(PEOPLE - 1)) % PEOPLE, line)
        })
        .collect();
    assert!(lines.len() >= 1_000);
    let each = |(from, to, line): (usize, usize, &'static str)| async move {
        let (from, to) = (&people[from], people[to].id());
        let said = Said { from: from.id(), text: line.to_owned() };
        let end = Instant::now() + PATIENCE;
        let sent = loop {
            match client.send(from, &to, line).await {
                Ok(sent) => break sent,
                Err(error) => {
                    println!("not acknowledged: {error}");
                    if matches!(error, ClientError::Path(PathError::Guards { left: 0, .. })) {
                        stranded.store(true, Ordering::Relaxed);
                    }
                    let mut book = book.lock().unwrap();
                    *book.open.entry(to).or_default().entry(said.clone()).or_default() += 1;
                }
            }
            assert!(Instant::now() < end, "a message was never acknowledged");
        };
        assert!(sent.stored * 2 > sent.swarm);
        book.lock().unwrap().acknowledged.entry(to).or_default().insert(sent.hash, said);
        count.fetch_add(1, Ordering::Relaxed);
    };
    futures::stream::iter(lines).for_each_concurrent(AT_ONCE, each).await;
}

/// As long as people talk, kills or stops a minority of each swarm, waits until people have got on
/// without it, and starts it again. Whoever is stranded by it gets on only then.
async fn die_and_return(
    place: &Place,
    seed: u64,
    count: &AtomicUsize,
    talking: &AtomicBool,
    stranded: &AtomicBool,
) -> usize {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0xdead);
    let mut rounds = 0;
    while talking.load(Ordering::Relaxed) {
        let mut swarms: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for node in place.testnet.status().await.unwrap() {
            swarms.entry(node.swarm.unwrap()).or_default().push(node.index);
        }
        let mut victims = Vec::new();
        for members in swarms.values_mut() {
            let minority = members.len() - (members.len() / 2 + 1);
            for _ in 0..minority {
                let at = usize::try_from(random.next_u64() % members.len() as u64).unwrap();
                victims.push(members.swap_remove(at));
            }
        }
        for victim in &victims {
            assert!(place.testnet.kill(*victim).await.unwrap(), "node {victim} had died of itself");
        }
        let before = count.load(Ordering::Relaxed);
        stranded.store(false, Ordering::Relaxed);
        until("people to get on", async || {
            let enough = count.load(Ordering::Relaxed) >= before + PER_ROUND;
            let over = !talking.load(Ordering::Relaxed) || stranded.load(Ordering::Relaxed);
            (enough || over).then_some(())
        })
        .await;
        // Ready means that it has caught up; `session testnet bench` measures how long that takes.
        for victim in victims {
            let began = Instant::now();
            let started = place.testnet.start(&[victim]).await.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(started, [victim]);
            println!("node {victim} was back after {:.1} s", began.elapsed().as_secs_f64());
        }
        rounds += 1;
    }
    rounds
}

/// Collects what arrives for somebody, from now on.
async fn watch(client: &Client, account: &Account) -> Arc<Mutex<Vec<MessageHash>>> {
    let mut arriving = client.watch(account, Cursors::new(), []).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Some(item) = arriving.next().await {
            sink.lock().unwrap().push(item.hash);
        }
    });
    seen
}

/// The members of each swarm come to hold the same.
pub(crate) async fn members_become_equal(place: &Place) {
    until("the members of each swarm to hold the same", async || {
        let nodes = place.testnet.status().await.unwrap();
        let all_answer = nodes.iter().all(|node| node.is_ready() && !node.fingerprint.is_empty());
        let swarms: BTreeSet<_> = nodes.iter().map(|node| &node.swarm).collect();
        let states: BTreeSet<_> =
            nodes.iter().map(|node| (&node.swarm, &node.fingerprint, node.messages)).collect();
        (all_answer && states.len() == swarms.len()).then_some(())
    })
    .await;
}
