//! Project chores: everything that is done to the repository, in one program.
//!
//! `cargo xtask demo` and `cargo xtask test` are all a newcomer needs; the other commands are the steps they are made of
//! and the measuring tools. Each command says what it does while it does it.

mod console;
mod npm;
mod paths;
mod process;
mod setup;
mod stamp;
mod wasm;

use clap::{Parser, Subcommand};

/// Project chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check every tool the project needs; install what is missing, or name it with its fix.
    Setup,
    /// Build the WebAssembly module and the npm package around it, into client-wasm/pkg.
    Wasm(wasm::Options),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Chore::Setup => setup::run(),
        Chore::Wasm(options) => wasm::run(&options),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            console::complain(&format!("{error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}
