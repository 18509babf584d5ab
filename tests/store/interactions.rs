//! What every store promises of interactions and remembered consents, asked of both.

use std::sync::Arc;
use std::time::Duration;

use portcullis::id::{ClientId, GrantId, InteractionId, SubjectId};
use portcullis::scope::ScopeSet;
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    AdvanceInteraction, AnswerLogin, CreateInteraction, Decision, DelegatedLogin,
    InteractionRecord, InteractionState, Login, LoginAnswer, RejectReason, Store,
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
    a_challenge_is_answered_once_and_the_same_answer_is_the_same
    of_twenty_parallel_answers_one_counts
    a_login_that_was_rejected_is_decided
    a_wrong_challenge_and_a_late_answer_change_nothing
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn interaction() -> InteractionRecord {
    InteractionRecord {
        id: InteractionId::random(),
        browser: Digest::from_bytes(random_bytes()),
        challenge: None,
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
        amr: vec!["pwd".into()],
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

pub(crate) async fn begun(store: &dyn Store) -> InteractionRecord {
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

const CHALLENGE: Digest = Digest::from_bytes([7; 32]);

/// One that was handed to the operator's page.
async fn handed_over(store: &dyn Store) -> InteractionRecord {
    let record = InteractionRecord {
        challenge: Some(CHALLENGE),
        ..interaction()
    };
    let answer = store.create_interaction(record.clone()).await;
    assert_eq!(answer.expect("it answers"), CreateInteraction::Created);
    record
}

/// A yes, of now.
fn accept(name: &str) -> LoginAnswer {
    LoginAnswer::Accept(delegated(login(name)))
}

fn delegated(login: Login) -> DelegatedLogin {
    DelegatedLogin {
        subject: login.subject,
        account: login.account,
        scopes: login.scopes,
        auth_time: Some(login.auth_time),
        acr: login.acr,
        amr: login.amr,
    }
}

async fn answer(store: &dyn Store, id: &InteractionId, answer: LoginAnswer) -> AnswerLogin {
    let answered = store.answer_login(id, &CHALLENGE, answer, now()).await;
    answered.expect("it answers")
}

async fn a_challenge_is_answered_once_and_the_same_answer_is_the_same(ground: Ground) {
    let store = ground.store();
    let mut record = handed_over(&*store).await;
    let id = record.id.clone();
    let mine = login("alice");
    record.state = InteractionState::LoggedIn(mine.clone());
    let yes_of_mine = LoginAnswer::Accept(delegated(mine.clone()));
    let answered = answer(&*store, &id, yes_of_mine.clone()).await;
    assert_eq!(answered, AnswerLogin::Answered(record.clone()));
    let found = store.interaction(&id).await.expect("it answers");
    assert_eq!(found.as_ref(), Some(&record));

    // Without a time, when it is said is no part of what is said.
    let at = |auth_time| {
        let login = delegated(mine.clone());
        LoginAnswer::Accept(DelegatedLogin { auth_time, ..login })
    };
    let same = [yes_of_mine, at(None)];
    let others = [
        accept("mallory"),
        at(Some(mine.auth_time.plus(Duration::from_secs(1)))),
        LoginAnswer::Reject(RejectReason::AccessDenied),
    ];
    for same in &same {
        let answered = answer(&*store, &id, same.clone()).await;
        assert_eq!(answered, AnswerLogin::Repeated(record.clone()));
    }
    for other in &others {
        let answered = answer(&*store, &id, other.clone()).await;
        assert_eq!(answered, AnswerLogin::AnsweredOtherwise, "{other:?}");
    }
    // Also when the browser has come back meanwhile.
    let AdvanceInteraction::Advanced(record) = decide(&*store, &id, yes()).await else {
        panic!("somebody has logged in");
    };
    for same in same {
        let answered = answer(&*store, &id, same).await;
        assert_eq!(answered, AnswerLogin::Repeated(record.clone()));
    }
    for other in others {
        let answered = answer(&*store, &id, other).await;
        assert_eq!(answered, AnswerLogin::AnsweredOtherwise);
    }
}

async fn of_twenty_parallel_answers_one_counts(ground: Ground) {
    let store = ground.store();
    let id = handed_over(&*store).await.id;
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let (store, id) = (Arc::clone(&store), id.clone());
        tasks.spawn(async move { answer(&*store, &id, accept(&format!("user-{number}"))).await });
    }
    let mut answered = Vec::new();
    for outcome in tasks.join_all().await {
        match outcome {
            AnswerLogin::Answered(record) => answered.push(record),
            AnswerLogin::AnsweredOtherwise => {}
            other => panic!("{other:?}"),
        }
    }
    let found = store.interaction(&id).await.expect("it answers");
    assert_eq!(answered, [found.expect("it is there")]);
}

async fn a_login_that_was_rejected_is_decided(ground: Ground) {
    let store = ground.store();
    let mut record = handed_over(&*store).await;
    let id = record.id.clone();
    let no = LoginAnswer::Reject(RejectReason::LoginRequired);
    record.state = InteractionState::Rejected(RejectReason::LoginRequired);
    let answered = answer(&*store, &id, no.clone()).await;
    assert_eq!(answered, AnswerLogin::Answered(record.clone()));
    let again = answer(&*store, &id, no).await;
    assert_eq!(again, AnswerLogin::Repeated(record.clone()));
    let other = LoginAnswer::Reject(RejectReason::AccessDenied);
    for other in [other, accept("alice")] {
        let answered = answer(&*store, &id, other).await;
        assert_eq!(answered, AnswerLogin::AnsweredOtherwise);
    }
    let late = AdvanceInteraction::AlreadyDecided(record);
    assert_eq!(log_in(&*store, &id, "usr_1").await, late);
    assert_eq!(decide(&*store, &id, yes()).await, late);
    assert_eq!(decide(&*store, &id, Decision::Deny).await, late);
}

async fn a_wrong_challenge_and_a_late_answer_change_nothing(ground: Ground) {
    let store = ground.store();
    let record = handed_over(&*store).await;
    let (id, wrong) = (&record.id, Digest::from_bytes([8; 32]));
    let answered = store.answer_login(id, &wrong, accept("alice"), now()).await;
    assert_eq!(answered.expect("it answers"), AnswerLogin::Unknown);
    // Of one that nobody was handed, there is no challenge to know.
    let own = begun(&*store).await.id;
    assert_eq!(
        answer(&*store, &own, accept("alice")).await,
        AnswerLogin::Unknown
    );
    let nowhere = InteractionId::random();
    assert_eq!(
        answer(&*store, &nowhere, accept("alice")).await,
        AnswerLogin::Unknown
    );
    let late = store
        .answer_login(id, &CHALLENGE, accept("alice"), record.expires_at)
        .await;
    assert_eq!(late.expect("it answers"), AnswerLogin::Expired);
    let found = store.interaction(id).await.expect("it answers");
    assert_eq!(found, Some(record));
}
