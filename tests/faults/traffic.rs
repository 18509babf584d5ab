//! The clients of a run: each does one thing at a steady pace until it is ended.
//!
//! Invariant: a client is honest. It comes back after the second that `Retry-After` says, with what
//! it has, and with nothing that it knows to be used up; a replay is named so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis::admin::{AdminClient, ClientError, ProofView, Proven};
use portcullis::clock::{Clock, Timestamp};
use tokio::sync::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use crate::board::Board;
use crate::client::{Client, Exchange};
use crate::credentials::{CALLBACK, CLIENT, CLIENT_SECRET, Means};
use crate::oracle::{Class, Right};

/// A credential in use.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) subject: usize,
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) means: Option<Means>,
}

/// Codes that nobody has redeemed yet.
pub(crate) struct Codes {
    pub(crate) all: Vec<String>,
    next: AtomicUsize,
}

/// Between two requests of one connection.
const READ: Duration = Duration::from_millis(12);
const ROTATE: Duration = Duration::from_millis(250);
const REDEEM: Duration = Duration::from_millis(200);
/// How long each revocation waits for the gateways.
const WAIT: &str = "200ms";
/// `Retry-After`.
const LATER: Duration = Duration::from_secs(1);

/// Uses all credentials in turn at one gateway, beginning with the one at `from`.
pub(crate) async fn read(
    board: Arc<Board>,
    mut client: Client,
    gateway: usize,
    held: Arc<Vec<Held>>,
    from: usize,
) {
    let mut tick = pace(READ);
    for one in held.iter().cycle().skip(from) {
        tick.tick().await;
        let exchange = client.get((one.name, &one.value)).await;
        board.saw(one.subject, gateway, &exchange);
    }
}

/// Revokes one after the other, asking the gateways in turn until one acknowledges.
pub(crate) async fn revoke(
    board: Arc<Board>,
    admins: Vec<AdminClient>,
    condemned: Vec<Held>,
    every: Duration,
    quiet: Arc<Mutex<()>>,
) {
    let wait = Some(WAIT.parse().expect("a wait"));
    let mut tick = pace(every);
    let mut admins = admins.iter().cycle();
    for one in &condemned {
        let means = one.means.as_ref().expect("it can be revoked");
        loop {
            tick.tick().await;
            let _working = quiet.lock().await;
            board.condemn(one.subject);
            let admin = admins.next().expect("there are gateways");
            let proven = admin.prove(wait, async |admin| means.carry_out(admin).await);
            match proven.await {
                Ok(Proven { proof, .. }) => {
                    board.is_revoked(one.subject);
                    if let Some(until) = proof.as_ref().and_then(proven_until) {
                        board.is_proven(one.subject, until);
                    }
                    break;
                }
                // The store has lost it: there is nothing to acknowledge.
                Err(ClientError::Refused { status, .. }) if status == 404 => break,
                Err(_) => {}
            }
        }
    }
}

/// The moment after which no instance lets it in; `None` where the proof is in doubt.
fn proven_until(proof: &ProofView) -> Option<Instant> {
    let (now, wall) = (Instant::now(), Clock::system().now());
    if proof.doubt.is_some() {
        return None;
    }
    let served = proof.confirmations.iter().filter_map(|one| {
        let until = Timestamp::parse_rfc3339(one.may_serve_until.as_deref()?);
        Some(until.expect("a time").since(wall))
    });
    match (proof.complete, served.max()) {
        (true, None) => Some(now),
        // Moments are told in milliseconds.
        (false, Some(left)) => Some(now + left + Duration::from_millis(50)),
        // Either is a contradiction: nobody may serve it, or somebody that is not named.
        other => panic!("no proof: {other:?}"),
    }
}

/// Goes from one refresh token to the next, and uses each access token elsewhere.
pub(crate) async fn rotate(
    board: Arc<Board>,
    mut clients: Vec<Client>,
    first: String,
    from: usize,
) {
    let (mut token, mut tick) = (first, pace(ROTATE));
    let family = board.enter(Class::Refresh, Right::Entitled);
    let access = board.enter(Class::AccessToken, Right::Entitled);
    for turn in from.. {
        tick.tick().await;
        let (here, there) = (turn % clients.len(), (turn + 1) % clients.len());
        let exchange = refresh(&mut clients[here], &token).await;
        board.saw(family, here, &exchange);
        match exchange.status() {
            Some(200) => {
                let given = exchange.json();
                token = text(&given, "refresh_token");
                let bearer = format!("Bearer {}", text(&given, "access_token"));
                let used = clients[there].get(("authorization", &bearer)).await;
                board.saw(access, there, &used);
            }
            Some(400 | 401) => return,
            _ => sleep(LATER).await,
        }
    }
}

/// Redeems codes, each until it has an answer. With `replays`, each comes a second time, which ends
/// its grant, and that is watched for so long.
pub(crate) async fn redeem(
    board: Arc<Board>,
    mut clients: Vec<Client>,
    codes: Arc<Codes>,
    from: usize,
    replays: Option<Duration>,
) {
    let mut tick = pace(REDEEM);
    for turn in from.. {
        tick.tick().await;
        let Some(code) = codes.take() else { return };
        let at = turn % clients.len();
        let subject = board.enter(Class::Code, Right::Entitled);
        let mut tries = 0;
        let given = loop {
            let exchange = exchange_code(&mut clients[at], &code).await;
            board.saw(subject, at, &exchange);
            // Whoever asks again may find that the first time counted.
            board.condemn(subject);
            tries += 1;
            match exchange.status() {
                Some(200) => break Some(exchange.json()),
                Some(400) => break None,
                // The client itself is unknown: whoever goes on is taken for a guesser (429).
                Some(401) => return,
                _ => sleep(LATER).await,
            }
        };
        if let (Some(given), Some(watched), 1) = (given, replays, tries) {
            replay(&board, &mut clients, &code, &given, at, watched).await;
        }
    }
}

/// A redeemed code at another gateway: never good for tokens, and the end of those it gave.
async fn replay(
    board: &Board,
    clients: &mut [Client],
    code: &str,
    given: &serde_json::Value,
    at: usize,
    watched: Duration,
) {
    let gateways = clients.len();
    let again = exchange_code(&mut clients[(at + 1) % gateways], code).await;
    match again.status() {
        Some(200) => board.find(format!("a code gave tokens twice, the second time at {at}")),
        Some(400) => {
            let subject = board.enter(Class::RevokedGrant, Right::Entitled);
            board.condemn(subject);
            board.is_revoked(subject);
            let bearer = format!("Bearer {}", text(given, "access_token"));
            let until = Instant::now() + watched;
            for gateway in (0..gateways).cycle() {
                let used = clients[gateway].get(("authorization", &bearer)).await;
                board.saw(subject, gateway, &used);
                if Instant::now() > until {
                    return;
                }
                sleep(ROTATE).await;
            }
        }
        _ => {}
    }
}

pub(crate) async fn exchange_code(client: &mut Client, code: &str) -> Exchange {
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
    token_request(client, &form).await
}

pub(crate) async fn refresh(client: &mut Client, token: &str) -> Exchange {
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    token_request(client, &form).await
}

async fn token_request(client: &mut Client, form: &str) -> Exchange {
    let body = format!("{form}&client_id={CLIENT}&client_secret={CLIENT_SECRET}");
    let content_type = "application/x-www-form-urlencoded";
    client.post("/oauth/token", content_type, None, body).await
}

pub(crate) fn text(value: &serde_json::Value, member: &str) -> String {
    value[member].as_str().expect("a text").to_owned()
}

impl Codes {
    pub(crate) fn new(all: Vec<String>) -> Codes {
        Codes {
            all,
            next: AtomicUsize::new(0),
        }
    }

    pub(crate) fn take(&self) -> Option<String> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.all.get(next).cloned()
    }
}

/// What could not be done in time is not made up for.
fn pace(every: Duration) -> Interval {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
