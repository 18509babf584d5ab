//! Everything that was asked and answered in one run, and who may be let in.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::client::Exchange;
use crate::oracle::{Class, Right, Sample, Subject};

/// Shared by all clients of a run.
#[derive(Default)]
pub(crate) struct Board {
    subjects: Mutex<Vec<Subject>>,
    samples: Mutex<Vec<Sample>>,
    findings: Mutex<Vec<String>>,
}

impl Board {
    /// A new subject's number.
    pub(crate) fn enter(&self, class: Class, right: Right) -> usize {
        let mut subjects = lock(&self.subjects);
        subjects.push(Subject {
            class,
            right,
            condemned: None,
            revoked: None,
            proven: None,
        });
        subjects.len() - 1
    }

    /// Somebody begins to revoke it.
    pub(crate) fn condemn(&self, subject: usize) {
        let mut subjects = lock(&self.subjects);
        let condemned = &mut subjects[subject].condemned;
        *condemned = condemned.or_else(|| Some(Instant::now()));
    }

    /// Its revocation was just acknowledged.
    pub(crate) fn is_revoked(&self, subject: usize) {
        lock(&self.subjects)[subject].revoked = Some(Instant::now());
    }

    /// What the acknowledgement proves: nobody lets it in later than that.
    pub(crate) fn is_proven(&self, subject: usize, until: Instant) {
        lock(&self.subjects)[subject].proven = Some(until);
    }

    pub(crate) fn saw(&self, subject: usize, gateway: usize, exchange: &Exchange) {
        lock(&self.samples).push(Sample {
            subject,
            gateway,
            sent: exchange.sent,
            ended: exchange.ended,
            status: exchange.status(),
        });
    }

    /// Something that must not be, and is no answer to a credential.
    pub(crate) fn find(&self, finding: String) {
        lock(&self.findings).push(finding);
    }

    pub(crate) fn subjects(&self) -> Vec<Subject> {
        lock(&self.subjects).clone()
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        lock(&self.samples).clone()
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        lock(&self.findings).clone()
    }

    /// Whether each of so many gateways has refused each revoked subject since.
    pub(crate) fn all_know(&self, gateways: usize) -> bool {
        let samples = lock(&self.samples);
        let knows = |subject: usize, at: Instant, gateway: usize| {
            samples.iter().rev().any(|sample| {
                (sample.subject, sample.gateway) == (subject, gateway)
                    && sample.sent >= at
                    && sample.status == Some(401)
            })
        };
        let subjects = lock(&self.subjects);
        let revoked = subjects.iter().enumerate();
        let mut revoked = revoked.filter_map(|(number, subject)| Some((number, subject.revoked?)));
        revoked.all(|(subject, at)| (0..gateways).all(|gateway| knows(subject, at, gateway)))
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
