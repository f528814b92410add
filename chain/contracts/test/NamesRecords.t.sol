// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "solady/tokens/ERC721.sol";
import {Records} from "../src/names/Records.sol";
import {Registry} from "../src/names/Registry.sol";
import {NamesSetup} from "./NamesSetup.sol";
import {Vm} from "./Vm.sol";

/// @dev Does what it was told as soon as it gets a name.
contract Eager {
    bytes private call;
    bool public worked;

    function prepare(bytes calldata call_) external {
        call = call_;
    }

    function onERC721Received(address, address, uint256, bytes calldata) external returns (bytes4) {
        (worked,) = msg.sender.call(call);
        return this.onERC721Received.selector;
    }
}

contract NamesRecordsTest is NamesSetup {
    address private constant STRANGER = address(0x5e);
    bytes32 private constant SHOP = keccak256("Argon2id of shop");

    function setUp() public override {
        super.setUp();
        take(ALICE, alice, 365 days);
    }

    function test_aRecordIsToldWithItsVersion() public {
        bytes memory value = hex"00ff";
        vm.recordLogs();
        vm.prank(alice);
        names.setRecord(ALICE, 6, value);
        Vm.Log memory log = only(vm.getRecordedLogs());
        vm.assertEq(log.topics[0], Records.RecordChanged.selector, "event");
        vm.assertEq(uint256(log.topics[2]), ALICE, "id");
        vm.assertEq(log.topics[3], 0, "the name's own");
        vm.assertEq(log.data, abi.encode(uint32(1), uint8(6), value), "version, kind, value");
    }

    function test_aSubnameIsBoundToItsName() public {
        vm.recordLogs();
        vm.prank(alice);
        names.setSubnameRecord(ALICE, SHOP, 1, "x");
        Vm.Log memory log = only(vm.getRecordedLogs());
        vm.assertEq(uint256(log.topics[2]), ALICE, "its name");
        vm.assertEq(log.topics[3], keccak256(bytes.concat(bytes32(ALICE), SHOP)), "its id");
        vm.expectRevert(Records.NoLabel.selector);
        vm.prank(alice);
        names.setSubnameRecord(ALICE, 0, 1, "x");
    }

    function test_onlyTheOwnerAndWhomItApprovedSpeakForAName() public {
        bytes[] memory all = new bytes[](5);
        all[0] = abi.encodeCall(names.setRecord, (ALICE, 1, "x"));
        all[1] = abi.encodeCall(names.setSubnameRecord, (ALICE, SHOP, 1, "x"));
        all[2] = abi.encodeCall(names.reveal, (ALICE, "alice"));
        all[3] = abi.encodeCall(names.setPrice, (ALICE, 1));
        all[4] = abi.encodeCall(names.accept, (ALICE, 0));
        bytes memory why = abi.encodeWithSelector(Registry.NotPermitted.selector, ALICE, STRANGER);
        for (uint256 i = 0; i < all.length; ++i) {
            vm.prank(STRANGER);
            (bool ok, bytes memory said) = address(names).call(all[i]);
            vm.assertTrue(!ok, "refused");
            vm.assertEq(said, why, "why");
        }
        vm.prank(alice);
        names.approve(STRANGER, ALICE);
        vm.prank(STRANGER);
        names.setRecord(ALICE, 1, "x");
        vm.prank(alice);
        names.approve(address(0), ALICE);
        vm.prank(alice);
        names.setApprovalForAll(STRANGER, true);
        vm.prank(STRANGER);
        names.setRecord(ALICE, 1, "x");
        // What the owner before approved counts no more.
        vm.prank(alice);
        names.transferFrom(alice, bob, ALICE);
        vm.expectRevert(why);
        vm.prank(STRANGER);
        names.setRecord(ALICE, 1, "x");
    }

    function test_kindsAndValuesHaveBounds() public {
        vm.expectRevert(abi.encodeWithSelector(Records.UnknownKind.selector, 0, 6));
        vm.prank(alice);
        names.setRecord(ALICE, 0, "x");
        vm.expectRevert(abi.encodeWithSelector(Records.UnknownKind.selector, 7, 6));
        vm.prank(alice);
        names.setRecord(ALICE, 7, "x");
        vm.expectRevert(abi.encodeWithSelector(Records.UnknownKind.selector, 255, 6));
        vm.prank(alice);
        names.setSubnameRecord(ALICE, SHOP, 255, "x");
        vm.expectRevert(abi.encodeWithSelector(Records.ValueTooLong.selector, 257, 256));
        vm.prank(alice);
        names.setRecord(ALICE, 1, new bytes(257));
        vm.prank(alice);
        names.setRecord(ALICE, 1, new bytes(256));
        vm.prank(alice);
        names.setRecord(ALICE, 1, "");
    }

    function test_subnamesAreCountedAndBounded() public {
        for (uint256 i = 1; i <= 32; ++i) {
            setSub(i, 1, "x");
        }
        vm.assertEq(subnamesOf(ALICE), 32, "as many as can");
        vm.expectRevert(abi.encodeWithSelector(Records.TooManySubnames.selector, ALICE, 32));
        setSub(33, 1, "x");
        setSub(1, 2, "x");
        setSub(1, 1, "");
        vm.expectRevert(abi.encodeWithSelector(Records.TooManySubnames.selector, ALICE, 32));
        setSub(33, 1, "x");
        setSub(1, 2, "");
        setSub(33, 1, "x");
        setSub(34, 1, "");
        vm.assertEq(subnamesOf(ALICE), 32, "one went, one came");
        // They went with the owner.
        vm.prank(alice);
        names.transferFrom(alice, bob, ALICE);
        vm.assertEq(subnamesOf(ALICE), 0, "none");
        vm.prank(bob);
        names.setSubnameRecord(ALICE, bytes32(uint256(2)), 1, "x");
        vm.assertEq(subnamesOf(ALICE), 1, "counted anew");
    }

    /// @dev Against a plain count. Each byte sets or takes away one of two kinds of one of eight sub-names.
    function testFuzz_subnamesAreThoseThatHaveRecords(bytes32 moves) public {
        bool[2][8] memory has;
        for (uint256 i = 0; i < 32; ++i) {
            uint8 move = uint8(moves[i]);
            bool present = move & 1 == 1;
            (uint256 which, uint256 kind) = (move >> 1 & 7, move >> 4 & 1);
            setSub(1 + which, uint8(3 + kind), present ? bytes("x") : bytes(""));
            has[which][kind] = present;
            uint256 count = 0;
            for (uint256 j = 0; j < 8; ++j) {
                if (has[j][0] || has[j][1]) ++count;
            }
            vm.assertEq(subnamesOf(ALICE), count, "those that have one");
        }
    }

    function test_aNewOwnerBeginsANewVersion() public {
        vm.prank(alice);
        names.transferFrom(alice, bob, ALICE);
        vm.assertEq(versionOf(ALICE), 2, "handed over");
        vm.recordLogs();
        vm.prank(bob);
        names.setRecord(ALICE, 1, "x");
        vm.assertEq(only(vm.getRecordedLogs()).data, abi.encode(uint32(2), uint8(1), bytes("x")), "told so");
        vm.prank(bob);
        names.transferFrom(bob, bob, ALICE);
        vm.assertEq(versionOf(ALICE), 3, "also when it is the same");
        vm.assertTrue(names.balanceOf(alice) == 0 && names.balanceOf(bob) == 1, "counted");
    }

    function test_nobodyElseHandsANameOver() public {
        vm.expectRevert(ERC721.NotOwnerNorApproved.selector);
        vm.prank(bob);
        names.transferFrom(alice, bob, ALICE);
        vm.expectRevert(ERC721.TransferFromIncorrectOwner.selector);
        vm.prank(bob);
        names.transferFrom(bob, bob, ALICE);
        vm.expectRevert(ERC721.TransferToZeroAddress.selector);
        vm.prank(alice);
        names.transferFrom(alice, address(0), ALICE);
        vm.expectRevert(abi.encodeWithSelector(Registry.NoSuchName.selector, ALICE + 1));
        vm.prank(alice);
        names.transferFrom(alice, bob, ALICE + 1);
    }

    /// @dev It would stay here for ever.
    function test_etherIsRefused() public {
        vm.deal(alice, 100);
        bytes[] memory all = new bytes[](5);
        all[0] = abi.encodeCall(names.transferFrom, (alice, bob, ALICE));
        all[1] = abi.encodeWithSignature("safeTransferFrom(address,address,uint256)", alice, bob, ALICE);
        all[2] =
            abi.encodeWithSignature("safeTransferFrom(address,address,uint256,bytes)", alice, bob, ALICE, "");
        all[3] = abi.encodeCall(names.approve, (bob, ALICE));
        all[4] = abi.encodeCall(names.multicall, (calls(all[3], all[0])));
        for (uint256 i = 0; i < all.length; ++i) {
            vm.prank(alice);
            (bool ok, bytes memory why) = address(names).call{value: i + 1}(all[i]);
            vm.assertTrue(!ok, "refused");
            if (i != 4) vm.assertEq(why, abi.encodeWithSelector(Registry.NoEther.selector, i + 1), "why");
        }
        vm.assertTrue(alice.balance == 100 && address(names).balance == 0, "hers");
        vm.assertTrue(names.ownerOf(ALICE) == alice && names.getApproved(ALICE) == address(0), "as before");
        for (uint256 i = 3; i < 5; ++i) {
            vm.prank(alice);
            (bool ok,) = address(names).call(all[i]);
            vm.assertTrue(ok, "without it");
        }
        vm.assertEq(names.ownerOf(ALICE), bob, "his");
    }

    /// @dev Whoever is told of a name as it comes finds everything as it will be.
    function test_aReceiverThatActsAtOnceActsAsTheOwner() public {
        Eager eager = new Eager();
        eager.prepare(abi.encodeCall(names.transferFrom, (address(eager), bob, ALICE)));
        vm.prank(alice);
        names.safeTransferFrom(alice, address(eager), ALICE);
        vm.assertTrue(eager.worked(), "it may");
        vm.assertEq(names.ownerOf(ALICE), bob, "handed on");
        vm.assertEq(versionOf(ALICE), 3, "twice");

        eager.prepare(abi.encodeCall(names.transferFrom, (bob, alice, ALICE)));
        vm.prank(bob);
        names.safeTransferFrom(bob, address(eager), ALICE, "");
        vm.assertTrue(!eager.worked(), "bob's it is no more");
        vm.assertEq(names.ownerOf(ALICE), address(eager), "kept");
        vm.assertTrue(names.balanceOf(alice) == 0 && names.balanceOf(bob) == 0, "counted");
    }

    function test_aReverseRecordHoldsBothWays() public {
        vm.expectRevert(abi.encodeWithSelector(Records.NotOwner.selector, ALICE, bob));
        vm.prank(bob);
        names.setReverse(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Registry.NoSuchName.selector, ALICE + 1));
        vm.prank(bob);
        names.setReverse(ALICE + 1);
        vm.prank(alice);
        names.setReverse(ALICE);
        vm.assertEq(names.reverseOf(alice), ALICE, "she owns what she says");
        vm.warp(expiryOf(ALICE));
        vm.assertEq(names.reverseOf(alice), 0, "not while it is expired");
        vm.prank(alice);
        names.renew(ALICE, 365 days, type(uint256).max);
        vm.prank(alice);
        names.transferFrom(alice, bob, ALICE);
        vm.assertEq(names.reverseOf(alice), 0, "she says what she does not own");
        vm.assertEq(names.reverseOf(bob), 0, "he owns what he does not say");
        vm.prank(bob);
        names.setReverse(ALICE);
        vm.prank(bob);
        names.setReverse(0);
        vm.assertEq(names.reverseOf(bob), 0, "none");
    }

    /// @dev Which nodes do not go by: they forget what was said of an earlier version.
    function test_aReverseRecordIsHereAgainWhenTheNameComesBack() public {
        vm.prank(alice);
        names.setReverse(ALICE);
        vm.prank(alice);
        names.transferFrom(alice, bob, ALICE);
        vm.assertEq(names.reverseOf(alice), 0, "gone");
        vm.prank(bob);
        names.transferFrom(bob, alice, ALICE);
        vm.assertEq(names.reverseOf(alice), ALICE, "what she said last");
    }

    /// @dev One who was approved goes by the names of others no more than a stranger.
    function test_onlyTheOwnerGoesByAName() public {
        vm.prank(alice);
        names.setApprovalForAll(bob, true);
        vm.expectRevert(abi.encodeWithSelector(Records.NotOwner.selector, ALICE, bob));
        vm.prank(bob);
        names.setReverse(ALICE);
    }

    function test_aNameIsRevealedAsItsOwnerSays() public {
        vm.recordLogs();
        vm.prank(alice);
        names.reveal(ALICE, "alice");
        Vm.Log memory log = only(vm.getRecordedLogs());
        vm.assertEq(log.topics[0], Records.NameRevealed.selector, "event");
        vm.assertEq(log.data, abi.encode(uint32(1), "alice"), "version and name");
        vm.expectRevert(abi.encodeWithSelector(Records.BadNameLength.selector, 0, 64));
        vm.prank(alice);
        names.reveal(ALICE, "");
        vm.expectRevert(abi.encodeWithSelector(Records.BadNameLength.selector, 65, 64));
        vm.prank(alice);
        names.reveal(ALICE, string(new bytes(65)));
        vm.prank(alice);
        names.reveal(ALICE, string(new bytes(64)));
    }

    function test_registrationAndRecordsGoInOneTransaction() public {
        commit(ALICE + 1, bob);
        bytes[] memory both = calls(
            abi.encodeCall(names.register, (ALICE + 1, 365 days, SECRET, YEARLY_FEE)),
            abi.encodeCall(names.setRecord, (ALICE + 1, 1, "x"))
        );
        uint64 number = names.eventNumber();
        vm.prank(bob);
        names.multicall(both);
        vm.assertEq(names.eventNumber(), number + 2, "both");
        both[1] = abi.encodeCall(names.setRecord, (ALICE, 1, "x"));
        both[0] = abi.encodeCall(names.setRecord, (ALICE + 1, 1, "x"));
        vm.expectRevert(abi.encodeWithSelector(Registry.NotPermitted.selector, ALICE, bob));
        vm.prank(bob);
        names.multicall(both);
        vm.assertEq(names.eventNumber(), number + 2, "or none");
    }

    function setSub(uint256 label, uint8 kind, bytes memory value) private {
        vm.prank(alice);
        names.setSubnameRecord(ALICE, bytes32(label), kind, value);
    }

    function only(Vm.Log[] memory logs) private pure returns (Vm.Log memory) {
        vm.assertEq(logs.length, 1, "one event");
        return logs[0];
    }
}
