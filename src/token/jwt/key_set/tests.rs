use serde_json::{Value, json};

use super::*;
use SignatureAlgorithm::{Ed25519, Es256, Es384, Ps256, Rs256};

// RFC 7517 appendix A.1.
const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

fn rsa() -> Value {
    json!({"kty": "RSA", "kid": "r", "n": N, "e": "AQAB"})
}

fn p256() -> Value {
    json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": X, "y": Y})
}

fn p384() -> Value {
    json!({"kty": "EC", "crv": "P-384", "kid": "f",
        "x": "74lUgi-e_fsfLSheTXBhwvRwlwfw_YIoowvnlzNrcAH10x_Ap2vhtQQVa2jhuIXg",
        "y": "QdKilDKyQ7SZLczGi_6oBEzwpTcOvsZ3Dzx2ofl8FGAmRikcvIj6q2SOwTRpBuzv"})
}

/// RFC 8037 appendix A.2.
fn ed25519() -> Value {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "o", "x": x})
}

fn with(mut jwk: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        panic!("changes are an object");
    };
    for (name, value) in changes {
        jwk[&name] = value;
    }
    jwk
}

fn parse(keys: &[Value], pinned: &[SignatureAlgorithm]) -> Result<KeySet, InvalidKeySet> {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes(), pinned)
}

fn reason(jwk: Value, pinned: &[SignatureAlgorithm]) -> UnusableKey {
    match parse(&[jwk], pinned) {
        Err(InvalidKeySet::Empty(Some(reason))) => reason,
        other => panic!("expected an unusable key: {other:?}"),
    }
}

fn chosen(set: &KeySet, id: Option<&str>, algorithm: SignatureAlgorithm) -> Option<String> {
    match set.choose(id, algorithm) {
        Choice::Key(key) => Some(key.id().unwrap_or("no id").to_owned()),
        Choice::Absent | Choice::OtherAlgorithm => None,
    }
}

#[test]
fn a_key_serves_the_algorithm_of_its_type_and_no_other() {
    let pinned = [Ed25519, Es256, Es384, Rs256];
    let set = parse(&[rsa(), p256(), p384(), ed25519()], &pinned).expect("usable");
    for (id, own) in [("r", Rs256), ("e", Es256), ("f", Es384), ("o", Ed25519)] {
        for algorithm in pinned {
            let expected = (algorithm == own).then(|| id.to_owned());
            assert_eq!(
                chosen(&set, Some(id), algorithm),
                expected,
                "{id} {algorithm:?}"
            );
        }
    }
    assert_eq!(set.choose(Some("r"), Es256), Choice::OtherAlgorithm);
    assert_eq!(set.choose(Some("R"), Rs256), Choice::Absent);
}

#[test]
fn an_rsa_key_never_serves_two_algorithms() {
    // RFC 8725bis: one key, one algorithm. Without `alg` it would be the header's choice.
    assert_eq!(reason(rsa(), &[Rs256, Ps256]), UnusableKey::Ambiguous);
    let named = with(rsa(), json!({"alg": "PS256"}));
    let set = parse(&[named], &[Rs256, Ps256]).expect("usable");
    assert_eq!(set.choose(Some("r"), Rs256), Choice::OtherAlgorithm);
    assert_eq!(chosen(&set, Some("r"), Ps256).as_deref(), Some("r"));
    // Pinned twice to the same is pinned once.
    assert!(parse(&[rsa()], &[Rs256, Rs256]).is_ok());
}

#[test]
fn both_names_of_ed25519_are_one_algorithm() {
    for name in ["EdDSA", "Ed25519"] {
        let set = parse(&[with(ed25519(), json!({"alg": name}))], &[Ed25519]).expect("usable");
        assert_eq!(
            chosen(&set, Some("o"), Ed25519).as_deref(),
            Some("o"),
            "{name}"
        );
    }
}

#[test]
fn a_key_that_is_not_for_this_is_left_out_and_the_others_stay() {
    let all = [Ed25519, Es256, Es384, Rs256];
    let short = &N[..168];
    for (jwk, expected) in [
        (json!({"kty": "oct", "k": "c2VjcmV0"}), UnusableKey::Private),
        (json!({"kty": "oct", "alg": "HS256"}), UnusableKey::Private),
        (with(rsa(), json!({"d": "AQAB"})), UnusableKey::Private),
        (with(p256(), json!({"d": X})), UnusableKey::Private),
        (with(p256(), json!({"use": "enc"})), UnusableKey::Purpose),
        (
            with(p256(), json!({"key_ops": ["sign"]})),
            UnusableKey::Purpose,
        ),
        (
            with(p256(), json!({"key_ops": "verify"})),
            UnusableKey::Invalid,
        ),
        (
            with(p256(), json!({"alg": "ES384"})),
            UnusableKey::Algorithm,
        ),
        (with(p256(), json!({"alg": "none"})), UnusableKey::Algorithm),
        (
            with(p256(), json!({"alg": "HS256"})),
            UnusableKey::Algorithm,
        ),
        (with(p256(), json!({"alg": 1})), UnusableKey::Invalid),
        (with(p256(), json!({"kid": 1})), UnusableKey::Invalid),
        (with(p256(), json!({"crv": "P-384"})), UnusableKey::Invalid),
        (
            with(p256(), json!({"crv": "secp256k1"})),
            UnusableKey::Unsupported,
        ),
        (with(p256(), json!({"y": X})), UnusableKey::Invalid),
        (with(p256(), json!({"x": &X[1..]})), UnusableKey::Invalid),
        (with(rsa(), json!({"n": short})), UnusableKey::Unsupported),
        (with(rsa(), json!({"n": ""})), UnusableKey::Unsupported),
        (with(rsa(), json!({"e": "AQ"})), UnusableKey::Invalid),
        (with(rsa(), json!({"e": "AAAA"})), UnusableKey::Invalid),
        (with(rsa(), json!({"e": "AQAA"})), UnusableKey::Invalid),
        (with(rsa(), json!({"n": 5})), UnusableKey::Invalid),
        (
            with(ed25519(), json!({"crv": "X25519"})),
            UnusableKey::Unsupported,
        ),
        (with(ed25519(), json!({"x": "AAAA"})), UnusableKey::Invalid),
        (
            json!({"kty": "AKP", "alg": "ML-DSA-44"}),
            UnusableKey::Unsupported,
        ),
        (json!({}), UnusableKey::Invalid),
    ] {
        assert_eq!(reason(jwk.clone(), &all), expected, "{jwk}");
        let set = parse(&[jwk.clone(), ed25519()], &all).expect("one is usable");
        assert_eq!(set.unusable(), [(0, expected)], "{jwk}");
    }
}

#[test]
fn a_sign_byte_before_the_modulus_is_passed_over() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let n = URL_SAFE_NO_PAD.decode(N).expect("base64url");
    let padded = URL_SAFE_NO_PAD.encode([&[0][..], &n].concat());
    let padded = parse(&[with(rsa(), json!({"n": padded}))], &[Rs256]).expect("usable");
    assert_eq!(padded, parse(&[rsa()], &[Rs256]).expect("usable"));
}

#[test]
fn what_is_not_a_key_set_is_refused_whole() {
    let pinned = [Es256];
    let many = vec![p256(); MAX_KEYS + 1];
    assert_eq!(parse(&many, &pinned), Err(InvalidKeySet::Large));
    assert_eq!(parse(&[], &pinned), Err(InvalidKeySet::Empty(None)));
    let deep = format!("{{\"keys\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let long = format!("{{\"keys\":[]}}{}", " ".repeat(MAX_SET_LEN));
    for (json, expected) in [
        ("", InvalidKeySet::Malformed),
        ("null", InvalidKeySet::Malformed),
        ("[]", InvalidKeySet::Malformed),
        ("{}", InvalidKeySet::Malformed),
        (r#"{"keys":{}}"#, InvalidKeySet::Malformed),
        (r#"{"keys":["a"]}"#, InvalidKeySet::Malformed),
        (
            r#"{"keys":[{"kid":"a","kid":"b"}]}"#,
            InvalidKeySet::Malformed,
        ),
        (r#"{"keys":[],"keys":[]}"#, InvalidKeySet::Malformed),
        ("<html>", InvalidKeySet::Malformed),
        (&deep, InvalidKeySet::Malformed),
        (&long, InvalidKeySet::Large),
    ] {
        let refused = KeySet::parse(json.as_bytes(), &pinned);
        assert_eq!(refused, Err(expected), "{json:.40}");
    }
}

#[test]
fn members_that_are_not_known_do_no_harm() {
    let jwk = with(
        p256(),
        json!({"x5c": ["MII"], "x5t": "a", "ext": true, "nested": {"a": [1]}}),
    );
    let json = json!({"keys": [jwk], "issued": 5});
    assert!(KeySet::parse(json.to_string().as_bytes(), &[Es256]).is_ok());
}

#[test]
fn without_an_id_the_key_must_be_the_only_one_that_fits() {
    let set = parse(&[p256(), ed25519()], &[Es256, Ed25519]).expect("usable");
    assert_eq!(chosen(&set, None, Es256).as_deref(), Some("e"));
    assert_eq!(chosen(&set, None, Es384), None);
    let two = [p256(), with(p256(), json!({"kid": "e2"}))];
    let set = parse(&two, &[Es256]).expect("usable");
    assert_eq!(chosen(&set, None, Es256), None);
    assert_eq!(chosen(&set, Some("e2"), Es256).as_deref(), Some("e2"));
}

#[test]
fn of_two_keys_with_one_id_the_first_counts() {
    let other = with(
        p256(),
        json!({"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
    );
    assert_eq!(
        reason(other, &[Es256]),
        UnusableKey::Invalid,
        "not on the curve"
    );
    let second = with(ed25519(), json!({"x": X}));
    let set = parse(&[ed25519(), second], &[Ed25519]).expect("usable");
    assert_eq!(set, parse(&[ed25519()], &[Ed25519]).expect("usable"));
}
