//! TH-06: any bytes at all. Seeded, so that a failing body comes again.

#![allow(clippy::unwrap_used, missing_docs)]

use lockstep_core::hint::MAX_MEMBERS;
use lockstep_receiver::parse::{BadBody, Field, MAX_ITEMS, RawItem, parse};
use serde::de::IgnoredAny;

const VALID: &str = r##" {"value":[
    {"changeType":"updated","clientState":"s","resource":"Groups/d5e6f7a8-1b2c-4d3e-8f90-a1b2c3d4e5f1",
     "resourceData":{"@odata.type":"#Microsoft.Graph.Group","id":"d5e6f7a8-1b2c-4d3e-8f90-a1b2c3d4e5f1",
       "members@delta":[{"id":"3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c01"},{"id":"x","@removed":{"reason":"deleted"}},7],
       "sequenceNumber":638992356722455823},
     "subscriptionId":"5be1c9d4-27aa-4c1e-9d3f-7a4e2b6d9c66","tenantId":"7c1f0a52-3b5e-4d0e-9a61-0f2f6f6a1d11"},
    {"lifecycleEvent":"missed","clientState":"\u00e9\"\\","subscriptionId":null,"n":[[[{}]],-1.5e300,true,false,null]},
    "text", 7, null, [1]
]} "##;

/// Pieces that change what a body means rather than only breaking it.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "1e999",
    "\u{feff}",
    "\u{1}",
    "é",
    "\"value\":",
    "\"id\":",
    "\"@removed\":",
    "\"clientState\":",
    "\"members@delta\":",
    "\"value\":[],",
    "{\"value\":[",
];

/// xorshift64*: enough to wander about, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

fn check(body: &[u8]) {
    let Ok(items) = parse(body) else { return };
    assert!(serde_json::from_slice::<IgnoredAny>(body).is_ok(), "not JSON, yet taken: {body:?}");
    assert!(items.len() <= MAX_ITEMS);
    for item in &items {
        check_bounds(item);
    }
}

fn check_bounds(item: &RawItem<'_>) {
    let members = item.members.named.iter().map(|member| &member.id);
    let fields = [
        &item.subscription_id,
        &item.client_state,
        &item.tenant_id,
        &item.change_type,
        &item.lifecycle_event,
        &item.resource,
        &item.object_id,
        &item.object_type,
    ];
    assert!(item.members.named.len() <= MAX_MEMBERS);
    for field in fields.into_iter().chain(members) {
        assert!(field.text().is_none_or(|text| text.len() <= 1_024));
    }
}

fn mutated(dice: &mut Dice) -> Vec<u8> {
    let mut body = VALID.as_bytes().to_vec();
    for _ in 0..=dice.below(6) {
        let at = dice.below(body.len() + 1);
        let to = (at + dice.below(40)).min(body.len());
        match dice.below(6) {
            0 => body.truncate(at),
            1 if at < body.len() => body[at] = dice.byte(),
            2 => drop(body.drain(at..to)),
            3 => drop(body.splice(at..at, body[at..to].to_vec())),
            _ => drop(body.splice(at..at, PIECES[dice.below(PIECES.len())].bytes())),
        }
    }
    body
}

#[test]
fn th_06_mutated_bodies_are_taken_within_bounds_or_refused() {
    let mut dice = Dice(0x5EED_0001);
    let mut taken = 0;
    for _ in 0..50_000 {
        let body = mutated(&mut dice);
        taken += usize::from(parse(&body).is_ok());
        check(&body);
    }
    assert!((1_000..49_000).contains(&taken), "both answers must be common to prove something: {taken}");
}

#[test]
fn th_06_random_bytes_are_refused() {
    let mut dice = Dice(0x5EED_0002);
    for _ in 0..20_000 {
        let body: Vec<u8> = (0..dice.below(200)).map(|_| dice.byte()).collect();
        check(&body);
    }
}

#[test]
fn every_item_of_a_good_body_is_read_and_a_bad_one_stays_alone() {
    let items = parse(VALID.as_bytes()).unwrap();
    assert_eq!(items.len(), 6);
    let removed: Vec<_> = items[0].members.named.iter().map(|member| (member.id.text(), member.removed)).collect();
    assert_eq!(removed, [(Some("3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c01"), false), (Some("x"), true), (None, false)]);
    assert_eq!(items[1].client_state.text(), Some("é\"\\"));
    assert!(items[2..].iter().all(|item| *item == RawItem::default()));
}

#[test]
fn texts_longer_than_their_bound_and_half_characters_are_no_text_and_cost_only_their_field() {
    let long = "x".repeat(1_025);
    for odd in [long.as_str(), "\\ud800"] {
        let body = format!(r#"{{"value":[{{"clientState":"{odd}","tenantId":"t"}}]}}"#);
        let items = parse(body.as_bytes()).unwrap();
        assert_eq!((&items[0].client_state, items[0].tenant_id.text()), (&Field::Other, Some("t")));
    }
}

#[test]
fn bi_14_a_million_items_are_counted_and_not_kept() {
    let body = format!(r#"{{"value":[{{}}{}]}}"#, ",{}".repeat(1_000_000));
    assert_eq!(parse(body.as_bytes()), Err(BadBody::TooManyItems));
}
