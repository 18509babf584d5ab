//! `oauth`: the gateway's own authorization server.
//!
//! Invariant: there is one if and only if `access_tokens` has an entry for it, so that what it
//! signs is accepted, and nothing else is in its name.

use std::time::Duration;

use crate::auth::{CredentialSettings, IssuerSettings, JwksSource};
use crate::oauth::{LoginMode, LoginPage, OAuthSettings, RefreshSettings, authority_and_path};
use crate::scope::ScopeSet;
use crate::store::SigningAlgorithm;

use super::catalogue::Catalogue;
use super::field::{Field, Section};
use super::issuers::issuer_name;
use super::listen::Listeners;
use super::node::Value;
use super::report::quoted;
use super::url::is_host_name;

const BUILTIN: &str =
    "add access_tokens: [{ issuer: …, builtin: true, audience: https://host of the API }]";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// The store forgets denials after this time.
const LONGEST_GRANT: Duration = Duration::from_secs(90 * 86_400);

/// What the rest of the file says, as far as it was right.
pub(super) struct Around<'a> {
    pub(super) catalogue: &'a Catalogue<'a>,
    pub(super) issuers: Option<&'a [IssuerSettings]>,
    pub(super) credentials: Option<&'a CredentialSettings>,
    pub(super) listeners: Option<&'a Listeners>,
}

/// Reads `oauth`.
pub(super) fn read(root: &Section<'_>, around: &Around<'_>) -> Option<Option<OAuthSettings>> {
    let builtin = around
        .issuers
        .and_then(|issuers| issuers.iter().find(|one| one.jwks == JwksSource::Builtin));
    let Some(field) = root.get("oauth") else {
        if builtin.is_some() {
            return root.field().refuse(
                "`oauth` is missing",
                "add oauth: { issuer: … }, or remove `builtin: true`",
            );
        }
        return Some(None);
    };
    let settings = field.section(|section| oauth(section, around, builtin));
    if let (Some(issuers), None) = (around.issuers, builtin) {
        let own = issuer_as_written(root);
        let hint = match issuers.iter().any(|one| Some(&*one.issuer) == own) {
            true => {
                "write builtin: true in its entry of access_tokens, in place of `jwks` and `algorithms`"
            }
            false => BUILTIN,
        };
        return field.refuse("nothing accepts the tokens of this server", hint);
    }
    settings.map(Some)
}

/// The issuer that `oauth` names, right or wrong.
pub(super) fn issuer_as_written<'a>(root: &Section<'a>) -> Option<&'a str> {
    let Value::Map(entries) = root.get("oauth")?.value() else {
        return None;
    };
    let issuer = entries.iter().find(|(key, _)| key.name == "issuer");
    match &issuer?.1.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn oauth(
    section: &Section<'_>,
    around: &Around<'_>,
    builtin: Option<&IssuerSettings>,
) -> Option<OAuthSettings> {
    let issuer = section.required("issuer", "add issuer: https://host", |field| {
        issuer_of(field, builtin)
    });
    let authorize_host = section.optional("authorize_host", host);
    let token_host = section.optional("token_host", host);
    let access_token_ttl = section.or("access_token_ttl", Duration::from_secs(3600), |field| {
        field.duration_within(MINUTE..=DAY, "write 1m to 24h")
    });
    let refresh = section.section("refresh_token", refresh);
    let algorithms = [
        ("ES256", SigningAlgorithm::Es256),
        ("RS256", SigningAlgorithm::Rs256),
    ];
    let algorithm = section.or("signing_algorithm", SigningAlgorithm::Es256, |field| {
        field.word(&algorithms)
    });
    let default_scopes = section.or("default_scopes", ScopeSet::empty(), |field| {
        let scopes = field.set_of(|item| around.catalogue.resolve(item));
        scopes.map(ScopeSet::from_iter)
    });
    let documentation = section.optional("documentation", page);
    let login = section.or("login", LoginMode::Builtin, |field| login(field, around));
    let issuer = issuer?;
    let resources = builtin?.audiences.clone();
    Some(OAuthSettings {
        authorize_host: authorize_host?.unwrap_or_else(|| host_of(&issuer)),
        token_host: token_host?.unwrap_or_else(|| {
            resources
                .first()
                .map(|one| host_of(one))
                .unwrap_or_default()
        }),
        issuer,
        resources,
        access_token_ttl: access_token_ttl?,
        refresh: refresh?,
        algorithm: algorithm?,
        scopes: around.catalogue.scopes.clone()?,
        default_scopes: default_scopes?,
        documentation: documentation?,
        realm: around.credentials?.realm.clone(),
        login: login?,
    })
}

fn login(field: &Field<'_>, around: &Around<'_>) -> Option<LoginMode> {
    const HINT: &str = "write builtin, or { delegated: { url: https://login.example/ } }";
    match field.value() {
        Value::Text(text) if text == "builtin" => Some(LoginMode::Builtin),
        Value::Text(text) => field.refuse(format!("unknown value {}", quoted(text)), HINT),
        _ => {
            let url = "add url: https://login.example/";
            let page = field.section(|section| {
                section.required("delegated", HINT, |delegated| {
                    delegated.section(|section| section.required("url", url, login_page))
                })
            })?;
            match around.listeners {
                Some(listeners) if listeners.admin.is_none() => field.refuse(
                    "nothing could answer the logins: the admin API is off",
                    "set listen.admin, or write builtin",
                ),
                _ => Some(LoginMode::Delegated(page)),
            }
        }
    }
}

fn login_page(field: &Field<'_>) -> Option<LoginPage> {
    field.url("https://host/path")?;
    match LoginPage::parse(field.text()?) {
        Ok(page) => Some(page),
        Err(fault) => field.refuse(fault.to_string(), "write it as https://host/path"),
    }
}

fn issuer_of(field: &Field<'_>, builtin: Option<&IssuerSettings>) -> Option<String> {
    let issuer = issuer_name(field)?;
    match builtin {
        Some(entry) if entry.issuer != issuer => field.refuse(
            "not the issuer of the entry with `builtin: true` in access_tokens",
            format!("write {} in both places", quoted(&entry.issuer)),
        ),
        _ => Some(issuer),
    }
}

fn refresh(section: &Section<'_>) -> Option<RefreshSettings> {
    let length = |key, default| {
        section.or(key, default, |field: &Field<'_>| {
            field.duration_within(MINUTE..=LONGEST_GRANT, "write 1m to 90d")
        })
    };
    let idle = length("idle", 30 * DAY);
    let absolute = length("absolute", LONGEST_GRANT);
    let grace = section.or("grace", Duration::from_secs(10), |field| {
        let grace = field.duration_or_zero()?;
        match grace <= Duration::from_secs(60) {
            true => Some(grace),
            false => field.refuse("too long", "write 0s to 60s"),
        }
    });
    if let (Some(idle), Some(absolute), Some(field)) = (idle, absolute, section.get("idle"))
        && idle > absolute
    {
        field.report(
            "`idle` is longer than `absolute`",
            "make it shorter, or remove it",
        );
    }
    Some(RefreshSettings {
        idle: idle?,
        absolute: absolute?,
        grace: grace?,
    })
}

/// `host` or `host:port`, as browsers and clients write it.
fn host(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let (name, port) = text.split_once(':').unwrap_or((text, "443"));
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if !is_host_name(name) || !is_port {
        return field.refuse(
            format!("{} is not a host name", quoted(text)),
            "write it as host or host:port, in lower case",
        );
    }
    Some(text.to_owned())
}

fn page(field: &Field<'_>) -> Option<String> {
    let url = field.url("https://host/path")?;
    match url.scheme {
        "https" => field.text().map(str::to_owned),
        _ => field.refuse("not an https URL", "write https://…"),
    }
}

/// The authority of a checked `https` URL.
fn host_of(url: &str) -> String {
    authority_and_path(url).0.to_ascii_lowercase()
}
