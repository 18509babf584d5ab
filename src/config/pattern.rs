//! Paths, methods and hosts of routes: which requests a route is for.
//!
//! Invariant: a pattern is in the canonical form in which the gateway compares paths (no empty,
//! `.` or `..` segment, no percent-encoding), so it can match only what it looks like. Segments
//! are compared whole (security.md row 73), and `*` is a character like any other (row 70).

use http::Method;

use crate::gateway::PathPattern;

use super::field::{Field, Section};
use super::report::quoted;
use super::url::is_host_name;

/// `CONNECT` and `TRACE` are never forwarded.
const METHODS: [(&str, Method); 7] = [
    ("DELETE", Method::DELETE),
    ("GET", Method::GET),
    ("HEAD", Method::HEAD),
    ("OPTIONS", Method::OPTIONS),
    ("PATCH", Method::PATCH),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
];

/// Reads `prefix` or `path`.
pub(super) fn pattern(section: &Section<'_>) -> Option<PathPattern> {
    const HINT: &str =
        "write prefix: /v1/things for a path and all beneath it, or path: /v1/things/{id} for one";
    let choice = section.one_of(&["prefix", "path"], HINT)?;
    let text = path(&choice.field)?;
    match choice.key {
        "prefix" => prefix(&choice.field, text),
        _ => template(&choice.field, text),
    }
}

/// Reads `strip_prefix`, which has to be a beginning of `pattern`.
pub(super) fn strip_prefix(field: &Field<'_>, pattern: Option<&PathPattern>) -> Option<String> {
    let text = path(field)?;
    if text == "/" {
        return field.refuse("nothing would be stripped", "remove strip_prefix");
    }
    let (PathPattern::Prefix(whole) | PathPattern::Template(whole)) = pattern?;
    let rest = whole.strip_prefix(text);
    if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return field.refuse(
            format!("{} is not a beginning of {}", quoted(text), quoted(whole)),
            "write the first segments of the route's prefix or path",
        );
    }
    if text.contains('{') {
        return field.refuse(
            "a parameter cannot be stripped",
            "stop before the first {name}",
        );
    }
    Some(text.to_owned())
}

/// Reads an item of `methods`.
pub(super) fn method(field: &Field<'_>) -> Option<Method> {
    match field.text()? {
        name @ ("CONNECT" | "TRACE") => {
            field.refuse(format!("the method {name} is never forwarded"), "remove it")
        }
        _ => field.word(&METHODS),
    }
}

/// Reads an item of `hosts`.
pub(super) fn host(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_host_name(text) {
        return Some(text.to_owned());
    }
    let lower = text.to_lowercase();
    let hint = if is_host_name(&lower) {
        format!("write {lower}")
    } else {
        "write a host name in lower case, without port and without `*`".to_owned()
    };
    field.refuse(format!("{} is not a host name", quoted(text)), hint)
}

/// What two patterns have in common if they match the same paths: parameters have no names here.
pub(super) fn shape(pattern: &PathPattern) -> PathPattern {
    match pattern {
        PathPattern::Prefix(_) => pattern.clone(),
        PathPattern::Template(text) => {
            let segments = text.split('/');
            let nameless = segments.map(|segment| parameter(segment).map_or(segment, |_| "{}"));
            PathPattern::Template(nameless.collect::<Vec<_>>().join("/"))
        }
    }
}

fn prefix(field: &Field<'_>, text: &str) -> Option<PathPattern> {
    if text.contains(['{', '}']) {
        return field.refuse(
            "a prefix has no parameters",
            "write path: for a template with {name}",
        );
    }
    Some(PathPattern::Prefix(text.to_owned()))
}

fn template(field: &Field<'_>, text: &str) -> Option<PathPattern> {
    let mut names = Vec::new();
    for segment in text
        .split('/')
        .filter(|segment| segment.contains(['{', '}']))
    {
        let Some(name) = parameter(segment) else {
            return field.refuse(
                format!("{} is not a parameter", quoted(segment)),
                "a parameter is a whole segment: {name}, of the characters a-z 0-9 _",
            );
        };
        if names.contains(&name) {
            return field.refuse(format!("{{{name}}} is repeated"), "rename one of them");
        }
        names.push(name);
    }
    Some(PathPattern::Template(text.to_owned()))
}

fn parameter(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.bytes().all(allowed)).then_some(name)
}

/// A path in canonical form.
pub(super) fn path<'a>(field: &Field<'a>) -> Option<&'a str> {
    let text = field.text()?;
    match fault(text) {
        Some((message, hint)) => field.refuse(format!("{} {message}", quoted(text)), hint),
        None => Some(text),
    }
}

fn fault(text: &str) -> Option<(&'static str, &'static str)> {
    const PLAIN: &str = "write the plain path, as /v1/things";
    let segments = || text.split('/').skip(1);
    if !text.starts_with('/') {
        return Some(("does not begin with `/`", PLAIN));
    }
    if text.contains(['?', '#']) {
        return Some(("has a query or a fragment", PLAIN));
    }
    if text.contains('%') {
        return Some(("is percent-encoded", "paths are compared after decoding"));
    }
    if !text.bytes().all(in_path) {
        return Some(("has a character that no path has", PLAIN));
    }
    if text.len() > 1 && text.ends_with('/') {
        return Some(("ends in `/`", "remove the last `/`"));
    }
    if text != "/" && segments().any(str::is_empty) {
        return Some(("has an empty segment", "write `/` once"));
    }
    if segments().any(|segment| matches!(segment, "." | "..")) {
        return Some(("has a segment `.` or `..`", PLAIN));
    }
    if segments().any(|segment| matches!(segment, "*" | "**")) {
        return Some((
            "has a segment `*`, which stands for itself only",
            "write prefix: for everything beneath a path, {name} for one segment",
        ));
    }
    None
}

/// RFC 3986 §3.3 `pchar` without percent-encoding, `/`, and the braces of parameters.
fn in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@{}".contains(&byte)
}
