//! A node's part in checkpoints, without a network: what it says, and what it makes of what it hears.

use alloy::primitives::B256;
use session_chain::{
    Block, Border, Ledger, Parameters,
    network::Contracts,
    settlement::{
        Delivery, Endpoint, Followed, Sender, StateFile,
        follower::{EndpointStatus, Standing},
    },
};
use tokio::time::timeout;

use super::*;
use crate::registry::tests::registered;

mod paying;

const EPOCH: Span = Span::secs(3_600);
/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes of one stake each, and the ledger after a border.
struct World {
    pairs: Vec<KeyPair>,
    ledger: Ledger,
    settled: watch::Sender<Settled>,
    status: watch::Sender<Status>,
    heard: mpsc::Sender<Heard>,
    said: mpsc::Receiver<Said>,
    told: watch::Receiver<Attested>,
    data: tempfile::TempDir,
    metrics: Metrics,
    /// The endpoints that it submits over, if it can pay.
    rpc: Vec<Endpoint>,
}

impl World {
    /// The first of `count` nodes attests.
    fn new(count: u8) -> Self {
        Self::paying(count, [])
    }

    /// The same, with an account to pay from on the chain that these endpoints serve.
    fn paying(count: u8, rpc: impl IntoIterator<Item = Endpoint>) -> Self {
        let rpc: Vec<_> = rpc.into_iter().collect();
        let parameters = Parameters { genesis: 0, ..Parameters::default() };
        let pairs: Vec<_> = (1..=count).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
        let mut ledger = Ledger::new(parameters);
        let inputs = (1..=count).map(|seed| registered(&parameters, seed)).collect();
        ledger.apply(&Block { height: 1, time: 1, inputs }).unwrap();
        let followed = Followed { chain: 1, start: 1, contracts: contracts() };
        let (file, mark, _) = StateFile::in_memory(&followed, parameters).unwrap();
        let first = Settled {
            ledger: Arc::new(ledger.clone()),
            mark,
            checkpoint: None,
            signers: Arc::new(Signers::new()),
            roll: Arc::new(Roll::default()),
            names: Arc::new(file.index().unwrap()),
            behind: Arc::default(),
        };
        let (settled, _) = watch::channel(first);
        let endpoints = rpc.iter().map(|rpc| good(rpc.name())).collect();
        let (status, _) = watch::channel(Status { head: Some(1), endpoints, ..Status::default() });
        let (heard, hear) = mpsc::channel(MAX_HEARD);
        let (say, said) = mpsc::channel(MAX_HEARD);
        let (tell, told) = watch::channel(Attested::default());
        let data = tempfile::tempdir().unwrap();
        let metrics = Metrics::new().unwrap();
        let world = Self { pairs, ledger, settled, status, heard, said, told, data, metrics, rpc };
        let shelf = world.shelf();
        world.start(Ends { heard: hear, say, tell, shelf });
        world
    }

    fn start(&self, ends: Ends) {
        let signer = session_chain::account::signer(&[7; 16]);
        let sender = |rpc: &Endpoint| Sender::new(rpc, signer.clone(), 1, Delivery::default());
        let payer = Payer::new(contracts(), &self.rpc, (!self.rpc.is_empty()).then_some(sender));
        let watched = (self.status.subscribe(), self.settled.subscribe());
        let (data, metrics) = (self.data.path(), self.metrics.clone());
        let attest = Attest::new(data, &self.pairs[0], EPOCH, payer, watched, ends, metrics);
        tokio::spawn(attest.unwrap().run());
    }

    /// Starts the node anew over the same folder.
    fn restart(&mut self) {
        let (heard, hear) = mpsc::channel(MAX_HEARD);
        let (say, said) = mpsc::channel(MAX_HEARD);
        let (tell, told) = watch::channel(Attested::default());
        (self.heard, self.said, self.told) = (heard, said, told);
        self.start(Ends { heard: hear, say, tell, shelf: self.shelf() });
    }

    fn shelf(&self) -> Shelf {
        Shelf::open(self.data.path(), &self.ledger.parameters().domain).unwrap()
    }

    /// The ledger crosses a border whose block has this hash.
    fn cross(&mut self, hash: u8) -> Checkpoint {
        let height = self.ledger.epoch() + 2;
        let border =
            Border { epoch: self.ledger.epoch(), height, hash: [hash; 32].into(), cursors: <_>::default() };
        let (_, checkpoint) = self.ledger.cross(border, B256::ZERO).unwrap();
        self.show(&checkpoint);
        checkpoint
    }

    fn show(&self, checkpoint: &Checkpoint) {
        self.settled.send_modify(|settled| {
            settled.ledger = Arc::new(self.ledger.clone());
            settled.checkpoint = Some(Arc::new(checkpoint.clone()));
            settled.roll = Arc::new(self.ledger.roll());
            settled.signers = Arc::new(self.ledger.stakes().map(|(id, stake)| (*id, stake.bls)).collect());
        });
    }

    fn share(&self, node: usize, checkpoint: &Checkpoint) -> Share {
        let secret = BlsSecret::of_node(&self.pairs[node]);
        Share::sign(StakeId(node as u64 + 1), &secret, checkpoint.border.epoch, checkpoint.digest)
    }

    async fn said(&mut self) -> Said {
        timeout(PATIENCE, self.said.recv()).await.expect("it says something").expect("it runs")
    }

    /// What it makes of a message.
    async fn judged(&mut self, message: u64, data: Vec<u8>) -> Verdict {
        self.heard.send(Heard { message, data }).await.unwrap();
        let Said::Judge { message: judged, verdict } = self.said().await else { panic!("it judges") };
        assert_eq!(judged, message);
        verdict
    }
}

fn good(name: &str) -> EndpointStatus {
    EndpointStatus { name: name.into(), standing: Standing::Good, trouble: None, faults: 0, questions: 0 }
}

fn contracts() -> Contracts {
    let none = [0; 20];
    Contracts {
        token: none.into(),
        pool: none.into(),
        staking: none.into(),
        factory: none.into(),
        checkpoints: none.into(),
        names: none.into(),
    }
}

#[tokio::test]
async fn it_signs_once_and_passes_on_what_registered_nodes_signed() {
    let mut world = World::new(5);
    let checkpoint = world.cross(1);
    let Said::Share(data) = world.said().await else { panic!("it signs") };
    assert_eq!(Share::from_bytes(&data).unwrap(), world.share(0, &checkpoint));
    let share = world.share(1, &checkpoint);
    assert_eq!(world.judged(1, share.to_bytes()).await, Verdict::Accept);
    assert_eq!(world.judged(2, share.to_bytes()).await, Verdict::Ignore, "once is enough");
    let forged = Share { id: 3, ..share.clone() };
    assert_eq!(world.judged(3, forged.to_bytes()).await, Verdict::Reject);
    let stranger = Share { id: 9, ..share };
    assert_eq!(world.judged(4, stranger.to_bytes()).await, Verdict::Ignore, "it is not passed on");
    assert_eq!(world.judged(5, vec![1, 2, 3]).await, Verdict::Reject);
    assert_eq!(world.told.borrow().signed, Some(0));
}

#[tokio::test]
async fn it_never_signs_two_checkpoints_of_one_epoch() {
    let mut world = World::new(5);
    let before = world.ledger.clone();
    let checkpoint = world.cross(1);
    let Said::Share(first) = world.said().await else { panic!("it signs") };
    // A restart with the same ledger says the same again.
    world.restart();
    let Said::Share(again) = world.said().await else { panic!("it signs") };
    assert_eq!(first, again);
    // One whose ledger was made anew and came out otherwise says nothing.
    world.ledger = before;
    let other = world.cross(2);
    assert_ne!(other.digest, checkpoint.digest);
    world.restart();
    let mut told = world.told.clone();
    let refused = timeout(PATIENCE, told.wait_for(|told| told.unsigned.is_some())).await.unwrap().unwrap();
    assert!(refused.unsigned.as_ref().unwrap().contains("of epoch 0"), "{refused:?}");
    drop(refused);
    assert!(world.said.try_recv().is_err(), "and nothing else was said");
    // The next one it signs.
    let next = world.cross(3);
    let Said::Share(data) = world.said().await else { panic!("it signs") };
    assert_eq!(Share::from_bytes(&data).unwrap(), world.share(0, &next));
    assert_eq!(world.told.borrow().unsigned, None);
}

#[tokio::test]
async fn what_it_signs_is_said_as_soon_as_it_can_be_kept() {
    let mut world = World::new(5);
    let away = world.data.path().with_extension("away");
    std::fs::rename(world.data.path(), &away).unwrap();
    let checkpoint = world.cross(1);
    let mut told = world.told.clone();
    let unsigned = timeout(PATIENCE, told.wait_for(|told| told.unsigned.is_some())).await.unwrap().unwrap();
    let why = unsigned.unsigned.clone().unwrap();
    drop(unsigned);
    assert!(why.starts_with("what is signed cannot be kept: ") && why.ends_with("it is tried on"), "{why}");
    // Not while endpoints disagree, though there is room.
    world.status.send_modify(|status| status.held = Some(disagree()));
    std::fs::rename(&away, world.data.path()).unwrap();
    let Said::Share(data) = world.said().await else { panic!("it tells") };
    assert!(Report::from_bytes(&data).is_ok(), "and signs nothing");
    world.status.send_modify(|status| status.held = None);
    let Said::Share(data) = world.said().await else { panic!("it signs") };
    assert_eq!(Share::from_bytes(&data).unwrap(), world.share(0, &checkpoint));
    assert_eq!((world.told.borrow().signed, world.told.borrow().unsigned.clone()), (Some(0), None));
}

fn disagree() -> Hold {
    Hold::Disagree { names: vec!["one".into(), "two".into()], about: "block 2".into() }
}

#[tokio::test]
async fn while_endpoints_disagree_it_signs_nothing_and_then_it_does() {
    let mut world = World::new(5);
    world.status.send_modify(|status| status.held = Some(disagree()));
    let Said::Share(data) = world.said().await else { panic!("it tells") };
    assert_eq!(Report::from_bytes(&data).unwrap().epoch, 0);
    let checkpoint = world.cross(1);
    let Said::Share(data) = world.said().await else { panic!("it tells") };
    assert_eq!(Report::from_bytes(&data).unwrap().epoch, 1, "and nothing else");
    let share = world.share(1, &checkpoint);
    assert_eq!(world.judged(1, share.to_bytes()).await, Verdict::Accept);
    world.status.send_modify(|status| status.held = None);
    let Said::Share(data) = world.said().await else { panic!("it signs") };
    assert_eq!(Share::from_bytes(&data).unwrap(), world.share(0, &checkpoint));
}

#[tokio::test]
async fn by_the_word_of_one_of_several_endpoints_it_signs_nothing_and_then_it_does() {
    let mut world = World::new(5);
    world.status.send_modify(|status| status.alone = true);
    let checkpoint = world.cross(1);
    // What others signed is held and passed on, as it is genuine, and of strangers it is not.
    let share = world.share(1, &checkpoint);
    assert_eq!(world.judged(1, share.to_bytes()).await, Verdict::Accept);
    let stranger = Share { id: 9, ..share };
    assert_eq!(world.judged(2, stranger.to_bytes()).await, Verdict::Ignore);
    world.status.send_modify(|status| status.alone = false);
    let Said::Share(data) = world.said().await else { panic!("it signs") };
    assert_eq!(Share::from_bytes(&data).unwrap(), world.share(0, &checkpoint));
}

#[tokio::test]
async fn whose_endpoints_disagree_tells_the_others_and_they_say_so() {
    let mut world = World::new(5);
    world.status.send_modify(|status| status.held = Some(disagree()));
    let Said::Share(data) = world.said().await else { panic!("it tells") };
    let report = Report::from_bytes(&data).unwrap();
    let (ledger, mark) = (world.ledger.clone(), world.settled.borrow().mark);
    let domain = ledger.parameters().domain;
    assert_eq!((report.epoch, report.height, report.id), (0, mark.height, 1));
    assert_eq!(B256::from(report.hash.into_array()), Report::rolled(&mark.cursors));
    assert!(report.is_signed(&BlsSecret::of_node(&world.pairs[0]).public(), &domain));

    // The same of another one, here.
    let place = (report.epoch, report.height, B256::ZERO);
    let sign = |node: usize, by: usize| {
        let secret = BlsSecret::of_node(&world.pairs[by]);
        Report::sign(StakeId(node as u64 + 1), &secret, &domain, place).to_bytes()
    };
    let (forged, second) = (sign(1, 2), sign(1, 1));
    assert_eq!(world.judged(2, forged).await, Verdict::Reject);
    assert_eq!(world.judged(3, second).await, Verdict::Accept);
    let mut told = world.told.clone();
    let told = timeout(PATIENCE, told.wait_for(|told| told.holding.nodes > 0)).await.unwrap().unwrap();
    assert_eq!(told.holding, Holding { nodes: 1, most: false, other: Some(mark.height) }, "it knows another");
}

#[tokio::test]
async fn more_than_a_third_that_say_something_else_are_told_of() {
    let mut world = World::new(5);
    let before = world.ledger.clone();
    let other = world.cross(2);
    let shares = [1, 2].map(|node| world.share(node, &other));
    let mut fresh = World::new(5);
    fresh.ledger = before;
    fresh.cross(1);
    let Said::Share(_) = fresh.said().await else { panic!("it signs") };
    for (message, share) in (1..).zip(&shares) {
        assert_eq!(
            fresh.judged(message, share.to_bytes()).await,
            Verdict::Accept,
            "others have to hear of it"
        );
    }
    let mut told = fresh.told.clone();
    let told = timeout(PATIENCE, told.wait_for(|told| told.against.is_some())).await.unwrap().unwrap();
    assert_eq!(told.against, Some((0, 1, 2)));
}
