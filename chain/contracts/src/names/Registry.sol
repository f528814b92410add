// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "solady/tokens/ERC721.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {EventLog} from "../libraries/EventLog.sol";
import {Parameters} from "../libraries/Parameters.sol";

/// @dev What is kept of a name beside its owner, in one slot with it: expiry (40 bits), version (32), sub-names (24).
type Lease is uint96;

using Leases for Lease global;

/// @title What a lease holds
library Leases {
    function pack(uint40 expiry_, uint32 version_, uint24 subnames_) internal pure returns (Lease) {
        return Lease.wrap(uint96(expiry_) << 56 | uint96(version_) << 24 | subnames_);
    }

    /// @dev When the name expires, in seconds since 1970.
    function expiry(Lease lease) internal pure returns (uint40) {
        return uint40(Lease.unwrap(lease) >> 56);
    }

    /// @dev How often the name got an owner.
    function version(Lease lease) internal pure returns (uint32) {
        return uint32(Lease.unwrap(lease) >> 24);
    }

    /// @dev How many of its sub-names have records.
    function subnames(Lease lease) internal pure returns (uint24) {
        return uint24(Lease.unwrap(lease));
    }
}

/// @title Who has which name, and until when
/// @notice Names are known by their ids alone. A name is registered in two steps, so that nobody learns an id in
/// time to take it first; it is its owner's until it expires, can be renewed for `GRACE` longer, and is free then.
/// Whenever a name gets an owner its version grows, and what was said of an earlier version counts no more.
/// Fees are in 10^-9 SESH, times in seconds.
abstract contract Registry is ERC721, Parameters, EventLog {
    /// @notice How long before a registration it is committed to, at least.
    uint256 public constant MIN_COMMITMENT_AGE = 1 minutes;
    /// @notice How long a commitment can be used. Short, as whoever waits for others to want a name that they guessed
    /// has to commit to it again and again.
    uint256 public constant MAX_COMMITMENT_AGE = 1 hours;
    /// @notice The least that is paid for at once.
    uint256 public constant MIN_PERIOD = 28 days;
    /// @notice How far ahead a name can be paid for.
    uint256 public constant MAX_PERIOD = 10 * 365 days;
    /// @notice How long after its expiry a name can be renewed and nobody else can register it.
    uint256 public constant GRACE = 30 days;

    /// @notice What a name costs for 365 days, in 10^-9 SESH.
    bytes32 public constant YEARLY_FEE = "yearlyFee";

    /// @notice The token that is paid with.
    address public immutable token;

    /// @notice What was paid for names and is not paid out. Shares a slot with the number of the last event.
    uint96 public fees;

    /// @notice When a commitment was made; zero if it was not, or is used.
    mapping(bytes32 commitment => uint256) public committedAt;

    /// @notice A name is registered. Numbered. What was said of its earlier versions counts no more.
    event NameRegistered(
        uint64 indexed number, uint256 indexed id, address indexed owner, uint40 expiry, uint32 version
    );
    /// @notice A name expires later. Numbered.
    event NameRenewed(uint64 indexed number, uint256 indexed id, uint40 expiry);
    /// @notice A name has another owner, who paid `price` for it here; zero if it was handed over otherwise.
    /// Numbered. What was said of its earlier versions counts no more.
    event NameTransferred(
        uint64 indexed number, uint256 indexed id, address indexed owner, uint32 version, uint256 price
    );

    /// @notice The commitment is made already, and can be used until then.
    error AlreadyCommitted(bytes32 commitment, uint256 until);
    /// @notice Nobody committed to this registration, or it is used.
    error NotCommitted(bytes32 commitment);
    /// @notice The commitment can be used from then on.
    error CommitmentTooNew(uint256 opens);
    /// @notice The commitment could be used until then.
    error CommitmentTooOld(uint256 closed);
    /// @notice Somebody has the name; nobody else can register it before `freeAt`.
    error NameTaken(uint256 id, uint256 freeAt);
    /// @notice Nobody has the name.
    error NoSuchName(uint256 id);
    /// @notice The name is expired: it can be renewed and nothing else.
    error NameExpired(uint256 id, uint256 expiry);
    /// @notice The period is too short, or goes further ahead than names can be paid for.
    error PeriodOutOfRange(uint256 period, uint256 least, uint256 most);
    /// @notice The fee is more than the caller agreed to.
    error FeeTooHigh(uint256 fee, uint256 most);
    /// @notice The caller neither owns the name nor is approved for it.
    error NotPermitted(uint256 id, address caller);
    /// @notice Nothing here takes the chain's own coin, which nobody would get back.
    error NoEther(uint256 value);

    constructor(address owner_, address token_, uint64 genesis_, uint64 epochSeconds_)
        Parameters(owner_)
        EventLog(genesis_, epochSeconds_)
    {
        token = token_;
    }

    /// @notice Commits to a registration; see `commitment`. Anyone may, and a commitment that somebody copied
    /// serves whom it was made for. Reverts with `AlreadyCommitted`.
    function commit(bytes32 commitment_) external {
        uint256 until = committedAt[commitment_] + MAX_COMMITMENT_AGE;
        if (block.timestamp <= until) revert AlreadyCommitted(commitment_, until);
        committedAt[commitment_] = block.timestamp;
    }

    /// @notice Registers a name that is free and that the caller committed to; it is the caller's, who pays, and
    /// allowed it. Nobody else can use the commitment, so nobody who sees the call come can be first with another
    /// period. Reverts with `NotCommitted`, `CommitmentTooNew`, `CommitmentTooOld`, `NameTaken`,
    /// `PeriodOutOfRange`, `FeeTooHigh`, or as the token says.
    /// @param period for how long
    /// @param secret what the commitment was made with; a fresh one each time
    /// @param mostFee the most that the caller pays
    function register(uint256 id, uint256 period, bytes32 secret, uint256 mostFee) external {
        _useCommitment(commitment(id, msg.sender, secret));
        (address before, Lease lease) = _lease(id);
        uint256 freeAt = lease.expiry() + GRACE;
        if (before != address(0) && block.timestamp < freeAt) revert NameTaken(id, freeAt);
        if (period < MIN_PERIOD || period > MAX_PERIOD) {
            revert PeriodOutOfRange(period, MIN_PERIOD, MAX_PERIOD);
        }
        uint40 expiry = uint40(block.timestamp + period);
        uint32 version = lease.version() + 1;
        _setLease(id, Leases.pack(expiry, version, 0));
        if (before != address(0)) _burn(id);
        _mint(msg.sender, id);
        _record(
            NameRegistered.selector,
            bytes32(id),
            bytes32(uint256(uint160(msg.sender))),
            abi.encode(expiry, version)
        );
        _payFee(period, mostFee);
    }

    /// @notice Lets a name expire later; anyone may, and pays. Reverts with `NoSuchName`, `PeriodOutOfRange`,
    /// `FeeTooHigh`, or as the token says.
    /// @param period for how much longer than now; a name that is expired is renewed from its expiry on
    /// @param mostFee the most that the caller pays
    function renew(uint256 id, uint256 period, uint256 mostFee) external {
        (, Lease lease) = _held(id);
        uint256 late = block.timestamp >= lease.expiry() ? block.timestamp - lease.expiry() + 1 : 0;
        uint256 least = late > MIN_PERIOD ? late : MIN_PERIOD;
        uint256 most = block.timestamp + MAX_PERIOD - lease.expiry();
        if (period < least || period > most) revert PeriodOutOfRange(period, least, most);
        uint40 expiry = lease.expiry() + uint40(period);
        _setLease(id, Leases.pack(expiry, lease.version(), lease.subnames()));
        _record(NameRenewed.selector, bytes32(id), abi.encode(expiry));
        _payFee(period, mostFee);
    }

    /// @notice Hands a name over, which begins its next version: records, price and offers count no more. Its
    /// owner and whom it approved may. Reverts with `NoEther`, `NoSuchName`, `NameExpired`, or as ERC-721 says.
    /// @dev ERC-721 has it payable; both of `safeTransferFrom` come through here.
    function transferFrom(address from, address to, uint256 id) public payable override {
        _refuseEther();
        (, Lease lease) = _live(id);
        _hand(msg.sender, from, to, id, lease, 0);
    }

    /// @notice Lets somebody act for a name, until it has another owner. Its owner and whom it approved for all may.
    /// Reverts with `NoEther`, or as ERC-721 says.
    function approve(address account, uint256 id) public payable override {
        _refuseEther();
        super.approve(account, id);
    }

    /// @notice The owner of a name. Reverts with `NoSuchName`, or `NameExpired`.
    function ownerOf(uint256 id) public view override returns (address owner_) {
        (owner_,) = _live(id);
    }

    /// @notice Who has a name, also while it is expired and not yet free, and what is recorded of it; all but the
    /// version is zero when it is free.
    /// @return owner_ whose it is
    /// @return expiry when it expires
    /// @return version how often it got an owner
    /// @return subnames how many of its sub-names have records
    function nameOf(uint256 id)
        external
        view
        returns (address owner_, uint40 expiry, uint32 version, uint24 subnames)
    {
        (address holder, Lease lease) = _lease(id);
        if (block.timestamp >= lease.expiry() + GRACE) return (address(0), 0, lease.version(), 0);
        return (holder, lease.expiry(), lease.version(), lease.subnames());
    }

    /// @notice What registering or renewing costs, rounded up.
    function feeOf(uint256 period) public view returns (uint256) {
        return (parameter[YEARLY_FEE] * period + 365 days - 1) / 365 days;
    }

    /// @notice What is committed to before `register`, for whom alone it serves. The secret keeps others from
    /// guessing the id.
    function commitment(uint256 id, address owner_, bytes32 secret) public pure returns (bytes32) {
        return keccak256(abi.encode(id, owner_, secret));
    }

    /// @notice The name of the tokens.
    function name() public pure override returns (string memory) {
        return "Session Names";
    }

    /// @notice The symbol of the tokens.
    function symbol() public pure override returns (string memory) {
        return "NAME";
    }

    /// @notice Nothing: what a name is called is its owner's to reveal.
    function tokenURI(uint256) public pure override returns (string memory) {
        return "";
    }

    /// @dev Gives a name to another owner, with its next version. `by` must be allowed to, unless it is zero.
    function _hand(address by, address from, address to, uint256 id, Lease lease, uint256 price) internal {
        _transfer(by, from, to, id);
        uint32 version = lease.version() + 1;
        _setLease(id, Leases.pack(lease.expiry(), version, 0));
        _record(
            NameTransferred.selector, bytes32(id), bytes32(uint256(uint160(to))), abi.encode(version, price)
        );
    }

    /// @dev The owner and lease of a name that is not expired.
    function _live(uint256 id) internal view returns (address owner_, Lease lease) {
        (owner_, lease) = _lease(id);
        if (owner_ != address(0) && block.timestamp < lease.expiry()) return (owner_, lease);
        if (_isFree(owner_, lease)) revert NoSuchName(id);
        revert NameExpired(id, lease.expiry());
    }

    /// @dev The same, of a name that the caller may act for.
    function _permitted(uint256 id) internal view returns (address owner_, Lease lease) {
        (owner_, lease) = _live(id);
        if (!_isApprovedOrOwner(msg.sender, id)) revert NotPermitted(id, msg.sender);
    }

    /// @dev The owner and lease of a name that is not free.
    function _held(uint256 id) private view returns (address owner_, Lease lease) {
        (owner_, lease) = _lease(id);
        if (_isFree(owner_, lease)) revert NoSuchName(id);
    }

    function _isFree(address owner_, Lease lease) private view returns (bool) {
        return owner_ == address(0) || block.timestamp >= lease.expiry() + GRACE;
    }

    function _lease(uint256 id) internal view returns (address owner_, Lease lease) {
        return (_ownerOf(id), Lease.wrap(_getExtraData(id)));
    }

    function _setLease(uint256 id, Lease lease) internal {
        _setExtraData(id, Lease.unwrap(lease));
    }

    function _refuseEther() private view {
        if (msg.value != 0) revert NoEther(msg.value);
    }

    function _useCommitment(bytes32 commitment_) private {
        uint256 madeAt = committedAt[commitment_];
        if (madeAt == 0) revert NotCommitted(commitment_);
        if (block.timestamp < madeAt + MIN_COMMITMENT_AGE) {
            revert CommitmentTooNew(madeAt + MIN_COMMITMENT_AGE);
        }
        if (block.timestamp > madeAt + MAX_COMMITMENT_AGE) {
            revert CommitmentTooOld(madeAt + MAX_COMMITMENT_AGE);
        }
        delete committedAt[commitment_];
    }

    function _payFee(uint256 period, uint256 mostFee) private {
        uint256 fee = feeOf(period);
        if (fee > mostFee) revert FeeTooHigh(fee, mostFee);
        fees += uint96(fee);
        SafeTransferLib.safeTransferFrom(token, msg.sender, address(this), fee);
    }
}
