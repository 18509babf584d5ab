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
        let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.ask_from(home, method, path, cookie, form).await
    }

    async fn ask_from(
        &self,
        client: IpAddr,
        method: Method,
        path: &str,
        cookie: &str,
        form: &str,
    ) -> Response<Bytes> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let hosts = ["osir.com", "api.osir.com"].into_iter();
        let own = hosts
            .filter_map(|host| match self.server.find(host, path)? {
                Found::Endpoint(own) => Some(own),
                Found::Nothing => None,
            })
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
            client,
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
        None,
        metrics,
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
        peppers: Pepper::of_test(b'z').into(),
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
async fn an_address_that_begins_too_many_logins_is_told_to_wait_and_nothing_is_kept_of_them() {
    let room = Room::open().await;
    let begin = format!(
        "/oauth/authorize?client_id=client_1&redirect_uri={CALLBACK}&response_type=code&scope=domains:read"
    );
    let start = async || room.ask(Method::GET, &begin, "", "").await;
    let mut begun = 0;
    let refused = loop {
        let answer = start().await;
        if answer.status() != StatusCode::FOUND {
            break answer;
        }
        begun += 1;
    };
    assert_eq!(begun, 120);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(text(&refused, RETRY_AFTER), "1");
    assert!(!refused.headers().contains_key(SET_COOKIE));
    advance(Duration::from_secs(1)).await;
    for status in [StatusCode::FOUND, StatusCode::FOUND] {
        assert_eq!(start().await.status(), status);
    }
    assert_eq!(start().await.status(), StatusCode::TOO_MANY_REQUESTS);
}

/// A login page in a browser.
struct LoginPage {
    path: String,
    cookie: String,
    token: String,
}

impl LoginPage {
    async fn open(room: &Room) -> LoginPage {
        let begin = format!(
            "/oauth/authorize?client_id=client_1&redirect_uri={CALLBACK}&response_type=code&scope=domains:read"
        );
        let begun = room.ask(Method::GET, &begin, "", "").await;
        let path = text(&begun, LOCATION).to_owned();
        let cookie = text(&begun, SET_COOKIE).split(';').next();
        let cookie = cookie.expect("a pair").to_owned();
        let shown = room.ask(Method::GET, &path, &cookie, "").await;
        let html = String::from_utf8_lossy(shown.body()).into_owned();
        let token = html.split(r#"name="token" value=""#).nth(1);
        let token = token.and_then(|rest| rest.split('"').next());
        LoginPage {
            path,
            cookie,
            token: token.expect("a form token").to_owned(),
        }
    }

    /// As alice, from the address of this number.
    async fn log_in(&self, room: &Room, from: u8, password: &str) -> Response<Bytes> {
        let (token, path) = (&self.token, format!("{}/login", self.path));
        let form = format!("token={token}&name=alice&password={password}");
        let from = IpAddr::V4(Ipv4Addr::new(192, 0, 2, from));
        room.ask_from(from, Method::POST, &path, &self.cookie, &form)
            .await
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_guessed_at_waits_and_its_owner_gets_in_afterwards() {
    let room = Room::open().await;
    let page = LoginPage::open(&room).await;
    let log_in = async |password: &str| page.log_in(&room, 1, password).await;
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
    assert_eq!(text(&entered, LOCATION), page.path);
}

#[tokio::test(start_paused = true)]
async fn guesses_that_come_at_once_are_no_more_than_are_free_and_keep_nobody_else_out() {
    let room = Arc::new(Room::open().await);
    let page = Arc::new(LoginPage::open(&room).await);
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (room, page) = (Arc::clone(&room), Arc::clone(&page));
        guesses.spawn(async move { page.log_in(&room, 1, "wrong").await.status() });
    }
    let statuses = guesses.join_all().await;
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    let tested = count(StatusCode::FORBIDDEN);
    assert!((1..=5).contains(&tested), "{statuses:?}");
    let told_to_wait = count(StatusCode::TOO_MANY_REQUESTS);
    let told_that_it_is_busy = count(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(tested + told_to_wait + told_that_it_is_busy, 40);
    // The name is guessed at from everywhere now; the owner is elsewhere.
    for from in 2..30 {
        let guess = page.log_in(&room, from, "wrong").await;
        assert_eq!(guess.status(), StatusCode::FORBIDDEN, "{from}");
    }
    let again = page.log_in(&room, 29, "wrong").await;
    assert_eq!(again.status(), StatusCode::TOO_MANY_REQUESTS);
    let owner = page.log_in(&room, 100, PASSWORD).await;
    assert_eq!(owner.status(), StatusCode::SEE_OTHER);
    let counted = room.server.parts.metrics.render();
    for (outcome, count) in [
        ("ok", 1),
        ("wrong", tested + 28),
        ("throttled", told_to_wait + 1),
    ] {
        let line = format!("portcullis_oauth_logins_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(counted.contains(&line), "{line}{counted}");
    }
}
