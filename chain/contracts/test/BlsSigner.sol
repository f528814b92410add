// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";
import {Bls} from "../src/libraries/Bls.sol";

/// @title Keys and signatures, made with the precompiles
/// @dev The signature of several with secrets `a`, `b` is that of one with the secret `a + b`.
library BlsSigner {
    /// @dev The order of the groups.
    uint256 internal constant ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    function publicKey(uint256 secret) internal view returns (bytes memory) {
        BLS.G1Point[] memory points = new BLS.G1Point[](1);
        points[0] = Bls.negate(Bls.negativeGenerator());
        return Bls.encode(BLS.msm(points, _scalar(secret)));
    }

    function sign(uint256 secret, bytes memory message) internal view returns (bytes memory) {
        BLS.G2Point[] memory points = new BLS.G2Point[](1);
        points[0] = BLS.hashToG2(message);
        return encode(BLS.msm(points, _scalar(secret)));
    }

    function encode(BLS.G2Point memory point) internal pure returns (bytes memory encoded) {
        encoded = new bytes(192);
        assembly ("memory-safe") {
            mcopy(add(encoded, 0x50), add(point, 0x10), 0x30)
            mcopy(add(encoded, 0x20), add(point, 0x50), 0x30)
            mcopy(add(encoded, 0xb0), add(point, 0x90), 0x30)
            mcopy(add(encoded, 0x80), add(point, 0xd0), 0x30)
        }
    }

    function _scalar(uint256 secret) private pure returns (bytes32[] memory scalars) {
        scalars = new bytes32[](1);
        scalars[0] = bytes32(secret % ORDER);
    }
}
