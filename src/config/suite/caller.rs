//! Who asks in a policy test: a caller by name, or one that is described on the spot.

use crate::auth::{CredentialKind, Supposed, SupposedIdentity};
use crate::environment::Environment;
use crate::id::{AccountId, CredentialId, InvalidId};
use crate::scope::{Scope, ScopeSet};

use super::super::field::{Entry, Field, Section};
use super::super::nearest::nearest;
use super::super::node::Value;
use super::super::report::quoted;
use super::{Caller, Known, NOBODY, Reader, known};

const CALLER: &str =
    "write { key: { scopes: […] } }, { token: { scopes: […] } } or { session: { scopes: […] } }";

impl Reader<'_> {
    pub(super) fn named(&self, entry: &Entry<'_>) -> Option<Caller> {
        if entry.name == NOBODY {
            return entry.refuse("`nobody` is who shows no credential", "use another name");
        }
        self.who(&entry.field, entry.name)
    }

    pub(super) fn caller(&self, field: &Field<'_>, known: &Known<'_>) -> Option<Caller> {
        let Value::Text(name) = field.value() else {
            return self.who(field, "").map(Caller::described);
        };
        if name == NOBODY {
            return Some(Caller::nobody());
        }
        if !known.names.contains(&name.as_str()) {
            let hint = match nearest(name, known.names.iter().copied().chain([NOBODY])) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add it to callers, or write nobody".into(),
            };
            return field.refuse(format!("unknown caller {}", quoted(name)), hint);
        }
        known.callers.get(name).cloned()
    }

    fn who(&self, field: &Field<'_>, name: &str) -> Option<Caller> {
        field.section(|section| {
            let choice = section.one_of(&["key", "token", "session"], CALLER)?;
            let kind = match choice.key {
                "key" => CredentialKind::ApiKey,
                "token" => CredentialKind::AccessToken,
                _ => CredentialKind::Session,
            };
            let who = choice
                .field
                .section(|section| self.identity(section, kind))?;
            Some(Caller {
                name: name.to_owned(),
                who: Some(who),
            })
        })
    }

    fn identity(&self, section: &Section<'_>, kind: CredentialKind) -> Option<Supposed> {
        const SCOPES: &str = "write scopes: [these], or all_but: [all scopes there are but these]";
        let choice = section.one_of(&["scopes", "all_but"], SCOPES)?;
        let named = self.named_scopes(&choice.field);
        let worlds = [("live", Environment::Live), ("test", Environment::Test)];
        let environment = section.or("environment", Environment::Live, |field| {
            field.word(&worlds)
        });
        let allowed_ips = section.or("allow_ip", Vec::new(), |field| {
            field.set_of(|item| item.network())
        });
        let account = section.optional("account", |field| id(field, AccountId::parse));
        let credential_id = section.optional("id", |field| id(field, CredentialId::parse));
        let client_id = section.optional("client", |field| field.text().map(str::to_owned));
        let subject = section.optional("subject", |field| field.text().map(str::to_owned));
        let issuer = match kind {
            CredentialKind::AccessToken => self.issuer(section)?,
            _ => None,
        };
        let (named, credential_id) = (named?, credential_id?);
        let scopes = match choice.key {
            "scopes" => named.into_iter().collect(),
            _ => self.all_but(&named),
        };
        let account = account?;
        let id = credential_id.or_else(|| CredentialId::parse("supposed").ok())?;
        let subject = subject?.or_else(|| account.as_ref().map(ToString::to_string));
        Some(Supposed::new(SupposedIdentity {
            kind,
            subject: subject.unwrap_or_else(|| "supposed".into()),
            credential_id: id,
            account,
            client_id: client_id?,
            issuer,
            scopes,
            environment: environment?,
            allowed_ips: allowed_ips?,
        }))
    }

    /// The issuer of a token: the one that is named, or the first.
    fn issuer(&self, section: &Section<'_>) -> Option<Option<String>> {
        let issuers = &self.policy.parts().issuers;
        let names: Vec<&str> = issuers.iter().map(|known| known.issuer.as_str()).collect();
        let Some(field) = section.get("issuer") else {
            return match names.first() {
                Some(first) => Some(Some((*first).to_owned())),
                None => section.field().refuse(
                    "the configuration accepts no access tokens",
                    "write key: or session:, or add an issuer to access_tokens",
                ),
            };
        };
        known(&field, "issuer", &names).map(Some)
    }

    fn named_scopes(&self, field: &Field<'_>) -> Option<Vec<Scope>> {
        // A caller may have none.
        if matches!(field.value(), Value::List(items) if items.is_empty()) {
            return Some(Vec::new());
        }
        field.set_of(|item| {
            let name = known(item, "scope", &self.scopes)?;
            Scope::parse(&name).ok()
        })
    }

    fn all_but(&self, named: &[Scope]) -> ScopeSet {
        let scopes = self.policy.parts().scopes.iter();
        scopes
            .filter(|scope| !named.contains(scope))
            .cloned()
            .collect()
    }
}

fn id<T>(field: &Field<'_>, parse: fn(&str) -> Result<T, InvalidId>) -> Option<T> {
    match parse(field.text()?) {
        Ok(id) => Some(id),
        Err(invalid) => field.refuse("this is not an id", invalid.to_string()),
    }
}
