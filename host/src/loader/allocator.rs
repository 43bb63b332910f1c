//! How the C library's allocator behaves in this process, which host and modules share.

/// Has glibc's allocator keep one arena for each core, and two at the least, where it would keep eight: what one thread gave
/// back is of use to others sooner. With 10,000 tenants whose modules run that is a fifth of the resident memory, see `cargo
/// xtask bench memory`. Whoever has set `MALLOC_ARENA_MAX` or `GLIBC_TUNABLES` has decided otherwise, and nothing is done;
/// nor is it with another C library.
///
/// For programs, at their start: libraries must not decide this for the program that they are in.
pub fn share_arenas() {
    let is_decided = |variable: &str| std::env::var_os(variable).is_some();
    if is_decided("MALLOC_ARENA_MAX") || is_decided("GLIBC_TUNABLES") {
        return;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
        let arenas = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);
        // SAFETY: `mallopt` takes two integers and keeps no pointer; glibc has it take the allocator's own lock.
        #[expect(unsafe_code, reason = "libc has no safe way to say it")]
        let done = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
        if done == 0 {
            // What it would have saved is not worth a refusal to start.
            tracing::debug!(arenas, "the allocator keeps as many arenas as it likes");
        }
    }
}
