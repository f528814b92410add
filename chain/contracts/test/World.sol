// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, Checkpoints, Signers} from "../src/checkpoints/Checkpoints.sol";
import {Parameters} from "../src/libraries/Parameters.sol";
import {Contribution, Reservation} from "../src/staking/Contribution.sol";
import {Staking} from "../src/staking/Staking.sol";
import {Registration} from "../src/staking/StakingTypes.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Merkle} from "./Merkle.sol";
import {Model} from "./Model.sol";

/// @title People and nodes that do whatever they may, and try what they may not, in any order
/// @dev Forge calls the functions that `moves` lists. Each tells the model what it did; what must hold always is
/// checked in `InvariantTest`.
contract World is Model {
    uint256 private constant KEYS = 40;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < 5; ++i) {
            this.register(i, i, 9);
        }
    }

    function moves() public pure returns (bytes4[] memory all) {
        all = new bytes4[](25);
        (all[0], all[1], all[2]) = (this.register.selector, this.open.selector, this.contribute.selector);
        (all[3], all[4], all[5]) = (this.complete.selector, this.finalise.selector, this.cancel.selector);
        (all[6], all[7], all[8]) = (this.withdraw.selector, this.reserve.selector, this.redirect.selector);
        (all[9], all[10]) = (this.requestExit.selector, this.escape.selector);
        (all[11], all[12]) = (this.handOver.selector, this.changeBeneficiary.selector);
        (all[13], all[14]) = (this.passOneBorder.selector, this.agree.selector);
        (all[15], all[16]) = (this.disagree.selector, this.claim.selector);
        (all[17], all[18]) = (this.release.selector, this.note.selector);
        (all[19], all[20]) = (this.pause.selector, this.setParameter.selector);
        (all[21], all[22], all[23]) = (this.give.selector, this.accrue.selector, this.wait.selector);
        all[24] = this.replay.selector;
    }

    // Nodes of one.

    /// @dev Five of sixteen have a flaw; so has one whose key is in use.
    function register(uint256 who, uint256 key, uint256 flaw) external {
        (address operator, uint256 secret) = (actor(who), 1 + key % KEYS);
        flaw %= 16;
        Registration memory declared = registration(secret, flaw == 0 ? STRANGER : operator);
        if (flaw == 1) declared.fee = 10_001;
        if (flaw == 2) declared.prefix = 0x05010203000000;
        provide(operator, address(staking), flaw == 3 ? requirement - 1 : requirement);
        bytes memory call = abi.encodeCall(staking.register, (declared, flaw == 4 ? address(0) : operator));
        uint64 id = staking.nextId();
        bool allowed = flaw > 4 && holderOfKey[secret] == 0;
        (bool ok,) = attempt("register", operator, address(staking), call, allowed);
        if (!ok) return;
        pay(operator, address(staking), requirement);
        holdings[id].push(Part(operator, requirement, block.timestamp));
        joins(id, secret);
        (lastCall[secret], lastOperator[secret]) = (call, operator);
    }

    /// @dev What registered a key once does so never again, whether its node is there or has left.
    function replay(uint256 key) external {
        uint256 secret = 1 + key % KEYS;
        address operator = lastOperator[secret];
        if (operator == address(0)) return;
        provide(operator, address(staking), requirement);
        string memory move = holderOfKey[secret] == 0 ? "replay of one that left" : "replay";
        attempt(move, operator, address(staking), lastCall[secret], false);
    }

    // Nodes of several.

    function open(uint256 who, uint256 key, uint256 amount) external {
        (address operator, uint256 secret) = (actor(who), 1 + key % KEYS);
        uint256 least = (requirement + 3) / 4;
        bool allowed = amount % 8 != 0;
        amount = allowed ? least + amount % (requirement / 2) : least - 1;
        provide(operator, address(factory), amount);
        bytes memory call = abi.encodeCall(
            factory.create, (registration(secret, operator), amount, operator, new Reservation[](0))
        );
        (bool ok, bytes memory made) = attempt("open", operator, address(factory), call, allowed);
        if (!ok) return;
        Contribution clone = abi.decode(made, (Contribution));
        contributions.push(clone);
        accounts.push(address(clone));
        (secretOf[clone], provedAt[clone]) = (secret, registrationsOf[secret]);
        parts[clone].push(Part(operator, amount, block.timestamp));
        pay(operator, address(clone), amount);
    }

    /// @dev Of eight: one brings too little, one too much, one all that is open.
    function contribute(uint256 which, uint256 who, uint256 amount) public {
        if (contributions.length == 0) return;
        (Contribution clone, address account) = (pick(which), actor(who));
        (uint256 least, uint256 most) = limits(clone, account);
        bool allowed = isOpen(clone) && most != 0 && amount % 8 > 1;
        if (amount % 8 == 0) amount = least == 0 ? 0 : least - 1;
        else if (amount % 8 == 1) amount = most + 1;
        else if (amount % 8 == 2) amount = most;
        else amount = most == 0 ? 1 : least + amount % (most - least + 1);
        provide(account, address(clone), amount);
        bytes memory call = abi.encodeCall(clone.contribute, (amount, account));
        (bool ok,) = attempt("contribute", account, address(clone), call, allowed);
        if (!ok) return;
        pay(account, address(clone), amount);
        Part[] storage all = parts[clone];
        uint256 index = find(all, account);
        if (index == all.length) {
            all.push(Part(account, 0, 0));
            if (reservation[clone].contributor == account) delete reservation[clone];
        }
        (all[index].amount, all[index].lastAt) = (all[index].amount + amount, block.timestamp);
    }

    /// @dev Somebody brings something, somebody all that is open, and the operator finalises.
    function complete(uint256 which, uint256 who, uint256 amount) external {
        contribute(which, who, amount);
        contribute(which, who / ACTORS, 2);
        finalise(which, 1);
    }

    function finalise(uint256 which, uint256 caller) public {
        if (contributions.length == 0) return;
        Contribution clone = pick(which);
        Part[] storage all = parts[clone];
        (uint64 id, uint256 secret) = (staking.nextId(), secretOf[clone]);
        bool whole = sum(all) == requirement && all[0].amount * 4 >= requirement;
        bool free = holderOfKey[secret] == 0 && registrationsOf[secret] == provedAt[clone];
        bool allowed = isOpen(clone) && caller % 8 != 0 && whole && free;
        address operator = caller % 8 == 0 || all.length == 0 ? STRANGER : all[0].holder;
        bytes memory call = abi.encodeCall(clone.finalise, ());
        (bool ok,) = attempt("finalise", operator, address(clone), call, allowed);
        if (!ok) return;
        pay(address(clone), address(staking), requirement);
        for (uint256 i = 0; i < all.length; ++i) {
            holdings[id].push(all[i]);
        }
        delete parts[clone];
        joins(id, secret);
    }

    function cancel(uint256 which, uint256 caller) external {
        if (contributions.length != 0) cancel(pick(which), caller);
    }

    function withdraw(uint256 which, uint256 who, uint256 time) external {
        if (contributions.length == 0) return;
        Contribution clone = pick(which, 2);
        Part[] storage all = parts[clone];
        // Of eight: one contributed nothing, and one is the operator.
        uint256 index = all.length;
        if (index == 1 || index != 0 && who % 8 == 1) index = 0;
        else if (index != 0 && who % 8 != 0) index = 1 + who / 8 % (index - 1);
        if (index < all.length) waitFor(all[index].lastAt + 1 days, time);
        bool contributed = index != 0 && index < all.length;
        bool allowed = contributed && block.timestamp >= all[index].lastAt + 1 days;
        address account = index < all.length ? all[index].holder : STRANGER;
        bytes memory call = abi.encodeCall(clone.withdraw, ());
        (bool ok,) = attempt("withdraw", account, address(clone), call, allowed);
        if (!ok) return;
        pay(address(clone), account, all[index].amount);
        all[index] = all[all.length - 1];
        all.pop();
    }

    function reserve(uint256 which, uint256 who, uint256 amount) external {
        if (contributions.length == 0) return;
        (Contribution clone, address account) = (pick(which), actor(who));
        Part[] storage all = parts[clone];
        uint256 most = requirement > sum(all) ? requirement - sum(all) : 0;
        uint256 slots = 10 - all.length;
        bool allowed = isOpen(clone) && most != 0 && slots != 0 && find(all, account) == all.length;
        if (slots != 0 && most != 0) {
            uint256 least = (most + slots - 1) / slots;
            amount = amount % 8 == 0 ? least - 1 : least + amount % (most - least + 1);
            allowed = allowed && amount >= least;
        }
        Reservation[] memory one = new Reservation[](1);
        one[0] = Reservation(account, amount);
        address operator = all.length == 0 ? STRANGER : all[0].holder;
        bytes memory call = abi.encodeCall(clone.reserve, (one));
        (bool ok,) = attempt("reserve", operator, address(clone), call, allowed);
        if (ok) reservation[clone] = one[0];
    }

    /// @dev Somebody's rewards go elsewhere, before the node is registered.
    function redirect(uint256 which, uint256 who) external {
        if (contributions.length == 0) return;
        Contribution clone = pick(which);
        Part[] storage all = parts[clone];
        bool allowed = isOpen(clone) && who % 4 != 0;
        address account = allowed ? all[who % all.length].holder : STRANGER;
        bytes memory call = abi.encodeCall(clone.changeBeneficiary, (payee(who)));
        attempt("redirect", account, address(clone), call, allowed);
    }

    // Shares of nodes.

    function requestExit(uint256 which, uint256 who) public {
        (uint64 id, address account, uint256 index) = holder(which, who);
        bool allowed = node[id].askedAt == 0 && index != holdings[id].length;
        if (who % 16 == 0) waitFor(node[id].registeredAt + 30 days, which);
        if (allowed && holdings[id][index].amount * 4 < sum(holdings[id])) {
            allowed = block.timestamp >= node[id].registeredAt + 30 days;
        }
        bytes memory call = abi.encodeCall(staking.requestExit, (id));
        (bool ok,) = attempt("requestExit", account, address(staking), call, allowed);
        if (ok) node[id].askedAt = block.timestamp;
    }

    function escape(uint256 which, uint256 time) public {
        uint64 id = anyNode(which);
        uint256 opens = node[id].askedAt + 30 days;
        bool asked = node[id].present && node[id].askedAt != 0;
        if (asked) waitFor(opens, time);
        bytes memory call = abi.encodeCall(staking.escape, (id));
        remove("escape", id, call, asked && block.timestamp >= opens, node[id].notedBps);
    }

    function handOver(uint256 which, uint256 who, uint256 to) external {
        (uint64 id, address account, uint256 index) = holder(which, who);
        Part[] storage all = holdings[id];
        bool allowed = index != all.length && find(all, actor(to)) == all.length;
        bytes memory call = abi.encodeCall(staking.handOver, (id, actor(to)));
        (bool ok,) = attempt("handOver", account, address(staking), call, allowed);
        if (ok) all[index].holder = actor(to);
    }

    function changeBeneficiary(uint256 which, uint256 who) external {
        (uint64 id, address account, uint256 index) = holder(which, who);
        bytes memory call = abi.encodeCall(staking.changeBeneficiary, (id, payee(who)));
        attempt("changeBeneficiary", account, address(staking), call, index != holdings[id].length);
    }

    // Checkpoints.

    /// @dev Others may join and leave before there is a checkpoint of it.
    function passOneBorder() external {
        looksAtBorder();
    }

    /// @dev Some earn, and each node has a state. Now and then a total is too high, or lower than before.
    function agree(uint256 who, uint256 total, uint256 dice) external {
        if (!isFresh()) looksAtBorder();
        if (border.ids.length < 4) return disagree(9, dice);
        earn(actor(who), total);
        earn(actor(who / ACTORS), total / 16);
        judge(dice);
        uint256 absentees = dice % 2 == 0 ? 0 : (border.ids.length - 1) / 3;
        (Checkpoint memory content, Signers memory signers) =
            signedAtBorder(Merkle.root(rewards), Merkle.root(states), dice, absentees);
        bytes memory call = abi.encodeCall(checkpoints.submit, (content, signers));
        (bool ok,) = attempt("agree", actor(who), address(checkpoints), call, true);
        if (!ok) return;
        accrues();
        funded = released;
    }

    /// @dev A checkpoint that must be refused: for its flaw, or because there are too few nodes.
    function disagree(uint256 flaw, uint256 dice) public {
        if (!isFresh()) looksAtBorder();
        uint256 count = border.ids.length;
        flaw = count < 4 ? 9 : flaw % 9;
        // With a third absent it is refused for that alone.
        uint256 absentees = flaw == 9 ? 0 : flaw == 0 ? (count + 2) / 3 : 1;
        (Checkpoint memory content, Signers memory signers) =
            signedAtBorder("forged", "forged", dice, absentees);
        if (flaw == 1) content.statesRoot = keccak256("another");
        if (flaw == 2) signers.absent = "";
        if (flaw == 3) signers.nodes -= 1;
        if (flaw == 4) signers.aggregateKey = BlsSigner.publicKey(2 ** 200);
        if (flaw == 5) signers.signature = new bytes(192);
        if (flaw == 6) signers.absent = ids(uint32(staking.nextId()));
        if (flaw == 7) content.epoch = checkpoints.currentEpoch();
        if (flaw == 8) content.previousDigest = keccak256("another");
        bytes memory call = abi.encodeCall(checkpoints.submit, (content, signers));
        attempt("disagree", STRANGER, address(checkpoints), call, false);
    }

    /// @dev Of eight: one claims another's, one more than its total, and six what is due, twice.
    function claim(uint256 who, uint256 to, uint256 flaw) external {
        (address account, address target) = (actor(who), to % 2 == 0 ? payee(to) : actor(to));
        // Half of them: somebody who has something to claim.
        for (uint256 i = 0; flaw % 2 == 0 && i < ACTORS; ++i) {
            if (lifetime[account] <= claimed[account]) account = actor(who % ACTORS + i);
        }
        uint256 total = lifetime[account];
        bytes32 leaf = Merkle.reward(account, total);
        bytes32[] memory proof = has(rewards, leaf) ? Merkle.proof(rewards, leaf) : new bytes32[](0);
        uint256 due = total > claimed[account] ? total - claimed[account] : 0;
        bool allowed = !paused && due != 0 && paid + due <= funded && flaw % 8 > 1;
        if (flaw % 8 == 1) ++total;
        bytes memory call = abi.encodeCall(checkpoints.claim, (total, proof, target));
        address caller = flaw % 8 == 0 ? STRANGER : account;
        (bool ok,) = attempt("claim", caller, address(checkpoints), call, allowed);
        if (!ok) return;
        attempt("claim", account, address(checkpoints), call, false);
        pay(address(checkpoints), target, due);
        (claimed[account], paid) = (total, paid + due);
    }

    /// @dev Of any node, or of one that the checkpoint lets go. Of eight one says of a checkpoint what it does not.
    function release(uint256 which, uint256 flaw) external {
        uint64 id = anyNode(which);
        for (uint256 i = 0; flaw % 2 == 1 && i < nodes.length; ++i) {
            if (stateOf[nodes[i]].state > 3) id = nodes[i];
        }
        (State memory now_, bytes32[] memory proof) = stateOfNode(id);
        bool allowed = node[id].present && now_.state > 3 && flaw % 8 != 0;
        if (flaw % 8 == 0) (now_.state, now_.penaltyBps) = (4, now_.penaltyBps + 1);
        bytes memory call = abi.encodeCall(staking.release, (id, now_.state, now_.penaltyBps, proof));
        string memory move = now_.state == 5 ? "release of a refused registration" : "release";
        remove(move, id, call, allowed, now_.state == 5 ? 0 : now_.penaltyBps);
    }

    function note(uint256 which) external {
        uint64 id = anyNode(which);
        (State memory now_, bytes32[] memory proof) = stateOfNode(id);
        bool allowed = node[id].present && (now_.state == 3 || now_.state == 4);
        bytes memory call = abi.encodeCall(staking.notePenalty, (id, now_.state, now_.penaltyBps, proof));
        (bool ok,) = attempt("note", STRANGER, address(staking), call, allowed);
        if (ok) node[id].notedBps = now_.penaltyBps;
    }

    // The rest of the world.

    function pause(uint256 caller) public {
        bool stops = caller % 8 == 3;
        bytes memory call = abi.encodeCall(checkpoints.setPaused, (stops));
        address by = caller % 4 == 0 ? STRANGER : GUARDIAN;
        (bool ok,) = attempt("pause", by, address(checkpoints), call, by == GUARDIAN);
        if (ok) paused = stops;
    }

    /// @dev The requirement is nearly always the same: what is open when it changes has too little or too much.
    function setParameter(uint256 caller, uint256 which, uint256 value) external {
        bool penalty = which % 2 == 0;
        value =
            penalty ? value % 1_100 : value % 8 == 0 ? REQUIREMENT - SESH + value % (2 * SESH) : REQUIREMENT;
        bool allowed = caller % 4 != 0 && !(penalty && value > 1_000);
        bytes memory call = abi.encodeCall(
            Parameters.setParameter,
            (penalty ? bytes32("maximumPenalty") : bytes32("stakingRequirement"), value)
        );
        address by = caller % 4 == 0 ? STRANGER : address(timelock);
        (bool ok,) = attempt("setParameter", by, address(staking), call, allowed);
        if (ok && penalty) maximumPenalty = value;
        if (ok && !penalty) requirement = value;
    }

    function give(uint256 which, uint256 amount) external {
        address to = which % 2 == 0 ? address(pool) : address(checkpoints);
        amount %= SESH;
        token.transfer(to, amount);
        pay(address(this), to, amount);
    }

    function accrue() external {
        attempt("accrue", STRANGER, address(pool), abi.encodeCall(pool.release, ()), true);
        accrues();
    }

    function wait(uint256 time) external {
        vm.warp(block.timestamp + time % 2 ** (time % 22));
    }

    /// @notice Claims are stopped, and everybody wants back what they have in nodes and open contributions.
    function everybodyLeaves() external {
        pause(3);
        for (uint256 i = 0; i < contributions.length; ++i) {
            if (isOpen(contributions[i])) cancel(contributions[i], 1);
        }
        while (nodes.length != 0) {
            if (node[nodes[0]].askedAt == 0) requestExit(0, 0);
            escape(0, 0);
        }
    }

    function cancel(Contribution clone, uint256 caller) private {
        Part[] storage all = parts[clone];
        bool allowed = isOpen(clone) && caller % 4 == 1;
        address operator = allowed ? all[0].holder : STRANGER;
        bytes memory call = abi.encodeCall(clone.cancel, ());
        (bool ok,) = attempt("cancel", operator, address(clone), call, allowed);
        if (!ok) return;
        for (uint256 i = 0; i < all.length; ++i) {
            pay(address(clone), all[i].holder, all[i].amount);
        }
        delete parts[clone];
    }

    /// @dev Until an instant, until the second before it, or not at all.
    function waitFor(uint256 instant, uint256 way) private {
        instant -= way % 4 == 1 ? 1 : 0;
        if (way % 4 < 2 && block.timestamp < instant) vm.warp(instant);
    }

    /// @dev The least and the most that somebody can contribute.
    function limits(Contribution clone, address account) private view returns (uint256 least, uint256 most) {
        Part[] storage all = parts[clone];
        Reservation storage kept = reservation[clone];
        bool own = kept.contributor == account;
        uint256 taken = sum(all) + (own ? 0 : kept.amount);
        most = requirement > taken ? requirement - taken : 0;
        uint256 slots = 10 - all.length - (kept.contributor == address(0) ? 0 : 1);
        if (find(all, account) < all.length) return (1, most);
        if (own) return (kept.amount < most ? kept.amount : most, most);
        return slots == 0 ? (0, 0) : ((most + slots - 1) / slots, most);
    }

    function remove(string memory move, uint64 id, bytes memory call, bool allowed, uint256 bps) private {
        (bool ok,) = attempt(move, STRANGER, address(staking), call, allowed);
        if (!ok) return;
        departs(id, bps);
        attempt(move, STRANGER, address(staking), call, false);
    }

    function earn(address account, uint256 total) private {
        uint256 open_ = released - paid;
        if (total % 16 == 0) lifetime[account] = total % (released + 1);
        else if (total % 16 == 1) lifetime[account] = claimed[account] + open_ * 2 + 1;
        else lifetime[account] = claimed[account] + total % (open_ / 2 + 1);
        delete rewards;
        for (uint256 i = 0; i < ACTORS; ++i) {
            rewards.push(Merkle.reward(actor(i), lifetime[actor(i)]));
        }
    }

    function judge(uint256 dice) private {
        uint8[8] memory likely = [1, 1, 0, 3, 3, 4, 4, 5];
        delete states;
        for (uint256 i = 0; i < nodes.length; ++i) {
            dice = uint256(keccak256(abi.encode(dice)));
            State memory now_ = State(likely[dice % 8], uint16(dice / 8 % 3_000));
            stateOf[nodes[i]] = now_;
            states.push(Merkle.state(nodes[i], now_.state, now_.penaltyBps));
        }
    }

    function stateOfNode(uint64 id) private view returns (State memory now_, bytes32[] memory proof) {
        now_ = stateOf[id];
        bytes32 leaf = Merkle.state(id, now_.state, now_.penaltyBps);
        if (has(states, leaf)) proof = Merkle.proof(states, leaf);
    }

    function has(bytes32[] storage leaves_, bytes32 leaf) private view returns (bool) {
        for (uint256 i = 0; i < leaves_.length; ++i) {
            if (leaves_[i] == leaf) return true;
        }
        return false;
    }

    function pick(uint256 which) private view returns (Contribution) {
        return pick(which, 1);
    }

    /// @dev Any contribution; of eight seven are such as several have a part in, if there are any.
    function pick(uint256 which, uint256 several) private view returns (Contribution) {
        uint256 count = contributions.length;
        for (uint256 i = 0; which % 8 != 7 && i < count; ++i) {
            Contribution clone = contributions[(which % count + i) % count];
            if (parts[clone].length >= several) return clone;
        }
        return contributions[which % count];
    }

    function isOpen(Contribution clone) private view returns (bool) {
        return parts[clone].length != 0;
    }

    /// @dev A node; of eight one that there may never have been, or is no longer.
    function anyNode(uint256 which) private view returns (uint64) {
        if (nodes.length == 0 || which % 8 == 7) return uint64(which / 8 % staking.nextId());
        return nodes[which % nodes.length];
    }

    /// @dev A node and who holds a share of it; of eight one that holds none.
    function holder(uint256 which, uint256 who)
        private
        view
        returns (uint64 id, address account, uint256 index)
    {
        id = anyNode(which);
        bool nobody = who % 8 == 7 || !node[id].present;
        index = nobody ? holdings[id].length : who % holdings[id].length;
        // Who held a share of a node that is gone tries too.
        if (!nobody) account = holdings[id][index].holder;
        else account = holdings[id].length == 0 || node[id].present ? STRANGER : holdings[id][0].holder;
    }
}
