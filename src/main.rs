//! The `portcullis` binary: parses the command line, runs it, exits with its code.

fn main() {}
