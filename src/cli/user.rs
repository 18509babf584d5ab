//! `portcullis user …`: users of the builtin login, on a running gateway or directly on its store.
//!
//! Invariant: a password is read from a file or from standard input, never from an argument, and
//! never typed where it shows.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use zeroize::Zeroizing;

use super::manage::{Desk, all_pages, warn_without_server};
use super::output::{self, Format, say};
use super::proof::{self, WaitArgument};
use super::secret_argument::id;
use super::{Cli, Failure, runtime};
use crate::admin::{AdminClient, AppList, AppView, NewUserBody, PasswordBody, UserView};
use crate::auth::KeyDesk;
use crate::id::{AccountId, ClientId, LoginName};
use crate::oauth::{AppSelection, NewUserRequest};
use crate::scope::Scope;
use crate::secret::Secret;
use crate::store::Cursor;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a user. The password is read from standard input.
    Create(CreateArguments),
    /// Give a user another password, read from standard input. Its apps stay connected.
    SetPassword {
        /// What the user logs in with.
        #[arg(value_parser = LoginName::parse)]
        name: LoginName,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List users.
    List,
    /// Show one user.
    Show {
        /// What the user logs in with.
        #[arg(value_parser = LoginName::parse)]
        name: LoginName,
    },
    /// Keep a user from logging in, and end what the user granted, at once.
    Disable {
        /// What the user logs in with.
        #[arg(value_parser = LoginName::parse)]
        name: LoginName,
        #[command(flatten)]
        wait: WaitArgument,
    },
    /// Let a disabled user log in again. What was ended stays so.
    Enable {
        /// What the user logs in with.
        #[arg(value_parser = LoginName::parse)]
        name: LoginName,
    },
    /// List the apps that act for a user.
    Apps {
        /// What the user logs in with.
        #[arg(value_parser = LoginName::parse)]
        name: LoginName,
    },
    /// End what a user granted to an app, at once; it has to ask again.
    #[command(override_usage = "portcullis user revoke-app [OPTIONS] <NAME> <CLIENT|--all>")]
    RevokeApp {
        /// What the user logs in with.
        #[arg(value_parser = LoginName::parse)]
        name: LoginName,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        wait: WaitArgument,
    },
}

/// A wish for a user.
#[derive(Debug, clap::Args)]
pub(super) struct CreateArguments {
    /// What the user logs in with.
    #[arg(value_parser = LoginName::parse)]
    name: LoginName,
    /// The account that the user's grants act for.
    #[arg(long, value_parser = AccountId::parse)]
    account: AccountId,
    /// What the user may grant to apps; may be repeated.
    #[arg(long = "scope", required = true, value_name = "SCOPE", value_parser = Scope::parse)]
    scopes: Vec<Scope>,
    #[command(flatten)]
    password: PasswordSource,
}

/// Where a password comes from.
#[derive(Debug, clap::Args)]
pub(super) struct PasswordSource {
    /// The file that holds the password; standard input, if left out. One line end at its end does
    /// not count.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// One app or all.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The app's client id.
    #[arg(value_parser = id(ClientId::parse))]
    client: Option<ClientId>,
    /// All there are.
    #[arg(long)]
    all: bool,
}

/// Users asked for at once.
const PAGE: usize = 500;
/// Far more than the longest password.
const LONGEST_INPUT: u64 = 64 * 1024;

pub(super) fn run(cli: &Cli, command: &Command) -> Result<(), Failure> {
    // A password is read before the store is opened: nobody else can open it meanwhile.
    runtime()?.block_on(async {
        let desk = async || Desk::open(cli).await;
        match command {
            Command::Create(arguments) => {
                let request = arguments.request(arguments.password.read()?);
                create(cli, &desk().await?, request).await?;
                warn_without_server(cli);
                Ok(())
            }
            Command::SetPassword { name, password } => {
                let password = password.read()?;
                set_password(cli, &desk().await?, name, password).await
            }
            Command::List => list(cli, &desk().await?).await,
            Command::Show { name } => show(cli, &desk().await?, name).await,
            Command::Disable { name, wait } => disable(cli, &desk().await?, name, *wait).await,
            Command::Enable { name } => enable(cli, &desk().await?, name).await,
            Command::Apps { name } => apps(cli, &desk().await?, name).await,
            Command::RevokeApp { name, which, wait } => {
                revoke_app(cli, &desk().await?, name, &which.selection(), *wait).await
            }
        }
    })
}

impl CreateArguments {
    fn request(&self, password: Secret) -> NewUserRequest {
        NewUserRequest {
            name: self.name.clone(),
            account: self.account.clone(),
            scopes: self.scopes.iter().cloned().collect(),
            password,
        }
    }
}

impl Which {
    fn selection(&self) -> AppSelection {
        debug_assert!(self.all || self.client.is_some(), "clap demands one");
        match &self.client {
            Some(id) => AppSelection::Client(id.clone()),
            None => AppSelection::All,
        }
    }
}

impl PasswordSource {
    fn read(&self) -> Result<Secret, Failure> {
        match &self.password_file {
            Some(path) => {
                let file = std::fs::File::open(path);
                let file = file.with_context(|| path.display().to_string())?;
                read_password(file).with_context(|| path.display().to_string())
            }
            None if std::io::stdin().is_terminal() => Err(anyhow::anyhow!(
                "a password that is typed here would be shown: pipe it in, or name a file with \
                 --password-file"
            )),
            None => read_password(std::io::stdin().lock()),
        }
        .map_err(Failure::from)
    }
}

fn read_password(source: impl std::io::Read) -> anyhow::Result<Secret> {
    let mut text = Zeroizing::new(String::new());
    source.take(LONGEST_INPUT).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok(Secret::new(line))
}

async fn create(cli: &Cli, desk: &Desk, request: NewUserRequest) -> Result<(), Failure> {
    let user = match desk {
        Desk::Gateway(client) => client.create_user(&NewUserBody::from(&request)).await?,
        Desk::Store(desk) => {
            let registry = Desk::registry(desk);
            UserView::from(&registry.create_user(request, Desk::actor()).await?)
        }
    };
    if cli.format == Format::Json {
        return output::json(&user);
    }
    say(format_args!("id:       {}", user.id))?;
    say(format_args!("name:     {}", user.name))?;
    say(format_args!("account:  {}", user.account))?;
    say(format_args!("scopes:   {}", user.scopes))
}

async fn set_password(
    cli: &Cli,
    desk: &Desk,
    name: &LoginName,
    password: Secret,
) -> Result<(), Failure> {
    let user = match desk {
        Desk::Gateway(client) => {
            client
                .set_password(name, &PasswordBody { password })
                .await?
        }
        Desk::Store(desk) => {
            let registry = Desk::registry(desk);
            let changed = registry.set_password(name, password, Desk::actor()).await;
            UserView::from(&changed?)
        }
    };
    if cli.format == Format::Json {
        return output::json(&user);
    }
    say(format_args!("{name} has another password"))
}

async fn list(cli: &Cli, desk: &Desk) -> Result<(), Failure> {
    let users = all_pages(async |after: Option<String>| page(desk, after.as_deref()).await);
    let users = users.await?;
    if cli.format == Format::Json {
        return output::json(&users);
    }
    let rows: Vec<_> = users.iter().map(row).collect();
    output::table(["NAME", "ID", "ACCOUNT", "SCOPES", "STATE"], &rows)
}

async fn page(
    desk: &Desk,
    after: Option<&str>,
) -> Result<(Vec<UserView>, Option<String>), Failure> {
    Ok(match desk {
        Desk::Gateway(client) => {
            let list = client.users(after).await?;
            (list.users, list.next)
        }
        Desk::Store(desk) => {
            let after = after.map(Cursor::new);
            let page = Desk::registry(desk).users(after.as_ref(), PAGE).await?;
            let views = page.items.iter().map(UserView::from).collect();
            (views, page.next.map(|next| next.as_str().to_owned()))
        }
    })
}

fn row(user: &UserView) -> [String; 5] {
    let state = match user.disabled_at {
        Some(_) => "disabled",
        None => "active",
    };
    [
        user.name.to_string(),
        user.id.to_string(),
        user.account.to_string(),
        user.scopes.to_string(),
        state.into(),
    ]
}

async fn show(cli: &Cli, desk: &Desk, name: &LoginName) -> Result<(), Failure> {
    let user = match desk {
        Desk::Gateway(client) => client.user(name).await?,
        Desk::Store(desk) => UserView::from(&Desk::registry(desk).user(name).await?),
    };
    match cli.format {
        Format::Json => output::json(&user),
        Format::Table => output::fields(&user),
    }
}

async fn disable(
    cli: &Cli,
    desk: &Desk,
    name: &LoginName,
    wait: WaitArgument,
) -> Result<(), Failure> {
    let on_gateway = async |client: &AdminClient| client.disable_user(name).await;
    let on_store = async |desk: &KeyDesk| {
        let registry = Desk::registry(desk);
        Ok(UserView::from(
            &registry.disable_user(name, Desk::actor()).await?,
        ))
    };
    let user = desk.prove(wait, on_gateway, on_store).await?;
    proof::show(cli, &user, |user| {
        let since = user.disabled_at.as_deref().unwrap_or("now");
        say(format_args!("{name} is disabled since {since}"))
    })
}

async fn enable(cli: &Cli, desk: &Desk, name: &LoginName) -> Result<(), Failure> {
    let user = match desk {
        Desk::Gateway(client) => client.enable_user(name).await?,
        Desk::Store(desk) => {
            let registry = Desk::registry(desk);
            UserView::from(&registry.enable_user(name, Desk::actor()).await?)
        }
    };
    if cli.format == Format::Json {
        return output::json(&user);
    }
    say(format_args!("{name} may log in"))
}

async fn apps(cli: &Cli, desk: &Desk, name: &LoginName) -> Result<(), Failure> {
    let list = match desk {
        Desk::Gateway(client) => client.apps(name).await?,
        Desk::Store(desk) => AppList::new(&Desk::registry(desk).apps(name).await?),
    };
    if cli.format == Format::Json {
        return output::json(&list.apps);
    }
    let rows: Vec<_> = list.apps.iter().map(app_row).collect();
    output::table(
        ["CLIENT", "NAME", "SCOPES", "SINCE", "EXPIRES", "GRANT"],
        &rows,
    )
}

fn app_row(app: &AppView) -> [String; 6] {
    let grants: Vec<String> = app.grants.iter().map(ToString::to_string).collect();
    [
        app.client_id.to_string(),
        app.name.clone(),
        app.scopes.to_string(),
        app.connected_at.clone(),
        app.expires_at.clone(),
        grants.join(","),
    ]
}

async fn revoke_app(
    cli: &Cli,
    desk: &Desk,
    name: &LoginName,
    selection: &AppSelection,
    wait: WaitArgument,
) -> Result<(), Failure> {
    let on_gateway = async |client: &AdminClient| client.revoke_apps(name, selection).await;
    let on_store = async |desk: &KeyDesk| {
        let registry = Desk::registry(desk);
        let revoked = registry.revoke_apps(name, selection, Desk::actor()).await?;
        Ok(AppList::new(&revoked))
    };
    let list = desk.prove(wait, on_gateway, on_store).await?;
    if cli.format == Format::Json && list.proof.is_none() {
        return output::json(&list.answer.apps);
    }
    proof::show(cli, &list, |list| {
        say(format_args!("apps revoked: {}", list.apps.len()))
    })
}
