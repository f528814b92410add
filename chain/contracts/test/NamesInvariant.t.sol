// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Names} from "../src/names/Names.sol";
import {SessionToken} from "../src/token/SessionToken.sol";
import {NamesIndex} from "./NamesIndex.sol";
import {NamesWorld} from "./NamesWorld.sol";
import {Vm} from "./Vm.sol";

/// @title What always holds of names
contract NamesInvariantTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    NamesWorld private world;
    SessionToken private token;
    Names private names;

    function setUp() public {
        world = new NamesWorld();
        world.setUp();
        (address token_,,,) = world.everything();
        (token, names) = (SessionToken(token_), world.theNames());
    }

    function targetSelectors() public view returns (FuzzSelector[] memory all) {
        all = new FuzzSelector[](1);
        all[0] = FuzzSelector(address(world), world.moves());
    }

    function targetContracts() public view returns (address[] memory all) {
        all = new address[](1);
        all[0] = address(world);
    }

    /// @dev One campaign for all, so that each has all of its moves.
    function invariant_everythingAddsUp() public view {
        everybodyHasWhatIsTheirs();
        namesAreWhatTheModelHas();
        reverseRecordsHoldBothWays();
    }

    /// @dev As `InvariantTest` does it: each move succeeds and is refused often enough. A node that reads nothing but
    /// the events knows the same.
    function test_everyMoveIsMadeAndTold() public {
        NamesIndex index = new NamesIndex();
        index.begin(names.eventNumber(), names.rollingHash());
        bytes4[] memory moves = world.moves();
        for (uint256 i = 0; i < 3_000; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(i)));
            bytes memory call = abi.encodePacked(
                moves[dice % moves.length], keccak256(abi.encode(dice)), dice >> 8, dice >> 16
            );
            vm.recordLogs();
            (bool ok,) = address(world).call(call);
            vm.assertTrue(ok, "a move");
            // Forge records what was reverted too.
            if (names.eventNumber() != index.number()) reads(index, vm.getRecordedLogs());
            if (i % 20 == 0) this.invariant_everythingAddsUp();
            if (i % 20 == 0) knows(index);
        }
        string[14] memory moveNames = [
            "register",
            "renew",
            "hand",
            "approve",
            "setPrice",
            "buy",
            "buy by a transfer",
            "offer",
            "accept",
            "withdraw",
            "record",
            "reveal",
            "setReverse",
            "setParameter"
        ];
        for (uint256 i = 0; i < moveNames.length; ++i) {
            vm.assertLe(10, world.done(moveNames[i]), string.concat(moveNames[i], " is done"));
            vm.assertLe(5, world.refused(moveNames[i]), string.concat(moveNames[i], " is refused"));
        }
        vm.assertLe(10, world.done("payOut"), "fees are paid out");
        vm.assertLe(5, world.done("register again"), "names come free");
        vm.assertLe(5, world.done("renew an expired name"), "names are renewed late");
        vm.assertLe(10, world.done("offer over another"), "offers are outbid");
        vm.assertLe(10, world.done("offer over one's own"), "offers are raised");
    }

    /// @dev Nobody has another's, and nothing was paid twice; what is here is fees and offers.
    function everybodyHasWhatIsTheirs() private view {
        uint256 total = 0;
        for (uint256 i = 0; i < world.accountsLength(); ++i) {
            address account = world.accounts(i);
            string memory whose = string.concat("of ", vm.toString(account));
            vm.assertEq(token.balanceOf(account), world.expected(account), whose);
            total += token.balanceOf(account);
        }
        vm.assertEq(total, token.SUPPLY(), "money out and money held is money in");
        uint256 here = names.fees();
        for (uint256 i = 0; i < world.IDS(); ++i) {
            (, uint96 amount,,) = names.offerOf(world.idOf(i));
            here += amount;
        }
        vm.assertEq(token.balanceOf(address(names)), here, "held");
        vm.assertEq(names.fees(), world.fees(), "fees");
    }

    function namesAreWhatTheModelHas() private view {
        for (uint256 i = 0; i < world.IDS(); ++i) {
            nameIs(world.idOf(i));
            offerIs(world.idOf(i));
        }
    }

    function nameIs(uint256 id) private view {
        (address wanted, uint256 wantedExpiry, uint32 wantedVersion, uint256 wantedPrice,) = world.called(id);
        (address owner, uint40 expiry, uint32 version, uint24 subnames) = names.nameOf(id);
        vm.assertEq(version, wantedVersion, "version");
        vm.assertEq(names.priceOf(id), world.isLive(id) ? wantedPrice : 0, "price");
        if (block.timestamp >= wantedExpiry + 30 days) (wanted, wantedExpiry) = (address(0), 0);
        else vm.assertEq(subnames, world.subnames(id, version), "sub-names");
        vm.assertEq(owner, wanted, "owner");
        vm.assertEq(expiry, wantedExpiry, "expiry");
    }

    function offerIs(uint256 id) private view {
        (address buyer, uint96 amount, uint40 until, uint32 version) = names.offerOf(id);
        (address wantedBuyer, uint256 wantedAmount, uint256 wantedUntil, uint32 wantedVersion) =
            world.bids(id);
        vm.assertEq(buyer, wantedBuyer, "buyer");
        vm.assertEq(amount, wantedAmount, "amount");
        vm.assertTrue(until == wantedUntil && version == wantedVersion, "how long, and for which version");
    }

    function reverseRecordsHoldBothWays() private view {
        for (uint256 i = 0; i < world.accountsLength(); ++i) {
            address account = world.accounts(i);
            uint256 id = names.reverseOf(account);
            uint256 said = world.says(account);
            (address owner,,,,) = world.called(said);
            vm.assertEq(id, world.isLive(said) && owner == account ? said : 0, "reverse record");
        }
    }

    function reads(NamesIndex index, Vm.Log[] memory logs) private {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter == address(names)) index.read(logs[i]);
        }
    }

    /// @dev The index has what the contract says, and the records that were set.
    function knows(NamesIndex index) private view {
        vm.assertEq(index.number(), names.eventNumber(), "all events");
        vm.assertEq(index.hash(), names.rollingHash(), "their hash");
        for (uint256 i = 0; i < world.IDS(); ++i) {
            uint256 id = world.idOf(i);
            knowsName(index, id);
            (,, uint32 version,,) = world.called(id);
            for (uint256 label = 0; label < 4; ++label) {
                bytes32 sub = label == 0 ? bytes32(0) : names.subId(id, bytes32(label));
                for (uint8 kind = 1; kind <= 6; ++kind) {
                    bytes memory value = world.values(id, version, label, kind);
                    vm.assertEq(index.record(id, sub, kind), value, "a record of this version, and no other");
                }
            }
        }
        for (uint256 i = 0; i < world.accountsLength(); ++i) {
            address account = world.accounts(i);
            (,, uint32 version,,) = world.called(world.says(account));
            uint256 goesBy = world.saidOf(account) == version ? names.reverseOf(account) : 0;
            vm.assertEq(index.reverseOf(account), goesBy, "reverse record, of this version");
        }
    }

    function knowsName(NamesIndex index, uint256 id) private view {
        NamesIndex.Entry memory known = index.entry(id);
        (address owner, uint40 expiry, uint32 version,) = names.nameOf(id);
        vm.assertEq(known.version, version, "version");
        if (owner == address(0)) return;
        vm.assertEq(known.owner, owner, "owner");
        vm.assertEq(known.expiry, expiry, "expiry");
        vm.assertEq(bytes(known.revealed), bytes(world.revealed(id)), "what it is called");
        if (world.isLive(id)) vm.assertEq(known.price, names.priceOf(id), "price");
        bool counts = known.offered != 0 && block.timestamp <= known.until;
        vm.assertTrue(counts == world.counts(id), "whether there is an offer");
        if (!counts) return;
        (address buyer, uint96 amount, uint40 until,) = names.offerOf(id);
        vm.assertEq(known.buyer, buyer, "buyer");
        vm.assertTrue(known.offered == amount && known.until == until, "offer");
    }
}
