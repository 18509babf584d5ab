//! Quantities as people read them.

use std::time::Duration;

/// `1,234,567`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate without fraction, unless it is small.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is not negative, and above 2^64 it saturates"
)]
pub(crate) fn rate(per_second: f64) -> String {
    match per_second < 10.0 {
        true => format!("{per_second:.1}"),
        false => count(per_second.round() as u64),
    }
}

/// `85 us`, `6.81 ms`, `310 ms`, `12.3 s`
pub(crate) fn latency(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..999.5 => format!("{micros:.0} us"),
        ..9_995.0 => format!("{:.2} ms", micros / 1e3),
        ..99_950.0 => format!("{:.1} ms", micros / 1e3),
        ..9_999_500.0 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}

/// `512 B`, `1.5 MB`: powers of ten, as networks are sold.
pub(crate) fn bytes(bytes: f64) -> String {
    let mut amount = bytes;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter().peekable();
    while let Some(unit) = units.next() {
        if amount < 999.5 || units.peek().is_none() {
            return match unit == "B" || amount >= 99.95 {
                true => format!("{amount:.0} {unit}"),
                false => format!("{amount:.1} {unit}"),
            };
        }
        amount /= 1000.0;
    }
    unreachable!("the last unit takes any amount")
}
