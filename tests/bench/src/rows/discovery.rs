//! Row `discovery`: reads a folder of 1,000 module files that lie in the page cache. No code of them runs.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use object::{Object, ObjectSection};
use tenon_host::catalog;

use super::{Effort, progress};
use crate::{
    failure::{Doing, Failure, Result},
    interrupt, machine,
    report::{Goal, Line, Report},
    stats::Spread,
    tenants::built_beside,
};

const ROW: &str = "discovery";
pub(super) const FILES: usize = 1000;
/// What file systems give out at once.
const BLOCK: usize = 4096;

pub(crate) fn discovery(effort: Effort, report: &mut Report) -> Result<()> {
    let folder = super::folder()?;
    let bytes = fill(folder.path())?;
    let (all, _) = times(folder.path(), effort.rounds(41), "discovery")?;
    let (first, _) = machine::two_cores()?;
    let one_core = || {
        machine::pin(first)?;
        times(folder.path(), effort.rounds(21), "discovery, one core")
    };
    let one = std::thread::scope(|scope| scope.spawn(one_core).join());
    let (one, processor) = one.map_err(|_| Failure::new("the scan panicked"))??;
    let size = bytes / FILES as u64 / 1000;
    let what = format!("1,000 module files of {size} KB, warm");
    report.lines.push(Line::of_spread(ROW, &*what, all, "ms").with_goal(Goal::AtMost(40.0)));
    report.lines.push(Line::of_spread(ROW, format!("{what}, on one core"), one, "ms"));
    let what = format!("{what}, on one core: processor time");
    report.lines.push(Line::of_spread(ROW, what, processor, "ms"));
    Ok(())
}

/// How long a scan takes, and how much processor time the calling thread needs for its part.
fn times(folder: &Path, rounds: usize, what: &str) -> Result<(Spread, Spread)> {
    let mut times = Vec::new();
    // The first one is not counted: it warms up what is to be warm.
    for round in 0..=rounds {
        if round % 10 == 0 {
            progress(what, round, rounds)?;
        }
        let (begun, processor) = (Instant::now(), machine::thread_time());
        let catalog = catalog::scan(folder, &|_| false).doing("read the folder")?;
        let (took, worked) = (begun.elapsed(), machine::thread_time() - processor);
        let (found, rejected) = (catalog.all().count(), catalog.rejected().len());
        if (found, rejected) != (FILES, 0) {
            return Err(Failure::new(format!("expected {FILES} modules, found {found}, and {rejected} were rejected")));
        }
        times.push((took, worked));
    }
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let counted = &times[1..];
    let took = Spread::of(counted.iter().map(|(took, _)| millis(*took)));
    let worked = Spread::of(counted.iter().map(|(_, worked)| millis(*worked)));
    took.zip(worked).ok_or_else(|| Failure::new("nothing was measured"))
}

/// Lays real modules into a folder: `hr-core`, and `tasks` under 999 names. Returns their sizes, summed.
pub(super) fn fill(folder: &Path) -> Result<u64> {
    let read = |name: &str| {
        let path = built_beside(name)?;
        fs::read(&path).doing(format_args!("read `{}`", path.display())).and_then(without_debug)
    };
    let (hr_core, tasks) = (read("libhr_core.so")?, read("libtasks.so")?);
    write_sparse(&folder.join("hr-core.so"), &hr_core)?;
    let places = name_places(&tasks)?;
    let mut renamed = tasks;
    for number in 1..FILES {
        interrupt::check()?;
        let name = format!("t{number:04}");
        for place in places {
            renamed[place..place + name.len()].copy_from_slice(name.as_bytes());
        }
        write_sparse(&folder.join(format!("{name}.so")), &renamed)?;
    }
    Ok((hr_core.len() + renamed.len() * (FILES - 1)) as u64)
}

/// The library with zeroes in place of what only debuggers read; a thousand times that would fill a disk.
pub(super) fn without_debug(mut library: Vec<u8>) -> Result<Vec<u8>> {
    let mut ranges = Vec::new();
    let file = object::File::parse(&*library).doing("read a module's sections")?;
    for section in file.sections() {
        if section.name().is_ok_and(|name| name.starts_with(".debug_")) {
            ranges.extend(section.file_range());
        }
    }
    for (start, bytes) in ranges {
        let (start, bytes) = (start as usize, bytes as usize);
        if let Some(debug) = library.get_mut(start..start.saturating_add(bytes)) {
            debug.fill(0);
        }
    }
    Ok(library)
}

/// Writes a file of the same size and content, with holes for blocks of zeroes.
pub(super) fn write_sparse(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let file = fs::File::create(path)?;
        file.set_len(bytes.len() as u64)?;
        let mut at = 0;
        for run in bytes.chunks(BLOCK) {
            if run.iter().any(|byte| *byte != 0) {
                file.write_all_at(run, at)?;
            }
            at += run.len() as u64;
        }
        Ok::<(), std::io::Error>(())
    };
    write().doing(format_args!("write `{}`", path.display()))
}

/// Where the library of `tasks` says in its manifest what it is called, and where its routes are: 5 bytes each.
fn name_places(library: &[u8]) -> Result<[usize; 2]> {
    let place = |line: &str| {
        let found = library.windows(line.len()).position(|bytes| bytes == line.as_bytes());
        let at = found.ok_or_else(|| Failure::new(format!("the manifest of `tasks` has no line `{line}`")))?;
        Ok(at + line.len() - "tasks\"".len())
    };
    Ok([place("name = \"tasks\"")?, place("base = \"/api/v1/tasks\"")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_file_has_the_same_content() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; 3 * BLOCK + 7];
        bytes[5] = 1;
        bytes[2 * BLOCK + 1] = 2;
        let path = folder.path().join("sparse");
        write_sparse(&path, &bytes).unwrap();
        assert_eq!(fs::read(path).unwrap(), bytes);
    }

    #[test]
    fn names_are_found_in_the_manifest_alone() {
        let library = b"tasks\0name = \"tasks\"\nbase = \"/api/v1/tasks\"\n\0tasks";
        let texts = name_places(library).unwrap().map(|place| &library[place..place + 6]);
        assert_eq!(texts, [b"tasks\""; 2]);
        assert_eq!(name_places(library).unwrap(), [14, 37]);
        assert!(name_places(b"nothing").is_err());
    }
}
