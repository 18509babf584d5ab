//! What a policy test expects, and whether it can come out at all.

use http::{HeaderName, Method};

use crate::gateway::Reason;
use crate::policy::{Expectation, ExpectedHeader};

use super::super::field::{Field, Section};
use super::super::node::Value;
use super::super::report::quoted;
use super::{EXPECT, Reader, known};

/// Why a policy refuses: the reasons that a test can expect.
const REASONS: [Reason; 8] = [
    Reason::Address,
    Reason::Environment,
    Reason::Method,
    Reason::MethodUnknown,
    Reason::Missing,
    Reason::NotFound,
    Reason::Path,
    Reason::Scope,
];

impl Reader<'_> {
    pub(super) fn expectation(&self, field: &Field<'_>) -> Option<Expectation> {
        match field.value() {
            Value::Text(_) => Some(Expectation {
                verdict: Some(verdict(field)?),
                ..Expectation::default()
            }),
            Value::Integer(_) => Some(Expectation {
                status: Some(field.count(200..=599)?),
                ..Expectation::default()
            }),
            Value::Map(_) => field.section(|section| self.expectations(section)),
            _ => field.mismatch("an expectation", EXPECT),
        }
    }

    fn expectations(&self, section: &Section<'_>) -> Option<Expectation> {
        let parts = self.policy.parts();
        let routes = parts.gateway.routes.iter();
        let own = parts.own.iter().map(|own| own.name);
        let routes: Vec<&str> = routes.map(|route| route.name.as_str()).chain(own).collect();
        let upstreams = parts.upstreams.iter();
        let upstreams: Vec<&str> = upstreams.map(|upstream| upstream.name.as_str()).collect();
        let verdict = section.optional("verdict", verdict);
        let status = section.optional("status", |field| field.count(200..=599));
        let reasons = REASONS.map(Reason::label);
        let reason = section.optional("reason", |field| known(field, "reason", &reasons));
        let route = section.optional("route", |field| known(field, "route", &routes));
        let upstream = section.optional("upstream", |field| known(field, "upstream", &upstreams));
        let headers = section.or("headers", Vec::new(), headers);
        let expectation = Expectation {
            verdict: verdict?,
            status: status?,
            reason: reason?,
            route: route?,
            upstream: upstream?,
            headers: headers?,
        };
        if expectation.is_empty() {
            return section.field().refuse("nothing is expected", EXPECT);
        }
        Some(expectation)
    }

    /// Whether an expectation can hold at all.
    pub(super) fn reachable(
        &self,
        field: &Field<'_>,
        requests: &[(String, String)],
        expect: &Expectation,
    ) -> Option<()> {
        if let Some(contradiction) = contradiction(expect) {
            return field.refuse(contradiction, "remove one of them");
        }
        let parts = self.policy.parts();
        let named = expect.route.as_deref();
        let route = named.and_then(|name| {
            let mut routes = parts.gateway.routes.iter();
            routes.find(|route| route.name == name)
        });
        let Some(route) = route else {
            return Some(());
        };
        let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
        if let Some((method, _)) = requests
            .iter()
            .find(|(method, _)| !methods.contains(&method.as_str()))
        {
            return field.refuse(
                format!("no {method} request takes route {}", quoted(&route.name)),
                format!("it is for {}", methods.join(", ")),
            );
        }
        let own = parts.upstreams.get(route.upstream)?;
        match &expect.upstream {
            Some(upstream) if *upstream != own.name => field.refuse(
                format!(
                    "route {} does not go to upstream {}",
                    quoted(&route.name),
                    quoted(upstream)
                ),
                format!("it goes to {}", own.name),
            ),
            _ => Some(()),
        }
    }
}

fn verdict(field: &Field<'_>) -> Option<&'static str> {
    field.word(&[("allow", "allow"), ("deny", "deny")])
}

/// Names with what they say: a text, `"*"` for whatever it is, or nothing where it must not be there.
fn headers(field: &Field<'_>) -> Option<Vec<(HeaderName, ExpectedHeader)>> {
    let entries = field.entries()?;
    let header = |entry: &super::super::field::Entry<'_>| {
        let Ok(name) = HeaderName::try_from(entry.name) else {
            return entry.refuse("this is no header name", "write it as in x-auth-scopes");
        };
        let expected = match entry.field.value() {
            Value::Null => ExpectedHeader::Absent,
            Value::Text(text) if text == "*" => ExpectedHeader::Any,
            // Also empty: the scopes of who has none.
            Value::Text(text) => ExpectedHeader::Text(text.clone()),
            _ => {
                return entry
                    .field
                    .mismatch("text", "put it in quotes to make it text");
            }
        };
        Some((name, expected))
    };
    entries.iter().map(header).collect()
}

/// What of an expectation excludes the rest of it.
fn contradiction(expect: &Expectation) -> Option<String> {
    let allows = expect.verdict == Some("allow") || expect.status == Some(200);
    let reason = expect.reason.as_deref();
    let denies = expect.verdict == Some("deny")
        || expect.status.is_some_and(|status| status != 200)
        || reason.is_some();
    if allows && denies {
        return Some("a request is allowed, with status 200, or refused with a reason".into());
    }
    if denies && !expect.headers.is_empty() {
        return Some("no upstream is told anything of a request that is refused".into());
    }
    let meant = REASONS.iter().find(|known| Some(known.label()) == reason)?;
    let status = meant.answer().status.as_u16();
    let other = expect.status.filter(|expected| *expected != status)?;
    let label = meant.label();
    Some(format!(
        "the reason {label} has the status {status}, not {other}"
    ))
}
