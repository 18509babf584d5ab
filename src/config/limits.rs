//! `limits`, `timeouts`, `workers`, `access_log`: bounds and where lines go.

use std::time::Duration;

use crate::edge::ConnectionLimits;
use crate::observe::{AccessLogSettings, AccessLogTarget};

use super::field::{Field, Section};
use super::node::Value;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What `limits` says.
#[derive(Debug)]
pub(super) struct Sizes {
    connections: usize,
    connections_per_address: usize,
    header_bytes: usize,
    header_count: usize,
    uri_bytes: usize,
    h2_streams: u32,
    pub(super) body: u64,
}

/// What `timeouts` says.
#[derive(Debug)]
pub(super) struct Timeouts {
    handshake: Duration,
    header: Duration,
    idle: Duration,
    body: Duration,
}

/// Reads `limits`.
pub(super) fn sizes(root: &Section<'_>) -> Option<Sizes> {
    root.section("limits", |section| {
        let connections = section.or("connections", 20_000, |field| field.count(1..=10_000_000));
        let per_address = section.or("connections_per_address", 4_096, |field| {
            field.count(1..=10_000_000)
        });
        let header_bytes = section.or("header_bytes", 65_536, |field| {
            field.size_within(KIB..=16 * MIB)
        });
        // 100 is the most that hyper's parser takes.
        let header_count = section.or("header_count", 100, |field| field.count(1..=100));
        let uri_bytes = section.or("uri_bytes", 8_192, |field| field.size_within(64..=16 * MIB));
        let body = section.or("body", 100 * MIB, Field::size);
        let h2_streams = section.or("h2_streams", 100, |field| field.count(1..=10_000));
        if let (Some(uri), Some(head)) = (uri_bytes, header_bytes)
            && uri > head
        {
            section
                .get("uri_bytes")
                .unwrap_or(section.field().clone())
                .report(
                    "uri_bytes is more than header_bytes, of which the URI is a part",
                    "lower uri_bytes or raise header_bytes",
                );
        }
        Some(Sizes {
            connections: connections?,
            connections_per_address: per_address?,
            header_bytes: header_bytes?,
            header_count: header_count?,
            uri_bytes: uri_bytes?,
            h2_streams: h2_streams?,
            body: body?,
        })
    })
}

/// Reads `timeouts`.
pub(super) fn timeouts(root: &Section<'_>) -> Option<Timeouts> {
    root.section("timeouts", |section| {
        let seconds = |key, default| section.or(key, Duration::from_secs(default), Field::duration);
        let handshake = seconds("handshake", 10);
        let header = seconds("header", 10);
        let idle = seconds("idle", 75);
        let body = seconds("body", 30);
        Some(Timeouts {
            handshake: handshake?,
            header: header?,
            idle: idle?,
            body: body?,
        })
    })
}

/// The two together, as the edge takes them.
pub(super) fn connection_limits(sizes: &Sizes, timeouts: &Timeouts) -> ConnectionLimits {
    ConnectionLimits {
        connections: sizes.connections,
        connections_per_address: sizes.connections_per_address,
        handshake: timeouts.handshake,
        header: timeouts.header,
        idle: timeouts.idle,
        body_idle: timeouts.body,
        header_bytes: sizes.header_bytes,
        header_count: sizes.header_count,
        uri_bytes: sizes.uri_bytes,
        h2_streams: sizes.h2_streams,
    }
}

/// Reads `workers`.
pub(super) fn workers(root: &Section<'_>) -> Option<Option<usize>> {
    root.optional("workers", |field| field.count(1..=1_024))
}

/// Reads `access_log`.
pub(super) fn access_log(root: &Section<'_>) -> Option<AccessLogSettings> {
    let target = root.or("access_log", AccessLogTarget::Stdout, |field| {
        if matches!(field.value(), Value::Map(_)) {
            return field.section(|section| {
                let path = section.required("file", "write { file: path }", Field::path);
                path.map(AccessLogTarget::File)
            });
        }
        field.word(&[
            ("stdout", AccessLogTarget::Stdout),
            ("off", AccessLogTarget::Off),
        ])
    });
    target.map(|target| AccessLogSettings { target })
}
