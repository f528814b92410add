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
    };
    let bar = testnet::bar("");
    let mut progress = |what, done, all| {
        bar.set_message(what);
        bar.set_length(all);
        bar.set_position(done);
    };
    let rows = bench.run(&mut progress).await;
    bar.finish_and_clear();
    let rows = rows?;
    context.output.data(&json!({ "rows": rows }), || {
        let cells: Vec<_> = rows.iter().map(cells).collect();
        text::table(["WHAT", "OURS", "TARGET", "UNIT", "RATIO"], &cells)
    })
}

fn cells(row: &Row) -> [String; 5] {
    let (target, ratio) = match row.peer {
        Some(peer) => (format!("{peer:.0}"), format!("{:.1}", row.ratio)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    [row.what.clone(), format!("{:.1}", row.ours), target, row.unit.to_owned(), ratio]
}
