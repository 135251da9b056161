//! Packets on their way to a client over Socket.IO.
//!
//! The library has a channel of its own for each connection, which is bounded by packets and takes its heartbeats too: a heartbeat
//! that finds it full ends the connection. So the channel is short, one place of it is always left free, and what doesn't fit waits
//! here, bounded by bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engineioxide::{DisconnectReason, Str};

use super::EngineSocket;
use crate::error::ErrorBody;
use crate::realtime::frames::{Full, MAX_WAITING_BYTES};

/// Places of the library's channel.
pub(super) const CHANNEL_PACKETS: usize = 16;
/// Packets that may wait besides.
const WAITING_PACKETS: usize = 240;
/// First and maximum pause before looking again for room in the channel: the library does not signal it.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Packets that wait for one connection.
pub(in crate::realtime) struct Outbox {
    socket: Arc<EngineSocket>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    packets: VecDeque<Str>,
    bytes: usize,
    /// True while a task moves packets on.
    is_moving: bool,
}

impl Outbox {
    pub(super) fn of(socket: Arc<EngineSocket>) -> Arc<Self> {
        Arc::new(Self { socket, waiting: Mutex::default() })
    }

    /// Has a packet sent after those that wait.
    pub(in crate::realtime) fn push(self: &Arc<Self>, packet: String) -> Result<(), Full> {
        let packet = Str::from(packet);
        let mut waiting = self.waiting();
        let packet = if waiting.packets.is_empty() {
            match self.send(packet)? {
                None => return Ok(()),
                Some(packet) => packet,
            }
        } else {
            packet
        };
        let is_too_much = !waiting.packets.is_empty() && waiting.bytes + packet.len() > MAX_WAITING_BYTES;
        if waiting.packets.len() >= WAITING_PACKETS || is_too_much {
            return Err(Full);
        }
        waiting.bytes += packet.len();
        waiting.packets.push_back(packet);
        if !std::mem::replace(&mut waiting.is_moving, true) {
            tokio::spawn(self.clone().move_on());
        }
        Ok(())
    }

    /// Tells the client why its connection ends, and that it does.
    pub(in crate::realtime) fn say_farewell(self: &Arc<Self>, why: &ErrorBody) -> Result<(), Full> {
        let why = serde_json::to_string(why).unwrap_or_default();
        self.push(format!("2[\"error\",{why}]"))?;
        self.push("1".to_owned())
    }

    pub(in crate::realtime) fn id(&self) -> String {
        self.socket.id.to_string()
    }

    pub(in crate::realtime) fn is_closed(&self) -> bool {
        self.socket.is_closed()
    }

    /// Ends the connection.
    pub(in crate::realtime) fn close(&self) {
        self.socket.close(DisconnectReason::TransportClose);
    }

    /// Puts a packet into the channel, if that leaves a place for a heartbeat; otherwise the packet comes back.
    fn send(&self, packet: Str) -> Result<Option<Str>, Full> {
        if self.socket.is_closed() {
            return Err(Full);
        }
        let Ok(_for_a_heartbeat) = self.socket.reserve() else { return Ok(Some(packet)) };
        let Ok(place) = self.socket.reserve() else { return Ok(Some(packet)) };
        place.emit(packet);
        Ok(None)
    }

    /// Moves what waits into the channel, as it has room.
    async fn move_on(self: Arc<Self>) {
        let mut pause = LOOK_AGAIN.0;
        loop {
            tokio::time::sleep(pause).await;
            let mut waiting = self.waiting();
            let before = waiting.packets.len();
            while let Some(packet) = waiting.packets.pop_front() {
                let bytes = packet.len();
                match self.send(packet) {
                    Ok(None) => waiting.bytes -= bytes,
                    Ok(Some(packet)) => {
                        waiting.packets.push_front(packet);
                        break;
                    }
                    Err(Full) => *waiting = Waiting { is_moving: true, ..Waiting::default() },
                }
            }
            if waiting.packets.is_empty() {
                *waiting = Waiting::default();
                return;
            }
            pause = if waiting.packets.len() < before { LOOK_AGAIN.0 } else { (pause * 2).min(LOOK_AGAIN.1) };
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
