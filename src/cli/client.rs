//! `portcullis client …`: OAuth clients, on a running gateway or directly on its store.

use std::time::Duration;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;

use super::manage::{Desk, all_pages, random_request, warn_without_server};
use super::moment::parse_overlap;
use super::output::{self, Format, say};
use super::proof::{self, WaitArgument};
use super::secret_argument::id;
use super::{Cli, Failure, runtime};
use crate::admin::{AdminClient, ClientView, CreatedClient, RotateClientBody, RotatedClientView};
use crate::auth::KeyDesk;
use crate::id::{AccountId, ClientId, RequestId};
use crate::oauth::{NewClientRequest, RotateClientRequest, redirect_fault};
use crate::scope::Scope;
use crate::store::{ClientAuthentication, ClientKind, Consent, Cursor, GrantType, PkceRule};

/// What to do with OAuth clients.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a client. Its secret is shown once.
    Create(Box<CreateArguments>),
    /// List clients.
    List,
    /// Show one client.
    Show {
        /// Its id.
        #[arg(value_parser = id(ClientId::parse))]
        id: ClientId,
    },
    /// Give one client another secret; the old one goes on for a while.
    RotateSecret {
        /// Its id.
        #[arg(value_parser = id(ClientId::parse))]
        id: ClientId,
        /// How long the old secret goes on working: 24h, 30m, or 0s to end it at once.
        #[arg(long, default_value = "24h", value_parser = parse_overlap)]
        overlap: Duration,
        /// Names the wish: given again, it shows the same secret and changes nothing.
        #[arg(long, value_parser = RequestId::parse)]
        request_id: Option<RequestId>,
    },
    /// Disable one client, at once and for good: nothing that it was issued is accepted any more.
    #[command(visible_alias = "revoke")]
    Disable {
        /// Its id.
        #[arg(value_parser = id(ClientId::parse))]
        id: ClientId,
        #[command(flatten)]
        wait: WaitArgument,
    },
}

/// A wish for a client.
#[derive(Debug, clap::Args)]
pub(super) struct CreateArguments {
    /// What consent pages call it.
    #[arg(long)]
    name: String,
    /// It cannot keep a secret: an app on a user's device, a page in a browser.
    #[arg(long)]
    public: bool,
    /// Where users are sent back to; may be repeated. Compared byte for byte.
    #[arg(long = "redirect", value_name = "URI", value_parser = parse_redirect)]
    redirects: Vec<String>,
    /// What it may ask for; may be repeated.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = Scope::parse)]
    scopes: Vec<Scope>,
    /// Its ways to a token; may be repeated. The first two, if left out.
    #[arg(
        long = "grant",
        value_name = "GRANT",
        value_parser = one_of::<GrantType>(["authorization_code", "refresh_token", "client_credentials"]),
    )]
    grants: Vec<GrantType>,
    /// It gets no tokens and introspects those of all.
    #[arg(long, conflicts_with_all = ["public", "redirects", "grants", "scopes", "account"])]
    resource_server: bool,
    /// How it shows its secret: any_secret, basic or post. Any, if left out.
    #[arg(long, value_parser = named::<ClientAuthentication>, conflicts_with = "public")]
    authentication: Option<ClientAuthentication>,
    /// It must use PKCE, as public clients must in any case.
    #[arg(long)]
    require_pkce: bool,
    /// When its users are asked. Once is: unless they granted the same before.
    #[arg(long, value_parser = one_of::<Consent>(["once", "always", "never"]))]
    consent: Option<Consent>,
    /// The account that it acts for by itself, with client_credentials.
    #[arg(long, value_parser = AccountId::parse)]
    account: Option<AccountId>,
}

pub(super) fn run(cli: &Cli, command: &Command) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let desk = Desk::open(cli).await?;
        match command {
            Command::Create(arguments) => {
                create(cli, &desk, arguments.request()).await?;
                warn_without_server(cli);
                Ok(())
            }
            Command::List => list(cli, &desk).await,
            Command::Show { id } => show(cli, &desk, id).await,
            Command::RotateSecret {
                id,
                overlap,
                request_id,
            } => {
                let request = RotateClientRequest {
                    overlap: *overlap,
                    request: request_id.clone().unwrap_or_else(random_request),
                };
                rotate(cli, &desk, id, request).await
            }
            Command::Disable { id, wait } => disable(cli, &desk, id, *wait).await,
        }
    })
}

impl CreateArguments {
    fn request(&self) -> NewClientRequest {
        let usual = [GrantType::AuthorizationCode, GrantType::RefreshToken];
        NewClientRequest {
            name: self.name.clone(),
            kind: match self.public {
                true => ClientKind::Public,
                false => ClientKind::Confidential,
            },
            grants: match self.grants.is_empty() && !self.resource_server {
                true => usual.to_vec(),
                false => self.grants.clone(),
            },
            redirects: self.redirects.clone(),
            scopes: self.scopes.iter().cloned().collect(),
            authentication: self.authentication,
            pkce: self.require_pkce.then_some(PkceRule::Required),
            consent: self.consent,
            account: self.account.clone(),
        }
    }
}

async fn create(cli: &Cli, desk: &Desk, request: NewClientRequest) -> Result<(), Failure> {
    let created = match desk {
        Desk::Gateway(client) => client.create_client(&request).await?,
        Desk::Store(desk) => {
            let registry = Desk::registry(desk);
            let (record, secret) = registry.create_client(request, Desk::actor()).await?;
            CreatedClient::new(&record, secret)
        }
    };
    if cli.format == Format::Json {
        return output::json(&created);
    }
    say(format_args!("client id:      {}", created.client.client_id))?;
    if let Some(secret) = &created.client_secret {
        say(format_args!("client secret:  {}", secret.expose()))?;
    }
    say(format_args!("scopes:         {}", created.client.scopes))?;
    if created.client_secret.is_some() {
        eprintln!("The secret is shown this once; only its digest is kept.");
    }
    Ok(())
}

async fn list(cli: &Cli, desk: &Desk) -> Result<(), Failure> {
    let clients = all_pages(async |after: Option<String>| page(desk, after.as_deref()).await);
    let clients = clients.await?;
    if cli.format == Format::Json {
        return output::json(&clients);
    }
    let rows: Vec<_> = clients.iter().map(row).collect();
    output::table(["ID", "NAME", "KIND", "GRANTS", "SCOPES", "STATE"], &rows)
}

async fn page(
    desk: &Desk,
    after: Option<&str>,
) -> Result<(Vec<ClientView>, Option<String>), Failure> {
    /// Clients asked for at once.
    const PAGE: usize = 500;
    Ok(match desk {
        Desk::Gateway(client) => {
            let list = client.clients(after).await?;
            (list.clients, list.next)
        }
        Desk::Store(desk) => {
            let after = after.map(Cursor::new);
            let registry = Desk::registry(desk);
            let page = registry.clients(after.as_ref(), PAGE).await?;
            let views = page.items.iter().map(ClientView::from).collect();
            (views, page.next.map(|next| next.as_str().to_owned()))
        }
    })
}

fn row(client: &ClientView) -> [String; 6] {
    let grants: Vec<String> = client.grants.iter().map(name).collect();
    let state = match client.disabled_at {
        Some(_) => "disabled",
        None => "active",
    };
    [
        client.client_id.to_string(),
        client.name.clone(),
        name(&client.kind),
        grants.join(" "),
        client.scopes.to_string(),
        state.into(),
    ]
}

async fn show(cli: &Cli, desk: &Desk, id: &ClientId) -> Result<(), Failure> {
    let client = match desk {
        Desk::Gateway(client) => client.client(id).await?,
        Desk::Store(desk) => ClientView::from(&Desk::registry(desk).client(id).await?),
    };
    match cli.format {
        Format::Json => output::json(&client),
        Format::Table => output::fields(&client),
    }
}

async fn rotate(
    cli: &Cli,
    desk: &Desk,
    id: &ClientId,
    request: RotateClientRequest,
) -> Result<(), Failure> {
    let rotated = match desk {
        Desk::Gateway(client) => {
            let body = RotateClientBody::from(&request);
            client.rotate_client_secret(id, &body).await?
        }
        Desk::Store(desk) => {
            let registry = Desk::registry(desk);
            let rotated = registry.rotate_client_secret(id, request, Desk::actor());
            RotatedClientView::from(rotated.await?)
        }
    };
    if cli.format == Format::Json {
        return output::json(&rotated);
    }
    let (secret, ends) = (rotated.client_secret.expose(), &rotated.previous_ends_at);
    say(format_args!("client id:        {}", rotated.client_id))?;
    say(format_args!("client secret:    {secret}"))?;
    say(format_args!("old secret ends:  {ends}"))
}

async fn disable(cli: &Cli, desk: &Desk, id: &ClientId, wait: WaitArgument) -> Result<(), Failure> {
    let on_gateway = async |client: &AdminClient| client.disable_client(id).await;
    let on_store = async |desk: &KeyDesk| {
        let registry = Desk::registry(desk);
        Ok(ClientView::from(
            &registry.disable_client(id, Desk::actor()).await?,
        ))
    };
    let client = desk.prove(wait, on_gateway, on_store).await?;
    proof::show(cli, &client, |client| {
        let since = client.disabled_at.as_deref().unwrap_or("now");
        say(format_args!("{id} is disabled since {since}"))
    })
}

/// One of these words, as the API writes them.
fn one_of<T>(words: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| named(&word))
}

/// A word as the API writes it.
fn named<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn name(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn parse_redirect(uri: &str) -> Result<String, &'static str> {
    match redirect_fault(uri) {
        Some(fault) => Err(fault),
        None => Ok(uri.to_owned()),
    }
}
