//! One line of an import: a JSON object → a key to take over.
//!
//! Fields are taken out of the parsed object one by one, not by a derived reader: that one's
//! messages quote the offending value, which may be the key. Invariants: a line is read whole or
//! refused; no problem repeats a value; a field that is not read is an error.

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{KeyProblem, NewKeyRequest, parse_allowed_ip};
use crate::auth::Checksum;
use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{AccountId, KeyId};
use crate::scope::{Scope, ScopeSet};
use crate::secret::Secret;
use crate::token::{OpaqueFormat, OpaqueKind, Shape};

/// What a line asks for.
pub(super) struct ImportLine {
    pub(super) key: Secret,
    pub(super) id: Option<KeyId>,
    pub(super) request: NewKeyRequest,
}

impl ImportLine {
    pub(super) fn parse(
        text: &[u8],
        format: &OpaqueFormat,
        checksum: Checksum,
    ) -> Result<ImportLine, KeyProblem> {
        let mut fields = Fields::parse(text)?;
        let key = Secret::new(fields.required("key")?);
        let own = check_key(key.expose(), format, checksum)?;
        let line = ImportLine {
            id: fields.key_id()?,
            request: NewKeyRequest {
                account: fields.account()?,
                name: fields.required("name")?,
                environment: fields.environment(own)?,
                scopes: fields.scopes(&key)?,
                not_before: fields.instant("not_before")?,
                expires_at: fields.instant("expires_at")?,
                allowed_ips: fields.allowed_ips()?,
            },
            key,
        };
        fields.none_left()?;
        line.key_is_nowhere_else()?;
        Ok(line)
    }
}

impl ImportLine {
    /// Columns are easily mixed up, and every field but `key` is shown and logged.
    fn key_is_nowhere_else(&self) -> Result<(), KeyProblem> {
        let key = self.key.expose();
        let id = self.id.as_ref().map_or("", KeyId::as_str);
        let shown = [self.request.account.as_str(), &self.request.name, id];
        if shown.iter().any(|text| text.contains(key)) {
            return Err(KeyProblem::KeyRepeated);
        }
        Ok(())
    }
}

/// What a key's form says of its environment; `None` for keys of another system.
fn check_key(
    key: &str,
    format: &OpaqueFormat,
    checksum: Checksum,
) -> Result<Option<Environment>, KeyProblem> {
    match format.shape(key) {
        Shape::Own(OpaqueKind::ApiKey(environment)) => Ok(Some(environment)),
        Shape::OwnDamaged(OpaqueKind::ApiKey(_)) => Err(KeyProblem::KeyChecksum),
        // Dispatch is by shape (interface.md §3): these would never be looked up as keys.
        Shape::Own(OpaqueKind::CookieSession | OpaqueKind::Session)
        | Shape::OwnDamaged(OpaqueKind::CookieSession | OpaqueKind::Session)
        | Shape::Foreign
        | Shape::Jwt => Err(KeyProblem::KeyKind),
        Shape::Opaque => check_foreign(key, checksum).map(|()| None),
    }
}

fn check_foreign(key: &str, checksum: Checksum) -> Result<(), KeyProblem> {
    if checksum == Checksum::Required {
        return Err(KeyProblem::KeyForeign);
    }
    if !(16..=256).contains(&key.len()) {
        return Err(KeyProblem::KeyLength);
    }
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if !key.bytes().all(allowed) {
        return Err(KeyProblem::KeyCharset);
    }
    Ok(())
}

/// The fields of a line that were not taken out yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn parse(text: &[u8]) -> Result<Fields, KeyProblem> {
        serde_json::from_slice(text)
            .map(Fields)
            .map_err(|error| KeyProblem::Json(error.column()))
    }

    /// Removes a text; `null` counts as absent.
    fn text(&mut self, field: &'static str) -> Result<Option<String>, KeyProblem> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(KeyProblem::Type {
                field,
                expected: "a text",
            }),
        }
    }

    fn required(&mut self, field: &'static str) -> Result<String, KeyProblem> {
        self.text(field)?.ok_or(KeyProblem::Missing(field))
    }

    fn texts(&mut self, field: &'static str) -> Result<Option<Vec<String>>, KeyProblem> {
        let wrong = KeyProblem::Type {
            field,
            expected: "a list of texts",
        };
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(entries)) => entries
                .into_iter()
                .map(|entry| match entry {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect::<Option<Vec<String>>>()
                .map(Some)
                .ok_or(wrong),
            Some(_) => Err(wrong),
        }
    }

    fn account(&mut self) -> Result<AccountId, KeyProblem> {
        AccountId::parse(&self.required("account")?).map_err(|_| KeyProblem::Account)
    }

    fn key_id(&mut self) -> Result<Option<KeyId>, KeyProblem> {
        let Some(text) = self.text("id")? else {
            return Ok(None);
        };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match text.strip_prefix("key_") {
            Some(rest) if !rest.is_empty() && rest.bytes().all(word) => {
                KeyId::parse(&text).map(Some).map_err(|_| KeyProblem::Id)
            }
            _ => Err(KeyProblem::Id),
        }
    }

    /// A key of our own form says it itself; others are live unless the line says otherwise.
    fn environment(&mut self, own: Option<Environment>) -> Result<Environment, KeyProblem> {
        let said = match self.text("env")?.as_deref() {
            None => None,
            Some("live") => Some(Environment::Live),
            Some("test") => Some(Environment::Test),
            Some(_) => {
                return Err(KeyProblem::Type {
                    field: "env",
                    expected: "\"live\" or \"test\"",
                });
            }
        };
        match (own, said) {
            (Some(own), Some(said)) if own != said => Err(KeyProblem::Environment),
            (own, said) => Ok(own.or(said).unwrap_or(Environment::Live)),
        }
    }

    fn scopes(&mut self, key: &Secret) -> Result<ScopeSet, KeyProblem> {
        let names = self.texts("scopes")?.ok_or(KeyProblem::Missing("scopes"))?;
        // An unknown scope is named in its problem; a column mix-up must not put the key there.
        let plausible = |name: &String| name.len() <= 64 && name != key.expose();
        if !names.iter().all(plausible) {
            return Err(KeyProblem::Scope);
        }
        names
            .iter()
            .map(|name| Scope::parse(name).map_err(|_| KeyProblem::Scope))
            .collect()
    }

    fn instant(&mut self, field: &'static str) -> Result<Option<Timestamp>, KeyProblem> {
        let Some(text) = self.text(field)? else {
            return Ok(None);
        };
        let instant = Timestamp::parse_rfc3339(&text);
        instant.map(Some).ok_or(KeyProblem::Instant(field))
    }

    fn allowed_ips(&mut self) -> Result<Vec<IpNet>, KeyProblem> {
        let entries = self.texts("allowed_ips")?.unwrap_or_default();
        entries.iter().map(|text| parse_allowed_ip(text)).collect()
    }

    fn none_left(self) -> Result<(), KeyProblem> {
        let Some(name) = self.0.into_iter().next().map(|(name, _)| name) else {
            return Ok(());
        };
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let shown = name.len() <= 32 && name.bytes().all(plain);
        Err(KeyProblem::UnknownField(if shown {
            name
        } else {
            "(a name that is not shown)".into()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ImportLine, KeyProblem> {
        let format = OpaqueFormat::new("osir");
        ImportLine::parse(text.as_bytes(), &format, Checksum::Optional)
    }

    fn problem(text: &str) -> KeyProblem {
        parse(text).err().expect("refused")
    }

    const HEAD: &str = r#"{"key":"legacy-0123456789","account":"acct_1","name":"n""#;

    #[test]
    fn a_whole_line_becomes_a_key() {
        let line = parse(&format!(
            r#"{HEAD},"scopes":["b","a"],"id":"key_old-1","env":"test",
            "expires_at":"2027-01-01T00:00:00Z","allowed_ips":["192.0.2.7"],"not_before":null}}"#
        ))
        .unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(line.key.expose(), "legacy-0123456789");
        assert_eq!(line.id, KeyId::parse("key_old-1").ok());
        assert_eq!(line.request.environment, Environment::Test);
        assert_eq!(line.request.scopes.to_string(), "a b");
        assert_eq!(line.request.allowed_ips.len(), 1);
        assert_eq!(line.request.not_before, None);
    }

    #[test]
    fn each_fault_has_its_own_words() {
        let with = |rest: &str| problem(&format!("{HEAD}{rest}}}"));
        assert_eq!(problem("{"), KeyProblem::Json(1));
        assert_eq!(with(""), KeyProblem::Missing("scopes"));
        assert_eq!(with(r#","scopes":[],"expires":"2027""#), {
            KeyProblem::UnknownField("expires".into())
        });
        assert_eq!(
            with(r#","scopes":[],"expires_at":"2027-01-01""#),
            KeyProblem::Instant("expires_at")
        );
        assert_eq!(with(r#","scopes":["a b"]"#), KeyProblem::Scope);
        assert_eq!(with(r#","scopes":[],"id":"1""#), KeyProblem::Id);
        assert_eq!(
            with(r#","scopes":"a""#),
            KeyProblem::Type {
                field: "scopes",
                expected: "a list of texts"
            }
        );
        assert_eq!(
            problem(r#"{"key":7}"#),
            KeyProblem::Type {
                field: "key",
                expected: "a text"
            }
        );
    }

    #[test]
    fn keys_that_would_be_read_as_something_else_are_refused() {
        let key = |key: &str, checksum| check_key(key, &OpaqueFormat::new("osir"), checksum);
        let minted = OpaqueFormat::new("osir").mint(OpaqueKind::ApiKey(Environment::Test));
        let own = minted.secret.expose();
        assert_eq!(key(own, Checksum::Required), Ok(Some(Environment::Test)));
        assert_eq!(
            key(&own[..own.len() - 1], Checksum::Optional),
            Err(KeyProblem::KeyChecksum)
        );
        for token in [
            "osir_rt_0123456789abcdef",
            "osir_sess_x",
            "aaaaaaaa.bbbbbbbb.c",
        ] {
            assert_eq!(
                key(token, Checksum::Optional),
                Err(KeyProblem::KeyKind),
                "{token}"
            );
        }
        let foreign = "0123456789abcdef";
        assert_eq!(key(foreign, Checksum::Optional), Ok(None));
        assert_eq!(
            key(foreign, Checksum::Required),
            Err(KeyProblem::KeyForeign)
        );
        assert_eq!(
            key(&foreign[1..], Checksum::Optional),
            Err(KeyProblem::KeyLength)
        );
        assert_eq!(
            key(&"x".repeat(257), Checksum::Optional),
            Err(KeyProblem::KeyLength)
        );
        assert_eq!(
            key("0123456789 abcdef", Checksum::Optional),
            Err(KeyProblem::KeyCharset)
        );
    }

    #[test]
    fn row_109_no_problem_repeats_the_key() {
        let secret = "hush-hush-hush-hush-hush";
        for line in [
            format!(r#"{{"key":"{secret}"#),
            format!(r#"{{"key":"{secret}","account":"{secret} x"}}"#),
            format!(r#"{{"key":"{secret}","account":"a","name":"n","scopes":["{secret}"]}}"#),
            format!(r#"{{"key":"{secret}","account":"a","name":"n","scopes":[],"{secret}":1}}"#),
            format!(r#"{{"key":["{secret}"]}}"#),
            format!(r#""{secret}""#),
            format!(r#"{{"key":"x","id":"{secret}"}}"#),
            format!(r#"{{"key":"{secret}","account":"{secret}","name":"n","scopes":[]}}"#),
            format!(r#"{{"key":"{secret}","account":"a","name":"{secret}","scopes":[]}}"#),
        ] {
            let told = problem(&line);
            assert!(!format!("{told} {told:?}").contains("hush"), "{told:?}");
        }
    }
}
