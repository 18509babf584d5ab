//! `gateway.tests.yaml`: what is expected of the policy.
//!
//! Invariant: a test that could not hold or could not fail, because it names what is not there or
//! contradicts itself, is a problem of the file, and not a test that fails.

use std::collections::BTreeMap;
use std::path::Path;

use crate::auth::{Bearer as _, Supposed};
use crate::policy::{Case, Policy, Suite};
use crate::scope::Scope;

use super::field::{Field, Section};
use super::nearest::nearest;
use super::node::Value;
use super::problem::Problems;
use super::report::{Report, quoted};
use super::{folder, pattern, raw, text_of};

mod caller;
mod expect;

const NOBODY: &str = "nobody";
const EXPECT: &str =
    "write allow, deny, a status, or { verdict, status, reason, route, upstream, headers }";
const HINT: &str = "add tests: a list of { name, request, as, expect }";

/// Reads a file of policy tests.
///
/// # Errors
/// Everything that is wrong with it.
pub fn suite(path: &Path, policy: &Policy) -> Result<Suite, Problems> {
    let text = text_of(path, "name the file of the policy tests")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let report = Report::new(&path.display().to_string(), text, folder(path));
    let tree = match raw::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            let hint = "correct the YAML here; the other checks come after that";
            report.add(&error.place, "", error.message, hint);
            return Err(report.into_problems());
        }
    };
    let reader = Reader::new(policy);
    let suite = Field::document(&report, &tree).section(|root| reader.suite(root));
    report.finish(suite)
}

/// What a test may name.
struct Reader<'a> {
    policy: &'a Policy,
    scopes: Vec<&'a str>,
}

/// Who asks, by name.
#[derive(Clone)]
struct Caller {
    name: String,
    who: Option<Supposed>,
}

impl<'a> Reader<'a> {
    fn new(policy: &'a Policy) -> Reader<'a> {
        let scopes = policy.parts().scopes.iter().map(Scope::as_str);
        Reader {
            scopes: scopes.collect(),
            policy,
        }
    }

    fn suite(&self, root: &Section<'_>) -> Option<Suite> {
        let entries = root.or("callers", Vec::new(), Field::entries)?;
        let callers: Vec<Option<Caller>> = entries.iter().map(|entry| self.named(entry)).collect();
        // Also those with a problem are known: a test that names one is not another problem.
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        let callers: BTreeMap<String, Caller> = callers
            .into_iter()
            .flatten()
            .map(|caller| (caller.name.clone(), caller))
            .collect();
        let known = Known { names, callers };
        let mut lines = BTreeMap::new();
        let cases = root.required("tests", HINT, |tests| {
            tests.list_of(|test| test.section(|section| self.cases(section, &known, &mut lines)))
        })?;
        Some(Suite {
            cases: cases.into_iter().flatten().collect(),
        })
    }

    fn cases(
        &self,
        section: &Section<'_>,
        known: &Known<'_>,
        lines: &mut BTreeMap<String, usize>,
    ) -> Option<Vec<Case>> {
        let name = section.required("name", "add name: what is tested", |field| {
            unrepeated(field, lines)
        });
        let requests = section.required("request", "add request: GET /path", |field| {
            one_or_many(field, request)
        });
        let callers = match section.get("as") {
            None => Some(vec![Caller::nobody()]),
            Some(field) => one_or_many(&field, |item| self.caller(item, known)),
        };
        let host = section.optional("host", pattern::host);
        let address = section.optional("address", |field| field.network());
        let expect = section.required("expect", EXPECT, |field| self.expectation(field));
        let (requests, expect) = (requests?, expect?);
        if let Some(field) = section.get("expect") {
            self.reachable(&field, &requests, &expect)?;
        }
        let case = |(method, path): &(String, String), caller: &Caller| {
            Some(Case {
                name: name.clone()?,
                line: section.field().line(),
                method: method.clone(),
                path: path.clone(),
                host: host.clone()?,
                address: address?.map(|network| network.addr()),
                caller_name: caller.name.clone(),
                caller: caller.who.clone(),
                expect: expect.clone(),
            })
        };
        let callers = callers?;
        let pairs = requests
            .iter()
            .flat_map(|request| callers.iter().map(move |caller| (request, caller)));
        pairs
            .map(|(request, caller)| case(request, caller))
            .collect()
    }
}

/// Who is named in `callers`, also where what is said of them is wrong.
struct Known<'a> {
    names: Vec<&'a str>,
    callers: BTreeMap<String, Caller>,
}

impl Caller {
    /// Named by what it is.
    fn described(self) -> Caller {
        let name = self.who.as_ref().map_or_else(String::new, |who| {
            let (kind, scopes) = (who.kind().label(), who.scopes());
            match scopes.is_empty() {
                true => format!("{kind} without scopes"),
                false => format!("{kind} with {scopes}"),
            }
        });
        Caller { name, ..self }
    }

    fn nobody() -> Caller {
        Caller {
            name: NOBODY.into(),
            who: None,
        }
    }
}

/// A name that has to be one of those that there are.
fn known(field: &Field<'_>, what: &str, names: &[&str]) -> Option<String> {
    let text = field.text()?;
    if names.contains(&text) {
        return Some(text.to_owned());
    }
    let hint = match nearest(text, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.len() > 12 => format!("the configuration has no such {what}"),
        None => format!("there are {}", names.join(", ")),
    };
    field.refuse(format!("unknown {what} {}", quoted(text)), hint)
}

fn one_or_many<'a, T>(
    field: &Field<'a>,
    mut read: impl FnMut(&Field<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    match field.value() {
        Value::List(_) => field.list_of(read),
        _ => Some(vec![read(field)?]),
    }
}

/// `GET /v1/things`.
fn request(field: &Field<'_>) -> Option<(String, String)> {
    const HINT: &str = "write a method and a path: GET /v1/things";
    let text = field.text()?;
    match text.split_once(' ') {
        Some((method, path)) if path.starts_with('/') && !path.contains(' ') => {
            Some((method.to_owned(), path.to_owned()))
        }
        _ => field.refuse(format!("{} is not a request", quoted(text)), HINT),
    }
}

fn unrepeated(field: &Field<'_>, lines: &mut BTreeMap<String, usize>) -> Option<String> {
    let name = field.text()?;
    if let Some(first) = lines.get(name) {
        let hint = format!("it is the name of the test on line {first}, too; rename one of them");
        return field.refuse(format!("the test name {} is repeated", quoted(name)), hint);
    }
    lines.insert(name.to_owned(), field.line());
    Some(name.to_owned())
}
