//! Manifests of real modules, damaged as text.

use module_api::stamp::{API_TEXTS, StampFields};
use proptest::{prelude::*, sample::select};
use semver::Version;
use tenon_host::{
    manifest::{BasePath, Manifest, ManifestError, RoutePath},
    names::ModuleName,
};

use super::{edits, mutate};

const MANIFESTS: [&str; 6] = [
    include_str!("../../../modules/hr-core/module.toml"),
    include_str!("../../../modules/tasks/module.toml"),
    include_str!("../../../modules/clinic/module.toml"),
    include_str!("../../../modules/email-service/module.toml"),
    include_str!("../../fixtures/fetcher/module.toml"),
    include_str!("../../fixtures/listener/module.toml"),
];

/// What has a meaning in TOML, in manifests, or in what they are put into.
const PIECES: [&str; 40] = [
    "\"",
    "'",
    "\"\"\"",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "[routes]\n",
    "[[routes.endpoints]]\n",
    "[models.Task]\n",
    "name = ",
    "version = \"2\"\n",
    "host-api = \"*\"\n",
    "host-api = \"^9\"\n",
    "auth = false\n",
    "unique = [\"a\", \"a\"]\n",
    "^1",
    "/",
    "/..",
    "/{id}",
    "/{*rest}",
    "%2e",
    "\\u0000",
    "\\uD800",
    "\\",
    "0x7fffffffffffffff",
    "1e999",
    "nan",
    "-0",
    "2026-02-30",
    "true",
    "module:",
    "*.example.com",
];

fn stamp() -> StampFields {
    let [api_version, rustc, target] = API_TEXTS.map(str::to_owned);
    StampFields {
        api_version,
        rustc,
        target,
        panic: "unwind".to_owned(),
        name: "a-module".to_owned(),
        version: "1.2.3".to_owned(),
        description: String::new(),
        authors: String::new(),
        license: String::new(),
    }
}

/// Whether everything in a manifest is what its type promises.
fn is_right(manifest: &Manifest) -> Result<(), String> {
    let name = |name: &ModuleName| match name.as_str().parse::<ModuleName>() {
        Ok(again) if again == *name => Ok(()),
        other => Err(format!("{name}: {other:?}")),
    };
    name(&manifest.name)?;
    manifest.dependencies.keys().try_for_each(name)?;
    if manifest.display_name.contains('\n') || manifest.dependencies.contains_key(&manifest.name) {
        return Err(format!("{manifest:?}"));
    }
    if let Some(wanted) = manifest.subscribes.iter().find(|it| !manifest.dependencies.contains_key(&it.module)) {
        return Err(format!("{wanted:?} is of nobody it depends on"));
    }
    let Some(routes) = &manifest.routes else { return Ok(()) };
    routes.base.as_str().parse::<BasePath>().map_err(|error| format!("its base: {error}"))?;
    let mut seen = Vec::new();
    for endpoint in &routes.endpoints {
        let path = endpoint.path.as_str().parse::<RoutePath>().map_err(|error| format!("a path: {error}"))?;
        if endpoint.feature.as_ref().is_some_and(|feature| !manifest.features.contains_key(feature)) {
            return Err(format!("{path} needs a feature that is not declared"));
        }
        if !endpoint.auth && !endpoint.roles.is_empty() {
            return Err(format!("{path} is open, and for roles"));
        }
        let one = (endpoint.method(), path.shape());
        if seen.contains(&one) {
            return Err(format!("{one:?} is there twice"));
        }
        seen.push(one);
    }
    Ok(())
}

#[test]
fn damaged_manifests_are_refused_line_by_line_or_are_right() {
    let (stamp, host) = (stamp(), module_api::VERSION.parse::<Version>().unwrap());
    for manifest in MANIFESTS {
        assert!(Manifest::parse(manifest.as_bytes(), &stamp, &host).is_ok(), "it is good as it is: {manifest}");
    }
    let strategy = (select(&MANIFESTS[..]), edits::text(&PIECES));
    let counts = mutate(&strategy, |(manifest, edits), count| {
        let text = edits::damaged(manifest, &edits);
        let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
        count(match Manifest::parse(&text, &stamp, &host) {
            Ok(manifest) => {
                is_right(&manifest).map_err(TestCaseError::fail)?;
                let json = manifest.to_json();
                prop_assert_eq!(json["name"].as_str(), Some(manifest.name.as_str()));
                "accepted"
            }
            Err(ManifestError::HostApi { range, .. }) => {
                prop_assert!(!range.matches(&host));
                "for other hosts"
            }
            Err(ManifestError::Invalid(problems)) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!((1..=lines).contains(&problem.line), "{} of {} lines", problem, lines);
                    prop_assert!(problem.column >= 1 && !problem.message.is_empty(), "{}", problem);
                }
                "refused"
            }
        });
        Ok(())
    });
    counts.expect(&["accepted", "refused"]);
}
