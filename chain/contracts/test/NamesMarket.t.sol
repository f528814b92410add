// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {RewardPool} from "../src/RewardPool.sol";
import {Market} from "../src/names/Market.sol";
import {Names} from "../src/names/Names.sol";
import {Registry} from "../src/names/Registry.sol";
import {NamesSetup} from "./NamesSetup.sol";
import {Vm} from "./Vm.sol";

/// @dev A token that calls back in the middle of every payment, as whom it was told to be.
contract Meddler {
    mapping(address account => uint256) public balanceOf;
    address private target;
    bytes private call;
    uint256 public worked;
    bool private calling;

    function give(address account, uint256 amount) external {
        balanceOf[account] += amount;
    }

    function prepare(address target_, bytes calldata call_) external {
        (target, call) = (target_, call_);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        return move(from, to, amount);
    }

    /// @dev So that it buys and offers itself.
    function act(address where, bytes calldata what) external {
        (bool ok, bytes memory why) = where.call(what);
        if (ok) return;
        assembly {
            revert(add(why, 0x20), mload(why))
        }
    }

    function move(address from, address to, uint256 amount) private returns (bool) {
        if (call.length != 0 && !calling) {
            calling = true;
            (bool ok,) = target.call(call);
            if (ok) ++worked;
            calling = false;
        }
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}

contract NamesMarketTest is NamesSetup {
    uint96 private constant PRICE = 500e9;
    uint256 private constant ANY = type(uint256).max;
    address private carol;

    function setUp() public override {
        super.setUp();
        carol = rich(3);
        take(ALICE, alice, 365 days);
    }

    // At a price.

    function test_aPurchasePaysTheSellerAndGivesTheName() public {
        sells(PRICE);
        (uint256 alices, uint256 bobs) = (balance(alice), balance(bob));
        uint256 fees = balance(address(names));
        vm.assertEq(names.ownerOf(ALICE), alice, "hers until it is sold");
        vm.prank(bob);
        names.buy(ALICE, 1, PRICE);
        vm.assertEq(names.ownerOf(ALICE), bob, "his");
        vm.assertEq(balance(alice) - alices, PRICE, "she is paid in full");
        vm.assertEq(bobs - balance(bob), PRICE, "he paid no more");
        vm.assertEq(balance(address(names)), fees, "nothing stays here");
        vm.assertEq(versionOf(ALICE), 2, "the next version");
        vm.assertEq(names.priceOf(ALICE), 0, "for sale no more");
        vm.assertEq(expiryOf(ALICE), block.timestamp + 365 days, "what was paid for stays");
    }

    function test_aBuyerPaysAtMostWhatItSaw() public {
        sells(PRICE);
        sells(PRICE + 1);
        vm.expectRevert(abi.encodeWithSelector(Market.PriceTooHigh.selector, PRICE + 1, PRICE));
        vm.prank(bob);
        names.buy(ALICE, 1, PRICE);
        sells(PRICE - 1);
        uint256 before = balance(bob);
        vm.prank(bob);
        names.buy(ALICE, 1, PRICE);
        vm.assertEq(before - balance(bob), PRICE - 1, "less, if it fell");
    }

    function test_aBuyerGetsTheVersionThatItSaw() public {
        sells(PRICE);
        vm.prank(alice);
        names.transferFrom(alice, carol, ALICE);
        vm.expectRevert(abi.encodeWithSelector(Market.VersionChanged.selector, ALICE, 2, 1));
        vm.prank(bob);
        names.buy(ALICE, 1, PRICE);
        // Also when the new owner sells it at that price.
        vm.prank(carol);
        names.setPrice(ALICE, PRICE);
        vm.expectRevert(abi.encodeWithSelector(Market.VersionChanged.selector, ALICE, 2, 1));
        vm.prank(bob);
        names.buy(ALICE, 1, PRICE);
        // Records are none of that: they go with the version in any case.
        vm.prank(carol);
        names.setRecord(ALICE, 1, "x");
        vm.prank(bob);
        names.buy(ALICE, 2, PRICE);
        vm.assertEq(versionOf(ALICE), 3, "without carol's records");
    }

    function test_thePriceGoesWithTheOwner() public {
        sells(PRICE);
        vm.prank(alice);
        names.transferFrom(alice, carol, ALICE);
        vm.assertEq(names.priceOf(ALICE), 0, "not for sale");
        vm.expectRevert(abi.encodeWithSelector(Market.NotForSale.selector, ALICE));
        vm.prank(bob);
        names.buy(ALICE, 2, PRICE);
        // Nor does it come back with her.
        vm.prank(carol);
        names.transferFrom(carol, alice, ALICE);
        vm.expectRevert(abi.encodeWithSelector(Market.NotForSale.selector, ALICE));
        vm.prank(bob);
        names.buy(ALICE, 3, PRICE);
    }

    function test_whatIsNotForSaleIsNotSold() public {
        bytes memory why = abi.encodeWithSelector(Market.NotForSale.selector, ALICE);
        vm.expectRevert(why);
        vm.prank(bob);
        names.buy(ALICE, 1, ANY);
        sells(PRICE);
        sells(0);
        vm.expectRevert(why);
        vm.prank(bob);
        names.buy(ALICE, 1, ANY);
        vm.expectRevert(abi.encodeWithSelector(Registry.NoSuchName.selector, ALICE + 1));
        vm.prank(bob);
        names.buy(ALICE + 1, 0, ANY);
    }

    function test_aNameIsSoldOnce() public {
        sells(PRICE);
        vm.prank(bob);
        names.buy(ALICE, 1, PRICE);
        vm.expectRevert(abi.encodeWithSelector(Market.VersionChanged.selector, ALICE, 2, 1));
        vm.prank(carol);
        names.buy(ALICE, 1, PRICE);
        vm.expectRevert(abi.encodeWithSelector(Market.NotForSale.selector, ALICE));
        vm.prank(carol);
        names.buy(ALICE, 2, PRICE);
    }

    function test_whoCannotPayGetsNothing() public {
        sells(type(uint96).max);
        vm.expectRevert(SafeTransferLib.TransferFromFailed.selector);
        vm.prank(bob);
        names.buy(ALICE, 1, ANY);
        sells(PRICE);
        vm.prank(bob);
        token.approve(address(names), PRICE - 1);
        vm.expectRevert(SafeTransferLib.TransferFromFailed.selector);
        vm.prank(bob);
        names.buy(ALICE, 1, ANY);
        vm.assertEq(names.ownerOf(ALICE), alice, "hers");
    }

    function test_permitsPayPricesAndOffersInOneTransaction() public {
        vm.prank(bob);
        token.approve(address(names), 0);
        bytes memory bid = abi.encodeCall(names.offer, (ALICE, 1, 200e9, uint40(block.timestamp + 7 days)));
        bytes[] memory both = calls(allows(BOBS, 200e9), bid);
        vm.prank(bob);
        names.multicall(both);
        sells(PRICE);
        both = calls(allows(BOBS, PRICE), abi.encodeCall(names.buy, (ALICE, 1, PRICE)));
        vm.prank(bob);
        names.multicall(both);
        vm.assertEq(names.ownerOf(ALICE), bob, "bought");
    }

    /// @dev Whatever a transfer comes with, it buys for whom it was taken from, or comes back as a whole.
    function test_aTransferBuysTheNameThatItComesWith() public {
        vm.prank(bob);
        token.approve(address(names), 0);
        sells(PRICE);
        transferFails(
            PRICE - 1,
            abi.encode(ALICE, 1),
            abi.encodeWithSelector(Market.PriceTooHigh.selector, PRICE, PRICE - 1)
        );
        transferFails(
            PRICE, abi.encode(ALICE, 2), abi.encodeWithSelector(Market.VersionChanged.selector, ALICE, 1, 2)
        );
        transferFails(
            PRICE, abi.encode(ALICE + 1, 0), abi.encodeWithSelector(Registry.NoSuchName.selector, ALICE + 1)
        );
        (uint256 alices, uint256 bobs, uint256 fees) = (balance(alice), balance(bob), balance(address(names)));
        vm.prank(bob);
        token.transferAndCall(address(names), PRICE, abi.encode(ALICE, 1));
        vm.assertEq(names.ownerOf(ALICE), bob, "bought");
        vm.assertEq(bobs - balance(bob), PRICE, "paid once");
        vm.assertEq(balance(alice) - alices, PRICE, "she is paid in full");
        vm.assertEq(balance(address(names)), fees, "nothing stays here");
        transferFails(
            PRICE, abi.encode(ALICE, 1), abi.encodeWithSelector(Market.VersionChanged.selector, ALICE, 2, 1)
        );
    }

    function test_whatATransferBringsTooMuchGoesBack() public {
        sells(PRICE);
        (uint256 alices, uint256 bobs, uint256 fees) = (balance(alice), balance(bob), balance(address(names)));
        vm.prank(bob);
        token.transferAndCall(address(names), 3 * PRICE, abi.encode(ALICE, 1));
        vm.assertEq(bobs - balance(bob), PRICE, "the price alone");
        vm.assertEq(balance(alice) - alices, PRICE, "she is paid");
        vm.assertEq(balance(address(names)), fees, "nothing stays here");
    }

    function test_aTransferThatSaysNothingIsNotTaken() public {
        sells(PRICE);
        bytes[4] memory all = [bytes(""), hex"01", abi.encode(ALICE), abi.encode(ALICE, uint256(1) << 32)];
        for (uint256 i = 0; i < all.length; ++i) {
            uint256 before = balance(bob);
            vm.prank(bob);
            (bool ok,) = address(token)
                .call(
                    abi.encodeWithSignature(
                        "transferAndCall(address,uint256,bytes)", address(names), PRICE, all[i]
                    )
                );
            vm.assertTrue(!ok, "refused");
            vm.assertEq(balance(bob), before, "his");
        }
    }

    function test_nobodyButTheTokenSaysThatItPaid() public {
        sells(PRICE);
        vm.expectRevert(abi.encodeWithSelector(Market.NotToken.selector, bob));
        vm.prank(bob);
        names.onTransferReceived(bob, bob, PRICE, abi.encode(ALICE, 1));
    }

    /// @dev Who may take somebody's tokens buys for them.
    function test_whoPaysGetsTheName() public {
        sells(PRICE);
        vm.prank(bob);
        token.approve(carol, PRICE);
        vm.prank(carol);
        token.transferFromAndCall(bob, address(names), PRICE, abi.encode(ALICE, 1));
        vm.assertEq(names.ownerOf(ALICE), bob, "his");
    }

    /// @dev At any price, with any purse: what moves is the price, or nothing.
    function testFuzz_aTransferPaysThePriceOrNothing(uint96 price, uint256 value) public {
        price = uint96(1 + price % (200_000 * SESH));
        value = value % (200_000 * SESH);
        sells(price);
        (uint256 alices, uint256 bobs, uint256 fees) = (balance(alice), balance(bob), balance(address(names)));
        vm.prank(bob);
        (bool ok,) = address(token)
            .call(
                abi.encodeWithSignature(
                    "transferAndCall(address,uint256,bytes)", address(names), value, abi.encode(ALICE, 1)
                )
            );
        vm.assertTrue(ok == (value >= price && value <= bobs), "whether it is sold");
        vm.assertEq(names.ownerOf(ALICE), ok ? bob : alice, "whose it is");
        vm.assertEq(bobs - balance(bob), ok ? price : 0, "he paid");
        vm.assertEq(balance(alice) - alices, ok ? price : 0, "she got");
        vm.assertEq(balance(address(names)), fees, "nothing stays here");
    }

    function transferFails(uint256 value, bytes memory data, bytes memory why) private {
        uint256 before = balance(bob);
        vm.expectRevert(why);
        vm.prank(bob);
        token.transferAndCall(address(names), value, data);
        vm.assertEq(balance(bob), before, "nothing is paid");
    }

    // By offers.

    function test_anOfferIsHeldAndPaysTheSeller() public {
        (uint256 alices, uint256 bobs) = (balance(alice), balance(bob));
        offerFor(ALICE, bob, 100 * SESH, 7);
        vm.assertEq(bobs - balance(bob), 100 * SESH, "he pays at once");
        vm.assertEq(held(), 100 * SESH, "held");
        vm.prank(alice);
        names.accept(ALICE, 100 * SESH);
        vm.assertEq(names.ownerOf(ALICE), bob, "his");
        vm.assertEq(balance(alice) - alices, 100 * SESH, "hers");
        vm.assertEq(held(), 0, "held no more");
        vm.assertEq(versionOf(ALICE), 2, "the next version");
        vm.expectRevert(abi.encodeWithSelector(Market.NoOffer.selector, ALICE));
        vm.prank(bob);
        names.withdrawOffer(ALICE);
    }

    /// @dev What an offer promises is here: its buyer can neither spend it meanwhile nor take the allowance away.
    function test_anOfferHoldsWhateverItsBuyerDoesMeanwhile() public {
        offerFor(ALICE, bob, 100 * SESH, 7);
        uint256 rest = balance(bob);
        vm.prank(bob);
        token.transfer(carol, rest);
        vm.prank(bob);
        token.approve(address(names), 0);
        vm.prank(alice);
        names.accept(ALICE, 100 * SESH);
        vm.assertEq(names.ownerOf(ALICE), bob, "sold");
    }

    function test_whoCannotPayOffersNothing() public {
        address poor = address(0x50);
        uint40 until = uint40(block.timestamp + 7 days);
        vm.expectRevert(SafeTransferLib.TransferFromFailed.selector);
        vm.prank(poor);
        names.offer(ALICE, 1, uint96(100 * SESH), until);
        vm.prank(bob);
        token.approve(address(names), 100 * SESH - 1);
        vm.expectRevert(SafeTransferLib.TransferFromFailed.selector);
        vm.prank(bob);
        names.offer(ALICE, 1, uint96(100 * SESH), until);
        vm.expectRevert(SafeTransferLib.TransferFromFailed.selector);
        vm.prank(carol);
        names.offer(ALICE, 1, type(uint96).max, until);
        vm.assertEq(held(), 0, "nothing is held");
    }

    function test_dustIsNoOffer() public {
        uint256[3] memory dust = [uint256(0), 1, MINIMUM_OFFER - 1];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Market.OfferTooLow.selector, dust[i], MINIMUM_OFFER));
            vm.prank(bob);
            names.offer(ALICE, 1, uint96(dust[i]), uint40(block.timestamp + 7 days));
        }
        offerFor(ALICE, bob, MINIMUM_OFFER, 7);
        vm.prank(address(timelock));
        names.setParameter("minimumOffer", 2 * MINIMUM_OFFER);
        vm.assertEq(names.leastOffer(ALICE), 2 * MINIMUM_OFFER, "the least is more than the raise");
    }

    function test_aBetterOfferPaysTheOneBeforeBack() public {
        offerFor(ALICE, bob, 100 * SESH, 7);
        uint256 before = balance(bob);
        vm.assertEq(names.leastOffer(ALICE), 105 * SESH, "five percent more");
        vm.expectRevert(abi.encodeWithSelector(Market.OfferTooLow.selector, 105 * SESH - 1, 105 * SESH));
        vm.prank(carol);
        names.offer(ALICE, 1, uint96(105 * SESH - 1), uint40(block.timestamp + 7 days));
        offerFor(ALICE, carol, 105 * SESH, 7);
        vm.assertEq(balance(bob) - before, 100 * SESH, "paid back");
        vm.assertEq(held(), 105 * SESH, "one is held");
        vm.expectRevert(abi.encodeWithSelector(Market.NotBuyer.selector, ALICE, bob));
        vm.prank(bob);
        names.withdrawOffer(ALICE);
    }

    /// @dev Else somebody's for a day would drive one for a month away, and two days later there were none.
    function test_aBetterOfferBindsAsLongAsTheOneBefore() public {
        offerFor(ALICE, bob, 400 * SESH, 30);
        uint256 bound = block.timestamp + 30 days;
        vm.warp(block.timestamp + 3 days);
        uint256 latest = block.timestamp + 30 days;
        uint40[3] memory short = [uint40(block.timestamp + 1 days), uint40(bound - 1), 0];
        address[2] memory both = [carol, bob];
        for (uint256 i = 0; i < 6; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(Market.OfferTimeOutOfRange.selector, short[i % 3], bound, latest)
            );
            vm.prank(both[i / 3]);
            names.offer(ALICE, 1, uint96(420 * SESH), short[i % 3]);
        }
        vm.prank(carol);
        names.offer(ALICE, 1, uint96(420 * SESH), uint40(bound));
        // Once it is over, and for another version, it holds nobody.
        vm.warp(bound + 1);
        offerFor(ALICE, bob, 50 * SESH, 30);
        vm.prank(alice);
        names.transferFrom(alice, carol, ALICE);
        offerFor(ALICE, alice, 20 * SESH, 1);
        vm.assertEq(held(), 20 * SESH, "the last one");
    }

    function test_whoRaisesTheirOwnOfferPaysTheDifference() public {
        vm.prank(bob);
        token.approve(address(names), 100 * SESH);
        offerFor(ALICE, bob, 100 * SESH, 7);
        // The rest of what he has is just enough, and allowed.
        uint256 rest = balance(bob) - 95 * SESH;
        vm.prank(bob);
        token.transfer(carol, rest);
        vm.prank(bob);
        token.approve(address(names), 95 * SESH);
        offerFor(ALICE, bob, 195 * SESH, 7);
        vm.assertTrue(balance(bob) == 0 && held() == 195 * SESH, "95 more");
        vm.expectRevert(SafeTransferLib.TransferFromFailed.selector);
        vm.prank(bob);
        names.offer(ALICE, 1, uint96(300 * SESH), uint40(block.timestamp + 7 days));
        vm.assertEq(held(), 195 * SESH, "as before");
        // Once it binds no more he may offer less, and has the rest back.
        vm.warp(block.timestamp + 7 days + 1);
        offerFor(ALICE, bob, 150 * SESH, 7);
        vm.assertTrue(balance(bob) == 45 * SESH && held() == 150 * SESH, "45 less");
        vm.warp(block.timestamp + 7 days + 1);
        offerFor(ALICE, bob, 150 * SESH, 7);
        vm.assertTrue(balance(bob) == 45 * SESH && held() == 150 * SESH, "the same again");
        vm.prank(alice);
        names.accept(ALICE, 150 * SESH);
        vm.assertEq(held(), 0, "paid");
    }

    /// @dev Whoever offers whatever for however long, at any time: what is held is the last offer that was taken, a
    /// counting one gives way to a better one that binds as long alone, and nobody loses anything.
    function testFuzz_offersGiveWayToBetterOnesAlone(uint256[8] calldata moves) public {
        uint256 all = balance(bob) + balance(carol);
        (uint256 best, uint256 until) = (0, 0);
        for (uint256 i = 0; i < moves.length; ++i) {
            uint256 dice = moves[i];
            vm.warp(block.timestamp + (dice & 1 == 0 ? 0 : (dice >> 8) % 20 days));
            address buyer = dice & 2 == 0 ? bob : carol;
            uint256 amount = 9 * SESH + (dice >> 40) % (60 * SESH);
            uint256 binds = block.timestamp + (dice >> 72) % 32 days;
            bool counts = block.timestamp <= until;
            bool allowed = amount >= MINIMUM_OFFER && binds >= block.timestamp + 1 days
                && binds <= block.timestamp + 30 days;
            if (counts) allowed = allowed && binds >= until && amount * 100 >= best * 105;
            bytes memory call = abi.encodeCall(names.offer, (ALICE, 1, uint96(amount), uint40(binds)));
            vm.prank(buyer);
            (bool ok,) = address(names).call(call);
            vm.assertTrue(ok == allowed, "whether it takes the place");
            if (ok) (best, until) = (amount, binds);
            vm.assertEq(held(), best, "the last one is held");
            vm.assertEq(balance(bob) + balance(carol) + best, all, "and nothing else is gone");
        }
    }

    function test_anOfferBindsUntilTheTimeThatItNames() public {
        uint256 soonest = block.timestamp + 1 days;
        uint256 latest = block.timestamp + 30 days;
        uint40[4] memory bad = [0, uint40(soonest - 1), uint40(latest + 1), type(uint40).max];
        for (uint256 i = 0; i < 4; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(Market.OfferTimeOutOfRange.selector, bad[i], soonest, latest)
            );
            vm.prank(bob);
            names.offer(ALICE, 1, uint96(100 * SESH), bad[i]);
        }
        offerFor(ALICE, bob, 100 * SESH, 1);
        vm.warp(soonest);
        vm.expectRevert(abi.encodeWithSelector(Market.OfferBinds.selector, ALICE, soonest));
        vm.prank(bob);
        names.withdrawOffer(ALICE);
        vm.warp(soonest + 1);
        vm.expectRevert(abi.encodeWithSelector(Market.NoOffer.selector, ALICE));
        vm.prank(alice);
        names.accept(ALICE, 0);
        vm.assertEq(names.leastOffer(ALICE), MINIMUM_OFFER, "it is not to be outbid any more");
        uint256 before = balance(bob);
        vm.prank(bob);
        names.withdrawOffer(ALICE);
        vm.assertEq(balance(bob) - before, 100 * SESH, "paid back");
        vm.expectRevert(abi.encodeWithSelector(Market.NoOffer.selector, ALICE));
        vm.prank(bob);
        names.withdrawOffer(ALICE);
    }

    function test_anOfferCanBeAcceptedInItsLastSecond() public {
        offerFor(ALICE, bob, 100 * SESH, 1);
        vm.warp(block.timestamp + 1 days);
        vm.prank(alice);
        names.accept(ALICE, 0);
        vm.assertEq(names.ownerOf(ALICE), bob, "sold");
    }

    function test_aSellerGetsAtLeastWhatItSaw() public {
        offerFor(ALICE, bob, 100 * SESH, 1);
        vm.warp(block.timestamp + 1 days + 1);
        offerFor(ALICE, carol, 50 * SESH, 1);
        vm.expectRevert(abi.encodeWithSelector(Market.OfferTooLow.selector, 50 * SESH, 100 * SESH));
        vm.prank(alice);
        names.accept(ALICE, 100 * SESH);
        offerFor(ALICE, bob, 300 * SESH, 1);
        uint256 before = balance(alice);
        vm.prank(alice);
        names.accept(ALICE, 100 * SESH);
        vm.assertEq(balance(alice) - before, 300 * SESH, "more, if there is a better one");
    }

    function test_offersGoWithTheOwner() public {
        offerFor(ALICE, bob, 100 * SESH, 30);
        vm.prank(alice);
        names.transferFrom(alice, carol, ALICE);
        vm.expectRevert(abi.encodeWithSelector(Market.NoOffer.selector, ALICE));
        vm.prank(carol);
        names.accept(ALICE, 0);
        vm.assertEq(names.leastOffer(ALICE), MINIMUM_OFFER, "it is not to be outbid");
        // Nor does it come back with her.
        vm.prank(carol);
        names.transferFrom(carol, alice, ALICE);
        vm.expectRevert(abi.encodeWithSelector(Market.NoOffer.selector, ALICE));
        vm.prank(alice);
        names.accept(ALICE, 0);
        uint256 before = balance(bob);
        vm.prank(bob);
        names.withdrawOffer(ALICE);
        vm.assertEq(balance(bob) - before, 100 * SESH, "paid back, though its time is not over");
    }

    function test_anOfferThatCountsNoMoreIsPaidBackByTheNext() public {
        offerFor(ALICE, bob, 100 * SESH, 30);
        vm.prank(alice);
        names.transferFrom(alice, carol, ALICE);
        uint256 before = balance(bob);
        offerFor(ALICE, alice, MINIMUM_OFFER, 1);
        vm.assertEq(balance(bob) - before, 100 * SESH, "paid back");
        vm.assertEq(held(), MINIMUM_OFFER, "one is held");
    }

    function test_anOfferIsForTheVersionThatItSaw() public {
        vm.prank(alice);
        names.transferFrom(alice, carol, ALICE);
        vm.expectRevert(abi.encodeWithSelector(Market.VersionChanged.selector, ALICE, 2, 1));
        vm.prank(bob);
        names.offer(ALICE, 1, uint96(100 * SESH), uint40(block.timestamp + 7 days));
        vm.expectRevert(abi.encodeWithSelector(Registry.NoSuchName.selector, ALICE + 1));
        vm.prank(bob);
        names.offer(ALICE + 1, 0, uint96(100 * SESH), uint40(block.timestamp + 7 days));
    }

    function test_anOfferForANameThatExpiredIsPaidBack() public {
        vm.warp(expiryOf(ALICE) - 1);
        offerFor(ALICE, bob, 100 * SESH, 30);
        vm.expectRevert(abi.encodeWithSelector(Market.OfferBinds.selector, ALICE, block.timestamp + 30 days));
        vm.prank(bob);
        names.withdrawOffer(ALICE);
        vm.warp(block.timestamp + 1);
        uint256 before = balance(bob);
        vm.recordLogs();
        vm.prank(bob);
        names.withdrawOffer(ALICE);
        vm.assertEq(balance(bob) - before, 100 * SESH, "paid back");
        // Its time is not over: that it is gone, nodes learn from this alone.
        Vm.Log memory log = vm.getRecordedLogs()[0];
        vm.assertEq(log.topics[0], Market.OfferWithdrawn.selector, "told");
        vm.assertTrue(uint256(log.topics[2]) == ALICE, "of the name");
        vm.assertEq(uint256(log.topics[3]), uint160(bob), "by its buyer");
        vm.prank(alice);
        names.renew(ALICE, 28 days, ANY);
        vm.expectRevert(abi.encodeWithSelector(Market.NoOffer.selector, ALICE));
        vm.prank(alice);
        names.accept(ALICE, 0);
    }

    function test_aPurchaseLeavesTheOffersMoneyToItsBuyer() public {
        offerFor(ALICE, bob, 100 * SESH, 30);
        sells(PRICE);
        vm.prank(carol);
        names.buy(ALICE, 1, PRICE);
        names.releaseFees();
        vm.assertEq(balance(address(names)), 100 * SESH, "fees are gone, the offer is not");
        vm.prank(bob);
        names.withdrawOffer(ALICE);
        vm.assertEq(balance(address(names)), 0, "nor stays");
    }

    /// @dev At any amount there is: whatever is held is paid to one of two, and fees are what is left.
    function testFuzz_offersAddUp(uint256 first, uint256 second, bool accepted) public {
        uint256 least = MINIMUM_OFFER;
        first = least + first % (90_000 * SESH - least);
        offerFor(ALICE, bob, first, 7);
        least = names.leastOffer(ALICE);
        vm.assertTrue(least * 100 >= first * 105 && (least - 1) * 100 < first * 105, "rounded up");
        second = least + second % (99_000 * SESH - least);
        offerFor(ALICE, carol, second, 7);
        uint256 alices = balance(alice);
        if (accepted) {
            vm.prank(alice);
            names.accept(ALICE, second);
            vm.assertEq(balance(alice) - alices, second, "paid");
        }
        vm.assertEq(balance(bob), 100_000 * SESH, "all of it again");
        vm.assertEq(held(), accepted ? 0 : second, "held");
        vm.assertEq(names.fees(), YEARLY_FEE, "fees");
    }

    // With a token that calls back.

    function test_whatATokenDoesInTheMiddleOfAPurchaseComesTooLate() public {
        (Names other, Meddler meddler) = meddling();
        meddler.prepare(address(other), abi.encodeCall(other.buy, (ALICE, 1, PRICE)));
        meddler.give(address(meddler), PRICE);
        meddler.give(bob, PRICE);
        vm.prank(bob);
        other.buy(ALICE, 1, PRICE);
        vm.assertEq(meddler.worked(), 0, "sold already");
        vm.assertEq(other.ownerOf(ALICE), bob, "his");
    }

    /// @dev The same of a purchase by a transfer: it is paid out after all is as it will be.
    function test_whatATokenDoesInTheMiddleOfATransferThatBuysComesTooLate() public {
        (Names other, Meddler meddler) = meddling();
        bytes memory paid =
            abi.encodeCall(other.onTransferReceived, (bob, bob, 2 * PRICE, abi.encode(ALICE, 1)));
        meddler.give(address(other), 2 * PRICE);
        meddler.prepare(address(other), paid);
        uint256 held = meddler.balanceOf(address(other));
        meddler.act(address(other), paid);
        vm.assertEq(meddler.worked(), 0, "it is sold");
        vm.assertEq(other.ownerOf(ALICE), bob, "his");
        vm.assertEq(meddler.balanceOf(alice), PRICE, "she is paid once");
        vm.assertEq(meddler.balanceOf(bob), PRICE, "the rest is his");
        vm.assertEq(held - meddler.balanceOf(address(other)), 2 * PRICE, "no more went out than came in");
    }

    function test_whatATokenDoesInTheMiddleOfAnOfferPaysNothingTwice() public {
        (Names other, Meddler meddler) = meddling();
        uint40 until = uint40(block.timestamp + 1 days);
        meddler.give(address(meddler), 100 * SESH);
        meddler.act(address(other), abi.encodeCall(other.offer, (ALICE, 1, uint96(100 * SESH), until)));
        meddler.give(bob, 1_000 * SESH);
        vm.prank(bob);
        other.offer(ALICE + 1, 1, uint96(1_000 * SESH), until);
        // Once it is outbid, in each payment it asks for its money too.
        meddler.prepare(address(other), abi.encodeCall(other.withdrawOffer, (ALICE)));
        meddler.give(carol, 200 * SESH);
        vm.prank(carol);
        other.offer(ALICE, 1, uint96(200 * SESH), until);
        vm.assertEq(meddler.worked(), 0, "it has no offer any more");
        vm.assertEq(meddler.balanceOf(address(meddler)), 100 * SESH, "once");
        vm.assertEq(meddler.balanceOf(address(other)), 1_200 * SESH + 2 * YEARLY_FEE, "what is offered");
        // And so when it withdraws an offer that binds no more.
        meddler.give(address(meddler), 200 * SESH);
        meddler.prepare(address(0), "");
        meddler.act(address(other), abi.encodeCall(other.offer, (ALICE, 1, uint96(300 * SESH), until)));
        vm.warp(until + 1);
        meddler.prepare(address(other), abi.encodeCall(other.withdrawOffer, (ALICE)));
        meddler.act(address(other), abi.encodeCall(other.withdrawOffer, (ALICE)));
        vm.assertEq(meddler.worked(), 0, "once");
        vm.assertEq(meddler.balanceOf(address(other)), 1_000 * SESH + 2 * YEARLY_FEE, "the others'");
    }

    function test_whatATokenDoesWhileAnOfferThatBindsNoMoreGivesWayPaysNothingTwice() public {
        (Names other, Meddler meddler) = meddling();
        uint40 until = uint40(block.timestamp + 1 days);
        meddler.give(address(meddler), 100 * SESH);
        meddler.act(address(other), abi.encodeCall(other.offer, (ALICE, 1, uint96(100 * SESH), until)));
        meddler.give(bob, 1_000 * SESH);
        vm.prank(bob);
        other.offer(ALICE + 1, 1, uint96(1_000 * SESH), until);
        vm.warp(until + 1);
        meddler.prepare(address(other), abi.encodeCall(other.withdrawOffer, (ALICE)));
        meddler.give(carol, 200 * SESH);
        vm.prank(carol);
        other.offer(ALICE, 1, uint96(200 * SESH), until + 2 days);
        vm.assertEq(meddler.worked(), 0, "another has its place already");
        vm.assertEq(meddler.balanceOf(address(meddler)), 100 * SESH, "once");
        vm.assertEq(meddler.balanceOf(address(other)), 1_200 * SESH + 2 * YEARLY_FEE, "what is offered");
    }

    function test_whatATokenDoesInTheMiddleOfARegistrationComesTooLate() public {
        (Names other, Meddler meddler) = meddling();
        uint256 id = ALICE + 2;
        // The token is who registers, so what it does meanwhile comes from who committed.
        other.commit(other.commitment(id, address(meddler), SECRET));
        vm.warp(block.timestamp + 1 minutes);
        bytes memory register = abi.encodeCall(other.register, (id, 365 days, SECRET, ANY));
        meddler.prepare(address(other), register);
        meddler.give(address(meddler), YEARLY_FEE);
        meddler.act(address(other), register);
        vm.assertEq(meddler.worked(), 0, "its commitment is used");
        // Fees in the middle of paying fees.
        meddler.prepare(address(other), abi.encodeCall(other.releaseFees, ()));
        uint256 fees = meddler.balanceOf(address(other));
        other.releaseFees();
        uint256 paid = meddler.balanceOf(TREASURY) + meddler.balanceOf(address(other.pool()));
        vm.assertEq(paid, fees, "no more than there are");
    }

    /// @dev Names that are paid with such a token; alice has two, one at a price.
    function meddling() private returns (Names other, Meddler meddler) {
        meddler = new Meddler();
        RewardPool reservoir = new RewardPool(address(meddler), address(0xbe), GENESIS, EPOCH);
        other = new Names(
            address(timelock),
            address(meddler),
            reservoir,
            TREASURY,
            GENESIS,
            EPOCH,
            YEARLY_FEE,
            MINIMUM_OFFER
        );
        meddler.give(alice, 2 * YEARLY_FEE);
        for (uint256 id = ALICE; id < ALICE + 2; ++id) {
            other.commit(other.commitment(id, alice, SECRET));
            vm.warp(block.timestamp + 1 minutes);
            vm.prank(alice);
            other.register(id, 365 days, SECRET, ANY);
        }
        vm.prank(alice);
        other.setPrice(ALICE, PRICE);
    }

    /// @dev What is here of offers.
    function held() private view returns (uint256) {
        return balance(address(names)) - names.fees();
    }

    function sells(uint96 price) private {
        vm.prank(alice);
        names.setPrice(ALICE, price);
    }
}
