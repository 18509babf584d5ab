//! Secrets on the command line: `-` reads one from standard input, which `ps` does not show.

use std::fmt::Display;
use std::io::Read as _;

use clap::Parser;
use zeroize::Zeroizing;

use super::Failure;
use crate::secret::Secret;

/// What is told of a secret that stands where an id belongs. It is not repeated: what is on a
/// screen gets into tickets.
const NO_ID: &str = "a secret is given where an id belongs, and others may have seen it (`ps`, the shell's \
                     history): `portcullis token revoke -` reads it from standard input and revokes it";

/// The longest secret that is read, in bytes.
const LONGEST: u64 = 16 * 1024;

/// Takes an argument into a type that no `Debug` shows.
pub(super) fn hidden(argument: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(argument))
}

/// Reads the command line. What clap says of it shows no secret.
pub(super) fn command_line<C: Parser>() -> C {
    C::try_parse().unwrap_or_else(|error| {
        let text = error.render().to_string();
        let arguments = std::env::args_os().skip(1);
        let shown = arguments.fold(text.clone(), |text, argument| {
            let argument = argument.to_string_lossy();
            // With an option: --id=osir_live_…
            let value = argument.rsplit('=').next().unwrap_or_default();
            match is_secret(value) {
                true => text.replace(value, "…"),
                false => text,
            }
        });
        if shown == text {
            error.exit();
        }
        eprint!("{shown}");
        std::process::exit(error.exit_code());
    })
}

/// Takes an id, and refuses a secret in its place before it gets anywhere.
pub(super) fn id<T: 'static, E: Display + 'static>(
    parse: fn(&str) -> Result<T, E>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| match is_secret(text) {
        true => Err(NO_ID.into()),
        false => parse(text).map_err(|error| error.to_string()),
    }
}

/// By the shape of what any gateway gives out, whatever its prefix, and of JWTs.
fn is_secret(text: &str) -> bool {
    const KINDS: [&str; 7] = ["ac", "cs", "csess", "live", "rt", "sess", "test"];
    const SHORTEST: usize = 32;
    let mut parts = text.rsplitn(3, '_');
    let (body, kind) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let is_word = body.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_opaque = KINDS.contains(&kind) && is_word && body.len() >= SHORTEST;
    is_opaque || (text.starts_with("eyJ") && text.matches('.').count() == 2)
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
