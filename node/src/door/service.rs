//! What clients of the JSON door ask, answered by the service behind every door.

use std::sync::Arc;

use data_encoding::BASE64;
use futures::future::BoxFuture;
use session_protocols::{
    answer::{Code, JSON_OVERHEAD, MAX_PAGE_COUNT, MAX_PAGE_IDS, MAX_PAGE_JSON},
    door::{
        self, Call, Reply,
        names::{NONCE, resolved},
        nodes::{Listing, active_nodes, service_nodes},
        render::{self, Stamp},
    },
    message::MAX_DATA,
    request::{Request, Retrieve},
};
use tokio::sync::watch;

use super::{
    Caller, Loan, Room, Service,
    turns::{Turn, Turns},
};
use crate::{
    links::{self, Links, walk},
    now,
};

/// Long answers that are made at once.
const LONG: usize = 8;
/// Those of one caller.
const LONG_EACH: usize = 2;
/// The most bytes that the end of one message takes in an answer.
const END: usize = 64;

/// The service behind the JSON door.
#[derive(Clone)]
pub(crate) struct Json {
    links: Links,
    /// The nodes that clients are told of.
    listing: watch::Receiver<Arc<Listing>>,
    long: Arc<Turns<Caller>>,
}

/// Who asks.
struct Asker {
    whose: Caller,
    /// The memory that may be had for it.
    room: Room,
}

impl Service for Json {
    fn answer(&self, call: super::Call, room: Room) -> BoxFuture<'static, Reply> {
        let json = self.clone();
        Box::pin(async move {
            let parsed = door::parse(&call.body, now().as_millis());
            let asker = Asker { whose: call.caller.counted(), room };
            drop(call.body);
            match parsed {
                Ok(call) => json.run(call, &asker).await,
                Err(refused) => refused,
            }
        })
    }
}

impl Json {
    /// Answers with what links know, and tells of the nodes of a listing.
    pub(crate) fn new(links: Links, listing: watch::Receiver<Arc<Listing>>) -> Self {
        Self { links, listing, long: Arc::new(Turns::new(LONG_EACH, LONG)) }
    }

    fn run<'a>(&'a self, call: Call, asker: &'a Asker) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            match call {
                Call::Storage(request) => self.storage(*request, asker).await,
                Call::Nodes(asked) => {
                    let bytes = self.listing.borrow().bytes();
                    let Some(_long) = self.turn(bytes, asker).await else { return full() };
                    let result = service_nodes(&self.listing.borrow(), &asked, seed());
                    render::result_of(&result, self.stamp())
                }
                Call::ActiveNodes => {
                    let bytes = self.listing.borrow().bytes();
                    let Some(_long) = self.turn(bytes, asker).await else { return full() };
                    let nodes = BASE64.encode(&active_nodes(&self.listing.borrow()));
                    let mut fields = serde_json::json!({ "nodes": nodes });
                    self.stamp().put(&mut fields);
                    Reply::json(200, &fields)
                }
                Call::Name(hash) => self.name(hash, asker.whose).await,
                Call::Batch(calls) => self.several(calls, false, asker).await,
                Call::Sequence(calls) => self.several(calls, true, asker).await,
                Call::If { when, then, otherwise } => {
                    let Ok((condition, info)) = self.links.hold(&when, links::Caller::Json).await else {
                        return nothing();
                    };
                    let chosen = match if condition { then } else { otherwise } {
                        Some(call) => Some(self.run(*call, asker).await),
                        None => None,
                    };
                    render::choice(&info, condition, chosen)
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
        let reply = match call {
            Ok(call) => self.run(call, asker).await,
            Err(refused) => refused,
        };
        if asker.room.take(reply.body.len()) { reply } else { full() }
    }

    /// Waits for the asker's turn to have an answer made of so many bytes at most, and holds the memory for it. None
    /// where there is none: what is not charged before may be made many times over until it is.
    async fn turn<'a>(&'a self, bytes: usize, asker: &Asker) -> Option<(Turn<'a, Caller>, Loan)> {
        let turn = self.long.take(asker.whose).await;
        Some((turn, asker.room.lend(bytes)?))
    }

    async fn storage(&self, request: Request, asker: &Asker) -> Reply {
        let (about, most) = (request.without_message(), most(&request));
        // Whoever waits for a check holds up nobody who may be answered: signatures are checked together.
        let admitted = self.links.admit(request, links::Caller::Json).await;
        let _long = match most {
            Some(bytes) if admitted.is_ok() => {
                let Some(long) = self.turn(bytes, asker).await else { return full() };
                Some(long)
            }
            Some(_) | None => None,
        };
        let answer = match admitted {
            Ok(request) => self.links.one(request, links::Caller::Json, None).await,
            Err(code) => Some(self.links.refuse(code)),
        };
        let Some(answer) = answer else { return nothing() };
        let listing = Arc::clone(&self.listing.borrow());
        door::render(&about, &answer, listing.rules(), |id| listing.node(id).cloned())
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
            Some(asked.hashes.as_ref().map_or(MAX_PAGE_IDS, Vec::len).min(MAX_PAGE_IDS) * END)
        }
        Request::Store(_)
        | Request::Fetch(_)
        | Request::Delete(_)
        | Request::Expire(_)
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
    use data_encoding::HEXLOWER;
    use session_protocols::{
        AccountId, KeyPair,
        answer::{Answer, Body, RULES},
        request::Cursor,
    };
    use tokio::sync::mpsc;

    use super::*;
    use crate::{door::Lender, member::Job, onion::Hop};

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
        let node = KeyPair::from_seed(&[1; 32]);
        let hop = Hop::open(data.path(), "test".parse().unwrap(), node.node_id(), [].into(), true).unwrap();
        let (jobs, queue) = mpsc::channel(64);
        let (links, stop) = Links::alone(&node, true, hop, jobs);
        let listing = watch::channel(Arc::new(Listing::new(Vec::new(), 0, RULES))).1;
        (Json::new(links, listing), queue, stop)
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
        let (data, owner) = (tempfile::tempdir().unwrap(), KeyPair::from_seed(&[2; 32]));
        let (json, mut queue, _stop) = alone(&data);
        let from = |last: u8, call: super::super::Call| {
            let caller = super::super::Caller::Client([10, 0, 0, last].into());
            json.answer(super::super::Call { caller, ..call }, room())
        };
        let page = serde_json::from_slice::<serde_json::Value>(&read(&owner, -1, false).body).unwrap();
        let batch = serde_json::json!({ "method": "batch", "params": { "requests": vec![page; 20] } });
        let batch = || super::super::Call { body: batch.to_string().into_bytes(), ..read(&owner, -1, false) };
        let greedy = futures::future::join_all((0..16).map(|_| from(1, batch())));
        let honest = from(2, read(&owner, -21, false));
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
                _ = greedy => panic!("all of theirs came first"),
                reply = honest => reply,
            }
        };
        let (reply, before) = futures::future::join(reading, served).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(before <= LONG_EACH, "{before} pages of another address came first");
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
