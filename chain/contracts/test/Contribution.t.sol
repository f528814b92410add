// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {Checkpoint} from "../src/checkpoints/Checkpoints.sol";
import {Contribution, Reservation} from "../src/staking/Contribution.sol";
import {NodeSet} from "../src/staking/NodeSet.sol";
import {Staking} from "../src/staking/Staking.sol";
import {Permit, Registration} from "../src/staking/StakingTypes.sol";
import {Merkle} from "./Merkle.sol";
import {Setup} from "./Setup.sol";

contract ContributionTest is Setup {
    address private operator;
    Contribution private open;

    function setUp() public override {
        super.setUp();
        operator = purse(1);
        open = create(REQUIREMENT / 4, none());
    }

    function test_severalStakeOneNode() public {
        contribute(2, 10_000 * SESH);
        contribute(3, 8_750 * SESH);
        vm.assertEq(token.balanceOf(address(open)), REQUIREMENT, "complete");
        vm.prank(operator);
        open.finalise();
        vm.assertEq(open.id(), 1, "registered");
        (address[] memory contributors, uint256[] memory amounts) = staking.sharesOf(1);
        vm.assertEq(contributors.length, 3, "three");
        for (uint256 secret = 1; secret <= 3; ++secret) {
            vm.assertEq(contributors[secret - 1], vm.addr(secret), "who");
        }
        vm.assertEq(amounts[2], 8_750 * SESH, "how much");
        vm.assertEq(token.balanceOf(address(staking)), REQUIREMENT, "staked");
    }

    function test_everybodyIsPaidTheirShareAtTheEscapeHatch() public {
        fillAndFinalise();
        vm.prank(vm.addr(2));
        staking.requestExit(1);
        vm.warp(block.timestamp + 30 days);
        staking.escape(1);
        for (uint256 secret = 1; secret <= 3; ++secret) {
            vm.assertEq(token.balanceOf(vm.addr(secret)), REQUIREMENT, "all of it");
        }
        vm.assertEq(token.balanceOf(address(staking)), 0, "nothing is left");
    }

    function test_theOperatorAlonePaysThePenalty() public {
        fillAndFinalise();
        uint256 secrets = 1;
        for (uint256 secret = 11; secret <= 13; ++secret) {
            register(secret);
            secrets += secret;
        }
        passBorder(0);
        bytes32[] memory states = leaves(Merkle.state(1, 4, 1_000), Merkle.state(2, 1, 0));
        Checkpoint memory content = checkpoint(0, 0, Merkle.root(states));
        checkpoints.submit(content, signed(content, 4, "", secrets));
        staking.release(1, 4, 1_000, Merkle.proof(states, states[0]));
        uint256 penalty = REQUIREMENT / 4 / 10;
        vm.assertEq(token.balanceOf(operator), REQUIREMENT - penalty, "a tenth of the operator's own stake");
        vm.assertEq(token.balanceOf(vm.addr(2)), REQUIREMENT, "nothing of another's");
        vm.assertEq(token.balanceOf(vm.addr(3)), REQUIREMENT, "nothing of another's");
        vm.assertEq(token.balanceOf(address(staking)), 3 * REQUIREMENT, "the other nodes' stakes");
    }

    function test_aSmallContributorCannotMakeANodeLeaveForThirtyDays() public {
        fillAndFinalise();
        uint256 until = block.timestamp + 30 days;
        vm.expectRevert(abi.encodeWithSelector(Staking.ShareLocked.selector, 1, until));
        vm.prank(vm.addr(3));
        staking.requestExit(1);
        vm.warp(until);
        vm.prank(vm.addr(3));
        staking.requestExit(1);
    }

    function test_theOperatorPutsInAQuarterAtLeast() public {
        Registration memory declared = registration(1, operator);
        uint256 least = REQUIREMENT / 4;
        vm.expectRevert(abi.encodeWithSelector(Contribution.TooLittle.selector, least - 1, least));
        vm.prank(operator);
        factory.create(declared, least - 1, operator, none());
        vm.expectRevert(abi.encodeWithSelector(Contribution.TooMuch.selector, REQUIREMENT + 1, REQUIREMENT));
        vm.prank(operator);
        factory.create(declared, REQUIREMENT + 1, operator, none());
        declared.fee = 10_001;
        vm.expectRevert(abi.encodeWithSelector(Contribution.FeeOutOfRange.selector, 10_001, 10_000));
        vm.prank(operator);
        factory.create(declared, least, operator, none());
    }

    function test_limitsOfContributions() public {
        (uint256 least, uint256 most) = open.limits(vm.addr(2));
        vm.assertEq(most, REQUIREMENT * 3 / 4, "all that is open");
        vm.assertEq(least, (REQUIREMENT * 3 / 4 + 8) / 9, "a ninth of it, rounded up");
        refuse(2, least - 1, abi.encodeWithSelector(Contribution.TooLittle.selector, least - 1, least));
        refuse(2, most + 1, abi.encodeWithSelector(Contribution.TooMuch.selector, most + 1, most));
        contribute(2, least);
        contribute(2, 1);
        refuse(2, 0, abi.encodeWithSelector(Contribution.TooLittle.selector, 0, 1));
        contribute(3, most - least - 1);
        refuse(4, 1, abi.encodeWithSelector(Contribution.NoSlot.selector));
    }

    /// @dev Whoever comes with whatever they like between the limits: the tenth at the latest completes it.
    function testFuzz_tenAtMostCompleteIt(uint256[9] memory wishes) public {
        for (uint256 i = 0; i < 9 && open.total() < REQUIREMENT; ++i) {
            (uint256 least, uint256 most) = open.limits(vm.addr(i + 2));
            contribute(i + 2, least + wishes[i] % (most - least + 1));
        }
        vm.assertEq(open.total(), REQUIREMENT, "complete");
        vm.prank(operator);
        open.finalise();
    }

    function test_slotsAreReserved() public {
        open = create(REQUIREMENT / 2, one(vm.addr(2), REQUIREMENT / 4));
        (uint256 least, uint256 most) = open.limits(vm.addr(3));
        vm.assertEq(most, REQUIREMENT / 4, "what is reserved is not open to others");
        vm.assertEq(least, (REQUIREMENT / 4 + 7) / 8, "and neither is the slot");
        (least, most) = open.limits(vm.addr(2));
        vm.assertEq(least, REQUIREMENT / 4, "the reserved amount at least");
        vm.assertEq(most, REQUIREMENT / 2, "and all that is open");
        refuse(3, most, abi.encodeWithSelector(Contribution.TooMuch.selector, most, REQUIREMENT / 4));
        contribute(3, REQUIREMENT / 4);
        contribute(2, REQUIREMENT / 4);
        vm.assertEq(open.reservations().length, 0, "taken");
        vm.prank(operator);
        open.finalise();
    }

    function test_reservationsMakeSense() public {
        refuseReserving(
            one(address(0), REQUIREMENT), abi.encodeWithSelector(Contribution.ZeroAddress.selector)
        );
        refuseReserving(
            one(operator, REQUIREMENT), abi.encodeWithSelector(Contribution.ReservedTwice.selector, operator)
        );
        uint256 most = REQUIREMENT * 3 / 4;
        refuseReserving(
            one(address(7), most + 1), abi.encodeWithSelector(Contribution.TooMuch.selector, most + 1, most)
        );
        refuseReserving(
            one(address(7), 1), abi.encodeWithSelector(Contribution.TooLittle.selector, 1, (most + 8) / 9)
        );
        Reservation[] memory many = new Reservation[](2);
        many[0] = Reservation(address(7), most / 2);
        many[1] = Reservation(address(7), most / 2);
        refuseReserving(many, abi.encodeWithSelector(Contribution.ReservedTwice.selector, address(7)));
        many[1].contributor = address(8);
        vm.prank(operator);
        open.reserve(many);
        vm.expectRevert(abi.encodeWithSelector(Contribution.NotOperator.selector, address(7)));
        vm.prank(address(7));
        open.reserve(none());
        vm.prank(operator);
        open.reserve(none());
        vm.assertEq(open.reservations().length, 0, "taken back");
        contribute(2, most);
    }

    function test_allTenSlotsCanBeReserved() public {
        Reservation[] memory many = new Reservation[](9);
        for (uint256 i = 0; i < 9; ++i) {
            many[i] = Reservation(vm.addr(i + 2), REQUIREMENT / 12);
        }
        many[8].amount = REQUIREMENT * 3 / 4 - 8 * (REQUIREMENT / 12);
        vm.prank(operator);
        vm.expectPartialRevert(Contribution.TooLittle.selector);
        open.reserve(many);
        for (uint256 i = 0; i < 8; ++i) {
            many[i].amount = REQUIREMENT / 12 + 1;
        }
        many[8].amount = REQUIREMENT * 3 / 4 - 8 * (REQUIREMENT / 12 + 1);
        vm.prank(operator);
        open.reserve(many);
        refuse(11, 1, abi.encodeWithSelector(Contribution.NoSlot.selector));
        for (uint256 i = 0; i < 9; ++i) {
            contribute(i + 2, many[i].amount);
        }
        vm.prank(operator);
        open.finalise();
    }

    function test_aContributorWithdrawsAfterADay() public {
        uint256 start = block.timestamp;
        contribute(2, 10_000 * SESH);
        vm.expectRevert(abi.encodeWithSelector(Contribution.TooEarly.selector, start + 1 days));
        vm.prank(vm.addr(2));
        open.withdraw();
        vm.warp(start + 1 days);
        vm.prank(vm.addr(2));
        open.withdraw();
        vm.assertEq(token.balanceOf(vm.addr(2)), REQUIREMENT, "all of it");
        vm.expectRevert(abi.encodeWithSelector(Contribution.NotAContributor.selector, vm.addr(2)));
        vm.prank(vm.addr(2));
        open.withdraw();
        vm.expectRevert(Contribution.OperatorCancels.selector);
        vm.prank(operator);
        open.withdraw();
        contribute(3, REQUIREMENT * 3 / 4);
        vm.prank(operator);
        open.finalise();
    }

    function test_aCancelRefundsEverybody() public {
        contribute(2, 10_000 * SESH);
        contribute(3, 5_000 * SESH);
        vm.expectRevert(abi.encodeWithSelector(Contribution.NotOperator.selector, vm.addr(2)));
        vm.prank(vm.addr(2));
        open.cancel();
        vm.prank(operator);
        open.cancel();
        for (uint256 secret = 1; secret <= 3; ++secret) {
            vm.assertEq(token.balanceOf(vm.addr(secret)), REQUIREMENT, "refunded");
        }
        closed(Contribution.Status.Cancelled);
    }

    function test_onlyTheOperatorFinalisesAndOnlyWhenComplete() public {
        vm.expectRevert(
            abi.encodeWithSelector(Contribution.Incomplete.selector, REQUIREMENT / 4, REQUIREMENT)
        );
        vm.prank(operator);
        open.finalise();
        contribute(2, REQUIREMENT * 3 / 4);
        vm.expectRevert(abi.encodeWithSelector(Contribution.NotOperator.selector, vm.addr(2)));
        vm.prank(vm.addr(2));
        open.finalise();
        vm.prank(operator);
        open.finalise();
        closed(Contribution.Status.Finalised);
    }

    function test_beneficiariesChange() public {
        contribute(2, REQUIREMENT * 3 / 4);
        vm.prank(vm.addr(2));
        open.changeBeneficiary(address(0xbe));
        vm.assertEq(open.contributions()[1].beneficiary, address(0xbe), "before");
        vm.expectRevert(Contribution.ZeroAddress.selector);
        vm.prank(vm.addr(2));
        open.changeBeneficiary(address(0));
        vm.expectRevert(abi.encodeWithSelector(Contribution.NotAContributor.selector, vm.addr(3)));
        vm.prank(vm.addr(3));
        open.changeBeneficiary(address(1));
        vm.prank(operator);
        open.finalise();
        vm.prank(vm.addr(2));
        staking.changeBeneficiary(1, address(0xbf));
    }

    function test_aRequirementThatChangesIsFollowed() public {
        contribute(2, REQUIREMENT * 3 / 4);
        vm.prank(address(timelock));
        staking.setParameter("stakingRequirement", REQUIREMENT + 100);
        vm.expectRevert(
            abi.encodeWithSelector(Contribution.Incomplete.selector, REQUIREMENT, REQUIREMENT + 100)
        );
        vm.prank(operator);
        open.finalise();
        contribute(1, 100);
        vm.prank(operator);
        open.finalise();
    }

    function test_permitsStandForApprovals() public {
        address account = purse(4);
        vm.prank(account);
        token.approve(address(factory), 0);
        Registration memory declared = registration(4, account);
        Permit memory allowed = permit(4, address(factory), REQUIREMENT / 2);
        vm.prank(account);
        open = factory.createWithPermit(declared, REQUIREMENT / 2, account, none(), allowed);
        purse(5);
        allowed = permit(5, address(open), REQUIREMENT / 2);
        vm.prank(vm.addr(5));
        open.contributeWithPermit(REQUIREMENT / 2, account, allowed);
        vm.assertEq(open.total(), REQUIREMENT, "complete");
    }

    function test_nobodyOpensOneAgainOrTheImplementation() public {
        Registration memory declared = registration(1, operator);
        Contribution implementation = factory.implementation();
        vm.expectRevert(abi.encodeWithSelector(Contribution.NotFactory.selector, address(this)));
        open.open(operator, declared, REQUIREMENT, operator, none());
        vm.expectRevert(abi.encodeWithSelector(Contribution.NotFactory.selector, address(this)));
        implementation.open(operator, declared, REQUIREMENT, operator, none());
        vm.prank(address(factory));
        vm.expectRevert(abi.encodeWithSelector(Contribution.WrongStatus.selector, Contribution.Status.Open));
        open.open(operator, declared, REQUIREMENT, operator, none());
        vm.assertTrue(!factory.isContribution(address(implementation)), "the implementation is none");
        vm.assertTrue(factory.isContribution(address(open)), "a clone is one");
    }

    function test_aContributionIsAClone() public view {
        vm.assertEq(address(open).code.length, 45, "of ERC-1167");
    }

    function test_whereAContributionIsFollowsFromWhatItIsFor() public {
        Registration memory declared = registration(1, operator);
        vm.assertEq(address(open), at(operator, 0, declared), "the first");
        vm.prank(operator);
        open.cancel();
        open = create(REQUIREMENT / 2, none());
        vm.assertEq(address(open), at(operator, 1, declared), "the next, of the same registration");
        vm.assertEq(factory.opened(operator), 2, "how many");
        address other = purse(2);
        vm.prank(other);
        open = factory.create(declared, REQUIREMENT / 4, other, none());
        vm.assertEq(address(open), at(other, 0, declared), "another operator's first");
        vm.assertTrue(at(other, 0, registration(2, other)) != address(open), "of another registration");
    }

    function test_aStakeOfSeveralWhoseKeyWasRegisteredSinceIsRefusedAndComesBack() public {
        register(1);
        vm.prank(operator);
        staking.requestExit(1);
        vm.warp(block.timestamp + 30 days);
        staking.escape(1);
        contribute(2, REQUIREMENT * 3 / 4);
        vm.expectRevert(NodeSet.BadProofOfPossession.selector);
        vm.prank(operator);
        open.finalise();
        vm.prank(operator);
        open.cancel();
        vm.assertEq(token.balanceOf(vm.addr(2)), REQUIREMENT, "refunded");
    }

    function fillAndFinalise() private {
        contribute(2, 12_750 * SESH);
        contribute(3, 6_000 * SESH);
        vm.prank(operator);
        open.finalise();
    }

    /// @dev Nothing more can be done.
    function closed(Contribution.Status status) private {
        bytes memory why = abi.encodeWithSelector(Contribution.WrongStatus.selector, status);
        refuse(3, 1, why);
        vm.expectRevert(why);
        vm.prank(vm.addr(2));
        open.withdraw();
        vm.expectRevert(why);
        vm.prank(operator);
        open.cancel();
        vm.expectRevert(why);
        vm.prank(operator);
        open.finalise();
        vm.expectRevert(why);
        vm.prank(operator);
        open.reserve(none());
        vm.expectRevert(why);
        vm.prank(operator);
        open.changeBeneficiary(operator);
    }

    function at(address by, uint256 number, Registration memory declared) private view returns (address) {
        bytes32 salt = keccak256(abi.encode(by, number, declared));
        return Clones.predictDeterministicAddress(address(factory.implementation()), salt, address(factory));
    }

    function purse(uint256 secret) private returns (address account) {
        account = vm.addr(secret);
        token.transfer(account, REQUIREMENT - token.balanceOf(account));
        vm.prank(account);
        token.approve(address(factory), type(uint256).max);
    }

    function create(uint256 amount, Reservation[] memory reserved) private returns (Contribution) {
        Registration memory declared = registration(1, operator);
        purse(1);
        vm.prank(operator);
        return factory.create(declared, amount, operator, reserved);
    }

    function contribute(uint256 secret, uint256 amount) private {
        allow(secret);
        vm.prank(vm.addr(secret));
        open.contribute(amount, vm.addr(secret));
    }

    function refuse(uint256 secret, uint256 amount, bytes memory why) private {
        allow(secret);
        vm.expectRevert(why);
        vm.prank(vm.addr(secret));
        open.contribute(amount, vm.addr(secret));
    }

    function allow(uint256 secret) private {
        if (token.balanceOf(vm.addr(secret)) == 0) purse(secret);
        vm.prank(vm.addr(secret));
        token.approve(address(open), type(uint256).max);
    }

    function refuseReserving(Reservation[] memory reserved, bytes memory why) private {
        vm.expectRevert(why);
        vm.prank(operator);
        open.reserve(reserved);
    }

    function none() private pure returns (Reservation[] memory) {
        return new Reservation[](0);
    }

    function one(address account, uint256 amount) private pure returns (Reservation[] memory reserved) {
        reserved = new Reservation[](1);
        reserved[0] = Reservation(account, amount);
    }
}
