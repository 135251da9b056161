//! The connections over which questions are answered: what is asked is answered with what was asked for, whatever becomes of others.

use std::time::Duration;

use ::projections::Readers;
use sqlx::Executor;
use tokio::task::JoinSet;

use crate::support::Database;

/// More than there are connections.
const QUESTIONS: i32 = 40;

async fn ask(readers: &Readers, number: i32) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("SELECT $1::int").bind(number).fetch_one(readers).await
}

#[tokio::test]
async fn nobody_gets_what_somebody_asked_who_went_away() {
    let database = Database::create().await;
    let pool = database.pool().await;
    let readers = Readers::of((*pool.connect_options()).clone());
    for sleep_s in [0.03, 1.0] {
        let mut asked = JoinSet::new();
        for number in 0..QUESTIONS {
            let readers = readers.clone();
            asked.spawn(async move {
                let slow =
                    sqlx::query_scalar::<_, i32>("SELECT -1 FROM pg_sleep($1)").bind(sleep_s).fetch_all(&readers);
                let went_away = tokio::time::timeout(Duration::from_millis(10), slow).await.is_err();
                (ask(&readers, number).await.unwrap(), number, went_away)
            });
        }
        let answers = asked.join_all().await;
        assert!(answers.iter().any(|(_, _, went_away)| *went_away), "somebody did");
        for (answer, number, _) in answers {
            assert_eq!(answer, number);
        }
    }
    readers.close();
    assert!(matches!(ask(&readers, 1).await, Err(sqlx::Error::PoolClosed)));
    pool.close().await;
}

#[tokio::test]
async fn connections_that_break_are_replaced() {
    let database = Database::create().await;
    let pool = database.pool().await;
    let options = (*pool.connect_options()).clone().application_name("readers");
    let readers = Readers::of(options);
    let mut asked = JoinSet::new();
    for _ in 0..QUESTIONS {
        let readers = readers.clone();
        asked.spawn(async move { readers.execute("SELECT pg_sleep(0.02)").await.map(drop) });
    }
    while let Some(answered) = asked.join_next().await {
        answered.unwrap().unwrap();
    }
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'readers'";
    let cut: i64 = sqlx::query_scalar(cut).fetch_one(&pool).await.unwrap();
    assert!(cut > 1, "{cut} of them were cut");
    let mut failed = 0;
    for number in 0..QUESTIONS {
        match ask(&readers, number).await {
            Ok(answer) => assert_eq!(answer, number),
            // One that has just been used isn't asked first whether it is there.
            Err(_) => failed += 1,
        }
    }
    assert!(failed <= cut, "{failed} questions failed, over {cut} connections that were cut");
    for number in 0..QUESTIONS {
        assert_eq!(ask(&readers, number).await.unwrap(), number);
    }
    readers.close();
    pool.close().await;
}
