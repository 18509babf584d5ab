//! An error with what caused it, in one line, for the process log.
//!
//! The log is JSON where nobody looks on, and its writer keeps of an error only the outermost words:
//! "the store is unavailable", and not why. Invariant: what a wrapper merely repeats is said once.

use std::error::Error;
use std::fmt;

/// Shows an error, its cause, and so on, with `: ` between them.
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if text != said {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the store is unavailable")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("connection refused")]
    struct Inner;

    #[test]
    fn each_cause_is_said_and_none_twice() {
        // An `io::Error` around another error shows the words of that.
        let error = Outer(io::Error::other(io::Error::other(Inner)));
        let text = Causes(&error).to_string();
        assert_eq!(text, "the store is unavailable: connection refused");
        assert_eq!(Causes(&Inner).to_string(), "connection refused");
    }
}
