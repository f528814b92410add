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

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    Context,
    args::Doctor,
    failure::{Exit, Failure},
    join::service::{UNITS, unit::installed},
    stake::NODES,
    text,
};
use gather::gather;
use judge::{Finding, Severity, judge, worst};

pub(crate) async fn run(context: &Context, arguments: &Doctor) -> Result<(), Failure> {
    let data = folder(context, arguments)?;
    look(&data, rustix::process::geteuid().as_raw())?;
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

/// Whether a user may look into a node's folder.
fn look(data: &Path, me: u32) -> Result<(), Failure> {
    let (closed, missing) = match fs::metadata(data) {
        Ok(found) => (me != 0 && found.uid() != me, !found.is_dir()),
        Err(cause) => {
            let closed = cause.kind() == io::ErrorKind::PermissionDenied;
            (closed, !closed)
        }
    };
    let data = data.display();
    if missing {
        let message = format!("there is no folder {data}");
        return Err(Failure::new(Exit::Failed, "no_data", message, "name the node's folder: --data DIR"));
    }
    if closed {
        let message = format!("the node in {data} is another user's: how it is cannot be seen from here");
        let remedy = format!("run it as root or as the node's user: sudo session doctor --data {data}");
        return Err(Failure::new(Exit::Refused, "not_own", message, remedy));
    }
    Ok(())
}

/// The folder of the node that is meant: as was said, of the network that was named, or the only one there is, of this
/// user or of a service.
fn folder(context: &Context, arguments: &Doctor) -> Result<PathBuf, Failure> {
    if let Some(data) = &arguments.data {
        return Ok(data.clone());
    }
    let services = installed(Path::new(UNITS)).into_iter().map(|unit| unit.data).collect();
    meant(&context.home_path()?.join(NODES), services, context.global.network.as_deref())
}

fn meant(nodes: &Path, services: Vec<PathBuf>, network: Option<&str>) -> Result<PathBuf, Failure> {
    let own = fs::read_dir(nodes).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = own.filter(|path| path.is_dir()).chain(services).collect();
    found.sort();
    found.dedup();
    let of_network = |path: &&PathBuf| network.is_some_and(|name| path.file_name() == Some(OsStr::new(name)));
    let named: Vec<PathBuf> = found.iter().filter(of_network).cloned().collect();
    if !named.is_empty() {
        found = named;
    }
    match &*found {
        [one] => Ok(one.clone()),
        [] => {
            let message = format!(
                "it is not said which node is meant, and there is none in {}, nor a service",
                nodes.display()
            );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_that_is_meant_is_found_in_the_home_and_among_services() {
        let home = tempfile::tempdir().unwrap();
        let nodes = home.path().join(NODES);
        let (one, net) = (PathBuf::from("/var/lib/session/one"), PathBuf::from("/var/lib/session/net"));
        assert_eq!(meant(&nodes, Vec::new(), None).unwrap_err().code, "usage");
        assert_eq!(meant(&nodes, vec![one.clone()], None).unwrap(), one);
        assert_eq!(meant(&nodes, vec![one.clone(), net.clone()], Some("net")).unwrap(), net);
        let several = meant(&nodes, vec![one.clone(), net.clone()], None).unwrap_err();
        assert!(several.message.contains("/var/lib/session/net, /var/lib/session/one"), "{several:?}");
        fs::create_dir_all(nodes.join("own")).unwrap();
        assert_eq!(meant(&nodes, Vec::new(), Some("net")).unwrap(), nodes.join("own"));
        assert_eq!(meant(&nodes, vec![net.clone()], Some("net")).unwrap(), net);
        fs::create_dir_all(nodes.join("net")).unwrap();
        assert!(meant(&nodes, vec![net], Some("net")).is_err(), "two of one name");
        assert_eq!(meant(&nodes, vec![one], Some("net")).unwrap(), nodes.join("net"));
    }

    #[test]
    fn whoever_may_not_look_is_told_who_may() {
        let folder = tempfile::tempdir().unwrap();
        let owner = fs::metadata(folder.path()).unwrap().uid();
        assert!(look(folder.path(), owner).is_ok() && look(folder.path(), 0).is_ok());
        let other = look(folder.path(), owner + 4_711).unwrap_err();
        assert_eq!((other.exit, other.code), (Exit::Refused, "not_own"));
        assert!(other.remedy.starts_with("run it as root or as the node's user"), "{other:?}");
        assert_eq!(look(&folder.path().join("none"), owner).unwrap_err().code, "no_data");
    }
}
