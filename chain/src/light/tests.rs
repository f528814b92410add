use alloy::primitives::B256;
use session_protocols::{KeyPair, answer::RULES, directory::checkpoint::Collection};

use super::*;
use crate::{
    Block, Border, Input, Ledger, NetworkNode, Parameters, Registration, StakeId,
    bls::BlsSecret,
    ledger::{Amount, Cursors, Roots, Share},
    network::{Contracts, Settlement},
};

const SECONDS: u64 = 100;

/// A network whose nodes come and go, and what they sign.
struct World {
    ledger: Ledger,
    file: NetworkFile,
    pairs: BTreeMap<NodeId, KeyPair>,
    height: u64,
}

impl World {
    /// A network that begins with so many nodes, which all serve.
    fn new(count: u8) -> Self {
        let contracts = Contracts {
            token: [1; 20].into(),
            pool: [2; 20].into(),
            staking: [3; 20].into(),
            factory: [4; 20].into(),
            checkpoints: [5; 20].into(),
            names: [6; 20].into(),
        };
        let epoch = NonZeroU64::new(SECONDS).unwrap();
        let (rpc, lock) = (vec!["http://127.0.0.1:1".to_owned()], 10);
        let settlement = Settlement {
            chain: 31_337,
            rpc,
            start: 1,
            genesis: 1_000,
            epoch,
            lock,
            trust: 1_000 * SECONDS,
            written: 1_000,
            contracts,
            vault: None,
        };
        let ledger = Ledger::new(settlement.parameters());
        let file = NetworkFile {
            name: "test".parse().unwrap(),
            local: true,
            seed: [0; 32],
            faucet: None,
            limits: Default::default(),
            hf: RULES,
            nodes: Vec::new(),
            settlement: Some(settlement),
        };
        let mut world = Self { ledger, file, pairs: BTreeMap::new(), height: 0 };
        let inputs = (1..=count).map(|seed| world.registration(seed)).collect();
        world.apply(inputs);
        world.file.nodes = world.pairs.values().map(|pair| world.node(pair)).collect();
        world
    }

    fn parameters(&self) -> Parameters {
        self.file.settlement.as_ref().unwrap().parameters()
    }

    fn node(&self, pair: &KeyPair) -> NetworkNode {
        let member = self.ledger.node(&pair.node_id()).unwrap();
        NetworkNode {
            id: pair.node_id(),
            operator: member.operator,
            prefix: member.prefix,
            addresses: Vec::new(),
            door: None,
            bls: Some(BlsSecret::of_node(pair).public()),
        }
    }

    fn registration(&mut self, seed: u8) -> Input {
        let pair = KeyPair::from_seed(&[seed; 32]);
        let (operator, bls) = ([seed; 20].into(), BlsSecret::of_node(&pair).public());
        let prefix = format!("127.0.{seed}.0/24").parse().unwrap();
        let amount = Amount::sesh(1);
        let registration = Registration {
            id: StakeId(seed.into()),
            node: pair.node_id(),
            signature: pair.sign(&self.parameters().domain.registration(operator, prefix, &bls)),
            operator,
            prefix,
            fee: 0,
            bls,
            shares: vec![Share { contributor: operator, beneficiary: operator, amount }],
        };
        self.pairs.insert(pair.node_id(), pair);
        Input::Register(Box::new(registration))
    }

    fn apply(&mut self, inputs: Vec<Input>) {
        self.height += 1;
        let time = self.ledger.border() - SECONDS;
        self.ledger.apply(&Block { height: self.height, time, inputs }).unwrap();
    }

    /// Ends the epoch; what all members but these have signed.
    fn cross(&mut self, silent: &[u8]) -> Signed {
        self.height += 1;
        let (epoch, height) = (self.ledger.epoch(), self.height);
        let hash = B256::repeat_byte(height as u8);
        let (_, mut checkpoint) = self
            .ledger
            .cross(Border { epoch, height, hash, cursors: Cursors::default() }, B256::ZERO)
            .unwrap();
        checkpoint.border.height = 0;
        let roll = Arc::new(self.ledger.roll());
        let silent: Vec<_> = silent.iter().map(|seed| KeyPair::from_seed(&[*seed; 32]).node_id()).collect();
        let sign = |node: &NodeId| {
            let secret = BlsSecret::of_node(&self.pairs[node]);
            (*node, secret.sign(checkpoint.digest.as_slice()))
        };
        let signers = roll.members.iter().filter(|one| one.bls.is_some() && !silent.contains(&one.node));
        let signatures = signers.map(|one| sign(&one.node)).collect();
        Signed { checkpoint, roll, signatures }
    }

    /// A while after the last border.
    fn now(&self) -> Time {
        Time::from_millis((self.ledger.border() - SECONDS + 10) * 1_000)
    }

    fn client(&self) -> Trusted {
        Trusted::new(&self.file).unwrap()
    }

    /// A client that trusts for three epochs, with a network file that was written when so many had ended.
    fn wary(&self, epochs: u64) -> Trusted {
        let mut file = self.file.clone();
        let settlement = file.settlement.as_mut().unwrap();
        (settlement.trust, settlement.written) = (TRUST.0 / 1_000_000, settlement.genesis + epochs * SECONDS);
        Trusted::new(&file).unwrap()
    }
}

const TRUST: Span = Span::secs(3 * SECONDS);
const INSTANT: Span = Span::micros(1);
/// What comes an instant too late.
const OLD: Distrust = Distrust::Old { age: Span::micros(TRUST.0 + 1), most: TRUST };

#[test]
fn whoever_trusts_the_networks_nodes_follows_who_comes_and_goes() {
    let mut world = World::new(8);
    let mut client = world.client();
    assert!(client.last().is_none() && client.is_behind(world.now(), Span(0)));
    let mut newcomer = 9;
    for epoch in 0..12 {
        if epoch > 1 {
            // One comes and one goes in each.
            let leave = Input::RequestExit { id: StakeId(u64::from(newcomer) - 8), unlocks: 1 };
            let inputs = vec![world.registration(newcomer), leave];
            world.apply(inputs);
            newcomer += 1;
        }
        let signed = world.cross(&[]);
        client.believe(world.now(), &signed.write()).unwrap();
        assert_eq!(client.last(), Some(&signed), "epoch {epoch}");
        assert!(!client.is_behind(world.now(), Span(0)));
        let ahead = world.now().after(Span::secs(SECONDS));
        let from = client.epochs().end(signed.epoch() + 1);
        assert!(world.now() < from && from <= ahead);
        let next = world.ledger.next_map().map(|map| (from, map));
        assert_eq!(client.maps(), Some((world.ledger.map(), next)));
        assert!(client.is_behind(ahead, Span(0)) && !client.is_behind(ahead, Span::secs(20)));
    }
    let gone = KeyPair::from_seed(&[1; 32]).node_id();
    assert_eq!(client.maps().unwrap().0.swarm_with(&gone), None);
}

#[test]
fn who_agrees_on_the_directory_is_known_an_epoch_ahead() {
    let mut world = World::new(6);
    world.cross(&[]);
    let leave = Input::RequestExit { id: StakeId(6), unlocks: 1 };
    let inputs = vec![leave, world.registration(7)];
    world.apply(inputs);
    let mut client = world.client();
    let mut ahead = None;
    for count in [6, 7, 6] {
        let signed = world.cross(&[]);
        client.believe(world.now(), &signed.write()).unwrap();
        let [(from, now), (then, later)] = client.listed().unwrap();
        assert_eq!(from, client.epochs().end(signed.epoch()));
        assert_eq!(then, from.after(Span::secs(SECONDS)));
        assert!(ahead.is_none_or(|ahead| ahead == now));
        assert_eq!(now.len(), count);
        ahead = Some(later);
    }
}

#[test]
fn more_than_two_thirds_of_those_who_are_trusted_have_to_sign() {
    let mut world = World::new(9);
    let two_thirds = world.cross(&[1, 2, 3]);
    let mut client = world.client();
    let refused = client.believe(world.now(), &two_thirds.write());
    assert_eq!(refused, Err(Distrust::Signatures { found: 6, trusted: 9 }));
    assert!(client.last().is_none() && client.maps().is_none());
    let more = world.cross(&[1, 2]);
    client.believe(world.now(), &more.write()).unwrap();
    assert_eq!(client.believe(world.now(), &more.write()), Err(Distrust::NotNewer));
    let next = world.cross(&[]);
    assert_eq!(client.believe(Time::ZERO, &next.write()), Err(Distrust::Ahead));
    client.believe(world.now(), &next.write()).unwrap();
}

#[test]
fn what_was_not_signed_is_not_believed() {
    let mut world = World::new(6);
    let signed = world.cross(&[]);
    let refused = |change: &dyn Fn(&mut SignedCheckpoint)| {
        let (mut client, mut found) = (world.client(), signed.write());
        change(&mut found);
        client.believe(world.now(), &found).unwrap_err()
    };
    let form = |what| Distrust::Form { what };
    assert_eq!(refused(&|one| one.head.block[0] ^= 1), Distrust::Forged);
    assert_eq!(refused(&|one| one.head.rewards[3] ^= 1), Distrust::Forged);
    assert_eq!(refused(&|one| one.head.acts.version += 1), Distrust::Forged);
    assert_eq!(refused(&|one| one.head.acts.swarms[0].1.truncate(4)), Distrust::Forged);
    assert_eq!(refused(&|one| one.head.next = Some(one.head.acts.clone())), Distrust::Forged);
    assert_eq!(refused(&|one| one.members[0].registration += 1), form("members"));
    assert_eq!(refused(&|one| one.members.swap(0, 1)), form("members"));
    assert_eq!(refused(&|one| one.members.truncate(5)), form("map"));
    assert_eq!(refused(&|one| one.members[0].prefix.push('1')), form("prefix"));
    assert_eq!(refused(&|one| one.head.acts.swarms[0].1[0] = 99), form("map"));
    assert_eq!(refused(&|one| one.head.acts.swarms[0].1.swap(0, 1)), form("map"));
    assert_eq!(refused(&|one| one.head.signatures.swap(0, 1)), form("signatures"));
    assert_eq!(refused(&|one| one.head.signatures[5].0 = 6), form("signatures"));
    let spoil = |count: usize| {
        move |one: &mut SignedCheckpoint| {
            one.head.signatures.iter_mut().take(count).for_each(|(_, signature)| signature[9] ^= 1);
        }
    };
    assert_eq!(refused(&spoil(2)), Distrust::Signatures { found: 4, trusted: 6 });
    let few = Distrust::Signatures { found: 4, trusted: 6 };
    assert_eq!(refused(&|one| one.head.signatures.truncate(4)), few);
    // Of another chain or contract it means something else.
    let mut other = world.file.clone();
    other.settlement.as_mut().unwrap().chain += 1;
    let elsewhere = Trusted::new(&other).unwrap().believe(world.now(), &signed.write());
    assert_eq!(elsewhere, Err(Distrust::Forged));
}

/// Somebody who holds one key makes up another that cancels those of the honest out, and signs for all.
#[test]
fn a_key_that_a_checkpoint_brings_itself_signs_nothing() {
    let mut world = World::new(6);
    let honest = world.cross(&[]);
    let mut ledger = World::new(6);
    ledger.apply(vec![Input::RequestExit { id: StakeId(1), unlocks: 1 }]);
    let forged = ledger.cross(&[1, 2, 3, 4, 5, 6]).checkpoint;
    let mallory = BlsSecret::from_seed(&[66; 32]);
    let mut roll = Roll::clone(&honest.roll);
    for member in &mut roll.members {
        member.bls = Some(mallory.public());
    }
    let signature = mallory.sign(forged.digest.as_slice());
    let signatures = roll.members.iter().map(|member| (member.node, signature)).collect();
    let roots = Roots { directory: roll.directory_root(), ..forged.roots };
    let domain = world.parameters().domain;
    let checkpoint = Checkpoint::new(&domain, forged.border, forged.previous, roots);
    let forged = Signed { checkpoint, roll: Arc::new(roll), signatures };
    let mut client = world.client();
    assert_eq!(client.believe(world.now(), &forged.write()), Err(Distrust::Forged));
    client.believe(world.now(), &honest.write()).unwrap();
}

#[test]
fn members_that_are_known_need_not_travel_again() {
    let mut world = World::new(6);
    let (first, second) = (world.cross(&[]), world.cross(&[]));
    let mut client = world.client();
    client.believe(world.now(), &first.write()).unwrap();
    let known = *first.write().head.directory;
    let page = second.write().page(Some(&known), 0);
    assert!(page.members.is_empty() && !page.more);
    let Ok(session_protocols::directory::checkpoint::Collected::Whole(found)) =
        Collection::default().take(page)
    else {
        panic!()
    };
    let mut fresh = world.client();
    assert_eq!(fresh.believe(world.now(), &found), Err(Distrust::Form { what: "members" }));
    client.believe(world.now(), &found).unwrap();
    assert_eq!(client.last(), Some(&second));
}

#[test]
fn what_was_kept_is_known_again_and_whatever_is_damaged_is_not() {
    let mut world = World::new(6);
    let signed = world.cross(&[]);
    let mut client = world.client();
    assert_eq!(client.encode(), None);
    client.believe(world.now(), &signed.write()).unwrap();
    let bytes = client.encode().unwrap();
    let mut later = world.client();
    later.restore(world.now(), &bytes).unwrap();
    assert_eq!((later.last(), later.encode()), (Some(&signed), Some(bytes.clone())));
    for at in (0..bytes.len()).step_by(11) {
        let mut other = world.client();
        assert_eq!(other.restore(world.now(), &bytes[..at]), Err(Distrust::Bytes));
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        assert!(other.restore(world.now(), &changed).is_err(), "byte {at}");
    }
    let mut elsewhere = world.file.clone();
    elsewhere.settlement.as_mut().unwrap().chain += 1;
    assert_eq!(Trusted::new(&elsewhere).unwrap().restore(world.now(), &bytes), Err(Distrust::Bytes));
}

#[test]
fn whoever_was_away_while_all_members_changed_goes_from_one_change_to_the_next() {
    let mut world = World::new(6);
    let (mut archive, mut left) = (Archive::default(), 0);
    let mut client = world.client();
    for epoch in 0..40_u8 {
        if epoch % 3 == 2 && epoch < 30 {
            // One comes; the first of those who are there goes for good.
            left += 1;
            let leaver = StakeId(left);
            let inputs = vec![world.registration(6 + left as u8), Input::Remove { id: leaver }];
            world.apply(inputs);
        }
        archive.keep(Arc::new(world.cross(&[]).write()));
    }
    let newest = archive.get(None).unwrap().clone();
    assert_eq!(newest.head.epoch, 39);
    assert!(archive.0.len() < 35, "what changed nothing is not kept: {}", archive.0.len());
    let refused = client.believe(world.now(), &newest);
    assert_eq!(refused, Err(Distrust::Signatures { found: 0, trusted: 6 }), "all have gone since");
    let stranger = client.clone();
    let (mut walk, mut believed) = (Walk::default(), 0);
    while let Some(since) = walk.since() {
        let next = archive.get(since).unwrap();
        believed += usize::from(walk.take(&mut client, world.now(), next).unwrap());
    }
    assert!((2..=archive.0.len()).contains(&believed), "{believed}");
    assert_eq!(client.last().map(Signed::epoch), Some(39));
    assert_eq!(client.maps().unwrap().0, world.ledger.map());

    // Whoever gives the same again, or has nothing that leads on, ends it with an error: others are asked.
    let first = archive.get(Some(0)).unwrap();
    let (mut walk, mut client) = (Walk::default(), stranger);
    assert_eq!(walk.take(&mut client, world.now(), &newest), Ok(false));
    assert_eq!(walk.take(&mut client, world.now(), first), Ok(true));
    assert_eq!(walk.take(&mut client, world.now(), &newest), Ok(false));
    assert_eq!(walk.since(), Some(Some(first.head.epoch + 1)));
    assert_eq!(walk.take(&mut client, world.now(), first), Err(Distrust::NotNewer));
    assert_eq!(walk.since(), None);
    let mut walk = Walk::default();
    assert_eq!(walk.take(&mut client, world.now(), first), Ok(false), "there is nothing newer");
    assert_eq!(walk.since(), None);
}

#[test]
fn an_archive_is_bounded_and_the_newest_takes_the_place_of_one_like_it() {
    let mut world = World::new(6);
    let mut archive = Archive::default();
    let signed = world.cross(&[1]).write();
    assert_eq!(archive.keep(Arc::new(signed.clone())), Vec::<u64>::new());
    let mut fewer = signed;
    fewer.head.signatures.pop();
    assert_eq!(archive.keep(Arc::new(fewer.clone())), Vec::<u64>::new());
    assert_eq!(archive.get(None).map(|one| &**one), Some(&fewer), "of one epoch the last counts");
    assert_eq!(archive.keep(Arc::new(world.cross(&[]).write())), Vec::<u64>::new());
    assert_eq!(archive.keep(Arc::new(world.cross(&[]).write())), [1], "nobody came or went");
    for seed in 7..90 {
        let inputs = vec![world.registration(seed)];
        world.apply(inputs);
        archive.keep(Arc::new(world.cross(&[]).write()));
    }
    assert_eq!(archive.0.len(), MAX_KEPT);
    assert!(
        archive.of(0).is_some() && archive.get(Some(u64::MAX)).is_none(),
        "those who came first are needed"
    );
}

#[test]
fn a_node_that_came_back_with_another_key_spoils_nothing() {
    let mut world = World::new(7);
    let mut client = world.client();
    // It is another's key for those who trusted it before.
    let mut signed = world.cross(&[]);
    let node = KeyPair::from_seed(&[1; 32]).node_id();
    let other = BlsSecret::from_seed(&[99; 32]);
    signed.signatures.insert(node, other.sign(signed.checkpoint.digest.as_slice()));
    client.believe(world.now(), &signed.write()).unwrap();
}

#[test]
fn what_most_of_those_before_signed_is_known_again_though_fewer_of_those_behind_did() {
    let mut world = World::new(9);
    let mut client = world.client();
    let newcomer = world.registration(10);
    world.apply(vec![newcomer]);
    // Seven of the nine, and of ten with the newcomer too few.
    let mut signed = world.cross(&[1, 2, 10]);
    assert_eq!((signed.roll.keys().len(), signed.signatures.len()), (10, 7));
    signed.signatures.retain(|node, _| world.file.nodes.iter().any(|one| one.id == *node));
    client.believe(world.now(), &signed.write()).unwrap();
    let mut later = world.client();
    later.restore(world.now(), &client.encode().unwrap()).unwrap();
    assert_eq!(later.last(), Some(&signed));
}

#[test]
fn an_archive_leads_from_the_first_to_the_last_through_many_changes() {
    let mut world = World::new(12);
    let (mut archive, mut client) = (Archive::default(), world.client());
    for change in 1..150_u8 {
        let inputs = vec![world.registration(12 + change), Input::Remove { id: StakeId(change.into()) }];
        world.apply(inputs);
        archive.keep(Arc::new(world.cross(&[]).write()));
    }
    assert!(archive.0.len() <= MAX_KEPT);
    let newest = archive.get(None).unwrap().head.epoch;
    while client.last().map(Signed::epoch) != Some(newest) {
        let since = client.last().map_or(0, |last| last.epoch() + 1);
        client.believe(world.now(), archive.get(Some(since)).unwrap()).unwrap();
    }
    assert_eq!(client.maps().map(|(acts, _)| acts), Some(world.ledger.map()));
}

#[test]
fn nodes_are_trusted_for_a_while_after_the_border_at_which_they_were_some() {
    let mut world = World::new(6);
    let mut client = world.wary(0);
    let (genesis, ends) = (Time::from_millis(1_000_000), client.epochs());
    client.check(genesis.after(TRUST)).unwrap();
    assert_eq!(
        client.check(genesis.after(TRUST).after(INSTANT)),
        Err(OLD),
        "the file is as old as the network"
    );
    let [first, second, third] = [(); 3].map(|()| world.cross(&[]));
    client.believe(ends.end(0), &first.write()).unwrap();
    let last = ends.end(0).after(TRUST);
    let late = last.after(INSTANT);
    client.check(last).unwrap();
    assert_eq!(client.check(late), Err(OLD));
    // Whatever they sign by then.
    assert_eq!(client.believe(late, &second.write()), Err(OLD));
    assert_eq!((client.forget_old(last), client.last()), (false, Some(&first)));
    client.believe(last, &second.write()).unwrap();
    // It counts anew from there.
    client.believe(late, &third.write()).unwrap();
    assert_eq!(client.last(), Some(&third));
    assert_eq!(OLD.to_string(), "it is 300 s old, and believed for 300 s at most");
    let old = Distrust::Old { age: Span::days(40), most: Span::hours(47) };
    assert_eq!(old.to_string(), "it is 40 days old, and believed for 47 h at most");
}

#[test]
fn what_was_kept_for_too_long_gives_way_to_a_newer_network_file() {
    let mut world = World::new(6);
    let (first, second) = (world.cross(&[]), world.cross(&[]));
    let mut before = world.wary(0);
    before.believe(world.now(), &first.write()).unwrap();
    let bytes = before.encode().unwrap();
    let last = before.epochs().end(0).after(TRUST);
    let late = last.after(INSTANT);
    world.wary(0).restore(last, &bytes).unwrap();
    for (written, believed) in [(0, Err(OLD)), (2, Ok(()))] {
        let mut later = world.wary(written);
        assert_eq!((later.restore(late, &bytes), later.last()), (Err(OLD), None));
        // So does what was believed while it ran.
        let mut running = world.wary(written);
        running.restore(last, &bytes).unwrap();
        assert_eq!((running.check(late), running.forget_old(late), running.last()), (Err(OLD), true, None));
        for mut client in [later, running] {
            let since = Time::from_millis((1_000 + written * SECONDS) * 1_000);
            let expected = believed.map_err(|_| Distrust::Old { age: late.since(since), most: TRUST });
            assert_eq!(client.check(late), expected);
            assert_eq!(client.believe(late, &second.write()), expected);
        }
    }
}

#[test]
fn what_the_nodes_of_a_network_file_signed_long_before_it_is_not_believed() {
    let mut world = World::new(6);
    let first = world.cross(&[]);
    for _ in 0..8 {
        world.cross(&[]);
    }
    let newest = world.cross(&[1, 2]);
    let mut client = world.wary(9);
    let old = client.epochs().end(0);
    let refused = client.believe(world.now(), &first.write());
    assert_eq!(refused, Err(Distrust::Old { age: world.now().since(old), most: TRUST }));
    // Whoever needs others first asks from there on where the file was written.
    let mut walk = Walk::default();
    assert_eq!(walk.take(&mut client, world.now(), &newest.write()), Ok(false));
    assert_eq!(walk.since(), Some(Some(9)));
}
