//! The part of the benchmarks that counts what is allocated. A program of its own: the counting slows each allocation,
//! and whatever is timed is better off without it. `bench` starts it.

use std::{alloc::System, process::ExitCode};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    bench::main_counted(ALLOCATOR)
}
