//! One request, from intake to record: the story of this product on one page.

mod path;
mod path_trie;
mod route;
mod settings;

pub use path::{BadPath, CanonicalPath};
pub use path_trie::METHODS;
pub use route::{Challenges, Resolved, Route, RouteConflict, RouteTable};
pub use settings::{Access, GatewaySettings, PathPattern, PlaintextCredentials, RouteSettings};
