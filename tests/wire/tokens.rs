//! JWT access tokens end to end; what single claims do is tested beside the code.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{FORBIDDEN, Gateway, Setup, UNAUTHORIZED, Upstream};

pub(crate) struct Issuer {
    key: rcgen::KeyPair,
}

const KID: &str = "key-1";

impl Issuer {
    pub(crate) fn new() -> Issuer {
        Issuer {
            key: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key"),
        }
    }

    pub(crate) fn jwks(&self) -> String {
        let point = self.key.public_key_raw();
        let text = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KID, "x": text(1..33), "y": text(33..65) }] })
            .to_string()
    }

    pub(crate) fn token(&self, change: impl FnOnce(&mut Value)) -> String {
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

/// Signs any header and payload with an issuer's own key, as an attacker with a good key cannot.
fn compact(header: &Value, payload: &str, signature: &[u8]) -> String {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!(
        "{}.{}.{}",
        text(header.to_string().as_bytes()),
        text(payload.as_bytes()),
        text(signature)
    )
}

#[test]
fn rows_81_to_85_and_90_the_header_decides_nothing() {
    let (issuer, upstream) = (Issuer::new(), Upstream::start());
    let gateway = start(&issuer, &upstream);
    let good = issuer.token(|_| {});
    let parts: Vec<&str> = good.split('.').collect();
    let payload =
        String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url")).expect("JSON");
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).expect("base64url");
    let mut tokens = Vec::new();
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!(" none"),
        json!(null),
        json!([]),
        json!(["ES256"]),
        json!({}),
        json!(0),
        json!("es256"),
        json!("ES256 "),
        json!("ES256K"),
        json!("ES512"),
    ] {
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": KID });
        tokens.push(compact(&header, &payload, b""));
        tokens.push(compact(&header, &payload, &signature));
    }
    tokens.push(compact(
        &json!({ "typ": "at+jwt", "kid": KID }),
        &payload,
        &signature,
    ));
    // Row 82: the public key as an HMAC secret, in the forms that libraries have taken.
    let pem = issuer.key.public_key_pem();
    for secret in [
        pem.as_bytes(),
        pem.trim().as_bytes(),
        issuer.key.public_key_raw(),
        issuer.jwks().as_bytes(),
    ] {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        header.typ = Some("at+jwt".into());
        header.kid = Some(KID.into());
        let claims: Value = serde_json::from_str(&payload).expect("JSON");
        let key = jsonwebtoken::EncodingKey::from_secret(secret);
        tokens.push(jsonwebtoken::encode(&header, &claims, &key).expect("signed"));
    }
    // Row 83: the signature that CVE-2022-21449 took, and others that are none.
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": KID });
    for signature in [
        &[0u8; 64][..],
        &[0; 63],
        &[0xff; 64],
        &[0x30, 6, 2, 1, 1, 2, 1, 1],
        b"",
    ] {
        tokens.push(compact(&header, &payload, signature));
    }
    // Rows 84, 85 and 90: what a header asks for is not done; a listener would see an attempt.
    let trap = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/jwks", trap.local_addr().expect("an address"));
    for extra in [
        json!({ "crit": ["x"] }),
        json!({ "crit": [] }),
        json!({ "b64": false }),
        json!({ "enc": "A128GCM" }),
        json!({ "zip": "DEF" }),
        json!({ "kid": "../../etc/passwd" }),
        json!({ "kid": url }),
        json!({ "kid": "' OR 1=1 --" }),
        json!({ "jku": url, "kid": "other" }),
        json!({ "x5u": url, "kid": "other" }),
        json!({ "typ": "JWT" }),
        json!({ "typ": "portcullis+jwt" }),
    ] {
        let mut header = header.clone();
        header
            .as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        tokens.push(compact(&header, &payload, &signature));
    }
    for token in &tokens {
        let answer = gateway.get(&bearer(token));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, UNAUTHORIZED),
            "{token}"
        );
    }
    trap.set_nonblocking(true).expect("non-blocking");
    assert!(trap.accept().is_err(), "row 84: an outbound call was made");
    assert_eq!(upstream.received().len(), 0);
    assert_eq!(gateway.get(&bearer(&good)).status, 200);
}

#[test]
fn every_pinned_algorithm_verifies_and_no_other_does() {
    use jsonwebtoken::{Algorithm, EncodingKey};
    let upstream = Upstream::start();
    let folder = Setup::before(upstream.address).start().stop();
    let rsa = folder.path().join("rsa.pem");
    let openssl = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl")
            .args(arguments)
            .output()
            .expect("openssl is there");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let path = rsa.to_str().expect("UTF-8");
    openssl(&[
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
        path,
    ]);
    let modulus = openssl(&["rsa", "-in", path, "-noout", "-modulus"]);
    let modulus = modulus.trim().trim_start_matches("Modulus=");
    let bytes: Vec<u8> = (0..modulus.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&modulus[at..at + 2], 16).expect("hex"))
        .collect();
    let rsa_pem = std::fs::read(&rsa).expect("there");
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
    let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let (x, y) = p384.public_key_raw()[1..].split_at(48);
    let rsa_key = |kid: &str, alg: &str| json!({ "kty": "RSA", "kid": kid, "alg": alg, "n": text(&bytes), "e": "AQAB" });
    let keys = json!({ "keys": [
        rsa_key("rs", "RS256"), rsa_key("ps", "PS256"),
        { "kty": "EC", "crv": "P-384", "kid": "es", "alg": "ES384", "x": text(x), "y": text(y) },
        { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "x": text(ed.public_key_raw()) },
    ] });
    std::fs::write(folder.path().join("jwks.json"), keys.to_string()).expect("writable");
    let yaml = Setup::before(upstream.address)
        .extra("access_tokens: [{ issuer: https://idp.example, jwks: jwks.json, audience: api, algorithms: [RS256, PS256, ES384, Ed25519] }]\n")
        .yaml();
    let gateway = Gateway::start_in(folder, &yaml);
    let now = portcullis::clock::Clock::system().now().as_secs();
    let claims = json!({ "iss": "https://idp.example", "aud": ["x", "api"], "sub": "u", "client_id": "c", "jti": "j", "iat": now, "exp": now + 60, "scope": "domains:read" });
    let from_rsa = || EncodingKey::from_rsa_pem(&rsa_pem).expect("a key");
    for (kid, alg, key, status) in [
        ("rs", Algorithm::RS256, from_rsa(), 200),
        ("ps", Algorithm::PS256, from_rsa(), 200),
        (
            "es",
            Algorithm::ES384,
            EncodingKey::from_ec_der(p384.serialized_der()),
            200,
        ),
        (
            "ed",
            Algorithm::EdDSA,
            EncodingKey::from_ed_der(ed.serialized_der()),
            200,
        ),
        // RFC 8725: each key has exactly one algorithm.
        ("ps", Algorithm::RS256, from_rsa(), 401),
        ("rs", Algorithm::PS256, from_rsa(), 401),
        ("rs", Algorithm::RS512, from_rsa(), 401),
        ("es", Algorithm::RS256, from_rsa(), 401),
    ] {
        let mut header = jsonwebtoken::Header::new(alg);
        header.typ = Some("application/at+jwt".into());
        header.kid = Some(kid.into());
        let token = jsonwebtoken::encode(&header, &claims, &key).expect("signed");
        assert_eq!(
            gateway.get(&bearer(&token)).status,
            status,
            "{alg:?} with {kid}"
        );
    }
}

#[test]
fn keys_are_fetched_over_https_and_a_new_one_is_found_by_its_first_token() {
    use std::io::{Read as _, Write as _};
    use std::sync::{Arc, Mutex};

    use rustls::pki_types::pem::PemObject as _;
    let (old, new) = (Issuer::new(), Issuer::new());
    let folder = tempfile::tempdir().expect("a folder");
    let files = portcullis::dev::certificates::make(folder.path(), &["127.0.0.1".to_owned()])
        .expect("certificates");
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(&files.cert)
        .expect("PEM")
        .map(|c| c.expect("PEM"))
        .collect();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&files.key).expect("PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    let config = Arc::new(
        config
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate"),
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (document, fetches) = (Arc::new(Mutex::new(old.jwks())), Arc::new(Mutex::new(0)));
    let (served, counted) = (Arc::clone(&document), Arc::clone(&fetches));
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = rustls::StreamOwned::new(session, tcp);
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                *counted.lock().expect("not poisoned") += 1;
                let body = served.lock().expect("not poisoned").clone();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.flush();
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    let upstream = Upstream::start();
    let gateway = Setup::before(upstream.address)
        .extra(&format!("access_tokens: [{{ issuer: https://idp.example, jwks: \"https://{address}/jwks\", ca: {}, audience: api, algorithms: [ES256] }}]\n", files.ca.display()))
        .start();
    assert_eq!(
        gateway.get(&bearer(&old.token(|_| {}))).status,
        200,
        "prefetched"
    );
    *document.lock().expect("not poisoned") = new.jwks().replace(KID, "key-2");
    let token = new.token(|_| {});
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.typ = Some("at+jwt".into());
    header.kid = Some("key-2".into());
    let claims = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).expect("claims"))
        .expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    let signer = jsonwebtoken::EncodingKey::from_ec_der(new.key.serialized_der());
    let rotated = jsonwebtoken::encode(&header, &claims, &signer).expect("signed");
    assert_eq!(
        gateway.get(&bearer(&rotated)).status,
        200,
        "the unknown kid made one fetch"
    );
    assert_eq!(
        gateway.get(&bearer(&old.token(|_| {}))).status,
        401,
        "a removed key takes its tokens along"
    );
    assert_eq!(
        *fetches.lock().expect("not poisoned"),
        2,
        "at most one refetch in 30 s"
    );
}
