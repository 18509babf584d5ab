//! Cuts a stream of bytes into lines without keeping more than one.
//!
//! Invariant: memory is bounded by [`LONGEST`] whatever comes; there is one buffer, which never
//! grows and is zeroed at the end, because it held keys.

use zeroize::Zeroizing;

/// The longest line, in bytes.
pub(super) const LONGEST: usize = 16 * 1024;

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// All of it.
    Text(&'a [u8]),
    /// Longer than [`LONGEST`]; its bytes were let go.
    TooLong,
}

/// The cutter.
pub(super) struct Lines {
    buffer: Zeroizing<Vec<u8>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The buffer holds a line that was handed out.
    Ended,
    /// The buffer holds the beginning of a line.
    Open,
    /// The line does not fit into the buffer.
    Overlong,
    /// The same, and it was handed out.
    OverlongEnded,
}

impl Lines {
    pub(super) fn new() -> Lines {
        Lines {
            buffer: Zeroizing::new(Vec::with_capacity(LONGEST)),
            state: State::Open,
        }
    }

    /// Takes bytes from the front of `input` up to a line's end. `None` is that there was none,
    /// and all of `input` was taken.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Option<Line<'_>> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let (text, rest) = match end {
            Some(end) => (&input[..end], &input[end + 1..]),
            None => (*input, &input[input.len()..]),
        };
        *input = rest;
        self.extend(text);
        end.map(|_| self.end())
    }

    /// The last line, which need not be ended.
    pub(super) fn last(&mut self) -> Line<'_> {
        self.extend(b"");
        self.end()
    }

    fn extend(&mut self, text: &[u8]) {
        if matches!(self.state, State::Ended | State::OverlongEnded) {
            self.buffer.clear();
            self.state = State::Open;
        }
        if self.buffer.len() + text.len() > LONGEST {
            self.state = State::Overlong;
        } else if self.state == State::Open {
            self.buffer.extend_from_slice(text);
        }
    }

    fn end(&mut self) -> Line<'_> {
        if self.state == State::Overlong {
            self.state = State::OverlongEnded;
            return Line::TooLong;
        }
        self.state = State::Ended;
        Line::Text(&self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(line: &Line<'_>) -> Option<Vec<u8>> {
        match line {
            Line::Text(text) => Some(text.to_vec()),
            Line::TooLong => None,
        }
    }

    #[test]
    fn lines_come_whole_however_the_bytes_are_split() {
        let whole = b"one\ntwo\r\n\nthree";
        let expected = [&b"one"[..], b"two\r", b"", b"three"].map(|line| Some(line.to_vec()));
        for size in 1..=whole.len() {
            let mut lines = Lines::new();
            let mut got = Vec::new();
            for mut chunk in whole.chunks(size) {
                while let Some(line) = lines.next(&mut chunk) {
                    got.push(owned(&line));
                }
            }
            got.push(owned(&lines.last()));
            assert_eq!(got, expected, "in chunks of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_let_go_and_the_next_one_is_whole() {
        let mut lines = Lines::new();
        for _ in 0..100 {
            assert_eq!(lines.next(&mut [b'x'; 1024].as_slice()), None);
        }
        let mut input = b"x\nnext\n".as_slice();
        assert_eq!(lines.next(&mut input), Some(Line::TooLong));
        assert_eq!(lines.next(&mut input), Some(Line::Text(b"next")));
        assert_eq!(lines.last(), Line::Text(b""));
    }
}
