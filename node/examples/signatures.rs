//! Measures signature checks, many together beside one by one: run by `./scripts/bench signatures`.
//!
//! First on one thread, by rounds that take turns; then through [`Checks`], as the doors and links of a node
//! use it, on a runtime of as many threads as the machine has cores.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use session_node::Checks;
use session_protocols::{
    AccountId, KeyPair,
    identity::{Claim, Keys, MAX_TOGETHER, verify, verify_all},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Signatures that are checked in one round.
const COUNT: usize = 8 * MAX_TOGETHER;
/// Rounds of each; the median counts.
const ROUNDS: usize = 21;
/// Bytes that are signed: a statement is some 200 bytes.
const SAID: usize = 200;
/// So many ask at once, and wait for the answer before the next question; and how many times faster than alone they
/// are to be answered together.
const ASKERS: [(usize, f64); 2] = [(16, 1.0), (512, 2.5)];
/// How long they ask, and how long questions come at a rate.
const SPAN: Duration = Duration::from_secs(2);

struct Row {
    what: String,
    ours: f64,
    peer: f64,
    unit: &'static str,
    ratio: f64,
    wanted: f64,
}

impl Row {
    /// Microseconds for one, together and alone.
    fn beside(what: impl Into<String>, together: f64, alone: f64, wanted: f64) -> Self {
        Self { what: what.into(), ours: together, peer: alone, unit: "us", ratio: alone / together, wanted }
    }
}

fn main() {
    let mut rows = threadbound();
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => rows.extend(runtime.block_on(through_a_node())),
        Err(error) => print(&format!("no runtime: {error}")),
    }
    if std::env::args().any(|word| word == "--json") {
        let json = |row: &Row| {
            serde_json::json!({
                "what": row.what, "ours": row.ours, "peer": row.peer, "unit": row.unit,
                "ratio": row.ratio, "wanted": row.wanted,
            })
        };
        let rows: Vec<_> = rows.iter().map(json).collect();
        print(&serde_json::json!({ "data": { "rows": rows } }).to_string());
    } else {
        print(&format!(
            "{:<72} {:>10} {:>10} {:>4} {:>6} {:>6}",
            "what", "ours", "peer", "unit", "ratio", "wanted"
        ));
        for Row { what, ours, peer, unit, ratio, wanted } in rows {
            print(&format!("{what:<72} {ours:>10.2} {peer:>10.2} {unit:>4} {ratio:>6.2} {wanted:>6.2}"));
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn print(line: &str) {
    println!("{line}");
}

/// Claims of `signers` keys by turns, of persons' accounts or not.
fn claims(signers: usize, persons: bool) -> Vec<Claim> {
    let one = |number: usize| {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&((number % signers) as u64).to_le_bytes());
        let pair = KeyPair::from_seed(&seed);
        let mut said = vec![b'x'; SAID];
        said[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let signature = pair.sign(&said);
        let person = AccountId::of_person(&pair.public()).filter(|_| persons);
        Claim { key: pair.public(), x25519: person.map(|person| person.key()), said, signature }
    };
    (0..COUNT).map(one).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A way to check claims.
type Check<'a> = &'a dyn Fn(&[Claim]);

/// Microseconds for each claim, of several ways by turns.
fn timed<const N: usize>(claims: &[Claim], ways: [Check<'_>; N]) -> [f64; N] {
    let mut found = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (way, found) in ways.iter().zip(&mut found) {
            let begun = Instant::now();
            way(black_box(claims));
            found.push(begun.elapsed().as_secs_f64() * 1e6 / claims.len() as f64);
        }
    }
    found.map(median)
}

fn threadbound() -> Vec<Row> {
    let each = |check: fn(&Claim) -> bool| {
        move |claims: &[Claim]| {
            for claim in claims {
                black_box(check(claim));
            }
        }
    };
    let alone = each(|claim| verify(&claim.key, &claim.said, &claim.signature));
    let owned = each(Claim::holds);
    let strict = each(|claim| {
        let signature = ed25519_dalek::Signature::from_bytes(&claim.signature.0);
        ed25519_dalek::VerifyingKey::from_bytes(&claim.key)
            .is_ok_and(|key| key.verify_strict(&claim.said, &signature).is_ok())
    });
    let together = |size: usize| {
        move |claims: &[Claim]| {
            for claims in claims.chunks(size) {
                black_box(verify_all(claims));
            }
        }
    };
    let most = together(MAX_TOGETHER);
    let mut rows = Vec::new();
    let keys = claims(COUNT, false);
    let remembered = Keys::new(2 * COUNT);
    let known = |claims: &[Claim]| drop(black_box(remembered.verify_all(claims)));
    let read: BTreeMap<_, _> = keys
        .iter()
        .filter_map(|claim| Some((claim.key, ed25519_dalek::VerifyingKey::from_bytes(&claim.key).ok()?)))
        .collect();
    let strict_known = |claims: &[Claim]| {
        for claim in claims {
            let signature = ed25519_dalek::Signature::from_bytes(&claim.signature.0);
            let key = read.get(&claim.key);
            black_box(key.is_some_and(|key| key.verify_strict(&claim.said, &signature).is_ok()));
        }
    };
    let [again, ours, library, library_known, single] =
        timed(&keys, [&known, &most, &strict, &strict_known, &alone]);
    let what = format!("{MAX_TOGETHER} signatures of as many keys, beside verify_strict of ed25519-dalek");
    rows.push(Row::beside(what, ours, library, 2.5));
    rows.push(Row::beside(
        "the same of keys that signed before, as a node remembers them",
        again,
        library,
        2.5,
    ));
    rows.push(Row::beside("the same, where the library has read its keys too", again, library_known, 2.5));
    rows.push(Row::beside("the same beside our own check of one", ours, single, 2.5));
    for size in [4, 16, 64] {
        let [ours, single] = timed(&keys, [&together(size), &alone]);
        rows.push(Row::beside(format!("{size} signatures, beside our own check of one"), ours, single, 1.0));
    }
    let [ours, single] = timed(&claims(COUNT, true), [&most, &owned]);
    rows.push(Row::beside(format!("{MAX_TOGETHER} of persons, whose keys must convert"), ours, single, 2.5));
    let [ours, single] = timed(&claims(1, false), [&most, &alone]);
    rows.push(Row::beside(format!("{MAX_TOGETHER} receipts of one member"), ours, single, 2.5));
    let mut bad = keys;
    bad.iter_mut().step_by(MAX_TOGETHER).for_each(|claim| claim.said.push(0));
    let [ours, single] = timed(&bad, [&most, &alone]);
    rows.push(Row::beside(format!("one bad one in each {MAX_TOGETHER}"), ours, single, 0.5));
    rows
}

/// How a task of a node has a claim checked.
#[derive(Clone)]
enum Way {
    Alone,
    Together(Checks),
}

impl Way {
    async fn check(&self, claim: &Claim) -> bool {
        match self {
            Self::Alone => claim.holds(),
            Self::Together(checks) => checks.hold(vec![claim.clone()]).await == Some(true),
        }
    }

    /// Checks a second, when all ask as fast as they are answered.
    async fn rate(&self, claims: &Arc<[Claim]>, many: usize) -> f64 {
        let begun = Instant::now();
        let mut askers = JoinSet::new();
        for number in 0..many {
            let (way, claims) = (self.clone(), Arc::clone(claims));
            askers.spawn(async move {
                let mut done = 0_usize;
                while begun.elapsed() < SPAN {
                    black_box(way.check(&claims[(number + done * many) % claims.len()]).await);
                    done += 1;
                    tokio::task::yield_now().await;
                }
                done
            });
        }
        let done: usize = askers.join_all().await.into_iter().sum();
        done as f64 / begun.elapsed().as_secs_f64()
    }

    /// Milliseconds from a question to its answer, of 99 in a hundred, when so many come a second.
    async fn p99(&self, claims: &Arc<[Claim]>, rate: f64) -> f64 {
        let begun = Instant::now();
        let mut askers = JoinSet::new();
        let mut clock = tokio::time::interval(Duration::from_millis(1));
        while begun.elapsed() < SPAN {
            clock.tick().await;
            let due = (begun.elapsed().as_secs_f64() * rate) as usize;
            for number in askers.len()..due {
                let (way, claims) = (self.clone(), Arc::clone(claims));
                let asked = Instant::now();
                askers.spawn(async move {
                    black_box(way.check(&claims[number % claims.len()]).await);
                    asked.elapsed().as_secs_f64() * 1e3
                });
            }
        }
        let mut delays = askers.join_all().await;
        delays.sort_unstable_by(f64::total_cmp);
        delays.get(delays.len() * 99 / 100).copied().unwrap_or(f64::NAN)
    }
}

async fn through_a_node() -> Vec<Row> {
    let claims: Arc<[Claim]> = claims(COUNT, false).into();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = Arc::new(Semaphore::new(cores));
    let together = Way::Together(Checks::start(&tokio::runtime::Handle::current(), workers, |_| {}));
    let mut rows = Vec::new();
    let mut most = f64::NAN;
    for (many, wanted) in ASKERS {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..3 {
            rates[0].push(together.rate(&claims, many).await);
            rates[1].push(Way::Alone.rate(&claims, many).await);
        }
        let [ours, peer] = rates.map(median);
        most = peer;
        let what = format!("checks a second by {cores} cores, {many} askers");
        rows.push(Row { what, ours, peer, unit: "1/s", ratio: ours / peer, wanted });
    }
    for percent in [10, 50, 80] {
        let rate = most * f64::from(percent) / 100.0;
        let mut waits = [Vec::new(), Vec::new()];
        for _ in 0..3 {
            waits[0].push(together.p99(&claims, rate).await);
            waits[1].push(Way::Alone.p99(&claims, rate).await);
        }
        let [ours, alone] = waits.map(median);
        let what = format!("wait at {percent} % of what single checks can do, p99, beside theirs and 5 ms");
        rows.push(Row {
            what,
            ours,
            peer: alone + 5.0,
            unit: "ms",
            ratio: (alone + 5.0) / ours,
            wanted: 1.0,
        });
    }
    rows
}
