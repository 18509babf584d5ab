//! `test` and `diff`: the policy without a gateway, a store or a secret, through the binary.
//!
//! What is printed is kept in tests/data/policy; `UPDATE_GOLDEN=1 cargo test --test policy` writes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portcullis::auth::{CredentialKind, Supposed, SupposedIdentity};
use portcullis::config;
use portcullis::environment::Environment;
use portcullis::id::CredentialId;
use portcullis::policy::{Policy, Question, Verdict, diff};
use portcullis::scope::ScopeSet;
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

const DATA: &str = "tests/data/policy";

/// The example's configuration alone: no certificate, no pepper.
fn example() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["gateway.yaml", "gateway.tests.yaml"] {
        fs::copy(file, folder.path().join(file)).expect("copied");
    }
    folder
}

fn portcullis(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    for name in ["PORTCULLIS_ADMIN", "PORTCULLIS_LOG"] {
        command.env_remove(name);
    }
    let run = command.current_dir(folder).args(arguments).output();
    run.expect("the binary runs")
}

fn copied(folder: &TempDir, name: &str) {
    fs::copy(Path::new(DATA).join(name), folder.path().join(name)).expect("copied");
}

fn stdout(run: &Output) -> String {
    String::from_utf8(run.stdout.clone()).expect("text")
}

fn stderr(run: &Output) -> String {
    String::from_utf8(run.stderr.clone()).expect("text")
}

fn matches_golden(name: &str, found: &str) {
    let path = PathBuf::from(DATA).join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).expect("written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, golden, "{}", path.display());
}

#[test]
fn the_example_passes_its_tests_which_try_all_of_it_with_no_secret_there() {
    let home = example();
    let run = portcullis(home.path(), &["test", "--full"]);
    assert_eq!(
        (run.status.code(), stderr(&run)),
        (Some(0), String::new()),
        "{}",
        stdout(&run)
    );
    assert_eq!(
        stdout(&run),
        "111 requests, 0 failed; 72 of 72 parts of the policy tried\n"
    );
}

#[test]
fn what_fails_is_told_in_each_form_and_ends_with_1() {
    let home = example();
    copied(&home, "failing.tests.yaml");
    let run = portcullis(
        home.path(),
        &["test", "failing.tests.yaml", "--junit", "report.xml"],
    );
    assert_eq!(run.status.code(), Some(1), "{}", stderr(&run));
    matches_golden("failing.txt", &stdout(&run));
    let junit = fs::read_to_string(home.path().join("report.xml")).expect("written");
    matches_golden("failing.xml", &junit);
    let run = portcullis(
        home.path(),
        &["test", "failing.tests.yaml", "--format", "json"],
    );
    assert_eq!(run.status.code(), Some(1));
    let report: Value = serde_json::from_str(&stdout(&run)).expect("JSON");
    assert_eq!(report["failed"], 2);
    assert_eq!(report["outcomes"][0]["mismatches"][0]["what"], "verdict");
    assert_eq!(report["outcomes"][2]["passed"], true);
    assert_eq!(report["coverage"]["covered"], 1);
}

#[test]
fn a_part_of_the_policy_that_has_no_test_fails_only_where_all_of_it_is_wanted() {
    let home = example();
    let one = "tests:\n- { name: one, request: GET /v1/domains, expect: 401 }\n";
    fs::write(home.path().join("one.yaml"), one).expect("written");
    let code = |arguments: &[&str]| portcullis(home.path(), arguments).status.code();
    assert_eq!(code(&["test", "one.yaml"]), Some(0));
    assert_eq!(code(&["test", "one.yaml", "--full"]), Some(1));
}

#[test]
fn every_mistake_in_a_file_of_tests_is_told_with_its_place() {
    let home = example();
    for name in ["mistakes", "empty", "syntax", "none"] {
        let file = format!("{name}.tests.yaml");
        copied(&home, &file);
        let run = portcullis(home.path(), &["test", &file]);
        assert_eq!(
            (run.status.code(), stdout(&run)),
            (Some(78), String::new()),
            "{name}"
        );
        matches_golden(&format!("{name}.txt"), &stderr(&run));
    }
    let run = portcullis(home.path(), &["test", "nowhere.yaml"]);
    assert_eq!(run.status.code(), Some(78));
    assert!(stderr(&run).contains("name the file of the policy tests"));
}

#[test]
fn a_configuration_that_is_not_valid_is_told_first() {
    let home = example();
    fs::write(home.path().join("gateway.yaml"), "routes: 5\n").expect("written");
    let run = portcullis(home.path(), &["test"]);
    assert_eq!(run.status.code(), Some(78));
    assert!(
        stderr(&run).contains("gateway.yaml:1:9 (routes)"),
        "{}",
        stderr(&run)
    );
}

/// What is replaced, and by what.
type Replacement = (&'static str, &'static str);

/// Changes to the example, by name, and how `diff` ends.
const DIFFS: &[(&str, &[Replacement], i32)] = &[
    ("same", &[("name: domains-read", "name: renamed")], 0),
    ("public", &[(READ, "access: { public: \"for all\" }")], 1),
    ("authenticated", &[(READ, "access: authenticated")], 1),
    (
        "other-scope",
        &[(READ, "access: { scopes: [vps:read] }")],
        1,
    ),
    (
        "more-scopes",
        &[(READ, "access: { scopes: [domains:read, vps:read] }")],
        0,
    ),
    (
        "any-scope",
        &[(READ, "access: { any_scope: [domains:read, vps:read] }")],
        1,
    ),
    ("route-beneath", &[("routes:\n", BENEATH)], 1),
    ("route-removed", &[(BILLING_WRITE, "")], 0),
    (
        "method-added",
        &[(
            "methods: [GET, HEAD]\n    # Who",
            "methods: [GET, HEAD, OPTIONS]\n    # Who",
        )],
        1,
    ),
    (
        "upstream-moved",
        &[(
            "endpoints: [http://127.0.0.1:9102]",
            "endpoints: [http://127.0.0.1:9109]",
        )],
        0,
    ),
    (
        "upstream-test",
        &[("#environment: live", "environment: test")],
        1,
    ),
    (
        "host-bound",
        &[("#hosts: [api.osir.com]", "hosts: [api.osir.com]")],
        0,
    ),
    (
        "accepted",
        &[
            ("#checksum: required", "checksum: optional"),
            ("#cookie:\n", "cookie: {}\n"),
            ("#trusted_proxies:", "trusted_proxies:"),
            (
                "audience: https://api.osir.com }",
                "audience: https://api.osir.com }\n  - { issuer: https://idp.example, jwks: https://idp.example/jwks.json, audience: api, algorithms: [RS256] }",
            ),
        ],
        1,
    ),
    (
        "oauth-removed",
        &[
            ("access_tokens:\n", ""),
            (
                "  - { issuer: https://osir.com, builtin: true, audience: https://api.osir.com }\n",
                "",
            ),
            (OAUTH, "#"),
        ],
        0,
    ),
];
const READ: &str = "access: { scopes: [domains:read] }";
const BENEATH: &str = "routes:
  - name: transfer
    path: /v1/domains/{domain}/transfer
    methods: [POST]
    access: { scopes: [billing:write] }
    upstream: domains
";
const BILLING_WRITE: &str = "  - name: billing-write
    prefix: /v1/billing
    methods: [POST, PUT, PATCH, DELETE]
    access: { scopes: [billing:write] }
    upstream: billing
";
const OAUTH: &str = "the part `oauth` to the end of it";

fn changed(text: &str, (from, to): (&str, &str)) -> String {
    if from == OAUTH {
        let start = text.find("\noauth:\n").expect("there") + 1;
        let end = text.find("  login: builtin\n").expect("there") + "  login: builtin\n".len();
        return format!("{}{}", &text[..start], &text[end..]);
    }
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

#[test]
fn each_change_of_access_is_told_and_what_is_looser_ends_with_1() {
    let home = example();
    let example = fs::read_to_string("gateway.yaml").expect("the example");
    for (name, changes, code) in DIFFS {
        let new = changes
            .iter()
            .fold(example.clone(), |text, change| changed(&text, *change));
        fs::write(home.path().join("new.yaml"), new).expect("written");
        let run = portcullis(home.path(), &["diff", "gateway.yaml", "new.yaml"]);
        assert_eq!(
            (run.status.code(), stderr(&run)),
            (Some(*code), String::new()),
            "{name}"
        );
        matches_golden(&format!("diff-{name}.txt"), &stdout(&run));
    }
}

#[test]
fn what_one_direction_loosens_the_other_tightens() {
    let home = example();
    let example = fs::read_to_string("gateway.yaml").expect("the example");
    for (name, changes, _) in DIFFS {
        let new = changes
            .iter()
            .fold(example.clone(), |text, change| changed(&text, *change));
        fs::write(home.path().join("new.yaml"), new).expect("written");
        let counts = |old: &str, new: &str| {
            let run = portcullis(home.path(), &["diff", old, new, "--format", "json"]);
            let diff: Value = serde_json::from_str(&stdout(&run)).expect("JSON");
            let count = |key: &str| diff[key].as_u64().expect("a count");
            (count("looser"), count("tighter"), count("moved"))
        };
        let (looser, tighter, moved) = counts("gateway.yaml", "new.yaml");
        assert_eq!(
            counts("new.yaml", "gateway.yaml"),
            (tighter, looser, moved),
            "{name}"
        );
    }
}

#[test]
fn diff_reads_two_files_and_no_other() {
    let home = example();
    let run = portcullis(
        home.path(),
        &["diff", "gateway.yaml", "gateway.yaml", "--config", "x"],
    );
    assert_eq!(run.status.code(), Some(2));
    let run = portcullis(home.path(), &["diff", "gateway.yaml", "nowhere.yaml"]);
    assert_eq!(run.status.code(), Some(78));
    assert!(
        stderr(&run).contains("nowhere.yaml:1:1"),
        "{}",
        stderr(&run)
    );
}

/// A small policy: routes of few paths, scopes and hosts, so that they meet often.
fn small_policy() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec![
        "prefix: /a",
        "prefix: /a/b",
        "path: /a",
        "path: /a/b",
        r#"path: "/a/{x}""#,
        r#"path: "/{x}/b""#,
        r#"path: "/a/{x}/c""#,
        "path: /a/b/c",
    ]);
    let methods = prop::sample::select(vec!["GET", "POST", "GET, POST"]);
    let access = prop::sample::select(vec![
        "{ scopes: [s] }",
        "{ scopes: [t] }",
        "{ scopes: [s, t] }",
        "{ any_scope: [s, t] }",
        "authenticated",
        "{ public: \"p\" }",
    ]);
    let hosts = prop::sample::select(vec!["", ", hosts: [h.test]"]);
    let upstream = prop::sample::select(vec!["live", "test"]);
    let route = (path, methods, access, hosts, upstream);
    prop::collection::vec(route, 1..5).prop_map(|routes| {
        let lines = routes.into_iter().enumerate().map(
            |(index, (path, methods, access, hosts, upstream))| {
                format!(
                    "  - {{ name: r{index}, {path}, methods: [{methods}], access: {access}, upstream: {upstream}{hosts} }}\n"
                )
            },
        );
        format!("{SMALL}{}", lines.collect::<String>())
    })
}

const SMALL: &str = "
listen: { https: 127.0.0.1:8443, metrics: off, admin: off }
tls: { certificates: [{ cert: c.pem, key: k.pem }] }
store: { embedded: s.redb }
credentials: { realm: r, prefix: p, pepper: { file: pepper } }
scopes: { s: S, t: T }
upstreams:
  live: { endpoints: [http://127.0.0.1:1] }
  test: { endpoints: [http://127.0.0.1:2], environment: test }
routes:
";

fn policy_of(folder: &TempDir, name: &str, text: &str) -> Option<Policy> {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("written");
    // Two routes for one request are refused; whatever else is wrong is wrong here.
    match config::policy(&path) {
        Ok(policy) => Some(policy),
        Err(problems) => {
            let all = problems
                .iter()
                .all(|it| it.message().contains("already have a route"));
            assert!(all, "{problems}");
            None
        }
    }
}

fn key(scopes: &str, environment: Environment) -> Supposed {
    Supposed::new(SupposedIdentity {
        kind: CredentialKind::ApiKey,
        credential_id: CredentialId::parse("key_1").expect("an id"),
        subject: "a".into(),
        account: None,
        client_id: None,
        issuer: None,
        scopes: ScopeSet::parse(scopes).expect("scopes"),
        environment,
        allowed_ips: Vec::new(),
    })
}

/// Every request and caller that there can be of this alphabet: what of them the first policy
/// refuses and the second lets through.
fn gained(old: &Policy, new: &Policy) -> Option<String> {
    let worlds = [Environment::Live, Environment::Test];
    let callers = ["", "s", "t", "s t"]
        .into_iter()
        .flat_map(|scopes| worlds.map(|world| Some(key(scopes, world))))
        .chain([None]);
    let callers: Vec<Option<Supposed>> = callers.collect();
    let segments = ["a", "b", "c", "z"];
    let mut paths: Vec<String> = vec!["/".into()];
    for one in segments {
        paths.push(format!("/{one}"));
        for two in segments {
            paths.push(format!("/{one}/{two}"));
            paths.extend(segments.iter().map(|three| format!("/{one}/{two}/{three}")));
            paths.push(format!("/{one}/{two}/c/z"));
        }
    }
    for path in &paths {
        for host in [None, Some("h.test")] {
            for method in ["GET", "POST", "PUT"] {
                for caller in &callers {
                    let caller = caller.as_ref();
                    let question = Question {
                        method,
                        path,
                        host,
                        address: None,
                        caller,
                    };
                    let allows =
                        |policy: &Policy| policy.decide(&question).verdict == Verdict::Allow;
                    if !allows(old) && allows(new) {
                        return Some(format!("{method} {path} {host:?} {caller:?}"));
                    }
                }
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_line_is_looser_exactly_where_someone_gained(old in small_policy(), new in small_policy()) {
        let folder = tempfile::tempdir().expect("a folder");
        let policies = (
            policy_of(&folder, "old.yaml", &old),
            policy_of(&folder, "new.yaml", &new),
        );
        if let (Some(old), Some(new)) = policies {
            let diff = diff(&old, &new);
            let (gained, lost) = (gained(&old, &new), gained(&new, &old));
            prop_assert_eq!(diff.looser > 0, gained.is_some(), "{:?} {:?}", gained, diff);
            prop_assert_eq!(diff.tighter > 0, lost.is_some(), "{:?} {:?}", lost, diff);
        }
    }
}
