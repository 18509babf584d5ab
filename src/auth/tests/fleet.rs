//! An instance in its fleet: when it reports, and what it may confirm.

use crate::store::{EventStore as _, FleetStore as _, InstanceReport, InstanceStage, Position};

use super::*;
use crate::auth::scripted_store::BEHIND;

const STALE: Duration = Duration::from_secs(300);
/// The longest time between two reports, and how long they may be refused before the lease ends.
const INTERVAL: Duration = Duration::from_secs(2);
const BOUND: Duration = Duration::from_secs(600);

struct Member {
    store: Arc<ScriptedStore>,
    authenticator: Authenticator,
    announcement: Announcement,
    reporter: JoinHandle<()>,
    metrics: Metrics,
    desk: FleetDesk,
}

impl Member {
    fn start(store: &Arc<ScriptedStore>) -> Member {
        let (settings, clock, metrics) = (settings(), Clock::manual(NOW), Metrics::new());
        let revocation = Arc::new(Revocation::new(&settings.cache, &[]));
        let shared = || Arc::clone(store) as Arc<dyn Store>;
        let (authenticator, follower) = Authenticator::new(
            &settings,
            no_issuers(),
            Arc::clone(&revocation),
            shared(),
            Handle::current(),
            clock.clone(),
            &metrics,
        );
        let (reporter, presence, announcement) = Reporter::new(ReporterParts {
            store: shared(),
            revocation,
            stale: settings.cache.stale,
            config: "first",
            clock: &clock,
            metrics: &metrics,
        });
        let reporter = tokio::spawn(reporter.run());
        tokio::spawn(follower.join(presence).run());
        let desk = FleetDesk::on(shared(), clock);
        Member {
            store: Arc::clone(store),
            authenticator,
            announcement,
            reporter,
            metrics,
            desk,
        }
    }

    fn is_fresh(&self) -> bool {
        matches!(self.authenticator.revocation().lease(), Lease::Fresh(_))
    }

    fn report(&self) -> InstanceReport {
        self.store.reported().expect("it is listed")
    }

    async fn end(&self) -> Position {
        self.store.log_end().await.expect("it answers")
    }

    fn deny(&self, id: &str) {
        self.store.deny(Denial {
            kind: DenialKind::Key,
            id: id.into(),
            at: NOW,
        });
    }
}

/// Within ten seconds of paused time, which passes here.
async fn eventually(is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("it did not come to be");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_confirmed_before_the_store_lists_the_instance() {
    let store = Arc::new(ScriptedStore::new());
    store.set_reports(Mood::Fail);
    let member = Member::start(&store);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(
        member.authenticator.revocation().lease(),
        Lease::Unconfirmed
    );
    store.set_reports(Mood::Answer);
    let since = Instant::now();
    eventually(|| member.is_fresh()).await;
    assert!(since.elapsed() < Duration::from_secs(1));
    let text = member.metrics.render();
    assert!(!text.contains("fleet_report_failures_total 0"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_reports_ends_the_lease_only_after_the_bound() {
    let store = Arc::new(ScriptedStore::new());
    let member = Member::start(&store);
    eventually(|| member.is_fresh()).await;
    store.set_reports(Mood::Fail);
    let since = Instant::now();
    sleep(BOUND).await;
    assert!(
        member.is_fresh(),
        "it is followed, and was listed within the bound"
    );
    // From then on nothing renews it.
    while member.is_fresh() {
        sleep(Duration::from_millis(100)).await;
    }
    let ended = since.elapsed();
    let slack = Duration::from_secs(5);
    assert!(
        ended > BOUND + STALE - slack && ended < BOUND + STALE + slack,
        "{ended:?}"
    );
    store.set_reports(Mood::Answer);
    eventually(|| member.is_fresh()).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_reported_at_once() {
    let store = Arc::new(ScriptedStore::new());
    let member = Member::start(&store);
    eventually(|| member.is_fresh()).await;
    member.deny("key_1");
    let (end, since) = (member.end().await, Instant::now());
    eventually(|| member.report().confirmed == Some(end.clone())).await;
    assert!(
        since.elapsed() < Duration::from_millis(50),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(member.report().last_revocation, Some(NOW));
    // By the store's word, and only of what the log told.
    let counted = |count: &str| {
        let text = member.metrics.render();
        let line = format!("portcullis_revocation_propagation_seconds_{count}\n");
        assert!(text.contains(&line), "{line} in {text}");
    };
    counted("count 1");
    counted(&format!("sum {}", BEHIND.as_secs_f64()));
    sleep(INTERVAL * 2).await;
    counted("count 1");
    assert_eq!(
        (member.report().config, member.report().stale),
        ("first".into(), STALE)
    );
}

#[tokio::test(start_paused = true)]
async fn one_report_is_under_way_and_the_next_has_all_that_came_meanwhile() {
    let store = Arc::new(ScriptedStore::new());
    let member = Member::start(&store);
    eventually(|| member.is_fresh()).await;
    store.set_reports(Mood::Hold);
    // The next one hangs, and neither the reading of the log nor a look-up with it.
    sleep(INTERVAL).await;
    let before = store.report_count();
    for number in 0..20 {
        member.deny(&format!("key_{number}"));
        sleep(Duration::from_millis(2)).await;
    }
    let revocation = member.authenticator.revocation();
    assert!(revocation.denies(NOW, [(DenialKind::Key, "key_19")]));
    assert_eq!(store.report_count(), before);
    store.set_reports(Mood::Answer);
    let end = member.end().await;
    eventually(|| member.report().confirmed == Some(end.clone())).await;
    assert_eq!(
        store.report_count(),
        before + 2,
        "the one that hung, and one more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_list_has_the_instance_again_within_the_interval_and_the_loss_is_told() {
    let store = Arc::new(ScriptedStore::new());
    let member = Member::start(&store);
    eventually(|| member.is_fresh()).await;
    store.lose_fleet();
    let since = Instant::now();
    eventually(|| store.reported().is_some()).await;
    assert!(since.elapsed() <= INTERVAL);
    let proof = member.desk.prove(member.desk.begin(), INTERVAL).await;
    assert!(matches!(proof.doubt, Some(Doubt::ListLost(_))), "{proof:?}");
    // Who was cut off since the loss serves nothing any more.
    sleep(STALE).await;
    let proof = member.desk.prove(member.desk.begin(), INTERVAL).await;
    assert!(
        proof.is_complete() && proof.confirmations.len() == 1,
        "{proof:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_announces_is_reported_at_once_and_at_its_end_it_leaves() {
    let store = Arc::new(ScriptedStore::new());
    let member = Member::start(&store);
    eventually(|| member.is_fresh()).await;
    let since = Instant::now();
    member.announcement.set_config("second");
    eventually(|| member.report().config == "second").await;
    member.announcement.begin_drain();
    eventually(|| member.report().stage == InstanceStage::Draining).await;
    member.announcement.end();
    member.reporter.await.expect("no bug");
    assert!(since.elapsed() < Duration::from_millis(50));
    assert_eq!(store.fleet().await.expect("it answers").instances, []);
}

#[tokio::test(start_paused = true)]
async fn a_proof_waits_for_those_that_are_listed_and_tells_until_when_the_silent_may_serve() {
    let store = Arc::new(ScriptedStore::new());
    let member = Member::start(&store);
    eventually(|| member.is_fresh()).await;
    let begun = member.desk.begin();
    member.deny("key_1");
    let proof = member.desk.prove(begun, INTERVAL).await;
    assert!(proof.is_complete(), "{proof:?}");
    assert!(matches!(
        proof.confirmations[0].outcome,
        ConfirmationOutcome::Confirmed(after) if after < Duration::from_millis(50)
    ));

    // It hears nothing any more.
    store.set_log(Mood::Hang);
    let begun = member.desk.begin();
    member.deny("key_2");
    let since = Instant::now();
    let proof = member.desk.prove(begun, INTERVAL).await;
    assert!(since.elapsed() >= INTERVAL && since.elapsed() < 2 * INTERVAL);
    let silent = ConfirmationOutcome::Silent {
        may_serve_until: NOW.plus(STALE),
    };
    assert_eq!(proof.confirmations[0].outcome, silent);
    assert!(!proof.is_complete() && proof.doubt.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_lost_while_it_is_waited_for_proves_nothing() {
    let store = Arc::new(ScriptedStore::new());
    let member = Member::start(&store);
    eventually(|| member.is_fresh()).await;
    store.set_log(Mood::Hold);
    member.deny("key_1");
    let desk = member.desk.clone();
    let waiting = tokio::spawn(async move { desk.prove(desk.begin(), INTERVAL).await });
    sleep(INTERVAL / 4).await;
    // Another log, whose places come after all that were.
    store.lose_log();
    store.set_log(Mood::Answer);
    let proof = waiting.await.expect("no panic");
    assert_eq!(proof.doubt, Some(Doubt::LogLost), "{proof:?}");
    assert!(!proof.is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_emptied_while_it_is_waited_for_does_not_pass_for_all_having_left() {
    let store = Arc::new(ScriptedStore::new());
    let member = Member::start(&store);
    eventually(|| member.is_fresh()).await;
    // It serves on, and neither hears nor reports anything.
    store.set_log(Mood::Hang);
    store.set_reports(Mood::Hang);
    member.deny("key_1");
    let desk = member.desk.clone();
    let waiting = tokio::spawn(async move { desk.prove(desk.begin(), INTERVAL).await });
    sleep(INTERVAL / 4).await;
    store.lose_all();
    let proof = waiting.await.expect("no panic");
    assert_eq!(proof.doubt, Some(Doubt::LogLost), "{proof:?}");
    assert!(member.is_fresh() && !proof.is_complete());
}

#[tokio::test(start_paused = true)]
async fn where_all_seem_to_have_lapsed_a_proof_waits_until_those_that_run_have_reported() {
    let store = Arc::new(ScriptedStore::new());
    let member = Member::start(&store);
    eventually(|| member.is_fresh()).await;
    // For the list it is the same whether an instance was silent or the store's clock leapt.
    store.set_reports(Mood::Hold);
    sleep(BOUND + STALE + Duration::from_secs(120)).await;
    let desk = member.desk.clone();
    let waiting = tokio::spawn(async move { desk.prove(desk.begin(), INTERVAL).await });
    sleep(INTERVAL / 2).await;
    store.set_reports(Mood::Answer);
    let proof = waiting.await.expect("no panic");
    let outcome = proof.confirmations[0].outcome;
    assert!(
        matches!(outcome, ConfirmationOutcome::Confirmed(_)),
        "{proof:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_instance_there_is_nobody_to_wait_for_once_all_that_run_would_be_listed() {
    let store = Arc::new(ScriptedStore::new());
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let desk = FleetDesk::on(shared, Clock::manual(NOW));
    let since = Instant::now();
    let proof = desk.prove(desk.begin(), Duration::from_secs(60)).await;
    assert!(proof.is_complete() && proof.confirmations.is_empty());
    assert!(since.elapsed() > INTERVAL && since.elapsed() < 2 * INTERVAL);
}
