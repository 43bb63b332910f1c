//! A tenant's document as it lies in memory: what requests look at is at hand, what only changes and operators read is
//! packed. Thousands of tenants are in memory for each one that is read.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use semver::VersionReq;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    flags::bytes_of,
    names::TenantId,
    stores::{ApiKey, Cors, EnabledModule, Isolation, TenantDocument, TenantStatus},
};

/// One document. Loses nothing: [`Kept::document`] gives back what [`Kept::new`] was given.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) id: TenantId,
    pub(super) revision: u64,
    pub(super) status: TenantStatus,
    /// See [`pack`].
    packed: Box<[u8]>,
    /// What most tenants have nothing of.
    rest: Option<Arc<Rest>>,
}

#[derive(Debug)]
struct Rest {
    feature_flags: BTreeMap<String, Value>,
    settings: BTreeMap<String, Value>,
    cors: Option<Box<Cors>>,
    api_keys: Vec<ApiKey>,
    unknown: Map<String, Value>,
}

impl Kept {
    pub(super) fn new(document: &TenantDocument) -> Self {
        let (id, revision, status) = (document.id.clone(), document.revision, document.status);
        Self { id, revision, status, packed: pack(document), rest: Rest::of(document) }
    }

    /// The document again.
    pub(super) fn document(&self) -> TenantDocument {
        let mut packed = Unpacking::new(&self.packed);
        let document = TenantDocument {
            name: packed.name().unwrap_or(self.id.as_str()).to_owned(),
            updated_at: packed.time(),
            enabled_modules: packed.map(PackedModule::unpacked).collect(),
            id: self.id.clone(),
            status: self.status,
            feature_flags: BTreeMap::new(),
            settings: BTreeMap::new(),
            cors: None,
            api_keys: Vec::new(),
            revision: self.revision,
            unknown: Map::new(),
        };
        let Some(rest) = self.rest.as_deref() else { return document };
        TenantDocument {
            feature_flags: rest.feature_flags.clone(),
            settings: rest.settings.clone(),
            cors: rest.cors.clone(),
            api_keys: rest.api_keys.clone(),
            unknown: rest.unknown.clone(),
            ..document
        }
    }

    pub(super) fn has_enabled(&self, module: &str) -> bool {
        let mut packed = Unpacking::new(&self.packed);
        let _ = (packed.name(), packed.time());
        packed.any(|enabled| enabled.module == module)
    }

    pub(super) fn cors(&self) -> Option<&Cors> {
        self.rest.as_deref()?.cors.as_deref()
    }

    pub(super) fn api_keys(&self) -> &[ApiKey] {
        self.rest.as_deref().map(|rest| &*rest.api_keys).unwrap_or_default()
    }

    pub(super) fn settings(&self) -> Option<&BTreeMap<String, Value>> {
        self.rest.as_deref().map(|rest| &rest.settings)
    }

    /// About how many bytes it takes beside its own place.
    pub(super) fn bytes(&self) -> usize {
        self.id.as_str().len() + self.packed.len() + self.rest.as_deref().map_or(0, Rest::bytes)
    }
}

impl Rest {
    fn of(document: &TenantDocument) -> Option<Arc<Self>> {
        let TenantDocument { feature_flags, settings, cors, api_keys, unknown, .. } = document;
        let is_bare = feature_flags.is_empty()
            && settings.is_empty()
            && cors.is_none()
            && api_keys.is_empty()
            && unknown.is_empty();
        let rest = || Self {
            feature_flags: feature_flags.clone(),
            settings: settings.clone(),
            cors: cors.clone(),
            api_keys: api_keys.clone(),
            unknown: unknown.clone(),
        };
        (!is_bare).then(|| Arc::new(rest()))
    }

    fn bytes(&self) -> usize {
        // As maps take it: in nodes of eleven places.
        let node = 11 * (size_of::<Value>() + size_of::<String>());
        let maps = [self.feature_flags.len(), self.settings.len(), self.unknown.len()];
        let values = self.feature_flags.iter().chain(&self.settings).chain(&self.unknown);
        // A guess, for what an origin, a key and what belongs to it come to.
        let (cors, keys) = (self.cors.as_ref().map_or(0, |_| 256), self.api_keys.len() * 512);
        size_of::<Self>()
            + maps.into_iter().map(|entries| entries.div_ceil(8) * node).sum::<usize>()
            + values.map(|(name, value)| name.len() + bytes_of(value)).sum::<usize>()
            + cors
            + keys
    }
}

/// Which parts follow the name of a packed module.
mod part {
    pub(super) const VERSION: u8 = 1;
    pub(super) const OWN_LIBRARY: u8 = 2;
    pub(super) const ENABLED_AT: u8 = 4;
    pub(super) const ENABLED_BY: u8 = 8;
    /// By whom the one before it was.
    pub(super) const ENABLED_BY_SAME: u8 = 16;
    pub(super) const UNKNOWN: u8 = 32;
}

/// Name (where it is not the id), time of the last write and modules of a document, each part in postcard: of a module
/// what it has, and then that. Times are nanoseconds after the time before: most modules were enabled shortly after each
/// other.
fn pack(document: &TenantDocument) -> Box<[u8]> {
    let mut out = Vec::new();
    let TenantDocument { id, name, updated_at, enabled_modules, .. } = document;
    put(&mut out, &(name != id.as_str()).then_some(name));
    put(&mut out, &updated_at.map(Timestamp::as_nanosecond));
    let mut before = updated_at.map_or(0, Timestamp::as_nanosecond);
    let mut by = None;
    for EnabledModule { module, version, isolation, enabled_at, enabled_by, unknown } in enabled_modules {
        let has = |is: bool, part: u8| if is { part } else { 0 };
        let is_same = enabled_by.is_some() && enabled_by.as_ref() == by;
        let parts = has(*version != VersionReq::STAR, part::VERSION)
            | has(*isolation == Isolation::Library, part::OWN_LIBRARY)
            | has(enabled_at.is_some(), part::ENABLED_AT)
            | has(enabled_by.is_some() && !is_same, part::ENABLED_BY)
            | has(is_same, part::ENABLED_BY_SAME)
            | has(!unknown.is_empty(), part::UNKNOWN);
        put(&mut out, &(parts, module.as_str()));
        if parts & part::VERSION != 0 {
            put(&mut out, &version.to_string());
        }
        if let Some(time) = enabled_at {
            put(&mut out, &(time.as_nanosecond() - before));
            before = time.as_nanosecond();
        }
        if parts & part::ENABLED_BY != 0 {
            put(&mut out, enabled_by);
        }
        by = enabled_by.as_ref().or(by);
        if parts & part::UNKNOWN != 0 {
            put(&mut out, &serde_json::to_string(unknown).expect(SOUND));
        }
    }
    out.into_boxed_slice()
}

const SOUND: &str = "what was packed here is unpacked here";

fn put(out: &mut Vec<u8>, value: &impl Serialize) {
    let taken = std::mem::take(out);
    *out = postcard::to_extend(value, taken).expect(SOUND);
}

/// Reads what [`pack`] wrote, in its order.
struct Unpacking<'a> {
    rest: &'a [u8],
    before: i128,
    by: Option<&'a str>,
}

struct PackedModule<'a> {
    module: &'a str,
    parts: u8,
    version: Option<&'a str>,
    enabled_at: Option<Timestamp>,
    enabled_by: Option<&'a str>,
    /// A JSON object.
    unknown: Option<&'a str>,
}

impl<'a> Unpacking<'a> {
    fn new(packed: &'a [u8]) -> Self {
        Self { rest: packed, before: 0, by: None }
    }

    fn take<T: Deserialize<'a>>(&mut self) -> T {
        let (value, rest) = postcard::take_from_bytes(self.rest).expect(SOUND);
        self.rest = rest;
        value
    }

    fn name(&mut self) -> Option<&'a str> {
        self.take()
    }

    fn time(&mut self) -> Option<Timestamp> {
        let after: Option<i128> = self.take();
        after.map(|after| self.later(after))
    }

    fn later(&mut self, after: i128) -> Timestamp {
        self.before += after;
        Timestamp::from_nanosecond(self.before).expect(SOUND)
    }
}

impl<'a> Iterator for Unpacking<'a> {
    type Item = PackedModule<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (parts, module): (u8, &str) = self.take();
        let has = |part: u8| parts & part != 0;
        let version = has(part::VERSION).then(|| self.take());
        let enabled_at = has(part::ENABLED_AT).then(|| {
            let after = self.take();
            self.later(after)
        });
        if has(part::ENABLED_BY) {
            self.by = self.take();
        }
        let enabled_by = self.by.filter(|_| has(part::ENABLED_BY | part::ENABLED_BY_SAME));
        let unknown = has(part::UNKNOWN).then(|| self.take());
        Some(PackedModule { module, parts, version, enabled_at, enabled_by, unknown })
    }
}

impl PackedModule<'_> {
    fn unpacked(self) -> EnabledModule {
        let own_library = self.parts & part::OWN_LIBRARY != 0;
        EnabledModule {
            module: self.module.parse().expect(SOUND),
            version: self.version.map_or(VersionReq::STAR, |text| text.parse().expect(SOUND)),
            isolation: if own_library { Isolation::Library } else { Isolation::Shared },
            enabled_at: self.enabled_at,
            enabled_by: self.enabled_by.map(str::to_owned),
            unknown: self.unknown.map_or_else(Map::new, |text| serde_json::from_str(text).expect(SOUND)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(json: Value) -> TenantDocument {
        let Value::Object(json) = json else { panic!("no object") };
        TenantDocument::from_json(json).unwrap()
    }

    #[test]
    fn a_document_comes_back_as_it_was_whatever_is_in_it() {
        let module = |name: &str| json!({ "moduleId": name });
        for json in [
            json!({ "tenantId": "acme" }),
            json!({ "tenantId": "acme", "name": "acme", "revision": 7, "enabledModules": [module("a"), module("b")] }),
            json!({
                "tenantId": "acme",
                "name": "Acme & Söhne",
                "status": "suspended",
                "revision": i64::MAX,
                "updatedAt": "1969-12-31T23:59:59.999999999Z",
                "enabledModules": [
                    {
                        "moduleId": "hr-core",
                        "version": ">=1.2, <3",
                        "isolation": "library",
                        "enabledAt": "2026-11-27T00:00:00.000000001Z",
                        "enabledBy": "someone",
                        "note": { "deep": [1, 2.5, 0.1, null, "x"], "most": u64::MAX },
                    },
                    { "moduleId": "tasks", "version": "=1.0.0-rc.1", "enabledBy": "someone" },
                    { "moduleId": "bare" },
                    { "moduleId": "late", "enabledBy": "someone", "enabledAt": "9999-12-30T22:00:00Z" },
                    { "moduleId": "early", "enabledBy": "", "enabledAt": "-009999-01-02T01:59:59Z" },
                    { "moduleId": "again", "enabledBy": "" },
                ],
                "featureFlags": { "one": true, "two": { "n": 0.1 } },
                "settings": { "tasks": { "limit": 5 } },
                "cors": { "origins": ["https://a.example"], "why": "because" },
                "foreign": [1, { "a": null }],
            }),
        ] {
            let whole = document(json);
            let kept = Kept::new(&whole);
            assert_eq!(kept.document(), whole);
            assert_eq!(kept.clone().document(), whole);
            for enabled in &whole.enabled_modules {
                assert!(kept.has_enabled(enabled.module.as_str()));
            }
            assert!(!kept.has_enabled("other"));
            assert_eq!(kept.cors(), whole.cors.as_deref());
        }
    }
}
