//! Everything that must hold before a change is taken, in the order in which a failure is cheapest to find.

use std::{process::ExitCode, time::Instant};

use crate::{
    failure::{Failure, Result},
    process::run_to_end,
    test::{self, Skips},
    tidy,
    workspace::Workspace,
};

type Step = (&'static str, fn(&Workspace) -> Result<ExitCode>);

const STEPS: &[Step] = &[
    ("fmt", |workspace| cargo(workspace, &["fmt", "--all", "--check"])),
    ("clippy", |workspace| {
        cargo(workspace, &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"])
    }),
    ("tidy", tidy::tidy),
    ("test", |workspace| test::test(workspace, None, Skips::Refused)),
    ("docs", |workspace| {
        let mut command = workspace.cargo(["doc", "--workspace", "--no-deps", "--locked"]);
        run_to_end(command.env("RUSTDOCFLAGS", "--deny warnings")).map(|()| ExitCode::SUCCESS)
    }),
];

/// `cargo xtask ci`: stops at the first step that fails.
pub(crate) fn ci(workspace: &Workspace) -> Result<ExitCode> {
    run_steps(STEPS, workspace)
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<ExitCode> {
    workspace.run_cargo(arguments.iter().copied()).map(|()| ExitCode::SUCCESS)
}

fn run_steps(steps: &[Step], workspace: &Workspace) -> Result<ExitCode> {
    let begun = Instant::now();
    for (name, step) in steps {
        eprintln!("==> {name}");
        let step_begun = Instant::now();
        let outcome = step(workspace);
        let seconds = step_begun.elapsed().as_secs_f64();
        match outcome {
            Ok(code) if code == ExitCode::SUCCESS => eprintln!("==> {name}: ok, {seconds:.1} s"),
            Ok(_) => return Err(Failure::new(format!("step `{name}` failed after {seconds:.1} s"))),
            Err(failure) => {
                return Err(Failure::new(format!("step `{name}` failed after {seconds:.1} s: {failure}")));
            }
        }
    }
    eprintln!("==> all of it: ok, {:.1} s", begun.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failed_step_ends_it_and_is_named() {
        let steps: &[Step] = &[
            ("first", |_| Ok(ExitCode::SUCCESS)),
            ("second", |_| Ok(ExitCode::FAILURE)),
            ("third", |_| panic!("must not be reached")),
        ];
        let failure = run_steps(steps, &Workspace::find().unwrap()).unwrap_err();
        assert!(failure.to_string().starts_with("step `second` failed after "), "{failure}");
    }
}
