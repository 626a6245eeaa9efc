//! `selvedge-replicator`: parse, run until told to stop, end in order.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use futures_util::future::BoxFuture;
use selvedge_replicator::app;
use selvedge_replicator::command;
use selvedge_replicator::config::{Cli, Command};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.context("the runtime did not start").and_then(|runtime| runtime.block_on(run(cli.command)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // A setting that cannot be is told from a service that is away.
            let setting = error.downcast_ref::<selvedge_region::regional::SettingError>().is_some();
            ExitCode::from(if setting { 2 } else { 1 })
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(config) => {
            log(&config.log_level)?;
            app::run(*config, stopped()?).await
        }
        Command::Observe(config) => {
            log(&config.log_level)?;
            app::observe(*config, stopped()?).await
        }
        Command::Status(config) => command::status(*config).await,
        Command::Switchover(config) => command::switchover(*config).await,
        Command::Promote(config) => command::promote(*config).await,
    }
}

fn log(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level)
        .with_context(|| format!("--log-level {level} is no filter\n  fix: give error, warn, info, debug or trace"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

/// Answers when the process is told to stop.
fn stopped() -> anyhow::Result<BoxFuture<'static, ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }))
}
