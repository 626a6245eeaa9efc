//! Licence expressions against the list in `deny.toml`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;

/// The licences that `deny.toml` allows: the strings of its `allow` list under `[licenses]`.
pub(super) fn allowed(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
    let (_, section) = text.split_once("[licenses]").context("deny.toml has no [licenses]")?;
    let (_, list) = section.split_once("allow = [").context("deny.toml allows no licence")?;
    let (list, _) = list.split_once(']').context("the list in deny.toml has no end")?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Whether an SPDX expression can be met with the allowed licences.
pub(super) fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Old manifests write `MIT/Apache-2.0`.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest, allowed) && rest.is_empty()
}

fn any(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut permitted = all(words, allowed);
    while take(words, "OR") {
        permitted |= all(words, allowed);
    }
    permitted
}

fn all(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut permitted = one(words, allowed);
    while take(words, "AND") {
        permitted &= one(words, allowed);
    }
    permitted
}

fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    if take(words, "(") {
        let permitted = any(words, allowed);
        return take(words, ")") && permitted;
    }
    let Some((licence, rest)) = words.split_first() else {
        return false;
    };
    *words = rest;
    let mut name = (*licence).to_owned();
    if take(words, "WITH") {
        let Some((exception, rest)) = words.split_first() else {
            return false;
        };
        *words = rest;
        name = format!("{name} WITH {exception}");
    }
    allowed.contains(&name)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::permits;

    #[test]
    fn expressions_are_judged() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        let check = |expression, expected| assert_eq!(permits(expression, &allowed), expected, "{expression}");
        check("MIT", true);
        check("GPL-3.0", false);
        check("MIT OR GPL-3.0", true);
        check("GPL-3.0 OR MIT", true);
        check("MIT AND GPL-3.0", false);
        check("MIT/Apache-2.0", true);
        check("(MIT OR GPL-3.0) AND Apache-2.0", true);
        check("(MIT OR Apache-2.0) AND Unicode-3.0", false);
        check("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true);
        check("Apache-2.0 WITH GCC-exception-3.1", false);
        check("", false);
        check("MIT OR", true);
        check("(MIT", false);
    }
}
