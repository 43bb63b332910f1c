//! Flags that operators define for all tenants, in a file: who decides, and what a change of the file reaches.

use std::{fs, thread};

use serde_json::{Value, json};

use crate::harness::{Host, Ran, Setup, until};

const CONFIG: &str = "[flags]\ndefinitions = \"flags.json\"\n";

fn write(setup: &Setup, content: &str) {
    let beside = setup.folder().join("flags.json.part");
    fs::write(&beside, content).unwrap();
    fs::rename(beside, setup.folder().join("flags.json")).unwrap();
}

fn define(setup: &Setup, flags: &Value) {
    write(setup, &json!({ "flags": flags }).to_string());
}

fn start(modules: &[&str], flags: &Value) -> Host {
    let setup = Setup::with(modules).config(CONFIG);
    define(&setup, flags);
    setup.start()
}

fn switch(state: &str, default: Value, targeting: Value) -> Value {
    json!({ "state": state, "variants": { "on": true, "off": false }, "defaultVariant": default, "targeting": targeting })
}

/// What module `asks` sees of a flag.
fn seen(host: &Host, tenant: &str, flag: &str) -> String {
    let answer = host.get(tenant, &format!("/fixtures/asks/flag/{flag}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

fn listed(host: &Host, tenant: &str, flag: &str) -> Value {
    host.json(&["flags", "get", tenant, flag])
}

fn readiness(host: &Host) -> String {
    host.ask_operators("GET", "/readyz?verbose").token(&host.token()).send().text()
}

#[test]
fn the_tenant_decides_then_the_definition_then_the_module() {
    let only_acme = json!({ "if": [{ "==": [{ "var": "tenantId" }, "acme"] }, "on", null] });
    let sticky = json!({ "fractional": [["on", 1], ["off", 0]] });
    let host = start(
        &["asks"],
        &json!({
            "lit": switch("ENABLED", Value::Null, only_acme.clone()),
            "new": switch("ENABLED", json!("off"), only_acme),
            "rolled-out": switch("ENABLED", json!("off"), sticky),
            "theme": { "state": "ENABLED", "variants": { "dark": "d", "light": "l" }, "defaultVariant": "light" },
        }),
    );
    host.tenant("acme", &["asks"]);
    host.tenant("other", &["asks"]);
    assert_eq!((seen(&host, "acme", "new"), seen(&host, "other", "new")), ("true".into(), "false".into()));
    assert_eq!(seen(&host, "other", "rolled-out"), "true", "by the tenant's id");
    assert_eq!(seen(&host, "other", "lit"), "true", "the definition leaves it to the module");
    let expected = json!({ "name": "lit", "value": true, "source": "module", "module": "asks", "reason": "DEFAULT" });
    assert_eq!(listed(&host, "other", "lit"), expected);
    let expected =
        json!({ "name": "lit", "value": true, "source": "definition", "variant": "on", "reason": "TARGETING_MATCH" });
    assert_eq!(listed(&host, "acme", "lit"), expected);
    let expected =
        json!({ "name": "theme", "value": "l", "source": "definition", "variant": "light", "reason": "STATIC" });
    assert_eq!(listed(&host, "acme", "theme"), expected);
    host.tenon(&["flags", "set", "acme", "new=false", "lit=false"]).succeeds();
    assert_eq!((seen(&host, "acme", "new"), seen(&host, "acme", "lit")), ("false".into(), "false".into()));
    assert_eq!(listed(&host, "acme", "new")["source"], "tenant");
    host.tenon(&["flags", "unset", "acme", "new"]).succeeds();
    assert_eq!(seen(&host, "acme", "new"), "true");
    let Ran { stdout, stderr, .. } = host.tenon(&["flags", "get", "acme", "new"]).succeeds();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("true\n", "from definition, variant on (TARGETING_MATCH)\n"));
    let table = host.tenon(&["flags", "list", "acme"]).succeeds().stdout;
    let row =
        |flag: &str| table.lines().find(|line| line.starts_with(flag)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row("new"), ["new", "true", "definition", "on", "TARGETING_MATCH"], "{table}");
    assert_eq!(row("lit"), ["lit", "false", "tenant", "-", "STATIC"], "{table}");
    assert_eq!(row("theme"), ["theme", "\"l\"", "definition", "light", "STATIC"], "{table}");
    host.stop();
}

#[test]
fn a_change_of_the_file_reaches_an_instance_at_work_without_a_restart() {
    let host = start(&["mirror"], &json!({ "bright": switch("ENABLED", json!("on"), json!({})) }));
    host.tenant("acme", &["mirror"]);
    // The request holds its place until its instance sees the flag.
    thread::scope(|scope| {
        let held = scope.spawn(|| host.get("acme", "/fixtures/mirror/hold"));
        until("the request is inside", || host.json(&["stats"])["tenants"]["instances"] == 1);
        define(host.setup(), &json!({ "release": switch("ENABLED", json!("on"), json!({})) }));
        let answer = held.join().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "released"));
    });
    assert_eq!(listed(&host, "acme", "bright")["source"], "module", "it is defined no more");
    let revision = |host: &Host| host.json(&["status"])["flagDefinitions"]["revision"].clone();
    let before = revision(&host);
    define(host.setup(), &json!({ "release": switch("ENABLED", json!("off"), json!({})) }));
    until("the change is in force", || revision(&host) != before);
    assert_eq!(listed(&host, "acme", "release")["value"], false);
    assert_eq!(host.json(&["stats"])["tenants"]["instances"], 1);
    // A tenant that comes into memory later has the same.
    host.tenant("later", &["mirror"]);
    assert_eq!(listed(&host, "later", "release")["variant"], "off");
    host.stop();
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_of_until_it_is_good_again() {
    let host = start(&["asks"], &json!({ "new": switch("ENABLED", json!("on"), json!({})) }));
    host.tenant("acme", &["asks"]);
    assert_eq!(seen(&host, "acme", "new"), "true");
    assert!(readiness(&host).contains("[+] flags: 1 flags of "), "{}", readiness(&host));
    let wrong = json!({ "new": switch("ENABLED", json!("no"), json!({ "frobnicate": [] })) });
    let problems = [
        "flags.new.defaultVariant: `no` is no variant; there are: off, on",
        "flags.new.targeting.frobnicate: there is no such operator",
    ];
    define(host.setup(), &wrong);
    until("it is told", || readiness(&host).contains(&format!("stays as it was: {}", problems.join("; "))));
    assert!(readiness(&host).contains("[-] flags: "), "{}", readiness(&host));
    assert!(readiness(&host).ends_with("\nready\n"), "tenants are served all the same: {}", readiness(&host));
    let status = host.json(&["status"]);
    assert_eq!(status["flagDefinitions"]["problems"], json!(problems));
    let told = host.tenon(&["status"]).succeeds().stdout;
    assert!(problems.iter().all(|problem| told.contains(problem)), "{told}");
    for problem in problems {
        assert!(host.output().contains(&format!("flags stay defined as they were: {problem}")), "{}", host.output());
    }
    assert_eq!(seen(&host, "acme", "new"), "true", "the last good one holds");
    fs::remove_file(host.setup().folder().join("flags.json")).unwrap();
    until("that it is gone is told", || readiness(&host).contains("the file can't be read"));
    assert_eq!(seen(&host, "acme", "new"), "true");
    define(host.setup(), &json!({ "new": switch("ENABLED", json!("off"), json!({})) }));
    until("the good one is in force", || seen(&host, "acme", "new") == "false");
    until("nothing is wrong any more", || host.json(&["status"])["flagDefinitions"]["problems"] == json!([]));
    host.stop();
}

#[test]
fn a_switched_off_flag_is_off_whatever_modules_say() {
    let host = start(&["asks", "tasks", "hr-core"], &json!({ "lit": switch("DISABLED", json!("on"), json!({})) }));
    host.tenant("acme", &["asks", "hr-core", "tasks"]);
    assert_eq!(seen(&host, "acme", "lit"), "false", "the module's own default is true");
    let expected = json!({ "name": "lit", "value": false, "source": "definition", "reason": "DISABLED" });
    assert_eq!(listed(&host, "acme", "lit"), expected);
    host.tenon(&["flags", "set", "acme", "lit=true"]).succeeds();
    assert_eq!(seen(&host, "acme", "lit"), "true", "what the tenant set stands above");
    // A feature that guards an endpoint, opened and switched off.
    let import = || host.of("acme", "POST", "/api/v1/tasks/items/import").body("text/csv", "title\nA\n").send();
    import().refuses(403, "FEATURE_NOT_ENABLED", "Feature bulk-import is not enabled");
    define(host.setup(), &json!({ "bulk-import": switch("ENABLED", json!("on"), json!({})) }));
    until("the endpoint is open", || import().status != 403);
    define(host.setup(), &json!({ "bulk-import": switch("DISABLED", json!("on"), json!({})) }));
    until("the endpoint is closed", || import().status == 403);
    host.stop();
}

#[test]
fn no_host_starts_with_flags_that_nobody_meant() {
    let setup = Setup::new().config(CONFIG);
    let wrong = json!({ "a": { "state": "on", "variants": {} } });
    define(&setup, &wrong);
    let refused = Ran::of(setup.command());
    let lines = [
        "flags.a.state: must be \"ENABLED\" or \"DISABLED\"",
        "flags.a.variants: must be an object with at least one variant",
    ];
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(lines.iter().all(|line| refused.stderr.contains(line)), "{refused:?}");
    assert!(!setup.data().exists(), "nothing was begun");
    let check = || {
        let mut command = setup.command();
        command.arg("--check-config");
        Ran::of(command)
    };
    let refused = check();
    assert_eq!((refused.code, refused.stderr.lines().count()), (2, 2), "{refused:?}");
    assert!(lines.iter().all(|line| refused.stderr.contains(&format!("flags.json: {line}"))), "{refused:?}");
    fs::remove_file(setup.folder().join("flags.json")).unwrap();
    assert!(check().stderr.contains("the file can't be read"));
    define(&setup, &json!({}));
    assert_eq!(check().code, 0);
}
