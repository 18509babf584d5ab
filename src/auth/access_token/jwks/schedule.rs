//! When a key set is fetched again. Pure numbers; the waiting is in `refresh.rs`.

use std::time::Duration;

/// Without a `Cache-Control: max-age`.
const DEFAULT_TTL: Duration = Duration::from_secs(10 * 60);
const MIN_TTL: Duration = Duration::from_secs(5 * 60);
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Before the end, so that a slow or failing answer is not felt.
const REFRESH_AT: f64 = 0.8;
/// Around the refresh time, so that a fleet does not ask in step.
const JITTER: f64 = 0.05;

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(5 * 60);

/// A number in `0.0..1.0`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(f64);

impl Chance {
    pub(super) fn draw() -> Chance {
        let bytes = crate::secret::random_bytes::<2>();
        Chance(f64::from(u16::from_be_bytes(bytes)) / 65536.0)
    }
}

/// After a success: at 80 % of what the issuer allows, give or take 5 %.
pub(super) fn refresh_after(max_age: Option<Duration>, chance: Chance) -> Duration {
    let ttl = max_age.map_or(DEFAULT_TTL, |age| age.clamp(MIN_TTL, MAX_TTL));
    ttl.mul_f64(REFRESH_AT - JITTER + 2.0 * JITTER * chance.0)
}

/// After so many failures in a row: 1 s, doubled up to 5 min, and up to a quarter more.
pub(super) fn retry_after(failures: u32, chance: Chance) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let pause = FIRST_BACK_OFF
        .saturating_mul(1 << doublings)
        .min(MAX_BACK_OFF);
    pause.mul_f64(1.0 + chance.0 / 4.0)
}

/// The `max-age` of a `Cache-Control` field (RFC 9111 §5.2.2.1).
pub(super) fn max_age(cache_control: &str) -> Option<Duration> {
    let mut directives = cache_control.split(',').map(str::trim);
    directives.find_map(|directive| {
        let (name, secs) = directive.split_once('=')?;
        let secs = name.eq_ignore_ascii_case("max-age").then_some(secs)?;
        secs.trim_matches('"').parse().ok().map(Duration::from_secs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Chance = Chance(0.0);
    const MAX: Chance = Chance(0.999);

    fn secs(duration: Duration) -> u64 {
        duration.as_secs_f64().round() as u64
    }

    #[test]
    fn a_refresh_comes_at_about_80_percent_of_the_clamped_max_age() {
        let at = |age, chance| secs(refresh_after(Some(Duration::from_secs(age)), chance));
        assert_eq!((at(1000, MIN), at(1000, MAX)), (750, 850));
        assert_eq!((at(0, MIN), at(0, MAX)), (225, 255));
        assert_eq!(at(u64::MAX, MAX), 73_431);
        assert_eq!(secs(refresh_after(None, MIN)), 450);
    }

    #[test]
    fn a_retry_backs_off_from_one_second_to_five_minutes() {
        let pauses = [0, 1, 2, 3, 8, 9, 10, u32::MAX].map(|n| secs(retry_after(n, MIN)));
        assert_eq!(pauses, [1, 1, 2, 4, 128, 256, 300, 300]);
        assert_eq!(secs(retry_after(1000, MAX)), 375);
    }

    #[test]
    fn max_age_is_found_among_other_directives() {
        for (field, age) in [
            ("max-age=60", Some(60)),
            ("public, Max-Age=60, must-revalidate", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("s-maxage=60", None),
            ("no-store", None),
            ("max-age=-1", None),
            ("max-age=", None),
            ("", None),
        ] {
            assert_eq!(max_age(field).map(|age| age.as_secs()), age, "{field}");
        }
    }

    #[test]
    fn chance_is_below_one() {
        assert!((0..1000).all(|_| (0.0..1.0).contains(&Chance::draw().0)));
    }
}
