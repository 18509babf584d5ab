//! An export: entries in JSON Lines, between a head that says what it is and an end that says that
//! it is whole.
//!
//! ```text
//! {"portcullis_export":1,"created_at":"…","from":"embedded","peppers":["…"]}
//! {"denial":{…}}                            an entry a line
//! {"end":{"entries":1,"sha256":"…"}}        of every byte before this line
//! ```
//!
//! Not here: what an entry is. Invariants: a file without its end, with a byte altered or with a
//! line that this version does not know is refused as a whole; no error quotes what is in a line;
//! no more than one line is in memory.

use std::io::{self, BufRead, Read as _};

use aws_lc_rs::digest::{Context, SHA256};

use crate::store::StoreError;

use super::Entry;

/// The only form of the file that there is.
const VERSION: u64 = 1;
/// The longest line. What a store keeps in one place is far shorter.
const LONGEST: u64 = 4 * 1024 * 1024;
/// How the last line begins.
const END: &[u8] = br#"{"end":"#;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportHead {
    portcullis_export: u64,
    /// When it was made.
    pub created_at: String,
    /// The kind of store that it was made of.
    pub from: String,
    /// What tells the peppers that its digests were made under, the current one first.
    pub peppers: Vec<String>,
}

/// The last line.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LastLine {
    end: End,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    entries: u64,
    sha256: String,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ExportProblem {
    /// Bytes are not those that were written.
    #[error("it was altered: its check sum is another one")]
    Altered,
    /// The end is missing.
    #[error("it has no end: it was cut, or its export broke off")]
    Cut,
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// A line is not one of those that there are.
    #[error("its line {number} is not known to this version: {why}")]
    Line {
        /// Which, from 1.
        number: u64,
        /// What of it. Never what is in it.
        why: String,
    },
    /// Something comes after the end.
    #[error("something comes after its end")]
    NotTheEnd,
    /// The first line is not that of an export.
    #[error("it is no export of a Portcullis store")]
    NoExport,
    /// A newer form.
    #[error("it was made by a newer version: its form is {0}, and this version reads {VERSION}")]
    Version(u64),
}

/// Writes the lines.
pub struct ExportWriter {
    sum: Context,
    entries: u64,
}

impl ExportWriter {
    /// Begins, with the first line at the end of `to`.
    pub fn begin(
        created_at: impl std::fmt::Display,
        from: &str,
        peppers: Vec<String>,
        to: &mut Vec<u8>,
    ) -> ExportWriter {
        let mut writer = ExportWriter {
            sum: Context::new(&SHA256),
            entries: 0,
        };
        let head = ExportHead {
            portcullis_export: VERSION,
            created_at: created_at.to_string(),
            from: from.into(),
            peppers,
        };
        writer.line(&head, to);
        writer
    }

    /// Writes an entry at the end of `to`.
    pub fn entry(&mut self, entry: &Entry, to: &mut Vec<u8>) {
        self.line(entry, to);
        self.entries += 1;
    }

    /// Ends; answers how many entries there are.
    pub fn end(mut self, to: &mut Vec<u8>) -> u64 {
        let end = End {
            entries: self.entries,
            sha256: hex(self.sum.clone()),
        };
        self.line(&LastLine { end }, to);
        self.entries
    }

    fn line(&mut self, line: &impl serde::Serialize, to: &mut Vec<u8>) {
        let begin = to.len();
        serde_json::to_writer(&mut *to, line)
            .expect("the lines have only text keys and no failing parts, and memory takes them");
        to.push(b'\n');
        self.sum.update(&to[begin..]);
    }
}

/// Reads the lines. After the first error, or the end, there is nothing more to read.
pub struct ExportReader<R> {
    from: R,
    head: ExportHead,
    sum: Context,
    number: u64,
    line: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> ExportReader<R> {
    /// Begins, with the first line.
    pub fn begin(mut from: R) -> Result<ExportReader<R>, ExportProblem> {
        let mut line = Vec::new();
        if !read_line(&mut from, &mut line)? {
            return Err(ExportProblem::NoExport);
        }
        let mut sum = Context::new(&SHA256);
        sum.update(&line);
        let head = parse_head(&line)?;
        Ok(ExportReader {
            from,
            head,
            sum,
            number: 1,
            line,
            ended: false,
        })
    }

    /// What the first line says.
    pub fn head(&self) -> &ExportHead {
        &self.head
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, ExportProblem> {
        self.line.clear();
        if !read_line(&mut self.from, &mut self.line)? {
            return Err(ExportProblem::Cut);
        }
        self.number += 1;
        if self.line.starts_with(END) {
            return self.check_end().map(|()| None);
        }
        self.sum.update(&self.line);
        let number = self.number;
        let refuse = |why| ExportProblem::Line { number, why };
        let entry: Entry = serde_json::from_slice(&self.line).map_err(|e| refuse(words(&e)))?;
        entry.check().map_err(|error| match error {
            StoreError::Corrupt(why) => refuse(why),
            other => refuse(other.to_string()),
        })?;
        Ok(Some(entry))
    }

    fn check_end(&mut self) -> Result<(), ExportProblem> {
        // A last line that was cut is no last line.
        let last: LastLine = serde_json::from_slice(&self.line).map_err(|_| ExportProblem::Cut)?;
        // Head and end are lines as well.
        let entries = self.number - 2;
        if last.end.sha256 != hex(self.sum.clone()) || last.end.entries != entries {
            return Err(ExportProblem::Altered);
        }
        match self.from.fill_buf()?.is_empty() {
            true => Ok(()),
            false => Err(ExportProblem::NotTheEnd),
        }
    }
}

impl<R: BufRead> Iterator for ExportReader<R> {
    type Item = Result<Entry, ExportProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_entry().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Reads a line with its end. `false` is that there is none, or one without an end.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, ExportProblem> {
    from.take(LONGEST).read_until(b'\n', line)?;
    Ok(line.ends_with(b"\n"))
}

fn parse_head(line: &[u8]) -> Result<ExportHead, ExportProblem> {
    /// Any version has this.
    #[derive(serde::Deserialize)]
    struct Version {
        portcullis_export: u64,
    }
    let version: Version = serde_json::from_slice(line).map_err(|_| ExportProblem::NoExport)?;
    match version.portcullis_export {
        VERSION => {}
        other => return Err(ExportProblem::Version(other)),
    }
    serde_json::from_slice(line).map_err(|error| ExportProblem::Line {
        number: 1,
        why: words(&error),
    })
}

/// What serde says of names, and of nothing else: a value may be a password's hash.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.starts_with("unknown field") || text.starts_with("unknown variant") {
        true => text,
        false => format!("at its byte {}", error.column()),
    }
}

fn hex(sum: Context) -> String {
    let sum = sum.finish();
    let bytes = sum.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::store::{Denial, DenialKind};

    fn denial(id: &str) -> Entry {
        Entry::Denial(Denial {
            kind: DenialKind::Jti,
            id: id.into(),
            at: Timestamp::from_millis(7),
        })
    }

    fn whole() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ExportWriter::begin("now", "embedded", vec!["p".into()], &mut bytes);
        writer.entry(&denial("a"), &mut bytes);
        writer.entry(&denial("b"), &mut bytes);
        assert_eq!(writer.end(&mut bytes), 2);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Entry>, ExportProblem> {
        ExportReader::begin(bytes)?.collect()
    }

    #[test]
    fn the_lines_are_as_they_are_told_above() {
        let text = String::from_utf8(whole()).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"portcullis_export":1,"created_at":"now","from":"embedded","peppers":["p"]}"#
        );
        assert_eq!(lines[1], r#"{"denial":{"kind":"jti","id":"a","at":7}}"#);
        assert!(lines[3].starts_with(r#"{"end":{"entries":2,"sha256":""#));
        assert_eq!(read(&whole()).expect("whole"), [denial("a"), denial("b")]);
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_refused() {
        let whole = whole();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes");
        }
        let mut more = whole;
        more.extend_from_slice(b"\n");
        assert!(matches!(read(&more), Err(ExportProblem::NotTheEnd)));
    }

    #[test]
    fn a_byte_that_was_altered_is_noticed_wherever_it_is() {
        let whole = whole();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(read(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_and_not_skipped() {
        let with = |line: &str| {
            let text = String::from_utf8(whole()).expect("text");
            let mut lines: Vec<&str> = text.lines().collect();
            lines[2] = line;
            let error = read((lines.join("\n") + "\n").as_bytes()).expect_err("refused");
            error.to_string()
        };
        for (line, why) in [
            (r#"{"banishment":{}}"#, "unknown variant `banishment`"),
            (
                r#"{"denial":{"kind":"jti","id":"a","at":7,"except":"me"}}"#,
                "unknown field `except`",
            ),
            (
                r#"{"document":{"place":"x:1","until":null,"text":"secret"}}"#,
                "documents of a kind that this version does not know: \"x\"",
            ),
            (
                r#"{"document":{"place":"i:1","until":null,"text":"secret"}}"#,
                "a document that is not carried: i",
            ),
            (
                r#"{"document":{"place":"cl:1","until":null,"text":"{\"secret\":1}"}}"#,
                "a ClientRecord, at its byte 9",
            ),
            (
                r#"{"document":{"place":"sid:1","until":null,"text":"\"secret\""}}"#,
                "the digest of a session's id",
            ),
            (
                r#"{"listing":{"index":"x:1","member":"00000000000000:a"}}"#,
                "a list of the unknown kind \"x\"",
            ),
            (
                r#"{"listing":{"index":"users:","member":"secret"}}"#,
                "an entry of a list",
            ),
            (r#"{"denial":"secret"}"#, "at its byte 18"),
        ] {
            let told = with(line);
            let expected = format!("its line 3 is not known to this version: {why}");
            assert!(told.starts_with(&expected), "{line}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
        assert!(matches!(read(b"{}\n"), Err(ExportProblem::NoExport)));
        let newer = br#"{"portcullis_export":2,"new":1}"#;
        let newer = [newer.as_slice(), b"\n"].concat();
        assert!(matches!(read(&newer), Err(ExportProblem::Version(2))));
    }
}
