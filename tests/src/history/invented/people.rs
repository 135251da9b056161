//! What happens to businesses, people and their sessions, and what auditors do.

use domain::audit::{AuditCommand, AuditRead, AuditedThing};
use domain::business::BusinessCommand;
use domain::login::LoginCommand;
use domain::session::{Audience, RevokeReason, SessionCommand, StartSession};
use domain::super_admins::{SuperAdmins, SuperAdminsCommand};
use domain::user::{AvatarChange, ChangeUser, CreateUser, SetPassword, UserCommand};
use domain::{Avatar, BusinessId, DisplayName, EmailAddress, Role, SessionId, UserAgent, UserId};
use uuid::Uuid;

use super::deciding::{begin, begin_or_go_on, change, go_on};
use super::{HASH, Invented, Later, PEOPLE};

impl Invented {
    pub(super) fn register_business(&mut self) {
        let id = BusinessId(self.id());
        let name = DisplayName::parse(&format!("Business {}", self.random.below(1000))).unwrap();
        let at = self.now();
        begin(self, |world| &mut world.businesses, id.to_string(), id, BusinessCommand::Register { id, name, at });
    }

    pub(super) fn change_business(&mut self) {
        let (at, n) = (self.now(), self.random.below(3));
        let name = DisplayName::parse(&format!("Business {}", self.random.below(1000))).unwrap();
        let command = match n {
            0 => BusinessCommand::Rename { name, at },
            1 => BusinessCommand::Suspend { at },
            _ => BusinessCommand::Reactivate { at },
        };
        go_on(self, |world| &mut world.businesses, command);
    }

    pub(super) fn create_user(&mut self) {
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
            name: DisplayName::parse(&format!("Pérson {}", self.random.below(1000))).unwrap(),
            avatar: (self.random.below(2) == 0).then(|| Avatar::parse("https://example.com/a.png").unwrap()),
            role: roles[self.random.index(roles.len())],
            password_hash: HASH.to_owned(),
            at,
        };
        // Nobody was faster, but somebody might have been.
        let is_abandoned = self.random.below(3) == 0 && self.users.all.len() >= PEOPLE;
        self.later.push(if is_abandoned { Later::Abandon(id, business) } else { Later::Create(Box::new(create)) });
    }

    pub(super) fn change_user(&mut self) {
        let at = self.now();
        let name = DisplayName::parse(&format!("Pérson {}", self.random.below(1000))).unwrap();
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

    pub(super) fn release(&mut self) {
        let (at, n) = (self.now(), self.random.index(self.logins.all.len()));
        let Some(user_id) = self.logins.all[n].state.holder() else { return };
        if self.random.below(20) == 0 {
            change(self, |world| &mut world.logins, n, LoginCommand::Release { user_id, at });
        }
    }

    pub(super) fn start_session(&mut self) {
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

    pub(super) fn change_session(&mut self) {
        let (at, generation) = (self.now(), 1 + u32::try_from(self.random.below(2)).unwrap());
        let command = if self.random.below(3) == 0 {
            SessionCommand::Revoke { reason: RevokeReason::LoggedOut, at }
        } else {
            SessionCommand::Refresh { generation, expires_at: at.plus_ms(2_000_000_000), at }
        };
        go_on(self, |world| &mut world.sessions, command);
    }

    pub(super) fn let_go(&mut self) {
        let (user_id, other, at) = (UserId(self.id()), UserId(self.id()), self.now());
        let let_go = SuperAdminsCommand::LetGo { user_id, others: vec![other], at };
        begin_or_go_on(self, |world| &mut world.super_admins, SuperAdmins::stream_id(), BusinessId::SYSTEM, let_go);
    }

    pub(super) fn note_reading(&mut self) {
        let business = self.businesses.all[self.random.index(self.businesses.all.len())].business;
        let read = AuditRead {
            reader_id: None,
            business_id: Some(business),
            what: AuditedThing::Export,
            query: Some("type=UserCreated".to_owned()),
            reads: 1,
            first_read_at: self.now(),
            last_read_at: self.now(),
        };
        let id = self.id().to_string();
        begin(self, |world| &mut world.audits, id, business, AuditCommand::Note(read));
    }
}
