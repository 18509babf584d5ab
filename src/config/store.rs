//! `store`: where credentials live.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;
use crate::store::{RedisCertificate, RedisSentinels, RedisServers, RedisSettings, StoreSettings};

use super::field::{Field, Section};
use super::file::Literal;
use super::listen::off_or;
use super::report::quoted;

/// What `store` says.
pub(super) struct StorePart {
    pub(super) settings: StoreSettings,
    /// The file of what this instance has seen of the log, for a store that may lose it.
    pub(super) memory: Option<PathBuf>,
}

const EMBEDDED: &str = "data/portcullis.redb";
const MEMORY: &str = "data/revocations.redb";
const HINT: &str = "write { embedded: path } or { redis: { url: rediss://host:6379 } }";
const URL_FORM: &str = "redis://host:port/db or rediss://host:port/db";
const MEMBER_FORM: &str = "redis://host:port or rediss://host:port";
const SERVERS_HINT: &str = "write url: rediss://host:6379 for one server, \
                            sentinel: { addresses, primary }, or cluster: [rediss://host:6379, …]";

/// Reads `store`.
pub(super) fn read(root: &Section<'_>) -> Option<StorePart> {
    let default = embedded(root.field().source().resolve(EMBEDDED));
    root.or("store", default, |store| {
        store.section(|section| {
            let choice = section.one_of(&["embedded", "redis"], HINT)?;
            match choice.key {
                "redis" => choice.field.section(redis_part),
                _ => choice.field.path().map(embedded),
            }
        })
    })
}

fn embedded(path: PathBuf) -> StorePart {
    StorePart {
        settings: StoreSettings::Embedded { path },
        // It is its own.
        memory: None,
    }
}

fn redis_part(section: &Section<'_>) -> Option<StorePart> {
    let settings = redis(section);
    let default = Some(section.field().source().resolve(MEMORY));
    let memory = section.or("memory", default, off_or(Field::path));
    Some(StorePart {
        settings: StoreSettings::Redis(settings?),
        memory: memory?,
    })
}

fn redis(section: &Section<'_>) -> Option<RedisSettings> {
    let servers = servers(section);
    let credentials = credentials(section);
    let ca = section.optional("ca", Field::certificates);
    let certificate = section.optional("certificate", |field| field.section(certificate));
    let timeout = section.or("timeout", Duration::from_millis(250), Field::duration);
    if let Some((_, Transport::Clear)) = servers {
        for key in ["ca", "certificate"] {
            if let Some(field) = section.get(key) {
                let message = format!("`{key}` has no effect without TLS");
                field.report(message, "write rediss:// for the servers");
            }
        }
    }
    let (username, password) = credentials?;
    Some(RedisSettings {
        servers: servers?.0,
        username,
        password,
        ca: ca?,
        certificate: certificate?,
        timeout: timeout?,
    })
}

/// Whether connections to the servers are encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Clear,
    Tls,
}

fn servers(section: &Section<'_>) -> Option<(RedisServers, Transport)> {
    let choice = section.one_of(&["url", "sentinel", "cluster"], SERVERS_HINT)?;
    match choice.key {
        "sentinel" => choice.field.section(sentinel),
        "cluster" => {
            let (urls, transport) = members(&choice.field)?;
            Some((RedisServers::Cluster { urls }, transport))
        }
        _ => {
            let (url, transport) = redis_url(&choice.field, URL_FORM)?;
            Some((RedisServers::One { url }, transport))
        }
    }
}

fn sentinel(section: &Section<'_>) -> Option<(RedisServers, Transport)> {
    let hint = format!("add addresses: [{MEMBER_FORM}, …], all of the sentinels");
    let addresses = section.required("addresses", hint, members);
    let primary = section.required(
        "primary",
        "add primary: the name in `sentinel monitor NAME …`",
        |field| field.text().map(str::to_owned),
    );
    let credentials = credentials(section);
    let (urls, transport) = addresses?;
    let (username, password) = credentials?;
    let sentinels = RedisSentinels {
        urls,
        primary: primary?,
        username,
        password,
    };
    Some((RedisServers::Sentinel(Box::new(sentinels)), transport))
}

fn credentials(section: &Section<'_>) -> Option<(Option<String>, Option<Secret>)> {
    let username = section.optional("username", |field| field.text().map(str::to_owned));
    let password = section.optional("password", |field| field.secret(Literal::Accept));
    if let (Some(field), None) = (section.get("username"), section.get("password")) {
        field.report(
            "`username` without `password`",
            "add password: { file: path }",
        );
    }
    Some((username?, password?))
}

fn certificate(section: &Section<'_>) -> Option<RedisCertificate> {
    const HINT: &str = "write certificate: { cert: path, key: path }";
    let chain = section.required("cert", HINT, Field::certificates);
    let key = section.required("key", HINT, Field::private_key);
    Some(RedisCertificate {
        chain: chain?,
        key: key?,
    })
}

/// Several servers that are reached in one way.
fn members(field: &Field<'_>) -> Option<(Vec<String>, Transport)> {
    let mut common = None;
    let urls = field.set_of(|item| {
        let (url, transport) = redis_url(item, MEMBER_FORM)?;
        if *common.get_or_insert(transport) != transport {
            return item.refuse(
                "redis:// and rediss:// in one list",
                "write the same scheme for all of them",
            );
        }
        Some(url)
    })?;
    Some((urls, common?))
}

/// A URL of the form that is named: with a database only where that has one.
fn redis_url(field: &Field<'_>, form: &str) -> Option<(String, Transport)> {
    if field.text()?.contains('@') {
        return field.refuse(
            "a user or password in the URL",
            "write them as `username` and `password` beside it",
        );
    }
    let hint = format!("write it as {form}");
    let url = field.url(form)?;
    let transport = match url.scheme {
        "redis" => Transport::Clear,
        "rediss" => Transport::Tls,
        other => return field.refuse(format!("unknown scheme {}", quoted(other)), hint),
    };
    let database = url.rest.strip_prefix('/').unwrap_or(url.rest);
    if !database.is_empty() && form != URL_FORM {
        return field.refuse("a database is not for these", hint);
    }
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return field.refuse(
            format!("{} is not a database number", quoted(database)),
            hint,
        );
    }
    Some((field.text()?.to_owned(), transport))
}
