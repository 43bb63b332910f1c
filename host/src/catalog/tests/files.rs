//! Folders of module files: what is found, what is kept out, what changed, and what `check` says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{manifest, name};
use crate::{
    catalog::{Candidate, Catalog, CheckReport, check, rescan, scan},
    manifest::sample::Sample,
};

/// A plugins folder of its own.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Puts a file there as tools do: beside it, then renamed.
    fn put(&self, file: &str, bytes: &[u8]) {
        fs::write(self.path(".new"), bytes).unwrap();
        fs::rename(self.path(".new"), self.path(file)).unwrap();
    }

    fn module(&self, file: &str, module: &str, version: &str, lines: &str, dependencies: &[(&str, &str)]) {
        self.put(file, &Sample::new(&manifest(module, version, lines, dependencies)).bytes());
    }

    fn scan(&self) -> Catalog {
        scan(self.0.path(), &|_| false).unwrap()
    }

    /// A text without the folder's path.
    fn shorten(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }

    fn rejected(&self, catalog: &Catalog) -> Vec<String> {
        let line = |path: &Path, code, problems: &[String]| {
            self.shorten(&format!("{}: {code}: {}", path.display(), problems.join("; ")))
        };
        catalog.rejected().iter().map(|it| line(&it.path, it.code, &it.problems)).collect()
    }
}

fn listed(catalog: &Catalog) -> Vec<String> {
    catalog.all().map(|it| format!("{} {}", it.name, it.version)).collect()
}

fn routes(base: &str) -> String {
    format!("routes = {{ base = \"{base}\" }}")
}

#[test]
fn a_folder_is_read_and_what_is_no_module_stays_listed() {
    let folder = Folder::new();
    folder.module("b.so", "tasks", "1.2.0", "", &[("hr-core", "^1")]);
    folder.module("a.so", "tasks", "1.10.0", "", &[]);
    folder.module("any-name.so", "hr-core", "1.0.0", "", &[]);
    folder.module(".hidden.so", "hidden", "1.0.0", "", &[]);
    folder.put("README.md", b"not looked at");
    folder.put("text.so", b"hello");
    folder.put("cut.so", &Sample::new("name = \"cut\"").bytes()[..500]);
    folder.put("later.so", &Sample::new("name = \"later\"\nhost-api = \"^7\"\nfuture = true").bytes());
    fs::create_dir(folder.path("folder.so")).unwrap();
    std::os::unix::fs::symlink(folder.path("gone"), folder.path("link.so")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(folder.path("pipe.so")).status().unwrap();
    assert!(fifo.success());

    let catalog = folder.scan();
    assert_eq!(listed(&catalog), ["hr-core 1.0.0", "tasks 1.10.0", "tasks 1.2.0"]);
    assert_eq!(*catalog.get("tasks")[0].path, *folder.path("a.so"));
    assert!(catalog.find("tasks", &"1.2.0".parse().unwrap()).is_some());
    let rejected = folder.rejected(&catalog);
    assert_eq!(rejected.len(), 3, "{rejected:#?}");
    assert!(rejected[0].starts_with("cut.so: MANIFEST_INVALID: is cut short: "));
    let api = module_api::VERSION;
    let incompatible = format!("later.so: MODULE_INCOMPATIBLE: needs a host with module-api `^7`, this host has {api}");
    assert_eq!(rejected[1], incompatible);
    assert_eq!(rejected[2], "text.so: MANIFEST_INVALID: is not an ELF file");

    let missing = scan(&folder.path("nowhere"), &|_| false).unwrap_err();
    assert!(missing.to_string().contains("nowhere"));
}

#[test]
fn of_two_with_one_version_the_running_one_stays_else_the_first_by_path() {
    let folder = Folder::new();
    folder.module("a.so", "tasks", "1.0.0", "", &[]);
    folder.module("b.so", "tasks", "1.0.0", "", &[]);
    let catalog = folder.scan();
    assert_eq!(listed(&catalog), ["tasks 1.0.0"]);
    assert_eq!(
        folder.rejected(&catalog),
        ["b.so: MODULE_DUPLICATE: tasks 1.0.0 is provided by `a.so` already, which stays"]
    );
    let b_runs = |it: &Candidate| it.path.ends_with("b.so");
    let catalog = scan(folder.0.path(), &b_runs).unwrap();
    assert_eq!(
        folder.rejected(&catalog),
        ["a.so: MODULE_DUPLICATE: tasks 1.0.0 is provided by `b.so` already, which stays"]
    );
    assert_eq!(catalog.rejected()[0].module.as_ref().unwrap().0, name("tasks"));
}

#[test]
fn bases_that_are_equal_or_nested_conflict() {
    let folder = Folder::new();
    folder.module("a.so", "api", "1.0.0", &routes("/api/v1"), &[]);
    folder.module("b.so", "same", "1.0.0", &routes("/api/v1"), &[]);
    folder.module("c.so", "inside", "1.0.0", &routes("/api/v1/tasks/x"), &[]);
    folder.module("d.so", "around", "1.0.0", &routes("/api"), &[]);
    folder.module("e.so", "beside", "1.0.0", &routes("/api/v10"), &[]);
    folder.module("f.so", "api", "1.1.0", &routes("/api/v1/new"), &[]);
    let catalog = folder.scan();
    assert_eq!(listed(&catalog), ["api 1.1.0", "api 1.0.0", "beside 1.0.0"]);
    assert_eq!(
        folder.rejected(&catalog),
        [
            "b.so: ROUTE_CONFLICT: base `/api/v1` overlaps with `/api/v1` of api 1.0.0 in `a.so`, which stays",
            "c.so: ROUTE_CONFLICT: base `/api/v1/tasks/x` overlaps with `/api/v1` of api 1.0.0 in `a.so`, which stays",
            "d.so: ROUTE_CONFLICT: base `/api` overlaps with `/api/v1` of api 1.0.0 in `a.so`, which stays",
        ]
    );
    let inside_runs = |it: &Candidate| it.name.as_str() == "inside";
    let catalog = scan(folder.0.path(), &inside_runs).unwrap();
    assert_eq!(listed(&catalog), ["api 1.1.0", "beside 1.0.0", "inside 1.0.0"]);
}

#[test]
fn a_rescan_reads_what_changed_and_says_so() {
    let folder = Folder::new();
    folder.module("a.so", "hr-core", "1.0.0", "", &[]);
    folder.module("b.so", "tasks", "1.0.0", "", &[]);
    folder.module("c.so", "clinic", "1.0.0", "", &[]);
    folder.put("d.so", b"no module");
    let old = folder.scan();
    let same = rescan(&old, folder.0.path(), &|_| true, &|_| false).unwrap();
    assert!(same.changes_since(&old).is_empty());
    let manifest_of = |catalog: &Catalog, name| catalog.get(name)[0].manifest.clone();
    assert!(std::sync::Arc::ptr_eq(&manifest_of(&old, "hr-core"), &manifest_of(&same, "hr-core")));

    folder.module("b.so", "tasks", "1.0.0", "category = \"work\"", &[]);
    fs::remove_file(folder.path("c.so")).unwrap();
    folder.module("d.so", "shop", "2.0.0", "", &[]);
    folder.put("e.so", b"new and bad");
    fs::rename(folder.path("a.so"), folder.path("z.so")).unwrap();
    let new = rescan(&old, folder.0.path(), &|_| true, &|_| false).unwrap();
    let changes = new.changes_since(&old);
    let names = |list: &[std::sync::Arc<Candidate>]| list.iter().map(|it| it.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&changes.added), ["shop"]);
    assert_eq!(names(&changes.removed), ["clinic"]);
    assert_eq!(changes.replaced.len(), 1);
    assert_eq!(changes.replaced[0].1.manifest.category.as_deref(), Some("work"));
    assert_eq!(changes.rejected.len(), 1);
    assert_eq!(*new.get("hr-core")[0].path, *folder.path("z.so"));
}

#[test]
fn many_files_are_read_in_the_order_of_their_paths() {
    let folder = Folder::new();
    for i in 0..200 {
        folder.module(&format!("m{i:03}.so"), &format!("m{}", i / 2), "1.0.0", "", &[]);
    }
    let catalog = folder.scan();
    assert_eq!(catalog.all().count(), 100);
    let rejected: Vec<_> = catalog.rejected().iter().map(|it| it.path.clone()).collect();
    assert_eq!(rejected, (0..100).map(|i| folder.path(&format!("m{:03}.so", 2 * i + 1))).collect::<Vec<_>>());
}

/// What is reported, one line for each problem and note, and one for each file without.
fn reports(folder: &Folder, reports: &[CheckReport]) -> Vec<String> {
    let mut lines = Vec::new();
    for report in reports {
        let path = folder.shorten(&report.path.display().to_string());
        if report.problems.is_empty() {
            lines.push(format!("{path}: fine"));
        }
        lines.extend(report.problems.iter().map(|it| folder.shorten(&format!("{path}: {}: {}", it.code, it.text))));
        lines.extend(report.notes.iter().map(|it| format!("{path}: note: {it}")));
    }
    lines
}

#[test]
fn check_reports_every_problem_of_every_file() {
    let folder = Folder::new();
    folder.module("a.so", "module-a", "1.0.0", "", &[("module-b", "*")]);
    folder.module("b.so", "module-b", "1.0.0", "", &[("module-a", "*"), ("module-c", "^2")]);
    folder.module("c.so", "module-c", "1.0.0", "provides-to = [\"other\"]", &[("gone", "*"), ("absent", "?*")]);
    folder.module("d.so", "shop", "1.0.0", "", &[("module-c", "^1"), ("gone", "*")]);
    folder.put("e.so", &Sample::new("name = \"E\"\ncolour = 1").bytes());
    folder.module("f.so", "module-a", "1.0.0", "", &[]);
    let mut pinned = Sample::new("name = \"pinned\"");
    pinned.flags_1 = 8;
    folder.put("g.so", &pinned.bytes());
    let all = reports(&folder, &check(&[folder.0.path().to_owned()]));
    insta::assert_snapshot!(all.join("\n"), @r#"
    a.so: MODULE_CIRCULAR_DEPENDENCY: Circular dependency detected: module-a -> module-b -> module-a
    b.so: MODULE_VERSION_UNSATISFIABLE: module-b 1.0.0 needs module-c ^2; present: 1.0.0
    b.so: MODULE_CIRCULAR_DEPENDENCY: Circular dependency detected: module-b -> module-a -> module-b
    c.so: MODULE_DEPENDENCY_MISSING: Cannot enable module-c: missing required dependencies: gone
    d.so: MODULE_DEPENDENCY_MISSING: Cannot enable shop: missing required dependencies: gone
    d.so: DEPENDENCY_NOT_OFFERED: module-c 1.0.0 is not offered to shop: it provides to other only
    e.so: MANIFEST_INVALID: module.toml, line 1, column 8: `name` is `E`: a module name is 1 to 63 characters: a lower-case letter, then lower-case letters, digits and `-`
    e.so: MANIFEST_INVALID: module.toml, line 2, column 1: `colour` is not known; the nearest known key is `models`
    f.so: MODULE_DUPLICATE: module-a 1.0.0 is provided by `a.so` already, which stays
    g.so: fine
    g.so: note: cannot be unloaded once opened: it is linked with `-z nodelete`
    "#);

    let single = |file: &str| reports(&folder, &check(&[folder.path(file)]));
    assert_eq!(single("c.so"), ["c.so: fine"]);
    assert_eq!(single("nowhere.so"), ["nowhere.so: MANIFEST_INVALID: cannot be read: there is no such file"]);
    assert_eq!(
        reports(&folder, &check(&[folder.path("c.so"), folder.path("d.so")])),
        [
            "c.so: fine",
            "d.so: DEPENDENCY_NOT_OFFERED: module-c 1.0.0 is not offered to shop: it provides to other only",
        ]
    );

    let elsewhere = Folder::new();
    elsewhere.module("new.so", "gone", "1.0.0", "", &[]);
    let repaired = check(&[folder.0.path().to_owned(), elsewhere.path("new.so")]);
    assert!(!reports(&folder, &repaired).iter().any(|line| line.contains("MODULE_DEPENDENCY_MISSING")));
    assert_eq!(repaired.len(), 8);
}
