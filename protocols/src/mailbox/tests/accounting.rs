//! What the books say equals a recount, whatever happened.

use proptest::prelude::*;

use super::*;

/// Two records as they are, and one as it is not.
fn known(store: &MemoryStore, person: &Person, hashes: &[MessageHash]) -> Vec<Known> {
    let account = person.account;
    let id = |hash| Some(store.record(&account, &hash).unwrap()?.id(&account, &hash));
    let here = hashes
        .iter()
        .filter_map(|hash| Some(Known { account, hash: *hash, id: serde_bytes::ByteArray::new(id(*hash)?) }));
    let changed = Known { account, hash: person.hash("1"), id: serde_bytes::ByteArray::new([7; 32]) };
    here.chain([changed]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_books_equal_a_recount(
        steps in proptest::collection::vec((0_u8..8, 0_u8..2, 0_u8..4, 0_u64..40, 1_u64..60), 1..40),
    ) {
        let mut keeper = Keeper::limited(1, Limits { bytes: 2_000, account_bytes: 1_200 });
        let people = [Person::new(0), Person::new(1)];
        let mut now = 0;
        for (what, who, text, passes, life) in steps {
            let person = &people[usize::from(who)];
            let (text, end) = (text.to_string(), now + life);
            let hashes = [person.hash(&text), person.hash("0")];
            let replicated = |mutation| Input::Replicated { ticket: 2, mutations: vec![mutation] };
            let input = match what {
                0 => Input::Write { ticket: 1, mutation: Mutation::Store(person.post(&text, now, end)) },
                1 => Input::Write { ticket: 1, mutation: Mutation::Store(person.keep(&text, now, end)) },
                2 => Input::Write { ticket: 1, mutation: deletion(person.delete(&hashes, now)) },
                3 => Input::Write { ticket: 1, mutation: change(person.expire(&hashes, end, None, now)) },
                // A member knows what this one never saw, and says so late.
                4 => replicated(Mutation::Delete { request: person.delete(&hashes, now / 2), held: hashes.to_vec() }),
                5 => replicated(Mutation::Expire {
                    request: person.expire(&hashes, end, None, now / 2),
                    held: hashes.to_vec(),
                }),
                // Others keep the account now; one record has changed since they said so.
                6 => Input::Purge { records: known(&keeper.store, person, &hashes) },
                _ => { now += passes; Input::Tick }
            };
            keeper.feed(at(now), input);
            recount(&keeper.store);
        }
        // In the end nothing is left of anything.
        for _ in 0..3 {
            keeper.feed(at(40 * 24 * 3_600), Input::Tick);
        }
        prop_assert_eq!(keeper.store.records().count(), 0);
        prop_assert_eq!(keeper.store.occupied(), 0);
        prop_assert!((0..=keeper.store.head()).all(|row| keeper.store.mutation(row).unwrap().is_none()));
    }
}
