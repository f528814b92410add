//! What the contracts refuse with: by name, in words, and with what to do.

use core::fmt;

use alloy::{
    primitives::U256,
    sol_types::{Panic, Revert, SolError, SolInterface, decode_revert_reason},
    transports::{RpcError, TransportError},
};
use interface::{Contracts::ContractsErrors as Known, Namesakes::NamesakesErrors as Namesake};

use super::endpoint;
use crate::ledger::Amount;

/// The errors of the contracts and of the libraries that they use.
#[allow(missing_docs, unreachable_pub, clippy::too_many_arguments)]
mod interface {
    alloy::sol! {
        #[derive(Debug)]
        interface Contracts {
            error AccessControlBadConfirmation();
            error AccessControlUnauthorizedAccount(address account, bytes32 neededRole);
            error AccountBalanceOverflow();
            error AlreadyAContributor(uint64 id, address account);
            error AlreadyCommitted(bytes32 commitment, uint256 until);
            error BadEpochs(uint64 genesis, uint64 epochSeconds);
            error BadIds(uint256 length);
            error BadLength(uint256 length, uint256 wanted);
            error BadNameLength(uint256 length, uint256 most);
            error BadNumberOfShares(uint256 shares, uint256 most);
            error BadPrefix(bytes7 prefix);
            error BadProofOfPossession();
            error BadSignature(bytes32 digest);
            error BadStake(uint256 staked, uint256 required);
            error BadValue(uint256 sent, uint256 wanted);
            error BalanceQueryForZeroAddress();
            error BorderAhead(uint64 epoch, uint64 currentEpoch);
            error BorderForgotten(uint64 epoch, uint64 oldest);
            error ClaimsPaused();
            error CommitmentTooNew(uint256 opens);
            error CommitmentTooOld(uint256 closed);
            error ECDSAInvalidSignature();
            error ECDSAInvalidSignatureLength(uint256 length);
            error ECDSAInvalidSignatureS(bytes32 s);
            error ERC1363ApproveFailed(address spender, uint256 value);
            error ERC1363InvalidReceiver(address receiver);
            error ERC1363InvalidSpender(address spender);
            error ERC1363TransferFailed(address receiver, uint256 value);
            error ERC1363TransferFromFailed(address sender, address receiver, uint256 value);
            error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
            error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
            error ERC20InvalidApprover(address approver);
            error ERC20InvalidReceiver(address receiver);
            error ERC20InvalidSender(address sender);
            error ERC20InvalidSpender(address spender);
            error ERC2612ExpiredSignature(uint256 deadline);
            error ERC2612InvalidSigner(address signer, address owner);
            error EpochTaken(uint64 epoch, uint64 next);
            error ExitAlreadyRequested(uint64 id, uint64 requestedAt);
            error ExitNotRequested(uint64 id);
            error FailedCall();
            error FailedDeployment();
            error FeeOutOfRange(uint16 fee, uint256 most);
            error FeeTooHigh(uint256 fee, uint256 most);
            error G1AddFailed();
            error Incomplete(uint256 total, uint256 requirement);
            error InsufficientBalance(uint256 balance, uint256 needed);
            error InvalidAccountNonce(address account, uint256 currentNonce);
            error InvalidShortString();
            error KeyInUse(uint64 id);
            error Miswired();
            error MoreThanReleased(uint256 paid, uint256 released);
            error NameExpired(uint256 id, uint256 expiry);
            error NameTaken(uint256 id, uint256 freeAt);
            error NoEther(uint256 value);
            error NoLabel();
            error NoOffer(uint256 id);
            error NoSlot();
            error NoSuchName(uint256 id);
            error NoSuchNode(uint64 id);
            error NotAContribution(address caller);
            error NotAContributor(address caller);
            error NotAscending(uint64 id, uint64 previous);
            error NotBuyer(uint256 id, address caller);
            error NotCommitted(bytes32 commitment);
            error NotFactory(address caller);
            error NotForSale(uint256 id);
            error NotGateway(address caller, address gateway);
            error NotGuardian(address caller);
            error NotInCheckpoint(address account, uint256 lifetimeTotal);
            error NotInSet(uint64 id, uint64 epoch);
            error NotLender(address caller);
            error NotOperator(address caller);
            error NotOwner(uint256 id, address caller);
            error NotOwnerNorApproved();
            error NotPermitted(uint256 id, address caller);
            error NotRegistrar(address caller, address registrar);
            error NotTheSet(uint64 epoch, bytes32 given, bytes32 kept);
            error NotToken(address caller);
            error NotVault(address caller);
            error NotVaultOwner(address caller);
            error NothingToClaim(uint256 lifetimeTotal, uint256 claimed);
            error OfferBinds(uint256 id, uint256 until);
            error OfferTimeOutOfRange(uint256 until, uint256 least, uint256 most);
            error OfferTooLow(uint256 amount, uint256 least);
            error OperatorCancels();
            error OperatorShareTooSmall(uint256 amount, uint256 least);
            error OutOfBounds(bytes32 name, uint256 value, uint256 least, uint256 most);
            error OwnableInvalidOwner(address owner);
            error OwnableUnauthorizedAccount(address account);
            error PeriodOutOfRange(uint256 period, uint256 least, uint256 most);
            error PriceTooHigh(uint256 price, uint256 most);
            error ReservedTwice(address contributor);
            error ShareLocked(uint64 id, uint256 until);
            error StringTooLong(string str);
            error TimelockInsufficientDelay(uint256 delay, uint256 minDelay);
            error TimelockInvalidOperationLength(uint256 targets, uint256 payloads, uint256 values);
            error TimelockUnauthorizedCaller(address caller);
            error TimelockUnexecutedPredecessor(bytes32 predecessorId);
            error TimelockUnexpectedOperationState(bytes32 operationId, bytes32 expectedStates);
            error TokenAlreadyExists();
            error TokenDoesNotExist();
            error TooEarly(uint256 opens);
            error TooFewNodes(uint256 nodes, uint256 least);
            error TooFewSigners(uint256 signers, uint256 nodes);
            error TooLittle(uint256 amount, uint256 least);
            error TooManySubnames(uint256 id, uint256 most);
            error TooMuch(uint256 amount, uint256 most);
            error TransferFailed();
            error TransferFromFailed();
            error TransferFromIncorrectOwner();
            error TransferToNonERC721ReceiverImplementer();
            error TransferToZeroAddress();
            error UnknownKind(uint8 kind, uint8 most);
            error UnknownParameter(bytes32 name);
            error ValueTooLong(uint256 length, uint256 most);
            error VaultEmpty(uint256 has, uint256 wanted);
            error VersionChanged(uint256 id, uint32 version, uint32 seen);
            error WrongPrevious(bytes32 given, bytes32 wanted);
            error WrongState(uint64 id, uint8 state);
            error WrongStatus(uint8 status);
            error ZeroAddress();
        }
        /// Of the same names as others.
        #[derive(Debug)]
        interface Namesakes {
            error NotAContributor(uint64 id, address account);
            error NotInCheckpoint(uint64 id, uint8 state, uint16 penaltyBps);
            error TooEarly(uint64 id, uint256 opens);
        }
    }
}

/// Why a contract refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The contract's own error, with its values, such as `TooFewNodes { nodes: 3, least: 4 }`; what it or the
    /// endpoint says where it is none of those.
    pub error: String,
    /// What that means, where it is known.
    pub meaning: Option<String>,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.meaning {
            Some(meaning) => write!(f, "{meaning} ({})", self.error),
            None => f.write_str(&self.error),
        }
    }
}

impl Refusal {
    /// Reads the refusal of a call.
    pub fn of(error: &TransportError) -> Self {
        if let Some(refusal) = endpoint::revert_data(error).and_then(|data| Self::decode(&data)) {
            return refusal;
        }
        let said = if let RpcError::ErrorResp(refusal) = error {
            endpoint::words(&refusal.message)
        } else {
            endpoint::trouble(error).to_string()
        };
        Self::unknown(said)
    }

    /// Reads what a contract reverted with; none when it said nothing.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let selector = data.first_chunk::<4>()?;
        if let Ok(error) = Known::abi_decode(data) {
            let (meaning, remedy) = meaning(&error).unzip();
            let remedy = remedy.unwrap_or(REPORT);
            return Some(Self { error: inner(&format!("{error:?}")), meaning, remedy });
        }
        if let Ok(error) = Namesake::abi_decode(data) {
            let (meaning, remedy) = namesake(&error);
            return Some(Self { error: inner(&format!("{error:?}")), meaning: Some(meaning), remedy });
        }
        let usual = [Revert::SELECTOR, Panic::SELECTOR].contains(selector);
        let said = usual.then(|| decode_revert_reason(data)).flatten();
        let unknown =
            || format!("an error that is not known here, 0x{}", data_encoding::HEXLOWER.encode(selector));
        Some(Self::unknown(said.map_or_else(unknown, |said| endpoint::words(&said))))
    }

    /// Whether it says that the checkpoint, or a later one, was taken before.
    pub(super) fn is_taken(&self) -> bool {
        self.error.starts_with("EpochTaken ")
    }

    pub(super) const fn unknown(error: String) -> Self {
        Self { error, meaning: None, remedy: REPORT }
    }
}

/// What to do about errors that nobody should meet.
const REPORT: &str = "check the contracts' addresses in the network file; if they are right, report this";
const ASK_LESS: &str = "give an amount within the bounds";
const LATER: &str = "try again at that time";
const AGAIN: &str = "see what it costs, and try again if you agree";
const NEXT_CHECKPOINT: &str = "wait for the next checkpoint, an epoch at most, and try again";
const PERMIT: &str = "sign the permission again, or approve the tokens in a transaction";

/// What an error means and what to do, for those that people meet.
#[expect(clippy::wildcard_enum_match_arm, reason = "of what nobody should meet the name says enough")]
fn meaning(error: &Known) -> Option<(String, &'static str)> {
    let told = match error {
        Known::BadPrefix(_) => (
            "the address prefix is neither an IPv4 /24 nor an IPv6 /48".to_owned(),
            "make the node's registration again, with `session node init`",
        ),
        Known::BadProofOfPossession(_) => (
            "the node's BLS key did not sign this registration: it was made for another operator, contract or \
             chain, or before the key was registered last"
                .to_owned(),
            "make the node's registration again for this operator and network, with `session node init --again`",
        ),
        Known::KeyInUse(it) => {
            (
                format!("node {} holds this BLS key", it.id),
                "each node needs keys of its own: `session node init`. Where the nodes refused what it was registered \
             with, get that stake back first: `session stake withdraw NODE`",
            )
        }
        Known::FeeOutOfRange(it) => {
            (format!("a fee of {} % is more than all", percent(it.fee)), "give a fee of 0 to 100 %")
        }
        Known::BadStake(it) => (
            format!("the shares come to {} and a node takes {}", sesh(it.staked), sesh(it.required)),
            "stake exactly what a node takes; it may have changed",
        ),
        Known::OperatorShareTooSmall(it) => (
            format!("the operator's share is {} and has to be {} at least", sesh(it.amount), sesh(it.least)),
            "raise the operator's share: it is a quarter of the stake or more",
        ),
        Known::BadNumberOfShares(it) => {
            (format!("{} shares are not from 1 to {}", it.shares, it.most), "let fewer contribute")
        }
        Known::NotAContribution(_) => (
            "only contributions that the factory made register nodes of several".to_owned(),
            "open a contribution, then finalise it",
        ),
        Known::ZeroAddress(_) => ("nobody has the address zero".to_owned(), "give another address"),
        Known::NoSuchNode(it) => (
            format!("there is no node {}, or its stake was paid back", it.id),
            "see `session stake list` for the nodes that there are",
        ),
        Known::AlreadyAContributor(it) => (
            format!("{} holds a share of node {} already", it.account, it.id),
            "hand the share to somebody who holds none",
        ),
        Known::ExitAlreadyRequested(it) => (
            format!("an exit of node {} was requested before, and that is final", it.id),
            "wait until its stake is paid back",
        ),
        Known::ExitNotRequested(it) => {
            (format!("nobody requested an exit of node {}", it.id), "request the exit first")
        }
        Known::ShareLocked(it) => (
            format!("a share of less than a quarter can make node {} leave from {} on", it.id, second(it.until)),
            LATER,
        ),
        Known::WrongState(it) => {
            (format!("node {} is in a state that does not permit this", it.id), NEXT_CHECKPOINT)
        }
        Known::NotAContributor(it) => {
            (format!("{} contributed nothing here", it.caller), "use the account that contributed")
        }
        Known::NotOperator(it) => {
            (format!("{} is not the operator", it.caller), "use the operator's account")
        }
        Known::OperatorCancels(_) => (
            "the operator does not withdraw its share".to_owned(),
            "cancel the contribution: that refunds everybody",
        ),
        Known::WrongStatus(it) => (
            format!("the contribution is {}", status(it.status)),
            "open another contribution for another node",
        ),
        Known::TooLittle(it) => (
            format!("{} are less than the slot takes, which is {}", sesh(it.amount), sesh(it.least)),
            ASK_LESS,
        ),
        Known::TooMuch(it) => {
            (format!("{} are more than is open, which is {}", sesh(it.amount), sesh(it.most)), ASK_LESS)
        }
        Known::NoSlot(_) => (
            "all slots, or all of the stake, are taken or reserved".to_owned(),
            "contribute to another node, or ask the operator to reserve a slot",
        ),
        Known::ReservedTwice(it) => (
            format!("{} has a slot already", it.contributor),
            "reserve one slot for each, and none for who has contributed",
        ),
        Known::TooEarly(it) => (format!("it can be withdrawn from {} on", second(it.opens)), LATER),
        Known::Incomplete(it) => (
            format!("{} of {} are contributed", sesh(it.total), sesh(it.requirement)),
            "wait for more contributions, or contribute the rest",
        ),
        Known::ERC20InsufficientBalance(it) => (
            format!("{} has {} and {} are needed", it.sender, sesh(it.balance), sesh(it.needed)),
            "send it more SESH",
        ),
        Known::ERC20InsufficientAllowance(it) => (
            format!("{} may take {} and {} are needed", it.spender, sesh(it.allowance), sesh(it.needed)),
            "approve more",
        ),
        Known::TransferFromFailed(_) => (
            "the tokens could not be taken: there are too few, or another transaction of the account used its permission \
             first"
                .to_owned(),
            "look what that one did; if this is to be done all the same, do it again",
        ),
        Known::ERC2612ExpiredSignature(it) => {
            (format!("the permission was for use until {}", second(it.deadline)), PERMIT)
        }
        Known::ERC2612InvalidSigner(_) => ("somebody else signed the permission".to_owned(), PERMIT),
        Known::ClaimsPaused(_) => (
            "claims are stopped".to_owned(),
            "wait: nothing is lost; the guardian or the timelock lets them go on",
        ),
        Known::NotInCheckpoint(it) => {
            (format!("the last checkpoint has another total for {}", it.account), NEXT_CHECKPOINT)
        }
        Known::NothingToClaim(it) => {
            (format!("all {} are claimed", sesh(it.claimed)), "wait until there are more rewards")
        }
        Known::MoreThanReleased(_) => {
            ("claims would come to more than the pool released".to_owned(), NEXT_CHECKPOINT)
        }
        Known::EpochTaken(it) => (
            format!("a checkpoint of epoch {} or of a later one is taken already", it.epoch),
            "nothing: somebody else was first",
        ),
        Known::WrongPrevious(_) => (
            "the checkpoint does not follow the last one taken".to_owned(),
            "see whether this node's ledger agrees with the others'",
        ),
        Known::TooFewNodes(it) => (
            format!("there were {} nodes and checkpoints take {}", it.nodes, it.least),
            "wait until more nodes are registered",
        ),
        Known::TooFewSigners(it) => (
            format!("{} of {} nodes signed, and more than two thirds have to", it.signers, it.nodes),
            "wait for more signatures",
        ),
        Known::BadSignature(_) => (
            "the signature is not that of these nodes over this checkpoint".to_owned(),
            "see whether this node's ledger agrees with the others'",
        ),
        Known::NotTheSet(it) => (
            format!("key and number of nodes are not those of epoch {}", it.epoch),
            "see whether this node's ledger agrees with the others'",
        ),
        Known::NotInSet(it) => (
            format!("node {} did not count in epoch {}", it.id, it.epoch),
            "leave it out of those that did not sign",
        ),
        Known::BorderAhead(it) => (format!("epoch {} has not ended", it.epoch), "wait until it has ended"),
        Known::BorderForgotten(it) => (
            format!("epoch {} ended too long ago; the oldest that counts is {}", it.epoch, it.oldest),
            "submit the checkpoint of a later epoch",
        ),
        Known::AlreadyCommitted(it) => (
            format!("the commitment is made already, and can be used until {}", second(it.until)),
            "register the name: nobody else can by this commitment",
        ),
        Known::NotCommitted(_) => (
            "this account did not commit to this registration, or has done it".to_owned(),
            "register the name again: what was begun goes on, or is told to be done",
        ),
        Known::CommitmentTooNew(it) => {
            (format!("the commitment can be used from {} on", second(it.opens)), LATER)
        }
        Known::CommitmentTooOld(it) => (
            format!("the commitment could be used until {}", second(it.closed)),
            "register the name again: that makes another one",
        ),
        Known::NameTaken(it) => (
            format!("somebody has the name, and nobody else can register it before {}", second(it.freeAt)),
            "choose another name, buy this one, or offer for it",
        ),
        Known::NoSuchName(_) => ("nobody has the name".to_owned(), "check how it is written, or register it"),
        Known::NameExpired(it) => (
            format!("the name expired at {}: it can be renewed and nothing else", second(it.expiry)),
            "let its owner renew it: session name renew NAME",
        ),
        Known::PeriodOutOfRange(it) => (
            format!(
                "{} days are not from {} to {}: names are paid for ten years ahead at most, and one that is expired \
                 to beyond now",
                days(it.period), days(it.least), days(it.most)
            ),
            "give another period: --years N, or --days N",
        ),
        Known::FeeTooHigh(it) => {
            (format!("the fee is {}, and {} were agreed to", sesh(it.fee), sesh(it.most)), AGAIN)
        }
        Known::NotPermitted(_) | Known::NotOwner(_) | Known::NotOwnerNorApproved(_) => (
            "the name is somebody else's".to_owned(),
            "use the account that has it; it may have been sold in between",
        ),
        Known::TransferFromIncorrectOwner(_) => (
            "the name has another owner".to_owned(),
            "look whose it is; it may have been sold in between",
        ),
        Known::TransferToZeroAddress(_) => ("nobody has the address zero".to_owned(), "give another address"),
        Known::TransferToNonERC721ReceiverImplementer(_) => (
            "the address is a contract that cannot have names".to_owned(),
            "give the address of an account, or of a contract that takes ERC-721 tokens",
        ),
        Known::UnknownKind(it) => {
            (format!("there are kinds 1 to {} of records", it.most), "give a kind that there is")
        }
        Known::ValueTooLong(it) => {
            (format!("the value has {} bytes and can have {}", it.length, it.most), "shorten it")
        }
        Known::TooManySubnames(it) => (
            format!("{} sub-names of the name have records, which are all that can", it.most),
            "take the records of another sub-name away first: session name set SUB.NAME TYPE --clear",
        ),
        Known::BadNameLength(it) => {
            (format!("a name has 1 to {} characters, and not {}", it.most, it.length), "check the name")
        }
        Known::VersionChanged(_) => (
            "the name got another owner, or was registered anew, since it was looked at".to_owned(),
            "look whose it is, and what it costs, before you try again",
        ),
        Known::NotForSale(_) => {
            ("the name is not for sale".to_owned(), "offer for it: session name offer NAME PRICE")
        }
        Known::PriceTooHigh(it) => {
            (format!("the price is {}, and {} were agreed to", sesh(it.price), sesh(it.most)), AGAIN)
        }
        Known::OfferTooLow(it) => (
            format!("{} are too little: it takes {} at least", sesh(it.amount), sesh(it.least)),
            "offer more; a better offer is better by 5 %. Who sells agrees to less, or waits",
        ),
        Known::OfferTimeOutOfRange(it) => (
            format!(
                "an offer binds for 1 to 30 days, and as long as the one that it takes the place of: until {} at least \
                 and {} at most",
                second(it.least), second(it.most)
            ),
            "give another number of days: --days N",
        ),
        Known::NoEther(_) => {
            ("the contract takes no ether, which nobody would get back".to_owned(), "send none along")
        }
        Known::NoOffer(_) => {
            ("there is no offer that counts".to_owned(), "set a price: session name sell NAME PRICE")
        }
        Known::NotBuyer(_) => {
            ("somebody else made the offer".to_owned(), "use the account that offered; a better offer pays one back")
        }
        Known::OfferBinds(it) => (format!("the offer binds until {}", second(it.until)), LATER),
        Known::OwnableUnauthorizedAccount(_) | Known::NotGuardian(_) => {
            ("the account may not do this".to_owned(), "only timelock and guardian may")
        }
        Known::NotVaultOwner(_) => (
            "only the vault's owner says who lends, and takes out what is not lent".to_owned(),
            "use the account that the vault was deployed for",
        ),
        Known::NotLender(it) => (
            format!("{} does not lend from the vault: the faucet's account alone does", it.caller),
            "use the faucet's account; the vault's owner says which that is",
        ),
        Known::VaultEmpty(it) => (
            format!("the vault has {} and {} are needed", sesh(it.has), sesh(it.wanted)),
            "send the vault more SESH, or wait until stakes come back to it",
        ),
        Known::OutOfBounds(it) => (
            format!("the value {} is not from {} to {}", it.value, it.least, it.most),
            "give a value within the bounds",
        ),
        _ => return None,
    };
    Some(told)
}

fn namesake(error: &Namesake) -> (String, &'static str) {
    match error {
        Namesake::NotAContributor(it) => (
            format!("{} holds no share of node {}", it.account, it.id),
            "use the account that contributed, or that the share was handed to",
        ),
        Namesake::NotInCheckpoint(it) => {
            (format!("the last checkpoint has another state of node {}", it.id), NEXT_CHECKPOINT)
        }
        Namesake::TooEarly(it) => {
            (format!("the stake of node {} can be taken out from {} on", it.id, second(it.opens)), LATER)
        }
    }
}

/// An error as it is shown: a variant is shown around its error, which has the same name.
fn inner(shown: &str) -> String {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(shown).to_owned()
}

fn sesh(units: U256) -> String {
    Amount::try_from(units).map_or_else(|_| format!("{units} units"), |amount| format!("{amount} SESH"))
}

fn percent(basis_points: u16) -> String {
    format!("{}.{:02}", basis_points / 100, basis_points % 100)
}

/// Whole days, rounded up.
fn days(seconds: U256) -> U256 {
    seconds.div_ceil(U256::from(24 * 3_600))
}

/// An instant, as it is shown.
pub(super) fn second(since_1970: U256) -> String {
    let second = i64::try_from(since_1970).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    second.map_or_else(|| format!("second {since_1970} since 1970"), |time| time.to_string())
}

const fn status(status: u8) -> &'static str {
    match status {
        0 => "not opened",
        1 => "open",
        2 => "finalised",
        _ => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(error: &impl SolError) -> Refusal {
        Refusal::decode(&error.abi_encode()).unwrap()
    }

    #[test]
    fn errors_are_told_by_name_with_their_values_and_what_to_do() {
        let refusal =
            decoded(&interface::Contracts::TooFewNodes { nodes: U256::from(3), least: U256::from(4) });
        assert_eq!(refusal.error, "TooFewNodes { nodes: 3, least: 4 }");
        assert_eq!(
            refusal.to_string(),
            "there were 3 nodes and checkpoints take 4 (TooFewNodes { nodes: 3, least: 4 })"
        );
        assert_eq!(refusal.remedy, "wait until more nodes are registered");
        assert!(
            !refusal.is_taken()
                && decoded(&interface::Contracts::EpochTaken { epoch: 3, next: 4 }).is_taken()
        );
        let refusal = decoded(&interface::Namesakes::NotInCheckpoint { id: 7, state: 4, penaltyBps: 0 });
        assert_eq!(refusal.error, "NotInCheckpoint { id: 7, state: 4, penaltyBps: 0 }");
        assert_eq!(refusal.meaning.unwrap(), "the last checkpoint has another state of node 7");
        let stake = Amount::sesh(25_000);
        let refusal =
            decoded(&interface::Contracts::BadStake { staked: U256::from(5), required: stake.units() });
        assert_eq!(
            refusal.meaning.unwrap(),
            "the shares come to 0.000000005 SESH and a node takes 25000 SESH"
        );
        let refusal = decoded(&interface::Contracts::ShareLocked { id: 1, until: U256::from(1_700_000_000) });
        assert!(refusal.meaning.unwrap().ends_with("from 2023-11-14T22:13:20Z on"));
    }

    #[test]
    fn what_is_none_of_them_is_told_as_it_is() {
        assert!(decoded(&Revert::from("not yours".to_owned())).error.contains("not yours"));
        let refusal = Refusal::decode(&[1, 2, 3, 4]).unwrap();
        assert_eq!(refusal.to_string(), "an error that is not known here, 0x01020304");
        // Of a known error, and cut short.
        let known = interface::Contracts::NoSuchNode::SELECTOR;
        assert!(Refusal::decode(&known).unwrap().error.starts_with("an error that is not known here, 0x"));
        assert_eq!(Refusal::decode(&[]), None);
        let far = decoded(&interface::Contracts::TooEarly { opens: U256::MAX });
        assert!(far.meaning.unwrap().contains("since 1970"));
    }

    #[test]
    fn every_error_of_the_contracts_is_known() {
        let known =
            |selector: &[u8; 4]| Known::valid_selector(*selector) || Namesake::valid_selector(*selector);
        for artifact in [
            include_str!("../../contracts/artifacts/Checkpoints.json"),
            include_str!("../../contracts/artifacts/Contribution.json"),
            include_str!("../../contracts/artifacts/ContributionFactory.json"),
            include_str!("../../contracts/artifacts/Loan.json"),
            include_str!("../../contracts/artifacts/Names.json"),
            include_str!("../../contracts/artifacts/RewardPool.json"),
            include_str!("../../contracts/artifacts/SessionToken.json"),
            include_str!("../../contracts/artifacts/Staking.json"),
            include_str!("../../contracts/artifacts/Vault.json"),
        ] {
            let errors = crate::settlement::contracts::signatures(artifact, "error");
            assert!(!errors.is_empty());
            for signature in errors {
                let hash = alloy::primitives::keccak256(&signature);
                assert!(known(hash.first_chunk().unwrap()), "{signature}");
            }
        }
    }
}
