//! The rules of an account, one by one.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::given;

const ID: UserId = UserId(Uuid::from_u128(7));
const ADMIN: UserId = UserId(Uuid::from_u128(8));
const BUSINESS: BusinessId = BusinessId(Uuid::from_u128(1));

fn at(s: i64) -> Timestamp {
    Timestamp::from_unix_ms(s * 1000)
}

fn create_as(role: Role, business_id: BusinessId) -> UserCommand {
    UserCommand::Create(CreateUser {
        id: ID,
        business_id,
        email: EmailAddress::parse("jane@business.com").unwrap(),
        name: DisplayName::parse("Jane Smith").unwrap(),
        avatar: None,
        role,
        password_hash: "$argon2id$…".into(),
        at: at(0),
    })
}

fn created() -> UserEvent {
    UserEvent::Created(UserCreated {
        user_id: ID,
        business_id: BUSINESS,
        email: Personal::of(ID, "jane@business.com".into()),
        name: Personal::of(ID, "Jane Smith".into()),
        avatar: None,
        role: Role::BusinessUser,
        password_hash: Personal::of(ID, "$argon2id$…".into()),
        created_at: at(0),
    })
}

fn abandoned() -> UserEvent {
    UserEvent::Abandoned(UserAbandoned { abandoned_at: at(1) })
}

fn suspended() -> UserEvent {
    UserEvent::Suspended(UserSuspended { suspended_at: at(1) })
}

fn reactivated() -> UserEvent {
    UserEvent::Reactivated(UserReactivated { reactivated_at: at(2) })
}

fn create() -> UserCommand {
    create_as(Role::BusinessUser, BUSINESS)
}

fn suspend() -> UserCommand {
    UserCommand::Suspend { by: ADMIN, at: at(1) }
}

fn reactivate() -> UserCommand {
    UserCommand::Reactivate { at: at(2) }
}

fn renamed(name: &str) -> UserEvent {
    UserEvent::Renamed(UserRenamed { name: Personal::of(ID, name.to_owned()), renamed_at: at(3) })
}

fn promoted(role: Role) -> UserEvent {
    UserEvent::RoleChanged(UserRoleChanged { role, changed_at: at(3) })
}

fn pictured(avatar: Option<&str>) -> UserEvent {
    let avatar = avatar.map(|avatar| Personal::of(ID, avatar.to_owned()));
    UserEvent::AvatarChanged(UserAvatarChanged { avatar, changed_at: at(3) })
}

fn change() -> ChangeUser {
    ChangeUser { name: None, avatar: AvatarChange::Unchanged, role: None, at: at(3) }
}

fn rename(name: &str) -> UserCommand {
    UserCommand::Change(ChangeUser { name: Some(DisplayName::parse(name).unwrap()), ..change() })
}

fn promote(role: Role) -> UserCommand {
    UserCommand::Change(ChangeUser { role: Some(role), ..change() })
}

fn set_password(kept_session: Option<SessionId>) -> UserCommand {
    let password_hash = "$argon2id$another".into();
    UserCommand::SetPassword(SetPassword {
        password_hash,
        is_temporary: kept_session.is_none(),
        kept_session,
        proved_in: None,
        at: at(4),
    })
}

fn change_password(proved_in: u32) -> UserCommand {
    let own = SessionId(Uuid::from_u128(1));
    match set_password(Some(own)) {
        UserCommand::SetPassword(set) => UserCommand::SetPassword(SetPassword { proved_in: Some(proved_in), ..set }),
        other => other,
    }
}

fn password_changed(kept_session: Option<SessionId>) -> UserEvent {
    UserEvent::PasswordChanged(UserPasswordChanged {
        password_hash: Personal::of(ID, "$argon2id$another".into()),
        is_temporary: kept_session.is_none(),
        kept_session,
        changed_at: at(4),
    })
}

fn end_sessions() -> UserCommand {
    UserCommand::EndSessions { at: at(5) }
}

fn sessions_ended() -> UserEvent {
    UserEvent::SessionsEnded(UserSessionsEnded { ended_at: at(5) })
}

fn abandon() -> UserCommand {
    UserCommand::Abandon { at: at(1) }
}

#[test]
fn an_account_is_created_once() {
    given::<User>([]).when(create()).then([created()]);
    given::<User>([created()]).when(create()).then_err(UserError::AlreadyCreated);
    given::<User>([created(), suspended()]).when(create()).then_err(UserError::AlreadyCreated);
}

#[test]
fn system_roles_are_for_the_system_business_alone() {
    for (role, business_id) in [(Role::SystemAuditor, BUSINESS), (Role::BusinessAdmin, BusinessId::SYSTEM)] {
        let invalid =
            Invalid::new("role", "must be a system role in the system business, a business role in every other");
        given::<User>([]).when(create_as(role, business_id)).then_err(UserError::RoleDoesNotFit(invalid));
    }
}

#[test]
fn an_abandoned_account_is_never_created() {
    given::<User>([]).when(abandon()).then([abandoned()]);
    given::<User>([abandoned()]).when(abandon()).then_nothing();
    given::<User>([abandoned()]).when(create()).then_err(UserError::CreationAbandoned);
}

#[test]
fn an_account_that_exists_is_not_abandoned() {
    given::<User>([created()]).when(abandon()).then_err(UserError::AlreadyCreated);
}

#[test]
fn it_can_be_suspended_and_reactivated_and_repeating_either_changes_nothing() {
    given::<User>([created()]).when(suspend()).then([suspended()]);
    given::<User>([created(), suspended()]).when(suspend()).then_nothing();
    given::<User>([created(), suspended()]).when(reactivate()).then([reactivated()]);
    given::<User>([created()]).when(reactivate()).then_nothing();
}

#[test]
fn nobody_suspends_themselves() {
    given::<User>([created()]).when(UserCommand::Suspend { by: ID, at: at(1) }).then_err(UserError::NotOneself);
}

#[test]
fn nothing_can_be_done_to_an_account_that_does_not_exist() {
    for command in [suspend(), reactivate(), rename("Ann"), set_password(None), end_sessions()] {
        given::<User>([]).when(command.clone()).then_err(UserError::NoSuchUser);
        given::<User>([abandoned()]).when(command).then_err(UserError::NoSuchUser);
    }
}

#[test]
fn what_is_changed_is_what_was_said_and_is_not_so_already() {
    given::<User>([created()]).when(rename("Jane Doe")).then([renamed("Jane Doe")]);
    given::<User>([created(), suspended()]).when(rename("Jane Doe")).then([renamed("Jane Doe")]);
    given::<User>([created()]).when(rename("Jane Smith")).then_nothing();
    given::<User>([created()]).when(UserCommand::Change(change())).then_nothing();
    let all = ChangeUser {
        name: Some(DisplayName::parse("Jane Doe").unwrap()),
        avatar: AvatarChange::Replaced(Avatar::parse("https://example.com/jane.png").unwrap()),
        role: Some(Role::BusinessAdmin),
        ..change()
    };
    let facts = [renamed("Jane Doe"), pictured(Some("https://example.com/jane.png")), promoted(Role::BusinessAdmin)];
    given::<User>([created()]).when(UserCommand::Change(all)).then(facts);
}

#[test]
fn a_picture_is_taken_away() {
    let without = || UserCommand::Change(ChangeUser { avatar: AvatarChange::TakenAway, ..change() });
    given::<User>([created(), pictured(Some("https://example.com/jane.png"))]).when(without()).then([pictured(None)]);
    given::<User>([created()]).when(without()).then_nothing();
}

#[test]
fn a_role_is_changed_to_one_that_fits() {
    given::<User>([created()]).when(promote(Role::BusinessAuditor)).then([promoted(Role::BusinessAuditor)]);
    given::<User>([created()]).when(promote(Role::BusinessUser)).then_nothing();
    let invalid = Invalid::new("role", "must be a system role in the system business, a business role in every other");
    given::<User>([created()]).when(promote(Role::SystemSuperAdmin)).then_err(UserError::RoleDoesNotFit(invalid));
}

#[test]
fn another_password_ends_every_session_but_the_one_in_which_it_was_chosen() {
    let (own, other) = (SessionId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
    given::<User>([created()]).when(set_password(Some(own))).then([password_changed(Some(own))]);
    let account = |history: &[UserEvent]| User::replay(history).account().cloned().unwrap();
    let before = account(&[created()]);
    assert!(before.password_is_temporary && before.keeps(own, 0) && before.keeps(other, 0));
    let after = account(&[created(), password_changed(Some(own))]);
    assert!(!after.password_is_temporary);
    assert!(after.keeps(own, 0) && !after.keeps(other, 0) && after.keeps(other, 1));
    let after = account(&[created(), password_changed(Some(own)), password_changed(None)]);
    assert!(after.password_is_temporary && !after.keeps(own, 0) && !after.keeps(other, 1));
}

#[test]
fn whoever_knew_the_password_of_before_a_reset_changes_nothing() {
    let own = Some(SessionId(Uuid::from_u128(1)));
    given::<User>([created()]).when(change_password(0)).then([password_changed(own)]);
    for meanwhile in [password_changed(None), sessions_ended()] {
        given::<User>([created(), meanwhile]).when(change_password(0)).then_err(UserError::ChangedMeanwhile);
    }
    given::<User>([created(), suspended()]).when(change_password(0)).then_err(UserError::ChangedMeanwhile);
}

#[test]
fn whoever_is_logged_out_everywhere_has_no_session() {
    let own = SessionId(Uuid::from_u128(1));
    given::<User>([created()]).when(end_sessions()).then([sessions_ended()]);
    let state = User::replay(&[created(), password_changed(Some(own)), sessions_ended()]);
    assert!(!state.account().unwrap().keeps(own, 0) && !state.account().unwrap().keeps(own, 1));
}

#[test]
fn whoever_is_let_in_again_has_no_session_of_before() {
    let own = SessionId(Uuid::from_u128(1));
    let account = |history: &[UserEvent]| User::replay(history).account().cloned().unwrap();
    let before = account(&[created(), password_changed(Some(own))]);
    assert!(before.keeps(own, 0) && before.keeps(own, 1));
    let after = account(&[created(), password_changed(Some(own)), suspended(), reactivated()]);
    assert!(!after.keeps(own, 0) && !after.keeps(own, 1) && after.keeps(own, 2));
    let twice = account(&[created(), suspended(), reactivated(), suspended(), reactivated()]);
    assert!(!twice.keeps(own, 1), "nor one that was begun in between");
    given::<User>([created(), suspended(), reactivated()])
        .when(change_password(0))
        .then_err(UserError::ChangedMeanwhile);
}

fn any_event() -> impl Strategy<Value = UserEvent> {
    prop::sample::select(vec![
        created(),
        abandoned(),
        suspended(),
        reactivated(),
        renamed("Jane Doe"),
        promoted(Role::BusinessAdmin),
        pictured(None),
        password_changed(None),
        sessions_ended(),
    ])
}

fn any_command() -> impl Strategy<Value = UserCommand> {
    prop::sample::select(vec![
        create(),
        abandon(),
        suspend(),
        reactivate(),
        rename("Jane Doe"),
        promote(Role::BusinessAdmin),
        set_password(None),
        end_sessions(),
    ])
}

proptest! {
    #[test]
    fn any_history_replays(history in prop::collection::vec(any_event(), 0..20)) {
        User::replay(&history);
    }

    #[test]
    fn whatever_is_asked_an_account_never_leaves_its_business(commands in prop::collection::vec(any_command(), 0..20)) {
        let mut state = User::default();
        for command in commands {
            let existed = state.account().is_some();
            for event in state.decide(command).unwrap_or_default() {
                state.evolve(&event);
            }
            prop_assert!(!existed || state.account().is_some_and(|account| account.business_id == BUSINESS));
        }
    }
}
