//! What an account would leave behind at its address on the settlement chain, were it to use another key.

use alloy::signers::local::PrivateKeySigner;
use session_chain::{
    Amount,
    network::Settlement,
    settlement::{
        Delivery, Wallet, WalletError,
        wallet::{Balances, Sum},
    },
};

use crate::{
    Context,
    failure::{Exit, Failure},
    network,
};

/// Refuses to leave an address that holds something: whoever means to adds `--yes`. Without a network, or where it has
/// no chain, there is nowhere to look.
pub(super) async fn check(context: &Context, name: &str, signer: &PrivateKeySigner) -> Result<(), Failure> {
    let network = network::described(context);
    let Some(settlement) = network.ok().and_then(|network| network.settlement) else {
        let hint = "Nobody looked what the address so far holds, since no network with a chain is named.";
        context.output.note(hint);
        return Ok(());
    };
    let address = signer.address();
    let held = match held(&settlement, signer).await {
        Ok((balances, names)) => told(balances, names),
        Err(error) => {
            let mut failure = Failure::from(error);
            failure.remedy =
                format!("{}; to import it without a look at what {address} holds, add --yes", failure.remedy);
            return Err(failure);
        }
    };
    match held {
        None => Ok(()),
        Some(held) => Err(Failure::new(
            Exit::Refused,
            "wallet_holds",
            format!("{address}, the address of {name} so far, holds {held}; nothing is imported"),
            "pass on first what it holds; to import it all the same, and get at that by the key before, add --yes",
        )),
    }
}

async fn held(settlement: &Settlement, signer: &PrivateKeySigner) -> Result<(Balances, u64), WalletError> {
    let wallet = Wallet::connect(settlement, signer.clone(), Delivery::default()).await?;
    Ok((wallet.balances().await?, wallet.names().await?))
}

/// What is held, in words; none where that is nothing.
fn told(balances: Balances, names: u64) -> Option<String> {
    let Balances { sesh, native } = balances;
    let sums = [(Sum::Sesh(sesh), sesh == Amount::ZERO), (Sum::Native(native), native.is_zero())];
    let mut held: Vec<String> =
        sums.into_iter().filter(|(_, is_nothing)| !is_nothing).map(|(sum, _)| sum.to_string()).collect();
    match names {
        0 => {}
        1 => held.push("a name".to_owned()),
        more => held.push(format!("{more} names")),
    }
    (!held.is_empty()).then(|| held.join(", "))
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;

    use super::*;

    #[test]
    fn whatever_is_left_behind_is_named() {
        let (none, some) = (Amount::ZERO, Amount::sesh(5));
        let (nothing, wei) = (U256::ZERO, U256::from(10).pow(U256::from(17)));
        for (sesh, native, names, wanted) in [
            (none, nothing, 0, None),
            (some, nothing, 0, Some("5 SESH")),
            (none, wei, 0, Some("0.1 ETH")),
            (none, nothing, 1, Some("a name")),
            (some, wei, 2, Some("5 SESH, 0.1 ETH, 2 names")),
        ] {
            assert_eq!(told(Balances { sesh, native }, names).as_deref(), wanted);
        }
    }
}
