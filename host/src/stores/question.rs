//! A [`Find`] that has been checked against the declared fields, in the form in which stores answer it, and the cursor
//! that leads to its next page. Refuses contradictions, undeclared fields and other questions' cursors.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::{CollectionKey, FieldRange, Find, FindError, ModelFields, Scalar, entries::searchable, value};

/// How many documents a page has where the question doesn't say.
const DEFAULT_LIMIT: usize = 50;
/// How many documents a page has at most.
const MAX_LIMIT: usize = 200;
/// The first byte of every cursor; another layout gets another number.
const CURSOR_LAYOUT: u8 = 1;
/// How much of the question's hash goes into a cursor.
const MARK_BYTES: usize = 16;

/// A checked question.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Field and encoded value, sorted.
    pub(super) equal: Vec<(String, Vec<u8>)>,
    /// The range, with both bounds.
    pub(super) range: Option<Bounds>,
    /// The field to order by.
    pub(super) order_by: Option<String>,
    /// From the highest down, ids too.
    pub(super) descending: bool,
    /// 1 to 200.
    pub(super) limit: usize,
    /// Where the page before this one ended.
    pub(super) after: Option<Position>,
    /// What a cursor of this question begins with.
    mark: [u8; MARK_BYTES],
}

/// A range of encoded values.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Which field.
    pub(super) field: String,
    /// Inclusive.
    pub(super) from: Vec<u8>,
    /// Exclusive.
    pub(super) to: Vec<u8>,
}

/// A document's place in the order of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The encoded value it is ordered by; missing where the order is by id alone.
    pub(super) value: Option<Vec<u8>>,
    /// Its id.
    pub(super) id: String,
}

impl Question {
    /// Checks a question to a collection whose declared fields are `fields`.
    ///
    /// # Errors
    ///
    /// Each of [`FindError`]'s.
    pub(super) fn check(at: &CollectionKey, fields: &ModelFields, find: &Find) -> Result<Self, FindError> {
        let declared = searchable(fields);
        let mut equal = Vec::with_capacity(find.equal.len());
        for (field, wanted) in &find.equal {
            check_field(field, &declared)?;
            equal.push((field.clone(), encode(field, wanted)?));
        }
        equal.sort();
        let range = find.range.as_ref().map(|range| bounds(range, &declared)).transpose()?;
        if let Some(order_by) = &find.order_by {
            check_field(order_by, &declared)?;
            if let Some(range) = &range
                && range.field != *order_by
            {
                let text = format!("the range is over field `{}` and the order by field `{order_by}`", range.field);
                return Err(FindError::Contradiction(text));
            }
        }
        let limit = if find.limit == 0 { DEFAULT_LIMIT } else { find.limit.min(MAX_LIMIT) };
        let (order_by, descending) = (find.order_by.clone(), find.descending);
        let mark = mark(at, &equal, range.as_ref(), order_by.as_deref(), descending);
        let mut question = Self { equal, range, order_by, descending, limit, after: None, mark };
        question.after = find.after.as_deref().map(|cursor| question.read_cursor(cursor)).transpose()?;
        Ok(question)
    }

    /// Checks that each field the question uses is among these, the ones a collection was really indexed by.
    pub(super) fn check_indexed(&self, indexed: &[&str]) -> Result<(), FindError> {
        let range = self.range.iter().map(|range| &range.field);
        self.equal
            .iter()
            .map(|(field, _)| field)
            .chain(range)
            .chain(&self.order_by)
            .try_for_each(|field| check_field(field, indexed))
    }

    /// The cursor of a page that ends here. It can be read by whoever holds it: it has the document's id and the
    /// value it is ordered by, both of which were on the page.
    pub(super) fn cursor(&self, position: &Position) -> String {
        let mut bytes = vec![CURSOR_LAYOUT];
        bytes.extend_from_slice(&self.mark);
        part(&mut bytes, position.id.as_bytes());
        bytes.extend_from_slice(position.value.as_deref().unwrap_or_default());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read_cursor(&self, cursor: &str) -> Result<Position, FindError> {
        self.position(cursor).ok_or(FindError::Cursor)
    }

    fn position(&self, cursor: &str) -> Option<Position> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (layout, rest) = bytes.split_first()?;
        let (mark, rest) = rest.split_at_checked(MARK_BYTES)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (id, value) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let ours = *layout == CURSOR_LAYOUT && mark == self.mark && value.is_empty() == self.order_by.is_none();
        let id = String::from_utf8(id.to_vec()).ok()?;
        // Stores may start from the cursor instead of the range's bound, and cursors come from clients.
        let inside = |bounds: &Bounds| (bounds.from.as_slice()..bounds.to.as_slice()).contains(&value);
        let ours = ours && (self.order_by.is_none() || self.range.as_ref().is_none_or(inside));
        ours.then(|| Position { value: self.order_by.is_some().then(|| value.to_vec()), id })
    }
}

fn check_field(field: &str, indexed: &[&str]) -> Result<(), FindError> {
    if indexed.contains(&field) {
        return Ok(());
    }
    let indexed = if indexed.is_empty() { "none".to_owned() } else { indexed.join(", ") };
    Err(FindError::NotIndexed { field: field.to_owned(), indexed })
}

fn encode(field: &str, wanted: &Scalar) -> Result<Vec<u8>, FindError> {
    match wanted {
        Scalar::Float(number) if !number.is_finite() => {
            Err(FindError::Contradiction(format!("field `{field}` is compared with a number that is not finite")))
        }
        _ => Ok(value::encode(wanted)),
    }
}

fn bounds(range: &FieldRange, declared: &[&str]) -> Result<Bounds, FindError> {
    let field = range.field.clone();
    check_field(&field, declared)?;
    let bound = |bound: &Option<Scalar>| bound.as_ref().map(|bound| encode(&field, bound)).transpose();
    let (from, to) = match (bound(&range.from)?, bound(&range.to)?, &range.prefix) {
        (None, None, Some(prefix)) => (value::text(prefix), value::after_prefix(value::text(prefix))),
        (_, _, Some(_)) => {
            return Err(FindError::Contradiction(format!("the range over field `{field}` has bounds and a prefix")));
        }
        (Some(from), Some(to), None) => {
            if value::bounds_of_type(&from) != value::bounds_of_type(&to) {
                let text = format!("the bounds of the range over field `{field}` have different types");
                return Err(FindError::Contradiction(text));
            }
            (from, to)
        }
        (Some(from), None, None) => (from.clone(), value::bounds_of_type(&from).1),
        (None, Some(to), None) => (value::bounds_of_type(&to).0, to),
        (None, None, None) => value::bounds_of_all(),
    };
    Ok(Bounds { field, from, to })
}

/// A hash over all that decides which documents come in which order; the limit may change from page to page.
fn mark(
    at: &CollectionKey,
    equal: &[(String, Vec<u8>)],
    range: Option<&Bounds>,
    order_by: Option<&str>,
    descending: bool,
) -> [u8; MARK_BYTES] {
    let mut bytes = vec![CURSOR_LAYOUT, u8::from(descending), u8::from(order_by.is_some()), u8::from(range.is_some())];
    for text in [at.tenant.as_str(), at.module.as_str(), &at.model, order_by.unwrap_or_default()] {
        part(&mut bytes, text.as_bytes());
    }
    if let Some(Bounds { field, from, to }) = range {
        [field.as_bytes(), from, to].into_iter().for_each(|text| part(&mut bytes, text));
    }
    for (field, value) in equal {
        part(&mut bytes, field.as_bytes());
        part(&mut bytes, value);
    }
    let mut mark = [0; MARK_BYTES];
    mark.copy_from_slice(&Sha256::digest(bytes)[..MARK_BYTES]);
    mark
}

/// Appends bytes behind their length, so that neighbours can't flow into each other.
fn part(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
    bytes.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_cursor_does_not_lead_out_of_the_range() {
        let at = CollectionKey { tenant: "t".parse().unwrap(), module: "m".parse().unwrap(), model: "M".to_owned() };
        let fields = ModelFields { unique: Vec::new(), index: vec!["a".to_owned()] };
        let range = FieldRange { field: "a".to_owned(), from: None, to: None, prefix: Some("mine/".to_owned()) };
        let find = Find { range: Some(range), order_by: Some("a".to_owned()), ..Find::default() };
        let question = Question::check(&at, &fields, &find).unwrap();
        for (text, is_inside) in [("mine/", true), ("mine/x", true), ("mine", false), ("mine0", false), ("", false)] {
            let position = Position { value: Some(value::text(text)), id: "1".to_owned() };
            let after = Some(question.cursor(&position));
            let outcome = Question::check(&at, &fields, &Find { after, ..find.clone() });
            assert_eq!(
                outcome.map(|question| question.after),
                if is_inside { Ok(Some(position)) } else { Err(FindError::Cursor) }
            );
        }
    }
}
