//! The `cadenza` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cadenza::cli::main()
}
