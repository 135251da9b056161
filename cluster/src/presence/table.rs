//! What is written down of who is online, for nodes that start later or have missed something, and for those who ask when
//! somebody was last seen.

use std::time::Duration;

use domain::{BusinessId, UserId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{ClusterError, NodeId};

pub(super) struct Table {
    pool: PgPool,
    node: NodeId,
}

impl Table {
    pub(super) fn new(pool: PgPool, node: NodeId) -> Self {
        Self { pool, node }
    }

    /// This node is alive. Whether nobody knew of it, and so of nobody at it.
    pub(super) async fn say_alive(&self) -> Result<bool, ClusterError> {
        sqlx::query_scalar!(
            r#"INSERT INTO nodes (id, seen_at) VALUES ($1, now()) ON CONFLICT (id) DO UPDATE SET seen_at = now()
               RETURNING xmax = 0 AS "is_new!""#,
            self.node.0
        )
        .fetch_one(&self.pool)
        .await
        .map_err(ClusterError::while_("saying that this node is alive"))
    }

    /// The nodes that have said so lately.
    pub(super) async fn alive(&self, lease: Duration) -> Result<Vec<NodeId>, ClusterError> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM nodes WHERE seen_at > now() - make_interval(secs => $1)",
            lease.as_secs_f64()
        )
        .fetch_all(&self.pool)
        .await
        .map_err(ClusterError::while_("looking which nodes are alive"))?;
        Ok(ids.into_iter().map(NodeId).collect())
    }

    /// Strikes out the nodes that have not, and notes when their people were last seen. Any node may do it.
    pub(super) async fn bury_the_dead(&self, lease: Duration) -> Result<(), ClusterError> {
        sqlx::query!(
            "WITH dead AS (
                 DELETE FROM nodes WHERE seen_at <= now() - make_interval(secs => $1) RETURNING id, seen_at
             ), gone AS (
                 DELETE FROM presence USING dead WHERE presence.node_id = dead.id RETURNING presence.user_id, dead.seen_at
             )
             INSERT INTO last_seen (user_id, seen_at)
             SELECT user_id, max(seen_at) FROM gone GROUP BY user_id
             ON CONFLICT (user_id) DO UPDATE SET seen_at = greatest(last_seen.seen_at, excluded.seen_at)",
            lease.as_secs_f64()
        )
        .execute(&self.pool)
        .await
        .map_err(ClusterError::while_("striking out dead nodes"))?;
        Ok(())
    }

    /// These are this node's people, whatever was written down before.
    pub(super) async fn rewrite(&self, people: &[(UserId, BusinessId)]) -> Result<(), ClusterError> {
        let users: Vec<Uuid> = people.iter().map(|(user, _)| user.0).collect();
        sqlx::query!("DELETE FROM presence WHERE node_id = $1 AND user_id <> ALL($2)", self.node.0, &users)
            .execute(&self.pool)
            .await
            .map_err(ClusterError::while_("writing down who is online"))?;
        self.add(people).await
    }

    pub(super) async fn add(&self, people: &[(UserId, BusinessId)]) -> Result<(), ClusterError> {
        let users: Vec<Uuid> = people.iter().map(|(user, _)| user.0).collect();
        let businesses: Vec<Uuid> = people.iter().map(|(_, business)| business.0).collect();
        sqlx::query!(
            "INSERT INTO presence (node_id, user_id, business_id)
             SELECT $1, user_id, business_id FROM unnest($2::uuid[], $3::uuid[]) AS new(user_id, business_id)
             ON CONFLICT DO NOTHING",
            self.node.0,
            &users,
            &businesses
        )
        .execute(&self.pool)
        .await
        .map_err(ClusterError::while_("writing down who came online"))?;
        Ok(())
    }

    pub(super) async fn remove(&self, people: &[UserId]) -> Result<(), ClusterError> {
        let users: Vec<Uuid> = people.iter().map(|user| user.0).collect();
        sqlx::query!(
            "WITH gone AS (DELETE FROM presence WHERE node_id = $1 AND user_id = ANY($2))
             INSERT INTO last_seen (user_id, seen_at) SELECT DISTINCT user_id, now() FROM unnest($2::uuid[]) AS gone(user_id)
             ON CONFLICT (user_id) DO UPDATE SET seen_at = greatest(last_seen.seen_at, excluded.seen_at)",
            self.node.0,
            &users
        )
        .execute(&self.pool)
        .await
        .map_err(ClusterError::while_("writing down who went offline"))?;
        Ok(())
    }

    pub(super) async fn people_of(&self, nodes: &[NodeId]) -> Result<Vec<(NodeId, UserId, BusinessId)>, ClusterError> {
        let nodes: Vec<Uuid> = nodes.iter().map(|node| node.0).collect();
        let rows = sqlx::query!("SELECT node_id, user_id, business_id FROM presence WHERE node_id = ANY($1)", &nodes)
            .fetch_all(&self.pool)
            .await
            .map_err(ClusterError::while_("looking who is online"))?;
        Ok(rows
            .into_iter()
            .map(|row| (NodeId(row.node_id), UserId(row.user_id), BusinessId(row.business_id)))
            .collect())
    }
}
