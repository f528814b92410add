// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {Bls} from "../src/libraries/Bls.sol";
import {NodeSet} from "../src/staking/NodeSet.sol";
import {Staking} from "../src/staking/Staking.sol";
import {IContributions, IStates, Permit, Registration, Share} from "../src/staking/StakingTypes.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Setup} from "./Setup.sol";

contract SaysYes is IContributions {
    function isContribution(address) external pure returns (bool) {
        return true;
    }
}

contract RegistrationTest is Setup {
    address private operator;
    Registration private declared;

    function setUp() public override {
        super.setUp();
        operator = operatorOf(1);
        declared = registration(1, operator);
    }

    function test_aRegistrationTakesTheStakeAndRecordsIt() public {
        vm.prank(operator);
        uint64 id = staking.register(declared, address(0xbe));
        vm.assertEq(id, 1, "ids count from 1");
        vm.assertEq(token.balanceOf(address(staking)), REQUIREMENT, "the stake is held");
        (address[] memory contributors, uint256[] memory amounts) = staking.sharesOf(id);
        vm.assertEq(contributors[0], operator, "whose it is");
        vm.assertEq(amounts[0], REQUIREMENT, "how much it is");
        vm.assertEq(staking.keyOf(id), declared.blsKey, "its key");
        vm.assertEq(staking.aggregateKey(), declared.blsKey, "the sum of one key");
        (uint64 holder, uint64 registrations) = staking.keys(keccak256(declared.blsKey));
        vm.assertEq(holder, id, "who holds the key");
        vm.assertEq(registrations, 1, "how often it was registered");
    }

    function test_aPermitStandsForAnApproval() public {
        vm.prank(operator);
        token.approve(address(staking), 0);
        Permit memory allowed = permit(1, address(staking), REQUIREMENT);
        vm.prank(operator);
        staking.registerWithPermit(declared, operator, allowed);
        vm.assertTrue(staking.isNode(1), "registered");
    }

    function test_aPermitThatSomebodyUsedBeforeDoesNoHarm() public {
        vm.prank(operator);
        token.approve(address(staking), 0);
        Permit memory allowed = permit(1, address(staking), REQUIREMENT);
        token.permit(
            operator, address(staking), allowed.value, allowed.deadline, allowed.v, allowed.r, allowed.s
        );
        vm.prank(operator);
        staking.registerWithPermit(declared, operator, allowed);
        vm.assertTrue(staking.isNode(1), "registered");
    }

    function test_withoutAnAllowanceNothingIsRegistered() public {
        vm.prank(operator);
        token.approve(address(staking), REQUIREMENT - 1);
        refused(abi.encodeWithSelector(SafeTransferLib.TransferFromFailed.selector));
        vm.assertEq(staking.nodeCount(), 0, "no node");
    }

    function test_anothersProofOfPossessionIsRefused() public {
        address thief = operatorOf(2);
        vm.expectRevert(NodeSet.BadProofOfPossession.selector);
        vm.prank(thief);
        staking.register(declared, thief);
    }

    function test_aProofOfAnotherKeyIsRefused() public {
        declared.proofOfPossession = BlsSigner.sign(2, staking.possessionMessage(operator, declared.blsKey));
        refused(abi.encodeWithSelector(NodeSet.BadProofOfPossession.selector));
    }

    function test_aProofForAnotherContractOrChainIsRefused() public {
        prove(block.chainid, address(this), 0);
        refused(abi.encodeWithSelector(NodeSet.BadProofOfPossession.selector));
        prove(block.chainid + 1, address(staking), 0);
        refused(abi.encodeWithSelector(NodeSet.BadProofOfPossession.selector));
        prove(block.chainid, address(staking), 0);
        vm.prank(operator);
        staking.register(declared, operator);
    }

    function test_aProofIsForOneRegistrationOfItsKey() public {
        prove(block.chainid, address(staking), 1);
        refused(abi.encodeWithSelector(NodeSet.BadProofOfPossession.selector));
        prove(block.chainid, address(staking), 0);
        vm.prank(operator);
        leave(staking.register(declared, operator));
        refused(abi.encodeWithSelector(NodeSet.BadProofOfPossession.selector));
        prove(block.chainid, address(staking), 1);
        vm.prank(operator);
        staking.register(declared, operator);
        (uint64 holder, uint64 registrations) = staking.keys(keccak256(declared.blsKey));
        vm.assertEq(holder, 2, "who holds the key");
        vm.assertEq(registrations, 2, "how often it was registered");
    }

    /// @dev Whether it used what the node's keys signed for it, or kept it.
    function test_aFormerOperatorCannotRegisterANodeAgainThatAnotherRegisteredSince() public {
        address another = operatorOf(2);
        address idle = operatorOf(3);
        Registration memory unused = registration(1, idle);
        vm.prank(operator);
        leave(staking.register(declared, operator));
        Registration memory next = registration(1, another);
        vm.prank(another);
        leave(staking.register(next, another));
        refused(abi.encodeWithSelector(NodeSet.BadProofOfPossession.selector));
        vm.expectRevert(NodeSet.BadProofOfPossession.selector);
        vm.prank(idle);
        staking.register(unused, idle);
    }

    function test_aKeyInUseIsRefusedUntilItsNodeIsGone() public {
        register(3);
        declared = registration(3, operator);
        refused(abi.encodeWithSelector(NodeSet.KeyInUse.selector, 1));
        vm.prank(vm.addr(3));
        staking.requestExit(1);
        vm.warp(block.timestamp + 30 days);
        staking.escape(1);
        vm.prank(operator);
        vm.assertEq(staking.register(declared, operator), 2, "with an id of its own");
    }

    function test_theKeyAtInfinityIsRefused() public {
        declared.blsKey = new bytes(96);
        declared.proofOfPossession = new bytes(192);
        refused(abi.encodeWithSelector(NodeSet.BadProofOfPossession.selector));
    }

    function test_keysThatAreNoPointsOfTheSubgroupAreRefused() public {
        bytes memory lowOrder = new bytes(96);
        lowOrder[95] = 0x02;
        bytes memory blinded = Bls.encode(BLS.add(Bls.key(declared.blsKey), Bls.key(lowOrder)));
        bytes memory offCurve = bytes.concat(declared.blsKey);
        offCurve[95] ^= 0x01;
        bytes[3] memory keys = [lowOrder, blinded, offCurve];
        for (uint256 i = 0; i < 3; ++i) {
            declared.blsKey = keys[i];
            declared.proofOfPossession = BlsSigner.sign(1, staking.possessionMessage(operator, keys[i]));
            refused(abi.encodeWithSelector(BLS.PairingFailed.selector));
        }
    }

    function test_keysAndProofsHaveTheirLength() public {
        Registration memory right = declared;
        declared.blsKey = bytes.concat(right.blsKey, hex"00");
        refused(abi.encodeWithSelector(Bls.BadLength.selector, 97, 96));
        declared.blsKey = right.blsKey;
        declared.proofOfPossession = new bytes(96);
        refused(abi.encodeWithSelector(Bls.BadLength.selector, 96, 192));
    }

    function test_aFeeOfMoreThanAllIsRefused() public {
        declared.fee = 10_001;
        refused(abi.encodeWithSelector(Staking.FeeOutOfRange.selector, 10_001, 10_000));
        declared.fee = 10_000;
        vm.prank(operator);
        staking.register(declared, operator);
    }

    function testFuzz_aPrefixIsOfAVersionThatIsKnown(bytes7 prefix) public {
        declared.prefix = prefix;
        bool four = prefix[0] == 0x04 && prefix[4] == 0 && prefix[5] == 0 && prefix[6] == 0;
        if (!four && prefix[0] != 0x06) refused(abi.encodeWithSelector(Staking.BadPrefix.selector, prefix));
    }

    function test_prefixes() public {
        declared.prefix = 0x04010203000001;
        refused(abi.encodeWithSelector(Staking.BadPrefix.selector, declared.prefix));
        declared.prefix = 0x04010203010000;
        refused(abi.encodeWithSelector(Staking.BadPrefix.selector, declared.prefix));
        declared.prefix = 0x06ffffffffffff;
        vm.prank(operator);
        staking.register(declared, operator);
    }

    function test_theBeneficiaryIsSomebody() public {
        vm.expectRevert(Staking.ZeroAddress.selector);
        vm.prank(operator);
        staking.register(declared, address(0));
    }

    function test_anEd25519KeyIsNobodysOnChain() public {
        bytes32 key = declared.ed25519Key;
        vm.prank(operator);
        staking.register(declared, operator);
        address other = operatorOf(2);
        declared = registration(2, other);
        declared.ed25519Key = key;
        vm.prank(other);
        staking.register(declared, other);
        vm.assertEq(staking.nodeCount(), 2, "the nodes tell which is real");
    }

    function test_onlyContributionsOfTheFactoryRegisterForSeveral() public {
        Share[] memory shares = new Share[](1);
        shares[0] = Share(operator, operator, REQUIREMENT);
        vm.expectRevert(abi.encodeWithSelector(Staking.NotAContribution.selector, operator));
        vm.prank(operator);
        staking.registerShared(declared, shares);
    }

    /// @dev As if this were a contribution with a bug: staking checks shares itself.
    function test_sharesOfSeveralAreChecked() public {
        staking = new Staking(
            address(this),
            address(token),
            address(pool),
            IStates(address(checkpoints)),
            new SaysYes(),
            GENESIS,
            EPOCH,
            REQUIREMENT,
            15 days,
            0
        );
        Share[] memory none = new Share[](0);
        vm.expectRevert(abi.encodeWithSelector(Staking.BadNumberOfShares.selector, 0, 10));
        staking.registerShared(declared, none);
        vm.expectRevert(abi.encodeWithSelector(Staking.BadNumberOfShares.selector, 11, 10));
        staking.registerShared(declared, new Share[](11));
        Share[] memory two = new Share[](2);
        two[0] = Share(operator, operator, REQUIREMENT / 4 - 1);
        two[1] = Share(address(2), address(2), REQUIREMENT * 3 / 4);
        vm.expectRevert(abi.encodeWithSelector(Staking.BadStake.selector, REQUIREMENT - 1, REQUIREMENT));
        staking.registerShared(declared, two);
        two[1].amount += 1;
        vm.expectRevert(
            abi.encodeWithSelector(
                Staking.OperatorShareTooSmall.selector, REQUIREMENT / 4 - 1, REQUIREMENT / 4
            )
        );
        staking.registerShared(declared, two);
        two[1].contributor = address(0);
        vm.expectRevert(Staking.ZeroAddress.selector);
        staking.registerShared(declared, two);
        two[1] = Share(address(2), address(2), type(uint256).max);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        staking.registerShared(declared, two);
    }

    /// @dev The declared key's proof, for what is named.
    function prove(uint256 chain, address at, uint64 registrations) private {
        bytes memory key = declared.blsKey;
        bytes memory message = abi.encodePacked("session-pop-1", chain, at, operator, registrations, key);
        declared.proofOfPossession = BlsSigner.sign(1, message);
    }

    /// @dev Takes a node of one out by the escape hatch.
    function leave(uint64 id) private {
        (address[] memory contributors,) = staking.sharesOf(id);
        vm.prank(contributors[0]);
        staking.requestExit(id);
        vm.warp(block.timestamp + 30 days);
        staking.escape(id);
        vm.prank(contributors[0]);
        token.approve(address(staking), REQUIREMENT);
    }

    function refused(bytes memory why) private {
        vm.expectRevert(why);
        vm.prank(operator);
        staking.register(declared, operator);
    }
}
