// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, Signers} from "../src/checkpoints/Checkpoints.sol";
import {Permit, Registration} from "../src/staking/StakingTypes.sol";
import {Merkle} from "./Merkle.sol";
import {Setup} from "./Setup.sol";

/// @title What transactions cost, in the worst case that is named
/// @dev Runs with `--isolate`: each call is a transaction of its own, and the figures hold its intrinsic gas.
contract GasTest is Setup {
    uint256 private constant REGISTRATION = 550_000;
    uint256 private constant CLAIM = 100_000;
    uint256 private constant CHECKPOINT = 950_000;
    /// @dev Of the deepest of 10,000 accounts: 2^13 < 10,000 <= 2^14.
    uint256 private constant DEPTH = 14;

    /// @dev The first of a new epoch, which keeps the state at the border in slots that were never used.
    function test_registration() public {
        registerMany(2);
        passBorder(0);
        address operator = operatorOf(3);
        Registration memory declared = registration(3, operator);
        vm.prank(operator);
        staking.register(declared, operator);
        within("registration by approve, first of an epoch", REGISTRATION);

        address other = operatorOf(4);
        vm.prank(other);
        token.approve(address(staking), 0);
        declared = registration(4, other);
        passBorder(1);
        Permit memory allowed = permit(4, address(staking), REQUIREMENT);
        vm.prank(other);
        staking.registerWithPermit(declared, other, allowed);
        within("registration by permit, first of an epoch", REGISTRATION);
    }

    /// @dev Every claim is proved as deep as one of 10,000 accounts can lie. What others did before it, a claim
    /// may find at any time: here nothing since a border, and a release of the pool as the first since a border.
    function test_claim() public {
        registerMany(4);
        agree(1);
        claims("claim, an account's first, to an address without tokens", 1, person(11));
        agree(2);
        claims("claim, an account's first, to an address with tokens", 2, person(11));
        agree(1);
        claims("claim, an account's later one, to an address with tokens", 1, person(11));
        agree(1);
        claims("claim, an account's later one, to an address without tokens", 1, person(12));

        agree(3);
        passBorder(checkpoints.currentEpoch());
        claims("claim, an account's first, to an address without tokens, first of an epoch", 3, person(13));
        agree(4);
        passBorder(checkpoints.currentEpoch());
        pool.release();
        claims("claim, an account's first, to an address without tokens, after a release", 4, person(14));
    }

    /// @dev A checkpoint of the epoch before, in which one of 10,000 accounts has more than before.
    function agree(uint256 who) private {
        passBorder(checkpoints.currentEpoch());
        (bytes32 root,) = deepTree(person(who), due(person(who)));
        submitAll(4, root, 0);
    }

    function claims(string memory name, uint256 who, address to) private {
        uint256 total = due(person(who));
        (, bytes32[] memory proof) = deepTree(person(who), total);
        vm.prank(person(who));
        checkpoints.claim(total, proof, to);
        within(name, CLAIM);
    }

    /// @dev More than the account claimed, in digits that a real total has.
    function due(address account) private view returns (uint256) {
        return checkpoints.claimed(account) + 123_456_789_012;
    }

    /// @dev An address that looks like one: each byte that is not zero costs.
    function person(uint256 who) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("person", who)))));
    }

    /// @dev 2,000 nodes of which 100 did not sign, with a registration after the border.
    function test_checkpoint() public {
        for (uint256 secret = 1; secret <= 2_000; ++secret) {
            this.registerOne(secret);
        }
        passBorder(0);
        submitAbsent("checkpoint, the first of all, 100 of 2000 absent", 0, 2_000, 2_001);
        passBorder(1);
        uint256 used = submitAbsent("checkpoint, 100 of 2000 absent", 1, 2_001, 2_002);
        vm.assertLe(used, CHECKPOINT, "checkpoint");
    }

    function submitAbsent(string memory name, uint64 epoch, uint64 nodes, uint256 newcomer)
        private
        returns (uint256)
    {
        bytes memory aggregate = staking.aggregateKey();
        this.registerOne(newcomer);
        bytes memory absent = "";
        uint256 secrets = uint256(nodes) * (nodes + 1) / 2;
        for (uint32 id = 7; id < 2_000; id += 20) {
            absent = bytes.concat(absent, ids(id));
            secrets -= id;
        }
        Checkpoint memory content = checkpoint(epoch, keccak256(abi.encode(name)), keccak256("states"));
        Signers memory signers = signed(content, nodes, absent, secrets);
        signers.aggregateKey = aggregate;
        checkpoints.submit(content, signers);
        return vm.snapshotGasLastCall("Gas", name);
    }

    function test_otherThings() public {
        registerMany(5);
        passBorder(0);
        vm.prank(vm.addr(1));
        staking.requestExit(1);
        vm.snapshotGasLastCall("Gas", "exit request, first of an epoch");
        bytes32[] memory states = leaves(Merkle.state(1, 4, 0), Merkle.state(2, 1, 0));
        bytes memory aggregate = staking.aggregateKey();
        Checkpoint memory content = checkpoint(0, 0, Merkle.root(states));
        Signers memory signers = signed(content, 5, "", 15);
        signers.aggregateKey = aggregate;
        checkpoints.submit(content, signers);
        vm.snapshotGasLastCall("Gas", "checkpoint, the first, 5 nodes");
        staking.release(1, 4, 0, Merkle.proof(states, states[0]));
        vm.snapshotGasLastCall("Gas", "release of one share");
        pool.release();
        vm.snapshotGasLastCall("Gas", "release of rewards");
    }

    /// @dev A call of its own, so that memory is given back.
    function registerOne(uint256 secret) external {
        register(secret);
    }

    function within(string memory name, uint256 budget) private {
        vm.assertLe(vm.snapshotGasLastCall("Gas", name), budget, name);
    }

    /// @dev A tree of which one path is known, as deep as the deepest of a tree of 10,000 leaves.
    function deepTree(address account, uint256 total)
        private
        pure
        returns (bytes32 root, bytes32[] memory proof)
    {
        proof = new bytes32[](DEPTH);
        root = Merkle.reward(account, total);
        for (uint256 i = 0; i < DEPTH; ++i) {
            proof[i] = keccak256(abi.encode("sibling", i, total));
            root = root < proof[i]
                ? keccak256(abi.encode(root, proof[i]))
                : keccak256(abi.encode(proof[i], root));
        }
    }
}
