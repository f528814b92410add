// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Loan} from "../src/faucet/Loan.sol";
import {Vault} from "../src/faucet/Vault.sol";
import {Staking} from "../src/staking/Staking.sol";
import {IContributions, IStates, Registration} from "../src/staking/StakingTypes.sol";
import {Merkle} from "./Merkle.sol";
import {VaultSetup} from "./VaultSetup.sol";

/// @title A faucet, its vault's owner, those it lends to, and a stranger: they do what they may, and try what they may
/// not
/// @dev Forge calls the functions that `moves` lists. The world stands for the checkpoints too: whatever states of
/// nodes a move needs are what the nodes said.
contract VaultWorld is VaultSetup, IStates {
    uint256 private constant KEYS = 12;
    uint256 private constant OPERATORS = 4;
    address public constant STRANGER = address(0x5e);

    /// @inheritdoc IStates
    bytes32 public statesRoot;

    /// @notice What was put into the vault, what its owner took out, and what penalties took.
    uint256 public given;
    uint256 public taken;
    uint256 public penalties;
    uint256 private requirement = REQUIREMENT;
    address private lender = FAUCET;

    /// @notice All loans that were made, and of each what it staked, and whether its node is there.
    Loan[] public loans;
    mapping(Loan loan => uint256) public staked;
    mapping(Loan loan => bool) public present;
    mapping(Loan loan => address) private borrower;
    mapping(Loan loan => uint256) private secretOf;
    mapping(Loan loan => uint256) private askedAt;
    mapping(Loan loan => uint256) private notedBps;
    mapping(uint256 secret => bool) private inUse;
    /// @notice What the vault should have.
    uint256 public expected;

    mapping(string move => uint256) public done;
    mapping(string move => uint256) public refused;

    function setUp() public override {
        super.setUp();
        staking = new Staking(
            address(this),
            address(token),
            address(pool),
            this,
            IContributions(address(factory)),
            GENESIS,
            EPOCH,
            REQUIREMENT,
            15 days,
            1_000
        );
        vault = new Vault(address(token), staking, PUBLISHER, FAUCET);
        this.put(STAKES / 2 * REQUIREMENT);
    }

    function moves() public pure returns (bytes4[] memory all) {
        all = new bytes4[](13);
        (all[0], all[1], all[2]) = (this.lend.selector, this.requestExit.selector, this.release.selector);
        (all[3], all[4], all[5]) = (this.escape.selector, this.note.selector, this.giveBack.selector);
        (all[6], all[7], all[8]) = (this.withdraw.selector, this.put.selector, this.redirect.selector);
        (all[9], all[10], all[11]) = (this.steal.selector, this.setRequirement.selector, this.wait.selector);
        all[12] = this.setLender.selector;
    }

    /// @dev Of eight: one is tried with what was signed for somebody else, one by who it is lent to, one by the owner, one
    /// by the faucet, whoever lends now.
    function lend(uint256 who, uint256 key, uint256 flaw) external {
        (address operator, uint256 secret) = (operatorOf_(who), 1 + key % KEYS);
        flaw %= 8;
        Registration memory declared = candidate(secret, flaw == 0 ? STRANGER : operator);
        address caller = flaw == 1 ? operator : flaw == 2 ? PUBLISHER : FAUCET;
        if (flaw > 3 && lender != address(0)) caller = lender;
        bool allowed = flaw != 0 && caller == lender && !inUse[secret] && expected >= requirement;
        bytes memory call = abi.encodeCall(vault.lend, (declared, operator));
        (bool ok, bytes memory made) = attempt("lend", caller, address(vault), call, allowed);
        if (!ok) return;
        (Loan loan,) = abi.decode(made, (Loan, uint64));
        loans.push(loan);
        (staked[loan], present[loan], borrower[loan]) = (requirement, true, operator);
        (secretOf[loan], inUse[secret]) = (secret, true);
        expected -= requirement;
    }

    function requestExit(uint256 which, uint256 who) external {
        if (loans.length == 0) return;
        (Loan loan, address caller) = (pick(which), anybody(which, who));
        bool allowed = caller == borrower[loan] || caller == PUBLISHER;
        allowed = allowed && present[loan] && askedAt[loan] == 0;
        bytes memory call = abi.encodeCall(loan.requestExit, ());
        (bool ok,) = attempt("requestExit", caller, address(loan), call, allowed);
        if (ok) askedAt[loan] = block.timestamp;
    }

    /// @dev Of four times: twice no checkpoint has it so, once one releases it with a penalty, once one refuses what it
    /// was registered with.
    function release(uint256 which, uint256 bps) external {
        if (loans.length == 0) return;
        (Loan loan, uint8 state) = (pick(which), bps % 4 == 0 ? 5 : 4);
        uint16 penaltyBps = uint16(bps % 3_000);
        bytes32[] memory proof = agree(loan, state, bps);
        bool allowed = present[loan] && bps % 4 < 2;
        if (!allowed) statesRoot = 0;
        bytes memory call = abi.encodeCall(staking.release, (loan.id(), state, penaltyBps, proof));
        (bool ok,) = attempt("release", STRANGER, address(staking), call, allowed);
        if (ok) removed(loan, state == 5 ? 0 : penaltyBps);
    }

    function escape(uint256 which) external {
        if (loans.length == 0) return;
        Loan loan = pick(which);
        uint256 opens = askedAt[loan] + 30 days;
        if (which % 2 == 0 && askedAt[loan] != 0 && block.timestamp < opens) vm.warp(opens);
        bool allowed = present[loan] && askedAt[loan] != 0 && block.timestamp >= opens;
        bytes memory call = abi.encodeCall(staking.escape, (loan.id()));
        (bool ok,) = attempt("escape", STRANGER, address(staking), call, allowed);
        if (ok) removed(loan, notedBps[loan]);
    }

    function note(uint256 which, uint256 bps) external {
        if (loans.length == 0) return;
        Loan loan = pick(which);
        uint16 penaltyBps = uint16(bps % 3_000);
        bytes memory call =
            abi.encodeCall(staking.notePenalty, (loan.id(), 3, penaltyBps, agree(loan, 3, bps)));
        (bool ok,) = attempt("note", STRANGER, address(staking), call, present[loan]);
        if (ok) notedBps[loan] = penaltyBps;
    }

    /// @dev Of anybody, at any time.
    function giveBack(uint256 which, uint256 who) external {
        if (loans.length == 0) return;
        Loan loan = pick(which);
        uint256 held = token.balanceOf(address(loan));
        bytes memory call = abi.encodeCall(loan.giveBack, ());
        attempt(
            held == 0 ? "giveBack of nothing" : "giveBack", anybody(which, who), address(loan), call, true
        );
        expected += held;
    }

    /// @dev Rarely all.
    function withdraw(uint256 amount, uint256 who) external {
        address caller = who % 4 == 0 ? anybody(amount, who / 4) : PUBLISHER;
        amount = amount % 8 == 0 ? expected + 1 : amount % 8 == 1 ? expected : amount % requirement;
        bool allowed = caller == PUBLISHER && amount <= expected;
        (bool ok,) =
            attempt("withdraw", caller, address(vault), abi.encodeCall(vault.withdraw, (amount)), allowed);
        if (!ok) return;
        expected -= amount;
        taken += amount;
    }

    /// @dev Mostly the faucet; of eight once nobody, once a stranger.
    function setLender(uint256 which, uint256 who) external {
        address caller = who % 2 == 0 ? anybody(which, who / 2) : PUBLISHER;
        address named = which % 8 == 0 ? address(0) : which % 8 == 1 ? STRANGER : FAUCET;
        bytes memory call = abi.encodeCall(vault.setLender, (named));
        (bool ok,) = attempt("setLender", caller, address(vault), call, caller == PUBLISHER);
        if (ok) lender = named;
        vm.assertEq(vault.lender(), lender, "who lends");
    }

    /// @dev To the vault; of eight once to a loan, by mistake.
    function put(uint256 amount) external {
        if (token.balanceOf(address(this)) < 1_000 * requirement) return;
        bool stray = amount % 8 == 0 && loans.length != 0;
        amount = amount % (5 * requirement);
        token.transfer(stray ? address(pick(amount)) : address(vault), amount);
        given += amount;
        if (!stray) expected += amount;
        ++done["put"];
    }

    function redirect(uint256 which, uint256 who) external {
        if (loans.length == 0) return;
        (Loan loan, address caller) = (pick(which), anybody(which, who));
        bytes memory call = abi.encodeCall(loan.changeBeneficiary, (caller));
        attempt("redirect", caller, address(loan), call, caller == borrower[loan] && present[loan]);
    }

    /// @dev Whatever else might move a stake, by whoever it was lent to: nothing does.
    function steal(uint256 which, uint256 what) external {
        if (loans.length == 0) return;
        Loan loan = pick(which);
        (address thief, address target) = (borrower[loan], address(staking));
        bytes memory call = abi.encodeCall(staking.handOver, (loan.id(), thief));
        if (what % 4 == 1) call = abi.encodeCall(staking.requestExit, (loan.id()));
        if (what % 4 == 2) {
            (target, call) = (address(loan), abi.encodeCall(loan.open, (thief, candidate(99, thief), 0)));
        }
        if (what % 4 == 3) {
            uint256 held = token.balanceOf(address(loan));
            (target, call) =
            (address(token), abi.encodeCall(token.transferFrom, (address(loan), thief, held + 1)));
        }
        attempt("steal", thief, target, call, false);
    }

    function setRequirement(uint256 value) external {
        requirement = 100 * SESH + value % (2 * REQUIREMENT);
        staking.setParameter("stakingRequirement", requirement);
        ++done["setRequirement"];
    }

    function wait(uint256 time) external {
        vm.warp(block.timestamp + 1 + time % 12 days);
    }

    /// @dev Every node goes, and every loan gives back.
    function everybodyLeaves() external {
        uint256 opens = block.timestamp + 30 days;
        for (uint256 i = 0; i < loans.length; ++i) {
            if (!present[loans[i]] || askedAt[loans[i]] != 0) continue;
            vm.prank(PUBLISHER);
            loans[i].requestExit();
            askedAt[loans[i]] = block.timestamp;
        }
        vm.warp(opens);
        for (uint256 i = 0; i < loans.length; ++i) {
            Loan loan = loans[i];
            if (present[loan]) {
                staking.escape(loan.id());
                removed(loan, notedBps[loan]);
            }
            expected += loan.giveBack();
        }
    }

    function everything() external view returns (address, address, address, address) {
        return (address(token), address(staking), address(vault), address(pool));
    }

    /// @notice Who owns the vault.
    function owner() external pure returns (address) {
        return PUBLISHER;
    }

    function loansLength() external view returns (uint256) {
        return loans.length;
    }

    /// @notice Everybody who is no contract, but the owner.
    function people() external pure returns (address[] memory all) {
        all = new address[](OPERATORS + 2);
        for (uint256 i = 0; i < OPERATORS; ++i) {
            all[i] = operatorOf_(i);
        }
        (all[OPERATORS], all[OPERATORS + 1]) = (STRANGER, FAUCET);
    }

    function removed(Loan loan, uint256 bps) private {
        penalties += staked[loan] * (bps < 1_000 ? bps : 1_000) / 10_000;
        (present[loan], inUse[secretOf[loan]]) = (false, false);
    }

    /// @dev Lets the last checkpoint have a state of a loan's node, and proves it.
    function agree(Loan loan, uint8 state, uint256 bps) private returns (bytes32[] memory) {
        bytes32[] memory states =
            leaves(Merkle.state(loan.id(), state, uint16(bps % 3_000)), keccak256("another"));
        statesRoot = Merkle.root(states);
        return Merkle.proof(states, states[0]);
    }

    /// @dev Whether it is done, which must be whether it is allowed.
    function attempt(string memory move, address who, address target, bytes memory call, bool allowed)
        private
        returns (bool ok, bytes memory returned)
    {
        vm.prank(who);
        (ok, returned) = target.call(call);
        vm.assertTrue(ok || !allowed, string.concat(move, " may be done"));
        vm.assertTrue(!ok || allowed, string.concat(move, " may not be done"));
        if (ok) ++done[move];
        else ++refused[move];
    }

    /// @dev Any loan; mostly one of the last.
    function pick(uint256 which) private view returns (Loan) {
        uint256 count = loans.length;
        return loans[which % 4 == 0 ? which / 4 % count : count - 1 - which / 4 % (count < 8 ? count : 8)];
    }

    /// @dev Mostly whom the loan is for.
    function anybody(uint256 which, uint256 who) private view returns (address) {
        if (who % 8 == 0) return STRANGER;
        if (who % 8 == 1 || loans.length == 0) return FAUCET;
        if (who % 8 == 2) return PUBLISHER;
        return who % 8 == 3 ? operatorOf_(who / 8) : borrower[pick(which)];
    }

    function operatorOf_(uint256 who) private pure returns (address) {
        return address(uint160(0x900 + who % OPERATORS));
    }
}
