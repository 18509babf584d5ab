//! Why a request would be let through or not: each step with its verdict.
//!
//! Invariant: the steps and their order are those of [`crate::gateway`]; the answer holds ids and
//! reasons, never what was asked with.

use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::table;
use crate::auth::{Credential, CredentialForm, Failure, Principal, Refusal, SessionCookie};
use crate::environment::Environment;
use crate::gateway::{
    Access, Asked, CHECKS, CanonicalPath, Check, Live, OwnEndpoint, Reason, Resolved, Route,
    allows_scopes, is_known_method,
};
use crate::scope::ScopeSet;
use crate::secret::Secret;

/// A request that is only thought of.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// The method, as a client would send it.
    pub method: String,
    /// The request target: a path, perhaps with a query.
    pub path: String,
    /// The `Host`; `None` is any that has the path.
    pub host: Option<String>,
    /// The client's address; `None` skips the check of allowed addresses.
    pub address: Option<IpAddr>,
    /// What the client would show.
    pub credential: ExplainCredential,
}

impl ExplainRequest {
    fn lower_host(&self) -> String {
        self.host
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase()
    }
}

/// What the client of an [`ExplainRequest`] would show.
#[derive(Clone, Debug)]
pub enum ExplainCredential {
    /// An API key.
    Key(Secret),
    /// Nothing.
    None,
    /// No real credential: what if someone had these scopes.
    Scopes(ScopeSet),
    /// An access token or a session token.
    Token(Secret),
}

/// The steps so far.
#[derive(Debug, Default)]
struct Explanation {
    route: Option<String>,
    upstream: Option<String>,
    checks: Vec<Value>,
}

/// Says what would become of a request:
/// `{"verdict":"allow"|"deny","status":…,"reason":…,"route":…,"upstream":…,"checks":[{"step","verdict","detail"}]}`.
///
/// `covers` says whether a certificate of the gateway is for a host.
pub async fn explain(
    live: &Live,
    covers: impl Fn(&str) -> bool,
    request: &ExplainRequest,
) -> Value {
    let mut explanation = Explanation::default();
    let denied = match explanation.intake(covers, request) {
        Ok((path, method)) => explanation.walk(live, request, &path, &method).await.err(),
        Err(reason) => Some(reason),
    };
    json!({
        "verdict": if denied.is_some() { "deny" } else { "allow" },
        "status": denied.map_or(200, |reason| reason.answer().status.as_u16()),
        "reason": denied.map(Reason::label),
        "route": explanation.route,
        "upstream": explanation.upstream,
        "checks": explanation.checks,
    })
}

impl Explanation {
    fn intake(
        &mut self,
        covers: impl Fn(&str) -> bool,
        request: &ExplainRequest,
    ) -> Result<(String, Method), Reason> {
        let method = Method::from_bytes(request.method.as_bytes());
        let method = method
            .ok()
            .filter(is_known_method)
            .ok_or(Reason::MethodUnknown);
        let method = self.step("intake", method, |method| format!("the method is {method}"))?;
        match &request.host {
            None => self.allow("intake", "host: not given, not checked"),
            Some(host) if covers(host) => {
                self.allow("intake", &format!("a certificate covers {host}"));
            }
            Some(host) => {
                self.deny("intake", &format!("no certificate covers {host}"));
                return Err(Reason::Misdirected);
            }
        }
        let path = request.path.split('?').next().unwrap_or_default();
        let path = CanonicalPath::parse(path).map_err(|_| Reason::Path);
        let path = self.step("intake", path, |path| {
            format!("the canonical path is {}", path.as_str())
        })?;
        Ok((path.as_str().to_owned(), method))
    }

    async fn walk(
        &mut self,
        live: &Live,
        request: &ExplainRequest,
        path: &str,
        method: &Method,
    ) -> Result<(), Reason> {
        let endpoint = match request.host {
            None => OwnEndpoint::on_any_host(live, path),
            Some(_) => OwnEndpoint::of(live, &request.lower_host(), path),
        };
        if let Some(endpoint) = endpoint {
            return self.own(live, request, &endpoint, method).await;
        }
        let route = self.resolve(live, request, path, method)?;
        if let Access::Public { .. } = route.settings().access {
            self.allow("authenticate", "a public route: no credential is looked at");
            return Ok(());
        }
        match &request.credential {
            ExplainCredential::Scopes(scopes) => self.scopes(route, scopes),
            credential => {
                let principal = self.authenticate(live, route, credential).await?;
                self.authorize(live, route, request.address, &principal)
            }
        }
    }

    /// An endpoint of the gateway's own: what it would do with the body is not said.
    async fn own(
        &mut self,
        live: &Live,
        request: &ExplainRequest,
        endpoint: &OwnEndpoint,
        method: &Method,
    ) -> Result<(), Reason> {
        let taken = endpoint.takes(method).map_err(|denied| denied.reason());
        let route = taken.and_then(|()| endpoint.route(live).ok_or(Reason::NotFound));
        let route = self.step("route", route, |route| {
            format!("{}: {}", route.settings().name, endpoint.answered_by())
        })?;
        self.route = Some(route.settings().name.clone());
        if let Access::Public { reason } = &route.settings().access {
            self.allow("authenticate", reason);
            return Ok(());
        }
        if let ExplainCredential::Scopes(scopes) = &request.credential {
            return self.scopes(route, scopes);
        }
        let principal = self.authenticate(live, route, &request.credential).await?;
        match request.address {
            None => self.allow("authorize", "address: not given, not checked"),
            Some(address) => {
                let fits = principal.allows_address(address).then_some(());
                let fits = fits.ok_or(Reason::Address);
                self.step("authorize", fits, |()| "address fits".into())?;
            }
        }
        self.step("authorize", endpoint.serves(&principal), |()| {
            "it serves such a credential".into()
        })
    }

    fn resolve<'a>(
        &mut self,
        live: &'a Live,
        request: &ExplainRequest,
        path: &str,
        method: &Method,
    ) -> Result<&'a Route, Reason> {
        let resolved = match live.routes().resolve(&request.lower_host(), path, method) {
            Resolved::Route(route) => Ok(route),
            Resolved::MethodNotAllowed(_) => Err(Reason::Method),
            Resolved::NotFound => Err(Reason::NotFound),
        };
        let route = self.step("route", resolved, |route| {
            format!(
                "route {}, for {}",
                route.settings().name,
                table::access(&route.settings().access)
            )
        })?;
        self.route = Some(route.settings().name.clone());
        let target = live.targets().get(route.settings().upstream);
        self.upstream = target.map(|target| target.name().to_string());
        Ok(route)
    }

    async fn authenticate(
        &mut self,
        live: &Live,
        route: &Route,
        credential: &ExplainCredential,
    ) -> Result<Principal, Reason> {
        let authenticator = live.authenticator();
        let form = authenticator.form();
        let cookie = live.settings().sessions.cookie.as_ref();
        let headers = headers_with(credential, form, cookie).ok_or(Reason::Missing);
        let headers = self.step("credential", headers, |_| {
            "it can be sent in a header".into()
        })?;
        let extracted = match (Credential::extract(&headers, form), cookie) {
            (Ok(Credential::Absent), Some(cookie)) => cookie.credential(&headers, form),
            (extracted, _) => extracted,
        };
        let credential = self.step("credential", extracted.map_err(Reason::Credentials), |it| {
            format!("by its shape: {}", it.kind().label())
        })?;
        if headers.contains_key(COOKIE) {
            let unknown = "csrf: where the page is from, and its token, are not given, not checked";
            self.allow("credential", unknown);
        }
        let verdict = authenticator
            .inspect(credential, route.resource())
            .await
            .map_err(|failure| match failure {
                Failure::Absent => Reason::Missing,
                Failure::Refused(refusal) => Reason::Refused(refusal),
                Failure::Unavailable(unavailable) => Reason::Unavailable(unavailable),
            });
        if let (Err(Reason::Refused(Refusal::Audience)), Some(resource)) =
            (&verdict, route.resource())
        {
            let what = format!("audience: of our own tokens, the route takes those for {resource}");
            self.deny("authenticate", &what);
            return verdict;
        }
        self.step("authenticate", verdict, |principal| {
            let (id, scopes) = (principal.credential_id(), principal.scopes());
            match principal.resource() {
                Some(resource) => format!("{id} for {resource} with scopes {scopes}"),
                None => format!("{id} with scopes {scopes}"),
            }
        })
    }

    fn authorize(
        &mut self,
        live: &Live,
        route: &Route,
        address: Option<IpAddr>,
        principal: &Principal,
    ) -> Result<(), Reason> {
        let target = live.targets().get(route.settings().upstream);
        let upstream = target.map_or(Environment::Live, |target| target.settings().environment);
        for check in CHECKS {
            let Some(client) = address.or(unless_address(check)) else {
                self.allow("authorize", "address: not given, not checked");
                continue;
            };
            if check == Check::Scope {
                self.scopes(route, principal.scopes())?;
                continue;
            }
            let allowed = check.allows(
                &Asked {
                    route,
                    client,
                    upstream,
                },
                principal,
            );
            let verdict = if allowed { Ok(()) } else { Err(check.reason()) };
            self.step("authorize", verdict, |()| {
                format!("{} fits", check.reason().label())
            })?;
        }
        Ok(())
    }

    fn scopes(&mut self, route: &Route, scopes: &ScopeSet) -> Result<(), Reason> {
        let access = &route.settings().access;
        if allows_scopes(access, scopes) {
            self.allow("authorize", &format!("the scopes {scopes} are enough"));
            return Ok(());
        }
        let needed = table::access(access);
        self.deny("authorize", &format!("scope: needs {needed}, has {scopes}"));
        Err(Reason::Scope)
    }

    fn step<T>(
        &mut self,
        step: &str,
        verdict: Result<T, Reason>,
        detail: impl FnOnce(&T) -> String,
    ) -> Result<T, Reason> {
        match &verdict {
            Ok(value) => self.allow(step, &detail(value)),
            Err(reason) => self.deny(step, reason.label()),
        }
        verdict
    }

    fn deny(&mut self, step: &str, detail: &str) {
        self.checks
            .push(json!({ "step": step, "verdict": "deny", "detail": detail }));
    }

    fn allow(&mut self, step: &str, detail: &str) {
        self.checks
            .push(json!({ "step": step, "verdict": "allow", "detail": detail }));
    }
}

/// Only the address check needs an address; the others get one that they do not look at.
fn unless_address(check: Check) -> Option<IpAddr> {
    match check {
        Check::Address => None,
        Check::Environment | Check::Scope => Some(IpAddr::from([0, 0, 0, 0])),
    }
}

/// The header that a client would send; `None` if the text fits into none.
fn headers_with(
    credential: &ExplainCredential,
    form: &CredentialForm,
    cookie: Option<&SessionCookie>,
) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    match (credential, cookie) {
        (ExplainCredential::Token(token), Some(cookie)) if form.is_of_cookie(token.expose()) => {
            headers.insert(COOKIE, cookie.field(token)?);
            return Some(headers);
        }
        _ => {}
    }
    match credential {
        ExplainCredential::Key(key) => {
            headers.insert("x-api-key", HeaderValue::from_str(key.expose()).ok()?);
        }
        ExplainCredential::Token(token) => {
            let value = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
            headers.insert("authorization", HeaderValue::from_str(&value).ok()?);
        }
        ExplainCredential::None | ExplainCredential::Scopes(_) => {}
    }
    Some(headers)
}
