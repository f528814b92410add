// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint} from "../src/checkpoints/Checkpoints.sol";
import {Contribution, Reservation} from "../src/staking/Contribution.sol";
import {Registration} from "../src/staking/StakingTypes.sol";
import {Merkle} from "./Merkle.sol";
import {Setup} from "./Setup.sol";

/// @title People and nodes that do whatever they may, in any order
/// @dev Forge calls the functions that `moves` lists. What each must do to balances is checked where it is done;
/// what must hold always, in `InvariantTest`.
contract World is Setup {
    uint256 private constant OPERATORS = 12;

    uint64[] public nodes;
    mapping(uint64 id => uint256) public secretOf;
    mapping(uint256 secret => bool) public staked;
    Contribution[] public contributions;
    uint256 public givenToCheckpoints;
    uint256 public secrets;
    uint256 public removals;
    uint256 public claims;

    function moves() external pure returns (bytes4[] memory all) {
        all = new bytes4[](10);
        all[0] = this.registerSolo.selector;
        all[1] = this.openContribution.selector;
        all[2] = this.contribute.selector;
        all[3] = this.endContribution.selector;
        all[4] = this.requestExit.selector;
        all[5] = this.escape.selector;
        all[6] = this.agree.selector;
        all[7] = this.handOver.selector;
        all[8] = this.give.selector;
        all[9] = this.registerShared.selector;
    }

    function registerSolo(uint256 pick) external {
        uint256 secret = 1 + pick % OPERATORS;
        if (staked[secret]) return;
        joined(register(secret), secret);
    }

    function openContribution(uint256 pick, uint256 amount) external {
        uint256 secret = 1 + pick % OPERATORS;
        if (staked[secret] || contributions.length > 20) return;
        amount = REQUIREMENT / 4 + amount % (REQUIREMENT * 3 / 4);
        address operator = vm.addr(secret);
        token.transfer(operator, amount);
        vm.prank(operator);
        token.approve(address(factory), amount);
        Registration memory declared = registration(secret, operator);
        vm.prank(operator);
        contributions.push(factory.create(declared, amount, operator, new Reservation[](0)));
    }

    /// @dev A node of an operator and two others, at once.
    function registerShared(uint256 pick, uint256 who, uint256 amount) external {
        uint256 last = contributions.length;
        this.openContribution(pick, amount);
        if (contributions.length == last) return;
        this.contribute(last, who, amount / 2);
        this.contribute(last, who ^ 1, type(uint256).max);
        this.endContribution(last, 0);
    }

    /// @dev The largest amount is all that is open.
    function contribute(uint256 which, uint256 who, uint256 amount) external {
        if (contributions.length == 0) return;
        Contribution open = contributions[which % contributions.length];
        address account = person(who);
        (uint256 least, uint256 most) = open.limits(account);
        if (open.status() != Contribution.Status.Open || most == 0) return;
        amount = amount == type(uint256).max ? most : least + amount % (most - least + 1);
        token.transfer(account, amount);
        vm.prank(account);
        token.approve(address(open), amount);
        vm.prank(account);
        open.contribute(amount, account);
    }

    /// @dev Finalises if complete; else somebody withdraws, or the operator cancels.
    function endContribution(uint256 which, uint256 who) external {
        if (contributions.length == 0) return;
        Contribution open = contributions[which % contributions.length];
        if (open.status() != Contribution.Status.Open) return;
        address operator = open.operator();
        uint256 secret = 1;
        while (vm.addr(secret) != operator) ++secret;
        if (open.total() == REQUIREMENT && !staked[secret]) {
            vm.prank(operator);
            open.finalise();
            joined(open.id(), secret);
            return;
        }
        uint256 held = token.balanceOf(address(open));
        uint256 back;
        Contribution.Part[] memory parts = open.contributions();
        uint256 index = who % parts.length;
        vm.warp(block.timestamp + 1 days);
        uint256 before = token.balanceOf(parts[index].contributor);
        vm.prank(parts[index].contributor);
        if (index == 0) open.cancel();
        else open.withdraw();
        back = token.balanceOf(parts[index].contributor) - before;
        vm.assertEq(back, parts[index].amount, "all that was contributed comes back");
        uint256 left = index == 0 ? 0 : held - back;
        vm.assertEq(token.balanceOf(address(open)), left, "and nobody else's");
    }

    function requestExit(uint256 pick) external {
        if (nodes.length == 0) return;
        uint64 id = nodes[pick % nodes.length];
        (, uint64 requestedAt,,) = staking.stakeOf(id);
        if (requestedAt != 0) return;
        (address[] memory holders,) = staking.sharesOf(id);
        vm.prank(holders[0]);
        staking.requestExit(id);
    }

    function escape(uint256 pick) external {
        if (nodes.length == 0) return;
        uint64 id = nodes[pick % nodes.length];
        (, uint64 requestedAt, uint16 bps,) = staking.stakeOf(id);
        if (requestedAt == 0) return;
        if (block.timestamp < requestedAt + 30 days) vm.warp(requestedAt + 30 days);
        removes(id, bps, abi.encodeCall(staking.escape, (id)));
    }

    /// @dev The nodes agree on the state of one of them and on a total for somebody, which may be too high.
    function agree(uint256 pick, uint8 state, uint16 bps, uint256 who, uint256 total) external {
        passBorder(staking.currentEpoch());
        if (nodes.length < 4) return;
        total %= pool.released() * 2 + 2;
        uint8[8] memory likely = [0, 1, 3, 4, 4, 4, 4, 5];
        (state, bps) = (likely[state % 8], bps % 3_000);
        uint64 id = nodes[pick % nodes.length];
        bytes32[] memory rewards = leaves(Merkle.reward(person(who), total), "another");
        bytes32[] memory states = leaves(Merkle.state(id, state, bps), "another");
        submit(Merkle.root(rewards), Merkle.root(states));
        claim(person(who), total, Merkle.proof(rewards, rewards[0]));
        follow(id, state, bps, Merkle.proof(states, states[0]));
    }

    function handOver(uint256 pick, uint256 who) external {
        if (nodes.length == 0) return;
        uint64 id = nodes[pick % nodes.length];
        (address[] memory holders,) = staking.sharesOf(id);
        for (uint256 i = 0; i < holders.length; ++i) {
            if (holders[i] == person(who)) return;
        }
        vm.prank(holders[who % holders.length]);
        staking.handOver(id, person(who));
    }

    function give(bool toPool, uint32 amount) external {
        token.transfer(toPool ? address(pool) : address(checkpoints), amount);
        if (!toPool) givenToCheckpoints += amount;
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

    function person(uint256 who) private pure returns (address) {
        return address(uint160(0x1000 + who % 6));
    }

    function submit(bytes32 rewardsRoot, bytes32 statesRoot) private {
        Checkpoint memory content = checkpoint(staking.currentEpoch() - 1, rewardsRoot, statesRoot);
        checkpoints.submit(content, signed(content, uint64(nodes.length), "", secrets));
    }

    /// @dev Does what the state of a node permits.
    function follow(uint64 id, uint8 state, uint16 bps, bytes32[] memory proof) private {
        if (state == 3) staking.notePenalty(id, state, bps, proof);
        if (state < 4) return;
        bytes memory call = abi.encodeCall(staking.release, (id, state, bps, proof));
        removes(id, state == 4 ? bps : 0, call);
    }

    function joined(uint64 id, uint256 secret) private {
        nodes.push(id);
        (secretOf[id], staked[secret]) = (secret, true);
        secrets += secret;
    }

    /// @dev Removes a node, twice, and checks that each holder has what was recorded, once.
    function removes(uint64 id, uint256 bps, bytes memory call) private {
        (address[] memory holders, uint256[] memory amounts) = staking.sharesOf(id);
        uint256[] memory before = new uint256[](holders.length);
        for (uint256 i = 0; i < holders.length; ++i) {
            before[i] = token.balanceOf(holders[i]);
        }
        uint256 poolBefore = token.balanceOf(address(pool));
        (bool done,) = address(staking).call(call);
        vm.assertTrue(done, "the principal can be recovered");
        (bool again,) = address(staking).call(call);
        vm.assertTrue(!again, "once");
        uint256 penalty = amounts[0] * (bps < 1_000 ? bps : 1_000) / 10_000;
        for (uint256 i = 0; i < holders.length; ++i) {
            uint256 due = i == 0 ? amounts[0] - penalty : amounts[i];
            vm.assertEq(token.balanceOf(holders[i]) - before[i], due, "what was recorded");
        }
        vm.assertEq(token.balanceOf(address(pool)) - poolBefore, penalty, "the penalty");
        forget(id);
    }

    function claim(address account, uint256 total, bytes32[] memory proof) private {
        uint256 claimed = checkpoints.claimed(account);
        bool due = total > claimed && checkpoints.paid() + total - claimed <= pool.released();
        uint256 before = token.balanceOf(account);
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(account);
            (bool done,) =
                address(checkpoints).call(abi.encodeCall(checkpoints.claim, (total, proof, account)));
            vm.assertTrue(done == (due && i == 0), "what is due is paid, once");
        }
        uint256 paid = due ? total - claimed : 0;
        vm.assertEq(token.balanceOf(account) - before, paid, "what is due");
        if (due) ++claims;
    }

    function forget(uint64 id) private {
        ++removals;
        secrets -= secretOf[id];
        staked[secretOf[id]] = false;
        for (uint256 i = 0; i < nodes.length; ++i) {
            if (nodes[i] != id) continue;
            nodes[i] = nodes[nodes.length - 1];
            nodes.pop();
        }
    }
}
