//! `POST /oauth/token`: what identity.md §1.2 asks beyond `token.rs` and `refresh.rs`, and what all
//! endpoints for clients have in common.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::clock::Clock;
use portcullis::id::{AccountId, ClientId, GrantId, SubjectId};
use portcullis::secret::Digest;
use portcullis::store::{
    CodeState, CreateGrant, GrantRecord, GrantStanding, RedirectRule, RefreshState,
};
use portcullis::token::{OpaqueFormat, RefreshNonce, RefreshTokens};

use crate::house::{
    CALLBACK, House, ODD_SECRET, OTHER_SECRET, PKCE, SECRET, VERIFIER, basic, encoded, error, json,
    pepper, public_query, scopes, seed_query, text,
};
use crate::support::Answer;

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, error(answer))
}

fn refused(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

/// The endpoints for clients, and what their `Allow` says.
const FOR_CLIENTS: [(&str, &str); 3] = [
    ("/oauth/token", "POST, OPTIONS"),
    ("/oauth/revoke", "POST, OPTIONS"),
    ("/oauth/introspect", "POST"),
];

#[test]
fn every_endpoint_for_clients_takes_a_post_and_says_so() {
    let house = House::start();
    for (path, allow) in FOR_CLIENTS {
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let answer = house.gateway.send(format!(
                "{method} {path} HTTP/1.1\r\nhost: api.osir.com\r\n\r\n"
            ));
            assert_eq!(
                told(&answer),
                refused(405, "invalid_request"),
                "{method} {path}"
            );
            assert_eq!(answer.header("allow"), Some(allow));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
    for path in ["/oauth/jwks", "/.well-known/oauth-protected-resource"] {
        let answer = house.post(path, "", "a=b");
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
}

#[test]
fn every_endpoint_for_clients_takes_one_unambiguous_form_of_a_bounded_size() {
    let house = House::start();
    let who = format!("client_id=client_conf&client_secret={SECRET}");
    for (path, _) in FOR_CLIENTS {
        let good = format!("{who}&token=x&grant_type=client_credentials");
        for form in [
            format!("{good}&token=y"),
            format!("{good}&scope=a&scope=b"),
            format!("{good}&%74oken=y"),
            format!("{good}&resource=https://api.osir.com&resource=https://api.osir.com"),
            format!("{good}&x=%ff"),
            format!("{good}&x=%C3%28"),
            format!("{good}&x=%"),
            who.clone(),
        ] {
            let answer = house.post(path, "", &form);
            assert_eq!(
                told(&answer),
                refused(400, "invalid_request"),
                "{path} {form}"
            );
        }
        for query in [
            "a=b",
            "client_id=client_conf",
            "token=x",
            "grant_type=client_credentials",
        ] {
            let answer = house.post(&format!("{path}?{query}"), "", &good);
            assert_eq!(
                told(&answer),
                refused(400, "invalid_request"),
                "{path}?{query}"
            );
        }
        for kind in [
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            "",
        ] {
            let answer = house.gateway.send(format!(
                "POST {path} HTTP/1.1\r\nhost: api.osir.com\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{good}",
                good.len()
            ));
            assert_eq!(
                told(&answer),
                refused(400, "invalid_request"),
                "{path} {kind}"
            );
        }
        // Also where the length is not declared.
        let large = "x".repeat(65 * 1024);
        let chunked = format!(
            "POST {path} HTTP/1.1\r\nhost: api.osir.com\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
            large.len()
        );
        for answer in [house.post(path, "", &large), house.gateway.send(chunked)] {
            assert_eq!(told(&answer), refused(413, "payload_too_large"), "{path}");
        }
        assert_eq!(house.post(path, "", &good).status, 200, "{path}");
    }
}

#[test]
fn scripts_of_any_site_may_call_what_no_cookie_decides() {
    let house = House::start();
    let origin = "origin: https://spa.example\r\n";
    let preflight = |path: &str| {
        house.gateway.send(format!(
            "OPTIONS {path} HTTP/1.1\r\nhost: api.osir.com\r\n{origin}access-control-request-method: POST\r\n\
             access-control-request-headers: authorization\r\n\r\n"
        ))
    };
    let form = "grant_type=client_credentials&token=x";
    let conf = basic("client_conf", SECRET);
    let cookie = format!("{origin}cookie: a=b\r\n");
    for path in ["/oauth/token", "/oauth/revoke"] {
        let asked = preflight(path);
        assert_eq!((asked.status, asked.body.as_str()), (204, ""), "{path}");
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "POST, OPTIONS"),
            (
                "access-control-allow-headers",
                "authorization, content-type",
            ),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(asked.header(name), Some(value), "{path}");
        }
        for (answer, status) in [
            (house.post(path, &format!("{conf}{origin}"), form), 200),
            (house.post(path, &format!("{conf}{origin}"), "x=%"), 400),
            (house.post(path, &cookie, form), 401),
            (house.post(&format!("{path}?a=b"), origin, form), 400),
            (
                house.gateway.send(format!(
                    "GET {path} HTTP/1.1\r\nhost: api.osir.com\r\n{origin}\r\n"
                )),
                405,
            ),
        ] {
            assert_eq!(answer.status, status, "{path}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
    }
    for (host, path) in [
        ("api.osir.com", "/oauth/jwks"),
        ("api.osir.com", "/.well-known/oauth-protected-resource"),
        ("osir.com", "/.well-known/oauth-authorization-server"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{origin}\r\n");
        let answer = match host {
            "osir.com" => house.browse(request),
            _ => house.gateway.send(request),
        };
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    // For servers alone.
    let introspect = house.post("/oauth/introspect", &format!("{conf}{origin}"), "token=x");
    assert_eq!(introspect.status, 200);
    assert_eq!(introspect.header("access-control-allow-origin"), None);
    assert_eq!(preflight("/oauth/introspect").status, 405);
}

#[test]
fn no_answer_may_be_kept_and_no_error_repeats_what_was_sent() {
    let house = House::start();
    let conf = basic("client_conf", SECRET);
    const MARK: &str = "MARK-that-comes-back-from-nowhere";
    let code = format!("grant_type=authorization_code&code=osir_ac_{MARK}");
    let refresh = format!("grant_type=refresh_token&refresh_token=osir_rt_{MARK}");
    let service = "grant_type=client_credentials";
    let token = "/oauth/token";
    let mut seen = std::collections::BTreeSet::new();
    for (path, headers, form) in [
        (token, conf.clone(), code),
        (token, conf.clone(), refresh),
        (token, conf.clone(), format!("grant_type={MARK}")),
        (token, conf.clone(), format!("{service}&scope={MARK}")),
        (token, conf.clone(), format!("{service}&resource={MARK}")),
        (token, conf.clone(), format!("{service}&{MARK}=1&{MARK}=2")),
        (token, conf.clone(), format!("{service}&{MARK}=%")),
        (token, conf.clone(), format!("{service}&client_id={MARK}")),
        (token, basic(MARK, MARK), service.into()),
        (
            token,
            format!("authorization: Bearer {MARK}\r\n"),
            service.into(),
        ),
        (
            token,
            String::new(),
            format!("{service}&client_id={MARK}&client_secret={MARK}"),
        ),
        ("/oauth/revoke", conf.clone(), format!("tokn={MARK}")),
        (
            "/oauth/introspect",
            basic(MARK, MARK),
            format!("token={MARK}"),
        ),
        ("/oauth/introspect", conf.clone(), format!("token={MARK}")),
        (token, conf.clone(), service.into()),
    ] {
        let answer = house.post(path, &headers, &form);
        assert_eq!(
            answer.header("cache-control"),
            Some("no-store"),
            "{answer:?}"
        );
        assert_eq!(answer.header("pragma"), Some("no-cache"), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let everything = format!("{answer:?}");
        assert!(!everything.contains("MARK"), "{everything}");
        let said = text(&json(&answer), "error_description");
        // RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E.
        let allowed = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
        assert!(said.chars().all(allowed), "{said}");
        seen.insert(told(&answer));
    }
    for (status, error) in [
        (400, "invalid_grant"),
        (400, "invalid_request"),
        (400, "invalid_scope"),
        (400, "invalid_target"),
        (400, "unsupported_grant_type"),
        (401, "invalid_client"),
        (200, ""),
    ] {
        assert!(seen.contains(&refused(status, error)), "{error}: {seen:?}");
    }
    let revoked = house.post("/oauth/revoke", &conf, &format!("token={MARK}"));
    assert_eq!((revoked.status, revoked.body.as_str()), (200, ""));
    assert_eq!(revoked.header("cache-control"), Some("no-store"));
}

#[test]
fn there_is_no_grant_but_the_three() {
    let house = House::start();
    for grant in [
        "password",
        "implicit",
        "Authorization_Code",
        "client_credentials%20",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:device_code",
    ] {
        let answer = house.token(&format!("grant_type={grant}&username=alice&password=x"));
        assert_eq!(
            told(&answer),
            refused(400, "unsupported_grant_type"),
            "{grant}"
        );
    }
}

#[test]
fn basic_is_two_form_encoded_parts_under_any_case_of_the_scheme() {
    let house = House::start();
    let ask = |field: &str| {
        let headers = format!("authorization: {field}\r\n");
        house.post("/oauth/token", &headers, "grant_type=client_credentials")
    };
    let pair = |user: &str, password: &str| STANDARD.encode(format!("{user}:{password}"));
    let plain = pair("client_conf", SECRET);
    // As it comes from libraries that do not encode, from those that do, and from those that overdo.
    let overdone: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let odd = encoded(ODD_SECRET).replace("%20", "+");
    for (field, why) in [
        (format!("Basic {plain}"), "plain"),
        (format!("basic {plain}"), "lower case"),
        (format!("BASIC {plain}"), "upper case"),
        (format!("Basic  {plain}"), "two blanks"),
        (
            format!("Basic {}", pair("client%5Fconf", SECRET)),
            "escaped name",
        ),
        (
            format!("Basic {}", pair("client_conf", &overdone)),
            "escaped secret",
        ),
        (
            format!("Basic {}", pair("client_odd", &odd)),
            "each odd character, escaped",
        ),
        (
            format!("Basic {}", pair("client_odd", &encoded(ODD_SECRET))),
            "a blank as %20",
        ),
    ] {
        let answer = ask(&field);
        assert_eq!(answer.status, 200, "{why}: {answer:?}");
    }
    for (field, why) in [
        (
            format!("Basic {}", pair("client_odd", ODD_SECRET)),
            "not escaped, and needs it",
        ),
        (
            format!("Basic {}", pair("client_conf", &format!("{SECRET}:"))),
            "a colon too many",
        ),
        (
            format!("Basic {}", pair("client_conf", &format!("{SECRET}+"))),
            "a blank too many",
        ),
        (
            format!("Basic {}", pair("client_conf", &format!("{SECRET}%"))),
            "half an escape",
        ),
        (
            format!("Basic {}", pair("client_conf", &format!("{SECRET}%ff"))),
            "not UTF-8",
        ),
        (
            format!("Basic {}", pair("client%3Aconf", SECRET)),
            "another name",
        ),
        (format!("Basic {}", pair("", SECRET)), "no name"),
        (format!("Basic {}", pair("client_conf", "")), "no secret"),
        (
            format!("Basic {}", STANDARD.encode("client_conf")),
            "no colon",
        ),
        (
            format!("Basic {}", STANDARD.encode([0xff, b':', 0xff])),
            "bytes",
        ),
        ("Basic !".to_owned(), "no base64"),
        ("Basic".to_owned(), "nothing"),
        (format!("Basic{plain}"), "no blank"),
        (format!("Bearer {plain}"), "another scheme"),
        (format!("Digest {plain}"), "another scheme"),
    ] {
        let answer = ask(&field);
        assert_eq!(told(&answer), refused(401, "invalid_client"), "{why}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some(r#"Basic realm="osir""#), "{why}");
    }
    let twice = ask(&format!("Basic {plain}\r\nauthorization: Basic {plain}"));
    assert_eq!(told(&twice), refused(400, "invalid_request"));
}

/// RFC 7636 §4.1: whatever the challenge was made of.
#[test]
fn a_verifier_is_43_to_128_unreserved_characters() {
    let house = House::start();
    let redeem = |verifier: &str| {
        let challenge = Digest::of_random(verifier.as_bytes()).to_text();
        let usual = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let code = house.code(&public_query().replace(usual, &challenge));
        let form = "grant_type=authorization_code&client_id=client_pub";
        let verifier = encoded(verifier);
        told(&house.post(
            "/oauth/token",
            "",
            &format!("{form}&code={code}&code_verifier={verifier}"),
        ))
    };
    for good in ["a".repeat(43), "a".repeat(128), "Az09-._~".repeat(6)] {
        assert_eq!(redeem(&good), refused(200, ""), "{good}");
    }
    let bad = [
        "a".repeat(42),
        "a".repeat(129),
        "a+".repeat(30),
        "é".repeat(30),
    ];
    for bad in &bad {
        assert_eq!(redeem(bad), refused(400, "invalid_grant"), "{bad}");
    }
}

/// OAuth 2.1 §7.5.2: else whoever sees a code could end the grant.
fn a_replay_ends_the_grant_only_if_all_else_is_right(house: &House) {
    let query = format!("{}{PKCE}", seed_query());
    let code = house.code(&query);
    let redeem = |client: &str, secret: &str, rest: &str| {
        let form = format!("grant_type=authorization_code&code={code}{rest}");
        house.post("/oauth/token", &basic(client, secret), &form)
    };
    let right = format!("&code_verifier={VERIFIER}&redirect_uri={CALLBACK}");
    let other = "x".repeat(43);
    let mine = |rest: &str| redeem("client_conf", SECRET, rest);
    let wrong_ones = || {
        for (answer, why) in [
            (
                redeem("client_other", OTHER_SECRET, &right),
                "a thief's client",
            ),
            (mine(&format!("&redirect_uri={CALLBACK}")), "no verifier"),
            (
                mine(&format!("&code_verifier={other}&redirect_uri={CALLBACK}")),
                "another verifier",
            ),
            (
                mine(&format!(
                    "&code_verifier={VERIFIER}&redirect_uri={CALLBACK}/"
                )),
                "another redirect",
            ),
        ] {
            assert_eq!(told(&answer), refused(400, "invalid_grant"), "{why}");
        }
        let answer = redeem("client_conf", OTHER_SECRET, &right);
        assert_eq!(told(&answer), refused(401, "invalid_client"));
    };
    wrong_ones();
    let tokens = json(&mine(&right));
    let access = text(&tokens, "access_token");
    assert_eq!(house.call(&access), 200);
    wrong_ones();
    let refreshed = house.refresh(&text(&tokens, "refresh_token"));
    assert_eq!(refreshed.status, 200, "wrong replays ended nothing");
    assert_eq!(house.call(&access), 200);
    let access = text(&json(&refreshed), "access_token");
    assert_eq!(told(&mine(&right)), refused(400, "invalid_grant"));
    house.is_refused(&access);
    let refreshed = house.refresh(&text(&json(&refreshed), "refresh_token"));
    assert_eq!(told(&refreshed), refused(400, "invalid_grant"));
}

#[test]
fn a_replay_ends_the_grant_only_if_all_else_is_right_on_both_stores() {
    for house in [House::start(), House::on_redis()] {
        a_replay_ends_the_grant_only_if_all_else_is_right(&house);
    }
}

/// A grant as it would have been made and used so many seconds ago.
fn grant(code: &str, id: GrantId, ago: Duration) -> GrantRecord {
    let now = Clock::system().now();
    GrantRecord {
        id,
        client: ClientId::parse("client_conf").expect("an id"),
        subject: SubjectId::parse("usr_alice").expect("an id"),
        account: AccountId::parse("acct_user").ok(),
        scopes: scopes("domains:read"),
        resource: None,
        auth_time: now.minus(ago),
        acr: None,
        amr: Vec::new(),
        created_at: now.minus(ago),
        expires_at: now.plus(Duration::from_secs(3600)),
        standing: GrantStanding::Pending,
        code: CodeState {
            digest: pepper().digest(code),
            redirect: CALLBACK.into(),
            redirect_rule: RedirectRule::Required,
            challenge: None,
            expires_at: now.minus(ago).plus(Duration::from_secs(60)),
            redeemed_at: None,
            wrong_verifiers: 0,
        },
        refresh: None,
    }
}

#[test]
fn what_has_expired_is_invalid_grant() {
    let house = House::on_redis();
    let format = OpaqueFormat::new("osir");
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let mut codes = Vec::new();
    for ago in [minutes(0), minutes(1)] {
        let id = GrantId::random();
        let code = format.mint_code(&id).expose().to_owned();
        let record = grant(&code, id, ago);
        let made = house.with_store(async |store| store.create_grant(record).await);
        assert_eq!(made.expect("the store is there"), CreateGrant::Created);
        let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
        codes.push(told(&house.token(&form)));
    }
    assert_eq!(codes, [refused(200, ""), refused(400, "invalid_grant")]);

    let refresh_tokens = RefreshTokens::new(format, &pepper().into());
    let now = Clock::system().now();
    let mut refreshed = Vec::new();
    for (idle_at, expires_at) in [
        (now.plus(minutes(1)), now.plus(minutes(1))),
        (now.minus(minutes(1)), now.plus(minutes(1))),
        (now.plus(minutes(1)), now.minus(minutes(1))),
    ] {
        let (id, nonce) = (GrantId::random(), RefreshNonce::random());
        let token = refresh_tokens.mint(&id, 0, &nonce).expose().to_owned();
        let record = GrantRecord {
            standing: GrantStanding::Active,
            expires_at,
            refresh: Some(RefreshState {
                generation: 0,
                live: vec![nonce.digest()],
                previous: Vec::new(),
                rotated_at: now.minus(minutes(2)),
                idle_at,
            }),
            ..grant("x", id, minutes(2))
        };
        let made = house.with_store(async |store| store.create_grant(record).await);
        assert_eq!(made.expect("the store is there"), CreateGrant::Created);
        refreshed.push(told(&house.refresh(&token)));
    }
    let dead = refused(400, "invalid_grant");
    assert_eq!(
        refreshed,
        [refused(200, ""), dead.clone(), dead],
        "live, idle, at its end"
    );
}

/// RFC 8707 §2: what was granted may be narrowed, and never widened.
#[test]
fn a_token_is_for_one_resource_of_those_that_were_granted() {
    let house = House::edited(None, |yaml| {
        yaml.replace(
            "audience: https://api.osir.com",
            "audience: [https://api.osir.com, https://api.osir.com/mcp]",
        )
    });
    let (first, second) = ("https://api.osir.com", "https://api.osir.com/mcp");
    let audience = |answer: &Answer| {
        let token = text(&json(answer), "access_token");
        text(&crate::house::claims(&token)["claims"], "aud")
    };
    let service = |resource: &str| {
        house.token(&format!(
            "grant_type=client_credentials&resource={resource}"
        ))
    };
    assert_eq!(
        audience(&house.token("grant_type=client_credentials")),
        first
    );
    assert_eq!(audience(&service(second)), second);
    for unknown in [
        "https://api.osir.com/mcp/x",
        "https://api.osir.com/MCP",
        "https://api.osir.com%23f",
        "https://api.osir.com?a=b",
        "http://api.osir.com",
        "api.osir.com",
        "https://other.example",
        "*",
    ] {
        assert_eq!(
            told(&service(unknown)),
            refused(400, "invalid_target"),
            "{unknown}"
        );
    }
    let twice = service(&format!("{first}&resource={second}"));
    assert_eq!(
        told(&twice),
        refused(400, "invalid_request"),
        "one at a time"
    );
    // Granted for all: each may be asked for, at the code and at each refresh.
    let redeem = |query: &str, rest: &str| {
        let code = house.code(query);
        house.token(&format!(
            "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}{rest}"
        ))
    };
    let all = redeem(&seed_query(), &format!("&resource={second}"));
    assert_eq!(audience(&all), second);
    let token = text(&json(&all), "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={token}&resource={first}");
    assert_eq!(audience(&house.token(&form)), first);
    // Granted for one.
    let one = format!("{}&resource={second}", seed_query());
    let wider = redeem(&one, &format!("&resource={first}"));
    assert_eq!(told(&wider), refused(400, "invalid_target"));
    let narrow = redeem(&one, "");
    assert_eq!(audience(&narrow), second);
    let token = text(&json(&narrow), "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    let wider = house.token(&format!("{form}&resource={first}"));
    assert_eq!(told(&wider), refused(400, "invalid_target"));
    assert_eq!(audience(&house.token(&form)), second, "not used up");
}
