//! Random histories in which everything happens that may, made by the rules themselves.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use domain::audit::{AuditCommand, AuditRead, AuditTrail, AuditedThing};
use domain::business::{Business, BusinessCommand};
use domain::call::{Call, CallCommand, CallType, StartCall};
use domain::delivery::{Delivered, DeliveryCommand, DeliveryCursors, HandOver};
use domain::file::{Carrier, File, FileCommand, UploadFile};
use domain::line::{Line, LineCommand, TakeLine};
use domain::login::{Login, LoginCommand};
use domain::message::{Message, MessageCommand, MessageKind, SendMessage};
use domain::reading::{ReadMessage, Reading, ReadingCommand};
use domain::session::{Audience, RevokeReason, Session, SessionCommand, StartSession};
use domain::super_admins::{SuperAdmins, SuperAdminsCommand};
use domain::user::{AvatarChange, ChangeUser, CreateUser, SetPassword, User, UserCommand};
use domain::{
    Avatar, BusinessId, BusinessName, CallId, ContentType, Decider, DomainEvent, EmailAddress, FileId, FileName,
    MessageId, MessageText, PersonName, Reason, Role, RoomId, SessionId, Timestamp, UserAgent, UserId,
};
use event_store::{Actor, Append, AppendError, Appended, EventStore, Expected, Metadata, StreamId, codec};
use futures_util::future::join_all;
use uuid::Uuid;

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

    fn register_business(&mut self) {
        let id = BusinessId(self.id());
        let name = BusinessName::parse(&format!("Business {}", self.random.below(1000))).unwrap();
        let at = self.now();
        begin(self, |world| &mut world.businesses, id.to_string(), id, BusinessCommand::Register { id, name, at });
    }

    fn change_business(&mut self) {
        let (at, n) = (self.now(), self.random.below(3));
        let name = BusinessName::parse(&format!("Business {}", self.random.below(1000))).unwrap();
        let command = match n {
            0 => BusinessCommand::Rename { name, at },
            1 => BusinessCommand::Suspend { at },
            _ => BusinessCommand::Reactivate { at },
        };
        go_on(self, |world| &mut world.businesses, command);
    }

    fn create_user(&mut self) {
        let business = self.random.index(self.businesses.all.len().min(3));
        let business = self.businesses.all[business].business;
        let (id, login, at) = (UserId(self.id()), self.random.number().to_string(), self.now());
        let reserve = LoginCommand::Reserve { business_id: business, user_id: id, at };
        begin(self, |world| &mut world.logins, format!("{login:0>64}"), business, reserve);
        let roles = [Role::BusinessUser, Role::BusinessUser, Role::BusinessAdmin, Role::BusinessAuditor];
        let create = CreateUser {
            id,
            business_id: business,
            email: EmailAddress::parse(&format!("Person.{login}@Example.com")).unwrap(),
            name: PersonName::parse(&format!("Pérson {}", self.random.below(1000))).unwrap(),
            avatar: (self.random.below(2) == 0).then(|| Avatar::parse("https://example.com/a.png").unwrap()),
            role: roles[self.random.index(roles.len())],
            password_hash: HASH.to_owned(),
            at,
        };
        // Nobody was faster, but somebody might have been.
        let is_abandoned = self.random.below(3) == 0 && self.users.all.len() >= PEOPLE;
        self.later.push(if is_abandoned { Later::Abandon(id, business) } else { Later::Create(Box::new(create)) });
    }

    fn change_user(&mut self) {
        let at = self.now();
        let name = PersonName::parse(&format!("Pérson {}", self.random.below(1000))).unwrap();
        let roles = [Role::BusinessUser, Role::BusinessAdmin, Role::BusinessAuditor];
        let role = roles[self.random.index(roles.len())];
        let change = |name, avatar, role| UserCommand::Change(ChangeUser { name, avatar, role, at });
        let command = match self.random.below(8) {
            0 => UserCommand::Suspend { by: UserId(Uuid::nil()), at },
            1 | 2 => UserCommand::Reactivate { at },
            3 => change(Some(name), AvatarChange::Unchanged, None),
            4 => change(None, AvatarChange::TakenAway, None),
            5 => change(None, AvatarChange::Replaced(Avatar::parse("https://example.com/b.png").unwrap()), Some(role)),
            6 => UserCommand::EndSessions { at },
            _ => UserCommand::SetPassword(SetPassword {
                password_hash: HASH.to_owned(),
                is_temporary: true,
                kept_session: None,
                proved_in: None,
                at,
            }),
        };
        go_on(self, |world| &mut world.users, command);
    }

    fn release(&mut self) {
        let (at, n) = (self.now(), self.random.index(self.logins.all.len()));
        let Some(user_id) = self.logins.all[n].state.holder() else { return };
        if self.random.below(20) == 0 {
            change(self, |world| &mut world.logins, n, LoginCommand::Release { user_id, at });
        }
    }

    fn start_session(&mut self) {
        let user = self.random.index(self.users.all.len());
        let (business_id, user_id) = (self.users.all[user].business, UserId(self.users.all[user].id.parse().unwrap()));
        let (id, at) = (SessionId(self.id()), self.now());
        let start = StartSession {
            id,
            user_id,
            business_id,
            audience: if self.random.below(2) == 0 { Audience::Admin } else { Audience::Messenger },
            epoch: 0,
            user_agent: UserAgent::tidied("Firefox"),
            expires_at: at.plus_ms(1_000_000_000),
            at,
        };
        begin(self, |world| &mut world.sessions, id.to_string(), business_id, SessionCommand::Start(start));
    }

    fn change_session(&mut self) {
        let (at, generation) = (self.now(), 1 + u32::try_from(self.random.below(2)).unwrap());
        let command = if self.random.below(3) == 0 {
            SessionCommand::Revoke { reason: RevokeReason::LoggedOut, at }
        } else {
            SessionCommand::Refresh { generation, expires_at: at.plus_ms(2_000_000_000), at }
        };
        go_on(self, |world| &mut world.sessions, command);
    }

    fn send_message(&mut self) {
        let Some((sender_id, recipient_id, business_id)) = self.two() else { return };
        let (id, content) = (MessageId(self.id()), MessageText::parse(&self.words()).unwrap());
        let attachments = self.attach(id, sender_id, recipient_id);
        let send = SendMessage {
            id,
            business_id,
            sender_id,
            recipient_id,
            content,
            kind: if attachments.is_empty() { MessageKind::Text } else { MessageKind::File },
            attachments,
            reply_to: None,
            fingerprint: (self.random.below(4) == 0).then(|| "5a".repeat(16)),
            at: self.now(),
        };
        self.later.push(Later::Send(Box::new(send)));
    }

    /// Gives a file of the sender's to a message that is about to be sent, now and then.
    fn attach(&mut self, message_id: MessageId, sender_id: UserId, recipient_id: UserId) -> Vec<FileId> {
        let at = self.now();
        let is_theirs = |file: &Thing<File>| {
            file.state.kept().is_some_and(|kept| kept.uploaded.uploader_id == sender_id && kept.carriers.is_empty())
        };
        let Some(n) = self.files.all.iter().rev().take(200).position(is_theirs) else { return vec![] };
        let n = self.files.all.len() - 1 - n;
        let id = self.files.all[n].id.parse().unwrap();
        let carrier = Carrier { message_id, sender_id, recipient_id };
        let attached = change(self, |world| &mut world.files, n, FileCommand::Attach { carrier, at });
        if attached { vec![id] } else { vec![] }
    }

    fn change_message(&mut self) {
        if self.messages.all.is_empty() {
            return;
        }
        let (at, mut n) = (self.now(), recent(&mut self.random, self.messages.all.len()));
        let carries =
            |message: &Thing<Message>| message.state.standing().is_some_and(|now| !now.sent.attachments.is_empty());
        if self.random.below(8) == 0 {
            // Few carry files.
            let latest = self.messages.all.len().saturating_sub(1000);
            n = self.messages.all[latest..].iter().rposition(carries).map_or(n, |place| latest + place);
        }
        let Some(sent) = self.messages.all[n].state.sent().cloned() else { return };
        let content = MessageText::parse(&self.words()).unwrap();
        let command = if self.random.below(3) == 0 {
            let reason = Some(Reason::parse("spam").unwrap());
            MessageCommand::Delete { by: sent.sender_id, reason, at }
        } else {
            MessageCommand::Edit { by: sent.sender_id, content, window_ms: i64::MAX / 2, at }
        };
        let is_deleted = matches!(command, MessageCommand::Delete { .. });
        if change(self, |world| &mut world.messages, n, command) && is_deleted {
            for file in sent.attachments {
                let file = self.files.places[&file.to_string()];
                let detach = FileCommand::Detach { message_id: sent.message_id, at };
                change(self, |world| &mut world.files, file, detach);
            }
        }
    }

    fn read(&mut self) {
        if self.messages.all.is_empty() {
            return;
        }
        let n = recent(&mut self.random, self.messages.all.len());
        let Some(sent) = self.messages.all[n].state.sent().cloned() else { return };
        let Some(message_position) = self.positions.get(&self.messages.all[n].id).copied() else { return };
        let read = ReadingCommand::Read(ReadMessage {
            conversation_id: sent.conversation_id,
            business_id: sent.business_id,
            reader_id: sent.recipient_id,
            sender_id: sent.sender_id,
            message_id: sent.message_id,
            message_position,
            at: self.now(),
        });
        let id = Reading::stream_id(sent.conversation_id, sent.recipient_id);
        begin_or_go_on(self, |world| &mut world.readings, id, sent.business_id, read);
    }

    fn deliver(&mut self) {
        if self.messages.all.is_empty() {
            return;
        }
        let n = recent(&mut self.random, self.messages.all.len());
        let Some(sent) = self.messages.all[n].state.sent().cloned() else { return };
        let Some(message_position) = self.positions.get(&self.messages.all[n].id).copied() else { return };
        let delivered = Delivered {
            conversation_id: sent.conversation_id,
            sender_id: sent.sender_id,
            message_id: sent.message_id,
            message_position,
        };
        let hand_over = DeliveryCommand::HandOver(HandOver {
            recipient_id: sent.recipient_id,
            business_id: sent.business_id,
            up_to: vec![delivered],
            at: self.now(),
        });
        let id = sent.recipient_id.to_string();
        begin_or_go_on(self, |world| &mut world.deliveries, id, sent.business_id, hand_over);
    }

    fn start_call(&mut self) {
        let Some((caller_id, receiver_id, business_id)) = self.two() else { return };
        let (id, at) = (CallId(self.id()), self.now());
        let start = StartCall {
            id,
            business_id,
            caller_id,
            receiver_id,
            call_type: if self.random.below(2) == 0 { CallType::Audio } else { CallType::Video },
            room_id: RoomId::parse("room_123").unwrap(),
            callee_is_busy: self.random.below(5) == 0,
            rings_until: at.plus_ms(45_000),
            at,
        };
        begin(self, |world| &mut world.calls, id.to_string(), business_id, CallCommand::Start(start));
    }

    fn change_call(&mut self) {
        if self.calls.all.is_empty() {
            return;
        }
        let (at, n) = (self.now(), recent(&mut self.random, self.calls.all.len()));
        let Some(call) = self.calls.all[n].state.started() else { return };
        let (caller, receiver, rings_until) = (call.parties.caller_id, call.parties.receiver_id, call.rings_until);
        let command = match self.random.below(8) {
            0..3 => CallCommand::Accept { by: receiver, at: call.started_at.plus_ms(1000) },
            3 => CallCommand::Reject { by: receiver, at: call.started_at.plus_ms(1000) },
            4 => CallCommand::End { by: caller, at },
            5 => CallCommand::End { by: receiver, at },
            6 => CallCommand::TimeOut { at: rings_until },
            _ => CallCommand::LoseConnection { at },
        };
        change(self, |world| &mut world.calls, n, command);
    }

    fn take_line(&mut self) {
        let Some((user_id, _, business_id)) = self.two() else { return };
        let over = match self.lines.places.get(&user_id.to_string()) {
            Some(place) => self.lines.all[*place].state.calls.iter().map(|(call, _)| *call).collect(),
            None => vec![],
        };
        let call_id = CallId(self.id());
        let take = TakeLine { user_id, business_id, call_id, must_be_free: true, over, at: self.now() };
        begin_or_go_on(self, |world| &mut world.lines, user_id.to_string(), business_id, LineCommand::Take(take));
    }

    fn upload(&mut self) {
        let Some((uploader_id, _, business_id)) = self.two() else { return };
        let id = FileId(self.id());
        let upload = UploadFile {
            id,
            business_id,
            uploader_id,
            name: FileName::tidied("nåme.txt"),
            size_bytes: self.random.below(50_000_000),
            content_type: ContentType::parse("text/plain").unwrap(),
            sha256: "ab".repeat(32),
            at: self.now(),
        };
        begin(self, |world| &mut world.files, id.to_string(), business_id, FileCommand::Upload(upload));
    }

    fn change_file(&mut self) {
        let at = self.now();
        go_on(self, |world| &mut world.files, FileCommand::Remove { idle_since: at, at });
    }

    fn let_go(&mut self) {
        let (user_id, other, at) = (UserId(self.id()), UserId(self.id()), self.now());
        let let_go = SuperAdminsCommand::LetGo { user_id, others: vec![other], at };
        begin_or_go_on(self, |world| &mut world.super_admins, SuperAdmins::stream_id(), BusinessId::SYSTEM, let_go);
    }

    fn note_reading(&mut self) {
        let business = self.businesses.all[self.random.index(self.businesses.all.len())].business;
        let read = AuditRead {
            reader_id: None,
            business_id: Some(business),
            what: AuditedThing::Export,
            query: Some("type=UserCreated".to_owned()),
            read_at: self.now(),
        };
        let id = self.id().to_string();
        begin(self, |world| &mut world.audits, id, business, AuditCommand::Note(read));
    }
}

/// Rather one of the latest than any.
fn recent(random: &mut Random, len: usize) -> usize {
    if random.below(4) == 0 { random.index(len) } else { len - 1 - random.index(len.min(300)) }
}

/// Decides, and has what was decided appended with the round. Whether anything was.
fn decide<D: Decider>(world: &mut Invented, thing: &mut Thing<D>, command: D::Command) -> bool {
    let stream = StreamId::new(D::CATEGORY, &thing.id);
    if world.busy.contains(&stream) || world.taken_over.contains(&stream) {
        return false;
    }
    let Ok(events) = thing.state.decide(command) else { return false };
    if events.is_empty() {
        return false;
    }
    let actor = Actor {
        user: (world.random.below(4) > 0).then(|| world.id()),
        role: Some(Cow::Borrowed("BUSINESS_USER")),
        session: None,
    };
    let metadata = Metadata {
        business_id: thing.business.0,
        actor,
        correlation_id: world.id(),
        causation_id: (world.random.below(4) == 0).then(|| world.id()),
    };
    let encode = |event: &D::Event| codec::encode(world.id(), event.event_type(), event.schema_version(), event);
    let encoded = events.iter().map(encode).collect();
    let expected = Expected::after(thing.version);
    world.round.push(Append { stream: stream.clone(), expected, metadata, events: encoded });
    world.busy.insert(stream);
    for event in &events {
        thing.state.evolve(event);
        thing.version += 1;
    }
    true
}

fn begin_in<D: Decider>(
    things: &mut Things<D>,
    world: &mut Invented,
    id: String,
    business: BusinessId,
    command: D::Command,
) {
    let mut thing = Thing { id, business, state: D::default(), version: 0 };
    if decide(world, &mut thing, command) {
        things.places.insert(thing.id.clone(), things.all.len());
        things.all.push(thing);
    }
}

/// Begins a new thing.
fn begin<D: Decider>(
    world: &mut Invented,
    things: fn(&mut Invented) -> &mut Things<D>,
    id: String,
    business: BusinessId,
    command: D::Command,
) {
    let mut all = std::mem::take(things(world));
    begin_in(&mut all, world, id, business, command);
    *things(world) = all;
}

/// Something happens to the thing at this place. Whether it does.
fn change<D: Decider>(
    world: &mut Invented,
    things: fn(&mut Invented) -> &mut Things<D>,
    n: usize,
    command: D::Command,
) -> bool {
    let mut all = std::mem::take(things(world));
    let changed = decide(world, &mut all.all[n], command);
    *things(world) = all;
    changed
}

/// Something happens to any of the things, if there is one.
fn go_on<D: Decider>(world: &mut Invented, things: fn(&mut Invented) -> &mut Things<D>, command: D::Command) {
    let len = things(world).all.len();
    if len > 0 {
        let n = world.random.index(len);
        change(world, things, n, command);
    }
}

/// Something happens to the thing of this id, which may be new.
fn begin_or_go_on<D: Decider>(
    world: &mut Invented,
    things: fn(&mut Invented) -> &mut Things<D>,
    id: String,
    business: BusinessId,
    command: D::Command,
) {
    match things(world).places.get(&id).copied() {
        Some(n) => drop(change(world, things, n, command)),
        None => begin(world, things, id, business, command),
    }
}
