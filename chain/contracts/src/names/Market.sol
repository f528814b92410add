// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1363Receiver} from "@openzeppelin/contracts/interfaces/IERC1363Receiver.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {Lease, Registry} from "./Registry.sol";

/// @title Names for money
/// @notice A name stays with its owner until it is sold. Prices and offers count for one version of a name. A name
/// has one offer, its best: what it offers is held here, it binds until the time that it names, and a better one
/// pays it back. Amounts are in 10^-9 SESH, times in seconds.
abstract contract Market is Registry, IERC1363Receiver {
    /// @notice How long an offer binds, at least; one in place of another also as long as that.
    uint256 public constant MIN_OFFER_TIME = 1 days;
    /// @notice How long an offer binds, at most.
    uint256 public constant MAX_OFFER_TIME = 30 days;
    /// @notice How much more than the best offer a better one is, in basis points.
    uint256 public constant RAISE_BPS = 500;

    /// @notice The least that is offered, in 10^-9 SESH.
    bytes32 public constant MINIMUM_OFFER = "minimumOffer";

    struct Offer {
        address buyer;
        uint96 amount;
        uint40 until;
        uint32 version;
    }

    /// @dev The price, 96 bits, and above it the version that it was set under. One word, so that it is read and
    /// written as a whole.
    mapping(uint256 id => uint256) private sales;
    /// @notice The last offer for a name, also when it counts no more and is not yet withdrawn.
    mapping(uint256 id => Offer) public offerOf;

    /// @notice A name is for sale; no more if the price is zero. Numbered.
    event PriceChanged(uint64 indexed number, uint256 indexed id, uint32 version, uint96 price);
    /// @notice An offer takes the place of the one before. Numbered.
    event OfferMade(
        uint64 indexed number,
        uint256 indexed id,
        address indexed buyer,
        uint32 version,
        uint96 amount,
        uint40 until
    );
    /// @notice An offer that did not bind any more is paid back. Numbered.
    event OfferWithdrawn(uint64 indexed number, uint256 indexed id, address indexed buyer);

    /// @notice The name has another version than the caller saw: somebody else may have it.
    error VersionChanged(uint256 id, uint32 version, uint32 seen);
    /// @notice The name is not for sale.
    error NotForSale(uint256 id);
    /// @notice The price is more than the caller agreed to.
    error PriceTooHigh(uint256 price, uint256 most);
    /// @notice The offer is less than what is offered at least, than the best one and its raise, or than the
    /// caller agreed to.
    error OfferTooLow(uint256 amount, uint256 least);
    /// @notice The offer binds too short, also for one in place of another, or too long.
    error OfferTimeOutOfRange(uint256 until, uint256 least, uint256 most);
    /// @notice There is no offer, or it counts no more.
    error NoOffer(uint256 id);
    /// @notice Somebody else made the offer.
    error NotBuyer(uint256 id, address caller);
    /// @notice Only the token says that it was paid.
    error NotToken(address caller);
    /// @notice The offer binds until then.
    error OfferBinds(uint256 id, uint256 until);

    /// @notice Sells a name at a price to whoever comes; at none if it is zero. The name's owner and whom it
    /// approved may; the owner is paid. Reverts with `NoSuchName`, `NameExpired`, `NotPermitted`.
    function setPrice(uint256 id, uint96 price) external {
        (, Lease lease) = _permitted(id);
        _record(PriceChanged.selector, bytes32(id), abi.encode(lease.version(), price));
        sales[id] = uint256(lease.version()) << 96 | price;
    }

    /// @notice Buys a name at its price, which goes from the caller, who allowed it, to the name's owner. Reverts with
    /// `NoSuchName`, `NameExpired`, `VersionChanged`, `NotForSale`, `PriceTooHigh`, or as the token says.
    /// @param version the name's version that the caller saw
    /// @param mostPrice the most that the caller pays
    function buy(uint256 id, uint32 version, uint256 mostPrice) external {
        (address seller, uint256 price) = _sell(msg.sender, id, version, mostPrice);
        SafeTransferLib.safeTransferFrom(token, msg.sender, seller, price);
    }

    /// @notice Buys a name as `buy` does, with what the token says that it was paid: `token.transferAndCall(names, most,
    /// abi.encode(id, version))`. Needs no allowance, and so the least gas. What is more than the price goes back.
    /// Reverts with `NotToken`, and as `buy` does.
    /// @param from who pays and gets the name
    /// @param value the most that it pays
    /// @param data the id, and the name's version that the buyer saw
    function onTransferReceived(address, address from, uint256 value, bytes calldata data)
        external
        returns (bytes4)
    {
        if (msg.sender != token) revert NotToken(msg.sender);
        (uint256 id, uint32 version) = abi.decode(data, (uint256, uint32));
        (address seller, uint256 price) = _sell(from, id, version, value);
        SafeTransferLib.safeTransfer(token, seller, price);
        if (value != price) SafeTransferLib.safeTransfer(token, from, value - price);
        return this.onTransferReceived.selector;
    }

    /// @notice Offers to buy a name; the caller pays now, and allowed it. The offer before is paid back; where it is the
    /// caller's, the difference is paid. One that still counts only gives way to one better by `RAISE_BPS` that binds
    /// as long, so that nobody drives a long one away by a short one. Reverts with `NoSuchName`, `NameExpired`,
    /// `VersionChanged`, `OfferTooLow`, `OfferTimeOutOfRange`, or as the token says.
    /// @param version the name's version that the caller saw
    /// @param until how long the offer binds, in seconds since 1970
    function offer(uint256 id, uint32 version, uint96 amount, uint40 until) external {
        (, Lease lease) = _live(id);
        _checkVersion(id, lease.version(), version);
        Offer memory before = offerOf[id];
        uint256 least = _leastOffer(before, version);
        if (amount < least) revert OfferTooLow(amount, least);
        (uint256 soonest, uint256 latest) =
            (block.timestamp + MIN_OFFER_TIME, block.timestamp + MAX_OFFER_TIME);
        if (_counts(before, version) && before.until > soonest) soonest = before.until;
        if (until < soonest || until > latest) revert OfferTimeOutOfRange(until, soonest, latest);
        _record(
            OfferMade.selector,
            bytes32(id),
            bytes32(uint256(uint160(msg.sender))),
            abi.encode(version, amount, until)
        );
        offerOf[id] = Offer(msg.sender, amount, until, version);
        uint256 held = before.buyer == msg.sender ? before.amount : 0;
        if (amount > held) SafeTransferLib.safeTransferFrom(token, msg.sender, address(this), amount - held);
        uint256 back = held == 0 ? before.amount : held > amount ? held - amount : 0;
        if (back != 0) SafeTransferLib.safeTransfer(token, before.buyer, back);
    }

    /// @notice Sells a name to whoever made the best offer. The name's owner and whom it approved may; the owner is
    /// paid. Reverts with `NoSuchName`, `NameExpired`, `NotPermitted`, `NoOffer`, `OfferTooLow`.
    /// @param least the least that the caller sells for
    function accept(uint256 id, uint256 least) external {
        (address seller, Lease lease) = _permitted(id);
        Offer memory best = offerOf[id];
        if (!_counts(best, lease.version())) revert NoOffer(id);
        if (best.amount < least) revert OfferTooLow(best.amount, least);
        delete offerOf[id];
        _hand(address(0), seller, best.buyer, id, lease, best.amount);
        SafeTransferLib.safeTransfer(token, seller, best.amount);
    }

    /// @notice Pays the caller's offer back: once it binds no more, or at once when its name expired or has another
    /// version. Reverts with `NoOffer`, `NotBuyer`, `OfferBinds`.
    function withdrawOffer(uint256 id) external {
        Offer memory own = offerOf[id];
        if (own.amount == 0) revert NoOffer(id);
        if (own.buyer != msg.sender) revert NotBuyer(id, msg.sender);
        (, Lease lease) = _lease(id);
        if (block.timestamp < lease.expiry() && _counts(own, lease.version())) {
            revert OfferBinds(id, own.until);
        }
        _record(OfferWithdrawn.selector, bytes32(id), bytes32(uint256(uint160(msg.sender))), "");
        delete offerOf[id];
        SafeTransferLib.safeTransfer(token, msg.sender, own.amount);
    }

    /// @notice What a name can be bought for; zero if it is not for sale.
    function priceOf(uint256 id) external view returns (uint256) {
        (, Lease lease) = _lease(id);
        uint256 sale = sales[id];
        return block.timestamp < lease.expiry() && sale >> 96 == lease.version() ? uint96(sale) : 0;
    }

    /// @notice The least that can be offered for a name.
    function leastOffer(uint256 id) external view returns (uint256) {
        (, Lease lease) = _lease(id);
        return _leastOffer(offerOf[id], lease.version());
    }

    /// @dev Gives a name that is for sale to a buyer, who is to pay the price to the seller. Returns both.
    function _sell(address buyer, uint256 id, uint32 version, uint256 mostPrice)
        private
        returns (address, uint256)
    {
        (address seller, Lease lease) = _live(id);
        _checkVersion(id, lease.version(), version);
        uint256 sale = sales[id];
        uint256 price = uint96(sale);
        if (price == 0 || sale >> 96 != version) revert NotForSale(id);
        if (price > mostPrice) revert PriceTooHigh(price, mostPrice);
        delete sales[id];
        _hand(address(0), seller, buyer, id, lease, price);
        return (seller, price);
    }

    /// @dev A name has the version that the caller saw.
    function _checkVersion(uint256 id, uint32 version, uint32 seen) private pure {
        if (version != seen) revert VersionChanged(id, version, seen);
    }

    function _leastOffer(Offer memory best, uint32 version) private view returns (uint256 least) {
        least = parameter[MINIMUM_OFFER];
        if (!_counts(best, version)) return least;
        uint256 raised = (uint256(best.amount) * (10_000 + RAISE_BPS) + 9_999) / 10_000;
        if (raised > least) return raised;
    }

    function _counts(Offer memory one, uint32 version) private view returns (bool) {
        return one.amount != 0 && one.version == version && block.timestamp <= one.until;
    }
}
