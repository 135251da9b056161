//! Packets that mean nothing, by the thousand.

use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::emits::about_nothing;
use super::scene::{EVENTS, Scene, scaled};
use crate::support::{DEADLINE, Person, Protocol, Random, http_client, seed};

/// What nonsense is made of.
struct Dice(Random);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0.index(end.max(1))
    }

    fn byte(&mut self) -> u8 {
        self.0.number().to_le_bytes()[0]
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    fn bytes(&mut self, below: usize) -> Vec<u8> {
        (0..self.below(below)).map(|_| self.byte()).collect()
    }

    /// A packet that is wrong, most probably.
    fn packet(&mut self, valid: &[String]) -> Vec<u8> {
        const PIECES: [&str; 24] = [
            "0",
            "1",
            "2",
            "3",
            "4",
            "5",
            "6",
            "b",
            "-",
            "/",
            ",",
            "[",
            "]",
            "{",
            "}",
            "\"",
            ":",
            "\\u",
            "\\ud800",
            "\u{1e}",
            "null",
            "99999999999999999999",
            "_placeholder",
            "1e999",
        ];
        match self.below(10) {
            0 => self.bytes(64),
            1 => (0..self.below(40)).flat_map(|_| self.one_of(&PIECES).bytes()).collect(),
            // A list in a list in a list, and so on.
            2 if self.below(10) == 0 => format!("42[\"message:read\",{}", "[".repeat(self.below(5000))).into_bytes(),
            _ => {
                let mut packet = valid[self.below(valid.len())].clone().into_bytes();
                for _ in 0..=self.below(4) {
                    self.mutate(&mut packet, &PIECES);
                }
                packet
            }
        }
    }

    fn mutate(&mut self, packet: &mut Vec<u8>, pieces: &[&str]) {
        let from = self.below(packet.len());
        let to = from + self.below(packet.len() - from + 1).min(8);
        match self.below(6) {
            0 => packet.truncate(from),
            1 => drop(packet.drain(from..to)),
            2 => {
                let twice = packet[from..to].to_vec();
                packet.splice(from..from, twice);
            }
            3 => {
                let byte = self.byte();
                packet.splice(from..to, [byte]);
            }
            4 => {
                let piece = self.one_of(pieces);
                packet.splice(from..to, piece.bytes());
            }
            // The beginning is where packets say what they are.
            _ => {
                let piece = self.one_of(pieces);
                packet.splice(0..0, piece.bytes());
            }
        }
    }
}

/// Packets that are fine, and do nothing to the log.
fn valid_packets(protocol: Protocol, mallory: &Person) -> Vec<String> {
    let mut valid: Vec<String> = EVENTS
        .into_iter()
        .zip(about_nothing("00000000-0000-4000-8000-000000000000"))
        .map(|(event, payload)| protocol.emit(12, event, &payload))
        .collect();
    if protocol == Protocol::SocketIo {
        let token = json!({"token": mallory.token, "since": 1});
        valid.extend([format!("40{token}"), format!("40/admin,{token}"), format!("40{token}\u{1e}427[\"x\",{{}}]")]);
        for packet in [
            "0{\"sid\":\"x\"}",
            "1",
            "2",
            "2probe",
            "3",
            "3probe",
            "5",
            "6",
            "41",
            "41/admin,",
            "4312[{}]",
            "44{\"message\":\"x\"}",
            "451-12[\"message:read\",{\"_placeholder\":true,\"num\":0}]",
            "461-12[{\"_placeholder\":true,\"num\":0}]",
            "42/admin,12[\"message:read\",{}]",
            "b4AAEC",
            "42[\"message:read\",{\"messageId\":\"\\ud83d\\ude00\"}]",
        ] {
            valid.push(packet.to_owned());
        }
    }
    valid
}

/// Packets that one connection has to bear, at most. The first of them is always read; it may well be the last, since many end the
/// connection.
const PACKETS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_packets_over_websocket_harm_nobody() {
    let mut scene = Scene::start().await;
    let seed = seed();
    println!("SWITCHBOARD_TEST_SEED={seed}");
    for protocol in Protocol::BOTH {
        let began = Instant::now();
        let connections = (0..scaled(10_000)).map(|n| {
            let dice = Dice(Random::new(seed.wrapping_add(n as u64)));
            say_nonsense(protocol, scene.mallory.clone(), dice)
        });
        let said: usize =
            futures_util::stream::iter(connections).buffer_unordered(8).collect::<Vec<_>>().await.iter().sum();
        println!("{protocol:?}: {said} packets over {} connections in {:?}", scaled(10_000), began.elapsed());
    }
    scene.nothing_has_come_of_it(0).await;
}

/// Opens a stream, says things over it that make no sense, and waits until the server is done with it. How many.
async fn say_nonsense(protocol: Protocol, mallory: Person, mut dice: Dice) -> usize {
    let valid = valid_packets(protocol, &mallory);
    let bearer = format!("Bearer {}", mallory.token);
    let mut stream = protocol.open(&mallory.url, &[("authorization", &bearer)]).await.unwrap();
    if protocol == Protocol::SocketIo && dice.below(4) > 0 {
        stream.send(Message::text(format!("40{}", json!({"token": mallory.token})))).await.unwrap();
        while !stream.next().await.unwrap().unwrap().to_text().unwrap().starts_with("40") {}
    }
    let mut said = 0;
    let packets = if dice.below(20) == 0 {
        // What isn't even a frame.
        let nonsense = dice.bytes(300);
        let _ = stream.get_mut().write_all(&nonsense).await;
        let _ = stream.get_mut().shutdown().await;
        said += 1;
        0
    } else {
        1 + dice.below(PACKETS)
    };
    for _ in 0..packets {
        let packet = dice.packet(&valid);
        let (is_text, is_final) = (dice.below(8) > 0, dice.below(30) > 0);
        let kind = OpCode::Data(if is_text { Data::Text } else { Data::Binary });
        if stream.feed(Message::Frame(Frame::message(packet, kind, is_final))).await.is_err() {
            break;
        }
        said += 1;
    }
    let _ = stream.send(Message::Close(None)).await;
    let answers = async {
        while let Some(Ok(message)) = stream.next().await {
            let text = message.into_text().unwrap_or_default();
            assert!(!text.contains("\"statusCode\":5"), "{text}");
        }
    };
    tokio::time::timeout(DEADLINE, answers).await.expect("the server lets go");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_packets_and_addresses_over_polling_harm_nobody() {
    let mut scene = Scene::start().await;
    let seed = seed();
    println!("SWITCHBOARD_TEST_SEED={seed}");
    let began = Instant::now();
    let http = http_client();
    let connections = (0..scaled(10_000)).map(|n| {
        let dice = Dice(Random::new(seed.wrapping_add(n as u64)));
        post_nonsense(http.clone(), scene.mallory.clone(), dice)
    });
    let said: usize =
        futures_util::stream::iter(connections).buffer_unordered(8).collect::<Vec<_>>().await.iter().sum();
    println!("polling: {said} requests over {} connections in {:?}", scaled(10_000), began.elapsed());
    scene.nothing_has_come_of_it(0).await;
}

async fn post_nonsense(http: Client, mallory: Person, mut dice: Dice) -> usize {
    let valid = valid_packets(Protocol::SocketIo, &mallory);
    let endpoint = format!("{}/socket.io/?EIO=4&transport=polling", mallory.url);
    let open = http.get(&endpoint).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
    let open: Value = serde_json::from_str(&open[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    let url = format!("{endpoint}&sid={sid}");
    if dice.below(4) > 0 {
        let connect = format!("40{}", json!({"token": mallory.token}));
        http.post(&url).body(connect).send().await.unwrap().error_for_status().unwrap();
        while !http.get(&url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap().contains("40{") {}
    }
    let mut posted = 0;
    for _ in 0..=dice.below(PACKETS) {
        let mut packets = dice.packet(&valid);
        for _ in 0..dice.below(3) {
            packets.push(0x1e);
            packets.extend(dice.packet(&valid));
        }
        let request = if dice.below(5) == 0 {
            let mut query = format!("EIO=4&transport=polling&sid={}", &sid[1..]).into_bytes();
            for _ in 0..=dice.below(4) {
                dice.mutate(
                    &mut query,
                    &["EIO", "=", "&", "transport", "websocket", "polling", "sid", "%00", "%ff", "3", "4"],
                );
            }
            let method = dice.one_of(&[&Method::POST, &Method::GET, &Method::PUT, &Method::OPTIONS]).clone();
            http.request(method, format!("{}/socket.io/?{}", mallory.url, String::from_utf8_lossy(&query)))
        } else {
            http.post(&url)
        };
        let response = tokio::time::timeout(DEADLINE, request.body(packets).send()).await.expect("an answer").unwrap();
        assert!(response.status().as_u16() < 500, "{}", response.status());
        posted += 1;
    }
    // It says goodbye, if it is known still.
    http.post(&url).body("1").send().await.unwrap();
    posted
}
