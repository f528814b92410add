//! An endpoint as the follower sees it: what it was asked, how it behaved, and whether it is believed.

use rand_chacha::{ChaCha8Rng, rand_core::Rng};
use session_protocols::{Span, Time};

use super::{Answer, Header, Pace, Question, Which, errand::Version};
use crate::settlement::trouble::Trouble;

/// Pauses between repeats of one question: the first, doubled up to the last.
const FIRST_PAUSE: Span = Span::millis(250);
const LAST_PAUSE: Span = Span::secs(8);
/// The most that [`Pace::leave_out`] is doubled.
const MAX_STRIKES: u32 = 6;

/// What comes of a question without an answer.
pub(super) enum Failing {
    /// It is asked again.
    Again,
    /// It is left out, for this reason.
    TooLong(Trouble),
}

#[derive(Debug)]
pub(super) struct Witness {
    pub(super) name: String,
    /// Whether it takes part in the present cycle.
    pub(super) takes_part: bool,
    /// Until when it is left out.
    pub(super) out: Option<Time>,
    /// What it did wrong last.
    pub(super) trouble: Option<Trouble>,
    /// How often it was left out, less what was forgiven.
    strikes: u32,
    /// How often it was left out.
    pub(super) faults: u64,
    pub(super) asked: u64,
    /// Whether its chain id has been seen since it joined.
    pub(super) known: bool,
    /// Its newest final block.
    pub(super) head: Option<Header>,
    /// Whether it has a task.
    pub(super) busy: bool,
    pub(super) found: Vec<(Question, Answer)>,
    pub(super) version: Option<Version>,
    waiting: Option<(u64, Question, Time)>,
    retry: Option<Time>,
    failing: Option<Time>,
    pause: Span,
}

impl Witness {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            takes_part: false,
            out: None,
            trouble: None,
            strikes: 0,
            faults: 0,
            asked: 0,
            known: false,
            head: None,
            busy: false,
            found: Vec::new(),
            version: None,
            waiting: None,
            retry: None,
            failing: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Takes part in the cycle that begins, unless it is left out.
    pub(super) fn join(&mut self, now: Time) {
        if self.out.is_some_and(|until| until <= now) {
            (self.out, self.known) = (None, false);
        }
        self.takes_part = self.out.is_none();
    }

    /// Forgets its task.
    pub(super) fn reset(&mut self) {
        self.busy = false;
        self.found = Vec::new();
        (self.version, self.waiting, self.retry) = (None, None, None);
    }

    pub(super) const fn ask(&mut self, id: u64, question: Question, until: Time) {
        self.asked = self.asked.saturating_add(1);
        self.waiting = Some((id, question, until));
        self.retry = None;
    }

    /// The question that an answer belongs to; none when nobody waits for it any more.
    pub(super) fn answered(&mut self, id: u64) -> Option<Question> {
        let (_, question, _) = self.waiting.take_if(|(waiting, ..)| *waiting == id)?;
        Some(question)
    }

    /// Keeps an answer; its fault when it is none to the question.
    pub(super) fn take(&mut self, question: Question, answer: Answer) -> Result<(), Trouble> {
        match (&question, &answer) {
            (Question::Header(Which::Final), Answer::Header(Some(header))) => {
                if let Some(head) = self.head.filter(|head| head.height > header.height) {
                    return Err(Trouble::WentBack { from: head.height, to: header.height });
                }
                (self.head, self.known) = (Some(*header), true);
            }
            (Question::Header(Which::Final), Answer::Header(None)) => {
                return Err(Trouble::NoAnswer { what: "its final block" });
            }
            (Question::Header(Which::At(height)), Answer::Header(Some(header))) => {
                if header.height != *height {
                    return Err(Trouble::OtherBlock { height: *height, found: header.height });
                }
            }
            (Question::Header(Which::At(height)), Answer::Header(None)) => {
                return Err(Trouble::UnknownBlock { height: *height });
            }
            (Question::Chain, Answer::Chain(_))
            | (Question::Logs { .. }, Answer::Logs(_))
            | (Question::Cursors(_), Answer::Cursors(_)) => {}
            _ => return Err(Trouble::NoAnswer { what: "another question" }),
        }
        (self.failing, self.pause) = (None, FIRST_PAUSE);
        self.found.push((question, answer));
        Ok(())
    }

    pub(super) fn done(&mut self, version: Version) {
        self.reset();
        self.version = Some(version);
    }

    /// No answer came: it is asked again after a pause, within the patience.
    pub(super) fn failed(
        &mut self,
        now: Time,
        pace: &Pace,
        trouble: Trouble,
        rng: &mut ChaCha8Rng,
    ) -> Failing {
        self.waiting = None;
        let since = *self.failing.get_or_insert(now);
        let patience = pace.patience.0.saturating_sub(pace.answer.0);
        if now.since(since).0 >= patience {
            return Failing::TooLong(trouble);
        }
        self.trouble = Some(trouble);
        self.retry = Some(now.after(jitter(self.pause, rng)));
        self.pause = Span(self.pause.0.saturating_mul(2).min(LAST_PAUSE.0));
        Failing::Again
    }

    pub(super) fn leave_out(&mut self, now: Time, pace: &Pace, trouble: Trouble, rng: &mut ChaCha8Rng) {
        self.reset();
        (self.takes_part, self.head, self.failing, self.pause) = (false, None, None, FIRST_PAUSE);
        self.trouble = Some(trouble);
        self.faults = self.faults.saturating_add(1);
        let pause = Span(pace.leave_out.0.saturating_mul(1 << self.strikes.min(MAX_STRIKES)));
        self.strikes = self.strikes.saturating_add(1).min(MAX_STRIKES);
        self.out = Some(now.after(jitter(pause, rng)));
    }

    /// A check went well.
    pub(super) const fn forgive(&mut self) {
        if self.takes_part {
            self.strikes = self.strikes.saturating_sub(1);
        }
    }

    /// The question that has waited for too long.
    pub(super) fn timed_out(&self, now: Time) -> Option<Question> {
        self.waiting.filter(|(_, _, until)| *until <= now).map(|(_, question, _)| question)
    }

    pub(super) fn retry_due(&self, now: Time) -> bool {
        self.retry.is_some_and(|retry| retry <= now)
    }

    /// Whether it failed to answer and has not made up for it.
    pub(super) const fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.waiting.map(|(_, _, until)| until).into_iter().chain(self.retry).min()
    }
}

/// From one to one and a half times the pause, so that nodes do not come back all at once.
fn jitter(pause: Span, rng: &mut ChaCha8Rng) -> Span {
    let half = (u128::from(pause.0 / 2) * u128::from(rng.next_u64())) >> 64;
    Span(pause.0.saturating_add(u64::try_from(half).unwrap_or_default()))
}
