//! For whom a flag is evaluated: what the client says, and what the host knows better.

use std::time::{SystemTime, UNIX_EPOCH};

use datalogic_rs::{
    DataValue,
    bumpalo::{Bump, collections::Vec as ArenaVec},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::names::TenantId;

/// The most values that a context may have, those inside others included. A guess, far above what clients send; the
/// steps of rules are bounded by it.
pub const MAX_CONTEXT_VALUES: usize = 500;

/// The context of an evaluation.
#[derive(Debug, Clone)]
pub struct EvaluationContext {
    /// With `tenantId` and, filled in for each flag, `$flagd`.
    root: Map<String, Value>,
    unix_seconds: u64,
}

/// Why a context can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// More than [`MAX_CONTEXT_VALUES`].
    #[error("the context has {0} values, at most {MAX_CONTEXT_VALUES} are permitted")]
    TooLarge(usize),
    /// `targetingKey` is there and no text.
    #[error("`targetingKey` must be a string")]
    TargetingKey,
}

impl EvaluationContext {
    /// What a client says of itself. The tenant is the host's to say: `tenantId` and `$flagd` of the client's are
    /// replaced.
    ///
    /// # Errors
    ///
    /// [`ContextError`].
    pub fn of_client(tenant: &TenantId, said: Map<String, Value>, unix_seconds: u64) -> Result<Self, ContextError> {
        let values = said.values().map(count).sum();
        if values > MAX_CONTEXT_VALUES {
            return Err(ContextError::TooLarge(values));
        }
        match said.get("targetingKey") {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(_) => return Err(ContextError::TargetingKey),
        }
        let mut root = said;
        root.insert("tenantId".to_owned(), tenant.as_str().into());
        root.remove("$flagd");
        Ok(Self { root, unix_seconds })
    }

    /// The context of a tenant as a whole, which its modules see.
    pub fn of_tenant(tenant: &TenantId, unix_seconds: u64) -> Self {
        let mut root = Map::new();
        root.insert("tenantId".to_owned(), tenant.as_str().into());
        root.insert("targetingKey".to_owned(), tenant.as_str().into());
        Self { root, unix_seconds }
    }

    /// When it is, in seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_seconds
    }

    /// The data of a rule of this flag. Nothing is copied but numbers and the shape of it.
    pub(super) fn for_flag<'a>(&'a self, key: &'a str, arena: &'a Bump) -> DataValue<'a> {
        let timestamp = i64::try_from(self.unix_seconds).unwrap_or(i64::MAX);
        let flagd = [("flagKey", DataValue::String(key)), ("timestamp", DataValue::from_i64(timestamp))];
        let mut members = ArenaVec::with_capacity_in(self.root.len() + 1, arena);
        members.push(("$flagd", DataValue::Object(arena.alloc(flagd))));
        members.extend(self.root.iter().map(|(name, value)| (name.as_str(), shown(value, arena))));
        DataValue::Object(members.into_bump_slice())
    }

    /// Feeds the context to a hash: equal ones alike, whatever the order of their members.
    pub(super) fn digest(&self, into: &mut Sha256) {
        into.update(canonical(&Value::Object(self.root.clone())));
    }
}

/// Now, in seconds since 1970.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A value as the engine has it, its texts where they are.
fn shown<'a>(value: &'a Value, arena: &'a Bump) -> DataValue<'a> {
    match value {
        Value::String(text) => DataValue::String(text),
        other => DataValue::from_serde_value_in(other, arena),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// JSON with members in order, whatever order `serde_json` was built to keep.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::String(name.clone()), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}
