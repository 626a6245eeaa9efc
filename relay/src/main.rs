//! `selvedge-relay`: parse, run, print one URL, drain when told.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use selvedge_relay::auth::mint;
use selvedge_relay::config::{self, BackupArgs, Cli, Command, ConfigCommand, LogFormat, Setting};
use selvedge_relay::{Config, backup, run};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let (cli, settings) = match config::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(config::ConfigError::Flags(error)) => error.exit(),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome =
        runtime.context("the runtime did not start").and_then(|runtime| runtime.block_on(command(cli, settings)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn command(cli: Cli, settings: Vec<Setting>) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(config) => serve(*config, &settings).await,
        Command::Backup(BackupArgs { file, data }) => {
            let context = || format!("the data of {} was not copied to {}", data.display(), file.display());
            backup(&data, &file).await.with_context(context)?;
            println!("{}", file.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Token(arguments) => {
            println!("{}", mint::run(&arguments)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Config(arguments) => {
            if matches!(arguments.command, ConfigCommand::Print(_)) {
                let mut out = std::io::stdout().lock();
                for Setting { name, value, origin } in &settings {
                    writeln!(out, "{name} = {value:?} # {origin}")?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn serve(config: Config, settings: &[Setting]) -> anyhow::Result<ExitCode> {
    start_logging(&config)?;
    for Setting { name, value, origin } in settings.iter().filter(|setting| setting.origin != "default") {
        tracing::info!(name, value, origin, "setting");
    }
    let mut terminate = signals()?;
    let running = run(config).await?;
    println!("{}", running.url());
    terminate.next().await;
    let drained = tokio::select! {
        drained = running.drain() => drained,
        () = terminate.next() => {
            tracing::warn!("told twice: leaving at once");
            return Ok(ExitCode::FAILURE);
        }
    };
    if !drained {
        tracing::warn!("not everything was finished in time; nothing acknowledged is lost");
    }
    Ok(ExitCode::SUCCESS)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn signals() -> anyhow::Result<Signals> {
    let context = "signals cannot be listened to";
    Ok(Signals {
        terminate: signal(SignalKind::terminate()).context(context)?,
        interrupt: signal(SignalKind::interrupt()).context(context)?,
    })
}

fn start_logging(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log_level).with_context(|| {
        format!(
            "--log-level {}: not a level or filter\n  fix: give error, warn, info, debug or trace",
            config.log_level
        )
    })?;
    // Colours are for people: a file or a collector of logs would keep their codes.
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
