//! Which parts of the file may be shown in a snippet.
//!
//! Not here: messages, which never quote a secret by construction. Invariant: what stands under a
//! key that holds secrets, inside a URL with user information, or under a key that nobody knows
//! (it may be a misspelt `password`) is masked in every snippet, whichever problem shows the line.

use std::cell::RefCell;
use std::ops::Range;

use super::node::{Key, Node, Place, Value};
use super::problem::Snippet;

/// Keys whose values are secrets, at any depth.
const SECRET_KEYS: [&str; 3] = ["admin_token", "password", "pepper"];
/// What makes a line suspect where YAML could not be parsed and no key is known.
const SECRET_WORDS: [&str; 7] = ["cred", "key", "pas", "pepper", "pw", "secret", "token"];
const MASK: &str = "***";
/// A longer line is cropped around the mark.
const SHOWN: usize = 120;

/// The parts of a file that are not shown.
pub(super) struct Redaction<'a> {
    text: &'a str,
    hidden: RefCell<Vec<Range<usize>>>,
}

impl<'a> Redaction<'a> {
    /// Hides nothing yet.
    pub(super) fn new(text: &'a str) -> Redaction<'a> {
        Redaction {
            text,
            hidden: RefCell::default(),
        }
    }

    /// Hides everything in a document that is known to be a secret.
    pub(super) fn hide_secrets(&self, node: &Node) {
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| self.hide_secrets(item)),
            Value::Map(entries) => {
                for (key, node) in entries {
                    if SECRET_KEYS.contains(&key.name.as_str()) {
                        self.hide_all_but_references(key, node);
                    } else {
                        self.hide_secrets(node);
                    }
                }
            }
            Value::Text(text) if has_userinfo(text) => self.hide(node.place.bytes.clone()),
            Value::Bool(_) | Value::Float | Value::Integer(_) | Value::Null | Value::Text(_) => {}
        }
    }

    /// Hides the value of a key: its scalars, wherever they stand, and the rest of the key's
    /// line. YAML takes `#…`, `!…` and `&…` for a comment, a tag and an anchor; in a password
    /// without quotes they are part of it.
    pub(super) fn hide_value(&self, key: &Key, node: &Node) {
        node.each_scalar(&mut |scalar| self.hide(scalar.place.bytes.clone()));
        let from = key.place.bytes.end;
        let rest = self.text.get(from..).and_then(|rest| rest.lines().next());
        let rest = rest.unwrap_or("");
        let value = rest.trim_start_matches([':', ' ']);
        self.hide(from + rest.len() - value.len()..from + rest.len());
    }

    /// A secret's `{ file: … }` and `${env:…}` only say where it is, and may be shown.
    fn hide_all_but_references(&self, key: &Key, node: &Node) {
        match &node.value {
            Value::Map(entries) if entries.iter().any(|(key, _)| key.name == "file") => {
                let others = entries.iter().filter(|(key, _)| key.name != "file");
                others.for_each(|(key, node)| self.hide_value(key, node));
            }
            Value::Text(text) if environment_variable(text).is_some() => {}
            _ => self.hide_value(key, node),
        }
    }

    fn hide(&self, range: Range<usize>) {
        self.hidden.borrow_mut().push(range);
    }

    /// Hides what may be a secret in a line that could not be parsed: the value where the line
    /// speaks of a secret, and everything where it may be the inside of a longer text.
    pub(super) fn hide_suspect_line(&self, line: usize) {
        let Some((start, content)) = line_of(self.text, line) else {
            return;
        };
        let lower = content.to_ascii_lowercase();
        let suspect = has_userinfo(content) || SECRET_WORDS.iter().any(|word| lower.contains(word));
        let from = match content.find(':') {
            Some(colon) if suspect => colon + 1,
            Some(_) => return,
            None if content.trim_start().starts_with("- ") && !suspect => return,
            None => 0,
        };
        self.hide(start + from..start + content.len());
    }

    /// The line of a place, as it may be shown.
    pub(super) fn snippet(&self, place: &Place) -> Snippet {
        let Some((start, content)) = line_of(self.text, place.line) else {
            return Snippet {
                width: 1,
                ..Snippet::default()
            };
        };
        let mut shown = Vec::new();
        // For each character of the line, and for its end, where it is in `shown`.
        let mut positions = Vec::new();
        let mut in_mask = false;
        for (offset, character) in content.char_indices() {
            let hidden = self.hides(start + offset);
            if hidden && !in_mask {
                shown.extend(MASK.chars());
            }
            in_mask = hidden;
            positions.push(shown.len() - if hidden { MASK.len() } else { 0 });
            if !hidden {
                shown.push(printable(character));
            }
        }
        positions.push(shown.len());
        let at = |column: usize| positions.get(column).copied().unwrap_or(shown.len());
        let indent = at(place.column.saturating_sub(1));
        let end = at(place.column.saturating_sub(1) + place.width);
        crop(&shown, indent, end.saturating_sub(indent).max(1))
    }

    fn hides(&self, offset: usize) -> bool {
        let hidden = self.hidden.borrow();
        hidden.iter().any(|range| range.contains(&offset))
    }
}

/// The name in a text that is `${env:NAME}` and nothing else.
pub(super) fn environment_variable(text: &str) -> Option<&str> {
    text.strip_prefix("${env:")?.strip_suffix('}')
}

/// Whether a text may be a URL with a password, also one with a slip in it.
pub(super) fn has_userinfo(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(before, _)| before.contains(':'))
}

/// A line by its number from 1: its offset in the text and its content without the line end.
fn line_of(text: &str, line: usize) -> Option<(usize, &str)> {
    let content = text.lines().nth(line.checked_sub(1)?)?;
    Some((content.as_ptr() as usize - text.as_ptr() as usize, content))
}

/// Nothing in a snippet may steer a terminal.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        other if other.is_control() => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

fn crop(shown: &[char], indent: usize, width: usize) -> Snippet {
    if shown.len() <= SHOWN {
        return Snippet {
            text: shown.iter().collect(),
            indent,
            width,
        };
    }
    let from = indent.saturating_sub(SHOWN / 2).min(shown.len() - SHOWN);
    let to = from + SHOWN;
    let (before, after) = (from > 0, to < shown.len());
    let mut text: Vec<char> = shown[from..to].to_vec();
    if before {
        text[0] = '…';
    }
    if after {
        text[SHOWN - 1] = '…';
    }
    let indent = (indent - from).min(SHOWN - 1);
    Snippet {
        text: text.into_iter().collect(),
        indent,
        width: width.min(SHOWN - indent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(column: usize, width: usize) -> Place {
        Place {
            line: 1,
            column,
            width,
            bytes: 0..0,
        }
    }

    #[test]
    fn a_long_line_is_cropped_around_its_mark() {
        let line = format!("{}HERE{}", "a".repeat(300), "b".repeat(300));
        let snippet = Redaction::new(&line).snippet(&at(301, 4));
        let text: Vec<char> = snippet.text.chars().collect();
        assert_eq!(text.len(), SHOWN);
        let marked: String = text[snippet.indent..snippet.indent + snippet.width]
            .iter()
            .collect();
        assert_eq!(marked, "HERE");
        let end = Redaction::new(&line).snippet(&at(605, 0));
        assert_eq!((end.indent, end.width), (SHOWN - 1, 1));
    }

    #[test]
    fn control_characters_are_not_shown() {
        let snippet = Redaction::new("a\u{1b}[31m\tb").snippet(&at(1, 1));
        assert_eq!(snippet.text, "a\u{fffd}[31m b");
    }

    #[test]
    fn a_line_that_could_not_be_parsed_shows_no_secret() {
        let shown = |text: &str| {
            let redaction = Redaction::new(text);
            redaction.hide_suspect_line(1);
            redaction.snippet(&at(1, 1)).text
        };
        assert_eq!(shown("  password: \"hunter2"), "  password:***");
        assert_eq!(shown("url: redis://me:hunter2@h"), "url:***");
        assert_eq!(shown("   hunter2"), "***");
        assert_eq!(shown("- hunter2 secret"), "***");
        assert_eq!(shown("routes: ]"), "routes: ]");
        assert_eq!(shown("- name"), "- name");
    }
}
