//! How often, and how, the schedules of a scenario are tried.

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

/// Schedules of each kind for each scenario. More is deeper.
const ITERATIONS: &str = "PORTCULLIS_MODEL_ITERATIONS";
const DEFAULT: usize = 5_000;
/// Preemptions at which the schedules of the second kind aim: every mutant is caught with as many.
const DEPTH: usize = 3;

/// Panics with the schedule in which the scenario fails or stands still.
pub fn explore(scenario: fn()) {
    let iterations = std::env::var(ITERATIONS).ok();
    let iterations = iterations.map_or(DEFAULT, |text| text.parse().expect("a number"));
    run(RandomScheduler::new(iterations), scenario);
    run(PctScheduler::new(DEPTH, iterations), scenario);
}

/// The same where a failure is what is looked for, from a fixed seed: it is found each time or never,
/// and with no more schedules than [`explore`] tries.
pub fn hunt(scenario: fn()) {
    run(PctScheduler::new_from_seed(1, DEPTH, DEFAULT), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    // Every ordering is taken for `SeqCst` here: docs/decisions/0023-model-checker.md.
    config.silence_warnings = true;
    config.stack_size = 1 << 17;
    // A failure is told as it is, and not of what is then dropped.
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;
    Runner::new(scheduler, config).run(scenario);
}
