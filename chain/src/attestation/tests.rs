use alloy::primitives::Address;

use super::{report::MAX_REPORTS, *};
use crate::ledger::{Border, Cursors, Domain, Roots};

const EPOCH: Span = Span::secs(120);
const HALF: Span = Span::secs(60);

fn domain() -> Domain {
    Domain { chain: 1, staking: Address::ZERO, checkpoints: Address::ZERO }
}

fn checkpoint(epoch: u64, reward: u8) -> Checkpoint {
    let border = Border { epoch, height: epoch, hash: B256::ZERO, cursors: Cursors::default() };
    let roots = Roots { rewards: B256::repeat_byte(reward), ..Roots::default() };
    Checkpoint::new(&domain(), border, B256::ZERO, roots)
}

fn secret(id: u64) -> BlsSecret {
    BlsSecret::from_seed(&[id as u8; 32])
}

fn signers(count: u64) -> BTreeMap<StakeId, BlsKey> {
    (1..=count).map(|id| (StakeId(id), secret(id).public())).collect()
}

fn share(id: u64, checkpoint: &Checkpoint) -> Share {
    Share::sign(StakeId(id), &secret(id), checkpoint.border.epoch, checkpoint.digest)
}

/// A machine and the time.
struct Node {
    machine: Attestation,
    now: Time,
}

impl Node {
    fn new(me: Option<u64>) -> Self {
        Self { machine: Attestation::new(me.map(StakeId), EPOCH), now: Time::from_millis(1) }
    }

    fn feed(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle(self.now, input);
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    fn crossed(&mut self, checkpoint: &Checkpoint, count: u64) -> Vec<Output> {
        self.crossed_with(checkpoint, count, MINIMUM_NODES)
    }

    fn crossed_with(&mut self, checkpoint: &Checkpoint, count: u64, least: u64) -> Vec<Output> {
        self.feed(Input::Crossed { checkpoint: checkpoint.clone(), signers: signers(count), least })
    }

    /// What becomes of a share, checked as a host does.
    fn heard(&mut self, share: Share) -> Verdict {
        if self.machine.key(&share).is_some_and(|key| !share.is_signed(&key)) {
            let outputs = self.feed(Input::Garbage { message: 7 });
            assert_eq!(outputs, [Output::Judge { message: 7, verdict: Verdict::Reject }]);
            return Verdict::Reject;
        }
        let outputs = self.feed(Input::Share { share, message: Some(7) });
        let verdicts = outputs.into_iter().filter_map(|output| match output {
            Output::Judge { message: 7, verdict } => Some(verdict),
            Output::Judge { .. }
            | Output::Report { .. }
            | Output::Sign { .. }
            | Output::Signed { .. }
            | Output::Submit { .. }
            | Output::Disagree { .. } => None,
        });
        verdicts.collect::<Vec<_>>()[0]
    }

    /// Waits for the machine, at most so long.
    fn submits(&mut self, within: Span) -> Option<(BlsSignature, Vec<u64>)> {
        let end = self.now.after(within);
        while let Some(at) = self.machine.deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            for output in self.feed(Input::Tick) {
                if let Output::Submit { signature, absent, .. } = output {
                    return Some((signature, absent.into_iter().map(|id| id.0).collect()));
                }
            }
        }
        self.now = end;
        None
    }
}

#[test]
fn more_than_two_thirds_make_one_signature_that_one_submits() {
    let root = checkpoint(3, 1);
    let mut nodes: Vec<_> = (1..=7).map(|id| Node::new(Some(id))).collect();
    for node in &mut nodes {
        assert_eq!(node.crossed(&root, 7), [Output::Sign { epoch: 3, digest: root.digest }]);
        for id in 1..=4 {
            assert_eq!(node.heard(share(id, &root)), Verdict::Accept);
        }
        assert_eq!(node.machine.deadline(), None, "four of seven are not more than two thirds");
        assert_eq!(node.heard(share(6, &root)), Verdict::Accept);
        assert_eq!(node.heard(share(6, &root)), Verdict::Ignore, "once is enough");
    }
    let turns: BTreeSet<_> = nodes.iter().map(|node| node.machine.deadline()).collect();
    assert_eq!(turns.len(), 7, "everybody has a turn");
    assert!(turns.last().unwrap().unwrap() <= nodes[0].now.after(HALF), "soon enough: {turns:?}");
    let first = nodes.iter_mut().find(|node| node.machine.deadline() == Some(node.now)).unwrap();
    let (signature, absent) = first.submits(Span::secs(0)).unwrap();
    assert_eq!(absent, [5, 7]);
    let present: Vec<_> = [1, 2, 3, 4, 6].map(|id| secret(id).public()).into();
    assert!(signature.verify(&present, root.digest.as_slice()));
    // Until the contract has it: then nobody does.
    assert!(nodes[0].submits(HALF).is_some());
    for node in &mut nodes {
        assert_eq!(node.feed(Input::Accepted { epoch: 3 }), []);
        // Who is late still signs, for those who follow no chain.
        assert_eq!((node.submits(EPOCH), node.heard(share(7, &root))), (None, Verdict::Accept));
        assert_eq!((node.submits(EPOCH), node.heard(share(7, &root))), (None, Verdict::Ignore));
        let (signed, shares) = node.machine.signed(3).unwrap();
        assert_eq!((signed, shares.len()), (&root, 6));
    }
}

#[test]
fn who_gets_no_transaction_through_tries_again_after_the_others() {
    let root = checkpoint(3, 1);
    let mut node = Node::new(Some(1));
    node.crossed(&root, 4);
    for id in 1..=4 {
        node.heard(share(id, &root));
    }
    assert!(node.submits(HALF).is_some());
    assert!(node.submits(Span::secs(59)).is_none());
    assert!(node.submits(Span::secs(1)).is_some());
}

#[test]
fn of_two_thousand_everybody_has_a_turn_in_half_an_epoch_whoever_can_pay_and_few_at_once() {
    // An hour; what one sends, the others see soon.
    let (epoch, seen) = (Span::secs(3_600), Span::secs(15));
    let signers: BTreeMap<_, _> = (1..=2_000).map(|id| (StakeId(id), BlsKey([0; 96]))).collect();
    let begin = Time::from_millis(1);
    for payers in [1, 3, 20, 200] {
        let mut sent = 0;
        for draw in 1..=8 {
            let root = checkpoint(3, draw);
            let mut turns: Vec<_> = (1..=payers)
                .map(|payer| {
                    let mut machine = Attestation::new(Some(StakeId(payer)), epoch);
                    machine.handle(
                        begin,
                        Input::Crossed {
                            checkpoint: root.clone(),
                            signers: signers.clone(),
                            least: MINIMUM_NODES,
                        },
                    );
                    for id in 1..=1_334 {
                        let digest = root.digest.0.into();
                        let share = Share { epoch: 3, digest, id, signature: [0; 96].into() };
                        machine.handle(begin, Input::Share { share, message: None });
                    }
                    machine.deadline().expect("everybody has a turn")
                })
                .collect();
            turns.sort_unstable();
            assert!(turns.last() <= Some(&begin.after(Span::micros(epoch.0 / 2))), "{payers} can pay");
            sent += turns.iter().filter(|turn| **turn <= turns[0].after(seen)).count();
        }
        assert!(sent <= 8 + 8 / 2, "{payers} can pay, and {sent} did in eight epochs");
    }
    // Where all can, the first have as long as they need.
    let first: Vec<_> = (0..4).map(|before| wait(epoch, before, 2_000).0 / 1_000_000).collect();
    assert_eq!(first, [0, 60, 90, 109]);
    // Short epochs hurry all alike.
    assert_eq!(wait(Span::secs(10), 12, 12).0 / 1_000, 4_999);
}

#[test]
fn what_the_contract_takes_of_more_nodes_only_is_signed_and_not_submitted() {
    let mut node = Node::new(Some(1));
    for (epoch, least, submits) in [(3, 6, false), (4, 5, true)] {
        let root = checkpoint(epoch, 1);
        assert_eq!(node.crossed_with(&root, 5, least), [Output::Sign { epoch, digest: root.digest }]);
        let fed = (1..=5).flat_map(|id| node.feed(Input::Share { share: share(id, &root), message: None }));
        assert_eq!(
            fed.collect::<Vec<_>>(),
            [Output::Signed { epoch }, Output::Signed { epoch }],
            "for clients"
        );
        assert_eq!(node.submits(EPOCH).is_some(), submits, "of {least}");
    }
}

#[test]
fn nobody_waits_to_submit_what_a_newer_one_says_as_well() {
    let root = checkpoint(3, 1);
    let mut node = Node::new(Some(1));
    node.crossed(&root, 4);
    for id in 1..=4 {
        node.heard(share(id, &root));
    }
    assert!(node.machine.deadline().is_some());
    node.crossed(&checkpoint(4, 1), 4);
    assert_eq!(
        node.machine.deadline(),
        None,
        "a host that is told of an instant which has passed asks for ever"
    );
}

#[test]
fn what_does_not_hold_counts_for_nothing() {
    let root = checkpoint(3, 1);
    let mut node = Node::new(Some(1));
    node.crossed(&root, 7);
    let mut forged = share(2, &root);
    forged.id = 3;
    assert_eq!(node.heard(forged), Verdict::Reject);
    let stranger = share(8, &root);
    assert_eq!(node.heard(stranger), Verdict::Ignore);
    assert_eq!(node.heard(share(2, &checkpoint(9, 1))), Verdict::Ignore);
    for id in 4..=7 {
        node.heard(share(id, &root));
    }
    assert_eq!(node.machine.deadline(), None);
}

#[test]
fn shares_that_came_before_the_border_count_after_it() {
    let mut node = Node::new(None);
    node.crossed(&checkpoint(3, 1), 4);
    node.feed(Input::Accepted { epoch: 3 });
    let root = checkpoint(4, 2);
    let forged = |id| Share { id, ..share(1, &root) };
    assert_eq!(node.heard(forged(4)), Verdict::Reject, "it cannot take the place of the true one");
    for share in [share(1, &root), share(2, &root), share(4, &root)] {
        assert_eq!(node.heard(share.clone()), Verdict::Accept, "whoever is behind hears it from this node");
        assert_eq!(node.heard(share), Verdict::Ignore, "once is enough");
    }
    // The fifth and sixth are new: what nobody can check is neither held nor passed on.
    for share in [share(5, &root), forged(6)] {
        assert_eq!(node.heard(share), Verdict::Ignore);
    }
    node.machine.set_stakes(signers(6));
    assert_eq!(node.heard(share(5, &root)), Verdict::Accept);
    assert_eq!(node.heard(forged(6)), Verdict::Reject);
    assert_eq!(node.crossed(&root, 6), [], "a node without a stake signs nothing");
    assert_eq!(node.machine.rounds[&4].shares.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 4, 5]);
    assert_eq!(node.machine.deadline(), None, "nor does it submit");
}

#[test]
fn a_third_that_says_something_else_is_told_of_once() {
    let (root, other) = (checkpoint(3, 1), checkpoint(3, 2));
    let mut node = Node::new(Some(1));
    node.crossed(&root, 6);
    node.heard(share(1, &root));
    let mut told = Vec::new();
    for id in 2..=5 {
        told.extend(node.feed(Input::Share { share: share(id, &other), message: None }));
    }
    assert_eq!(told, [Output::Disagree { epoch: 3, with: 1, against: 3 }]);
    assert_eq!(node.machine.deadline(), None);
}

fn report(id: u64, epoch: u64, height: u64) -> Report {
    let place = (epoch, height, B256::repeat_byte(height as u8));
    Report::sign(StakeId(id), &secret(id), &domain(), place)
}

impl Node {
    /// What becomes of a report, checked as a host does.
    fn told(&mut self, report: Report) -> Verdict {
        let holds = |key: BlsKey| report.is_signed(&key, &domain());
        let input = if self.machine.holder(&report).is_none_or(holds) {
            Input::Report { report, message: 7 }
        } else {
            Input::Garbage { message: 7 }
        };
        let [Output::Judge { message: 7, verdict }] = self.feed(input)[..] else { panic!("it judges") };
        verdict
    }
}

#[test]
fn whose_endpoints_disagree_says_once_where_it_stands() {
    let mut node = Node::new(Some(1));
    let holds = |height| Input::Holds { epoch: 4, height, hash: B256::ZERO };
    let report = |height| Output::Report { epoch: 4, height, hash: B256::ZERO };
    assert_eq!(node.feed(holds(9)), [report(9)]);
    assert_eq!(node.feed(holds(9)), []);
    assert_eq!(node.feed(holds(11)), [report(11)], "it had gone on in between");
}

#[test]
fn who_holds_is_known_until_it_signs_again() {
    let mut node = Node::new(Some(1));
    node.crossed(&checkpoint(3, 1), 6);
    assert_eq!(node.machine.holding(), Holding::default());
    assert_eq!(node.told(report(2, 4, 50)), Verdict::Accept);
    assert_eq!(node.told(report(2, 4, 50)), Verdict::Ignore, "once is enough");
    assert_eq!(node.told(report(2, 4, 49)), Verdict::Ignore, "an older one");
    assert_eq!(node.told(report(2, 4, 51)), Verdict::Accept);
    assert_eq!(node.told(report(9, 4, 50)), Verdict::Ignore, "a stranger");
    assert_eq!(node.told(report(3, 7, 50)), Verdict::Ignore, "a time to come");
    let forged = |report: Report| Report { id: 4, ..report };
    assert_eq!(node.told(forged(report(3, 4, 50))), Verdict::Reject);
    let moved = Report { height: 52, ..report(2, 4, 51) };
    assert_eq!(node.told(moved), Verdict::Reject);
    assert_eq!(node.machine.holding(), Holding { nodes: 1, most: false, other: None });
    // What this node knows there is the same, or is not.
    node.feed(Input::Been { height: 51, hash: B256::repeat_byte(51) });
    assert_eq!(node.machine.holding().other, None);
    node.feed(Input::Been { height: 51, hash: B256::ZERO });
    assert_eq!(node.machine.holding().other, Some(51));
    assert_eq!(node.told(report(3, 4, 50)), Verdict::Accept);
    assert_eq!(node.told(report(4, 5, 50)), Verdict::Accept, "it has crossed the border before");
    assert_eq!(node.machine.holding(), Holding { nodes: 3, most: true, other: Some(51) });
    // The second signs, early; an old word of it counts no longer, whoever repeats it.
    let next = checkpoint(4, 1);
    assert_eq!(node.heard(share(2, &next)), Verdict::Accept);
    assert_eq!(node.told(report(2, 4, 60)), Verdict::Ignore);
    node.crossed(&next, 6);
    assert_eq!(node.told(report(2, 4, 60)), Verdict::Ignore);
    assert_eq!(node.heard(share(3, &next)), Verdict::Accept);
    assert_eq!(node.machine.holding(), Holding { nodes: 1, most: false, other: None });
    // The fourth holds on, until its stake is gone.
    for epoch in 5..12 {
        node.crossed(&checkpoint(epoch, 1), 6);
    }
    assert_eq!(node.machine.holding().nodes, 1);
    node.machine.set_stakes(signers(3));
    assert_eq!(node.machine.holding().nodes, 0);
}

#[test]
fn reports_of_nobody_who_holds_a_stake_fill_no_room() {
    let mut node = Node::new(Some(1));
    node.crossed(&checkpoint(3, 1), 4);
    let early = report(1, 4, 5);
    for id in 0..1_000 {
        node.feed(Input::Report { report: Report { id, ..early.clone() }, message: 7 });
    }
    assert_eq!(node.machine.holding().nodes, 4);
    // Nor do those of one who does fill the network.
    let taken = |height| node.told(report(1, 4, height)) == Verdict::Accept;
    assert_eq!((6..30).map(taken).filter(|taken| *taken).count(), usize::from(MAX_REPORTS) - 1);
    for height in 0..1_000 {
        node.feed(Input::Been { height, hash: B256::ZERO });
    }
    assert_eq!(node.machine.reports.places(), 64);
}

#[test]
fn a_report_is_no_share_and_travels_in_few_bytes() {
    let one = report(1, 4, 5);
    let bytes = one.to_bytes();
    assert!(bytes.len() <= MAX_SHARE && Share::from_bytes(&bytes).is_err(), "{}", bytes.len());
    assert!(Report::from_bytes(&share(1, &checkpoint(3, 1)).to_bytes()).is_err());
    assert_eq!(Report::from_bytes(&bytes), Ok(one));
    let digest = data_encoding::HEXLOWER.encode(&blake2b(&[&bytes]));
    assert_eq!(
        digest, "09dfadd96098e4f5478b1eb195ee20452a6e0fddb1f07a8edb082aa2af5117b6",
        "the format on the wire"
    );
}

#[test]
fn a_set_below_the_least_submits_nothing() {
    let root = checkpoint(3, 1);
    let mut node = Node::new(Some(1));
    node.crossed(&root, 3);
    for id in 1..=3 {
        node.heard(share(id, &root));
    }
    assert_eq!(node.machine.deadline(), None);
}

#[test]
fn what_is_held_is_bounded() {
    let mut node = Node::new(Some(1));
    for epoch in 0..20 {
        node.crossed(&checkpoint(epoch, 1), 4);
    }
    assert_eq!(node.machine.rounds.len(), MAX_ROUNDS);
    // Nobody fills up the room for what comes early: of a stranger nothing is held, of a stake one.
    let early = share(1, &checkpoint(20, 1));
    for id in 0..1_000 {
        let share = Share { id, ..early.clone() };
        node.feed(Input::Share { share, message: None });
    }
    assert_eq!(node.machine.early.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    // Only the newest is submitted: it says all that the others do.
    for epoch in [18, 19] {
        for id in 1..=4 {
            node.heard(share(id, &checkpoint(epoch, 1)));
        }
    }
    node.now = node.now.after(HALF);
    let outputs = node.feed(Input::Tick);
    assert!(matches!(&outputs[..], [Output::Submit { checkpoint, .. }] if checkpoint.border.epoch == 19));
}

#[test]
fn a_share_travels_in_few_bytes() {
    let one = share(1, &checkpoint(3, 1));
    let bytes = one.to_bytes();
    assert!(bytes.len() <= MAX_SHARE, "{}", bytes.len());
    assert_eq!(Share::from_bytes(&bytes), Ok(one));
    assert!(Share::from_bytes(&bytes[1..]).is_err());
    let digest = data_encoding::HEXLOWER.encode(&blake2b(&[&bytes]));
    assert_eq!(
        digest, "65e6453cc80312e9b77311e6467d76aa104d276b6644bc7167609287bca20d19",
        "the format on the wire"
    );
}
