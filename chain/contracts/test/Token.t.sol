// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1363} from "@openzeppelin/contracts/interfaces/IERC1363.sol";
import {ERC1363} from "@openzeppelin/contracts/token/ERC20/extensions/ERC1363.sol";
import {IGatewayRouter, IL1CustomGateway} from "../src/token/Arbitrum.sol";
import {BridgedSessionToken} from "../src/token/BridgedSessionToken.sol";
import {SessionToken} from "../src/token/SessionToken.sol";
import {Permit} from "../src/staking/StakingTypes.sol";
import {Setup} from "./Setup.sol";

/// @dev Arbitrum's two contracts in one, as far as they look at a token.
contract Bridge is IL1CustomGateway, IGatewayRouter {
    address public counterpart;
    address public gateway;
    uint256[2] public values;

    function registerTokenToL2(address l2Address, uint256 gas, uint256 price, uint256 cost, address back)
        external
        payable
        returns (uint256)
    {
        require(gas == 3 && price == 5 && cost == 1 && back == address(0xcb), "the gateway's costs");
        require(SessionToken(msg.sender).isArbitrumEnabled() == 0xb1, "not enabled");
        (counterpart, values[0]) = (l2Address, msg.value);
        return 1;
    }

    function setGateway(address gateway_, uint256 gas, uint256 price, uint256 cost, address back)
        external
        payable
        returns (uint256)
    {
        require(gas == 4 && price == 5 && cost == 2 && back == address(0xcb), "the router's costs");
        require(SessionToken(msg.sender).isArbitrumEnabled() == 0xb1, "not enabled");
        (gateway, values[1]) = (gateway_, msg.value);
        return 2;
    }
}

contract TokenTest is Setup {
    function test_whatItIs() public view {
        vm.assertEq(bytes(token.name()), "Session Token", "name");
        vm.assertEq(bytes(token.symbol()), "SESH", "symbol");
        vm.assertEq(token.decimals(), 9, "decimals");
        vm.assertEq(token.totalSupply(), 240_000_000 * SESH, "supply");
    }

    function test_aPermitIsUsedOnce() public {
        Permit memory allowed = permit(1, address(this), 5);
        address holder = vm.addr(1);
        token.permit(holder, address(this), 5, allowed.deadline, allowed.v, allowed.r, allowed.s);
        vm.assertEq(token.allowance(holder, address(this)), 5, "allowed");
        vm.expectRevert();
        token.permit(holder, address(this), 5, allowed.deadline, allowed.v, allowed.r, allowed.s);
    }

    /// @dev Who cannot tell what it is for is not paid.
    function test_aTransferThatCallsIsForContractsThatTakeIt() public {
        BridgedSessionToken bridged = new BridgedSessionToken(address(this), address(token));
        bridged.bridgeMint(address(this), 10);
        address[2] memory tokens = [address(token), address(bridged)];
        for (uint256 i = 0; i < 2; ++i) {
            ERC1363 one = ERC1363(tokens[i]);
            vm.assertTrue(one.supportsInterface(type(IERC1363).interfaceId), "ERC-1363");
            address[3] memory deaf = [vm.addr(1), address(staking), address(names)];
            for (uint256 j = 0; j < 3; ++j) {
                vm.expectRevert();
                one.transferAndCall(deaf[j], 5, "");
                vm.assertEq(one.balanceOf(deaf[j]), 0, "nothing");
            }
        }
    }

    function test_theRegistrarPairsItWithItsCounterpart() public {
        Bridge bridge = new Bridge();
        token = new SessionToken(address(this), address(0x9e), bridge, bridge);
        vm.expectRevert(
            abi.encodeWithSelector(SessionToken.NotRegistrar.selector, address(this), address(0x9e))
        );
        token.registerTokenOnL2{value: 130}(address(0x12), 1, 2, 3, 4, 5, 60, 70, address(0xcb));
        payable(address(0x9e)).transfer(1 ether);
        vm.prank(address(0x9e));
        vm.expectRevert(abi.encodeWithSelector(SessionToken.BadValue.selector, 129, 130));
        token.registerTokenOnL2{value: 129}(address(0x12), 1, 2, 3, 4, 5, 60, 70, address(0xcb));
        vm.prank(address(0x9e));
        token.registerTokenOnL2{value: 130}(address(0x12), 1, 2, 3, 4, 5, 60, 70, address(0xcb));
        vm.assertEq(bridge.counterpart(), address(0x12), "its counterpart");
        vm.assertEq(bridge.gateway(), address(bridge), "its gateway");
        vm.assertEq(bridge.values(0), 60, "what the gateway gets");
        vm.assertEq(bridge.values(1), 70, "what the router gets");
        vm.assertEq(token.isArbitrumEnabled(), 0, "only meanwhile");
    }

    function test_onlyTheGatewayMakesAndBurnsTheCounterpart() public {
        address gateway = address(0x9a);
        BridgedSessionToken bridged = new BridgedSessionToken(gateway, address(token));
        vm.assertEq(bridged.l1Address(), address(token), "whose counterpart it is");
        vm.assertEq(bridged.decimals(), 9, "decimals");
        vm.assertEq(bytes(bridged.symbol()), "SESH", "symbol");
        bytes memory why =
            abi.encodeWithSelector(BridgedSessionToken.NotGateway.selector, address(this), gateway);
        vm.expectRevert(why);
        bridged.bridgeMint(address(this), 1);
        vm.prank(gateway);
        bridged.bridgeMint(address(this), 7);
        vm.expectRevert(why);
        bridged.bridgeBurn(address(this), 1);
        vm.prank(gateway);
        bridged.bridgeBurn(address(this), 3);
        vm.assertEq(bridged.totalSupply(), 4, "what the gateway made");
        vm.assertTrue(bridged.DOMAIN_SEPARATOR() != 0, "it has permits");
    }
}
