//! A chunked body, checked line by line (RFC 9112 §7.1), to find where the next head begins.

use super::HeadLimits;
use super::bytes::{self, EXTENSION};
use super::field::{Field, Line};
use crate::edge::Malformed;

/// How far the reading of one chunked body has come.
#[derive(Debug)]
pub(super) struct Chunked {
    part: Part,
    /// Bytes of chunk extensions that may still come, over the whole body.
    extension_left: usize,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Data { left: u64 },
    DataEnd,
    Size,
    Trailers { bytes: usize, fields: usize },
}

/// What of a chunked body may be handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes; the body goes on behind them.
    Part(usize),
    /// So many bytes, and with them the body has ended.
    End(usize),
    /// Nothing before there are more bytes.
    Wait,
}

/// Digits of a chunk size: 64 bits, of which [`parse_size`] allows 63.
const SIZE_DIGITS: usize = 16;
/// Nobody needs extensions; a flood of them is an attack (security.md row 16).
const EXTENSION_BYTES: usize = 1024;

impl Chunked {
    pub(super) fn new() -> Chunked {
        Chunked {
            part: Part::Size,
            extension_left: EXTENSION_BYTES,
        }
    }

    /// Reads one part; `bytes` begins behind what was handed on before and is not empty.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<Progress, Malformed> {
        match self.part {
            Part::Size => self.take_size(bytes),
            Part::Data { left } => Ok(self.take_data(bytes.len(), left)),
            Part::DataEnd => self.take_data_end(bytes),
            Part::Trailers {
                bytes: seen,
                fields,
            } => self.take_trailer(bytes, seen, fields, limits),
        }
    }

    pub(super) fn in_trailers(&self) -> bool {
        matches!(self.part, Part::Trailers { .. })
    }

    /// What is there must be within the limits before more of it is waited for.
    pub(super) fn check_held(&self, held: usize, limits: &HeadLimits) -> Result<(), Malformed> {
        match self.part {
            Part::Trailers { bytes, .. } => limits.check_trailer_bytes(bytes + held),
            Part::Data { .. } | Part::DataEnd | Part::Size => Ok(()),
        }
    }

    /// `1*HEXDIG [ ";" extension ] CRLF`.
    fn take_size(&mut self, bytes: &[u8]) -> Result<Progress, Malformed> {
        let digits = bytes
            .iter()
            .take(SIZE_DIGITS + 1)
            .take_while(|byte| byte.is_ascii_hexdigit());
        let (size, rest) = bytes.split_at(digits.count());
        let extension = match rest.first() {
            _ if size.len() > SIZE_DIGITS => return Err(Malformed::Chunk),
            None => return Ok(Progress::Wait),
            Some(b';') => bytes::run(rest, EXTENSION),
            Some(_) => 0,
        };
        if size.is_empty() || extension > self.extension_left {
            return Err(Malformed::Chunk);
        }
        match &rest[extension..] {
            [] | [b'\r'] => return Ok(Progress::Wait),
            [b'\r', b'\n', ..] => {}
            _ => return Err(Malformed::Chunk),
        }
        self.extension_left -= extension;
        self.part = match parse_size(size)? {
            0 => Part::Trailers {
                bytes: 0,
                fields: 0,
            },
            left => Part::Data { left },
        };
        Ok(Progress::Part(size.len() + extension + 2))
    }

    fn take_data(&mut self, there: usize, left: u64) -> Progress {
        let taken = usize::try_from(left).map_or(there, |left| left.min(there));
        self.part = match left - taken as u64 {
            0 => Part::DataEnd,
            left => Part::Data { left },
        };
        Progress::Part(taken)
    }

    fn take_data_end(&mut self, bytes: &[u8]) -> Result<Progress, Malformed> {
        match bytes {
            [b'\r'] => Ok(Progress::Wait),
            [b'\r', b'\n', ..] => {
                self.part = Part::Size;
                Ok(Progress::Part(2))
            }
            _ => Err(Malformed::Chunk),
        }
    }

    fn take_trailer(
        &mut self,
        bytes: &[u8],
        seen: usize,
        fields: usize,
        limits: &HeadLimits,
    ) -> Result<Progress, Malformed> {
        match Line::take(bytes).map_err(|_| Malformed::Trailer)? {
            None => self
                .check_held(bytes.len(), limits)
                .map(|()| Progress::Wait),
            Some(Line::End) => Ok(Progress::End(2)),
            Some(Line::Field(field)) => {
                check_trailer_name(&field)?;
                limits.check_trailer_bytes(seen + field.len)?;
                limits.check_count(fields + 1)?;
                self.part = Part::Trailers {
                    bytes: seen + field.len,
                    fields: fields + 1,
                };
                Ok(Progress::Part(field.len))
            }
        }
    }
}

/// At most 63 bits, so that no signed counter behind us wraps.
fn parse_size(digits: &[u8]) -> Result<u64, Malformed> {
    let text = std::str::from_utf8(digits).map_err(|_| Malformed::Chunk)?;
    let size = u64::from_str_radix(text, 16).map_err(|_| Malformed::Chunk)?;
    i64::try_from(size).map_err(|_| Malformed::Chunk)?;
    Ok(size)
}

/// RFC 9110 §6.5.1: nothing that frames, routes or authenticates a message may come after it.
fn check_trailer_name(field: &Field<'_>) -> Result<(), Malformed> {
    const FORBIDDEN: [&[u8]; 16] = [
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"proxy-authorization",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-api-key",
    ];
    match FORBIDDEN
        .iter()
        .any(|name| field.name.eq_ignore_ascii_case(name))
    {
        true => Err(Malformed::Trailer),
        false => Ok(()),
    }
}
