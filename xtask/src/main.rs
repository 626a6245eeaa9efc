//! Project chores: everything that is done to the repository, in one program.
//!
//! `cargo xtask demo` and `cargo xtask test` are all a newcomer needs; the other commands are the steps they are made of
//! and the measuring tools. Each command says what it does while it does it.

mod bench;
mod ci;
mod console;
mod delegate;
mod demo;
mod npm;
mod paths;
mod process;
mod setup;
mod stamp;
mod test;
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
    /// Build everything the demo needs, start it, and print its address.
    Demo(demo::Options),
    /// Run every test of the project.
    Test(test::Options),
    /// Replay a recorded editing session through two real clients; `--browsers`: through two browsers.
    Replay(delegate::Options),
    /// Simulate the whole system, with faults, from seeds.
    Sim(delegate::Options),
    /// Measure, print the figures and keep them.
    Bench(bench::Options),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Chore::Setup => setup::run(),
        Chore::Wasm(options) => wasm::run(&options),
        Chore::Demo(options) => demo::run(&options),
        Chore::Test(options) => test::run(&options),
        Chore::Replay(options) => delegate::replay(&options),
        Chore::Sim(options) => delegate::sim(&options),
        Chore::Bench(options) => bench::run(&options),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            console::complain(&format!("{error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}
