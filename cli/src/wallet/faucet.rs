//! Coins that are worth nothing: of the testnet on this machine, or of a test network's faucet.

use serde::Deserialize;
use serde_json::json;
use session_chain::{Amount, NetworkFile};
use session_testnet::{FUND_ETHER, Testnet, public::Wish};

use super::Till;
use crate::{
    failure::{Exit, Failure},
    join::faucet,
    network,
    stake::lower,
    testnet, text,
};

/// What a test network's faucet says that it gave, in whole coins.
#[derive(Debug, Deserialize)]
struct Given {
    sesh: String,
    native: String,
}

impl Till<'_> {
    pub(super) async fn faucet(&self, of: &NetworkFile, sesh: Amount) -> Result<(), Failure> {
        let none = |message: &str| {
            let remedy = "have somebody pay you, at the address that session wallet address shows";
            Failure::new(Exit::Refused, "no_faucet", message, remedy)
        };
        let account = self.signer.address();
        if !of.local {
            let url = of.faucet.as_ref().ok_or_else(|| {
                none("no faucet is known for this network: it is neither a local nor a test network")
            })?;
            let (url, doing) = (format!("{url}/wallet"), |told: String| self.context.output.note(&told));
            let given: Given = faucet::ask(&url, &Wish { account }, "have somebody pay you", doing).await?;
            // Of what a program reads nothing is made up; a person is shown what can be shown.
            let data = json!({ "address": lower(account), "sesh": given.sesh, "native": given.native });
            return self.context.output.data(&data, || {
                let [sesh, native] = [given.sesh, given.native].map(|sum| text::plain(&sum));
                format!("{account} was given {sesh} SESH and {native} ETH")
            });
        }
        let folder = network::local_folder()?;
        let own = folder.network()?.settlement.is_some_and(|own| own.contracts == self.settlement.contracts);
        if !own {
            return Err(none(
                "this network is not the testnet of this machine, whose faucet alone is known here",
            ));
        }
        Testnet::new(folder, testnet::binary()?).fund(account, sesh).await?;
        let data =
            json!({ "address": lower(account), "sesh": sesh.to_string(), "native": FUND_ETHER.to_string() });
        self.context.output.data(&data, || format!("{account} was given {sesh} SESH and {FUND_ETHER} ETH"))
    }
}
