//! What is wrong with a file of flag definitions: each problem with its place.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionProblem {
    /// Where in the file, such as `flags.new-theme.defaultVariant`; empty for the file as a whole.
    pub place: String,
    /// What is wrong there: a fragment without a full stop.
    pub text: String,
}

/// Everything that is wrong with a file of definitions, in its order; never empty. None of it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionErrors(pub(super) Vec<DefinitionProblem>);

impl DefinitionErrors {
    /// The problem of a file that can't be read at all.
    pub fn unreadable(why: impl fmt::Display) -> Self {
        Self::only(format!("the file can't be read: {why}"))
    }

    /// One problem of the whole.
    pub(super) fn only(text: impl Into<String>) -> Self {
        Self(vec![DefinitionProblem { place: String::new(), text: text.into() }])
    }

    /// The problems, at least one.
    pub fn problems(&self) -> &[DefinitionProblem] {
        &self.0
    }
}

impl fmt::Display for DefinitionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() { f.write_str(&self.text) } else { write!(f, "{}: {}", self.place, self.text) }
    }
}

impl fmt::Display for DefinitionErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DefinitionErrors {}

/// The most problems that are told, and the most bytes of a place or a text: a file could have a name of a megabyte, and
/// thousands of mistakes below it.
const MOST_FOUND: usize = 1_000;
const MOST_BYTES: usize = 1_000;

/// Collects problems while the place moves through the file.
#[derive(Debug, Default)]
pub(super) struct Findings {
    place: String,
    found: Vec<DefinitionProblem>,
    /// How many there are, those that are not told included.
    count: usize,
}

impl Findings {
    /// Runs `inside` one step further in: a member.
    pub(super) fn member<T>(&mut self, name: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let dot = if self.place.is_empty() { "" } else { "." };
        self.step(&format!("{dot}{name}"), inside)
    }

    /// Runs `inside` one step further in: an element.
    pub(super) fn element<T>(&mut self, index: usize, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.step(&format!("[{index}]"), inside)
    }

    fn step<T>(&mut self, step: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.place.len();
        self.place.push_str(step);
        let result = inside(self);
        self.place.truncate(length);
        result
    }

    /// Notes that something is wrong here.
    pub(super) fn add(&mut self, text: impl Into<String>) {
        self.count += 1;
        if self.count <= MOST_FOUND {
            self.found.push(DefinitionProblem { place: short(&self.place), text: short(&text.into()) });
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn into_result<T>(mut self, good: T) -> Result<T, DefinitionErrors> {
        if self.count > MOST_FOUND {
            let text = format!("there are {} problems more", self.count - MOST_FOUND);
            self.found.push(DefinitionProblem { place: String::new(), text });
        }
        if self.found.is_empty() { Ok(good) } else { Err(DefinitionErrors(self.found)) }
    }
}

fn short(text: &str) -> String {
    let end = text.floor_char_boundary(MOST_BYTES);
    if end < text.len() { format!("{}...", &text[..end]) } else { text.to_owned() }
}
