//! How something comes to happen: by the rules, as a part of the round.

use std::borrow::Cow;

use domain::{BusinessId, Decider, DomainEvent};
use event_store::{Actor, Append, Expected, Metadata, StreamId, codec};

use super::{Invented, Thing, Things};
use crate::support::Random;

/// Rather one of the latest than any.
pub(super) fn recent(random: &mut Random, len: usize) -> usize {
    if random.below(4) == 0 { random.index(len) } else { len - 1 - random.index(len.min(300)) }
}

/// Decides, and has what was decided appended with the round. Whether anything was.
pub(super) fn decide<D: Decider>(world: &mut Invented, thing: &mut Thing<D>, command: D::Command) -> bool {
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

pub(super) fn begin_in<D: Decider>(
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
pub(super) fn begin<D: Decider>(
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
pub(super) fn change<D: Decider>(
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
pub(super) fn go_on<D: Decider>(
    world: &mut Invented,
    things: fn(&mut Invented) -> &mut Things<D>,
    command: D::Command,
) {
    let len = things(world).all.len();
    if len > 0 {
        let n = world.random.index(len);
        change(world, things, n, command);
    }
}

/// Something happens to the thing of this id, which may be new.
pub(super) fn begin_or_go_on<D: Decider>(
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
