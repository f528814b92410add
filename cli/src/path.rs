//! `session path`: the onion paths that requests travel over.

use serde_json::{Value, json};
use session_client::PathInfo;
use session_protocols::path::{State, Use};

use crate::{Context, args::Path, failure::Failure, network::Access, text};

pub(crate) async fn run(context: &Context, command: Path) -> Result<(), Failure> {
    let account = context.home()?.accounts()?.first().map(|(_, id)| *id);
    let access = Access::open(context).await?;
    let accounts: Vec<_> = account.into_iter().collect();
    let made = access.client.prepare_paths(&accounts).await;
    let mut paths = made.map_err(|error| access.failed(error))?;
    if matches!(command, Path::Rebuild) {
        access.client.rebuild_paths();
        let made = access.client.prepare_paths(&accounts).await;
        paths = made.map_err(|error| access.failed(error))?;
    }
    let shown: Vec<_> = paths.iter().map(show).collect();
    context.output.data(&json!({ "paths": shown }), || match paths.as_slice() {
        [] => "no paths: nodes are asked straight".to_owned(),
        paths => paths.iter().map(human).collect(),
    })
}

/// A path as programs are told.
fn show(path: &PathInfo) -> Value {
    let hops = path.hops.iter().map(|hop| json!({ "id": hop.id, "address": hop.address }));
    json!({
        "hops": hops.collect::<Vec<_>>(),
        "use": usage(path.usage),
        "age_s": path.age.as_secs(),
        "state": state(path.state),
    })
}

fn human(path: &PathInfo) -> String {
    let PathInfo { hops, age, .. } = path;
    let mut lines = format!("{}: {}, {} s old\n  you\n", usage(path.usage), state(path.state), age.as_secs());
    for (hop, name) in hops.iter().zip(["guard", "middle", "last"]) {
        let address = hop.address.as_deref().unwrap_or("(address not known)");
        lines.push_str(&format!(
            "   |  {name:<6}  {}  {}\n",
            text::short(&hop.id.to_string()),
            text::plain(address)
        ));
    }
    lines.push_str("  the node that is asked\n");
    lines
}

fn usage(usage: Use) -> String {
    match usage {
        Use::Read(account) => format!("read {account}"),
        Use::Send => "send".to_owned(),
        Use::Copy => "copy".to_owned(),
        Use::Look => "look".to_owned(),
    }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Building => "building",
        State::Ready => "ready",
        State::Suspect => "suspect",
    }
}
