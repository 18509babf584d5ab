//! `listen`, `tls`, `admin_token`, `audit_log`, `audit_copy`: what is bound, and what guards it.
//!
//! Not here: whether an address can be bound; that shows when it is. Invariant: a TCP admin
//! listener is on a loopback address and has a token.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::admin::{AdminAddress, AdminSettings};
use crate::edge::CertificateFiles;
use crate::observe::{AuditCopy, AuditSettings};
use crate::secret::Secret;

use super::field::{Field, Section};
use super::file::Literal;

const HTTPS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
const ADMIN_SOCKET: &str = "data/admin.sock";
const AUDIT_LOG: &str = "data/audit.jsonl";
/// `sun_path` of unix(7) without its final NUL.
const LONGEST_SOCKET_PATH: usize = 107;
const SHORTEST_ADMIN_TOKEN: usize = 16;

/// What `listen` says.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) https: SocketAddr,
    pub(super) http: Option<SocketAddr>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) admin: Option<AdminAddress>,
}

/// Reads `listen`.
pub(super) fn listeners(root: &Section<'_>) -> Option<Listeners> {
    let token = root.get("admin_token").is_some();
    root.section("listen", |section| {
        let socket = section.field().source().resolve(ADMIN_SOCKET);
        let https = section.or("https", HTTPS, Field::socket_address);
        let http = section.optional("http", Field::socket_address);
        let metrics = section.or("metrics", Some(METRICS), off_or(Field::socket_address));
        let admin = section.or(
            "admin",
            Some(AdminAddress::Unix(socket)),
            off_or(|field| admin_address(field, token)),
        );
        let admin_tcp = match admin {
            Some(Some(AdminAddress::Tcp(address))) => Some(address),
            Some(Some(AdminAddress::Unix(_)) | None) | None => None,
        };
        report_collisions(&[
            (section.get("https"), https),
            (section.get("http"), http.flatten()),
            (section.get("metrics"), metrics.flatten()),
            (section.get("admin"), admin_tcp),
        ]);
        Some(Listeners {
            https: https?,
            http: http?,
            metrics: metrics?,
            admin: admin?,
        })
    })
}

/// What the operator's listeners need besides their addresses.
#[derive(Debug)]
pub(super) struct Operator {
    token: Option<Secret>,
    audit: AuditSettings,
}

/// Reads `admin_token`, `audit_log` and `audit_copy`.
pub(super) fn operator(root: &Section<'_>) -> Option<Operator> {
    let token = root.optional("admin_token", admin_token);
    let file = root.field().source().resolve(AUDIT_LOG);
    let file = root.or("audit_log", file, Field::path);
    let copy = root.or("audit_copy", AuditCopy::Nowhere, |field| {
        let stdout = ("stdout", AuditCopy::Stdout);
        field.word(&[stdout, ("syslog", AuditCopy::Syslog)])
    });
    Some(Operator {
        token: token?,
        audit: AuditSettings {
            file: file?,
            copy: copy?,
        },
    })
}

impl Operator {
    /// Together with the addresses, as the admin room takes them.
    pub(super) fn with(self, listeners: Listeners) -> AdminSettings {
        AdminSettings {
            metrics: listeners.metrics,
            admin: listeners.admin,
            token: self.token,
            audit: self.audit,
        }
    }
}

/// Reads `internal_token.key`.
pub(super) fn internal_key(root: &Section<'_>) -> Option<Option<PathBuf>> {
    let hint = "add key: path of a P-256 private key";
    root.optional("internal_token", |field| {
        field.section(|section| section.required("key", hint, Field::private_key))
    })
}

/// Reads `tls.certificates`.
pub(super) fn certificates(root: &Section<'_>) -> Option<Vec<CertificateFiles>> {
    const HINT: &str =
        "add tls: { certificates: [{ cert: certs/gateway.pem, key: certs/gateway-key.pem }] }";
    root.required("tls", HINT, |tls| {
        tls.section(|section| {
            section.required("certificates", HINT, |list| {
                list.list_of(|item| item.section(certificate))
            })
        })
    })
}

fn certificate(section: &Section<'_>) -> Option<CertificateFiles> {
    let cert = section.required("cert", "add cert: path of the chain", Field::certificates);
    let key = section.required(
        "key",
        "add key: path of its private key",
        Field::private_key,
    );
    Some(CertificateFiles {
        cert: cert?,
        key: key?,
    })
}

pub(super) fn off_or<'a, T>(
    read: impl FnOnce(&Field<'a>) -> Option<T>,
) -> impl FnOnce(&Field<'a>) -> Option<Option<T>> {
    move |field| match field.text()? {
        "off" => Some(None),
        _ => read(field).map(Some),
    }
}

fn admin_address(field: &Field<'_>, token: bool) -> Option<AdminAddress> {
    if let Some(path) = field.text()?.strip_prefix("unix:") {
        return socket_path(field, path).map(AdminAddress::Unix);
    }
    let address = field.socket_address()?;
    if !address.ip().is_loopback() {
        return field.refuse(
            "the admin API would be reachable from other machines without TLS",
            "write unix:PATH, or a loopback address such as 127.0.0.1:9091",
        );
    }
    if !token {
        return field.refuse(
            "an admin API on TCP needs a token: every local user can connect to it",
            "add admin_token: { file: data/admin-token } at the top level, or write unix:PATH",
        );
    }
    Some(AdminAddress::Tcp(address))
}

fn socket_path(field: &Field<'_>, path: &str) -> Option<PathBuf> {
    const HINT: &str = "write unix:PATH with a shorter path";
    if path.is_empty() {
        return field.refuse("the path of the socket is missing", "write unix:PATH");
    }
    let path = field.source().resolve(path);
    match path.as_os_str().len() {
        0..=LONGEST_SOCKET_PATH => Some(path),
        _ => field.refuse("a socket's path has at most 107 bytes", HINT),
    }
}

fn admin_token(field: &Field<'_>) -> Option<Secret> {
    let token = field.secret(Literal::Accept)?;
    if token.expose().len() < SHORTEST_ADMIN_TOKEN {
        return field.refuse(
            format!("an admin token needs at least {SHORTEST_ADMIN_TOKEN} characters"),
            "make one with `openssl rand -hex 32`",
        );
    }
    Some(token)
}

/// Two listeners cannot have one address. Port 0 is a new port each time.
fn report_collisions(listeners: &[(Option<Field<'_>>, Option<SocketAddr>)]) {
    for (index, (field, address)) in listeners.iter().enumerate() {
        let earlier = &listeners[..index];
        let taken = earlier
            .iter()
            .find(|(_, other)| matches!((address, other), (Some(a), Some(b)) if collide(*a, *b)));
        // Where one of the two is a default, the other is the one to change.
        let Some(field) = taken.and_then(|(other, _)| field.as_ref().or(other.as_ref())) else {
            continue;
        };
        field.report(
            "two listeners have the same address",
            "give each of https, http, metrics and admin its own port",
        );
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && overlap
}
