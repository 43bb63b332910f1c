//! Changing a tenant's own values: reading `FLAG=VALUE`, checking, applying all changes or none.

use std::collections::BTreeMap;

use serde_json::Value;

use super::name::FlagName;
use crate::{
    names::ModuleName,
    stores::{MAX_VALUE_DEPTH, depth},
};

/// The most values of its own that a tenant can have. A guess at what nobody needs; every write stores them all.
pub const MAX_OVERRIDES: usize = 1_000;

/// The most bytes of one value as JSON. A guess, as above.
pub const MAX_VALUE_BYTES: usize = 16 << 10;

/// One change of a tenant's own values.
#[derive(Debug, Clone, PartialEq)]
pub enum FlagChange {
    /// Sets a value, over whatever modules declare.
    Set(FlagName, Value),
    /// Goes back to what modules declare; nothing happens where the tenant has no value.
    Unset(FlagName),
}

/// Why a flag can't be set. The edge answers each with FLAG_INVALID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// No flag name.
    #[error(
        "`{0}` is no flag name: that is 1 to 128 letters, digits, `_`, `.` and `-`, a letter or digit first; under another key a flag can only be defined for all tenants"
    )]
    Name(String),
    /// No `=`.
    #[error("`{0}` has no value: `FLAG=VALUE` is needed")]
    NoValue(String),
    /// It begins like JSON and isn't.
    #[error("the value of `{flag}` begins like JSON, but is not: {why}")]
    Json {
        /// The flag.
        flag: FlagName,
        /// What is wrong with it, with line and column.
        why: String,
    },
    /// `null` means nothing that leaving the flag unset does not.
    #[error("the value of `{0}` must not be null; unset it instead")]
    Null(FlagName),
    /// Not a boolean, where a module declares one.
    #[error("`{flag}` must be `true` or `false`, as module {module} declares it")]
    NotBoolean {
        /// The flag.
        flag: FlagName,
        /// The first module, by name, that declares it so.
        module: ModuleName,
    },
    /// Of another type than the variants of the flag's definition.
    #[error("`{flag}` must be {defined}, as it is defined for all tenants, and not {found}")]
    OtherType {
        /// The flag.
        flag: FlagName,
        /// What its variants are, such as `a boolean`.
        defined: &'static str,
        /// What the value is.
        found: &'static str,
    },
    /// Over [`MAX_VALUE_BYTES`].
    #[error("the value of `{flag}` has {bytes} bytes, at most {MAX_VALUE_BYTES} are permitted")]
    TooLarge {
        /// The flag.
        flag: FlagName,
        /// Its size as JSON.
        bytes: usize,
    },
    /// Over [`MAX_VALUE_DEPTH`].
    #[error("the value of `{0}` is too deep: at most {MAX_VALUE_DEPTH} arrays and objects may be inside each other")]
    TooDeep(FlagName),
    /// Over [`MAX_OVERRIDES`].
    #[error("the tenant would have {0} values of its own, at most {MAX_OVERRIDES} are permitted")]
    TooMany(usize),
}

impl FlagError {
    /// The name may be long or hostile: it is repeated in short and escaped.
    pub(super) fn name(text: &str) -> Self {
        let short: String = text.chars().take(64).flat_map(char::escape_debug).collect();
        Self::Name(if text.chars().nth(64).is_some() { short + "..." } else { short })
    }

    /// The stable code of every variant.
    pub fn code(&self) -> &'static str {
        "FLAG_INVALID"
    }
}

/// Reads `FLAG=VALUE`. A value that is JSON is taken as JSON, anything else as a text; one that begins with
/// `{`, `[` or `"` and is not JSON is a typing error and refused. White space round the value is not kept.
///
/// # Errors
///
/// No `=`, no flag name, `null`, or broken JSON.
pub fn parse_assignment(text: &str) -> Result<(FlagName, Value), FlagError> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(match text.parse::<FlagName>() {
            Ok(name) => FlagError::NoValue(name.into_string()),
            Err(error) => error,
        });
    };
    let name: FlagName = name.parse()?;
    let value = value.trim();
    match serde_json::from_str(value) {
        Ok(Value::Null) => Err(FlagError::Null(name)),
        Ok(json) => Ok((name, json)),
        Err(why) if value.starts_with(['{', '[', '"']) => Err(FlagError::Json { flag: name, why: why.to_string() }),
        Err(_) => Ok((name, Value::String(value.to_owned()))),
    }
}

/// What a value is, as messages say it: `a boolean`, `a string`.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Applies all changes, or none where one is refused. Returns whether anything is different now.
///
/// `check` says what else must hold of a value; [`FlagSet::check`](super::FlagSet::check) is meant for it.
///
/// # Errors
///
/// Everything that is wrong with any of the changes.
pub fn apply_changes(
    overrides: &mut BTreeMap<String, Value>,
    changes: &[FlagChange],
    check: impl Fn(&FlagName, &Value) -> Result<(), FlagError>,
) -> Result<bool, Vec<FlagError>> {
    let mut errors = Vec::new();
    let mut changed = overrides.clone();
    for change in changes {
        match change {
            FlagChange::Set(flag, value) => {
                let problem = within_bounds(flag, value).and_then(|()| check(flag, value)).err();
                errors.extend(problem);
                changed.insert(flag.as_str().to_owned(), value.clone());
            }
            FlagChange::Unset(flag) => drop(changed.remove(flag.as_str())),
        }
    }
    // A document that a foreign program filled beyond the bound may still shrink.
    if changed.len() > MAX_OVERRIDES && changed.len() > overrides.len() {
        errors.push(FlagError::TooMany(changed.len()));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let is_different = changed != *overrides;
    *overrides = changed;
    Ok(is_different)
}

fn within_bounds(flag: &FlagName, value: &Value) -> Result<(), FlagError> {
    let bytes = match value {
        Value::Null => return Err(FlagError::Null(flag.clone())),
        Value::Bool(_) | Value::Number(_) => return Ok(()),
        other => other.to_string().len(),
    };
    if bytes > MAX_VALUE_BYTES {
        return Err(FlagError::TooLarge { flag: flag.clone(), bytes });
    }
    if depth(value) > MAX_VALUE_DEPTH { Err(FlagError::TooDeep(flag.clone())) } else { Ok(()) }
}
