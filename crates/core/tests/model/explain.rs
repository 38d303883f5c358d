//! `record explain`, exactly as the design writes it.

use lockstep_core::explain::{GroupShown, explain};
use lockstep_core::field::map_fields;
use serde_json::json;

use crate::world::*;

#[test]
fn the_explanation_has_the_shape_of_the_design() {
    let mut world = World::with_staff_ada();
    world.reads(json!({"jobTitle": "bell\u{7}"}), &[STAFF, ADMINS]);
    world.defaults.employee.insert("office".to_owned(), json!("Head office"));
    let plan = world.settles();
    let profile = world.user.profile.present().expect("present");
    let mapped = map_fields(profile, world.record().kind, &world.fields, &world.defaults);
    let groups = vec![GroupShown { id: object(ADMINS), name: "Admins".to_owned(), chain: vec!["On call".to_owned()] }];
    let shown = explain(json!({"id": "…"}), world.record(), &world.user, &plan.desired, &mapped, groups);

    let json = serde_json::to_value(&shown).expect("JSON");
    let keys: Vec<_> = json.as_object().expect("object").keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 9);
    for key in ["record", "access", "user", "groups", "rules", "fields", "holds", "reviews", "next_look"] {
        assert!(keys.contains(&key), "{key}");
    }
    assert_eq!(json["access"], json!({"granted": true, "why": "by the rule for Admins (order 10)"}));
    assert_eq!(json["user"]["read_by_id"], true);
    assert_eq!(json["user"]["groups_read_at"], json["user"]["verified_at"]);
    assert_eq!(json["user"]["enabled"], true);
    assert_eq!(json["user"]["deleted"], false);
    assert_eq!(json["user"]["type"], "member");
    assert!(json["user"]["verified_at"].as_str().is_some_and(|at| at.ends_with("Z")));
    assert_eq!(json["groups"][0]["chain"], json!(["On call"]));
    assert_eq!(json["rules"][1]["outcome"], "won");
    assert_eq!(json["rules"][1]["group"], object(ADMINS).to_string());
    let field = |name: &str| {
        let fields = json["fields"].as_array().expect("a list");
        fields.iter().find(|field| field["name"] == name).expect(name).clone()
    };
    assert_eq!(field("office"), json!({"name": "office", "value": "Head office", "source": "default"}));
    assert_eq!(field("display_name")["source"], "user.displayName");
    assert_eq!(field("job_title")["value"], "Agent");
    assert!(field("job_title")["source"].as_str().is_some_and(|source| source.contains("control characters")));
}
