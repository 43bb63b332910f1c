//! How it is going, and all that an operator should look at.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    census::Census,
    dead_letters::DeadLetterItem,
    marks::MarkItem,
    modules_wire::{LeavingItem, RejectedItem},
    state::{Admin, Shared},
    stats::ModuleStats,
    tiers::{MemoryItem, StoreItem},
};
use crate::{loader::Stuck, tenancy::ModuleState};

/// How long the store may take to answer before it counts as away. A guess: it is asked for one row.
const STORE_WAIT: Duration = Duration::from_secs(2);

/// The most entries of `failing`; `failingTotal` has the whole number.
const FAILING_SHOWN: usize = 100;

/// How it is going.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// `starting`, `ready`, `safe` (each module is off until it is released) or `stopping`.
    #[schema(example = "ready")]
    pub(super) state: String,
    /// Of the host.
    pub(super) version: String,
    /// The version of `module-api` that modules are offered.
    pub(super) module_api: String,
    pub(super) uptime_seconds: u64,
    /// Whether requests may say who they are themselves.
    pub(super) dev: bool,
    pub(super) store: StoreItem,
    /// Names in the registry.
    pub(super) modules: usize,
    pub(super) tenants_in_memory: usize,
    /// What they take, and how often they were there.
    pub(super) memory: MemoryItem,
    pub(super) instances: usize,
    pub(super) libraries: usize,
    /// Whether libraries can be unloaded here; where not, each stays mapped once it was opened.
    pub(super) can_unload: bool,
    /// What is in use, by module and version.
    pub(super) in_use: Vec<ModuleStats>,
    /// Versions that no tenant could run.
    pub(super) blocked: Vec<BlockedItem>,
    /// Files that are no candidates.
    pub(super) rejected: Vec<RejectedItem>,
    /// Files that are used and no longer in the folder.
    pub(super) leaving: Vec<LeavingItem>,
    /// Enabled modules that do not run, of the tenants in memory; at most 100.
    pub(super) failing: Vec<FailingItem>,
    pub(super) failing_total: usize,
    /// What defines flags for all tenants; left out where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flag_definitions: Option<DefinitionsItem>,
    /// Events and wake-ups; left out while the store does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deliveries: Option<DeliveryItem>,
    /// Those that were given up, the oldest first; at most 100.
    pub(super) dead_letters: Vec<DeadLetterItem>,
    /// What is held against contents of modules.
    pub(super) marks: Vec<MarkItem>,
    /// Module code that does not give its thread back, the longest first; nobody else is let in meanwhile.
    pub(super) stuck: Vec<StuckItem>,
    /// Libraries that are out of use and still mapped.
    pub(super) resident: Vec<ResidentItem>,
}

/// What defines flags for all tenants.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefinitionsItem {
    pub(super) source: DefinitionsSource,
    /// Where they are a file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// Of what the store has, where they are kept there; 0 where they were taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) store_revision: Option<u64>,
    /// Of the content that is in force: the same on every host that has it.
    pub(super) revision: String,
    /// How many it defines.
    pub(super) flags: usize,
    /// What is wrong with them as they are now; then what was there before is in force.
    pub(super) problems: Vec<String>,
}

/// Where flags for all tenants are defined.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum DefinitionsSource {
    File,
    Store,
}

impl DefinitionsItem {
    fn look(admin: &Admin) -> Option<Self> {
        let in_force = admin.tenancy.definitions();
        let (revision, flags) = (in_force.revision().to_owned(), in_force.len());
        if let Some(file) = &admin.definitions {
            let path = Some(file.path.display().to_string());
            let (source, problems) = (DefinitionsSource::File, file.problems());
            return Some(Self { source, file: path, store_revision: None, revision, flags, problems });
        }
        let stored = admin.tenancy.stored_definitions()?;
        let store_revision = Some(stored.revision);
        let item = Self {
            source: DefinitionsSource::Store,
            file: None,
            store_revision,
            revision,
            flags,
            problems: stored.problems.clone(),
        };
        (stored.revision > 0).then_some(item)
    }

    /// Where they are from, for people.
    pub(super) fn origin(&self) -> &str {
        self.file.as_deref().unwrap_or("the store")
    }
}

/// How many events and wake-ups there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryItem {
    /// Due, or to be.
    pub(super) waiting: u64,
    /// Given up.
    pub(super) dead: u64,
}

/// A version that no tenant could run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BlockedItem {
    pub(super) module: String,
    pub(super) version: String,
    pub(super) code: String,
    pub(super) text: String,
}

/// An enabled module that does not run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FailingItem {
    pub(super) tenant_id: String,
    pub(super) module: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    pub(super) code: String,
    pub(super) reason: String,
}

/// Module code that does not give its thread back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StuckItem {
    pub(super) tenant_id: String,
    pub(super) module: String,
    /// The number of the instance in this process.
    pub(super) instance: u64,
    /// The name of the thread.
    pub(super) thread: String,
    /// RFC 3339.
    pub(super) since: String,
    pub(super) seconds: u64,
}

impl StuckItem {
    fn new(stuck: Stuck) -> Self {
        let since = jiff::Timestamp::try_from(stuck.since).unwrap_or_default();
        Self {
            tenant_id: stuck.tenant,
            module: stuck.module,
            instance: stuck.instance,
            thread: stuck.thread,
            since: format!("{since:.3}"),
            seconds: stuck.began.elapsed().as_secs(),
        }
    }
}

/// A library that stays mapped.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResidentItem {
    pub(super) module: String,
    pub(super) version: String,
    pub(super) generation: u64,
    pub(super) reason: String,
    pub(super) bytes: u64,
}

/// Shows how it is going, and all that an operator should look at.
#[utoipa::path(get, path = "/admin/v1/status", tag = "host", operation_id = "status",
    responses((status = 200, description = "How it is going", body = Status)))]
pub(super) async fn status(State(admin): State<Shared>) -> Json<Status> {
    Json(look(&admin).await)
}

/// Everything, now.
pub(super) async fn look(admin: &Admin) -> Status {
    let store = StoreItem::look(admin, STORE_WAIT).await;
    let (catalog, figures, report) = (admin.tenancy.catalog(), admin.tenancy.stats(), admin.loader.report());
    let blocked = catalog.problems().into_iter().map(|problem| BlockedItem {
        module: problem.candidate.name.to_string(),
        version: problem.candidate.version.to_string(),
        code: problem.finding.code.to_owned(),
        text: problem.finding.text,
    });
    let (deliveries, dead_letters) = deliveries(admin).await;
    let census = Census::take(&admin.tenancy);
    let mut failing = failing(admin);
    let failing_total = failing.len();
    failing.truncate(FAILING_SHOWN);
    Status {
        state: admin.readiness.word().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        module_api: module_api::VERSION.to_owned(),
        uptime_seconds: admin.started.elapsed().as_secs(),
        dev: admin.dev,
        store,
        modules: catalog.names().count(),
        tenants_in_memory: figures.tenants,
        memory: MemoryItem::new(&admin.tenancy.memory()),
        instances: figures.instances,
        libraries: report.mapped(),
        can_unload: report.interposed,
        in_use: ModuleStats::all(&census),
        blocked: blocked.collect(),
        rejected: catalog.rejected().iter().map(|rejected| RejectedItem::new(rejected)).collect(),
        leaving: LeavingItem::all(&census, &catalog),
        failing,
        failing_total,
        flag_definitions: DefinitionsItem::look(admin),
        deliveries,
        dead_letters,
        marks: admin.tenancy.marks().into_iter().map(MarkItem::new).collect(),
        stuck: report.stuck.into_iter().map(StuckItem::new).collect(),
        resident: report
            .resident
            .into_iter()
            .map(|resident| ResidentItem {
                module: resident.name,
                version: resident.version,
                generation: resident.serial,
                reason: resident.reason,
                bytes: resident.bytes,
            })
            .collect(),
    }
}

async fn deliveries(admin: &Admin) -> (Option<DeliveryItem>, Vec<DeadLetterItem>) {
    let asked = async { tokio::join!(admin.store.backlog(), admin.store.dead_letters(None, FAILING_SHOWN)) };
    // That the store is away stands elsewhere in the answer.
    let Ok((Ok(backlog), Ok(letters))) = tokio::time::timeout(STORE_WAIT, asked).await else {
        return (None, Vec::new());
    };
    let counted = DeliveryItem { waiting: backlog.waiting, dead: backlog.dead };
    (Some(counted), letters.into_iter().map(DeadLetterItem::new).collect())
}

fn failing(admin: &Admin) -> Vec<FailingItem> {
    let mut failing = Vec::new();
    for tenant in admin.tenancy.report() {
        for status in tenant.modules {
            let (ModuleState::Failed { code, reason } | ModuleState::Unavailable { code, reason }) = status.state
            else {
                continue;
            };
            // That a suspended tenant runs nothing is as it should be.
            if code != "TENANT_SUSPENDED" {
                failing.push(FailingItem {
                    tenant_id: tenant.id.to_string(),
                    module: status.module.to_string(),
                    version: status.version.map(|version| version.to_string()),
                    code: code.to_owned(),
                    reason,
                });
            }
        }
    }
    failing
}
