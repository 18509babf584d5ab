//! `sessions`: where temporary access is given, and for how long.
//!
//! Invariant: no route is for a path that the session endpoints take; nobody could reach it.

use std::time::Duration;

use crate::auth::SessionSettings;
use crate::gateway::{PathPattern, RouteSettings};

use super::field::{Field, Section};
use super::pattern;
use super::report::quoted;

const SHORTEST: Duration = Duration::from_secs(60);
/// A denied session is remembered for a day at least, and must not outlive that.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_PATH: &str = "/auth/sessions";

/// Reads `sessions`.
pub(super) fn read(root: &Section<'_>) -> Option<SessionSettings> {
    root.section("sessions", |section| {
        let path = section.or("path", DEFAULT_PATH.to_owned(), path);
        let ttl = section.or("ttl", Duration::from_secs(60 * 60), lifetime);
        let max_ttl = section.or("max_ttl", Duration::from_secs(12 * 60 * 60), lifetime);
        if let (Some(ttl), Some(max_ttl)) = (ttl, max_ttl)
            && ttl > max_ttl
        {
            let written = section.get("ttl").or(section.get("max_ttl"));
            written.unwrap_or_else(|| section.field().clone()).report(
                "`ttl` is longer than `max_ttl`",
                "ttl is for whoever asks for no length; write at most max_ttl",
            );
        }
        Some(SessionSettings {
            path: path?,
            ttl: ttl?,
            max_ttl: max_ttl?,
        })
    })
}

/// Reports routes that the session endpoints hide.
pub(super) fn report_hidden(
    root: &Section<'_>,
    settings: Option<&SessionSettings>,
    routes: Option<&Vec<RouteSettings>>,
) {
    let (Some(settings), Some(routes)) = (settings, routes) else {
        return;
    };
    let items = root.get("routes").and_then(|list| list.items());
    for (route, item) in routes.iter().zip(items.unwrap_or_default()) {
        let (PathPattern::Prefix(path) | PathPattern::Template(path)) = &route.pattern;
        let rest = path.strip_prefix(settings.path.as_str());
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            item.report(
                format!("{} belongs to the session endpoints", quoted(path)),
                "move the route, or the endpoints with sessions: { path: /another/path }",
            );
        }
    }
}

fn path(field: &Field<'_>) -> Option<String> {
    let text = pattern::path(field)?;
    // The authorization server's endpoints are beneath the latter two.
    let taken = ["/oauth", "/.well-known"].iter().any(|other| {
        let rest = text.strip_prefix(other);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if text == "/" || taken || text.contains(['{', '}']) {
        return field.refuse(
            format!(
                "{} cannot be the path of the session endpoints",
                quoted(text)
            ),
            "write a plain path such as /auth/sessions",
        );
    }
    Some(text.to_owned())
}

fn lifetime(field: &Field<'_>) -> Option<Duration> {
    field.duration_within(SHORTEST..=LONGEST, "write 60s to 24h")
}
