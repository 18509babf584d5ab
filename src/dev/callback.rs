//! The page of the demo's app, to which a login comes back: it keeps the code for the commands that
//! `dev` prints, and shows it with the command that gives tokens for it.
//!
//! Not here: a safe client. A real one sends `state` and compares it; the seed's request has none.
//! Invariant: nothing that came along is shown or kept but what has the shape of a code or of an
//! error; the page holds no secret, since the gateway may listen for others too.

use std::path::PathBuf;
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderValue, Response};
use http_body_util::Full;

use super::commands::Shell;
use super::credentials::DevClient;
use super::state::write_private;

/// What the page works with.
pub(super) struct Callback {
    /// Where the code is kept.
    file: PathBuf,
    told: OnceLock<(Shell, DevClient)>,
}

/// The issuer as the server escapes it in a query (RFC 9207 §2): an answer of anyone else's is no
/// answer.
const ISSUER: &str = "https%3A%2F%2Fosir.com";

impl Callback {
    /// Keeps codes in `file`.
    pub(super) fn new(file: PathBuf) -> Callback {
        Callback {
            file,
            told: OnceLock::new(),
        }
    }

    /// From then on the page shows the command.
    pub(super) fn tell(&self, shell: Shell, client: DevClient) {
        // Told once, before anybody can log in.
        let _ = self.told.set((shell, client));
    }

    /// The page for a query.
    pub(super) fn answer(&self, query: &str) -> Response<Full<Bytes>> {
        let parameter = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(found, value)| (found == name).then_some(value))
        };
        if parameter("iss") != Some(ISSUER) {
            let text = "<p>This answer is not from <code>https://osir.com</code>: it has no code of \
                        that server.</p>";
            return page("Nothing came back", text);
        }
        match (parameter("code"), parameter("error")) {
            (Some(code), None) if is_word(code) => self.code(code),
            (None, Some(error)) if is_word(error) => {
                let text = format!("<p>The answer is <code>{error}</code>. Start again.</p>");
                page("No access", &text)
            }
            _ => page(
                "Nothing came back",
                "<p>There is no code in this answer.</p>",
            ),
        }
    }

    fn code(&self, code: &str) -> Response<Full<Bytes>> {
        if let Err(error) = write_private(&self.file, code) {
            tracing::warn!(%error, "the code could not be kept");
        }
        let command = self.told.get().map_or_else(String::new, |(shell, client)| {
            shell.token_request(code, &shell.kept_secret(), client)
        });
        let text = format!(
            "<p>Your App has the code <code>{code}</code>. It works once, within 60 seconds: paste step 2 \
             of what <code>portcullis dev</code> printed, or this, which is the same.</p><pre>{}</pre>",
            escape(&command)
        );
        page("Welcome back", &text)
    }
}

/// Letters, digits and `_`: every code and every error is such a word.
fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=256).contains(&text.len()) && text.bytes().all(allowed)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn page(heading: &str, text: &str) -> Response<Full<Bytes>> {
    let html = format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>Your App</title></head><body><main><h1>{heading}</h1>{text}</main></body></html>"#
    );
    let mut response = Response::new(Full::new(Bytes::from(html)));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
