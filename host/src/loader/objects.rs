//! Which object of the process an address lies in, as the dynamic linker knows it.

#![allow(unsafe_code, reason = "walks the dynamic linker's list of objects")]

use std::path::Path;

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
        let base = usize::try_from(object.dlpi_addr).unwrap_or(0);
        let loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(|header| {
            let start = base + usize::try_from(header.p_vaddr).unwrap_or(0);
            (start, start + usize::try_from(header.p_memsz).unwrap_or(0))
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
