//! Finds processes that outlived the tests that started them.
//!
//! This program adopts what its descendants leave behind, so a leftover is found by descent: nothing that somebody
//! else runs from the same folder is taken for one, and a process that made itself a session of its own is not missed.

use crate::failure::Result;

pub(super) use platform::Watch;

#[cfg(target_os = "linux")]
mod platform {
    use std::{
        collections::BTreeMap,
        fs, thread,
        time::{Duration, Instant},
    };

    use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

    use super::Result;
    use crate::failure::Doing;

    /// What was told to end may take a moment: its parent has ended, it has not.
    const GRACE: Duration = Duration::from_secs(3);

    /// From `begin` to `end`, orphans among the descendants come to this program.
    pub(in crate::test) struct Watch(());

    impl Watch {
        /// Adopts orphans from now on; `None` where the platform knows no such thing.
        pub(in crate::test) fn begin() -> Result<Option<Self>> {
            set_child_subreaper(Some(getpid())).doing(|| "adopt orphaned processes".to_owned())?;
            Ok(Some(Self(())))
        }

        /// Looks for what is left, kills it, names it, and adopts no more. To be called when no wanted child runs.
        pub(in crate::test) fn end(self) -> Result<Vec<String>> {
            const LOOK_EVERY: Duration = Duration::from_millis(20);
            let deadline = Instant::now() + GRACE;
            while any_left() && Instant::now() < deadline {
                thread::sleep(LOOK_EVERY);
            }
            let mut told = BTreeMap::new();
            while any_left() {
                for process in descendants() {
                    // One that has just ended by itself is what was wanted.
                    let _ = kill_process(process.pid, Signal::KILL);
                    told.entry(process.pid.as_raw_nonzero()).or_insert(process.command);
                }
                thread::sleep(LOOK_EVERY);
            }
            set_child_subreaper(None).doing(|| "leave orphaned processes alone".to_owned())?;
            Ok(told.into_iter().map(|(pid, command)| format!("{pid} {command}")).collect())
        }
    }

    struct Process {
        pid: Pid,
        parent: i32,
        dead: bool,
        command: String,
    }

    /// Reaps the dead children and says whether there are living ones. The kernel answers for all of them at once,
    /// which reading `/proc` one process after the other does not; and who has no child has no descendant, because
    /// orphans become children.
    fn any_left() -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_dead)) => {}
                Ok(None) => return true,
                Err(_no_child) => return false,
            }
        }
    }

    /// The living descendants, as far as one look shows them.
    fn descendants() -> Vec<Process> {
        let mut others: Vec<Process> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| process(entry.ok()?.file_name().to_str()?))
            .collect();
        let mut family = vec![getpid().as_raw_nonzero().get()];
        let mut found = Vec::new();
        while let Some(parent) = family.pop() {
            let (children, rest): (Vec<Process>, Vec<Process>) =
                others.into_iter().partition(|process| process.parent == parent);
            others = rest;
            family.extend(children.iter().map(|child| child.pid.as_raw_nonzero().get()));
            found.extend(children.into_iter().filter(|child| !child.dead));
        }
        found
    }

    /// Reads `/proc/PID/stat` (proc_pid_stat(5)): the program's name is in brackets and may hold any character, so the
    /// fields are counted from the last bracket.
    fn process(pid: &str) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<_> = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let command = words.join(" ").trim().to_owned();
        let name = head.split_once('(')?.1.to_owned();
        Some(Process {
            pid: Pid::from_raw(pid.parse().ok()?)?,
            parent,
            dead: matches!(state, "Z" | "X"),
            command: if command.is_empty() { name } else { command },
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::Result;

    /// Nothing is watched here.
    pub(in crate::test) struct Watch(());

    impl Watch {
        pub(in crate::test) fn begin() -> Result<Option<Self>> {
            Ok(None)
        }

        pub(in crate::test) fn end(self) -> Result<Vec<String>> {
            Ok(Vec::new())
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    const NAME: &str = "test::leftovers::tests::an_orphan_is_found_and_killed";
    const ALONE: &str = "XTASK_TEST_ALONE";

    /// Adopting orphans is a matter of the whole process, so this test runs in one of its own: this program again,
    /// with this test alone.
    #[test]
    fn an_orphan_is_found_and_killed() {
        if std::env::var_os(ALONE).is_none() {
            let program = std::env::current_exe().unwrap();
            let output = Command::new(program).args(["--exact", NAME]).env(ALONE, "1").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            return;
        }
        let watch = Watch::begin().unwrap().unwrap();
        Command::new("sh").args(["-c", "true &"]).status().unwrap();
        assert!(watch.end().unwrap().is_empty());

        let watch = Watch::begin().unwrap().unwrap();
        Command::new("sh").args(["-c", "(sleep 61 &) & exit 0"]).status().unwrap();
        let left = watch.end().unwrap();
        assert!(left.len() == 1 && left[0].ends_with(" sleep 61"), "{left:?}");
    }
}
