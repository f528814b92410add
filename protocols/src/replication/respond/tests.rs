//! What a member answers about its store, and what it refuses to.

use super::*;
use crate::{
    AccountId, Namespace,
    fixture::{NOW, Person, at, network},
    mailbox::{Input, Limits, Mailbox},
    message::MAX_DATA,
    request::Store as StoreRequest,
    store::{Usage, memory::MemoryStore},
    swarm::MAX_MESSAGE,
};

fn respond<S: Store>(store: &S, ask: &Ask) -> Result<SwarmAnswer, StoreError> {
    Responder::default().respond(store, ask, Scope::ALL)
}

fn store_of(requests: impl IntoIterator<Item = StoreRequest>) -> MemoryStore {
    let (mut machine, mut store) = (Mailbox::new(network(), Limits::default()), MemoryStore::new(1));
    let mutations = requests.into_iter().map(Mutation::Store).collect();
    machine.handle(NOW, Input::Replicated { ticket: 0, mutations }, &mut store).unwrap();
    store
}

fn ids(store: &MemoryStore) -> (u32, Vec<ByteArray<32>>) {
    let (bucket, _) = store.fingerprints()[0];
    let mut ids = Vec::new();
    store.bucket(bucket, &mut |item| ids.push(ByteArray::new(item.id))).unwrap();
    (bucket.0, ids)
}

const REFUSED: SwarmAnswer = SwarmAnswer::Refused { code: Code::BadRequest };
const ALL: Slice = Slice { bits: 0, value: 0 };

#[test]
fn a_fetch_brings_the_requests_behind_the_ids() {
    let person = Person::new(0);
    let store = store_of([person.post("a", 0, 100), person.post("b", 0, 100)]);
    let (bucket, mut asked) = ids(&store);
    asked.insert(1, ByteArray::new([9; 32]));
    let answer = respond(&store, &Ask::Fetch { bucket, slice: ALL, ids: asked.clone() }).unwrap();
    let SwarmAnswer::Fetched { mutations, ids } = answer else { panic!("{answer:?}") };
    assert_eq!((mutations.len(), ids), (2, 3), "what is unknown is dealt with too");
    // Nothing is where it does not end.
    let answer = respond(&store, &Ask::Fetch { bucket: bucket + 1, slice: ALL, ids: asked }).unwrap();
    assert_eq!(answer, SwarmAnswer::Fetched { mutations: vec![], ids: 3 });
}

#[test]
fn a_fetch_is_bounded_by_bytes_and_moves_on() {
    let person = Person::new(0);
    let large = |number: usize| format!("{number:05}").repeat(MAX_DATA / 5);
    let store = store_of((0..10).map(|number| person.post(&large(number), 0, 100)));
    let (bucket, mut asked) = ids(&store);
    let mut fetched = 0;
    while !asked.is_empty() {
        let answer = respond(&store, &Ask::Fetch { bucket, slice: ALL, ids: asked.clone() }).unwrap();
        assert!(crate::codec::encode(&answer).len() < MAX_MESSAGE);
        let SwarmAnswer::Fetched { mutations, ids } = answer else { panic!("{answer:?}") };
        assert!(ids > 0 && mutations.iter().map(Mutation::weight).sum::<usize>() <= MAX_BATCH_BYTES);
        fetched += mutations.len();
        asked.drain(..ids as usize);
    }
    assert_eq!(fetched, 10);
}

#[test]
fn what_breaks_a_limit_is_refused() {
    let store = store_of([Person::new(0).post("a", 0, 100)]);
    let too_many = vec![ByteArray::new([0; 32]); MAX_FETCH + 1];
    let no_slice = [Slice { bits: 17, value: 0 }, Slice { bits: 1, value: 2 }, Slice { bits: 0, value: 1 }];
    let word = |bytes: Vec<u8>| ByteBuf::from(bytes);
    let mut asks = vec![
        Ask::Fetch { bucket: 0, slice: ALL, ids: too_many },
        Ask::Reconcile { bucket: 0, slice: ALL, message: word(vec![0x61; MAX_RECONCILE + 1]) },
        Ask::Reconcile { bucket: 0, slice: ALL, message: word(vec![]) },
        Ask::Reconcile { bucket: 0, slice: ALL, message: word(b"Not a comparison".to_vec()) },
        Ask::Replicate { mutations: vec![], json: vec![] },
    ];
    for slice in no_slice {
        asks.push(Ask::Fetch { bucket: 0, slice, ids: vec![] });
        asks.push(Ask::Reconcile { bucket: 0, slice, message: word(vec![0x61]) });
    }
    for ask in asks {
        assert_eq!(respond(&store, &ask).unwrap(), REFUSED, "{ask:?}");
    }
    assert_eq!(respond(&store, &Ask::Behind).unwrap(), SwarmAnswer::Noted);
}

#[test]
fn slices_divide_a_bucket() {
    for bits in 0..=Slice::MAX_BITS {
        let all = core::iter::successors(Some(Slice { bits, value: 0 }), |slice| slice.next());
        let mut count = 0_u32;
        for (place, slice) in all.enumerate() {
            assert!(slice.valid() && usize::from(slice.value) == place);
            count += 1;
        }
        assert_eq!(count, 1 << bits);
        for head in [0_u16, 1, 0x7fff, 0x8000, 0xfffe, 0xffff] {
            let [first, second] = head.to_be_bytes();
            let mut id = [0x55; 32];
            (id[0], id[1]) = (first, second);
            let value = u16::try_from(u32::from(head) >> (16 - bits)).unwrap();
            assert!(Slice { bits, value }.contains(&id), "{head:04x} in {bits} bits");
            let other = Slice { bits, value: value ^ 1 };
            assert!(!other.valid() || !other.contains(&id), "{head:04x} in {bits} bits");
        }
    }
}

/// A store with one bucket of any size.
struct Wide(usize);

impl Store for Wide {
    fn record(&self, _: &AccountId, _: &MessageHash) -> Result<Option<Record>, StoreError> {
        Ok(None)
    }
    fn page(
        &self,
        _: &AccountId,
        _: Namespace,
        _: u64,
        _: usize,
    ) -> Result<Vec<(u64, MessageHash)>, StoreError> {
        Ok(Vec::new())
    }
    fn drawers(&self, _: &AccountId) -> Result<Vec<Namespace>, StoreError> {
        Ok(Vec::new())
    }
    fn mutation(&self, _: u64) -> Result<Option<Mutation>, StoreError> {
        Ok(None)
    }
    fn usage(&self, _: &AccountId) -> Result<Usage, StoreError> {
        Ok(Usage::default())
    }
    fn occupied(&self) -> u64 {
        0
    }
    fn due(&self, _: u64, _: usize) -> Result<Vec<(AccountId, MessageHash)>, StoreError> {
        Ok(Vec::new())
    }
    fn fingerprints(&self) -> Vec<(Bucket, crate::store::Fingerprint)> {
        Vec::new()
    }
    fn bucket(&self, _: Bucket, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError> {
        for number in 0..self.0 {
            let mut id = [0; 32];
            id[24..].copy_from_slice(&(number as u64).to_be_bytes());
            let (account, hash) = (AccountId::from_bytes([5; 33]), MessageHash([0; 32]));
            visit(Item { id, until: 1, account, hash });
        }
        Ok(())
    }
    fn incarnation(&self) -> u64 {
        1
    }
    fn head(&self) -> u64 {
        0
    }
}

#[test]
fn a_slice_that_holds_too_many_is_refused() {
    let ask = Ask::Reconcile { bucket: 0, slice: ALL, message: ByteBuf::from([0x61, 0, 0, 2, 0]) };
    assert!(matches!(respond(&Wide(MAX_SLICE_IDS), &ask), Ok(SwarmAnswer::Reconcile { .. })));
    assert!(matches!(respond(&Wide(MAX_SLICE_IDS + 1), &ask), Ok(REFUSED)));
}

/// A store that counts how often a bucket of it is walked.
struct Counted<'a>(&'a MemoryStore, core::cell::Cell<usize>);

impl Store for Counted<'_> {
    fn record(&self, account: &AccountId, hash: &MessageHash) -> Result<Option<Record>, StoreError> {
        self.0.record(account, hash)
    }
    fn page(
        &self,
        account: &AccountId,
        namespace: Namespace,
        sequence: u64,
        limit: usize,
    ) -> Result<Vec<(u64, MessageHash)>, StoreError> {
        self.0.page(account, namespace, sequence, limit)
    }
    fn drawers(&self, account: &AccountId) -> Result<Vec<Namespace>, StoreError> {
        self.0.drawers(account)
    }
    fn mutation(&self, row: u64) -> Result<Option<Mutation>, StoreError> {
        self.0.mutation(row)
    }
    fn usage(&self, account: &AccountId) -> Result<Usage, StoreError> {
        self.0.usage(account)
    }
    fn occupied(&self) -> u64 {
        self.0.occupied()
    }
    fn due(&self, now: u64, limit: usize) -> Result<Vec<(AccountId, MessageHash)>, StoreError> {
        self.0.due(now, limit)
    }
    fn fingerprints(&self) -> Vec<(Bucket, Fingerprint)> {
        self.0.fingerprints()
    }
    fn bucket(&self, bucket: Bucket, visit: &mut dyn FnMut(Item)) -> Result<(), StoreError> {
        self.1.set(self.1.get() + 1);
        self.0.bucket(bucket, visit)
    }
    fn incarnation(&self) -> u64 {
        self.0.incarnation()
    }
    fn head(&self) -> u64 {
        self.0.head()
    }
}

#[test]
fn a_comparison_reads_a_bucket_once() {
    let person = Person::new(0);
    let store = store_of((0..40).map(|number| person.post(&format!("{number}"), 0, 100)));
    let (bucket, asked) = ids(&store);
    let (counted, mut responder) = (Counted(&store, core::cell::Cell::default()), Responder::default());
    let compare = Ask::Reconcile { bucket, slice: ALL, message: ByteBuf::from([0x61, 0, 0, 2, 0]) };
    assert_eq!(responder.effort(&counted, &compare, Scope::ALL), 40);
    for _ in 0..3 {
        responder.respond(&counted, &compare, Scope::ALL).unwrap();
        for ids in asked.chunks(10) {
            let fetch = Ask::Fetch { bucket, slice: ALL, ids: ids.to_vec() };
            let answer = responder.respond(&counted, &fetch, Scope::ALL).unwrap();
            let SwarmAnswer::Fetched { mutations, .. } = answer else { panic!("{answer:?}") };
            assert_eq!(mutations.len(), 10);
        }
    }
    assert_eq!((counted.1.get(), responder.effort(&counted, &compare, Scope::ALL)), (1, 0));
}

#[test]
fn what_changed_since_it_was_compared_is_compared_anew() {
    let person = Person::new(0);
    let (mut machine, mut store) = (Mailbox::new(network(), Limits::default()), MemoryStore::new(1));
    let mut put = |text: &str, store: &mut MemoryStore| {
        let mutations = vec![Mutation::Store(person.post(text, 0, 100))];
        machine.handle(NOW, Input::Replicated { ticket: 0, mutations }, store).unwrap();
    };
    put("before", &mut store);
    let (bucket, _) = ids(&store);
    let mut responder = Responder::default();
    let compare = Ask::Reconcile { bucket, slice: ALL, message: ByteBuf::from([0x61, 0, 0, 2, 0]) };
    let first = responder.respond(&store, &compare, Scope::ALL).unwrap();
    put("after", &mut store);
    assert_ne!(responder.respond(&store, &compare, Scope::ALL).unwrap(), first);
    let (_, asked) = ids(&store);
    let fetch = Ask::Fetch { bucket, slice: ALL, ids: asked };
    let answer = responder.respond(&store, &fetch, Scope::ALL).unwrap();
    let SwarmAnswer::Fetched { mutations, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(mutations.len(), 2);
}

#[test]
fn no_more_is_remembered_than_a_few_slices() {
    let mut responder = Responder::default();
    for value in 0..64 {
        let slice = Slice { bits: 6, value };
        let compare = Ask::Reconcile { bucket: 0, slice, message: ByteBuf::from([0x61, 0, 0, 2, 0]) };
        responder.respond(&Wide(MAX_SLICE_IDS), &compare, Scope::ALL).unwrap();
        assert!(responder.walked.len() <= MAX_WALKED);
        let ids: usize = responder.walked.iter().map(|walked| walked.items.len()).sum();
        assert!(ids <= MAX_WALKED_IDS);
    }
}

#[test]
fn evidence_brings_another_member_to_the_same_record() {
    use crate::{
        fixture::{change, deletion, mutation},
        request::{Drawers, Request, Rights},
    };
    let person = Person::new(0);
    let friend = person.friend(1, Rights::READ).token();
    let apply = |store: &mut MemoryStore, client: bool, mutation: Mutation| {
        let mut machine = Mailbox::new(network(), Limits::default());
        let input = match client {
            true => Input::Write { ticket: 1, mutation },
            false => Input::Replicated { ticket: 1, mutations: vec![mutation] },
        };
        // Later than any whole drawers are looked through for a member's word.
        machine.handle(at(if client { 10 } else { 200 }), input, store).unwrap();
    };
    let post = || Mutation::Store(person.post("a", 0, 900));
    let keep = || Mutation::Store(person.keep_in(1, "a", 0, 900));
    let outbox = |text: &str, time| Mutation::Store(person.keep_in(-1, text, time, 900));
    let (inbox, private) = (person.hash("a"), person.hash_in(1, "a"));
    let revoke = || mutation(Request::Revoke(person.revoke(&[friend], 1)));
    let unrevoke = || mutation(Request::Revoke(person.unrevoke(&[friend], 2)));
    let token = friend.hash(&person.account);
    for (what, steps, hash) in [
        ("a stranger's", vec![post()], inbox),
        ("an owner's", vec![keep()], private),
        ("deleted", vec![post(), deletion(person.delete(&[inbox], 5))], inbox),
        ("deleted with its drawer", vec![post(), deletion(person.delete_in(Drawers::All, None, 5))], inbox),
        ("deleted by its time", vec![keep(), deletion(person.delete_in(Drawers::All, Some(1), 5))], private),
        ("changed", vec![keep(), change(person.expire(&[private], 800, None, 5))], private),
        ("changed with its drawer", vec![post(), change(person.expire_in(Drawers::All, 800, 5))], inbox),
        ("replaced", vec![outbox("a", 1), outbox("b", 2)], person.hash_in(-1, "a")),
        ("replaced before it came", vec![outbox("b", 2), outbox("a", 1)], person.hash_in(-1, "a")),
        ("revoked", vec![revoke()], token),
        ("given back", vec![revoke(), unrevoke()], token),
    ] {
        let mut store = MemoryStore::new(1);
        for step in steps {
            apply(&mut store, true, step);
        }
        let record = store.record(&person.account, &hash).unwrap().expect(what);
        let mut other = MemoryStore::new(2);
        for step in super::evidence(&store, &record, hash).unwrap() {
            // It travels, and is checked.
            let claims = step.claims(&network(), at(200)).expect(what);
            assert!(claims.iter().all(crate::identity::Claim::holds), "{what}");
            apply(&mut other, false, step);
        }
        let copy = other.record(&person.account, &hash).unwrap().expect(what);
        assert_eq!(copy.id(&person.account, &hash), record.id(&person.account, &hash), "{what}");
        crate::fuzz::recount(&other);
    }
}
