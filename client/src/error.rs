//! What can go wrong between a client and the network, and what to do about it.

use session_protocols::{
    AccountId, NetworkName, NodeId,
    answer::Code,
    names::{Kind, Name, keys::OutOfMemory, seal::OpenError},
    path::PathError,
    request::{MAX_REQUEST, MAX_REQUESTS},
};

use crate::{
    directory::DirectoryError,
    envelope::SealError,
    home::{HomeError, Pin},
    membership::Age,
};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The network file names no node that could keep the account.
    #[error("the network file names no node that keeps {account}")]
    NoNodes {
        /// The account.
        account: AccountId,
    },
    /// No member of the swarm answered.
    #[error("none of the {swarm} nodes that keep {account} answers; {asked} were asked")]
    Unreachable {
        /// Whose mailbox.
        account: AccountId,
        /// How many different nodes were asked.
        asked: usize,
        /// How many nodes keep the mailbox.
        swarm: usize,
    },
    /// A node did not answer.
    #[error("node {node} does not answer")]
    Silent {
        /// The node.
        node: NodeId,
    },
    /// The network file does not name this node.
    #[error("node {node} is not in the network file")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// Fewer than a majority of the swarm have proven that it is done.
    #[error(
        "only {durable} of the {swarm} nodes that keep {account} have proven to have it, {wanted} are needed"
    )]
    NotDurable {
        /// Whose mailbox.
        account: AccountId,
        /// How many have proven it.
        durable: usize,
        /// How many have to.
        wanted: usize,
        /// How many nodes keep the mailbox.
        swarm: usize,
    },
    /// Nodes refused.
    #[error("refused by node {node} ({number}): {code}", number = .code.number())]
    Refused {
        /// The last one that did.
        node: NodeId,
        /// Why.
        code: Code,
    },
    /// Nodes gave answers that cannot be believed, and none gave a better one.
    #[error("cannot believe node {node}: {what}")]
    Disbelieved {
        /// The last one that did.
        node: NodeId,
        /// What is wrong with its answer.
        what: &'static str,
    },
    /// The clock is too far from those of the nodes.
    #[error("the clock differs from those of the nodes by about {seconds} s")]
    Clock {
        /// By how much, positive when the clock is behind.
        seconds: i64,
    },
    /// The mailbox is larger than any that nodes keep.
    #[error("the mailbox of {account} does not end after {bytes} bytes")]
    Endless {
        /// Whose.
        account: AccountId,
        /// How much of it was read.
        bytes: usize,
    },
    /// There is no signed list of nodes that can be used.
    #[error("no list of nodes that can be used")]
    Directory {
        /// What the last node that was asked had to offer.
        #[source]
        cause: DirectoryError,
    },
    /// There is no onion path to the nodes that are to be asked.
    #[error("no path: {0}")]
    Path(#[from] PathError),
    /// The request is larger than any that may be sent.
    #[error("a request of {bytes} bytes is larger than the {MAX_REQUEST} that nodes take")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// One request names more messages than it may.
    #[error("{named} messages are named at once, and {most} is the most")]
    TooManyNamed {
        /// How many it names.
        named: usize,
        /// How many it may.
        most: usize,
    },
    /// A choice has no conditions, or more of them or more to do than one request may hold.
    #[error(
        "a choice has 1 to {MAX_REQUESTS} conditions and as many things to do at most, not {many} {what}"
    )]
    NoChoice {
        /// How many there are.
        many: usize,
        /// Of what.
        what: &'static str,
    },
    /// Requests were to go straight to nodes of a network that is not this machine's.
    #[error("requests to the network {network} must not go straight to its nodes: it is not a local one")]
    NotLocal {
        /// The network.
        network: NetworkName,
    },
    /// The guards that were kept cannot be read.
    #[error("cannot tell which nodes are the guards")]
    Guards(#[source] HomeError),
    /// The message cannot be written.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The network has no names.
    #[error("the network {network} has no chain, and so no names")]
    NoNames {
        /// The network.
        network: NetworkName,
    },
    /// Nobody has the name.
    #[error("nobody has the name {name}")]
    NameFree {
        /// The name.
        name: Name,
    },
    /// The name's owner has not renewed it.
    #[error("the name {name} has expired")]
    NameExpired {
        /// The name.
        name: Name,
    },
    /// The name says nothing of this kind.
    #[error("the name {name} has no record that says its {kind}")]
    NoRecord {
        /// The name.
        name: Name,
        /// What it does not say.
        kind: Kind,
    },
    /// What the name says cannot be read.
    #[error("what the name {name} says of its {kind} cannot be read")]
    Record {
        /// The name.
        name: Name,
        /// What was asked for.
        kind: Kind,
        /// Why.
        #[source]
        cause: OpenError,
    },
    /// The name says something else than when it was followed before, or is somebody else's and says something
    /// that was never followed.
    #[error("{}", changed(.name, *.kind, .led, *.of, .before, .now))]
    NameChanged {
        /// The name.
        name: Name,
        /// Which record.
        kind: Kind,
        /// Which name was followed before: the same, or if it never was, its parent or a sub-name beside it.
        led: Box<Name>,
        /// Which record was followed before: the same, or if it never was, another of the owner before.
        of: Kind,
        /// What that was.
        before: Box<Pin>,
        /// What it is.
        now: Box<Pin>,
    },
    /// The name says something else than the user agreed to: it has changed once more.
    #[error("the {kind} of the name {name} is {}, and {agreed} was agreed to", .now.value)]
    NotAgreed {
        /// The name.
        name: Name,
        /// Which record.
        kind: Kind,
        /// What was agreed to.
        agreed: String,
        /// What it is.
        now: Box<Pin>,
    },
    /// What is known of the name is old, and somebody is to be paid.
    #[error(
        "what is known of the name {name} is {} epochs old: nobody has shown what became of it since", .age.missing
    )]
    NamesOld {
        /// The name.
        name: Name,
        /// How old.
        age: Age,
    },
    /// No node answered a lookup.
    #[error("no node answers a lookup of the name; {asked} were asked")]
    NamesSilent {
        /// How many.
        asked: usize,
    },
    /// What names were followed to before cannot be read or written.
    #[error("cannot tell where names led before")]
    Pins(#[source] HomeError),
    /// There is not the memory to compute a name's id.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    /// The operating system gives no random bytes.
    #[error("no random bytes from the operating system")]
    Random(#[source] getrandom::Error),
    /// The transports cannot be set up.
    #[error("cannot set up the transports")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ClientError {
    /// A name for the kind of error that stays as it is, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoNodes { .. } => "no_nodes",
            Self::Unreachable { .. } | Self::Silent { .. } => "unreachable",
            Self::UnknownNode { .. } => "unknown_node",
            Self::NotDurable { .. } => "not_durable",
            Self::Refused { .. } => "refused",
            Self::Disbelieved { .. } | Self::Endless { .. } => "disbelieved",
            Self::Clock { .. } => "clock",
            Self::Directory { cause: DirectoryError::Outdated(_) } => "outdated",
            Self::Directory { .. } => "no_directory",
            Self::Path(PathError::Guards { .. }) => "guards_gone",
            Self::Path(PathError::Unkept) => "guards_unkept",
            Self::Path(_) => "no_path",
            Self::TooLarge { .. } | Self::TooManyNamed { .. } => "too_large",
            Self::NoChoice { .. } => "no_choice",
            Self::NotLocal { .. } => "not_local",
            Self::Guards(_) => "guards",
            Self::Seal(_) => "not_sealed",
            Self::NoNames { .. } => "no_names",
            Self::NameFree { .. } => "name_free",
            Self::NameExpired { .. } => "name_expired",
            Self::NoRecord { .. } => "no_record",
            Self::Record { .. } => "record_unreadable",
            Self::NameChanged { .. } | Self::NotAgreed { .. } => "name_changed",
            Self::NamesOld { .. } => "names_old",
            Self::NamesSilent { .. } => "unreachable",
            Self::Pins(_) => "pins",
            Self::Memory(_) => "no_memory",
            Self::Random(_) => "no_randomness",
            Self::Setup(_) => "setup",
        }
    }

    /// What whoever sees the error can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoNodes { .. } => "check that the network file is the right one and lists nodes",
            Self::Unreachable { .. } => {
                "check the connection to the internet, and that the network file is the right one and recent"
            }
            Self::Silent { .. } => "check that the node runs and can be reached from here, or ask another",
            Self::UnknownNode { .. } => "check the id of the node, or get a newer network file",
            Self::NotDurable { .. } => "try again: repeating is safe, and nothing is stored twice",
            Self::Refused { code, .. } => refusal_remedy(*code),
            Self::Disbelieved { .. } | Self::Endless { .. } => {
                "try again; if it persists, get the network file anew from where you trust it"
            }
            Self::Directory { cause: DirectoryError::Outdated(_) } => {
                "look whether the clock of this device is right, and take a newer network file from where you trust it: \
                 whoever was a node so long ago may have nothing to lose any more, so none of them is asked"
            }
            Self::Directory { .. } => {
                "try again in a minute: nodes sign a list soon after they start; if it persists, check the clock \
                 of this device and get a newer network file"
            }
            Self::Clock { .. } => "set the clock of this device",
            Self::Path(PathError::Guards { .. }) => {
                "check the connection to the internet and try again; it goes on when one of them is back"
            }
            Self::Path(PathError::Unkept) => {
                "make room on the disk, and check that the home folder may be written to; nothing is sent \
                 through nodes that another run would not know again"
            }
            Self::Path(PathError::TooFew { .. }) => {
                "wait until more nodes run, or get a newer network file; on a local network go without: --direct"
            }
            Self::Path(_) => "try again in a few seconds",
            Self::TooLarge { .. } => "send less at once",
            Self::TooManyNamed { .. } => "name fewer at once, in several requests",
            Self::NoChoice { .. } => "name a condition, and do more than that in several requests",
            Self::NotLocal { .. } => "leave the direct way off",
            Self::Guards(HomeError::Broken { remedy, .. }) => remedy,
            Self::Guards(_) => "check the home folder, its owner, and that this build is not too old for it",
            Self::Seal(SealError::TooLong { .. }) => "send a shorter text, or send it in parts",
            Self::Seal(_) => "check the account id of the recipient",
            Self::NoNames { .. } => "use an account id, or a name from the address book",
            Self::NameFree { .. } => {
                "check how it is written; a name that was registered just now is known when the next epoch ends; \
                 if you want it, register it now, as the node that was asked has heard its id"
            }
            Self::NameExpired { .. } => "ask its owner to renew it, or for the account id",
            Self::NoRecord { .. } => {
                "ask its owner to set it; what was set just now is known when the next epoch ends"
            }
            Self::Record { .. } => "ask its owner to set it again",
            Self::NamesOld { .. } => {
                "look whether the clock of this device is right, and try again in some minutes; nodes that show no \
                 newer checkpoint for long hide it, or too few of them run; whoever must be paid now is paid at an \
                 address that they told you another way"
            }
            Self::NameChanged { .. } | Self::NotAgreed { .. } => {
                "ask the one you mean, another way, whether that is right; then agree to follow the name"
            }
            Self::NamesSilent { .. } => "check the connection to the internet, and try again",
            Self::Pins(HomeError::Broken { remedy, .. }) => remedy,
            Self::Pins(_) => "check the home folder, its owner, and that this build is not too old for it",
            Self::Memory(_) => "close something, or try later",
            Self::Random(_) => "restart the device; its source of randomness does not work",
            Self::Setup(_) => "check that programs may use the network here, and limits on open files",
        }
    }
}

/// What has changed about a name.
fn changed(name: &Name, kind: Kind, led: &Name, of: Kind, before: &Pin, now: &Pin) -> String {
    let (was, is) = (&before.value, &now.value);
    let said = match (led == name, kind == of) {
        (true, true) => format!("the {kind} of the name {name} is another: it was {was}, and is {is}"),
        (true, false) => {
            format!("the name {name} says that its {kind} is {is}; when it was followed its {of} was {was}")
        }
        (false, _) => format!(
            "the name {name} says that its {kind} is {is}; when {led} was followed, which belongs to the same owner, \
             the {of} of that was {was}"
        ),
    };
    match before.is_under(now) {
        true => said,
        false => format!("{said}; the name has changed hands since, and is {}'s", now.owner),
    }
}

const fn refusal_remedy(code: Code) -> &'static str {
    match code {
        Code::BadRequest | Code::WrongSwarm => "update this program, and get a newer network file",
        Code::Unauthorized => "check that the account is the owner of the mailbox",
        Code::BadTtl => "choose a life of 10 seconds to 14 days, or 30 days in a private namespace",
        Code::NotFound => "look at the mailbox: none of the messages is there",
        Code::Clock => "set the clock of this device",
        Code::TooLarge => "send less at once",
        Code::TooMany => "wait a while and try again",
        Code::Failed | Code::NotReady => "try again in a few seconds",
        Code::Full => "delete messages from the mailbox, or wait until some expire",
    }
}
