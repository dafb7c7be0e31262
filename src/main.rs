//! The `cadenza` binary.

use std::process::ExitCode;

/// Measured: a claim and a record spend a third of their own time in the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cadenza::cli::main()
}
