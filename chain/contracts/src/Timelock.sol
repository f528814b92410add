// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// The owner of the parameters, as OpenZeppelin wrote it: here so that it is built with the rest.
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
