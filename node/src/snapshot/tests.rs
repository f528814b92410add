//! Which ledgers are handed out, without a network.

use alloy::primitives::B256;
use session_chain::{
    Block, Border, Input, Ledger, Parameters,
    ledger::Roll,
    network::Contracts,
    settlement::{Followed, Mark, Signers, StateFile},
};

use super::*;

/// A node's ledgers, and what they are made of.
struct World {
    ledgers: Ledgers,
    file: StateFile,
    ledger: Ledger,
    settled: Settled,
    followed: Followed,
    data: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let none = [0; 20].into();
        let contracts = Contracts {
            token: none,
            pool: none,
            staking: none,
            factory: none,
            checkpoints: none,
            names: none,
        };
        let parameters = Parameters { genesis: 0, ..Parameters::default() };
        let followed = Followed { chain: 1, start: 1, contracts };
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("chain.redb");
        let (file, mark, ledger) = StateFile::open(&path, &followed, parameters).unwrap();
        let settled = Settled {
            ledger: Arc::new(ledger.clone()),
            mark,
            checkpoint: None,
            signers: Arc::new(Signers::new()),
            roll: Arc::new(Roll::default()),
            names: Arc::new(file.index().unwrap()),
            behind: Arc::default(),
        };
        Self { ledgers: Ledgers::new(&settled), file, ledger, settled, followed, data }
    }

    /// The file is closed, as when the disk refused something, and opened anew.
    fn open_anew(&mut self) {
        let (parameters, path) = (*self.ledger.parameters(), self.data.path().join("chain.redb"));
        self.file = StateFile::in_memory(&self.followed, parameters).unwrap().0;
        self.file = StateFile::open(&path, &self.followed, parameters).unwrap().0;
        self.settled.names = Arc::new(self.file.index().unwrap());
        self.ledgers.take(&self.settled);
    }

    /// Ends an epoch, after the contract accepted a checkpoint or not, and tells the node.
    fn cross(&mut self, accepted: Option<u64>) {
        let accept = |epoch| Input::Accept { epoch, submitter: [1; 20].into(), digest: B256::ZERO };
        let (height, time) = (self.ledger.height() + 1, self.ledger.border() - 1);
        let inputs = accepted.map(accept).into_iter().collect();
        self.ledger.apply(&Block { height, time, inputs }).unwrap();
        let names = self.file.cross_names(self.ledger.border()).unwrap();
        let border = Border {
            epoch: self.ledger.epoch(),
            height: height + 1,
            hash: [7; 32].into(),
            cursors: <_>::default(),
        };
        let (_, checkpoint) = self.ledger.cross(border, names).unwrap();
        let mark = Mark { epoch: self.ledger.epoch(), height: height + 1, ..self.settled.mark };
        self.file.keep(&mark, &self.ledger, None).unwrap();
        self.settled = Settled {
            ledger: Arc::new(self.ledger.clone()),
            mark,
            checkpoint: Some(Arc::new(checkpoint)),
            names: Arc::new(self.file.index().unwrap()),
            behind: Arc::new(self.ledger.to_bytes()),
            ..self.settled.clone()
        };
        self.ledgers.take(&self.settled);
    }

    /// Of which epochs it hands out ledgers.
    fn held(&self) -> Vec<u64> {
        let held = |epoch: &u64| {
            let [ledger, names] = [
                Request::Ledger { epoch: *epoch, from: 0 },
                Request::Names { epoch: *epoch, from: Default::default() },
            ]
            .map(|request| self.ledgers.answer(&request) != Answer::Unknown);
            assert_eq!(ledger, names);
            ledger
        };
        (0..20).filter(held).collect()
    }
}

#[test]
fn the_ledgers_of_the_accepted_checkpoint_the_one_before_and_the_newest_are_handed_out() {
    let mut world = World::new();
    assert!(world.held().is_empty());
    world.cross(None);
    world.cross(None);
    assert_eq!(world.held(), [0, 1]);
    // Each is accepted in the epoch after.
    world.cross(Some(1));
    assert_eq!(world.held(), [0, 1, 2]);
    world.cross(Some(2));
    assert_eq!(world.held(), [1, 2, 3]);
    // No more are.
    for _ in 0..5 {
        world.cross(None);
    }
    assert_eq!(world.held(), [2, 6, 7, 8]);
    world.cross(Some(8));
    assert_eq!(world.held(), [7, 8, 9]);
}

#[test]
fn of_a_file_that_was_opened_anew_the_newest_border_is_handed_out_and_none_before_it() {
    let mut world = World::new();
    world.cross(None);
    world.cross(None);
    assert_eq!(world.held(), [0, 1]);
    world.open_anew();
    assert_eq!(world.held(), [1]);
    world.cross(None);
    assert_eq!(world.held(), [1, 2]);
}

#[test]
fn what_is_handed_out_is_what_the_checkpoint_stands_for() {
    let mut world = World::new();
    world.cross(None);
    let checkpoint = world.settled.checkpoint.clone().unwrap();
    let answer = world.ledgers.answer(&Request::Ledger { epoch: 0, from: 0 });
    let Answer::Ledger { head: Some(_), bytes, more: false } = answer else { panic!("{answer:?}") };
    let beside = Beside::of(&checkpoint);
    let found = Ledger::behind(*world.ledger.parameters(), &bytes, &beside, checkpoint.digest);
    assert_eq!(found.unwrap().0, world.ledger);
    let behind = world.ledgers.answer(&Request::Ledger { epoch: 0, from: u64::MAX });
    assert_eq!(behind, Answer::Unknown);
}
