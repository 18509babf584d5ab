//! Keys by their number, and who uses which.
//!
//! A million keys as texts would take memory from what is measured, so a key is made from its number
//! whenever it is needed: of the right form, and scattered over the store as random ones are.

use std::fmt::Write as _;

/// The digits of our own credentials (RFC-less base62, in ASCII order).
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The key of a number.
pub(crate) fn key(number: usize) -> String {
    let mut text = String::with_capacity(60);
    text.push_str("osir_live_");
    let mut random = Random::from(number as u64);
    for _ in 0..43 {
        text.push(char::from(DIGITS[random.below(62)]));
    }
    let checksum = crc32fast::hash(text.as_bytes());
    for place in (0..6).rev() {
        let digit = checksum / 62u32.pow(place) % 62;
        text.push(char::from(DIGITS[digit as usize]));
    }
    text
}

/// The line by which `portcullis key import` takes a key over.
pub(crate) fn push_import_line(lines: &mut String, number: usize) {
    let _ = writeln!(
        lines,
        r#"{{"key":"{}","account":"acct_{number}","name":"bench","scopes":["bench:read"]}}"#,
        key(number)
    );
}

/// SplitMix64: the same numbers in each run.
pub(crate) struct Random(u64);

impl From<u64> for Random {
    fn from(seed: u64) -> Random {
        Random(seed)
    }
}

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly below a bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Zipf's law with exponent 1: the key of rank r is used in proportion to 1/r.
pub(crate) struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(crate) fn over(count: usize) -> Zipf {
        let mut sum = 0.0;
        let weights = (1..=count).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Zipf {
            cumulative: weights.collect(),
        }
    }

    /// A rank from zero.
    pub(crate) fn sample(&self, random: &mut Random) -> usize {
        let last = self.cumulative.len() - 1;
        let place = random.share() * self.cumulative[last];
        self.cumulative
            .partition_point(|sum| *sum < place)
            .min(last)
    }
}
