//! What is wrong with a configuration: each problem with its place, all of them together.
//!
//! Invariant: neither `Display` nor `Debug` shows a secret. Messages never quote one, and the
//! snippets were masked when they were taken (`redaction`).

use std::fmt;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) snippet: Snippet,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Problem {
    /// Which setting, from the top of the file: `routes[3].access.scopes[0]`. Empty where the
    /// file as a whole is meant.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Line in the file, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column in the line in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The line of the file, with secrets masked.
    pub fn snippet(&self) -> &str {
        &self.snippet.text
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// One line of the file as it is shown, and which part of it is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snippet {
    pub(super) text: String,
    /// Characters before the mark.
    pub(super) indent: usize,
    /// Characters under the mark, at least one.
    pub(super) width: usize,
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: String, mut list: Vec<Problem>) -> Problems {
        list.sort_by_key(|problem| (problem.line, problem.column));
        Problems { file, list }
    }

    /// The file that they are in.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The problems; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }
}

/// In the form of rustc:
///
/// ```text
/// error: unknown scope `domains:raed`
///   --> gateway.yaml:57:24 (routes[0].access.scopes[0])
///    |
/// 57 |     access: { scopes: [domains:raed] }
///    |                        ^^^^^^^^^^^^
///    = help: did you mean `domains:read`?
/// ```
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            show(f, &self.file, problem)?;
            f.write_str("\n")?;
        }
        let (count, plural) = match self.list.len() {
            1 => ("one".to_owned(), ""),
            count => (count.to_string(), "s"),
        };
        write!(f, "{count} problem{plural} in {}", self.file)
    }
}

fn show(f: &mut fmt::Formatter<'_>, file: &str, problem: &Problem) -> fmt::Result {
    let line = problem.line.to_string();
    let margin = " ".repeat(line.len());
    let label = match problem.path.as_str() {
        "" => String::new(),
        path => format!(" ({path})"),
    };
    let Snippet {
        text,
        indent,
        width,
    } = &problem.snippet;
    let mark = format!("{}{}", " ".repeat(*indent), "^".repeat(*width));
    writeln!(f, "error: {}", problem.message)?;
    writeln!(f, "{margin}--> {file}:{line}:{}{label}", problem.column)?;
    writeln!(f, "{margin} |")?;
    writeln!(f, "{}", format!("{line} | {text}").trim_end())?;
    writeln!(f, "{margin} | {mark}")?;
    writeln!(f, "{margin} = help: {}", problem.hint)
}
