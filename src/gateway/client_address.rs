//! Whose request it is, when proxies stand in front.
//!
//! Only a peer in `trusted_proxies` is believed about the addresses behind it, and only hop by hop
//! from the right: the first address that is not a trusted proxy is the client (`security.md` row
//! 77). `Forwarded` (RFC 7239) is read where there is no `X-Forwarded-For`. Invariant: an untrusted peer's own fields change nothing.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

const FORWARDED: HeaderName = http::header::FORWARDED;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client, and what to tell the upstream about the way here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// The client's address, IPv4-mapped ones as IPv4.
    pub(super) client: IpAddr,
    /// What trusted proxies said, oldest hop first; only the part that can be believed.
    hops: Vec<IpAddr>,
}

/// Reads the chain that leads to `peer`.
pub(super) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Forwarded {
    let peer = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut forwarded = Forwarded {
        client: peer,
        hops: Vec::new(),
    };
    if trusted.is_empty() || !is_trusted(&peer) {
        return forwarded;
    }
    let mut said: Vec<Option<IpAddr>> = match headers.contains_key(X_FORWARDED_FOR) {
        true => elements(headers, &X_FORWARDED_FOR)
            .map(|text| text.parse().ok())
            .collect(),
        false => elements(headers, &FORWARDED).map(forwarded_for).collect(),
    };
    while is_trusted(&forwarded.client)
        && let Some(address) = said.pop().flatten()
    {
        forwarded.client = address.to_canonical();
        forwarded.hops.insert(0, forwarded.client);
    }
    forwarded
}

/// The elements of a list field, over all its lines.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// The address in `for=192.0.2.1`, `for="192.0.2.1:80"` or `for="[2001:db8::1]:80"` (RFC 7239 §6);
/// `None` for an obfuscated name, which ends the chain that can be believed.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for"));
    let (Some((_, node)), None) = (nodes.next(), nodes.next()) else {
        return None;
    };
    let node = node.trim_matches('"');
    match node.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next()?.parse().ok(),
        None => node.split(':').next()?.parse().ok(),
    }
}

impl Forwarded {
    /// The `X-Forwarded-For` to send: the believed hops, then the peer, whose address is `peer`.
    pub(super) fn for_value(&self, peer: &HeaderValue) -> HeaderValue {
        if self.hops.is_empty() {
            return peer.clone();
        }
        let mut value = Vec::new();
        for hop in &self.hops {
            value.extend_from_slice(hop.to_string().as_bytes());
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(peer.as_bytes());
        HeaderValue::try_from(value).expect("addresses and commas are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let peer = address(peer).to_canonical().to_string();
        let peer = HeaderValue::try_from(peer).expect("visible");
        let value = forwarded.for_value(&peer);
        let value = value.to_str().expect("visible").to_owned();
        (forwarded.client.to_string(), value)
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
    fn row_77_forwarded_is_read_in_the_same_way() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a net")];
        let client = |peer: &str, field: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED, HeaderValue::from_static(field));
            of(address(peer), &headers, &trusted).client.to_string()
        };
        for (field, expected) in [
            ("for=203.0.113.9", "203.0.113.9"),
            (
                "For=\"203.0.113.9:47011\";proto=http;by=10.0.0.2",
                "203.0.113.9",
            ),
            ("for=6.6.6.6, for=203.0.113.9, for=10.0.0.1", "203.0.113.9"),
            ("for=\"[2001:db8::7]:80\"", "2001:db8::7"),
            ("for=203.0.113.9, for=_hidden", "10.0.0.2"),
            ("for=203.0.113.9;for=6.6.6.6", "10.0.0.2"),
            ("proto=https", "10.0.0.2"),
        ] {
            assert_eq!(client("10.0.0.2", field), expected, "{field}");
        }
        assert_eq!(client("203.0.113.1", "for=6.6.6.6"), "203.0.113.1");
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
