//! The pages that people see: plain HTML, no script, nothing from elsewhere.
//!
//! Invariants: whatever did not come from this file is escaped; a page can be framed by nobody,
//! kept by nobody, and tells no other site where it was.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
    X_FRAME_OPTIONS,
};
use http::{Response, StatusCode};

use super::decision::{granted, other_resource};
use super::endpoint::interaction_path;
use super::interaction::Opened;
use super::{AuthorizationServer, Refusal, answer};
use crate::store::Login;

/// What is wrong with a login, above its form.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    Busy,
    None,
    TooMany(Duration),
    Wrong,
}

/// A page that ends an interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// There is no such page, whoever logs users in.
    Absent,
    /// Its time is over.
    Expired,
    /// The form is not one of ours, or of another page.
    Forged,
    Malformed,
    /// Too many have begun.
    TooMany,
    Unavailable,
    /// No such interaction, or not this browser's.
    Unknown,
    UnknownClient,
    UnknownRedirect,
    /// Decided already.
    Used,
}

/// Colours for light and dark: text on its ground has 4.5:1 and lines have 3:1 (WCAG 1.4.3, 1.4.11).
/// What can be pressed is 44 pixels high at least.
const STYLE: &str = ":root{color-scheme:light dark;--ground:#fff;--text:#1a1a1a;--quiet:#595959;--line:#737373;--act:#1a4f8b;--on-act:#fff;--focus:#c25e00;--bad:#b00020;--bad-ground:#fdecee}\
@media(prefers-color-scheme:dark){:root{--ground:#17191c;--text:#e8e8e8;--quiet:#adb2b8;--line:#868c93;--act:#9cc4f5;--on-act:#10243c;--focus:#ffb066;--bad:#ff8a99;--bad-ground:#3a1b20}}\
body{font:1.1rem/1.5 system-ui,sans-serif;max-width:28rem;margin:0 auto;padding:1.5rem;color:var(--text);background:var(--ground);overflow-wrap:anywhere}\
header{color:var(--quiet)}\
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 1rem}\
label{display:block;margin:1rem 0 .25rem}\
input,button{box-sizing:border-box;width:100%;min-height:3rem;font:inherit;padding:.6rem;border:1px solid var(--line);border-radius:6px}\
input{color:inherit;background:var(--ground)}\
button{margin-top:1rem;border-color:var(--act);background:var(--act);color:var(--on-act);cursor:pointer}\
button.plain{background:var(--ground);color:var(--act)}\
:focus-visible{outline:3px solid var(--focus);outline-offset:2px}\
.error{border-left:4px solid var(--bad);padding:.5rem .75rem;background:var(--bad-ground)}\
ul{padding-left:1.25rem}li{margin:.6rem 0}li code{display:block;color:var(--quiet);font-size:.85em}\
@media(min-width:36rem){body{padding-top:8vh}li code{display:inline;padding-left:.5rem}}";

/// The login page, with a way out that needs no login.
pub(super) fn login(
    server: &AuthorizationServer,
    opened: &Opened,
    message: Message,
) -> Response<Bytes> {
    let mut main = String::new();
    let client = escape(&opened.client.settings.name);
    let realm = &server.settings.realm;
    let _ = write!(
        main,
        "<h1>Log in to {}</h1><p><strong>{client}</strong> at <code>{}</code> asks for access \
         to your account.</p>",
        escape(realm),
        escape(opened.redirect.shown())
    );
    let mut described = "";
    if let Some(text) = message.text() {
        let _ = write!(
            main,
            r#"<p class="error" id="error" role="alert">{text}</p>"#
        );
        described = r#" aria-describedby="error""#;
    }
    let action = interaction_path(&opened.record.id);
    let token = token_field(server, opened);
    let _ = write!(
        main,
        r#"<form method="post" action="{action}/login">{token}<label for="name">Name</label><input id="name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required{described}><label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required{described}><button>Log in</button></form>{}"#,
        deny_form(&action, &token)
    );
    let mut response = page(
        message.status(),
        realm,
        "Log in",
        &main,
        form_action(opened),
    );
    if let Message::TooMany(wait) = message {
        let seconds = HeaderValue::from(wait.as_secs().max(1));
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    match message.refusal() {
        Some(refusal) => refusal.mark(response),
        None => response,
    }
}

/// The consent page: who asks, where the answer goes, and each thing that it is about.
pub(super) fn consent(
    server: &AuthorizationServer,
    opened: &Opened,
    login: &Login,
) -> Response<Bytes> {
    let mut main = String::new();
    let client = escape(&opened.client.settings.name);
    let _ = write!(
        main,
        "<h1>Allow {client}?</h1><p><strong>{client}</strong> at <code>{}</code> asks to act for \
         you. It will be able to:</p><ul>",
        escape(opened.redirect.shown())
    );
    for name in granted(opened, login).names() {
        let mut known = server.settings.scopes.iter();
        let described = known.find(|(scope, _)| scope.as_str() == name);
        let words = described.map_or(name, |(_, words)| words);
        let _ = write!(
            main,
            "<li>{} <code>{}</code></li>",
            escape(words),
            escape(name)
        );
    }
    main.push_str("</ul>");
    if let Some(resource) = other_resource(server, opened) {
        let resource = escape(resource);
        let _ = write!(main, "<p>This is for <code>{resource}</code> alone.</p>");
    }
    let action = interaction_path(&opened.record.id);
    let token = token_field(server, opened);
    let _ = write!(
        main,
        r#"<form method="post" action="{action}/decision">{token}<button name="decision" value="allow">Allow</button></form>{}"#,
        deny_form(&action, &token)
    );
    let realm = &server.settings.realm;
    page(
        StatusCode::OK,
        realm,
        "Allow access",
        &main,
        form_action(opened),
    )
}

fn deny_form(action: &str, token: &str) -> String {
    format!(
        r#"<form method="post" action="{action}/decision">{token}<button class="plain" name="decision" value="deny">Deny</button></form>"#
    )
}

fn token_field(server: &AuthorizationServer, opened: &Opened) -> String {
    let token = opened
        .browser
        .form_token(&server.parts.peppers, &opened.record.id);
    format!(r#"<input type="hidden" name="token" value="{token}">"#)
}

/// A page with nothing to do on it.
pub(super) fn notice(realm: &str, notice: Notice) -> Response<Bytes> {
    let (status, heading, text) = notice.parts();
    let main = format!("<h1>{heading}</h1><p>{text}</p>");
    let response = page(status, realm, heading, &main, Some("'none'".into()));
    let mut response = Refusal::from(notice).mark(response);
    let seconds = match status {
        StatusCode::SERVICE_UNAVAILABLE => "5",
        // By then one more may begin, if nobody was quicker.
        StatusCode::TOO_MANY_REQUESTS => "1",
        _ => return response,
    };
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    response
}

impl Message {
    const fn text(self) -> Option<&'static str> {
        match self {
            Message::Busy => {
                Some("Too many people are logging in just now. Try again in a moment.")
            }
            Message::None => None,
            Message::TooMany(_) => Some("Too many attempts. Wait a while, then try again."),
            Message::Wrong => Some("The name or the password is wrong."),
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Message::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Message::None => StatusCode::OK,
            Message::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Message::Wrong => StatusCode::FORBIDDEN,
        }
    }
}

impl Notice {
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        const START: &str = "Go back to the app and start again.";
        match self {
            Notice::Absent => (StatusCode::NOT_FOUND, "There is no such page", START),
            Notice::Expired => (StatusCode::GONE, "This request has expired", START),
            Notice::Forged => (
                StatusCode::FORBIDDEN,
                "This form cannot be accepted",
                "It was not sent from the page of this request.",
            ),
            Notice::Malformed => (
                StatusCode::BAD_REQUEST,
                "This request is malformed",
                "The app that sent you here made an error. Tell its makers.",
            ),
            Notice::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many people are logging in just now",
                "Wait a moment, then load this page again.",
            ),
            Notice::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "This is not available just now",
                "Try again in a moment.",
            ),
            Notice::Unknown => (
                StatusCode::BAD_REQUEST,
                "There is no such request in this browser",
                "It is over, or it was begun in another browser. Go back to the app and start again.",
            ),
            Notice::UnknownClient => (
                StatusCode::BAD_REQUEST,
                "This app is not known here",
                "The app that sent you here is not registered. Tell its makers.",
            ),
            Notice::UnknownRedirect => (
                StatusCode::BAD_REQUEST,
                "This app is set up wrongly",
                "It asks for an answer at an address that is not registered. Tell its makers.",
            ),
            Notice::Used => (StatusCode::GONE, "You have answered this already", START),
        }
    }
}

/// Browsers check the redirect after a form against `form-action` too (identity.md §0.6); where its
/// source cannot be written, the directive is left out.
fn form_action(opened: &Opened) -> Option<String> {
    let source = opened.redirect.content_source()?;
    Some(format!("'self' {source}"))
}

fn page(
    status: StatusCode,
    realm: &str,
    title: &str,
    main: &str,
    form_action: Option<String>,
) -> Response<Bytes> {
    let realm = escape(realm);
    let html = format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{title} – {realm}</title><style>{STYLE}</style></head><body><header>{realm}</header><main>{main}</main></body></html>"#
    );
    let mut response = answer::empty(status);
    *response.body_mut() = html.into();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    forbid_framing(headers);
    let mut policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'; base-uri 'none'",
        style_hash()
    );
    if let Some(sources) = form_action {
        let _ = write!(policy, "; form-action {sources}");
    }
    let policy = HeaderValue::try_from(policy);
    headers.insert(
        CONTENT_SECURITY_POLICY,
        policy.expect("a registered redirect's host is visible ASCII"),
    );
    response
}

/// Also for redirects, which are answers to a browser like pages.
pub(super) fn forbid_framing(headers: &mut HeaderMap) {
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
        ));
}

fn style_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
        STANDARD.encode(hash)
    })
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Text that turns round could show another host than the one that is meant.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_shown_is_text() {
        assert_eq!(
            escape("<script>alert('\"&')</script>\u{202e}moc.live"),
            "&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;moc.live"
        );
    }

    #[test]
    fn the_policy_allows_exactly_the_style_that_is_there() {
        let response = notice("osir", Notice::Used);
        let policy = &response.headers()[CONTENT_SECURITY_POLICY];
        let policy = policy.to_str().expect("ASCII");
        assert!(policy.contains(&format!("style-src 'sha256-{}'", style_hash())));
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        let html = String::from_utf8_lossy(response.body()).into_owned();
        assert!(html.contains(&format!("<style>{STYLE}</style>")));
        for absent in ["<script", "http:", "https:", "style="] {
            assert!(!html.contains(absent), "{absent}");
        }
    }
}
