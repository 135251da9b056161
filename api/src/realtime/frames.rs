//! Queue of a stream's writer. It is bounded like a
//! channel, and by bytes; but it takes no memory while it is empty, which a connection's is nearly always.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::closing::Closing;
use super::outgoing::Outgoing;

/// Item that a stream is to write.
#[derive(Debug)]
pub(super) enum Frame {
    Event(Outgoing),
    /// The answer to something that the client has said.
    Answer(String),
    /// The last word.
    Close(Closing),
}

impl Frame {
    /// What it counts. One that is longer than all that may wait, such as who is online in a large business, leaves half of it to
    /// others: what follows it would otherwise be refused, and it sent again.
    fn bytes(&self) -> usize {
        match self {
            Self::Event(event) => event.bytes().min(MAX_WAITING_BYTES / 2),
            Self::Answer(_) | Self::Close(_) => 0,
        }
    }
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Frames that wait for a stream to be written.
#[derive(Clone)]
pub(super) struct Frames(Arc<Queue>);

struct Queue {
    waiting: Mutex<Waiting>,
    /// Something waits, or there is room again.
    changed: Notify,
    room: usize,
}

/// Maximum bytes of events that may wait for a stream to be written.
pub(super) const MAX_WAITING_BYTES: usize = 512 * 1024;

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    /// Those of them that are no answers, and their bytes.
    events: usize,
    event_bytes: usize,
    /// Answers that wait, or are promised. They have room of their own.
    answers: usize,
    is_over: bool,
}

/// Room for an answer, taken until it is given or the promise is dropped.
pub(super) struct Promise(Frames);

impl Frames {
    /// None yet; there is room for so many events, and as many answers.
    pub(super) fn new(room: usize) -> Self {
        Self(Arc::new(Queue { waiting: Mutex::default(), changed: Notify::new(), room }))
    }

    /// Has a frame written after those that wait.
    pub(super) fn push(&self, frame: Frame) -> Result<(), Full> {
        {
            let mut waiting = self.waiting();
            let bytes = frame.bytes();
            let is_too_much = waiting.events > 0 && waiting.event_bytes + bytes > MAX_WAITING_BYTES;
            if waiting.is_over || waiting.events >= self.0.room || is_too_much {
                return Err(Full);
            }
            waiting.events += 1;
            waiting.event_bytes += bytes;
            waiting.frames.push_back(frame);
        }
        self.0.changed.notify_one();
        Ok(())
    }

    /// Room for one more answer, if there is any.
    pub(super) fn promise(&self) -> Option<Promise> {
        let mut waiting = self.waiting();
        let has_room = waiting.answers < self.0.room;
        waiting.answers += usize::from(has_room);
        has_room.then(|| Promise(self.clone()))
    }

    /// The next frame; none when it isn't there yet but there may be room for an answer again. For whoever writes.
    pub(super) async fn next(&self) -> Option<Frame> {
        if let Some(frame) = self.take() {
            return Some(frame);
        }
        self.0.changed.notified().await;
        self.take()
    }

    /// The next frame, if it is there.
    pub(super) fn take(&self) -> Option<Frame> {
        let mut waiting = self.waiting();
        let frame = waiting.frames.pop_front();
        if waiting.frames.is_empty() {
            waiting.frames = VecDeque::new();
        }
        match &frame {
            Some(Frame::Answer(_)) => waiting.answers -= 1,
            Some(event @ (Frame::Event(_) | Frame::Close(_))) => {
                waiting.events -= 1;
                waiting.event_bytes -= event.bytes();
            }
            None => {}
        }
        frame
    }

    /// Ends the queue.
    pub(super) fn end(&self) {
        self.waiting().is_over = true;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Promise {
    /// Gives the answer.
    pub(super) fn keep(self, answer: String) {
        let mut waiting = self.0.waiting();
        // It is taken off again when this is dropped.
        waiting.answers += 1;
        waiting.frames.push_back(Frame::Answer(answer));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.waiting().answers -= 1;
        self.0.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn event() -> Frame {
        Frame::Event(Outgoing::passing("user:online", "id"))
    }

    #[tokio::test]
    async fn what_is_pushed_comes_out_in_order_and_whoever_waits_is_woken() {
        let frames = Frames::new(2);
        let waiting = frames.clone();
        let waiting = tokio::spawn(async move { waiting.next().await });
        tokio::task::yield_now().await;
        frames.push(event()).unwrap();
        assert!(matches!(waiting.await.unwrap(), Some(Frame::Event(_))));
        frames.push(event()).unwrap();
        frames.push(Frame::Close(Closing::LoggedOut)).unwrap();
        assert_eq!(frames.push(event()), Err(Full));
        assert!(matches!(frames.take(), Some(Frame::Event(_))));
        assert!(matches!(frames.take(), Some(Frame::Close(_))));
        assert!(frames.take().is_none());
        assert_eq!(frames.waiting().frames.capacity(), 0, "it takes no memory");
    }

    #[test]
    fn bytes_are_counted_and_not_only_frames() {
        let frames = Frames::new(100);
        let large = || Frame::Event(Outgoing::passing("x", "y".repeat(MAX_WAITING_BYTES / 4)));
        for _ in 0..3 {
            frames.push(large()).unwrap();
        }
        assert_eq!(frames.push(large()), Err(Full));
        while frames.take().is_some() {}
        let larger_than_all = Frame::Event(Outgoing::passing("x", "y".repeat(MAX_WAITING_BYTES)));
        frames.push(larger_than_all).unwrap();
        frames.push(large()).unwrap();
        assert_eq!(frames.push(large()), Err(Full), "it counts half of all that may wait");
    }

    #[tokio::test]
    async fn there_are_no_more_answers_than_were_promised() {
        let frames = Frames::new(2);
        let (one, other) = (frames.promise().unwrap(), frames.promise().unwrap());
        assert!(frames.promise().is_none());
        one.keep("yes".to_owned());
        assert!(frames.promise().is_none(), "it waits to be written");
        frames.push(event()).unwrap();
        frames.push(event()).unwrap();
        assert_eq!(frames.push(event()), Err(Full), "answers have room of their own");
        assert!(matches!(frames.next().await, Some(Frame::Answer(_))));
        assert!(frames.promise().is_some());
        drop(other);
        while frames.take().is_some() {}
        assert!(frames.next().now_or_never().expect("a promise that is dropped is noticed").is_none());
    }

    #[test]
    fn nothing_is_taken_once_nobody_writes() {
        let frames = Frames::new(2);
        frames.end();
        assert_eq!(frames.push(event()), Err(Full));
    }
}
