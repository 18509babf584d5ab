//! JWT access tokens end to end; what single claims do is tested beside the code.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{FORBIDDEN, Gateway, Setup, UNAUTHORIZED, Upstream};

struct Issuer {
    key: rcgen::KeyPair,
}

const KID: &str = "key-1";

impl Issuer {
    fn new() -> Issuer {
        Issuer {
            key: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key"),
        }
    }

    fn jwks(&self) -> String {
        let point = self.key.public_key_raw();
        let text = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KID, "x": text(1..33), "y": text(33..65) }] })
            .to_string()
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let now = portcullis::clock::Clock::system().now().as_secs();
        let mut claims = json!({
            "iss": "https://idp.example", "aud": "api", "sub": "user-7", "client_id": "app-1", "jti": "jti-1",
            "iat": now, "exp": now + 600, "scope": "domains:read",
        });
        change(&mut claims);
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.typ = Some("at+jwt".into());
        header.kid = Some(KID.into());
        let key = jsonwebtoken::EncodingKey::from_ec_der(self.key.serialized_der());
        jsonwebtoken::encode(&header, &claims, &key).expect("signed")
    }
}

fn start(issuer: &Issuer, upstream: &Upstream) -> Gateway {
    let setup = Setup::before(upstream.address)
        .extra("access_tokens: [{ issuer: https://idp.example, jwks: jwks.json, audience: api, algorithms: [ES256] }]\n");
    let folder = Setup::before(upstream.address).start().stop();
    std::fs::write(folder.path().join("jwks.json"), issuer.jwks()).expect("writable");
    Gateway::start_in(folder, &setup.yaml())
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[test]
fn an_access_token_is_a_caller_with_scopes() {
    let (issuer, upstream) = (Issuer::new(), Upstream::start());
    let gateway = start(&issuer, &upstream);
    let token = issuer.token(|_| {});
    for _ in 0..2 {
        assert_eq!(gateway.get(&bearer(&token)).status, 200);
    }
    let received = &upstream.received()[1];
    assert_eq!(
        received.values("x-auth-subject"),
        ["https://idp.example|user-7"]
    );
    assert_eq!(received.values("x-auth-method"), ["jwt"]);
    assert_eq!(received.values("x-auth-client-id"), ["app-1"]);
    assert!(received.values("authorization").is_empty());
    // A cached verdict is who, not may (row 92).
    let answer = gateway.send(format!(
        "DELETE /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\n{}\r\n",
        bearer(&token)
    ));
    assert_eq!((answer.status, answer.body.as_str()), (403, FORBIDDEN));
    let hits =
        gateway.metric(r#"portcullis_credential_cache_total{cache="access_token",outcome="hit"}"#);
    assert_eq!(hits, 2.0);
}

#[test]
fn a_token_that_is_not_right_in_every_point_is_401() {
    let (issuer, upstream) = (Issuer::new(), Upstream::start());
    let gateway = start(&issuer, &upstream);
    let other = Issuer::new().token(|_| {});
    let good = issuer.token(|_| {});
    let parts: Vec<&str> = good.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    for token in [
        issuer.token(|claims| claims["aud"] = "other".into()),
        issuer.token(|claims| claims["iss"] = "https://idp.example/".into()),
        issuer.token(|claims| claims["exp"] = 1.into()),
        issuer.token(|claims| claims["exp"] = "tomorrow".into()),
        issuer.token(|claims| claims["cnf"] = json!({ "jkt": "x" })),
        other,
        format!("{none}.{}.", parts[1]),
        format!(
            "{}.{}.{}",
            parts[0],
            parts[1],
            URL_SAFE_NO_PAD.encode([0; 64])
        ),
        format!("{good}x"),
        "a".repeat(9000) + ".b.c",
    ] {
        let answer = gateway.get(&bearer(&token));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, UNAUTHORIZED),
            "{token}"
        );
    }
    assert_eq!(
        gateway.get(&format!("x-api-key: {good}\r\n")).status,
        401,
        "interface.md §7.4"
    );
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn while_the_key_set_was_never_had_its_tokens_are_503_and_readyz_says_so() {
    let upstream = Upstream::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let gateway = Setup::before(upstream.address)
        .extra(&format!("access_tokens: [{{ issuer: https://idp.example, jwks: \"https://{address}/jwks\", audience: api, algorithms: [ES256] }}]\n"))
        .start();
    let answer = gateway.get(&bearer(&Issuer::new().token(|_| {})));
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    let ready = gateway.vitals("/readyz");
    assert!(
        ready.status == 503 && ready.body.contains("https://idp.example"),
        "{ready:?}"
    );
    let (_, key) = gateway.key(&["domains:read"]);
    assert_eq!(
        gateway.get(&format!("x-api-key: {key}\r\n")).status,
        200,
        "keys are not affected"
    );
}
