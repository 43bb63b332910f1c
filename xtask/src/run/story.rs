//! The commands that show what a host does, with what each must answer: one table, printed and checked.
//!
//! The first answers lead to the later ones. No command needs an id out of an earlier one, so each can be pasted alone.

use std::fmt::Write;

/// The whole story, for one host.
#[derive(Debug)]
pub(super) struct Story {
    /// What to set in the shell first; empty where the host is where the command line looks by itself.
    pub(super) settings: Vec<(&'static str, String)>,
    /// What to try, in this order.
    pub(super) steps: Vec<Step>,
}

/// One command and what it does.
#[derive(Debug)]
pub(super) struct Step {
    /// What it shows, in a few words.
    pub(super) shows: &'static str,
    /// For a POSIX shell, on one line.
    pub(super) command: String,
    /// How it must end.
    pub(super) expected: Expected,
}

/// How a command must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// curl prints an answer with this status; these texts are in it.
    Answer(u16, &'static [&'static str]),
    /// The command line ends with this code; these texts are in its output.
    Exit(i32, &'static [&'static str]),
}

impl Story {
    /// The story for a host whose program is `tenon` and that serves tenants at `url`.
    pub(super) fn new(tenon: &str, url: &str, settings: Vec<(&'static str, String)>) -> Self {
        let answer = |shows, method: &str, path: &str, body: Option<&str>, status, texts| Step {
            shows,
            command: curl(method, &format!("{url}{path}"), body),
            expected: Expected::Answer(status, texts),
        };
        let get = |shows, path, status, texts| answer(shows, "GET", path, None, status, texts);
        let post = |shows, path, body, status, texts| answer(shows, "POST", path, Some(body), status, texts);
        let tool = |shows, arguments: &str, code, texts| Step {
            shows,
            command: format!("{tenon} {arguments}"),
            expected: Expected::Exit(code, texts),
        };
        let import = |shows, status, texts| Step {
            shows,
            command: format!(
                "printf 'title,due,assignee\\nCall Grace,2026-12-02,ada@example.com\\nCall Alan,2026-12-03,\\n' | {} \
                 --data-binary @-",
                curl_of("POST", &format!("{url}/api/v1/tasks/items/import"), Some("text/csv"))
            ),
            expected: Expected::Answer(status, texts),
        };

        let department = r#"{"name":"Sales"}"#;
        let employee = r#"{"name":"Ada Lovelace","email":"ada@example.com"}"#;
        let task = r#"{"title":"Write the report","due":"2026-12-01","assignee":"ada@example.com"}"#;
        let nobodys = r#"{"title":"Read the report","assignee":"bob@example.com"}"#;
        let steps = vec![
            post("make a department", "/api/v1/hr/departments", department, 201, &["Sales"]),
            post("and an employee", "/api/v1/hr/employees", employee, 201, &["ada@example.com"]),
            get("both are stored", "/api/v1/hr/employees", 200, &["Ada Lovelace"]),
            get(
                "module tasks is there, but not enabled for this tenant",
                "/api/v1/tasks/items",
                403,
                &["MODULE_NOT_ENABLED", "Module tasks is not enabled"],
            ),
            tool("enable it", "enable demo tasks", 0, &[]),
            get("the next request is served", "/api/v1/tasks/items", 200, &[]),
            post(
                "make a task for the employee",
                "/api/v1/tasks/items",
                task,
                201,
                &["Write the report", "Ada Lovelace"],
            ),
            post("nobody else can be asked to do it", "/api/v1/tasks/items", nobodys, 422, &["tasks:assignee-unknown"]),
            import(
                "a feature that is off by default",
                403,
                &["FEATURE_NOT_ENABLED", "Feature bulk-import is not enabled"],
            ),
            tool("switch it on for this tenant", "flags set demo bulk-import=true", 0, &[]),
            import("and import two tasks", 200, &[]),
            get("they are there", "/api/v1/tasks/items", 200, &["Call Grace", "Call Alan"]),
            get(
                "and what the employee has to do",
                "/api/v1/tasks/items?assignee=ada@example.com",
                200,
                &["Write the report", "Call Grace"],
            ),
            tool(
                "hr-core can't go while tasks needs it",
                "disable demo hr-core",
                4,
                &["Cannot disable hr-core: required by: tasks"],
            ),
            tool("disable tasks", "disable demo tasks", 0, &[]),
            get("it is gone with the next request", "/api/v1/tasks/items", 403, &["MODULE_NOT_ENABLED"]),
            tool("a second tenant", "tenants create other", 0, &[]),
            tool(
                "tasks can't come without hr-core",
                "enable other tasks",
                4,
                &["Cannot enable tasks: missing required dependencies: hr-core"],
            ),
            tool("what runs, and what does not", "status", 0, &[]),
        ];
        Self { settings, steps }
    }

    /// The first line to paste; `None` where nothing needs to be set.
    pub(super) fn prelude(&self) -> Option<String> {
        let assignments: Vec<String> =
            self.settings.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        (!assignments.is_empty()).then(|| format!("export {}", assignments.join(" ")))
    }

    /// The story as it is shown to a developer.
    pub(super) fn printed(&self) -> String {
        let mut text = String::from("\nThe host is ready. Paste these into another terminal, in the root folder:\n");
        if let Some(prelude) = self.prelude() {
            let _ = write!(text, "\n# where this host is\n{prelude}\n");
        }
        for Step { shows, command, expected } in &self.steps {
            let _ = write!(text, "\n# {shows}: {}\n{command}\n", expected.shown());
        }
        text
    }
}

impl Expected {
    /// The texts that must be there.
    pub(super) fn texts(self) -> &'static [&'static str] {
        match self {
            Self::Answer(_, texts) | Self::Exit(_, texts) => texts,
        }
    }

    fn shown(self) -> String {
        let mut text = match self {
            Self::Answer(status, _) => status.to_string(),
            Self::Exit(0, _) => "ok".to_owned(),
            Self::Exit(code, _) => format!("exit code {code}"),
        };
        if let (Self::Answer(400.., [code, ..]) | Self::Exit(1.., [code, ..]), separator) = (self, ", ") {
            text.push_str(separator);
            text.push_str(code);
        }
        text
    }
}

fn curl(method: &str, url: &str, json: Option<&str>) -> String {
    match json {
        None => curl_of(method, url, None),
        Some(json) => format!("{} -d {}", curl_of(method, url, Some("application/json")), quoted(json)),
    }
}

/// A curl command without its body. It prints the status line and headers too, so that people see them.
fn curl_of(method: &str, url: &str, content_type: Option<&str>) -> String {
    let mut command = String::from("curl -sSi -w '\\n'");
    if method != "GET" {
        let _ = write!(command, " -X {method}");
    }
    let headers = [("X-Tenant-Id", "demo"), ("X-Dev-User", "ada"), ("X-Dev-Roles", "Admin")];
    for (name, value) in headers.into_iter().chain(content_type.map(|kind| ("Content-Type", kind))) {
        let _ = write!(command, " -H '{name}: {value}'");
    }
    let _ = write!(command, " {url}");
    command
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(settings: Vec<(&'static str, String)>) -> Story {
        Story::new("target/debug/tenon", "http://127.0.0.1:8080", settings)
    }

    #[test]
    fn each_command_is_one_line_and_is_printed_as_it_stands() {
        let story = story(vec![]);
        let printed = story.printed();
        let lines: Vec<&str> = printed.lines().collect();
        for step in &story.steps {
            assert!(lines.contains(&step.command.as_str()), "{}", step.command);
        }
        assert!(!printed.contains("export"));
    }

    #[test]
    fn a_refusal_is_printed_with_its_code_or_text() {
        let printed = story(vec![]).printed();
        assert!(printed.contains("not enabled for this tenant: 403, MODULE_NOT_ENABLED\n"), "{printed}");
        assert!(printed.contains(": exit code 4, Cannot disable hr-core: required by: tasks\n"), "{printed}");
    }

    #[test]
    fn a_host_elsewhere_is_named_first() {
        let story = story(vec![("TENON_URL", "http://127.0.0.1:9".into()), ("TENON_DATA", "it's here".into())]);
        assert_eq!(story.prelude().unwrap(), r"export TENON_URL='http://127.0.0.1:9' TENON_DATA='it'\''s here'");
        assert!(story.printed().contains(&story.prelude().unwrap()));
    }
}
