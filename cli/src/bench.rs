//! `session testnet bench`: how fast a testnet is.

use serde_json::json;
use session_testnet::bench::{Bench, Row};

use crate::{Context, args, failure::Failure, testnet, text};

pub(crate) async fn run(context: &Context, arguments: &args::Bench) -> Result<(), Failure> {
    let bench = Bench {
        binary: testnet::binary()?,
        nodes: arguments.nodes.into(),
        clients: arguments.clients.into(),
        seconds: arguments.seconds.into(),
        paths: arguments.paths,
    };
    let bar = testnet::bar("");
    let mut progress = |what, done, all| {
        bar.set_message(what);
        bar.set_length(all);
        bar.set_position(done);
    };
    let rows = match arguments {
        args::Bench { relay: true, .. } => bench.relay(&mut progress).await,
        args::Bench { start: true, .. } => bench.start(&mut progress).await,
        args::Bench { names: true, .. } => bench.names(&mut progress).await,
        args::Bench { door: true, .. } => bench.door(&mut progress).await,
        args::Bench { .. } => bench.run(&mut progress).await,
    };
    bar.finish_and_clear();
    let rows = rows?;
    context.output.data(&json!({ "rows": rows }), || {
        let cells: Vec<_> = rows.iter().map(cells).collect();
        text::table(["WHAT", "OURS", "TARGET", "UNIT", "RATIO"], &cells)
    })
}

fn cells(row: &Row) -> [String; 5] {
    let Row { what, ours, peer, unit, ratio, .. } = row;
    [what.clone(), format!("{ours:.1}"), format!("{peer:.1}"), (*unit).to_owned(), format!("{ratio:.1}")]
}
