//! OpenFeature's own clients ask a host for flags. `cargo xtask test` installs them and says where; each tells of its
//! cases, and how many there were.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::harness::{Host, Ran, Setup};

const CONFIG: &str = r#"
[flags]
definitions = "flags.json"

[tenant-source]
path-prefix = "/t"

[ofrep]
concurrency = 4
"#;

fn definitions() -> Value {
    let switch = json!({ "on": true, "off": false });
    let plain = |value: Value| json!({ "state": "ENABLED", "variants": { "one": value }, "defaultVariant": "one" });
    let staff = json!({ "if": [{ "ends_with": [{ "var": "email" }, "@acme.example"] }, "on", null] });
    // flagd's own test cases have these two, and where each user belongs.
    let of_name = json!({ "cat": [{ "var": "$flagd.flagKey" }, { "var": "user.name" }] });
    let suits = ["clubs", "diamonds", "hearts", "spades"];
    let by_suit = json!({ "fractional": [of_name, [suits[0], 25], [suits[1], 25], [suits[2], 25], [suits[3], 25]] });
    let suits: Value =
        suits.iter().map(|suit| ((*suit).to_owned(), json!(suit))).collect::<serde_json::Map<_, _>>().into();
    let mut flags = json!({
        "bool": { "state": "ENABLED", "variants": switch, "defaultVariant": "on" },
        "text": plain(json!("hello")),
        "whole": plain(json!(42)),
        "float": plain(json!(5.0)),
        "object": plain(json!({ "rows": [1, 2] })),
        "staff": { "state": "ENABLED", "variants": switch, "defaultVariant": "off", "targeting": staff, "metadata": { "owner": "ann" } },
        "fractional-flag": { "state": "ENABLED", "variants": suits, "defaultVariant": "clubs", "targeting": by_suit },
        "fractional-flag-shorthand": {
            "state": "ENABLED",
            "variants": { "heads": "heads", "tails": "tails" },
            "defaultVariant": "tails",
            "targeting": { "fractional": [["heads"], ["tails", 1]] },
        },
        "killed": { "state": "DISABLED", "variants": switch, "defaultVariant": "off" },
        "open": { "state": "ENABLED", "variants": { "one": "1" } },
        "broken": { "state": "ENABLED", "variants": switch, "targeting": { "cat": ["no", "where"] } },
    });
    for odd in ["a/b", "a b", "ä:b+c", "a/b/"] {
        flags[odd] = plain(json!(odd));
    }
    json!({ "metadata": { "flagSetId": "web" }, "flags": flags })
}

/// Where `cargo xtask test` has installed the clients of a language; says so where it has not.
fn installed(what: &str, part: &str) -> Option<PathBuf> {
    let missing = match env::var_os("TENON_TEST_CLIENTS").map(PathBuf::from) {
        None => "`cargo xtask test` installs them".to_owned(),
        Some(folder) if folder.join(part).exists() => return Some(folder.join(part)),
        Some(folder) => format!("they could not be installed in {}", folder.display()),
    };
    println!("SKIPPED: {what}: {missing}");
    None
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/clients").join(name)
}

/// Runs a client against a host of its own. All its cases must pass, and none may be missing.
fn passes(mut client: Command, cases: usize) {
    let setup = Setup::new().config(CONFIG).without_dev();
    fs::write(setup.folder().join("flags.json"), definitions().to_string()).unwrap();
    let host: Host = setup.start();
    host.tenant("acme", &[]);
    let key = host.tenon(&["keys", "create", "acme", "--name", "client"]).succeeds().stdout.trim().to_owned();
    client.env("TENON_BASE", format!("http://{}", host.tenants())).env("TENON_KEY", key);
    client.env("TENON_ADMIN", format!("http://{}", host.operators())).env("TENON_ADMIN_TOKEN", host.token());
    for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        client.env_remove(proxy);
    }
    let ran = Ran::of(client);
    println!("{}{}", ran.stdout, ran.stderr);
    let told = ran.stdout.lines().filter(|line| line.starts_with("ok ")).count();
    let all = format!("{cases} run, {cases} passed");
    assert_eq!((ran.code, told, ran.stdout.lines().last()), (0, cases, Some(&*all)));
    host.stop();
}

fn passes_in_node(name: &str, what: &str, cases: usize) {
    let Some(modules) = installed(what, "node_modules") else { return };
    // Node looks for packages beside the script.
    let folder = tempfile::tempdir().unwrap();
    symlink(modules, folder.path().join("node_modules")).unwrap();
    for file in [name, "cases.cjs"] {
        fs::copy(script(file), folder.path().join(file)).unwrap();
    }
    let mut client = Command::new("node");
    client.arg(folder.path().join(name));
    passes(client, cases);
}

#[test]
fn the_client_for_servers_in_javascript() {
    passes_in_node("server.cjs", "OpenFeature's client for servers in JavaScript", 15);
}

#[test]
fn the_client_for_pages() {
    passes_in_node("web.cjs", "OpenFeature's client for pages", 17);
}

#[test]
fn the_client_for_python() {
    let Some(environment) = installed("OpenFeature's client for Python", "venv") else { return };
    let mut client = Command::new(environment.join("bin/python"));
    client.arg(script("server.py"));
    passes(client, 15);
}
