//! `session completions` and `session man`: made from the definition of the commands.

use std::{io, path::Path};

use clap::CommandFactory;
use serde_json::json;

use crate::{
    Context,
    args::{Cli, Completions, Man},
    failure::Failure,
};

pub(crate) fn completions(context: &Context, arguments: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "session", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    context.output.data(&json!({ "shell": arguments.shell.to_string(), "script": script }), || script.clone())
}

pub(crate) fn man(context: &Context, arguments: &Man) -> Result<(), Failure> {
    let mut root = Cli::command();
    // Gives each command its full name, and the options that all understand.
    root.build();
    if let Some(folder) = &arguments.out {
        let written = std::fs::create_dir_all(folder).and_then(|()| pages(&root, folder));
        written.map_err(|cause| {
            Failure::io(&format!("cannot write the manual to {}", folder.display()), &cause)
        })?;
        let shown = folder.display();
        return context
            .output
            .data(&json!({ "folder": folder }), || format!("a page for every command is in {shown}"));
    }
    let mut command = &root;
    for word in &arguments.command {
        command = command.find_subcommand(word).ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
            let name = command.get_bin_name().unwrap_or("session");
            let remedy = match known.as_slice() {
                [] => format!("{name} has no commands of its own"),
                known => format!("choose one of {}", known.join(", ")),
            };
            Failure::usage(format!("{name} has no command {word}"), remedy)
        })?;
    }
    let (name, mut text) = (command.get_display_name().unwrap_or("session"), Vec::new());
    page(command).render(&mut text).map_err(|cause| Failure::io("cannot write the manual", &cause))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    context.output.data(&json!({ "name": name, "page": text }), || text.clone())
}

/// Writes a page for a command and for each below it.
fn pages(command: &clap::Command, folder: &Path) -> io::Result<()> {
    // Those that only repeat what --help says have none.
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        pages(below, folder)?;
    }
    page(command).generate_to(folder).map(drop)
}

fn page(command: &clap::Command) -> clap_mangen::Man {
    let name = command.get_display_name().unwrap_or("session").to_uppercase();
    let source = concat!("session ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).title(name).source(source).manual("Session")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in clap_complete::Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "session", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            assert!(script.contains("door-certificate"), "{shell}: flags that come from the table");
        }
    }

    #[test]
    fn there_is_a_page_for_every_command_and_it_has_its_examples() {
        let folder = tempfile::tempdir().unwrap();
        let mut root = Cli::command();
        root.build();
        pages(&root, folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("session-node-run.1")).unwrap();
        assert!(page.contains("session node run") && page.contains("Examples"), "{page}");
        assert!(page.contains("SESSION_DOOR"), "{page}");
        fn commands(command: &clap::Command) -> usize {
            1 + command.get_subcommands().map(commands).sum::<usize>()
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), commands(&Cli::command()));
    }
}
