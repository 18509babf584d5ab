//! The fleet: one hash, an entry an instance, in the slot of the log that entries are compared with.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::cmd;

use crate::id::InstanceId;
use crate::store::{
    Fleet, FleetReach, FleetStore, Forget, Instance, InstanceReport, Position, RENEWED_WITHIN,
    ReportKind, StoreError,
};

use super::fault::Fault;
use super::link::Connection;
use super::log::Place;
use super::{RedisStore, layout};

/// A renewal comes sooner than this after the report before it, unless the clock of the store leapt.
const LEAP: Duration = RENEWED_WITHIN.saturating_add(Duration::from_secs(60));

#[async_trait::async_trait]
impl FleetStore for RedisStore {
    async fn report(&self, report: InstanceReport) -> Result<Option<Duration>, StoreError> {
        self.lane.call(|c| write(c, report)).await
    }

    async fn fleet(&self) -> Result<Fleet, StoreError> {
        self.lane.call(read).await
    }

    async fn leave(&self, id: &InstanceId) -> Result<(), StoreError> {
        let step = async |mut connection: Connection| {
            let mut command = cmd("HDEL");
            command.arg(layout::FLEET).arg(id.as_str());
            Ok(command.exec_async(&mut connection).await?)
        };
        self.lane.call(step).await
    }

    async fn forget(&self, id: &InstanceId, silent_for: Duration) -> Result<Forget, StoreError> {
        if id.as_str() == layout::LOST {
            return Ok(Forget::Unknown);
        }
        self.lane.call(|c| forget(c, id.clone(), silent_for)).await
    }
}

async fn forget(
    mut connection: Connection,
    id: InstanceId,
    silent_for: Duration,
) -> Result<Forget, Fault> {
    let mut invocation = layout::FORGET.script.key(layout::FLEET);
    invocation
        .arg(id.as_str())
        .arg(silent_for.as_millis().to_string());
    let answer: Option<i64> = invocation.invoke_async(&mut connection).await?;
    match answer {
        None => Ok(Forget::Unknown),
        Some(0) => Ok(Forget::Reports),
        Some(1) => Ok(Forget::Forgotten),
        Some(_) => Err(unreadable()),
    }
}

/// How old the entry is that it names: an entry's id begins with the store's time.
async fn write(
    mut connection: Connection,
    mut report: InstanceReport,
) -> Result<Option<Duration>, Fault> {
    let place = report.confirmed.take().and_then(|at| Place::parse(&at));
    let json = serde_json::to_string(&report).map_err(Fault::away)?;
    let mut invocation = layout::REPORT.script.key(layout::FLEET);
    invocation.key(layout::EPOCH).key(layout::LOG);
    invocation.arg(report.id.as_str()).arg(json);
    invocation.arg(report.keep.as_millis().to_string());
    invocation.arg(match report.kind {
        ReportKind::First => "",
        ReportKind::Renewal => layout::LOST,
    });
    let place = place.as_ref();
    invocation
        .arg(place.map_or("", Place::epoch))
        .arg(place.map_or("", Place::entry))
        .arg(LEAP.as_millis().to_string());
    let now: Option<i64> = invocation.invoke_async(&mut connection).await?;
    let written = place.and_then(Place::millis);
    Ok(now.zip(written).map(|(now, written)| since(written, now)))
}

async fn read(mut connection: Connection) -> Result<Fleet, Fault> {
    let ((seconds, micros), mut entries): ((i64, i64), BTreeMap<String, String>) =
        layout::FLEET_NOW
            .script
            .key(layout::FLEET)
            .invoke_async(&mut connection)
            .await?;
    let now = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    let lost = entries.remove(layout::LOST);
    let lost = lost.map(|text| text.parse().map_err(|_| unreadable()));
    let mut instances = Vec::with_capacity(entries.len());
    for entry in entries.values() {
        let entry = Entry::parse(entry)?;
        if entry.lapses >= now {
            instances.push(Instance {
                silent_for: since(entry.at, now),
                report: entry.report,
            });
        }
    }
    Ok(Fleet {
        instances,
        lost: lost.transpose()?.map(|at| since(at, now)),
        reach: FleetReach::Shared,
    })
}

/// One entry, as the script writes it. Times are milliseconds of the store's clock.
struct Entry {
    at: i64,
    lapses: i64,
    report: InstanceReport,
}

impl Entry {
    /// What cannot be read is an error and not skipped: it may be an instance that serves.
    fn parse(text: &str) -> Result<Entry, Fault> {
        let mut parts = text.splitn(4, ' ');
        let mut part = || parts.next().ok_or_else(unreadable);
        let at = part()?.parse().map_err(|_| unreadable())?;
        let lapses = part()?.parse().map_err(|_| unreadable())?;
        let place = part()?;
        let mut report: InstanceReport = serde_json::from_str(part()?).map_err(|_| unreadable())?;
        report.confirmed = (place != "-").then(|| Position::new(place));
        Ok(Entry { at, lapses, report })
    }
}

fn unreadable() -> Fault {
    Fault::corrupt("an instance of the fleet")
}

fn since(at: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(at)).unwrap_or(0))
}
