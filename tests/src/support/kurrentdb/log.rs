//! The log of the stand-in.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

/// The first event of a real log isn't at its beginning either.
const FIRST_POSITION: u64 = 1337;
/// What a record takes up besides what is in it.
const OVERHEAD: usize = 90;

/// An event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) stream: String,
    pub(crate) revision: u64,
    pub(crate) position: u64,
    /// Another place only for what was written in a transaction, in former times.
    pub(crate) prepare_position: u64,
    /// In hundreds of nanoseconds since 1970.
    pub(crate) created: i64,
    pub(crate) event_type: String,
    pub(crate) content_type: String,
    pub(crate) custom_metadata: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

pub(super) struct Log {
    contents: Mutex<Contents>,
    recognises_retries: AtomicBool,
    /// How many records there are.
    len: watch::Sender<usize>,
}

#[derive(Default)]
struct Contents {
    records: Vec<Record>,
    /// Index into `records` of each event of a stream.
    streams: HashMap<String, Vec<usize>>,
    end: u64,
}

/// An append that has taken place.
pub(super) struct Written {
    pub(super) revision: u64,
    /// None if it was a retry.
    pub(super) position: Option<u64>,
}

impl Contents {
    fn push(&mut self, record: Record) -> &Record {
        let now = i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 100).unwrap();
        let stream = self.streams.entry(record.stream.clone()).or_default();
        let size = OVERHEAD + record.stream.len() + record.custom_metadata.len() + record.data.len();
        let position = self.end;
        self.end += size as u64;
        stream.push(self.records.len());
        self.records.push(Record {
            revision: stream.len() as u64 - 1,
            position,
            prepare_position: position,
            created: self.records.last().map_or(now, |last| last.created.max(now)),
            ..record
        });
        self.records.last().unwrap()
    }

    /// What others write into the same log: the server itself, and somebody else.
    fn push_noise(&mut self) {
        for (stream, event_type) in [("$stats-127.0.0.1:2113", "$statsCollected"), ("orders-1", "OrderPlaced")] {
            self.push(Record::of_others(stream, event_type));
        }
    }

    fn is_retry(&self, stream: &str, first: usize, records: &[Record]) -> bool {
        let there = self.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        let there = there.get(first..).unwrap_or_default();
        there.len() >= records.len() && there.iter().zip(records).all(|(at, record)| self.records[*at].id == record.id)
    }
}

impl Record {
    fn of_others(stream: &str, event_type: &str) -> Self {
        Self {
            id: Uuid::now_v7(),
            stream: stream.to_owned(),
            event_type: event_type.to_owned(),
            content_type: "application/json".to_owned(),
            data: b"{}".to_vec(),
            ..Self::default()
        }
    }
}

impl Log {
    pub(super) fn new() -> Self {
        let mut contents = Contents { end: FIRST_POSITION, ..Contents::default() };
        contents.push_noise();
        let len = watch::Sender::new(contents.records.len());
        Self { contents: contents.into(), recognises_retries: AtomicBool::new(false), len }
    }

    pub(super) fn recognise_retries(&self) {
        self.recognises_retries.store(true, Ordering::SeqCst);
    }

    /// Appends to a stream that has so many events.
    ///
    /// # Errors
    /// How many it has, if that is another number.
    pub(super) fn append(&self, stream: &str, expected: u64, records: Vec<Record>) -> Result<Written, u64> {
        let mut contents = self.contents.lock().unwrap();
        let actual = contents.streams.get(stream).map_or(0, Vec::len) as u64;
        if actual != expected {
            let first = usize::try_from(expected).unwrap();
            if self.recognises_retries.load(Ordering::SeqCst) && contents.is_retry(stream, first, &records) {
                return Ok(Written { revision: expected + records.len() as u64 - 1, position: None });
            }
            return Err(actual);
        }
        let mut written = Written { revision: 0, position: None };
        for record in records {
            let record = contents.push(record);
            written = Written { revision: record.revision, position: Some(record.position) };
        }
        contents.push_noise();
        self.len.send_replace(contents.records.len());
        Ok(written)
    }

    pub(super) fn write(&self, stream: &str, event_type: &str) {
        let mut contents = self.contents.lock().unwrap();
        contents.push(Record::of_others(stream, event_type));
        self.len.send_replace(contents.records.len());
    }

    pub(super) fn put_into_a_transaction(&self, stream: &str) {
        let mut contents = self.contents.lock().unwrap();
        for record in contents.records.iter_mut().filter(|record| record.stream == stream) {
            record.prepare_position -= 1;
        }
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.contents.lock().unwrap().records.clone()
    }

    pub(super) fn get(&self, at: usize) -> Option<Record> {
        self.contents.lock().unwrap().records.get(at).cloned()
    }

    /// Whether there is a record at a position, or it is the place before the first. The real server goes nowhere else.
    pub(super) fn is_place(&self, position: u64) -> bool {
        position == 0
            || self.contents.lock().unwrap().records.binary_search_by_key(&position, |record| record.position).is_ok()
    }

    /// Index of the first record at or after a position.
    pub(super) fn index_of(&self, position: u64) -> usize {
        self.contents.lock().unwrap().records.partition_point(|record| record.position < position)
    }

    /// The events of a stream from a revision on; none if there is no such stream.
    pub(super) fn stream(&self, stream: &str, from: u64, count: usize) -> Option<Vec<Record>> {
        let contents = self.contents.lock().unwrap();
        let from = usize::try_from(from).unwrap();
        let of_stream = contents.streams.get(stream)?.iter().skip(from).take(count);
        Some(of_stream.map(|at| contents.records[*at].clone()).collect())
    }

    /// The records from an index on that pass, or those before it, backwards.
    pub(super) fn scan(
        &self,
        from: usize,
        backwards: bool,
        count: usize,
        passes: impl Fn(&Record) -> bool,
    ) -> Vec<Record> {
        let contents = self.contents.lock().unwrap();
        let all = &contents.records;
        let records: Box<dyn Iterator<Item = &Record>> =
            if backwards { Box::new(all[..from].iter().rev()) } else { Box::new(all[from..].iter()) };
        records.filter(|record| passes(record)).take(count).cloned().collect()
    }

    /// Tells how many records there are, whenever there are more.
    pub(super) fn len(&self) -> watch::Receiver<usize> {
        self.len.subscribe()
    }
}
