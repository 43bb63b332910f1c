//! The parts of a host's answers that tables show. What a newer host adds is ignored here and kept by `--json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(super) struct Registry {
    pub(super) modules: Vec<Module>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) leaving: Vec<Used>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) versions: Vec<Version>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
    pub(super) path: String,
    pub(super) state: String,
    pub(super) tenants: u64,
    pub(super) instances: u64,
    pub(super) problems: Vec<Coded>,
    #[serde(default, rename = "unloadNote")]
    pub(super) unload_note: Option<String>,
    /// Only where one module is shown.
    #[serde(default)]
    pub(super) manifest: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct Coded {
    pub(super) code: String,
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rejected {
    pub(super) path: String,
    pub(super) code: String,
    pub(super) problems: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Used {
    pub(super) module: String,
    pub(super) version: String,
    pub(super) tenants: u64,
    pub(super) instances: u64,
    #[serde(default)]
    pub(super) requests: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tree {
    pub(super) module: String,
    pub(super) valid: bool,
    pub(super) message: String,
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    pub(super) name: String,
    #[serde(default)]
    pub(super) version: Option<String>,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) range: String,
    pub(super) optional: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub(super) order: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TenantItem {
    pub(super) tenant_id: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) modules: Vec<String>,
    pub(super) revision: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tenant {
    pub(super) tenant_id: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) revision: u64,
    #[serde(default)]
    pub(super) updated_at: Option<String>,
    pub(super) enabled_modules: Vec<Enabled>,
    pub(super) feature_flags: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TenantCors {
    pub(super) tenant_id: String,
    pub(super) cors: Option<Cors>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cors {
    pub(super) origins: Vec<String>,
    #[serde(default)]
    pub(super) max_age_seconds: Option<u64>,
    pub(super) credentials: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enabled {
    pub(super) module_id: String,
    pub(super) version: String,
    pub(super) isolation: String,
    pub(super) state: State,
}

#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub(super) is: String,
    #[serde(default)]
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    pub(super) tenant_id: String,
    pub(super) revision: u64,
    pub(super) changed: bool,
    pub(super) dry_run: bool,
    pub(super) enabled: Vec<String>,
    pub(super) disabled: Vec<String>,
    pub(super) modules: Vec<String>,
    pub(super) plan: Plan,
}

#[derive(Debug, Deserialize)]
pub(super) struct Plan {
    pub(super) start: Vec<String>,
    pub(super) keep: Vec<String>,
    pub(super) offer: Vec<String>,
    pub(super) drain: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FlagList {
    pub(super) flags: Vec<Flag>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: Value,
    pub(super) source: String,
    pub(super) reason: String,
    #[serde(default)]
    pub(super) variant: Option<String>,
    #[serde(default)]
    pub(super) module: Option<String>,
    #[serde(default)]
    pub(super) cause: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    pub(super) uptime_seconds: u64,
    pub(super) registry: RegistryStats,
    pub(super) tenants: TenantStats,
    pub(super) libraries: LibraryStats,
    pub(super) modules: Vec<Used>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RegistryStats {
    pub(super) modules: u64,
    pub(super) versions: u64,
    pub(super) rejected: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TenantStats {
    pub(super) in_memory: u64,
    pub(super) instances: u64,
    pub(super) retiring: u64,
    pub(super) cut_requests: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LibraryStats {
    pub(super) live: u64,
    pub(super) closing: u64,
    pub(super) resident: u64,
    pub(super) resident_bytes: u64,
    pub(super) unloaded: u64,
    pub(super) forgotten_entries: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) state: String,
    pub(super) version: String,
    pub(super) module_api: String,
    pub(super) uptime_seconds: u64,
    pub(super) dev: bool,
    pub(super) store: Store,
    pub(super) modules: u64,
    pub(super) tenants_in_memory: u64,
    pub(super) instances: u64,
    pub(super) libraries: u64,
    pub(super) can_unload: bool,
    pub(super) in_use: Vec<Used>,
    pub(super) blocked: Vec<Blocked>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) leaving: Vec<Used>,
    pub(super) failing: Vec<Failing>,
    pub(super) failing_total: usize,
    #[serde(default)]
    pub(super) flag_definitions: Option<DefinedFlags>,
    #[serde(default)]
    pub(super) deliveries: Option<Deliveries>,
    #[serde(default)]
    pub(super) dead_letters: Vec<DeadLetter>,
    #[serde(default)]
    pub(super) marks: Vec<MarkItem>,
    #[serde(default)]
    pub(super) stuck: Vec<Stuck>,
    pub(super) resident: Vec<Resident>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Imported {
    pub(super) written: u64,
    pub(super) there: u64,
    pub(super) refused: Vec<NotImported>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NotImported {
    #[serde(default)]
    pub(super) tenant_id: Option<String>,
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefinitionsChange {
    pub(super) revision: u64,
    pub(super) flags: u64,
    pub(super) changed: bool,
    pub(super) in_force: bool,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefinedFlags {
    #[serde(default)]
    pub(super) file: Option<String>,
    #[serde(default)]
    pub(super) store_revision: Option<u64>,
    pub(super) revision: String,
    pub(super) flags: u64,
    pub(super) problems: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Store {
    pub(super) available: bool,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) behind_seconds: Option<u64>,
    #[serde(default)]
    pub(super) tiers: Option<Tiers>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tiers {
    #[serde(default)]
    pub(super) shared: Option<SharedTier>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SharedTier {
    pub(super) available: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarkList {
    pub(super) marks: Vec<MarkItem>,
    #[serde(default)]
    pub(super) safe_mode: Option<Vec<LetGo>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LetGo {
    pub(super) module: String,
    #[serde(default)]
    pub(super) tenant_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Invalidated {
    pub(super) tenants: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reloaded {
    pub(super) added: Vec<NamedVersion>,
    pub(super) replaced: Vec<NamedVersion>,
    pub(super) removed: Vec<NamedVersion>,
    pub(super) rejected: Vec<Rejected>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NamedVersion {
    pub(super) module: String,
    pub(super) version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarkItem {
    pub(super) module: String,
    pub(super) version: String,
    pub(super) hash: String,
    #[serde(default)]
    pub(super) tenant_id: Option<String>,
    pub(super) kind: String,
    pub(super) reason: String,
    pub(super) marked_at: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct RolledBack {
    pub(super) module: String,
    pub(super) from: String,
    pub(super) to: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Released {
    pub(super) module: String,
    pub(super) released: u64,
    #[serde(default)]
    pub(super) was_off: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Deliveries {
    pub(super) waiting: u64,
    pub(super) dead: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetterList {
    pub(super) dead_letters: Vec<DeadLetter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetter {
    pub(super) id: i64,
    pub(super) tenant_id: String,
    pub(super) module: String,
    pub(super) what: String,
    pub(super) failures: u32,
    pub(super) died_at: String,
    pub(super) error: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Blocked {
    pub(super) module: String,
    pub(super) version: String,
    pub(super) code: String,
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failing {
    pub(super) tenant_id: String,
    pub(super) module: String,
    #[serde(default)]
    pub(super) version: Option<String>,
    pub(super) code: String,
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stuck {
    pub(super) tenant_id: String,
    pub(super) module: String,
    pub(super) thread: String,
    pub(super) since: String,
    pub(super) seconds: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Resident {
    pub(super) module: String,
    pub(super) version: String,
    pub(super) generation: u64,
    pub(super) reason: String,
    pub(super) bytes: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyList {
    pub(super) keys: Vec<Key>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) created_at: Option<String>,
    #[serde(default)]
    pub(super) expires_at: Option<String>,
    pub(super) expired: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeKey {
    pub(super) tenant_id: String,
    pub(super) id: String,
    pub(super) key: String,
}
