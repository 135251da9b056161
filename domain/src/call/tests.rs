use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::given;

const ALICE: UserId = UserId(Uuid::from_u128(7));
const BOB: UserId = UserId(Uuid::from_u128(8));
const MALLORY: UserId = UserId(Uuid::from_u128(9));

fn at(s: i64) -> Timestamp {
    Timestamp::from_unix_ms(s * 1000)
}

fn parties() -> CallParties {
    CallParties {
        call_id: CallId(Uuid::from_u128(1)),
        conversation_id: ConversationId::between(ALICE, BOB),
        business_id: BusinessId(Uuid::from_u128(2)),
        caller_id: ALICE,
        receiver_id: BOB,
    }
}

fn start(receiver_id: UserId, callee_is_busy: bool) -> CallCommand {
    CallCommand::Start(StartCall {
        id: parties().call_id,
        business_id: parties().business_id,
        caller_id: ALICE,
        receiver_id,
        call_type: CallType::Video,
        room_id: RoomId::parse("room_123").unwrap(),
        callee_is_busy,
        rings_until: at(45),
        at: at(0),
    })
}

fn started() -> CallEvent {
    CallEvent::Started(CallStarted {
        parties: parties(),
        call_type: CallType::Video,
        room_id: "room_123".into(),
        started_at: at(0),
        rings_until: at(45),
    })
}

fn found_busy() -> CallEvent {
    CallEvent::FoundBusy(CallFoundBusy {
        parties: parties(),
        call_type: CallType::Video,
        room_id: "room_123".into(),
        started_at: at(0),
    })
}

fn accepted() -> CallEvent {
    CallEvent::Accepted(CallAccepted { parties: parties(), accepted_at: at(10) })
}

fn rejected() -> CallEvent {
    CallEvent::Rejected(CallRejected { parties: parties(), rejected_at: at(10) })
}

fn cancelled() -> CallEvent {
    CallEvent::Cancelled(CallCancelled { parties: parties(), cancelled_at: at(10) })
}

fn missed() -> CallEvent {
    CallEvent::Missed(CallMissed { parties: parties(), missed_at: at(45) })
}

fn call_ended(ended_by: Option<UserId>, reason: EndReason, s: i64) -> CallEvent {
    let duration_ms = u64::try_from((s - 10) * 1000).unwrap();
    CallEvent::Ended(CallEnded { parties: parties(), ended_by, reason, duration_ms, ended_at: at(s) })
}

fn accept(by: UserId) -> CallCommand {
    CallCommand::Accept { by, at: at(10) }
}

fn reject(by: UserId) -> CallCommand {
    CallCommand::Reject { by, at: at(10) }
}

fn end(by: UserId) -> CallCommand {
    CallCommand::End { by, at: at(10) }
}

#[test]
fn a_call_rings_once_it_is_started() {
    given::<Call>([]).when(start(BOB, false)).then([started()]);
}

#[test]
fn a_call_to_somebody_who_is_in_another_is_recorded_and_never_rings() {
    given::<Call>([]).when(start(BOB, true)).then([found_busy()]);
}

#[test]
fn nobody_calls_themselves() {
    let invalid = Invalid::new("recipientId", "must be somebody else");
    given::<Call>([]).when(start(ALICE, false)).then_err(CallError::ToOneself(invalid));
}

/// Every state of a call × every command × both parties, a stranger, and the system.
#[test]
fn every_command_in_every_state_by_everybody() {
    use CallError::{AlreadyOver, AlreadyStarted, NoLongerRinging, NoSuchCall, NotTheCallee};
    type Row = (&'static str, CallCommand, [Result<Option<CallEvent>, CallError>; 4]);
    let fine = |event: CallEvent| Ok(Some(event));
    let nothing = || Ok(None);
    let over_by = |s| CallCommand::LoseConnection { at: at(s) };
    // In the states: unstarted, ringing, active, over.
    let table: Vec<Row> = vec![
        ("start", start(BOB, false), [fine(started()), Err(AlreadyStarted), Err(AlreadyStarted), Err(AlreadyStarted)]),
        (
            "accept by the callee",
            accept(BOB),
            [Err(NoSuchCall), fine(accepted()), Err(NoLongerRinging), Err(NoLongerRinging)],
        ),
        (
            "accept by the caller",
            accept(ALICE),
            [Err(NoSuchCall), Err(NotTheCallee), Err(NotTheCallee), Err(NotTheCallee)],
        ),
        ("accept by a stranger", accept(MALLORY), [Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall)]),
        (
            "reject by the callee",
            reject(BOB),
            [Err(NoSuchCall), fine(rejected()), Err(NoLongerRinging), Err(NoLongerRinging)],
        ),
        (
            "reject by the caller",
            reject(ALICE),
            [Err(NoSuchCall), Err(NotTheCallee), Err(NotTheCallee), Err(NotTheCallee)],
        ),
        ("reject by a stranger", reject(MALLORY), [Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall)]),
        (
            "end by the caller",
            end(ALICE),
            [
                Err(NoSuchCall),
                fine(cancelled()),
                fine(call_ended(Some(ALICE), EndReason::HungUp, 10)),
                Err(AlreadyOver),
            ],
        ),
        (
            "end by the callee",
            end(BOB),
            [Err(NoSuchCall), fine(rejected()), fine(call_ended(Some(BOB), EndReason::HungUp, 10)), Err(AlreadyOver)],
        ),
        ("end by a stranger", end(MALLORY), [Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall)]),
        (
            "time-out in time",
            CallCommand::TimeOut { at: at(45) },
            [Err(NoSuchCall), fine(missed()), nothing(), nothing()],
        ),
        ("time-out too early", CallCommand::TimeOut { at: at(44) }, [Err(NoSuchCall), nothing(), nothing(), nothing()]),
        (
            "loss of the connection",
            over_by(70),
            [Err(NoSuchCall), nothing(), fine(call_ended(None, EndReason::ConnectionLost, 70)), nothing()],
        ),
    ];
    let ways_to_be_over = [
        vec![found_busy()],
        vec![started(), rejected()],
        vec![started(), cancelled()],
        vec![started(), missed()],
        vec![started(), accepted(), call_ended(Some(BOB), EndReason::HungUp, 10)],
        vec![started(), accepted(), call_ended(None, EndReason::ConnectionLost, 70)],
    ];
    for (name, command, expected) in table {
        let check = |history: &[CallEvent], expected: &Result<Option<CallEvent>, CallError>| {
            let outcome = Call::replay(history).decide(command.clone());
            let expected = expected.clone().map(|event| event.into_iter().collect::<Vec<_>>());
            assert_eq!(outcome, expected, "{name} after {history:?}");
        };
        check(&[], &expected[0]);
        check(&[started()], &expected[1]);
        check(&[started(), accepted()], &expected[2]);
        for history in &ways_to_be_over {
            check(history, &expected[3]);
        }
    }
}

#[test]
fn nobody_answers_or_declines_what_has_rung_for_too_long() {
    let late = CallCommand::Accept { by: BOB, at: at(45) };
    given::<Call>([started()]).when(late).then_err(CallError::NoLongerRinging);
    let late = CallCommand::Reject { by: BOB, at: at(45) };
    given::<Call>([started()]).when(late).then_err(CallError::NoLongerRinging);
}

#[test]
fn a_call_lasts_from_the_answer_to_the_end() {
    let hang_up = CallCommand::End { by: BOB, at: at(70) };
    given::<Call>([started(), accepted()]).when(hang_up).then([call_ended(Some(BOB), EndReason::HungUp, 70)]);
}

#[test]
fn clocks_that_disagree_make_no_call_last_less_than_nothing() {
    let hang_up = CallCommand::End { by: BOB, at: at(9) };
    let CallEvent::Ended(ended) = &Call::replay(&[started(), accepted()]).decide(hang_up).unwrap()[0] else {
        panic!("it ends")
    };
    assert_eq!(ended.duration_ms, 0);
}

#[test]
fn events_are_stored_flat() {
    let json = serde_json::to_value(accepted()).unwrap();
    assert_eq!(json["callId"], parties().call_id.to_string());
    assert_eq!(json["acceptedAt"], "1970-01-01T00:00:10.000Z");
}

fn any_event() -> impl Strategy<Value = CallEvent> {
    let ended = call_ended(Some(BOB), EndReason::HungUp, 60);
    prop::sample::select(vec![started(), found_busy(), accepted(), rejected(), cancelled(), missed(), ended])
}

proptest! {
    #[test]
    fn any_history_replays_and_what_is_over_stays_so(history in prop::collection::vec(any_event(), 0..12)) {
        let mut state = Call::default();
        for event in &history {
            let before = state.clone();
            state.evolve(event);
            prop_assert!(!matches!(before, Call::Over(_)) || state == before);
        }
    }
}
