//! One member among others: what it takes in, whom it answers and when.

mod change;
mod door;
mod receipts;
mod swarm;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::swarm::MAX_BATCH;
use crate::{
    Namespace, Span, SwarmMap,
    answer::{Answer, Body, RULES, Refusal, SwarmInfo},
    fixture::{NOW, Person, network, node, nodes, one_swarm},
    store::{Store as _, memory::MemoryStore},
};

/// A question on its way between two members.
#[derive(Clone, Debug)]
struct Travelling {
    exchange: u64,
    from: usize,
    to: usize,
    request: SwarmRequest,
    subjects: Vec<Subject>,
}

/// Members that talk to each other through the checks, as their hosts would have them.
struct Net {
    members: Vec<(Member, MemoryStore)>,
    now: Time,
    /// Out of reach.
    down: BTreeSet<usize>,
    /// Reached, but their answers do not come yet.
    held_back: BTreeSet<usize>,
    waiting: Vec<Travelling>,
    answers: Vec<(usize, u64, Answer)>,
    /// All else that a host would do for clients.
    others: Vec<(usize, Output)>,
}

fn setup(number: u8, map: SwarmMap) -> Setup {
    let (limits, version, rules) = (Limits::default(), "1.2.3".into(), RULES);
    Setup { network: network(), pair: node(number), maps: map.into(), limits, version, rules }
}

fn member(number: u8, map: SwarmMap) -> (Member, MemoryStore) {
    (Member::new(setup(number, map)), MemoryStore::new(u64::from(number) + 1))
}

impl Net {
    fn new(count: u8) -> Self {
        let members = (0..count).map(|number| member(number, one_swarm(nodes(count)))).collect();
        Self {
            members,
            now: NOW,
            down: BTreeSet::new(),
            held_back: BTreeSet::new(),
            waiting: Vec::new(),
            answers: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Everybody is in contact and caught up.
    fn ready(count: u8) -> Self {
        let mut net = Self::new(count);
        net.connect_all();
        net.others.clear();
        assert!(net.members.iter().all(|(member, _)| member.ready()));
        net
    }

    fn connect_all(&mut self) {
        for who in 0..self.members.len() {
            for with in 0..self.members.len() {
                self.connect(who, with);
            }
        }
    }

    fn connect(&mut self, who: usize, with: usize) {
        self.feed(who, Input::Connected(node(u8::try_from(with).unwrap()).node_id()));
    }

    fn disconnect(&mut self, who: usize, with: usize) {
        self.feed(who, Input::Disconnected(node(u8::try_from(with).unwrap()).node_id()));
    }

    /// Feeds one input and carries out all that follows from it anywhere.
    fn feed(&mut self, who: usize, input: Input) {
        let (member, store) = &mut self.members[who];
        member.handle(self.now, input, store).unwrap();
        self.run();
    }

    fn run(&mut self) {
        while let Some((who, output)) =
            self.members.iter_mut().enumerate().find_map(|(who, (m, _))| Some((who, m.poll()?)))
        {
            match output {
                Output::Send { exchange, to, request, subjects } => {
                    let to = self.place(to);
                    self.travel(Travelling { exchange, from: who, to, request, subjects });
                }
                Output::Answer { ticket, answer } => self.answers.push((who, ticket, answer)),
                other => self.others.push((who, other)),
            }
        }
    }

    fn place(&self, node: NodeId) -> usize {
        self.members.iter().position(|(member, _)| member.setup.pair.node_id() == node).unwrap()
    }

    fn travel(&mut self, question: Travelling) {
        let Travelling { exchange, from, to, request, subjects } = question.clone();
        if self.down.contains(&to) {
            return self.feed_quietly(from, Input::Answered { exchange, answer: None });
        }
        if self.held_back.contains(&to) {
            return self.waiting.push(question);
        }
        let asker = self.members[from].0.setup.pair.node_id();
        let answer = self.ask(to, asker, request.clone());
        let node = self.members[to].0.setup.pair.node_id();
        let answer = Some(check_answer(&network(), self.now, node, (&request, &subjects), answer));
        self.feed_quietly(from, Input::Answered { exchange, answer });
    }

    fn feed_quietly(&mut self, who: usize, input: Input) {
        let (member, store) = &mut self.members[who];
        member.handle(self.now, input, store).unwrap();
    }

    /// Asks one member as another node, and returns its reply.
    fn ask(&mut self, to: usize, from: NodeId, request: SwarmRequest) -> SwarmAnswer {
        let ask = check_ask(&network(), self.now, request);
        let (member, store) = &mut self.members[to];
        member.handle(self.now, Input::Asked { ticket: 1, from, ask }, store).unwrap();
        let mut kept = VecDeque::new();
        let mut reply = None;
        while let Some(output) = member.poll() {
            match output {
                Output::Reply { ticket: 1, answer } => reply = Some(answer),
                other => kept.push_back(other),
            }
        }
        member.outbox = kept;
        reply.expect("every question is answered")
    }

    fn request(&mut self, who: usize, request: Request) -> Option<Body> {
        let before = self.answers.len();
        self.feed(who, Input::Request { ticket: 5, request, door: Door::Native });
        self.answers.get(before).map(|(at, ticket, answer)| {
            assert_eq!((*at, *ticket, answer.time), (who, 5, self.now.as_millis()));
            answer.body.clone()
        })
    }

    fn tick_all(&mut self, span: Span) {
        self.now = self.now.after(span);
        for who in 0..self.members.len() {
            self.feed(who, Input::Tick);
        }
    }

    fn texts(&mut self, who: usize, person: &Person) -> Vec<String> {
        let Some(Body::Messages { messages, .. }) =
            self.request(who, Request::Retrieve(person.retrieve(None)))
        else {
            panic!("not served");
        };
        messages.into_iter().map(|m| String::from_utf8(m.data.into_vec()).unwrap()).collect()
    }
}

fn refusal(body: Option<Body>) -> Refusal {
    match body {
        Some(Body::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// All kinds of requests about the mailbox of a person.
fn about(person: &Person) -> Vec<Request> {
    let hash = person.hash("a");
    vec![
        Request::Store(person.post("a", 0, 100)),
        Request::Retrieve(person.retrieve(None)),
        Request::Fetch(person.fetch(&[hash], 0)),
        Request::Delete(person.delete(&[hash], 0)),
        Request::Expire(person.expire(&[hash], 100, None, 0)),
    ]
}

#[test]
fn a_member_whose_disk_is_full_writes_nothing_and_is_read() {
    let person = Person::new(0);
    let mut net = Net::ready(3);
    assert!(matches!(net.request(0, Request::Store(person.post("a", 0, 9_000))), Some(Body::Stored { .. })));
    net.members[0].0.set_full(true);
    let head = net.members[0].1.head();
    let writes = [
        Request::Store(person.post("b", 0, 9_000)),
        Request::Delete(person.delete(&[person.hash("a")], 0)),
        Request::Expire(person.expire(&[person.hash("a")], 100, None, 0)),
    ];
    for request in writes {
        assert_eq!(refusal(net.request(0, request)).code, Code::Full);
    }
    // What the others have, it neither takes nor fetches; they are a majority without it.
    for text in ["c", "d"] {
        let stored = net.request(1, Request::Store(person.post(text, 0, 9_000)));
        let Some(Body::Stored { receipts, .. }) = stored else { panic!("{stored:?}") };
        assert_eq!(receipts.signed.len(), 2);
        net.tick_all(Span::secs(6));
    }
    assert_eq!((net.members[0].1.head(), net.texts(0, &person)), (head, vec!["a".to_owned()]));
    net.members[0].0.set_full(false);
    net.tick_all(Span::secs(200));
    net.tick_all(Span::secs(200));
    let texts: BTreeSet<_> = net.texts(0, &person).into_iter().collect();
    assert_eq!(texts, ["a", "c", "d"].map(str::to_owned).into());
}

#[test]
fn a_damaged_message_is_left_out_and_fetched_again() {
    let person = Person::new(0);
    let mut net = Net::ready(3);
    for text in ["a", "b", "c"] {
        net.request(0, Request::Store(person.post(text, 0, 9_000)));
    }
    let store = &mut net.members[0].1;
    let row = store.record(&person.account, &person.hash("b")).unwrap().unwrap().place.unwrap().row;
    store.damage_row(row);
    assert_eq!(net.texts(0, &person), ["a", "c"]);
    assert!(net.others.contains(&(0, Output::Damaged("a row"))), "it is told");
    net.others.clear();
    // The others still have it; it comes back as a new arrival, which no reader has gone past.
    net.tick_all(Span::secs(200));
    net.tick_all(Span::secs(200));
    assert_eq!(net.texts(0, &person), ["a", "c", "b"]);
    assert!(!net.others.contains(&(0, Output::Damaged("a row"))), "once");
}

#[test]
fn a_damaged_message_is_not_passed_on_and_fetched_again() {
    let person = Person::new(0);
    let mut net = Net::ready(3);
    net.down.insert(2);
    net.disconnect(0, 2);
    net.disconnect(1, 2);
    net.request(0, Request::Store(person.post("b", 0, 9_000)));
    let store = &mut net.members[0].1;
    let row = store.record(&person.account, &person.hash("b")).unwrap().unwrap().place.unwrap().row;
    store.damage_row(row);
    net.down.clear();
    net.connect_all();
    for _ in 0..3 {
        net.tick_all(Span::secs(200));
    }
    for who in 0..3 {
        assert_eq!(net.texts(who, &person), ["b"], "member {who}");
    }
}

#[test]
fn what_is_known_of_a_damaged_record_is_refused_and_nothing_else() {
    let person = Person::new(0);
    let mut net = Net::ready(3);
    for text in ["a", "b"] {
        net.request(0, Request::Store(person.post(text, 0, 9_000)));
    }
    net.members[0].1.damage_record(person.account, person.hash("a"));
    let head = net.members[0].1.head();
    for request in about(&person) {
        assert_eq!(refusal(net.request(0, request)).code, Code::Failed);
    }
    assert_eq!(net.members[0].1.head(), head, "nothing was half done");
    net.others.clear();
    assert!(matches!(net.request(0, Request::Store(person.post("c", 0, 9_000))), Some(Body::Stored { .. })));
    assert_eq!(net.texts(1, &person), ["a", "b", "c"], "the others serve all of it");
    // Forgetting passes it by.
    let (member, store) = &mut net.members[0];
    member.handle(NOW.after(Span::secs(9_001)), Input::Tick, store).unwrap();
    assert_eq!(store.fingerprints().iter().map(|(_, print)| print.count).sum::<u64>(), 1);
}

#[test]
fn an_account_whose_sums_are_damaged_holds_up_no_other() {
    let (person, other) = (Person::new(0), Person::new(1));
    let mut net = Net::ready(3);
    for who in [&person, &other] {
        net.request(0, Request::Store(who.post("a", 0, 100)));
        net.request(0, Request::Store(who.post("b", 0, 100)));
    }
    net.members[0].1.damage_usage(person.account);
    let (hash, later) = (person.hash("a"), Request::Store(person.post("c", 0, 9_000)));
    assert_eq!(refusal(net.request(0, later)).code, Code::Failed);
    assert_eq!(refusal(net.request(0, Request::Delete(person.delete(&[hash], 0)))).code, Code::Failed);
    let stored = net.request(0, Request::Store(other.post("c", 0, 100)));
    assert!(matches!(stored, Some(Body::Stored { .. })), "{stored:?}");
    assert_eq!(net.texts(0, &person), ["a", "b"]);
    // What has ended of the others is forgotten, and the machine rests.
    let (member, store) = &mut net.members[0];
    let end = NOW.after(Span::secs(101));
    member.handle(end, Input::Tick, store).unwrap();
    assert_eq!(store.records().filter(|(account, ..)| **account == other.account).count(), 0);
    assert_eq!(store.records().count(), 2);
    assert!(member.deadline().unwrap() > end);
}

#[test]
fn a_damaged_message_of_a_damaged_account_is_refused_and_fails_no_batch() {
    let person = Person::new(0);
    let mut net = Net::ready(3);
    net.request(0, Request::Store(person.post("a", 0, 9_000)));
    let store = &mut net.members[0].1;
    let row = store.record(&person.account, &person.hash("a")).unwrap().unwrap().place.unwrap().row;
    store.damage_row(row);
    store.damage_usage(person.account);
    assert_eq!(refusal(net.request(0, Request::Retrieve(person.retrieve(None)))).code, Code::Failed);
    let damage = net.others.iter().filter(|(_, output)| matches!(output, Output::Damaged(_))).count();
    assert_eq!(damage, 2, "once for the row, once for the account");
    assert_eq!(net.texts(1, &person), ["a"], "the others serve it");
}

#[test]
fn no_member_may_ask_without_end_about_anothers_store() {
    let mut net = Net::ready(3);
    let ask = SwarmRequest::new(3, Ask::Fingerprints);
    let other = node(1).node_id();
    let answered = (0..COMPARISONS.burst)
        .filter(|_| matches!(net.ask(0, other, ask.clone()), SwarmAnswer::Fingerprints { .. }));
    let answered = answered.count();
    assert!(answered > 7_000);
    assert_eq!(net.ask(0, other, ask.clone()), SwarmAnswer::Refused { code: Code::TooMany });
    let third = node(2).node_id();
    assert!(matches!(net.ask(0, third, ask.clone()), SwarmAnswer::Fingerprints { .. }), "each by itself");
    net.now = net.now.after(Span::secs(1));
    assert!(matches!(net.ask(0, other, ask), SwarmAnswer::Fingerprints { .. }));
}

#[test]
fn a_batch_that_is_void_leaves_a_member_that_goes_on() {
    let person = Person::new(0);
    let mut net = Net::ready(3);
    net.request(0, Request::Store(person.post("a", 0, 9_000)));
    let (member, store) = &mut net.members[0];
    let durable = store.clone();
    let request = Request::Store(person.post("b", 0, 9_000));
    member.handle(NOW, Input::Request { ticket: 9, request, door: Door::Native }, store).unwrap();
    let subscribe = Input::Subscribe { subscriber: 1, retrieve: person.retrieve(None) };
    member.handle(NOW, subscribe, store).unwrap();
    *store = durable;
    member.resume(NOW);
    assert_eq!(
        (member.poll(), member.waiting(), member.subscriptions(), member.under_way()),
        (None, 0, 0, 0)
    );
    assert_eq!((member.ready(), member.current()), (true, 2), "what was compared before still counts");
    assert_eq!(net.texts(0, &person), ["a"]);
    assert!(matches!(net.request(0, Request::Store(person.post("b", 0, 9_000))), Some(Body::Stored { .. })));
    net.tick_all(Span::secs(6));
    assert!(net.answers.iter().all(|(_, ticket, _)| *ticket != 9));
}

#[test]
fn a_comparison_that_ended_in_a_void_batch_does_not_count() {
    let mut net = Net::ready(3);
    net.disconnect(0, 1);
    assert_eq!(net.members[0].0.current(), 1);
    // Both sides hold nothing, so one answer ends the comparison.
    let (member, store) = &mut net.members[0];
    member.handle(NOW, Input::Connected(node(1).node_id()), store).unwrap();
    let Some(Output::Send { exchange, .. }) = member.poll() else { panic!("it asks") };
    let nothing = CheckedAnswer::Other(SwarmAnswer::Fingerprints { buckets: vec![], incomplete: vec![] });
    member.handle(NOW, Input::Answered { exchange, answer: Some(nothing) }, store).unwrap();
    assert_eq!(member.current(), 2);
    member.resume(NOW);
    assert_eq!(member.current(), 1);
    net.tick_all(Span::secs(2));
    assert_eq!(net.members[0].0.current(), 2, "it is made again");
}

#[test]
fn another_swarms_account_is_turned_away_to_the_right_swarm() {
    let person = Person::new(0);
    // The swarm at the account's own place keeps it, the other one stands opposite.
    let place = crate::ring::position(&person.account);
    let (near, far) = (SwarmId(place), SwarmId(place ^ (1 << 63)));
    let map = SwarmMap { version: 3, swarms: [(near, vec![nodes(2)[1]]), (far, vec![nodes(1)[0]])].into() };
    let right = SwarmInfo { map_version: 3, id: near, members: vec![nodes(2)[1]] };
    for number in [0, 5] {
        let mut net = Net::new(0);
        net.members.push(member(number, map.clone()));
        for request in about(&person) {
            let refused = refusal(net.request(0, request.clone()));
            let expected = Refusal { code: Code::WrongSwarm, swarm: Some(right.clone()), receipts: None };
            assert_eq!(refused, expected, "node {number}: {request:?}");
        }
        net.feed(0, Input::Subscribe { subscriber: 1, retrieve: person.retrieve(None) });
        let answer = Subscribed::Refused { code: Code::WrongSwarm };
        assert_eq!(net.others, [(0, Output::Subscribed { subscriber: 1, answer })]);
        // Who keeps it, anybody says, ready or not.
        let asked = net.request(0, Request::GetSwarm { account: person.account });
        assert_eq!(asked, Some(Body::Swarm(right.clone())));
        assert_eq!(
            net.request(0, Request::Info),
            Some(Body::Info { version: "1.2.3".into(), rules: [22, 0], height: 0 })
        );
    }
    // Its own account it serves.
    let mut net = Net::new(0);
    net.members.push(member(1, map));
    assert!(matches!(net.request(0, about(&person).remove(0)), Some(Body::Stored { .. })));
}

#[test]
fn without_a_map_nothing_is_known() {
    let mut net = Net::new(0);
    net.members.push(member(0, SwarmMap::default()));
    assert!(!net.members[0].0.ready());
    let person = Person::new(0);
    let refused = refusal(net.request(0, about(&person).remove(0)));
    assert_eq!(refused, Refusal { code: Code::WrongSwarm, swarm: None, receipts: None });
    let asked = net.request(0, Request::GetSwarm { account: person.account });
    assert_eq!(refusal(asked).code, Code::NotReady);
}

#[test]
fn a_member_that_is_not_caught_up_serves_nobody() {
    let (mut net, person) = (Net::new(3), Person::new(0));
    for request in about(&person) {
        let refused = refusal(net.request(0, request));
        assert_eq!(refused, Refusal { code: Code::NotReady, swarm: None, receipts: None });
    }
    net.feed(0, Input::Subscribe { subscriber: 1, retrieve: person.retrieve(None) });
    let answer = Subscribed::Refused { code: Code::NotReady };
    assert_eq!(net.others, [(0, Output::Subscribed { subscriber: 1, answer })]);
    net.connect(0, 1);
    assert_eq!(net.texts(0, &person), [""; 0], "with one of the two others it is a majority");
    assert_eq!(net.members[0].0.current(), 1);
    net.disconnect(0, 1);
    assert_eq!(refusal(net.request(0, about(&person).remove(1))).code, Code::NotReady);
}

#[test]
fn a_client_is_answered_when_a_majority_is_durable_and_not_before() {
    let (mut net, person) = (Net::ready(5), Person::new(0));
    net.held_back.extend(1..5);
    assert_eq!(net.request(0, Request::Store(person.post("a", 0, 100))), None);
    assert_eq!((net.members[0].0.waiting(), net.waiting.len()), (1, 4));
    for answered in 1..=2 {
        assert!(net.answers.is_empty(), "{answered} of 5");
        let question = net.waiting.remove(0);
        net.held_back.remove(&question.to);
        net.travel(question);
        net.run();
    }
    let Some((0, 5, Answer { body: Body::Stored { hash, already: false, receipts }, .. })) =
        net.answers.pop()
    else {
        panic!("{:?}", net.answers);
    };
    assert_eq!(hash, person.hash("a"));
    let subject = Subject::Message { account: person.account, namespace: Namespace::INBOX, hash };
    assert_eq!(durable(&network(), &nodes(5), &subject, &receipts), 3);
    assert!(is_majority(3, &nodes(5)) && !is_majority(2, &nodes(5)));
    // The last two come too late to matter, and the answer is not repeated.
    for question in std::mem::take(&mut net.waiting) {
        net.held_back.clear();
        net.travel(question);
        net.run();
    }
    assert!(net.answers.is_empty());
    assert_eq!(net.members[0].0.waiting(), 0);
}

#[test]
fn a_repeat_says_that_it_was_known() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    for (who, known) in [(0, false), (0, true), (1, true)] {
        let stored = net.request(who, Request::Store(person.post("a", 0, 100)));
        assert!(matches!(stored, Some(Body::Stored { already, .. }) if already == known));
    }
}

#[test]
fn deletions_and_changes_are_answered_with_receipts_of_their_own() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.request(0, Request::Store(person.post("a", 0, 100)));
    let expire = person.expire(&[person.hash("a")], 50, None, 0);
    let delete = person.delete(&[person.hash("a")], 0);
    let digests = [
        expire.statement(&network(), expire.auth.time).digest(),
        delete.statement(&network(), delete.auth.time).digest(),
    ];
    for (request, digest) in [Request::Expire(expire), Request::Delete(delete)].into_iter().zip(digests) {
        let Some(Body::Changed { receipts }) = net.request(1, request) else { panic!("not done") };
        let subject = Subject::Request { account: person.account, digest };
        assert!(is_majority(durable(&network(), &nodes(3), &subject, &receipts), &nodes(3)));
        for receipt in &receipts.signed {
            assert_eq!(receipt.done, crate::answer::Done::Changed { hashes: vec![person.hash("a")] });
        }
    }
    for who in 0..3 {
        assert_eq!(net.texts(who, &person), [""; 0]);
    }
}

#[test]
fn a_write_without_a_majority_lists_who_has_it() {
    let (mut net, person) = (Net::ready(5), Person::new(0));
    net.down.extend([1, 2, 3]);
    let refused = refusal(net.request(0, Request::Store(person.post("a", 0, 100))));
    assert_eq!((refused.code, refused.swarm), (Code::NotReady, None));
    let hash = person.hash("a");
    let subject = Subject::Message { account: person.account, namespace: Namespace::INBOX, hash };
    let receipts = refused.receipts.unwrap();
    assert_eq!(durable(&network(), &nodes(5), &subject, &receipts), 2);
    // Repeating is safe, and counts once the others are back.
    net.down.clear();
    net.tick_all(Span::secs(1));
    let Some(Body::Stored { already: true, receipts, .. }) =
        net.request(0, Request::Store(person.post("a", 0, 100)))
    else {
        panic!("not stored");
    };
    assert!(durable(&network(), &nodes(5), &subject, &receipts) >= 3);
}

#[test]
fn a_write_that_nobody_answers_ends_in_time() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.held_back.extend([1, 2]);
    assert_eq!(net.request(0, Request::Store(person.post("a", 0, 100))), None);
    let due = net.members[0].0.deadline().unwrap();
    assert!(due <= NOW.after(writes::WAIT));
    net.tick_all(writes::WAIT);
    let (_, _, answer) = net.answers.pop().unwrap();
    let receipts = refusal(Some(answer.body)).receipts.unwrap();
    assert_eq!(receipts.signed.len(), 1);
    assert_eq!(net.members[0].0.waiting(), 0);
}

#[test]
fn a_full_mailbox_refuses_before_anybody_else_hears() {
    let person = Person::new(0);
    let mut net = Net::ready(3);
    let limits = Limits { bytes: 10, account_bytes: 10 };
    net.members[0].0 = Member::new(Setup { limits, ..setup(0, one_swarm(nodes(3))) });
    net.connect(0, 1);
    net.held_back.extend([1, 2]);
    assert_eq!(refusal(net.request(0, about(&person).remove(0))).code, Code::Full);
    assert!(net.waiting.is_empty());
}

#[test]
fn a_subscriber_hears_of_what_others_passed_on_too() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.feed(0, Input::Subscribe { subscriber: 9, retrieve: person.retrieve(None) });
    let push =
        |after| Output::Push { subscriber: 9, account: person.account, namespace: Namespace::INBOX, after };
    let expiry = NOW.after(notify::LIFETIME).as_millis();
    let accepted = Output::Subscribed { subscriber: 9, answer: Subscribed::Until { expiry } };
    assert_eq!(std::mem::take(&mut net.others), [(0, accepted), (0, push(None))]);
    assert_eq!(net.members[0].0.subscriptions(), 1);
    let start = Cursor { incarnation: 1, sequence: 0 };
    net.feed(0, Input::Pushed { subscriber: 9, cursor: start, more: false });
    assert_eq!(net.others, []);
    // A client stores at another member.
    net.request(1, Request::Store(person.post("a", 0, 100)));
    assert_eq!(std::mem::take(&mut net.others), [(0, push(Some(start)))]);
    let next = Cursor { incarnation: 1, sequence: 1 };
    net.feed(0, Input::Pushed { subscriber: 9, cursor: next, more: false });
    // And what is fetched by repair arrives as well.
    net.down.insert(0);
    net.request(1, Request::Store(person.post("b", 0, 100)));
    assert_eq!(net.others, []);
    net.down.clear();
    net.tick_all(Span::secs(1));
    assert!(net.others.contains(&(0, push(Some(next)))), "{:?}", net.others);
    // A stranger's mailbox is nobody's news, and who left hears nothing.
    net.others.clear();
    net.feed(0, Input::Unsubscribe { subscriber: 9 });
    net.request(1, Request::Store(person.post("c", 0, 100)));
    net.request(1, Request::Store(Person::new(1).post("c", 0, 100)));
    assert_eq!((net.others.as_slice(), net.members[0].0.subscriptions()), ([].as_slice(), 0));
}

#[test]
fn a_member_that_was_away_catches_up_and_is_served_from() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.request(0, Request::Store(person.post("before", 0, 100)));
    for who in 0..2 {
        net.disconnect(who, 2);
        net.disconnect(2, who);
    }
    net.down.insert(2);
    net.request(0, Request::Store(person.post("meanwhile", 0, 100)));
    net.request(0, Request::Delete(person.delete(&[person.hash("before")], 0)));
    net.down.clear();
    assert_eq!(refusal(net.request(2, about(&person).remove(1))).code, Code::NotReady);
    net.connect(2, 0);
    assert_eq!(net.texts(2, &person), ["meanwhile"]);
    let fetched = net.others.iter().find_map(|(who, output)| match output {
        Output::Reconciled { fetched, .. } if *who == 2 => Some(*fetched),
        _ => None,
    });
    assert_eq!(fetched, Some(2));
    assert_eq!(net.members[2].1.fingerprints(), net.members[0].1.fingerprints());
}

#[test]
fn what_has_ended_is_forgotten_while_time_passes() {
    let (mut net, person) = (Net::ready(3), Person::new(0));
    net.request(0, Request::Store(person.post("a", 0, 100)));
    net.tick_all(Span::secs(99));
    assert_eq!(net.members[1].1.records().count(), 1);
    assert!(net.members[1].0.deadline().unwrap() <= net.now.after(FORGET_EVERY));
    net.tick_all(FORGET_EVERY);
    assert!(net.members.iter().all(|(_, store)| store.records().count() == 0));
}

#[test]
fn a_subscription_ends_unless_it_is_renewed() {
    let (mut net, person) = (Net::ready(1), Person::new(0));
    net.feed(0, Input::Subscribe { subscriber: 9, retrieve: person.retrieve(None) });
    net.others.clear();
    net.tick_all(notify::LIFETIME);
    let answer = Subscribed::Refused { code: Code::Clock };
    assert_eq!(net.others, [(0, Output::Subscribed { subscriber: 9, answer })]);
    assert_eq!(net.members[0].0.subscriptions(), 0);
}
