//! Swarms whose maps change.

use super::*;
use crate::ring::position;

const OLD: [usize; 3] = [0, 1, 2];
const NEW: [usize; 3] = [3, 4, 5];

fn pick(members: &[usize]) -> Vec<NodeId> {
    members.iter().map(|member| nodes(8)[*member]).collect()
}

/// A map of two swarms; the first keeps the person's account.
fn two_swarms(version: u64, person: &Person, first: &[usize], second: &[usize]) -> SwarmMap {
    let place = position(&person.account);
    let swarms = [(SwarmId(place), pick(first)), (SwarmId(place ^ (1 << 63)), pick(second))];
    SwarmMap { version, swarms: swarms.into() }
}

/// The person's account moves from [`OLD`] to [`NEW`].
fn before(person: &Person) -> SwarmMap {
    two_swarms(3, person, &OLD, &NEW)
}

fn after(person: &Person) -> SwarmMap {
    two_swarms(4, person, &NEW, &OLD)
}

fn known(person: &Person) -> Maps {
    Maps { past: None, acts: before(person), next: Some(after(person)), leaving: BTreeSet::new() }
}

fn acting(person: &Person) -> Maps {
    Maps { past: Some(before(person)), acts: after(person), next: None, leaving: BTreeSet::new() }
}

/// Six members in contact and caught up, by the first map.
fn settled(person: &Person) -> Net {
    let mut net = Net::new(0);
    net.members = (0..6).map(|number| member(number, before(person))).collect();
    net.connect_all();
    net.others.clear();
    net
}

fn tell(net: &mut Net, maps: &Maps) {
    for who in 0..net.members.len() {
        net.feed(who, Input::Maps(maps.clone()));
    }
}

/// Lets comparisons and handovers come to their end.
fn rest(net: &mut Net) {
    for _ in 0..400 {
        net.tick_all(Span::secs(1));
    }
}

fn holds(net: &Net, person: &Person, text: &str) -> Vec<usize> {
    let has = |(_, store): &&(Member, MemoryStore)| {
        store.record(&person.account, &person.hash(text)).unwrap().is_some()
    };
    let members = net.members.iter().enumerate();
    members.filter(|(_, member)| has(member)).map(|(place, _)| place).collect()
}

fn stored(body: Option<Body>) -> Receipts {
    match body {
        Some(Body::Stored { receipts, .. }) => receipts,
        other => panic!("not stored: {other:?}"),
    }
}

#[test]
fn a_moved_account_is_pulled_before_the_map_acts_and_forgotten_after() {
    let person = Person::new(0);
    let mut net = settled(&person);
    stored(net.request(0, Request::Store(person.post("a", 0, 9_000))));
    assert_eq!(holds(&net, &person, "a"), OLD);
    tell(&mut net, &known(&person));
    rest(&mut net);
    assert_eq!(holds(&net, &person, "a"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(net.texts(0, &person), ["a"], "old owners serve until the map acts");
    let read = || Request::Retrieve(person.retrieve_at(None, None, None, 0));
    assert_eq!(refusal(net.request(3, read())).code, Code::WrongSwarm);

    tell(&mut net, &acting(&person));
    for who in NEW {
        assert!(net.members[who].0.ready(), "there is no interruption");
        assert_eq!(net.texts(who, &person), ["a"]);
    }
    let refused = refusal(net.request(0, read()));
    let named = refused.swarm.unwrap();
    assert_eq!((refused.code, named.map_version, named.members), (Code::WrongSwarm, 4, pick(&NEW)));
    rest(&mut net);
    assert_eq!(holds(&net, &person, "a"), NEW);
    assert!(net.members.iter().all(|(member, _)| !member.handing_over()));
    assert!(net.members[0].1.fingerprints().is_empty());
    assert_eq!(net.members[0].1.usage(&person.account).unwrap(), Default::default());
    assert_eq!(net.members[0].1.occupied(), 0);
}

#[test]
fn what_nobody_pulled_is_pushed_and_nothing_goes_before_a_majority_has_it() {
    let person = Person::new(0);
    let mut net = settled(&person);
    for text in ["a", "b", "c"] {
        stored(net.request(0, Request::Store(person.post(text, 0, 9_000))));
    }
    net.request(0, Request::Delete(person.delete(&[person.hash("b")], 1)));
    net.request(0, Request::Expire(person.expire(&[person.hash("c")], 8_000, None, 1)));
    // The new owners hear of nothing and pull nothing; one of them can be reached.
    net.members.iter_mut().take(3).for_each(|(member, _)| member.change(NOW, acting(&person)));
    net.members.iter_mut().skip(3).for_each(|(member, _)| {
        let setup = Setup { maps: after(&person).into(), ..member.setup.clone() };
        *member = Member::new(setup);
    });
    net.down.extend([3, 4]);
    rest(&mut net);
    for text in ["a", "b", "c"] {
        assert_eq!(holds(&net, &person, text), [0, 1, 2, 5], "{text} is at one of three");
    }
    net.down.remove(&4);
    rest(&mut net);
    assert_eq!(holds(&net, &person, "a"), [4, 5], "two of three are enough");
    let store = &net.members[5].1;
    let record = |text| store.record(&person.account, &person.hash(text)).unwrap().unwrap();
    assert!(record("b").deleted() && record("c").counting_change().is_some(), "their states too");
}

#[test]
fn what_one_new_owner_has_confirmed_is_not_lost_with_its_disk() {
    let person = Person::new(0);
    let mut net = settled(&person);
    stored(net.request(0, Request::Store(person.post("a", 0, 9_000))));
    // Two of the three new owners cannot be reached, and hear of nothing.
    net.down.extend([3, 4]);
    for maps in [known(&person), acting(&person)] {
        for who in [0, 1, 2, 5] {
            net.feed(who, Input::Maps(maps.clone()));
        }
        rest(&mut net);
    }
    assert_eq!(holds(&net, &person, "a"), [0, 1, 2, 5]);
    assert!(net.members[0].0.handing_over());
    net.members[5] = (Member::new(setup(5, after(&person))), MemoryStore::new(99));
    net.down.clear();
    tell(&mut net, &acting(&person));
    net.connect_all();
    rest(&mut net);
    assert_eq!(holds(&net, &person, "a"), NEW);
}

#[test]
fn a_restart_finds_again_what_is_foreign() {
    let person = Person::new(0);
    let mut net = settled(&person);
    stored(net.request(0, Request::Store(person.post("a", 0, 9_000))));
    tell(&mut net, &known(&person));
    rest(&mut net);
    tell(&mut net, &acting(&person));
    // Before anything was handed over, and the border after that has come.
    let setup = Setup { maps: after(&person).into(), ..net.members[0].0.setup.clone() };
    net.members[0].0 = Member::new(setup);
    assert!(net.members[0].0.handing_over());
    net.connect_all();
    rest(&mut net);
    assert_eq!(holds(&net, &person, "a"), NEW);
    assert!(!net.members[0].0.handing_over());
}

#[test]
fn a_node_that_leaves_hands_everything_over() {
    let person = Person::new(0);
    let mut net = settled(&person);
    stored(net.request(0, Request::Store(person.post("a", 0, 9_000))));
    let left = two_swarms(4, &person, &[1, 2, 3], &[4, 5]);
    tell(
        &mut net,
        &Maps { past: None, acts: before(&person), next: Some(left.clone()), leaving: BTreeSet::new() },
    );
    rest(&mut net);
    tell(&mut net, &Maps { past: Some(before(&person)), acts: left, next: None, leaving: BTreeSet::new() });
    assert_eq!((net.members[0].0.swarm(), net.members[0].0.handing_over()), (None, true));
    rest(&mut net);
    assert_eq!((holds(&net, &person, "a"), net.members[0].0.handing_over()), (vec![1, 2, 3], false));
}

#[test]
fn a_write_while_the_swarm_changes_wants_both_majorities() {
    let person = Person::new(0);
    let mut net = settled(&person);
    tell(&mut net, &known(&person));
    rest(&mut net);
    net.down.extend([4, 5]);
    let refused = refusal(net.request(0, Request::Store(person.post("a", 0, 9_000))));
    assert_eq!(refused.code, Code::NotReady);
    assert_eq!(refused.receipts.unwrap().signed, [], "they would count to a majority of the old");
    net.down.remove(&5);
    net.tick_all(Span::secs(1));
    let receipts = stored(net.request(0, Request::Store(person.post("a", 0, 9_000))));
    let subject =
        Subject::Message { account: person.account, namespace: Namespace::INBOX, hash: person.hash("a") };
    assert_eq!((receipts.map_version, receipts.signed.len()), (3, 3), "those of the acting members");
    assert_eq!(durable(&network(), &pick(&OLD), &subject, &receipts), 3);
    // The old majority is wanted as well.
    net.tick_all(Span::secs(1));
    net.down = [1, 2].into();
    let refused = refusal(net.request(0, Request::Store(person.post("b", 0, 9_000))));
    assert_eq!(refused.code, Code::NotReady);
}

#[test]
fn a_write_under_way_at_the_border_is_judged_by_what_it_began_with() {
    let person = Person::new(0);
    let mut net = settled(&person);
    tell(&mut net, &known(&person));
    rest(&mut net);
    net.held_back.extend([1, 2, 3, 4, 5]);
    net.request(0, Request::Store(person.post("a", 0, 9_000)));
    net.held_back.clear();
    tell(&mut net, &acting(&person));
    for question in std::mem::take(&mut net.waiting) {
        net.travel(question);
        net.run();
    }
    let (_, _, answer) = net.answers.pop().unwrap();
    let receipts = stored(Some(answer.body));
    assert_eq!((receipts.map_version, receipts.signed.len() >= 2), (3, true));
}

#[test]
fn a_new_owner_serves_nobody_before_it_has_pulled() {
    let person = Person::new(0);
    let mut net = settled(&person);
    stored(net.request(0, Request::Store(person.post("a", 0, 9_000))));
    net.down.extend([0, 1]);
    tell(&mut net, &known(&person));
    rest(&mut net);
    tell(&mut net, &acting(&person));
    rest(&mut net);
    assert!(NEW.iter().all(|who| !net.members[*who].0.ready()), "one old owner of three is not enough");
    net.down.clear();
    // They are asked again within seconds.
    for _ in 0..30 {
        net.tick_all(Span::secs(1));
    }
    assert!(NEW.iter().all(|who| net.members[*who].0.ready()));
    assert_eq!(net.texts(3, &person), ["a"]);
}

#[test]
fn who_comes_late_takes_complete_fellows_for_the_old_owners() {
    let person = Person::new(0);
    let mut net = settled(&person);
    stored(net.request(0, Request::Store(person.post("a", 0, 9_000))));
    net.down.insert(3);
    for who in [0, 1, 2, 4, 5] {
        net.feed(who, Input::Maps(known(&person)));
    }
    rest(&mut net);
    for who in [0, 1, 2, 4, 5] {
        net.feed(who, Input::Maps(acting(&person)));
    }
    rest(&mut net);
    assert_eq!(holds(&net, &person, "a"), [4, 5]);
    // The old owners are gone, and it starts anew.
    net.down = [0, 1, 2].into();
    net.members[3] = member(3, before(&person));
    net.members[3].0 = Member::new(Setup { maps: acting(&person), ..net.members[3].0.setup.clone() });
    assert!(!net.members[3].0.ready());
    net.connect(3, 4);
    net.connect(3, 5);
    rest(&mut net);
    assert!(net.members[3].0.ready() && holds(&net, &person, "a") == NEW);
}

#[test]
fn who_stays_with_its_territory_stays_ready() {
    let person = Person::new(0);
    let mut net = settled(&person);
    stored(net.request(0, Request::Store(person.post("a", 0, 9_000))));
    let next = two_swarms(4, &person, &[0, 1, 3], &[2, 4, 5]);
    net.down.extend([2, 3]);
    let maps = Maps { past: None, acts: before(&person), next: Some(next.clone()), leaving: BTreeSet::new() };
    let ready = |net: &Net| net.members[0].0.ready() && net.members[1].0.ready();
    for maps in [
        maps,
        Maps { past: Some(before(&person)), acts: next.clone(), next: None, leaving: BTreeSet::new() },
        next.into(),
    ] {
        for who in [0, 1, 4, 5] {
            net.feed(who, Input::Maps(maps.clone()));
            assert!(ready(&net), "{maps:?}");
        }
        net.tick_all(Span::secs(1));
        assert!(ready(&net));
    }
}

#[test]
fn who_does_not_know_a_map_gets_no_receipts_by_an_older_one() {
    let person = Person::new(0);
    let mut net = settled(&person);
    net.feed(0, Input::Maps(known(&person)));
    let post = || Ask::Replicate { mutations: vec![Mutation::Store(person.post("a", 0, 100))], json: vec![] };
    let asker = node(1).node_id();
    let answer = net.ask(0, asker, SwarmRequest::new(3, post()));
    assert_eq!(answer, SwarmAnswer::Refused { code: Code::NotReady });
    let knows = SwarmRequest { newest: Some(4), ..SwarmRequest::new(3, post()) };
    assert!(matches!(net.ask(0, asker, knows.clone()), SwarmAnswer::Replicated { .. }));
    // By a map that acts no more too, but no comparison.
    net.feed(0, Input::Maps(acting(&person)));
    assert!(matches!(net.ask(0, asker, knows), SwarmAnswer::Replicated { .. }));
    for version in [3, 4] {
        let answer = net.ask(0, asker, SwarmRequest::new(version, Ask::Fingerprints));
        assert_eq!(answer == SwarmAnswer::Refused { code: Code::WrongSwarm }, version == 3, "{answer:?}");
    }
}

#[test]
fn a_comparison_is_about_the_askers_own_accounts_alone() {
    let (person, other) = (Person::new(0), Person::new(1));
    let mut net = settled(&person);
    assert_ne!(before(&person).swarm_of(&person.account), before(&person).swarm_of(&other.account));
    net.feed(0, Input::Maps(known(&person)));
    let store = &mut net.members[0].1;
    let mut mailbox = Mailbox::new(network(), Limits::default());
    for one in [&person, &other] {
        let mutations = vec![Mutation::Store(one.post("a", 0, 9_000))];
        mailbox.handle(NOW, mailbox::Input::Replicated { ticket: 0, mutations }, store).unwrap();
    }
    let counts = |answer: SwarmAnswer| match answer {
        SwarmAnswer::Fingerprints { buckets, .. } => buckets.iter().map(|bucket| bucket.count).sum(),
        _ => 99,
    };
    let ask = |version, arc| SwarmRequest { arc, ..SwarmRequest::new(version, Ask::Fingerprints) };
    let territory = |version: u64, who: usize| known(&person).arcs(&nodes(8)[who])[&version];
    for (from, request, expected) in [
        (1, ask(3, None), 1),
        (1, ask(3, Some(territory(3, 1))), 1),
        (1, ask(3, Some(territory(4, 1))), 99),
        (3, ask(4, None), 1),
        (3, ask(4, Some(territory(4, 1))), 99),
        (3, ask(5, None), 99),
    ] {
        let answer = net.ask(0, node(from).node_id(), request.clone());
        assert_eq!(counts(answer), expected, "{from}: {request:?}");
    }
}

#[test]
fn subscribers_of_a_moved_account_are_sent_away() {
    let person = Person::new(0);
    let mut net = settled(&person);
    net.feed(0, Input::Subscribe { subscriber: 9, retrieve: person.retrieve(None) });
    tell(&mut net, &known(&person));
    assert_eq!(net.members[0].0.subscriptions(), 1);
    tell(&mut net, &acting(&person));
    let answer = Subscribed::Refused { code: Code::WrongSwarm };
    assert!(net.others.contains(&(0, Output::Subscribed { subscriber: 9, answer })));
    assert_eq!(net.members[0].0.subscriptions(), 0);
}

#[test]
fn maps_go_forward_alone() {
    let person = Person::new(0);
    let mut net = settled(&person);
    tell(&mut net, &acting(&person));
    let told = net.others.len();
    tell(&mut net, &acting(&person));
    tell(&mut net, &known(&person));
    assert_eq!((net.members[0].0.maps(), net.others.len()), (&acting(&person), told));
}
