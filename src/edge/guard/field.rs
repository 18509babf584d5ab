//! One field line of a head or of a trailer section (RFC 9112 §5).

use super::bytes::{self, TOKEN};
use crate::edge::Malformed;

/// A line of a header or trailer section.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// The empty line that ends the section.
    End,
    /// `name: value`.
    Field(Field<'a>),
}

/// `name: value`, well-formed.
#[derive(Debug)]
pub(super) struct Field<'a> {
    /// One or more `tchar`.
    pub(super) name: &'a [u8],
    /// Without the white space around it.
    pub(super) value: &'a [u8],
    /// Bytes of the whole line with its end.
    pub(super) len: usize,
}

impl<'a> Line<'a> {
    /// Reads the line that `bytes` begins with; `None` when its end is not there yet.
    pub(super) fn take(bytes: &'a [u8]) -> Result<Option<Line<'a>>, Malformed> {
        let name_len = bytes::run(bytes, TOKEN);
        let (name, rest) = bytes.split_at(name_len);
        match rest.split_first() {
            None => Ok(None),
            Some((b':', value)) if name_len > 0 => take_value(name, value),
            Some((b'\r', end)) if name_len == 0 => take_end(end),
            Some((_, after)) => Err(name_fault(name, rest[0], after)),
        }
    }
}

fn take_end<'a>(after_cr: &[u8]) -> Result<Option<Line<'a>>, Malformed> {
    match after_cr.first() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(Line::End)),
        Some(_) => Err(Malformed::LineEnd),
    }
}

fn take_value<'a>(name: &'a [u8], rest: &'a [u8]) -> Result<Option<Line<'a>>, Malformed> {
    let (value, end) = rest.split_at(bytes::value_run(rest));
    match end {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(Line::Field(Field {
            name,
            value: value.trim_ascii(),
            len: name.len() + 1 + value.len() + 2,
        }))),
        [b'\r' | b'\n', ..] => Err(Malformed::LineEnd),
        _ => Err(Malformed::FieldValue),
    }
}

/// Why a line stopped being a field name at `byte`.
fn name_fault(name: &[u8], byte: u8, after: &[u8]) -> Malformed {
    match (byte, name, after) {
        (b' ' | b'\t', [], _) => Malformed::FoldedLine,
        (b'\n', ..) => Malformed::LineEnd,
        (b'\r', _, [other, ..]) if *other != b'\n' => Malformed::LineEnd,
        _ => Malformed::FieldName,
    }
}

/// Whether a field name, read the way a sloppy parser or a CGI-like environment would (letters
/// only), is `letters`, which is lower case.
pub(super) fn reads_as(name: &[u8], letters: &[u8]) -> bool {
    let folded = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    folded
        .map(u8::to_ascii_lowercase)
        .eq(letters.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &[u8]) -> Option<Malformed> {
        Line::take(line).err()
    }

    #[test]
    fn a_field_is_name_colon_value_with_the_white_space_around_it_gone() {
        let Ok(Some(Line::Field(field))) = Line::take(b"Name:\t a b\x80 \r\nrest") else {
            panic!("a field");
        };
        assert_eq!(
            (field.name, field.value, field.len),
            (&b"Name"[..], &b"a b\x80"[..], 14)
        );
        assert!(matches!(Line::take(b"\r\nrest"), Ok(Some(Line::End))));
    }

    #[test]
    fn a_line_without_its_end_is_waited_for() {
        let whole = b"Name: value\r\n";
        for len in 0..whole.len() {
            assert!(matches!(Line::take(&whole[..len]), Ok(None)), "{len}");
        }
        assert!(matches!(Line::take(b"\r"), Ok(None)));
    }

    #[test]
    fn rows_19_to_24_bad_names_values_folds_and_line_ends_are_named() {
        for control in (0..=31).chain([127]).filter(|b| !b"\t\r\n".contains(b)) {
            let line = [b"a: b".as_slice(), &[control], b"c\r\n"].concat();
            assert_eq!(fault(&line), Some(Malformed::FieldValue), "{control:#x}");
        }
        for (line, expected) in [
            (&b"a: b\rc\r\n"[..], Malformed::LineEnd),
            (b"a: b\n", Malformed::LineEnd),
            (b"\n", Malformed::LineEnd),
            (b"\rx", Malformed::LineEnd),
            (b"a\rb: c\r\n", Malformed::LineEnd),
            (b"a\n", Malformed::LineEnd),
            (b" a: b\r\n", Malformed::FoldedLine),
            (b"\ta: b\r\n", Malformed::FoldedLine),
            (b"a : b\r\n", Malformed::FieldName),
            (b"a\t: b\r\n", Malformed::FieldName),
            (b": b\r\n", Malformed::FieldName),
            (b"a b: c\r\n", Malformed::FieldName),
            (b"a\r\n", Malformed::FieldName),
            (b"\xc3\xa4: b\r\n", Malformed::FieldName),
            (b"a\0: b\r\n", Malformed::FieldName),
        ] {
            assert_eq!(
                fault(line),
                Some(expected),
                "{:?}",
                line.escape_ascii().to_string()
            );
        }
        for bad in b"()<>@,;\\\"/[]?={} \x7f" {
            let line = [b"a".as_slice(), &[*bad], b"b: c\r\n"].concat();
            assert_eq!(fault(&line), Some(Malformed::FieldName), "{bad:#x}");
        }
    }
}
