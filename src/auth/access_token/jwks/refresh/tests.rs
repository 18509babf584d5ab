use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::super::fetch::Document;
use super::super::{Keys, Source};
use super::*;
use crate::auth::{Failure, IssuerRevocation, JwksSource, Refusal, TokenType, Unavailable};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const UNAVAILABLE: Option<Failure> = Some(Failure::Unavailable(Unavailable::Jwks));
const UNKNOWN: Option<Failure> = Some(Failure::Refused(Refusal::UnknownSigningKey));

/// An issuer that answers by script; the last line is repeated. Each answer may have to be let
/// through.
struct Scripted {
    lines: Mutex<VecDeque<Line>>,
    fetches: AtomicUsize,
    gate: Option<Semaphore>,
}

#[derive(Clone)]
enum Line {
    Keys(&'static [&'static str]),
    Body(&'static str),
    Fail,
}

#[async_trait]
impl Origin for Arc<Scripted> {
    async fn fetch(&self) -> Result<Document, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.acquire().await.expect("open").forget();
        }
        let mut lines = self.lines.lock().expect("whole");
        let line = match lines.len() {
            1 => lines[0].clone(),
            _ => lines.pop_front().expect("a script has a line"),
        };
        let body = match line {
            Line::Keys(ids) => key_set(ids),
            Line::Body(body) => body.into(),
            Line::Fail => return Err(FetchError::Deadline),
        };
        Ok(Document {
            body: Bytes::from(body),
            max_age: None,
        })
    }
}

impl Scripted {
    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

/// RFC 8037 appendix A.2, under several ids.
fn key_set(ids: &[&str]) -> String {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let key = |id: &&str| serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id});
    let keys: Vec<_> = ids.iter().map(key).collect();
    serde_json::json!({ "keys": keys }).to_string()
}

struct Bench {
    keys: Arc<Keys>,
    origin: Arc<Scripted>,
    metrics: Arc<Metrics>,
}

fn start(lines: &[Line], gate: Option<Semaphore>) -> Bench {
    let origin = Arc::new(Scripted {
        lines: Mutex::new(lines.iter().cloned().collect()),
        fetches: AtomicUsize::new(0),
        gate,
    });
    let settings = IssuerSettings {
        issuer: "https://idp.example".into(),
        jwks: JwksSource::File("never read".into()),
        audiences: vec!["api".into()],
        algorithms: vec![SignatureAlgorithm::Ed25519],
        token_type: TokenType::AccessToken,
        clock_skew: Duration::from_secs(60),
        max_lifetime: DAY,
        revocation: IssuerRevocation::Log,
    };
    let published = Arc::new(PublishedKeys::default());
    let metrics = Arc::new(Metrics::new());
    let refresh = Refresh::start(
        Arc::clone(&origin),
        &settings,
        Arc::clone(&published),
        &metrics,
        &Handle::current(),
    );
    let source = Source::Url(refresh);
    Bench {
        keys: Arc::new(Keys { published, source }),
        origin,
        metrics,
    }
}

impl Bench {
    async fn started(lines: &[Line]) -> Bench {
        let bench = start(lines, None);
        bench.keys.first_attempt().await;
        bench
    }

    async fn failure(&self, kid: &str) -> Option<Failure> {
        let found = self.keys.find(Some(kid), SignatureAlgorithm::Ed25519).await;
        found.err()
    }

    fn counted(&self, outcome: &str) -> u64 {
        let labels = ["https://idp.example", outcome];
        self.metrics.jwks_fetches.with_label_values(&labels).get()
    }
}

/// Moves time on in steps, so that a task that sleeps again wakes again.
async fn pass(duration: Duration) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let step = Duration::from_secs(1).min(end - Instant::now());
        tokio::time::sleep(step).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_never_had_keys_is_unavailable_and_asked_again_with_back_off() {
    let bench = Bench::started(&[Line::Fail]).await;
    assert_eq!(bench.keys.generation(), None);
    // 1 + 2 + 4 + 8 + 16 s and up to a quarter more.
    pass(Duration::from_secs(40)).await;
    assert_eq!(bench.origin.fetches(), 6);
    assert_eq!(bench.counted("deadline"), 6);
    assert_eq!(bench.failure("a").await, UNAVAILABLE);
    // That question brought one fetch forward, and the next ones within 30 s do not.
    pass(Duration::from_secs(1)).await;
    assert_eq!(bench.origin.fetches(), 7);
    assert_eq!(bench.failure("a").await, UNAVAILABLE);
    pass(Duration::from_secs(1)).await;
    assert_eq!(bench.origin.fetches(), 7);
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_for_an_issuer_that_never_had_keys() {
    let bench = start(&[Line::Fail], Some(Semaphore::new(0)));
    let before = Instant::now();
    assert_eq!(bench.failure("a").await, UNAVAILABLE);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_at_80_percent_of_ten_minutes() {
    let bench = Bench::started(&[Line::Keys(&["a"])]).await;
    pass(Duration::from_secs(449)).await;
    assert_eq!(bench.origin.fetches(), 1);
    pass(Duration::from_secs(62)).await;
    assert_eq!(bench.origin.fetches(), 2);
    assert_eq!(bench.counted("ok"), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_keys_again_are_the_same_generation_and_others_are_a_new_one() {
    let lines = [
        Line::Keys(&["a"]),
        Line::Keys(&["a"]),
        Line::Keys(&["a", "b"]),
    ];
    let bench = Bench::started(&lines).await;
    let first = bench.keys.generation();
    pass(Duration::from_secs(520)).await;
    assert_eq!(
        (bench.origin.fetches(), bench.keys.generation()),
        (2, first)
    );
    pass(Duration::from_secs(520)).await;
    assert_eq!(bench.origin.fetches(), 3);
    assert_ne!(bench.keys.generation(), first);
}

#[tokio::test(start_paused = true)]
async fn nothing_but_a_usable_set_replaces_a_good_one() {
    let lines = [
        Line::Keys(&["a"]),
        Line::Body(r#"{"keys":[]}"#),
        Line::Body("<html>"),
        Line::Body(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a"}]}"#),
        Line::Fail,
    ];
    let bench = Bench::started(&lines).await;
    let generation = bench.keys.generation();
    pass(Duration::from_secs(600)).await;
    assert_eq!(bench.counted("key_set"), 3);
    assert!(bench.counted("deadline") >= 1);
    assert_eq!(bench.keys.generation(), generation);
    assert_eq!(bench.failure("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn old_keys_outlive_failures_by_a_day_and_no_longer() {
    let bench = Bench::started(&[Line::Keys(&["a"]), Line::Fail]).await;
    pass(DAY - Duration::from_secs(2)).await;
    assert_eq!(bench.failure("a").await, None);
    pass(Duration::from_secs(4)).await;
    assert_eq!(bench.keys.generation(), None);
    assert_eq!(bench.failure("a").await, UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn keys_that_come_back_after_they_were_withdrawn_are_a_new_generation() {
    let bench = Bench::started(&[Line::Keys(&["a"])]).await;
    let before = bench.keys.generation();
    bench.keys.published.withdraw();
    pass(Duration::from_secs(520)).await;
    assert!(bench.keys.generation().is_some());
    assert_ne!(bench.keys.generation(), before);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_by_the_first_token_that_uses_it() {
    let bench = Bench::started(&[Line::Keys(&["a"]), Line::Keys(&["a", "b"])]).await;
    assert_eq!(bench.failure("b").await, None);
    assert_eq!(bench.origin.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_ids_brings_about_one_fetch_in_thirty_seconds() {
    let bench = Bench::started(&[Line::Keys(&["a"])]).await;
    for flood in 0..3u32 {
        for number in 0..1000 {
            assert_eq!(bench.failure(&format!("{flood}-{number}")).await, UNKNOWN);
        }
        assert_eq!(bench.origin.fetches(), 2 + flood as usize);
        pass(Duration::from_secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_wait_for_one_fetch() {
    let gate = Some(Semaphore::new(1));
    let bench = start(&[Line::Keys(&["a"]), Line::Keys(&["a", "b"])], gate);
    bench.keys.first_attempt().await;
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let keys = Arc::clone(&bench.keys);
            tokio::spawn(async move {
                keys.find(Some("b"), SignatureAlgorithm::Ed25519)
                    .await
                    .is_ok()
            })
        })
        .collect();
    pass(Duration::from_secs(1)).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    bench.origin.gate.as_ref().expect("gated").add_permits(1);
    for task in waiting {
        assert!(task.await.expect("no panic"));
    }
    assert_eq!(bench.origin.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_not_answered_in_time_is_no_verdict() {
    let gate = Some(Semaphore::new(1));
    let bench = start(&[Line::Keys(&["a"])], gate);
    bench.keys.first_attempt().await;
    let before = Instant::now();
    assert_eq!(bench.failure("b").await, UNAVAILABLE);
    assert_eq!(before.elapsed(), ASK_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_id_is_no_verdict_while_the_issuer_cannot_be_asked() {
    let bench = Bench::started(&[Line::Keys(&["a"]), Line::Fail]).await;
    assert_eq!(bench.failure("b").await, UNAVAILABLE);
    assert_eq!(bench.failure("b").await, UNAVAILABLE);
    assert_eq!(bench.origin.fetches(), 2);
    assert_eq!(bench.failure("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn an_id_known_to_be_unknown_is_not_asked_for_again() {
    let bench = Bench::started(&[Line::Keys(&["a"])]).await;
    assert_eq!(bench.failure("b").await, UNKNOWN);
    assert_eq!(bench.origin.fetches(), 2);
    pass(Duration::from_secs(60)).await;
    assert_eq!(bench.failure("b").await, UNKNOWN);
    assert_eq!(bench.origin.fetches(), 2);
    assert_eq!(bench.failure("c").await, UNKNOWN);
    assert_eq!(bench.origin.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_id_known_to_be_unknown_is_forgotten_when_the_keys_change() {
    let lines = [
        Line::Keys(&["a"]),
        Line::Keys(&["a"]),
        Line::Keys(&["a", "b"]),
    ];
    let bench = Bench::started(&lines).await;
    assert_eq!(bench.failure("b").await, UNKNOWN);
    pass(Duration::from_secs(60)).await;
    // Another id makes the issuer be asked, and its set has `b` now.
    assert_eq!(bench.failure("c").await, UNKNOWN);
    assert_eq!(bench.failure("b").await, None);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_keys_ends_the_fetching() {
    let bench = Bench::started(&[Line::Fail]).await;
    let Bench { keys, origin, .. } = bench;
    let before = origin.fetches();
    drop(keys);
    pass(Duration::from_secs(600)).await;
    assert_eq!(origin.fetches(), before);
}
