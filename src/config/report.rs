//! Collects problems while the readers go on.
//!
//! Invariant: a reader that gives `None` has reported why, so an empty report and a whole
//! configuration come together.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::node::Place;
use super::problem::{Problem, Problems};
use super::redaction::{Redaction, has_userinfo};

/// The file that is being read, and what is wrong with it so far.
pub(super) struct Report<'a> {
    file: String,
    base: &'a Path,
    reads: Reads,
    redaction: Redaction<'a>,
    found: RefCell<Vec<Finding>>,
}

/// Whether the files and variables that a configuration names are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// They have to be there.
    Everything,
    /// They are left alone: the policy does not depend on them.
    Policy,
}

struct Finding {
    place: Place,
    path: String,
    message: String,
    hint: String,
}

impl<'a> Report<'a> {
    /// An empty report. Relative paths in the file are relative to `base`.
    pub(super) fn new(file: &str, text: &'a str, base: &'a Path) -> Report<'a> {
        Report {
            file: file.to_owned(),
            base,
            reads: Reads::Everything,
            redaction: Redaction::new(text),
            found: RefCell::default(),
        }
    }

    /// The same for a reader that wants the policy alone, where no secret is.
    pub(super) fn reading(self, reads: Reads) -> Report<'a> {
        Report { reads, ..self }
    }

    pub(super) fn reads(&self) -> Reads {
        self.reads
    }

    pub(super) fn redaction(&self) -> &Redaction<'a> {
        &self.redaction
    }

    /// A path of the file, resolved.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// Notes a problem.
    pub(super) fn add(
        &self,
        place: &Place,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.found.borrow_mut().push(Finding {
            place: place.clone(),
            path: path.to_owned(),
            message: message.into(),
            hint: hint.into(),
        });
    }

    /// What was read, if nothing at all is wrong.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, Problems> {
        match read {
            Some(value) if self.found.borrow().is_empty() => Ok(value),
            _ => Err(self.into_problems()),
        }
    }

    /// What is wrong. Snippets are taken only now, when everything to be hidden is known.
    pub(super) fn into_problems(self) -> Problems {
        let Report {
            file,
            redaction,
            found,
            ..
        } = self;
        let problem = |finding: Finding| Problem {
            snippet: redaction.snippet(&finding.place),
            line: finding.place.line,
            column: finding.place.column,
            path: finding.path,
            message: finding.message,
            hint: finding.hint,
        };
        Problems::new(file, found.into_inner().into_iter().map(problem).collect())
    }
}

/// A text of the file as it may stand in a message: short, unable to steer a terminal, and no URL
/// with a password.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    if has_userinfo(text) {
        return "`***`".to_owned();
    }
    let mut shown = String::new();
    for character in text.chars().take(LONGEST) {
        if character.is_control() {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    let more = if text.chars().count() > LONGEST {
        "…"
    } else {
        ""
    };
    format!("`{shown}{more}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_short_and_harmless() {
        assert_eq!(quoted("a\u{1b}[31m"), "`a\\u{1b}[31m`");
        assert_eq!(quoted("redis:/me:hunter2@host"), "`***`");
        assert_eq!(quoted(&"x".repeat(90)), format!("`{}…`", "x".repeat(80)));
    }
}
