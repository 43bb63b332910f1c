//! The rules of the source tree that the compiler doesn't know. Each is a file of its own that takes the tree and
//! returns what it found; none changes anything.
//!
//! A rule reads text, not meaning: it must be simple enough to be believed.

mod code;
mod double_versions;
mod fault_table;
mod file_header;
mod file_length;
mod links;
mod lint_exceptions;
mod outside_paths;
mod panic_strategy;
mod problem_codes;
mod ranks;
mod test_attributes;
mod tree;
mod unsafe_fence;

use std::{fmt, process::ExitCode};

use crate::{failure::Result, workspace::Workspace};

use self::tree::Tree;

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the root folder, with `/`.
    path: String,
    /// From 1; 0 where the file as a whole is meant.
    line: usize,
    /// What is wrong and what to do.
    text: String,
}

impl Finding {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: &[Rule] = &[
    ("ranks of rooms", ranks::check),
    ("unsafe fence", unsafe_fence::check),
    ("file length", file_length::check),
    ("file header", file_header::check),
    ("panic strategy", panic_strategy::check),
    ("problem codes", problem_codes::check),
    ("paths outside the project", outside_paths::check),
    ("links", links::check),
    ("fault table", fault_table::check),
    ("test attributes", test_attributes::check),
    ("lint exceptions", lint_exceptions::check),
];

/// `cargo xtask tidy`: prints every breach of every rule.
pub(crate) fn tidy(workspace: &Workspace) -> Result<ExitCode> {
    let tree = Tree::read(workspace.root())?;
    let mut total = 0;
    let mut tell = |rule: &str, mut findings: Vec<Finding>| {
        findings.sort();
        for finding in &findings {
            println!("{finding} [{rule}]");
        }
        total += findings.len();
    };
    for (name, check) in RULES {
        tell(name, check(&tree));
    }
    // This one asks cargo, the others read files only.
    tell("double versions", double_versions::check(&tree, &double_versions::Graph::of(workspace)?));
    eprintln!("tidy: {} rules, {} files, {total} findings", RULES.len() + 1, tree.files().len());
    Ok(if total == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a rule finds in files given as path and text, as text.
#[cfg(test)]
fn findings_in(check: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    let mut findings = check(&Tree::of(files));
    findings.sort();
    findings.iter().map(ToString::to_string).collect()
}
