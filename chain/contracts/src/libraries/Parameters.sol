// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Recorder} from "./EventLog.sol";

/// @title Numbers that the owner may change, within bounds that nobody may change
/// @notice The owner is a timelock. Nodes learn first values and changes from `ParameterChanged`.
abstract contract Parameters is Ownable2Step, Recorder {
    /// @notice The value of a parameter; a name is ASCII, filled with zeros at its end.
    mapping(bytes32 name => uint256) public parameter;

    /// @notice A parameter has a new value. Numbered.
    event ParameterChanged(uint64 indexed number, bytes32 indexed name, uint256 value);

    /// @notice There is no parameter of this name.
    error UnknownParameter(bytes32 name);
    /// @notice The value lies outside the parameter's bounds, which it may touch.
    error OutOfBounds(bytes32 name, uint256 value, uint256 least, uint256 most);

    constructor(address owner_) Ownable(owner_) {}

    /// @notice Changes a parameter. Only the owner may; reverts with `UnknownParameter` or `OutOfBounds`.
    function setParameter(bytes32 name, uint256 value) external onlyOwner {
        _setParameter(name, value);
    }

    /// @notice The least and the most that a parameter can be; reverts with `UnknownParameter`.
    function bounds(bytes32 name) public pure virtual returns (uint256 least, uint256 most);

    function _setParameter(bytes32 name, uint256 value) internal {
        (uint256 least, uint256 most) = bounds(name);
        if (value < least || value > most) revert OutOfBounds(name, value, least, most);
        _record(ParameterChanged.selector, name, abi.encode(value));
        parameter[name] = value;
    }
}
