//! What the follower of the log knows of the fleet: whether it may confirm, and whom it tells how far
//! it has read.
//!
//! Invariant: whether a lease may be confirmed is settled before the log is asked. Settled after it,
//! an instance that has just joined could confirm what it asked before it was on the list.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::membership::Membership;
use crate::auth::Revocation;
use crate::clock::Timestamp;
use crate::store::{Denial, Position};

/// This process in its fleet, or as one that is of none.
#[derive(Debug)]
#[must_use = "an instance that is of no fleet proves nothing"]
pub struct Presence(Option<Member>);

#[derive(Debug)]
struct Member {
    membership: Arc<Membership>,
    progress: watch::Sender<Progress>,
}

/// How far the log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// All up to here is applied.
    pub(super) confirmed: Option<Position>,
    /// The time of the newest revocation among it.
    pub(super) last_revocation: Option<Timestamp>,
    /// How many revocations were read from the log, those of the list not among them.
    pub(super) heard: u64,
}

/// The revocations that an answer of the log brought.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::auth) struct News {
    newest: Option<Timestamp>,
    heard: u64,
}

impl News {
    /// Those of the whole list, which are older than the question.
    pub(in crate::auth) fn of_list(denials: &[Denial]) -> News {
        News {
            newest: denials.iter().map(|denial| denial.at).max(),
            heard: 0,
        }
    }

    /// Those that were waited for.
    pub(in crate::auth) fn of_log(denials: &[Denial]) -> News {
        News {
            heard: u64::try_from(denials.len()).unwrap_or(u64::MAX),
            ..News::of_list(denials)
        }
    }
}

/// A question to the log, by when it was asked.
#[derive(Clone, Copy, Debug)]
pub(in crate::auth) struct Asked {
    at: Instant,
    may_confirm: bool,
}

impl Presence {
    /// Of no fleet: for who serves no requests, such as `explain`.
    pub fn alone() -> Presence {
        Presence(None)
    }

    pub(super) fn member(
        membership: Arc<Membership>,
        progress: watch::Sender<Progress>,
    ) -> Presence {
        Presence(Some(Member {
            membership,
            progress,
        }))
    }

    /// Waits until this instance is on the list, so that the first answer confirms already.
    pub(in crate::auth) async fn begun(&self) {
        if let Some(member) = &self.0 {
            member.membership.begun().await;
        }
    }

    /// To be called right before the log is asked.
    pub(in crate::auth) fn ask(&self) -> Asked {
        let at = Instant::now();
        let member = self.0.as_ref();
        Asked {
            at,
            may_confirm: member.is_none_or(|member| member.membership.holds(at)),
        }
    }

    /// All up to `position` is applied, with this news in it: tells whoever reports it, and
    /// confirms the lease up to when the log was asked.
    pub(in crate::auth) fn applied(
        &self,
        asked: Asked,
        position: &Position,
        news: News,
        revocation: &Revocation,
    ) {
        if let Some(member) = &self.0 {
            member.tell(position, news);
        }
        if asked.may_confirm {
            revocation.confirm(asked.at);
        }
    }
}

impl Member {
    fn tell(&self, position: &Position, news: News) {
        self.progress.send_if_modified(|progress| {
            let is_new = progress.confirmed.as_ref() != Some(position);
            if is_new {
                progress.confirmed = Some(position.clone());
            }
            progress.last_revocation = progress.last_revocation.max(news.newest);
            progress.heard = progress.heard.saturating_add(news.heard);
            is_new
        });
    }
}
