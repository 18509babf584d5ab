//! Slots: which one a command is about, and which server has it.
//!
//! Not here: asking servers. Invariant: a command whose key is not known is not guessed at; it has
//! no slot ([`slot_of`]).

use ::redis::{Arg, Cmd, FromRedisValue as _, Value};

use crate::store::redis::settings::Address;

/// How many there are.
pub(super) const SLOTS: u16 = 16384;

/// The slot that a command is about: that of its first key, since all keys of one command lie in
/// one slot ([`crate::store::redis::layout`]). `None` for commands without a key.
pub(super) fn slot_of(command: &Cmd) -> Option<u16> {
    let arguments: Vec<&[u8]> = command
        .args_iter()
        .map(|argument| match argument {
            Arg::Simple(bytes) => bytes,
            // Cursors of the crate's own iterators, which we do not use.
            _ => &b""[..],
        })
        .collect();
    let name = arguments.first()?.to_ascii_uppercase();
    let key = match name.as_slice() {
        b"PING" | b"INFO" | b"SCRIPT" | b"TIME" | b"WAIT" | b"CLUSTER" | b"SCAN" | b"DBSIZE" => {
            return None;
        }
        b"EVAL" | b"EVALSHA" => arguments.get(3),
        b"XREAD" => {
            let streams = arguments
                .iter()
                .position(|argument| *argument == b"STREAMS")?;
            arguments.get(streams + 1)
        }
        _ => arguments.get(1),
    };
    key.map(|key| slot(key))
}

/// CRC-16/XMODEM of the key, or of what stands between its first braces.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tagged = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    let mut crc: u16 = 0;
    for byte in tagged.unwrap_or(key) {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc % SLOTS
}

/// Who has which slots, as one server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shares(Vec<(u16, u16, Address)>);

impl Shares {
    /// From the answer to `CLUSTER SLOTS` of the server at `asked`, which leaves out its own host
    /// where it does not know it.
    pub(super) fn parse(answer: Value, asked: &Address) -> Option<Shares> {
        let ranges: Vec<Vec<Value>> = Vec::from_redis_value(answer).ok()?;
        let mut shares = Vec::with_capacity(ranges.len());
        for range in ranges {
            let mut parts = range.into_iter();
            let first = u16::from_redis_value(parts.next()?).ok()?;
            let last = u16::from_redis_value(parts.next()?).ok()?;
            // The primary comes first, its replicas after it.
            let mut primary = Vec::<Value>::from_redis_value(parts.next()?)
                .ok()?
                .into_iter();
            let host = Option::<String>::from_redis_value(primary.next()?).ok()?;
            let port = u16::from_redis_value(primary.next()?).ok()?;
            let host = host.filter(|host| !host.is_empty() && host != "?");
            let host = host.unwrap_or_else(|| asked.host.clone());
            shares.push((first, last.min(SLOTS - 1), Address { host, port }));
        }
        shares.sort();
        Some(Shares(shares))
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        let at = self.0.partition_point(|(first, ..)| *first <= slot);
        let (_, last, owner) = self.0.get(at.checked_sub(1)?)?;
        (slot <= *last).then_some(owner)
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = &Address> {
        self.0.iter().map(|(.., owner)| owner)
    }
}

/// What a server says of itself: who it is, since when it has its slots, which these are, and
/// whether some are moving.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store::redis) struct OwnShare {
    id: String,
    epoch: String,
    slots: Vec<(u16, u16)>,
    moving: bool,
}

impl OwnShare {
    /// From its answer to `CLUSTER NODES`. Only a server's own line tells of slots that are moving.
    pub(in crate::store::redis) fn parse(nodes: &str) -> Option<OwnShare> {
        let is_own = |flags: &str| flags.split(',').any(|flag| flag == "myself");
        let mut lines = nodes.lines().map(|line| line.split_whitespace());
        let mut own = lines.find(|words| words.clone().nth(2).is_some_and(is_own))?;
        // Id, address, flags, primary, ping, pong, epoch, link; then slots.
        let id = own.next()?.to_owned();
        let epoch = own.nth(5)?.to_owned();
        let _link = own.next()?;
        let (mut slots, mut moving) = (Vec::new(), false);
        for word in own {
            if word.starts_with('[') {
                moving = true;
                continue;
            }
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            slots.push((first.parse().ok()?, last.parse().ok()?));
        }
        Some(OwnShare {
            id,
            epoch,
            slots,
            moving,
        })
    }

    pub(in crate::store::redis) fn is_moving(&self) -> bool {
        self.moving
    }
}

/// Whether each slot is one server's, and no more than one's.
pub(in crate::store::redis) fn is_whole<'a>(shares: impl Iterator<Item = &'a OwnShare>) -> bool {
    let mut slots: Vec<(u16, u16)> = shares.flat_map(|share| share.slots.clone()).collect();
    slots.sort_unstable();
    let mut next = 0;
    for (first, last) in slots {
        if first != next || last < first || last >= SLOTS {
            return false;
        }
        next = last + 1;
    }
    next == SLOTS
}

/// Where a server sends a command that it does not carry out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirection {
    /// The slot is another server's now.
    Moved(Address),
    /// This key, if there is one, is at another server already.
    Ask(Address),
    /// The keys of this command are at two servers at the moment.
    TryAgain,
}

impl Redirection {
    pub(super) fn of(answer: &Value, asked: &Address) -> Option<Redirection> {
        let Value::ServerError(error) = answer else {
            return None;
        };
        let target = || {
            let (host, port) = error
                .details()?
                .split_whitespace()
                .nth(1)?
                .rsplit_once(':')?;
            let host = if host.is_empty() { &asked.host } else { host };
            Some(Address {
                host: host.to_owned(),
                port: port.parse().ok()?,
            })
        };
        match error.code() {
            "MOVED" => target().map(Redirection::Moved),
            "ASK" => target().map(Redirection::Ask),
            "TRYAGAIN" => Some(Redirection::TryAgain),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::redis::cmd;

    fn at(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    /// The values of the Cluster specification, and of `CLUSTER KEYSLOT`.
    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b""), 0);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), slot(b"foo{}{bar}"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"pc:{rev}:log"), slot(b"rev"));
    }

    const NODES: &str = "\
        07c3 127.0.0.1:1@2 slave e7d1 0 1426238317239 4 connected\n\
        e7d1 127.0.0.1:3@4,a.internal myself,master - 0 0 7 connected 0-5460 5462\n\
        67ed 127.0.0.1:5@6 master - 0 1426238316232 2 connected 5461 5463-16383\n";

    #[test]
    fn a_server_s_own_line_tells_what_it_has() {
        let own = OwnShare::parse(NODES).expect("its line is there");
        let expected = OwnShare {
            id: "e7d1".into(),
            epoch: "7".into(),
            slots: vec![(0, 5460), (5462, 5462)],
            moving: false,
        };
        assert_eq!(own, expected);
        for mark in ["[93->-67ed]", "[93-<-67ed]"] {
            let nodes = NODES.replace(" 5462", &format!(" 5462 {mark}"));
            let moving = OwnShare::parse(&nodes).expect("its line is there");
            assert!(moving.is_moving() && moving != own);
        }
        assert_eq!(OwnShare::parse(&NODES.replace("myself,", "")), None);
        assert_eq!(OwnShare::parse(&NODES.replace(" 0-5460", " 0-x")), None);
        assert_eq!(OwnShare::parse(""), None);
    }

    #[test]
    fn shares_are_whole_where_each_slot_is_in_one() {
        let whole = |shares: &[&[(u16, u16)]]| {
            let shares = shares.iter().map(|slots| OwnShare {
                id: String::new(),
                epoch: String::new(),
                slots: slots.to_vec(),
                moving: false,
            });
            is_whole(shares.collect::<Vec<_>>().iter())
        };
        assert!(whole(&[&[(0, 16383)]]));
        assert!(whole(&[&[(5, 16383)], &[(0, 3), (4, 4)]]));
        assert!(!whole(&[]));
        assert!(!whole(&[&[(0, 16382)]]));
        assert!(!whole(&[&[(0, 4)], &[(6, 16383)]]));
        assert!(!whole(&[&[(0, 5)], &[(5, 16383)]]));
        assert!(!whole(&[&[(0, 65535)]]));
    }

    #[test]
    fn a_command_is_about_the_slot_of_its_key() {
        let mut script = cmd("EVALSHA");
        script.arg("f00").arg(1).arg("foo").arg("bar");
        assert_eq!(slot_of(&script), Some(12182));
        let mut read = cmd("XREAD");
        read.arg("COUNT")
            .arg(1)
            .arg("STREAMS")
            .arg("foo")
            .arg("0-0");
        assert_eq!(slot_of(&read), Some(12182));
        assert_eq!(slot_of(cmd("get").arg("foo")), Some(12182));
        assert_eq!(slot_of(cmd("SCRIPT").arg("LOAD").arg("return 1")), None);
        assert_eq!(slot_of(&cmd("PING")), None);
    }

    #[test]
    fn shares_are_read_and_looked_up() {
        let text = |text: &str| Value::BulkString(text.into());
        let range = |first, last, host: Value, port| {
            let node = Value::Array(vec![host, Value::Int(port), text("id")]);
            let replica = Value::Array(vec![text("replica"), Value::Int(9), text("id")]);
            Value::Array(vec![Value::Int(first), Value::Int(last), node, replica])
        };
        let answer = Value::Array(vec![
            range(8192, 16383, text("b"), 2),
            range(0, 100, text("a"), 1),
            range(101, 101, Value::Nil, 3),
        ]);
        let shares = Shares::parse(answer, &at("asked", 0)).expect("well formed");
        assert_eq!(shares.owner(0), Some(&at("a", 1)));
        assert_eq!(shares.owner(100), Some(&at("a", 1)));
        assert_eq!(shares.owner(101), Some(&at("asked", 3)));
        assert_eq!(shares.owner(102), None);
        assert_eq!(shares.owner(16383), Some(&at("b", 2)));
        assert_eq!(Shares::parse(Value::Int(1), &at("asked", 0)), None);
    }

    #[test]
    fn redirections_are_told_from_answers() {
        let error = |line: &str| {
            let parsed = ::redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
            parsed.expect("an error line")
        };
        let of = |line: &str| Redirection::of(&error(line), &at("asked", 1));
        let there = at("10.0.0.1", 6381);
        assert_eq!(
            of("MOVED 3999 10.0.0.1:6381"),
            Some(Redirection::Moved(there.clone()))
        );
        assert_eq!(of("ASK 3999 10.0.0.1:6381"), Some(Redirection::Ask(there)));
        assert_eq!(
            of("MOVED 3999 :7"),
            Some(Redirection::Moved(at("asked", 7)))
        );
        assert_eq!(
            of("MOVED 3999 ::1:7"),
            Some(Redirection::Moved(at("::1", 7)))
        );
        assert_eq!(of("TRYAGAIN Multiple keys"), Some(Redirection::TryAgain));
        assert_eq!(of("CLUSTERDOWN Hash slot not served"), None);
        assert_eq!(Redirection::of(&Value::Okay, &at("asked", 1)), None);
    }
}
