//! Networks with a chain: who is a node and which maps act is what the nodes have signed, and nobody's word.

use std::{num::NonZeroU64, sync::Arc};

use session_chain::{
    Checkpoint, StakeId,
    bls::BlsSecret,
    ledger::{Border, Cursors, Listed, Roll, Roots},
    light::{Distrust, Signed},
    network::{Contracts, NetworkFile, Settlement, TRUST},
};
use session_protocols::{KeyPair, Maps, NodeId, SwarmMap, Time, directory::SignedCheckpoint};

use super::{
    fake::{Net, Over},
    *,
};
use crate::{DirectoryError, Home, Options};

/// The epoch that ends last.
pub(super) const LAST: u64 = 9;
const NODES: u8 = 12;

/// The map after this one: all swarms change places.
fn after(map: &SwarmMap) -> SwarmMap {
    let members = map.swarms.values().cycle().skip(1).cloned();
    SwarmMap { version: map.version + 1, swarms: map.swarms.keys().copied().zip(members).collect() }
}

impl Net {
    /// A network whose nodes register on a chain: epoch 10 of an hour each has just begun.
    pub(super) async fn chained() -> Self {
        let mut net = Self::start(NODES, Over::Tcp).await;
        let now = net.world.lock().now().as_millis() / 1_000;
        let none = [0; 20];
        let contracts = Contracts {
            token: none.into(),
            pool: none.into(),
            staking: none.into(),
            factory: none.into(),
            checkpoints: none.into(),
            names: none.into(),
        };
        let (genesis, epoch) = (now - 36_010, NonZeroU64::new(3_600).unwrap());
        let settlement = Settlement {
            chain: 1,
            rpc: Vec::new(),
            start: 1,
            genesis,
            epoch,
            lock: 1,
            trust: TRUST,
            written: genesis,
            contracts,
            vault: None,
        };
        let mut nodes = net.file.nodes.clone();
        for (node, pair) in nodes.iter_mut().zip(&net.pairs) {
            node.bls = Some(BlsSecret::of_node(pair).public());
        }
        net.file = NetworkFile { settlement: Some(settlement), nodes, ..net.file.clone() };
        net
    }

    /// Its file, whose nodes are believed for four hours after it was written, so long ago.
    pub(super) fn written(&self, hours: u64) -> NetworkFile {
        let mut file = self.file.clone();
        let settlement = file.settlement.as_mut().unwrap();
        let now = self.world.lock().now().as_millis() / 1_000;
        (settlement.trust, settlement.written) = (4 * 3_600, now - hours * 3_600);
        file
    }

    /// The map that the network begins with.
    pub(super) fn first(&self) -> SwarmMap {
        let file = NetworkFile { settlement: None, ..self.file.clone() };
        file.ledger().map().clone()
    }

    /// What so many of the nodes have signed at the end of an epoch.
    pub(super) fn checkpoint(
        &self,
        epoch: u64,
        acts: &SwarmMap,
        next: Option<&SwarmMap>,
        signers: usize,
    ) -> SignedCheckpoint {
        let mut members: Vec<_> = (1..)
            .zip(&self.file.nodes)
            .map(|(id, node)| Listed {
                node: node.id,
                id: StakeId(id),
                operator: node.operator,
                prefix: node.prefix,
                bls: node.bls,
                now: true,
                later: true,
            })
            .collect();
        members.sort_by_key(|one| one.node);
        let roll = Roll { members, acts: acts.clone(), next: next.cloned() };
        let roots = {
            let names = self.world.lock().names.root().unwrap();
            Roots { swarms: roll.swarms_root(), directory: roll.directory_root(), names, ..Roots::default() }
        };
        let border = Border { epoch, height: 0, hash: [1; 32].into(), cursors: Cursors::default() };
        let domain = self.file.settlement.as_ref().unwrap().domain();
        let checkpoint = Checkpoint::new(&domain, border, [2; 32].into(), roots);
        let sign =
            |pair: &KeyPair| (pair.node_id(), BlsSecret::of_node(pair).sign(checkpoint.digest.as_slice()));
        let signatures = self.pairs.iter().take(signers).map(sign).collect();
        Signed { checkpoint, roll: Arc::new(roll), signatures }.write()
    }

    /// All nodes hand this out.
    pub(super) fn hand_out(&self, signed: SignedCheckpoint) {
        self.world.lock().archive.keep(Arc::new(signed));
    }

    /// One node hands out what it likes.
    fn hand_out_at(&self, node: NodeId, signed: &SignedCheckpoint) {
        self.world.lock().forged.insert(node, Arc::new(signed.clone()));
    }

    /// Those who keep an account by no map say that they do, together with others of theirs.
    fn point(&self, map: &SwarmMap, account: &AccountId, members: &[NodeId]) {
        for node in self.nodes() {
            let (map_version, id) = (map.version, map.swarm_of(account).unwrap());
            let swarm = Some(SwarmInfo { map_version, id, members: members.to_vec() });
            let body = Body::Refused(Refusal { code: Code::WrongSwarm, swarm, receipts: None });
            let lie = move |_: &Request, answer: Answer| Some(Answer { body: body.clone(), ..answer });
            self.world.lock().lie(node, Box::new(lie));
        }
    }
}

#[tokio::test]
async fn a_mailbox_that_moves_is_followed_and_nothing_is_lost() {
    let net = Net::chained().await;
    let client = net.client().await;
    let (alice, bob) = (account(1), account(2));
    let old = net.first();
    let new = after(&old);
    let (before, members) = (old.members_of(&bob.id()), new.members_of(&bob.id()));
    assert_ne!(before, members);
    net.hand_out(net.checkpoint(LAST, &old, Some(&new), 9));
    client.send(&alice, &bob.id(), "before").await.unwrap();
    net.world.lock().tell(&Maps { next: Some(new.clone()), ..Maps::from(old.clone()) });
    let sent = client.send(&alice, &bob.id(), "while").await.unwrap();
    assert!(sent.stored > before.len() / 2, "{sent:?}");
    let named = client.get_swarm(&bob.id()).await.unwrap();
    assert_eq!((named.map_version, &named.members[..]), (1, before), "it acts until the border");

    // The nodes come to the border before this client's clock does.
    net.world.lock().tell(&Maps { past: Some(old.clone()), ..Maps::from(new.clone()) });
    assert_eq!(texts(&client, &bob).await, some(&["before", "while"]));
    let sent = client.send(&alice, &bob.id(), "after").await.unwrap();
    assert!(sent.stored > members.len() / 2, "{sent:?}");
    let named = client.get_swarm(&bob.id()).await.unwrap();
    assert_eq!((named.map_version, &named.members[..]), (2, members));
    assert_eq!(texts(&client, &bob).await, some(&["before", "while", "after"]));
}

#[tokio::test]
async fn a_map_that_is_not_known_is_followed_once_the_nodes_have_signed_it() {
    let net = Net::chained().await;
    let (alice, bob) = (account(1), account(2));
    let old = net.first();
    let new = SwarmMap { version: 3, ..after(&old) };
    net.hand_out(net.checkpoint(LAST - 1, &old, None, 12));
    let client = net.client().await;
    client.send(&alice, &bob.id(), "old").await.unwrap();
    net.world.lock().tell(&Maps { past: Some(old.clone()), ..Maps::from(new.clone()) });
    let unproven = client.get_swarm(&bob.id()).await.unwrap_err();
    assert!(matches!(unproven, ClientError::Refused { code: Code::WrongSwarm, .. }), "{unproven}");
    net.hand_out(net.checkpoint(LAST, &new, None, 12));
    assert_eq!(texts(&client, &bob).await, some(&["old"]));
    assert_eq!(client.map().version, new.version);
    assert_eq!(client.get_swarm(&bob.id()).await.unwrap().members, new.members_of(&bob.id()));
}

#[tokio::test]
async fn nobody_is_followed_without_proof() {
    let net = Net::chained().await;
    let (alice, bob) = (account(1), account(2));
    let map = net.first();
    net.hand_out(net.checkpoint(LAST, &map, None, 12));
    let client = net.client().await;
    client.send(&alice, &bob.id(), "x").await.unwrap();
    // All of its members name a swarm of other nodes of the network, and nobody has signed that.
    let own = map.members_of(&bob.id());
    let mut others: Vec<_> = net.nodes().into_iter().filter(|node| !own.contains(node)).take(5).collect();
    others.sort_unstable();
    net.point(&after(&map), &bob.id(), &others);
    let error = client.send(&alice, &bob.id(), "x").await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: Code::WrongSwarm, .. }), "{error}");
}

#[tokio::test]
async fn without_a_chain_the_network_file_says_it_for_good() {
    let net = Net::start(NODES, Over::Tcp).await;
    let bob = account(2);
    let map = net.first();
    let mut others = after(&map).members_of(&bob.id()).to_vec();
    others.sort_unstable();
    net.point(&after(&map), &bob.id(), &others);
    let client = net.client().await;
    let error = client.send(&account(1), &bob.id(), "x").await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { code: Code::WrongSwarm, .. }), "{error}");
    assert_eq!(*client.map(), map);
}

#[tokio::test]
async fn a_checkpoint_is_nobodys_word() {
    let net = Net::chained().await;
    let (map, liars) = (net.first(), net.nodes());
    // The liars keep everything, and sign so; they are two thirds and no more.
    let mut taken = after(&map);
    for members in taken.swarms.values_mut() {
        *members = liars[..8].to_vec();
        members.sort_unstable();
    }
    let forged = net.checkpoint(LAST, &taken, None, 8);
    liars.iter().for_each(|node| net.hand_out_at(*node, &forged));
    let client = net.client().await;
    let error = client.send(&account(1), &account(2).id(), "x").await.unwrap_err();
    let few = DirectoryError::Checkpoint(Distrust::Signatures { found: 8, trusted: 12 });
    assert!(
        matches!(error, ClientError::Directory { cause } if cause == few || cause == DirectoryError::Uncertain)
    );
    assert!(client.map().swarms.is_empty());
    // One that is honest is enough.
    net.hand_out(net.checkpoint(LAST, &map, None, 9));
    net.world.lock().forged.remove(&liars[11]);
    for _ in 0..4 {
        // Five are asked at once, at random.
        if client.send(&account(1), &account(2).id(), "x").await.is_ok() {
            break;
        }
    }
    net.world.lock().forged.clear();
    client.send(&account(1), &account(2).id(), "x").await.unwrap();
    assert_eq!(*client.map(), map);
}

#[tokio::test]
async fn what_the_nodes_signed_is_kept_at_home_and_goes_on_from_there() {
    let net = Net::chained().await;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let options = || Options { home: Some(home.clone()), direct: true, ..Options::default() };
    let map = net.first();
    net.hand_out(net.checkpoint(LAST - 2, &map, None, 12));
    let first = Client::connect(net.file.clone(), options()).await.unwrap();
    first.send(&account(1), &account(2).id(), "x").await.unwrap();
    // The file's own keys say nothing any more: the checkpoint named who signs the next.
    let mut file = net.file.clone();
    file.nodes.iter_mut().for_each(|node| node.bls = None);
    let later = Client::connect(file, options()).await.unwrap();
    assert_eq!(*later.map(), map, "before anybody was asked");
    let new = SwarmMap { version: 2, ..map };
    net.world.lock().tell(&new.clone().into());
    net.hand_out(net.checkpoint(LAST, &new, None, 9));
    later.send(&account(1), &account(2).id(), "x").await.unwrap();
    assert_eq!(*later.map(), new);
}

#[test]
fn a_map_acts_when_its_epoch_begins() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let net = runtime.block_on(Net::chained());
    let old = net.first();
    let new = after(&old);
    let members = crate::membership::Membership::new(
        &net.file,
        crate::kept::Kept::new(None, &net.file),
        net.world.lock().now(),
    );
    let signed = net.checkpoint(LAST, &old, Some(&new), 12);
    net.hand_out(signed);
    let ask = async |request| Some(net.world.lock().directory(net.nodes()[0], &request));
    let now = net.world.lock().now();
    runtime.block_on(members.refresh(now, &ask)).unwrap();
    let ends = net.file.settlement.as_ref().map(|one| one.genesis + 11 * 3_600).unwrap();
    let [before, at] = [1, 0].map(|ago| Time::from_millis(ends * 1_000 - ago));
    assert_eq!((members.map(before), members.map(at)), (old.into(), new.into()));
}

#[tokio::test]
async fn whoever_begins_with_an_old_network_file_asks_nobody_and_is_told_to_take_a_newer_one() {
    let net = Net::chained().await;
    net.hand_out(net.checkpoint(LAST, &net.first(), None, 12));
    for direct in [true, false] {
        let options = || Options { direct, ..Options::default() };
        let old = Client::connect(net.written(5), options()).await.unwrap();
        let failed = [
            old.send(&account(1), &account(2).id(), "x").await.map(drop),
            old.inbox(&account(2)).await.map(drop),
            old.directory().await.map(drop),
        ];
        for error in failed.map(Result::unwrap_err) {
            assert_eq!(error.code(), "outdated", "{error}");
            assert!(error.remedy().contains("take a newer network file from where you trust it"));
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(source, "what this device knows of the network's nodes is too old");
        }
        assert!(old.map().swarms.is_empty() && net.world.lock().met.is_empty(), "nobody was asked");
    }
    let options = Options { direct: true, ..Options::default() };
    let newer = Client::connect(net.written(3), options).await.unwrap();
    newer.send(&account(1), &account(2).id(), "x").await.unwrap();
}

#[tokio::test]
async fn what_was_kept_at_home_for_too_long_counts_for_nothing_beside_a_newer_network_file() {
    let net = Net::chained().await;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("home")).unwrap();
    let options = || Options { home: Some(home.clone()), direct: true, ..Options::default() };
    let map = net.first();
    // Of a border five hours ago, when it was new.
    net.hand_out(net.checkpoint(LAST - 5, &map, None, 12));
    let before = Client::connect(net.file.clone(), options()).await.unwrap();
    before.send(&account(1), &account(2).id(), "x").await.unwrap();
    net.world.lock().met.clear();
    let new = SwarmMap { version: 2, ..map.clone() };
    net.world.lock().tell(&new.clone().into());
    net.hand_out(net.checkpoint(LAST, &new, None, 12));
    let away = Client::connect(net.written(5), options()).await.unwrap();
    assert!(away.map().swarms.is_empty());
    assert_eq!(away.send(&account(1), &account(2).id(), "x").await.unwrap_err().code(), "outdated");
    assert!(net.world.lock().met.is_empty());
    let newer = Client::connect(net.written(1), options()).await.unwrap();
    assert!(newer.map().swarms.is_empty(), "before anybody was asked");
    newer.send(&account(1), &account(2).id(), "x").await.unwrap();
    assert_eq!(*newer.map(), new);
    // From then on it is kept again, whatever the file says.
    let later = Client::connect(net.written(5), options()).await.unwrap();
    assert_eq!(*later.map(), new);
}

#[test]
fn who_runs_on_for_too_long_without_a_checkpoint_goes_by_none() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let net = runtime.block_on(Net::chained());
    let now = net.world.lock().now();
    let (file, map) = (net.written(1), net.first());
    let kept = crate::kept::Kept::new(None, &file);
    let members = crate::membership::Membership::new(&file, kept, now);
    net.hand_out(net.checkpoint(LAST, &map, None, 12));
    let ask = async |request| Some(net.world.lock().directory(net.nodes()[0], &request));
    runtime.block_on(members.refresh(now, &ask)).unwrap();
    let known = members.nodes();
    // The border was some seconds ago.
    let hours = |hours| now.after(session_protocols::Span::hours(hours));
    members.renew(hours(3)).unwrap();
    assert!(members.is_known());
    assert!(matches!(members.renew(hours(4)), Err(DirectoryError::Outdated(Distrust::Old { .. }))));
    assert!(!members.is_known() && members.map(hours(4)).swarms.is_empty());
    assert_eq!(
        members.nodes().keys().collect::<Vec<_>>(),
        known.keys().collect::<Vec<_>>(),
        "as in the file"
    );
    let refused = runtime.block_on(members.refresh(hours(4), &ask)).unwrap_err();
    assert!(matches!(refused, DirectoryError::Checkpoint(Distrust::Old { .. })), "{refused}");
}
