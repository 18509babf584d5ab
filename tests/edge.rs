//! The edge alone, on the wire: real sockets and real TLS before a handler that only tells what
//! it was given. What the whole gateway makes of it is in `tests/wire/`.

#[path = "edge/client.rs"]
mod client;
#[path = "edge/house.rs"]
mod house;

#[path = "edge/framing.rs"]
mod framing;
#[path = "edge/lines.rs"]
mod lines;
#[path = "edge/balance.rs"]
mod balance;
#[path = "edge/connections.rs"]
mod connections;
#[path = "edge/http2.rs"]
mod http2;
#[path = "edge/tls.rs"]
mod tls;
