use futures_util::FutureExt;

use super::*;

#[tokio::test]
async fn whoever_is_about_to_write_is_waited_for_when_somebody_waits_already() {
    let (send, queue) = mpsc::channel(8);
    for _ in 0..3 {
        let send = send.clone();
        tokio::spawn(async move { send.send(Pending::Stop).await });
    }
    assert!(let_others_write(&queue).now_or_never().is_some(), "an append that comes alone waits for nobody");
    assert_eq!(queue.len(), 0);
    send.send(Pending::Stop).await.unwrap();
    let_others_write(&queue).await;
    assert_eq!(queue.len(), 4);
}

#[tokio::test]
async fn those_who_go_on_for_ever_are_not_waited_for_as_long() {
    let (send, queue) = mpsc::channel(1000);
    send.send(Pending::Stop).await.unwrap();
    tokio::spawn(async move {
        while send.send(Pending::Stop).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    let_others_write(&queue).await;
    assert!((2..=GATHERING_ROUNDS + 1).contains(&queue.len()), "{}", queue.len());
}
