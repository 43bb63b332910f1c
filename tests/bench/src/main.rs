//! The program `bench`; all of it is in the library, which its counting sister has too.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::main()
}
