//! The suite on the stand-in for KurrentDB, undisturbed and disturbed, and on a real one where there is one.

use std::sync::Arc;

use async_trait::async_trait;
use event_store::EventStore;
use event_store::conformance::Harness;
use event_store::kurrentdb::KurrentStore;

use crate::support::KurrentDb;

async fn open(url: &str) -> Arc<dyn EventStore> {
    Arc::new(KurrentStore::open(url).await.unwrap())
}

#[async_trait]
impl Harness for KurrentDb {
    async fn node(&self) -> Arc<dyn EventStore> {
        open(&self.url()).await
    }

    async fn interrupt(&self) {
        self.cut_connections();
    }
}

mod undisturbed {
    use super::*;

    event_store::conformance_suite!(KurrentDb::start());
}

/// Connections are cut at any time, whatever is being said.
mod disturbed {
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;
    use crate::support::{Random, seed};

    struct Disturbed {
        server: Arc<KurrentDb>,
        _disturbance: JoinSet<()>,
    }

    #[async_trait]
    impl Harness for Disturbed {
        async fn node(&self) -> Arc<dyn EventStore> {
            self.server.node().await
        }

        async fn interrupt(&self) {
            self.server.interrupt().await;
        }
    }

    async fn disturbed() -> Disturbed {
        let server = Arc::new(KurrentDb::start().await);
        server.recognise_retries();
        let mut random = Random::new(seed());
        let mut disturbance = JoinSet::new();
        let disturbed = server.clone();
        disturbance.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(random.below(400) + 20)).await;
                disturbed.cut_connections();
            }
        });
        Disturbed { server, _disturbance: disturbance }
    }

    event_store::conformance_suite!(disturbed());
}

/// A real server, which has other things in it too. Its limit for appends has to allow for the largest events:
/// `--max-append-size 16777215`.
mod real {
    use super::*;
    use crate::conformance::shared_log::Share;
    use crate::support::set_up_by_hand;

    struct Real {
        url: String,
        share: Share,
    }

    #[async_trait]
    impl Harness for Real {
        async fn node(&self) -> Arc<dyn EventStore> {
            self.share.of(open(&self.url).await)
        }

        /// Nobody but its operator can do that.
        async fn interrupt(&self) {}
    }

    async fn real() -> Option<Real> {
        let url = set_up_by_hand("SWITCHBOARD_TEST_KURRENTDB")?;
        let share = Share::beginning_at(open(&url).await.head().await.unwrap());
        Some(Real { url, share })
    }

    event_store::conformance_suite!(if any real());
}
