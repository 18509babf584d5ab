//! What every store promises of codes, grants and refresh tokens, asked of both.

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::id::{AccountId, ClientId, GrantId, SubjectId};
use portcullis::scope::ScopeSet;
use portcullis::secret::{Digest, random_bytes};
use portcullis::store::{
    CodeState, CreateGrant, Denial, DenialKind, Event, Grace, GrantOwner, GrantRecord,
    GrantStanding, NewRefresh, Redeem, RedeemCode, RedirectRule, RevocationReason, RevokeGrant,
    Rotate, RotateRefresh, Store,
};
use tokio::task::JoinSet;

use crate::contract::contract;
use crate::fixtures::{Ground, end, now, since};

contract! {
    a_code_becomes_a_grant_once
    of_fifty_parallel_redemptions_of_one_code_exactly_one_redeems
    a_code_that_comes_again_in_a_good_request_revokes_its_family
    a_replayed_code_in_a_bad_request_revokes_nothing
    a_code_is_for_its_client_its_redirect_and_its_verifier
    five_wrong_verifiers_end_a_code
    a_code_ends_with_its_minute
    a_code_of_a_revoked_grant_is_not_redeemed
    a_refresh_token_is_rotated_and_only_the_newest_works
    of_fifty_parallel_rotations_one_wins_and_the_family_ends
    a_confidential_client_may_ask_again_within_its_grace
    a_grace_ends_with_its_window_and_its_siblings
    a_foreign_client_cannot_rotate_and_ends_nothing
    what_asks_for_too_much_does_not_use_its_token_up
    a_family_ends_idle_and_at_its_end
    a_token_from_the_future_ends_nothing
    a_store_restored_from_an_older_copy_ends_no_honest_family
    a_revoked_family_stays_revoked
    the_connected_apps_of_a_user_are_listed_and_revoked
    a_code_under_way_ends_with_the_grants_of_its_subject_or_client
    a_pending_grant_is_listed_until_its_code_is_gone_and_an_active_one_once
}

const MINUTE: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(30 * 24 * 3600);
const GRACE: Grace = Grace {
    window: Duration::from_secs(10),
    siblings: 3,
};

/// One authorization, as the OAuth room would drive it.
pub(crate) struct Flow {
    store: Arc<dyn Store>,
    clock: Clock,
    pub(crate) record: GrantRecord,
    first: Digest,
}

impl Flow {
    fn of(store: &Arc<dyn Store>) -> Flow {
        // Ahead of the real time: only what is passed in counts. Not behind it, because Redis
        // forgets denials by its own clock.
        let clock = Clock::manual(now().plus(MINUTE * 60));
        let now = clock.now();
        let record = GrantRecord {
            id: GrantId::random(),
            client: ClientId::random(),
            subject: SubjectId::random(),
            account: Some(AccountId::parse("acct_1").expect("valid")),
            scopes: scopes("domains:read domains:write"),
            resource: Some("https://api.osir.com".into()),
            auth_time: now,
            acr: Some("pwd".into()),
            amr: vec!["pwd".into()],
            created_at: now,
            expires_at: now.plus(Duration::from_secs(90 * 24 * 3600)),
            standing: GrantStanding::Pending,
            code: CodeState {
                digest: digest(),
                redirect: "https://app.example/callback".into(),
                redirect_rule: RedirectRule::IfSent,
                challenge: Some("a".repeat(43)),
                expires_at: now.plus(MINUTE),
                redeemed_at: None,
                wrong_verifiers: 0,
            },
            refresh: None,
        };
        Flow {
            store: Arc::clone(store),
            clock,
            record,
            first: digest(),
        }
    }

    /// With its code written.
    pub(crate) async fn begun(store: &Arc<dyn Store>) -> Flow {
        let flow = Flow::of(store);
        let answer = store.create_grant(flow.record.clone()).await;
        assert_eq!(answer.expect("it answers"), CreateGrant::Created);
        flow
    }

    /// With its code redeemed.
    pub(crate) async fn active(store: &Arc<dyn Store>) -> Flow {
        let flow = Flow::begun(store).await;
        let answer = flow.redeem(flow.redemption()).await;
        assert!(matches!(answer, Redeem::Redeemed(_)), "{answer:?}");
        flow
    }

    /// With its store closed, and opened again as `reopen` does.
    fn reopened(self, reopen: impl FnOnce() -> Arc<dyn Store>) -> Flow {
        drop(self.store);
        Flow {
            store: reopen(),
            clock: self.clock,
            record: self.record,
            first: self.first,
        }
    }

    fn redemption(&self) -> RedeemCode {
        RedeemCode {
            grant: self.record.id,
            code: self.record.code.digest,
            client: self.record.client.clone(),
            redirect: Some(self.record.code.redirect.clone()),
            challenge: self.record.code.challenge.clone(),
            refresh: Some(NewRefresh {
                nonce: self.first,
                idle: IDLE,
            }),
            at: self.clock.now(),
        }
    }

    async fn redeem(&self, request: RedeemCode) -> Redeem {
        self.store.redeem_code(request).await.expect("it answers")
    }

    fn rotation(&self, generation: u32, nonce: Digest) -> RotateRefresh {
        RotateRefresh {
            grant: self.record.id,
            generation,
            nonce,
            next: digest(),
            client: self.record.client.clone(),
            scopes: None,
            resource: None,
            idle: IDLE,
            grace: Grace::NONE,
            at: self.clock.now(),
        }
    }

    async fn rotate(&self, request: RotateRefresh) -> Rotate {
        self.store
            .rotate_refresh(request)
            .await
            .expect("it answers")
    }

    /// Rotates, and gives the next token's nonce.
    async fn advance(&self, generation: u32, nonce: Digest) -> Digest {
        let request = self.rotation(generation, nonce);
        let next = request.next;
        assert_rotated(&self.rotate(request).await, generation + 1);
        next
    }

    /// Rotates its first token and the next one; gives the nonce that works now.
    pub(crate) async fn rotated_twice(&self) -> Digest {
        let second = self.advance(0, self.first).await;
        self.advance(1, second).await
    }

    async fn now(&self) -> Option<GrantRecord> {
        self.store.grant(&self.record.id).await.expect("it answers")
    }

    async fn standing(&self) -> GrantStanding {
        self.now().await.expect("it is there").standing
    }

    fn denial(&self) -> Denial {
        Denial {
            kind: DenialKind::Grant,
            id: self.record.id.family().to_string(),
            at: self.clock.now(),
        }
    }
}

fn assert_rotated(answer: &Rotate, to: u32) {
    match answer {
        Rotate::Rotated { generation, .. } => assert_eq!(*generation, to),
        other => panic!("{other:?}"),
    }
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("valid")
}

fn digest() -> Digest {
    Digest::from_bytes(random_bytes())
}

async fn denials(store: &dyn Store) -> Vec<Denial> {
    store.denials().await.expect("it answers").entries
}

fn revoked(flow: &Flow, why: RevocationReason) -> GrantStanding {
    GrantStanding::Revoked {
        at: flow.clock.now(),
        why,
    }
}

async fn a_code_becomes_a_grant_once(ground: Ground) {
    let store = ground.store();
    let flow = Flow::begun(&store).await;
    assert_eq!(flow.now().await, Some(flow.record.clone()));
    let again = store.create_grant(flow.record.clone()).await;
    assert_eq!(again.expect("it answers"), CreateGrant::Exists);

    let Redeem::Redeemed(grant) = flow.redeem(flow.redemption()).await else {
        panic!("it is good");
    };
    assert_eq!(grant.standing, GrantStanding::Active);
    assert_eq!(grant.scopes, flow.record.scopes);
    let refresh = grant.refresh.as_ref().expect("one was asked for");
    assert_eq!((refresh.generation, &*refresh.live), (0, &[flow.first][..]));
    assert_eq!(flow.now().await.as_ref(), Some(&*grant));
    assert_eq!(denials(&*store).await, []);

    // A client without the refresh grant gets none.
    let flow = Flow::begun(&store).await;
    let mut request = flow.redemption();
    request.refresh = None;
    let Redeem::Redeemed(grant) = flow.redeem(request).await else {
        panic!("it is good");
    };
    assert_eq!(grant.refresh, None);
}

async fn of_fifty_parallel_redemptions_of_one_code_exactly_one_redeems(ground: Ground) {
    let store = ground.store();
    let flow = Flow::begun(&store).await;
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (store, request) = (Arc::clone(&store), flow.redemption());
        tasks.spawn(async move { store.redeem_code(request).await.expect("it answers") });
    }
    let answers = tasks.join_all().await;
    let redeemed = answers.iter().filter(|a| matches!(a, Redeem::Redeemed(_)));
    let replayed = answers.iter().filter(|a| matches!(a, Redeem::Replayed(_)));
    assert_eq!((redeemed.count(), replayed.count()), (1, 49));
    // RFC 6749 §4.1.2: what the one redemption gave is revoked.
    let why = RevocationReason::CodeReplayed;
    assert_eq!(flow.standing().await, revoked(&flow, why));
    assert_eq!(denials(&*store).await, [flow.denial()]);
}

async fn a_code_that_comes_again_in_a_good_request_revokes_its_family(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    let start = end(&*store).await;
    flow.clock.advance(MINUTE * 30);
    let answer = flow.redeem(flow.redemption()).await;
    assert!(matches!(answer, Redeem::Replayed(_)), "{answer:?}");
    assert_eq!(denials(&*store).await, [flow.denial()]);
    assert_eq!(since(&*store, &start).await.1, [Event::Deny(flow.denial())]);
    let rotated = flow.rotate(flow.rotation(0, flow.first)).await;
    assert_eq!(rotated, Rotate::Revoked);
}

async fn a_replayed_code_in_a_bad_request_revokes_nothing(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    let good = flow.redemption();
    let other = |change: &dyn Fn(&mut RedeemCode)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    for (request, answer) in [
        (
            other(&|r| r.client = ClientId::random()),
            Redeem::ClientMismatch,
        ),
        (
            other(&|r| r.redirect = Some("https://evil.example/".into())),
            Redeem::RedirectMismatch,
        ),
        (
            other(&|r| r.challenge = Some("b".repeat(43))),
            Redeem::PkceMismatch,
        ),
        (other(&|r| r.challenge = None), Redeem::PkceMismatch),
        (other(&|r| r.code = digest()), Redeem::Unknown),
    ] {
        for _ in 0..6 {
            assert_eq!(flow.redeem(request.clone()).await, answer);
        }
    }
    assert_eq!(flow.standing().await, GrantStanding::Active);
    assert_eq!(denials(&*store).await, []);
    flow.advance(0, flow.first).await;
}

async fn a_code_is_for_its_client_its_redirect_and_its_verifier(ground: Ground) {
    let store = ground.store();
    // Without a challenge and with the redirect required: the flow of the seed (OAuth 2.0).
    let mut flow = Flow::of(&store);
    flow.record.code.challenge = None;
    flow.record.code.redirect_rule = RedirectRule::Required;
    let answer = store.create_grant(flow.record.clone()).await;
    assert_eq!(answer.expect("it answers"), CreateGrant::Created);
    let mut request = flow.redemption();
    request.redirect = None;
    assert_eq!(flow.redeem(request).await, Redeem::RedirectMismatch);
    let mut request = flow.redemption();
    request.challenge = Some("a".repeat(43));
    assert_eq!(flow.redeem(request).await, Redeem::PkceUnexpected);
    let good = flow.redeem(flow.redemption()).await;
    assert!(matches!(good, Redeem::Redeemed(_)), "{good:?}");

    // With a challenge the redirect may be left out, but not be another.
    let flow = Flow::begun(&store).await;
    let mut request = flow.redemption();
    request.redirect = Some("https://app.example/callback/".into());
    assert_eq!(flow.redeem(request).await, Redeem::RedirectMismatch);
    let mut request = flow.redemption();
    request.redirect = None;
    let good = flow.redeem(request).await;
    assert!(matches!(good, Redeem::Redeemed(_)), "{good:?}");
}

async fn five_wrong_verifiers_end_a_code(ground: Ground) {
    let store = ground.store();
    let flow = Flow::begun(&store).await;
    let mut wrong = flow.redemption();
    wrong.challenge = Some("b".repeat(43));
    for _ in 0..5 {
        assert_eq!(flow.redeem(wrong.clone()).await, Redeem::PkceMismatch);
    }
    assert_eq!(flow.redeem(flow.redemption()).await, Redeem::Unknown);
    assert_eq!(flow.now().await, None);

    let flow = Flow::begun(&store).await;
    let mut wrong = flow.redemption();
    wrong.challenge = None;
    for _ in 0..4 {
        assert_eq!(flow.redeem(wrong.clone()).await, Redeem::PkceMismatch);
    }
    let good = flow.redeem(flow.redemption()).await;
    assert!(matches!(good, Redeem::Redeemed(_)), "{good:?}");
}

async fn a_code_ends_with_its_minute(ground: Ground) {
    let store = ground.store();
    let flow = Flow::begun(&store).await;
    flow.clock.advance(MINUTE);
    assert_eq!(flow.redeem(flow.redemption()).await, Redeem::Expired);
    assert_eq!(flow.standing().await, GrantStanding::Pending);

    let flow = Flow::begun(&store).await;
    flow.clock.advance(MINUTE - Duration::from_millis(1));
    let good = flow.redeem(flow.redemption()).await;
    assert!(matches!(good, Redeem::Redeemed(_)), "{good:?}");
}

async fn a_code_of_a_revoked_grant_is_not_redeemed(ground: Ground) {
    let store = ground.store();
    let flow = Flow::begun(&store).await;
    let why = RevocationReason::Operator;
    let answer = store.revoke_grant(&flow.record.id, why, flow.clock.now());
    let answer = answer.await.expect("it answers");
    assert!(matches!(answer, RevokeGrant::Revoked(_)), "{answer:?}");
    assert_eq!(flow.redeem(flow.redemption()).await, Redeem::Revoked);
    assert_eq!(denials(&*store).await, [flow.denial()]);
}

async fn a_refresh_token_is_rotated_and_only_the_newest_works(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    let mut nonces = vec![flow.first];
    for generation in 0..3 {
        let newest = *nonces.last().expect("there is one");
        nonces.push(flow.advance(generation, newest).await);
    }
    let start = end(&*store).await;
    // Any older one, however old.
    let answer = flow.rotate(flow.rotation(0, nonces[0])).await;
    assert!(matches!(answer, Rotate::Reused(_)), "{answer:?}");
    let why = RevocationReason::RefreshReused;
    assert_eq!(flow.standing().await, revoked(&flow, why));
    assert_eq!(since(&*store, &start).await.1, [Event::Deny(flow.denial())]);
    let newest = flow.rotate(flow.rotation(3, nonces[3])).await;
    assert_eq!(newest, Rotate::Revoked);
}

async fn of_fifty_parallel_rotations_one_wins_and_the_family_ends(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (store, request) = (Arc::clone(&store), flow.rotation(0, flow.first));
        tasks.spawn(async move { store.rotate_refresh(request).await.expect("it answers") });
    }
    let answers = tasks.join_all().await;
    let count = |wanted: fn(&Rotate) -> bool| answers.iter().filter(|a| wanted(a)).count();
    assert_eq!(count(|a| matches!(a, Rotate::Rotated { .. })), 1);
    assert_eq!(count(|a| matches!(a, Rotate::Reused(_))), 1);
    assert_eq!(count(|a| matches!(a, Rotate::Revoked)), 48);
    assert_eq!(denials(&*store).await, [flow.denial()]);
}

async fn a_confidential_client_may_ask_again_within_its_grace(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        let mut request = flow.rotation(0, flow.first);
        request.grace = GRACE;
        let (store, next) = (Arc::clone(&store), request.next);
        tasks.spawn(async move {
            let answer = store.rotate_refresh(request).await.expect("it answers");
            assert_rotated(&answer, 1);
            next
        });
    }
    let siblings = tasks.join_all().await;
    // Whichever answer arrived, its token works, and ends its siblings.
    let mut request = flow.rotation(1, siblings[1]);
    request.grace = GRACE;
    assert_rotated(&flow.rotate(request).await, 2);
    assert_eq!(denials(&*store).await, []);
}

async fn a_grace_ends_with_its_window_and_its_siblings(ground: Ground) {
    let store = ground.store();
    let again = |flow: &Flow| {
        let mut request = flow.rotation(0, flow.first);
        request.grace = GRACE;
        request
    };
    let flow = Flow::active(&store).await;
    for _ in 0..3 {
        assert_rotated(&flow.rotate(again(&flow)).await, 1);
    }
    let fourth = flow.rotate(again(&flow)).await;
    assert!(matches!(fourth, Rotate::Reused(_)), "{fourth:?}");

    let flow = Flow::active(&store).await;
    flow.advance(0, flow.first).await;
    flow.clock.advance(GRACE.window);
    let late = flow.rotate(again(&flow)).await;
    assert!(matches!(late, Rotate::Reused(_)), "{late:?}");

    // Not for the generation before that.
    let flow = Flow::active(&store).await;
    let second = flow.advance(0, flow.first).await;
    flow.advance(1, second).await;
    let old = flow.rotate(again(&flow)).await;
    assert!(matches!(old, Rotate::Reused(_)), "{old:?}");
}

async fn a_foreign_client_cannot_rotate_and_ends_nothing(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    let second = flow.advance(0, flow.first).await;
    for (generation, nonce) in [(0, flow.first), (1, second), (9, second)] {
        let mut request = flow.rotation(generation, nonce);
        request.client = ClientId::random();
        assert_eq!(flow.rotate(request).await, Rotate::ClientMismatch);
    }
    flow.advance(1, second).await;
}

async fn what_asks_for_too_much_does_not_use_its_token_up(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    let mut request = flow.rotation(0, flow.first);
    request.scopes = Some(scopes("domains:read vps:write"));
    assert_eq!(flow.rotate(request).await, Rotate::ScopeExceeded);
    let mut request = flow.rotation(0, flow.first);
    request.resource = Some("https://other.osir.com".into());
    assert_eq!(flow.rotate(request).await, Rotate::ResourceExceeded);

    let mut request = flow.rotation(0, flow.first);
    request.scopes = Some(scopes("domains:read"));
    request.resource = flow.record.resource.clone();
    let next = request.next;
    assert_rotated(&flow.rotate(request).await, 1);
    // RFC 6749 §6: what was asked for narrowed that one answer, not the grant.
    let mut request = flow.rotation(1, next);
    request.scopes = Some(scopes("domains:write"));
    assert_rotated(&flow.rotate(request).await, 2);

    // An old token is reuse, whatever it asks for.
    let mut request = flow.rotation(0, flow.first);
    request.scopes = Some(scopes("vps:write"));
    let old = flow.rotate(request).await;
    assert!(matches!(old, Rotate::Reused(_)), "{old:?}");
}

async fn a_family_ends_idle_and_at_its_end(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    flow.clock.advance(IDLE);
    assert_eq!(
        flow.rotate(flow.rotation(0, flow.first)).await,
        Rotate::Expired
    );

    // However often it is refreshed, it ends at its end.
    let flow = Flow::active(&store).await;
    let mut nonce = flow.first;
    for generation in 0..3 {
        flow.clock.advance(IDLE - Duration::from_secs(1));
        nonce = flow.advance(generation, nonce).await;
    }
    flow.clock.advance(Duration::from_secs(3));
    assert_eq!(flow.rotate(flow.rotation(3, nonce)).await, Rotate::Expired);
    assert_eq!(denials(&*store).await, []);
}

/// interface.md §7.3: the store was restored from an older copy.
async fn a_token_from_the_future_ends_nothing(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    assert_eq!(
        flow.rotate(flow.rotation(1, digest())).await,
        Rotate::Future
    );
    flow.advance(0, flow.first).await;

    let unredeemed = Flow::begun(&store).await;
    let early = unredeemed.rotate(unredeemed.rotation(0, digest())).await;
    assert_eq!(early, Rotate::Future);
    let mut lost = flow.rotation(0, flow.first);
    lost.grant = GrantId::random();
    assert_eq!(flow.rotate(lost).await, Rotate::Unknown);
    assert_eq!(denials(&*store).await, []);
}

/// The same with a real copy: of before the client's last rotations, which it knows nothing of.
async fn a_store_restored_from_an_older_copy_ends_no_honest_family(mut ground: Ground) {
    let flow = Flow::active(&ground.store()).await;
    let in_copy = flow.advance(0, flow.first).await;
    let mut copy = None;
    let flow = flow.reopened(|| {
        copy = Some(ground.copy());
        ground.store()
    });
    let newer = flow.advance(1, in_copy).await;
    let newest = flow.advance(2, newer).await;
    let flow = flow.reopened(|| {
        ground.restore(&copy.expect("it was made"));
        ground.store()
    });
    for (generation, nonce) in [(3, newest), (2, newer)] {
        let answer = flow.rotate(flow.rotation(generation, nonce)).await;
        assert_eq!(answer, Rotate::Future);
    }
    assert_eq!(flow.standing().await, GrantStanding::Active);
    assert_eq!(denials(&*flow.store).await, []);
    // Whoever has the token of the copy goes on.
    flow.advance(1, in_copy).await;
}

async fn a_revoked_family_stays_revoked(ground: Ground) {
    let store = ground.store();
    let flow = Flow::active(&store).await;
    let (id, at) = (flow.record.id, flow.clock.now());
    let first = store.revoke_grant(&id, RevocationReason::Client, at).await;
    let RevokeGrant::Revoked(record) = first.expect("it answers") else {
        panic!("it was live");
    };
    let later = at.plus(MINUTE);
    let again = store.revoke_grant(&id, RevocationReason::User, later).await;
    let again = again.expect("it answers");
    assert_eq!(again, RevokeGrant::AlreadyRevoked(record));
    assert_eq!(denials(&*store).await, [flow.denial()]);
    let replay = flow.redeem(flow.redemption()).await;
    assert!(matches!(replay, Redeem::Replayed(_)), "{replay:?}");
    let why = RevocationReason::Client;
    assert_eq!(flow.standing().await, revoked(&flow, why));
    let unknown = store
        .revoke_grant(&GrantId::random(), RevocationReason::User, at)
        .await;
    assert_eq!(unknown.expect("it answers"), RevokeGrant::Unknown);
}

async fn the_connected_apps_of_a_user_are_listed_and_revoked(ground: Ground) {
    let store = ground.store();
    let subject = SubjectId::random();
    let mut flows = Vec::new();
    for _ in 0..3 {
        let mut flow = Flow::of(&store);
        flow.record.subject = subject.clone();
        let answer = store.create_grant(flow.record.clone()).await;
        assert_eq!(answer.expect("it answers"), CreateGrant::Created);
        let answer = flow.redeem(flow.redemption()).await;
        assert!(matches!(answer, Redeem::Redeemed(_)), "{answer:?}");
        flows.push(flow);
    }
    let _stranger = Flow::active(&store).await;
    flows.sort_by_key(|flow| (flow.record.expires_at, flow.record.id.to_string()));
    let mut expected: Vec<GrantId> = flows.iter().map(|flow| flow.record.id).collect();
    let owner = GrantOwner::Subject(subject);
    let page = store.grants(&owner, None, 2).await.expect("it answers");
    let ids = |grants: &[GrantRecord]| grants.iter().map(|g| g.id).collect::<Vec<_>>();
    assert_eq!(ids(&page.items), expected[..2]);
    let rest = store.grants(&owner, page.next.as_ref(), 2).await;
    let rest = rest.expect("it answers");
    assert_eq!(
        (ids(&rest.items), rest.next),
        (expected[2..].to_vec(), None)
    );

    let client = GrantOwner::Client(flows[0].record.client.clone());
    let found = store.grants(&client, None, 9).await.expect("it answers");
    assert_eq!(ids(&found.items), [flows[0].record.id]);

    let at = flows[0].clock.now();
    let mut ended = store
        .revoke_grants(&owner, RevocationReason::User, at)
        .await
        .expect("it answers");
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(denials(&*store).await.len(), 3);
    let left = store.grants(&owner, None, 9).await.expect("it answers");
    assert_eq!(left.items, []);
}

async fn a_code_under_way_ends_with_the_grants_of_its_subject_or_client(ground: Ground) {
    let store = ground.store();
    for by_client in [false, true] {
        let flow = Flow::begun(&store).await;
        let record = &flow.record;
        let owner = match by_client {
            true => GrantOwner::Client(record.client.clone()),
            false => GrantOwner::Subject(record.subject.clone()),
        };
        let why = RevocationReason::Operator;
        let ended = store.revoke_grants(&owner, why, flow.clock.now()).await;
        assert_eq!(ended.expect("it answers"), [record.id]);
        assert_eq!(flow.redeem(flow.redemption()).await, Redeem::Revoked);
        assert_eq!(flow.standing().await, revoked(&flow, why));
        assert!(denials(&*store).await.contains(&flow.denial()));
        let left = store.grants(&owner, None, 9).await.expect("it answers");
        assert_eq!(left.items, []);
    }
}

async fn a_pending_grant_is_listed_until_its_code_is_gone_and_an_active_one_once(ground: Ground) {
    let store = ground.store();
    let grants = async |flow: &Flow| {
        let owner = GrantOwner::Subject(flow.record.subject.clone());
        let page = store.grants(&owner, None, 9).await.expect("it answers");
        let standings = page.items.into_iter().map(|grant| grant.standing);
        standings.collect::<Vec<_>>()
    };
    let flow = Flow::begun(&store).await;
    assert_eq!(grants(&flow).await, [GrantStanding::Pending]);
    let answer = flow.redeem(flow.redemption()).await;
    assert!(matches!(answer, Redeem::Redeemed(_)), "{answer:?}");
    assert_eq!(grants(&flow).await, [GrantStanding::Active]);

    // The place of a pending grant and of an active one may be the same.
    let mut short = Flow::of(&store);
    short.record.expires_at = short.record.code.expires_at.plus(10 * MINUTE);
    let answer = store.create_grant(short.record.clone()).await;
    assert_eq!(answer.expect("it answers"), CreateGrant::Created);
    let answer = short.redeem(short.redemption()).await;
    assert!(matches!(answer, Redeem::Redeemed(_)), "{answer:?}");
    assert_eq!(grants(&short).await, [GrantStanding::Active]);

    let flow = Flow::begun(&store).await;
    for _ in 0..5 {
        let wrong = RedeemCode {
            challenge: Some("b".repeat(43)),
            ..flow.redemption()
        };
        assert_eq!(flow.redeem(wrong).await, Redeem::PkceMismatch);
    }
    assert_eq!(grants(&flow).await, []);
}
