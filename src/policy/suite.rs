//! Policy tests: what is expected of requests, and what the policy says of them.
//!
//! Not here: the file they are in ([`crate::config`]), and how the outcome is shown. Invariant: every
//! expectation is compared; one that holds by chance, such as a refused request on another route, fails
//! where the test says which route it means.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use serde::Serialize;

use super::coverage::{Coverage, Tally};
use super::decision::{Decision, Policy, Question, Verdict};
use crate::auth::Supposed;

/// All tests of a file.
#[derive(Debug)]
pub struct Suite {
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// One request by one caller, and what is expected of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The test's name.
    pub name: String,
    /// Where it stands in the file.
    pub line: usize,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The `Host`, if one is meant.
    pub host: Option<String>,
    /// The client's address, if one is meant.
    pub address: Option<IpAddr>,
    /// The caller's name in the file.
    pub caller_name: String,
    /// Who asks; `None` shows no credential.
    pub caller: Option<Supposed>,
    /// What has to come out.
    pub expect: Expectation,
}

/// What has to come out; what is not said is not compared.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// `allow` or `deny`.
    pub verdict: Option<&'static str>,
    /// What the client gets.
    pub status: Option<u16>,
    /// Why it is refused.
    pub reason: Option<String>,
    /// The route that decides.
    pub route: Option<String>,
    /// Where it goes.
    pub upstream: Option<String>,
    /// What the upstream is told.
    pub headers: Vec<(HeaderName, ExpectedHeader)>,
}

/// What a field of the request to the upstream has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedHeader {
    /// Not there.
    Absent,
    /// There, whatever it says.
    Any,
    /// Exactly this.
    Text(String),
}

/// What came out of all tests.
#[derive(Debug, Serialize)]
pub struct SuiteReport {
    /// How many tests failed.
    pub failed: usize,
    /// Each request of each test.
    pub outcomes: Vec<Outcome>,
    /// What of the policy was tried.
    pub coverage: Coverage,
}

/// What came out of one case.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The test's name.
    pub test: String,
    /// Where it stands in the file.
    pub line: usize,
    /// Method and path.
    pub request: String,
    /// The caller's name.
    pub caller: String,
    /// Whether every expectation holds.
    pub passed: bool,
    /// What was expected and is not so.
    pub mismatches: Vec<Mismatch>,
}

/// One expectation that does not hold.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What is compared.
    pub what: String,
    /// What the test says.
    pub expected: String,
    /// What the policy says.
    pub found: String,
}

/// Asks the policy for every case.
pub fn run(policy: &Policy, suite: &Suite) -> SuiteReport {
    let mut tally = Tally::new(policy);
    let outcomes: Vec<Outcome> = suite
        .cases
        .iter()
        .map(|case| {
            let decision = policy.decide(&case.question());
            let mismatches = case.expect.mismatches(&decision);
            if mismatches.is_empty() {
                tally.note(case, &decision);
            }
            case.outcome(mismatches)
        })
        .collect();
    SuiteReport {
        failed: outcomes.iter().filter(|outcome| !outcome.passed).count(),
        outcomes,
        coverage: tally.coverage(),
    }
}

impl Case {
    fn question(&self) -> Question<'_> {
        Question {
            method: &self.method,
            path: &self.path,
            host: self.host.as_deref(),
            address: self.address,
            caller: self.caller.as_ref(),
        }
    }

    fn outcome(&self, mismatches: Vec<Mismatch>) -> Outcome {
        Outcome {
            test: self.name.clone(),
            line: self.line,
            request: format!("{} {}", self.method, self.path),
            caller: self.caller_name.clone(),
            passed: mismatches.is_empty(),
            mismatches,
        }
    }
}

impl Expectation {
    /// Whether nothing is compared.
    pub fn is_empty(&self) -> bool {
        let Expectation {
            verdict,
            status,
            reason,
            route,
            upstream,
            headers,
        } = self;
        let texts = [reason, route, upstream];
        verdict.is_none()
            && status.is_none()
            && texts.iter().all(|text| text.is_none())
            && headers.is_empty()
    }

    fn mismatches(&self, decision: &Decision<'_>) -> Vec<Mismatch> {
        let Decision {
            verdict,
            route,
            upstream,
            headers,
        } = decision;
        let texts = [
            ("verdict", self.verdict, Some(verdict.label())),
            ("reason", self.reason.as_deref(), verdict.reason()),
            ("route", self.route.as_deref(), *route),
            ("upstream", self.upstream.as_deref(), *upstream),
        ];
        let mut mismatches: Vec<Mismatch> = texts
            .into_iter()
            .filter_map(|(what, expected, found)| different(what, expected?, found))
            .collect();
        let status = |status: u16| status.to_string();
        if let Some(expected) = self.status.map(status) {
            let found = verdict.status().map(status);
            mismatches.extend(different("status", &expected, found.as_deref()));
        }
        if *verdict == Verdict::Allow {
            let told = self.headers.iter();
            mismatches.extend(told.filter_map(|(name, expected)| expected.differs(name, headers)));
        }
        mismatches
    }
}

impl ExpectedHeader {
    fn differs(&self, name: &HeaderName, headers: &HeaderMap) -> Option<Mismatch> {
        let found = headers.get(name);
        let found = found.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let (fits, expected) = match self {
            ExpectedHeader::Absent => (found.is_none(), "nothing".to_owned()),
            ExpectedHeader::Any => (found.is_some(), "anything".to_owned()),
            ExpectedHeader::Text(text) => (found.as_ref() == Some(text), text.clone()),
        };
        (!fits).then(|| Mismatch {
            what: format!("headers.{name}"),
            expected,
            found: found.unwrap_or_else(|| "nothing".into()),
        })
    }
}

fn different(what: &str, expected: &str, found: Option<&str>) -> Option<Mismatch> {
    (found != Some(expected)).then(|| Mismatch {
        what: what.into(),
        expected: expected.into(),
        found: found.unwrap_or("nothing").into(),
    })
}
