//! Looks whether the names that a rule is written to come to are variants of its flag. Only what is certain: names that are
//! written out where the rule's result stands. What a rule computes, and what it can't come to, is left alone.

use serde_json::{Map, Value};

use super::{definitions::names_of, problem::Findings, rule::whole};

/// The results of one rule.
pub(super) struct Results<'file> {
    /// Of the flag, sorted by name.
    variants: &'file [(Box<str>, Value)],
    /// `$evaluators` as written.
    named: &'file Map<String, Value>,
    /// Those that are being looked through.
    open: Vec<&'file str>,
}

impl<'file> Results<'file> {
    pub(super) fn new(variants: &'file [(Box<str>, Value)], named: &'file Map<String, Value>) -> Self {
        Self { variants, named, open: Vec::new() }
    }

    /// Notes each name that is no variant. The rule must be one whose parts are bounded.
    pub(super) fn look(&mut self, written: &'file Value, findings: &mut Findings) {
        match written {
            Value::String(name) => {
                if self.variants.binary_search_by(|(variant, _)| (**variant).cmp(name)).is_err() {
                    findings.add(format!("`{name}` is no variant; there are: {}", names_of(self.variants)));
                }
            }
            Value::Object(members) => {
                for (operator, arguments) in members {
                    findings.member(operator, |inside| match (operator.as_str(), arguments) {
                        ("if", Value::Array(parts)) => self.branches(parts, inside),
                        ("fractional", Value::Array(parts)) => self.buckets(parts, inside),
                        ("$ref", Value::String(name)) => self.reference(name, inside),
                        _ => {}
                    });
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {}
        }
    }

    fn branches(&mut self, parts: &'file [Value], findings: &mut Findings) {
        for (number, branch) in parts.chunks(2).enumerate() {
            let (condition, result) = match branch {
                [condition, result] => (Some(condition), result),
                [result] => (None, result),
                _ => return,
            };
            // A branch that is switched off by hand.
            let holds = condition.and_then(written_truth);
            if holds == Some(false) {
                continue;
            }
            let index = number * 2 + branch.len() - 1;
            findings.element(index, |inside| self.look(result, inside));
            if holds == Some(true) {
                return;
            }
        }
    }

    fn buckets(&mut self, parts: &'file [Value], findings: &mut Findings) {
        for (index, part) in parts.iter().enumerate() {
            let Some((name, weight)) = part.as_array().and_then(|bucket| bucket.split_first()) else { continue };
            let weight = weight.first().and_then(Value::as_number).and_then(whole);
            // Nobody falls into a bucket without weight.
            if weight.is_none_or(|weight| weight > 0) {
                findings.element(index, |inside| inside.element(0, |inside| self.look(name, inside)));
            }
        }
    }

    fn reference(&mut self, name: &str, findings: &mut Findings) {
        let named = self.named;
        if let Some((name, written)) = named.get_key_value(name)
            && !self.open.contains(&name.as_str())
        {
            self.open.push(name);
            self.look(written, findings);
            self.open.pop();
        }
    }
}

/// Whether a condition that is written out holds; `None` for a rule.
fn written_truth(condition: &Value) -> Option<bool> {
    match condition {
        Value::Null => Some(false),
        Value::Bool(holds) => Some(*holds),
        Value::Number(number) => Some(number.as_f64() != Some(0.0)),
        Value::String(text) => Some(!text.is_empty()),
        Value::Array(_) | Value::Object(_) => None,
    }
}
