//! One fault from its beginning to its row in the table.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::oracle::{Class, Judgement, Law, Sample, Subject};
use crate::report::Row;
use crate::world::{BOUND, Wiring, World};

/// A fault.
pub(crate) struct Fault {
    /// In the table's words; [`ALL`] has it.
    pub(crate) name: &'static str,
    pub(crate) wiring: Wiring,
    /// Whose refusals are the fault's, as docs/reliability.md says.
    pub(crate) excused: &'static [Class],
}

/// What a run showed.
pub(crate) struct Seen {
    pub(crate) judgement: Judgement,
    subjects: Vec<Subject>,
    samples: Vec<Sample>,
    begun: Instant,
    end: Instant,
}

/// Every fault, in the table's order.
pub(crate) const ALL: [&str; 16] = [
    "Redis killed, and started again",
    "Redis stopped (SIGSTOP), and continued",
    "Redis restarted empty",
    "Redis restored from an old snapshot",
    "Redis slow: answers 100 ms late",
    "Redis slower than its deadline: answers 1 s late",
    "one gateway of three cut off from Redis",
    "fail-over in the middle of a code redemption",
    "fail-over in the middle of a refresh rotation",
    "FLUSHALL",
    "SCRIPT FLUSH",
    "memory full",
    "a gateway's clock ten minutes ahead",
    "Redis' clock ten minutes ahead",
    "a gateway killed while Redis is away, and started again",
    "Redis Cluster: the node with the log lost, its replica goes on",
];

/// Each fault takes the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

/// Brings a fault upon a fleet under load. `bring` gives the moment of its end; what it checks
/// by itself comes on top of what is checked here.
pub(crate) fn run(fault: &Fault, bring: impl AsyncFnOnce(&mut World) -> Instant) -> Seen {
    let order = ALL.iter().position(|name| *name == fault.name);
    let order = order.expect("the list of all faults has it");
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let mut world = World::start(fault.wiring).await;
        world.go_on(world.length.calm).await;
        let begun = Instant::now();
        let end = bring(&mut world).await;
        let recovery = world.recovers(end).await;
        world.sweep().await;
        world.end().await;
        let law = Law {
            bound: BOUND,
            lost: world.lost,
            excused: fault.excused.to_vec(),
            down: world.down,
        };
        let (subjects, samples) = (world.board.subjects(), world.board.samples());
        let judgement = law.judge(&subjects, &samples);
        let length = (end - begun).as_millis();
        let row = Row::new(
            (order, fault.name),
            length,
            &judgement,
            recovery.as_millis(),
        );
        row.keep();
        print!("{}", row.markdown());
        let findings = world.board.findings();
        assert!(findings.is_empty(), "{findings:#?}");
        assert!(
            judgement.wrong_allows.is_empty(),
            "{:#?}",
            judgement.wrong_allows
        );
        let refused = &judgement.wrong_refusals;
        assert!(
            refused.is_empty(),
            "{} in all: {:#?}",
            refused.len(),
            refused.iter().take(20).collect::<Vec<_>>()
        );
        for class in [Class::Key, Class::Session, Class::Jwt, Class::Wrong] {
            let counts = judgement.counts.get(&class);
            let asked: u64 = counts.into_iter().flat_map(|counts| counts.values()).sum();
            assert!(asked > 10, "{class:?} was hardly under load: {asked}");
        }
        Seen {
            judgement,
            subjects,
            samples,
            begun,
            end,
        }
    })
}

impl Seen {
    /// How often a gateway gave a status to those who hold keys, sessions and JWTs while the fault
    /// lasted.
    pub(crate) fn during(&self, gateway: usize, status: u16) -> usize {
        let holds = |sample: &Sample| {
            let class = self.subjects[sample.subject].class;
            matches!(class, Class::Jwt | Class::Key | Class::Session)
        };
        let samples = self.samples.iter();
        samples
            .filter(|sample| sample.gateway == gateway && sample.status == Some(status))
            .filter(|sample| self.begun < sample.sent && sample.ended < self.end)
            .filter(|sample| holds(sample))
            .count()
    }
}
