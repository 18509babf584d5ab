//! The outcome of policy tests as JUnit XML, which CI systems show.
//!
//! Invariant: names and texts of the tests are escaped, and hold no character that XML 1.0 cannot.

use std::fmt::Write as _;

use super::suite::told;
use crate::policy::{Outcome, SuiteReport};

/// The whole document.
pub(super) fn document(file: &str, report: &SuiteReport) -> String {
    let (tests, failures) = (report.outcomes.len(), report.failed);
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a text cannot fail.
    let _ = writeln!(
        text,
        "<testsuites tests=\"{tests}\" failures=\"{failures}\">\n  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\">",
        escaped(file)
    );
    for outcome in &report.outcomes {
        case(&mut text, file, outcome);
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn case(text: &mut String, file: &str, outcome: &Outcome) {
    let name = format!(
        "{}: {} as {}",
        outcome.test, outcome.request, outcome.caller
    );
    let (file, name, line) = (escaped(file), escaped(&name), outcome.line);
    let head = format!(
        "    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{line}\""
    );
    let lines: Vec<String> = told(outcome).collect();
    let _ = match lines.first() {
        None => writeln!(text, "{head}/>"),
        Some(first) => writeln!(
            text,
            "{head}>\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
            escaped(first),
            escaped(&lines.join("\n"))
        ),
    };
}

/// XML 1.0 §2.2 and §2.4.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(
            escaped("a<b>&\"c\"\u{1b}[31m\u{ffff}\n"),
            "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}[31m\u{fffd}\n"
        );
    }
}
