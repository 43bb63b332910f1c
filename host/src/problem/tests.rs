//! Tests of room `problem`: every code with its status and text, and the bytes on the wire.

use std::{collections::BTreeSet, time::Duration};

use http::{HeaderMap, header};
use uuid::Uuid;

use super::*;
use crate::names::{ModuleName, TenantId, TenantIdError};

fn module(name: &str) -> ModuleName {
    name.parse().unwrap()
}

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

/// One problem of each code; UNAUTHENTICATED has two.
fn one_of_each() -> Vec<Problem> {
    let (tasks, core) = (module("tasks"), module("hr-core"));
    let second = Duration::from_secs(1);
    let cycle = ["module-a", "module-b", "module-a"].map(module);
    vec![
        Problem::module_not_found("my-module"),
        Problem::module_dependency_missing(&module("my-module"), std::slice::from_ref(&core)),
        Problem::module_circular_dependency(&cycle),
        Problem::module_has_dependents(&core, &[module("clinic"), tasks.clone()]),
        Problem::module_load_failed(&module("my-module")),
        Problem::module_not_enabled(&tasks),
        Problem::feature_not_enabled("advanced-reporting"),
        Problem::route_not_found(),
        Problem::method_not_allowed(&["GET", "PUT"]),
        Problem::tenant_required(),
        Problem::tenant_id_invalid(TenantIdError::TooLong(10_240)),
        Problem::tenant_not_found(&tenant()),
        Problem::tenant_exists(&tenant()),
        Problem::tenant_suspended(&tenant()),
        Problem::token_missing(),
        Problem::token_refused(),
        Problem::token_or_key_missing(),
        Problem::token_or_key_refused(),
        Problem::forbidden("The token is for another tenant"),
        Problem::request_invalid("The body is not JSON"),
        Problem::body_too_large(2 << 20),
        Problem::too_many_requests(&tasks, second),
        Problem::module_panicked(&tasks),
        Problem::module_timeout(&tasks, 30 * second),
        Problem::module_quarantined(&tasks),
        Problem::module_busy(&tasks, second),
        Problem::module_duplicate(&tasks, &"1.2.0".parse().unwrap()),
        Problem::module_incompatible("tasks", "built for aarch64, this host is x86-64"),
        Problem::module_version_unsatisfiable(&core, "tasks wants ^2, the tenant wants ^1"),
        Problem::dependency_not_offered(&tasks, &core),
        Problem::manifest_invalid("tasks", &["3:1: unknown key `nam`"]),
        Problem::route_conflict(&tasks, "/api/v1/tasks", &core),
        Problem::flag_not_found("bulk"),
        Problem::flag_not_defined("bulk"),
        Problem::flag_invalid(&["`a b` is no flag name"]),
        Problem::flags_in_file(),
        Problem::settings_invalid(&tasks, &["/port: must be a number"]),
        Problem::api_key_not_found("7"),
        Problem::too_many_api_keys(100),
        Problem::dead_letter_not_found("7"),
        Problem::precondition_failed(17),
        Problem::precondition_required(),
        Problem::store_unavailable(),
        Problem::too_many_connections(),
        Problem::shutting_down(),
        Problem::internal(),
    ]
}

#[test]
fn each_code_has_its_status_and_text() {
    let problems = one_of_each();
    let made: BTreeSet<_> = problems.iter().filter_map(Problem::host_code).collect();
    assert_eq!(made, Code::ALL.iter().copied().collect(), "every code has a constructor");
    let lines: Vec<_> =
        problems.iter().map(|p| format!("{} {} {}", p.status().as_u16(), p.code(), p.message())).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    404 MODULE_NOT_FOUND Module not found in registry: my-module
    409 MODULE_DEPENDENCY_MISSING Cannot enable my-module: missing required dependencies: hr-core
    409 MODULE_CIRCULAR_DEPENDENCY Circular dependency detected: module-a -> module-b -> module-a
    409 MODULE_HAS_DEPENDENTS Cannot disable hr-core: required by: clinic, tasks
    503 MODULE_LOAD_FAILED Failed to load module: my-module
    403 MODULE_NOT_ENABLED Module tasks is not enabled
    403 FEATURE_NOT_ENABLED Feature advanced-reporting is not enabled
    404 ROUTE_NOT_FOUND No route matches this path
    405 METHOD_NOT_ALLOWED This route answers only to GET, PUT
    400 TENANT_REQUIRED The request must name a tenant
    400 TENANT_ID_INVALID Invalid tenant id: a tenant id has at most 128 characters, this one has 10240
    404 TENANT_NOT_FOUND Tenant not found: acme
    409 TENANT_EXISTS Tenant already exists: acme
    403 TENANT_SUSPENDED Tenant acme is suspended
    401 UNAUTHENTICATED A token is required
    401 UNAUTHENTICATED The token is not valid
    401 UNAUTHENTICATED A token or API key is required
    401 UNAUTHENTICATED The token or API key is not valid
    403 FORBIDDEN The token is for another tenant
    400 REQUEST_INVALID The body is not JSON
    413 BODY_TOO_LARGE The request body is larger than 2097152 bytes
    429 TOO_MANY_REQUESTS Too many requests at once for module tasks
    500 MODULE_PANICKED Module tasks failed to answer
    504 MODULE_TIMEOUT Module tasks did not answer within 30s
    503 MODULE_QUARANTINED Module tasks is kept from running
    503 MODULE_BUSY Module tasks is not ready yet
    409 MODULE_DUPLICATE Module tasks 1.2.0 is in the plugins folder twice
    409 MODULE_INCOMPATIBLE Module tasks does not fit this host: built for aarch64, this host is x86-64
    409 MODULE_VERSION_UNSATISFIABLE No version of hr-core fits all requirements: tasks wants ^2, the tenant wants ^1
    409 DEPENDENCY_NOT_OFFERED Module hr-core is not offered to tasks
    422 MANIFEST_INVALID The manifest of tasks is invalid
    409 ROUTE_CONFLICT Module tasks cannot serve /api/v1/tasks: it conflicts with module hr-core
    404 FLAG_NOT_FOUND Flag not found: bulk
    404 FLAG_NOT_FOUND Flag not found: bulk has no definition
    422 FLAG_INVALID Invalid flag: `a b` is no flag name
    409 FLAGS_IN_FILE Flag definitions are kept in a file of this host: change the file, or take `[flags] definitions` out
    422 SETTINGS_INVALID Invalid settings for tasks: /port: must be a number
    404 API_KEY_NOT_FOUND API key not found: 7
    409 TOO_MANY_API_KEYS The tenant has 100 API keys: revoke one before another is made
    404 DEAD_LETTER_NOT_FOUND Dead letter not found: 7
    412 PRECONDITION_FAILED It was changed in the meantime and has revision 17 now
    428 PRECONDITION_REQUIRED Send If-Match with the revision that was read
    503 STORE_UNAVAILABLE The store is unavailable
    503 TOO_MANY_CONNECTIONS The host has as many connections as it may have
    503 SHUTTING_DOWN The host is shutting down
    500 INTERNAL An internal error occurred
    "#);
}

#[test]
fn each_code_has_an_entry_in_the_documentation() {
    let page = include_str!("../../../docs/troubleshooting.md");
    let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for code in Code::ALL {
        assert!(headings.contains(&code.as_str()), "docs/troubleshooting.md lacks `## {}`", code.as_str());
    }
}

#[test]
fn the_body_is_a_problem_of_rfc_9457() {
    let problem = Problem::module_dependency_missing(&module("tasks"), &[module("hr-core")])
        .with_member("status", 200)
        .with_member("hint", "tenon enable acme hr-core");
    let body = String::from_utf8(problem.to_body(Uuid::from_u128(7))).unwrap();
    insta::assert_snapshot!(body.replace(",\"", ",\n\""), @r#"
    {"type":"urn:tenon:problem:MODULE_DEPENDENCY_MISSING",
    "title":"A required module is missing",
    "status":409,
    "detail":"Cannot enable tasks: missing required dependencies: hr-core",
    "instance":"urn:uuid:00000000-0000-0000-0000-000000000007",
    "code":"MODULE_DEPENDENCY_MISSING",
    "message":"Cannot enable tasks: missing required dependencies: hr-core",
    "success":false,
    "missing":["hr-core"],
    "hint":"tenon enable acme hr-core"}
    "#);
    let explained = Problem::module_load_failed(&module("tasks")).with_detail("256 generations are loaded already");
    let body: serde_json::Value = serde_json::from_slice(&explained.to_body(Uuid::nil())).unwrap();
    assert_eq!(body["message"], "Failed to load module: tasks");
    assert_eq!(body["detail"], "256 generations are loaded already");
}

#[test]
fn headers_say_when_how_and_who() {
    let headers = |problem: Problem| {
        let mut headers = HeaderMap::new();
        problem.write_headers(&mut headers);
        assert_eq!(headers[header::CONTENT_TYPE], CONTENT_TYPE);
        move |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap().to_owned())
    };
    let busy = |wait| headers(Problem::module_busy(&module("tasks"), wait))(header::RETRY_AFTER).unwrap();
    assert_eq!(busy(Duration::from_millis(1500)), "2");
    assert_eq!(busy(Duration::ZERO), "1");
    assert_eq!(headers(Problem::method_not_allowed(&["GET", "PUT"]))(header::ALLOW).unwrap(), "GET, PUT");
    assert_eq!(headers(Problem::token_missing())(header::WWW_AUTHENTICATE).unwrap(), "Bearer");
    let refused = headers(Problem::token_refused())(header::WWW_AUTHENTICATE).unwrap();
    assert_eq!(refused, "Bearer error=\"invalid_token\"");
    assert_eq!(headers(Problem::route_not_found())(header::WWW_AUTHENTICATE), None);
}

#[test]
fn a_fault_is_sent_under_the_name_of_its_module() {
    let fault = |code: &str, status| Problem::module_fault(&module("clinic"), code, "Taken".into(), status);
    let problem = fault("overlap", 409).unwrap();
    assert_eq!((problem.code(), problem.status().as_u16(), problem.host_code()), ("clinic:overlap", 409, None));
    let body: serde_json::Value = serde_json::from_slice(&problem.to_body(Uuid::nil())).unwrap();
    assert_eq!((&body["type"], &body["message"]), (&"urn:tenon:problem:clinic:overlap".into(), &"Taken".into()));

    for status in [0, 200, 302, 399, 500, 999] {
        let refused = fault("overlap", status).unwrap_err();
        assert_eq!(refused.problem, Problem::internal());
        assert_eq!(refused.reason, FaultRefusedError::Status(status));
    }
    for code in ["", "a b", "a:b", "a\n", &"x".repeat(65)] {
        assert_eq!(fault(code, 400).unwrap_err().reason, FaultRefusedError::Code, "{code:?}");
    }
}

#[test]
fn what_a_client_sent_is_repeated_only_in_short() {
    assert!(Problem::module_not_found(&"ä".repeat(5000)).message().chars().count() < 200);
    assert!(Problem::flag_not_found(&"x".repeat(5000)).message().len() < 200);
}
