//! Live or test: the two worlds that a credential, a route's upstream and a request belong to.

/// Which world a key belongs to; a test key reaches only upstreams marked `environment: test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real customers' data.
    Live,
    /// A sandbox.
    Test,
}
