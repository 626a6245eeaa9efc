//! Where things are: the checkout, the build folder, the caches outside the checkout.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context;

/// The root of the checkout this program was built from.
pub(crate) fn root() -> PathBuf {
    // Cargo says at run time where the package is; a program started by hand falls back to where it was compiled.
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// The file of this program. Cargo may have put another in its place since it was started, with the same sources: then that one.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program cannot be found again")?;
    let found = in_its_place(own);
    anyhow::ensure!(found.is_file(), "{} is not there any more: start the command again", found.display());
    Ok(found)
}

/// What the kernel says of a file that was replaced ends in ` (deleted)`.
fn in_its_place(own: PathBuf) -> PathBuf {
    let name = own.to_string_lossy();
    match name.strip_suffix(" (deleted)") {
        Some(place) if !own.exists() => PathBuf::from(place),
        _ => own,
    }
}

/// The project's folder in the user's cache: `$XDG_CACHE_HOME/selvedge`, else `~/.cache/selvedge`.
///
/// Nothing depends on it: what is missing there is made again.
pub(crate) fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    base.join("selvedge")
}

/// The folders in which cargo keeps the sources of crates, one a registry. This program was compiled from some, so they are there.
pub(crate) fn registry_sources() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).unwrap_or_default();
    let entries = std::fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).collect();
    folders.sort_unstable();
    folders
}

/// Looks a program up in `PATH`.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

static TARGET: OnceLock<Option<PathBuf>> = OnceLock::new();

/// The build folder that this run chose for all its cargo commands; `None` leaves it to cargo.
pub(crate) fn target() -> Option<&'static Path> {
    TARGET.get()?.as_deref()
}

/// Chooses the build folder of all cargo commands of this run; only the first choice counts.
pub(crate) fn choose_target(folder: Option<PathBuf>) {
    TARGET.get_or_init(|| folder);
}

#[cfg(test)]
mod tests {
    use super::in_its_place;

    #[test]
    fn a_program_that_was_replaced_is_found_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (program, odd) = (folder.path().join("xtask"), folder.path().join("odd (deleted)"));
        assert_eq!(in_its_place(folder.path().join("xtask (deleted)")), program);
        assert_eq!(in_its_place(program.clone()), program);
        std::fs::write(&odd, "").unwrap();
        assert_eq!(in_its_place(odd.clone()), odd, "it is called so");
    }
}
