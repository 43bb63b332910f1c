//! Files in the plugins folder that are no modules for this host: each is kept out with its code and all its
//! reasons, told by `tenon check` and `tenon status` alike, and whatever else is there keeps serving.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Host, NewModule, Ran, Setup, artifacts, tenon, until, until_some, with_section};

/// A host that serves one tenant, into whose folder a bad file is dropped.
fn keeps_out(bytes: &[u8], code: &str, problems: &[&str]) {
    let host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    host.setup().place("bad.so", bytes);
    let path = host.setup().plugins().join("bad.so");

    let rejected = until_some("the file is listed as rejected", || {
        let status = host.json(&["status"]);
        status["rejected"].as_array().unwrap().first().cloned()
    });
    assert_eq!(rejected["path"], path.to_str().unwrap());
    assert_eq!(rejected["code"], code, "{rejected}");
    assert_eq!(rejected["problems"], json!(problems), "{rejected}");
    assert_eq!(host.json(&["modules", "list"])["rejected"], json!([rejected]));

    let checked = checked(&["check", path.to_str().unwrap()], 7);
    let expected: Vec<Value> = problems.iter().map(|text| json!({ "code": code, "text": text })).collect();
    assert_eq!(checked, [(path.display().to_string(), expected)]);

    let names: Vec<Value> = names(&host);
    assert_eq!(names, ["answers"], "nothing is half-registered");
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    fs::remove_file(path).unwrap();
    until("the file is forgotten", || host.json(&["status"])["rejected"] == json!([]));
    host.stop();
}

fn names(host: &Host) -> Vec<Value> {
    let listed = host.json(&["modules", "list"]);
    listed["modules"].as_array().unwrap().iter().map(|module| module["name"].clone()).collect()
}

/// Each path with its problems, as `tenon check --json` tells them.
pub(crate) fn checked(arguments: &[&str], code: i32) -> Vec<(String, Vec<Value>)> {
    let answer = Ran::of(tenon([arguments, &["--json"]].concat())).json(code);
    let files = answer["files"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let of = |file: &Value| (file["path"].as_str().unwrap().to_owned(), file["problems"].as_array().unwrap().clone());
    files.iter().map(of).collect()
}

fn good() -> Vec<u8> {
    NewModule::named("other", "1.0.0", "").build()
}

#[test]
fn a_file_that_is_not_elf() {
    keeps_out(b"#!/bin/sh\necho no module\n", "MANIFEST_INVALID", &["is not an ELF file"]);
}

#[test]
fn an_empty_file() {
    keeps_out(b"", "MANIFEST_INVALID", &["is not an ELF file"]);
}

#[test]
fn a_file_that_is_cut_short() {
    let whole = good();
    let half = &whole[..whole.len() / 2];
    let table = u64::from_le_bytes(whole[40..48].try_into().unwrap());
    let text =
        format!("is cut short: the section header table ends at byte {}, the file at byte {}", table + 64, half.len());
    keeps_out(half, "MANIFEST_INVALID", &[&text]);
}

#[test]
fn a_library_that_has_no_manifest() {
    // The name of the section is overwritten wherever it stands: then there is none of that name.
    let mut file = good();
    let name = b".tenon_manifest";
    let places: Vec<usize> = file.windows(name.len()).enumerate().filter(|(_, at)| at == name).map(|at| at.0).collect();
    for at in places {
        file[at..at + name.len()].copy_from_slice(b".other_manifest");
    }
    let text = "has no section `.tenon_manifest`\nhint: a module ends with `module_api::export_module!(...)`";
    keeps_out(&file, "MANIFEST_INVALID", &[text]);
}

#[test]
fn a_manifest_with_several_problems_tells_all_of_them_with_their_places() {
    let manifest =
        "name = \"Other Name\"\ndisplay-name = \"Other\"\nversion = \"one\"\nhost-api = \"^1\"\ncolour = 3\n";
    let problems = [
        "module.toml, line 1, column 8: `name`",
        "module.toml, line 3, column 11: `version`",
        "module.toml, line 5, column 1: `colour`",
    ];
    let file = NewModule::with_manifest(manifest).build();
    let found = checked_file(&file);
    assert_eq!(found.len(), problems.len(), "{found:?}");
    for (found, expected) in found.iter().zip(problems) {
        assert!(found.starts_with(expected), "{found}");
    }
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    keeps_out(&file, "MANIFEST_INVALID", &found);
}

/// The texts that `tenon check` has for a file.
fn checked_file(bytes: &[u8]) -> Vec<String> {
    let setup = Setup::new();
    setup.place("bad.so", bytes);
    let found = checked(&["check", setup.plugins().join("bad.so").to_str().unwrap()], 7);
    found[0].1.iter().map(|problem| problem["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_manifest_that_is_no_toml() {
    let file = NewModule::with_manifest("name = \"other\nversion").build();
    let found = checked_file(&file);
    assert!(found[0].starts_with("module.toml, line 1, column "), "{found:?}");
    keeps_out(&file, "MANIFEST_INVALID", &found.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_manifest_of_two_mebibytes() {
    let file = with_section(good(), ".tenon_manifest", &vec![b'\n'; 2 << 20]);
    let text = "`.tenon_manifest` has 2097152 bytes, at most 1048576 are read";
    keeps_out(&file, "MANIFEST_INVALID", &[text]);
}

#[test]
fn a_module_of_another_api_major() {
    let file = NewModule::named("other", "1.0.0", "").api("2.0.0").build();
    let text = format!("is built with module-api 2.0.0, this host has {}: the major versions differ", api());
    keeps_out(&file, "MODULE_INCOMPATIBLE", &[&text]);
}

#[test]
fn a_module_whose_stamp_has_another_layout() {
    let file = NewModule::named("other", "1.0.0", "").stamp_layout(9).build();
    keeps_out(&file, "MODULE_INCOMPATIBLE", &["has a stamp of layout 9, this host reads 1"]);
}

#[test]
fn a_module_that_needs_a_later_host() {
    let file = NewModule::with_manifest("name = \"other\"\ndisplay-name = \"Other\"\nhost-api = \"^1.99\"\n").build();
    let text = format!("needs a host with module-api `^1.99`, this host has {}", api());
    keeps_out(&file, "MODULE_INCOMPATIBLE", &[&text]);
}

fn api() -> &'static str {
    module_api::VERSION
}

#[test]
fn a_module_for_another_machine() {
    const RISCV: u16 = 243;
    let file = NewModule::named("other", "1.0.0", "").machine(RISCV).build();
    let text = format!("is built for riscv64, this host runs on {}", std::env::consts::ARCH);
    keeps_out(&file, "MODULE_INCOMPATIBLE", &[&text]);
}

#[test]
fn a_module_whose_panics_would_abort() {
    let file = NewModule::named("other", "1.0.0", "").panic_strategy("abort").build();
    keeps_out(&file, "MODULE_INCOMPATIBLE", &["is built with panic strategy `abort`, only `unwind` is safe to run"]);
}

#[test]
fn a_base_that_is_taken() {
    let file = NewModule::answers_as("other", "/fixtures/answers/mark").build();
    keeps_out_beside(&file, "ROUTE_CONFLICT", |holder| {
        format!(
            "base `/fixtures/answers/mark` overlaps with `/fixtures/answers` of answers 1.0.0 in `{holder}`, which \
             stays"
        )
    });
}

#[test]
fn the_same_name_and_version_twice() {
    let file = NewModule::answers("1.0.0").mark("the mark of a duplicate").build();
    keeps_out_beside(&file, "MODULE_DUPLICATE", |holder| {
        format!("answers 1.0.0 is provided by `{holder}` already, which stays")
    });
}

/// Files that are refused only because of another one: the one that runs stays, even if it comes later by path.
fn keeps_out_beside(bytes: &[u8], code: &str, text: impl Fn(&str) -> String) {
    let host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");
    host.setup().place("a-first-by-path.so", bytes);
    let plugins = host.setup().plugins();
    let (running, other) = (plugins.join("answers.so"), plugins.join("a-first-by-path.so"));
    let rejected = until_some("the file is listed as rejected", || {
        host.json(&["status"])["rejected"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&rejected["path"], &rejected["code"]), (&json!(other), &json!(code)), "{rejected}");
    assert_eq!(rejected["problems"], json!([text(running.to_str().unwrap())]));
    host.get("acme", "/fixtures/answers/mark").expect_text("the mark of release one");

    // Offline nothing runs, so the first by path stays.
    let found = checked(&["check", plugins.to_str().unwrap()], 7);
    let found: Vec<_> = found.into_iter().filter(|(_, problems)| !problems.is_empty()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].0, &found[0].1[0]["code"]), (&running.display().to_string(), &json!(code)));

    // Where the running one goes, the other takes its place.
    fs::remove_file(&running).unwrap();
    host.tenon(&["disable", "acme", "answers"]).succeeds();
    until("the other file is available", || host.json(&["status"])["rejected"] == json!([]));
    host.stop();
}

#[test]
fn a_folder_of_good_modules_is_found_good() {
    let setup = Setup::with(&["hr-core", "tasks"]);
    let found = checked(&["check", setup.plugins().to_str().unwrap()], 0);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|(_, problems)| problems.is_empty()), "{found:?}");
    let alone = artifacts().library("tasks").to_str().unwrap();
    assert!(checked(&["check", alone], 0)[0].1.is_empty(), "what a single file needs is expected elsewhere");
}
