//! `portcullis key …`: API keys, on a running gateway or directly on its store.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use tokio::io::AsyncReadExt as _;

use super::manage::Desk;
use super::output::{self, Format};
use super::{Cli, Failure, runtime};
use crate::admin::{CreatedKey, KeyView, NewKeyBody};
use crate::auth::{ImportReport, KeyDesk, NewKeyRequest, parse_allowed_ip};
use crate::clock::{Clock, Timestamp};
use crate::environment::Environment;
use crate::id::{AccountId, KeyId};
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
        #[arg(long)]
        account: Option<String>,
    },
    /// Show one key.
    Show {
        /// Its id.
        id: String,
    },
    /// Revoke one key, at once and for good.
    Revoke {
        /// Its id.
        id: String,
    },
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
    #[arg(long)]
    account: String,
    /// A label for people.
    #[arg(long)]
    name: String,
    /// What it may do; may be repeated.
    #[arg(long = "scope", required = true, value_name = "SCOPE")]
    scopes: Vec<String>,
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
    #[arg(long = "allow-ip", value_name = "CIDR")]
    allow_ip: Vec<String>,
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
            Command::List { account } => list(cli, &desk, account.as_deref()).await,
            Command::Show { id } => show(cli, &desk, &parse_id(id)?).await,
            Command::Revoke { id } => revoke(cli, &desk, &parse_id(id)?).await,
            Command::Import { file } => import(cli, &desk, file).await,
        }
    })
}

async fn create(cli: &Cli, desk: &Desk, arguments: &CreateArguments) -> Result<(), Failure> {
    let request = arguments.request()?;
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
    println!("id:      {}", created.id);
    println!("key:     {}", created.key.expose());
    println!("scopes:  {}", created.scopes);
    println!(
        "expires: {}",
        created.expires_at.as_deref().unwrap_or("never")
    );
    if std::io::stderr().is_terminal() {
        eprintln!("This is the only time that the key is shown.");
    }
    Ok(())
}

impl CreateArguments {
    fn request(&self) -> Result<NewKeyRequest, Failure> {
        let scopes = self
            .scopes
            .iter()
            .map(|scope| Scope::parse(scope).context(scope.clone()));
        let nets = self.allow_ip.iter().map(|net| parse_allowed_ip(net));
        Ok(NewKeyRequest {
            account: AccountId::parse(&self.account)?,
            name: self.name.clone(),
            environment: match self.environment {
                Env::Live => Environment::Live,
                Env::Test => Environment::Test,
            },
            scopes: scopes.collect::<Result<_, _>>()?,
            not_before: self.not_before,
            expires_at: self.expires,
            allowed_ips: nets.collect::<Result<_, _>>()?,
        })
    }
}

async fn list(cli: &Cli, desk: &Desk, account: Option<&str>) -> Result<(), Failure> {
    let account = account.map(AccountId::parse).transpose()?;
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = page(desk, after.as_ref(), account.as_ref()).await?;
        keys.extend(page);
        if next.is_none() {
            break;
        }
        after = next;
    }
    if cli.format == Format::Json {
        return output::json(&keys);
    }
    let rows: Vec<_> = keys.iter().map(row).collect();
    output::table(
        [
            "ID", "ACCOUNT", "NAME", "ENV", "SCOPES", "EXPIRES", "STATE", "HINT",
        ],
        &rows,
    );
    Ok(())
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
        Desk::Store(desk) => KeyView::from(&desk.show(id).await?),
    };
    show_key(cli, &key)
}

fn show_key(cli: &Cli, key: &KeyView) -> Result<(), Failure> {
    if cli.format == Format::Json {
        return output::json(key);
    }
    let fields = serde_json::to_value(key)?;
    let fields = fields.as_object().into_iter().flatten();
    let rows: Vec<_> = fields
        .map(|(name, value)| {
            [
                name.clone(),
                value.as_str().map_or(value.to_string(), Into::into),
            ]
        })
        .collect();
    output::table(["FIELD", "VALUE"], &rows);
    Ok(())
}

async fn revoke(cli: &Cli, desk: &Desk, id: &KeyId) -> Result<(), Failure> {
    let key = match desk {
        Desk::Gateway(client) => client.revoke_key(id).await?.key,
        Desk::Store(desk) => match desk.revoke(id, Desk::actor()).await? {
            RevokeKey::Revoked(record) | RevokeKey::AlreadyRevoked(record) => {
                KeyView::from(&record)
            }
            RevokeKey::Unknown => return Err(anyhow::anyhow!("there is no key {id}").into()),
        },
    };
    if cli.format == Format::Json {
        return output::json(&key);
    }
    println!(
        "{} is revoked since {}",
        key.id,
        key.revoked_at.as_deref().unwrap_or("now")
    );
    Ok(())
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
        Format::Table => print_report(&report),
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
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match lines.read(&mut buffer).await? {
            0 => return Ok(import.finish().await?),
            read => import.feed(&buffer[..read]).await?,
        }
    }
}

fn print_report(report: &ImportReport) {
    for note in &report.notes {
        eprintln!("line {}: {}", note.line, note.reason);
    }
    println!(
        "{} created, {} there already, {} refused",
        report.created, report.existing, report.refused
    );
}

fn parse_id(text: &str) -> Result<KeyId, Failure> {
    KeyId::parse(text)
        .context("not a key id")
        .map_err(Failure::from)
}

/// `90d`, `12h`, `30m`, `45s` from now, or an RFC 3339 time.
fn parse_moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_millis(instant.as_millisecond()));
    }
    let amount = text
        .get(..text.len().saturating_sub(1))
        .and_then(|n| n.parse::<u64>().ok());
    let unit = match text.chars().last() {
        Some('s') => Some(1),
        Some('m') => Some(60),
        Some('h') => Some(60 * 60),
        Some('d') => Some(24 * 60 * 60),
        _ => None,
    };
    let seconds = amount
        .zip(unit)
        .and_then(|(amount, unit)| amount.checked_mul(unit));
    let seconds = seconds.filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or("write 90d, 12h, 30m, 45s or an RFC 3339 time")?;
    Ok(Clock::system()
        .now()
        .plus(std::time::Duration::from_secs(seconds)))
}
