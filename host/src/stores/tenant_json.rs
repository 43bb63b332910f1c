//! The tenant document as JSON, and back. Lenient where a foreign program left something out (a missing field or null
//! has its default), strict where it wrote something wrong: every problem is named with its field.

use std::{fmt, str::FromStr};

use semver::VersionReq;
use serde_json::{Map, Value};

use super::{ApiKey, Cors, EnabledModule, Isolation, TenantDocument, TenantStatus, api_key::is_key_id};

/// Why a JSON object is no tenant document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct TenantDocumentError {
    /// The document's `tenantId` where it has a text there, whether valid or not.
    pub tenant: Option<String>,
    /// All that is wrong, in the order of the fields; never empty.
    pub problems: Vec<FieldProblem>,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field's path, as in `enabledModules[1].version`.
    pub field: String,
    /// A lowercase fragment.
    pub problem: String,
}

impl TenantDocumentError {
    fn text(&self) -> String {
        let whose = self.tenant.as_ref().map(|tenant| format!(" {tenant:?}")).unwrap_or_default();
        let problems: Vec<_> = self.problems.iter().map(|each| format!("`{}`: {}", each.field, each.problem)).collect();
        format!("tenant document{whose} is invalid: {}", problems.join("; "))
    }
}

impl TenantDocument {
    /// The document as a JSON object, unknown fields included. What is `None` is left out.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut json = self.unknown.clone();
        put(&mut json, "tenantId", self.id.as_str());
        put(&mut json, "name", self.name.as_str());
        put(&mut json, "status", name_of(self.status));
        put(&mut json, "enabledModules", self.enabled_modules.iter().map(EnabledModule::to_json).collect::<Vec<_>>());
        put(&mut json, "featureFlags", Map::from_iter(self.feature_flags.clone()));
        put(&mut json, "settings", Map::from_iter(self.settings.clone()));
        if let Some(cors) = &self.cors {
            put(&mut json, "cors", cors.to_json());
        }
        if !self.api_keys.is_empty() {
            put(&mut json, "apiKeys", self.api_keys.iter().map(ApiKey::to_json).collect::<Vec<_>>());
        }
        put(&mut json, "revision", self.revision);
        put_time(&mut json, "updatedAt", self.updated_at);
        json
    }

    /// Reads a JSON object. Missing, or null: `tenantId` is refused; `name` is empty, `status` active, `revision` 0, of
    /// a module `version` is `*` and `isolation` shared; all else is absent or empty.
    ///
    /// # Errors
    ///
    /// Names all fields with values of a wrong type or form, at once.
    pub fn from_json(mut json: Map<String, Value>) -> Result<Self, TenantDocumentError> {
        let tenant = json.get("tenantId").and_then(Value::as_str).map(str::to_owned);
        let mut fields = Fields { path: String::new(), json: &mut json, problems: Vec::new() };
        let id = fields.parsed("tenantId");
        let name = fields.text("name").unwrap_or_default();
        let status = fields.named("status");
        let mut enabled_modules = Vec::new();
        for (index, module) in fields.list("enabledModules").into_iter().enumerate() {
            let path = format!("enabledModules[{index}]");
            match module {
                Value::Object(module) => {
                    enabled_modules.extend(EnabledModule::read(&path, module, &mut fields.problems))
                }
                _ => fields.problems.push(FieldProblem { field: path, problem: "must be an object".to_owned() }),
            }
        }
        let feature_flags = fields.object("featureFlags").into_iter().collect();
        let settings = fields.object("settings");
        for (module, _) in settings.iter().filter(|(_, value)| !value.is_object()) {
            fields.refuse(&format!("settings.{module}"), "must be an object");
        }
        let cors = fields.cors();
        let api_keys = fields.api_keys();
        let revision = fields.revision();
        let updated_at = fields.parsed("updatedAt");
        let mut problems = fields.problems;
        match id {
            Some(id) if problems.is_empty() => Ok(Self {
                id,
                name,
                status: status.unwrap_or_default(),
                enabled_modules,
                feature_flags,
                settings: settings.into_iter().collect(),
                cors: cors.map(Box::new),
                api_keys,
                revision,
                updated_at,
                unknown: json,
            }),
            id => {
                if id.is_none() && !problems.iter().any(|each| each.field == "tenantId") {
                    let (field, problem) = ("tenantId".to_owned(), "is missing".to_owned());
                    problems.insert(0, FieldProblem { field, problem });
                }
                Err(TenantDocumentError { tenant, problems })
            }
        }
    }
}

impl EnabledModule {
    fn to_json(&self) -> Value {
        let mut json = self.unknown.clone();
        put(&mut json, "moduleId", self.module.as_str());
        put(&mut json, "version", self.version.to_string());
        put(&mut json, "isolation", name_of(self.isolation));
        put_time(&mut json, "enabledAt", self.enabled_at);
        if let Some(enabled_by) = &self.enabled_by {
            put(&mut json, "enabledBy", enabled_by.as_str());
        }
        Value::Object(json)
    }

    fn read(path: &str, mut json: Map<String, Value>, problems: &mut Vec<FieldProblem>) -> Option<Self> {
        let mut fields = Fields { path: format!("{path}."), json: &mut json, problems: Vec::new() };
        let module = fields.required("moduleId", Fields::parsed);
        let version = fields.parsed("version").unwrap_or(VersionReq::STAR);
        let isolation = fields.named("isolation").unwrap_or_default();
        let enabled_at = fields.parsed("enabledAt");
        let enabled_by = fields.text("enabledBy");
        problems.append(&mut fields.problems);
        Some(Self { module: module?, version, isolation, enabled_at, enabled_by, unknown: json })
    }
}

impl ApiKey {
    fn to_json(&self) -> Value {
        let mut json = self.unknown.clone();
        put(&mut json, "id", self.id.as_str());
        put(&mut json, "name", self.name.as_str());
        put(&mut json, "hash", self.hash.to_string());
        put(&mut json, "scopes", self.scopes.clone());
        put_time(&mut json, "createdAt", self.created_at);
        if let Some(created_by) = &self.created_by {
            put(&mut json, "createdBy", created_by.as_str());
        }
        put_time(&mut json, "expiresAt", self.expires_at);
        Value::Object(json)
    }

    fn read(path: &str, mut json: Map<String, Value>, problems: &mut Vec<FieldProblem>) -> Option<Self> {
        let mut fields = Fields { path: format!("{path}."), json: &mut json, problems: Vec::new() };
        let id = fields.required("id", Fields::text);
        if id.as_ref().is_some_and(|id| !is_key_id(id)) {
            fields.refuse("id", "must be 1 to 64 letters, digits, `_` and `-`");
        }
        let name = fields.text("name").unwrap_or_default();
        let hash = fields.required("hash", Fields::parsed);
        let mut scopes = Vec::new();
        for (index, scope) in fields.list("scopes").into_iter().enumerate() {
            match scope {
                Value::String(scope) => scopes.push(scope),
                _ => fields.refuse(&format!("scopes[{index}]"), "must be a string"),
            }
        }
        let created_at = fields.parsed("createdAt");
        let created_by = fields.text("createdBy");
        let expires_at = fields.parsed("expiresAt");
        problems.append(&mut fields.problems);
        Some(Self { id: id?, name, hash: hash?, scopes, created_at, created_by, expires_at, unknown: json })
    }
}

/// An object that is being taken apart: each known field is taken out, what stays is unknown.
struct Fields<'a> {
    /// Stands before each field's name in problems.
    path: String,
    json: &'a mut Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl Fields<'_> {
    fn refuse(&mut self, field: &str, problem: impl fmt::Display) {
        let field = format!("{}{field}", self.path);
        self.problems.push(FieldProblem { field, problem: problem.to_string() });
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.json.remove(field).filter(|value| !value.is_null())
    }

    fn text(&mut self, field: &str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            _ => {
                self.refuse(field, "must be a string");
                None
            }
        }
    }

    fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, field: &str) -> Option<T> {
        match self.text(field)?.parse() {
            Ok(value) => Some(value),
            Err(problem) => {
                self.refuse(field, problem);
                None
            }
        }
    }

    fn named<T: Named>(&mut self, field: &str) -> Option<T> {
        let text = self.text(field)?;
        let found = T::NAMES.iter().find(|(_, name)| *name == text).map(|(value, _)| *value);
        if found.is_none() {
            let names: Vec<_> = T::NAMES.iter().map(|(_, name)| format!("`{name}`")).collect();
            self.refuse(field, format!("must be {}", names.join(" or ")));
        }
        found
    }

    /// What `read` finds in a field that must be there.
    fn required<T>(&mut self, field: &str, read: impl FnOnce(&mut Self, &str) -> Option<T>) -> Option<T> {
        let before = self.problems.len();
        let found = read(self, field);
        if found.is_none() && self.problems.len() == before {
            self.refuse(field, "is missing");
        }
        found
    }

    fn list(&mut self, field: &str) -> Vec<Value> {
        match self.take(field) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.refuse(field, "must be an array");
                Vec::new()
            }
        }
    }

    fn object(&mut self, field: &str) -> Map<String, Value> {
        match self.take(field) {
            None => Map::new(),
            Some(Value::Object(object)) => object,
            Some(_) => {
                self.refuse(field, "must be an object");
                Map::new()
            }
        }
    }

    fn cors(&mut self) -> Option<Cors> {
        match self.take("cors")? {
            Value::Object(object) => match Cors::from_json(object) {
                Ok(cors) => return Some(cors),
                Err(problems) => {
                    problems.iter().for_each(|(field, problem)| self.refuse(&format!("cors.{field}"), problem));
                }
            },
            _ => self.refuse("cors", "must be an object"),
        }
        None
    }

    fn api_keys(&mut self) -> Vec<ApiKey> {
        let mut keys: Vec<ApiKey> = Vec::new();
        for (index, key) in self.list("apiKeys").into_iter().enumerate() {
            let path = format!("{}apiKeys[{index}]", self.path);
            let Value::Object(key) = key else {
                self.problems.push(FieldProblem { field: path, problem: "must be an object".to_owned() });
                continue;
            };
            let Some(key) = ApiKey::read(&path, key, &mut self.problems) else { continue };
            if keys.iter().any(|other| other.id == key.id) {
                self.problems.push(FieldProblem { field: format!("{path}.id"), problem: "is there twice".to_owned() });
            }
            keys.push(key);
        }
        keys
    }

    /// Programs whose only numbers are floats may have written 17 as 17.0.
    fn revision(&mut self) -> u64 {
        let Some(value) = self.take("revision") else { return 0 };
        let whole = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..9e15).contains(number));
        let revision = value.as_u64().or(whole.map(|number| number as u64));
        let revision = revision.filter(|revision| i64::try_from(*revision).is_ok());
        if revision.is_none() {
            self.refuse("revision", "must be a whole number from 0 to 2^63-1");
        }
        revision.unwrap_or_default()
    }
}

/// A value that stands in the document by its name.
trait Named: Copy + PartialEq + 'static {
    const NAMES: &'static [(Self, &'static str)];
}

impl Named for TenantStatus {
    const NAMES: &'static [(Self, &'static str)] = &[(Self::Active, "active"), (Self::Suspended, "suspended")];
}

impl Named for Isolation {
    const NAMES: &'static [(Self, &'static str)] = &[(Self::Shared, "shared"), (Self::Library, "library")];
}

fn name_of<T: Named>(value: T) -> &'static str {
    T::NAMES.iter().find(|(each, _)| *each == value).map_or("", |(_, name)| name)
}

fn put(json: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    json.insert(field.to_owned(), value.into());
}

fn put_time(json: &mut Map<String, Value>, field: &str, time: Option<jiff::Timestamp>) {
    if let Some(time) = time {
        put(json, field, time.to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Value) -> Result<TenantDocument, TenantDocumentError> {
        let Value::Object(object) = json else { unreachable!("tests pass objects") };
        TenantDocument::from_json(object)
    }

    #[test]
    fn a_full_document_comes_back_as_it_was() {
        let full = json!({
            "tenantId": "tenant_123", "name": "Acme", "status": "suspended", "plan": { "seats": 3 },
            "enabledModules": [
                { "moduleId": "tasks", "version": "^1", "isolation": "library", "enabledAt": "2026-01-02T03:04:05Z",
                  "enabledBy": "admin_1", "note": null },
                { "moduleId": "clinic", "version": ">=1, <3", "isolation": "shared" },
            ],
            "featureFlags": { "advanced-reporting": true, "theme": "dark" },
            "settings": { "tasks": { "a": [1] } }, "cors": { "origins": ["https://a.example"], "note": "kept" },
            "apiKeys": [
                { "id": "k1", "name": "shop", "hash": "0f".repeat(32), "scopes": ["flags:read", "of a later version"],
                  "createdAt": "2026-01-02T03:04:05Z", "createdBy": "admin", "expiresAt": "2027-01-02T03:04:05Z", "note": 7 },
                { "id": "k2", "name": "", "hash": "a0".repeat(32), "scopes": [] },
            ],
            "revision": 17, "updatedAt": "2026-01-02T03:04:05.678Z",
        });
        let document = read(full.clone()).unwrap();
        assert_eq!((document.enabled_modules[0].unknown.len(), document.api_keys[0].unknown.len()), (1, 1));
        assert!(!format!("{document:?}").contains("0f0f"), "hashes are not for logs");
        assert_eq!(Value::Object(document.to_json()), full);
    }

    #[test]
    fn what_is_missing_has_its_default() {
        let document =
            read(json!({ "tenantId": "a", "enabledModules": [{ "moduleId": "tasks" }], "name": null })).unwrap();
        assert_eq!((document.revision, document.status, document.name.as_str()), (0, TenantStatus::Active, ""));
        let module = &document.enabled_modules[0];
        assert_eq!((&module.version, module.isolation), (&VersionReq::STAR, Isolation::Shared));
        assert_eq!(read(json!({ "tenantId": "a", "revision": 17.0 })).unwrap().revision, 17);
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let refused = read(json!({
            "tenantId": "../a", "name": 7, "status": "gone", "revision": -1, "updatedAt": "yesterday",
            "settings": { "tasks": 1 }, "cors": { "origins": ["*", "A"], "credentials": true },
            "featureFlags": [],
            "apiKeys": [7, { "scopes": [1] }, { "id": "a b", "hash": "0F".repeat(32), "expiresAt": 1 },
                { "id": "k", "hash": "00".repeat(32) }, { "id": "k", "hash": "00".repeat(32), "scopes": "all" }],
            "enabledModules": [1, { "version": "one", "isolation": "none", "enabledAt": 1, "enabledBy": {} }],
        }));
        let text = refused.unwrap_err().to_string().replace("; ", "\n").replace(" and has", "\nand has");
        insta::assert_snapshot!(text, @r#"
        tenant document "../a" is invalid: `tenantId`: a tenant id begins with a letter or digit
        and has only letters, digits, `_`, `.` and `-`
        `name`: must be a string
        `status`: must be `active` or `suspended`
        `enabledModules[0]`: must be an object
        `enabledModules[1].moduleId`: is missing
        `enabledModules[1].version`: unexpected character 'o' while parsing major version number
        `enabledModules[1].isolation`: must be `shared` or `library`
        `enabledModules[1].enabledAt`: must be a string
        `enabledModules[1].enabledBy`: must be a string
        `featureFlags`: must be an object
        `settings.tasks`: must be an object
        `cors.origins[1]`: is no origin: scheme, host and perhaps port, in lower case and without a path, as in `https://app.example`
        or `*`
        `cors.credentials`: can't be for every origin: name the origins, or leave credentials out
        `apiKeys[0]`: must be an object
        `apiKeys[1].id`: is missing
        `apiKeys[1].hash`: is missing
        `apiKeys[1].scopes[0]`: must be a string
        `apiKeys[2].id`: must be 1 to 64 letters, digits, `_` and `-`
        `apiKeys[2].hash`: must be 64 hexadecimal digits in lower case
        `apiKeys[2].expiresAt`: must be a string
        `apiKeys[4].scopes`: must be an array
        `apiKeys[4].id`: is there twice
        `revision`: must be a whole number from 0 to 2^63-1
        `updatedAt`: failed to parse four digit integer as year: invalid digit, expected 0-9 but got y
        "#);
        let refused = read(json!({}));
        insta::assert_snapshot!(refused.unwrap_err(), @"tenant document is invalid: `tenantId`: is missing");
    }
}
