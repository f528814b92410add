// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLS} from "solady/utils/ext/ithaca/BLS.sol";

/// @title BLS12-381 signatures with keys in G1, over the precompiles of EIP-2537
/// @notice Outside the precompiles a key is `x ‖ y` (96 bytes) and a signature `x.c1 ‖ x.c0 ‖ y.c1 ‖ y.c0`
/// (192 bytes), as common libraries write uncompressed points; 48 bytes a coordinate, big endian.
library Bls {
    uint256 internal constant KEY_BYTES = 96;
    uint256 internal constant SIGNATURE_BYTES = 192;

    /// @dev The field's modulus, its upper 16 and lower 32 bytes.
    uint256 private constant P_UPPER = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LOWER = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    /// @notice The bytes are not as long as a key or a signature.
    error BadLength(uint256 length, uint256 wanted);

    /// @dev Reads a key. Whether it is a point of the curve and the subgroup shows in `verify`.
    function key(bytes memory encoded) internal pure returns (BLS.G1Point memory point) {
        if (encoded.length != KEY_BYTES) revert BadLength(encoded.length, KEY_BYTES);
        assembly ("memory-safe") {
            mcopy(add(point, 0x10), add(encoded, 0x20), 0x30)
            mcopy(add(point, 0x50), add(encoded, 0x50), 0x30)
        }
    }

    /// @dev Writes a point as `key` reads it.
    function encode(BLS.G1Point memory point) internal pure returns (bytes memory encoded) {
        encoded = new bytes(KEY_BYTES);
        assembly ("memory-safe") {
            mcopy(add(encoded, 0x20), add(point, 0x10), 0x30)
            mcopy(add(encoded, 0x50), add(point, 0x50), 0x30)
        }
    }

    /// @dev Reads a signature; see `key`.
    function signature(bytes memory encoded) internal pure returns (BLS.G2Point memory point) {
        if (encoded.length != SIGNATURE_BYTES) revert BadLength(encoded.length, SIGNATURE_BYTES);
        assembly ("memory-safe") {
            mcopy(add(point, 0x10), add(encoded, 0x50), 0x30)
            mcopy(add(point, 0x50), add(encoded, 0x20), 0x30)
            mcopy(add(point, 0x90), add(encoded, 0xb0), 0x30)
            mcopy(add(point, 0xd0), add(encoded, 0x80), 0x30)
        }
    }

    /// @dev The point that adds up to infinity with this one.
    function negate(BLS.G1Point memory point) internal pure returns (BLS.G1Point memory) {
        if (isInfinity(point)) return point;
        (uint256 upper, uint256 lower) = (uint256(point.y_a), uint256(point.y_b));
        unchecked {
            uint256 borrow = lower > P_LOWER ? 1 : 0;
            return
                BLS.G1Point(point.x_a, point.x_b, bytes32(P_UPPER - upper - borrow), bytes32(P_LOWER - lower));
        }
    }

    /// @dev Infinity is written as zeros. It is nobody's key: it would verify infinity as a signature of anything.
    function isInfinity(BLS.G1Point memory point) internal pure returns (bool) {
        return point.x_a | point.x_b | point.y_a | point.y_b == 0;
    }

    /// @dev Whether `sig` is the signature of `message` by `pubkey`. Reverts if a point is not of its curve and
    /// subgroup; false for the key at infinity.
    function verify(BLS.G1Point memory pubkey, bytes memory message, BLS.G2Point memory sig)
        internal
        view
        returns (bool)
    {
        if (isInfinity(pubkey)) return false;
        BLS.G1Point[] memory g1 = new BLS.G1Point[](2);
        BLS.G2Point[] memory g2 = new BLS.G2Point[](2);
        (g1[0], g2[0]) = (negativeGenerator(), sig);
        (g1[1], g2[1]) = (pubkey, BLS.hashToG2(message));
        return BLS.pairing(g1, g2);
    }

    /// @dev The generator of G1, negated.
    function negativeGenerator() internal pure returns (BLS.G1Point memory) {
        return BLS.G1Point(
            bytes32(uint256(0x17f1d3a73197d7942695638c4fa9ac0f)),
            0xc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb,
            bytes32(uint256(0x114d1d6855d545a8aa7d76c8cf2e21f2)),
            0x67816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca
        );
    }
}
