//! No code, token, client secret, password or cookie of an authorization is in any log, metric,
//! audit line, error, answer of the admin API, or in the store (row 109 of security.md). Runs the
//! binary itself at TRACE, so that what libraries log is looked at too.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::house::{
    CALLBACK, House, LOGIN_COOKIE, PKCE, VERIFIER, basic, encoded, parameter, text,
};
use crate::support::{Answer, REDIS_PASSWORD, Raw, RedisServer, Tls, eventually};

const PASSWORD: &str = "a password-that-is-in-no-log";
const WRONG_PASSWORD: &str = "a guess-that-is-in-no-log";
const NAME: &str = "frank";

/// The binary, with the configuration and the store of a house that has moved out.
struct Served {
    child: Child,
    folder: tempfile::TempDir,
    redis: RedisServer,
    ports: [u16; 4],
    /// Whatever somebody was shown who may not see secrets.
    shown: String,
    secrets: Vec<(&'static str, String)>,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    fn start() -> Served {
        let House { gateway, redis, .. } = House::on_redis();
        let folder = gateway.stop();
        let path = folder.path().join("gateway.yaml");
        let mut yaml = std::fs::read_to_string(&path).expect("the configuration");
        // Fixed ports, since another process has to find them.
        let listeners = [(); 4].map(|()| std::net::TcpListener::bind("127.0.0.1:0"));
        let ports = listeners.map(|listener| {
            let listener = listener.expect("a port");
            listener.local_addr().expect("an address").port()
        });
        for port in ports {
            yaml = yaml.replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
        }
        std::fs::write(&path, yaml).expect("writable");
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).expect("a file");
        let child = portcullis(&path)
            .arg("serve")
            .env("PORTCULLIS_LOG", "trace")
            .stdout(file("stdout.log"))
            .stderr(file("stderr.log"))
            .spawn()
            .expect("the binary");
        let served = Served {
            child,
            folder,
            redis: redis.expect("a house on Redis"),
            ports,
            shown: String::new(),
            secrets: Vec::new(),
        };
        eventually("it serves", || {
            served
                .read("stderr.log")
                .contains("\"serving\"")
                .then_some(())
        });
        served
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn keep(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() > 15, "{what}");
        self.secrets.push((what, secret.to_owned()));
    }

    /// One of our tokens, without its prefix: the rest alone would be enough to use it.
    fn keep_token(&mut self, what: &'static str, token: &str) {
        let body = token.rsplit('_').next().unwrap_or_default().to_owned();
        self.keep(what, &body);
    }

    /// A command that shows a secret once.
    fn makes(&self, arguments: &[&str], input: &str) -> Value {
        let output = self.run(arguments, input);
        serde_json::from_slice(&output).expect("JSON")
    }

    /// A command that shows none.
    fn shows(&mut self, arguments: &[&str]) {
        let output = self.run(arguments, "");
        self.shown.push_str(&String::from_utf8_lossy(&output));
    }

    fn run(&self, arguments: &[&str], input: &str) -> Vec<u8> {
        use std::io::Write as _;
        let mut child = portcullis(&self.path("gateway.yaml"))
            .args(["--format", "json"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A command that reads nothing may have ended already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{arguments:?}");
        output.stdout
    }

    fn address(&self, listener: usize) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[listener]).into()
    }

    fn send(&self, host: &str, request: &str) -> Answer {
        let tls = Tls::new(self.address(0), &self.path("certs/ca.pem"), host);
        let mut client = tls.connect();
        client.send(request);
        client.answer()
    }

    fn post(&self, host: &str, path: &str, headers: &str, form: &str) -> Answer {
        self.send(
            host,
            &format!(
                "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                 content-length: {}\r\n{headers}\r\n{form}",
                form.len()
            ),
        )
    }

    fn get(&self, host: &str, path: &str, headers: &str) -> Answer {
        self.send(
            host,
            &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n"),
        )
    }

    fn refuses(&mut self, answer: &Answer) {
        assert!(answer.status >= 400, "{answer:?}");
        self.shown.push_str(&format!("{answer:?}"));
    }

    /// Login and consent, with a wrong password first.
    fn code(&mut self, client: &str) -> String {
        let query = format!(
            "client_id={client}&redirect_uri={CALLBACK}&response_type=code&scope=domains:read{PKCE}"
        );
        let begun = self.get("osir.com", &format!("/oauth/authorize?{query}"), "");
        let page = begun.header("location").expect("a page").to_owned();
        let cookie = begun.header("set-cookie").expect("a cookie");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let (_, value) = cookie.split_once('=').expect("a pair");
        self.keep("the browser's cookie", value);
        let headers = format!("cookie: {cookie}\r\n");
        let login = self.get("osir.com", &page, &headers);
        let token = login.body.split(r#"name="token" value=""#).nth(1);
        let token = token.and_then(|rest| rest.split('"').next());
        let token = token.expect("a form token").to_owned();
        self.keep("a form's token", &token);
        let log_in = |served: &Served, name: &str, password: &str| {
            let (name, password) = (encoded(name), encoded(password));
            let form = format!("token={token}&name={name}&password={password}");
            served.post("osir.com", &format!("{page}/login"), &headers, &form)
        };
        // The third typed the password into the field above.
        for (name, password) in [
            (NAME, WRONG_PASSWORD),
            ("nobody", PASSWORD),
            (PASSWORD, "x"),
        ] {
            let refused = log_in(self, name, password);
            // The page has its own form's token, which is for this browser.
            assert_eq!(refused.status, 403);
            self.shown.push_str(&refused.body.replace(&token, ""));
        }
        let entered = log_in(self, NAME, PASSWORD);
        assert_eq!(entered.status, 303);
        let mut set = entered.headers.iter();
        let login = set.find(|(_, value)| value.starts_with(LOGIN_COOKIE));
        let (_, login) = login.expect("the login's cookie");
        let login = login.split(';').next().expect("a pair").to_owned();
        self.keep("the login's cookie", &login[LOGIN_COOKIE.len()..]);
        let headers = format!("cookie: {cookie}; {login}\r\n");
        let form = format!("token={token}&decision=allow");
        let decided = self.post("osir.com", &format!("{page}/decision"), &headers, &form);
        parameter(&decided, "code").expect("a code")
    }

    /// Ends it and has a look at each place that anybody may read.
    fn has_leaked_nothing(mut self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill is there").success());
        let status = eventually("it has drained", || self.child.try_wait().expect("a child"));
        assert!(status.success(), "SIGTERM ends it with 0");
        let mut places = vec![
            ("what was shown", self.shown.clone()),
            ("Redis", self.redis.dump()),
        ];
        for name in ["stderr.log", "access.log", "audit.jsonl"] {
            places.push((name, self.read(name)));
        }
        assert!(
            places.iter().all(|(_, text)| text.len() > 500),
            "each was written to"
        );
        let log = self.read("stderr.log");
        assert!(log.contains("a code came a second time"), "{log}");
        places.push(("stdout.log", self.read("stdout.log")));
        let mut leaks = Vec::new();
        for (place, text) in &places {
            for (what, secret) in &self.secrets {
                for form in [secret.clone(), encoded(secret), secret.replace(' ', "+")] {
                    if text.contains(&form) {
                        leaks.push(format!("{what} is in {place}"));
                    }
                }
            }
        }
        leaks.dedup();
        assert!(leaks.is_empty(), "{leaks:#?}");
    }
}

fn portcullis(config: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    for name in [
        "PORTCULLIS_ADMIN",
        "PORTCULLIS_ADMIN_TOKEN",
        "PORTCULLIS_LOG",
    ] {
        command.env_remove(name);
    }
    command.arg("--config").arg(config);
    command
}

#[test]
fn secrets_of_an_authorization_never_leak() {
    let mut served = Served::start();
    let scopes = ["--scope", "domains:read", "--scope", "domains:write"];
    let redirect = ["--redirect", CALLBACK, "--consent", "always"];
    let create = [
        &["client", "create", "--name", "App"],
        &redirect[..],
        &scopes,
    ]
    .concat();
    let made = served.makes(&create, "");
    let (client, old) = (text(&made, "client_id"), text(&made, "client_secret"));
    let rotated = served.makes(&["client", "rotate-secret", &client, "--overlap", "1h"], "");
    let secret = text(&rotated, "client_secret");
    let user = [
        &["user", "create", NAME, "--account", "acct_frank"],
        &scopes[..],
    ]
    .concat();
    served.makes(&user, &format!("{PASSWORD}\n"));

    let code = served.code(&client);
    let show = basic(&client, &secret);
    let token = "/oauth/token";
    let redeem = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={VERIFIER}"
    );
    let api = "api.osir.com";
    let first = served.post(api, token, &show, &redeem);
    assert_eq!(first.status, 200, "{first:?}");
    let first = crate::house::json(&first);
    let refresh = text(&first, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}&client_id={client}");
    let with_old = format!("{form}&client_secret={old}");
    let second = crate::house::json(&served.post(api, token, "", &with_old));
    let (access, newest) = (
        text(&second, "access_token"),
        text(&second, "refresh_token"),
    );
    let bearer = format!("authorization: Bearer {access}\r\n");
    let made = served.send(
        api,
        &format!(
            "POST /auth/sessions HTTP/1.1\r\nhost: {api}\r\n{bearer}content-type: application/json\r\n\
             content-length: 2\r\n\r\n{{}}"
        ),
    );
    assert_eq!(made.status, 201, "{made:?}");
    let session = text(&crate::house::json(&made), "session_token");
    for looked_at in [&access, &newest] {
        let told = served.post(
            api,
            "/oauth/introspect",
            &show,
            &format!("token={looked_at}"),
        );
        assert!(told.body.contains(r#""active":true"#), "{told:?}");
        served.shown.push_str(&told.body);
    }

    // Each of them where it does not belong.
    let all = [&code, &refresh, &newest, &access, &session, &secret, &old].map(Clone::clone);
    for misplaced in &all {
        for answer in [
            served.get(api, "/v1/domains", &format!("x-api-key: {misplaced}\r\n")),
            served.get(api, &format!("/v1/none/{misplaced}"), ""),
            served.get(api, &format!("/v1/domains?code={misplaced}"), ""),
            served.get(
                api,
                "/v1/domains",
                &format!("x-request-id: {misplaced}\r\n"),
            ),
            served.post(api, &format!("{token}?code={misplaced}"), &show, &redeem),
            served.post(api, token, &show, &format!("grant_type={misplaced}")),
            served.post(
                api,
                token,
                &show,
                &format!("grant_type=authorization_code&code={misplaced}x"),
            ),
            served.post(
                api,
                token,
                &basic(&client, &format!("{misplaced}x")),
                &redeem,
            ),
            served.get(
                "osir.com",
                &format!("/oauth/authorize?client_id={misplaced}"),
                "",
            ),
            served.get("osir.com", &format!("/oauth/interaction/{misplaced}"), ""),
        ] {
            served.refuses(&answer);
        }
    }
    for as_bearer in [&code, &newest, &secret] {
        let field = format!("authorization: Bearer {as_bearer}\r\n");
        let answer = served.get(api, "/v1/domains", &field);
        assert_eq!(answer.status, 401);
        served.refuses(&answer);
    }
    assert_eq!(served.get(api, "/v1/domains", &bearer).status, 200);
    // A replay, a reuse, a wrong secret, and the end of it.
    let reused = format!("grant_type=refresh_token&refresh_token={refresh}");
    served.refuses(&served.post(api, token, &show, &redeem));
    served.refuses(&served.post(api, token, &show, &reused));
    let revoked = served.post(api, "/oauth/revoke", &show, &format!("token={newest}"));
    assert_eq!(revoked.status, 200);

    for arguments in [
        &["client", "show", &client][..],
        &["client", "list"],
        &["user", "show", NAME],
        &["user", "list"],
        &["user", "apps", NAME],
        &["session", "list"],
        &["signing-key", "list"],
    ] {
        served.shows(arguments);
    }
    let mut metrics = Raw::plain(served.address(2));
    metrics.send("GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    served.shown.push_str(&metrics.answer().body);

    for (what, secret) in [
        ("a client secret", &secret),
        ("a client secret that was rotated out", &old),
        ("a code", &code),
        ("a refresh token that was used", &refresh),
        ("a refresh token", &newest),
        ("a session token", &session),
    ] {
        served.keep_token(what, secret);
    }
    let signature = access.rsplit('.').next().expect("a signature");
    served.keep("an access token's signature", signature);
    served.keep("a verifier", VERIFIER);
    served.keep("a password", PASSWORD);
    served.keep("a guess at a password", WRONG_PASSWORD);
    served.keep("the admin token", "an-admin-token-for-tests-only");
    assert!(!served.shown.contains(REDIS_PASSWORD));
    served.has_leaked_nothing();
}
