//! Openings for the counts in tests/costs/ and benches/stages.rs: what they measure is private.
//!
//! Not part of the API, and nothing in the gateway calls it. Invariant: it does no work of its
//! own, so that what is counted is what runs.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderValue};
use http::{Uri, Version};

use super::forward::{OWN_FIELDS, copy_fields, credential_fate, set_own_fields};
use super::identity::{self, InternalTokens};
use super::intake::{Host, Said};
use super::{Caller, client_address, hygiene, request_id};
use crate::auth::CredentialForm;
use crate::clock::Clock;
use crate::token::InternalTokenSigner;
use crate::upstream::UpstreamSettings;

/// Makes request ids.
#[derive(Debug)]
pub struct RequestIds(request_id::RequestIds);

impl RequestIds {
    /// One worker's.
    pub fn of_a_worker() -> RequestIds {
        RequestIds(request_id::RequestIds::new())
    }

    /// The id of a request.
    pub fn of(&self, headers: &HeaderMap, form: &CredentialForm) -> HeaderValue {
        self.0.of(Some(headers), form)
    }
}

/// Makes the fields of the request to one upstream.
#[derive(Debug)]
pub struct Outbound {
    settings: UpstreamSettings,
    tokens: InternalTokens,
}

impl Outbound {
    /// To this upstream.
    pub fn new(settings: UpstreamSettings) -> Outbound {
        let signer = Arc::new(InternalTokenSigner::ephemeral());
        Outbound {
            settings,
            tokens: InternalTokens::new(signer, Clock::system()),
        }
    }

    /// The fields for the upstream of an HTTP/1.1 request with these, from the peer of this address;
    /// `None` without a good host.
    pub fn fields(
        &self,
        received: HeaderMap,
        peer: &HeaderValue,
        caller: &Caller,
        id: &HeaderValue,
    ) -> Option<HeaderMap> {
        let said = Said::by(&received);
        let host = Host::of(&Uri::default(), &said, Version::HTTP_11).ok()?;
        let address = peer.to_str().ok()?.parse().ok()?;
        let forwarded = client_address::of(address, &received, &[]);
        let mut headers = HeaderMap::with_capacity(received.len() + OWN_FIELDS);
        copy_fields(
            &mut headers,
            received,
            credential_fate(&self.settings, caller),
        );
        let addresses = forwarded.for_value(peer);
        set_own_fields(&mut headers, &host, addresses, Version::HTTP_11, id);
        identity::tell(&mut headers, &self.settings, caller, &self.tokens);
        Some(headers)
    }
}

/// Strips an upstream's answer.
pub fn clean_response(headers: &mut HeaderMap) {
    hygiene::clean_response(headers);
}
