//! What clients of the JSON door ask, answered by the service behind every door.

use std::{
    pin::pin,
    sync::{Arc, Mutex, OnceLock},
};

use futures::{FutureExt, future::BoxFuture};
use session_protocols::{
    answer::{Answer, Body, Code, JSON_OVERHEAD, MAX_PAGE_COUNT, MAX_PAGE_JSON, Refusal},
    door::{
        self, Call, Reply,
        names::{NONCE, resolved},
        nodes::{Listing, service_nodes},
        render::{self, Stamp},
    },
    limits::Seats,
    message::MAX_DATA,
    request::{Delete, Expire, MAX_BULK_JSON, Request, Retrieve, Store, Which},
};
use tokio::sync::watch;

use super::{
    Caller, Loan, Room, Service,
    turns::{Turn, Turns},
};
use crate::{
    links::{self, Links, walk},
    now,
    seat::{Seat, SharedSeats},
};

/// Long answers that are made at once, and as many changes of whole drawers.
const LONG: usize = 8;
/// Those of one client.
const LONG_EACH: usize = 2;
/// Those of all clients behind one node.
const LONG_OVER: usize = 4;
/// The most bytes that one message takes in an answer about hashes or ends: its drawer may be named for it alone.
const END: usize = 64;
/// The most bytes of such an answer beside its messages, and of what a member says beside them.
const HEAD: usize = 512;
/// Members whose words an answer may hold, at most.
const MEMBERS: usize = 16;

/// The service behind the JSON door.
#[derive(Clone)]
pub(crate) struct Json {
    links: Links,
    /// The nodes that clients are told of.
    listing: watch::Receiver<Arc<Listing>>,
    long: Arc<Turns<Caller>>,
    /// For changes of whole drawers, which wait for all members.
    changes: Arc<Turns<Caller>>,
    /// Of requests that wait for turns: each keeps another from being worked on.
    line: SharedSeats<Caller>,
}

/// Who asks.
struct Asker {
    whose: Caller,
    /// The memory that may be had for it.
    room: Room,
    /// Its place among the requests that wait, once it has waited; none where there was no place.
    waits: OnceLock<Option<Seat<Caller>>>,
}

/// An answer, and the memory that was lent for it until the room holds what it takes.
struct Made {
    reply: Reply,
    loan: Option<Loan>,
}

impl Made {
    /// The answer, with what it takes held where that is left of the room.
    fn kept(self, room: &Room) -> Reply {
        let Self { reply, loan } = self;
        // In one step with what follows, for all that goes on beside it.
        drop(loan);
        if room.take(reply.body.len()) { reply } else { full() }
    }
}

impl From<Reply> for Made {
    fn from(reply: Reply) -> Self {
        Self { reply, loan: None }
    }
}

impl Service for Json {
    fn answer(&self, call: super::Call, room: Room) -> BoxFuture<'static, Reply> {
        let json = self.clone();
        Box::pin(async move {
            let parsed = door::parse(&call.body, now().as_millis());
            let asker = Asker { whose: call.caller.counted(), room, waits: OnceLock::new() };
            drop(call.body);
            match parsed {
                Ok(call) => match json.run(call, &asker).await {
                    // Nothing else was lent for it, and its parts are held.
                    Made { reply, loan: None } => reply,
                    made => made.kept(&asker.room),
                },
                Err(refused) => refused,
            }
        })
    }
}

impl Json {
    /// Answers with what links know, and tells of the nodes of a listing. So many requests of one caller may wait.
    pub(crate) fn new(links: Links, listing: watch::Receiver<Arc<Listing>>, line: usize) -> Self {
        let turns = || Arc::new(Turns::new(LONG));
        let line = Arc::new(Mutex::new(Seats::new(line, usize::MAX)));
        Self { links, listing, long: turns(), changes: turns(), line }
    }

    fn run<'a>(&'a self, call: Call, asker: &'a Asker) -> BoxFuture<'a, Made> {
        Box::pin(async move {
            match call {
                Call::Storage(request) => self.storage(*request, asker).await,
                Call::Nodes(asked) => {
                    let bytes = self.listing.borrow().bytes();
                    let (_turn, loan) = match self.turn(&self.long, bytes, asker).await {
                        Ok(long) => long,
                        Err(refused) => return refused.into(),
                    };
                    let result = service_nodes(&self.listing.borrow(), &asked, seed());
                    Made { reply: render::result_of(&result, self.stamp()), loan: Some(loan) }
                }
                Call::ActiveNodes => {
                    let bytes = self.listing.borrow().bytes();
                    let (_turn, loan) = match self.turn(&self.long, bytes, asker).await {
                        Ok(long) => long,
                        Err(refused) => return refused.into(),
                    };
                    Made { reply: render::active(&self.listing.borrow()), loan: Some(loan) }
                }
                Call::Name(hash) => self.name(hash, asker.whose).await.into(),
                Call::Batch(calls) => self.several(calls, false, asker).await.into(),
                Call::Sequence(calls) => self.several(calls, true, asker).await.into(),
                Call::If { when, then, otherwise } => {
                    let caller = links::Caller::Json(asker.whose);
                    let Ok((condition, info)) = self.links.hold(&when, caller).await else {
                        return nothing().into();
                    };
                    let (chosen, loan) = match if condition { then } else { otherwise } {
                        Some(call) => {
                            let Made { reply, loan } = self.run(*call, asker).await;
                            (Some(reply), loan)
                        }
                        None => (None, None),
                    };
                    Made { reply: render::choice(&info, condition, chosen), loan }
                }
            }
        })
    }

    async fn several(&self, calls: Vec<Result<Call, Reply>>, in_turn: bool, asker: &Asker) -> Reply {
        let of_one = of_one(&calls);
        let failed = |reply: &Reply| !(200..300).contains(&reply.status);
        let replies = walk(calls, in_turn, |_, call| self.part(call, asker), failed).await;
        render::several(replies, of_one, self.stamp())
    }

    /// One of several answers, which lies there until the others are made.
    async fn part(&self, call: Result<Call, Reply>, asker: &Asker) -> Reply {
        let made = match call {
            Ok(call) => self.run(call, asker).await,
            Err(refused) => refused.into(),
        };
        made.kept(&asker.room)
    }

    /// Waits for the asker's turn to have an answer made of so many bytes at most, and holds the memory for it. What is
    /// not charged before may be made many times over until it is.
    ///
    /// # Errors
    ///
    /// What is said where there is no memory, or too many of the asker's requests wait.
    async fn turn(
        &self,
        turns: &Arc<Turns<Caller>>,
        bytes: usize,
        asker: &Asker,
    ) -> Result<(Turn<Caller>, Loan), Reply> {
        let share = match asker.whose {
            Caller::Client(_) => LONG_EACH,
            Caller::Onion(_) => LONG_OVER,
        };
        let mut turn = pin!(turns.take(asker.whose, share));
        let turn = match turn.as_mut().now_or_never() {
            Some(turn) => turn,
            None if asker.waits.get_or_init(|| Seat::take(&self.line, asker.whose)).is_none() => {
                return Err(Reply::text(503, "too many requests wait for long answers"));
            }
            None => turn.await,
        };
        let loan = asker.room.lend(bytes).ok_or_else(full)?;
        Ok((turn, loan))
    }

    async fn storage(&self, request: Request, asker: &Asker) -> Made {
        let (about, most) = (request.without_message(), most(&request));
        if matches!(request, Request::Store(_)) {
            let answer = self.store(request, asker.whose).await;
            return answer.map_or_else(nothing, |answer| self.render(&about, &answer)).into();
        }
        let changes = matches!(request, Request::Delete(_) | Request::Expire(_));
        let turns = if changes { &self.changes } else { &self.long };
        // Whoever waits for a check holds up nobody who may be answered: signatures are checked together.
        let caller = links::Caller::Json(asker.whose);
        let admitted = self.links.admit(request, caller).await;
        let long = match most {
            Some(bytes) if admitted.is_ok() => match self.turn(turns, bytes, asker).await {
                Ok(long) => Some(long),
                Err(refused) => return refused.into(),
            },
            Some(_) | None => None,
        };
        let answer = match admitted {
            Ok(request) => self.links.one(request, caller, None).await,
            Err(code) => Some(self.links.refuse(code)),
        };
        let reply = answer.map_or_else(nothing, |answer| self.render(&about, &answer));
        Made { reply, loan: long.map(|(_turn, loan)| loan) }
    }

    /// Stores a message. Where nobody has to sign, a signature that does not hold is none: clients of this door may have
    /// a clock that is wrong, or rights that were taken away, and are served by their own network all the same.
    async fn store(&self, request: Request, whose: Caller) -> Option<Answer> {
        let (unsigned, caller) = (unsigned(&request), links::Caller::Json(whose));
        let answer = self.links.answer(request, caller, None).await?;
        let refused =
            matches!(answer.body, Body::Refused(Refusal { code: Code::Unauthorized | Code::Clock, .. }));
        match unsigned {
            Some(unsigned) if refused => self.links.answer(unsigned, caller, None).await,
            Some(_) | None => Some(answer),
        }
    }

    fn render(&self, about: &Request, answer: &Answer) -> Reply {
        let listing = Arc::clone(&self.listing.borrow());
        door::render(about, answer, listing.rules(), |id| listing.node(id).cloned())
    }

    /// The account of a name that its owner revealed.
    async fn name(&self, hash: [u8; 32], whose: Caller) -> Reply {
        // Where nodes register on no chain there are no names.
        let found = match self.links.known_names() {
            Some(names) => names.revealed(hash, whose).await,
            None => Ok(None),
        };
        let mut nonce = [0; NONCE];
        match found {
            Ok(found) if getrandom::fill(&mut nonce).is_ok() => {
                let found = found.as_ref().map(|(name, account)| (name, account));
                render::result_of(&resolved(found, nonce).to_string(), self.stamp())
            }
            Ok(_) => Reply::text(500, Code::Failed.to_string()),
            Err(code) => Reply::text(code.number(), code.to_string()),
        }
    }

    /// What answers say that are made here.
    fn stamp(&self) -> Stamp {
        Stamp { time: now().as_millis(), rules: self.listing.borrow().rules() }
    }
}

/// A signed store without its signature, where nobody has to sign.
fn unsigned(request: &Request) -> Option<Request> {
    let Request::Store(store) = request else { return None };
    let spare = store.auth.is_some() && store.namespace.class().anyone_stores();
    spare.then(|| Request::Store(Store { auth: None, ..store.clone() }))
}

/// The most bytes that are answered to a request whose answer may be long.
fn most(request: &Request) -> Option<usize> {
    match request {
        Request::Retrieve(Retrieve { max_count, max_size, .. }) => {
            // A page has one message at least, and of any length.
            let longest = MAX_DATA.div_ceil(3) * 4 + JSON_OVERHEAD;
            let size = max_size.map_or(MAX_PAGE_JSON, |size| MAX_PAGE_JSON.min(size as usize));
            let count = max_count.map_or(MAX_PAGE_COUNT, |count| MAX_PAGE_COUNT.min(count as usize));
            Some(size.max(longest).min(count.max(1) * longest))
        }
        Request::GetExpiries(asked) => {
            let ends = asked.hashes.as_ref().map_or(MAX_BULK_JSON, Vec::len).min(MAX_BULK_JSON);
            Some(HEAD + ends * END)
        }
        // Each member names what it changed.
        Request::Delete(Delete { which: Which::In { most, .. }, .. })
        | Request::Expire(Expire { which: Which::In { most, .. }, .. }) => {
            let each = most.map_or(MAX_BULK_JSON, |most| MAX_BULK_JSON.min(most as usize));
            Some(HEAD + MEMBERS * (HEAD + each * END))
        }
        Request::Store(_)
        | Request::Fetch(_)
        | Request::Delete(Delete { which: Which::Hashes(_), .. })
        | Request::Expire(Expire { which: Which::Hashes(_), .. })
        | Request::Revoke(_)
        | Request::GetRevoked(_)
        | Request::GetSwarm { .. }
        | Request::Info
        | Request::Batch(_)
        | Request::Sequence(_)
        | Request::If(_) => None,
    }
}

/// Whether requests are all about one account.
fn of_one(calls: &[Result<Call, Reply>]) -> bool {
    let mut accounts = calls.iter().map(|call| match call {
        Ok(Call::Storage(request)) => request.account(),
        Ok(_) | Err(_) => None,
    });
    let first = accounts.next().flatten();
    first.is_some() && accounts.all(|account| account == first)
}

/// What is said where there is no memory for an answer.
fn full() -> Reply {
    Reply::text(503, "the answers together are too long for now")
}

/// What is said where the member thread has forgotten a request.
fn nothing() -> Reply {
    Reply::text(503, "the node is not ready")
}

/// Without randomness the order of nodes is the same for all.
fn seed() -> u64 {
    let mut seed = [0; 8];
    let _ = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed)
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, HEXLOWER};
    use futures::{StreamExt, stream::FuturesUnordered};
    use session_protocols::{
        AccountId, KeyPair, MessageHash, Namespace, Signature,
        answer::{Done, End, RULES, Receipt, Receipts, Told},
        limits::{AdmissionRates, Rate},
        request::{Auth, Cursor, Drawers, Ends, GetExpiries},
    };
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        door::Lender,
        member::{Job, QUEUE},
        onion::Hop,
    };

    /// Requests of one caller that may wait.
    const LINE: usize = 8;

    /// As many bytes as anybody wants, while there are any.
    struct Bytes(bool);

    impl Lender for Bytes {
        fn take(&self, _: usize) -> bool {
            self.0
        }

        fn lend(&self, _: usize) -> Option<Loan> {
            self.0.then(|| Loan { _held: Box::new(()) })
        }
    }

    fn room() -> Room {
        Room(Arc::new(Bytes(true)))
    }

    /// A service, whose questions to the member come out here.
    fn alone(data: &tempfile::TempDir) -> (Json, mpsc::Receiver<Job>, watch::Sender<bool>) {
        limited(data, 64, AdmissionRates::default())
    }

    /// The same with so many places in the member's queue, which lets in so much.
    fn limited(
        data: &tempfile::TempDir,
        places: usize,
        rates: AdmissionRates,
    ) -> (Json, mpsc::Receiver<Job>, watch::Sender<bool>) {
        let node = KeyPair::from_seed(&[1; 32]);
        let hop = Hop::open(data.path(), "test".parse().unwrap(), node.node_id(), [].into(), true).unwrap();
        let (jobs, queue) = mpsc::channel(places);
        let (links, stop) = Links::alone(&node, true, hop, jobs);
        let links = links.admitting(rates);
        let listing = watch::channel(Arc::new(Listing::new(Vec::new(), 0, RULES))).1;
        (Json::new(links, listing, LINE), queue, stop)
    }

    /// The drawer that the member is asked for next, which it says is empty.
    async fn next_drawer(queue: &mut mpsc::Receiver<Job>) -> i16 {
        let Some(Job::Request { request: Request::Retrieve(request), answer, .. }) = queue.recv().await
        else {
            panic!("something else was asked")
        };
        let cursor = Cursor { incarnation: 1, sequence: 1 };
        let body = Body::Messages { messages: Vec::new(), more: false, cursor };
        answer.send(Answer { time: now().as_millis(), body }).unwrap();
        request.namespace.0
    }

    /// What a client of this door sends to read a drawer: signed, or not.
    fn read(owner: &KeyPair, namespace: i16, signed: bool) -> super::super::Call {
        let account = AccountId::of_person(&owner.public()).unwrap();
        let time = now().as_millis();
        let mut params =
            serde_json::json!({ "pubkey": account.to_string(), "namespace": namespace, "timestamp": time });
        if signed {
            let signature = owner.sign(format!("retrieve{namespace}{time}").as_bytes());
            params["signature"] = BASE64.encode(&signature.0).into();
            params["pubkey_ed25519"] = HEXLOWER.encode(&owner.public()).into();
        }
        let body = serde_json::json!({ "method": "retrieve", "params": params }).to_string().into_bytes();
        super::super::Call { body, caller: super::super::Caller::Onion(None) }
    }

    #[tokio::test]
    async fn who_waits_for_a_check_keeps_no_place_of_those_who_are_answered() {
        let (data, owner) = (tempfile::tempdir().unwrap(), KeyPair::from_seed(&[2; 32]));
        let (json, mut queue, _stop) = alone(&data);
        // As many as may be answered at once, and one that nobody has to sign for.
        let signed = (0..LONG).map(|_| read(&owner, 2, true));
        let asked = signed.chain([read(&owner, -1, false)]);
        let replies = futures::future::join_all(asked.map(|call| json.answer(call, room())));
        let member = async {
            let mut drawers = Vec::new();
            while drawers.len() <= LONG {
                drawers.push(next_drawer(&mut queue).await);
            }
            drawers
        };
        let (replies, drawers) = futures::future::join(replies, member).await;
        assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
        assert_eq!(drawers, [[-1].as_slice(), &[2; LONG]].concat());
    }

    #[tokio::test]
    async fn whoever_asks_for_many_pages_holds_up_nobody_else() {
        let client = |last: u8| Caller::Client([10, 0, 0, last].into());
        let over = |seed| Caller::Onion(Some(KeyPair::from_seed(&[seed; 32]).node_id()));
        for (greedy, honest, share) in [
            (client(1), client(2), LONG_EACH),
            (over(1), over(2), LONG_OVER),
            (over(1), client(2), LONG_OVER),
        ] {
            let (data, owner) = (tempfile::tempdir().unwrap(), KeyPair::from_seed(&[2; 32]));
            let (json, mut queue, _stop) = alone(&data);
            let from = |caller: Caller, call: super::super::Call| {
                json.answer(super::super::Call { caller, ..call }, room())
            };
            let page = serde_json::from_slice::<serde_json::Value>(&read(&owner, -1, false).body).unwrap();
            let batch = serde_json::json!({ "method": "batch", "params": { "requests": vec![page; 20] } });
            let batch =
                || super::super::Call { body: batch.to_string().into_bytes(), ..read(&owner, -1, false) };
            let greedily = futures::future::join_all((0..16).map(|_| from(greedy, batch())));
            let honestly = from(honest, read(&owner, -21, false));
            let served = async {
                for before in 0.. {
                    if next_drawer(&mut queue).await == -21 {
                        return before;
                    }
                }
                unreachable!("it is asked without end")
            };
            let reading = async {
                tokio::select! {
                    biased;
                    _ = greedily => panic!("all of theirs came first"),
                    reply = honestly => reply,
                }
            };
            let (reply, before) = futures::future::join(reading, served).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            assert!(before <= share, "{before} pages of {greedy:?} came before that of {honest:?}");
        }
    }

    #[tokio::test]
    async fn whoever_has_many_waiting_is_refused_and_keeps_no_more_places() {
        let (data, owner) = (tempfile::tempdir().unwrap(), KeyPair::from_seed(&[2; 32]));
        let (json, mut queue, _stop) = alone(&data);
        let from =
            |caller: Caller| json.answer(super::super::Call { caller, ..read(&owner, -1, false) }, room());
        let over = Caller::Onion(Some(owner.node_id()));
        for (caller, served) in
            [(Caller::Client([10, 0, 0, 1].into()), LONG_EACH + LINE), (over, LONG_OVER + LINE)]
        {
            let mut asked: FuturesUnordered<_> = (0..served + 3).map(|_| from(caller)).collect();
            for _ in 0..3 {
                assert_eq!(asked.next().await.map(|reply| reply.status), Some(503));
            }
            let member = async {
                for _ in 0..served {
                    next_drawer(&mut queue).await;
                }
            };
            let (replies, ()) = futures::future::join(asked.collect::<Vec<_>>(), member).await;
            assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), served);
        }
    }

    /// What a client asks about the node, so many times in one batch.
    fn info(last: u8, times: usize) -> super::super::Call {
        let one = serde_json::json!({ "method": "info" });
        let batch = serde_json::json!({ "method": "batch", "params": { "requests": vec![one; times] } });
        let caller = Caller::Client([10, 0, 0, last].into());
        super::super::Call { body: batch.to_string().into_bytes(), caller }
    }

    /// Answers that, as long as anybody asks.
    async fn say(queue: &mut mpsc::Receiver<Job>) {
        while let Some(job) = queue.recv().await {
            let Job::Request { request: Request::Info, answer, .. } = job else {
                panic!("something else was asked")
            };
            let body = Body::Info { version: "1.2.3".into(), rules: RULES, height: 0 };
            let _ = answer.send(Answer { time: now().as_millis(), body });
        }
    }

    /// How many parts of a batch have this code.
    fn parts(reply: Reply, code: u16) -> usize {
        assert_eq!(reply.status, 200);
        let body: serde_json::Value = serde_json::from_slice(&reply.body.into_bytes()).unwrap();
        let results = body["results"].as_array().unwrap();
        results.iter().filter(|result| result["code"] == code).count()
    }

    #[tokio::test]
    async fn whoever_asks_for_much_at_once_has_a_share_of_the_queue_and_waits() {
        let data = tempfile::tempdir().unwrap();
        let (json, mut queue, _stop) = limited(&data, QUEUE, AdmissionRates::default());
        let greedy = futures::future::join_all((0..64).map(|_| json.answer(info(1, 20), room())));
        let replies = futures::future::join(greedy, json.answer(info(2, 1), room()));
        let member = async {
            // Nothing is taken out until both have what they may.
            while queue.len() <= QUEUE / 8 {
                tokio::task::yield_now().await;
            }
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            assert_eq!(queue.len(), QUEUE / 8 + 1);
            say(&mut queue).await;
        };
        let (greedy, honest) = tokio::select! {
            replies = replies => replies,
            () = member => panic!("nobody asks any more"),
        };
        assert_eq!(parts(honest, 200), 1);
        assert_eq!(
            greedy.into_iter().map(|reply| parts(reply, 200)).sum::<usize>(),
            64 * 20,
            "none is refused"
        );
    }

    #[tokio::test]
    async fn what_clients_ask_counts_to_what_the_node_lets_in_of_all() {
        let data = tempfile::tempdir().unwrap();
        let rate = |burst| Rate { per_second: 0, burst };
        let rates = AdmissionRates { neighbour: rate(100), account: rate(100), total: rate(3) };
        let (json, mut queue, _stop) = limited(&data, 64, rates);
        let reply = tokio::select! {
            reply = json.answer(info(1, 5), room()) => reply,
            () = say(&mut queue) => panic!("nobody asks any more"),
        };
        assert_eq!(parts(reply.clone(), 200), 3);
        assert_eq!(parts(reply, 429), 2);
    }

    #[tokio::test]
    async fn a_signature_that_does_not_hold_is_none_where_nobody_has_to_sign() {
        let (data, owner) = (tempfile::tempdir().unwrap(), KeyPair::from_seed(&[2; 32]));
        let (json, mut queue, _stop) = alone(&data);
        let account = AccountId::of_person(&owner.public()).unwrap();
        // How late its clock is; whether it signs something else; whether its rights were taken away; whether it
        // counts as signed in the end, where it is stored.
        for (namespace, late, forges, revoked, stored) in [
            (0, 0, false, false, Ok(true)),
            (0, 120_000, false, false, Ok(false)),
            (-10, 0, true, false, Ok(false)),
            (20, 0, false, true, Ok(false)),
            (2, 0, false, false, Ok(true)),
            (2, 120_000, false, false, Err(406)),
            (2, 0, true, false, Err(401)),
            (2, 0, false, true, Err(401)),
        ] {
            let (sent, tag) = (now().as_millis(), Namespace(namespace).tag());
            let signed = sent - late;
            let text = if forges { "else".to_owned() } else { format!("store{tag}{signed}") };
            let params = serde_json::json!({
                "pubkey": account.to_string(), "namespace": namespace, "data": "aGVsbG8=", "timestamp": sent,
                "ttl": 600_000, "sig_timestamp": signed, "pubkey_ed25519": HEXLOWER.encode(&owner.public()),
                "signature": BASE64.encode(&owner.sign(text.as_bytes()).0),
            });
            let body = serde_json::json!({ "method": "store", "params": params }).to_string().into_bytes();
            let asking = json.answer(super::super::Call { body, caller: Caller::Onion(None) }, room());
            let mut kept = None;
            let member = async {
                while let Some(job) = queue.recv().await {
                    let Job::Request { request: Request::Store(store), answer, .. } = job else {
                        panic!("something else was asked")
                    };
                    let time = now().as_millis();
                    let told = if revoked && store.auth.is_some() {
                        Answer::refused(time, Code::Unauthorized)
                    } else {
                        kept = Some(store.auth.is_some());
                        let receipts = Receipts { map_version: 1, signed: Vec::new(), missing: Vec::new() };
                        Answer { time, body: Body::Stored { hash: store.hash(), already: false, receipts } }
                    };
                    answer.send(told).unwrap();
                }
            };
            let reply = tokio::select! {
                reply = asking => reply,
                () = member => panic!("nobody asks any more"),
            };
            assert_eq!(
                (reply.status, kept),
                match stored {
                    Ok(signed) => (200, Some(signed)),
                    Err(status) => (status, None),
                },
                "{namespace}, {late} ms late"
            );
        }
    }

    #[tokio::test]
    async fn what_there_is_no_memory_for_is_not_made() {
        let (data, owner) = (tempfile::tempdir().unwrap(), KeyPair::from_seed(&[2; 32]));
        let (json, mut queue, _stop) = alone(&data);
        let nodes = br#"{"method":"active_nodes_bin"}"#.to_vec();
        for call in [read(&owner, -1, false), super::super::Call { body: nodes, ..read(&owner, -1, false) }] {
            let reply = json.answer(call, Room(Arc::new(Bytes(false)))).await;
            assert_eq!(reply.status, 503, "{reply:?}");
        }
        assert!(queue.try_recv().is_err(), "the member is not asked");
    }

    #[test]
    fn a_page_takes_no_more_than_is_asked_for() {
        let page = |max_count, max_size| {
            let (account, namespace) = (AccountId::from_bytes([3; 33]), session_protocols::Namespace::INBOX);
            let (after, last, ids, auth) = (None, None, None, None);
            most(&Request::Retrieve(Retrieve {
                account,
                namespace,
                after,
                last,
                max_count,
                max_size,
                ids,
                auth,
            }))
        };
        let longest = 102_400 + JSON_OVERHEAD;
        for (count, size, bytes) in [
            (None, None, MAX_PAGE_JSON),
            (None, Some(u32::MAX), MAX_PAGE_JSON),
            (None, Some(1_560_000), 1_560_000),
            (None, Some(1), longest),
            (Some(1), None, longest),
            (Some(3), Some(u32::MAX), 3 * longest),
            (Some(u32::MAX), Some(200_000), 200_000),
        ] {
            assert_eq!(page(count, size), Some(bytes), "{count:?} messages, {size:?} bytes");
        }
    }

    #[test]
    fn the_largest_lists_take_no_more_than_is_lent() {
        let account = AccountId::from_bytes([3; 33]);
        let auth = Auth::unsigned(&account, &KeyPair::from_seed(&[2; 32]), 1_700_000_000_000);
        let hash = |number: usize| {
            let mut bytes = [0xff; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            MessageHash(bytes)
        };
        let hashes = || (0..MAX_BULK_JSON).map(hash);
        let expiry = 9_999_999_999_999;
        let takes = |request: Request, body: Body| {
            let answer = Answer { time: expiry, body };
            let reply = door::render(&request, &answer, RULES, |_| None);
            assert_eq!(reply.status, 200);
            let (long, lent) = (reply.body.len(), most(&request).unwrap());
            assert!(long <= lent && lent < 2 * long, "{long} bytes of {lent} for {request:?}");
        };
        let asked = GetExpiries { account, hashes: None, auth: auth.clone() };
        let ends = hashes().map(|hash| End { hash, expiry }).collect();
        takes(Request::GetExpiries(asked), Body::Expiries { ends, more: true });
        // Each member may have another message in each drawer.
        let member = |seed: u8| {
            let listed = (i16::MIN..).zip(hashes()).map(|(drawer, hash)| (Namespace(drawer), hash)).collect();
            let told =
                Told { already: false, listed, unchanged: Vec::new(), signature: Signature([0xff; 64]) };
            Receipt {
                node: KeyPair::from_seed(&[seed; 32]).node_id(),
                done: Done::Changed { hashes: Vec::new() },
                signature: Signature([0xff; 64]),
                told: Some(told),
            }
        };
        let receipts = || {
            let signed = (0..16).map(member).collect();
            Receipts { map_version: 1, signed, missing: Vec::new() }
        };
        for drawers in [Drawers::All, Drawers::One(Namespace(2))] {
            let which = Which::In { drawers, before: None, most: None };
            let delete = Delete { account, which: which.clone(), required: false, auth: auth.clone() };
            takes(Request::Delete(delete), Body::Changed { receipts: receipts() });
            let ends = Ends::All(expiry);
            let expire = Expire { account, which, ends, only: None, auth: auth.clone() };
            takes(Request::Expire(expire), Body::Changed { receipts: receipts() });
        }
    }

    #[test]
    fn requests_of_one_account_name_it_and_no_other() {
        let of = |kind| {
            let account = AccountId::from_bytes([kind; 33]);
            Ok(Call::Storage(Box::new(Request::GetSwarm { account })))
        };
        assert!(of_one(&[of(3)]) && of_one(&[of(3), of(3)]));
        assert!(!of_one(&[of(3), of(4)]) && !of_one(&[of(3), Ok(Call::ActiveNodes)]));
        assert!(
            !of_one(&[Ok(Call::ActiveNodes), of(3)]) && !of_one(&[Err(nothing()), of(3)]) && !of_one(&[])
        );
    }
}
