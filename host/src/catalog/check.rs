//! The offline examination of module files behind `tenon check`: every problem of every file, nothing run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use semver::Version;

use super::{
    candidate::Rejected,
    finding::Finding,
    listing::Catalog,
    scan::{ScannedFile, scan},
};
use crate::names::ModuleName;

/// What an examination says about one file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Which.
    pub path: PathBuf,
    /// Its name and version, where the file is a module.
    pub module: Option<(ModuleName, Version)>,
    /// All that is wrong; empty: nothing.
    pub problems: Vec<Finding>,
    /// What is worth knowing and not wrong.
    pub notes: Vec<String>,
}

/// Examines files and folders, by path. Each folder is examined together with all files that are named
/// themselves, as if these lay in it; without a folder the files are examined together, and required
/// dependencies that are absent are no problem then: they are expected elsewhere.
///
/// What can't be seen without running code is not examined: whether the routes in the code are those of the
/// manifest.
pub fn check(paths: &[PathBuf]) -> Vec<CheckReport> {
    let mut reports: BTreeMap<PathBuf, CheckReport> = BTreeMap::new();
    let (folders, files): (Vec<_>, Vec<_>) = paths.iter().partition(|path| path.is_dir());
    let files: Vec<ScannedFile> = files.iter().filter_map(|path| read(path, &mut reports)).collect();
    if folders.is_empty() {
        examine(files, Absent::Elsewhere, &mut reports);
        return reports.into_values().collect();
    }
    for folder in folders {
        match scan(folder, &|_| false) {
            Ok(catalog) => {
                let together: BTreeMap<PathBuf, ScannedFile> =
                    catalog.files().iter().chain(&files).map(|file| (identity(&file.path), file.clone())).collect();
                examine(together.into_values().collect(), Absent::Problem, &mut reports);
            }
            Err(error) => {
                let reason = std::error::Error::source(&error).map(|it| format!(": {it}")).unwrap_or_default();
                unreadable(folder, format!("failed to {error}{reason}"), &mut reports);
            }
        }
    }
    reports.into_values().collect()
}

/// What it means that a required dependency is in none of the files.
#[derive(Clone, Copy, PartialEq)]
enum Absent {
    Problem,
    Elsewhere,
}

/// One file may be reached by several paths; it is examined once.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn read(path: &Path, reports: &mut BTreeMap<PathBuf, CheckReport>) -> Option<ScannedFile> {
    let file = ScannedFile::read(path.to_owned());
    if file.is_none() {
        unreadable(path, "cannot be read: there is no such file".to_owned(), reports);
    }
    file
}

fn unreadable(path: &Path, text: String, reports: &mut BTreeMap<PathBuf, CheckReport>) {
    let report = report_of(path, reports);
    report.problems.push(Finding { code: "MANIFEST_INVALID", text });
}

fn report_of<'r>(path: &Path, reports: &'r mut BTreeMap<PathBuf, CheckReport>) -> &'r mut CheckReport {
    reports.entry(path.to_owned()).or_insert_with(|| CheckReport {
        path: path.to_owned(),
        module: None,
        problems: Vec::new(),
        notes: Vec::new(),
    })
}

fn examine(files: Vec<ScannedFile>, absent: Absent, reports: &mut BTreeMap<PathBuf, CheckReport>) {
    for file in &files {
        let report = report_of(&file.path, reports);
        if let Ok(candidate) = &file.outcome {
            report.module = Some((candidate.name.clone(), candidate.version.clone()));
            report.notes = candidate.unload_note.iter().map(ToString::to_string).collect();
        }
    }
    let catalog = Catalog::of_files(files, &|_| false);
    let mut add = |path: &Path, finding: Finding| {
        let report = report_of(path, reports);
        if !report.problems.contains(&finding) {
            report.problems.push(finding);
        }
    };
    for rejected in catalog.rejected() {
        let Rejected { path, code, problems, .. } = &**rejected;
        problems.iter().for_each(|text| add(path, Finding { code, text: text.clone() }));
    }
    for problem in catalog.problems() {
        if absent == Absent::Problem || problem.finding.code != "MODULE_DEPENDENCY_MISSING" {
            add(&problem.candidate.path, problem.finding);
        }
    }
}
