//! Sends every text back to whoever sent it.
//!
//! ```text
//! cargo run --release --example echo -- --network network.toml
//! ```

use std::{error::Error, fs, path::PathBuf};

use clap::Parser;
use futures::StreamExt;
use session_chain::network::NetworkFile;
use session_client::{Account, Client, Cursors, Home, Options};

/// Sends every text back to whoever sent it.
#[derive(Parser)]
struct Arguments {
    /// The file that describes the network
    #[arg(long, value_name = "FILE")]
    network: PathBuf,
    /// The thirteen words of the bot's account; a new account if there are none
    #[arg(long, env = "ECHO_PHRASE", hide_env_values = true, value_name = "WORDS")]
    phrase: Option<String>,
    /// Where the guards are remembered: others would be drawn at every start
    #[arg(long, default_value = "echo-home", value_name = "DIR")]
    home: PathBuf,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let network = NetworkFile::parse(&fs::read_to_string(&arguments.network)?)?;
    let account = match arguments.phrase {
        Some(words) => Account::from_phrase(&words)?,
        None => Account::generate()?,
    };
    let options = Options { home: Some(Home::open(arguments.home)?), ..Options::default() };
    let client = Client::connect(network, options).await?;

    // What came before this start was answered before it, or is too old to answer.
    let old = client.inbox(&account).await?.into_iter().map(|item| item.hash);
    let mut watch = client.watch(&account, Cursors::new(), old).await?;
    println!("write to {}", account.id());

    while let Some(item) = watch.next().await {
        // Anyone may put anything into an inbox: what is no message, or has no text, is passed by.
        let Ok(message) = item.content else { continue };
        let (from, Some(text)) = (message.from, message.text) else { continue };
        if from == account.id() {
            continue;
        }
        match client.send(&account, &from, &text).await {
            Ok(sent) => println!("echoed to {from}, kept by {} of {} nodes", sent.stored, sent.swarm),
            Err(error) => println!("not echoed to {from}: {error}; {}", error.remedy()),
        }
    }
    Ok(())
}
