//! Targeting: a rule is looked through, its references are put in, what it may cost is bounded, and it is compiled.
//!
//! Only flagd's operators are known. A mistake that flagd would answer with an error, or with the default variant, at each
//! evaluation is a problem of the file here: an operator that there is not, a weight that is none, a reference to nothing.

use std::{collections::HashMap, fmt};

use datalogic_rs::{DataValue, Logic};
use serde_json::{Map, Value, json};

use super::{
    context::{EvaluationContext, MAX_CONTEXT_VALUES},
    javascript,
    operators::{self, BUCKET_TEXT, BUCKET_VALUE, LIST, MOST_WEIGHT, WHOLE_WEIGHTS},
    problem::Findings,
};

/// The most parts of a rule, those of what it refers to included. A guess: flags that people read have a hundredth.
const MAX_PARTS: u64 = 2_000;

/// How deep rules may be nested. The engine goes as deep on its stack.
const MAX_DEPTH: usize = 64;

/// The most steps that a rule may take where each list of the context is as long as can be. A guess at what nobody needs;
/// measured: 50 ns a step without optimisation, so a tenth of a second at the worst.
const MAX_STEPS: u64 = 2_000_000;

/// The operators that work on each element of a list.
const ITERATORS: [&str; 6] = ["map", "filter", "reduce", "all", "none", "some"];

/// The operators that go through all that they are given.
const WIDE: [&str; 10] = ["in", "merge", "cat", "max", "min", "+", "*", "missing", "missing_some", "substr"];

const OTHERS: [&str; 19] = [
    "if",
    "==",
    "===",
    "!=",
    "!==",
    ">",
    ">=",
    "<",
    "<=",
    "%",
    "/",
    "-",
    "!",
    "!!",
    "and",
    "or",
    "sem_ver",
    "starts_with",
    "ends_with",
];

/// A rule, ready to run.
pub(super) struct Rule {
    logic: Logic,
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
                value @ (Value::Bool(_) | Value::Number(_)) => {
                    Ok(Some(whole(&value).map_or_else(|| value.to_string(), |number| number.to_string())))
                }
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

/// What a part of a rule may cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    parts: u64,
    /// With lists as long as can be.
    steps: u64,
    /// The most elements of what it comes to.
    size: u64,
    depth: usize,
    reads_time: bool,
}

impl Cost {
    fn leaf(size: u64) -> Self {
        Self { parts: 1, steps: 1, size, depth: 0, reads_time: false }
    }

    fn take(&mut self, other: Self) {
        self.parts = self.parts.saturating_add(other.parts);
        self.steps = self.steps.saturating_add(other.steps);
        self.size = self.size.saturating_add(other.size);
        self.depth = self.depth.max(other.depth);
        self.reads_time |= other.reads_time;
    }
}

/// A part of a rule as the engine is to have it.
#[derive(Debug, Clone)]
struct Part {
    value: Value,
    cost: Cost,
}

impl Part {
    /// Stands where something is wrong.
    fn nothing() -> Self {
        Self { value: Value::Null, cost: Cost::leaf(0) }
    }
}

/// Where a part stands.
#[derive(Debug, Clone, Copy)]
struct Seat {
    depth: usize,
    /// Within the body of an operator that works on each element.
    inside: bool,
}

impl Seat {
    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// Looks through the rules of one file.
pub(super) struct RuleBook<'file> {
    /// `$evaluators` as written.
    named: &'file Map<String, Value>,
    /// Those that were looked through; `None` while one is.
    known: HashMap<&'file str, Option<Part>>,
}

impl<'file> RuleBook<'file> {
    /// Looks through all rules that have a name.
    pub(super) fn new(named: &'file Map<String, Value>, findings: &mut Findings) -> Self {
        let mut book = Self { named, known: HashMap::new() };
        for name in named.keys() {
            book.named(name, Seat { depth: 0, inside: false }, findings);
        }
        book
    }

    /// Looks through and compiles a rule; `None` where something is wrong with it, which is noted.
    pub(super) fn rule(&mut self, written: &Value, findings: &mut Findings) -> Option<Rule> {
        let before = findings.count();
        let Part { value, cost } = self.part(written, Seat { depth: 0, inside: false }, findings);
        if findings.count() > before {
            return None;
        }
        let too_much = if cost.depth > MAX_DEPTH {
            Some(format!("the rule is nested deeper than {MAX_DEPTH}"))
        } else if cost.parts > MAX_PARTS {
            Some(format!("the rule has {} parts, at most {MAX_PARTS} are permitted", cost.parts))
        } else if cost.steps > MAX_STEPS {
            let steps = format!("{} steps with lists of {MAX_CONTEXT_VALUES} elements", cost.steps);
            Some(format!("the rule may take {steps}, at most {MAX_STEPS} are permitted"))
        } else {
            None
        };
        if let Some(problem) = too_much {
            findings.add(problem);
            return None;
        }
        match operators::compile(&value) {
            Ok(logic) => Some(Rule { logic, reads_time: cost.reads_time }),
            Err(why) => {
                findings.add(format!("the rule can't be compiled: {why}"));
                None
            }
        }
    }

    fn part(&mut self, written: &Value, seat: Seat, findings: &mut Findings) -> Part {
        if seat.depth > MAX_DEPTH {
            findings.add(format!("the rule is nested deeper than {MAX_DEPTH}"));
            return Part::nothing();
        }
        match written {
            Value::Array(items) => {
                let (items, mut cost) = self.parts(items, seat, findings);
                cost.depth += 1;
                Part { value: Value::Array(items), cost }
            }
            Value::Object(members) => match members.iter().next() {
                Some((operator, arguments)) if members.len() == 1 => {
                    let operation = |inside: &mut Findings| self.operation(operator, arguments, seat.deeper(), inside);
                    let mut part = findings.member(operator, operation);
                    part.cost.depth += 1;
                    part
                }
                _ => {
                    findings.add(format!("must be one operator with its arguments, not {} members", members.len()));
                    Part::nothing()
                }
            },
            scalar => Part { value: scalar.clone(), cost: Cost::leaf(1) },
        }
    }

    fn parts(&mut self, items: &[Value], seat: Seat, findings: &mut Findings) -> (Vec<Value>, Cost) {
        let mut all = Cost::leaf(0);
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let part = findings.element(index, |inside| self.part(item, seat.deeper(), inside));
            all.take(part.cost);
            values.push(part.value);
        }
        (values, all)
    }

    fn operation(&mut self, operator: &str, arguments: &Value, seat: Seat, findings: &mut Findings) -> Part {
        match operator {
            "$ref" => self.reference(arguments, seat, findings),
            "var" => self.variable(arguments, seat, findings),
            "fractional" => self.fractional(arguments, seat, findings),
            _ if ITERATORS.contains(&operator) => self.iteration(operator, arguments, seat, findings),
            _ if WIDE.contains(&operator) || OTHERS.contains(&operator) => {
                let mut part = self.part(arguments, seat, findings);
                if WIDE.contains(&operator) {
                    part.cost.steps = part.cost.steps.saturating_add(part.cost.size);
                }
                let name = javascript::engine_name(operator, arguments).unwrap_or(operator);
                part.value = json!({ name: part.value });
                part
            }
            _ => {
                findings.add("there is no such operator");
                Part::nothing()
            }
        }
    }

    fn reference(&mut self, name: &Value, seat: Seat, findings: &mut Findings) -> Part {
        let Some(name) = name.as_str() else {
            findings.add("must be the name of a rule in `$evaluators`");
            return Part::nothing();
        };
        self.named(name, seat, findings).unwrap_or_else(Part::nothing)
    }

    fn named(&mut self, name: &str, seat: Seat, findings: &mut Findings) -> Option<Part> {
        let Some((name, written)) = self.named.get_key_value(name) else {
            findings.add(format!("there is no rule `{name}` in `$evaluators`"));
            return None;
        };
        match self.known.get(name.as_str()) {
            // What is wrong with it is noted where it stands.
            Some(Some(part)) => return Some(part.clone()),
            Some(None) => {
                findings.add(format!("rule `{name}` refers to itself"));
                return None;
            }
            None => {}
        }
        self.known.insert(name, None);
        // Where it stands in the file, whoever came to it first.
        let mut apart = Findings::default();
        let mut part = apart
            .member("$evaluators", |inside| inside.member(name, |inside| self.part(written, seat.deeper(), inside)));
        if part.cost.parts > MAX_PARTS {
            apart.member("$evaluators", |inside| {
                inside.member(name, |inside| inside.add(format!("the rule has more than {MAX_PARTS} parts")));
            });
            part = Part::nothing();
        }
        findings.append(apart);
        self.known.insert(name, Some(part.clone()));
        Some(part)
    }

    fn variable(&mut self, arguments: &Value, seat: Seat, findings: &mut Findings) -> Part {
        let mut part = self.part(arguments, seat, findings);
        part.cost.size = part.cost.size.saturating_add(MAX_CONTEXT_VALUES as u64);
        let path = match arguments {
            Value::Array(items) => items.first().unwrap_or(&Value::Null),
            path => path,
        };
        part.cost.reads_time |= match path {
            Value::String(path) => match path.strip_prefix("$flagd") {
                Some(".flagKey") => false,
                Some("" | ".timestamp") => true,
                Some(other) if other.starts_with('.') => {
                    findings.add(format!("there is no `{path}`: only `$flagd.flagKey` and `$flagd.timestamp`"));
                    false
                }
                // All there is, the time included; within a list it is the element.
                _ => path.is_empty() && !seat.inside,
            },
            Value::Null => !seat.inside,
            // It can't be known what a computed path leads to.
            Value::Object(_) => true,
            _ => false,
        };
        part.value = json!({ "var": part.value });
        part
    }

    fn iteration(&mut self, operator: &str, arguments: &Value, seat: Seat, findings: &mut Findings) -> Part {
        let needed = if operator == "reduce" { 2..=3 } else { 2..=2 };
        let Value::Array(items) = arguments else {
            findings.add("must be a list: what is gone through, and the rule for each element");
            return Part::nothing();
        };
        if !needed.contains(&items.len()) {
            findings.add(format!("has {} arguments, not {}", items.len(), needed.end()));
            return Part::nothing();
        }
        let list = findings.element(0, |inside| self.part(&items[0], seat.deeper(), inside));
        let within = Seat { inside: true, ..seat.deeper() };
        let body = findings.element(1, |inside| self.part(&items[1], within, inside));
        if operator == "reduce" && accumulators(&body.value) > 1 && builds(&body.value) {
            findings.add("the rule for each element uses `accumulator` twice and builds something of it, which may double each time");
        }
        let mut cost = list.cost;
        cost.parts = cost.parts.saturating_add(body.cost.parts);
        cost.steps = cost.steps.saturating_add(list.cost.size.saturating_mul(body.cost.steps));
        cost.depth = cost.depth.max(body.cost.depth) + 1;
        cost.reads_time |= body.cost.reads_time;
        cost.size = match operator {
            "map" | "reduce" => list.cost.size.saturating_mul(body.cost.size.max(1)),
            "filter" => list.cost.size,
            _ => 1,
        };
        let is_filter = operator == "filter" && list.value.is_object();
        let mut values = vec![if is_filter { json!({ LIST: [list.value] }) } else { list.value }, body.value];
        if let Some(first) = items.get(2) {
            let first = findings.element(2, |inside| self.part(first, seat.deeper(), inside));
            cost.take(first.cost);
            values.push(first.value);
        }
        Part { value: json!({ operator: values }), cost }
    }

    /// A bucket of the crate's `fractional` must be named by a text and weighs 1 where its weight is no whole number;
    /// flagd takes names that are no texts, and of bad weights nothing at all.
    fn fractional(&mut self, arguments: &Value, seat: Seat, findings: &mut Findings) -> Part {
        let Value::Array(items) = arguments else {
            findings.add("must be a list of buckets, with or without what they are chosen by before them");
            return Part::nothing();
        };
        let (mut cost, mut values) = (Cost::leaf(0), Vec::new());
        let (mut sum, mut computed) = (0_i64, Vec::new());
        for (index, item) in items.iter().enumerate() {
            let part = findings.element(index, |inside| match item {
                Value::Array(bucket) => self.bucket(bucket, seat.deeper(), &mut sum, &mut computed, inside),
                Value::String(_) | Value::Null if index == 0 => self.part(item, seat.deeper(), inside),
                Value::Object(_) => self.part(item, seat.deeper(), inside),
                _ => {
                    inside.add("must be a bucket, as in [\"on\", 10]");
                    Part::nothing()
                }
            });
            cost.take(part.cost);
            values.push(part.value);
        }
        if sum > MOST_WEIGHT {
            findings.add(format!("the weights come to {sum}, at most {MOST_WEIGHT} are permitted"));
        }
        let mut value = json!({ BUCKET_VALUE: [{ "fractional": values }] });
        if !computed.is_empty() {
            computed.push(sum.into());
            // The weights are computed twice.
            (cost.parts, cost.steps) = (cost.parts.saturating_mul(2), cost.steps.saturating_mul(2));
            value = json!({ "if": [{ WHOLE_WEIGHTS: computed }, value, null] });
        }
        (cost.size, cost.depth) = (1, cost.depth + 1);
        Part { value, cost }
    }

    fn bucket(
        &mut self,
        bucket: &[Value],
        seat: Seat,
        sum: &mut i64,
        computed: &mut Vec<Value>,
        findings: &mut Findings,
    ) -> Part {
        let (name, weight) = match bucket {
            [name] => (name, None),
            [name, weight] => (name, Some(weight)),
            _ => {
                findings.add("must be a variant and its weight, as in [\"on\", 10]");
                return Part::nothing();
            }
        };
        let mut part = findings.element(0, |inside| match name {
            Value::String(_) => self.part(name, seat, inside),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                let part = self.part(name, seat.deeper(), inside);
                Part { value: json!({ BUCKET_TEXT: [part.value] }), cost: part.cost }
            }
            Value::Array(_) => {
                inside.add("must be the name of a variant");
                Part::nothing()
            }
        });
        let weight = findings.element(1, |inside| match weight {
            None => Part { value: 1.into(), cost: Cost::leaf(1) },
            Some(rule @ Value::Object(_)) => {
                let part = self.part(rule, seat.deeper(), inside);
                computed.push(part.value.clone());
                part
            }
            Some(weight) => match whole(weight) {
                Some(weight) if weight <= MOST_WEIGHT => Part { value: weight.max(0).into(), cost: Cost::leaf(1) },
                _ => {
                    inside.add(format!("a weight must be a whole number, at most {MOST_WEIGHT}"));
                    Part::nothing()
                }
            },
        });
        *sum = sum.saturating_add(weight.value.as_i64().unwrap_or(0));
        part.cost.take(weight.cost);
        part.value = json!([part.value, weight.value]);
        part
    }
}

/// A number without a fraction, also one that is written with one.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15)?;
    Some(number as i64)
}

/// How often the body of a `reduce` reads more than the element.
fn accumulators(body: &Value) -> usize {
    match body {
        Value::Array(items) => items.iter().map(accumulators).sum(),
        Value::Object(members) => match members.get("var") {
            Some(path) => {
                let path = path.as_array().map_or(Some(path), |items| items.first());
                let is_element = path.and_then(Value::as_str).is_some_and(|path| path.starts_with("current"));
                usize::from(!is_element)
            }
            None => members.values().map(accumulators).sum(),
        },
        _ => 0,
    }
}

/// Whether a rule makes texts or lists.
fn builds(body: &Value) -> bool {
    match body {
        Value::Array(items) => items.iter().any(|item| item.is_array() || builds(item)),
        Value::Object(members) => members.iter().any(|(operator, arguments)| {
            matches!(operator.as_str(), "cat" | "merge" | "map" | "filter") || builds(arguments)
        }),
        _ => false,
    }
}
