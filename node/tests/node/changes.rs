//! Swarms that change: a mailbox moves between real nodes, and nothing is lost on the way.

use std::{collections::BTreeSet, ops::Range};

use futures::AsyncReadExt;
use session_protocols::{
    Maps, MessageHash, Protocol, SwarmId, SwarmMap,
    answer::{Answer, Body, Code},
    codec,
    libp2p::link::Asker,
    request::Request,
    ring::position,
};
use tokio::sync::watch;

use crate::support::{
    Plan, metric, reaches, shows,
    stranger::{Person, Stranger},
    wait,
};

const OLD: Range<usize> = 0..3;
const NEW: Range<usize> = 3..6;

/// A map of two swarms; the first keeps the person's account.
fn map(plan: &Plan, version: u64, person: &Person, [first, second]: [Range<usize>; 2]) -> SwarmMap {
    let place = position(&person.account);
    let members = |nodes: Range<usize>| {
        let mut members: Vec<_> = plan.network.nodes[nodes].iter().map(|node| node.id).collect();
        members.sort_unstable();
        members
    };
    let swarms = [(SwarmId(place), members(first)), (SwarmId(place ^ (1 << 63)), members(second))];
    SwarmMap { version, swarms: swarms.into() }
}

/// Somebody's line to one node.
struct Line {
    asker: Asker,
    _stranger: Stranger,
}

impl Line {
    async fn to(plan: &Plan, node: usize) -> Self {
        let stranger = Stranger::meet(plan, node).await;
        Self { asker: stranger.link(Protocol::Storage).await, _stranger: stranger }
    }

    async fn ask(&self, request: &Request) -> Body {
        let answer = self.asker.ask(codec::encode(request)).await.expect("an answer");
        codec::decode::<Answer>(&answer, 4 << 20).unwrap().body
    }

    /// Stores a message that outlives the test.
    async fn store(&self, person: &Person, number: u8) -> MessageHash {
        let Request::Store(mut store) = person.post(&[number; 100]) else { unreachable!() };
        store.expiry += 3_600_000;
        match self.ask(&Request::Store(store)).await {
            Body::Stored { hash, .. } => hash,
            other => panic!("not stored: {other:?}"),
        }
    }

    async fn inbox(&self, plan: &Plan, person: &Person) -> BTreeSet<MessageHash> {
        match self.ask(&Request::Retrieve(person.retrieve(&plan.network.name))).await {
            Body::Messages { messages, more: false, .. } => messages.iter().map(|one| one.hash).collect(),
            other => panic!("not served: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_moves_to_its_new_owners() {
    let (plan, person) = (Plan::new(6), Person::new(9));
    let (old, new) = (map(&plan, 1, &person, [OLD, NEW]), map(&plan, 2, &person, [NEW, OLD]));
    let (maps, seen) = watch::channel(plan.registry().with_maps(old.clone().into()));
    let running: Vec<_> = (0..6).map(|index| plan.start_by(index, seen.clone())).collect();
    wait(&plan.http, 200).await;
    let line = Line::to(&plan, 0).await;
    let mut sent = BTreeSet::new();
    for number in 0..20 {
        sent.insert(line.store(&person, number).await);
    }
    shows(&plan.http[OLD], "\"messages\":20,").await;
    shows(&plan.http[NEW], "\"messages\":0,").await;

    // The next map is known: its owners pull, and get what is written from then on.
    maps.send_replace(plan.registry().with_maps(Maps { next: Some(new.clone()), ..Maps::from(old.clone()) }));
    shows(&plan.http[NEW], "\"messages\":20,").await;
    for number in 20..25 {
        sent.insert(line.store(&person, number).await);
    }
    shows(&plan.http[NEW], "\"messages\":25,").await;
    assert_eq!(line.inbox(&plan, &person).await, sent, "the owners serve until the border");

    // It acts: the new owners serve everything, and the old ones forget it.
    maps.send_replace(plan.registry().with_maps(Maps { past: Some(old), ..Maps::from(new.clone()) }));
    shows(&plan.http[OLD], "\"messages\":0,").await;
    shows(&plan.http, "\"handing_over\":false,").await;
    wait(&plan.http, 200).await;
    for node in NEW {
        let line = Line::to(&plan, node).await;
        assert_eq!(line.inbox(&plan, &person).await, sent, "at node {node}");
    }
    Line::to(&plan, NEW.start).await.store(&person, 25).await;
    shows(&plan.http[NEW], "\"messages\":26,").await;
    match line.ask(&Request::Retrieve(person.retrieve(&plan.network.name))).await {
        Body::Refused(refusal) => {
            let named = refusal.swarm.unwrap();
            assert_eq!((refusal.code, named.map_version), (Code::WrongSwarm, 2));
            assert_eq!(named.members, new.members_of(&person.account));
        }
        other => panic!("a former owner serves: {other:?}"),
    }
    for one in running {
        one.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_owner_keeps_what_too_few_new_ones_have() {
    let (plan, person) = (Plan::new(6), Person::new(9));
    let (old, new) = (map(&plan, 1, &person, [OLD, NEW]), map(&plan, 2, &person, [NEW, OLD]));
    let (maps, seen) = watch::channel(plan.registry().with_maps(old.clone().into()));
    let mut running: Vec<_> = (0..6).map(|index| plan.start_by(index, seen.clone())).collect();
    wait(&plan.http, 200).await;
    let line = Line::to(&plan, 0).await;
    let mut sent = BTreeSet::new();
    for number in 0..5 {
        sent.insert(line.store(&person, number).await);
    }
    shows(&plan.http[OLD], "\"messages\":5,").await;
    for one in running.drain(4..) {
        one.stop().await;
    }
    maps.send_replace(plan.registry().with_maps(Maps { next: Some(new.clone()), ..Maps::from(old.clone()) }));
    shows(&plan.http[3..4], "\"messages\":5,").await;
    let failures = "session_exchange_failures_total";
    let before = metric(plan.http[0], failures);
    maps.send_replace(plan.registry().with_maps(Maps { past: Some(old), ..Maps::from(new) }));
    // Two of the three new owners were asked in vain.
    reaches(plan.http[0], failures, before + 2).await;
    shows(&plan.http[OLD], "\"messages\":5,").await;
    shows(&plan.http[OLD], "\"handing_over\":true,").await;

    // With the second there is a majority.
    running.push(plan.start_by(4, seen.clone()));
    wait(&plan.http[3..5], 200).await;
    shows(&plan.http[OLD], "\"messages\":0,").await;
    shows(&plan.http[3..5], "\"messages\":5,").await;
    assert_eq!(Line::to(&plan, 4).await.inbox(&plan, &person).await, sent);
    for one in running {
        one.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_node_any_more_is_let_go_and_is_one_again_when_the_registry_says_so() {
    let plan = Plan::new(4);
    let by = |version: u64, members: usize| {
        let mut members: Vec<_> = plan.network.nodes[..members].iter().map(|node| node.id).collect();
        members.sort_unstable();
        let map = SwarmMap { version, swarms: [(SwarmId(0), members)].into() };
        plan.registry().with_maps(map.into())
    };
    let (registry, seen) = watch::channel(by(1, 4));
    let running: Vec<_> = (0..4).map(|index| plan.start_by(index, seen.clone())).collect();
    wait(&plan.http, 200).await;
    shows(&plan.http, "\"peers\":3,").await;

    registry.send_replace(by(2, 3));
    shows(&plan.http[..3], "\"peers\":2,").await;
    wait(&plan.http[..3], 200).await;
    wait(&plan.http[3..], 503).await;
    // It comes back as a stranger, and what members ask each other is none of its business.
    let stranger = Stranger::meet_as(3, &plan, 0).await;
    let mut stream = stranger.open(Protocol::Swarm).await;
    assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0, "it is closed");
    let refused = "session_streams_refused_total{reason=\"stranger\"}";
    reaches(plan.http[0], refused, 1).await;
    drop(stranger);

    registry.send_replace(by(3, 4));
    shows(&plan.http, "\"peers\":3,").await;
    wait(&plan.http, 200).await;
    for one in running {
        one.stop().await;
    }
}
