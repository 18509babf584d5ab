//! Rows 81 to 92 of the catalogue of attacks. Each test first shows that the same bench takes a
//! good token, so that a refusal is never for another reason.

use aws_lc_rs::hmac;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis::auth::Refusal;
use serde_json::{Value, json};

use crate::bench::{Bench, ISSUER, KID, claims, good, header};
use crate::jwks_issuer::{SigningKey, encode, key_set, signing_input};
use crate::jwks_server::Trap;

const BAD_HEADER: &[Refusal] = &[Refusal::Malformed, Refusal::Algorithm];
const BAD_CLAIMS: &[Refusal] = &[Refusal::Claims];
const MALFORMED: &[Refusal] = &[Refusal::Malformed];
const SIGNATURE: &[Refusal] = &[Refusal::Signature];

fn every_key() -> Vec<SigningKey> {
    vec![
        SigningKey::Rs256,
        SigningKey::Ps256,
        SigningKey::es256(),
        SigningKey::es384(),
        SigningKey::ed25519(),
    ]
}

fn with_claim(claim: &str, value: Value) -> String {
    let mut claims = claims();
    claims[claim] = value;
    claims.to_string()
}

#[tokio::test]
async fn every_algorithm_of_an_independent_signer_is_verified() {
    for key in every_key() {
        let bench = Bench::with_keys(&[&key]);
        let (algorithm, private) = match &key {
            SigningKey::Ed25519(_) => (Algorithm::EdDSA, EncodingKey::from_ed_der(&key.pkcs8())),
            SigningKey::Es256(_) => (Algorithm::ES256, EncodingKey::from_ec_der(&key.pkcs8())),
            SigningKey::Es384(_) => (Algorithm::ES384, EncodingKey::from_ec_der(&key.pkcs8())),
            SigningKey::Ps256 => (Algorithm::PS256, rsa_key(&key)),
            SigningKey::Rs256 => (Algorithm::RS256, rsa_key(&key)),
        };
        let mut header = Header::new(algorithm);
        header.typ = Some("at+jwt".into());
        header.kid = Some(KID.into());
        let token = jsonwebtoken::encode(&header, &claims(), &private).expect("signed");
        bench.assert_accepts(&token).await;
        bench.assert_accepts(&good(&key)).await;
    }
}

fn rsa_key(key: &SigningKey) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem("PRIVATE KEY", &key.pkcs8()).as_bytes()).expect("a key")
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[tokio::test]
async fn the_newer_name_of_ed25519_is_the_same_algorithm() {
    let key = SigningKey::ed25519();
    let bench = Bench::with_keys(&[&key]);
    let token = key.token(&header("Ed25519"), claims().to_string());
    bench.assert_accepts(&token).await;
}

#[tokio::test]
async fn row_81_no_spelling_of_none_is_an_algorithm() {
    let key = SigningKey::es256();
    let bench = Bench::with_keys(&[&key]);
    bench.assert_accepts(&good(&key)).await;
    let spellings = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "noNe",
        "NonE",
        "nONE",
        "none ",
        " none",
        "none\t",
        "none\u{0}",
        "n\u{200b}one",
        "\u{ff4e}one",
        "null",
        "",
    ];
    for name in spellings {
        let signed = signing_input(&header(name), claims().to_string());
        bench
            .assert_refuses(&format!("{signed}."), MALFORMED, name)
            .await;
        let token = key.token(&header(name), claims().to_string());
        bench
            .assert_refuses(&token, &[Refusal::Algorithm], name)
            .await;
    }
}

#[tokio::test]
async fn row_81_alg_missing_null_or_of_another_type() {
    let key = SigningKey::es256();
    let bench = Bench::with_keys(&[&key]);
    for header in [
        json!({"kid": KID, "typ": "at+jwt"}).to_string(),
        json!({"alg": null, "kid": KID, "typ": "at+jwt"}).to_string(),
        json!({"alg": ["ES256"], "kid": KID, "typ": "at+jwt"}).to_string(),
        json!({"alg": {"ES256": 1}, "kid": KID, "typ": "at+jwt"}).to_string(),
        json!({"alg": 1, "kid": KID, "typ": "at+jwt"}).to_string(),
        json!({"ALG": "ES256", "kid": KID, "typ": "at+jwt"}).to_string(),
        r#"{"alg":"ES256","alg":"ES256","kid":"main","typ":"at+jwt"}"#.into(),
        r#"{"alg":"ES256","alg":"none","kid":"main","typ":"at+jwt"}"#.into(),
        r#"["ES256"]"#.into(),
    ] {
        let token = key.token(&header, claims().to_string());
        bench.assert_refuses(&token, MALFORMED, &header).await;
    }
}

#[tokio::test]
async fn row_82_a_public_key_is_no_hmac_secret_in_any_of_its_forms() {
    for key in [SigningKey::Rs256, SigningKey::es256()] {
        let bench = Bench::with_keys(&[&key]);
        bench.assert_accepts(&good(&key)).await;
        for (form, secret) in public_forms(&key) {
            for (name, algorithm) in [
                ("HS256", hmac::HMAC_SHA256),
                ("HS384", hmac::HMAC_SHA384),
                ("HS512", hmac::HMAC_SHA512),
                // The tag under the name that the issuer is pinned to.
                (key.name(), hmac::HMAC_SHA256),
            ] {
                let signed = signing_input(&header(name), claims().to_string());
                let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), signed.as_bytes());
                let token = format!("{signed}.{}", encode(tag));
                let expected = [Refusal::Algorithm, Refusal::Signature];
                bench
                    .assert_refuses(&token, &expected, &format!("{name} with {form}"))
                    .await;
            }
        }
    }
}

/// What a careless library has been seen to take for a secret.
fn public_forms(key: &SigningKey) -> Vec<(&'static str, Vec<u8>)> {
    let (spki, raw) = (key.spki(), key.raw_public());
    let jwk = key.jwk(KID);
    let spki_pem = pem("PUBLIC KEY", &spki);
    let number = jwk.get("n").or_else(|| jwk.get("x"));
    let number = number.and_then(Value::as_str).expect("a number").to_owned();
    vec![
        ("SPKI PEM", spki_pem.clone().into_bytes()),
        (
            "SPKI PEM without the last line end",
            spki_pem.trim_end().into(),
        ),
        (
            "SPKI PEM with CR LF",
            spki_pem.replace('\n', "\r\n").into_bytes(),
        ),
        (
            "SPKI PEM body",
            spki_pem
                .lines()
                .filter(|line| !line.starts_with('-'))
                .collect::<String>()
                .into(),
        ),
        ("SPKI DER", spki.clone()),
        ("SPKI base64url", encode(&spki).into()),
        ("raw PEM", pem("RSA PUBLIC KEY", &raw).into_bytes()),
        ("raw DER or point", raw),
        ("JWK", jwk.to_string().into_bytes()),
        ("JWK set", key_set(&[jwk]).into_bytes()),
        ("number", number.into_bytes()),
        ("empty", Vec::new()),
    ]
}

#[tokio::test]
async fn row_82_the_header_cannot_choose_another_algorithm_for_a_key() {
    let keys = every_key();
    for key in &keys {
        let bench = Bench::with_keys(&[key]);
        bench.assert_accepts(&good(key)).await;
        for other in keys.iter().filter(|other| other.name() != key.name()) {
            // Signed by the right key, and by the key that the header speaks of.
            for signer in [key, other] {
                let token = signer.token(&header(other.name()), claims().to_string());
                let case = format!("{} for a key of {}", other.name(), key.name());
                bench
                    .assert_refuses(&token, &[Refusal::Algorithm], &case)
                    .await;
            }
        }
    }
}

/// The order of P-256, FIPS 186-4 D.1.2.3.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

#[tokio::test]
async fn row_83_psychic_and_misshapen_ecdsa_signatures() {
    let key = SigningKey::es256();
    let bench = Bench::with_keys(&[&key]);
    bench.assert_accepts(&good(&key)).await;
    let signed = signing_input(&header("ES256"), claims().to_string());
    let sound = key.sign(signed.as_bytes());
    let (r, s) = sound.split_at(32);
    let (zero, mut one) = ([0u8; 32], [0u8; 32]);
    one[31] = 1;
    let max = [0xff; 32];
    for (case, signature) in [
        ("0, 0", [zero, zero].concat()),
        ("0, 1", [zero, one].concat()),
        ("1, 0", [one, zero].concat()),
        ("1, 1", [one, one].concat()),
        ("N, N", [N, N].concat()),
        ("N, s", [&N[..], s].concat()),
        ("r, N", [r, &N[..]].concat()),
        ("r, 0", [r, &zero[..]].concat()),
        ("max, max", [max, max].concat()),
        ("DER", der(r, s)),
        ("DER of 0, 0", der(&zero[..1], &zero[..1])),
        ("swapped", [s, r].concat()),
        ("one byte less", sound[..63].to_vec()),
        ("one byte more", [&sound[..], &[0]].concat()),
        (
            "zero-extended to P-384",
            [&[0; 16][..], r, &[0; 16], s].concat(),
        ),
        ("one byte", vec![0]),
    ] {
        let token = format!("{signed}.{}", encode(signature));
        bench.assert_refuses(&token, SIGNATURE, case).await;
    }
    bench
        .assert_accepts(&format!("{signed}.{}", encode(&sound)))
        .await;
}

fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let sign = number.first().is_some_and(|byte| *byte >= 0x80);
        let value = if sign {
            [&[0], number].concat()
        } else {
            number.to_vec()
        };
        [&[2, value.len() as u8][..], &value].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

#[tokio::test]
async fn row_83_a_signature_covers_header_and_claims() {
    for key in every_key() {
        let bench = Bench::with_keys(&[&key]);
        let token = good(&key);
        bench.assert_accepts(&token).await;
        let signature = token.rsplit_once('.').expect("three parts").1;
        let other = signing_input(&header(key.name()), with_claim("sub", json!("mallory")));
        let changed = format!("{other}.{signature}");
        bench.assert_refuses(&changed, SIGNATURE, key.name()).await;
    }
}

#[tokio::test]
async fn row_84_no_key_comes_from_a_token_and_no_connection_is_made() {
    let (key, attacker) = (SigningKey::es256(), SigningKey::es256());
    let bench = Bench::with_keys(&[&key]);
    let trap = Trap::set();
    let url = format!("https://{}/jwks.json", trap.authority());
    let unknown = &[Refusal::UnknownSigningKey];
    for (case, extra, expected) in [
        ("jku", json!({"jku": url, "kid": KID}), SIGNATURE),
        ("jku alone", json!({ "jku": url }), SIGNATURE),
        ("x5u", json!({"x5u": url, "kid": KID}), SIGNATURE),
        (
            "jwk",
            json!({"jwk": attacker.jwk(KID), "kid": KID}),
            SIGNATURE,
        ),
        (
            "x5c",
            json!({"x5c": [encode(attacker.spki())], "kid": KID}),
            SIGNATURE,
        ),
        ("kid as URL", json!({ "kid": url }), unknown),
        (
            "kid as path",
            json!({"kid": "../../../../dev/null"}),
            unknown,
        ),
        (
            "kid as absolute path",
            json!({"kid": "/proc/sys/kernel/randomize_va_space"}),
            unknown,
        ),
        (
            "kid as SQL",
            json!({"kid": "' UNION SELECT 'key'--"}),
            unknown,
        ),
        (
            "kid as command",
            json!({"kid": "main|curl http://x"}),
            unknown,
        ),
        ("kid with NUL", json!({"kid": "main\u{0}"}), unknown),
        ("kid in another case", json!({"kid": "Main"}), unknown),
        ("kid empty", json!({"kid": ""}), unknown),
        ("kid as number", json!({"kid": 0}), MALFORMED),
        ("kid as list", json!({"kid": [KID]}), MALFORMED),
    ] {
        let mut header = json!({"alg": "ES256", "typ": "at+jwt"});
        let members = extra.as_object().expect("an object").clone();
        header.as_object_mut().expect("an object").extend(members);
        let token = attacker.token(&header.to_string(), claims().to_string());
        bench.assert_refuses(&token, expected, case).await;
    }
    trap.assert_untouched();
    // Ignored, and not refused: what the header says about keys changes nothing at all.
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": KID, "jku": url}).to_string();
    bench
        .assert_accepts(&key.token(&header, claims().to_string()))
        .await;
    trap.assert_untouched();
}

#[tokio::test]
async fn row_85_what_must_be_understood_and_is_not_is_refused() {
    let key = SigningKey::es256();
    let bench = Bench::with_keys(&[&key]);
    bench.assert_accepts(&good(&key)).await;
    for extra in [
        json!({"crit": ["exp"], "exp": 1}),
        json!({"crit": ["x-unknown"], "x-unknown": true}),
        json!({"crit": []}),
        json!({"crit": null}),
        json!({"crit": "b64"}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"b64": false}),
        json!({"b64": true}),
        json!({"zip": "DEF"}),
    ] {
        let mut header = json!({"alg": "ES256", "typ": "at+jwt", "kid": KID});
        let members = extra.as_object().expect("an object").clone();
        header.as_object_mut().expect("an object").extend(members);
        let token = key.token(&header.to_string(), claims().to_string());
        bench
            .assert_refuses(&token, &[Refusal::Protected], &extra.to_string())
            .await;
    }
}

#[tokio::test]
async fn row_86_times_of_a_wrong_type_are_not_absent_times() {
    let key = SigningKey::es256();
    let bench = Bench::with_keys(&[&key]);
    for claim in ["exp", "nbf", "iat"] {
        for bad in [
            json!("never"),
            json!("1790003600"),
            json!(null),
            json!([]),
            json!({}),
            json!(1e300),
        ] {
            let token = key.token(&header("ES256"), with_claim(claim, bad.clone()));
            bench
                .assert_refuses(&token, BAD_CLAIMS, &format!("{claim} {bad}"))
                .await;
        }
    }
    let ahead = key.token(
        &header("ES256"),
        with_claim("nbf", json!(crate::bench::NOW + 3600)),
    );
    bench
        .assert_refuses(&ahead, &[Refusal::NotYetValid], "nbf ahead")
        .await;
    let mut without = claims();
    without.as_object_mut().expect("an object").remove("exp");
    let token = key.token(&header("ES256"), without.to_string());
    bench.assert_refuses(&token, BAD_CLAIMS, "no exp").await;
}

#[tokio::test]
async fn row_87_issuer_and_audience_of_every_wrong_type() {
    let key = SigningKey::es256();
    let bench = Bench::with_keys(&[&key]);
    for claim in ["iss", "aud", "sub"] {
        let right = claims()[claim].clone();
        for bad in [
            json!(null),
            json!({}),
            json!({"0": right}),
            json!(5),
            json!(true),
            json!([[right]]),
            json!([right, null]),
            json!([5]),
        ] {
            let token = key.token(&header("ES256"), with_claim(claim, bad.clone()));
            bench
                .assert_refuses(&token, BAD_CLAIMS, &format!("{claim} {bad}"))
                .await;
        }
        let mut without = claims();
        without.as_object_mut().expect("an object").remove(claim);
        let token = key.token(&header("ES256"), without.to_string());
        bench
            .assert_refuses(&token, BAD_CLAIMS, &format!("no {claim}"))
            .await;
    }
    let listed = key.token(&header("ES256"), with_claim("iss", json!([ISSUER])));
    bench
        .assert_refuses(&listed, BAD_CLAIMS, "iss as a list")
        .await;
    for near in [
        "https://idp.example/",
        "HTTPS://idp.example",
        "https://idp.example\u{0}",
        "",
    ] {
        let token = key.token(&header("ES256"), with_claim("iss", json!(near)));
        bench.assert_refuses(&token, &[Refusal::Issuer], near).await;
    }
    for near in ["api/", "API", "ap", "api api", ""] {
        let token = key.token(&header("ES256"), with_claim("aud", json!(near)));
        bench
            .assert_refuses(&token, &[Refusal::Audience], near)
            .await;
    }
    let list = key.token(&header("ES256"), with_claim("aud", json!(["x", "api"])));
    bench.assert_accepts(&list).await;
}

#[tokio::test]
async fn row_88_claims_that_two_parsers_would_read_differently() {
    let key = SigningKey::es256();
    let bench = Bench::with_keys(&[&key]);
    bench.assert_accepts(&good(&key)).await;
    let good = claims().to_string();
    let inside = good.strip_suffix('}').expect("an object");
    let deep = format!("{inside},\"x\":{}{}}}", "[".repeat(2000), "]".repeat(2000));
    let deeper = format!("{inside},\"x\":{}", "{\"a\":".repeat(1000));
    for (case, json) in [
        (
            "the same twice",
            format!("{inside},\"sub\":\"alice\"}}").into_bytes(),
        ),
        (
            "another twice",
            format!("{inside},\"sub\":\"mallory\"}}").into_bytes(),
        ),
        (
            "escaped twice",
            format!("{inside},\"\\u0073ub\":\"mallory\"}}").into_bytes(),
        ),
        (
            "unread twice",
            format!("{inside},\"x\":1,\"x\":2}}").into_bytes(),
        ),
        ("a second object", format!("{good}{{}}").into_bytes()),
        ("trailing text", format!("{good}x").into_bytes()),
        ("trailing NUL", format!("{good}\0").into_bytes()),
        ("a byte order mark", format!("\u{feff}{good}").into_bytes()),
        (
            "bad UTF-8",
            [inside.as_bytes(), b",\"x\":\"\xff\"}"].concat(),
        ),
        (
            "overlong UTF-8",
            [inside.as_bytes(), b",\"x\":\"\xc0\xaf\"}"].concat(),
        ),
        (
            "a lone surrogate",
            format!("{inside},\"x\":\"\\ud800\"}}").into_bytes(),
        ),
        ("deep arrays", deep.into_bytes()),
        ("deep objects", deeper.into_bytes()),
        ("an array", format!("[{good}]").into_bytes()),
        ("a string", json!(good).to_string().into_bytes()),
        ("nothing", b" ".to_vec()),
        ("a comment", format!("/**/{good}").into_bytes()),
        ("cut", inside.as_bytes().to_vec()),
    ] {
        let token = key.token(&header("ES256"), json);
        let expected = [Refusal::Malformed, Refusal::Claims];
        bench.assert_refuses(&token, &expected, case).await;
    }
}

#[tokio::test]
async fn row_90_encrypted_tokens_cost_nothing() {
    let key = SigningKey::es256();
    let bench = Bench::with_keys(&[&key]);
    let bomb = json!({"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": u32::MAX, "p2s": "AA"});
    let jwe = format!("{}.AA.AA.AA.AA", encode(bomb.to_string()));
    bench.assert_refuses(&jwe, MALFORMED, "five parts").await;
    for header in [
        bomb,
        json!({"alg": "dir", "enc": "A128GCM", "zip": "DEF"}),
        json!({"alg": "ES256", "kid": KID, "typ": "at+jwt", "enc": "A128GCM"}),
        json!({"alg": "ES256", "kid": KID, "typ": "at+jwt", "zip": "DEF"}),
    ] {
        let token = key.token(&header.to_string(), claims().to_string());
        bench
            .assert_refuses(&token, &[Refusal::Protected], &header.to_string())
            .await;
    }
    let plain = json!({"alg": "RSA-OAEP", "kid": KID, "typ": "at+jwt", "p2c": u32::MAX});
    let token = key.token(&plain.to_string(), claims().to_string());
    bench
        .assert_refuses(&token, BAD_HEADER, "an encryption algorithm")
        .await;
    let huge = key.token(
        &header("ES256"),
        with_claim("x", json!("a".repeat(8 * 1024))),
    );
    bench.assert_refuses(&huge, MALFORMED, "beyond 8 KiB").await;
}

#[tokio::test]
async fn row_92_an_issuers_key_speaks_for_no_other_issuer() {
    let (ours, theirs) = (SigningKey::es256(), SigningKey::es256());
    let other = "https://partner.example";
    let bench = Bench::with_key_sets(&[
        (ISSUER, key_set(&[ours.jwk(KID)])),
        (other, key_set(&[theirs.jwk(KID)])),
    ]);
    bench.assert_accepts(&good(&ours)).await;
    let as_partner = with_claim("iss", json!(other));
    bench
        .assert_accepts(&theirs.token(&header("ES256"), &as_partner))
        .await;
    bench
        .assert_refuses(&good(&theirs), SIGNATURE, "the partner as us")
        .await;
    let as_partner = ours.token(&header("ES256"), &as_partner);
    bench
        .assert_refuses(&as_partner, SIGNATURE, "us as the partner")
        .await;
}

#[tokio::test]
async fn a_token_without_kid_needs_a_single_key_that_fits() {
    let (one, two, ed) = (
        SigningKey::es256(),
        SigningKey::es256(),
        SigningKey::ed25519(),
    );
    let bare = json!({"alg": "ES256", "typ": "at+jwt"}).to_string();
    let token = one.token(&bare, claims().to_string());
    Bench::with_keys(&[&one, &ed]).assert_accepts(&token).await;
    let ambiguous = Bench::with_keys(&[&one, &two]);
    ambiguous
        .assert_refuses(&token, &[Refusal::UnknownSigningKey], "two keys fit")
        .await;
    ambiguous.assert_accepts(&good(&one)).await;
}
