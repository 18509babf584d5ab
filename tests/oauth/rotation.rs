//! A load runs through each rotation: of a client's secret, of the signing key, of the pepper. Not
//! one request of it fails, and requests did run before, during and after.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis::admin::{RotateClientBody, SigningKeyStanding};
use portcullis::auth::RotationHaste;
use portcullis::id::{ClientId, RequestId};
use portcullis::store::{NewSigningKey, PublishSigningKey, SigningKeyState};

use crate::house::{House, SECRET, basic, claims, json, text};
use crate::support::{Answer, Tls, eventually};

/// Clients that ask for tokens, refresh them and call the API, over and over.
struct Load {
    tls: Tls,
    key: String,
    over: AtomicBool,
    progress: Mutex<Progress>,
    changed: Condvar,
}

struct Progress {
    phase: usize,
    /// The client's secret, as the application has it now.
    secret: String,
    /// Of each caller, the rounds that began and ended in each phase.
    rounds: [[usize; 3]; CALLERS],
    /// What signed the tokens.
    kids: BTreeSet<String>,
    failed: bool,
}

const BEFORE: usize = 0;
const DURING: usize = 1;
const AFTER: usize = 2;
const CALLERS: usize = 2;
/// Rounds of each caller that make a phase.
const ENOUGH: usize = 5;
/// A round is eight requests, each on a connection of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the load also where the test fails, so that it fails at once.
struct Ending<'a>(&'a Load);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
        if std::thread::panicking() {
            self.0.progress().failed = true;
        }
        self.0.changed.notify_all();
    }
}

impl Load {
    fn on(house: &House) -> Load {
        let (_, key) = house.gateway.key(&["domains:read"]);
        Load {
            tls: house.gateway.tls.clone(),
            key,
            over: AtomicBool::new(false),
            progress: Mutex::new(Progress {
                phase: BEFORE,
                secret: SECRET.to_owned(),
                rounds: [[0; 3]; CALLERS],
                kids: BTreeSet::new(),
                failed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Runs it through a rotation, which says where it stands by [`Load::begin`].
    fn through(&self, house: &House, rotate: impl FnOnce()) {
        let families = [(); CALLERS].map(|()| house.tokens());
        std::thread::scope(|scope| {
            let ending = Ending(self);
            for (caller, family) in families.iter().enumerate() {
                scope.spawn(move || {
                    let _ending = Ending(self);
                    let refresh = text(family, "refresh_token");
                    self.run(caller, &text(family, "access_token"), refresh);
                });
            }
            self.run_enough(BEFORE);
            rotate();
            drop(ending);
        });
        let rounds = self.progress().rounds;
        let enough = |rounds: &[usize; 3]| rounds.iter().all(|count| *count >= ENOUGH);
        assert!(rounds.iter().all(enough), "{rounds:?}");
    }

    fn run(&self, caller: usize, first: &str, mut refresh: String) {
        while !self.over.load(Ordering::SeqCst) {
            let phase = self.progress().phase;
            let granted = self.token("grant_type=client_credentials&scope=domains:read");
            let form = format!("grant_type=refresh_token&refresh_token={refresh}");
            let rotated = self.token(&form);
            refresh = text(&rotated, "refresh_token");
            for tokens in [&granted, &rotated] {
                let access = text(tokens, "access_token");
                self.call(&access);
                let kid = text(&claims(&access)["header"], "kid");
                self.progress().kids.insert(kid);
            }
            // Given out before the rotation began.
            self.call(first);
            self.call(&self.key);
            let mut progress = self.progress();
            if phase == progress.phase {
                progress.rounds[caller][phase] += 1;
            }
            self.changed.notify_all();
        }
    }

    fn token(&self, form: &str) -> serde_json::Value {
        let authorization = basic("client_conf", &self.progress().secret);
        let answer = self.send(&format!(
            "POST /oauth/token HTTP/1.1\r\nhost: api.osir.com\r\ncontent-type: \
             application/x-www-form-urlencoded\r\ncontent-length: {}\r\n{authorization}\r\n{form}",
            form.len()
        ));
        assert_eq!(answer.status, 200, "{answer:?}");
        json(&answer)
    }

    fn call(&self, credential: &str) {
        let answer = self.send(&format!(
            "GET /v1/domains HTTP/1.1\r\nhost: api.osir.com\r\nauthorization: Bearer {credential}\r\n\r\n"
        ));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn send(&self, request: &str) -> Answer {
        let mut client = self.tls.connect();
        client.send(request);
        client.answer()
    }

    /// What begins from now on belongs to this phase.
    fn begin(&self, phase: usize) {
        self.progress().phase = phase;
    }

    /// Waits until each caller has run enough in a phase.
    fn run_enough(&self, phase: usize) {
        self.wait("the load runs", |progress| {
            progress.rounds.iter().all(|rounds| rounds[phase] >= ENOUGH)
        });
    }

    fn wait(&self, what: &str, come: impl Fn(&Progress) -> bool) {
        let waiting = |progress: &mut Progress| !progress.failed && !come(progress);
        let waited = self
            .changed
            .wait_timeout_while(self.progress(), PATIENCE, waiting);
        let (progress, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!progress.failed, "a request failed");
        assert!(!timeout.timed_out(), "it did not come: {what}");
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Whole after every statement, whatever failed elsewhere.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[test]
fn a_load_runs_through_a_rotation_of_a_clients_secret_on_both_stores() {
    for house in [House::start(), House::on_redis()] {
        let load = Load::on(&house);
        load.through(&house, || {
            let client = ClientId::parse("client_conf").expect("an id");
            let body = RotateClientBody {
                overlap: 3600,
                request_id: RequestId::parse("wish-1").expect("an id"),
            };
            load.begin(DURING);
            let rotated = house
                .gateway
                .operate(async |admin| admin.rotate_client_secret(&client, &body).await)
                .expect("rotated");
            // The application still has the old one.
            load.run_enough(DURING);
            load.progress().secret = rotated.client_secret.expose().to_owned();
            load.begin(AFTER);
            load.run_enough(AFTER);
        });
    }
}

#[test]
fn a_load_runs_through_a_planned_rotation_of_the_signing_key() {
    let house = House::on_redis();
    let load = Load::on(&house);
    load.through(&house, || {
        let active = load.progress().kids.clone();
        assert_eq!(active.len(), 1, "{active:?}");
        load.begin(DURING);
        let next = house
            .gateway
            .operate(async |admin| admin.rotate_signing_key(RotationHaste::Planned).await)
            .expect("rotated")
            .kid;
        eventually("it is published", || {
            let jwks = "GET /oauth/jwks HTTP/1.1\r\nhost: api.osir.com\r\n\r\n";
            house.gateway.send(jwks).body.contains(&next).then_some(())
        });
        load.run_enough(DURING);
        let signed_by = load.progress().kids.clone();
        assert_eq!(signed_by, active, "it is published before it signs");

        published_earlier(&house, &next, Duration::from_secs(7 * 60));
        load.wait("it signs", |progress| progress.kids.contains(&next));
        load.begin(AFTER);
        load.run_enough(AFTER);
        let keys = house
            .gateway
            .operate(async |admin| admin.signing_keys().await)
            .expect("a list");
        let states: Vec<_> = keys.keys.iter().map(|key| (&key.kid, key.state)).collect();
        let old = active.first().expect("one");
        assert_eq!(
            states,
            [
                (&next, SigningKeyStanding::Active),
                (old, SigningKeyStanding::Retiring)
            ]
        );
    });
}

/// As if the key had been published so long ago: the gateways put it to use by themselves then.
fn published_earlier(house: &House, kid: &str, ago: Duration) {
    house.with_store(async |store| {
        let keys = store.signing_keys().await.expect("the store is there");
        let key = keys.into_iter().find(|key| key.kid == kid);
        let key = key.expect("it is published");
        assert_eq!(key.state, SigningKeyState::Next);
        let then = key.created_at.minus(ago);
        let _ = store
            .drop_signing_key(kid, key.created_at)
            .await
            .expect("the store is there");
        let new = NewSigningKey {
            kid: key.kid,
            algorithm: key.algorithm,
            public: key.public,
            private: key.private,
        };
        let published = store.publish_signing_key(new, then).await;
        assert_eq!(
            published.expect("the store is there"),
            PublishSigningKey::Published
        );
    });
}

#[test]
fn a_load_runs_through_a_change_of_the_pepper_on_both_stores() {
    for house in [House::start(), House::on_redis()] {
        let load = Load::on(&house);
        load.through(&house, || {
            let next = ", next_pepper: { file: pepper-2 }";
            house.reload("pepper", next).expect("reloaded");
            load.begin(DURING);
            let previous = ", previous_pepper: { file: pepper }";
            house.reload("pepper-2", previous).expect("reloaded");
            load.run_enough(DURING);
            load.begin(AFTER);
            load.run_enough(AFTER);
        });
        for verb in ["rehash_key", "rehash_client_secret"] {
            let series =
                format!(r#"portcullis_store_operations_total{{op="{verb}",outcome="ok"}}"#);
            eventually("it has moved", || {
                (house.gateway.metric(&series) > 0.0).then_some(())
            });
        }
    }
}
