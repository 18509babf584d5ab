//! What every store promises of OAuth clients, asked of both.

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Timestamp;
use portcullis::id::{AccountId, ClientId, RequestId};
use portcullis::scope::ScopeSet;
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    ClientAuthentication, ClientKind, ClientRecord, ClientRotation, ClientSecret, ClientSettings,
    Consent, CreateClient, Denial, DenialKind, DisableClient, Event, GrantType, PkceRule, Rehash,
    RotateClientSecret, Store, UpdateClient,
};
use tokio::task::JoinSet;

use crate::contract::contract;
use crate::fixtures::{Ground, end, now, since};

contract! {
    a_client_is_registered_once_and_comes_back_whole
    clients_are_listed_in_the_order_of_their_ids
    settings_are_replaced_and_nothing_else
    a_client_has_two_secrets_over_a_rotation
    a_third_client_secret_has_to_wait_unless_in_an_emergency
    of_twenty_parallel_secret_rotations_one_is_carried_out
    a_public_client_has_no_secret_to_rotate
    a_client_secret_is_rehashed_in_place
    a_disabled_client_is_denied_and_stays_disabled
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn digest() -> Digest {
    Digest::from_bytes(random_bytes())
}

pub(crate) fn client() -> ClientRecord {
    let at = now();
    ClientRecord {
        id: ClientId::random(),
        kind: ClientKind::Confidential,
        settings: ClientSettings {
            name: "Domains \u{2013} \"app\"".into(),
            redirects: vec!["https://app.example/callback".into()],
            grants: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            scopes: ScopeSet::parse("domains:read vps:read").expect("valid"),
            authentication: ClientAuthentication::AnySecret,
            pkce: PkceRule::Optional,
            consent: Consent::Once,
            account: Some(AccountId::parse("acct_1").expect("valid")),
        },
        secrets: vec![ClientSecret {
            digest: digest(),
            hint: "osir_cs_\u{2026}abcd".into(),
            created_at: at,
            ends_at: None,
        }],
        rotation: None,
        created_at: at,
        disabled_at: None,
    }
}

async fn create(store: &dyn Store, record: &ClientRecord) -> CreateClient {
    let answer = store.create_client(record.clone()).await;
    answer.expect("it answers")
}

async fn now_of(store: &dyn Store, id: &ClientId) -> ClientRecord {
    let found = store.client(id).await.expect("it answers");
    found.expect("it is there")
}

fn wish(id: &ClientId, name: &str, overlap: Duration, at: Timestamp) -> ClientRotation {
    ClientRotation {
        id: id.clone(),
        digest: digest(),
        hint: "osir_cs_\u{2026}next".into(),
        request: RequestId::parse(name).expect("valid"),
        overlap,
        at,
    }
}

async fn rotate(store: &dyn Store, wish: &ClientRotation) -> RotateClientSecret {
    let answer = store.rotate_client_secret(wish.clone()).await;
    answer.expect("it answers")
}

fn live(record: &ClientRecord, at: Timestamp) -> Vec<Digest> {
    record
        .live_secrets(at)
        .map(|secret| secret.digest)
        .collect()
}

async fn a_client_is_registered_once_and_comes_back_whole(ground: Ground) {
    let store = ground.store();
    let record = client();
    assert_eq!(store.client(&record.id).await.expect("it answers"), None);
    assert_eq!(create(&*store, &record).await, CreateClient::Created);
    let mut other = client();
    other.id = record.id.clone();
    assert_eq!(create(&*store, &other).await, CreateClient::Exists);
    assert_eq!(now_of(&*store, &record.id).await, record);
}

async fn clients_are_listed_in_the_order_of_their_ids(ground: Ground) {
    let store = ground.store();
    let mut records: Vec<_> = (0..5).map(|_| client()).collect();
    for record in &records {
        assert_eq!(create(&*store, record).await, CreateClient::Created);
    }
    records.sort_by(|a, b| a.id.cmp(&b.id));
    let first = store.clients(None, 3).await.expect("it answers");
    assert_eq!(first.items, records[..3]);
    let rest = store.clients(first.next.as_ref(), 3).await;
    let rest = rest.expect("it answers");
    assert_eq!((&*rest.items, rest.next), (&records[3..], None));
}

async fn settings_are_replaced_and_nothing_else(ground: Ground) {
    let store = ground.store();
    let mut record = client();
    assert_eq!(create(&*store, &record).await, CreateClient::Created);
    record
        .settings
        .redirects
        .push("https://two.example/".into());
    record.settings.consent = Consent::Always;
    let answer = store
        .update_client(&record.id, record.settings.clone(), now())
        .await;
    let answer = answer.expect("it answers");
    assert_eq!(answer, UpdateClient::Updated(record.clone()));
    assert_eq!(now_of(&*store, &record.id).await, record);
    let unknown = store
        .update_client(&ClientId::random(), record.settings, now())
        .await;
    assert_eq!(unknown.expect("it answers"), UpdateClient::Unknown);
}

async fn a_client_has_two_secrets_over_a_rotation(ground: Ground) {
    let store = ground.store();
    let record = client();
    assert_eq!(create(&*store, &record).await, CreateClient::Created);
    let (id, at, old) = (&record.id, now(), record.secrets[0].digest);
    let wish = wish(id, "r1", DAY, at);
    let RotateClientSecret::Rotated(rotated) = rotate(&*store, &wish).await else {
        panic!("it is live");
    };
    assert_eq!(now_of(&*store, id).await, rotated);
    let before_end = at.plus(DAY - Duration::from_millis(1));
    assert_eq!(live(&rotated, before_end), [wish.digest, old]);
    assert_eq!(live(&rotated, at.plus(DAY)), [wish.digest]);
    let again = rotate(&*store, &wish).await;
    assert_eq!(again, RotateClientSecret::Repeated(rotated));
}

async fn a_third_client_secret_has_to_wait_unless_in_an_emergency(ground: Ground) {
    let store = ground.store();
    let record = client();
    assert_eq!(create(&*store, &record).await, CreateClient::Created);
    let (id, at) = (&record.id, now());
    let answer = rotate(&*store, &wish(id, "r1", DAY, at)).await;
    assert!(matches!(answer, RotateClientSecret::Rotated(_)));
    let answer = rotate(&*store, &wish(id, "r2", DAY, at)).await;
    assert_eq!(answer, RotateClientSecret::Overlapping(at.plus(DAY)));
    let emergency = wish(id, "r3", Duration::ZERO, at);
    let RotateClientSecret::Rotated(rotated) = rotate(&*store, &emergency).await else {
        panic!("an emergency");
    };
    assert_eq!(live(&rotated, at), [emergency.digest]);
}

async fn of_twenty_parallel_secret_rotations_one_is_carried_out(ground: Ground) {
    let store = ground.store();
    let record = client();
    assert_eq!(create(&*store, &record).await, CreateClient::Created);
    let at = now();
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let wish = wish(&record.id, &format!("r{number}"), DAY, at);
        let store = Arc::clone(&store);
        tasks.spawn(async move { rotate(&*store, &wish).await });
    }
    let answers = tasks.join_all().await;
    let rotated = answers
        .iter()
        .filter(|a| matches!(a, RotateClientSecret::Rotated(_)));
    assert_eq!(rotated.count(), 1);
    assert_eq!(live(&now_of(&*store, &record.id).await, at).len(), 2);
}

async fn a_public_client_has_no_secret_to_rotate(ground: Ground) {
    let store = ground.store();
    let mut record = client();
    record.kind = ClientKind::Public;
    record.secrets.clear();
    assert_eq!(create(&*store, &record).await, CreateClient::Created);
    let answer = rotate(&*store, &wish(&record.id, "r1", DAY, now())).await;
    assert_eq!(answer, RotateClientSecret::Public);
    let unknown = wish(&ClientId::random(), "r1", DAY, now());
    assert_eq!(rotate(&*store, &unknown).await, RotateClientSecret::Unknown);
}

async fn a_client_secret_is_rehashed_in_place(ground: Ground) {
    let store = ground.store();
    let record = client();
    assert_eq!(create(&*store, &record).await, CreateClient::Created);
    let (old, new) = (record.secrets[0].digest, digest());
    let rehash = async || {
        let answer = store.rehash_client_secret(&record.id, &old, &new, now());
        answer.await.expect("it answers")
    };
    assert_eq!(rehash().await, Rehash::Rehashed);
    assert_eq!(rehash().await, Rehash::Unknown);
    let found = now_of(&*store, &record.id).await;
    assert_eq!(live(&found, now()), [new]);
}

async fn a_disabled_client_is_denied_and_stays_disabled(ground: Ground) {
    let store = ground.store();
    let mut record = client();
    assert_eq!(create(&*store, &record).await, CreateClient::Created);
    let (start, at) = (end(&*store).await, now());
    record.disabled_at = Some(at);
    let id = &record.id;
    let answer = store.disable_client(id, at).await.expect("it answers");
    assert_eq!(answer, DisableClient::Disabled(record.clone()));
    let later = at.plus(DAY);
    let again = store.disable_client(id, later).await.expect("it answers");
    assert_eq!(again, DisableClient::AlreadyDisabled(record.clone()));
    let denial = Denial {
        kind: DenialKind::Client,
        id: id.to_string(),
        at,
    };
    assert_eq!(since(&*store, &start).await.1, [Event::Deny(denial)]);
    let rotated = rotate(&*store, &wish(id, "r1", DAY, at)).await;
    assert_eq!(rotated, RotateClientSecret::Disabled);
    let updated = store.update_client(id, record.settings.clone(), at).await;
    assert_eq!(updated.expect("it answers"), UpdateClient::Disabled);
    assert_eq!(now_of(&*store, id).await, record);
}
