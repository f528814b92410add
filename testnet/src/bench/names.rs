//! Names over onion paths: how long a lookup takes whose answer is verified, on a testnet with a chain where one
//! name is registered: by a checkpoint that is known, the first that fetches a newer one, and by a fresh process. What
//! computing a name's id costs is counted apart.

use std::process::Stdio;

use alloy::primitives::U256;
use session_chain::{
    Amount, account,
    network::Settlement,
    settlement::{
        Delivery, Registrar,
        registrar::{Period, Reservation, Step},
    },
};
use session_client::{Account, Client, ClientError, Options as ClientOptions};
use session_protocols::names::{COST, Kind, Name, NameKeys, Value};
use tokio::{
    process::Command,
    time::{Duration, Instant, sleep},
};

use super::{Bench, Progress, Row, ms, percentile, targets};
use crate::{Testnet, error::TestnetError, layout::POLL};

/// The name that is registered.
const NAME: &str = "alice";
/// What is looked up: the name, and sub-names of it. Of each the nodes prove both.
const NAMES: usize = 40;
/// How often each of them is looked up: once in the life of a checkpoint, as clients ask no more than that.
const ROUNDS: usize = 5;
/// Clients beside that one, of which each looks the name up as well: first after each checkpoint.
const OTHERS: usize = 7;
/// Processes that look the name up, each once.
const PROCESSES: usize = 20;
/// How often an id is computed.
const HASHED: usize = 9;
/// What whoever registers the name has: more than it costs.
const FUNDS: Amount = Amount::sesh(1_000);
/// How long nodes may take from a registration until they have signed it: some epochs.
const SIGNED: Duration = Duration::from_secs(60);
/// How long a registration is committed to before it is made, in seconds.
const COMMITTED: u64 = 60;

impl Bench {
    /// Measures lookups of names on a testnet with a chain.
    ///
    /// # Errors
    /// When it does not come up, the name cannot be registered, or clients cannot look it up.
    pub async fn names(&self, progress: Progress<'_>) -> Result<Vec<Row>, TestnetError> {
        self.within(async |testnet| self.measure_names(testnet, progress).await).await
    }

    async fn measure_names(
        &self,
        testnet: &Testnet,
        progress: Progress<'_>,
    ) -> Result<Vec<Row>, TestnetError> {
        self.up(testnet, true, progress).await?;
        let network = testnet.folder().network()?;
        let settlement = network.settlement.as_ref().ok_or(TestnetError::ChainDown)?;
        let name = name(NAME)?;
        let keys = keys(&name).await?;
        register(testnet, settlement, &keys, progress).await?;
        let connect = || Client::connect(network.clone(), ClientOptions::default());
        let client = connect().await?;
        let until = Instant::now() + SIGNED;
        while let Err(error) = client.resolve(&name).await {
            if !matches!(error, ClientError::NameFree { .. }) || Instant::now() >= until {
                return Err(error.into());
            }
            sleep(POLL).await;
        }
        let mut others = Vec::new();
        for _ in 0..OTHERS {
            others.push(connect().await?);
        }
        let Delays { mut first, mut later } = lookups(&client, &others, &name, progress).await?;
        let mut all = [&first[..], &later[..]].concat();
        let mut fresh = self.processes(testnet, progress).await?;
        let mut hashed = Vec::new();
        for number in 0..HASHED {
            let begun = Instant::now();
            self::keys(&name).await?;
            hashed.push(ms(begun.elapsed()));
            progress("hash", number as u64 + 1, HASHED as u64);
        }
        let what = "a name looked up over a warm path, and verified";
        Ok(vec![
            Row::below(
                format!("{what}, by a checkpoint that is known, p50"),
                percentile(&mut later, 50)?,
                targets::LOOKUP,
                "ms",
            ),
            Row::below(
                format!("{what}, first after a checkpoint, p50"),
                percentile(&mut first, 50)?,
                targets::LOOKUP,
                "ms",
            ),
            Row::below(format!("{what}, both, p99"), percentile(&mut all, 99)?, targets::LOOKUP_P99, "ms"),
            Row::below(
                "a followed name looked up by a fresh process, p50",
                percentile(&mut fresh, 50)?,
                targets::LOOKUP_FRESH,
                "ms",
            ),
            Row::below("Argon2id of a name, once, p50", percentile(&mut hashed, 50)?, targets::HASH, "ms"),
        ])
    }

    /// The milliseconds of programs that look the name up and end. They share a home, which knows the name's keys, its
    /// guards and what was signed last; each connects and makes its paths anew.
    async fn processes(&self, testnet: &Testnet, progress: Progress<'_>) -> Result<Vec<f64>, TestnetError> {
        let home = testnet.folder().path().join("home");
        let run = async |words: &[&str]| -> Result<f64, TestnetError> {
            let mut command = Command::new(&self.binary);
            command.arg("--network").arg(testnet.folder().network_path()).arg("--home").arg(&home);
            command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let begun = Instant::now();
            let done = command.status().await.is_ok_and(|status| status.success());
            done.then(|| ms(begun.elapsed())).ok_or(TestnetError::Bench("a process did not find the name"))
        };
        run(&["contact", "add", NAME, &format!("@{NAME}")]).await?;
        let mut delays = Vec::new();
        for number in 0..PROCESSES {
            delays.push(run(&["name", "show", NAME, "--json"]).await?);
            progress("look up by a process", number as u64 + 1, PROCESSES as u64);
        }
        Ok(delays)
    }
}

/// The milliseconds of lookups.
struct Delays {
    /// Of those that fetched a newer checkpoint.
    first: Vec<f64>,
    /// Of those by one that was known.
    later: Vec<f64>,
}

/// Looks names up, one after the other, each once after each new checkpoint: until then what is known is shown, and
/// nobody asked. Others look up the one.
async fn lookups(
    client: &Client,
    others: &[Client],
    name: &Name,
    progress: Progress<'_>,
) -> Result<Delays, TestnetError> {
    let mut names = vec![(name.clone(), 0)];
    for number in 1..NAMES {
        names.push((self::name(&format!("sub{number}.{NAME}"))?, 0));
    }
    // Ids are computed before anything is measured, and paths and connections are warm from then on.
    for (number, (name, epoch)) in names.iter_mut().enumerate() {
        *epoch = client.resolve(name).await?.epoch;
        progress("look up first", number as u64 + 1, NAMES as u64);
    }
    let mut known = Vec::new();
    for other in others {
        known.push((other, other.resolve(name).await?.epoch));
    }
    let mut newest = names.iter().map(|(_, epoch)| *epoch).max().unwrap_or_default();
    let (mut delays, all) = (Delays { first: Vec::new(), later: Vec::new() }, NAMES * ROUNDS);
    while delays.later.len() < all {
        let before = delays.later.len();
        for (other, epoch) in &mut known {
            let (now, delay) = look_up(other, name).await?;
            if now > *epoch {
                *epoch = now;
                delays.first.push(delay);
            }
        }
        for (name, epoch) in &mut names {
            let (now, delay) = look_up(client, name).await?;
            if now > newest {
                delays.first.push(delay);
            } else if now > *epoch {
                delays.later.push(delay);
            }
            (newest, *epoch) = (newest.max(now), now);
        }
        progress("look up", delays.later.len() as u64, all as u64);
        if delays.later.len() == before {
            sleep(POLL).await;
        }
    }
    Ok(delays)
}

/// At the end of which epoch a name stood as it does, and how many milliseconds it took to know.
async fn look_up(client: &Client, name: &Name) -> Result<(u64, f64), TestnetError> {
    let begun = Instant::now();
    let epoch = client.resolve(name).await?.epoch;
    Ok((epoch, ms(begun.elapsed())))
}

/// Registers the name for somebody who is given what it takes, and lets it say something.
async fn register(
    testnet: &Testnet,
    settlement: &Settlement,
    keys: &NameKeys,
    progress: Progress<'_>,
) -> Result<(), TestnetError> {
    let owner = Account::generate().map_err(|_| TestnetError::Random)?;
    let signer = account::signer(owner.seed());
    testnet.fund(signer.address(), FUNDS).await?;
    let delivery = Delivery { poll: POLL, ..Delivery::default() };
    let mut registrar = Registrar::connect(settlement, signer, delivery).await?;
    // Nobody is there who could guess it.
    let begun = Reservation { id: keys.id(), secret: [1; 32] };
    let tell = |step| {
        if let Step::Waiting { seconds } = step {
            progress("commit", COMMITTED.saturating_sub(seconds), COMMITTED);
        }
    };
    registrar.reserve(&begun, U256::MAX, tell).await?;
    let value = Value::parse(Kind::Account, &owner.id().to_string());
    let value = value.map_err(|_| TestnetError::Bench("an account is none"))?;
    let (call, _) = registrar.register(&begun, Period::of_years(1), &[(keys, &value)]).await?;
    registrar.send(&call, |_| {}).await?;
    Ok(())
}

fn name(text: &str) -> Result<Name, TestnetError> {
    text.parse().map_err(|_| TestnetError::Bench("a name is none"))
}

/// What clients do once for each name.
async fn keys(name: &Name) -> Result<NameKeys, TestnetError> {
    let name = name.clone();
    let keys = tokio::task::spawn_blocking(move || NameKeys::of(&name, COST)).await;
    keys.ok().and_then(Result::ok).ok_or(TestnetError::Bench("a name's id cannot be computed"))
}
