//! The names of the keys, and the scripts on them.
//!
//! Invariant: each command and each script touches keys of one Cluster slot only, a record's or
//! the one that `{rev}` hashes to.

use std::sync::LazyLock;

use ::redis::Script;

use crate::id::KeyId;
use crate::secret::Digest;

/// Zset, all scores 0: every key id, in order.
pub(super) const IDS: &str = "pc:kids";
/// Zset: [`Denial::member`](crate::store::Denial) by its time.
pub(super) const DENIALS: &str = "pc:{rev}:nb";
/// Stream: the event log.
pub(super) const LOG: &str = "pc:{rev}:log";
/// String: a random value that this log was begun with.
pub(super) const EPOCH: &str = "pc:{rev}:epoch";

/// Hash: a record. Its name is everything that a look-up knows.
pub(super) fn record(digest: &Digest) -> String {
    format!("pc:k:{}", digest.to_text())
}

/// String: the digest that an id belongs to.
pub(super) fn id(id: &KeyId) -> String {
    format!("pc:kid:{id}")
}

/// A script, kept with its source for `SCRIPT LOAD` and `EVAL` inside pipelines.
pub(super) struct Lua {
    pub(super) source: &'static str,
    pub(super) script: LazyLock<Script>,
}

macro_rules! lua {
    ($(#[$doc:meta])* $name:ident = $source:literal) => {
        $(#[$doc])*
        pub(super) static $name: Lua = Lua {
            source: $source,
            script: LazyLock::new(|| Script::new($source)),
        };
    };
}

lua! {
    /// KEYS: record. ARGV: its fields and values. Writes it unless it is there; answers whose id
    /// was there before.
    CREATE = "
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('HGET', KEYS[1], 'id') or '' end
redis.call('HSET', KEYS[1], unpack(ARGV))
return false"
}

lua! {
    /// KEYS: id. ARGV: digest. Takes back a claim that led to nothing.
    UNCLAIM = "
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return false"
}

lua! {
    /// KEYS: record. ARGV: id, time. The first time stands. Answers whether it was this one, and
    /// the record.
    REVOKE = "
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return false end
local first = redis.call('HSETNX', KEYS[1], 'rv', ARGV[2])
return {first, redis.call('HGETALL', KEYS[1])}"
}

lua! {
    /// KEYS: denials, log. ARGV: how long denials are kept (ms), how many events, member, time.
    DENY = "
local clock = redis.call('TIME')
local horizon = clock[1] * 1000 + math.floor(clock[2] / 1000) - ARGV[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', horizon))
redis.call('ZADD', KEYS[1], 'GT', ARGV[4], ARGV[3])
return redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'deny', ARGV[3], 'at', ARGV[4])"
}

lua! {
    /// KEYS: epoch, log. ARGV: an epoch to begin with. Answers the epoch and the newest entry.
    /// Writes only into a log that is new, so it also answers when the memory is full.
    END = "
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  redis.call('SET', KEYS[1], ARGV[1])
  epoch = ARGV[1]
end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
if last[1] then return {epoch, last[1][1]} end
return {epoch, redis.call('XADD', KEYS[2], '*', 'begin', epoch)}"
}
