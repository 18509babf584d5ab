//! The commands that `dev` prints, each pasted as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::dev::Dev;
use super::{eventually, text};

pub(super) const UNAUTHORIZED: &str =
    r#"{"error":"unauthorized","message":"Invalid or missing API key"}"#;
pub(super) const STEP_1: &str =
    "Step 1 as a script would do it: log in, allow, follow the redirect to the app";
const FORBIDDEN: &str =
    r#"{"error":"forbidden","message":"Insufficient permissions for this action"}"#;

/// A try-out, and the terminal beside it.
pub(super) struct Terminal {
    pub(super) folder: TempDir,
    pub(super) dev: Dev,
}

/// What a command left behind.
#[derive(Debug)]
pub(super) struct Pasted {
    pub(super) code: i32,
    pub(super) stdout: String,
    stderr: String,
}

impl Terminal {
    pub(super) fn open() -> Terminal {
        let folder = tempfile::tempdir().expect("a folder");
        let dev = Dev::start(folder.path());
        Terminal { folder, dev }
    }

    /// The printed blocks: each title with the whole block, comment and all.
    fn blocks(&self) -> Vec<(&str, &str)> {
        let blocks = self.dev.printed.trim_end().split("\n\n");
        let titled = blocks.map(|block| {
            let title = block
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("# "));
            (title.expect("a title"), block)
        });
        titled.collect()
    }

    pub(super) fn block(&self, title: &str) -> &str {
        let found = self.blocks().into_iter().find(|(found, _)| *found == title);
        found.expect("printed").1
    }

    /// In the folder that `dev` was started in.
    pub(super) fn paste(&self, command: &str) -> Pasted {
        self.paste_in(self.folder.path(), command)
    }

    /// In any folder, with nothing of this process's own environment but `PATH`.
    fn paste_in(&self, folder: &Path, command: &str) -> Pasted {
        let path = std::env::var("PATH").expect("a PATH");
        let stubs = self.folder.path().join("bin");
        let output = Command::new("bash")
            .args(["--noprofile", "--norc", "-c", command])
            .current_dir(folder)
            .env_clear()
            .env("PATH", format!("{}:{path}", stubs.display()))
            .env("HOME", folder)
            // Nothing printed goes through it.
            .env("https_proxy", "http://127.0.0.1:9")
            .env("http_proxy", "http://127.0.0.1:9")
            .output()
            .expect("bash");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Pasted {
            code: output.status.code().expect("not killed"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The title of the block that logs in with a browser, which names the password.
    fn browser_title(&self) -> String {
        let password = text(&self.dev.ready["user"]["password"]);
        format!("OAuth 2.0, step 1, in a browser: log in as alice with {password}")
    }

    /// A `chromium` that only tells what it was asked.
    fn stub_chromium(&self) {
        let folder = self.folder.path().join("bin");
        fs::create_dir(&folder).expect("made");
        let stub = folder.join("chromium");
        fs::write(&stub, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").expect("written");
        fs::set_permissions(stub, fs::Permissions::from_mode(0o755)).expect("set");
    }

    fn kept(&self, name: &str) -> Value {
        let file = self.folder.path().join(".portcullis").join(name);
        let text = fs::read_to_string(file).expect("kept");
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Pasted {
    fn succeeds(self) -> Pasted {
        assert!(self.code == 0 && self.stderr.is_empty(), "{self:?}");
        self
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("JSON: {self:?}"))
    }

    /// Of `curl -i`: the status and the body, without the line that curl ends with.
    fn answer(&self) -> (&str, &str) {
        let (head, body) = self.stdout.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status");
        (status, body.strip_suffix('\n').unwrap_or(body))
    }
}

/// What the demo upstream of domains received: who called, and no credential.
pub(super) fn reached_domains(answer: &Value) -> String {
    assert_eq!(answer["service"], "domains", "{answer}");
    assert_eq!(answer["path"], "/v1/domains", "{answer}");
    let received = answer["received"].as_object().expect("fields");
    for credential in ["authorization", "x-api-key", "cookie"] {
        assert!(!received.contains_key(credential), "{answer}");
    }
    text(&received["x-auth-scopes"])
}

#[test]
fn every_printed_command_works_as_it_is() {
    let terminal = Terminal::open();
    terminal.stub_chromium();
    let browser = terminal.browser_title();
    let titles: Vec<&str> = terminal.blocks().iter().map(|(title, _)| *title).collect();
    assert_eq!(
        titles,
        [
            "Each block can be pasted by itself. In another terminal, go where this one is",
            "An API key as a bearer token",
            "An API key in its own header",
            "401: no credential",
            "403: this key may read, not write",
            browser.as_str(),
            STEP_1,
            "Step 2: the code for tokens. The app keeps it for this; it works once, within 60 seconds",
            "Step 3: use the access token",
            "Introspection: what the token says",
            "Token refresh: a new pair; the old refresh token is used up",
            "Revocation: ends what the user granted, with all its tokens",
            "What a client library reads first (RFC 8414)",
            "Temporary access: a session token that may read for 15 minutes",
            "Use the session token",
            "End the session",
            "426: nothing is answered in clear text",
            "Metrics for Prometheus",
            "Every route, and the gateway's own endpoints",
            "Why a request is refused",
            "Who has access: keys, clients, users (and their apps)",
        ]
    );
    for (title, block) in terminal.blocks() {
        let pasted = terminal.paste(block);
        if title != "Why a request is refused" {
            assert!(
                pasted.code == 0 && pasted.stderr.is_empty(),
                "{title}: {pasted:?}"
            );
        }
        check(&terminal, title, &pasted);
    }
    terminal.dev.stop();
}

/// curl 7.88 takes a stream that is reset after the whole answer for no answer at all.
#[test]
fn curl_gets_each_answer_that_is_given_before_the_body_is_read() {
    let terminal = Terminal::open();
    let printed = terminal.block("403: this key may read, not write");
    let forbidden = printed.trim_end().strip_suffix(" -d name=example.com");
    let forbidden = forbidden.expect("the printed body").to_owned();
    let large = terminal.folder.path().join("large");
    fs::write(&large, vec![b'x'; 1024 * 1024]).expect("written");
    let unauthorized = forbidden.replace("X-API-Key: ", "X-API-Key: not-");
    assert!(unauthorized.contains("not-"), "{unauthorized}");
    let token = unauthorized.replace("/v1/domains", "/oauth/token");
    for (command, body, times, status) in [
        (&forbidden, " -d name=example.com", 50, "403"),
        (&unauthorized, " -d name=example.com", 10, "401"),
        (&forbidden, " --data-binary @large", 5, "403"),
        (&unauthorized, " --data-binary @large", 5, "401"),
        (&token, " --data-binary @large", 5, "413"),
    ] {
        for _ in 0..times {
            let pasted = terminal.paste(&format!("{command}{body}"));
            assert_eq!(pasted.code, 0, "{command}{body}: {pasted:?}");
            assert!(pasted.stdout.starts_with("HTTP/2 "), "{pasted:?}");
            assert_eq!(pasted.answer().0, status, "{command}{body}");
        }
    }
    terminal.dev.stop();
}

/// Status and body of each.
fn check(terminal: &Terminal, title: &str, pasted: &Pasted) {
    const BOTH: &str = "domains:read domains:write";
    match title.split([':', '.', ',']).next().expect("a word") {
        "Each block can be pasted by itself" => assert_eq!(pasted.stdout, ""),
        "An API key as a bearer token" | "An API key in its own header" => {
            let scopes = reached_domains(&pasted.json());
            assert_eq!(scopes.split(' ').count(), 8, "{scopes}");
        }
        "401" => assert_eq!(pasted.answer(), ("401", UNAUTHORIZED)),
        "403" => assert_eq!(pasted.answer(), ("403", FORBIDDEN)),
        "OAuth 2" => check_browser(terminal, pasted),
        "Step 1 as a script would do it" => {
            let at = pasted.stdout.trim();
            assert!(
                at.starts_with("https://yourapp.com/callback?code=osir_ac_"),
                "{at}"
            );
            assert!(at.ends_with("&iss=https%3A%2F%2Fosir.com"), "{at}");
        }
        "Step 2" => {
            let tokens = pasted.json();
            let told = json!([tokens["token_type"], tokens["expires_in"], tokens["scope"]]);
            assert_eq!(told, json!(["Bearer", 3600, BOTH]));
            assert_eq!(terminal.kept("tokens.json"), tokens);
        }
        "Step 3" => assert_eq!(reached_domains(&pasted.json()), BOTH),
        "Introspection" => {
            let told = pasted.json();
            let client = &terminal.dev.ready["client"]["client_id"];
            assert_eq!(
                (&told["active"], &told["client_id"]),
                (&json!(true), client)
            );
            assert_eq!(told["scope"], BOTH);
            // For the next block, which replaces them.
            fs::copy(
                terminal.folder.path().join(".portcullis/tokens.json"),
                terminal.folder.path().join(".portcullis/first.json"),
            )
            .expect("copied");
        }
        "Token refresh" => {
            let (first, second) = (terminal.kept("first.json"), terminal.kept("tokens.json"));
            assert_eq!((&pasted.json(), &second["scope"]), (&second, &json!(BOTH)));
            for token in ["access_token", "refresh_token"] {
                assert_ne!(text(&first[token]), text(&second[token]));
            }
            let again = terminal.paste(terminal.block("Step 3: use the access token"));
            assert_eq!(reached_domains(&again.succeeds().json()), BOTH);
        }
        "Revocation" => {
            assert_eq!(pasted.answer(), ("200", ""));
            is_refused_soon(terminal, "Step 3: use the access token");
        }
        "What a client library reads first (RFC 8414)" => {
            assert_eq!(
                pasted.json()["token_endpoint"],
                "https://api.osir.com/oauth/token"
            );
        }
        "Temporary access" => {
            let told = pasted.json();
            assert_eq!(
                json!([told["token_type"], told["expires_in"], told["scopes"]]),
                json!(["Bearer", 900, ["domains:read"]])
            );
        }
        "Use the session token" => {
            assert_eq!(reached_domains(&pasted.json()), "domains:read");
        }
        "End the session" => {
            assert_eq!(pasted.answer(), ("204", ""));
            is_refused_soon(terminal, "Use the session token");
        }
        "426" => assert_eq!(pasted.answer().0, "426"),
        "Metrics for Prometheus" => {
            assert!(
                pasted.stdout.contains("portcullis_requests_total"),
                "{pasted:?}"
            );
        }
        "Every route" => {
            for shown in [
                "domains-read",
                "own:oauth-token",
                "own:sessions",
                "your-app",
            ] {
                assert!(pasted.stdout.contains(shown), "{pasted:?}");
            }
        }
        "Why a request is refused" => {
            assert!(
                pasted.code == 1 && pasted.stdout.contains("deny (403)"),
                "{pasted:?}"
            );
        }
        "Who has access" => {
            for shown in ["every scope", "read only", "Your App", "alice"] {
                assert!(pasted.stdout.contains(shown), "{pasted:?}");
            }
        }
        _ => panic!("nobody checks {title:?}"),
    }
}

/// The hosts, the one key that is accepted and the address are each one argument.
fn check_browser(terminal: &Terminal, pasted: &Pasted) {
    let https = terminal.dev.address("https");
    let rules =
        ["osir.com", "api.osir.com", "yourapp.com"].map(|host| format!("MAP {host} {https}"));
    let asked: Vec<&str> = pasted.stdout.lines().collect();
    assert_eq!(asked[0], "--no-first-run");
    assert_eq!(asked[1], "--user-data-dir=.portcullis/browser");
    assert_eq!(
        asked[2],
        format!("--host-resolver-rules={}", rules.join(", "))
    );
    // OpenSSL tells the same of the server's key.
    let key = terminal.paste(
        "openssl x509 -in .portcullis/certs/gateway.pem -noout -pubkey \
         | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64",
    );
    let key = key.succeeds().stdout;
    let accepted = format!("--ignore-certificate-errors-spki-list={}", key.trim());
    assert_eq!(asked[3], accepted);
    assert_eq!(asked[4..], [text(&terminal.dev.ready["authorize_url"])]);
}

/// Gateways hear of an end through the store's log.
fn is_refused_soon(terminal: &Terminal, title: &str) {
    eventually(|| {
        let pasted = terminal.paste(terminal.block(title)).succeeds();
        (pasted.stdout.trim() == UNAUTHORIZED).then_some(())
    });
}

/// The command on the page of the app, as a browser shows it.
fn shown_command(page: &str) -> String {
    let command = page.split("<pre>").nth(1).expect("a command");
    let command = command.split("</pre>").next().expect("its end");
    command.replace("&lt;", "<").replace("&amp;", "&")
}

#[test]
fn the_page_of_the_app_shows_a_command_that_works_anywhere() {
    let terminal = Terminal::open();
    let at = terminal.paste(terminal.block(STEP_1)).succeeds();
    let page = format!("curl -K .portcullis/curl.conf '{}'", at.stdout.trim());
    let page = terminal.paste(&page).succeeds().stdout;
    let command = shown_command(&page);
    // The gateway may listen for others: the page holds no secret.
    let secret = text(&terminal.dev.ready["client"]["client_secret"]);
    assert!(!page.contains(&secret), "{page}");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let tokens = terminal
        .paste_in(elsewhere.path(), &command)
        .succeeds()
        .json();
    assert_eq!(tokens["expires_in"], 3600, "{tokens}");
    terminal.dev.stop();
}

#[test]
fn the_page_of_the_app_takes_only_codes_of_the_server() {
    let terminal = Terminal::open();
    let kept = terminal.folder.path().join(".portcullis/code");
    for (query, heading) in [
        ("", "Nothing came back"),
        ("code=osir_ac_1", "Nothing came back"),
        (
            "code=osir_ac_1&iss=https%3A%2F%2Fevil.example",
            "Nothing came back",
        ),
        (
            "code=%3Cb%3E$(id)&iss=https%3A%2F%2Fosir.com",
            "Nothing came back",
        ),
        ("code=&iss=https%3A%2F%2Fosir.com", "Nothing came back"),
        (
            "error=access_denied&iss=https%3A%2F%2Fosir.com",
            "No access",
        ),
        (
            "error=%3Cscript%3E&iss=https%3A%2F%2Fosir.com",
            "Nothing came back",
        ),
    ] {
        let url = format!("https://yourapp.com/callback?{query}");
        let page = terminal.paste(&format!("curl -K .portcullis/curl.conf '{url}'"));
        let page = page.succeeds().stdout;
        assert!(
            page.contains(&format!("<h1>{heading}</h1>")),
            "{query}: {page}"
        );
        assert!(
            !page.contains("$(id)") && !page.contains("%3C"),
            "{query}: {page}"
        );
        assert!(!kept.exists(), "{query}");
    }
    terminal.dev.stop();
}

/// Spaces, quotes and what a shell would expand: in the name of the folder and of the state's.
#[test]
fn the_commands_work_in_a_folder_of_any_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = folder.path().join("it's \"a\" $(place) \\here");
    fs::create_dir(&odd).expect("made");
    let dev = Dev::start_with(&odd, &["--state", "the demo's `state`"]);
    let terminal = Terminal { folder, dev };
    let (blocks, folder) = (terminal.blocks(), terminal.folder.path());
    let go_there = blocks[0].1;
    let asked = |block: &str| {
        // From elsewhere: the first block goes there.
        let pasted = terminal.paste_in(folder, &format!("{go_there}\n{block}"));
        pasted.succeeds()
    };
    reached_domains(&asked(blocks[1].1).json());
    let at = asked(terminal.block(STEP_1));
    let configured = text(&terminal.dev.ready["curl_config"]).replace('\'', r"'\''");
    let page = asked(&format!("curl -K '{configured}' '{}'", at.stdout.trim())).stdout;
    let tokens = terminal
        .paste_in(folder, &shown_command(&page))
        .succeeds()
        .json();
    assert_eq!(tokens["expires_in"], 3600, "{tokens}");
    reached_domains(&asked(terminal.block("Step 3: use the access token")).json());
    asked(terminal.block("Temporary access: a session token that may read for 15 minutes"));
    reached_domains(&asked(terminal.block("Use the session token")).json());
    asked(terminal.block("Every route, and the gateway's own endpoints"));
    asked(terminal.block("Who has access: keys, clients, users (and their apps)"));
    terminal.dev.stop();
}
