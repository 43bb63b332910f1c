//! A tenant's settings for a module, from the command line to the module and back, without secrets on the way.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Host, Setup, until};

const VARIABLE: &str = "TENON_SECRET_E2E_MIRROR";

fn start(config: &str) -> Host {
    let setup = Setup::with(&["mirror"]).config(config);
    let secrets = setup.data().join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    fs::write(secrets.join("mail"), "hunter-file\n").unwrap();
    let host = setup.start_with(|command| {
        command.env(VARIABLE, "hunter-env");
    });
    host.tenant("acme", &["mirror"]);
    host
}

fn shown(host: &Host) -> Value {
    host.get("acme", "/fixtures/mirror/settings").expect(200)
}

fn told(host: &Host) -> Vec<Value> {
    host.get("acme", "/fixtures/mirror/told").expect(200).as_array().unwrap().clone()
}

fn set(host: &Host, assignments: &[&str]) {
    host.tenon(&[&["settings", "set", "acme", "mirror"], assignments].concat()).succeeds();
}

#[test]
fn what_is_set_reaches_a_running_instance_without_a_restart() {
    let host = start("");
    assert_eq!(shown(&host), json!({}), "the instance runs before anything is set");
    set(&host, &["server=mail.example", "port=25", "login.user=ada"]);
    let first = json!({ "server": "mail.example", "port": 25, "login": { "user": "ada" } });
    assert_eq!(shown(&host), first, "with the answer, the next request sees it");
    until("the instance is told", || told(&host).len() == 1);
    assert_eq!(host.json(&["settings", "get", "acme", "mirror"])["settings"], first);
    assert_eq!(host.tenon(&["settings", "get", "acme", "mirror", "login.user"]).succeeds().stdout, "\"ada\"\n");

    host.tenon(&["settings", "unset", "acme", "mirror", "port", "login.user"]).succeeds();
    assert_eq!(shown(&host), json!({ "server": "mail.example", "login": {} }));
    until("the instance is told again", || told(&host).len() == 2);
    // What is as it was is no change, and nobody is told.
    let same = host.tenon(&["settings", "set", "acme", "mirror", "server=mail.example"]).succeeds();
    assert!(same.stdout.contains("were so already"), "{}", same.stdout);

    let file = host.setup().folder().join("all.json");
    fs::write(&file, r#"{ "server": "other.example" }"#).unwrap();
    host.tenon(&["settings", "set", "acme", "mirror", "--from-file", file.to_str().unwrap()]).succeeds();
    assert_eq!(shown(&host), json!({ "server": "other.example" }), "all are replaced");
    host.tenon(&["settings", "unset", "acme", "mirror"]).succeeds();
    assert_eq!(shown(&host), json!({}));
    until("the instance was told of each change", || told(&host).len() == 4);
    assert_eq!(told(&host)[0], first, "it sees the new ones");
    // All of this was one instance.
    let state = host.json(&["tenants", "show", "acme"])["enabledModules"][0]["state"].clone();
    assert_eq!((&state["is"], &state["generation"]), (&json!("running"), &json!(1)), "{state}");
    host.stop();
}

#[test]
fn what_does_not_fit_the_schema_is_refused_whole_and_all_at_once() {
    let host = start("");
    set(&host, &["server=mail.example"]);
    let wrong = ["server=no", "port=99999", "colour=red", "key=hunter-plain", "login.password=hunter-deep"];
    let refused = host.tenon(&[&["settings", "set", "acme", "mirror"], &wrong[..]].concat());
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
    let text = refused.stderr;
    assert!(text.contains("SETTINGS_INVALID"), "{text}");
    for place in ["/server", "/port", "colour", "/key", "/login/password"] {
        assert!(text.contains(place), "`{place}` is not among the problems:\n{text}");
    }
    assert!(!text.contains("hunter"), "a value is repeated:\n{text}");
    assert_eq!(shown(&host), json!({ "server": "mail.example" }), "nothing was written");

    let path = "/admin/v1/tenants/acme/settings/mirror";
    let put = host.ask_operators("PUT", path).token(&host.token()).json(&json!({ "port": 25 })).send();
    let problem = put.expect(422);
    assert_eq!(problem["code"], "SETTINGS_INVALID", "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("server"), "{problem}");
    // Taken away where the schema needs it, by a key.
    let unset = host.tenon(&["settings", "unset", "acme", "mirror", "server"]);
    assert!(unset.stderr.contains("SETTINGS_INVALID"), "{}", unset.stderr);
    let stale = host.ask_operators("PATCH", path).token(&host.token()).header("if-match", "\"1\"");
    assert_eq!(stale.json(&json!({ "port": 1 })).send().expect(412)["code"], "PRECONDITION_FAILED");
    host.tenon(&["settings", "set", "acme", "nobody", "a=1"]).refuses(
        3,
        "MODULE_NOT_FOUND",
        "Module not found in registry: nobody",
    );
    host.stop();
}

#[test]
fn a_secret_goes_to_the_module_and_nowhere_else() {
    let host = start("[log]\nfilter = \"debug\"\n");
    let reference = format!("env:{VARIABLE}");
    set(&host, &["server=mail.example", &format!("key={reference}"), "login.password=file:mail"]);
    let seen = json!({
        "server": "mail.example", "key": "hunter-env", "login": { "password": "hunter-file" },
    });
    assert_eq!(shown(&host), seen, "the module has them");
    let kept = json!({ "server": "mail.example", "key": reference, "login": { "password": "file:mail" } });
    assert_eq!(host.json(&["settings", "get", "acme", "mirror"])["settings"], kept);
    // What a foreign program wrote in plain text is not shown either.
    let all = [
        host.tenon(&["settings", "get", "acme", "mirror"]).succeeds().stdout,
        host.tenon(&["settings", "get", "acme", "mirror", "key"]).succeeds().stdout,
        host.json(&["tenants", "show", "acme"]).to_string(),
        host.json(&["status"]).to_string(),
        host.ask_operators("GET", "/admin/v1/tenants/acme/settings/mirror").token(&host.token()).send().text(),
    ];
    for text in &all {
        assert!(!text.contains("hunter"), "{text}");
    }
    // One that can't be had is left out, and the log says which and why, without more.
    set(&host, &["key=file:nowhere"]);
    assert_eq!(shown(&host), json!({ "server": "mail.example", "login": { "password": "hunter-file" } }));
    until("the log names what is missing", || host.output().contains("key: "));
    assert!(!host.output().contains("hunter"), "a secret is in the log:\n{}", host.output());
    host.stop();
}

#[test]
fn a_secret_in_plain_text_that_a_foreign_program_wrote_is_shown_nowhere() {
    let setup = start("").stop();
    let store = rusqlite::Connection::open(setup.data().join("tenon.db")).unwrap();
    let body: String = store.query_row("SELECT document FROM tenants WHERE id = 'acme'", [], |row| row.get(0)).unwrap();
    let mut document: Value = serde_json::from_str(&body).unwrap();
    document["settings"] = json!({ "mirror": { "server": "mail.example", "key": "hunter-plain" } });
    store.execute("UPDATE tenants SET document = ?1 WHERE id = 'acme'", [document.to_string()]).unwrap();
    drop(store);
    let host = setup.start();
    let shown = host.json(&["settings", "get", "acme", "mirror"])["settings"].clone();
    assert_eq!(shown, json!({ "server": "mail.example", "key": "***" }));
    assert!(!host.json(&["tenants", "show", "acme"]).to_string().contains("hunter"));
    assert_eq!(
        host.get("acme", "/fixtures/mirror/settings").expect(200)["key"],
        Value::Null,
        "nor given to the module"
    );
    assert!(!host.output().contains("hunter"), "{}", host.output());
    host.stop();
}

#[test]
fn a_busy_instance_is_told_too_and_nobody_loses_a_place() {
    let host = start("[limits.modules.mirror]\nconcurrency = 1\n");
    let (tenants, ask) = (host.tenants(), host.of("acme", "GET", "/fixtures/mirror/hold"));
    let holding = std::thread::spawn(move || ask.send().expect_text("released"));
    let inside = || host.json(&["tenants", "show", "acme"])["enabledModules"][0]["state"]["inside"] == 1;
    until("the only place is taken", inside);
    let refused = host.get("acme", "/fixtures/mirror/told");
    assert_eq!(refused.expect(429)["code"], "TOO_MANY_REQUESTS", "{tenants} is full");
    set(&host, &["server=mail.example"]);
    until("nobody is inside but the one who holds", inside);
    host.tenon(&["flags", "set", "acme", "release=true"]).succeeds();
    holding.join().unwrap();
    until("the hook ran while the instance was full", || told(&host) == [json!({ "server": "mail.example" })]);
    host.stop();
}
