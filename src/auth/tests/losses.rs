//! A store that lost revocations, and an instance that restarts: nothing revoked comes back.

use std::path::Path;

use super::*;

/// Waits for what also a disk has a part in, in paused time.
async fn in_time(is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to be");
}

/// A room that knows what is in a file, with the log confirmed.
async fn remembering(path: &Path) -> Room {
    let (room, follower) = Room::unfollowed(Handle::current(), no_issuers());
    let room = room.followed_by(follower.remembering(path.into()).await);
    in_time(|| matches!(room.authenticator.revocation().lease(), Lease::Fresh(_))).await;
    room
}

impl Room {
    /// Ends its follower, and with it lets go of the file.
    async fn end(mut self) {
        self.follower.abort();
        assert!((&mut self.follower).await.is_err());
    }

    fn gaps(&self, cause: &str, count: u32) -> bool {
        self.counted(&format!(
            "revocation_log_gaps_total{{cause=\"{cause}\"}} {count}"
        ))
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_a_revocation_is_told_it_again() {
    let room = Room::open().await;
    let id = KeyId::random();
    let key = room.key(|record| record.id = id.clone());
    let digest = room.digest(&key);
    let before = room.store.record(&digest).expect("a record");
    assert!(room.verdict(&key).await.is_ok());
    let revoked = crate::store::KeyStore::revoke_key(&*room.store, &id, NOW).await;
    assert!(revoked.is_ok());
    room.deny(DenialKind::Subject, "usr_1");
    room.follow().await;

    room.store.roll_back(vec![(digest, before)]);
    in_time(|| room.gaps("behind", 1)).await;
    assert_eq!(room.failure(&key).await, Some(REVOKED));
    in_time(|| room.store.denies(DenialKind::Subject, "usr_1")).await;
    in_time(|| room.store.denies(DenialKind::Key, id.as_str())).await;
    let record = room.store.record(&digest).expect("a record");
    assert_eq!(record.revoked_at, Some(NOW));
    assert_eq!(room.failure(&key).await, Some(REVOKED));
    // With the marker of `follow`.
    in_time(|| room.counted("revocations_restored_total 3")).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_only_trimmed_lost_nothing() {
    let room = Room::open().await;
    room.deny(DenialKind::Key, KeyId::random().as_str());
    room.follow().await;
    room.store.lose_log();
    in_time(|| room.gaps("trimmed", 1)).await;
    sleep(Duration::from_secs(30)).await;
    // The list was read after the start, after the gap, and to compare after each.
    assert!((3..=4).contains(&room.store.list_count()));
    assert!(room.counted("revocations_restored_total 0"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_yet_is_told_later() {
    let (room, id) = (Room::open().await, KeyId::random());
    room.deny(DenialKind::Key, id.as_str());
    room.deny(DenialKind::Key, "not an id of ours");
    room.follow().await;
    room.store.set_lookups(Mood::Fail);
    room.store.roll_back(Vec::new());
    sleep(Duration::from_secs(30)).await;
    assert!(!room.store.denies(DenialKind::Key, id.as_str()));
    // Following goes on meanwhile.
    room.deny(DenialKind::Jti, "later");
    room.follow().await;
    room.store.set_lookups(Mood::Answer);
    in_time(|| room.store.denies(DenialKind::Key, id.as_str())).await;
    in_time(|| room.store.denies(DenialKind::Key, "not an id of ours")).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_keeps_no_denial_from_the_store() {
    let (room, id) = (Room::open().await, KeyId::random());
    room.deny(DenialKind::Key, id.as_str());
    room.deny(DenialKind::Grant, "a family");
    room.deny(DenialKind::Account, "acct_1");
    room.follow().await;
    room.store.set_lookups(Mood::Unreadable);
    room.store.roll_back(Vec::new());
    in_time(|| room.store.denies(DenialKind::Account, "acct_1")).await;
    in_time(|| room.store.denies(DenialKind::Grant, "a family")).await;
    in_time(|| room.store.denies(DenialKind::Key, id.as_str())).await;
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_saw_holds_though_the_store_lost_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("memory.redb");
    let (id, room) = (KeyId::random(), remembering(&path).await);
    room.deny(DenialKind::Key, id.as_str());
    room.follow().await;
    let is_kept = || {
        // Only a copy: the file itself is in use.
        let copy = folder.path().join("copy");
        std::fs::copy(&path, &copy).expect("copied");
        String::from_utf8_lossy(&std::fs::read(copy).expect("readable")).contains(id.as_str())
    };
    in_time(is_kept).await;
    room.end().await;

    // Another store: it has neither the denial nor the log.
    let room = remembering(&path).await;
    assert!(room.gaps("behind", 1));
    let key = room.key(|record| record.id = id.clone());
    assert_eq!(room.failure(&key).await, Some(REVOKED));
    in_time(|| room.store.denies(DenialKind::Key, id.as_str())).await;
    let record = room.store.record(&room.digest(&key)).expect("a record");
    assert_eq!(record.revoked_at, Some(NOW));
    in_time(|| room.counted("revocation_memory_failures_total 0")).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_goes_on_from_where_an_earlier_process_was_is_no_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let room = remembering(&folder.path().join("memory.redb")).await;
    sleep(Duration::from_secs(3)).await;
    room.end().await;
    // A log as short as that one was.
    let room = remembering(&folder.path().join("memory.redb")).await;
    for cause in ["another", "behind", "emptied", "trimmed"] {
        assert!(room.gaps(cause, 0), "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_written_stops_nothing_and_gets_all_of_it_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let (in_the_way, id) = (folder.path().join("data"), KeyId::random());
    std::fs::write(&in_the_way, "no folder").expect("written");
    let path = in_the_way.join("memory.redb");
    let room = remembering(&path).await;
    let key = room.key(|record| record.id = id.clone());
    assert!(room.verdict(&key).await.is_ok());
    room.deny(DenialKind::Key, id.as_str());
    room.follow().await;
    assert_eq!(room.failure(&key).await, Some(REVOKED));
    in_time(|| !room.counted("revocation_memory_failures_total 0")).await;

    std::fs::remove_file(&in_the_way).expect("removed");
    in_time(|| path.exists()).await;
    sleep(Duration::from_secs(10)).await;
    room.end().await;
    let room = remembering(&path).await;
    let key = room.key(|record| record.id = id.clone());
    assert_eq!(room.failure(&key).await, Some(REVOKED));
}
