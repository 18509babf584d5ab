//! `store`: where credentials live.

use std::path::PathBuf;
use std::time::Duration;

use crate::store::{RedisSettings, StoreSettings};

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
    let url = section.required("url", format!("add url: {URL_FORM}"), redis_url);
    let username = section.optional("username", |field| field.text().map(str::to_owned));
    let password = section.optional("password", |field| field.secret(Literal::Accept));
    let ca = section.optional("ca", Field::certificates);
    let timeout = section.or("timeout", Duration::from_millis(250), Field::duration);
    if let (Some(Some(_)), Some(url), Some(field)) = (&ca, &url, section.get("ca"))
        && url.starts_with("redis://")
    {
        field.report("`ca` has no effect without TLS", "write rediss:// in `url`");
    }
    if let (Some(field), None) = (section.get("username"), section.get("password")) {
        field.report(
            "`username` without `password`",
            "add password: { file: path }",
        );
    }
    Some(RedisSettings {
        url: url?,
        username: username?,
        password: password?,
        ca: ca?,
        timeout: timeout?,
    })
}

fn redis_url(field: &Field<'_>) -> Option<String> {
    if field.text()?.contains('@') {
        return field.refuse(
            "a user or password in the URL",
            "write them as `username` and `password` beside `url`",
        );
    }
    let hint = format!("write it as {URL_FORM}");
    let url = field.url(URL_FORM)?;
    if !matches!(url.scheme, "redis" | "rediss") {
        return field.refuse(format!("unknown scheme {}", quoted(url.scheme)), hint);
    }
    let database = url.rest.strip_prefix('/').unwrap_or(url.rest);
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return field.refuse(
            format!("{} is not a database number", quoted(database)),
            hint,
        );
    }
    field.text().map(str::to_owned)
}
