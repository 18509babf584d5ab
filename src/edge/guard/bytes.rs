//! Which bytes may stand where in an HTTP/1 head: one table, and the longest allowed run.

/// `tchar` of RFC 9110 §5.6.2: methods and field names.
pub(super) const TOKEN: u8 = 1;
/// A target up to its `?`: `pchar` and `/` of RFC 3986 §3.3, with `%` (its digits are checked
/// where paths are decoded).
pub(super) const PATH: u8 = 1 << 1;
/// A target's query: [`PATH`], `?`, and `[` `]`. RFC 3986 §3.4 wants brackets encoded, but
/// browsers send `filter[name]=x` as it is (WHATWG URL), and no parser reads them otherwise.
pub(super) const QUERY: u8 = 1 << 2;
/// A host name or IPv4 address. Stricter than `reg-name` of RFC 3986 §3.2.2: no `%`, no
/// sub-delims, so that no list and no encoded name is one.
pub(super) const NAME: u8 = 1 << 3;
/// A field value: everything but controls; HTAB and obs-text are in (RFC 9110 §5.5).
pub(super) const VALUE: u8 = 1 << 4;
/// A chunk extension: visible ASCII, SP, HTAB; no quotes (security.md row 14).
pub(super) const EXTENSION: u8 = 1 << 5;

/// How many of the first bytes are all of `class`.
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    let end = bytes.iter().position(|byte| !is(*byte, class));
    end.unwrap_or(bytes.len())
}

/// Whether `byte` is of `class`.
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// [`run`] of [`VALUE`], eight bytes at a time: values are most of a head.
pub(super) fn value_run(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let plain = words.iter().position(|word| has_control(*word));
    let start = plain.unwrap_or(words.len()) * 8;
    start + run(&bytes[start..], VALUE)
}

/// Whether any of eight bytes is below 0x20 or 0x7f. Exact for "any", not for which one.
fn has_control(word: [u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let word = u64::from_ne_bytes(word);
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let not_del = word ^ (ONES * 0x7f);
    let del = not_del.wrapping_sub(ONES) & !not_del;
    (below_space | del) & HIGHS != 0
}

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class_of(byte as u8);
        byte += 1;
    }
    table
}

const fn class_of(byte: u8) -> u8 {
    let value = if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
        VALUE
    } else {
        0
    };
    let extension = if value != 0 && byte < 0x7f && byte != b'"' {
        EXTENSION
    } else {
        0
    };
    value | extension | grammar_of(byte)
}

const fn grammar_of(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' => TOKEN | PATH | QUERY | NAME,
        b'!' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'~' | b'%' => TOKEN | PATH | QUERY,
        b'(' | b')' | b',' | b';' | b'=' | b':' | b'@' | b'/' => PATH | QUERY,
        b'#' | b'^' | b'`' | b'|' => TOKEN,
        b'?' | b'[' | b']' => QUERY,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_run_of_a_value_is_the_slow_one() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut bytes = [b'v'; 20];
                bytes[at] = byte;
                assert_eq!(value_run(&bytes), run(&bytes, VALUE), "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn classes_are_those_of_the_rfcs() {
        let all = |class| (0..=u8::MAX).filter(|b| is(*b, class)).collect::<Vec<u8>>();
        let mut tchar = b"!#$%&'*+-.^_`|~0123456789".to_vec();
        tchar.extend((b'a'..=b'z').chain(b'A'..=b'Z'));
        tchar.sort_unstable();
        assert_eq!(all(TOKEN), tchar);
        assert_eq!(all(VALUE).len(), 256 - 33 + 1);
        assert!(all(PATH).iter().all(|b| is(*b, QUERY)));
        for byte in b"#?[]<>\"{}|\\^` \x7f\x80" {
            assert!(!is(*byte, PATH), "{byte:#x}");
        }
    }
}
