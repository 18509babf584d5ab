//! The policy of a configuration, without the files and secrets that serving takes.
//!
//! `test` and `diff` run where no certificate and no pepper is: in CI, on a version that somebody
//! proposes. Invariant: what stands in for a secret ends here; a [`Policy`] has no place for one.

use std::path::Path;

use crate::gateway::own_places;
use crate::oauth::Places;
use crate::policy::{Policy, PolicyParts};

use super::report::Reads;
use super::{Config, Problems, folder, text_of};

/// Reads the policy of a configuration file. Files that it names need not be there.
///
/// # Errors
/// Everything that is wrong with the configuration otherwise.
pub fn policy(path: &Path) -> Result<Policy, Problems> {
    let text = text_of(path, "name the configuration file")?;
    let name = path.display().to_string();
    let config = Config::read(&name, &text, folder(path), Reads::Policy)?;
    let oauth = config.oauth.as_ref().map(Places::new);
    let own = own_places(&config.gateway, oauth.as_ref());
    let scopes = config.scopes.into_iter().map(|(scope, _)| scope);
    Ok(Policy::new(PolicyParts {
        own,
        scopes: scopes.collect(),
        gateway: config.gateway,
        upstreams: config.upstreams,
        issuers: config.issuers,
        checksum: config.credentials.checksum,
    }))
}
