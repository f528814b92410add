// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {NamesSetup} from "./NamesSetup.sol";

/// @title What transactions with names cost, in the worst case that is named
/// @dev Runs with `--isolate`, as `GasTest`. Ids, secrets and values are without zero bytes to spare, allowances are
/// used up, and who gets a name or money had none before.
contract NamesGasTest is NamesSetup {
    uint256 private constant REGISTRATION = 160_000;
    uint256 private constant RECORD = 90_000;
    uint256 private constant PURCHASE = 120_000;
    /// @dev A nonce, an account id or an address, and a tag.
    uint256 private constant ACCOUNT = 24 + 33 + 16;

    address private carol;

    function setUp() public override {
        super.setUp();
        // One name is there already, and so are fees; the borders' slots have been used.
        take(uint256(keccak256("another")), alice, 365 days);
        for (uint64 i = 0; i < 9; ++i) {
            passBorder(names.currentEpoch());
            vm.prank(alice);
            names.setReverse(i % 2 == 0 ? uint256(keccak256("another")) : 0);
        }
        carol = vm.addr(3);
        token.transfer(carol, 1_000 * SESH + 1);
    }

    function test_registration() public {
        bytes32 commitment = names.commitment(ALICE, carol, SECRET);
        vm.prank(carol);
        names.commit(commitment);
        vm.snapshotGasLastCall("Gas", "name: commitment");
        vm.warp(block.timestamp + 1 minutes);
        approves(carol, 20 * SESH);
        vm.prank(carol);
        names.register(ALICE, 2 * 365 days, SECRET, 20 * SESH);
        within("name: registration by approval", REGISTRATION);
    }

    /// @dev What whoever waits for others to want names that they guessed pays again and again.
    function test_aListOfCommitments() public {
        bytes[] memory all = new bytes[](100);
        for (uint256 i = 0; i < all.length; ++i) {
            all[i] = abi.encodeCall(names.commit, (names.commitment(ALICE + i, carol, SECRET)));
        }
        vm.prank(carol);
        names.multicall(all);
        vm.warp(block.timestamp + 1 hours + 1);
        vm.prank(carol);
        names.multicall(all);
        vm.snapshotGasLastCall("Gas", "name: a hundred commitments made again");
    }

    function test_registrationFirstOfAnEpoch() public {
        commit(ALICE, carol);
        approves(carol, 20 * SESH);
        passBorder(names.currentEpoch());
        vm.prank(carol);
        names.register(ALICE, 2 * 365 days, SECRET, 20 * SESH);
        within("name: registration by approval, first of an epoch", REGISTRATION);
    }

    function test_registrationByPermit() public {
        commit(ALICE, carol);
        bytes[] memory both = calls(
            allows(3, 20 * SESH), abi.encodeCall(names.register, (ALICE, 2 * 365 days, SECRET, 20 * SESH))
        );
        passBorder(names.currentEpoch());
        vm.prank(carol);
        names.multicall(both);
        within("name: registration by permit, first of an epoch", REGISTRATION);
    }

    function test_record() public {
        take(ALICE, alice, 365 days);
        vm.prank(alice);
        names.setRecord(ALICE, 1, noise(ACCOUNT));
        within("name: record of an account", RECORD);
        passBorder(names.currentEpoch());
        vm.prank(alice);
        names.setRecord(ALICE, 5, noise(256));
        within("name: record of 256 bytes, first of an epoch", RECORD);
        vm.prank(alice);
        names.setSubnameRecord(ALICE, keccak256("shop"), 1, noise(ACCOUNT));
        within("name: a sub-name's first record", RECORD);
        passBorder(names.currentEpoch());
        vm.prank(alice);
        names.setSubnameRecord(ALICE, keccak256("other"), 5, noise(256));
        within("name: a sub-name's first record, 256 bytes, first of an epoch", RECORD);
    }

    /// @dev What it takes to fill a name and all of its sub-names, beside the fee: `chain/README.md` reckons with it.
    function test_allThatANameCanSay() public {
        take(ALICE, alice, 365 days);
        bytes[] memory all = new bytes[](6 * (1 + names.MAX_SUBNAMES()));
        for (uint256 i = 0; i < all.length; ++i) {
            (uint8 kind, uint256 label) = (uint8(1 + i % 6), i / 6);
            all[i] = label == 0
                ? abi.encodeCall(names.setRecord, (ALICE, kind, noise(256)))
                : abi.encodeCall(
                    names.setSubnameRecord, (ALICE, keccak256(abi.encode(label)), kind, noise(256))
                );
        }
        vm.prank(alice);
        names.multicall(all);
        vm.snapshotGasLastCall("Gas", "name: all that a name can say");
        vm.assertEq(subnamesOf(ALICE), names.MAX_SUBNAMES(), "all of its sub-names");
    }

    function test_purchase() public {
        address dave = vm.addr(4);
        takesAndHasNothingLeft(dave);
        vm.prank(dave);
        names.setPrice(ALICE, uint96(1_000 * SESH));
        vm.snapshotGasLastCall("Gas", "name: price");
        approves(carol, 1_000 * SESH);
        passBorder(names.currentEpoch());
        vm.prank(carol);
        names.buy(ALICE, 1, 1_000 * SESH);
        within("name: purchase by allowance, of a seller without tokens, first of an epoch", PURCHASE);
        vm.prank(carol);
        names.setPrice(ALICE, uint96(900 * SESH));
        approves(bob, 900 * SESH);
        vm.prank(bob);
        names.buy(ALICE, 2, 900 * SESH);
        within("name: purchase by allowance, of a seller with tokens", PURCHASE);
        vm.prank(bob);
        names.setPrice(ALICE, uint96(900 * SESH));
        token.transfer(dave, 900 * SESH);
        pays(4, 3);
        within("name: purchase by a transfer, of a seller with tokens", PURCHASE);
    }

    /// @dev All at once that makes a purchase dear, as people buy: their first name, of a seller that has neither another
    /// one nor tokens, as the first event of an epoch.
    function test_purchaseAtItsDearest() public {
        address dave = vm.addr(4);
        takesAndHasNothingLeft(dave);
        vm.prank(dave);
        names.setPrice(ALICE, uint96(900 * SESH));
        passBorder(names.currentEpoch());
        pays(3, 1);
        within("name: purchase by a transfer, the dearest", PURCHASE);
    }

    /// @dev Registers a name with all that it has.
    function takesAndHasNothingLeft(address owner) private {
        token.transfer(owner, 10 * SESH);
        approves(owner, 10 * SESH);
        take(ALICE, owner, 365 days);
        vm.assertEq(balance(owner), 0, "it has no tokens");
    }

    function pays(uint256 secret, uint32 version) private {
        vm.prank(vm.addr(secret));
        token.transferAndCall(address(names), 900 * SESH, abi.encode(ALICE, version));
    }

    function test_otherThings() public {
        take(ALICE, alice, 365 days);
        vm.prank(bob);
        names.renew(ALICE, 365 days, 10 * SESH);
        vm.snapshotGasLastCall("Gas", "name: renewal");
        vm.prank(alice);
        names.reveal(ALICE, "alice");
        vm.snapshotGasLastCall("Gas", "name: reveal");
        vm.prank(alice);
        names.setReverse(ALICE);
        vm.snapshotGasLastCall("Gas", "name: reverse record");
        offerFor(ALICE, bob, 100 * SESH, 7);
        vm.snapshotGasLastCall("Gas", "name: offer");
        offerFor(ALICE, carol = rich(6), 200 * SESH, 7);
        vm.snapshotGasLastCall("Gas", "name: better offer");
        offerFor(ALICE, carol, 300 * SESH, 7);
        vm.snapshotGasLastCall("Gas", "name: better offer of one's own");
        vm.prank(alice);
        names.accept(ALICE, 300 * SESH);
        vm.snapshotGasLastCall("Gas", "name: acceptance");
        vm.prank(carol);
        names.transferFrom(carol, bob, ALICE);
        vm.snapshotGasLastCall("Gas", "name: transfer");
        names.releaseFees();
        vm.snapshotGasLastCall("Gas", "name: release of fees");
    }

    function approves(address account, uint256 amount) private {
        vm.prank(account);
        token.approve(address(names), amount);
    }

    function noise(uint256 length) private pure returns (bytes memory made) {
        made = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            made[i] = bytes1(uint8(1 + i % 255));
        }
    }

    function within(string memory what, uint256 budget) private {
        vm.assertLe(vm.snapshotGasLastCall("Gas", what), budget, what);
    }
}
