// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Multicallable} from "solady/utils/Multicallable.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {RewardPool} from "../RewardPool.sol";
import {Parameters} from "../libraries/Parameters.sol";
import {Permit} from "../staking/StakingTypes.sol";
import {Tokens} from "../staking/Tokens.sol";
import {Market} from "./Market.sol";
import {Records} from "./Records.sol";
import {Registry} from "./Registry.sol";

/// @title Names
/// @notice Names as ERC-721 tokens. The id is `keccak256` of what Argon2id makes of a name; clients compute it, and
/// nothing here knows what a name is called. Several calls go in one transaction by `multicall`, with the allowance
/// by `permit` before what it pays. Amounts are in 10^-9 SESH.
contract Names is Records, Market, Multicallable {
    /// @notice What the treasury gets of fees, in basis points; the pool gets the rest.
    uint256 public constant TREASURY_BPS = 1_000;

    /// @notice Where most of the fees go.
    RewardPool public immutable pool;
    /// @notice Where the rest of the fees goes.
    address public treasury;

    /// @notice Fees are paid out. Not numbered.
    event FeesReleased(uint256 toPool, uint256 toTreasury);
    /// @notice There is another treasury. Not numbered.
    event TreasuryChanged(address treasury);

    /// @notice The pool has another token.
    error Miswired();
    /// @notice The treasury cannot be the zero address.
    error ZeroAddress();

    /// @param owner_ the timelock that may change parameters
    /// @param treasury_ where a tenth of the fees goes
    /// @param yearlyFee the first value of `yearlyFee`
    /// @param minimumOffer the first value of `minimumOffer`
    constructor(
        address owner_,
        address token_,
        RewardPool pool_,
        address treasury_,
        uint64 genesis_,
        uint64 epochSeconds_,
        uint256 yearlyFee,
        uint256 minimumOffer
    ) Registry(owner_, token_, genesis_, epochSeconds_) {
        if (pool_.token() != token_) revert Miswired();
        pool = pool_;
        _setTreasury(treasury_);
        _setParameter(YEARLY_FEE, yearlyFee);
        _setParameter(MINIMUM_OFFER, minimumOffer);
    }

    /// @notice Lets this contract take the caller's tokens, by signature; to begin a `multicall` with.
    function permit(Permit calldata given) external {
        Tokens.permit(token, given);
    }

    /// @notice Pays out all fees: nine tenths to the pool, one to the treasury; anyone may.
    function releaseFees() external {
        uint256 toTreasury = uint256(fees) * TREASURY_BPS / 10_000;
        uint256 toPool = fees - toTreasury;
        fees = 0;
        emit FeesReleased(toPool, toTreasury);
        SafeTransferLib.safeTransfer(token, address(pool), toPool);
        SafeTransferLib.safeTransfer(token, treasury, toTreasury);
    }

    /// @notice Names another treasury. Only the owner may; reverts with `ZeroAddress`.
    function setTreasury(address treasury_) external onlyOwner {
        _setTreasury(treasury_);
    }

    /// @inheritdoc Parameters
    function bounds(bytes32 name) public pure override returns (uint256 least, uint256 most) {
        if (name == YEARLY_FEE || name == MINIMUM_OFFER) return (1e9, 1_000e9);
        revert UnknownParameter(name);
    }

    function _setTreasury(address treasury_) private {
        if (treasury_ == address(0)) revert ZeroAddress();
        treasury = treasury_;
        emit TreasuryChanged(treasury_);
    }
}
