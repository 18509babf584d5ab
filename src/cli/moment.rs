//! Points in time as people type them: `90d` from now, or an RFC 3339 instant.

use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// `90d`, `12h`, `30m`, `45s` from now, or an RFC 3339 instant.
pub(super) fn parse_moment(text: &str) -> Result<Timestamp, &'static str> {
    let ahead = || parse_span(text).map(|span| Clock::system().now().plus(span));
    Timestamp::parse_rfc3339(text)
        .or_else(ahead)
        .ok_or("write 90d, 12h, 30m, 45s or a time such as 2027-01-31T12:00:00Z")
}

/// `24h`, `30m`, `45s`, or `0s`.
pub(super) fn parse_overlap(text: &str) -> Result<Duration, &'static str> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        _ => parse_span(text).ok_or("write 24h, 30m, 45s or 0s"),
    }
}

/// `30d`, `12h`: how long ago.
pub(super) fn parse_age(text: &str) -> Result<Duration, &'static str> {
    parse_span(text).ok_or("write 30d, 12h, 30m or 45s")
}

fn parse_span(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let amount: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let span = amount.checked_mul(seconds).map(Duration::from_secs)?;
    (!span.is_zero()).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_number_and_one_unit() {
        assert_eq!(parse_span("90d"), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(parse_span("45s"), Some(Duration::from_secs(45)));
        for wrong in [
            "",
            "d",
            "90",
            "0d",
            "-1d",
            "1.5h",
            "1h30m",
            "90 d",
            "9\u{e4}",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert_eq!(parse_span(wrong), None, "{wrong:?}");
        }
    }
}
