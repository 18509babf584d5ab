//! The chain that the lines of an audit log form, and the file that says where it stands.
//!
//! ```text
//! {"time":…,"event":…,…,"chain":"9f…","seq":41,"prev":"SHA-256 of line 40","seal":"MAC of all before"}
//! ```
//!
//! `prev` makes each line vouch for every one before it, and can be checked by anyone; the `seal` is
//! under a key that follows from the pepper, so whoever can write the file cannot go on with the
//! chain. The head file beside the log (`PATH.head`) holds the newest line's number and hash: it
//! shows lines cut off at the end, carries the chain over rotation, and its lock keeps two processes
//! apart that append to one log. Not here: when lines are written, and what is in them. Invariant: a
//! line is linked to the newest one that is known to be ours.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret::{MacKeys, random_bytes};

/// Where a chain stands: its newest line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Tells chains apart: 16 hex digits.
    pub(super) chain: String,
    /// Its number; a chain's first line is 0.
    pub(super) seq: u64,
    /// SHA-256 of the line without its line end, as unpadded base64url.
    pub(super) hash: String,
}

/// The members of a line that make it part of a chain.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Link {
    pub(super) chain: String,
    pub(super) seq: u64,
    /// Of a chain's first line there is none.
    pub(super) prev: Option<String>,
    seal: String,
    /// Of a `gap` line.
    count: Option<u64>,
    event: String,
}

/// The chain of one log, while it is written.
#[derive(Debug)]
pub(super) struct Chain {
    keys: MacKeys,
    pub(super) head: Option<Head>,
}

/// The head file, and its lock.
#[derive(Debug)]
pub(super) struct HeadFile(File);

/// What is in the head file.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedHead {
    #[serde(flatten)]
    head: Head,
    seal: String,
}

/// How a log file ends.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The last whole line, without its line end.
    pub(super) line: Option<Vec<u8>>,
    /// Bytes after the last line end: a line that was never finished.
    pub(super) torn: u64,
}

/// No line of ours is longer.
const LONGEST_LINE: u64 = 1 << 20;
const SEAL: &[u8] = b",\"seal\":\"";

impl Head {
    pub(super) fn of(link: &Link, line: &[u8]) -> Head {
        Head {
            chain: link.chain.clone(),
            seq: link.seq,
            hash: hash(line),
        }
    }

    /// As it is written down elsewhere: `SEQ:HASH`.
    pub fn to_text(&self) -> String {
        format!("{}:{}", self.seq, self.hash)
    }

    fn message(&self) -> String {
        format!("head {} {} {}", self.chain, self.seq, self.hash)
    }
}

impl Link {
    /// The link of a line, if it has one.
    pub(super) fn parse(line: &[u8]) -> Option<Link> {
        serde_json::from_slice(line).ok()
    }

    /// Lines that this one says were lost, if it is there to say so.
    pub(super) fn lost(&self) -> u64 {
        match self.event.as_str() {
            "gap" => self.count.unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether the line, whose link this is, is sealed with one of these keys.
    pub(super) fn is_sealed(&self, line: &[u8], keys: &MacKeys) -> bool {
        let ending = [SEAL, self.seal.as_bytes(), b"\"}"].concat();
        line.strip_suffix(ending.as_slice())
            .is_some_and(|message| keys.is_text_of(&[message], self.seal.as_bytes()))
    }
}

impl Chain {
    pub(super) fn new(keys: MacKeys) -> Chain {
        Chain { keys, head: None }
    }

    pub(super) fn set_keys(&mut self, keys: MacKeys) {
        self.keys = keys;
    }

    /// Goes on from where a log stands: its last line, or the head file where that says more.
    pub(super) fn resume(&mut self, tail: Option<&[u8]>, kept: Option<Head>) {
        let sealed = |line: &[u8]| {
            let link = Link::parse(line)?;
            let sealed = link.is_sealed(line, &self.keys);
            sealed.then(|| Head::of(&link, line))
        };
        self.head = match (tail.and_then(sealed), kept) {
            // Written, and not yet noted in the head file.
            (Some(last), Some(kept)) if last.chain == kept.chain && last.seq > kept.seq => {
                Some(last)
            }
            (_, Some(kept)) => Some(kept),
            (last, None) => last,
        };
    }

    /// What the head file holds, if it is ours.
    pub(super) fn kept(&self, text: &[u8]) -> Option<Head> {
        let SealedHead { head, seal } = serde_json::from_slice(text).ok()?;
        let message = head.message();
        let ours = self.keys.is_text_of(&[message.as_bytes()], seal.as_bytes());
        ours.then_some(head)
    }

    /// What the head file is to hold.
    pub(super) fn to_keep(&self) -> Option<Vec<u8>> {
        let head = self.head.clone()?;
        let seal = self.keys.make(&[head.message().as_bytes()]).to_text();
        serde_json::to_vec(&SealedHead { head, seal }).ok()
    }

    /// Another process may have written to the same log meanwhile.
    pub(super) fn catch_up(&mut self, kept: Option<Head>) {
        let Some(kept) = kept else { return };
        let behind = |head: &Head| head.chain != kept.chain || head.seq < kept.seq;
        if self.head.as_ref().is_none_or(behind) {
            self.head = Some(kept);
        }
    }

    /// Makes a JSON object the next line of the chain, and appends it.
    pub(super) fn link(&mut self, object: &[u8], lines: &mut Vec<u8>) {
        let start = lines.len();
        lines.extend_from_slice(object.strip_suffix(b"}").unwrap_or(object));
        let (chain, seq) = match &self.head {
            None => (format!("{:016x}", u64::from_le_bytes(random_bytes())), 0),
            Some(head) => (head.chain.clone(), head.seq + 1),
        };
        lines.extend_from_slice(format!(r#","chain":"{chain}","seq":{seq}"#).as_bytes());
        if let Some(head) = &self.head {
            lines.extend_from_slice(format!(r#","prev":"{}""#, head.hash).as_bytes());
        }
        let seal = self.keys.make(&[&lines[start..]]).to_text();
        lines.extend_from_slice(SEAL);
        lines.extend_from_slice(seal.as_bytes());
        lines.extend_from_slice(b"\"}");
        let hash = hash(&lines[start..]);
        self.head = Some(Head { chain, seq, hash });
        lines.push(b'\n');
    }
}

impl HeadFile {
    /// The head file of a log.
    pub(super) fn path(log: &Path) -> PathBuf {
        let mut path = log.as_os_str().to_owned();
        path.push(".head");
        path.into()
    }

    pub(super) fn open(log: &Path) -> io::Result<HeadFile> {
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true).mode(0o600);
        options.open(HeadFile::path(log)).map(HeadFile)
    }

    /// Waits for the lock; what the file holds.
    pub(super) fn lock(&mut self) -> io::Result<Vec<u8>> {
        self.0.lock()?;
        self.0.seek(SeekFrom::Start(0))?;
        let mut text = Vec::new();
        (&self.0).take(LONGEST_LINE).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Replaces what it holds. A crash in between leaves what is no head; then the log's last line
    /// counts.
    pub(super) fn keep(&mut self, text: &[u8]) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all(text)
    }

    pub(super) fn unlock(&mut self) -> io::Result<()> {
        self.0.unlock()
    }
}

impl Tail {
    /// Reads the end of a log.
    pub(super) fn read(log: &Path) -> io::Result<Tail> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(LONGEST_LINE);
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.take(LONGEST_LINE).read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        let Some(end) = whole else {
            let torn = text.len() as u64;
            return Ok(Tail { line: None, torn });
        };
        let torn = (text.len() - end - 1) as u64;
        let start = text[..end].iter().rposition(|byte| *byte == b'\n');
        let line = text[start.map_or(0, |start| start + 1)..end].to_vec();
        Ok(Tail {
            line: Some(line),
            torn,
        })
    }
}

pub(super) fn hash(line: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, line))
}
