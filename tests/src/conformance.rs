//! Every adapter of the event store passes one suite.

mod kurrentdb;
mod shared_log;

mod memory {
    use std::sync::Arc;

    use async_trait::async_trait;
    use event_store::EventStore;
    use event_store::conformance::Harness;
    use event_store::memory::MemoryStore;
    use time::OffsetDateTime;

    struct Memory(MemoryStore);

    #[async_trait]
    impl Harness for Memory {
        async fn node(&self) -> Arc<dyn EventStore> {
            Arc::new(self.0.clone())
        }

        /// Memory has no connections that could be cut.
        async fn interrupt(&self) {}
    }

    event_store::conformance_suite!(async { Memory(MemoryStore::new(OffsetDateTime::now_utc)) });
}

mod postgres {
    use std::sync::Arc;

    use async_trait::async_trait;
    use event_store::EventStore;
    use event_store::conformance::Harness;
    use event_store::postgres::PostgresStore;
    use sqlx::PgPool;

    use crate::support::Database;

    struct Postgres {
        pool: PgPool,
        _database: Database,
    }

    #[async_trait]
    impl Harness for Postgres {
        async fn node(&self) -> Arc<dyn EventStore> {
            Arc::new(PostgresStore::open(self.pool.clone()).await.unwrap())
        }

        async fn interrupt(&self) {
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .execute(&self.pool)
            .await
            .unwrap();
        }
    }

    async fn fresh() -> Postgres {
        let database = Database::create().await;
        Postgres { pool: database.pool().await, _database: database }
    }

    event_store::conformance_suite!(fresh());
}
