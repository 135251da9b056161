use object_store::memory::InMemory;

use super::*;

fn files(store: Arc<dyn ObjectStore>, part_bytes: usize, at_once: usize) -> Files {
    let quotas = FileQuotas { user_bytes: 0, business_bytes: 0, reserve_bytes: 0 };
    Files::new(FileStore { store, part_bytes, at_once, free_bytes: None }, quotas)
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

async fn take_in(files: &Files, id: FileId, chunks: Vec<Result<Bytes, FilesError>>) -> Result<TakenIn, FilesError> {
    files.take_in(id, futures_util::stream::iter(chunks).boxed()).await
}

#[tokio::test]
async fn what_is_taken_in_is_handed_out_in_whole_and_in_part_until_it_is_deleted() {
    let files = files(Arc::new(InMemory::new()), 4, 16);
    let id = FileId(uuid::Uuid::from_u128(7));
    let chunks = PNG.chunks(3).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let taken_in = take_in(&files, id, chunks).await.unwrap();
    assert_eq!((taken_in.size_bytes, taken_in.looks_like), (PNG.len() as u64, Some("image/png")));
    let all = async |range| {
        let chunks: Vec<Bytes> = files.hand_out(id, range).await?.try_collect().await.unwrap();
        Ok::<_, FilesError>(chunks.concat())
    };
    assert_eq!(all(None).await.unwrap(), PNG);
    assert_eq!(all(Some(1..4)).await.unwrap(), b"PNG");
    for _ in 0..2 {
        files.delete(id).await.unwrap();
    }
    assert!(all(None).await.is_err());
}

#[tokio::test]
async fn of_what_breaks_off_or_is_too_long_nothing_is_kept() {
    let store = Arc::new(InMemory::new());
    let files = files(store.clone(), 1024 * 1024, 16);
    let broken = vec![Ok(Bytes::from_static(PNG)), Err(FilesError::Client("gone".to_owned()))];
    let too_long = (0..51).map(|_| Ok(Bytes::from(vec![0; 1024 * 1024]))).collect();
    for (n, chunks) in [broken, too_long].into_iter().enumerate() {
        assert!(take_in(&files, FileId(uuid::Uuid::from_u128(n as u128)), chunks).await.is_err());
    }
    assert_eq!(store.list(None).count().await, 0);
}

const MB: u64 = 1024 * 1024;

fn business(n: u128) -> BusinessId {
    BusinessId(uuid::Uuid::from_u128(n))
}

fn person(n: u128) -> UserId {
    UserId(uuid::Uuid::from_u128(n))
}

#[test]
fn nobody_takes_all_places() {
    let files = files(Arc::new(InMemory::new()), 4, 64);
    let permit = |b, p| files.permit(business(b), person(p), Some(1), Kept::default());
    let first = permit(1, 1).unwrap();
    let mut held: Vec<_> = (1..8).map(|_| permit(1, 1).unwrap()).collect();
    assert!(matches!(permit(1, 1), Err(FilesError::TooManyAtOnce)));
    held.extend((2..10).map(|n| permit(1, n).unwrap()));
    assert!(matches!(permit(1, 10), Err(FilesError::TooManyAtOnce)), "a quarter is the business's");
    held.extend((0..48).map(|n| permit(10 + n / 16, 100 + n).unwrap()));
    assert!(matches!(permit(30, 300), Err(FilesError::Busy)));
    drop(first);
    assert!(permit(30, 300).is_ok());
}

#[test]
fn nobody_keeps_more_than_their_quota_whatever_is_under_way() {
    let quotas = FileQuotas { user_bytes: 100 * MB, business_bytes: 150 * MB, reserve_bytes: 0 };
    let store = FileStore { store: Arc::new(InMemory::new()), part_bytes: 4, at_once: 256, free_bytes: None };
    let files = Files::new(store, quotas);
    let permit = |p, bytes, of_user, of_business| {
        let kept = Kept { of_user: of_user * MB, of_business: of_business * MB };
        files.permit(business(1), person(p), bytes, kept)
    };
    assert!(permit(1, Some(MB), 99, 99).is_ok());
    assert!(matches!(permit(1, Some(MB + 1), 99, 99), Err(FilesError::OverQuota { whose: "this user", .. })));
    assert!(matches!(permit(2, Some(MB), 0, 150), Err(FilesError::OverQuota { whose: "this business", .. })));
    let held = permit(1, None, 49, 49).unwrap();
    assert!(matches!(permit(1, Some(2 * MB), 49, 49), Err(FilesError::OverQuota { .. })), "one is under way");
    assert!(matches!(permit(2, None, 0, 51), Err(FilesError::OverQuota { whose: "this business", .. })));
    drop(held);
    assert!(permit(1, Some(2 * MB), 49, 49).is_ok());
}

#[test]
fn uploads_leave_a_reserve_on_the_disk() {
    let quotas = FileQuotas { user_bytes: 0, business_bytes: 0, reserve_bytes: 10 * MB };
    let free_bytes: FreeBytes = Box::new(|| Some(15 * MB));
    let store =
        FileStore { store: Arc::new(InMemory::new()), part_bytes: 4, at_once: 256, free_bytes: Some(free_bytes) };
    let files = Files::new(store, quotas);
    let permit = |bytes| files.permit(business(1), person(1), bytes, Kept::default());
    assert!(matches!(permit(None), Err(FilesError::DiskFull)), "it may have 50 MB");
    let held = permit(Some(3 * MB)).unwrap();
    assert!(matches!(permit(Some(3 * MB)), Err(FilesError::DiskFull)));
    assert!(permit(Some(2 * MB)).is_ok());
    drop(held);
}

#[test]
fn a_file_is_what_it_says_unless_it_looks_like_something_else() {
    for (said, looks_like, expected) in [
        (Some("image/png"), Some("image/png"), Some("image/png")),
        (Some("image/png"), Some("image/jpeg"), None),
        (Some("image/png"), None, None),
        (Some("image/jpeg"), Some("text/html"), None),
        (Some("image/svg+xml"), Some("text/xml"), Some("image/svg+xml")),
        (Some("video/mp4"), Some("application/zip"), None),
        (Some("audio/webm"), Some("video/webm"), Some("audio/webm")),
        (Some("text/plain"), None, Some("text/plain")),
        (Some("text/plain"), Some("application/pdf"), None),
        (Some("application/x-mine"), Some("application/zip"), Some("application/x-mine")),
        (Some("application/octet-stream"), Some("application/pdf"), Some("application/pdf")),
        (None, Some("image/gif"), Some("image/gif")),
        (None, None, Some("application/octet-stream")),
        (Some("nonsense"), None, None),
    ] {
        let decided = content_type(said, looks_like);
        assert_eq!(decided.as_ref().ok().map(ContentType::as_str), expected, "{said:?} {looks_like:?}: {decided:?}");
    }
}
