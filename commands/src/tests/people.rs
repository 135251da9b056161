//! Roles, passwords and sessions, decided from streams that nodes remember differently.

use domain::user::AvatarChange;

use super::*;
use crate::{Claims, Credentials, UserChanges};

fn credentials(password: &str) -> Credentials {
    Credentials {
        email: EmailAddress::parse("ann@example.com").unwrap(),
        password: password.to_owned(),
        user_agent: None,
        address: None,
    }
}

/// Two super admins, as each other's requests.
async fn two_super_admins(node: &Node) -> [(UserId, Request); 2] {
    node.commands.ensure_first_super_admin(first_admin()).await.unwrap();
    let first = node.commands.fixed_account(BusinessId::SYSTEM, "first super admin").await.unwrap();
    let crate::fixed_accounts::FixedAccount::Exists(first) = first else { panic!("there is one") };
    let second = NewUser { role: Role::SystemSuperAdmin, ..new_user(BusinessId::SYSTEM) };
    let second = node.commands.create_user(&super_admin(), second).await.unwrap().value.id;
    *node.lookups.super_admins.lock().unwrap() = vec![first, second];
    [first, second].map(|id| (id, by(id, Role::SystemSuperAdmin, BusinessId::SYSTEM)))
}

fn demotion() -> UserChanges {
    UserChanges { name: None, avatar: AvatarChange::Unchanged, role: Some(Role::SystemAuditor) }
}

#[tokio::test]
async fn two_super_admins_who_shut_each_other_out_leave_one() {
    let log = log();
    let (one, other) = (node(&log, 1), node(&log, 1_000_000));
    let [(first, by_first), (second, by_second)] = two_super_admins(&one).await;
    *other.lookups.super_admins.lock().unwrap() = vec![first, second];
    // Both remember both as they are now.
    for node in [&one, &other] {
        assert!(node.commands.account(first).await.unwrap().is_some());
        assert!(node.commands.account(second).await.unwrap().is_some());
    }
    one.commands.change_user(&by_first, second, demotion()).await.unwrap();
    let refused = other.commands.suspend_user(&by_second, first).await;
    assert!(
        matches!(&refused, Err(Error::Conflict(reason)) if reason == "the last super admin stays one"),
        "{refused:?}"
    );
    let refused = one.commands.change_user(&by_first, first, demotion()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "nor does anybody step down as the last one: {refused:?}");
}

#[tokio::test]
async fn whoever_changes_their_password_stays_in_and_is_logged_out_everywhere_else() {
    let node = node(&log(), 1);
    let acme = node.business().await;
    let ann = node.commands.create_user(&super_admin(), new_user(acme)).await.unwrap().value.id;
    let log_in = async |password: &str| node.commands.log_in(acme, credentials(password), Uuid::nil()).await;
    let (phone, laptop) = (log_in("correct horse").await.unwrap().value, log_in("correct horse").await.unwrap().value);
    let claims = |session_id| Claims { user_id: ann, session_id, audience: Audience::Messenger };
    let caller = node.commands.authenticate(claims(phone.session_id)).await.unwrap();
    let request = Request { caller, correlation_id: Uuid::nil() };
    let change = async |current: &str, new: &str| {
        node.commands.change_own_password(&request, current.to_owned(), Password::parse(new).unwrap()).await
    };
    assert!(matches!(change("a wrong one", "battery staple").await, Err(Error::Invalid(_))));
    assert!(matches!(change("correct horse", "correct horse").await, Err(Error::Invalid(_))));
    change("correct horse", "battery staple").await.unwrap();
    assert!(node.commands.authenticate(claims(phone.session_id)).await.is_ok());
    let out = node.commands.authenticate(claims(laptop.session_id)).await;
    assert!(matches!(out, Err(Error::Unauthorized(_))), "{out:?}");
    let refreshed = node.commands.refresh(Audience::Messenger, &laptop.refresh_token, Uuid::nil()).await;
    assert!(matches!(refreshed, Err(Error::Unauthorized(_))));
    node.commands.refresh(Audience::Messenger, &phone.refresh_token, Uuid::nil()).await.unwrap();
    assert!(log_in("correct horse").await.is_err());
    let again = log_in("battery staple").await.unwrap().value;
    node.commands.end_sessions_of(&super_admin(), ann).await.unwrap();
    for session in [phone.session_id, again.session_id] {
        assert!(matches!(node.commands.authenticate(claims(session)).await, Err(Error::Unauthorized(_))));
    }
}
