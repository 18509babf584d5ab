//! A [`KeyRecord`] as the fields of a Redis hash.
//!
//! One field for each fact, so that a revocation sets one field and people can read a record with
//! `HGETALL`. Invariant: what cannot be read completely is [`Fault::Corrupt`], never half a record.

use std::collections::HashMap;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{AccountId, KeyId};
use crate::scope::ScopeSet;
use crate::store::KeyRecord;

use super::fault::Fault;

/// The layout of the fields. A record of another one is refused: a newer version may have added a
/// restriction that this one would not see.
const VERSION: &str = "1";

/// Of a record that came from a rotation: the digest of the secret before. It and the fields of the
/// rotation that go with it say nothing of the key itself.
pub(super) const PREVIOUS: &str = "rf";

/// Field, value, field, value …
pub(super) fn to_fields(record: &KeyRecord) -> Vec<String> {
    let time = |at: Option<Timestamp>| at.map(|at| at.as_millis().to_string());
    let addresses: Vec<String> = record.allowed_ips.iter().map(ToString::to_string).collect();
    let fields = [
        ("ver", Some(VERSION.to_owned())),
        ("id", Some(record.id.to_string())),
        ("acct", Some(record.account.to_string())),
        ("name", Some(record.name.clone())),
        ("env", Some(environment(record.environment).to_owned())),
        ("sc", Some(record.scopes.to_string())),
        ("ct", time(Some(record.created_at))),
        ("nbf", time(record.not_before)),
        ("exp", time(record.expires_at)),
        ("rv", time(record.revoked_at)),
        ("ips", Some(addresses.join(" "))),
        ("hint", Some(record.hint.clone())),
    ];
    fields
        .into_iter()
        .filter_map(|(field, value)| Some([field.to_owned(), value?]))
        .flatten()
        .collect()
}

/// `None` when the hash is empty, that is, not there.
pub(super) fn from_fields(fields: HashMap<String, String>) -> Result<Option<KeyRecord>, Fault> {
    if fields.is_empty() {
        return Ok(None);
    }
    let fields = Fields(fields);
    if fields.text("ver")? != VERSION {
        return Err(unreadable("ver"));
    }
    Ok(Some(KeyRecord {
        id: KeyId::parse(fields.text("id")?).map_err(|_| unreadable("id"))?,
        account: AccountId::parse(fields.text("acct")?).map_err(|_| unreadable("acct"))?,
        name: fields.text("name")?.to_owned(),
        environment: fields.environment()?,
        scopes: ScopeSet::parse(fields.text("sc")?).map_err(|_| unreadable("sc"))?,
        created_at: fields.time("ct")?.ok_or_else(|| unreadable("ct"))?,
        not_before: fields.time("nbf")?,
        expires_at: fields.time("exp")?,
        revoked_at: fields.time("rv")?,
        allowed_ips: fields.list("ips")?,
        hint: fields.text("hint")?.to_owned(),
    }))
}

struct Fields(HashMap<String, String>);

impl Fields {
    fn text(&self, field: &'static str) -> Result<&str, Fault> {
        let value = self.0.get(field);
        value.map(String::as_str).ok_or_else(|| unreadable(field))
    }

    fn time(&self, field: &'static str) -> Result<Option<Timestamp>, Fault> {
        let Some(text) = self.0.get(field) else {
            return Ok(None);
        };
        let millis = text.parse().map_err(|_| unreadable(field))?;
        Ok(Some(Timestamp::from_millis(millis)))
    }

    fn list<T: FromStr>(&self, field: &'static str) -> Result<Vec<T>, Fault> {
        self.text(field)?
            .split_terminator(' ')
            .map(|item| item.parse().map_err(|_| unreadable(field)))
            .collect()
    }

    fn environment(&self) -> Result<Environment, Fault> {
        match self.text("env")? {
            "live" => Ok(Environment::Live),
            "test" => Ok(Environment::Test),
            _ => Err(unreadable("env")),
        }
    }
}

fn environment(environment: Environment) -> &'static str {
    match environment {
        Environment::Live => "live",
        Environment::Test => "test",
    }
}

fn unreadable(field: &'static str) -> Fault {
    Fault::corrupt(format!("a key: its field `{field}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> KeyRecord {
        KeyRecord {
            id: KeyId::parse("key_1").expect("valid"),
            account: AccountId::parse("acct").expect("valid"),
            name: "two  words \u{e9}".into(),
            environment: Environment::Test,
            scopes: ScopeSet::parse("a b").expect("valid"),
            created_at: Timestamp::from_millis(1),
            not_before: Some(Timestamp::from_millis(-2)),
            expires_at: Some(Timestamp::from_millis(3)),
            revoked_at: Some(Timestamp::from_millis(4)),
            allowed_ips: vec![
                "10.0.0.0/8".parse().expect("net"),
                "2001:db8::/32".parse().expect("net"),
            ],
            hint: "osir_live_…abcd".into(),
        }
    }

    fn fields(record: &KeyRecord) -> HashMap<String, String> {
        let fields = to_fields(record);
        let pairs = fields.chunks_exact(2);
        pairs
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect()
    }

    #[test]
    fn every_fact_comes_back() {
        let full = record();
        let bare = KeyRecord {
            not_before: None,
            expires_at: None,
            revoked_at: None,
            allowed_ips: Vec::new(),
            scopes: ScopeSet::empty(),
            ..record()
        };
        for record in [full, bare] {
            let read = from_fields(fields(&record)).expect("readable");
            assert_eq!(read, Some(record));
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_completely_is_no_record() {
        let good = fields(&record());
        for field in [
            "ver", "id", "acct", "name", "env", "sc", "ct", "ips", "hint",
        ] {
            let mut fields = good.clone();
            fields.remove(field);
            assert!(
                matches!(from_fields(fields), Err(Fault::Corrupt(_))),
                "without {field}"
            );
        }
        for (field, value) in [
            ("ver", "2"),
            ("env", "prod"),
            ("exp", "soon"),
            ("rv", ""),
            ("ips", "10.0.0.0/33"),
            ("sc", "a  b"),
        ] {
            let mut fields = good.clone();
            fields.insert(field.into(), value.into());
            assert!(
                matches!(from_fields(fields), Err(Fault::Corrupt(_))),
                "{field}={value}"
            );
        }
    }
}
