//! The store beside SQLite, alternately, and how long it takes to serve after a kill.

mod load;
mod newest;
mod ours;
mod restart;
mod sqlite;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::table::{Row, median};

pub use restart::fill;

pub const HELP: &str = "\
usage: ./scripts/bench store [--json] [--messages N] [--repeats N] [--accounts N] [--gib N] [--only LIST] [--dir DIR]

  --json        one line of JSON instead of the table
  --messages    messages of 1 KiB in each run (200000)
  --repeats     runs of each side at each size; the median counts (5)
  --accounts    mailboxes that they go to (5000)
  --gib         size of the store that is killed and opened again; 0 leaves that out (10)
  --only        ours, peer, newest, restart: what to measure, separated by commas (all)
  --dir         where to write (scripts/peers/target/data)
";

const BATCHES: [(usize, f64); 3] = [(32, 3.0), (256, 4.0), (1_000, 4.0)];

struct Settings {
    messages: usize,
    repeats: usize,
    accounts: u64,
    gib: f64,
    only: String,
    dir: PathBuf,
}

impl Settings {
    fn read(words: &[String]) -> Result<Self, String> {
        let mut settings = Self {
            messages: 200_000,
            repeats: 5,
            accounts: 5_000,
            gib: 10.0,
            only: "ours,peer,newest,restart".to_owned(),
            dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("target/data"),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
            let number = || value.parse::<f64>().map_err(|_| format!("{word} wants a number, not {value}"));
            match word.as_str() {
                "--messages" => settings.messages = number()? as usize,
                "--repeats" => settings.repeats = (number()? as usize).max(1),
                "--accounts" => settings.accounts = (number()? as u64).max(1),
                "--gib" => settings.gib = number()?,
                "--only" => settings.only = value.clone(),
                "--dir" => settings.dir = value.into(),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        Ok(settings)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.split(',').any(|word| word == part)
    }
}

/// One run at one batch size.
struct Run {
    per_second: f64,
    batches: Vec<Duration>,
    /// Processor time of the whole process for each message, in microseconds: it says more than
    /// the clock when others use the machine.
    cpu: f64,
}

impl Run {
    fn new(messages: usize, batches: Vec<Duration>, cpu: f64) -> Self {
        let whole: Duration = batches.iter().sum();
        Self { per_second: messages as f64 / whole.as_secs_f64(), batches, cpu: cpu * 1e6 / messages as f64 }
    }

    fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.batches.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
        sorted[at].as_secs_f64() * 1e3
    }
}

/// Seconds of processor time that this process used.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Measures what `words` ask for.
pub fn run(words: &[String]) -> Result<Vec<Row>, String> {
    let settings = Settings::read(words)?;
    let _ = fs::remove_dir_all(&settings.dir);
    fs::create_dir_all(&settings.dir).map_err(|error| format!("{}: {error}", settings.dir.display()))?;
    let rows = measure(&settings);
    let _ = fs::remove_dir_all(&settings.dir);
    Ok(rows)
}

fn measure(settings: &Settings) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut worst = Vec::new();
    let mut polls = Vec::new();
    for (batch, wanted) in BATCHES {
        let (mut ours, mut peer, mut slow) = (Vec::new(), Vec::new(), Vec::new());
        for repeat in 0..settings.repeats {
            let mut sides = [true, false];
            if repeat % 2 == 1 {
                sides.reverse();
            }
            for own in sides {
                let dir = settings.dir.join("run");
                fs::create_dir_all(&dir).expect("the directory can be made");
                let load = load::Load::new(settings.accounts, repeat as u64);
                if own && settings.wants("ours") {
                    let (run, poll) = ours::run(&dir, load, settings.messages, batch);
                    eprintln!(
                        "ours   {batch:>5}: {:>8.0}/s, {:>5.1} us cpu, batch p50 {:.2} p99 {:.2} worst {:.2} ms, poll {poll:.2} us",
                        run.per_second,
                        run.cpu,
                        run.percentile(0.5),
                        run.percentile(0.99),
                        run.percentile(1.0)
                    );
                    ours.push(run.per_second);
                    slow.push(run.percentile(0.99));
                    polls.push(poll);
                } else if !own && settings.wants("peer") {
                    let run = sqlite::run(&dir, load, settings.messages, batch);
                    eprintln!(
                        "sqlite {batch:>5}: {:>8.0}/s, {:>5.1} us cpu, batch p50 {:.2} p99 {:.2} worst {:.2} ms",
                        run.per_second,
                        run.cpu,
                        run.percentile(0.5),
                        run.percentile(0.99),
                        run.percentile(1.0)
                    );
                    peer.push(run.per_second);
                }
                fs::remove_dir_all(&dir).expect("the directory can be removed");
            }
        }
        if ours.is_empty() && peer.is_empty() {
            continue;
        }
        worst.push(median(slow));
        let what = format!("stores of 1 KiB, {batch} to a commit");
        let (ours, peer) = (median(ours), median(peer));
        rows.push(Row { what, ours, peer, unit: "1/s", more_is_better: true, wanted });
    }
    if settings.wants("newest") {
        let newest::Fetched { again, opened, bare, peers: [peer, peer_opened, peer_then] } =
            newest::measure(&settings.dir.join("newest"), settings.repeats);
        let mut row = |what: &str, ours, peer| {
            let what = what.to_owned();
            rows.push(Row { what, ours, peer, unit: "us", more_is_better: false, wanted: 3.0 });
        };
        row("the newest 20 of a mailbox of 10,000, asked for by turns", again, peer);
        row("the first fetch of each mailbox after both were opened", opened, peer_opened);
        row("the same by turns, of a store that may remember nothing", bare, peer_then);
    }
    let target = |what: &str, ours, peer, unit| {
        let what = what.to_owned();
        Row { what, ours, peer, unit, more_is_better: false, wanted: 1.0 }
    };
    if settings.wants("ours") {
        let worst = worst.into_iter().fold(0.0, f64::max);
        rows.push(target("slowest of 100 commits, merging included", worst, 30.0, "ms"));
        rows.push(target("empty poll of a mailbox", median(polls), 20.0, "us"));
    }
    if settings.wants("restart") && settings.gib > 0.0 {
        match restart::measure(&settings.dir, settings.gib) {
            Ok(seconds) => {
                let what = format!("a store of {} GiB serves after SIGKILL", settings.gib);
                rows.push(target(&what, seconds, 10.0, "s"));
            }
            Err(error) => eprintln!("left out the restart: {error}"),
        }
    }
    rows
}
