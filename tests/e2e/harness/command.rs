//! One run of `tenon` to its end.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::artifacts;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: i32,
    /// What programs read.
    pub(crate) stdout: String,
    /// What people read.
    pub(crate) stderr: String,
}

/// The command line, without anything of this process's environment that it would listen to.
pub(crate) fn tenon(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(&artifacts().tenon);
    for name in ["TENON_CONFIG", "TENON_DATA", "TENON_PLUGINS", "TENON_URL", "TENON_TOKEN_FILE", "TENON_LOG"] {
        command.env_remove(name);
    }
    // Cargo adds its own folders to the library path; users have none of them.
    command.env_remove("LD_LIBRARY_PATH").env("NO_COLOR", "1").args(arguments).stdin(Stdio::null());
    command
}

impl Ran {
    /// Runs a command to its end.
    ///
    /// # Panics
    ///
    /// Where it can't be started, or a signal ends it.
    pub(crate) fn of(mut command: Command) -> Self {
        let output = command.output().expect("the command starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output in UTF-8");
        let code = output.status.code().unwrap_or_else(|| panic!("{command:?} ended with {}", output.status));
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What it printed as JSON, once it ended with this exit code.
    ///
    /// # Panics
    ///
    /// Where it ended otherwise, or printed something else.
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Looks whether the host refused it: exit code, code and text as people read them, and no data.
    ///
    /// # Panics
    ///
    /// Where it ended otherwise.
    pub(crate) fn refuses(&self, exit: i32, code: &str, text: &str) {
        self.fails(exit, text);
        let code = format!("code: {code}");
        assert!(self.stderr.lines().any(|line| line == code), "{code:?} is not in {self:?}");
    }

    /// Looks whether it failed: exit code, text as people read it, and no data.
    ///
    /// # Panics
    ///
    /// Where it ended otherwise.
    pub(crate) fn fails(&self, exit: i32, text: &str) {
        assert_eq!(self.code, exit, "{self:?}");
        let error = format!("error: {text}");
        assert!(self.stderr.lines().any(|line| line == error), "{error:?} is not in {self:?}");
        assert_eq!(self.stdout, "", "a refusal is no data");
    }

    /// Looks whether it succeeded.
    ///
    /// # Panics
    ///
    /// Where it did not.
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}
