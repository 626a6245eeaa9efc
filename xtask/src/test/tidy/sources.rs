//! What the files themselves show.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::stamp;

/// Words of a clock, a file, a socket, a thread, an environment.
const IMPURE: [&str; 7] =
    ["std::fs", "std::net", "std::thread", "std::env", "SystemTime", "Instant::now", "std::process"];
/// The engine's names for the inside of a position identifier.
const INSIDE: [&str; 4] = ["Path", "PathElement", "Element", "Digit"];
/// Marks of something unfinished, each in two halves so that this file does not hold them.
const UNFINISHED: [(&str, &str); 5] = [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("todo", "!("), ("dbg", "!(")];

/// The written text files of the checkout.
pub(super) struct Sources {
    files: Vec<Source>,
}

struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl Sources {
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        gather(root, &mut |path: PathBuf| {
            let Ok(text) = fs::read_to_string(&path) else {
                return;
            };
            let relative = path.strip_prefix(root).unwrap_or(&path);
            files.push(Source { path: relative.to_string_lossy().replace('\\', "/"), text });
        })
        .context("cannot list the checkout")?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Sources { files })
    }

    fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    fn pure(&self) -> impl Iterator<Item = &Source> {
        self.rust().filter(|file| file.path.starts_with("engine/src/") || file.path.starts_with("protocol/src/"))
    }

    /// Lines of the pure crates that reach outside.
    pub(super) fn impure(&self) -> Vec<String> {
        self.pure()
            .filter(|file| !file.is_test())
            .flat_map(|file| file.lines_with(|line| !is_comment(line) && IMPURE.iter().any(|word| line.contains(word))))
            .collect()
    }

    /// Pure crates whose root does not forbid unsafe code.
    pub(super) fn unsafe_allowed(&self) -> Vec<String> {
        self.pure()
            .filter(|file| file.path.ends_with("src/lib.rs") && !file.text.contains("#![forbid(unsafe_code)]"))
            .map(|file| file.path.clone())
            .collect()
    }

    /// Imports by the relay of what is inside a position identifier.
    pub(super) fn relay_looks_inside(&self) -> Vec<String> {
        self.rust()
            .filter(|file| file.path.starts_with("relay/src/"))
            .flat_map(|file| engine_imports(&file.text).map(move |import| (file, import)))
            .filter(|(_, import)| words(import).any(|word| INSIDE.contains(&word)))
            .map(|(file, import)| format!("{}: {import}", file.path))
            .collect()
    }

    /// Rust files that do not begin with what they are.
    pub(super) fn undocumented(&self) -> Vec<String> {
        self.rust()
            .filter(|file| !file.path.ends_with("/tests.rs"))
            .filter(|file| {
                let first = file.text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
                !first.is_some_and(|line| line.starts_with("//!"))
            })
            .map(|file| file.path.clone())
            .collect()
    }

    /// Lines that say something is unfinished.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let code = [".rs", ".ts", ".js", ".mjs", ".css", ".html", ".md", ".toml"];
        let marks: Vec<String> = UNFINISHED.iter().map(|(a, b)| format!("{a}{b}")).collect();
        self.files
            .iter()
            .filter(|file| code.iter().any(|end| file.path.ends_with(end)))
            .flat_map(|file| file.lines_with(|line| marks.iter().any(|mark| has_word(line, mark))))
            .collect()
    }

    /// npm lock files that name where packages were fetched.
    pub(super) fn npm_hosts(&self) -> Vec<String> {
        self.files
            .iter()
            .filter(|file| file.path.ends_with("package-lock.json"))
            .filter(|file| file.text.contains("\"resolved\": \"http"))
            .map(|file| file.path.clone())
            .collect()
    }
}

impl Source {
    /// Whether the whole file is tests.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// Lines before the file's tests that match, as `path:line: text`.
    fn lines_with(&self, matches: impl Fn(&str) -> bool) -> Vec<String> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .filter(|(_, line)| matches(line))
            .map(|(number, line)| format!("{}:{}: {}", self.path, number + 1, line.trim()))
            .collect()
    }
}

/// Hands every written file below a folder to `take`.
fn gather(folder: &Path, take: &mut impl FnMut(PathBuf)) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !stamp::is_made(&path) && !path.ends_with("selvedge-data") {
                gather(&path, take)?;
            }
        } else {
            take(path);
        }
    }
    Ok(())
}

/// Everything a file names of the engine: the rest of each statement after `selvedge_engine::`.
fn engine_imports(text: &str) -> impl Iterator<Item = &str> {
    text.split("selvedge_engine::").skip(1).map(|rest| {
        let end = if rest.starts_with('{') { rest.find('}') } else { rest.find(|c: char| !is_name(c) && c != ':') };
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_name(c))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Whether `mark` stands in the line and not inside a longer word.
fn has_word(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + mark.len()..].chars().next();
        !before.is_some_and(is_name) && (mark.ends_with('(') || !after.is_some_and(is_name))
    })
}

#[cfg(test)]
mod tests {
    use super::{INSIDE, engine_imports, has_word, words};

    #[test]
    fn imports_of_the_engine_are_found() {
        let text =
            "use selvedge_engine::{Delta, Path,\n SiteId};\nlet x: selvedge_engine::op::Digit = 1; std::path::Path";
        let imports: Vec<&str> = engine_imports(text).collect();
        assert_eq!(imports, ["{Delta, Path,\n SiteId", "op::Digit"]);
        assert!(imports.iter().all(|import| words(import).any(|word| INSIDE.contains(&word))));
    }

    #[test]
    fn marks_are_whole_words() {
        assert!(has_word("// MARK: later", "MARK"));
        assert!(!has_word("BOOKMARKS", "MARK"));
        assert!(has_word("mark!(x)", "mark!("));
    }
}
