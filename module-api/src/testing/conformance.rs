//! What every module must do, whatever it is for.

use abi_stable::std_types::RResult;

use super::{TestAnswer, TestHost, response::shown};
use crate::{Module, export};

/// Checks what a host demands of every module, and that nonsense does not make it panic:
///
/// - `module.toml` can be read, and fits this module-api;
/// - the routes of the code are those of `module.toml`;
/// - an instance can be made for a tenant that has set nothing, and made again;
/// - each endpoint survives a request with made-up parameters and an empty body;
/// - a wake-up with a made-up key, each declared event with a made-up payload, and settings that changed to nothing
///   are handled or refused;
/// - cleanup and drop end without a panic.
///
/// Required dependencies answer 404 to everything meanwhile, optional ones are absent. What depends on the built
/// library or on other modules, `tenon check` sees.
///
/// ```
/// # use module_api::prelude::*;
/// # struct Greeter;
/// # impl Module for Greeter {
/// #     async fn initialize(_: Tenant) -> Result<Self> { Ok(Self) }
/// #     fn routes(_: &mut Routes<Self>) {}
/// # }
/// # const MANIFEST: &str = "name = 'greeter'";
/// // In a module's own tests, `conformance::<Greeter>()` reads its module.toml.
/// module_api::testing::conformance_of::<Greeter>(MANIFEST);
/// ```
///
/// # Panics
///
/// With all that was found.
#[track_caller]
pub fn conformance<M: Module>() {
    check(TestHost::<M>::new());
}

/// As [`conformance`], for a manifest given as text.
///
/// # Panics
///
/// As [`conformance`].
#[track_caller]
pub fn conformance_of<M: Module>(manifest: &str) {
    check(TestHost::<M>::with_manifest(manifest));
}

#[track_caller]
fn check<M: Module>(host: TestHost<M>) {
    let mut host = host.user("conformance");
    for role in host.roles() {
        host = host.role(&role);
    }
    for module in host.required() {
        host.set_module(&module, |_| TestAnswer::refusal(404, "ROUTE_NOT_FOUND"));
    }
    for feature in host.features() {
        host.set_flag(&feature, true);
    }
    let mut problems = Vec::new();
    match host.start() {
        Err(why) => problems.push(why),
        Ok(()) => {
            for (method, path) in host.endpoints() {
                let answer = host.request(&method, &filled(&path)).send();
                if answer.code() == "MODULE_PANICKED" {
                    let log = answer.log().unwrap_or_default();
                    problems.push(format!("{method} {path} with made-up parameters and an empty body {log}"));
                }
            }
            problems.extend(host.nonsense());
            problems.extend(host.stop().err());
            problems.extend(host.start().err().map(|why| format!("the second instance: {why}")));
            problems.extend(host.stop().err());
        }
    }
    problems.extend(host.task_failures().into_iter().map(|why| format!("a spawned task {why}")));
    assert!(problems.is_empty(), "the module does not conform:\n{}", problems.join("\n"));
}

/// A path with something in the place of each parameter.
fn filled(path: &str) -> String {
    let fill = |segment: &str| if segment.starts_with('{') { "made-up".to_owned() } else { segment.to_owned() };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

/// Method and path of each route of the code.
pub(super) fn routes_of<M: Module>() -> Result<Vec<(String, String)>, String> {
    match export::routes::<M>() {
        RResult::ROk(routes) => {
            Ok(routes.into_iter().map(|route| (route.method.into_string(), route.path.into_string())).collect())
        }
        RResult::RErr(failure) => Err(format!("`routes` failed: {}", shown(&failure))),
    }
}

/// Whether code and manifest offer the same; if not, both lists.
pub(super) fn compare_routes(code: &[(String, String)], manifest: &[(String, String)]) -> Result<(), String> {
    let listed = |routes: &[(String, String)]| {
        let mut lines: Vec<String> = routes.iter().map(|(method, path)| format!("{method} {path}")).collect();
        lines.sort();
        lines
    };
    let (code, manifest) = (listed(code), listed(manifest));
    if code == manifest {
        return Ok(());
    }
    let shown = |lines: &[String]| if lines.is_empty() { "none".to_owned() } else { lines.join(", ") };
    Err(format!(
        "the routes of the code and of module.toml differ\n  code: {}\n  module.toml: {}",
        shown(&code),
        shown(&manifest)
    ))
}
