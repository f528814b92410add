//! Several things in one request: in any order, one after the other, or under conditions.

use std::sync::mpsc;

use session_protocols::{
    MessageHash, Namespace,
    answer::{Answer, Body, Code, RULES},
    request::{Condition, Request},
};

use super::{
    account,
    fake::{Net, Over},
};
use crate::{Account, Client, Deed, Outcome, client::TTL};

const PRIVATE: Namespace = Namespace(7);

/// Stores messages of a byte each.
async fn put(client: &Client, owner: &Account, bytes: &[u8]) -> Vec<MessageHash> {
    let mut hashes = Vec::new();
    for byte in bytes {
        let stored = client.store(&owner.id(), PRIVATE, vec![*byte], TTL, Some(owner.into())).await;
        hashes.push(stored.unwrap().hash);
    }
    hashes
}

fn read() -> Deed {
    Deed::Retrieve { namespace: PRIVATE, after: None }
}

fn delete(hash: MessageHash) -> Deed {
    Deed::Delete(vec![hash])
}

/// What every member refuses: an end that has passed.
fn refused(hash: MessageHash) -> Deed {
    Deed::Expire { hashes: vec![hash], expiry_ms: 1, only: None }
}

/// How many messages were read or changed, or the code.
fn short(outcomes: &[Outcome]) -> Vec<Result<usize, u16>> {
    let one = |outcome: &Outcome| match outcome {
        Outcome::Page(page) => Ok(page.messages.len()),
        Outcome::Changed(changed) => Ok(changed.hashes.len()),
        Outcome::Expiries(expiries) => Ok(expiries.ends.len()),
        Outcome::Refused(code) => Err(code.number()),
    };
    outcomes.iter().map(one).collect()
}

/// Whether the conditions hold, and what comes of what is done then.
async fn choose(
    (client, owner): (&Client, &Account),
    when: &[Condition],
    then: &[Deed],
    otherwise: &[Deed],
) -> (bool, Vec<Result<usize, u16>>) {
    let chosen = client.if_else(owner, when, then, otherwise).await.unwrap();
    (chosen.condition, short(&chosen.outcomes))
}

#[tokio::test]
async fn a_sequence_ends_at_the_first_that_is_refused() {
    let net = Net::start(8, Over::Tcp).await;
    for (number, client) in [(1, net.client().await), (2, net.hidden().await)] {
        let owner = account(number);
        let hashes = put(&client, &owner, &[1, 2]).await;
        let deeds = [read(), delete(hashes[0]), read(), refused(hashes[1]), delete(hashes[1])];
        let outcomes = client.sequence(&owner, &deeds).await.unwrap();
        assert_eq!(short(&outcomes), [Ok(2), Ok(1), Ok(1), Err(403)], "each finds what those before it left");
        let left = client.sequence(&owner, &[read()]).await.unwrap();
        assert_eq!(short(&left), [Ok(1)], "the last was not begun");
        // Of a batch nothing is stopped.
        let outcomes = client.batch(&owner, &deeds[3..]).await.unwrap();
        assert_eq!(short(&outcomes), [Err(403), Ok(1)]);
    }
}

#[tokio::test]
async fn one_member_alone_ends_no_sequence() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let owner = account(1);
    let refuse = |node: usize, code: Code, which: fn(&Request) -> bool| {
        let lie = move |request: &Request, answer: Answer| {
            Some(if which(request) { Answer::refused(answer.time, code) } else { answer })
        };
        net.world.lock().lie(net.nodes()[node], Box::new(lie));
    };
    // One stops behind what the other stops at.
    refuse(0, Code::Unauthorized, |request| matches!(request, Request::Retrieve(_)));
    refuse(1, Code::Failed, |request| matches!(request, Request::GetExpiries(_)));
    for byte in 0..6 {
        let hashes = put(&client, &owner, &[byte]).await;
        let deeds = [Deed::Expiries(None), read(), Deed::Delete(hashes)];
        let outcomes = client.sequence(&owner, &deeds).await.unwrap();
        assert_eq!(short(&outcomes), [Ok(1), Ok(1), Ok(1)]);
    }
}

#[tokio::test]
async fn of_what_is_signed_within_a_millisecond_the_last_is_the_latest() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let owner = account(1);
    let (signed, seen) = mpsc::channel();
    for node in net.nodes() {
        let signed = signed.clone();
        let listen = move |request: &Request, answer: Answer| {
            if let Request::Delete(delete) = request {
                signed.send(delete.auth.time).unwrap();
            }
            Some(answer)
        };
        net.world.lock().lie(node, Box::new(listen));
    }
    let deeds: Vec<_> = (0..20).map(|byte| delete(MessageHash([byte; 32]))).collect();
    client.sequence(&owner, &deeds).await.unwrap();
    let times: Vec<_> = seen.try_iter().take(20).collect();
    assert!(times.len() == 20 && times.is_sorted_by(|one, next| one < next), "{times:?}");
}

#[tokio::test]
async fn a_sequence_that_stops_or_goes_on_without_a_reason_is_not_believed() {
    let twists: [fn(&mut Vec<Answer>); 3] = [
        |answers| answers.truncate(1),
        |answers| answers[0] = Answer::refused(answers[0].time, Code::BadRequest),
        |answers| answers.clear(),
    ];
    for twist in twists {
        let net = Net::start(5, Over::Tcp).await;
        let client = net.client().await;
        for node in net.nodes() {
            let lie = move |_: &Request, mut answer: Answer| {
                if let Body::Batch(answers) = &mut answer.body {
                    twist(answers);
                }
                Some(answer)
            };
            net.world.lock().lie(node, Box::new(lie));
        }
        let error = client.sequence(&account(1), &[read(), read()]).await.unwrap_err();
        assert_eq!(error.code(), "disbelieved", "{error}");
    }
}

#[tokio::test]
async fn a_long_sequence_goes_on_in_the_next_request_unless_it_has_ended() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    let owner = account(1);
    let hashes = put(&client, &owner, &[1]).await;
    let mut deeds = vec![read(); 25];
    assert_eq!(client.sequence(&owner, &deeds).await.unwrap().len(), 25);
    for last in [22, 3] {
        deeds[last] = refused(hashes[0]);
        let outcomes = short(&client.sequence(&owner, &deeds).await.unwrap());
        assert_eq!((outcomes.len(), outcomes[last]), (last + 1, Err(403)));
    }
}

#[tokio::test]
async fn what_is_done_depends_on_what_nodes_say_of_themselves() {
    let net = Net::start(8, Over::Tcp).await;
    for (number, client) in [(1, net.client().await), (2, net.hidden().await)] {
        let owner = account(number);
        let hashes = put(&client, &owner, &[1, 2]).await;
        let by = (&client, &owner);
        let all = [Condition::RulesAtLeast(RULES), Condition::VersionAtLeast([1, 2, 3])];
        let not_all = [Condition::RulesAtLeast(RULES), Condition::HeightAtLeast(1)];
        let chosen = choose(by, &all, &[delete(hashes[0]), read()], &[read()]).await;
        assert_eq!(chosen, (true, vec![Ok(1), Ok(1)]));
        let chosen = choose(by, &not_all, &[delete(hashes[1])], &[read()]).await;
        assert_eq!(chosen, (false, vec![Ok(1)]), "nothing was deleted");
        assert_eq!(choose(by, &not_all, &[delete(hashes[1])], &[]).await, (false, vec![]));
        let chosen = choose(by, &all, &[refused(hashes[1]), delete(hashes[1])], &[]).await;
        assert_eq!(chosen, (true, vec![Err(403)]));
        assert_eq!(choose(by, &all, &[read()], &[]).await, (true, vec![Ok(1)]));
    }
}

#[tokio::test]
async fn a_member_that_says_nothing_of_what_was_chosen_is_not_believed() {
    let net = Net::start(5, Over::Tcp).await;
    let client = net.client().await;
    for node in net.nodes() {
        let lie = |_: &Request, mut answer: Answer| {
            if let Body::If { answer, .. } = &mut answer.body {
                *answer = None;
            }
            Some(answer)
        };
        net.world.lock().lie(node, Box::new(lie));
    }
    let (owner, when) = (account(1), [Condition::HeightAtLeast(0)]);
    assert_eq!(client.if_else(&owner, &when, &[read()], &[]).await.unwrap_err().code(), "disbelieved");
    let chosen = client.if_else(&owner, &when, &[], &[read()]).await.unwrap();
    assert!(chosen.condition && chosen.outcomes.is_empty());
}

#[tokio::test]
async fn whoever_has_the_wrong_time_does_several_things_all_the_same() {
    for (hours, hidden) in [(-1, false), (1, false), (1, true)] {
        let net = Net::start(8, Over::Tcp).await;
        net.world.lock().offset_ms = hours * 3_600_000;
        net.announce();
        let owner = account(1);
        // Each time a program that knows nothing of the time.
        let client = async || if hidden { net.hidden().await } else { net.client().await };
        let hashes = put(&client().await, &owner, &[1, 2, 3]).await;
        let outcomes = client().await.batch(&owner, &[delete(hashes[0])]).await.unwrap();
        assert_eq!(short(&outcomes), [Ok(1)]);
        let outcomes = client().await.sequence(&owner, &[delete(hashes[1]), read()]).await.unwrap();
        assert_eq!(short(&outcomes), [Ok(1), Ok(1)]);
        let when = [Condition::HeightBefore(1)];
        let chosen = client().await.if_else(&owner, &when, &[delete(hashes[2]), read()], &[]).await.unwrap();
        assert_eq!((chosen.condition, short(&chosen.outcomes)), (true, vec![Ok(1), Ok(0)]));
    }
}
