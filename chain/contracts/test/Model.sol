// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, Signers} from "../src/checkpoints/Checkpoints.sol";
import {Contribution, Reservation} from "../src/staking/Contribution.sol";
import {Setup} from "./Setup.sol";

/// @title What everybody should have, told apart from what the contracts say
/// @dev Moves of `World` are tried against it: what it allows succeeds, what it does not allow is refused.
abstract contract Model is Setup {
    /// @notice What somebody has in a node or in an open contribution, and when they last added to it.
    struct Part {
        address holder;
        uint256 amount;
        uint256 lastAt;
    }

    struct Node {
        bool present;
        uint256 secret;
        uint256 registeredAt;
        uint256 askedAt;
        uint256 notedBps;
    }

    /// @notice The nodes at the last border that was looked at.
    struct Border {
        uint64 epoch;
        bytes aggregate;
        uint64[] ids;
    }

    /// @notice A node's state in the last checkpoint.
    struct State {
        uint8 state;
        uint16 penaltyBps;
    }

    uint256 internal constant ACTORS = 12;
    uint256 internal constant PAYEES = 4;
    address internal constant STRANGER = address(0x5e);

    /// @notice All that can have tokens, and how much each should have.
    address[] public accounts;
    mapping(address account => uint256) public expected;
    /// @notice How often a move was done and was refused.
    mapping(string move => uint256) public done;
    mapping(string move => uint256) public refused;

    uint64[] public nodes;
    mapping(uint64 id => Node) public node;
    mapping(uint64 id => Part[]) internal holdings;
    /// @notice Who holds a BLS key, by its secret; zero for nobody.
    mapping(uint256 secret => uint64 id) public holderOfKey;
    /// @dev How often a key was registered, and by what last, of nodes of one.
    mapping(uint256 secret => uint64) internal registrationsOf;
    mapping(uint256 secret => bytes) internal lastCall;
    mapping(uint256 secret => address) internal lastOperator;
    /// @notice The sum of the secrets of all nodes.
    uint256 public secrets;
    uint256 internal requirement = REQUIREMENT;
    uint256 internal maximumPenalty = 1_000;

    Contribution[] public contributions;
    mapping(Contribution open => uint256) internal secretOf;
    /// @dev How often the key had been registered when the proof was made.
    mapping(Contribution open => uint64) internal provedAt;
    mapping(Contribution open => Part[]) internal parts;
    /// @dev The slot that is kept, if one is.
    mapping(Contribution open => Reservation) internal reservation;

    Border internal border;
    bytes32[] internal rewards;
    bytes32[] internal states;
    mapping(uint64 id => State) internal stateOf;
    mapping(address account => uint256) internal lifetime;
    mapping(address account => uint256) public claimed;
    uint256 public paid;
    uint256 public funded;
    uint256 public released;
    uint256 internal releasedAt;
    bool internal paused;

    function setUp() public virtual override {
        super.setUp();
        accounts = [address(this), address(pool), address(staking), address(checkpoints)];
        for (uint256 i = 0; i < ACTORS; ++i) {
            accounts.push(actor(i));
        }
        for (uint256 i = 0; i < PAYEES; ++i) {
            accounts.push(payee(i));
        }
        expected[address(pool)] = token.balanceOf(address(pool));
        expected[address(this)] = token.SUPPLY() - expected[address(pool)];
        releasedAt = block.timestamp;
    }

    function accountsLength() external view returns (uint256) {
        return accounts.length;
    }

    function nodesLength() external view returns (uint256) {
        return nodes.length;
    }

    function contributionsLength() external view returns (uint256) {
        return contributions.length;
    }

    function everything()
        external
        view
        returns (address token_, address staking_, address pool_, address checkpoints_)
    {
        return (address(token), address(staking), address(pool), address(checkpoints));
    }

    function actor(uint256 who) internal pure returns (address) {
        return vm.addr(1 + who % ACTORS);
    }

    function payee(uint256 who) internal pure returns (address) {
        return address(uint160(0x9a0 + who % PAYEES));
    }

    /// @dev Whether it is done, which must be whether it is allowed.
    function attempt(string memory move, address who, address target, bytes memory call, bool allowed)
        internal
        returns (bool, bytes memory)
    {
        vm.prank(who);
        (bool ok, bytes memory returned) = target.call(call);
        vm.assertTrue(ok || !allowed, string.concat(move, " may be done"));
        vm.assertTrue(!ok || allowed, string.concat(move, " may not be done"));
        if (ok) ++done[move];
        else ++refused[move];
        return (ok, returned);
    }

    // Money.

    function pay(address from, address to, uint256 amount) internal {
        expected[from] -= amount;
        expected[to] += amount;
    }

    /// @dev Gives an account what it lacks of an amount, and lets it allow that amount.
    function provide(address account, address spender, uint256 amount) internal {
        uint256 held = token.balanceOf(account);
        if (held < amount) {
            token.transfer(account, amount - held);
            pay(address(this), account, amount - held);
        }
        vm.prank(account);
        token.approve(spender, amount);
    }

    function accrues() internal {
        uint256 held = expected[address(pool)];
        uint256 due = held * 151 * (block.timestamp - releasedAt) / (1_000 * 365 days);
        if (due > held) due = held;
        if (due == 0) return;
        (released, releasedAt) = (released + due, block.timestamp);
        pay(address(pool), address(checkpoints), due);
    }

    // Nodes.

    function joins(uint64 id, uint256 secret) internal {
        nodes.push(id);
        node[id] = Node(true, secret, block.timestamp, 0, 0);
        holderOfKey[secret] = id;
        ++registrationsOf[secret];
        secrets += secret;
    }

    /// @dev Everybody has back what is recorded; the operator less a penalty.
    function departs(uint64 id, uint256 bps) internal {
        Part[] storage shares = holdings[id];
        uint256 penalty = shares[0].amount * (bps < maximumPenalty ? bps : maximumPenalty) / 10_000;
        for (uint256 i = 0; i < shares.length; ++i) {
            pay(address(staking), shares[i].holder, shares[i].amount - (i == 0 ? penalty : 0));
        }
        pay(address(staking), address(pool), penalty);
        node[id].present = false;
        secrets -= node[id].secret;
        delete holderOfKey[node[id].secret];
        for (uint256 i = 0; i < nodes.length; ++i) {
            if (nodes[i] != id) continue;
            nodes[i] = nodes[nodes.length - 1];
            nodes.pop();
        }
    }

    /// @dev Where somebody is among holders; their number if nowhere.
    function find(Part[] storage all, address account) internal view returns (uint256 index) {
        while (index < all.length && all[index].holder != account) ++index;
    }

    function sum(Part[] storage all) internal view returns (uint256 total) {
        for (uint256 i = 0; i < all.length; ++i) {
            total += all[i].amount;
        }
    }

    // Checkpoints.

    function looksAtBorder() internal {
        uint64 epoch = staking.currentEpoch();
        passBorder(epoch);
        border = Border(epoch, staking.aggregateKey(), nodes);
    }

    /// @dev Whether a checkpoint can be taken of the border that was looked at.
    function isFresh() internal view returns (bool) {
        bool seen = border.aggregate.length != 0 && border.epoch >= checkpoints.nextEpoch();
        return seen && checkpoints.currentEpoch() - border.epoch <= 8;
    }

    /// @dev The checkpoint of the border that was looked at, signed by all but `absentees` that `wish` picks.
    function signedAtBorder(bytes32 rewardsRoot, bytes32 statesRoot, uint256 wish, uint256 absentees)
        internal
        view
        returns (Checkpoint memory content, Signers memory signers)
    {
        uint256 left = border.ids.length;
        (bytes memory absent, uint256 signing) = (bytes(""), 0);
        for (uint64 id = 1; left != 0; ++id) {
            if (!wasAtBorder(id)) continue;
            bool away = absentees != 0 && (wish >> id % 256 & 1 == 1 || absentees == left);
            if (away) (absent, absentees) = (bytes.concat(absent, ids(uint32(id))), absentees - 1);
            else signing += node[id].secret;
            --left;
        }
        content = checkpoint(border.epoch, rewardsRoot, statesRoot);
        signers = signed(content, uint64(border.ids.length), absent, signing);
        signers.aggregateKey = border.aggregate;
    }

    function wasAtBorder(uint64 id) internal view returns (bool) {
        for (uint256 i = 0; i < border.ids.length; ++i) {
            if (border.ids[i] == id) return true;
        }
        return false;
    }
}
