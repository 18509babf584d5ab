//! `GET /v1/keys/report`: what keys may beyond what they use, with the commands that mend it.
//!
//! Not here: what is found ([`crate::auth::KeyDesk::report`]). Invariant: a command that is shown
//! can be pasted into a shell whatever a key is called.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::body::ok;
use super::client::encode;
use super::live::LiveGateway;
use super::page::decode;
use super::problem::AdminProblem;
use super::{AdminClient, ClientError};
use crate::auth::{CountedUsage, Finding, KeyDesk, KeyReport, ReportPage, ReportQuery};
use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{AccountId, KeyId};
use crate::scope::{Scope, ScopeSet};
use crate::store::{Day, KeyRecord};

/// What one key was used for over some days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageView {
    /// Over how many.
    pub days: u32,
    /// Since when its uses are counted; `null` is not yet.
    pub counted_since: Option<String>,
    /// When it, or a session that it gave, was last seen; `null` is never since counting began.
    pub last_seen: Option<String>,
    /// Requests that were let through.
    pub requests: u64,
    /// Each granted scope, and how many of those requests needed it.
    pub scopes: Vec<ScopeUses>,
    /// Requests that were refused, by the scope that the key does not have.
    pub denied: Vec<ScopeUses>,
}

/// A scope and a number of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeUses {
    /// Its name.
    pub scope: String,
    /// How many.
    pub requests: u64,
}

/// What there is to say of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of `KeyRecord`")]
pub struct KeyReportView {
    pub id: KeyId,
    pub account: AccountId,
    pub name: String,
    pub env: Environment,
    pub created_at: String,
    pub expires_at: Option<String>,
    /// What it was used for.
    #[serde(flatten)]
    pub usage: UsageView,
    /// Whether it is too young, or counted for too short a time, to say what it does not use.
    pub young: bool,
    /// What should be mended.
    pub findings: Vec<FindingView>,
}

/// What should be mended, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// What it is.
    pub finding: FindingKind,
    /// More of it, in words.
    pub detail: String,
    /// The scopes, where it is about scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<ScopeSet>,
    /// The commands that mend it, in order; empty where there is none.
    pub mend: Vec<String>,
}

/// What a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// It ends within two weeks.
    ExpiresSoon,
    /// It was not seen for too long, or never.
    Idle,
    /// It never ends.
    NoExpiry,
    /// After a rotation the secret before is still in use.
    OldSecretSeen,
    /// Granted, and not used.
    UnusedScope,
}

/// The answer to `GET /v1/keys/report`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReportList {
    /// Keys that work, in the order of their ids.
    pub keys: Vec<KeyReportView>,
    /// Ask again with `?after=` this; `null` is the end.
    pub next: Option<KeyId>,
}

/// Keys looked through at once: each may have a document for each day.
const PAGE: usize = 100;
const DAY: u64 = 24 * 60 * 60;

/// `GET /v1/keys/report`. What this gateway has counted is told to the store first.
pub(super) async fn answer(
    desk: &KeyDesk,
    gateway: &dyn LiveGateway,
    request: &Request<Incoming>,
) -> Result<Response<Full<Bytes>>, AdminProblem> {
    if request.method() != Method::GET {
        return Err(AdminProblem::Method("GET"));
    }
    let (query, after) = parse(request.uri().query().unwrap_or_default())?;
    gateway.tell_usage().await;
    let page = desk.report(&query, after.as_ref(), PAGE).await?;
    Ok(ok(&KeyReportList::from(&page)))
}

fn parse(query: &str) -> Result<(ReportQuery, Option<KeyId>), AdminProblem> {
    let mut after = None;
    let mut asked = ReportQuery {
        days: 30,
        idle: Duration::from_secs(30 * DAY),
        account: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value).ok_or(AdminProblem::Query("the query is not well encoded"))?;
        match name {
            "after" => {
                let id = KeyId::parse(&value);
                after = Some(id.map_err(|_| AdminProblem::Query("after: not a key id"))?);
            }
            "account" => {
                let id = AccountId::parse(&value);
                let id = id.map_err(|_| AdminProblem::Query("account: not an account id"))?;
                asked.account = Some(id);
            }
            "days" => {
                let days = value.parse().ok();
                let days = days.filter(|days| (1..=Day::KEPT).contains(days));
                asked.days = days.ok_or(AdminProblem::Query("days: from 1 to 90"))?;
            }
            "idle" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
                let seconds = seconds.ok_or(AdminProblem::Query("idle: a number of seconds"))?;
                asked.idle = Duration::from_secs(seconds);
            }
            _ => {
                return Err(AdminProblem::Query(
                    "only after, account, days and idle are known",
                ));
            }
        }
    }
    Ok((asked, after))
}

impl AdminClient {
    /// `GET /v1/keys/report`.
    pub async fn key_report(
        &self,
        query: &ReportQuery,
        after: Option<&KeyId>,
    ) -> Result<KeyReportList, ClientError> {
        let (days, idle) = (query.days, query.idle.as_secs());
        let mut path = format!("/v1/keys/report?days={days}&idle={idle}");
        for (name, id) in [
            ("after", after.map(KeyId::as_str)),
            ("account", query.account.as_ref().map(AccountId::as_str)),
        ] {
            if let Some(id) = id {
                path.push_str(&format!("&{name}={}", encode(id)));
            }
        }
        self.call(Method::GET, &path, None).await
    }
}

impl KeyReportList {
    /// How many keys a page has at most.
    pub const PAGE: usize = PAGE;
}

impl From<&ReportPage> for KeyReportList {
    fn from(page: &ReportPage) -> KeyReportList {
        KeyReportList {
            keys: page.keys.iter().map(KeyReportView::from).collect(),
            next: page.next.clone(),
        }
    }
}

impl From<&KeyReport> for KeyReportView {
    fn from(report: &KeyReport) -> KeyReportView {
        let record = &report.record;
        let findings = report.findings.iter();
        KeyReportView {
            id: record.id.clone(),
            account: record.account.clone(),
            name: record.name.clone(),
            env: record.environment,
            created_at: record.created_at.to_string(),
            expires_at: text(record.expires_at),
            usage: UsageView::new(record, &report.usage),
            young: report.is_young,
            findings: findings.map(|one| FindingView::new(one, report)).collect(),
        }
    }
}

impl UsageView {
    /// From what the key desk gave.
    pub fn new(record: &KeyRecord, counted: &CountedUsage) -> UsageView {
        let uses = &counted.usage.uses;
        let count = |scope: &Scope, requests: u64| ScopeUses {
            scope: scope.to_string(),
            requests,
        };
        let granted = record.scopes.iter();
        let missing = uses.missing.iter();
        UsageView {
            days: counted.days,
            counted_since: text(counted.counted_since),
            last_seen: text(counted.usage.seen_at),
            requests: uses.requests,
            scopes: granted
                .map(|scope| count(&scope, uses.used.get(&scope).copied().unwrap_or(0)))
                .collect(),
            // A session of the key may lack what the key has.
            denied: missing
                .filter(|(scope, _)| !record.scopes.contains(scope))
                .map(|(scope, requests)| count(scope, *requests))
                .collect(),
        }
    }
}

impl FindingView {
    fn new(finding: &Finding, report: &KeyReport) -> FindingView {
        let record = &report.record;
        let revoke = format!("portcullis key revoke {}", shell(record.id.as_str()));
        let instead = |create: String| vec![create, revoke.clone()];
        let (kind, detail, mend) = match finding {
            Finding::ExpiresSoon(at) => (
                FindingKind::ExpiresSoon,
                format!("it ends at {at}"),
                instead(create(record, &record.scopes, Some("90d".into()))),
            ),
            Finding::Idle(seen) => (
                FindingKind::Idle,
                seen.map_or("never seen".into(), |at| format!("last seen at {at}")),
                vec![revoke],
            ),
            Finding::NoExpiry => (
                FindingKind::NoExpiry,
                "it never ends".into(),
                instead(create(record, &record.scopes, Some("90d".into()))),
            ),
            Finding::OldSecretSeen {
                last_seen,
                ends_at,
                request,
            } => (
                FindingKind::OldSecretSeen,
                format!("the old secret was seen at {last_seen} and ends at {ends_at}"),
                // Shows the new secret again, for whoever still has the old one.
                vec![format!(
                    "portcullis key rotate {} --request-id={}",
                    shell(record.id.as_str()),
                    shell(request.as_str())
                )],
            ),
            Finding::UnusedScopes(unused) => (
                FindingKind::UnusedScope,
                format!("not used in {} days: {unused}", report.usage.days),
                narrow(report, unused, instead, &revoke),
            ),
        };
        FindingView {
            finding: kind,
            detail,
            scopes: match finding {
                Finding::UnusedScopes(unused) => Some(unused.clone()),
                _ => None,
            },
            mend,
        }
    }
}

/// A key's scopes do not change: another key takes its place.
fn narrow(
    report: &KeyReport,
    unused: &ScopeSet,
    instead: impl FnOnce(String) -> Vec<String>,
    revoke: &str,
) -> Vec<String> {
    let record = &report.record;
    let used = record.scopes.iter().filter(|scope| !unused.contains(scope));
    let used: ScopeSet = used.collect();
    match (used.is_empty(), report.usage.usage.uses.requests) {
        (false, _) => instead(create(record, &used, text(record.expires_at))),
        (true, 0) => vec![revoke.to_owned()],
        // It is used only where no scope is needed, and `key create` makes no key without one.
        (true, _) => Vec::new(),
    }
}

/// The command that makes a key like this one.
fn create(record: &KeyRecord, scopes: &ScopeSet, expires: Option<String>) -> String {
    let (account, name) = (shell(record.account.as_str()), shell(&record.name));
    let mut command = format!("portcullis key create --account={account} --name={name}");
    let mut add = |option: &str, value: &str| {
        command.push_str(&format!(" --{option}={}", shell(value)));
    };
    scopes.names().for_each(|scope| add("scope", scope));
    match record.environment {
        Environment::Live => {}
        Environment::Test => add("env", "test"),
    }
    if let Some(start) = record.not_before {
        add("not-before", &start.to_string());
    }
    if let Some(end) = expires {
        add("expires", &end);
    }
    for network in &record.allowed_ips {
        add("allow-ip", &network.to_string());
    }
    command
}

/// As one word of a POSIX shell, whatever is in it.
fn shell(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@,+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
