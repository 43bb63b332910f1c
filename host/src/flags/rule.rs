//! Targeting, compiled: a rule runs for one context and names a variant, or nothing.

use std::fmt;

use datalogic_rs::{DataValue, Logic};
use serde_json::{Number, Value};

use super::{context::EvaluationContext, operators};

/// A rule, ready to run.
pub(super) struct Rule {
    pub(super) logic: Logic,
    /// Whether what it comes to depends on the time.
    pub(super) reads_time: bool,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("reads_time", &self.reads_time).finish_non_exhaustive()
    }
}

impl Rule {
    /// What it comes to: the name of a variant, nothing, or why neither.
    pub(super) fn run(&self, key: &str, context: &EvaluationContext) -> Result<Option<String>, RuleError> {
        let read = |found: &DataValue<'_>| match found {
            DataValue::Null => Ok(None),
            DataValue::String(text) => Ok(Some((*text).to_owned())),
            // What is no number in JSON is nothing, as in JavaScript.
            DataValue::Number(number) if !number.as_f64().is_finite() => Ok(None),
            other => match other.to_serde_value() {
                // 1 and 1.0 are the same number.
                Value::Number(number) => {
                    Ok(Some(whole(&number).map_or_else(|| number.to_string(), |number| number.to_string())))
                }
                Value::Bool(value) => Ok(Some(value.to_string())),
                value => Err(RuleError::NoName(value.to_string())),
            },
        };
        operators::run(&self.logic, key, context, read).map_err(RuleError::Broken)?
    }
}

/// Why a rule comes to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RuleError {
    /// It can't be evaluated with this context.
    Broken(String),
    /// It names something that no variant can be called.
    NoName(String),
}

/// A number without a fraction, also one that is written with one.
pub(super) fn whole(number: &Number) -> Option<i64> {
    let number = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15)?;
    Some(number as i64)
}
