//! The room as a whole in paused time: what on the wire would depend on how fast a machine is.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};

use http::header::{CONTENT_TYPE, COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use tokio::runtime::Handle;
use tokio::time::advance;

use super::*;
use crate::auth::{
    AccessTokens, Authenticator, CacheSettings, Checksum, CredentialSettings, Revocation,
};
use crate::clock::{Clock, Timestamp};
use crate::id::{AccountId, ClientId, LoginName, SubjectId};
use crate::observe::Metrics;
use crate::secret::{Pepper, Secret};
use crate::store::{
    ClientAuthentication, ClientKind, ClientRecord, ClientSettings, Consent, CreateClient,
    CreateUser, GrantType, PkceRule, Store, StoreSettings, UserRecord,
};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const CALLBACK: &str = "https://yourapp.com/callback";
const PASSWORD: &str = "correct+horse";

struct Room {
    _folder: tempfile::TempDir,
    server: Arc<AuthorizationServer>,
}

impl Room {
    /// With the client `client_1` and the user `alice`.
    async fn open() -> Room {
        let folder = tempfile::tempdir().expect("a folder");
        let (clock, metrics) = (Clock::manual(NOW), Arc::new(Metrics::new()));
        let path = folder.path().join("store.redb");
        let store = crate::store::open(&StoreSettings::Embedded { path }, &clock, &metrics);
        let store = store.expect("a store");
        let made = store.create_client(client()).await;
        assert_eq!(made.expect("the store is there"), CreateClient::Created);
        let made = store.create_user(user()).await;
        assert_eq!(made.expect("the store is there"), CreateUser::Created);
        Room {
            server: Arc::new(server(&store, &clock, &metrics)),
            _folder: folder,
        }
    }

    async fn ask(&self, method: Method, path: &str, cookie: &str, form: &str) -> Response<Bytes> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let hosts = ["osir.com", "api.osir.com"].into_iter();
        let own = hosts
            .filter_map(|host| self.server.endpoint(host, path))
            .next();
        let mut headers = HeaderMap::new();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form_type);
        headers.insert(COOKIE, HeaderValue::try_from(cookie).expect("a field"));
        let request = OwnRequest {
            own: own.expect("an endpoint"),
            method,
            query: Some(query.to_owned()),
            headers,
            body: Bytes::from(form.to_owned()),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            oauth_client: OnceLock::new(),
        };
        let answer = self.server.answer(request).await;
        answer.expect("an answer").response
    }
}

fn text(response: &Response<Bytes>, name: impl http::header::AsHeaderName) -> &str {
    let value = response.headers().get(name).expect("the field");
    value.to_str().expect("ASCII")
}

fn server(store: &Arc<dyn Store>, clock: &Clock, metrics: &Arc<Metrics>) -> AuthorizationServer {
    let credentials = credentials();
    let control = Handle::current();
    let parts = OAuthParts::new(
        Arc::clone(store),
        clock.clone(),
        &credentials,
        control.clone(),
    );
    let tokens = AccessTokens::new(&[], clock.clone(), metrics, &control, 1);
    let revocation = Arc::new(Revocation::new(&credentials.cache, &[]));
    let (authenticator, _) = Authenticator::new(
        &credentials,
        tokens.expect("no issuer, no problem"),
        revocation,
        Arc::clone(store),
        control,
        clock.clone(),
        metrics,
    );
    let settings = super::server::tests::settings();
    AuthorizationServer::new(settings, parts, Arc::new(authenticator))
}

fn credentials() -> CredentialSettings {
    CredentialSettings {
        realm: "osir".into(),
        prefix: "osir".into(),
        peppers: Pepper::new(b"0123456789abcdefghijklmnopqrstuvwxyz")
            .expect("strong")
            .into(),
        checksum: Checksum::Required,
        cache: CacheSettings {
            capacity: 1,
            fresh: Duration::from_secs(60),
            stale: Duration::from_secs(300),
            negative: Duration::from_secs(2),
        },
    }
}

fn scopes() -> ScopeSet {
    ScopeSet::parse("domains:read").expect("scopes")
}

fn client() -> ClientRecord {
    ClientRecord {
        id: ClientId::parse("client_1").expect("an id"),
        kind: ClientKind::Confidential,
        settings: ClientSettings {
            name: "The app".into(),
            redirects: vec![CALLBACK.into()],
            grants: vec![GrantType::AuthorizationCode],
            scopes: scopes(),
            authentication: ClientAuthentication::AnySecret,
            pkce: PkceRule::Optional,
            consent: Consent::Always,
            account: None,
        },
        secrets: Vec::new(),
        rotation: None,
        created_at: NOW,
        disabled_at: None,
    }
}

fn user() -> UserRecord {
    UserRecord {
        id: SubjectId::parse("usr_alice").expect("an id"),
        name: LoginName::parse("alice").expect("a name"),
        password: HashedPassword::new(&Secret::new(PASSWORD.replace('+', " "))).to_hash(),
        password_set_at: NOW,
        account: AccountId::parse("acct_1").expect("an id"),
        scopes: scopes(),
        created_at: NOW,
        disabled_at: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_failing_waits_twice_as_long_each_time() {
    let room = Room::open().await;
    let form = "grant_type=client_credentials&client_id=client_1&client_secret=wrong";
    let fail = async || room.ask(Method::POST, "/oauth/token", "", form).await;
    for _ in 0..30 {
        assert_eq!(fail().await.status(), StatusCode::UNAUTHORIZED);
    }
    for seconds in [1, 2, 4] {
        let refused = fail().await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(text(&refused, RETRY_AFTER), seconds.to_string());
        advance(Duration::from_secs(seconds)).await;
        assert_eq!(fail().await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_guessed_at_waits_and_its_owner_gets_in_afterwards() {
    let room = Room::open().await;
    let begin = format!(
        "/oauth/authorize?client_id=client_1&redirect_uri={CALLBACK}&response_type=code&scope=domains:read"
    );
    let begun = room.ask(Method::GET, &begin, "", "").await;
    let page = text(&begun, LOCATION).to_owned();
    let cookie = text(&begun, SET_COOKIE).split(';').next();
    let cookie = cookie.expect("a pair").to_owned();
    let shown = room.ask(Method::GET, &page, &cookie, "").await;
    let html = String::from_utf8_lossy(shown.body()).into_owned();
    let token = html.split(r#"name="token" value=""#).nth(1);
    let token = token.and_then(|rest| rest.split('"').next());
    let token = token.expect("a form token");
    let log_in = async |password: &str| {
        let form = format!("token={token}&name=alice&password={password}");
        let path = format!("{page}/login");
        room.ask(Method::POST, &path, &cookie, &form).await
    };
    for _ in 0..5 {
        assert_eq!(log_in("wrong").await.status(), StatusCode::FORBIDDEN);
    }
    // The right one has to wait too, or the answer would tell it.
    let refused = log_in(PASSWORD).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(text(&refused, RETRY_AFTER), "1");
    advance(Duration::from_secs(1)).await;
    let entered = log_in(PASSWORD).await;
    assert_eq!(entered.status(), StatusCode::SEE_OTHER);
    assert_eq!(text(&entered, LOCATION), page);
}
