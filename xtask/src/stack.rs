//! The stack: two local regions on real services, without containers.
//!
//! Each service runs as a process that outlives the command which started it; `stack up` finds and keeps what runs,
//! replaces what does not answer, and starts the rest. All of it listens on this machine alone, except for DynamoDB Local,
//! which cannot be told to: it answers on every interface.

mod daemon;
pub(crate) mod doctor;
mod health;
mod install;
mod launch;
mod run;
mod service;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command};

pub(crate) use install::{schema_checker, versions};
pub(crate) use launch::find_postgres;
pub(crate) use run::{Stack, Standing, bucket};
pub(crate) use service::{Kind, Region, Service};

use crate::paths;
use crate::setup::{self, Tool};

/// The first port of a stack where nothing else is said; it takes 30.
pub(crate) const PORTS: u16 = 4600;

/// The command `stack`.
pub(crate) fn arguments() -> Command {
    let stack = Command::new("stack")
        .about("Start, end or show two local regions on real services")
        .subcommand_required(true)
        .arg_required_else_help(true);
    placed(stack)
        .subcommand(
            selected(Command::new("up"))
                .about("Start what does not run, wait until it answers, and print the addresses"),
        )
        .subcommand(
            selected(Command::new("down"))
                .about("End what was started")
                .arg(Arg::new("wipe").long("wipe").action(ArgAction::SetTrue).help("Remove its data, too")),
        )
        .subcommand(selected(Command::new("status")).about("Show how each service stands").arg(json()))
        .subcommand(selected(Command::new("env")).about("Print the addresses as environment variables of a shell"))
        .subcommand(
            Command::new("logs")
                .about("Print a service's log")
                .arg(Arg::new("service").required(true).value_parser(clap::value_parser!(String)).help("Whose")),
        )
}

/// Adds the choice of a stack: where its ports begin and where its folder is.
pub(crate) fn placed(command: Command) -> Command {
    command
        .arg(
            Arg::new("ports")
                .long("ports")
                .global(true)
                .value_name("BASE")
                .value_parser(clap::value_parser!(u16).range(1024..65000))
                .help(format!("The first of the stack's 30 ports [default: {PORTS}]")),
        )
        .arg(
            Arg::new("data")
                .long("data")
                .global(true)
                .value_name("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .help("The folder of the stack's data, logs and process ids [default: one per BASE in the system's folder \
                       for temporary files]"),
        )
}

/// The stack that was chosen.
pub(crate) fn place(matches: &ArgMatches) -> Stack {
    let base: u16 = matches.get_one("ports").copied().unwrap_or(PORTS);
    Stack::at(base, matches.get_one::<PathBuf>("data").cloned())
}

/// Adds the choice of services.
fn selected(command: Command) -> Command {
    command
        .arg(
            Arg::new("region")
                .long("region")
                .value_parser(["a", "b"])
                .action(ArgAction::Append)
                .help("This region's services and the shared ones only"),
        )
        .arg(
            Arg::new("only")
                .long("only")
                .value_delimiter(',')
                .value_parser(Kind::ALL.map(Kind::name))
                .action(ArgAction::Append)
                .help("These services only"),
        )
}

fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("As one JSON array, for programs")
}

/// Does what is asked of the stack.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let Some((name, own)) = matches.subcommand() else { bail!("say what to do with the stack") };
    let stack = place(own);
    match name {
        "up" => up(&stack, &selection(own)),
        "down" => {
            let (lock, wipe) = (stack.lock()?, own.get_flag("wipe"));
            stack.down(&selection(own), wipe)?;
            if wipe { stack.forget(&lock) } else { Ok(()) }
        }
        "status" => status(&stack, &selection(own), own.get_flag("json")),
        "env" => {
            print_environment(&stack, &selection(own));
            Ok(())
        }
        "logs" => {
            let service: &String = own.get_one("service").expect("clap requires it");
            let names: Vec<String> = Service::all().iter().map(ToString::to_string).collect();
            if !names.contains(service) {
                bail!("logs {service}: there is no such service; the services are {}", names.join(", "));
            }
            let text = std::fs::read(stack.folder.join(service).join("log")).unwrap_or_default();
            std::io::Write::write_all(&mut std::io::stdout(), &text)?;
            Ok(())
        }
        other => bail!("there is no `stack {other}`"),
    }
}

impl Stack {
    /// The stack whose ports begin at `base`, in that folder or in the one that belongs to those ports.
    pub(crate) fn at(base: u16, folder: Option<PathBuf>) -> Self {
        Stack { root: paths::root(), base, folder: folder.unwrap_or_else(|| Self::usual_folder(base)) }
    }

    /// Where the data of a stack is whose ports begin at `base`, unless it is told otherwise.
    fn usual_folder(base: u16) -> PathBuf {
        std::env::temp_dir().join(format!("selvedge-stack-{base}"))
    }

    /// What a command has to be told to find this stack, beginning with a space; nothing for the usual one.
    fn choice(&self) -> String {
        let mut choice = String::new();
        if self.base != PORTS {
            choice.push_str(&format!(" --ports {}", self.base));
        }
        if self.folder != Self::usual_folder(self.base) {
            choice.push_str(&format!(" --data {}", self.folder.display()));
        }
        choice
    }
}

/// The services named by `--region` and `--only`.
fn selection(matches: &ArgMatches) -> Vec<Service> {
    let named = |id: &str| -> Vec<String> { matches.get_many(id).into_iter().flatten().cloned().collect() };
    let (regions, kinds) = (named("region"), named("only"));
    let regions: Vec<Region> =
        Region::ALL.into_iter().filter(|region| regions.iter().any(|name| name == region.name())).collect();
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kinds.iter().any(|name| name == kind.name())).collect();
    Service::select(&regions, &kinds)
}

fn up(stack: &Stack, services: &[Service]) -> anyhow::Result<()> {
    setup::require(&tools(services))?;
    let _lock = stack.lock()?;
    stack.up(services)?;
    print_environment(stack, services);
    Ok(())
}

/// What has to be installed for these services.
fn tools(services: &[Service]) -> Vec<Tool> {
    let needed = |kind: Kind| services.iter().any(|service| service.kind == kind && service.given().is_none());
    let (kafka, dynamodb) = (needed(Kind::Kafka), needed(Kind::DynamoDb) || needed(Kind::Witness));
    let table = [
        (Tool::Java, kafka || dynamodb),
        (Tool::Maven, kafka),
        (Tool::Npm, dynamodb),
        (Tool::Postgres, needed(Kind::Postgres)),
        (Tool::Redis, needed(Kind::Redis)),
        (Tool::Python, needed(Kind::Aws)),
    ];
    table.into_iter().filter(|(_, needed)| *needed).map(|(tool, _)| tool).collect()
}

fn status(stack: &Stack, services: &[Service], json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for service in services {
        let (standing, pid) = match stack.standing(*service) {
            Standing::Given => ("given", None),
            Standing::Healthy(pid) => ("healthy", Some(pid)),
            Standing::Silent(pid) => ("silent", Some(pid)),
            Standing::Down => ("down", None),
        };
        let (name, address) = (service.to_string(), stack.address(*service));
        if !json {
            let process = pid.map(|pid| format!("process {pid}")).unwrap_or_default();
            println!("{name:11}  {standing:8}  {address:50}  {process}");
        }
        rows.push(serde_json::json!({
            "service": name,
            "standing": standing,
            "address": address,
            "pid": pid,
            "folder": stack.of(*service).display().to_string(),
        }));
    }
    if json {
        println!("{}", serde_json::Value::Array(rows));
    }
    Ok(())
}

/// The environment that tells programs where everything is.
pub(crate) fn environment(stack: &Stack, services: &[Service]) -> Vec<(String, String)> {
    let mut variables: Vec<_> = services.iter().map(|service| (service.variable(), stack.address(*service))).collect();
    variables.extend(
        Region::ALL.map(|region| (format!("SELVEDGE_STACK_{}_BUCKET", region.name().to_uppercase()), bucket(region))),
    );
    variables.extend(services.iter().flat_map(|service| service.link_variables(stack.base)));
    variables.push(("SELVEDGE_STACK_PORTS".to_owned(), stack.base.to_string()));
    variables.push(("SELVEDGE_STACK_FOLDER".to_owned(), stack.folder.display().to_string()));
    variables
}

fn print_environment(stack: &Stack, services: &[Service]) {
    for (name, value) in environment(stack, services) {
        println!("export {name}='{value}'");
    }
}
