use std::collections::BTreeMap;

use session_chain::{
    Block, Border, Checkpoint, Input, Ledger, Operator, Parameters, StakeId,
    bls::BlsSecret,
    ledger::{Listed, Roll},
    light,
    names::{Change, resolve::Anchor, resolve::Standing},
    network::Contracts,
    settlement::{Followed, Signers, StateFile},
};
use session_protocols::{
    AccountId, KeyPair, NodeId,
    door::names::hash,
    names::{COST, Cost, Kind, Label, NameId, NameKeys, Value},
};

use super::{
    revealed::{EACH, MAX_ASKING, MAX_LOOKING},
    *,
};
use crate::{door::Caller, seat::Seat};

const OWNER: [u8; 20] = [7; 20];

fn registered(id: NameId) -> Change {
    Change::Registered { id, owner: OWNER.into(), expires: u64::MAX, version: 1 }
}

fn revealed(id: NameId, name: &Label) -> Change {
    Change::Revealed { id, version: 1, name: name.as_str().to_owned() }
}

fn client(last: u8) -> Caller {
    Caller::Client([10, 0, 0, last].into())
}

/// A node's names and its shelf, and what both are made of.
struct World {
    names: Names,
    shelf: Shelf,
    file: StateFile,
    ledger: Ledger,
    settled: Settled,
    followed: Followed,
    data: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let none = [0; 20];
        let contracts = Contracts {
            token: none.into(),
            pool: none.into(),
            staking: none.into(),
            factory: none.into(),
            checkpoints: none.into(),
            names: none.into(),
        };
        let parameters = Parameters { genesis: 0, ..Parameters::default() };
        let followed = Followed { chain: 1, start: 1, contracts };
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("chain.redb");
        let (file, mark, ledger) = StateFile::open(&path, &followed, parameters).unwrap();
        let shelf = Shelf::open(data.path(), &parameters.domain).unwrap();
        let settled = Settled {
            ledger: Arc::new(ledger.clone()),
            mark,
            checkpoint: None,
            signers: Arc::new(Signers::new()),
            roll: Arc::new(Roll::default()),
            names: Arc::new(file.index().unwrap()),
            behind: Arc::default(),
        };
        let names = Names::new(shelf.clone(), &settled);
        Self { names, shelf, file, ledger, settled, followed, data }
    }

    /// The file is closed, as when the disk refused something, and opened anew. The node is not told.
    fn open_anew(&mut self) {
        let (parameters, path) = (*self.ledger.parameters(), self.data.path().join("chain.redb"));
        self.file = StateFile::in_memory(&self.followed, parameters).unwrap().0;
        self.file = StateFile::open(&path, &self.followed, parameters).unwrap().0;
        self.settled.names = Arc::new(self.file.index().unwrap());
    }

    /// Registers a name, ends an epoch, and tells the node.
    fn cross(&mut self, byte: u8) -> Checkpoint {
        self.cross_with(byte, vec![registered(NameId::from_bytes([byte; 32]))])
    }

    /// Ends an epoch in which names changed, and tells the node.
    fn cross_with(&mut self, byte: u8, changes: Vec<Change>) -> Checkpoint {
        let inputs = changes.into_iter().map(Input::Name).collect();
        let block = Block { height: self.ledger.height() + 1, time: 1, inputs };
        self.file.name(std::slice::from_ref(&block)).unwrap();
        let root = self.file.cross_names(1).unwrap();
        let (epoch, height) = (self.ledger.epoch(), self.ledger.height() + 1);
        let border = Border { epoch, height, hash: [byte; 32].into(), cursors: <_>::default() };
        let (_, checkpoint) = self.ledger.cross(border, root).unwrap();
        (self.settled.mark.epoch, self.settled.mark.height) = (self.ledger.epoch(), height);
        self.file.keep(&self.settled.mark, &self.ledger, None).unwrap();
        self.settled.checkpoint = Some(Arc::new(checkpoint.clone()));
        self.settled.names = Arc::new(self.file.index().unwrap());
        self.names.cross(&self.settled);
        checkpoint
    }

    /// A checkpoint is handed out.
    fn sign(&self, checkpoint: &Checkpoint) {
        let pair = KeyPair::from_seed(&[1; 32]);
        let secret = BlsSecret::of_node(&pair);
        let member = Listed {
            node: pair.node_id(),
            id: StakeId(1),
            operator: Operator::from_bytes(OWNER),
            prefix: "127.0.1.0/24".parse().unwrap(),
            bls: Some(secret.public()),
            now: true,
            later: true,
        };
        let roll = Arc::new(Roll { members: vec![member], ..Roll::default() });
        let signature = secret.sign(checkpoint.digest.as_slice());
        let signatures = BTreeMap::from([(pair.node_id(), signature)]);
        self.shelf.put(&light::Signed { checkpoint: checkpoint.clone(), roll, signatures });
    }

    /// Which of these names it proves to be somebody's, by a checkpoint.
    fn held(&self, checkpoint: &Checkpoint, all: &[u8]) -> Vec<u8> {
        let anchor = Anchor { epoch: checkpoint.border.epoch, root: checkpoint.roots.names };
        let held = |byte: &&u8| {
            let id = NameId::from_bytes([**byte; 32]);
            let answer = self.names.answer(&Request::name(id, None)).unwrap();
            matches!(anchor.name(id, None, &answer, 1).unwrap(), Standing::Held(_))
        };
        all.iter().filter(held).copied().collect()
    }

    /// Whoever needs keys made meanwhile finds no seat.
    fn hold_keys(&self) -> Vec<Seat<Caller>> {
        let seats = &self.names.revealed.asking;
        let held: Vec<_> = (0..=u8::MAX)
            .flat_map(|last| std::iter::from_fn(move || Seat::take(seats, client(last))))
            .collect();
        assert_eq!(held.len(), MAX_ASKING);
        held
    }

    fn refuses(&self) -> Option<Code> {
        self.names.answer(&Request::account(OWNER)).err()
    }
}

#[test]
fn between_a_border_and_its_signatures_the_one_before_is_served() {
    let mut world = World::new();
    assert_eq!(world.refuses(), Some(Code::NotReady), "there was no border");
    let first = world.cross(1);
    assert_eq!((world.refuses(), world.names.count()), (Some(Code::NotReady), 1), "nobody has signed it");
    world.sign(&first);
    assert_eq!(world.held(&first, &[1, 2]), [1]);
    let second = world.cross(2);
    assert_eq!(world.held(&first, &[1, 2]), [1], "as it was");
    world.sign(&second);
    assert_eq!(world.held(&second, &[1, 2, 3]), [1, 2]);
    assert_eq!((world.names.count(), world.names.lock().borders.len()), (2, 1));
}

#[test]
fn of_a_file_that_was_opened_anew_the_newest_border_is_served_once_it_is_signed_and_none_before_it() {
    let mut world = World::new();
    let first = world.cross(1);
    world.sign(&first);
    let second = world.cross(2);
    assert_eq!(world.held(&first, &[1, 2]), [1]);
    world.open_anew();
    world.names.cross(&world.settled);
    assert_eq!((world.refuses(), world.names.count()), (Some(Code::NotReady), 2));
    world.sign(&second);
    assert_eq!(world.held(&second, &[1, 2, 3]), [1, 2]);
    // That may be told together with the border behind it, and what is served be the one that is signed.
    world.open_anew();
    let third = world.cross(3);
    assert_eq!(world.refuses(), Some(Code::NotReady));
    world.sign(&third);
    assert_eq!(world.held(&third, &[1, 2, 3]), [1, 2, 3]);
}

#[tokio::test]
async fn a_name_that_is_revealed_is_found_by_its_hash_and_by_nobody_elses_word() {
    let mut world = World::new();
    let [alice, bob, carol]: [Label; 3] = ["alice", "bob", "carol"].map(|name| name.parse().unwrap());
    let account = AccountId::from_bytes([5; 33]);
    let keys = |label: &Label| NameKeys::of(&label.clone().into(), COST).unwrap();
    let record = |keys: &NameKeys| {
        let value = keys.seal(1, &Value::Account(account));
        let (id, sub) = (keys.id(), <_>::default());
        Change::Record { id, sub, version: 1, kind: Kind::Account.number(), value }
    };
    let [of_alice, of_carol] = [&alice, &carol].map(keys);
    // Carol is not revealed, and somebody else says of a name that it is called alice, and of one bob.
    let others = [[1; 32], [0xfe; 32], [0xff; 32]].map(NameId::from_bytes);
    let mut changes: Vec<_> = others.into_iter().map(registered).collect();
    changes.extend([registered(of_alice.id()), registered(of_carol.id())]);
    changes.extend([record(&of_alice), record(&of_carol)]);
    changes.extend(others.into_iter().zip([&alice, &bob, &alice]).map(|(id, name)| revealed(id, name)));
    let first = world.cross_with(1, changes);
    let names = world.names.clone();
    let found = async |name: &Label| names.revealed(hash(name), client(1)).await;
    assert_eq!(found(&alice).await, Err(Code::NotReady), "nobody has signed it");
    world.sign(&first);
    assert_eq!(found(&alice).await, Ok(None), "its owner has not revealed it");
    let second = world.cross_with(2, vec![revealed(of_alice.id(), &alice)]);
    assert_eq!(found(&alice).await, Ok(None), "not signed yet");
    world.sign(&second);
    let unmade = world.hold_keys();
    assert_eq!(found(&alice).await, Ok(Some((alice.clone(), account))), "its keys wait for no turn");
    assert_eq!(found(&bob).await, Err(Code::TooMany), "his keys are not made yet");
    drop(unmade);
    assert_eq!((found(&bob).await, found(&carol).await), (Ok(None), Ok(None)));
}

#[tokio::test]
async fn keys_of_all_that_is_revealed_are_made_once() {
    let mut world = World::new();
    world.names.revealed.cost = Cost::other(8, 1);
    let labels: Vec<Label> = (0..5_000).map(|number| format!("n{number}").parse().unwrap()).collect();
    let reveal = |label: &Label| {
        let id = NameKeys::of(&label.clone().into(), Cost::other(8, 1)).unwrap().id();
        [registered(id), revealed(id, label)]
    };
    let first = world.cross_with(1, labels.iter().flat_map(reveal).collect());
    world.sign(&first);
    let names = world.names.clone();
    let found = async |label: &Label| names.revealed(hash(label), client(1)).await;
    for label in &labels {
        assert_eq!(found(label).await, Ok(None), "it has no account");
    }
    // One of them was called something else since.
    let (last, others) = labels.split_last().unwrap();
    let [_, Change::Revealed { id, .. }] = reveal(last) else { panic!("it is revealed") };
    let second = world.cross_with(2, vec![revealed(id, &"else".parse().unwrap())]);
    world.sign(&second);
    let _unmade = world.hold_keys();
    for label in others {
        assert_eq!(found(label).await, Ok(None), "{label} is made again");
    }
    assert_eq!(found(last).await, Ok(None), "nobody says so any more");
    assert_eq!(found(&"else".parse().unwrap()).await, Err(Code::TooMany), "that is a name of its own");
}

#[tokio::test]
async fn nobody_takes_the_seats_of_others() {
    let mut world = World::new();
    world.names.revealed.cost = Cost::other(8, 1);
    let over = |byte| Caller::Onion(Some(NodeId::from_bytes([byte; 32])));
    let pairs = [[client(1), client(2)], [over(1), over(2)], [Caller::Onion(None), client(1)]];
    let [a, b, c]: [Label; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
    let changes = [&a, &b, &c].into_iter().zip(1..).flat_map(|(name, byte)| {
        let id = NameId::from_bytes([byte; 32]);
        [registered(id), revealed(id, name)]
    });
    let first = world.cross_with(1, changes.collect());
    world.sign(&first);
    let Revealed { looking, asking, .. } = world.names.revealed.clone();
    for (name, [greedy, other]) in [&a, &b, &c].into_iter().zip(pairs) {
        // Its keys are made for the other one, who looks after that.
        for seats in [&asking, &looking] {
            let taken: Vec<_> = std::iter::from_fn(|| Seat::take(seats, greedy)).collect();
            assert_eq!(taken.len(), EACH);
            let found = async |whose| world.names.revealed(hash(name), whose).await;
            assert_eq!(found(greedy).await, Err(Code::TooMany), "it has no seat left");
            assert_eq!(found(other).await, Ok(None), "another one's are free");
        }
    }
    let all: Vec<_> = (0..=u8::MAX).filter_map(|last| Seat::take(&looking, client(last))).collect();
    assert_eq!(all.len(), MAX_LOOKING);
    assert_eq!(world.names.revealed(hash(&a), over(1)).await, Err(Code::TooMany), "as many look as may");
}

#[test]
fn what_is_never_signed_is_let_go_of_and_what_is_served_stays() {
    let mut world = World::new();
    let first = world.cross(1);
    world.sign(&first);
    let all: Vec<_> = (2..20).map(|byte| world.cross(byte)).collect();
    assert_eq!(world.names.lock().borders.len(), MAX_UNSIGNED + 1);
    assert_eq!(world.held(&first, &[1, 2]), [1]);
    let last = all.last().unwrap();
    world.sign(last);
    assert_eq!(world.held(last, &[1, 19, 20]), [1, 19]);
}

#[test]
fn a_checkpoint_of_other_names_is_not_answered_for() {
    let mut world = World::new();
    let first = world.cross(1);
    world.sign(&first);
    let second = world.cross(2);
    let others = World::new().cross(9);
    let roots = session_chain::ledger::Roots { names: others.roots.names, ..second.roots };
    let domain = &world.ledger.parameters().domain;
    world.sign(&Checkpoint::new(domain, second.border.clone(), second.previous, roots));
    assert_eq!(world.held(&first, &[1, 2]), [1]);
}
