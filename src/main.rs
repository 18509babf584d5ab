//! The `portcullis` binary: parses the command line, runs it, exits with its code.

use std::process::ExitCode;

use portcullis::cli::{Cli, run};

#[cfg(not(feature = "system-allocator"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(&Cli::from_command_line())
}
