//! Every command once against a running host: what it prints where, what it prints for programs, how it ends.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::harness::{Host, NewModule, Ran, Setup, tenon};

fn start() -> Host {
    let host = Setup::with(&["hr-core", "tasks"]).start();
    host.tenant("acme", &["hr-core"]);
    host
}

/// Runs a command twice: for people, where these texts must be on stdout, and for programs.
fn shows(host: &Host, arguments: &[&str], texts: &[&str]) -> Value {
    let ran = host.tenon(arguments).succeeds();
    for text in texts {
        assert!(ran.stdout.contains(text), "{text:?} is not on stdout: {ran:?}");
    }
    assert!(!ran.stdout.contains('\u{1b}'), "NO_COLOR is set: {ran:?}");
    host.json(arguments)
}

#[test]
fn modules_are_listed_shown_and_ordered() {
    let host = start();
    let listed = shows(&host, &["modules", "list"], &["MODULE", "hr-core", "tasks", "1.1.0", "running", "available"]);
    assert_eq!(listed["modules"].as_array().unwrap().len(), 2);
    let shown =
        shows(&host, &["modules", "show", "tasks"], &["tasks 1.1.0", "hr-core ^1.1", "GET /api/v1/tasks/items"]);
    assert_eq!(shown["versions"][0]["manifest"]["pricing"]["monthly-price"], "29.99", "exact decimals are texts");
    let tree = shows(&host, &["modules", "tree", "tasks"], &["tasks 1.1.0\n  hr-core ^1.1"]);
    assert_eq!(tree["requires"], json!(["hr-core"]));
    let order = shows(&host, &["modules", "order", "tasks", "hr-core"], &["hr-core\ntasks\n"]);
    assert_eq!(order["order"], json!(["hr-core", "tasks"]));
    for what in ["show", "tree", "order"] {
        let refused = host.tenon(&["modules", what, "nothing"]);
        refused.refuses(3, "MODULE_NOT_FOUND", "Module not found in registry: nothing");
    }
}

#[test]
fn tenants_are_listed_made_shown_loaded_suspended_resumed_and_deleted() {
    let host = start();
    shows(&host, &["tenants", "show", "acme"], &["acme", "hr-core", "active"]);
    let made = host.json(&["tenants", "create", "other", "--name", "Other Inc."]);
    assert_eq!(
        (&made["tenantId"], &made["name"], &made["status"]),
        (&json!("other"), &json!("Other Inc."), &json!("active"))
    );
    let listed = shows(&host, &["tenants", "list"], &["acme", "other", "Other Inc."]);
    let ids: Vec<&Value> = listed["tenants"].as_array().unwrap().iter().map(|tenant| &tenant["tenantId"]).collect();
    assert_eq!(ids, ["acme", "other"]);
    shows(&host, &["tenants", "load", "acme"], &["hr-core\n"]);
    let empty = host.tenon(&["tenants", "load", "other"]).succeeds();
    assert_eq!((empty.stdout.as_str(), empty.stderr.trim()), ("", "no module runs for tenant other"));
    assert_eq!(shows(&host, &["tenants", "suspend", "other"], &["other"])["tenantId"], "other");
    assert_eq!(shows(&host, &["tenants", "resume", "other"], &["other"])["tenantId"], "other");
    host.tenon(&["tenants", "delete", "other"]).succeeds();
    host.tenon(&["tenants", "show", "other"]).refuses(3, "TENANT_NOT_FOUND", "Tenant not found: other");
}

#[test]
fn modules_are_enabled_and_disabled() {
    let host = start();
    let plan = shows(&host, &["enable", "acme", "tasks", "--dry-run"], &["tasks"]);
    assert_eq!((&plan["dryRun"], &plan["plan"]["start"]), (&json!(true), &json!(["tasks"])));
    let enabled = host.json(&["enable", "acme", "tasks", "--version", "^1"]);
    assert_eq!((&enabled["changed"], &enabled["modules"]), (&json!(true), &json!(["hr-core", "tasks"])));
    let again = host.json(&["enable", "acme", "tasks", "--version", "^1"]);
    assert_eq!(again["changed"], false, "{again}");
    let refused = host.tenon(&["enable", "acme", "tasks", "--version", "one"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let plan = host.json(&["disable", "acme", "hr-core", "--cascade", "--dry-run"]);
    assert_eq!(plan["disabled"], json!(["tasks", "hr-core"]), "dependents go first: {plan}");
    let disabled = shows(&host, &["disable", "acme", "tasks", "--dry-run"], &["tasks"]);
    assert_eq!(disabled["disabled"], json!(["tasks"]));
    host.tenon(&["disable", "acme", "tasks"]).succeeds();
}

#[test]
fn flags_are_listed_read_set_and_taken_back() {
    let host = start();
    host.tenon(&["enable", "acme", "tasks"]).succeeds();
    shows(&host, &["flags", "list", "acme"], &["bulk-import", "false", "module tasks"]);
    let flag = shows(&host, &["flags", "get", "acme", "bulk-import"], &["false\n"]);
    assert_eq!((&flag["value"], &flag["source"]), (&json!(false), &json!("module")));
    host.tenon(&["flags", "set", "acme", "bulk-import=true", "theme=dark", "rows=20"]).succeeds();
    let flags = host.json(&["flags", "list", "acme"]);
    let value = |name: &str| {
        let found = flags["flags"].as_array().unwrap().iter().find(|flag| flag["name"] == name);
        found.map(|flag| flag["value"].clone())
    };
    assert_eq!((value("theme"), value("rows")), (Some(json!("dark")), Some(json!(20))), "{flags}");
    assert_eq!(host.tenon(&["flags", "get", "acme", "bulk-import"]).stdout, "true\n");
    host.tenon(&["flags", "unset", "acme", "bulk-import"]).succeeds();
    assert_eq!(host.tenon(&["flags", "get", "acme", "bulk-import"]).stdout, "false\n");
    let refused = host.tenon(&["flags", "unset", "acme", "bulk-import"]);
    refused.refuses(3, "FLAG_NOT_FOUND", "Flag not found: bulk-import");
    let refused = host.tenon(&["flags", "set", "acme", "no-value", "=x"]);
    assert_eq!((refused.code, refused.stderr.matches("error: ").count()), (2, 2), "all are told: {refused:?}");
}

#[test]
fn status_and_stats_are_shown() {
    let host = start();
    host.get("acme", "/api/v1/hr/employees").expect(200);
    let status = shows(&host, &["status"], &["state", "ready", "in dev mode", "hr-core"]);
    assert_eq!((&status["state"], &status["store"]["available"]), (&json!("ready"), &json!(true)), "{status}");
    assert_eq!((&status["modules"], &status["tenantsInMemory"]), (&json!(2), &json!(1)), "{status}");
    for quiet in ["blocked", "rejected", "leaving", "failing", "resident"] {
        assert_eq!(status[quiet], json!([]), "{status}");
    }
    let stats = shows(&host, &["stats"], &["registry", "libraries", "hr-core"]);
    assert_eq!(stats["libraries"]["live"], 1, "{stats}");
    assert_eq!(stats["modules"][0]["requests"], 1, "{stats}");
}

#[test]
fn probes_are_open_and_everything_else_needs_the_token() {
    let host = start();
    for open in ["/livez", "/readyz", "/openapi.json"] {
        assert_eq!(host.ask_operators("GET", open).send().status, 200, "{open}");
    }
    let document = host.ask_operators("GET", "/openapi.json").send().json();
    assert!(document["paths"]["/admin/v1/tenants/{tenant}/modules/{module}"]["put"].is_object());
    for closed in ["/admin/v1/status", "/readyz?verbose", "/admin/v1/none"] {
        host.ask_operators("GET", closed).send().refuses(401, "UNAUTHENTICATED", "A token is required");
        let refused = host.ask_operators("GET", closed).token("wrong").send();
        refused.refuses(401, "UNAUTHENTICATED", "The token is not valid");
    }
    let elsewhere = host.ask_operators("GET", "/livez").header("host", "evil.example").send();
    assert_eq!((elsewhere.status, elsewhere.json()["code"].as_str()), (403, Some("FORBIDDEN")));
    let elsewhere = host.of("acme", "GET", "/api/v1/hr/employees").header("host", "evil.example").send();
    elsewhere.refuses(403, "FORBIDDEN", "With --dev only requests to loopback hosts are served");
}

#[test]
fn a_wrong_token_an_absent_one_and_a_host_that_is_not_there_are_told_apart() {
    let host = start();
    let token = host.setup().folder().join("wrong.token");
    fs::write(&token, "0".repeat(43)).unwrap();
    let refused = host.tenon(&["status", "--token-file", token.to_str().unwrap()]);
    assert_eq!(refused.code, 5, "{refused:?}");
    let refused = host.tenon(&["status", "--token-file", "nowhere.token"]);
    refused.fails(5, "no operators' token could be read");

    let url = format!("http://{}", host.operators());
    let setup = host.stop();
    let mut command = tenon(["status", "--url", &url]);
    command.env("TENON_DATA", setup.data());
    let refused = Ran::of(command);
    assert_eq!((refused.code, refused.stdout.as_str()), (6, ""), "{refused:?}");
    assert!(refused.stderr.starts_with(&format!("error: no host answers at {url}: ")), "{refused:?}");
}

#[test]
fn the_operators_token_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let host = start();
    let mode = |path: &str| fs::metadata(host.setup().data().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("admin.token"), mode("")), (0o600, 0o700));
}

#[test]
fn a_configuration_is_checked_without_starting_a_host() {
    let setup = Setup::new().config("[limits]\nbody-bytes = \"64KiB\"\n");
    let mut command = setup.command();
    command.arg("--check-config");
    let ran = Ran::of(command).succeeds();
    assert!(!setup.data().exists(), "nothing was started: {ran:?}");

    let setup = Setup::new().config("[limits]\nbody-byte = 1\n[auth]\nleeway = \"soon\"\n");
    let mut command = setup.command();
    command.arg("--check-config");
    let ran = Ran::of(command);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    for text in ["body-byte", "body-bytes", "leeway"] {
        assert!(ran.stderr.contains(text), "all problems are told: {ran:?}");
    }
    assert_eq!(Ran::of(setup.command()).code, 2, "a host does not start on it either");
}

#[test]
fn files_that_the_configuration_names_are_checked_too() {
    use std::os::unix::fs::PermissionsExt;
    let check = |config: &str, file: Option<(&str, u32)>| {
        let setup = Setup::new().config(config);
        if let Some((content, mode)) = file {
            let path = setup.folder().join("secret");
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut command = setup.command();
        command.arg("--check-config");
        let checked = Ran::of(command);
        assert!(!setup.data().exists(), "nothing was made: {checked:?}");
        (checked, setup)
    };
    let secret = "s".repeat(40);
    let mongo = "[store]\nkind = \"mongodb\"\n";
    let in_file = format!("{mongo}uri-file = \"secret\"\n");
    let cached = format!("{mongo}uri = \"mongodb://127.0.0.1:1/t\"\n[cache]\nuri-file = \"secret\"\n");
    let tickets = "[ofrep]\nticket-key-file = \"secret\"\n";
    let key = "[[auth.keys]]\nid = \"a\"\nissuer = \"i\"\naudience = \"t\"\nalgorithm = \"HS256\"\nfile = \"secret\"\n";
    let set = "[[auth.jwks]]\nissuer = \"i\"\naudience = \"t\"\nfile = \"secret\"\n";
    for (config, bad) in [
        (tickets, &[None, Some((&*secret, 0o644)), Some(("short", 0o600))][..]),
        (&in_file, &[None, Some(("nonsense", 0o600)), Some(("mongodb://127.0.0.1:1", 0o600))]),
        (&cached, &[None, Some(("nonsense", 0o600)), Some(("redis://", 0o600))]),
        (key, &[None, Some(("short", 0o600))]),
        (set, &[None, Some(("nonsense", 0o600))]),
    ] {
        for file in bad {
            let (refused, setup) = check(config, *file);
            assert_eq!((refused.code, &*refused.stdout), (2, ""), "{config} {file:?}: {refused:?}");
            assert!(!refused.stderr.contains("unknown key"), "{config}: {refused:?}");
            assert_ne!(Ran::of(setup.command()).code, 0, "nor does a host start: {config} {file:?}");
        }
    }
    for (config, content) in [
        (tickets, &*secret),
        (&in_file, "mongodb://u:p@127.0.0.1:1/t\n"),
        (&cached, "redis://:p@127.0.0.1:1"),
        (key, &secret),
    ] {
        let (checked, _) = check(config, Some((content, 0o600)));
        assert_eq!(checked.code, 0, "{config}: {checked:?}");
    }
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let host = Setup::new().start();
    host.tenant("acme", &[]);
    let made = host.tenon(&["keys", "create", "acme", "--name", "shop"]).succeeds();
    let key = made.stdout.strip_suffix('\n').unwrap();
    assert!(key.starts_with("tenon_") && !key.contains(char::is_whitespace), "the key alone is data: {made:?}");
    let id = key.split('.').nth(1).unwrap();
    assert!(made.stderr.contains(id) && !made.stderr.contains(key), "{made:?}");
    let listed = host.tenon(&["keys", "list", "acme"]).succeeds().stdout;
    assert!(listed.lines().nth(1).unwrap().starts_with(&format!("{id}  shop  flags:read  ")), "{listed}");
    let json = host.json(&["keys", "list", "acme"]);
    assert_eq!((&json["keys"][0]["id"], &json["keys"][0]["createdBy"]), (&id.into(), &"admin".into()));
    let refused = host.tenon(&["keys", "create", "acme", "--name", "x", "--scope", "all"]);
    assert!(refused.code == 2 && refused.stderr.contains("flags:read"), "{refused:?}");
    host.tenon(&["keys", "revoke", "acme", id]).succeeds();
    let text = format!("API key not found: {id}");
    host.tenon(&["keys", "revoke", "acme", id]).refuses(3, "API_KEY_NOT_FOUND", &text);
    let ran = host.tenon(&["keys", "list", "acme"]).succeeds();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "the tenant has no keys\n"));
    host.stop();
}

#[test]
fn dev_mode_is_for_loopback_alone() {
    for (listen, admin) in [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "[::]:0")] {
        let setup = Setup::new();
        let mut command = tenon(["serve", "--dev", "--listen", listen, "--admin-listen", admin, "--plugins"]);
        command.arg(setup.plugins()).arg("--data").arg(setup.data()).current_dir(setup.folder());
        let ran = Ran::of(command);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains("dev") && ran.stderr.contains("loopback"), "{ran:?}");
        assert!(!setup.data().exists(), "nothing was started");
    }
}

#[test]
fn check_tells_every_problem_and_ends_with_seven() {
    let setup = Setup::with(&["hr-core"]);
    setup.place("broken.so", b"no library");
    setup.add_new("lonely.so", &NewModule::named("lonely", "1.0.0", "[dependencies]\nnowhere = \"^1\""));
    let ran = Ran::of(tenon(["check", setup.plugins().to_str().unwrap()]));
    assert_eq!(ran.code, 7, "{ran:?}");
    for text in ["broken.so", "MANIFEST_INVALID: is not an ELF file", "missing required dependencies: nowhere", "ok "] {
        assert!(ran.stdout.contains(text), "{text:?} is not in {ran:?}");
    }
    assert!(ran.stderr.contains("3 files examined, 2 with problems"), "{ran:?}");
    let absent = Ran::of(tenon(["check", "nowhere.so"]));
    assert_eq!(absent.code, 7, "{absent:?}");
}

#[test]
fn wrong_usage_is_two_and_help_is_data() {
    for arguments in [&[] as &[&str], &["nothing"], &["enable", "acme"], &["check"], &["tenants", "show", ""]] {
        let ran = Ran::of(tenon(arguments));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
    }
    for arguments in [["--help"], ["--version"]] {
        let ran = Ran::of(tenon(arguments)).succeeds();
        assert!(!ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran:?}");
    }
    let script = Ran::of(tenon(["completions", "bash"])).succeeds();
    assert!(script.stdout.contains("tenon"), "{script:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let host = start();
    let tenon = host.command(&["modules", "show", "tasks"]);
    let text = format!("{} modules show tasks | head -c 1", tenon.get_program().to_str().unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &text]).envs(tenon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(command).succeeds();
    assert_eq!((ran.stdout.len(), ran.stderr.as_str()), (1, ""), "{ran:?}");
}
