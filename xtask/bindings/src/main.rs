//! Writes the JavaScript side of a WebAssembly module: `xtask-bindings MODULE.wasm FOLDER NAME`.
//!
//! A program of its own, so that `cargo xtask` itself starts without compiling a WebAssembly toolkit; `cargo xtask wasm`
//! builds and runs it when the module has changed.

use std::path::PathBuf;

use anyhow::{Context, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, folder, name] = arguments.as_slice() else {
        bail!("usage: xtask-bindings MODULE.wasm FOLDER NAME");
    };
    let name = name.to_str().context("the name of the output is not UTF-8")?;
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name(name).typescript(true);
    bindgen.web(true)?;
    // Unlike the command-line program, the library leaves the module's default address out unless told: a bare
    // `init()` would then find nothing.
    bindgen.omit_default_module_path(false);
    bindgen.generate(folder).with_context(|| format!("bindings for {} into {}", module.display(), folder.display()))
}
