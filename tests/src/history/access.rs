//! Who may read whose history, and how they ask.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ask_for_lines, positions, read_lines};
use crate::support::{EventStream, PASSWORD, Person, World};

/// A world of two businesses in which everything has happened in both, and the auditors of each.
struct Tenants {
    world: World,
    acme: Person,
    /// Everything that names something of Globex.
    globex: Vec<String>,
    globex_person: Person,
    globex_correlation: String,
}

async fn auditor(world: &World, person: &Person, name: &str) -> Person {
    world.create(&person.business, name, "BUSINESS_AUDITOR").await;
    Person::log_in_as_admin(&world.server.url, &format!("{}@example.com", name.to_lowercase()), PASSWORD).await
}

async fn tenants() -> Tenants {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    alice.send_text(&bob, "between us").await.expect(201);
    let acme = auditor(&world, &alice, "Otto").await;
    let globex = world.business("Globex").await;
    let (mallory, trudy) = (world.person(&globex, "Mallory").await, world.person(&globex, "Trudy").await);
    let sent = mallory.send_text(&trudy, "sesame of globex").await.expect(201);
    let message = sent.body["message"]["id"].as_str().unwrap().to_owned();
    let call = mallory.call(&trudy).await;
    let life = world.admin.get(&format!("/api/audit/streams/message-{message}")).await.expect(200).body;
    let event = &life["events"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let globex_correlation = text(&event["correlationId"]);
    let named = [&globex.id, &mallory.id, &trudy.id, &message, &call, &text(&event["eventId"])];
    let mut named: Vec<String> = named.into_iter().cloned().collect();
    named.extend(["sesame".to_owned(), "mallory".to_owned(), "trudy".to_owned(), "Globex".to_owned()]);
    Tenants { world, acme, globex: named, globex_person: mallory, globex_correlation }
}

#[tokio::test]
async fn not_one_byte_of_another_tenant_is_seen_over_any_endpoint_and_filter() {
    let Tenants { world, acme, globex, globex_person, globex_correlation } = tenants().await;
    let business = &globex[0];
    let message = &globex[3];
    let mut asked = 0;
    for path in [
        "/api/audit/events?limit=1000".to_owned(),
        format!("/api/audit/events?businessId={business}"),
        format!("/api/audit/events?actor={}", globex_person.id),
        format!("/api/audit/events?stream=message-{message}"),
        format!("/api/audit/events?stream=user-{}", globex_person.id),
        "/api/audit/events?type=MessageSent".to_owned(),
        "/api/audit/events?type=CallStarted&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z".to_owned(),
        format!("/api/audit/streams/message-{message}"),
        format!("/api/audit/streams/user-{}/state", globex_person.id),
        format!("/api/audit/streams/business-{business}/state"),
        format!("/api/audit/correlations/{globex_correlation}"),
        "/api/audit/catalogue".to_owned(),
        "/api/admin/projections".to_owned(),
        "/api/admin/projections/messaging/parked".to_owned(),
    ] {
        for accept in ["application/json", "application/x-ndjson"] {
            let answer = acme.request(Method::GET, &path, None, &[("accept", accept)]).await;
            let said = format!("{} {:?}", answer.body, answer.headers);
            for secret in &globex {
                // What was asked with may be repeated in an error; what is found may not.
                assert!(!said.contains(secret.as_str()), "{path} says {secret}: {said}");
            }
            asked += 1;
        }
    }
    assert_eq!(asked, 28);
    for query in
        ["", "?type=MessageSent", &format!("?stream=message-{message}"), &format!("?actor={}", globex_person.id)]
    {
        let url = format!("{}/api/audit/events/stream{query}", acme.url);
        let mut stream = EventStream::of(acme.http.get(url).bearer_auth(&acme.token).send().await.unwrap());
        loop {
            let event = stream.next().await.unwrap();
            if event.name == "audit:caught-up" {
                break;
            }
            let said = event.data.to_string();
            // Their own notes repeat what they have asked for.
            let is_note = event.name == "AuditRead";
            assert!(is_note || globex.iter().all(|secret| !said.contains(secret.as_str())), "{query} says {said}");
            assert_eq!(event.data["businessId"], *acme.business.id);
        }
    }
    // What belongs to another tenant answers exactly as what doesn't exist.
    for (theirs, nothing) in [
        (format!("/api/audit/streams/message-{message}"), "/api/audit/streams/message-nothing".to_owned()),
        (format!("/api/audit/streams/user-{}/state", globex_person.id), "/api/audit/streams/user-x/state".to_owned()),
        (
            format!("/api/audit/correlations/{globex_correlation}"),
            "/api/audit/correlations/00000000-0000-0000-0000-000000000007".to_owned(),
        ),
        (
            format!("/api/audit/events?businessId={business}"),
            "/api/audit/events?businessId=00000000-0000-0000-0000-000000000007".to_owned(),
        ),
    ] {
        let (theirs, nothing) = (acme.get(&theirs).await, acme.get(&nothing).await);
        assert_eq!((theirs.status, &theirs.body), (nothing.status, &nothing.body));
        theirs.expect_error(404, "NOT_FOUND");
    }
    // Their own they see all of.
    let own = acme.get("/api/audit/events?limit=1000").await.expect(200).body;
    let own = own["events"].as_array().unwrap();
    assert!(own.iter().all(|event| event["businessId"] == *acme.business.id));
    let everything = world.admin.get("/api/audit/events?limit=1000").await.expect(200).body;
    let of_acme: Vec<&Value> = everything["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| {
            event["businessId"] == *acme.business.id
                && event["position"].as_u64() < own[own.len() - 1]["position"].as_u64()
        })
        .collect();
    assert_eq!(own[..of_acme.len()].iter().collect::<Vec<_>>(), of_acme);
}

#[tokio::test]
async fn every_query_is_recorded_and_no_page_contains_its_own_record() {
    let Tenants { world, acme, .. } = tenants().await;
    let page = acme.get("/api/audit/events?limit=1000").await.expect(200);
    let noted_at: u64 = page.headers["x-position"].to_str().unwrap().parse().unwrap();
    assert!(positions(page.body["events"].as_array().unwrap()).into_iter().all(|position| position <= noted_at));
    let notes = async || {
        let notes = world.admin.get("/api/audit/events?type=AuditRead&limit=1000").await.expect(200).body;
        notes["events"].as_array().unwrap().clone()
    };
    let before = notes().await.len();
    acme.get("/api/audit/events?type=UserCreated&after=3").await.expect(200);
    read_lines(ask_for_lines(&acme, "?limit=5").await, usize::MAX).await;
    acme.get(&format!("/api/audit/streams/user-{}", acme.id)).await.expect(200);
    acme.get(&format!("/api/audit/streams/user-{}/state", acme.id)).await.expect(200);
    // Refusals read nothing, and neither does the catalogue.
    acme.get("/api/audit/events?limit=0").await.expect(422);
    acme.get("/api/audit/streams/user-nobody").await.expect(404);
    acme.get("/api/audit/catalogue").await.expect(200);
    let after = notes().await;
    let new: Vec<&Value> = after[before + 1..].iter().collect();
    let what: Vec<&str> = new.iter().map(|note| note["data"]["what"].as_str().unwrap()).collect();
    // The lines are the same query as the page.
    assert_eq!(what, ["events", "stream", "state"]);
    for note in &new {
        assert_eq!((&note["data"]["readerId"], &note["actor"]["user"]), (&json!(acme.id), &json!(acme.id)));
        assert_eq!(
            (&note["businessId"], &note["actor"]["role"]),
            (&json!(acme.business.id), &json!("BUSINESS_AUDITOR"))
        );
    }
    assert_eq!(new[0]["data"]["query"], "type=UserCreated");
    // Whoever looks into a business from outside is seen by its own auditors.
    world.admin.get(&format!("/api/audit/events?businessId={}", acme.business.id)).await.expect(200);
    let seen = acme.get("/api/audit/events?type=AuditRead&limit=1000").await.expect(200).body;
    let by_admin = |note: &&Value| note["data"]["readerId"] == *world.admin.id;
    assert!(seen["events"].as_array().unwrap().iter().any(|note| by_admin(&note)), "{seen}");
}

#[tokio::test]
async fn filters_find_what_they_say_and_nothing_else() {
    let Tenants { world, acme, .. } = tenants().await;
    let find = async |query: &str| {
        let answer = world.admin.get(&format!("/api/audit/events?limit=1000&{query}")).await.expect(200).body;
        answer["events"].as_array().unwrap().clone()
    };
    let everything = find("to=2100-01-01T00:00:00Z").await;
    let last = everything.len() as u64;
    let expected = |keep: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        positions(&everything.iter().filter(|event| keep(event)).cloned().collect::<Vec<_>>())
    };
    let found = async |query: &str| -> Vec<u64> {
        positions(&find(query).await).into_iter().filter(|position| *position <= last).collect()
    };
    let actor =
        everything.iter().find(|event| event["type"] == "MessageSent").unwrap()["actor"]["user"].as_str().unwrap();
    let stream = everything.iter().find(|event| event["type"] == "UserCreated").unwrap()["stream"].as_str().unwrap();
    let middle = everything[everything.len() / 2]["recordedAt"].as_str().unwrap();
    let at = |event: &Value| event["recordedAt"].as_str().unwrap().to_owned();
    let business = acme.business.id.as_str();
    assert_eq!(found("type=UserCreated").await, expected(&|event| event["type"] == "UserCreated"));
    assert_eq!(found(&format!("actor={actor}")).await, expected(&|event| event["actor"]["user"] == actor));
    assert_eq!(found(&format!("stream={stream}")).await, expected(&|event| event["stream"] == stream));
    assert_eq!(found(&format!("businessId={business}")).await, expected(&|event| event["businessId"] == business));
    assert_eq!(found(&format!("from={middle}")).await, expected(&|event| at(event).as_str() >= middle));
    assert_eq!(found(&format!("to={middle}")).await, expected(&|event| at(event).as_str() <= middle));
    assert_eq!(found("after=7").await, (8..=last).collect::<Vec<_>>());
    let all = format!("type=MessageSent&actor={actor}&businessId={business}&from={middle}&after=2");
    assert_eq!(
        found(&all).await,
        expected(&|event| event["type"] == "MessageSent"
            && event["actor"]["user"] == actor
            && event["businessId"] == business
            && at(event).as_str() >= middle)
    );
    // Page by page it is the same.
    let mut paged = vec![];
    let mut cursor = 0;
    loop {
        let page = world.admin.get(&format!("/api/audit/events?limit=7&after={cursor}")).await.expect(200).body;
        paged.extend(positions(page["events"].as_array().unwrap()));
        match page["nextCursor"].as_str() {
            Some(next) if paged.len() < everything.len() => cursor = next.parse().unwrap(),
            _ => break,
        }
    }
    assert_eq!(paged[..everything.len()], (1..=last).collect::<Vec<_>>()[..]);
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let Tenants { world, acme, .. } = tenants().await;
    let before = world.all_events().await;
    for query in [
        "after=-1",
        "after=x",
        "after=18446744073709551616",
        "limit=0",
        "limit=-5",
        "limit=1001",
        "type=NothingLikeIt",
        "type=",
        "type=UserCreated%00",
        "actor=bob",
        "from=yesterday",
        "from=2025-13-01T00:00:00Z",
        "to=2025-01-01",
        "from=2025-01-02T00:00:00Z&to=2025-01-01T00:00:00Z",
        "stream=a%00b",
    ] {
        acme.get(&format!("/api/audit/events?{query}")).await.expect_error(422, "VALIDATION_ERROR");
    }
    for path in ["/api/audit/events?businessId=acme", "/api/audit/streams/a%00b", "/api/audit/streams/nothing/state"] {
        acme.get(path).await.expect_error(404, "NOT_FOUND");
    }
    acme.get("/api/audit/streams/user-x?limit=0").await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(world.all_events().await, before, "nothing of it is noted");
    // Past the end there is nothing, however far.
    for after in ["1000000", "9223372036854775807", "9223372036854775808", "18446744073709551615"] {
        for filter in ["", "&type=UserCreated", &format!("&stream=user-{}", acme.id)] {
            let page = acme.get(&format!("/api/audit/events?after={after}{filter}")).await.expect(200).body;
            assert_eq!((&page["events"], &page["nextCursor"]), (&json!([]), &Value::Null), "{after}{filter}");
        }
    }
    acme.request(Method::POST, "/api/audit/events", Some(json!({})), &[]).await.expect_error(405, "METHOD_NOT_ALLOWED");
}
