//! Where tenants are found: in memory, in the cache that hosts share, in the store, on this host's disk.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    extract::InTenant,
    refusal::{Refusal, chain},
    state::{Admin, Shared},
};
use crate::{
    names::TenantId,
    problem::Problem,
    stores::{
        StoreError,
        tiers::{Counted, TierFigures},
    },
    tenancy::MemoryFigures,
};

/// Whether the store answers, and what lies before it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoreItem {
    pub(super) available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// For how long what this host knows may have been behind the store; left out while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) behind_seconds: Option<u64>,
    /// What was found where; left out where nothing lies before the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tiers: Option<TiersItem>,
}

impl StoreItem {
    /// Asks the store.
    pub(super) async fn look(admin: &Admin, wait: Duration) -> Self {
        let reason = match tokio::time::timeout(wait, admin.store.ping()).await {
            Ok(Ok(())) => None,
            // That it is unavailable is what this is the reason of.
            Ok(Err(StoreError::Unavailable(why))) => Some(chain(&*why)),
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some(format!("no answer within {wait:?}")),
        };
        Self {
            available: reason.is_none(),
            reason,
            behind_seconds: admin.tenancy.seconds_behind(),
            tiers: admin.store.tiers().map(|figures| TiersItem::new(&figures)),
        }
    }

    /// In words.
    pub(super) fn told(&self) -> String {
        let behind = self.behind_seconds.map(|seconds| format!("; what is known may be {seconds} s behind it"));
        self.reason.clone().unwrap_or_else(|| "answers".to_owned()) + behind.as_deref().unwrap_or_default()
    }
}

/// What was found where since the start.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TiersItem {
    /// The cache that hosts share; left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shared: Option<SharedItem>,
    /// First looks at tenants that went to the store.
    pub(super) store: CountedItem,
    /// What was last known, on this host's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_good: Option<LastGoodItem>,
}

/// How often something was found in a place, and how often not.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CountedItem {
    pub(super) hits: u64,
    pub(super) misses: u64,
}

impl CountedItem {
    fn new(counted: Counted) -> Self {
        Self { hits: counted.hits, misses: counted.misses }
    }
}

/// The cache that hosts share.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SharedItem {
    /// Whether the last try reached it.
    pub(super) available: bool,
    #[serde(flatten)]
    pub(super) counted: CountedItem,
}

impl SharedItem {
    /// In words.
    pub(super) fn told(&self) -> &'static str {
        if self.available { "answers" } else { "does not answer; first looks at tenants go to the store" }
    }
}

/// What is kept on this host's disk.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastGoodItem {
    #[serde(flatten)]
    pub(super) counted: CountedItem,
    /// When all tenants were last compared with the store, RFC 3339; left out where they were not since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) copied_at: Option<String>,
}

impl TiersItem {
    fn new(figures: &TierFigures) -> Self {
        let time = |millis| jiff::Timestamp::from_millisecond(millis).map(|at| format!("{at:.3}")).ok();
        Self {
            shared: figures
                .shared
                .map(|it| SharedItem { available: it.reached, counted: CountedItem::new(it.counted) }),
            store: CountedItem::new(figures.truth),
            last_good: figures.last_good.map(|it| LastGoodItem {
                counted: CountedItem::new(it.counted),
                copied_at: it.copied_at.and_then(time),
            }),
        }
    }
}

/// What tenants in memory take.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MemoryItem {
    /// About so many, beside what tenants share.
    pub(super) bytes: u64,
    /// How many there may be before those that are least in use make room.
    pub(super) budget: u64,
    /// Looks at a tenant that was there.
    pub(super) hits: u64,
    /// Looks at one that had to be read.
    pub(super) misses: u64,
    /// Those that made room.
    pub(super) evicted: u64,
}

impl MemoryItem {
    pub(super) fn new(figures: &MemoryFigures) -> Self {
        let MemoryFigures { bytes, budget, hits, misses, evicted } = *figures;
        Self { bytes, budget, hits, misses, evicted }
    }
}

/// What is read again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InvalidateAnswer {
    /// How many tenants were in memory.
    pub(super) tenants: usize,
}

/// How long all that is in the cache may take to go. A guess: about a million tenants. What is left is compared with the
/// store when it is looked at.
const FORGET_WAIT: Duration = Duration::from_secs(20);

/// How long the store may take to say that it is there. A guess.
const THERE_WAIT: Duration = Duration::from_secs(5);

/// What the store says, where it is there to say it: while it is away nothing is forgotten, as nothing could be read again.
async fn while_there<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let silent = |_| StoreError::Unavailable(format!("no answer within {THERE_WAIT:?}").into());
    tokio::time::timeout(THERE_WAIT, asking).await.unwrap_or_else(|elapsed| Err(silent(elapsed)))
}

/// Takes what the cache has of a tenant, or of all, away before anything is read again.
async fn forget_nearby(admin: &Admin, tenant: Option<&TenantId>) {
    let reason = match tokio::time::timeout(FORGET_WAIT, admin.store.forget_nearby(tenant)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("it takes more than {FORGET_WAIT:?}"),
    };
    tracing::warn!(reason, "not all that was known of tenants nearby is forgotten");
}

/// Forgets what is in memory of all tenants, and in the cache that hosts share.
///
/// What runs follows the store, one by one; what does not is read when somebody asks for it.
#[utoipa::path(post, path = "/admin/v1/invalidate", tag = "tenants", operation_id = "invalidate",
    responses((status = 200, description = "They follow one by one", body = InvalidateAnswer)))]
pub(super) async fn invalidate_all(State(admin): State<Shared>) -> Result<Json<InvalidateAnswer>, Refusal> {
    while_there(admin.store.ping()).await?;
    let tenants = admin.tenancy.stats().tenants;
    forget_nearby(&admin, None).await;
    admin.tenancy.invalidate(None).await;
    Ok(Json(InvalidateAnswer { tenants }))
}

/// Forgets what is in memory of a tenant, and in the cache that hosts share.
///
/// What runs follows the store; else it is read when somebody asks for it.
#[utoipa::path(post, path = "/admin/v1/tenants/{tenant}/invalidate", tag = "tenants",
    operation_id = "invalidateTenant", params(("tenant" = String, Path, description = "Id of the tenant")),
    responses((status = 200, description = "It follows", body = InvalidateAnswer)))]
pub(super) async fn invalidate(
    State(admin): State<Shared>,
    InTenant(id): InTenant,
) -> Result<Json<InvalidateAnswer>, Refusal> {
    let is_there = match while_there(admin.store.tenant(&id)).await {
        Ok(found) => found.is_some(),
        // That it can't be understood is told by whoever reads it again.
        Err(StoreError::Tenant(_)) => true,
        Err(error) => return Err(error.into()),
    };
    let tenants = usize::from(admin.tenancy.snapshot(id.as_str()).is_some());
    forget_nearby(&admin, Some(&id)).await;
    if !is_there && tenants == 0 {
        return Err(Problem::tenant_not_found(&id).into());
    }
    admin.tenancy.invalidate(Some(id)).await;
    Ok(Json(InvalidateAnswer { tenants }))
}
