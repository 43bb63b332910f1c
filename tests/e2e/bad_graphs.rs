//! Modules that are good by themselves and can't run among those that are there: no tenant gets them, the reason is
//! told by `tenon check`, `tenon status` and whoever tries to enable them, and the next file may repair it.

use serde_json::{Value, json};

use crate::{
    bad_files::checked,
    harness::{Host, NewModule, Setup, until},
};

fn needing(name: &str, dependency: &str, range: &str) -> NewModule {
    NewModule::named(name, "1.0.0", &format!("[dependencies]\n{dependency} = \"{range}\""))
}

/// Starts a host with these modules beside a good one that serves.
fn start(modules: &[(&str, &NewModule)]) -> Host {
    let setup = Setup::with(&["answers"]);
    for (file, module) in modules {
        setup.add_new(&format!("{file}.so"), module);
    }
    let host = setup.start();
    host.tenant("acme", &["answers"]);
    host
}

fn blocked(host: &Host) -> Vec<(String, String, String)> {
    let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
    let status = host.json(&["status"]);
    let items = status["blocked"].as_array().unwrap().iter();
    items.map(|item| (text(item, "module"), text(item, "code"), text(item, "text"))).collect()
}

/// Looks whether status, listing and `check` tell the same of one module, and whether the good one serves.
fn is_told(host: &Host, module: &str, code: &str, text: &str) {
    let expected = (module.to_owned(), code.to_owned(), text.to_owned());
    assert!(blocked(host).contains(&expected), "{:?}", blocked(host));
    let problem = json!({ "code": code, "text": text });
    let shown = host.json(&["modules", "show", module]);
    assert_eq!(shown["versions"][0]["state"], "blocked", "{shown}");
    assert_eq!(shown["versions"][0]["problems"], json!([problem]), "{shown}");
    let found = checked(&["check", host.setup().plugins().to_str().unwrap()], 7);
    let mut of_file = found.iter().filter(|(path, _)| path.ends_with(&format!("/{module}.so")));
    assert_eq!(of_file.next().unwrap().1, [problem]);
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
}

#[test]
fn a_dependency_that_is_not_there() {
    let host = start(&[("lonely", &needing("lonely", "nowhere", "^1"))]);
    let text = "Cannot enable lonely: missing required dependencies: nowhere";
    is_told(&host, "lonely", "MODULE_DEPENDENCY_MISSING", text);
    host.tenon(&["enable", "acme", "lonely"]).refuses(4, "MODULE_DEPENDENCY_MISSING", text);
    let refused = host.tenon(&["enable", "acme", "lonely", "--with-dependencies"]);
    refused.refuses(3, "MODULE_NOT_FOUND", "Module not found in registry: nowhere");

    host.setup().add_new("nowhere.so", &NewModule::named("nowhere", "1.0.0", ""));
    until("the dependency is there", || blocked(&host).is_empty());
    host.tenon(&["enable", "acme", "lonely", "--with-dependencies", "--dry-run"]).succeeds();
}

#[test]
fn a_dependency_in_no_version_that_will_do() {
    let base = NewModule::named("base", "1.4.0", "");
    let host = start(&[("base", &base), ("picky", &needing("picky", "base", "^2"))]);
    let text = "picky 1.0.0 needs base ^2; present: 1.4.0";
    is_told(&host, "picky", "MODULE_VERSION_UNSATISFIABLE", text);
    let refused = host.tenon(&["enable", "acme", "picky", "--with-dependencies"]);
    refused.refuses(4, "MODULE_VERSION_UNSATISFIABLE", text);
}

#[test]
fn a_range_of_the_tenants_own_that_nothing_fits() {
    let host = start(&[("base", &NewModule::named("base", "1.4.0", ""))]);
    let refused = host.tenon(&["enable", "acme", "base", "--version", "^3"]);
    refused.refuses(4, "MODULE_VERSION_UNSATISFIABLE", "no version of base fits `^3`; present: 1.4.0");
}

#[test]
fn modules_that_depend_on_each_other_in_a_circle() {
    let host = start(&[
        ("module-a", &needing("module-a", "module-b", "^1")),
        ("module-b", &needing("module-b", "module-a", "^1")),
    ]);
    let text = "Circular dependency detected: module-a -> module-b -> module-a";
    is_told(&host, "module-a", "MODULE_CIRCULAR_DEPENDENCY", text);
    for with_dependencies in [&[] as &[&str], &["--with-dependencies"]] {
        let refused = host.tenon(&[&["enable", "acme", "module-a"], with_dependencies].concat());
        refused.refuses(4, "MODULE_CIRCULAR_DEPENDENCY", text);
    }
    host.tenon(&["modules", "order", "module-a", "module-b"]).refuses(4, "MODULE_CIRCULAR_DEPENDENCY", text);
}

#[test]
fn a_dependency_that_is_not_offered() {
    let base = NewModule::with_manifest(
        "name = \"base\"\ndisplay-name = \"Base\"\nversion = \"1.0.0\"\nhost-api = \"^1\"\nprovides-to = [\"clinic\"]\n",
    );
    let host = start(&[("base", &base), ("other", &needing("other", "base", "^1"))]);
    let text = "base 1.0.0 is not offered to other: it provides to clinic only";
    is_told(&host, "other", "DEPENDENCY_NOT_OFFERED", text);
    host.tenon(&["enable", "acme", "other", "--with-dependencies"]).refuses(4, "DEPENDENCY_NOT_OFFERED", text);
}

#[test]
fn a_module_whose_code_has_other_routes_than_its_manifest() {
    let answers =
        NewModule::answers_as("liar", "/liar").and("[[routes.endpoints]]\npath = \"/more\"\nmethod = \"GET\"\n");
    let host = start(&[("liar", &answers)]);
    let refused = host.tenon(&["enable", "acme", "liar"]);
    refused.refuses(6, "MODULE_LOAD_FAILED", "Failed to load module: liar");
    assert!(refused.stderr.contains("GET /more"), "{refused:?}");
    let tenant = host.json(&["tenants", "show", "acme"]);
    assert_eq!(tenant["enabledModules"].as_array().unwrap().len(), 1, "nothing was written: {tenant}");
    host.get("acme", "/liar/mark").refuses(403, "MODULE_NOT_ENABLED", "Module liar is not enabled");
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
}

#[test]
fn a_module_that_is_replaced_by_one_that_does_not_load_is_refused_with_its_reason() {
    let setup = Setup::new();
    setup.add_new("answers.so", &NewModule::answers("1.0.0"));
    let host = setup.start();
    host.tenant("acme", &["answers"]);
    let host = {
        let setup = host.stop();
        let broken = NewModule::answers("1.0.0").and("[[routes.endpoints]]\npath = \"/more\"\nmethod = \"GET\"\n");
        setup.add_new("answers.so", &broken);
        setup.start()
    };
    let refused = host.get("acme", "/fixtures/answers/mark");
    refused.refuses(503, "MODULE_LOAD_FAILED", "Failed to load module: answers");
    assert!(!refused.text().contains("/more"), "tenants are not told the reason");
    let status = host.json(&["status"]);
    let failing = &status["failing"][0];
    assert_eq!((&failing["tenantId"], &failing["code"]), (&json!("acme"), &json!("MODULE_LOAD_FAILED")), "{status}");
    assert!(failing["reason"].as_str().unwrap().contains("/more"), "{status}");
}
