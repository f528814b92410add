//! Paths outside local networks are made of what the members have signed, and of nothing else.

use std::{collections::BTreeSet, sync::Arc};

use session_chain::network::NetworkFile;
use session_protocols::{
    KeyPair, NodeId,
    directory::{
        Answer, Certificate, Change, Members, NodeRecord, Page, Request, Snapshot, Timing, Vote,
        snapshot::Entry,
    },
};
use tokio::time::timeout;

use super::{
    PATIENCE, account,
    fake::{Net, Over},
    some, texts,
    world::Listed,
};
use crate::{Client, Home, Options, clock::Comparison};

const NODES: u8 = 12;
/// More than two thirds of them.
const QUORUM: usize = 9;
/// Fewer than are asked one after the other, and fewer than a third.
const LIARS: usize = 3;

impl Net {
    async fn far() -> Self {
        let mut net = Self::start(NODES, Over::Tcp).await;
        net.file = NetworkFile { local: false, ..net.file.clone() };
        net
    }

    async fn stranger(&self, home: Option<&Home>) -> Client {
        let options = Options { home: home.cloned(), ..Options::default() };
        Client::connect(self.file.clone(), options).await.unwrap()
    }

    /// The list of so many hours ago, of what the members would have said then, changed and signed as told.
    fn list(&self, ago: u64, tell: impl Fn(&mut NodeRecord, &KeyPair) -> KeyPair) -> Snapshot {
        let now = self.world.lock().now();
        let period = Timing::PUBLIC.last(now) - ago;
        let records = self.records(Timing::PUBLIC.border(period)).into_iter().zip(&self.pairs);
        let entries = records.map(|(mut record, pair)| {
            let signer = tell(&mut record, pair);
            let signed = record.sign(&self.file.name, &signer);
            (record.node, Arc::new(Entry::new(record, signed)))
        });
        Snapshot::new(&self.file.name, period, entries.collect())
    }

    fn honest(&self, ago: u64) -> Snapshot {
        self.list(ago, |_, pair| pair.clone())
    }

    /// A certificate to which so many of the members say yes, each in its own name or all by one key.
    fn certify(&self, snapshot: &Snapshot, signers: usize, by: Option<&KeyPair>) -> Certificate {
        let members = self.file.nodes.iter().map(|node| (node.id, node.prefix)).collect();
        let members = Members::new(&self.file.name, members);
        let (period, hash) = (snapshot.period(), snapshot.hash().into());
        let vote = Vote { period, hash, members: members.id().into() };
        let places = members.nodes().zip(0..).take(signers);
        let sign = |(node, place): (NodeId, u16)| {
            let own = self.pairs.iter().find(|pair| pair.node_id() == node).unwrap();
            (place, vote.sign(&self.file.name, by.unwrap_or(own)).signature)
        };
        Certificate { signatures: places.map(sign).collect() }
    }

    pub(super) fn certified(&self, ago: u64) -> Listed {
        let snapshot = self.honest(ago);
        let certificate = self.certify(&snapshot, QUORUM, None);
        listed(snapshot, certificate, |_| {})
    }

    pub(super) fn show(&self, list: &Listed, nodes: &[NodeId]) {
        let lists = nodes.iter().map(|node| (*node, Arc::clone(list)));
        self.world.lock().lists.extend(lists);
    }

    /// Everything that a liar may hand out, by name. In those that name keys, other nodes have its own.
    fn lies(&self) -> Vec<(&'static str, Listed)> {
        let liar = self.pairs[0].clone();
        let key = self.world.lock().door(liar.node_id());
        let poison = |record: &mut NodeRecord, pair: &KeyPair| {
            record.onion = key;
            pair.clone()
        };
        let forged = self.list(0, |record, _| {
            record.onion = key;
            liar.clone()
        });
        // As if it had taken all other nodes over.
        let stolen = self.list(0, poison);
        let (honest, old) = (self.honest(0), self.honest(25));
        let own = |snapshot: &Snapshot| self.certify(snapshot, QUORUM, Some(&liar));
        let (few, good) = (self.certify(&honest, QUORUM - 1, None), self.certify(&honest, QUORUM, None));
        let too_old = self.certify(&old, QUORUM, None);
        let (by_itself, by_few) = (own(&stolen), self.certify(&stolen, QUORUM - 1, None));
        let certified_forgery = self.certify(&forged, QUORUM, None);
        let (hash, entries) = (honest.hash(), stolen.entries().len());
        let swapped = self.list(0, poison);
        vec![
            ("records that it signed for others", listed(forged, certified_forgery, |_| {})),
            ("a certificate that it signed alone", listed(stolen.clone(), by_itself, |_| {})),
            ("its keys under the signatures of too few", listed(stolen, by_few, |_| {})),
            (
                "its keys under the hash of an honest list",
                listed(swapped, good, move |page| {
                    assert_eq!(page.changes.len(), entries);
                    page.hash = hash.into();
                }),
            ),
            ("the signatures of too few", listed(honest.clone(), few, |_| {})),
            ("a list that is too old", listed(old, too_old, |_| {})),
            ("a list without signatures", {
                let certificate = Certificate { signatures: Vec::new() };
                listed(honest, certificate, |page| page.certificate = None)
            }),
        ]
    }

    /// Changes of what a client knows that do not lead to the honest list whose signatures they come with.
    fn false_changes(&self, known: &Arc<Snapshot>) -> Vec<(&'static str, Listed)> {
        let liar = self.pairs[0].clone();
        let key = self.world.lock().door(liar.node_id());
        let (honest, poison) = (
            self.honest(0),
            self.list(0, |record, pair| {
                record.onion = key;
                pair.clone()
            }),
        );
        let certificate = self.certify(&honest, QUORUM, None);
        let changed = |change: fn(&mut Page, &Snapshot, &Snapshot)| -> Listed {
            let (honest, poison) = (honest.clone(), poison.clone());
            let (known, certificate) = (Arc::clone(known), certificate.clone());
            Arc::new(move |request| {
                let Request::Snapshot { have, from, .. } = request else { panic!("{request:?}") };
                assert_eq!(have.map(|have| *have), Some(known.hash()));
                let mut page = honest.page(Some(&known), Some(&certificate), *from);
                assert!(page.base.is_some() && !page.changes.is_empty());
                change(&mut page, &known, &poison);
                Answer::Snapshot(page)
            })
        };
        vec![
            ("changes that leave something out", changed(|page, _, _| drop(page.changes.pop()))),
            (
                "changes that put its keys in",
                changed(|page, known, poison| {
                    page.changes = poison.page(Some(known), None, 0).changes;
                }),
            ),
            (
                "changes that drop a node",
                changed(|page, known, _| {
                    page.changes.push(Change::Drop(known.entries()[3].record().node));
                }),
            ),
        ]
    }

    /// Whether a client has the members' own keys, all or none.
    fn knows_true_doors(&self, client: &Client) -> bool {
        let doors = client.inner.doors.all();
        let world = self.world.lock();
        assert!(
            doors.iter().all(|(node, door)| *door == world.door(*node)),
            "another key than the node's own"
        );
        doors.len() == self.pairs.len()
    }
}

/// Gives out a snapshot, whole, after changing its pages.
fn listed(
    snapshot: Snapshot,
    certificate: Certificate,
    change: impl Fn(&mut Page) + Send + Sync + 'static,
) -> Listed {
    Arc::new(move |request| {
        let Request::Snapshot { from, .. } = request else { panic!("{request:?}") };
        let mut page = snapshot.page(None, Some(&certificate), *from);
        change(&mut page);
        Answer::Snapshot(page)
    })
}

async fn send(client: &Client, text: &str) {
    client.send(&account(1), &account(2).id(), text).await.unwrap();
}

#[tokio::test]
async fn without_a_certified_list_there_is_no_path_and_the_error_says_so() {
    let net = Net::far().await;
    let client = net.stranger(None).await;
    // Nodes have signed records, one by one: they count for nothing here.
    assert_eq!(net.world.lock().records.len(), net.pairs.len());
    let error = client.inbox(&account(2)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("no_directory", "no list of nodes that can be used")
    );
    assert_eq!(client.send(&account(1), &account(2).id(), "x").await.unwrap_err().code(), "no_directory");
    assert_eq!(client.info(&net.nodes()[3]).await.unwrap_err().code(), "no_directory");
    assert_eq!(client.prepare_paths(&[]).await.unwrap_err().code(), "no_directory");
    assert!(net.world.lock().tap.is_empty() && client.inner.doors.all().is_empty());
    // As soon as there is one, the same client goes on.
    net.show(&net.certified(0), &net.nodes());
    send(&client, "certified").await;
    assert_eq!(texts(&client, &account(2)).await, some(&["certified"]));
    assert!(net.knows_true_doors(&client));
}

#[tokio::test]
async fn a_poisoned_directory_is_never_followed() {
    let net = Net::far().await;
    for (what, lie) in net.lies() {
        net.show(&lie, &net.nodes());
        let client = net.stranger(None).await;
        let error = client.send(&account(1), &account(2).id(), "x").await.unwrap_err();
        assert_eq!(error.code(), "no_directory", "{what}: {error}");
        assert!(client.inner.doors.all().is_empty() && net.world.lock().tap.is_empty(), "{what}");
        assert!(client.paths().is_empty() && client.directory().await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn liars_among_those_who_are_asked_are_passed_by() {
    let net = Net::far().await;
    for (what, lie) in net.lies() {
        net.show(&net.certified(0), &net.nodes());
        net.show(&lie, &net.nodes()[..LIARS]);
        let client = net.stranger(None).await;
        send(&client, what).await;
        assert!(net.knows_true_doors(&client), "{what}");
    }
}

#[tokio::test]
async fn later_runs_dial_nobody_but_guards() {
    let net = Net::far().await;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    net.show(&net.certified(2), &net.nodes());
    let first = net.stranger(Some(&home)).await;
    send(&first, "one").await;
    let guards: BTreeSet<_> = first.inner.onion.as_ref().unwrap().guards().into_iter().collect();
    drop(first);
    // A newer one is due, and comes from a guard.
    net.show(&net.certified(0), &net.nodes());
    net.world.lock().met.clear();
    let later = net.stranger(Some(&home)).await;
    assert!(net.knows_true_doors(&later), "before anybody was asked");
    send(&later, "two").await;
    let newest = Timing::PUBLIC.last(net.world.lock().now());
    assert!(later.directory().await.unwrap().period() + 1 >= newest);
    let met = net.world.lock().met.clone();
    assert!(!met.is_empty() && met.is_subset(&guards), "{met:?} of {guards:?}");
    assert_eq!(texts(&later, &account(2)).await, some(&["one", "two"]));
}

#[tokio::test]
async fn guards_may_hide_what_is_new_and_cannot_put_anything_in_its_place() {
    let net = Net::far().await;
    net.show(&net.certified(3), &net.nodes());
    let client = net.stranger(None).await;
    send(&client, "before").await;
    let known = client.directory().await.unwrap();
    let guards = client.inner.onion.as_ref().unwrap().guards();
    assert_eq!(guards.len(), 2);
    // Nobody else would lie.
    net.show(&net.certified(0), &net.nodes());
    let mut lies = net.lies();
    lies.extend(net.false_changes(&known));
    for (what, lie) in lies {
        net.show(&lie, &guards);
        net.world.lock().met.clear();
        let refreshed = client.inner.doors.refresh(&guards, true).await;
        assert!(net.knows_true_doors(&client), "{what}");
        assert_eq!(client.directory().await.unwrap(), known, "{what}: {refreshed:?}");
        assert!(net.world.lock().met.is_empty(), "{what}: others were asked");
        send(&client, what).await;
    }
    // One guard that tells the truth is enough.
    net.show(&net.certified(0), &guards[1..]);
    timeout(PATIENCE, client.inner.doors.refresh(&guards, true)).await.unwrap().unwrap();
    assert!(client.directory().await.unwrap().period() >= known.period() + 2);
    send(&client, "after").await;
}

#[tokio::test]
async fn a_list_from_the_future_sets_the_clock_right() {
    let net = Net::far().await;
    net.world.lock().offset_ms = 2 * 3_600_000;
    net.show(&net.certified(0), &net.nodes());
    let client = net.stranger(None).await;
    send(&client, "in time").await;
    assert!(client.now_ms().abs_diff(net.world.lock().now().as_millis()) < 2_000);
    assert!(client.inner.onion.as_ref().unwrap().guards().len() <= 2);
}

#[tokio::test]
async fn a_list_that_became_too_old_is_used_no_longer_and_others_are_asked_as_at_first() {
    let net = Net::far().await;
    let old = net.certified(3);
    net.show(&old, &net.nodes());
    let client = net.stranger(None).await;
    send(&client, "before").await;
    let guards = client.inner.onion.as_ref().unwrap().guards();
    let later = 22 * 3_600_000;
    net.world.lock().offset_ms = later;
    assert_eq!(client.inner.clock.follow(vec![later; 2]), Comparison::Moved);
    net.world.lock().tap.clear();
    let error = client.inbox(&account(2)).await.unwrap_err();
    assert_eq!(error.code(), "no_directory", "{error}");
    assert!(net.world.lock().tap.is_empty() && client.inner.doors.all().is_empty(), "it was used");
    // A guard that hides what is new keeps nobody behind for longer than that.
    net.show(&net.certified(0), &net.nodes());
    net.show(&old, &guards);
    send(&client, "after").await;
    assert!(net.knows_true_doors(&client));
}
