//! What the contracts refuse with, in words.

use alloy::{
    sol_types::{Panic, Revert, SolError, SolInterface, decode_revert_reason},
    transports::{RpcError, TransportError},
};

use super::http;

/// The errors of the contracts and of the libraries that they use.
#[allow(missing_docs, unreachable_pub, clippy::too_many_arguments)]
mod interface {
    alloy::sol! {
        #[derive(Debug)]
        interface Contracts {
            error AccessControlBadConfirmation();
            error AccessControlUnauthorizedAccount(address account, bytes32 neededRole);
            error AlreadyAContributor(uint64 id, address account);
            error BadEpochs(uint64 genesis, uint64 epochSeconds);
            error BadIds(uint256 length);
            error BadLength(uint256 length, uint256 wanted);
            error BadNumberOfShares(uint256 shares, uint256 most);
            error BadPrefix(bytes7 prefix);
            error BadProofOfPossession();
            error BadSignature(bytes32 digest);
            error BadStake(uint256 staked, uint256 required);
            error BadValue(uint256 sent, uint256 wanted);
            error BorderAhead(uint64 epoch, uint64 currentEpoch);
            error BorderForgotten(uint64 epoch, uint64 oldest);
            error ClaimsPaused();
            error ECDSAInvalidSignature();
            error ECDSAInvalidSignatureLength(uint256 length);
            error ECDSAInvalidSignatureS(bytes32 s);
            error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
            error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
            error ERC20InvalidApprover(address approver);
            error ERC20InvalidReceiver(address receiver);
            error ERC20InvalidSender(address sender);
            error ERC20InvalidSpender(address spender);
            error ERC2612ExpiredSignature(uint256 deadline);
            error ERC2612InvalidSigner(address signer, address owner);
            error EpochTaken(uint64 epoch, uint64 next);
            error ExitAlreadyRequested(uint64 id, uint64 requestedAt);
            error ExitNotRequested(uint64 id);
            error FailedCall();
            error FailedDeployment();
            error FeeOutOfRange(uint16 fee, uint256 most);
            error G1AddFailed();
            error Incomplete(uint256 total, uint256 requirement);
            error InsufficientBalance(uint256 balance, uint256 needed);
            error InvalidAccountNonce(address account, uint256 currentNonce);
            error InvalidShortString();
            error KeyInUse(uint64 id);
            error Miswired();
            error MoreThanReleased(uint256 paid, uint256 released);
            error NoSlot();
            error NoSuchNode(uint64 id);
            error NotAContribution(address caller);
            error NotAContributor(address caller);
            error NotAscending(uint64 id, uint64 previous);
            error NotFactory(address caller);
            error NotGateway(address caller, address gateway);
            error NotGuardian(address caller);
            error NotInCheckpoint(address account, uint256 lifetimeTotal);
            error NotInSet(uint64 id, uint64 epoch);
            error NotOperator(address caller);
            error NotRegistrar(address caller, address registrar);
            error NotTheSet(uint64 epoch, bytes32 given, bytes32 kept);
            error NothingToClaim(uint256 lifetimeTotal, uint256 claimed);
            error OperatorCancels();
            error OperatorShareTooSmall(uint256 amount, uint256 least);
            error OutOfBounds(bytes32 name, uint256 value, uint256 least, uint256 most);
            error OwnableInvalidOwner(address owner);
            error OwnableUnauthorizedAccount(address account);
            error ReservedTwice(address contributor);
            error ShareLocked(uint64 id, uint256 until);
            error StringTooLong(string str);
            error TimelockInsufficientDelay(uint256 delay, uint256 minDelay);
            error TimelockInvalidOperationLength(uint256 targets, uint256 payloads, uint256 values);
            error TimelockUnauthorizedCaller(address caller);
            error TimelockUnexecutedPredecessor(bytes32 predecessorId);
            error TimelockUnexpectedOperationState(bytes32 operationId, bytes32 expectedStates);
            error TooEarly(uint256 opens);
            error TooFewNodes(uint256 nodes, uint256 least);
            error TooFewSigners(uint256 signers, uint256 nodes);
            error TooLittle(uint256 amount, uint256 least);
            error TooMuch(uint256 amount, uint256 most);
            error TransferFailed();
            error TransferFromFailed();
            error UnknownParameter(bytes32 name);
            error WrongPrevious(bytes32 given, bytes32 wanted);
            error WrongState(uint64 id, uint8 state);
            error WrongStatus(uint8 status);
            error ZeroAddress();
        }
        /// Of the same names as others.
        #[derive(Debug)]
        interface Namesakes {
            error NotAContributor(uint64 id, address account);
            error NotInCheckpoint(uint64 id, uint8 state, uint16 penaltyBps);
            error TooEarly(uint64 id, uint256 opens);
        }
    }
}

/// Why a call was refused: the contract's error, or else the endpoint's words.
pub fn reason(error: &TransportError) -> String {
    let said = if let RpcError::ErrorResp(refusal) = error {
        http::words(&refusal.message)
    } else {
        http::reason(error)
    };
    http::revert_data(error).and_then(|data| decode(&data)).unwrap_or(said)
}

/// What a contract reverted with, in words; none when it said nothing.
pub fn decode(data: &[u8]) -> Option<String> {
    let selector = data.first_chunk::<4>()?;
    let shown = interface::Contracts::ContractsErrors::abi_decode(data).map(|error| format!("{error:?}"));
    let namesake =
        |_| interface::Namesakes::NamesakesErrors::abi_decode(data).map(|error| format!("{error:?}"));
    let shown = shown.or_else(namesake);
    match shown {
        // A variant is shown around its error, which has the same name.
        Ok(shown) => {
            let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
            Some(inner.unwrap_or(&shown).to_owned())
        }
        Err(_) => {
            let custom =
                || format!("an error that is not known here, 0x{}", data_encoding::HEXLOWER.encode(selector));
            let usual = [Revert::SELECTOR, Panic::SELECTOR].contains(selector);
            let usual = usual.then(|| decode_revert_reason(data)).flatten();
            Some(usual.map_or_else(custom, |reason| http::words(&reason)))
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;

    use super::*;

    #[test]
    fn errors_are_told_by_name_and_with_their_values() {
        let error = interface::Contracts::TooFewNodes { nodes: U256::from(3), least: U256::from(4) };
        assert_eq!(decode(&error.abi_encode()).unwrap(), "TooFewNodes { nodes: 3, least: 4 }");
        let error = interface::Namesakes::NotInCheckpoint { id: 7, state: 4, penaltyBps: 0 };
        let text = "NotInCheckpoint { id: 7, state: 4, penaltyBps: 0 }";
        assert_eq!(decode(&error.abi_encode()).unwrap(), text);
        let error = Revert::from("not yours".to_owned());
        assert!(decode(&error.abi_encode()).unwrap().contains("not yours"));
        assert_eq!(decode(&[1, 2, 3, 4]).unwrap(), "an error that is not known here, 0x01020304");
        assert_eq!(decode(&[]), None);
    }
    #[test]
    fn every_error_of_the_contracts_is_known() {
        let known = |selector: &[u8; 4]| {
            interface::Contracts::ContractsErrors::valid_selector(*selector)
                || interface::Namesakes::NamesakesErrors::valid_selector(*selector)
        };
        for artifact in [
            include_str!("../../contracts/artifacts/Checkpoints.json"),
            include_str!("../../contracts/artifacts/Contribution.json"),
            include_str!("../../contracts/artifacts/RewardPool.json"),
            include_str!("../../contracts/artifacts/SessionToken.json"),
            include_str!("../../contracts/artifacts/Staking.json"),
        ] {
            let errors = crate::settlement::contracts::signatures(artifact, "error");
            assert!(!errors.is_empty());
            for signature in errors {
                let hash = alloy::primitives::keccak256(&signature);
                assert!(known(hash.first_chunk().unwrap()), "{signature}");
            }
        }
    }
}
