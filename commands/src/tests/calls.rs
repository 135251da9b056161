//! Calls, and what devices have been handed.

use domain::call::{Call, CallType, Outcome};
use domain::delivery::Delivered;
use domain::{CallId, ConversationId, MessageId};

use super::*;
use crate::{Done, HandedOver, LostCalls, NewCall};

impl Node {
    async fn person(&self, business_id: BusinessId, name: &str) -> Request {
        let new = NewUser {
            email: EmailAddress::parse(&format!("{name}@example.com")).unwrap(),
            name: DisplayName::parse(name).unwrap(),
            ..new_user(business_id)
        };
        let account = self.commands.create_user(&super_admin(), new).await.unwrap().value;
        by(account.id, Role::BusinessUser, business_id)
    }

    async fn call(&self, from: &Request, to: &Request) -> Call {
        let recipient_id = to.caller.user_id;
        let new = NewCall { recipient_id, call_type: CallType::Audio, room_id: None };
        self.commands.start_call(from, new).await.unwrap().value
    }

    async fn count(&self, event_type: &str) -> usize {
        self.types().await.iter().filter(|found| *found == event_type).count()
    }
}

fn id(call: &Call) -> CallId {
    call.started().unwrap().parties.call_id
}

fn outcome(call: &Call) -> Option<Outcome> {
    match call {
        Call::Over(over) => Some(over.outcome),
        Call::Unstarted | Call::Ringing(_) | Call::Active { .. } => None,
    }
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_missed_once_whatever_the_number_of_nodes() {
    let log = log();
    let (one, other) = (node(&log, 1), node(&log, 1000));
    let acme = one.business().await;
    let (alice, bob) = (one.person(acme, "alice").await, one.person(acme, "bob").await);
    let call = one.call(&alice, &bob).await;
    for node in [&one, &other] {
        // The lookup may be early, and late.
        node.lookups.rung_out.lock().unwrap().push(id(&call));
        node.wait(44);
        node.commands.miss_calls().await.unwrap();
    }
    assert_eq!(one.count("CallMissed").await, 0, "it rings for 45 s");
    for node in [&one, &other, &one, &other] {
        node.wait(1);
        node.commands.miss_calls().await.unwrap();
    }
    assert_eq!(one.count("CallMissed").await, 1);
    let late = one.commands.accept_call(&bob, id(&call)).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
}

#[tokio::test]
async fn a_call_that_rang_when_the_server_died_is_missed_when_another_one_comes_up() {
    let log = log();
    let before = node(&log, 1);
    let acme = before.business().await;
    let (alice, bob) = (before.person(acme, "alice").await, before.person(acme, "bob").await);
    let call = before.call(&alice, &bob).await;
    drop(before);
    let after = node(&log, 1000);
    after.wait(3600);
    after.lookups.rung_out.lock().unwrap().push(id(&call));
    after.commands.miss_calls().await.unwrap();
    assert_eq!(after.count("CallMissed").await, 1);
}

#[tokio::test]
async fn one_who_is_called_by_two_at_once_is_called_by_one() {
    let log = log();
    let (one, other) = (node(&log, 1), node(&log, 1000));
    let acme = one.business().await;
    let (alice, bob) = (one.person(acme, "alice").await, one.person(acme, "bob").await);
    let carol = one.person(acme, "carol").await;
    let (first, second) = tokio::join!(one.call(&alice, &bob), other.call(&carol, &bob));
    let busy = [&first, &second].iter().filter(|call| outcome(call) == Some(Outcome::Busy)).count();
    assert_eq!(busy, 1, "{first:?} {second:?}");
}

#[tokio::test]
async fn somebody_is_busy_as_long_as_they_are_in_a_call_on_either_side_of_it() {
    let node = node(&log(), 1);
    let acme = node.business().await;
    let (alice, bob) = (node.person(acme, "alice").await, node.person(acme, "bob").await);
    let carol = node.person(acme, "carol").await;
    let call = node.call(&alice, &bob).await;
    for busy in [&alice, &bob] {
        assert_eq!(outcome(&node.call(&carol, busy).await), Some(Outcome::Busy));
    }
    node.commands.accept_call(&bob, id(&call)).await.unwrap();
    assert_eq!(outcome(&node.call(&carol, &bob).await), Some(Outcome::Busy));
    node.commands.end_call(&alice, id(&call)).await.unwrap();
    let call = node.call(&carol, &bob).await;
    assert_eq!(outcome(&call), None, "it rings");
    // It has rung for too long, whether anybody has noticed or not.
    node.wait(45);
    assert_eq!(outcome(&node.call(&alice, &bob).await), None);
}

#[tokio::test]
async fn a_line_taken_for_a_call_that_never_began_is_free_after_a_while() {
    let node = node(&log(), 1);
    let acme = node.business().await;
    let (alice, bob) = (node.person(acme, "alice").await, node.person(acme, "bob").await);
    let call = node.call(&alice, &bob).await;
    node.commands.reject_call(&bob, id(&call)).await.unwrap();
    // As if the node had died between taking the line and starting the call.
    let take = domain::line::TakeLine {
        user_id: bob.caller.user_id,
        business_id: acme,
        call_id: CallId(Uuid::from_u128(9999)),
        must_be_free: true,
        over: vec![id(&call)],
        answered: vec![],
        at: node.commands.clock.now(),
    };
    let take = domain::line::LineCommand::Take(take);
    let metadata = by_the_system(acme, Uuid::nil());
    let line = bob.caller.user_id.to_string();
    node.commands.repository.execute::<domain::line::Line>(&line, take, &metadata).await.unwrap();
    assert_eq!(outcome(&node.call(&alice, &bob).await), Some(Outcome::Busy));
    node.wait(10);
    assert_eq!(outcome(&node.call(&alice, &bob).await), None);
}

#[tokio::test]
async fn a_call_without_its_parties_ends_after_a_minute() {
    let node = node(&log(), 1);
    let acme = node.business().await;
    let (alice, bob) = (node.person(acme, "alice").await, node.person(acme, "bob").await);
    let call = id(&node.call(&alice, &bob).await);
    node.commands.accept_call(&bob, call).await.unwrap();
    let (caller_id, receiver_id) = (alice.caller.user_id, bob.caller.user_id);
    node.lookups.active.lock().unwrap().push(ActiveCall { id: call, caller_id, receiver_id });
    let mut lost = LostCalls::new(60_000);
    let nobody = |_| false;
    let bob_alone = |user| user == receiver_id;
    lost.end(&node.commands, nobody).await.unwrap();
    node.wait(59);
    lost.end(&node.commands, bob_alone).await.unwrap();
    node.wait(10);
    lost.end(&node.commands, nobody).await.unwrap();
    node.wait(59);
    lost.end(&node.commands, nobody).await.unwrap();
    assert_eq!(node.count("CallEnded").await, 0, "somebody was back in between");
    for _ in 0..3 {
        node.wait(1);
        lost.end(&node.commands, nobody).await.unwrap();
    }
    assert_eq!(node.count("CallEnded").await, 1);
}

#[tokio::test]
async fn one_of_many_who_answer_and_decline_at_once_wins() {
    let log = log();
    let (one, other) = (node(&log, 1), node(&log, 1000));
    let acme = one.business().await;
    let (alice, bob) = (one.person(acme, "alice").await, one.person(acme, "bob").await);
    for _ in 0..50 {
        let call = id(&one.call(&alice, &bob).await);
        let outcomes: [Result<Done<Call>, Error>; 4] = tokio::join!(
            one.commands.accept_call(&bob, call),
            other.commands.reject_call(&bob, call),
            other.commands.accept_call(&bob, call),
            one.commands.reject_call(&bob, call)
        )
        .into();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::Conflict(_)))).count();
        assert_eq!(refused, 3, "{outcomes:?}");
        let _ = one.commands.end_call(&alice, call).await;
    }
}

#[tokio::test]
async fn what_is_handed_over_is_noted_once_a_second_and_not_when_it_has_been_read() {
    let log = log();
    let (one, other) = (node(&log, 1), node(&log, 1000));
    let acme = one.business().await;
    let bob = UserId(Uuid::from_u128(8));
    let alice = UserId(Uuid::from_u128(7));
    let message = |message_position| Delivered {
        conversation_id: ConversationId::between(alice, bob),
        sender_id: alice,
        message_id: MessageId(Uuid::nil()),
        message_position,
    };
    assert_eq!(one.commands.hand_over(bob, acme, vec![message(5)]).await.unwrap(), HandedOver::Done);
    // Another device, at another node.
    assert_eq!(other.commands.hand_over(bob, acme, vec![message(5)]).await.unwrap(), HandedOver::Done);
    assert_eq!(other.commands.hand_over(bob, acme, vec![message(6)]).await.unwrap(), HandedOver::TooSoon);
    assert_eq!(one.count("MessagesDelivered").await, 1);
    other.wait(1);
    assert_eq!(other.commands.hand_over(bob, acme, vec![message(6)]).await.unwrap(), HandedOver::Done);
    assert_eq!(one.count("MessagesDelivered").await, 2);
}
