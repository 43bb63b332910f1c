//! The command line without a host: arguments, exit codes, what is printed for which answer.

mod away;

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
};

use clap::{CommandFactory, Parser, error::ErrorKind};
use serde_json::{Value, json};

use super::{
    answers,
    args::{self, Command, Remote, Tenon},
    check,
    client::{Client, segment},
    enabling, exit,
    failure::{Failure, Refused},
    flags, modules, report,
    table::Table,
    tenants, token,
};
use crate::manifest::sample::Sample;

fn parsed(line: &str) -> Command {
    Tenon::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}")).command
}

fn view<T: serde::de::DeserializeOwned>(answer: Value) -> T {
    serde_json::from_value(answer).unwrap()
}

#[test]
fn arguments_fit_together() {
    Tenon::command().debug_assert();
}

#[test]
fn every_documented_command_is_read() {
    for line in [
        "tenon serve --config a.toml --plugins p --data d --listen 127.0.0.1:0 --admin-listen [::1]:0 --dev --check-config",
        "tenon check a.so plugins --json",
        "tenon modules list --json",
        "tenon modules show tasks",
        "tenon modules tree tasks",
        "tenon modules order tasks hr-core",
        "tenon tenants list",
        "tenon tenants create acme --name Acme",
        "tenon tenants show acme",
        "tenon tenants load acme",
        "tenon tenants suspend acme",
        "tenon tenants resume acme",
        "tenon tenants cors acme",
        "tenon tenants cors acme --origin https://a.example --origin http://localhost:3000 --max-age 600 --credentials",
        "tenon tenants cors acme --clear",
        "tenon tenants delete acme --purge",
        "tenon enable acme tasks --version ^1 --isolation library --with-dependencies --dry-run",
        "tenon disable acme tasks --cascade --dry-run",
        "tenon flags list acme",
        "tenon flags get acme export",
        "tenon flags set acme export=true theme=dark",
        "tenon flags unset acme export",
        "tenon keys list acme",
        "tenon keys create acme --name shop --scope flags:read --expires 2030-01-01T00:00:00Z",
        "tenon keys revoke acme 5f1c0a9e7b3d2468",
        "tenon reload",
        "tenon reload tasks",
        "tenon stats",
        "tenon status",
        "tenon completions bash",
    ] {
        parsed(line);
    }
    let Command::Tenants { remote, .. } = parsed("tenon tenants show acme --url http://h:1 --token-file t --json")
    else {
        panic!("another command");
    };
    assert_eq!((&*remote.url, remote.token_file.as_deref(), remote.json), ("http://h:1", Some(Path::new("t")), true));
}

#[test]
fn bad_usage_is_refused() {
    for (line, kind) in [
        ("tenon", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("tenon again", ErrorKind::InvalidSubcommand),
        ("tenon modules", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("tenon enable acme", ErrorKind::MissingRequiredArgument),
        ("tenon enable acme tasks --isolation none", ErrorKind::InvalidValue),
        ("tenon flags set acme", ErrorKind::MissingRequiredArgument),
        ("tenon keys create acme", ErrorKind::MissingRequiredArgument),
        ("tenon serve --listen here", ErrorKind::ValueValidation),
        ("tenon check", ErrorKind::MissingRequiredArgument),
    ] {
        let error = Tenon::try_parse_from(line.split_whitespace()).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (kind, i32::from(exit::USAGE)), "{line}");
    }
    let empty = Tenon::try_parse_from(["tenon", "tenants", "show", ""]).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::InvalidValue);
}

#[test]
fn statuses_become_exit_codes() {
    for (code, statuses) in [
        (0, &[200, 201][..]),
        (2, &[400, 422, 428]),
        (3, &[404]),
        (4, &[409, 412]),
        (5, &[401, 403]),
        (6, &[429, 503, 504]),
        (1, &[405, 413, 418, 500, 502]),
    ] {
        for status in statuses {
            assert_eq!(exit::of_status(*status), code, "{status}");
        }
    }
}

#[test]
fn refusals_are_told_in_the_hosts_words() {
    let refused = |status, body| Failure::Refused(Box::new(Refused::read(status, &body).unwrap()));
    let dependents = refused(
        409,
        json!({ "code": "MODULE_HAS_DEPENDENTS", "message": "Cannot disable hr-core: required by: clinic, tasks" }),
    );
    insta::assert_snapshot!(dependents.lines(), @r"
    error: Cannot disable hr-core: required by: clinic, tasks
    code: MODULE_HAS_DEPENDENTS
    hint: `--cascade` disables them as well
    ");
    let failed = refused(
        503,
        json!({ "code": "MODULE_LOAD_FAILED", "message": "Failed to load module: tasks", "reason": "it panicked",
            "instance": "urn:uuid:0197" }),
    );
    insta::assert_snapshot!(failed.lines(), @r"
    error: Failed to load module: tasks
    code: MODULE_LOAD_FAILED
    reason: it panicked
    request: 0197
    ");
    assert_eq!((dependents.exit(), failed.exit()), (exit::CONFLICT, exit::UNAVAILABLE));
}

#[test]
fn an_absent_token_names_the_files_that_were_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let failure = token::find(None, Some(folder.path().join("data"))).unwrap_err();
    let lines = failure.lines().replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(lines, @r"
    error: no operators' token could be read
    tried: `FOLDER/data/admin.token` can't be read: No such file or directory (os error 2)
    tried: `./data/admin.token` can't be read: No such file or directory (os error 2)
    hint: the host keeps it in `admin.token` in its data folder: name the file with
    hint: `--token-file` or TENON_TOKEN_FILE, or the folder with TENON_DATA
    ");
    assert_eq!(failure.exit(), exit::DENIED);
}

/// A file with a token, as a host makes it.
fn token_file(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("admin.token");
    crate::identity::AdminToken::load_or_create(&file).unwrap();
    file
}

#[test]
fn a_named_token_is_the_only_one_that_counts() {
    let folder = tempfile::tempdir().unwrap();
    let file = token_file(folder.path());
    assert!(token::find(Some(&file), None).is_ok());
    assert!(token::find(None, Some(folder.path().to_owned())).is_ok());
    let absent = token::find(Some(Path::new("/absent")), Some(folder.path().to_owned()));
    assert!(matches!(absent, Err(Failure::Token(tried)) if tried.len() == 1));
}

/// Asks for the status at `url`.
fn asked(folder: &Path, url: &str) -> Failure {
    let remote = Remote { url: url.to_owned(), token_file: Some(token_file(folder)), json: false };
    let answered = Client::new(&remote).and_then(|host| report::status(&host, false));
    answered.map(|output| output.data).unwrap_err()
}

#[test]
fn what_does_not_answer_like_a_host_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for answer in
            ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n"]
        {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let count = stream.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..count]).to_lowercase();
            assert!(
                head.starts_with("get /admin/v1/status http/1.1\r\n") && head.contains("\r\nauthorization: bearer ")
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let failure = asked(folder.path(), &url);
    assert!(failure.lines().contains("its answer is not JSON") && failure.exit() == exit::OTHER, "{failure:?}");
    let failure = asked(folder.path(), &url);
    assert!(failure.lines().contains("it answered 502 without a code"), "{failure:?}");
    server.join().unwrap();
    let failure = asked(folder.path(), &url);
    let told = format!("error: no host answers at {}: Connection refused", url.trim_end_matches('/'));
    assert!(failure.lines().starts_with(&told) && failure.exit() == exit::UNAVAILABLE, "{failure:?}");
    for (url, why) in [("https://h", "speaks plain http"), ("h:80", "is needed"), ("http://h/?a", "not have a query")] {
        let failure = asked(folder.path(), url);
        assert!(failure.lines().contains(why) && failure.exit() == exit::USAGE, "{failure:?}");
    }
}

#[test]
fn ids_stay_one_segment() {
    assert_eq!(segment("acme-1_a.b"), "acme-1_a.b");
    assert_eq!(segment("../a b?c#d%"), "..%2Fa%20b%3Fc%23d%25");
}

#[test]
fn tables_are_aligned_and_end_without_spaces() {
    let mut table = Table::new(&["NAME", "VALUE"]);
    table.row(["größe".to_owned(), String::new()]);
    table.row(["a".to_owned(), "two\nlines".to_owned()]);
    insta::assert_snapshot!(table, @r"
    NAME   VALUE
    größe  -
    a      two\nlines
    ");
}

#[test]
fn the_registry_is_shown_with_what_was_kept_out() {
    let problem = json!({ "code": "MODULE_DEPENDENCY_MISSING", "text": "Cannot enable lonely: missing" });
    let version = |version: &str, state: &str, problems: Value| {
        json!({ "version": version, "path": format!("p/{version}.so"), "state": state, "tenants": 1, "instances": 0,
            "problems": problems })
    };
    let registry: answers::Registry = view(json!({
        "modules": [
            { "name": "lonely", "versions": [version("0.1.0", "blocked", json!([problem]))] },
            { "name": "tasks", "versions": [version("1.10.0", "running", json!([])), version("1.2.0", "available", json!([]))] },
        ],
        "rejected": [{ "path": "p/junk.so", "code": "MANIFEST_INVALID", "problems": ["is not an ELF file"] }],
        "leaving": [{ "module": "old", "version": "1.0.0", "tenants": 2, "instances": 1 }],
    }));
    insta::assert_snapshot!(modules::list(&registry).data, @r"
    MODULE  VERSION  STATE      TENANTS  INSTANCES  FILE
    lonely  0.1.0    blocked    1        0          p/0.1.0.so
    tasks   1.10.0   running    1        0          p/1.10.0.so
    tasks   1.2.0    available  1        0          p/1.2.0.so

    Blocked
    lonely 0.1.0: MODULE_DEPENDENCY_MISSING: Cannot enable lonely: missing

    Kept out
    FILE       CODE              REASON
    p/junk.so  MANIFEST_INVALID  is not an ELF file

    No longer in the plugins folder, but still open
    MODULE  VERSION  TENANTS  INSTANCES
    old     1.0.0    2        1
    ");
}

#[test]
fn a_tree_with_a_circle_ends() {
    let needs = |name: &str, optional: bool| json!({ "name": name, "range": "^1", "optional": optional });
    let node =
        |name: &str, dependencies: Value| json!({ "name": name, "version": "1.0.0", "dependencies": dependencies });
    let tree: answers::Tree = view(json!({
        "module": "a", "valid": false, "message": "Circular dependency detected: a -> b -> a",
        "nodes": [
            node("a", json!([needs("b", false), needs("mail", true), needs("zoo", false)])),
            node("b", json!([needs("a", false)])),
            { "name": "zoo", "dependencies": [] },
        ],
    }));
    let output = modules::tree(&tree);
    insta::assert_snapshot!(output.data, @r"
    a 1.0.0
      b ^1 (here: 1.0.0)
        a ^1 (here: 1.0.0; see above)
      mail ^1 (optional)
      zoo ^1 (not in the registry)
    ");
    assert_eq!(output.remarks, ["note: Circular dependency detected: a -> b -> a"]);
}

#[test]
fn a_tenant_is_shown_with_what_its_modules_do() {
    let tenant: answers::Tenant = view(json!({
        "tenantId": "acme", "name": "Acme", "status": "active", "revision": 7,
        "enabledModules": [
            { "moduleId": "hr-core", "version": "*", "isolation": "shared", "state": { "is": "running", "version": "1.0.0" } },
            { "moduleId": "tasks", "version": "^2", "isolation": "library",
              "state": { "is": "unavailable", "code": "MODULE_VERSION_UNSATISFIABLE", "reason": "present: 1.0.0" } },
        ],
        "featureFlags": { "export": true, "theme": "dark" },
    }));
    insta::assert_snapshot!(tenants::show(&tenant), @r#"
    tenant    acme
    name      Acme
    status    active
    revision  7
    updated   -

    MODULE   WANTED  RUNS   ISOLATION  STATE        REASON
    hr-core  *       1.0.0  shared     running      -
    tasks    ^2      -      library    unavailable  MODULE_VERSION_UNSATISFIABLE: present: 1.0.0

    FLAG    VALUE
    export  true
    theme   "dark"
    "#);
}

#[test]
fn changes_are_told_and_plans_are_told_apart_from_them() {
    let change = |dry_run: bool, changed: bool, enabled: Value| -> answers::Change {
        view(json!({ "tenantId": "acme", "revision": 3, "changed": changed, "dryRun": dry_run, "enabled": enabled,
            "disabled": [], "modules": ["hr-core", "tasks"],
            "plan": { "start": ["tasks"], "keep": ["hr-core"], "offer": [], "drain": [] } }))
    };
    insta::assert_snapshot!(enabling::told(&change(true, true, json!(["tasks"])), "tasks"), @r"
    Would be enabled for acme: tasks
      start  tasks
      keep   hr-core
    Revision: 3
    ");
    insta::assert_snapshot!(enabling::told(&change(false, true, json!(["hr-core", "tasks"])), "tasks"), @r"
    Enabled for acme: hr-core, tasks
    Revision: 3
    ");
    insta::assert_snapshot!(enabling::told(&change(false, false, json!([])), "tasks"), @r"
    Already enabled for acme: tasks
    Revision: 3
    ");
}

#[test]
fn the_status_shows_what_needs_a_look() {
    let status: answers::Status = view(json!({
        "state": "ready", "version": "1.0.0", "moduleApi": "1.0.0", "uptimeSeconds": 90_061, "dev": true,
        "store": { "available": false, "reason": "disk full", "behindSeconds": 9,
            "tiers": { "shared": { "available": false, "hits": 1, "misses": 2 } } },
        "modules": 2, "tenantsInMemory": 1, "instances": 1,
        "libraries": 2, "canUnload": false,
        "inUse": [{ "module": "hr-core", "version": "1.0.0", "tenants": 1, "instances": 1, "requests": 12 }],
        "blocked": [], "rejected": [], "leaving": [],
        "failing": [{ "tenantId": "acme", "module": "tasks", "code": "MODULE_LOAD_FAILED", "reason": "it panicked" }],
        "failingTotal": 3,
        "stuck": [{ "tenantId": "acme", "module": "spins", "instance": 7, "thread": "tenon-gateway-0",
            "since": "2026-01-02T03:04:05.678Z", "seconds": 61 }],
        "resident": [{ "module": "old", "version": "0.9.0", "generation": 4, "reason": "a thread runs", "bytes": 5000 }],
    }));
    insta::assert_snapshot!(report::condition(&status), @r"
    state      ready, in dev mode
    host       tenon 1.0.0, module-api 1.0.0, up 1 d 1 h
    store      unavailable: disk full; what is known may be 9 s behind it
    cache      unavailable; first looks at tenants go to the store
    registry   2 modules
    tenants    1 in memory, 1 instances
    libraries  2 mapped; they can't be unloaded on this machine

    In use
    MODULE   VERSION  TENANTS  INSTANCES  REQUESTS
    hr-core  1.0.0    1        1          12

    Stuck: does not give its thread back, nobody else is let in
    TENANT  MODULE  THREAD           SINCE                     FOR
    acme    spins   tenon-gateway-0  2026-01-02T03:04:05.678Z  1 min 1 s

    Enabled, but not running
    TENANT  MODULE  VERSION  CODE                REASON
    acme    tasks   -        MODULE_LOAD_FAILED  it panicked
    and 2 more

    Out of use, but still mapped
    MODULE  VERSION  GENERATION  KIB  REASON
    old     0.9.0    4           5    a thread runs
    ");
    assert_eq!([5, 65, 3_700].map(report::duration), ["5 s", "1 min 5 s", "1 h 1 min"]);
}

#[test]
fn assignments_are_read_or_all_refused() {
    let read = |texts: &[&str]| flags::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    let good = read(&["export=true", "theme=dark", "limit=5"]).unwrap();
    assert_eq!(Value::Object(good), json!({ "export": true, "theme": "dark", "limit": 5 }));
    let bad = read(&["export", "theme=dark", "../x=1"]).unwrap_err();
    assert_eq!((bad.exit(), bad.lines().lines().count()), (exit::USAGE, 3));
    assert!(bad.lines().ends_with("code: FLAG_INVALID\n"));
}

#[test]
fn check_shows_every_problem_and_ends_with_seven() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = "name = \"tasks\"\nversion = \"1.0.0\"\n[dependencies]\nhr-core = \"^1\"\n";
    std::fs::write(folder.path().join("tasks.so"), Sample::new(manifest).bytes()).unwrap();
    std::fs::write(folder.path().join("junk.so"), "no library").unwrap();
    let examined = |json: bool, path: &Path| check::check(&args::Check { paths: vec![path.to_owned()], json });
    let output = examined(false, folder.path());
    let data = output.data.replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(data, @r"
    bad  FOLDER/junk.so
         MANIFEST_INVALID: is not an ELF file
    bad  FOLDER/tasks.so  tasks 1.0.0
         MODULE_DEPENDENCY_MISSING: Cannot enable tasks: missing required dependencies: hr-core
    ");
    assert_eq!((output.exit, &*output.remarks[0]), (exit::CHECK, "2 files examined, 2 with problems"));
    let alone = examined(true, &folder.path().join("tasks.so"));
    let json: Value = serde_json::from_str(&alone.data).unwrap();
    assert_eq!((alone.exit, &json["files"][0]["problems"]), (exit::OK, &json!([])));
}
