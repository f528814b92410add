// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Permit} from "../src/staking/StakingTypes.sol";
import {Setup} from "./Setup.sol";

/// @title What tests do with names
abstract contract NamesSetup is Setup {
    uint256 internal constant ALICES = 1;
    uint256 internal constant BOBS = 2;
    uint256 internal constant ALICE = uint256(keccak256(abi.encode(bytes32(keccak256("Argon2id of alice")))));
    bytes32 internal constant SECRET = keccak256("a secret");

    address internal alice;
    address internal bob;

    function setUp() public virtual override {
        super.setUp();
        (alice, bob) = (rich(ALICES), rich(BOBS));
    }

    /// @dev Somebody who has tokens and lets the names take as many as it wants.
    function rich(uint256 secret) internal returns (address account) {
        account = vm.addr(secret);
        token.transfer(account, 100_000 * SESH);
        vm.prank(account);
        token.approve(address(names), type(uint256).max);
    }

    /// @dev Commits to a registration and waits until it may be done.
    function commit(uint256 id, address owner) internal {
        names.commit(names.commitment(id, owner, SECRET));
        vm.warp(block.timestamp + names.MIN_COMMITMENT_AGE());
    }

    /// @dev Commits to and registers a name, which its owner pays; its version.
    function take(uint256 id, address owner, uint256 period) internal returns (uint32 version) {
        commit(id, owner);
        vm.prank(owner);
        names.register(id, period, SECRET, type(uint256).max);
        (,, version,) = names.nameOf(id);
    }

    function expiryOf(uint256 id) internal view returns (uint256 expiry) {
        (, expiry,,) = names.nameOf(id);
    }

    function versionOf(uint256 id) internal view returns (uint32 version) {
        (,, version,) = names.nameOf(id);
    }

    function subnamesOf(uint256 id) internal view returns (uint24 subnames) {
        (,,, subnames) = names.nameOf(id);
    }

    /// @dev Makes an offer for the present version that binds for some days.
    function offerFor(uint256 id, address buyer, uint256 amount, uint256 daysLong) internal {
        uint40 until = uint40(block.timestamp + daysLong * 1 days);
        uint32 version = versionOf(id);
        vm.prank(buyer);
        names.offer(id, version, uint96(amount), until);
    }

    function balance(address account) internal view returns (uint256) {
        return token.balanceOf(account);
    }

    function allows(uint256 secret, uint256 value) internal view returns (bytes memory) {
        Permit memory given = permit(secret, address(names), value);
        return abi.encodeCall(names.permit, (given));
    }

    function calls(bytes memory first, bytes memory second) internal pure returns (bytes[] memory all) {
        all = new bytes[](2);
        (all[0], all[1]) = (first, second);
    }
}
