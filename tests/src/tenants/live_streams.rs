//! What may be said over the live streams, by whom and about what.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::cast::Cast;
use super::out::Out;
use crate::support::{PlainSocket, World, anonymous};

/// What clients may say over a live stream, and how the user of Acme is answered who says it about something of Acme.
struct Word {
    event: &'static str,
    /// What it says about a person, a message and a call.
    data: fn(&Ids) -> Value,
    /// The status of the answer; 200 for a success.
    status: u16,
    /// The same, for colleagues whom the message and the call don't concern.
    colleague: u16,
}

/// Of whom and of what something is said.
struct Ids {
    person: String,
    message: String,
    call: String,
}

const WORDS: [Word; 8] = [
    Word {
        event: "message:send",
        data: |ids| json!({"recipientId": ids.person, "content": "hello", "type": "text"}),
        status: 200,
        colleague: 200,
    },
    Word { event: "message:read", data: |ids| json!({"messageId": ids.message}), status: 200, colleague: 404 },
    Word { event: "typing:start", data: |ids| json!({"recipientId": ids.person}), status: 200, colleague: 200 },
    Word { event: "typing:stop", data: |ids| json!({"recipientId": ids.person}), status: 200, colleague: 200 },
    Word {
        event: "call:signal",
        data: |ids| json!({"callId": ids.call, "kind": "offer", "payload": {"sdp": "v=0"}}),
        status: 200,
        colleague: 404,
    },
    // The user of Acme has called, and so is not the one to answer.
    Word { event: "call:accept", data: |ids| json!({"callId": ids.call}), status: 403, colleague: 404 },
    Word { event: "call:reject", data: |ids| json!({"callId": ids.call}), status: 403, colleague: 404 },
    // Last, since nothing can be said about it afterwards.
    Word { event: "call:end", data: |ids| json!({"callId": ids.call}), status: 200, colleague: 404 },
];

/// What clients may say, as the document of the live streams has it.
async fn words(world: &World) -> BTreeSet<String> {
    let document = anonymous(&world.server.url, Method::GET, "/asyncapi.json", None).await.expect(200).body;
    let messages = document["components"]["messages"].as_object().unwrap().iter();
    let heard = messages.filter(|(id, _)| id.starts_with("heard"));
    heard.map(|(_, message)| message["name"].as_str().unwrap().to_owned()).collect()
}

/// What clients may say, as the one who hears it has it.
fn arms() -> BTreeSet<String> {
    let source = include_str!("../../../api/src/realtime/emits.rs");
    let (_, hears) = source.split_once("async fn handle(").expect("what hears emits");
    let (arms, _) = hears.split_once("unknown =>").expect("what hears anything else");
    let patterns = arms.lines().filter_map(|line| line.trim().split_once(" =>")).map(|(pattern, _)| pattern);
    let names = patterns.flat_map(|pattern| pattern.split(" | ")).filter(|name| name.starts_with('"'));
    names.map(|name| name.trim_matches('"').to_owned()).collect()
}

impl Cast {
    /// Something of Acme that its user has to do with.
    fn ids(&self) -> Ids {
        Ids { person: self.victim.clone(), message: self.message.clone(), call: self.call.clone() }
    }
}

#[tokio::test]
async fn whatever_is_said_over_a_live_stream_about_what_concerns_others_alone_is_said_about_nothing() {
    let cast = Cast::assemble().await;
    let known: BTreeSet<String> = WORDS.iter().map(|word| word.event.to_owned()).collect();
    assert_eq!(words(&cast.world).await, known, "every event has a row, and every row an event");
    assert_eq!(arms(), known, "what is heard is what is documented");

    let mut foreign = PlainSocket::connect(&cast.foreign_user, None).await;
    let mut own = PlainSocket::connect(&cast.user, None).await;
    let mut colleagues = vec![];
    for person in [&cast.colleague, &cast.colleague_admin, &cast.colleague_auditor] {
        colleagues.push((&person.email, PlainSocket::connect(person, None).await));
    }
    for word in WORDS {
        let before = cast.world.all_events().await;
        let answer = foreign.emit(word.event, (word.data)(&cast.ids())).await;
        assert_eq!((&answer["errorCode"], &answer["statusCode"]), (&json!("NOT_FOUND"), &json!(404)), "{}", word.event);
        for missing in ["01900000-0000-7000-8000-000000000000", "nonsense", ""] {
            let ids = Ids { person: missing.to_owned(), message: missing.to_owned(), call: missing.to_owned() };
            assert_eq!(foreign.emit(word.event, (word.data)(&ids)).await, answer, "{} about {missing:?}", word.event);
            let own_answer = own.emit(word.event, (word.data)(&ids)).await;
            assert_eq!(own_answer, answer, "{} about {missing:?}", word.event);
        }
        for (email, socket) in colleagues.iter_mut().filter(|_| word.colleague == 404) {
            let about_theirs = socket.emit(word.event, (word.data)(&cast.ids())).await;
            assert_eq!(about_theirs, answer, "{email} says {}", word.event);
        }
        assert_eq!(cast.world.all_events().await, before, "{}", word.event);
        for (email, socket) in colleagues.iter_mut().filter(|_| word.colleague == 200) {
            let answer = socket.emit(word.event, (word.data)(&cast.ids())).await;
            assert_eq!(answer["success"], true, "{email} says {}: {answer}", word.event);
        }
        let answer = own.emit(word.event, (word.data)(&cast.ids())).await;
        let status = if answer["success"] == true { json!(200) } else { answer["statusCode"].clone() };
        assert_eq!(status, json!(word.status), "{}: {answer}", word.event);
    }
}

#[tokio::test]
async fn nothing_that_is_said_over_a_live_stream_is_done_for_anybody_who_is_out() {
    let mut cast = Cast::assemble().await;
    for out in Out::ALL {
        for word in WORDS {
            for is_foreign in [false, true] {
                let person = if is_foreign { cast.foreign_user.clone() } else { cast.user.clone() };
                let what = format!("{} says {}, {out:?}", person.email, word.event);
                let mut socket = PlainSocket::connect(&person, None).await;
                socket.expect("feed:caught-up").await;
                out.shut_out(&cast.world, &person).await;
                let before = cast.world.all_events().await;
                // The stream may be closed before it is heard, or afterwards.
                for _ in 0..3 {
                    match socket.try_emit(word.event, (word.data)(&cast.ids())).await {
                        Ok(answer) => assert_eq!(answer["errorCode"], "UNAUTHORIZED", "{what}: {answer}"),
                        Err(code) => {
                            assert!(matches!(code, 4401 | 0), "{what}: {code}");
                            break;
                        }
                    }
                }
                assert_eq!(cast.world.all_events().await, before, "{what}");
                let person = out.let_in(&cast.world, &person).await;
                *if is_foreign { &mut cast.foreign_user } else { &mut cast.user } = person;
            }
        }
    }
}
