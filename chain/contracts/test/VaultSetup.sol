// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Loan} from "../src/faucet/Loan.sol";
import {Vault} from "../src/faucet/Vault.sol";
import {Registration} from "../src/staking/StakingTypes.sol";
import {Setup} from "./Setup.sol";

/// @title A faucet's vault with the stakes of ten nodes, and what a faucet and the vault's owner do with it
abstract contract VaultSetup is Setup {
    address internal constant PUBLISHER = address(0xf0);
    address internal constant FAUCET = address(0xfa);
    uint256 internal constant STAKES = 10;

    Vault internal vault;

    function setUp() public virtual override {
        super.setUp();
        vault = new Vault(address(token), staking, PUBLISHER, FAUCET);
        token.transfer(address(vault), STAKES * REQUIREMENT);
    }

    /// @dev What the keys of the node with this secret sign for its next loan.
    function candidate(uint256 secret, address operator) internal view returns (Registration memory) {
        return registration(secret, vault.loanFor(operator, keyOf(secret)));
    }

    function lend(uint256 secret, address operator) internal returns (Loan loan, uint64 id) {
        Registration memory declared = candidate(secret, operator);
        vm.prank(FAUCET);
        return vault.lend(declared, operator);
    }

    /// @dev The Ed25519 key that `registration` has for a secret.
    function keyOf(uint256 secret) internal pure returns (bytes32) {
        return keccak256(abi.encode("ed25519", secret));
    }
}
