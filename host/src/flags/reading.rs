//! Reads a file of flag definitions and says everything that is wrong with it.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

use super::{
    assign::type_of,
    book::RuleBook,
    definitions::{Definition, Definitions, names_of},
    doubled,
    problem::{DefinitionErrors, Findings},
    results::Results,
};

/// The most bytes of a file of definitions. A guess: thousands of flags fit.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// The most flags of a file. A guess, as above.
const MAX_FLAGS: usize = 5_000;

/// The most variants of a flag. A guess.
const MAX_VARIANTS: usize = 1_000;

/// The most bytes of a flag's key or a variant's name. A guess.
const MAX_NAME: usize = 256;

/// Beyond this whole numbers are not what they look like in JavaScript.
const MOST_SAFE: f64 = 9_007_199_254_740_991.0;

const FLAG_MEMBERS: [&str; 5] = ["state", "variants", "defaultVariant", "targeting", "metadata"];

const FLAGS_ARE: &str = "an object of flags by key, or a list of flags each with its `key`";

pub(super) fn read(content: &[u8]) -> Result<Definitions, DefinitionErrors> {
    let mut findings = Findings::default();
    let definitions = whole(content, &mut findings).unwrap_or_default();
    findings.into_result(definitions)
}

fn whole(content: &[u8], findings: &mut Findings) -> Option<Definitions> {
    if content.len() > MAX_FILE_BYTES {
        findings.add(format!("the definitions have more than {MAX_FILE_BYTES} bytes"));
        return None;
    }
    let file: Value = match serde_json::from_slice(content) {
        Ok(file) => file,
        Err(error) => {
            findings.add(format!("the definitions are no JSON: {error}"));
            return None;
        }
    };
    let Value::Object(top) = &file else {
        findings.add("the definitions must be an object with `flags`");
        return None;
    };
    if top.contains_key("variants") && !top.contains_key("flags") {
        let flags_are = FLAGS_ARE.replace(',', "");
        findings.add(format!("this is one flag by itself; definitions have `flags`, {flags_are}"));
        return None;
    }
    doubled::note(content, findings);
    no_others(top, &["flags", "$evaluators", "metadata"], findings);
    let metadata = findings.member("metadata", |inside| metadata(top.get("metadata"), inside));
    let nothing = Map::new();
    let named = findings.member("$evaluators", |inside| match top.get("$evaluators") {
        None => &nothing,
        Some(Value::Object(named)) => named,
        Some(_) => {
            inside.add("must be an object of rules by name");
            &nothing
        }
    });
    let mut book = RuleBook::new(named, findings);
    let mut flags: BTreeMap<Box<str>, Definition> = BTreeMap::new();
    match top.get("flags") {
        Some(Value::Object(written)) => findings.member("flags", |inside| {
            for (key, flag) in written {
                let read = inside.member(key, |inside| one(key, flag, &metadata, &mut book, inside));
                flags.extend(read.map(|flag| (flag.key.clone(), flag)));
            }
        }),
        Some(Value::Array(written)) => findings.member("flags", |inside| {
            for (index, flag) in written.iter().enumerate() {
                inside.element(index, |inside| match flag.get("key").and_then(Value::as_str) {
                    None => inside.add("`key` must be the key of the flag"),
                    Some(key) => {
                        let read = one(key, flag, &metadata, &mut book, inside);
                        let before = read.and_then(|flag| flags.insert(flag.key.clone(), flag));
                        if before.is_some() {
                            inside.add(format!("flag `{key}` is defined twice"));
                        }
                    }
                });
            }
        }),
        _ => findings.add(format!("`flags` must be {FLAGS_ARE}")),
    }
    if flags.len() > MAX_FLAGS {
        findings.add(format!("there are {} flags, at most {MAX_FLAGS} are permitted", flags.len()));
    }
    let mut with_rules = 0;
    let flags: Box<[Definition]> = flags
        .into_values()
        .map(|mut flag| {
            if let Some((number, _)) = &mut flag.rule {
                *number = with_rules;
                with_rules += 1;
            }
            flag
        })
        .collect();
    Some(Definitions::new(flags, metadata, revision(content)))
}

/// A digest of the file: the same on every host that has it.
fn revision(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn one(
    key: &str,
    written: &Value,
    of_set: &Map<String, Value>,
    book: &mut RuleBook<'_>,
    findings: &mut Findings,
) -> Option<Definition> {
    if !is_name(key) {
        findings.add(format!("a key has 1 to {MAX_NAME} bytes and no control characters"));
    }
    let Value::Object(flag) = written else {
        findings.add("must be an object");
        return None;
    };
    let is_listed = flag.get("key").and_then(Value::as_str) == Some(key);
    let mut known = FLAG_MEMBERS.to_vec();
    known.extend(is_listed.then_some("key"));
    no_others(flag, &known, findings);
    let is_enabled = findings.member("state", |inside| match flag.get("state").and_then(Value::as_str) {
        Some("ENABLED") => true,
        Some("DISABLED") => false,
        _ => {
            inside.add("must be \"ENABLED\" or \"DISABLED\"");
            false
        }
    });
    let variants = findings.member("variants", |inside| variants(flag.get("variants"), inside));
    let default = findings.member("defaultVariant", |inside| match flag.get("defaultVariant") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => {
            let found = variants.binary_search_by(|(variant, _)| (**variant).cmp(name)).ok();
            // Where the variants are wrong themselves, that is enough.
            if found.is_none() && !variants.is_empty() {
                inside.add(format!("`{name}` is no variant; there are: {}", names_of(&variants)));
            }
            found
        }
        Some(_) => {
            inside.add("must be the name of a variant, or null");
            None
        }
    });
    let rule = findings.member("targeting", |inside| match flag.get("targeting") {
        None => None,
        Some(Value::Object(rule)) if rule.is_empty() => None,
        Some(written @ Value::Object(_)) => {
            let rule = book.rule(written, inside);
            // Of a flag that is switched off no rule is asked: one that stands so must not take a whole set out of force.
            if rule.is_some() && is_enabled && !variants.is_empty() {
                Results::new(&variants, book.named()).look(written, inside);
            }
            rule
        }
        Some(_) => {
            inside.add("must be a rule, an object with one operator");
            None
        }
    });
    let own = findings.member("metadata", |inside| metadata(flag.get("metadata"), inside));
    let mut metadata = of_set.clone();
    metadata.extend(own);
    let rule = rule.map(|rule| (0, rule));
    Some(Definition { key: key.into(), is_enabled, variants: variants.into(), default, rule, metadata })
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// A misspelt member would be a rule that is not there.
fn no_others(members: &Map<String, Value>, known: &[&str], findings: &mut Findings) {
    for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
        // `$schema`, `$comment`.
        if !(name.starts_with('$') && name != "$evaluators") {
            findings.add(format!("unknown member `{}`", name.escape_debug()));
        }
    }
}

fn variants(written: Option<&Value>, findings: &mut Findings) -> Vec<(Box<str>, Value)> {
    let Some(Value::Object(written)) = written.filter(|it| it.as_object().is_some_and(|it| !it.is_empty())) else {
        findings.add("must be an object with at least one variant");
        return Vec::new();
    };
    if written.len() > MAX_VARIANTS {
        findings.add(format!("there are {} variants, at most {MAX_VARIANTS} are permitted", written.len()));
    }
    let mut first = None;
    for (name, value) in written {
        findings.member(name, |inside| {
            if !is_name(name) {
                inside.add(format!("a name has 1 to {MAX_NAME} bytes and no control characters"));
            }
            let kind = match value {
                Value::Null | Value::Array(_) => {
                    inside.add("must be a boolean, a string, a number or an object");
                    return;
                }
                Value::Number(number) if !is_safe(number) => {
                    inside.add(format!("{number} is beyond what all clients read alike, at most 2^53 - 1"));
                    type_of(value)
                }
                _ => type_of(value),
            };
            match first {
                None => first = Some(kind),
                Some(other) if other != kind => {
                    inside.add(format!("is {kind}, and other variants are not: the first is {other}"));
                }
                Some(_) => {}
            }
        });
    }
    let sorted: BTreeMap<&String, &Value> = written.iter().collect();
    sorted.into_iter().map(|(name, value)| (name.as_str().into(), value.clone())).collect()
}

fn is_safe(number: &Number) -> bool {
    number.as_f64().is_some_and(|number| number.abs() <= MOST_SAFE)
}

fn metadata(written: Option<&Value>, findings: &mut Findings) -> Map<String, Value> {
    let members = match written {
        None => return Map::new(),
        Some(Value::Object(members)) => members,
        Some(_) => {
            findings.add("must be an object");
            return Map::new();
        }
    };
    for (name, value) in members {
        if !(value.is_boolean() || value.is_string() || value.is_number()) {
            findings.member(name, |inside| inside.add("must be a boolean, a string or a number"));
        }
    }
    members.clone()
}
