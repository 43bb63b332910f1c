//! Other programs: how a command is shown, and run to its end.

use std::process::Command;

use crate::failure::{Doing, Failure, Result};

/// The command as a person would type it; the program without its folder.
pub(crate) fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Runs a command with its output going where this program's goes; fails when it fails.
pub(crate) fn run_to_end(command: &mut Command) -> Result<()> {
    let name = shown(command);
    let status = command.status().doing(|| format!("start `{name}`"))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{name}` ended with {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_named_with_its_status() {
        let failure = run_to_end(Command::new("sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(failure.to_string(), "`sh -c exit 7` ended with exit status: 7");
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = run_to_end(&mut Command::new("no-such-program")).unwrap_err();
        assert!(failure.to_string().starts_with("failed to start `no-such-program`: "), "{failure}");
    }
}
