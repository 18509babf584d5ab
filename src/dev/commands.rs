//! The commands that a try-out prints: the seed's own, with only `-K` and the real values added.
//!
//! Each block is whole by itself: what it needs of an earlier answer it reads from the folder, so
//! that it works in whatever terminal it is pasted into. Invariant: bash, curl, sed, tee and cat are
//! enough; tests/cli/paste.rs pastes every block, unchanged.

use std::fmt;
use std::path::{Path, PathBuf};

use super::announce::Ready;
use super::credentials::DevClient;

/// A terminal that commands are pasted into.
#[derive(Clone)]
pub(super) struct Shell {
    /// The folder of the try-out, as this terminal has it.
    state: PathBuf,
}

/// What is printed: a title and what to paste.
type Block = (String, String);

const API: &str = "https://api.osir.com";

impl Shell {
    pub(super) fn new(state: &Path) -> Shell {
        Shell {
            state: state.to_owned(),
        }
    }

    /// Step 2 of the seed. `code` and `secret` stand between double quotes.
    pub(super) fn token_request(&self, code: &str, secret: &str, client: &DevClient) -> String {
        let DevClient {
            client_id,
            redirect_uri,
            ..
        } = client;
        let (curl, tokens) = (self.curl(), self.file("tokens.json"));
        format!(
            r#"{curl} -X POST {API}/oauth/token \
  -d "grant_type=authorization_code" \
  -d "code={code}" \
  -d "client_id={client_id}" \
  -d "client_secret={secret}" \
  -d "redirect_uri={redirect_uri}" | tee {tokens}"#
        )
    }

    /// Reads the client's secret where it is kept, for a place that is not to show it.
    pub(super) fn kept_secret(&self) -> String {
        self.member("client_secret", "dev-client.json")
    }

    fn curl(&self) -> String {
        format!("curl -K {}", self.file("curl.conf"))
    }

    fn file(&self, name: &str) -> String {
        word(&self.state.join(name).display().to_string())
    }

    /// Reads a text out of a JSON answer. No value that is read so has a quote or a backslash.
    fn member(&self, member: &str, file: &str) -> String {
        let file = self.file(file);
        format!(r#"$(sed -n 's/.*"{member}":"\([^"]*\)".*/\1/p' {file})"#)
    }
}

/// One word of a shell command.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = [
            vec![self.go_there()],
            self.with_keys(),
            self.authorization(),
            self.with_tokens(),
            self.with_sessions(),
            self.for_operators(),
        ];
        for (title, command) in blocks.iter().flatten() {
            writeln!(f, "# {title}\n{command}\n")?;
        }
        Ok(())
    }
}

impl Ready {
    fn go_there(&self) -> Block {
        (
            "Each block can be pasted by itself. In another terminal, go where this one is".into(),
            format!("cd {}", word(&self.here.display().to_string())),
        )
    }

    fn with_keys(&self) -> Vec<Block> {
        let curl = self.shell.curl();
        let keys = &self.credentials.keys;
        let (full, read_only) = (&keys.full.key, &keys.read_only.key);
        vec![
            (
                "An API key as a bearer token".into(),
                bearer(&format!("{curl} -X GET"), "/v1/domains", full),
            ),
            (
                "An API key in its own header".into(),
                format!("{curl} -X GET {API}/v1/domains \\\n  -H \"X-API-Key: {full}\""),
            ),
            (
                "401: no credential".into(),
                format!("{curl} -i -X GET {API}/v1/domains"),
            ),
            (
                "403: this key may read, not write".into(),
                format!(
                    "{curl} -i -X POST {API}/v1/domains \\\n  -H \"X-API-Key: {read_only}\" -d name=example.com"
                ),
            ),
        ]
    }

    /// Step 1 of the seed: with a browser, and without one.
    fn authorization(&self) -> Vec<Block> {
        let (curl, file) = (self.shell.curl(), |name| self.shell.file(name));
        let (url, user) = (&self.authorize_url, &self.credentials.user);
        let (name, password) = (&user.name, &user.password);
        let hosts = ["osir.com", "api.osir.com", "yourapp.com"];
        let rules = hosts
            .map(|host| format!("MAP {host} {}", self.reachable))
            .join(", ");
        let (profile, key) = (file("browser"), &self.public_key);
        let in_browser = format!(
            r#"chromium --no-first-run --user-data-dir={profile} \
  --host-resolver-rules="{rules}" \
  --ignore-certificate-errors-spki-list={key} \
  "{url}""#
        );
        let cookies = file("cookies");
        let without = format!(
            r#"PAGE=$({curl} -L -c {cookies} "{url}")
FORM=$(printf '%s\n' "$PAGE" | sed -n 's|.*action="\([^"]*\)/login".*|https://osir.com\1|p')
TOKEN=$(printf '%s\n' "$PAGE" | sed -n 's|.*name="token" value="\([^"]*\)".*|\1|p')
{curl} -L -b {cookies} -c {cookies} -o /dev/null "$FORM/login" \
  -d "token=$TOKEN" -d "name={name}" -d "password={password}"
{curl} -L -b {cookies} -o /dev/null -w '%{{url_effective}}\n' "$FORM/decision" \
  -d "token=$TOKEN" -d "decision=allow""#
        );
        vec![
            (
                format!("OAuth 2.0, step 1, in a browser: log in as {name} with {password}"),
                in_browser,
            ),
            (
                "Step 1 as a script would do it: log in, allow, follow the redirect to the app"
                    .into(),
                without,
            ),
        ]
    }

    fn with_tokens(&self) -> Vec<Block> {
        let (shell, curl) = (&self.shell, self.shell.curl());
        let client = &self.credentials.client;
        let DevClient {
            client_id,
            client_secret,
            ..
        } = client;
        let (code, tokens) = (shell.file("code"), shell.file("tokens.json"));
        let access = shell.member("access_token", "tokens.json");
        let refresh = shell.member("refresh_token", "tokens.json");
        let client_itself =
            format!("-d \"client_id={client_id}\" \\\n  -d \"client_secret={client_secret}\"");
        let exchange = shell.token_request("$CODE", client_secret, client);
        let use_it = bearer(&format!("{curl} -X GET"), "/v1/domains", "$ACCESS_TOKEN");
        vec![
            (
                "Step 2: the code for tokens. The app keeps it for this; it works once, within 60 seconds"
                    .into(),
                format!("CODE=$(cat {code})\n{exchange}"),
            ),
            (
                "Step 3: use the access token".into(),
                format!("ACCESS_TOKEN={access}\n{use_it}"),
            ),
            (
                "Introspection: what the token says".into(),
                format!(
                    "ACCESS_TOKEN={access}\n{curl} -X POST {API}/oauth/introspect \\\n  \
                     -d \"token=$ACCESS_TOKEN\" \\\n  {client_itself}"
                ),
            ),
            (
                "Token refresh: a new pair; the old refresh token is used up".into(),
                format!(
                    "REFRESH_TOKEN={refresh}\n{curl} -X POST {API}/oauth/token \\\n  \
                     -d \"grant_type=refresh_token\" \\\n  -d \"refresh_token=$REFRESH_TOKEN\" \\\n  \
                     {client_itself} | tee {tokens}"
                ),
            ),
            (
                "Revocation: ends what the user granted, with all its tokens".into(),
                format!(
                    "REFRESH_TOKEN={refresh}\n{curl} -i -X POST {API}/oauth/revoke \\\n  \
                     -d \"token=$REFRESH_TOKEN\" \\\n  {client_itself}"
                ),
            ),
            (
                "What a client library reads first (RFC 8414)".into(),
                format!("{curl} https://osir.com/.well-known/oauth-authorization-server"),
            ),
        ]
    }

    fn with_sessions(&self) -> Vec<Block> {
        let (shell, curl) = (&self.shell, self.shell.curl());
        let full = &self.credentials.keys.full.key;
        let kept = shell.file("session.json");
        let create = bearer(&format!("{curl} -X POST"), "/auth/sessions", full);
        let token = shell.member("session_token", "session.json");
        let with_token = |command: &str, path: &str| {
            let request = bearer(&format!("{curl} {command}"), path, "$SESSION_TOKEN");
            format!("SESSION_TOKEN={token}\n{request}")
        };
        vec![
            (
                "Temporary access: a session token that may read for 15 minutes".into(),
                format!(
                    "{create} \\\n  -H \"Content-Type: application/json\" \\\n  \
                     -d '{{\"scopes\":[\"domains:read\"],\"ttl\":900}}' | tee {kept}"
                ),
            ),
            (
                "Use the session token".into(),
                with_token("-X GET", "/v1/domains"),
            ),
            (
                "End the session".into(),
                with_token("-i -X DELETE", "/auth/sessions/current"),
            ),
        ]
    }

    fn for_operators(&self) -> Vec<Block> {
        let (curl, program) = (self.shell.curl(), word(&self.program.display().to_string()));
        let mut blocks = Vec::new();
        let mut show = |title: &str, command: String| blocks.push((title.to_owned(), command));
        if let Some(http) = self.http {
            show(
                "426: nothing is answered in clear text",
                format!("{curl} -i http://{http}/v1/domains"),
            );
        }
        if let Some(metrics) = self.metrics {
            show(
                "Metrics for Prometheus",
                format!("{curl} http://{metrics}/metrics"),
            );
        }
        let config = self.shell.file("gateway.yaml");
        show(
            "Every route, and the gateway's own endpoints",
            format!("{program} routes --config {config}"),
        );
        if let Some(admin) = &self.admin {
            let token = self.shell.file("admin-token");
            let at = format!(
                "PORTCULLIS_ADMIN={} PORTCULLIS_ADMIN_TOKEN=$(cat {token})",
                word(admin)
            );
            let read_only = &self.credentials.keys.read_only.key;
            show(
                "Why a request is refused",
                format!("{at} \\\n  {program} explain POST /v1/domains --key {read_only}"),
            );
            // Nothing is exported: a variable that stays would send every later command here.
            let apps = format!("user apps {}", self.credentials.user.name);
            let commands = ["key list", "client list", "user list", &apps];
            show(
                "Who has access: keys, clients, users (and their apps)",
                commands
                    .map(|command| format!("{at} \\\n  {program} {command}"))
                    .join("\n"),
            );
        }
        blocks
    }
}

/// A request with a bearer token, as the seed lays it out.
fn bearer(command: &str, path: &str, token: &str) -> String {
    format!("{command} {API}{path} \\\n  -H \"Authorization: Bearer {token}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_whatever_is_in_it() {
        assert_eq!(word(".portcullis/curl.conf"), ".portcullis/curl.conf");
        assert_eq!(word("/home/a b/$(x)"), "'/home/a b/$(x)'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word(""), "''");
    }
}
