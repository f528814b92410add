//! What a member takes from other nodes, and what it does not.

use serde_bytes::{ByteArray, ByteBuf};

use super::*;
use crate::{
    Signature, fixture::deletion, request::Store as StoreRequest, request::Which, swarm::BucketPrint,
    swarm::Slice,
};

const WRONG: SwarmAnswer = SwarmAnswer::Refused { code: Code::WrongSwarm };

fn asks() -> Vec<Ask> {
    let slice = Slice::default();
    vec![
        Ask::Replicate { mutations: vec![], json: vec![] },
        Ask::Behind,
        Ask::Fingerprints,
        Ask::Reconcile { bucket: 0, slice, message: ByteBuf::from([0x61]) },
        Ask::Fetch { bucket: 0, slice, ids: vec![] },
    ]
}

fn replicate(mutations: Vec<Mutation>) -> SwarmRequest {
    SwarmRequest::new(3, Ask::Replicate { mutations, json: vec![] })
}

fn codes(answer: SwarmAnswer) -> Vec<Option<Code>> {
    let SwarmAnswer::Replicated { results } = answer else { panic!("{answer:?}") };
    let code = |result: &Replicated| match result {
        Replicated::Done { .. } => None,
        Replicated::Refused { code } => Some(*code),
    };
    results.iter().map(code).collect()
}

#[test]
fn only_members_by_the_same_map_are_listened_to() {
    let mut net = Net::new(3);
    for ask in asks() {
        for (from, version, heard) in
            [(1, 3, true), (1, 2, false), (1, 4, false), (0, 3, false), (7, 3, false)]
        {
            let request = SwarmRequest::new(version, ask.clone());
            let answer = net.ask(0, node(from).node_id(), request);
            assert_eq!(answer != WRONG, heard, "node {from}, version {version}: {ask:?}");
        }
    }
    // A node without a swarm listens to nobody.
    net.members.push(member(9, one_swarm(nodes(3))));
    for ask in asks() {
        let request = SwarmRequest::new(3, ask);
        assert_eq!(net.ask(3, node(1).node_id(), request), WRONG);
    }
}

#[test]
fn a_bad_mutation_in_a_batch_is_refused_alone() {
    let (mut net, person) = (Net::new(3), Person::new(0));
    let good = |text: &str| Mutation::Store(person.post(text, 0, 100));
    let unsigned = StoreRequest { namespace: Namespace(1), ..person.post("x", 0, 100) };
    let mut forged = person.keep("x", 0, 100);
    forged.auth.as_mut().unwrap().signature = Signature([1; 64]);
    let mut stolen = person.delete(&[person.hash("a")], 0);
    stolen.which = Which::Hashes(vec![person.hash("a"), person.hash("b")]);
    let from_the_future = StoreRequest { timestamp: u64::MAX, ..person.post("x", 0, 100) };
    let answer = net.ask(
        0,
        node(1).node_id(),
        replicate(vec![
            good("a"),
            Mutation::Store(unsigned),
            Mutation::Store(forged),
            good("b"),
            deletion(stolen),
            Mutation::Store(from_the_future),
            good("c"),
        ]),
    );
    let unauthorized = Some(Code::Unauthorized);
    let expected = [None, unauthorized, unauthorized, None, unauthorized, Some(Code::BadTtl), None];
    assert_eq!(codes(answer), expected);
    let kept: BTreeSet<_> = net.members[0].1.records().map(|(_, hash, _)| *hash).collect();
    assert_eq!(kept, ["a", "b", "c"].map(|text| person.hash(text)).into());
}

#[test]
fn another_swarms_mutation_in_a_batch_is_refused_alone() {
    let (ours, theirs) = (Person::new(0), Person::new(1));
    let place = |person: &Person| SwarmId(crate::ring::position(&person.account));
    let swarms = [(place(&ours), nodes(2)), (place(&theirs), vec![nodes(3)[2]])].into();
    let mut net = Net::new(0);
    net.members.push(member(0, SwarmMap { version: 3, swarms }));
    let batch = vec![
        Mutation::Store(theirs.post("a", 0, 100)),
        Mutation::Store(ours.post("a", 0, 100)),
        deletion(theirs.delete(&[theirs.hash("a")], 0)),
    ];
    let answer = net.ask(0, node(1).node_id(), replicate(batch));
    assert_eq!(codes(answer), [Some(Code::WrongSwarm), None, Some(Code::WrongSwarm)]);
    assert_eq!(net.members[0].1.records().count(), 1);
}

#[test]
fn a_batch_of_too_many_is_not_looked_at() {
    let (mut net, person) = (Net::new(3), Person::new(0));
    let batch = vec![Mutation::Store(person.post("a", 0, 100)); MAX_BATCH + 1];
    assert_eq!(codes(net.ask(0, node(1).node_id(), replicate(batch))), []);
    assert_eq!(net.members[0].1.records().count(), 0);
}

#[test]
fn a_member_signs_for_what_it_did_with_others_mutations() {
    let (mut net, person) = (Net::new(3), Person::new(0));
    let answer = net.ask(0, node(1).node_id(), replicate(vec![Mutation::Store(person.post("a", 0, 100))]));
    let hash = person.hash("a");
    let subject = Subject::Message { account: person.account, namespace: Namespace::INBOX, hash };
    let checked = |version, from: u8, subjects: &[Subject]| match check_answer(
        &network(),
        NOW,
        node(from).node_id(),
        (&SwarmRequest { map_version: version, ..replicate(vec![]) }, subjects),
        answer.clone(),
    ) {
        CheckedAnswer::Receipts(receipts) => Some(receipts.into_iter().flatten().count()),
        _ => None,
    };
    assert_eq!(checked(3, 0, &[subject]), Some(1));
    assert_eq!(checked(4, 0, &[subject]), Some(0), "another map");
    assert_eq!(checked(3, 1, &[subject]), Some(0), "another member");
    let other = Subject::Message { account: person.account, namespace: Namespace(10), hash };
    assert_eq!(checked(3, 0, &[other]), Some(0), "another drawer");
    assert_eq!(checked(3, 0, &[subject, subject]), None, "fewer results than asked for");
    assert_eq!(checked(3, 0, &[]), None, "more results than asked for");
}

#[test]
fn forged_receipts_of_a_member_do_not_make_a_majority() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.held_back.extend([1, 2]);
    net.request(0, Request::Store(person.post("a", 0, 100)));
    for question in std::mem::take(&mut net.waiting) {
        let done = crate::answer::Done::Keeps { expiry: 1 };
        let results = vec![Replicated::Done { done, signature: Signature([3; 64]), told: None }];
        let answer = SwarmAnswer::Replicated { results };
        let from = node(u8::try_from(question.to).unwrap()).node_id();
        let answer =
            Some(check_answer(&network(), NOW, from, (&question.request, &question.subjects), answer));
        net.feed(0, Input::Answered { exchange: question.exchange, answer });
    }
    let (_, _, answer) = net.answers.pop().unwrap();
    assert_eq!(refusal(Some(answer.body)).receipts.unwrap().signed.len(), 1);
}

#[test]
fn an_answer_that_does_not_fit_its_question_counts_as_none() {
    let (mut net, person) = (Net::ready(2), Person::new(0));
    net.held_back.insert(1);
    net.request(0, Request::Store(person.post("a", 0, 100)));
    let question = net.waiting.pop().unwrap();
    let answer = Some(CheckedAnswer::Other(SwarmAnswer::Noted));
    net.feed(0, Input::Answered { exchange: question.exchange, answer });
    assert!(matches!(net.answers.pop(), Some((0, 5, Answer { body: Body::Refused(_), .. }))));
    // The same exchange is over.
    let answer = Some(CheckedAnswer::Fetched(vec![], 1));
    net.feed(0, Input::Answered { exchange: question.exchange, answer });
    assert!(net.answers.is_empty());
}

#[test]
fn what_a_fetch_brings_is_checked_like_everything_else() {
    let (mut net, person) = (Net::new(2), Person::new(0));
    net.held_back.insert(1);
    net.connect(0, 1);
    let lies = |net: &mut Net, answer: SwarmAnswer| {
        let question = net.waiting.pop().unwrap();
        let answer = check_answer(&network(), NOW, node(1).node_id(), (&question.request, &[]), answer);
        net.feed(0, Input::Answered { exchange: question.exchange, answer: Some(answer) });
    };
    let bucket = crate::store::Bucket::of(NOW.as_millis()).0;
    let print = BucketPrint { bucket, count: 1, sum: ByteArray::new([7; 32]) };
    lies(&mut net, SwarmAnswer::Fingerprints { buckets: vec![print], incomplete: vec![] });
    let one_id = [&[0x61, 0, 0, 2, 1][..], &[9; 32]].concat();
    lies(&mut net, SwarmAnswer::Reconcile { message: ByteBuf::from(one_id) });
    let mut forged = person.keep("forged", 0, 100);
    forged.auth.as_mut().unwrap().signature = Signature([1; 64]);
    let mutations = vec![Mutation::Store(forged), Mutation::Store(person.post("sound", 0, 100))];
    lies(&mut net, SwarmAnswer::Fetched { mutations, ids: 1 });
    let kept: Vec<_> = net.members[0].1.records().map(|(_, hash, _)| *hash).collect();
    assert_eq!(kept, [person.hash("sound")]);
    assert!(net.members[0].0.ready());
}

#[test]
fn exchanges_are_forgotten_when_they_end() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    for number in 0..50 {
        net.request(0, Request::Store(person.post(&number.to_string(), 0, 100)));
    }
    for (member, _) in &net.members {
        assert!(member.exchanges.is_empty() && member.waiting.is_empty() && member.outbox.is_empty());
    }
}

#[test]
fn every_number_is_answered_at_most_once() {
    let (mut net, person) = (Net::ready(5), Person::new(0));
    net.down.insert(4);
    for ticket in 0..100 {
        let request = Request::Store(person.post(&ticket.to_string(), 0, 100));
        net.feed(0, Input::Request { ticket, request, door: Door::Native });
    }
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    for (_, ticket, _) in &net.answers {
        *seen.entry(*ticket).or_default() += 1;
    }
    assert!(seen.len() == 100 && seen.values().all(|count| *count == 1));
}
