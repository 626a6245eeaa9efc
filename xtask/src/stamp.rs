//! Skipping work whose inputs have not changed.
//!
//! A step names its inputs; their hash is written beside its output once the output is whole. Contents count, times do
//! not: a checkout of another commit and back costs nothing.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Folders that are made, not written: never an input.
const MADE: [&str; 9] = ["node_modules", "target", "dist", "pkg", "generated", "build", "results", ".vite", ".git"];

/// Whether the last part of a path names a folder that is made, not written.
pub(crate) fn is_made(path: &Path) -> bool {
    path.file_name().is_some_and(|own| MADE.iter().any(|name| own == *name))
}

/// The inputs of one step.
pub(crate) struct Inputs {
    hash: DefaultHasher,
    root: PathBuf,
}

impl Inputs {
    /// No inputs yet; `recipe` names the step and changes when the way it is done changes.
    pub(crate) fn new(root: &Path, recipe: &str) -> Self {
        let mut inputs = Inputs { hash: DefaultHasher::new(), root: root.to_path_buf() };
        inputs.add_text(recipe);
        inputs
    }

    /// Adds a text, such as a tool's version.
    pub(crate) fn add_text(&mut self, text: &str) {
        text.hash(&mut self.hash);
    }

    /// Adds a file, or all files below a folder but made ones; a missing one counts as missing.
    pub(crate) fn add(&mut self, path: &str) -> anyhow::Result<()> {
        let full = self.root.join(path);
        self.add_path(&full).with_context(|| format!("cannot read {}", full.display()))
    }

    fn add_path(&mut self, path: &Path) -> std::io::Result<()> {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        self.add_text(&relative.to_string_lossy());
        if path.is_dir() {
            let mut entries =
                fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
            entries.sort();
            for entry in entries {
                let made = MADE.iter().any(|name| entry.file_name().is_some_and(|own| own == *name));
                if !made {
                    self.add_path(&entry)?;
                }
            }
        } else if path.is_file() {
            let bytes = fs::read(path)?;
            bytes.hash(&mut self.hash);
        }
        Ok(())
    }

    /// The stamp of these inputs, kept in `file`.
    pub(crate) fn stamp(self, file: PathBuf) -> Stamp {
        let value = format!("{:016x}", self.hash.finish());
        Stamp { file, value }
    }
}

/// The hash of a step's inputs and the file that remembers the last one done.
pub(crate) struct Stamp {
    file: PathBuf,
    value: String,
}

impl Stamp {
    /// Whether the step was last done with these very inputs and every one of its outputs is there.
    pub(crate) fn is_fresh(&self, outputs: &[PathBuf]) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|kept| kept == self.value)
            && outputs.iter().all(|output| output.exists())
    }

    /// Forgets the last run: called before a step begins, so that one which breaks off is done again.
    pub(crate) fn forget(&self) {
        // A stamp that was never there is as good as a removed one.
        let _ = fs::remove_file(&self.file);
    }

    /// Remembers that the step is done.
    pub(crate) fn keep(&self) -> anyhow::Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&self.file, &self.value).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Inputs;
    use std::fs;

    #[test]
    fn a_step_is_fresh_until_an_input_changes_or_an_output_goes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("src/node_modules")).unwrap();
        fs::write(root.join("src/a"), "one").unwrap();
        let output = root.join("output");
        let stamp = || {
            let mut inputs = Inputs::new(root, "recipe 1");
            inputs.add("src").unwrap();
            inputs.add("absent").unwrap();
            inputs.stamp(root.join("kept/stamp"))
        };
        let fresh = || stamp().is_fresh(std::slice::from_ref(&output));

        assert!(!fresh());
        stamp().keep().unwrap();
        assert!(!fresh(), "the output is not there");
        fs::write(&output, "").unwrap();
        assert!(fresh());
        fs::write(root.join("src/node_modules/b"), "made").unwrap();
        assert!(fresh(), "made folders do not count");
        fs::write(root.join("src/a"), "two").unwrap();
        assert!(!fresh());
        fs::write(root.join("src/a"), "one").unwrap();
        assert!(fresh());
        stamp().forget();
        assert!(!fresh());
    }
}
