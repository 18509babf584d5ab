//! `credentials` and `plaintext_credentials`: how API keys look, are kept and are cached.

use std::time::Duration;

use crate::auth::{CacheSettings, Checksum, CredentialSettings};
use crate::gateway::PlaintextCredentials;
use crate::secret::{Pepper, Peppers, SamePepper};

use super::field::{Field, Section};
use super::file::Literal;

const PEPPER: &str = "add pepper: { file: data/pepper }; make the file with `umask 077; openssl rand -hex 32 > data/pepper`";

/// The least time for which the log's last word can be trusted.
const SHORTEST_STALE: Duration = Duration::from_secs(3);

/// Reads `credentials`.
pub(super) fn read(root: &Section<'_>) -> Option<CredentialSettings> {
    let hint = "add credentials: { realm: …, prefix: …, pepper: { file: data/pepper } }";
    root.required("credentials", hint, |field| field.section(credentials))
}

/// Reads `plaintext_credentials`.
pub(super) fn plaintext(root: &Section<'_>) -> Option<PlaintextCredentials> {
    let words = [
        ("report", PlaintextCredentials::Report),
        ("revoke", PlaintextCredentials::Revoke),
    ];
    let default = PlaintextCredentials::Report;
    root.or("plaintext_credentials", default, |field| field.word(&words))
}

fn credentials(section: &Section<'_>) -> Option<CredentialSettings> {
    let checksums = [
        ("required", Checksum::Required),
        ("optional", Checksum::Optional),
    ];
    let realm = section.required("realm", "add realm: the name of your API", realm);
    let prefix = section.required("prefix", "add prefix: what your keys begin with", prefix);
    let peppers = peppers(section);
    let checksum = section.or("checksum", Checksum::Required, |field| {
        field.word(&checksums)
    });
    let cache = section.section("cache", cache);
    Some(CredentialSettings {
        realm: realm?,
        prefix: prefix?,
        peppers: peppers?,
        checksum: checksum?,
        cache: cache?,
    })
}

/// It is put between the quotes of a header field (RFC 9110 §11.5), without any escaping.
fn realm(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.len() > 64 || !text.bytes().all(allowed) {
        return field.refuse(
            "a realm is 1 to 64 printable ASCII characters other than `\"` and `\\`",
            "write a short name such as `api`",
        );
    }
    Some(text.to_owned())
}

fn prefix(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if text.len() > 16 || !text.bytes().all(allowed) {
        return field.refuse(
            "a prefix is 1 to 16 of the characters a-z 0-9",
            "write a short name; keys are then name_live_… and name_test_…",
        );
    }
    Some(text.to_owned())
}

fn peppers(section: &Section<'_>) -> Option<Peppers> {
    // First all of them: so that none is left unreported.
    let current = section.required("pepper", PEPPER, |field| {
        pepper(
            field,
            "make one with `openssl rand -hex 32`; name the old one in `previous_pepper`, or all \
             existing keys are unknown",
        )
    });
    let previous = section.optional("previous_pepper", |field| {
        pepper(field, "name the file of the pepper before")
    });
    let next = section.optional("next_pepper", |field| {
        pepper(field, "make one with `openssl rand -hex 32`")
    });
    let peppers = Peppers::from(current?);
    let peppers = beside(
        section,
        peppers,
        ("previous_pepper", previous?),
        Peppers::with_previous,
        "put the new pepper in `pepper` and the one before in `previous_pepper`",
    );
    Some(beside(
        section,
        peppers,
        ("next_pepper", next?),
        Peppers::with_next,
        "a pepper comes in as `next_pepper`, is then the `pepper`, and goes as `previous_pepper`",
    ))
}

/// Takes one of them in, unless it is there already: then most likely a file was not put in place.
fn beside(
    section: &Section<'_>,
    peppers: Peppers,
    (key, pepper): (&'static str, Option<Pepper>),
    add: fn(Peppers, Pepper) -> Result<Peppers, SamePepper>,
    hint: &str,
) -> Peppers {
    let Some(pepper) = pepper else {
        return peppers;
    };
    let same = match peppers.current().is(&pepper) {
        true => "pepper",
        false => "previous_pepper",
    };
    add(peppers.clone(), pepper).unwrap_or_else(|SamePepper| {
        let written = section.get(key);
        let field = written.unwrap_or_else(|| section.field().clone());
        field.report(format!("`{key}` is the same as `{same}`"), hint);
        peppers
    })
}

fn pepper(field: &Field<'_>, hint: &str) -> Option<Pepper> {
    let bytes = field.secret_bytes(Literal::Refuse)?;
    match Pepper::new(&bytes) {
        Ok(pepper) => Some(pepper),
        Err(weak) => field.refuse(weak.to_string(), hint),
    }
}

fn cache(section: &Section<'_>) -> Option<CacheSettings> {
    let seconds = |key, default| section.or(key, Duration::from_secs(default), Field::duration);
    let capacity = section.or("capacity", 100_000, |field| field.count(1..=100_000_000));
    let fresh = seconds("fresh", 60);
    let stale = seconds("stale", 300);
    let negative = seconds("negative", 2);
    let written = |key| section.get(key).unwrap_or_else(|| section.field().clone());
    if let (Some(fresh), Some(stale)) = (fresh, stale)
        && stale < fresh
    {
        written("stale").report(
            "`stale` is shorter than `fresh`",
            "stale is the bound of all that is served; it includes the time of `fresh`",
        );
    }
    // On a quiet log the last word is one to two seconds old: a shorter bound refuses everything.
    if stale.is_some_and(|stale| stale < SHORTEST_STALE) {
        written("stale").report(
            "`stale` is shorter than 3s",
            "the store's log is confirmed about once a second; write 3s or more",
        );
    }
    Some(CacheSettings {
        capacity: capacity?,
        fresh: fresh?,
        stale: stale?,
        negative: negative?,
    })
}
