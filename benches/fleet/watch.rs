//! One gateway, asked with one key over and over until it refuses it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::Client;

/// When a key was last let in and first refused, as it was heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// When the last request that was let in was sent.
    pub(crate) last_sent: Instant,
    /// When its answer came.
    pub(crate) last_allow: Instant,
    pub(crate) first_refusal: Instant,
}

/// A watched gateway.
pub(crate) struct Watch {
    keys: mpsc::Sender<String>,
    told: mpsc::Receiver<Told>,
}

enum Told {
    LetIn,
    Refused(End),
}

const EVERY: Duration = Duration::from_millis(1);
/// Asked after the first refusal: none of these may be let in again.
const MORE: usize = 3;

impl Watch {
    pub(crate) fn start(client: Client) -> Watch {
        let (keys, next) = mpsc::channel(1);
        let (tell, told) = mpsc::channel(2);
        tokio::spawn(watch(client, next, tell));
        Watch { keys, told }
    }

    /// Begins with a key, and waits until it was let in.
    pub(crate) async fn is_let_in(&mut self, key: &str) {
        self.keys.send(key.to_owned()).await.expect("it watches");
        let told = self.told.recv().await;
        assert!(matches!(told, Some(Told::LetIn)), "it watches");
    }

    /// Waits until the key is refused.
    pub(crate) async fn is_refused(&mut self) -> End {
        match self.told.recv().await {
            Some(Told::Refused(end)) => end,
            Some(Told::LetIn) | None => panic!("it watches"),
        }
    }
}

async fn watch(mut client: Client, mut keys: mpsc::Receiver<String>, tell: mpsc::Sender<Told>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(key) = keys.recv().await {
        let mut last = None;
        let first_refusal = loop {
            tick.tick().await;
            let exchange = client.get(("x-api-key", &key)).await;
            match exchange.status() {
                Some(200) => {
                    let first = last.replace((exchange.sent, exchange.ended)).is_none();
                    if first && tell.send(Told::LetIn).await.is_err() {
                        return;
                    }
                }
                Some(401) if last.is_some() => break exchange.ended,
                _ => panic!("neither let in nor refused: {exchange:?}"),
            }
        };
        for _ in 0..MORE {
            let exchange = client.get(("x-api-key", &key)).await;
            assert_eq!(exchange.status(), Some(401), "refused once and for all");
        }
        let (last_sent, last_allow) = last.expect("it was let in before");
        let end = End {
            last_sent,
            last_allow,
            first_refusal,
        };
        if tell.send(Told::Refused(end)).await.is_err() {
            return;
        }
    }
}
