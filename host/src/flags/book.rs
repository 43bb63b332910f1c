//! Looks through the rules of a file: references are put in, what a rule may cost is bounded, and it is compiled.
//!
//! Only flagd's operators are known. A mistake that flagd would answer with an error, or with the default variant, at each
//! evaluation is a problem of the file here: an operator that there is not, a weight that is none, a reference to nothing.

use serde_json::{Map, Value, json};

use super::{
    context::MAX_CONTEXT_VALUES,
    javascript,
    operators::{self, BUCKET_KEY, BUCKET_TEXT, BUCKET_VALUE, LIST, MOST_WEIGHT, WHOLE_WEIGHTS},
    problem::Findings,
    rule::{Rule, whole},
};

/// The most parts of a rule: operators, values and lists, those of what it refers to included. A guess: flags that people
/// read have a hundredth.
const MAX_PARTS: u64 = 4_000;

/// The most parts of all rules of a file. What is written out hardly comes to it; a few references to much do. Measured: 200
/// bytes of memory each, where they are names of tenants.
const MAX_PARTS_OF_ALL: u64 = 1_000_000;

/// A text counts as one part more for each so many bytes.
const BYTES_OF_A_PART: usize = 128;

/// How deep rules may be nested, those they refer to included. The engine goes as deep on its stack.
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

/// What a part of a rule may cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// With lists as long as can be.
    steps: u64,
    /// The most elements of what it comes to.
    size: u64,
    reads_time: bool,
}

impl Cost {
    fn leaf(size: u64) -> Self {
        Self { steps: 1, size, reads_time: false }
    }

    fn take(&mut self, other: Self) {
        self.steps = self.steps.saturating_add(other.steps);
        self.size = self.size.saturating_add(other.size);
        self.reads_time |= other.reads_time;
    }
}

/// A part of a rule as the engine is to have it.
#[derive(Debug)]
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
    /// `$evaluators` as written. Each is looked through by itself, where what is wrong with it is noted, and once more
    /// wherever it is referred to: what it means may be another thing there.
    named: &'file Map<String, Value>,
    /// Those that are being looked through, from the outside in.
    open: Vec<&'file str>,
    /// The one that is looked through by itself.
    own: Option<&'file str>,
    /// How often that one was come upon in itself.
    rounds: usize,
    /// How many parts of the present rule there are so far.
    parts: u64,
    /// And of all rules before it.
    parts_before: u64,
    /// Whether the present rule is nested too deep.
    is_too_deep: bool,
    /// Whether it was noted that all rules together have too many parts.
    is_too_large: bool,
}

impl<'file> RuleBook<'file> {
    /// Looks through all rules that have a name.
    pub(super) fn new(named: &'file Map<String, Value>, findings: &mut Findings) -> Self {
        let mut book = Self {
            named,
            open: Vec::new(),
            own: None,
            rounds: 0,
            parts: 0,
            parts_before: 0,
            is_too_deep: false,
            is_too_large: false,
        };
        for (name, written) in named {
            findings.member("$evaluators", |inside| {
                inside.member(name, |inside| {
                    book.own = Some(name);
                    book.begin();
                    book.open.push(name);
                    book.part(written, Seat { depth: 0, inside: false }, inside);
                    book.open.pop();
                    book.note_bounds(inside);
                });
            });
        }
        book.own = None;
        book
    }

    /// The rules that have a name.
    pub(super) fn named(&self) -> &'file Map<String, Value> {
        self.named
    }

    /// Looks through and compiles a rule; `None` where something is wrong with it, which is noted.
    pub(super) fn rule(&mut self, written: &Value, findings: &mut Findings) -> Option<Rule> {
        let before = findings.count();
        self.begin();
        let Part { value, cost } = self.part(written, Seat { depth: 0, inside: false }, findings);
        self.note_bounds(findings);
        if findings.count() > before || self.is_too_large {
            return None;
        }
        if cost.steps > MAX_STEPS {
            let steps = format!("{} steps with lists of {MAX_CONTEXT_VALUES} elements", cost.steps);
            findings.add(format!("the rule may take {steps}, at most {MAX_STEPS} are permitted"));
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

    fn begin(&mut self) {
        self.parts_before = self.parts_before.saturating_add(self.parts);
        (self.parts, self.is_too_deep) = (0, false);
    }

    /// Counts parts before they are made; `false`: they must not be.
    fn count(&mut self, parts: u64) -> bool {
        self.parts = self.parts.saturating_add(parts);
        self.parts <= MAX_PARTS && self.parts_before.saturating_add(self.parts) <= MAX_PARTS_OF_ALL
    }

    /// Notes the bounds that the present rule goes over.
    fn note_bounds(&mut self, findings: &mut Findings) {
        if self.is_too_deep {
            findings.add(format!("the rule is nested deeper than {MAX_DEPTH}"));
        }
        if self.parts > MAX_PARTS {
            findings.add(format!("the rule has more than {MAX_PARTS} parts"));
        } else if self.parts_before.saturating_add(self.parts) > MAX_PARTS_OF_ALL && !self.is_too_large {
            self.is_too_large = true;
            findings.add(format!("with this one the rules of the file have more than {MAX_PARTS_OF_ALL} parts"));
        }
    }

    fn part(&mut self, written: &Value, seat: Seat, findings: &mut Findings) -> Part {
        if seat.depth > MAX_DEPTH {
            self.is_too_deep = true;
            return Part::nothing();
        }
        let bytes = written.as_str().map_or(0, str::len);
        if !self.count(1 + (bytes / BYTES_OF_A_PART) as u64) {
            return Part::nothing();
        }
        match written {
            Value::Array(items) => {
                let (items, cost) = self.parts(items, seat, findings);
                Part { value: Value::Array(items), cost }
            }
            Value::Object(members) => match members.iter().next() {
                Some((operator, arguments)) if members.len() == 1 => {
                    let operation = |inside: &mut Findings| self.operation(operator, arguments, seat.deeper(), inside);
                    findings.member(operator, operation)
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
        let named = self.named;
        let Some((name, written)) = named.get_key_value(name) else {
            findings.add(format!("there is no rule `{name}` in `$evaluators`"));
            return Part::nothing();
        };
        let (rounds, mut part) = (self.rounds, Part::nothing());
        if self.open.contains(&name.as_str()) {
            self.rounds += usize::from(self.own == Some(name));
        } else {
            self.open.push(name);
            // What is wrong with it is noted where it stands.
            part = self.part(written, seat.deeper(), &mut Findings::default());
            self.open.pop();
        }
        if self.rounds > rounds
            && let Some(own) = self.own
        {
            findings.add(format!("rule `{own}` refers to itself"));
        }
        part
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
            Value::Null | Value::Bool(_) => !seat.inside,
            // It can't be known what a computed path leads to; one in steps is none that people write.
            Value::Object(_) | Value::Array(_) => true,
            Value::Number(_) => false,
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
        cost.steps = cost.steps.saturating_add(list.cost.size.saturating_mul(body.cost.steps));
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
                Value::Object(key) if index == 0 && is_text(key, seat) => self.part(item, seat.deeper(), inside),
                // A bucket can't be computed as a whole: nobody would have looked at its weight.
                Value::Object(_) if index == 0 => {
                    let part = self.part(item, seat.deeper(), inside);
                    Part { value: json!({ BUCKET_KEY: [part.value] }), cost: part.cost }
                }
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
            cost.steps = cost.steps.saturating_mul(2);
            value = json!({ "if": [{ WHOLE_WEIGHTS: computed }, value, null] });
        }
        cost.size = 1;
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
                let before = self.parts;
                let part = self.part(rule, seat.deeper(), inside);
                // It is there twice.
                if self.count(self.parts - before) {
                    computed.push(part.value.clone());
                }
                part
            }
            Some(weight) => match weight.as_number().and_then(whole) {
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

/// Whether a rule comes to a text or to nothing, whatever a client says.
fn is_text(rule: &Map<String, Value>, seat: Seat) -> bool {
    let path = rule.get("var").and_then(Value::as_str);
    let is_known = path.is_some_and(|path| ["targetingKey", "tenantId", "$flagd.flagKey"].contains(&path));
    rule.contains_key("cat") || (is_known && !seat.inside)
}

/// How often the body of a `reduce` reads more than the element.
fn accumulators(body: &Value) -> usize {
    match body {
        Value::Array(items) => items.iter().map(accumulators).sum(),
        Value::Object(members) => match members.get("var") {
            Some(arguments) => {
                let path = arguments.as_array().map_or(Some(arguments), |items| items.first());
                let is_element = path.and_then(Value::as_str).is_some_and(|path| path.starts_with("current"));
                // A path can be computed, and so can what stands in for what is not there.
                usize::from(!is_element) + accumulators(arguments)
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
