//! `session doctor`: what is wrong with a node, and how to mend it.
//!
//! - `facts`: what can be known of a node
//! - `gather`: looks and asks
//! - `judge`: from that to findings
//! - `bundle`: an archive for whoever helps

mod bundle;
mod facts;
mod gather;
mod judge;

use std::{fs, path::PathBuf};

use serde_json::json;

use crate::{
    Context,
    args::Doctor,
    failure::{Exit, Failure},
    stake::NODES,
    text,
};
use gather::gather;
use judge::{Finding, Severity, judge, worst};

pub(crate) async fn run(context: &Context, arguments: &Doctor) -> Result<(), Failure> {
    let data = folder(context, arguments)?;
    if !data.is_dir() {
        let message = format!("there is no folder {}", data.display());
        return Err(Failure::new(Exit::Failed, "no_data", message, "name the node's folder: --data DIR"));
    }
    // Before it takes its time.
    if let Some(path) = &arguments.bundle {
        bundle::check(path)?;
    }
    context.output.note(&format!("looking at the node in {}; this may take some seconds", data.display()));
    let gathered = Box::pin(gather(context, &data)).await;
    let findings = judge(&gathered.facts);
    if let Some(path) = &arguments.bundle {
        let files = bundle::files(&data, &gathered, &findings);
        bundle::write(path, &files, gathered.facts.now / 1_000)?;
    }
    let worst = worst(&findings);
    let told = json!({
        "data": data,
        "id": gathered.facts.keys.id.as_ref().ok(),
        "worst": worst,
        "findings": findings,
        "bundle": arguments.bundle,
    });
    context.output.data(&told, || {
        let bundle = arguments.bundle.as_ref().map(|path| format!("\nwrote {}", path.display()));
        people(&findings) + &bundle.unwrap_or_default()
    })?;
    match worst {
        Severity::Ok => Ok(()),
        Severity::Warn => Err(Failure::told(Exit::NotReady)),
        Severity::Fail => Err(Failure::told(Exit::Failed)),
    }
}

/// The folder of the node that is meant: as was said, of the network that was named, or the only one there is.
fn folder(context: &Context, arguments: &Doctor) -> Result<PathBuf, Failure> {
    if let Some(data) = &arguments.data {
        return Ok(data.clone());
    }
    let nodes = context.home_path()?.join(NODES);
    let named = context.global.network.as_deref().map(|network| nodes.join(network));
    if let Some(named) = named.filter(|named| named.is_dir()) {
        return Ok(named);
    }
    let found = fs::read_dir(&nodes).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = found.filter(|path| path.is_dir()).collect();
    found.sort();
    match &*found {
        [one] => Ok(one.clone()),
        [] => {
            let message =
                format!("it is not said which node is meant, and there is none in {}", nodes.display());
            Err(Failure::usage(message, "name its folder: --data DIR"))
        }
        [_, _, ..] => {
            let all: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
            let message = format!("there are several nodes: {}", all.join(", "));
            Err(Failure::usage(message, "name the folder of one: --data DIR"))
        }
    }
}

/// A line for each finding, what to do below it, and at the end how many there are of which kind.
fn people(findings: &[Finding]) -> String {
    let mut lines = String::new();
    for Finding { check, severity, found, remedy } in findings {
        let mark = match severity {
            Severity::Ok => "ok  ",
            Severity::Warn => "warn",
            Severity::Fail => "FAIL",
        };
        let check = check.replace('_', " ");
        lines += &format!("{mark}  {check:<13}  {}\n", text::block(found, "        "));
        if let Some(remedy) = remedy {
            lines += &format!("      {:<13}  fix: {}\n", "", text::block(remedy, "        "));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (failed, warned) = (count(Severity::Fail), count(Severity::Warn));
    let summary = match (failed, warned) {
        (0, 0) => "nothing is to be done".to_owned(),
        (failed, warned) => format!("{failed} broken, {warned} to be looked at"),
    };
    format!("{lines}{summary}")
}
