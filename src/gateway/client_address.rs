//! Whose request it is, when proxies stand in front.
//!
//! Only a peer in `trusted_proxies` is believed about the addresses behind it, and only hop by hop
//! from the right: the first address that is not a trusted proxy is the client (`security.md` row
//! 77). Invariant: an untrusted peer's own fields change nothing.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client, and what to tell the upstream about the way here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// The client's address, IPv4-mapped ones as IPv4.
    pub(super) client: IpAddr,
    /// The peer of this connection.
    peer: IpAddr,
    /// What trusted proxies said, oldest hop first; only the part that can be believed.
    hops: Vec<IpAddr>,
}

/// Reads the chain that leads to `peer`.
pub(super) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Forwarded {
    let peer = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut forwarded = Forwarded {
        client: peer,
        peer,
        hops: Vec::new(),
    };
    if trusted.is_empty() || !is_trusted(&peer) {
        return forwarded;
    }
    let fields = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut said: Vec<&str> = fields
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    while is_trusted(&forwarded.client)
        && let Some(address) = said.pop().and_then(|text| text.parse::<IpAddr>().ok())
    {
        forwarded.client = address.to_canonical();
        forwarded.hops.insert(0, forwarded.client);
    }
    forwarded
}

impl Forwarded {
    /// The `X-Forwarded-For` to send: the believed hops, then the peer.
    pub(super) fn for_value(&self) -> String {
        let mut value = String::new();
        for hop in &self.hops {
            value.push_str(&hop.to_string());
            value.push_str(", ");
        }
        value.push_str(&self.peer.to_string());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn read(peer: &str, fields: &[&'static str], trusted: &[&str]) -> (String, String) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(field));
        }
        let trusted: Vec<IpNet> = trusted
            .iter()
            .map(|net| net.parse().expect("a net"))
            .collect();
        let forwarded = of(address(peer), &headers, &trusted);
        (forwarded.client.to_string(), forwarded.for_value())
    }

    #[test]
    fn row_77_an_untrusted_peer_is_not_believed() {
        let read = read("203.0.113.9", &["10.0.0.1"], &["10.0.0.0/8"]);
        assert_eq!(read, ("203.0.113.9".into(), "203.0.113.9".into()));
    }

    #[test]
    fn row_77_only_hops_that_trusted_proxies_saw_are_believed() {
        let read = read(
            "10.0.0.2",
            &["6.6.6.6, 203.0.113.9", "10.0.0.1"],
            &["10.0.0.0/8"],
        );
        assert_eq!(
            read,
            (
                "203.0.113.9".into(),
                "203.0.113.9, 10.0.0.1, 10.0.0.2".into()
            )
        );
    }

    #[test]
    fn what_is_no_address_ends_the_chain() {
        let read = read("10.0.0.2", &["203.0.113.9, unknown"], &["10.0.0.0/8"]);
        assert_eq!(read, ("10.0.0.2".into(), "10.0.0.2".into()));
    }

    #[test]
    fn mapped_addresses_are_one_with_their_ipv4_form() {
        let read = read("::ffff:10.0.0.2", &["::ffff:203.0.113.9"], &["10.0.0.0/8"]);
        assert_eq!(read.0, "203.0.113.9");
    }
}
