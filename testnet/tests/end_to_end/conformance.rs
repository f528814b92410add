//! Every request, class of drawer, rule of subaccounts, limit and code of the storage protocol, against a live
//! network, through both doors, and through the onion requests of clients of the JSON door, from one table of cases.
//! Requests over native onion paths are in `mailbox.rs`.

mod json;
mod native;
mod table;

use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace,
    door::onion::Cipher,
    request::{Condition, Door, Token},
};

use crate::support::{Place, until};
use json::Way;

/// What somebody asks. Messages are named by their drawer and text, moments in milliseconds from now.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Store {
        at: At,
        ttl: i64,
        sent: i64,
    },
    Retrieve {
        namespace: i16,
        last: Option<At>,
        count: Option<u32>,
        size: Option<i64>,
    },
    /// Watches a drawer, into which its owner then stores this.
    Monitor {
        at: At,
    },
    Delete {
        messages: Vec<At>,
        required: bool,
    },
    DeleteIn {
        drawer: Option<i16>,
        before: Option<i64>,
    },
    Expire {
        messages: Vec<At>,
        ends: Vec<i64>,
        only: Option<&'static str>,
    },
    ExpireIn {
        drawer: Option<i16>,
        end: i64,
    },
    Expiries {
        messages: Option<Vec<At>>,
    },
    Revoke {
        rights: Vec<u8>,
        undo: bool,
    },
    Revoked,
    Swarm,
    Info,
    Batch(Vec<(Self, By)>),
    Sequence(Vec<(Self, By)>),
    If {
        when: Vec<Condition>,
        then: Option<Box<(Self, By)>>,
        otherwise: Option<Box<(Self, By)>>,
    },
    /// The same of a node that does not keep the account.
    Elsewhere(Box<Self>),
    /// The same so often that the account has had too much, while nobody else has.
    Often(Box<Self>),
}

/// A message: its drawer and its text.
pub(crate) type At = (i16, &'static str);

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    Nobody,
    Owner,
    /// The owner, so many milliseconds from now.
    OwnerAt(i64),
    /// Somebody else in the owner's name.
    Stranger,
    /// A subaccount with these rights.
    Sub(u8),
    /// One with these rights whose token is for accounts of another kind.
    SubOfOthers(u8),
    /// One with these rights whose token somebody else signed.
    SubOfStranger(u8),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Refused(u16),
    Stored {
        already: bool,
    },
    /// The texts, oldest arrival first, and whether more follow.
    Messages(Vec<String>, bool),
    /// The texts that somebody who watches was told of.
    Told(Vec<String>),
    /// The messages that a majority changed, in the order of their hashes.
    Changed(Vec<MessageHash>),
    /// The messages that have an end, in the order of their hashes, and when, in [`steps`] from now.
    Expiries(Vec<(MessageHash, i64)>),
    /// How many subaccounts were given rights back; of those whose rights were to be taken away, how many are told to
    /// have none.
    Count(usize),
    Revoked(Vec<Token>),
    Swarm(usize),
    Info,
    Several(Vec<Self>),
    Chosen(bool, Option<Box<Self>>),
}

/// One row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) steps: Vec<(Call, By, Want)>,
}

/// What is expected, in the words of the table.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    Code(u16),
    /// Another code at each door: the native one, then JSON.
    Codes(u16, u16),
    /// Another answer at each, likewise.
    Each(Box<[Self; 2]>),
    Stored,
    Already,
    Texts(&'static [&'static str]),
    /// The same, and more follow.
    Page(&'static [&'static str]),
    Told(&'static [&'static str]),
    Changed(Vec<At>),
    /// When messages end, in milliseconds from now.
    Expiries(Vec<(At, i64)>),
    Count(usize),
    Revoked(Vec<u8>),
    Swarm,
    Info,
    Several(Vec<Self>),
    Chosen(bool, Option<Box<Self>>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `05`.
    Person,
    /// `03`.
    Group,
    /// Another kind whose id is its key.
    Other(u8),
}

/// An account of one case at one door.
pub(crate) struct Somebody {
    pub(crate) id: AccountId,
    pub(crate) pair: KeyPair,
}

impl Somebody {
    pub(crate) fn new(kind: Kind, number: u16) -> Self {
        let mut seed = [0x5e; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        let pair = KeyPair::from_seed(&seed);
        let plain = |kind| {
            let mut id = [kind; 33];
            id[1..].copy_from_slice(&pair.public());
            AccountId::from_bytes(id)
        };
        let id = match kind {
            Kind::Person => AccountId::of_person(&pair.public()).unwrap(),
            Kind::Group => plain(0x03),
            Kind::Other(kind) => plain(kind),
        };
        Self { id, pair }
    }

    /// The key of a subaccount with these rights.
    pub(crate) fn sub(&self, rights: u8) -> KeyPair {
        let mut seed = *self.pair.seed();
        seed[31] ^= rights;
        seed[30] ^= 0xff;
        KeyPair::from_seed(&seed)
    }

    /// Its token.
    pub(crate) fn token(&self, rights: u8) -> Token {
        Token::new(
            self.id.as_bytes()[0],
            session_protocols::request::Rights(rights),
            &self.sub(rights).public(),
        )
    }

    /// How many of the subaccounts with these rights are among the tokens.
    pub(crate) fn among(&self, rights: &[u8], tokens: &[Token]) -> usize {
        rights.iter().filter(|rights| tokens.contains(&self.token(**rights))).count()
    }

    pub(crate) fn hash(&self, (namespace, text): At) -> MessageHash {
        MessageHash::of(&self.id, Namespace(namespace), text.as_bytes())
    }

    fn expected(&self, want: &Want, swarm: usize, door: Door) -> Got {
        match want {
            Want::Code(code) => Got::Refused(*code),
            Want::Codes(native, json) => Got::Refused(if door == Door::Native { *native } else { *json }),
            Want::Each(each) => {
                let [native, json] = &**each;
                self.expected(if door == Door::Native { native } else { json }, swarm, door)
            }
            Want::Told(texts) => Got::Told(texts.iter().map(|text| (*text).to_owned()).collect()),
            Want::Stored => Got::Stored { already: false },
            Want::Already => Got::Stored { already: true },
            Want::Texts(texts) => Got::Messages(texts.iter().map(|text| (*text).to_owned()).collect(), false),
            Want::Page(texts) => Got::Messages(texts.iter().map(|text| (*text).to_owned()).collect(), true),
            Want::Changed(messages) => {
                let mut hashes: Vec<_> = messages.iter().map(|at| self.hash(*at)).collect();
                hashes.sort_unstable();
                Got::Changed(hashes)
            }
            Want::Expiries(ends) => {
                let mut ends: Vec<_> = ends.iter().map(|(at, end)| (self.hash(*at), steps(*end))).collect();
                ends.sort_unstable();
                Got::Expiries(ends)
            }
            Want::Count(count) => Got::Count(*count),
            Want::Revoked(rights) => Got::Revoked(rights.iter().map(|rights| self.token(*rights)).collect()),
            Want::Swarm => Got::Swarm(swarm),
            Want::Info => Got::Info,
            Want::Several(wants) => {
                Got::Several(wants.iter().map(|want| self.expected(want, swarm, door)).collect())
            }
            Want::Chosen(condition, want) => {
                Got::Chosen(*condition, want.as_ref().map(|want| Box::new(self.expected(want, swarm, door))))
            }
        }
    }
}

/// Milliseconds since 1970, so many from now.
pub(crate) fn moment(offset: i64) -> u64 {
    session_protocols::Time::from_millis(now_ms()).as_millis().saturating_add_signed(offset)
}

/// How many steps of five minutes an offset is, to the nearest: what is asked for and what is read lie some time apart.
pub(crate) fn steps(offset: i64) -> i64 {
    const STEP: i64 = 300_000;
    (offset + STEP / 2).div_euclid(STEP)
}

/// How many of them from now something ends.
pub(crate) fn steps_to(end: u64) -> i64 {
    steps(i64::try_from(end).unwrap() - i64::try_from(moment(0)).unwrap())
}

/// The texts that a reader of a whole drawer sees, in whatever order they arrived; none of other answers.
fn seen(call: &Call, got: &Got) -> Option<Vec<String>> {
    match (call, got) {
        (Call::Retrieve { last: None, count: None, size: None, .. }, Got::Messages(texts, false)) => {
            let mut texts = texts.clone();
            texts.sort_unstable();
            Some(texts)
        }
        _ => None,
    }
}

/// Whether one of several requests was refused because there were too many.
fn too_many(got: &Got) -> bool {
    matches!(got, Got::Several(each) if each.contains(&Got::Refused(429)))
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// What one account may fill: three of the longest messages, and not four.
const ACCOUNT_BYTES: &str = "300000";
/// Requests in a batch of those that come too often.
const BATCH: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_serve_every_request_alike() {
    let place = Place::up_with(&["--account-bytes", ACCOUNT_BYTES]).await;
    let native = native::Door::open(&place).await;
    let json = json::Door::open(&place);
    let mut wrong = Vec::new();
    for (number, case) in (0_u16..).zip(table::cases()) {
        // Each way has accounts of its own, so that none sees what the others did.
        let [one, other, hidden] = [0, 1, 2].map(|way| Somebody::new(case.kind, 3 * number + way));
        for (step, (call, by, want)) in case.steps.iter().enumerate() {
            let mut judge = |way: &str, got: &Got, expected: &Got| {
                if got != expected {
                    let step = format!("{}, step {step}, {way}: {call:?} by {by:?}", case.name);
                    wrong.push(format!("{step}: {got:?}, not {expected:?}"));
                }
                seen(call, expected).filter(|_| got == expected)
            };
            let got = native.ask(&one, call, *by).await;
            let expected = one.expected(want, native.members(&one).await.len(), Door::Native);
            if let Some(texts) = judge("native", &got, &expected) {
                until("another member shows natively what the first does", async || {
                    let got = native.ask_at(1, &one, call, *by).await;
                    (seen(call, &got).as_ref() == Some(&texts)).then_some(())
                })
                .await;
            }
            let got = json.ask(Way::Door(0), &other, call, *by).await;
            let expected = other.expected(want, json.members(&other).await, Door::Json);
            if let Some(texts) = judge("JSON", &got, &expected) {
                until("another member shows in JSON what the first does", async || {
                    let got = json.ask(Way::Door(1), &other, call, *by).await;
                    (seen(call, &got).as_ref() == Some(&texts)).then_some(())
                })
                .await;
            }
            let cipher = if number % 2 == 0 { Cipher::AesGcm } else { Cipher::XChaCha20 };
            let got = json.ask(Way::Hops(cipher), &hidden, call, *by).await;
            let expected = hidden.expected(want, json.members(&hidden).await, Door::Json);
            judge("JSON over three hops", &got, &expected);
        }
    }
    assert!(wrong.is_empty(), "{} of the table's steps are wrong:\n{}", wrong.len(), wrong.join("\n"));
    json.aliases_and_tolerance().await;
    json.codes_of_its_own().await;
    json.three_hops().await;
}
