//! How long an exchange may take for its answer's head.
//!
//! Not here: the timer ([`crate::patience`]). Invariant: it is over only when as long as the timeout
//! has passed since the last piece of the request's body went on its way.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::body::BodyCourse;
use super::{RequestBodyFault, UpstreamError};

/// One exchange's wait for its answer's head. A large body on a slow line is no slow upstream:
/// each piece of it begins the wait anew. (What a client may take for its body is the edge's to
/// bound.)
#[derive(Debug)]
pub(super) struct Wait {
    started: Instant,
    timeout: Duration,
    /// The request's body, if there is one.
    course: Option<Rc<BodyCourse>>,
}

impl Wait {
    /// Begins now.
    pub(super) fn new(timeout: Duration, course: Option<Rc<BodyCourse>>) -> Wait {
        Wait {
            started: Instant::now(),
            timeout,
            course,
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// When it is over, as things stand.
    pub(super) fn end(&self) -> Instant {
        let moved = self.course.as_deref().and_then(BodyCourse::moved);
        moved.unwrap_or(self.started) + self.timeout
    }

    /// What went wrong with the request's body, if anything did.
    pub(super) fn fault(&self) -> Option<RequestBodyFault> {
        self.course.as_deref().and_then(BodyCourse::fault)
    }

    /// What comes of `work` before this is over.
    pub(super) async fn bound<T>(&self, work: impl Future<Output = T>) -> Result<T, UpstreamError> {
        let mut work = pin!(work);
        loop {
            let end = self.end();
            if let Ok(done) = timeout_at(end, work.as_mut()).await {
                return Ok(done);
            }
            if self.end() <= end {
                return Err(UpstreamError::Timeout);
            }
        }
    }
}
