//! What can be asked of a collection.

use serde::{Deserialize, Serialize};

/// A question: all equalities, and the range where there is one, must hold.
///
/// The wire form is what `module_api::Query` serializes to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Find {
    /// Field and value, all of which a document must have.
    pub equal: Vec<(String, Scalar)>,
    /// At most one range or prefix.
    pub range: Option<FieldRange>,
    /// The indexed field to order by, ties by id; by id alone where missing. Documents without the field
    /// are left out. Must be the range's field where both are given.
    pub order_by: Option<String>,
    /// From the highest down, ids too.
    pub descending: bool,
    /// 1 to 200; 50 where missing (0 is read as missing), 200 where more. A page of very large documents may be
    /// shorter; its `next` tells that there are more.
    pub limit: usize,
    /// A page's `next`; of the same question, else [`FindError::Cursor`]. Only the limit may differ.
    pub after: Option<String>,
}

/// A range of one field. Strings compare bytewise, numbers by value; different types never match. Without bounds
/// and prefix, all that have a value there, of whatever type: booleans, then numbers, then strings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldRange {
    /// Which indexed field.
    pub field: String,
    /// Inclusive lower bound.
    #[serde(default)]
    pub from: Option<Scalar>,
    /// Exclusive upper bound.
    #[serde(default)]
    pub to: Option<Scalar>,
    /// A string prefix, instead of the bounds.
    #[serde(default)]
    pub prefix: Option<String>,
}

/// A value that can be searched for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A JSON boolean.
    Bool(bool),
    /// A JSON number without a fraction.
    Int(i64),
    /// Any other JSON number; compared with integers by value.
    Float(f64),
    /// A JSON string.
    Text(String),
}

/// Why a question can't be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// The field is not declared; the declared ones follow.
    #[error("field `{field}` is not indexed; indexed are: {indexed}")]
    NotIndexed {
        /// The one asked for.
        field: String,
        /// Those that are, separated by commas.
        indexed: String,
    },
    /// The cursor is not one of this question's.
    #[error("the cursor is not one of this query's")]
    Cursor,
    /// Order and range name different fields, or a range has bounds and a prefix, or bounds of two types; or a
    /// number is not finite.
    #[error("{0}")]
    Contradiction(String),
}
