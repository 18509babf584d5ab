//! The command line: one file per command family; no logic of its own.
