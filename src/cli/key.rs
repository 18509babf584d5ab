//! `portcullis key …`: API keys, on a running gateway or directly on its store.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use ipnet::IpNet;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::manage::{Desk, all_pages, random_request};
use super::moment::{parse_moment, parse_overlap};
use super::output::{self, Format, say};
use super::proof::{self, WaitArgument};
use super::secret_argument::id;
use super::{Cli, Failure, key_report, runtime};
use crate::admin::{
    AdminClient, CreatedKey, KeyDetails, KeyView, NewKeyBody, RotateKeyBody, RotatedKeyView,
};
use crate::auth::{
    Import, ImportReport, KeyDesk, NewKeyRequest, RotateKeyRequest, parse_allowed_ip,
};
use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::id::{AccountId, KeyId, RequestId};
use crate::scope::Scope;
use crate::store::RevokeKey;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key. It is shown once.
    Create(CreateArguments),
    /// List keys.
    List {
        /// Only this account's.
        #[arg(long, value_parser = AccountId::parse)]
        account: Option<AccountId>,
    },
    /// Show one key, and what it was used for in the last 30 days.
    Show {
        /// Its id.
        #[arg(value_parser = id(KeyId::parse))]
        id: KeyId,
    },
    /// Give one key another secret under the same id; the old one goes on for a while.
    Rotate {
        /// Its id.
        #[arg(value_parser = id(KeyId::parse))]
        id: KeyId,
        /// How long the old secret goes on working: 24h, 30m, or 0s to end it, and the key's
        /// sessions, at once.
        #[arg(long, default_value = "24h", value_parser = parse_overlap)]
        overlap: Duration,
        /// Names the wish: given again, it shows the same secret and changes nothing.
        #[arg(long, value_parser = RequestId::parse)]
        request_id: Option<RequestId>,
        #[command(flatten)]
        wait: WaitArgument,
    },
    /// Revoke one key, at once and for good.
    Revoke {
        /// Its id.
        #[arg(value_parser = id(KeyId::parse))]
        id: KeyId,
        #[command(flatten)]
        wait: WaitArgument,
    },
    /// Tell which keys may more than they use, are not used, do not end, or still have an old secret
    /// in use, with the commands that mend it. Exits with 1 where something is found.
    Report(key_report::Arguments),
    /// Take over the keys of a live API: one JSON object a line with the members key, account,
    /// name and scopes, and perhaps id, env, not_before, expires_at and allowed_ips.
    Import {
        /// The file; `-` is standard input.
        file: PathBuf,
    },
}

/// A wish for a key.
#[derive(Debug, clap::Args)]
pub(super) struct CreateArguments {
    /// The account that it acts for.
    #[arg(long, value_parser = AccountId::parse)]
    account: AccountId,
    /// A label for people.
    #[arg(long)]
    name: String,
    /// What it may do; may be repeated.
    #[arg(long = "scope", required = true, value_name = "SCOPE", value_parser = Scope::parse)]
    scopes: Vec<Scope>,
    /// When it ends: from now (90d, 12h) or an RFC 3339 time. Never, if left out.
    #[arg(long, value_parser = parse_moment)]
    expires: Option<Timestamp>,
    /// When it begins, in the same forms.
    #[arg(long, value_parser = parse_moment)]
    not_before: Option<Timestamp>,
    /// Live or test.
    #[arg(long = "env", value_enum, default_value_t = Env::Live)]
    environment: Env,
    /// An address or network that it may be used from; may be repeated. Any, if left out.
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = parse_allowed_ip)]
    allow_ip: Vec<IpNet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Env {
    Live,
    Test,
}

/// Keys asked for at once.
const PAGE: usize = 500;

pub(super) fn run(cli: &Cli, command: &Command) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let desk = Desk::open(cli).await?;
        match command {
            Command::Create(arguments) => create(cli, &desk, arguments).await,
            Command::List { account } => list(cli, &desk, account.as_ref()).await,
            Command::Show { id } => show(cli, &desk, id).await,
            Command::Rotate {
                id,
                overlap,
                request_id,
                wait,
            } => {
                let request = RotateKeyRequest {
                    overlap: *overlap,
                    request: request_id.clone().unwrap_or_else(random_request),
                };
                rotate(cli, &desk, id, request, *wait).await
            }
            Command::Revoke { id, wait } => revoke(cli, &desk, id, *wait).await,
            Command::Report(arguments) => key_report::run(cli, &desk, arguments).await,
            Command::Import { file } => import(cli, &desk, file).await,
        }
    })
}

async fn create(cli: &Cli, desk: &Desk, arguments: &CreateArguments) -> Result<(), Failure> {
    let request = arguments.request();
    let created = match desk {
        Desk::Gateway(client) => client.create_key(&NewKeyBody::from(&request)).await?,
        Desk::Store(desk) => {
            let (record, key) = desk.create(request, Desk::actor()).await?;
            CreatedKey::new(&record, key)
        }
    };
    if cli.format == Format::Json {
        return output::json(&created);
    }
    let expires = created.expires_at.as_deref().unwrap_or("never");
    say(format_args!("id:      {}", created.id))?;
    say(format_args!("key:     {}", created.key.expose()))?;
    say(format_args!("scopes:  {}", created.scopes))?;
    say(format_args!("expires: {expires}"))?;
    eprintln!("The key is shown this once; only its digest is kept.");
    Ok(())
}

impl CreateArguments {
    fn request(&self) -> NewKeyRequest {
        NewKeyRequest {
            account: self.account.clone(),
            name: self.name.clone(),
            environment: match self.environment {
                Env::Live => Environment::Live,
                Env::Test => Environment::Test,
            },
            scopes: self.scopes.iter().cloned().collect(),
            not_before: self.not_before,
            expires_at: self.expires,
            allowed_ips: self.allow_ip.clone(),
        }
    }
}

async fn list(cli: &Cli, desk: &Desk, account: Option<&AccountId>) -> Result<(), Failure> {
    let keys = all_pages(async |after: Option<KeyId>| page(desk, after.as_ref(), account).await);
    let keys = keys.await?;
    if cli.format == Format::Json {
        return output::json(&keys);
    }
    let rows: Vec<_> = keys.iter().map(row).collect();
    output::table(
        [
            "ID", "ACCOUNT", "NAME", "ENV", "SCOPES", "EXPIRES", "STATE", "HINT",
        ],
        &rows,
    )
}

async fn page(
    desk: &Desk,
    after: Option<&KeyId>,
    account: Option<&AccountId>,
) -> Result<(Vec<KeyView>, Option<KeyId>), Failure> {
    Ok(match desk {
        Desk::Gateway(client) => {
            let list = client.keys(after, PAGE, account).await?;
            (list.keys, list.next)
        }
        Desk::Store(desk) => {
            let page = desk.list(after, PAGE, account).await?;
            (page.keys.iter().map(KeyView::from).collect(), page.next)
        }
    })
}

fn row(key: &KeyView) -> [String; 8] {
    let state = if key.revoked_at.is_some() {
        "revoked"
    } else {
        "active"
    };
    [
        key.id.to_string(),
        key.account.to_string(),
        key.name.clone(),
        match key.env {
            Environment::Live => "live".into(),
            Environment::Test => "test".into(),
        },
        key.scopes.to_string(),
        key.expires_at.clone().unwrap_or_else(|| "never".into()),
        state.into(),
        key.hint.clone(),
    ]
}

async fn show(cli: &Cli, desk: &Desk, id: &KeyId) -> Result<(), Failure> {
    let key = match desk {
        Desk::Gateway(client) => client.key(id).await?,
        Desk::Store(desk) => {
            let record = desk.show(id).await?;
            let usage = desk.usage(&record).await?;
            KeyDetails::new(&record, desk.rotation(id).await?, &usage)
        }
    };
    show_key(cli, &key)
}

async fn rotate(
    cli: &Cli,
    desk: &Desk,
    id: &KeyId,
    request: RotateKeyRequest,
    wait: WaitArgument,
) -> Result<(), Failure> {
    let body = RotateKeyBody::from(&request);
    let on_gateway = async |client: &AdminClient| client.rotate_key(id, &body).await;
    let on_store = async |desk: &KeyDesk| {
        let rotated = desk.rotate(id, request, Desk::actor()).await?;
        Ok(RotatedKeyView::from(rotated))
    };
    let rotated = desk.prove(wait, on_gateway, on_store).await?;
    proof::show(cli, &rotated, show_rotated)
}

fn show_rotated(rotated: &RotatedKeyView) -> Result<(), Failure> {
    let id = &rotated.id;
    say(format_args!("id:               {id}"))?;
    say(format_args!("key:              {}", rotated.key.expose()))?;
    say(format_args!(
        "old secret ends:  {}",
        rotated.previous_ends_at
    ))?;
    say(format_args!("sessions ended:   {}", rotated.sessions_ended))?;
    eprintln!("`portcullis key show {id}` tells when the old secret was last seen.");
    Ok(())
}

fn show_key(cli: &Cli, key: &KeyDetails) -> Result<(), Failure> {
    if cli.format == Format::Json {
        return output::json(key);
    }
    output::fields(key)
}

async fn revoke(cli: &Cli, desk: &Desk, id: &KeyId, wait: WaitArgument) -> Result<(), Failure> {
    let on_gateway = async |client: &AdminClient| Ok(client.revoke_key(id).await?.key);
    let on_store = async |desk: &KeyDesk| match desk.revoke(id, Desk::actor()).await? {
        RevokeKey::Revoked(record) | RevokeKey::AlreadyRevoked(record) => {
            Ok(KeyView::from(&record))
        }
        RevokeKey::Unknown => Err(anyhow::anyhow!("there is no key {id}").into()),
    };
    let key = desk.prove(wait, on_gateway, on_store).await?;
    proof::show(cli, &key, |key| {
        let since = key.revoked_at.as_deref().unwrap_or("now");
        say(format_args!("{} is revoked since {since}", key.id))
    })
}

async fn import(cli: &Cli, desk: &Desk, file: &PathBuf) -> Result<(), Failure> {
    let mut lines: Box<dyn tokio::io::AsyncRead + Send + Unpin> = match file.as_os_str() == "-" {
        true => Box::new(tokio::io::stdin()),
        false => Box::new(
            tokio::fs::File::open(file)
                .await
                .with_context(|| file.display().to_string())?,
        ),
    };
    let report = match desk {
        Desk::Gateway(client) => client.import_keys(lines).await?,
        Desk::Store(desk) => feed(desk, &mut lines).await?,
    };
    match cli.format {
        Format::Json => output::json(&report)?,
        Format::Table => print_report(&report)?,
    }
    if report.refused > 0 {
        Err(Failure::Negative)
    } else {
        Ok(())
    }
}

async fn feed(
    desk: &KeyDesk,
    lines: &mut (impl tokio::io::AsyncRead + Unpin),
) -> Result<ImportReport, Failure> {
    let mut import = desk.import(Desk::actor());
    match feed_all(&mut import, lines).await {
        Ok(()) => Ok(import.finish().await?),
        Err(failure) => {
            import.abandon().await;
            Err(failure)
        }
    }
}

async fn feed_all(
    import: &mut Import<'_>,
    lines: &mut (impl tokio::io::AsyncRead + Unpin),
) -> Result<(), Failure> {
    let mut buffer = Zeroizing::new(vec![0; 64 * 1024]);
    loop {
        match lines.read(&mut buffer).await? {
            0 => return Ok(()),
            read => import.feed(&buffer[..read]).await?,
        }
    }
}

fn print_report(report: &ImportReport) -> Result<(), Failure> {
    for note in &report.notes {
        eprintln!("line {}: {}", note.line, note.reason);
    }
    say(format_args!(
        "{} created, {} there already, {} refused",
        report.created, report.existing, report.refused
    ))
}
