//! Reads the query parameters of a listing, and shapes its answer. A parameter that nobody reads is refused,
//! or a misspelt filter would list everything.

use std::borrow::Cow;

use crate::error::{Error, Result, StoreError};
use serde::Serialize;

use super::problems::Problems;

/// How many items a page has where the client doesn't say.
const DEFAULT_LIMIT: usize = 50;
/// The most a page can have; the store's own bound.
const MAX_LIMIT: usize = 200;

/// The parameters of a listing, each there at most once.
#[derive(Debug)]
pub struct Params<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// 1 to 200.
    pub limit: usize,
}

impl<'a> Params<'a> {
    /// Takes `limit`, `cursor` and the named filters.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all unknown, repeated and empty parameters and a bad `limit`.
    pub fn read(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>, filters: &[&str]) -> Result<Self> {
        let mut problems = Problems::default();
        let mut params = Self { pairs: Vec::new(), limit: DEFAULT_LIMIT };
        for (name, value) in pairs {
            let known = filters.contains(&&*name) || name == "limit" || name == "cursor";
            if !known {
                let names = filters.iter().chain(&["limit", "cursor"]).copied().collect::<Vec<_>>().join(", ");
                problems.add(&name, format_args!("is not a parameter here; known are: {names}"));
            } else if params.get(&name).is_some() {
                problems.add(&name, "is given more than once");
            } else if value.trim().is_empty() {
                problems.add(&name, "must not be empty");
            }
            params.pairs.push((name, value));
        }
        if let Some(text) = params.get("limit") {
            match text.parse() {
                Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => params.limit = limit,
                _ => problems.add("limit", format_args!("must be a number from 1 to {MAX_LIMIT}")),
            }
        }
        problems.settle()?;
        Ok(params)
    }

    /// A parameter as sent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Where the page begins; `None` for the first.
    pub fn cursor(&self) -> Option<&str> {
        self.get("cursor")
    }
}

/// One page as the client sees it.
#[derive(Debug, Serialize)]
pub struct Listing<T> {
    /// In the order of the listing.
    pub items: Vec<T>,
    /// The `cursor` of the next page; null on the last.
    pub next: Option<String>,
}

/// What a cursor is answered with that no page of this listing gave out.
pub fn foreign_cursor() -> Error {
    Error::invalid("`cursor` must be the `next` of a page of the same listing, with the same filters")
}

/// Turns the store's refusal of a cursor into an answer for the client who sent it.
pub fn cursor_or(error: StoreError, cursor: Option<&str>) -> Error {
    match error {
        StoreError::Misuse(_) if cursor.is_some() => foreign_cursor(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Params<'static>> {
        let pairs = pairs.iter().map(|&(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
        Params::read(pairs, &["name"])
    }

    #[test]
    fn without_parameters_a_page_has_fifty() {
        let params = read(&[]).unwrap();
        assert_eq!((params.limit, params.cursor(), params.get("name")), (50, None, None));
    }

    #[test]
    fn known_parameters_are_taken() {
        let params = read(&[("name", "an"), ("limit", "200"), ("cursor", "x")]).unwrap();
        assert_eq!((params.limit, params.cursor(), params.get("name")), (200, Some("x"), Some("an")));
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let error = read(&[("nmae", "an"), ("name", " "), ("name", "b"), ("limit", "0")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "`nmae` is not a parameter here; known are: name, limit, cursor; `name` must not be empty; \
             `name` is given more than once; `limit` must be a number from 1 to 200"
        );
        for limit in ["201", "-1", "ten", "1.5", "99999999999999999999999"] {
            assert!(read(&[("limit", limit)]).is_err(), "{limit}");
        }
    }

    #[test]
    fn only_a_sent_cursor_is_the_clients_fault() {
        let misuse = || StoreError::Misuse("no such cursor".to_owned());
        assert!(cursor_or(misuse(), Some("x")).to_string().starts_with("`cursor` must be"));
        assert_eq!(cursor_or(misuse(), None).to_string(), "no such cursor");
    }
}
