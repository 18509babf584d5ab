//! The wire guard: every byte of HTTP/1 passes it on its way to hyper.
//!
//! It checks each request head against RFC 9112 and follows the body's framing to the next head.
//! Not here: meaning (routes, credentials), answers (a bad head becomes [`Malformed`] for the
//! handler), HTTP/2. Invariants: hyper gets only whole checked heads, checked chunk and trailer
//! lines and body bytes; after anything bad it gets nothing more; work is linear in the bytes
//! received, and what is held is bounded by [`HeadLimits`]. `docs/decisions/0006-wire-guard.md`
//! has the choices.

mod authority;
mod bytes;
mod chunked;
mod field;
mod head;
mod request_line;
mod stream;

pub(super) use stream::Guarded;

use chunked::{Chunked, Progress};
use head::{Framing, Head};

use super::{ConnectionLimits, Malformed};

/// Bounds on what is held of a head or a trailer section.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    header_bytes: usize,
    header_count: usize,
    uri_bytes: usize,
}

/// Reads a connection's bytes; does no IO.
#[derive(Debug)]
pub(super) struct Guard {
    limits: HeadLimits,
    state: State,
    /// How many of the bytes that were not passed are known to hold no further line end, so
    /// that a line that dribbles in is read twice and not once a byte.
    searched: usize,
    heads: u64,
}

#[derive(Debug)]
enum State {
    Chunked(Chunked),
    Head(Head),
    Length(u64),
    Stopped,
}

/// What became of the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// So many of the first bytes may go to hyper.
    pub(super) pass: usize,
    /// What is to happen with those behind them.
    pub(super) rest: Rest,
}

/// What is to happen with the bytes that may not go to hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// They are in the midst of a body that is bad there.
    BadBody(Malformed),
    /// They begin a request that is bad.
    BadHead(Malformed),
    /// Keep them and present them again, with more behind.
    Keep,
}

impl HeadLimits {
    /// What the config says, within what hyper itself can take, so that it never refuses a head
    /// that has passed here (it would do that without an answer from the handler).
    pub(super) fn new(limits: &ConnectionLimits) -> HeadLimits {
        const HYPER_MAX: usize = u16::MAX as usize - 1;
        const HYPER_FIELDS: usize = 100;
        HeadLimits {
            header_bytes: limits.header_bytes.min(HYPER_MAX),
            header_count: limits.header_count.min(HYPER_FIELDS),
            uri_bytes: limits.uri_bytes.min(HYPER_MAX),
        }
    }

    fn check_bytes(&self, bytes: usize) -> Result<(), Malformed> {
        match bytes <= self.header_bytes {
            true => Ok(()),
            false => Err(Malformed::HeadersTooLarge),
        }
    }

    /// hyper takes trailers up to 16 KiB and then breaks the body off without a reason.
    fn check_trailer_bytes(&self, bytes: usize) -> Result<(), Malformed> {
        const TRAILER_BYTES: usize = 8 * 1024;
        match bytes <= self.header_bytes.min(TRAILER_BYTES) {
            true => Ok(()),
            false => Err(Malformed::HeadersTooLarge),
        }
    }

    fn check_count(&self, fields: usize) -> Result<(), Malformed> {
        match fields <= self.header_count {
            true => Ok(()),
            false => Err(Malformed::HeadersTooLarge),
        }
    }
}

impl Guard {
    pub(super) fn new(limits: HeadLimits) -> Guard {
        Guard {
            limits,
            state: State::Head(Head::default()),
            searched: 0,
            heads: 0,
        }
    }

    /// Reads on. `bytes` begins with those that the last scan told to keep.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut pass = 0;
        let rest = loop {
            if pass == bytes.len() {
                break Rest::Keep;
            }
            match self.step(&bytes[pass..]) {
                Ok(0) => break Rest::Keep,
                Ok(taken) => pass += taken,
                Err(fault) => break self.stop(fault),
            }
        };
        Scan { pass, rest }
    }

    /// How many heads have passed.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte belongs to the body of a request whose head has passed.
    pub(super) fn in_body(&self) -> bool {
        matches!(self.state, State::Chunked(_) | State::Length(_))
    }

    /// Lets nothing pass any more.
    pub(super) fn stop(&mut self, fault: Malformed) -> Rest {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Head(_) => Rest::BadHead(fault),
            State::Chunked(_) | State::Length(_) | State::Stopped => Rest::BadBody(fault),
        }
    }

    /// Takes one whole head or one part of a body; 0 when its end is not there yet.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        if !self.line_end_may_be_in(bytes) {
            return self.check_held(bytes.len());
        }
        let taken = match &mut self.state {
            State::Head(head) => match head.advance(bytes, &self.limits)? {
                Some(complete) => {
                    self.heads += 1;
                    self.state = State::of_body(complete.framing);
                    complete.len
                }
                None => 0,
            },
            State::Length(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.state = State::of_body(Framing::Length(*left - taken as u64));
                taken
            }
            State::Chunked(body) => match body.advance(bytes, &self.limits)? {
                Progress::Part(taken) => taken,
                Progress::End(taken) => {
                    self.state = State::Head(Head::default());
                    taken
                }
                Progress::Wait => 0,
            },
            State::Stopped => 0,
        };
        self.searched = match taken == 0 && self.state.has_long_lines() {
            true => bytes.len(),
            false => 0,
        };
        Ok(taken)
    }

    fn line_end_may_be_in(&self, bytes: &[u8]) -> bool {
        self.searched == 0 || bytes[self.searched..].contains(&b'\n')
    }

    /// An unfinished line has grown: it must still be within the limits.
    fn check_held(&mut self, held: usize) -> Result<usize, Malformed> {
        self.searched = held;
        match &self.state {
            State::Head(head) => head.check_held(held, &self.limits)?,
            State::Chunked(body) => body.check_held(held, &self.limits)?,
            State::Length(_) | State::Stopped => {}
        }
        Ok(0)
    }
}

impl State {
    /// Whether lines are as long here as the limits for heads allow. Others are so short that
    /// reading them again costs nothing.
    fn has_long_lines(&self) -> bool {
        match self {
            State::Head(_) => true,
            State::Chunked(body) => body.in_trailers(),
            State::Length(_) | State::Stopped => false,
        }
    }

    fn of_body(framing: Framing) -> State {
        match framing {
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::Length(0) => State::Head(Head::default()),
            Framing::Length(left) => State::Length(left),
        }
    }
}

#[cfg(test)]
mod tests;
