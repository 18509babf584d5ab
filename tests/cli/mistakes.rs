//! Mistakes that are easy to make, and what is told of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{CONFIG, Home, Run, Served, portcullis, text, with_admin};

/// With an authorization server of its own, and a certificate for its hosts.
fn with_oauth(config: &str) -> String {
    let issuer = "issuer: https://osir.com";
    format!(
        "{config}access_tokens: [{{ {issuer}, builtin: true, audience: https://api.osir.com }}]\n\
         oauth: {{ {issuer} }}\n"
    )
}

fn is_refused(run: &Run, code: i32, words: &str) {
    assert_eq!((run.code(), run.stdout()), (code, String::new()), "{run:?}");
    assert!(run.stderr().contains(words), "{words}: {run:?}");
}

/// With these variables in its environment.
fn run_with(home: &Home, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let mut command = portcullis(home.folder.path());
    command.args(arguments).envs(variables.iter().copied());
    Run(command.output().expect("runs"))
}

#[test]
fn a_configuration_and_a_gateway_of_the_environment_do_not_go_together() {
    let home = Home::build();
    let elsewhere = [("PORTCULLIS_ADMIN", "unix:elsewhere.sock")];
    for command in [
        &["key", "list"][..],
        &["client", "list"],
        &["token", "revoke", "--jti", "x"],
        &["explain", "GET", "/"],
    ] {
        let named = [command, &["--config", "gateway.yaml"]].concat();
        let words = "--config says gateway.yaml, and PORTCULLIS_ADMIN in the environment says \
                     unix:elsewhere.sock";
        is_refused(&run_with(&home, &elsewhere, &named), 2, words);
        // The one of the environment is meant.
        let run = run_with(&home, &elsewhere, command);
        is_refused(&run, 1, "elsewhere.sock: no gateway is running there");
        is_refused(&run, 1, "PORTCULLIS_ADMIN names this gateway");
    }
    // What asks no gateway has nothing to do with it.
    let check = ["check", "--config", "gateway.yaml"];
    assert_eq!(run_with(&home, &elsewhere, &check).code(), 0);
    let help = home.run(&["--help"]).succeeds().stdout();
    for variable in ["PORTCULLIS_ADMIN ", "PORTCULLIS_ADMIN_TOKEN "] {
        assert!(help.contains(variable), "{help}");
    }
    assert!(help.contains("Exit codes:\n  0   Done"), "{help}");
}

#[test]
fn a_name_or_a_client_that_is_none_is_not_revoked_in_vain() {
    for config in [CONFIG.to_owned(), with_admin()] {
        let home = Home::build();
        home.write("gateway.yaml", &with_oauth(&config));
        let _served = config.contains("unix:").then(|| Served::start(&home));
        let alice = [
            "user",
            "create",
            "alice",
            "--account",
            "a",
            "--scope",
            "domains:read",
        ];
        home.run_with_input(&alice, "correct horse battery")
            .succeeds();
        let shown = home.run(&["user", "show", "alice", "--format", "json"]);
        let id = text(&shown.succeeds().json()["id"]);

        let words = format!("error: alice is a user's name; its subject is {id}");
        for subject in ["alice", "https://osir.com|alice"] {
            let run = home.run(&["token", "revoke", "--subject", subject]);
            is_refused(&run, 1, &words);
        }
        // The only issuer is our own.
        let run = home.run(&["token", "revoke", "--client", "client_none"]);
        is_refused(&run, 1, "error: there is no client client_none");
        assert_eq!(home.audit_lines("token_revoke"), 0);

        let known = home.run(&["token", "revoke", "--subject", &id]).succeeds();
        let words =
            "no grant of it is known here; its tokens issued up to now are refused all the same\n";
        assert!(known.stdout().ends_with(words), "{known:?}");
        let named = ["--subject", "alice", "--issuer", "https://osir.com"];
        home.run(&[&["token", "revoke"], &named[..]].concat())
            .succeeds();
    }
}

#[test]
fn a_host_of_oauth_that_no_certificate_covers_is_found_by_check_and_by_explain() {
    let home = Home::build();
    home.write("gateway.yaml", &with_oauth(CONFIG));
    // `certs` covers both unless it is told otherwise.
    home.run(&["check"]).succeeds();
    home.run(&["certs", "--host", "elsewhere.example"])
        .succeeds();
    let check = home.run(&["check"]);
    is_refused(
        &check,
        1,
        "error: oauth.issuer: no certificate covers osir.com,",
    );
    is_refused(
        &check,
        1,
        "error: oauth.token_host: no certificate covers api.osir.com,",
    );
    let hint = "portcullis certs --host api.osir.com --host osir.com\n";
    is_refused(&check, 1, hint);
    let asked = ["explain", "GET", "/oauth/authorize", "--host", "osir.com"];
    let told = home.run(&asked);
    assert_eq!(told.code(), 1);
    assert!(
        told.stdout().contains("no certificate covers osir.com"),
        "{told:?}"
    );

    home.run(&["certs", "--host", "api.osir.com", "--host", "osir.com"])
        .succeeds();
    home.run(&["check"]).succeeds();
    let others = "oauth: { issuer: https://osir.com, authorize_host: \"login.osir.com:8443\" }\n";
    let config = with_oauth(CONFIG).replace("oauth: { issuer: https://osir.com }\n", others);
    home.write("gateway.yaml", &config);
    let words = "error: oauth.authorize_host: no certificate covers login.osir.com,";
    is_refused(&home.run(&["check"]), 1, words);
    // An audience after the first is a host of its own.
    let config = with_oauth(CONFIG).replace(
        "audience: https://api.osir.com",
        "audience: [https://api.osir.com, https://files.osir.com/v1]",
    );
    home.write("gateway.yaml", &config);
    let words = "error: access_tokens: audience: no certificate covers files.osir.com,";
    is_refused(&home.run(&["check"]), 1, words);
}

#[test]
fn a_gateway_does_not_start_under_a_pepper_that_does_not_open_its_signing_key() {
    let home = Home::build();
    home.write("gateway.yaml", &with_oauth(&with_admin()));
    drop(Served::start(&home));
    let list = ["signing-key", "list", "--format", "json"];
    let key = || text(&home.run(&list).succeeds().json()[0]["kid"]);
    let kid = key();

    let pepper = |name: &str, text: &str| {
        home.write(name, text);
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(home.path(name), private).expect("set");
    };
    pepper("pepper-2", "another-0123456789abcdefghijklmnopqrstuvwxyz");
    let config =
        |pepper: &str| with_oauth(&with_admin()).replace("pepper: { file: pepper }", pepper);
    home.write("gateway.yaml", &config("pepper: { file: pepper-2 }"));
    let run = home.run(&["serve"]);
    is_refused(
        &run,
        1,
        &format!("the signing key {kid} was sealed under another pepper"),
    );
    is_refused(&run, 1, "credentials.previous_pepper");
    assert_eq!(key(), kid, "nothing was made in its place");

    let both = config("pepper: { file: pepper-2 }, previous_pepper: { file: pepper }");
    home.write("gateway.yaml", &both);
    drop(Served::start(&home));
    // It is sealed anew, within ten seconds: the one before is needed no more.
    home.write("gateway.yaml", &config("pepper: { file: pepper-2 }"));
    drop(Served::start(&home));
    assert_eq!(key(), kid);

    // Where the one before is lost for good.
    home.write("gateway.yaml", &config("pepper: { file: pepper }"));
    assert_eq!(home.run(&["serve"]).code(), 1);
    home.run(&["signing-key", "rotate", "--now"]).succeeds();
    drop(Served::start(&home));
    assert_ne!(key(), kid);
}

#[test]
fn the_help_of_revoke_app_has_the_arguments_in_their_order() {
    let home = Home::build();
    let help = home.run(&["user", "revoke-app", "--help"]).succeeds();
    let usage = "Usage: portcullis user revoke-app [OPTIONS] <NAME> <CLIENT|--all>\n";
    assert!(help.stdout().contains(usage), "{help:?}");
}

#[test]
fn a_text_that_is_no_grant_s_id_is_told_its_form() {
    let home = Home::build();
    let run = home.run(&["token", "revoke", "--grant", "grant_0123"]);
    is_refused(
        &run,
        2,
        "a grant's id is grant_ and 32 lower-case hex digits",
    );
}

#[test]
fn a_name_that_no_client_can_ask_for_is_no_name_of_a_certificate() {
    let home = Home::build();
    for name in [
        "bad host",
        "",
        "https://osir.com",
        "*.127.0.0.1",
        "osir.com:8443",
    ] {
        let run = home.run(&["certs", "--out", "other", "--host", name]);
        assert_eq!((run.code(), run.stdout()), (2, String::new()), "{run:?}");
    }
    assert!(!home.path("other").exists(), "nothing was made");
    let named = ["--host", "*.osir.com", "--host", "::1", "--format", "json"];
    let run = home.run(&[&["certs", "--out", "other"], &named[..]].concat());
    let told = run.succeeds().json();
    assert_eq!(told["hosts"], serde_json::json!(["*.osir.com", "::1"]));
    for (member, file) in [
        ("ca", "ca.pem"),
        ("certificate", "gateway.pem"),
        ("key", "gateway-key.pem"),
    ] {
        assert_eq!(text(&told[member]), format!("other/{file}"));
    }
}

#[test]
fn check_tells_programs_in_json() {
    let home = Home::build();
    let check = ["check", "--format", "json"];
    let told = home.run(&check).succeeds().json();
    let valid = serde_json::json!({
        "file": "gateway.yaml", "valid": true, "routes": 1, "upstreams": 1, "problems": [],
    });
    assert_eq!(told, valid);
    home.write(
        "gateway.yaml",
        &CONFIG.replace("scopes: [domains:read]", "scopes: [domains:raed]"),
    );
    let run = home.run(&check);
    assert_eq!(run.code(), 78);
    let (told, problem) = (run.json(), &run.json()["problems"][0]);
    assert_eq!(
        (&told["valid"], &told["routes"]),
        (&false.into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&12.into(), &24.into())
    );
    assert_eq!(problem["path"], "routes[0].access.scopes[0]");
    let hosts = CONFIG.replace(
        "    upstream: domains\n",
        "    upstream: domains\n    hosts: [a.example]\n",
    );
    home.write("gateway.yaml", &hosts);
    let run = home.run(&check);
    assert_eq!(run.code(), 1);
    assert_eq!(run.json()["problems"][0]["path"], "route domains-read");
}

#[test]
fn a_configuration_is_refused_where_none_is_read() {
    let home = Home::build();
    for command in ["certs", "dev", "schema"] {
        let run = home.run(&[command, "--config", "nope.yaml"]);
        let words = format!("error: `{command}` reads no configuration file: leave out --config");
        is_refused(&run, 2, &words);
    }
    assert!(!home.path(".portcullis").exists());
}

#[test]
fn dev_tells_what_is_wrong_with_its_options_once() {
    let home = Home::build();
    let twice = ["--listen", "127.0.0.1:18443", "--http", "127.0.0.1:18443"];
    let run = home.run(&[&["dev"], &twice[..]].concat());
    is_refused(&run, 78, "error: ");
    assert!(!run.stderr().contains("error: error:"), "{run:?}");
}

#[test]
fn a_secret_in_the_place_of_an_id_is_not_repeated() {
    let home = Home::build();
    let (_, key) = home.key();
    let token = format!("osir_sess_{}", "a".repeat(49));
    let refresh = format!("osir_rt_{}", "b".repeat(92));
    let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl";
    for (command, secret) in [
        (&["key", "show"][..], &*key),
        (&["key", "revoke"], &key),
        (&["session", "end"], &token),
        (&["session", "list", "--key"], &key),
        (&["client", "show"], &token),
        (&["token", "revoke", "--jti"], jwt),
        (&["token", "revoke", "--grant"], &refresh),
    ] {
        let run = home.run(&[command, &[secret]].concat());
        is_refused(
            &run,
            2,
            "`portcullis token revoke -` reads it from standard input",
        );
        assert!(!run.stderr().contains(secret), "{run:?}");
    }
    let joined = format!("--jti={jwt}");
    let run = home.run(&["token", "revoke", &joined]);
    is_refused(&run, 2, "invalid value '…'");
    // Where a secret belongs, another mistake is told as ever, and without it.
    let run = home.run(&["explain", "GET", "/", "--key", &key, "--scopes", "b"]);
    is_refused(&run, 2, "cannot be used with");
    assert!(!run.stderr().contains(&*key), "{run:?}");
    let run = home.run(&["key", "show", "key_live_none"]);
    is_refused(&run, 1, "there is no key key_live_none");
}

#[test]
fn the_words_of_a_client_are_told() {
    let home = Home::build();
    let help = home
        .run(&["client", "create", "--help"])
        .succeeds()
        .stdout();
    for words in [
        "[possible values: authorization_code, refresh_token, client_credentials]",
        "[possible values: once, always, never]",
    ] {
        let told = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(words), "{words}: {help}");
    }
    let run = home.run(&["client", "create", "--name", "n", "--consent", "onec"]);
    is_refused(&run, 2, "a similar value exists: 'once'");
}

#[test]
fn an_address_that_is_taken_is_told_with_its_key_and_its_option() {
    let home = Home::build();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    for (key, line) in [
        ("https", "https: 127.0.0.1:0, metrics: off"),
        ("metrics", "metrics: off"),
    ] {
        let here = match key {
            "https" => format!("https: {address}, metrics: off"),
            _ => format!("metrics: {address}"),
        };
        home.write("gateway.yaml", &CONFIG.replace(line, &here));
        let words = format!("cannot listen on {address} (listen.{key})");
        is_refused(&home.run(&["serve"]), 1, &words);
    }
    let listeners = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let admin = ["--metrics", "127.0.0.1:0", "--admin", &address];
    let run = home.run(&[&["dev"], &listeners[..], &admin].concat());
    is_refused(
        &run,
        1,
        &format!("cannot listen on {address} (listen.admin)"),
    );
    is_refused(&run, 1, "--listen, --http, --metrics or --admin");
}

#[test]
fn a_client_or_a_user_without_an_authorization_server_is_made_with_a_warning() {
    let home = Home::build();
    let words =
        "warning: there is no `oauth` in gateway.yaml: no endpoint gives tokens until there is\n";
    let make = |name: &str| {
        let client = [
            "client",
            "create",
            "--name",
            "n",
            "--redirect",
            "https://a.example/cb",
        ];
        let client = home.run(&[&client[..], &["--scope", "domains:read"]].concat());
        let user = [
            "user",
            "create",
            name,
            "--account",
            "a",
            "--scope",
            "domains:read",
        ];
        let user = home.run_with_input(&user, "correct horse battery");
        [client, user].map(|run| run.succeeds().stderr())
    };
    for stderr in make("alice") {
        assert!(stderr.ends_with(words), "{stderr}");
    }
    home.write("gateway.yaml", &with_oauth(CONFIG));
    for stderr in make("bob") {
        assert!(!stderr.contains("warning"), "{stderr}");
    }
}

#[test]
fn a_key_that_does_not_fit_the_certificate_for_redis_is_found_by_check() {
    let home = Home::build();
    let redis = "store: { redis: { url: \"rediss://127.0.0.1:1\", ca: certs/ca.pem, certificate: \
                 { cert: certs/gateway.pem, key: certs/ca-key.pem } } }";
    home.write(
        "gateway.yaml",
        &CONFIG.replace("store: { embedded: data/keys.redb }", redis),
    );
    let words = "the client certificate of the Redis store cannot be used with its key";
    is_refused(&home.run(&["check"]), 1, words);
    let config = home.read("gateway.yaml").replace("ca-key", "gateway-key");
    home.write("gateway.yaml", &config);
    home.run(&["check"]).succeeds();
}

#[test]
fn a_new_store_without_a_signing_key_is_no_fault_to_explain() {
    let home = Home::build();
    home.run(&["certs", "--host", "osir.com", "--host", "api.osir.com"])
        .succeeds();
    home.write("gateway.yaml", &with_oauth(CONFIG));
    let run = home.run(&["explain", "GET", "/v1/domains", "--scopes", "domains:read"]);
    assert_eq!((run.code(), run.stderr()), (0, String::new()), "{run:?}");
}
