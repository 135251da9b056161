//! Every adapter of the event store passes one suite.

mod memory {
    use std::sync::Arc;

    use async_trait::async_trait;
    use event_store::EventStore;
    use event_store::conformance::Harness;
    use event_store::memory::MemoryStore;

    struct Memory(MemoryStore);

    #[async_trait]
    impl Harness for Memory {
        async fn node(&self) -> Arc<dyn EventStore> {
            Arc::new(self.0.clone())
        }

        /// Memory has no connections that could be cut.
        async fn interrupt(&self) {}
    }

    event_store::conformance_suite!(async { Memory(MemoryStore::new(time::OffsetDateTime::now_utc)) });
}

mod postgres {
    use std::sync::Arc;

    use async_trait::async_trait;
    use event_store::EventStore;
    use event_store::conformance::Harness;
    use event_store::postgres::PostgresStore;
    use sqlx::PgPool;

    struct Postgres(PgPool);

    #[async_trait]
    impl Harness for Postgres {
        async fn node(&self) -> Arc<dyn EventStore> {
            Arc::new(PostgresStore::open(self.0.clone()).await.unwrap())
        }

        async fn interrupt(&self) {
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .execute(&self.0)
            .await
            .unwrap();
        }
    }

    async fn fresh() -> Postgres {
        let admin = PgPool::connect("postgres://root@localhost/postgres").await.unwrap();
        let name = format!("t_{}", uuid::Uuid::now_v7().simple());
        sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&admin).await.unwrap();
        let pool = PgPool::connect(&format!("postgres://root@localhost/{name}")).await.unwrap();
        sqlx::migrate!("../migrations").run(&pool).await.unwrap();
        Postgres(pool)
    }

    event_store::conformance_suite!(fresh());
}
