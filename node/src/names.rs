//! Lookups of names, answered from the index as of the newest border whose checkpoint this node hands out.
//!
//! Who asks believes an answer by that checkpoint. So between a border and its signatures the one before is
//! served, and after a start nothing until a checkpoint is signed that this node's own index fits.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p::PeerId;
use session_chain::{
    names::{Entry, Index, Key, tables::Read},
    settlement::{Settled, names::Snapshot},
};
use session_protocols::{
    AccountId,
    answer::Code,
    codec,
    door::names::hash,
    libp2p::link::Incoming,
    names::{
        COST, Kind, Label, Name, NameKeys, Value,
        lookup::{Answer, MAX_REQUEST, Request},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{attest::Shelf, links::Links, now};

/// Borders whose index is kept, beside the one that is served, until their checkpoints are signed. Each keeps the
/// pages of the state file that changed since.
const MAX_UNSIGNED: usize = 4;

/// Names that their owners revealed and that are found by hash; beyond it those with the greatest ids are not.
const MAX_REVEALED: usize = 1 << 18;
/// Names whose keys are kept, which are dear to make; beyond it one of them is made again.
const MAX_KEYS: usize = 4_096;
/// Who looks for a name by its hash at once, each on a thread; beyond it 429. The first after a border reads all
/// names for all of them.
const MAX_LOOKING: usize = 16;
/// Who waits for keys to be made, which is done for one name at a time; beyond it 429.
const MAX_ASKING: usize = 64;

/// The indexes that lookups are answered from; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    shelf: Shelf,
    kept: Arc<Mutex<Kept>>,
    revealed: Arc<Mutex<Revealed>>,
    /// Seats of those who look, and of those who wait for keys to be made.
    looking: Arc<Semaphore>,
    asking: Arc<Semaphore>,
    /// One turn: keys are made one at a time.
    making: Arc<Semaphore>,
}

/// The names that their owners revealed, as of one border.
#[derive(Debug, Default)]
struct Revealed {
    /// The epoch that ended there.
    epoch: Option<u64>,
    /// What somebody says that a name of theirs is called, by its hash; whether it is, its keys show.
    labels: BTreeMap<[u8; 32], Label>,
    /// Keys that were made.
    keys: BTreeMap<[u8; 32], NameKeys>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the epochs that ended at them, each with its root.
    borders: BTreeMap<u64, ([u8; 32], Arc<Index<Snapshot>>)>,
    /// Which of them is served.
    served: Option<u64>,
    /// The newest.
    newest: Option<Arc<Index<Snapshot>>>,
}

impl Names {
    /// Answers by the checkpoints of this shelf.
    pub(crate) fn new(shelf: Shelf, settled: &Settled) -> Self {
        let [looking, asking, making] =
            [MAX_LOOKING, MAX_ASKING, 1].map(|seats| Arc::new(Semaphore::new(seats)));
        let (kept, revealed) = (Arc::default(), Arc::default());
        let names = Self { shelf, kept, revealed, looking, asking, making };
        names.cross(settled);
        names
    }

    /// Goes on with the ledger until nobody keeps it any more.
    pub(crate) async fn follow(self, mut settled: watch::Receiver<Settled>) {
        while settled.changed().await.is_ok() {
            let now = settled.borrow_and_update().clone();
            self.cross(&now);
        }
    }

    /// How many names there were at the last border.
    pub(crate) fn count(&self) -> u64 {
        let newest = self.lock().newest.clone();
        newest.and_then(|index| index.0.count().ok()).unwrap_or_default()
    }

    /// What is answered; the disk is read for it.
    fn answer(&self, request: &Request) -> Result<Answer, Code> {
        let (epoch, index) = self.served().ok_or(Code::NotReady)?;
        index.answer(epoch, request).map_err(unreadable)
    }

    /// The account of a name that its owner revealed, found by its [`hash`]: as of the border that is served.
    ///
    /// Keys that are known are at hand. Others are made one at a time, which takes a while, and nobody waits for that
    /// but those who ask for them. Who finds no seat is told so, [`Code::TooMany`].
    pub(crate) async fn revealed(&self, hash: [u8; 32]) -> Result<Option<(Label, AccountId)>, Code> {
        let (names, seat) = (self.clone(), self.seat(&self.looking)?);
        let Some((label, keys)) = off(seat, move || names.label(&hash)).await? else { return Ok(None) };
        let keys = match keys {
            Some(keys) => keys,
            None => self.make(hash, label.clone()).await?,
        };
        let (names, seat) = (self.clone(), self.seat(&self.looking)?);
        off(seat, move || names.open(label, &keys)).await
    }

    fn seat(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Code> {
        Arc::clone(of).try_acquire_owned().map_err(|_| Code::TooMany)
    }

    /// What the name of a hash is called, and its keys where they are known.
    fn label(&self, hash: &[u8; 32]) -> Result<Option<(Label, Option<NameKeys>)>, Code> {
        let (epoch, index) = self.served().ok_or(Code::NotReady)?;
        let mut revealed = self.lock_revealed();
        // Who was served the one before may come late.
        if revealed.epoch < Some(epoch) {
            revealed.labels = labels(&index).map_err(unreadable)?;
            revealed.epoch = Some(epoch);
        }
        let label = revealed.labels.get(hash).cloned();
        Ok(label.map(|label| (label, revealed.keys.get(hash).cloned())))
    }

    /// Makes the keys of a name, in turn.
    async fn make(&self, hash: [u8; 32], label: Label) -> Result<NameKeys, Code> {
        let seat = self.seat(&self.asking)?;
        let turn = Arc::clone(&self.making).acquire_owned().await.map_err(|_| Code::Failed)?;
        let names = self.clone();
        off((seat, turn), move || {
            // Somebody before may have asked for the same.
            if let Some(keys) = names.lock_revealed().keys.get(&hash) {
                return Ok(keys.clone());
            }
            let keys = NameKeys::of(&Name::from(label), COST).map_err(|_| Code::Failed)?;
            let mut revealed = names.lock_revealed();
            if revealed.keys.len() >= MAX_KEYS {
                revealed.keys.pop_first();
            }
            revealed.keys.insert(hash, keys.clone());
            Ok(keys)
        })
        .await
    }

    /// The account that a name leads to, if it is called so.
    fn open(&self, label: Label, keys: &NameKeys) -> Result<Option<(Label, AccountId)>, Code> {
        let (_, index) = self.served().ok_or(Code::NotReady)?;
        let entry = index.prove(&Key::Name(keys.id())).map_err(unreadable)?.value;
        let entry = entry.and_then(|bytes| Entry::from_bytes(&bytes).ok());
        // Another one may say that its name is called so.
        let called = |entry: &Entry| entry.revealed.as_deref() == Some(label.as_str());
        let entry = entry.filter(|entry| called(entry) && entry.is_live(now().as_millis() / 1_000));
        let opened = entry.and_then(|entry| {
            let sealed = entry.records.get(&Kind::Account.number())?;
            keys.open(entry.version, Kind::Account, sealed).ok()
        });
        Ok(match opened {
            Some(Value::Account(account)) => Some((label, account)),
            _ => None,
        })
    }

    /// Keeps the index of a border that was crossed.
    fn cross(&self, settled: &Settled) {
        let Some(checkpoint) = &settled.checkpoint else { return };
        let (epoch, root) = (checkpoint.border.epoch, checkpoint.roots.names.0);
        let mut kept = self.lock();
        kept.newest = Some(Arc::clone(&settled.names));
        kept.borders.entry(epoch).or_insert_with(|| (root, Arc::clone(&settled.names)));
        self.look(&mut kept);
        while kept.borders.len() > MAX_UNSIGNED.saturating_add(1) {
            let served = kept.served;
            let oldest = kept.borders.keys().copied().find(|epoch| Some(*epoch) != served);
            oldest.and_then(|epoch| kept.borders.remove(&epoch));
        }
    }

    /// What is served, and of which epoch it is.
    fn served(&self) -> Option<(u64, Arc<Index<Snapshot>>)> {
        let mut kept = self.lock();
        self.look(&mut kept);
        let epoch = kept.served?;
        kept.borders.get(&epoch).map(|(_, index)| (epoch, Arc::clone(index)))
    }

    /// Sees whether a newer checkpoint is handed out, and lets go of what was before it.
    fn look(&self, kept: &mut Kept) {
        let Some((epoch, root)) = self.shelf.newest() else { return };
        if kept.served < Some(epoch) && kept.borders.get(&epoch).is_some_and(|(own, _)| *own == root) {
            kept.borders = kept.borders.split_off(&epoch);
            kept.served = Some(epoch);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_revealed(&self) -> MutexGuard<'_, Revealed> {
        self.revealed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what takes a while beside the tasks of the runtime. The seat is held until it is done, though nobody waits
/// for it any more.
async fn off<T: Send + 'static>(
    seat: impl Send + 'static,
    does: impl FnOnce() -> Result<T, Code> + Send + 'static,
) -> Result<T, Code> {
    let done = tokio::task::spawn_blocking(move || {
        let done = does();
        drop(seat);
        done
    });
    done.await.unwrap_or(Err(Code::Failed))
}

/// What comes of a disk that fails.
fn unreadable(error: <Snapshot as Read>::Error) -> Code {
    tracing::error!(%error, "the index of names cannot be read: see whether the disk is sound");
    Code::Failed
}

/// What names are called that their owners revealed, by the hashes.
fn labels(index: &Index<Snapshot>) -> Result<BTreeMap<[u8; 32], Label>, <Snapshot as Read>::Error> {
    let mut labels = BTreeMap::new();
    index.names(|_, entry| {
        let label = entry.revealed.and_then(|called| called.parse::<Label>().ok());
        labels.extend(label.map(|label| (hash(&label), label)));
        labels.len() < MAX_REVEALED
    })?;
    Ok(labels)
}

impl Links {
    /// Answers a lookup of a neighbour.
    pub(crate) async fn names(self: Arc<Self>, peer: PeerId, Incoming { payload, reply }: Incoming) {
        let answer = match self.arrive(peer) {
            true => self.look_up(&payload).await,
            false => self.unnamed(Code::TooMany),
        };
        reply.answer(codec::encode(&answer)).await;
    }

    /// Answers a lookup that was let in.
    pub(crate) async fn look_up(&self, payload: &[u8]) -> Answer {
        let Ok(request) = codec::decode::<Request>(payload, MAX_REQUEST) else {
            self.metrics.garbage_total.with_label_values(&["names"]).inc();
            return self.unnamed(Code::BadRequest);
        };
        self.metrics.requests_total.with_label_values(&["name"]).inc();
        // Where nodes register on no chain there are no names.
        let Some(names) = self.known_names() else { return self.unnamed(Code::BadRequest) };
        let answered = self.off_the_loop(true, move || names.answer(&request)).await;
        answered.unwrap_or(Err(Code::Failed)).unwrap_or_else(|code| self.unnamed(code))
    }

    /// A refusal, counted.
    pub(crate) fn unnamed(&self, code: Code) -> Answer {
        self.metrics.refused_total.with_label_values(&[&code.number().to_string()]).inc();
        Answer::Refused { code }
    }
}

#[cfg(test)]
mod tests {
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
    use session_protocols::{KeyPair, names::NameId};

    use super::*;

    const OWNER: [u8; 20] = [7; 20];

    fn registered(id: NameId) -> Change {
        Change::Registered { id, owner: OWNER.into(), expires: u64::MAX, version: 1 }
    }

    /// A node's names and its shelf, and what both are made of.
    struct World {
        names: Names,
        shelf: Shelf,
        file: StateFile,
        ledger: Ledger,
        settled: Settled,
        _data: tempfile::TempDir,
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
            let (file, mark, ledger) = StateFile::in_memory(&followed, parameters).unwrap();
            let data = tempfile::tempdir().unwrap();
            let shelf = Shelf::open(data.path(), &parameters.domain).unwrap();
            let settled = Settled {
                ledger: Arc::new(ledger.clone()),
                mark,
                checkpoint: None,
                signers: Arc::new(Signers::new()),
                roll: Arc::new(Roll::default()),
                names: Arc::new(file.index().unwrap()),
            };
            let names = Names::new(shelf.clone(), &settled);
            Self { names, shelf, file, ledger, settled, _data: data }
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
            self.settled.mark.epoch = self.ledger.epoch();
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

    #[tokio::test]
    async fn a_name_that_is_revealed_is_found_by_its_hash_and_by_nobody_elses_word() {
        let mut world = World::new();
        let [alice, bob, carol]: [Label; 3] = ["alice", "bob", "carol"].map(|name| name.parse().unwrap());
        let account = AccountId::from_bytes([5; 33]);
        let keys = |label: &Label| NameKeys::of(&label.clone().into(), COST).unwrap();
        let revealed = |id, name: &Label| {
            let name = name.as_str().to_owned();
            Change::Revealed { id, version: 1, name }
        };
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
        let found = async |name: &Label| names.revealed(hash(name)).await;
        assert_eq!(found(&alice).await, Err(Code::NotReady), "nobody has signed it");
        world.sign(&first);
        assert_eq!(found(&alice).await, Ok(None), "its owner has not revealed it");
        let second = world.cross_with(2, vec![revealed(of_alice.id(), &alice)]);
        assert_eq!(found(&alice).await, Ok(None), "not signed yet");
        world.sign(&second);
        let turn = Arc::clone(&names.making).acquire_owned().await.unwrap();
        let seats = names.asking.acquire_many(u32::try_from(MAX_ASKING).unwrap()).await.unwrap();
        assert_eq!(found(&alice).await, Ok(Some((alice.clone(), account))), "its keys wait for no turn");
        assert_eq!(found(&bob).await, Err(Code::TooMany), "his keys are not made yet");
        drop((turn, seats));
        let seats = names.looking.acquire_many(u32::try_from(MAX_LOOKING).unwrap()).await.unwrap();
        assert_eq!(found(&alice).await, Err(Code::TooMany), "as many look as may");
        drop(seats);
        assert_eq!((found(&bob).await, found(&carol).await), (Ok(None), Ok(None)));
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
}
