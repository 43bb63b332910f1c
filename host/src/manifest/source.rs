//! The parsed text of a manifest with its places: takes keys out one by one, remembers which were asked
//! for, and collects every problem. Knows TOML, not what a manifest means.

use std::{fmt, str::FromStr};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// More than these are counted, not listed: nobody reads them, and hostile text could make a million.
const MAX_LISTED: usize = 100;

/// One thing that is wrong in a `module.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestProblem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The path of the key, such as `routes.endpoints[1].path`; empty where the text is no TOML.
    pub key: String,
    /// What is wrong, a fragment that follows the key.
    pub message: String,
}

impl fmt::Display for ManifestProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Collects problems by byte offset; they are put in the order of the text at the end.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<(usize, String, String)>,
}

impl Problems {
    pub(super) fn add(&mut self, at: usize, key: &str, message: impl Into<String>) {
        self.found.push((at, key.to_owned(), message.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems in the order of the text, each with its line and column.
    pub(super) fn listed(mut self, text: &str) -> Vec<ManifestProblem> {
        self.found.sort();
        let left_out = self.found.len().saturating_sub(MAX_LISTED);
        self.found.truncate(MAX_LISTED);
        let mut listed: Vec<_> = self
            .found
            .into_iter()
            .map(|(at, key, message)| {
                let (line, column) = place_of(text, at);
                ManifestProblem { line, column, key, message }
            })
            .collect();
        if left_out > 0 {
            let (line, column) = place_of(text, text.len());
            let message = format!("and {left_out} more problems");
            listed.push(ManifestProblem { line, column, key: String::new(), message });
        }
        listed
    }
}

/// Line and column of a byte offset, both from 1, the column in characters.
fn place_of(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

/// A text of the author's as it may stand in a message: short, on one line.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

/// The known text nearest to what was written; `None` where nothing is known.
pub(super) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let written: String = written.chars().take(80).collect();
    known.into_iter().min_by_key(|known| (strsim::damerau_levenshtein(&written, known), *known))
}

/// A table whose keys are all known beforehand.
pub(super) struct Section<'a> {
    path: String,
    at: usize,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(super) fn root(table: &'a DeTable<'a>) -> Self {
        Self { path: String::new(), at: 0, table, asked: Vec::new() }
    }

    /// The value of a key, which is known from now on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let value = self.table.get(key)?;
        Some(Value { key: join(&self.path, key), value })
    }

    /// The value of a key that must be there.
    pub(super) fn need(&mut self, key: &'static str, problems: &mut Problems) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() {
            problems.add(self.at, &join(&self.path, key), "is missing");
        }
        value
    }

    /// Reports every key that was not asked for. `elsewhere` are keys of the top level, which land in the
    /// last table when they are written below its header.
    pub(super) fn finish(self, elsewhere: &[&str], problems: &mut Problems) {
        for key in self.table.iter().map(|(key, _)| key) {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let message = match nearest(name, self.asked.iter().copied()) {
                _ if elsewhere.contains(&name) => {
                    format!("is not known here: `{name}` is a top-level key and stands above the first [table]")
                }
                Some(nearest) => format!("is not known; the nearest known key is `{nearest}`"),
                None => "is not known".to_owned(),
            };
            problems.add(key.span().start, &join(&self.path, name), message);
        }
    }
}

/// The path of a key in a table.
fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let key = if bare { shown(key) } else { format!("\"{}\"", shown(key)) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// A value with the path of its key.
pub(super) struct Value<'a> {
    pub(super) key: String,
    value: &'a Spanned<DeValue<'a>>,
}

/// An entry of a table whose keys are the author's own.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) name_at: usize,
    pub(super) value: Value<'a>,
}

impl<'a> Value<'a> {
    /// Where it begins.
    pub(super) fn at(&self) -> usize {
        self.value.span().start
    }

    /// The bytes it covers.
    pub(super) fn span(&self) -> std::ops::Range<usize> {
        self.value.span()
    }

    /// The TOML itself.
    pub(super) fn toml(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// Reports a problem with this value.
    pub(super) fn wrong(&self, message: impl Into<String>, problems: &mut Problems) {
        problems.add(self.at(), &self.key, message);
    }

    fn expected(&self, what: &str, problems: &mut Problems) {
        let found = match self.toml() {
            DeValue::Integer(_) => "an integer",
            DeValue::Array(_) => "an array",
            DeValue::String(_) => "a string",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format!("must be {what}, not {found}"), problems);
    }

    /// A string.
    pub(super) fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.toml().as_str();
        if text.is_none() {
            self.expected("a string", problems);
        }
        text
    }

    /// A string for people: on one line and not empty.
    pub(super) fn line(&self, problems: &mut Problems) -> Option<String> {
        let text = self.text(problems)?;
        if text.trim().is_empty() || text.chars().any(char::is_control) || text.len() > 256 {
            self.wrong("must be one line of at most 256 bytes and not empty", problems);
            return None;
        }
        Some(text.to_owned())
    }

    /// A string that `T` can be made of.
    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(&self, problems: &mut Problems) -> Option<T> {
        let text = self.text(problems)?;
        text.parse().map_err(|error| self.wrong(format!("is `{}`: {error}", shown(text)), problems)).ok()
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, problems: &mut Problems) -> Option<bool> {
        let flag = self.toml().as_bool();
        if flag.is_none() {
            self.expected("`true` or `false`", problems);
        }
        flag
    }

    /// The items of an array, each with its place in the path.
    pub(super) fn items(&self, problems: &mut Problems) -> Vec<Value<'a>> {
        let Some(array) = self.toml().as_array() else {
            self.expected("an array", problems);
            return Vec::new();
        };
        array.iter().enumerate().map(|(i, value)| Value { key: format!("{}[{i}]", self.key), value }).collect()
    }

    /// A table with known keys.
    pub(super) fn section(&self, problems: &mut Problems) -> Option<Section<'a>> {
        let Some(table) = self.toml().as_table() else {
            self.expected("a table", problems);
            return None;
        };
        Some(Section { path: self.key.clone(), at: self.at(), table, asked: Vec::new() })
    }

    /// The entries of a table whose keys are the author's own, in the order of the text.
    pub(super) fn entries(&self, problems: &mut Problems) -> Vec<Entry<'a>> {
        let Some(table) = self.toml().as_table() else {
            self.expected("a table", problems);
            return Vec::new();
        };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(name, value)| Entry {
                name: name.get_ref(),
                name_at: name.span().start,
                value: Value { key: join(&self.key, name.get_ref()), value },
            })
            .collect();
        entries.sort_by_key(|entry| entry.name_at);
        entries
    }
}
