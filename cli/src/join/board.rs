//! What is seen of a command of many steps: each is ticked with its time, and says what it waits for.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::ProgressBar;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{failure::Failure, output::Output, text};

/// After how long a step says that it is under way.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long until it says so again where there is no terminal.
const AGAIN: Duration = Duration::from_secs(10);

/// What stands before a step's further lines.
const INDENT: &str = "             ";

/// What a step says that waits for an answer.
const ASKED: &str = "waiting for your answer";

/// What a step says while it is under way.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    doing: Arc<Mutex<String>>,
    bar: ProgressBar,
}

impl Default for Say {
    fn default() -> Self {
        Self { doing: Arc::default(), bar: ProgressBar::hidden() }
    }
}

impl Say {
    /// What it does, or waits for.
    pub(crate) fn doing(&self, what: impl Into<String>) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
    }

    /// It waits for an answer at the terminal: until it does something else nothing is drawn beside the question.
    pub(crate) fn asks(&self) {
        self.doing(ASKED);
        self.bar.finish_and_clear();
    }

    fn now(&self) -> String {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The steps of one command.
#[derive(Debug)]
pub(crate) struct Board {
    output: Output,
    terminal: bool,
    /// The step that is under way, and since when.
    at: Mutex<Option<(&'static str, Instant)>>,
}

impl Board {
    pub(crate) fn new(output: Output) -> Self {
        let terminal = std::io::stderr().is_terminal() && !output.is_json();
        Self { output, terminal, at: Mutex::default() }
    }

    /// Does one step, and says how it went: `work` returns what it made, and what is told of it.
    pub(crate) async fn step<T>(
        &self,
        name: &'static str,
        work: impl AsyncFnOnce(Say) -> Result<(T, String), Failure>,
    ) -> Result<T, Failure> {
        let bar = if self.terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let (say, begun) = (Say { bar: bar.clone(), ..Say::default() }, Instant::now());
        self.goes_on(Some((name, begun)));
        let mut work = Box::pin(work(say.clone()));
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = None;
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                _ = second.tick() => self.under_way(name, &say.now(), begun.elapsed(), (&bar, &mut said))?,
            }
        };
        bar.finish_and_clear();
        self.goes_on(None);
        let took = begun.elapsed();
        match done {
            Ok((made, told)) => {
                self.ended(name, "done", &told, took)?;
                Ok(made)
            }
            Err(failure) => {
                self.ended(name, "failed", &failure.message, took)?;
                Err(Failure { message: format!("{name}: {}", failure.message), ..failure })
            }
        }
    }

    /// Ends the command for what went wrong beside its steps: a matter of the step `of`, else of the one that is under way,
    /// which is given up. It is said as if that step had failed.
    pub(crate) fn broken(&self, of: Option<&'static str>, failure: Failure) -> Failure {
        let at = self.goes_on(None);
        let took = at.map_or(Duration::ZERO, |(_, begun)| begun.elapsed());
        let Some(name) = of.or_else(|| at.map(|(name, _)| name)) else { return failure };
        match self.ended(name, "failed", &failure.message, took) {
            Ok(()) => Failure { message: format!("{name}: {}", failure.message), ..failure },
            Err(closed) => closed,
        }
    }

    /// Notes which step is under way; returns the one that was.
    fn goes_on(&self, to: Option<(&'static str, Instant)>) -> Option<(&'static str, Instant)> {
        std::mem::replace(&mut *self.at.lock().unwrap_or_else(PoisonError::into_inner), to)
    }

    /// Shows that a step is under way: on its bar, or where there is no terminal in a line, unless it `said` so just
    /// before.
    fn under_way(
        &self,
        name: &str,
        what: &str,
        took: Duration,
        (bar, said): (&ProgressBar, &mut Option<Duration>),
    ) -> Result<(), Failure> {
        let seconds = took.as_secs();
        if self.terminal && what == ASKED {
            return Ok(());
        }
        if self.terminal {
            if bar.is_finished() {
                bar.reset();
            }
            bar.set_message(format!("{name:<10} {} ({seconds} s)", text::block(what, INDENT)));
            bar.tick();
            return Ok(());
        }
        if !is_due(took, *said) {
            return Ok(());
        }
        *said = Some(took);
        if self.output.is_json() {
            let told = json!({ "step": name, "state": "working", "detail": what, "took": millis(took) });
            return self.output.data(&told, String::new);
        }
        self.output.note(&format!("  … {name:<10} {} ({seconds} s)", text::block(what, INDENT)));
        Ok(())
    }

    fn ended(&self, name: &str, state: &str, told: &str, took: Duration) -> Result<(), Failure> {
        let data = json!({ "step": name, "state": state, "detail": told, "took": millis(took) });
        let mark = if state == "done" { "✓" } else { "✗" };
        self.output.data(&data, || {
            // Endpoints, faucets and nodes have their words in it.
            format!("{mark} {name:<10} {} ({:.1} s)", text::block(told, INDENT), took.as_secs_f64())
        })
    }
}

/// Whether a step that has taken so long says that it is under way, and last did so when it had taken `said`.
fn is_due(took: Duration, said: Option<Duration>) -> bool {
    said.map_or(took >= PATIENCE, |said| took.saturating_sub(said) >= AGAIN)
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn failure() -> Failure {
        Failure::new(Exit::Failed, "port", "it is taken", "name another")
    }

    #[test]
    fn whatever_takes_long_says_so_and_again() {
        let said_at = |looks: &[u64]| {
            let mut said = None;
            let mut all = Vec::new();
            for look in looks.iter().copied().map(Duration::from_millis) {
                if is_due(look, said) {
                    said = Some(look);
                    all.push(look.as_millis());
                }
            }
            all
        };
        assert_eq!(said_at(&[0, 1_000, 1_999]), [0_u128; 0]);
        assert_eq!(
            said_at(&[0, 1_000, 2_000, 3_000, 11_000, 12_000, 13_000, 22_000]),
            [2_000, 12_000, 22_000]
        );
        // A machine that is busy looks late.
        assert_eq!(said_at(&[0, 1_100, 3_100, 4_100, 19_000]), [3_100, 19_000]);
    }

    #[test]
    fn nothing_is_drawn_beside_a_question() {
        let board = Board { output: Output::new(false), terminal: true, at: Mutex::default() };
        let say = Say::default();
        let draws = |what: String| {
            board.under_way("stake", &what, PATIENCE, (&say.bar, &mut None)).unwrap();
            !say.bar.is_finished()
        };
        say.doing("asking the faucet");
        assert!(draws(say.now()));
        say.asks();
        assert!(say.bar.is_finished(), "it is gone before anything is asked");
        assert!(!draws(say.now()));
        say.doing("waiting for the transaction");
        assert!(draws(say.now()));
    }

    #[tokio::test]
    async fn what_breaks_beside_the_steps_is_said_of_the_step_that_it_is_a_matter_of() {
        let board = Board::new(Output::new(true));
        let told = |of| board.broken(of, failure()).message;
        assert_eq!(told(None), "it is taken", "no step has begun");
        {
            // A step that is given up, as when the node ends meanwhile.
            let step =
                board.step("start", async |_| std::future::pending::<Result<((), String), Failure>>().await);
            tokio::select! {
                biased;
                _ = step => panic!("it waits for ever"),
                () = std::future::ready(()) => {}
            }
        }
        let broken = board.broken(None, failure());
        assert_eq!((&*broken.message, &*broken.remedy), ("start: it is taken", "name another"));
        assert_eq!(told(None), "it is taken", "that step has ended");
        assert_eq!(told(Some("address")), "address: it is taken", "whatever is under way");
        board.step("start", async |_| Ok(((), String::new()))).await.unwrap();
        assert_eq!(told(None), "it is taken", "a step that is done is not to blame");
    }
}
