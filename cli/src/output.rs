//! What is printed: results for people or in an envelope for programs, errors likewise.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;
use serde_json::json;

use crate::{failure::Failure, text};

/// Where results and errors go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result: the envelope, or what `human` says.
    pub(crate) fn data(self, data: &impl Serialize, human: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { self.envelope(&json!({ "data": data })) } else { self.line(&human()) }
    }

    /// Prints lines for people.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let written = write!(out, "{text}{end}").and_then(|()| out.flush());
        written.map_err(|cause| Failure::io("cannot print", &cause))
    }

    /// Says something beside the result, for people only.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            // Nobody is told when nobody listens.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Warns of something, whoever reads the result.
    pub(crate) fn warn(self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "warning: {text}");
    }

    /// Prints an error and returns the exit code that goes with it.
    pub(crate) fn failure(self, failure: &Failure) -> ExitCode {
        let Failure { exit, code, message, remedy } = failure;
        if failure.is_told() {
        } else if self.json {
            let _ =
                self.envelope(&json!({ "error": { "code": code, "message": message, "remedy": remedy } }));
        } else {
            let (message, remedy) = (text::block(message, ""), text::block(remedy, ""));
            let _ = writeln!(io::stderr().lock(), "error: {message}\n  fix: {remedy}");
        }
        (*exit).into()
    }

    fn envelope(self, value: &serde_json::Value) -> Result<(), Failure> {
        self.line(&text::escape_json(&value.to_string()))
    }
}
