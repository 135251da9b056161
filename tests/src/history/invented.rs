//! Random histories in which everything happens that may, made by the rules themselves.

mod calls;
mod deciding;
mod messages;
mod people;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use domain::audit::AuditTrail;
use domain::business::Business;
use domain::call::Call;
use domain::delivery::DeliveryCursors;
use domain::file::File;
use domain::line::Line;
use domain::login::Login;
use domain::message::{Message, MessageCommand, SendMessage};
use domain::reading::Reading;
use domain::session::Session;
use domain::super_admins::SuperAdmins;
use domain::user::{CreateUser, User, UserCommand};
use domain::{BusinessId, Decider, Timestamp, UserId};
use event_store::{Append, AppendError, Appended, EventStore, StreamId};
use futures_util::future::join_all;
use uuid::Uuid;

use self::deciding::{begin, begin_in};
use crate::support::Random;

/// Things of one kind, in the order in which they began.
struct Things<D> {
    all: Vec<Thing<D>>,
    /// The place of each, by its id.
    places: HashMap<String, usize>,
}

/// A stream, as far as it has been written.
struct Thing<D> {
    id: String,
    business: BusinessId,
    state: D,
    version: u64,
}

impl<D> Default for Things<D> {
    fn default() -> Self {
        Self { all: vec![], places: HashMap::new() }
    }
}

/// A world that is made up as it goes.
pub(crate) struct Invented {
    random: Random,
    now_ms: i64,
    businesses: Things<Business>,
    logins: Things<Login>,
    users: Things<User>,
    sessions: Things<Session>,
    messages: Things<Message>,
    readings: Things<Reading>,
    deliveries: Things<DeliveryCursors>,
    calls: Things<Call>,
    lines: Things<Line>,
    files: Things<File>,
    super_admins: Things<SuperAdmins>,
    audits: Things<AuditTrail>,
    /// Where each message stands, by its id.
    positions: BTreeMap<String, u64>,
    /// Streams that are being written to: each is written to once a round.
    busy: HashSet<StreamId>,
    round: Vec<Append>,
    /// What happens in the next round, after what it depends on.
    later: Vec<Later>,
    /// Streams that a server has gone on with: what we know of them isn't so any more.
    taken_over: HashSet<StreamId>,
}

/// Something that comes after something else.
enum Later {
    Create(Box<CreateUser>),
    Abandon(UserId, BusinessId),
    Send(Box<SendMessage>),
}

const PEOPLE: usize = 60;
const HASH: &str = "$argon2id$secret-hash";

impl Invented {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            now_ms: 1_700_000_000_000,
            businesses: Things::default(),
            logins: Things::default(),
            users: Things::default(),
            sessions: Things::default(),
            messages: Things::default(),
            readings: Things::default(),
            deliveries: Things::default(),
            calls: Things::default(),
            lines: Things::default(),
            files: Things::default(),
            super_admins: Things::default(),
            audits: Things::default(),
            positions: BTreeMap::new(),
            busy: HashSet::new(),
            round: vec![],
            later: vec![],
            taken_over: HashSet::new(),
        }
    }

    /// Has so many events happen, `at_once` at the same time. Returns how many there are then.
    pub(crate) async fn happen(&mut self, store: &Arc<dyn EventStore>, events: usize, at_once: usize) -> usize {
        let mut happened = 0;
        while happened < events {
            let wanted = at_once.min(events - happened);
            for later in std::mem::take(&mut self.later) {
                self.what_was_due_happens(later);
            }
            for _ in 0..wanted * 20 {
                if self.round.len() >= wanted {
                    break;
                }
                self.something_happens();
            }
            self.busy.clear();
            let round = std::mem::take(&mut self.round);
            happened += round.iter().map(|append| append.events.len()).sum::<usize>();
            let streams: Vec<StreamId> = round.iter().map(|append| append.stream.clone()).collect();
            let outcomes = join_all(round.into_iter().map(|append| store.append(append))).await;
            for (stream, outcome) in streams.into_iter().zip(outcomes) {
                match outcome {
                    Ok(Appended { position, stream_version: 1 }) if stream.category() == Message::CATEGORY => {
                        self.positions.insert(stream.id().to_owned(), position);
                    }
                    Ok(_) => {}
                    Err(AppendError::Conflict(_)) => drop(self.taken_over.insert(stream)),
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
        happened
    }

    fn something_happens(&mut self) {
        self.now_ms += 1 + i64::try_from(self.random.below(400)).unwrap();
        if self.businesses.all.len() < 2 || self.random.below(2000) == 0 {
            return self.register_business();
        }
        if self.users.all.len() < PEOPLE || self.random.below(self.users.all.len() as u64 * 3) == 0 {
            return self.create_user();
        }
        match self.random.below(100) {
            0..1 => self.change_business(),
            1..4 => self.change_user(),
            4..6 => self.release(),
            6..8 => self.start_session(),
            8..11 => self.change_session(),
            11..50 => self.send_message(),
            50..56 => self.change_message(),
            56..72 => self.read(),
            72..82 => self.deliver(),
            82..86 => self.start_call(),
            86..92 => self.change_call(),
            92..93 => self.take_line(),
            93..95 => self.upload(),
            95..97 => self.change_file(),
            97..98 => self.let_go(),
            _ => self.note_reading(),
        }
    }

    fn what_was_due_happens(&mut self, later: Later) {
        match later {
            Later::Create(create) => {
                let (id, business) = (create.id.to_string(), create.business_id);
                begin(self, |world| &mut world.users, id, business, UserCommand::Create(*create));
            }
            Later::Abandon(id, business) => {
                let abandon = UserCommand::Abandon { at: self.now() };
                begin_in(&mut Things::<User>::default(), self, id.to_string(), business, abandon);
            }
            Later::Send(send) => {
                let (id, business) = (send.id.to_string(), send.business_id);
                begin(self, |world| &mut world.messages, id, business, MessageCommand::Send(*send));
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.now_ms)
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.random.number(), self.random.number())
    }

    fn words(&mut self) -> String {
        const WORDS: [&str; 8] = ["hello", "wörld", "it's", "\"quoted\"", "snow ☃", "a\\b", "line\nbreak", "100 %"];
        (0..=self.random.below(4)).map(|_| WORDS[self.random.index(WORDS.len())]).collect::<Vec<_>>().join(" ")
    }

    /// Two people of one business.
    fn two(&mut self) -> Option<(UserId, UserId, BusinessId)> {
        let (one, other) = (self.random.index(self.users.all.len()), self.random.index(self.users.all.len()));
        let business = self.users.all[one].business;
        if one == other || self.users.all[other].business != business {
            return None;
        }
        let id = |n: usize| UserId(self.users.all[n].id.parse().unwrap());
        Some((id(one), id(other), business))
    }
}
