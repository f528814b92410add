// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Checkpoint, Signers} from "../src/checkpoints/Checkpoints.sol";
import {Contribution, Reservation} from "../src/staking/Contribution.sol";
import {StakeMath} from "../src/staking/StakeMath.sol";
import {Registration} from "../src/staking/StakingTypes.sol";
import {Merkle} from "./Merkle.sol";
import {NamesSetup} from "./NamesSetup.sol";
import {Vm} from "./Vm.sol";

/// @title What the contracts and the Rust code must agree on
/// @dev The Rust code reads the same files. `formulas.json` comes from a plain reference, `signatures.json` from
/// the contracts, and so does `names.json`.
contract VectorsTest is NamesSetup {
    string private constant SIGNATURES = "vectors/signatures.json";
    string private constant NAMES = "vectors/names.json";
    string private json;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("vectors/formulas.json");
    }

    function test_payouts() public view {
        uint256[] memory balances = column(".payout.balance");
        uint256[] memory durations = column(".payout.seconds");
        uint256[] memory payouts = column(".payout.payout");
        for (uint256 i = 0; i < payouts.length; ++i) {
            vm.assertEq(pool.payout(balances[i], durations[i]), payouts[i], "payout");
        }
        vm.assertTrue(payouts.length >= 40, "there are some");
    }

    function test_minima() public view {
        uint256[] memory open = column(".minimum.open");
        uint256[] memory slots = column(".minimum.slots");
        uint256[] memory minima = column(".minimum.minimum");
        for (uint256 i = 0; i < minima.length; ++i) {
            vm.assertEq(StakeMath.minimum(open[i], slots[i]), minima[i], "minimum");
        }
        uint256[] memory requirements = column(".operatorMinimum.requirement");
        minima = column(".operatorMinimum.minimum");
        for (uint256 i = 0; i < minima.length; ++i) {
            vm.assertEq(StakeMath.operatorMinimum(requirements[i]), minima[i], "operator's minimum");
        }
    }

    function test_penalties() public view {
        uint256[] memory stakes = column(".penalty.operatorStake");
        uint256[] memory bps = column(".penalty.bps");
        uint256[] memory most = column(".penalty.mostBps");
        uint256[] memory penalties = column(".penalty.penalty");
        for (uint256 i = 0; i < penalties.length; ++i) {
            vm.assertEq(StakeMath.penalty(stakes[i], bps[i], most[i]), penalties[i], "penalty");
        }
    }

    function test_trees() public view {
        for (uint256 i = 0; i < 6; ++i) {
            string memory tree = string.concat(".trees[", vm.toString(i), "]");
            uint256[] memory totals = column(string.concat(tree, ".totals"));
            uint256[] memory states = column(string.concat(tree, ".states"));
            uint256[] memory penalties = column(string.concat(tree, ".penalties"));
            bytes32[] memory rewards = new bytes32[](totals.length);
            bytes32[] memory nodes = new bytes32[](totals.length);
            for (uint256 j = 0; j < totals.length; ++j) {
                string memory index = string.concat("[", vm.toString(j), "]");
                address account = vm.parseJsonAddress(json, string.concat(tree, ".accounts", index));
                rewards[j] = Merkle.reward(account, totals[j]);
                nodes[j] = Merkle.state(uint64(j + 1), uint8(states[j]), uint16(penalties[j]));
            }
            provesAll(rewards, tree, ".rewards");
            provesAll(nodes, tree, ".states");
        }
    }

    function test_nameFees() public {
        uint256[] memory yearly = column(".nameFees.yearlyFee");
        uint256[] memory periods = column(".nameFees.period");
        uint256[] memory fees = column(".nameFees.fee");
        for (uint256 i = 0; i < fees.length; ++i) {
            vm.prank(address(timelock));
            names.setParameter("yearlyFee", yearly[i]);
            vm.assertEq(names.feeOf(periods[i]), fees[i], "fee");
        }
        vm.assertTrue(fees.length >= 20, "there are some");
    }

    function test_raises() public {
        take(ALICE, alice, 365 days);
        token.transfer(bob, 150_000_000 * SESH);
        uint256[] memory offers = column(".raises.offer");
        uint256[] memory minima = column(".raises.minimum");
        uint256[] memory least = column(".raises.least");
        for (uint256 i = 0; i < offers.length; ++i) {
            setMinimumOffer(SESH);
            // A version of its own for each.
            vm.prank(alice);
            names.transferFrom(alice, alice, ALICE);
            offerFor(ALICE, bob, offers[i], 7);
            setMinimumOffer(minima[i]);
            vm.assertEq(names.leastOffer(ALICE), least[i], "least");
        }
    }

    function test_nameIds() public view {
        for (uint256 i = 0; i < 8; ++i) {
            string memory row = string.concat(".nameIds[", vm.toString(i), "]");
            uint256 id = uint256(vm.parseJsonBytes32(json, string.concat(row, ".id")));
            bytes32 label = vm.parseJsonBytes32(json, string.concat(row, ".label"));
            bytes32 secret = vm.parseJsonBytes32(json, string.concat(row, ".secret"));
            address owner = vm.parseJsonAddress(json, string.concat(row, ".owner"));
            bytes32 subId = vm.parseJsonBytes32(json, string.concat(row, ".subId"));
            bytes32 commitment = vm.parseJsonBytes32(json, string.concat(row, ".commitment"));
            vm.assertEq(names.subId(id, label), subId, "sub-name");
            vm.assertEq(names.commitment(id, owner, secret), commitment, "commitment");
        }
    }

    /// @dev All kinds of events that names have, as a node reads them, and the rolling hash before and after.
    function test_names() public {
        bytes32 before = names.rollingHash();
        vm.assertEq(names.eventNumber(), 2, "what the constructor told");
        vm.recordLogs();
        liveWithNames();
        Vm.Log[] memory logs = vm.getRecordedLogs();
        string memory told = "";
        uint256 number = 2;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter != address(names) || logs[i].topics.length < 2) continue;
            if (uint256(logs[i].topics[1]) != number + 1) continue;
            ++number;
            told = string.concat(told, bytes(told).length == 0 ? "" : ",\n", logged(logs[i]));
        }
        string memory made = string.concat(
            '{"names":',
            quoted(vm.toString(address(names))),
            ',"numberBefore":2,"hashBefore":',
            quoted(vm.toString(before)),
            ',"logs":[\n',
            told,
            '\n],"numberAfter":',
            vm.toString(names.eventNumber()),
            ',"hashAfter":',
            quoted(vm.toString(names.rollingHash())),
            "}\n"
        );
        if (vm.envOr("SESSION_WRITE_VECTORS", false)) vm.writeFile(NAMES, made);
        vm.assertEq(bytes(vm.readFile(NAMES)), bytes(made), "run ./build");
    }

    function test_signatures() public {
        string memory made = string.concat(
            '{"chainId":',
            vm.toString(block.chainid),
            ',"staking":',
            quoted(vm.toString(address(staking))),
            ',"checkpoints":',
            quoted(vm.toString(address(checkpoints))),
            ',\n"possessions":[\n',
            possession(1),
            ",\n",
            possession(2 ** 200 + 5),
            '],\n"factory":',
            quoted(vm.toString(address(factory))),
            ',"contributions":[\n',
            contribution(7, 0),
            ",\n",
            contribution(7, 1),
            ",\n",
            contribution(2 ** 200 + 5, 0),
            '],\n"log":',
            loggedRegistration(),
            ',\n"checkpoint":',
            submission(),
            ',\n"laterPossession":',
            laterPossession(),
            "}\n"
        );
        if (vm.envOr("SESSION_WRITE_VECTORS", false)) vm.writeFile(SIGNATURES, made);
        vm.assertEq(bytes(vm.readFile(SIGNATURES)), bytes(made), "run ./build");
    }

    function provesAll(bytes32[] memory all, string memory tree, string memory name) private view {
        bytes32 root = vm.parseJsonBytes32(json, string.concat(tree, name, "Root"));
        vm.assertEq(Merkle.root(all), root, "root");
        for (uint256 i = 0; i < all.length; ++i) {
            string memory path = string.concat(tree, name, "Proofs[", vm.toString(i), "]");
            bytes32[] memory proof = all.length == 1 ? new bytes32[](0) : vm.parseJsonBytes32Array(json, path);
            vm.assertTrue(MerkleProof.verify(proof, root, all[i]), "proof");
        }
    }

    function liveWithNames() private {
        take(ALICE, alice, 365 days);
        names.releaseFees();
        vm.prank(alice);
        names.setRecord(ALICE, 1, hex"c0ffee");
        vm.prank(alice);
        names.setSubnameRecord(ALICE, keccak256("shop"), 5, new bytes(40));
        vm.prank(alice);
        names.setReverse(ALICE);
        vm.prank(alice);
        names.reveal(ALICE, "alice");
        // Any bytes go, and no text needs to come of them.
        vm.prank(alice);
        names.reveal(ALICE, string(bytes(hex"ff")));
        vm.prank(bob);
        names.renew(ALICE, 28 days, type(uint256).max);
        offerFor(ALICE, bob, 20 * SESH, 1);
        vm.prank(alice);
        names.setPrice(ALICE, uint96(500 * SESH));
        vm.prank(bob);
        names.buy(ALICE, 1, 500 * SESH);
        vm.prank(bob);
        names.withdrawOffer(ALICE);
        vm.prank(bob);
        names.setRecord(ALICE, 1, "");
        vm.prank(bob);
        names.transferFrom(bob, alice, ALICE);
        setMinimumOffer(5 * SESH);
        vm.prank(alice);
        names.setReverse(0);
    }

    function setMinimumOffer(uint256 value) private {
        vm.prank(address(timelock));
        names.setParameter("minimumOffer", value);
    }

    /// @dev Of the key of node 3, which has left.
    function laterPossession() private returns (string memory) {
        vm.prank(vm.addr(3));
        staking.requestExit(3);
        vm.warp(block.timestamp + 30 days);
        staking.escape(3);
        return possession(3);
    }

    function possession(uint256 secret) private view returns (string memory) {
        address operator = vm.addr(secret);
        Registration memory declared = registration(secret, operator);
        (, uint64 registrations) = staking.keys(keccak256(declared.blsKey));
        return string.concat(
            '{"secret":',
            quoted(vm.toString(bytes32(secret))),
            ',"operator":',
            quoted(vm.toString(operator)),
            ',"registrations":',
            vm.toString(registrations),
            ',"key":',
            quoted(vm.toString(declared.blsKey)),
            ',"message":',
            quoted(vm.toString(staking.possessionMessage(operator, declared.blsKey))),
            ',"proof":',
            quoted(vm.toString(declared.proofOfPossession)),
            "}"
        );
    }

    /// @dev Where the factory opens a contribution, which is how many its operator opened before, and the whole log.
    function contribution(uint256 secret, uint256 number) private returns (string memory) {
        address operator = vm.addr(secret);
        Registration memory declared = registration(secret, operator);
        token.transfer(operator, REQUIREMENT);
        vm.prank(operator);
        token.approve(address(factory), REQUIREMENT);
        vm.recordLogs();
        vm.prank(operator);
        Contribution made = factory.create(declared, REQUIREMENT, operator, new Reservation[](0));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs[0].emitter, address(factory), "the factory tells first");
        vm.assertEq(factory.opened(operator), number + 1, "how many it opened");
        string memory told = string.concat(
            '{"operator":',
            quoted(vm.toString(operator)),
            ',"number":',
            vm.toString(number),
            ',"at":',
            quoted(vm.toString(address(made))),
            ',"registration":',
            quoted(vm.toString(abi.encode(made.registration())))
        );
        return string.concat(told, ",", fieldsOf(logs[0]), "}");
    }

    /// @dev The log of a registration, and the rolling hash before and after it.
    function loggedRegistration() private returns (string memory) {
        bytes32 before = staking.rollingHash();
        vm.recordLogs();
        registerMany(4);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        Vm.Log memory log;
        for (uint256 i = 0; i < logs.length && log.emitter == address(0); ++i) {
            if (logs[i].emitter == address(staking)) log = logs[i];
        }
        bytes32 entry = keccak256(abi.encodePacked(log.topics, log.data));
        return string.concat(
            '{"hashBefore":',
            quoted(vm.toString(before)),
            ",",
            fieldsOf(log),
            ',"hashAfter":',
            quoted(vm.toString(keccak256(abi.encodePacked(before, entry)))),
            "}"
        );
    }

    function logged(Vm.Log memory log) private pure returns (string memory) {
        return string.concat("{", fieldsOf(log), "}");
    }

    function fieldsOf(Vm.Log memory log) private pure returns (string memory) {
        string memory topics = quoted(vm.toString(log.topics[0]));
        for (uint256 i = 1; i < log.topics.length; ++i) {
            topics = string.concat(topics, ",", quoted(vm.toString(log.topics[i])));
        }
        return string.concat('"topics":[', topics, '],"data":', quoted(vm.toString(log.data)));
    }

    /// @dev The checkpoint of epoch 0 of four nodes with the secrets 1 to 4, of which the node 2 does not sign.
    function submission() private returns (string memory) {
        passBorder(0);
        Checkpoint memory content = checkpoint(0, keccak256("rewards"), keccak256("states"));
        Signers memory signers = signed(content, 4, ids(2), 1 + 3 + 4);
        bytes32 digest = checkpoints.digest(content);
        checkpoints.submit(content, signers);
        string memory fields = string.concat(
            '{"epoch":0,"borderBlockHash":',
            quoted(vm.toString(content.borderBlockHash)),
            ',"previousDigest":',
            quoted(vm.toString(content.previousDigest)),
            ',"rewardsRoot":',
            quoted(vm.toString(content.rewardsRoot)),
            ',"statesRoot":',
            quoted(vm.toString(content.statesRoot)),
            ',"swarmsRoot":',
            quoted(vm.toString(content.swarmsRoot)),
            ',"directoryRoot":',
            quoted(vm.toString(content.directoryRoot)),
            ',"namesRoot":',
            quoted(vm.toString(content.namesRoot))
        );
        string memory events = string.concat(
            borderEvents("staking", staking.eventsAt),
            borderEvents("checkpoints", checkpoints.eventsAt),
            borderEvents("pool", pool.eventsAt),
            borderEvents("names", names.eventsAt)
        );
        return string.concat(
            fields,
            events,
            ',"digest":',
            quoted(vm.toString(digest)),
            ',"nodes":4,"aggregateKey":',
            quoted(vm.toString(signers.aggregateKey)),
            ',"absent":',
            quoted(vm.toString(signers.absent)),
            ',"signature":',
            quoted(vm.toString(signers.signature)),
            "}"
        );
    }

    function borderEvents(
        string memory name,
        function(uint64) external view returns (uint64, bytes32) eventsAt
    ) private view returns (string memory) {
        (uint64 number, bytes32 hash) = eventsAt(0);
        return string.concat(
            ',"', name, 'Number":', vm.toString(number), ',"', name, 'Hash":', quoted(vm.toString(hash))
        );
    }

    function column(string memory path) private view returns (uint256[] memory) {
        return vm.parseJsonUintArray(json, path);
    }

    function quoted(string memory text) private pure returns (string memory) {
        return string.concat('"', text, '"');
    }
}
