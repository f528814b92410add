//! What is seen of a command of many steps: each is ticked with its time, and says what it waits for.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::ProgressBar;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{failure::Failure, output::Output};

/// After how long a step says that it is under way.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it says so again where there is no terminal.
const AGAIN: u64 = 10;

/// What a step says that waits for an answer at the terminal, where nothing is to be drawn over the question.
pub(crate) const ASKED: &str = "waiting for your answer";

/// What a step says while it is under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Say(Arc<Mutex<String>>);

impl Say {
    /// What it does, or waits for.
    pub(crate) fn doing(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
    }

    fn now(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The steps of one command.
#[derive(Debug)]
pub(crate) struct Board {
    output: Output,
    terminal: bool,
    /// The step that is under way, and since when.
    current: Mutex<Option<(&'static str, Instant)>>,
}

impl Board {
    pub(crate) fn new(output: Output) -> Self {
        let terminal = std::io::stderr().is_terminal() && !output.is_json();
        Self { output, terminal, current: Mutex::default() }
    }

    /// Does one step, and says how it went: `work` returns what it made, and what is told of it.
    pub(crate) async fn step<T>(
        &self,
        name: &'static str,
        work: impl AsyncFnOnce(Say) -> Result<(T, String), Failure>,
    ) -> Result<T, Failure> {
        let (say, begun) = (Say::default(), Instant::now());
        *self.current() = Some((name, begun));
        let bar = if self.terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let mut work = Box::pin(work(say.clone()));
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                _ = second.tick() => self.under_way(name, &say.now(), begun.elapsed(), &bar)?,
            }
        };
        bar.finish_and_clear();
        let took = begun.elapsed();
        *self.current() = None;
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

    /// Says that the step which is under way, if one is, ended with what ends all of them, and names it there.
    pub(crate) fn cut(&self, failure: Failure) -> Failure {
        let Some((name, begun)) = self.current().take() else { return failure };
        // Where nobody reads any more, the failure says enough.
        let _ = self.ended(name, "failed", &failure.message, begun.elapsed());
        Failure { message: format!("{name}: {}", failure.message), ..failure }
    }

    fn current(&self) -> MutexGuard<'_, Option<(&'static str, Instant)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self, name: &str, what: &str, took: Duration, bar: &ProgressBar) -> Result<(), Failure> {
        let seconds = took.as_secs();
        if self.terminal && what == ASKED {
            return Ok(());
        }
        if self.terminal {
            bar.set_message(format!("{name:<10} {what} ({seconds} s)"));
            bar.tick();
            return Ok(());
        }
        if seconds != PATIENCE.as_secs() && (seconds == 0 || !seconds.is_multiple_of(AGAIN)) {
            return Ok(());
        }
        if self.output.is_json() {
            let told = json!({ "step": name, "state": "working", "detail": what, "took": millis(took) });
            return self.output.data(&told, String::new);
        }
        self.output.note(&format!("  … {name:<10} {what} ({seconds} s)"));
        Ok(())
    }

    fn ended(&self, name: &str, state: &str, told: &str, took: Duration) -> Result<(), Failure> {
        let data = json!({ "step": name, "state": state, "detail": told, "took": millis(took) });
        let mark = if state == "done" { "✓" } else { "✗" };
        self.output.data(&data, || format!("{mark} {name:<10} {told} ({:.1} s)", took.as_secs_f64()))
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::FutureExt;

    use super::*;
    use crate::failure::Exit;

    #[tokio::test]
    async fn a_step_that_is_cut_short_is_named_in_what_cut_it() {
        let board = Board::new(Output::new(true));
        let full = || Failure::new(Exit::Failed, "disk", "the disk is full", "make room");
        assert_eq!(board.cut(full()).message, "the disk is full", "no step is under way");
        let step = board.step("start", async |_| {
            pending::<()>().await;
            Ok(((), String::new()))
        });
        assert!(step.now_or_never().is_none());
        let cut = board.cut(full());
        assert_eq!((&*cut.message, cut.code), ("start: the disk is full", "disk"));
        // One that has ended is not.
        board.step("stake", async |_| Ok(((), String::new()))).await.unwrap();
        let failed = board.step("active", async |_| Err::<((), String), _>(full())).await.unwrap_err();
        assert_eq!(failed.message, "active: the disk is full");
        assert_eq!(board.cut(full()).message, "the disk is full");
    }
}
