//! Collects what is wrong with a request, so that the client hears of everything at once.

use std::fmt::Display;

use crate::error::{Error, Result};

/// What is wrong with a request, field by field.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Notes that a field is wrong: `what` reads on from the field's name.
    pub fn add(&mut self, field: &str, what: impl Display) {
        self.0.push(format!("`{field}` {what}"));
    }

    /// A required text of one line, trimmed, 1 to `max_chars` characters. What is returned after a problem is
    /// never used: [`Problems::settle`] fails.
    pub fn required_line(&mut self, field: &str, sent: Option<&str>, max_chars: usize) -> String {
        let line = self.optional_line(field, sent, max_chars);
        if line.is_none() {
            self.add(field, if sent.is_none() { "is required" } else { "must not be empty" });
        }
        line.unwrap_or_default()
    }

    /// An optional text of one line, trimmed; empty counts as left out.
    pub fn optional_line(&mut self, field: &str, sent: Option<&str>, max_chars: usize) -> Option<String> {
        let text = self.trimmed(field, sent, max_chars)?;
        if text.chars().any(char::is_control) {
            self.add(field, "must be one line without control characters");
        }
        Some(text.to_owned())
    }

    /// An optional text of any number of lines, trimmed; empty counts as left out.
    pub fn optional_prose(&mut self, field: &str, sent: Option<&str>, max_chars: usize) -> Option<String> {
        let text = self.trimmed(field, sent, max_chars)?;
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            self.add(field, "must not have control characters");
        }
        Some(text.to_owned())
    }

    fn trimmed<'a>(&mut self, field: &str, sent: Option<&'a str>, max_chars: usize) -> Option<&'a str> {
        let text = sent.map(str::trim).filter(|text| !text.is_empty())?;
        let chars = text.chars().count();
        if chars > max_chars {
            self.add(field, format_args!("has {chars} characters, at most {max_chars} are allowed"));
        }
        Some(text)
    }

    /// The problems, each a fragment that begins with the field's name.
    pub fn into_list(self) -> Vec<String> {
        self.0
    }

    /// Ends the check.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all problems, where there are any.
    pub fn settle(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::invalid(self.0.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_at_once() {
        let mut problems = Problems::default();
        problems.required_line("name", None, 10);
        problems.required_line("title", Some("  "), 10);
        problems.optional_line("note", Some("a\u{7}b"), 10);
        problems.optional_prose("text", Some("much too long"), 3);
        assert_eq!(
            problems.settle().unwrap_err().to_string(),
            "`name` is required; `title` must not be empty; `note` must be one line without control characters; \
             `text` has 13 characters, at most 3 are allowed"
        );
    }

    #[test]
    fn what_is_right_is_trimmed_and_counted_in_characters() {
        let mut problems = Problems::default();
        assert_eq!(problems.required_line("name", Some(" Åsa "), 3), "Åsa");
        assert_eq!(problems.optional_prose("text", Some("a\n\tb "), 10).as_deref(), Some("a\n\tb"));
        assert_eq!(problems.optional_line("note", Some(""), 1), None);
        assert!(problems.settle().is_ok());
    }
}
