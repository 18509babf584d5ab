//! A request head, line by line, and the body framing that it declares (RFC 9112 §6).

use std::ops::Range;

use super::HeadLimits;
use super::authority::Authority;
use super::field::{self, Field, Line};
use super::request_line::{AROUND_TARGET, RequestLine, Version};
use crate::edge::Malformed;

/// How far the reading of one head has come. Offsets count from the head's first byte.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the next line begins.
    at: usize,
    request_line: Option<RequestLine>,
    fields: usize,
    host: Option<Range<usize>>,
    length: Length,
    coding: Coding,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    Length(u64),
}

/// A head that is all there and well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Complete {
    /// Bytes of the head.
    pub(super) len: usize,
    pub(super) framing: Framing,
}

#[derive(Clone, Copy, Debug, Default)]
enum Length {
    #[default]
    Absent,
    Bad,
    Bytes(u64),
    TooLarge,
}

#[derive(Clone, Copy, Debug, Default)]
enum Coding {
    #[default]
    Absent,
    Bad,
    Chunked,
    Unknown,
}

impl Head {
    /// Reads on; `bytes` begins at the head's first byte every time. `None` when it is not all
    /// there yet.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<Complete>, Malformed> {
        if self.request_line.is_none() && !self.take_request_line(bytes, limits)? {
            return self.check_held(bytes.len(), limits).map(|()| None);
        }
        loop {
            match Line::take(&bytes[self.at..])? {
                None => return self.check_held(bytes.len(), limits).map(|()| None),
                Some(Line::Field(field)) => self.take_field(bytes, &field, limits)?,
                Some(Line::End) => {
                    let len = self.at + 2;
                    limits.check_bytes(len)?;
                    let framing = self.conclude(bytes)?;
                    return Ok(Some(Complete { len, framing }));
                }
            }
        }
    }

    /// What is there must be within the limits before more of it is waited for.
    pub(super) fn check_held(&self, held: usize, limits: &HeadLimits) -> Result<(), Malformed> {
        let line_max = limits.uri_bytes.saturating_add(AROUND_TARGET);
        match self.request_line {
            None if held > line_max => Err(Malformed::UriTooLong),
            _ => limits.check_bytes(held),
        }
    }

    fn take_request_line(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<bool, Malformed> {
        let Some(line) = RequestLine::take(bytes, limits.uri_bytes)? else {
            return Ok(false);
        };
        self.at = line.len;
        self.request_line = Some(line);
        Ok(true)
    }

    fn take_field(
        &mut self,
        bytes: &[u8],
        field: &Field<'_>,
        limits: &HeadLimits,
    ) -> Result<(), Malformed> {
        self.fields += 1;
        limits.check_count(self.fields)?;
        match field.name.len() {
            4 if field.name.eq_ignore_ascii_case(b"host") => self.take_host(bytes, field)?,
            14 if field.name.eq_ignore_ascii_case(b"content-length") => {
                self.length = self.length.and(field.value);
            }
            17 if field.name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.coding = self.coding.and(field.value);
            }
            13.. => check_disguise(field)?,
            _ => {}
        }
        self.at += field.len;
        limits.check_bytes(self.at)
    }

    /// RFC 9112 §3.2: exactly one, and well-formed.
    fn take_host(&mut self, bytes: &[u8], field: &Field<'_>) -> Result<(), Malformed> {
        if self.host.is_some() || Authority::parse(field.value).is_none() {
            return Err(Malformed::Host);
        }
        // The value is a part of `bytes`: its place is found again from the line's.
        let line = &bytes[self.at..self.at + field.len];
        let after_colon = field.name.len() + 1;
        let space = line[after_colon..]
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'));
        let start = self.at + after_colon + space.count();
        self.host = Some(start..start + field.value.len());
        Ok(())
    }

    fn conclude(&self, bytes: &[u8]) -> Result<Framing, Malformed> {
        let line = self
            .request_line
            .as_ref()
            .expect("fields are read after the request line");
        let framing = frame(self.length, self.coding, line.version)?;
        // Stricter than RFC 9112 §3.2, which lets HTTP/1.0 do without.
        let host = self.host.clone().ok_or(Malformed::Host)?;
        let Some((target, port)) = line.authority.clone() else {
            return Ok(framing);
        };
        // RFC 9112 §3.2.2: the target would win over `Host`; two names are one too many.
        let parse = |at: Range<usize>| Authority::parse(&bytes[at]);
        match (parse(target), parse(host)) {
            (Some(target), Some(host)) if target.matches(host, port) => Ok(framing),
            _ => Err(Malformed::Host),
        }
    }
}

/// RFC 9112 §6.3, the strict readings: anything that two parsers could frame differently is
/// refused.
fn frame(length: Length, coding: Coding, version: Version) -> Result<Framing, Malformed> {
    match (coding, length, version) {
        (Coding::Absent, Length::Absent, _) => Ok(Framing::Length(0)),
        (Coding::Absent, Length::Bytes(bytes), _) => Ok(Framing::Length(bytes)),
        (Coding::Absent, Length::TooLarge, _) => Err(Malformed::ContentLengthTooLarge),
        (Coding::Absent, Length::Bad, _) => Err(Malformed::ContentLength),
        (_, Length::Bad | Length::Bytes(_) | Length::TooLarge, _) => {
            Err(Malformed::ContentLengthWithTransferEncoding)
        }
        (_, Length::Absent, Version::Http10) => Err(Malformed::TransferEncoding),
        (Coding::Chunked, ..) => Ok(Framing::Chunked),
        (Coding::Unknown, ..) => Err(Malformed::TransferEncodingUnknown),
        (Coding::Bad, ..) => Err(Malformed::TransferEncoding),
    }
}

impl Length {
    /// One more `Content-Length`. Two are refused even where they agree.
    fn and(self, value: &[u8]) -> Length {
        match self {
            Length::Absent => Length::parse(value),
            Length::Bad | Length::Bytes(_) | Length::TooLarge => Length::Bad,
        }
    }

    /// RFC 9110 §8.6: `1*DIGIT`. Past 64 bits the number has wrapped in someone's parser.
    fn parse(value: &[u8]) -> Length {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Length::Bad;
        }
        let number = value.iter().try_fold(0_u64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        match number {
            Some(bytes) if i64::try_from(bytes).is_ok() => Length::Bytes(bytes),
            Some(_) => Length::TooLarge,
            None => Length::Bad,
        }
    }
}

impl Coding {
    /// One more `Transfer-Encoding`.
    fn and(self, value: &[u8]) -> Coding {
        match self {
            Coding::Absent => Coding::parse(value),
            Coding::Bad | Coding::Chunked | Coding::Unknown => Coding::Bad,
        }
    }

    /// Exactly `chunked`. A registered coding before it is one that this gateway does not know
    /// (RFC 9112 §6.1: 501); anything else is a disguise.
    fn parse(value: &[u8]) -> Coding {
        if value.eq_ignore_ascii_case(b"chunked") {
            return Coding::Chunked;
        }
        let registered = |coding: &[u8]| {
            let known: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];
            known.iter().any(|known| coding.eq_ignore_ascii_case(known))
        };
        let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let last = codings.next_back().unwrap_or_default();
        match last.eq_ignore_ascii_case(b"chunked") && codings.all(registered) {
            true => Coding::Unknown,
            false => Coding::Bad,
        }
    }
}

/// Names that a sloppier parser behind us would read as framing, and `chunked` where it is no
/// content coding (security.md row 5).
fn check_disguise(field: &Field<'_>) -> Result<(), Malformed> {
    match field.name[0] {
        b'T' | b't' if field::reads_as(field.name, b"transferencoding") => {
            Err(Malformed::FieldName)
        }
        b'C' | b'c' if field::reads_as(field.name, b"contentlength") => Err(Malformed::FieldName),
        b'C' | b'c'
            if field.name.eq_ignore_ascii_case(b"content-encoding")
                && field.value.eq_ignore_ascii_case(b"chunked") =>
        {
            Err(Malformed::TransferEncoding)
        }
        _ => Ok(()),
    }
}
