//! `access_tokens`: the issuers whose JWTs are accepted.
//!
//! Invariant: every issuer is an `https` URL of its own, with its algorithms written out.

use std::time::Duration;

use crate::auth::{IssuerRevocation, IssuerSettings, JwksSource, SignatureAlgorithm, TokenType};

use super::field::{Field, Section};
use super::node::Value;
use super::report::quoted;

const ISSUER_FORM: &str = "https://host or https://host/path";
const WIDEST_SKEW: Duration = Duration::from_secs(600);
const ALGORITHMS: [(&str, SignatureAlgorithm); 9] = [
    ("RS256", SignatureAlgorithm::Rs256),
    ("RS384", SignatureAlgorithm::Rs384),
    ("RS512", SignatureAlgorithm::Rs512),
    ("PS256", SignatureAlgorithm::Ps256),
    ("PS384", SignatureAlgorithm::Ps384),
    ("PS512", SignatureAlgorithm::Ps512),
    ("ES256", SignatureAlgorithm::Es256),
    ("ES384", SignatureAlgorithm::Es384),
    ("Ed25519", SignatureAlgorithm::Ed25519),
];

/// Reads `access_tokens`.
pub(super) fn read(root: &Section<'_>) -> Option<Vec<IssuerSettings>> {
    let own = super::oauth::issuer_as_written(root);
    root.or("access_tokens", Vec::new(), |list| {
        let mut seen: Vec<String> = Vec::new();
        list.list_of(|item| {
            item.section(|section| {
                let read = issuer(section, own);
                report_repeat(section, &mut seen);
                read
            })
        })
    })
}

fn report_repeat(section: &Section<'_>, seen: &mut Vec<String>) {
    let Some(field) = section.get("issuer") else {
        return;
    };
    let Value::Text(name) = field.value() else {
        return;
    };
    if seen.contains(name) {
        field.report(
            format!("the issuer {} is repeated", quoted(name)),
            "an issuer has one entry; list several audiences or algorithms in it",
        );
    }
    seen.push(name.clone());
}

/// `own` is the issuer that `oauth` names.
fn issuer(section: &Section<'_>, own: Option<&str>) -> Option<IssuerSettings> {
    let seconds = |key, default| section.or(key, Duration::from_secs(default), Field::duration);
    let types = [("at+jwt", TokenType::AccessToken), ("any", TokenType::Any)];
    let revocations = [
        ("log", IssuerRevocation::Log),
        ("none", IssuerRevocation::None),
    ];
    if section.get("builtin").is_some() {
        return builtin(section);
    }
    let issuer = section.required("issuer", format!("add issuer: {ISSUER_FORM}"), issuer_name);
    let is_own = own.is_some() && own == issuer.as_deref();
    let jwks = jwks(section, is_own);
    let audiences = section.required("audience", "add audience: what `aud` must hold", audiences);
    let algorithms = section.required("algorithms", "add algorithms: [RS256]", |field| {
        field.set_of(algorithm)
    });
    let token_type = section.or("token_type", TokenType::AccessToken, |f| f.word(&types));
    let clock_skew = section.or("clock_skew", Duration::from_secs(60), clock_skew);
    let max_lifetime = seconds("max_lifetime", 86_400);
    let revocation = section.or("revocation", IssuerRevocation::Log, |f| {
        f.word(&revocations)
    });
    Some(IssuerSettings {
        issuer: issuer?,
        jwks: jwks?,
        audiences: audiences?,
        algorithms: algorithms?,
        token_type: token_type?,
        clock_skew: clock_skew?,
        max_lifetime: max_lifetime?,
        revocation: revocation?,
    })
}

/// The gateway's own authorization server: its keys, algorithms and types are its own business.
fn builtin(section: &Section<'_>) -> Option<IssuerSettings> {
    let on = section.or("builtin", false, Field::switch);
    let issuer = section.required("issuer", format!("add issuer: {ISSUER_FORM}"), issuer_name);
    let audiences = section.required(
        "audience",
        "add audience: https://the host of your API",
        resources,
    );
    let clock_skew = section.or("clock_skew", Duration::from_secs(60), clock_skew);
    for key in [
        "jwks",
        "ca",
        "algorithms",
        "token_type",
        "max_lifetime",
        "revocation",
    ] {
        if let Some(field) = section.get(key) {
            field.report(
                format!("`{key}` has no effect beside `builtin`"),
                "remove it: the gateway knows its own tokens",
            );
        }
    }
    if on == Some(false) {
        return section
            .get("builtin")?
            .refuse("`builtin: false` says nothing", "remove it");
    }
    on?;
    Some(IssuerSettings {
        issuer: issuer?,
        jwks: JwksSource::Builtin,
        audiences: audiences?,
        algorithms: vec![SignatureAlgorithm::Es256, SignatureAlgorithm::Rs256],
        token_type: TokenType::AccessToken,
        clock_skew: clock_skew?,
        max_lifetime: Duration::from_secs(86_400),
        revocation: IssuerRevocation::Log,
    })
}

/// RFC 8707 §2: absolute URLs; here https, and of the API's own hosts.
fn resources(field: &Field<'_>) -> Option<Vec<String>> {
    match field.value() {
        Value::Text(_) => issuer_name(field).map(|resource| vec![resource]),
        _ => field.set_of(issuer_name),
    }
}

/// RFC 8414 §2: an `https` URL without query and fragment. Kept as it is written: `iss` is
/// compared byte for byte.
pub(super) fn issuer_name(field: &Field<'_>) -> Option<String> {
    let url = field.url(ISSUER_FORM)?;
    if url.scheme != "https" {
        return field.refuse("an issuer has to be an https URL", "write https://…");
    }
    if url.rest.contains(['?', '#']) {
        return field.refuse(
            "an issuer has no query and no fragment (RFC 8414 §2)",
            format!("write it as {ISSUER_FORM}"),
        );
    }
    field.text().map(str::to_owned)
}

fn jwks(section: &Section<'_>, is_own: bool) -> Option<JwksSource> {
    const HINT: &str = "add jwks: https://host/jwks.json or the path of a file";
    let hint = match is_own {
        true => "add builtin: true, and no `algorithms`: it is the issuer of `oauth`",
        false => HINT,
    };
    let ca = section.optional("ca", Field::certificates);
    let jwks = section.required("jwks", hint, |field| {
        if !field.text()?.contains("://") {
            return field.key_set().map(JwksSource::File);
        }
        let url = field.url("https://host/path")?;
        if url.scheme != "https" {
            return field.refuse(
                "keys fetched without TLS can be replaced on the way",
                "write https://…, with `ca` for a private certificate authority",
            );
        }
        let url = field.text()?.to_owned();
        Some(JwksSource::Url { url, ca: None })
    });
    match (jwks?, ca?) {
        (JwksSource::Url { url, .. }, ca) => Some(JwksSource::Url { url, ca }),
        (file, None) => Some(file),
        (JwksSource::Builtin | JwksSource::File(_), Some(_)) => section.get("ca")?.refuse(
            "`ca` has no effect on a file",
            "remove it, or write an https:// URL in `jwks`",
        ),
    }
}

/// Every second of it is one more that an expired token is accepted.
fn clock_skew(field: &Field<'_>) -> Option<Duration> {
    let skew = field.duration_or_zero()?;
    if skew > WIDEST_SKEW {
        return field.refuse(
            "too large",
            "write 0s to 10m; synchronise the clocks instead",
        );
    }
    Some(skew)
}

fn audiences(field: &Field<'_>) -> Option<Vec<String>> {
    let one = |field: &Field<'_>| field.text().map(str::to_owned);
    match field.value() {
        Value::Text(_) => one(field).map(|audience| vec![audience]),
        _ => field.set_of(one),
    }
}

fn algorithm(field: &Field<'_>) -> Option<SignatureAlgorithm> {
    let hint = match field.text()? {
        "none" => "an unsigned token proves nothing",
        "HS256" | "HS384" | "HS512" => "whoever can check an HMAC can also make one",
        "EdDSA" => "write Ed25519 (RFC 9864 §2.2)",
        _ => return field.word(&ALGORITHMS),
    };
    let name = quoted(field.text()?);
    field.refuse(format!("the algorithm {name} is not accepted"), hint)
}
