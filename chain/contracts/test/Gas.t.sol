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

    /// @dev By an account that never claimed, to one that never had any token, out of 2^15 accounts.
    function test_claim() public {
        registerMany(4);
        passBorder(0);
        address account = vm.addr(1);
        (bytes32 root, bytes32[] memory proof) = deepTree(account, 5 * SESH);
        submitAll(4, root, 0);
        vm.prank(account);
        checkpoints.claim(5 * SESH, proof, address(0xbeef));
        within("claim, the first, to a new account", CLAIM);

        (root, proof) = deepTree(account, 8 * SESH);
        passBorder(1);
        submitAll(4, root, 0);
        vm.prank(account);
        checkpoints.claim(8 * SESH, proof, address(0xbeef));
        within("claim, a later one", CLAIM);
    }

    /// @dev 2,000 nodes of which 100 did not sign, with a registration after the border.
    function test_checkpoint() public {
        for (uint256 secret = 1; secret <= 2_000; ++secret) {
            this.registerOne(secret);
        }
        passBorder(0);
        bytes memory aggregate = staking.aggregateKey();
        this.registerOne(2_001);
        uint64[] memory absent = new uint64[](100);
        uint256 secrets = 2_000 * 2_001 / 2;
        for (uint64 i = 0; i < 100; ++i) {
            absent[i] = 20 * i + 7;
            secrets -= absent[i];
        }
        Checkpoint memory content = checkpoint(0, keccak256("rewards"), keccak256("states"));
        Signers memory signers = signed(content, 2_000, absent, secrets);
        signers.aggregateKey = aggregate;
        checkpoints.submit(content, signers);
        within("checkpoint, the first, 100 of 2000 absent", CHECKPOINT);
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
        Signers memory signers = signed(content, 5, new uint64[](0), 15);
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

    /// @dev A tree of which one path is known, 15 deep.
    function deepTree(address account, uint256 total) private pure returns (bytes32 root, bytes32[] memory proof) {
        proof = new bytes32[](15);
        root = Merkle.reward(account, total);
        for (uint256 i = 0; i < 15; ++i) {
            proof[i] = keccak256(abi.encode("sibling", i, total));
            root = root < proof[i]
                ? keccak256(abi.encode(root, proof[i]))
                : keccak256(abi.encode(proof[i], root));
        }
    }
}
