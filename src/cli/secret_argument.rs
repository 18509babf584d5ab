//! Secrets on the command line: `-` reads one from standard input, which `ps` does not show.

use std::io::Read as _;

use zeroize::Zeroizing;

use super::Failure;
use crate::secret::Secret;

/// The longest secret that is read, in bytes.
const LONGEST: u64 = 16 * 1024;

/// Takes an argument into a type that no `Debug` shows.
pub(super) fn hidden(argument: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(argument))
}

/// The secret that an argument stands for.
pub(super) fn read(argument: &Secret) -> Result<Secret, Failure> {
    if argument.expose() != "-" {
        return Ok(argument.clone());
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(LONGEST).read_to_string(&mut text)?;
    Ok(Secret::new(text.trim()))
}
