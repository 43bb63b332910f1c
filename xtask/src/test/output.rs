//! Reads what `cargo test` prints and sums it up. It knows libtest's text, which has been the same for years;
//! libtest's JSON is not stable.

use std::fmt::Write;

/// What was tested, and how it went.
#[derive(Debug, Default)]
pub(super) struct Report {
    parts: Vec<Part>,
    skipped: Vec<String>,
    /// The binary that cargo named last, with its result. A test may print the output of a test program of its own,
    /// so the last result counts.
    running: Option<(String, Option<Counts>)>,
    /// Inside the output of tests that passed: it is read, not shown.
    quiet: bool,
}

#[derive(Debug)]
struct Part {
    name: String,
    counts: Counts,
    note: Option<&'static str>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Report {
    /// Takes in a line; false where it need not be shown.
    pub(super) fn read(&mut self, line: &str) -> bool {
        let text = line.trim();
        if let Some(skip) = text.strip_prefix("SKIPPED: ") {
            self.skipped.push(skip.to_owned());
            return true;
        }
        if let Some(name) = named_binary(line) {
            self.close_running();
            self.running = Some((name, None));
            self.quiet = false;
        } else if let Some(counts) = result(line) {
            let (_, latest) = self.running.get_or_insert_with(|| ("tests that cargo did not name".to_owned(), None));
            *latest = Some(counts);
            self.quiet = false;
        } else if line == "successes:" {
            self.quiet = true;
        } else if line == "failures:" {
            self.quiet = false;
        }
        !self.quiet
    }

    /// Counts something that was not tested by cargo.
    pub(super) fn add(&mut self, name: &str, passed: usize, failed: usize) {
        self.parts.push(Part { name: name.to_owned(), counts: Counts { passed, failed, ignored: 0 }, note: None });
    }

    /// Notes something that could not be tested.
    pub(super) fn skip(&mut self, what: &str, why: &str) {
        self.skipped.push(format!("{what}: {why}"));
    }

    /// Cargo ended. A binary without a result died; a failure that no test explains is one all the same.
    pub(super) fn end(&mut self, success: bool) {
        self.close_running();
        if !success && self.failed() == 0 {
            let counts = Counts { failed: 1, ..Counts::default() };
            self.parts.push(Part { name: "cargo test".to_owned(), counts, note: Some("failed by itself") });
        }
    }

    fn close_running(&mut self) {
        if let Some((name, counts)) = self.running.take() {
            let note = counts.is_none().then_some("ended without a result");
            let counts = counts.unwrap_or(Counts { failed: 1, ..Counts::default() });
            self.parts.push(Part { name, counts, note });
        }
    }

    pub(super) fn passed(&self) -> usize {
        self.parts.iter().map(|part| part.counts.passed).sum()
    }

    pub(super) fn failed(&self) -> usize {
        self.parts.iter().map(|part| part.counts.failed).sum()
    }

    pub(super) fn ignored(&self) -> usize {
        self.parts.iter().map(|part| part.counts.ignored).sum()
    }

    /// What was skipped, as `what: why`.
    pub(super) fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// The report for people. Binaries without a single test are left out.
    pub(super) fn told(&self) -> String {
        let mut text = String::from("tested:");
        for Part { name, counts: Counts { passed, failed, ignored }, note } in &self.parts {
            if passed + failed + ignored == 0 {
                continue;
            }
            let _ = write!(text, "\n  {name}: {passed} passed");
            for (count, what) in [(failed, "failed"), (ignored, "ignored")] {
                if *count > 0 {
                    let _ = write!(text, ", {count} {what}");
                }
            }
            if let Some(note) = note {
                let _ = write!(text, " ({note})");
            }
        }
        if self.skipped.is_empty() {
            text.push_str("\nskipped: nothing");
        } else {
            let _ = write!(text, "\nskipped:\n  {}", self.skipped.join("\n  "));
        }
        text
    }
}

/// `Running unittests src/lib.rs (target/debug/deps/tenon_host-0123)` or `Doc-tests module_api`.
fn named_binary(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("{name}, examples in the documentation"));
    }
    let (source, file) = line.strip_prefix("     Running ")?.strip_suffix(')')?.split_once(" (")?;
    let file = file.rsplit(['/', '\\']).next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _hash)| name);
    Some(format!("{name}, {source}"))
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn result(line: &str) -> Option<Counts> {
    let (_verdict, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count =
        |what: &str| numbers.split("; ").find_map(|number| number.strip_suffix(what)?.strip_suffix(' ')?.parse().ok());
    Some(Counts { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, success: bool) -> (Report, String) {
        let mut report = Report::default();
        let shown: Vec<&str> = text.lines().filter(|line| report.read(line)).collect();
        report.end(success);
        (report, shown.join("\n"))
    }

    const GOOD: &str = "
     Running unittests src/lib.rs (target/debug/deps/tenon_host-00ff)

running 2 tests
test a ... ok

successes:

---- a stdout ----
chatter
SKIPPED: redis: no server was found

successes:
    a

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests module_api

test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn binaries_are_summed_and_skips_collected() {
        let (report, shown) = read(GOOD, true);
        assert_eq!((report.passed(), report.failed(), report.ignored()), (5, 0, 1));
        assert_eq!(
            report.told(),
            "tested:\n  tenon_host, unittests src/lib.rs: 2 passed, 1 ignored\n  \
             module_api, examples in the documentation: 3 passed\n\
             skipped:\n  redis: no server was found"
        );
        assert!(!shown.contains("chatter") && shown.contains("SKIPPED: redis"), "{shown}");
        assert!(shown.contains("test result: ok. 3"));
    }

    #[test]
    fn failures_are_shown_and_a_result_within_is_not_counted() {
        let text = "     Running unittests src/lib.rs (t/a-1)\nsuccesses:\nhidden\nfailures:\n---- b stdout ----\npanicked\n\
                    test result: FAILED. 9 passed; 9 failed; 9 ignored; 0 measured; 0 filtered out\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        let (report, shown) = read(text, false);
        assert_eq!((report.passed(), report.failed()), (1, 2));
        assert!(shown.contains("panicked") && !shown.contains("hidden"));
    }

    #[test]
    fn a_binary_that_dies_is_a_failure() {
        let text = "     Running unittests src/lib.rs (t/host-1)\nrunning 5 tests\n     \
                    Running tests/a.rs (t/a-1)\n\
                    test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        let (report, _) = read(text, false);
        assert_eq!((report.passed(), report.failed()), (1, 1));
        assert!(report.told().contains("host, unittests src/lib.rs: 0 passed, 1 failed (ended without a result)"));
    }

    #[test]
    fn a_failure_without_a_failed_test_is_one() {
        let (report, _) = read("error: could not compile", false);
        assert_eq!((report.passed(), report.failed()), (0, 1));
    }
}
