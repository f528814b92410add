//! What each request does to one mailbox.

mod accounting;
mod convergence;
mod drawers;
mod outbox;
mod revocations;

use super::*;
use crate::{
    Span,
    answer::{Body, MAX_PAGE, MAX_PAGE_COUNT, Message},
    fixture::{NOW, Person, at, change, deletion, ms, mutation, network, texted},
    fuzz::recount,
    record::{HASH_COST, RECORD_COST, SHED_AFTER},
    request::{self, Cursor, Direction, Drawers, Fetch, Ids, Request, Retrieve},
    store::memory::MemoryStore,
};

/// A mailbox over a store in memory.
#[derive(Debug)]
struct Keeper {
    machine: Mailbox,
    store: MemoryStore,
}

impl Keeper {
    fn new(incarnation: u64) -> Self {
        Self::limited(incarnation, Limits::default())
    }

    fn limited(incarnation: u64, limits: Limits) -> Self {
        Self { machine: Mailbox::new(network(), limits), store: MemoryStore::new(incarnation) }
    }

    fn feed(&mut self, now: Time, input: Input) -> Vec<Output> {
        self.machine.handle(now, input, &mut self.store).unwrap();
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    /// A client's request: what was done, whether it was known before, what is passed on.
    fn write(&mut self, now: Time, mutation: Mutation) -> Result<(Done, bool, Mutation), Code> {
        let outputs = self.feed(now, Input::Write { ticket: 7, mutation });
        let mut answers = outputs.into_iter().filter_map(|output| match output {
            Output::Written { ticket: 7, mutation, outcome, .. } => {
                Some(Ok((outcome.done, outcome.already, mutation)))
            }
            Output::Refused { ticket: 7, code, .. } => Some(Err(code)),
            Output::Arrived { .. } | Output::Revoked { .. } => None,
            other => panic!("unexpected {other:?}"),
        });
        let answer = answers.next().expect("every write is answered");
        assert!(answers.next().is_none(), "answered once");
        answer
    }

    fn store(&mut self, now: Time, request: StoreRequest) -> Result<(u64, bool), Code> {
        self.write(now, Mutation::Store(request)).map(|(done, already, _)| match done {
            Done::Keeps { expiry } => (expiry, already),
            Done::Changed { .. } => panic!("not a store's result"),
        })
    }

    fn changed(&mut self, now: Time, mutation: Mutation) -> Vec<MessageHash> {
        match self.write(now, mutation) {
            Ok((Done::Changed { hashes }, false, _)) => hashes,
            other => panic!("unexpected {other:?}"),
        }
    }

    fn replicate(&mut self, now: Time, mutations: Vec<Mutation>) -> Vec<Result<Done, Code>> {
        let outputs = self.feed(now, Input::Replicated { ticket: 8, mutations });
        let results = outputs.into_iter().find_map(|output| match output {
            Output::Applied { ticket: 8, results } => Some(results),
            _ => None,
        });
        results.unwrap().into_iter().map(|(_, _, result)| result.map(|outcome| outcome.done)).collect()
    }

    fn page(&self, now: Time, request: &Retrieve) -> (Vec<String>, bool, Cursor) {
        match retrieve(&self.store, now, request, Door::Native).unwrap() {
            Body::Messages { messages, more, cursor } => {
                let text = |message: Message| String::from_utf8(message.data.into_vec()).unwrap();
                (messages.into_iter().map(text).collect(), more, cursor)
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn texts(&self, now: Time, person: &Person) -> Vec<String> {
        self.page(now, &person.retrieve(None)).0
    }
}

#[test]
fn a_message_is_kept_once_and_a_repeat_only_extends_it() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let arrived =
        |outputs: &[Output]| outputs.iter().filter(|output| matches!(output, Output::Arrived { .. })).count();
    let write = |request| Input::Write { ticket: 1, mutation: Mutation::Store(request) };
    let first = keeper.feed(NOW, write(person.post("hi", 0, 100)));
    assert_eq!(arrived(&first), 1);
    let repeat = keeper.feed(NOW, write(person.post("hi", 0, 100)));
    assert_eq!(arrived(&repeat), 0, "no news to a subscriber");
    let longer = keeper.feed(NOW, write(person.post("hi", 0, 101)));
    assert_eq!(arrived(&longer), 0, "nor is a later end");
    assert_eq!(keeper.store(NOW, person.post("hi", 1, 50)), Ok((ms(101), true)), "never shortened");
    assert_eq!(keeper.store(NOW, person.post("hi", 1, 200)), Ok((ms(200), true)), "extended");
    assert_eq!(keeper.texts(at(199), &person), ["hi"]);
    assert_eq!(keeper.texts(at(200), &person), [""; 0], "it ends on time");
    assert_eq!(keeper.store.usage(&person.account).unwrap().records, 1);
}

#[test]
fn a_repeat_at_the_json_door_keeps_the_first_time_and_never_ends_earlier() {
    let person = Person::new(0);
    let text = |request: StoreRequest, time: u64| {
        let text = format!("store1{}", ms(time));
        match texted(&person, Request::Store(request), text.as_bytes(), time) {
            Request::Store(request) => request,
            _ => unreachable!("it was a store"),
        }
    };
    let keep = |sent, expiry| person.keep_in(1, "m", sent, expiry);
    for (sent, expiry, end) in [(3, 50, 100), (3, 200, 200), (3, 100, 100)] {
        let mut keeper = Keeper::new(1);
        keeper.store(at(1), text(keep(1, 100), 1)).unwrap();
        let again = Mutation::Store(text(keep(sent, expiry), 3));
        let (done, already, passed_on) = keeper.write(at(3), again).unwrap();
        assert_eq!((done, already), (Done::Keeps { expiry: ms(end) }, true));
        // The others are told what it came to.
        let Mutation::Store(told) = passed_on else { panic!("not a store") };
        assert_eq!((told.timestamp, told.expiry), (ms(1), ms(end)));
        let mut other = Keeper::new(2);
        other.replicate(at(3), vec![Mutation::Store(told)]);
        assert_eq!(other.store.fingerprints(), keeper.store.fingerprints());
    }
    // A native client says both itself, and what has ended is stored anew.
    let mut keeper = Keeper::new(1);
    keeper.store(at(1), keep(1, 100)).unwrap();
    assert_eq!(keeper.store(at(3), keep(3, 50)), Ok((ms(50), true)));
    let mut keeper = Keeper::new(1);
    keeper.store(at(1), text(keep(1, 20), 1)).unwrap();
    keeper.store(at(30), text(keep(30, 60), 30)).unwrap();
    let record = keeper.store.record(&person.account, &person.hash_in(1, "m")).unwrap().unwrap();
    assert_eq!((record.timestamp(), record.expiry()), (Some(ms(30)), Some(ms(60))));
}

#[test]
fn a_repeat_of_what_was_extended_beyond_a_store_is_taken_by_all_members() {
    let person = Person::new(0);
    let (days, sent) = (|days: u64| days * 86_400, 3);
    let mut keeper = Keeper::new(1);
    keeper.store(at(1), person.post("m", 1, days(14))).unwrap();
    keeper.write(at(2), change(person.expire(&[person.hash("m")], days(20), None, 2))).unwrap();
    let again = person.post("m", sent, days(14));
    let text = format!("store{}", ms(sent));
    let again = mutation(texted(&person, Request::Store(again), text.as_bytes(), sent));
    let (done, _, passed_on) = keeper.write(at(sent), again).unwrap();
    assert_eq!(done, Done::Keeps { expiry: ms(days(20)) });
    let Mutation::Store(told) = passed_on else { panic!("not a store") };
    assert_eq!(told.verify(&network(), at(sent), request::Source::Member), Ok(()));
    let longer = StoreRequest { expiry: ms(days(31)), ..told };
    assert_eq!(longer.verify(&network(), at(sent), request::Source::Member), Err(Code::BadTtl));
}

#[test]
fn what_an_owner_stored_stands_above_what_a_stranger_repeats() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    assert_eq!(keeper.store(NOW, person.post("note", 0, 100)), Ok((ms(100), false)));
    let cursor = keeper.page(NOW, &person.retrieve(None)).2;
    assert_eq!(keeper.store(NOW, person.keep("note", 1, 50)), Ok((ms(50), true)), "the owner may shorten");
    assert_eq!(keeper.store(NOW, person.post("note", 0, 900)), Ok((ms(50), true)), "a stranger may not");
    assert_eq!(keeper.store(NOW, person.keep("note", 0, 800)), Ok((ms(50), true)), "an older word loses");
    assert_eq!(keeper.page(NOW, &person.retrieve(Some(cursor))).0, [""; 0], "it arrived once");
    assert_eq!(keeper.texts(NOW, &person), ["note"]);
}

#[test]
fn a_deletion_marks_what_was_held_and_nothing_else() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(NOW, person.post("here", 0, 100)).unwrap();
    let (here, gone) = (person.hash("here"), person.hash("gone"));
    let request = person.delete(&[gone, here, here], 5);
    let (done, _, passed_on) = keeper.write(at(5), deletion(request.clone())).unwrap();
    assert_eq!(done, Done::Changed { hashes: vec![here] });
    assert_eq!(passed_on, Mutation::Delete { request: request.clone(), held: vec![here] });
    assert_eq!(keeper.texts(at(5), &person), [""; 0]);
    assert!(keeper.store.record(&person.account, &here).unwrap().unwrap().deleted());
    assert_eq!(keeper.store.record(&person.account, &gone).unwrap(), None, "no tombstone of the unknown");
    // An exact repeat is answered as the first time and writes nothing.
    let head = keeper.store.head();
    assert_eq!(keeper.changed(at(9), deletion(request.clone())), [here]);
    assert_eq!(keeper.store.head(), head);
    // Who never held it marks what the sender held.
    let mut other = Keeper::new(2);
    let passed_on = Mutation::Delete { request, held: vec![here] };
    assert_eq!(other.replicate(at(6), vec![passed_on]), [Ok(Done::Changed { hashes: vec![here] })]);
    assert!(other.store.record(&person.account, &here).unwrap().unwrap().deleted());
    assert_eq!(other.store.record(&person.account, &gone).unwrap(), None);
}

#[test]
fn nothing_deleted_comes_back_except_by_its_owners_later_store() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(NOW, person.post("secret", 0, 100)).unwrap();
    let cursor = keeper.page(NOW, &person.retrieve(None)).2;
    keeper.changed(at(5), deletion(person.delete(&[person.hash("secret")], 5)));
    let repeat = person.post("secret", 0, 300);
    assert_eq!(keeper.store(at(6), repeat.clone()), Ok((repeat.expiry, true)), "answered as a duplicate");
    assert_eq!(keeper.store(at(6), person.keep("secret", 4, 300)), Ok((ms(300), true)), "signed before");
    assert_eq!(keeper.texts(at(6), &person), [""; 0]);
    let outputs = keeper
        .feed(at(7), Input::Write { ticket: 1, mutation: Mutation::Store(person.keep("secret", 6, 300)) });
    assert!(outputs.iter().any(|output| matches!(output, Output::Arrived { .. })));
    assert_eq!(keeper.page(at(7), &person.retrieve(Some(cursor))).0, ["secret"], "as a new arrival");
    // The old deletion, repeated, is past.
    assert_eq!(keeper.changed(at(8), deletion(person.delete(&[person.hash("secret")], 5))), []);
    assert_eq!(keeper.texts(at(8), &person), ["secret"]);
}

#[test]
fn a_deletion_that_is_over_touches_nothing_and_claims_nothing() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let days = |days: u64| days * 24 * 3_600;
    let old = person.delete(&[person.hash("again")], 0);
    keeper.store(at(days(31)), person.post("again", days(31), days(40))).unwrap();
    let passed_on = Mutation::Delete { request: old, held: vec![person.hash("again")] };
    let result = keeper.replicate(at(days(31)), vec![passed_on]);
    assert_eq!(keeper.texts(at(days(31)), &person), ["again"]);
    assert_eq!(result, [Ok(Done::Changed { hashes: vec![] })]);
}

#[test]
fn an_expiry_moves_as_its_owner_says() {
    let person = Person::new(0);
    let hash = person.hash("m");
    for (only, expiry, moved) in [
        (None, 50, true),
        (None, 200, true),
        (Some(Direction::Shorten), 50, true),
        (Some(Direction::Shorten), 200, false),
        (Some(Direction::Shorten), 100, false),
        (Some(Direction::Extend), 50, false),
        (Some(Direction::Extend), 200, true),
        (Some(Direction::Extend), 100, false),
    ] {
        let mut keeper = Keeper::new(1);
        keeper.store(NOW, person.post("m", 0, 100)).unwrap();
        let request = person.expire(&[person.hash("unknown"), hash], expiry, only, 5);
        let (done, _, passed_on) = keeper.write(at(5), change(request.clone())).unwrap();
        let expected: Vec<_> = moved.then_some(hash).into_iter().collect();
        assert_eq!(done, Done::Changed { hashes: expected.clone() }, "{only:?} {expiry}");
        let end = if moved { expiry } else { 100 };
        let record = keeper.store.record(&person.account, &hash).unwrap().unwrap();
        assert_eq!(record.expiry(), Some(ms(end)), "{only:?} {expiry}");
        // A repeat is answered alike.
        assert_eq!(keeper.changed(at(6), change(request.clone())), expected, "{only:?} {expiry}");
        // A member does as the first receiver did, even where the direction would say otherwise.
        let mut other = Keeper::new(2);
        other.store(NOW, person.post("m", 0, if expiry == 50 { 20 } else { 900 })).unwrap();
        assert_eq!(other.replicate(at(6), vec![passed_on]), [Ok(done)], "{only:?} {expiry}");
    }
}

#[test]
fn a_strangers_repeat_does_not_move_what_its_owner_set() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(NOW, person.post("m", 0, 100)).unwrap();
    keeper.changed(at(1), change(person.expire(&[person.hash("m")], 30, None, 1)));
    assert_eq!(keeper.store(at(2), person.post("m", 0, 900)), Ok((ms(30), true)));
    assert_eq!(keeper.texts(at(30), &person), [""; 0]);
}

#[test]
fn a_change_to_the_past_ends_the_message() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(NOW, person.post("m", 0, 100)).unwrap();
    let request = person.expire(&[person.hash("m")], 10, None, 1);
    let late = Mutation::Expire { request, held: vec![person.hash("m")] };
    keeper.replicate(at(11), vec![late]);
    assert_eq!(keeper.texts(at(11), &person), [""; 0]);
    // Who missed it must not bring the message back, nor who knows an extension before it.
    let month = crate::request::MAX_TTL.as_millis() / 1_000;
    keeper.feed(at(month), Input::Tick);
    assert_eq!(keeper.store.records().count(), 1);
    keeper.feed(at(month + 1), Input::Tick);
    assert_eq!(keeper.store.records().count(), 0);
}

#[test]
fn what_a_change_ended_soon_takes_no_more_room_than_the_change() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let (text, shed) = ("x".repeat(5_000), SHED_AFTER.as_millis() / 1_000);
    keeper.store(at(0), person.post(&text, 0, 90_000)).unwrap();
    let full = keeper.store.usage(&person.account).unwrap().bytes;
    let hash = person.hash(&text);
    let shorten = change(person.expire(&[hash], 60, Some(Direction::Shorten), 1));
    assert_eq!(keeper.changed(at(1), shorten), [hash]);
    keeper.feed(at(60 + shed - 1), Input::Tick);
    assert!(keeper.store.usage(&person.account).unwrap().bytes > full, "members' clocks differ");
    keeper.feed(at(60 + shed), Input::Tick);
    assert!(keeper.store.usage(&person.account).unwrap().bytes < full - 4_000, "the bytes are gone");
    assert_eq!(keeper.store.mutations().count(), 1, "the change is kept");
    // Who repeats it is told as before, and brings nothing back; nor does a change that comes late.
    assert_eq!(keeper.store(at(700), person.post(&text, 0, 90_000)), Ok((ms(90_000), true)));
    assert_eq!(keeper.changed(at(701), change(person.expire(&[hash], 80_000, None, 701))), []);
    assert_eq!(keeper.texts(at(701), &person), [""; 0]);
    assert_eq!(keeper.store.mutations().count(), 1);
    // Its owner stores it again.
    keeper.store(at(702), person.keep(&text, 702, 90_000)).unwrap();
    assert_eq!(keeper.texts(at(702), &person), [text]);
}

#[test]
fn a_member_that_was_away_for_both_ends_forgets_a_record_once() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(at(0), person.post("hello", 0, 90_000)).unwrap();
    keeper.changed(at(1), change(person.expire(&[person.hash("hello")], 60, None, 1)));
    keeper.feed(at(31 * 86_400), Input::Tick);
    assert_eq!(keeper.store.usage(&person.account).unwrap(), crate::store::Usage::default());
    assert_eq!((keeper.store.occupied(), keeper.store.fingerprints()), (0, vec![]));
}

#[test]
fn a_member_that_missed_an_early_end_learns_of_it_after_the_message_is_gone() {
    let (mut one, mut other, person) = (Keeper::new(1), Keeper::new(2), Person::new(0));
    for keeper in [&mut one, &mut other] {
        keeper.store(at(0), person.post("hello", 0, 90_000)).unwrap();
    }
    let hash = person.hash("hello");
    one.changed(at(1), change(person.expire(&[hash], 60, None, 1)));
    let late = 61 + SHED_AFTER.as_millis() / 1_000;
    one.feed(at(late), Input::Tick);
    let told = Mutation::Expire { request: person.expire(&[hash], 60, None, 1), held: vec![hash] };
    other.replicate(at(late), vec![told]);
    assert_eq!(other.texts(at(late), &person), [""; 0]);
    assert_eq!(one.store.fingerprints(), other.store.fingerprints());
    // And one that has the message still does not give it to one that shed it.
    one.replicate(at(late), vec![Mutation::Store(person.post("hello", 0, 90_000))]);
    assert_eq!(one.store.fingerprints(), other.store.fingerprints());
}

#[test]
fn strangers_leave_the_last_eighth_to_the_owner() {
    let limits = Limits { account_bytes: 8_000, ..Limits::default() };
    let (mut keeper, person) = (Keeper::limited(1, limits), Person::new(0));
    let fill = |number: usize| format!("{number:04}").repeat(125);
    let kept = (0..100).take_while(|number| keeper.store(at(0), person.post(&fill(*number), 0, 100)).is_ok());
    assert_eq!(kept.count(), 9, "756 bytes each, of 7,000");
    keeper.store(at(0), person.keep(&fill(200), 0, 100)).unwrap();
    assert_eq!(keeper.store(at(0), person.keep(&fill(201), 0, 100)), Err(Code::Full));
}

#[test]
fn a_message_that_ended_on_the_way_is_as_good_as_kept() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let late = keeper.replicate(at(200), vec![Mutation::Store(person.post("m", 0, 100))]);
    assert_eq!(late, [Ok(Done::Keeps { expiry: ms(100) })]);
    assert_eq!(keeper.store.records().count(), 0);
}

#[test]
fn a_message_whose_life_was_extended_reaches_who_comes_after_its_first_end() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(NOW, person.post("m", 0, 100)).unwrap();
    keeper.changed(at(5), change(person.expire(&[person.hash("m")], 900, None, 5)));
    let mut newcomer = Keeper::new(2);
    convergence::pull(&mut newcomer, &keeper, at(200));
    assert_eq!(newcomer.texts(at(200), &person), ["m"]);
    assert_eq!(newcomer.store.fingerprints(), keeper.store.fingerprints());
}

#[test]
fn pages_skip_nothing_and_begin_anew_for_another_incarnation() {
    let (mut keeper, person, stranger) = (Keeper::new(1), Person::new(0), Person::new(1));
    let all: Vec<_> = (0..300).map(|number| format!("m{number}")).collect();
    for text in &all {
        keeper.store(NOW, person.post(text, 0, 100)).unwrap();
        keeper.store(NOW, stranger.post(text, 0, 100)).unwrap();
    }
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let (texts, more, cursor) = keeper.page(NOW, &person.retrieve_at(after, Some(7), None, 0));
        assert!(texts.len() == 7 || !more);
        read.extend(texts);
        after = Some(cursor);
        if !more {
            break;
        }
    }
    assert_eq!(read, all);
    // The last cursor knows what is newer, and an older one what was between.
    keeper.store(NOW, person.post("late", 0, 100)).unwrap();
    assert_eq!(keeper.page(NOW, &person.retrieve(after)).0, ["late"]);
    let elsewhere = Cursor { incarnation: 2, sequence: 1 };
    assert_eq!(keeper.page(NOW, &person.retrieve(Some(elsewhere))).0.len(), 301);
    // Nor does one from beyond the last arrival: the store it was read from had more.
    let lost = Cursor { incarnation: 1, sequence: keeper.store.head() + 1 };
    assert_eq!(keeper.page(NOW, &person.retrieve(Some(lost))).0.len(), 301);
}

#[test]
fn who_has_messages_learns_hashes_first_and_fetches_what_it_lacks() {
    let person = Person::new(0);
    let all: Vec<_> = (0..300).map(|number| format!("m{number}")).collect();
    let elsewhere = Cursor { incarnation: 2, sequence: 200 };
    for mut after in [None, Some(elsewhere)] {
        let mut keeper = Keeper::new(1);
        for text in &all {
            keeper.store(NOW, person.post(text, 0, 100)).unwrap();
        }
        keeper.store(NOW, person.post("short", 0, 20)).unwrap();
        keeper.changed(at(1), deletion(person.delete(&[person.hash("m7")], 1)));
        let ask = |keeper: &Keeper, after, ids| {
            let request = Retrieve { ids: Some(ids), ..person.retrieve_at(after, Some(70), None, 0) };
            retrieve(&keeper.store, at(30), &request, Door::Native).unwrap()
        };
        let (mut listed, mut ids, mut more) = (Vec::new(), Ids::Anew, true);
        while more {
            let Body::Ids { hashes, more: waiting, cursor } = ask(&keeper, after, ids) else { panic!() };
            assert!(hashes.len() == 70 || !waiting);
            listed.extend(hashes);
            (after, ids, more) = (Some(cursor), Ids::Always, waiting);
        }
        let readable = all.iter().filter(|text| *text != "m7");
        assert_eq!(listed, readable.map(|text| person.hash(text)).collect::<Vec<_>>());
        // From there on messages come.
        keeper.store(at(30), person.post("new", 30, 900)).unwrap();
        let Body::Messages { messages, .. } = ask(&keeper, after, Ids::Anew) else { panic!() };
        assert_eq!(messages.iter().map(|message| message.hash).collect::<Vec<_>>(), [person.hash("new")]);
        let wanted = ["m9", "m7", "unknown", "m3"].map(|text| person.hash(text));
        let fetched = |request: &Fetch| match fetch(&keeper.store, at(30), request).unwrap() {
            Body::Fetched { messages, hashes: 4 } => {
                messages.into_iter().map(|message| message.hash).collect()
            }
            other => panic!("unexpected {other:?}"),
        };
        let found: Vec<_> = fetched(&person.fetch(&wanted, 30));
        assert_eq!(found, [wanted[0], wanted[3]]);
        // Another drawer holds none of them, and another account neither.
        let drawer = Fetch { namespace: Namespace(10), ..person.fetch(&wanted, 30) };
        assert_eq!((fetched(&drawer), fetched(&Person::new(1).fetch(&wanted, 30))), (vec![], vec![]));
    }
}

#[test]
fn what_is_fetched_is_bounded_and_goes_on() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let texts: Vec<_> =
        (0..20).map(|number| format!("{number:05}").repeat(crate::message::MAX_DATA / 5)).collect();
    for text in &texts {
        keeper.store(NOW, person.post(text, 0, 100)).unwrap();
    }
    let mut lacking: Vec<_> = texts.iter().map(|text| person.hash(text)).collect();
    let mut pages = Vec::new();
    while !lacking.is_empty() {
        let Body::Fetched { messages, hashes } =
            fetch(&keeper.store, NOW, &person.fetch(&lacking, 0)).unwrap()
        else {
            panic!()
        };
        assert_eq!(messages.len(), hashes as usize);
        pages.push(hashes);
        lacking.drain(..hashes as usize);
    }
    assert_eq!(pages, [13, 7]);
}

#[test]
fn a_page_holds_one_message_at_least_and_no_more_than_asked() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    for letter in ["a", "b", "c"] {
        keeper.store(NOW, person.post(&letter.repeat(100), 0, 100)).unwrap();
    }
    let lens = |max_count, max_size| {
        let (texts, more, _) = keeper.page(NOW, &person.retrieve_at(None, max_count, max_size, 0));
        (texts.len(), more)
    };
    assert_eq!(lens(None, None), (3, false));
    assert_eq!(lens(Some(2), None), (2, true));
    assert_eq!(lens(Some(3), None), (3, false), "none waits behind the last");
    assert_eq!(lens(Some(0), None), (1, true));
    assert_eq!(lens(None, Some(0)), (1, true));
    assert_eq!(lens(None, Some(199)), (1, true));
    assert_eq!(lens(None, Some(200)), (2, true));
    assert_eq!(lens(Some(u32::MAX), Some(u32::MAX)), (3, false));
}

#[test]
fn a_page_of_the_node_is_bounded_too() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let large = |number: usize| format!("{number:05}").repeat(crate::message::MAX_DATA / 5);
    for number in 0..15 {
        keeper.store(NOW, person.post(&large(number), 0, 100)).unwrap();
    }
    let (texts, more, _) = keeper.page(NOW, &person.retrieve(None));
    assert_eq!((texts.len(), more), (MAX_PAGE / crate::message::MAX_DATA, true));
    for number in 0..=MAX_PAGE_COUNT {
        keeper.store(NOW, Person::new(1).post(&number.to_string(), 0, 100)).unwrap();
    }
    let (texts, more, _) = keeper.page(NOW, &Person::new(1).retrieve(None));
    assert_eq!((texts.len(), more), (MAX_PAGE_COUNT, true));
}

#[test]
fn a_full_node_and_a_full_account_refuse_and_evict_nothing() {
    let (person, other) = (Person::new(0), Person::new(1));
    let cost = RECORD_COST + 1;
    let mut keeper = Keeper::limited(1, Limits { bytes: 3 * cost, account_bytes: 2 * cost + cost / 2 });
    keeper.store(NOW, person.post("a", 0, 100)).unwrap();
    keeper.store(NOW, person.post("b", 0, 100)).unwrap();
    assert_eq!(keeper.store(NOW, person.post("c", 0, 100)), Err(Code::Full), "the account");
    assert_eq!(keeper.store(NOW, person.post("a", 0, 200)), Ok((ms(200), true)), "no room is needed");
    // A member passes on what another accepted: twice the room, so that they never disagree.
    let passed_on = keeper.replicate(NOW, vec![Mutation::Store(person.post("c", 0, 100))]);
    assert_eq!(passed_on, [Ok(Done::Keeps { expiry: ms(100) })]);
    assert_eq!(keeper.store(NOW, other.post("d", 0, 100)), Err(Code::Full), "the node");
    let passed_on = keeper.replicate(NOW, vec![Mutation::Store(other.post("d", 0, 100))]);
    assert_eq!(passed_on, [Err(Code::Full)]);
    assert_eq!(keeper.texts(NOW, &person), ["a", "b", "c"]);
}

#[test]
fn tombstones_take_room_too() {
    let person = Person::new(0);
    let mut keeper = Keeper::limited(1, Limits { bytes: u64::MAX, account_bytes: 2 * (RECORD_COST + 1) });
    keeper.store(NOW, person.post("a", 0, 100)).unwrap();
    keeper.changed(at(1), deletion(person.delete(&[person.hash("a")], 1)));
    let evidence = RECORD_COST + HASH_COST;
    assert_eq!(keeper.store.usage(&person.account).unwrap().bytes, RECORD_COST + evidence);
    assert_eq!(keeper.store(at(1), person.post("b", 0, 100)), Err(Code::Full));
}

/// How many bytes all that is kept of requests takes up.
fn kept_bytes(keeper: &Keeper) -> u64 {
    keeper.store.mutations().map(|(_, mutation)| crate::codec::encode(mutation).len() as u64).sum()
}

#[test]
fn no_owner_can_fill_the_disk_with_evidence() {
    let (person, other) = (Person::new(0), Person::new(1));
    let account_bytes = 200_000;
    let mut keeper = Keeper::limited(1, Limits { bytes: u64::MAX, account_bytes });
    keeper.store(NOW, person.post("m", 0, 100_000)).unwrap();
    // Each names many messages that are not there, and is signed later than the last.
    let mut hashes: Vec<_> = (0..400).map(|number| person.hash(&number.to_string())).collect();
    hashes.push(person.hash("m"));
    let insist = |keeper: &mut Keeper, source: Source, deletes: bool| {
        let mut done = 0;
        let held = if source == Source::Member { hashes.clone() } else { Vec::new() };
        for time in 1..500 {
            let held = held.clone();
            let mutation = match deletes {
                true => Mutation::Delete { request: person.delete(&hashes, time), held },
                false => {
                    let request = person.expire(&hashes, 100_000 + time, None, time);
                    Mutation::Expire { request, held }
                }
            };
            let refused = match source {
                Source::Client => keeper.write(at(time), mutation).is_err(),
                Source::Member => keeper.replicate(at(time), vec![mutation])[0].is_err(),
            };
            done += usize::from(!refused);
        }
        done
    };
    assert!((1..20).contains(&insist(&mut keeper, Source::Client, false)));
    assert!(kept_bytes(&keeper) <= account_bytes, "{} kept", kept_bytes(&keeper));
    assert_eq!(keeper.store(at(1), person.post(&"n".repeat(20_000), 0, 100)), Err(Code::Full));
    keeper.store(at(1), other.post("n", 0, 100)).unwrap();
    // A full mailbox can still be emptied, but not for ever.
    assert!((1..20).contains(&insist(&mut keeper, Source::Client, true)));
    assert!(kept_bytes(&keeper) <= account_bytes / 2 * 3, "{} kept", kept_bytes(&keeper));
    insist(&mut keeper, Source::Member, true);
    insist(&mut keeper, Source::Member, false);
    assert!(kept_bytes(&keeper) <= account_bytes * 2, "{} kept", kept_bytes(&keeper));
    // What is charged is given back in the end.
    for _ in 0..4 {
        keeper.feed(at(40 * 24 * 3_600), Input::Tick);
    }
    assert_eq!((keeper.store.occupied(), kept_bytes(&keeper)), (0, 0));
}

#[test]
fn evidence_is_kept_once_however_a_member_learns_of_it() {
    let person = Person::new(0);
    let texts: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let hashes: Vec<_> = texts.iter().map(|text| person.hash(text)).collect();
    let delete =
        |held: &[MessageHash]| Mutation::Delete { request: person.delete(&hashes, 5), held: held.to_vec() };
    let expire = |held: &[MessageHash]| Mutation::Expire {
        request: person.expire(&hashes, 900, None, 5),
        held: held.to_vec(),
    };
    type Make<'a> = &'a dyn Fn(&[MessageHash]) -> Mutation;
    for make in [&delete as Make<'_>, &expire] {
        let (mut once, mut apart) = (Keeper::new(1), Keeper::new(2));
        once.replicate(at(6), vec![make(&hashes)]);
        for hash in &hashes {
            apart.replicate(at(6), vec![make(&[*hash])]);
        }
        let cost = 100 * RECORD_COST + RECORD_COST + 100 * HASH_COST;
        for keeper in [&once, &apart] {
            assert_eq!((keeper.store.mutations().count(), keeper.store.occupied()), (1, cost));
            recount(&keeper.store);
        }
        assert_eq!(once.store.fingerprints(), apart.store.fingerprints());
    }
}

#[test]
fn what_has_ended_is_forgotten_in_bounded_steps() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let count = FORGET_STEP + 10;
    for number in 0..count {
        keeper.store(NOW, person.post(&number.to_string(), 0, 100)).unwrap();
    }
    keeper.store(NOW, person.post("stays", 0, 101)).unwrap();
    keeper.feed(at(99), Input::Tick);
    assert_eq!(keeper.store.records().count(), count + 1);
    keeper.feed(at(100), Input::Tick);
    assert_eq!((keeper.store.records().count(), keeper.machine.more_to_forget()), (11, true));
    keeper.feed(at(100), Input::Tick);
    assert_eq!((keeper.store.records().count(), keeper.machine.more_to_forget()), (1, false));
    keeper.feed(at(101), Input::Tick);
    assert_eq!((keeper.store.occupied(), keeper.store.fingerprints()), (0, vec![]));
}

#[test]
fn a_tombstone_lasts_the_longest_life_from_the_deletion() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    keeper.store(NOW, person.post("a", 0, 100)).unwrap();
    keeper.changed(at(1), deletion(person.delete(&[person.hash("a")], 1)));
    let end = at(1).after(crate::request::MAX_TTL);
    keeper.feed(Time(end.0 - 1_000), Input::Tick);
    assert_eq!(keeper.store.records().count(), 1);
    keeper.feed(end, Input::Tick);
    assert_eq!((keeper.store.records().count(), keeper.store.occupied()), (0, 0));
    assert_eq!(keeper.store.mutation(2).unwrap(), None, "its evidence goes with it");
    let again = (end.as_millis(), end.after(Span::secs(60)).as_millis());
    let repeat = StoreRequest { timestamp: again.0, expiry: again.1, ..person.post("a", 0, 0) };
    assert_eq!(keeper.store(end, repeat), Ok((again.1, false)), "a new life");
}

#[test]
fn outputs_of_a_failed_commit_can_be_dropped() {
    let (mut keeper, person) = (Keeper::new(1), Person::new(0));
    let input = Input::Write { ticket: 1, mutation: Mutation::Store(person.post("a", 0, 100)) };
    keeper.machine.handle(NOW, input, &mut keeper.store).unwrap();
    keeper.machine.forget_outputs();
    assert_eq!(keeper.machine.poll(), None);
}
