//! `portcullis token …`: access tokens, on a running gateway or directly on its store.

use clap::Subcommand;

use super::manage::Desk;
use super::output::{self, Format, say};
use super::{Cli, Failure, runtime};
use crate::admin::RevokedTokensView;
use crate::auth::{RevokeTokens, TokenName, TokenSelection};
use crate::id::GrantId;

/// What to do with access tokens. Clients get them: `POST /oauth/token`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Refuse tokens from now on, on every gateway.
    ///
    /// With a subject or a client of the gateway's own server go its grants, with their refresh
    /// tokens. Tokens issued later work again: disable the user or the client to keep them out.
    Revoke {
        #[command(flatten)]
        which: Which,
        /// Whose tokens they are. Needed where an issuer has `revocation: none`, whose tokens
        /// cannot be revoked.
        #[arg(long, conflicts_with = "grant")]
        issuer: Option<String>,
    },
}

/// One of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The one token with this `jti`, for good.
    #[arg(long, value_parser = TokenName::parse)]
    jti: Option<TokenName>,
    /// All of a subject up to now: SUB, or ISSUER|SUB as upstreams and logs have it.
    #[arg(long, value_parser = TokenName::parse)]
    subject: Option<TokenName>,
    /// All of a client up to now.
    #[arg(long, value_parser = TokenName::parse)]
    client: Option<TokenName>,
    /// All of a grant, for good: grant_…
    #[arg(long, value_parser = GrantId::parse)]
    grant: Option<GrantId>,
}

pub(super) fn run(cli: &Cli, command: &Command) -> Result<(), Failure> {
    let Command::Revoke { which, issuer } = command;
    let wish = RevokeTokens {
        tokens: which.selection().ok_or(NoSelection)?,
        issuer: issuer.clone(),
    };
    runtime()?.block_on(async {
        let desk = Desk::open(cli).await?;
        revoke(cli, &desk, &wish).await
    })
}

/// clap demands one of them before this can be.
#[derive(Debug, thiserror::Error)]
#[error("one of --jti, --subject, --client and --grant is needed")]
struct NoSelection;

impl Which {
    fn selection(&self) -> Option<TokenSelection> {
        let jti = self.jti.clone().map(TokenSelection::Jti);
        jti.or_else(|| self.subject.clone().map(TokenSelection::Subject))
            .or_else(|| self.client.clone().map(TokenSelection::Client))
            .or_else(|| self.grant.map(TokenSelection::Grant))
    }
}

async fn revoke(cli: &Cli, desk: &Desk, wish: &RevokeTokens) -> Result<(), Failure> {
    let revoked = match desk {
        Desk::Gateway(client) => client.revoke_tokens(wish).await?,
        Desk::Store(desk) => {
            let revoked = desk.tokens().revoke(wish, Desk::actor()).await?;
            RevokedTokensView::from(revoked)
        }
    };
    if cli.format == Format::Json {
        return output::json(&revoked);
    }
    let ended = revoked.grants_ended.len();
    say(format_args!(
        "refused since {}; grants ended: {ended}",
        revoked.revoked_at
    ))
}
