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

    /// @dev Out of 2^15 accounts. One that never had any token costs a little more than the budget.
    function test_claim() public {
        registerMany(4);
        passBorder(0);
        address account = vm.addr(1);
        (bytes32 root, bytes32[] memory proof) = deepTree(account, 5 * SESH);
        token.transfer(address(0xbeef), 1);
        submitAll(4, root, 0);
        vm.prank(account);
        checkpoints.claim(5 * SESH, proof, address(0xbeef));
        within("claim, an account's first", CLAIM);

        (root, proof) = deepTree(account, 8 * SESH);
        passBorder(1);
        submitAll(4, root, 0);
        vm.prank(account);
        checkpoints.claim(8 * SESH, proof, address(0xbeef));
        within("claim, an account's second", CLAIM);

        account = vm.addr(2);
        (root, proof) = deepTree(account, 5 * SESH);
        passBorder(2);
        submitAll(4, root, 0);
        vm.prank(account);
        checkpoints.claim(5 * SESH, proof, address(0xcafe));
        vm.snapshotGasLastCall("Gas", "claim, an account's first, to one that has no token");
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

    /// @dev A tree of which one path is known, 15 deep.
    function deepTree(address account, uint256 total)
        private
        pure
        returns (bytes32 root, bytes32[] memory proof)
    {
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
