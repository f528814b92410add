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
    publish::PUBLISHED,
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
    meant(&context.home_path()?, services, context.global.network.as_deref())
}

fn meant(home: &Path, services: Vec<PathBuf>, network: Option<&str>) -> Result<PathBuf, Failure> {
    let nodes = home.join(NODES);
    let mut found: Vec<PathBuf> = folders(&nodes).into_iter().chain(services).collect();
    found.sort();
    found.dedup();
    let of_network = |path: &&PathBuf| network.is_some_and(|name| path.file_name() == Some(OsStr::new(name)));
    let named: Vec<PathBuf> = found.iter().filter(of_network).cloned().collect();
    // Those that a network was begun with are named with that, and meant where there are no others.
    let begun = |path: &PathBuf| folders(path).into_iter().filter(|path| is_first(path));
    let published = folders(&home.join(PUBLISHED));
    if !named.is_empty() {
        found = named;
    } else if let Some(network) = published.iter().find(|path| of_network(path)) {
        found = begun(network).collect();
    } else if found.is_empty() {
        found = published.iter().flat_map(begun).collect();
    }
    found.sort();
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

/// Whether a folder of a network that was begun here is that of a node.
fn is_first(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("node-"))
}

/// The folders in one.
fn folders(of: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(of).into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| path.is_dir()).collect()
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
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path();
        let nodes = home.join(NODES);
        let (one, net) = (PathBuf::from("/var/lib/session/one"), PathBuf::from("/var/lib/session/net"));
        assert_eq!(meant(home, Vec::new(), None).unwrap_err().code, "usage");
        assert_eq!(meant(home, vec![one.clone()], None).unwrap(), one);
        assert_eq!(meant(home, vec![one.clone(), net.clone()], Some("net")).unwrap(), net);
        let several = meant(home, vec![one.clone(), net.clone()], None).unwrap_err();
        assert!(several.message.contains("/var/lib/session/net, /var/lib/session/one"), "{several:?}");
        fs::create_dir_all(nodes.join("own")).unwrap();
        assert_eq!(meant(home, Vec::new(), Some("net")).unwrap(), nodes.join("own"));
        assert_eq!(meant(home, vec![net.clone()], Some("net")).unwrap(), net);
        fs::create_dir_all(nodes.join("net")).unwrap();
        assert!(meant(home, vec![net], Some("net")).is_err(), "two of one name");
        assert_eq!(meant(home, vec![one], Some("net")).unwrap(), nodes.join("net"));
    }

    #[test]
    fn the_first_nodes_of_a_network_that_was_begun_here_are_found_where_no_other_is_meant() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path();
        let published = home.join(PUBLISHED).join("net");
        for name in ["node-1", "publisher"] {
            fs::create_dir_all(published.join(name)).unwrap();
        }
        assert_eq!(meant(home, Vec::new(), None).unwrap(), published.join("node-1"));
        let service = PathBuf::from("/var/lib/session/one");
        assert_eq!(meant(home, vec![service.clone()], None).unwrap(), service);
        assert_eq!(meant(home, vec![service.clone()], Some("other")).unwrap(), service);
        assert_eq!(meant(home, vec![service], Some("net")).unwrap(), published.join("node-1"));
        fs::create_dir_all(published.join("node-2")).unwrap();
        let several = meant(home, Vec::new(), Some("net")).unwrap_err();
        assert!(
            several.message.contains("net/node-1, ") && several.remedy.contains("--data DIR"),
            "{several:?}"
        );
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
