//! Each tool: how it is found, which Debian packages bring it, what a person does otherwise.

use super::toolchain::WasmToolchain;
use crate::{paths, process, stack};

/// The oldest Rust that compiles the project; the same as `rust-version` in `Cargo.toml`.
const RUST_MINOR_MIN: u32 = 95;
/// The oldest Node.js the package's tests and tools run on.
const NODE_MAJOR_MIN: u32 = 20;

/// Something that must be on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The Rust compiler for this machine.
    Rust,
    /// `cargo fmt`.
    Rustfmt,
    /// `cargo clippy`.
    Clippy,
    /// A C compiler, for SQLite.
    C,
    /// A Rust compiler and linker for WebAssembly.
    Wasm,
    /// Node.js.
    Node,
    /// npm.
    Npm,
    /// A Chromium browser, for tests.
    Chromium,
    /// `make` and a C++ compiler, for the Kafka client's C library.
    Make,
    /// A Java runtime, for Kafka and DynamoDB Local.
    Java,
    /// Maven, which fetches Kafka.
    Maven,
    /// PostgreSQL's server.
    Postgres,
    /// Redis' server.
    Redis,
    /// Python with virtual environments, for the AWS emulator.
    Python,
    /// Programs that make networks in namespaces, for tests as root.
    Network,
}

impl Tool {
    /// Every tool.
    pub(crate) const ALL: [Tool; 15] = [
        Tool::Rust,
        Tool::Rustfmt,
        Tool::Clippy,
        Tool::C,
        Tool::Wasm,
        Tool::Node,
        Tool::Npm,
        Tool::Chromium,
        Tool::Make,
        Tool::Java,
        Tool::Maven,
        Tool::Postgres,
        Tool::Redis,
        Tool::Python,
        Tool::Network,
    ];
    /// What the npm package is built with.
    pub(crate) const FOR_PACKAGE: [Tool; 4] = [Tool::Rust, Tool::Wasm, Tool::Node, Tool::Npm];
    /// The tool for a person.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Tool::Rust => "Rust compiler",
            Tool::Rustfmt => "rustfmt",
            Tool::Clippy => "clippy",
            Tool::C => "C compiler",
            Tool::Wasm => "WebAssembly toolchain",
            Tool::Node => "Node.js",
            Tool::Npm => "npm",
            Tool::Chromium => "Chromium",
            Tool::Make => "make and C++ compiler",
            Tool::Java => "Java runtime",
            Tool::Maven => "Maven",
            Tool::Postgres => "PostgreSQL server",
            Tool::Redis => "Redis server",
            Tool::Python => "Python with venv",
            Tool::Network => "ip, nft and iptables",
        }
    }

    /// What was found, in one line; `None` when the tool is missing or too old.
    pub(crate) fn find(self) -> Option<String> {
        match self {
            Tool::Rust => process::ask("rustc", &["--version"])
                .filter(|found| number(found, 1).is_some_and(|minor| minor >= RUST_MINOR_MIN)),
            Tool::Rustfmt => process::ask("cargo", &["fmt", "--version"]),
            Tool::Clippy => process::ask("cargo", &["clippy", "--version"]),
            Tool::C => first_line("cc"),
            Tool::Wasm => WasmToolchain::find().map(|toolchain| toolchain.describe()),
            Tool::Node => process::ask("node", &["--version"])
                .filter(|found| number(found, 0).is_some_and(|major| major >= NODE_MAJOR_MIN)),
            Tool::Npm => process::ask("npm", &["--version"]),
            Tool::Chromium => chromium(),
            Tool::Make => first_line("c++").and_then(|_| first_line("make")),
            // It speaks on standard error.
            Tool::Java => paths::which("java").map(|path| path.display().to_string()),
            Tool::Maven => paths::which("mvn").map(|path| path.display().to_string()),
            Tool::Postgres => {
                stack::find_postgres().and_then(|program| process::ask(&program.to_string_lossy(), &["--version"]))
            }
            Tool::Redis => process::ask("redis-server", &["--version"]),
            Tool::Network => process::ask("iptables", &["-V"])
                .and_then(|_| process::ask("ip", &["-V"]))
                .and_then(|_| process::ask("nft", &["-v"])),
            // Without pip's wheels, a virtual environment is made without pip.
            Tool::Python => {
                process::ask("python3", &["-c", "import ensurepip, sys, venv; print(sys.version.split()[0])"])
            }
        }
    }

    /// The Debian packages that bring it.
    pub(super) fn packages(self) -> &'static [&'static str] {
        match self {
            // Rust itself comes from where the running cargo came from.
            Tool::Rust | Tool::Rustfmt | Tool::Clippy => &[],
            Tool::C => &["gcc", "libc6-dev"],
            Tool::Wasm => &["rustc-web", "cargo-web", "rust-web-src", "lld"],
            Tool::Node => &["nodejs"],
            Tool::Npm => &["npm"],
            Tool::Chromium => &["chromium"],
            Tool::Make => &["make", "g++"],
            Tool::Java => &["default-jre-headless"],
            Tool::Maven => &["maven"],
            Tool::Postgres => &["postgresql"],
            Tool::Redis => &["redis-server"],
            Tool::Python => &["python3", "python3-venv"],
            Tool::Network => &["iproute2", "nftables", "iptables"],
        }
    }

    /// Whether the archive is known to offer only a version that is too old, which would be installed in vain.
    pub(super) fn is_too_old_in(self, version: impl Fn(&str) -> Option<String>) -> bool {
        self == Tool::Node
            && version("nodejs").and_then(|version| number(&version, 0)).is_some_and(|major| major < NODE_MAJOR_MIN)
    }

    /// What a person does where this program can do nothing.
    pub(crate) fn fix(self) -> String {
        match self {
            Tool::Rust => {
                format!("Rust 1.{RUST_MINOR_MIN} or later is needed: `rustup update stable`, or see https://rustup.rs")
            }
            Tool::Rustfmt => "`rustup component add rustfmt`".into(),
            Tool::Clippy => "`rustup component add clippy`".into(),
            Tool::C => "install gcc or clang (Debian: `apt-get install gcc libc6-dev`)".into(),
            Tool::Wasm => "`rustup target add wasm32-unknown-unknown`; or, as root on Debian, \
                           `apt-get install rustc-web cargo-web rust-web-src lld`"
                .into(),
            Tool::Node => {
                format!("install Node.js {NODE_MAJOR_MIN} or later, see https://nodejs.org")
            }
            Tool::Npm => "install npm (it comes with Node.js; Debian: `apt-get install npm`)".into(),
            Tool::Chromium => "install Chromium or Chrome (Debian: `apt-get install chromium`), \
                               or name its program in SELVEDGE_CHROMIUM"
                .into(),
            Tool::Make => "install make and g++ (Debian: `apt-get install make g++`)".into(),
            Tool::Java => "install a Java runtime, 17 or later (Debian: `apt-get install default-jre-headless`)".into(),
            Tool::Maven => "install Maven (Debian: `apt-get install maven`)".into(),
            Tool::Postgres => "install PostgreSQL (Debian: `apt-get install postgresql`), or give the addresses of \
                               running servers in SELVEDGE_STACK_A_POSTGRES and SELVEDGE_STACK_B_POSTGRES"
                .into(),
            Tool::Redis => "install Redis (Debian: `apt-get install redis-server`), or give the addresses of running \
                            servers in SELVEDGE_STACK_A_REDIS and SELVEDGE_STACK_B_REDIS"
                .into(),
            Tool::Python => "install Python 3 with venv (Debian: `apt-get install python3-venv`)".into(),
            Tool::Network => {
                "install iproute2, nftables and iptables (Debian: `apt-get install iproute2 nftables iptables`); \
                              only tests that run as root use them"
                    .into()
            }
        }
    }
}

/// The first line of what a program says of its version.
fn first_line(program: &str) -> Option<String> {
    process::ask(program, &["--version"]).map(|found| found.lines().next().unwrap_or_default().to_owned())
}

/// The browser for tests: the one named in `SELVEDGE_CHROMIUM`, else the first known one in `PATH`.
pub(crate) fn chromium() -> Option<String> {
    let named = std::env::var("SELVEDGE_CHROMIUM").ok();
    if let Some(program) = named.filter(|program| !program.is_empty()) {
        return std::path::Path::new(&program).is_file().then_some(program);
    }
    ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
        .iter()
        .find_map(|program| paths::which(program))
        .map(|path| path.to_string_lossy().into_owned())
}

/// The n-th number of a version line: `number("v20.20.2", 0)` is 20.
pub(super) fn number(version: &str, n: usize) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty()).nth(n)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn versions_are_read() {
        assert_eq!(number("v20.20.2", 0), Some(20));
        assert_eq!(number("rustc 1.95.0 (f2d3ce0bd 2026-03-21)", 1), Some(95));
        assert_eq!(number("none", 0), None);
    }
}
