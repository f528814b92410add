// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Names} from "../src/names/Names.sol";
import {Model} from "./Model.sol";

/// @title People who do with names whatever they may, and try what they may not, in any order
/// @dev As `World`, for names: each move tells the model what it did.
contract NamesWorld is Model {
    struct Name {
        address owner;
        uint256 expiry;
        uint32 version;
        uint256 price;
        address approved;
    }

    struct Bid {
        address buyer;
        uint256 amount;
        uint256 until;
        uint32 version;
    }

    uint256 public constant IDS = 6;
    uint256 private constant ANY = type(uint256).max;

    mapping(uint256 id => Name) public called;
    mapping(uint256 id => Bid) public bids;
    /// @notice The last value of each record, by name, version, label and kind; and how many labels have one.
    mapping(
        uint256 id => mapping(uint32 version => mapping(uint256 label => mapping(uint8 kind => bytes)))
    ) public values;
    mapping(uint256 id => mapping(uint32 version => uint256)) public subnames;
    mapping(uint256 id => string) public revealed;
    mapping(address account => uint256) public says;
    /// @dev The version of the name that it was said of.
    mapping(address account => uint32) public saidOf;
    uint256 public fees;
    uint256 private yearlyFee = YEARLY_FEE;
    uint256 private minimumOffer = MINIMUM_OFFER;
    uint256 private secrets_;

    function setUp() public override {
        super.setUp();
        accounts.push(address(names));
        accounts.push(TREASURY);
    }

    function moves() public pure returns (bytes4[] memory all) {
        all = new bytes4[](19);
        (all[0], all[1], all[2]) = (this.register.selector, this.register.selector, this.renew.selector);
        (all[3], all[4], all[5]) = (this.hand.selector, this.approve.selector, this.setPrice.selector);
        (all[6], all[7], all[8]) = (this.setPrice.selector, this.buy.selector, this.buy.selector);
        (all[9], all[10], all[11]) = (this.offer.selector, this.offer.selector, this.accept.selector);
        (all[12], all[13], all[14]) = (this.withdraw.selector, this.record.selector, this.setReverse.selector);
        (all[15], all[16], all[17]) = (this.payOut.selector, this.setParameter.selector, this.wait.selector);
        all[18] = this.reveal.selector;
    }

    function theNames() external view returns (Names) {
        return names;
    }

    function idOf(uint256 which) public pure returns (uint256) {
        return uint256(keccak256(abi.encode("name", which % IDS)));
    }

    /// @dev Of sixteen: one did not commit, one comes too soon, one too late, one pays too little, one too much at
    /// once for its purse, one for too long.
    function register(uint256 who, uint256 which, uint256 dice) external {
        (address buyer, uint256 id, uint256 flaw) = (actor(who), idOf(which), dice % 16);
        uint256 period = 28 days + (dice >> 8) % (flaw == 5 ? 3_000 days : 100 days);
        if (flaw == 6) period = 3_650 days + 1;
        bytes32 secret = keccak256(abi.encode(++secrets_));
        if (flaw != 0) names.commit(names.commitment(id, buyer, secret));
        vm.warp(block.timestamp + (flaw == 1 ? 59 : flaw == 2 ? 1 hours + 1 : 60));
        uint256 fee = feeOf(period);
        provide(buyer, address(names), flaw == 3 ? fee - 1 : fee);
        Name storage one = called[id];
        bool allowed = (flaw > 6 || flaw == 5) && block.timestamp >= one.expiry + 30 days;
        bytes memory call = abi.encodeCall(names.register, (id, period, secret, flaw == 4 ? fee - 1 : fee));
        if (!tries("register", buyer, call, allowed)) return;
        if (one.owner != address(0)) ++done["register again"];
        paysFee(buyer, fee);
        owns(id, buyer);
        one.expiry = block.timestamp + period;
    }

    function renew(uint256 who, uint256 which, uint256 dice) external {
        (address payer, uint256 id) = (actor(who), idOf(which));
        Name storage one = called[id];
        uint256 period = dice % 8 == 0 ? 28 days - 1 : 28 days + (dice >> 8) % 60 days;
        if (dice % 8 == 1) period = 3_650 days + (dice >> 8) % 4_000 days;
        uint256 later = one.expiry + period;
        bool allowed = one.owner != address(0) && block.timestamp < one.expiry + 30 days;
        allowed = allowed && later > block.timestamp && later <= block.timestamp + 3_650 days;
        allowed = allowed && period >= 28 days;
        uint256 fee = feeOf(period);
        provide(payer, address(names), fee);
        if (!tries("renew", payer, abi.encodeCall(names.renew, (id, period, ANY)), allowed)) return;
        if (block.timestamp >= one.expiry) ++done["renew an expired name"];
        paysFee(payer, fee);
        one.expiry = later;
    }

    function hand(uint256 who, uint256 which, uint256 dice) external {
        (address caller, uint256 id) = (speaker(who, which, dice), idOf(which));
        Name storage one = called[id];
        (address from, address to) = (one.owner, actor(dice >> 8));
        bytes memory call = abi.encodeCall(names.transferFrom, (from, to, id));
        if (tries("hand", caller, call, maySpeak(caller, id))) owns(id, to);
    }

    function approve(uint256 who, uint256 which, uint256 dice) external {
        (address caller, uint256 id) = (speaker(who, which, dice), idOf(which));
        Name storage one = called[id];
        address chosen = actor(dice >> 8);
        bool allowed = one.owner != address(0) && caller == one.owner;
        if (tries("approve", caller, abi.encodeCall(names.approve, (chosen, id)), allowed)) {
            one.approved = chosen;
        }
    }

    function setPrice(uint256 who, uint256 which, uint256 dice) external {
        (address caller, uint256 id) = (speaker(who, which, dice), idOf(which));
        uint96 price = dice % 5 == 0 ? 0 : uint96(1 + (dice >> 8) % (1_000 * SESH));
        bytes memory call = abi.encodeCall(names.setPrice, (id, price));
        if (tries("setPrice", caller, call, maySpeak(caller, id))) called[id].price = price;
    }

    /// @dev Of eight: one saw a lower price, one another version, one has too little.
    function buy(uint256 who, uint256 which, uint256 dice) external {
        (address buyer, uint256 id, uint256 flaw) = (actor(who), idOf(which), dice % 8);
        Name storage one = called[id];
        uint256 price = one.price;
        provide(buyer, address(names), flaw == 0 && price != 0 ? price - 1 : price);
        bool allowed = isLive(id) && price != 0 && flaw > 2;
        uint32 seen = flaw == 1 ? one.version + 1 : one.version;
        uint256 most = flaw == 2 && price != 0 ? price - 1 : price;
        address seller = one.owner;
        if (dice >> 8 & 1 == 0) {
            if (!tries("buy", buyer, abi.encodeCall(names.buy, (id, seen, most)), allowed)) return;
        } else {
            // What it has beyond the price, if anything, comes back.
            if (flaw > 4) most = token.balanceOf(buyer);
            if (flaw == 0 && price != 0) most = price - 1;
            bytes memory call = abi.encodeWithSignature(
                "transferAndCall(address,uint256,bytes)", address(names), most, abi.encode(id, seen)
            );
            (bool ok,) = attempt("buy by a transfer", buyer, address(token), call, allowed);
            if (!ok) return;
        }
        pay(buyer, seller, price);
        owns(id, buyer);
    }

    /// @dev Of eight: one is too little, one binds too long, one has too little, one saw another version, one binds
    /// shorter than the one before.
    function offer(uint256 who, uint256 which, uint256 dice) external {
        (address buyer, uint256 id, uint256 flaw) = (actor(who), idOf(which), dice % 8);
        Bid storage best = bids[id];
        uint32 version = called[id].version;
        (uint256 least, uint256 soonest) = (minimumOffer, block.timestamp + 1 days);
        if (counts(id)) {
            uint256 raised = (best.amount * 105 + 99) / 100;
            if (raised > least) least = raised;
            if (best.until > soonest) soonest = best.until;
        }
        uint256 amount = flaw == 0 ? least - 1 : least + (dice >> 8) % SESH;
        uint256 until = soonest + (dice >> 8) % (block.timestamp + 30 days - soonest + 1);
        if (flaw == 1) until = block.timestamp + 31 days;
        if (flaw == 4) until = soonest - 1;
        // Half of them raise what is theirs already.
        if (dice >> 16 & 1 == 0 && best.buyer != address(0)) buyer = best.buyer;
        uint256 has = best.buyer == buyer ? best.amount : 0;
        uint256 lacks = amount > has ? amount - has : 0;
        provide(buyer, address(names), flaw == 2 && lacks != 0 ? lacks - 1 : lacks);
        bool allowed = isLive(id) && (flaw > 4 || (flaw == 2 && lacks == 0));
        bytes memory call = abi.encodeCall(
            names.offer, (id, flaw == 3 ? version + 1 : version, uint96(amount), uint40(until))
        );
        if (!tries("offer", buyer, call, allowed)) return;
        if (best.amount != 0) {
            ++done[has == 0 ? "offer over another" : "offer over one's own"];
            pay(address(names), best.buyer, best.amount);
        }
        pay(buyer, address(names), amount);
        bids[id] = Bid(buyer, amount, until, version);
    }

    function accept(uint256 who, uint256 which, uint256 dice) external {
        (address caller, uint256 id) = (speaker(who, which, dice), idOf(which));
        Bid memory best = bids[id];
        uint256 least = dice % 8 == 5 ? best.amount + 1 : best.amount;
        bool allowed = maySpeak(caller, id) && counts(id) && least == best.amount;
        address seller = called[id].owner;
        if (!tries("accept", caller, abi.encodeCall(names.accept, (id, least)), allowed)) return;
        pay(address(names), seller, best.amount);
        delete bids[id];
        owns(id, best.buyer);
    }

    function withdraw(uint256 who, uint256 which, uint256 dice) external {
        uint256 id = idOf(which);
        Bid memory own = bids[id];
        address caller = dice % 4 == 0 ? actor(who) : own.buyer;
        bool allowed = own.amount != 0 && caller == own.buyer && !(isLive(id) && counts(id));
        if (!tries("withdraw", caller, abi.encodeCall(names.withdrawOffer, (id)), allowed)) return;
        pay(address(names), own.buyer, own.amount);
        delete bids[id];
    }

    /// @dev Label zero is the name's own.
    function record(uint256 who, uint256 which, uint256 dice) external {
        (address caller, uint256 id) = (speaker(who, which, dice), idOf(which));
        (uint256 label, uint8 kind) = ((dice >> 8) % 4, uint8((dice >> 16) % 8));
        bytes memory value = dice >> 24 & 1 == 0 ? bytes("") : abi.encode(dice);
        bool allowed = maySpeak(caller, id) && kind != 0 && kind != 7;
        bytes memory call = label == 0
            ? abi.encodeCall(names.setRecord, (id, kind, value))
            : abi.encodeCall(names.setSubnameRecord, (id, bytes32(label), kind, value));
        if (!tries("record", caller, call, allowed)) return;
        uint32 version = called[id].version;
        bool before = hasAny(id, version, label);
        values[id][version][label][kind] = value;
        bool present = hasAny(id, version, label);
        if (label == 0 || before == present) return;
        if (present) ++subnames[id][version];
        else --subnames[id][version];
    }

    /// @dev What it says is true or not; a third is too long.
    function reveal(uint256 who, uint256 which, uint256 dice) external {
        (address caller, uint256 id) = (speaker(who, which, dice), idOf(which));
        string memory text = vm.toString(dice >> (dice % 3 == 0 ? 0 : 128));
        bool allowed = maySpeak(caller, id) && bytes(text).length <= 64;
        if (tries("reveal", caller, abi.encodeCall(names.reveal, (id, text)), allowed)) revealed[id] = text;
    }

    function setReverse(uint256 who, uint256 which, uint256 dice) external {
        (address caller, uint256 id) = (speaker(who, which, dice), dice % 16 == 15 ? 0 : idOf(which));
        bool allowed = id == 0 || (isLive(id) && called[id].owner == caller);
        if (tries("setReverse", caller, abi.encodeCall(names.setReverse, (id)), allowed)) {
            (says[caller], saidOf[caller]) = (id, called[id].version);
        }
    }

    function payOut(uint256 who, uint256, uint256) external {
        if (!tries("payOut", actor(who), abi.encodeCall(names.releaseFees, ()), true)) return;
        pay(address(names), TREASURY, fees / 10);
        pay(address(names), address(pool), fees - fees / 10);
        fees = 0;
    }

    function setParameter(uint256 which, uint256 value, uint256 dice) external {
        (uint256 wanted, bool yearly) = (SESH * (value % 1_200), which % 2 == 0);
        bool allowed = wanted >= SESH && wanted <= 1_000 * SESH && dice % 8 != 0;
        bytes memory call = abi.encodeCall(
            names.setParameter, (yearly ? bytes32("yearlyFee") : bytes32("minimumOffer"), wanted)
        );
        if (!tries("setParameter", dice % 8 == 0 ? STRANGER : address(timelock), call, allowed)) return;
        if (yearly) yearlyFee = wanted;
        else minimumOffer = wanted;
    }

    /// @dev Some time, or until just before or when a name expires or comes free.
    function wait(uint256 time, uint256 which, uint256 dice) external {
        uint256 edge = called[idOf(which)].expiry + (dice & 2 == 0 ? 0 : 30 days);
        if (dice & 4 == 0 && edge != 0) --edge;
        bool near = edge > block.timestamp && edge < block.timestamp + 100 days;
        vm.warp(dice & 1 == 0 && near ? edge : block.timestamp + time % 20 days);
    }

    function counts(uint256 id) public view returns (bool) {
        Bid storage best = bids[id];
        return best.amount != 0 && best.version == called[id].version && block.timestamp <= best.until;
    }

    function isLive(uint256 id) public view returns (bool) {
        return called[id].owner != address(0) && block.timestamp < called[id].expiry;
    }

    function tries(string memory move, address who, bytes memory call, bool allowed)
        private
        returns (bool ok)
    {
        (ok,) = attempt(move, who, address(names), call, allowed);
    }

    /// @dev Mostly the owner, sometimes whom it approved, sometimes anybody.
    function speaker(uint256 who, uint256 which, uint256 dice) private view returns (address) {
        Name storage one = called[idOf(which)];
        if (dice % 8 > 2 && one.owner != address(0)) return one.owner;
        return dice % 8 == 2 && one.approved != address(0) ? one.approved : actor(who);
    }

    function maySpeak(address caller, uint256 id) private view returns (bool) {
        return isLive(id) && (caller == called[id].owner || caller == called[id].approved);
    }

    function owns(uint256 id, address owner) private {
        Name storage one = called[id];
        (one.owner, one.approved, one.price) = (owner, address(0), 0);
        ++one.version;
        delete revealed[id];
    }

    function paysFee(address payer, uint256 fee) private {
        pay(payer, address(names), fee);
        fees += fee;
    }

    function feeOf(uint256 period) private view returns (uint256) {
        uint256 exact = yearlyFee * period;
        return exact % 365 days == 0 ? exact / 365 days : exact / 365 days + 1;
    }

    function hasAny(uint256 id, uint32 version, uint256 label) private view returns (bool) {
        for (uint8 kind = 1; kind <= 6; ++kind) {
            if (values[id][version][label][kind].length != 0) return true;
        }
        return false;
    }
}
