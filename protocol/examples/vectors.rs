//! Writes the golden vectors: `cargo run -p selvedge-protocol --example vectors`. Changing one means a new protocol
//! version; old vectors keep decoding.

use std::path::Path;

#[path = "../tests/golden/mod.rs"]
mod golden;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    for (name, json) in golden::files() {
        std::fs::write(folder.join(name), json)?;
    }
    Ok(())
}
