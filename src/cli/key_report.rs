//! `portcullis key report`: which keys may more than they use, are not used, or do not end.
//!
//! Not here: what is found, and the commands that mend it. Exits with 1 where something is found.

use std::time::Duration;

use super::manage::{Desk, all_pages};
use super::moment::parse_age;
use super::output::{self, Format};
use super::{Cli, Failure};
use crate::admin::{FindingKind, FindingView, KeyReportList, KeyReportView};
use crate::auth::ReportQuery;
use crate::id::{AccountId, KeyId};

/// What is reported.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Over how many days uses are looked at, 1 to 90.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=90))]
    days: u32,
    /// Without use for this long, a key is idle: 30d, 12h.
    #[arg(long, default_value = "30d", value_parser = parse_age)]
    idle: Duration,
    /// Only this account's keys.
    #[arg(long, value_parser = AccountId::parse)]
    account: Option<AccountId>,
}

pub(super) async fn run(cli: &Cli, desk: &Desk, arguments: &Arguments) -> Result<(), Failure> {
    let query = ReportQuery {
        days: arguments.days,
        idle: arguments.idle,
        account: arguments.account.clone(),
    };
    let keys = all_pages(async |after: Option<KeyId>| {
        let list = match desk {
            Desk::Gateway(client) => client.key_report(&query, after.as_ref()).await?,
            Desk::Store(desk) => {
                let page = desk.report(&query, after.as_ref(), KeyReportList::PAGE);
                KeyReportList::from(&page.await?)
            }
        };
        Ok((list.keys, list.next))
    });
    let keys = keys.await?;
    match cli.format {
        Format::Json => output::json(&keys)?,
        Format::Table => print(&keys, query.days)?,
    }
    match keys.iter().all(|key| key.findings.is_empty()) {
        true => Ok(()),
        false => Err(Failure::Negative),
    }
}

fn print(keys: &[KeyReportView], days: u32) -> Result<(), Failure> {
    let lines = keys.iter().flat_map(|key| {
        let findings = key.findings.iter();
        findings.map(move |finding| line(key, finding))
    });
    let lines: Vec<_> = lines.collect();
    output::table(
        ["KEY", "ACCOUNT", "NAME", "FINDING", "DETAIL", "MEND"],
        &lines,
    )?;
    let young = keys.iter().filter(|key| key.young).count();
    eprintln!("{} findings in {} keys that work.", lines.len(), keys.len());
    if young > 0 {
        eprintln!(
            "{young} of them are too young, or counted for less than {days} days: their scopes were \
             not looked at."
        );
    }
    Ok(())
}

fn line(key: &KeyReportView, finding: &FindingView) -> [String; 6] {
    [
        key.id.to_string(),
        key.account.to_string(),
        key.name.clone(),
        match finding.finding {
            FindingKind::ExpiresSoon => "expires_soon",
            FindingKind::Idle => "idle",
            FindingKind::NoExpiry => "no_expiry",
            FindingKind::OldSecretSeen => "old_secret_seen",
            FindingKind::UnusedScope => "unused_scope",
        }
        .into(),
        finding.detail.clone(),
        match finding.mend.is_empty() {
            true => "-".into(),
            // A comment to a shell: whoever pastes the whole line revokes nothing yet.
            false => finding.mend.join(" # when it is in use: "),
        },
    ]
}
