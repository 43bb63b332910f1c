//! The host's services in memory: timers and threads of a runtime, a store that is a map.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tenon_host::loader::{
    Answer, BlockingJob, ClaimToken, Documents, Failure, FailureKind, Fetch, HostServices, ModuleCall, ServiceFuture,
    StoreAction, StoreAnswer, StoreOp,
};
use tokio::{runtime::Handle, task::AbortHandle};

type Stored = BTreeMap<(String, String), (u64, Value)>;

/// Services for one instance.
#[derive(Debug)]
pub struct FakeServices {
    tenant: String,
    settings: String,
    runtime: Handle,
    stored: Mutex<Stored>,
    tasks: Mutex<Option<Vec<AbortHandle>>>,
    /// Keys of wake-ups, and when they are due.
    wakes: Mutex<BTreeMap<String, i64>>,
    ids: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeServices {
    /// Services on a runtime, with settings as JSON.
    pub fn new(tenant: &str, settings: &str, runtime: &Handle) -> Self {
        Self {
            tenant: tenant.to_owned(),
            settings: settings.to_owned(),
            runtime: runtime.clone(),
            stored: Mutex::default(),
            tasks: Mutex::new(Some(Vec::new())),
            wakes: Mutex::default(),
            ids: AtomicU64::new(1),
        }
    }

    /// Ends what was spawned; nothing is spawned after that.
    pub fn stop(&self) {
        for task in lock(&self.tasks).take().unwrap_or_default() {
            task.abort();
        }
    }

    /// Puts a document there, as if it had been written before.
    ///
    /// # Panics
    ///
    /// Where the body is no JSON.
    pub fn put(&self, model: &str, id: &str, body: &str) {
        let value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{model} {id}: {error}"));
        lock(&self.stored).insert((model.to_owned(), id.to_owned()), (1, value));
    }

    /// Takes the wake-ups that are due.
    pub fn due_wakes(&self) -> Vec<String> {
        let (mut wakes, now) = (lock(&self.wakes), self.now_millis());
        let due = wakes.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect::<Vec<_>>();
        wakes.retain(|_, at| *at > now);
        due
    }

    fn done_soon(&self) -> ServiceFuture<Result<(), Failure>> {
        let wait = self.sleep(Duration::from_millis(1));
        Box::pin(async move {
            wait.await;
            Ok(())
        })
    }

    fn act(&self, op: StoreOp) -> Result<Documents, Failure> {
        let mut stored = lock(&self.stored);
        let written = |id, revision| Documents { documents: vec![(id, revision, Vec::new())], next: None };
        let at = |id: &str| (op.model.clone(), id.to_owned());
        let is = |kind: FailureKind| Failure::new(kind, "by the fake store");
        let read = |body: &[u8]| {
            serde_json::from_slice::<Value>(body).map_err(|error| Failure::new(FailureKind::Misuse, error.to_string()))
        };
        match op.action {
            StoreAction::Get { id } => Ok(Documents {
                documents: stored
                    .get(&at(&id))
                    .map(|(revision, value)| (id, *revision, value.to_string().into_bytes()))
                    .into_iter()
                    .collect(),
                next: None,
            }),
            StoreAction::Insert { id, body } => {
                if stored.contains_key(&at(&id)) {
                    return Err(is(FailureKind::Exists));
                }
                stored.insert(at(&id), (1, read(&body)?));
                Ok(written(id, 1))
            }
            StoreAction::Put { id, body, revision } => {
                let known = stored.get_mut(&at(&id)).ok_or_else(|| is(FailureKind::Missing))?;
                if known.0 != revision {
                    return Err(is(FailureKind::Revision));
                }
                *known = (revision + 1, read(&body)?);
                Ok(written(id, revision + 1))
            }
            StoreAction::Delete { id, revision } => match stored.get(&at(&id)) {
                None => Err(is(FailureKind::Missing)),
                Some((known, _)) if *known != revision => Err(is(FailureKind::Revision)),
                Some(_) => {
                    stored.remove(&at(&id));
                    Ok(Documents::default())
                }
            },
            StoreAction::Find { query } => Ok(find(&stored, &op.model, &read(&query)?)),
        }
    }
}

/// Values by JSON's own order, good enough for tests: numbers, then text.
fn rank(value: Option<&Value>) -> (u8, f64, String) {
    match value {
        Some(Value::Number(number)) => (1, number.as_f64().unwrap_or(0.0), String::new()),
        Some(Value::String(text)) => (2, 0.0, text.clone()),
        Some(other) => (0, 0.0, other.to_string()),
        None => (3, 0.0, String::new()),
    }
}

fn find(stored: &Stored, model: &str, query: &Value) -> Documents {
    let equal = query["equal"].as_array().cloned().unwrap_or_default();
    let range = &query["range"];
    let fits = |value: &Value| {
        let field = range["field"].as_str().and_then(|field| value.get(field));
        let (from, to) = (range.get("from"), range.get("to"));
        let prefix = range.get("prefix").and_then(Value::as_str);
        equal.iter().all(|pair| pair[0].as_str().and_then(|field| value.get(field)) == Some(&pair[1]))
            && from.is_none_or(|from| field.is_some() && rank(field) >= rank(Some(from)))
            && to.is_none_or(|to| field.is_some() && rank(field) < rank(Some(to)))
            && prefix.is_none_or(|prefix| field.and_then(Value::as_str).is_some_and(|text| text.starts_with(prefix)))
    };
    let mut found: Vec<_> = stored
        .iter()
        .filter(|((of, _), (_, value))| of == model && fits(value))
        .map(|(key, held)| (&key.1, held))
        .collect();
    if let Some(field) = query["order_by"].as_str() {
        found.sort_by(|one, other| {
            rank(one.1.1.get(field)).partial_cmp(&rank(other.1.1.get(field))).unwrap_or(std::cmp::Ordering::Equal)
        });
    }
    if query["descending"] == true {
        found.reverse();
    }
    let limit = query["limit"].as_u64().filter(|limit| *limit > 0).unwrap_or(50) as usize;
    let skipped = query["after"].as_str().and_then(|after| after.parse().ok()).unwrap_or(0_usize);
    let more = found.len() > skipped + limit;
    Documents {
        documents: found
            .into_iter()
            .skip(skipped)
            .take(limit)
            .map(|(id, (revision, value))| (id.clone(), *revision, value.to_string().into_bytes()))
            .collect(),
        next: more.then(|| (skipped + limit).to_string()),
    }
}

/// What the other real modules would answer: anybody is an employee of hr-core, email-service takes every mail.
fn peer(call: &ModuleCall) -> Option<Answer> {
    let body = match (call.module.as_str(), call.path.strip_prefix("/employees/")) {
        ("hr-core", Some(id)) => json!({"id": id, "name": "Ada Lovelace", "email": "ada@example.com"}),
        ("email-service", _) => json!({"id": "m1", "status": "queued"}),
        _ => return None,
    };
    let status = if call.method == "POST" { 202 } else { 200 };
    Some(Answer { status, headers: Vec::new(), body: body.to_string().into_bytes() })
}

fn refused<T: Send + 'static>(why: String) -> ServiceFuture<Result<T, Failure>> {
    Box::pin(std::future::ready(Err(Failure::new(FailureKind::Unreachable, why))))
}

impl HostServices for FakeServices {
    fn tenant_id(&self) -> &str {
        &self.tenant
    }

    fn settings(&self) -> String {
        self.settings.clone()
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match name {
            // All but the first are features that are on where nobody says otherwise.
            "lit" | "confirmations" | "html" | "templates" => Some(true),
            "unlit" => Some(false),
            _ => None,
        }
    }

    fn now_millis(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(0)
    }

    fn random_id(&self) -> String {
        format!("00000000-0000-7000-8000-{:012x}", self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Every second answer comes later, the one to `slow` always.
    fn store(&self, op: StoreOp) -> StoreAnswer {
        let is_slow = matches!(&op.action, StoreAction::Get { id } if id == "slow");
        let answer = self.act(op);
        if is_slow || self.ids.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            let wait = self.sleep(Duration::from_millis(1));
            return StoreAnswer::Pending(Box::pin(async move {
                wait.await;
                answer
            }));
        }
        StoreAnswer::Ready(answer)
    }

    fn store_under(&self, _: ClaimToken, op: StoreOp) -> StoreAnswer {
        self.store(op)
    }

    fn call(&self, call: ModuleCall) -> ServiceFuture<Result<Option<Answer>, Failure>> {
        let answer = peer(&call);
        Box::pin(std::future::ready(answer.map(Some).ok_or_else(|| {
            Failure::new(FailureKind::Unreachable, format!("there is no module `{}` here", call.module))
        })))
    }

    fn fetch(&self, fetch: Fetch) -> ServiceFuture<Result<Answer, Failure>> {
        refused(format!("there is no world outside, not even `{}`", fetch.url))
    }

    /// Nobody listens.
    fn publish(&self, _: Option<ClaimToken>, _: String, _: Vec<u8>) -> ServiceFuture<Result<(), Failure>> {
        self.done_soon()
    }

    fn wake(&self, _: Option<ClaimToken>, key: String, at: Option<i64>) -> ServiceFuture<Result<(), Failure>> {
        match at {
            Some(at) => drop(lock(&self.wakes).insert(key, at)),
            None => drop(lock(&self.wakes).remove(&key)),
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn blocking(&self, job: BlockingJob) -> ServiceFuture<Result<(), Failure>> {
        let running = self.runtime.spawn_blocking(job);
        Box::pin(async move {
            running.await.unwrap_or_else(|_| Err(Failure::new(FailureKind::Stopping, "the runtime is being stopped")))
        })
    }

    fn sleep(&self, time: Duration) -> ServiceFuture<()> {
        let _runtime = self.runtime.enter();
        Box::pin(tokio::time::sleep(time))
    }

    fn spawn(&self, task: ServiceFuture<Result<(), Failure>>) -> Result<(), Failure> {
        let mut tasks = lock(&self.tasks);
        let Some(tasks) = tasks.as_mut() else {
            return Err(Failure::new(FailureKind::Stopping, "the instance is being stopped"));
        };
        tasks.push(self.runtime.spawn(task).abort_handle());
        Ok(())
    }
}
