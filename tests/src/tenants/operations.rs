//! What the operations of the API answer those who may, and those who may not.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::cast::Cast;
use super::out::Out;
use super::table::{OPEN, TABLE};
use crate::support::{PASSWORD, Person, PlainSocket, World, anonymous};

pub(super) struct Operation {
    pub(super) id: String,
    pub(super) method: Method,
    pub(super) path: String,
}

async fn operations(world: &World) -> Vec<Operation> {
    let document = anonymous(&world.server.url, Method::GET, "/openapi.json", None).await.expect(200).body;
    let mut operations = vec![];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
            });
        }
    }
    operations
}

#[tokio::test]
async fn every_operation_answers_each_role_as_the_table_says() {
    let cast = Cast::assemble().await;
    let operations = operations(&cast.world).await;
    let known: BTreeSet<&str> = TABLE.iter().map(|row| row.operation).chain(OPEN).collect();
    let documented: BTreeSet<&str> = operations.iter().map(|operation| operation.id.as_str()).collect();
    assert_eq!(documented, known, "every operation has a row, and every row an operation");

    let mut wrong = vec![];
    for row in TABLE {
        let operation = operations.iter().find(|operation| operation.id == row.operation).unwrap();
        let foreigners = cast.foreigners.iter().map(|(who, person)| (*who, person, row.foreigner));
        // Log-outs last: who has logged out can't do anything more.
        let cast_in_order = foreigners.chain([
            ("an auditor", &cast.auditor, row.auditor),
            ("a system auditor", &cast.system_auditor, row.system_auditor),
            ("a foreign admin", &cast.foreign_admin, row.foreign_admin),
            ("a foreign auditor", &cast.foreign_auditor, row.foreign_auditor),
            ("a colleague", &cast.colleague, row.colleague),
            ("an admin, at the messenger", &cast.colleague_admin, row.colleague_admin),
            ("an auditor, at the messenger", &cast.colleague_auditor, row.colleague_auditor),
            ("an admin", &cast.admin, row.admin),
            ("the super admin", &cast.world.admin, row.super_admin),
            ("a user", &cast.user, row.user),
        ]);
        for (who, person, expected) in cast_in_order {
            let Some(expected) = expected else { continue };
            let unique = format!("{}{}", row.operation, who.replace(' ', "")).to_lowercase();
            let answer = cast.call(operation, person, &unique).await;
            if answer.status.as_u16() != expected {
                wrong.push(format!("{who} calls {}: {}, not {expected}", row.operation, answer.body));
            }
            if row.operation == "suspendBusiness" && expected == 200 {
                // Undone, or everybody of Acme would be out for the rest of the table.
                let path = format!("/api/admin/businesses/{}/reactivate", cast.acme.id);
                cast.world.admin.post(&path, Value::Null).await.expect(200);
            }
            if row.operation == "suspendUser" && expected == 200 {
                let path = format!("/api/admin/users/{}/reactivate", cast.victim);
                cast.world.admin.post(&path, Value::Null).await.expect(200);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn no_operation_is_done_for_anybody_who_is_suspended_or_whose_session_is_over() {
    for out in Out::ALL {
        let cast = Cast::assemble().await;
        // Whoever shuts the others out isn't shut out by anybody.
        cast.world.create(&cast.world.admin.business, "Rosa", "SYSTEM_SUPER_ADMIN").await;
        let super_admin = Person::log_in_as_admin(&cast.world.server.url, "rosa@example.com", PASSWORD).await;
        let people = [
            ("a super admin", &super_admin),
            ("a system auditor", &cast.system_auditor),
            ("an admin", &cast.admin),
            ("an auditor", &cast.auditor),
            ("a foreign admin", &cast.foreign_admin),
            ("a user", &cast.user),
            ("a foreign user", &cast.foreign_user),
        ];
        let mut those_who_are_out = vec![];
        for (who, person) in people {
            // The business of those who run the installation can't be suspended.
            if out == Out::BusinessSuspended && person.business.id == cast.world.admin.business.id {
                let path = format!("/api/admin/businesses/{}/suspend", person.business.id);
                let status = cast.world.admin.post(&path, Value::Null).await.status;
                assert!(status.is_client_error(), "{status}");
                continue;
            }
            out.shut_out(&cast.world, person).await;
            those_who_are_out.push((who, person));
        }
        let before = cast.world.all_events().await;
        for operation in operations(&cast.world).await {
            if OPEN.contains(&operation.id.as_str()) {
                continue;
            }
            for (who, person) in &those_who_are_out {
                let answer = cast.call(&operation, person, "x").await;
                let what = format!("{who} calls {}, {out:?}", operation.id);
                assert_eq!(answer.status, 401, "{what}: {}", answer.body);
                answer.expect_error(401, "UNAUTHORIZED");
            }
        }
        for stream in ["/api/messenger/events", "/api/messenger/events/ws"] {
            let user = &cast.user;
            if stream.ends_with("/ws") {
                assert_eq!(PlainSocket::open(&user.url, "", Some(&user.token)).await.err().unwrap(), 401);
            } else {
                user.get(stream).await.expect_error(401, "UNAUTHORIZED");
            }
        }
        assert_eq!(cast.world.all_events().await, before, "{out:?}");
    }
}

#[tokio::test]
async fn no_operation_is_done_for_nobody_or_with_a_token_of_the_other_api() {
    let cast = Cast::assemble().await;
    for operation in operations(&cast.world).await {
        if OPEN.contains(&operation.id.as_str()) {
            continue;
        }
        let is_admin = !operation.path.starts_with("/api/messenger");
        let other = if is_admin { &cast.user } else { &cast.world.admin };
        let nonsense = Person { token: "nonsense".to_owned(), ..cast.user.clone() };
        for person in [other, &nonsense] {
            cast.call(&operation, person, "x").await.expect_error(401, "UNAUTHORIZED");
        }
        let path = operation.path.replace("{id}", &cast.acme.id);
        let answer = anonymous(&cast.world.server.url, operation.method.clone(), &path, Some(json!({}))).await;
        assert_eq!(answer.status, 401, "{} without a token: {}", operation.id, answer.body);
    }
}
