//! Key sets over HTTPS: a real server with a private CA that answers well, badly or not at all.

use std::time::Duration;

use portcullis::auth::{Failure, JwksSource, Refusal, Unavailable};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::bench::{Bench, ISSUER, KID, claims, good, header, settings};
use crate::jwks_issuer::{SigningKey, key_set};
use crate::jwks_server::{JwksServer, Reply, Trap};

const UNAVAILABLE: Option<Failure> = Some(Failure::Unavailable(Unavailable::Jwks));
const UNKNOWN: Option<Failure> = Some(Failure::Refused(Refusal::UnknownSigningKey));

fn keys_of(keys: &[(&str, &SigningKey)]) -> String {
    let keys: Vec<_> = keys.iter().map(|(kid, key)| key.jwk(kid)).collect();
    key_set(&keys)
}

async fn bench_of(server: &JwksServer) -> Bench {
    bench_at(server, server.url(), true).await
}

async fn bench_at(server: &JwksServer, url: String, trusted: bool) -> Bench {
    let ca = trusted.then(|| server.ca().into());
    let bench = Bench::of(&[settings(ISSUER, JwksSource::Url { url, ca })]);
    bench.tokens.prefetch().await;
    bench
}

fn token_with_kid(key: &SigningKey, kid: &str) -> String {
    let header = json!({"alg": key.name(), "typ": "at+jwt", "kid": kid});
    key.token(&header.to_string(), claims().to_string())
}

#[tokio::test]
async fn keys_are_there_after_the_prefetch() {
    let key = SigningKey::es256();
    let server = JwksServer::start(Reply::Body(keys_of(&[(KID, &key)]))).await;
    let bench = bench_of(&server).await;
    assert_eq!(bench.tokens.readiness(), [""; 0]);
    bench.assert_accepts(&good(&key)).await;
    assert_eq!((server.connections(), bench.fetches("ok")), (1, 1));
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_taken() {
    let key = SigningKey::es256();
    let server = JwksServer::start(Reply::Unframed(keys_of(&[(KID, &key)]))).await;
    bench_of(&server).await.assert_accepts(&good(&key)).await;
}

#[tokio::test]
async fn what_is_not_a_key_set_leaves_the_issuer_unavailable() {
    let key = SigningKey::es256();
    let whole = keys_of(&[(KID, &key)]);
    let raw = |head: &str| Reply::Raw(format!("HTTP/1.1 {head}\r\n\r\n{whole}"));
    let length = format!("content-length: {}", whole.len());
    let long = format!("{whole}{}", " ".repeat(512 * 1024));
    for (outcome, reply) in [
        ("connect", Reply::Close),
        ("status", raw(&format!("404 Not Found\r\n{length}"))),
        ("status", raw(&format!("500 Oops\r\n{length}"))),
        ("status", raw(&format!("203 Changed\r\n{length}"))),
        (
            "body",
            raw(&format!("200 OK\r\ncontent-length: {}", whole.len() + 1)),
        ),
        ("body", Reply::Body(long.clone())),
        ("body", Reply::Unframed(long)),
        ("exchange", Reply::Raw("SSH-2.0-OpenSSH\r\n".into())),
        ("exchange", Reply::Raw(String::new())),
        ("key_set", Reply::Body(String::new())),
        ("key_set", Reply::Body(r#"{"keys":[]}"#.into())),
        ("key_set", Reply::Body("<!DOCTYPE html>".into())),
    ] {
        let server = JwksServer::start(reply).await;
        let bench = bench_of(&server).await;
        assert!(
            bench.fetches(outcome) >= 1,
            "{outcome}: {}",
            bench.metrics.render()
        );
        assert_eq!(bench.tokens.readiness(), [ISSUER]);
        assert_eq!(bench.failure(&good(&key)).await, UNAVAILABLE, "{outcome}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let key = SigningKey::es256();
    let trap = Trap::set();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: https://{}/jwks.json", trap.authority());
        let reply = format!("HTTP/1.1 {status} Moved\r\n{location}\r\ncontent-length: 0\r\n\r\n");
        let server = JwksServer::start(Reply::Raw(reply)).await;
        let bench = bench_of(&server).await;
        assert!(bench.fetches("status") >= 1, "{status}");
        assert_eq!(bench.failure(&good(&key)).await, UNAVAILABLE);
    }
    trap.assert_untouched();
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_is_not_believed() {
    let key = SigningKey::es256();
    let server = JwksServer::start(Reply::Body(keys_of(&[(KID, &key)]))).await;
    for (url, trusted) in [(server.url(), false), (server.url_by_address(), true)] {
        let bench = bench_at(&server, url, trusted).await;
        assert!(bench.fetches("connect") >= 1);
        assert_eq!(bench.failure(&good(&key)).await, UNAVAILABLE);
    }
}

#[tokio::test]
async fn a_silent_server_does_not_hold_up_the_start_or_a_request() {
    let key = SigningKey::es256();
    let server = JwksServer::start(Reply::Silence).await;
    let began = Instant::now();
    let bench = bench_of(&server).await;
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "the start waits 5 s at most"
    );
    let began = Instant::now();
    assert_eq!(bench.failure(&good(&key)).await, UNAVAILABLE);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "no request waits for it"
    );
}

#[tokio::test]
async fn an_issuer_that_comes_back_is_served_without_a_restart() {
    let key = SigningKey::es256();
    let server = JwksServer::start(Reply::Close).await;
    let bench = bench_of(&server).await;
    assert_eq!(bench.tokens.readiness(), [ISSUER]);
    server.now_replies(Reply::Body(keys_of(&[(KID, &key)])));
    let served = async {
        while bench.failure(&good(&key)).await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), served)
        .await
        .expect("served again");
    assert_eq!(bench.tokens.readiness(), [""; 0]);
}

#[tokio::test]
async fn a_rotated_key_is_found_by_its_first_token_and_the_removed_one_drops_its_tokens() {
    let (old, new) = (SigningKey::es256(), SigningKey::ed25519());
    let server = JwksServer::start(Reply::Body(keys_of(&[("old", &old)]))).await;
    let bench = bench_of(&server).await;
    let old_token = token_with_kid(&old, "old");
    bench.assert_accepts(&old_token).await;
    // Cached now; the key that signed it goes away with the next set.
    server.now_replies(Reply::Body(keys_of(&[("new", &new)])));
    bench.assert_accepts(&token_with_kid(&new, "new")).await;
    assert_eq!(server.connections(), 2);
    assert_eq!(bench.failure(&old_token).await, UNKNOWN);
}

#[tokio::test]
async fn a_key_that_stays_keeps_its_tokens_over_a_rotation() {
    let (old, new) = (SigningKey::es256(), SigningKey::ed25519());
    let server = JwksServer::start(Reply::Body(keys_of(&[("old", &old)]))).await;
    let bench = bench_of(&server).await;
    bench.assert_accepts(&token_with_kid(&old, "old")).await;
    server.now_replies(Reply::Body(keys_of(&[("old", &old), ("new", &new)])));
    bench.assert_accepts(&token_with_kid(&new, "new")).await;
    bench.assert_accepts(&token_with_kid(&old, "old")).await;
}

#[tokio::test]
async fn a_flood_of_unknown_kids_makes_one_fetch() {
    let key = SigningKey::es256();
    let server = JwksServer::start(Reply::Body(keys_of(&[(KID, &key)]))).await;
    let bench = bench_of(&server).await;
    for number in 0..500 {
        let token = token_with_kid(&key, &format!("unknown-{number}"));
        assert_eq!(bench.failure(&token).await, UNKNOWN);
    }
    assert_eq!(server.connections(), 2);
    bench.assert_accepts(&good(&key)).await;
}

#[tokio::test]
async fn a_server_that_fails_later_takes_no_keys_away() {
    let key = SigningKey::es256();
    for broken in [
        Reply::Close,
        Reply::Body(r#"{"keys":[]}"#.into()),
        Reply::Body("<html>".into()),
        Reply::Raw("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".into()),
    ] {
        let server = JwksServer::start(Reply::Body(keys_of(&[(KID, &key)]))).await;
        let bench = bench_of(&server).await;
        server.now_replies(broken);
        // Whether it has this key now cannot be known.
        assert_eq!(
            bench.failure(&token_with_kid(&key, "other")).await,
            UNAVAILABLE
        );
        assert_eq!(bench.tokens.readiness(), [""; 0]);
        bench
            .assert_accepts(&key.token(&header("ES256"), claims().to_string()))
            .await;
    }
}
