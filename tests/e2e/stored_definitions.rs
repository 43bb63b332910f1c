//! Flags that operators define for all tenants in the store: by commands, at once, and still there after a restart.

use std::{fs, thread};

use serde_json::{Value, json};

use crate::harness::{Host, Ran, Setup, until};

const OFREP: &str = "/ofrep/v1/evaluate/flags";

fn switch(state: &str) -> String {
    format!(r#"{{ "state": "{state}", "variants": {{ "on": true, "off": false }}, "defaultVariant": "on" }}"#)
}

/// Writes a file beside the host and answers its name.
fn file(host: &Host, name: &str, content: &str) -> String {
    fs::write(host.setup().folder().join(name), content).unwrap();
    name.to_owned()
}

fn revision(host: &Host) -> String {
    host.tenon(&["definitions", "show"]).succeeds().stderr.trim().trim_start_matches("revision ").to_owned()
}

/// What a client gets of a flag.
fn evaluated(host: &Host, tenant: &str, flag: &str) -> Value {
    let ask = host.ask("POST", &format!("{OFREP}/{flag}")).header("x-tenant-id", tenant).by("ada", "");
    ask.json(&json!({ "context": {} })).send().expect(200)
}

fn seen(host: &Host, tenant: &str, flag: &str) -> String {
    let answer = host.get(tenant, &format!("/fixtures/asks/flag/{flag}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

#[test]
fn a_kill_switch_holds_at_once_for_all_tenants_and_over_a_restart() {
    let host = Setup::with(&["asks"]).start();
    // More than are told at a time.
    let tenants: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
    for tenant in &tenants {
        host.tenant(tenant, &["asks"]);
    }
    let set = format!("{{ \"$comment\": \"kept\", \"flags\": {{ \"z\": {0}, \"lit\": {0} }} }}\n", switch("ENABLED"));
    let told = host.tenon(&["definitions", "set", &file(&host, "flags.json", &set)]).succeeds();
    assert_eq!(told.stdout, "Flags are defined (2 flags, revision 1)\n");
    let all_see = |value: &str| tenants.iter().all(|tenant| seen(&host, tenant, "z") == value);
    assert!(all_see("true"), "with the answer everybody has it");
    assert_eq!(evaluated(&host, "t0", "z")["value"], true);
    let told = host.tenon(&["definitions", "disable", "z"]).succeeds();
    assert_eq!(told.stdout, "The flag is disabled (2 flags, revision 2)\n");
    assert!(all_see("false"), "what runs sees it");
    let client = evaluated(&host, "t39", "z");
    assert_eq!((&client["reason"], client.get("value")), (&json!("DISABLED"), None));
    assert_eq!(
        host.tenon(&["definitions", "disable", "z"]).succeeds().stdout,
        "It was so already (2 flags, revision 2)\n"
    );
    assert_eq!(host.json(&["status"])["flagDefinitions"]["storeRevision"], 2);
    let told = host.tenon(&["status"]).succeeds().stdout;
    assert!(told.contains("2 defined by the store (revision 2)"), "{told}");

    let host = host.stop().start();
    let shown = host.tenon(&["definitions", "show"]).succeeds();
    assert_eq!(shown.stdout, set.replacen("ENABLED", "DISABLED", 1), "as it was written, but for the switch");
    assert_eq!(seen(&host, "t7", "z"), "false");
    assert_eq!(host.tenon(&["definitions", "enable", "z"]).succeeds().code, 0);
    assert_eq!(seen(&host, "t7", "z"), "true");
    host.tenon(&["definitions", "remove", "z"]).succeeds();
    host.tenon(&["definitions", "show", "z"]).refuses(3, "FLAG_NOT_FOUND", "Flag not found: z has no definition");
    let told = host.tenon(&["definitions", "remove", "--all"]).succeeds();
    assert_eq!(told.stdout, "No flag is defined any more (0 flags, revision 0)\n");
    host.stop();
}

#[test]
fn of_two_operators_at_once_one_is_refused_and_nothing_is_lost() {
    let host = Setup::new().start();
    host.tenon(&["definitions", "set", &file(&host, "flags.json", r#"{"flags":{}}"#)]).succeeds();
    let one = file(&host, "one.json", &switch("ENABLED"));
    let based = revision(&host);
    assert_eq!(based, "1");
    // Both have read revision 1.
    let write = |flag: &str| host.tenon(&["definitions", "set-flag", flag, &one, "--if-revision", &based]);
    let outcomes = thread::scope(|scope| {
        let writes = ["first", "second"].map(|flag| scope.spawn(move || (flag, write(flag))));
        writes.map(|write| write.join().unwrap())
    });
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.iter().partition(|(_, ran)| ran.code == 0);
    let ([(winner, _)], [(loser, refused)]) = (&*good, &*bad) else { panic!("{outcomes:?}") };
    refused.refuses(4, "PRECONDITION_FAILED", "It was changed in the meantime and has revision 2 now");
    // Without a revision one write follows the other.
    host.tenon(&["definitions", "set-flag", loser, &one]).succeeds();
    for flag in [winner, loser] {
        host.tenon(&["definitions", "show", flag]).succeeds();
    }
    host.stop();
}

#[test]
fn a_bad_set_is_refused_and_a_file_is_nobody_elses() {
    let host = Setup::new().start();
    let wrong = file(&host, "wrong.json", r#"{"flags":{"a":{"state":"on","variants":{}}}}"#);
    let refused = host.tenon(&["definitions", "set", &wrong]);
    refused.refuses(2, "FLAG_INVALID", "Invalid flag");
    for problem in [
        "problem: flags.a.state: must be \"ENABLED\" or \"DISABLED\"\n",
        "problem: flags.a.variants: must be an object with at least one variant\n",
    ] {
        assert!(refused.stderr.contains(problem), "{refused:?}");
    }
    assert_eq!(revision(&host), "0");
    let setup = host.stop().config("[flags]\ndefinitions = \"flags.json\"\n");
    let set = format!("{{\"flags\": {{\"lit\": {}}}}}\n", switch("ENABLED"));
    fs::write(setup.folder().join("flags.json"), &set).unwrap();
    let host = setup.start();
    assert_eq!(host.tenon(&["definitions", "show"]).succeeds().stdout, set);
    let Ran { code, stderr, .. } = host.tenon(&["definitions", "disable", "lit"]);
    assert!(code == 4 && stderr.contains("code: FLAGS_IN_FILE"), "{stderr}");
    fs::write(host.setup().folder().join("flags.json"), set.replace("ENABLED", "DISABLED")).unwrap();
    until("what is shown is what is in force", || {
        host.tenon(&["definitions", "show"]).succeeds().stdout.contains("DISABLED")
    });
    host.stop();
}

#[test]
fn what_is_wrong_with_a_flag_is_said_where_operators_look() {
    let host = Setup::with(&["asks"]).start();
    host.tenant("acme", &["asks"]);
    // A flag that a module declares has no definition yet; one flag is no set.
    let refused = host.tenon(&["definitions", "disable", "lit"]);
    refused.refuses(3, "FLAG_NOT_FOUND", "Flag not found: lit has no definition");
    assert!(refused.stderr.contains("hint: `tenon definitions set-flag FLAG FILE` makes one"), "{}", refused.stderr);
    let one = file(&host, "one.json", &switch("ENABLED"));
    let refused = host.tenon(&["definitions", "set", &one]).stderr;
    assert!(refused.contains("this is one flag by itself") && refused.contains("hint: for one flag: "), "{refused}");

    let text = r#"{ "state": "ENABLED", "variants": { "a": "yes" }, "defaultVariant": "a" }"#;
    let told = host.tenon(&["definitions", "set-flag", "lit", &file(&host, "text.json", text)]).succeeds();
    let warning =
        "warning: flag `lit` is defined as a string, and module asks declares a boolean: it is off for that module";
    assert!(told.stderr.lines().any(|line| line == warning), "{}", told.stderr);
    assert_eq!(seen(&host, "acme", "lit"), "false");
    host.tenon(&["definitions", "set-flag", "new", &one]).succeeds();
    let text = "Invalid flag: `new` must be a boolean, as it is defined for all tenants, and not a string";
    host.tenon(&["flags", "set", "acme", "new=maybe"]).refuses(2, "FLAG_INVALID", text);
    host.tenon(&["flags", "set", "acme", "new=false"]).succeeds();

    let rule = r#"{ "state": "ENABLED", "variants": { "on": 1 }, "targeting": { "cat": ["o", "ff"] } }"#;
    host.tenon(&["definitions", "set-flag", "broken", &file(&host, "rule.json", rule)]).succeeds();
    let cause = "the rule of `broken` names `off`, which is none of its variants; there are: on";
    for command in [&["flags", "get", "acme", "broken"][..], &["flags", "list", "acme"][..]] {
        let told = host.tenon(command).succeeds().stderr;
        assert!(told.lines().any(|line| line == cause), "{told}");
    }
    assert_eq!(host.json(&["flags", "get", "acme", "broken"])["cause"], cause);
    host.stop();
}
