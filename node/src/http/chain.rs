//! What the door tells of the settlement chain: whether the node is registered, how following goes, and how
//! checkpoints do.

use serde::Serialize;
use session_chain::{
    Amount, Ledger, StakeId, State,
    ledger::{BlsKey, Member, Refusal},
    settlement::{Begun, Settled, Status, follower::EndpointStatus, host::LONE},
};
use session_protocols::NodeId;
use tokio::sync::watch;

use super::Check;
use crate::{
    attest::{Attested, DISAGREE},
    metrics::{ChainMetrics, standing},
    names::Names,
    now,
};

/// What is known of the chain that the node follows.
pub(crate) struct Chain {
    pub(crate) id: NodeId,
    /// The key that it signs checkpoints with.
    pub(crate) key: BlsKey,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) settled: watch::Receiver<Settled>,
    pub(crate) attested: watch::Receiver<Attested>,
    pub(crate) names: Names,
    pub(crate) metrics: ChainMetrics,
}

/// The chain as `/status` shows it.
#[derive(Serialize)]
pub(super) struct Shown {
    /// `unregistered`, `refused`, `awaiting`, `active`, `decommissioned` or `deregistered`.
    registration: &'static str,
    /// The block up to which the ledger knows all.
    height: u64,
    /// The newest final block that all endpoints know.
    head: Option<u64>,
    /// How old that one is.
    lag_s: Option<u64>,
    /// The epoch that ends next.
    epoch: u64,
    /// What the ledger began with when the node started: `kept`, `checkpoint` or `logs`; `fetching` until it has.
    began: &'static str,
    /// The epoch of that checkpoint.
    began_epoch: Option<u64>,
    /// Why nothing is applied at present, or any more, and what to do.
    held: Option<String>,
    /// The last epoch whose checkpoint this node signed.
    signed: Option<u64>,
    /// The last epoch whose checkpoint the contract accepted.
    accepted: Option<u64>,
    /// Names that are somebody's, as of the last border.
    names: u64,
    /// What pays for submissions.
    account: Option<String>,
    /// What keeps this node from submitting checkpoints.
    trouble: Option<String>,
    /// What is staked on the node; none where it is not registered.
    stake: Option<Staked>,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
struct Staked {
    /// All shares together, in SESH.
    staked: String,
    operator: String,
    contributors: usize,
    /// What the operator keeps of the rewards, in basis points.
    fee: u16,
    /// What those whom the operator's rewards are for have earned in all, with all their nodes, in SESH.
    earned: String,
    /// When it leaves, if an exit was requested, in milliseconds since 1970.
    unlocks: Option<u64>,
}

#[derive(Serialize)]
struct Endpoint {
    name: String,
    standing: &'static str,
    faults: u64,
    trouble: Option<String>,
}

impl Chain {
    /// Whether the node is registered, the ledger can be relied on, and the nodes agree.
    pub(super) fn checks(&self) -> [Check; 3] {
        let (status, attested) = (self.status.borrow().clone(), self.attested.borrow().clone());
        let ledger = self.settled.borrow().ledger.clone();
        let (registered, detail) = registered(&ledger, &self.id, &self.key);
        let registered = Check { name: "registered", ok: registered, detail };
        let (ok, detail) = follows(&status, &ledger);
        let chain = Check { name: "chain", ok, detail };
        let (ok, detail) = agrees(&attested, &ledger, &status);
        [registered, chain, Check { name: "checkpoints", ok, detail }]
    }

    /// What is shown of it.
    pub(super) fn shown(&self) -> Shown {
        let (status, attested) = (self.status.borrow().clone(), self.attested.borrow().clone());
        let ledger = self.settled.borrow().ledger.clone();
        let (began, began_epoch) = match status.begun {
            Begun::Kept => ("kept", None),
            Begun::Fetching { epoch, .. } => ("fetching", epoch),
            Begun::Checkpoint { epoch } => ("checkpoint", Some(epoch)),
            Begun::Logs => ("logs", None),
        };
        Shown {
            registration: registration(&ledger, &self.id, &self.key),
            height: status.height,
            head: status.head,
            lag_s: status.lag.map(|lag| lag.as_millis() / 1_000),
            epoch: status.epoch,
            began,
            began_epoch,
            held: held(&status),
            signed: attested.signed,
            accepted: ledger.accepted().map(|(epoch, _)| epoch),
            names: self.names.count(),
            account: attested.account,
            trouble: attested.trouble,
            stake: ledger.node(&self.id).and_then(|member| staked(&ledger, member)),
            endpoints: status
                .endpoints
                .iter()
                .map(|one| Endpoint {
                    name: one.name.clone(),
                    standing: standing(one.standing),
                    faults: one.faults,
                    trouble: trouble(one),
                })
                .collect(),
        }
    }

    /// Brings the metrics up to date.
    pub(super) fn count(&self) {
        self.metrics.show(&self.status.borrow());
        let (ledger, attested) = (self.settled.borrow().ledger.clone(), self.attested.borrow().clone());
        let registration = registration(&ledger, &self.id, &self.key);
        self.metrics.show_ledger(&ledger, &self.id, registration);
        if let (Some(account), Some(wei)) = (&attested.account, attested.gas) {
            self.metrics.show_gas(account, wei);
        }
        let epochs = |last: Option<u64>| {
            last.map_or(0, |last| i64::try_from(last.saturating_add(1)).unwrap_or(i64::MAX))
        };
        self.metrics.signed_epochs.set(epochs(attested.signed));
        self.metrics.submission_trouble.set(i64::from(attested.trouble.is_some()));
        self.metrics.accepted_epochs.set(epochs(ledger.accepted().map(|(epoch, _)| epoch)));
        self.metrics.names.set(i64::try_from(self.names.count()).unwrap_or(i64::MAX));
    }
}

/// What is staked on a member; none on one that the network began with.
fn staked(ledger: &Ledger, member: &Member) -> Option<Staked> {
    let own = member.shares.first()?;
    let sum = member.shares.iter().try_fold(Amount::ZERO, |sum, share| sum.checked_add(share.amount));
    Some(Staked {
        staked: sum.unwrap_or_default().to_string(),
        operator: member.operator.to_string(),
        contributors: member.shares.len(),
        fee: member.fee,
        earned: ledger.rewards().total(&own.beneficiary).to_string(),
        unlocks: member.unlocks.map(|at| at.saturating_mul(1_000)),
    })
}

fn registration(ledger: &Ledger, id: &NodeId, key: &BlsKey) -> &'static str {
    match ledger.node(id).map(|member| member.state) {
        None if refused(ledger, key).is_some() => "refused",
        None => "unregistered",
        Some(State::Awaiting) => "awaiting",
        Some(State::Active) => "active",
        Some(State::Decommissioned) => "decommissioned",
        Some(State::Deregistered) => "deregistered",
        Some(_) => "registered",
    }
}

/// The last registration that was refused of those that hold this key. One of others has a key of their own.
fn refused(ledger: &Ledger, key: &BlsKey) -> Option<(StakeId, Refusal)> {
    let own = ledger.stakes().filter(|(_, stake)| stake.bls == *key);
    own.filter_map(|(id, stake)| Some((*id, stake.refused?))).last()
}

fn registered(ledger: &Ledger, id: &NodeId, key: &BlsKey) -> (bool, String) {
    let state = registration(ledger, id, key);
    if let ("refused", Some((id, why))) = (state, refused(ledger, key)) {
        return (false, format!("the nodes refuse registration {id}: {why}: {}", why.remedy()));
    }
    let (ok, detail) = match state {
        "unregistered" => (
            false,
            "not registered: put its stake down, and wait until the epoch in which it is final has ended"
                .into(),
        ),
        "awaiting" => {
            (true, format!("awaiting its place, which is known when epoch {} ends", ledger.epoch()))
        }
        "decommissioned" => {
            (false, "decommissioned: it failed its tests, and serves again when it passes".into())
        }
        "deregistered" => {
            (false, "deregistered: its stake is released in time, and another takes its place".into())
        }
        _ => (true, state.into()),
    };
    (ok, detail)
}

/// Why nothing is applied at present, or any more, and what to do.
fn held(status: &Status) -> Option<String> {
    if let Some(why) = &status.stopped {
        return Some(format!("stopped: {why}: {}", why.remedy()));
    }
    status.held.as_ref().map(|why| format!("holds: {why}: {}", why.remedy()))
}

/// Whether what the ledger says may be relied on; else why not and what to do.
fn follows(status: &Status, ledger: &Ledger) -> (bool, String) {
    let Status { height, head, epoch, .. } = *status;
    let troubles: Vec<_> = status.endpoints.iter().filter_map(trouble).collect();
    let also = troubles.iter().map(|trouble| format!("; {trouble}")).collect::<String>();
    if let Some(why) = held(status) {
        return (false, format!("{why}{also}"));
    }
    let began = match status.begun {
        Begun::Fetching { epoch: None, .. } => {
            return (false, "asking the settlement chain for the last checkpoint".into());
        }
        Begun::Fetching { epoch: Some(of), bytes } => {
            let said =
                format!("fetching the ledger of the checkpoint of epoch {of}: {} KiB so far", bytes >> 10);
            return (false, said);
        }
        Begun::Checkpoint { epoch: of } => format!(", begun with the checkpoint of epoch {of}"),
        Begun::Logs => ", begun with all logs".into(),
        Begun::Kept => String::new(),
    };
    let Some(head) = head else { return (false, format!("no endpoint has answered so far{also}")) };
    if is_behind(status, ledger) {
        return (false, format!("behind, at block {height} of {head}: wait until it has caught up{also}"));
    }
    (true, format!("at block {height}, in epoch {epoch}{began}{also}"))
}

/// Whether the chain is more than an epoch beyond the end of the ledger's: others go by other maps.
fn is_behind(status: &Status, ledger: &Ledger) -> bool {
    let Some(lag) = status.lag else { return false };
    let head = session_protocols::Time(now().0.saturating_sub(lag.0)).as_millis() / 1_000;
    head >= ledger.border().saturating_add(ledger.parameters().epoch_seconds.get())
}

/// What is wrong with an endpoint at present, and what to do.
fn trouble(endpoint: &EndpointStatus) -> Option<String> {
    let trouble = endpoint.trouble.as_ref().filter(|_| standing(endpoint.standing) != "good")?;
    Some(format!("{} {trouble}: {}", endpoint.name, trouble.remedy()))
}

fn agrees(attested: &Attested, ledger: &Ledger, status: &Status) -> (bool, String) {
    if let Some((epoch, with, against)) = attested.against {
        return (
            false,
            format!(
                "{against} nodes sign another checkpoint of epoch {epoch} than this one, and {with} the same: \
                 {DISAGREE}"
            ),
        );
    }
    if let Some(height) = attested.holding.other {
        return (
            false,
            format!("a node that holds knows another history at block {height} than this one: {DISAGREE}"),
        );
    }
    if let Some(why) = &attested.unsigned {
        return (false, why.clone());
    }
    let told = |what: &str, epoch: Option<u64>| epoch.map(|epoch| format!("{what} that of epoch {epoch}"));
    let signed = told("signed", attested.signed);
    let accepted = told("the contract has", ledger.accepted().map(|(epoch, _)| epoch));
    let both: Vec<_> = signed.into_iter().chain(accepted).collect();
    let mut detail = if both.is_empty() { "none so far".into() } else { both.join(", ") };
    if status.alone && status.held.is_none() {
        detail += &format!("; none is signed while one of several endpoints is all there is: {LONE}");
    }
    let (nodes, least) = (ledger.stakes().len(), ledger.minimum_nodes());
    if (1..least).contains(&(nodes as u64)) {
        detail += &format!("; the contract takes none of fewer than {least} nodes, and {nodes} hold a stake");
    }
    if let Some(why) = &attested.trouble {
        detail += &format!("; this node submits none: {why}");
    }
    match attested.holding.nodes {
        0 => {}
        1 => detail += "; one other node signs none, as its endpoints disagree",
        nodes => detail += &format!("; {nodes} other nodes sign none, as their endpoints disagree"),
    }
    (true, detail)
}

#[cfg(test)]
mod tests {
    use session_chain::{
        Block, Input, Parameters, Registration, Share,
        attestation::Holding,
        bls::BlsSecret,
        settlement::{Hold, Trouble, follower::Standing},
    };
    use session_protocols::{KeyPair, Span, Time};

    use super::*;

    fn good() -> Status {
        Status { height: 7, head: Some(7), lag: Some(Span::secs(1)), ..Status::default() }
    }

    /// A ledger in the epoch that is under way.
    fn ledger() -> Ledger {
        Ledger::new(Parameters { genesis: now().as_millis() / 1_000 - 10, ..Parameters::default() })
    }

    #[test]
    fn whatever_keeps_the_ledger_from_being_relied_on_is_told_with_what_to_do() {
        let told = |status: &Status| follows(status, &ledger());
        assert_eq!(told(&good()), (true, "at block 7, in epoch 0".into()));
        assert_eq!(told(&Status { head: None, ..good() }), (false, "no endpoint has answered so far".into()));
        let begun = |begun| told(&Status { begun, ..good() });
        let fetching = begun(Begun::Fetching { epoch: Some(4), bytes: 5 << 10 });
        assert_eq!(
            fetching,
            (false, "fetching the ledger of the checkpoint of epoch 4: 5 KiB so far".into())
        );
        let checkpoint = begun(Begun::Checkpoint { epoch: 4 });
        assert_eq!(checkpoint, (true, "at block 7, in epoch 0, begun with the checkpoint of epoch 4".into()));
        let full = Hold::Unkept { why: "no space left on device".into() };
        let status = Status { held: Some(full), ..good() };
        let said = "holds: the ledger cannot be kept: no space left on device: make room on that disk, or mend it: \
                    the ledger goes on by itself, and nothing is lost";
        assert_eq!((told(&status), held(&status)), ((false, said.into()), Some(said.into())));
        let held = Status { held: Some(Hold::Unanswered), ..good() };
        let (ok, detail) = told(&held);
        assert!(!ok && detail.starts_with("holds: no endpoint answers: check the connection"), "{detail}");
        let stopped = session_chain::settlement::Stop::Failed { why: "the disk is gone".into() };
        let (ok, detail) = told(&Status { stopped: Some(stopped), ..held });
        assert!(!ok && detail.starts_with("stopped: the disk is gone: mend what it names"), "{detail}");
    }

    #[test]
    fn a_ledger_that_lacks_a_whole_epoch_is_behind() {
        let old = |epochs: u64| {
            let length = Parameters::default().epoch_seconds.get();
            let genesis = now().as_millis() / 1_000 - epochs * length - length / 2;
            Ledger::new(Parameters { genesis, ..Parameters::default() })
        };
        let told: Vec<_> = (0..4).map(|epochs| follows(&good(), &old(epochs)).0).collect();
        assert_eq!(told, [true, true, false, false], "the next may just have begun");
    }

    #[test]
    fn an_endpoint_is_named_while_something_is_wrong_with_it() {
        let endpoint = |standing| EndpointStatus {
            name: "rpc.example.org".into(),
            standing,
            trouble: Some(Trouble::Late),
            faults: 1,
            questions: 9,
        };
        let told = |standing| follows(&Status { endpoints: vec![endpoint(standing)], ..good() }, &ledger());
        assert_eq!(told(Standing::Good), (true, "at block 7, in epoch 0".into()), "it is over");
        for standing in [Standing::Failing, Standing::LeftOut(Time::ZERO)] {
            let (ok, detail) = told(standing);
            assert!(
                ok && detail.contains("; rpc.example.org does not answer in time: nothing if"),
                "{detail}"
            );
        }
    }

    #[test]
    fn who_is_not_registered_and_who_disagrees_is_told_so() {
        let pair = KeyPair::from_seed(&[1; 32]);
        let (id, key) = (pair.node_id(), BlsSecret::of_node(&pair).public());
        let mut ledger = ledger();
        let (ok, detail) = registered(&ledger, &id, &key);
        assert!(!ok && detail.starts_with("not registered: put its stake down"), "{detail}");
        // What somebody else puts down for the same key is no matter of its own.
        let mut height = 0;
        let mut register = |ledger: &mut Ledger, bls: BlsKey| {
            height += 1;
            let operator = [9; 20].into();
            let share = Share { contributor: operator, beneficiary: operator, amount: Amount::sesh(1) };
            let unsigned = Registration {
                id: StakeId(height),
                node: id,
                signature: pair.sign(b"something else"),
                operator,
                prefix: "127.0.9.0/24".parse().unwrap(),
                fee: 0,
                bls,
                shares: vec![share],
            };
            let inputs = vec![Input::Register(Box::new(unsigned))];
            let time = ledger.parameters().genesis + height;
            ledger.apply(&Block { height, time, inputs }).unwrap();
        };
        register(&mut ledger, BlsKey([7; 96]));
        assert_eq!(registration(&ledger, &id, &key), "unregistered");
        register(&mut ledger, key);
        assert_eq!(registration(&ledger, &id, &key), "refused");
        let (ok, detail) = registered(&ledger, &id, &key);
        let said = "the nodes refuse registration 2: the node's key did not sign the registration: get its stake back";
        assert!(!ok && detail.starts_with(said), "{detail}");
        let (ok, detail) = agrees(&Attested::default(), &ledger, &good());
        assert!(ok && detail.starts_with("none so far"));
        let against = Attested { against: Some((3, 2, 5)), ..Attested::default() };
        let (ok, detail) = agrees(&against, &ledger, &good());
        assert!(!ok && detail.starts_with("5 nodes sign another checkpoint of epoch 3"), "{detail}");
        let told = |nodes, other| {
            let holding = Holding { nodes, other, most: false };
            agrees(&Attested { holding, ..Attested::default() }, &ledger, &Status { alone: true, ..good() })
        };
        let (ok, detail) = told(3, None);
        assert!(ok && detail.contains("; none is signed while one of several endpoints"), "{detail}");
        assert!(detail.ends_with("; 3 other nodes sign none, as their endpoints disagree"), "{detail}");
        let (ok, detail) = told(1, Some(7));
        assert!(!ok && detail.contains("another history at block 7"), "{detail}");
        let attested = Attested { trouble: Some("too little".into()), ..Attested::default() };
        let (ok, detail) = agrees(&attested, &ledger, &good());
        assert!(ok && detail.ends_with("; this node submits none: too little"), "{detail}");
        let few = "; the contract takes none of fewer than 4 nodes, and 2 hold a stake; this";
        assert!(detail.contains(few), "{detail}");
    }
}
