//! Events and wake-ups reach a module in its own tests as they do on a host: the kit and the host's store, with the rules
//! of the host's deliverer, are put through the same, and must tell the same of it.

use std::{
    collections::BTreeMap,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use module_api::{
    Event,
    prelude::*,
    testing::{TestHost, Value, json},
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tenon_host::{
    stores::{Claim, ClaimRequest, Delivered, Deliveries, Delivery, NewEvent, Setback, SqliteStore},
    tenancy::DeliverySettings,
};
use tokio::runtime::Runtime;

const MANIFEST: &str = r#"
name = "sleeper"
publishes = ["seen"]
subscribes = ["crier:cry", "herald:call", "herald:cry"]
[dependencies]
crier = "^1"
herald = "^1"
[models.Mood]
[routes]
base = "/sleeper"
[[routes.endpoints]]
path = "/"
method = "POST"
auth = false
[[routes.endpoints]]
path = "/mood"
method = "POST"
auth = false
"#;

/// What a request or a handler does to wake-ups; times are milliseconds from then on.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Act {
    Set(String, u64),
    Cancel(String),
}

/// How a handler ends.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum End {
    Well,
    Refusing,
    Panicking,
}

/// What the handler of an event or a wake-up does from now on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mood {
    acts: Vec<Act>,
    end: End,
}

/// Does as it was told, and publishes what it has seen.
struct Sleeper {
    tenant: Tenant,
    moods: Collection<Mood>,
}

impl Module for Sleeper {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        Ok(Self { moods: tenant.collection("Mood")?, tenant })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes.post("/", Self::act).post("/mood", Self::set_mood);
    }

    async fn on_event(&self, event: Event) -> Result<()> {
        let what = format!("event {}:{}", event.publisher(), event.name());
        let number: Value = event.json()?;
        self.handle(what, json!([number, event.attempt()])).await
    }

    async fn on_wake(&self, key: String) -> Result<()> {
        self.handle(format!("wake-up {key}"), Value::Null).await
    }
}

impl Sleeper {
    async fn act(&self, request: Request) -> Result<Response> {
        self.carry_out(request.json()?).await?;
        Ok(Response::no_content())
    }

    async fn set_mood(&self, request: Request) -> Result<Response> {
        let (what, mood): (String, Mood) = request.json()?;
        match self.moods.get(&what).await? {
            Some(found) => self.moods.put(&what, &mood, found.revision).await?,
            None => self.moods.insert(&what, &mood).await?,
        };
        Ok(Response::no_content())
    }

    async fn handle(&self, what: String, more: Value) -> Result<()> {
        self.tenant.publish("seen", &json!([what, more, self.tenant.now_millis()])).await?;
        let Some(mood) = self.moods.get(&what).await? else { return Ok(()) };
        self.carry_out(mood.value.acts).await?;
        match mood.value.end {
            End::Well => Ok(()),
            End::Refusing => Err(Fault::conflict("busy", "not now").into()),
            End::Panicking => panic!("enough"),
        }
    }

    async fn carry_out(&self, acts: Vec<Act>) -> Result<()> {
        for act in acts {
            match act {
                Act::Set(key, millis) => {
                    self.tenant.wake_at(&key, self.tenant.now() + Duration::from_millis(millis)).await?;
                }
                Act::Cancel(key) => self.tenant.cancel_wake(&key).await?,
            }
        }
        Ok(())
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// The host's store, and who delivers from it; time is the test's.
struct Host {
    store: SqliteStore,
    now: i64,
    moods: BTreeMap<String, Mood>,
    seen: Vec<Value>,
    events: u64,
    _folder: tempfile::TempDir,
}

impl Host {
    fn new(now: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).unwrap();
        Self { store, now, moods: BTreeMap::new(), seen: Vec::new(), events: 0, _folder: folder }
    }

    fn carry_out(&self, acts: &[Act], claim: Option<Claim>) {
        let (tenant, module) = ("acme".parse().unwrap(), "sleeper".parse().unwrap());
        for act in acts {
            let done = match act {
                Act::Set(key, millis) => {
                    let at = self.now + i64::try_from(*millis).unwrap();
                    RUNTIME.block_on(self.store.set_wake(&tenant, &module, key, at, claim))
                }
                Act::Cancel(key) => RUNTIME.block_on(self.store.cancel_wake(&tenant, &module, key, claim)),
            };
            done.unwrap();
        }
    }

    fn claim(&self) -> Option<Delivery> {
        let request = ClaimRequest { now: self.now, until: self.now + 60_000, limit: 1, per_tenant: 8 };
        RUNTIME.block_on(self.store.claim_due(request)).unwrap().pop()
    }

    /// As the host's deliverer does; says whether it went well.
    fn handle(&mut self, delivery: &Delivery) -> bool {
        let (what, more) = match &delivery.what {
            Delivered::Event { publisher, name, body, .. } => {
                let number: Value = serde_json::from_slice(body).unwrap();
                (format!("event {publisher}:{name}"), json!([number, delivery.failures + 1]))
            }
            Delivered::Wake { key } => (format!("wake-up {key}"), Value::Null),
        };
        self.seen.push(json!([what, more, self.now]));
        let mood = self.moods.get(&what).cloned().unwrap_or(Mood { acts: Vec::new(), end: End::Well });
        self.carry_out(&mood.acts, Some(delivery.claim));
        let settings = DeliverySettings::default();
        let failures = delivery.failures + 1;
        let error = match mood.end {
            End::Well => {
                RUNTIME.block_on(self.store.finish(delivery.claim)).unwrap();
                return true;
            }
            End::Refusing => "busy: not now",
            End::Panicking => "enough",
        };
        let setback = if failures >= settings.attempts {
            Setback::Dead(self.now)
        } else {
            let pause = settings.retry_base.saturating_mul(1 << (failures - 1)).min(settings.retry_limit);
            Setback::Failed(self.now + i64::try_from(pause.as_millis()).unwrap())
        };
        RUNTIME.block_on(self.store.set_back(delivery.claim, setback, error)).unwrap();
        false
    }

    /// Lets time pass, and handles each delivery at its own.
    fn advance(&mut self, time: Duration) {
        let until = self.now + i64::try_from(time.as_millis()).unwrap();
        loop {
            while let Some(delivery) = self.claim() {
                self.handle(&delivery);
            }
            if self.now == until {
                return;
            }
            let next = RUNTIME.block_on(self.store.next_due()).unwrap();
            self.now = next.unwrap_or(until).clamp(self.now, until);
        }
    }

    /// Publishes an event and delivers it at once, if none of its publisher is before it.
    fn deliver(&mut self, publisher: &str, name: &str) -> bool {
        self.events += 1;
        let event = NewEvent {
            tenant: "acme".parse().unwrap(),
            publisher: publisher.parse().unwrap(),
            name: name.to_owned(),
            event_id: self.events.to_string(),
            body: self.events.to_string().into_bytes(),
            published_at: self.now,
            subscribers: vec!["sleeper".parse().unwrap()],
            most_waiting: u64::MAX,
        };
        RUNTIME.block_on(self.store.publish(event, None)).unwrap();
        self.claim().is_some_and(|delivery| self.handle(&delivery))
    }

    /// What was given up, in the order in which operators see it.
    fn dead(&self) -> Vec<(String, u32, String)> {
        let dead = RUNTIME.block_on(self.store.dead_letters(None, 10_000)).unwrap();
        let told = dead.into_iter().map(|letter| {
            let what = match letter.what {
                Delivered::Event { publisher, name, .. } => format!("event {publisher}:{name}"),
                Delivered::Wake { key } => format!("wake-up {key}"),
            };
            (what, letter.failures, letter.error)
        });
        told.collect()
    }
}

/// The same of the kit; where a panic was is left out.
fn dead(kit: &TestHost<Sleeper>) -> Vec<(String, u32, String)> {
    let told = kit.dead_letters().into_iter().map(|letter| {
        let error = match letter.error.strip_prefix("panicked at ") {
            Some(place) => place.rsplit(": ").next().unwrap_or_default().to_owned(),
            None => letter.error,
        };
        (letter.what, letter.failures, error)
    });
    told.collect()
}

fn seen(kit: &TestHost<Sleeper>) -> Vec<Value> {
    kit.published().into_iter().map(|(_, payload)| payload).collect()
}

/// What happens to both.
#[derive(Debug, Clone)]
enum Step {
    Mood(String, Mood),
    Ask(Vec<Act>),
    Deliver(&'static str, &'static str),
    Advance(u64),
}

/// Both, side by side.
struct Twins {
    kit: TestHost<Sleeper>,
    host: Host,
}

impl Twins {
    fn new() -> Self {
        let kit = TestHost::<Sleeper>::with_manifest(MANIFEST);
        // What time the kit has can be read off a wake-up that is due at once.
        kit.post("/", &[Act::Set("clock".to_owned(), 0)]).expect(204);
        let begun = kit.wakes()[0].1.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        kit.post("/", &[Act::Cancel("clock".to_owned())]).expect(204);
        Self { kit, host: Host::new(i64::try_from(begun.as_millis()).unwrap()) }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Mood(what, mood) => {
                self.kit.post("/mood", &(what, mood)).expect(204);
                self.host.moods.insert(what.clone(), mood.clone());
            }
            Step::Ask(acts) => {
                self.kit.post("/", acts).expect(204);
                self.host.carry_out(acts, None);
            }
            Step::Deliver(publisher, name) => {
                // What is due at the same time comes before it on both sides.
                self.advance(0);
                let handled = self.kit.deliver(publisher, name, &(self.host.events + 1));
                prop_assert_eq!(handled.is_ok(), self.host.deliver(publisher, name), "{:?}", handled);
            }
            Step::Advance(millis) => self.advance(*millis),
        }
        prop_assert_eq!(seen(&self.kit), self.host.seen.clone());
        prop_assert_eq!(dead(&self.kit), self.host.dead());
        Ok(())
    }

    fn advance(&mut self, millis: u64) {
        let time = Duration::from_millis(millis);
        self.kit.advance(time);
        self.host.advance(time);
    }

    /// Puts both through steps and to the end of all tries.
    fn all(steps: &[Step]) -> Result<Self, TestCaseError> {
        let mut twins = Self::new();
        for step in steps {
            twins.step(step)?;
        }
        twins.step(&Step::Advance(900_000))?;
        let backlog = RUNTIME.block_on(twins.host.store.backlog()).unwrap();
        prop_assert_eq!(backlog.dead, twins.kit.dead_letters().len() as u64);
        Ok(twins)
    }
}

fn mood(what: &str, end: End, acts: &[Act]) -> Step {
    Step::Mood(what.to_owned(), Mood { acts: acts.to_vec(), end })
}

fn set(key: &str, millis: u64) -> Act {
    Act::Set(key.to_owned(), millis)
}

fn whats(seen: &[Value]) -> Vec<&str> {
    seen.iter().map(|line| line[0].as_str().unwrap()).collect()
}

#[test]
fn what_fails_comes_ten_times_and_then_lies_where_it_came_in() {
    // The wake-up was set first, and is the last to be given up.
    let twins = Twins::all(&[
        mood("wake-up a", End::Refusing, &[]),
        mood("event crier:cry", End::Panicking, &[]),
        Step::Ask(vec![set("a", 5_000)]),
        Step::Deliver("crier", "cry"),
    ])
    .unwrap();
    let expected = [("wake-up a", "busy: not now"), ("event crier:cry", "enough")];
    assert_eq!(dead(&twins.kit), expected.map(|(what, error)| (what.to_owned(), 10, error.to_owned())));
    assert_eq!(twins.host.seen.len(), 20);
    assert_eq!(twins.host.seen[18][0], "event crier:cry", "it was given up before the wake-up");
}

#[test]
fn events_of_a_publisher_wait_for_each_other_and_come_when_they_were_published() {
    let twins = Twins::all(&[
        mood("event herald:call", End::Refusing, &[]),
        Step::Deliver("herald", "call"),
        // Due with the second try, and set before the event behind that one, which is due since it was published.
        Step::Ask(vec![set("a", 1_000)]),
        Step::Advance(500),
        Step::Deliver("herald", "cry"),
        Step::Deliver("crier", "cry"),
        mood("event herald:call", End::Well, &[]),
        Step::Advance(500),
    ])
    .unwrap();
    let expected = ["event herald:call", "event crier:cry", "event herald:call", "event herald:cry", "wake-up a"];
    assert_eq!(whats(&twins.host.seen), expected);
}

#[test]
fn a_wake_up_that_is_set_again_or_cancelled_while_it_is_handled_is_a_new_one_or_none() {
    let again = |end| {
        [
            mood("wake-up a", end, &[set("a", 400_000)]),
            mood("wake-up b", end, &[set("b", 1), Act::Cancel("b".to_owned())]),
            Step::Ask(vec![set("a", 100), set("b", 100), set("c", 100), Act::Cancel("c".to_owned())]),
        ]
    };
    let twins = Twins::all(&again(End::Well)).unwrap();
    assert_eq!(whats(&twins.host.seen), ["wake-up a", "wake-up b", "wake-up a", "wake-up a"]);
    // What failed and was set again counts no failure; what failed and was cancelled is over.
    let twins = Twins::all(&again(End::Refusing)).unwrap();
    assert_eq!(dead(&twins.kit), []);
    assert_eq!(whats(&twins.host.seen).iter().filter(|what| **what == "wake-up b").count(), 1);
    assert_eq!(whats(&twins.host.seen).iter().filter(|what| **what == "wake-up a").count(), 3);
}

#[test]
fn what_is_handed_over_again_is_in_its_old_place_with_its_failures() {
    let kit = TestHost::<Sleeper>::with_manifest(MANIFEST);
    let mood = |what: &str, end| kit.post("/mood", &(what, Mood { acts: Vec::new(), end })).expect(204);
    mood("event herald:call", End::Refusing);
    assert!(kit.deliver("herald", "call", &1).is_err());
    mood("event herald:call", End::Well);
    kit.advance(Duration::from_secs(1));
    mood("event herald:cry", End::Refusing);
    assert!(kit.deliver("herald", "cry", &2).is_err());
    // The host was killed before it could note that the first one was handled. Now it fails, and the other one waits.
    mood("event herald:call", End::Refusing);
    assert!(kit.deliver_again().is_err());
    mood("event herald:call", End::Well);
    mood("event herald:cry", End::Well);
    kit.advance(Duration::from_secs(2));
    // Each with its try.
    let tries: Vec<Value> = seen(&kit).into_iter().map(|line| line[1].clone()).collect();
    assert_eq!(tries, [[1, 1], [1, 2], [2, 1], [1, 2], [1, 3], [2, 2]].map(|it| json!(it)));
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("c".to_owned())]
}

fn acts(times: &'static [u64]) -> BoxedStrategy<Vec<Act>> {
    let one = prop_oneof![
        3 => (key(), proptest::sample::select(times)).prop_map(|(key, time)| Act::Set(key, time)),
        1 => key().prop_map(Act::Cancel),
    ];
    proptest::collection::vec(one, 0..3).boxed()
}

fn event() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop_oneof![Just(("crier", "cry")), Just(("herald", "call")), Just(("herald", "cry"))]
}

fn step() -> BoxedStrategy<Step> {
    let what = prop_oneof![
        key().prop_map(|key| format!("wake-up {key}")),
        event().prop_map(|(publisher, name)| format!("event {publisher}:{name}")),
    ];
    let end = prop_oneof![2 => Just(End::Well), 5 => Just(End::Refusing), 1 => Just(End::Panicking)];
    // No handler sets a wake-up for a time so near that it would come again and again.
    let acts_of_a_handler = prop_oneof![2 => Just(Vec::new()), 1 => acts(&[30_000, 70_000, 400_000])];
    let mood = (acts_of_a_handler, end).prop_map(|(acts, end)| Mood { acts, end });
    prop_oneof![
        3 => (what, mood).prop_map(|(what, mood)| Step::Mood(what, mood)),
        3 => acts(&[0, 500, 1_000, 1_000, 2_000, 60_000]).prop_map(Step::Ask),
        4 => event().prop_map(|(publisher, name)| Step::Deliver(publisher, name)),
        4 => proptest::sample::select(&[0, 1, 500, 500, 1_000, 1_000, 3_000, 20_000, 300_000, 600_000][..]).prop_map(Step::Advance),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_deliver_alike(steps in proptest::collection::vec(step(), 1..30)) {
        Twins::all(&steps)?;
    }
}
