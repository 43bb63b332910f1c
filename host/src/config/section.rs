//! Reads one table of the file: each key is asked for by name, what nobody asked for is unknown.
//!
//! The list of known keys is made by asking, so it cannot differ from what is read.

use std::{cell::RefCell, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{ConfigProblem, Place};

/// Collects what is wrong with one file.
pub(super) struct Notes<'s> {
    path: &'s Path,
    text: &'s str,
    found: RefCell<Vec<(usize, ConfigProblem)>>,
}

/// One table of the file, while it is read.
pub(super) struct Section<'t, 'i> {
    notes: &'t Notes<'t>,
    /// As written in the file, for messages; empty for the top level.
    name: String,
    table: &'t DeTable<'i>,
    span: Range<usize>,
    known: Vec<&'static str>,
}

/// Why a value won't do; a fragment.
pub(super) type Refusal = String;

impl<'s> Notes<'s> {
    pub(super) fn new(path: &'s Path, text: &'s str) -> Self {
        Self { path, text, found: RefCell::default() }
    }

    pub(super) fn add(&self, span: Range<usize>, message: String, hint: Option<String>) {
        let at = span.start.min(self.text.len());
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        let place = Place::File { path: self.path.to_owned(), line, column };
        self.found.borrow_mut().push((at, ConfigProblem { place, message, hint }));
    }

    /// All that was found, in the order of the file.
    pub(super) fn into_problems(self) -> Vec<ConfigProblem> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, problem)| problem).collect()
    }
}

impl<'t, 'i> Section<'t, 'i> {
    pub(super) fn top(notes: &'t Notes<'t>, table: &'t DeTable<'i>) -> Self {
        Self { notes, name: String::new(), table, span: 0..0, known: Vec::new() }
    }

    /// Reads a key with `parse`; `None` where it is absent, or refused and noted.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&DeValue<'i>) -> Result<T, Refusal>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.get(key)?;
        match parse(value.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                self.notes.add(value.span(), format!("`{}`: {why}", self.full(key)), None);
                None
            }
        }
    }

    /// Overwrites `target` where the key is there and good.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        parse: impl FnOnce(&DeValue<'i>) -> Result<T, Refusal>,
    ) {
        if let Some(value) = self.get(key, parse) {
            *target = value;
        }
    }

    /// Whether a key is there, good or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Overwrites `target` with a list where the key is there, each item read with `parse`; every item that is refused is
    /// noted at its place.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        target: &mut Vec<T>,
        parse: impl Fn(&DeValue<'i>) -> Result<T, Refusal>,
    ) {
        self.known.push(key);
        let Some(value) = self.table.get(key) else { return };
        let name = self.full(key);
        let DeValue::Array(items) = value.get_ref() else {
            let found = value.get_ref().type_str();
            return self.notes.add(value.span(), format!("`{name}`: must be a list, found {found}"), None);
        };
        target.clear();
        for (index, item) in items.iter().enumerate() {
            match parse(item.get_ref()) {
                Ok(parsed) => target.push(parsed),
                Err(why) => self.notes.add(item.span(), format!("`{name}[{index}]`: {why}"), None),
            }
        }
    }

    /// As [`Section::get`]; an absent key is noted.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&DeValue<'i>) -> Result<T, Refusal>,
    ) -> Option<T> {
        if self.table.get(key).is_none() {
            self.notes.add(self.span.clone(), format!("`{}` is missing", self.full(key)), None);
        }
        self.get(key, parse)
    }

    /// Reads a table with `read`, where it is there.
    pub(super) fn table(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'t, 'i>)) {
        self.known.push(key);
        let Some(value) = self.table.get(key) else { return };
        self.enter(self.full(key), value, value.span(), read);
    }

    /// Reads every table of a table whose keys are names: `[limits.modules.NAME]`.
    pub(super) fn each_named(&mut self, key: &'static str, mut read: impl FnMut(&str, &mut Section<'t, 'i>)) {
        self.known.push(key);
        let Some(value) = self.table.get(key) else { return };
        let DeValue::Table(named) = value.get_ref() else { return self.no_table(&self.full(key), value) };
        for (name, value) in named {
            let full = format!("{}.{}", self.full(key), name.get_ref());
            self.enter(full, value, name.span(), |section| read(name.get_ref(), section));
        }
    }

    /// Reads every item of an array of tables: `[[auth.keys]]`.
    pub(super) fn each(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'t, 'i>)) {
        self.known.push(key);
        let Some(value) = self.table.get(key) else { return };
        let DeValue::Array(items) = value.get_ref() else {
            let name = self.full(key);
            return self.notes.add(value.span(), format!("`{name}` must be an array of tables: `[[{name}]]`"), None);
        };
        for item in items.iter() {
            self.enter(self.full(key), item, item.span(), &mut read);
        }
    }

    /// Notes something about the table as a whole.
    pub(super) fn refuse(&self, message: String, hint: Option<String>) {
        self.notes.add(self.span.clone(), message, hint);
    }

    /// Notes every key that nobody asked for. Without this call unknown keys pass, so [`Section::enter`] makes it.
    pub(super) fn finish(&self) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !self.known.contains(&name) {
                self.notes.add(key.span(), format!("unknown key `{}`", self.full(name)), Some(self.nearest(name)));
            }
        }
    }

    fn enter(
        &self,
        name: String,
        value: &'t Spanned<DeValue<'i>>,
        span: Range<usize>,
        read: impl FnOnce(&mut Section<'t, 'i>),
    ) {
        let DeValue::Table(table) = value.get_ref() else { return self.no_table(&name, value) };
        let mut section = Section { notes: self.notes, name, table, span, known: Vec::new() };
        read(&mut section);
        section.finish();
    }

    fn no_table(&self, name: &str, value: &Spanned<DeValue<'i>>) {
        let found = value.get_ref().type_str();
        self.notes.add(value.span(), format!("`{name}` must be a table, found {found}"), None);
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn nearest(&self, unknown: &str) -> String {
        let distance = |known: &&&str| strsim::damerau_levenshtein(&unknown.replace('_', "-"), known);
        match self.known.iter().min_by_key(distance) {
            Some(known) if distance(&known) <= (unknown.len() / 3).max(1) => format!("did you mean `{known}`?"),
            _ => format!(
                "known here: {}",
                self.known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
            ),
        }
    }
}
