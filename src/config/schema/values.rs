//! The values in the sections of `gateway.yaml`: their forms and their words.

#![expect(dead_code, reason = "the shapes are only described, never built")]

use schemars::JsonSchema;

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Access {
    /// `authenticated`: holders of any valid credential.
    Word(AccessWord),
    /// Exactly one of these.
    Choice(AccessChoice),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum AccessWord {
    Authenticated,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct AccessChoice {
    /// Holders of all of these.
    #[schemars(length(min = 1))]
    scopes: Option<Vec<String>>,
    /// Holders of at least one of these.
    #[schemars(length(min = 1))]
    any_scope: Option<Vec<String>>,
    /// Everyone, without a look at credentials; say why.
    public: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum AccessLog {
    Word(AccessLogWord),
    File(AccessLogFile),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum AccessLogWord {
    Stdout,
    Off,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AccessLogFile {
    /// The file that lines are appended to; reopened on SIGHUP.
    file: String,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum AuditCopy {
    /// Standard output.
    Stdout,
    /// The machine's syslog, over `/dev/log`.
    Syslog,
}

/// A secret: `{ file: path }`, `${env:NAME}`, or, where it is allowed, the value itself.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Secret {
    Text(String),
    File(SecretFile),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct SecretFile {
    /// A file that only its owner may read; white space around the secret is not part of it.
    file: String,
}

/// One, or a list of which one is enough.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Audience {
    One(String),
    Several(#[schemars(length(min = 1))] Vec<String>),
}

/// A whole number and a unit: `500ms`, `5s`, `10m`, `1h`, `30d`.
#[derive(JsonSchema)]
pub(super) struct Duration(#[schemars(regex(pattern = "^[0-9]+(ms|s|m|h|d)$"))] String);

/// Bytes: a whole number, with a unit or without: `512B`, `64KiB`, `10MiB`, `1GiB`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Size {
    Bytes(u64),
    Text(#[schemars(regex(pattern = "^[0-9]+(B|KiB|MiB|GiB)$"))] String),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum PlaintextCredentials {
    Report,
    Revoke,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Checksum {
    Required,
    Optional,
}

#[derive(JsonSchema)]
pub(super) enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    Ed25519,
}

#[derive(JsonSchema)]
pub(super) enum SigningAlgorithm {
    ES256,
    RS256,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Login {
    /// The gateway, with the users of `portcullis user`.
    Word(LoginWord),
    /// A page of yours.
    Choice(LoginChoice),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum LoginWord {
    Builtin,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct LoginChoice {
    /// A page of yours, which answers over the admin API.
    delegated: LoginPage,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct LoginPage {
    /// Where browsers are sent with a `login_challenge`: an https URL without a fragment.
    url: String,
}

#[derive(JsonSchema)]
pub(super) enum TokenType {
    #[schemars(rename = "at+jwt")]
    AccessToken,
    #[schemars(rename = "any")]
    Any,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Revocation {
    Log,
    None,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Environment {
    Live,
    Test,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Identity {
    Headers,
    Jwt,
    None,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Host {
    Preserve,
    Upstream,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
pub(super) enum Method {
    Delete,
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
}
