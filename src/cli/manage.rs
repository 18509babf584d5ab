//! Reaching a running gateway, or its store where none runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use http::StatusCode;

use crate::admin::{AdminAddress, AdminClient, AdminSettings, ClientError};
use crate::auth::{KeyDesk, KeyDeskParts};
use crate::clock::Clock;
use crate::config::Config;
use crate::id::RequestId;
use crate::oauth::Registry;
use crate::observe::{Actor, AuditLog, Metrics};
use crate::secret::{MacKeys, Purpose, Secret};
use crate::store;

use super::{Cli, Failure};

/// Where keys are managed.
pub(super) enum Desk {
    /// Through the admin API of a running gateway.
    Gateway(AdminClient),
    /// Directly on the store.
    Store(Box<KeyDesk>),
}

impl Desk {
    /// The running gateway if there is one, else the store. `PORTCULLIS_ADMIN` (`unix:PATH` or an
    /// address) and `PORTCULLIS_ADMIN_TOKEN` name a gateway without any configuration.
    pub(super) async fn open(cli: &Cli) -> Result<Desk, Failure> {
        if let Some(client) = client_of_environment(cli)? {
            return Ok(Desk::Gateway(client));
        }
        let (client, config) = gateway_or_config(cli).await?;
        if let Some(client) = client {
            return Ok(Desk::Gateway(client));
        }
        let config = config?;
        Ok(Desk::Store(Box::new(open_store(&config)?)))
    }

    /// The registry of a store that no gateway has.
    pub(super) fn registry(desk: &KeyDesk) -> Registry {
        Registry::beside(desk)
    }

    /// Who the audit log says it was.
    pub(super) fn actor() -> Actor {
        Actor::Cli {
            uid: rustix::process::getuid().as_raw(),
        }
    }
}

/// All of a list that is told in pages: `page` gives what comes after a place, and the next place.
pub(super) async fn all_pages<T, Place>(
    mut page: impl AsyncFnMut(Option<Place>) -> Result<(Vec<T>, Option<Place>), Failure>,
) -> Result<Vec<T>, Failure> {
    let (mut all, next) = page(None).await?;
    let mut after = next;
    while after.is_some() {
        let (more, next) = page(after).await?;
        all.extend(more);
        after = next;
    }
    Ok(all)
}

/// Names a rotation that nobody named.
pub(super) fn random_request() -> RequestId {
    let bytes = crate::secret::random_bytes::<16>();
    let text = format!("rotate-{:032x}", u128::from_be_bytes(bytes));
    RequestId::parse(&text).expect("hex digits are visible ASCII")
}

/// Names a running gateway without any configuration.
const ADMIN: &str = "PORTCULLIS_ADMIN";

/// The admin API named by the environment. A command line that names another gateway as well is
/// refused: a variable that somebody forgot must not decide whose keys are revoked.
pub(super) fn client_of_environment(cli: &Cli) -> Result<Option<AdminClient>, Failure> {
    let Ok(address) = std::env::var(ADMIN) else {
        return Ok(None);
    };
    if let Some(config) = &cli.config {
        let config = config.display();
        return Err(Failure::Usage(format!(
            "which gateway is meant? --config says {config}, and {ADMIN} in the environment says \
             {address}: leave out the one, or unset the other"
        )));
    }
    let address = match address.strip_prefix("unix:") {
        Some(path) => AdminAddress::Unix(PathBuf::from(path)),
        None => AdminAddress::Tcp(address.parse::<SocketAddr>().with_context(|| {
            format!("PORTCULLIS_ADMIN is neither unix:PATH nor an address: {address}")
        })?),
    };
    let token = std::env::var("PORTCULLIS_ADMIN_TOKEN")
        .ok()
        .map(Secret::new);
    Ok(Some(AdminClient::new(address, token.as_ref())?))
}

/// The gateway that the configuration names, if one answers there, and the configuration. A file
/// that is not valid any more does not keep the running gateway from being reached.
pub(super) async fn gateway_or_config(
    cli: &Cli,
) -> Result<(Option<AdminClient>, Result<Config, Failure>), Failure> {
    let config = cli.load_config();
    let settings = match &config {
        Ok(config) => Some(config.admin.clone()),
        Err(_) => Config::operator(cli.config_path()),
    };
    let client = match settings {
        Some(settings) => running_gateway(&settings).await?,
        None => None,
    };
    if client.is_some() && config.is_err() {
        let file = cli.config_path().display();
        eprintln!(
            "warning: {file} is not valid; the running gateway goes on with what it read before"
        );
    }
    Ok((client, config))
}

async fn running_gateway(settings: &AdminSettings) -> Result<Option<AdminClient>, Failure> {
    let Some(address) = &settings.admin else {
        return Ok(None);
    };
    let client = AdminClient::new(address.clone(), settings.token.as_ref())?;
    match client.probe().await {
        Ok(()) => Ok(Some(client)),
        Err(ClientError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// For who makes a client or a user that nobody can use yet. A gateway that only the environment
/// names is not asked.
pub(super) fn warn_without_server(cli: &Cli) {
    if std::env::var_os(ADMIN).is_none()
        && cli.load_config().is_ok_and(|config| config.oauth.is_none())
    {
        let file = cli.config_path().display();
        eprintln!(
            "warning: there is no `oauth` in {file}: no endpoint gives tokens until there is"
        );
    }
}

/// What to do about an error of the admin API's.
pub(super) fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let of_environment = std::env::var_os(ADMIN).is_some();
    match error.downcast_ref::<ClientError>()? {
        ClientError::NotRunning { .. } if of_environment => {
            Some("PORTCULLIS_ADMIN names this gateway: unset it to go by the configuration file")
        }
        ClientError::Refused { status, .. } if *status == StatusCode::UNAUTHORIZED => {
            Some(match of_environment {
                true => {
                    "PORTCULLIS_ADMIN_TOKEN is to hold the token that PORTCULLIS_ADMIN asks for"
                }
                false => {
                    "the running gateway has another `admin_token` than the configuration file"
                }
            })
        }
        ClientError::Refused { status, .. } if *status == StatusCode::SERVICE_UNAVAILABLE => {
            Some("the running gateway's process log says why")
        }
        _ => None,
    }
}

/// The store itself, which no gateway on this machine may have if it is an embedded one.
pub(super) fn open_store(config: &Config) -> Result<KeyDesk, Failure> {
    let (clock, metrics) = (Clock::system(), Metrics::new());
    let store = store::open(&config.store, &clock, &metrics)?;
    let audit = AuditLog::open(
        &config.admin.audit,
        MacKeys::new(&config.credentials.peppers, Purpose::AuditSeals),
        clock.clone(),
        metrics.audit_dropped.clone(),
    )?;
    let desk = KeyDesk::new(KeyDeskParts {
        store: Arc::clone(&store),
        credentials: &config.credentials,
        scopes: config
            .scopes
            .iter()
            .map(|(scope, _)| scope.clone())
            .collect(),
        clock,
        audit,
    });
    desk.tokens().set_issuers(&config.issuers);
    let oauth = config.oauth.as_ref();
    desk.signing_keys()
        .set_algorithm(oauth.map(|oauth| oauth.algorithm));
    Ok(desk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_pages_are_read_in_order_and_each_once() {
        let mut asked = Vec::new();
        let all = all_pages(async |after: Option<u8>| {
            asked.push(after);
            Ok(match after {
                None => (vec!["a", "b"], Some(2)),
                Some(2) => (vec!["c"], Some(3)),
                Some(_) => (Vec::new(), None),
            })
        });
        assert_eq!(all.await.expect("pages"), ["a", "b", "c"]);
        assert_eq!(asked, [None, Some(2), Some(3)]);
    }
}
