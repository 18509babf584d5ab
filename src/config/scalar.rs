//! Readers of single values: durations, sizes, counts, words, names, addresses.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::field::Field;
use super::nearest::nearest;
use super::node::Value;
use super::report::quoted;

const SECOND: u64 = 1_000;
/// In milliseconds.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
];
/// In bytes. Decimal units are left out: `10MB` is read as one or the other by different people.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
/// No setting here is sensibly longer; also keeps sums of durations far from overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl Field<'_> {
    /// A length of time, such as `500ms` or `10m`; never zero.
    pub(super) fn duration(&self) -> Option<Duration> {
        match self.duration_or_zero()? {
            Duration::ZERO => self.refuse("a duration of zero", "nothing can wait for no time"),
            duration => Some(duration),
        }
    }

    /// A length of time that may be zero.
    pub(super) fn duration_or_zero(&self) -> Option<Duration> {
        const HINT: &str = "write a whole number and a unit: 500ms, 5s, 10m, 1h, 30d";
        let Value::Text(text) = self.value() else {
            return self.mismatch("a duration", HINT);
        };
        let Some(millis) = with_unit(text, &DURATION_UNITS) else {
            return self.refuse(format!("{} is not a duration", quoted(text)), HINT);
        };
        match Duration::from_millis(millis) {
            long if long > LONGEST => self.refuse("longer than a year", "write at most 365d"),
            duration => Some(duration),
        }
    }

    /// A number of bytes, such as `64KiB`, or a bare number.
    pub(super) fn size(&self) -> Option<u64> {
        const HINT: &str = "write a whole number and a unit: 512B, 64KiB, 10MiB, 1GiB";
        let bytes = match self.value() {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::Text(text) => with_unit(text, &SIZE_UNITS),
            _ => return self.mismatch("a size", HINT),
        };
        match bytes {
            Some(bytes) => Some(bytes),
            None => self.refuse("this is not a size", HINT),
        }
    }

    /// A size within bounds.
    pub(super) fn size_within(&self, bounds: RangeInclusive<u64>) -> Option<usize> {
        let size = self.size()?;
        self.bounded(size.into(), bounds, size_text)
    }

    /// A duration within bounds.
    pub(super) fn duration_within(
        &self,
        bounds: RangeInclusive<Duration>,
        hint: &str,
    ) -> Option<Duration> {
        let duration = self.duration()?;
        match (duration < *bounds.start(), duration > *bounds.end()) {
            (true, _) => self.refuse("too short", hint),
            (_, true) => self.refuse("too long", hint),
            _ => Some(duration),
        }
    }

    /// A whole number within bounds.
    pub(super) fn count<T: TryFrom<u64>>(&self, bounds: RangeInclusive<u64>) -> Option<T> {
        let Value::Integer(count) = self.value() else {
            return self.mismatch("a whole number", "write digits only");
        };
        self.bounded(*count, bounds, |count| count.to_string())
    }

    fn bounded<T: TryFrom<u64>>(
        &self,
        value: i128,
        bounds: RangeInclusive<u64>,
        shown: fn(u64) -> String,
    ) -> Option<T> {
        let within = u64::try_from(value)
            .ok()
            .filter(|value| bounds.contains(value));
        // On a machine where T is narrower than the bounds, what does not fit is too large.
        if let Some(value) = within.and_then(|value| T::try_from(value).ok()) {
            return Some(value);
        }
        let (least, most) = bounds.into_inner();
        let message = if value < i128::from(least) {
            "too small"
        } else {
            "too large"
        };
        self.refuse(
            message,
            format!("write {} to {}", shown(least), shown(most)),
        )
    }

    /// `true` or `false`.
    pub(super) fn switch(&self) -> Option<bool> {
        match self.value() {
            Value::Bool(value) => Some(*value),
            _ => self.mismatch("true or false", "write true or false"),
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(value.clone());
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint = match nearest(text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", known.join(", ")),
        };
        self.refuse(format!("unknown value {}", quoted(text)), hint)
    }

    /// A path, resolved against the file's folder. Whether anything is there is another question.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.contains("://") {
            return self.refuse("expected a path, found a URL", "write the path of a file");
        }
        Some(self.source().resolve(text))
    }

    /// An IP network, such as `10.0.0.0/8`, or one address.
    pub(super) fn network(&self) -> Option<IpNet> {
        let text = self.text()?;
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        match network {
            Some(network) if network == network.trunc() => Some(network),
            Some(network) => self.refuse(
                format!("{} has bits beyond its prefix length", quoted(text)),
                format!("write {}, or one address without a length", network.trunc()),
            ),
            None => self.refuse(
                format!("{} is not a network", quoted(text)),
                "write an address or a network: 10.0.0.7, 10.0.0.0/8, \"fd00::/8\"",
            ),
        }
    }

    /// An IP address and a port.
    pub(super) fn socket_address(&self) -> Option<SocketAddr> {
        let text = self.text()?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => self.refuse(
                format!("{} is not an address with a port", quoted(text)),
                "write an IP address and a port: 127.0.0.1:8443, or \"[::]:8443\"",
            ),
        }
    }
}

/// Checks a name that appears in metrics and logs; says what is wrong with it.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let valid = !name.is_empty() && name.len() <= 64 && name.bytes().all(allowed);
    (!valid).then_some("write 1 to 64 of the characters A-Z a-z 0-9 _ - .")
}

/// A number of bytes in the largest unit that divides it.
fn size_text(bytes: u64) -> String {
    let (unit, factor) = SIZE_UNITS
        .into_iter()
        .rfind(|(_, factor)| bytes.is_multiple_of(*factor))
        .unwrap_or(SIZE_UNITS[0]);
    format!("{}{unit}", bytes / factor)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_exactly_one_unit() {
        assert_eq!(with_unit("10m", &DURATION_UNITS), Some(600_000));
        assert_eq!(with_unit("30d", &DURATION_UNITS), Some(2_592_000_000));
        assert_eq!(with_unit("64KiB", &SIZE_UNITS), Some(65_536));
        for text in ["", "s", "5", "5 s", "1.5s", "-5s", "+5s", "5S", "1h30m"] {
            assert_eq!(with_unit(text, &DURATION_UNITS), None, "{text:?}");
        }
        for text in [
            "10MB",
            "10mib",
            "18446744073709551615GiB",
            "99999999999999999999B",
        ] {
            assert_eq!(with_unit(text, &SIZE_UNITS), None, "{text:?}");
        }
    }
}
