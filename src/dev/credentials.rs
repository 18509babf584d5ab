//! What a try-out is opened with: two keys, an OAuth client and a user.
//!
//! They are made over the admin API, as an operator makes them, and kept in the clear in the folder
//! (this is for trying things out: they open nothing but the demo). Invariant: what is given works;
//! what somebody revoked, rotated or changed since the last start is made or set anew.

use std::fs;
use std::path::Path;

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::DevError;
use super::state::{State, write_private};
use super::upstreams::SERVICES;
use crate::admin::{AdminClient, ClientError, NewKeyBody, NewUserBody, PasswordBody, UserView};
use crate::app::Running;
use crate::id::{AccountId, ClientId, KeyId, LoginName};
use crate::oauth::NewClientRequest;
use crate::scope::{Scope, ScopeSet};
use crate::secret::{Secret, random_bytes};
use crate::store::{ClientKind, Consent, GrantType};

/// The app's page, which `dev` serves itself: the seed's.
pub(super) const CALLBACK: &str = "https://yourapp.com/callback";
/// For a developer's own app on this machine: any port (RFC 8252 §7.3).
const LOOPBACK: &str = "http://127.0.0.1/callback";
const ACCOUNT: &str = "acct_dev";
const USER: &str = "alice";

/// All of them.
#[derive(Clone, Serialize)]
pub(super) struct Credentials {
    pub(super) keys: DevKeys,
    pub(super) client: DevClient,
    pub(super) user: DevUser,
}

/// The two keys of a try-out.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DevKeys {
    /// Every scope.
    pub(super) full: DevKey,
    /// Only the `:read` scopes.
    pub(super) read_only: DevKey,
}

/// One key, in the clear.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DevKey {
    pub(super) id: KeyId,
    pub(super) key: String,
}

/// The app: a confidential client, with its secret in the clear.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DevClient {
    pub(super) client_id: ClientId,
    pub(super) client_secret: String,
    pub(super) redirect_uri: String,
}

/// Whoever logs in, with the password in the clear.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DevUser {
    pub(super) name: LoginName,
    pub(super) password: String,
}

/// The file of the user: also when the password was set, to tell whether it still is this one.
#[derive(Serialize, Deserialize)]
struct KeptUser {
    #[serde(flatten)]
    user: DevUser,
    password_set_at: String,
}

impl Credentials {
    /// Those of an earlier start as far as they still work, else new ones.
    pub(super) fn make(state: &State, running: &Running) -> Result<Credentials, DevError> {
        let address = running
            .admin()
            .ok_or_else(|| DevError::Credentials("no admin API".into()))?;
        let admin = AdminClient::new(address.clone(), Some(state.admin_token()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DevError::Credentials(error.to_string()))?;
        let folder = state.folder();
        runtime.block_on(async {
            Ok(Credentials {
                keys: keys(&admin, &folder.join("dev-keys.json")).await?,
                client: client(&admin, &state.client_file()).await?,
                user: user(&admin, &folder.join("dev-user.json")).await?,
            })
        })
    }
}

async fn keys(admin: &AdminClient, file: &Path) -> Result<DevKeys, DevError> {
    if let Some(keys) = read::<DevKeys>(file)
        && is_live(admin, &keys.full.id).await?
        && is_live(admin, &keys.read_only.id).await?
    {
        return Ok(keys);
    }
    let keys = DevKeys {
        full: make_key(admin, "every scope", scopes(&["read", "write"])).await?,
        read_only: make_key(admin, "read only", scopes(&["read"])).await?,
    };
    keep(file, &keys)?;
    Ok(keys)
}

async fn is_live(admin: &AdminClient, id: &KeyId) -> Result<bool, DevError> {
    let found = there(admin.key(id).await)?;
    Ok(found.is_some_and(|found| found.key.revoked_at.is_none()))
}

async fn make_key(admin: &AdminClient, name: &str, scopes: ScopeSet) -> Result<DevKey, DevError> {
    let body = NewKeyBody {
        account: ACCOUNT.into(),
        name: name.into(),
        scopes: scopes.names().map(String::from).collect(),
        env: None,
        not_before: None,
        expires_at: None,
        allowed_ips: Vec::new(),
    };
    let created = admin.create_key(&body).await?;
    Ok(DevKey {
        id: created.id,
        key: created.key.expose().to_owned(),
    })
}

async fn client(admin: &AdminClient, file: &Path) -> Result<DevClient, DevError> {
    if let Some(client) = read::<DevClient>(file)
        && let Some(found) = there(admin.client(&client.client_id).await)?
        && found.disabled_at.is_none()
        // Its first secret is also its newest: nobody has rotated it.
        && found.secrets.first().is_some_and(|newest| newest.created_at == found.created_at)
    {
        return Ok(client);
    }
    let wish = NewClientRequest {
        name: "Your App".into(),
        kind: ClientKind::Confidential,
        grants: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        redirects: vec![CALLBACK.into(), LOOPBACK.into()],
        scopes: scopes(&["read", "write"]),
        authentication: None,
        // The seed's authorization request has no challenge.
        pkce: None,
        // So that whoever tries it again sees the page again.
        consent: Some(Consent::Always),
        account: None,
    };
    let created = admin.create_client(&wish).await?;
    let secret = created.client_secret.as_ref().map(Secret::expose);
    let client = DevClient {
        client_id: created.client.client_id,
        client_secret: secret.unwrap_or_default().to_owned(),
        redirect_uri: CALLBACK.into(),
    };
    keep(file, &client)?;
    Ok(client)
}

async fn user(admin: &AdminClient, file: &Path) -> Result<DevUser, DevError> {
    let name = LoginName::parse(USER).expect("a name");
    let kept = read::<KeptUser>(file);
    let found = there(admin.user(&name).await)?;
    let is_same = |kept: &KeptUser, found: &UserView| {
        kept.password_set_at == found.password_set_at && found.disabled_at.is_none()
    };
    let (password, set_at) = match (kept, found) {
        (Some(kept), Some(found)) if is_same(&kept, &found) => return Ok(kept.user),
        (kept, found) => {
            let password = kept.map_or_else(random_password, |kept| kept.user.password);
            let set = set_password(admin, &name, found, &password).await?;
            (password, set.password_set_at)
        }
    };
    let user = DevUser { name, password };
    let kept = KeptUser {
        user: user.clone(),
        password_set_at: set_at,
    };
    keep(file, &kept)?;
    Ok(user)
}

/// Makes the user, or gives the one that is there this password and lets it log in.
async fn set_password(
    admin: &AdminClient,
    name: &LoginName,
    found: Option<UserView>,
    password: &str,
) -> Result<UserView, DevError> {
    let secret = Secret::new(password);
    let Some(found) = found else {
        let body = NewUserBody {
            name: name.clone(),
            account: AccountId::parse(ACCOUNT).expect("an id"),
            scopes: scopes(&["read", "write"]),
            password: secret,
        };
        return Ok(admin.create_user(&body).await?);
    };
    if found.disabled_at.is_some() {
        admin.enable_user(name).await?;
    }
    let body = PasswordBody { password: secret };
    Ok(admin.set_password(name, &body).await?)
}

/// 96 bits, in digits that need no quoting in a shell or a form.
fn random_password() -> String {
    let bytes = random_bytes::<12>();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn scopes(accesses: &[&str]) -> ScopeSet {
    let names = SERVICES.iter().flat_map(|service| {
        let scope = move |access: &&str| Scope::parse(&format!("{service}:{access}"));
        accesses.iter().map(scope)
    });
    names.map(|scope| scope.expect("the seed's")).collect()
}

/// What was found; nothing is no error.
fn there<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(ClientError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file of an earlier start. One that cannot be read is as good as none.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn keep(path: &Path, kept: &impl Serialize) -> Result<(), DevError> {
    let text = serde_json::to_string(kept).expect("these types have only text keys");
    write_private(path, &text).map_err(|source| DevError::File {
        path: path.into(),
        source,
    })
}

impl From<ClientError> for DevError {
    fn from(error: ClientError) -> DevError {
        DevError::Credentials(error.to_string())
    }
}
