//! `?wait=5s` on what revokes: the answer comes when each gateway knows, and says which do.
//!
//! Written once for all of them: the server carries out a change and then waits, the client asks for
//! it around any call. Not here: who is waited for ([`crate::auth::FleetDesk`]). Invariant: a wait that
//! is not understood is refused before anything is revoked.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::body::ok;
use super::page::decode;
use super::problem::AdminProblem;
use super::{AdminClient, ClientError};
use crate::auth::{Confirmation, ConfirmationOutcome, FleetDesk, Proof};
use crate::id::InstanceId;

/// How long a revocation may wait for the fleet: 1 ms to 60 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(Duration);

/// A text that is no [`Wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write 5s or 500ms; at most 60s")]
pub struct InvalidWait;

impl Wait {
    /// The longest.
    const LONGEST: Duration = Duration::from_secs(60);

    /// How long that is.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// Of a query that says nothing else.
    pub(super) fn of_query(query: Option<&str>) -> Result<Option<Wait>, AdminProblem> {
        let pairs = query.unwrap_or_default().split('&');
        let mut wait = None;
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let value = pair.strip_prefix("wait=").filter(|_| wait.is_none());
            let value = value.ok_or(AdminProblem::Query("only wait is known, once"))?;
            let value = decode(value).and_then(|value| value.parse().ok());
            wait = Some(value.ok_or(AdminProblem::Query("wait: from 1ms to 60s, such as 5s"))?);
        }
        Ok(wait)
    }
}

impl FromStr for Wait {
    type Err = InvalidWait;

    fn from_str(text: &str) -> Result<Wait, InvalidWait> {
        let digits = |unit| text.strip_suffix(unit)?.parse::<u32>().ok();
        let whole = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit());
        let millis = || digits("ms").map(|millis| Duration::from_millis(millis.into()));
        let seconds = || digits("s").map(|seconds| Duration::from_secs(seconds.into()));
        millis()
            .or_else(seconds)
            .filter(|wait| whole && !wait.is_zero() && *wait <= Wait::LONGEST)
            .map(Wait)
            .ok_or(InvalidWait)
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_millis())
    }
}

/// What waiting for the fleet came to: members beside those of the answer itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofView {
    /// A line for each instance that was listed.
    pub confirmations: Vec<ConfirmationView>,
    /// Whether no instance serves what is revoked.
    pub complete: bool,
    /// Why the lines may not be all, or not be true.
    pub doubt: Option<String>,
}

/// One instance's part. Where both are `null`, it serves nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationView {
    /// Which.
    pub instance: InstanceId,
    /// Where it runs.
    pub name: String,
    /// It knows, at the latest this long after the revocation was asked for.
    pub confirmed_ms: Option<u64>,
    /// It did not say so, and may serve what is revoked until then at most.
    pub may_serve_until: Option<String>,
}

/// An answer with its proof, where one was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven<T> {
    /// The answer.
    #[serde(flatten)]
    pub answer: T,
    /// The proof.
    #[serde(flatten)]
    pub proof: Option<ProofView>,
}

/// Carries out a change and, where the query says so, waits for the fleet.
pub(super) async fn proven<T: Serialize>(
    fleet: &FleetDesk,
    wait: Option<Wait>,
    change: impl Future<Output = Result<T, AdminProblem>>,
) -> Result<Response<Full<Bytes>>, AdminProblem> {
    let begun = fleet.begin();
    let answer = change.await?;
    let proof = match wait {
        None => None,
        Some(wait) => Some(ProofView::from(fleet.prove(begun, wait.duration()).await)),
    };
    Ok(ok(&Proven { answer, proof }))
}

/// What a client waits for, and where its proof goes.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    wait: Wait,
    proof: Arc<Mutex<Option<ProofView>>>,
}

impl AdminClient {
    /// Makes one call that revokes, and has the gateway wait for the fleet.
    pub async fn prove<T>(
        &self,
        wait: Option<Wait>,
        call: impl AsyncFnOnce(&AdminClient) -> Result<T, ClientError>,
    ) -> Result<Proven<T>, ClientError> {
        let Some(wait) = wait else {
            let answer = call(self).await?;
            return Ok(Proven {
                answer,
                proof: None,
            });
        };
        let waiting = Waiting {
            wait,
            proof: Arc::default(),
        };
        let answer = call(&self.waiting(waiting.clone())).await?;
        let proof = waiting.slot().take();
        Ok(Proven { answer, proof })
    }
}

impl Waiting {
    /// How much longer a call may take.
    pub(super) fn longer(&self) -> Duration {
        self.wait.duration()
    }

    pub(super) fn path(&self, path: &str) -> String {
        format!("{path}?wait={}", self.wait)
    }

    /// Keeps the proof of an answer; whether it has one.
    pub(super) fn keep(&self, answer: &[u8]) -> bool {
        let proof = serde_json::from_slice(answer).ok();
        let is_there = proof.is_some();
        *self.slot() = proof;
        is_there
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<ProofView>> {
        // An `Option` that is put whole is never half written.
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Proof> for ProofView {
    fn from(proof: Proof) -> ProofView {
        ProofView {
            complete: proof.is_complete(),
            doubt: proof.doubt.map(|doubt| doubt.to_string()),
            confirmations: proof.confirmations.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Confirmation> for ConfirmationView {
    fn from(confirmation: Confirmation) -> ConfirmationView {
        let (mut confirmed_ms, mut may_serve_until) = (None, None);
        match confirmation.outcome {
            ConfirmationOutcome::Confirmed(after) => {
                // Rounded up: it is a bound.
                let millis = after.as_micros().div_ceil(1000);
                confirmed_ms = Some(u64::try_from(millis).unwrap_or(u64::MAX));
            }
            ConfirmationOutcome::Silent {
                may_serve_until: until,
            } => may_serve_until = Some(until.to_string()),
            ConfirmationOutcome::Lapsed | ConfirmationOutcome::Left => {}
        }
        ConfirmationView {
            instance: confirmation.instance,
            name: confirmation.name,
            confirmed_ms,
            may_serve_until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_and_a_unit_within_its_bounds() {
        let parsed = |text: &str| text.parse().map(Wait::duration).ok();
        assert_eq!(parsed("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parsed("1ms"), Some(Duration::from_millis(1)));
        assert_eq!(parsed("60s"), Some(Duration::from_secs(60)));
        for wrong in [
            "", "5", "s", "ms", "0s", "0ms", "61s", "60001ms", "+5s", "-5s", "5 s", "1m", "5S",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
        let wait: Wait = "5s".parse().expect("a wait");
        assert_eq!(wait.to_string().parse(), Ok(wait));
    }

    #[test]
    fn a_query_has_one_wait_or_none_and_nothing_else() {
        let read = |query| Wait::of_query(query).map(|wait| wait.map(|wait| wait.to_string()));
        assert_eq!(read(None).ok(), Some(None));
        assert_eq!(read(Some("")).ok(), Some(None));
        assert_eq!(read(Some("wait=5s")).ok(), Some(Some("5000ms".into())));
        for wrong in [
            "wait=",
            "wait=soon",
            "wait=61s",
            "wait=5s&wait=5s",
            "force=1",
            "wait",
        ] {
            assert!(read(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
