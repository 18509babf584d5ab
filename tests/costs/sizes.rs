//! Sizes of the futures that every connection and every request has: idle memory.

use std::rc::Rc;

use http::Request;
use portcullis::edge::{Handler, Malformed, TlsPeer, Upload, cost};
use portcullis::gateway::Gateway;

use crate::table::hold;

/// They change by single words with each compiler.
const SLACK: f64 = 5.0;

#[test]
fn a_connection_and_a_request_are_no_larger_than_they_were() {
    let request = future_of(
        |gateway: &'static Gateway,
         peer: Rc<TlsPeer>,
         request: Result<Request<Upload>, Malformed>| { gateway.handle(peer, request) },
    );
    let figures = [
        (
            "connection".into(),
            bytes(cost::connection_future::<Gateway>()),
        ),
        ("request".into(), bytes(request)),
    ];
    hold("bytes of futures", SLACK, &figures);
}

/// The size of the future that a function returns; it is not called.
fn future_of<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
    size_of::<F>()
}

fn bytes(size: usize) -> f64 {
    f64::from(u32::try_from(size).expect("small"))
}
