//! The store comes back with less than it knew.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use crate::fault::{Fault, run};
use crate::oracle::Class;
use crate::traffic;
use crate::world::{GATEWAYS, Wiring, World};

/// Where Redis keeps what it knows.
const FILES: &str = "appendonlydir";

fn fault(name: &'static str, excused: &'static [Class]) -> Fault {
    Fault {
        name,
        wiring: Wiring::Direct,
        excused,
    }
}

#[test]
fn redis_restarts_empty() {
    run(&fault("Redis restarted empty", &[]), async |world| {
        let quiet = world.hush().await;
        world.lost = Some(Instant::now());
        tokio::task::block_in_place(|| {
            world.redis.kill();
            let files = world.redis.folder().join(FILES);
            std::fs::remove_dir_all(files).expect("they are ours");
            world.redis.launch();
        });
        let end = Instant::now();
        drop(quiet);
        world.go_on(world.length.fault).await;
        end
    });
}

/// What a gateway has read is on its disk half a second later at the latest (docs/outage.md): one that
/// is killed before, and whose store then loses the same, has it from nowhere.
const REMEMBERED: Duration = Duration::from_millis(700);

/// A gateway that restarts after it has its knowledge of what was revoked from its own disk.
#[test]
fn everything_is_flushed() {
    run(&fault("FLUSHALL", &[]), async |world| {
        let quiet = world.hush().await;
        world.go_on(REMEMBERED).await;
        world.lost = Some(Instant::now());
        let _: String = tokio::task::block_in_place(|| world.redis.command(&["FLUSHALL"]));
        world.restart(GATEWAYS - 1).await;
        let end = Instant::now();
        drop(quiet);
        world.go_on(world.length.fault).await;
        end
    });
}

/// What was revoked since stays revoked, and no honest family ends (interface.md §7.3).
#[test]
fn redis_is_restored_from_an_old_snapshot() {
    // Tokens that are newer than the snapshot are none to it.
    let excused = &[Class::Refresh, Class::Code];
    let fault = fault("Redis restored from an old snapshot", excused);
    run(&fault, async |world| {
        let (kept, _) = world.family().await;
        let snapshot = snapshot(world);
        let mut client = world.client(0);
        let (mut newest, mut access) = (kept.clone(), String::new());
        for _ in 0..3 {
            let given = traffic::refresh(&mut client, &newest).await;
            assert_eq!(given.status(), Some(200), "{given:?}");
            newest = traffic::text(&given.json(), "refresh_token");
            access = traffic::text(&given.json(), "access_token");
        }
        world.go_on(world.length.fault).await;
        let quiet = world.hush().await;
        tokio::task::block_in_place(|| {
            world.redis.kill();
            let files = world.redis.folder().join(FILES);
            std::fs::remove_dir_all(&files).expect("they are ours");
            copy(snapshot.path(), &files);
            world.redis.launch();
        });
        let end = Instant::now();
        drop(quiet);
        let _ = world.recovers(end).await;
        family_lives(world, &newest, &access, &kept).await;
        end
    });
}

/// The newest token is one of the future, which ends nothing: neither the access tokens of its
/// family nor the token that the snapshot knows.
async fn family_lives(world: &World, newest: &str, access: &str, kept: &str) {
    let bearer = format!("Bearer {access}");
    for gateway in 0..GATEWAYS {
        let mut client = world.client(gateway);
        let refused = traffic::refresh(&mut client, newest).await;
        assert_eq!(refused.status(), Some(400), "{refused:?}");
        let used = client.get(("authorization", &bearer)).await;
        assert_eq!(used.status(), Some(200), "{used:?}");
    }
    let mut client = world.client(0);
    let given = traffic::refresh(&mut client, kept).await;
    assert_eq!(given.status(), Some(200), "{given:?}");
}

/// While it stands still, its files are whole.
fn snapshot(world: &World) -> TempDir {
    tokio::task::block_in_place(|| {
        let folder = tempfile::tempdir().expect("a folder");
        world.redis.pause();
        copy(&world.redis.folder().join(FILES), folder.path());
        world.redis.resume();
        folder
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("a folder").flatten() {
        std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}
