//! Why the authorization server refused a request: for the access log, never for the client.
//!
//! A refusal travels with its answer, as an extension that [`super::AuthorizationServer::answer`]
//! takes out again. Not here: what the client is told ([`super::problem`], [`super::page`]).
//! Invariant: a refusal is a constant; nothing that a client sent is in it.

use bytes::Bytes;
use http::Response;

use super::page::{Message, Notice};
use super::problem::Problem;

macro_rules! refusals {
    ($($(#[$what:meta])* $name:ident = $label:literal;)*) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$what])* $name,)*
        }

        impl Refusal {
            /// All of them.
            pub const ALL: &[Refusal] = &[$(Refusal::$name),*];

            /// The word for it in the access log.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Refusal::$name => $label,)*
                }
            }
        }
    };
}

refusals! {
    /// Too many passwords are being checked.
    Busy = "busy";
    /// The client is disabled.
    ClientDisabled = "client_disabled";
    /// The client shows itself in another way than it was registered for.
    ClientMethod = "client_method";
    /// The request says of no client that it is from it.
    ClientMissing = "client_missing";
    /// The secret is not one of the client's, or has ended.
    ClientSecretWrong = "client_secret_wrong";
    /// There is no such client.
    ClientUnknown = "client_unknown";
    /// The code is too old.
    CodeExpired = "code_expired";
    /// The code is another client's.
    CodeForeign = "code_foreign";
    /// There is no such code (any more).
    CodeUnknown = "code_unknown";
    /// The code was redeemed before: its grant is revoked.
    CodeUsed = "code_used";
    /// `code_verifier` is missing or wrong.
    CodeVerifierWrong = "code_verifier_wrong";
    /// A form that no page of ours has sent.
    FormForged = "form_forged";
    /// The grant was revoked before.
    GrantRevoked = "grant_revoked";
    /// The client may not use this grant type.
    GrantTypeNotAllowed = "grant_type_not_allowed";
    /// There is no such grant type.
    GrantTypeUnknown = "grant_type_unknown";
    /// The interaction took too long.
    InteractionExpired = "interaction_expired";
    /// There is no such interaction in this browser.
    InteractionUnknown = "interaction_unknown";
    /// The interaction was decided before.
    InteractionUsed = "interaction_used";
    /// A bug.
    Internal = "internal";
    /// The operator's login page said no.
    LoginRejected = "login_rejected";
    /// The endpoint does not have this method.
    Method = "method";
    /// There is no such page with this kind of login.
    NotFound = "not_found";
    /// An unknown name, a wrong password or a disabled user.
    PasswordWrong = "password_wrong";
    /// Not the redirect URI that the code was asked for with.
    RedirectMismatch = "redirect_mismatch";
    /// Not one of the client's redirect URIs.
    RedirectUnregistered = "redirect_unregistered";
    /// The refresh token is too old.
    RefreshExpired = "refresh_expired";
    /// The refresh token is another client's.
    RefreshForeign = "refresh_foreign";
    /// The refresh token is newer than the store.
    RefreshFuture = "refresh_future";
    /// An old refresh token came back: its grant is revoked.
    RefreshReused = "refresh_reused";
    /// There is no such refresh token (any more).
    RefreshUnknown = "refresh_unknown";
    /// A parameter is missing, repeated or malformed.
    RequestMalformed = "request_malformed";
    /// A resource that there is not, or that was not granted.
    ResourceNotAllowed = "resource_not_allowed";
    /// Another response type than `code`.
    ResponseTypeUnknown = "response_type_unknown";
    /// Not a list of scopes.
    ScopeMalformed = "scope_malformed";
    /// No scope was named, and there is no default for this client.
    ScopeMissing = "scope_missing";
    /// A scope that this client may not have.
    ScopeNotAllowed = "scope_not_allowed";
    /// A scope that was not granted, or is not any more.
    ScopeNotGranted = "scope_not_granted";
    /// There is no such scope.
    ScopeUnknown = "scope_unknown";
    /// Too many failures before.
    Throttled = "throttled";
    /// Not a kind of token that is revoked here.
    TokenTypeUnknown = "token_type_unknown";
    /// The store is away, or there is no signing key.
    Unavailable = "unavailable";
    /// The user said no.
    UserDenied = "user_denied";
    /// The user is disabled.
    UserDisabled = "user_disabled";
}

impl Refusal {
    /// Goes with an answer.
    pub(super) fn mark(self, mut response: Response<Bytes>) -> Response<Bytes> {
        response.extensions_mut().insert(self);
        response
    }

    /// What goes with an answer, if it refuses anything.
    pub(super) fn take(response: &mut Response<Bytes>) -> Option<Refusal> {
        response.extensions_mut().remove()
    }
}

impl From<&Problem> for Refusal {
    fn from(problem: &Problem) -> Refusal {
        match problem {
            Problem::InvalidClient(why) | Problem::InvalidGrant(why) => *why,
            Problem::InvalidRequest(_) => Refusal::RequestMalformed,
            Problem::InvalidScope(fault) => fault.refusal(),
            Problem::InvalidTarget => Refusal::ResourceNotAllowed,
            Problem::TooManyFailures(_) => Refusal::Throttled,
            Problem::UnauthorizedClient => Refusal::GrantTypeNotAllowed,
            Problem::Unavailable => Refusal::Unavailable,
            Problem::UnsupportedGrantType => Refusal::GrantTypeUnknown,
            Problem::UnsupportedTokenType => Refusal::TokenTypeUnknown,
        }
    }
}

impl From<Notice> for Refusal {
    fn from(notice: Notice) -> Refusal {
        match notice {
            Notice::Absent => Refusal::NotFound,
            Notice::Expired => Refusal::InteractionExpired,
            Notice::Forged => Refusal::FormForged,
            Notice::Malformed => Refusal::RequestMalformed,
            Notice::TooMany => Refusal::Throttled,
            Notice::Unavailable => Refusal::Unavailable,
            Notice::Unknown => Refusal::InteractionUnknown,
            Notice::UnknownClient => Refusal::ClientUnknown,
            Notice::UnknownRedirect => Refusal::RedirectUnregistered,
            Notice::Used => Refusal::InteractionUsed,
        }
    }
}

impl Message {
    /// Why the login did not succeed; `None` if there was none yet.
    pub(super) const fn refusal(self) -> Option<Refusal> {
        match self {
            Message::Busy => Some(Refusal::Busy),
            Message::None => None,
            Message::TooMany(_) => Some(Refusal::Throttled),
            Message::Wrong => Some(Refusal::PasswordWrong),
        }
    }
}
