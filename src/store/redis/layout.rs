//! The names of the keys, and the scripts on them.
//!
//! Invariant: each command and each script touches keys of one Cluster slot only, a record's or
//! the one that `{rev}` hashes to.

use std::sync::LazyLock;

use ::redis::Script;

use crate::id::KeyId;
use crate::secret::Digest;
use crate::store::shelf::{Index, Place};

/// Zset, all scores 0: every key id, in order.
pub(super) const IDS: &str = "pc:kids";
/// Zset: [`Denial::member`](crate::store::Denial) by its time.
pub(super) const DENIALS: &str = "pc:{rev}:nb";
/// Stream: the event log.
pub(super) const LOG: &str = "pc:{rev}:log";
/// String: a random value that this log was begun with.
pub(super) const EPOCH: &str = "pc:{rev}:epoch";
/// Hash: the instances, and [`LOST`].
pub(super) const FLEET: &str = "pc:{rev}:fleet";
/// The field of [`FLEET`] that is no instance: when entries were found to be lost.
pub(super) const LOST: &str = "lost";

/// String: what is written after a revocation, for replicas to acknowledge.
pub(super) const WITNESS: &str = "pc:{rev}:witness";

/// Hash: a record. Its name is everything that a look-up knows.
pub(super) fn record(digest: &Digest) -> String {
    format!("pc:k:{}", digest.to_text())
}

/// String: the digest that an id belongs to.
pub(super) fn id(id: &KeyId) -> String {
    format!("pc:kid:{id}")
}

/// String: a document.
pub(super) fn document(place: &Place) -> String {
    format!("pc:{}", place.as_str())
}

/// Zset, all scores 0: a list.
pub(super) fn list(index: &Index) -> String {
    format!("pc:ix:{}", index.as_str())
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

lua! {
    /// KEYS: fleet, epoch, log. ARGV: instance, its report, for how long it is listed (ms), what
    /// stands for entries that were lost if it should be listed already ('' if not), epoch and entry
    /// that it has read up to ('' is none), after how long its entry is none that it can have made
    /// (ms). An entry is the store's time, when it lapses, the place if the log has it, and the
    /// report. Lapsed ones are dropped when another comes. A renewal whose entry seems to be too old
    /// shows that the store's clock leapt: entries count as lost then, since others look as if they
    /// had lapsed. Answers the store's time if the log has the place.
    REPORT = "
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local before = redis.call('HGET', KEYS[1], ARGV[1])
local at = before and tonumber(string.match(before, '^%d+'))
if ARGV[4] ~= '' and at and now - at > tonumber(ARGV[7]) then
  redis.call('HSET', KEYS[1], ARGV[4], string.format('%.0f', now))
end
if not before then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local lapses = tonumber(string.match(all[i + 1], '^%d+ (%d+) '))
    if lapses and lapses < now then redis.call('HDEL', KEYS[1], all[i]) end
  end
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], ARGV[4], string.format('%.0f', now)) end
end
local place = '-'
if ARGV[5] ~= '' and redis.call('GET', KEYS[2]) == ARGV[5]
  and redis.call('XRANGE', KEYS[3], ARGV[6], ARGV[6])[1] then
  place = 'r' .. ARGV[5] .. '/' .. ARGV[6]
end
redis.call('HSET', KEYS[1], ARGV[1],
  string.format('%.0f %.0f %s ', now, now + ARGV[3], place) .. ARGV[2])
if place == '-' then return false end
return now"
}

lua! {
    /// KEYS: fleet. ARGV: instance, for how long it has to be silent (ms). Answers 1 where it was and is
    /// listed no more, 0 where it reported since, -1 where its entry cannot be read, nil where there
    /// is none.
    FORGET = "
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if not entry then return false end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local at = tonumber(string.match(entry, '^(%d+) %d+ '))
if not at then return -1 end
if now - at <= tonumber(ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1"
}

lua! {
    /// KEYS: fleet. Answers the store's time and the fleet.
    FLEET_NOW = "return {redis.call('TIME'), redis.call('HGETALL', KEYS[1])}"
}

lua! {
    /// KEYS: document, or id. ARGV: what it has to be, what it is to be, for how long (ms, 0 is for
    /// ever). The empty text is none. Answers whether it was what it had to be.
    SWAP = "
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
elseif ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1"
}

lua! {
    /// KEYS: list. ARGV: entry, end of what has ended, cap ('' is none), for how long (ms, 0 is for
    /// ever). Forgets what has ended; answers whether there is room for the entry, which is then
    /// there. The list goes with its last entry's life.
    LIST = "
redis.call('ZREMRANGEBYLEX', KEYS[1], '-', ARGV[2])
if ARGV[3] ~= '' and not redis.call('ZSCORE', KEYS[1], ARGV[1])
  and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
if ARGV[4] ~= '0' and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1"
}

lua! {
    /// KEYS: document. ARGV: a moment, for how long (ms, 0 is for ever). The later one stands.
    RAISE = "
local before = tonumber(redis.call('GET', KEYS[1]))
if before and before >= tonumber(ARGV[1]) then return 0 end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1"
}

lua! {
    /// KEYS: document. ARGV: for how long (ms, 0 is for ever), then names and numbers, which are added
    /// to those that it has: a flat JSON object.
    ADD = "
local text = redis.call('GET', KEYS[1])
local sums = text and cjson.decode(text) or {}
for i = 2, #ARGV, 2 do sums[ARGV[i]] = (sums[ARGV[i]] or 0) + tonumber(ARGV[i + 1]) end
text = cjson.encode(sums)
if ARGV[1] == '0' then redis.call('SET', KEYS[1], text)
else redis.call('SET', KEYS[1], text, 'PX', ARGV[1]) end
return 1"
}

lua! {
    /// KEYS: record. ARGV: id, its end, for how long it is remembered (ms). An earlier end stands.
    /// Answers when it was revoked, if it was.
    RETIRE = "
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return false end
local ends = redis.call('HGET', KEYS[1], 'exp')
if not ends or tonumber(ends) > tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'exp', ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return tonumber(redis.call('HGET', KEYS[1], 'rv'))"
}

lua! {
    /// KEYS: record. ARGV: id. It goes; answers when it was revoked, if it was, and how long it had
    /// left (ms, below 0 is for ever).
    MOVE = "
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {false, -1} end
local revoked, left = redis.call('HGET', KEYS[1], 'rv'), redis.call('PTTL', KEYS[1])
redis.call('DEL', KEYS[1])
return {revoked, left}"
}

lua! {
    /// KEYS: record. ARGV: id, request, the record's fields and values. Writes the record of a
    /// rotation, also over what an earlier attempt of the same request left. Answers whether.
    PROPOSE = "
if redis.call('EXISTS', KEYS[1]) == 1 and (redis.call('HGET', KEYS[1], 'id') ~= ARGV[1]
  or redis.call('HGET', KEYS[1], 'rq') ~= ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return 1"
}

lua! {
    /// KEYS: record. ARGV: attempt. Takes back what that attempt proposed, unless another has
    /// taken it over.
    RETRACT = "
if redis.call('HGET', KEYS[1], 'rn') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return false"
}

lua! {
    /// KEYS: record. ARGV: field, what it has to be, what it is to be.
    REPOINT = "
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1"
}
