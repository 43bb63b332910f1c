//! The tables of a `module.toml`, one function each, called by `parse`.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use litemap::LiteMap;
use semver::VersionReq;
use toml::de::DeValue;

use super::{
    declared::{Dependency, Model, Pricing, ValueError, is_kebab},
    json,
    parse::{distinct, finish},
    routes::{Endpoint, Routes},
    schema_secrets::unseen_secrets,
    source::{Problems, Value, nearest, shown},
};
use crate::names::ModuleName;

/// `[dependencies]`, written as for Cargo: a range, or a table with `version` and `optional`.
pub(super) fn dependencies(table: &Value<'_>, problems: &mut Problems) -> LiteMap<ModuleName, Dependency> {
    let mut read = BTreeMap::new();
    for entry in table.entries(problems) {
        let name = entry.name.parse::<ModuleName>();
        if let Err(error) = &name {
            problems.add(entry.name_at, &entry.value.key, format!("is no module: {error}"));
        }
        let dependency = match entry.value.toml() {
            DeValue::Table(_) => entry.value.section(problems).and_then(|mut section| {
                let range = section.need("version", problems).and_then(|value| value.parsed::<VersionReq>(problems));
                let optional = section.take("optional").and_then(|value| value.flag(problems)).unwrap_or(false);
                finish(section, problems);
                Some(Dependency { range: range?, optional })
            }),
            _ => entry.value.parsed(problems).map(|range| Dependency { range, optional: false }),
        };
        if let (Ok(name), Some(dependency)) = (name, dependency) {
            read.insert(name, dependency);
        }
    }
    read.into_iter().collect()
}

/// `[pricing]`. A price is taken from the text itself, so that no digit of it passes through a binary float.
pub(super) fn pricing(table: &Value<'_>, text: &str, problems: &mut Problems) -> Option<Pricing> {
    let mut section = table.section(problems)?;
    let tier = section.need("tier", problems).and_then(|value| value.line(problems));
    let mut price = |key| {
        let value = section.take(key)?;
        match value.toml() {
            DeValue::Integer(_) | DeValue::Float(_) => {
                let written = text.get(value.span()).unwrap_or_default().replace('_', "");
                let refuse = |error: ValueError| value.wrong(format!("is `{}`: {error}", shown(&written)), problems);
                written.parse().map_err(refuse).ok()
            }
            _ => value.parsed(problems),
        }
    };
    let (monthly, yearly) = (price("monthly-price"), price("yearly-price"));
    finish(section, problems);
    Some(Pricing { tier: tier?.into(), monthly, yearly })
}

/// `[features]`.
pub(super) fn features(table: &Value<'_>, problems: &mut Problems) -> LiteMap<Box<str>, serde_json::Value> {
    let mut read = BTreeMap::new();
    for entry in table.entries(problems) {
        if !is_kebab(entry.name) {
            problems.add(
                entry.name_at,
                &entry.value.key,
                "must be named in kebab-case, such as `bulk-import`, with at most 63 characters",
            );
        }
        if let Some(value) = json::from_toml(&entry.value, problems) {
            read.insert(entry.name.into(), value);
        }
    }
    read.into_iter().collect()
}

/// `[settings]`.
pub(super) fn settings(table: &Value<'_>, problems: &mut Problems) -> Option<serde_json::Value> {
    if !table.toml().is_table() {
        table.wrong("must be a table: a JSON Schema written as TOML", problems);
        return None;
    }
    let schema = json::from_toml(table, problems)?;
    if let Err(error) = jsonschema::validator_for(&schema) {
        table.wrong(format!("is no JSON Schema: {}: {error}", error.instance_path()), problems);
        return None;
    }
    let unseen = unseen_secrets(&schema);
    if !unseen.is_empty() {
        let places = unseen.join("`, `");
        table.wrong(
            format!("has `writeOnly` where it is not looked for, at `{places}`: only in `properties`"),
            problems,
        );
        return None;
    }
    Some(schema)
}

/// A name of a model: a letter, then letters, digits and `_`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ModelName(Box<str>);

impl FromStr for ModelName {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if text.len() > 63 || !plain || !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(ValueError("a model's name has at most 63 letters, digits and `_`, a letter first"));
        }
        Ok(Self(text.into()))
    }
}

/// A name of a document's field. Dots and `$` are out: they have a meaning in some stores.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct FieldName(Box<str>);

impl FromStr for FieldName {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if text.len() > 63 || !plain || !text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            return Err(ValueError(
                "a field is top-level and has at most 63 letters, digits, `_` and `-`, a letter or `_` first",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// `models`, as a list of names or as tables with their fields.
pub(super) fn models(models: &Value<'_>, problems: &mut Problems) -> Box<[Model]> {
    if models.toml().is_array() {
        let names = distinct::<ModelName>(models, problems);
        return names
            .into_iter()
            .map(|name| Model { name: name.0, unique: Box::default(), index: Box::default() })
            .collect();
    }
    let mut read = Vec::new();
    for entry in models.entries(problems) {
        if let Err(error) = entry.name.parse::<ModelName>() {
            problems.add(entry.name_at, &entry.value.key, format!("is no name for a model: {error}"));
        }
        let Some(mut section) = entry.value.section(problems) else { continue };
        let mut fields = |key| -> Box<[Box<str>]> {
            let list = section.take(key).map(|value| distinct::<FieldName>(&value, problems)).unwrap_or_default();
            list.into_iter().map(|field| field.0).collect()
        };
        let model = Model { name: entry.name.into(), unique: fields("unique"), index: fields("index") };
        finish(section, problems);
        read.push(model);
    }
    read.sort_by(|one, other| one.name.cmp(&other.name));
    read.into()
}

/// `[routes]`. Endpoints may name only features that `[features]` declares.
pub(super) fn routes(
    table: &Value<'_>,
    features: &LiteMap<Box<str>, serde_json::Value>,
    problems: &mut Problems,
) -> Option<Routes> {
    let mut section = table.section(problems)?;
    let base = section.need("base", problems).and_then(|value| value.parsed(problems));
    let mut endpoints = Vec::new();
    let mut seen: HashMap<(http::Method, String), String> = HashMap::new();
    for item in section.take("endpoints").map(|list| list.items(problems)).unwrap_or_default() {
        let Some(endpoint) = endpoint(&item, features, problems) else { continue };
        let place = (endpoint.method(), endpoint.path.shape());
        if let Some(first) = seen.get(&place) {
            item.wrong(
                format!("has the method and path of `{first}`: {} {}", endpoint.method(), endpoint.path),
                problems,
            );
        } else {
            seen.insert(place, item.key.clone());
        }
        endpoints.push(endpoint);
    }
    finish(section, problems);
    Some(Routes { base: base?, endpoints: endpoints.into() })
}

fn endpoint(
    item: &Value<'_>,
    features: &LiteMap<Box<str>, serde_json::Value>,
    problems: &mut Problems,
) -> Option<Endpoint> {
    let mut section = item.section(problems)?;
    let path = section.need("path", problems).and_then(|value| value.parsed(problems));
    let method = section.need("method", problems).and_then(|value| {
        let text = value.text(problems)?;
        if !Endpoint::METHODS.contains(&text) {
            let known = Endpoint::METHODS.join(", ");
            value.wrong(format!("is `{}`, must be one of {known}", shown(text)), problems);
            return None;
        }
        Some(text)
    });
    let auth = section.take("auth").and_then(|value| value.flag(problems)).unwrap_or(true);
    let roles = section.take("roles").map(|value| {
        let roles = distinct::<Role>(&value, problems);
        if roles.is_empty() && value.toml().as_array().is_some_and(|list| list.iter().next().is_none()) {
            value.wrong("names no role: leave it out to admit every known caller", problems);
        }
        if !auth {
            value.wrong("can't be asked for where `auth = false`", problems);
        }
        roles.into_iter().map(|role| role.0).collect()
    });
    let feature = section.take("feature").and_then(|value| {
        let name = value.text(problems)?;
        if !features.contains_key(name) {
            let hint = nearest(name, features.keys().map(|known| &**known));
            let hint = hint.map(|near| format!("; the nearest declared one is `{near}`")).unwrap_or_default();
            value.wrong(format!("is `{}`, which [features] does not declare{hint}", shown(name)), problems);
        }
        Some(name.into())
    });
    finish(section, problems);
    let mut endpoint = Endpoint::new(path?, method?)?;
    (endpoint.auth, endpoint.roles, endpoint.feature) = (auth, roles.unwrap_or_default(), feature);
    Some(endpoint)
}

/// A role as tokens carry it: any text on one line; `module:NAME` means a calling module.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Role(Box<str>);

impl FromStr for Role {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 128 || text.trim() != text || text.chars().any(char::is_control) {
            return Err(ValueError("a role is one line of at most 128 bytes without space at its ends"));
        }
        if text.strip_prefix("module:").is_some_and(|name| name.parse::<ModuleName>().is_err()) {
            return Err(ValueError("after `module:` stands the name of a module"));
        }
        Ok(Self(text.into()))
    }
}
