//! The compiler for WebAssembly.
//!
//! Either the toolchain that runs now has the target, and all is ordinary; or Debian's second toolchain is used, for this
//! one module: it has no compiled standard library for the target, so that is built too.

use std::path::PathBuf;
use std::process::Command;

use super::tool::number;
use crate::console::say;
use crate::{paths, process};

/// The target of the module.
const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's toolchain, beside whatever is in `PATH`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// Where a toolchain keeps the sources of the standard library, below its root.
const LIBRARY_SOURCES: &str = "lib/rustlib/src/rust";
/// What a function may cost, by LLVM's count, to be put into its callers.
const INLINE_THRESHOLD: u32 = 38;

/// A way to compile for WebAssembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WasmToolchain {
    /// The toolchain in `PATH` has the target.
    Ordinary,
    /// Debian's `rustc-web`, `cargo-web`, `rust-web-src` and `lld`.
    Debian,
}

impl WasmToolchain {
    /// The first way that is complete on this machine.
    pub(crate) fn find() -> Option<Self> {
        if has_standard_library("rustc") {
            return Some(WasmToolchain::Ordinary);
        }
        debian_is_complete().then_some(WasmToolchain::Debian)
    }

    /// The toolchain for a person.
    pub(crate) fn describe(self) -> String {
        let (program, how) = match self {
            WasmToolchain::Ordinary => ("rustc", format!("with the target {TARGET}")),
            WasmToolchain::Debian => (DEBIAN_RUSTC, "of Debian's rustc-web, for the browser's module only".to_owned()),
        };
        let version = process::ask(program, &["--version"]).unwrap_or_else(|| program.to_owned());
        format!("{version} {how}")
    }

    /// `cargo rustc` for the target; the variables hold for this one command and never reach a native build.
    pub(crate) fn cargo_rustc(self) -> Command {
        let mut command = match self {
            WasmToolchain::Ordinary => process::cargo(&["rustc"]),
            WasmToolchain::Debian => {
                // Where the library has a shorter way, as to sort, it is taken.
                let library = ["rustc", "-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"];
                let mut command = process::cargo_of(DEBIAN_CARGO, &library);
                command
                    .env("RUSTC", DEBIAN_RUSTC)
                    // Debian's is a stable compiler; building the standard library is an unstable feature.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld");
                // What the running cargo tells its children would lead Debian's cargo to the other toolchain.
                for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTDOC", "RUSTC_WRAPPER"] {
                    command.env_remove(variable);
                }
                command
            }
        };
        // Encoded, they hold in place of any others, and a folder's name may have a space.
        command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", self.flags().join("\x1f"));
        command.args(["--target", TARGET]);
        command
    }

    /// What the compiler is told of every crate of the module.
    fn flags(self) -> Vec<String> {
        // SHA-256 as a loop: unrolled, it takes 3 kB for a few hashes a session.
        let mut flags = vec!["--cfg".to_owned(), r#"sha2_backend_soft="compact""#.to_owned()];
        // LLVM's own for small code is 50: what that puts into callers besides takes 2 kB and makes no edit faster.
        flags.push(format!("-Cllvm-args=--inline-threshold={INLINE_THRESHOLD}"));
        // Panics say where in the sources they are: that is to be the same whoever built the module.
        let library = match self {
            WasmToolchain::Ordinary => None,
            WasmToolchain::Debian => sysroot(DEBIAN_RUSTC).map(|folder| (folder.join(LIBRARY_SOURCES), "/rustc")),
        };
        let crates = paths::registry_sources().into_iter().map(|folder| (folder, "/crates"));
        let folders = crates.chain(library);
        flags.extend(folders.map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display())));
        flags
    }
}

/// Adds the target to rustup's toolchain, where there is one; `true` when it says it did.
pub(super) fn add_with_rustup() -> bool {
    if paths::which("rustup").is_none() {
        return false;
    }
    say("setup", &format!("rustup target add {TARGET}"));
    // Without a way to the outside it would try for minutes.
    let mut command = Command::new("timeout");
    command.args(["120", "rustup", "target", "add", TARGET]);
    process::output(&mut command).inspect_err(|error| say("setup", &format!("{error:#}"))).is_ok()
}

fn has_standard_library(rustc: &str) -> bool {
    process::ask(rustc, &["--print", "target-libdir", "--target", TARGET])
        .and_then(|folder| std::fs::read_dir(folder).ok())
        .is_some_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
        })
}

fn debian_is_complete() -> bool {
    // Debian's own `rustc` of this release is too old; `rustc-web` is the one that follows upstream.
    let recent = |program| {
        process::ask(program, &["--version"]).and_then(|version| number(&version, 1)).is_some_and(|minor| minor >= 95)
    };
    recent(DEBIAN_RUSTC)
        && recent(DEBIAN_CARGO)
        && paths::which("wasm-ld").is_some()
        && sysroot(DEBIAN_RUSTC)
            .is_some_and(|folder| folder.join(LIBRARY_SOURCES).join("library/std/Cargo.toml").is_file())
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    process::ask(rustc, &["--print", "sysroot"]).map(PathBuf::from)
}
