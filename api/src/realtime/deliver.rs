//! From the log to those who are connected: each event goes to the people it concerns.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use domain::business::{Business, BusinessEvent};
use domain::session::{Session, SessionEvent};
use domain::user::{User, UserEvent, UserPasswordChanged};
use domain::{BusinessId, Decider, SessionId, UserId};
use event_store::{Delivery, Position, RecordedEvent, codec};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::closing::Closing;
use super::connection::Offered;
use super::feed_event::{FeedEvent, Told, read};
use super::outgoing::Outgoing;
use super::{Shared, replay};

/// Interval of heartbeats, which carry the position of the feed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Connections are told in turns, or all of them would be at the same moment.
const TURNS: u32 = 15;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Delivers what is appended after a position. Never returns.
pub(super) async fn deliver(shared: &Arc<Shared>, after: Position) -> Infallible {
    let mut subscription = shared.api.store.subscribe(after);
    let mut turns = interval(HEARTBEAT / TURNS);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0;
    loop {
        tokio::select! {
            delivery = subscription.next() => match delivery {
                Ok(Delivery::Events(batch)) => {
                    for event in batch.iter() {
                        if let Err(error) = tell(shared, event).await {
                            tracing::error!(%error, position = event.position, "delivering an event failed; it is skipped");
                        }
                    }
                }
                Ok(Delivery::CaughtUp(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, "delivery waits for the log; retrying");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            },
            // Between events, so that nothing up to the place that clients are told is still on its way to them.
            _ = turns.tick() => {
                turn = (turn + 1) % TURNS as usize;
                beat(shared, turn);
            }
        }
    }
}

/// Tells those whose turn it is how far the feed is.
fn beat(shared: &Shared, turn: usize) {
    let began = Instant::now();
    let position = shared.connections.position();
    for connection in shared.connections.all().iter().filter(|connection| connection.turn % TURNS as usize == turn) {
        connection.beat(position);
        if connection.has_missed() {
            connection.mention(&replay::who_is_online(shared, connection));
        }
    }
    metrics::histogram!("switchboard_heartbeat_seconds").record(began.elapsed());
}

async fn tell(shared: &Arc<Shared>, event: &RecordedEvent) -> Result<(), codec::DecodeError> {
    let position = event.position;
    let Some(fact) = FeedEvent::of(event)? else {
        shared.connections.pass(position);
        return shut_out(shared, event);
    };
    for (person, connections) in shared.connections.reached_by(fact.audience.users(), position) {
        let Some(outgoing) = for_person(shared, &fact, person, position).await else { continue };
        for connection in connections {
            if let Offered::FellBehind(cursor) = connection.offer(&outgoing) {
                metrics::counter!("switchboard_connections_fell_behind_total").increment(1);
                tokio::spawn(replay::bring_up_to_date(shared.clone(), connection, cursor));
            }
        }
    }
    Ok(())
}

/// Returns a user's event for a fact. Waits while the log is unavailable: an event without a name would be wrong.
async fn for_person(shared: &Shared, fact: &FeedEvent, person: UserId, position: Position) -> Option<Outgoing> {
    loop {
        match fact.for_person(person, position, Told::Live, &shared.api.commands).await {
            Ok(outgoing) => return outgoing,
            Err(error) => {
                tracing::warn!(%error, "delivery waits for the log; retrying");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Closes the connections of those who may not be here any longer.
fn shut_out(shared: &Shared, event: &RecordedEvent) -> Result<(), codec::DecodeError> {
    let id = event.stream.id();
    match event.stream.category() {
        Session::CATEGORY => {
            if let Some(SessionEvent::Revoked(_)) = read(event)?
                && let Ok(session) = id.parse::<SessionId>()
            {
                shared.connections.shut_out(Closing::LoggedOut, |connection| connection.session_id == session);
            }
        }
        User::CATEGORY => {
            let (Some(fact), Ok(user)) = (read(event)?, id.parse::<UserId>()) else { return Ok(()) };
            match fact {
                UserEvent::Suspended(_) => {
                    shared.connections.shut_out(Closing::Suspended, |connection| connection.person == user);
                }
                UserEvent::PasswordChanged(UserPasswordChanged { kept_session, .. }) => {
                    shared.connections.shut_out(Closing::LoggedOut, |connection| {
                        connection.person == user && Some(connection.session_id) != kept_session
                    });
                }
                UserEvent::SessionsEnded(_) => {
                    shared.connections.shut_out(Closing::LoggedOut, |connection| connection.person == user);
                }
                UserEvent::Created(_)
                | UserEvent::Abandoned(_)
                | UserEvent::Reactivated(_)
                | UserEvent::Renamed(_)
                | UserEvent::AvatarChanged(_)
                | UserEvent::RoleChanged(_) => {}
            }
        }
        Business::CATEGORY => {
            if let Some(BusinessEvent::Suspended(_)) = read(event)?
                && let Ok(business) = id.parse::<BusinessId>()
            {
                shared.connections.shut_out(Closing::Suspended, |connection| connection.business_id == business);
            }
        }
        _ => {}
    }
    Ok(())
}
