//! Mail goes out once, whatever happens to the server and the host: email-service and a mail server that does as told.

use std::{fs, sync::Arc};

use serde_json::{Value, json};

use crate::harness::{Host, MailSink, Manner, Setup, until, until_some};

const MESSAGES: &str = "/api/v1/email/messages";

/// Plain SMTP to this machine, and tries that come soon.
fn settings(sink: &MailSink) -> Value {
    json!({
        "server": "127.0.0.1", "port": sink.port(), "security": "none", "from": "Desk <desk@example.com>",
        "retry-seconds": 0.05, "attempts": 50, "timeout-seconds": 10,
    })
}

fn set(host: &Host, tenant: &str, settings: &Value) {
    let path = format!("/admin/v1/tenants/{tenant}/settings/email-service");
    host.ask_operators("PUT", &path).token(&host.token()).json(settings).send().expect(200);
}

fn start(sink: &MailSink) -> Host {
    let host = Setup::with(&["email-service"]).start();
    host.tenant("acme", &["email-service"]);
    set(&host, "acme", &settings(sink));
    host
}

fn post(host: &Host, body: &Value) -> String {
    let answer = host.of("acme", "POST", MESSAGES).json(body).send().expect(202);
    answer["id"].as_str().unwrap().to_owned()
}

fn send(host: &Host, subject: &str) -> String {
    post(host, &json!({ "to": "Ann Lee <ann@example.com>", "subject": subject, "text": "Hello." }))
}

fn message(host: &Host, id: &str) -> Value {
    host.get("acme", &format!("{MESSAGES}/{id}")).expect(200)
}

/// A message, once it is as far as this.
fn once(host: &Host, id: &str, status: &str) -> Value {
    until_some(&format!("message {id} is {status}"), || {
        Some(message(host, id)).filter(|message| message["status"] == status)
    })
}

#[test]
fn a_message_is_delivered_with_its_headers_and_both_parts() {
    let sink = MailSink::start();
    let host = start(&sink);
    let template = json!({ "subject": "Grüße, {{ name }}", "text": "Hi {{ name }}.", "html": "<p>Hi {{ name }}" });
    host.of("acme", "PUT", "/api/v1/email/templates/hi").json(&template).send().expect(201);
    let body = json!({ "to": "Ann <ann@example.com>", "template": "hi", "data": { "name": "A & B" }, "key": "hi-1" });
    let id = post(&host, &body);
    let sent = once(&host, &id, "sent");
    assert_eq!((&sent["attempts"], &sent["uncertain"], &sent["created_by"]), (&json!(1), &json!(0), &json!("ada")));
    assert_eq!(sent["reply"], "250 2.0.0 taken");
    // The same key again is the same message, also much later.
    assert_eq!(post(&host, &body), id);
    let all = sink.received();
    assert_eq!(all.len(), 1, "{all:?}");
    let mail = &all[0];
    assert_eq!(mail.envelope, ["<desk@example.com>", "<ann@example.com>"]);
    assert_eq!(mail.header("From"), "Desk <desk@example.com>");
    assert_eq!(mail.header("To"), "Ann <ann@example.com>");
    assert!(mail.header("Subject").starts_with("=?utf-8?"), "{}", mail.content);
    assert_eq!(mail.header("Message-ID"), format!("<{id}@example.com>"));
    assert_eq!(sent["message_id"], mail.header("Message-ID"));
    for part in ["multipart/alternative", "Hi A & B.", "<p>Hi A &amp; B"] {
        assert!(mail.content.contains(part), "{part}: {}", mail.content);
    }
    let listed = host.get("acme", &format!("{MESSAGES}?status=sent&to=ANN@example.com")).expect(200);
    assert_eq!(listed["items"][0]["id"], *id, "{listed}");
    assert_eq!(host.get("acme", &format!("{MESSAGES}?status=queued")).expect(200)["items"], json!([]));
    host.stop();
}

#[test]
fn what_the_server_refuses_is_failed_at_once_and_can_be_retried() {
    let sink = MailSink::start();
    let host = start(&sink);
    sink.behave(Manner::RefuseReceiver);
    let id = send(&host, "refused");
    let failed = once(&host, &id, "failed");
    assert_eq!(failed["last_error"], "permanent error (550): 5.1.1 no such mailbox here", "{failed}");
    assert_eq!((&failed["attempts"], failed.get("next_try")), (&json!(1), None), "{failed}");
    assert_eq!(sink.connections(), 1, "it is tried once");
    sink.behave(Manner::Take);
    let path = format!("{MESSAGES}/{id}/retry");
    host.of("acme", "POST", &path).send().expect(202);
    assert_eq!(once(&host, &id, "sent")["attempts"], 2);
    let again = host.of("acme", "POST", &path).send();
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("email-service:already-sent")));
    host.stop();
}

#[test]
fn a_server_that_is_away_or_busy_gets_the_message_when_it_is_back() {
    let mut sink = MailSink::start();
    let host = start(&sink);
    sink.leave();
    let id = send(&host, "later");
    let waiting = until_some("two tries failed", || {
        Some(message(&host, &id)).filter(|message| message["attempts"].as_u64() >= Some(2))
    });
    assert_eq!((&waiting["status"], &waiting["uncertain"]), (&json!("queued"), &json!(0)), "{waiting}");
    assert!(waiting["last_error"].as_str().unwrap().starts_with("Connection error"), "{waiting}");
    assert!(waiting["next_try"].is_string(), "{waiting}");
    sink.behave(Manner::NotNow);
    sink.come_back();
    until("it is told to come later", || {
        let error = message(&host, &id)["last_error"].to_string();
        error.contains("transient error (451): 4.3.0 come back later")
    });
    sink.behave(Manner::Take);
    host.of("acme", "POST", &format!("{MESSAGES}/{id}/retry")).send().expect(202);
    let sent = once(&host, &id, "sent");
    assert!(sent.get("last_error").is_none() && sent["uncertain"] == 0, "{sent}");
    assert_eq!(sink.received().len(), 1);
    host.stop();
}

#[test]
fn a_server_that_takes_a_message_and_says_nothing_makes_it_uncertain() {
    let sink = MailSink::start();
    let host = start(&sink);
    sink.behave(Manner::HangUp);
    let id = send(&host, "perhaps");
    sink.until_received(1);
    sink.behave(Manner::Take);
    let sent = once(&host, &id, "sent");
    let all = sink.received();
    assert_eq!(sent["uncertain"], all.len() - 1, "{sent}");
    assert!(all.len() >= 2, "it was repeated");
    assert!(all.iter().all(|mail| mail.header("Message-ID") == sent["message_id"].as_str().unwrap()), "{all:?}");
    host.stop();
}

#[test]
fn without_settings_mail_waits_and_says_why_and_goes_when_they_are_there() {
    let sink = MailSink::start();
    let host = Setup::with(&["email-service"]).start();
    host.tenant("acme", &["email-service"]);
    let (id, unwanted) = (send(&host, "early"), send(&host, "unwanted"));
    let waiting = until_some("it says why", || Some(message(&host, &id)).filter(|it| it["reason"].is_string()));
    assert_eq!(waiting["reason"], "there are no settings: `server` and `from` are missing", "{waiting}");
    assert_eq!(
        (&waiting["status"], &waiting["attempts"], waiting.get("next_try")),
        (&json!("queued"), &json!(0), None)
    );
    // What is taken back is not sent.
    host.of("acme", "DELETE", &format!("{MESSAGES}/{unwanted}")).send().expect(204);
    set(&host, "acme", &settings(&sink));
    let sent = once(&host, &id, "sent");
    assert!(sent.get("reason").is_none(), "{sent}");
    let subjects: Vec<_> = sink.received().iter().map(|mail| mail.header("Subject")).collect();
    assert_eq!(subjects, ["early"]);
    host.stop();
}

#[test]
fn a_password_is_a_reference_and_goes_to_the_server_over_tls() {
    let sink = MailSink::start();
    let setup = Setup::with(&["email-service"]);
    fs::create_dir_all(setup.data().join("secrets")).unwrap();
    let host = setup.start();
    host.tenant("acme", &["email-service"]);
    let mut with = settings(&sink);
    for (field, value) in [
        ("server", json!("localhost")),
        ("security", json!("starttls")),
        ("ca", json!(sink.ca)),
        ("username", json!("desk")),
        ("password", json!("file:mail")),
    ] {
        with[field] = value;
    }
    set(&host, "acme", &with);
    let id = send(&host, "secret");
    let waiting = until_some("it says why", || Some(message(&host, &id)).filter(|it| it["reason"].is_string()));
    assert_eq!(waiting["reason"], "`password` in the settings refers to a secret that can't be read", "{waiting}");
    fs::write(setup_secrets(&host).join("mail"), "hunter2\n").unwrap();
    host.of("acme", "POST", &format!("{MESSAGES}/{id}/retry")).send().expect(202);
    once(&host, &id, "sent");
    let all = sink.received();
    assert_eq!(all[0].login, Some(("desk".to_owned(), "hunter2".to_owned())));
    assert!(all[0].encrypted, "{all:?}");
    // In plain text it goes to this machine only.
    with["security"] = json!("none");
    set(&host, "acme", &with);
    let id = send(&host, "local");
    once(&host, &id, "sent");
    assert_eq!(sink.received()[1].login, Some(("desk".to_owned(), "hunter2".to_owned())));
    with["server"] = json!("192.0.2.1");
    set(&host, "acme", &with);
    let id = send(&host, "never");
    let waiting = until_some("it says why", || Some(message(&host, &id)).filter(|it| it["reason"].is_string()));
    assert!(waiting["reason"].as_str().unwrap().contains("encrypted connection only"), "{waiting}");
    assert!(!host.output().contains("hunter2"), "the log has the password");
    host.stop();
}

fn setup_secrets(host: &Host) -> std::path::PathBuf {
    host.setup().data().join("secrets")
}

#[test]
fn a_certificate_that_nobody_vouches_for_gets_no_mail() {
    let sink = MailSink::start();
    let host = start(&sink);
    let mut with = settings(&sink);
    with["security"] = json!("starttls");
    set(&host, "acme", &with);
    let id = send(&host, "trusting");
    let waiting = until_some("a try failed", || Some(message(&host, &id)).filter(|it| it["last_error"].is_string()));
    assert!(waiting["last_error"].as_str().unwrap().contains("certificate"), "{waiting}");
    assert_eq!(sink.received().len(), 0);
    host.stop();
}

#[test]
fn mail_that_is_queued_when_the_host_is_killed_is_sent_once_by_the_next() {
    let mut sink = MailSink::start();
    let host = start(&sink);
    sink.leave();
    let ids: Vec<_> = (0..10).map(|number| send(&host, &format!("m{number}"))).collect();
    let host = host.killed_and_started();
    sink.come_back();
    for id in &ids {
        once(&host, id, "sent");
    }
    let mut subjects: Vec<_> = sink.received().iter().map(|mail| mail.header("Subject")).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, (0..10).map(|number| format!("m{number}")).collect::<Vec<_>>());
    host.stop();
}

#[test]
fn a_host_killed_while_it_hands_over_repeats_at_most_once_and_the_message_says_so() {
    let sink = MailSink::start();
    let host = start(&sink);
    sink.behave(Manner::Hold);
    let id = send(&host, "held");
    sink.until_received(1);
    let held = message(&host, &id);
    assert_eq!((&held["status"], &held["attempts"], &held["uncertain"]), (&json!("queued"), &json!(1), &json!(0)));
    let refused = host.of("acme", "DELETE", &format!("{MESSAGES}/{id}")).send();
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("email-service:being-sent")));
    let host = host.killed_and_started();
    sink.behave(Manner::Take);
    let sent = once(&host, &id, "sent");
    assert_eq!((&sent["attempts"], &sent["uncertain"]), (&json!(2), &json!(1)), "{sent}");
    let all = sink.received();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].header("Message-ID"), all[1].header("Message-ID"));
    assert!(host.output().contains("a message is handed over again"), "the log tells it");
    host.stop();
}

#[test]
fn two_hosts_on_one_store_send_each_of_fifty_messages_once() {
    use tenon_host::{
        app::Host,
        config::Config,
        stores::{SqliteStore, Store},
        tenancy::{Change, Dependencies, Mode, NewTenant, SettingsChange},
    };

    use crate::harness::Ask;

    let sink = MailSink::start();
    let (one, other) = (Setup::with(&["email-service"]), Setup::with(&["email-service"]));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The embedded store keeps a second process out, so both hosts are in this one.
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(one.folder().join("shared")).unwrap());
    let start = |setup: &Setup| {
        let config = Config {
            plugins: setup.plugins(),
            data: setup.data(),
            listen: ([127, 0, 0, 1], 0).into(),
            admin_listen: ([127, 0, 0, 1], 0).into(),
            dev: true,
            ..Config::default()
        };
        runtime.block_on(Host::builder().config(config).store(Arc::clone(&store)).start()).unwrap()
    };
    let first = start(&one);
    let acme: tenon_host::names::TenantId = "acme".parse().unwrap();
    let module: tenon_host::names::ModuleName = "email-service".parse().unwrap();
    runtime.block_on(async {
        first.tenants().create(NewTenant { id: acme.clone(), name: None }).await.unwrap();
        let enable = Change::Enable {
            module: module.clone(),
            version: None,
            isolation: None,
            dependencies: Dependencies::EnableToo,
        };
        first.tenants().change(&acme, enable, None, "tester", Mode::Commit).await.unwrap();
        let Value::Object(settings) = settings(&sink) else { unreachable!("it is made of braces") };
        let set = Change::SetSettings { module: module.clone(), change: SettingsChange::Replace(settings) };
        first.tenants().change(&acme, set, None, "tester", Mode::Commit).await.unwrap();
    });
    let second = start(&other);
    let ask = |host: &Host, method: &str, path: &str| {
        Ask::new(host.address(), method, path).header("x-tenant-id", "acme").by("ada", "Admin")
    };
    std::thread::scope(|scope| {
        for (host, name) in [(&first, "a"), (&second, "b")] {
            scope.spawn(move || {
                for number in 0..25 {
                    let subject = format!("{name}{number}");
                    let body = json!({ "to": "ann@example.com", "subject": subject, "text": "t", "key": subject });
                    ask(host, "POST", MESSAGES).json(&body).send().expect(202);
                }
            });
        }
    });
    until("all are sent", || {
        let page = ask(&second, "GET", &format!("{MESSAGES}?status=sent&limit=200")).send().expect(200);
        page["items"].as_array().unwrap().len() == 50
    });
    let mut subjects: Vec<_> = sink.received().iter().map(|mail| mail.header("Subject")).collect();
    let count = subjects.len();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!((count, subjects.len()), (50, 50));
    runtime.block_on(async {
        first.shutdown().await;
        second.shutdown().await;
    });
}
