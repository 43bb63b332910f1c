//! A host with the operators' interface and nothing else, over a real store and a folder of hand-made module
//! files.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::super::{AdminState, Liveness, ReadFolder, Readiness, router};
use crate::{
    catalog::{self, Changes, ScanError},
    identity::AdminToken,
    loader::{Loader, LoaderSettings},
    manifest::sample::Sample,
    names::ModuleName,
    stores::{EnabledModule, Isolation, SqliteStore, Store, TenantDocument, TenantStatus},
    tenancy::{DeliverySettings, ModuleLimits, RetireTimes, Tenancy, TenancySettings},
};

/// A host without tenants' traffic.
pub(super) struct Desk {
    pub(super) router: Router,
    pub(super) token: String,
    pub(super) store: Arc<dyn Store>,
    pub(super) sqlite: Arc<SqliteStore>,
    pub(super) tenancy: Tenancy,
    pub(super) readiness: Arc<Readiness>,
    pub(super) liveness: Arc<Liveness>,
    pub(super) folder: TempDir,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Status, code and message of a refusal, after a look at its form.
    pub(super) fn refusal(&self) -> (u16, String, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let body = self.json();
        assert_eq!(body["instance"], format!("urn:uuid:{}", self.header("x-request-id")));
        assert_eq!((&body["status"], &body["success"]), (&json!(self.status.as_u16()), &json!(false)));
        let text = |member: &str| body[member].as_str().unwrap().to_owned();
        (self.status.as_u16(), text("code"), text("message"))
    }
}

/// The folder of module files.
struct Plugins {
    folder: PathBuf,
    tenancy: Tenancy,
}

impl ReadFolder for Plugins {
    fn read(&self, again: Option<&ModuleName>) -> Result<Changes, ScanError> {
        let before = self.tenancy.catalog();
        let known = |candidate: &catalog::Candidate| again != Some(&candidate.name);
        let fresh = catalog::rescan(&before, &self.folder, &known, &|_| false)?;
        let changes = fresh.changes_since(&before);
        self.tenancy.catalog_changed_blocking(Arc::new(fresh));
        Ok(changes)
    }
}

const HR: &str =
    "name = \"hr-core\"\nversion = \"1.0.0\"\n[features]\nexport = false\n[routes]\nbase = \"/api/v1/hr\"\n";
const TASKS: &str =
    "name = \"tasks\"\nversion = \"1.2.0\"\n[dependencies]\nhr-core = \"^1\"\n[routes]\nbase = \"/api/v1/tasks\"\n";
const LONELY: &str =
    "name = \"lonely\"\nversion = \"0.1.0\"\n[dependencies]\nabsent = \"^1\"\n[routes]\nbase = \"/api/v1/lonely\"\n";

impl Desk {
    pub(super) fn new(dev: bool) -> Self {
        Self::with(dev, None)
    }

    /// With another store than its own.
    pub(super) fn over(store: Arc<dyn Store>) -> Self {
        Self::with(false, Some(store))
    }

    fn with(dev: bool, given: Option<Arc<dyn Store>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (plugins, data) = (folder.path().join("plugins"), folder.path().join("data"));
        std::fs::create_dir(&plugins).unwrap();
        for (name, manifest) in [("hr", HR), ("tasks", TASKS), ("lonely", LONELY)] {
            std::fs::write(plugins.join(format!("{name}.so")), Sample::new(manifest).bytes()).unwrap();
        }
        std::fs::write(plugins.join("broken.so"), "no library").unwrap();
        let sqlite = Arc::new(SqliteStore::open(&data).unwrap());
        let store: Arc<dyn Store> = given.unwrap_or_else(|| Arc::clone(&sqlite) as _);
        let loader = Loader::start(LoaderSettings::below(&data)).unwrap();
        let second = Duration::from_secs(1);
        let settings = TenancySettings {
            reload: crate::tenancy::ReloadSettings::default(),
            archive: Arc::default(),
            safe: false,
            initialize: second,
            retire: RetireTimes { drain: second, cut: second, cleanup: second },
            idle: Duration::ZERO,
            linger: Duration::ZERO,
            sweep_every: second,
            compare_every: Duration::ZERO,
            definitions_in_store: true,
            memory_budget: 64 << 20,
            retry_after: second,
            start_concurrency: 1,
            deliveries: DeliverySettings::default(),
            secrets: crate::settings::Secrets::default(),
        };
        let tenancy = Tenancy::start(
            settings,
            Arc::clone(&store),
            loader.clone(),
            Arc::new(catalog::scan(&plugins, &|_| false).unwrap()),
            tokio::runtime::Handle::current(),
            Box::new(|_| ModuleLimits { concurrency: 1, body_bytes: 1, deadline: Duration::from_secs(1) }),
        )
        .unwrap();
        let token = AdminToken::load_or_create(&data.join("admin.token")).unwrap();
        let (readiness, liveness) = (Arc::new(Readiness::default()), Arc::new(Liveness::default()));
        let plugins = Plugins { folder: plugins, tenancy: tenancy.clone() };
        let state = AdminState {
            folder: Arc::new(plugins),
            tenancy: tenancy.clone(),
            store: Arc::clone(&store),
            loader,
            token: token.clone(),
            readiness: Arc::clone(&readiness),
            liveness: Arc::clone(&liveness),
            definitions: None,
            dev,
        };
        Self {
            router: router(state),
            token: token.as_str().to_owned(),
            store,
            sqlite,
            tenancy,
            readiness,
            liveness,
            folder,
        }
    }

    pub(super) async fn send(&self, request: http::request::Builder, body: impl Into<Body>) -> Answer {
        let request: Request<Body> = request.body(body.into()).unwrap();
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        assert!(parts.headers.contains_key("x-request-id"));
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(super) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let token = format!("Bearer {}", self.token);
        Request::builder().method(method).uri(path).header(header::AUTHORIZATION, token)
    }

    pub(super) async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(self.request(method, path), Body::empty()).await
    }

    pub(super) async fn give(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(self.request(method, path), body.to_string()).await
    }

    /// A tenant with modules that nobody proved.
    pub(super) async fn stored(&self, id: &str, modules: &[&str]) {
        let enabled = |name: &&str| EnabledModule {
            module: name.parse().unwrap(),
            version: semver::VersionReq::STAR,
            isolation: Isolation::Shared,
            enabled_at: None,
            enabled_by: None,
            unknown: serde_json::Map::new(),
        };
        let document = TenantDocument {
            id: id.parse().unwrap(),
            name: id.to_owned(),
            status: TenantStatus::Active,
            enabled_modules: modules.iter().map(enabled).collect(),
            feature_flags: Default::default(),
            settings: Default::default(),
            cors: None,
            api_keys: Vec::new(),
            revision: 0,
            updated_at: None,
            unknown: serde_json::Map::new(),
        };
        self.store.create_tenant(document).await.unwrap();
    }
}
