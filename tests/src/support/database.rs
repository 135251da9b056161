//! A database for each test, in one private Postgres for all of them, which is the product's own.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use app::managed_postgres::{ManagedPostgres, ManagedPostgresError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::sync::Mutex;
use uuid::Uuid;

/// An empty, migrated database. Dropped when the test ends.
pub(crate) struct Database {
    name: String,
}

static POSTGRES: OnceLock<ManagedPostgres> = OnceLock::new();
/// Copying a template needs it to itself.
static COPYING: Mutex<()> = Mutex::const_new(());
const TEMPLATE: &str = "template_of_tests";

impl Database {
    pub(crate) async fn create() -> Self {
        let name = format!("test_{}", Uuid::now_v7().simple());
        let postgres = tokio::task::spawn_blocking(|| POSTGRES.get_or_init(start)).await.unwrap();
        let _copying = COPYING.lock().await;
        run(postgres, &format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")).await;
        Self { name }
    }

    fn options(&self) -> PgConnectOptions {
        POSTGRES.get().unwrap().connect_options(&self.name)
    }

    /// Connections to it.
    pub(crate) async fn pool(&self) -> PgPool {
        PgPool::connect_with(self.options()).await.unwrap()
    }

    /// Its address, as the server takes it.
    pub(crate) fn url(&self) -> String {
        let options = self.options();
        let socket = options.get_socket().unwrap().display();
        format!("postgres://switchboard@localhost/{}?host={socket}", self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop_it = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // Drop isn't async, and the test's own runtime is about to end.
        let _ = std::thread::spawn(move || block_on(run(POSTGRES.get().unwrap(), &drop_it))).join();
    }
}

/// Starts Postgres under the target directory. It dies with this process; the cluster stays, so that the next run starts faster.
fn start() -> ManagedPostgres {
    // A thread of its own, since this is called from within a runtime.
    std::thread::spawn(|| {
        block_on(async {
            let postgres = start_in_a_free_directory().await;
            let mut admin = PgConnection::connect_with(&postgres.connect_options("postgres")).await.unwrap();
            let left_over: Vec<String> =
                sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname LIKE '%test%'")
                    .fetch_all(&mut admin)
                    .await
                    .unwrap();
            for name in left_over {
                run(&postgres, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
            }
            run(&postgres, &format!("CREATE DATABASE {TEMPLATE}")).await;
            let template = PgPool::connect_with(postgres.connect_options(TEMPLATE)).await.unwrap();
            app::migrate(&template).await.unwrap();
            template.close().await;
            postgres
        })
    })
    .join()
    .unwrap()
}

/// Another run of the tests may be under way.
async fn start_in_a_free_directory() -> ManagedPostgres {
    for n in 0.. {
        let dir: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{n}"));
        match ManagedPostgres::start(&dir, None).await {
            Ok(postgres) => return postgres,
            Err(ManagedPostgresError::InUse(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("there is always a free directory")
}

async fn run(postgres: &ManagedPostgres, statement: &str) {
    let mut admin = PgConnection::connect_with(&postgres.connect_options("postgres")).await.unwrap();
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut admin).await.unwrap();
}

fn block_on<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}
