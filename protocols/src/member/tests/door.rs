//! What clients of the JSON door are answered, and who is turned away by the owner's word.

use super::*;
use crate::{
    AccountId, MessageHash, Signature,
    answer::{Done, Failure, told},
    fixture::{Friend, ms, mutation, statement, texted},
    identity,
    member::bulk::MAX_BULKS,
    request::{Direction, Drawers, Ends, MAX_BULK_JSON, Rights, Which},
};

impl Net {
    fn request_json(&mut self, who: usize, request: Request) -> Option<Body> {
        let before = self.answers.len();
        self.feed(who, Input::Request { ticket: 5, request, door: Door::Json });
        self.answers.get(before).map(|(_, _, answer)| answer.body.clone())
    }

    /// Lets one of the questions that are held back arrive.
    fn let_through(&mut self, to: usize) {
        let at = self.waiting.iter().position(|question| question.to == to).expect("it was asked");
        let question = self.waiting.remove(at);
        self.held_back.remove(&to);
        self.travel(question);
        self.run();
    }
}

/// A deletion of some hashes, as a client of the JSON door asks for it.
fn json_delete(person: &Person, hashes: &[MessageHash], required: bool) -> Request {
    let mut request = person.delete(hashes, 0);
    request.required = required;
    let text = hashes.iter().fold("delete".to_owned(), |text, hash| text + &hash.to_string());
    texted(person, Request::Delete(request), text.as_bytes(), 0)
}

fn receipts(body: Option<Body>) -> Receipts {
    match body {
        Some(Body::Stored { receipts, .. } | Body::Changed { receipts }) => receipts,
        other => panic!("not done: {other:?}"),
    }
}

/// Who has not signed, and why not.
fn failures(receipts: &Receipts) -> Vec<(usize, Failure)> {
    let place = |node| nodes(5).iter().position(|one| *one == node).unwrap();
    receipts.missing.iter().map(|missing| (place(missing.node), missing.why)).collect()
}

/// Who signed what they tell such a client.
fn tellers(receipts: &Receipts, text: &[u8]) -> BTreeSet<NodeId> {
    let sound = |receipt: &&Receipt| {
        let told = receipt.told.as_ref().expect("each tells");
        identity::verify(receipt.node.as_bytes(), text, &told.signature)
    };
    receipts.signed.iter().filter(sound).map(|receipt| receipt.node).collect()
}

#[test]
fn the_json_door_answers_when_every_member_has_spoken() {
    let (mut net, person) = (Net::ready(5), Person::new(0));
    net.held_back.extend(1..5);
    assert_eq!(net.request_json(0, Request::Store(person.post("a", 0, 100))), None);
    for to in 1..5 {
        assert!(net.answers.is_empty(), "before member {to} has spoken");
        net.let_through(to);
    }
    let (_, _, answer) = net.answers.pop().expect("all have spoken");
    let receipts = receipts(Some(answer.body));
    assert_eq!((receipts.signed.len(), receipts.missing.as_slice()), (5, [].as_slice()));
    let hash = person.hash("a").to_string();
    assert_eq!(tellers(&receipts, hash.as_bytes()), nodes(5).into_iter().collect());
    // A native client is answered with a majority, and told nothing beside.
    let Some(Body::Stored { receipts, .. }) = net.request(0, Request::Store(person.post("b", 0, 100))) else {
        panic!("not stored");
    };
    assert!(receipts.missing.is_empty());
    assert!(receipts.signed.iter().all(|receipt| receipt.told.is_none()));
}

#[test]
fn the_json_door_tells_of_the_ends_that_members_sign_however_long_a_request_waits() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.request_json(0, Request::Store(person.post("a", 0, 100))).expect("stored");
    let hash = person.hash("a");
    // As long as possible: how long that is depends on when the request came.
    let far = Ends::All(u64::MAX);
    let expire = person.expire_which(Which::Hashes(vec![hash]), far, None, 0);
    let text = format!("expire{}{hash}", u64::MAX);
    let request = texted(&person, Request::Expire(expire), text.as_bytes(), 0);
    let Request::Expire(door) = &request else { unreachable!() };
    let told = format!("{}{}{hash}{hash}", person.account, door.end(0));
    net.now = net.now.after(Span::millis(7));
    let receipts = receipts(net.request_json(0, request));
    assert_eq!(tellers(&receipts, told.as_bytes()), nodes(3).into_iter().collect());
}

#[test]
fn the_json_door_names_who_has_not_spoken_in_time() {
    let (mut net, person) = (Net::ready(5), Person::new(0));
    net.down.insert(1);
    net.held_back.insert(2);
    assert_eq!(net.request_json(0, Request::Store(person.post("a", 0, 100))), None);
    net.now = net.now.after(Span::micros(writes::WAIT.0 - 1));
    net.feed(0, Input::Tick);
    assert!(net.answers.is_empty(), "it waits for the one");
    net.now = net.now.after(Span::micros(1));
    net.feed(0, Input::Tick);
    let (_, _, answer) = net.answers.pop().expect("time is up");
    let receipts = receipts(Some(answer.body));
    assert_eq!(receipts.signed.len(), 3);
    assert_eq!(failures(&receipts), [(1, Failure::Silent), (2, Failure::Silent)]);
}

#[test]
fn the_json_door_says_why_a_member_has_not_signed() {
    let (mut net, person) = (Net::ready(5), Person::new(0));
    net.held_back.extend(1..5);
    assert_eq!(net.request_json(0, Request::Store(person.post("a", 0, 100))), None);
    let wrong =
        || Replicated::Done { done: Done::Keeps { expiry: 1 }, signature: Signature([3; 64]), told: None };
    let no = || Replicated::Refused { code: Code::WrongSwarm };
    // One refuses the message, one the whole batch, one signs something else, and one answers another question.
    for (to, answer) in [
        (1, SwarmAnswer::Replicated { results: vec![no()] }),
        (2, SwarmAnswer::Refused { code: Code::Full }),
        (3, SwarmAnswer::Replicated { results: vec![wrong()] }),
        (4, SwarmAnswer::Replicated { results: vec![no(), no()] }),
    ] {
        let at = net.waiting.iter().position(|question| question.to == to).expect("it was asked");
        let question = net.waiting.remove(at);
        let answer =
            check_answer(&network(), NOW, nodes(5)[to], (&question.request, &question.subjects), answer);
        net.feed(0, Input::Answered { exchange: question.exchange, answer: Some(answer) });
    }
    let (_, _, answer) = net.answers.pop().expect("all have spoken");
    let expected = [
        (1, Failure::Refused { code: Code::WrongSwarm }),
        (2, Failure::Refused { code: Code::Full }),
        (3, Failure::Unsound),
        (4, Failure::Unsound),
    ];
    assert_eq!(failures(&receipts(Some(answer.body))), expected);
}

#[test]
fn what_a_node_may_keep_no_more_of_the_others_keep_while_the_account_has_room() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    let limit = |net: &mut Net, bytes, account_bytes| {
        let limits = Limits { bytes, account_bytes };
        net.members[0].0 = Member::new(Setup { limits, ..setup(0, one_swarm(nodes(3))) });
        net.connect(0, 1);
        assert!(net.members[0].0.ready());
    };
    limit(&mut net, 10, 1 << 20);
    let stored = receipts(net.request_json(0, Request::Store(person.post("a", 0, 100))));
    assert_eq!((stored.signed.len(), failures(&stored)), (2, vec![(0, Failure::Own)]));
    assert_eq!((net.texts(0, &person), net.texts(1, &person)), (vec![], vec!["a".to_owned()]));
    let native = net.request(0, Request::Store(person.post("b", 0, 100)));
    assert!(matches!(native, Some(Body::Refused(Refusal { code: Code::Full, .. }))), "{native:?}");
    // What has no room in its account the others are not asked for.
    limit(&mut net, 10, 10);
    let refused = net.request_json(0, Request::Store(person.post("c", 0, 100)));
    assert!(matches!(refused, Some(Body::Refused(Refusal { code: Code::Full, .. }))), "{refused:?}");
    assert_eq!(net.texts(1, &person), ["a"]);
}

#[test]
fn what_a_member_tells_a_client_is_passed_on_if_the_signature_below_it_holds() {
    let (mut net, person) = (Net::ready(5), Person::new(0));
    net.request(0, Request::Store(person.post("a", 0, 100)));
    let a = person.hash("a");
    net.held_back.extend(1..5);
    assert_eq!(net.request_json(0, json_delete(&person, &[a], false)), None);
    for to in 1..5 {
        let at = net.waiting.iter().position(|question| question.to == to).expect("it was asked");
        let Travelling { exchange, request, subjects, .. } = net.waiting.remove(at);
        let SwarmAnswer::Replicated { mut results } = net.ask(to, nodes(5)[0], request.clone()) else {
            panic!("it was done")
        };
        let [Replicated::Done { told, .. }] = results.as_mut_slice() else { panic!("{results:?}") };
        match (to, told.as_mut().expect("it is for a client of this door")) {
            (1, _) => *told = None,
            (2, told) => told.signature = Signature([3; 64]),
            (3, told) => told.listed.clear(),
            (_, _) => {}
        }
        let answer = SwarmAnswer::Replicated { results };
        let answer = check_answer(&network(), NOW, nodes(5)[to], (&request, &subjects), answer);
        net.feed(0, Input::Answered { exchange, answer: Some(answer) });
    }
    let (_, _, answer) = net.answers.pop().expect("all have spoken");
    let receipts = receipts(Some(answer.body));
    assert_eq!(failures(&receipts), [1, 2, 3].map(|member| (member, Failure::Unsound)));
    let signed = tellers(&receipts, format!("{}{a}{a}", person.account).as_bytes());
    assert_eq!(signed, [nodes(5)[0], nodes(5)[4]].into_iter().collect());
}

#[test]
fn who_came_by_the_native_door_is_told_nothing_that_he_did_not_ask_for() {
    let (mut net, person) = (Net::ready(2), Person::new(0));
    net.held_back.insert(1);
    net.request(0, Request::Store(person.post("a", 0, 100)));
    let Travelling { exchange, request, subjects, .. } = net.waiting.pop().unwrap();
    let SwarmAnswer::Replicated { mut results } = net.ask(1, nodes(2)[0], request.clone()) else {
        panic!("it was done")
    };
    let [Replicated::Done { told, .. }] = results.as_mut_slice() else { panic!("{results:?}") };
    let (listed, unchanged) = (vec![(Namespace::INBOX, person.hash("a")); 1_000], Vec::new());
    *told = Some(Box::new(Told { already: false, listed, unchanged, signature: Signature([3; 64]) }));
    let answer = SwarmAnswer::Replicated { results };
    let answer = check_answer(&network(), NOW, nodes(2)[1], (&request, &subjects), answer);
    net.feed(0, Input::Answered { exchange, answer: Some(answer) });
    let receipts = receipts(net.answers.pop().map(|(_, _, answer)| answer.body));
    assert_eq!(receipts.signed.len(), 2);
    assert!(receipts.signed.iter().all(|receipt| receipt.told.is_none()));
}

#[test]
fn what_a_full_disk_cannot_keep_the_others_keep() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.request(0, Request::Store(person.post("a", 0, 9_000)));
    net.members[0].0.set_full(true);
    let head = net.members[0].1.head();
    let stored = receipts(net.request_json(0, Request::Store(person.post("b", 0, 9_000))));
    assert_eq!((stored.signed.len(), failures(&stored)), (2, vec![(0, Failure::Own)]));
    assert_eq!(tellers(&stored, person.hash("b").to_string().as_bytes()).len(), 2);
    let (a, account) = (person.hash("a"), person.account);
    let deleted = receipts(net.request_json(0, json_delete(&person, &[a], true)));
    assert_eq!(failures(&deleted), [(0, Failure::Own)]);
    assert_eq!(tellers(&deleted, format!("{account}{a}{a}").as_bytes()).len(), 2);
    assert_eq!(net.members[0].1.head(), head, "nothing is written here");
    assert_eq!((net.texts(1, &person), net.texts(2, &person)), (vec!["b".to_owned()], vec!["b".to_owned()]));
    // Nobody has it.
    net.down.extend([1, 2]);
    for request in [Request::Store(person.post("c", 0, 100)), json_delete(&person, &[a], true)] {
        let refused = refusal(net.request_json(0, request));
        assert_eq!(refused.code, Code::Full);
        let failed = failures(&refused.receipts.expect("each says why"));
        assert!(failed.len() == 3 && failed.contains(&(0, Failure::Own)), "{failed:?}");
        // Who failed is left alone for a while.
        net.tick_all(writes::BACKOFF);
    }
    // What was missed comes with the room.
    net.down.clear();
    net.members[0].0.set_full(false);
    net.tick_all(Span::secs(200));
    net.tick_all(Span::secs(200));
    assert_eq!(net.texts(0, &person), ["b"], "the deletion too");
}

#[test]
fn the_json_door_leaves_the_counting_to_its_client() {
    let (mut net, person) = (Net::ready(5), Person::new(0));
    net.down.extend(1..5);
    let receipts = receipts(net.request_json(0, Request::Store(person.post("a", 0, 100))));
    assert_eq!(receipts.signed.len(), 1);
    assert_eq!(failures(&receipts), [1, 2, 3, 4].map(|place| (place, Failure::Silent)));
    // The same is refused at the native door.
    let mut net = Net::ready(5);
    net.down.extend(1..5);
    assert_eq!(refusal(net.request(0, Request::Store(person.post("b", 0, 100)))).code, Code::NotReady);
}

#[test]
fn each_member_tells_what_it_did_itself() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    // The last one holds nothing.
    net.down.insert(2);
    net.request(0, Request::Store(person.post("a", 0, 100)));
    net.down.clear();
    let (a, b) = (person.hash("a"), person.hash("b"));
    net.now = net.now.after(Span::millis(600));
    let receipts = receipts(net.request_json(0, json_delete(&person, &[a, b], false)));
    let account = person.account;
    let (held, not) = (format!("{account}{a}{b}{a}"), format!("{account}{a}{b}"));
    assert_eq!(tellers(&receipts, held.as_bytes()), nodes(2).into_iter().collect());
    assert_eq!(tellers(&receipts, not.as_bytes()), [nodes(3)[2]].into());
    for receipt in &receipts.signed {
        let told = receipt.told.as_ref().unwrap();
        let listed: &[_] = if receipt.node == nodes(3)[2] { &[] } else { &[(Namespace::INBOX, a)] };
        assert_eq!(told.listed, listed);
        assert_eq!(receipt.done, Done::Changed { hashes: vec![a] }, "a tombstone is kept by all");
    }
}

#[test]
fn what_has_to_be_there_is_missed_with_404() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.request(0, Request::Store(person.post("a", 0, 100)));
    net.request(0, Request::Store(person.post("c", 0, 100)));
    let (a, b, c) = (person.hash("a"), person.hash("b"), person.hash("c"));
    let native = |hashes: &[MessageHash]| {
        let mut request =
            Request::Delete(crate::request::Delete { required: true, ..person.delete(hashes, 0) });
        *crate::fixture::auth_of(&mut request) =
            crate::request::Auth::sign(&person.account, &person.pair, ms(0), &statement(&request, 0));
        assert_eq!(request.verify(&network(), NOW, Door::Native), Ok(()));
        request
    };
    let missed = Refusal { code: Code::NotFound, swarm: None, receipts: None };
    assert_eq!(refusal(net.request(1, native(&[b]))), missed);
    let missed = refusal(net.request_json(1, json_delete(&person, &[b], true)));
    let said = missed.receipts.expect("each says that it held nothing");
    assert_eq!((missed.code, said.signed.len()), (Code::NotFound, 3));
    assert!(matches!(net.request_json(1, json_delete(&person, &[b], false)), Some(Body::Changed { .. })));
    assert!(matches!(net.request(1, native(&[a, b])), Some(Body::Changed { .. })));
    assert!(matches!(net.request_json(1, json_delete(&person, &[b, c], true)), Some(Body::Changed { .. })));
    assert_eq!(net.texts(2, &person), [""; 0]);
    // Deleted before: nothing is there.
    assert_eq!(refusal(net.request_json(1, json_delete(&person, &[c], true))).code, Code::NotFound);
}

#[test]
fn a_request_whose_text_names_no_time_is_passed_on_with_that_of_the_first_receivers_door() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.request(0, Request::Store(person.post("a", 0, 100)));
    net.now = net.now.after(Span::secs(7));
    net.held_back.extend([1, 2]);
    net.request_json(0, json_delete(&person, &[person.hash("a")], false));
    let Ask::Replicate { mutations, json } = &net.waiting[0].request.ask else { panic!("not a batch") };
    let [Mutation::Delete { request, held }] = mutations.as_slice() else { panic!("{mutations:?}") };
    assert_eq!(
        (request.auth.time, held.as_slice(), json.as_slice()),
        (ms(0), &[person.hash("a")][..], &[0][..])
    );
    assert_eq!(request.verify(&network(), net.now, crate::request::Source::Member), Ok(()));
    net.let_through(1);
    net.let_through(2);
    let receipts = receipts(net.answers.pop().map(|(_, _, answer)| answer.body));
    assert_eq!(receipts.signed.len(), 3);
}

#[test]
fn who_is_revoked_is_turned_away_at_every_member_and_subscribes_to_nothing() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    let friend = person.friend(1, Rights(15));
    let look = |friend: &Friend| friend.asks(Request::Retrieve(person.look(1)), 0);
    assert!(matches!(net.request(1, look(&friend)), Some(Body::Messages { .. })));
    // At every member somebody listens, to what revoking closes and to what it does not.
    for who in 0..3 {
        for (subscriber, namespace) in [(7, 1), (8, -11)] {
            let Request::Retrieve(retrieve) = friend.asks(Request::Retrieve(person.look(namespace)), 0)
            else {
                panic!("it looks")
            };
            net.feed(who, Input::Subscribe { subscriber, retrieve });
        }
    }
    net.others.clear();
    let revoked = net.request(0, Request::Revoke(person.revoke(&[friend.token()], 0)));
    assert!(matches!(revoked, Some(Body::Changed { .. })));
    let ended =
        Output::Subscribed { subscriber: 7, answer: Subscribed::Refused { code: Code::Unauthorized } };
    let mut told = std::mem::take(&mut net.others);
    told.sort_by_key(|(who, _)| *who);
    assert_eq!(told, [0, 1, 2].map(|who| (who, ended.clone())));
    for who in 0..3 {
        assert_eq!(refusal(net.request(who, look(&friend))).code, Code::Unauthorized);
        let keep = friend.asks(Request::Store(person.keep_in(1, "a", 0, 100)), 0);
        assert_eq!(refusal(net.request(who, keep)).code, Code::Unauthorized);
        let listed = net.request(who, Request::GetRevoked(person.get_revoked(0)));
        assert_eq!(listed, Some(Body::Revoked { tokens: vec![friend.token()] }));
        let Request::Retrieve(retrieve) = look(&friend) else { panic!("it looks") };
        net.others.clear();
        net.feed(who, Input::Subscribe { subscriber: 1, retrieve });
        let answer = Subscribed::Refused { code: Code::Unauthorized };
        assert_eq!(net.others, [(who, Output::Subscribed { subscriber: 1, answer })]);
    }
    let Request::Store(seen) = friend.asks(Request::Store(person.keep_in(-11, "you are out", 0, 100)), 0)
    else {
        panic!("a store")
    };
    assert_eq!(refusal(net.request(0, Request::Store(seen))).code, Code::Unauthorized);
    let lasting = friend.asks(Request::Retrieve(person.look(-11)), 0);
    assert!(matches!(net.request(0, lasting), Some(Body::Messages { .. })));
    net.request(2, Request::Revoke(person.unrevoke(&[friend.token()], 1)));
    for who in 0..3 {
        assert!(matches!(net.request(who, look(&friend)), Some(Body::Messages { .. })));
    }
}

#[test]
fn a_node_says_its_rules_and_the_chains_height_and_takes_one_thing_at_a_time() {
    let mut net = Net::ready(1);
    net.members[0].0.set_height(77);
    let expected = Body::Info { version: "1.2.3".into(), rules: [22, 0], height: 77 };
    assert_eq!(net.request(0, Request::Info), Some(expected));
    for several in [Request::Batch(vec![Request::Info]), Request::Sequence(vec![Request::Info])] {
        assert_eq!(refusal(net.request(0, several)).code, Code::BadRequest);
    }
}

const TIME: &str = "1700000000000";

#[test]
fn what_members_sign_for_the_json_door_is_this_text() {
    let person = Person::new(0);
    let account: AccountId = person.account;
    let hashes = ["a", "b", "c"].map(|text| person.hash(text));
    let [a, b, c] = hashes;
    let mut order: Vec<String> = [a, b].iter().map(MessageHash::to_string).collect();
    order.sort_unstable();
    // Both were changed, however they were found; the third was not, and ends at 900.
    let listed = vec![(Namespace::INBOX, b), (Namespace(1), a)];
    let unchanged = vec![(c, 900)];
    let [first, second] = [&order[0], &order[1]];
    let token = person.friend(1, Rights::READ).token();
    let delete_in = |drawers, before| Request::Delete(person.delete_in(drawers, before, 0));
    let expire = |only| Request::Expire(person.expire(&hashes, 100, only, 0));
    let which = || Which::Hashes(hashes.to_vec());
    let month = "1702592000000";
    // Of these, the ends of the two that were changed are told, in the order of their hashes.
    let each = Ends::Each(vec![u64::MAX, ms(200), ms(100)]);
    let ends: String =
        order.iter().map(|hash| if *hash == a.to_string() { month } else { "1700000200000" }).collect();
    let end = "1700000100000";
    let changed = format!("{first}{second}");
    let cases: Vec<(Request, Vec<u8>)> = vec![
        (Request::Store(person.post("a", 0, 100)), a.to_string().into()),
        (Request::Delete(person.delete(&hashes, 0)), format!("{account}{a}{b}{c}{changed}").into()),
        (delete_in(Drawers::All, None), format!("{account}{TIME}{changed}").into()),
        (delete_in(Drawers::One(Namespace(1)), Some(100)), format!("{account}{end}{changed}").into()),
        (expire(None), format!("{account}{end}{a}{b}{c}{changed}").into()),
        (expire(Some(Direction::Extend)), format!("{account}{end}{a}{b}{c}{changed}{c}900").into()),
        (
            Request::Expire(person.expire_which(which(), each, Some(Direction::Shorten), 0)),
            format!("{account}{ends}{a}{b}{c}{changed}{c}900").into(),
        ),
        (Request::Expire(person.expire_in(Drawers::All, 100, 0)), format!("{account}{end}{changed}").into()),
        (
            Request::Revoke(person.revoke(&[token, token], 0)),
            [format!("{account}{TIME}").as_bytes(), &token.0, &token.0].concat(),
        ),
        (
            Request::Revoke(person.unrevoke(&[token], 0)),
            [format!("{account}{TIME}").as_bytes(), &token.0].concat(),
        ),
    ];
    for (request, expected) in cases {
        let text = told::text(&mutation(request.clone()), &listed, &unchanged);
        assert_eq!(text, expected, "{request:?}");
    }
}

impl Net {
    /// Has members hold so many messages that strangers sent.
    fn fill(&mut self, person: &Person, members: &[usize], count: usize) {
        for who in members {
            let (member, store) = &mut self.members[*who];
            let post = |number: usize| Mutation::Store(person.post(&number.to_string(), 0, 900));
            let mutations = (0..count).map(post).collect();
            let input = mailbox::Input::Replicated { ticket: NOBODY, mutations };
            member.mailbox.handle(self.now, input, store).unwrap();
            member.mailbox.forget_outputs();
        }
    }

    /// Has a member and the others not reach each other.
    fn part(&mut self, who: usize) {
        self.down.insert(who);
        for other in 0..self.members.len() {
            self.disconnect(who, other);
            self.disconnect(other, who);
        }
    }

    /// Stops a member, and starts it again with what is durable.
    fn restart(&mut self, who: usize) {
        let (number, count) = (u8::try_from(who).unwrap(), u8::try_from(self.members.len()).unwrap());
        self.members[who].0 = Member::new(setup(number, one_swarm(nodes(count))));
        let reached: Vec<_> = (0..self.members.len()).filter(|other| !self.down.contains(other)).collect();
        for other in reached {
            self.disconnect(other, who);
            self.connect(other, who);
            self.connect(who, other);
        }
    }

    /// How many messages a member holds that end then, in seconds.
    fn ending(&self, who: usize, end: u64) -> usize {
        let records = self.members[who].1.records();
        records.filter(|(_, _, record)| record.expiry() == Some(ms(end))).count()
    }
}

/// Deletes the inbox, as a client of the JSON door asks for it.
fn json_delete_all(person: &Person) -> Request {
    let request = Request::Delete(person.delete_in(Drawers::One(Namespace::INBOX), None, 0));
    texted(person, request, format!("delete_all{}", ms(0)).as_bytes(), 0)
}

/// Has the inbox end 500 s after [`NOW`], as a client of the JSON door asks for it.
fn json_expire_all(person: &Person) -> Request {
    let request = Request::Expire(person.expire_in(Drawers::One(Namespace::INBOX), 500, 0));
    texted(person, request, format!("expire_all{}", ms(500)).as_bytes(), 0)
}

#[test]
fn whole_drawers_are_changed_to_the_last_message_for_clients_that_ask_once() {
    let person = Person::new(0);
    let count = MAX_BULK_JSON + 300;
    // All have the messages, or one has them alone.
    for (request, end, holders) in [
        (json_delete_all(&person), None, [0, 1, 2].as_slice()),
        (json_delete_all(&person), None, [1].as_slice()),
        (json_expire_all(&person), Some(500), [0, 1, 2].as_slice()),
    ] {
        let mut net = Net::ready(3);
        net.fill(&person, holders, count);
        assert_eq!(net.request_json(0, request.clone()), None, "there is more to do");
        // What arrives now was sent after the request, if not by more than clocks may differ.
        let late = Request::Store(person.post("late", 1, 900));
        net.feed(0, Input::Request { ticket: 6, request: late, door: Door::Native });
        assert_eq!(net.answers.pop().map(|(_, ticket, _)| ticket), Some(6));
        assert_eq!(net.members[0].0.deadline(), Some(Time::ZERO), "at once, but not in the same turn");
        net.feed(0, Input::Tick);
        let (_, ticket, answer) = net.answers.pop().expect("that was the rest");
        assert_eq!(ticket, 5);
        let receipts = receipts(Some(answer.body));
        assert_eq!((receipts.signed.len(), receipts.missing.as_slice()), (3, [].as_slice()));
        for receipt in &receipts.signed {
            let holds = holders.contains(&net.place(receipt.node));
            let told = receipt.told.as_ref().expect("each tells");
            assert_eq!(told.listed.len(), if holds { MAX_BULK_JSON } else { 0 });
            let text = told::text(&mutation(request.clone()), &told.listed, &[]);
            assert!(identity::verify(receipt.node.as_bytes(), &text, &told.signature));
        }
        for who in 0..3 {
            let ended = if end.is_some() { count } else { 0 };
            assert_eq!((net.ending(who, 500), net.ending(who, 900)), (ended, 1), "member {who}");
        }
        let member = &net.members[0].0;
        assert_eq!((member.waiting(), member.bulks, member.steps.len()), (0, 0, 0));
    }
}

#[test]
fn a_member_that_is_silent_holds_up_one_step_and_a_change_of_too_many_is_refused() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.fill(&person, &[0, 1], MAX_BULK_JSON + 1);
    net.held_back.insert(2);
    assert_eq!(net.request_json(0, json_delete_all(&person)), None);
    net.now = net.now.after(writes::WAIT);
    net.feed(0, Input::Tick);
    assert!(net.answers.is_empty() && net.ending(0, 900) == 1, "one step is over");
    net.feed(0, Input::Tick);
    let (_, _, answer) = net.answers.pop().expect("a majority has the rest");
    assert_eq!(failures(&receipts(Some(answer.body))), [(2, Failure::Silent)]);
    assert_eq!((net.ending(0, 900), net.ending(1, 900)), (0, 0));
    // While many others go on.
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.fill(&person, &[0], MAX_BULK_JSON + 1);
    net.members[0].0.bulks = MAX_BULKS;
    assert_eq!(refusal(net.request_json(0, json_delete_all(&person))).code, Code::TooMany);
    net.members[0].0.bulks = 0;
    let receipts = receipts(net.request_json(0, json_delete_all(&person)));
    assert_eq!((receipts.signed.len(), net.ending(0, 900)), (3, 0), "the rest, when it is asked for again");
}

#[test]
fn a_change_that_stopped_between_two_steps_is_completed_and_nothing_comes_back() {
    let person = Person::new(0);
    let count = MAX_BULK_JSON + 300;
    for (request, ended) in [(json_delete_all(&person), 0), (json_expire_all(&person), count + 1)] {
        let mut net = Net::ready(3);
        net.fill(&person, &[0, 1], count);
        // Who cannot be reached has one more.
        net.fill(&person, &[2], count + 1);
        net.part(2);
        let left = |net: &Net| [0, 1, 2].map(|who| net.ending(who, 900));
        assert_eq!(net.request_json(0, request.clone()), None, "there is more to do");
        net.restart(0);
        net.feed(0, Input::Tick);
        assert!(net.answers.is_empty(), "nobody goes on, and nobody is told that it was done");
        assert_eq!(left(&net), [300, 300, count + 1]);
        // The client asks again, somebody else.
        let told = receipts(net.request_json(1, request.clone()));
        assert_eq!((told.signed.len(), failures(&told)), (2, vec![(2, Failure::Silent)]));
        assert_eq!(left(&net), [0, 0, count + 1]);
        // It comes back so late that it changes nothing by itself, and the others fetch what it has first.
        net.tick_all(Span::secs(200));
        net.down.clear();
        net.connect_all();
        net.tick_all(Span::secs(200));
        assert_eq!(left(&net), [1, 1, 1], "what may have arrived after the request");
        let told = receipts(net.request_json(2, request));
        assert_eq!((told.signed.len(), left(&net)), (3, [0, 0, 0]));
        let prints = net.members[0].1.fingerprints();
        for (who, (_, store)) in net.members.iter().enumerate() {
            assert_eq!((net.ending(who, 500), store.fingerprints()), (ended, prints.clone()), "member {who}");
        }
    }
}
