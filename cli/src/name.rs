//! `session name`: names of the network, which lead to accounts, wallets and more.

mod show;

use crate::{Context, args::NameDeed, failure::Failure};

pub(crate) async fn run(context: &Context, deed: NameDeed) -> Result<(), Failure> {
    match deed {
        NameDeed::Show { name } => show::run(context, &name).await,
    }
}
