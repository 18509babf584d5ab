//! Counts of latencies in log-linear buckets: every power of two of nanoseconds is cut into 256
//! equal parts, so a percentile is at most 0.4 % above the true one, whatever its size.
//!
//! Recording is one addition to an array; histograms of threads and seconds are added up.

use std::time::Duration;

/// Latencies up to [`Histogram::LONGEST`]; longer ones count as that long.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: u64,
}

/// Parts of a power of two, as a power of two.
const PARTS: u32 = 8;
/// 2^42 ns are 73 minutes.
const HIGHEST: u32 = 42;
const BUCKETS: usize = ((HIGHEST - PARTS + 1) as usize) << PARTS;

impl Histogram {
    /// What is longer is recorded as this.
    pub(crate) const LONGEST: Duration = Duration::from_nanos((1 << HIGHEST) - 1);

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.min(Self::LONGEST).as_nanos());
        let nanos = nanos.expect("LONGEST fits");
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += more;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exactly.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The latency that `share` (0 to 1) of all requests did not exceed: the upper end of the
    /// bucket in which the one at that place lies. Zero if there was none.
    pub(crate) fn at(&self, share: f64) -> Duration {
        let place = self.place(share);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= place && seen > 0 {
                return Duration::from_nanos(upper_end(bucket).min(self.max));
            }
        }
        Duration::ZERO
    }

    /// The place in the sorted list, from 1 (nearest rank).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of requests is below 2^52, and no share is negative"
    )]
    fn place(&self, share: f64) -> u64 {
        // 0.99 * 100 is a little above 99 as floats go; no such error may move the place.
        let exact = share * self.count as f64;
        ((exact - exact * 1e-12).ceil() as u64).clamp(1, self.count.max(1))
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: vec![0; BUCKETS].into(),
            count: 0,
            max: 0,
        }
    }
}

/// Values below 2^8 have a bucket each; above, the highest 9 bits choose it.
fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(PARTS + 1);
    let part = usize::try_from(nanos >> shift).expect("nine bits");
    ((shift as usize) << PARTS) + part
}

/// The largest value of a bucket.
fn upper_end(bucket: usize) -> u64 {
    let shift = (bucket >> PARTS).saturating_sub(1);
    let part = (bucket - (shift << PARTS)) as u64;
    ((part + 1) << shift) - 1
}
