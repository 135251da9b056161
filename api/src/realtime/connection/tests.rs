use domain::Role;
use domain::session::Audience;
use serde_json::json;
use uuid::Uuid;

use super::*;

fn connection(room: usize) -> (Connection, Frames) {
    let outlet = Frames::new(room);
    let outlet_end = Outlet::Stream { frames: outlet.clone(), cutter: Cutter::new() };
    let caller = Caller {
        user_id: UserId(Uuid::nil()),
        business_id: BusinessId(Uuid::nil()),
        role: Role::BusinessUser,
        session_id: SessionId(Uuid::nil()),
        audience: Audience::Messenger,
    };
    let open_until = Timestamp::from_unix_ms(i64::MAX);
    (Connection::new(caller, open_until, None, outlet_end, Arc::default()), outlet)
}

fn event(position: Position) -> Outgoing {
    Outgoing::durable("message:sent", position, json!({}))
}

/// The positions of what has gone out; 0 for what has none.
fn sent(outlet: &Frames) -> Vec<Position> {
    let mut positions = vec![];
    while let Some(Frame::Event(event)) = outlet.take() {
        positions.push(event.position().unwrap_or(0));
    }
    positions
}

#[test]
fn what_happens_while_it_is_brought_up_to_date_comes_after_what_happened_before() {
    let (connection, outlet) = connection(10);
    connection.keep();
    assert_eq!(connection.offer(&event(7)), Offered::Fine);
    assert!(sent(&outlet).is_empty());
    connection.set_cursor(6);
    connection.go_live().unwrap();
    connection.offer(&event(8));
    assert_eq!(sent(&outlet), [7, 0, 8]);
}

#[test]
fn nothing_goes_out_twice() {
    let (connection, outlet) = connection(10);
    connection.keep();
    connection.offer(&event(5));
    connection.offer(&event(6));
    connection.set_cursor(5);
    connection.go_live().unwrap();
    connection.offer(&event(6));
    assert_eq!(sent(&outlet), [6, 0]);
}

#[tokio::test]
async fn a_burst_puts_it_behind_and_a_replay_goes_on_where_it_was() {
    let (connection, outlet) = connection(3);
    connection.keep();
    connection.go_live().unwrap();
    assert_eq!(connection.offer(&event(1)), Offered::Fine);
    assert_eq!(connection.offer(&event(2)), Offered::Fine);
    assert_eq!(connection.offer(&event(3)), Offered::FellBehind(2));
    assert_eq!(connection.offer(&event(4)), Offered::Fine, "the replay sends it");
    assert_eq!(sent(&outlet), [0, 1, 2]);
    for position in 3..=4 {
        assert_eq!(connection.replay(&event(position)).await, Replayed::Sent);
    }
    connection.keep();
    connection.go_live().unwrap();
    assert_eq!(sent(&outlet), [3, 4, 0]);
}

#[test]
fn the_places_that_a_client_is_told_never_go_back() {
    let (connection, outlet) = connection(10);
    connection.keep();
    connection.set_cursor(7);
    connection.go_live().unwrap();
    connection.beat(5);
    connection.beat(9);
    let mut places = vec![];
    while let Some(Frame::Event(event)) = outlet.take() {
        places.push(event.value()["position"].as_u64().unwrap());
    }
    assert_eq!(places, [7, 7, 9]);
    assert_eq!(connection.advance(8), 9, "a replay doesn't take it back");
}

#[test]
fn more_than_can_be_kept_is_left_to_a_replay() {
    let (connection, outlet) = connection(1000);
    connection.keep();
    for position in 1..=300 {
        connection.offer(&event(position));
    }
    assert_eq!(connection.go_live(), Err(0));
    assert!(sent(&outlet).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_makes_no_room_is_given_up_after_a_while() {
    let (connection, outlet) = connection(1);
    assert_eq!(connection.replay(&event(1)).await, Replayed::Sent);
    let began = Instant::now();
    assert_eq!(connection.replay(&event(2)).await, Replayed::Stalled);
    assert!(began.elapsed() >= PATIENCE);
    assert_eq!(sent(&outlet), [1]);
}

#[tokio::test]
async fn nothing_goes_out_after_the_last_word() {
    let (connection, outlet) = connection(10);
    connection.keep();
    connection.go_live().unwrap();
    connection.close(Closing::LoggedOut);
    connection.offer(&event(1));
    connection.mention(&Outgoing::passing("user:online", "id"));
    connection.keep();
    connection.go_live().unwrap();
    assert_eq!(connection.replay(&event(1)).await, Replayed::Closed);
    assert_eq!(sent(&outlet), [0], "it was told once that it is up to date");
}
