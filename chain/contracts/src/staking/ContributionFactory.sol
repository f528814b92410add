// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {Contribution, Reservation} from "./Contribution.sol";
import {IContributions, IStaking, Permit, Registration} from "./StakingTypes.sol";
import {Tokens} from "./Tokens.sol";

/// @title Makes the contributions through which several stake one node
/// @notice Each is an ERC-1167 clone of one implementation. Staking takes nodes of several from these alone.
/// Where one is follows from this contract's address and what it is for, so nobody has to be believed that tells it:
/// by `CREATE2`, with the salt `keccak256(abi.encode(operator, number, registration))`.
contract ContributionFactory is IContributions {
    /// @notice The token that is staked.
    address public immutable token;
    /// @notice What is cloned.
    Contribution public immutable implementation;

    /// @inheritdoc IContributions
    mapping(address account => bool) public isContribution;
    /// @notice How many contributions an operator opened.
    mapping(address operator => uint256) public opened;

    /// @notice A contribution is open. `number` is how many its operator opened before.
    event Created(
        Contribution indexed contribution,
        address indexed operator,
        bytes32 indexed ed25519Key,
        uint256 number
    );

    /// @notice The staking contract was deployed for another factory, or for another token.
    error Miswired();

    /// @param staking_ was deployed before, for the address that this one has
    constructor(address token_, IStaking staking_) {
        if (address(staking_.contributions()) != address(this) || staking_.token() != token_) {
            revert Miswired();
        }
        token = token_;
        implementation = new Contribution(token_, staking_);
    }

    /// @notice Opens a contribution for the caller's node, with the caller's own stake, which it allowed this
    /// contract to take. Reverts as `Contribution.open` does, or as the token says.
    /// @param amount the caller's own stake, at least a quarter
    /// @param beneficiary who gets the rewards of it
    /// @param reserved slots for others
    function create(
        Registration calldata registration,
        uint256 amount,
        address beneficiary,
        Reservation[] calldata reserved
    ) public returns (Contribution contribution) {
        uint256 number = opened[msg.sender]++;
        bytes32 salt = keccak256(abi.encode(msg.sender, number, registration));
        contribution = Contribution(Clones.cloneDeterministic(address(implementation), salt));
        isContribution[address(contribution)] = true;
        emit Created(contribution, msg.sender, registration.ed25519Key, number);
        contribution.open(msg.sender, registration, amount, beneficiary, reserved);
        SafeTransferLib.safeTransferFrom(token, msg.sender, address(contribution), amount);
    }

    /// @notice As `create`, with the allowance by signature.
    function createWithPermit(
        Registration calldata registration,
        uint256 amount,
        address beneficiary,
        Reservation[] calldata reserved,
        Permit calldata permit
    ) external returns (Contribution contribution) {
        Tokens.permit(token, permit);
        return create(registration, amount, beneficiary, reserved);
    }
}
