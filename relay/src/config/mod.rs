//! The settings of the relay: flags, environment, `selvedge.toml` and defaults, in this order of precedence.
//!
//! Every setting is declared once, in the module it configures, and flattened here. The file's keys are the flags'
//! names without the dashes in front. A mistake is answered by the flag, the value and the fix.

mod limits;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use selvedge_protocol::Transport;
use selvedge_protocol::tag::TagKeys;
use tracing_subscriber::EnvFilter;

#[cfg(feature = "regional")]
use selvedge_region::regional::RegionalArgs;

use crate::auth::{AuthConfig, check_auth, mint};
use crate::certificates::TlsConfig;
use crate::listen::ListenConfig;
use crate::listen::advertise::region_and_url;
use crate::quic::{QuicConfig, QuicListen};
use crate::room::RoomConfig;
use crate::session::Limits;

/// The file that is read when `--config` names none.
pub const CONFIG_FILE: &str = "selvedge.toml";

/// `selvedge-relay`: the edge server of Selvedge.
#[derive(Debug, Parser)]
#[command(
    name = "selvedge-relay",
    version,
    about = "The edge server of Selvedge: people edit text together, through it."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve documents until told to stop. Without any flag: this machine alone, data in ./selvedge-data.
    Serve(Box<Config>),
    /// Copy the data of a running or stopped relay into FILE, hot.
    Backup(BackupArgs),
    /// Show the settings.
    Config(ConfigArgs),
    /// Make keys and tokens: for tickets, development and tests.
    Token(mint::TokenArgs),
}

/// `backup FILE`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to write; it must not exist.
    pub file: PathBuf,
    /// The data folder of the relay.
    #[arg(long, env = "SELVEDGE_DATA", default_value = "./selvedge-data")]
    pub data: PathBuf,
}

/// `config print`, `config check`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do with the settings.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting with its value and where the value came from.
    Print(Box<Config>),
    /// Say whether `serve` would accept the settings; exit status 2 if not.
    Check(Box<Config>),
}

/// Everything `serve` can be told.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Config {
    /// Folder of everything this relay keeps; one relay at a time may use it.
    #[arg(long, env = "SELVEDGE_DATA", default_value = "./selvedge-data")]
    pub data: PathBuf,
    /// The data folder was put back from a backup: take a new log id and accept from writers what the backup lacks.
    #[arg(long, env = "SELVEDGE_RESTORED")]
    pub restored: bool,
    /// Name of the region, shown to clients.
    #[arg(long, env = "SELVEDGE_REGION", default_value = "local")]
    pub region: String,
    /// Name of the other region, where edits are copied to: then acknowledgements go up to `replicated`.
    #[arg(long, env = "SELVEDGE_PEER_REGION", value_name = "NAME")]
    pub peer_region: Option<String>,
    /// The region that decides on rights and deletes before a failover says otherwise; the same in both [default: this one].
    #[arg(long, env = "SELVEDGE_HOME_REGION", value_name = "NAME")]
    pub home_region: Option<String>,
    /// File with settings [default: selvedge.toml if it exists].
    #[arg(long, env = "SELVEDGE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the keys of broadcast tags, the same on every relay of every region: one line `NUMBER KEY` each, KEY 64
    /// hexadecimal digits; the first signs, the others only verify. With it people see what their region's log is silent
    /// about, and give back what a lost relay or region had shown them.
    #[arg(long, env = "SELVEDGE_TAG_KEYS_FILE", value_name = "FILE")]
    pub tag_keys_file: Option<PathBuf>,
    /// How long, in milliseconds, a drain may take after SIGTERM.
    #[arg(long, env = "SELVEDGE_DRAIN_MS", default_value_t = 20_000)]
    pub drain_ms: u64,
    /// How log lines look: text or json.
    #[arg(long, env = "SELVEDGE_LOG_FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `selvedge_relay=debug,info`.
    #[arg(long, env = "SELVEDGE_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Where and for whom to listen.
    #[command(flatten)]
    pub listen: ListenConfig,
    /// What this relay proves its name with.
    #[command(flatten)]
    pub tls: TlsConfig,
    /// WebTransport and native QUIC.
    #[command(flatten)]
    pub quic: QuicConfig,
    /// Limits of a connection.
    #[command(flatten)]
    pub limits: Limits,
    /// Limits and rhythms of a document.
    #[command(flatten)]
    pub room: RoomConfig,
    /// The services of a region that several relays share.
    #[cfg(feature = "regional")]
    #[command(flatten)]
    pub services: RegionalArgs,
    /// Whose tokens are believed.
    #[command(flatten)]
    pub auth: AuthConfig,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data: PathBuf::from("./selvedge-data"),
            restored: false,
            region: "local".to_owned(),
            peer_region: None,
            home_region: None,
            config: None,
            tag_keys_file: None,
            drain_ms: 20_000,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
            listen: ListenConfig::default(),
            tls: TlsConfig::default(),
            quic: QuicConfig::default(),
            limits: Limits::default(),
            room: RoomConfig::default(),
            #[cfg(feature = "regional")]
            services: RegionalArgs::default(),
            auth: AuthConfig::default(),
        }
    }
}

/// A mistake in the settings, in terms of flag, value and fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Flags or environment that clap refused, or its help text.
    #[error("{0}")]
    Flags(#[from] clap::Error),
    /// The file cannot be read.
    #[error("--config {}: {source}\n  fix: name a readable file, or leave the flag out", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("--config {}: {message}\n  fix: write `key = value` lines, keys named like the flags of `serve`", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the line.
        message: String,
    },
    /// The file has a key that is no flag.
    #[error("{}: `{key}` is no setting\n  fix: {hint}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What may have been meant.
        hint: String,
    },
    /// A value of the file has a type no flag has.
    #[error("{}: `{key}` is a {found}\n  fix: write a text, a number, true, false or a list of texts", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The type found.
        found: &'static str,
    },
    /// A setting of the region's services.
    #[cfg(feature = "regional")]
    #[error(transparent)]
    Service(selvedge_region::regional::SettingError),
    /// A value that is understood and cannot be.
    #[error("--{flag} {value}: {problem}\n  fix: {fix}")]
    Impossible {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// Why it cannot be.
        problem: String,
        /// What to do.
        fix: String,
    },
}

/// One setting as `config print` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Flag and file key.
    pub name: String,
    /// Its value, as text; several are joined by commas.
    pub value: String,
    /// `flag`, `environment`, `file` or `default`.
    pub origin: &'static str,
}

/// Reads the command line, the environment and the file it names (or `selvedge.toml` in the working directory).
///
/// # Errors
/// [`ConfigError`]; one that carries clap's own help or version text is printed and exits by [`clap::Error::exit`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<(Cli, Vec<Setting>), ConfigError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = Cli::command().try_get_matches_from(&arguments)?;
    let Some(given) = serve_matches(&matches) else {
        return Ok((Cli::from_arg_matches(&matches)?, Vec::new()));
    };
    let file = match given.get_one::<PathBuf>("config") {
        Some(path) => Some(path.clone()),
        None => Some(PathBuf::from(CONFIG_FILE)).filter(|path| path.exists()),
    };
    let from_file = match &file {
        Some(path) => read_file(path)?,
        None => BTreeMap::new(),
    };
    let mut arguments = arguments;
    let mut taken = Vec::new();
    for (key, values) in &from_file {
        let identifier = key.replace('-', "_");
        if given.value_source(&identifier).is_some_and(|source| source != ValueSource::DefaultValue) {
            continue;
        }
        taken.push(identifier);
        arguments.extend(values.iter().map(|value| match value {
            Some(value) => OsString::from(format!("--{key}={value}")),
            None => OsString::from(format!("--{key}")),
        }));
    }
    let matches = Cli::command().try_get_matches_from(&arguments)?;
    let settings = serve_matches(&matches).map_or_else(Vec::new, |matches| describe(matches, &taken));
    let cli = Cli::from_arg_matches(&matches)?;
    if let Command::Serve(config) | Command::Config(ConfigArgs { command: ConfigCommand::Check(config) }) = &cli.command
    {
        config.check()?;
    }
    Ok((cli, settings))
}

impl Config {
    /// Refuses combinations that cannot be served.
    ///
    /// # Errors
    /// [`ConfigError::Impossible`] names the flag, the value and the fix.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_auth(&self.auth)?;
        if self.auth.is_open() {
            for (flag, address) in [("listen", self.listen.listen), ("admin", self.listen.admin)] {
                check_loopback(flag, address)?;
            }
            if let Some(QuicListen::At(address)) = self.quic.quic {
                check_loopback("quic", address)?;
            }
        }
        self.check_tls()?;
        if self.listen.listen == self.listen.admin && self.listen.listen.port() != 0 {
            return Err(impossible(
                "admin",
                self.listen.admin,
                "is the address of --listen too",
                "give them different ports",
            ));
        }
        self.check_region()?;
        self.check_origins()?;
        if let Err(error) = EnvFilter::try_new(&self.log_level) {
            let problem = format!("is no level and no filter: {error}");
            return Err(impossible("log-level", &self.log_level, &problem, "give error, warn, info, debug or trace"));
        }
        if let Some(web) = &self.listen.web
            && !web.join("index.html").is_file()
        {
            let fix = "name the folder of a built page, or leave the flag out; `cargo xtask demo` builds one";
            return Err(impossible("web", web.display(), "has no index.html", fix));
        }
        self.tag_keys()?;
        limits::check(self)
    }
}

impl Config {
    fn check_tls(&self) -> Result<(), ConfigError> {
        match (&self.tls.tls_cert, &self.tls.tls_key) {
            (Some(cert), None) => {
                let fix = "name the certificate's key by --tls-key";
                return Err(impossible("tls-cert", cert.display(), "has no key", fix));
            }
            (None, Some(key)) => {
                let fix = "name the key's certificate by --tls-cert";
                return Err(impossible("tls-key", key.display(), "has no certificate", fix));
            }
            _ => {}
        }
        match self.listen.advertise.iter().find(|named| Transport::of_url(region_and_url(named).1).is_none()) {
            Some(url) => {
                let fix = "begin it with ws:// or wss:// (WebSocket), https:// (WebTransport) or quic://";
                Err(impossible("advertise", url, "is no address of a relay", fix))
            }
            None => Ok(()),
        }
    }

    /// An origin that no browser sends would be allowed in vain.
    fn check_origins(&self) -> Result<(), ConfigError> {
        let is_origin = |text: &str| {
            let rest = text.trim_end_matches('/').split_once("://").filter(|(scheme, _)| !scheme.is_empty());
            text == "*" || rest.is_some_and(|(_, host)| !host.is_empty() && !host.contains(['/', '?', '#', '@']))
        };
        match self.listen.allow_origin.iter().find(|origin| !is_origin(origin)) {
            Some(origin) => {
                let fix =
                    "write scheme://host or scheme://host:port as pages have it, e.g. https://app.example, or `*`";
                Err(impossible("allow-origin", origin, "is no origin of a page", fix))
            }
            None => Ok(()),
        }
    }

    /// The keys of broadcast tags, if there are any.
    ///
    /// # Errors
    /// [`ConfigError::Impossible`] when the file cannot be read or holds no keys. No key is shown.
    pub fn tag_keys(&self) -> Result<Option<TagKeys>, ConfigError> {
        let Some(path) = &self.tag_keys_file else { return Ok(None) };
        let refuse = |problem: &str, fix: &str| impossible("tag-keys-file", path.display(), problem, fix);
        let text = std::fs::read_to_string(path).map_err(|error| {
            refuse(&format!("cannot be read: {error}"), "name a file that this process may read, or leave the flag out")
        })?;
        let fix = "make a key by `openssl rand -hex 32` and write `1 KEY` into the file, the same on every relay";
        TagKeys::parse(&text).map(Some).map_err(|error| refuse(&format!("holds no keys: {error}"), fix))
    }
}

impl Config {
    /// The services to stand on; `None`: a data folder.
    ///
    /// # Errors
    /// [`ConfigError::Impossible`] names the flag, the value and the fix.
    #[cfg(feature = "regional")]
    pub(crate) fn services(&self) -> Result<Option<selvedge_region::regional::RegionalOptions>, ConfigError> {
        let home = self.home_region.as_deref().unwrap_or(&self.region);
        self.services.options(&self.region, home).map_err(ConfigError::Service)
    }

    /// Refuses settings of regions that contradict each other.
    fn check_region(&self) -> Result<(), ConfigError> {
        #[cfg(feature = "regional")]
        let shared = self.services()?.is_some();
        #[cfg(not(feature = "regional"))]
        let shared = false;
        #[cfg(not(feature = "regional"))]
        if std::env::var_os("SELVEDGE_KAFKA").is_some() {
            // Serving from a folder what was meant for the region would keep it where nobody looks.
            let fix =
                "build the relay with the feature `regional`, or unset SELVEDGE_KAFKA to serve from a data folder";
            return Err(impossible("kafka", "(in the environment)", "this relay was built without services", fix));
        }
        if shared && self.restored {
            let fix = "leave it out: what a region's services lack is brought back by the other region";
            return Err(impossible("restored", "", "is for a data folder, and --kafka is given", fix));
        }
        if self.region.is_empty() {
            return Err(impossible("region", "", "is no name", "give the region's name, or leave it out"));
        }
        for (flag, name) in [("peer-region", &self.peer_region), ("home-region", &self.home_region)] {
            let Some(name) = name.as_deref() else { continue };
            if !shared {
                let fix = "give --kafka and the region's other services, or leave it out; a relay built without the feature \
                    `regional` knows no services";
                return Err(impossible(
                    flag,
                    name,
                    "is for a region on services, and this relay has a data folder",
                    fix,
                ));
            }
            if name.is_empty() {
                return Err(impossible(flag, name, "is no name", "give the region's name, or leave it out"));
            }
        }
        if self.peer_region.as_deref() == Some(&self.region) {
            return Err(impossible("peer-region", &self.region, "is --region too", "name the other region"));
        }
        let known = [Some(self.region.as_str()), self.peer_region.as_deref()];
        match self.home_region.as_deref() {
            Some(home) if !known.contains(&Some(home)) => {
                Err(impossible("home-region", home, "is neither --region nor --peer-region", "name one of the two"))
            }
            _ => Ok(()),
        }
    }
}

fn check_loopback(flag: &'static str, address: SocketAddr) -> Result<(), ConfigError> {
    let loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    };
    if loopback {
        return Ok(());
    }
    let problem =
        "is reachable from other machines, and without authentication anybody could read and write everything";
    let fix = format!(
        "name who issues tokens by --jwt-issuer and --jwt-audience, or listen on 127.0.0.1:{} behind a proxy that authenticates",
        address.port()
    );
    Err(impossible(flag, address, problem, &fix))
}

pub(crate) fn impossible(flag: &'static str, value: impl ToString, problem: &str, fix: &str) -> ConfigError {
    ConfigError::Impossible { flag, value: value.to_string(), problem: problem.to_owned(), fix: fix.to_owned() }
}

fn serve_matches(matches: &ArgMatches) -> Option<&ArgMatches> {
    match matches.subcommand()? {
        ("serve", matches) => Some(matches),
        ("config", matches) => matches.subcommand().map(|(_, matches)| matches),
        _ => None,
    }
}

/// Key -> values as flags take them; `None` is a flag without a value.
type FileValues = BTreeMap<String, Vec<Option<String>>>;

fn read_file(path: &Path) -> Result<FileValues, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| ConfigError::NotToml { path: path.to_owned(), message: error.to_string() })?;
    let command = Cli::command();
    let serve = command.find_subcommand("serve").expect("the subcommand is declared above");
    let known: Vec<String> = serve.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
    let mut values = FileValues::new();
    for (key, value) in table {
        let key = key.replace('_', "-");
        if key == "config" || !known.contains(&key) {
            return Err(ConfigError::UnknownKey { path: path.to_owned(), hint: hint(&key, &known), key });
        }
        let found = flag_values(&value).ok_or_else(|| ConfigError::WrongType {
            path: path.to_owned(),
            key: key.clone(),
            found: value.type_str(),
        })?;
        values.insert(key, found);
    }
    Ok(values)
}

fn flag_values(value: &toml::Value) -> Option<Vec<Option<String>>> {
    Some(match value {
        toml::Value::Boolean(true) => vec![None],
        toml::Value::Boolean(false) => Vec::new(),
        toml::Value::String(text) => vec![Some(text.clone())],
        toml::Value::Integer(number) => vec![Some(number.to_string())],
        toml::Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(|text| Some(text.to_owned()))).collect::<Option<_>>()?
        }
        _ => return None,
    })
}

/// What a setting shows of itself: an address without its password.
fn without_password(value: &str) -> String {
    let shown = value.split(',').map(|part| match (part.split_once("://"), part.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, place))) => {
            let user = rest.split([':', '@']).next().unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
        _ => part.to_owned(),
    });
    shown.collect::<Vec<_>>().join(",")
}

fn hint(key: &str, known: &[String]) -> String {
    let alike =
        known.iter().max_by_key(|name| name.chars().zip(key.chars()).take_while(|(left, right)| left == right).count());
    match alike.filter(|name| name.starts_with(key.split('-').next().unwrap_or(key))) {
        Some(name) => format!("did you mean `{name}`? `selvedge-relay config print` lists every setting"),
        None => "`selvedge-relay config print` lists every setting".to_owned(),
    }
}

fn describe(matches: &ArgMatches, from_file: &[String]) -> Vec<Setting> {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").expect("the subcommand is declared above");
    let described = serve.get_arguments().filter_map(|argument| {
        let name = argument.get_long().filter(|name| !matches!(*name, "help" | "version"))?;
        let identifier = argument.get_id().as_str();
        let origin = match matches.value_source(identifier) {
            _ if from_file.iter().any(|key| key == identifier) => "file",
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        let value = match matches.try_get_raw(identifier) {
            Ok(Some(values)) => {
                values.map(|value| without_password(&value.to_string_lossy())).collect::<Vec<_>>().join(",")
            }
            _ => String::new(),
        };
        Some(Setting { name: name.to_owned(), value, origin })
    });
    described.collect()
}
