//! `/v1/keys`: API keys as operators make, import, rotate and revoke them.
//!
//! Not here: what a key is allowed to be ([`crate::auth::KeyDesk`]); its JSON ([`super::wire`]).
//! Invariant: an import that breaks off leaves its line in the audit log.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::body::{created, ok, piece, read};
use super::page::Page;
use super::problem::AdminProblem;
use super::proof::{Wait, proven};
use super::wire::{
    CreatedKey, KeyDetails, KeyList, KeyView, NewKeyBody, Revocation, RevokedKey, RotateKeyBody,
    RotatedKeyView,
};
use crate::auth::{FleetDesk, Import, KeyDesk, KeyError, NewKeyRequest};
use crate::id::KeyId;
use crate::observe::Actor;
use crate::store::RevokeKey;

/// What there is.
pub(super) enum Resource {
    All,
    Import,
    One(KeyId),
    Revoke(KeyId),
    Rotate(KeyId),
}

/// An import, in bytes: some 200,000 keys.
const IMPORT: usize = 64 * 1024 * 1024;

impl Resource {
    /// From what follows `/v1/keys`.
    pub(super) fn parse(rest: &[&str]) -> Result<Resource, AdminProblem> {
        let id = |id| KeyId::parse(id).map_err(|_| AdminProblem::Path);
        match rest {
            [] => Ok(Resource::All),
            ["import"] => Ok(Resource::Import),
            [one] => id(one).map(Resource::One),
            [one, "revoke"] => id(one).map(Resource::Revoke),
            [one, "rotate"] => id(one).map(Resource::Rotate),
            _ => Err(AdminProblem::Path),
        }
    }

    pub(super) async fn carry_out(
        self,
        desk: &KeyDesk,
        fleet: &FleetDesk,
        actor: Actor,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, AdminProblem> {
        match (self, request.method()) {
            (Resource::All, &Method::GET) => list(desk, request.uri().query()).await,
            (Resource::All, &Method::POST) => create(desk, actor, request).await,
            (Resource::Import, &Method::POST) => import(desk, actor, request).await,
            (Resource::One(id), &Method::GET) => show(desk, &id).await,
            (Resource::Revoke(id), &Method::POST) => {
                let wait = Wait::of_query(request.uri().query())?;
                proven(fleet, wait, revoke(desk, actor, &id)).await
            }
            (Resource::Rotate(id), &Method::POST) => {
                let wait = Wait::of_query(request.uri().query())?;
                let body: RotateKeyBody = read(request).await?;
                proven(fleet, wait, rotate(desk, actor, &id, body)).await
            }
            (Resource::All, _) => Err(AdminProblem::Method("GET, POST")),
            (Resource::One(_), _) => Err(AdminProblem::Method("GET")),
            (Resource::Import | Resource::Revoke(_) | Resource::Rotate(_), _) => {
                Err(AdminProblem::Method("POST"))
            }
        }
    }
}

async fn create(
    desk: &KeyDesk,
    actor: Actor,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, AdminProblem> {
    let body: NewKeyBody = read(request).await?;
    let request = NewKeyRequest::try_from(body)?;
    let (record, secret) = desk.create(request, actor).await?;
    Ok(created(&CreatedKey::new(&record, secret)))
}

async fn list(desk: &KeyDesk, query: Option<&str>) -> Result<Response<Full<Bytes>>, AdminProblem> {
    let page = Page::parse(query.unwrap_or_default())?;
    let (after, account) = (page.after.as_ref(), page.account.as_ref());
    let keys = desk.list(after, page.limit, account).await?;
    Ok(ok(&KeyList::from(&keys)))
}

async fn show(desk: &KeyDesk, id: &KeyId) -> Result<Response<Full<Bytes>>, AdminProblem> {
    let record = desk.show(id).await?;
    let rotation = desk.rotation(id).await?;
    let usage = desk.usage(&record).await?;
    Ok(ok(&KeyDetails::new(&record, rotation, &usage)))
}

async fn rotate(
    desk: &KeyDesk,
    actor: Actor,
    id: &KeyId,
    body: RotateKeyBody,
) -> Result<RotatedKeyView, AdminProblem> {
    let rotated = desk.rotate(id, body.try_into()?, actor).await?;
    Ok(RotatedKeyView::from(rotated))
}

async fn revoke(desk: &KeyDesk, actor: Actor, id: &KeyId) -> Result<RevokedKey, AdminProblem> {
    let (outcome, record) = match desk.revoke(id, actor).await? {
        RevokeKey::Revoked(record) => (Revocation::Revoked, record),
        RevokeKey::AlreadyRevoked(record) => (Revocation::AlreadyRevoked, record),
        RevokeKey::Unknown => return Err(KeyError::Unknown(id.clone()).into()),
    };
    let key = KeyView::from(&record);
    Ok(RevokedKey { outcome, key })
}

async fn import(
    desk: &KeyDesk,
    actor: Actor,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, AdminProblem> {
    let mut import = desk.import(actor);
    match take_over(&mut import, request.into_body()).await {
        Ok(()) => Ok(ok(&import.finish().await?)),
        Err(problem) => {
            import.abandon().await;
            Err(problem)
        }
    }
}

async fn take_over(import: &mut Import<'_>, mut body: Incoming) -> Result<(), AdminProblem> {
    let mut taken = 0;
    while let Some(data) = piece(&mut body).await? {
        taken += data.len();
        if taken > IMPORT {
            return Err(AdminProblem::BodySize(IMPORT));
        }
        import.feed(&data).await?;
    }
    Ok(())
}
