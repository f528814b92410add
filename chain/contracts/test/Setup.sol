// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {RewardPool} from "../src/RewardPool.sol";
import {Checkpoint, Checkpoints, Signers} from "../src/checkpoints/Checkpoints.sol";
import {Names} from "../src/names/Names.sol";
import {IGatewayRouter, IL1CustomGateway} from "../src/token/Arbitrum.sol";
import {SessionToken} from "../src/token/SessionToken.sol";
import {ContributionFactory} from "../src/staking/ContributionFactory.sol";
import {Staking} from "../src/staking/Staking.sol";
import {IContributions, IStaking, IStates, Permit, Registration} from "../src/staking/StakingTypes.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Merkle} from "./Merkle.sol";
import {Vm} from "./Vm.sol";

/// @title All contracts, deployed and wired as in production, and what tests do with them
abstract contract Setup {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant SESH = 1e9;
    uint256 internal constant REQUIREMENT = 25_000 * SESH;
    uint64 internal constant GENESIS = 1_700_000_000;
    uint64 internal constant EPOCH = 1 hours;
    uint256 internal constant TIMELOCK_DELAY = 2 days;
    address internal constant GUARDIAN = address(0x6a);
    address internal constant TREASURY = address(0x7e);
    uint256 internal constant YEARLY_FEE = 10 * SESH;
    uint256 internal constant MINIMUM_OFFER = 10 * SESH;

    SessionToken internal token;
    TimelockController internal timelock;
    RewardPool internal pool;
    Staking internal staking;
    Checkpoints internal checkpoints;
    ContributionFactory internal factory;
    Names internal names;

    function setUp() public virtual {
        vm.warp(GENESIS);
        uint64 nonce = vm.getNonce(address(this));
        address stakingAt = vm.computeCreateAddress(address(this), nonce + 3);
        address checkpointsAt = vm.computeCreateAddress(address(this), nonce + 5);
        address factoryAt = vm.computeCreateAddress(address(this), nonce + 6);

        token = new SessionToken(
            address(this), address(this), IL1CustomGateway(address(0)), IGatewayRouter(address(0))
        );
        address[] memory governors = new address[](1);
        governors[0] = address(this);
        timelock = new TimelockController(TIMELOCK_DELAY, governors, governors, address(0));
        pool = new RewardPool(address(token), checkpointsAt, GENESIS, EPOCH);
        staking = new Staking(
            address(timelock),
            address(token),
            address(pool),
            IStates(checkpointsAt),
            IContributions(factoryAt),
            GENESIS,
            EPOCH,
            REQUIREMENT,
            15 days,
            1_000
        );
        names = new Names(
            address(timelock), address(token), pool, TREASURY, GENESIS, EPOCH, YEARLY_FEE, MINIMUM_OFFER
        );
        checkpoints = new Checkpoints(
            address(timelock),
            GUARDIAN,
            address(token),
            pool,
            staking,
            names,
            GENESIS,
            EPOCH,
            4,
            1 * SESH,
            1 days
        );
        factory = new ContributionFactory(address(token), IStaking(address(staking)));
        require(address(staking) == stakingAt && address(checkpoints) == checkpointsAt, "wired wrongly");
        require(address(factory) == factoryAt, "wired wrongly");
        token.transfer(address(pool), 40_000_000 * SESH);
    }

    // What people do.

    /// @dev The operator of the node with this secret key, with a full purse, and with staking allowed.
    function operatorOf(uint256 secret) internal returns (address operator) {
        operator = vm.addr(secret);
        token.transfer(operator, REQUIREMENT);
        vm.prank(operator);
        token.approve(address(staking), REQUIREMENT);
    }

    function registration(uint256 secret, address operator) internal view returns (Registration memory) {
        bytes memory key = BlsSigner.publicKey(secret);
        return Registration({
            ed25519Key: keccak256(abi.encode("ed25519", secret)),
            signatureR: keccak256("r"),
            signatureS: keccak256("s"),
            prefix: bytes7(bytes.concat(hex"04", bytes3(uint24(secret)), hex"000000")),
            fee: 1_000,
            blsKey: key,
            proofOfPossession: BlsSigner.sign(secret, staking.possessionMessage(operator, key))
        });
    }

    function register(uint256 secret) internal returns (uint64 id) {
        address operator = operatorOf(secret);
        Registration memory declared = registration(secret, operator);
        vm.prank(operator);
        return staking.register(declared, operator);
    }

    /// @dev Registers nodes with the secrets 1 to `count`; they get the ids 1 to `count`.
    function registerMany(uint256 count) internal {
        for (uint256 secret = 1; secret <= count; ++secret) {
            register(secret);
        }
    }

    function permit(uint256 secret, address spender, uint256 value) internal view returns (Permit memory) {
        address holder = vm.addr(secret);
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        uint256 deadline = block.timestamp + 1 hours;
        bytes32 content =
            keccak256(abi.encode(typeHash, holder, spender, value, token.nonces(holder), deadline));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), content));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(secret, digest);
        return Permit(value, deadline, v, r, s);
    }

    // What nodes do.

    /// @dev Goes to the first second after the border of `epoch`.
    function passBorder(uint64 epoch) internal {
        vm.warp(GENESIS + (epoch + 1) * EPOCH);
    }

    function checkpoint(uint64 epoch, bytes32 rewardsRoot, bytes32 statesRoot)
        internal
        view
        returns (Checkpoint memory)
    {
        return Checkpoint({
            epoch: epoch,
            borderBlockHash: keccak256(abi.encode(epoch)),
            previousDigest: epoch == checkpoints.nextEpoch()
                ? checkpoints.lastDigest()
                : keccak256("skipped"),
            rewardsRoot: rewardsRoot,
            statesRoot: statesRoot,
            swarmsRoot: keccak256("swarms"),
            directoryRoot: keccak256("directory"),
            namesRoot: keccak256("names")
        });
    }

    /// @dev Signers of which the secrets of all that sign add up to `secrets`.
    function signed(Checkpoint memory content, uint64 nodes, bytes memory absent, uint256 secrets)
        internal
        view
        returns (Signers memory)
    {
        bytes memory signature = BlsSigner.sign(secrets, abi.encodePacked(checkpoints.digest(content)));
        return Signers(staking.aggregateKey(), nodes, absent, signature);
    }

    /// @dev The checkpoint of the epoch before, signed by all of the nodes 1 to `count`.
    function submitAll(uint256 count, bytes32 rewardsRoot, bytes32 statesRoot) internal {
        Checkpoint memory content = checkpoint(staking.currentEpoch() - 1, rewardsRoot, statesRoot);
        Signers memory all = signed(content, uint64(count), "", count * (count + 1) / 2);
        checkpoints.submit(content, all);
    }

    function leaves(bytes32 first) internal pure returns (bytes32[] memory all) {
        all = new bytes32[](1);
        all[0] = first;
    }

    function leaves(bytes32 first, bytes32 second) internal pure returns (bytes32[] memory all) {
        all = new bytes32[](2);
        (all[0], all[1]) = (first, second);
    }

    /// @dev Ids as `Signers.absent` has them.
    function ids(uint32 first) internal pure returns (bytes memory) {
        return abi.encodePacked(first);
    }

    function ids(uint32 first, uint32 second) internal pure returns (bytes memory) {
        return abi.encodePacked(first, second);
    }
}
