// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {Staking} from "../staking/Staking.sol";
import {Registration} from "../staking/StakingTypes.sol";
import {Loan} from "./Loan.sol";

/// @title Stakes that the faucet of a test network lends
/// @notice Holds the tokens that its owner sends here, and stakes them for others: what it lends cannot be handed on,
/// and comes back when the node has left. Who lends is another than the owner: its key lies on a machine that answers
/// strangers, and moves no token anywhere but into a node's stake. Each stake is held by a `Loan`, an ERC-1167 clone,
/// which is the node's operator to `Staking`, so no two lent nodes have one operator. A node's keys sign for that
/// address before it is there: it follows by `CREATE2` from the salt
/// `keccak256(abi.encode(operator, ed25519Key, number))`, where `number` is how often that key was lent a stake before.
contract Vault {
    /// @notice The token that is staked.
    address public immutable token;
    /// @notice Where nodes are registered.
    Staking public immutable staking;
    /// @notice Who says who lends, lets lent nodes leave, and may take out what is not lent.
    address public immutable owner;
    /// @notice What is cloned.
    Loan public immutable implementation;

    /// @notice Who lends, and may do nothing else; zero while nobody does.
    address public lender;
    /// @notice The loan that registered a node; zero for a node of others. It stays when the node has left.
    mapping(uint64 id => Loan) public loanOf;
    /// @notice How often a node's key was lent a stake.
    mapping(bytes32 ed25519Key => uint256) public timesLent;

    /// @notice A node is registered with a stake that is lent to its operator.
    event Lent(Loan indexed loan, address indexed operator, bytes32 indexed ed25519Key, uint64 id);
    /// @notice Another lends from here on.
    event LenderChanged(address lender);

    /// @notice The staking contract takes another token.
    error Miswired();
    /// @notice Only the vault's owner may.
    error NotVaultOwner(address caller);
    /// @notice Only who lends may.
    error NotLender(address caller);
    /// @notice The vault has less than is wanted.
    error VaultEmpty(uint256 has, uint256 wanted);

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotVaultOwner(msg.sender);
        _;
    }

    constructor(address token_, Staking staking_, address owner_, address lender_) {
        if (staking_.token() != token_) revert Miswired();
        (token, staking, owner, lender) = (token_, staking_, owner_, lender_);
        implementation = new Loan(token_, staking_, owner_);
    }

    /// @notice Registers a node with a stake from here, whose rewards go to `operator`. Only the lender may. Reverts
    /// with `NotLender`, `VaultEmpty`, and as `Staking.register` does.
    /// @param registration what the node's keys signed for the operator `loanFor(operator, ed25519Key)`
    /// @param operator whom the stake is lent to
    function lend(Registration calldata registration, address operator)
        external
        returns (Loan loan, uint64 id)
    {
        if (msg.sender != lender) revert NotLender(msg.sender);
        uint256 stake = staking.parameter("stakingRequirement");
        _check(stake);
        bytes32 key = registration.ed25519Key;
        bytes32 salt = _salt(operator, key, timesLent[key]++);
        loan = Loan(Clones.cloneDeterministic(address(implementation), salt));
        SafeTransferLib.safeTransfer(token, address(loan), stake);
        id = loan.open(operator, registration, stake);
        loanOf[id] = loan;
        emit Lent(loan, operator, key, id);
    }

    /// @notice Takes tokens out that are not lent, to the owner. Only the owner may. Reverts with `NotVaultOwner`,
    /// `VaultEmpty`.
    function withdraw(uint256 amount) external onlyOwner {
        _check(amount);
        SafeTransferLib.safeTransfer(token, owner, amount);
    }

    /// @notice Names who lends from here on; zero for nobody. Only the owner may. Reverts with `NotVaultOwner`.
    function setLender(address lender_) external onlyOwner {
        lender = lender_;
        emit LenderChanged(lender_);
    }

    /// @notice Where the next loan for a node's key will be, if it is lent to `operator`.
    function loanFor(address operator, bytes32 ed25519Key) external view returns (address) {
        bytes32 salt = _salt(operator, ed25519Key, timesLent[ed25519Key]);
        return Clones.predictDeterministicAddress(address(implementation), salt);
    }

    /// @notice The loans of some nodes and whom they were made to, in the order of the ids; zero for nodes of others.
    function loansOf(uint64[] calldata ids)
        external
        view
        returns (Loan[] memory loans, address[] memory operators)
    {
        (loans, operators) = (new Loan[](ids.length), new address[](ids.length));
        for (uint256 i = 0; i < ids.length; ++i) {
            Loan loan = loanOf[ids[i]];
            if (address(loan) != address(0)) (loans[i], operators[i]) = (loan, loan.operator());
        }
    }

    function _check(uint256 wanted) private view {
        uint256 has = SafeTransferLib.balanceOf(token, address(this));
        if (has < wanted) revert VaultEmpty(has, wanted);
    }

    function _salt(address operator, bytes32 ed25519Key, uint256 number) private pure returns (bytes32) {
        return keccak256(abi.encode(operator, ed25519Key, number));
    }
}
