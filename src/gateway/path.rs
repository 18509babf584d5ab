//! The request path in its one canonical form, or no path at all.
//!
//! Runs once, before routing; what was matched is what is forwarded. Percent-encoded unreserved
//! characters are decoded and other encodings written in upper case (RFC 3986 §6.2.2); everything
//! that some server somewhere reads as another path is refused rather than repaired (`security.md`
//! rows 65 to 69): dot segments in any spelling, encoded separators, empty segments, double
//! encoding, look-alikes of `.`, `/`, `\`, `%`, `?` and `#`, a dot or blank at a segment's end.
//! Invariant: canonicalising a canonical path changes nothing.

use std::borrow::Cow;

/// A path that every server reads in the same way. Begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a>(Cow<'a, str>);

/// A path that two servers could read differently, or that is not one (RFC 3986 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path is not acceptable")]
pub struct BadPath;

impl<'a> CanonicalPath<'a> {
    /// Checks a raw path (without query) and brings it into canonical form; borrows if it is in
    /// that form already.
    pub fn parse(raw: &'a str) -> Result<CanonicalPath<'a>, BadPath> {
        let path = match plain(raw) {
            true => Cow::Borrowed(raw),
            false => Cow::Owned(decode_unreserved(raw)?),
        };
        let rest = path.strip_prefix('/').ok_or(BadPath)?;
        check_segments(rest)?;
        Ok(CanonicalPath(path))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether canonicalising changed anything.
    pub fn is_rewritten(&self) -> bool {
        matches!(self.0, Cow::Owned(_))
    }
}

/// Whether there is nothing to decode and no character outside `pchar` and `/`.
fn plain(raw: &str) -> bool {
    raw.bytes().all(is_path_byte)
}

/// `pchar` without percent-encodings, and `/` (RFC 3986 §3.3); without `;`, after which Java servers
/// drop the rest of a segment, so that `/admin;x` is `/admin` to them (security.md row 67).
pub(super) const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b':'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'='
        )
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Rewrites each percent-encoding into its canonical form and refuses those that hide structure.
fn decode_unreserved(raw: &str) -> Result<String, BadPath> {
    let bytes = raw.as_bytes();
    let mut path = String::with_capacity(raw.len());
    let mut encoded = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte != b'%' {
            flush_encoded(&mut path, &mut encoded)?;
            if !is_path_byte(*byte) {
                return Err(BadPath);
            }
            path.push(char::from(*byte));
            at += 1;
            continue;
        }
        let value = hex_pair(bytes.get(at + 1..at + 3).ok_or(BadPath)?)?;
        if value == b'%'
            && bytes
                .get(at + 3..at + 5)
                .is_some_and(|next| hex_pair(next).is_ok())
        {
            return Err(BadPath); // double encoding
        }
        encoded.push(value);
        at += 3;
    }
    flush_encoded(&mut path, &mut encoded)?;
    Ok(path)
}

/// Writes a run of decoded bytes: unreserved ones as they are, the rest encoded in upper case.
fn flush_encoded(path: &mut String, encoded: &mut Vec<u8>) -> Result<(), BadPath> {
    let text = std::str::from_utf8(encoded).map_err(|_| BadPath)?;
    // `%25%32%65` is `%2e` once decoded: double encoding in another spelling.
    let encodes = |window: &[u8]| window[0] == b'%' && hex_pair(&window[1..]).is_ok();
    if text.chars().any(hides_structure) || encoded.windows(3).any(encodes) {
        return Err(BadPath);
    }
    for byte in encoded.drain(..) {
        if is_unreserved(byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(())
}

/// Characters that a server further on could take for a separator, a dot or an escape: the ASCII
/// ones, controls, and those that Unicode compatibility mapping (NFKC) turns into one of them.
fn hides_structure(character: char) -> bool {
    matches!(
        character,
        '.' | '/' | '\\' | '?' | '#' | ';' | '\u{37e}' | '\u{2024}'
            ..='\u{2026}'
                | '\u{2044}'
                | '\u{2215}'
                | '\u{2216}'
                | '\u{29f8}'
                | '\u{fe52}'
                | '\u{fe5f}'
                | '\u{fe68}'
                | '\u{fe6a}'
                | '\u{fe56}'
                | '\u{ff03}'
                | '\u{ff05}'
                | '\u{ff0e}'
                | '\u{ff0f}'
                | '\u{ff1f}'
                | '\u{ff3c}'
                | '\u{feff}'
    ) || character.is_control()
}

fn hex_pair(pair: &[u8]) -> Result<u8, BadPath> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    match pair {
        [high, low] => {
            let value = digit(high)
                .zip(digit(low))
                .map(|(high, low)| high * 16 + low);
            value
                .and_then(|value| u8::try_from(value).ok())
                .ok_or(BadPath)
        }
        _ => Err(BadPath),
    }
}

/// Refuses empty and dot segments and those that Windows or Java servers shorten. A path may end
/// in one slash.
fn check_segments(rest: &str) -> Result<(), BadPath> {
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment.is_empty() && !last {
            return Err(BadPath);
        }
        if [".", "%20", "%C2%A0"]
            .iter()
            .any(|end| segment.ends_with(end))
        {
            return Err(BadPath);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(raw: &str) -> Result<String, BadPath> {
        CanonicalPath::parse(raw).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn a_plain_path_is_borrowed() {
        for raw in [
            "/",
            "/v1/domains",
            "/v1/domains/",
            "/v1/a-b_c~d/x.y/zk=v,@:!$&'()*+=",
        ] {
            let path = CanonicalPath::parse(raw).expect("plain");
            assert!(!path.is_rewritten() && path.as_str() == raw, "{raw}");
        }
    }

    #[test]
    fn encodings_get_one_spelling() {
        assert_eq!(canonical("/v1/%64omains"), Ok("/v1/domains".into()));
        assert_eq!(
            canonical("/v1/%7euser/%c3%a4"),
            Ok("/v1/~user/%C3%A4".into())
        );
        assert_eq!(canonical("/a%20b/c%3a"), Ok("/a%20b/c%3A".into()));
        assert_eq!(canonical("/100%25"), Ok("/100%25".into()));
    }

    #[test]
    fn rows_65_to_69_what_reads_as_another_path_is_refused() {
        for raw in [
            "",
            "v1",
            "*",
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/b",
            "/%2E./b",
            "/.%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%00",
            "/a%3fb",
            "/a%23b",
            "/a%0d%0a",
            "/a%7f",
            "/%252e%252e",
            "/%c0%ae%c0%ae/",
            "/%ef%bc%8e%ef%bc%8e/",
            "/a/%e2%80%a4",
            "/..;/b",
            "/..;x=1/b",
            "/;x/b",
            "//",
            "/a//b",
            "/a.",
            "/a/b.",
            "/a%20",
            "/a%20/b",
            "/a%2",
            "/a%zz",
            "/a%",
            "/a\\b",
            "/a b",
            "/a\u{e4}",
            "/a<b",
            "/a^",
            "/a|b",
            "/a\"",
            "/a?b",
            "/a#b",
            "/a;b",
            "/a%3bb",
            "/%25%32%65",
        ] {
            assert_eq!(canonical(raw), Err(BadPath), "{raw:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn canonicalising_twice_changes_nothing(raw in "/[a-z%0-9A-F./;]{0,24}") {
            if let Ok(once) = canonical(&raw) {
                let twice = canonical(&once);
                proptest::prop_assert_eq!(twice, Ok(once));
            }
        }
    }
}
