//! Measure a part of the network beside what it must beat, in one run; `scripts/bench` calls this.

mod onion;
mod store;
mod table;

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let help = words.iter().any(|word| word == "--help");
    let json = words.iter().any(|word| word == "--json");
    words.retain(|word| word != "--json");
    let (name, rest) = words.split_first().map_or(("", &[][..]), |(name, rest)| (name.as_str(), rest));
    let measured = match name {
        "store" if help => Err(store::HELP.to_owned()),
        "onion" if help => Err(onion::HELP.to_owned()),
        "store" => store::run(rest).map_err(|error| format!("{error}\n\n{}", store::HELP)),
        "onion" => onion::run(rest).map_err(|error| format!("{error}\n\n{}", onion::HELP)),
        // What the store's restart is measured with: a process to be killed.
        "fill-until-killed" => match rest {
            [dir, from] => store::fill(Path::new(dir), from.parse().unwrap_or(0)),
            _ => Err("fill-until-killed wants a directory and a number".to_owned()),
        },
        _ => Err("usage: peers store|onion [--json] [options]".to_owned()),
    };
    match measured {
        Ok(rows) if json => println!("{}", table::json(&rows)),
        Ok(rows) => table::print(&rows),
        Err(text) if help => print!("{text}"),
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
