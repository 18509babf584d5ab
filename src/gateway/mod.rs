//! One request, from intake to record: the story of this product on one page.

mod settings;

pub use settings::{Access, GatewaySettings, PathPattern, PlaintextCredentials, RouteSettings};
