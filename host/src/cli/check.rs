//! `tenon check`: examines module files without a host and without running them.

use std::fmt::Write;

use serde_json::json;

use super::{args::Check, exit, output::Output, table::plain};
use crate::catalog::{self, CheckReport};

/// Examines files and folders.
pub(super) fn check(check: &Check) -> Output {
    let reports = catalog::check(&check.paths);
    let bad = reports.iter().filter(|report| !report.problems.is_empty()).count();
    let mut output = if check.json { Output::json(&as_json(&reports)) } else { Output::text(as_text(&reports)) };
    if bad > 0 {
        output.exit = exit::CHECK;
    }
    let files = if reports.len() == 1 { "file" } else { "files" };
    output.remark(format!("{} {files} examined, {bad} with problems", reports.len())).remark(
        "not examined: whether the routes in a module's code are those of its manifest; a host checks it on opening",
    )
}

fn as_text(reports: &[CheckReport]) -> String {
    let mut text = String::new();
    for report in reports {
        let verdict = if report.problems.is_empty() { "ok" } else { "bad" };
        let _ = write!(text, "{verdict:3}  {}", plain(&report.path.display().to_string()));
        if let Some((name, version)) = &report.module {
            let _ = write!(text, "  {name} {version}");
        }
        text.push('\n');
        for problem in &report.problems {
            let _ = writeln!(text, "     {}: {}", problem.code, indented(&problem.text));
        }
        for note in &report.notes {
            let _ = writeln!(text, "     note: {}", indented(note));
        }
    }
    text
}

/// A text of several lines, such as one with a hint, stays below its problem.
fn indented(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n       ")
}

fn as_json(reports: &[CheckReport]) -> serde_json::Value {
    let files: Vec<_> = reports
        .iter()
        .map(|report| {
            let problems: Vec<_> =
                report.problems.iter().map(|problem| json!({ "code": problem.code, "text": problem.text })).collect();
            json!({
                "path": report.path.display().to_string(),
                "module": report.module.as_ref().map(|(name, _)| name.as_str()),
                "version": report.module.as_ref().map(|(_, version)| version.to_string()),
                "problems": problems,
                "notes": report.notes,
            })
        })
        .collect();
    json!({ "files": files })
}
