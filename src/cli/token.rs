//! `portcullis token …`: tokens, on a running gateway or directly on its store.
//!
//! Invariant: a token that is shown is never printed.

use std::sync::Arc;

use clap::Subcommand;
use tokio::runtime::Handle;

use super::manage::Desk;
use super::output::say;
use super::proof::{self, WaitArgument};
use super::secret_argument::{hidden, id, read};
use super::{Cli, Failure, runtime};
use crate::admin::{AdminClient, RevokedShownView, RevokedTokensView, ShownTokenBody};
use crate::auth::{
    AccessTokens, KeyDesk, OwnKeys, RevokeTokens, ShownKind, TokenName, TokenSelection,
};
use crate::clock::Clock;
use crate::id::{AccountId, GrantId};
use crate::observe::Metrics;
use crate::secret::Secret;

/// What to do with tokens. Clients get them: `POST /oauth/token`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Refuse tokens from now on, on every gateway.
    ///
    /// With a subject, a client or an account go its grants at the gateway's own server, with their
    /// refresh tokens. Tokens issued later work again: disable the user or the client to keep them
    /// out.
    Revoke {
        #[command(flatten)]
        which: Which,
        /// Whose tokens they are. Needed where an issuer has `revocation: none`, whose tokens
        /// cannot be revoked.
        #[arg(long, conflicts_with_all = ["account", "grant", "token"])]
        issuer: Option<String>,
        #[command(flatten)]
        wait: WaitArgument,
    },
}

/// One of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// What got out: an access token is refused, a refresh token's or code's grant and a session
    /// are ended, an API key is revoked. `-` reads it from standard input, which `ps` does not
    /// show.
    #[arg(value_parser = hidden)]
    token: Option<Secret>,
    /// The one token with this `jti`, for good.
    #[arg(long, value_parser = id(TokenName::parse))]
    jti: Option<TokenName>,
    /// All of a subject up to now: SUB, or ISSUER|SUB as upstreams and logs have it. The SUB of a
    /// user is the id that `user show NAME` tells.
    #[arg(long, value_parser = id(TokenName::parse))]
    subject: Option<TokenName>,
    /// All of a client up to now.
    #[arg(long, value_parser = id(TokenName::parse))]
    client: Option<TokenName>,
    /// All of a grant, for good: grant_…, as `user apps NAME` lists them.
    #[arg(long, value_parser = id(GrantId::parse))]
    grant: Option<GrantId>,
    /// Everything of an account up to now: its keys are revoked for good, its sessions and grants
    /// ended, its tokens refused, whoever issued them. What is made for it in the minute after is
    /// refused too, since clocks differ.
    #[arg(long, value_parser = id(AccountId::parse))]
    account: Option<AccountId>,
    /// All of the issuer that --issuer names, up to now; of the gateway's own server with all grants.
    #[arg(long, requires = "issuer")]
    all: bool,
}

pub(super) fn run(cli: &Cli, command: &Command) -> Result<(), Failure> {
    let Command::Revoke {
        which,
        issuer,
        wait,
    } = command;
    if let Some(token) = &which.token {
        let token = read(token)?;
        return runtime()?.block_on(revoke_shown(cli, token, *wait));
    }
    let wish = RevokeTokens {
        tokens: which.selection().ok_or(NoSelection)?,
        issuer: issuer.clone(),
    };
    runtime()?.block_on(async {
        let desk = Desk::open(cli).await?;
        revoke(cli, &desk, &wish, *wait).await
    })
}

/// clap demands one of them before this can be.
#[derive(Debug, thiserror::Error)]
#[error("one of TOKEN, --jti, --subject, --client, --grant, --account and --all is needed")]
struct NoSelection;

impl Which {
    fn selection(&self) -> Option<TokenSelection> {
        let jti = self.jti.clone().map(TokenSelection::Jti);
        jti.or_else(|| self.subject.clone().map(TokenSelection::Subject))
            .or_else(|| self.client.clone().map(TokenSelection::Client))
            .or_else(|| self.grant.map(TokenSelection::Grant))
            .or_else(|| self.account.clone().map(TokenSelection::Account))
            .or_else(|| self.all.then_some(TokenSelection::All))
    }
}

async fn revoke(
    cli: &Cli,
    desk: &Desk,
    wish: &RevokeTokens,
    wait: WaitArgument,
) -> Result<(), Failure> {
    let on_gateway = async |client: &AdminClient| client.revoke_tokens(wish).await;
    let on_store = async |desk: &KeyDesk| {
        let revoked = desk.tokens().revoke(wish, Desk::actor()).await?;
        Ok(RevokedTokensView::from(revoked))
    };
    let revoked = desk.prove(wait, on_gateway, on_store).await?;
    proof::show(cli, &revoked, |revoked| in_words(wish, revoked))
}

fn in_words(wish: &RevokeTokens, revoked: &RevokedTokensView) -> Result<(), Failure> {
    let ended = revoked.grants_ended.len();
    say(format_args!(
        "refused since {}; grants ended: {ended}",
        revoked.revoked_at
    ))?;
    match &wish.tokens {
        TokenSelection::Account(_) => say(format_args!(
            "keys revoked: {}; sessions ended: {}; what is issued from {} on works again",
            revoked.keys_revoked.len(),
            revoked.sessions_ended.len(),
            revoked.issued_before.as_deref().unwrap_or("now"),
        )),
        TokenSelection::Client(_) | TokenSelection::Subject(_) if ended == 0 => say(
            "no grant of it is known here; its tokens issued up to now are refused all the same",
        ),
        _ => Ok(()),
    }
}

async fn revoke_shown(cli: &Cli, token: Secret, wait: WaitArgument) -> Result<(), Failure> {
    let shown = ShownTokenBody { token };
    let on_gateway = async |client: &AdminClient| client.revoke_shown(&shown).await;
    let on_store = async |desk: &KeyDesk| {
        let token = &shown.token;
        let revoked = match desk.is_access_token(token) {
            true => {
                let verified = verifier(cli, desk).await?.verify(token.expose()).await;
                desk.revoke_access_token(verified, Desk::actor()).await?
            }
            false => desk.revoke_shown(token, Desk::actor()).await?,
        };
        Ok(RevokedShownView::from(revoked))
    };
    let desk = Desk::open(cli).await?;
    let revoked = desk.prove(wait, on_gateway, on_store).await?;
    proof::show(cli, &revoked, shown_in_words)
}

fn shown_in_words(revoked: &RevokedShownView) -> Result<(), Failure> {
    let (id, since) = (&revoked.id, &revoked.revoked_at);
    match revoked.kind {
        ShownKind::AccessToken => say(format_args!("access token {id}: refused since {since}")),
        ShownKind::ApiKey => say(format_args!(
            "API key {id}: revoked since {since}, and its sessions with it"
        )),
        ShownKind::AuthorizationCode => say(format_args!(
            "the code of {id}: the grant is ended since {since}, with all its tokens"
        )),
        ShownKind::RefreshToken => say(format_args!(
            "a refresh token of {id}: the grant is ended since {since}, with all its tokens"
        )),
        ShownKind::Session => say(format_args!("session {id}: ended since {since}")),
    }
}

/// As a gateway of this configuration would verify.
async fn verifier(cli: &Cli, desk: &KeyDesk) -> Result<AccessTokens, Failure> {
    let (config, own) = (cli.load_config()?, OwnKeys::default());
    if let Some(keys) = desk.signing_keys().public_keys().await? {
        own.publish(keys);
    }
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::new()));
    let control = Handle::current();
    let tokens = AccessTokens::with_own_keys(&config.issuers, &own, clock, &metrics, &control, 1)?;
    tokens.prefetch().await;
    Ok(tokens)
}
