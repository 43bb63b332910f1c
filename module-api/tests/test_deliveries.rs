//! Events, wake-ups and the other hooks on the host of tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use module_api::{
    Event,
    prelude::*,
    testing::{TestAnswer, TestHost, Value, conformance_of, json},
};
use serde::{Deserialize, Serialize};

const MANIFEST: &str = r#"
name = "worker"
publishes = ["thing.made"]
subscribes = ["hr-core:employee.deleted", "hr-core:employee.hired"]
models = ["Note"]
[dependencies]
hr-core = "^1"
[routes]
base = "/worker"
[[routes.endpoints]]
path = "/wake/{seconds}"
method = "POST"
[[routes.endpoints]]
path = "/wake"
method = "DELETE"
[[routes.endpoints]]
path = "/publish"
method = "POST"
[[routes.endpoints]]
path = "/instance"
method = "GET"
"#;

const SECOND: Duration = Duration::from_secs(1);

/// What a handler was given, and at which time.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    what: String,
    after: i64,
}

struct Worker {
    tenant: Tenant,
    notes: Collection<Note>,
    begun: i64,
    told: AtomicU64,
}

impl Module for Worker {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        let (notes, begun) = (tenant.collection("Note")?, 1_767_225_600_000);
        Ok(Self { notes, begun, tenant, told: AtomicU64::new(0) })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes
            .post("/wake/{seconds}", Self::wake)
            .delete("/wake", Self::cancel)
            .post("/publish", Self::publish)
            .get("/instance", Self::instance);
    }

    async fn on_event(&self, event: Event) -> Result<()> {
        let name: String = event.json::<Value>()?["name"].as_str().unwrap_or_default().to_owned();
        let (publisher, named, id) = (event.publisher(), event.name(), event.id());
        self.note(format!("{publisher} {named} {name} {} {id}", event.attempt())).await?;
        match &*name {
            "panic" => panic!("at an event"),
            "fail" => Err(Error::internal("told to fail")),
            "call" => {
                let answer = self.tenant.call_as_module("hr-core").get("/x").await?;
                self.note(format!("{:?}", answer.map(|it| it.status()))).await
            }
            _ => Ok(()),
        }
    }

    async fn on_wake(&self, key: String) -> Result<()> {
        self.note(key.clone()).await?;
        let now = self.tenant.now();
        match &*key {
            "fail" => return Err(Fault::conflict("busy", "not now").into()),
            "panic" => panic!("at a wake-up"),
            "hang" => self.tenant.sleep(Duration::from_secs(100)).await,
            "again" => self.tenant.wake_at(&key, now + 10 * SECOND).await?,
            "again-and-fail" => {
                self.tenant.wake_at("again-and-fail", now + 100 * SECOND).await?;
                return Err(Error::internal("after it was set again"));
            }
            "again-and-not" => {
                self.tenant.wake_at(&key, now + 10 * SECOND).await?;
                self.tenant.cancel_wake(&key).await?;
            }
            "circle" => self.tenant.wake_at(&key, now).await?,
            _ => {}
        }
        Ok(())
    }

    async fn settings_changed(&self) -> Result<()> {
        self.told.fetch_add(1, Ordering::Relaxed);
        match self.tenant.settings::<Value>()?["say"].as_str() {
            Some("fail") => Err(Error::internal("these won't do")),
            Some("panic") => panic!("at settings"),
            _ => Ok(()),
        }
    }

    async fn health(&self) -> Result<()> {
        match self.tenant.settings::<Value>()?["ill"].as_str() {
            Some(why) => Err(Error::internal(why)),
            None => Ok(()),
        }
    }
}

impl Worker {
    async fn note(&self, what: String) -> Result<()> {
        let after = (self.tenant.now_millis() - self.begun) / 1000;
        self.notes.insert(&self.tenant.random_id(), &Note { what, after }).await?;
        Ok(())
    }

    async fn wake(&self, request: Request) -> Result<Response> {
        let seconds: u64 = request.param("seconds").parse()?;
        let now = self.tenant.now();
        let key = request.query("key").unwrap_or_default();
        Ok(match self.tenant.wake_at(&key, now + Duration::from_secs(seconds)).await {
            Ok(()) => Response::no_content(),
            Err(error) => Response::text(format!("{error:?}")),
        })
    }

    async fn cancel(&self, request: Request) -> Result<()> {
        Ok(self.tenant.cancel_wake(&request.query("key").unwrap_or_default()).await?)
    }

    async fn publish(&self, request: Request) -> Result<Response> {
        let name = request.query("name").unwrap_or_default();
        Ok(match self.tenant.publish(&name, &request.json::<Value>()?).await {
            Ok(()) => Response::no_content(),
            Err(error) => Response::text(format!("{error:?}")),
        })
    }

    /// How often its settings have changed.
    async fn instance(&self) -> Result<Response> {
        Response::json(&self.told.load(Ordering::Relaxed))
    }
}

fn host() -> TestHost<Worker> {
    TestHost::with_manifest(MANIFEST).user("ada")
}

fn wake(host: &TestHost<Worker>, key: &str, seconds: u64) {
    host.request("POST", &format!("/wake/{seconds}?key={key}")).send().expect(204);
}

/// What was noted, with the seconds since the beginning.
fn notes(host: &TestHost<Worker>) -> Vec<(String, i64)> {
    let mut notes: Vec<_> = host.stored("Note").into_iter().map(|(_, _, note)| note).collect();
    notes.sort_by_key(|note| note["after"].as_i64());
    notes.iter().map(|note| (note["what"].as_str().unwrap().to_owned(), note["after"].as_i64().unwrap())).collect()
}

fn expect_notes(host: &TestHost<Worker>, expected: &[(&str, i64)]) {
    let expected: Vec<_> = expected.iter().map(|(what, after)| ((*what).to_owned(), *after)).collect();
    assert_eq!(notes(host), expected);
}

fn keys(host: &TestHost<Worker>) -> Vec<String> {
    host.wakes().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn wake_ups_come_at_their_time_and_in_their_order() {
    let host = host();
    wake(&host, "late", 60);
    wake(&host, "soon", 5);
    wake(&host, "moved", 1);
    wake(&host, "moved", 30);
    wake(&host, "cancelled", 2);
    host.delete("/wake?key=cancelled").expect(204);
    assert_eq!(keys(&host), ["soon", "moved", "late"]);
    let begin = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_000);
    assert_eq!(host.wakes()[0].1, begin + 5 * SECOND);
    host.advance(4 * SECOND);
    expect_notes(&host, &[]);
    host.advance(50 * SECOND);
    expect_notes(&host, &[("soon", 5), ("moved", 30)]);
    host.advance(6 * SECOND);
    expect_notes(&host, &[("soon", 5), ("moved", 30), ("late", 60)]);
    assert!(host.wakes().is_empty());
}

#[test]
fn wake_ups_outlive_the_instance_and_are_due_at_once_where_their_time_is_past() {
    let host = host();
    wake(&host, "past", 0);
    host.stop().unwrap();
    expect_notes(&host, &[]);
    host.advance(Duration::ZERO);
    expect_notes(&host, &[("past", 0)]);
}

#[test]
fn what_fails_is_repeated_ten_times_and_then_a_dead_letter() {
    let host = host();
    wake(&host, "fail", 0);
    host.advance(Duration::from_secs(600));
    let times: Vec<i64> = notes(&host).into_iter().map(|(_, after)| after).collect();
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511]);
    let dead = host.dead_letters();
    assert_eq!((dead.len(), dead[0].what.as_str(), dead[0].failures), (1, "wake-up fail", 10));
    assert_eq!(dead[0].error, "busy: not now");
    assert!(host.wakes().is_empty());
    // A wake-up of the same key is a new one.
    wake(&host, "fail", 1);
    assert_eq!(keys(&host), ["fail"]);
    host.advance(SECOND);
    assert_eq!((host.dead_letters().len(), host.wakes().len()), (1, 1));
}

#[test]
fn a_panic_and_a_hang_are_failures_too() {
    let host = host();
    wake(&host, "panic", 0);
    wake(&host, "hang", 0);
    host.advance(Duration::from_secs(1500));
    let dead = host.dead_letters();
    assert_eq!((dead.len(), keys(&host).len()), (2, 0), "{dead:?}");
    assert!(dead[0].error.starts_with("panicked at ") && dead[0].error.ends_with(": at a wake-up"), "{dead:?}");
    assert_eq!((dead[1].what.as_str(), dead[1].error.as_str()), ("wake-up hang", "the handler did not end within 30s"));
}

#[test]
fn a_wake_up_set_again_in_its_handler_is_a_new_one() {
    let host = host();
    wake(&host, "again", 1);
    wake(&host, "again-and-not", 1);
    host.advance(25 * SECOND);
    expect_notes(&host, &[("again", 1), ("again-and-not", 1), ("again", 11), ("again", 21)]);
    host.delete("/wake?key=again").expect(204);
    // Set again, then failed: the failures don't add up.
    wake(&host, "again-and-fail", 0);
    host.advance(Duration::from_secs(2000));
    assert_eq!(keys(&host), ["again-and-fail"]);
    assert!(host.dead_letters().is_empty());
}

#[test]
#[should_panic(expected = "wake-up circle comes again and again while no time passes")]
fn a_wake_up_that_turns_in_a_circle_is_told_of() {
    let host = host();
    wake(&host, "circle", 0);
    host.advance(Duration::ZERO);
}

#[test]
fn keys_have_a_length_and_the_store_must_be_there() {
    let host = host();
    let set = |key: &str| host.request("POST", &format!("/wake/1?key={key}")).send();
    assert_eq!(set("").text(), "Misuse(\"the key of a wake-up has 1 to 256 bytes, not 0\")");
    assert!(set(&"k".repeat(257)).text().contains("not 257"));
    set(&"k".repeat(256)).expect(204);
    host.set_store_available(false);
    assert_eq!(set("x").text(), "StoreUnavailable");
    assert_eq!(host.request("POST", "/publish?name=thing.made").json(&json!({})).send().text(), "StoreUnavailable");
    host.advance(10 * SECOND);
    host.set_store_available(true);
    expect_notes(&host, &[]);
    host.advance(Duration::ZERO);
    expect_notes(&host, &[(&"k".repeat(256), 10)]);
}

#[test]
fn what_is_published_is_seen_and_must_be_declared() {
    let host = host();
    host.post("/publish?name=thing.made", &json!({"id": 7})).expect(204);
    let refused = host.post("/publish?name=thing.lost", &json!({})).text();
    assert_eq!(refused, "Misuse(\"event `thing.lost` is not listed under `publishes` in the manifest\")");
    assert_eq!(host.published(), [("thing.made".to_owned(), json!({"id": 7}))]);
}

#[test]
fn an_event_is_handled_at_once_and_may_come_twice() {
    let host = host().module("hr-core", |request| {
        assert!(request.as_module && request.roles == ["module:worker"]);
        TestAnswer::status(204)
    });
    host.deliver("hr-core", "employee.deleted", &json!({"name": "call"})).unwrap();
    host.deliver_again().unwrap();
    let (events, calls): (Vec<_>, Vec<_>) =
        notes(&host).into_iter().partition(|(note, _)| note.starts_with("hr-core "));
    assert!(events[0].0.starts_with("hr-core employee.deleted call 1 ") && events[0] == events[1], "{events:?}");
    assert_eq!(calls, [("Some(204)".to_owned(), 0), ("Some(204)".to_owned(), 0)]);
    assert!(host.calls().iter().all(|call| call.id != host.calls()[0].id || *call == host.calls()[0]));
}

#[test]
fn events_of_a_publisher_wait_for_one_that_fails() {
    let host = host();
    let failed = host.deliver("hr-core", "employee.deleted", &json!({"name": "fail"}));
    assert_eq!(failed.unwrap_err(), "told to fail");
    let waits = host.deliver("hr-core", "employee.hired", &json!({"name": "next"}));
    assert_eq!(waits.unwrap_err(), "it waits behind event hr-core:employee.deleted (failures: 1)");
    host.advance(Duration::from_secs(510));
    assert_eq!((notes(&host).len(), host.dead_letters().len()), (9, 0));
    host.advance(SECOND);
    assert_eq!(host.dead_letters()[0].what, "event hr-core:employee.deleted");
    let last = notes(&host).pop().unwrap();
    assert!(last.0.starts_with("hr-core employee.hired next 1 ") && last.1 == 511, "{last:?}");
    let panicked = host.deliver("hr-core", "employee.hired", &json!({"name": "panic"})).unwrap_err();
    assert!(panicked.starts_with("panicked at ") && panicked.ends_with(": at an event"), "{panicked}");
}

#[test]
#[should_panic(expected = "module.toml does not list `hr-core:employee.moved` under `subscribes`")]
fn an_event_that_is_not_subscribed_to_can_t_be_delivered() {
    let _ = host().deliver("hr-core", "employee.moved", &json!({}));
}

#[test]
fn an_instance_is_told_of_other_settings_and_lives_on() {
    let host = host();
    host.set_settings(json!({"a": 1})).unwrap();
    let told = || host.get("/instance").expect(200).json::<u64>();
    assert_eq!(told(), 0);
    host.set_settings(json!({"a": 1})).unwrap();
    assert_eq!(told(), 0);
    host.set_settings(json!({"a": 2})).unwrap();
    assert_eq!(told(), 1);
    let failed = host.set_settings(json!({"say": "fail"})).unwrap_err();
    assert_eq!((failed.as_str(), told()), ("`settings_changed` failed: these won't do", 2));
    let panicked = host.set_settings(json!({"say": "panic"})).unwrap_err();
    assert!(panicked.ends_with(": at settings"), "{panicked}");
    assert_eq!(told(), 0, "a new instance");
}

#[test]
fn an_instance_that_is_not_well_is_not_put_into_service() {
    let host = host().settings(json!({"ill": "no room"}));
    assert_eq!(host.start().unwrap_err(), "`health` failed: no room");
    assert_eq!(host.get("/instance").code(), "MODULE_LOAD_FAILED");
    let delayed = host.deliver("hr-core", "employee.deleted", &json!({"name": "x"})).unwrap_err();
    assert_eq!(delayed, "`health` failed: no room");
    host.set_settings(json!({})).unwrap();
    host.advance(29 * SECOND);
    expect_notes(&host, &[]);
    host.advance(SECOND);
    assert_eq!(notes(&host)[0].1, 30);
}

#[test]
fn conformance_names_the_hooks_that_panic() {
    struct Panicky;
    impl Module for Panicky {
        async fn initialize(tenant: Tenant) -> Result<Self> {
            // A required dependency is there, an optional one is not.
            assert_eq!(tenant.call_as_module("hr-core").get("/x").await?.map(|answer| answer.status()), Some(404));
            assert!(tenant.call_as_module("mail").get("/x").await?.is_none());
            Ok(Self)
        }
        fn routes(_: &mut Routes<Self>) {}
        async fn on_event(&self, event: Event) -> Result<()> {
            let [name] = event.json::<[String; 1]>()?;
            panic!("{name} event")
        }
        async fn on_wake(&self, key: String) -> Result<()> {
            panic!("{key} key")
        }
        async fn settings_changed(&self) -> Result<()> {
            panic!("no settings")
        }
    }
    let manifest = "name = 'x'\nsubscribes = ['hr-core:a', 'hr-core:b']\n\
                    [dependencies]\nhr-core = '1'\nmail = { version = '1', optional = true }";
    let caught = std::panic::catch_unwind(|| conformance_of::<Panicky>(manifest)).unwrap_err();
    let told = caught.downcast_ref::<String>().unwrap();
    for (hook, end) in [
        ("`on_wake` with a made-up key panicked at ", ": made-up key"),
        ("`on_event` of `hr-core:a` with a made-up payload panicked at ", ": made-up event"),
        ("`on_event` of `hr-core:b` with a made-up payload panicked at ", ": made-up event"),
        ("`settings_changed` panicked at ", ": no settings"),
    ] {
        assert!(told.lines().any(|line| line.starts_with(hook) && line.ends_with(end)), "{hook}: {told}");
    }
    assert_eq!(told.lines().count(), 5, "{told}");
}

#[test]
fn a_module_without_hooks_conforms_and_nonsense_is_refused() {
    conformance_of::<Worker>(MANIFEST);
    struct Plain;
    impl Module for Plain {
        async fn initialize(_: Tenant) -> Result<Self> {
            Ok(Self)
        }
        fn routes(_: &mut Routes<Self>) {}
    }
    conformance_of::<Plain>("name = 'x'\nsubscribes = ['hr-core:a']\n[dependencies]\nhr-core = '1'");
}

#[test]
fn subscriptions_are_to_modules_that_it_depends_on() {
    let manifest = "name = 'x'\nsubscribes = ['payroll:paid', 'paid']";
    let caught = std::panic::catch_unwind(|| TestHost::<Worker>::with_manifest(manifest)).unwrap_err();
    let told = caught.downcast_ref::<String>().unwrap();
    assert!(told.contains("`subscribes[0]` names module `payroll`, which is not in [dependencies]"), "{told}");
    assert!(told.contains("`subscribes[1]` is `paid`: must be `MODULE:EVENT`"), "{told}");
}
