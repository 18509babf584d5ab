//! Checks the chain of an audit log, over the files that rotation made of it.
//!
//! Not here: what the lines say. A line is vouched for when a line whose seal is ours comes after it
//! (or is it), with the chain whole in between: so lines under a pepper that is long gone are still
//! good. Invariant: what is not vouched for is a finding, whatever else is.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::chain::{Chain, Head, HeadFile, Link};
use crate::secret::MacKeys;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Lines that were read.
    pub lines: u64,
    /// Lines from before there was a chain.
    pub unchained: u64,
    /// Lines that `gap` lines tell of: lost in a flood or on a full disk.
    pub lost: u64,
    /// The number of the first line.
    pub first: Option<u64>,
    /// The newest line.
    pub head: Option<Head>,
    /// What is wrong, in the order of the lines. None: nothing is.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// In which file.
    pub file: PathBuf,
    /// At which line of it, from 1.
    pub line: u64,
    /// What.
    #[serde(flatten)]
    pub kind: Flaw,
}

/// What is wrong at a line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Flaw {
    /// This line is not the one that was noted down elsewhere.
    Anchor {
        /// Its number.
        seq: u64,
    },
    /// The log ends here, and more was written.
    CutOff {
        /// The number of the newest line that was written.
        newest: u64,
    },
    /// The line before is not the one that this one was written after: one of the two was changed.
    Changed,
    /// Lines were removed before this one.
    Missing {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Another chain begins here.
    NewChain,
    /// This line was written before the one before it.
    OutOfOrder {
        /// Its number.
        seq: u64,
        /// That of the line before.
        after: u64,
    },
    /// No line of an audit log.
    Unreadable,
    /// A line without a link, within the chain.
    Unsealed,
    /// From here to the end no line is sealed by us.
    Unvouched,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Anchor { seq } => {
                write!(
                    f,
                    "line {seq} of the chain is not the one that was noted down"
                )
            }
            Flaw::CutOff { newest } => {
                write!(
                    f,
                    "the log ends here, but line {newest} of the chain was written"
                )
            }
            Flaw::Changed => f.write_str(
                "it was not written after the line before it: one of the two was changed",
            ),
            Flaw::Missing { from, to } if from == to => {
                write!(f, "line {from} of the chain is missing before it")
            }
            Flaw::Missing { from, to } => {
                write!(f, "lines {from} to {to} of the chain are missing before it")
            }
            Flaw::NewChain => f.write_str("another chain begins here"),
            Flaw::OutOfOrder { seq, after } => {
                write!(f, "line {seq} of the chain comes after line {after}")
            }
            Flaw::Unreadable => f.write_str("not a line of an audit log"),
            Flaw::Unsealed => f.write_str("a line without a seal"),
            Flaw::Unvouched => f.write_str(
                "from here to the end nothing is sealed under a pepper of this configuration",
            ),
        }
    }
}

/// Checks files, the oldest first, the newest last. `anchor` is a [`Head`]'s text, written down
/// earlier: that line has to be there as it was then.
pub fn verify(
    files: &[PathBuf],
    keys: &MacKeys,
    anchor: Option<(u64, &str)>,
) -> io::Result<Verification> {
    let mut reader = Reader {
        keys,
        anchor,
        unvouched: None,
        found: Verification {
            lines: 0,
            unchained: 0,
            lost: 0,
            first: None,
            head: None,
            findings: Vec::new(),
        },
    };
    for file in files {
        reader.read(file)?;
    }
    reader.conclude(files)
}

struct Reader<'a> {
    keys: &'a MacKeys,
    anchor: Option<(u64, &'a str)>,
    /// The first line since the last seal that is ours.
    unvouched: Option<(PathBuf, u64)>,
    found: Verification,
}

/// A line that is longer is none of ours.
const LONGEST_LINE: u64 = 1 << 20;

impl Reader<'_> {
    fn read(&mut self, file: &Path) -> io::Result<()> {
        let mut input = BufReader::new(File::open(file)?);
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            let read = (&mut input)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            number += 1;
            self.found.lines += 1;
            let whole = line.strip_suffix(b"\n");
            match whole.map(|line| (line, Link::parse(line))) {
                Some((line, Some(link))) => self.linked(file, number, line, &link),
                Some((line, None)) => self.unlinked(file, number, line),
                None => self.find(file, number, Flaw::Unreadable),
            }
        }
    }

    fn linked(&mut self, file: &Path, number: u64, line: &[u8], link: &Link) {
        if let Some(kind) = self.break_before(link) {
            self.find(file, number, kind);
        }
        self.found.first.get_or_insert(link.seq);
        self.found.lost += link.lost();
        if link.is_sealed(line, self.keys) {
            self.unvouched = None;
        } else if self.unvouched.is_none() {
            self.unvouched = Some((file.to_owned(), number));
        }
        let head = Head::of(link, line);
        if let Some((seq, noted)) = self.anchor
            && seq == head.seq
        {
            self.anchor = None;
            if noted != head.hash {
                self.find(file, number, Flaw::Anchor { seq });
            }
        }
        self.found.head = Some(head);
    }

    /// What is wrong between the line before and this one.
    fn break_before(&mut self, link: &Link) -> Option<Flaw> {
        let Some(before) = &self.found.head else {
            // The first line of all may follow one in a file that is not here. But what comes right
            // after lines without a link is the chain's beginning, or something was put in its place.
            let is_torn = self.found.unchained > 0 && link.seq > 0;
            return is_torn.then(|| Flaw::Missing {
                from: 0,
                to: link.seq - 1,
            });
        };
        let (seq, after) = (link.seq, before.seq);
        if link.chain != before.chain {
            Some(Flaw::NewChain)
        } else if seq <= after {
            Some(Flaw::OutOfOrder { seq, after })
        } else if seq > after + 1 {
            let (from, to) = (after + 1, seq - 1);
            Some(Flaw::Missing { from, to })
        } else if link.prev.as_ref() != Some(&before.hash) {
            Some(Flaw::Changed)
        } else {
            None
        }
    }

    fn unlinked(&mut self, file: &Path, number: u64, line: &[u8]) {
        let is_object = serde_json::from_slice::<serde_json::Map<_, _>>(line);
        match (is_object, &self.found.head) {
            (Ok(_), None) => self.found.unchained += 1,
            (Ok(_), Some(_)) => self.find(file, number, Flaw::Unsealed),
            (Err(_), _) => self.find(file, number, Flaw::Unreadable),
        }
    }

    fn find(&mut self, file: &Path, line: u64, kind: Flaw) {
        let file = file.to_owned();
        self.found.findings.push(Finding { file, line, kind });
    }

    fn conclude(mut self, files: &[PathBuf]) -> io::Result<Verification> {
        if let Some((file, line)) = self.unvouched.take() {
            self.find(&file, line, Flaw::Unvouched);
        }
        let Some(newest) = files.last() else {
            return Ok(self.found);
        };
        let end = self.found.lines;
        if let Some((seq, _)) = self.anchor {
            self.find(newest, end, Flaw::Anchor { seq });
        }
        let kept = match std::fs::read(HeadFile::path(newest)) {
            Ok(text) => Chain::new(self.keys.clone()).kept(&text),
            // Of a file that was moved away there is none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let head = self.found.head.as_ref();
        if let Some(kept) = kept
            && head.is_none_or(|head| head.chain != kept.chain || head.seq < kept.seq)
        {
            let newest_line = kept.seq;
            self.find(
                newest,
                end,
                Flaw::CutOff {
                    newest: newest_line,
                },
            );
        }
        Ok(self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::hash;
    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::observe::AuditSettings;
    use crate::observe::{Actor, AuditAction, AuditCopy, AuditEvent, AuditLog, AuditOutcome};
    use crate::secret::{Pepper, Peppers, Purpose};

    fn keys(pepper: u8) -> MacKeys {
        MacKeys::new(&Peppers::from(Pepper::of_test(pepper)), Purpose::AuditSeals)
    }

    fn write(file: &Path, keys: MacKeys, reasons: &[&'static str]) {
        let settings = AuditSettings {
            file: file.to_owned(),
            copy: AuditCopy::Nowhere,
        };
        let dropped = prometheus::IntCounter::new("dropped", "dropped").expect("a name");
        let clock = Clock::manual(Timestamp::from_secs(1_790_000_000));
        let log = AuditLog::open(&settings, keys, clock, dropped).expect("opens");
        let (action, actor) = (AuditAction::ConfigReload, Actor::Gateway);
        for reason in reasons {
            log.record(AuditEvent::new(action, actor, AuditOutcome::Done).reason(*reason));
        }
    }

    /// A log of five lines, in the state of its head file.
    fn log(folder: &Path) -> (PathBuf, Vec<String>) {
        let file = folder.join("audit.jsonl");
        write(&file, keys(b'a'), &["a", "b"]);
        write(&file, keys(b'a'), &["c", "d", "e"]);
        let text = std::fs::read_to_string(&file).expect("readable");
        (file, text.lines().map(String::from).collect())
    }

    fn found(lines: &[&str]) -> Vec<(u64, Flaw)> {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, _) = log(folder.path());
        let head = HeadFile::path(&file);
        std::fs::remove_file(&head).expect("the head file");
        found_in(&file, lines)
    }

    fn found_in(file: &Path, lines: &[&str]) -> Vec<(u64, Flaw)> {
        std::fs::write(file, lines.join("\n") + "\n").expect("writable");
        let found = verify(&[file.to_owned()], &keys(b'a'), None).expect("readable");
        let findings = found.findings.into_iter();
        findings
            .map(|finding| (finding.line, finding.kind))
            .collect()
    }

    #[test]
    fn a_whole_log_has_no_findings_and_a_process_goes_on_where_the_last_one_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, lines) = log(folder.path());
        let found = verify(&[file], &keys(b'a'), None).expect("readable");
        assert_eq!(found.findings, []);
        assert_eq!((found.lines, found.first, found.lost), (5, Some(0), 0));
        let head = found.head.expect("lines");
        assert_eq!((head.seq, head.hash), (4, hash(lines[4].as_bytes())));
    }

    #[test]
    fn what_was_done_to_a_line_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, lines) = log(folder.path());
        let [a, b, c, d, e]: [&str; 5] = std::array::from_fn(|index| lines[index].as_str());
        let removed = |from, to| Flaw::Missing { from, to };
        assert_eq!(found(&[a, b, d, e]), [(3, removed(2, 2))]);
        assert_eq!(found(&[a, e]), [(2, removed(1, 3))]);
        let order = |seq, after| Flaw::OutOfOrder { seq, after };
        let swapped = [(3, removed(2, 2)), (4, order(2, 3)), (5, removed(3, 3))];
        assert_eq!(found(&[a, b, d, c, e]), swapped);
        assert_eq!(found(&[a, b, b, c, d, e]), [(3, order(1, 1))]);
        let changed = c.replace(r#""reason":"c""#, r#""reason":"x""#);
        assert_eq!(found(&[a, b, &changed, d, e]), [(4, Flaw::Changed)]);
        let last = e.replace(r#""reason":"e""#, r#""reason":"x""#);
        assert_eq!(found(&[a, b, c, d, &last]), [(5, Flaw::Unvouched)]);
        let forged = r#"{"event":"key_create","outcome":"done"}"#;
        assert_eq!(found(&[a, b, forged, c, d, e]), [(3, Flaw::Unsealed)]);
        assert_eq!(found(&[a, b, "x", c, d, e]), [(3, Flaw::Unreadable)]);
        // In the place of the first lines, as if they were from before the chain.
        assert_eq!(found(&[forged, forged, c, d, e]), [(3, removed(0, 1))]);
        assert_eq!(found(&[c, d, e]), [], "older files may have the rest");
    }

    #[test]
    fn whoever_lacks_the_pepper_cannot_go_on_with_the_chain() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, lines) = log(folder.path());
        let mut forger = Chain::new(keys(b'z'));
        let second = Link::parse(lines[1].as_bytes()).expect("a link");
        forger.head = Some(Head::of(&second, lines[1].as_bytes()));
        let mut forged = Vec::new();
        for reason in ["x", "d", "e"] {
            let object = format!(r#"{{"event":"config_reload","reason":"{reason}"}}"#);
            forger.link(object.as_bytes(), &mut forged);
        }
        let forged = String::from_utf8(forged).expect("text");
        let mut all = vec![lines[0].as_str(), &lines[1]];
        all.extend(forged.lines());
        assert_eq!(found(&all), [(3, Flaw::Unvouched)]);

        // Nor does the gateway go on with what it did not write.
        let file = folder.path().join("other.jsonl");
        std::fs::write(&file, all.join("\n") + "\n").expect("writable");
        write(&file, keys(b'a'), &["f"]);
        let found = verify(&[file], &keys(b'a'), None).expect("readable");
        let kinds = found
            .findings
            .into_iter()
            .map(|finding| (finding.line, finding.kind));
        assert_eq!(kinds.collect::<Vec<_>>(), [(6, Flaw::NewChain)]);
    }

    #[test]
    fn lines_cut_off_at_the_end_are_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, lines) = log(folder.path());
        let [a, b, c, ..] = lines.as_slice() else {
            panic!("five lines")
        };
        let cut = Flaw::CutOff { newest: 4 };
        assert_eq!(found_in(&file, &[a, b, c]), [(3, cut)]);
        // And the next lines do not hide it.
        write(&file, keys(b'a'), &["f"]);
        let found = verify(&[file], &keys(b'a'), None).expect("readable");
        let missing = Flaw::Missing { from: 3, to: 4 };
        assert_eq!(found.findings[0].kind, missing);
    }

    #[test]
    fn rotation_and_another_pepper_keep_the_chain_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, _) = log(folder.path());
        let older = folder.path().join("audit.jsonl.1");
        std::fs::rename(&file, &older).expect("moves");
        let changed = Peppers::from(Pepper::of_test(b'b')).with_previous(Pepper::of_test(b'a'));
        let changed = MacKeys::new(&changed.expect("two"), Purpose::AuditSeals);
        write(&file, changed, &["f"]);
        // The pepper before is gone by now; the lines under it are vouched for all the same.
        let files = [older.clone(), file.clone()];
        let both = verify(&files, &keys(b'b'), None).expect("readable");
        assert_eq!((both.findings, both.lines), (vec![], 6));
        let newest = verify(&[file], &keys(b'b'), None).expect("readable");
        assert_eq!((newest.findings, newest.first), (vec![], Some(5)));
        let oldest = verify(&[older], &keys(b'b'), None).expect("readable");
        assert_eq!(oldest.findings[0].kind, Flaw::Unvouched);
    }

    #[test]
    fn an_anchor_holds_a_log_to_what_was_noted_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, lines) = log(folder.path());
        let files = [file];
        let of = |seq, hash: &str| {
            let found = verify(&files, &keys(b'a'), Some((seq, hash))).expect("readable");
            found
                .findings
                .into_iter()
                .map(|f| (f.line, f.kind))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(2, &hash(lines[2].as_bytes())), []);
        assert_eq!(of(2, "x"), [(3, Flaw::Anchor { seq: 2 })]);
        assert_eq!(of(9, "x"), [(5, Flaw::Anchor { seq: 9 })]);
    }

    #[test]
    fn lines_from_before_there_was_a_chain_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("audit.jsonl");
        std::fs::write(&file, "{\"event\":\"key_create\"}\n{\"event\":\"to").expect("writable");
        write(&file, keys(b'a'), &["a"]);
        let found = verify(&[file], &keys(b'a'), None).expect("readable");
        assert_eq!(
            (found.findings.as_slice(), found.unchained),
            ([].as_slice(), 1)
        );
        // The torn line, and then the one that was written.
        assert_eq!((found.lines, found.lost), (3, 1));
    }
}
