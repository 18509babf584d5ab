//! What every store promises of interactions and remembered consents, asked of both.

use std::sync::Arc;
use std::time::Duration;

use portcullis::id::{ClientId, GrantId, InteractionId, SubjectId};
use portcullis::scope::ScopeSet;
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    AdvanceInteraction, CreateInteraction, Decision, InteractionRecord, InteractionState, Login,
    Store,
};
use tokio::task::JoinSet;

use crate::contract::contract;
use crate::fixtures::{Ground, now};

contract! {
    an_interaction_goes_from_open_to_decided
    of_twenty_parallel_decisions_one_counts
    a_no_needs_no_login_and_a_yes_does
    an_interaction_ends_with_its_time
    consents_add_up_and_are_forgotten
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn interaction() -> InteractionRecord {
    InteractionRecord {
        id: InteractionId::random(),
        browser: Digest::from_bytes(random_bytes()),
        client: ClientId::random(),
        request: r#"{"state":"a \"b\" \u0000"}"#.into(),
        created_at: now(),
        expires_at: now().plus(TEN_MINUTES),
        state: InteractionState::Open,
    }
}

fn login(name: &str) -> Login {
    Login {
        subject: SubjectId::parse(name).expect("valid"),
        account: None,
        scopes: scopes("domains:read"),
        auth_time: now(),
        acr: Some("pwd".into()),
    }
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("valid")
}

fn yes() -> Decision {
    Decision::Allow {
        scopes: scopes("domains:read"),
        grant: GrantId::random(),
    }
}

async fn begun(store: &dyn Store) -> InteractionRecord {
    let record = interaction();
    let answer = store.create_interaction(record.clone()).await;
    assert_eq!(answer.expect("it answers"), CreateInteraction::Created);
    record
}

async fn log_in(store: &dyn Store, id: &InteractionId, name: &str) -> AdvanceInteraction {
    let answer = store.log_in_interaction(id, login(name), now()).await;
    answer.expect("it answers")
}

async fn decide(store: &dyn Store, id: &InteractionId, decision: Decision) -> AdvanceInteraction {
    let answer = store.decide_interaction(id, decision, now()).await;
    answer.expect("it answers")
}

async fn an_interaction_goes_from_open_to_decided(ground: Ground) {
    let store = ground.store();
    let mut record = begun(&*store).await;
    let id = record.id.clone();
    let again = store.create_interaction(record.clone()).await;
    assert_eq!(again.expect("it answers"), CreateInteraction::Exists);
    // The last login counts: the user went back and took another account.
    let _first = log_in(&*store, &id, "usr_1").await;
    let mine = login("usr_2");
    let answer = store.log_in_interaction(&id, mine.clone(), now()).await;
    record.state = InteractionState::LoggedIn(mine.clone());
    let answer = answer.expect("it answers");
    assert_eq!(answer, AdvanceInteraction::Advanced(record.clone()));

    let grant = GrantId::random();
    let granted = scopes("domains:read");
    let decision = Decision::Allow {
        scopes: granted.clone(),
        grant,
    };
    record.state = InteractionState::Allowed {
        login: mine,
        scopes: granted,
        grant,
    };
    let answer = decide(&*store, &id, decision).await;
    assert_eq!(answer, AdvanceInteraction::Advanced(record.clone()));
    let found = store.interaction(&id).await.expect("it answers");
    assert_eq!(found.as_ref(), Some(&record));
    // Whatever comes after that.
    let late = AdvanceInteraction::AlreadyDecided(record);
    assert_eq!(decide(&*store, &id, Decision::Deny).await, late);
    assert_eq!(log_in(&*store, &id, "usr_3").await, late);
}

async fn of_twenty_parallel_decisions_one_counts(ground: Ground) {
    let store = ground.store();
    let id = begun(&*store).await.id;
    let _first = log_in(&*store, &id, "usr_1").await;
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let (store, id) = (Arc::clone(&store), id.clone());
        let decision = if number % 2 == 0 {
            yes()
        } else {
            Decision::Deny
        };
        tasks.spawn(async move { decide(&*store, &id, decision).await });
    }
    let found = async || store.interaction(&id).await.expect("it answers");
    let mut advanced = 0;
    for answer in tasks.join_all().await {
        let record = match answer {
            AdvanceInteraction::Advanced(record) => {
                advanced += 1;
                record
            }
            AdvanceInteraction::AlreadyDecided(record) => record,
            other => panic!("{other:?}"),
        };
        assert_eq!(found().await, Some(record));
    }
    assert_eq!(advanced, 1);
}

async fn a_no_needs_no_login_and_a_yes_does(ground: Ground) {
    let store = ground.store();
    let mut record = begun(&*store).await;
    let answer = decide(&*store, &record.id, yes()).await;
    assert_eq!(answer, AdvanceInteraction::NotLoggedIn);
    let answer = decide(&*store, &record.id, Decision::Deny).await;
    record.state = InteractionState::Denied;
    assert_eq!(answer, AdvanceInteraction::Advanced(record));
    let unknown = decide(&*store, &InteractionId::random(), Decision::Deny).await;
    assert_eq!(unknown, AdvanceInteraction::Unknown);
}

async fn an_interaction_ends_with_its_time(ground: Ground) {
    let store = ground.store();
    let record = begun(&*store).await;
    let answer = store
        .decide_interaction(&record.id, Decision::Deny, record.expires_at)
        .await;
    assert_eq!(answer.expect("it answers"), AdvanceInteraction::Expired);
}

async fn consents_add_up_and_are_forgotten(ground: Ground) {
    let store = ground.store();
    let (client, subject, at) = (ClientId::random(), SubjectId::random(), now());
    let known = async || {
        let found = store.consent(&client, &subject).await.expect("it answers");
        found.map(|consent| consent.scopes)
    };
    assert_eq!(known().await, None);
    for text in ["domains:read vps:read", "domains:write vps:read"] {
        let answer = store.remember_consent(&client, &subject, scopes(text), at);
        answer.await.expect("it answers");
    }
    let all = scopes("domains:read domains:write vps:read");
    assert_eq!(known().await, Some(all));
    let other = store.consent(&ClientId::random(), &subject).await;
    assert_eq!(other.expect("it answers"), None);
    let forgotten = store.forget_consent(&client, &subject, at).await;
    forgotten.expect("it answers");
    assert_eq!(known().await, None);
}
