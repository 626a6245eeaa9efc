//! Project chores: everything that is done to the repository, in one program.
//!
//! `cargo xtask demo` and `cargo xtask test` are all a newcomer needs; the other commands are the steps they are made of
//! and the measuring tools. Each command says what it does while it does it.

mod bench;
mod ci;
mod console;
mod delegate;
mod demo;
mod drill;
mod npm;
mod paths;
mod process;
mod programs;
mod release;
mod setup;
mod stack;
mod stamp;
mod test;
mod wasm;

use clap::ArgMatches;

/// A command: what it takes, and what it does.
struct Chore {
    arguments: fn() -> clap::Command,
    run: fn(&ArgMatches) -> anyhow::Result<()>,
}

/// Every command, in the order the help shows them.
const CHORES: [Chore; 11] = [
    Chore { arguments: demo::arguments, run: demo::run },
    Chore { arguments: test::arguments, run: test::run },
    Chore { arguments: setup::arguments, run: |_| setup::run() },
    Chore { arguments: wasm::arguments, run: wasm::run },
    Chore { arguments: delegate::replay_arguments, run: delegate::replay },
    Chore { arguments: delegate::sim_arguments, run: delegate::sim },
    Chore { arguments: bench::arguments, run: bench::run },
    Chore { arguments: drill::arguments, run: drill::run },
    Chore { arguments: release::arguments, run: release::run },
    Chore { arguments: stack::arguments, run: stack::run },
    Chore { arguments: stack::doctor::arguments, run: stack::doctor::run },
];

fn main() -> std::process::ExitCode {
    let matches = clap::Command::new("xtask")
        .bin_name("cargo xtask")
        .about("Project chores.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(CHORES.map(|chore| (chore.arguments)()))
        .get_matches();
    let chosen = matches.subcommand().and_then(|(name, matches)| {
        let chore = CHORES.into_iter().find(|chore| (chore.arguments)().get_name() == name)?;
        Some((chore, matches))
    });
    let Some((chore, matches)) = chosen else {
        console::complain("there is no such command");
        return std::process::ExitCode::FAILURE;
    };
    match process::obey_signals().and_then(|()| (chore.run)(matches)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            console::complain(&format!("{error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}
