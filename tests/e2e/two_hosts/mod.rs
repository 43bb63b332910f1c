//! Two hosts on one store share the deliveries; `bookings` is about documents that both write, `flags` about clients that
//! ask one and then the other. The embedded store lets
//! one process in at a time, so both are in this one; a host is killed by cutting its line to the store in the middle of
//! a handler, and comes back as a late writer.

mod bookings;
mod flags;
mod line;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tenon_host::{
    app::Host,
    config::Config,
    stores::{Deliveries, SqliteStore},
};
use tokio::runtime::Runtime;

use self::line::Line;
use crate::harness::{Ask, Setup, until};

struct Pair {
    runtime: Runtime,
    store: Arc<SqliteStore>,
    one: Member,
    other: Member,
    _setup: Setup,
}

struct Member {
    host: Host,
    line: Arc<Line>,
}

impl Member {
    fn start(runtime: &Runtime, setup: &Setup, store: &Arc<SqliteStore>, name: &str) -> Self {
        let mut config = Config {
            plugins: setup.plugins(),
            data: setup.folder().join(name),
            listen: ([127, 0, 0, 1], 0).into(),
            admin_listen: ([127, 0, 0, 1], 0).into(),
            dev: true,
            ..Config::default()
        };
        config.deliveries.claim = Duration::from_millis(400);
        config.deliveries.look_every = Duration::from_millis(10);
        config.deliveries.concurrency = 2;
        config.ofrep.ticket_key_file = Some(setup.folder().join("ticket.key"));
        let line = Line::to(store);
        let starting = Host::builder().config(config).store(Arc::clone(&line) as _).start();
        Self { host: runtime.block_on(starting).unwrap(), line }
    }

    fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(self.host.address(), method, &format!("/fixtures/{path}")).header("x-tenant-id", "acme")
    }

    fn say(&self, text: &str) {
        self.ask("POST", &format!("herald/say/{text}")).send().expect(204);
    }

    fn wake(&self, key: &str) {
        self.ask("POST", &format!("listener/wake/{key}")).send().expect(204);
    }

    fn log(&self, name: &str) -> Vec<String> {
        let lines = self.ask("GET", &format!("listener/log/{name}")).send().expect(200);
        lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    fn operate(&self, method: &str, path: &str, body: &serde_json::Value) {
        let token = fs::read_to_string(self.host.admin_token_path()).unwrap();
        let path = format!("/admin/v1/tenants{path}");
        let answer = Ask::new(self.host.admin_address(), method, &path).token(token.trim()).json(body).send();
        assert!(answer.status < 300, "{}", answer.text());
    }
}

impl Pair {
    /// Both hosts serve tenant `acme`, which has the herald and the listener.
    fn start() -> Self {
        let pair = Self::with(&["herald", "listener"]);
        assert_eq!(pair.other.log("events"), Vec::<String>::new(), "the other one serves the tenant too");
        pair
    }

    /// Both hosts serve tenant `acme`, which has these modules.
    fn with(modules: &[&str]) -> Self {
        let setup = Setup::with(modules);
        let runtime = Runtime::new().unwrap();
        let ticket_key = setup.folder().join("ticket.key");
        fs::write(&ticket_key, "a-key-that-both-hosts-have-and-nobody-else").unwrap();
        fs::set_permissions(ticket_key, Permissions::from_mode(0o600)).unwrap();
        let store = Arc::new(SqliteStore::open(setup.folder().join("store")).unwrap());
        let [one, other] = ["one", "other"].map(|name| Member::start(&runtime, &setup, &store, name));
        one.operate("POST", "", &json!({ "id": "acme" }));
        for module in modules {
            one.operate("PUT", &format!("/acme/modules/{module}"), &json!({}));
        }
        Self { runtime, store, one, other, _setup: setup }
    }

    fn backlog(&self) -> (u64, u64) {
        let backlog = self.runtime.block_on(self.store.backlog()).unwrap();
        (backlog.waiting, backlog.dead)
    }

    fn stop(self) {
        for member in [self.one, self.other] {
            self.runtime.block_on(member.host.shutdown());
        }
        self.runtime.block_on(self.store.close());
    }
}

#[test]
fn each_event_and_each_wake_up_is_handled_by_one_of_them() {
    let pair = Pair::start();
    let (mut events, mut keys) = (Vec::new(), Vec::new());
    // Until both have had a share.
    until("both have claimed something", || {
        for _ in 0..20 {
            let (event, key) = (events.len().to_string(), format!("k{}", keys.len()));
            let member = if events.len() % 2 == 0 { &pair.one } else { &pair.other };
            member.say(&event);
            member.wake(&key);
            events.push(event);
            keys.push(key);
        }
        pair.one.line.claimed() > 0 && pair.other.line.claimed() > 0
    });
    until("all were handled", || pair.backlog() == (0, 0));
    assert_eq!(pair.one.log("events"), events, "each once and in order, whoever published and whoever handled it");
    let mut woken = pair.other.log("wakes");
    woken.sort();
    keys.sort();
    assert_eq!(woken, keys, "each once");
    let claimed = pair.one.line.claimed() + pair.other.line.claimed();
    assert_eq!(claimed, events.len() + keys.len(), "nothing was claimed twice");
    println!("{} and {} of {claimed} deliveries", pair.one.line.claimed(), pair.other.line.claimed());
    pair.stop();
}

/// One host begins and dies, the other takes over; what the first one still writes is refused.
fn taken_over(put_up: impl Fn(&Member), log: &str) {
    let pair = Pair::start();
    let (one, other) = (&pair.one, &pair.other);
    other.line.cut();
    put_up(one);
    until("the first one is at it", || one.log("begun") == ["hold"]);
    one.line.cut();
    other.line.mend();
    until("the other one has taken over", || other.log("begun") == ["hold", "hold"]);
    assert_eq!((other.log(log), other.line.claimed()), (Vec::new(), 1));
    // To the first one, the flag that lets a handler end is still off.
    other.operate("PATCH", "/acme/flags", &json!({ "forgiving": true }));
    until("the other one has handled it", || other.log(log) == ["hold"]);

    one.line.mute_renewals();
    one.line.mend();
    assert_eq!((one.line.claimed(), one.line.fenced_off()), (1, 0), "the first one is still at it");
    pair.runtime.block_on(one.host.tenants().refresh(&"acme".parse().unwrap())).unwrap();
    until("the late write is refused", || one.line.fenced_off() == 1);
    until("nothing is left to do", || pair.backlog() == (0, 0));
    assert_eq!((one.log(log), other.log(log)), (vec!["hold".to_owned()], vec!["hold".to_owned()]));
    assert_eq!(one.line.claimed() + other.line.claimed(), 2, "it is not tried again");
    pair.stop();
}

#[test]
fn the_wake_up_of_one_that_was_killed_is_taken_over_and_its_late_write_refused() {
    taken_over(|one| one.wake("hold"), "wakes");
}

#[test]
fn the_event_of_one_that_was_killed_is_taken_over_and_its_late_write_refused() {
    taken_over(|one| one.say("hold"), "events");
}
