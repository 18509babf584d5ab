//! Clients and users that operators make, on their whole way: to a token, and to its end.

use portcullis::admin::{AdminClient, CreatedClient, NewUserBody, PasswordBody, RotateClientBody};
use portcullis::auth::{RevokeTokens, TokenName, TokenSelection};
use portcullis::clock::Clock;
use portcullis::id::{AccountId, ClientId, LoginName, RequestId};
use portcullis::oauth::{AppSelection, NewClientRequest};
use portcullis::secret::Secret;
use portcullis::store::{ChangeUser, ClientKind, GrantType};
use serde_json::Value;

use crate::house::{CALLBACK, House, basic, error, json, parameter, scopes, text};
use crate::support::{Answer, eventually};

const PASSWORD: &str = "a password of fives";
const NAME: &str = "dora@example.com";

/// A client and a user, made over the admin API as the commands do.
struct Made {
    house: House,
    client: ClientId,
    secret: Secret,
}

impl Made {
    fn over(house: House) -> Made {
        let created = house.gateway.operate(async |admin| {
            let user = NewUserBody {
                name: name(),
                account: AccountId::parse("acct_dora").expect("an id"),
                scopes: scopes("domains:read domains:write"),
                password: Secret::new(PASSWORD),
            };
            admin.create_user(&user).await.expect("made");
            register(&admin).await
        });
        Made {
            house,
            client: created.client.client_id,
            secret: created.client_secret.expect("a confidential client"),
        }
    }

    fn query(&self) -> String {
        let client = &self.client;
        format!(
            "client_id={client}&redirect_uri={CALLBACK}&response_type=code&scope=domains:read&state=s"
        )
    }

    /// Logs in; what the browser sees then.
    fn log_in(&self, password: &str) -> Answer {
        let mut browser = self.house.browser(&self.query());
        browser.log_in(&NAME.replace('@', "%40"), password);
        browser.answer
    }

    /// Login and consent, to the first tokens.
    fn connect(&self) -> Value {
        let answer = self.redeem(&self.code());
        assert_eq!(answer.status, 200, "{answer:?}");
        json(&answer)
    }

    /// Login and consent, to a code that nobody has redeemed.
    fn code(&self) -> String {
        let mut browser = self.house.browser(&self.query());
        browser.log_in(&NAME.replace('@', "%40"), PASSWORD);
        if parameter(&browser.answer, "code").is_none() {
            browser.decide("allow");
        }
        parameter(&browser.answer, "code").expect("a code")
    }

    fn redeem(&self, code: &str) -> Answer {
        let form = format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}");
        self.token(&form, &self.secret)
    }

    fn token(&self, form: &str, secret: &Secret) -> Answer {
        let (client, secret) = (&self.client, secret.expose());
        let form = format!("{form}&client_id={client}&client_secret={secret}");
        self.house.post("/oauth/token", "", &form)
    }

    fn refresh(&self, tokens: &Value, secret: &Secret) -> Answer {
        let token = text(tokens, "refresh_token");
        self.token(
            &format!("grant_type=refresh_token&refresh_token={token}"),
            secret,
        )
    }

    fn operate<T>(&self, work: impl AsyncFnOnce(AdminClient) -> T) -> T {
        self.house.gateway.operate(work)
    }

    /// Until the gateway has heard of it.
    fn is_refused(&self, tokens: &Value) {
        let token = text(tokens, "access_token");
        eventually("the token is refused", || {
            (self.house.call(&token) == 401).then_some(())
        });
    }
}

async fn register(admin: &AdminClient) -> CreatedClient {
    let client = NewClientRequest {
        name: "Dora's app".into(),
        kind: ClientKind::Confidential,
        grants: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        redirects: vec![CALLBACK.into()],
        scopes: scopes("domains:read"),
        authentication: None,
        pkce: None,
        consent: None,
        account: None,
    };
    admin.create_client(&client).await.expect("registered")
}

fn name() -> LoginName {
    LoginName::parse(NAME).expect("a name")
}

/// Its apps are listed, and what one of them has ends at once when it is revoked.
fn an_app_is_connected_and_revoked(house: House) {
    let made = Made::over(house);
    let tokens = made.connect();
    assert_eq!(text(&tokens, "scope"), "domains:read");
    assert_eq!(made.house.call(&text(&tokens, "access_token")), 200);
    // The same was granted before: nobody is asked again.
    let again = made.log_in(PASSWORD);
    assert!(parameter(&again, "code").is_some(), "{again:?}");

    let apps = made.operate(async |admin| admin.apps(&name()).await.expect("a list").apps);
    let [app] = apps.as_slice() else {
        panic!("one app: {apps:?}");
    };
    assert_eq!(
        (&app.client_id, app.name.as_str(), app.scopes.as_str()),
        (&made.client, "Dora's app", "domains:read")
    );
    let selection = AppSelection::Client(made.client.clone());
    let revoked = made.operate(async |admin| admin.revoke_apps(&name(), &selection).await);
    assert_eq!(revoked.expect("revoked").apps, apps);

    made.is_refused(&tokens);
    assert_eq!(error(&made.refresh(&tokens, &made.secret)), "invalid_grant");
    let asked = made.log_in(PASSWORD);
    assert_eq!(parameter(&asked, "code"), None, "consent is asked again");
    assert!(asked.body.contains("Dora&#39;s app"), "{asked:?}");
}

#[test]
fn a_client_and_a_user_of_the_commands_come_to_a_token_and_an_app_is_revoked() {
    an_app_is_connected_and_revoked(House::start());
}

#[test]
fn a_client_and_a_user_of_the_commands_come_to_a_token_and_an_app_is_revoked_on_redis() {
    an_app_is_connected_and_revoked(House::on_redis());
}

#[test]
fn two_secrets_work_while_they_overlap_and_one_after_an_emergency() {
    let made = Made::over(House::start());
    let rotate = |overlap, request: &str| {
        let body = RotateClientBody {
            overlap,
            request_id: RequestId::parse(request).expect("an id"),
        };
        let rotated = made.operate(async |admin| {
            let rotated = admin.rotate_client_secret(&made.client, &body).await;
            rotated.expect("rotated")
        });
        rotated.client_secret
    };
    let tokens = made.connect();
    let new = rotate(3600, "wish-1");
    let tokens = json(&made.refresh(&tokens, &made.secret));
    let tokens = json(&made.refresh(&tokens, &new));
    assert_eq!(made.house.call(&text(&tokens, "access_token")), 200);

    let last = rotate(0, "wish-2");
    for ended in [&made.secret, &new] {
        let refused = made.refresh(&tokens, ended);
        assert_eq!(
            (refused.status, error(&refused)),
            (401, "invalid_client".into())
        );
    }
    assert_eq!(made.refresh(&tokens, &last).status, 200);
}

#[test]
fn a_disabled_client_and_what_it_has_is_refused() {
    let made = Made::over(House::start());
    let tokens = made.connect();
    let disabled = made.operate(async |admin| admin.disable_client(&made.client).await);
    disabled.expect("disabled");
    made.is_refused(&tokens);
    let refused = made.refresh(&tokens, &made.secret);
    assert_eq!(
        (refused.status, error(&refused)),
        (401, "invalid_client".into())
    );
}

#[test]
fn a_disabled_user_cannot_log_in_and_its_tokens_are_refused_until_it_grants_anew() {
    let made = Made::over(House::start());
    let tokens = made.connect();
    let disabled = made.operate(async |admin| admin.disable_user(&name()).await);
    disabled.expect("disabled");
    made.is_refused(&tokens);
    assert_eq!(error(&made.refresh(&tokens, &made.secret)), "invalid_grant");
    let refused = made.log_in(PASSWORD);
    assert_eq!(parameter(&refused, "code"), None, "{refused:?}");

    let enabled = made.operate(async |admin| admin.enable_user(&name()).await);
    enabled.expect("enabled");
    let admitted = made.log_in(PASSWORD);
    assert!(parameter(&admitted, "code").is_some(), "{admitted:?}");
    made.is_refused(&tokens);
}

/// Whatever ends all that a user or a client has also ends a code that nobody has redeemed yet.
fn a_code_under_way_ends_with_the_rest(house: House) {
    let made = Made::over(house);
    let name_of = |text: &str| TokenName::parse(text).expect("a name");
    let revoke = |tokens: TokenSelection| {
        let issuer = Some("https://osir.com".into());
        let wish = RevokeTokens { tokens, issuer };
        let revoked = made.operate(async |admin| admin.revoke_tokens(&wish).await);
        revoked.expect("revoked");
    };
    let subject = made.operate(async |admin| admin.user(&name()).await.expect("a user").id);
    let ends: [&dyn Fn(); 4] = [
        &|| revoke(TokenSelection::Subject(name_of(subject.as_str()))),
        &|| revoke(TokenSelection::Client(name_of(made.client.as_str()))),
        &|| {
            let revoked = made.operate(async |admin| {
                let apps = admin.apps(&name()).await.expect("a list").apps;
                assert_eq!(apps, [], "nothing is connected yet");
                admin.revoke_apps(&name(), &AppSelection::All).await
            });
            assert_eq!(revoked.expect("revoked").apps, []);
        },
        &|| {
            let toggled = made.operate(async |admin| {
                admin.disable_user(&name()).await?;
                admin.enable_user(&name()).await
            });
            toggled.expect("disabled and enabled");
        },
    ];
    for (which, end) in ends.into_iter().enumerate() {
        let code = made.code();
        end();
        let refused = made.redeem(&code);
        let told = (refused.status, error(&refused));
        assert_eq!(told, (400, "invalid_grant".into()), "way {which}");
    }
    // What is granted afterwards is good.
    let tokens = made.connect();
    assert_eq!(made.refresh(&tokens, &made.secret).status, 200);
}

#[test]
fn a_code_under_way_ends_with_all_that_its_user_or_client_has() {
    a_code_under_way_ends_with_the_rest(House::start());
}

#[test]
fn a_code_under_way_ends_with_all_that_its_user_or_client_has_on_redis() {
    a_code_under_way_ends_with_the_rest(House::on_redis());
}

/// RFC 7662 §2.2: `active` is whether it could be used.
#[test]
fn introspection_says_of_a_refresh_token_what_a_refresh_would() {
    let made = Made::over(House::on_redis());
    let tokens = made.connect();
    let look = || {
        let form = format!("token={}", text(&tokens, "refresh_token"));
        let basic = basic(made.client.as_str(), made.secret.expose());
        json(&made.house.post("/oauth/introspect", &basic, &form))
    };
    let has_scopes = |text: &str| {
        let scopes = scopes(text);
        let changed = made.house.with_store(async |store| {
            let now = Clock::system().now();
            store.set_user_scopes(&name(), scopes, now).await
        });
        let changed = changed.expect("the store is there");
        assert!(matches!(changed, ChangeUser::Changed(_)), "{changed:?}");
    };
    let inactive = serde_json::json!({ "active": false });
    let told = look();
    assert_eq!(
        (&told["active"], &told["scope"]),
        (&true.into(), &"domains:read".into())
    );
    has_scopes("domains:write");
    assert_eq!(look(), inactive, "its user may give nothing of it");
    has_scopes("domains:read");
    assert_eq!(look()["active"], true);
    // Marked, and nothing of the rest done yet.
    let disabled = made.house.with_store(async |store| {
        let now = Clock::system().now();
        store.disable_user(&name(), now).await
    });
    let disabled = disabled.expect("the store is there");
    assert!(matches!(disabled, ChangeUser::Changed(_)), "{disabled:?}");
    assert_eq!(look(), inactive, "its user is disabled");
    let refused = made.refresh(&tokens, &made.secret);
    assert_eq!(error(&refused), "invalid_grant");
}

#[test]
fn another_password_is_the_only_one_from_then_on() {
    let made = Made::over(House::start());
    let tokens = made.connect();
    let body = PasswordBody {
        password: Secret::new("quite another password"),
    };
    let changed = made.operate(async |admin| admin.set_password(&name(), &body).await);
    changed.expect("changed");
    assert_eq!(parameter(&made.log_in(PASSWORD), "code"), None);
    let admitted = made.log_in("quite another password");
    assert!(parameter(&admitted, "code").is_some(), "{admitted:?}");
    assert_eq!(
        made.house.call(&text(&tokens, "access_token")),
        200,
        "what it granted before stays"
    );
}
