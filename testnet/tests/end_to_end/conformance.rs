//! Every request, class of drawer, rule of subaccounts, limit and code of the storage protocol, against a live
//! network, through both doors, from one table of cases.

mod json;
mod native;
mod table;

use session_protocols::{
    AccountId, KeyPair, MessageHash, Namespace,
    request::{Door, Token},
};

use crate::support::Place;

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
    /// If the node's rules are at least of this version.
    If {
        rules: [u64; 2],
        then: Option<Box<(Self, By)>>,
        otherwise: Option<Box<(Self, By)>>,
    },
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
    /// How many have an end, and all of them after now.
    Expiries(usize),
    /// How many subaccounts were given rights back.
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
    Expiries(usize),
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
            Want::Expiries(count) => Got::Expiries(*count),
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

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_serve_every_request_alike() {
    let place = Place::up().await;
    let native = native::Door::open(&place).await;
    let json = json::Door::open(&place);
    let mut wrong = Vec::new();
    for (number, case) in (0_u16..).zip(table::cases()) {
        // Each door has accounts of its own, so that neither sees what the other did.
        let (one, other) = (Somebody::new(case.kind, 2 * number), Somebody::new(case.kind, 2 * number + 1));
        for (step, (call, by, want)) in case.steps.iter().enumerate() {
            let got = native.ask(&one, call, *by).await;
            let expected = one.expected(want, native.members(&one).await.len(), Door::Native);
            if got != expected {
                wrong.push(format!(
                    "{}, step {step}, native: {call:?} by {by:?}: {got:?}, not {expected:?}",
                    case.name
                ));
            }
            let got = json.ask(&other, call, *by).await;
            let expected = other.expected(want, json.members(&other).await, Door::Json);
            if got != expected {
                wrong.push(format!(
                    "{}, step {step}, JSON: {call:?} by {by:?}: {got:?}, not {expected:?}",
                    case.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of the table's steps are wrong:\n{}", wrong.len(), wrong.join("\n"));
    json.aliases_and_tolerance().await;
    json.codes_of_its_own().await;
    json.three_hops().await;
}
