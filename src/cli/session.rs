//! `portcullis session …`: temporary access, on a running gateway or directly on its store.

use clap::Subcommand;

use super::manage::{Desk, all_pages};
use super::output::{self, Format, say};
use super::proof::{self, WaitArgument};
use super::secret_argument::id;
use super::{Cli, Failure, runtime};
use crate::admin::{AdminClient, EndedSessions, SessionSelection, SessionView};
use crate::auth::KeyDesk;
use crate::id::{AccountId, KeyId, SessionId};
use crate::store::{Cursor, SessionOwner};

/// What to do with sessions. Clients make them: `POST /auth/sessions`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List live sessions, those that end first in front.
    List {
        /// Only this account's.
        #[arg(long, value_parser = AccountId::parse, conflicts_with = "key")]
        account: Option<AccountId>,
        /// Only those that this key gave.
        #[arg(long, value_parser = id(KeyId::parse))]
        key: Option<KeyId>,
    },
    /// End one session, at once and for good.
    #[command(visible_alias = "revoke")]
    End {
        /// Its id.
        #[arg(value_parser = id(SessionId::parse))]
        id: SessionId,
        #[command(flatten)]
        wait: WaitArgument,
    },
    /// End all sessions of an account, of a key, or of everyone.
    EndAll {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        wait: WaitArgument,
    },
}

/// One of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Whose {
    /// This account's.
    #[arg(long, value_parser = AccountId::parse)]
    account: Option<AccountId>,
    /// Those that this key gave.
    #[arg(long, value_parser = id(KeyId::parse))]
    key: Option<KeyId>,
    /// All there are.
    #[arg(long)]
    everyone: bool,
}

/// Sessions asked for at once.
const PAGE: usize = 500;

pub(super) fn run(cli: &Cli, command: &Command) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let desk = Desk::open(cli).await?;
        match command {
            Command::List { account, key } => list(cli, &desk, selection(account, key)).await,
            Command::End { id, wait } => end(cli, &desk, id, *wait).await,
            Command::EndAll { whose, wait } => {
                debug_assert!(
                    whose.everyone || whose.account.is_some() || whose.key.is_some(),
                    "clap demands one of them"
                );
                let selection = selection(&whose.account, &whose.key);
                end_all(cli, &desk, selection, *wait).await
            }
        }
    })
}

fn selection(account: &Option<AccountId>, key: &Option<KeyId>) -> SessionSelection {
    match (account, key) {
        (Some(account), _) => SessionSelection::Account(account.clone()),
        (None, Some(key)) => SessionSelection::Key(key.clone()),
        (None, None) => SessionSelection::Everyone,
    }
}

async fn list(cli: &Cli, desk: &Desk, selection: SessionSelection) -> Result<(), Failure> {
    let sessions =
        all_pages(async |after: Option<String>| page(desk, &selection, after.as_deref()).await);
    let sessions = sessions.await?;
    if cli.format == Format::Json {
        return output::json(&sessions);
    }
    let rows: Vec<_> = sessions.iter().map(row).collect();
    output::table(
        [
            "ID", "PARENT", "ACCOUNT", "SCOPES", "EXPIRES", "LABEL", "HINT",
        ],
        &rows,
    )
}

async fn page(
    desk: &Desk,
    selection: &SessionSelection,
    after: Option<&str>,
) -> Result<(Vec<SessionView>, Option<String>), Failure> {
    Ok(match desk {
        Desk::Gateway(client) => {
            let list = client.sessions(selection, after).await?;
            (list.sessions, list.next)
        }
        Desk::Store(desk) => {
            let (owner, after) = (
                SessionOwner::from(selection.clone()),
                after.map(Cursor::new),
            );
            let page = desk.sessions().list(&owner, after.as_ref(), PAGE).await?;
            let views = page.items.iter().map(SessionView::from).collect();
            (views, page.next.map(|next| next.as_str().to_owned()))
        }
    })
}

fn row(session: &SessionView) -> [String; 7] {
    let account = session.account.as_ref().map(ToString::to_string);
    [
        session.id.to_string(),
        session.parent.clone(),
        account.unwrap_or_default(),
        session.scopes.to_string(),
        session.expires_at.clone(),
        session.label.clone(),
        session.hint.clone(),
    ]
}

async fn end(cli: &Cli, desk: &Desk, id: &SessionId, wait: WaitArgument) -> Result<(), Failure> {
    let on_gateway = async |client: &AdminClient| client.end_session(id).await;
    let on_store = async |desk: &KeyDesk| {
        let ended = desk.sessions().end(id, Desk::actor()).await?;
        desk.sessions().settle().await;
        Ok(SessionView::from(&ended))
    };
    let session = desk.prove(wait, on_gateway, on_store).await?;
    proof::show(cli, &session, |session| {
        let since = session.ended_at.as_deref().unwrap_or("now");
        say(format_args!("{} is ended since {since}", session.id))
    })
}

async fn end_all(
    cli: &Cli,
    desk: &Desk,
    selection: SessionSelection,
    wait: WaitArgument,
) -> Result<(), Failure> {
    let owner = SessionOwner::from(selection.clone());
    let on_gateway = async |client: &AdminClient| client.end_sessions(&selection).await;
    let on_store = async |desk: &KeyDesk| {
        let ended = desk.sessions().end_all(&owner, Desk::actor()).await?;
        desk.sessions().settle().await;
        Ok(EndedSessions { ended })
    };
    let ended = desk.prove(wait, on_gateway, on_store).await?;
    proof::show(cli, &ended, |ended| {
        say(format_args!("sessions ended: {}", ended.ended.len()))
    })
}
