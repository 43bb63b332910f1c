//! Which object of the process an address lies in, as the dynamic linker knows it; which signals are handled
//! in one; and which others a file brings with it.

#![expect(unsafe_code, reason = "walks the dynamic linker's list of objects, asks for signal handlers")]

use std::{fs::File, path::Path};

use object::{Endianness, ReadCache, elf, read::elf::ElfFile64};

/// The addresses of the object that an address lies in; only if it was loaded from `path`, where one is given.
#[cfg(target_os = "linux")]
pub(super) fn range_around(address: usize, path: Option<&Path>) -> Option<(usize, usize)> {
    use std::{
        ffi::{CStr, c_int, c_void},
        os::unix::ffi::OsStrExt,
    };

    struct Search<'a> {
        address: usize,
        path: Option<&'a Path>,
        found: Option<(usize, usize)>,
    }

    unsafe extern "C" fn visit(object: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
        // SAFETY: `dl_iterate_phdr` passes a valid object and the pointer that it was given below.
        let (object, search) = unsafe { (&*object, &mut *search.cast::<Search<'_>>()) };
        if object.dlpi_phdr.is_null() || object.dlpi_name.is_null() {
            return 0;
        }
        // SAFETY: the linker keeps the headers and the name there while it visits the object.
        let (headers, name) = unsafe {
            let headers = std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum));
            (headers, CStr::from_ptr(object.dlpi_name))
        };
        if search.path.is_some_and(|path| path.as_os_str().as_bytes() != name.to_bytes()) {
            return 0;
        }
        // Some kernels' own object is linked above where it lies: the sum is meant to wrap.
        let base = usize::try_from(object.dlpi_addr).unwrap_or(0);
        let loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(|header| {
            let start = base.wrapping_add(usize::try_from(header.p_vaddr).unwrap_or(0));
            (start, start.saturating_add(usize::try_from(header.p_memsz).unwrap_or(0)))
        });
        let range = loaded.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        search.found = range.filter(|(start, end)| (*start..*end).contains(&search.address));
        c_int::from(search.found.is_some())
    }

    let mut search = Search { address, path, found: None };
    // SAFETY: `visit` has the type that is asked for, and `search` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), std::ptr::from_mut(&mut search).cast()) };
    search.found
}

#[cfg(not(target_os = "linux"))]
pub(super) fn range_around(_: usize, _: Option<&Path>) -> Option<(usize, usize)> {
    None
}

/// The number of a signal whose handler lies in a range.
#[cfg(target_os = "linux")]
pub(super) fn handled_signal((start, end): (usize, usize)) -> Option<i32> {
    (1..=libc::SIGRTMAX()).find(|signal| {
        let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: without a new action this only writes the present one to `now`, which zeroes are a value of.
        let (asked, now) = unsafe {
            let asked = libc::sigaction(*signal, std::ptr::null(), now.as_mut_ptr());
            (asked, now.assume_init())
        };
        asked == 0 && (start..end).contains(&now.sa_sigaction)
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn handled_signal(_: (usize, usize)) -> Option<i32> {
    None
}

/// What begins the names of the C library's own files, which are in the process before a module and after it.
const OF_THE_C_LIBRARY: [&str; 8] =
    ["ld-linux", "libc.so.", "libdl.so.", "libgcc_s.so.", "libm.so.", "libpthread.so.", "librt.so.", "libutil.so."];

/// Why a file can't be unloaded: a library that it needs would be closed along with it. That library's
/// destructors, keys and threads are not the module's by their addresses, so nobody waits for them.
pub(super) fn pinned_by_need(path: &Path) -> Option<String> {
    match needed(path) {
        Ok(needed) => {
            let foreign = needed.iter().find(|name| !OF_THE_C_LIBRARY.iter().any(|known| name.starts_with(known)))?;
            Some(format!("it needs the shared library `{foreign}`, whose threads and destructors can't be told apart"))
        }
        Err(error) => Some(format!("the libraries that it needs can't be read: {error}")),
    }
}

fn needed(path: &Path) -> Result<Vec<String>, String> {
    let cache = ReadCache::new(File::open(path).map_err(|error| error.to_string())?);
    let file = ElfFile64::<Endianness, _>::parse(&cache).map_err(|error| error.to_string())?;
    let sections = file.elf_section_table();
    let table = sections.dynamic_table(file.endian(), &cache).map_err(|error| error.to_string())?;
    let names = table.iter().filter(|entry| entry.tag == elf::DT_NEEDED).map(|entry| {
        let name = entry.string(table.strings()).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(name).into_owned())
    });
    names.collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    extern "C" fn on_signal(_: libc::c_int) {}

    #[test]
    fn a_signal_is_found_by_where_its_handler_lies() {
        let at = on_signal as extern "C" fn(libc::c_int) as usize;
        assert_eq!(handled_signal((at, at + 1)), None);
        // SAFETY: the handler does nothing, and nobody in this process sends or uses this signal.
        let before = unsafe { libc::signal(libc::SIGURG, at) };
        assert_eq!(handled_signal((at, at + 1)), Some(libc::SIGURG));
        // SAFETY: puts back what was there.
        unsafe { libc::signal(libc::SIGURG, before) };
    }

    #[test]
    fn a_file_that_needs_more_than_the_c_library_is_named_with_it() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(pinned_by_need(&own), None);
        assert!(needed(&own).unwrap().iter().any(|name| name.starts_with("libc.so.")));
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("x.so");
        std::fs::write(&text, b"no library").unwrap();
        assert!(pinned_by_need(&text).is_some_and(|note| note.contains("can't be read")));
        // The same file, but for the name of one library.
        let bytes = std::fs::read(&own).unwrap();
        let at = bytes.windows(10).position(|window| window == b"libgcc_s.s").unwrap();
        let mut other = bytes;
        other[at..at + 10].copy_from_slice(b"libother.s");
        let path = folder.path().join("y.so");
        std::fs::write(&path, other).unwrap();
        assert!(pinned_by_need(&path).is_some_and(|note| note.contains("`libother.so.1`")));
    }
}
