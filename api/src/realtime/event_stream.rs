//! Server-sent events: `GET /api/messenger/events`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use poem::http::header;
use poem::{Body, Response};
use tokio::time::Interval;
use tokio_util::sync::DropGuard;

use super::Shared;
use super::frames::{Frame, Frames};
use super::opening::{Listed, Opened};
use super::stream::Cutter;

/// Interval of comments that keep the stream alive. The feed's position comes as an event.
const COMMENT: Duration = Duration::from_secs(15);

/// Opens a stream of events.
pub(super) async fn open(shared: &Arc<Shared>, opened: Opened, cutter: Cutter) -> Response {
    let Opened { since, listed, .. } = opened;
    let (frames, connection) = (listed.frames.clone(), listed.connection.clone());
    let mut comments = tokio::time::interval(COMMENT);
    comments.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let writing =
        Writing { comments, is_over: false, _listed: listed, frames, _cut_with_it: cutter.clone().drop_guard() };
    shared.welcome(connection, since).await;
    let body = stream::unfold(writing, move |mut writing| {
        let cutter = cutter.clone();
        async move {
            let chunk = tokio::select! {
                chunk = writing.next() => chunk?,
                () = cutter.cancelled() => return None,
            };
            Some((Ok::<_, std::io::Error>(chunk), writing))
        }
    });
    Response::builder()
        .content_type("text/event-stream")
        .header(header::CACHE_CONTROL, "no-store")
        // Proxies that collect what they pass on would keep events back.
        .header("x-accel-buffering", "no")
        .body(Body::from_bytes_stream(body))
}

struct Writing {
    frames: Frames,
    comments: Interval,
    is_over: bool,
    _listed: Listed,
    _cut_with_it: DropGuard,
}

impl Writing {
    /// The next piece of the stream; none when it is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        loop {
            let text = tokio::select! {
                frame = self.frames.next() => match frame {
                    Some(Frame::Event(event)) => event.server_sent(),
                    Some(Frame::Close(why)) => {
                        self.is_over = true;
                        let body = serde_json::to_string(&why.body()).unwrap_or_default();
                        format!("event: error\ndata: {body}\n\n")
                    }
                    // Over this transport clients say nothing.
                    Some(Frame::Answer(_)) | None => continue,
                },
                // The first comes at once: the client learns that the stream is open.
                _ = self.comments.tick() => ":\n\n".to_owned(),
            };
            return Some(text.into());
        }
    }
}
